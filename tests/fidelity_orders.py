"""Orders as the official library makes them, and an account that has some."""

from __future__ import annotations

from typing import Any

from tests.fidelity import Alpaca

# What is imported first keeps the library's warnings quiet.
# isort: split
from alpaca.trading.enums import OrderSide, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import GetOrdersRequest, LimitOrderRequest, MarketOrderRequest

DAY, GTC, IOC = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC
BUY, SELL = OrderSide.BUY, OrderSide.SELL


def market(symbol: str = "KO", side: OrderSide = BUY, **more: Any) -> MarketOrderRequest:
    return MarketOrderRequest(symbol=symbol, side=side, **({"time_in_force": DAY} | more))


def limit(price: float, symbol: str = "KO", side: OrderSide = BUY, **more: Any) -> LimitOrderRequest:
    return LimitOrderRequest(symbol=symbol, side=side, limit_price=price, **({"time_in_force": DAY, "qty": 1} | more))


def everything(**named: Any) -> GetOrdersRequest:
    return GetOrdersRequest(status=QueryOrderStatus.ALL, **named)


def submitted(alpaca: Alpaca, request: MarketOrderRequest | LimitOrderRequest, status: str = "filled") -> Any:
    """Have an order in some status."""
    order: Any = alpaca.trading().submit_order(request)
    alpaca.reaches(order.id, status)
    return order


def trade_a_little(alpaca: Alpaca) -> None:
    """Have three orders, ten seconds apart: a filled purchase, a standing sale, a standing purchase of coins."""
    for request, status in (
        (market(qty=5, client_order_id="first"), "filled"),
        (limit(90, side=SELL, client_order_id="second"), "new"),
        (limit(80_000, "BTC/USD", qty=0.01, time_in_force=GTC, client_order_id="third"), "new"),
    ):
        submitted(alpaca, request, status)
        alpaca.put_forward(10)
