"""All that is known at one moment: accounts, portfolios, positions, symbols and orders. ``portfolio`` folds it."""

from __future__ import annotations

import msgspec

from mrdaemon.core import events as ev
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import Instant
from mrdaemon.core.lots import Lot
from mrdaemon.core.money import NO_DOLLARS, NO_SHARES, Dollars, Price, Shares
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


class Wait(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a side is not armed, and what arms it again besides the value's return."""

    guard: str
    until: Instant | None = None
    signalled: Dollars | None = None
    """The value at which a person was told; None for a side that a guard holds."""


class Pending(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signal that further prints must confirm."""

    side: Side
    agreed: int


class Approval(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signal that a person must approve, up to an amount."""

    number: int
    side: Side
    amount: Dollars
    expires: Instant


class Position(msgspec.Struct, omit_defaults=True):
    """One position: a symbol in a portfolio, its fixed target, its shares and what its two sides wait for."""

    portfolio: str
    symbol: str
    rules: PositionRules
    target: Dollars
    shares: Shares = NO_SHARES
    lots: list[Lot] = []
    realized: Dollars = NO_DOLLARS
    unknown_gains: int = 0
    """Sales whose gain is not known, because a lot's cost is not."""
    opened: bool = False
    opening: Shares = NO_SHARES
    """The shares it began with."""
    first_target: Dollars = NO_DOLLARS
    first_buy: Dollars | None = None
    """What the first buy of its target took; None where it began with shares, or has not bought yet."""
    by_hand: Shares = NO_SHARES
    """Shares that people reported as bought, less those they reported as sold."""
    paid_by_hand: Dollars = NO_DOLLARS
    """What those bought cost, less what those sold brought."""
    armed: bool = False
    """Whether an eligible print was seen since the position was opened or its target moved far."""
    suspect: bool = False
    """Whether that print lay so far out that a person must look before the first trade."""
    first_price: Price | None = None
    number: int = 0
    """Signals raised so far."""
    signalled_at: Instant | None = None
    waits: dict[Side, Wait] = {}
    pending: Pending | None = None
    approval: Approval | None = None
    order: str | None = None
    state: TradingState = TradingState.ACTIVE
    halted: str | None = None
    retired: bool = False
    bought_since: Shares = NO_SHARES
    """Shares that fills brought since the broker's count was last taken over."""
    buys: int = 0
    sells: int = 0
    since: Instant | None = None
    """When it was opened."""
    split_on: str = ""
    """The date of the last split that it followed."""

    @property
    def key(self) -> str:
        """Name it: ``portfolio/symbol``."""
        return f"{self.portfolio}/{self.symbol}"

    def about(self) -> ev.About:
        """Name it, as events do."""
        return {"portfolio": self.portfolio, "symbol": self.symbol}


class Portfolio(msgspec.Struct, omit_defaults=True):
    """Positions that share a reserve, and the reserve."""

    name: str
    rules: PortfolioRules
    reserve: Dollars = NO_DOLLARS
    reserved: Dollars = NO_DOLLARS
    """The part of the reserve that open orders may still take."""
    lowest: Dollars | None = None
    deposits: Dollars = NO_DOLLARS
    """Deposits less withdrawals."""
    bought: Dollars = NO_DOLLARS
    sold: Dollars = NO_DOLLARS
    fees: Dollars = NO_DOLLARS
    dividends: Dollars = NO_DOLLARS
    """Less the tax that was withheld of them."""
    state: TradingState = TradingState.ACTIVE
    day: str = ""
    orders: int = 0
    """Orders on that day."""
    notional: Dollars = NO_DOLLARS
    opened: bool = False

    @property
    def available(self) -> Dollars:
        """What an accumulation may take."""
        return Dollars(self.reserve - self.rules.floor - self.reserved)


class Account(msgspec.Struct, omit_defaults=True):
    """One broker login."""

    name: str
    rules: AccountRules
    ready: bool = False
    """Whether it is reconciled, so that orders may leave."""
    reconciled: Instant | None = None
    """When it last was."""
    lost: str | None = None
    """Why its broker cannot be heard; None while it can, and until that was tried since the start."""
    lost_at: Instant | None = None
    """Since when."""
    covered: bool = True
    cash: Dollars | None = None
    spare: Dollars | None = None
    """Cash that no reserve claims, as of the last reconciliation and what was deposited and withdrawn since."""
    assets: dict[str, Asset] = {}
    minute: int = 0
    orders_in_minute: int = 0
    day: str = ""
    orders: int = 0
    notional: Dollars = NO_DOLLARS
    rejects: int = 0
    """Orders refused in a row."""
    disputed: str | None = None
    """Why the broker's clock and the calendar do not agree on when the market is open."""
    disputed_hours: bool = False
    """Whether that is about the hours of shares only."""
    booked: dict[str, str] = {}
    """By the broker's id, the dates of the activities that were booked. They are remembered for ever."""
    activity_cursor: str = ""
    """The newest of these dates."""

    def dispute(self, symbol: str) -> str | None:
        """Give what is in dispute about when a symbol trades, or None: pairs always do."""
        return None if self.disputed_hours and "/" in symbol else self.disputed


class Symbol(msgspec.Struct, omit_defaults=True):
    """What is known of a symbol, whoever holds it."""

    reference: Price | None = None
    """The last accepted price that was recorded."""
    frozen: str | None = None
    halted: str | None = None
    paused: bool = False
    stale: Instant | None = None
    refused: dict[str, str] = {}
    """The day on which a refusal by each rule was last told."""
    positions: int = 0
    """How many are not retired."""
    since: Instant = Instant(0)
    """Since when there is any: the prices of a symbol that was just added are not stale yet."""

    def join(self, at: Instant) -> None:
        """Have one more position."""
        self.since = self.since if self.positions else at
        self.positions += 1

    def leave(self) -> None:
        """Have one position less."""
        self.positions -= 1


class Order(msgspec.Struct, omit_defaults=True):
    """One order and how far it is."""

    intent: ev.OrderIntended
    status: OrderStatus = OrderStatus.INTENDED
    broker_order: str = ""
    filled: Shares = NO_SHARES
    average: Price | None = None
    cash: Dollars = NO_DOLLARS
    fees: Dollars = NO_DOLLARS
    reserved: Dollars = NO_DOLLARS
    """What is left of its reservation."""
    ambiguous: bool = False
    canceling: bool = False
    ended: Instant | None = None

    def about(self) -> ev.AboutOrder:
        """Name it, as events do."""
        return {"portfolio": self.intent.portfolio, "symbol": self.intent.symbol, "order": self.intent.order}


class FeedStanding(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a live feed is, since when, and why where it says."""

    state: FeedState
    since: Instant
    reason: str = ""


class ChannelStanding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a channel takes alerts, since when, and why not."""

    state: ChannelState
    since: Instant
    reason: str = ""


class Reload(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the newest attempt ended to read the configuration anew."""

    at: Instant
    by: str
    reasons: tuple[str, ...] = ()
    """Why it was refused; empty where it was taken."""


class State(msgspec.Struct, omit_defaults=True):
    """All that is known, derived from the journal alone."""

    at: Instant = Instant(0)
    nonce: str = ""
    started: Instant = Instant(0)
    """When the daemon last took the journal."""
    prints: PrintRules = PrintRules()
    accounts: dict[str, Account] = {}
    portfolios: dict[str, Portfolio] = {}
    positions: dict[str, Position] = {}
    symbols: dict[str, Symbol] = {}
    orders: dict[str, Order] = {}
    unmatched: dict[str, str] = {}
    """Orders that no intent explains, or that differ from theirs, and why: each is told once."""
    trading: TradingState = TradingState.ACTIVE
    paused: bool = False
    signals: int = 0
    """Signals raised so far, of all positions."""
    held: int = 0
    """Signals that a guard held."""
    flow: Dollars = NO_DOLLARS
    """What trims paid into all reserves, less what accumulations and fees took; first buys of a target apart."""
    drawn: Dollars = NO_DOLLARS
    """The deepest that this flow ever was below zero."""
    feeds: dict[str, FeedStanding] = {}
    """By name, the live feeds of the daemon that runs."""
    channels: dict[str, ChannelStanding] = {}
    """By name, every channel that was ever tried."""
    reload: Reload | None = None
    """How reading the configuration anew ended last, of the daemon that runs: a start takes what is in the file."""
    recording: str = ""
    """The fingerprint of the recording that was read last."""
    recording_read: bool = False
    """Whether it was read to its end."""

    def position(self, event: ev.PositionEvent) -> Position:
        """Give the position that an event is about."""
        return self.positions[f"{event.portfolio}/{event.symbol}"]

    def symbol(self, name: str) -> Symbol:
        """Give a symbol's record, a fresh one where there was none."""
        return self.symbols.setdefault(name, Symbol())

    def account_of(self, position: Position) -> Account:
        """Give the account that a position trades in."""
        return self.accounts[self.portfolios[position.portfolio].rules.account]

    def asset_of(self, position: Position) -> Asset:
        """Give what is known of a position's asset; the usual US equity where nothing is."""
        return self.account_of(position).assets.get(position.symbol) or Asset(position.symbol)
