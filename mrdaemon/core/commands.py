"""What a person may ask of the running daemon, and which facts follow. A command that cannot be done says why."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.core.lots import sell
from mrdaemon.core.money import Dollars, MoneyError, Price, Shares, show, show_shares, value
from mrdaemon.core.policy import Side, TradingState
from mrdaemon.core.state import Position, State
from mrdaemon.core.zone import Zone


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person's wish: who, and why."""

    by: str
    why: str = ""


class SetTradingState(Command, frozen=True, kw_only=True):
    """Halt, reduce or resume: everything, a portfolio, or one position."""

    state: TradingState
    portfolio: str | None = None
    symbol: str | None = None


class Pause(Command, frozen=True, kw_only=True):
    """Stop or go on raising signals: all of them, or a symbol's."""

    paused: bool
    symbol: str | None = None


class Thaw(Command, frozen=True, kw_only=True):
    """Trade a frozen symbol again, from its new price."""

    symbol: str


class Deposit(Command, frozen=True, kw_only=True):
    """Put cash of the account at a portfolio's disposal."""

    portfolio: str
    amount: Dollars


class Withdraw(Command, frozen=True, kw_only=True):
    """Take cash out of a portfolio's reserve."""

    portfolio: str
    amount: Dollars


class SetTarget(Command, frozen=True, kw_only=True):
    """Change a position's target."""

    portfolio: str
    symbol: str
    target: Dollars


class ReportFill(Command, frozen=True, kw_only=True):
    """Say what was traded by hand after an alert."""

    portfolio: str
    symbol: str
    side: Side
    shares: Shares
    price: Price


class Approve(Command, frozen=True, kw_only=True):
    """Answer a request for approval with yes."""

    portfolio: str
    symbol: str
    number: int


class Reject(Command, frozen=True, kw_only=True):
    """Answer a request for approval with no."""

    portfolio: str
    symbol: str
    number: int


def on_command(state: State, command: Command, now: Instant) -> Iterator[ev.Event]:
    """Give the facts that follow from a command; a ``CommandRefused`` where it cannot be done."""
    reason = _objection(state, command)
    if reason is not None:
        yield ev.CommandRefused(at=now, command=type(command).__name__, by=command.by, reason=reason)
        return
    who = {"by": command.by, "why": command.why}
    match command:
        case SetTradingState(state=wanted, portfolio=portfolio, symbol=symbol):
            yield ev.TradingStateChanged(at=now, state=wanted, portfolio=portfolio, symbol=symbol, **who)
        case Pause(paused=paused, symbol=symbol):
            yield ev.SignalsPaused(at=now, paused=paused, symbol=symbol, **who)
        case Thaw(symbol=symbol):
            yield ev.SymbolThawed(at=now, symbol=symbol, **who)
        case Deposit(portfolio=portfolio, amount=amount):
            yield ev.ReserveDeposited(at=now, portfolio=portfolio, amount=amount, **who)
        case Withdraw(portfolio=portfolio, amount=amount):
            yield ev.ReserveWithdrawn(at=now, portfolio=portfolio, amount=amount, **who)
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
        case SetTradingState(portfolio=None, symbol=str(symbol)):
            return f"a position is named by its portfolio too: which portfolio's {symbol}?"
        case Deposit(amount=amount) | Withdraw(amount=amount) if amount <= 0:
            return f"an amount must be above zero, got {show(amount)}"
        case Withdraw(amount=amount) if amount > (free := state.portfolios[command.portfolio].available):
            return f"{show(free)} can be withdrawn above floor and reservations, got {show(amount)}"
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


def _target_objection(state: State, command: SetTarget) -> str | None:
    rules = state.positions[f"{command.portfolio}/{command.symbol}"].rules
    try:
        Zone.of(msgspec.structs.replace(rules, target=command.target))
    except MoneyError as error:
        return str(error)
    return None


def _fill_objection(state: State, command: ReportFill) -> str | None:
    position = state.positions[f"{command.portfolio}/{command.symbol}"]
    if command.shares <= 0 or command.price <= 0:
        return f"shares and price must be above zero, got {command.shares} at {command.price}"
    if command.side is Side.TRIM and command.shares > position.shares:
        return f"{show_shares(position.shares)} shares are held, got a sale of {show_shares(command.shares)}"
    if position.order is not None:
        return f"order {position.order} is in flight; report again once it has ended"
    cost, free = value(command.shares, command.price), state.portfolios[command.portfolio].available
    if command.side is Side.ACCUMULATE and cost > free:
        return f"the reserve has {show(free)} above floor and reservations, got {show(cost)}; deposit the rest first"
    return None


def approval_objection(state: State, command: Approve) -> str | None:
    """Say why an approval cannot be given, or None."""
    return _objection(state, command)
