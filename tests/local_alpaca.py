"""A local Alpaca on a clock that a test moves: no server, no thread, no waiting."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter

from mrdaemon.calendar import MarketCalendar
from mrdaemon.core.instant import SECOND, Instant, parse
from mrdaemon.core.prints import Print, Trade, quote_print, trade_print
from mrdaemon.simulator.assets import Listing
from mrdaemon.simulator.exchange import Exchange, ExchangeRules
from mrdaemon.simulator.keys import Keys
from mrdaemon.simulator.orders import Order
from mrdaemon.simulator.rest import Answer, Request, Rest, RestFaults
from mrdaemon.simulator.tape import Tape
from mrdaemon.simulator.tickets import read_ticket

OPEN_MARKET = "2026-01-06T15:00:00Z"
"""A Tuesday, half an hour after the open."""
NO_PARTS = ExchangeRules(partial_fills=Decimal(0))
ALL_PARTS = ExchangeRules(partial_fills=Decimal(1))
_CALENDAR = MarketCalendar()


def instant(text: str) -> Instant:
    at = parse(text)
    assert isinstance(at, int)
    return Instant(at)


class LocalAlpaca:
    def __init__(
        self,
        rules: ExchangeRules = NO_PARTS,
        now: str = OPEN_MARKET,
        listings: Iterable[Listing] = (),
        keys: Keys | None = None,
        faults: RestFaults | None = None,
    ) -> None:
        self.at = instant(now)
        self.exchange = Exchange(rules, lambda: self.at, _CALENDAR, listings)
        self.tape = Tape()
        self.keys = keys or Keys()
        self.rest = Rest(self.exchange, self.tape, self.keys, faults)
        self.updates: list[dict[str, Any]] = []
        self.exchange.listen(self.updates.append)
        self._ordered = 0

    def see(self, *prints: Print) -> None:
        self.tape.record(prints)
        self.exchange.see(prints)

    def trade(self, symbol: str, price: float, size: float = 100.0, conditions: str = "@") -> None:
        self.see(trade_print(symbol, price, self.at, Trade(conditions, size)))

    def quote(self, symbol: str, bid: float, ask: float) -> None:
        self.see(quote_print(symbol, bid, ask, self.at))

    def wait(self, seconds: float) -> None:
        """Let time pass, with everything that is due in it."""
        self.at = Instant(self.at + int(seconds * SECOND))
        self.exchange.pass_time()

    def until(self, text: str) -> None:
        self.at = instant(text)
        self.exchange.pass_time()

    def order(self, symbol: str, side: str = "buy", **fields: object) -> Order:
        """Submit an order: a market order of the day unless told otherwise."""
        self._ordered += 1
        sent = {"symbol": symbol, "side": side, "type": "market", "time_in_force": "day", **fields}
        return self.exchange.submit(read_ticket(sent, f"order-{self._ordered}"))

    def bought(self, symbol: str, qty: str, price: float = 100.0) -> Order:
        """Have a filled purchase in the account."""
        self.trade(symbol, price)
        order = self.order(symbol, qty=qty, time_in_force="gtc" if "/" in symbol else "day")
        self.wait(2)
        return order

    @property
    def events(self) -> list[str]:
        return [update["event"] for update in self.updates]

    def ask(self, method: str, url: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        parts = urlsplit(url)
        keys = {"apca-api-key-id": self.keys.key_id, "apca-api-secret-key": self.keys.secret}
        sent = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        query = parse_qs(parts.query, keep_blank_values=True)
        return self.rest.answer(Request(method, unquote(parts.path), query, keys if headers is None else headers, sent))

    def get(self, url: str) -> Any:
        """Ask for something that is there."""
        answer = self.ask("GET", url)
        assert answer.status == 200, answer
        return json.loads(answer.body)


class InProcess(BaseAdapter):
    """Lets an unmodified HTTP client of the library requests talk to a local Alpaca."""

    def __init__(self, alpaca: LocalAlpaca) -> None:
        super().__init__()
        self._alpaca = alpaca

    def send(self, request: PreparedRequest, *args: object, **kwargs: object) -> Response:
        assert request.url is not None
        parts = urlsplit(request.url)
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        body = request.body or b""
        assert isinstance(body, (str, bytes))
        answer = self._alpaca.rest.answer(
            Request(
                request.method or "GET",
                unquote(parts.path),
                parse_qs(parts.query),
                headers,
                body.encode() if isinstance(body, str) else body,
            )
        )
        response = Response()
        response.status_code = answer.status
        response._content = answer.body
        response.headers.update(answer.headers)
        response.url = request.url
        response.request = request
        return response

    def close(self) -> None:
        pass
