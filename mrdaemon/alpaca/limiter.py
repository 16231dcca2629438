"""How many requests a login may send: Alpaca's two hundred a minute, of which some are kept for orders and cancels."""

from __future__ import annotations

from enum import Enum
from typing import Final

from mrdaemon.clock import Clock
from mrdaemon.core.instant import SECOND, Instant

PER_MINUTE: Final = 200
"""Requests that Alpaca takes from a login in a minute."""
KEPT: Final = 50
"""Of those, how many only orders and cancels may use."""
_STEP: Final = 60 * SECOND // PER_MINUTE


class Urgency(Enum):
    """What a request is for, and so how many others it leaves."""

    ORDER = 0
    """Orders, cancels, and finding out what became of them."""
    LOOK = KEPT
    """All else."""


class Limiter:
    """A bucket that fills with one request every 0.3 s, shared by all who use a login."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at = Instant(0)
        """When the bucket is full again: every request moves it on by a step."""

    async def take(self, urgency: Urgency) -> None:
        """Wait until a request may leave, and count it."""
        while (wait := self._wait(urgency)) > 0:
            await self._clock.sleep(wait / SECOND)
        now = self._clock.now()
        self._full_at = Instant(max(self._full_at, now) + _STEP)

    def exhausted(self, until: Instant | None) -> None:
        """Take it from Alpaca that there is nothing left until an instant (or for some seconds)."""
        now = self._clock.now()
        empty_until = min(until or Instant(now + 5 * SECOND), Instant(now + 60 * SECOND))
        self._full_at = max(self._full_at, Instant(empty_until + PER_MINUTE * _STEP))

    def _wait(self, urgency: Urgency) -> int:
        """Give the nanoseconds until a request leaves as many others as it must."""
        most = (PER_MINUTE - 1 - urgency.value) * _STEP
        return self._full_at - self._clock.now() - most
