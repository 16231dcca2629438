"""The REST client against real sockets: bounded in time, an order sent once, a question asked again, no key told."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mrdaemon.alpaca import rest
from mrdaemon.alpaca.answers import (
    AlpacaError,
    DeniedError,
    LimitedError,
    MissingError,
    RejectedError,
    UnansweredError,
)
from mrdaemon.alpaca.limiter import PER_MINUTE, Limiter, Urgency
from mrdaemon.alpaca.login import Login
from mrdaemon.alpaca.rest import LOOKS, Call, Rest, threads
from tests.alpaca_support import (
    Answer,
    Asked,
    MovedClock,
    Server,
    SkippingClock,
    Wire,
    cut,
    misbehaving,
    never,
    saying,
    unbound,
    until,
)

KEY, SECRET = "PKTHEKEY", "thesecret"
ORDER = Call("POST", "/orders", {"symbol": "QQQ", "notional": "123.45", "side": "buy"})
LOOK = Call("GET", "/account", {})
REFUSED = {"code": 40310000, "message": "insufficient buying power"}


class Thing(msgspec.Struct):
    id: str


def login(url: str) -> Login:
    return Login.of(KEY, SECRET, live=False, url=url)


@asynccontextmanager
async def client(url: str, clock: MovedClock | None = None) -> AsyncIterator[Rest]:
    clock = clock or SkippingClock()
    async with threads(login(url)) as transport:
        yield Rest(transport, Limiter(clock), clock)


@asynccontextmanager
async def talking(answer: Answer, clock: MovedClock | None = None) -> AsyncIterator[tuple[Server, Rest]]:
    async with misbehaving(answer) as server, client(server.url, clock) as asker:
        yield server, asker


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing take as long as it may."""
    monkeypatch.setattr(rest, "CONNECT_WITHIN", 1.0)
    monkeypatch.setattr(rest, "READ_WITHIN", 0.3)
    monkeypatch.setattr(rest, "DEADLINE", 0.6)


def in_turn(*answers: Answer) -> Answer:
    """Answer each request otherwise, and the last ones alike."""
    left = list(answers)

    async def answer(asked: Asked, wire: Wire) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(asked, wire)

    return answer


async def drip(asked: Asked, wire: Wire) -> None:
    """Answer a byte at a time, never silent for long, and never done."""
    wire.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        wire.writer.write(b" ")
        await wire.writer.drain()
        await asyncio.sleep(0.02)


async def cut_short(asked: Asked, wire: Wire) -> None:
    """End the connection in the middle of the body."""
    wire.writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"id":')
    await wire.writer.drain()
    wire.writer.close()


async def no_http(asked: Asked, wire: Wire) -> None:
    """Answer what is no HTTP."""
    wire.writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    wire.writer.close()


SILENCES: dict[str, Answer] = {"never": never, "cut": cut, "drip": drip, "cut short": cut_short, "no HTTP": no_http}
FAILURES: dict[str, Answer] = {
    **SILENCES,
    "408": saying(408),
    "500": saying(500, {"code": 50010000, "message": "internal server error occurred"}),
    "502": saying(502, b"<html>502 Bad Gateway</html>"),
    "503": saying(503, {"message": "service unavailable"}),
    "504": saying(504, {"message": "gateway timeout"}),
    "no body": saying(200),
    "a page": saying(200, b"<html>Welcome</html>"),
    "a redirection": saying(307, b"", {"location": "/v2/orders"}),
}


# What is sent


async def test_an_order_is_sent_as_it_is_with_the_keys_in_the_headers() -> None:
    async with talking(saying(200, {"id": "1"})) as (server, asker):
        assert await asker.once(ORDER, Thing, Urgency.ORDER) == Thing("1")
    [asked] = server.asked
    assert (asked.method, asked.path) == ("POST", "/v2/orders")
    assert asked.fields == ORDER.fields
    assert (asked.headers["apca-api-key-id"], asked.headers["apca-api-secret-key"]) == (KEY, SECRET)


async def test_a_question_has_its_fields_in_the_address_and_those_without_a_value_left_out() -> None:
    async with talking(saying(200, {"id": "1"})) as (server, asker):
        fields: rest.Fields = {"symbols": "BRK.B,BTC/USD", "limit": 5, "page_token": None}
        await asker.look(Call("GET", "/stocks/trades", fields, "v1beta3", data=True), Thing)
    assert [each.path for each in server.asked] == ["/v1beta3/stocks/trades?symbols=BRK.B%2CBTC%2FUSD&limit=5"]


