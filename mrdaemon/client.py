"""The command line's side of the control socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from mrdaemon import lock
from mrdaemon.core.instant import SECOND
from mrdaemon.places import JOURNAL, SOCKET, socket_address

PATIENCE: Final = 5.0
"""Seconds that an answer may take before the daemon counts as hung."""
PATIENCE_FOR: Final = {"halt": 3.0, "reconcile": 60.0, "reload": 60.0, "resume": 15.0}
"""The same for commands that cannot wait, or have to ask a broker."""
MARGIN: Final = 2.0
"""Seconds before we give up from which on the daemon does not begin with a command any more."""
SILENCE: Final = 30.0
"""Seconds that a stream may be silent: three heartbeats."""

Object = dict[str, Any]


class NoDaemonError(Exception):
    """No daemon runs on a state directory."""


class HungError(Exception):
    """A daemon is there, but does not answer."""


class ForeignError(Exception):
    """This user may not talk to the daemon."""


class RefusedError(Exception):
    """The daemon says no; ``answer`` is what it said."""

    def __init__(self, reason: str, answer: Object) -> None:
        super().__init__(reason)
        self.answer = answer


class UnableError(HungError):
    """The daemon answers, but cannot do anything now: it stops, it is broken, or too many ask."""


class _Connection(http.client.HTTPConnection):
    """HTTP over the control socket of a state directory."""

    def __init__(self, directory: Path, patience: float) -> None:
        super().__init__("mrdaemon", timeout=patience)
        self._directory = directory

    def connect(self) -> None:
        """Connect, through the open folder: its path may be longer than a socket's may."""
        folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            self.sock.settimeout(self.timeout)
            self.sock.connect(socket_address(folder))
        finally:
            os.close(folder)


def status(directory: Path) -> bytes:
    """Ask how everything stands; gives JSON.

    Raises:
        NoDaemonError, HungError: there is nobody to answer.
    """
    with _answer(directory, "GET", "/status") as response:
        return response.read()


def health(directory: Path) -> Object:
    """Ask whether everything makes progress.

    Raises:
        NoDaemonError, HungError: there is nobody to answer.
    """
    with _answer(directory, "GET", "/health", patience=PATIENCE) as response:
        found: Object = json.load(response)
        return found


def dashboard(directory: Path) -> str:
    """Ask where the dashboard is; the address has its token in it.

    Raises:
        NoDaemonError, HungError: there is nobody to answer.
        RefusedError: the daemon serves none.
    """
    with _answer(directory, "GET", "/dashboard") as response:
        link: str = json.load(response)["link"]
        return link


def explain(directory: Path, symbol: str, portfolio: str | None) -> list[Object]:
    """Ask why a symbol's positions do or do not trade.

    Raises:
        NoDaemonError, HungError: there is nobody to answer.
        RefusedError: there is no such position.
    """
    query = "" if portfolio is None else f"?{urlencode({'portfolio': portfolio})}"
    with _answer(directory, "GET", f"/explain/{quote(symbol)}{query}") as response:
        found: list[Object] = json.load(response)
        return found


def command(directory: Path, name: str, fields: Mapping[str, str]) -> Object:
    """Give a command, and what it changed. A daemon that wakes up after we gave up does not do it any more.

    Raises:
        NoDaemonError, HungError: there is nobody to answer.
        RefusedError: it was not done, and why.
    """
    patience = PATIENCE_FOR.get(name, PATIENCE)
    until = time.time_ns() + int((patience - MARGIN) * SECOND)
    headers = {"Content-Type": "application/json", "X-Void-After": str(until)}
    if behalf := os.environ.get("SUDO_USER"):
        headers["X-On-Behalf-Of"] = behalf
    body = json.dumps(fields).encode()
    try:
        with _answer(directory, "POST", f"/commands/{name}", body, headers, patience) as response:
            answer: Object = json.load(response)
            return answer
    except HungError as hung:
        message = f"{hung}; whether {name} was done, mrdaemon events shows"
        raise HungError(message) from hung


def follow(directory: Path, after: int, kinds: list[str]) -> Iterator[Object]:
    """Give journaled events after a number, and go on as they become durable, until the daemon ends.

    Raises:
        NoDaemonError, HungError: there is nobody to answer, or nobody any more.
    """
    query = urlencode([("after", after), ("follow", 1), *(("kind", each) for each in kinds)])
    with _answer(directory, "GET", f"/events?{query}", patience=SILENCE) as response:
        for line in response:
            if line.strip():
                event: Object = json.loads(line)
                yield event


@contextlib.contextmanager
def _answer(
    directory: Path,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
) -> Iterator[http.client.HTTPResponse]:
    connection, sent = _Connection(directory, patience), False
    try:
        connection.connect()
        sent = True
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        if response.status >= 400:  # noqa: PLR2004 - where HTTP's errors begin
            raise _refusal(directory, response)
        yield response
    except TimeoutError as error:
        message = f"{_who(directory)} has not answered for {patience:.0f} s: it may be hung"
        raise HungError(message) from error
    except PermissionError as error:
        owner = (directory / SOCKET).owner() if os.access(directory, os.X_OK) else directory.owner()
        whose = "only root" if owner == "root" else f"only {owner} and root"
        message = f"{directory / SOCKET}: nothing was done: {whose} may talk to its daemon"
        raise ForeignError(message) from error
    except (http.client.HTTPException, OSError) as error:
        if sent:
            message = f"{_who(directory)} ended, or broke off, before it answered"
            raise HungError(message) from error
        if lock.holder(directory / JOURNAL) is None:
            message = f"no daemon runs on {directory}"
            raise NoDaemonError(message) from error
        message = f"{_who(directory)} runs on {directory}, but its control socket does not answer ({error!r})"
        raise HungError(message) from error
    finally:
        connection.close()


def _refusal(directory: Path, response: http.client.HTTPResponse) -> Exception:
    body = response.read()
    try:
        answer: Object = json.loads(body)
        reason: str = answer.get("refused") or answer["error"]
    except (ValueError, KeyError):
        answer, reason = {}, body[:200].decode(errors="replace").strip() or "it does not say why"
    if response.status >= 500:  # noqa: PLR2004 - where the server's own errors begin
        return UnableError(f"{_who(directory)} cannot answer ({response.status}): {reason}")
    return RefusedError(reason, answer)


def _who(directory: Path) -> str:
    process = lock.holder(directory / JOURNAL)
    return f"the daemon (process {process})" if process else "the daemon"
