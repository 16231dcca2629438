"""From a value at an edge to a signal: confirm, ask the guards, then alert, ask a person, or intend an order.

These functions are generators. Whoever runs one folds each event into the state before asking for the next, so that
what follows a fact is decided with the fact known.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Final, NamedTuple

from mrdaemon.core import events as ev
from mrdaemon.core.acts import approval_objection, refused
from mrdaemon.core.commands import Approve
from mrdaemon.core.guards import (
    Case,
    Guard,
    Verdict,
    objections,
    tripped,
)
from mrdaemon.core.hours import Hours, hours_at
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import CENT, EXACT, Dollars, Price, cents, show, value
from mrdaemon.core.orders import client_order_id
from mrdaemon.core.policy import Mode, Side, TradingState
from mrdaemon.core.sessions import Session, Sessions
from mrdaemon.core.sizing import large_enough, order_for, size
from mrdaemon.core.state import Position, State
from mrdaemon.core.zone import (
    ALWAYS,
    HIGHEST_PRICE,
    LOWEST_PRICE,
    NEVER,
    Zone,
    beyond,
    price_at_least,
    price_at_most,
)

MARGIN: Final = 4
"""A side that a person was told of re-arms inside its edge by a quarter of its width."""


class Look(NamedTuple):
    """One position at one eligible price."""

    state: State
    position: Position
    zone: Zone
    price: Price
    worth: Dollars
    sessions: Sessions
    session: Session | None
    seen: Instant
    """When the print happened."""
    now: Instant

    @property
    def hours(self) -> Hours:
        """Tell whether an order would leave in regular hours."""
        return hours_at(self.sessions, self.state.prints, self.now)

    def about(self) -> ev.About:
        """Name the position, as events do."""
        return self.position.about()


def triggers(state: State, position: Position, zone: Zone) -> tuple[float, float]:
    """Give the two prices at or beyond which a position wants to see a print."""
    symbol = state.symbol(position.symbol)
    if position.retired or not position.opened or position.order is not None or symbol.frozen is not None:
        return NEVER
    if not position.shares:
        return ALWAYS if wants_first_buy(position) and Side.ACCUMULATE not in position.waits else NEVER
    if not position.armed or position.pending is not None:
        return ALWAYS
    below = [LOWEST_PRICE]
    above = [HIGHEST_PRICE]
    shares = position.shares
    for side in Side:
        fires, returns = (below, above) if side is Side.ACCUMULATE else (above, below)
        to_fire, to_return = (
            (price_at_most, price_at_least) if side is Side.ACCUMULATE else (price_at_least, price_at_most)
        )
        wait = position.waits.get(side)
        if wait is None:
            fires.append(to_fire(_fires_at(state, position, zone, side), shares))
            continue
        returns.append(to_return(back_inside(zone, side, wait.signalled), shares))
        if wait.signalled is not None:
            fires.append(to_fire(further(zone, side, wait.signalled), shares))
    return max(below), min(above)


def _fires_at(state: State, position: Position, zone: Zone, side: Side) -> Dollars:
    if side is Side.TRIM:
        return zone.sell_at
    if state.asset_of(position).fractionable:
        return zone.buy_at
    # At least one whole share must fit the amount: buy_up_to - shares * price >= price.
    one_share = EXACT.divide(EXACT.multiply(zone.buy_up_to, position.shares), position.shares + 1)
    return min(zone.buy_at, Dollars(cents(one_share) + CENT))


def back_inside(zone: Zone, side: Side, signalled: Dollars | None) -> Dollars:
    """Give the value at which a waiting side re-arms by the value's return."""
    margin = CENT if signalled is None else max(CENT, cents(zone.width(side) / MARGIN))
    return Dollars(zone.lower + margin if side is Side.ACCUMULATE else zone.upper - margin)


def further(zone: Zone, side: Side, signalled: Dollars) -> Dollars:
    """Give the value, a further full width out, at which a signal that nobody acted on is raised again."""
    width = zone.width(side)
    return Dollars(signalled - width if side is Side.ACCUMULATE else signalled + width)


