"""The rules that a configuration sets: for prints, for accounts, for portfolios and for positions.

They are journaled as they are written, so that a journal explains its decisions without the file they came from.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from mrdaemon.core.money import NANO_SHARE, NO_SHARES, Dollars, Price, Shares


class Mode(StrEnum):
    """What a signal leads to."""

    ALERT = "alert"
    """Tell me: the shares change only when a person reports a fill."""
    APPROVE = "approve"
    """Ask me: an order is sent once a person approves."""
    AUTO = "auto"
    """Trade."""


class Side(StrEnum):
    """Which edge of the zone, and so which trade."""

    ACCUMULATE = "accumulate"
    TRIM = "trim"


class OrderType(StrEnum):
    """How an order is sent in regular hours; outside of them every order has a limit."""

    MARKET = "market"
    """At market where the asset trades in fractions; whole shares are bought with a limit."""
    LIMIT = "limit"
    """With a marketable limit, within the collar."""


class Short(StrEnum):
    """What an accumulation does when the reserve does not cover it."""

    PARTIAL = "partial"
    """Spend what there is."""
    SKIP = "skip"
    """Hold the signal until the reserve covers all of it."""


class TradingState(StrEnum):
    """Whether signals may become orders; the strictest of daemon, portfolio and position counts."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class FeedState(StrEnum):
    """How far a live feed is, in the order in which it gets there; or what it lacks."""

    CONNECTING = "connecting"
    AUTHENTICATED = "authenticated"
    SUBSCRIBED = "subscribed"
    LIVE = "live"
    """Prices arrive."""
    STALE = "stale"
    """It is subscribed, but prices do not arrive although a market is open."""
    REFUSED = "refused"
    """The other side does not take it: a person must see to it."""


class ChannelState(StrEnum):
    """Whether alerts get out over a channel."""

    UP = "up"
    DOWN = "down"
    """The other side is away; it is tried again until it takes what waits."""
    REFUSED = "refused"
    """The other side does not take us: a person must see to it."""


REGULAR_CONDITIONS: Final = "@ FEIXO56"
"""Sale conditions of a regular sale, one character each: regular, intermarket sweep, automatic execution, odd lot,
cross, opening, reopening and closing auction prints (CTA and UTP specifications, as Alpaca passes them on)."""
EXTENDED_CONDITIONS: Final = "T"
"""Sale conditions that are regular where extended hours are allowed (form T)."""


class PrintRules(msgspec.Struct, frozen=True, tag=True):
    """Which prints count. Times are seconds; ratios are 0.01 for one percent."""

    max_age: int = 30
    """A print older than this when it arrives does not count."""
    max_future: int = 5
    """Nor does one further in the future."""
    max_skew: int = 2
    """A clock that is off by more than this holds every print of the symbol."""
    confirm: int = 1
    """Further eligible prints that must agree before a signal is raised."""
    max_jump: Decimal | None = Decimal("0.20")
    """A larger move from the last accepted price freezes the symbol. None: any move is believed."""
    quote_age: int = 60
    """A quote older than this says nothing about a trade."""
    quote_tolerance: Decimal = Decimal("0.005")
    """How far outside its quote a trade may lie, as a ratio of the bid or the ask."""
    max_spread: Decimal = Decimal("0.02")
    """A quote wider than this, as a ratio of its midpoint, holds the print."""
    stale_after: int | None = 300
    """No print for so long while the session is open: the price is unknown. None: a recording cannot go stale."""
    extended_hours: bool = False
    always_open: bool = False
    """Whether the market is taken to be open at any time."""
    regular: str = REGULAR_CONDITIONS
    """The conditions of a regular sale, one character each; whatever is not listed does not count."""


class AccountRules(msgspec.Struct, frozen=True, tag=True):
    """One broker login, and the circuit breakers at the point where its orders leave. None: no limit."""

    broker: str = "paper"
    """``paper`` or ``none`` (no orders: alerts only)."""
    orders_per_minute: int | None = None
    orders_per_day: int | None = None
    notional_per_order: Dollars | None = None
    notional_per_day: Dollars | None = None
    consecutive_rejects: int | None = 5


class PortfolioRules(msgspec.Struct, frozen=True, tag=True):
    """Positions that share a reserve. None: no limit."""

    account: str
    floor: Dollars
    """The reserve never goes below it."""
    max_orders_per_day: int | None = None
    max_notional_per_day: Dollars | None = None


class PositionRules(msgspec.Struct, frozen=True, tag=True):
    """One position's zone and limits. Times are seconds."""

    target: Dollars
    below: str
    """Width of the zone below the target, as written: ``3%``, ``300bps`` or ``$150``."""
    above: str
    restore: Decimal = Decimal(1)
    """How far back: 1 to the target, 0 to the edge, 0.5 halfway between."""
    min_step: str = "20%"
    """The least amount worth a signal: a ratio of that side's width, or dollars."""
    mode: Mode = Mode.ALERT
    initial: bool = False
    """Whether a position without shares buys its target."""
    min_order: Dollars = Dollars(Decimal("1.00"))
    max_order: Dollars | None = None
    cooldown: int = 0
    """No signal for so long after the last one."""
    on_short_reserve: Short = Short.PARTIAL
    approval_ttl: int = 4 * 3600
    max_open: int = 300
    """An order that is still open after so long is cancelled."""
    collar: Decimal = Decimal("0.005")
    """How far beyond the price a marketable limit may reach."""
    order_type: OrderType = OrderType.MARKET
    no_trade_open: int = 0
    """No signal for so long after the market opens; 0 in a market that never closes."""
    no_trade_close: int = 0
    """Nor for so long before it closes."""


class Asset(msgspec.Struct, frozen=True, tag=True):
    """What the broker says of a symbol."""

    symbol: str
    fractionable: bool = True
    tradable: bool = True
    increment: Shares = NANO_SHARE
    """The smallest quantity step of a sale."""
    min_notional: Dollars = Dollars(Decimal("1.00"))
    min_quantity: Shares = NO_SHARES
    """The least quantity of an order."""
    price_increment: Price | None = None
    """The step of a limit price; None: whole cents, and below a dollar ten-thousandths."""
    fee: Decimal = Decimal(0)
    """The part of what a purchase credits that the broker keeps, in shares: of crypto 0.0025, say."""
    extended_fractions: bool = True
    """Whether fractions of it trade outside of regular hours, too."""
    why: str = ""
    """Why it is not tradable, where the broker says."""


class PositionPlan(msgspec.Struct, frozen=True):
    """One position as configured: its rules, and the entries that open it once."""

    portfolio: str
    symbol: str
    rules: PositionRules
    shares: Shares | None = None
    """Shares held when the position is opened; None: the broker says (or none yet)."""
    cost: Dollars | None = None
    """What those shares cost in all; None: unknown, and so will be their gain."""


class PortfolioPlan(msgspec.Struct, frozen=True):
    """One portfolio as configured, with the reserve that opens it once."""

    name: str
    rules: PortfolioRules
    reserve: Dollars
    positions: tuple[PositionPlan, ...]


class Plan(msgspec.Struct, frozen=True):
    """A whole configuration, as far as the method is concerned."""

    prints: PrintRules
    accounts: dict[str, AccountRules]
    portfolios: tuple[PortfolioPlan, ...]
