"""alpaca-py, imported past the deprecation of what it imports itself."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "websockets.legacy is deprecated", DeprecationWarning)
    from alpaca.common.exceptions import APIError
    from alpaca.data.enums import DataFeed
    from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient
    from alpaca.data.historical.corporate_actions import CorporateActionsClient
    from alpaca.data.requests import (
        CorporateActionsRequest,
        CryptoBarsRequest,
        CryptoLatestOrderbookRequest,
        CryptoLatestQuoteRequest,
        CryptoLatestTradeRequest,
        CryptoSnapshotRequest,
        StockBarsRequest,
        StockLatestBarRequest,
        StockLatestQuoteRequest,
        StockLatestTradeRequest,
        StockSnapshotRequest,
        StockTradesRequest,
    )
    from alpaca.data.timeframe import TimeFrame
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import OrderSide, QueryOrderStatus, TimeInForce
    from alpaca.trading.requests import (
        ClosePositionRequest,
        GetAssetsRequest,
        GetCalendarRequest,
        GetOrdersRequest,
        LimitOrderRequest,
        MarketOrderRequest,
        ReplaceOrderRequest,
    )

__all__ = [
    "APIError",
    "ClosePositionRequest",
    "CorporateActionsClient",
    "CorporateActionsRequest",
    "CryptoBarsRequest",
    "CryptoHistoricalDataClient",
    "CryptoLatestOrderbookRequest",
    "CryptoLatestQuoteRequest",
    "CryptoLatestTradeRequest",
    "CryptoSnapshotRequest",
    "DataFeed",
    "GetAssetsRequest",
    "GetCalendarRequest",
    "GetOrdersRequest",
    "LimitOrderRequest",
    "MarketOrderRequest",
    "OrderSide",
    "QueryOrderStatus",
    "ReplaceOrderRequest",
    "StockBarsRequest",
    "StockHistoricalDataClient",
    "StockLatestBarRequest",
    "StockLatestQuoteRequest",
    "StockLatestTradeRequest",
    "StockSnapshotRequest",
    "StockTradesRequest",
    "TimeFrame",
    "TimeInForce",
    "TradingClient",
]
