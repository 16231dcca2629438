"""Orders: what is asked of a broker, what it answers, and which facts follow from an answer.

Shares and cash follow the *cumulative* filled quantity, which only grows: a report that says as much as or less than
what is known changes nothing, from whichever source it comes and however often.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from mrdaemon.core import events as ev
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.core.lots import sell
from mrdaemon.core.money import NO_DOLLARS, NO_SHARES, Dollars, Price, Shares, cents, show, show_shares, value
from mrdaemon.core.policy import Side
from mrdaemon.core.state import Order, State

PREFIX: Final = "mrd"
"""Every client order id of ours begins with it."""
CLOCK_SKEW: Final = 60 * SECOND
"""How much older than its intent an order may look: two clocks differ, and are compared only now and then."""
TERMINAL: Final = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED, OrderStatus.ABANDONED}
)


def client_order_id(portfolio: str, symbol: str, number: int, attempt: int, nonce: str) -> str:
    """Name an order after its intent: the same intent has the same name for ever."""
    return f"{PREFIX}-{portfolio}-{symbol.replace('/', '_')}-{number}-{attempt}-{nonce}"


class OrderRequest(msgspec.Struct, frozen=True):
    """What is asked of a broker: a notional or a quantity, at market or with a limit."""

    order: str
    symbol: str
    side: Side
    notional: Dollars | None
    quantity: Shares | None
    limit: Price | None
    at: Instant
    """When it was decided."""
    extended: bool = False
    """Whether it may fill outside of regular hours."""

    @classmethod
    def of(cls, intent: ev.OrderIntended) -> OrderRequest:
        """Ask for what was intended, no more."""
        return cls(
            order=intent.order,
            symbol=intent.symbol,
            side=intent.side,
            notional=intent.notional,
            quantity=intent.quantity,
            limit=intent.limit,
            at=intent.at,
            extended=intent.extended,
        )


class OrderReport(msgspec.Struct, frozen=True):
    """What a broker says of an order, in cumulative figures."""

    order: str
    broker_order: str
    symbol: str
    side: Side
    status: OrderStatus
    at: Instant
    filled: Shares = NO_SHARES
    average: Price | None = None
    fees: Dollars = NO_DOLLARS
    notional: Dollars | None = None
    quantity: Shares | None = None
    reason: str = ""
    created: Instant | None = None
    """When the broker took it, where it says."""


def on_report(state: State, account: str, report: OrderReport, now: Instant) -> Iterator[ev.Event]:
    """Give the facts that a report adds to what is known; none for a repeat."""
    order = state.orders.get(report.order)
    if order is None:
        if report.order.startswith(f"{PREFIX}-"):
            yield from _unknown(state, account, report, now)
        return
    intent = order.intent
    if (reason := _mismatch(intent, account, report)) is not None:
        yield from _of_another(state, account, report, reason, now)
        return
    about = order.about()
    at = max(report.at, intent.at)
    if report.status is not OrderStatus.REJECTED and (order.status is OrderStatus.INTENDED or order.ambiguous):
        yield ev.OrderAccepted(at=at, **about, broker_order=report.broker_order)
    filled = _fill(state, order, report, at)
    if filled is not None:
        yield filled
    if report.fees > order.fees:
        yield ev.FeeCharged(at=at, **about, fees=report.fees, amount=Dollars(report.fees - order.fees))
    if order.ended is not None:
        yield from _after_the_end(state, order, report, filled, now)
    elif report.status in TERMINAL and not _unpriced(order, report):
        used = filled.amount if filled is not None and intent.side is Side.ACCUMULATE else NO_DOLLARS
        released = max(NO_DOLLARS, Dollars(order.reserved - used))
        yield ev.OrderEnded(at=at, **about, status=report.status, reason=report.reason, released=released)


def _unmatched(
    state: State, account: str, report: OrderReport, reason: str, now: Instant
) -> Iterator[ev.OrderUnmatched]:
    if state.unmatched.get(report.order) != reason:
        yield ev.OrderUnmatched(at=now, account=account, order=report.order, reason=reason)


def _unknown(state: State, account: str, report: OrderReport, now: Instant) -> Iterator[ev.Event]:
    """Halt the position of an order of ours that this journal did not intend: told once, and a resume is final.

    The journal is an older one, restored, or another daemon trades in the account. What the order did, or may do yet,
    would be done a second time.
    """
    news = list(_unmatched(state, account, report, "no intent explains it", now))
    if not news:
        return
    yield from news
    alive = report.status not in TERMINAL
    for position in state.positions.values():
        there = (state.portfolios[position.portfolio].rules.account, position.symbol)
        concerned = there == (account, report.symbol) and position.halted is None and not position.retired
        # A position that has not begun takes over what has filled.
        if concerned and (alive or (position.opened and report.filled > 0)):
            how = "is open" if alive else f"has filled {show_shares(report.filled)} shares"
            why = (
                f"order {report.order} {how} at the broker, and no intent explains it: the journal may be an older one"
            )
            yield ev.PositionHalted(at=now, portfolio=position.portfolio, symbol=position.symbol, reason=why)


def _of_another(state: State, account: str, report: OrderReport, reason: str, now: Instant) -> Iterator[ev.Event]:
    """Halt the position of an order that the broker shows otherwise than it was intended, and give the order up.

    Nothing of it is applied: what it did shows in the count of shares, and is for a person to put right. A resume is
    the person's word that it is; the same report again does not take it back.
    """
    order = state.orders[report.order]
    intent, position = order.intent, state.position(order.intent)
    news = list(_unmatched(state, account, report, reason, now))
    yield from news
    if position.halted is None and (news or order.ended is None):
        yield ev.PositionHalted(at=now, portfolio=intent.portfolio, symbol=intent.symbol, reason=reason)
    yield from ended(state, report.order, OrderStatus.ABANDONED, reason, now)


def _after_the_end(
    state: State, order: Order, report: OrderReport, filled: ev.OrderFilled | None, now: Instant
) -> Iterator[ev.Event]:
    """An order that had ended lives after all: apply what filled, cancel the rest, halt the position."""
    alive = order.status is OrderStatus.ABANDONED and report.status not in TERMINAL
    if filled is None and not alive:
        return
    intent, position = order.intent, state.position(order.intent)
    if position.halted is None:
        why = f"order {report.order} is {report.status} at the broker after it had ended as {order.status} here"
        yield ev.PositionHalted(at=now, portfolio=intent.portfolio, symbol=intent.symbol, reason=why)
    if alive and not order.canceling:
        yield ev.CancelRequested(at=now, **order.about(), reason="it had been given up")


def _mismatch(intent: ev.OrderIntended, account: str, report: OrderReport) -> str | None:
    if report.created is not None and report.created < intent.at - CLOCK_SKEW:
        return (
            f"the broker has order {report.order} since {iso(report.created)}, it was intended at {iso(intent.at)}: "
            "it is an older one of the same id"
        )
    ours = (intent.account, intent.symbol, intent.side, intent.notional, intent.quantity)
    theirs = (account, report.symbol, report.side, report.notional, report.quantity)
    if ours == theirs:
        return None
    elsewhere = f" in account {intent.account}" if account != intent.account else ""
    return (
        f"the broker's order {report.order} is to {_asked(report)} in account {account}; "
        f"it was intended to {_asked(intent)}{elsewhere}"
    )


def _asked(order: ev.OrderIntended | OrderReport) -> str:
    """Say what an order asks for: ``buy $501.00 of BBB``, ``sell 3 AAA``."""
    verb = "buy" if order.side is Side.ACCUMULATE else "sell"
    if order.notional is None:
        much = "an unknown number of" if order.quantity is None else show_shares(order.quantity)
        return f"{verb} {much} {order.symbol}"
    exact = order.notional == cents(order.notional)
    much = show(order.notional) if exact else f"${order.notional:f}"
    count = "" if order.quantity is None else f" and {show_shares(order.quantity)} shares of it"
    return f"{verb} {much} of {order.symbol}{count}"


def _unpriced(order: Order, report: OrderReport) -> bool:
    """Tell whether a report counts shares at no price: they cannot be booked, so the order is not over."""
    return report.filled > order.filled and report.average is None


def _fill(state: State, order: Order, report: OrderReport, at: Instant) -> ev.OrderFilled | None:
    if report.filled <= order.filled or report.average is None:
        return None
    intent = order.intent
    cash = value(report.filled, report.average)
    shares, amount = Shares(report.filled - order.filled), Dollars(cash - order.cash)
    gain: Dollars | None = None
    if intent.side is Side.TRIM:
        _, gain = sell(state.position(intent).lots, shares, amount)
    return ev.OrderFilled(
        at=at,
        portfolio=intent.portfolio,
        symbol=intent.symbol,
        order=report.order,
        side=intent.side,
        filled=report.filled,
        average=report.average,
        cash=cash,
        shares=shares,
        amount=amount,
        gain=gain,
    )


def ended(state: State, order: str, status: OrderStatus, reason: str, now: Instant) -> Iterator[ev.Event]:
    """End an order that the broker refused, or that was never sent; nothing where it has ended already."""
    known = state.orders.get(order)
    if known is None or known.ended is not None:
        return
    yield ev.OrderEnded(
        at=now,
        **known.about(),
        status=status,
        reason=reason,
        released=known.reserved,
    )


def open_orders(state: State, account: str) -> list[Order]:
    """Give an account's orders that have not ended, oldest first."""
    return [order for order in state.orders.values() if order.ended is None and order.intent.account == account]
