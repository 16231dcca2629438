"""What holds a signal back: each guard holds, is told once, and lifts when its condition changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from mrdaemon.core import events as ev
from mrdaemon.core.commands import Approve, Deposit, Pause, SetTradingState, Withdraw
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.guards import Guard
from mrdaemon.core.instant import DAY, HOUR, MINUTE, SECOND, Instant
from mrdaemon.core.policy import AccountRules, Asset, Mode, PrintRules, Short, TradingState
from mrdaemon.core.sessions import Session, Sessions
from tests.builders import BUY, SELL, Bench, Market, dollars, only, plan, position


def trading(
    bench: Bench, state: TradingState, portfolio: str | None = None, symbol: str | None = None
) -> list[ev.Event]:
    return bench.command(SetTradingState(by="me", state=state, portfolio=portfolio, symbol=symbol))


def pause(bench: Bench, symbol: str | None = None, *, paused: bool) -> list[ev.Event]:
    return bench.command(Pause(by="me", paused=paused, symbol=symbol))


def asset(bench: Bench, symbol: str = "QQQ", **what: Any) -> list[ev.Event]:
    fact = ev.AssetKnown(at=bench.now, account="paper", asset=Asset(symbol, **what))
    return bench.take(bench.engine.record([fact]))


def reconciled(bench: Bench, cash: int = 10**9, *, covered: bool) -> list[ev.Event]:
    fact = ev.AccountReconciled(at=bench.now, account="paper", cash=dollars(cash), covered=covered)
    return bench.take(bench.engine.record([fact]))


def lost(bench: Bench) -> list[ev.Event]:
    return bench.take(bench.engine.record([ev.AccountLost(at=bench.now, account="paper", reason="cut")]))


def dispute(bench: Bench, account: str = "paper") -> list[ev.Event]:
    fact = ev.SessionsDisputed(at=bench.now, account=account, reason="the broker says closed, the calendar open")
    return bench.take(bench.engine.record([fact]))


def agree(bench: Bench, account: str = "paper") -> list[ev.Event]:
    return bench.take(bench.engine.record([ev.SessionsAgreed(at=bench.now, account=account)]))


def halt_position(bench: Bench) -> list[ev.Event]:
    fact = ev.PositionHalted(at=bench.now, portfolio="core", symbol="QQQ", reason="shares differ")
    return bench.take(bench.engine.record([fact]))


def exchange(bench: Bench, reason: str | None) -> list[ev.Event]:
    return bench.take(bench.engine.exchange_halt("QQQ", reason, bench.now))


def deposit(bench: Bench, amount: int) -> list[ev.Event]:
    return bench.command(Deposit(by="me", portfolio="core", amount=dollars(amount)))


def withdraw(bench: Bench, amount: int) -> list[ev.Event]:
    return bench.command(Withdraw(by="me", portfolio="core", amount=dollars(amount)))


def configure(bench: Bench, **changes: Any) -> list[ev.Event]:
    return bench.take(bench.engine.configure(plan(position(**changes)), bench.now))


def holds(events: list[ev.Event]) -> list[str]:
    return [event.guard for event in only(events, ev.SignalHeld)]


def sent(events: list[ev.Event]) -> list[ev.OrderIntended]:
    return only(events, ev.OrderIntended)


class Hold(NamedTuple):
    """A guard, what makes it hold, at which price, and what lifts it."""

    guard: Guard
    hold: Callable[[Bench], object]
    lift: Callable[[Bench], object]
    price: float = 94.0
    rules: Mapping[str, Any] = MappingProxyType({})
    book: Mapping[str, Any] = MappingProxyType({})
    market: Market | None = None

    def bench(self) -> Bench:
        """Make a bench whose position is armed, and let the guard hold."""
        bench = Bench(plan(position(**self.rules), **self.book), self.market)
        bench.prices(100.0)
        self.hold(bench)
        return bench


HOLDS = {
    "halted": Hold(Guard.STATE, lambda b: trading(b, TradingState.HALTED), lambda b: trading(b, TradingState.ACTIVE)),
    "portfolio halted": Hold(
        Guard.STATE,
        lambda b: trading(b, TradingState.HALTED, "core"),
        lambda b: trading(b, TradingState.ACTIVE, "core"),
    ),
    "one position halted": Hold(
        Guard.STATE,
        lambda b: trading(b, TradingState.HALTED, "core", "QQQ"),
        lambda b: trading(b, TradingState.ACTIVE, "core", "QQQ"),
    ),
    "reducing": Hold(
        Guard.STATE, lambda b: trading(b, TradingState.REDUCING), lambda b: trading(b, TradingState.ACTIVE)
    ),
    "paused": Hold(Guard.PAUSED, lambda b: pause(b, paused=True), lambda b: pause(b, paused=False)),
    "symbol paused": Hold(
        Guard.PAUSED, lambda b: pause(b, "QQQ", paused=True), lambda b: pause(b, "QQQ", paused=False)
    ),
    "position halted": Hold(Guard.HALTED, halt_position, lambda b: trading(b, TradingState.ACTIVE, "core", "QQQ")),
    "exchange halt": Hold(Guard.EXCHANGE, lambda b: exchange(b, "T1"), lambda b: exchange(b, None)),
    "session": Hold(
        Guard.SESSION,
        lambda b: b.later(HOUR),
        lambda b: b.later(23 * HOUR),
        market=Market(opens=12 * HOUR, closes=13 * HOUR),
    ),
    "clock": Hold(Guard.CLOCK, dispute, agree),
    "asset": Hold(Guard.ASSET, lambda b: asset(b, tradable=False), lambda b: asset(b, tradable=True)),
    "account": Hold(Guard.ACCOUNT, lost, lambda b: b.reconcile()),
    "cover": Hold(
        Guard.COVER, lambda b: reconciled(b, 100, covered=False), lambda b: reconciled(b, 10_000, covered=True)
    ),
    "cooldown": Hold(
        Guard.COOLDOWN, lambda b: b.prices(95.0), lambda b: b.later(60 * SECOND), 90.0, rules={"cooldown": 60}
    ),
    "reserve empty": Hold(Guard.RESERVE, lambda b: None, lambda b: deposit(b, 100), book={"reserve": "0"}),
    "reserve below the minimum order": Hold(
        Guard.RESERVE,
        lambda b: None,
        lambda b: deposit(b, 100),
        rules={"min_order": dollars(50)},
        book={"reserve": "49.99"},
    ),
    "reserve at its floor": Hold(
        Guard.RESERVE, lambda b: None, lambda b: deposit(b, 100), book={"portfolio": {"floor": dollars(5000)}}
    ),
    "reserve short of all of it": Hold(
        Guard.RESERVE,
        lambda b: None,
        lambda b: deposit(b, 300),
        rules={"on_short_reserve": Short.SKIP},
        book={"reserve": "299.99"},
    ),
    "maximum": Hold(
        Guard.MAXIMUM, lambda b: None, lambda b: configure(b, max_order=dollars(300)), rules={"max_order": dollars(299)}
    ),
    "orders per day": Hold(
        Guard.ORDERS,
        lambda b: b.prices(95.0),
        lambda b: b.later(DAY),
        90.0,
        book={"portfolio": {"max_orders_per_day": 1}},
    ),
    "notional per day": Hold(
        Guard.NOTIONAL,
        lambda b: b.prices(95.0),
        lambda b: b.later(DAY),
        90.0,
        book={"portfolio": {"max_notional_per_day": dollars(500)}},
    ),
}

every_guard = pytest.mark.parametrize("case", HOLDS.values(), ids=HOLDS)


@every_guard
def test_a_guard_holds_the_signal_and_says_so_once(case: Hold) -> None:
    bench = case.bench()
    events = bench.prices(*[case.price] * 5)
    assert holds(events) == [case.guard]
    assert not sent(events)


@every_guard
def test_the_next_print_decides_once_the_guard_lifts(case: Hold) -> None:
    bench = case.bench()
    bench.prices(case.price)
    start = len(bench.events)
    case.lift(bench)
    assert not sent(bench.events[start:])
    assert len(sent(bench.prices(case.price))) == 1


@every_guard
def test_a_hold_is_not_told_again_after_a_restart(case: Hold) -> None:
    bench = case.bench()
    bench.prices(case.price)
    assert not bench.restart().prices(case.price)


@every_guard
def test_a_hold_lifts_after_a_restart_too(case: Hold) -> None:
    bench = case.bench()
    bench.prices(case.price)
    case.lift(bench.restart())
    assert len(sent(bench.prices(case.price))) == 1


@pytest.mark.parametrize("case", [each for name, each in HOLDS.items() if name != "session"])
def test_a_held_side_is_armed_again_when_the_value_comes_back_inside(case: Hold) -> None:
    bench = case.bench()
    bench.prices(case.price)
    [rearmed] = only(bench.prices(99.0), ev.SideRearmed)
    assert (rearmed.side, rearmed.inside) == (BUY, True)
    assert holds(bench.prices(case.price)) == [case.guard]


def test_a_held_side_is_armed_again_a_cent_inside_its_edge_and_not_on_it() -> None:
    bench = HOLDS["halted"].bench()
    assert not only(bench.prices(94.0, 95.0), ev.SideRearmed)
    assert len(only(bench.prices(95.0002), ev.SideRearmed)) == 1


def test_a_held_side_does_not_hold_the_other() -> None:
    bench = HOLDS["reducing"].bench()
    bench.prices(94.0)
    [order] = sent(bench.prices(106.0))
    assert order.side is SELL


def test_a_change_of_rules_lifts_what_a_guard_held() -> None:
    bench = HOLDS["cooldown"].bench()
    bench.prices(90.0)
    configure(bench, cooldown=0)
    assert len(sent(bench.prices(90.0))) == 1


def test_a_new_target_lifts_what_a_guard_held() -> None:
    bench = HOLDS["maximum"].bench()
    bench.prices(94.0)
    configure(bench, max_order=dollars(299), target="4999")
    assert holds(bench.prices(94.0, 94.0)) == []
    assert len(sent(bench.events)) == 1


# The states


@pytest.mark.parametrize("scope", [(None, None), ("core", None), ("core", "QQQ")])
def test_halted_holds_both_sides(scope: tuple[str | None, str | None]) -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    trading(bench, TradingState.HALTED, *scope)
    assert holds(bench.prices(94.0, 106.0)) == [Guard.STATE, Guard.STATE]


@pytest.mark.parametrize("scope", [(None, None), ("core", None), ("core", "QQQ")])
def test_reducing_lets_trims_through(scope: tuple[str | None, str | None]) -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    trading(bench, TradingState.REDUCING, *scope)
    assert [order.side for order in sent(bench.prices(94.0, 106.0))] == [SELL]


def test_the_strictest_state_counts() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    trading(bench, TradingState.HALTED)
    trading(bench, TradingState.ACTIVE, "core", "QQQ")
    trading(bench, TradingState.REDUCING, "core")
    assert holds(bench.prices(106.0)) == [Guard.STATE]


def test_a_state_survives_a_restart() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    trading(bench, TradingState.HALTED)
    assert holds(bench.restart().prices(94.0)) == [Guard.STATE]


def test_to_resume_everything_does_not_resume_a_position_whose_shares_differ() -> None:
    bench = HOLDS["position halted"].bench()
    trading(bench, TradingState.HALTED)
    trading(bench, TradingState.ACTIVE)
    assert holds(bench.prices(94.0)) == [Guard.HALTED]


def test_the_state_of_another_position_holds_nothing() -> None:
    bench = Bench(plan(position(), position("SPY")))
    bench.prices(100.0)
    trading(bench, TradingState.HALTED, "core", "SPY")
    pause(bench, "SPY", paused=True)
    assert len(sent(bench.prices(94.0))) == 1


def test_the_end_of_another_positions_halt_lifts_nothing() -> None:
    bench = Bench(plan(position(), position("SPY")))
    bench.prices(100.0)
    trading(bench, TradingState.HALTED, "core", "QQQ")
    bench.prices(94.0)
    trading(bench, TradingState.ACTIVE, "core", "SPY")
    assert not bench.prices(94.0)


# Session


def test_a_hold_until_the_session_opens_says_when_that_is() -> None:
    bench = HOLDS["session"].bench()
    [held] = only(bench.prices(94.0), ev.SignalHeld)
    assert held.until == Instant(bench.now // DAY * DAY + DAY + 12 * HOUR)


def test_the_open_lifts_a_hold_on_time_and_not_before() -> None:
    bench = HOLDS["session"].bench()
    bench.prices(94.0)
    [held] = only(bench.events, ev.SignalHeld)
    assert not bench.take(bench.engine.tick(Instant(held.until - 1)))
    assert len(only(bench.engine.tick(held.until), ev.SideRearmed)) == 1


# Clock


def test_a_disputed_clock_holds_alerts_too() -> None:
    bench = Bench(plan(position(mode=Mode.ALERT)))
    bench.prices(100.0)
    dispute(bench)
    assert holds(bench.prices(94.0)) == [Guard.CLOCK]


def test_a_dispute_outlives_a_restart_and_a_start() -> None:
    bench = HOLDS["clock"].bench().restart()
    bench.take(bench.engine.record([ev.DaemonStarted(at=bench.now, version="test", nonce="m")]))
    bench.reconcile()
    assert holds(bench.prices(94.0)) == [Guard.CLOCK]


def test_a_dispute_ends_with_the_broker_that_it_was_with() -> None:
    bench = HOLDS["clock"].bench()
    bench.take(bench.engine.configure(plan(position(mode=Mode.ALERT), account={"broker": "none"}), bench.now))
    assert not holds(bench.prices(94.0))


def test_the_end_of_another_accounts_dispute_lifts_nothing() -> None:
    bench = HOLDS["clock"].bench()
    bench.prices(94.0)
    other = ev.AccountConfigured(at=bench.now, account="other", rules=AccountRules())
    bench.take(bench.engine.record([other]))
    agree(bench, "other")
    assert not bench.prices(94.0)


# Asset


def test_what_is_not_tradable_is_held_with_the_brokers_reason() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    asset(bench, tradable=False, why="it is inactive")
    [held] = only(bench.prices(94.0), ev.SignalHeld)
    assert held.reason == "the broker does not trade QQQ: it is inactive"


def test_news_of_another_asset_lifts_nothing() -> None:
    bench = HOLDS["asset"].bench()
    bench.prices(94.0)
    asset(bench, "SPY")
    assert not bench.prices(94.0)


# Account


def test_an_account_that_was_never_reconciled_sends_nothing() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    bench.take(bench.engine.record([ev.DaemonStarted(at=bench.now, version="test", nonce="m")]))
    assert holds(bench.prices(94.0)) == [Guard.ACCOUNT]


def test_an_alert_needs_no_account() -> None:
    bench = Bench(plan(position(mode=Mode.ALERT)))
    bench.prices(100.0)
    lost(bench)
    assert len(only(bench.prices(94.0), ev.SignalRaised)) == 1


# Cover


def test_cash_that_does_not_cover_the_reserves_holds_accumulations_and_no_trims() -> None:
    bench = HOLDS["cover"].bench()
    assert [order.side for order in sent(bench.prices(94.0, 106.0))] == [SELL]


def test_a_deposit_beyond_the_accounts_cash_holds_accumulations_at_once() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    reconciled(bench, 6000, covered=True)
    deposit(bench, 1001)
    assert holds(bench.prices(94.0)) == [Guard.COVER]


def test_a_deposit_of_what_the_account_has_to_spare_holds_nothing() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    reconciled(bench, 6000, covered=True)
    deposit(bench, 600)
    withdraw(bench, 100)
    deposit(bench, 500)
    assert len(sent(bench.prices(94.0))) == 1


def test_what_was_bought_and_sold_claims_no_more_cash() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    reconciled(bench, 5100, covered=True)
    bench.prices(94.0, 104.0)
    deposit(bench, 100)
    assert len(sent(bench.prices(90.0))) == 1


# Cooldown


def test_a_cooldown_begins_with_the_signal_and_holds_both_sides() -> None:
    bench = HOLDS["cooldown"].bench()
    [held] = only(bench.prices(110.0), ev.SignalHeld)
    [raised] = only(bench.events, ev.SignalRaised)
    assert (held.side, held.until) == (SELL, raised.at + 60 * SECOND)


def test_a_cooldown_is_over_at_its_last_instant() -> None:
    bench = HOLDS["cooldown"].bench()
    [raised] = only(bench.events, ev.SignalRaised)
    bench.now = Instant(raised.at + 59 * SECOND)
    assert len(sent(bench.prices(90.0))) == 1


def test_a_cooldown_does_not_hold_the_approval_of_the_signal_that_began_it() -> None:
    bench = Bench(plan(position(mode=Mode.APPROVE, cooldown=3600)))
    bench.prices(100.0, 94.0)
    assert len(sent(bench.command(Approve(by="me", portfolio="core", symbol="QQQ", number=1)))) == 1


# Reserve


def test_an_accumulation_takes_what_the_reserve_has() -> None:
    bench = Bench(plan(position(), reserve="100"))
    [order] = sent(bench.prices(100.0, 94.0))
    assert (order.notional, order.reserved) == (dollars(100), dollars(100))


def test_an_accumulation_takes_nothing_of_the_floor() -> None:
    bench = Bench(plan(position(), reserve="1000", portfolio={"floor": dollars(900)}))
    [order] = sent(bench.prices(100.0, 94.0))
    assert order.notional == dollars(100)


def test_an_accumulation_takes_nothing_of_what_another_order_reserved() -> None:
    bench = Bench(plan(position(), position("SPY"), reserve="400"), fill=False)
    bench.prices(100.0)
    bench.prices(100.0, 94.0, symbol="SPY")
    [order] = sent(bench.prices(94.0))
    assert order.notional == dollars(100)


def test_a_skipped_accumulation_is_all_or_nothing() -> None:
    bench = Bench(plan(position(on_short_reserve=Short.SKIP), reserve="300"))
    [order] = sent(bench.prices(100.0, 94.0))
    assert order.notional == dollars(300)


def test_a_trim_needs_no_reserve() -> None:
    bench = Bench(plan(position(), reserve="0"))
    assert len(sent(bench.prices(100.0, 106.0))) == 1


def test_a_trim_of_another_position_credits_the_reserve_and_lifts_the_hold() -> None:
    bench = Bench(plan(position(), position("SPY"), reserve="0"))
    bench.prices(100.0, 94.0)
    bench.prices(100.0, 106.0, symbol="SPY")
    [order] = sent(bench.prices(94.0))
    assert order.notional == dollars(300)


def test_a_released_reservation_lifts_the_hold() -> None:
    bench = Bench(plan(position(), position("SPY"), reserve="300"), fill=False)
    bench.prices(100.0)
    [order] = sent(bench.prices(100.0, 94.0, symbol="SPY"))
    assert holds(bench.prices(94.0)) == [Guard.RESERVE]
    bench.report(order, Decimal(0), OrderStatus.CANCELED)
    assert len(sent(bench.prices(94.0))) == 1


def test_a_credit_too_small_to_buy_anything_is_not_told_as_a_new_hold() -> None:
    bench = Bench(plan(position(min_order=dollars(50)), reserve="0"))
    bench.prices(100.0, 94.0)
    deposit(bench, 49)
    assert not bench.prices(94.0)


def test_a_credit_below_the_least_that_is_wanted_whole_is_not_told_as_a_new_hold() -> None:
    bench = Bench(plan(position(on_short_reserve=Short.SKIP), reserve="0"))
    bench.prices(100.0, 94.0)
    deposit(bench, 249)
    assert not bench.prices(94.0)


def test_a_reserve_too_small_for_one_whole_share_holds_until_it_is_credited() -> None:
    bench = Bench(plan(position(), reserve="50"))
    asset(bench, fractionable=False)
    assert holds(bench.prices(100.0, 94.0)) == [Guard.RESERVE]
    deposit(bench, 100)
    [order] = sent(bench.prices(94.0))
    assert order.quantity == Decimal(1)


# Minimum and maximum


def test_a_first_buy_of_less_than_one_whole_share_is_below_the_minimum() -> None:
    bench = Bench(plan(position(shares=None, initial=True, target="50")))
    asset(bench, fractionable=False)
    assert holds(bench.prices(100.0, 100.0)) == [Guard.MINIMUM]


def test_an_asset_that_becomes_fractionable_lifts_the_minimum() -> None:
    bench = Bench(plan(position(shares=None, initial=True, target="50")))
    asset(bench, fractionable=False)
    bench.prices(100.0)
    asset(bench, fractionable=True)
    assert len(sent(bench.prices(100.0))) == 1


def test_an_order_of_exactly_the_maximum_passes() -> None:
    bench = Bench(plan(position(max_order=dollars(300))))
    assert len(sent(bench.prices(100.0, 94.0))) == 1


def test_the_maximum_holds_trims_as_well() -> None:
    bench = Bench(plan(position(max_order=dollars(299))))
    assert holds(bench.prices(100.0, 106.0)) == [Guard.MAXIMUM]


# Limits per day


def test_orders_count_for_the_whole_portfolio() -> None:
    bench = Bench(plan(position(), position("SPY"), portfolio={"max_orders_per_day": 1}))
    bench.prices(100.0, 94.0)
    assert holds(bench.prices(100.0, 94.0, symbol="SPY")) == [Guard.ORDERS]


def test_notional_may_reach_its_limit_and_not_pass_it() -> None:
    limit = {"max_notional_per_day": dollars(600)}
    bench = Bench(plan(position(), position("SPY"), position("IWM"), portfolio=limit))
    bench.prices(100.0, 94.0)
    assert len(sent(bench.prices(100.0, 94.0, symbol="SPY"))) == 1
    assert holds(bench.prices(100.0, 94.0, symbol="IWM")) == [Guard.NOTIONAL]


def test_an_order_that_was_refused_counts_for_the_day() -> None:
    bench = Bench(plan(position(), position("SPY"), portfolio={"max_orders_per_day": 1}), fill=False)
    [order] = sent(bench.prices(100.0, 94.0))
    bench.take(bench.engine.order_ended(order.order, OrderStatus.REJECTED, "no", bench.now))
    assert holds(bench.prices(100.0, 94.0, symbol="SPY")) == [Guard.ORDERS]


def test_a_higher_limit_in_the_file_lifts_the_hold() -> None:
    bench = HOLDS["orders per day"].bench()
    bench.prices(90.0)
    bench.take(bench.engine.configure(plan(position(), portfolio={"max_orders_per_day": 2}), bench.now))
    assert len(sent(bench.prices(90.0))) == 1


class TwoMarkets(Market):
    """Stocks whose day is yesterday's while that of crypto has begun: an evening in New York."""

    def sessions(self, symbol: str) -> Sessions:
        return self if "/" in symbol else YESTERDAY