async def test_prices_and_orders_are_asked_of_their_own_services() -> None:
    async with (
        misbehaving(saying(200, {"id": "1"})) as trading,
        misbehaving(saying(200, {"id": "2"})) as data,
        threads(login(trading.url)._replace(data=data.url)) as transport,
    ):
        clock = SkippingClock()
        asker = Rest(transport, Limiter(clock), clock)
        assert await asker.look(LOOK, Thing) == Thing("1")
        assert await asker.look(LOOK._replace(data=True), Thing) == Thing("2")
    assert len(trading.asked) == len(data.asked) == 1


async def test_a_cancellation_needs_no_answers_body() -> None:
    async with talking(saying(204)) as (server, asker):
        await asker.once(Call("DELETE", "/orders/1", {}), type(None), Urgency.ORDER)
    assert [each.path for each in server.asked] == ["/v2/orders/1"]


async def test_an_answer_may_come_in_pieces_and_compressed() -> None:
    body = gzip.compress(json.dumps({"id": "x" * 300_000}).encode())

    async def answer(asked: Asked, wire: Wire) -> None:
        wire.writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 100):
            piece = body[start : start + 100]
            wire.writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        wire.writer.write(b"0\r\n\r\n")

    async with talking(answer) as (_, asker):
        for _ in range(3):
            assert await asker.look(LOOK, Thing) == Thing("x" * 300_000)


async def test_connections_are_used_again() -> None:
    ports = set()

    async def answer(asked: Asked, wire: Wire) -> None:
        ports.add(wire.writer.get_extra_info("peername"))
        wire.answer(200, b'{"id":"1"}')

    async with talking(answer) as (server, asker):
        for _ in range(30):
            await asker.look(LOOK, Thing)
    assert len(server.asked) == 30
    assert len(ports) <= rest.THREADS


# Orders are sent once


@pytest.mark.parametrize("how", FAILURES)
async def test_an_order_whose_answer_is_unclear_was_sent_once(how: str) -> None:
    async with talking(FAILURES[how]) as (server, asker):
        with pytest.raises(UnansweredError, match=r"^POST /orders: "):
            await asker.once(ORDER, Thing, Urgency.ORDER)
        assert await asker_is_alive(server, asker)
        assert server.count("POST") == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (saying(403, REFUSED), RejectedError),
        (saying(404, REFUSED), MissingError),
        (saying(401, {"message": "unauthorized."}), DeniedError),
        (saying(429, {"message": "too many requests."}), LimitedError),
    ],
)
async def test_an_order_that_was_not_taken_was_sent_once(answer: Answer, error: type[AlpacaError]) -> None:
    async with talking(answer) as (server, asker):
        with pytest.raises(error):
            await asker.once(ORDER, Thing, Urgency.ORDER)
        assert await asker_is_alive(server, asker)
        assert server.count("POST") == 1


async def asker_is_alive(server: Server, asker: Rest) -> bool:
    """Ask something else, for which an order that was sent again would have had the time."""
    server.answer = saying(200, {"id": "alive"})
    return await asker.look(LOOK, Thing) == Thing("alive")


async def test_a_connection_that_the_server_dropped_meanwhile_sends_no_order_twice() -> None:
    async def once_each(asked: Asked, wire: Wire) -> None:
        wire.answer(200, b'{"id":"1"}')
        await wire.writer.drain()
        wire.writer.close()

    async with talking(once_each) as (server, asker):
        answered = 0
        for _ in range(10):
            try:
                await asker.once(ORDER, Thing, Urgency.ORDER)
                answered += 1
            except UnansweredError:
                pass
            assert server.count("POST") <= 10
        assert answered >= 1
        assert server.count("POST") == 10 or answered < 10


async def test_where_nobody_listens_an_order_is_unanswered() -> None:
    async with client(unbound()) as asker:
        with pytest.raises(UnansweredError, match="refused"):
            await asker.once(ORDER, Thing, Urgency.ORDER)


# Questions are asked again


@pytest.mark.parametrize("how", FAILURES)
async def test_a_question_is_asked_again_until_it_is_answered(how: str) -> None:
    async with talking(in_turn(FAILURES[how], saying(200, {"id": "1"}))) as (server, asker):
        assert await asker.look(LOOK, Thing) == Thing("1")
        assert server.count("GET") == 2


