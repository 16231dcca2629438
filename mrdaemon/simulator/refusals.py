"""What Alpaca refuses, as it says so: an HTTP status, a code, a message, and what belongs to it.

The codes and messages are Alpaca's own where they are known; programs read them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

MALFORMED: Final = 40010001
UNAUTHORIZED: Final = 40110000
FORBIDDEN: Final = 40310000
MISSING: Final = 40410000
INVALID: Final = 42210000
TOO_MANY: Final = 42910000


def plain(number: Decimal) -> str:
    """Write a number as Alpaca does: no exponent, no trailing zeros."""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


class RefusalError(Exception):
    """A request that is not acted on, with everything its answer says."""

    def __init__(self, status: int, code: int | None, message: str, more: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, object] = {} if code is None else {"code": code}
        self.body["message"] = message
        self.body.update(more or {})


def malformed(message: str) -> RefusalError:
    """Refuse a request that cannot be read, or whose id was used before."""
    return RefusalError(422, MALFORMED, message)


def invalid(message: str) -> RefusalError:
    """Refuse a value that the rules do not allow."""
    return RefusalError(422, INVALID, message)


def forbidden(message: str, more: dict[str, object] | None = None) -> RefusalError:
    """Refuse what the account may not do now."""
    return RefusalError(403, FORBIDDEN, message, more)


def missing(message: str) -> RefusalError:
    """Refuse to tell of what does not exist."""
    return RefusalError(404, MISSING, message)


def insufficient_quantity(symbol: str, requested: Decimal, available: Decimal, existing: Decimal) -> RefusalError:
    """Refuse to sell more than is held and not promised to other orders."""
    return forbidden(
        f"insufficient qty available for order (requested: {plain(requested)}, available: {plain(available)})",
        {
            "available": plain(available),
            "existing_qty": plain(existing),
            "held_for_orders": plain(existing - available),
            "symbol": symbol,
        },
    )


def insufficient_buying_power(cost: Decimal, buying_power: Decimal) -> RefusalError:
    """Refuse to buy for more than the account has."""
    more: dict[str, object] = {"buying_power": plain(buying_power), "cost_basis": plain(cost)}
    return forbidden("insufficient buying power", more)


def insufficient_dollars(cost: Decimal, available: Decimal) -> RefusalError:
    """Refuse to buy crypto, which takes no margin, for more than the cash at hand."""
    return forbidden(
        f"insufficient balance for USD (requested: {plain(cost)}, available: {plain(available)})",
        {"available": plain(available), "balance": plain(available), "symbol": "USD"},
    )


def wash_trade(existing: str, existing_type: str) -> RefusalError:
    """Refuse an order that could trade with an open one of the same account."""
    return forbidden(
        "potential wash trade detected. use complex orders",
        {"existing_order_id": existing, "reject_reason": f"opposite side {existing_type} order exists"},
    )
