"""What a message on a price's topic says: a bare number, or JSON with a price, a quote, a time.

Numbers are read as they were written, digit by digit. A message that is no price is refused with a reason, never
repaired: a comma, a missing time zone or a strange unit could mean two things.
"""

from __future__ import annotations

import contextlib
import re
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from mrdaemon.core import instant
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import EXACT, exact
from mrdaemon.core.prints import Print, Quote, quote_print, trade_print
from mrdaemon.core.sessions import EARLIEST, LATEST
from mrdaemon.core.zone import HIGHEST_PRICE, believable

LARGEST_MESSAGE: Final = 4096
"""Bytes of a message that is looked at; a price has a hundred."""
LONGEST_NUMBER: Final = 40
"""Characters of a number that is looked at; a price that can be kept has twenty at most."""

_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)  # RFC 3339
_UNITS: Final = ((11, 9), (14, 6), (17, 3), (20, 0))
"""Of a time that is a number: below ten to the power of the first it is seconds, milliseconds, microseconds,
nanoseconds, which ten to the power of the second makes nanoseconds of."""


class Problem(StrEnum):
    """What is wrong with a message."""

    EMPTY = "empty"
    SIZE = "too long"
    TEXT = "neither a number nor a JSON object"
    PRICE = "no price"
    QUOTE = "no quote"
    TIME = "no time"
    RETAINED = "retained, without a time"
    LATE = "older than one that came before"
    REPEATED = "the same again"
    TOPIC = "on a topic of no symbol"


class UnusableError(ValueError):
    """A message that gives no price: which kind of problem it has, and a sentence that says more."""

    def __init__(self, problem: Problem, reason: str) -> None:
        super().__init__(reason)
        self.problem = problem


class Report(msgspec.Struct, frozen=True):
    """What a message reported."""

    seen: Print
    dated: bool
    """Whether it said itself when that was."""


class _Message(msgspec.Struct):
    """A message in JSON, each value as it was written; whatever else is in it is of no interest."""

    price: msgspec.Raw = msgspec.Raw()
    bid: msgspec.Raw = msgspec.Raw()
    ask: msgspec.Raw = msgspec.Raw()
    time: msgspec.Raw = msgspec.Raw()


_decode: Final = msgspec.json.Decoder(_Message).decode
_text: Final = msgspec.json.Decoder(str).decode


def topics(root: str, symbol: str) -> tuple[str, ...]:
    """Give the topics of a symbol: its name, and for a pair also one that is no two levels, ``prices/BTC-USD``."""
    plain = f"{root}/{symbol}"
    return (plain, f"{root}/{symbol.replace('/', '-')}") if "/" in symbol else (plain,)


def read(symbol: str, payload: bytes, arrived: Instant, *, retained: bool) -> Report:
    """Read a message.

    Args:
        symbol: whose price it is: its topic says so.
        payload: the message.
        arrived: when it came, which is its time where it has none.
        retained: whether the broker kept it from before, nobody knows for how long.

    Raises:
        UnusableError: it gives no price.
    """
    if len(payload) > LARGEST_MESSAGE:
        raise UnusableError(Problem.SIZE, f"{len(payload):,} bytes, {LARGEST_MESSAGE:,} are looked at")
    body = payload.strip()
    if not body:
        raise UnusableError(Problem.EMPTY, "there is nothing in it")
    price, quote, at = _of_json(body) if body.startswith(b"{") else (_price(_plain(body), Problem.TEXT), None, None)
    if at is None and retained:
        what = "the broker kept it from before and it has no time of its own: it may be of any day"
        raise UnusableError(Problem.RETAINED, what)
    when = arrived if at is None else at
    if price is not None:
        seen = trade_print(symbol, price, when, quote=quote)
    elif quote is not None and quote.bid > 0 and quote.ask > 0:
        seen = quote_print(symbol, quote.bid, quote.ask, when)
    else:
        raise UnusableError(Problem.PRICE, "it has neither a price, nor a bid and an ask")
    return Report(seen, dated=at is not None)


