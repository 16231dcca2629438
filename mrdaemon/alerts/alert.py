"""What a person is told: one thing that happened, in a sentence, with its numbers and how much it matters."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from mrdaemon.core.instant import SECOND, Instant


class Level(StrEnum):
    """How much an alert matters; in this order."""

    INFO = "info"
    """Worth a line in a summary: started, an order filled in part."""
    NOTICE = "notice"
    """What was to be expected happened: a signal, a fill."""
    WARNING = "warning"
    """Something does not work as it should, and mrdaemon copes."""
    CRITICAL = "critical"
    """Trading has stopped, or a person must act now. No quiet hours hold it back."""

    @property
    def rank(self) -> int:
        """Give its place in the order, from 0."""
        return list(Level).index(self)


class Topic(StrEnum):
    """What an alert is about: what a channel may choose by."""

    SIGNAL = "signal"
    APPROVAL = "approval"
    ORDER = "order"
    RESERVE = "reserve"
    PRICES = "prices"
    BROKER = "broker"
    SAFETY = "safety"
    DAEMON = "daemon"
    CHANNEL = "channel"
    DIGEST = "digest"


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One alert. It is written once, in the transaction of the event that it tells of, and never changed.

    Money, shares and prices in ``facts`` are decimal strings, times are RFC 3339 in UTC, ratios are 0.01 for a percent.
    """

    id: str
    """Unlike any other's, of any journal: a receiver drops a repeat by it."""
    at: Instant
    """When it happened, in the engine's time: the recording's, where one is read."""
    level: Level
    topic: Topic
    kind: str
    """What happened, in snake case: ``signal_raised``, ``order_filled``, ``feed_lost``."""
    subject: str
    """What it happened to, for telling repeats apart: ``core/QQQ``, ``feed stocks``, ``account main``."""
    title: str
    """A few words: what stands in bold on a phone."""
    text: str
    """One plain sentence that a client could be sent: what happened, the numbers, and why."""
    portfolio: str = ""
    symbol: str = ""
    facts: dict[str, str] = {}
    approval: str = ""
    """The id of the request that it asks an answer to, as ``approve`` and ``reject`` take it: ``core/QQQ/7``."""
    ttl: int = 86_400
    """Seconds after which it is of no use any more to who has not received it."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """An alert in the outbox."""

    n: int
    """Its place in the order of all alerts, from 1."""
    wall: int
    """When it was journaled: UTC nanoseconds, of the machine's clock."""
    alert: Alert

    @property
    def until(self) -> int:
        """Give when it ceases to be of use: UTC nanoseconds, of the machine's clock."""
        return self.wall + self.alert.ttl * SECOND

    def expired(self, wall: int) -> bool:
        """Tell whether it is of no use any more."""
        return wall >= self.until


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Alert).decode
