"""The shape of a configuration: its tables, what may be said in each, and what holds where nothing is said."""

from __future__ import annotations

import difflib
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.core.money import Dollars
from mrdaemon.core.policy import REGULAR_CONDITIONS, Mode, OrderType, Short
from mrdaemon.values import (
    BarLength,
    Confirmations,
    Count,
    Flag,
    HoursOfDay,
    JumpOrOff,
    List,
    Money,
    Name,
    NoTrade,
    PartialRatio,
    PathName,
    Port,
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
    Urls,
    Widths,
    Words,
    Zone,
)

__all__ = [
    "AccountTable",
    "AlertsTable",
    "AnswersTable",
    "ChannelTable",
    "FeedTable",
    "MqttTable",
    "PortfolioTable",
    "PositionSettings",
    "PositionTable",
    "PricesTable",
    "Settings",
    "Table",
    "UnknownValueError",
    "WebTable",
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

    kind: Literal["file", "alpaca", "mqtt"]
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

    topic: Words = "prices"
    """Of MQTT: the topic below which each symbol has its own, ``prices/QQQ``."""


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


class AlertsTable(Table):
    """What people are told, and how often, whichever way it goes out."""

    instance: Name = "mrdaemon"
    """What tells this daemon from others: in topics, in titles, in Home Assistant."""
    timezone: TimeZone = "America/New_York"
    """The zone of quiet hours."""
    digest: Flag = True
    """Whether a summary of the day goes out after the close."""
    remind: SecondsOrOff = 1800
    """How often a request for approval is repeated that nobody answered."""
    settle: Seconds = 60
    """How long a feed or broker that was reported back must stay away before its loss is told again."""
    reserve_low: Ratio = Decimal("0.05")
    """The part of a portfolio's targets under which its reserve is low."""


class MqttTable(Table):
    """The MQTT broker that a feed and channels use."""

    host: Words
    port: Port | None = None
    """8883 with TLS, 1883 without, where left out."""
    version: Literal["5", "3.1.1"] = "5"
    user: Words | None = None
    password: Words | None = None
    tls: Flag = False
    ca: PathName | None = None
    """Who may have signed the broker's certificate; the system's authorities where left out."""
    certificate: PathName | None = None
    """Ours, where the broker wants one."""
    key: PathName | None = None


class AnswersTable(Table):
    """How the answers of buttons and links come back."""

    listen: Words | None = None
    """Where the daemon itself takes them: ``127.0.0.1:8377``."""
    url: Words | None = None
    """The address of that as a phone sees it: ``https://home.example/mrdaemon``."""
    topic: Words | None = None
    """Or a private topic of an ntfy server, which needs no open port: ``https://ntfy.sh/<a long random name>``."""
    token: Words | None = None
    """That server's access token, where the topic is protected."""


class WebTable(Table):
    """The dashboard, and the API that it stands on."""

    listen: Words | None = None
    """Where it is served: ``127.0.0.1:8378``; nothing listens where left out."""
    certificate: PathName | None = None
    """For TLS."""
    key: PathName | None = None
    insecure: Flag = False
    """Whether it may be served without TLS to other machines as well."""
    hosts: Annotated[tuple[Words, ...], List] = ()
    """Further names that it is asked for by, such as that of a proxy before it."""


class ChannelTable(Table):
    """One way out."""

    kind: Literal["mqtt", "push"]
    level: Level | None = None
    """The least that is sent; ``info`` over MQTT, ``notice`` by push where left out."""
    topics: Annotated[tuple[Topic, ...], List, Field(min_length=1)] = tuple(Topic)
    quiet: HoursOfDay | None = None
    """When only what is critical is sent; the rest follows in one summary."""
    repeat: SecondsOrOff = None
    """The least time between two alerts of one kind about one symbol; off over MQTT, 5 min by push where left out."""
    group: Seconds | None = None
    """How long an alert waits for others to go with it in one message; 0 over MQTT, 5 s by push where left out."""
    urls: Annotated[tuple[Words, ...], Urls] = ()
    """Of push: addresses as apprise reads them, best from a secrets directory."""
    buttons: Flag = True
    """Of push: whether requests for approval carry buttons or links, where ``answers`` says how they come back."""
    timeout: PositiveSeconds = 30
    """How long one message may take."""
    commands: Annotated[tuple[Words, ...], List] = ()
    """Of MQTT: which commands it takes; none where left out."""
    homeassistant: Flag = False
    """Of MQTT: whether positions appear in Home Assistant by themselves."""
    discovery: Words = "homeassistant"
    """Of MQTT: the topic where Home Assistant looks."""
    every: PositiveSeconds = 5
    """Of MQTT: the least time between two figures of one position."""


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
    alerts: AlertsTable = AlertsTable()
    channels: dict[Name, ChannelTable] = {}
    mqtt: MqttTable | None = None
    answers: AnswersTable = AnswersTable()
    web: WebTable = WebTable()


def table_in(annotation: object) -> type[Table] | None:
    """Give the table that a setting is, or None where it is a value."""
    for kind in (annotation, *get_args(annotation)) if type(None) in get_args(annotation) else (annotation,):
        if isinstance(kind, type) and issubclass(kind, Table):
            return kind
    return None


def entry_in(annotation: object) -> type[Table] | None:
    """Give the table that each entry of a setting is, where it is a table of tables with names of their own."""
    return table_in(get_args(annotation)[1]) if get_origin(annotation) is dict else None


def nearest(table: type[Table], key: str) -> str | None:
    """Give the key of a table that a misspelt one was probably meant to be."""
    return next(iter(difflib.get_close_matches(key, table.model_fields, n=1)), None)
