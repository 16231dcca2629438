"""Instants: UTC nanoseconds since 1970 as a plain integer, and how they are written."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NewType

Instant = NewType("Instant", int)
"""UTC nanoseconds since 1970-01-01."""

SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
NEVER: Final = Instant(2**63 - 1)
"""Later than anything: a wake-up that nobody waits for."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION: Final = re.compile(r"(.*:\d\d)\.(\d{1,9})(.*)")


def iso(at: Instant) -> str:
    """Write an instant as RFC 3339 in UTC, with as many decimals as it needs (0, 3, 6 or 9)."""
    seconds, nanos = divmod(at, SECOND)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    if nanos:
        fraction = f"{nanos:09d}"
        while fraction.endswith("000"):
            fraction = fraction[:-3]
        text += f".{fraction}"
    return text + "Z"


def from_datetime(moment: datetime) -> Instant:
    """Convert an aware datetime, exactly (to its microsecond)."""
    since = moment - _EPOCH
    return Instant((since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1_000)


def parse(text: str) -> datetime | Instant:
    """Read an ISO 8601 date-time with up to nine decimals.

    Returns:
        An instant when the text carries an offset; a naive datetime (microseconds) when it does not, for the
        caller to place in a time zone.

    Raises:
        ValueError: the text is not a date-time.
    """
    nanos = 0
    if matched := _FRACTION.fullmatch(text):
        head, fraction, tail = matched.groups()
        nanos = int(fraction.ljust(9, "0"))
        text = head + tail
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(microsecond=nanos // 1_000)
    return Instant(from_datetime(moment) + nanos)
