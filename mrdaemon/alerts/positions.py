"""Words for positions themselves: one whose first price lies far out, a target that changed, one that left."""

from __future__ import annotations

from typing import Final

from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.alerts.saying import Register, Saying, by_whom, facts, key_of, position_facts
from mrdaemon.core import events as ev
from mrdaemon.core.money import Dollars, show
from mrdaemon.core.state import State

says: Final = Register()


@says(ev.PositionArmed)
def armed(state: State, event: ev.PositionArmed) -> Saying | None:
    """Say that a first price lies so far out that the target may be mistyped; nothing otherwise."""
    if not event.suspect:
        return None
    position = state.position(event)
    return Saying(
        level=Level.WARNING,
        topic=Topic.SIGNAL,
        kind="position_suspect",
        subject=key_of(event),
        title=f"{event.symbol}: far from its target",
        text=(
            f"{event.symbol} at {event.price} is worth {show(event.value)} in {event.portfolio}, more than a zone's "
            f"width beyond the zone of its target {show(position.target)}: its first trade needs a person's approval, "
            "lest shares or target are mistyped."
        ),
        portfolio=event.portfolio,
        symbol=event.symbol,
        facts=position_facts(state, position, event.price),
    )


@says(ev.TargetChanged)
def target_changed(state: State, event: ev.TargetChanged) -> Saying:
    """Say who changed a target, from what to what."""
    words = f"was changed from {show(event.before)} to {show(event.target)} {by_whom(event)}"
    return _target(state, event, event.target, words, facts(before=event.before, by=event.by, why=event.why))


@says(ev.PositionConfigured)
def configured(state: State, event: ev.PositionConfigured) -> Saying | None:
    """Say that the configuration names another target for a position that was there before; nothing otherwise."""
    position = state.position(event)
    if not event.retarget or position.since is None or position.since >= event.at:
        return None
    target = event.rules.target
    return _target(state, event, target, f"is {show(target)} from now on, by the configuration", {})


def _target(state: State, event: ev.PositionEvent, target: Dollars, words: str, more: dict[str, str]) -> Saying:
    return Saying(
        level=Level.NOTICE,
        topic=Topic.DAEMON,
        kind="target_changed",
        subject=key_of(event),
        title=f"{event.symbol}: target {show(target)}",
        text=f"The target of {event.symbol} in {event.portfolio} {words}.",
        portfolio=event.portfolio,
        symbol=event.symbol,
        facts=position_facts(state, state.position(event)) | more,
    )


@says(ev.PositionRetired)
def retired(state: State, event: ev.PositionRetired) -> Saying:
    """Say that a position left the configuration."""
    return Saying(
        level=Level.INFO,
        topic=Topic.DAEMON,
        kind="position_retired",
        subject=key_of(event),
        title=f"{event.symbol} left {event.portfolio}",
        text=f"{event.symbol} left the configuration of {event.portfolio}: it is not watched any more.",
        portfolio=event.portfolio,
        symbol=event.symbol,
        facts=position_facts(state, state.position(event)),
    )
