"""Every fact the daemon records. What is not here did not happen.

An event is a frozen struct with a ``kind`` (its name in snake case) and ``at``, the instant it happened in the
engine's time. Orders are named by their client order id, positions by ``portfolio/symbol``.
"""

from __future__ import annotations

import re
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypedDict, Union

import msgspec

from mrdaemon.core.instant import Instant
from mrdaemon.core.money import Dollars, Price, Shares
from mrdaemon.core.policy import (
    AccountRules,
    Asset,
    ChannelState,
    FeedState,
    PortfolioRules,
    PositionRules,
    PrintRules,
    Side,
    TradingState,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


class About(TypedDict):
    """Which position an event is about."""

    portfolio: str
    symbol: str


class AboutOrder(About):
    """Which order an event is about."""

    order: str


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=_snake, tag_field="kind", omit_defaults=True):
    """A fact."""

    at: Instant


class PositionEvent(Event, frozen=True, kw_only=True):
    """A fact about one position."""

    portfolio: str
    symbol: str


class OrderEvent(PositionEvent, frozen=True, kw_only=True):
    """A fact about one order."""

    order: str


# The life of the daemon


class DaemonStarted(Event, frozen=True, kw_only=True):
    """A daemon took the journal. Orders named from here on carry the nonce."""

    version: str
    nonce: str


class DaemonStopped(Event, frozen=True, kw_only=True):
    """A daemon stopped in good order, and the last prices it believed."""

    reason: str
    prices: dict[str, Price] = {}


class JournalRestored(Event, frozen=True, kw_only=True):
    """The journal was restored from a backup: what happened after the event before this one, it does not know."""

    by: str
    backup: str
    """Where it lay."""
    made: str
    """When it was made: RFC 3339, of the clock of the machine that made it."""
    restored: str
    """When it was restored, of this machine's clock. ``at`` is the engine's time, which a recording sets."""
    upto: int
    """The number of the last event that the backup had."""


class FeedOpened(Event, frozen=True, kw_only=True):
    """A recording is read, from the first row or on from a cursor."""

    feed: str
    cursor: int
    fingerprint: str = ""


class FeedStateChanged(Event, frozen=True, kw_only=True):
    """A live feed came a step further, or fell back."""

    feed: str
    state: FeedState
    reason: str = ""


class ChannelStateChanged(Event, frozen=True, kw_only=True):
    """A channel takes alerts, or does not any more."""

    channel: str
    state: ChannelState
    reason: str = ""


class RowRefused(Event, frozen=True, kw_only=True):
    """A row of a recording that cannot be a print."""

    row: str


class FeedEnded(Event, frozen=True, kw_only=True):
    """A recording was read to its end."""

    delivered: int
    refused: int


# Configuration


class PrintsConfigured(Event, frozen=True, kw_only=True):
    """Which prints count from now on."""

    rules: PrintRules


class AccountConfigured(Event, frozen=True, kw_only=True):
    """An account and its limits from now on."""

    account: str
    rules: AccountRules


class PortfolioConfigured(Event, frozen=True, kw_only=True):
    """A portfolio and its limits from now on."""

    portfolio: str
    rules: PortfolioRules


class PositionConfigured(PositionEvent, frozen=True, kw_only=True):
    """A position's rules from now on. ``retarget``: its file names a new target, which takes effect."""

    rules: PositionRules
    retarget: bool = True


class PositionOpened(PositionEvent, frozen=True, kw_only=True):
    """A position begins with the shares that its configuration names, once."""

    shares: Shares
    cost: Dollars | None = None


class PositionRetired(PositionEvent, frozen=True, kw_only=True):
    """A position left the configuration: it is no longer watched. Its shares and lots are remembered."""


class AssetKnown(Event, frozen=True, kw_only=True):
    """What the broker says of a symbol."""

    account: str
    asset: Asset


class TargetChanged(PositionEvent, frozen=True, kw_only=True):
    """A person changed a target."""

    before: Dollars
    target: Dollars
    by: str
    why: str = ""


