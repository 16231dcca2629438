"""What the local Alpaca refuses, as the official library tells of it: status, code and message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.fidelity import Alpaca, local_alpaca
from tests.fidelity_orders import GTC, SELL, limit, market, trade_a_little

# What is imported first keeps the library's warnings quiet.
# isort: split
from alpaca.common.exceptions import APIError
from alpaca.trading.requests import ReplaceOrderRequest


@pytest.fixture(scope="module")
def trader() -> Iterator[Alpaca]:
    """An account that nothing here changes."""
    with local_alpaca() as alpaca:
        for symbol, price in (("KO", 86.0), ("OCGN", 1.5), ("QQQ", 500.0), ("BTC/USD", 90_000.0)):
            alpaca.trade(symbol, price)
        trade_a_little(alpaca)
        yield alpaca


NOBODY = "00000000-0000-0000-0000-000000000000"
REFUSED: list[tuple[str, Callable[[Any], object], int, int, str]] = [
    (
        "a client order id twice",
        lambda it: it.submit_order(limit(80, client_order_id="first")),
        422,
        40010001,
        "client_order_id must be unique",
    ),
    (
        "a client order id of 129",
        lambda it: it.submit_order(limit(80, client_order_id="x" * 129)),
        422,
        40010001,
        "128",
    ),
    (
        "more than is held",
        lambda it: it.submit_order(market(side=SELL, qty=9)),
        403,
        40310000,
        "insufficient qty available for order",
    ),
    (
        "more than the buying power",
        lambda it: it.submit_order(market("QQQ", qty=9999)),
        403,
        40310000,
        "insufficient buying power",
    ),
    (
        "more coins than the cash",
        lambda it: it.submit_order(market("BTC/USD", qty=3, time_in_force=GTC)),
        403,
        40310000,
        "insufficient balance for USD",
    ),
    ("a wash trade", lambda it: it.submit_order(market(qty=1)), 403, 40310000, "potential wash trade detected"),
    (
        "fractions of a whole asset",
        lambda it: it.submit_order(market("OCGN", qty=1.5)),
        403,
        40310000,
        "not fractionable",
    ),
    (
        "fractions beyond the day",
        lambda it: it.submit_order(market("QQQ", qty=1.5, time_in_force=GTC)),
        422,
        42210000,
        "fractional orders must be DAY orders",
    ),
    (
        "less than a dollar",
        lambda it: it.submit_order(market("QQQ", notional=0.5)),
        403,
        40310000,
        "cost basis must be >= minimal amount of order 1",
    ),
    (
        "tenths of a cent of notional",
        lambda it: it.submit_order(market("QQQ", notional=5.001)),
        422,
        42210000,
        "2 decimal places",
    ),
    ("tenths of a cent of limit", lambda it: it.submit_order(limit(80.001)), 422, 42210000, "sub-penny"),
    ("an unknown symbol", lambda it: it.submit_order(market("NONE", qty=1)), 422, 42210000, '"NONE" not found'),
    ("what is not tradable", lambda it: it.submit_order(market("GONE", qty=1)), 422, 42210000, "not active"),
    (
        "coins for the day",
        lambda it: it.submit_order(market("BTC/USD", qty=0.1)),
        422,
        42210000,
        "invalid crypto time_in_force",
    ),
    ("an unknown order", lambda it: it.get_order_by_id(NOBODY), 404, 40410000, "order not found"),
    ("an unknown client order id", lambda it: it.get_order_by_client_id("none"), 404, 40410000, "order not found"),
    ("canceling an unknown order", lambda it: it.cancel_order_by_id(NOBODY), 404, 40410000, "order not found"),
    (
        "canceling a filled order",
        lambda it: it.cancel_order_by_id(it.get_order_by_client_id("first").id),
        422,
        42210000,
        'order is already in "filled" state',
    ),
    (
        "replacing a filled order",
        lambda it: it.replace_order_by_id(it.get_order_by_client_id("first").id, ReplaceOrderRequest(qty=2)),
        422,
        42210000,
        'order is already in "filled" state',
    ),
    ("a position that is not held", lambda it: it.get_open_position("QQQ"), 404, 40410000, "position does not exist"),
    ("closing what is not held", lambda it: it.close_position("QQQ"), 404, 40410000, "position does not exist"),
    ("closing what is promised", lambda it: it.close_position("KO"), 403, 40310000, "insufficient qty available"),
    ("an unknown asset", lambda it: it.get_asset("NONE"), 404, 40410000, "asset not found for NONE"),
]


@pytest.mark.parametrize(
    ("asked", "status", "code", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_refusals_have_the_status_code_and_message_of_the_service(
    trader: Alpaca, asked: Callable[[Any], object], status: int, code: int, message: str
) -> None:
    with pytest.raises(APIError) as caught:
        asked(trader.trading())
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert message in caught.value.message


def test_a_shortage_of_shares_comes_with_its_figures(trader: Alpaca) -> None:
    with pytest.raises(APIError) as caught:
        trader.trading().submit_order(market(side=SELL, qty=9))
    body = caught.value.response.json()
    figures = {"available": "4", "existing_qty": "5", "held_for_orders": "1", "symbol": "KO"}
    assert {name: body[name] for name in figures} == figures


def test_wrong_keys_are_refused(trader: Alpaca) -> None:
    with pytest.raises(APIError) as caught:
        trader.trading(secret="guess").get_account()
    assert (caught.value.status_code, caught.value.message) == (401, "unauthorized.")


def test_every_answer_tells_what_is_left_of_the_quota() -> None:
    with local_alpaca() as alpaca, pytest.raises(APIError) as caught:
        alpaca.trading().get_asset("NONE")
    headers = caught.value.response.headers
    assert headers["X-RateLimit-Limit"] == "200"
    assert headers["X-RateLimit-Remaining"] == "199"
    assert int(headers["X-RateLimit-Reset"]) == datetime(2026, 1, 6, 15, 1, tzinfo=UTC).timestamp()