class Yesterday(Market):
    """Sessions named after the day before."""

    def _day(self, number: int) -> Session:
        return super()._day(number)._replace(day=f"day-{number - 1}")


YESTERDAY = Yesterday()


def test_a_stock_and_a_pair_whose_days_differ_share_the_limit_of_their_portfolio() -> None:
    stock, pair = position(), position("BTC/USD")
    bench = Bench(plan(stock, pair, portfolio={"max_orders_per_day": 2}), TwoMarkets())
    bench.prices(100.0, 94.0)
    bench.prices(100.0, 94.0, symbol="BTC/USD")
    assert len(sent(bench.prices(88.0, 80.0))) == 1
    assert holds(bench.prices(80.0, symbol="BTC/USD")) == [Guard.ORDERS]


def test_a_stock_and_a_pair_whose_days_differ_share_the_breaker_of_their_account() -> None:
    stock, pair = position(), position("BTC/USD")
    bench = Bench(plan(stock, pair, account={"orders_per_day": 2}), TwoMarkets())
    bench.prices(100.0, 94.0)
    bench.prices(100.0, 94.0, symbol="BTC/USD")
    assert len(sent(bench.prices(88.0))) == 1
    assert [trip.limit for trip in only(bench.prices(80.0), ev.BreakerTripped)] == ["orders_per_day"]


