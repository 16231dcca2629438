"""The simulator on a loopback port: REST, streams and control endpoint on Starlette and uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from uvicorn.protocols.utils import ClientDisconnected

from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.simulator.lines import Socket
from mrdaemon.simulator.rest import Request
from mrdaemon.simulator.restfaults import HUNG_UP, WAIT
from mrdaemon.simulator.simulator import Session, Simulator
from mrdaemon.simulator.sockets import BreakableHttp, BreakableWebSocket, connection

__all__ = ["Simulator", "serving"]

LOOPBACK: Final = "127.0.0.1"
CLOSE_WITHIN: Final = 2
"""Seconds that a closing connection, or the whole server, waits for its clients."""
HALF_OPEN_FOR: Final = 900
"""Seconds after which a half-open connection is reset, so that a long run does not collect them."""
SWITCHING: Final = 101
"""The status of a handshake that succeeds."""
LONGEST_WAIT: Final = 1.0
"""Seconds after which the time is looked at anyway: a clock may jump."""
_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@asynccontextmanager
async def serving(
    simulator: Simulator, host: str = LOOPBACK, port: int = 0, *, speed: float = 1.0
) -> AsyncIterator[str]:
    """Serve a simulator until the block ends; gives its address, ``http://127.0.0.1:PORT``.

    Prices come from whoever calls ``see`` or the control endpoint meanwhile, in this loop.

    Args:
        simulator: what is served.
        host: a loopback address.
        port: 0 takes a free one.
        speed: how fast the simulator's time runs.

    Raises:
        OSError: the port cannot be had.
    """
    listener = _bind(host, port)
    shell = _Shell(simulator, speed)
    server = _Server(shell.config())
    serve = asyncio.create_task(server.serve([listener]), name="simulator server")
    time = asyncio.create_task(shell.pass_time(), name="simulator time")
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        time.cancel()
        server.should_exit = True
        await serve
        listener.close()
        await asyncio.wait([time])  # Not the task itself: who is cancelled meanwhile would never hear of it.
        if not time.cancelled():
            time.result()


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
        listener.setblocking(False)  # noqa: FBT003 - its only parameter
    except BaseException:  # Whatever went wrong goes on up; the port must not leak with it.
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it, and looks often whether it is to end."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as its parent has it
        yield


class _Shell:
    """Hands requests, connections and time to a simulator."""

    def __init__(self, simulator: Simulator, speed: float) -> None:
        self._simulator = simulator
        self._speed = speed
        self._woken = asyncio.Event()
        simulator.on_change = self._woken.set

    def config(self) -> uvicorn.Config:
        """Set up uvicorn. It keeps no log: what was asked is in ``/simulator/state``."""
        return uvicorn.Config(
            Starlette(
                routes=[
                    Route("/{path:path}", self._answer, methods=_METHODS),
                    WebSocketRoute("/{path:path}", self._stream),
                ]
            ),
            http=BreakableHttp,
            ws=BreakableWebSocket,
            ws_per_message_deflate=True,
            loop="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=CLOSE_WITHIN,
        )

    async def pass_time(self) -> None:
        """Wake the simulator whenever something is due."""
        while True:
            self._woken.clear()
            self._simulator.pass_time()
            await self._wait(self._simulator.next_due)

    async def _wait(self, due: Instant) -> None:
        """Wait until an instant, or until something has happened that may be due earlier."""
        seconds = max(due - self._simulator.true_time(), 0) / SECOND / self._speed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, LONGEST_WAIT)):
                await self._woken.wait()

    async def _answer(self, request: HttpRequest) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = {name: request.query_params.getlist(name) for name in request.query_params}
        asked = Request(request.method, request.url.path, query, headers, await request.body())
        answer = self._simulator.request(asked)
        sent = dict(answer.headers)
        await asyncio.sleep(float(sent.pop(WAIT, "0")))
        if answer.status == HUNG_UP:
            connection(request.scope).abort()
            return Response()
        return Response(answer.body, answer.status, sent)

    async def _stream(self, client: WebSocket) -> None:
        path = client.url.path
        status = self._simulator.handshake(path)
        if status != SWITCHING:
            await client.send_denial_response(Response(status_code=status))
            return
        await client.accept()
        outgoing = _Outgoing(client)
        headers = {name.lower(): value for name, value in client.headers.items()}
        session = self._simulator.attach(path, headers, outgoing.socket())
        writing = asyncio.create_task(outgoing.write(), name=f"simulator {path}")
        try:
            await self._listen(client, session)
        finally:
            session.closed(clean=outgoing.connection.closed_cleanly)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def _listen(self, client: WebSocket, session: Session) -> None:
        while True:
            event = await client.receive()
            if event["type"] == "websocket.disconnect":
                return
            text = event.get("text")
            session.receive(event["bytes"] if text is None else text)


class _Outgoing:
    """The frames that wait for one client."""

    def __init__(self, client: WebSocket) -> None:
        self.connection: BreakableWebSocket = connection(client.scope)
        self._client = client
        self._frames: deque[bytes | str] = deque()
        self._closing: tuple[int, str] | None = None
        self._more = asyncio.Event()

    def socket(self) -> Socket:
        """Give what a session may do."""
        return Socket(self._send, self._close, self.connection.cut, self._freeze, lambda: len(self._frames))

    async def write(self) -> None:
        """Send frames as fast as the client takes them."""
        with contextlib.suppress(ClientDisconnected, RuntimeError):
            while True:
                await self._more.wait()
                self._more.clear()
                while self._frames:
                    # Taken away once it is sent: while the client does not read, it counts.
                    frame = self._frames[0]
                    if isinstance(frame, str):
                        await self._client.send_text(frame)
                    else:
                        await self._client.send_bytes(frame)
                    self._frames.popleft()
                if self._closing is not None:
                    await self._client.close(*self._closing)
                    return

    def _send(self, frame: bytes | str) -> None:
        self._frames.append(frame)
        self._more.set()

    def _close(self, code: int, reason: str) -> None:
        self._closing = (code, reason)
        self._more.set()
        # A client that does not read does not see the close either.
        self.connection.loop.call_later(CLOSE_WITHIN, self.connection.cut)

    def _freeze(self) -> None:
        self._frames.clear()
        self.connection.freeze()
        self.connection.loop.call_later(HALF_OPEN_FOR, self.connection.cut)
