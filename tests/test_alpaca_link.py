"""A connection that is made again: its states in order, its waits, and where it gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
import websockets.asyncio.server as ws
from structlog.testing import capture_logs
from websockets.http11 import Request, Response

from mrdaemon.alpaca import link as linking
from mrdaemon.alpaca import socket as sockets
from mrdaemon.alpaca.link import (
    ENDS,
    PROVEN_AFTER,
    TAKEN_FIRST,
    TAKEN_LONGEST,
    DeniedError,
    Link,
    LostError,
    TakenError,
    opened,
)
from mrdaemon.alpaca.socket import connect
from mrdaemon.core.instant import SECOND
from mrdaemon.core.policy import FeedState
from mrdaemon.retry import LONGEST
from tests.alpaca_support import MovedClock, SkippingClock, misbehaving, never, running, saying, unbound, until

CONNECTING, AUTHENTICATED, SUBSCRIBED, LIVE, STALE, REFUSED = (
    FeedState.CONNECTING,
    FeedState.AUTHENTICATED,
    FeedState.SUBSCRIBED,
    FeedState.LIVE,
    FeedState.STALE,
    FeedState.REFUSED,
)
Told = list[tuple[FeedState, str]]


async def told(
    ends: Sequence[BaseException | None],
    clock: MovedClock,
    states: Sequence[FeedState] = (),
    lasting: Callable[[int], float] = lambda _: 0.0,
) -> Told:
    """Run conversations that end as told, one after the other, to a last one that is refused."""
    said: Told = []
    left = list(ends)

    async def converse(link: Link) -> None:
        for state in states:
            link.say(state)
        clock.move(lasting(len(ends) - len(left)))
        if not left:
            raise DeniedError("the end")
        end = left.pop(0)
        if end is not None:
            raise end

    await Link("alpaca iex", converse, lambda state, reason: said.append((state, reason)), clock).run()
    return said


# States


async def test_states_are_told_in_order_and_the_next_attempt_says_why() -> None:
    states = [AUTHENTICATED, SUBSCRIBED, LIVE]
    assert await told([LostError("it was cut")], SkippingClock(), states) == [
        (CONNECTING, ""),
        (AUTHENTICATED, ""),
        (SUBSCRIBED, ""),
        (LIVE, ""),
        (CONNECTING, "it was cut"),
        (AUTHENTICATED, ""),
        (SUBSCRIBED, ""),
        (LIVE, ""),
        (REFUSED, "the end"),
    ]


async def test_a_lost_connection_is_told_before_the_wait_for_the_next_one() -> None:
    clock, said = MovedClock(), list[tuple[FeedState, str]]()

    async def converse(link: Link) -> None:
        link.say(LIVE)
        raise LostError("it was cut")

    async with running(Link("alpaca iex", converse, lambda *each: said.append(each), clock).run()):
        await until(lambda: clock.slept)
        assert said[-1] == (CONNECTING, "it was cut")


async def test_a_state_is_told_once_while_nothing_changes() -> None:
    said = await told([LostError("nobody is there")] * 50, SkippingClock())
    assert said == [(CONNECTING, ""), (CONNECTING, "nobody is there"), (REFUSED, "the end")]


async def test_a_new_reason_is_news() -> None:
    said = await told([LostError("one"), LostError("two"), LostError("two")], SkippingClock())
    assert [reason for _, reason in said] == ["", "one", "two", "the end"]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (LostError("cut"), "cut"),
        (TakenError("connection limit exceeded (406)"), "connection limit exceeded (406)"),
        (TimeoutError(), "TimeoutError"),
        (OSError("no route to host"), "no route to host"),
        (None, "the connection ended"),
    ],
)
async def test_whatever_ended_a_connection_another_is_made(end: BaseException | None, reason: str) -> None:
    assert (CONNECTING, reason) in await told([end], SkippingClock())


async def test_a_fault_of_ours_is_not_mistaken_for_a_lost_connection() -> None:
    with pytest.raises(ZeroDivisionError):
        await told([ZeroDivisionError()], SkippingClock())


async def test_a_refusal_ends_it_with_the_reason() -> None:
    clock = SkippingClock()
    assert await told([DeniedError("auth failed (402)")], clock) == [
        (CONNECTING, ""),
        (REFUSED, "auth failed (402)"),
    ]
    assert not clock.slept


async def test_the_log_says_which_stream_ended_and_why() -> None:
    with capture_logs() as logged:
        await told([LostError("it was cut")], SkippingClock())
    assert [(each["event"], each["stream"], each["reason"]) for each in logged] == [
        ("disconnected", "alpaca iex", "it was cut"),
        ("refused", "alpaca iex", "the end"),
    ]


# Waits


async def test_each_wait_is_a_draw_below_a_bound_that_doubles() -> None:
    waits = []
    for _ in range(60):
        clock = SkippingClock()
        await told([LostError("again")] * 8, clock)
        waits.append(clock.slept)
    for attempt in range(8):
        bound = min(2.0**attempt, LONGEST)
        drawn = [each[attempt] for each in waits]
        assert max(drawn) <= bound
        assert min(drawn) < bound / 4
        assert max(drawn) > bound * 3 / 4


async def test_where_alpaca_holds_the_last_connection_patience_is_long() -> None:
    waits = []
    for _ in range(60):
        clock = SkippingClock()
        await told([TakenError("connection limit exceeded (406)")] * 5, clock)
        waits += clock.slept
    assert min(waits) >= TAKEN_FIRST / 2
    assert max(waits) <= TAKEN_FIRST / 2 + TAKEN_LONGEST
    assert sum(waits) / 60 > 60


async def test_after_a_connection_that_lasted_the_waits_begin_anew() -> None:
    for _ in range(20):
        clock = SkippingClock()
        await told([LostError("again")] * 7, clock, lasting=lambda n: PROVEN_AFTER / SECOND + 1 if n == 5 else 0)
        assert clock.slept[5] <= 1.0
        assert clock.slept[6] <= 2.0


async def test_a_connection_that_ends_at_once_again_and_again_is_no_success() -> None:
    clock = SkippingClock()
    states = [AUTHENTICATED, SUBSCRIBED, LIVE]
    await told([LostError("again")] * 60, clock, states, lasting=lambda _: 1.0)
    assert sum(clock.slept) > 10 * LONGEST


# Opening and closing


class Hanging:
    """A connection that hears nothing, and does not close."""

    def __init__(self) -> None:
        self.closing = False

    async def recv(self) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: str | bytes) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closing = True
        await asyncio.Event().wait()


async def test_a_connection_that_does_not_open_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "OPEN_WITHIN", 0.05)

    async def connect_never(address: str, headers: object) -> Hanging:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TimeoutError):
        async with opened(connect_never, "ws://nowhere", {}):
            pass


async def test_a_connection_that_does_not_close_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "CLOSE_WITHIN", 0.05)
    connection = Hanging()

    async def connect_at_once(address: str, headers: object) -> Hanging:
        return connection

    async with opened(connect_at_once, "ws://somewhere", {}):
        pass
    assert connection.closing


# Real sockets


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "OPEN_WITHIN", 0.3)
    monkeypatch.setattr(sockets, "CLOSE_WITHIN", 0.1)


def as_socket(url: str) -> str:
    return url.replace("http://", "ws://")


@pytest.mark.parametrize("status", [200, 401, 402, 403, 404, 429, 500, 502, 503, 504])
async def test_a_service_that_is_no_socket_now_may_be_one_later(status: int) -> None:
    async with misbehaving(saying(status)) as server:
        with pytest.raises(LostError, match=f"HTTP {status}"):
            await connect(as_socket(server.url), {})


async def test_a_gateway_that_refuses_for_a_while_is_asked_until_it_lets_us_in() -> None:
    left = [403, 401, 403]

    def refuse(client: ws.ServerConnection, request: Request) -> Response | None:
        return client.respond(left.pop(), "") if left else None

    async def talk(client: ws.ServerConnection) -> None:
        await client.wait_closed()

    async with ws.serve(talk, "127.0.0.1", 0, process_request=refuse) as server:
        address = f"ws://127.0.0.1:{port_of(server)}"

        async def converse(link: Link) -> None:
            async with opened(connect, address, {}) as connection:
                link.say(LIVE)
                await connection.recv()

        said: Told = []
        async with running(Link("alpaca iex", converse, lambda *each: said.append(each), SkippingClock()).run()):
            await until(lambda: said[-1:] == [(LIVE, "")])
    assert [state for state, _ in said] == [CONNECTING] * 4 + [LIVE]
    assert "HTTP 403" in said[1][1]


async def test_where_nobody_listens_the_connection_is_lost() -> None:
    with pytest.raises(LostError, match="cannot be reached"):
        await connect(as_socket(unbound()), {})


async def test_a_service_that_never_answers_is_lost_in_time() -> None:
    async with misbehaving(never) as server:
        with pytest.raises(LostError, match="cannot be reached"):
            await connect(as_socket(server.url), {})


async def test_a_name_that_nobody_knows_is_lost() -> None:
    with pytest.raises(LostError, match="cannot be reached"):
        await connect("ws://no-such-name.invalid/", {})


async def test_messages_come_as_bytes_whatever_they_are_sent_as() -> None:
    async def talk(client: ws.ServerConnection) -> None:
        await client.send("text")
        await client.send(b"bytes")
        await client.send([b"in ", b"pieces"])
        await client.close(1000)

    async with (
        ws.serve(talk, "127.0.0.1", 0) as server,
        opened(connect, f"ws://127.0.0.1:{port_of(server)}", {}) as connection,
    ):
        assert [await connection.recv() for _ in range(3)] == [b"text", b"bytes", b"in pieces"]
        with pytest.raises(ENDS, match="1000"):
            await connection.recv()
        with pytest.raises(LostError, match="closed"):
            await connection.send(b"hello?")


async def test_a_connection_that_is_cut_is_lost() -> None:
    async def talk(client: ws.ServerConnection) -> None:
        client.transport.abort()

    async with ws.serve(talk, "127.0.0.1", 0) as server:
        with pytest.raises(LostError, match="the connection was closed: no close frame"):
            async with opened(connect, f"ws://127.0.0.1:{port_of(server)}", {}) as connection:
                await connection.recv()


async def test_headers_are_sent_and_a_goodbye_is_said() -> None:
    heard: list[object] = []

    def look(client: ws.ServerConnection, request: Request) -> Response | None:
        heard.append(request.headers["Content-Type"])
        return None

    async def talk(client: ws.ServerConnection) -> None:
        async for _ in client:
            pass
        heard.append(client.close_code)

    async with ws.serve(talk, "127.0.0.1", 0, process_request=look) as server:
        connection = await connect(f"ws://127.0.0.1:{port_of(server)}", {"Content-Type": "application/msgpack"})
        await connection.close()
        await until(lambda: len(heard) == 2)
    assert heard == ["application/msgpack", 1000]


async def test_a_task_that_is_cancelled_closes_its_connection_politely() -> None:
    codes: list[int | None] = []

    async def talk(client: ws.ServerConnection) -> None:
        async for _ in client:
            pass
        codes.append(client.close_code)

    async with ws.serve(talk, "127.0.0.1", 0) as server:
        address = f"ws://127.0.0.1:{port_of(server)}"

        async def converse(link: Link) -> None:
            async with opened(connect, address, {}) as connection:
                link.say(LIVE)
                await connection.recv()

        said: Told = []
        async with running(Link("alpaca iex", converse, lambda *each: said.append(each), MovedClock()).run()):
            await until(lambda: (LIVE, "") in said)
        await until(lambda: codes)
    assert codes == [1000]


def port_of(server: ws.Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port
