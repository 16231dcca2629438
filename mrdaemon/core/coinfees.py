"""Fees that a broker keeps in coins: a purchase credits a little less than it filled."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Final

from mrdaemon.core.money import EXACT, Shares
from mrdaemon.core.policy import Asset
from mrdaemon.core.state import Position

ROUNDING: Final = Decimal("1.001")
"""A fee is rounded with every piece of an order that fills, and so comes to a little more in all."""


def fee_explains(position: Position, asset: Asset, theirs: Shares) -> bool:
    """Tell whether the broker holds less than the journal by no more than its fees for what was bought since."""
    missing = EXACT.subtract(position.shares, theirs)
    fee = EXACT.multiply(EXACT.multiply(asset.fee, position.bought_since), ROUNDING)
    kept = EXACT.divide(fee, asset.increment)
    return 0 < missing <= EXACT.multiply(kept.to_integral_value(ROUND_CEILING), asset.increment)