def wants_first_buy(position: Position) -> bool:
    """Tell whether a position without shares buys its target: only where configured, and only once."""
    return position.rules.initial and not position.shares and position.buys == 0 and position.sells == 0


def consider(look: Look, *, fresh: bool) -> Iterator[ev.Event]:
    """Look exactly at one position: does a side arm, re-arm, fire, or fail to be confirmed?

    ``fresh`` tells a new print from the repetition of the last one, which confirms nothing.
    """
    position, zone = look.position, look.zone
    if position.order is not None or position.retired or not position.opened:
        return
    if look.session is None or look.state.symbol(position.symbol).frozen is not None:
        yield from _hold_back(look)
        return
    if not position.shares:
        yield from _first_buy(look, fresh=fresh)
        return
    if not position.armed:
        far = is_suspect(look)
        yield ev.PositionArmed(at=look.now, **look.about(), price=look.price, value=look.worth, suspect=far)
    for side in Side:
        yield from _rearm_by_value(look, side)
    for side in Side:
        if side not in position.waits and fires(look, side):
            yield from _confirm(look, side, zone.amount(side, look.worth), fresh=fresh)
            return
    if position.pending is not None:
        side = position.pending.side
        yield ev.SignalDropped(at=look.now, **look.about(), side=side, price=look.price, value=look.worth)


def is_suspect(look: Look) -> bool:
    """Tell whether a person must approve the next trade: the first price was, or would be, far out of the zone."""
    position = look.position
    if position.armed or not position.shares:
        return position.suspect
    return any(beyond(look.zone, side, position.shares, look.price) > 1 for side in Side)


def fires(look: Look, side: Side) -> bool:
    """Tell exactly whether a side fires: beyond its trigger, by enough for an order."""
    if not look.zone.fires(side, look.worth):
        return False
    # A side's trigger is the first value at which the amount is at least the minimum order: also in whole shares.
    amount = look.zone.amount(side, look.worth)
    wanted = order_for(look.state, look.position, side, amount, look.price, look.hours)
    return large_enough(look.state, look.position, wanted)


def _hold_back(look: Look) -> Iterator[ev.Event]:
    """Hold what fires while the session is closed or the symbol is frozen; nothing else happens then."""
    if not look.position.armed or not look.position.shares:
        return
    for side in Side:
        if side not in look.position.waits and fires(look, side):
            yield from _decide(look, side, look.zone.amount(side, look.worth))


def _first_buy(look: Look, *, fresh: bool) -> Iterator[ev.Event]:
    if not wants_first_buy(look.position) or Side.ACCUMULATE in look.position.waits:
        return
    if not look.position.armed:
        yield ev.PositionArmed(at=look.now, **look.about(), price=look.price, value=look.worth)
    yield from _confirm(look, Side.ACCUMULATE, look.zone.target, fresh=fresh)


def _rearm_by_value(look: Look, side: Side) -> Iterator[ev.Event]:
    wait, zone = look.position.waits.get(side), look.zone
    if wait is None:
        return
    back = back_inside(zone, side, wait.signalled)
    if look.worth >= back if side is Side.ACCUMULATE else look.worth <= back:
        if look.position.approval is not None and look.position.approval.side is side:
            yield _close_approval(look, "the value came back inside the zone")
        yield ev.SideRearmed(
            at=look.now, **look.about(), side=side, cause="the value came back inside the zone", inside=True
        )
    elif wait.signalled is not None:
        out = further(zone, side, wait.signalled)
        if look.worth <= out if side is Side.ACCUMULATE else look.worth >= out:
            yield ev.SideRearmed(at=look.now, **look.about(), side=side, cause="the value moved a further width out")


