"""An order: what was asked for, what came of it, and how both are written in answers and in updates."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.money import EXACT
from mrdaemon.simulator.assets import NANO, Listing
from mrdaemon.simulator.refusals import missing, plain


class Side(StrEnum):
    """Buy or sell."""

    BUY = "buy"
    SELL = "sell"


class Kind(StrEnum):
    """The types of order that are matched here."""

    MARKET = "market"
    LIMIT = "limit"


class TimeInForce(StrEnum):
    """How long an order stands."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class Status(StrEnum):
    """Where an order stands."""

    PENDING_NEW = "pending_new"
    ACCEPTED = "accepted"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"


CLOSED: Final = frozenset({Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REPLACED})
WAITING: Final = frozenset({Status.PENDING_NEW, Status.ACCEPTED})
"""Not in the book yet."""
NOTIONAL_MARGIN: Final = Decimal("0.01")
"""What a notional order leaves unspent: five dollars bought KO for 4.99 (recorded)."""


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to trade; everything in it is of a possible kind, not yet allowed."""

    symbol: str
    side: Side
    kind: Kind
    time_in_force: TimeInForce
    client_order_id: str
    qty: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    extended_hours: bool = False


class Execution(msgspec.Struct, frozen=True):
    """One fill of an order."""

    id: str
    qty: Decimal
    price: Decimal
    at: Instant


class Order(msgspec.Struct, kw_only=True):
    """One order. Only the exchange changes it."""

    id: str
    ticket: Ticket
    asset: Listing
    created: Instant
    updated: Instant
    expires: Instant
    status: Status
    not_before: Instant
    """When it may execute next."""
    priced_since: Instant = Instant(0)
    """It executes at no price that is older."""
    executions: list[Execution] = []
    busted: list[Execution] = []
    cancel_requested: Instant | None = None
    ended: Instant | None = None
    """When it was filled, canceled, expired or replaced."""
    filled_at: Instant | None = None
    replaced_by: str | None = None
    replaces: str | None = None

    @property
    def open(self) -> bool:
        """Tell whether it can still execute."""
        return self.status not in CLOSED

    @property
    def symbol(self) -> str:
        """Give the symbol."""
        return self.ticket.symbol

    @property
    def filled_qty(self) -> Decimal:
        """Give the shares of all its executions."""
        return sum((one.qty for one in self.executions), Decimal(0))

    @property
    def filled_value(self) -> Decimal:
        """Give the exact dollars of all its executions."""
        return sum((EXACT.multiply(one.qty, one.price) for one in self.executions), Decimal(0))

    def remaining(self, price: Decimal) -> Decimal:
        """Give how much is still to execute, at a price: of a notional order, what its rest buys."""
        ticket = self.ticket
        if ticket.notional is None:
            return (ticket.qty or Decimal(0)) - self.filled_qty
        rest = ticket.notional - NOTIONAL_MARGIN - self.filled_value
        steps = EXACT.divide_int(rest, EXACT.multiply(price, NANO))
        return max(EXACT.multiply(steps, NANO), Decimal(0))

    def answer(self) -> dict[str, object]:
        """Give the order as REST answers it."""
        return {**self._body(), "source": None, "subtag": None}

    def update(self) -> dict[str, object]:
        """Give the order as it stands within an update."""
        return {**self._body(), "cancel_requested_at": _stamp(self.cancel_requested)}

    def _body(self) -> dict[str, object]:
        ticket, filled = self.ticket, self.filled_qty
        average = EXACT.divide(self.filled_value, filled).quantize(NANO, context=EXACT) if filled else None
        return {
            "asset_class": self.asset.asset_class,
            "asset_id": self.asset.id,
            "canceled_at": self._ended_as(Status.CANCELED),
            "client_order_id": ticket.client_order_id,
            "created_at": iso(self.created),
            "expired_at": self._ended_as(Status.EXPIRED),
            "expires_at": iso(self.expires),
            "extended_hours": ticket.extended_hours,
            "failed_at": None,
            "filled_at": _stamp(self.filled_at),
            "filled_avg_price": _number(average),
            "filled_qty": plain(filled),
            "hwm": None,
            "id": self.id,
            "legs": None,
            "limit_price": _number(ticket.limit_price),
            "notional": _number(ticket.notional),
            "order_class": "",
            "order_type": ticket.kind.value,
            "position_intent": "buy_to_open" if ticket.side is Side.BUY else "sell_to_close",
            "qty": _number(ticket.qty),
            "replaced_at": self._ended_as(Status.REPLACED),
            "replaced_by": self.replaced_by,
            "replaces": self.replaces,
            "side": ticket.side.value,
            "status": self.status.value,
            "stop_price": None,
            "submitted_at": iso(self.created),
            "symbol": ticket.symbol,
            "time_in_force": ticket.time_in_force.value,
            "trail_percent": None,
            "trail_price": None,
            "type": ticket.kind.value,
            "updated_at": iso(self.updated),
        }

    def _ended_as(self, status: Status) -> str | None:
        return _stamp(self.ended) if self.status is status else None


class Book:
    """Every order there ever was, in the order of their arrival."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._by_client_id: dict[str, Order] = {}
        self._open: dict[str, dict[str, Order]] = {}

    def add(self, order: Order) -> None:
        """Keep a new order; its client order id is one that the book does not know."""
        self._orders[order.id] = order
        self._by_client_id[order.ticket.client_order_id] = order
        self._open.setdefault(order.symbol, {})[order.id] = order

    def knows(self, client_order_id: str) -> bool:
        """Tell whether a client order id was ever used."""
        return client_order_id in self._by_client_id

    def find(self, order_id: str) -> Order:
        """Give the order of an id.

        Raises:
            RefusalError: there is none.
        """
        order = self._orders.get(order_id)
        if order is None:
            message = f"order not found for {order_id}"
            raise missing(message)
        return order

    def of_client(self, client_order_id: str) -> Order:
        """Give the order of a client order id.

        Raises:
            RefusalError: there is none.
        """
        order = self._by_client_id.get(client_order_id)
        if order is None:
            message = f"order not found for {client_order_id}"
            raise missing(message)
        return order

    def __len__(self) -> int:
        return len(self._orders)

    def __iter__(self) -> Iterator[Order]:
        """Give every order, the oldest first."""
        return iter(list(self._orders.values()))

    def open(self, symbol: str | None = None) -> list[Order]:
        """Give the orders that can still execute, of one symbol or of all."""
        if symbol is None:
            return [order for each in list(self._open) for order in self.open(each)]
        standing = self._open.get(symbol, {})
        for order in [order for order in standing.values() if not order.open]:
            del standing[order.id]
        return list(standing.values())


def _stamp(at: Instant | None) -> str | None:
    return None if at is None else iso(at)


def _number(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)
