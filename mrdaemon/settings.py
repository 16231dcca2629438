"""The shape of a configuration: what may be said in it, and what each value must look like."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from mrdaemon.core.money import Dollars, Shares, parse_dollars, parse_ratio, parse_shares
from mrdaemon.core.policy import REGULAR_CONDITIONS, Mode, Short

ENV_PREFIX: Final = "MRDAEMON_"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d{1,9})\s*([smhd])", re.ASCII)
_RESTORE: Final = {"target": Decimal(1), "half": Decimal("0.5"), "edge": Decimal(0)}


class Widths(NamedTuple):
    """A zone's two widths as written."""

    below: str
    above: str


def _quoted(parse: Callable[[str], Decimal], example: str) -> Callable[[object], Decimal]:
    def read(given: object) -> Decimal:
        if isinstance(given, Decimal):
            return given
        if not isinstance(given, str):
            message = f'wanted a quoted string such as "{example}", so that no digit is lost'
            raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueErrors
        return parse(given)

    return read


def _not_negative(amount: Decimal) -> Decimal:
    if amount < 0:
        message = "wanted zero or more"
        raise ValueError(message)
    return amount


def _positive(amount: Decimal) -> Decimal:
    if amount <= 0:
        message = "wanted more than zero"
        raise ValueError(message)
    return amount


def _widths(given: object) -> Widths:
    if isinstance(given, Widths):
        return given
    if isinstance(given, str):
        return Widths(given, given)
    if isinstance(given, dict) and set(given) == {"below", "above"} and all(isinstance(v, str) for v in given.values()):
        return Widths(given["below"], given["above"])
    message = 'wanted a width such as "3%", "300bps" or "$150", or { below = "3%", above = "5%" }'
    raise ValueError(message)


def _restore(given: object) -> Decimal:
    if isinstance(given, Decimal):
        return given
    if isinstance(given, str):
        ratio = _RESTORE.get(given)
        if ratio is None:
            ratio = parse_ratio(given)
        if 0 <= ratio <= 1:
            return ratio
    message = 'wanted "target", "half", "edge", or a quoted number from "0" to "1"'
    raise ValueError(message)


def _seconds(given: object) -> int:
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    if isinstance(given, str) and (matched := _DURATION.fullmatch(given.strip())):
        return int(matched[1]) * _UNITS[matched[2]]
    message = 'wanted a duration such as "30s", "5m", "4h" or "1d"'
    raise ValueError(message)


def _seconds_or_off(given: object) -> int | None:
    return None if given == "off" or given is None else _seconds(given)


def _ratio_or_off(given: object) -> Decimal | None:
    return None if given == "off" or given is None else _positive(_quoted(parse_ratio, "20%")(given))


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        message = 'wanted the name of a time zone such as "America/New_York" or "UTC"'
        raise ValueError(message) from error
    return name


Money = Annotated[Dollars, BeforeValidator(_quoted(parse_dollars, "5000")), AfterValidator(_not_negative)]
PositiveMoney = Annotated[Dollars, BeforeValidator(_quoted(parse_dollars, "5000")), AfterValidator(_positive)]
Quantity = Annotated[Shares, BeforeValidator(_quoted(parse_shares, "50"))]
Ratio = Annotated[Decimal, BeforeValidator(_quoted(parse_ratio, "0.5%")), AfterValidator(_not_negative)]
RatioOrOff = Annotated[Decimal | None, BeforeValidator(_ratio_or_off)]
Seconds = Annotated[int, BeforeValidator(_seconds)]
SecondsOrOff = Annotated[int | None, BeforeValidator(_seconds_or_off)]
Zone = Annotated[Widths, BeforeValidator(_widths)]
Restore = Annotated[Decimal, BeforeValidator(_restore)]
Count = Annotated[int, Field(ge=1, strict=True)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9.\-]{0,14}(/[A-Z0-9]{2,8})?$")]


class Table(BaseModel):
    """A table of the configuration; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FeedTable(Table):
    """Where prices come from."""

    kind: Literal["file"]
    files: Annotated[tuple[Path, ...], Field(min_length=1)]
    """Recorded prices, relative to the configuration's folder."""
    timezone: Annotated[str, AfterValidator(_known_zone)] | None = None
    """The zone of timestamps that have none."""
    bar: str | None = None
    """The length of intraday bars, such as ``1m``."""
    speed: str = "max"
    """``max``, or times real time: ``1x``, ``100x``."""


class PricesTable(Table):
    """Which prints count. What is left out is strict for a live feed, and off for recorded files."""

    max_age: Seconds = 30
    max_future: Seconds = 5
    max_skew: Seconds = 2
    confirm: Annotated[int, Field(ge=0, le=100, strict=True)] | None = None
    max_jump: RatioOrOff = None
    quote_age: Seconds = 60
    quote_tolerance: Ratio = Decimal("0.005")
    max_spread: Ratio = Decimal("0.02")
    stale_after: SecondsOrOff = None
    extended_hours: bool = False
    regular_conditions: str = REGULAR_CONDITIONS


class AccountTable(Table):
    """One broker login, and the circuit breakers at the point where its orders leave."""

    broker: Literal["paper", "none"]
    cash: Money | None = None
    """What a paper account opens with; the sum of its reserves where left out."""
    slippage: Ratio = Decimal(0)
    partial_fills: Ratio = Decimal(0)
    whole_shares: tuple[Symbol, ...] = ()
    orders_per_minute: Count | None = None
    orders_per_day: Count | None = None
    notional_per_order: PositiveMoney | None = None
    notional_per_day: PositiveMoney | None = None
    consecutive_rejects: Count | None = 5


class PositionSettings(Table):
    """What a position may set for itself, and a portfolio for all of its positions."""

    zone: Zone | None = None
    restore: Restore | None = None
    min_step: str | None = None
    mode: Mode | None = None
    min_order: Money | None = None
    max_order: PositiveMoney | None = None
    cooldown: Seconds | None = None
    on_short_reserve: Short | None = None
    approval_ttl: Seconds | None = None
    max_open: Seconds | None = None
    collar: Ratio | None = None


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


class Settings(BaseSettings):
    """A whole configuration."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=ENV_PREFIX)

    state_dir: Path | None = None
    """Where journal and books are kept."""
    seed: str | None = None
    """Makes a run repeatable: the names of orders and the paper broker's draws follow from it."""
    feed: FeedTable
    prices: PricesTable = PricesTable()
    accounts: Annotated[dict[Name, AccountTable], Field(min_length=1)]
    portfolios: Annotated[dict[Name, PortfolioTable], Field(min_length=1)]
