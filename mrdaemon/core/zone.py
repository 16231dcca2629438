"""Target and strike zone in, trigger prices and trade amounts out."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final, NamedTuple

from mrdaemon.core.money import (
    EXACT,
    HALF_CENT,
    NO_DOLLARS,
    Dollars,
    MoneyError,
    Price,
    cents,
    parse_dollars,
    parse_ratio,
    value,
)
from mrdaemon.core.policy import PositionRules, Side

HIGHEST_PRICE: Final = 1e7
"""Dollars a share that nothing trades at (Berkshire Hathaway A: under a tenth of it). A print there is refused."""
LOWEST_PRICE: Final = 0.0
"""No print at or below it is a price."""
ALWAYS: Final = (HIGHEST_PRICE, LOWEST_PRICE)
"""Trigger prices that every print crosses."""
NEVER: Final = (LOWEST_PRICE, HIGHEST_PRICE)
"""Trigger prices that no believable print crosses."""

TEN_THOUSANDTH: Final = -4
"""As a power of ten."""

_SLACK: Final = 2.0**-50
"""Four units in the last place: how far the float midpoint of two quotes may lie from the exact one."""
_UP: Final = Context(prec=60, rounding=ROUND_CEILING)
_DOWN: Final = Context(prec=60, rounding=ROUND_FLOOR)


def parse_width(text: str, target: Dollars) -> Dollars:
    """Read a zone width for a target, to the cent: ``3%``, ``300bps`` or ``$150``.

    Raises:
        MoneyError: none of these, or not at least a cent.
    """
    body = text.strip()
    if body.startswith("$"):
        width = parse_dollars(body)
    elif body.endswith(("%", "bps")):
        width = cents(EXACT.multiply(parse_ratio(body), target))
    else:
        message = f'wanted a width such as "3%", "300bps" or "$150", got {text!r}'
        raise MoneyError(message)
    if width <= 0:
        message = f"wanted a width of at least a cent, got {text!r} (${width} of ${target})"
        raise MoneyError(message)
    return width


def parse_step(text: str, width: Dollars) -> Dollars:
    """Read the least step for a side: a ratio of its width (``20%``), or dollars (``$10``).

    Raises:
        MoneyError: neither, or negative.
    """
    body = text.strip()
    step = cents(EXACT.multiply(parse_ratio(body), width)) if body.endswith("%") else parse_dollars(body)
    if step < 0:
        message = f"wanted a step of zero or more, got {text!r}"
        raise MoneyError(message)
    return step


class Zone(NamedTuple):
    """A strike zone in dollars. A value at an edge is at the edge; whether it fires is up to ``fires``."""

    target: Dollars
    lower: Dollars
    upper: Dollars
    buy_up_to: Dollars
    """The value that an accumulation restores."""
    sell_down_to: Dollars
    """The value that a trim restores."""
    buy_at: Dollars
    """The highest value that fires an accumulation."""
    sell_at: Dollars
    """The lowest value that fires a trim."""

    @classmethod
    def of(cls, rules: PositionRules, least: Dollars = NO_DOLLARS) -> Zone:
        """Work out a position's zone; ``least`` is the asset's own minimum order.

        Raises:
            MoneyError: the target is not positive, or the zone below is not narrower than it.
        """
        target = rules.target
        if target <= 0:
            message = f"wanted a target above zero, got ${target}"
            raise MoneyError(message)
        below, above = parse_width(rules.below, target), parse_width(rules.above, target)
        if below >= target:
            message = f"wanted a zone below of less than the target ${target}, got {rules.below!r} = ${below}"
            raise MoneyError(message)
        lower, upper = Dollars(target - below), Dollars(target + above)
        buy_up_to = cents(lower + EXACT.multiply(rules.restore, below))
        sell_down_to = cents(upper - EXACT.multiply(rules.restore, above))
        order = max(rules.min_order, least)
        buy_step = max(order, parse_step(rules.min_step, below))
        sell_step = max(order, parse_step(rules.min_step, above))
        return cls(
            target=target,
            lower=lower,
            upper=upper,
            buy_up_to=buy_up_to,
            sell_down_to=sell_down_to,
            buy_at=min(lower, Dollars(buy_up_to - buy_step)),
            sell_at=max(upper, Dollars(sell_down_to + sell_step)),
        )

    def width(self, side: Side) -> Dollars:
        """Give the width of a side in dollars."""
        return Dollars(self.target - self.lower if side is Side.ACCUMULATE else self.upper - self.target)

    def edge(self, side: Side) -> Dollars:
        """Give the edge of a side in dollars."""
        return self.lower if side is Side.ACCUMULATE else self.upper

    def amount(self, side: Side, worth: Dollars) -> Dollars:
        """Give what restores a value, in dollars; negative where there is nothing to restore."""
        return Dollars(self.buy_up_to - worth if side is Side.ACCUMULATE else worth - self.sell_down_to)

    def fires(self, side: Side, worth: Dollars) -> bool:
        """Tell exactly whether a value raises a signal."""
        return worth <= self.buy_at if side is Side.ACCUMULATE else worth >= self.sell_at


def price_at_most(worth: Decimal, shares: Decimal) -> float:
    """Give a float that no price is above at which the shares' value rounds to ``worth`` or less.

    It may be a hair too high, never too low: the filter of the hot path, which the exact test follows.
    """
    if shares <= 0:
        return HIGHEST_PRICE
    bound = float(_UP.divide(EXACT.add(worth, HALF_CENT), shares))
    return min(bound * (1 + _SLACK), HIGHEST_PRICE)


def price_at_least(worth: Decimal, shares: Decimal) -> float:
    """Give a float that no price is below at which the shares' value rounds to ``worth`` or more."""
    if shares <= 0:
        return HIGHEST_PRICE
    bound = float(_DOWN.divide(EXACT.subtract(worth, HALF_CENT), shares))
    return max(bound * (1 - _SLACK), LOWEST_PRICE)


def shown_price(price: Decimal, side: Side) -> Price:
    """Round a trigger price for a person to read, on the side where it fires: to a ten-thousandth, or six digits."""
    digits = min(TEN_THOUSANDTH, price.adjusted() - 5)
    step, rounding = Decimal(1).scaleb(digits), ROUND_FLOOR if side is Side.ACCUMULATE else ROUND_CEILING
    return Price(price.quantize(step, rounding=rounding, context=EXACT))


def beyond(zone: Zone, side: Side, shares: Decimal, price: Decimal) -> Decimal:
    """Tell by how many of the side's widths a value lies beyond its edge; negative when inside."""
    worth = value(shares, price)
    over = zone.lower - worth if side is Side.ACCUMULATE else worth - zone.upper
    return EXACT.divide(over, zone.width(side))


def believable(price: float) -> bool:
    """Tell whether a number can be a price at all: finite, above zero, below what nothing trades at."""
    return math.isfinite(price) and LOWEST_PRICE < price < HIGHEST_PRICE