@pytest.mark.parametrize("how", FAILURES)
async def test_a_question_that_is_never_answered_is_asked_three_times(how: str) -> None:
    clock = SkippingClock()
    async with talking(FAILURES[how], clock) as (server, asker):
        with pytest.raises(UnansweredError, match=r"^GET /account: "):
            await asker.look(LOOK, Thing)
    assert server.count("GET") == LOOKS == 3
    assert 0 < len([each for each in clock.slept if each > 0]) <= 2


async def test_a_definite_answer_to_a_question_is_taken_at_once() -> None:
    async with talking(saying(404, {"code": 40410000, "message": "order not found"})) as (server, asker):
        with pytest.raises(MissingError):
            await asker.look(LOOK, Thing)
    assert server.count("GET") == 1


async def test_after_too_many_requests_nothing_is_asked_before_its_time() -> None:
    clock = SkippingClock()
    begun = clock.now()
    limited = saying(429, b"", {"X-RateLimit-Reset": str(begun // 1_000_000_000 + 30)})
    async with talking(in_turn(limited, saying(200, {"id": "1"})), clock) as (server, asker):
        assert await asker.look(LOOK, Thing) == Thing("1")
    assert clock.now() - begun >= 30_000_000_000
    assert server.count("GET") == 2


# Time


@pytest.mark.parametrize("how", SILENCES)
async def test_a_request_ends_in_time_whatever_trickles_in(how: str) -> None:
    begun = time.monotonic()
    async with talking(SILENCES[how]) as (_, asker):
        with pytest.raises(UnansweredError):
            await asker.once(LOOK, Thing, Urgency.LOOK)
    assert time.monotonic() - begun < 2.0


async def test_answers_that_trickle_in_leave_threads_for_others() -> None:
    async with talking(drip) as (server, asker):
        drops = [asyncio.create_task(asker.once(LOOK, Thing, Urgency.LOOK)) for _ in range(rest.THREADS + 2)]
        for each in await asyncio.gather(*drops, return_exceptions=True):
            assert isinstance(each, UnansweredError)
        assert await asker_is_alive(server, asker)


async def test_threads_end_soon_after_the_client_even_with_a_request_under_way() -> None:
    async with talking(drip) as (server, asker):
        hung = asyncio.create_task(asker.once(LOOK, Thing, Urgency.LOOK))
        await until(lambda: server.asked)
        hung.cancel()
    await until(lambda: not [each for each in threading.enumerate() if each.name.startswith("alpaca")])


async def test_an_order_waits_for_its_turn_before_it_is_sent_and_not_afterwards() -> None:
    clock = MovedClock()
    async with talking(saying(200, {"id": "1"}), clock) as (server, asker):
        for _ in range(PER_MINUTE):
            await asker._limiter.take(Urgency.ORDER)
        turn = asker.turn()
        waiting = asyncio.create_task(turn.__aenter__())
        await until(lambda: clock.waiting)
        assert not waiting.done()
        clock.move(60)
        await waiting
        assert await asker.once(ORDER, Thing, None) == Thing("1")
        await turn.__aexit__(None, None, None)
    assert server.count("POST") == 1


async def test_as_many_orders_are_under_way_as_there_are_threads_for_them() -> None:
    async with talking(saying(200, {"id": "1"})) as (_, asker), AsyncExitStack() as turns:
        for _ in range(rest.ORDER_THREADS):
            await turns.enter_async_context(asker.turn())
        one_more = asyncio.create_task(asker.turn().__aenter__())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not one_more.done()
        await turns.aclose()
        await one_more


async def hang_on_looks(asked: Asked, wire: Wire) -> None:
    """Answer nothing but what concerns orders."""
    if "/orders" in asked.path:
        wire.answer(200, b'{"id":"1"}')
    else:
        await never(asked, wire)


CANCEL = Call("DELETE", "/orders/1", {})
FIND = Call("GET", "/orders:by_client_order_id", {"client_order_id": "mrd-1"})


@pytest.mark.parametrize("call", [CANCEL, FIND, ORDER])
async def test_what_concerns_orders_waits_for_no_thread_that_a_hung_look_has(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "READ_WITHIN", 10.0)
    monkeypatch.setattr(rest, "DEADLINE", 10.0)
    async with misbehaving(hang_on_looks) as server, client(server.url) as asker:
        looks = [asyncio.create_task(asker.once(LOOK, Thing, Urgency.LOOK)) for _ in range(rest.THREADS + 4)]
        await until(lambda: server.count("GET") == rest.THREADS)
        async with asyncio.timeout(5):
            assert await asker.once(call, Thing, Urgency.ORDER) == Thing("1")
        assert not any(each.done() for each in looks)
        for each in looks:
            each.cancel()


async def test_hung_cancels_keep_no_look_and_no_order_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "READ_WITHIN", 10.0)
    monkeypatch.setattr(rest, "DEADLINE", 10.0)

    async def hang_on_cancels(asked: Asked, wire: Wire) -> None:
        if asked.method == "DELETE":
            await never(asked, wire)
        wire.answer(200, b'{"id":"1"}')

    async with misbehaving(hang_on_cancels) as server, client(server.url) as asker:
        cancels = [asyncio.create_task(asker.once(CANCEL, Thing, Urgency.ORDER)) for _ in range(rest.CANCEL_THREADS)]
        await until(lambda: server.count("DELETE") == rest.CANCEL_THREADS)
        async with asyncio.timeout(5):
            assert await asker.once(LOOK, Thing, Urgency.LOOK) == Thing("1")
            assert await asker.once(ORDER, Thing, Urgency.ORDER) == Thing("1")
        for each in cancels:
            each.cancel()


async def test_a_huge_answer_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "LARGEST", 100_000)
    async with talking(saying(200, {"id": "x" * 200_000})) as (_, asker):
        with pytest.raises(UnansweredError, match="larger"):
            await asker.once(LOOK, Thing, Urgency.LOOK)


# Secrets


@pytest.mark.parametrize("how", [*FAILURES, "refused", "denied", "limited", "nobody"])
async def test_no_error_tells_the_keys(how: str) -> None:
    others: dict[str, Any] = {
        "refused": saying(403, REFUSED),
        "denied": saying(401, {"message": "unauthorized."}),
        "limited": saying(429),
        "nobody": never,
    }
    async with talking(FAILURES.get(how) or others[how]) as (server, asker):
        if how == "nobody":
            await server.leave()
        with pytest.raises(AlpacaError) as caught:
            await asker.once(ORDER, Thing, Urgency.ORDER)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert SECRET not in told
    assert KEY not in told


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        (KEY, " thesecretofit"),
        (KEY, "thesecret\nofit"),
        (KEY, "thesecret\r\nofit"),
        (KEY, "thesecret\u20acofit"),
        (f"{KEY}\n", "thesecretofit"),
        (f" {KEY}", "thesecretofit"),
        (f"{KEY}\u20ac", "thesecretofit"),
    ],
)
async def test_keys_that_cannot_be_sent_are_unanswered_and_told_to_nobody(key: str, secret: str) -> None:
    async with misbehaving(saying(200, {"id": "1"})) as server:
        one = Login.of(key, secret, live=False, url=server.url)
        async with threads(one) as transport:
            asker = Rest(transport, Limiter(SkippingClock()), SkippingClock())
            for call in (LOOK, ORDER):
                with pytest.raises(UnansweredError, match=f"^{call.method} {call.path}: ") as caught:
                    await asker.once(call, Thing, Urgency.ORDER)
                told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
                assert "ofit" not in told
                assert "thesecret" not in told
                assert KEY not in told
    assert server.asked == []


