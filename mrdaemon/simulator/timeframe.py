"""Timeframes of bars, such as ``1Min``, ``1Hour`` or ``3Month``: where each bar begins and ends."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from mrdaemon.core.instant import HOUR, MINUTE, SECOND, Instant, from_datetime
from mrdaemon.simulator.hours import NEW_YORK

_WRITTEN: Final = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)")
_MONTHS: Final = 12


class TimeframeError(ValueError):
    """A text that is no timeframe."""


class Unit(StrEnum):
    """What a timeframe counts."""

    MINUTE = "Min"
    HOUR = "Hour"
    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"


_UNITS: Final = {"T": Unit.MINUTE, "H": Unit.HOUR, "D": Unit.DAY, "W": Unit.WEEK, "M": Unit.MONTH}
_AMOUNTS: Final = {
    Unit.MINUTE: range(1, 60),
    Unit.HOUR: range(1, 24),
    Unit.DAY: range(1, 2),
    Unit.WEEK: range(1, 2),
    Unit.MONTH: (1, 2, 3, 4, 6, 12),
}


class Timeframe(NamedTuple):
    """A number of units. Days of stocks are New York's, those of coins UTC's."""

    amount: int
    unit: Unit

    @classmethod
    def read(cls, text: str) -> Timeframe:
        """Read a timeframe.

        Raises:
            TimeframeError: it is none.
        """
        matched = _WRITTEN.fullmatch(text)
        if matched is None:
            message = f"invalid timeframe: {text}"
            raise TimeframeError(message)
        amount, name = int(matched[1]), matched[2]
        unit = _UNITS.get(name) or Unit(name)
        if amount not in _AMOUNTS[unit]:
            message = f"invalid timeframe: {text}"
            raise TimeframeError(message)
        return cls(amount, unit)

    def beginning(self, at: Instant, *, utc: bool) -> Instant:
        """Give where the bar begins that an instant lies in."""
        if self.unit is Unit.MINUTE:
            return Instant(at // (self.amount * MINUTE) * self.amount * MINUTE)
        if self.unit is Unit.HOUR:
            return Instant(at // (self.amount * HOUR) * self.amount * HOUR)
        zone = UTC if utc else NEW_YORK
        day = datetime.combine(datetime.fromtimestamp(at // SECOND, zone).date(), time(0), zone)
        if self.unit is Unit.WEEK:
            day -= timedelta(days=day.weekday())
        elif self.unit is Unit.MONTH:
            day = day.replace(day=1, month=(day.month - 1) // self.amount * self.amount + 1)
        return from_datetime(day)

    def end(self, beginning: Instant, *, utc: bool) -> Instant:
        """Give the end of the bar that begins at an instant: the next one's beginning."""
        if self.unit is Unit.MINUTE:
            return Instant(beginning + self.amount * MINUTE)
        if self.unit is Unit.HOUR:
            return Instant(beginning + self.amount * HOUR)
        zone = UTC if utc else NEW_YORK
        day = datetime.fromtimestamp(beginning // SECOND, zone)
        if self.unit is Unit.DAY:
            return from_datetime(day + timedelta(days=1))
        if self.unit is Unit.WEEK:
            return from_datetime(day + timedelta(days=7))
        months = day.month - 1 + self.amount
        return from_datetime(day.replace(year=day.year + months // _MONTHS, month=months % _MONTHS + 1))
