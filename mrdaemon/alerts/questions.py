"""Requests for approval: each is asked, repeated from time to time until it expires, and told how it ended.

An event that ends one has only its number, and the state no longer knows it then: what was asked is remembered here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from mrdaemon.alerts.alert import Letter
from mrdaemon.alerts.saying import Sayings, key_of
from mrdaemon.alerts.signals import Asked, closed, granted, reminder, requested
from mrdaemon.core import events as ev
from mrdaemon.core.instant import NEVER, SECOND, Instant
from mrdaemon.core.money import Dollars, Price
from mrdaemon.core.state import Approval, State

ASKED: Final = frozenset({"approval_requested", "approval_reminder"})


class Questions:
    """Knows when which request is to be repeated."""

    def __init__(self, state: State, remind: int | None, said: Iterable[Letter]) -> None:
        """``remind`` is seconds; None for no reminders."""
        self._state = state
        self._every = None if remind is None else remind * SECOND
        self._next: dict[str, Instant] = {}
        """By position."""
        self._raised: dict[str, ev.SignalRaised] = {}
        """By position, the newest signal; no older than this composer."""
        letters = list(said)
        self._asked = dict(_open(state, letters))
        """By position, what waits for an answer."""
        if self._every is not None:
            asked: dict[str, Instant] = {}
            for letter in letters:
                if letter.alert.kind in ASKED:
                    asked[letter.alert.subject] = max(letter.alert.at, asked.get(letter.alert.subject, Instant(0)))
            for key, position in state.positions.items():
                if position.approval is not None:
                    self._next[key] = Instant(asked.get(key, state.at) + self._every)
        self._due = min(self._next.values(), default=NEVER)

    def change(self, remind: int | None) -> None:
        """Repeat what waits after other seconds, counted from its request or from the last reminder."""
        before, self._every = self._every, None if remind is None else remind * SECOND
        waiting = {key: each.approval for key, each in self._state.positions.items() if each.approval is not None}
        if self._every is None:
            self._next = {}
        else:
            since = {key: due - (before or 0) for key, due in self._next.items()}
            self._next = {key: Instant(since.get(key, self._state.at) + self._every) for key in waiting}
        self._due = min(self._next.values(), default=NEVER)

    def raised(self, event: ev.SignalRaised) -> Sayings:
        """Remember what a request will be about, which follows at once where there is one."""
        self._raised[key_of(event)] = event
        return ()

    def requested(self, event: ev.ApprovalRequested) -> Sayings:
        """Ask, and begin to wait for an answer."""
        key = key_of(event)
        approval, signal = Approval(event.number, event.side, event.amount, event.expires), self._raised.get(key)
        known = signal is not None and signal.number == event.number
        asked = Asked(approval, signal.price, signal.edge) if signal is not None and known else Asked(approval)
        self._asked[key] = asked
        if self._every is not None:
            self._next[key] = Instant(event.at + self._every)
            self._due = min(self._due, self._next[key])
        yield requested(self._state, event, asked)

    def granted(self, event: ev.ApprovalGranted) -> Sayings:
        """Tell that a person said yes."""
        yield granted(self._state, event, self._answered(event))

    def closed(self, event: ev.ApprovalClosed) -> Sayings:
        """Tell how else a request ended."""
        yield closed(self._state, event, self._answered(event))

    def _answered(self, event: ev.ApprovalGranted | ev.ApprovalClosed) -> Asked | None:
        """Give what was asked under an event's number, and wait no more."""
        asked = self._asked.pop(key_of(event), None)
        return asked if asked is not None and asked.approval.number == event.number else None

    def tick(self, now: Instant) -> Sayings:
        """Repeat what is due."""
        if now < self._due or self._every is None:
            return
        for key, due in list(self._next.items()):
            if due > now:
                continue
            position = self._state.positions.get(key)
            approval = None if position is None else position.approval
            if position is None or approval is None or approval.expires <= now:
                del self._next[key]  # It is answered, or about to be closed.
                continue
            self._next[key] = Instant(now + self._every)
            asked = self._asked.get(key)
            yield reminder(self._state, position, Asked(approval) if asked is None else asked, now)
        self._due = min(self._next.values(), default=NEVER)


def _open(state: State, said: Iterable[Letter]) -> Iterator[tuple[str, Asked]]:
    """Give what waits for an answer, by position, with what was said of its signal."""
    signals = {letter.alert.subject: letter.alert.facts for letter in said if letter.alert.kind == "signal_raised"}
    for key, position in state.positions.items():
        if (approval := position.approval) is not None:
            signal = signals.get(key, {})
            if signal.get("number") == str(approval.number) and "price" in signal and "edge" in signal:
                yield key, Asked(approval, Price(Decimal(signal["price"])), Dollars(Decimal(signal["edge"])))
            else:
                yield key, Asked(approval)
