"""How many requests a login may send: Alpaca's two hundred a minute, of which some are kept for orders and cancels."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

from mrdaemon import pulse
from mrdaemon.clock import Clock
from mrdaemon.core.instant import SECOND, Instant

PER_MINUTE: Final = 200
"""Requests that Alpaca takes from a login in a minute."""
KEPT: Final = 50
"""Of those, how many only orders and cancels may use."""
WINDOW: Final = 60 * SECOND


class Urgency(Enum):
    """What a request is for, and so how many others it leaves."""

    ORDER = 0
    """Orders, cancels, and finding out what became of them."""
    LOOK = KEPT
    """All else."""


class Limiter:
    """Lets no more than two hundred requests leave in any sixty seconds; shared by all who use a login."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent: deque[Instant] = deque(maxlen=PER_MINUTE)
        """When the last requests left."""
        self._closed_until = Instant(0)
        self.waiting = 0
        """Requests that may not leave yet."""

    async def take(self, urgency: Urgency) -> None:
        """Wait until a request may leave, and count it."""
        self.waiting += 1
        try:
            while True:
                self._follow_the_clock()
                wait = self._opens(urgency) - self._clock.now()
                if wait <= 0:
                    break
                await pulse.idle(self._clock.sleep(min(wait, SECOND) / SECOND))
        finally:
            self.waiting -= 1
        self._sent.append(self._clock.now())

    def _follow_the_clock(self) -> None:
        """Move along where the clock was set back: else nothing would leave until it is as late again."""
        now = self._clock.now()
        if self._sent and (ahead := self._sent[-1] - now) > 0:
            self._sent = deque((Instant(each - ahead) for each in self._sent), maxlen=PER_MINUTE)
        self._closed_until = min(self._closed_until, Instant(now + WINDOW))

    def exhausted(self, until: Instant | None) -> None:
        """Take it from Alpaca that there is nothing left until an instant (or for some seconds)."""
        now = self._clock.now()
        told = until or Instant(now + 5 * SECOND)
        self._closed_until = max(self._closed_until, min(told, Instant(now + WINDOW)))

    def _opens(self, urgency: Urgency) -> Instant:
        """Give when a request may leave: once fewer than it may be the next of left within a minute."""
        most = PER_MINUTE - urgency.value
        if len(self._sent) < most:
            return self._closed_until
        return max(self._closed_until, Instant(self._sent[-most] + WINDOW))
