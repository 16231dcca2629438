"""Why a position does or does not trade: where it stands, what each side waits for, and what every guard says of it.

Nothing is decided here. Each side is put before the guards as if its price had been reached: at the last price where
that is beyond its edge already, else at the price where it next fires.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from mrdaemon.core.forecast import next_price
from mrdaemon.core.guards import GUARDS, Case, Guard, Verdict, tripped
from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.core.money import EXACT, Dollars, Price, Shares, show, value
from mrdaemon.core.policy import FeedState, Mode, Side
from mrdaemon.core.prints import Print, price_of, refusal
from mrdaemon.core.sessions import Sessions
from mrdaemon.core.signals import Look, back_inside, case_of, fires, is_suspect, look_at, wants_first_buy
from mrdaemon.core.state import Position, State, Wait
from mrdaemon.core.zone import Zone

REMEDIES: Final = {
    Guard.STATE: "resume trading",
    Guard.PAUSED: "resume the signals",
    Guard.HALTED: "look at what differs, then resume the position",
    Guard.FROZEN: "look whether it is a split; if shares and target are right, resume the symbol",
    Guard.EXCHANGE: "the exchange must lift its halt",
    Guard.SESSION: "the session must be open, and its no_trade margin over",
    Guard.CLOCK: "the broker's clock and the calendar must agree: see to this machine's clock",
    Guard.ASSET: "the broker must trade it",
    Guard.ACCOUNT: "the account must be reconciled: its broker must be heard",
    Guard.COVER: "pay cash into the account, or withdraw it from a reserve",
    Guard.IN_FLIGHT: "the order must end",
    Guard.COOLDOWN: "the cooldown must end",
    Guard.RESERVE: "deposit into the reserve, or let a trim fill it",
    Guard.MINIMUM: "lower the minimum order, or widen the zone",
    Guard.MAXIMUM: "raise the maximum order, or trade by hand",
    Guard.ORDERS: "wait for the next session, or raise the portfolio's limit",
    Guard.NOTIONAL: "wait for the next session, or raise the portfolio's limit",
    Guard.BROKER: "wait for the next session, or see to what the broker objects to",
}
"""By guard, what would have to change before it lets a signal pass."""


_UP: Final = frozenset({FeedState.SUBSCRIBED, FeedState.LIVE})


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What one guard says: it passes, or it objects, and then what would have to change."""

    guard: str
    passes: bool
    reason: str = ""
    remedy: str = ""
    until: Instant | None = None


class SideView(msgspec.Struct, frozen=True, kw_only=True):
    """One side: when it fires next, how much, and what would come of it."""

    side: Side
    price: Price | None
    """At or beyond it the side fires; None where no price does."""
    move: Decimal | None
    """How far the last price must move to get there, as a ratio; 0 where it is there."""
    value: Dollars | None
    """What the position is worth at that price."""
    amount: Dollars | None
    """What would be traded, once the reserve was looked at."""
    checks: tuple[Check, ...]
    outcome: str
    """What would happen, in a sentence."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One position, explained. What is not known is None; money is dollars, ratios are 0.01 for one percent."""

    portfolio: str
    symbol: str
    mode: Mode
    at: Instant
    """As of when."""
    shares: Shares
    target: Dollars
    lower: Dollars
    upper: Dollars
    price: Price | None
    price_at: Instant | None
    """When that price was seen; None for one that is only remembered."""
    value: Dollars | None
    session: str | None
    """The date of the session that is open."""
    opens: Instant | None
    """When the next one opens, where none is."""
    sides: tuple[SideView, ...]
    changes: tuple[str, ...]
    """What would have to change before it trades, besides the price; empty where nothing would."""
    streams: tuple[str, ...] = ()
    """Streams that bring nothing as they are: which, since when, and why."""


class Prints(NamedTuple):
    """What was seen of a symbol: its newest print that was not refused, and the newest that came with a quote."""

    last: Print | None
    quoted: Print | None


