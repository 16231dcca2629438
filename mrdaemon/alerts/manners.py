"""How a channel wants to be told: from which level on, about what, when not, and how often."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from mrdaemon.alerts.alert import Alert, Level, Topic
from mrdaemon.core.instant import SECOND

UTC: Final = ZoneInfo("UTC")
_BITS: Final = frozenset({"channel_down", "channel_refused"})
"""What a channel need not be told of itself."""


class Quiet(NamedTuple):
    """A span of every day on a zone's clock, which may go over midnight: minutes since midnight."""

    begin: int
    end: int
    zone: ZoneInfo

    def until(self, wall: int) -> int | None:
        """Give when it ends, in UTC nanoseconds, where it is quiet at ``wall``; else None."""
        now = datetime.fromtimestamp(wall // SECOND, self.zone)
        minute = now.hour * 60 + now.minute
        over_midnight = self.end <= self.begin
        inside = minute >= self.begin or minute < self.end if over_midnight else self.begin <= minute < self.end
        if not inside:
            return None
        day = now.date() + timedelta(days=1 if over_midnight and minute >= self.begin else 0)
        end = datetime(day.year, day.month, day.day, self.end // 60, self.end % 60, tzinfo=self.zone)
        return max(int(end.timestamp()) * SECOND, wall + SECOND)


class Manners(NamedTuple):
    """What one channel wants."""

    name: str
    zone: ZoneInfo = UTC
    """Whose clock its times are told by."""
    level: Level = Level.INFO
    topics: Collection[Topic] = frozenset(Topic)
    quiet: Quiet | None = None
    repeat: int | None = None
    """Seconds between two alerts of one kind about one thing."""
    group: float = 0.0
    """Seconds that an alert waits for others."""
    timeout: float = 30.0
    """Seconds that a message may take."""

    def wants(self, alert: Alert) -> bool:
        """Tell whether an alert is for this channel at all."""
        of_itself = alert.topic is Topic.CHANNEL and alert.subject == f"channel {self.name}" and alert.kind in _BITS
        return alert.level.rank >= self.level.rank and alert.topic in self.topics and not of_itself

    def not_before(self, alert: Alert, wall: int, sent: dict[tuple[str, str], int]) -> int:
        """Give when an alert may be sent: now, or after quiet hours, or once the last like it is old enough.

        ``sent`` has when each kind about each subject was sent last. What is critical, and what asks for an answer,
        waits for no repetition; only what is critical breaks the quiet.
        """
        if alert.level is Level.CRITICAL:
            return wall
        at = wall
        if self.quiet is not None and (end := self.quiet.until(wall)) is not None:
            at = end
        before = sent.get((alert.kind, alert.subject))
        if self.repeat is not None and before is not None and not alert.approval:
            at = max(at, before + self.repeat * SECOND)
        return at
