"""Every message of the market data streams has the keys and the kinds of values that it has on the service's wire."""

from __future__ import annotations

import json
from typing import Any

import msgpack  # type: ignore[import-untyped] # comes with the official client, and has no types
import pytest

from mrdaemon.calendar import MarketCalendar
from mrdaemon.core.instant import MINUTE, SECOND, Instant, iso
from mrdaemon.core.prints import Trade, quote_print, trade_print
from mrdaemon.simulator.keys import Keys, Plan
from mrdaemon.simulator.simulator import Simulator
from tests.fidelity_shapes import kind
from tests.local_alpaca import instant

PAIR = "BTC/USD"
STOCK_BAR = {
    "T": "text",
    "S": "text",
    "o": "number",
    "h": "number",
    "l": "number",
    "c": "number",
    "v": "integer",
    "n": "integer",
    "vw": "number",
    "t": "second",
}
STOCKS: dict[str, dict[str, Any]] = {
    "t": {
        "T": "text",
        "S": "text",
        "i": "integer",
        "x": "text",
        "p": "number",
        "s": "integer",
        "c": ["text"],
        "z": "text",
        "t": "nanosecond",
    },
    "q": {
        "T": "text",
        "S": "text",
        "bx": "text",
        "bp": "number",
        "bs": "integer",
        "ax": "text",
        "ap": "number",
        "as": "integer",
        "c": ["text"],
        "z": "text",
        "t": "nanosecond",
    },
    "b": STOCK_BAR,
    "u": STOCK_BAR,
    "d": STOCK_BAR,
    "s": {
        "T": "text",
        "S": "text",
        "sc": "text",
        "sm": "text",
        "rc": "text",
        "rm": "text",
        "z": "text",
        "t": "nanosecond",
    },
    "c": {
        "T": "text",
        "S": "text",
        "x": "text",
        "oi": "integer",
        "op": "number",
        "os": "integer",
        "oc": ["text"],
        "ci": "integer",
        "cp": "number",
        "cs": "integer",
        "cc": ["text"],
        "z": "text",
        "t": "nanosecond",
    },
    "x": {
        "T": "text",
        "S": "text",
        "i": "integer",
        "x": "text",
        "p": "number",
        "s": "integer",
        "a": "text",
        "z": "text",
        "t": "nanosecond",
    },
}
LEVEL = [{"p": "number", "s": "number"}]
COINS: dict[str, dict[str, Any]] = {
    "t": {
        "T": "text",
        "S": "text",
        "i": "integer",
        "p": "number",
        "s": "number",
        "tks": "text",
        "t": "nanosecond",
    },
    "q": {
        "T": "text",
        "S": "text",
        "bp": "number",
        "bs": "number",
        "ap": "number",
        "as": "number",
        "t": "nanosecond",
    },
    "o": {"T": "text", "S": "text", "b": LEVEL, "a": LEVEL, "r": "bool", "t": "nanosecond"},
    "b": STOCK_BAR | {"v": "number"},
    "u": STOCK_BAR | {"v": "number"},
    "d": STOCK_BAR | {"v": "number"},
}


class Streamed:
    """A client of one stream in which everything happens that has a message."""

    def __init__(self, path: str, codec: str) -> None:
        self.at = instant("2026-01-06T15:00:30.123456789Z")
        self.frames: list[bytes | str] = []
        keys = Keys(plan=Plan.PLUS)
        self.simulator = Simulator(lambda: self.at, MarketCalendar(), keys=keys)
        session = self.simulator.connect(path, {"content-type": codec}, self.frames.append, lambda *_: None)
        session.opened({"content-type": codec})
        session.receive(json.dumps({"action": "auth", "key": keys.key_id, "secret": keys.secret}))
        channels = ["trades", "quotes", "bars", "updatedBars", "dailyBars"]
        channels += ["orderbooks"] if "crypto" in path else ["statuses"]
        session.receive(json.dumps({"action": "subscribe", **{channel: ["*"] for channel in channels}}))
        del self.frames[:]

    def everything(self, symbol: str, size: float) -> None:
        simulator = self.simulator
        simulator.see([quote_print(symbol, 86.25, 86.75, self.at)])
        simulator.see([trade_print(symbol, 86.5, self.at, Trade("@I", size))])
        if "/" not in symbol:
            simulator.exchange.halt(symbol)
            simulator.correct(symbol, 86.25)
            simulator.take_back(symbol)
        self.wait(30)
        late = Instant(self.at - self.at % MINUTE - 1)
        simulator.see([trade_print(symbol, 86.5, late, Trade("@I", size))])
        self.wait(60)

    def wait(self, seconds: int) -> None:
        self.at = Instant(self.at + seconds * SECOND)
        self.simulator.pass_time()

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [message for frame in self.frames for message in _read(frame)]


def _read(frame: bytes | str) -> list[dict[str, Any]]:
    """Read a frame; a timestamp of msgpack becomes the text that JSON has."""
    if isinstance(frame, str):
        read: list[dict[str, Any]] = json.loads(frame)
        return read
    return [
        {key: iso(Instant(value.to_unix_nano())) if key == "t" else value for key, value in message.items()}
        for message in msgpack.unpackb(frame)
    ]


def told(path: str, codec: str, symbol: str, size: float) -> list[dict[str, Any]]:
    streamed = Streamed(path, codec)
    streamed.everything(symbol, size)
    return streamed.messages


@pytest.fixture(params=["application/json", "application/msgpack"])
def codec(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("sort", STOCKS)
def test_a_message_about_a_stock_is_as_on_the_wire(codec: str, sort: str) -> None:
    shapes = [kind(each) for each in told("/v2/sip", codec, "KO", 3.0) if each["T"] == sort]
    assert shapes
    assert all(each == STOCKS[sort] for each in shapes), shapes


@pytest.mark.parametrize("sort", COINS)
def test_a_message_about_a_pair_is_as_on_the_wire(codec: str, sort: str) -> None:
    shapes = [kind(each) for each in told("/v1beta3/crypto/us", codec, PAIR, 0.25) if each["T"] == sort]
    assert shapes
    assert all(each == COINS[sort] for each in shapes), shapes


def test_nothing_else_is_told() -> None:
    assert {each["T"] for each in told("/v2/sip", "", "KO", 3.0)} == set(STOCKS)
    assert {each["T"] for each in told("/v1beta3/crypto/us", "", PAIR, 0.25)} == set(COINS)


@pytest.mark.parametrize(("path", "symbol"), [("/v2/sip", "KO"), ("/v1beta3/crypto/us", PAIR)])
def test_both_codecs_tell_the_same(path: str, symbol: str) -> None:
    assert told(path, "application/msgpack", symbol, 5.0) == told(path, "application/json", symbol, 5.0)


def test_the_type_comes_first_and_frames_are_arrays(codec: str) -> None:
    assert {next(iter(message)) for message in told("/v2/sip", codec, "KO", 3.0)} == {"T"}


def test_a_trade_of_a_pair_tells_who_took(codec: str) -> None:
    assert {each["tks"] for each in told("/v1beta3/crypto/us", codec, PAIR, 0.25) if each["T"] == "t"} <= {"B", "S"}
