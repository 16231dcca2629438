"""What a metric is: its name, its labels, and where its samples come from in a scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from mrdaemon.core.instant import SECOND, parse
from mrdaemon.latency import Shape
from mrdaemon.measured import Measured
from mrdaemon.status import Status

Labels = tuple[str, ...]
Sample = tuple[Labels, float | Shape]
Number = Decimal | float | None
"""Ledgers never see a float, but here there is nothing else. None: not known."""
Family = type[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]
T = TypeVar("T")


class Scrape(NamedTuple):
    """Everything at one moment."""

    status: Status
    """With its positions, but for those that left the configuration."""
    signals: int
    held: int
    measured: Measured

    def seconds_since(self, moment: str | None) -> float | None:
        """Give the seconds since then, in the daemon's time."""
        return None if moment is None else max(0.0, (_nanos(self.status.at) - _nanos(moment)) / SECOND)


class Figure(NamedTuple):
    """One metric, and where its samples come from."""

    family: Family
    name: str
    meaning: str
    labels: Labels
    samples: Callable[[Scrape], Iterator[Sample]]


class Of(NamedTuple, Generic[T]):
    """The things of one kind, and their labels."""

    labels: Labels
    things: Callable[[Scrape], Iterable[tuple[Labels, T]]]

    def gauge(self, name: str, meaning: str, value: Callable[[T], Number]) -> Figure:
        """Make a metric of what goes up and down."""
        return self._figure(GaugeMetricFamily, name, meaning, value)

    def counter(self, name: str, meaning: str, value: Callable[[T], Number]) -> Figure:
        """Make a metric of what only grows, and may begin anew."""
        return self._figure(CounterMetricFamily, name, meaning, value)

    def histogram(self, name: str, meaning: str, value: Callable[[T], Shape]) -> Figure:
        """Make a metric of how long something takes."""
        return self._figure(HistogramMetricFamily, name, meaning, value)

    def states(self, name: str, meaning: str, kinds: type[StrEnum], value: Callable[[T], StrEnum | None]) -> Figure:
        """Make a metric with a sample for each state that there may be: 1 for the one that is."""

        def samples(scrape: Scrape) -> Iterator[Sample]:
            for labels, thing in self.things(scrape):
                found = value(thing)
                yield from (((*labels, kind.value), float(kind is found)) for kind in kinds)

        return Figure(GaugeMetricFamily, name, meaning, (*self.labels, "state"), samples)

    def _figure(self, family: Family, name: str, meaning: str, value: Callable[[T], Number | Shape]) -> Figure:
        def samples(scrape: Scrape) -> Iterator[Sample]:
            for labels, thing in self.things(scrape):
                if (found := value(thing)) is not None:
                    yield labels, found if isinstance(found, Shape) else float(found)

        return Figure(family, name, meaning, self.labels, samples)


def _nanos(moment: str) -> int:
    at = parse(moment)
    assert isinstance(at, int)  # noqa: S101 - a status has no moment without an offset
    return at


DAEMON = Of[Scrape]((), lambda scrape: [((), scrape)])
"""What there is one of."""