class ConfigurationReloaded(Event, frozen=True, kw_only=True):
    """A daemon read its configuration anew while it ran, and took all of it. Facts of what it changed come before."""

    file: str
    by: str
    why: str = ""
    changes: tuple[str, ...] = ()
    """What is otherwise than before, each in a sentence."""
    channels_gone: tuple[str, ...] = ()
    """Channels that were told of things until now."""
    feeds_gone: tuple[str, ...] = ()
    """Streams that are not needed any more."""


class ConfigurationRefused(Event, frozen=True, kw_only=True):
    """A daemon read its configuration anew, could not take it, and changed nothing."""

    file: str
    by: str
    why: str = ""
    """Why it was to be read."""
    reasons: tuple[str, ...]
    """What is wrong with it, each with where it stands."""


# Prices


class PrintRefused(Event, frozen=True, kw_only=True):
    """A print that would have fired does not count. Told once a day for each symbol and rule."""

    symbol: str
    price: str
    rule: str
    reason: str
    day: str


class PrintBusted(Event, frozen=True, kw_only=True):
    """The exchange took a trade back, or corrected it. What was decided stands; what rested on it alone does not."""

    symbol: str
    trade: int
    price: Price | None = None
    """Its price, where it was the last one."""
    corrected: Price | None = None


class PriceAccepted(Event, frozen=True, kw_only=True):
    """A price became the one from which the next jump is measured."""

    symbol: str
    price: Price


class PriceStale(Event, frozen=True, kw_only=True):
    """No print for too long while the session is open: the price is unknown, not in the zone."""

    symbol: str
    since: Instant


class PriceFresh(Event, frozen=True, kw_only=True):
    """Prints arrive again."""

    symbol: str
    price: Price


class SymbolFrozen(Event, frozen=True, kw_only=True):
    """The price moved further than a price does. It thaws by a person, or by a split and the share count with it."""

    symbol: str
    before: Price
    price: Price
    reason: str


class SymbolThawed(Event, frozen=True, kw_only=True):
    """A person looked, or the broker booked a split, and trading goes on from the new price."""

    symbol: str
    by: str
    why: str = ""


class TradingHalted(Event, frozen=True, kw_only=True):
    """The exchange halted the symbol."""

    symbol: str
    reason: str


class TradingResumed(Event, frozen=True, kw_only=True):
    """The exchange lifted the halt."""

    symbol: str


# Signals


class PositionArmed(PositionEvent, frozen=True, kw_only=True):
    """The first eligible print after a position was opened or its target moved far."""

    price: Price
    value: Dollars
    suspect: bool = False
    """Whether it lay more than a zone's width beyond an edge, so that the first trade needs a person's approval."""


class SignalPending(PositionEvent, frozen=True, kw_only=True):
    """The value reached an edge; further prints must agree."""

    side: Side
    price: Price
    value: Dollars
    agreed: int


class SignalDropped(PositionEvent, frozen=True, kw_only=True):
    """The further prints did not agree, or a trade that it rested on was taken back."""

    side: Side
    price: Price
    value: Dollars
    cause: str = ""
    """Why, where it was not that the value came back."""


class SignalRaised(PositionEvent, frozen=True, kw_only=True):
    """The value reached an edge and no guard objected."""

    number: int
    side: Side
    price: Price
    value: Dollars
    target: Dollars
    edge: Dollars
    amount: Dollars
    reason: str


class SignalHeld(PositionEvent, frozen=True, kw_only=True):
    """The value reached an edge and a guard objected. Told once; the side waits for what would change the verdict."""

    side: Side
    guard: str
    reason: str
    price: Price
    value: Dollars
    amount: Dollars
    until: Instant | None = None


class SideRearmed(PositionEvent, frozen=True, kw_only=True):
    """A side may fire again."""

    side: Side
    cause: str
    inside: bool = False
    """Whether the value's own return inside the zone did it."""


