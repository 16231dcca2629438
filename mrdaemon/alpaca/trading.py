"""Records of Alpaca's trading service: orders, positions, accounts, assets, its clock and an account's activities.

Only what is used is read, and nothing is required that Alpaca may leave out; numbers come as strings, now and then as
numbers, and are decimals either way. A value that nobody has seen yet is kept as the text that it is.

In lists of orders and assets most records are of others, and may be of kinds that we never use: an order of several
legs has neither symbol nor side. So a number in them is read only when it is asked for, and nothing odd in the record
of another takes ours along.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import Instant, parse
from mrdaemon.core.money import EXACT, LARGEST, NANO_SHARE, NO_SHARES, Dollars, Price, Shares, cents
from mrdaemon.core.orders import OrderReport
from mrdaemon.core.policy import Asset, Side

Number = Decimal | None
UNSAID: Final = msgspec.Raw(b"null")
_number: Final[msgspec.json.Decoder[Number]] = msgspec.json.Decoder(Number)

STATUSES: Final = {
    "filled": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "replaced": OrderStatus.CANCELED,
    "expired": OrderStatus.EXPIRED,
    "done_for_day": OrderStatus.EXPIRED,
    "rejected": OrderStatus.REJECTED,
}
"""Which of Alpaca's statuses end an order for good. All others, known or not, are those of an order that may yet fill.

