"""Messages of Alpaca's market data streams: read straight from MessagePack, made into prints and news.

A frame is an array of messages, told apart by their first key, ``T``. What is not known is left out and counted, so
that one odd message never takes its neighbours along.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from struct import Struct as Packed
from typing import Final, NamedTuple

import msgspec
from msgspec.msgpack import Ext

from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.prints import Print, Quote, Trade

_LONG: Final = Packed(">Q").unpack
_LONGER: Final = Packed(">Iq").unpack
_SECONDS: Final = (1 << 34) - 1
"""The lower 34 bits of an eight-byte timestamp are seconds, those above them nanoseconds (MessagePack, type -1)."""
_EIGHT, _FOUR, _TWELVE = 8, 4, 12


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
        return Instant(seconds * SECOND + nanos)
    message = f"wanted a timestamp of 4, 8 or 12 bytes, got {len(raw)} of extension type {stamp.code}"
    raise ValueError(message)


class Message(msgspec.Struct, tag_field="T", gc=False):
    """What every message is: one with a tag."""


class TradeMessage(Message, tag="t"):
    """A trade. Crypto trades have no conditions."""

    symbol: str = msgspec.field(name="S")
    price: float = msgspec.field(name="p")
    at: Ext = msgspec.field(name="t")
    size: float = msgspec.field(name="s", default=0.0)
    id: int = msgspec.field(name="i", default=0)
    conditions: list[str] | None = msgspec.field(name="c", default=None)


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
    conditions: list[str] | None = msgspec.field(name="cc", default=None)


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
_frame: Final = msgspec.msgpack.Decoder(list[_Known])
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


class Frame(NamedTuple):
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
        return _understood(_frame.decode(frame))
    except ValueError:  # Of msgspec, too, and of a text or a time in a message that is otherwise sound.
        return _read_one_by_one(frame)


def _understood(messages: Sequence[_Known]) -> Frame:
    """Tell prices from news.

    Raises:
        ValueError: a time is none.
    """
    prints: list[Print] = []
    rest: list[_Known] = []
    add = prints.append
    second, begun = -1, 0
    for message in messages:  # the hot path: ``instant`` and ``conditions_of`` are inlined
        kind = type(message)
        if kind is not QuoteMessage and kind is not TradeMessage:
            rest.append(message)
            continue
        raw = message.at.data  # type: ignore[union-attr]
        if len(raw) == _EIGHT:  # type: ignore[arg-type]
            (packed,) = _LONG(raw)
            if packed & _SECONDS != second:  # Most of a frame happened within one second.
                second = packed & _SECONDS
                begun = second * SECOND
            at = begun + (packed >> 34)
        else:
            at = instant(message.at)  # type: ignore[union-attr]
        if kind is QuoteMessage:
            bid, ask = message.bid, message.ask  # type: ignore[union-attr]
            add((message.symbol, (bid + ask) / 2 if bid > 0 < ask else math.nan, at, message, None))  # type: ignore[union-attr, arg-type]
        else:
            codes = message.conditions  # type: ignore[union-attr]
            conditions = "".join(codes) if codes else ""
            if codes and (len(conditions) != len(codes) or "" in codes):
                conditions = conditions_of(codes)
            add((message.symbol, message.price, at, None, Trade(conditions, message.size, message.id)))  # type: ignore[union-attr]
    return Frame(prints, *_sorted(rest)) if rest else Frame(prints)


UNKNOWN_CONDITION: Final = "?"
"""Stands for a sale condition of more than one character: none is known, so the trade does not count."""


def conditions_of(codes: list[str] | None) -> str:
    """Join sale conditions, one character each; a longer one is no condition that is known."""
    if not codes:
        return ""
    joined = "".join(codes)
    if len(joined) == len(codes) and "" not in codes:
        return joined
    return "".join(code if len(code) == 1 else UNKNOWN_CONDITION for code in codes)


def _sorted(messages: Sequence[_Known]) -> tuple[list[Busted | Halt], list[Control]]:
    news: list[Busted | Halt] = []
    controls: list[Control] = []
    for message in messages:
        match message:
            case StatusMessage():
                news.append(Halt(message.symbol, _halted(message), instant(message.at)))
            case CorrectionMessage():
                at = instant(message.at)
                trade = Trade(conditions_of(message.conditions), message.size, message.id)
                corrected: Print = (message.symbol, message.price, at, None, trade)
                news.append(Busted(message.symbol, message.wrong_id, message.wrong_price, at, corrected))
            case CancelMessage():
                news.append(Busted(message.symbol, message.id, message.price, instant(message.at), None))
            case SuccessMessage() | ErrorMessage() | SubscriptionMessage():
                controls.append(message)
            case _:
                pass
    return news, controls


TRADES_AGAIN: Final = frozenset({"T", "3"})
"""Status codes of a symbol that trades again: resumption on the UTP tape, ``trading resumption`` on the CTA's.

All others (halts, pauses, quotation-only and price-indication periods) count as halted: none of them has a market.
"""


def _halted(status: StatusMessage) -> str | None:
    if status.code in TRADES_AGAIN:
        return None
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
