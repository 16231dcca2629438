"""REST without a socket: a request in, an answer out."""

from __future__ import annotations

import base64
import binascii
from typing import Final, NamedTuple, Protocol

import msgspec

from mrdaemon.core.instant import MINUTE, SECOND, Instant
from mrdaemon.simulator.data import DataService
from mrdaemon.simulator.exchange import Exchange
from mrdaemon.simulator.identity import uuid_of
from mrdaemon.simulator.keys import Keys
from mrdaemon.simulator.refusals import TOO_MANY, UNAUTHORIZED, RefusalError
from mrdaemon.simulator.routing import Call, Reply, find
from mrdaemon.simulator.tape import Tape
from mrdaemon.simulator.trading import TradingService

REQUESTS_A_MINUTE: Final = 200
_DATA: Final = ("/v2/stocks", "/v1beta3/", "/v1/corporate-actions")


class Request(NamedTuple):
    """One HTTP request."""

    method: str
    path: str
    """Percent-decoded, without the query."""
    query: dict[str, list[str]]
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes


class Answer(NamedTuple):
    """One HTTP response."""

    status: int
    body: bytes
    headers: dict[str, str]


class RestFaults(Protocol):
    """What goes wrong with requests."""

    def before(self, request: Request) -> Answer | None:
        """Give an answer instead of acting on the request, or None to act on it."""

    def after(self, request: Request, answer: Answer) -> Answer:
        """Give what the client gets to see of the answer, now that the request was acted on."""


class Quota:
    """The requests that a minute allows. The minute begins on the clock's full minute."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._minute = -1
        self._used = 0

    def take(self, now: Instant) -> bool:
        """Count a request; tell whether it is still allowed."""
        minute = now // MINUTE
        if minute != self._minute:
            self._minute, self._used = minute, 0
        self._used += 1
        return self._used <= self._limit

    def headers(self) -> dict[str, str]:
        """Say what is left, and from when on there is more."""
        return {
            "X-RateLimit-Limit": str(self._limit),
            "X-RateLimit-Remaining": str(max(self._limit - self._used, 0)),
            "X-RateLimit-Reset": str((self._minute + 1) * (MINUTE // SECOND)),
        }


class Rest:
    """Answers the REST requests of the trading and the market data service."""

    def __init__(
        self,
        exchange: Exchange,
        tape: Tape,
        keys: Keys,
        faults: RestFaults | None = None,
        requests_a_minute: int = REQUESTS_A_MINUTE,
    ) -> None:
        """Join what the answers come from; each of the two services has its own quota."""
        self.exchange = exchange
        self.tape = tape
        self.keys = keys
        self.faults = faults
        self._routes = TradingService(exchange).routes() + DataService(exchange, tape, keys).routes()
        self._quotas = {is_data: Quota(requests_a_minute) for is_data in (True, False)}
        self._answered = 0

    def answer(self, request: Request) -> Answer:
        """Answer one request, at once."""
        self.exchange.pass_time()
        quota = self._quotas[_is_data(request)]
        allowed = quota.take(self.exchange.now())
        answer = self.faults.before(request) if self.faults is not None else None
        if answer is None:
            answer = self._act(request) if allowed else _too_many(request)
            if self.faults is not None:
                answer = self.faults.after(request, answer)
        self._answered += 1
        common = {"X-Request-ID": uuid_of("request", self._answered).replace("-", ""), **quota.headers()}
        return answer._replace(headers=common | answer.headers)

    def _act(self, request: Request) -> Answer:
        try:
            if not self.keys.accepts(*_credentials(request.headers)):
                raise _unauthorized(request)
            route, parts = find(self._routes, request.method, request.path)
            return _write(route.answer(Call(parts, request.query, request.body)))
        except RefusalError as refusal:
            return _write(Reply(refusal.body, refusal.status))


def _is_data(request: Request) -> bool:
    return request.path.startswith(_DATA)


def _credentials(headers: dict[str, str]) -> tuple[str, str]:
    """Give the key and the secret of a request, in either of the two forms of headers."""
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            key_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return key_id, secret
    return headers.get("apca-api-key-id", ""), headers.get("apca-api-secret-key", "")


def _unauthorized(request: Request) -> RefusalError:
    """Refuse a request without the right keys: the specification has 401 for that; only trading has codes."""
    return RefusalError(401, None if _is_data(request) else UNAUTHORIZED, "unauthorized.")


def _too_many(request: Request) -> Answer:
    refusal = RefusalError(429, None if _is_data(request) else TOO_MANY, "too many requests.")
    return _write(Reply(refusal.body, refusal.status))


def _write(reply: Reply) -> Answer:
    if reply.content is None:
        return Answer(reply.status, b"", {})
    return Answer(reply.status, msgspec.json.encode(reply.content), {"Content-Type": "application/json; charset=UTF-8"})