``done_for_day`` ends a day order, and ours are good for the day; of crypto, which trades on, it is never said.
"""
EXTENDED_FRACTIONS: Final = "fractional_eh_enabled"
"""The attribute of an asset whose fractions trade outside of regular hours, too."""
SIDES: Final = {"buy": Side.ACCUMULATE, "sell": Side.TRIM}
WORDS: Final = {side: word for word, side in SIDES.items()}


class WireError(ValueError):
    """A record that says something impossible."""


def moment(text: str) -> Instant:
    """Read a time of Alpaca's.

    Raises:
        WireError: it is none, or has no offset.
    """
    try:
        at = parse(text)
    except ValueError as error:
        raise WireError(str(error)) from error
    if isinstance(at, int):
        return at
    message = f"wanted a time with an offset, got {text!r}"
    raise WireError(message)


class Order(msgspec.Struct, gc=False):
    """An order, as REST and the order-update stream tell it. Only the id is said of every order."""

    id: str
    chosen: str | None = msgspec.field(name="client_order_id", default=None)
    traded: str | None = msgspec.field(name="symbol", default=None)
    side: str | None = None
    status: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    filled_qty: msgspec.Raw = UNSAID
    filled_avg_price: msgspec.Raw = UNSAID
    notional: msgspec.Raw = UNSAID
    qty: msgspec.Raw = UNSAID

    @property
    def client_order_id(self) -> str:
        """The id that we chose, or somebody else."""
        return self.chosen or ""

    @property
    def symbol(self) -> str:
        """What is traded, where it is one thing."""
        return self.traded or ""

    def created(self) -> Instant | None:
        """Give when Alpaca took it, where that is said.

        Raises:
            WireError: it is no time.
        """
        return moment(self.created_at) if self.created_at else None

    def report(self, symbol: str) -> OrderReport:
        """Say it as the core understands it; ``symbol`` is what we call its asset.

        Raises:
            WireError: its side, a time, or a number is none that there is.
        """
        side = SIDES.get(self.side or "")
        if side is None:
            message = f"order {self.client_order_id} has side {self.side!r}; wanted buy or sell"
            raise WireError(message)
        created, notional, quantity = self.created(), said(self.notional), said(self.qty)
        average = said(self.filled_avg_price)
        return OrderReport(
            order=self.client_order_id,
            broker_order=self.id,
            symbol=symbol,
            side=side,
            status=STATUSES.get(self.status or "", OrderStatus.ACCEPTED),
            at=moment(self.updated_at) if self.updated_at else created or Instant(0),
            filled=_not_negative(shares(said(self.filled_qty))),
            average=Price(above_zero(average)) if average else None,
            notional=None if notional is None else cents(finite(notional)),
            quantity=None if quantity is None or notional is not None else shares(quantity),
            reason=f"Alpaca says {self.status}" if self.status in {"replaced", "done_for_day"} else "",
            created=created,
        )


def said(raw: msgspec.Raw) -> Number:
    """Read a number, or None where there is none.

    Raises:
        WireError: it is something else.
    """
    try:
        return _number.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"wanted a number, got {bytes(raw)[:40]!r}"
        raise WireError(message) from error


def finite(number: Decimal) -> Decimal:
    """Give a number that can be meant.

    Raises:
        WireError: it is infinite, none, or larger than anything that is believed.
    """
    if number.is_finite() and abs(number) <= LARGEST:
        return number
    message = f"wanted a number of at most {LARGEST:,f}, got {number}"
    raise WireError(message)


def above_zero(number: Decimal) -> Decimal:
    """Give a number that can be a price, or a step.

    Raises:
        WireError: it is none, or not above zero.
    """
    if finite(number) > 0:
        return number
    message = f"wanted a number above zero, got {number}"
    raise WireError(message)


def shares(quantity: Number) -> Shares:
    """Give a quantity with at most nine decimals; nothing is none.

    Raises:
        WireError: it is no quantity that there is.
    """
    if quantity is None:
        return NO_SHARES
    return Shares(finite(quantity).quantize(NANO_SHARE, context=EXACT).normalize(EXACT))


def _not_negative(quantity: Shares) -> Shares:
    if quantity >= 0:
        return quantity
    message = f"wanted a quantity of at least zero, got {quantity}"
    raise WireError(message)


class Position(msgspec.Struct, gc=False):
    """Shares of a symbol that an account holds; negative where it is short."""

    symbol: str
    qty: Number = None
    side: str = "long"
    cost_basis: Number = None
    asset_class: str = "us_equity"

    @property
    def signed(self) -> Shares:
        """The shares, negative where the account owes them."""
        held = shares(self.qty)
        return Shares(-abs(held)) if self.side == "short" else held


class Account(msgspec.Struct, gc=False):
    """An account: its cash, and whether it may trade."""

    status: str = ""
    cash: Number = None
    non_marginable_buying_power: Number = None
    currency: str = "USD"
    account_blocked: bool = False
    trading_blocked: bool = False
    trade_suspended_by_user: bool = False

    @property
    def spendable(self) -> Dollars | None:
        """Cash that may be spent: no margin, nothing that orders or unsettled sales hold. None: it is not said."""
        if self.cash is None:
            return None
        held = self.cash if self.non_marginable_buying_power is None else self.non_marginable_buying_power
        return cents(min(finite(self.cash), finite(held)))

    @property
    def obstacle(self) -> str | None:
        """Why the account may not trade, or None."""
        if self.account_blocked:
            return "the account is blocked; ask Alpaca why"
        if self.trading_blocked:
            return "trading is blocked in the account; ask Alpaca why"
        if self.trade_suspended_by_user:
            return "trading is suspended in the account's own settings; allow it in Alpaca's dashboard"
        if self.status != "ACTIVE":
            return f"the account's status is {self.status or 'not said'}; wanted ACTIVE"
        return None


class AssetRecord(msgspec.Struct, gc=False):
    """What may be traded, and how finely."""

    symbol: str
    tradable: bool = False
    fractionable: bool = False
    status: str = "active"
    asset_class: str = msgspec.field(name="class", default="us_equity")
    attributes: list[str] | None = None
    min_order_size: msgspec.Raw = UNSAID
    min_trade_increment: msgspec.Raw = UNSAID
    price_increment: msgspec.Raw = UNSAID

    def asset(self, symbol: str) -> Asset:
        """Say it as the core understands it; ``symbol`` is what we call it. One with impossible steps is not traded."""
        crypto = self.asset_class == "crypto"
        usable = self.tradable and self.status == "active"
        why = "" if usable else f"Alpaca says that it is {'not tradable' if not self.tradable else self.status}"
        try:
            least = _not_negative(shares(said(self.min_order_size)))
            increment = Shares(_step(self.min_trade_increment) or NANO_SHARE)
            price_increment = _step(self.price_increment)
        except WireError as error:
            why = f"Alpaca says something impossible of it: {error}"
            return Asset(symbol, fractionable=self.fractionable, tradable=False, why=why)
        return Asset(
            symbol,
            fractionable=self.fractionable,
            tradable=usable,
            increment=increment,
            fee=CRYPTO_FEE if crypto else Decimal(0),
            price_increment=None if price_increment is None else Price(price_increment),
            min_quantity=least if crypto else NO_SHARES,
            extended_fractions=crypto or EXTENDED_FRACTIONS in (self.attributes or ()),
            why=why,
        )


def _step(raw: msgspec.Raw) -> Number:
    number = said(raw)
    return None if number is None else above_zero(number)


CRYPTO_FEE: Final = Decimal("0.0025")
"""The most that Alpaca keeps of coins that are bought: the taker's fee of its lowest tier (Alpaca, crypto fees)."""


class Clock(msgspec.Struct, gc=False):
    """Alpaca's own time, and its market's hours."""

    timestamp: str
    is_open: bool
    next_open: str
    next_close: str


class Activity(msgspec.Struct, gc=False):
    """Something that happened to an account: a fill, a dividend, a fee."""

    id: str
    activity_type: str
    date: str | None = None
    transaction_time: str | None = None
    symbol: str | None = None
    net_amount: msgspec.Raw = UNSAID
    per_share_amount: msgspec.Raw = UNSAID
    order_id: str | None = None
    cum_qty: Number = None
    description: str | None = None
    status: str | None = None


class Update(msgspec.Struct, gc=False):
    """What the order-update stream says of an order."""

    event: str = ""
    execution_id: str | None = None
    order: Order | None = None


class Envelope(msgspec.Struct, gc=False):
    """A message of the order-update stream. Its data differ by stream, and may be null."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class Authorization(msgspec.Struct, gc=False):
    """The answer to a login."""

    status: str = ""
    message: str = ""


class Listening(msgspec.Struct, gc=False):
    """The answer to ``listen``."""

    streams: list[str] | None = None
