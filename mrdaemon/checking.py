"""What ``check`` tells beyond errors: what a configuration is, and what it would change in its journal."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec

from mrdaemon import atalpaca, atanswers, atchannels, atconnection, atweb, chain
from mrdaemon.config import Config
from mrdaemon.core import events as ev
from mrdaemon.core.configure import PlanError, differences
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import show
from mrdaemon.core.state import State
from mrdaemon.findings import ConfigError, line, shown
from mrdaemon.places import JOURNAL
from mrdaemon.planning import plan
from mrdaemon.sentences import sentence


def changes(config: Config, directory: Path) -> list[str]:
    """Say what starting with this configuration would change in the journal; nothing where there is none.

    Raises:
        JournalError: there is a journal, and it cannot be read.
        ConfigError: the configuration does not fit it.
    """
    journal = directory / JOURNAL
    if not journal.exists():
        return []
    state = chain.current(journal).state
    try:
        return [told(state, event) for event in differences(state, plan(config.settings), Instant(state.at))]
    except PlanError as error:
        what, _, got = str(error).partition(", got ")
        problem = line(str(config.path), "the journal", what, got or shown(str(journal)))
        raise ConfigError([problem]) from error


def notes(config: Config) -> list[str]:
    """Say what a person should know of a configuration that is right."""
    settings, folder = config.settings, config.path.resolve().parent
    return [
        *atalpaca.notes(settings),
        *atchannels.notes(settings),
        *atconnection.notes(settings, folder),
        *atanswers.notes(settings),
        *atweb.notes(settings, folder),
    ]


def told(state: State, event: ev.Event) -> str:
    """Say what an event would change: for rules that are known already, each that differs."""
    match event:
        case ev.PrintsConfigured(rules=rules):
            return _changed("Prints", state.prints, rules)
        case ev.AccountConfigured(account=name, rules=rules) if name in state.accounts:
            return _changed(f"Account {name}", state.accounts[name].rules, rules)
        case ev.PortfolioConfigured(portfolio=name, rules=rules) if name in state.portfolios:
            return _changed(f"Portfolio {name}", state.portfolios[name].rules, rules)
        case ev.PositionConfigured(rules=rules) if f"{event.portfolio}/{event.symbol}" in state.positions:
            return _changed(event.symbol, state.position(event).rules, rules)
        case _:
            return sentence(event)


def _changed(what: str, before: msgspec.Struct, after: msgspec.Struct) -> str:
    pairs = [(name, getattr(before, name), getattr(after, name)) for name in after.__struct_fields__]
    news = [f"{name} {_worded(old)} becomes {_worded(new)}" for name, old, new in pairs if old != new]
    return f"{what}: {', '.join(news) or 'watched again'}."


def _worded(value: object) -> str:
    return "none" if value is None else str(value)


def in_words(config: Config) -> str:
    """Say in a line what a configuration holds."""
    portfolios = config.settings.portfolios
    positions = sum(len(each.positions) for each in portfolios.values())
    targets = sum((one.target for each in portfolios.values() for one in each.positions.values()), Decimal(0))
    reserves = sum((each.reserve for each in portfolios.values()), Decimal(0))
    return (
        f"{config.path}: good. {len(portfolios)} portfolio{'s' * (len(portfolios) != 1)}, "
        f"{positions} position{'s' * (positions != 1)}, targets {show(targets)}, reserves {show(reserves)}."
    )
