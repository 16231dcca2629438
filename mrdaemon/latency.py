"""How long things take: counted in buckets, and for what a print caused, step by step until its order fills.

A quiet print costs nothing here: time is looked at once something was decided.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from mrdaemon.core import events as ev

SECOND: Final = 1e9
"""Nanoseconds, of a clock that only goes on."""
QUICK: Final = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""Upper bounds of buckets in seconds, for what this machine does by itself."""
SLOW: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
"""The same for what somebody else has a part in."""


class Shape(NamedTuple):
    """What a histogram had counted at one moment."""

    bounds: Sequence[float]
    counts: Sequence[int]
    """How many were at most each bound and above the one before; the last: above all of them."""
    total: float
    """Seconds of all together."""


class Histogram:
    """How often something took how long."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count what took so long, once or several times. A clock that was set back took no time."""
        seconds = max(seconds, 0.0)
        self._counts[bisect_left(self._bounds, seconds)] += times
        self._total += seconds * times

    def shape(self) -> Shape:
        """Give what was counted until now."""
        return Shape(self._bounds, tuple(self._counts), self._total)


class Latency:
    """How long it took from prints to what they caused, since the start.

    A print's time begins when the feed has handed it over. An order that a person approved rests on no print, and one
    that an earlier run sent rests on a print of that run: neither is counted.
    """

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self.to_decision = Histogram(QUICK)
        self.to_durable = Histogram(QUICK)
        self.to_acknowledged = Histogram(SLOW)
        self.to_filled = Histogram(SLOW)
        self._clock = clock
        self._sent: dict[str, int] = {}
        """By order, when its print came, of those that the broker has not said that it has."""
        self._unfilled: dict[str, int] = {}
        """The same of those of which nothing has filled."""

    def decided(self, events: Sequence[ev.Event], took: int, durable: asyncio.Future[None]) -> None:
        """Take what prints caused, the nanoseconds that it took, and what is done once it is durable."""
        decisions, begun = 0, self._clock() - took
        for event in events:
            if isinstance(event, (ev.SignalRaised, ev.SignalHeld)):
                decisions += 1
            elif isinstance(event, ev.OrderIntended):
                self._sent[event.order] = self._unfilled[event.order] = begun
        if decisions:
            self.to_decision.add(took / SECOND, decisions)
            durable.add_done_callback(partial(self._on_disk, begun, decisions))

    def _on_disk(self, begun: int, decisions: int, durable: asyncio.Future[None]) -> None:
        if not durable.cancelled() and durable.exception() is None:
            self.to_durable.add(self._since(begun), decisions)

    def acknowledged(self, order: str) -> None:
        """Take it that the broker has an order."""
        if (begun := self._sent.pop(order, None)) is not None:
            self.to_acknowledged.add(self._since(begun))

    def filled(self, order: str) -> None:
        """Take it that something of an order has filled; only the first time counts."""
        if (begun := self._unfilled.pop(order, None)) is not None:
            self.to_filled.add(self._since(begun))

    def ended(self, order: str) -> None:
        """Take it that nothing more becomes of an order."""
        self._sent.pop(order, None)
        self._unfilled.pop(order, None)

    def _since(self, begun: int) -> float:
        return (self._clock() - begun) / SECOND