def _of_json(body: bytes) -> tuple[float | None, Quote | None, Instant | None]:
    try:
        message = _decode(body)
    except (ValueError, RecursionError) as error:  # msgspec's own errors are ValueErrors
        raise UnusableError(Problem.TEXT, f"it is not JSON: {error}") from None
    price, bid, ask, time = (
        _value(name, getattr(message, name), problem)
        for name, problem in (
            ("price", Problem.PRICE),
            ("bid", Problem.QUOTE),
            ("ask", Problem.QUOTE),
            ("time", Problem.TIME),
        )
    )
    quote = None if bid is None or ask is None else Quote(_side("bid", bid), _side("ask", ask))
    return None if price is None else _price(price), quote, None if time is None else _instant(time)


def _value(name: str, raw: msgspec.Raw, problem: Problem) -> str | None:
    """Give a value's text, whether it stands in quotation marks or not; none for one that is absent or null."""
    written = bytes(raw)
    if written in {b"", b"null"}:
        return None
    try:
        return _text(written) if written.startswith(b'"') else _plain(written)
    except ValueError:
        raise UnusableError(problem, f"wanted a number or a text as its {name}, got {_shown(written)}") from None


def _plain(written: bytes) -> str:
    try:
        return written.decode("ascii")
    except UnicodeDecodeError:
        raise UnusableError(Problem.TEXT, f"wanted a number such as 401.25, got {_shown(written)}") from None


def _shown(written: bytes | str) -> str:
    return repr(written[:60])


def _price(text: str, otherwise: Problem = Problem.PRICE) -> float:
    """Read a price; ``otherwise`` is what a text is that is not even a number."""
    number = _number(text, Problem.PRICE, otherwise)
    if not believable(number):
        what = f"a price lies above 0 and below {HIGHEST_PRICE:,.0f} dollars, got {_shown(text)}"
        raise UnusableError(Problem.PRICE, what)
    return number


def _side(name: str, text: str) -> float:
    """Read a side of a quote; zero says that there is none."""
    number = _number(text, Problem.QUOTE, Problem.QUOTE)
    if number and not believable(number):
        what = f"its {name} lies above 0 and below {HIGHEST_PRICE:,.0f} dollars, got {_shown(text)}"
        raise UnusableError(Problem.QUOTE, what)
    return number


def _number(text: str, problem: Problem, otherwise: Problem) -> float:
    """Read a number that a price can keep: the shortest decimal that names a float64 is the one that was written."""
    if len(text) > LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise UnusableError(otherwise, f"wanted a number such as 401.25, got {_shown(text)}")
    number = float(text)
    if believable(number) and exact(number) != Decimal(text):
        what = f"{text} has more digits than are kept exactly: send at most 15 significant ones"
        raise UnusableError(problem, what)
    return number


def _instant(text: str) -> Instant:
    """Read a time: RFC 3339 with its offset, or a number of seconds, or of smaller units, since 1970."""
    if len(text) <= LONGEST_NUMBER and _NUMBER.fullmatch(text):
        number = Decimal(text)
        for limit, nanoseconds in _UNITS:
            if number < Decimal(10) ** limit:
                return _believed(Instant(int(number.scaleb(nanoseconds, EXACT))), text)
    elif matched := _TIME.fullmatch(text):
        if matched[1] is None:
            raise UnusableError(Problem.TIME, f"a time needs its offset, such as the Z of UTC, got {_shown(text)}")
        with contextlib.suppress(ValueError):  # There may be no such day, or no such hour.
            moment = instant.parse(text.upper())
            if isinstance(moment, int):
                return _believed(moment, text)
    raise _no_time(text)


def _believed(at: Instant, text: str) -> Instant:
    """Refuse a time that nobody means: some arithmetic went wrong where it comes from."""
    if not EARLIEST <= at <= LATEST:
        raise _no_time(text)
    return at


def _no_time(text: str) -> UnusableError:
    what = f'wanted a time such as "2026-01-05T14:30:00Z" or the seconds since 1970, got {_shown(text)}'
    return UnusableError(Problem.TIME, what)
