"""Which facts follow from a person's command. One that cannot be done is a fact as well, and says why."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TypedDict

import msgspec

from mrdaemon.core import events as ev
from mrdaemon.core.commands import (
    Approve,
    Command,
    Deposit,
    Pause,
    Reconcile,
    Reject,
    ReportFill,
    Resume,
    SetTarget,
    SetTradingState,
    Thaw,
    Withdraw,
)
from mrdaemon.core.instant import Instant
from mrdaemon.core.lots import sell
from mrdaemon.core.money import LARGEST, Dollars, MoneyError, show, show_shares, value
from mrdaemon.core.policy import Side, TradingState
from mrdaemon.core.state import Position, State
from mrdaemon.core.zone import Zone


def on_command(state: State, command: Command, now: Instant) -> Iterator[ev.Event]:
    """Give the facts that follow from a command; a ``CommandRefused`` where it cannot be done."""
    reason = _objection(state, command)
    if reason is not None:
        yield refused(command, reason, now)
        return
    who = _who(command)
    match command:
        case SetTradingState(state=wanted, portfolio=portfolio, symbol=symbol):
            for scope in _scopes(state, portfolio, symbol):
                yield ev.TradingStateChanged(at=now, state=wanted, **scope, **who)
        case Resume():
            yield from _lifted(state, command, now)
        case Pause(paused=paused, symbol=symbol):
            yield ev.SignalsPaused(at=now, paused=paused, symbol=symbol, **who)
        case Thaw(symbol=symbol):
            yield ev.SymbolThawed(at=now, symbol=symbol, **who)
        case Reconcile(account=account):
            yield ev.ReconciliationRequested(at=now, account=account, **who)
        case Deposit(portfolio=portfolio, amount=amount) | Withdraw(portfolio=portfolio, amount=amount):
            kind = ev.ReserveDeposited if isinstance(command, Deposit) else ev.ReserveWithdrawn
            yield kind(at=now, portfolio=portfolio, amount=amount, **who)
        case SetTarget(portfolio=portfolio, symbol=symbol, target=target):
            position = state.positions[f"{portfolio}/{symbol}"]
            before = position.target
            yield from close_approval(position, "the target changed", now)
            yield ev.TargetChanged(at=now, portfolio=portfolio, symbol=symbol, before=before, target=target, **who)
        case ReportFill(portfolio=portfolio, symbol=symbol):
            yield from close_approval(state.positions[f"{portfolio}/{symbol}"], "a fill was reported", now)
            yield _reported(state, command, now)
        case Reject(portfolio=portfolio, symbol=symbol, number=number):
            yield ev.ApprovalClosed(at=now, portfolio=portfolio, symbol=symbol, number=number, cause="rejected", **who)
        case _:
            message = f"no rule for the command {command!r}"
            raise TypeError(message)


class _Who(TypedDict):
    by: str
    why: str


def _who(command: Command) -> _Who:
    return {"by": command.by, "why": command.why}


def refused(command: Command, reason: str, now: Instant) -> ev.CommandRefused:
    """Put a command that cannot be done on the record: who asked for what, why, and why not."""
    asked = msgspec.structs.asdict(command)
    for name in ("by", "why"):
        del asked[name]
    named = {
        name: f"{each:f}" if isinstance(each, Decimal) else str(each)
        for name, each in asked.items()
        if each is not None
    }
    return ev.CommandRefused(at=now, command=type(command).__name__, reason=reason, asked=named, **_who(command))


class _Scope(TypedDict):
    portfolio: str | None
    symbol: str | None


def _scopes(state: State, portfolio: str | None, symbol: str | None) -> Iterator[_Scope]:
    """Name what a command is about, as events do: a symbol means every position in it."""
    if symbol is None:
        yield {"portfolio": portfolio, "symbol": None}
        return
    for position in _positions_in(state, portfolio, symbol):
        yield {"portfolio": position.portfolio, "symbol": symbol}


def _positions_in(state: State, portfolio: str | None, symbol: str | None) -> list[Position]:
    return [
        each
        for each in state.positions.values()
        if portfolio in {None, each.portfolio} and symbol in {None, each.symbol}
    ]


def _lifted(state: State, command: Resume, now: Instant) -> Iterator[ev.Event]:
    portfolio, symbol, who = command.portfolio, command.symbol, _who(command)
    active = TradingState.ACTIVE
    if symbol is not None:
        if portfolio is None and state.symbol(symbol).paused:
            yield ev.SignalsPaused(at=now, paused=False, symbol=symbol, **who)
        for position in _positions_in(state, portfolio, symbol):
            if position.state is not active or position.halted is not None:
                yield ev.TradingStateChanged(at=now, state=active, portfolio=position.portfolio, symbol=symbol, **who)
        if portfolio is None and state.symbol(symbol).frozen is not None:
            yield ev.SymbolThawed(at=now, symbol=symbol, **who)
    elif portfolio is not None:
        yield ev.TradingStateChanged(at=now, state=active, portfolio=portfolio, **who)
    else:
        if state.paused:
            yield ev.SignalsPaused(at=now, paused=False, **who)
        if state.trading is not active:
            yield ev.TradingStateChanged(at=now, state=active, **who)


def _resume_objection(state: State, command: Resume) -> str | None:
    """Say that there is nothing to lift in the scope of a command, and what there is elsewhere; or None."""
    portfolio, symbol = command.portfolio, command.symbol
    if symbol is not None:
        if next(_lifted(state, command, state.at), None) is not None:
            return None
        wide = state.symbol(symbol)
        if portfolio is not None and (wide.paused or wide.frozen is not None):
            what = "frozen" if wide.frozen is not None else "paused"
            return f"{symbol} is {what} for every portfolio; resume it without naming one"
        return f"{symbol} is neither halted, paused nor frozen"
    if portfolio is not None:
        stopped = state.portfolios[portfolio].state is not TradingState.ACTIVE
        return None if stopped else f"trading in portfolio {portfolio} is ACTIVE already"
    stopped = state.paused or state.trading is not TradingState.ACTIVE
    return None if stopped else "trading is ACTIVE already, and signals are not paused"


def close_approval(position: Position, cause: str, now: Instant) -> Iterator[ev.Event]:
    """End a position's request for approval, where there is one, because what was asked is no longer the question."""
    if position.approval is not None:
        yield ev.ApprovalClosed(at=now, **position.about(), number=position.approval.number, cause=cause)


