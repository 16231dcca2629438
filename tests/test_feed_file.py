"""Recorded files as a feed: formats, timestamps, refused rows, order, restart, pace."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mrdaemon.core.instant import DAY, HOUR, MINUTE, SECOND, Instant, from_datetime, iso, parse
from mrdaemon.core.prints import PLAIN_TRADE, Bar, Print, Quote, Trade
from mrdaemon.core.sessions import Session
from mrdaemon.feeds import FeedError
from mrdaemon.feeds.file import FileFeed, RowProblem, parse_bar, parse_speed, symbol_from_name

NEW_YORK = ZoneInfo("America/New_York")


class StockSessions:
    """09:30 to 16:00 in New York from Monday to Friday, in the years 2000 to 2030; no holidays."""

    def at(self, now: Instant) -> Session | None:
        session = self.latest(now)
        return session if now <= session.closes else None

    def regular(self, now: Instant) -> bool:
        message = f"a file feed asks for no regular hours, but asked at {now}"
        raise AssertionError(message)

    def regular_opening(self, now: Instant) -> Instant:
        message = f"a file feed asks for no regular hours, but asked at {now}"
        raise AssertionError(message)

    def upcoming(self, now: Instant) -> Session:
        message = f"a file feed asks for no session to come, but asked at {now}"
        raise AssertionError(message)

    def latest(self, now: Instant) -> Session:
        day = datetime.fromtimestamp(now / SECOND, UTC).date() + timedelta(days=1)
        while (session := self.on(day.isoformat())) is None or session.opens > now:
            day -= timedelta(days=1)
        return session

    def on(self, day: str) -> Session | None:
        midnight = datetime.fromisoformat(day).replace(tzinfo=NEW_YORK)
        if not 2000 <= midnight.year <= 2030:
            raise ValueError("the calendar knows the years 2000 to 2030")
        if midnight.weekday() > 4:
            return None
        return Session(
            day, from_datetime(midnight.replace(hour=9, minute=30)), from_datetime(midnight.replace(hour=16))
        )


class CryptoSessions(StockSessions):
    """UTC days."""

    def latest(self, now: Instant) -> Session:
        return Session("", Instant(now // DAY * DAY), Instant(now // DAY * DAY + DAY - 1))

    def on(self, day: str) -> Session | None:
        return self.latest(from_datetime(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)))


class Markets:
    """Pairs are crypto."""

    stocks, crypto = StockSessions(), CryptoSessions()

    def sessions(self, symbol: str) -> StockSessions:
        return self.crypto if "/" in symbol else self.stocks


class Replay:
    """A feed over files, with all that came out of it."""

    def __init__(self, *files: Path, **settings: object) -> None:
        self.problems: list[RowProblem] = []
        self.observed: list[list[Print]] = []
        self.cursors: list[int | None] = []
        self.prints: list[Print] = []
        known: dict[str, object] = {
            "calendar": Markets(),
            "newest": at("2024-01-01T00:00:00Z"),
            "report": self.problems.append,
            "observe": lambda batch: self.observed.append(list(batch)),
        }
        self.feed = FileFeed(files, **(known | settings))  # type: ignore[arg-type]

    async def deliver(self, batch: Sequence[Print], cursor: int | None) -> None:
        self.prints.extend(batch)
        self.cursors.append(cursor)

    def run(self) -> Replay:
        asyncio.run(self.feed.run(self.deliver))
        return self

    @property
    def seen(self) -> list[tuple[str, float]]:
        return [(symbol, price) for symbol, price, *_ in self.prints]

    @property
    def times(self) -> list[str]:
        return [iso(moment) for _, _, moment, *_ in self.prints]

    @property
    def refusals(self) -> list[str]:
        return [f"{problem.line}: {problem.what}" for problem in self.problems]


def at(text: str) -> Instant:
    moment = parse(text)
    assert not isinstance(moment, datetime)
    return moment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def csv_file(folder: Path, text: str | bytes, name: str = "recorded.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def ticks(folder: Path, *rows: str, name: str = "ticks.csv", header: str = "timestamp,symbol,price") -> Path:
    return csv_file(folder, "\n".join([header, *rows]) + "\n", name)


def bars(folder: Path, *rows: str, name: str = "AAPL.csv", header: str = "timestamp,open,high,low,close") -> Path:
    return csv_file(folder, "\n".join([header, *rows]) + "\n", name)


GOOD = "2020-03-12T15:00:00Z,AAPL,100"
LATER = "2020-03-12T16:00:00Z,AAPL,101"
QUOTED = "timestamp,symbol,price,size,conditions,bid,ask"

# Formats


def test_a_tick_is_a_plain_trade(folder: Path) -> None:
    replay = Replay(ticks(folder, GOOD)).run()
    assert replay.prints == [("AAPL", 100.0, at("2020-03-12T15:00:00Z"), None, PLAIN_TRADE)]


def test_a_tick_carries_its_size_conditions_and_quote(folder: Path) -> None:
    row = '2020-03-12T15:00:00Z,AAPL,100.5,20,"@, F;I|T",100.4,100.6'
    replay = Replay(ticks(folder, row, header=QUOTED)).run()
    assert replay.prints == [
        ("AAPL", 100.5, at("2020-03-12T15:00:00Z"), Quote(100.4, 100.6), Trade(conditions="@FIT", size=20.0))
    ]


def test_a_row_without_price_but_with_both_sides_is_a_quote(folder: Path) -> None:
    replay = Replay(ticks(folder, "2020-03-12T15:00:00Z,AAPL, ,,,100,101", header=QUOTED)).run()
    assert replay.prints == [("AAPL", 100.5, at("2020-03-12T15:00:00Z"), Quote(100.0, 101.0), None)]


@pytest.mark.parametrize("sides", ["0,101", ",101", "100,", "100,0", ",", "0,0"])
def test_a_one_sided_quote_beside_a_price_is_no_quote(folder: Path, sides: str) -> None:
    replay = Replay(ticks(folder, f"2020-03-12T15:00:00Z,AAPL,100,,,{sides}", header=QUOTED)).run()
    assert replay.prints == [("AAPL", 100.0, at("2020-03-12T15:00:00Z"), None, PLAIN_TRADE)]


def test_a_crossed_quote_beside_a_price_is_no_quote_and_no_fault(folder: Path) -> None:
    replay = Replay(ticks(folder, "2020-03-12T15:00:00Z,AAPL,100,,,101,99", header=QUOTED)).run()
    assert replay.prints == [("AAPL", 100.0, at("2020-03-12T15:00:00Z"), None, PLAIN_TRADE)]
    assert replay.problems == []


def test_a_locked_quote_is_a_quote(folder: Path) -> None:
    replay = Replay(ticks(folder, "2020-03-12T15:00:00Z,AAPL,100,,,100,100", header=QUOTED)).run()
    assert replay.prints[0][3] == Quote(100.0, 100.0)


@pytest.mark.parametrize("sides", ["0,101", ",", "101,99"])
def test_a_row_without_price_and_without_a_usable_quote_is_refused(folder: Path, sides: str) -> None:
    row = f"2020-03-12T15:00:00Z,AAPL,,,,{sides}"
    replay = Replay(ticks(folder, "2020-03-12T15:00:00Z,AAPL,100,,,,", row, header=QUOTED)).run()
    assert replay.refusals == ["3: neither a price nor a two-sided quote"]


def test_a_bid_column_without_an_ask_column_gives_no_quote(folder: Path) -> None:
    row = "2020-03-12T15:00:00Z,AAPL,100,99"
    replay = Replay(ticks(folder, row, header="timestamp,symbol,price,bid")).run()
    assert replay.prints[0][3:] == (None, PLAIN_TRADE)


def test_a_bar_prints_its_close(folder: Path) -> None:
    path = bars(folder, "2020-03-12,1,4,0.5,3,1000,MSFT", header="timestamp,open,high,low,close,volume,symbol")
    replay = Replay(path).run()
    assert replay.prints == [("MSFT", 3.0, at("2020-03-12T20:00:00Z"), None, Bar(1.0, 4.0, 0.5, 3.0, 1000.0))]


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("AAPL.csv", "AAPL"), ("BTC-USD.csv", "BTC-USD"), ("BRK.B.csv", "BRK.B"), ("SPY.CSV.GZ", "SPY")],
)
def test_a_bars_file_without_a_symbol_column_takes_its_symbol_from_its_name(name: str, symbol: str) -> None:
    assert symbol_from_name(Path("data") / name) == symbol


def test_the_symbol_of_a_bars_file_can_be_given(folder: Path) -> None:
    path = bars(folder, "2020-03-14,1,1,1,1", name="BTC-USD.csv")
    replay = Replay(path, symbol=lambda file: file.stem.replace("-", "/")).run()
    assert replay.prints[0][:3] == ("BTC/USD", 1.0, at("2020-03-14T23:59:59.999999999Z"))


def test_a_bars_file_whose_name_is_no_symbol_is_an_error(folder: Path) -> None:
    path = bars(folder, "2020-03-12,1,1,1,1", name="my old prices.csv")
    with pytest.raises(FeedError, match="no symbol column, and the file's name gives none"):
        Replay(path).run()


@pytest.mark.parametrize("name", ["timestamp", "date", "datetime", "time", " Date ", "TIME"])
def test_the_timestamp_has_many_names(folder: Path, name: str) -> None:
    replay = Replay(bars(folder, "2020-03-12,1,1,1,1", header=f"{name},open,high,low,close")).run()
    assert replay.times == ["2020-03-12T20:00:00Z"]


def test_columns_come_in_any_order_and_case_and_unknown_ones_are_ignored(folder: Path) -> None:
    header = "Adj Close,Close,Low,High,Open,vwap,n,trade_count,,Date"
    replay = Replay(bars(folder, "x,3,1,4,2,x,x,x,Nestlé,2020-03-12", header=header)).run()
    assert replay.prints[0][4] == Bar(2.0, 4.0, 1.0, 3.0)


def test_a_byte_order_mark_and_blank_lines_and_any_line_end_are_read(folder: Path) -> None:
    text = f"\ufeff\r\n timestamp , symbol , price \r\n\r\n{GOOD}\r\n   \r\n{LATER}\r"
    assert Replay(csv_file(folder, text)).run().seen == [("AAPL", 100.0), ("AAPL", 101.0)]


def test_blanks_around_fields_are_allowed(folder: Path) -> None:
    replay = Replay(ticks(folder, " 2020-03-12T15:00:00Z , AAPL , 100 ")).run()
    assert replay.seen == [("AAPL", 100.0)]


def test_a_gzip_file_is_read(folder: Path) -> None:
    path = csv_file(folder, gzip.compress(b"\xef\xbb\xbfdate,open,high,low,close\n2020-03-12,1,1,1,1\n"), "AAPL.csv.gz")
    assert Replay(path).run().seen == [("AAPL", 1.0)]


# Files that are errors


@pytest.mark.parametrize("header", ["a,b,c", "timestamp,symbol", "timestamp,open,high,low", "symbol,price", "a\0,\x1b"])
def test_a_header_that_is_neither_kind_says_what_was_got_and_wanted(folder: Path, header: str) -> None:
    with pytest.raises(
        FeedError, match=r"bad\.csv: the header is neither ticks nor bars \(got .*; wanted timestamp,sy"
    ):
        Replay(ticks(folder, GOOD), ticks(folder, GOOD, name="bad.csv", header=header)).run()


def test_a_header_of_both_kinds_is_an_error(folder: Path) -> None:
    with pytest.raises(FeedError, match="is both ticks and bars"):
        Replay(ticks(folder, header="timestamp,symbol,price,open,high,low,close")).run()


def test_a_date_and_a_time_column_together_are_an_error(folder: Path) -> None:
    with pytest.raises(FeedError, match="two columns for the timestamp, date and time"):
        Replay(bars(folder, header="date,time,open,high,low,close")).run()


def test_a_utf_16_file_is_an_error(folder: Path) -> None:
    with pytest.raises(FeedError, match="neither ticks nor bars"):
        Replay(csv_file(folder, f"timestamp,symbol,price\n{GOOD}\n".encode("utf-16"))).run()


def test_no_file_is_an_error() -> None:
    with pytest.raises(FeedError, match="no file"):
        Replay()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("empty.csv", b"", "the file is empty"),
        ("blank.csv", b"\n\n \n", "the file is empty"),
        ("plain.csv.gz", b"timestamp,symbol,price\n", "cannot be read"),
        ("quote.csv", b'"timestamp', "no header: row is not CSV"),
        ("header.csv", b"oh,no\n", "neither ticks nor bars"),
    ],
)
def test_a_bad_file_is_an_error_before_anything_is_delivered(folder: Path, name: str, content: bytes, why: str) -> None:
    replay = Replay(ticks(folder, GOOD), csv_file(folder, content, name))
    with pytest.raises(FeedError, match=why):
        replay.run()
    assert replay.prints == []


def test_a_missing_file_and_a_folder_are_errors_before_anything_is_delivered(folder: Path) -> None:
    for path in (folder / "missing.csv", folder):
        replay = Replay(ticks(folder, GOOD), path)
        with pytest.raises(FeedError, match="cannot be opened: "):
            replay.run()
        assert replay.prints == []


def test_a_file_without_a_usable_row_is_an_error_that_names_the_first_refusal(folder: Path) -> None:
    path = ticks(folder, "2020-03-12T15:00:00Z,AAPL,x", "2020-03-12T15:00:00Z,AAPL,y")
    with pytest.raises(FeedError, match=r"ticks\.csv: no usable row \(2 refused; first: line 2: price is not a number"):
        Replay(path).run()


def test_a_file_with_only_a_header_has_no_usable_row(folder: Path) -> None:
    with pytest.raises(FeedError, match=r"no usable row \(0 refused\)"):
        Replay(ticks(folder)).run()


def test_a_cut_gzip_file_delivers_what_it_holds_and_then_is_an_error(folder: Path) -> None:
    rows = "".join(f"2020-03-12T15:00:00Z,S{i * 7919 % 10007},{i + 1}\n" for i in range(5000))
    packed = gzip.compress(f"timestamp,symbol,price\n2020-03-11T15:00:00Z,A,1\n{rows}".encode())
    replay = Replay(csv_file(folder, packed[: len(packed) // 2], "cut.csv.gz"))
    with pytest.raises(FeedError, match=r"cut\.csv\.gz: cannot be read beyond line \d+"):
        replay.run()
    assert replay.seen == [("A", 1.0)]


def test_a_damaged_gzip_file_is_an_error(folder: Path) -> None:
    packed = gzip.compress(f"timestamp,symbol,price\n{GOOD}\n".encode())
    with pytest.raises(FeedError, match=r"damaged\.csv\.gz: cannot be read beyond line 0"):
        Replay(csv_file(folder, packed[:10] + b"\xff" * 20 + packed[30:], "damaged.csv.gz")).run()


def test_an_unknown_timezone_is_an_error(folder: Path) -> None:
    for name in ("Mars/Olympus", "../etc", ""):
        with pytest.raises(FeedError, match="timezone is not known"):
            Replay(ticks(folder, GOOD), timezone=name)


# Timestamps


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2020-03-12T15:00:00Z", "2020-03-12T15:00:00Z"),
        ("2020-03-12T11:00:00-04:00", "2020-03-12T15:00:00Z"),
        ("2020-03-12 11:00:00-0400", "2020-03-12T15:00:00Z"),
        ("2020-03-12 11:00-04", "2020-03-12T15:00:00Z"),
        ("2020-03-12T15:00:01.5Z", "2020-03-12T15:00:01.500Z"),
        ("2020-03-12T15:00:59.123456789Z", "2020-03-12T15:00:59.123456789Z"),
    ],
)
def test_a_timestamp_with_offset_keeps_its_nanoseconds(folder: Path, text: str, instant: str) -> None:
    assert Replay(ticks(folder, f"{text},AAPL,1")).run().times == [instant]


def test_timestamps_of_one_minute_are_told_apart(folder: Path) -> None:
    stamps = ["2020-03-12T15:00:01Z", "2020-03-12T15:00:02.000000001Z", "2020-03-12T15:01:02Z", "2020-03-12T16:01:02Z"]
    assert Replay(ticks(folder, *(f"{stamp},AAPL,1" for stamp in stamps))).run().times == stamps


def test_a_date_counts_at_the_close_of_its_session(folder: Path) -> None:
    replay = Replay(ticks(folder, "2020-03-06,AAPL,1", "2020-03-06,BTC/USD,2", "2020-03-09,AAPL,3")).run()
    # 16:00 in New York is 21:00 UTC before the clocks change on March 8, and 20:00 after it.
    assert replay.times == ["2020-03-06T21:00:00Z", "2020-03-06T23:59:59.999999999Z", "2020-03-09T20:00:00Z"]


def test_one_date_may_list_its_markets_in_any_order(folder: Path) -> None:
    replay = Replay(ticks(folder, "2020-03-12,BTC/USD,1", "2020-03-12,AAPL,2", "2020-03-12,ETH/USD,3")).run()
    assert replay.seen == [("AAPL", 2.0), ("BTC/USD", 1.0), ("ETH/USD", 3.0)]
    assert replay.problems == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2020-03-14", "2020-03-14 is not a trading day"),
        ("2020-02-30", "timestamp has no session: day is out of range for month"),
        ("1999-03-12", "timestamp has no session: the calendar knows the years 2000 to 2030"),
        ("1583996400", "timestamp is not ISO 8601; wanted e.g. 2020-03-12T15:30:00Z or 2020-03-12"),
        ("1583996400000000000", "timestamp is not ISO 8601; wanted e.g. 2020-03-12T15:30:00Z or 2020-03-12"),
        ("20200312", "timestamp is not ISO 8601; wanted e.g. 2020-03-12T15:30:00Z or 2020-03-12"),
        ("03/12/2020", "timestamp is not ISO 8601; wanted e.g. 2020-03-12T15:30:00Z or 2020-03-12"),
        ("", "timestamp is not ISO 8601; wanted e.g. 2020-03-12T15:30:00Z or 2020-03-12"),
        (
            "2020-03-12T15:00:00.1234567891Z",
            "timestamp is not ISO 8601; wanted e.g. 2020-03-12T15:30:00Z or 2020-03-12",
        ),
        ("２０２０-03-12T15:00:00Z", "timestamp is not ISO 8601; wanted e.g. 2020-03-12T15:30:00Z or 2020-03-12"),
        ("2020-03-12T25:00:00Z", "timestamp is not a date and time: hour must be in 0..23"),
        ("1969-12-31T23:59:59Z", "timestamp is before 1970"),
        (
            "2020-03-12T15:00:00",
            'timestamp has no offset: set the feed\'s timezone, e.g. timezone = "America/New_York"',
        ),
    ],
)
def test_a_timestamp_that_names_no_instant_is_refused(folder: Path, text: str, why: str) -> None:
    replay = Replay(ticks(folder, f"{text},AAPL,1", GOOD)).run()
    assert replay.refusals == [f"2: {why}"]
    assert replay.seen == [("AAPL", 100.0)]


def test_a_local_time_is_placed_in_the_timezone(folder: Path) -> None:
    path = ticks(folder, "2020-03-06 10:00:00,AAPL,1", "2020-03-12T10:00:00.000000001,AAPL,2")
    replay = Replay(path, timezone="America/New_York").run()
    # datetimes have microseconds: a nanosecond counts even so.
    assert replay.times == ["2020-03-06T15:00:00Z", "2020-03-12T14:00:00.000000001Z"]


def test_a_local_time_that_the_clocks_skip_is_refused(folder: Path) -> None:
    path = ticks(folder, "2020-03-08T01:59:59,AAPL,1", "2020-03-08T02:30:00,AAPL,2", "2020-03-08T03:00:00,AAPL,3")
    replay = Replay(path, timezone="America/New_York").run()
    assert replay.refusals == ["3: timestamp does not exist in America/New_York: the clocks skip it"]
    assert replay.times == ["2020-03-08T06:59:59Z", "2020-03-08T07:00:00Z"]


def test_a_local_time_that_comes_twice_is_refused_unless_it_carries_its_offset(folder: Path) -> None:
    path = ticks(
        folder, "2020-11-01T01:30:00,AAPL,1", "2020-11-01T01:30:00-04:00,AAPL,2", "2020-11-01T01:30:00-05:00,A,3"
    )
    replay = Replay(path, timezone="America/New_York").run()
    assert replay.refusals == ["2: timestamp comes twice in America/New_York, as the clocks go back: write its offset"]
    assert replay.times == ["2020-11-01T05:30:00Z", "2020-11-01T06:30:00Z"]


@pytest.mark.parametrize(
    ("length", "start", "known"),
    [
        ("5m", "2020-03-12T15:00:00Z", "2020-03-12T15:05:00Z"),
        ("1m", "2020-03-12T19:59:00Z", "2020-03-12T20:00:00Z"),  # the session's last minute ends with it
        ("1h", "2020-03-12T19:30:00Z", "2020-03-12T20:00:00Z"),  # the last bar outlasts its session
        ("1h", "2020-03-12T20:00:00Z", "2020-03-12T21:00:00Z"),  # after hours
        ("5m", "2020-03-12T13:25:00Z", "2020-03-12T13:30:00Z"),  # before hours, up to the opening
        ("1h", "2020-03-12T13:00:00Z", "2020-03-12T14:00:00Z"),  # over the opening
        ("1d", "2020-03-12T04:00:00Z", "2020-03-12T20:00:00Z"),  # Alpaca stamps a day with New York's midnight
        ("1d", "2020-03-12T13:30:00Z", "2020-03-12T20:00:00Z"),  # others stamp it with the opening
        ("1w", "2020-03-09T04:00:00Z", "2020-03-13T20:00:00Z"),
        ("1d", "2020-03-12", "2020-03-12T20:00:00Z"),  # a date is a day's close, whatever the bar
    ],
)
def test_a_bar_counts_when_it_is_known(folder: Path, length: str, start: str, known: str) -> None:
    assert Replay(bars(folder, f"{start},1,1,1,1"), bar=parse_bar(length)).run().times == [known]


def test_a_crypto_bar_over_midnight_is_not_cut(folder: Path) -> None:
    path = bars(folder, "2020-03-12T23:30:00Z,1,1,1,1,BTC/USD", header="timestamp,open,high,low,close,symbol")
    assert Replay(path, bar=HOUR).run().times == ["2020-03-13T00:30:00Z"]


def test_without_a_length_a_bar_counts_at_its_timestamp(folder: Path) -> None:
    assert Replay(bars(folder, "2020-03-12T15:00:00Z,1,1,1,1")).run().times == ["2020-03-12T15:00:00Z"]


def test_a_bar_beyond_the_calendar_is_refused(folder: Path) -> None:
    path = bars(folder, "1999-03-12T15:00:00Z,1,1,1,1", "2020-03-12T15:00:00Z,1,1,1,1")
    replay = Replay(path, bar=MINUTE).run()
    assert replay.refusals == ["2: timestamp has no session: the calendar knows the years 2000 to 2030"]


# Refused rows


@pytest.mark.parametrize(
    ("price", "why"),
    [
        ("nan", "price is not a number"),
        ("inf", "price is not a number"),
        ("-inf", "price is not a number"),
        ("1e999", "price is not a number"),
        ("", "price is not a number"),
        ("abc", "price is not a number"),
        ("1_000", "price is not a number"),
        ("0x64", "price is not a number"),
        ("１００", "price is not a number"),
        ("$100", "price is not a number"),
        ("0", "price is zero"),
        ("-0.0", "price is zero"),
        ("-1", "price is negative"),
        ("10000000.01", "price is above 10,000,000, where nothing trades"),
    ],
)
def test_a_price_that_is_none_is_refused(folder: Path, price: str, why: str) -> None:
    replay = Replay(ticks(folder, GOOD, f"2020-03-12T15:30:00Z,AAPL,{price}", LATER)).run()
    assert replay.refusals == [f"3: {why}"]
    assert replay.seen == [("AAPL", 100.0), ("AAPL", 101.0)]
    assert (replay.feed.delivered, replay.feed.refused) == (2, 1)


def test_the_highest_price_is_accepted(folder: Path) -> None:
    assert Replay(ticks(folder, "2020-03-12T15:00:00Z,AAPL,10000000")).run().seen == [("AAPL", 10_000_000.0)]


@pytest.mark.parametrize(
    ("ohlc", "why"),
    [
        ("2,1,3,2", "low 3.0 is above high 1.0"),
        ("2,3,1,4", "close 4.0 is outside low 1.0 to high 3.0"),
        ("2,3,1,0.5", "close 0.5 is outside low 1.0 to high 3.0"),
        ("0,3,1,2", "open is zero"),
        ("2,nan,1,2", "high is not a number"),
        ("2,3,-1,2", "low is negative"),
        ("2,3,1,", "close is not a number"),
    ],
)
def test_a_bar_that_contradicts_itself_is_refused(folder: Path, ohlc: str, why: str) -> None:
    replay = Replay(bars(folder, "2020-03-12,2,3,1,2", f"2020-03-13,{ohlc}")).run()
    assert replay.refusals == [f"3: {why}"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("2020-03-12T15:00:00Z,AAPL,1,-5,,,", "size is negative"),
        ("2020-03-12T15:00:00Z,AAPL,1,nan,,,", "size is not a number"),
        ("2020-03-12T15:00:00Z,AAPL,1,inf,,,", "size is not a number"),
        ("2020-03-12T15:00:00Z,AAPL,1,,,x,2", "bid is not a number"),
        ("2020-03-12T15:00:00Z,AAPL,1,,,1,-2", "ask is negative"),
        ("2020-03-12T15:00:00Z,AAPL,1,,,1,10000001", "ask is above 10,000,000, where nothing trades"),
        ("2020-03-12T15:00:00Z,,1,,,,", "symbol is empty"),
        ("2020-03-12T15:00:00Z, ,1,,,,", "symbol is empty"),
        ("2020-03-12T15:00:00Z,AA PL,1,,,,", "symbol is not one word of at most 32 characters"),
        (f"2020-03-12T15:00:00Z,{'A' * 33},1,,,,", "symbol is not one word of at most 32 characters"),
        ("2020-03-12T15:00:00Z,AAPL,1", "row has 3 fields, the header 7"),
        ("2020-03-12T15:00:00Z,AAPL,1,,,,,", "row has 8 fields, the header 7"),
        ("x", "row has 1 fields, the header 7"),
        ('2020-03-12T15:00:00Z,"AA"PL,1,,,,', "row is not CSV: ',' expected after '\"'"),
        ("2020-03-12T15:00:00Z,AAPL\0,1,,,,", "row holds NUL bytes"),
    ],
)
def test_a_row_that_is_not_what_its_columns_want_is_refused(folder: Path, row: str, why: str) -> None:
    good = "2020-03-12T15:00:00Z,AAPL,100,,,,"
    replay = Replay(ticks(folder, good, row, good, header=QUOTED)).run()
    assert replay.refusals == [f"3: {why}"]
    assert replay.seen == [("AAPL", 100.0), ("AAPL", 100.0)]


def test_bytes_that_are_not_utf_8_spoil_their_row_only(folder: Path) -> None:
    content = f"timestamp,symbol,price,note\n{GOOD},\n{GOOD},\xff\n{GOOD},é\n".encode("latin-1").replace(
        b"\xe9", b"\xc3\xa9"
    )
    replay = Replay(csv_file(folder, content)).run()
    assert replay.refusals == ["3: row is not UTF-8"]
    assert "\\udcff" in str(replay.problems[0])


def test_a_row_that_goes_back_in_time_is_refused(folder: Path) -> None:
    path = ticks(folder, "2020-01-03T15:00:00Z,A,1", "2020-01-02T15:00:00Z,A,2", "2020-01-03T15:00:00Z,A,3")
    replay = Replay(path).run()
    assert replay.refusals == ["3: goes back in time: 2020-01-02T15:00:00Z after 2020-01-03T15:00:00Z"]
    assert replay.seen == [("A", 1.0), ("A", 3.0)]


def test_a_date_written_again_later_goes_back_in_time(folder: Path) -> None:
    rows = ("2020-03-11,AAPL,1", "2020-03-12,BTC/USD,1", "2020-03-12T22:00:00Z,AAPL,2", "2020-03-13,AAPL,3")
    path = ticks(folder, *rows)
    assert Replay(path).run().refusals == ["4: goes back in time: 2020-03-12T22:00:00Z after 2020-03-12"]


def test_a_file_grouped_by_symbol_is_put_in_time_order(folder: Path) -> None:
    path = ticks(
        folder,
        "2020-03-12T15:00:00Z,SPY,1",
        "2020-03-12T15:00:10Z,SPY,2",
        "2020-03-12T15:00:20Z,SPY,3",
        "2020-03-12T15:00:00Z,IWM,4",
        "2020-03-12T15:00:10Z,IWM,5",
        "2020-03-12T15:00:05Z,IWM,6",
    )
    replay = Replay(path).run()
    assert replay.seen == [("IWM", 4.0), ("SPY", 1.0), ("IWM", 5.0), ("SPY", 2.0), ("SPY", 3.0)]
    assert replay.refusals == ["7: goes back in time: 2020-03-12T15:00:05Z after 2020-03-12T15:00:10Z"]


def test_no_row_of_a_date_may_fall_behind_what_came_before_the_date(folder: Path) -> None:
    path = ticks(folder, "2020-03-12T22:00:00Z,AAPL,1", "2020-03-12,BTC/USD,2", "2020-03-12,AAPL,3")
    assert Replay(path).run().refusals == ["4: goes back in time: 2020-03-12 after 2020-03-12"]


def test_a_timestamp_must_not_fall_behind_any_market_of_the_date_before_it(folder: Path) -> None:
    path = ticks(folder, "2020-03-12,AAPL,1", "2020-03-12,BTC/USD,2", "2020-03-12T22:00:00Z,AAPL,3")
    assert Replay(path).run().refusals == ["4: goes back in time: 2020-03-12T22:00:00Z after 2020-03-12"]


def test_a_refused_row_does_not_move_the_time(folder: Path) -> None:
    path = ticks(folder, "2020-03-12T18:00:00Z,AAPL,nan", GOOD)
    assert Replay(path).run().seen == [("AAPL", 100.0)]


def test_a_row_more_than_a_day_in_the_future_is_refused(folder: Path) -> None:
    path = ticks(folder, "2020-03-13T12:00:00Z,AAPL,1", "2020-03-13T12:00:00.000000001Z,AAPL,2")
    replay = Replay(path, newest=at("2020-03-12T12:00:00Z")).run()
    assert replay.refusals == ["3: timestamp is in the future"]
    assert replay.seen == [("AAPL", 1.0)]


def test_a_line_number_is_where_the_row_begins_in_the_file(folder: Path) -> None:
    header = "timestamp,symbol,price,note"
    path = ticks(
        folder, f'{GOOD},"two\nlines"', "", f'{GOOD.replace("100", "x")},"two\nlines"', f"{GOOD},", header=header
    )
    assert Replay(path).run().refusals == ["5: price is not a number"]


def test_a_problem_reads_as_file_line_what_and_got() -> None:
    problem = RowProblem("data/a.csv", 7, "price is not a number", "12x")
    assert str(problem) == "data/a.csv:7: price is not a number (got 12x)"


def test_a_problem_shortens_what_it_got_and_makes_it_printable() -> None:
    assert str(RowProblem("a.csv", 7, "odd", "x" * 100)) == f"a.csv:7: odd (got {'x' * 79}…)"
    assert str(RowProblem("a.csv", 7, "odd", "a\n\x1b\udcff")) == "a.csv:7: odd (got a\\n\\x1b\\udcff)"
    assert str(RowProblem("a.csv", 7, "odd", "\0" * 100)).count("\\x00") == 19
    assert str(RowProblem("a.csv", 7, "odd", "")) == "a.csv:7: odd (got nothing)"


def test_a_problem_names_its_file(folder: Path) -> None:
    path = ticks(folder, GOOD, "x")
    assert Replay(path).run().problems == [RowProblem(str(path), 3, "row has 1 fields, the header 3", "x")]


# Order


def test_files_are_merged_in_time_order_then_by_symbol_then_by_file(folder: Path) -> None:
    first = ticks(
        folder,
        "2020-03-12T15:00:00Z,MSFT,1",
        "2020-03-12T15:00:00Z,AAPL,2",
        "2020-03-12T15:00:02Z,AAPL,3",
        name="1.csv",
    )
    second = ticks(
        folder, "2020-03-12T15:00:00Z,AAPL,4", "2020-03-12T15:00:00Z,GOOG,5", "2020-03-12T15:00:01Z,ZZZ,6", name="2.csv"
    )
    assert [price for _, price in Replay(first, second).run().seen] == [2, 4, 5, 1, 6, 3]
    assert [price for _, price in Replay(second, first).run().seen] == [4, 2, 5, 1, 6, 3]


def test_files_may_begin_in_any_order(folder: Path) -> None:
    days = ["2020-03-12", "2020-03-10", "2020-03-11", "2020-03-09"]
    paths = [ticks(folder, f"{day},AAPL,1", "2020-03-13,AAPL,2", name=f"{day}.csv") for day in days]
    assert [time[:10] for time in Replay(*paths).run().times] == [*sorted(days), *["2020-03-13"] * 4]


def test_rows_of_one_symbol_and_timestamp_keep_the_order_of_their_file(folder: Path) -> None:
    stamp = "2020-03-12T15:00:00Z"
    path = ticks(folder, f"{stamp},B,3", f"{stamp},A,2", "2020-03-12T11:00:00-04:00,B,1", f"{stamp},A,9")
    assert Replay(path).run().seen == [("A", 2.0), ("A", 9.0), ("B", 3.0), ("B", 1.0)]


def test_each_row_is_delivered_alone_with_its_cursor(folder: Path) -> None:
    batches: list[tuple[int, int | None]] = []

    async def deliver(batch: Sequence[Print], cursor: int | None) -> None:
        batches.append((len(batch), cursor))

    replay = Replay(ticks(folder, GOOD, "x", LATER))
    asyncio.run(replay.feed.run(deliver))
    assert batches == [(1, 1), (1, 2)]
    assert replay.feed.lockstep


def test_files_are_read_only_as_far_as_their_rows_are_taken(folder: Path) -> None:
    replay = Replay(ticks(folder, GOOD, LATER, "2020-03-12T17:00:00Z,AAPL,102", "x"))
    problems_at: list[int] = []

    async def deliver(batch: Sequence[Print], cursor: int | None) -> None:
        problems_at.append(len(replay.problems))

    asyncio.run(replay.feed.run(deliver))
    assert problems_at == [0, 0, 1]


# Restart


def test_a_restart_observes_what_was_delivered_and_goes_on(folder: Path) -> None:
    path = ticks(folder, *(f"2020-03-12T15:00:{second:02}Z,AAPL,{second + 1}" for second in range(10)))
    whole = Replay(path).run()
    replay = Replay(path, start=4).run()
    assert replay.observed == [whole.prints[:4]]
    assert replay.prints == whole.prints[4:]
    assert replay.cursors == [5, 6, 7, 8, 9, 10]
    assert replay.feed.delivered == 10


def test_a_restart_observes_in_batches(folder: Path) -> None:
    path = ticks(folder, *[GOOD] * 5000)
    replay = Replay(path, start=4999).run()
    assert [len(batch) for batch in replay.observed] == [4096, 903]
    assert replay.cursors == [5000]


@pytest.mark.parametrize("start", range(6))
def test_problems_reported_before_a_restart_are_not_reported_again(folder: Path, start: int) -> None:
    path = ticks(folder, *[f"2020-03-12T15:00:0{second}Z,AAPL,{price}" for second in range(5) for price in ("1", "x")])
    first = Replay(path)

    async def deliver_until_the_crash(batch: Sequence[Print], cursor: int | None) -> None:
        if cursor == start:
            raise KeyboardInterrupt

    if start:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(first.feed.run(deliver_until_the_crash))
    second = Replay(path, start=start).run()
    assert first.problems + second.problems == Replay(path).run().problems
    assert second.feed.refused == 5


def test_a_restart_at_the_end_delivers_nothing(folder: Path) -> None:
    replay = Replay(ticks(folder, GOOD, LATER), start=2).run()
    assert (len(replay.observed[0]), replay.prints) == (2, [])


def test_a_restart_beyond_the_end_is_an_error(folder: Path) -> None:
    with pytest.raises(FeedError, match="hold 2 usable rows, fewer than the 3 that were read before"):
        Replay(ticks(folder, GOOD, LATER), start=3).run()


def test_a_feed_can_run_again(folder: Path) -> None:
    replay = Replay(ticks(folder, GOOD, "x")).run().run()
    assert (replay.cursors, replay.feed.delivered, replay.feed.refused) == ([1, 1], 1, 1)


# Pace


class Clock:
    """Seconds that pass only while something sleeps or works."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def paced(folder: Path, clock: Clock, *seconds: int, **more: object) -> Replay:
    path = ticks(folder, *(f"2020-03-12T15:00:{second:02}Z,AAPL,1" for second in seconds))
    return Replay(path, speed=2.0, sleep=clock.sleep, clock=clock, **more)