# The broker's refusal


def test_a_refused_order_holds_its_side_until_the_next_session() -> None:
    bench = Bench(plan(position()), Market(opens=12 * HOUR, closes=13 * HOUR), fill=False)
    [order] = sent(bench.prices(100.0, 94.0))
    events = bench.take(bench.engine.order_ended(order.order, OrderStatus.REJECTED, "no", bench.now))
    assert holds(events) == [Guard.BROKER]
    assert not bench.prices(94.0, 93.0)
    bench.later(24 * HOUR)
    assert len(sent(bench.prices(94.0))) == 1


# Circuit breakers


@pytest.mark.parametrize(
    ("limit", "prices"),
    [
        ({"orders_per_minute": 1}, (94.0, 88.0)),
        ({"orders_per_day": 1}, (94.0, 88.0)),
        ({"notional_per_order": dollars("299.99")}, (94.0,)),
        ({"notional_per_day": dollars(500)}, (94.0, 88.0)),
    ],
)
def test_a_breaker_trips_before_the_order_and_halts(limit: dict[str, Any], prices: tuple[float, ...]) -> None:
    bench = Bench(plan(position(), account=limit))
    bench.prices(100.0)
    events = bench.prices(*prices)
    assert [trip.limit for trip in only(events, ev.BreakerTripped)] == list(limit)
    assert bench.state.trading is TradingState.HALTED
    assert (len(sent(events)), holds(events)) == (len(prices) - 1, [Guard.STATE])


