"""At which price a side next fires, for a person to read. Nothing is decided by it.

It is right to half a cent of the position's value, on the side where it fires: what is decided is decided exactly.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from mrdaemon.core.money import CENT, EXACT, HALF_CENT, Dollars, Price, Shares, value
from mrdaemon.core.policy import Side
from mrdaemon.core.signals import further
from mrdaemon.core.sizing import large_enough, minimum_order, order_for
from mrdaemon.core.state import Position, State
from mrdaemon.core.zone import Zone, shown_price

TRIES: Final = 64
"""How often the number of whole shares that a buy needs is raised before no price is shown."""


def next_price(state: State, position: Position, zone: Zone, side: Side) -> Price | None:
    """Give the price at or beyond which a side next raises a signal, as far as the price decides; None: no price does.

    To a ten-thousandth, for a person to read. Where the side was told of and waits, it is a further width out.
    """
    shares, wait, asset = position.shares, position.waits.get(side), state.asset_of(position)
    if not shares:
        return None
    worth = zone.buy_at if side is Side.ACCUMULATE else zone.sell_at
    if wait is not None and wait.signalled is not None:
        beyond = further(zone, side, wait.signalled)
        worth = min(worth, beyond) if side is Side.ACCUMULATE else max(worth, beyond)
    if worth <= 0:
        return None
    price = edge = EXACT.divide(worth, shares)
    step = asset.increment if asset.fractionable else Decimal(1)
    if side is Side.ACCUMULATE and not asset.fractionable:
        price = _buys_whole_shares_at(state, position, zone, edge)
    elif side is Side.TRIM and step * edge >= HALF_CENT:  # Finer steps do not show in a cent.
        price = _sells_in_steps_at(minimum_order(state, position), shares, zone, step, edge)
    if asset.min_quantity and price > 0:
        price = _makes_the_quantity_at(asset.min_quantity, step, shares, zone, side, price)
    shown = shown_price(price, side) if price > 0 else price
    return Price(shown) if shown > 0 else None


def _buys_whole_shares_at(state: State, position: Position, zone: Zone, edge: Decimal) -> Decimal:
    """Give the highest price, not above the edge's, at which the amount buys enough whole shares; 0: none does.

    ``n`` shares must be worth the minimum and fit the amount: n * limit <= buy_up_to - shares * price.
    """
    least, held, over = minimum_order(state, position), position.shares, 1 + position.rules.collar
    worth = zone.buy_up_to - HALF_CENT  # The value is rounded, perhaps up.
    if worth <= least * over:
        return Decimal(0)
    n = max(least / edge, least * held / (worth - least * over), Decimal(1)).to_integral_value(ROUND_CEILING)
    for _ in range(TRIES):
        fits = EXACT.divide(worth, held + n * over)
        limit = (fits * over).quantize(CENT, rounding=ROUND_FLOOR)  # Limits are whole cents: this one, or the next.
        price = min(edge, max(limit / over, min((limit + CENT) / over, (worth - n * (limit + CENT)) / held)))
        if price <= 0:
            break
        shown = shown_price(price, Side.ACCUMULATE)
        amount = zone.amount(Side.ACCUMULATE, value(held, shown))
        if large_enough(state, position, order_for(state, position, Side.ACCUMULATE, amount, shown)):
            return price
        n += 1 + n // TRIES  # Where a cent is a large part of the price, rounding takes more than one share.
    return Decimal(0)


def _makes_the_quantity_at(
    fewest: Shares, step: Decimal, held: Shares, zone: Zone, side: Side, price: Decimal
) -> Decimal:
    """Give the price, not before the one given, at which the amount makes the least quantity; 0: none does.

    A purchase needs ``fewest * price <= buy_up_to - held * price``, a sale ``sell_down_to <= (held - fewest) * price``.
    """
    if side is Side.ACCUMULATE:
        return min(price, (zone.buy_up_to - HALF_CENT) / (held + fewest))
    left = held - (fewest / step).to_integral_value(ROUND_CEILING) * step
    return max(price, (zone.sell_down_to + HALF_CENT) / left) if left > 0 else Decimal(0)


def _sells_in_steps_at(least: Dollars, held: Shares, zone: Zone, step: Decimal, edge: Decimal) -> Decimal:
    """Give the lowest price, not below the edge's, at which what is over makes an order in whole steps; 0: none does.

    ``k`` steps must be worth the minimum and fit what is over: k * step * price <= shares * price - sell_down_to.
    """
    kept = zone.sell_down_to + HALF_CENT  # The value is rounded, perhaps down.
    about = (least * held / ((kept + least) * step)).to_integral_value(ROUND_FLOOR)
    prices = [
        max(edge, kept / (held - k * step), least / (k * step)) for k in (about, about + 1) if 0 < k * step < held
    ]
    return min(prices, default=Decimal(0))
