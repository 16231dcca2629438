"""Signals that a guard holds: each is told once, however often the price comes back to the edge that day."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from mrdaemon.alerts.alert import Letter, Level, Topic
from mrdaemon.alerts.saying import (
    Saying,
    Sayings,
    at_price,
    at_time,
    buy,
    facts,
    instant,
    key_of,
    plain,
    position_facts,
)
from mrdaemon.core import events as ev
from mrdaemon.core.guards import Guard
from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.money import show
from mrdaemon.core.sessions import Calendar
from mrdaemon.core.state import State

ENDS: Final = frozenset({"signal_raised", "side_rearmed"})
"""Kinds of alerts after which a hold is news again."""


class Hold(NamedTuple):
    """What was told of a position: which guard held which side, on which trading day, and until when."""

    side: str
    guard: str
    day: str
    until: Instant | None


class Holds:
    """Tells of held signals."""

    def __init__(self, state: State, calendar: Calendar, said: Iterable[Letter]) -> None:
        self._state = state
        self._calendar = calendar
        self._told: dict[str, Hold] = {}
        """By position, the newest."""
        for letter in sorted(said, key=lambda each: each.n):
            alert = letter.alert
            if alert.kind == "signal_held":
                until = alert.facts.get("until")
                self._told[alert.subject] = Hold(
                    alert.facts.get("side", ""),
                    alert.facts.get("guard", ""),
                    alert.facts.get("day", ""),
                    None if until is None else instant(until),
                )
            elif alert.kind in ENDS:
                self._told.pop(alert.subject, None)

    def raised(self, event: ev.SignalRaised) -> Sayings:
        """Let a later hold be news."""
        self._told.pop(key_of(event), None)
        return ()

    def held(self, event: ev.SignalHeld) -> Sayings:
        """Tell which guard holds a signal and why, unless that was told that day."""
        day = self._calendar.sessions(event.symbol).latest(event.at).day
        hold, before = Hold(event.side.value, event.guard, day, event.until), self._told.get(key_of(event))
        self._told[key_of(event)] = hold
        if before is not None and before[:3] == hold[:3]:
            return
        wish = f"{buy(event.side)} {show(event.amount)} of {event.symbol}"
        until = "" if event.until is None else f"; it may go on at {at_time(event.until)}"
        position = self._state.position(event)
        yield Saying(
            level=Level.INFO if event.guard == Guard.BROKER else Level.NOTICE,  # The refused order was told.
            topic=Topic.SIGNAL,
            kind="signal_held",
            subject=key_of(event),
            title=f"{event.symbol}: held, {event.guard}",
            text=(
                f"The signal to {wish} in {event.portfolio}, worth {show(event.value)} at {at_price(event.price)} "
                f"against a target of {show(position.target)}, is held: {plain(event.reason)}{until}."
            ),
            portfolio=event.portfolio,
            symbol=event.symbol,
            facts=position_facts(self._state, position, event.price)
            | facts(
                side=event.side.value,
                guard=event.guard,
                reason=event.reason,
                value=f"{event.value:f}",
                amount=event.amount,
                day=day,
                until=None if event.until is None else iso(event.until),
            ),
        )

    def rearmed(self, event: ev.SideRearmed) -> Sayings:
        """Tell that what held a signal does so no more, where that did not come by itself: by the value or the time."""
        told = self._told.get(key_of(event))
        if event.inside or told is None or told.side != event.side.value:
            return
        del self._told[key_of(event)]
        if told.until is not None and told.until <= event.at:
            return
        trades = "Buys" if event.side.value == "accumulate" else "Sales"
        yield Saying(
            level=Level.INFO,
            topic=Topic.SIGNAL,
            kind="side_rearmed",
            subject=key_of(event),
            title=f"{event.symbol}: no longer held",
            text=f"{trades} of {event.symbol} in {event.portfolio} are no longer held: {plain(event.cause)}.",
            portfolio=event.portfolio,
            symbol=event.symbol,
            facts=position_facts(self._state, self._state.position(event))
            | facts(side=event.side.value, guard=told.guard, cause=event.cause),
        )
