"""Which orders are let in: the rules that an order is measured by before it exists, and the words of each refusal."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Final

from mrdaemon.core.instant import Instant
from mrdaemon.core.money import EXACT, cents, cents_up
from mrdaemon.simulator.account import Account
from mrdaemon.simulator.assets import EXTENDED, NANO, Listing
from mrdaemon.simulator.market import Market
from mrdaemon.simulator.orders import Book, Kind, Order, Side, Ticket, TimeInForce
from mrdaemon.simulator.refusals import (
    forbidden,
    insufficient_buying_power,
    insufficient_dollars,
    insufficient_quantity,
    invalid,
    malformed,
    plain,
    wash_trade,
)

SMALLEST: Final = Decimal(1)
"""Dollars that an order is at least about."""
_DOLLAR: Final = Decimal(1)
_CENT: Final = Decimal("0.01")
_TENTH_OF_A_MIL: Final = Decimal("0.0001")


class Admission:
    """Measures orders by the rules, the account, and the orders that stand."""

    def __init__(self, book: Book, account: Account, market: Market) -> None:
        self._book = book
        self._account = account
        self._market = market

    def check(self, ticket: Ticket, asset: Listing, now: Instant, replaced: Order | None = None) -> None:
        """Refuse an order that may not be; the one that it replaces is looked at as if it were gone.

        Raises:
            RefusalError: a rule forbids it.
        """
        if self._book.knows(ticket.client_order_id):
            message = "client_order_id must be unique"
            raise malformed(message)
        if self._account.trading_blocked:
            message = "account is not authorized to trade"
            raise forbidden(message)
        check_asset(asset)
        check_form(ticket, asset)
        price = self._market.price(asset.symbol, ticket.side, now)
        cost = cost_of(ticket, price)
        check_size(cost)
        check_wash(ticket, [order for order in self._book.open(asset.symbol) if order is not replaced])
        if ticket.side is Side.BUY:
            self._check_dollars(asset, cost or Decimal(0), self.reserved(now, replaced))
        else:
            self._check_shares(ticket, asset, price, self.promised(asset, now, replaced))

    def reserved(self, now: Instant, beside: Order | None = None) -> Decimal:
        """Give the dollars that open buy orders may still take."""
        reserved = Decimal("0.00")
        for order in self._book.open():
            if order is beside or order.ticket.side is Side.SELL:
                continue
            price = self._market.price(order.symbol, Side.BUY, now)
            cost = cost_of(order.ticket, price, order.filled_qty) or Decimal(0)
            reserved += cost if order.ticket.notional is None else max(cost - cents(order.filled_value), Decimal(0))
        return reserved

    def promised(self, asset: Listing, now: Instant, beside: Order | None = None) -> Decimal:
        """Give the shares that open sell orders may still take."""
        price = self._market.price(asset.symbol, Side.SELL, now) or Decimal(1)
        standing = (order for order in self._book.open(asset.symbol) if order.ticket.side is Side.SELL)
        return sum((order.remaining(price) for order in standing if order is not beside), Decimal(0))

    def _check_dollars(self, asset: Listing, cost: Decimal, reserved: Decimal) -> None:
        if asset.crypto:
            available = max(self._account.cash - reserved, Decimal(0))
            if cost > available:
                raise insufficient_dollars(cost, available)
        elif cost > (buying_power := self._account.buying_power(self._market.value, reserved)):
            raise insufficient_buying_power(cost, buying_power)

    def _check_shares(self, ticket: Ticket, asset: Listing, price: Decimal | None, promised: Decimal) -> None:
        held = self._account.holding(asset).qty
        wanted = ticket.qty
        if wanted is None:
            wanted = EXACT.divide(ticket.notional or Decimal(0), price) if price else Decimal(0)
            wanted = wanted.quantize(NANO, rounding=ROUND_DOWN, context=EXACT)
        available = max(held - promised, Decimal(0))
        if wanted > available:
            raise insufficient_quantity(asset.symbol, wanted, available, held)


def check_asset(asset: Listing) -> None:
    """Refuse what is listed but not traded.

    Raises:
        RefusalError: it is not.
    """
    if not asset.active:
        message = f"asset {asset.symbol} is not active"
        raise invalid(message)
    if not asset.tradable:
        message = f"asset {asset.symbol} is not tradable"
        raise forbidden(message)


def check_form(ticket: Ticket, asset: Listing) -> None:
    """Refuse what an asset of this class cannot be ordered as.

    Raises:
        RefusalError: time in force, fractions, hours or prices are not allowed.
    """
    if asset.crypto:
        _check_coins(ticket, asset)
    else:
        _check_stock(ticket, asset)


def _check_coins(ticket: Ticket, asset: Listing) -> None:
    if ticket.time_in_force not in {TimeInForce.GTC, TimeInForce.IOC}:
        message = "invalid crypto time_in_force"
        raise invalid(message)
    if ticket.qty is not None and ticket.qty % asset.min_trade_increment:
        message = f"qty must be a multiple of {plain(asset.min_trade_increment)}"
        raise invalid(message)
    if ticket.qty is not None and ticket.qty < asset.min_order_size:
        message = f"qty must be >= minimal order size {plain(asset.min_order_size)}"
        raise forbidden(message)
    if ticket.limit_price is not None and ticket.limit_price % asset.price_increment:
        message = f"limit_price must be a multiple of {plain(asset.price_increment)}"
        raise invalid(message)


def _check_stock(ticket: Ticket, asset: Listing) -> None:
    fractional = ticket.notional is not None or (ticket.qty is not None and bool(ticket.qty % 1))
    if fractional and not asset.fractionable:
        message = f'asset "{asset.symbol}" is not fractionable'
        raise forbidden(message)
    if fractional and ticket.time_in_force is not TimeInForce.DAY:
        message = "fractional orders must be DAY orders"
        raise invalid(message)
    if ticket.extended_hours:
        _check_extended(ticket, asset, fractional=fractional)
    if ticket.limit_price is not None:
        _check_tick(ticket.limit_price)


def _check_extended(ticket: Ticket, asset: Listing, *, fractional: bool) -> None:
    if ticket.kind is not Kind.LIMIT or ticket.time_in_force not in {TimeInForce.DAY, TimeInForce.GTC}:
        message = "extended hours order must be DAY or GTC limit orders"
        raise invalid(message)
    if fractional and EXTENDED not in asset.attributes:
        message = f'asset "{asset.symbol}" is not fractionable in extended hours'
        raise forbidden(message)


def _check_tick(limit: Decimal) -> None:
    """Refuse a limit between the steps of prices: a cent from a dollar on, a hundredth of a cent below (Rule 612)."""
    if limit % (_CENT if limit >= _DOLLAR else _TENTH_OF_A_MIL):
        message = f"invalid limit_price {plain(limit)}. sub-penny increment does not fulfill minimum pricing criteria"
        raise invalid(message)


def check_size(cost: Decimal | None) -> None:
    """Refuse an order about less than a dollar; None where no price is known.

    Raises:
        RefusalError: it is.
    """
    if cost is not None and cost < SMALLEST:
        message = f"cost basis must be >= minimal amount of order {plain(SMALLEST)}"
        raise forbidden(message)


def check_wash(ticket: Ticket, standing: list[Order]) -> None:
    """Refuse an order that could trade with one of the account's own.

    Raises:
        RefusalError: it could: one of the two is a market order, or the limits meet.
    """
    for order in standing:
        if order.ticket.side is ticket.side or order.replaced_by is not None:
            continue
        if _meet(ticket, order.ticket):
            raise wash_trade(order.id, order.ticket.kind)


def _meet(one: Ticket, other: Ticket) -> bool:
    buy, sell = (one, other) if one.side is Side.BUY else (other, one)
    if buy.limit_price is None or sell.limit_price is None:
        return True
    return buy.limit_price >= sell.limit_price


def cost_of(ticket: Ticket, price: Decimal | None, filled: Decimal = Decimal(0)) -> Decimal | None:
    """Give the dollars that the rest of an order is about, cents up; None where no price is known."""
    if ticket.qty is None:
        return ticket.notional
    at = ticket.limit_price if ticket.limit_price is not None else price
    return None if at is None else cents_up(EXACT.multiply(ticket.qty - filled, at))
