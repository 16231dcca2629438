"""From an amount to an order: in dollars or shares, with a limit where it needs one, and whether it is one at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

from mrdaemon.core.hours import Hours
from mrdaemon.core.limits import marketable_limit
from mrdaemon.core.money import (
    EXACT,
    NANO_SHARE,
    NO_DOLLARS,
    Dollars,
    Price,
    Shares,
    cents_up,
    shares_for,
    value,
)
from mrdaemon.core.policy import OrderType, Short, Side
from mrdaemon.core.state import Position, State

WHOLE: Final = Shares(Decimal(1))


class Size(NamedTuple):
    """How much to trade: dollars to the cent or shares, with a limit where the order needs one."""

    amount: Dollars
    """What the signal asks for, once the reserve was looked at."""
    notional: Dollars | None
    quantity: Shares | None
    limit: Price | None
    worth: Dollars
    """What the order is worth at the price at hand; bought in fractions at a limit, at that."""
    reserved: Dollars
    """What it may take from the reserve."""
    shares: Shares
    """How many shares that is, at the price at hand where the order is in dollars."""


def size(state: State, position: Position, side: Side, amount: Dollars, price: Price, hours: Hours) -> Size:
    """Turn an amount into an order, of which an accumulation takes no more than the reserve has."""
    if side is Side.ACCUMULATE and position.rules.on_short_reserve is Short.PARTIAL:
        amount = min(amount, max(NO_DOLLARS, state.portfolios[position.portfolio].available))
    return order_for(state, position, side, amount, price, hours)


def order_for(
    state: State, position: Position, side: Side, amount: Dollars, price: Price, hours: Hours = Hours.REGULAR
) -> Size:
    """Turn an amount into an order: at market, a purchase in dollars, where the asset, rules and hours allow that.

    Else it is in shares at a limit, of which no more are bought than the amount pays for at the limit. A trim is always
    in shares, and takes no more than the position has, rounded down.
    """
    asset, rules = state.asset_of(position), position.rules
    increment = asset.increment if asset.fractionable else WHOLE
    limited = hours is Hours.EXTENDED or rules.order_type is OrderType.LIMIT
    if side is Side.TRIM:
        quantity = min(shares_for(amount, price, increment), position.shares)
        limit = marketable_limit(asset, side, price, rules.collar) if limited else None
        return Size(amount, None, quantity, limit, value(quantity, price), NO_DOLLARS, quantity)
    if asset.fractionable and not limited:
        shares = shares_for(max(amount, NO_DOLLARS), price, NANO_SHARE)
        return Size(amount, amount, None, None, amount, amount, shares)
    limit = marketable_limit(asset, side, price, rules.collar)
    quantity = shares_for(amount, limit, increment)
    most = cents_up(EXACT.multiply(quantity, limit))
    # In fractions the amount itself can be spent, so that is what the order is worth; whole shares leave a rest.
    worth = most if asset.fractionable else value(quantity, price)
    return Size(amount, None, quantity, limit, worth, most, quantity)


def minimum_order(state: State, position: Position) -> Dollars:
    """Give the least that an order may be worth: by the position's rules, and for its asset."""
    return max(position.rules.min_order, state.asset_of(position).min_notional)


def large_enough(state: State, position: Position, sized: Size) -> bool:
    """Tell whether an order is one at all: of the least worth and quantity, and no less than one step of its asset."""
    least = state.asset_of(position).min_quantity
    return sized.quantity != 0 and sized.shares >= least and sized.worth >= minimum_order(state, position)
