"""What a row of a recorded price file says: one print, or what is wrong with it.

Nothing is guessed. A row that could mean two things is refused, because a wrong price or time may move money.
"""

from __future__ import annotations

import math
import re
import sys
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from mrdaemon.core.instant import SECOND, Instant, from_datetime, parse
from mrdaemon.core.prints import PLAIN_TRADE, Bar, Print, Quote, Trade, quote_print, trade_print
from mrdaemon.feeds import FeedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from zoneinfo import ZoneInfo

    from mrdaemon.core.sessions import Sessions

TICKS: Final = "timestamp,symbol,price[,size][,conditions][,bid][,ask]"
BARS: Final = "timestamp,open,high,low,close[,volume][,symbol]"
"""The two kinds of header, as a message shows them."""

HIGHEST_PRICE: Final = 10_000_000.0
"""Dollars; nothing trades above it. The dearest share, Berkshire Hathaway's A, is below a million."""

LONGEST_SYMBOL: Final = 32
"""Characters. An OCC option symbol, the longest in the field, has 21."""

_SHOWN: Final = 80
"""How many characters of a bad text a message shows."""

_TIMESTAMP_NAMES: Final = ("timestamp", "date", "datetime", "time")
_OPTIONAL: Final = ("symbol", "price", "size", "conditions", "bid", "ask", "open", "high", "low", "close", "volume")
_TICK_NAMES: Final = {"timestamp", "symbol", "price"}
_BAR_NAMES: Final = {"timestamp", "open", "high", "low", "close"}

