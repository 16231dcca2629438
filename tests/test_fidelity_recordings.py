"""What the local Alpaca answers and tells is what a paper account did: the same keys, kinds of values, and figures.

Recorded from a paper account on 8 October 2026, the order updates on 18 September 2026. The recordings lie beside the
repository; what they look like is carried over into it, and compared with them where they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrdaemon.calendar import MarketCalendar
from mrdaemon.core.instant import iso
from mrdaemon.simulator.assets import Listing
from mrdaemon.simulator.keys import Keys
from mrdaemon.simulator.simulator import Simulator
from tests.fidelity_shapes import kind
from tests.local_alpaca import LocalAlpaca, instant

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "fidelity_recorded.json").read_text())
RECORDINGS = Path(__file__).parents[2] / "shared" / "alpaca" / "recorded"
present = pytest.mark.skipif(
    not RECORDINGS.exists(), reason="the recordings lie beside the repository, and do not here"
)
"""They are not in the repository; what they say is, in ``RECORDED``, and is always tested."""

SUBMITTED = "2026-10-08T15:10:18.094153596Z"
"""When the order for five dollars of KO was recorded."""
KO = Listing(symbol="KO", name="Coca-Cola Company", exchange="NYSE")
OCGN = Listing(symbol="OCGN", name="Ocugen, Inc. Common Stock", fractionable=False)
FIVE_DOLLARS = {
    "symbol": "KO",
    "notional": "5",
    "side": "buy",
    "type": "market",
    "time_in_force": "day",
    "client_order_id": "rec20261008151015-1",
}


def recorded(name: str) -> Any:
    """Read a recording."""
    return json.loads((RECORDINGS / name).read_text())


def recorded_messages() -> list[Any]:
    return [json.loads(line) for line in (RECORDINGS / "trade_updates.jsonl").read_text().splitlines()]


class Paper:
    """The account that was recorded, again: five dollars of KO, when and at what price they were bought then."""

    def __init__(self) -> None:
        self.alpaca = LocalAlpaca(now=SUBMITTED, listings=[KO, OCGN])
        self.alpaca.trade("KO", 86.878)
        self.alpaca.trade("USDC/USD", 1.0)
        self.submitted: Any = json.loads(self.alpaca.ask("POST", "/v2/orders", FIVE_DOLLARS).body)
        self.alpaca.wait(1)

    def get(self, url: str) -> Any:
        return self.alpaca.get(url)


@pytest.fixture
def paper() -> Paper:
    return Paper()


# -- keys and kinds ---------------------------------------------------------------------------------------------------

READ: dict[str, Callable[[Paper], Any]] = {
    "account": lambda paper: paper.get("/v2/account"),
    "stock": lambda paper: paper.get("/v2/assets/KO"),
    "whole_stock": lambda paper: paper.get("/v2/assets/OCGN"),
    "coin": lambda paper: paper.get("/v2/assets/USDC%2FUSD"),
    "submitted": lambda paper: paper.submitted,
    "filled": lambda paper: paper.get(f"/v2/orders/{paper.submitted['id']}"),
    "position": lambda paper: paper.get("/v2/positions")[0],
    "fill_activity": lambda paper: paper.get("/v2/account/activities/FILL")[0],
}


@pytest.mark.parametrize("name", READ)
def test_an_answer_has_the_recorded_keys_and_kinds(paper: Paper, name: str) -> None:
    assert kind(READ[name](paper)) == RECORDED[name]


@pytest.mark.parametrize("event", ["pending_new", "new", "fill"])
def test_an_order_update_has_the_recorded_keys_and_kinds(event: str) -> None:
    [update] = [each for each in coins_sold().updates if each["event"] == event]
    assert kind(update) == RECORDED[f"update_{event}"]


def coins_sold() -> LocalAlpaca:
    """Sell coins as they were sold for the recording."""
    alpaca = LocalAlpaca(now="2026-09-18T13:24:49.018261663Z")
    bought = alpaca.bought("DOGE/USD", "130.025063", 0.0851119)
    del alpaca.updates[:]
    assert bought.status == "filled"
    left = alpaca.get("/v2/positions")[0]["qty"]
    alpaca.order("DOGE/USD", "sell", qty=left, time_in_force="gtc")
    alpaca.wait(1)
    return alpaca


def test_the_events_of_a_market_order_come_in_the_recorded_order() -> None:
    assert [each["event"] for each in coins_sold().updates] == ["pending_new", "new", "fill"]


def test_events_are_numbered_upwards() -> None:
    numbers = [each["event_id"] for each in coins_sold().updates]
    assert numbers == sorted(set(numbers))


# -- figures ----------------------------------------------------------------------------------------------------------

TIMES = {"filled_at", "updated_at"}
"""Times that depend on how fast an exchange is."""
IDS = {"id", "asset_id"}


def test_five_dollars_bought_what_they_bought_then(paper: Paper) -> None:
    filled = READ["filled"](paper)
    assert {name: filled[name] for name in ("filled_qty", "filled_avg_price", "status", "qty", "notional")} == {
        "filled_qty": "0.057436865",
        "filled_avg_price": "86.878",
        "status": "filled",
        "qty": None,
        "notional": "5",
    }


WORDS = {
    "asset_class": "us_equity",
    "expires_at": "2026-10-08T20:00:00Z",
    "extended_hours": False,
    "order_class": "",
    "order_type": "market",
    "position_intent": "buy_to_open",
    "side": "buy",
    "symbol": "KO",
    "time_in_force": "day",
    "type": "market",
}


def test_an_order_is_described_in_the_recorded_words(paper: Paper) -> None:
    submitted, filled = paper.submitted, READ["filled"](paper)
    assert {name: submitted[name] for name in WORDS} == {name: filled[name] for name in WORDS} == WORDS
    assert (submitted["status"], submitted["filled_qty"], filled["status"]) == ("pending_new", "0", "filled")


def test_an_order_of_the_day_expires_with_the_session(paper: Paper) -> None:
    assert (paper.submitted["created_at"], paper.submitted["expires_at"]) == (SUBMITTED, "2026-10-08T20:00:00Z")


def test_an_order_good_till_canceled_expires_with_the_recorded_day() -> None:
    [sale] = [each["order"] for each in coins_sold().updates if each["event"] == "new"]
    assert sale["expires_at"] == "2026-12-16T21:00:00Z"


def test_an_activity_is_named_after_its_time_in_new_york(paper: Paper) -> None:
    fill = READ["fill_activity"](paper)
    assert fill["id"].startswith("20261008111018")
    assert fill["transaction_time"].startswith("2026-10-08T15:10:18.")
    assert (fill["qty"], fill["cum_qty"], fill["leaves_qty"]) == ("0.057436865", "0.057436865", "0")


def test_a_sale_of_all_coins_leaves_a_position_of_nothing() -> None:
    fill = coins_sold().updates[-1]
    assert (fill["position_qty"], fill["swap_rate"], fill["settle_date"]) == ("0", "1", "2026-09-18")


@present
@pytest.mark.parametrize(
    ("name", "file"), [("submitted", "order_notional_submit.json"), ("filled", "order_notional_filled.json")]
)
def test_the_whole_order_is_the_recorded_one(paper: Paper, name: str, file: str) -> None:
    answered, then = READ[name](paper), recorded(file)
    assert {key: answered[key] for key in answered.keys() - TIMES - IDS} == {
        key: then[key] for key in then.keys() - TIMES - IDS
    }


@present
@pytest.mark.parametrize(("name", "number"), [("stock", 0), ("whole_stock", 1), ("coin", 2)])
def test_an_asset_is_the_recorded_one(paper: Paper, name: str, number: int) -> None:
    own = {"id", "name", "min_order_size"}
    answered, then = READ[name](paper), recorded("assets.json")[number]
    assert {key: answered[key] for key in answered.keys() - own} == {key: then[key] for key in then.keys() - own}


# -- the order-update stream's other messages -------------------------------------------------------------------------

DEPRECATED = (
    "this authentication format is being deprecated. Please use the format: "
    '{"action": "auth", "key": "x", "secret": "x"}'
)
AUTHORIZED = {
    "stream": "authorization",
    "data": {"action": "authenticate", "message": DEPRECATED, "status": "authorized"},
}
LISTENING = {"stream": "listening", "data": {"streams": ["trade_updates"]}}


def greeted() -> list[Any]:
    """Authenticate and listen as was recorded; gives the answers, which come in binary frames."""
    keys, at, frames = Keys(), instant(SUBMITTED), list[bytes | str]()
    session = Simulator(lambda: at, MarketCalendar(), keys=keys).connect("/stream", {}, frames.append, lambda *_: None)
    session.opened({})
    login = {"action": "authenticate", "data": {"key_id": keys.key_id, "secret_key": keys.secret}}
    session.receive(json.dumps(login))
    session.receive(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
    assert all(isinstance(frame, bytes) for frame in frames)
    return [json.loads(frame) for frame in frames]


def test_authentication_and_listening_are_answered_as_recorded() -> None:
    assert greeted() == [AUTHORIZED, LISTENING]


# -- what was carried over --------------------------------------------------------------------------------------------


@present
def test_what_was_carried_over_is_what_was_recorded() -> None:
    account, assets = recorded("account.json"), recorded("assets.json")
    updates = {f"update_{each['data']['event']}": kind(each["data"]) for each in recorded_messages()[2:]}
    assert {
        "account": kind(account) | {"id": "uuid"},  # it was blotted out
        "stock": kind(assets[0]),
        "whole_stock": kind(assets[1]),
        "coin": kind(assets[2]),
        "submitted": kind(recorded("order_notional_submit.json")),
        "filled": kind(recorded("order_notional_filled.json")),
        "position": kind(recorded("positions.json")[0]),
        "fill_activity": kind(recorded("fill_activities.json")[0]),
        **updates,
    } == RECORDED


@present
def test_the_stream_answers_that_were_carried_over_are_the_recorded_ones() -> None:
    assert recorded_messages()[:2] == [AUTHORIZED, LISTENING]


# -- the comparison can fail ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.50", "text"),
        ("1.5", "decimal"),
        ("1e-9", "text"),
        ("2026-10-08", "date"),
        ("2026-10-08T15:10:18Z", "second"),
        ("2026-10-08T15:10:18.097465Z", "microsecond"),
        ("2026-10-08T15:10:18.0952164Z", "nanosecond"),
        (iso(instant(SUBMITTED)), "nanosecond"),
        ("2026-10-08T11:10:18-04:00", "local instant"),
        ("f1a08ee3-8b15-4d31-b04b-944f30a06604", "uuid"),
    ],
)
def test_kinds_of_text_are_told_apart(text: str, expected: str) -> None:
    assert kind(text) == expected


@pytest.mark.parametrize(("value", "expected"), [(1, "integer"), (1.0, "number"), (True, "bool"), (None, None)])
def test_kinds_of_values_are_told_apart(value: object, expected: str | None) -> None:
    assert kind(value) == expected
