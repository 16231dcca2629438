"""What a broker books of its own accord: dividends, fees and splits, each once, by the broker's id for it.

A split is believed only once the broker's own count of shares has followed it. An unchanged count is what a split looks
like that the broker has not booked yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from mrdaemon.core import events as ev
from mrdaemon.core.acts import close_approval
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import EXACT, NANO_SHARE, Dollars, Price, Shares
from mrdaemon.core.state import Position, State

LOOK_BACK: Final = timedelta(days=31)
"""How long before what is known to ask again: an activity may come late, a split wait for its count."""
_NEW_YORK: Final = ZoneInfo("America/New_York")
BROKER: Final = "broker"
"""Who thaws a symbol after a split."""


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a broker booked: its id there, and the date in New York."""

    id: str
    date: str
    symbol: str


class Dividend(Activity, frozen=True, kw_only=True):
    """Cash paid for shares; below zero: tax that was withheld of it."""

    amount: Dollars
    per_share: Price | None = None


class Fee(Activity, frozen=True, kw_only=True):
    """Cash that the broker took; below zero: that it gave back. Without a symbol it is for the whole account."""

    symbol: str = ""
    amount: Dollars
    why: str = ""


class Split(Activity, frozen=True, kw_only=True):
    """``new_rate`` shares for every ``old_rate``."""

    new_rate: Decimal
    old_rate: Decimal


def ask_from(state: State, account: str) -> str | None:
    """Give the date from which on to ask a broker for activities; None where nothing was opened yet.

    All that was there at the last comparison was seen then, whether any of it was booked or not. Asking twice does no
    harm: what is booked already is left alone.
    """
    opened = [_day(each) for each in state.positions.values() if each.since is not None and _in(state, each, account)]
    if not opened:
        return None
    known = state.accounts[account]
    seen = [] if known.reconciled is None else [_new_york(known.reconciled)]
    with suppress(ValueError):
        seen.append(date.fromisoformat(known.activity_cursor[:10]))
    return max(min(opened), (max(seen) - LOOK_BACK).isoformat()) if seen else min(opened)


def on_activity(
    state: State, account: str, activity: Activity, holdings: Mapping[str, Shares], now: Instant
) -> Iterator[ev.Event]:
    """Give the facts that an activity adds; none for one that is booked, concerns no portfolio, or is not yet true.

    Args:
        state: what is known.
        account: whose activity it is.
        activity: what the broker says.
        holdings: the broker's count of shares by symbol, asked for after the activity.
        now: when it is booked here.
    """
    if activity.id in state.accounts[account].booked:
        return
    position = _position(state, account, activity.symbol)
    match activity:
        case Dividend(amount=amount) if position is not None and amount and _is_later(activity, position):
            yield ev.DividendPaid(
                at=now,
                **position.about(),
                amount=amount,
                per_share=activity.per_share,
                activity=activity.id,
                date=activity.date,
            )
        case Fee(amount=amount) if amount and (portfolio := _payer(state, account, activity)) is not None:
            yield ev.FeeBooked(
                at=now,
                portfolio=portfolio,
                symbol=activity.symbol,
                amount=amount,
                activity=activity.id,
                date=activity.date,
                why=activity.why,
            )
        case Split() if position is not None and activity.date >= _day(position):
            yield from _split(state, position, activity, holdings, now)
        case _:
            return


def _in(state: State, position: Position, account: str) -> bool:
    return state.portfolios[position.portfolio].rules.account == account


def _position(state: State, account: str, symbol: str) -> Position | None:
    """Find the position that a symbol is in an account, also one that left the configuration: its shares remain."""
    held = (each for each in state.positions.values() if each.symbol == symbol and _in(state, each, account))
    return max((each for each in held if each.since is not None), key=lambda each: not each.retired, default=None)


def _day(position: Position) -> str:
    """Give the date in New York on which a position was opened."""
    return _new_york(position.since or Instant(0)).isoformat()


def _new_york(at: Instant) -> date:
    return datetime.fromtimestamp(at // SECOND, _NEW_YORK).date()


def _is_later(activity: Dividend, position: Position) -> bool:
    """Tell whether a dividend came after the position was opened: what came before is in its opening reserve."""
    return activity.date > _day(position)


def _payer(state: State, account: str, fee: Fee) -> str | None:
    """Name the portfolio that a fee belongs to; None where that cannot be told: it then leaves unclaimed cash."""
    if fee.symbol:
        position = _position(state, account, fee.symbol)
        return position.portfolio if position is not None and fee.date >= _day(position) else None
    positions = [each for each in state.positions.values() if each.since is not None and _in(state, each, account)]
    portfolios = {each.portfolio for each in positions}
    later = any(fee.date >= _day(each) for each in positions)
    return portfolios.pop() if len(portfolios) == 1 and later else None


def _split(
    state: State, position: Position, split: Split, holdings: Mapping[str, Shares], now: Instant
) -> Iterator[ev.Event]:
    """Follow a split once the broker's count has; let the symbol trade again once every position in it has followed."""
    theirs = holdings.get(split.symbol)
    if theirs is None or position.order is not None or not _follows(state, position, split, theirs):
        return
    symbol, complete = state.symbol(split.symbol), not _behind(state, position, split)
    price = None
    if complete and symbol.reference is not None:
        price = Price(EXACT.divide(EXACT.multiply(symbol.reference, split.old_rate), split.new_rate))
    why = f"the split {split.new_rate:f} for {split.old_rate:f}, with the share count"
    yield from close_approval(position, "its shares were split", now)
    if complete and symbol.frozen is not None:
        yield ev.SymbolThawed(at=now, symbol=split.symbol, by=BROKER, why=why)
    yield ev.SplitApplied(
        at=now,
        **position.about(),
        before=position.shares,
        shares=theirs,
        new_rate=split.new_rate,
        old_rate=split.old_rate,
        activity=split.id,
        date=split.date,
        price=price,
        complete=complete,
    )


def _follows(state: State, position: Position, split: Split, theirs: Shares) -> bool:
    """Tell whether the broker's count is ours after the split, to the asset's step; one that is unchanged never is."""
    if split.new_rate <= 0 or split.old_rate <= 0 or not position.shares or theirs == position.shares:
        return False
    asset = state.asset_of(position)
    expected = EXACT.divide(EXACT.multiply(position.shares, split.new_rate), split.old_rate)
    short = EXACT.subtract(expected, theirs)
    if not asset.fractionable:  # A fraction of a share is paid out.
        return 0 <= short < 1
    return abs(short) <= max(NANO_SHARE, asset.increment)


def _behind(state: State, position: Position, split: Split) -> bool:
    """Tell whether another position still counts in the old shares: at the new price it would look like a crash."""
    return any(
        each.symbol == split.symbol
        and each is not position
        and each.shares
        and not each.retired
        and each.split_on != split.date
        for each in state.positions.values()
    )