_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DATE_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d)(?::([0-5]\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
_SEPARATORS: Final = re.compile(r"[,;|\s]+")


class MalformedRow(ValueError):  # noqa: N818 -- the row is at fault, and the row's reader goes on
    """A row that is refused: what is wrong with it, and the text that is at fault."""

    def __init__(self, what: str, got: str) -> None:
        """Say what is wrong, and with which text."""
        super().__init__(what)
        self.what = what
        self.got = got


class RowProblem(NamedTuple):
    """A refused row: where it is (the line on which it begins), what is wrong, and the text that is at fault."""

    file: str
    line: int
    what: str
    got: str

    def __str__(self) -> str:
        """Write it as ``file:line: what (got ...)``."""
        return f"{shown(self.file, None)}:{self.line}: {self.what} (got {shown(self.got)})"


def shown(text: str, longest: int | None = _SHOWN) -> str:
    """Make any text fit for a message: printable, and of at most ``longest`` characters."""
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    if not text.isprintable():
        # Control characters would garble a terminal; lone surrogates (undecodable bytes) cannot even be written.
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
        return shown(text, longest)
    return text or "nothing"


class TickColumns:
    """The columns of a tick file, and the print that a row of them makes: a trade, or a quote where no price is."""

    def __init__(self, places: Mapping[str, int]) -> None:
        """Take each column's place in the row."""
        self.timestamp = places["timestamp"]
        self.symbol: int | None = places["symbol"]
        self._price = places["price"]
        self._size = places.get("size")
        self._conditions = places.get("conditions")
        self._bid, self._ask = places.get("bid"), places.get("ask")
        self._plain = self._size is None and self._conditions is None and (self._bid is None or self._ask is None)

    def print_of(self, row: Sequence[str], symbol: str, at: Instant) -> Print:
        """Read a row's prices.

        Raises:
            MalformedRow: a field is not what its column wants.
        """
        text = row[self._price]
        if self._plain:
            return trade_print(symbol, _dollars(text, "price"), at)
        quote = self._quote(row)
        if text and not text.isspace():
            return trade_print(symbol, _dollars(text, "price"), at, self._trade(row), quote)
        if quote is None:
            what = "neither a price nor a two-sided quote"
            raise MalformedRow(what, ",".join(row))
        return quote_print(symbol, quote.bid, quote.ask, at)

    def _trade(self, row: Sequence[str]) -> Trade:
        size = 0.0 if self._size is None else _quantity(row[self._size], "size")
        conditions = "" if self._conditions is None else _codes(row[self._conditions])
        return Trade(conditions, size) if size or conditions else PLAIN_TRADE

    def _quote(self, row: Sequence[str]) -> Quote | None:
        """Give the quote in force. A one-sided or a crossed one says nothing of the price: it is no quote."""
        if self._bid is None or self._ask is None:
            return None
        bid = _quantity(row[self._bid], "bid", HIGHEST_PRICE)
        ask = _quantity(row[self._ask], "ask", HIGHEST_PRICE)
        return Quote(bid, ask) if 0 < bid <= ask else None


class BarColumns:
    """The columns of a bars file, and the print that a row of them makes: the bar's close."""

    def __init__(self, places: Mapping[str, int]) -> None:
        """Take each column's place in the row; without a symbol column, the file is one symbol's."""
        self.timestamp = places["timestamp"]
        self.symbol = places.get("symbol")
        self._open, self._high = places["open"], places["high"]
        self._low, self._close = places["low"], places["close"]
        self._volume = places.get("volume")

    def print_of(self, row: Sequence[str], symbol: str, at: Instant) -> Print:
        """Read a row's bar.

        Raises:
            MalformedRow: a field is not what its column wants, or the bar contradicts itself.
        """
        bar = Bar(
            _dollars(row[self._open], "open"),
            _dollars(row[self._high], "high"),
            _dollars(row[self._low], "low"),
            _dollars(row[self._close], "close"),
            0.0 if self._volume is None else _quantity(row[self._volume], "volume"),
        )
        if bar.low > bar.high:
            what = f"low {bar.low} is above high {bar.high}"
            raise MalformedRow(what, ",".join(row))
        if not bar.low <= bar.close <= bar.high:
            what = f"close {bar.close} is outside low {bar.low} to high {bar.high}"
            raise MalformedRow(what, ",".join(row))
        return trade_print(symbol, bar.close, at, bar)


def columns_of(header: Sequence[str], file: str) -> TickColumns | BarColumns:
    """Tell by its header what a file holds; unknown columns are ignored.

    Raises:
        FeedError: the header is neither kind, both, or names a column twice.
    """
    names = [name.strip().lower() for name in header]
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        column = "timestamp" if name in _TIMESTAMP_NAMES else name
        if column != "timestamp" and column not in _OPTIONAL:
            continue
        if column in places:
            # A date and a time column, say: reading either alone would put every row at the wrong time.
            _refuse_header(file, header, f"has two columns for the {column}, {names[places[column]]} and {name}")
        places[column] = place
    ticks, bars = places.keys() >= _TICK_NAMES, places.keys() >= _BAR_NAMES
    if ticks == bars:
        _refuse_header(file, header, "is both ticks and bars" if ticks else "is neither ticks nor bars")
    return TickColumns(places) if ticks else BarColumns(places)


def _refuse_header(file: str, header: Sequence[str], why: str) -> None:
    message = f"{file}: the header {why} (got {shown(','.join(header), 400)}); wanted {TICKS} or {BARS}"
    raise FeedError(message)


def admit_symbol(symbol: str) -> str:
    """Pass a symbol that could be one.

    Raises:
        MalformedRow: it is empty, overlong, or holds blanks or control characters.
    """
    if not symbol:
        what = "symbol is empty"
        raise MalformedRow(what, symbol)
    if len(symbol) > LONGEST_SYMBOL or not symbol.isprintable() or " " in symbol:
        what = f"symbol is not one word of at most {LONGEST_SYMBOL} characters"
        raise MalformedRow(what, symbol)
    return symbol


class Timestamps:
    """Reads the timestamps of one file: ISO 8601 only, each placed at the instant from which its price is known."""

    def __init__(self, zone: ZoneInfo | None, bar: int | None) -> None:
        """Begin.

        Args:
            zone: where local times are, for timestamps without an offset; None refuses them.
            bar: the length in nanoseconds of bars that are stamped with their start; None takes stamps as they are.
        """
        self._zone = zone
        self._bar = bar
        # Rows come in runs: symbols share a timestamp, and timestamps share a minute.
        self._text = ""
        self._sessions: Sessions | None = None
        self._at = Instant(0)
        self._minute_text = ""
        self._minute = Instant(0)

    def read(self, text: str, sessions: Sessions) -> Instant:
        """Give the instant of a timestamp, for a symbol of a market with these sessions.

        Raises:
            MalformedRow: the text is no timestamp, or names no single instant.
        """
        if text != self._text or sessions is not self._sessions:
            self._at = self._place(text, sessions)
            self._text = text
            self._sessions = sessions
        return self._at

    def _place(self, text: str, sessions: Sessions) -> Instant:
        matched = _DATE_TIME.fullmatch(text)
        if matched is None:
            return _close_of(text, sessions)
        minute, seconds, fraction, offset = matched.groups()
        minute_text = minute + offset if offset else minute
        if minute_text != self._minute_text:
            self._minute = self._minute_at(minute_text)
            self._minute_text = minute_text
        at = self._minute
        if seconds:
            at = Instant(at + int(seconds) * SECOND)
        if fraction:
            at = Instant(at + int(fraction.ljust(9, "0")))
        return at if self._bar is None else _end_of_bar(at, self._bar, sessions)

    def _minute_at(self, text: str) -> Instant:
        try:
            moment = parse(text)
        except ValueError as error:
            what = f"timestamp is not a date and time: {error}"
            raise MalformedRow(what, text) from error
        return self._localized(moment, text) if isinstance(moment, datetime) else moment

    def _localized(self, moment: datetime, text: str) -> Instant:
        """Place a local time in the zone, where it names exactly one instant."""
        if self._zone is None:
            what = 'timestamp has no offset: set the feed\'s timezone, e.g. timezone = "America/New_York"'
            raise MalformedRow(what, text)
        moment = moment.replace(tzinfo=self._zone)
        # PEP 495: fold 0 takes the offset before a change of the clocks, fold 1 the one after it.
        before, after = moment.utcoffset(), moment.replace(fold=1).utcoffset()
        if before is not None and after is not None and before != after:
            if before < after:
                what = f"timestamp does not exist in {self._zone.key}: the clocks skip it"
            else:
                what = f"timestamp comes twice in {self._zone.key}, as the clocks go back: write its offset"
            raise MalformedRow(what, text)
        return from_datetime(moment)


def _close_of(text: str, sessions: Sessions) -> Instant:
    """Give the close of a date's session: that is when a daily bar is known."""
    if not _DAY.fullmatch(text):
        what = "timestamp is not ISO 8601; wanted e.g. 2020-03-12T15:30:00Z or 2020-03-12"
        raise MalformedRow(what, text)
    try:
        session = sessions.on(text)
    except ValueError as error:  # of the calendar: no date, or one beyond the years it knows
        what = f"timestamp has no session: {error}"
        raise MalformedRow(what, text) from error
    if session is None:
        what = f"{text} is not a trading day"
        raise MalformedRow(what, text)
    return session.closes


def _end_of_bar(start: Instant, bar: int, sessions: Sessions) -> Instant:
    """Give the instant from which a bar's close is known: its end, or the close of the session it reaches into.

    The last bar of a day may outlast its session, and a daily bar that begins at midnight (as Alpaca's do) always
    does; at its nominal end the market is shut and its price would never count.
    """
    end = Instant(start + bar)
    try:
        closes = sessions.latest(Instant(end - 1)).closes
    except ValueError as error:  # of the calendar: a time beyond the years it knows
        what = f"timestamp has no session: {error}"
        raise MalformedRow(what, str(start)) from error
    return min(end, closes) if closes > start else end


def _dollars(text: str, name: str) -> float:
    """Read a price."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if 0 < number <= HIGHEST_PRICE and _is_plain(text):
        return number
    raise MalformedRow(_fault(text, name, number), text)


def _quantity(text: str, name: str, most: float = sys.float_info.max) -> float:
    """Read a size, a volume or a side of a quote; an empty one is unknown or absent, which zero says."""
    try:
        number = float(text)
    except ValueError:
        if not text or text.isspace():
            return 0.0
        number = math.nan
    if 0 <= number <= most and _is_plain(text):
        return number
    raise MalformedRow(_fault(text, name, number), text)


def _is_plain(text: str) -> bool:
    """Refuse what Python's float reads and a price file never means: 1_000, and the digits of other scripts."""
    return "_" not in text and text.isascii()


def _fault(text: str, name: str, number: float) -> str:
    if not math.isfinite(number) or not _is_plain(text):
        return f"{name} is not a number"
    if number > 0:
        return f"{name} is above {HIGHEST_PRICE:,.0f}, where nothing trades"
    return f"{name} is negative" if number < 0 else f"{name} is zero"


@lru_cache(maxsize=1024)
def _codes(text: str) -> str:
    """Take the separators out of sale conditions; few different ones come, over and over."""
    return _SEPARATORS.sub("", text)
