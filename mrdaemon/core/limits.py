"""Limit prices: as far beyond the price at hand as the collar allows, on the market's own steps."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from mrdaemon.core.money import CENT, EXACT, Price
from mrdaemon.core.policy import Asset, Side

SUB_DOLLAR: Final = Decimal("0.0001")
"""The step of a price below a dollar; from a dollar on it is a cent (17 CFR 242.612, which Alpaca enforces)."""


def limit_step(asset: Asset, price: Decimal) -> Decimal:
    """Give the step of an asset's limit prices near a price."""
    if asset.price_increment is not None:
        return asset.price_increment
    return CENT if price >= 1 else SUB_DOLLAR


def marketable_limit(asset: Asset, side: Side, price: Price, collar: Decimal) -> Price:
    """Give the limit of a marketable order: a purchase's is rounded up, a sale's down, but not to nothing."""
    buys = side is Side.ACCUMULATE
    reach = EXACT.multiply(price, 1 + collar if buys else 1 - collar)
    step = limit_step(asset, reach)
    steps = EXACT.divide(reach, step).to_integral_value(ROUND_CEILING if buys else ROUND_FLOOR)
    return Price(EXACT.multiply(max(steps, Decimal(1)), step))
