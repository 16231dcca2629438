"""The worked numbers of the method, to the cent."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mrdaemon.core import events as ev
from mrdaemon.core.commands import Thaw
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.policy import PrintRules
from mrdaemon.core.prints import Trade, quote_print, trade_print
from tests.builders import BUY, RAW, SELL, Bench, dollars, only, plan, position

G1_FIVE = (95.0, 90.25, 85.7375, 81.450625)
G1_THREE = tuple(float(Decimal(100) * Decimal("0.97") ** n) for n in range(1, 8))
G1_TEN = (90.0, 81.0)


def fills(bench: Bench) -> list[ev.OrderFilled]:
    return only(bench.events, ev.OrderFilled)


def signals(bench: Bench) -> list[ev.SignalRaised]:
    return only(bench.events, ev.SignalRaised)


def reserve(bench: Bench) -> Decimal:
    return bench.state.portfolios["core"].reserve


@pytest.mark.parametrize(
    ("zone", "prices", "each", "shares", "used"),
    [
        ("5%", G1_FIVE, "250.00", "61.386883", "1000.00"),
        ("3%", G1_THREE, "150.00", "61.882502", "1050.00"),
        ("10%", G1_TEN, "500.00", "61.728395", "1000.00"),
    ],
)
def test_g1_a_steady_decline(zone: str, prices: tuple[float, ...], each: str, shares: str, used: str) -> None:
    bench = Bench(plan(position(zone=zone)))
    bench.prices(100.0, *prices, 80.0)
    assert [signal.price for signal in signals(bench)] == [Decimal(repr(price)) for price in prices]
    assert {signal.amount for signal in signals(bench)} == {dollars(each)}
    assert {fill.cash for fill in fills(bench)} == {dollars(each)}
    assert round(bench.position().shares, 6) == Decimal(shares)
    assert reserve(bench) == dollars(5000) - dollars(used)


def test_g1_the_shares_of_each_purchase() -> None:
    bench = Bench(plan(position(zone="5%")))
    bench.prices(100.0, *G1_FIVE, 80.0)
    bought = [str(round(fill.shares, 6)) for fill in fills(bench)]
    assert bought == ["2.631579", "2.770083", "2.915877", "3.069344"]
    assert round(bench.position().shares * 80, 2) == Decimal("4910.95")


def test_g1_in_finer_steps_the_half_cent_rounds_to_even_and_fires() -> None:
    bench = Bench(plan(position(zone="5%")))
    assert not only(bench.prices(100.0, 95.0002), ev.SignalRaised)
    [signal] = only(bench.prices(95.0001), ev.SignalRaised)
    assert signal.value == dollars(4750)


def test_g2_a_gap_through_four_zones_is_one_signal() -> None:
    bench = Bench(plan(position(zone="5%")))
    bench.prices(100.0, 80.0)
    [signal], [fill] = signals(bench), fills(bench)
    assert (signal.side, signal.amount) == (BUY, dollars(1000))
    assert fill.shares == Decimal("12.5")


def test_g3_a_round_trip_that_ends_on_the_edge() -> None:
    bench = Bench(plan(position(zone="5%")))
    bench.prices(100.0, 105.0, 99.75)
    sold, bought = fills(bench)
    assert (sold.side, sold.shares, sold.cash) == (SELL, Decimal("2.380952380"), dollars(250))
    assert signals(bench)[1].value == dollars(4750)
    assert (bought.side, bought.cash) == (BUY, dollars(250))


def test_g3_a_restore_to_the_edge_does_not_fire_on_every_cent() -> None:
    bench = Bench(plan(position(zone="5%", restore=Decimal(0))))
    cents = [100 - step / 100 for step in range(1001)]
    bench.prices(*cents)
    # A fifth of the width, $50, and what a cent of the price adds; a fall of 1.05 % for each.
    amounts = [signal.amount for signal in signals(bench)]
    assert len(amounts) == 5
    assert min(amounts) >= 50
    assert max(amounts) < 51


@pytest.mark.parametrize(("zone", "whole", "price"), [("5%", 20, "35.8"), ("10%", 10, "34.9")])
def test_g4_the_reserve_runs_out(zone: str, whole: int, price: str) -> None:
    bench = Bench(plan(position(zone=zone)))
    step = 1 - Decimal(zone.removesuffix("%")) / 100
    bench.prices(100.0, *(float(100 * step**n) for n in range(1, whole + 3)))
    assert len(fills(bench)) == whole
    assert reserve(bench) == 0
    assert round(fills(bench)[-1].average, 1) == Decimal(price)
    assert [held.guard for held in only(bench.events, ev.SignalHeld)] == ["reserve"]


def test_g4_at_three_percent_33_are_whole_and_the_34th_is_partial() -> None:
    bench = Bench(plan(position(zone="3%")))
    bench.prices(100.0, *(float(100 * Decimal("0.97") ** n) for n in range(1, 37)))
    spent = [fill.cash for fill in fills(bench)]
    assert spent[:33] == [dollars(150)] * 33
    assert spent[33:] == [dollars(50)]
    assert reserve(bench) == 0


def test_g5_a_constant_dollar_plan() -> None:
    bench = Bench(plan(position(shares="500")))
    bench.prices(10.0, 3.0, 10.0)
    invested, taken = fills(bench)
    assert invested.cash == dollars(3500)
    assert signals(bench)[1].value == dollars("16666.67")
    assert taken.cash == dollars("11666.67")


G6 = [("SPY", 249.75, 257.6591), ("IWM", 109.4, 114.6247)]


def outlier(symbol: str, first: float, far: float, rules: PrintRules, conditions: str) -> Bench:
    shares = str(round(Decimal(5000) / Decimal(repr(first)), 9))
    bench = Bench(plan(position(symbol, shares, zone="3%"), prints=rules))
    bench.now = Instant(bench.now + SECOND)
    bench.print(quote_print(symbol, first - 0.01, first + 0.01, bench.now))
    for price, flags in ((first, "@"), (far, conditions), (first, "@")):
        bench.now = Instant(bench.now + SECOND)
        bench.print(trade_print(symbol, price, bench.now, Trade(flags)))
    return bench


@pytest.mark.parametrize(("symbol", "first", "far"), G6)
@pytest.mark.parametrize("flag", ["V", "7"])
def test_g6_an_outlier_does_not_trade_by_its_conditions(symbol: str, first: float, far: float, flag: str) -> None:
    without_quotes = PrintRules(confirm=0, max_jump=None, stale_after=None, quote_age=0)
    bench = outlier(symbol, first, far, without_quotes, flag)
    assert not signals(bench)
    assert [refused.rule for refused in only(bench.events, ev.PrintRefused)] == ["condition"]


@pytest.mark.parametrize(("symbol", "first", "far"), G6)
def test_g6_were_the_flags_missing_it_does_not_trade_by_the_quote(symbol: str, first: float, far: float) -> None:
    bench = outlier(symbol, first, far, RAW, "@")
    assert not signals(bench)
    assert [refused.rule for refused in only(bench.events, ev.PrintRefused)] == ["outside the quote"]


@pytest.mark.parametrize(("symbol", "first", "far"), G6)
def test_g6_nor_by_confirmation_were_there_no_quote(symbol: str, first: float, far: float) -> None:
    confirmed = PrintRules(confirm=1, max_jump=None, stale_after=None, quote_age=0)
    bench = outlier(symbol, first, far, confirmed, "@")
    assert not signals(bench)
    assert only(bench.events, ev.SignalPending)
    assert only(bench.events, ev.SignalDropped)


def test_g6_without_any_of_the_three_it_would_have_traded() -> None:
    bare = PrintRules(confirm=0, max_jump=None, stale_after=None, quote_age=0)
    assert signals(outlier("SPY", 249.75, 257.6591, bare, "@"))


LIVE = PrintRules(confirm=0, stale_after=None)


@pytest.mark.parametrize("after", [25.0, 47.8])
def test_g7_a_split_and_a_real_crash_both_freeze(after: float) -> None:
    bench = Bench(plan(position(), prints=LIVE))
    bench.prices(100.0, after, after, after)
    assert not signals(bench)
    assert len(only(bench.events, ev.SymbolFrozen)) == 1


def test_g7_a_crash_trades_once_a_person_clears_it() -> None:
    bench = Bench(plan(position(), prints=LIVE))
    bench.prices(100.0, 48.0)
    bench.command(Thaw(symbol="QQQ", by="ada", why="earnings, no split"))
    bench.prices(48.0)
    assert [signal.amount for signal in signals(bench)] == [dollars(2600)]


def test_g7_an_unchanged_count_never_thaws() -> None:
    bench = Bench(plan(position(), prints=LIVE))
    bench.prices(100.0, 25.0)
    bench.reconcile()
    bench.prices(25.0, 25.1, 24.9, step=3600 * SECOND)
    assert bench.state.symbols["QQQ"].frozen
    assert not signals(bench)
