"""What a person should know besides what a command changed: whether it came to nothing, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from mrdaemon.core import events as ev
from mrdaemon.core.guards import trading_state
from mrdaemon.core.policy import FeedState, TradingState
from mrdaemon.core.state import Order, Position, State
from mrdaemon.sentences import sentence

UP: Final = frozenset({FeedState.SUBSCRIBED, FeedState.LIVE})


BOOKED: Final = (
    ev.SplitApplied,
    ev.DividendPaid,
    ev.FeeBooked,
    ev.SharesAdopted,
    ev.SymbolFrozen,
    ev.SymbolThawed,
    ev.SessionsAgreed,
)
"""What a comparison with a broker brings about on its way."""


def failures(name: str, state: State, events: Sequence[ev.Event]) -> Iterator[str]:
    """Say why what was asked for did not happen."""
    granted = any(isinstance(event, ev.ApprovalGranted) for event in events)
    for event in events:
        match event:
            case ev.CommandRefused(reason=reason):
                yield reason
            case ev.ConfigurationRefused(reasons=reasons):
                yield f"the configuration cannot be taken, and nothing was changed: {'; '.join(reasons)}"
            case ev.ApprovalClosed(cause=cause) if name == "approve" and not granted:
                yield f"nothing was sent: {cause}"
            case ev.AccountLost(account=account, reason=reason) if name == "reconcile":
                yield f"the broker of account {account} cannot be heard: {reason}"
            case ev.PositionHalted(reason=reason) if name == "reconcile":
                yield f"{event.symbol} is halted: {reason}"
            case ev.AccountReconciled(account=account) if name == "reconcile":
                yield from _different(state, account)
            case _:
                pass


def notes(state: State, events: Sequence[ev.Event]) -> list[str]:
    """Give what follows from events of a command, as far as it is known now."""
    found: list[str] = []
    compared = {each.account for each in events if isinstance(each, ev.AccountReconciled | ev.AccountLost)}
    for event in events:
        match event:
            case ev.TradingStateChanged(state=TradingState.HALTED):
                found += _still_open(state, event)
            case ev.TradingStateChanged(state=TradingState.ACTIVE) | ev.SignalsPaused(paused=False) | ev.SymbolThawed():
                found += _still_stopped(state)
            case ev.ReserveDeposited() | ev.ReserveWithdrawn():
                found += _uncovered(state, event.portfolio)
            case ev.ReconciliationRequested(account=account) if account in compared:
                found += [*_different(state, account), *_in_the_way(state, account)]
            case ev.ReconciliationRequested(account=account):
                found.append(f"{account} is compared once an order is through; mrdaemon events shows what comes of it.")
            case _:
                pass
    return list(dict.fromkeys(found))


def _still_open(state: State, halt: ev.TradingStateChanged) -> Iterator[str]:
    """Say which orders are not through yet: they may still fill."""
    for order in state.orders.values():
        if order.ended is None and halt.concerns(order.intent):
            yield f"Order {order.intent.order} is {_how(order)}; what it fills still counts."


def _how(order: Order) -> str:
    return "ambiguous and looked up" if order.ambiguous else "being cancelled" if order.canceling else "still open"


def _still_stopped(state: State) -> Iterator[str]:
    """Say what still keeps positions from trading after something was resumed."""
    if state.trading is not TradingState.ACTIVE:
        yield f"Trading is still {state.trading}: resume it."
    if state.paused:
        yield "Signals are still paused: resume them."
    for portfolio in state.portfolios.values():
        if portfolio.state is not TradingState.ACTIVE:
            yield f"Trading in {portfolio.name} is still {portfolio.state}: resume --portfolio {portfolio.name}."
    for position in state.positions.values():
        symbol = state.symbol(position.symbol)
        if position.retired:
            continue
        if position.halted is not None:
            yield f"{position.key} is still halted ({position.halted}): {_resume(position)}."
        elif position.state is not TradingState.ACTIVE and trading_state(state, position) is position.state:
            yield f"{position.key} is still {position.state}: {_resume(position)}."
        if symbol.frozen is not None:
            yield f"{position.symbol} is still frozen ({symbol.frozen}): resume {position.symbol}."
        elif symbol.paused:
            yield f"Signals of {position.symbol} are still paused: resume {position.symbol}."


def _resume(position: Position) -> str:
    return f"resume {position.symbol} --portfolio {position.portfolio}"


def _different(state: State, account: str) -> Iterator[str]:
    """Say which positions stay halted after a comparison: their shares may differ still."""
    for position in state.positions.values():
        if position.halted is not None and not position.retired and state.account_of(position).name == account:
            yield (
                f"{position.key} is halted ({position.halted}): mrdaemon fill books what differs, then "
                f"{_resume(position)}"
            )


def _in_the_way(state: State, account: str) -> Iterator[str]:
    """Say what else keeps an account from trading that was compared: its clock, frozen symbols, and streams."""
    if (dispute := state.accounts[account].disputed) is not None:
        yield f"Account {account}: when the market is open is in dispute, so signals are held: {dispute}."
    mine = {each.symbol for each in state.positions.values() if state.account_of(each).name == account}
    for symbol in sorted(mine):
        if (frozen := state.symbol(symbol).frozen) is not None:
            yield f"{symbol} is still frozen ({frozen}): resume {symbol}."
    for name, feed in state.feeds.items():
        if feed.state not in UP:
            end = "; it is not tried again by itself" if feed.state is FeedState.REFUSED else ""
            yield f"Feed {name} is {feed.state}{f' ({feed.reason})' if feed.reason else ''}{end}."


def booked(events: Iterable[ev.Event]) -> list[str]:
    """Say what a comparison brought about on its way, of all that happened meanwhile."""
    return [sentence(each) for each in events if isinstance(each, BOOKED)]


def _uncovered(state: State, portfolio: str) -> Iterator[str]:
    account = state.accounts[state.portfolios[portfolio].rules.account]
    if not account.covered:
        yield f"The cash of account {account.name} does not cover its reserves: accumulations are held until it does."
