"""A WebSocket of the library ``websockets``, with a shorter way from the network to whoever waits for a message.

The library reads each frame in three generators, and puts each message together in a coroutine behind a second queue
and a lock. Here the frame that nearly every message is, one that came whole, is cut out where it lies, and waits in one
queue. Whatever else a connection is stays with the library: the handshake, control frames, fragments, compression,
limits, closing, errors.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

LARGEST: Final = 8 * 1024 * 1024
"""Bytes of a message; the largest that Alpaca sends are answers to a subscription."""
MANY: Final = 16
"""Messages that may wait before the network has to; what was read of it by then comes on top."""
FEW: Final = 4
"""Messages that still wait when the network is read on."""
LONGEST_HEAD: Final = 64 * 1024
"""Bytes of an answer to the handshake; longer ones are the library's to refuse."""
_END_OF_HEAD: Final = b"\r\n\r\n"
_BINARY, _TEXT, _CONTINUATION = Opcode.BINARY, Opcode.TEXT, Opcode.CONT

# The first two bytes of a frame (RFC 6455, 5.2)
_WHOLE: Final = frozenset({0x81, 0x82})
"""Text or binary, whole."""
_COMPRESSED: Final = frozenset({0xC1, 0xC2})
"""The same, compressed (RFC 7692)."""
_BESIDE: Final = frozenset({0x89, 0x8A})
"""Ping and pong, which come between messages and change nothing about them."""
_TWO, _MASKED = 126, 128
"""Of the second byte: a length that is in the two that follow (one more: eight), and the first of one with a mask."""


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
        self._read: Callable[[bytes], None] = self._read_head
        self._held = bytearray()
        """What has come of a frame, or of the answer to the handshake, that is not whole yet."""
        self._wanted = 0
        """How many bytes it takes at least, until there is more to tell."""
        self._ours = _WHOLE
        """First bytes of the frames that are cut out here."""
        self._decode: Callable[[Frame], Frame]

    # From bytes to messages

    def data_received(self, data: bytes) -> None:
        """Take what came over the network."""
        self._read(data)

    def eof_received(self) -> None:
        """Let the library see what it ended in."""
        self._let_the_library(b"")
        super().eof_received()

    def _let_the_library(self, data: bytes) -> None:
        """Let it read this, after what was held, and everything that follows."""
        self._read = super().data_received
        self._read(self._all_held() + data)

    def _all_held(self) -> bytes:
        held = bytes(self._held)
        self._held.clear()
        return held

    def _read_head(self, data: bytes) -> None:
        """Hand the answer to the handshake to the library, and nothing of what comes after it."""
        self._held += data
        end = self._held.find(_END_OF_HEAD)
        if end < 0:
            if len(self._held) > LONGEST_HEAD:
                self._let_the_library(b"")
            return
        end += len(_END_OF_HEAD)
        held = self._all_held()
        head, rest = held[:end], held[end:]
        super().data_received(head)
        extensions = self.protocol.extensions
        if self.protocol.state is not State.OPEN or len(extensions) > 1:
            self._let_the_library(rest)
            return
        if extensions:
            self._decode, self._ours = partial(extensions[0].decode, max_size=LARGEST), _WHOLE | _COMPRESSED
        self._read = self._read_frames
        self._read(rest)

    def _read_frames(self, data: bytes) -> None:
        """Cut out whole messages; at the first frame that is neither one nor a ping, the library takes over."""
        if self._held:
            self._held += data
            if len(self._held) < self._wanted:
                return
            data = self._all_held()
        at, end, wanted = 0, len(data), 2
        while end - at >= wanted:
            kind, length, start = data[at], data[at + 1], at + 2
            if _TWO <= length < _MASKED:
                start += 2 if length == _TWO else 8
                if start > end:
                    wanted = start - at
                    break
                length = int.from_bytes(data[at + 2 : start])
                masked = False
            else:
                masked = length >= _MASKED
            ours = kind in self._ours
            if masked or length > LARGEST or not (ours or kind in _BESIDE):
                self._let_the_library(data[at:])
                return
            if start + length > end:
                wanted = start + length - at
                break
            if not ours:
                super().data_received(data[at : start + length])
            elif kind in _WHOLE:
                self._take(data[start : start + length])
            elif not self._decompress(data[start : start + length]):
                return
            at = start + length
        self._held += data[at:]
        self._wanted = wanted

    def _decompress(self, data: bytes) -> bool:
        """Take a message that is compressed; False where that cannot be read, which ends the connection."""
        try:
            whole = self._decode(Frame(_BINARY, data, rsv1=True))
        except (PayloadTooBig, ProtocolError) as error:
            self.protocol.parser.throw(error)  # As if it had been read there: it says why, and reads no more.
            self._let_the_library(b"")
            return False
        self._take(bytes(whole.data))
        return True

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
