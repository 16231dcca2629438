"""Every price seen, for those who ask later: trades, quotes and bars by symbol and time."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from mrdaemon.core.instant import Instant
from mrdaemon.core.prints import Bar, Print, Quote, Trade
from mrdaemon.simulator.timeframe import Timeframe

_SLACK: Final = 1.25
"""How far a history grows beyond what is kept before its beginning is cut off."""


class TapeTrade(msgspec.Struct, frozen=True, gc=False):
    """A trade on the tape; a bar that was seen is one trade, with the bar's extent."""

    at: Instant
    price: float
    size: float
    id: int
    conditions: Sequence[str] = "@"
    bar: Bar | None = None


class TapeQuote(msgspec.Struct, frozen=True, gc=False):
    """A quote on the tape."""

    at: Instant
    bid: float
    ask: float


class TapeBar(msgspec.Struct, frozen=True, gc=False):
    """A bar made of the tape's trades; ``at`` is its beginning."""

    at: Instant
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int
    average: float


class _Dated(Protocol):
    @property
    def at(self) -> Instant: ...


_One = TypeVar("_One", bound=_Dated)
_at = attrgetter("at")


class _History(Generic[_One]):
    """Things in the order of their time, the oldest of them forgotten."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._all: list[_One] = []

    def add(self, one: _One) -> None:
        """Put one in its place: nearly always at the end."""
        if self._all and one.at < self._all[-1].at:
            self._all.insert(bisect_right(self._all, one.at, key=_at), one)
        else:
            self._all.append(one)
        if len(self._all) > self._kept * _SLACK:
            del self._all[: -self._kept]

    def newest(self) -> _One | None:
        """Give the last one."""
        return self._all[-1] if self._all else None

    def between(self, start: Instant, end: Instant) -> Sequence[_One]:
        """Give those of a span, both ends inclusive."""
        return self._all[bisect_left(self._all, start, key=_at) : bisect_right(self._all, end, key=_at)]


class Tape:
    """The prices of every symbol, the newest of them bounded in number."""

    def __init__(self, kept: int = 100_000) -> None:
        """Begin an empty tape that keeps so many trades, and as many quotes, of each symbol."""
        self._kept = kept
        self._trades: dict[str, _History[TapeTrade]] = {}
        self._quotes: dict[str, _History[TapeQuote]] = {}
        self._numbered = 0

    def record(self, batch: Sequence[Print]) -> None:
        """Take prices in. What is no number is left out: JSON has no word for it."""
        for symbol, price, at, quote, trade in batch:
            if quote is not None and _finite(quote):
                history = self._quotes.setdefault(symbol, _History(self._kept))
                history.add(TapeQuote(at, quote.bid, quote.ask))
            if trade is not None and math.isfinite(price):
                self._numbered += 1
                traded = self._trades.setdefault(symbol, _History(self._kept))
                traded.add(_trade(price, at, trade, self._numbered))

    def latest_trade(self, symbol: str) -> TapeTrade | None:
        """Give the newest trade of a symbol."""
        history = self._trades.get(symbol)
        return None if history is None else history.newest()

    def latest_quote(self, symbol: str) -> TapeQuote | None:
        """Give the newest quote of a symbol."""
        history = self._quotes.get(symbol)
        return None if history is None else history.newest()

    def trades(self, symbol: str, start: Instant, end: Instant) -> Sequence[TapeTrade]:
        """Give the trades of a span, both ends inclusive, oldest first."""
        history = self._trades.get(symbol)
        return [] if history is None else history.between(start, end)

    def quotes(self, symbol: str, start: Instant, end: Instant) -> Sequence[TapeQuote]:
        """Give the quotes of a span, both ends inclusive, oldest first."""
        history = self._quotes.get(symbol)
        return [] if history is None else history.between(start, end)

    def bars(self, symbol: str, start: Instant, end: Instant, timeframe: str = "1Min") -> Sequence[TapeBar]:
        """Give the bars that begin in a span, both ends inclusive, oldest first.

        Raises:
            TimeframeError: the text is no timeframe.
        """
        frame = Timeframe.read(timeframe)
        utc = "/" in symbol
        # Both bars at the ends are whole: the first is looked for from its beginning, the last to its end.
        last = frame.beginning(end, utc=utc)
        trades = self.trades(symbol, frame.beginning(start, utc=utc), frame.end(last, utc=utc))
        grouped: dict[Instant, list[TapeTrade]] = {}
        for trade in trades:
            # A bar's print is dated at its end, which is the next bar's beginning.
            moment = trade.at if trade.bar is None else Instant(trade.at - 1)
            grouped.setdefault(frame.beginning(moment, utc=utc), []).append(trade)
        return [_bar(at, grouped[at]) for at in sorted(grouped) if start <= at <= end]


def _trade(price: float, at: Instant, trade: Trade | Bar, number: int) -> TapeTrade:
    if isinstance(trade, Bar):
        return TapeTrade(at, price, trade.volume, number, bar=trade)
    return TapeTrade(at, price, trade.size or 1.0, trade.id or number, trade.conditions or "@")


def _finite(quote: Quote) -> bool:
    return math.isfinite(quote.bid) and math.isfinite(quote.ask)


def _bar(at: Instant, trades: Sequence[TapeTrade]) -> TapeBar:
    first, last = trades[0], trades[-1]
    volume = sum(trade.size for trade in trades)
    worth = sum(trade.size * trade.price for trade in trades)
    return TapeBar(
        at=at,
        open=first.price if first.bar is None else first.bar.open,
        high=max(trade.price if trade.bar is None else trade.bar.high for trade in trades),
        low=min(trade.price if trade.bar is None else trade.bar.low for trade in trades),
        close=last.price,
        volume=volume,
        trades=len(trades),
        average=worth / volume if volume else last.price,
    )