class ApprovalRequested(PositionEvent, frozen=True, kw_only=True):
    """A signal waits for a person. What is approved is a ceiling."""

    number: int
    side: Side
    amount: Dollars
    expires: Instant
    reason: str


class ApprovalGranted(PositionEvent, frozen=True, kw_only=True):
    """A person said yes."""

    number: int
    by: str
    why: str = ""


class ApprovalClosed(PositionEvent, frozen=True, kw_only=True):
    """A request ended without an order: rejected, expired, or overtaken."""

    number: int
    cause: str
    by: str = ""
    why: str = ""


# Orders


class OrderIntended(OrderEvent, frozen=True, kw_only=True):
    """An order was decided. It is on disk before anything is sent, and its reservation with it."""

    account: str
    number: int
    side: Side
    price: Price
    notional: Dollars | None = None
    quantity: Shares | None = None
    limit: Price | None = None
    worth: Dollars
    """What the order is worth at the deciding price: the figure that daily limits count."""
    reserved: Dollars
    day: str
    expires: Instant
    extended: bool = False
    """Whether it may fill outside of regular hours."""


class OrderAccepted(OrderEvent, frozen=True, kw_only=True):
    """The broker has it."""

    broker_order: str


class OrderFilled(OrderEvent, frozen=True, kw_only=True):
    """The cumulative fill of an order grew. Shares and cash are booked as differences of the cumulative figures."""

    side: Side
    filled: Shares
    average: Price
    cash: Dollars
    shares: Shares
    """What this fill added to, or took from, the position."""
    amount: Dollars
    """What it took from, or added to, the reserve."""
    gain: Dollars | None = None
    """Realized, first lots first; absent for a buy, or where a lot's cost is not known."""


class FeeCharged(OrderEvent, frozen=True, kw_only=True):
    """The broker's fees for an order grew to ``fees``."""

    fees: Dollars
    amount: Dollars


class OrderEnded(OrderEvent, frozen=True, kw_only=True):
    """An order will not fill any more. What was left of its reservation is free."""

    status: str
    reason: str = ""
    released: Dollars = Dollars(Decimal("0.00"))


class OrderAmbiguous(OrderEvent, frozen=True, kw_only=True):
    """Nobody knows whether the broker has it. It is looked up until the answer is definite."""

    reason: str


class CancelRequested(OrderEvent, frozen=True, kw_only=True):
    """The order is to be cancelled; its terminal status is awaited."""

    reason: str


class OrderUnmatched(Event, frozen=True, kw_only=True):
    """The broker reports an order that no intent explains, or that differs from its intent."""

    account: str
    order: str
    reason: str


# Money and shares that no order moved


class ReserveDeposited(Event, frozen=True, kw_only=True):
    """Cash was put at the portfolio's disposal."""

    portfolio: str
    amount: Dollars
    by: str
    why: str = ""


class ReserveWithdrawn(Event, frozen=True, kw_only=True):
    """Cash was taken out of it."""

    portfolio: str
    amount: Dollars
    by: str
    why: str = ""


class FillReported(PositionEvent, frozen=True, kw_only=True):
    """A person traded by hand and says so."""

    side: Side
    shares: Shares
    price: Price
    amount: Dollars
    by: str
    why: str = ""
    gain: Dollars | None = None


class DividendPaid(PositionEvent, frozen=True, kw_only=True):
    """The broker paid a dividend into the reserve; below zero: tax that was withheld of one."""

    amount: Dollars
    per_share: Price | None = None
    activity: str
    """The broker's id of it: it is booked once."""
    date: str


class FeeBooked(Event, frozen=True, kw_only=True):
    """The broker took a fee that belongs to no order; below zero: it gave one back."""

    portfolio: str
    symbol: str = ""
    amount: Dollars
    activity: str
    date: str
    why: str = ""


