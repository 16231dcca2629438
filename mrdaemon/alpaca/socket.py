"""A real WebSocket, opened and read with the library ``websockets``, whose errors become a link's."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, Final

from websockets.asyncio.client import connect as open_
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.version import version

from mrdaemon.alpaca import wire
from mrdaemon.alpaca.link import DeniedError, LostError, Message
from mrdaemon.alpaca.wire import Wire

PING: Final = 20.0
"""Seconds between two pings, and until one must be answered."""
OPEN_WITHIN: Final = 10.0
CLOSE_WITHIN: Final = 2.0


class Socket:
    """An open WebSocket."""

    def __init__(self, connection: Wire) -> None:
        self._connection = connection

    def recv(self) -> Coroutine[Any, Any, bytes]:
        """Wait for a message, in the wire's own coroutine: one more around it, for each message, is dear.

        Raises:
            ConnectionClosed: the connection ended.
        """
        return self._connection.message()

    async def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            LostError: the connection ended.
        """
        try:
            await self._connection.send(message)
        except ConnectionClosed as closed:
            reason = f"the connection was closed: {closed}"
            raise LostError(reason) from closed

    async def close(self) -> None:
        """Close it, politely: Alpaca holds what ends without a word for a minute and a half."""
        await self._connection.close()


async def connect(address: str, headers: Mapping[str, str]) -> Socket:
    """Open a WebSocket.

    Raises:
        LostError: nobody answers, or not as a WebSocket.
        DeniedError: the library installed is one that we cannot read with.
    """
    try:
        connection = await open_(
            address,
            create_connection=Wire,
            additional_headers=dict(headers),
            open_timeout=OPEN_WITHIN,
            close_timeout=CLOSE_WITHIN,
            ping_interval=PING,
            ping_timeout=PING,
            max_size=wire.LARGEST,
        )
    except InvalidStatus as refused:
        # Also where it is a 403: keys are looked at later, so it is a gateway's, and passes.
        message = f"{address} answered HTTP {refused.response.status_code}"
        raise LostError(message) from refused
    except (WebSocketException, OSError, TimeoutError) as error:
        message = f"{address} cannot be reached: {str(error) or type(error).__name__}"
        raise LostError(message) from error
    if not isinstance(connection, Wire) or not connection.joined:
        await connection.close()
        message = f"the library websockets {version} does not hand over what it reads: install one of 15 to 17"
        raise DeniedError(message)
    return Socket(connection)
