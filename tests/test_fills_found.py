"""Fills that no order report told: a broker's record of executions is another book, and is compared, too."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from mrdaemon.core import events as ev
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.orders import OrderReport, OrderRequest
from tests.test_desk import Room, ScriptedBroker


class TwoBooks(ScriptedBroker):
    """Lists no order, and keeps a record of executions besides."""

    def __init__(self) -> None:
        super().__init__()
        self.executions: dict[str, Decimal] = {}
        self.asked: list[Instant] = []

    async def taken_since(self, since: Instant) -> list[OrderReport]:
        return []

    async def filled_since(self, since: Instant) -> Mapping[str, Decimal]:
        self.asked.append(since)
        return self.executions


class Canceled(TwoBooks):
    """Ends an order as canceled with nothing filled; later five shares turn out to have filled before."""

    filled = Shares(Decimal(0))

    def report(self, request: OrderRequest, status: OrderStatus | None = None) -> OrderReport:
        average = Price(Decimal(95)) if self.filled else None
        return OrderReport(
            order=request.order, broker_order=f"b-{request.order}", symbol=request.symbol, side=request.side,
            status=OrderStatus.CANCELED, at=request.at, filled=self.filled, average=average,
            notional=request.notional, quantity=request.quantity,
        )  # fmt: skip


def room(folder: Path) -> tuple[Room, Canceled]:
    here = Room(folder)
    here.broker = broker = Canceled()
    here.clock = broker.clock
    here.start(here.engine.state)
    return here, broker


async def test_a_fill_that_only_the_record_of_executions_shows_is_applied(tmp_path: Path) -> None:
    here, broker = room(tmp_path)
    await here.reconciler.reconcile("paper")
    await here.trade()
    assert here.position.shares == 50
    broker.filled = Shares(Decimal(5))
    broker.executions = {here.order.broker_order: Decimal(5)}
    broker.holdings["QQQ"] = broker.holdings["QQQ"]._replace(shares=Shares(Decimal(55)))
    await here.reconciler.reconcile("paper")
    assert here.position.shares == 55
    assert [each.shares for each in here.of(ev.OrderFilled)] == [5]


async def test_what_is_counted_already_is_not_looked_up_again(tmp_path: Path) -> None:
    here, broker = room(tmp_path)
    await here.reconciler.reconcile("paper")
    await here.trade()
    broker.executions = {here.order.broker_order: Decimal(0), "somebody-elses": Decimal(7)}
    looked = len(broker.looked)
    await here.reconciler.reconcile("paper")
    assert len(broker.looked) == looked
    assert broker.asked
