"""Prices that nobody recorded: a seeded random walk, with a quote around each trade."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from typing import Final

from mrdaemon.core.instant import NEVER, SECOND, Instant
from mrdaemon.core.prints import Print, Quote, Trade, trade_print

_STEP: Final = 0.0004
"""The standard deviation of one step, as a ratio: about a percent in ten minutes of one step a second."""
_HALF_SPREAD: Final = 0.00005
_CENT: Final = 2
_FIGURES: Final = 6
"""Significant figures of prices under a dollar."""
_LOWEST: Final = 0.0001
_SHORTEST: Final = SECOND // 1000
"""No symbol trades more often than once a millisecond."""


class Walk:
    """One trade of each symbol at each step; the same seed walks the same way, whoever else walks along."""

    def __init__(self, prices: Mapping[str, float], seed: str, start: Instant, every: float = 1.0) -> None:
        """Begin at some prices.

        Args:
            prices: the first price of each symbol.
            seed: what the walk is drawn from.
            start: when the first trades happen.
            every: seconds between two trades of a symbol.
        """
        self._prices = dict(prices)
        self._draws = {symbol: Random(f"{seed} {symbol}") for symbol in prices}  # noqa: S311 - it is to be repeatable
        self._every = max(int(every * SECOND), _SHORTEST)
        self.due: Instant = start if prices else NEVER
        """When the next trades happen."""

    def take(self, now: Instant) -> list[Print]:
        """Give the trades that happened by now."""
        taken: list[Print] = []
        while self.due <= now:
            taken += [self._step(symbol) for symbol in self._prices]
            self.due = Instant(self.due + self._every)
        return taken

    def skip(self, now: Instant) -> None:
        """Leave out what would have happened until now."""
        self.due = max(self.due, now)

    def split(self, symbol: str, ratio: float) -> None:
        """Go on from the price divided by a split's ratio of new to old shares."""
        if symbol in self._prices:
            self._prices[symbol] = max(self._prices[symbol] / ratio, _LOWEST)

    def _step(self, symbol: str) -> Print:
        draw = self._draws[symbol]
        price = tick(max(self._prices[symbol] * math.exp(draw.gauss(0.0, _STEP)), _LOWEST))
        self._prices[symbol] = price
        size = float(draw.choice((1, 5, 20, 100, 100, 100, 200)))
        return trade_print(symbol, price, self.due, Trade("@", size), around(price))


def tick(price: float) -> float:
    """Round to the cent, or to six figures under a dollar."""
    return round(price, _CENT if price >= 1 else _FIGURES - 1 - math.floor(math.log10(price)))


def around(price: float) -> Quote:
    """Make up a quote around a price."""
    half = max(price * _HALF_SPREAD, 0.01 if price >= 1 else price * 0.001)
    return Quote(tick(price - half), tick(price + half))
