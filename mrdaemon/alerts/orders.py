"""Words for orders: what was bought or sold of what was wanted, what a broker refused, and what nobody knows."""

from __future__ import annotations

from typing import Final

from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.alerts.saying import (
    Saying,
    Sayings,
    at_price,
    bought,
    buy,
    facts,
    holds,
    key_of,
    plain,
    position_facts,
)
from mrdaemon.core import events as ev
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.money import show, show_shares
from mrdaemon.core.state import Order, State

ENDS: Final = {
    OrderStatus.CANCELED: "was cancelled",
    OrderStatus.EXPIRED: "expired",
    OrderStatus.REJECTED: "was refused by the broker",
    OrderStatus.ABANDONED: "was given up, as the broker does not have it",
}
"""How an order ended that did not fill."""


class Orders:
    """Says what became of each order, and remembers only what the state does not: why one is being cancelled."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._open = {name for name, order in state.orders.items() if order.ended is None}
        self._ambiguous = {name for name in self._open if state.orders[name].ambiguous}
        self._cancelled: dict[str, str] = {}

    def intended(self, event: ev.OrderIntended) -> Sayings:
        """Know an order from now on; its signal was told."""
        self._open.add(event.order)
        return ()

    def filled(self, event: ev.OrderFilled) -> Sayings:
        """Tell of the first part of an order that is still open; the end tells of the whole."""
        order = self._state.orders.get(event.order)
        if order is None:
            return
        if event.order not in self._open:
            yield self._late(event, order)
        elif order.ended is None and event.filled == event.shares:
            yield self._part(event, order)

    def _part(self, event: ev.OrderFilled, order: Order) -> Saying:
        did = f"{bought(event.side).capitalize()} {show_shares(event.shares)} {event.symbol}"
        return Saying(
            level=Level.INFO,
            topic=Topic.ORDER,
            kind="order_partially_filled",
            subject=key_of(event),
            title=f"{did} so far",
            text=(
                f"{did} at an average of {at_price(event.average)} for {show(event.amount)} so far, of the order to "
                f"{_wish(order)}; {self._outcome(event, order)}."
            ),
            portfolio=event.portfolio,
            symbol=event.symbol,
            facts=self._facts(order),
        )

    def _late(self, event: ev.OrderFilled, order: Order) -> Saying:
        did = f"{bought(event.side).capitalize()} {show_shares(event.shares)} {event.symbol}"
        return Saying(
            level=Level.WARNING,
            topic=Topic.ORDER,
            kind="order_filled_late",
            subject=key_of(event),
            title=f"{did} by an order that had ended",
            text=(
                f"{did} for {show(event.amount)} by order {event.order}, which had ended as {order.status} before; "
                f"{self._outcome(event, order)}."
            ),
            portfolio=event.portfolio,
            symbol=event.symbol,
            facts=self._facts(order),
        )

    def ended(self, event: ev.OrderEnded) -> Sayings:
        """Tell how an order ended, with the totals of what it filled."""
        self._open.discard(event.order)
        self._ambiguous.discard(event.order)
        asked = self._cancelled.pop(event.order, "")
        order = self._state.orders.get(event.order)
        if order is None:
            return
        if order.filled:
            yield self._filled(event, order, asked)
        else:
            yield self._unfilled(event, order, asked)

    def _filled(self, event: ev.OrderEnded, order: Order, asked: str) -> Saying:
        whole = event.status == OrderStatus.FILLED
        side = order.intent.side
        did = f"{bought(side).capitalize()} {show_shares(order.filled)} {event.symbol}"
        average = "" if order.average is None else f" at an average of {at_price(order.average)}"
        rest = "" if whole else f"; what is left of it {_end(event)}{_why(asked or event.reason)}"
        fees = f" and fees of {show(order.fees)}" if order.fees else ""
        return Saying(
            level=Level.NOTICE,
            topic=Topic.ORDER,
            kind="order_filled" if whole else "order_filled_in_part",
            subject=key_of(event),
            title=f"{did} for {show(order.cash)}",
            text=(
                f"{did}{average} for {show(order.cash)}{fees}, on the order to {_wish(order)}{rest}; "
                f"{self._outcome(event, order)}."
            ),
            portfolio=event.portfolio,
            symbol=event.symbol,
            facts=self._facts(order) | facts(status=event.status, reason=asked or event.reason),
        )

    def _unfilled(self, event: ev.OrderEnded, order: Order, asked: str) -> Saying:
        status = event.status
        refused = status == OrderStatus.REJECTED
        kinds = {OrderStatus.REJECTED: "order_refused", OrderStatus.ABANDONED: "order_abandoned"}
        quiet = status in {OrderStatus.CANCELED, OrderStatus.EXPIRED}
        freed = f", the {show(event.released)} set aside for it are free again" if event.released else ""
        portfolio = self._state.portfolios[event.portfolio]
        return Saying(
            level=Level.NOTICE if quiet else Level.WARNING,
            topic=Topic.ORDER,
            kind=next((kind for each, kind in kinds.items() if each == status), "order_cancelled"),
            subject=key_of(event),
            title=f"{event.symbol}: order {'refused' if refused else _end(event).removeprefix('was ')}",
            text=(
                f"The order to {_wish(order)} in {event.portfolio} {_end(event)}{_why(asked or event.reason)}; "
                f"nothing was {bought(order.intent.side)}{freed}, and the reserve is {show(portfolio.reserve)}."
            ),
            portfolio=event.portfolio,
            symbol=event.symbol,
            facts=self._facts(order) | facts(status=status, reason=asked or event.reason, released=event.released),
        )

    def ambiguous(self, event: ev.OrderAmbiguous) -> Sayings:
        """Tell that nobody knows whether the broker has an order."""
        order = self._state.orders.get(event.order)
        if order is None:
            return
        self._ambiguous.add(event.order)
        yield Saying(
            level=Level.CRITICAL,
            topic=Topic.ORDER,
            kind="order_ambiguous",
            subject=key_of(event),
            title=f"{event.symbol}: an order's fate is unknown",
            text=(
                f"Nobody knows whether the broker has the order to {_wish(order)} in {event.portfolio}: "
                f"{plain(event.reason)}; it is looked up until that is certain, and {event.symbol} is not traded there "
                "before."
            ),
            portfolio=event.portfolio,
            symbol=event.symbol,
            facts=self._facts(order) | facts(reason=event.reason),
        )

    def accepted(self, event: ev.OrderAccepted) -> Sayings:
        """Tell that an order was found of which nobody knew; any other is expected to be taken."""
        if event.order not in self._ambiguous:
            return
        self._ambiguous.discard(event.order)
        order = self._state.orders.get(event.order)
        if order is None or order.ended is not None:
            return  # Its end says more.
        yield Saying(
            level=Level.NOTICE,
            topic=Topic.ORDER,
            kind="order_found",
            subject=key_of(event),
            title=f"{event.symbol}: the order was found",
            text=f"The broker does have the order to {_wish(order)} in {event.portfolio}; what it fills is booked.",
            portfolio=event.portfolio,
            symbol=event.symbol,
            facts=self._facts(order),
        )

    def cancelling(self, event: ev.CancelRequested) -> Sayings:
        """Remember why an order is cancelled; its end is told."""
        if event.order in self._open:
            self._cancelled[event.order] = event.reason
        return ()

    def unmatched(self, event: ev.OrderUnmatched) -> Sayings:
        """Tell of an order at the broker that is not as any was intended."""
        yield Saying(
            level=Level.WARNING,
            topic=Topic.BROKER,
            kind="order_unmatched",
            subject=f"account {event.account}",
            title=f"{event.account}: an order that was not intended",
            text=(
                f"The broker of account {event.account} reports order {event.order}, which does not match: "
                f"{plain(event.reason)}; nothing of it is booked."
            ),
            facts=facts(account=event.account, order=event.order, reason=event.reason),
        )

    def _outcome(self, event: ev.OrderEvent, order: Order) -> str:
        """Say where an order left the position and its reserve."""
        position = self._state.position(event)
        reserve = self._state.portfolios[event.portfolio].reserve
        return f"{holds(position, order.average)}, and its reserve is {show(reserve)}"

    def _facts(self, order: Order) -> dict[str, str]:
        intent = order.intent
        return position_facts(self._state, self._state.position(intent), order.average) | facts(
            order=intent.order,
            number=str(intent.number),
            side=intent.side.value,
            wanted_amount=intent.notional,
            wanted_shares=intent.quantity,
            limit=intent.limit,
            filled=f"{order.filled:f}",
            average=order.average,
            amount=f"{order.cash:f}",
            fees=order.fees,
        )


def _wish(order: Order) -> str:
    """Say what an order wants: ``buy $250.00 of QQQ``, ``sell 3 QQQ``."""
    intent = order.intent
    if intent.notional is not None:
        return f"{buy(intent.side)} {show(intent.notional)} of {intent.symbol}"
    return f"{buy(intent.side)} {show_shares(intent.quantity or intent.worth)} {intent.symbol}"


def _end(event: ev.OrderEnded) -> str:
    return next((words for status, words in ENDS.items() if status == event.status), f"ended as {event.status}")


def _why(reason: str) -> str:
    return f" ({plain(reason)})" if plain(reason) else ""