def test_a_paced_replay_sleeps_for_the_recorded_time_divided_by_the_speed(folder: Path) -> None:
    clock = Clock()
    paced(folder, clock, 0, 10, 10, 30).run()
    assert clock.slept == pytest.approx([5.0, 10.0])


def test_a_paced_replay_catches_up_when_delivering_took_longer(folder: Path) -> None:
    clock = Clock()
    replay = paced(folder, clock, 0, 10, 20, 30)

    async def work(batch: Sequence[Print], cursor: int | None) -> None:
        clock.now += 12.0 if cursor == 1 else 0.0

    asyncio.run(replay.feed.run(work))
    assert clock.slept == pytest.approx([3.0])


def test_a_paced_restart_goes_on_at_once(folder: Path) -> None:
    clock = Clock()
    paced(folder, clock, 0, 20, 30, start=1).run()
    assert clock.slept == pytest.approx([5.0])


def test_an_unpaced_replay_never_sleeps(folder: Path) -> None:
    clock = Clock()
    Replay(ticks(folder, GOOD, LATER), sleep=clock.sleep, clock=clock).run()
    assert clock.slept == []


@pytest.mark.parametrize("row", [GOOD, "x"])
@pytest.mark.parametrize("start", [0, 100_000])
def test_a_stop_is_handled_while_rows_are_delivered_observed_or_refused(folder: Path, row: str, start: int) -> None:
    replay = Replay(ticks(folder, GOOD, LATER.replace("101", "x"), *[row] * 10_000, LATER), start=start)

    async def stop_early() -> None:
        running = asyncio.create_task(replay.feed.run(replay.deliver))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(stop_early())
    assert replay.feed.delivered + replay.feed.refused < 5000


