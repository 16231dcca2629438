"""Words for money and shares that no order moved: deposits, dividends, fees, splits, trades by hand, counts adopted."""

from __future__ import annotations

from typing import Final

from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.alerts.saying import (
    Register,
    Saying,
    at_price,
    bought,
    by_whom,
    facts,
    holds,
    key_of,
    plain,
    position_facts,
)
from mrdaemon.core import events as ev
from mrdaemon.core.money import show, show_shares
from mrdaemon.core.policy import Side
from mrdaemon.core.state import State

says: Final = Register()


def _reserve_is(state: State, portfolio: str) -> str:
    return f"the reserve of {portfolio} is {show(state.portfolios[portfolio].reserve)} now"


@says(ev.ReserveDeposited)
def deposited(state: State, event: ev.ReserveDeposited) -> Saying:
    """Say who put money into a reserve."""
    return _moved(state, event, "reserve_deposited", "put into")


@says(ev.ReserveWithdrawn)
def withdrawn(state: State, event: ev.ReserveWithdrawn) -> Saying:
    """Say who took money out of a reserve."""
    return _moved(state, event, "reserve_withdrawn", "taken from")


def _moved(state: State, event: ev.ReserveDeposited | ev.ReserveWithdrawn, kind: str, did: str) -> Saying:
    reserve = state.portfolios[event.portfolio].reserve
    return Saying(
        level=Level.INFO,
        topic=Topic.RESERVE,
        kind=kind,
        subject=f"portfolio {event.portfolio}",
        title=f"{event.portfolio}: {show(event.amount)} {did} the reserve",
        text=(
            f"{show(event.amount)} were {did} the reserve of {event.portfolio} {by_whom(event)}; "
            f"{_reserve_is(state, event.portfolio)}."
        ),
        portfolio=event.portfolio,
        facts=facts(amount=event.amount, reserve=f"{reserve:f}", by=event.by, why=event.why),
    )


@says(ev.FillReported)
def reported(state: State, event: ev.FillReported) -> Saying:
    """Say what a person traded by hand, and where that leaves the position."""
    did = f"{bought(event.side)} {show_shares(event.shares)} {event.symbol}"
    gain = ""
    if event.gain is not None and event.side is Side.TRIM:
        gain = f", a {'loss' if event.gain < 0 else 'gain'} of {show(abs(event.gain))}"
    position = state.position(event)
    return Saying(
        level=Level.INFO,
        topic=Topic.ORDER,
        kind="fill_reported",
        subject=key_of(event),
        title=f"{event.symbol}: traded by hand",
        text=(
            f"{event.by or 'Somebody'} {did} by hand at {at_price(event.price)} for {show(event.amount)}{gain}"
            f"{f' ({plain(event.why)})' if event.why else ''}; {holds(position, event.price)}, and "
            f"{_reserve_is(state, event.portfolio)}."
        ),
        portfolio=event.portfolio,
        symbol=event.symbol,
        facts=position_facts(state, position, event.price)
        | facts(side=event.side.value, filled=event.shares, amount=event.amount, gain=event.gain, by=event.by),
    )


@says(ev.DividendPaid)
def dividend(state: State, event: ev.DividendPaid) -> Saying:
    """Say what was paid into a reserve, or withheld of it."""
    each = "" if event.per_share is None else f", {at_price(event.per_share)} a share"
    paid = event.amount >= 0
    what = f"{show(abs(event.amount))} of {'dividends' if paid else 'tax on dividends'}"
    did = "were paid into its reserve" if paid else "were withheld"
    return Saying(
        level=Level.INFO,
        topic=Topic.RESERVE,
        kind="dividend_paid",
        subject=key_of(event),
        title=f"{event.symbol}: {what}",
        text=f"{what} of {event.symbol} in {event.portfolio} {did}{each}; {_reserve_is(state, event.portfolio)}.",
        portfolio=event.portfolio,
        symbol=event.symbol,
        facts=position_facts(state, state.position(event))
        | facts(amount=event.amount, per_share=event.per_share, date=event.date),
    )


@says(ev.FeeBooked)
def fee(state: State, event: ev.FeeBooked) -> Saying:
    """Say what a broker took that belongs to no order."""
    about = f" for {event.symbol}" if event.symbol else ""
    verb = "gave back" if event.amount < 0 else "took"
    why = f" ({plain(event.why)})" if event.why else ""
    return Saying(
        level=Level.INFO,
        topic=Topic.RESERVE,
        kind="fee_booked",
        subject=f"portfolio {event.portfolio}",
        title=f"{event.portfolio}: {show(abs(event.amount))} of fees",
        text=(
            f"The broker {verb} {show(abs(event.amount))} of fees{about} in {event.portfolio}{why}; "
            f"{_reserve_is(state, event.portfolio)}."
        ),
        portfolio=event.portfolio,
        symbol=event.symbol,
        facts=facts(amount=event.amount, date=event.date, reserve=f"{state.portfolios[event.portfolio].reserve:f}"),
    )


@says(ev.SplitApplied)
def split(state: State, event: ev.SplitApplied) -> Saying:
    """Say how a split changed the share count."""
    rates = f"{show_shares(event.new_rate)} for {show_shares(event.old_rate)}"
    others = "" if event.complete else "; other positions in it have yet to follow"
    return Saying(
        level=Level.NOTICE,
        topic=Topic.BROKER,
        kind="split_applied",
        subject=key_of(event),
        title=f"{event.symbol} was split {rates}",
        text=(
            f"{event.symbol} was split {rates}: the {show_shares(event.before)} shares in {event.portfolio} are "
            f"{show_shares(event.shares)} now, at the same cost{others}."
        ),
        portfolio=event.portfolio,
        symbol=event.symbol,
        facts=position_facts(state, state.position(event))
        | facts(before=event.before, new_rate=event.new_rate, old_rate=event.old_rate, date=event.date),
    )


@says(ev.SharesAdopted)
def adopted(state: State, event: ev.SharesAdopted) -> Saying:
    """Say that a broker's share count was taken over: at the beginning, or where it differed a little."""
    position = state.position(event)
    begins = position.since == event.at and not event.before
    change = "begins with" if begins else f"goes from {show_shares(event.before)} to"
    return Saying(
        level=Level.INFO if begins else Level.NOTICE,
        topic=Topic.BROKER,
        kind="shares_adopted",
        subject=key_of(event),
        title=f"{event.symbol}: {show_shares(event.shares)} shares",
        text=(
            f"{event.symbol} in {event.portfolio} {change} {show_shares(event.shares)} shares, as its broker counts "
            f"them ({plain(event.reason)})."
        ),
        portfolio=event.portfolio,
        symbol=event.symbol,
        facts=position_facts(state, position) | facts(before=f"{event.before:f}", reason=event.reason),
    )
