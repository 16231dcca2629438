"""The local Alpaca is one to its own library: the official clients, as they are, over a loopback port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.fidelity import FILLS_IN_PARTS, Alpaca, local_alpaca
from tests.fidelity_orders import BUY, GTC, IOC, SELL, everything, limit, market, submitted, trade_a_little

# What is imported first keeps the library's warnings quiet.
# isort: split
from alpaca.common.enums import Sort
from alpaca.trading.enums import (
    AssetClass,
    AssetExchange,
    AssetStatus,
    OrderStatus,
    PositionIntent,
    PositionSide,
    QueryOrderStatus,
)
from alpaca.trading.models import NonTradeActivity, TradeActivity
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    ReplaceOrderRequest,
)


@pytest.fixture
def alpaca() -> Iterator[Alpaca]:
    with local_alpaca() as served:
        served.trade("KO", 86.0)
        served.trade("OCGN", 1.5)
        served.trade("BTC/USD", 90_000.0)
        yield served


# -- the account ------------------------------------------------------------------------------------------------------


def test_the_account_is_that_of_a_paper_account_with_margin(alpaca: Alpaca) -> None:
    account: Any = alpaca.trading().get_account()
    assert (account.status, account.currency, account.multiplier) == ("ACTIVE", "USD", "4")
    assert (account.cash, account.equity, account.buying_power) == ("100000", "100000", "400000")
    assert (account.account_blocked, account.trading_blocked, account.pattern_day_trader) == (False, False, None)


def test_raw_answers_are_what_the_models_are_made_of(alpaca: Alpaca) -> None:
    raw: Any = alpaca.trading(raw=True).get_account()
    account: Any = alpaca.trading().get_account()
    assert (raw["id"], raw["cash"]) == (str(account.id), account.cash)


def test_activities_are_fills_and_what_is_no_trade(alpaca: Alpaca) -> None:
    client = alpaca.trading()
    order = submitted(alpaca, market(qty=2))
    alpaca.do(lambda simulator: simulator.exchange.dividend("KO", Decimal("0.51")))
    told: Any = client.get("/account/activities")
    dividend, fill = NonTradeActivity(account_id=UUID(int=0), description="", **told[0]), told[1]
    traded = TradeActivity(account_id=UUID(int=0), **fill)
    assert (dividend.activity_type, dividend.net_amount, dividend.per_share_amount) == ("DIV", 1.02, 0.51)
    assert (traded.order_id, traded.price, traded.qty, traded.leaves_qty) == (order.id, 86.0, 2.0, 0.0)
    assert client.get("/account/activities/FILL") == [fill]
    assert client.get("/account/activities", {"activity_types": "DIV"}) == told[:1]


def test_activities_come_in_pages(alpaca: Alpaca) -> None:
    client = alpaca.trading()
    for amount in (1, 2, 3):
        alpaca.do(lambda simulator, amount=amount: simulator.exchange.deposit(Decimal(amount)))  # type: ignore[misc]
    first: Any = client.get("/account/activities", {"page_size": 2})
    rest: Any = client.get("/account/activities", {"page_size": 2, "page_token": first[-1]["id"]})
    assert [each["net_amount"] for each in first + rest] == ["3", "2", "1"]


# -- what is listed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "symbols"),
    [
        (None, {"KO", "OCGN", "GONE"}),
        (GetAssetsRequest(status=AssetStatus.ACTIVE), {"KO", "OCGN"}),
        (GetAssetsRequest(status=AssetStatus.INACTIVE), {"GONE"}),
        (GetAssetsRequest(asset_class=AssetClass.CRYPTO), {"BTC/USD"}),
        (GetAssetsRequest(exchange=AssetExchange.NYSE), {"KO"}),
        (GetAssetsRequest(attributes="has_options", status=AssetStatus.ACTIVE), {"KO", "OCGN"}),
        (GetAssetsRequest(attributes="fractional_eh_enabled", status=AssetStatus.ACTIVE), {"KO"}),
        (GetAssetsRequest(attributes="has_options", asset_class=AssetClass.CRYPTO), set()),
        (GetAssetsRequest(attributes="ptp_no_exception"), set()),
    ],
)
def test_assets_are_filtered(alpaca: Alpaca, asked: GetAssetsRequest | None, symbols: set[str]) -> None:
    found: Any = alpaca.trading().get_all_assets(asked)
    assert {each.symbol for each in found} == symbols


def test_an_asset_is_found_by_symbol_and_by_id(alpaca: Alpaca) -> None:
    client = alpaca.trading()
    asset: Any = client.get_asset("KO")
    assert (asset.asset_class, asset.exchange, asset.name) == ("us_equity", "NYSE", "Coca-Cola Company")
    assert (asset.tradable, asset.fractionable, asset.status) == (True, True, "active")
    assert client.get_asset(asset.id) == asset
    whole: Any = client.get_asset("OCGN")
    assert not whole.fractionable


def test_a_pair_is_found_with_and_without_its_slash(alpaca: Alpaca) -> None:
    client = alpaca.trading()
    pair: Any = client.get_asset("BTC/USD")
    assert (pair.asset_class, pair.exchange, pair.marginable) == ("crypto", "CRYPTO", False)
    assert (pair.min_order_size, pair.min_trade_increment) == (1e-9, 1e-9)
    assert client.get_asset("BTCUSD") == pair


# -- the market's hours -----------------------------------------------------------------------------------------------


def test_the_clock_knows_the_session(alpaca: Alpaca) -> None:
    clock: Any = alpaca.trading().get_clock()
    assert clock.is_open
    assert clock.timestamp.astimezone(UTC).date() == date(2026, 1, 6)
    assert clock.next_close.astimezone(UTC) == datetime(2026, 1, 6, 21, tzinfo=UTC)
    assert clock.next_open.astimezone(UTC) == datetime(2026, 1, 7, 14, 30, tzinfo=UTC)


def test_the_calendar_has_holidays_and_half_days(alpaca: Alpaca) -> None:
    days: Any = alpaca.trading().get_calendar(GetCalendarRequest(start=date(2026, 11, 25), end=date(2026, 11, 27)))
    assert [(day.date.day, f"{day.open:%H:%M}", f"{day.close:%H:%M}") for day in days] == [
        (25, "09:30", "16:00"),
        (27, "09:30", "13:00"),
    ]


# -- orders -----------------------------------------------------------------------------------------------------------


def test_a_market_order_is_pending_first_and_filled_a_little_later(alpaca: Alpaca) -> None:
    client = alpaca.trading()
    order: Any = client.submit_order(market(qty=2, client_order_id="mine"))
    assert (order.status, order.filled_qty, order.filled_avg_price) == (OrderStatus.PENDING_NEW, "0", None)
    assert (order.client_order_id, order.symbol, order.qty, order.position_intent) == (
        "mine",
        "KO",
        "2",
        PositionIntent.BUY_TO_OPEN,
    )
    alpaca.reaches(order.id, "filled")
    filled: Any = client.get_order_by_id(order.id)
    assert (filled.status, filled.filled_qty, filled.filled_avg_price) == (OrderStatus.FILLED, "2", "86")
    assert filled.filled_at >= filled.submitted_at == order.submitted_at


def test_dollars_buy_fractions_to_nine_decimals(alpaca: Alpaca) -> None:
    order = submitted(alpaca, market(notional=5))
    filled: Any = alpaca.trading().get_order_by_id(order.id)
    assert (order.notional, order.qty) == ("5", None)
    assert filled.filled_qty == "0.058023255"


def test_a_quantity_may_have_nine_decimals(alpaca: Alpaca) -> None:
    assert submitted(alpaca, market(qty=0.123456789)).qty == "0.123456789"


def test_a_limit_order_stands_until_its_price_comes(alpaca: Alpaca) -> None:
    client = alpaca.trading()
    order = submitted(alpaca, limit(80.5, qty=3, extended_hours=True, time_in_force=GTC), "new")
    assert (order.limit_price, order.order_type, order.time_in_force) == ("80.5", "limit", "gtc")
    alpaca.trade("KO", 80.25)
    alpaca.reaches(order.id, "filled")
    filled: Any = client.get_order_by_id(order.id)
    assert filled.filled_avg_price == "80.25"


def test_immediate_or_cancel_leaves_nothing_open(alpaca: Alpaca) -> None:
    order = submitted(alpaca, limit(80, time_in_force=IOC), "canceled")
    canceled: Any = alpaca.trading().get_order_by_id(order.id)
    assert (canceled.filled_qty, canceled.canceled_at is None) == ("0", False)


def test_an_order_can_fill_in_parts() -> None:
    with local_alpaca(rules=FILLS_IN_PARTS) as alpaca:
        alpaca.trade("KO", 86.0)
        order = submitted(alpaca, market(qty=100), "partially_filled")
        alpaca.reaches(order.id, "filled")
        told: Any = alpaca.trading().get("/account/activities/FILL", {"direction": "asc"})
    assert [each["type"] for each in told] == ["partial_fill"] * (len(told) - 1) + ["fill"]
    assert len(told) > 1
    assert sum(Decimal(each["qty"]) for each in told) == 100


def test_coins_pay_their_fee_in_coins(alpaca: Alpaca) -> None:
    client = alpaca.trading()
    order = submitted(alpaca, market("BTC/USD", qty=0.1, time_in_force=GTC))
    filled: Any = client.get_order_by_id(order.id)
    position: Any = client.get_open_position("BTCUSD")
    assert (filled.symbol, filled.filled_qty) == ("BTC/USD", "0.1")
    assert (position.symbol, position.qty, position.asset_class) == ("BTCUSD", "0.09975", "crypto")


def test_an_order_in_a_closed_market_waits_for_the_open() -> None:
    with local_alpaca(now="2026-01-05T23:30:00Z") as alpaca:
        alpaca.trade("KO", 86.0)
        order = submitted(alpaca, market(qty=1), "accepted")
        alpaca.put_forward(15 * 3600 + 1)
        alpaca.trade("KO", 87.0)
        alpaca.reaches(order.id, "filled")


def test_an_order_of_the_day_expires_with_it(alpaca: Alpaca) -> None:
    order = submitted(alpaca, limit(80), "new")
    alpaca.put_forward(6 * 3600)
    expired: Any = alpaca.trading().get_order_by_id(order.id)
    assert (expired.status, expired.expired_at is None) == (OrderStatus.EXPIRED, False)


def test_an_order_is_found_by_either_id(alpaca: Alpaca) -> None:
    client = alpaca.trading()
    order: Any = client.submit_order(limit(80, client_order_id="a b/c?d&e"))
    found: Any = client.get_order_by_client_id("a b/c?d&e")
    same: Any = client.get_order_by_id(str(order.id), GetOrderByIdRequest(nested=True))
    assert found.id == same.id == order.id


# -- lists of orders --------------------------------------------------------------------------------------------------


@pytest.fixture
def trader(alpaca: Alpaca) -> Alpaca:
    trade_a_little(alpaca)
    return alpaca


def moment(alpaca: Alpaca, number: int) -> datetime:
    """Give the instant five seconds after an order."""
    created = alpaca.do(lambda simulator: [order.created for order in simulator.exchange.book])[number]
    return datetime.fromtimestamp(created / 1e9 + 5, UTC)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (lambda _: None, ["third", "second"]),
        (lambda _: GetOrdersRequest(status=QueryOrderStatus.OPEN), ["third", "second"]),
        (lambda _: GetOrdersRequest(status=QueryOrderStatus.CLOSED), ["first"]),
        (lambda _: GetOrdersRequest(status=QueryOrderStatus.ALL), ["third", "second", "first"]),
        (lambda _: everything(direction=Sort.ASC, limit=2), ["first", "second"]),
        (lambda _: everything(limit=1, nested=True), ["third"]),
        (lambda _: everything(side=BUY), ["third", "first"]),
        (lambda _: everything(symbols=["KO"]), ["second", "first"]),
        (lambda _: everything(symbols=["KO", "BTC/USD"], side=SELL), ["second"]),
        (lambda alpaca: everything(after=moment(alpaca, 0)), ["third", "second"]),
        (lambda alpaca: everything(until=moment(alpaca, 1)), ["second", "first"]),
        (
            lambda alpaca: everything(after=moment(alpaca, 0), until=moment(alpaca, 1)),
            ["second"],
        ),
    ],
    ids=range(12),
)
def test_orders_are_filtered(
    trader: Alpaca, asked: Callable[[Alpaca], GetOrdersRequest | None], found: list[str]
) -> None:
    orders: Any = trader.trading().get_orders(asked(trader))
    assert [each.client_order_id for each in orders] == found


# -- changing orders --------------------------------------------------------------------------------------------------


def test_a_replaced_order_points_to_the_one_in_its_place(alpaca: Alpaca) -> None:
    client = alpaca.trading()
    order = submitted(alpaca, limit(80), "new")
    changes = ReplaceOrderRequest(qty=3, limit_price=81.5, time_in_force=GTC, client_order_id="other")
    other: Any = client.replace_order_by_id(order.id, changes)
    replaced: Any = client.get_order_by_id(order.id)
    assert (other.qty, other.limit_price, other.time_in_force, other.replaces) == ("3", "81.5", GTC, order.id)
    assert other.client_order_id == "other"
    assert (replaced.status, replaced.replaced_by) == (OrderStatus.REPLACED, other.id)


def test_canceling_one_order_ends_it_alone(trader: Alpaca) -> None:
    client = trader.trading()
    order: Any = client.get_order_by_client_id("third")
    client.cancel_order_by_id(order.id)
    trader.reaches(order.id, "canceled")
    left: Any = client.get_orders()
    assert [each.client_order_id for each in left] == ["second"]


def test_canceling_all_orders_tells_of_each(trader: Alpaca) -> None:
    client = trader.trading()
    standing: Any = client.get_orders()
    outcomes: Any = client.cancel_orders()
    assert {(each.id, each.status) for each in outcomes} == {(each.id, 200) for each in standing}
    for each in standing:
        trader.reaches(each.id, "canceled")
    assert client.get_orders() == []


# -- positions --------------------------------------------------------------------------------------------------------


def test_a_position_is_valued_at_the_newest_price(trader: Alpaca) -> None:
    client = trader.trading()
    trader.trade("KO", 88.0)
    position: Any = client.get_open_position("KO")
    assert (position.qty, position.side, position.avg_entry_price) == ("5", PositionSide.LONG, "86")
    assert (position.market_value, position.cost_basis, position.unrealized_pl) == ("440", "430", "10")
    assert position.qty_available == "4"
    assert client.get_all_positions() == [position]
    assert client.get_open_position(position.asset_id) == position


@pytest.mark.parametrize(
    ("asked", "sold"),
    [(None, "4"), (ClosePositionRequest(qty="1.5"), "1.5"), (ClosePositionRequest(percentage="50"), "2")],
)
def test_a_position_is_closed_in_whole_or_in_part(
    alpaca: Alpaca, asked: ClosePositionRequest | None, sold: str
) -> None:
    submitted(alpaca, market(qty=4))
    order: Any = alpaca.trading().close_position("KO", asked)
    assert (order.side, order.qty, order.position_intent) == (SELL, sold, PositionIntent.SELL_TO_CLOSE)
    assert alpaca.reaches(order.id, "filled")["filled_qty"] == sold


def test_all_positions_are_closed_with_their_orders_canceled(trader: Alpaca) -> None:
    client = trader.trading()
    submitted(trader, market("BTC/USD", qty=0.1, time_in_force=GTC))
    outcomes: Any = client.close_all_positions(cancel_orders=True)
    assert {(each.symbol, each.status) for each in outcomes} == {("BTCUSD", 200), ("KO", 200)}
    for each in outcomes:
        trader.reaches(each.body.id, "filled")
    assert client.get_all_positions() == client.get_orders() == []


def test_closing_all_positions_tells_what_could_not_be_closed(trader: Alpaca) -> None:
    outcomes: Any = trader.trading(raw=True).close_all_positions(cancel_orders=False)
    [outcome] = outcomes
    assert (outcome["symbol"], outcome["status"], outcome["body"]["code"]) == ("KO", 403, 40310000)
