"""Metrics of what a daemon counted and measured of itself, nearly all of it since its start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily

from mrdaemon.core.guards import Guard
from mrdaemon.core.orders import TERMINAL
from mrdaemon.core.policy import Side
from mrdaemon.outbox import Outcome
from mrdaemon.tally import Counted, Decision
from mrdaemon.web.figures import DAEMON, Figure, Labels, Of, Sample, Scrape

OUTCOMES: Final = sorted(each.value for each in TERMINAL)
FILES: Final = ("journal", "log")


def _counts(
    name: str, meaning: str, labels: Labels, found: Callable[[Scrape, Counted], Iterator[tuple[Labels, int]]]
) -> Figure:
    """Make a metric of counts: one that was never counted is 0, so that its first rise shows."""

    def samples(scrape: Scrape) -> Iterator[Sample]:
        for values, count in found(scrape, scrape.measured.counted):
            yield values, float(count)

    return Figure(CounterMetricFamily, name, meaning, labels, samples)


def _decisions(_: Scrape, counted: Counted) -> Iterator[tuple[Labels, int]]:
    return (((each.value,), counted.decisions.get(each, 0)) for each in Decision)


def _holds(_: Scrape, counted: Counted) -> Iterator[tuple[Labels, int]]:
    return (((each.value,), counted.holds.get(each.value, 0)) for each in Guard)


def _intended(scrape: Scrape, counted: Counted) -> Iterator[tuple[Labels, int]]:
    for book in scrape.status.portfolios:
        for side in Side:
            yield (book.name, side.value), counted.intended.get((book.name, side), 0)


def _orders(scrape: Scrape, counted: Counted) -> Iterator[tuple[Labels, int]]:
    for book in scrape.status.portfolios:
        for outcome in OUTCOMES:
            yield (book.name, outcome), counted.orders.get((book.name, outcome), 0)


def _ambiguous(scrape: Scrape, counted: Counted) -> Iterator[tuple[Labels, int]]:
    return (((book.name,), counted.ambiguous.get(book.name, 0)) for book in scrape.status.portfolios)


def _reconnects(scrape: Scrape, counted: Counted) -> Iterator[tuple[Labels, int]]:
    return (((stream.name,), counted.reconnects.get(stream.name, 0)) for stream in scrape.status.streams)


def _alerts(scrape: Scrape, counted: Counted) -> Iterator[tuple[Labels, int]]:
    for channel in scrape.status.channels:
        for outcome in Outcome:
            yield (channel.name, outcome.value), counted.alerts.get((channel.name, outcome), 0)


def _dropped(_: Scrape, counted: Counted) -> Iterator[tuple[Labels, int]]:
    return (((name,), count) for name, count in counted.dropped.items())


def _files(scrape: Scrape) -> Iterator[tuple[Labels, int]]:
    footprint = scrape.measured.footprint
    return (((name,), size) for name, size in zip(FILES, (footprint.journal, footprint.log), strict=True))


_QUEUE: Final = Of[int](
    ("queue",), lambda scrape: (((name,), depth) for name, depth in scrape.measured.counted.queues.items())
)
_FILE: Final = Of[int](("file",), _files)


COUNTED: Final[tuple[Figure, ...]] = (
    # What was decided
    _counts(
        "mrdaemon_decisions_total", "Decisions on a value at an edge, by what came of them.", ("decision",), _decisions
    ),
    _counts("mrdaemon_holds_total", "Signals that were held, by the guard that objected.", ("guard",), _holds),
    _counts("mrdaemon_orders_intended_total", "Orders that were decided.", ("portfolio", "side"), _intended),
    _counts("mrdaemon_orders_total", "Orders that ended, by how they did.", ("portfolio", "outcome"), _orders),
    _counts(
        "mrdaemon_orders_ambiguous_total",
        "Times that nobody knew whether the broker had an order.",
        ("portfolio",),
        _ambiguous,
    ),
    # How long it took
    DAEMON.histogram(
        "mrdaemon_print_to_decision_seconds",
        "From a print to the signal or the hold that it caused.",
        lambda scrape: scrape.measured.counted.to_decision,
    ),
    DAEMON.histogram(
        "mrdaemon_print_to_durable_seconds",
        "From a print until its decision was on disk.",
        lambda scrape: scrape.measured.counted.to_durable,
    ),
    DAEMON.histogram(
        "mrdaemon_print_to_order_acknowledged_seconds",
        "From a print until the broker said that it has the order.",
        lambda scrape: scrape.measured.counted.to_acknowledged,
    ),
    DAEMON.histogram(
        "mrdaemon_print_to_order_filled_seconds",
        "From a print to the first fill of its order.",
        lambda scrape: scrape.measured.counted.to_filled,
    ),
    # Connections, queues and channels
    _counts(
        "mrdaemon_stream_reconnects_total",
        "Times that a stream was up again after it had been lost.",
        ("stream",),
        _reconnects,
    ),
    _counts("mrdaemon_channel_alerts_total", "Alerts, by what became of them.", ("channel", "outcome"), _alerts),
    _QUEUE.gauge("mrdaemon_queue_depth", "What waits in a queue.", lambda depth: depth),
    _counts("mrdaemon_queue_dropped_total", "What a queue had no room for.", ("queue",), _dropped),
    # The journal, and the machine
    DAEMON.counter("mrdaemon_journal_events_total", "Events in the journal.", lambda scrape: scrape.measured.events),
    DAEMON.histogram(
        "mrdaemon_journal_commit_seconds",
        "How long it took to commit a group of events.",
        lambda scrape: scrape.measured.commits,
    ),
    _FILE.gauge("mrdaemon_journal_size_bytes", "Size of the journal, and of the log beside it.", lambda size: size),
    DAEMON.gauge(
        "mrdaemon_disk_free_bytes",
        "What may still be written on the journal's disk.",
        lambda scrape: scrape.measured.footprint.free,
    ),
    DAEMON.gauge(
        "mrdaemon_process_resident_bytes",
        "Memory of the daemon.",
        lambda scrape: scrape.measured.footprint.resident,
    ),
    DAEMON.counter(
        "mrdaemon_process_cpu_seconds_total",
        "Processor time of the daemon.",
        lambda scrape: scrape.measured.footprint.processor,
    ),
)
"""Every metric of what was counted and measured."""
