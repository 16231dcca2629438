"""What follows by itself from a fact about an order, a position or the trading state, in the same commit."""

from __future__ import annotations

from collections.abc import Iterator

from mrdaemon.core import events as ev
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.guards import Guard
from mrdaemon.core.money import value
from mrdaemon.core.policy import TradingState
from mrdaemon.core.sessions import Sessions
from mrdaemon.core.signals import trip_breaker
from mrdaemon.core.state import State


def overtaken(state: State, event: ev.TargetChanged | ev.PositionConfigured | ev.PositionRetired) -> Iterator[ev.Event]:
    """Cancel an order in flight whose target changed, or whose position is gone; what fills still counts."""
    position = state.position(event)
    order = state.orders.get(position.order) if position.order is not None else None
    same = isinstance(event, ev.PositionConfigured) and not event.retarget
    if order is not None and not order.canceling and not same:
        why = "its position left the configuration" if position.retired else "its target changed"
        yield ev.CancelRequested(at=event.at, **order.about(), reason=why)


def halted(state: State, halt: ev.TradingStateChanged) -> Iterator[ev.Event]:
    """Cancel every open order in the scope of a halt, in the same commit: a kill must not lose that."""
    for order in list(state.orders.values()):
        if order.ended is None and not order.canceling and halt.concerns(order.intent):
            yield ev.CancelRequested(at=halt.at, **order.about(), reason="trading was halted")


def unwanted(state: State, event: ev.OrderEnded, sessions: Sessions) -> Iterator[ev.Event]:
    """Hold the side of an order that the broker refused, or ended unfilled without being asked, for the session."""
    order = state.orders[event.order]
    refused = order.status is OrderStatus.REJECTED
    dropped = order.status in {OrderStatus.CANCELED, OrderStatus.EXPIRED} and not order.filled
    if not refused and (order.canceling or not dropped):
        return
    intent, position = order.intent, state.position(event)
    did = f"refused order {event.order}" if refused else f"ended order {event.order} as {event.status}"
    yield ev.SignalHeld(
        at=event.at,
        **position.about(),
        side=intent.side,
        guard=Guard.BROKER,
        reason=f"the broker {did}{f': {event.reason}' if event.reason else ''}",
        price=intent.price,
        value=value(position.shares, intent.price),
        amount=intent.worth,
        until=sessions.upcoming(event.at).opens,
    )
    account = state.accounts[intent.account]
    most = account.rules.consecutive_rejects
    if most is not None and account.rejects >= most and state.trading is not TradingState.HALTED:
        why = f"account {account.name}: the broker refused {account.rejects} orders in a row"
        yield from trip_breaker(account.name, "consecutive_rejects", why, event.at)