# Settings


@pytest.mark.parametrize(
    ("text", "speed"), [("max", None), (" MAX ", None), ("1x", 1.0), ("100x", 100.0), ("2.5x", 2.5), ("0.5X", 0.5)]
)
def test_a_speed_is_read(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize(
    "text", ["", "x", "100", "0x", "-1x", "1e3x", "nanx", "infx", "1_0x", "fast", "1xx", "9" * 400 + "x"]
)
def test_a_text_that_is_no_speed_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="wanted a speed such as max, 1x or 100x, got"):
        parse_speed(text)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30s", 30 * SECOND),
        ("1m", MINUTE),
        ("5m", 5 * MINUTE),
        ("1h", HOUR),
        ("1d", DAY),
        ("1w", 7 * DAY),
        (" 15M ", 15 * MINUTE),
    ],
)
def test_the_length_of_a_bar_is_read(text: str, length: int) -> None:
    assert parse_bar(text) == length


@pytest.mark.parametrize("text", ["", "m", "5", "0m", "-5m", "1.5h", "5min", "1y", "1_0m", "99999m"])
def test_a_text_that_is_no_length_of_a_bar_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="wanted the length of a bar such as"):
        parse_bar(text)


# Anything at all

_FIELDS = st.sampled_from(
    [
        "2020-03-12",
        "2020-03-12T15:00:00Z",
        "2020-03-12T15:00",
        "0001-01-01T00:00+23:59",
        "9999-12-31T23:59-23:59",
        "0000-00-00",
        *("AAPL", "BTC/USD", "1", "1e308", "-1", "nan", '"', '"\n"', "\0", "\udcff", "é", "", "\r"),
    ]
)
_ROWS = st.lists(st.lists(_FIELDS, min_size=1, max_size=7).map(",".join), max_size=6).map("\n".join)
_HEADERS = st.sampled_from(
    [QUOTED, "timestamp,symbol,price", "timestamp,open,high,low,close", "date,open,high,low,close,symbol"]
)
_CONTENT = st.one_of(
    st.binary(max_size=300),
    st.tuples(_HEADERS, st.binary(max_size=300)).map(lambda made: made[0].encode() + b"\n" + made[1]),
    st.tuples(_HEADERS, _ROWS).map(lambda made: "\n".join(made).encode("utf-8", "surrogateescape")),
)


@settings(deadline=None, max_examples=300)
@given(
    content=_CONTENT,
    packed=st.booleans(),
    cut=st.integers(0, 40),
    bar=st.sampled_from([None, MINUTE, DAY]),
    timezone=st.sampled_from([None, "America/New_York", "Asia/Kathmandu"]),
)
@example(content=b'timestamp,symbol,price\n"' + b"x" * 200_000, packed=False, cut=0, bar=None, timezone=None)
def test_any_bytes_give_prints_or_a_feed_error(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    packed: bool,
    cut: int,
    bar: int | None,
    timezone: str | None,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = csv_file(
        folder, gzip.compress(content)[: -cut or None] if packed else content, "A.csv.gz" if packed else "A.csv"
    )
    replay = Replay(path, bar=bar, timezone=timezone)
    with contextlib.suppress(FeedError):
        replay.run()
    assert all(str(problem).isprintable() for problem in replay.problems)
    assert all(symbol and 0 < price <= 1e7 and not math.isnan(price) for symbol, price in replay.seen)
    assert replay.times == sorted(replay.times, key=at)
