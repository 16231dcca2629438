"""Tax lots, first in, first out: what was bought when, for how much, and what selling it realized."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from mrdaemon.core.instant import Instant
from mrdaemon.core.money import EXACT, NO_DOLLARS, Dollars, Shares, cents


class Lot(msgspec.Struct, frozen=True):
    """Shares that came in together. ``cost`` is what they cost in all; None where nobody said."""

    shares: Shares
    cost: Dollars | None
    acquired: Instant


def sell(lots: list[Lot], shares: Shares, proceeds: Dollars) -> tuple[list[Lot], Dollars | None]:
    """Take shares out of the oldest lots.

    A lot sold in part gives up its share of the cost, rounded to the cent; the rest stays, so that no cent is lost.

    Returns:
        The lots that are left, and the gain: proceeds less cost, or None where a cost is not known.
    """
    left = list(lots)
    wanted: Decimal = shares
    cost: Dollars | None = NO_DOLLARS
    while wanted > 0 and left:
        lot = left.pop(0)
        taken = min(lot.shares, wanted)
        wanted -= taken
        part = lot.cost
        if taken < lot.shares:
            if lot.cost is not None:
                part = cents(EXACT.divide(EXACT.multiply(lot.cost, taken), lot.shares))
            rest = None if lot.cost is None or part is None else Dollars(lot.cost - part)
            left.insert(0, Lot(Shares(lot.shares - taken), rest, lot.acquired))
        cost = None if cost is None or part is None else Dollars(cost + part)
    if wanted > 0:
        cost = None
    return left, None if cost is None else Dollars(proceeds - cost)


def cost_of(lots: list[Lot]) -> Dollars | None:
    """Give what lots cost in all, or None where a cost is not known."""
    total = NO_DOLLARS
    for lot in lots:
        if lot.cost is None:
            return None
        total = Dollars(total + lot.cost)
    return total
