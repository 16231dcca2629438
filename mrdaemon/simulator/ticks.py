"""Trades, quotes and bars as the market data service writes them, for stocks and for coins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mrdaemon.core.instant import iso
from mrdaemon.simulator.rules import Wire
from mrdaemon.simulator.tape import TapeBar, TapeQuote, TapeTrade

_TAPES: Final = {"NYSE": "A", "NASDAQ": "C"}
"""The consolidated tape of each listing exchange; all others report to B."""
_VENUE: Final = "V"
"""Where every trade of the simulated exchange happens: IEX."""


class StockTicks:
    """How stocks are written."""

    def __init__(self, listed_on: Callable[[str], str]) -> None:
        """Take who knows the listing exchange of each symbol."""
        self._listed_on = listed_on

    def trade(self, symbol: str, seen: TapeTrade) -> Wire:
        """Write a trade."""
        return {
            "c": list(seen.conditions),
            "i": seen.id,
            "p": seen.price,
            "s": round(seen.size),
            "t": iso(seen.at),
            "x": _VENUE,
            "z": self._tape(symbol),
        }

    def quote(self, symbol: str, seen: TapeQuote) -> Wire:
        """Write a quote; how much is bid and asked is not simulated."""
        return {
            "ap": seen.ask,
            "as": int(seen.ask > 0),
            "ax": _VENUE,
            "bp": seen.bid,
            "bs": int(seen.bid > 0),
            "bx": _VENUE,
            "c": ["R"],
            "t": iso(seen.at),
            "z": self._tape(symbol),
        }

    def bar(self, _: str, made: TapeBar) -> Wire:
        """Write a bar; its volume is whole shares."""
        return _bar(made) | {"v": round(made.volume)}

    def _tape(self, symbol: str) -> str:
        return _TAPES.get(self._listed_on(symbol), "B")


class CoinTicks:
    """How coin pairs are written."""

    def trade(self, _: str, seen: TapeTrade) -> Wire:
        """Write a trade; who took the other's order is not simulated."""
        return {"i": seen.id, "p": seen.price, "s": seen.size, "t": iso(seen.at), "tks": "B"}

    def quote(self, _: str, seen: TapeQuote) -> Wire:
        """Write a quote."""
        return {
            "ap": seen.ask,
            "as": float(seen.ask > 0),
            "bp": seen.bid,
            "bs": float(seen.bid > 0),
            "t": iso(seen.at),
        }

    def bar(self, _: str, made: TapeBar) -> Wire:
        """Write a bar."""
        return _bar(made)

    def book(self, _: str, seen: TapeQuote) -> Wire:
        """Write an order book: the best bid and ask."""
        return {"a": [{"p": seen.ask, "s": 1.0}], "b": [{"p": seen.bid, "s": 1.0}], "t": iso(seen.at)}


def _bar(made: TapeBar) -> Wire:
    return {
        "c": made.close,
        "h": made.high,
        "l": made.low,
        "n": made.trades,
        "o": made.open,
        "t": iso(made.at),
        "v": made.volume,
        "vw": made.average,
    }
