"""What a daemon counts of itself: decisions, orders, connections, alerts, and what waits or was dropped.

Nothing here decides anything, and nothing of it is kept: every start counts from zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeVar

from mrdaemon.core import events as ev
from mrdaemon.core.policy import FeedState, Side
from mrdaemon.latency import Latency, Shape
from mrdaemon.outbox import Delivery, Outcome


class Decision(StrEnum):
    """What may be decided of a value at an edge."""

    SIGNAL = "signal"
    HELD = "held"
    PENDING = "pending"
    """Further prints must agree."""
    DROPPED = "dropped"
    """They did not."""


class Queue(NamedTuple):
    """Something in which work may wait."""

    depth: Callable[[], int]
    dropped: Callable[[], int] | None = None
    """Gives how much of it was let go, where that may happen."""


class Counted(NamedTuple):
    """What was counted until one moment."""

    decisions: Mapping[Decision, int]
    holds: Mapping[str, int]
    intended: Mapping[tuple[str, Side], int]
    orders: Mapping[tuple[str, str], int]
    ambiguous: Mapping[str, int]
    reconnects: Mapping[str, int]
    alerts: Mapping[tuple[str, Outcome], int]
    queues: Mapping[str, int]
    dropped: Mapping[str, int]
    to_decision: Shape
    to_durable: Shape
    to_acknowledged: Shape
    to_filled: Shape


class Tally:
    """Counts, since the start. Events are counted when they are handed to the journal."""

    def __init__(self) -> None:
        self.latency = Latency()
        self.decisions: Counter[Decision] = Counter()
        self.holds: Counter[str] = Counter()
        """By the guard that held."""
        self.intended: Counter[tuple[str, Side]] = Counter()
        """Orders by portfolio and side."""
        self.orders: Counter[tuple[str, str]] = Counter()
        """Those that ended, by portfolio and how."""
        self.ambiguous: Counter[str] = Counter()
        """By portfolio, how often nobody knew whether the broker had an order."""
        self.alerts: Counter[tuple[str, Outcome]] = Counter()
        """By channel, and what became of them."""
        self.queues: dict[str, Queue] = {}
        """By what people call them; whoever has one adds it."""
        self.subscribed: Counter[str] = Counter()
        """How often each stream was made."""

    def heed(self, events: Sequence[ev.Event]) -> None:
        """Count events."""
        for event in events:
            if (count := _COUNTS.get(type(event))) is not None:
                count(self, event)

    def heed_alerts(self, deliveries: Sequence[Delivery]) -> None:
        """Count what became of alerts."""
        for each in deliveries:
            self.alerts[each.channel, each.outcome] += 1

    def counted(self) -> Counted:
        """Give all of it as it is now. What was never counted is not in it: it is zero."""
        return Counted(
            decisions=dict(self.decisions),
            holds=dict(self.holds),
            intended=dict(self.intended),
            orders=dict(self.orders),
            ambiguous=dict(self.ambiguous),
            reconnects={stream: count - 1 for stream, count in self.subscribed.items()},
            alerts=dict(self.alerts),
            queues={name: each.depth() for name, each in self.queues.items()},
            dropped={name: 0 if each.dropped is None else each.dropped() for name, each in self.queues.items()},
            to_decision=self.latency.to_decision.shape(),
            to_durable=self.latency.to_durable.shape(),
            to_acknowledged=self.latency.to_acknowledged.shape(),
            to_filled=self.latency.to_filled.shape(),
        )


_E = TypeVar("_E", bound=ev.Event)
_COUNTS: Final[dict[type[ev.Event], Callable[[Tally, Any], None]]] = {}


def _counts(kind: type[_E]) -> Callable[[Callable[[Tally, _E], None]], Callable[[Tally, _E], None]]:
    def register(count: Callable[[Tally, _E], None]) -> Callable[[Tally, _E], None]:
        _COUNTS[kind] = count
        return count

    return register


@_counts(ev.SignalRaised)
def _raised(tally: Tally, _: ev.SignalRaised) -> None:
    tally.decisions[Decision.SIGNAL] += 1


@_counts(ev.SignalHeld)
def _held(tally: Tally, event: ev.SignalHeld) -> None:
    tally.decisions[Decision.HELD] += 1
    tally.holds[event.guard] += 1


@_counts(ev.SignalPending)
def _pending(tally: Tally, _: ev.SignalPending) -> None:
    tally.decisions[Decision.PENDING] += 1


@_counts(ev.SignalDropped)
def _dropped(tally: Tally, _: ev.SignalDropped) -> None:
    tally.decisions[Decision.DROPPED] += 1


@_counts(ev.OrderIntended)
def _intended(tally: Tally, event: ev.OrderIntended) -> None:
    tally.intended[event.portfolio, event.side] += 1


@_counts(ev.OrderAccepted)
def _accepted(tally: Tally, event: ev.OrderAccepted) -> None:
    tally.latency.acknowledged(event.order)


@_counts(ev.OrderFilled)
def _filled(tally: Tally, event: ev.OrderFilled) -> None:
    tally.latency.filled(event.order)


@_counts(ev.OrderEnded)
def _ended(tally: Tally, event: ev.OrderEnded) -> None:
    tally.orders[event.portfolio, event.status] += 1
    tally.latency.ended(event.order)


@_counts(ev.OrderAmbiguous)
def _ambiguous(tally: Tally, event: ev.OrderAmbiguous) -> None:
    tally.ambiguous[event.portfolio] += 1


@_counts(ev.FeedStateChanged)
def _connection(tally: Tally, event: ev.FeedStateChanged) -> None:
    if event.state is FeedState.SUBSCRIBED:
        tally.subscribed[event.feed] += 1