class SplitApplied(PositionEvent, frozen=True, kw_only=True):
    """The shares were split, and the broker's count has followed. What they cost is unchanged."""

    before: Shares
    shares: Shares
    new_rate: Decimal
    old_rate: Decimal
    activity: str
    date: str
    price: Price | None = None
    """The price from which the next jump is measured, in the new shares, where one is known."""
    complete: bool = True
    """Whether every position in the symbol now counts in the new shares."""


class SharesAdopted(PositionEvent, frozen=True, kw_only=True):
    """The broker's share count was taken over."""

    before: Shares
    shares: Shares
    cost: Dollars | None = None
    reason: str


# States


class AccountReconciled(Event, frozen=True, kw_only=True):
    """The broker's orders, shares and cash were compared with ours; orders may leave."""

    account: str
    cash: Dollars
    covered: bool
    """Whether the account's cash covers the reserves that rest on it."""


class AccountLost(Event, frozen=True, kw_only=True):
    """The broker cannot be heard; no order leaves until it is reconciled again."""

    account: str
    reason: str


class SessionsDisputed(Event, frozen=True, kw_only=True):
    """The broker's clock and the calendar do not agree on when the market is open; no signal until they do."""

    account: str
    reason: str
    hours: bool = False
    """Whether only the hours of shares are in dispute: the time is not, and crypto never closes."""


class SessionsAgreed(Event, frozen=True, kw_only=True):
    """The broker's clock and the calendar agree again."""

    account: str


class PositionHalted(PositionEvent, frozen=True, kw_only=True):
    """The position trades no more until a person resumes it."""

    reason: str
    by: str = "mrdaemon"


class TradingStateChanged(Event, frozen=True, kw_only=True):
    """Trading was halted, reduced or resumed: everywhere, in a portfolio, or in one position."""

    state: TradingState
    by: str
    why: str = ""
    portfolio: str | None = None
    symbol: str | None = None

    def concerns(self, position: PositionEvent) -> bool:
        """Tell whether what a fact is about lies in the scope."""
        return self.portfolio in {None, position.portfolio} and self.symbol in {None, position.symbol}


class SignalsPaused(Event, frozen=True, kw_only=True):
    """No new signals; orders live on. Everywhere, or for a symbol."""

    paused: bool
    by: str
    why: str = ""
    symbol: str | None = None


class BreakerTripped(Event, frozen=True, kw_only=True):
    """An account's circuit breaker tripped; the daemon halts."""

    account: str
    limit: str
    reason: str


class ReconciliationRequested(Event, frozen=True, kw_only=True):
    """A person wants an account compared with its broker now."""

    account: str
    by: str
    why: str = ""


class CommandRefused(Event, frozen=True, kw_only=True):
    """A person asked for something that cannot be done."""

    command: str
    by: str
    reason: str
    why: str = ""
    """Why the person asked."""
    asked: dict[str, str] = {}
    """What the command named: a portfolio, a symbol, an amount."""


class OrderStatus(StrEnum):
    """How far an order is, in the order in which it may move."""

    INTENDED = "intended"
    ACCEPTED = "accepted"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    ABANDONED = "abandoned"


def _leaves(cls: type[Event]) -> Iterable[type[Event]]:
    children = cls.__subclasses__()
    if cls not in {Event, PositionEvent, OrderEvent}:
        yield cls
    for child in children:
        yield from _leaves(child)


KINDS: Final[dict[str, type[Event]]] = {str(cls.__struct_config__.tag): cls for cls in _leaves(Event)}
"""Every kind of event by its name."""

_decoder: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(Union[tuple(KINDS.values())])  # noqa: UP007 - a union made at run time
_encoder: Final = msgspec.json.Encoder(decimal_format="string")


def encode(event: Event) -> bytes:
    """Write an event as one JSON object; money is a string."""
    return _encoder.encode(event)


def decode(body: bytes | str) -> Event:
    """Read an event.

    Raises:
        msgspec.ValidationError: not an event of this version.
    """
    return _decoder.decode(body)
