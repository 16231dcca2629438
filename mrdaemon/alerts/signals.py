"""Words for signals and for what people are asked: raised, awaiting an answer, answered or overtaken."""

from __future__ import annotations

from typing import Final, NamedTuple

from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.alerts.saying import (
    Register,
    Saying,
    at_price,
    at_time,
    buy,
    by_whom,
    facts,
    key_of,
    plain,
    position_facts,
    span,
)
from mrdaemon.core import events as ev
from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.core.money import NO_DOLLARS, Dollars, Price, show, value
from mrdaemon.core.policy import Mode, Side
from mrdaemon.core.state import Approval, Position, State
from mrdaemon.status import approval_id

says: Final = Register()


class Asked(NamedTuple):
    """A request that waits for an answer, and the signal that it came from."""

    approval: Approval
    price: Price | None = None
    """None where nobody knows it any more."""
    edge: Dollars | None = None


class After(NamedTuple):
    """What a reserve will be once something is traded, and what other orders may still take is taken."""

    reserve: Dollars
    words: str

    @property
    def sentence(self) -> str:
        """Begin a sentence with the words."""
        return f"{self.words[0].upper()}{self.words[1:]}"

    def facts(self) -> dict[str, str]:
        """Write it as an alert's facts."""
        return facts(reserve_after=f"{self.reserve:f}")


@says(ev.SignalRaised)
def raised(state: State, event: ev.SignalRaised) -> Saying:
    """Say which edge was reached, at what price, and what follows: an order, a question, or nothing by itself."""
    position = state.position(event)
    asks = position.approval is not None and position.approval.number == event.number
    after = _after(state, position, event.number, event.side, event.amount)
    if asks:
        follows = f"A person is asked first; {after.words}."
    elif position.rules.mode is Mode.ALERT:
        follows = f"Nothing is traded by itself; {after.words}."
    else:
        follows = f"The order is on its way; {after.words}."
    return Saying(
        level=Level.INFO if asks else Level.NOTICE,
        topic=Topic.SIGNAL,
        kind="signal_raised",
        subject=key_of(event),
        title=f"{event.symbol}: {buy(event.side)} {show(event.amount)}",
        text=f"{event.reason} {follows}",
        portfolio=event.portfolio,
        symbol=event.symbol,
        facts=position_facts(state, position, event.price)
        | facts(
            number=str(event.number),
            side=event.side.value,
            value=f"{event.value:f}",
            target=event.target,
            edge=event.edge,
            amount=event.amount,
        )
        | after.facts(),
    )


def _after(state: State, position: Position, number: int, side: Side, amount: Dollars) -> After:
    """Give what the reserve will be after the order of a signal, or after up to an amount where there is none yet.

    What other orders may still take counts as taken; what open sales will bring does not count before it is there.
    """
    portfolio, name = state.portfolios[position.portfolio], position.portfolio
    order, others, what = state.orders.get(position.order or ""), portfolio.reserved, "the trade"
    if order is not None and order.intent.number == number:
        others, amount, what = Dollars(others - order.reserved), order.intent.worth, "it"
    elif side is Side.ACCUMULATE and amount > portfolio.available:
        amount = max(NO_DOLLARS, portfolio.available)
        words = f"the reserve of {name} has only {show(amount)} to spend"
        return After(Dollars(portfolio.reserve - others - amount), words)
    after = Dollars(portfolio.reserve - others + (-amount if side is Side.ACCUMULATE else amount))
    besides = " and the other open orders" if others else ""
    return After(after, f"after {what}{besides} the reserve of {name} is {show(after)}")


def requested(state: State, event: ev.ApprovalRequested, asked: Asked) -> Saying:
    """Ask for an answer, and say until when."""
    position = state.position(event)
    after = _after(state, position, event.number, event.side, event.amount)
    question = f"{event.reason} {after.sentence}; without an answer by {at_time(event.expires)} nothing is traded."
    figures = position_facts(state, position, asked.price) | after.facts()
    return _question(position, asked, "approval_requested", question, figures, event.at)


