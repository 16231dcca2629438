"""Prices from REST: the newest of each symbol, and the trades since a moment, over as many answers as it takes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mrdaemon.alpaca.answers import UnansweredError
from mrdaemon.alpaca.history import AT_ONCE, PAGES, History, Place
from mrdaemon.alpaca.limiter import Limiter
from mrdaemon.alpaca.login import Login
from mrdaemon.alpaca.rest import Rest, threads
from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.prints import Trade
from tests.alpaca_support import OPEN_MARKET, Answer, Asked, Server, SkippingClock, Wire, misbehaving, saying

SHARES = Place("v2", "/stocks", "iex")
PAIRS = Place("v1beta3", "/crypto/us")


@asynccontextmanager
async def history(answer: Answer, place: Place = SHARES) -> AsyncIterator[tuple[Server, History]]:
    clock = SkippingClock()
    async with misbehaving(answer) as server, threads(Login.of("PK", "s", live=False, url=server.url)) as carrier:
        yield server, History(Rest(carrier, Limiter(clock), clock), place)


def at(number: int) -> str:
    return f"2026-10-08T14:30:{number:02}.123456789Z"


def trade(number: int, price: float = 500.0, **more: Any) -> dict[str, Any]:
    return {"t": at(number), "p": price, "s": 3, "i": number, "c": ["@", "I"], "x": "V", "z": "C", **more}


def asked(server: Server) -> list[tuple[str, dict[str, str]]]:
    parts = [urlsplit(each.path) for each in server.asked]
    return [(each.path, {name: value for name, [value] in parse_qs(each.query).items()}) for each in parts]


async def newest_of(asked_: Asked, wire: Wire) -> None:
    """Answer each symbol with a trade, and a quote a second later."""
    parts = urlsplit(asked_.path)
    symbols = parse_qs(parts.query)["symbols"][0].split(",")
    if "trades" in parts.path:
        body: dict[str, Any] = {"trades": {each: trade(1) for each in symbols}}
    else:
        body = {"quotes": {each: {"t": at(2), "bp": 499.0, "ap": 501.0} for each in symbols}}
    wire.answer(200, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("place", "paths", "feed"),
    [
        (SHARES, ["/v2/stocks/trades/latest", "/v2/stocks/quotes/latest"], {"feed": "iex"}),
        (PAIRS, ["/v1beta3/crypto/us/latest/trades", "/v1beta3/crypto/us/latest/quotes"], {}),
    ],
)
async def test_the_newest_trade_and_quote_are_asked_for_where_they_are(
    place: Place, paths: list[str], feed: dict[str, str]
) -> None:
    async with history(newest_of, place) as (server, prices):
        trade_, quote = await prices.newest(["BTC/USD"])
        assert asked(server) == [(path, {"symbols": "BTC/USD", **feed}) for path in paths]
    assert trade_[:2] == ("BTC/USD", 500.0)
    assert trade_[4] == Trade(("@", "I"), 3.0, 1)
    assert iso(trade_[2]) == at(1)
    assert (quote[1], quote[4]) == (500.0, None)


async def test_many_symbols_are_asked_for_in_portions() -> None:
    symbols = [f"S{number}" for number in range(2 * AT_ONCE + 1)]
    async with history(newest_of) as (server, prices):
        found = await prices.newest(symbols)
        assert len(server.asked) == 6
    assert sorted({each[0] for each in found}) == sorted(symbols)
    assert len(found) == 2 * len(symbols)


async def test_a_symbol_without_a_price_has_none() -> None:
    async with history(saying(200, {"trades": {"A": None}, "quotes": {}})) as (_, prices):
        assert await prices.newest(["A", "B"]) == []


async def test_trades_come_page_by_page_and_in_order() -> None:
    pages = {
        None: {"trades": {"B": [trade(1), trade(4)], "A": [trade(3)]}, "next_page_token": "two"},
        "two": {"trades": {"A": [trade(2)], "C": None}, "next_page_token": "three"},
        "three": {"trades": None, "next_page_token": None},
    }

    async def answer(asked_: Asked, wire: Wire) -> None:
        token = parse_qs(urlsplit(asked_.path).query).get("page_token", [None])[0]
        wire.answer(200, json.dumps(pages[token]).encode())

    async with history(answer) as (server, prices):
        found = await prices.trades(["A", "B", "C"], OPEN_MARKET)
        path, fields = asked(server)[0]
        assert (path, fields["start"], fields["limit"]) == ("/v2/stocks/trades", "2026-10-08T14:30:00Z", "10000")
        assert len(server.asked) == 3
    assert [(each[0], each[4]) for each in found] == [
        ("B", Trade(("@", "I"), 3.0, 1)),
        ("A", Trade(("@", "I"), 3.0, 2)),
        ("A", Trade(("@", "I"), 3.0, 3)),
        ("B", Trade(("@", "I"), 3.0, 4)),
    ]


async def test_pages_without_end_are_not_read_to_the_end() -> None:
    async with history(saying(200, {"trades": {}, "next_page_token": "more"})) as (server, prices):
        assert await prices.trades(["A"], OPEN_MARKET) == []
        assert len(server.asked) == PAGES


async def test_a_trade_whose_time_cannot_be_read_is_older_than_anything() -> None:
    body = {"trades": {"A": [trade(1, t="yesterday"), trade(1)]}}
    async with history(saying(200, body)) as (_, prices):
        odd, sound = await prices.trades(["A"], OPEN_MARKET)
    assert odd[2] == Instant(0) < sound[2]


async def test_prices_that_are_not_alpacas_are_unanswered() -> None:
    async with history(saying(200, {"trades": {"A": {"p": "five"}}})) as (_, prices):
        with pytest.raises(UnansweredError):
            await prices.newest(["A"])
