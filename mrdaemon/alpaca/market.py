"""Messages of Alpaca's market data streams: read straight from MessagePack, made into prints and news.

A frame is an array of messages, told apart by their first key, ``T``. What is not known is left out and counted, so
that one odd message never takes its neighbours along.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.msgpack import Ext

from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.prints import Print, Quote, Trade

_LONG: Final = struct.Struct(">Q").unpack
_LONGER: Final = struct.Struct(">Iq").unpack
_SECONDS: Final = (1 << 34) - 1
"""The lower 34 bits of an eight-byte timestamp are seconds, those above them nanoseconds (MessagePack, type -1)."""
_EIGHT, _FOUR, _TWELVE = 8, 4, 12
_FIRST, _BEYOND = -62_135_596_800, 253_402_300_800
"""Seconds after 1970 at which the year 1 begins, and the year 10000: no other time can be written."""


def instant(stamp: Ext) -> Instant:
    """Read a MessagePack timestamp, to the nanosecond.

    Raises:
        ValueError: it is none.
    """
    raw = bytes(stamp.data)
    if len(raw) == _EIGHT:
        (packed,) = _LONG(raw)
        return Instant((packed & _SECONDS) * SECOND + (packed >> 34))
    if stamp.code == -1 and len(raw) == _FOUR:
        return Instant(int.from_bytes(raw) * SECOND)
    if stamp.code == -1 and len(raw) == _TWELVE:
        nanos, seconds = _LONGER(raw)
        if not _FIRST <= seconds < _BEYOND:
            message = f"wanted a time of the years 1 to 9999, got {seconds} s after 1970"
            raise ValueError(message)
        return Instant(seconds * SECOND + nanos)
    message = f"wanted a timestamp of 4, 8 or 12 bytes, got {len(raw)} of extension type {stamp.code}"
    raise ValueError(message)


class Message(msgspec.Struct, tag_field="T", gc=False):
    """What every message is: one with a tag."""


class TradeMessage(Trade, tag_field="T", tag="t", frozen=True, kw_only=True, gc=False):
    """A trade; it is the print's trade itself, so that none has to be made. Crypto trades have no conditions."""

    symbol: str = msgspec.field(name="S")
    price: float = msgspec.field(name="p")
    at: Ext = msgspec.field(name="t")
    size: float = msgspec.field(name="s", default=0.0)
    id: int = msgspec.field(name="i", default=0)
    conditions: tuple[str, ...] | None = msgspec.field(name="c", default=None)


class QuoteMessage(Quote, tag_field="T", tag="q", frozen=True, gc=False):
    """A quote; it is the print's quote itself, so that none has to be made."""

    bid: float = msgspec.field(name="bp")
    ask: float = msgspec.field(name="ap")
    symbol: str = msgspec.field(name="S")
    at: Ext = msgspec.field(name="t")


class StatusMessage(Message, tag="s"):
    """The exchange halts or resumes a symbol."""

    symbol: str = msgspec.field(name="S")
    code: str = msgspec.field(name="sc")
    at: Ext = msgspec.field(name="t")
    meaning: str = msgspec.field(name="sm", default="")
    reason_code: str = msgspec.field(name="rc", default="")
    reason: str = msgspec.field(name="rm", default="")


class CorrectionMessage(Message, tag="c"):
    """A trade was other than it had been reported."""

    symbol: str = msgspec.field(name="S")
    wrong_id: int = msgspec.field(name="oi")
    wrong_price: float = msgspec.field(name="op")
    id: int = msgspec.field(name="ci")
    price: float = msgspec.field(name="cp")
    at: Ext = msgspec.field(name="t")
    size: float = msgspec.field(name="cs", default=0.0)
    conditions: tuple[str, ...] | None = msgspec.field(name="cc", default=None)


class CancelMessage(Message, tag="x"):
    """A trade never was."""

    symbol: str = msgspec.field(name="S")
    id: int = msgspec.field(name="i")
    price: float = msgspec.field(name="p")
    at: Ext = msgspec.field(name="t")


class SuccessMessage(Message, tag="success"):
    """The server greets, or has let us in."""

    msg: str = ""


class ErrorMessage(Message, tag="error"):
    """The server objects."""

    code: int = 0
    msg: str = ""


class SubscriptionMessage(Message, tag="subscription"):
    """All that we are subscribed to."""

    trades: list[str] | None = None
    quotes: list[str] | None = None
    statuses: list[str] | None = None


class _Bar(Message, tag="b"):
    """A minute's bar: nobody asked for it."""


class _UpdatedBar(Message, tag="u"):
    """A bar again, with what came late."""


class _DailyBar(Message, tag="d"):
    """The day so far."""


class _Book(Message, tag="o"):
    """An order book of crypto."""


class _Band(Message, tag="l"):
    """Limits up and down: a halt follows as a status, if one does."""


Control = SuccessMessage | ErrorMessage | SubscriptionMessage
_Known = (
    TradeMessage
    | QuoteMessage
    | StatusMessage
    | CorrectionMessage
    | CancelMessage
    | SuccessMessage
    | ErrorMessage
    | SubscriptionMessage
    | _Bar
    | _UpdatedBar
    | _DailyBar
    | _Book
    | _Band
)
_decode: Final = msgspec.msgpack.Decoder(list[_Known]).decode
_one: Final[msgspec.msgpack.Decoder[_Known]] = msgspec.msgpack.Decoder(_Known)
_each: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])


