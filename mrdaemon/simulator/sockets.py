"""Connections that can break as real ones do: reset, or left half open. On uvicorn's own protocols."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent
    from websockets.frames import Frame

CONNECTION = "connection"
"""Under which name a request's or a websocket's state has its connection."""


class BreakableHttp(H11Protocol):
    """An HTTP connection that its requests may reset."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let every request of this connection know it."""
        self.app_state = {**self.app_state, CONNECTION: transport}
        super().connection_made(transport)


class BreakableWebSocket(WebSocketsSansIOProtocol):
    """A websocket that can be reset or left half open."""

    closed_cleanly = False
    """Whether the client closed it with a closing handshake."""
    frozen = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the session know its connection."""
        self.app_state = {**self.app_state, CONNECTION: self}
        super().connection_made(transport)

    def cut(self) -> None:
        """Reset it."""
        self.transport.abort()

    def freeze(self) -> None:
        """Read and write nothing more, and answer no ping; the peer is not told."""
        self.frozen = True
        self.stop_keepalive()
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client, unless it is frozen."""
        if not self.frozen:
            super().data_received(data)

    def handle_close(self, event: Frame) -> None:
        """Note that the client said that it closes."""
        self.closed_cleanly = True
        super().handle_close(event)

    async def receive(self) -> ASGIReceiveEvent:
        """Give the next event; a frozen connection stays unread."""
        event = await super().receive()
        if self.frozen:
            self.transport.pause_reading()
        return event

    def shutdown(self) -> None:
        """End with the server. A frozen connection has nobody to say goodbye to."""
        if self.frozen:
            self.transport.abort()
        else:
            super().shutdown()


def connection(scope: Any) -> Any:  # noqa: ANN401 - as ASGI has it
    """Give the connection behind a request or a websocket."""
    return scope["state"][CONNECTION]
