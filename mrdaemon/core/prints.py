"""Prints, and which of them count: only a regular, fresh, in-session observation may move money."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import EXACT, Price, exact
from mrdaemon.core.policy import EXTENDED_CONDITIONS, PrintRules
from mrdaemon.core.zone import HIGHEST_PRICE, believable


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade as the tape reported it.

    ``conditions`` holds its sale conditions in order. All that are known are of one character. A feed may say none of
    them with None.
    """

    conditions: Sequence[str] | None = ""
    size: float = 0.0
    id: int = 0


PLAIN_TRADE: Final = Trade()
"""A trade of which only the price is known."""


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The best bid and ask, in dollars. Zero on a side means that there is none."""

    bid: float
    ask: float


class Bar(msgspec.Struct, frozen=True, gc=False):
    """A bar, in dollars; its print is the close, at the instant the bar ends."""

    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0


Print = tuple[str, float, Instant, Quote | None, Trade | Bar | None]
"""One price observation: symbol, price in dollars, when it happened, the quote in force if it came along, and the trade
or bar behind it; a print without trade or bar is a quote.

A plain tuple, because millions of them pass the hot path and only the few that would fire are looked at.
"""


def trade_print(
    symbol: str, price: float, at: Instant, trade: Trade | Bar = PLAIN_TRADE, quote: Quote | None = None
) -> Print:
    """Make the print of a trade, or of a bar's close, with the quote in force where the source knows it."""
    return (symbol, price, at, quote, trade)


def quote_print(symbol: str, bid: float, ask: float, at: Instant) -> Print:
    """Make the print of a quote: its midpoint. A one-sided or zero quote has no price, which NaN says."""
    price = (bid + ask) / 2 if bid > 0 and ask > 0 else math.nan
    return (symbol, price, at, Quote(bid, ask), None)


def price_of(seen: Print) -> Price:
    """Give a print's exact price: the decimal that the feed sent, or the exact midpoint of its quote."""
    quote = seen[3]
    if quote is None or seen[4] is not None:
        return exact(seen[1])
    return Price(EXACT.divide(EXACT.add(exact(quote.bid), exact(quote.ask)), Decimal(2)))


class Unfit(StrEnum):
    """Why a print does not count."""

    PRICE = "price"
    CONDITION = "condition"
    STALE = "stale"
    FUTURE = "future"
    SKEW = "clock skew"
    ORDER = "out of order"
    QUOTE = "outside the quote"
    SPREAD = "spread"
    UNKNOWN = "not configured"


class Refusal(NamedTuple):
    """A print that does not count: the rule it broke, and the sentence that says how."""

    rule: Unfit
    reason: str


def two_sided(quote: Quote | None) -> bool:
    """Tell whether a quote has a believable bid and ask that do not cross."""
    return quote is not None and believable(quote.bid) and believable(quote.ask) and quote.bid <= quote.ask


def regular(conditions: Sequence[str] | None, rules: PrintRules) -> str | None:
    """Give the first sale condition that is not one of a regular sale, or None."""
    allowed = rules.regular + EXTENDED_CONDITIONS if rules.extended_hours else rules.regular
    return next((code for code in conditions or () if len(code) != 1 or code not in allowed), None)


def refusal(seen: Print, before: Print | None, quoted: Print | None, rules: PrintRules, now: Instant) -> Refusal | None:
    """Say why a print does not count, or None when it does.

    Args:
        seen: the print.
        before: the last print of the symbol that was not refused.
        quoted: the last print of the symbol that came with a quote.
        rules: what counts.
        now: when the print arrived.
    """
    return (
        _no_price(seen)
        or _off_in_time(seen, before, rules, now)
        or _irregular(seen, rules)
        or _off_the_quote(seen, quoted, rules, now)
    )


def _no_price(seen: Print) -> Refusal | None:
    price, quote = seen[1], seen[3]
    if seen[4] is None and not two_sided(quote):
        return Refusal(Unfit.PRICE, "a quote needs a bid and an ask above zero that do not cross")
    if not believable(price):
        return Refusal(Unfit.PRICE, f"a price lies above 0 and below {HIGHEST_PRICE:,.0f} dollars, got {price!r}")
    return None


def _off_in_time(seen: Print, before: Print | None, rules: PrintRules, now: Instant) -> Refusal | None:
    ahead = seen[2] - now
    if ahead > rules.max_future * SECOND:
        return Refusal(Unfit.FUTURE, f"it is {ahead / SECOND:.1f} s in the future, {rules.max_future} s are allowed")
    if ahead > rules.max_skew * SECOND:
        return Refusal(Unfit.SKEW, f"clocks differ by {ahead / SECOND:.1f} s, {rules.max_skew} s are allowed")
    if -ahead > rules.max_age * SECOND:
        return Refusal(Unfit.STALE, f"it is {-ahead / SECOND:.1f} s old, {rules.max_age} s are allowed")
    if before is not None and seen[2] < before[2] and _dated_soundly(before, rules, now):
        return Refusal(Unfit.ORDER, f"it is {(before[2] - seen[2]) / SECOND:.1f} s older than one that came before it")
    return None


def _dated_soundly(stored: Print, rules: PrintRules, now: Instant) -> bool:
    """Tell whether a stored print is not from the future: the hot path stores whatever lies between the triggers."""
    return stored[2] - now <= rules.max_future * SECOND


def _irregular(seen: Print, rules: PrintRules) -> Refusal | None:
    trade = seen[4]
    if isinstance(trade, Trade) and (code := regular(trade.conditions, rules)) is not None:
        return Refusal(Unfit.CONDITION, f"sale condition {code!r} is not one of a regular sale")
    return None


def _off_the_quote(seen: Print, quoted: Print | None, rules: PrintRules, now: Instant) -> Refusal | None:
    held = seen if seen[3] is not None else quoted
    if held is None or seen[2] - held[2] > rules.quote_age * SECOND or not _dated_soundly(held, rules, now):
        return None
    quote = held[3]
    if quote is None or not two_sided(quote):
        return None
    bid, ask = exact(quote.bid), exact(quote.ask)
    spread = (ask - bid) / ((ask + bid) / 2)
    if spread > rules.max_spread:
        return Refusal(Unfit.SPREAD, f"the spread {bid} to {ask} is wider than {rules.max_spread:%} of the midpoint")
    price = price_of(seen)
    if not bid * (1 - rules.quote_tolerance) <= price <= ask * (1 + rules.quote_tolerance):
        return Refusal(
            Unfit.QUOTE, f"{price} lies more than {rules.quote_tolerance:%} outside the quote {bid} to {ask}"
        )
    return None
