"""Whatever a server sends, and however the network cuts it, we read as the library does: messages, answers, the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import accumulate, cycle, islice, pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from mrdaemon.alpaca import wire
from mrdaemon.alpaca.wire import Wire

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""Of the handshake, so that the answer is one and the same for both."""
LARGEST = 70_000
PIECES = 500
Say = Callable[[ServerProtocol], bytes | None]
"""Sends something; what it gives is sent as it is, after that."""


class Network(asyncio.Transport):
    """Keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        pass

    abort = close


class Heard(NamedTuple):
    """What a client made of it."""

    messages: list[bytes]
    end: str
    answers: list[tuple[Opcode, bytes]]


def asked(request: bytes) -> ServerProtocol:
    """Give a server that was asked for a connection, and agreed."""
    server = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()])
    server.receive_data(request)
    (read,) = server.events_received()
    assert isinstance(read, Request)
    server.send_response(server.accept(read))
    return server


async def heard(kind: type[ClientConnection], says: Sequence[Say], cuts: Sequence[int], *, compressed: bool) -> Heard:
    """Let a server say all this to a client, in pieces of such sizes and a last one, and hang up."""
    extensions = [ClientPerMessageDeflateFactory()] if compressed else None
    protocol = ClientProtocol(parse_uri("ws://server/"), extensions=extensions, max_size=LARGEST)
    protocol.key = KEY
    network, messages = Network(), list[bytes]()
    client = kind(protocol, ping_interval=None, close_timeout=1.0)
    client.connection_made(network)
    shaking = asyncio.ensure_future(client.handshake())
    await asyncio.sleep(0)
    request = bytes(network.sent)
    server, other = asked(request), asked(request)
    network.sent.clear()
    said = b"".join(server.data_to_send())
    for say in says:
        raw = say(server)
        said += b"".join(server.data_to_send()) + (raw or b"")

    async def read() -> str:
        try:
            await shaking
            while True:
                messages.append(await (client.message() if isinstance(client, Wire) else client.recv(decode=False)))
        except ConnectionClosed as closed:
            return str(closed)

    reading = asyncio.ensure_future(read())
    places = [0, *accumulate(islice(cycle(cuts), PIECES), initial=0), len(said)]
    for begins, ends in pairwise(places):
        client.data_received(said[begins:ends])
        await asyncio.sleep(0)
    client.eof_received()
    client.connection_lost(None)
    end = await reading
    other.receive_data(bytes(network.sent))
    answers = [(each.opcode, bytes(each.data)) for each in other.events_received() if isinstance(each, Frame)]
    return Heard(messages, end, answers)


def text(size: int) -> Say:
    return lambda server: server.send_text(b"t" * size)


def binary(data: bytes) -> Say:
    return lambda server: server.send_binary(data)


def pieces(sizes: Sequence[int]) -> Say:
    def say(server: Protocol) -> None:
        server.send_binary(b"b" * sizes[0], fin=False)
        for number, size in enumerate(sizes[1:], 2):
            server.send_ping(b"between")
            server.send_continuation(b"c" * size, fin=number == len(sizes))

    return say


def ping(data: bytes) -> Say:
    return lambda server: server.send_ping(data)


def pong(data: bytes) -> Say:
    return lambda server: server.send_pong(data)


def raw(data: bytes) -> Say:
    return lambda _: data


def farewell(server: ServerProtocol) -> bytes:
    """Close, as a server does that says more although it must not."""
    return Frame(Opcode.CLOSE, b"\x03\xe9going").serialize(mask=False)


small = st.binary(max_size=125)
good = st.one_of(
    st.sampled_from([0, 1, 125, 126, 127, 2_100, 65_535, 65_536]).map(text),
    st.binary(max_size=300).map(binary),
    st.lists(st.integers(0, 300), min_size=2, max_size=4).map(pieces),
    small.map(ping),
    small.map(pong),
)
bad = st.one_of(
    st.binary(min_size=1, max_size=30).map(raw),
    st.sampled_from(
        [
            b"\x82\x85mask12345",  # with a mask
            b"\x82\x7f" + (LARGEST + 1).to_bytes(8),
            b"\xc2\x05wrong",  # no compressed data, or compressed without an agreement
            b"\xa2\x01x",  # a bit that nobody agreed on
            b"\x83\x00",  # an opcode that there is not
            b"\x80\x00",  # the last piece of nothing
            b"\x89\x7e\x00\x80" + b"p" * 128,  # a ping that is too long
            b"\x09\x00",  # and one in pieces
        ]
    ).map(raw),
    st.just(text(LARGEST + 1)),
    st.just(farewell),
)


@given(
    st.lists(good, max_size=6),
    st.lists(bad, max_size=1),
    st.lists(good, max_size=2),
    st.lists(st.sampled_from([1, 2, 3, 7, 100, 4_096, 200_000]), min_size=1, max_size=3),
    st.booleans(),
)
@example([text(5), ping(b"x"), text(65_536)], [raw(b"\xc2\x05wrong")], [text(1)], [200_000], True)
@example([binary(b"1")], [text(LARGEST + 1)], [], [4_096], True)
@example([binary(b"1"), pieces([3, 0, 4]), text(3)], [farewell], [text(1)], [1], False)
def test_it_is_read_as_the_library_reads_it(
    before: list[Say], wrong: list[Say], after: list[Say], cuts: list[int], compressed: bool
) -> None:
    says = [*before, *wrong, *after]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "LARGEST", LARGEST)
        theirs = asyncio.run(heard(ClientConnection, says, cuts, compressed=compressed))
        ours = asyncio.run(heard(Wire, says, cuts, compressed=compressed))
    assert ours == theirs
