"""Recorded files as a feed: rows of several CSV files, merged in time order, at a chosen speed.

The order is a function of the files alone, so a replay is deterministic and a cursor (the number of usable rows so
far) finds its place again after a restart. Files are read as they are needed, never whole.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import re
import time
import zlib
from contextlib import ExitStack, contextmanager
from heapq import heapify, heappop, heapreplace
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mrdaemon.core.instant import DAY, HOUR, MINUTE, SECOND, Instant
from mrdaemon.feeds import FeedError
from mrdaemon.feeds.csvrows import BARS, TICKS, MalformedRow, RowProblem, Timestamps, admit_symbol, columns_of, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
    from typing import TextIO

    from mrdaemon.core.prints import Print
    from mrdaemon.core.sessions import Calendar, Sessions
    from mrdaemon.feeds import Deliver

__all__ = ["FileFeed", "RowProblem", "parse_bar", "parse_speed", "symbol_from_name"]

_TOO_NEW: Final = DAY
"""How far beyond now a row may lie. Today's daily bar counts at a close that is hours away, and zones differ."""

_BREATH: Final = 256
"""Rows between two looks at the event loop: about a millisecond, so that a stop signal is handled at once."""

_AHEAD: Final = 50_000
"""Rows that are read ahead to find out whether a file is grouped by symbol."""

_BATCH: Final = 4096
"""Rows handed to ``observe`` at once."""

_UNREADABLE: Final = (OSError, EOFError, zlib.error)
"""What reading a file raises; the last two come from a cut or damaged gzip file."""

_UNITS: Final = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_BAR: Final = re.compile(r"([1-9]\d{0,3})([smhdw])", re.ASCII)
_SPEED: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)x", re.ASCII)

_by_time_then_symbol: Final = itemgetter(2, 0)


def parse_speed(text: str) -> float | None:
    """Read a replay speed: ``max`` (None: as fast as possible), or times real time: ``1x``, ``100x``, ``2.5x``.

    Raises:
        ValueError: neither.
    """
    cleaned = text.strip().lower()
    if cleaned == "max":
        return None
    matched = _SPEED.fullmatch(cleaned)
    speed = float(matched[1]) if matched else 0.0
    if not speed:
        message = f"wanted a speed such as max, 1x or 100x, got {text!r}"
        raise ValueError(message)
    return speed


def parse_bar(text: str) -> int:
    """Read the length of a bar, ``1m``, ``5m``, ``1h`` or ``1d`` (units s, m, h, d, w), in nanoseconds.

    Raises:
        ValueError: none of these.
    """
    matched = _BAR.fullmatch(text.strip().lower())
    if not matched:
        message = f"wanted the length of a bar such as 1m, 5m, 1h or 1d, got {text!r}"
        raise ValueError(message)
    return int(matched[1]) * _UNITS[matched[2]]


def symbol_from_name(file: Path) -> str:
    """Take a file's symbol from its name: ``AAPL.csv`` and ``AAPL.csv.gz`` are AAPL's."""
    name = file.name
    return PurePath(name[:-3] if name.lower().endswith(".gz") else name).stem


