"""Every REST answer of the local Alpaca follows the service's own OpenAPI specifications.

The specifications are not part of this repository. Where they are absent, what needs them is left out; the shape of
every answer, found to follow them, is checked everywhere.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.fidelity_shapes import shape
from tests.fidelity_specification import PRESENT, TRADING, read, specification
from tests.fidelity_tour import DATA, REFUSED, STEPS, TRADES, Step, Visit, tour
from tests.local_alpaca import LocalAlpaca

specified = pytest.mark.skipif(
    not PRESENT, reason="the OpenAPI specifications lie beside the repository, and do not here"
)
"""They are Alpaca's and not in the repository; the shapes that held against them are, and are always tested."""
each_step = pytest.mark.parametrize("step", STEPS, ids=[step.name for step in STEPS])
each_answer = pytest.mark.parametrize(
    "step", [step for step in [*TRADES, *DATA] if step.status != 204], ids=lambda step: step.name
)

GOLDEN = Path(__file__).parent / "fidelity_shapes.json"

# -- where the specification is not what the service does -------------------------------------------------------------

UNMENTIONED_STATUSES = {
    ("GET", "/v2/orders", 422): "a filter that cannot be read",
    ("GET", "/v2/orders/{order_id}", 404): "there is no such order",
    ("GET", "/v2/orders:by_client_order_id", 404): "there is no such order",
    ("PATCH", "/v2/orders/{order_id}", 422): "an order that has ended cannot be replaced",
    ("DELETE", "/v2/orders/{order_id}", 404): "there is no such order",
    ("GET", "/v2/positions/{symbol_or_asset_id}", 404): "nothing is held",
    ("DELETE", "/v2/positions/{symbol_or_asset_id}", 404): "nothing is held",
}
"""The specification mentions hardly any refusal of the trading service; these have the codes that programs rely on."""

UNMENTIONED_KEYS = {
    "source": "recorded in orders",
    "subtag": "recorded in orders",
    "admin_configurations": "recorded in the account",
    "crypto_tier": "recorded in the account",
    "effective_buying_power": "recorded in the account",
    "position_market_value": "recorded in the account",
    "user_configurations": "recorded in the account",
    "description": "activities of fees say what they are for; the official library has it in its model of an activity",
}

CONTRADICTED = {
    ".date format": "an activity's date is a day: the specification calls it a date-time, and shows a day itself",
}

REFUSED_CLOSING = {
    "available",
    "code",
    "existing_qty",
    "held_for_orders",
    "message",
    "symbol",
}
"""Where a position cannot be closed, the outcome has a refusal where the specification has nothing but an order; the
official library reads both."""


def visit(step: Step) -> Visit:
    return tour()[step.name]


def without_what_is_known(step: Step, body: Any) -> Any:
    """Take away what the exceptions above are about, so that all the rest is checked."""
    if step.path.startswith("/v2/account/activities"):
        return [{key: value for key, value in one.items() if key != "date"} for one in body]
    if step.path == "/v2/positions" and step.method == "DELETE":
        return [one for one in body if one["status"] == 200]
    return body


# -- the specifications -----------------------------------------------------------------------------------------------


@specified
@each_answer
def test_an_answer_follows_its_schema(step: Step) -> None:
    schema = specification(step).schema(step, step.status)
    assert schema is not None
    body = without_what_is_known(step, visit(step).body)
    assert specification(step).contradictions(schema, body) == []


@specified
@each_answer
def test_an_answer_has_no_key_that_nobody_knows(step: Step) -> None:
    schema = specification(step).schema(step, step.status)
    assert schema is not None
    unheard = specification(step).unheard_of(schema, without_what_is_known(step, visit(step).body))
    assert {place.rpartition(".")[2] for place in unheard} <= set(UNMENTIONED_KEYS)


@specified
@each_step
def test_a_status_is_one_that_the_operation_has(step: Step) -> None:
    mentioned = specification(step).statuses(step)
    assert step.status in mentioned or (step.method, step.path, step.status) in UNMENTIONED_STATUSES


@specified
@each_step
def test_an_answer_has_the_headers_that_the_operation_has(step: Step) -> None:
    if step.status in specification(step).statuses(step):
        assert specification(step).headers(step, step.status) <= set(visit(step).headers)


@specified
@pytest.mark.parametrize("step", [step for step in REFUSED if step.path.startswith("/v2/orders")], ids=str)
def test_a_refusal_of_the_trading_service_follows_its_schema(step: Step) -> None:
    trading = read(TRADING)
    assert trading.contradictions(trading.named("Error"), visit(step).body) == []


# -- the exceptions are still needed, and no more than these ----------------------------------------------------------


