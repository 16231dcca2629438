"""Words for what stops trading and lets it go on: freezes, halts, breakers, pauses, trades taken back."""

from __future__ import annotations

from typing import Final

from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.alerts.saying import (
    Register,
    Saying,
    at_price,
    because,
    by_whom,
    facts,
    key_of,
    plain,
    position_facts,
)
from mrdaemon.core import events as ev
from mrdaemon.core.policy import TradingState
from mrdaemon.core.state import State

BREAKER: Final = "circuit breaker"
"""Who halts when a breaker trips."""
says: Final = Register()


@says(ev.SymbolFrozen)
def frozen(_: State, event: ev.SymbolFrozen) -> Saying:
    """Say that a price moved further than prices do, and what to do."""
    return Saying(
        level=Level.CRITICAL,
        topic=Topic.SAFETY,
        kind="symbol_frozen",
        subject=event.symbol,
        title=f"{event.symbol} is frozen: a split?",
        text=(
            f"{plain(event.reason)}; {event.symbol} is not traded until a person has looked: if "
            f"shares and target are right, mrdaemon resume {event.symbol} lets it go on."
        ),
        symbol=event.symbol,
        facts=facts(before=event.before, price=event.price),
    )


@says(ev.SymbolThawed)
def thawed(_: State, event: ev.SymbolThawed) -> Saying:
    """Say that a frozen symbol trades again."""
    return Saying(
        level=Level.NOTICE,
        topic=Topic.SAFETY,
        kind="symbol_thawed",
        subject=event.symbol,
        title=f"{event.symbol} is no longer frozen",
        text=f"{event.symbol} was thawed {by_whom(event)} and trades again.",
        symbol=event.symbol,
        facts=facts(by=event.by, why=event.why),
    )


@says(ev.TradingHalted)
def exchange_halted(_: State, event: ev.TradingHalted) -> Saying:
    """Say that the exchange halted a symbol."""
    return Saying(
        level=Level.WARNING,
        topic=Topic.SAFETY,
        kind="exchange_halt",
        subject=event.symbol,
        title=f"{event.symbol} is halted at the exchange",
        text=(
            f"The exchange halted {event.symbol}{because(event.reason)}; its signals are held until it trades again."
        ),
        symbol=event.symbol,
        facts=facts(reason=event.reason),
    )


@says(ev.TradingResumed)
def exchange_resumed(_: State, event: ev.TradingResumed) -> Saying:
    """Say that the exchange lets a symbol trade again."""
    return Saying(
        level=Level.NOTICE,
        topic=Topic.SAFETY,
        kind="exchange_resumed",
        subject=event.symbol,
        title=f"{event.symbol} trades again",
        text=f"{event.symbol} trades again at the exchange, and here.",
        symbol=event.symbol,
    )


@says(ev.PositionHalted)
def position_halted(state: State, event: ev.PositionHalted) -> Saying:
    """Say that a position trades no more, and what to do."""
    return Saying(
        level=Level.CRITICAL,
        topic=Topic.SAFETY,
        kind="position_halted",
        subject=key_of(event),
        title=f"{event.symbol} in {event.portfolio} is halted",
        text=(
            f"{event.symbol} in {event.portfolio} trades no more: {plain(event.reason)}; a person must look: mrdaemon "
            f"fill {event.symbol} books what differs, and mrdaemon resume {event.symbol} --portfolio {event.portfolio} "
            "lets it go on."
        ),
        portfolio=event.portfolio,
        symbol=event.symbol,
        facts=position_facts(state, state.position(event)) | facts(reason=event.reason, by=event.by),
    )


@says(ev.BreakerTripped)
def breaker(_: State, event: ev.BreakerTripped) -> Saying:
    """Say which limit an order would have passed, and that all trading stopped."""
    return Saying(
        level=Level.CRITICAL,
        topic=Topic.SAFETY,
        kind="breaker_tripped",
        subject=f"account {event.account}",
        title=f"Trading HALTED: {event.limit.replace('_', ' ')}",
        text=(
            f"The circuit breaker {event.limit} of account {event.account} tripped: {plain(event.reason)}; all trading "
            "is HALTED until a person has looked: mrdaemon resume lets it go on."
        ),
        facts=facts(account=event.account, limit=event.limit, reason=event.reason),
    )


@says(ev.TradingStateChanged)
def trading_state(_: State, event: ev.TradingStateChanged) -> Saying | None:
    """Say who halted, reduced or resumed trading, and where; a breaker says so itself."""
    if event.by == BREAKER:
        return None
    inside = "/".join(each for each in (event.portfolio, event.symbol) if each is not None)
    where = f" in {inside}" if inside else ""
    then = {
        TradingState.HALTED: "no order is sent, and open ones are cancelled, until it is resumed",
        TradingState.REDUCING: "nothing is bought until it is resumed; sales go on",
        TradingState.ACTIVE: "signals become trades again",
    }
    level = {
        TradingState.HALTED: Level.WARNING if event.symbol is not None else Level.CRITICAL,
        TradingState.REDUCING: Level.WARNING,
        TradingState.ACTIVE: Level.NOTICE,
    }
    return Saying(
        level=level[event.state],
        topic=Topic.SAFETY,
        kind="trading_state",
        subject=inside or "trading",
        title=f"Trading{where} is {event.state}",
        text=f"Trading{where} was set to {event.state} {by_whom(event)}: {then[event.state]}.",
        portfolio=event.portfolio or "",
        symbol=event.symbol or "",
        facts=facts(state=event.state.value, by=event.by, why=event.why),
    )


@says(ev.SignalsPaused)
def paused(_: State, event: ev.SignalsPaused) -> Saying:
    """Say who paused signals, or let them go on."""
    where = "" if event.symbol is None else f" of {event.symbol}"
    what = "are paused" if event.paused else "are on again"
    then = "no new one is raised, and open orders live on" if event.paused else "the next price decides"
    return Saying(
        level=Level.NOTICE,
        topic=Topic.SAFETY,
        kind="signals_paused" if event.paused else "signals_resumed",
        subject=event.symbol or "trading",
        title=f"Signals{where} {what}",
        text=f"Signals{where} {what}, {by_whom(event)}: {then}.",
        symbol=event.symbol or "",
        facts=facts(by=event.by, why=event.why),
    )


@says(ev.PrintBusted)
def print_busted(_: State, event: ev.PrintBusted) -> Saying:
    """Say that the exchange took a trade back."""
    did = (
        f"took trade {event.trade} of {event.symbol} back"
        if event.corrected is None
        else f"corrected trade {event.trade} of {event.symbol} to {at_price(event.corrected)}"
    )
    was = "" if event.price is None else f", which had been its last price, {at_price(event.price)}"
    return Saying(
        level=Level.INFO,
        topic=Topic.PRICES,
        kind="price_busted",
        subject=event.symbol,
        title=f"{event.symbol}: a trade was taken back",
        text=f"The exchange {did}{was}; what was decided stands.",
        symbol=event.symbol,
        facts=facts(trade=str(event.trade), price=event.price, corrected=event.corrected),
    )
