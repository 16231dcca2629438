"""Live prices from a local Alpaca over real sockets: nothing lost, nothing twice, and silence told from quiet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgpack  # type: ignore[import-untyped] # comes with the official client, and has no types
import pytest
import websockets.asyncio.server as ws
from structlog.testing import capture_logs

from mrdaemon.alpaca.answers import Reply
from mrdaemon.alpaca.history import Place
from mrdaemon.alpaca.limiter import Limiter
from mrdaemon.alpaca.link import Connection
from mrdaemon.alpaca.login import Login
from mrdaemon.alpaca.rest import Call, Rest, Transport, threads
from mrdaemon.calendar import MarketCalendar
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.policy import FeedState
from mrdaemon.core.prints import Trade, quote_print, trade_print
from mrdaemon.feeds import FeedError
from mrdaemon.feeds import alpacastream as feeding
from mrdaemon.feeds.alpaca import AlpacaFeed
from mrdaemon.feeds.alpacastream import Market, Surroundings
from mrdaemon.simulator.keys import Plan
from mrdaemon.simulator.standing import NeverCloses
from tests.alpaca_support import Heard, Local, local, running, until

CONNECTING, AUTHENTICATED, SUBSCRIBED, LIVE, STALE, REFUSED = (
    FeedState.CONNECTING,
    FeedState.AUTHENTICATED,
    FeedState.SUBSCRIBED,
    FeedState.LIVE,
    FeedState.STALE,
    FeedState.REFUSED,
)


def shares(here: Local, *symbols: str, stream: str = "iex", quotes: Sequence[str] | None = None) -> Market:
    return Market(
        name=f"alpaca {stream}",
        address=f"{here.login.stream}/v2/{stream}",
        trades=symbols,
        quotes=tuple(symbols if quotes is None else quotes),
        statuses=stream != "test",
        place=None if stream == "test" else Place("v2", "/stocks", stream),
        always=stream == "test",
    )


def pairs(here: Local, *symbols: str) -> Market:
    address, place = f"{here.login.stream}/v1beta3/crypto/us", Place("v1beta3", "/crypto/us")
    return Market("alpaca crypto", address, symbols, symbols, statuses=False, place=place)


def feed_of(
    here: Local, *markets: Market, heard: Heard, calendar: Any = None, login: Login | None = None
) -> AlpacaFeed:
    around = Surroundings(login or here.login, here.rest, here.connect, calendar or NeverCloses(), here.clock, heard)
    return AlpacaFeed(markets, around)


@asynccontextmanager
async def feeding_from(here: Local, *markets: Market, calendar: Any = None) -> AsyncIterator[Heard]:
    """Run a feed that is subscribed to all its markets."""
    heard = Heard()
    feed = feed_of(here, *markets, heard=heard, calendar=calendar)
    async with running(feed.run(heard.deliver)):
        await until(lambda: heard.was(SUBSCRIBED) == len(markets))
        await until(lambda: filled(here) == sum(each.place is not None for each in markets))
        yield heard


def filled(here: Local) -> int:
    """Count how often the newest prices were asked for: the last thing before new ones count."""
    return sum(
        len(here.asked("GET", path)) for path in ("/v2/stocks/quotes/latest", "/v1beta3/crypto/us/latest/quotes")
    )


def since_then(heard: Heard) -> list[tuple[FeedState, str]]:
    """Take the states that were told since the last time."""
    states = [(state, reason) for _, state, reason in heard.states]
    heard.states.clear()
    return states


# Connecting


async def test_a_feed_connects_logs_in_subscribes_and_is_live_with_the_first_price() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ", "SPY")) as heard:
        assert since_then(heard) == [(CONNECTING, ""), (AUTHENTICATED, ""), (SUBSCRIBED, "")]
        here.trade("QQQ", 500.0)
        await until(lambda: heard.prints)
        assert since_then(heard) == [(LIVE, "")]
        [(*seen, trade)] = heard.prints
        assert seen == ["QQQ", 500.0, here.clock.now(), None]
        assert isinstance(trade, Trade)
        assert (trade.conditions, trade.size, trade.id) == (("@",), 100.0, 1)


async def test_each_stream_of_a_feed_tells_its_own_state() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ"), pairs(here, "BTC/USD")) as heard:
        assert {feed for feed, _, _ in heard.states} == {"alpaca iex", "alpaca crypto"}
        here.trade("QQQ", 500.0)
        here.trade("BTC/USD", 60_000.0)
        await until(lambda: len(heard.trades) == 2)
        assert heard.was(LIVE) == 2


async def test_symbols_that_were_not_asked_for_are_not_delivered() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ", quotes=[])) as heard:
        here.trade("SPY", 600.0)
        here.quote("QQQ", 499.0, 501.0)
        here.trade("QQQ", 500.0)
        await until(lambda: heard.prints)
        assert heard.trades == [("QQQ", 500.0)]


async def test_more_than_five_hundred_symbols_are_subscribed_in_portions() -> None:
    symbols = [f"S{number}" for number in range(1201)]
    async with local(plan=Plan.PLUS) as here, feeding_from(here, shares(here, *symbols, stream="sip")) as heard:
        wishes = [each for each in here.said if each["action"] == "subscribe"]
        assert [len(each["trades"]) for each in wishes] == [500, 500, 201]  # type: ignore[arg-type]
        assert all(each["trades"] == each["quotes"] == each["statuses"] for each in wishes)
        here.simulator.see([trade_print(each, 10.0, here.clock.now()) for each in symbols])
        await until(lambda: len(heard.prints) == len(symbols))
        assert sorted(each[0] for each in heard.prints) == sorted(symbols)


async def test_at_the_start_the_newest_prices_are_asked_for() -> None:
    async with local() as here:
        here.trade("QQQ", 499.0, 500.0)
        here.quote("QQQ", 499.5, 500.5)
        async with feeding_from(here, shares(here, "QQQ", "SPY")) as heard:
            await until(lambda: len(heard.prints) == 2)
            trade, quote = heard.prints
            assert trade[:2] == ("QQQ", 500.0)
            assert (quote[1], quote[4]) == (500.0, None)


# What happens while nobody listens


async def cut(here: Local, heard: Heard) -> None:
    """Break the connection, and wait until the feed knows."""
    before = heard.was(CONNECTING)
    here.fault("cut")
    await until(lambda: heard.was(CONNECTING) > before)


async def until_subscribed_again(here: Local, heard: Heard) -> None:
    before = heard.was(SUBSCRIBED)
    await until(lambda: heard.was(SUBSCRIBED) > before, lambda: here.pass_time(0.05))


async def test_a_gap_is_filled_in_order_and_nothing_comes_twice() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ", "SPY", quotes=[])) as heard:
        here.trade("QQQ", 500.0, 501.0)
        here.trade("SPY", 600.0)
        await until(lambda: len(heard.trades) == 3)
        await cut(here, heard)
        here.trade("QQQ", 502.0)
        here.trade("SPY", 601.0)
        here.trade("QQQ", 503.0)
        await until_subscribed_again(here, heard)
        here.trade("QQQ", 504.0)
        await until(lambda: ("QQQ", 504.0) in heard.trades)
        assert heard.trades == [
            ("QQQ", 500.0),
            ("QQQ", 501.0),
            ("SPY", 600.0),
            ("QQQ", 502.0),
            ("SPY", 601.0),
            ("QQQ", 503.0),
            ("QQQ", 504.0),
        ]


async def test_quotes_between_the_trades_bring_no_trade_twice() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ")) as heard:
        here.trade("QQQ", 500.0, 501.0, 502.0)
        here.quote("QQQ", 501.9, 502.1)
        await until(lambda: len(heard.prints) == 4)
        await cut(here, heard)
        here.trade("QQQ", 503.0)
        here.quote("QQQ", 502.9, 503.1)
        await until_subscribed_again(here, heard)
        here.trade("QQQ", 504.0)
        await until(lambda: ("QQQ", 504.0) in heard.trades)
        assert [price for _, price in heard.trades] == [500.0, 501.0, 502.0, 503.0, 504.0]


async def test_trades_of_one_instant_all_count() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ")) as heard:
        here.trade("QQQ", 500.0)
        await until(lambda: heard.prints)
        await cut(here, heard)
        here.clock.move(0.001)
        here.simulator.see([trade_print("QQQ", price, here.clock.now()) for price in (501.0, 502.0, 503.0)])
        await until_subscribed_again(here, heard)
        await until(lambda: ("QQQ", 503.0) in heard.trades)
        assert [price for _, price in heard.trades] == [500.0, 501.0, 502.0, 503.0]


async def test_a_gap_longer_than_a_minute_is_filled_with_its_last_minute() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ", quotes=[])) as heard:
        here.trade("QQQ", 500.0)
        await until(lambda: heard.prints)
        await cut(here, heard)
        here.trade("QQQ", 501.0)
        here.pass_time(120)
        here.trade("QQQ", 502.0, 503.0)
        await until(lambda: ("QQQ", 503.0) in heard.trades, lambda: here.pass_time(0.05))
        assert [price for _, price in heard.trades] == [500.0, 502.0, 503.0]


async def test_of_delayed_prices_only_the_newest_are_asked_for() -> None:
    async with local() as here:
        market = shares(here, "QQQ", stream="delayed_sip")
        async with feeding_from(here, market) as heard:
            here.trade("QQQ", 500.0)
            await until(lambda: heard.prints, lambda: here.pass_time(30))
            await cut(here, heard)
            await until_subscribed_again(here, heard)
            await until(lambda: filled(here) >= 2)
            asked = [each.path for each in here.simulator.requests]
            assert sorted(set(asked)) == ["/v2/stocks/quotes/latest", "/v2/stocks/trades/latest"]


async def test_where_the_gap_cannot_be_filled_new_prices_count_all_the_same() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ")) as heard:
        here.trade("QQQ", 500.0)
        await until(lambda: heard.prints)
        here.fault("500", times=0, path="/v2/stocks")
        await cut(here, heard)
        here.trade("QQQ", 501.0)
        await until_subscribed_again(here, heard)
        here.trade("QQQ", 502.0)
        await until(lambda: ("QQQ", 502.0) in heard.trades, lambda: here.pass_time(0.05))
        assert [price for _, price in heard.trades] == [500.0, 502.0]


async def test_a_slow_answer_about_the_gap_keeps_new_prices_waiting_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeding, "FILL_WITHIN", 0.1)
    async with local() as here:
        here.trade("QQQ", 500.0)
        here.fault("slow_answer", times=0, seconds=0.5, path="/v2/stocks")
        heard = Heard()
        async with running(feed_of(here, shares(here, "QQQ"), heard=heard).run(heard.deliver)):
            await until(lambda: heard.was(SUBSCRIBED))
            here.trade("QQQ", 501.0)
            await until(lambda: heard.prints)
            assert heard.trades == [("QQQ", 501.0)]


class Stuck:
    """Carries so many requests, and answers none after them."""

    def __init__(self, carrier: Transport, after: int) -> None:
        self._carrier, self._left = carrier, after

    async def carry(self, call: Call) -> Reply:
        if not self._left:
            await asyncio.get_running_loop().create_future()
        self._left -= 1
        return await self._carrier.carry(call)


async def test_of_a_gap_what_was_found_counts_though_the_rest_came_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "FILL_WITHIN", 0.5)
    symbols = [f"S{number}" for number in range(150)]
    async with local(plan=Plan.PLUS) as here:
        for each in symbols:
            here.trade(each, 500.0)
        heard, market = Heard(), shares(here, *symbols, stream="sip")
        async with threads(here.login) as carrier:
            rest = Rest(Stuck(carrier, after=2), Limiter(here.clock), here.clock)
            around = Surroundings(here.login, rest, here.connect, NeverCloses(), here.clock, heard)
            async with running(AlpacaFeed([market], around).run(heard.deliver)):
                await until(lambda: heard.prints)
        assert [symbol for symbol, _ in heard.trades] == symbols[:100]


async def test_the_gap_of_a_thousand_symbols_is_filled_and_that_of_others_left_out_and_told() -> None:
    symbols = [f"S{number}" for number in range(1150)]
    async with local(plan=Plan.PLUS) as here:
        for each in symbols:
            here.trade(each, 500.0)
        heard = Heard()
        with capture_logs() as logs:
            async with running(feed_of(here, shares(here, *symbols, stream="sip"), heard=heard).run(heard.deliver)):
                await until(lambda: heard.prints)
        assert [symbol for symbol, _ in heard.trades] == symbols[:1000]
        assert len(here.simulator.requests) == 20
        assert [each["left_out"] for each in logs if each["event"].startswith("too many symbols")] == [150]


# A server of our own, for what the local Alpaca does not do


def frame(*messages: dict[str, Any]) -> bytes:
    raw: bytes = msgpack.packb([*messages])
    return raw


class Scripted:
    """A stream that lets anybody in, and says between the portions what a test wants it to."""

    def __init__(self, between: Sequence[bytes] = (), after: Sequence[bytes] = ()) -> None:
        self.between, self.after = list(between), list(after)
        self.url = ""
        self.connections = 0

    async def talk(self, client: ws.ServerConnection) -> None:
        self.connections += 1
        await client.send(frame({"T": "success", "msg": "connected"}))
        await client.recv()
        await client.send(frame({"T": "success", "msg": "authenticated"}))
        subscribed: list[str] = []
        async for wish in client:
            subscribed += msgpack.unpackb(wish)["trades"]
            while self.between:
                await client.send(self.between.pop(0))
            await client.send(frame({"T": "subscription", "trades": subscribed}))
            while self.after:
                await client.send(self.after.pop(0))


@asynccontextmanager
async def scripted(script: Scripted, here: Local, *symbols: str) -> AsyncIterator[Heard]:
    async with ws.serve(script.talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        market = shares(here, *symbols)._replace(address=f"ws://127.0.0.1:{port}")
        heard = Heard()
        async with running(feed_of(here, market, heard=heard).run(heard.deliver)):
            yield heard


def trade(here: Local, symbol: str, price: float, number: int = 1) -> dict[str, Any]:
    at = msgpack.Timestamp(here.clock.now() // SECOND, here.clock.now() % SECOND)
    return {"T": "t", "S": symbol, "p": price, "s": 1, "i": number, "c": ["@"], "t": at}


async def test_what_comes_while_symbols_are_still_being_subscribed_is_not_lost() -> None:
    async with local() as here:
        now = trade(here, "S0", 1.0)["t"]
        said = [
            frame(trade(here, "S0", 10.0)),
            frame({"T": "s", "S": "S1", "sc": "H", "sm": "Trading Halt", "t": now}),
            frame({"T": "x", "S": "S0", "i": 1, "p": 10.0, "t": now}),
        ]
        symbols = [f"S{number}" for number in range(501)]
        async with scripted(Scripted(between=said), here, *symbols) as heard:
            await until(lambda: heard.busts)
            assert heard.trades == [("S0", 10.0)]
            assert heard.news == [("S1", "Trading Halt")]
            assert heard.busts == [("S0", 1, None)]


async def test_a_price_that_both_rest_and_the_stream_know_counts_once() -> None:
    async with local() as here:
        here.trade("QQQ", 500.0)
        here.quote("QQQ", 499.0, 501.0)
        again = frame(
            trade(here, "QQQ", 500.0)
            | {"t": msgpack.Timestamp(here.clock.now() // SECOND, here.clock.now() % SECOND - 1_000_000)}
        )
        here.clock.move(0.001)
        fresh = frame(trade(here, "QQQ", 502.0, 2))
        async with scripted(Scripted(after=[again, fresh]), here, "QQQ") as heard:
            await until(lambda: ("QQQ", 502.0) in heard.trades)
            assert heard.trades == [("QQQ", 500.0), ("QQQ", 502.0)]


async def test_a_frame_that_cannot_be_read_costs_the_connection_and_no_more() -> None:
    async with local() as here:
        script = Scripted(after=[b"\xc1"])
        async with scripted(script, here, "QQQ") as heard:
            await until(lambda: script.connections == 2, lambda: here.pass_time(0.05))
            assert any("cannot be read" in reason for _, _, reason in heard.states)


async def test_an_odd_message_is_counted_and_costs_nothing() -> None:
    async with local() as here:
        heard = Heard()
        script = Scripted(after=[frame({"T": "n", "S": "QQQ"}, trade(here, "QQQ", 500.0), {"T": "t"})])
        async with ws.serve(script.talk, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            feed = feed_of(here, shares(here, "QQQ")._replace(address=f"ws://127.0.0.1:{port}"), heard=heard)
            async with running(feed.run(heard.deliver)):
                await until(lambda: heard.trades)
            assert (feed.delivered, feed.refused, script.connections) == (1, 2, 1)


async def test_a_stream_that_does_not_greet_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "ANSWER_WITHIN", 0.05)
    connections = []

    async def silent(client: ws.ServerConnection) -> None:
        connections.append(client)
        await client.wait_closed()

    async with local() as here, ws.serve(silent, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        heard = Heard()
        market = shares(here, "QQQ")._replace(address=f"ws://127.0.0.1:{port}")
        async with running(feed_of(here, market, heard=heard).run(heard.deliver)):
            await until(lambda: len(connections) == 3, lambda: here.pass_time(0.05))
        assert heard.states == [("alpaca iex", CONNECTING, ""), ("alpaca iex", CONNECTING, "TimeoutError")]


# Silence


async def test_a_mute_stream_is_made_anew_and_the_gap_filled() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ", quotes=[])) as heard:
        here.trade("QQQ", 500.0)
        await until(lambda: heard.prints)
        since_then(heard)
        here.fault("mute", times=1, seconds=3600)
        here.pass_time(50)
        here.trade("QQQ", 501.0)
        here.pass_time(20)
        await until(lambda: heard.was(STALE), lambda: here.pass_time(1))
        assert "QQQ moved" in heard.states[0][2]
        await until(lambda: ("QQQ", 501.0) in heard.trades, lambda: here.pass_time(0.05))
        assert [price for _, price in heard.trades] == [500.0, 501.0]
        assert heard.states[1][1:] == (CONNECTING, heard.states[0][2])


async def test_a_trade_that_is_dated_in_the_future_hides_no_silence() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ", quotes=[])) as heard:
        here.simulator.see([trade_print("QQQ", 500.0, Instant(here.clock.now() + 3600 * SECOND))])
        await until(lambda: heard.prints)
        since_then(heard)
        here.fault("mute", times=1, seconds=3600)
        here.pass_time(80)
        here.trade("QQQ", 501.0)
        await until(lambda: heard.was(STALE), lambda: here.pass_time(1))


async def test_one_mute_symbol_among_others_that_speak_is_noticed() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ", "SPY", quotes=[])) as heard:
        here.trade("QQQ", 500.0)
        here.trade("SPY", 600.0)
        await until(lambda: len(heard.prints) == 2)
        here.fault("drop", times=0, symbol="SPY")

        def trades() -> None:
            here.trade("QQQ", 500.0)
            here.trade("SPY", 601.0)
            here.pass_time(5)

        await until(lambda: heard.was(STALE), trades)
        stale = next(reason for _, state, reason in heard.states if state is STALE)
        assert "SPY moved" in stale


async def test_quotes_that_the_stream_is_not_to_bring_do_not_make_it_mute() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ", quotes=[])) as heard:
        here.trade("QQQ", 500.0)
        await until(lambda: heard.state is LIVE)
        before = looks(here)

        def quotes() -> None:
            here.quote("QQQ", 499.0, 501.0)
            here.pass_time(5)

        await until(lambda: looks(here) > before + 10, quotes)
        assert heard.state is LIVE
        assert all(each[4] is not None for each in heard.prints)


async def test_a_price_that_is_under_way_is_not_missing() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ", quotes=[])) as heard:
        here.trade("QQQ", 500.0)
        await until(lambda: heard.state is LIVE)
        here.pass_time(100)
        here.fault("delay", seconds=8)
        here.trade("QQQ", 501.0)
        await until(lambda: ("QQQ", 501.0) in heard.trades, lambda: here.pass_time(0.5))
        before = looks(here)
        await until(lambda: looks(here) > before + 1, lambda: here.pass_time(1))
        assert heard.state is LIVE


async def test_a_half_open_socket_is_noticed() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ", quotes=[])) as heard:
        here.trade("QQQ", 500.0)
        await until(lambda: heard.prints)
        here.fault("half_open")
        here.pass_time(50)
        here.trade("QQQ", 501.0)
        here.pass_time(20)
        await until(lambda: heard.was(STALE), lambda: here.pass_time(1))
        await until(lambda: ("QQQ", 501.0) in heard.trades, lambda: here.pass_time(1))


class Lingering:
    """A connection that is slow to leave, the first time, even where it is interrupted."""

    def __init__(self, connection: Connection) -> None:
        self.recv, self.send, self._close = connection.recv, connection.send, connection.close
        self.interrupted = False

    async def close(self) -> None:
        try:
            await self._close()
            if not self.interrupted:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.interrupted = True
            await asyncio.Event().wait()


async def test_a_feed_that_is_stopped_while_it_leaves_a_mute_stream_stops() -> None:
    async with local() as here:
        opened: list[Lingering] = []

        async def connect(address: str, headers: Mapping[str, str]) -> Lingering:
            opened.append(Lingering(await here.connect(address, headers)))
            return opened[-1]

        heard, market = Heard(), shares(here, "FAKEPACA", stream="test")
        around = Surroundings(here.login, here.rest, connect, NeverCloses(), here.clock, heard)
        feed = asyncio.create_task(AlpacaFeed([market], around).run(heard.deliver))
        await until(lambda: heard.trades, lambda: here.pass_time(0.25))
        here.fault("mute", seconds=3600)
        await until(lambda: opened[0].interrupted, lambda: here.pass_time(5))
        feed.cancel()
        await asyncio.wait([feed], timeout=5)
        assert feed.cancelled()


def looks(here: Local) -> int:
    return len(here.asked("GET", "/v2/stocks/trades/latest"))


async def test_a_quiet_market_is_not_mute() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ")) as heard:
        here.trade("QQQ", 500.0)
        await until(lambda: heard.state is LIVE)
        before = looks(here)
        await until(lambda: looks(here) > before + 5, lambda: here.pass_time(1))
        assert heard.state is LIVE


async def test_outside_the_session_nobody_looks_for_silence() -> None:
    async with local(MarketCalendar()) as here:
        here.pass_time(12 * 3600)
        async with feeding_from(here, shares(here, "QQQ"), calendar=MarketCalendar()) as heard:
            await until(lambda: looks(here) == 1)
            sleeps = len(here.clock.slept)
            here.fault("drop", times=0)
            here.trade("QQQ", 501.0)
            await until(lambda: len(here.clock.slept) > sleeps + 20, lambda: here.pass_time(5))
            assert looks(here) == 1
            assert heard.state is SUBSCRIBED


async def test_where_nobody_can_be_asked_a_long_silence_is_taken_for_dead() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ")) as heard:
        here.trade("QQQ", 500.0)
        await until(lambda: heard.state is LIVE)
        here.fault("500", times=0, path="/v2/stocks")
        begun = here.clock.now()
        await until(lambda: heard.was(STALE), lambda: here.pass_time(1))
        assert here.clock.now() - begun > feeding.SILENT_AFTER
        assert any("Alpaca does not say" in reason for _, _, reason in heard.states)


async def test_the_test_stream_is_watched_by_its_silence_alone() -> None:
    async with local() as here, feeding_from(here, shares(here, "FAKEPACA", stream="test")) as heard:
        await until(lambda: heard.trades, lambda: here.pass_time(0.25))
        here.fault("mute", seconds=3600)
        await until(lambda: heard.was(STALE), lambda: here.pass_time(5))
        assert not here.asked("GET", "/v2/stocks")


# Halts and busts


async def test_halts_and_resumptions_are_told() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ", "SPY")) as heard:
        here.simulator.exchange.halt("QQQ")
        await until(lambda: heard.news)
        here.simulator.exchange.resume("QQQ")
        await until(lambda: len(heard.news) == 2)
        (halted, reason), resumed = heard.news
        assert halted == "QQQ"
        assert reason is not None
        assert resumed == ("QQQ", None)


async def test_a_halt_that_ended_while_nobody_listened_ends_with_the_next_trade() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ", "SPY")) as heard:
        here.simulator.exchange.halt("QQQ")
        await until(lambda: heard.news)
        heard.halting = frozenset({"QQQ", "ELSEWHERE"})
        await cut(here, heard)
        here.simulator.exchange.resume("QQQ")
        await until_subscribed_again(here, heard)
        here.quote("QQQ", 499.0, 501.0)
        here.trade("SPY", 600.0)
        await until(lambda: len(heard.prints) == 2)
        assert len(heard.news) == 1
        here.trade("QQQ", 500.0)
        await until(lambda: len(heard.news) == 2)
        assert heard.news[1] == ("QQQ", None)


async def test_a_trade_before_the_connection_says_nothing_of_a_halt() -> None:
    async with local() as here:
        here.trade("QQQ", 500.0)
        here.pass_time(1)
        heard = Heard()
        heard.halting = frozenset({"QQQ"})
        async with running(feed_of(here, shares(here, "QQQ"), heard=heard).run(heard.deliver)):
            await until(lambda: heard.trades)
            here.simulator.exchange.halt("QQQ")
            await until(lambda: heard.news)
            assert [reason is None for _, reason in heard.news] == [False]


async def test_a_trade_that_is_taken_back_and_one_that_is_corrected_are_told() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ")) as heard:
        here.trade("QQQ", 500.0, 5000.0)
        await until(lambda: len(heard.trades) == 2)
        here.simulator.take_back("QQQ", 2)
        here.simulator.correct("QQQ", 501.0, 1)
        await until(lambda: len(heard.busts) == 2)
        assert heard.busts[0] == ("QQQ", 2, None)
        symbol, number, corrected = heard.busts[1]
        assert (symbol, number) == ("QQQ", 1)
        assert corrected is not None
        assert corrected[1] == 501.0


async def test_a_bust_in_the_frame_of_its_trade_is_told_after_it() -> None:
    async with local() as here:
        order: list[str] = []

        class Ordered(Heard):
            async def deliver(self, batch: Any, cursor: int | None) -> None:
                order.append("trade")

            def busted(self, symbol: str, trade: int, corrected: Any) -> None:
                order.append("bust")

        one = trade(here, "QQQ", 500.0)
        script = Scripted(after=[frame({"T": "x", "S": "QQQ", "i": 1, "p": 500.0, "t": one["t"]}, one)])
        async with ws.serve(script.talk, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            heard = Ordered()
            market = shares(here, "QQQ")._replace(address=f"ws://127.0.0.1:{port}")
            async with running(feed_of(here, market, heard=heard).run(heard.deliver)):
                await until(lambda: len(order) == 2)
        assert order == ["trade", "bust"]


# Refusals


async def refused(here: Local, market: Market, login: Login | None = None) -> tuple[str, Heard]:
    heard = Heard()
    with pytest.raises((FeedError, ExceptionGroup)) as caught:
        await asyncio.wait_for(feed_of(here, market, heard=heard, login=login).run(heard.deliver), 10)
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        [error] = error.exceptions
    assert isinstance(error, FeedError)
    return str(error), heard


async def test_wrong_keys_end_the_feed_with_the_reason() -> None:
    async with local() as here:
        said, heard = await refused(here, shares(here, "QQQ"), here.login._replace(secret="another"))
        assert said.startswith("alpaca iex: Alpaca refuses the stream: auth failed (402); see that key and secret")
        assert heard.states[-1] == ("alpaca iex", REFUSED, said.removeprefix("alpaca iex: Alpaca refuses the stream: "))
        assert len(here.said) == 1


async def test_a_stream_that_the_plan_does_not_have_ends_the_feed_with_the_reason() -> None:
    async with local() as here:
        said, _ = await refused(here, shares(here, "QQQ", stream="sip"))
        assert said.startswith("alpaca sip: Alpaca refuses the stream: insufficient subscription (409); ")
        assert 'set stream = "iex"' in said


async def test_more_symbols_than_the_plan_allows_end_the_feed_with_the_reason() -> None:
    async with local() as here:
        said, _ = await refused(here, shares(here, *(f"S{number}" for number in range(31)), quotes=[]))
        assert said.startswith("alpaca iex: Alpaca refuses the stream: symbol limit exceeded (405); ")
        assert "channels" in said


async def test_a_stream_that_is_refused_later_is_told_and_the_other_one_goes_on() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ"), pairs(here, "BTC/USD")) as heard:
        here.simulator.keys.revoke()
        here.fault("cut", stream="iex")
        await until(lambda: heard.was(REFUSED), lambda: here.pass_time(0.1))
        assert heard.states[-1][:2] == ("alpaca iex", REFUSED)
        said = len(here.said)
        for _ in range(20):
            here.pass_time(30)
            here.trade("BTC/USD", 60_000.0)
            await asyncio.sleep(0)
        await until(lambda: heard.trades)
        assert [each for each in here.said[said:] if each["action"] == "auth"] == []


async def test_while_alpaca_holds_the_last_connection_the_feed_is_patient() -> None:
    async with local() as here:
        here.fault("refuse", times=3)
        heard = Heard()
        begun = here.clock.now()
        async with running(feed_of(here, shares(here, "QQQ"), heard=heard).run(heard.deliver)):
            await until(lambda: heard.was(SUBSCRIBED), lambda: here.pass_time(1))
        assert here.clock.now() - begun >= 15 * SECOND
        assert len([each for each in here.said if each["action"] == "auth"]) == 4
        stream, state, reason = heard.states[1]
        assert (stream, state) == ("alpaca iex", CONNECTING)
        assert reason.startswith("connection limit exceeded (406); Alpaca takes one connection of a login")
        assert heard.was(CONNECTING) == 2


async def test_after_an_unclean_drop_the_feed_comes_back_once_alpaca_lets_go() -> None:
    async with local(reap_s=90) as here, feeding_from(here, shares(here, "QQQ")) as heard:
        await cut(here, heard)
        await until(lambda: heard.was(SUBSCRIBED) == 2, lambda: here.pass_time(0.5))
        assert len([each for each in here.said if each["action"] == "auth"]) < 15


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_an_error_of_the_stream_is_tried_again(times: int) -> None:
    async with local() as here:
        here.fault("stream_error", times=times)
        heard = Heard()
        async with running(feed_of(here, shares(here, "QQQ"), heard=heard).run(heard.deliver)):
            await until(lambda: heard.was(SUBSCRIBED), lambda: here.pass_time(0.1))
        assert ("alpaca iex", CONNECTING, "internal error (500)") in heard.states


async def test_a_slow_client_is_told_and_comes_back() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ")) as heard:
        here.fault("slow_client")
        here.trade("QQQ", 500.0)
        await until(lambda: heard.was(SUBSCRIBED) == 2, lambda: here.pass_time(0.1))
        assert ("alpaca iex", CONNECTING, "slow client (407)") in heard.states


async def test_a_feed_that_ends_leaves_politely_and_may_come_again_at_once() -> None:
    async with local() as here:
        for _ in range(3):
            async with feeding_from(here, shares(here, "QQQ")) as heard:
                assert [state for _, state, _ in heard.states] == [CONNECTING, AUTHENTICATED, SUBSCRIBED]


async def test_nothing_of_a_thousand_frames_is_lost() -> None:
    async with local() as here, feeding_from(here, shares(here, "QQQ")) as heard:
        for number in range(1000):
            here.clock.move(0.001)
            here.simulator.see(
                [
                    trade_print("QQQ", 500.0 + number, here.clock.now()),
                    quote_print("QQQ", 499.0 + number, 501.0 + number, here.clock.now()),
                ]
            )
            if number % 100 == 0:
                await until(lambda: len(heard.prints) > 2 * (number - 100))  # noqa: B023 - it is awaited here
        await until(lambda: len(heard.prints) == 2000)
        assert [price for _, price in heard.trades] == [500.0 + number for number in range(1000)]
