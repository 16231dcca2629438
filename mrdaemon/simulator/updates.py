"""One connection of the order-update stream, without a socket. Here the client speaks first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from mrdaemon.core.instant import NEVER, SECOND, Instant
from mrdaemon.simulator.faults import FaultName, Place
from mrdaemon.simulator.keys import Keys, Trading
from mrdaemon.simulator.lines import Line
from mrdaemon.simulator.messages import MSGPACK, BinaryJsonCodec, Codec, JsonCodec, MsgpackCodec

Update = Mapping[str, object]
"""The ``data`` of a ``trade_updates`` message."""

PATH: Final = "/stream"
STREAM: Final = "trade_updates"
NAME: Final = "updates"
"""What faults call it."""
AUTHENTICATE_WITHIN: Final = 30 * SECOND
"""The service gives no figure for this stream."""
UNKNOWN: Final = "under_consideration"
"""An event and a status that nobody knows."""

_NORMAL: Final = 1000
_DEPRECATED: Final = (
    "this authentication format is being deprecated. Please use the format:"
    ' {"action": "auth", "key": "x", "secret": "x"}'
)


class UpdateSession:
    """One client that hears of orders."""

    def __init__(self, line: Line[Update], keys: Keys, now: Callable[[], Instant]) -> None:
        self.line = line
        self.authenticated = False
        self._keys = keys
        self._now = now
        self._codec: Codec = BinaryJsonCodec() if keys.trading is Trading.PAPER else JsonCodec()
        self._deadline = Instant(now() + AUTHENTICATE_WITHIN)
        self._listening = False

    # What a shell calls

    def opened(self, headers: Mapping[str, str]) -> None:
        """Take a client in; it has to speak first."""
        if headers.get("content-type", "").partition(";")[0].strip() == MSGPACK:
            self._codec = MsgpackCodec()

    def receive(self, frame: str | bytes) -> None:
        """Take what a client said, in one whole message."""
        if self.line.ended:
            return
        try:
            said = self._codec.read(frame)
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = None
        match said:
            case {"action": "auth", "key": key, "secret": secret}:
                self._authenticate(key, secret, {})
            case {"action": "authenticate", "data": {"key_id": key, "secret_key": secret}}:
                self._authenticate(key, secret, {"message": _DEPRECATED})
            case {"action": "listen", "data": {"streams": streams}}:
                self._listen(streams)
            case _:
                self.line.say(self._codec.write({"action": "error", "data": {"error_message": "invalid syntax"}}))

    def closed(self, *, clean: bool) -> None:  # noqa: ARG002 - this stream has no limit of connections
        """Note that the client is gone."""
        self.line.ended = True

    # What the simulator calls

    @property
    def due(self) -> Instant:
        """When ``pass_time`` next has something to do."""
        if self.line.ended:
            return NEVER
        return self.line.due if self.authenticated else min(self._deadline, self.line.due)

    def pass_time(self) -> None:
        """Send what was held back, and turn away a client that did not say who it is."""
        for each in self.line.released():
            self._tell(each)
        if not self.authenticated and self._now() >= self._deadline:
            self.line.close(_NORMAL, "")

    def meet_faults(self) -> None:
        """Let the faults that break a connection strike now, though there is nothing to tell."""
        self.line.carry([], symbol_of)

    def publish(self, update: Update) -> None:
        """Tell a listening client of an order, unless a fault is in the way."""
        if self._listening:
            for each in self.line.carry([update], symbol_of):
                self._tell(each)

    # Inside

    def _authenticate(self, key: object, secret: object, more: Mapping[str, str]) -> None:
        known = isinstance(key, str) and isinstance(secret, str) and self._keys.accepts(key, secret)
        self.authenticated = self.authenticated or known
        status = "authorized" if known else "unauthorized"
        self._say("authorization", {"action": "authenticate", **more, "status": status})

    def _listen(self, streams: object) -> None:
        if not self.authenticated:
            self._say("authorization", {"action": "listen", "status": "unauthorized"})
            return
        self._listening = isinstance(streams, list) and STREAM in streams
        self._say("listening", {"streams": [STREAM] if self._listening else []})

    def _tell(self, update: Update) -> None:
        place = Place(NAME, symbol_of(update))
        if self.line.faults.strike(FaultName.NULL_UPDATE, place):
            self._say(STREAM, None)
        elif self.line.faults.strike(FaultName.UNKNOWN_UPDATE, place):
            order = update["order"]
            changed = {**order, "status": UNKNOWN} if isinstance(order, dict) else order
            self._say(STREAM, {**update, "event": UNKNOWN, "order": changed})
        else:
            self._say(STREAM, update)

    def _say(self, stream: str, data: object) -> None:
        self.line.say(self._codec.write({"stream": stream, "data": data}))


def symbol_of(update: Update) -> str:
    """Give the symbol of an order update."""
    order = update.get("order")
    return str(order.get("symbol", "")) if isinstance(order, dict) else ""
