"""Reading what a client sends as an order: each field in the forms that Alpaca takes, or a refusal in its words."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from mrdaemon.simulator.assets import NANO
from mrdaemon.simulator.orders import Kind, Side, Ticket, TimeInForce
from mrdaemon.simulator.refusals import RefusalError, invalid, malformed

LONGEST_CLIENT_ID: Final = 128
_LARGEST: Final = Decimal(10) ** 12
_CENT: Final = Decimal("0.01")

_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)

_Choice = TypeVar("_Choice", bound=StrEnum)


def json_object(body: bytes) -> dict[str, object]:
    """Read a JSON object; its numbers with a fraction keep every digit that was sent.

    Raises:
        RefusalError: it is none.
    """
    try:
        read: object = _DECODER.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusalError(400, 40010000, "request body format is invalid") from error
    if not isinstance(read, dict):
        raise RefusalError(400, 40010000, "request body format is invalid")
    return read


def number(fields: Mapping[str, object], name: str) -> Decimal | None:
    """Read a number above zero, sent as one or as text; None where it is left out or null.

    Raises:
        RefusalError: it is no such number.
    """
    sent = fields.get(name)
    if sent is None or sent == "":
        return None
    if isinstance(sent, bool) or not isinstance(sent, (str, int, Decimal)):
        message = f"{name} is invalid"
        raise malformed(message)
    try:
        read = Decimal(sent)
    except InvalidOperation as error:
        message = f"{name} is invalid"
        raise malformed(message) from error
    if not read.is_finite() or abs(read) > _LARGEST:
        message = f"{name} is invalid"
        raise malformed(message)
    if read <= 0:
        message = f"{name} must be > 0"
        raise invalid(message)
    return read


def quantity(fields: Mapping[str, object]) -> Decimal | None:
    """Read ``qty``: at most nine decimals.

    Raises:
        RefusalError: it is no such number.
    """
    read = number(fields, "qty")
    if read is not None and read % NANO:
        message = "qty must be limited to 9 decimal places"
        raise invalid(message)
    return read


def client_id(fields: Mapping[str, object], otherwise: str) -> str:
    """Read ``client_order_id``, or take another where it is left out.

    Raises:
        RefusalError: it is no text, or too long.
    """
    sent = fields.get("client_order_id")
    if sent is None or sent == "":
        return otherwise
    if not isinstance(sent, str):
        message = "client_order_id is invalid"
        raise malformed(message)
    if len(sent) > LONGEST_CLIENT_ID:
        message = f"client_order_id must be no more than {LONGEST_CLIENT_ID} characters"
        raise malformed(message)
    return sent


def choice(kind: type[_Choice], fields: Mapping[str, object], name: str, otherwise: _Choice | None = None) -> _Choice:
    """Read one of some words, or take another where it is left out.

    Raises:
        RefusalError: it is none of them, or left out where it must not be.
    """
    sent = fields.get(name)
    if sent is None or sent == "":
        if otherwise is None:
            message = f"{name} is required"
            raise malformed(message)
        return otherwise
    try:
        return kind(str(sent))
    except ValueError as error:
        message = f"invalid {name}"
        raise malformed(message) from error


def read_ticket(fields: Mapping[str, object], otherwise: str) -> Ticket:
    """Read an order; ``otherwise`` is its client order id if it brings none.

    Raises:
        RefusalError: a field is missing, or cannot be read.
    """
    symbol = fields.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        message = "symbol is required"
        raise malformed(message)
    # A tuple: what was sent may be a list, which no set can be asked for.
    if fields.get("order_class") not in (None, "", "simple"):
        message = "order_class must be simple: complex orders are not simulated"
        raise invalid(message)
    qty, notional = quantity(fields), number(fields, "notional")
    if (qty is None) == (notional is None):
        message = "qty or notional is required" if qty is None else "only one of qty or notional is accepted"
        raise malformed(message)
    if notional is not None and notional % _CENT:
        message = "notional value must be limited to 2 decimal places"
        raise invalid(message)
    kind = choice(Kind, fields, "type")
    limit = number(fields, "limit_price")
    if (kind is Kind.LIMIT) != (limit is not None):
        message = "limit orders require limit_price" if limit is None else "market orders require no limit_price"
        raise invalid(message)
    return Ticket(
        symbol=symbol,
        side=choice(Side, fields, "side"),
        kind=kind,
        time_in_force=choice(TimeInForce, fields, "time_in_force"),
        client_order_id=client_id(fields, otherwise),
        qty=qty,
        notional=notional,
        limit_price=limit,
        extended_hours=_flag(fields, "extended_hours"),
    )


def _flag(fields: Mapping[str, object], name: str) -> bool:
    sent = fields.get(name)
    if sent is None or isinstance(sent, bool):
        return bool(sent)
    message = f"{name} is invalid"
    raise malformed(message)
