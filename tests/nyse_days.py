"""Write anew what the package keeps of the NYSE's days: ``python -m tests.nyse_days``, for another release."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from mrdaemon.calendar import from_library
from mrdaemon.core.instant import SECOND
from mrdaemon.nyse import CLOSES, LIBRARY, OPENS, ZONE, Days
from tests.running import ROOT

FIRST, LAST = 1990, 2080
FILE: Final = ROOT / "mrdaemon" / "data" / "nyse.json"


def worked_out() -> Days:
    """Ask the library."""
    hours = {
        date.fromisoformat(each.day): (_time(each.opens), _time(each.closes))
        for each in from_library("XNYS", FIRST, LAST)
    }
    every = (date(FIRST, 1, 1) + timedelta(days=number) for number in range((LAST - FIRST + 1) * 366))
    closed = frozenset(each for each in every if each.year <= LAST and each.weekday() < 5 and each not in hours)
    other = {day: each for day, each in hours.items() if each != (OPENS, CLOSES)}
    assert all(each.weekday() < 5 for each in hours)
    return Days(metadata.version(LIBRARY), FIRST, LAST, closed, other)


def _time(at: int) -> time:
    return datetime.fromtimestamp(at // SECOND, ZONE).time()


def written(days: Days) -> str:
    """Put it into lines that a person can read: one for a year."""

    def lines(found: list[str]) -> str:
        years = (list(each) for _, each in groupby(found, key=lambda text: text[1:5]))
        return ",\n    ".join(", ".join(each) for each in years)

    def text(value: object) -> str:
        return msgspec.json.encode(value).decode()

    closed = lines([text(each) for each in sorted(days.closed)])
    other = lines([f"{text(day)}: {text(hours)}" for day, hours in sorted(days.other.items())])
    return f"""{{
  "library": {text(days.library)},
  "first": {days.first},
  "last": {days.last},
  "closed": [
    {closed}
  ],
  "other": {{
    {other}
  }}
}}
"""


if __name__ == "__main__":
    Path(FILE).write_text(written(worked_out()), encoding="utf-8")
