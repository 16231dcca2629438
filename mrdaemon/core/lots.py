"""Tax lots, first in, first out: what was bought when, for how much, and what selling it realized."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Generic, NamedTuple, TypeVar

import msgspec

from mrdaemon.core.instant import Instant
from mrdaemon.core.money import EXACT, NANO_SHARE, NO_DOLLARS, NO_SHARES, Dollars, Shares, cents


class Lot(msgspec.Struct, frozen=True):
    """Shares that came in together. ``cost`` is what they cost in all; None where nobody said."""

    shares: Shares
    cost: Dollars | None
    acquired: Instant


L = TypeVar("L", bound=Lot)


class Slice(NamedTuple, Generic[L]):
    """What is taken out of one lot."""

    lot: L
    """The lot, as it was before."""
    shares: Shares
    cost: Dollars | None
    """Of these shares; None where the lot's is not known."""


def take(lots: Iterable[L], shares: Shares) -> tuple[list[L], list[Slice[L]]]:
    """Take shares out of the oldest lots.

    A lot taken in part gives up its share of the cost, rounded to the cent; the rest stays, so that no cent is lost.

    Returns:
        The lots that are left, and the slices taken, oldest first; they fall short where there are fewer shares.
    """
    left, slices = list(lots), list[Slice[L]]()
    wanted: Decimal = shares
    while wanted > 0 and left:
        lot = left.pop(0)
        taken = Shares(min(lot.shares, wanted))
        wanted -= taken
        part = lot.cost
        if taken < lot.shares:
            if lot.cost is not None:
                part = cents(EXACT.divide(EXACT.multiply(lot.cost, taken), lot.shares))
            rest = None if lot.cost is None or part is None else Dollars(lot.cost - part)
            left.insert(0, msgspec.structs.replace(lot, shares=Shares(lot.shares - taken), cost=rest))
        slices.append(Slice(lot, taken, part))
    return left, slices


def sell(lots: list[Lot], shares: Shares, proceeds: Dollars) -> tuple[list[Lot], Dollars | None]:
    """Sell shares out of the oldest lots.

    Returns:
        The lots that are left, and the gain: proceeds less cost, or None where a cost is not known.
    """
    left, slices = take(lots, shares)
    cost = NO_DOLLARS
    for each in slices:
        if each.cost is None:
            return left, None
        cost = Dollars(cost + each.cost)
    covered = sum((each.shares for each in slices), NO_SHARES) >= shares
    return left, Dollars(proceeds - cost) if covered else None


def split(lots: Iterable[L], before: Shares, shares: Shares) -> list[L]:
    """Split lots as a position of ``before`` shares was split into ``shares``; what they cost is unchanged.

    What is rounded, to nine decimals, is the sum up to each lot, not the lot: together they are exactly ``shares``.
    """
    seen, given, found = NO_SHARES, NO_SHARES, list[L]()
    for lot in lots:
        seen = Shares(EXACT.add(seen, lot.shares))
        so_far = EXACT.divide(EXACT.multiply(shares, seen), before).quantize(NANO_SHARE, context=EXACT)
        if seen == before:
            so_far = shares
        found.append(msgspec.structs.replace(lot, shares=Shares(EXACT.subtract(so_far, given))))
        given = Shares(so_far)
    return found


def divide(amount: Dollars, among: Sequence[Shares]) -> list[Dollars]:
    """Divide an amount over shares in proportion, to the cent.

    What is rounded is the sum up to each part, not the part: the parts add up to the amount, and no cent is lost.
    """
    whole, seen, given, parts = sum(among, NO_SHARES), NO_SHARES, NO_DOLLARS, list[Dollars]()
    for shares in among:
        seen = Shares(seen + shares)
        so_far = cents(EXACT.divide(EXACT.multiply(amount, seen), whole))
        parts.append(Dollars(so_far - given))
        given = so_far
    return parts


def cost_of(lots: list[Lot]) -> Dollars | None:
    """Give what lots cost in all, or None where a cost is not known."""
    total = NO_DOLLARS
    for lot in lots:
        if lot.cost is None:
            return None
        total = Dollars(total + lot.cost)
    return total
