"""Dollars and shares: exact decimals, how they are read, and the one way each is rounded.

The arithmetic runs in its own context of 60 digits, so that no product of shares and price is ever rounded before
it is rounded to the cent, whatever the caller's decimal context says.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation
from decimal import Overflow as DecimalOverflow
from typing import Final, NewType

Dollars = NewType("Dollars", Decimal)
"""An amount of money, exact to the cent."""
Shares = NewType("Shares", Decimal)
"""A quantity of an asset, at most nine decimals."""
Price = NewType("Price", Decimal)
"""Dollars for one share, with as many decimals as the feed sent."""

EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, DecimalOverflow])
CENT: Final = Decimal("0.01")
HALF_CENT: Final = Decimal("0.005")
NANO_SHARE: Final = Shares(Decimal("0.000000001"))
"""The increment of US equities at Alpaca: nine decimals."""
NO_DOLLARS: Final = Dollars(Decimal("0.00"))
NO_SHARES: Final = Shares(Decimal(0))
LARGEST: Final = Decimal(10) ** 15
"""No amount, count or price beyond this is believed."""

_PLAIN: Final = re.compile(r"-?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?", re.ASCII)


class MoneyError(ValueError):
    """A text that is not the money, the quantity or the ratio that was wanted."""


def cents(amount: Decimal) -> Dollars:
    """Round to the cent, half to even."""
    return Dollars(amount.quantize(CENT, context=EXACT))


def cents_up(amount: Decimal) -> Dollars:
    """Round up to the cent: what a limit price or a reservation must not fall short of."""
    return Dollars(amount.quantize(CENT, rounding=ROUND_CEILING, context=EXACT))


def value(shares: Decimal, price: Decimal) -> Dollars:
    """Value shares at a price: the exact product, rounded to the cent, half to even."""
    return cents(EXACT.multiply(shares, price))


def shares_for(amount: Decimal, price: Decimal, increment: Decimal) -> Shares:
    """Give the most shares, in whole increments, that an amount buys at a price; never more."""
    quotient = Context(prec=60, rounding=ROUND_DOWN).divide(amount, price)
    steps = EXACT.divide_int(quotient, increment)
    return Shares(EXACT.multiply(steps, increment))


def exact(price: float) -> Price:
    """Give the decimal that the feed sent: the shortest one that names this float64."""
    return Price(Decimal(repr(price)))


def _decimal(text: str, wanted: str) -> Decimal:
    cleaned = text.strip()
    if not _PLAIN.fullmatch(cleaned):
        message = f"wanted {wanted}, got {text!r}"
        raise MoneyError(message)
    number = Decimal(cleaned.replace(",", ""))
    if abs(number) > LARGEST:
        message = f"wanted {wanted} of at most {LARGEST:,f}, got {text!r}"
        raise MoneyError(message)
    return number


def parse_dollars(text: str) -> Dollars:
    """Read dollars such as ``"5000"``, ``"$5,000.00"`` or ``"0.5"``.

    Raises:
        MoneyError: not a plain number, or more than two decimals.
    """
    wanted = 'dollars such as "5000" or "$5,000.00"'
    number = _decimal(text.strip().removeprefix("$"), wanted)
    if number != cents(number):
        message = f"wanted {wanted} with at most two decimals, got {text!r}"
        raise MoneyError(message)
    return cents(number)


def parse_shares(text: str) -> Shares:
    """Read a quantity of shares such as ``"50"`` or ``"2.631578947"``.

    Raises:
        MoneyError: not a plain number, negative, or more than nine decimals.
    """
    wanted = 'shares such as "50" or "2.631578947"'
    number = _decimal(text, wanted)
    if number < 0:
        message = f"wanted {wanted}, not negative, got {text!r}"
        raise MoneyError(message)
    if number != number.quantize(NANO_SHARE, context=EXACT):
        message = f"wanted {wanted} with at most nine decimals, got {text!r}"
        raise MoneyError(message)
    return Shares(number)


def parse_price(text: str) -> Price:
    """Read a price a share such as ``"400"`` or ``"$401.2575"``.

    Raises:
        MoneyError: not a plain number, not above zero, or more than nine decimals.
    """
    wanted = 'a price such as "400" or "$401.2575"'
    number = _decimal(text.strip().removeprefix("$"), wanted)
    if number <= 0 or number != number.quantize(NANO_SHARE, context=EXACT):
        message = f"wanted {wanted} above zero, with at most nine decimals, got {text!r}"
        raise MoneyError(message)
    return Price(number)


def parse_ratio(text: str) -> Decimal:
    """Read a ratio written ``"3%"``, ``"300bps"`` or ``"0.03"``; all three are 0.03.

    Raises:
        MoneyError: none of these.
    """
    wanted = 'a ratio such as "3%", "300bps" or "0.03"'
    body = text.strip()
    if body.endswith("%"):
        return _decimal(body.removesuffix("%"), wanted).scaleb(-2)
    if body.endswith("bps"):
        return _decimal(body.removesuffix("bps").strip(), wanted).scaleb(-4)
    return _decimal(body, wanted)


def show(amount: Decimal) -> str:
    """Write dollars for a person: ``$1,234.50``, ``-$3.00``."""
    sign = "-" if amount < 0 else ""
    return f"{sign}${abs(amount):,.2f}"


def show_shares(shares: Decimal) -> str:
    """Write shares for a person, without trailing zeros."""
    text = f"{shares:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
