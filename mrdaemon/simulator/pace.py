"""The simulator's clock: the machine's, or one that starts elsewhere and runs faster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from mrdaemon.core.instant import SECOND, Instant


class PacedClock:
    """Time that starts at an instant, now unless told otherwise, and runs so many times as fast as real time."""

    def __init__(
        self, start: Instant | None = None, speed: float = 1.0, machine: Callable[[], int] = time.time_ns
    ) -> None:
        self.speed = speed
        self._machine = machine
        self._began = machine()
        self._start = self._began if start is None else start

    def now(self) -> Instant:
        """Give the time."""
        return Instant(self._start + int((self._machine() - self._began) * self.speed))

    def seconds_until(self, due: Instant) -> float:
        """Give the real seconds until an instant; none when it is past."""
        return max((due - self.now()) / self.speed / SECOND, 0.0)

    async def reach(self, due: Instant) -> None:
        """Wait until an instant."""
        await asyncio.sleep(self.seconds_until(due))
