"""The messages of the market data streams, and how each codec writes them: ``T`` first, to the nanosecond."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.core.prints import Bar, Print, Quote, Trade

MSGPACK: Final = "application/msgpack"
"""The Content-Type that asks for msgpack; any other means JSON."""
STOCK_CHANNELS: Final = (
    "trades",
    "quotes",
    "bars",
    "updatedBars",
    "dailyBars",
    "statuses",
    "lulds",
    "corrections",
    "cancelErrors",
)
CRYPTO_CHANNELS: Final = ("trades", "quotes", "orderbooks", "bars", "updatedBars", "dailyBars")
WITH_TRADES: Final = ("corrections", "cancelErrors")
"""What comes with a symbol's trades unasked, and cannot be asked for."""

_TIMESTAMP: Final = -1
"""The type number of msgpack's timestamp extension."""
_SHORT_SECONDS: Final = 34
"""Bits of seconds in its eight byte form."""
_ROUND_LOT: Final = 100


class Stamp:
    """The time of a message: RFC 3339 in JSON, an extension type in msgpack."""

    __slots__ = ("at",)

    def __init__(self, at: Instant) -> None:
        self.at = at

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stamp) and self.at == other.at

    def __hash__(self) -> int:
        return hash(self.at)


class Book(msgspec.Struct, frozen=True):
    """One price level of a crypto order book: price and size."""

    p: float
    s: float


class Message(msgspec.Struct, frozen=True, tag_field="T"):
    """One message about one symbol. The field names are the wire's."""

    S: str
    t: Stamp


class TradeMessage(Message, frozen=True, tag="t"):
    """A trade of a stock."""

    i: int
    x: str
    p: float
    s: float
    c: tuple[str, ...]
    z: str


class CryptoTradeMessage(Message, frozen=True, tag="t"):
    """A trade of a pair; ``tks`` is the side of whoever took: B or S."""

    p: float
    s: float
    i: int
    tks: str


class QuoteMessage(Message, frozen=True, tag="q"):
    """The best bid and ask of a stock."""

    bx: str
    bp: float
    bs: float
    ax: str
    ap: float
    # ``as`` is a word of the language.
    as_: float = msgspec.field(name="as")
    c: tuple[str, ...] = ("R",)
    z: str = "C"


class CryptoQuoteMessage(Message, frozen=True, tag="q"):
    """The best bid and ask of a pair."""

    bp: float
    bs: float
    ap: float
    as_: float = msgspec.field(name="as")


class OrderBookMessage(Message, frozen=True, tag="o"):
    """Price levels of a pair; ``r`` tells that they replace all that were known."""

    b: tuple[Book, ...]
    a: tuple[Book, ...]
    r: bool = True


class _AnyBar(Message, frozen=True):
    o: float
    h: float
    l: float  # noqa: E741 - its name on the wire
    c: float
    v: float
    n: int
    vw: float


class BarMessage(_AnyBar, frozen=True, tag="b"):
    """A minute, once it is over; stamped with its beginning."""


class UpdatedBarMessage(_AnyBar, frozen=True, tag="u"):
    """A minute again, after a late trade."""


class DailyBarMessage(_AnyBar, frozen=True, tag="d"):
    """The day so far."""


class StatusMessage(Message, frozen=True, tag="s"):
    """Trading in a stock is halted, or resumed."""

    sc: str
    sm: str
    rc: str
    rm: str
    z: str


class LuldMessage(Message, frozen=True, tag="l"):
    """The limits within which a stock may trade."""

    u: float
    d: float
    i: str
    z: str


class CorrectionMessage(Message, frozen=True, tag="c"):
    """A trade was reported wrongly: original and corrected."""

    x: str
    oi: int
    op: float
    os: float
    oc: tuple[str, ...]
    ci: int
    cp: float
    cs: float
    cc: tuple[str, ...]
    z: str


class CancelMessage(Message, frozen=True, tag="x"):
    """A trade that never was."""

    i: int
    x: str
    p: float
    s: float
    a: str
    z: str


CHANNEL: Final[dict[type[Message], str]] = {
    TradeMessage: "trades",
    CryptoTradeMessage: "trades",
    QuoteMessage: "quotes",
    CryptoQuoteMessage: "quotes",
    OrderBookMessage: "orderbooks",
    BarMessage: "bars",
    UpdatedBarMessage: "updatedBars",
    DailyBarMessage: "dailyBars",
    StatusMessage: "statuses",
    LuldMessage: "lulds",
    CorrectionMessage: "corrections",
    CancelMessage: "cancelErrors",
}
"""Which channel carries a kind of message."""


def messages(seen: Print) -> list[Message]:
    """Give the messages of one print: its quote, where it has one, before its trade. A bar is told as its close."""
    symbol, price, at, quote, source = seen
    told: list[Message] = []
    if quote is not None:
        told += _quote(symbol, quote, at)
    if isinstance(source, Bar):
        source = Trade(size=source.volume)
    if source is not None:
        told.append(_trade(symbol, price, at, source))
    return told


