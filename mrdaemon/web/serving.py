"""What the daemon's servers have in common: one application on one listener, on the daemon's loop.

Uvicorn speaks HTTP; when it begins and ends is ours, since the daemon's signals and loop are. Whatever a client does or
leaves undone costs its own connection, and there is room for so many only.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from starlette.types import ASGIApp

CLOSE_WITHIN: Final = 2.0
"""Seconds that a stop waits for answers and streams."""
ASKED_WITHIN: Final = 10.0
"""Seconds in which a request must have begun, and its head have arrived."""
SENT_WITHIN: Final = 20.0
"""Seconds in which the whole of a request must have arrived, wanted or not."""
MOST_SENT: Final = 16 * 1024 * 1024
"""Bytes of one request that are read, and thrown away where nobody wants them, before its connection is cut."""
WITHIN: Final[dict[object, float]] = {h11.IDLE: ASKED_WITHIN, h11.SEND_BODY: SENT_WITHIN}
"""How long a client may take for what it does. Once it has said everything, it is we who take time."""
LARGEST_HEAD: Final = 16 * 1024
"""Bytes of a request before its body."""
ACCEPTED: Final = 16
"""Connections that are taken in one round of the loop; the others wait in the kernel."""
BEGINNING: Final = 64
"""Connections at one time whose TLS has not begun. Further ones are closed: each takes a file descriptor of ours."""
TAKEN_WITHIN_MS: Final = 30_000
"""How long a client may take nothing of what was sent to it."""
BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 5\r\n"
    b"connection: close\r\ncontent-length: 37\r\n\r\ntoo many are connected; ask again soon"
)


class ListenError(Exception):
    """An address cannot be opened; the message says why."""


class Serving:
    """Serves an application to whoever connects, so many at one time, until it is ended."""

    def __init__(self, app: ASGIApp, listener: socket.socket, protocol: type[Impatient], clients: int) -> None:
        self._listener = _Door(listener, self._has_room)
        self._beginning: dict[Impatient, float] = {}
        """Connections that may not have begun, and since when."""
        self._protocol = protocol
        self._clients = clients
        self._state = ServerState()
        self._config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # nobody shall fill a log with requests that are none
            access_log=False,
            proxy_headers=False,  # else anybody could write who they are into a header
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=LARGEST_HEAD,
        )

        self._turns = Turns()

    async def begin(self, tls: ssl.SSLContext | None = None) -> None:
        """Take connections from here on."""
        self._config.load()
        self._server = await asyncio.get_running_loop().create_server(
            self._connection,
            sock=self._listener,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else ASKED_WITHIN,
            backlog=ACCEPTED,
        )
        self._listener.listen(self._clients)

    def _connection(self) -> asyncio.Protocol:
        connection = self._protocol(self._config, self._state, {})
        connection.room, connection.turns = self._clients, self._turns
        self._beginning[connection] = time.monotonic()
        return connection

    def _has_room(self) -> bool:
        """Tell whether one more may begin. Those of which nothing came are over by the time that they had for it."""
        past = time.monotonic() - ASKED_WITHIN - 1
        self._beginning = {each: since for each, since in self._beginning.items() if not each.begun and since > past}
        return len(self._beginning) < BEGINNING

    async def end(self) -> None:
        """Take no more connections, finish what was asked, and cut what takes too long."""
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=CLOSE_WITHIN)
        for task in set(self._state.tasks):
            task.cancel()


class _Door(socket.socket):
    """A listener that closes at once what it has no room for: before TLS there is nobody to tell."""

    def __init__(self, listener: socket.socket, has_room: Callable[[], bool]) -> None:
        super().__init__(fileno=listener.detach())
        self.setblocking(False)  # noqa: FBT003 - its only parameter
        self._has_room = has_room

    def accept(self) -> tuple[socket.socket, Any]:
        """Take a connection."""
        while not self._has_room():
            super().accept()[0].close()
        return super().accept()


class Turns:
    """Lets connections take their turns: what one of them asks in each round of the loop, so that prices come between.

    Else whatever arrived by then would be taken at once, and a few hundred clients that ask on and on would hold prices
    up for seconds.
    """

    def __init__(self) -> None:
        self._waiting: dict[Impatient, None] = {}
        self._going = False

    def join(self, connection: Impatient) -> None:
        """Give a connection a turn, after those that wait already."""
        self._waiting[connection] = None
        if not self._going:
            self._going = True
            connection.loop.call_soon(self._next)

    def leave(self, connection: Impatient) -> None:
        """Give it none any more."""
        self._waiting.pop(connection, None)

    def _next(self) -> None:
        connection = next(iter(self._waiting), None)
        self._going = connection is not None
        if connection is not None:
            del self._waiting[connection]
            connection.loop.call_soon(self._next)
            connection.take_turn()


class Impatient(H11Protocol):
    """A connection that is closed where a client asks nothing, or takes too long about it."""

    transport: asyncio.Transport

    def __init__(self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.room = 1
        """How many connections there may be, with this one."""
        self.turns = Turns()
        """Those that it takes turns with."""
        self.begun = False
        """Whether it can be talked to; over TLS, both sides have agreed by then."""
        self._deadline: asyncio.TimerHandle | None = None
        self._stage: object = h11.IDLE
        """How far the client is with its request, as h11 calls it."""
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or tell it that there is no room."""
        super().connection_made(transport)
        self.begun = True
        if len(self.connections) > self.room:
            transport.write(BUSY)
            transport.close()
            return
        self._wait(WITHIN[h11.IDLE])

    def data_received(self, data: bytes) -> None:
        """Take what arrived, but no endless body."""
        self._received += len(data)
        if self._received > MOST_SENT:
            self.transport.abort()
            return
        super().data_received(data)

    def handle_events(self) -> None:
        """Wait for a turn with what arrived, and take no more before that."""
        self.turns.join(self)
        self.transport.pause_reading()

    def take_turn(self) -> None:
        """Take what arrived, and note how far the client is."""
        try:
            super().handle_events()
        except h11.LocalProtocolError:  # A request turned out to be broken after it was answered.
            self.transport.abort()
            return
        stage = self.conn.their_state
        if stage is not self._stage:
            self._stage = stage
            self._received = 0 if stage is h11.IDLE else self._received
            self._wait(WITHIN.get(stage))
        if not self.flow.read_paused:
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self.turns.leave(self)
        super().connection_lost(exc)
        self._wait(None)

    def _wait(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self.transport.abort()


async def listening(host: str, port: int, backlog: int) -> socket.socket:
    """Open an address for connections.

    Raises:
        ListenError: it cannot be opened.
    """
    listener: socket.socket | None = None
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TAKEN_WITHIN_MS)  # so of its connections
        listener.bind(address)
        listener.listen(backlog)
    except OSError as error:
        if listener is not None:
            listener.close()
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        message = f"{host}:{port} cannot be opened: {why}; choose another, or see who has it"
        raise ListenError(message) from error
    listener.setblocking(False)  # noqa: FBT003 - its only parameter
    return listener
