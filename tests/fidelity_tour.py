"""A tour of the local Alpaca's REST services: every route, answers and refusals, on a clock that stands still."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from mrdaemon.core.prints import Bar, Trade, trade_print
from mrdaemon.simulator.assets import Listing
from tests.local_alpaca import LocalAlpaca, instant

NOBODY = "00000000-0000-0000-0000-000000000000"
SPAN = "start=2026-01-05&feed=iex"


class Step(NamedTuple):
    """One request: method, path as the specification names it, URL, JSON body, and the status expected.

    ``{name}`` in a URL stands for the id of the order with that client order id.
    """

    method: str
    path: str
    url: str
    status: int = 200
    body: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        named = f" {self.body.get('client_order_id', '')}" if self.body else ""
        refused = f" refused with {self.status}" if self.status in range(400, 500) else ""
        return f"{self.method} {self.url}{named}{refused}"


class Visit(NamedTuple):
    """A step, and its answer."""

    step: Step
    status: int
    headers: dict[str, str]
    text: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.text)


def order(name: str, symbol: str = "KO", side: str = "buy", **more: Any) -> dict[str, Any]:
    sent = {"symbol": symbol, "side": side, "type": "market", "time_in_force": "day", "client_order_id": name}
    return sent | more


def limit(name: str, price: str, symbol: str = "KO", side: str = "buy", **more: Any) -> dict[str, Any]:
    return order(name, symbol, side, type="limit", limit_price=price, **more)


def get(path: str, url: str | None = None, status: int = 200) -> Step:
    return Step("GET", path, url or path, status)


def post(status: int = 200, **body: Any) -> Step:
    return Step("POST", "/v2/orders", "/v2/orders", status, body)


_ORDER = "/v2/orders/{order_id}"
_POSITION = "/v2/positions/{symbol_or_asset_id}"
_ASSET = "/v2/assets/{symbol_or_asset_id}"
_ACTIVITIES = "/v2/account/activities"
_OF_CLIENT = "/v2/orders:by_client_order_id"
_COINS = "/v1beta3/crypto/{loc}"
_ACTIONS = "/v1/corporate-actions"

TRADES = [
    post(**order("notional", notional="50")),
    post(**order("fraction", qty=0.5)),
    post(**order("coins", "BTC/USD", qty="0.01", time_in_force="gtc")),
    post(**limit("standing", "80", qty="2", extended_hours=True)),
    post(**limit("sale", "100", side="sell", qty="0.25")),
    post(**limit("immediate", "80", qty="1", time_in_force="ioc")),
    get("/v2/account"),
    get("/v2/assets"),
    get("/v2/assets", "/v2/assets?asset_class=crypto&status=active"),
    get(_ASSET, "/v2/assets/KO"),
    get(_ASSET, "/v2/assets/BTC%2FUSD"),
    get("/v2/clock"),
    get("/v2/calendar", "/v2/calendar?start=2026-11-20&end=2026-11-30"),
    get("/v2/orders"),
    get("/v2/orders", "/v2/orders?status=all&direction=asc&limit=500&nested=true"),
    get("/v2/orders", "/v2/orders?status=closed&symbols=KO,BTC/USD&side=buy&after=2026-01-06"),
    get(_ORDER, "/v2/orders/{notional}"),
    get(_ORDER, "/v2/orders/{immediate}"),
    get(_OF_CLIENT, "/v2/orders:by_client_order_id?client_order_id=coins"),
    get("/v2/positions"),
    get(_POSITION, "/v2/positions/KO"),
    get(_POSITION, "/v2/positions/BTCUSD"),
    get(_ACTIVITIES),
    get("/v2/account/activities/{activity_type}", "/v2/account/activities/FILL"),
    get("/v2/account/activities/{activity_type}", "/v2/account/activities/DIV"),
    get(_ACTIVITIES, "/v2/account/activities?activity_types=CSD,FEE&page_size=1"),
    Step("PATCH", _ORDER, "/v2/orders/{standing}", 200, {"limit_price": "81", "client_order_id": "replacing"}),
    get(_ORDER, "/v2/orders/{standing}"),
    Step("DELETE", _ORDER, "/v2/orders/{replacing}", 204),
    get(_ORDER, "/v2/orders/{replacing}"),
    post(**limit("again", "80", qty="1")),
    Step("DELETE", "/v2/orders", "/v2/orders", 207),
    Step("DELETE", _POSITION, "/v2/positions/KO?percentage=50"),
    post(**limit("in the way", "100", side="sell", qty="0.125")),
    Step("DELETE", "/v2/positions", "/v2/positions", 207),
    Step("DELETE", "/v2/positions", "/v2/positions?cancel_orders=true", 207),
]
"""In this order: each step finds what those before it left."""

REFUSED = [
    post(422, **order("notional", notional="50")),
    post(422, **order("both", notional="50", qty="1")),
    post(422, **order("neither")),
    post(422, **order("type", qty="1", type="odd")),
    post(422, **order("unknown", "NONE", qty="1")),
    post(422, **limit("pennies", "80.001", qty="1")),
    post(403, **order("short", "OCGN", "sell", qty="1")),
    post(403, **order("rich", "OCGN", qty="999999999")),
    post(403, **order("whole", "OCGN", qty="1.5")),
    post(403, **order("cheap", "OCGN", notional="0.5")),
    get(_ORDER, f"/v2/orders/{NOBODY}", 404),
    get(_OF_CLIENT, "/v2/orders:by_client_order_id?client_order_id=nobody", 404),
    get(_POSITION, "/v2/positions/OCGN", 404),
    get(_ASSET, "/v2/assets/NONE", 404),
    get("/v2/orders", "/v2/orders?status=odd", 422),
    Step("DELETE", _ORDER, "/v2/orders/{notional}", 422),
    Step("DELETE", _ORDER, f"/v2/orders/{NOBODY}", 404),
    Step("PATCH", _ORDER, "/v2/orders/{notional}", 422, {"qty": "1"}),
    Step("DELETE", _POSITION, "/v2/positions/OCGN", 404),
    get("/v2/stocks/trades/latest", "/v2/stocks/trades/latest?symbols=KO&feed=sip", 403),
    get("/v2/stocks/trades/latest", "/v2/stocks/trades/latest", 400),
    get("/v2/stocks/bars", "/v2/stocks/bars?symbols=KO&feed=iex&timeframe=odd", 400),
    get("/v2/stocks/bars", "/v2/stocks/bars?symbols=KO&feed=iex&timeframe=1Min&page_token=odd", 400),
    get(f"{_COINS}/trades", "/v1beta3/crypto/us/trades?symbols=BTC/USD&start=odd", 400),
]

DATA = [
    get("/v2/stocks/snapshots", "/v2/stocks/snapshots?symbols=KO,OCGN"),
    get("/v2/stocks/{symbol}/snapshot", "/v2/stocks/KO/snapshot"),
    get(f"{_COINS}/snapshots", "/v1beta3/crypto/us/snapshots?symbols=BTC/USD"),
    get(f"{_COINS}/latest/orderbooks", "/v1beta3/crypto/us/latest/orderbooks?symbols=BTC/USD"),
    get(_ACTIONS, f"{_ACTIONS}?symbols=KO,OCGN"),
    get(_ACTIONS, f"{_ACTIONS}?types=cash_dividend&start=2026-01-01&limit=1"),
    *(
        get(path.format(kind), url.format(kind))
        for kind in ("trades", "quotes", "bars")
        for path, url in (
            ("/v2/stocks/{}/latest", "/v2/stocks/{}/latest?symbols=KO,OCGN"),
            ("/v2/stocks/{{symbol}}/{}/latest", "/v2/stocks/KO/{}/latest?feed=iex"),
            ("/v2/stocks/{}", f"/v2/stocks/{{}}?symbols=KO,OCGN&timeframe=1Min&{SPAN}&limit=2"),
            ("/v2/stocks/{{symbol}}/{}", f"/v2/stocks/KO/{{}}?timeframe=1Day&{SPAN}&sort=desc"),
            ("/v1beta3/crypto/{{loc}}/latest/{}", "/v1beta3/crypto/us/latest/{}?symbols=BTC/USD"),
            ("/v1beta3/crypto/{{loc}}/{}", "/v1beta3/crypto/us/{}?symbols=BTC/USD&timeframe=1Min&start=2026-01-05"),
        )
    ),
]

STEPS = [*TRADES, *REFUSED, *DATA]


@cache
def tour() -> dict[str, Visit]:
    """Take every step once, in an account where a lot has happened; gives the visits by the names of their steps."""
    alpaca = LocalAlpaca(
        now="2026-01-06T15:00:00.123456789Z",
        listings=[Listing(symbol="KO", exchange="NYSE"), Listing(symbol="OCGN", fractionable=False)],
    )
    _have_prices(alpaca)
    visits = dict(_visits(alpaca, TRADES[:6]))
    _have_activities(alpaca)
    return visits | dict(_visits(alpaca, [*TRADES[6:], *REFUSED, *DATA]))


def _have_prices(alpaca: LocalAlpaca) -> None:
    ended = instant("2026-01-05T15:01:00Z")
    for symbol, price in (("KO", 85.0), ("OCGN", 1.4), ("BTC/USD", 89_000.0)):
        alpaca.see(trade_print(symbol, price, ended, Bar(price, price + 1, price - 1, price, 500.0)))
        for step in range(3):
            alpaca.quote(symbol, price + step, price + step + 0.5)
            alpaca.see(trade_print(symbol, price + step + 0.25, alpaca.at, Trade("@I", 10.0)))
            alpaca.wait(0.25)


def _have_activities(alpaca: LocalAlpaca) -> None:
    alpaca.exchange.dividend("KO", Decimal("0.51"), withheld=Decimal("0.15"))
    alpaca.exchange.split("OCGN", Decimal(1), Decimal(10))
    alpaca.bought("QQQ", "3", 500.0)
    alpaca.exchange.split("QQQ", Decimal(3), Decimal(2))
    alpaca.exchange.deposit(Decimal("1000.50"))
    alpaca.exchange.deposit(Decimal(-10))
    alpaca.exchange.fee(Decimal("0.01"))


def _visits(alpaca: LocalAlpaca, steps: list[Step]) -> Iterator[tuple[str, Visit]]:
    for step in steps:
        ids = {one.ticket.client_order_id: one.id for one in alpaca.exchange.book}
        url = step.url.format_map(ids)
        answer = alpaca.ask(step.method, url, step.body)
        alpaca.wait(1)
        yield step.name, Visit(step, answer.status, answer.headers, answer.body)
