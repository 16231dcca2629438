"""What each symbol is worth to an order: the newest quote while it is fresh, else the newest trade."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import EXACT, exact
from mrdaemon.core.prints import Print
from mrdaemon.core.zone import believable
from mrdaemon.simulator.hours import new_york
from mrdaemon.simulator.orders import Side

EVER: Final = Instant(0)
"""Before any price."""


class Mark(msgspec.Struct):
    """The newest prices of a symbol."""

    day: str = ""
    """The date in New York of the newest price."""
    last: Decimal | None = None
    yesterday: Decimal | None = None
    """The last price of the day before."""
    bid: Decimal | None = None
    ask: Decimal | None = None
    seen: Instant = EVER
    """When the newest trade came in; times are the exchange's own, whatever the prints say."""
    quoted: Instant = EVER
    halted: bool = False


class Market:
    """The newest prices of all symbols."""

    def __init__(self, quote_age_s: float) -> None:
        """Begin; a quote is a price for so many seconds."""
        self._quote_age = int(quote_age_s * SECOND)
        self._marks: dict[str, Mark] = {}

    def mark(self, symbol: str) -> Mark:
        """Give the marks of a symbol, blank if it was never seen."""
        return self._marks.setdefault(symbol, Mark())

    def see(self, seen: Print, now: Instant) -> None:
        """Take a price in. What is no price is left out: a bad print moves no exchange."""
        symbol, price, _, quote, trade = seen
        mark = self.mark(symbol)
        if quote is not None:
            mark.bid, mark.ask = _side(quote.bid), _side(quote.ask)
            mark.quoted = now
        if believable(price) and (trade is not None or mark.last is None):
            self._trade(mark, exact(price), now)

    @staticmethod
    def _trade(mark: Mark, price: Decimal, now: Instant) -> None:
        day = new_york(now).date().isoformat()
        if day != mark.day:
            mark.day, mark.yesterday = day, mark.last
        mark.last, mark.seen = price, now

    def price(self, symbol: str, side: Side, now: Instant, since: Instant = EVER) -> Decimal | None:
        """Give what an order on a side executes at, or None where no price came in since an instant."""
        mark = self.mark(symbol)
        if now - mark.quoted <= self._quote_age and mark.quoted >= since:
            quoted = mark.ask if side is Side.BUY else mark.bid
            if quoted is not None:
                return quoted
        return mark.last if mark.seen >= since else None

    def value(self, symbol: str) -> Decimal:
        """Give the price that holdings are valued at; zero if none was ever seen."""
        return self.mark(symbol).last or Decimal(0)

    def split(self, symbol: str, ratio: Decimal) -> None:
        """Divide what was seen by a split's ratio of new to old shares."""
        mark = self.mark(symbol)
        mark.last = None if mark.last is None else EXACT.divide(mark.last, ratio)
        mark.yesterday = None if mark.yesterday is None else EXACT.divide(mark.yesterday, ratio)
        mark.bid = mark.ask = None


def _side(price: float) -> Decimal | None:
    return exact(price) if believable(price) else None