class Busted(NamedTuple):
    """A trade that was reported and is not so: which, and what it should have been, if anything."""

    symbol: str
    trade: int
    price: float
    at: Instant
    corrected: Print | None


class Halt(NamedTuple):
    """The exchange's word on a symbol: halted, and why, or trading (no reason)."""

    symbol: str
    reason: str | None
    at: Instant


class Frame(msgspec.Struct, gc=False):
    """What one frame said, in order within each kind."""

    prints: list[Print]
    news: Sequence[Busted | Halt] = ()
    controls: Sequence[Control] = ()
    odd: Sequence[str] = ()
    """Messages that could not be read, each in a sentence."""


def read(frame: bytes) -> Frame:
    """Read a frame.

    Raises:
        msgspec.DecodeError: it is no array at all.
    """
    try:
        return _understood(_decode(frame))
    except ValueError:  # Of msgspec, too, and of a text or a time in a message that is otherwise sound.
        return _read_one_by_one(frame)


def _understood(messages: Sequence[_Known]) -> Frame:
    """Tell prices from news.

    This is the hot path. Each kind's fields are read in a place of their own, because the interpreter is quick where it
    meets one class only; ``instant`` and ``quote_print`` are inlined as far as they are common.

    Raises:
        ValueError: a time is none.
    """
    prints: list[Print] = []
    rest: list[_Known] = []
    second, begun = -1, 0
    for message in messages:
        if type(message) is QuoteMessage:
            try:
                (packed,) = _LONG(message.at.data)
            except struct.error:  # Four or twelve bytes: a time on the second, or one of another century.
                at = instant(message.at)
            else:
                if packed & _SECONDS != second:  # Most of a frame happened within one second.
                    second = packed & _SECONDS
                    begun = second * SECOND
                at = begun + (packed >> 34)
            bid, ask = message.bid, message.ask
            price = (bid + ask) * 0.5 if bid > 0.0 and ask > 0.0 else math.nan
            prints.append((message.symbol, price, at, message, None))
        elif type(message) is TradeMessage:
            try:
                (packed,) = _LONG(message.at.data)
            except struct.error:
                at = instant(message.at)
            else:
                if packed & _SECONDS != second:
                    second = packed & _SECONDS
                    begun = second * SECOND
                at = begun + (packed >> 34)
            prints.append((message.symbol, message.price, at, None, message))
        else:
            rest.append(message)
    return Frame(prints, *_sorted(rest)) if rest else Frame(prints)


def _sorted(messages: Sequence[_Known]) -> tuple[list[Busted | Halt], list[Control]]:
    news: list[Busted | Halt] = []
    controls: list[Control] = []
    for message in messages:
        match message:
            case StatusMessage():
                if message.code in HALTS:
                    news.append(Halt(message.symbol, _halted(message), instant(message.at)))
                elif message.code in TRADES_AGAIN:
                    news.append(Halt(message.symbol, None, instant(message.at)))
            case CorrectionMessage():
                at = instant(message.at)
                trade = Trade(message.conditions, message.size, message.id)
                corrected: Print = (message.symbol, message.price, at, None, trade)
                news.append(Busted(message.symbol, message.wrong_id, message.wrong_price, at, corrected))
            case CancelMessage():
                news.append(Busted(message.symbol, message.id, message.price, instant(message.at), None))
            case SuccessMessage() | ErrorMessage() | SubscriptionMessage():
                controls.append(message)
            case _:
                pass
    return news, controls


HALTS: Final = frozenset({"H", "P", "Q", "2", "5"})
"""Status codes of a symbol that does not trade: halt, volatility pause and quotation period of the UTP tape; halt and
price indication of the CTA's (Alpaca, real-time stock data: trading status messages)."""
TRADES_AGAIN: Final = frozenset({"T", "3"})
"""Status codes of one that trades again.

All others say something of a symbol that goes on trading: imbalances, short sale restrictions, price bands.
"""


def _halted(status: StatusMessage) -> str:
    said = [each for each in (status.meaning, status.reason, status.reason_code) if each]
    return ", ".join(said) or f"status {status.code}"


def _read_one_by_one(frame: bytes) -> Frame:
    """Read a frame in which a message is odd: that one is told, all others count."""
    prints: list[Print] = []
    news: list[Busted | Halt] = []
    controls: list[Control] = []
    odd: list[str] = []
    for raw in _each.decode(frame):
        try:
            one = _understood([_one.decode(raw)])
        except ValueError as error:
            odd.append(f"{error}: {_shown(raw)}")
            continue
        prints += one.prints
        news += one.news
        controls += one.controls
    return Frame(prints, news, controls, odd)


def _shown(raw: msgspec.Raw) -> str:
    try:
        text = repr(msgspec.msgpack.decode(raw))
    except (ValueError, TypeError) as error:  # A key may be one that no dictionary takes.
        text = str(error)
    return text[:200]
