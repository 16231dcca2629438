"""Signals that a guard holds: each is told once, however often the price comes back to the edge that day.

A buy and a sale of one position are held apart. The newest alert about a position says all that was told of it, so that
it is known after a restart too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
from mrdaemon.core.policy import Side
from mrdaemon.core.sessions import Calendar
from mrdaemon.core.state import State

TELLING: Final = frozenset({"signal_held", "side_rearmed", "signal_raised"})
"""Kinds of alerts of which the newest says what was told; once a signal was raised, nothing that holds still counts."""
OTHER: Final = "other_"
"""What the facts of the other side's hold begin with."""


class Hold(NamedTuple):
    """What was told of one side of a position: which guard held it, on which trading day, and until when."""

    guard: str
    day: str
    until: Instant | None

    def facts(self) -> dict[str, str]:
        """Write it as an alert's facts."""
        return facts(guard=self.guard, day=self.day, until=None if self.until is None else iso(self.until))


class Holds:
    """Tells of held signals."""

    def __init__(self, state: State, calendar: Calendar, said: Iterable[Letter]) -> None:
        self._state = state
        self._calendar = calendar
        self._told: dict[str, dict[Side, Hold]] = {}
        """By position and side, the newest."""
        newest: dict[str, Letter] = {}
        for letter in said:
            if letter.alert.kind in TELLING:
                newest[letter.alert.subject] = max(letter, newest.get(letter.alert.subject, letter), key=lambda e: e.n)
        for letter in newest.values():
            self._told[letter.alert.subject] = dict(_read(letter))

    def raised(self, event: ev.SignalRaised) -> Sayings:
        """Let a later hold be news."""
        self._told.pop(key_of(event), None)
        return ()

    def held(self, event: ev.SignalHeld) -> Sayings:
        """Tell which guard holds a signal and why, unless that was told that day."""
        day = self._calendar.sessions(event.symbol).latest(event.at).day
        told, hold = self._told.setdefault(key_of(event), {}), Hold(event.guard, day, event.until)
        before, told[event.side] = told.get(event.side), hold
        if before is not None and before[:2] == hold[:2]:
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
            | facts(side=event.side.value, reason=event.reason, value=f"{event.value:f}", amount=event.amount)
            | hold.facts()
            | _other(told, event.side),
        )

    def rearmed(self, event: ev.SideRearmed) -> Sayings:
        """Tell that what held a signal does so no more, where that did not come by itself: by the value or the time."""
        told = self._told.get(key_of(event), {})
        if event.inside or event.side not in told:
            return
        hold = told.pop(event.side)
        if hold.until is not None and hold.until <= event.at:
            return
        trades = "Buys" if event.side is Side.ACCUMULATE else "Sales"
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
            | facts(side=event.side.value, guard=hold.guard, cause=event.cause)
            | _other(told, event.side),
        )


def _read(letter: Letter) -> Iterator[tuple[Side, Hold]]:
    """Give what an alert says was told of each side."""
    kind, said = letter.alert.kind, letter.alert.facts
    for side in Side:
        begin = "" if said.get("side") == side.value else OTHER
        # What was held before a signal was raised is news again, and so is a side that is held no more.
        still = kind == "signal_held" or (kind == "side_rearmed" and begin == OTHER)
        if still and f"{begin}guard" in said:
            guard, day, until = (said.get(f"{begin}{name}", "") for name in Hold._fields)
            yield side, Hold(guard, day, instant(until) if until else None)


def _other(told: Mapping[Side, Hold], side: Side) -> dict[str, str]:
    """Write what was told of the other side, for who reads this alert as the newest."""
    others = (hold.facts() for each, hold in told.items() if each is not side)
    return {f"{OTHER}{name}": each for figures in others for name, each in figures.items()}
