"""A trade that the exchange takes back confirms nothing, and one of our executions that is taken back halts."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import Price
from mrdaemon.core.policy import PrintRules
from mrdaemon.core.prints import Print, Quote, Trade, trade_print
from mrdaemon.sentences import sentence
from tests.builders import BUY, START, Bench, only, plan, position

CONFIRMED = PrintRules(confirm=1, max_jump=None, stale_after=None)
NOW = Instant(START)


def trade(price: float, number: int, quote: Quote | None = None, symbol: str = "QQQ", conditions: str = "") -> Print:
    return trade_print(symbol, price, NOW, Trade(conditions, id=number), quote)


def seeing(*prints: Print) -> Bench:
    bench = Bench(plan(position(), position("SPY"), prints=CONFIRMED))
    bench.print(trade(100.0, 1), trade(100.0, 2), *prints)
    return bench


def bust(bench: Bench, number: int, corrected: Print | None = None, symbol: str = "QQQ") -> list[ev.Event]:
    return bench.take(bench.engine.bust(symbol, number, corrected, bench.now))


def test_a_trade_that_is_taken_back_is_forgotten() -> None:
    bench = seeing(trade(99.0, 3))
    [busted] = bust(bench, 3)
    assert sentence(busted) == "The exchange took trade 3 of QQQ back."
    assert busted == ev.PrintBusted(at=bench.now, symbol="QQQ", trade=3, price=Price(Decimal("99.0")))
    assert bench.engine.last("QQQ") is None


def test_a_trade_that_is_corrected_is_replaced() -> None:
    bench = seeing(trade(99.0, 3))
    right = trade(99.5, 4)
    [busted] = bust(bench, 3, right)
    assert sentence(busted) == "The exchange corrected trade 3 of QQQ to 99.5."
    assert bench.engine.last("QQQ") == right


def test_a_correction_that_does_not_count_replaces_nothing() -> None:
    bench = seeing(trade(99.0, 3))
    bust(bench, 3, trade(99.5, 4, conditions="Z"))
    assert bench.engine.last("QQQ") is None


def test_the_quote_that_came_with_it_is_forgotten_too() -> None:
    bench = seeing(trade(99.0, 3, Quote(98.9, 99.1)))
    bust(bench, 3)
    assert bench.engine.quoted("QQQ") is None


@pytest.mark.parametrize(("number", "symbol"), [(2, "QQQ"), (3, "SPY"), (3, "ZZZ"), (0, "QQQ")])
def test_any_other_trade_changes_nothing(number: int, symbol: str) -> None:
    bench = seeing(trade(99.0, 3))
    assert not bust(bench, number, symbol=symbol)
    assert bench.engine.last("QQQ") == trade(99.0, 3)


def test_a_trade_without_an_id_is_no_other_trade_without_one() -> None:
    bench = seeing(trade(99.0, 0))
    assert not bust(bench, 0)


def test_a_signal_that_waits_for_confirmation_is_dropped() -> None:
    bench = seeing(trade(94.0, 3))
    assert bench.position().pending is not None
    [dropped] = only(bust(bench, 3), ev.SignalDropped)
    assert (dropped.side, dropped.cause) == (BUY, "trade 3 was taken back")
    assert sentence(dropped) == "What QQQ seemed to do is not confirmed: trade 3 was taken back."
    assert bench.position().pending is None
    assert not only(bench.print(trade(94.0, 4)), ev.SignalRaised)
    assert len(only(bench.print(trade(94.0, 5)), ev.SignalRaised)) == 1


def test_the_signal_of_another_symbol_is_not() -> None:
    bench = Bench(plan(position(), position("SPY"), prints=CONFIRMED))
    bench.print(trade(100.0, 1), trade(100.0, 1, symbol="SPY"), trade(94.0, 2), trade(94.0, 2, symbol="SPY"))
    bust(bench, 2)
    assert (bench.position().pending, bench.position("SPY").pending is None) == (None, False)


def test_it_is_dropped_also_where_a_later_trade_is_the_last() -> None:
    bench = Bench(plan(position(), prints=PrintRules(confirm=2, max_jump=None, stale_after=None)))
    bench.print(trade(100.0, 1), trade(94.0, 2), trade(94.1, 3))
    bust(bench, 2)
    assert bench.position().pending is None
    assert bench.engine.last("QQQ") == trade(94.1, 3)


def test_a_first_trade_that_a_person_must_approve_still_must_be() -> None:
    bench = Bench(plan(position(), prints=CONFIRMED))
    bench.print(trade(50.0, 1))
    assert bench.position().suspect
    bust(bench, 1)
    assert bench.position().suspect


def test_what_was_decided_stands() -> None:
    bench = seeing(trade(94.0, 3), trade(94.0, 4))
    shares, waits = bench.position().shares, dict(bench.position().waits)
    bust(bench, 4)
    assert bench.position().shares == shares != Decimal(50)
    assert bench.position().waits == waits


def test_an_execution_that_is_taken_back_halts_the_position() -> None:
    bench = seeing(trade(94.0, 3), trade(94.0, 4))
    [order] = only(bench.events, ev.OrderIntended)
    [halted] = bench.take(bench.engine.execution_busted(order.order, "trade_bust", bench.now))
    assert sentence(halted) == (
        f"QQQ is halted: an execution of order {order.order} was taken back or corrected: trade_bust. "
        "A person must look; mrdaemon fill QQQ books what differs, and mrdaemon resume QQQ --portfolio core trades it "
        "again."
    )
    assert not bench.engine.execution_busted(order.order, "trade_bust", bench.now)


def test_an_execution_of_an_order_that_nobody_knows_halts_nothing() -> None:
    assert not seeing().engine.execution_busted("mrd-core-QQQ-9-1-n", "trade_bust", NOW)
