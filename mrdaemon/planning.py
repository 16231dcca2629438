"""What a configuration must fulfil as a whole, once each value is right by itself; and the plan it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from mrdaemon.core.money import Dollars, MoneyError, show
from mrdaemon.core.policy import (
    AccountRules,
    Mode,
    Plan,
    PortfolioPlan,
    PortfolioRules,
    PositionPlan,
    PositionRules,
    PrintRules,
)
from mrdaemon.core.zone import Zone
from mrdaemon.feeds.file import parse_bar, parse_speed
from mrdaemon.settings import AccountTable, PortfolioTable, PositionSettings, PositionTable, Settings, Widths

USUAL_ZONE = Widths("3%", "3%")


class Finding(NamedTuple):
    """A problem: the path of the setting, what is wrong, and what was got (None: nothing)."""

    where: tuple[str, ...]
    what: str
    got: Any


def checks(settings: Settings, folder: Path) -> Iterator[Finding]:
    """Give every problem that shows only when values are seen together. Files are relative to ``folder``."""
    yield from _feed(settings, folder)
    yield from _symbols(settings)
    for name, account in settings.accounts.items():
        yield from _account(settings, name, account)
    for name, portfolio in settings.portfolios.items():
        yield from _portfolio(settings, name, portfolio)


def _feed(settings: Settings, folder: Path) -> Iterator[Finding]:
    feed = settings.feed
    for number, file in enumerate(feed.files):
        if not (folder / file).is_file():
            yield Finding(("feed", "files", str(number)), "there is no such file", str(file))
    for key, text, parse in (("speed", feed.speed, parse_speed), ("bar", feed.bar, parse_bar)):
        try:
            if text is not None:
                parse(text)
        except ValueError as error:
            yield Finding(("feed", key), without_got(str(error)), text)


def without_got(message: str) -> str:
    """Leave out what a message says it got, where that is told beside it."""
    return message.rsplit(", got ", 1)[0]


def _symbols(settings: Settings) -> Iterator[Finding]:
    owners: dict[tuple[str, str], str] = {}
    for name, portfolio in settings.portfolios.items():
        for symbol in portfolio.positions:
            owner = owners.setdefault((portfolio.account, symbol), name)
            if owner != name:
                what = f"portfolio {owner!r} has it already; in one account a symbol belongs to one portfolio"
                yield Finding(("portfolios", name, "positions", symbol), what, symbol)


def _account(settings: Settings, name: str, account: AccountTable) -> Iterator[Finding]:
    reserves = sum((each.reserve for each in settings.portfolios.values() if each.account == name), Decimal(0))
    if account.cash is not None and account.cash < reserves:
        what = f"its portfolios' reserves are {show(reserves)} together; the account must hold at least that"
        yield Finding(("accounts", name, "cash"), what, str(account.cash))
    if account.partial_fills > 1:
        yield Finding(("accounts", name, "partial_fills"), "wanted at most 100%", str(account.partial_fills))


def _portfolio(settings: Settings, name: str, portfolio: PortfolioTable) -> Iterator[Finding]:
    here = ("portfolios", name)
    account = settings.accounts.get(portfolio.account)
    if account is None:
        known = ", ".join(settings.accounts) or "none"
        yield Finding((*here, "account"), f"there is no such account; there are: {known}", portfolio.account)
    if portfolio.floor > portfolio.reserve:
        what = f"it is above the reserve of {show(portfolio.reserve)}"
        yield Finding((*here, "floor"), what, str(portfolio.floor))
    buys = sum((each.target for each in portfolio.positions.values() if each.initial == "buy"), Decimal(0))
    if buys > portfolio.reserve - portfolio.floor:
        what = f"the initial buys cost {show(buys)}, more than the reserve above its floor"
        yield Finding((*here, "reserve"), what, str(portfolio.reserve))
    for symbol, position in portfolio.positions.items():
        for finding in _position(portfolio, position, account):
            yield Finding((*here, "positions", symbol, *finding.where), finding.what, finding.got)


def _position(portfolio: PortfolioTable, position: PositionTable, account: AccountTable | None) -> Iterator[Finding]:
    rules = position_rules(portfolio, position)
    try:
        Zone.of(rules)
    except MoneyError as error:
        yield Finding(("zone",), without_got(str(error)), f"{rules.below} below, {rules.above} above")
    if rules.max_order is not None and rules.max_order < rules.min_order:
        yield Finding(("max_order",), f"it is below min_order {show(rules.min_order)}", str(rules.max_order))
    if position.initial is not None and position.shares:
        what = f'a position with shares needs no initial = "{position.initial}"'
        yield Finding(("initial",), what, position.initial)
    if position.initial == "buy" and rules.max_order is not None and position.target > rules.max_order:
        what = f"the initial buy of {show(position.target)} is above max_order"
        yield Finding(("max_order",), what, str(rules.max_order))
    if account is not None and account.broker == "none":
        if rules.mode is not Mode.ALERT:
            yield Finding(("mode",), "an account without a broker can only alert", rules.mode.value)
        if position.shares is None and position.initial != "buy":
            yield Finding(("shares",), "without a broker, say how many shares you hold", None)


def position_rules(portfolio: PortfolioTable, position: PositionTable) -> PositionRules:
    """Give a position's rules: its own settings, else its portfolio's, else the usual ones."""
    chosen: dict[str, Any] = {}
    for key in PositionSettings.model_fields:
        own = getattr(position, key)
        setting = getattr(portfolio, key) if own is None else own
        if setting is not None:
            chosen[key] = setting
    zone: Widths = chosen.pop("zone", USUAL_ZONE)
    return PositionRules(
        target=position.target, below=zone.below, above=zone.above, initial=position.initial == "buy", **chosen
    )


def print_rules(settings: Settings) -> PrintRules:
    """Give the rules for prints. A recording is believed unless told otherwise: no confirmation, no jump limit."""
    table = settings.prices
    return PrintRules(
        max_age=table.max_age,
        max_future=table.max_future,
        max_skew=table.max_skew,
        confirm=0 if table.confirm is None else table.confirm,
        max_jump=table.max_jump,
        quote_age=table.quote_age,
        quote_tolerance=table.quote_tolerance,
        max_spread=table.max_spread,
        stale_after=table.stale_after,
        extended_hours=table.extended_hours,
        regular=table.regular_conditions,
    )


def plan(settings: Settings) -> Plan:
    """Give what the configuration means to the method."""
    accounts = {
        name: AccountRules(
            broker=table.broker,
            orders_per_minute=table.orders_per_minute,
            orders_per_day=table.orders_per_day,
            notional_per_order=table.notional_per_order,
            notional_per_day=table.notional_per_day,
            consecutive_rejects=table.consecutive_rejects,
        )
        for name, table in settings.accounts.items()
    }
    portfolios = tuple(_portfolio_plan(name, table) for name, table in settings.portfolios.items())
    return Plan(print_rules(settings), accounts, portfolios)


def _portfolio_plan(name: str, table: PortfolioTable) -> PortfolioPlan:
    rules = PortfolioRules(
        account=table.account,
        floor=Dollars(table.floor),
        max_orders_per_day=table.max_orders_per_day,
        max_notional_per_day=table.max_notional_per_day,
    )
    positions = tuple(
        PositionPlan(name, symbol, position_rules(table, position), position.shares, position.cost)
        for symbol, position in table.positions.items()
    )
    return PortfolioPlan(name, rules, table.reserve, positions)
