"""The plan that a configuration stands for: its settings, as the method takes them."""

from __future__ import annotations

from typing import Any, Final

from mrdaemon.core.money import Dollars
from mrdaemon.core.policy import (
    AccountRules,
    Plan,
    PortfolioPlan,
    PortfolioRules,
    PositionPlan,
    PositionRules,
    PrintRules,
)
from mrdaemon.settings import PortfolioTable, PositionSettings, PositionTable, Settings, Widths
from mrdaemon.values import Margins

USUAL_ZONE: Final = Widths("3%", "3%")
NO_MARGINS: Final = Margins(0, 0)


def position_rules(portfolio: PortfolioTable, position: PositionTable) -> PositionRules:
    """Give a position's rules: its own settings, else its portfolio's, else the usual ones."""
    chosen: dict[str, Any] = {}
    for key in PositionSettings.model_fields:
        own = getattr(position, key)
        setting = getattr(portfolio, key) if own is None else own
        if setting is not None:
            chosen[key] = setting
    zone: Widths = chosen.pop("zone", USUAL_ZONE)
    margins: Margins = chosen.pop("no_trade", NO_MARGINS)
    return PositionRules(
        target=position.target,
        below=zone.below,
        above=zone.above,
        initial=position.initial == "buy",
        no_trade_open=margins.open,
        no_trade_close=margins.close,
        **chosen,
    )


def print_rules(settings: Settings) -> PrintRules:
    """Give the rules for prints. A recording is believed unless told otherwise: no confirmation, no jump limit."""
    table, live = settings.prices, settings.feed.kind != "file"
    usual = PrintRules() if live else PrintRules(confirm=0, max_jump=None, stale_after=None)
    said = table.model_fields_set
    return PrintRules(
        max_age=table.max_age,
        max_future=table.max_future,
        max_skew=table.max_skew,
        confirm=usual.confirm if table.confirm is None else table.confirm,
        max_jump=table.max_jump if "max_jump" in said else usual.max_jump,
        quote_age=table.quote_age,
        quote_tolerance=table.quote_tolerance,
        max_spread=table.max_spread,
        stale_after=table.stale_after if "stale_after" in said else usual.stale_after,
        extended_hours=table.extended_hours,
        always_open=table.sessions == "always",
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