async def test_certificates_that_are_gone_are_no_end_of_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    async with client(unbound().replace("http://", "https://")) as asker:
        with pytest.raises(UnansweredError, match=r"gone\.pem"):
            await asker.once(LOOK, Thing, Urgency.LOOK)


def test_a_login_written_out_has_no_keys() -> None:
    one = Login.of(KEY, SECRET, live=True)
    for told in (repr(one), str(one), f"{one}", repr([one]), f"{(one,)!s}"):
        assert SECRET not in told
        assert KEY not in told


@pytest.mark.parametrize(
    ("live", "url", "trading", "data", "stream", "updates"),
    [
        (
            False,
            None,
            "https://paper-api.alpaca.markets",
            "https://data.alpaca.markets",
            "wss://stream.data.alpaca.markets",
            "wss://paper-api.alpaca.markets/stream",
        ),
        (
            True,
            None,
            "https://api.alpaca.markets",
            "https://data.alpaca.markets",
            "wss://stream.data.alpaca.markets",
            "wss://api.alpaca.markets/stream",
        ),
        (False, "http://h:1/", "http://h:1", "http://h:1", "ws://h:1", "ws://h:1/stream"),
        (True, "https://h", "https://h", "https://h", "wss://h", "wss://h/stream"),
    ],
)
def test_a_login_knows_where_each_service_is(
    live: bool, url: str | None, trading: str, data: str, stream: str, updates: str
) -> None:
    one = Login.of(KEY, SECRET, live=live, url=url)
    assert (one.trading, one.data, one.stream, one.updates) == (trading, data, stream, updates)
