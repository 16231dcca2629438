"""The streams of the local Alpaca, heard by the official stream classes as they are: run and stopped in public ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import pytest

from mrdaemon.core.prints import Trade, trade_print
from mrdaemon.simulator.keys import Keys, Plan, Trading
from mrdaemon.simulator.streams import DataSession
from tests.fidelity import FILLS_IN_PARTS, Alpaca, Heard, instant, local_alpaca, running
from tests.fidelity_orders import GTC, limit, market, submitted

# What is imported first keeps the library's warnings quiet.
# isort: split
from alpaca.trading.enums import TradeEvent
from alpaca.trading.requests import ReplaceOrderRequest

PAIR = "BTC/USD"


@pytest.fixture
def alpaca() -> Iterator[Alpaca]:
    with local_alpaca() as served:
        yield served


def subscribed(alpaca: Alpaca, *channels: str, trades: list[str] | None = None) -> None:
    """Wait until a client of a data stream has subscribed to something on each channel, or to some trades."""

    def as_wanted(session: object) -> bool:
        if not isinstance(session, DataSession):
            return False
        standing = session._subscribed
        return all(standing[channel] for channel in channels) and trades in (None, list(standing["trades"]))

    alpaca.until(lambda simulator: any(as_wanted(session) for session in simulator.sessions))


def listening(alpaca: Alpaca) -> None:
    """Wait until a client listens to order updates."""
    alpaca.until(lambda simulator: any(getattr(session, "_listening", False) for session in simulator.sessions))


# -- stocks -----------------------------------------------------------------------------------------------------------


def test_the_stock_stream_tells_of_trades_and_quotes(alpaca: Alpaca) -> None:
    trades, quotes = Heard(), Heard()
    stream = alpaca.stock_stream()
    stream.subscribe_trades(trades.handler, "KO")
    stream.subscribe_quotes(quotes.handler, "KO", "QQQ")
    with running(stream, lambda: alpaca.price("KO", 1.0)):
        subscribed(alpaca, "trades", "quotes")
        alpaca.trade("QQQ", 500.0)
        alpaca.quote("KO", 86.24, 86.26)
        alpaca.trade("KO", 86.25, size=3.0, conditions="@FTI")
        quote, trade = quotes.next(), trades.next()
    assert (quote.symbol, quote.bid_price, quote.ask_price, quote.conditions) == ("KO", 86.24, 86.26, ["R"])
    assert (trade.symbol, trade.price, trade.size, trade.conditions) == ("KO", 86.25, 3, ["@", "F", "T", "I"])
    assert (trade.exchange, trade.tape, trade.id > 0) == ("V", "C", True)


def test_the_stock_stream_tells_of_minutes_days_and_late_trades(alpaca: Alpaca) -> None:
    bars, updated, daily = Heard(), Heard(), Heard()
    stream = alpaca.stock_stream()
    stream.subscribe_bars(bars.handler, "KO")
    stream.subscribe_updated_bars(updated.handler, "KO")
    stream.subscribe_daily_bars(daily.handler, "KO")
    stream.subscribe_trading_statuses(Heard().handler, "KO")
    with running(stream, lambda: alpaca.do(lambda simulator: simulator.exchange.halt("KO"))):
        subscribed(alpaca, "bars", "updatedBars", "dailyBars")
        alpaca.trade("KO", 86.0)
        alpaca.trade("KO", 87.0)
        alpaca.put_forward(31)
        bar, day = bars.next(), daily.next()
        late = instant("2026-01-06T15:00:59Z")
        alpaca.see(lambda _: trade_print("KO", 88.0, late, Trade("@", 5.0)))
        alpaca.put_forward(60)
        again = updated.next()
    assert bar.timestamp == day.timestamp == datetime(2026, 1, 6, 15, 0, tzinfo=UTC)
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trade_count) == (86.0, 87.0, 86.0, 87.0, 200, 2)
    assert (again.timestamp, again.close, again.trade_count) == (bar.timestamp, 88.0, 3)


def test_the_stock_stream_tells_of_halts_corrections_and_cancels(alpaca: Alpaca) -> None:
    statuses, corrections, cancels, trades = Heard(), Heard(), Heard(), Heard()
    stream = alpaca.stock_stream()
    stream.subscribe_trades(trades.handler, "KO")
    stream.subscribe_trading_statuses(statuses.handler, "KO")
    stream.register_trade_corrections(corrections.handler)
    stream.register_trade_cancels(cancels.handler)
    with running(stream, lambda: alpaca.trade("KO", 1.0)):
        subscribed(alpaca, "trades", "statuses")
        alpaca.do(lambda simulator: simulator.exchange.halt("KO"))
        alpaca.do(lambda simulator: simulator.exchange.resume("KO"))
        alpaca.trade("KO", 860.0)
        wrong = trades.next()
        alpaca.do(lambda simulator: simulator.correct("KO", 86.0))
        alpaca.do(lambda simulator: simulator.take_back("KO"))
        halted, resumed, correction, canceled = statuses.next(), statuses.next(), corrections.next(), cancels.next()
    assert (halted.status_code, halted.reason_code, resumed.status_code) == ("H", "T12", "T")
    assert (correction.original_id, correction.original_price, correction.corrected_price) == (wrong.id, 860.0, 86.0)
    assert (canceled.symbol, canceled.id, canceled.price) == ("KO", correction.corrected_id, 86.0)


def test_everything_can_be_subscribed_at_once_by_who_pays() -> None:
    trades = Heard()
    with local_alpaca(keys=Keys(plan=Plan.PLUS)) as alpaca, following_all(alpaca, trades):
        subscribed(alpaca, "trades")
        alpaca.trade("KO", 86.0)
        alpaca.trade("OCGN", 1.5)
        assert [trades.next().symbol, trades.next().symbol] == ["KO", "OCGN"]


def following_all(alpaca: Alpaca, trades: Heard) -> AbstractContextManager[object]:
    stream = alpaca.stock_stream("sip")
    stream.subscribe_trades(trades.handler, "*")
    return running(stream, lambda: alpaca.trade("KO", 1.0))


def test_the_free_plan_has_no_more_than_thirty_channels(alpaca: Alpaca, caplog: pytest.LogCaptureFixture) -> None:
    trades = Heard()
    stream = alpaca.stock_stream()
    stream.subscribe_trades(trades.handler, *(f"S{number}" for number in range(30)))
    with running(stream, lambda: alpaca.trade("S0", 1.0)):
        subscribed(alpaca, "trades")
        stream.subscribe_trades(trades.handler, "KO")
        alpaca.trade("KO", 86.0)
        alpaca.trade("S29", 1.0)
        assert trades.next().symbol == "S29"
    assert "symbol limit exceeded (405)" in caplog.text


def test_subscriptions_change_while_the_stream_runs(alpaca: Alpaca) -> None:
    trades = Heard()
    stream = alpaca.stock_stream()
    stream.subscribe_trades(trades.handler, "KO")
    with running(stream, lambda: alpaca.trade("OCGN", 1.0)):
        subscribed(alpaca, "trades")
        alpaca.trade("KO", 86.0)
        assert trades.next().symbol == "KO"
        stream.subscribe_trades(trades.handler, "OCGN")
        stream.unsubscribe_trades("KO")
        subscribed(alpaca, trades=["OCGN"])
        alpaca.trade("KO", 87.0)
        alpaca.trade("OCGN", 1.5)
        assert trades.next().symbol == "OCGN"


def test_raw_messages_have_the_keys_of_the_wire_and_nanoseconds(alpaca: Alpaca) -> None:
    at = instant("2026-01-06T15:00:31.123456789Z")
    trades = Heard()
    stream = alpaca.stock_stream(raw=True)
    stream.subscribe_trades(trades.handler, "KO")
    with running(stream, lambda: alpaca.trade("KO", 1.0)):
        subscribed(alpaca, "trades")
        alpaca.see(lambda _: trade_print("KO", 86.0, at, Trade("@", 5.0)))
        raw = trades.next()
    assert next(iter(raw)) == "T"
    assert set(raw) == {"T", "S", "i", "x", "p", "s", "c", "z", "t"}
    assert isinstance(raw["i"], int)
    assert raw["t"].to_unix_nano() == at


def test_the_test_stream_has_its_symbol_at_any_time() -> None:
    with local_alpaca(now="2026-01-04T12:00:00Z") as alpaca:
        trades, quotes = Heard(), Heard()
        stream = alpaca.stock_stream("test")
        stream.subscribe_trades(trades.handler, "FAKEPACA")
        stream.subscribe_quotes(quotes.handler, "FAKEPACA")
        with running(stream, lambda: None):
            assert trades.next().symbol == quotes.next().symbol == "FAKEPACA"


def test_the_free_plan_has_no_consolidated_stream(alpaca: Alpaca) -> None:
    stream = alpaca.stock_stream("sip")
    stream.subscribe_trades(Heard().handler, "KO")
    with running(stream, lambda: None) as thread:
        thread.join(5)
        assert not thread.is_alive()


# -- coins ------------------------------------------------------------------------------------------------------------


def test_the_crypto_stream_tells_of_trades_quotes_books_and_minutes(alpaca: Alpaca) -> None:
    trades, quotes, books, bars = Heard(), Heard(), Heard(), Heard()
    stream = alpaca.coin_stream()
    stream.subscribe_trades(trades.handler, PAIR)
    stream.subscribe_quotes(quotes.handler, PAIR)
    stream.subscribe_orderbooks(books.handler, PAIR)
    stream.subscribe_bars(bars.handler, PAIR)
    with running(stream, lambda: alpaca.trade(PAIR, 1.0)):
        subscribed(alpaca, "trades", "quotes", "orderbooks", "bars")
        alpaca.quote(PAIR, 90_000.0, 90_010.0)
        alpaca.trade(PAIR, 90_005.5, size=0.25)
        trade, quote, book = trades.next(), quotes.next(), books.next()
        alpaca.put_forward(31)
        bar = bars.next()
    assert (trade.symbol, trade.price, trade.size) == (PAIR, 90_005.5, 0.25)
    assert (trade.exchange, trade.conditions, trade.tape) == (None, None, None)
    assert (quote.bid_price, quote.ask_price, quote.bid_exchange) == (90_000.0, 90_010.0, None)
    assert (book.bids[0].price, book.asks[0].price) == (90_000.0, 90_010.0)
    assert (bar.close, bar.volume) == (90_005.5, 0.25)


# -- order updates ----------------------------------------------------------------------------------------------------


def events(heard: Heard, last: str) -> list[Any]:
    """Give the updates until an event."""
    told = [heard.next()]
    while told[-1].event != last:
        told.append(heard.next())
    return told


@pytest.fixture
def updates(alpaca: Alpaca) -> Iterator[Heard]:
    """A stream that listens, with a price to trade at."""
    heard = Heard()
    alpaca.trade("KO", 86.0)
    alpaca.trade(PAIR, 90_000.0)
    with following(alpaca, heard):
        yield heard


def following(alpaca: Alpaca, heard: Heard, *, raw: bool = False) -> AbstractContextManager[object]:
    stream = alpaca.update_stream(raw=raw)
    stream.subscribe_trade_updates(heard.handler)
    return running(stream, lambda: alpaca.trading().submit_order(limit(1.0)))


def test_a_market_order_is_pending_new_and_filled(alpaca: Alpaca, updates: Heard) -> None:
    listening(alpaca)
    order = submitted(alpaca, market(qty=2))
    pending, new, fill = events(updates, "fill")
    assert [pending.event, new.event, fill.event] == [TradeEvent.PENDING_NEW, TradeEvent.NEW, TradeEvent.FILL]
    assert [each.order.id for each in (pending, new, fill)] == [order.id] * 3
    assert (pending.execution_id, pending.order.status) == (None, "pending_new")
    assert (fill.price, fill.qty, fill.position_qty) == (86.0, 2.0, 2.0)
    assert (fill.order.status, fill.order.filled_qty, fill.order.filled_avg_price) == ("filled", "2", "86")
    assert len({new.execution_id, fill.execution_id}) == 2
    assert pending.timestamp <= new.timestamp <= fill.timestamp


def test_a_limit_order_is_replaced_and_canceled(alpaca: Alpaca, updates: Heard) -> None:
    listening(alpaca)
    client = alpaca.trading()
    order = submitted(alpaca, limit(80), "new")
    other: Any = client.replace_order_by_id(order.id, ReplaceOrderRequest(limit_price=81))
    alpaca.reaches(other.id, "new")
    client.cancel_order_by_id(other.id)
    told = events(updates, "canceled")
    assert {"pending_new", "new", "replaced", "canceled"} >= {each.event for each in told}
    [replaced] = [each for each in told if each.event == "replaced"]
    assert (replaced.order.id, replaced.order.replaced_by) == (order.id, other.id)
    assert (told[-1].order.id, told[-1].order.status) == (other.id, "canceled")


def test_an_order_of_the_day_is_told_as_expired(alpaca: Alpaca, updates: Heard) -> None:
    listening(alpaca)
    order = submitted(alpaca, limit(80), "new")
    alpaca.put_forward(6 * 3600)
    assert events(updates, "expired")[-1].order.id == order.id


def test_the_parts_of_an_order_add_up() -> None:
    heard = Heard()
    with local_alpaca(rules=FILLS_IN_PARTS) as alpaca:
        alpaca.trade("KO", 86.0)
        with following(alpaca, heard):
            listening(alpaca)
            submitted(alpaca, market(qty=100))
            executed = [each for each in events(heard, "fill") if each.event in {"partial_fill", "fill"}]
    assert len(executed) > 1
    assert sum(each.qty for each in executed) == 100
    assert [each.position_qty for each in executed] == [float(each.order.filled_qty) for each in executed]


def test_an_order_in_coins_is_told_with_its_slash(alpaca: Alpaca, updates: Heard) -> None:
    listening(alpaca)
    submitted(alpaca, market(PAIR, qty=0.1, time_in_force=GTC))
    fill = events(updates, "fill")[-1]
    assert (fill.order.symbol, fill.qty, fill.position_qty) == (PAIR, 0.1, 0.09975)


def test_raw_updates_come_with_the_stream_they_are_of(alpaca: Alpaca) -> None:
    heard = Heard()
    with following(alpaca, heard, raw=True):
        listening(alpaca)
        alpaca.trade("KO", 86.0)
        submitted(alpaca, limit(80), "new")
        raw = heard.next()
    assert (raw["stream"], raw["data"]["event"]) == ("trade_updates", "pending_new")


def test_the_updates_of_a_live_account_are_heard_as_well() -> None:
    heard = Heard()
    with local_alpaca(keys=Keys(trading=Trading.LIVE)) as alpaca, following(alpaca, heard):
        listening(alpaca)
        alpaca.trade("KO", 86.0)
        order = submitted(alpaca, market(qty=1))
        assert events(heard, "fill")[-1].order.id == order.id


def test_wrong_keys_hear_of_no_order(alpaca: Alpaca, caplog: pytest.LogCaptureFixture) -> None:
    alpaca.do(lambda simulator: simulator.keys.revoke())
    heard = Heard()
    with following(alpaca, heard):
        alpaca.until(lambda _: "failed to authenticate" in caplog.text)
        alpaca.do(lambda simulator: simulator.keys.restore())
        listening(alpaca)
