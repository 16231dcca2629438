"""At which price a side next fires, for a person to read. Nothing is decided by it.

It is right to half a cent of the position's value, on the side where it fires: what is decided is decided exactly. It
is that of regular hours; outside of them, where orders have limits, a side may fire a little further out.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from mrdaemon.core.limits import limit_step
from mrdaemon.core.money import EXACT, HALF_CENT, Dollars, Price, Shares, value
from mrdaemon.core.policy import Asset, OrderType, Side
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
        if side is Side.ACCUMULATE:
            price = _buys_the_quantity_at(position, asset, zone, price)
        else:
            price = _sells_the_quantity_at(asset.min_quantity, step, shares, zone, price)
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
        step = limit_step(state.asset_of(position), fits * over)
        limit = (fits * over / step).to_integral_value(ROUND_FLOOR) * step  # It is on a step: this one, or the next.
        price = min(edge, max(limit / over, min((limit + step) / over, (worth - n * (limit + step)) / held)))
        if price <= 0:
            break
        shown = shown_price(price, Side.ACCUMULATE)
        amount = zone.amount(Side.ACCUMULATE, value(held, shown))
        if large_enough(state, position, order_for(state, position, Side.ACCUMULATE, amount, shown)):
            return price
        n += 1 + n // TRIES  # Where a cent is a large part of the price, rounding takes more than one share.
    return Decimal(0)


def _buys_the_quantity_at(position: Position, asset: Asset, zone: Zone, price: Decimal) -> Decimal:
    """Give the highest price, not above the one given, at which the amount buys the least quantity.

    It must pay for that at the price, or at the limit: fewest * limit <= buy_up_to - shares * price.
    """
    worth, fewest, over, step = zone.buy_up_to - HALF_CENT, asset.min_quantity, Decimal(1), Decimal(0)
    if position.rules.order_type is OrderType.LIMIT:
        over += position.rules.collar
        step = limit_step(asset, price * over)
    return min(price, (worth - fewest * step) / (position.shares + fewest * over))


def _sells_the_quantity_at(fewest: Shares, step: Decimal, held: Shares, zone: Zone, price: Decimal) -> Decimal:
    """Give the lowest price, not below the one given, at which what is over makes the least quantity; 0: none does."""
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
