"""Requests for approval that nobody has answered: each is repeated from time to time until it expires."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mrdaemon.alerts.alert import Letter
from mrdaemon.alerts.saying import Sayings, key_of
from mrdaemon.alerts.signals import reminder
from mrdaemon.core import events as ev
from mrdaemon.core.instant import NEVER, SECOND, Instant
from mrdaemon.core.state import State

ASKED: Final = frozenset({"approval_requested", "approval_reminder"})


class Questions:
    """Knows when which request is to be repeated."""

    def __init__(self, state: State, remind: int | None, said: Iterable[Letter]) -> None:
        """``remind`` is seconds; None for no reminders."""
        self._state = state
        self._every = None if remind is None else remind * SECOND
        self._next: dict[str, Instant] = {}
        """By position."""
        if self._every is not None:
            asked: dict[str, Instant] = {}
            for letter in said:
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

    def requested(self, event: ev.ApprovalRequested) -> Sayings:
        """Begin to wait for an answer."""
        if self._every is not None:
            self._next[key_of(event)] = Instant(event.at + self._every)
            self._due = min(self._due, self._next[key_of(event)])
        return ()

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
            yield reminder(self._state, position, approval, now)
        self._due = min(self._next.values(), default=NEVER)
