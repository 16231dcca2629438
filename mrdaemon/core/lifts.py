"""Which guards an event may have given another mind, and how that is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mrdaemon.core import events as ev
from mrdaemon.core.guards import Guard
from mrdaemon.core.policy import Side, TradingState

_BY_KIND: Final[dict[type[ev.Event], tuple[tuple[Guard, str], ...]]] = {
    ev.ReserveDeposited: ((Guard.RESERVE, "the reserve was credited"),),
    ev.SymbolThawed: ((Guard.FROZEN, "the symbol thawed"),),
    ev.TradingResumed: ((Guard.EXCHANGE, "the exchange lifted its halt"),),
    ev.SessionsAgreed: ((Guard.CLOCK, "the broker's clock and the calendar agree again"),),
    ev.AssetKnown: ((Guard.ASSET, "the asset changed"), (Guard.MINIMUM, "the asset changed")),
    ev.PortfolioConfigured: tuple(
        (guard, "the configuration changed") for guard in (Guard.RESERVE, Guard.ORDERS, Guard.NOTIONAL)
    ),
}
"""For events that do so whatever they say."""


def lifts(event: ev.Event) -> Iterator[tuple[Guard, str]]:
    """Give the guards whose condition an event may have changed, and how that is told."""
    yield from _BY_KIND.get(type(event), ())
    match event:
        case ev.OrderFilled(side=Side.TRIM) | ev.FillReported(side=Side.TRIM):
            yield Guard.RESERVE, "the reserve was credited"
        case ev.DividendPaid(amount=amount) if amount > 0:
            yield Guard.RESERVE, "the reserve was credited"
        case ev.OrderEnded(released=released) if released:
            yield Guard.RESERVE, "a reservation was released"
        case ev.TradingStateChanged(state=TradingState.ACTIVE | TradingState.REDUCING):
            yield Guard.STATE, "the trading state changed"
            yield Guard.HALTED, "the trading state changed"
        case ev.SignalsPaused(paused=False):
            yield Guard.PAUSED, "the pause ended"
        case ev.AccountReconciled(covered=covered):
            yield Guard.ACCOUNT, "the account was reconciled"
            if covered:
                yield Guard.COVER, "the account's cash covers its reserves"
        case _:
            return
