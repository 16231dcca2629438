"""Fees that a broker keeps in coins: a purchase credits a little less than it filled."""

from __future__ import annotations

from decimal import ROUND_CEILING

from mrdaemon.core.money import EXACT, Shares
from mrdaemon.core.policy import Asset
from mrdaemon.core.state import Position


def fee_explains(position: Position, asset: Asset, theirs: Shares) -> bool:
    """Tell whether the broker holds less than the journal by no more than its fees for what was bought since."""
    missing = EXACT.subtract(position.shares, theirs)
    kept = EXACT.divide(EXACT.multiply(asset.fee, position.bought_since), asset.increment)
    return 0 < missing <= EXACT.multiply(kept.to_integral_value(ROUND_CEILING), asset.increment)