@specified
@pytest.mark.parametrize(("method", "path", "status"), list(UNMENTIONED_STATUSES))
def test_a_status_that_is_excused_is_unmentioned(method: str, path: str, status: int) -> None:
    [step, *_] = [each for each in REFUSED if (each.method, each.path, each.status) == (method, path, status)]
    assert status not in specification(step).statuses(step)


@specified
def test_the_keys_that_are_excused_are_unmentioned() -> None:
    found: set[str] = set()
    for step in [*TRADES, *DATA]:
        schema = specification(step).schema(step, step.status)
        if schema is not None:
            body = without_what_is_known(step, visit(step).body)
            found |= {place.rpartition(".")[2] for place in specification(step).unheard_of(schema, body)}
    assert found == set(UNMENTIONED_KEYS)


@specified
def test_the_day_of_an_activity_is_all_that_contradicts_its_schema() -> None:
    trading = read(TRADING)
    [dividend] = tour()["GET /v2/account/activities/DIV"].body
    contradictions = trading.contradictions(trading.named("NonTradeActivities"), dividend)
    assert [each.partition(":")[0] for each in contradictions] == list(CONTRADICTED)


def test_a_position_that_cannot_be_closed_has_a_refusal_in_its_outcome() -> None:
    refused = [one for one in tour()["DELETE /v2/positions"].body if one["status"] != 200]
    assert [(one["symbol"], set(one["body"])) for one in refused] == [("KO", REFUSED_CLOSING)]


# -- the checks can fail ----------------------------------------------------------------------------------------------


@specified
@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"id": "none"}, ".id format"),
        ({"qty": 1}, ".qty type"),
        ({"status": "odd"}, ".status enum"),
        ({"created_at": "yesterday"}, ".created_at format"),
    ],
)
def test_what_is_wrong_with_an_order_is_noticed(wrong: dict[str, Any], place: str) -> None:
    trading = read(TRADING)
    order = tour()["GET /v2/orders/{notional}"].body
    assert place in {each.partition(":")[0] for each in trading.contradictions(trading.named("Order"), order | wrong)}


@specified
def test_what_an_order_lacks_or_has_too_much_is_noticed() -> None:
    trading = read(TRADING)
    order = tour()["GET /v2/orders/{notional}"].body
    del order["type"]
    assert trading.contradictions(trading.named("Order"), order) == [" required: 'type' is a required property"]
    assert "odd" in [place[1:] for place in trading.unheard_of(trading.named("Order"), order | {"odd": 1})]


# -- without the specifications ---------------------------------------------------------------------------------------


def test_the_tour_has_an_answer_of_every_route() -> None:
    routes = {(one.method, one.path.pattern) for one in LocalAlpaca().rest._routes}
    answered = [step for step in [*TRADES, *DATA] if step.status < 400]
    seen = {
        (method, pattern)
        for method, pattern in routes
        for step in answered
        if step.method == method and re.fullmatch(pattern, unquote(step.url.partition("?")[0]))
    }
    assert routes - seen == set()


@each_step
def test_a_step_is_answered_with_the_status_expected(step: Step) -> None:
    assert visit(step).status == step.status


@each_step
def test_an_answer_has_the_shape_that_followed_the_specification(step: Step) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert shape(visit(step)) == golden[step.name]


def test_no_shape_is_left_over() -> None:
    assert set(json.loads(GOLDEN.read_text())) == {step.name for step in STEPS}


@each_step
def test_an_answer_tells_what_is_left_of_the_quota(step: Step) -> None:
    limit, left, reset = (int(visit(step).headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))
    assert 0 <= left < limit == 200
    assert reset % 60 == 0


@pytest.mark.parametrize("step", REFUSED, ids=lambda step: step.name)
def test_a_refusal_says_why_and_trading_adds_a_code(step: Step) -> None:
    body = visit(step).body
    assert isinstance(body["message"], str)
    assert body["message"]
    codes = [body["code"]] if "code" in body else []
    assert [code // 100_000 for code in codes] in ([], [step.status], [400])
    assert bool(codes) == step.path.startswith(("/v2/orders", "/v2/positions", "/v2/assets"))


@pytest.mark.parametrize(("url", "code"), [("/v2/account", 40110000), ("/v2/stocks/KO/trades/latest", None)])
def test_wrong_keys_are_unauthorized(url: str, code: int | None) -> None:
    answer = LocalAlpaca().ask("GET", url, headers={"apca-api-key-id": "PK", "apca-api-secret-key": "guess"})
    expected = {"code": code, "message": "unauthorized."} if code else {"message": "unauthorized."}
    assert (answer.status, json.loads(answer.body)) == (401, expected)


def test_a_trade_of_a_pair_tells_who_took() -> None:
    trades = tour()["GET /v1beta3/crypto/us/latest/trades?symbols=BTC/USD"].body["trades"]
    assert trades["BTC/USD"]["tks"] in {"B", "S"}
