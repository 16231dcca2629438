"""REST without a socket: a request in, an answer out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from mrdaemon.simulator.exchange import Exchange
from mrdaemon.simulator.keys import Keys
from mrdaemon.simulator.tape import Tape


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


class Rest:
    """Answers the REST requests of the trading and the market data service."""

    def __init__(self, exchange: Exchange, tape: Tape, keys: Keys, faults: RestFaults | None = None) -> None:
        self.exchange = exchange
        self.tape = tape
        self.keys = keys
        self.faults = faults

    def answer(self, request: Request) -> Answer:
        """Answer one request, at once."""
        raise NotImplementedError