class FileFeed:
    """Recorded files, row by row: each usable row is delivered as one print, and the next waits until it is taken.

    After or during a run, ``delivered`` is the cursor: the number of usable rows so far, with those that an earlier
    run delivered. ``refused`` counts the malformed rows that were read.
    """

    lockstep = True

    def __init__(  # noqa: PLR0913 -- one keyword for each setting of a replay, most with the usual default
        self,
        files: Sequence[Path],
        *,
        calendar: Calendar,
        newest: Instant,
        report: Callable[[RowProblem], None],
        timezone: str | None = None,
        bar: int | None = None,
        symbol: Callable[[Path], str] = symbol_from_name,
        speed: float | None = None,
        start: int = 0,
        observe: Callable[[Sequence[Print]], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up a replay; no file is opened yet.

        Args:
            files: the files, whose order decides between rows of one symbol at one timestamp.
            calendar: which sessions each symbol has; rows with a date only count at the close of its session.
            newest: wall time now. Rows more than a day later are refused.
            report: told of each refused row, once over all runs that go on from each other's cursor.
            timezone: the IANA name of the zone of timestamps without offset, which are refused without it.
            bar: the length in nanoseconds of bars that are stamped with their start. A row then counts at its bar's
                end, or at the close of the session that the bar reaches into. None takes timestamps as they stand.
            symbol: names the symbol of a bars file that has no symbol column.
            speed: times real time; None is as fast as possible.
            start: the cursor of an earlier run: so many usable rows are not delivered again.
            observe: is handed those rows instead, in batches, to learn the last prices from.
            sleep: waits so many seconds; only a replay with a speed does.
            clock: monotonic seconds, for the pace.

        Raises:
            FeedError: there is no file, or the timezone is unknown.
        """
        if not files:
            message = f"no file to read; wanted CSV files of {TICKS} or {BARS}"
            raise FeedError(message)
        self.delivered = 0
        self.refused = 0
        self._files = tuple(files)
        self.name = ", ".join(each.name for each in files)
        self._reading = _Reading(calendar, _zone(timezone), bar, Instant(newest + _TOO_NEW), symbol)
        self._report = report
        self._start = start
        self._observe = observe
        self._speed = speed
        self._sleep = sleep
        self._clock = clock

    def begins(self) -> Instant | None:
        """Give the time of the first usable row, without delivering or reporting anything; None where there is none.

        Raises:
            FeedError: as ``run`` does before it delivers.
        """
        with ExitStack() as opened:
            files = [opened.enter_context(_opened(path, self._reading, _ignore)) for path in self._files]
            return next((seen[2] for seen in _merged([file.prints() for file in files]) if seen is not None), None)

    async def run(self, deliver: Deliver) -> None:
        """Deliver every usable row in time order; at one timestamp by symbol, then as the files have them.

        Raises:
            FeedError: before anything is delivered, a file cannot be opened, is empty or has an unknown header; later,
                a file breaks off or ends without a usable row, or the files end before the cursor to start from.
        """
        self.delivered = self.refused = 0
        with ExitStack() as opened:
            files = [opened.enter_context(_opened(path, self._reading, self._refuse)) for path in self._files]
            rows = _merged([file.prints() for file in files])
            await self._warm_up(rows)
            await self._deliver_all(rows, deliver)

    async def _warm_up(self, rows: Iterator[Print | None]) -> None:
        """Hand over the rows that an earlier run delivered."""
        if not self._start:
            return
        batch: list[Print] = []
        for seen in rows:
            if seen is not None:
                batch.append(seen)
                self.delivered += 1
            if seen is None or len(batch) == _BATCH or self.delivered == self._start:
                if batch and self._observe is not None:
                    self._observe(batch)
                batch = []
                await asyncio.sleep(0)
                if self.delivered == self._start:
                    return
        message = (
            f"the files hold {self.delivered} usable rows, fewer than the {self._start} that were read before:"
            " these are not the same files"
        )
        raise FeedError(message)

    async def _deliver_all(self, rows: Iterator[Print | None], deliver: Deliver) -> None:
        pace = None if self._speed is None else _Pace(self._speed, self._sleep, self._clock)
        for seen in rows:
            if seen is None:
                await asyncio.sleep(0)
                continue
            if pace is not None:
                await pace.until(seen[2])
            self.delivered += 1
            await deliver([seen], self.delivered)
            if self.delivered % _BREATH == 0:
                await asyncio.sleep(0)

    def _refuse(self, problem: RowProblem) -> None:
        self.refused += 1
        # Files are read on demand, so the rows read before the cursor was reached are the same in every run: whoever
        # set the cursor has been told of them.
        if self.delivered >= self._start:
            self._report(problem)


def _ignore(_: RowProblem) -> None:
    """Leave a refused row to the run that will tell of it."""


class _Reading(NamedTuple):
    """How the rows of every file are to be read."""

    calendar: Calendar
    zone: ZoneInfo | None
    bar: int | None
    horizon: Instant
    """The last instant that a row may name."""
    symbol: Callable[[Path], str]


class _File:
    """One open file, past its header: its prints in time order, at one timestamp by symbol."""

    def __init__(self, path: Path, text: TextIO, reading: _Reading, refuse: Callable[[RowProblem], None]) -> None:
        self._name = shown(str(path), None)
        # Strict: a stray quote is a malformed row, where the reader would else make up a field.
        self._csv = csv.reader(text, strict=True)
        self._line = 0
        self._calendar = reading.calendar
        self._horizon = reading.horizon
        self._timestamps = Timestamps(reading.zone, reading.bar)
        self._refuse_row = refuse
        self._refused = 0
        self._first: RowProblem | None = None
        self._markets: dict[str, Sessions] = {}
        header = self._header()
        self._width = len(header)
        self._columns = columns_of(header, self._name)
        self._symbol = ""
        if self._columns.symbol is None:
            self._symbol = self._symbol_of(path, reading)

    def prints(self) -> Iterator[Print | None]:
        """Read the file. None, after many refused rows, says that it is still looking for the next print.

        Rows are expected in time order. Where a symbol begins before another has ended, the file is grouped by symbol:
        it is read whole and put in order.

        Raises:
            FeedError: the file breaks off, or has no usable row.
        """
        rows = self._rows()
        if self._columns.symbol is None:
            return self._streamed(rows)
        ahead, rest = _read_ahead(rows)
        return (self._sorted if _grouped(ahead) else self._streamed)(chain(ahead, rest))

    def _rows(self) -> Iterator[_Row | RowProblem]:
        while True:
            try:
                row = self._next_row()
                if row is None:
                    return
                yield _Row(self._line, *self._read(row))
            except MalformedRow as wrong:
                yield self._problem(self._line, wrong)

    def _streamed(self, rows: Iterable[_Row | RowProblem]) -> Iterator[Print | None]:
        """Give rows as they come, those of one timestamp by symbol."""
        order = _Order()
        group: list[Print] = []
        for row in rows:
            complete = False
            problem = row if isinstance(row, RowProblem) else None
            if isinstance(row, _Row):
                try:
                    complete = order.take(row.text, row.seen[2])
                except MalformedRow as wrong:
                    problem = self._problem(row.line, wrong)
            if problem is not None:
                self._refuse(problem)
                if self._refused % _BREATH == 0:
                    yield None
                continue
            if complete:
                if len(group) > 1:
                    group.sort(key=_by_time_then_symbol)
                yield from group
                group = []
            if isinstance(row, _Row):
                group.append(row.seen)
        self._expect(group)
        group.sort(key=_by_time_then_symbol)
        yield from group

    def _sorted(self, rows: Iterable[_Row | RowProblem]) -> Iterator[Print | None]:
        """Give the rows of a file that is grouped by symbol; each symbol's own must be in time order."""
        before: dict[str, _Row] = {}
        kept: list[Print] = []
        for row in rows:
            if isinstance(row, RowProblem):
                self._refuse(row)
                continue
            last = before.get(row.seen[0])
            if last is not None and row.seen[2] < last.seen[2]:
                what = f"goes back in time: {row.text} after {last.text}"
                self._refuse(self._problem(row.line, MalformedRow(what, row.text)))
                continue
            before[row.seen[0]] = row
            kept.append(row.seen)
        self._expect(kept)
        kept.sort(key=_by_time_then_symbol)
        yield from kept

    def _expect(self, prints: list[Print]) -> None:
        if not prints:
            first = f"; first: line {self._first.line}: {self._first.what}" if self._first else ""
            message = f"{self._name}: no usable row ({self._refused} refused{first})"
            raise FeedError(message)

    def _next_row(self) -> list[str] | None:
        """Give the next row that is not blank, or None at the end.

        Raises:
            MalformedRow: it is not CSV.
            FeedError: the file breaks off.
        """
        try:
            self._line = self._csv.line_num + 1
            for row in self._csv:
                if len(row) > 1 or (row and row[0].strip()):
                    return row
                self._line = self._csv.line_num + 1
        except csv.Error as error:
            what = f"row is not CSV: {error}"
            raise MalformedRow(what, "") from error
        except _UNREADABLE as error:
            message = f"{self._name}: cannot be read beyond line {self._csv.line_num}: {error}"
            raise FeedError(message) from error
        return None

    def _header(self) -> list[str]:
        try:
            header = self._next_row()
        except MalformedRow as wrong:
            message = f"{self._name}: no header: {wrong.what}; wanted {TICKS} or {BARS}"
            raise FeedError(message) from wrong
        if header is None:
            message = f"{self._name}: the file is empty; wanted {TICKS} or {BARS}"
            raise FeedError(message)
        return header

    def _read(self, row: list[str]) -> tuple[str, Print]:
        """Give a row's timestamp as it is written, and its print.

        Raises:
            MalformedRow: it has none.
        """
        if len(row) != self._width:
            what = f"row has {len(row)} fields, the header {self._width}"
            raise MalformedRow(what, ",".join(row))
        joined = "".join(row)
        if "\0" in joined or not joined.isascii():
            _check_text(joined)
        columns = self._columns
        symbol = self._symbol if columns.symbol is None else row[columns.symbol].strip()
        market = self._markets.get(symbol)
        if market is None:
            market = self._markets[symbol] = self._calendar.sessions(admit_symbol(symbol))
        text = row[columns.timestamp].strip()
        at = self._timestamps.read(text, market)
        if at > self._horizon:
            what = "timestamp is in the future"
            raise MalformedRow(what, text)
        if at < 0:
            what = "timestamp is before 1970"
            raise MalformedRow(what, text)
        return text, columns.print_of(row, symbol, at)

    def _symbol_of(self, path: Path, reading: _Reading) -> str:
        symbol = reading.symbol(path)
        try:
            return admit_symbol(symbol)
        except MalformedRow as wrong:
            message = f"{self._name}: no symbol column, and the file's name gives none: {wrong.what}"
            raise FeedError(message) from wrong

    def _problem(self, line: int, wrong: MalformedRow) -> RowProblem:
        return RowProblem(self._name, line, wrong.what, shown(wrong.got))

    def _refuse(self, problem: RowProblem) -> None:
        self._refused += 1
        self._first = self._first or problem
        self._refuse_row(problem)


class _Row(NamedTuple):
    """A row that is a print: its line, its timestamp as it is written, and the print."""

    line: int
    text: str
    seen: Print


def _read_ahead(rows: Iterator[_Row | RowProblem]) -> tuple[list[_Row | RowProblem], Iterator[_Row | RowProblem]]:
    """Read the first rows, and give the rest; a file that breaks off in between does so after what it held."""
    ahead: list[_Row | RowProblem] = []
    try:
        ahead.extend(islice(rows, _AHEAD))
    except FeedError as broken:
        return ahead, _breaking_off(broken)
    return ahead, rows


def _breaking_off(error: FeedError) -> Iterator[_Row | RowProblem]:
    yield from ()  # which makes it a generator: it breaks off when it is asked for a row
    raise error


def _grouped(rows: Iterable[_Row | RowProblem]) -> bool:
    """Tell whether a symbol begins before another has ended: the rows are grouped by symbol, not by time."""
    known: set[str] = set()
    latest = Instant(0)
    for row in rows:
        if isinstance(row, _Row):
            symbol, _, at, *_ = row.seen
            if at < latest and symbol not in known:
                return True
            known.add(symbol)
            latest = max(latest, at)
    return False


class _Order:
    """The time order within one file, and where a run of rows of one timestamp is complete."""

    def __init__(self) -> None:
        self._text = ""
        self._latest = Instant(0)
        self._settled = Instant(0)

    def take(self, text: str, at: Instant) -> bool:
        """Take the next row's timestamp, as written and as placed; tell whether the rows before it are complete.

        One date closes at different instants in different markets: rows of one timestamp may come in any order, as
        long as none falls behind the timestamps before it.

        Raises:
            MalformedRow: it goes back in time.
        """
        same = text == self._text
        if at < (self._settled if same else self._latest):
            what = f"goes back in time: {text} after {self._text}"
            raise MalformedRow(what, text)
        self._text = text
        if at == self._latest:
            return False
        if same:
            self._latest = max(at, self._latest)
            return False
        self._settled, self._latest = self._latest, at
        return True


@contextmanager
def _opened(path: Path, reading: _Reading, refuse: Callable[[RowProblem], None]) -> Iterator[_File]:
    """Open a file and read its header.

    Raises:
        FeedError: it cannot be opened, is empty, or has no header that is known.
    """
    try:
        text = _open_text(path)
    except OSError as error:
        message = f"{shown(str(path), None)}: cannot be opened: {error.strerror or error}"
        raise FeedError(message) from error
    with text:
        yield _File(path, text, reading, refuse)


def _open_text(path: Path) -> TextIO:
    # Undecodable bytes become lone surrogates, which spoil their row and not the file.
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _check_text(joined: str) -> None:
    """Refuse a row with bytes that are no text: a damaged file may be wrong where it still looks right.

    Raises:
        MalformedRow: it holds NUL, or bytes that are not UTF-8.
    """
    if "\0" in joined:
        what = "row holds NUL bytes"
        raise MalformedRow(what, joined)
    try:
        joined.encode()
    except UnicodeEncodeError as error:
        what = "row is not UTF-8"
        raise MalformedRow(what, joined) from error


def _merged(files: Sequence[Iterator[Print | None]]) -> Iterator[Print | None]:
    """Merge files in time order, then by symbol, then in the order given; pass on each None.

    Not heapq.merge, for that None: it could not be compared.
    """
    heads: list[tuple[Instant, str, int, Print]] = []
    for place, file in enumerate(files):
        for seen in file:
            if seen is not None:
                heads.append((seen[2], seen[0], place, seen))
                break
            yield None
    heapify(heads)
    while heads:
        _, _, place, first = heads[0]
        yield first
        if len(heads) == 1:  # nothing is left to compare the last file with
            yield from files[place]
            return
        for seen in files[place]:
            if seen is not None:
                heapreplace(heads, (seen[2], seen[0], place, seen))
                break
            yield None
        else:
            heappop(heads)


class _Pace:
    """Makes a recording last: recorded time, divided by the speed, from the first row on."""

    def __init__(self, speed: float, sleep: Callable[[float], Awaitable[None]], clock: Callable[[], float]) -> None:
        self._rate = speed * SECOND
        self._sleep = sleep
        self._clock = clock
        self._from: tuple[float, Instant] | None = None

    async def until(self, at: Instant) -> None:
        """Sleep until a row is due. Rows that are late come without a pause, until the recording has caught up."""
        if self._from is None:
            self._from = self._clock(), at
        began, first = self._from
        wait = began + (at - first) / self._rate - self._clock()
        if wait > 0:
            await self._sleep(wait)


def _zone(name: str | None) -> ZoneInfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"timezone is not known; wanted an IANA name such as America/New_York, got {name!r}"
        raise FeedError(message) from error
