"""What may hold a signal, and why. Each guard is one function; the first that objects is the one that is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from mrdaemon.core.hours import Hours, closed, hours_at
from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.core.money import EXACT, NO_DOLLARS, Dollars, show, show_shares
from mrdaemon.core.policy import Mode, Short, Side, TradingState
from mrdaemon.core.sessions import Session, Sessions
from mrdaemon.core.sizing import Size, large_enough, minimum_order
from mrdaemon.core.state import Account, Portfolio, Position, State, Symbol


class Guard(StrEnum):
    """The name of what holds a signal."""

    STATE = "trading state"
    PAUSED = "paused"
    HALTED = "position halted"
    FROZEN = "frozen"
    EXCHANGE = "exchange halt"
    SESSION = "session"
    CLOCK = "clock"
    ASSET = "asset"
    ACCOUNT = "account"
    COVER = "cover"
    COOLDOWN = "cooldown"
    IN_FLIGHT = "in flight"
    RESERVE = "reserve"
    MINIMUM = "minimum order"
    MAXIMUM = "maximum order"
    ORDERS = "orders per day"
    NOTIONAL = "notional per day"
    BROKER = "broker"


class Case(NamedTuple):
    """A signal before the guards."""

    state: State
    position: Position
    portfolio: Portfolio
    account: Account
    symbol: Symbol
    side: Side
    amount: Dollars
    """What would restore the position."""
    size: Size
    sessions: Sessions
    session: Session | None
    seen: Instant
    """When the print happened."""
    now: Instant


class Verdict(NamedTuple):
    """A guard's objection."""

    guard: Guard
    reason: str
    until: Instant | None = None
    """When the objection ends by itself."""


def trading_state(state: State, position: Position) -> TradingState:
    """Give the strictest of the states that apply to a position."""
    states = (state.trading, state.portfolios[position.portfolio].state, position.state)
    for strict in (TradingState.HALTED, TradingState.REDUCING):
        if strict in states:
            return strict
    return TradingState.ACTIVE


def _state(case: Case) -> Verdict | None:
    effective = trading_state(case.state, case.position)
    if effective is TradingState.HALTED:
        return Verdict(Guard.STATE, "trading is HALTED; resume it to trade again")
    if effective is TradingState.REDUCING and case.side is Side.ACCUMULATE:
        return Verdict(Guard.STATE, "the trading state is REDUCING: only trims are allowed")
    return None


def _paused(case: Case) -> Verdict | None:
    if case.state.paused or case.symbol.paused:
        return Verdict(Guard.PAUSED, "signals are paused; resume them to trade again")
    return None


def _halted(case: Case) -> Verdict | None:
    if case.position.halted is not None:
        return Verdict(Guard.HALTED, f"the position is halted: {case.position.halted}")
    return None


def _frozen(case: Case) -> Verdict | None:
    if case.symbol.frozen is not None:
        return Verdict(Guard.FROZEN, f"the symbol is frozen: {case.symbol.frozen}")
    return None


def _exchange(case: Case) -> Verdict | None:
    if case.symbol.halted is not None:
        return Verdict(Guard.EXCHANGE, f"the exchange halted {case.position.symbol}: {case.symbol.halted}")
    return None


def _session(case: Case) -> Verdict | None:
    shut = closed(case.sessions, case.session, case.position.rules, case.seen, case.now)
    return None if shut is None else Verdict(Guard.SESSION, shut.reason, shut.until)


def _clock(case: Case) -> Verdict | None:
    dispute = case.account.dispute(case.position.symbol)
    return None if dispute is None else Verdict(Guard.CLOCK, f"when the market is open is in dispute: {dispute}")


def _asset(case: Case) -> Verdict | None:
    asset = case.state.asset_of(case.position)
    if not asset.tradable:
        return Verdict(Guard.ASSET, f"the broker does not trade {asset.symbol}{f': {asset.why}' if asset.why else ''}")
    if case.session is None or not asset.fractionable or asset.extended_fractions:
        return None
    if hours_at(case.sessions, case.state.prints, case.now) is Hours.REGULAR:
        return None
    until = case.sessions.regular_opening(case.now)
    why = f"the broker trades fractions of {asset.symbol} in regular hours only; they begin at {iso(until)}"
    return Verdict(Guard.ASSET, why, until)


def _account(case: Case) -> Verdict | None:
    if case.position.rules.mode is Mode.ALERT or case.account.ready:
        return None
    return Verdict(Guard.ACCOUNT, f"account {case.account.name} is not reconciled with its broker")


def _cover(case: Case) -> Verdict | None:
    if case.side is Side.TRIM or case.account.covered:
        return None
    cash = "unknown" if case.account.cash is None else show(case.account.cash)
    return Verdict(Guard.COVER, f"account {case.account.name} has {cash} in cash, less than its reserves together")


def _cooldown(case: Case) -> Verdict | None:
    last = case.position.signalled_at
    if last is None or case.now >= last + case.position.rules.cooldown * SECOND:
        return None
    until = Instant(last + case.position.rules.cooldown * SECOND)
    return Verdict(Guard.COOLDOWN, f"the last signal was at {iso(last)}; the cooldown ends at {iso(until)}", until)


