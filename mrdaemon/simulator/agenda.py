"""What will happen, and when."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from mrdaemon.core.instant import NEVER, Instant

Act = Callable[[Instant], None]
"""Something that happens; it is told the instant for which it was planned."""


class Agenda:
    """Acts in the order of their instants; those of one instant in the order in which they were planned."""

    def __init__(self) -> None:
        self._acts: list[tuple[Instant, int, Act]] = []
        self._numbers = count()

    @property
    def next_due(self) -> Instant:
        """Give the instant of the first act, or NEVER."""
        return self._acts[0][0] if self._acts else NEVER

    def plan(self, at: Instant, act: Act) -> None:
        """Have something happen at an instant."""
        heappush(self._acts, (at, next(self._numbers), act))

    def run(self, until: Instant) -> None:
        """Let everything happen that is due by an instant, also what is planned meanwhile."""
        while self._acts and self._acts[0][0] <= until:
            at, _, act = heappop(self._acts)
            act(at)