@pytest.mark.parametrize(
    "limit",
    [
        {"orders_per_minute": 1},
        {"orders_per_day": 1},
        {"notional_per_order": dollars(300)},
        {"notional_per_day": dollars(300)},
    ],
)
def test_a_breaker_does_not_trip_at_its_limit(limit: dict[str, Any]) -> None:
    bench = Bench(plan(position(), account=limit))
    assert len(sent(bench.prices(100.0, 94.0))) == 1


def test_the_breaker_of_a_minute_counts_anew_the_next_minute() -> None:
    bench = Bench(plan(position(), account={"orders_per_minute": 1}))
    bench.prices(100.0, 94.0)
    bench.later(MINUTE)
    assert len(sent(bench.prices(88.0))) == 1


def test_the_breaker_of_a_day_counts_anew_the_next_day() -> None:
    bench = Bench(plan(position(), account={"orders_per_day": 1}))
    bench.prices(100.0, 94.0)
    bench.later(DAY)
    assert len(sent(bench.prices(88.0))) == 1


def refuse(bench: Bench, *symbols: str) -> list[ev.Event]:
    """Let the broker refuse an order of each symbol."""
    start = len(bench.events)
    for symbol in symbols:
        [order] = sent(bench.prices(100.0, 94.0, symbol=symbol))
        bench.take(bench.engine.order_ended(order.order, OrderStatus.REJECTED, "no", bench.now))
    return bench.events[start:]


