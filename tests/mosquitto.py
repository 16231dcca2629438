"""A real mosquitto on free loopback ports, and its own clients as foreigners: started, stopped, paused, restarted."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import trustme

PATIENCE = 20.0
"""Seconds that anything here may take."""
ATTEMPTS = 10
"""A port that was free may be taken a moment later: another is tried."""
SYSTEM = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
"""Debian keeps servers where an ordinary user's PATH does not look."""
FOREIGN = ("foreigner", "may-do-all")
"""Whom mosquitto's own clients are where names are asked for: an ACL lets them do everything."""

Object = dict[str, Any]


def program(name: str) -> str:
    found = shutil.which(name, path=SYSTEM)
    assert found is not None, f"{name} is not installed: see SYSTEM_PACKAGES in the Makefile"
    return found


class Received(NamedTuple):
    """A message as a foreign client got it."""

    topic: str
    payload: str
    retain: bool
    qos: int
    properties: Object

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Certificates:
    """An authority, what it signed, what it signed long ago, and another authority; all as files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA()
        self._other = trustme.CA()
        self.ca, self.wrong_ca = folder / "ca.pem", folder / "wrong-ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)
        self._other.cert_pem.write_to_path(self.wrong_ca)
        names = ("localhost", "127.0.0.1")
        past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        long_past = past - dt.timedelta(days=30)
        self.server = self._write("server", self._authority.issue_cert(*names))
        self.misnamed = self._write("misnamed", self._authority.issue_cert("elsewhere.example"))
        self.expired = self._write("expired", self._authority.issue_cert(*names, not_before=long_past, not_after=past))
        self.client = self._write("client", self._authority.issue_cert("daemon@mrdaemon.example"))
        self.strange_client = self._write("strange", self._other.issue_cert("daemon@mrdaemon.example"))

    def _write(self, name: str, leaf: trustme.LeafCert) -> tuple[Path, Path]:
        """Give the files of a certificate and of its key."""
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(key)
        return certificate, key


class Mosquitto:
    """A broker as a child process. ``port`` is for the daemon; foreign clients come in by ``plain``, without TLS."""

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        acl: str | None = None,
        server: tuple[Path, Path] | None = None,
        client_ca: Path | None = None,
        persistent: bool = False,
        lines: Sequence[str] = (),
    ) -> None:
        """Describe it; nothing runs yet.

        Args:
            folder: where its files are.
            users: names and passwords; nobody is asked for a name where left out.
            acl: who may do what, in the words of mosquitto's ACL file; everybody everything where left out.
            server: its certificate and key: ``port`` speaks TLS.
            client_ca: who must have signed the certificate of who comes in by ``port``.
            persistent: whether it keeps retained messages and sessions when it is stopped or killed.
            lines: further lines of its configuration, of the listener ``port``.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._users = None if users is None else {**users, FOREIGN[0]: FOREIGN[1]}
        self._acl = acl
        self._server = server
        self._client_ca = client_ca
        self._persistent = persistent
        self._lines = lines
        self._process: asyncio.subprocess.Process | None = None
        self._numbers = itertools.count(1)
        self.port = self.plain = 0

    @property
    def log(self) -> str:
        """What it said."""
        return (self._folder / "mosquitto.log").read_text(errors="replace")

    def change_password(self, name: str, password: str) -> None:
        """Change whom it lets in; it knows after its next start."""
        assert self._users is not None
        self._users[name] = password

    async def until_logged(self, words: str) -> None:
        """Wait until it said something."""
        async with asyncio.timeout(PATIENCE):
            while words not in self.log:  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)

    # Its life

    async def start(self) -> None:
        """Start it, on the same ports if it had any, and wait until it takes connections."""
        if self.port:
            assert await self._started(), self.log
            return
        for _ in range(ATTEMPTS):
            self.port, self.plain = free_ports(2)
            if await self._started():
                return
        raise AssertionError(self.log)

    async def _started(self) -> bool:
        await self._write()
        self._process = await asyncio.create_subprocess_exec(
            program("mosquitto"),
            "-c",
            str(self._folder / "mosquitto.conf"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        async with asyncio.timeout(PATIENCE):
            while self._process.returncode is None:
                if await _open(self.port) and await _open(self.plain):
                    return True
                await asyncio.sleep(0.01)
        return False

    async def stop(self) -> None:
        """Stop it cleanly."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """Let it die at once."""
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def pause(self) -> None:
        """Let it take connections (the kernel does) and answer nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)  # One that is paused would not notice.
            process.send_signal(number)
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise

    async def _write(self) -> None:
        folder = self._folder
        said = ["per_listener_settings false", f"log_dest file {folder / 'mosquitto.log'}", "log_type all"]
        if os.geteuid() == 0:
            said.append("user root")  # else it becomes a user that cannot read these files
        said.append(f"allow_anonymous {'true' if self._users is None else 'false'}")
        if self._users is not None:
            names = folder / "passwords"
            names.write_text("".join(f"{name}:{word}\n" for name, word in self._users.items()))
            names.chmod(0o600)
            await _run(program("mosquitto_passwd"), "-U", str(names))
            said.append(f"password_file {names}")
        if self._acl is not None:
            rules = folder / "acl"
            rules.write_text(f"{self._acl}\n\nuser {FOREIGN[0]}\ntopic readwrite #\n")
            rules.chmod(0o600)
            said.append(f"acl_file {rules}")
        if self._persistent:
            said += ["persistence true", f"persistence_location {folder}/", "autosave_on_changes true"]
            said += ["autosave_interval 1"]
        said += [f"listener {self.plain} 127.0.0.1", f"listener {self.port} 127.0.0.1"]
        if self._server is not None:
            said += [f"certfile {self._server[0]}", f"keyfile {self._server[1]}"]
        if self._client_ca is not None:
            said += [f"cafile {self._client_ca}", "require_certificate true"]
        (folder / "mosquitto.conf").write_text("\n".join([*said, *self._lines, ""]))

    # Foreign clients

    async def publish(
        self,
        topic: str,
        payload: str | bytes = b"",
        *,
        retain: bool = False,
        qos: int = 1,
        version: str = "5",
        properties: Sequence[tuple[str, ...]] = (),
    ) -> None:
        """Publish as mosquitto_pub does; ``properties`` are such as ("message-expiry-interval", "60")."""
        more = ["-r"] if retain else []
        for each in properties:
            more += ["-D", "publish", *each]
        body = payload.encode() if isinstance(payload, str) else payload
        more += ["-s"] if body else ["-n"]
        await _run(
            program("mosquitto_pub"), *self._client(version), "-q", str(qos), "-t", topic, *more, body=body or None
        )

    @asynccontextmanager
    async def subscribed(
        self, *topics: str, version: str = "5", session: str | None = None
    ) -> AsyncIterator[Subscriber]:
        """Listen as mosquitto_sub does; ``session`` names one that the broker keeps while nobody listens."""
        more = [] if session is None else ["-c", "-i", session]
        for each in topics:
            more += ["-t", each]
        process = await asyncio.create_subprocess_exec(
            *("stdbuf", "-oL", program("mosquitto_sub"), *self._client(version)),
            *("-d", "-q", "1", "-F", "%j", *more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            limit=2**24,
        )
        subscriber = Subscriber(process)
        try:
            async with asyncio.timeout(PATIENCE):
                await subscriber.ready.wait()
            yield subscriber
        finally:
            await subscriber.end()

    async def retained(self, *topics: str) -> dict[str, Received]:
        """Give the retained messages that are there now, by topic."""
        mark = f"marks/{next(self._numbers)}"
        async with self.subscribed(*topics, mark) as subscriber:
            await self.publish(mark, "all that was there came before")
            await subscriber.until(lambda each: each.topic == mark)
            return {each.topic: each for each in subscriber.messages if each.retain}

    def _client(self, version: str) -> list[str]:
        named = ["-V", {"5": "mqttv5", "3.1.1": "mqttv311"}[version], "-h", "127.0.0.1", "-p", str(self.plain)]
        return named if self._users is None else [*named, "-u", FOREIGN[0], "-P", FOREIGN[1]]


class Subscriber:
    """A foreign client that listens."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.messages: list[Received] = []
        self.ready = asyncio.Event()
        self._process = process
        self._came = asyncio.Condition()
        self._said: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._came:
                if line.startswith(b"{"):
                    self.messages.append(_received(json.loads(line.decode(errors="replace"), strict=False)))
                elif line.startswith(b"Subscribed"):
                    self.ready.set()
                else:
                    self._said.append(line.decode(errors="replace"))
                self._came.notify_all()

    async def until(self, wanted: Callable[[Received], object], count: int = 1) -> list[Received]:
        """Wait until so many messages were as wanted, since the beginning; gives them."""
        found: list[Received] = []

        def enough() -> bool:
            found[:] = [each for each in self.messages if wanted(each)]
            return len(found) >= count

        try:
            async with asyncio.timeout(PATIENCE), self._came:
                await self._came.wait_for(enough)
        except TimeoutError:
            message = f"wanted {count}, got {found} of {self.messages}; {''.join(self._said)[-2000:]}"
            raise AssertionError(message) from None
        return found

    async def on(self, topic: str, count: int = 1) -> list[Received]:
        """Wait until so many messages came on a topic; gives them."""
        return await self.until(lambda each: each.topic == topic, count)

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading


@asynccontextmanager
async def mosquitto(folder: Path, **described: Any) -> AsyncIterator[Mosquitto]:
    """Run a broker, described as ``Mosquitto`` says; it is gone at the end."""
    broker = Mosquitto(folder / "mosquitto", **described)
    try:
        await broker.start()
        yield broker
    finally:
        await broker.kill()


def free_ports(count: int) -> list[int]:
    """Give loopback ports that are free at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def _open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def _run(*command: str, body: bytes | None = None) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL if body is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, _ = await process.communicate(body)
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, out.decode(errors="replace")


def _received(line: Object) -> Received:
    return Received(
        line["topic"], line.get("payload", ""), bool(line["retain"]), line["qos"], line.get("properties", {})
    )
