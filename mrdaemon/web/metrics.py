"""Figures for Prometheus: how everything stands at one moment, and what was counted until then, in its text format.

A scrape is taken first and written afterwards, both a slice at a time: a metric's samples have to stand together, and
prices get their turn in between, however many positions there are. What is not known has no sample.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import accumulate, islice
from typing import Final, Protocol

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mrdaemon.alerts.view import View
from mrdaemon.latency import Shape
from mrdaemon.measured import Measured
from mrdaemon.status import PositionStatus
from mrdaemon.web.counted import COUNTED
from mrdaemon.web.figures import Figure, Sample, Scrape
from mrdaemon.web.standing import STANDING

SLICE: Final = 100
"""Positions that are looked at, or samples that are written, before prices get their turn again."""
FIGURES: Final = (*STANDING, *COUNTED)
"""Every metric, as ``docs/metrics.md`` has them."""


class Measuring(View, Protocol):
    """Looks at a running daemon, and at what it measures of itself."""

    def measured(self) -> Measured:
        """Give what it has measured until now."""


async def take(view: Measuring) -> Scrape:
    """Look at a daemon, a slice at a time."""
    overview, state, measured = view.overview(), view.state, view.measured()
    signals, held = state.signals, state.held
    everyone, positions = view.positions(), list[PositionStatus]()
    while piece := list(islice(everyone, SLICE)):
        positions += [each for each in piece if not each.retired]
        await asyncio.sleep(0)
    return Scrape(msgspec.structs.replace(overview, positions=tuple(positions)), signals, held, measured)


async def write(scrape: Scrape) -> AsyncIterator[bytes]:
    """Write what was seen, a slice at a time."""
    for figure in FIGURES:
        samples = figure.samples(scrape)
        yield _text(figure, list(islice(samples, SLICE)))
        await asyncio.sleep(0)
        while piece := list(islice(samples, SLICE)):
            yield _text(figure, piece).split(b"\n", 2)[2]  # What the metric is was said before its first slice.
            await asyncio.sleep(0)


class _Slice(Collector):
    """A part of a metric's samples, or all of them."""

    def __init__(self, figure: Figure, samples: Iterable[Sample]) -> None:
        self._family = figure.family(figure.name, figure.meaning, labels=figure.labels)
        for labels, found in samples:
            match self._family, found:
                case HistogramMetricFamily() as histogram, Shape(total=total):
                    histogram.add_metric(labels, _buckets(found), total)
                case (CounterMetricFamily() | GaugeMetricFamily()) as single, float():
                    single.add_metric(labels, found)
                case _:
                    message = f"{figure.name} has a sample that is none of its kind: {found!r}"
                    raise TypeError(message)

    def collect(self) -> Iterable[Metric]:
        return [self._family]


def _buckets(shape: Shape) -> list[tuple[str, float]]:
    """Add the counts of a histogram up, as Prometheus wants them: each bucket has those below it as well."""
    bounds = (*(repr(each) for each in shape.bounds), "+Inf")
    return list(zip(bounds, accumulate(shape.counts), strict=True))


def _text(figure: Figure, samples: Sequence[Sample]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Slice(figure, samples))
    return generate_latest(registry)