def test_refusals_in_a_row_trip_the_breaker() -> None:
    bench = Bench(plan(position(), position("SPY"), account={"consecutive_rejects": 2}), fill=False)
    assert not only(refuse(bench, "QQQ"), ev.BreakerTripped)
    assert len(only(refuse(bench, "SPY"), ev.BreakerTripped)) == 1
    assert bench.state.trading is TradingState.HALTED


def test_an_order_that_the_broker_took_ends_the_row() -> None:
    bench = Bench(plan(position(), position("SPY"), position("IWM"), account={"consecutive_rejects": 2}), fill=False)
    refuse(bench, "QQQ")
    [order] = sent(bench.prices(100.0, 94.0, symbol="SPY"))
    bench.report(order)
    assert not only(refuse(bench, "IWM"), ev.BreakerTripped)


def test_a_lower_limit_of_refusals_in_the_file_trips_before_the_next_order() -> None:
    bench = Bench(plan(position(), position("SPY")), fill=False)
    refuse(bench, "QQQ")
    strict = plan(position(), position("SPY"), account={"consecutive_rejects": 1})
    bench.take(bench.engine.configure(strict, bench.now))
    events = bench.prices(100.0, 94.0, symbol="SPY")
    assert [trip.limit for trip in only(events, ev.BreakerTripped)] == ["consecutive_rejects"]
    assert not sent(events)