def explain(
    state: State, position: Position, zone: Zone, seen: Prints, sessions: Sessions, now: Instant
) -> Explanation:
    """Explain one position at an instant."""
    last = seen.last
    remembered = state.symbol(position.symbol).reference
    price = price_of(last) if last is not None else remembered
    session = sessions.at(now)
    obstacles = tuple(_obstacles(state, position, seen, now))
    worth = None if price is None else value(position.shares, price)
    context = _Context(state, position, zone, price, sessions, now)
    sides = tuple(_side(context, side, obstacles) for side in Side)
    return Explanation(
        portfolio=position.portfolio,
        symbol=position.symbol,
        mode=position.rules.mode,
        at=now,
        shares=position.shares,
        target=position.target,
        lower=zone.lower,
        upper=zone.upper,
        price=price,
        price_at=None if last is None else last[2],
        value=worth,
        session=None if session is None else session.day,
        opens=None if session is not None else sessions.upcoming(now).opens,
        sides=sides,
        changes=_changes(sides),
        streams=tuple(_streams_down(state)),
    )


def _streams_down(state: State) -> Iterator[str]:
    for name, stream in state.feeds.items():
        if stream.state not in _UP:
            why = f": {stream.reason}" if stream.reason else ""
            end = "; it is not tried again by itself" if stream.state is FeedState.REFUSED else ""
            since = iso(Instant(stream.since - stream.since % SECOND))
            yield f"{name} is {stream.state} since {since}{why}{end}"


class _Context(NamedTuple):
    state: State
    position: Position
    zone: Zone
    price: Price | None
    sessions: Sessions
    now: Instant


def _obstacles(state: State, position: Position, seen: Prints, now: Instant) -> Iterator[Check]:
    """Give what keeps both sides from firing before any guard is asked."""
    symbol = state.symbol(position.symbol)
    if position.retired:
        yield _objects("watched", "the position left the configuration", "configure it again")
    elif not position.opened:
        yield _objects(
            "watched", "its shares are not known yet: the broker says them", "the account must be reconciled"
        )
    else:
        yield _passes("watched")
    if symbol.stale is not None:
        yield _objects("price", f"no price since {iso(symbol.stale)}: its value is unknown", "prices must arrive again")
    elif seen.last is None:
        yield _objects("price", "no price was seen since the start", "a price must arrive")
    elif (unfit := refusal(seen.last, None, seen.quoted, state.prints, now)) is not None:
        yield _objects("price", f"the last one does not count: {unfit.reason}", "a price that counts must arrive")
    else:
        yield _passes("price")


def _passes(guard: str) -> Check:
    return Check(guard=guard, passes=True)


def _objects(guard: str, reason: str, remedy: str, until: Instant | None = None) -> Check:
    return Check(guard=guard, passes=False, reason=reason, remedy=remedy, until=until)


def _side(context: _Context, side: Side, obstacles: tuple[Check, ...]) -> SideView:
    state, position, zone, price, sessions, now = context
    first = wants_first_buy(position) and side is Side.ACCUMULATE
    wait = position.waits.get(side)
    at = next_price(state, position, zone, side)
    if price is not None and (wait is None or wait.signalled is None):
        here = look_at(state, position, zone, price, sessions, (now, now))
        at = price if (fires(here, side) if position.shares else first) else at
    if at is None:
        return _unreachable(context, side, obstacles)
    look = look_at(state, position, zone, at, sessions, (now, now))
    amount = zone.target if first else zone.amount(side, look.worth)
    case = case_of(look, side, amount)
    checks = (*obstacles, _armed(look, side, wait), *_guards(look, case, wait))
    return SideView(
        side=side,
        price=at,
        move=None if price is None else EXACT.divide(at - price, price),
        value=look.worth,
        amount=case.size.amount,
        checks=checks,
        outcome=_outcome(look, case, checks),
    )


