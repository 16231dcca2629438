"""Which prints count, and what a print that does not count may never do."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from mrdaemon.core import events as ev
from mrdaemon.core.commands import SetTarget, Thaw
from mrdaemon.core.instant import DAY, HOUR, MINUTE, SECOND, Instant
from mrdaemon.core.policy import PrintRules, Side
from mrdaemon.core.prints import Bar, Print, Quote, Trade, Unfit, price_of, quote_print, refusal, trade_print
from mrdaemon.core.sessions import Session
from tests.builders import BUY, RAW, SELL, START, Bench, Market, dollars, only, plan, position

USUAL = PrintRules()
LIVE = PrintRules(stale_after=None)
JUMPS = PrintRules(confirm=0, stale_after=None)
ONE_MORE = PrintRules(confirm=1, max_jump=None, stale_after=None)
QUIET = PrintRules(confirm=0, max_jump=None, stale_after=300)
FAR_AHEAD = Instant(START + DAY)


def after(nanos: int) -> Instant:
    return Instant(START + nanos)


def trade(price: float = 100.0, at: Instant = START, conditions: str = "", quote: Quote | None = None) -> Print:
    return trade_print("QQQ", price, at, Trade(conditions=conditions), quote)


def quote(bid: float, ask: float, at: Instant = START) -> Print:
    return quote_print("QQQ", bid, ask, at)


def unfit(
    seen: Print,
    *,
    before: Print | None = None,
    quoted: Print | None = None,
    rules: PrintRules = USUAL,
    now: Instant = START,
) -> Unfit | None:
    found = refusal(seen, before, quoted, rules, now)
    return None if found is None else found.rule


def bench_with(prints: PrintRules = RAW, market: Market | None = None, **changes: str) -> Bench:
    return Bench(plan(position(**changes), prints=prints), market)


def refused(events: list[ev.Event]) -> list[str]:
    return [event.rule for event in only(events, ev.PrintRefused)]


# A price


def test_a_trade_has_the_price_that_the_feed_sent_to_the_last_digit() -> None:
    assert price_of(trade(0.1 + 0.2)) == Decimal("0.30000000000000004")


def test_a_quote_has_the_exact_midpoint_where_the_float_one_is_a_hair_off() -> None:
    assert (0.1 + 0.2) / 2 != 0.15
    assert price_of(quote(0.1, 0.2)) == Decimal("0.15")


def test_a_trade_with_a_quote_beside_it_has_its_own_price() -> None:
    assert price_of(trade(100.1, quote=Quote(100.0, 101.0))) == Decimal("100.1")


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, 0.0, -0.0, -95.0, 1e7, 1e300])
def test_a_number_that_cannot_be_a_price_does_not_count(price: float) -> None:
    assert unfit(trade(price)) is Unfit.PRICE


@pytest.mark.parametrize("price", [0.0001, 9_999_999.99])
def test_a_price_may_be_a_hundredth_of_a_cent_or_just_below_what_nothing_trades_at(price: float) -> None:
    assert unfit(trade(price)) is None


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, 0.0, -95.0, 1e7, 1e300])
def test_a_number_that_cannot_be_a_price_raises_nothing_and_is_not_kept(price: float) -> None:
    bench = bench_with()
    bench.prices(100.0)
    assert refused(bench.prices(price)) == [Unfit.PRICE]
    assert bench.engine.last("QQQ") == trade_print("QQQ", 100.0, after(SECOND))


@pytest.mark.parametrize(("bid", "ask"), [(0.0, 100.0), (100.0, 0.0), (0.0, 0.0), (-1.0, 100.0), (100.0, math.nan)])
def test_a_one_sided_or_zero_quote_has_no_price(bid: float, ask: float) -> None:
    assert unfit(quote(bid, ask)) is Unfit.PRICE
    assert math.isnan(quote(bid, ask)[1])


def test_a_crossed_quote_has_no_price() -> None:
    assert unfit(quote(100.01, 100.0)) is Unfit.PRICE


def test_a_locked_quote_has_a_price() -> None:
    assert unfit(quote(100.0, 100.0)) is None


# Conditions


@pytest.mark.parametrize("code", list("@ FEIXO56"))
def test_the_condition_of_a_regular_sale_counts(code: str) -> None:
    assert unfit(trade(conditions=code)) is None


@pytest.mark.parametrize("code", list("BWCNRGH4LPUZV7MQ9"))
def test_the_condition_of_no_regular_sale_does_not_count(code: str) -> None:
    assert unfit(trade(conditions=code)) is Unfit.CONDITION


@pytest.mark.parametrize("code", list("1238ADJKSY?f"))
def test_an_unknown_condition_does_not_count(code: str) -> None:
    assert unfit(trade(conditions=code)) is Unfit.CONDITION


def test_a_trade_without_conditions_counts() -> None:
    assert unfit(trade(conditions="")) is None


def test_form_t_counts_only_where_extended_hours_are_allowed() -> None:
    assert unfit(trade(conditions="@T")) is Unfit.CONDITION
    assert unfit(trade(conditions="@T"), rules=PrintRules(extended_hours=True)) is None


def test_extended_hours_let_no_other_condition_in() -> None:
    assert unfit(trade(conditions="@U"), rules=PrintRules(extended_hours=True)) is Unfit.CONDITION


@pytest.mark.parametrize("conditions", ["@FTI", "7@F", "@7F", "@F7"])
def test_every_condition_of_a_trade_must_be_one_of_a_regular_sale(conditions: str) -> None:
    assert unfit(trade(conditions=conditions)) is Unfit.CONDITION


def test_the_table_of_conditions_can_be_overridden() -> None:
    assert unfit(trade(conditions="B"), rules=PrintRules(regular="@B")) is None
    assert unfit(trade(conditions="F"), rules=PrintRules(regular="@B")) is Unfit.CONDITION


def test_a_bar_and_a_quote_have_no_conditions() -> None:
    assert unfit(trade_print("QQQ", 100.0, START, Bar(99.0, 101.0, 98.0, 100.0))) is None
    assert unfit(quote(99.99, 100.01)) is None


# Time


@pytest.mark.parametrize(
    ("ahead", "rule"),
    [
        (-30 * SECOND - 1, Unfit.STALE),
        (-30 * SECOND, None),
        (0, None),
        (2 * SECOND, None),
        (2 * SECOND + 1, Unfit.SKEW),
        (5 * SECOND, Unfit.SKEW),
        (5 * SECOND + 1, Unfit.FUTURE),
        (DAY, Unfit.FUTURE),
    ],
)
def test_a_print_is_at_most_thirty_seconds_old_two_ahead_and_never_five(ahead: int, rule: Unfit | None) -> None:
    assert unfit(trade(at=after(ahead))) is rule


def test_a_print_older_than_the_one_before_it_is_out_of_order() -> None:
    assert unfit(trade(at=after(-1)), before=trade()) is Unfit.ORDER


def test_a_print_of_the_same_instant_is_in_order() -> None:
    assert unfit(trade(101.0), before=trade()) is None


def test_a_print_from_the_future_does_not_put_those_after_it_out_of_order() -> None:
    assert unfit(trade(), before=trade(at=FAR_AHEAD)) is None


def test_a_print_from_the_future_inside_the_zone_does_not_silence_the_symbol() -> None:
    bench = bench_with()
    bench.prices(100.0)
    bench.print(trade(99.0, at=FAR_AHEAD))
    assert len(only(bench.prices(94.0), ev.SignalRaised)) == 1


def test_a_late_print_does_not_fire() -> None:
    bench = bench_with()
    bench.prices(100.0, 99.0)
    assert refused(bench.print(trade(94.0, at=after(SECOND)))) == [Unfit.ORDER]
    assert not only(bench.events, ev.SignalRaised)


# The quote


@pytest.mark.parametrize(
    ("price", "rule"), [(99.5, None), (99.49, Unfit.QUOTE), (101.505, None), (101.51, Unfit.QUOTE), (100.5, None)]
)
def test_a_trade_lies_within_the_quote_widened_by_the_tolerance(price: float, rule: Unfit | None) -> None:
    assert unfit(trade(price), quoted=quote(100.0, 101.0)) is rule


def test_a_quote_that_comes_with_the_trade_is_the_one_that_counts() -> None:
    assert unfit(trade(100.0, quote=Quote(110.0, 110.1)), quoted=quote(99.9, 100.1)) is Unfit.QUOTE


def test_a_quote_of_a_minute_ago_counts_and_an_older_one_says_nothing() -> None:
    now = after(60 * SECOND)
    assert unfit(trade(90.0, at=now), quoted=quote(99.9, 100.1), now=now) is Unfit.QUOTE
    later = after(60 * SECOND + 1)
    assert unfit(trade(90.0, at=later), quoted=quote(99.9, 100.1), now=later) is None


def test_a_quote_from_the_future_says_nothing() -> None:
    assert unfit(trade(90.0), quoted=quote(99.9, 100.1, at=FAR_AHEAD)) is None


@pytest.mark.parametrize("held", [Quote(0.0, 100.1), Quote(99.9, 0.0), Quote(100.1, 99.9), Quote(math.nan, 100.1)])
def test_a_one_sided_zero_or_crossed_quote_is_no_quote_for_a_trade(held: Quote) -> None:
    assert unfit(trade(90.0, quote=held)) is None


def test_a_spread_of_two_percent_of_the_midpoint_counts_and_a_wider_one_does_not() -> None:
    assert unfit(trade(100.0), quoted=quote(99.0, 101.0)) is None
    assert unfit(trade(100.0), quoted=quote(98.99, 101.0)) is Unfit.SPREAD


def test_a_quote_wider_than_the_widest_spread_has_no_say_of_its_own() -> None:
    assert unfit(quote(90.0, 100.0)) is Unfit.SPREAD


def test_an_outlier_beside_a_fresh_quote_raises_nothing() -> None:
    bench = bench_with()
    bench.print(quote(99.99, 100.01))
    assert refused(bench.prices(94.0)) == [Unfit.QUOTE]
    assert not only(bench.events, ev.SignalRaised)


def test_a_quote_too_wide_to_fire_still_holds_the_trade_after_it() -> None:
    bench = bench_with()
    bench.prices(100.0)
    bench.print(quote(85.0, 95.0, at=after(SECOND)))
    bench.prices(94.0)
    assert not only(bench.events, ev.SignalRaised)


# Told once


def test_a_refusal_is_told_once_a_day_for_a_symbol_and_a_rule() -> None:
    bench = bench_with()
    bench.prices(100.0)
    bench.print(trade(94.0, at=after(SECOND), conditions="7"))
    assert not bench.print(trade(93.0, at=after(SECOND), conditions="7"))
    assert refused(bench.prices(-1.0, -2.0)) == [Unfit.PRICE]


def test_a_refusal_is_told_again_the_next_day() -> None:
    bench = bench_with()
    bench.prices(100.0, -1.0)
    bench.later(DAY)
    assert refused(bench.prices(-1.0, -1.0)) == [Unfit.PRICE]


def test_a_refusal_is_not_told_again_after_a_restart() -> None:
    bench = bench_with()
    bench.prices(100.0, -1.0)
    assert not bench.restart().prices(-1.0)


def test_a_print_that_would_not_fire_is_not_looked_at() -> None:
    bench = bench_with()
    bench.prices(100.0)
    assert not bench.print(trade(99.0, at=after(-DAY), conditions="7"))


def test_a_symbol_that_is_not_configured_is_told_once_for_ever() -> None:
    bench = bench_with()
    [told] = bench.prices(5.0, 6.0, symbol="WHO")
    assert isinstance(told, ev.PrintRefused)
    assert (told.symbol, told.rule) == ("WHO", Unfit.UNKNOWN)
    bench.later(DAY)
    assert not bench.prices(7.0, symbol="WHO")
    assert not bench.restart().prices(8.0, symbol="WHO")


# Confirmation


def test_with_no_confirmation_wanted_the_first_print_decides() -> None:
    bench = bench_with(PrintRules(confirm=0, max_jump=None, stale_after=None))
    bench.prices(100.0)
    assert len(only(bench.prices(94.0), ev.SignalRaised)) == 1


def test_with_one_confirmation_wanted_the_second_print_decides_at_its_own_price() -> None:
    bench = bench_with(ONE_MORE)
    bench.prices(100.0)
    assert not only(bench.prices(94.0), ev.SignalRaised)
    [signal] = only(bench.prices(93.0), ev.SignalRaised)
    assert (signal.price, signal.amount) == (Decimal("93.0"), dollars(350))


def test_with_three_confirmations_wanted_the_fourth_print_decides() -> None:
    bench = bench_with(PrintRules(confirm=3, max_jump=None, stale_after=None))
    bench.prices(100.0)
    assert not only(bench.prices(94.0, 94.1, 94.2), ev.SignalRaised)
    assert len(only(bench.prices(94.3), ev.SignalRaised)) == 1


@pytest.mark.parametrize("confirm", [1, 3])
@pytest.mark.parametrize("outlier", [1.0, 94.0, 106.0, 9000.0])
def test_an_outlier_between_two_prints_in_the_zone_never_trades(confirm: int, outlier: float) -> None:
    bench = bench_with(PrintRules(confirm=confirm, max_jump=None, stale_after=None))
    bench.prices(100.0, outlier, 100.0, outlier, 100.1, outlier, 100.0)
    assert not only(bench.events, ev.SignalRaised)
    assert len(only(bench.events, ev.SignalDropped)) == 3


@pytest.mark.parametrize(("outlier", "side"), [(94.0, BUY), (106.0, SELL)])
def test_what_was_not_confirmed_is_told_with_its_side(outlier: float, side: Side) -> None:
    bench = bench_with(ONE_MORE)
    [dropped] = only(bench.prices(100.0, outlier, 100.0), ev.SignalDropped)
    assert dropped.side is side


def test_a_print_at_the_other_edge_does_not_agree() -> None:
    bench = bench_with(ONE_MORE)
    bench.prices(100.0, 94.0, 106.0)
    assert not only(bench.events, ev.SignalRaised)
    [signal] = only(bench.prices(106.1), ev.SignalRaised)
    assert signal.side is SELL


def test_the_same_print_again_does_not_confirm() -> None:
    bench = bench_with(ONE_MORE)
    bench.prices(100.0)
    once = trade(94.0, at=after(2 * SECOND))
    bench.now = after(2 * SECOND)
    bench.print(once)
    assert not bench.print(once, once)


def test_another_trade_at_the_same_price_and_instant_confirms() -> None:
    bench = bench_with(ONE_MORE)
    bench.prices(100.0)
    bench.print(trade_print("QQQ", 94.0, after(SECOND), Trade(id=1)))
    assert only(bench.print(trade_print("QQQ", 94.0, after(SECOND), Trade(id=2))), ev.SignalRaised)


def test_a_print_that_does_not_count_does_not_confirm() -> None:
    bench = bench_with(ONE_MORE)
    bench.prices(100.0, 94.0)
    bench.print(trade(94.0, at=after(2 * SECOND), conditions="7"))
    assert not only(bench.events, ev.SignalRaised)


def test_what_waits_for_a_confirmation_survives_a_restart() -> None:
    bench = bench_with(ONE_MORE)
    bench.prices(100.0, 94.0)
    assert len(only(bench.restart().prices(94.1), ev.SignalRaised)) == 1


def test_a_first_buy_is_confirmed_too() -> None:
    bench = Bench(plan(position(shares=None, initial=True), prints=ONE_MORE))
    assert not only(bench.prices(100.0), ev.SignalRaised)
    assert len(only(bench.prices(100.1), ev.SignalRaised)) == 1


# Jumps


@pytest.mark.parametrize("price", [79.9, 25.0, 120.1, 400.0])
def test_a_jump_of_more_than_a_fifth_freezes_the_symbol_and_trades_nothing(price: float) -> None:
    bench = bench_with(JUMPS)
    bench.prices(100.0)
    [frozen] = only(bench.prices(price, price), ev.SymbolFrozen)
    assert (frozen.before, frozen.price) == (Decimal("100.0"), Decimal(repr(price)))
    assert not only(bench.events, ev.SignalRaised)


@pytest.mark.parametrize("price", [80.0, 120.0])
def test_a_jump_of_exactly_a_fifth_is_believed(price: float) -> None:
    bench = bench_with(JUMPS)
    bench.prices(100.0)
    assert len(only(bench.prices(price), ev.SignalRaised)) == 1
    assert not only(bench.events, ev.SymbolFrozen)


def test_without_a_limit_any_jump_is_believed() -> None:
    bench = bench_with(RAW)
    bench.prices(100.0)
    assert len(only(bench.prices(25.0), ev.SignalRaised)) == 1


def test_small_moves_add_up_without_a_freeze() -> None:
    bench = bench_with(JUMPS, zone="90%")
    bench.prices(100.0, 85.0, 72.0, 60.0, 50.0, 42.0)
    assert not only(bench.events, ev.SymbolFrozen)


def test_a_frozen_symbol_stays_frozen_at_any_price_and_is_told_once() -> None:
    bench = bench_with(JUMPS)
    bench.prices(100.0, 25.0)
    assert not bench.prices(25.0, 100.0, 94.0, 400.0, 1.0)


def test_a_frozen_symbol_stays_frozen_after_a_restart() -> None:
    bench = bench_with(JUMPS)
    bench.prices(100.0, 25.0)
    assert not bench.restart().prices(25.0, 94.0, 400.0)


def test_a_person_thaws_a_symbol_and_it_goes_on_from_the_new_price() -> None:
    bench = bench_with(JUMPS)
    bench.prices(100.0, 48.0)
    bench.command(Thaw(by="me", symbol="QQQ"))
    [signal] = only(bench.prices(48.0), ev.SignalRaised)
    assert (signal.side, signal.amount) == (BUY, dollars(2600))
    assert not only(bench.prices(47.0), ev.SymbolFrozen)


def test_the_first_price_after_a_thaw_and_a_restart_is_believed() -> None:
    bench = bench_with(JUMPS)
    bench.prices(100.0, 48.0)
    bench.command(Thaw(by="me", symbol="QQQ"))
    assert not only(bench.restart().prices(30.0), ev.SymbolFrozen)


def test_a_thawed_symbol_freezes_again_at_the_next_jump() -> None:
    bench = bench_with(JUMPS)
    bench.prices(100.0, 48.0)
    bench.command(Thaw(by="me", symbol="QQQ"))
    bench.prices(48.0)
    assert len(only(bench.prices(25.0), ev.SymbolFrozen)) == 1


def test_a_symbol_that_is_not_frozen_cannot_be_thawed() -> None:
    bench = bench_with(JUMPS)
    bench.prices(100.0)
    assert only(bench.command(Thaw(by="me", symbol="QQQ")), ev.CommandRefused)


@pytest.mark.parametrize("price", [77.0, 123.0])
def test_the_last_accepted_price_is_recorded_so_that_a_jump_freezes_after_a_restart(price: float) -> None:
    bench = bench_with(JUMPS, zone="90%")
    bench.prices(100.0, 90.0, 99.0, 101.0, 100.0)
    assert len(only(bench.restart().prices(price), ev.SymbolFrozen)) == 1


def test_the_recorded_price_never_lags_by_more_than_a_tenth_of_a_jump() -> None:
    bench = bench_with(JUMPS, zone="90%")
    bench.prices(100.0, 98.1)
    assert bench.state.symbols["QQQ"].reference == Decimal("100.0")
    bench.prices(98.0)
    assert bench.state.symbols["QQQ"].reference == Decimal("98.0")


def test_a_jump_is_not_measured_from_a_print_that_does_not_count() -> None:
    bench = bench_with(JUMPS, zone="50%")
    bench.prices(100.0)
    bench.print(trade(98.5, at=after(SECOND), conditions="7"))
    [frozen] = only(bench.prices(79.5), ev.SymbolFrozen)
    assert frozen.before == Decimal("100.0")


def test_a_print_outside_the_session_is_not_measured_from() -> None:
    bench = bench_with(JUMPS, Market(opens=12 * HOUR, closes=13 * HOUR), zone="50%")
    bench.prices(100.0)
    bench.later(HOUR)
    bench.prices(85.0, 99.0)
    bench.later(23 * HOUR)
    [frozen] = only(bench.prices(79.0), ev.SymbolFrozen)
    assert frozen.before == Decimal("100.0")


def test_the_print_that_freezes_is_no_first_half_of_a_confirmation() -> None:
    bench = bench_with(LIVE)
    bench.prices(100.0, 48.0)
    bench.command(Thaw(by="me", symbol="QQQ"))
    assert not only(bench.prices(48.0), ev.SignalRaised)
    assert len(only(bench.prices(48.1), ev.SignalRaised)) == 1


def test_a_freeze_ends_what_waits_for_a_confirmation() -> None:
    bench = bench_with(LIVE)
    bench.prices(100.0, 94.0, 48.0)
    assert bench.position().pending is None


def test_a_freeze_stops_every_position_in_the_symbol() -> None:
    bench = Bench(plan(position(), position("SPY"), prints=JUMPS))
    bench.prices(100.0)
    bench.prices(100.0, symbol="SPY")
    bench.prices(25.0)
    assert not only(bench.prices(94.0), ev.SignalRaised)
    assert len(only(bench.prices(94.0, symbol="SPY"), ev.SignalRaised)) == 1


def test_the_first_print_after_a_change_of_target_is_not_the_one_that_freezes() -> None:
    bench = bench_with(JUMPS)
    bench.prices(100.0)
    bench.command(SetTarget(by="me", portfolio="core", symbol="QQQ", target=dollars(2000)))
    bench.prices(30.0)
    assert not bench.position().armed


# The exchange's halt


def test_a_halt_is_told_once_and_again_when_it_ends() -> None:
    bench = bench_with()
    assert len(bench.engine.exchange_halt("QQQ", "T1", START)) == 1
    assert not bench.engine.exchange_halt("QQQ", "T1", START)
    assert len(bench.engine.exchange_halt("QQQ", None, START)) == 1
    assert not bench.engine.exchange_halt("QQQ", None, START)


def test_a_halt_of_a_symbol_that_is_not_configured_concerns_nobody() -> None:
    assert not bench_with().engine.exchange_halt("WHO", "T1", START)


# Sessions


def test_a_print_before_the_open_does_not_arm_a_position() -> None:
    bench = bench_with(RAW, Market(opens=13 * HOUR, closes=20 * HOUR))
    assert not bench.prices(94.0)
    assert not bench.position().armed


def test_a_print_of_the_session_that_arrives_after_it_does_not_trade() -> None:
    closes = 12 * HOUR + 28 * MINUTE
    bench = bench_with(RAW, Market(opens=12 * HOUR, closes=closes))
    bench.prices(100.0)
    bench.now = Instant(START // DAY * DAY + closes + SECOND)
    events = bench.print(trade(94.0, at=Instant(bench.now - SECOND)))
    assert not only(events, ev.SignalRaised)
    assert len(only(events, ev.SignalHeld)) == 1


def test_a_daily_bar_counts_at_the_close_of_its_session() -> None:
    closes = 12 * HOUR + 28 * MINUTE
    bench = bench_with(RAW, Market(opens=12 * HOUR, closes=closes))
    bench.prices(100.0)
    bench.now = Instant(START // DAY * DAY + closes)
    bar = Bar(100.0, 100.0, 93.0, 94.0)
    assert len(only(bench.print(trade_print("QQQ", 94.0, bench.now, bar)), ev.SignalRaised)) == 1


# Silence


def test_no_price_for_too_long_in_the_session_is_told_once() -> None:
    bench = bench_with(QUIET)
    bench.prices(100.0)
    assert not only(bench.later(300 * SECOND), ev.PriceStale)
    [stale] = only(bench.later(11 * SECOND), ev.PriceStale)
    assert stale.since == after(SECOND)
    assert not bench.later(HOUR)


def test_the_next_price_that_counts_ends_the_silence() -> None:
    bench = bench_with(QUIET)
    bench.prices(100.0)
    bench.later(HOUR)
    bench.print(trade(100.0, at=bench.now, conditions="7"))
    assert bench.state.symbols["QQQ"].stale is not None
    assert [type(event) for event in bench.prices(100.0, 100.1)] == [ev.PriceFresh]


def test_silence_while_the_market_is_closed_is_nothing_to_tell() -> None:
    bench = bench_with(QUIET, Market(opens=12 * HOUR, closes=12 * HOUR + 28 * MINUTE))
    bench.prices(100.0)
    assert not bench.later(10 * HOUR)


def test_a_silence_begins_no_earlier_than_the_daemon() -> None:
    bench = bench_with(QUIET)
    assert not bench.later(300 * SECOND)
    assert len(only(bench.later(11 * SECOND), ev.PriceStale)) == 1


def test_a_recording_cannot_fall_silent() -> None:
    bench = bench_with(RAW)
    bench.prices(100.0)
    assert not bench.later(DAY)


def test_a_position_that_left_the_configuration_is_not_missed() -> None:
    bench = Bench(plan(position(), position("SPY"), prints=QUIET))
    bench.prices(100.0)
    bench.take(bench.engine.configure(plan(position("SPY"), prints=QUIET), bench.now))
    assert [each.symbol for each in only(bench.later(HOUR), ev.PriceStale)] == ["SPY"]


def test_what_a_restart_saw_before_is_remembered_without_deciding_again() -> None:
    bench = bench_with(RAW).restart()
    bench.engine.observe([trade(94.0), trade(93.0, conditions="7"), trade_print("WHO", 1.0, START)])
    assert bench.engine.last("QQQ") == trade(94.0)
    assert not bench.position().armed


# A time that cannot be meant


class KnownYears(Market):
    """A market whose sessions are known for some years only, as a real one's are."""

    def at(self, now: Instant) -> Session | None:
        assert 0 < now < 2**63, f"no session is known at {now}"
        return super().at(now)


@pytest.mark.parametrize("seconds", [0, -62_135_596_800, 10_413_792_000])
def test_a_print_between_the_triggers_may_have_any_time_and_the_next_one_decides(seconds: int) -> None:
    bench = bench_with(JUMPS, KnownYears())
    bench.prices(100.0)
    bench.print(trade(100.1, Instant(seconds * SECOND)))
    assert bench.engine.accepted_prices() == {"QQQ": Decimal("100.0")}
    assert only(bench.prices(94.0), ev.OrderIntended)
