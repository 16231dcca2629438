"""Market data of the local Alpaca, read by the official clients as they are, over a loopback port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from mrdaemon.core.instant import Instant
from mrdaemon.core.prints import Bar, Trade, trade_print
from mrdaemon.simulator.keys import Keys, Plan
from tests.fidelity import Alpaca, instant, local_alpaca

# What is imported first keeps the library's warnings quiet.
# isort: split
from alpaca.common.enums import Sort
from alpaca.common.exceptions import APIError
from alpaca.data.enums import CorporateActionsType, DataFeed
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import (
    CorporateActionsRequest,
    CryptoBarsRequest,
    CryptoLatestBarRequest,
    CryptoLatestOrderbookRequest,
    CryptoLatestQuoteRequest,
    CryptoLatestTradeRequest,
    CryptoQuoteRequest,
    CryptoSnapshotRequest,
    CryptoTradesRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

IEX = DataFeed.IEX
MONDAY = datetime(2026, 1, 5, 5, tzinfo=UTC)
PAIR = "BTC/USD"


@pytest.fixture(scope="module")
def alpaca() -> Iterator[Alpaca]:
    """Prices of two days that nothing here changes: minutes of Monday, ticks of Tuesday."""
    with local_alpaca() as served:
        for symbol, price in (("KO", 80.0), (PAIR, 80_000.0)):
            served.bar(symbol, "2026-01-05T15:01:00Z", Bar(price, price + 3, price - 1, price + 2, 500.0))
            served.bar(symbol, "2026-01-05T15:02:00Z", Bar(price + 2, price + 5, price + 1, price + 4, 300.0))
        for step in range(3):
            served.quote("KO", 86.0 + step, 86.5 + step)
            served.trade("KO", 86.25 + step, size=10.0 + step, conditions="@I")
            served.quote(PAIR, 90_000.0 + step, 90_010.0 + step)
            served.trade(PAIR, 90_005.5 + step, size=0.25)
        served.trade("OCGN", 1.5)
        yield served


# -- the newest -------------------------------------------------------------------------------------------------------


def test_the_newest_trades_of_stocks(alpaca: Alpaca) -> None:
    asked = StockLatestTradeRequest(symbol_or_symbols=["KO", "OCGN", "NONE"], feed=IEX)
    found: Any = alpaca.stocks().get_stock_latest_trade(asked)
    assert {symbol: trade.price for symbol, trade in found.items()} == {"KO": 88.25, "OCGN": 1.5}
    trade = found["KO"]
    assert (trade.size, trade.exchange, trade.conditions, trade.tape) == (12, "V", ["@", "I"], "A")
    assert trade.timestamp.date() == date(2026, 1, 6)


def test_the_newest_quote_of_a_stock(alpaca: Alpaca) -> None:
    found: Any = alpaca.stocks().get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="KO"))
    quote = found["KO"]
    assert (quote.bid_price, quote.ask_price, quote.conditions) == (88.0, 88.5, ["R"])
    assert (quote.bid_size, quote.ask_size) > (0, 0)


def test_the_newest_minute_of_a_stock(alpaca: Alpaca) -> None:
    found: Any = alpaca.stocks().get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="KO"))
    bar = found["KO"]
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trade_count) == (86.25, 88.25, 86.25, 88.25, 33, 3)


def test_the_snapshot_of_a_stock(alpaca: Alpaca) -> None:
    found: Any = alpaca.stocks().get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="KO", feed=IEX))
    snapshot = found["KO"]
    assert (snapshot.latest_trade.price, snapshot.latest_quote.ask_price) == (88.25, 88.5)
    assert (snapshot.minute_bar.close, snapshot.daily_bar.open) == (88.25, 86.25)
    assert (snapshot.previous_daily_bar.open, snapshot.previous_daily_bar.close) == (80.0, 84.0)


def test_the_newest_of_a_pair(alpaca: Alpaca) -> None:
    client = alpaca.coins()
    trade: Any = client.get_crypto_latest_trade(CryptoLatestTradeRequest(symbol_or_symbols=PAIR))
    quote: Any = client.get_crypto_latest_quote(CryptoLatestQuoteRequest(symbol_or_symbols=PAIR))
    bar: Any = client.get_crypto_latest_bar(CryptoLatestBarRequest(symbol_or_symbols=PAIR))
    book: Any = client.get_crypto_latest_orderbook(CryptoLatestOrderbookRequest(symbol_or_symbols=PAIR))
    assert (trade[PAIR].price, trade[PAIR].size, trade[PAIR].exchange) == (90_007.5, 0.25, None)
    assert (quote[PAIR].bid_price, quote[PAIR].ask_price) == (90_002.0, 90_012.0)
    assert (bar[PAIR].open, bar[PAIR].close, bar[PAIR].volume) == (90_005.5, 90_007.5, 0.75)
    assert (book[PAIR].bids[0].price, book[PAIR].asks[0].price) == (90_002.0, 90_012.0)


def test_the_snapshot_of_a_pair(alpaca: Alpaca) -> None:
    found: Any = alpaca.coins().get_crypto_snapshot(CryptoSnapshotRequest(symbol_or_symbols=[PAIR, "ETH/USD"]))
    assert list(found) == [PAIR]
    assert (found[PAIR].latest_trade.price, found[PAIR].previous_daily_bar.close) == (90_007.5, 80_004.0)


# -- history ----------------------------------------------------------------------------------------------------------


def test_minutes_of_a_stock(alpaca: Alpaca) -> None:
    asked = StockBarsRequest(symbol_or_symbols="KO", timeframe=TimeFrame.Minute, start=MONDAY, feed=IEX)
    found: Any = alpaca.stocks().get_stock_bars(asked)
    first, second, _ = found["KO"]
    assert first.timestamp == datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
    assert (first.open, first.high, first.low, first.close, first.volume) == (80.0, 83.0, 79.0, 82.0, 500)
    assert (second.open, second.close) == (82.0, 84.0)


@pytest.mark.parametrize(
    ("timeframe", "closes"),
    [
        (TimeFrame(5, TimeFrameUnit.Minute), [84.0, 88.25]),
        (TimeFrame.Hour, [84.0, 88.25]),
        (TimeFrame.Day, [84.0, 88.25]),
        (TimeFrame.Week, [88.25]),
        (TimeFrame.Month, [88.25]),
    ],
    ids=str,
)
def test_bars_are_of_any_length(alpaca: Alpaca, timeframe: TimeFrame, closes: list[float]) -> None:
    start = datetime(2026, 1, 1, 5, tzinfo=UTC)
    asked = StockBarsRequest(symbol_or_symbols="KO", timeframe=timeframe, start=start, feed=IEX)
    found: Any = alpaca.stocks().get_stock_bars(asked)
    assert [bar.close for bar in found["KO"]] == closes


def test_trades_of_stocks_within_a_span(alpaca: Alpaca) -> None:
    asked = StockTradesRequest(symbol_or_symbols=["KO", "OCGN"], start=datetime(2026, 1, 6, tzinfo=UTC), feed=IEX)
    found: Any = alpaca.stocks().get_stock_trades(asked)
    assert [trade.price for trade in found["KO"]] == [86.25, 87.25, 88.25]
    assert [trade.price for trade in found["OCGN"]] == [1.5]
    assert sorted({trade.timestamp for trade in found["KO"]}) == [trade.timestamp for trade in found["KO"]]


def test_history_can_be_limited_and_read_backwards(alpaca: Alpaca) -> None:
    asked = StockTradesRequest(symbol_or_symbols="KO", start=MONDAY, limit=2, sort=Sort.DESC, feed=IEX)
    found: Any = alpaca.stocks().get_stock_trades(asked)
    assert [trade.price for trade in found["KO"]] == [88.25, 87.25]


def test_quotes_of_a_stock(alpaca: Alpaca) -> None:
    found: Any = alpaca.stocks().get_stock_quotes(StockQuotesRequest(symbol_or_symbols="KO", start=MONDAY, feed=IEX))
    assert [(quote.bid_price, quote.ask_price) for quote in found["KO"]] == [(86.0, 86.5), (87.0, 87.5), (88.0, 88.5)]


def test_history_of_a_pair(alpaca: Alpaca) -> None:
    client = alpaca.coins()
    bars: Any = client.get_crypto_bars(CryptoBarsRequest(symbol_or_symbols=PAIR, timeframe=TimeFrame.Day, start=MONDAY))
    trades: Any = client.get_crypto_trades(
        CryptoTradesRequest(symbol_or_symbols=PAIR, start=datetime(2026, 1, 6, tzinfo=UTC))
    )
    quotes: Any = client.get_crypto_quotes(CryptoQuoteRequest(symbol_or_symbols=PAIR, start=MONDAY))
    assert [bar.close for bar in bars[PAIR]] == [90_007.5]
    assert [trade.price for trade in trades[PAIR]] == [90_005.5, 90_006.5, 90_007.5]
    assert [quote.bid_price for quote in quotes[PAIR]] == [90_000.0, 90_001.0, 90_002.0]


def test_a_long_history_comes_in_pages_that_the_client_joins() -> None:
    with local_alpaca(now="2026-01-06T20:00:00Z") as alpaca:
        first = instant("2026-01-06T15:00:00Z")
        prints = [
            trade_print("KO", 80 + number / 1_000, Instant(first + number), Trade("@", 1.0)) for number in range(10_050)
        ]
        alpaca.do(lambda simulator: simulator.see(prints))
        asked = StockTradesRequest(symbol_or_symbols="KO", start=datetime(2026, 1, 6, tzinfo=UTC), feed=IEX)
        found: Any = alpaca.stocks().get_stock_trades(asked)
        answered = alpaca.do(lambda simulator: [each.path for each in simulator.requests])
    assert [trade.price for trade in found["KO"]] == [seen[1] for seen in prints]
    assert answered == ["/v2/stocks/trades"] * 2


# -- the plan and the keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        lambda it: it.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="KO", feed=DataFeed.SIP)),
        lambda it: it.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="KO", feed=DataFeed.SIP)),
        lambda it: it.get_stock_trades(
            StockTradesRequest(
                symbol_or_symbols="KO", start=MONDAY, end=datetime(2026, 1, 6, 15, tzinfo=UTC), feed=DataFeed.SIP
            )
        ),
    ],
    ids=["trade", "snapshot", "trades"],
)
def test_the_free_plan_has_no_recent_consolidated_tape(alpaca: Alpaca, asked: Callable[[Any], object]) -> None:
    with pytest.raises(APIError) as caught:
        asked(alpaca.stocks())
    assert caught.value.status_code == 403
    assert caught.value.message == "subscription does not permit querying recent SIP data"


def test_the_free_plan_has_an_older_consolidated_tape(alpaca: Alpaca) -> None:
    asked = StockTradesRequest(symbol_or_symbols="KO", start=MONDAY, end=datetime(2026, 1, 6, 14, tzinfo=UTC))
    found: Any = alpaca.stocks().get_stock_trades(asked)
    assert [trade.price for trade in found["KO"]] == [82.0, 84.0]


def test_who_pays_has_the_consolidated_tape() -> None:
    with local_alpaca(keys=Keys(plan=Plan.PLUS)) as alpaca:
        alpaca.trade("KO", 86.0)
        asked = StockLatestTradeRequest(symbol_or_symbols="KO", feed=DataFeed.SIP)
        found: Any = alpaca.stocks().get_stock_latest_trade(asked)
    assert found["KO"].price == 86.0


def test_wrong_keys_get_no_prices(alpaca: Alpaca) -> None:
    with pytest.raises(APIError) as caught:
        alpaca.stocks(secret="guess").get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="KO"))
    assert caught.value.status_code == 401


def test_keys_can_be_sent_as_basic_authentication(alpaca: Alpaca) -> None:
    client = StockHistoricalDataClient(
        alpaca.keys.key_id, alpaca.keys.secret, use_basic_auth=True, url_override=alpaca.url
    )
    found: Any = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="KO"))
    assert found["KO"].price == 88.25


def test_data_without_a_symbol_is_a_bad_request(alpaca: Alpaca) -> None:
    with pytest.raises(APIError) as caught:
        alpaca.stocks().get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=[]))
    assert (caught.value.status_code, "symbol" in caught.value.message) == (400, True)


# -- corporate actions ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def announced() -> Iterator[Alpaca]:
    """Two splits and a dividend, announced today."""
    with local_alpaca() as served:
        served.do(lambda simulator: simulator.exchange.split("KO", Decimal(2), Decimal(1)))
        served.do(lambda simulator: simulator.exchange.split("OCGN", Decimal(1), Decimal(10)))
        served.do(lambda simulator: simulator.exchange.dividend("KO", Decimal("0.51")))
        yield served


def test_corporate_actions_are_grouped_by_kind(announced: Alpaca) -> None:
    asked = CorporateActionsRequest(symbols=["KO", "OCGN"], start=date(2026, 1, 1), end=date(2026, 1, 31))
    found: Any = announced.corporate_actions().get_corporate_actions(asked)
    [forward], [reverse], [dividend] = found["forward_splits"], found["reverse_splits"], found["cash_dividends"]
    assert (forward.symbol, forward.new_rate, forward.old_rate) == ("KO", 2.0, 1.0)
    assert (reverse.symbol, reverse.new_rate, reverse.old_rate) == ("OCGN", 1.0, 10.0)
    assert (dividend.symbol, dividend.rate, dividend.ex_date) == ("KO", 0.51, date(2026, 1, 6))


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ({"symbols": ["OCGN"]}, {"reverse_splits"}),
        ({"types": [CorporateActionsType.CASH_DIVIDEND]}, {"cash_dividends"}),
        ({"symbols": ["KO"], "start": date(2026, 1, 7), "end": date(2026, 1, 9)}, set()),
    ],
)
def test_corporate_actions_are_filtered(announced: Alpaca, asked: dict[str, Any], kinds: set[str]) -> None:
    found: Any = announced.corporate_actions().get_corporate_actions(CorporateActionsRequest(**asked))
    assert set(found.data) == kinds
