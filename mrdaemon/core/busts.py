"""What follows when an exchange takes back a trade: at the tape, or one of our own executions."""

from __future__ import annotations

from collections.abc import Iterator

from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import Price, value
from mrdaemon.core.prints import Print, Trade
from mrdaemon.core.state import State


def is_trade(seen: Print | None, trade: int) -> bool:
    """Tell whether a print is the trade of an id; id 0 is none."""
    return seen is not None and isinstance(seen[4], Trade) and seen[4].id == trade != 0


def on_print_busted(state: State, busted: ev.PrintBusted, last: Price | None, now: Instant) -> Iterator[ev.Event]:
    """Give the facts that follow: no signal of the symbol is confirmed any more, for it may rest on that trade.

    ``last`` is the symbol's last price before.
    """
    yield busted
    for position in state.positions.values():
        if position.symbol != busted.symbol or position.pending is None:
            continue
        price = busted.corrected or last or state.symbol(busted.symbol).reference or position.first_price
        if price is not None:
            yield ev.SignalDropped(
                at=now,
                **position.about(),
                side=position.pending.side,
                price=price,
                value=value(position.shares, price),
                cause=f"trade {busted.trade} was {'taken back' if busted.corrected is None else 'corrected'}",
            )


def on_execution_busted(state: State, order: str, reason: str, now: Instant) -> Iterator[ev.Event]:
    """Halt the position of an order of which an execution was taken back or corrected: its shares are in doubt.

    Nothing follows for an order that nobody remembers, or whose position is halted already.
    """
    known = state.orders.get(order)
    if known is None:
        return
    position = state.position(known.intent)
    if position.halted is None:
        why = f"an execution of order {order} was taken back or corrected: {reason}"
        yield ev.PositionHalted(at=now, **position.about(), reason=why)
