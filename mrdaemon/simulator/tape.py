"""Every price seen, for those who ask later: trades, quotes and bars by symbol and time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mrdaemon.core.instant import Instant
from mrdaemon.core.prints import Print


class TapeTrade(msgspec.Struct, frozen=True, gc=False):
    """A trade on the tape."""

    at: Instant
    price: float
    size: float
    id: int
    conditions: str = "@"


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


class Tape:
    """The prices of every symbol, the newest of them bounded in number."""

    def __init__(self, kept: int = 100_000) -> None:
        """Begin an empty tape that keeps so many trades, and as many quotes, of each symbol."""
        self._kept = kept

    def record(self, batch: Sequence[Print]) -> None:
        """Take prices in."""
        raise NotImplementedError

    def latest_trade(self, symbol: str) -> TapeTrade | None:
        """Give the newest trade of a symbol."""
        raise NotImplementedError

    def latest_quote(self, symbol: str) -> TapeQuote | None:
        """Give the newest quote of a symbol."""
        raise NotImplementedError

    def trades(self, symbol: str, start: Instant, end: Instant) -> Sequence[TapeTrade]:
        """Give the trades of a span, both ends inclusive, oldest first."""
        raise NotImplementedError

    def quotes(self, symbol: str, start: Instant, end: Instant) -> Sequence[TapeQuote]:
        """Give the quotes of a span, both ends inclusive, oldest first."""
        raise NotImplementedError

    def bars(self, symbol: str, start: Instant, end: Instant, timeframe: str = "1Min") -> Sequence[TapeBar]:
        """Give the bars that begin in a span, both ends inclusive, oldest first."""
        raise NotImplementedError
