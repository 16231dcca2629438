"""Something that comes and goes, a feed, an account, a reserve: it is told once that it went, and once that it is back.

A loss that lasts no longer than a short grace is not told, nor is one that follows closely on a return: it has to last
first. Many that were not told are told together, as one. Worse than what was told is told at once.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mrdaemon.core.instant import HOUR, SECOND, Instant

GOOD: Final = 0
"""The rank of what is as it should be; the higher, the worse."""
UNSTEADY: Final = -1
"""What is told of one that was lost again and again, never for long."""
OFTEN: Final = 3
"""How many losses that were not told are told together; ten times as many the next time."""
STEADY: Final = HOUR
"""After so long without a loss, the next one is like a first one."""
DOUBLED: Final = 6
"""How often the wait is doubled at most."""


class Turn(NamedTuple):
    """What is to be told."""

    rank: int
    """``GOOD`` for a return."""
    since: Instant
    """Since when it was lost; of ``UNSTEADY``, since the first of these losses."""
    lapses: int
    """Losses before this one that were not told."""
    reason: str


class Standing:
    """How one thing stands, and how far that was told."""

    def __init__(self, settle: int, told: int = GOOD, told_at: Instant | None = None) -> None:
        """Begin with what was told last, and when; ``settle`` is seconds."""
        self._settle = settle * SECOND
        self.told = told
        self.rank = told
        self.reason = ""
        self.since = told_at or Instant(0)
        """Since when it is not good, where it is not."""
        self.due: Instant | None = None
        """When what is not told yet is to be told, if it lasts."""
        self._returned = told_at if told == GOOD else None
        self._losses = 0 if told_at is None else 1
        """How many were told since it was last steady."""
        self._lapses = 0
        self._first_lapse = Instant(0)
        self._next_sum = OFTEN

    def change(self, settle: int) -> None:
        """Wait for other seconds from now on."""
        self._settle = settle * SECOND

    def turn(self, rank: int, at: Instant, reason: str, grace: int, since: Instant | None = None) -> Turn | None:
        """Take how it stands now, and since when, if not just now.

        ``grace`` is how many nanoseconds this must last before it is told.
        """
        if rank == GOOD:
            return self._return(at, reason)
        self.reason = reason or self.reason
        if self.rank == GOOD:
            self.since = at if since is None else since
            self._steady(at)
        self.rank = rank
        if rank <= self.told:
            self.due = None
            return None
        due = Instant(self.since + self._wait(grace))
        self.due = due if self.due is None else min(due, self.due)
        return self.tick(at)

    def forget(self) -> None:
        """Go back to what was told."""
        self.rank, self.due = self.told, None

    def tick(self, now: Instant) -> Turn | None:
        """Give what has lasted long enough to be told."""
        if self.due is None or now < self.due:
            return None
        self.told, self.due = self.rank, None
        self._losses += 1
        lapses, self._lapses = self._lapses, 0
        return Turn(self.rank, self.since, lapses, self.reason)

    def _return(self, at: Instant, how: str) -> Turn | None:
        if self.rank == GOOD:
            return None
        since, reason, told = self.since, self.reason, self.told
        self.rank = self.told = GOOD
        self.reason, self.due, self._returned = "", None, at
        if told != GOOD:
            return Turn(GOOD, since, 0, how)
        self._lapses += 1
        if self._lapses == 1:
            self._first_lapse = since
        if self._lapses < self._next_sum:
            return None
        self._next_sum *= 10
        return Turn(UNSTEADY, self._first_lapse, self._lapses, reason)

    def _steady(self, at: Instant) -> None:
        if self._returned is None or at - self._returned >= STEADY:
            self._losses = self._lapses = 0
            self._next_sum = OFTEN

    def _wait(self, grace: int) -> int:
        """Give how long a loss must last: longer after each one that was told, if it follows closely on a return."""
        if self._returned is None or not self._losses or self.told != GOOD:
            return grace
        wait = self._settle << min(self._losses - 1, DOUBLED)
        return max(grace, wait) if self.since - self._returned < wait else grace
