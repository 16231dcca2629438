"""The books that folds keep: shares and lots, the reserve, and what of an account's cash no reserve claims."""

from __future__ import annotations

from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.core.lots import Lot, sell
from mrdaemon.core.money import EXACT, NANO_SHARE, NO_DOLLARS, Dollars, Shares
from mrdaemon.core.state import Portfolio, Position, State


def drew(state: State, position: Position, amount: Dollars) -> None:
    """Count a purchase: the first of a position that began without shares apart."""
    if position.opening or position.buys or position.sells:
        flows(state, Dollars(-amount))
    else:
        position.first_buy = Dollars((position.first_buy or NO_DOLLARS) + amount)


def flows(state: State, amount: Dollars) -> None:
    """Count what came into all reserves by trades, and how deep they were ever drawn."""
    state.flow = Dollars(state.flow + amount)
    state.drawn = max(state.drawn, Dollars(-state.flow))


def bought(position: Position, portfolio: Portfolio, shares: Shares, amount: Dollars, at: Instant) -> None:
    """Take shares in as a lot, and their cost out of the reserve."""
    position.shares = Shares(position.shares + shares)
    position.lots = [*position.lots, Lot(shares, amount, at)]
    position.bought_since = Shares(position.bought_since + shares)
    portfolio.bought = Dollars(portfolio.bought + amount)
    move_reserve(portfolio, Dollars(-amount))


def sold(position: Position, portfolio: Portfolio, shares: Shares, amount: Dollars) -> None:
    """Take shares out of the oldest lots, and what they brought into the reserve."""
    position.shares = Shares(position.shares - shares)
    position.lots, gain = sell(position.lots, shares, amount)
    if gain is None:
        position.unknown_gains += 1
    else:
        position.realized = Dollars(position.realized + gain)
    portfolio.sold = Dollars(portfolio.sold + amount)
    move_reserve(portfolio, amount)


def move_reserve(portfolio: Portfolio, amount: Dollars) -> None:
    """Move a reserve, and remember how low it ever was."""
    portfolio.reserve = Dollars(portfolio.reserve + amount)
    if portfolio.lowest is None or portfolio.reserve < portfolio.lowest:
        portfolio.lowest = portfolio.reserve


def claim(state: State, portfolio: Portfolio, amount: Dollars) -> None:
    """Count cash that a reserve claims anew against what the account had to spare."""
    account = state.accounts[portfolio.rules.account]
    if account.spare is not None:
        account.spare = Dollars(account.spare - amount)
        account.covered = account.covered and account.spare >= 0


def in_new_shares(shares: Shares, event: ev.SplitApplied) -> Shares:
    """Count shares anew after a split."""
    scaled = EXACT.divide(EXACT.multiply(shares, event.new_rate), event.old_rate)
    return Shares(scaled.quantize(NANO_SHARE, context=EXACT))
