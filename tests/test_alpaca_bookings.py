"""What Alpaca books of its own accord: what is meant is taken over, and one odd record takes no other along."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from mrdaemon.alpaca.limiter import Limiter
from mrdaemon.alpaca.login import Login
from mrdaemon.alpaca.rest import Rest, threads
from mrdaemon.alpaca.socket import connect
from mrdaemon.brokers.alpaca import AlpacaBroker, Around
from mrdaemon.core.activity import Activity, Dividend, Fee, Split
from mrdaemon.core.money import Price
from tests.alpaca_support import Asked, SkippingClock, Wire, misbehaving
from tests.builders import dollars

DIVIDEND: dict[str, Any] = {
    "id": "20261120000000000::1",
    "activity_type": "DIV",
    "date": "2026-11-20",
    "symbol": "QQQ",
    "net_amount": "1.00",
    "per_share_amount": "0.02",
    "status": "executed",
}
FEE: dict[str, Any] = {
    "id": "20261120000000000::2",
    "activity_type": "FEE",
    "date": "2026-11-20",
    "net_amount": "-0.03",
    "description": "TAF",
    "status": "executed",
}
SPLIT: dict[str, Any] = {"id": "s1", "symbol": "QQQ", "new_rate": 4, "old_rate": 1, "ex_date": "2026-11-20"}
MEANT = [
    Dividend(
        id="20261120000000000::1", date="2026-11-20", symbol="QQQ", amount=dollars(1), per_share=Price(Decimal("0.02"))
    ),
    Fee(id="20261120000000000::2", date="2026-11-20", amount=dollars("0.03"), why="TAF"),
]
ANNOUNCED = Split(id="s1", date="2026-11-20", symbol="QQQ", new_rate=Decimal(4), old_rate=Decimal(1))


@asynccontextmanager
async def broker(activities: list[Any], announcements: dict[str, Any]) -> AsyncIterator[AlpacaBroker]:
    async def answer(asked: Asked, wire: Wire) -> None:
        body: object = activities if "activities" in asked.path else announcements
        wire.answer(200, json.dumps(body).encode())

    clock = SkippingClock()
    async with misbehaving(answer) as server:
        login = Login.of("PKTHEKEY", "thesecret", live=False, url=server.url)
        async with threads(login) as carrier:
            yield AlpacaBroker("alpaca", ["QQQ"], Around(login, Rest(carrier, Limiter(clock), clock), connect, clock))


async def booked(*activities: Any, **actions: Any) -> list[Activity]:
    async with broker(list(activities), {"corporate_actions": actions or None}) as there:
        return await there.booked(["QQQ"], "2026-11-01")


async def test_dividends_fees_and_splits_are_taken_over() -> None:
    assert await booked(DIVIDEND, FEE, forward_splits=[SPLIT], reverse_splits=None) == [ANNOUNCED, *MEANT]


async def test_a_date_with_a_time_is_its_date() -> None:
    timed = {"date": "2026-11-20T00:00:00Z"}
    assert await booked(DIVIDEND | timed, FEE | timed) == MEANT


async def test_a_date_that_is_not_said_is_that_of_the_transaction() -> None:
    assert await booked(DIVIDEND | {"date": None, "transaction_time": "2026-11-20T14:30:00.5Z"}, FEE) == MEANT


@pytest.mark.parametrize(
    "odd",
    [
        {"net_amount": "NaN"},
        {"net_amount": "Infinity"},
        {"net_amount": "1e70"},
        {"net_amount": ""},
        {"net_amount": []},
        {"per_share_amount": "NaN"},
        {"date": "yesterday"},
        {"date": None},
        {"date": "2026-13-01"},
    ],
)
async def test_an_activity_that_cannot_be_meant_takes_no_other_along(odd: dict[str, Any]) -> None:
    assert await booked(DIVIDEND | {"id": "odd"} | odd, DIVIDEND, FEE) == MEANT


@pytest.mark.parametrize(
    "quiet", [{"net_amount": None}, {"net_amount": "0"}, {"status": "canceled"}, {"activity_type": "CSD"}]
)
async def test_what_moves_no_cash_of_ours_is_nothing(quiet: dict[str, Any]) -> None:
    assert await booked(DIVIDEND | {"id": "quiet"} | quiet, DIVIDEND, FEE) == MEANT


@pytest.mark.parametrize(
    "odd",
    [
        {"new_rate": "NaN"},
        {"new_rate": 0},
        {"old_rate": -1},
        {"old_rate": "1e70"},
        {"new_rate": None},
        {"ex_date": None},
        {"ex_date": "soon"},
    ],
)
async def test_a_split_that_cannot_be_meant_takes_no_other_along(odd: dict[str, Any]) -> None:
    assert await booked(forward_splits=[SPLIT | odd, SPLIT]) == [ANNOUNCED]
