"""When each market trades: sessions, holidays, early closes, and the edges of what the calendar knows."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest
from exchange_calendars.exchange_calendar_xnys import XNYSExchangeCalendar
from hypothesis import given, settings
from hypothesis import strategies as st

from mrdaemon import nyse
from mrdaemon.calendar import AlwaysOpen, CalendarError, ExchangeSessions, MarketCalendar, from_library
from mrdaemon.core.instant import DAY, NEVER, SECOND, Instant, from_datetime, parse
from mrdaemon.core.sessions import Session
from tests import nyse_days

if TYPE_CHECKING:
    from mrdaemon.core.sessions import Calendar, Sessions

# Loading takes a quarter of a second: the tests that do not mind what was asked before share these.
NYSE = ExchangeSessions()
EXTENDED = ExchangeSessions(extended=True)
CRYPTO = AlwaysOpen()
MARKETS: list[Sessions] = [NYSE, EXTENDED, CRYPTO]


def new_york(text: str) -> Instant:
    """Read a New York wall-clock time, ``2020-03-12 09:30``."""
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")))


def utc(text: str) -> Instant:
    """Read a UTC time, ``2020-03-12T09:30:00``."""
    moment = parse(text + "Z")
    assert not isinstance(moment, datetime)
    return moment


def before(now: Instant) -> Instant:
    """One nanosecond earlier."""
    return Instant(now - 1)


def after(now: Instant) -> Instant:
    """One nanosecond later."""
    return Instant(now + 1)


def nyse_session(day: str, opens: str = "09:30", closes: str = "16:00") -> Session:
    """Build a session from New York wall-clock times."""
    return Session(day, new_york(f"{day} {opens}"), new_york(f"{day} {closes}"))


# The regular session


def test_a_regular_session_is_half_past_nine_to_four_in_new_york() -> None:
    assert NYSE.on("2020-03-12") == Session("2020-03-12", utc("2020-03-12T13:30:00"), utc("2020-03-12T20:00:00"))


def test_a_session_is_open_at_noon() -> None:
    assert NYSE.at(new_york("2020-03-12 12:00")) == nyse_session("2020-03-12")


def test_a_session_is_open_at_its_very_opening() -> None:
    assert NYSE.at(new_york("2020-03-12 09:30")) == nyse_session("2020-03-12")


def test_a_session_is_open_at_its_very_close() -> None:
    assert NYSE.at(new_york("2020-03-12 16:00")) == nyse_session("2020-03-12")


def test_a_session_is_closed_a_nanosecond_before_its_opening() -> None:
    assert NYSE.at(before(new_york("2020-03-12 09:30"))) is None


def test_a_session_is_closed_a_nanosecond_after_its_close() -> None:
    assert NYSE.at(after(new_york("2020-03-12 16:00"))) is None


def test_the_session_that_was_just_asked_for_does_not_stay_open_past_its_close() -> None:
    sessions = ExchangeSessions()
    assert sessions.at(new_york("2020-03-12 16:00")) == nyse_session("2020-03-12")
    assert sessions.at(after(new_york("2020-03-12 16:00"))) is None
    assert sessions.at(new_york("2020-03-11 12:00")) == nyse_session("2020-03-11")


def test_an_evening_lies_between_the_session_that_is_over_and_the_next_day() -> None:
    evening = new_york("2020-03-12 20:00")
    assert NYSE.at(evening) is None
    assert NYSE.latest(evening) == nyse_session("2020-03-12")
    assert NYSE.upcoming(evening) == nyse_session("2020-03-13")


def test_the_upcoming_session_opens_strictly_later() -> None:
    assert NYSE.upcoming(before(new_york("2020-03-12 09:30"))) == nyse_session("2020-03-12")
    assert NYSE.upcoming(new_york("2020-03-12 09:30")) == nyse_session("2020-03-13")


def test_the_latest_session_may_open_at_the_instant_itself() -> None:
    assert NYSE.latest(before(new_york("2020-03-12 09:30"))) == nyse_session("2020-03-11")
    assert NYSE.latest(new_york("2020-03-12 09:30")) == nyse_session("2020-03-12")


# Days that differ


def test_a_weekend_has_no_session() -> None:
    saturday = new_york("2020-03-14 12:00")
    assert NYSE.at(saturday) is None
    assert NYSE.on("2020-03-14") is None
    assert NYSE.latest(saturday) == nyse_session("2020-03-13")
    assert NYSE.upcoming(saturday) == nyse_session("2020-03-16")


@pytest.mark.parametrize(
    "day",
    ["2020-11-26", "2020-12-25", "2021-01-01", "2021-04-02", "2022-06-20", "2026-01-19", "1990-12-25", "2040-12-25"],
)
def test_a_holiday_has_no_session(day: str) -> None:
    assert NYSE.on(day) is None
    assert NYSE.at(new_york(f"{day} 12:00")) is None


def test_a_holiday_that_falls_on_a_saturday_is_observed_on_friday() -> None:
    assert NYSE.on("2020-07-03") is None
    assert NYSE.upcoming(new_york("2020-07-02 12:00")) == nyse_session("2020-07-06")


@pytest.mark.parametrize("day", ["2019-11-29", "2020-12-24", "2024-07-03", "2025-07-03", "2026-11-27"])
def test_an_early_close_is_at_one_in_new_york(day: str) -> None:
    assert NYSE.on(day) == nyse_session(day, closes="13:00")
    assert NYSE.at(new_york(f"{day} 13:00")) == nyse_session(day, closes="13:00")
    assert NYSE.at(after(new_york(f"{day} 13:00"))) is None


def test_early_closes_were_at_two_in_1992() -> None:
    assert NYSE.on("1992-11-27") == nyse_session("1992-11-27", closes="14:00")


def test_hurricane_sandy_closed_the_exchange_for_two_days() -> None:
    assert NYSE.on("2012-10-29") is None
    assert NYSE.on("2012-10-30") is None
    assert NYSE.latest(new_york("2012-10-30 12:00")) == nyse_session("2012-10-26")
    assert NYSE.upcoming(new_york("2012-10-29 12:00")) == nyse_session("2012-10-31")


@pytest.mark.parametrize("day", ["2001-09-11", "2001-09-14", "2018-12-05", "2025-01-09"])
def test_attacks_and_days_of_mourning_closed_the_exchange(day: str) -> None:
    assert NYSE.on(day) is None


def test_summer_time_moves_the_session_an_hour_earlier_in_utc() -> None:
    assert NYSE.on("2020-03-06") == Session("2020-03-06", utc("2020-03-06T14:30:00"), utc("2020-03-06T21:00:00"))
    assert NYSE.on("2020-03-09") == Session("2020-03-09", utc("2020-03-09T13:30:00"), utc("2020-03-09T20:00:00"))


def test_winter_time_moves_the_session_an_hour_later_in_utc() -> None:
    assert NYSE.on("2020-10-30") == Session("2020-10-30", utc("2020-10-30T13:30:00"), utc("2020-10-30T20:00:00"))
    assert NYSE.on("2020-11-02") == Session("2020-11-02", utc("2020-11-02T14:30:00"), utc("2020-11-02T21:00:00"))


def test_summer_time_is_still_known_in_2100() -> None:
    assert NYSE.on("2100-07-01") == Session("2100-07-01", utc("2100-07-01T13:30:00"), utc("2100-07-01T20:00:00"))


@pytest.mark.parametrize(("year", "count"), [(1990, 253), (2001, 248), (2012, 250), (2020, 253), (2025, 250)])
def test_a_year_has_the_sessions_that_the_nyse_held(year: int, count: int) -> None:
    assert sum(NYSE.on(day) is not None for day in days_of(year)) == count


def days_of(year: int) -> list[str]:
    """List every day of a year."""
    first = utc(f"{year}-01-01T00:00:00")
    last = utc(f"{year}-12-31T00:00:00")
    return [CRYPTO.at(Instant(now)).day for now in range(first, last + 1, DAY)]


# Extended hours


def test_extended_hours_are_four_to_eight_in_the_evening() -> None:
    assert EXTENDED.on("2020-03-12") == nyse_session("2020-03-12", "04:00", "20:00")
    assert EXTENDED.at(new_york("2020-03-12 04:00")) == nyse_session("2020-03-12", "04:00", "20:00")
    assert EXTENDED.at(before(new_york("2020-03-12 04:00"))) is None


def test_extended_hours_follow_summer_time() -> None:
    assert EXTENDED.on("2020-03-06") == Session("2020-03-06", utc("2020-03-06T09:00:00"), utc("2020-03-07T01:00:00"))
    assert EXTENDED.on("2020-03-09") == Session("2020-03-09", utc("2020-03-09T08:00:00"), utc("2020-03-10T00:00:00"))


@pytest.mark.parametrize("day", ["2019-11-29", "2020-12-24"])
def test_extended_hours_end_at_five_after_an_early_close(day: str) -> None:
    assert EXTENDED.on(day) == nyse_session(day, "04:00", "17:00")


def test_extended_hours_keep_to_the_session_days() -> None:
    assert EXTENDED.on("2020-07-03") is None
    assert EXTENDED.at(new_york("2020-07-03 08:00")) is None


def test_an_extended_session_that_ends_in_the_next_utc_year_is_found() -> None:
    assert ExchangeSessions(extended=True).at(utc("2021-01-01T00:30:00")) == nyse_session(
        "2020-12-31", "04:00", "20:00"
    )


def test_extended_hours_of_another_exchange_are_refused() -> None:
    with pytest.raises(CalendarError, match="extended hours are known for XNYS, not for XLON"):
        ExchangeSessions("XLON", extended=True)


# Crypto


def test_a_crypto_session_is_a_utc_day_up_to_its_last_nanosecond() -> None:
    midnight = utc("2020-03-12T00:00:00")
    assert CRYPTO.at(utc("2020-03-12T12:00:00")) == Session("2020-03-12", midnight, before(utc("2020-03-13T00:00:00")))


def test_the_crypto_day_changes_exactly_at_midnight() -> None:
    midnight = utc("2020-03-01T00:00:00")
    assert CRYPTO.at(before(midnight)).day == "2020-02-29"
    assert CRYPTO.at(midnight).day == "2020-03-01"


def test_the_upcoming_crypto_session_opens_at_the_next_midnight() -> None:
    assert CRYPTO.upcoming(utc("2020-03-12T00:00:00")).opens == utc("2020-03-13T00:00:00")
    assert CRYPTO.upcoming(before(utc("2020-03-13T00:00:00"))).opens == utc("2020-03-13T00:00:00")


def test_the_latest_crypto_session_is_the_open_one() -> None:
    assert CRYPTO.latest(utc("2020-03-12T00:00:00")).day == "2020-03-12"


def test_crypto_trades_on_christmas_and_before_1970() -> None:
    christmas = utc("1969-12-25T00:00:00")
    assert CRYPTO.on("1969-12-25") == Session("1969-12-25", christmas, before(utc("1969-12-26T00:00:00")))
    assert CRYPTO.at(christmas).day == "1969-12-25"


# Which market


def test_a_pair_trades_around_the_clock() -> None:
    assert MarketCalendar().sessions("BTC/USD").at(new_york("2020-03-14 12:00")) is not None


def test_any_other_symbol_trades_on_the_nyse() -> None:
    sessions = MarketCalendar().sessions("BRK.B")
    assert sessions.on("2020-03-12") == nyse_session("2020-03-12")
    assert sessions.on("2020-03-14") is None


def test_a_calendar_with_extended_hours_gives_them_to_stocks() -> None:
    assert MarketCalendar(extended=True).sessions("AAPL").on("2020-03-12") == nyse_session(
        "2020-03-12",
        "04:00",
        "20:00",
    )


def test_the_symbols_of_a_market_share_its_sessions() -> None:
    calendar: Calendar = MarketCalendar()
    assert calendar.sessions("AAPL") is calendar.sessions("MSFT")
    assert calendar.sessions("BTC/USD") is calendar.sessions("ETH/USD")


# Loading


def test_a_replay_may_go_back_to_1990_after_today_was_asked_for() -> None:
    sessions = ExchangeSessions()
    assert sessions.at(new_york("2026-01-02 12:00")) == nyse_session("2026-01-02")
    assert sessions.at(new_york("1990-01-02 12:00")) == nyse_session("1990-01-02")
    assert sessions.latest(new_york("1990-01-01 12:00")) == nyse_session("1989-12-29")


def test_a_replay_may_begin_in_1990() -> None:
    sessions = ExchangeSessions()
    assert sessions.upcoming(new_york("1990-01-01 12:00")) == nyse_session("1990-01-02")
    assert sessions.at(new_york("2026-01-02 12:00")) == nyse_session("2026-01-02")


def test_a_daemon_may_run_for_forty_years() -> None:
    sessions = ExchangeSessions()
    opened = [sessions.at(new_york(f"{year}-12-27 12:00")) for year in (2023, 2030, 2034, 2044, 2063)]
    assert opened == [
        nyse_session("2023-12-27"),
        nyse_session("2030-12-27"),
        nyse_session("2034-12-27"),
        nyse_session("2044-12-27"),
        nyse_session("2063-12-27"),
    ]


def test_the_year_does_not_end_at_the_last_loaded_session() -> None:
    sessions = ExchangeSessions()
    sessions.on("2020-03-12")  # loads 2010 to 2030
    assert sessions.upcoming(new_york("2030-12-31 12:00")) == nyse_session("2031-01-02")
    assert sessions.latest(new_york("2010-01-01 12:00")) == nyse_session("2009-12-31")


def test_years_that_are_loaded_stay_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = ExchangeSessions()
    sessions.on("2026-01-02")
    sessions.on("1990-01-02")
    monkeypatch.delattr(exchange_calendars, "get_calendar")
    assert sessions.on("2026-01-02") == nyse_session("2026-01-02")
    assert sessions.on("2005-01-03") == nyse_session("2005-01-03")


def test_what_was_asked_before_changes_no_answer() -> None:
    travelled = ExchangeSessions()
    travelled.on("2150-06-01")
    travelled.on("1975-06-02")
    fresh = ExchangeSessions()
    assert [travelled.on(day) for day in days_of(2020)] == [fresh.on(day) for day in days_of(2020)]


def test_todays_date_is_never_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_calendar: object) -> NoReturn:
        message = "the library took its own bounds, which it counts from today"
        raise AssertionError(message)

    monkeypatch.setattr(XNYSExchangeCalendar, "default_start", refuse)
    monkeypatch.setattr(XNYSExchangeCalendar, "default_end", refuse)
    with pytest.raises(AssertionError):
        exchange_calendars.get_calendar("XNYS")
    # A year that no other test asks for: the library keeps the last calendar it made.
    assert ExchangeSessions().on("2077-03-12") == nyse_session("2077-03-12")


def loaded_by(program: str) -> str:
    """Run a program in a new interpreter and say which heavy libraries it has loaded."""
    watch = "; import sys; print(*({'exchange_calendars', 'numpy', 'pandas'} & set(sys.modules)))"
    command = [sys.executable, "-c", "from mrdaemon.calendar import MarketCalendar" + program + watch]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


def test_the_heavy_libraries_are_not_loaded_for_a_life_of_today() -> None:
    assert loaded_by("; MarketCalendar().sessions('BTC/USD').at(0); MarketCalendar().sessions('AAPL')") == ""
    assert loaded_by("; MarketCalendar().sessions('AAPL').on('2026-03-12')") == ""


def test_they_are_for_a_year_that_is_not_kept() -> None:
    assert "pandas" in loaded_by("; MarketCalendar().sessions('AAPL').on('1985-03-12')")


# What is kept of the library's days


def test_what_is_kept_is_what_the_library_works_out() -> None:
    assert nyse_days.FILE.read_text(encoding="utf-8") == nyse_days.written(nyse_days.worked_out())
    kept = nyse.sessions(nyse_days.FIRST, nyse_days.LAST)
    assert kept == from_library("XNYS", nyse_days.FIRST, nyse_days.LAST)


@pytest.mark.parametrize(("first", "last"), [(1989, 2000), (2070, 2081), (1970, 2200)])
def test_other_years_are_the_librarys(first: int, last: int) -> None:
    assert nyse.sessions(first, last) is None


def test_what_another_release_says_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrdaemon.nyse.version", lambda _: "4.99")
    assert nyse.sessions(2016, 2036) is None
    assert ExchangeSessions().on("2021-03-12") == nyse_session("2021-03-12")


# The edges of what is known


def test_1975_and_2200_are_known() -> None:
    assert NYSE.at(new_york("1975-06-02 12:00")) == nyse_session("1975-06-02")
    assert NYSE.on("1975-12-25") is None
    assert NYSE.at(new_york("2200-06-02 12:00")) == nyse_session("2200-06-02")
    assert NYSE.on("2200-12-25") is None


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (Instant(-1), "1969-12-31T23:59:59.999999999Z"),
        (Instant(0), "1970-01-01T00:00:00Z"),
        (utc("1929-10-29T15:00:00"), "1929-10-29T15:00:00Z"),
        (utc("2201-01-02T15:00:00"), "2201-01-02T15:00:00Z"),
        (Instant(9 * 10**18), "2255-03-14T16:00:00Z"),
        (NEVER, "2262-04-11T23:47:16.854775807Z"),
    ],
)
def test_an_instant_outside_the_known_years_is_refused_by_name(now: Instant, text: str) -> None:
    expected = (
        f"^XNYS: no session is known at {text}: the calendar has the years 1970 to 2200;"
        " check the clock, or the unit of the timestamp$"
    )
    with pytest.raises(CalendarError, match=expected):
        NYSE.at(now)
    with pytest.raises(CalendarError, match=expected):
        NYSE.latest(now)
    with pytest.raises(CalendarError, match=expected):
        NYSE.upcoming(now)


def test_nothing_is_loaded_yet_and_the_end_of_time_is_refused_all_the_same() -> None:
    with pytest.raises(CalendarError, match="no session is known at 2262-04-11"):
        ExchangeSessions().at(NEVER)


def test_there_is_no_latest_session_before_the_first_one() -> None:
    opens = new_york("1970-01-02 09:30")
    assert NYSE.latest(opens) == nyse_session("1970-01-02")
    with pytest.raises(CalendarError, match=r"XNYS: no session is known at 1970-01-02T14:29:59\.999999999Z"):
        NYSE.latest(before(opens))


def test_there_is_no_upcoming_session_after_the_last_one() -> None:
    last = new_york("2200-12-31 09:30")
    assert NYSE.upcoming(before(last)) == nyse_session("2200-12-31")
    with pytest.raises(CalendarError, match="XNYS: no session is known after 2200-12-31T14:30:00Z"):
        NYSE.upcoming(last)


def test_the_last_extended_session_is_open_until_it_closes() -> None:
    sessions = ExchangeSessions(extended=True)
    closes = utc("2201-01-01T01:00:00")
    assert sessions.at(closes) == nyse_session("2200-12-31", "04:00", "20:00")
    with pytest.raises(CalendarError, match=r"no session is known at 2201-01-01T01:00:00\.000000001Z"):
        sessions.at(after(closes))


@pytest.mark.parametrize("day", ["1969-12-31", "2201-01-01"])
def test_a_day_outside_the_known_years_is_refused_by_name(day: str) -> None:
    with pytest.raises(CalendarError, match=f"XNYS: no session is known on {day}"):
        NYSE.on(day)


@pytest.mark.parametrize("day", ["yesterday", "2020-02-30", ""])
@pytest.mark.parametrize("sessions", [NYSE, CRYPTO])
def test_a_text_that_is_no_date_is_refused(sessions: Sessions, day: str) -> None:
    with pytest.raises(CalendarError, match=f"^'{day}' is not a date: write it as 2020-03-12$"):
        sessions.on(day)


def test_an_unknown_exchange_is_refused_at_the_first_look_up() -> None:
    sessions = ExchangeSessions("NOPE")
    with pytest.raises(CalendarError, match=r"NOPE: no calendar for the years 2010 to 2030: .* does not exist"):
        sessions.on("2020-03-12")


def test_an_exchange_whose_own_calendar_ends_sooner_is_refused() -> None:
    sessions = ExchangeSessions("XSAU")
    with pytest.raises(CalendarError, match=r"XSAU: no calendar for the years 2016 to 2036: .*2021-01-01"):
        sessions.on("2026-03-12")


# What holds at any instant

PATIENT = settings(deadline=None)  # whichever example comes first loads 230 years
anytime = st.integers(utc("1970-01-06T15:00:00"), utc("2200-12-30T15:00:00"))


@st.composite
def instants(draw: st.DrawFn) -> Instant:
    """Draw any instant of the known years; every other one within a nanosecond of a session's end."""
    now = Instant(draw(anytime))
    session = draw(st.sampled_from(MARKETS)).latest(now)
    end = draw(st.sampled_from([session.opens, session.closes]))
    return draw(st.sampled_from([now, Instant(end + draw(st.integers(-1, 1)))]))