def cancel(seen: Print) -> Message:
    """Give the message that takes a trade back."""
    trade = seen[4] if isinstance(seen[4], Trade) else Trade()
    return CancelMessage(seen[0], Stamp(seen[2]), trade.id, "V", seen[1], _shares(trade), "C", "C")


def correction(wrong: Print, right: Print) -> Message:
    """Give the message that replaces a trade by another; it is stamped as the right one is."""
    was = wrong[4] if isinstance(wrong[4], Trade) else Trade()
    now = right[4] if isinstance(right[4], Trade) else Trade()
    return CorrectionMessage(
        wrong[0],
        Stamp(right[2]),
        "V",
        was.id,
        wrong[1],
        _shares(was),
        _conditions(was),
        now.id,
        right[1],
        _shares(now),
        _conditions(now),
        "C",
    )


def _quote(symbol: str, quote: Quote, at: Instant) -> list[Message]:
    """Tell of a quote; of a pair's also as the whole order book, which has no more than that here."""
    if "/" in symbol:
        bids = (Book(quote.bid, 1.0),) if quote.bid else ()
        asks = (Book(quote.ask, 1.0),) if quote.ask else ()
        return [
            CryptoQuoteMessage(symbol, Stamp(at), quote.bid, 1.0, quote.ask, 1.0),
            OrderBookMessage(symbol, Stamp(at), bids, asks),
        ]
    told = QuoteMessage(symbol, Stamp(at), "V", quote.bid, _ROUND_LOT, "V", quote.ask, _ROUND_LOT)
    return [told]


def _trade(symbol: str, price: float, at: Instant, trade: Trade) -> Message:
    if "/" in symbol:
        taker = "B" if trade.id % 2 else "S"
        return CryptoTradeMessage(symbol, Stamp(at), price, trade.size or 1.0, trade.id, taker)
    return TradeMessage(symbol, Stamp(at), trade.id, "V", price, _shares(trade), _conditions(trade), "C")


def _shares(trade: Trade) -> float:
    """Give the size of a stock's trade: whole shares are whole numbers on the wire, and typed clients insist on it."""
    return (int(trade.size) if trade.size.is_integer() else trade.size) or _ROUND_LOT


def _conditions(trade: Trade) -> tuple[str, ...]:
    return tuple(trade.conditions or "@")


class Codec(Protocol):
    """How a session reads and writes."""

    def write(self, said: object) -> bytes | str:
        """Write one frame; text where the stream speaks in text."""

    def read(self, frame: bytes | str) -> object:
        """Read what a client said.

        Raises:
            msgspec.DecodeError: it is neither JSON nor, where the session speaks it, msgpack.
        """


class JsonCodec:
    """Text frames. What a client says may come in frames of either kind."""

    def write(self, said: object) -> str:
        """Write one text frame."""
        return _JSON.encode(said).decode()

    def read(self, frame: bytes | str) -> object:
        """Read JSON."""
        return msgspec.json.decode(frame)


class BinaryJsonCodec(JsonCodec):
    """JSON in binary frames, as the order updates of paper accounts come."""

    def write(self, said: object) -> bytes:  # type: ignore[override]
        """Write one binary frame."""
        return _JSON.encode(said)


class MsgpackCodec:
    """Binary frames. Text is read as JSON."""

    def write(self, said: object) -> bytes:
        """Write one binary frame."""
        return _MSGPACK.encode(said)

    def read(self, frame: bytes | str) -> object:
        """Read msgpack, or text as JSON."""
        return msgspec.json.decode(frame) if isinstance(frame, str) else msgspec.msgpack.decode(frame)


def _stamped_in_json(value: object) -> object:
    if isinstance(value, Stamp):
        return iso(value.at)
    message = f"a message has no place for {value!r}"
    raise TypeError(message)


def _stamped_in_msgpack(value: object) -> object:
    if isinstance(value, Stamp):
        return msgspec.msgpack.Ext(_TIMESTAMP, timestamp(value.at))
    message = f"a message has no place for {value!r}"
    raise TypeError(message)


def timestamp(at: Instant) -> bytes:
    """Write the body of a msgpack timestamp: four bytes for a whole second, else eight, twelve after the year 2514."""
    seconds, nanos = divmod(at, SECOND)
    if not nanos and 0 <= seconds < 1 << 32:
        return seconds.to_bytes(4, "big")
    if 0 <= seconds < 1 << _SHORT_SECONDS:
        return (nanos << _SHORT_SECONDS | seconds).to_bytes(8, "big")
    return nanos.to_bytes(4, "big") + seconds.to_bytes(8, "big", signed=True)


_JSON: Final = msgspec.json.Encoder(enc_hook=_stamped_in_json)
_MSGPACK: Final = msgspec.msgpack.Encoder(enc_hook=_stamped_in_msgpack)
