"""When each market trades: the sessions of an exchange, and of crypto, which never closes.

An exchange's sessions are worked out once, for a span of years, into plain integers; a look-up is a bisection. No
clock is read: the span grows around whichever instants are asked for.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Final, NoReturn
from zoneinfo import ZoneInfo

from mrdaemon import nyse
from mrdaemon.core.instant import DAY, NEVER, Instant, from_datetime, iso
from mrdaemon.core.sessions import Session

if TYPE_CHECKING:
    from mrdaemon.core.sessions import Sessions

_KNOWN_YEARS: Final = range(1970, 2201)
"""The years for which exchange_calendars 4.13 knows the holidays.

It gives sessions from 1677 to 2262 without complaint, but its regular holidays come from pandas' own
AbstractHolidayCalendar, which has them from 1970 to 2200: outside, Christmas is a trading day. Before October 1985 its
openings are half an hour early (09:30, where the NYSE opened at 10:00).
"""

_REACH_YEARS: Final = 10
"""How far to load on each side of a year.

Most of the library's 0.13 s is the same for one year and for twenty: a wide span is nearly free, and a daemon pauses
for it once in ten years. What is kept is read in a fifth of that.
"""

_PRE_MARKET: Final = time(4)
_REGULAR_CLOSE: Final = time(16)
_LATE_CLOSE: Final = time(20)
_EARLY_LATE_CLOSE: Final = time(17)
"""Late trading ends at 17:00 on the days that close early (Nasdaq and NYSE Arca trading hours)."""

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


class CalendarError(ValueError):
    """A market that the library does not know, a text that is no date, or a time whose sessions are unknown."""


class ExchangeSessions:
    """The sessions of one exchange, from the library exchange_calendars.

    Where the NYSE's days are not kept (``nyse``), the library and pandas are imported at a look-up. Every look-up
    raises CalendarError where the sessions are unknown: before the first session of 1970 and after the last of 2200.
    """

    def __init__(self, name: str = "XNYS", *, extended: bool = False) -> None:
        """Name the exchange; nothing is loaded yet.

        Args:
            name: the exchange's code in exchange_calendars. An unknown one, and one whose own calendar ends within ten
                years of an instant asked for (as XBOM's does), raises CalendarError at that look-up.
            extended: take the US extended hours of each session day, 04:00 to 20:00 in New York, to 17:00 where the
                session closes early.

        Raises:
            CalendarError: extended hours of an exchange other than XNYS.
        """
        if extended and name != "XNYS":
            message = f"extended hours are known for XNYS, not for {name}: leave them off"
            raise CalendarError(message)
        self._name = name
        self._extended = extended
        self._years = range(0)
        self._by_day: dict[str, Session] = {}
        self._regular: dict[str, Session] = {}
        self._sessions: list[Session] = []
        self._opens: list[Instant] = []
        # From the first opening to before the last one, the loaded sessions answer every question.
        self._first_opens = self._last_opens = NEVER
        self._latest_hit = Session("", opens=NEVER, closes=Instant(0))

    def at(self, now: Instant) -> Session | None:
        """Give the session that is open at an instant (both ends inclusive), or None. Cheap within one session.

        Raises:
            CalendarError: the sessions around the instant are unknown.
        """
        if self._latest_hit.opens <= now <= self._latest_hit.closes:
            return self._latest_hit
        session = self.latest(now)
        if now > session.closes:
            return None
        self._latest_hit = session
        return session

    def upcoming(self, now: Instant) -> Session:
        """Give the first session that opens strictly after an instant.

        Raises:
            CalendarError: the sessions around the instant are unknown, or its session is the last known.
        """
        following = self._index(now) + 1
        if following == len(self._sessions):
            self._refuse(f"after {iso(now)}")
        return self._sessions[following]

    def latest(self, now: Instant) -> Session:
        """Give the newest session that opened at or before an instant; it may be over.

        Raises:
            CalendarError: the sessions around the instant are unknown, or the first one is yet to open.
        """
        index = self._index(now)  # which may replace the list
        return self._sessions[index]

    def regular(self, now: Instant) -> bool:
        """Tell whether an instant lies in the regular hours of a session, both ends inclusive.

        Raises:
            CalendarError: the sessions around the instant are unknown.
        """
        session = self.at(now)
        if session is None or not self._extended:
            return session is not None
        core = self._regular[session.day]
        return core.opens <= now <= core.closes

    def regular_opening(self, now: Instant) -> Instant:
        """Give when regular hours begin next, strictly after an instant.

        Raises:
            CalendarError: the sessions around the instant are unknown, or its session is the last known.
        """
        latest = self.latest(now)
        opens = self._regular.get(latest.day, latest).opens
        if opens <= now:
            following = self.upcoming(now)
            opens = self._regular.get(following.day, following).opens
        return opens

    def on(self, day: str) -> Session | None:
        """Give the session of a date at the exchange, ``2020-03-12``, or None where there is none.

        Raises:
            CalendarError: the text is no date, or lies in a year whose sessions are unknown.
        """
        asked = _date(day)
        if asked.year not in _KNOWN_YEARS:
            self._refuse(f"on {asked}")
        self._cover(asked.year)
        return self._by_day.get(asked.isoformat())

    def _index(self, now: Instant) -> int:
        """Find the newest session that opened at or before an instant; load its years if need be."""
        if not self._first_opens <= now < self._last_opens:
            if not _KNOWN_FROM <= now < _KNOWN_UNTIL:
                self._refuse(f"at {iso(now)}")
            year = _day(now // DAY).year
            # The years beside it: the session before, and the one after, may lie across the new year.
            self._cover(max(year - 1, _KNOWN_YEARS[0]))
            self._cover(min(year + 1, _KNOWN_YEARS[-1]))
            if not self._first_opens <= now <= self._sessions[-1].closes:
                self._refuse(f"at {iso(now)}")
        return bisect_right(self._opens, now) - 1

    def _cover(self, year: int) -> None:
        """Have the sessions of a year, and of those around it, in one span with what is loaded already."""
        if year in self._years:
            return
        first = max(year - _REACH_YEARS, _KNOWN_YEARS[0])
        last = min(year + _REACH_YEARS, _KNOWN_YEARS[-1])
        if self._years:
            first, last = min(first, self._years[0]), max(last, self._years[-1])
        sessions = _regular_sessions(self._name, first, last)
        if self._extended:
            self._regular = {session.day: session for session in sessions}
            sessions = [_with_extended_hours(session) for session in sessions]
        self._years = range(first, last + 1)
        self._by_day = {session.day: session for session in sessions}
        self._sessions = sessions
        self._opens = [session.opens for session in sessions]
        self._first_opens, self._last_opens = self._opens[0], self._opens[-1]

    def _refuse(self, when: str) -> NoReturn:
        message = (
            f"{self._name}: no session is known {when}: the calendar has the years {_KNOWN_YEARS[0]} to"
            f" {_KNOWN_YEARS[-1]}; check the clock, or the unit of the timestamp"
        )
        raise CalendarError(message)


class AlwaysOpen:
    """The sessions of a market that never closes: UTC days.

    A day closes one nanosecond before the next one opens, so that every instant lies in exactly one.
    """

    def __init__(self) -> None:
        """Begin; there is nothing to load."""
        self._latest_hit = _utc_day(0)

    def at(self, now: Instant) -> Session:
        """Give the UTC day of an instant."""
        if not self._latest_hit.opens <= now <= self._latest_hit.closes:
            self._latest_hit = _utc_day(now // DAY)
        return self._latest_hit

    def upcoming(self, now: Instant) -> Session:
        """Give the UTC day that opens at the next midnight."""
        return _utc_day(now // DAY + 1)

    def latest(self, now: Instant) -> Session:
        """Give the UTC day of an instant: it is the newest that opened."""
        return self.at(now)

    def regular(self, now: Instant) -> bool:  # noqa: ARG002 - it asks what every market is asked
        """Tell that it is regular hours: a market that never closes has no others."""
        return True

    def regular_opening(self, now: Instant) -> Instant:
        """Give the next midnight in UTC."""
        return self.upcoming(now).opens

    def on(self, day: str) -> Session:
        """Give the session of a UTC date, ``2020-03-12``.

        Raises:
            CalendarError: the text is no date.
        """
        return _utc_day(_date(day).toordinal() - _EPOCH_DAY)


class MarketCalendar:
    """Which market each symbol trades in: pairs (``BTC/USD``) never close, all else trades on the NYSE's days."""

    def __init__(self, *, extended: bool = False) -> None:
        """Build the two markets, which all symbols share.

        Args:
            extended: take the US extended hours for the symbols that are not pairs.
        """
        self._stocks = ExchangeSessions(extended=extended)
        self._crypto = AlwaysOpen()

    def sessions(self, symbol: str) -> Sessions:
        """Give the sessions of a symbol's market."""
        return self._crypto if "/" in symbol else self._stocks


class AlwaysCalendar:
    """A world in which no market ever closes, as a local one may be."""

    def __init__(self) -> None:
        """Begin; there is nothing to load."""
        self._sessions = AlwaysOpen()

    def sessions(self, symbol: str) -> Sessions:  # noqa: ARG002 - all are alike
        """Give the sessions of a symbol's market: UTC days without an end."""
        return self._sessions


def _regular_sessions(name: str, first: int, last: int) -> list[Session]:
    """Give the sessions of an exchange from one year through another: as they are kept, or else from the library.

    Raises:
        CalendarError: the library does not know the exchange, or not in all of these years.
    """
    kept = nyse.sessions(first, last) if name == "XNYS" else None
    return from_library(name, first, last) if kept is None else kept


def from_library(name: str, first: int, last: int) -> list[Session]:
    """Have the library work out the sessions of an exchange from one year through another.

    Raises:
        CalendarError: the library does not know the exchange, or not in all of these years.
    """
    # Here, because importing it loads pandas (half a second), which hardly any run needs.
    import exchange_calendars  # noqa: PLC0415
    from exchange_calendars.errors import InvalidCalendarName  # noqa: PLC0415

    try:
        # Both ends are given: the library would take its own from today's date.
        library = exchange_calendars.get_calendar(name, start=f"{first}-01-01", end=f"{last}-12-31")
    except (InvalidCalendarName, ValueError) as error:
        message = f"{name}: no calendar for the years {first} to {last}: {error}"
        raise CalendarError(message) from error
    return [
        Session(day.isoformat(), Instant(opens), Instant(closes))
        for day, opens, closes in zip(
            library.sessions.date,
            library.opens_nanos.tolist(),
            library.closes_nanos.tolist(),
            strict=True,
        )
    ]


def _with_extended_hours(session: Session) -> Session:
    """Lengthen a session of XNYS to the extended hours of its day."""
    zone = ZoneInfo("America/New_York")
    day = date.fromisoformat(session.day)
    closes_early = session.closes < from_datetime(datetime.combine(day, _REGULAR_CLOSE, zone))
    return Session(
        session.day,
        from_datetime(datetime.combine(day, _PRE_MARKET, zone)),
        from_datetime(datetime.combine(day, _EARLY_LATE_CLOSE if closes_early else _LATE_CLOSE, zone)),
    )


def _utc_day(days: int) -> Session:
    """Make the session of a UTC day, counted from 1970-01-01."""
    return Session(_day(days).isoformat(), Instant(days * DAY), Instant((days + 1) * DAY - 1))


def _day(days: int) -> date:
    """Name a UTC day, counted from 1970-01-01."""
    return date.fromordinal(_EPOCH_DAY + days)


def _date(text: str) -> date:
    """Read a date.

    Raises:
        CalendarError: the text is no date.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is not a date: write it as 2020-03-12"
        raise CalendarError(message) from error


def _midnight(day: date) -> Instant:
    """Give the instant at which a UTC day begins."""
    return Instant((day.toordinal() - _EPOCH_DAY) * DAY)


_KNOWN_FROM: Final = _midnight(date(_KNOWN_YEARS[0], 1, 1))
# A day more: the extended hours of the last session end after the new year in UTC.
_KNOWN_UNTIL: Final = _midnight(date(_KNOWN_YEARS[-1] + 1, 1, 2))
