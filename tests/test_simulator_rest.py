"""REST of the local Alpaca: routes, filters, pages and refusals; and unmodified alpaca-py against it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrdaemon.core.instant import Instant
from mrdaemon.core.prints import Bar, trade_print
from mrdaemon.simulator.assets import Listing
from mrdaemon.simulator.exchange import ExchangeRules
from mrdaemon.simulator.keys import Keys, Plan
from mrdaemon.simulator.rest import Answer, Request
from mrdaemon.simulator.tape import Tape
from tests.alpaca_py import (
    APIError,
    ClosePositionRequest,
    CorporateActionsClient,
    CorporateActionsRequest,
    CryptoBarsRequest,
    CryptoHistoricalDataClient,
    CryptoLatestOrderbookRequest,
    CryptoLatestQuoteRequest,
    CryptoLatestTradeRequest,
    CryptoSnapshotRequest,
    DataFeed,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    OrderSide,
    QueryOrderStatus,
    ReplaceOrderRequest,
    StockBarsRequest,
    StockHistoricalDataClient,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
    StockTradesRequest,
    TimeFrame,
    TimeInForce,
    TradingClient,
)
from tests.alpaca_reference import RECORDED, SCHEMAS, shape, violations
from tests.local_alpaca import ALL_PARTS, InProcess, LocalAlpaca, instant

URL = "http://alpaca.test"
LISTINGS = [Listing(symbol="KO", exchange="NYSE"), Listing(symbol="OCGN", fractionable=False)]


def busy(**options: Any) -> LocalAlpaca:
    """An account with a position, orders of every state, and prices of two days."""
    alpaca = LocalAlpaca(now="2026-01-05T20:00:00Z", listings=LISTINGS, **options)
    alpaca.trade("KO", 86.0)
    alpaca.until("2026-01-06T15:00:00Z")
    for step in range(5):
        for symbol, price in (("KO", 86.5), ("OCGN", 1.5), ("BTC/USD", 90_000.0)):
            alpaca.quote(symbol, price + step, price + step + 0.5)
            alpaca.trade(symbol, price + step)
        alpaca.wait(30)
    alpaca.order("KO", notional="50")
    alpaca.wait(1)
    alpaca.order("BTC/USD", qty="0.01", time_in_force="gtc")
    alpaca.wait(1)
    alpaca.order("KO", qty="1", type="limit", limit_price="80")
    alpaca.wait(1)
    return alpaca


def connected(client: Any, alpaca: LocalAlpaca) -> Any:
    client._session.mount(URL, InProcess(alpaca))
    return client


def trading(alpaca: LocalAlpaca) -> TradingClient:
    client: TradingClient = connected(TradingClient(alpaca.keys.key_id, alpaca.keys.secret, url_override=URL), alpaca)
    return client


def stocks(alpaca: LocalAlpaca) -> StockHistoricalDataClient:
    keys = alpaca.keys
    client: StockHistoricalDataClient = connected(
        StockHistoricalDataClient(keys.key_id, keys.secret, url_override=URL), alpaca
    )
    return client


def coins(alpaca: LocalAlpaca) -> CryptoHistoricalDataClient:
    keys = alpaca.keys
    client: CryptoHistoricalDataClient = connected(
        CryptoHistoricalDataClient(keys.key_id, keys.secret, url_override=URL), alpaca
    )
    return client


def error(answer: Answer) -> tuple[int, Any]:
    return answer.status, json.loads(answer.body)


# -- unmodified alpaca-py ---------------------------------------------------------------------------------------------


def test_alpaca_py_orders_looks_up_and_sees_the_position() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 100.0)
    client = trading(alpaca)
    request = MarketOrderRequest(
        symbol="KO", notional=50, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id="mine"
    )
    order: Any = client.submit_order(request)
    assert order.status == "pending_new"
    alpaca.wait(1)
    found: Any = client.get_order_by_client_id("mine")
    assert (found.id, found.status, found.filled_qty) == (order.id, "filled", "0.4999")
    position: Any = client.get_open_position("KO")
    assert position.qty_available == "0.4999"
    account: Any = client.get_account()
    assert account.cash == "99950.01"


def test_alpaca_py_sends_quantities_as_floats() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 100.0)
    client = trading(alpaca)
    order: Any = client.submit_order(
        MarketOrderRequest(symbol="KO", qty=0.123456789, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
    )
    assert order.qty == "0.123456789"


def test_alpaca_py_replaces_cancels_and_closes() -> None:
    alpaca = busy()
    client = trading(alpaca)
    limit: Any = client.submit_order(
        LimitOrderRequest(symbol="KO", qty=2, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, limit_price=70)
    )
    alpaca.wait(1)
    replaced: Any = client.replace_order_by_id(limit.id, ReplaceOrderRequest(qty=3))
    assert (replaced.qty, replaced.replaces) == ("3", limit.id)
    alpaca.wait(1)
    client.cancel_order_by_id(replaced.id)
    alpaca.wait(1)
    canceled: Any = client.cancel_orders()
    assert [one.status for one in canceled] == [200]
    alpaca.wait(1)
    client.close_position("BTCUSD", ClosePositionRequest(percentage="50"))
    alpaca.wait(1)
    outcomes: Any = client.close_all_positions(cancel_orders=True)
    assert {one.symbol: one.status for one in outcomes} == {"BTCUSD": 200, "KO": 200}
    alpaca.wait(1)
    assert client.get_all_positions() == []


def test_alpaca_py_lists_orders_assets_clock_and_calendar() -> None:
    alpaca = busy()
    client = trading(alpaca)
    closed: Any = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED, symbols=["KO", "BTC/USD"]))
    assert [order.symbol for order in closed] == ["BTC/USD", "KO"]
    assets: Any = client.get_all_assets(GetAssetsRequest())
    assert {asset.symbol for asset in assets} == {"KO", "OCGN"}
    asset: Any = client.get_asset("KO")
    assert asset.fractionable
    clock: Any = client.get_clock()
    assert clock.is_open
    days: Any = client.get_calendar(GetCalendarRequest(start=date(2026, 11, 26), end=date(2026, 11, 30)))
    assert [(day.date.day, day.close.hour) for day in days] == [(27, 13), (30, 16)]


def test_alpaca_py_reads_refusals() -> None:
    alpaca = busy()
    request = MarketOrderRequest(symbol="KO", qty=10_000_000, side=OrderSide.SELL, time_in_force=TimeInForce.DAY)
    with pytest.raises(APIError) as caught:
        trading(alpaca).submit_order(request)
    assert caught.value.code == 40310000
    assert caught.value.status_code == 403


def test_alpaca_py_reads_the_newest_stock_prices() -> None:
    client = stocks(busy())
    trade: Any = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=["KO", "NONE"]))
    assert {symbol: one.price for symbol, one in trade.items()} == {"KO": 90.5}
    quote: Any = client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="KO"))
    assert (quote["KO"].bid_price, quote["KO"].ask_price) == (90.5, 91.0)
    bar: Any = client.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="KO"))
    assert bar["KO"].close == 90.5
    snapshot: Any = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="KO"))
    assert snapshot["KO"].previous_daily_bar.close == 86.0
    assert snapshot["KO"].daily_bar.open == 86.5


def test_alpaca_py_reads_stock_history() -> None:
    client = stocks(busy())
    start = datetime(2026, 1, 5, tzinfo=UTC)
    span: dict[str, Any] = {"symbol_or_symbols": "KO", "start": start, "feed": DataFeed.IEX}
    trades: Any = client.get_stock_trades(StockTradesRequest(**span))
    assert [one.price for one in trades["KO"]] == [86.0, 86.5, 87.5, 88.5, 89.5, 90.5]
    bars: Any = client.get_stock_bars(StockBarsRequest(**span, timeframe=TimeFrame.Day))
    assert [(one.open, one.close) for one in bars["KO"]] == [(86.0, 86.0), (86.5, 90.5)]


def test_alpaca_py_reads_coins() -> None:
    client = coins(busy())
    trade: Any = client.get_crypto_latest_trade(CryptoLatestTradeRequest(symbol_or_symbols="BTC/USD"))
    assert trade["BTC/USD"].price == 90_004.0
    quote: Any = client.get_crypto_latest_quote(CryptoLatestQuoteRequest(symbol_or_symbols="BTC/USD"))
    assert quote["BTC/USD"].ask_price == 90_004.5
    book: Any = client.get_crypto_latest_orderbook(CryptoLatestOrderbookRequest(symbol_or_symbols="BTC/USD"))
    assert book["BTC/USD"].bids[0].price == 90_004.0
    snapshot: Any = client.get_crypto_snapshot(CryptoSnapshotRequest(symbol_or_symbols="BTC/USD"))
    assert snapshot["BTC/USD"].latest_trade.price == 90_004.0
    asked = CryptoBarsRequest(
        symbol_or_symbols="BTC/USD", timeframe=TimeFrame.Minute, start=datetime(2026, 1, 6, tzinfo=UTC)
    )
    bars: Any = client.get_crypto_bars(asked)
    assert [one.trade_count for one in bars["BTC/USD"]] == [2, 2, 1]


def test_alpaca_py_reads_corporate_actions() -> None:
    alpaca = busy()
    alpaca.exchange.split("KO", Decimal(2), Decimal(1))
    alpaca.exchange.dividend("KO", Decimal("0.51"))
    keys = alpaca.keys
    client = connected(CorporateActionsClient(keys.key_id, keys.secret, url_override=URL), alpaca)
    asked = CorporateActionsRequest(symbols=["KO"], start=date(2026, 1, 1), end=date(2026, 1, 31))
    found: Any = client.get_corporate_actions(asked)
    assert found["forward_splits"][0].new_rate == 2
    assert found["cash_dividends"][0].rate == 0.51


# -- keys and quotas --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"apca-api-key-id": "PKSIMULATOR", "apca-api-secret-key": "guess"}])
def test_without_the_right_keys_nothing_is_answered(headers: dict[str, str]) -> None:
    alpaca = LocalAlpaca()
    assert error(alpaca.ask("GET", "/v2/account", headers=headers)) == (
        401,
        {"code": 40110000, "message": "unauthorized."},
    )
    data = alpaca.ask("GET", "/v2/stocks/trades/latest?symbols=KO", headers=headers)
    assert error(data) == (401, {"message": "unauthorized."})


def test_keys_can_come_as_basic_authentication() -> None:
    alpaca = LocalAlpaca()
    pair = base64.b64encode(f"{alpaca.keys.key_id}:{alpaca.keys.secret}".encode()).decode()
    assert alpaca.ask("GET", "/v2/account", headers={"authorization": f"Basic {pair}"}).status == 200


def test_revoked_keys_open_nothing_until_they_are_restored() -> None:
    alpaca = LocalAlpaca()
    alpaca.keys.revoke()
    assert alpaca.ask("GET", "/v2/account").status == 401
    alpaca.keys.restore()
    assert alpaca.ask("GET", "/v2/account").status == 200


def test_the_two_hundred_and_first_request_of_a_minute_is_too_many() -> None:
    alpaca = LocalAlpaca()
    answers = [alpaca.ask("GET", "/v2/clock") for _ in range(201)]
    assert {answer.status for answer in answers[:200]} == {200}
    assert error(answers[200]) == (429, {"code": 42910000, "message": "too many requests."})
    assert answers[0].headers["X-RateLimit-Limit"] == "200"
    assert answers[0].headers["X-RateLimit-Remaining"] == "199"
    assert answers[200].headers["X-RateLimit-Remaining"] == "0"
    assert int(answers[0].headers["X-RateLimit-Reset"]) == alpaca.at // 1_000_000_000 + 60
    alpaca.wait(60)
    assert alpaca.ask("GET", "/v2/clock").status == 200


def test_market_data_has_a_quota_of_its_own() -> None:
    alpaca = busy()
    for _ in range(200):
        alpaca.ask("GET", "/v2/clock")
    assert alpaca.ask("GET", "/v2/stocks/trades/latest?symbols=KO").status == 200


def test_an_unknown_path_and_a_wrong_method_are_told_apart() -> None:
    alpaca = LocalAlpaca()
    assert alpaca.ask("GET", "/v2/nothing").status == 404
    assert alpaca.ask("PUT", "/v2/account").status == 405


# -- faults -----------------------------------------------------------------------------------------------------------


class LosesAnswers:
    """Acts on every request, and answers that it took too long."""

    def before(self, request: Request) -> Answer | None:
        return None

    def after(self, request: Request, answer: Answer) -> Answer:
        return Answer(504, b"", {}) if request.method == "POST" else answer


class Overloaded:
    """Acts on no request."""

    def before(self, request: Request) -> Answer | None:
        return Answer(500, b'{"message":"internal server error"}', {})

    def after(self, request: Request, answer: Answer) -> Answer:
        return answer


ORDER = {"symbol": "KO", "side": "buy", "type": "market", "time_in_force": "day", "qty": "1", "client_order_id": "mine"}


def test_an_order_can_be_accepted_and_its_answer_lost() -> None:
    alpaca = LocalAlpaca(faults=LosesAnswers())
    alpaca.trade("KO", 100.0)
    assert alpaca.ask("POST", "/v2/orders", ORDER).status == 504
    assert alpaca.get("/v2/orders:by_client_order_id?client_order_id=mine")["qty"] == "1"


def test_a_failing_service_has_acted_on_nothing() -> None:
    alpaca = LocalAlpaca(faults=Overloaded())
    alpaca.trade("KO", 100.0)
    assert alpaca.ask("POST", "/v2/orders", ORDER).status == 500
    assert alpaca.exchange.orders() == []


# -- orders -----------------------------------------------------------------------------------------------------------


def test_numbers_are_taken_as_numbers_and_as_text() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 100.0)
    for number, qty in enumerate(("0.1", 0.1, 1)):
        body = json.loads(alpaca.ask("POST", "/v2/orders", ORDER | {"qty": qty, "client_order_id": str(number)}).body)
        assert body["qty"] == str(qty)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'"order"'])
def test_a_body_that_is_no_object_is_a_bad_request(body: bytes) -> None:
    assert LocalAlpaca().ask("POST", "/v2/orders", body).status == 400


def test_half_a_character_in_an_id_is_a_bad_request_or_refused() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 100.0)
    body = json.dumps(ORDER | {"client_order_id": "\ud800"}).encode()
    assert alpaca.ask("POST", "/v2/orders", body).status in {400, 422}


def test_canceling_everything_tells_what_is_canceled_already() -> None:
    alpaca = LocalAlpaca(ExchangeRules(latency_ms=(50.0, 50.0)))
    alpaca.trade("KO", 100.0)
    order = alpaca.order("KO", qty="1")
    assert error(alpaca.ask("DELETE", "/v2/orders")) == (207, [{"id": order.id, "status": 200}])
    assert error(alpaca.ask("DELETE", "/v2/orders")) == (207, [{"id": order.id, "status": 422}])


@pytest.mark.parametrize("change", [{"notional": "5"}, {"stop_price": "5"}, {"trail": "5"}, {"time_in_force": "never"}])
def test_what_cannot_be_replaced_is_refused(change: dict[str, str]) -> None:
    alpaca = busy()
    standing = alpaca.exchange.orders()[-1]["id"]
    assert alpaca.ask("PATCH", f"/v2/orders/{standing}", change).status == 422


def test_a_calendar_without_dates_is_refused() -> None:
    assert LocalAlpaca().ask("GET", "/v2/calendar?start=soon").status == 422


def test_an_order_by_client_id_needs_the_id() -> None:
    assert LocalAlpaca().ask("GET", "/v2/orders:by_client_order_id").status == 422


def test_an_unknown_order_is_missing() -> None:
    alpaca = LocalAlpaca()
    for method, path in (("GET", "/v2/orders/none"), ("DELETE", "/v2/orders/none"), ("PATCH", "/v2/orders/none")):
        assert error(alpaca.ask(method, path)) == (404, {"code": 40410000, "message": "order not found for none"})
    assert alpaca.ask("GET", "/v2/orders:by_client_order_id?client_order_id=none").status == 404


def test_canceling_answers_nothing_and_canceling_what_filled_is_refused() -> None:
    alpaca = busy()
    filled, _, standing = alpaca.exchange.orders()
    assert alpaca.ask("DELETE", f"/v2/orders/{standing['id']}")[:2] == (204, b"")
    assert error(alpaca.ask("DELETE", f"/v2/orders/{filled['id']}")) == (
        422,
        {"code": 42210000, "message": 'order is already in "filled" state'},
    )


def names(alpaca: LocalAlpaca, query: str) -> list[str]:
    return [order["client_order_id"] for order in alpaca.get(f"/v2/orders?{query}")]


def test_orders_are_listed_by_state_newest_first() -> None:
    alpaca = busy()
    assert names(alpaca, "") == ["order-3"]
    assert names(alpaca, "status=closed") == ["order-2", "order-1"]
    assert names(alpaca, "status=all") == ["order-3", "order-2", "order-1"]
    assert names(alpaca, "status=all&direction=asc&limit=2") == ["order-1", "order-2"]


def test_orders_are_listed_by_symbol_side_and_class() -> None:
    alpaca = busy()
    assert names(alpaca, "status=all&symbols=BTCUSD") == ["order-2"]
    assert names(alpaca, "status=all&symbols=KO,BTC/USD&direction=asc") == ["order-1", "order-2", "order-3"]
    assert names(alpaca, "status=all&side=sell") == []
    assert names(alpaca, "status=all&asset_class=crypto") == ["order-2"]


def test_orders_are_listed_by_time_and_by_their_neighbours() -> None:
    alpaca = busy()
    _, second, third = alpaca.exchange.orders()
    assert names(alpaca, f"status=all&after={second['created_at']}") == ["order-3"]
    assert names(alpaca, f"status=all&until={third['created_at']}") == ["order-2", "order-1"]
    assert names(alpaca, f"status=all&after_order_id={second['id']}") == ["order-3"]
    assert names(alpaca, f"status=all&before_order_id={second['id']}") == ["order-1"]


@pytest.mark.parametrize(
    "query", ["status=some", "limit=0", "limit=501", "limit=x", "direction=up", "after=noon", "after_order_id=none"]
)
def test_a_filter_that_cannot_be_read_is_refused(query: str) -> None:
    assert LocalAlpaca().ask("GET", f"/v2/orders?{query}").status in {404, 422}


# -- positions and activities -----------------------------------------------------------------------------------------


def test_a_position_is_found_by_symbol_pair_and_id() -> None:
    alpaca = busy()
    found = alpaca.get("/v2/positions/BTCUSD")
    assert alpaca.get("/v2/positions/BTC%2FUSD") == found
    assert alpaca.get(f"/v2/positions/{found['asset_id']}") == found


def test_a_position_that_is_not_held_is_missing() -> None:
    alpaca = LocalAlpaca()
    for method in ("GET", "DELETE"):
        expected = (404, {"code": 40410000, "message": "position does not exist"})
        assert error(alpaca.ask(method, "/v2/positions/KO")) == expected


def test_a_part_of_a_position_is_closed() -> None:
    alpaca = LocalAlpaca()
    alpaca.bought("KO", "3")
    assert json.loads(alpaca.ask("DELETE", "/v2/positions/KO?qty=1.5").body)["qty"] == "1.5"
    alpaca.wait(1)
    assert json.loads(alpaca.ask("DELETE", "/v2/positions/KO?percentage=50").body)["qty"] == "0.75"
    assert alpaca.ask("DELETE", "/v2/positions/KO?percentage=100.1").status == 422
    assert alpaca.ask("DELETE", "/v2/positions/KO?percentage=1&qty=1").status == 422
    alpaca.wait(1)
    assert json.loads(alpaca.ask("DELETE", "/v2/positions/KO?percentage=100").body)["qty"] == "0.75"


def test_closing_everything_tells_what_could_not_be_closed() -> None:
    alpaca = LocalAlpaca()
    alpaca.bought("KO", "3")
    alpaca.order("KO", "sell", qty="3", type="limit", limit_price="200")
    status, outcomes = error(alpaca.ask("DELETE", "/v2/positions"))
    assert (status, outcomes[0]["status"], outcomes[0]["body"]["code"]) == (207, 403, 40310000)


def kinds(alpaca: LocalAlpaca, query: str = "") -> list[str]:
    return [one["activity_type"] for one in alpaca.get(f"/v2/account/activities{query}")]


def test_activities_are_filtered_by_kind_order_and_day() -> None:
    alpaca = busy()
    alpaca.wait(86_400)
    alpaca.exchange.dividend("KO", Decimal("0.5"))
    assert kinds(alpaca) == ["DIV", "CFEE", "FILL", "FILL"]
    assert kinds(alpaca, "?direction=asc") == ["FILL", "FILL", "CFEE", "DIV"]
    assert kinds(alpaca, "/DIV") == ["DIV"]
    assert kinds(alpaca, "?activity_types=DIV,CFEE") == ["DIV", "CFEE"]
    assert kinds(alpaca, "?category=trade_activity") == ["FILL", "FILL"]
    assert kinds(alpaca, "?category=non_trade_activity") == ["DIV", "CFEE"]
    assert kinds(alpaca, f"?order_id={alpaca.exchange.orders()[0]['id']}") == ["FILL"]
    assert kinds(alpaca, "?date=2026-01-07") == ["DIV"]
    assert kinds(alpaca, "?after=2026-01-07") == ["DIV"]
    assert kinds(alpaca, "?until=2026-01-07T00:00:00Z") == ["CFEE", "FILL", "FILL"]


def test_activities_come_in_pages() -> None:
    alpaca = LocalAlpaca()
    for amount in range(1, 6):
        alpaca.exchange.deposit(Decimal(amount))
    seen: list[str] = []
    token = ""
    while page := alpaca.get(f"/v2/account/activities?direction=asc&page_size=2&page_token={token}"):
        seen += [one["net_amount"] for one in page]
        token = page[-1]["id"]
    assert seen == ["1", "2", "3", "4", "5"]


# -- market -----------------------------------------------------------------------------------------------------------


def test_the_clock_tells_the_next_open_and_close() -> None:
    alpaca = LocalAlpaca(now="2026-01-09T22:00:00Z")
    assert alpaca.get("/v2/clock") == {
        "is_open": False,
        "next_close": "2026-01-12T16:00:00-05:00",
        "next_open": "2026-01-12T09:30:00-05:00",
        "timestamp": "2026-01-09T17:00:00-05:00",
    }


def test_the_calendar_has_the_half_days() -> None:
    day = {
        "close": "13:00",
        "date": "2026-11-27",
        "open": "09:30",
        "session_close": "1700",
        "session_open": "0400",
        "settlement_date": "2026-11-30",
    }
    assert LocalAlpaca().get("/v2/calendar?start=2026-11-26&end=2026-11-29") == [day]


def test_an_asset_is_found_by_symbol_pair_and_id_and_filtered_by_class() -> None:
    alpaca = busy()
    pair = alpaca.get("/v2/assets/BTC%2FUSD")
    assert alpaca.get("/v2/assets/BTCUSD") == alpaca.get(f"/v2/assets/{pair['id']}") == pair
    assert alpaca.get("/v2/assets?asset_class=crypto") == [pair]
    assert [one["symbol"] for one in alpaca.get("/v2/assets?exchange=NYSE&status=active")] == ["KO"]
    assert alpaca.ask("GET", "/v2/assets/NONE").status == 404


# -- market data ------------------------------------------------------------------------------------------------------


def test_history_comes_in_pages_across_symbols() -> None:
    alpaca = busy()
    pages: list[tuple[str, int]] = []
    token = ""
    while True:
        query = "symbols=OCGN,KO&start=2026-01-06&end=2026-01-06&feed=iex&limit=3"
        body = alpaca.get(f"/v2/stocks/trades?{query}&page_token={token}")
        pages.append((",".join(body["trades"]), sum(len(trades) for trades in body["trades"].values())))
        token = body["next_page_token"]
        if token is None:
            break
    assert pages == [("KO", 3), ("KO,OCGN", 3), ("OCGN", 3), ("OCGN", 1)]


def test_history_can_be_read_backwards() -> None:
    body = busy().get("/v2/stocks/KO/trades?start=2026-01-06&feed=iex&sort=desc&limit=2")
    assert [one["p"] for one in body["trades"]] == [90.5, 89.5]


def test_the_free_plan_sees_no_recent_consolidated_tape() -> None:
    alpaca = busy()
    refusal = (403, {"message": "subscription does not permit querying recent SIP data"})
    assert error(alpaca.ask("GET", "/v2/stocks/trades/latest?symbols=KO&feed=sip")) == refusal
    now = datetime.fromtimestamp(alpaca.at // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert error(alpaca.ask("GET", f"/v2/stocks/KO/trades?feed=sip&start=2026-01-06&end={now}")) == refusal
    assert alpaca.get("/v2/stocks/KO/trades?start=2026-01-05")["trades"][0]["p"] == 86.0


def test_who_pays_sees_the_consolidated_tape() -> None:
    alpaca = busy(keys=Keys(plan=Plan.PLUS))
    assert alpaca.get("/v2/stocks/trades/latest?symbols=KO&feed=sip")["trades"]["KO"]["p"] == 90.5


@pytest.mark.parametrize(
    "path",
    [
        "/v2/stocks/trades/latest",
        "/v2/stocks/bars?symbols=KO&feed=iex",
        "/v2/stocks/bars?symbols=KO&feed=iex&timeframe=99Min",
        "/v2/stocks/trades?symbols=KO&feed=iex&limit=10001",
        "/v2/stocks/trades?symbols=KO&feed=iex&page_token=nonsense",
        "/v2/stocks/trades?symbols=KO&feed=iex&start=yesterday",
        "/v2/stocks/trades?symbols=KO&feed=iex&start=2026-01-06&end=2026-01-05T00:00:00Z",
        "/v2/stocks/trades?symbols=KO&feed=none",
    ],
)
def test_a_data_request_that_cannot_be_read_is_a_bad_request(path: str) -> None:
    status, body = error(busy().ask("GET", path))
    assert status == 400
    assert list(body) == ["message"]


def test_a_bar_that_was_seen_is_a_bar_again() -> None:
    alpaca = LocalAlpaca(now="2026-01-06T15:01:00Z")
    alpaca.see(trade_print("KO", 87.0, instant("2026-01-06T15:01:00Z"), Bar(86.0, 88.0, 85.0, 87.0, 500)))
    [bar] = alpaca.get("/v2/stocks/KO/bars?timeframe=1Min&feed=iex")["bars"]
    assert (bar["t"], bar["o"], bar["h"], bar["l"], bar["c"]) == ("2026-01-06T15:00:00Z", 86.0, 88.0, 85.0, 87.0)


@pytest.mark.parametrize(
    ("timeframe", "begins"),
    [
        ("15Min", ["2026-01-05T20:00:00Z", "2026-01-06T15:00:00Z"]),
        ("1Hour", ["2026-01-05T20:00:00Z", "2026-01-06T15:00:00Z"]),
        ("1Day", ["2026-01-05T05:00:00Z", "2026-01-06T05:00:00Z"]),
        ("1Week", ["2026-01-05T05:00:00Z"]),
        ("3Month", ["2026-01-01T05:00:00Z"]),
    ],
)
def test_bars_begin_where_their_timeframe_does(timeframe: str, begins: list[str]) -> None:
    body = busy().get(f"/v2/stocks/KO/bars?timeframe={timeframe}&feed=iex&start=2026-01-01")
    assert [bar["t"] for bar in body["bars"]] == begins
    assert (body["bars"][0]["o"], body["bars"][-1]["c"]) == (86.0, 90.5)


def test_a_quarter_in_autumn_ends_with_the_year() -> None:
    alpaca = LocalAlpaca(now="2026-12-30T16:00:00Z")
    alpaca.trade("KO", 86.0)
    alpaca.until("2027-01-04T16:00:00Z")
    alpaca.trade("KO", 87.0)
    bars = alpaca.get("/v2/stocks/KO/bars?timeframe=3Month&feed=iex&start=2026-01-01")["bars"]
    assert [(bar["t"], bar["c"]) for bar in bars] == [("2026-10-01T04:00:00Z", 86.0), ("2027-01-01T05:00:00Z", 87.0)]


def test_the_free_plan_sees_the_consolidated_tape_after_a_quarter_of_an_hour() -> None:
    alpaca = LocalAlpaca()
    alpaca.trade("KO", 86.0)
    alpaca.wait(14 * 60)
    assert alpaca.get("/v2/stocks/KO/trades")["trades"] == []
    alpaca.wait(60)
    assert [trade["p"] for trade in alpaca.get("/v2/stocks/KO/trades")["trades"]] == [86.0]


def test_a_bar_of_coins_knows_utc_and_its_average() -> None:
    alpaca = LocalAlpaca(now="2026-01-06T02:00:00Z")
    alpaca.trade("BTC/USD", 90_000.0, size=1)
    alpaca.trade("BTC/USD", 90_300.0, size=2)
    [bar] = alpaca.get("/v1beta3/crypto/us/bars?symbols=BTC/USD&timeframe=1Day&start=2026-01-06")["bars"]["BTC/USD"]
    assert (bar["t"], bar["vw"], bar["v"], bar["n"]) == ("2026-01-06T00:00:00Z", 90_200.0, 3, 2)


def test_a_partial_fill_says_what_is_left() -> None:
    alpaca = LocalAlpaca(ALL_PARTS)
    alpaca.trade("KO", 100.0)
    alpaca.order("KO", qty="10", time_in_force="ioc")
    alpaca.wait(1)
    [fill] = alpaca.get("/v2/account/activities/FILL")
    assert Decimal(fill["leaves_qty"]) + Decimal(fill["qty"]) == 10
    assert (fill["type"], fill["order_status"]) == ("partial_fill", "partially_filled")


def test_the_tape_forgets_the_oldest_and_sorts_what_comes_late() -> None:
    tape = Tape(kept=4)
    for second in (1, 2, 3, 5, 4, 6):
        tape.record([trade_print("KO", float(second), Instant(second))])
    assert [trade.price for trade in tape.trades("KO", Instant(0), Instant(9))] == [3, 4, 5, 6]
    assert [trade.price for trade in tape.trades("KO", Instant(4), Instant(5))] == [4, 5]


def test_a_symbol_that_was_never_traded_has_no_price() -> None:
    alpaca = LocalAlpaca()
    alpaca.quote("KO", 86.0, 87.0)
    assert alpaca.ask("GET", "/v2/stocks/KO/trades/latest").status == 404
    assert alpaca.ask("GET", "/v2/stocks/KO/bars/latest").status == 404
    assert alpaca.get("/v2/stocks/bars/latest?symbols=KO") == {"bars": {}}


def test_a_bad_print_does_not_break_json() -> None:
    alpaca = busy()
    alpaca.trade("KO", float("nan"))
    assert alpaca.get("/v2/stocks/trades/latest?symbols=KO")["trades"]["KO"]["p"] == 90.5


# -- whatever is sent -------------------------------------------------------------------------------------------------

VALUES = st.one_of(
    st.sampled_from(
        ["KO", "KO,BTC/USD", "all", "desc", "1Min", "3Month", "0", "-1", "1e9", "9" * 5000, "true", "iex", "order-1"],
    ),
    st.sampled_from(
        ["0001-01-01", "9999-12-31", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "2026-01-06", "é"],
    ),
    st.text(max_size=20),
)
NAMES = st.sampled_from(
    [
        "symbols",
        "status",
        "limit",
        "after",
        "until",
        "direction",
        "side",
        "asset_class",
        "page_size",
        "page_token",
        "start",
        "end",
        "timeframe",
        "feed",
        "sort",
        "before_order_id",
        "qty",
        "percentage",
        "cancel_orders",
        "client_order_id",
        "date",
        "activity_types",
        "types",
        "ids",
    ]
)
PATHS = st.sampled_from(
    [
        "/v2/orders",
        "/v2/orders/x",
        "/v2/positions",
        "/v2/positions/KO",
        "/v2/account/activities",
        "/v2/assets",
        "/v2/calendar",
        "/v2/stocks/trades",
        "/v2/stocks/bars",
        "/v2/stocks/KO/bars",
        "/v2/stocks/bars/latest",
        "/v2/stocks/snapshots",
        "/v1beta3/crypto/us/bars",
        "/v1beta3/crypto/us/latest/quotes",
        "/v1/corporate-actions",
        "/v2/orders:by_client_order_id",
    ]
)
ORDERS = st.dictionaries(
    st.sampled_from(
        [
            "symbol",
            "side",
            "type",
            "time_in_force",
            "qty",
            "notional",
            "limit_price",
            "client_order_id",
            "extended_hours",
            "order_class",
        ]
    ),
    st.one_of(
        st.sampled_from(
            ["KO", "BTC/USD", "buy", "sell", "market", "limit", "day", "gtc", "ioc", "NaN", "1e-999", "simple"]
        ),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.none(),
        st.booleans(),
        st.lists(st.integers(), max_size=2),
    ),
)
METHODS = st.sampled_from(["GET", "GET", "GET", "POST", "PATCH", "DELETE"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(METHODS, PATHS, st.dictionaries(NAMES, VALUES, max_size=4), ORDERS), min_size=1, max_size=5))
def test_every_request_is_answered_with_an_answer(
    sent: list[tuple[str, str, dict[str, str], dict[str, object]]],
) -> None:
    alpaca = busy()
    keys = {"apca-api-key-id": alpaca.keys.key_id, "apca-api-secret-key": alpaca.keys.secret}
    for method, path, query, order in sent:
        listed = {name: [value] for name, value in query.items()}
        answer = alpaca.rest.answer(Request(method, path, listed, keys, json.dumps(order).encode()))
        assert answer.status in {200, 204, 207, 400, 403, 404, 405, 422}
        if answer.status >= 400:
            assert json.loads(answer.body)["message"]
        alpaca.wait(1)


# -- fidelity ---------------------------------------------------------------------------------------------------------


def eventful() -> LocalAlpaca:
    """An account in which everything happened that has an answer."""
    alpaca = busy()
    alpaca.exchange.dividend("KO", Decimal("0.5"), withheld=Decimal("0.15"))
    alpaca.exchange.split("OCGN", Decimal(1), Decimal(10))
    alpaca.exchange.split("KO", Decimal(2), Decimal(1))
    alpaca.exchange.deposit(Decimal(10))
    alpaca.exchange.fee(Decimal("0.01"))
    return alpaca


READS = [
    ("/v2/account", "/v2/account"),
    ("/v2/account/activities", "/v2/account/activities"),
    ("/v2/account/activities/{activity_type}", "/v2/account/activities/DIV"),
    ("/v2/assets", "/v2/assets"),
    ("/v2/assets", "/v2/assets?asset_class=crypto"),
    ("/v2/assets/{symbol_or_asset_id}", "/v2/assets/BTC%2FUSD"),
    ("/v2/calendar", "/v2/calendar?start=2026-01-01&end=2026-01-31"),
    ("/v2/clock", "/v2/clock"),
    ("/v2/orders", "/v2/orders?status=all"),
    ("/v2/orders:by_client_order_id", "/v2/orders:by_client_order_id?client_order_id=order-1"),
    ("/v2/positions", "/v2/positions"),
    ("/v2/positions/{symbol_or_asset_id}", "/v2/positions/KO"),
    ("/v2/stocks/snapshots", "/v2/stocks/snapshots?symbols=KO,OCGN"),
    ("/v2/stocks/{symbol}/snapshot", "/v2/stocks/KO/snapshot"),
    ("/v1beta3/crypto/{loc}/snapshots", "/v1beta3/crypto/us/snapshots?symbols=BTC/USD"),
    ("/v1beta3/crypto/{loc}/latest/orderbooks", "/v1beta3/crypto/us/latest/orderbooks?symbols=BTC/USD"),
    ("/v1/corporate-actions", "/v1/corporate-actions?symbols=KO,OCGN"),
    *(
        (path.replace("KIND", kind), url.replace("KIND", kind))
        for kind in ("trades", "quotes", "bars")
        for path, url in (
            ("/v2/stocks/KIND/latest", "/v2/stocks/KIND/latest?symbols=KO,OCGN"),
            ("/v2/stocks/{symbol}/KIND/latest", "/v2/stocks/KO/KIND/latest"),
            ("/v2/stocks/KIND", "/v2/stocks/KIND?symbols=KO,OCGN&feed=iex&timeframe=1Min&limit=7&start=2026-01-05"),
            ("/v2/stocks/{symbol}/KIND", "/v2/stocks/KO/KIND?feed=iex&timeframe=1Day"),
            ("/v1beta3/crypto/{loc}/KIND", "/v1beta3/crypto/us/KIND?symbols=BTC/USD&timeframe=1Min&start=2026-01-06"),
            ("/v1beta3/crypto/{loc}/latest/KIND", "/v1beta3/crypto/us/latest/KIND?symbols=BTC/USD"),
        )
    ),
]


@pytest.mark.parametrize(("path", "url"), READS, ids=[url for _, url in READS])
def test_what_is_read_is_what_the_specification_describes(path: str, url: str) -> None:
    body = eventful().get(url)
    assert body
    assert list(violations(body, SCHEMAS[f"GET {path}"])) == []


def test_what_is_done_is_answered_as_the_specification_describes() -> None:
    alpaca = busy()
    standing = alpaca.exchange.orders()[-1]["id"]
    done = {
        "POST /v2/orders": alpaca.ask("POST", "/v2/orders", ORDER),
        "PATCH /v2/orders/{order_id}": alpaca.ask("PATCH", f"/v2/orders/{standing}", {"limit_price": "70"}),
        "GET /v2/orders/{order_id}": alpaca.ask("GET", f"/v2/orders/{standing}"),
        "DELETE /v2/orders": alpaca.ask("DELETE", "/v2/orders"),
        "DELETE /v2/positions/{symbol_or_asset_id}": alpaca.ask("DELETE", "/v2/positions/BTCUSD?percentage=10"),
        "DELETE /v2/positions": alpaca.ask("DELETE", "/v2/positions?cancel_orders=true"),
    }
    wrong = {name: list(violations(json.loads(answer.body), SCHEMAS[name])) for name, answer in done.items()}
    assert wrong == {name: [] for name in done}
    assert {answer.status for answer in done.values()} == {200, 207}


def test_the_reference_notices_what_is_wrong() -> None:
    order = eventful().get("/v2/orders?status=all")[0]
    wrong = order | {"id": "none", "status": "odd", "qty": 1, "created_at": "now"}
    del wrong["type"]
    assert len(list(violations(wrong, SCHEMAS["GET /v2/orders/{order_id}"]))) == 5


def test_an_account_is_dated_to_the_microsecond_as_the_recorded_one() -> None:
    account = LocalAlpaca(now="2026-01-06T15:00:00.123456789Z").get("/v2/account")
    assert account["created_at"] == "2026-01-06T15:00:00.123456Z"


def test_answers_have_the_keys_and_types_of_the_recorded_ones() -> None:
    alpaca = LocalAlpaca(listings=LISTINGS)
    alpaca.trade("KO", 86.878)
    alpaca.trade("BTC/USD", 90_000.0)
    submitted = json.loads(alpaca.ask("POST", "/v2/orders", ORDER | {"qty": None, "notional": "5"}).body)
    alpaca.wait(1)
    assert {
        "account": shape(alpaca.get("/v2/account")),
        "coin_asset": shape(alpaca.get("/v2/assets/BTCUSD")),
        "fill_activity": shape(alpaca.get("/v2/account/activities")[0]),
        "order_notional_filled": shape(alpaca.get(f"/v2/orders/{submitted['id']}")),
        "order_notional_submit": shape(submitted),
        "position": shape(alpaca.get("/v2/positions/KO")),
        "stock_asset": shape(alpaca.get("/v2/assets/KO")),
    } == {name: recorded for name, recorded in RECORDED.items() if not name.startswith("update_")}


def test_order_updates_have_the_keys_and_types_of_the_recorded_ones() -> None:
    alpaca = LocalAlpaca()
    alpaca.bought("DOGE/USD", "129.7", 0.0851119)
    del alpaca.updates[:]
    alpaca.order("DOGE/USD", "sell", qty="129.37575", time_in_force="gtc")
    alpaca.wait(1)
    told = {f"update_{update['event']}": shape(update) for update in alpaca.updates}
    assert told == {name: recorded for name, recorded in RECORDED.items() if name.startswith("update_")}
