"""A real daemon with a dashboard, as a child, and a client that has nothing of the program's."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mrdaemon.places import TOKEN
from tests.running import Object, Place, daemon

PATIENCE = 20.0


def free_port() -> int:
    """Give a port of this machine that was free just now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def object(self) -> Any:
        return json.loads(self.body)


class Browser:
    """Asks one dashboard: with the token, or as a browser that signed in does."""

    def __init__(self, port: int, token: str | None = None, host: str = "127.0.0.1") -> None:
        self.port, self.host = port, host
        self.headers: dict[str, str] = {} if token is None else {"Authorization": f"Bearer {token}"}

    def ask(
        self, method: str, path: str, body: bytes | Object | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        with closing(connection):
            said = {**self.headers, **(headers or {})}
            if isinstance(body, dict):
                body, said = json.dumps(body).encode(), {"Content-Type": "application/json", **said}
            connection.request(method, path, body, said)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.ask("GET", path, None, headers)

    def command(self, name: str, headers: Mapping[str, str] | None = None, **fields: Any) -> Reply:
        return self.ask("POST", f"/api/commands/{name}", fields, headers)

    def sign_in(self, token: str) -> str:
        """Trade the token for a session; gives the word without which nothing can be done."""
        reply = self.ask("POST", "/api/session", {"token": token})
        assert reply.status == 200, reply
        self.headers = {"Cookie": str(reply.headers["Set-Cookie"]).partition(";")[0]}
        word: str = reply.object["csrf"]
        return word

    @contextmanager
    def stream(self, headers: Mapping[str, str] | None = None) -> Iterator[Stream]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        with closing(connection):
            connection.request("GET", "/api/stream", headers={**self.headers, **(headers or {})})
            yield Stream(connection.getresponse())


class Told(NamedTuple):
    """One server-sent event."""

    event: str
    data: Any
    id: str | None


class Stream:
    """A stream of server-sent events."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.response = response

    def hear(self, event: str) -> Told:
        """Wait for the next event of a name."""
        while True:
            told = self.next()
            if told.event == event:
                return told

    def next(self) -> Told:
        fields: dict[str, str] = {}
        for raw in self.response:
            line = raw.decode().rstrip("\n")
            if not line and "data" in fields:
                return Told(fields["event"], json.loads(fields["data"]), fields.get("id"))
            name, _, value = line.partition(": ")
            fields[name] = value
        message = "the stream ended"
        raise AssertionError(message)


class Web:
    """A daemon with a dashboard."""

    def __init__(self, place: Place, port: int, process: subprocess.Popen[str]) -> None:
        self.place, self.port, self.process = place, port, process

    @property
    def token(self) -> str:
        return (self.place.state / TOKEN).read_text().strip()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def browser(self) -> Browser:
        """Give one that nobody signed in with."""
        return Browser(self.port)

    def program(self) -> Browser:
        """Give one that has the token."""
        return Browser(self.port, self.token)


def with_dashboard(place: Place, port: int, more: str = "") -> Place:
    """Have a place's daemon serve a dashboard."""
    place.config.write_text(f'{place.config.read_text()}\n[web]\nlisten = "127.0.0.1:{port}"\n{more}\n')
    return place


@contextmanager
def web_daemon(folder: Path, more: str = "", **changes: str) -> Iterator[Web]:
    """Run a daemon that holds QQQ, on a recording whose next price is an hour away."""
    place = Place(folder).configure(speed="1x", **changes).record(100, 101, 102, apart=3600)
    port = free_port()
    kind = "order_filled" if changes.get("mode", "auto") == "auto" else "approval_requested"
    with daemon(with_dashboard(place, port, more), kind=kind) as process:
        yield Web(place, port, process)