@pytest.mark.parametrize("sessions", MARKETS)
@PATIENT
@given(now=instants())
def test_the_latest_and_the_upcoming_session_enclose_the_instant(sessions: Sessions, now: Instant) -> None:
    assert sessions.latest(now).opens <= now < sessions.upcoming(now).opens


@pytest.mark.parametrize("sessions", MARKETS)
@PATIENT
@given(now=instants())
def test_nothing_opens_between_the_latest_and_the_upcoming_session(sessions: Sessions, now: Instant) -> None:
    latest, upcoming = sessions.latest(now), sessions.upcoming(now)
    assert sessions.upcoming(latest.opens) == upcoming
    assert sessions.latest(before(upcoming.opens)) == latest
    assert latest.closes < upcoming.opens


@pytest.mark.parametrize("sessions", MARKETS)
@PATIENT
@given(now=instants())
def test_the_open_session_is_the_latest_one_until_it_closes(sessions: Sessions, now: Instant) -> None:
    latest = sessions.latest(now)
    assert sessions.at(now) == (latest if now <= latest.closes else None)


@pytest.mark.parametrize("sessions", MARKETS)
@PATIENT
@given(now=instants())
def test_a_session_is_found_by_its_own_date(sessions: Sessions, now: Instant) -> None:
    latest = sessions.latest(now)
    assert sessions.on(latest.day) == latest


@pytest.mark.parametrize("sessions", [NYSE, EXTENDED])
@PATIENT
@given(now=instants())
def test_a_stock_session_lies_within_its_new_york_date(sessions: Sessions, now: Instant) -> None:
    day, opens, closes = sessions.latest(now)
    zone = ZoneInfo("America/New_York")
    assert datetime.fromtimestamp(opens // SECOND, zone).date().isoformat() == day
    assert datetime.fromtimestamp(closes // SECOND, zone).date().isoformat() == day
