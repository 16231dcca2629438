"""One connection of a market data stream, without a socket: authentication, subscriptions, and what is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from mrdaemon.core.instant import NEVER, SECOND, Instant
from mrdaemon.simulator.faults import FaultName, Place
from mrdaemon.simulator.keys import Keys, Plan
from mrdaemon.simulator.lines import Line
from mrdaemon.simulator.messages import (
    CHANNEL,
    CRYPTO_CHANNELS,
    MSGPACK,
    STOCK_CHANNELS,
    WITH_TRADES,
    Codec,
    JsonCodec,
    Message,
    MsgpackCodec,
)
from mrdaemon.simulator.slots import Slots

AUTHENTICATE_WITHIN: Final = 10 * SECOND
FREE_CHANNELS: Final = 30
"""Trades and quotes that the free plan may subscribe to; each symbol of each counts."""
MOST_BEHIND: Final = 1024
"""Frames that may wait for a client. The service does not say how many it allows."""
TEST_SYMBOL: Final = "FAKEPACA"

_NORMAL: Final = 1000


class Failure(Enum):
    """The errors of the stream: code and message."""

    SYNTAX = (400, "invalid syntax")
    NOT_AUTHENTICATED = (401, "not authenticated")
    AUTH_FAILED = (402, "auth failed")
    ALREADY = (403, "already authenticated")
    AUTH_TIMEOUT = (404, "auth timeout")
    SYMBOL_LIMIT = (405, "symbol limit exceeded")
    CONNECTION_LIMIT = (406, "connection limit exceeded")
    SLOW_CLIENT = (407, "slow client")
    SUBSCRIPTION = (409, "insufficient subscription")
    ACTION = (410, "invalid subscribe action for this feed")
    INTERNAL = (500, "internal error")


class Endpoint(NamedTuple):
    """One stream: its name, its channels, and which symbols it has."""

    name: str
    channels: tuple[str, ...]
    carries: Callable[[str], bool]
    paid: bool = False


def _stock(symbol: str) -> bool:
    return "/" not in symbol and symbol != TEST_SYMBOL


ENDPOINTS: Final = {
    "/v2/iex": Endpoint("iex", STOCK_CHANNELS, _stock),
    "/v2/sip": Endpoint("sip", STOCK_CHANNELS, _stock, paid=True),
    "/v2/delayed_sip": Endpoint("delayed_sip", STOCK_CHANNELS, _stock),
    "/v2/test": Endpoint("test", STOCK_CHANNELS, lambda symbol: symbol == TEST_SYMBOL),
    "/v1beta3/crypto/us": Endpoint("crypto", CRYPTO_CHANNELS, lambda symbol: "/" in symbol),
}


class DataSession:
    """One client of one stream."""

    def __init__(
        self, endpoint: Endpoint, line: Line[Message], keys: Keys, slots: Slots, now: Callable[[], Instant]
    ) -> None:
        self.line = line
        self.authenticated = False
        self._endpoint = endpoint
        self._keys = keys
        self._slots = slots
        self._now = now
        self._codec: Codec = JsonCodec()
        self._deadline = Instant(now() + AUTHENTICATE_WITHIN)
        # Dictionaries for sets that keep the order in which clients asked.
        self._subscribed: dict[str, dict[str, None]] = {
            channel: {} for channel in endpoint.channels if channel not in WITH_TRADES
        }

    # What a shell calls

    def opened(self, headers: Mapping[str, str]) -> None:
        """Greet a client. Headers, by lower-case name, choose the codec and may carry the keys."""
        if headers.get("content-type", "").partition(";")[0].strip() == MSGPACK:
            self._codec = MsgpackCodec()
        self._say({"T": "success", "msg": "connected"})
        if "apca-api-key-id" in headers:
            self._authenticate(headers["apca-api-key-id"], headers.get("apca-api-secret-key", ""))

    def receive(self, frame: str | bytes) -> None:
        """Take what a client said, in one whole message."""
        if self.line.ended:
            return
        try:
            said = self._codec.read(frame)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._fail(Failure.SYNTAX)
            return
        if not isinstance(said, dict):
            self._fail(Failure.SYNTAX)
            return
        if self.line.faults.strike(FaultName.STREAM_ERROR, Place(self.line.stream)):
            self._fail(Failure.INTERNAL)
            return
        match said.get("action"):
            case "auth":
                self._authenticate(said.get("key"), said.get("secret"))
            case "subscribe" | "unsubscribe" if not self.authenticated:
                self._fail(Failure.NOT_AUTHENTICATED)
            case "subscribe":
                self._change(said, self._more)
            case "unsubscribe":
                self._change(said, self._fewer)
            case _:
                self._fail(Failure.SYNTAX)

    def closed(self, *, clean: bool) -> None:
        """Note that the client is gone: with a closing handshake, or without a word."""
        self.line.ended = True
        if self.authenticated:
            (self._leave if clean else self._lose)()

    # What the simulator calls

    @property
    def due(self) -> Instant:
        """When ``pass_time`` next has something to do."""
        if self.line.ended:
            return NEVER
        return self.line.due if self.authenticated else min(self._deadline, self.line.due)

    def pass_time(self) -> None:
        """Send what was held back, and turn away a client that did not say who it is."""
        self._send(self.line.released())
        if not self.authenticated and not self.line.ended and self._now() >= self._deadline:
            self._fail(Failure.AUTH_TIMEOUT)
            self.line.close(_NORMAL, "")

    def publish(self, messages: Sequence[Message]) -> None:
        """Send the messages that the client subscribed to, unless a fault is in their way."""
        wanted = [each for each in messages if self._wants(each)]
        if not wanted or self.line.ended:
            return
        slow = self.line.faults.strike(FaultName.SLOW_CLIENT, Place(self.line.stream))
        if slow or self.line.backlog >= MOST_BEHIND:
            self._fail(Failure.SLOW_CLIENT)
            self.line.close(_NORMAL, "")
            self._leave()
            return
        self._send(self._carried(wanted))

    def meet_faults(self) -> None:
        """Let the faults that break a connection strike now, though there is nothing to send."""
        self._carried([])

    # Inside

    def _authenticate(self, key: object, secret: object) -> None:
        if self.authenticated:
            self._fail(Failure.ALREADY)
        elif not (isinstance(key, str) and isinstance(secret, str) and self._keys.accepts(key, secret)):
            self._fail(Failure.AUTH_FAILED)
        elif self._endpoint.paid and self._keys.plan is Plan.FREE:
            self._turn_away(Failure.SUBSCRIPTION)
        elif self.line.faults.strike(FaultName.REFUSE, Place(self.line.stream)) or not self._slots.claim(
            self._keys.key_id, self._endpoint.name, self._now()
        ):
            self._turn_away(Failure.CONNECTION_LIMIT)
        else:
            self.authenticated = True
            self._say({"T": "success", "msg": "authenticated"})

    def _turn_away(self, failure: Failure) -> None:
        self._fail(failure)
        self.line.close(_NORMAL, "")

    def _carried(self, messages: Sequence[Message]) -> list[Message]:
        """Give what passes now. A connection that breaks here is lost without a word."""
        passing = self.line.carry(messages, _symbol)
        if self.line.ended and self.authenticated:
            self._lose()
        return passing

    def _change(self, said: dict[object, object], change: Callable[[str, Iterable[str]], dict[str, None]]) -> None:
        changed = dict(self._subscribed)
        for channel, symbols in said.items():
            if channel == "action" or channel in WITH_TRADES:
                continue
            if not isinstance(channel, str) or channel not in changed:
                self._fail(Failure.ACTION)
                return
            if not isinstance(symbols, list) or not all(isinstance(each, str) for each in symbols):
                self._fail(Failure.SYNTAX)
                return
            changed[channel] = change(channel, symbols)
        if self._too_many(changed):
            self._fail(Failure.SYMBOL_LIMIT)
            return
        self._subscribed = changed
        self._say({"T": "subscription", **{name: self._symbols(name) for name in self._endpoint.channels}})

    def _more(self, channel: str, symbols: Iterable[str]) -> dict[str, None]:
        return {**self._subscribed[channel], **dict.fromkeys(symbols)}

    def _fewer(self, channel: str, symbols: Iterable[str]) -> dict[str, None]:
        leaving = set(symbols)
        return {each: None for each in self._subscribed[channel] if each not in leaving}

    def _too_many(self, subscribed: Mapping[str, Mapping[str, None]]) -> bool:
        if self._keys.plan is not Plan.FREE or self._endpoint.name not in {"iex", "delayed_sip"}:
            return False
        counted = [*subscribed["trades"], *subscribed["quotes"]]
        return "*" in counted or len(counted) > FREE_CHANNELS

    def _symbols(self, channel: str) -> list[str]:
        return list(self._subscribed["trades" if channel in WITH_TRADES else channel])

    def _wants(self, message: Message) -> bool:
        channel = CHANNEL[type(message)]
        symbols = self._subscribed.get("trades" if channel in WITH_TRADES else channel)
        if not symbols or not self._endpoint.carries(message.S):
            return False
        return message.S in symbols or "*" in symbols

    def _send(self, messages: Sequence[Message]) -> None:
        if messages:
            self.line.say(self._codec.write(messages))

    def _say(self, control: Mapping[str, object]) -> None:
        self.line.say(self._codec.write([control]))

    def _fail(self, failure: Failure) -> None:
        code, message = failure.value
        self._say({"T": "error", "code": code, "msg": message})

    def _leave(self) -> None:
        self._slots.close(self._keys.key_id, self._endpoint.name)
        self.authenticated = False

    def _lose(self) -> None:
        self._slots.lose(self._keys.key_id, self._endpoint.name, self._now())
        self.authenticated = False


def _symbol(message: Message) -> str:
    return message.S
