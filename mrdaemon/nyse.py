"""The days of the NYSE, as exchange_calendars works them out, kept so that nobody has to wait for it.

The library and pandas below it take most of a second and sixty megabytes. What they say is in ``data/nyse.json``: the
weekdays without a session, and the sessions with other hours than usual. It is taken only where the library installed
is the release that it was written from; ``python -m tests.nyse_days`` writes it anew.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import cache
from importlib import resources
from importlib.metadata import version
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from mrdaemon.core.instant import from_datetime
from mrdaemon.core.sessions import Session

LIBRARY: Final = "exchange_calendars"
ZONE: Final = ZoneInfo("America/New_York")
OPENS: Final = time(9, 30)
CLOSES: Final = time(16)
_SATURDAY: Final = 5
_DAY: Final = timedelta(days=1)


class Days(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs from a session of the usual hours on every weekday."""

    library: str
    """The release that says so."""
    first: int
    """The first year, and the last."""
    last: int
    closed: frozenset[date]
    other: dict[date, tuple[time, time]]
    """Hours in New York of days that have others."""


def sessions(first: int, last: int) -> list[Session] | None:
    """Give the regular sessions from one year through another; None where only the library knows them."""
    days = _days()
    if first < days.first or last > days.last or version(LIBRARY) != days.library:
        return None
    found, day, end = list[Session](), date(first, 1, 1), date(last, 12, 31)
    usual = (OPENS, CLOSES)
    while day <= end:
        if day.weekday() < _SATURDAY and day not in days.closed:
            opens, closes = (from_datetime(datetime.combine(day, at, ZONE)) for at in days.other.get(day, usual))
            found.append(Session(day.isoformat(), opens, closes))
        day += _DAY
    return found


@cache
def _days() -> Days:
    written = resources.files("mrdaemon.data").joinpath("nyse.json").read_bytes()
    return msgspec.json.decode(written, type=Days)
