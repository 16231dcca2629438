"""The shorter way from a frame to its message: whole, in order, none lost, none beyond what may wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import websockets.asyncio.server as ws
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from mrdaemon.alpaca import socket as sockets
from mrdaemon.alpaca import wire
from mrdaemon.alpaca.link import DeniedError
from mrdaemon.alpaca.socket import Socket, connect
from mrdaemon.alpaca.wire import MANY, Wire

Talk = Callable[[ws.ServerConnection], Awaitable[None]]


@contextlib.asynccontextmanager
async def talking(talk: Talk, compression: str | None = "deflate") -> AsyncIterator[Socket]:
    """Open a connection to a server that talks."""
    async with ws.serve(talk, "127.0.0.1", 0, compression=compression) as server:
        (listening,) = server.sockets
        connection = await connect(f"ws://127.0.0.1:{listening.getsockname()[1]}", {})
        try:
            yield connection
        finally:
            await connection.close()


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_a_message_in_pieces_is_whole_in_its_place_and_a_ping_between_them_is_answered(
    compression: str | None,
) -> None:
    answered = asyncio.Event()

    async def talk(client: ws.ServerConnection) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"second, "
            await (await client.ping())
            answered.set()
            yield b""
            yield b"in pieces"

        await client.send(b"first")
        await client.send(pieces())
        await client.send("third, as text")
        await client.send(["fourth, ", "text in pieces"])
        await client.wait_closed()

    async with talking(talk, compression) as connection:
        heard = [await connection.recv() for _ in range(4)]
    assert heard == [b"first", b"second, in pieces", b"third, as text", b"fourth, text in pieces"]
    assert [type(each) for each in heard] == [bytes] * 4
    assert answered.is_set()


async def test_who_is_cancelled_while_waiting_loses_nothing() -> None:
    go = asyncio.Event()

    async def talk(client: ws.ServerConnection) -> None:
        await go.wait()
        await client.send(b"late")
        await client.wait_closed()

    async with talking(talk) as connection:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.recv(), 0.01)
        go.set()
        assert await connection.recv() == b"late"


async def test_what_came_before_the_end_is_read_before_it() -> None:
    async def talk(client: ws.ServerConnection) -> None:
        await client.send(b"last words")
        await client.close(1001, "going away")

    async with talking(talk) as connection:
        await connection._connection.wait_closed()
        assert await connection.recv() == b"last words"
        for _ in range(2):
            with pytest.raises(ConnectionClosed, match=r"1001 .*going away"):
                await connection.recv()


async def test_a_message_that_is_too_large_in_pieces_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LARGEST", 1_000)

    async def talk(client: ws.ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await client.send([b"x" * 400] * 3)
            await client.wait_closed()

    async with talking(talk) as connection:
        with pytest.raises(ConnectionClosed, match="1009"):
            await connection.recv()


async def test_who_does_not_read_is_not_sent_more_than_may_wait_and_loses_nothing() -> None:
    sent = 0
    wanted = [f"{number:06}".encode() + b"x" * 20_000 for number in range(1_500)]

    async def talk(client: ws.ServerConnection) -> None:
        nonlocal sent
        for each in wanted:
            await client.send(each)
            sent += 1
        await client.wait_closed()

    async with talking(talk, compression=None) as connection:
        assert await connection.recv() == wanted[0]
        await _until_still(lambda: sent)
        assert MANY < sent < len(wanted)
        assert [await connection.recv() for _ in wanted[1:]] == wanted[1:]


async def _until_still(count: Callable[[], int]) -> None:
    """Wait until a count has not moved for many turns of the loop."""
    still, last = 0, -1
    while still < 50:
        await asyncio.sleep(0.002)
        still, last = (still + 1 if count() == last else 0), count()


# What we rely on, beyond what the library documents


async def test_the_library_hands_over_what_it_reads() -> None:
    """Where this fails, the release installed has another way inside: see the record on the wire in docs/decisions."""

    async def talk(client: ws.ServerConnection) -> None:
        await client.send(b"hello")
        await client.wait_closed()

    async with talking(talk) as connection:
        assert await asyncio.wait_for(connection.recv(), 5.0) == b"hello"


async def test_a_release_that_hands_nothing_over_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(Wire):
        process_event = ClientConnection.process_event

    monkeypatch.setattr(sockets, "Wire", Elsewhere)
    with pytest.raises(DeniedError, match=r"websockets .* does not hand over what it reads: install one of 15 to 17"):
        async with talking(lambda client: client.wait_closed()):
            pass