def _unreachable(context: _Context, side: Side, obstacles: tuple[Check, ...]) -> SideView:
    position = context.position
    if position.shares:
        why = "no price makes it fire: an order would be smaller than one whole share, or than the least allowed"
    elif wants_first_buy(position) and side is Side.ACCUMULATE:
        why = f"it buys its target {show(context.zone.target)} at the first price that counts"
    elif wants_first_buy(position):
        why = "it has no shares yet; it buys its target first"
    else:
        why = "it has no shares, and is not configured to buy its target"
    return SideView(side=side, price=None, move=None, value=None, amount=None, checks=obstacles, outcome=f"{why}.")


def _armed(look: Look, side: Side, wait: Wait | None) -> Check:
    """Say whether a side may fire at all, or waits since it was held or told of."""
    position = look.position
    if wait is None:
        return _passes("armed")
    back = f"the value must come back inside, to {show(back_inside(look.zone, side, wait.signalled))}"
    if wait.signalled is None:
        when = "" if wait.until is None else f" until {iso(wait.until)}"
        remedy = REMEDIES.get(Guard(wait.guard), "that must change")
        return _objects("armed", f"the {wait.guard} guard held it{when}", f"{remedy}; or {back}", wait.until)
    if position.approval is not None and position.approval.side is side:
        number = position.approval.number
        return _objects("armed", f"signal {number} waits for a person", f"approve or reject it; or {back}")
    further = next_price(look.state, position, look.zone, side)
    out = "" if further is None else f", or the price must reach {further:f}"
    return _objects("armed", f"it was told of at a value of {show(wait.signalled)}", f"report the fill, or {back}{out}")


def _guards(look: Look, case: Case, wait: Wait | None) -> Iterator[Check]:
    for guard, ask in GUARDS.items():
        yield _check(guard, ask(case))
    broker = wait is not None and wait.guard == Guard.BROKER
    yield _check(Guard.BROKER, Verdict(Guard.BROKER, "the broker refused the last order") if broker else None)
    trip = tripped(case) if look.position.rules.mode is Mode.AUTO and not is_suspect(look) else None
    if trip is None:
        yield _passes("circuit breaker")
    else:
        yield _objects("circuit breaker", f"{trip[1]}: the order would halt everything", "raise the account's limit")


def _check(guard: Guard, verdict: Verdict | None) -> Check:
    if verdict is None:
        return _passes(guard)
    return _objects(guard, verdict.reason, REMEDIES[guard], verdict.until)


def _outcome(look: Look, case: Case, checks: tuple[Check, ...]) -> str:
    verb = "buy" if case.side is Side.ACCUMULATE else "sell"
    what = f"{verb} {show(case.size.amount)} of {look.position.symbol} at {look.price:f}"
    objection = next((each for each in checks if not each.passes), None)
    if objection is not None:
        return f"It would {what}, but is held back: {objection.reason}."
    if look.position.rules.mode is Mode.ALERT:
        return f"It would tell you to {what}."
    if look.position.rules.mode is Mode.APPROVE or is_suspect(look):
        far = ", because the first trade lies far outside the zone" if is_suspect(look) else ""
        return f"It would ask before it may {what}{far}."
    return f"It would {what}."


def _changes(sides: tuple[SideView, ...]) -> tuple[str, ...]:
    """Give what would have to change, each once, with the sides that it concerns."""
    wanted: dict[tuple[str, str, str], list[Side]] = {}
    for side in sides:
        for check in side.checks:
            if not check.passes:
                wanted.setdefault((check.guard, check.remedy, check.reason), []).append(side.side)
    names = {Side.ACCUMULATE: "buys", Side.TRIM: "sells"}
    return tuple(
        f"{' and '.join(names[side] for side in concerned)}: {remedy} ({reason})"
        for (_, remedy, reason), concerned in wanted.items()
    )
