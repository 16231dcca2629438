"""Words for signals and for what people are asked: raised, awaiting an answer, answered or overtaken."""

from __future__ import annotations

from typing import Final

from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.alerts.saying import Register, Saying, at_time, buy, by_whom, facts, key_of, plain, position_facts, span
from mrdaemon.core import events as ev
from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.core.money import Dollars, show
from mrdaemon.core.policy import Mode, Side
from mrdaemon.core.state import Approval, Position, State
from mrdaemon.status import approval_id

says: Final = Register()


@says(ev.SignalRaised)
def raised(state: State, event: ev.SignalRaised) -> Saying:
    """Say which edge was reached, at what price, and what follows: an order, a question, or nothing by itself."""
    position = state.position(event)
    asks = position.approval is not None and position.approval.number == event.number
    after = _reserve_after(state, position, event.side, event.amount)
    if asks:
        follows = "A person is asked first."
    elif position.rules.mode is Mode.ALERT:
        follows = f"Nothing is traded by itself; once it is, the reserve of {event.portfolio} is {show(after)}."
    else:
        follows = f"The order is on its way; after it the reserve of {event.portfolio} is {show(after)}."
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
            reserve_after=f"{after:f}",
        ),
    )


def _reserve_after(state: State, position: Position, side: Side, amount: Dollars) -> Dollars:
    reserve = state.portfolios[position.portfolio].reserve
    return Dollars(reserve - amount if side is Side.ACCUMULATE else reserve + amount)


@says(ev.ApprovalRequested)
def requested(state: State, event: ev.ApprovalRequested) -> Saying:
    """Ask for an answer, and say until when."""
    asked = Approval(event.number, event.side, event.amount, event.expires)
    question = f"{event.reason} Without an answer by {at_time(event.expires)} nothing is traded."
    return _question(state, state.position(event), asked, "approval_requested", question, event.at)


def reminder(state: State, position: Position, approval: Approval, now: Instant) -> Saying:
    """Ask once more, and say how long is left."""
    left = span((approval.expires - now) // SECOND)
    question = (
        f"Still without an answer: {buy(approval.side)} up to {show(approval.amount)} of {position.symbol} in "
        f"{position.portfolio}? The request expires in {left}, at {at_time(approval.expires)}."
    )
    return _question(state, position, approval, "approval_reminder", question, now)


def _question(state: State, position: Position, asked: Approval, kind: str, text: str, now: Instant) -> Saying:
    after = _reserve_after(state, position, asked.side, asked.amount)
    doing = "buying" if asked.side is Side.ACCUMULATE else "selling"
    return Saying(
        level=Level.NOTICE,
        topic=Topic.APPROVAL,
        kind=kind,
        subject=position.key,
        title=f"{position.symbol}: approve {doing} {show(asked.amount)}?",
        text=text,
        portfolio=position.portfolio,
        symbol=position.symbol,
        facts=position_facts(state, position)
        | facts(
            number=str(asked.number),
            side=asked.side.value,
            amount=asked.amount,
            expires=iso(asked.expires),
            reserve_after=f"{after:f}",
        ),
        approval=approval_id(position, asked),
        ttl=max(1, (asked.expires - now) // SECOND),
    )


@says(ev.ApprovalGranted)
def granted(state: State, event: ev.ApprovalGranted) -> Saying:
    """Say who said yes."""
    text = f"Signal {event.number} of {event.symbol} in {event.portfolio} was approved {by_whom(event)}."
    return _answered(state, event, "approval_granted", Level.INFO, ("approved", text))


@says(ev.ApprovalClosed)
def closed(state: State, event: ev.ApprovalClosed) -> Saying:
    """Say why a request is no question any more."""
    what = f"Request {event.number} for {event.symbol} in {event.portfolio}"
    if event.cause == "rejected":
        text = f"{what} was rejected {by_whom(event)}; nothing is traded."
        return _answered(state, event, "approval_rejected", Level.INFO, ("rejected", text))
    if event.cause == "expired":
        late = f" before {event.by} approved it" if event.by else " without an approval"
        text = f"{what} expired{late}; nothing is traded."
        return _answered(state, event, "approval_expired", Level.NOTICE, ("request expired", text))
    text = f"{what} is no question any more: {plain(event.cause)}; nothing is traded for it."
    return _answered(state, event, "approval_closed", Level.NOTICE, ("request withdrawn", text))


def _answered(
    state: State,
    event: ev.ApprovalGranted | ev.ApprovalClosed,
    kind: str,
    level: Level,
    words: tuple[str, str],
) -> Saying:
    title, text = words
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
