"""Runs the program for tests: in this process where it ends by itself, as a child where signals or crashes matter."""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from typer.testing import CliRunner

from mrdaemon.cli import app
from mrdaemon.places import SOCKET

Object = dict[str, Any]
ROOT = Path(__file__).parent.parent


class Outcome(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Object]:
        """Its output, as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def unmeasured() -> dict[str, str]:
    """Give an environment in which a child is not measured for coverage: it would import and write files of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def mrdaemon(*arguments: str | Path, env: dict[str, str] | None = None) -> Outcome:
    """Run a command to its end, in this process."""
    result = CliRunner().invoke(app, [str(each) for each in arguments], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


@contextmanager
def child(
    *arguments: str | Path,
    env: dict[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
    measured: bool = False,
    **options: Any,
) -> Iterator[subprocess.Popen[str]]:
    """Start a command as a process of its own; it is killed at the end, if it still runs.

    One that is measured for coverage takes nearly twice as long, and adds little where the same lines run in the test's
    own process as well. One that is killed leaves no figures anyway.
    """
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "mrdaemon", *map(str, arguments)],
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=options.pop("stderr", subprocess.PIPE),
        text=True,
        env={**(os.environ if measured and prepare is None else unmeasured()), **(env or {})},
        preexec_fn=prepare,  # noqa: PLW1509 - it only sets a limit
        **options,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], kind: str) -> Object:
    """Read the JSON Lines of a run until an event of a kind comes."""
    assert process.stdout is not None
    for line in process.stdout:
        event: Object = json.loads(line)
        if event["kind"] == kind:
            return event
    message = f"it ended without {kind}"
    raise AssertionError(message)


CONFIG = """
seed = "{seed}"
[feed]
kind = "file"
files = ["prices.csv"]
speed = "{speed}"
[accounts.paper]
broker = "paper"
[portfolios.core]
account = "paper"
reserve = "{reserve}"
zone = "5%"
mode = "{mode}"
[portfolios.core.positions.QQQ]
target = "{target}"
{opening}
"""


class Place:
    """A folder with a recording, its configuration, and the state of the runs on it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.config, self.recording, self.state = folder / "core.toml", folder / "prices.csv", folder / "state"
        self.rows = 0

    def configure(self, **changes: str) -> Place:
        usual = {"seed": "s", "speed": "max", "reserve": "10000", "target": "5000", "mode": "auto"}
        opening = 'initial = "buy"'
        self.config.write_text(CONFIG.format(**{**usual, "opening": opening, **changes}))
        return self

    def record(self, *prices: float | str, apart: int = 1) -> Place:
        """Add rows to the recording, so many seconds apart, from 15:00 UTC on Monday, 9 March 2020."""
        begun = self.recording.exists()
        with self.recording.open("a") as file:
            if not begun:
                file.write("timestamp,symbol,price\n")
            for price in prices:
                second = self.rows * apart
                file.write(f"2020-03-09T{15 + second // 3600}:{second // 60 % 60:02}:{second % 60:02}Z,QQQ,{price}\n")
                self.rows += 1
        return self

    def arguments(self, *more: str) -> list[str | Path]:
        return ["run", "--json", "-c", self.config, "--state", self.state, *more]

    def run(self, *more: str) -> Outcome:
        return mrdaemon(*self.arguments(*more))

    def events(self) -> list[Object]:
        return mrdaemon("events", "--json", "--state", self.state).objects

    def kinds(self) -> list[str]:
        return [each["kind"] for each in self.events()]

    def of(self, kind: str) -> list[Object]:
        return [each for each in self.events() if each["kind"] == kind]

    def position(self) -> Object:
        position: Object = mrdaemon("status", "--json", "--state", self.state).objects[0]["positions"][0]
        return position

    @property
    def socket(self) -> Path:
        return self.state / SOCKET

    def status(self) -> Object:
        status: Object = mrdaemon("status", "--json", "--state", self.state).objects[0]
        return status

    def tell(self, *arguments: str) -> Outcome:
        """Give a command about this place's state, in this process."""
        return mrdaemon(arguments[0], "--state", self.state, *arguments[1:])


@contextmanager
def daemon(place: Place, *more: str, kind: str = "order_filled", **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a place's daemon as a child; it has got as far as an event of a kind."""
    with child(*place.arguments(*more), **options) as process:
        wait_for(process, kind)
        yield process


# The control socket, without the program's own client


class Answer(NamedTuple):
    """What came back over the control socket."""

    status: int
    body: Any


class Line(http.client.HTTPConnection):
    """A connection to the control socket of a state directory."""

    def __init__(self, directory: Path, patience: float = 20.0) -> None:
        super().__init__("mrdaemon", timeout=patience)
        self.directory = directory

    def connect(self) -> None:
        folder = os.open(self.directory, os.O_RDONLY)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/{SOCKET}")
        finally:
            os.close(folder)


def ask(
    directory: Path,
    method: str,
    path: str,
    body: bytes | Object | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Ask a daemon one thing."""
    line = Line(directory)
    try:
        line.request(method, path, json.dumps(body) if isinstance(body, dict) else body, dict(headers or {}))
        response = line.getresponse()
        return Answer(response.status, json.loads(response.read()))
    finally:
        line.close()


def order(directory: Path, name: str, **fields: Any) -> Answer:
    """Give a daemon a command."""
    return ask(directory, "POST", f"/commands/{name}", fields)


# A terminal


@contextmanager
def on_terminal(*arguments: str | Path, env: dict[str, str] | None = None) -> Iterator[Terminal]:
    """Start a command on a terminal of its own, for its questions and its output."""
    ours, theirs = os.openpty()
    usual = {"TERM": "xterm", "COLUMNS": "120", "LINES": "40", "PYTHONIOENCODING": "utf-8"}
    files: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    termios.tcsetwinsize(theirs, (40, 120))
    with child(*arguments, env={**usual, **(env or {})}, start_new_session=True, **files) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            os.close(ours)


class Terminal:
    """Our end of a terminal."""

    def __init__(self, process: subprocess.Popen[str], ours: int) -> None:
        self.process = process
        self.written = ""
        self._ours = ours

    def read_until(self, text: str) -> str:
        """Read until a text was written since the last call; gives what was."""
        seen = ""
        while text not in seen:
            ready, _, _ = select.select([self._ours], [], [], 20)
            assert ready, f"{text!r} was not written, but {seen!r}"
            block = os.read(self._ours, 65536).decode(errors="replace")
            seen += block
            self.written += block
        return seen

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Read to the end; gives the exit code."""
        with suppress(OSError):  # This is how a terminal says that nobody writes to it any more.
            while block := os.read(self._ours, 65536):
                self.written += block.decode(errors="replace")
        return self.process.wait(20)
