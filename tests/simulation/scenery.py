"""What a seed's world looks like: when it begins, which symbols it has, and how orders are to be."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Final, NamedTuple

from mrdaemon.calendar import AlwaysCalendar, AlwaysOpen, ExchangeSessions, MarketCalendar
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.policy import OrderType
from mrdaemon.core.sessions import Calendar, Sessions
from mrdaemon.simulator.assets import Listing

MIDNIGHT: Final = Instant(1_773_201_480 * SECOND)  # 2026-03-11T03:58:00Z: two minutes before midnight in New York
BEFORE_THE_OPEN: Final = Instant(1_773_235_560 * SECOND)  # 13:26:00Z: four minutes before the open
BEFORE_THE_CLOSE: Final = Instant(1_773_258_480 * SECOND)  # 19:48:00Z: twelve minutes before the close
MARKET: Final = MarketCalendar()
"""One for all worlds: to load it takes half a second."""
EXCHANGE: Final = ExchangeSessions()


class Scenery(NamedTuple):
    """One world's."""

    start: Instant
    calendar: Calendar
    hours: Sessions
    symbols: dict[str, float]
    whole: frozenset[str]
    order_type: OrderType

    def listings(self) -> list[Listing]:
        """Give the assets that are not ordinary ones."""
        listings = [Listing(symbol=symbol, fractionable=False) for symbol in sorted(self.whole)]
        for symbol in self.symbols:
            if "/" in symbol:
                increment = Decimal("0.000000001")
                listings.append(Listing(symbol=symbol, exchange="CRYPTO", min_trade_increment=increment))
        return listings


PLAIN: Final = Scenery(
    MIDNIGHT, AlwaysCalendar(), AlwaysOpen(), {"QQQ": 500.0, "SPY": 600.0, "KO": 80.0}, frozenset(), OrderType.MARKET
)
"""A world whose markets never close, with three shares that trade in fractions, at market."""


def drawn(seed: int) -> Scenery:
    """Draw a world's: two in five are plain."""
    draw = Random(f"scenery {seed}")
    if draw.random() < 0.4:
        return PLAIN
    scenery = PLAIN
    if draw.random() < 0.5:
        start = draw.choice((BEFORE_THE_OPEN, BEFORE_THE_CLOSE))
        scenery = scenery._replace(start=start, calendar=MARKET, hours=EXCHANGE)
    if draw.random() < 0.4:
        scenery = scenery._replace(symbols={"QQQ": 500.0, "SPY": 600.0, "BTC/USD": 60_000.0})
    if draw.random() < 0.4:
        scenery = scenery._replace(whole=frozenset({"SPY"}))
    if draw.random() < 0.4:
        scenery = scenery._replace(order_type=OrderType.LIMIT)
    return scenery
