"""A service manager that listens on a real notify socket, and daemons that hang, or mistake the time, when told to."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.running import ROOT, unmeasured

PATIENCE = 30.0
"""Seconds that anything here may take."""


class Manager:
    """Takes what is sent to a notify socket."""

    def __init__(self, address: str, watchdog: float | None = None) -> None:
        """Listen on a path, or on a name in the abstract namespace, which begins with ``@``."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.environment = {"NOTIFY_SOCKET": address}
        if watchdog is not None:
            self.environment["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        self.heard: list[str] = []

    def close(self) -> None:
        self._socket.close()

    def next(self, within: float = PATIENCE) -> str | None:
        """Wait for a message; None if none comes."""
        self._socket.settimeout(within)
        try:
            message = self._socket.recv(65536).decode()
        except TimeoutError:
            return None
        self.heard.append(message)
        return message

    def until(self, wanted: str | Callable[[str], bool]) -> str:
        """Wait for a message that has a text in it, or is as wanted."""
        fits = (lambda message: wanted in message) if isinstance(wanted, str) else wanted
        end = time.monotonic() + PATIENCE
        while (left := end - time.monotonic()) > 0:
            message = self.next(left)
            if message is not None and fits(message):
                return message
        raise AssertionError(f"{wanted!r} was not heard, but {self.heard[-20:]}")

    def drain(self) -> None:
        """Take what is there already."""
        while self.next(0.001) is not None:
            pass

    def fed(self, times: int) -> None:
        """Wait until the watchdog was fed so many times from now on."""
        self.drain()
        for _ in range(times):
            self.until("WATCHDOG=1")

    def until_starved(self, seconds: float) -> None:
        """Wait until the watchdog was not fed for some seconds."""
        end = time.monotonic() + PATIENCE
        since = time.monotonic()
        while (now := time.monotonic()) - since < seconds:
            assert now < end, "it is fed, again and again"
            if self.next(max(0.001, since + seconds - now)) == "WATCHDOG=1":
                since = time.monotonic()


@contextmanager
def manager(address: str | Path, watchdog: float | None = None) -> Iterator[Manager]:
    found = Manager(str(address), watchdog)
    try:
        yield found
    finally:
        found.close()


FAULTY = """
import asyncio, sys, time
from pathlib import Path

from mrdaemon import desk, journal, live, pulse

folder = Path(sys.argv[1])
hangs, offset = folder / "hangs", folder / "offset"
live.ROUND_WITHIN, journal.COMMIT_WITHIN = 1.5, 0.4
pulse.Pulse.lasting.__defaults__ = pulse.Pulse.passing.__defaults__ = (1.5,)


def hanging(what):
    return hangs.exists() and hangs.read_text() == what


obey = desk.Desk.obey_halt_file
async def obey_halt_file(self):
    while hanging("time"):
        await asyncio.sleep(0.02)
    while hanging("loop"):
        time.sleep(0.02)
    return await obey(self)
desk.Desk.obey_halt_file = obey_halt_file

tell = live.Live._tell
async def ended(self, group, show):
    pulse.rest()
    telling = asyncio.ensure_future(tell(self, group, show))
    while not hanging("news ended"):
        await asyncio.sleep(0.02)
    telling.cancel()
live.Live._tell = ended

commit = journal.Journal._commit
def slow(self, batch):
    while hanging("journal"):
        time.sleep(0.02)
    return commit(self, batch)
journal.Journal._commit = slow

wall = time.time_ns
def shifted():
    return wall() + (int(float(offset.read_text()) * 1e9) if offset.exists() else 0)
time.time_ns = shifted

from mrdaemon.cli import main
sys.argv = ["mrdaemon", *sys.argv[2:]]
main()
"""
"""A daemon that hangs where the file ``hangs`` says, and takes the time to be off by what the file ``offset`` says."""


class Faulty:
    """A daemon that can be made to hang."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self._folder = folder

    def hang(self, what: str) -> None:
        self._say("hangs", what)

    def go_on(self) -> None:
        (self._folder / "hangs").unlink()

    def shift(self, seconds: float) -> None:
        """Set its wall clock off."""
        self._say("offset", str(seconds))

    def _say(self, name: str, text: str) -> None:
        new = self._folder / f"{name}.new"
        new.write_text(text)
        new.replace(self._folder / name)


@contextmanager
def faulty(folder: Path, *arguments: str | Path, env: Mapping[str, str]) -> Iterator[Faulty]:
    """Start a daemon as a child; its log is in ``folder/log``."""
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", FAULTY, str(folder), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            env={**unmeasured(), **env},
        ) as process,
    ):
        try:
            yield Faulty(process, folder)
        finally:
            process.kill()
