"""What a configuration changes: the difference between the file and what the journal last knew of it.

Opening entries (shares, reserve) are used once. Any other value takes effect only when the file's value differs from
the file's last journaled value, so that a restart neither undoes a person's command nor deposits the reserve twice.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from mrdaemon.core import events as ev
from mrdaemon.core.acts import close_approval
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import NO_SHARES, Dollars, MoneyError
from mrdaemon.core.policy import Plan, PortfolioPlan, PositionPlan
from mrdaemon.core.state import Position, State
from mrdaemon.core.zone import Zone


class PlanError(ValueError):
    """A configuration that does not fit what the journal knows."""


def differences(state: State, plan: Plan, now: Instant) -> Iterator[ev.Event]:
    """Give the facts that bring the journal up to the configuration; none where nothing changed.

    Raises:
        PlanError: a zone does not fit the target that is in force, or a position would change its account.
    """
    if plan.prints != state.prints:
        yield ev.PrintsConfigured(at=now, rules=plan.prints)
    for name, rules in plan.accounts.items():
        known = state.accounts.get(name)
        if known is None or known.rules != rules:
            yield ev.AccountConfigured(at=now, account=name, rules=rules)
    configured = {f"{each.portfolio}/{each.symbol}" for portfolio in plan.portfolios for each in portfolio.positions}
    strays = [each for key, each in state.positions.items() if key not in configured]
    for portfolio in plan.portfolios:
        _check_symbols(state, portfolio, strays)
        yield from _portfolio(state, portfolio, now)
    for key, position in state.positions.items():
        if key not in configured and not position.retired:
            yield from close_approval(position, "the position left the configuration", now)
            yield ev.PositionRetired(at=now, portfolio=position.portfolio, symbol=position.symbol)


def _portfolio(state: State, plan: PortfolioPlan, now: Instant) -> Iterator[ev.Event]:
    known = state.portfolios.get(plan.name)
    if known is None or known.rules != plan.rules:
        _check_account(state, plan)
        yield ev.PortfolioConfigured(at=now, portfolio=plan.name, rules=plan.rules)
    if known is None or not known.opened:
        yield ev.ReserveDeposited(
            at=now, portfolio=plan.name, amount=plan.reserve, by="configuration", why="opening reserve"
        )
    for position in plan.positions:
        yield from _position(state.positions.get(f"{plan.name}/{position.symbol}"), position, now)


def _check_symbols(state: State, plan: PortfolioPlan, strays: list[Position]) -> None:
    """Refuse that a portfolio takes over shares which the journal knows as another's that left: a renamed one."""
    wanted = {position.symbol for position in plan.positions}
    for held in strays:
        theirs = state.portfolios[held.portfolio]
        if theirs.rules.account != plan.rules.account or held.symbol not in wanted:
            continue
        if held.shares or held.order is not None:
            message = (
                f"portfolio {plan.name} cannot have {held.symbol}: the journal knows its shares as portfolio "
                f"{theirs.name}'s, where it left the configuration; keep it there, or name another state directory"
            )
            raise PlanError(message)


def _check_account(state: State, plan: PortfolioPlan) -> None:
    """Refuse that an opened portfolio moves: its reserve, its shares and its past are the old account's."""
    known = state.portfolios.get(plan.name)
    if known is None or not known.opened or known.rules.account == plan.rules.account:
        return
    message = (
        f"portfolio {plan.name} rests on account {known.rules.account}, with its reserve and its shares; it cannot "
        f"move to {plan.rules.account}: give one there another name"
    )
    raise PlanError(message)


def _position(known: Position | None, plan: PositionPlan, now: Instant) -> Iterator[ev.Event]:
    about: ev.About = {"portfolio": plan.portfolio, "symbol": plan.symbol}
    if known is None:
        yield ev.PositionConfigured(at=now, **about, rules=plan.rules)
    elif known.rules != plan.rules or known.retired:
        retarget = known.rules.target != plan.rules.target
        _check_zone(known, plan, plan.rules.target if retarget else known.target)
        if retarget or known.rules.mode is not plan.rules.mode:
            yield from close_approval(known, "the configuration changed", now)
        yield ev.PositionConfigured(at=now, **about, rules=plan.rules, retarget=retarget)
    opened = known is not None and known.opened
    if not opened and (plan.shares is not None or plan.rules.initial):
        yield ev.PositionOpened(at=now, **about, shares=plan.shares or NO_SHARES, cost=plan.cost)


def _check_zone(known: Position, plan: PositionPlan, target: Dollars) -> None:
    try:
        Zone.of(msgspec.structs.replace(plan.rules, target=target))
    except MoneyError as error:
        message = f"{known.key}: the target in force is ${target}, and with it: {error}"
        raise PlanError(message) from error


def unopened(state: State, account: str) -> list[Position]:
    """Give an account's positions whose shares the broker has yet to tell."""
    return [
        position
        for position in state.positions.values()
        if not position.opened
        and not position.retired
        and state.portfolios[position.portfolio].rules.account == account
    ]
