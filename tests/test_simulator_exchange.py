"""The local exchange: what becomes of orders, of the account and of time."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrdaemon.core.instant import NEVER
from mrdaemon.simulator.assets import Listing
from mrdaemon.simulator.exchange import ExchangeRules
from mrdaemon.simulator.orders import Status
from mrdaemon.simulator.refusals import RefusalError
from tests.local_alpaca import ALL_PARTS, LocalAlpaca


def refused(alpaca: LocalAlpaca, symbol: str, side: str = "buy", **fields: object) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        alpaca.order(symbol, side, **fields)
    return caught.value


# -- a market order ---------------------------------------------------------------------------------------------------


def test_a_market_order_is_pending_new_and_fills_some_milliseconds_later() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.878)
    order = alpaca.order("KO", qty="2")
    assert (order.status, order.filled_qty) == (Status.PENDING_NEW, Decimal(0))
    assert 0 < alpaca.exchange.next_due - alpaca.at < 50_000_000
    alpaca.wait(1)
    assert (order.status, order.filled_qty) == (Status.FILLED, Decimal(2))
    assert alpaca.events == ["pending_new", "new", "fill"]


def test_a_notional_order_buys_what_the_recorded_one_bought() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.878)
    order = alpaca.order("KO", notional="5")
    alpaca.wait(1)
    assert order.filled_qty == Decimal("0.057436865")
    assert alpaca.exchange.ledger.cash == Decimal("99995.01")


def test_a_notional_sale_sells_what_its_dollars_are_worth() -> None:
    alpaca = LocalAlpaca()
    alpaca.bought("KO", "3", 100.0)
    order = alpaca.order("KO", "sell", notional="150")
    assert alpaca.exchange.position("KO")["qty_available"] == "1.5001"
    alpaca.wait(1)
    assert (order.status, order.filled_qty) == (Status.FILLED, Decimal("1.4999"))
    assert alpaca.exchange.position("KO")["qty"] == "1.5001"


def test_buys_execute_at_the_ask_and_sells_at_the_bid_of_a_fresh_quote() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.0)
    alpaca.quote("KO", 86.5, 86.6)
    bought = alpaca.order("KO", qty="1")
    alpaca.wait(1)
    sold = alpaca.order("KO", "sell", qty="1")
    alpaca.wait(1)
    assert bought.answer()["filled_avg_price"] == "86.6"
    assert sold.answer()["filled_avg_price"] == "86.5"


def test_a_quote_that_is_old_gives_way_to_the_last_trade() -> None:
    alpaca = LocalAlpaca()
    alpaca.quote("KO", 86.5, 86.6)
    alpaca.trade("KO", 90.0)
    alpaca.wait(6)
    order = alpaca.order("KO", qty="1")
    alpaca.wait(1)
    assert order.answer()["filled_avg_price"] == "90"


def test_an_order_without_any_price_waits_for_one() -> None:
    alpaca = LocalAlpaca(listings=[Listing(symbol="KO")])
    order = alpaca.order("KO", qty="1")
    alpaca.wait(60)
    assert order.status == "new"
    alpaca.trade("KO", 50.0)
    assert order.status == "filled"


@pytest.mark.parametrize("price", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_print_that_is_no_price_executes_nothing(price: float) -> None:
    alpaca = LocalAlpaca(listings=[Listing(symbol="KO")])
    order = alpaca.order("KO", qty="1")
    alpaca.wait(1)
    alpaca.trade("KO", price)
    assert order.status == "new"


# -- limit orders, and how long orders stand --------------------------------------------------------------------------


def test_a_limit_order_waits_for_its_price_and_fills_at_the_better_one() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="1", type="limit", limit_price="85")
    alpaca.wait(1)
    assert order.status == "new"
    alpaca.trade("KO", 84.5)
    assert order.answer()["filled_avg_price"] == "84.5"


def test_a_sell_limit_is_not_filled_below_its_limit() -> None:
    alpaca = LocalAlpaca()
    alpaca.bought("KO", "1", 86.0)
    order = alpaca.order("KO", "sell", qty="1", type="limit", limit_price="87")
    alpaca.wait(1)
    assert order.status == "new"
    alpaca.trade("KO", 87.0)
    assert order.status == "filled"


def test_an_order_of_the_day_expires_after_the_close() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="1", type="limit", limit_price="80")
    alpaca.until("2026-01-06T21:00:00Z")
    assert order.open
    alpaca.wait(1)
    assert order.status == "expired"
    assert alpaca.events[-1] == "expired"
    assert order.answer()["expired_at"] is not None


def test_an_order_good_till_canceled_stands_overnight_but_not_executes() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="1", type="limit", limit_price="80", time_in_force="gtc")
    alpaca.until("2026-01-06T23:00:00Z")
    alpaca.trade("KO", 79.0)
    assert order.status == "new"
    alpaca.until("2026-01-07T15:00:00Z")
    alpaca.trade("KO", 79.0)
    assert order.status == "filled"


def test_an_immediate_order_cancels_what_does_not_fill_at_once() -> None:
    alpaca = LocalAlpaca(ALL_PARTS)
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="10", time_in_force="ioc")
    alpaca.wait(1)
    assert order.status == "canceled"
    assert 0 < order.filled_qty < 10
    assert alpaca.events == ["pending_new", "new", "partial_fill", "canceled"]


def test_an_order_in_a_closed_market_is_accepted_and_waits_for_the_opens_own_price() -> None:
    alpaca = LocalAlpaca(now="2026-01-06T13:00:00Z")
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="1")
    assert order.status == "accepted"
    alpaca.trade("KO", 87.0)
    assert order.status == "accepted"
    alpaca.until("2026-01-06T14:30:00Z")
    assert order.status == "new"
    alpaca.trade("KO", 88.0)
    assert order.answer()["filled_avg_price"] == "88"
    assert alpaca.events == ["accepted", "new", "fill"]


def test_a_limit_order_for_extended_hours_fills_before_the_open() -> None:
    alpaca = LocalAlpaca(now="2026-01-06T10:00:00Z")
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="1", type="limit", limit_price="87", extended_hours=True)
    alpaca.wait(1)
    assert order.status == "filled"


def test_an_order_for_extended_hours_expires_with_the_late_session() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="1", type="limit", limit_price="80", extended_hours=True)
    assert order.answer()["expires_at"] == "2026-01-07T01:00:00Z"


def test_an_order_for_extended_hours_waits_through_the_night() -> None:
    alpaca = LocalAlpaca(now="2026-01-06T08:00:00Z")
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="1", type="limit", limit_price="87", extended_hours=True)
    assert (order.status, order.answer()["expires_at"]) == (Status.ACCEPTED, "2026-01-07T01:00:00Z")
    alpaca.until("2026-01-06T09:00:00Z")
    alpaca.trade("KO", 86.0)
    assert order.status is Status.FILLED


def test_an_order_for_extended_hours_fills_after_the_close_and_belongs_to_that_day() -> None:
    alpaca = LocalAlpaca(now="2026-01-06T22:00:00Z")
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="1", type="limit", limit_price="87", extended_hours=True)
    assert order.answer()["expires_at"] == "2026-01-07T01:00:00Z"
    alpaca.wait(1)
    assert order.status == "filled"


def test_coins_trade_on_a_sunday_night() -> None:
    alpaca = LocalAlpaca(now="2026-01-04T03:00:00Z")
    order = alpaca.bought("BTC/USD", "0.01", 90_000.0)
    assert order.status == "filled"


def test_a_halted_symbol_executes_nothing_until_it_resumes() -> None:
    alpaca = LocalAlpaca()
    statuses: list[Any] = []
    alpaca.exchange.listen_status(statuses.append)
    alpaca.trade("KO", 86.0)
    alpaca.exchange.halt("KO")
    order = alpaca.order("KO", qty="1")
    alpaca.wait(60)
    assert order.status == "new"
    alpaca.exchange.resume("KO")
    assert order.status == "filled"
    assert [status["sc"] for status in statuses] == ["H", "T"]


# -- partial fills ----------------------------------------------------------------------------------------------------


def test_a_partial_fill_leaves_a_rest_that_follows() -> None:
    alpaca = LocalAlpaca(ExchangeRules(partial_fills=Decimal("0.5"), seed=3))
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="100")
    alpaca.wait(30)
    quantities = [Decimal(update["qty"]) for update in alpaca.updates if update["event"] in {"fill", "partial_fill"}]
    assert order.status == "filled"
    assert len(quantities) > 1
    assert sum(quantities) == 100
    assert all(quantity == int(quantity) for quantity in quantities)


def test_one_order_in_ten_fills_in_parts() -> None:
    alpaca = LocalAlpaca(ExchangeRules(cash=Decimal(10_000_000)))
    alpaca.trade("KO", 86.0)
    for _ in range(500):
        alpaca.order("KO", qty="10")
    alpaca.wait(60)
    parted = {update["order"]["id"] for update in alpaca.updates if update["event"] == "partial_fill"}
    assert 25 <= len(parted) <= 85


def test_the_same_seed_gives_the_same_updates() -> None:
    def told(seed: int) -> list[dict[str, Any]]:
        alpaca = LocalAlpaca(ExchangeRules(seed=seed, partial_fills=Decimal("0.5")))
        alpaca.trade("KO", 86.0)
        alpaca.order("KO", qty="7.5")
        alpaca.wait(10)
        return alpaca.updates

    assert told(7) == told(7)
    assert told(7) != told(8)


# -- ending -----------------------------------------------------------------------------------------------------------


def test_a_notional_order_in_parts_spends_no_more_than_its_notional() -> None:
    alpaca = LocalAlpaca(ALL_PARTS)
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", notional="500")
    for step in range(200):
        alpaca.wait(1)
        alpaca.trade("KO", 86.0 + step % 3)
    assert order.status == "filled"
    assert len(order.executions) > 1
    assert Decimal("499.98") < order.filled_value <= Decimal("499.99")


def test_a_cancel_takes_effect_a_little_later() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="1", type="limit", limit_price="80")
    alpaca.wait(1)
    alpaca.exchange.cancel(order.id)
    assert order.status == "pending_cancel"
    alpaca.wait(1)
    assert order.status == "canceled"
    assert alpaca.events[-1] == "canceled"


def test_a_filled_order_cannot_be_canceled() -> None:
    alpaca = LocalAlpaca()
    order = alpaca.bought("KO", "1")
    with pytest.raises(RefusalError) as caught:
        alpaca.exchange.cancel(order.id)
    assert (caught.value.status, caught.value.body["code"]) == (422, 42210000)


def test_what_has_filled_does_not_expire_at_the_close() -> None:
    alpaca = LocalAlpaca()
    order = alpaca.bought("KO", "1")
    alpaca.until("2026-01-07T15:00:00Z")
    assert order.status == "filled"
    assert alpaca.events == ["pending_new", "new", "fill"]


def test_a_cancel_is_asked_for_once() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="1", type="limit", limit_price="80")
    alpaca.exchange.cancel(order.id)
    with pytest.raises(RefusalError, match='already in "pending_cancel" state'):
        alpaca.exchange.cancel(order.id)


def test_an_order_that_was_canceled_before_it_arrived_never_executes() -> None:
    alpaca = LocalAlpaca(ExchangeRules(latency_ms=(10.0, 10.0)))
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="1")
    alpaca.wait(0.005)
    alpaca.exchange.cancel(order.id)
    alpaca.wait(1)
    assert alpaca.events == ["pending_new", "canceled"]


def test_a_replacement_is_not_smaller_than_what_has_filled() -> None:
    alpaca = LocalAlpaca(ExchangeRules(partial_fills=Decimal(1), rest_latency_ms=(60_000.0, 60_000.0)))
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="10", type="limit", limit_price="87")
    alpaca.wait(1)
    filled = order.filled_qty
    assert 0 < filled < 10
    with pytest.raises(RefusalError, match="qty must be above"):
        alpaca.exchange.replace(order.id, {"qty": filled}, "smaller")
    following = alpaca.exchange.replace(order.id, {"qty": filled + 2}, "larger")
    assert following.answer()["qty"] == "2"


def test_only_a_standing_limit_order_is_replaced() -> None:
    alpaca = LocalAlpaca()
    filled = alpaca.bought("KO", "1")
    with pytest.raises(RefusalError, match='already in "filled" state'):
        alpaca.exchange.replace(filled.id, {"qty": Decimal(2)}, "again")
    waiting = alpaca.order("KO", qty="1")
    with pytest.raises(RefusalError, match="only limit orders"):
        alpaca.exchange.replace(waiting.id, {"qty": Decimal(2)}, "again")


def test_a_replaced_order_no_longer_holds_buying_power() -> None:
    alpaca = LocalAlpaca(ExchangeRules(multiplier=1, cash=Decimal(1_000)))
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="10", type="limit", limit_price="80")
    alpaca.wait(1)
    alpaca.exchange.replace(order.id, {"qty": Decimal(12)}, "larger")
    assert alpaca.exchange.account()["buying_power"] == "40"


def test_a_replacement_takes_the_place_of_a_standing_limit_order() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.0)
    order = alpaca.order("KO", qty="1", type="limit", limit_price="80")
    alpaca.wait(1)
    following = alpaca.exchange.replace(order.id, {"limit_price": Decimal(90)}, "second")
    assert (order.status, order.replaced_by, following.replaces) == ("replaced", following.id, order.id)
    alpaca.wait(1)
    assert following.status == "filled"
    assert "replaced" in alpaca.events


def test_a_busted_execution_gives_back_shares_and_dollars() -> None:
    alpaca = LocalAlpaca()
    order = alpaca.bought("KO", "3", 100.0)
    alpaca.exchange.bust(order.id)
    assert alpaca.exchange.positions() == []
    assert alpaca.exchange.ledger.cash == Decimal("100000.00")
    assert alpaca.updates[-1]["event"] == "trade_bust"
    assert alpaca.updates[-1]["order"]["filled_qty"] == "0"


def test_what_was_sold_since_cannot_be_busted() -> None:
    alpaca = LocalAlpaca()
    order = alpaca.bought("KO", "3", 100.0)
    alpaca.order("KO", "sell", qty="1")
    alpaca.wait(1)
    with pytest.raises(RefusalError, match="is sold"):
        alpaca.exchange.bust(order.id)


def test_a_corrected_execution_changes_only_its_price() -> None:
    alpaca = LocalAlpaca()
    order = alpaca.bought("KO", "3", 100.0)
    alpaca.exchange.correct(order.id, Decimal(101))
    assert alpaca.exchange.ledger.cash == Decimal("99697.00")
    assert alpaca.exchange.position("KO")["qty"] == "3"
    assert alpaca.updates[-1]["event"] == "trade_correct"


# -- refusals ---------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    name: str
    status: int
    code: int
    words: str
    symbol: str = "KO"
    side: str = "buy"
    fields: dict[str, object] | None = None


PARTICULAR = [
    Listing(symbol="OCGN", fractionable=False),
    Listing(
        symbol="DOGE/USD",
        min_order_size=Decimal(5),
        min_trade_increment=Decimal("0.5"),
        price_increment=Decimal("0.01"),
    ),
    Listing(symbol="STOP", tradable=False),
    Listing(symbol="GONE", active=False),
    Listing(symbol="OLD", attributes=()),
]
REFUSALS = [
    Case("an unknown asset", 422, 42210000, 'asset "NONE" not found', symbol="NONE"),
    Case("both sizes", 422, 40010001, "only one of qty or notional", fields={"qty": 1, "notional": 5}),
    Case("no size", 422, 40010001, "qty or notional is required", fields={"qty": None}),
    Case("ten decimals", 422, 42210000, "9 decimal places", fields={"qty": "1.0000000001"}),
    Case("notional mils", 422, 42210000, "2 decimal places", fields={"qty": None, "notional": "5.001"}),
    Case("half a dollar", 403, 40310000, "minimal amount of order 1", fields={"qty": None, "notional": "0.5"}),
    Case("a fraction for weeks", 422, 42210000, "must be DAY", fields={"qty": "0.5", "time_in_force": "gtc"}),
    Case("a fraction of what is whole", 403, 40310000, "is not fractionable", symbol="OCGN", fields={"qty": "0.5"}),
    Case("too dear", 403, 40310000, "insufficient buying power", fields={"qty": 100_000}),
    Case("nothing to sell", 403, 40310000, "insufficient qty available", side="sell"),
    Case("no money left for coins", 403, 40310000, "insufficient balance for USD", symbol="BTC/USD",
         fields={"qty": 3, "time_in_force": "gtc"}),
    Case("coins for the day", 422, 42210000, "invalid crypto time_in_force", symbol="BTC/USD"),
    Case("half of a coin's step", 422, 42210000, "multiple of 0.5", symbol="DOGE/USD",
         fields={"qty": "10.25", "time_in_force": "gtc"}),
    Case("too few coins", 403, 40310000, "minimal order size 5", symbol="DOGE/USD",
         fields={"qty": "4", "time_in_force": "gtc"}),
    Case("a coin's price between its steps", 422, 42210000, "multiple of 0.01", symbol="DOGE/USD",
         fields={"qty": "10", "time_in_force": "gtc", "type": "limit", "limit_price": "0.505"}),
    Case("what is not traded", 403, 40310000, "not tradable", symbol="STOP"),
    Case("what is no longer listed", 422, 42210000, "not active", symbol="GONE"),
    Case("fractions at night", 403, 40310000, "extended hours", symbol="OLD",
         fields={"qty": "1.5", "type": "limit", "limit_price": "1", "extended_hours": True}),
    Case("a bracket", 422, 42210000, "order_class", fields={"order_class": "bracket"}),
    Case("a truth for a number", 422, 40010001, "qty is invalid", fields={"qty": True}),
    Case("an endless number", 422, 40010001, "qty is invalid", fields={"qty": "1e13"}),
    Case("a number for an id", 422, 40010001, "client_order_id is invalid", fields={"client_order_id": 7}),
    Case("a word for a truth", 422, 40010001, "extended_hours is invalid", fields={"extended_hours": "yes"}),
    Case("no type", 422, 40010001, "type is required", fields={"type": ""}),
    Case("more dollars than the shares are worth", 403, 40310000, "requested: 0.581395348, available: 0", side="sell",
         fields={"qty": None, "notional": "50"}),
    Case("a list of classes", 422, 42210000, "order_class", fields={"order_class": ["simple"]}),
    Case("a limit of mils", 422, 42210000, "sub-penny", fields={"type": "limit", "limit_price": "80.001"}),
    Case("a market order at night", 422, 42210000, "extended hours", fields={"extended_hours": True}),
    Case("a stop order", 422, 40010001, "invalid type", fields={"type": "stop"}),
    Case("a limit order without one", 422, 42210000, "require limit_price", fields={"type": "limit"}),
    Case("a zero", 422, 42210000, "qty must be > 0", fields={"qty": 0}),
    Case("no number", 422, 40010001, "qty is invalid", fields={"qty": "many"}),
    Case("an endless id", 422, 40010001, "no more than 128", fields={"client_order_id": "x" * 129}),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_an_order_is_refused_in_alpacas_words(case: Case) -> None:
    alpaca = LocalAlpaca(listings=PARTICULAR)
    for symbol, price in (("KO", 86.0), ("OCGN", 2.0), ("BTC/USD", 90_000.0), ("DOGE/USD", 0.5), ("OLD", 2.0)):
        alpaca.trade(symbol, price)
    refusal = refused(alpaca, case.symbol, case.side, **({"qty": 1} | (case.fields or {})))
    assert (refusal.status, refusal.body["code"]) == (case.status, case.code)
    assert case.words in str(refusal)
    assert alpaca.updates == []


def test_a_client_order_id_is_unique_for_ever() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.0)
    alpaca.order("KO", qty=1, client_order_id="x" * 128)
    alpaca.until("2026-03-06T15:00:00Z")
    refusal = refused(alpaca, "KO", qty=1, client_order_id="x" * 128)
    assert refusal.status == 422
    assert refusal.body == {"code": 40010001, "message": "client_order_id must be unique"}


def test_what_a_sell_order_holds_is_not_sold_twice() -> None:
    alpaca = LocalAlpaca()
    alpaca.bought("KO", "3", 86.0)
    alpaca.order("KO", "sell", qty="2", type="limit", limit_price="90")
    refusal = refused(alpaca, "KO", "sell", qty="2")
    assert refusal.body == {
        "code": 40310000,
        "message": "insufficient qty available for order (requested: 2, available: 1)",
        "available": "1",
        "existing_qty": "3",
        "held_for_orders": "2",
        "symbol": "KO",
    }


def test_orders_that_could_meet_each_other_are_a_wash_trade() -> None:
    alpaca = LocalAlpaca()
    alpaca.bought("KO", "3", 86.0)
    standing = alpaca.order("KO", "sell", qty="1", type="limit", limit_price="90")
    refusal = refused(alpaca, "KO", qty="1")
    assert (refusal.status, refusal.body["code"], refusal.body["existing_order_id"]) == (403, 40310000, standing.id)
    assert alpaca.order("KO", qty="1", type="limit", limit_price="89").open


def test_an_order_filled_in_part_reserves_only_its_rest() -> None:
    rules = ExchangeRules(partial_fills=Decimal(1), rest_latency_ms=(60_000.0, 60_000.0), multiplier=1)
    alpaca = LocalAlpaca(rules)
    alpaca.trade("KO", 100.0)
    for sizes in ({"qty": "100"}, {"notional": "10000"}):
        alpaca.order("KO", **sizes)
        alpaca.wait(1)
    account = alpaca.exchange.account()
    assert 80_000 < Decimal(str(account["cash"])) < 100_000
    assert Decimal("79999.9") < Decimal(str(account["buying_power"])) <= 80_000


def test_open_orders_reserve_buying_power() -> None:
    alpaca = LocalAlpaca(ExchangeRules(multiplier=1, cash=Decimal(1_000)))
    alpaca.trade("KO", 86.0)
    alpaca.order("KO", qty="8", type="limit", limit_price="80")
    assert alpaca.exchange.account()["buying_power"] == "360"
    assert "buying power" in str(refused(alpaca, "KO", qty="5"))
    assert alpaca.order("KO", qty="4").open


def test_a_blocked_account_trades_nothing() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.0)
    alpaca.exchange.ledger.trading_blocked = True
    assert refused(alpaca, "KO", qty="1").status == 403


# -- coins pay fees, companies pay dividends ---------------------------------------------------------------------------


def test_the_fee_for_coins_is_taken_from_the_coins() -> None:
    alpaca = LocalAlpaca()
    order = alpaca.bought("BTC/USD", "0.1", 90_000.0)
    assert order.filled_qty == Decimal("0.1")
    assert alpaca.exchange.position("BTCUSD")["qty"] == "0.09975"
    assert alpaca.exchange.ledger.cash == Decimal("91000.00")
    fee = alpaca.exchange.activities()[-1]
    assert (fee["activity_type"], fee["qty"], fee["net_amount"]) == ("CFEE", "-0.00025", "0")


def test_the_fee_for_sold_coins_is_taken_from_the_dollars() -> None:
    alpaca = LocalAlpaca()
    alpaca.bought("BTC/USD", "0.1", 90_000.0)
    alpaca.order("BTC/USD", "sell", qty="0.09975", time_in_force="gtc")
    alpaca.wait(1)
    assert alpaca.exchange.positions() == []
    assert alpaca.exchange.ledger.cash == Decimal("99955.05")
    assert alpaca.exchange.activities()[-1]["net_amount"] == "-22.45"


def test_a_split_multiplies_shares_and_divides_their_price() -> None:
    alpaca = LocalAlpaca()
    alpaca.bought("KO", "1.5", 90.0)
    standing = alpaca.order("KO", "sell", qty="1", type="limit", limit_price="95")
    alpaca.exchange.split("KO", Decimal(3), Decimal(1))
    position = alpaca.exchange.position("KO")
    assert (position["qty"], position["avg_entry_price"], position["current_price"]) == ("4.5", "30", "30")
    assert standing.status == "canceled"
    booked = alpaca.exchange.activities()[-1]
    assert (booked["activity_type"], booked["activity_sub_type"], booked["qty"]) == ("SPLIT", "FSPLIT", "3")


def test_a_split_may_be_booked_a_day_late() -> None:
    alpaca = LocalAlpaca()
    alpaca.bought("KO", "2", 90.0)
    alpaca.exchange.split("KO", Decimal(1), Decimal(2), booked_after_s=86_400)
    assert alpaca.exchange.position("KO")["qty"] == "2"
    alpaca.wait(86_400)
    assert alpaca.exchange.position("KO")["qty"] == "1"
    assert alpaca.exchange.activities()[-1]["activity_sub_type"] == "RSPLIT"


def test_a_dividend_credits_cash_less_the_tax() -> None:
    alpaca = LocalAlpaca()
    alpaca.bought("KO", "10", 90.0)
    alpaca.exchange.dividend("KO", Decimal("0.515"), withheld=Decimal("0.15"))
    assert alpaca.exchange.ledger.cash == Decimal("99104.38")
    paid, tax = alpaca.exchange.activities()[-2:]
    assert (paid["activity_type"], paid["net_amount"], paid["qty"]) == ("DIV", "5.15", "10")
    assert (tax["activity_type"], tax["net_amount"]) == ("DIVNRA", "-0.77")


def test_a_split_of_what_is_not_held_books_nothing() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 90.0)
    alpaca.exchange.split("KO", Decimal(3), Decimal(1))
    assert alpaca.exchange.activities() == []


def test_a_position_is_valued_against_its_cost_and_against_yesterday() -> None:
    alpaca = LocalAlpaca(now="2026-01-05T20:00:00Z")
    alpaca.bought("KO", "2", 80.0)
    alpaca.trade("KO", 90.0)
    alpaca.until("2026-01-06T15:00:00Z")
    alpaca.trade("KO", 99.0)
    position = alpaca.exchange.position("KO")
    assert {name: position[name] for name in position if name.startswith(("unrealized", "cost", "market", "last"))} == {
        "cost_basis": "160",
        "lastday_price": "90",
        "market_value": "198",
        "unrealized_intraday_pl": "18",
        "unrealized_intraday_plpc": "0.1",
        "unrealized_pl": "38",
        "unrealized_plpc": "0.2375",
    }
    assert position["change_today"] == "0.1"


def test_the_accounts_figures_agree_with_one_another() -> None:
    alpaca = LocalAlpaca(now="2026-01-05T20:00:00Z")
    alpaca.bought("KO", "100", 80.0)
    alpaca.until("2026-01-06T15:00:00Z")
    alpaca.trade("KO", 90.0)
    alpaca.order("KO", qty="10", type="limit", limit_price="70")
    account = alpaca.exchange.account()
    figures = {
        "buying_power": "394300",
        "cash": "92000",
        "equity": "101000",
        "initial_margin": "4500",
        "last_equity": "100000",
        "long_market_value": "9000",
        "maintenance_margin": "2700",
        "non_marginable_buying_power": "91300",
        "regt_buying_power": "192300",
    }
    assert {name: account[name] for name in figures} == figures


def test_deposits_and_fees_are_activities() -> None:
    alpaca = LocalAlpaca()
    alpaca.exchange.deposit(Decimal("250.50"))
    alpaca.exchange.fee(Decimal("0.03"))
    assert alpaca.exchange.ledger.cash == Decimal("100250.47")
    assert [one["activity_type"] for one in alpaca.exchange.activities()] == ["CSD", "FEE"]


# -- always -----------------------------------------------------------------------------------------------------------


def test_without_orders_nothing_is_due() -> None:
    assert LocalAlpaca().exchange.next_due == NEVER


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "price", "wait", "cancel"]),
        st.decimals(min_value="0.000000001", max_value="50", places=9),
        st.floats(min_value=1.0, max_value=500.0),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 100))
def test_cash_and_shares_are_what_the_executions_add_up_to(steps: list[tuple[str, Decimal, float]], seed: int) -> None:
    alpaca = LocalAlpaca(ExchangeRules(seed=seed, partial_fills=Decimal("0.4")))
    alpaca.trade("KO", 86.0)
    for action, size, price in steps:
        try:
            match action:
                case "price":
                    alpaca.trade("KO", round(price, 2))
                case "wait":
                    alpaca.wait(price)
                case "cancel":
                    alpaca.exchange.cancel(alpaca.exchange.book.open()[-1].id)
                case _:
                    alpaca.order("KO", action, qty=str(size))
        except (RefusalError, IndexError):
            continue
    fills = [one for one in alpaca.exchange.activities() if one["activity_type"] == "FILL"]
    signed = [
        (Decimal(str(one["qty"])) * (1 if one["side"] == "buy" else -1), Decimal(str(one["price"]))) for one in fills
    ]
    cash = Decimal("100000.00") - sum(
        ((1 if qty > 0 else -1) * (abs(qty) * price).quantize(Decimal("0.01")) for qty, price in signed), Decimal(0)
    )
    held = sum((qty for qty, _ in signed), Decimal(0))
    assert alpaca.exchange.ledger.cash == cash
    assert [Decimal(str(one["qty"])) for one in alpaca.exchange.positions()] == ([held] if held else [])
    assert held >= 0
