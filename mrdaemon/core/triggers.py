"""Per symbol, every armed position ordered by trigger price: the innermost pair guards them all.

A print strictly between the innermost pair concerns nobody, whether one position or a million hold the symbol. One
beyond it pops the positions that it crosses, nearest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from mrdaemon.core.zone import HIGHEST_PRICE, LOWEST_PRICE


class Ladder:
    """Two heaps of (trigger price, position), with entries that were replaced left in place until they surface."""

    __slots__ = ("_above", "_below", "_prices")

    def __init__(self) -> None:
        self._prices: dict[str, tuple[float, float]] = {}
        self._below: list[tuple[float, str]] = []
        self._above: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._prices)

    def __contains__(self, key: str) -> bool:
        return key in self._prices

    def place(self, key: str, prices: tuple[float, float]) -> None:
        """Set a position's pair: it wants to see any print at or below the first, or at or above the second."""
        if self._prices.get(key) == prices:
            return
        self._prices[key] = prices
        low, high = prices
        if low > LOWEST_PRICE:
            heappush(self._below, (-low, key))
        if high < HIGHEST_PRICE:
            heappush(self._above, (high, key))
        if len(self._below) + len(self._above) > 4 * len(self._prices) + 64:
            self._compact()

    def remove(self, key: str) -> None:
        """Forget a position."""
        self._prices.pop(key, None)

    def innermost(self) -> tuple[float, float]:
        """Give the highest lower trigger and the lowest upper one."""
        below, above = self._below, self._above
        while below and self._replaced(below[0][1], 0, -below[0][0]):
            heappop(below)
        while above and self._replaced(above[0][1], 1, above[0][0]):
            heappop(above)
        return (-below[0][0] if below else LOWEST_PRICE, above[0][0] if above else HIGHEST_PRICE)

    def crossed(self, price: float) -> Iterator[str]:
        """Take out, nearest first, every position that wants to see a price. Place each again afterwards."""
        while True:
            low, high = self.innermost()
            if price <= low:
                key = heappop(self._below)[1]
            elif price >= high:
                key = heappop(self._above)[1]
            else:
                return
            del self._prices[key]
            yield key

    def _replaced(self, key: str, side: int, trigger: float) -> bool:
        current = self._prices.get(key)
        return current is None or current[side] != trigger

    def _compact(self) -> None:
        self._below = [(-low, key) for key, (low, _) in self._prices.items() if low > LOWEST_PRICE]
        self._above = [(high, key) for key, (_, high) in self._prices.items() if high < HIGHEST_PRICE]
        heapify(self._below)
        heapify(self._above)
