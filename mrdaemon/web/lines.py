"""What is drawn as a line: a value over time, in so many points at most, however long it goes on."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, Literal

MOST: Final = 512
"""Points of a line; when it has more, every second one goes, and new ones come half as often."""


class Line:
    """A line, of floats (``d``) or of whole numbers (``q``)."""

    def __init__(self, kind: Literal["d", "q"]) -> None:
        self._times = array("q")
        self._values: array[float] | array[int] = array(kind)
        self._apart = 0
        """Milliseconds that two points must be apart."""

    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        """Give its points: milliseconds since 1970, and the value."""
        return iter(list(zip(self._times, self._values, strict=True)))

    def add(self, at: int, value: float) -> None:
        """Add a point, unless it comes too soon after the last one, or before it."""
        if self._times and at < self._times[-1] + max(1, self._apart):
            return
        self._times.append(at)
        self._values.append(value)  # type: ignore[arg-type]  # what it is a line of, its owner knows
        if len(self._times) >= MOST:
            self._thin()

    def clear(self) -> None:
        """Begin anew."""
        del self._times[:], self._values[:]
        self._apart = 0

    def _thin(self) -> None:
        """Keep of each two points the one that is further from the last one kept, so that peaks stay."""
        times, values = self._times[:1], self._values[:1]
        for first in range(1, len(self._times) - 1, 2):
            two = (first, first + 1)
            chosen = max(two, key=lambda each: abs(self._values[each] - values[-1]))
            times.append(self._times[chosen])
            values.append(self._values[chosen])  # type: ignore[arg-type]  # as above
        self._times, self._values = times, values
        self._apart = (times[-1] - times[0]) // len(times)
