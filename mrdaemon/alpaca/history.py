"""Prices from Alpaca's REST service: the newest of each symbol, and the trades since a moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from mrdaemon.alpaca.rest import Call, Rest
from mrdaemon.alpaca.trading import WireError, moment
from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.prints import Print, Trade, quote_print

AT_ONCE: Final = 100
"""Symbols in one request: their names must fit into an address."""
PAGE: Final = 10_000
"""Trades in one answer, Alpaca's most."""
PAGES: Final = 10
"""Answers that are read at most: a gap that is longer than that is not worth filling."""
LATEST_ONLY: Final = frozenset({"delayed_sip"})
"""Feeds of which the newest prices can be asked for, and no others (Alpaca: stock_historical_feed)."""


class Place(NamedTuple):
    """Where a market's prices are: the version of the service, its path, and the feed where there are several."""

    version: str
    path: str
    feed: str | None = None

    def latest(self, what: str) -> str:
        """Give the path of the newest trades or quotes."""
        return f"{self.path}/latest/{what}" if "crypto" in self.path else f"{self.path}/{what}/latest"


class _Trade(msgspec.Struct, gc=False):
    t: str
    p: float
    s: float = 0.0
    i: int = 0
    c: tuple[str, ...] | None = None


class _Quote(msgspec.Struct, gc=False):
    t: str
    bp: float = 0.0
    ap: float = 0.0


class _LatestTrades(msgspec.Struct):
    trades: dict[str, _Trade | None] = {}


class _LatestQuotes(msgspec.Struct):
    quotes: dict[str, _Quote | None] = {}


class _Trades(msgspec.Struct):
    trades: dict[str, list[_Trade] | None] | None = None
    next_page_token: str | None = None


class History:
    """Asks for the prices of one market."""

    def __init__(self, rest: Rest, place: Place) -> None:
        self._rest = rest
        self._place = place

    async def newest(self, symbols: Sequence[str]) -> list[Print]:
        """Give the newest trade and the newest quote of each symbol that has one, oldest first.

        Raises:
            AlpacaError: it is not known.
        """
        found: list[Print] = []
        for some in _portions(symbols):
            trades = await self._rest.look(self._call(self._place.latest("trades"), some), _LatestTrades)
            quotes = await self._rest.look(self._call(self._place.latest("quotes"), some), _LatestQuotes)
            found += [_trade(name, each) for name, each in trades.trades.items() if each is not None]
            found += [_quote(name, each) for name, each in quotes.quotes.items() if each is not None]
        return sorted(found, key=_when)

    async def trades(self, symbols: Sequence[str], since: Instant) -> list[Print]:
        """Give the trades of symbols from a moment on, oldest first; none of a feed that history does not have.

        Raises:
            AlpacaError: they are not known.
        """
        found: list[Print] = []
        if self._place.feed in LATEST_ONLY:
            return found
        for some in _portions(symbols):
            token: str | None = None
            for _ in range(PAGES):
                call = self._call(f"{self._place.path}/trades", some, start=iso(since), limit=PAGE, page_token=token)
                page = await self._rest.look(call, _Trades)
                for name, trades in (page.trades or {}).items():
                    found += [_trade(name, each) for each in trades or ()]
                token = page.next_page_token
                if token is None:
                    break
        return sorted(found, key=_when)

    def _call(self, path: str, symbols: Sequence[str], **more: str | int | None) -> Call:
        fields = {"symbols": ",".join(symbols), "feed": self._place.feed, **more}
        return Call("GET", path, fields, self._place.version, data=True)


def _portions(symbols: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(symbols), AT_ONCE):
        yield symbols[start : start + AT_ONCE]


def _trade(symbol: str, trade: _Trade) -> Print:
    return (symbol, trade.p, _moment(trade.t), None, Trade(trade.c, trade.s, trade.i))


def _quote(symbol: str, quote: _Quote) -> Print:
    return quote_print(symbol, quote.bp, quote.ap, _moment(quote.t))


def _moment(text: str) -> Instant:
    try:
        return moment(text)
    except WireError:
        return Instant(0)  # Older than anything: it counts for nothing.


def _when(seen: Print) -> tuple[Instant, str]:
    return seen[2], seen[0]
