"""What happened in the account, one activity each, and which of them somebody asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from mrdaemon.core.instant import Instant, iso
from mrdaemon.simulator.hours import new_york
from mrdaemon.simulator.identity import uuid_of
from mrdaemon.simulator.orders import Execution, Order, Side, Status
from mrdaemon.simulator.refusals import RefusalError, plain

FILL: Final = "FILL"
LARGEST_PAGE: Final = 100


class Activity(msgspec.Struct, frozen=True):
    """One activity: when it came to be, and what REST answers."""

    at: Instant
    body: dict[str, object]

    @property
    def id(self) -> str:
        """Give its id."""
        return str(self.body["id"])

    @property
    def kind(self) -> str:
        """Give its type, such as FILL or DIV."""
        return str(self.body["activity_type"])


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which activities somebody wants, and how."""

    kinds: frozenset[str] | None = None
    order_id: str | None = None
    day: str | None = None
    after: Instant | None = None
    until: Instant | None = None
    ascending: bool = False
    page_size: int = LARGEST_PAGE
    page_token: str | None = None


class Activities:
    """Every activity of the account, oldest first."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._all: list[Activity] = []

    def __iter__(self) -> Iterator[Activity]:
        """Give every activity, the oldest first."""
        return iter(self._all)

    def fill(self, order: Order, execution: Execution) -> None:
        """Record an execution. The order has it already."""
        price = execution.price
        self._add(
            execution.at,
            FILL,
            {
                "cum_qty": plain(order.filled_qty),
                "leaves_qty": "0" if order.status is Status.FILLED else plain(order.remaining(price)),
                "order_id": order.id,
                "order_status": "filled" if order.status is Status.FILLED else "partially_filled",
                "price": plain(price),
                "qty": plain(execution.qty),
                "side": order.ticket.side.value,
                "symbol": order.symbol,
                "transaction_time": iso(Instant(execution.at // 1_000 * 1_000)),
                "type": "fill" if order.status is Status.FILLED else "partial_fill",
            },
        )

    def other(self, at: Instant, kind: str, amount: Decimal, more: Mapping[str, object]) -> None:
        """Record what is no trade: a dividend, a split, a fee, a deposit."""
        self._add(
            at,
            kind,
            {
                "created_at": iso(Instant(at // 1_000 * 1_000)),
                "currency": "USD",
                "date": new_york(at).date().isoformat(),
                "net_amount": plain(amount),
                "status": "executed",
                **more,
            },
        )

    def coin_fee(self, at: Instant, order: Order, kept: Decimal, price: Decimal) -> None:
        """Record the fee of a trade in coins: of what was credited, so coins for a purchase and dollars for a sale."""
        more: dict[str, object] = {"symbol": order.asset.position_symbol, "price": plain(price)}
        if order.ticket.side is Side.BUY:
            coins = {"qty": plain(-kept), "description": "Coin Pair Transaction Fee (Non USD)"}
            self.other(at, "CFEE", Decimal(0), more | coins)
        else:
            dollars = {"qty": "0", "description": "Coin Pair Transaction Fee (USD)"}
            self.other(at, "CFEE", -kept, more | dollars)

    def asked(self, asked: Asked) -> list[dict[str, object]]:
        """Give the activities that somebody wants.

        Raises:
            RefusalError: the page token is no activity's id.
        """
        found = [one for one in self._all if _wanted(one, asked)]
        if not asked.ascending:
            found.reverse()
        if asked.page_token:
            places = [place for place, one in enumerate(found) if one.id == asked.page_token]
            if not places:
                raise RefusalError(422, 40010001, "invalid page_token")
            found = found[places[0] + 1 :]
        return [one.body for one in found[: asked.page_size]]

    def _add(self, at: Instant, kind: str, body: Mapping[str, object]) -> None:
        stamp = new_york(at).strftime("%Y%m%d%H%M%S%f")[:17]
        name = f"{stamp}::{uuid_of(self._seed, 'activity', len(self._all))}"
        self._all.append(Activity(at, {"activity_type": kind, "id": name, **body}))


def _wanted(one: Activity, asked: Asked) -> bool:
    return (
        (asked.kinds is None or one.kind in asked.kinds)
        and (asked.order_id is None or one.body.get("order_id") == asked.order_id)
        and (asked.day is None or iso(one.at)[:10] == asked.day)
        and (asked.after is None or one.at > asked.after)
        and (asked.until is None or one.at < asked.until)
    )