def _in_flight(case: Case) -> Verdict | None:
    if case.position.order is not None:
        return Verdict(Guard.IN_FLIGHT, f"order {case.position.order} is in flight")
    return None


def _reserve(case: Case) -> Verdict | None:
    if case.side is Side.TRIM:
        return None
    available = max(NO_DOLLARS, case.portfolio.available)
    partial = case.position.rules.on_short_reserve is Short.PARTIAL
    if available >= case.amount or (partial and large_enough(case.state, case.position, case.size)):
        return None
    floor = f" above its floor of {show(case.portfolio.rules.floor)}" if case.portfolio.rules.floor else ""
    return Verdict(Guard.RESERVE, f"the reserve has {show(available)} available{floor}, {show(case.amount)} are wanted")


def _minimum(case: Case) -> Verdict | None:
    if large_enough(case.state, case.position, case.size):
        return None
    if case.size.quantity == 0:
        return Verdict(
            Guard.MINIMUM, f"{show(case.size.amount)} are less than one whole share of {case.position.symbol}"
        )
    least, fewest = minimum_order(case.state, case.position), case.state.asset_of(case.position).min_quantity
    if case.size.shares < fewest:
        what = f"{show_shares(case.size.shares)} {case.position.symbol}"
        return Verdict(Guard.MINIMUM, f"an order of {what} is below the minimum of {show_shares(fewest)}")
    return Verdict(Guard.MINIMUM, f"an order of {show(case.size.worth)} is below the minimum of {show(least)}")


def _maximum(case: Case) -> Verdict | None:
    most = case.position.rules.max_order
    if most is None or case.size.worth <= most:
        return None
    return Verdict(Guard.MAXIMUM, f"an order of {show(case.size.worth)} is above the maximum of {show(most)}")


def _today(case: Case) -> tuple[int, Dollars]:
    """Give the portfolio's orders and their worth in the session at hand."""
    same_day = case.session is not None and case.portfolio.day >= case.session.day
    return (case.portfolio.orders, case.portfolio.notional) if same_day else (0, NO_DOLLARS)


def _orders(case: Case) -> Verdict | None:
    most, (orders, _) = case.portfolio.rules.max_orders_per_day, _today(case)
    if most is None or orders < most:
        return None
    until = case.sessions.upcoming(case.now).opens
    return Verdict(Guard.ORDERS, f"portfolio {case.portfolio.name} sent {orders} orders today, its limit", until)


def _notional(case: Case) -> Verdict | None:
    most, (_, notional) = case.portfolio.rules.max_notional_per_day, _today(case)
    if most is None or notional + case.size.worth <= most:
        return None
    reason = (
        f"{show(case.size.worth)} on top of {show(notional)} traded today would pass the limit of {show(most)} "
        f"for portfolio {case.portfolio.name}"
    )
    return Verdict(Guard.NOTIONAL, reason, case.sessions.upcoming(case.now).opens)


GUARDS: Final[dict[Guard, Callable[[Case], Verdict | None]]] = {
    Guard.STATE: _state,
    Guard.PAUSED: _paused,
    Guard.HALTED: _halted,
    Guard.FROZEN: _frozen,
    Guard.EXCHANGE: _exchange,
    Guard.SESSION: _session,
    Guard.CLOCK: _clock,
    Guard.ASSET: _asset,
    Guard.ACCOUNT: _account,
    Guard.COVER: _cover,
    Guard.IN_FLIGHT: _in_flight,
    Guard.COOLDOWN: _cooldown,
    Guard.RESERVE: _reserve,
    Guard.MINIMUM: _minimum,
    Guard.MAXIMUM: _maximum,
    Guard.ORDERS: _orders,
    Guard.NOTIONAL: _notional,
}
"""In the order in which they are asked."""


def objections(case: Case) -> Iterator[Verdict]:
    """Give every guard's objection."""
    for guard in GUARDS.values():
        verdict = guard(case)
        if verdict is not None:
            yield verdict


def tripped(case: Case) -> tuple[str, str] | None:
    """Give the circuit breaker that an order would trip at its account: the limit's name and a sentence."""
    rules, account = case.account.rules, case.account
    same_minute = account.minute == case.now // (60 * SECOND)
    same_day = case.session is not None and account.day >= case.session.day
    in_minute = account.orders_in_minute if same_minute else 0
    orders, notional = (account.orders, account.notional) if same_day else (0, NO_DOLLARS)
    worth = case.size.worth
    for name, limit, reached, reason in (
        ("orders_per_minute", rules.orders_per_minute, in_minute + 1, f"{in_minute} orders in this minute"),
        ("orders_per_day", rules.orders_per_day, orders + 1, f"{orders} orders today"),
        ("notional_per_order", rules.notional_per_order, worth, f"an order of {show(worth)}"),
        (
            "notional_per_day",
            rules.notional_per_day,
            notional + worth,
            f"{show(notional)} today and {show(worth)} more",
        ),
    ):
        if limit is not None and reached > limit:
            return name, f"account {account.name}: {reason}, the limit is {show_shares(EXACT.create_decimal(limit))}"
    if rules.consecutive_rejects is not None and account.rejects >= rules.consecutive_rejects:
        return "consecutive_rejects", f"account {account.name}: the broker refused {account.rejects} orders in a row"
    return None
