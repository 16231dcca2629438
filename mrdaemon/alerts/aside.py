"""What was set aside on its way to a channel: until quiet hours end, or a like alert was sent long enough ago."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

from mrdaemon.alerts.alert import Letter

ROOM: Final = 10_000
"""Letters that are kept in memory; more of them are in the outbox only, and are read again when these are gone."""


class Aside:
    """Letters that wait for their time."""

    def __init__(self) -> None:
        self._letters: dict[int, Letter] = {}
        self._times: list[tuple[int, int]] = []
        """When each may be sent, in UTC nanoseconds, and its place in the order; also of some that are gone."""
        self._subjects: dict[str, list[int]] = {}
        self.overflowed = False
        """Whether there are more than these."""

    def __len__(self) -> int:
        return len(self._letters)

    def __contains__(self, n: int) -> bool:
        return n in self._letters

    @property
    def next(self) -> int | None:
        """When the next one may be sent."""
        while self._times and self._times[0][1] not in self._letters:
            heapq.heappop(self._times)
        return self._times[0][0] if self._times else None

    def put(self, letter: Letter, at: int) -> None:
        """Keep one until a time."""
        if len(self._letters) >= ROOM:
            self.overflowed = True
            return
        self._letters[letter.n] = letter
        heapq.heappush(self._times, (at, letter.n))
        self._subjects.setdefault(letter.alert.subject, []).append(letter.n)

    def ripe(self, wall: int) -> Iterator[Letter]:
        """Take out those whose time has come, in order."""
        found = []
        while (at := self.next) is not None and at <= wall:
            found.append(heapq.heappop(self._times)[1])
        for n in sorted(found):
            if n in self._letters:  # One about the same thing may have taken it along.
                yield self._take(n)

    def all(self) -> list[Letter]:
        """Take out all of them, in order."""
        return [self._take(n) for n in sorted(self._letters)]

    def about(self, subject: str) -> list[Letter]:
        """Take out all about one thing, in order."""
        return [self._take(n) for n in sorted(self._subjects.get(subject, ()))]

    def _take(self, n: int) -> Letter:
        letter = self._letters.pop(n)
        same = self._subjects[letter.alert.subject]
        same.remove(n)
        if not same:
            del self._subjects[letter.alert.subject]
        return letter