def reminder(state: State, position: Position, asked: Asked, now: Instant) -> Saying:
    """Ask once more, and say why, and how long is left."""
    approval = asked.approval
    after = _after(state, position, approval.number, approval.side, approval.amount)
    left = span((approval.expires - now) // SECOND)
    question = (
        f"Still without an answer: {buy(approval.side)} up to {show(approval.amount)} of {position.symbol} in "
        f"{position.portfolio}?{_reached(position, asked)} {after.sentence}; the request expires in "
        f"{left}, at {at_time(approval.expires)}."
    )
    figures = position_facts(state, position, asked.price) | after.facts()
    return _question(position, asked, "approval_reminder", question, figures, now)


def _reached(position: Position, asked: Asked) -> str:
    """Say at what price the question came up, and why."""
    if asked.price is None or asked.edge is None:
        return ""
    target = f"of its target {show(position.target)}"
    if not position.shares:
        return f" At {at_price(asked.price)} it is the first buy {target}."
    edge = "at or below the lower edge" if asked.approval.side is Side.ACCUMULATE else "at or above the upper edge"
    worth = show(value(position.shares, asked.price))
    return f" At {at_price(asked.price)} it was worth {worth}, {edge} {show(asked.edge)} {target}."


def _question(position: Position, asked: Asked, kind: str, text: str, figures: dict[str, str], now: Instant) -> Saying:
    approval = asked.approval
    doing = "buying" if approval.side is Side.ACCUMULATE else "selling"
    return Saying(
        level=Level.NOTICE,
        topic=Topic.APPROVAL,
        kind=kind,
        subject=position.key,
        title=f"{position.symbol}: approve {doing} {show(approval.amount)}?",
        text=text,
        portfolio=position.portfolio,
        symbol=position.symbol,
        facts=figures
        | facts(
            number=str(approval.number),
            side=approval.side.value,
            edge=asked.edge,
            amount=approval.amount,
            expires=iso(approval.expires),
        ),
        approval=approval_id(position, approval),
        ttl=max(1, (approval.expires - now) // SECOND),
    )


def granted(state: State, event: ev.ApprovalGranted, asked: Asked | None) -> Saying:
    """Say who said yes to what."""
    text = f"{_request(event, asked)} was approved {by_whom(event)}"
    position = state.position(event)
    if asked is not None:
        text += f"; {_after(state, position, event.number, asked.approval.side, asked.approval.amount).words}"
    return _answered(state, event, asked, "approval_granted", Level.INFO, ("approved", f"{text}."))


def closed(state: State, event: ev.ApprovalClosed, asked: Asked | None) -> Saying:
    """Say why a request is no question any more."""
    what = _request(event, asked)
    if event.cause == "rejected":
        text = f"{what} was rejected {by_whom(event)}; nothing is traded."
        return _answered(state, event, asked, "approval_rejected", Level.INFO, ("rejected", text))
    if event.cause == "expired":
        late = f" before {event.by} approved it" if event.by else " without an approval"
        text = f"{what} expired{late}; nothing is traded."
        return _answered(state, event, asked, "approval_expired", Level.NOTICE, ("request expired", text))
    text = f"{what} is no question any more: {plain(event.cause)}; nothing is traded for it."
    return _answered(state, event, asked, "approval_closed", Level.NOTICE, ("request withdrawn", text))


def _request(event: ev.ApprovalGranted | ev.ApprovalClosed, asked: Asked | None) -> str:
    """Name what was asked: ``Request 1, the buy of $250.00 of QQQ in core,``."""
    if asked is None:
        return f"Request {event.number} for {event.symbol} in {event.portfolio}"
    trade = "buy" if asked.approval.side is Side.ACCUMULATE else "sale"
    return (
        f"Request {event.number}, the {trade} of {show(asked.approval.amount)} of {event.symbol} in {event.portfolio},"
    )


def _answered(
    state: State,
    event: ev.ApprovalGranted | ev.ApprovalClosed,
    asked: Asked | None,
    kind: str,
    level: Level,
    words: tuple[str, str],
) -> Saying:
    title, text = words
    approval = None if asked is None else asked.approval
    return Saying(
        level=level,
        topic=Topic.APPROVAL,
        kind=kind,
        subject=key_of(event),
        title=f"{event.symbol}: {title}",
        text=text,
        portfolio=event.portfolio,
        symbol=event.symbol,
        facts=position_facts(state, state.position(event))
        | facts(
            number=str(event.number),
            request=f"{key_of(event)}/{event.number}",
            side=None if approval is None else approval.side.value,
            amount=None if approval is None else approval.amount,
            by=event.by,
            why=event.why,
            cause=event.cause if isinstance(event, ev.ApprovalClosed) else None,
        ),
    )


@says(ev.SignalDropped)
def dropped(state: State, event: ev.SignalDropped) -> Saying | None:
    """Say that a signal fell because a trade was taken back; one that was not confirmed was no news."""
    if not event.cause:
        return None
    return Saying(
        level=Level.INFO,
        topic=Topic.SIGNAL,
        kind="signal_dropped",
        subject=key_of(event),
        title=f"{event.symbol}: no signal after all",
        text=f"What {event.symbol} seemed to do in {event.portfolio} is not confirmed: {plain(event.cause)}.",
        portfolio=event.portfolio,
        symbol=event.symbol,
        facts=position_facts(state, state.position(event), event.price),
    )
