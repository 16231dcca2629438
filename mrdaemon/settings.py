"""The shape of a configuration: its tables, what may be said in each, and what holds where nothing is said."""

from __future__ import annotations

import difflib
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mrdaemon.core.money import Dollars
from mrdaemon.core.policy import REGULAR_CONDITIONS, Mode, OrderType, Short
from mrdaemon.values import (
    BarLength,
    Confirmations,
    Count,
    Flag,
    JumpOrOff,
    List,
    Money,
    Name,
    NoTrade,
    PartialRatio,
    PathName,
    PositiveMoney,
    PositiveSeconds,
    Quantity,
    Ratio,
    Restore,
    Seconds,
    SecondsOrOff,
    Speed,
    Step,
    Symbol,
    TimeZone,
    Widths,
    Words,
    Zone,
)

__all__ = [
    "AccountTable",
    "FeedTable",
    "PortfolioTable",
    "PositionSettings",
    "PositionTable",
    "PricesTable",
    "Settings",
    "Table",
    "UnknownValueError",
    "Widths",
    "entry_in",
    "nearest",
    "table_in",
]

ENV_PREFIX: Final = "MRDAEMON_"


class UnknownValueError(Exception):
    """A value was asked for that is wrong by itself: what depends on it cannot be judged yet."""


class Table(BaseModel):
    """A table of the configuration; a key it does not know is an error.

    One that was salvaged from a wrong configuration lacks the values that are wrong, and says so when asked for one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if name in type(self).model_fields:
                raise UnknownValueError(name)
            return super().__getattr__(name)


class FeedTable(Table):
    """Where prices come from."""

    kind: Literal["file", "alpaca"]
    files: Annotated[tuple[PathName, ...], List, Field(min_length=1)] = ()
    """Recorded prices, relative to the configuration's folder."""
    timezone: TimeZone | None = None
    """The zone of timestamps that have none."""
    bar: BarLength | None = None
    """The length of bars that are stamped with their start, such as ``1m``."""
    speed: Speed = "max"
    """``max``, or times real time: ``1x``, ``100x``."""
    stream: Literal["iex", "sip", "delayed_sip", "test"] = "iex"
    """Which of Alpaca's streams brings shares; pairs come from its stream of crypto."""
    account: Name | None = None
    """Whose keys are used; the only account at Alpaca where left out."""
    channels: Count | None = None
    """How many channels of trades and quotes the plan allows; 30 on ``iex`` where left out, as a free plan has."""


class PricesTable(Table):
    """Which prints count. What is left out is strict for a live feed, and off for recorded files."""

    max_age: Seconds = 30
    max_future: Seconds = 5
    max_skew: Seconds = 2
    confirm: Confirmations | None = None
    max_jump: JumpOrOff = None
    quote_age: Seconds = 60
    quote_tolerance: Ratio = Decimal("0.005")
    max_spread: Ratio = Decimal("0.02")
    stale_after: SecondsOrOff = None
    extended_hours: Flag = False
    regular_conditions: Words = REGULAR_CONDITIONS
    sessions: Literal["exchange", "always"] = "exchange"
    """``always``: take the market to be open at any time, as a local one may be."""


class AccountTable(Table):
    """One broker login, and the circuit breakers at the point where its orders leave."""

    broker: Literal["paper", "alpaca", "none"]
    key: Words | None = None
    """An account at Alpaca: its key id, best from a secrets directory."""
    secret: Words | None = None
    live: Flag = False
    """Whether it trades real money."""
    url: Words | None = None
    """Another address than Alpaca's own: a local one."""
    cash: Money | None = None
    """What a paper account opens with; the sum of its reserves where left out."""
    slippage: PartialRatio = Decimal(0)
    partial_fills: Ratio = Decimal(0)
    whole_shares: Annotated[tuple[Symbol, ...], List] = ()
    orders_per_minute: Count | None = None
    orders_per_day: Count | None = None
    notional_per_order: PositiveMoney | None = None
    notional_per_day: PositiveMoney | None = None
    consecutive_rejects: Count = 5


class PositionSettings(Table):
    """What a position may set for itself, and a portfolio for all of its positions."""

    zone: Zone | None = None
    restore: Restore | None = None
    min_step: Step | None = None
    mode: Mode | None = None
    min_order: Money | None = None
    max_order: PositiveMoney | None = None
    cooldown: Seconds | None = None
    on_short_reserve: Short | None = None
    approval_ttl: PositiveSeconds | None = None
    max_open: PositiveSeconds | None = None
    collar: PartialRatio | None = None
    order_type: OrderType | None = None
    no_trade: NoTrade | None = None


class PositionTable(PositionSettings):
    """One position."""

    target: PositiveMoney
    shares: Quantity | None = None
    """Shares held when the position is opened, used once."""
    cost: Money | None = None
    """What those shares cost in all; without it their gain is unknown."""
    initial: Literal["buy", "adopt"] | None = None
    """``buy``: buy the target at the first price. ``adopt``: begin with what the broker holds."""


class PortfolioTable(PositionSettings):
    """Positions that share a reserve."""

    account: Name
    reserve: Money
    """Cash for accumulations when the portfolio is opened, used once."""
    floor: Money = Dollars(Decimal("0.00"))
    max_orders_per_day: Count | None = None
    max_notional_per_day: PositiveMoney | None = None
    positions: Annotated[dict[Symbol, PositionTable], Field(min_length=1)]


class Settings(Table, BaseSettings):
    """A whole configuration."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=ENV_PREFIX)

    state_dir: PathName | None = None
    """Where journal and books are kept."""
    seed: Words | None = None
    """Makes a run repeatable: the names of orders and the paper broker's draws follow from it."""
    feed: FeedTable
    prices: PricesTable = PricesTable()
    accounts: Annotated[dict[Name, AccountTable], Field(min_length=1)]
    portfolios: Annotated[dict[Name, PortfolioTable], Field(min_length=1)]


def table_in(annotation: object) -> type[Table] | None:
    """Give the table that a setting is, or None where it is a value."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Table) else None


def entry_in(annotation: object) -> type[Table] | None:
    """Give the table that each entry of a setting is, where it is a table of tables with names of their own."""
    return table_in(get_args(annotation)[1]) if get_origin(annotation) is dict else None


def nearest(table: type[Table], key: str) -> str | None:
    """Give the key of a table that a misspelt one was probably meant to be."""
    return next(iter(difflib.get_close_matches(key, table.model_fields, n=1)), None)
