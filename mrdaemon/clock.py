"""Where the time comes from: the machine, or the recording that is being replayed."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from mrdaemon.core.instant import SECOND, Instant


class Clock(Protocol):
    """Says what time it is, and waits."""

    def now(self) -> Instant:
        """Give the time."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> Instant:
        """Give the machine's time in UTC."""
        return Instant(time.time_ns())

    async def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        await asyncio.sleep(seconds)


class RecordedClock:
    """The time of the row at hand. It never goes back, and waiting moves it on without waiting."""

    def __init__(self, start: Instant) -> None:
        self._now = start

    def now(self) -> Instant:
        """Give the time of the newest row."""
        return self._now

    def reach(self, at: Instant) -> None:
        """Go on to a row's time."""
        self._now = max(self._now, at)

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self._now = Instant(self._now + int(seconds * SECOND))
        await asyncio.sleep(0)