def _reported(state: State, command: ReportFill, now: Instant) -> ev.FillReported:
    amount = value(command.shares, command.price)
    gain: Dollars | None = None
    if command.side is Side.TRIM:
        _, gain = sell(state.positions[f"{command.portfolio}/{command.symbol}"].lots, command.shares, amount)
    return ev.FillReported(
        at=now,
        portfolio=command.portfolio,
        symbol=command.symbol,
        side=command.side,
        shares=command.shares,
        price=command.price,
        amount=amount,
        gain=gain,
        by=command.by,
        why=command.why,
    )


def _nobody(state: State, command: Command) -> str | None:
    """Say that what a command names does not exist, or None."""
    portfolio, symbol = getattr(command, "portfolio", None), getattr(command, "symbol", None)
    account = getattr(command, "account", None)
    if account is not None and account not in state.accounts:
        return f"there is no account {account!r}; there are: {', '.join(state.accounts) or 'none'}"
    if portfolio is not None and portfolio not in state.portfolios:
        return f"there is no portfolio {portfolio!r}; there are: {', '.join(state.portfolios) or 'none'}"
    if portfolio is not None and symbol is not None and f"{portfolio}/{symbol}" not in state.positions:
        return f"portfolio {portfolio!r} has no position in {symbol!r}"
    if symbol is not None and all(position.symbol != symbol for position in state.positions.values()):
        return f"there is no position in {symbol!r}"
    return None


def _objection(state: State, command: Command) -> str | None:
    if (nobody := _nobody(state, command)) is not None:
        return nobody
    match command:
        case Resume():
            return _resume_objection(state, command)
        case Pause():
            return _pause_objection(state, command)
        case Reconcile(account=account) if state.accounts[account].rules.broker == "none":
            return f"account {account} has no broker: there is nothing to compare with"
        case Deposit() | Withdraw():
            return _cash_objection(state, command)
        case SetTarget():
            return _target_objection(state, command)
        case ReportFill():
            return _fill_objection(state, command)
        case Thaw() if state.symbols[command.symbol].frozen is None:
            return f"{command.symbol} is not frozen"
        case Approve() | Reject():
            approval = state.positions[f"{command.portfolio}/{command.symbol}"].approval
            if approval is None or approval.number != command.number:
                return f"{command.portfolio}/{command.symbol} has no open request number {command.number}"
    return None


def _pause_objection(state: State, command: Pause) -> str | None:
    """Say that signals are paused already, or None.

    A halt may be repeated: each also takes back a resume that is still to come, and cancels what lives after all.
    """
    symbol = command.symbol
    paused = state.paused if symbol is None else state.symbols[symbol].paused
    of = "" if symbol is None else f" of {symbol}"
    return f"signals{of} are paused already" if paused and command.paused else None


def _cash_objection(state: State, command: Deposit | Withdraw) -> str | None:
    free, amount = state.portfolios[command.portfolio].available, command.amount
    if amount <= 0:
        return f"an amount must be above zero, got {show(amount)}"
    if isinstance(command, Withdraw) and amount > free:
        return f"{show(free)} can be withdrawn above floor and reservations, got {show(amount)}"
    return None


def _target_objection(state: State, command: SetTarget) -> str | None:
    rules = state.positions[f"{command.portfolio}/{command.symbol}"].rules
    try:
        Zone.of(msgspec.structs.replace(rules, target=command.target))
    except MoneyError as error:
        return str(error)
    return None


def _fill_objection(state: State, command: ReportFill) -> str | None:
    position = state.positions[f"{command.portfolio}/{command.symbol}"]
    if not position.opened:
        return "its shares are not known yet: the broker has to say them first; report what you trade after that"
    if command.shares <= 0 or command.price <= 0:
        return f"shares and price must be above zero, got {show_shares(command.shares)} at {command.price:f}"
    if command.side is Side.TRIM and command.shares > position.shares:
        return f"{show_shares(position.shares)} shares are held, got a sale of {show_shares(command.shares)}"
    if position.order is not None:
        return f"order {position.order} is in flight; report again once it has ended"
    cost, free = value(command.shares, command.price), state.portfolios[command.portfolio].available
    if cost > LARGEST:
        return f"{show(cost)} are more than anything is believed to be worth"
    if command.side is Side.ACCUMULATE and cost > free:
        return f"the reserve has {show(free)} above floor and reservations, got {show(cost)}; deposit the rest first"
    return None


def approval_objection(state: State, command: Approve) -> str | None:
    """Say why an approval cannot be given, or None."""
    return _objection(state, command)