def _confirm(look: Look, side: Side, amount: Dollars, *, fresh: bool) -> Iterator[ev.Event]:
    """Ask for as many further agreeing prints as the rules want, then decide."""
    pending, wanted = look.position.pending, look.state.prints.confirm
    same_side = pending is not None and pending.side is side
    if same_side and not fresh:
        return
    agreed = pending.agreed + 1 if pending is not None and same_side else 0
    if agreed < wanted:
        yield ev.SignalPending(
            at=look.now, **look.about(), side=side, price=look.price, value=look.worth, agreed=agreed
        )
        return
    yield from _decide(look, side, amount)


def case_of(look: Look, side: Side, amount: Dollars) -> Case:
    """Make the case that the guards are asked about."""
    state, position = look.state, look.position
    return Case(
        state=state,
        position=position,
        portfolio=state.portfolios[position.portfolio],
        account=state.account_of(position),
        symbol=state.symbol(position.symbol),
        side=side,
        amount=amount,
        size=size(state, position, side, amount, look.price, look.hours),
        sessions=look.sessions,
        session=look.session,
        seen=look.seen,
        now=look.now,
    )


def _decide(look: Look, side: Side, amount: Dollars) -> Iterator[ev.Event]:
    """Hold the signal, or raise it and do what the position's mode says."""
    position = look.position
    case = case_of(look, side, amount)
    verdict = next(objections(case), None)
    trades = position.rules.mode is Mode.AUTO and not position.suspect
    if verdict is None and trades:
        verdict = yield from _breaker(case)
    if verdict is not None:
        yield _held(look, case, verdict)
        return
    if position.approval is not None:
        yield _close_approval(look, "a newer signal overtook it")
    raised = _raised(look, case)
    yield raised
    if trades:
        yield _intent(look, case)
    elif position.rules.mode is not Mode.ALERT:
        why = "the first trade lies far outside the zone" if position.suspect else "the position asks before it trades"
        yield _request(look, case, f"{raised.reason} A person must approve: {why}.")


def _request(look: Look, case: Case, reason: str) -> ev.ApprovalRequested:
    """Ask a person for the signal that was raised last."""
    return ev.ApprovalRequested(
        at=look.now,
        **look.about(),
        number=look.position.number,
        side=case.side,
        amount=case.size.amount,
        expires=Instant(look.now + look.position.rules.approval_ttl * SECOND),
        reason=reason,
    )


def _breaker(case: Case) -> Generator[ev.Event, None, Verdict | None]:
    """Halt where the order would trip a circuit breaker; gives the verdict that the signal is then held with."""
    trip = tripped(case)
    if trip is None:
        return None
    limit, reason = trip
    yield from trip_breaker(case.account.name, limit, reason, case.now)
    return next(objections(case), None)


def trip_breaker(account: str, limit: str, reason: str, now: Instant) -> Iterator[ev.Event]:
    """Say that a breaker tripped, and halt."""
    yield ev.BreakerTripped(at=now, account=account, limit=limit, reason=reason)
    yield ev.TradingStateChanged(at=now, state=TradingState.HALTED, by="circuit breaker", why=reason)


def _held(look: Look, case: Case, verdict: Verdict) -> ev.SignalHeld:
    return ev.SignalHeld(
        at=look.now,
        **look.about(),
        side=case.side,
        guard=verdict.guard,
        reason=verdict.reason,
        price=look.price,
        value=look.worth,
        amount=case.amount,
        until=verdict.until,
    )


def _raised(look: Look, case: Case) -> ev.SignalRaised:
    return ev.SignalRaised(
        at=look.now,
        **look.about(),
        number=look.position.number + 1,
        side=case.side,
        price=look.price,
        value=look.worth,
        target=look.zone.target,
        edge=look.zone.edge(case.side),
        amount=case.size.amount,
        reason=_sentence(look, case),
    )


