"""When orders trade and when they expire, and what the clock and the calendar answer: all from one calendar."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from mrdaemon.core.instant import HOUR, SECOND, Instant, from_datetime, iso
from mrdaemon.core.sessions import Calendar, Session, Sessions

NEW_YORK: Final = ZoneInfo("America/New_York")
_PRE_MARKET: Final = time(4)
_CLOSE: Final = time(16)
_LATE_CLOSE: Final = time(20)
_EARLY_LATE_CLOSE: Final = time(17)
"""Late trading ends at 17:00 on the days that close early."""
_GTC_DAYS: Final = 89
"""An order that is good till canceled ends with the 89th day after it (recorded: 18 September to 16 December)."""
_STOCK: Final = ""
"""Any symbol without a slash trades in the stock market's sessions."""


def new_york(at: Instant) -> datetime:
    """Give an instant on New York's wall clock, to the microsecond."""
    return datetime.fromtimestamp(at // SECOND, NEW_YORK) + timedelta(microseconds=at % SECOND // 1_000)


class Hours:
    """The trading hours of stocks and coins."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        # Writing the sixty years that are asked for by default takes a second: it is done once.
        self._written: dict[str, dict[str, object]] = {}

    def open(self, symbol: str, now: Instant, *, extended: bool) -> bool:
        """Tell whether an order in a symbol can execute now; ``extended`` is the order's own wish."""
        sessions = self._sessions(symbol)
        if sessions.at(now) is not None:
            return True
        return extended and self._extended_around(sessions, now) is not None

    def next_open(self, symbol: str, now: Instant, *, extended: bool) -> Instant:
        """Give when an order that cannot execute now will be able to."""
        following = self._sessions(symbol).upcoming(now)
        return _with_extended_hours(following).opens if extended else following.opens

    def day_order_expires(self, symbol: str, now: Instant, *, extended: bool) -> Instant:
        """Give the end of the session that an order of the day belongs to: the open one, or the next."""
        sessions = self._sessions(symbol)
        session = sessions.at(now)
        if session is None and extended:
            session = self._extended_around(sessions, now)
        if session is None:
            session = sessions.upcoming(now)
        return _with_extended_hours(session).closes if extended else session.closes

    def standing_order_expires(self, now: Instant) -> Instant:
        """Give when an order that is good till canceled ends all the same."""
        day = new_york(now).date() + timedelta(days=_GTC_DAYS)
        return from_datetime(datetime.combine(day, _CLOSE, NEW_YORK))

    def clock(self, now: Instant) -> dict[str, object]:
        """Give the stock market's clock as REST answers it."""
        sessions = self._sessions(_STOCK)
        current, following = sessions.at(now), sessions.upcoming(now)
        return {
            "is_open": current is not None,
            "next_close": _local((current or following).closes),
            "next_open": _local(following.opens),
            "timestamp": new_york(now).isoformat(),
        }

    def days(self, start: date, end: date) -> Iterator[dict[str, object]]:
        """Give the stock market's days as REST answers them, both ends inclusive."""
        sessions = self._sessions(_STOCK)
        days = ((start + timedelta(days=offset)).isoformat() for offset in range((end - start).days + 1))
        session = next((found for day in days if (found := sessions.on(day)) is not None), None)
        while session is not None and session.day <= end.isoformat():
            following = sessions.upcoming(session.opens)
            written = self._written.get(session.day)
            if written is None:
                written = self._written[session.day] = _day(session, following)
            yield written
            session = following

    def settles(self, symbol: str, now: Instant) -> str:
        """Give the date on which a trade settles: the next session's, or the same day for coins."""
        day = iso(now)[:10]
        return day if "/" in symbol else self._sessions(symbol).upcoming(now).day

    def _sessions(self, symbol: str) -> Sessions:
        return self._calendar.sessions(symbol)

    @staticmethod
    def _extended_around(sessions: Sessions, now: Instant) -> Session | None:
        """Give the session within whose extended hours an instant lies."""
        for session in (sessions.upcoming(now), sessions.latest(now)):
            whole = _with_extended_hours(session)
            if whole.opens <= now <= whole.closes:
                return session
        return None


def _day(session: Session, following: Session) -> dict[str, object]:
    whole = _with_extended_hours(session)
    return {
        "close": _wall(session.closes, "%H:%M"),
        "date": session.day,
        "open": _wall(session.opens, "%H:%M"),
        "session_close": _wall(whole.closes, "%H%M"),
        "session_open": _wall(whole.opens, "%H%M"),
        "settlement_date": following.day,
    }


def _with_extended_hours(session: Session) -> Session:
    """Lengthen a session to the extended hours of its day. One that is longer already stays as it is."""
    day = date.fromisoformat(session.day)
    early = session.closes < from_datetime(datetime.combine(day, _CLOSE, NEW_YORK))
    opens = from_datetime(datetime.combine(day, _PRE_MARKET, NEW_YORK))
    closes = from_datetime(datetime.combine(day, _EARLY_LATE_CLOSE if early else _LATE_CLOSE, NEW_YORK))
    if session.closes - session.opens > 16 * HOUR:
        return session
    return Session(session.day, min(opens, session.opens), max(closes, session.closes))


def _local(at: Instant) -> str:
    return new_york(at).replace(microsecond=0).isoformat()


def _wall(at: Instant, form: str) -> str:
    return new_york(at).strftime(form)