def test_a_resume_begins_a_new_row() -> None:
    bench = Bench(plan(position(), position("SPY"), position("IWM"), account={"consecutive_rejects": 2}), fill=False)
    refuse(bench, "QQQ", "SPY")
    trading(bench, TradingState.ACTIVE)
    assert not only(refuse(bench, "IWM"), ev.BreakerTripped)


def test_what_only_asks_a_person_trips_no_breaker() -> None:
    bench = Bench(plan(position(), account={"notional_per_order": dollars(100)}))
    assert len(only(bench.prices(50.0), ev.ApprovalRequested)) == 1
    assert bench.state.trading is TradingState.ACTIVE


def test_an_approved_order_trips_a_breaker_like_any_other() -> None:
    bench = Bench(plan(position(mode=Mode.APPROVE), account={"notional_per_order": dollars(100)}))
    bench.prices(100.0, 94.0)
    events = bench.command(Approve(by="me", portfolio="core", symbol="QQQ", number=1))
    assert not sent(events)
    assert bench.state.trading is TradingState.HALTED


# The order of the guards


def test_the_first_guard_that_objects_is_the_one_that_is_told() -> None:
    bench = Bench(plan(position(), reserve="0"))
    bench.prices(100.0)
    pause(bench, paused=True)
    trading(bench, TradingState.HALTED)
    assert holds(bench.prices(94.0)) == [Guard.STATE]


def test_a_frozen_symbol_holds_what_the_freezing_print_would_have_fired() -> None:
    bench = Bench(plan(position(), prints=PrintRules(stale_after=None)))
    assert holds(bench.prices(100.0, 48.0, 48.0)) == [Guard.FROZEN]
