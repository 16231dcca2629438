"""A WebSocket of the library ``websockets``, with a shorter way from a frame to whoever waits for its message.

The library puts each message together in a coroutine of its own, behind a second queue and a lock. Here a message is
whole once its last frame was parsed, and waits in one queue. Whatever else a connection is stays with the library: the
handshake, control frames, compression, limits, closing, errors.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

MANY: Final = 16
"""Messages that may wait before the network has to; what was read of it by then comes on top."""
FEW: Final = 4
"""Messages that still wait when the network is read on."""
_BINARY, _TEXT, _CONTINUATION = Opcode.BINARY, Opcode.TEXT, Opcode.CONT


class Wire(ClientConnection):
    """A connection that is read with ``message``; ``recv`` gives nothing but the end."""

    joined = False
    """Whether the library hands what it parsed to ``process_event``. From the answer to the handshake on it must."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        if not isinstance(transport, asyncio.Transport):
            message = f"wanted a transport of a stream, got {type(transport).__name__}"
            raise TypeError(message)
        self._network = transport
        self._whole = deque[bytes]()
        self._begun = bytearray()
        """What has come of a message in several frames. The library lets it grow to ``max_size``."""
        self._news = asyncio.Event()
        self._paused = self._over = False

    def process_event(self, event: Frame | Request | Response) -> None:
        """Take what the library parsed."""
        self.joined = True
        if not isinstance(event, Frame):
            super().process_event(event)
            return
        opcode = event.opcode
        if event.fin and (opcode is _BINARY or opcode is _TEXT):
            self._take(bytes(event.data))
        elif opcode is _BINARY or opcode is _TEXT or opcode is _CONTINUATION:
            self._begun += event.data
            if event.fin:
                whole = bytes(self._begun)
                self._begun.clear()
                self._take(whole)
        else:
            super().process_event(event)

    def _take(self, message: bytes) -> None:
        if not self._whole:
            self._news.set()
        self._whole.append(message)
        if len(self._whole) > MANY and not self._paused:
            self._paused = True
            self._network.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; what has come still waits to be read."""
        super().connection_lost(exc)
        self._over = True
        self._news.set()

    async def message(self) -> bytes:
        """Wait for the next message; text comes as it was encoded. To cancel this loses nothing.

        Raises:
            ConnectionClosed: the connection ended.
        """
        while not self._whole:
            if self._over:
                return await self.recv(decode=False)  # The library says how it ended.
            self._news.clear()
            await self._news.wait()
        message = self._whole.popleft()
        if self._paused and len(self._whole) <= FEW:
            self._paused = False
            self._network.resume_reading()
        return message