def _sentence(look: Look, case: Case) -> str:
    """Say in one sentence which edge was reached at what price, and what follows."""
    symbol, zone, sized = look.position.symbol, look.zone, case.size
    if not look.position.shares:
        return f"{symbol} at {look.price}: the first buy of its target {show(zone.target)}, for {show(sized.amount)}."
    at = f"{symbol} at {look.price} is worth {show(look.worth)}"
    if case.side is Side.TRIM:
        return (
            f"{at}, at or above the upper edge {show(zone.upper)} of its target {show(zone.target)}: "
            f"sell {show(sized.amount)}."
        )
    short = "" if sized.amount == case.amount else f" of the {show(case.amount)} wanted, all that the reserve has"
    return (
        f"{at}, at or below the lower edge {show(zone.lower)} of its target {show(zone.target)}: "
        f"buy {show(sized.amount)}{short}."
    )


def _intent(look: Look, case: Case) -> ev.OrderIntended:
    position, sized = look.position, case.size
    day = case.session.day if case.session is not None else case.sessions.latest(look.now).day
    return ev.OrderIntended(
        at=look.now,
        **look.about(),
        order=client_order_id(position.portfolio, position.symbol, position.number, 1, look.state.nonce),
        account=case.account.name,
        number=position.number,
        side=case.side,
        price=look.price,
        notional=sized.notional,
        quantity=sized.quantity,
        limit=sized.limit,
        worth=sized.worth,
        reserved=sized.reserved,
        day=day,
        expires=Instant(look.now + position.rules.max_open * SECOND),
        extended=look.hours is Hours.EXTENDED,
    )


def _close_approval(look: Look, cause: str, command: Approve | None = None) -> ev.ApprovalClosed:
    approval = look.position.approval
    number = look.position.number if approval is None else approval.number
    by, why = ("", "") if command is None else (command.by, command.why)
    return ev.ApprovalClosed(at=look.now, **look.about(), number=number, cause=cause, by=by, why=why)


def approve(look: Look | None, state: State, command: Approve, now: Instant) -> Iterator[ev.Event]:
    """Carry out an approval: price the signal anew, ask every guard again, and send no more than was approved.

    ``look`` is the position at its last eligible price; None where there is no fresh one.
    """
    objection = approval_objection(state, command)
    if objection is None and look is None:
        objection = f"there is no fresh price of {command.symbol} to approve at; approve again once there is one"
    approval = None if look is None else look.position.approval
    if objection is not None or look is None or approval is None:
        yield refused(command, objection or "nothing to approve", now)
        return
    if approval.expires <= now:
        yield _close_approval(look, "expired", command)
        return
    side, first = approval.side, wants_first_buy(look.position)
    amount = look.zone.target if first else look.zone.amount(side, look.worth)
    if not first and not fires(look, side):
        yield _close_approval(look, "at approval the value was no longer at the edge", command)
        return
    case = case_of(look, side, amount)
    # The cooldown held back what came after the signal; this is the signal itself.
    ours = (each for each in objections(case) if each.guard is not Guard.COOLDOWN)
    verdict = next(ours, None) or (yield from _breaker(case))
    if verdict is not None:
        yield _close_approval(look, f"at approval a guard objected: {verdict.reason}", command)
        yield _held(look, case, verdict)
    elif case.size.amount > approval.amount:
        yield _close_approval(look, f"at approval it had grown to {show(case.size.amount)}", command)
        # Under a new number, so that the first yes, given twice, is no yes to more.
        raised = _raised(look, case)
        yield raised
        yield _request(look, case, f"{raised.reason} It is more than was approved, so a person must approve again.")
    else:
        yield ev.ApprovalGranted(at=now, **look.about(), number=approval.number, by=command.by, why=command.why)
        yield _intent(look, case)


def look_at(
    state: State, position: Position, zone: Zone, price: Price, sessions: Sessions, at: tuple[Instant, Instant]
) -> Look:
    """Put a position before the rules at a price; ``at`` is when the print happened, and now."""
    happened, now = at
    session = sessions.at(now) if sessions.at(happened) is not None else None
    return Look(state, position, zone, price, value(position.shares, price), sessions, session, happened, now)
