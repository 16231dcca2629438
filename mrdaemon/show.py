"""What the commands print where it is not a picture: JSON Lines for a program, plain lines for a person."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from mrdaemon.chain import Record
from mrdaemon.core import events as ev
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.money import Dollars, MoneyError, Price, show, show_shares, value
from mrdaemon.core.policy import Side, TradingState
from mrdaemon.core.state import Approval, Portfolio, Position, State
from mrdaemon.core.zone import Zone, exact_price
from mrdaemon.places import JOURNAL
from mrdaemon.report import PriceOf, Summary
from mrdaemon.sentences import sentence

INSTANTS: Final = frozenset({"at", "until", "expires", "since"})
"""Fields that hold instants: JSON shows them as RFC 3339."""
TOLD: Final = (
    ev.SignalRaised,
    ev.SignalHeld,
    ev.ApprovalRequested,
    ev.OrderFilled,
    ev.OrderAmbiguous,
    ev.OrderUnmatched,
    ev.SharesAdopted,
    ev.SymbolFrozen,
    ev.PositionHalted,
    ev.BreakerTripped,
    ev.TradingStateChanged,
    ev.AccountLost,
    ev.RowRefused,
    ev.PrintRefused,
)
"""What a person who watches wants to read."""


# Where it goes


def line(text: str) -> None:
    """Print a line. What the terminal's encoding lacks is written as an escape: a name must not end a daemon."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def lines(texts: Iterable[str]) -> None:
    """Print plain lines."""
    for text in texts:
        line(text)


def json_text(thing: dict[str, Any]) -> str:
    """Write a JSON object: pure ASCII, so the same bytes in every locale."""
    return json.dumps(thing)


def json_line(thing: dict[str, Any]) -> None:
    """Print one JSON object on a line of its own."""
    line(json_text(thing))


def hush() -> None:
    """Send what is still to be printed nowhere: the reader of our output is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


# Events


def event_object(event: ev.Event) -> dict[str, Any]:
    """Give an event as a JSON object: ``kind``, ``at``, its own fields in the order of ``core.events``, ``sentence``.

    Times are RFC 3339 in UTC; money, shares and prices are strings; a field that has its default is left out.
    """
    fields: dict[str, Any] = _plain(msgspec.to_builtins(event, builtin_types=(Decimal,)))
    for name in INSTANTS & fields.keys():
        fields[name] = iso(Instant(fields[name]))
    return {**fields, "sentence": sentence(event)}


def _plain(thing: Any) -> Any:
    """Write decimals as plain strings, wherever they are: ``0.000000001``, never ``1E-9``."""
    if isinstance(thing, Decimal):
        return f"{thing:f}"
    if isinstance(thing, dict):
        return {key: _plain(each) for key, each in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(each) for each in thing]
    return thing


def record_object(record: Record) -> dict[str, Any]:
    """Give a journaled event as a JSON object: ``seq``, ``wall`` and ``cursor`` of its commit, then the event."""
    wall = iso(Instant(record.wall))
    return {"seq": record.seq, "wall": wall, "cursor": record.cursor, **event_object(record.event)}


def is_told(event: ev.Event) -> bool:
    """Tell whether a person who watches wants to read it."""
    if isinstance(event, ev.OrderEnded):
        return event.status != OrderStatus.FILLED
    return isinstance(event, TOLD)


def event_line(event: ev.Event) -> str:
    """Give an event on one line: when, about what, and its sentence."""
    when = iso(event.at)[:19].replace("T", " ")
    return f"{when}Z  {getattr(event, 'symbol', None) or '':<8} {sentence(event)}"


# Positions


class Look(msgspec.Struct, frozen=True):
    """A position at a price; what is not known is None."""

    position: Position
    zone: Zone | None
    price: Price | None
    value: Dollars | None
    buy_at: Decimal | None
    sell_at: Decimal | None
    remarks: tuple[str, ...]
    """What keeps it from trading; empty where nothing does."""


def recorded_prices(state: State) -> PriceOf:
    """Give the prices that the journal has: those of the last signals, or of the last clean stop."""
    return lambda symbol: state.symbols[symbol].reference if symbol in state.symbols else None


def look(state: State, position: Position, price_of: PriceOf) -> Look:
    """Look at a position."""
    price = price_of(position.symbol)
    zone = _zone(state, position)
    buy_at, sell_at = (
        None if zone is None else exact_price(zone, side, position.shares) for side in (Side.ACCUMULATE, Side.TRIM)
    )
    return Look(
        position=position,
        zone=zone,
        price=price,
        value=None if price is None else value(position.shares, price),
        buy_at=buy_at,
        sell_at=sell_at,
        remarks=tuple(_remarks(state, position)),
    )


def _zone(state: State, position: Position) -> Zone | None:
    try:
        least = state.asset_of(position).min_notional
        return Zone.of(msgspec.structs.replace(position.rules, target=position.target), least)
    except MoneyError:
        return None


def _remarks(state: State, position: Position) -> Iterable[str]:
    if position.retired:
        yield "left the configuration; it is not watched"
        return
    if position.halted is not None:
        yield f"HALTED: {position.halted}"
    elif position.state is not TradingState.ACTIVE:
        yield f"trading is {position.state}"
    symbol = state.symbols.get(position.symbol)
    if symbol is not None and symbol.frozen is not None:
        yield f"FROZEN: {symbol.frozen}"
    if position.approval is not None:
        approval = position.approval
        verb = "buy" if approval.side is Side.ACCUMULATE else "sale"
        yield f"approval {approval.number} is awaited for a {verb} of {show(approval.amount)}"
    order = None if position.order is None else state.orders.get(position.order)
    if order is not None:
        yield f"order {position.order} is {'AMBIGUOUS: it is looked up' if order.ambiguous else 'in flight'}"
    for side, wait in position.waits.items():
        if wait.signalled is None:
            yield f"{'buys' if side is Side.ACCUMULATE else 'sells'} are held: {wait.guard}"


def position_object(state: State, position: Position) -> dict[str, Any]:
    """Give a position as a JSON object; what is not known is null."""
    seen = look(state, position, recorded_prices(state))
    symbol = state.symbols.get(position.symbol)

    def text(amount: Decimal | None) -> str | None:
        return None if amount is None else f"{amount:f}"

    return {
        "portfolio": position.portfolio,
        "symbol": position.symbol,
        "mode": position.rules.mode.value,
        "target": text(position.target),
        "shares": text(position.shares),
        "price": text(seen.price),
        "value": text(seen.value),
        "accumulate_at": text(seen.buy_at),
        "trim_at": text(seen.sell_at),
        "signals": position.number,
        "buys": position.buys,
        "sells": position.sells,
        "realized": text(position.realized),
        "order": position.order,
        "waits": {side.value: wait.guard for side, wait in position.waits.items()},
        "approval": None if position.approval is None else _approval_object(position.approval),
        "halted": position.halted,
        "frozen": None if symbol is None else symbol.frozen,
        "retired": position.retired,
    }


def _approval_object(approval: Approval) -> dict[str, Any]:
    return {
        "number": approval.number,
        "side": approval.side.value,
        "amount": str(approval.amount),
        "expires": iso(approval.expires),
    }


def status_object(state: State, directory: str, process: int | None) -> dict[str, Any]:
    """Give a whole status as a JSON object."""
    return {
        "state_dir": directory,
        "process": process,
        "at": iso(state.at),
        "trading": state.trading.value,
        "paused": state.paused,
        "recording_read": state.recording_read,
        "portfolios": [
            {
                "name": each.name,
                "account": each.rules.account,
                "reserve": str(each.reserve),
                "reserved": str(each.reserved),
                "available": str(each.available),
                "floor": str(each.rules.floor),
            }
            for each in state.portfolios.values()
        ],
        "positions": [position_object(state, each) for each in state.positions.values()],
    }


def status_title(state: State, name: str, process: int | None) -> list[str]:
    """Say what a status is of, and how it stands."""
    running = "not running" if process is None else f"running as process {process or 'unknown'}"
    found = [f"{name}: {running}, trading {state.trading}{', signals paused' if state.paused else ''}"]
    known = "as last journaled, at a signal or a stop" if process is not None else "as journaled"
    return [*found, f"{iso(state.at)[:19].replace('T', ' ')}Z; prices {known}", ""]


def status_lines(state: State) -> list[str]:
    """Give the positions and reserves as plain lines."""
    seen = [look(state, each, recorded_prices(state)) for each in state.positions.values()]
    return [_position_line(each) for each in seen] + reserve_lines(state)


def _position_line(seen: Look) -> str:
    position = seen.position
    facts = [
        f"{position.key}: {'no price yet' if seen.value is None else f'value {show(seen.value)}'}",
        f"target {show(position.target)}",
        f"{show_shares(position.shares)} shares",
    ]
    if seen.buy_at is not None and seen.sell_at is not None:
        facts += [f"buy at {seen.buy_at:f}", f"sell at {seen.sell_at:f}"]
    return ", ".join([*facts, *seen.remarks])


def check_lines(directory: Path, changes: list[str]) -> list[str]:
    """Say what a start with a configuration would change in its journal."""
    if not (directory / JOURNAL).exists():
        return [f"There is no journal yet in {directory}; a start begins one."]
    if not changes:
        return [f"A start would change nothing in {directory}."]
    return [f"A start would change, in {directory}:", *(f"  {each}" for each in changes)]


def reserve_lines(state: State) -> list[str]:
    """Say what each portfolio's reserve holds, and how much of it may be spent."""
    return [f"reserve of {each.name}: {show(each.reserve)}{_available(each)}" for each in state.portfolios.values()]


def _available(portfolio: Portfolio) -> str:
    return "" if portfolio.available == portfolio.reserve else f", {show(portfolio.available)} of it available"


# The summary of a run


def summary_object(summary: Summary) -> dict[str, Any]:
    """Give a summary as a JSON object; money and shares are strings."""
    return {"kind": "summary", **_plain(msgspec.to_builtins(summary, builtin_types=(Decimal,)))}


def summary_lines(summary: Summary) -> list[str]:
    """Write a summary for a person."""
    first = f", {summary.initial_buys} of them the first, of {show(summary.initial)}" if summary.initial_buys else ""
    left = show(summary.reserve_left)
    rows = [
        ("signals", f"{summary.signals:,} raised, {summary.held:,} held back"),
        ("buys", f"{summary.buys:,} for {show(summary.bought)}{first}"),
        ("sells", f"{summary.sells:,} for {show(summary.sold)}"),
        ("reserve", f"{show(summary.reserve_used)} of {show(summary.reserve_at_start)} used at most, {left} left"),
        ("gain", f"{show(summary.realized)} realized, {_or_unknown(summary.unrealized)} unrealized"),
    ]
    if summary.fees:
        rows.insert(3, ("fees", show(summary.fees)))
    return [f"{name:<10}{text}" for name, text in rows] + ["", *_comparison(summary)]


def totals(state: State, summary: Summary) -> list[str]:
    """Say in a few lines where a run stands: the amount first, then what it is."""
    rows = [(each.reserve, f"reserve of {each.name}{_available(each)}") for each in state.portfolios.values()]
    parts = f"{show(summary.realized)} realized, {_or_unknown(summary.unrealized)} unrealized"
    if summary.gain is not None:
        rows.append((summary.gain, f"gain: {parts}"))
    rows += [(each.gain, f"gain of {each.name}") for each in summary.baselines]
    return [f"{show(amount):>12}  {what}" for amount, what in rows]


def _or_unknown(amount: Dollars | None) -> str:
    return "unknown" if amount is None else show(amount)


def _comparison(summary: Summary) -> list[str]:
    """Set the method beside the honest baselines, and say who did better."""
    began = summary.started_with
    rows = [("with mrdaemon", summary.ends_with, summary.gain)]
    rows += [(each.name, each.ends_with, each.gain) for each in summary.baselines]
    found = [f"{_or_unknown(began)} at the start became, before taxes and with no interest on cash:", ""]
    for name, ends, gain in rows:
        ratio = f" {gain / began:>+9.1%}" if gain is not None and began else ""
        found.append(f"  {name:<40}{_or_unknown(ends):>14}{ratio}")
    if summary.gain is not None and summary.baselines:
        ahead = [each.name for each in summary.baselines if each.gain > summary.gain]
        level = [each.name for each in summary.baselines if each.gain == summary.gain]
        found += ["", _verdict(ahead, level, len(summary.baselines))]
    return found


def _verdict(ahead: list[str], level: list[str], of: int) -> str:
    if level and not ahead:
        return f"Here the method made no difference to {level[0]}."
    if not ahead:
        return "Here the method came out ahead: it earns where prices swing."
    if len(ahead) == of:
        return "Here the method made less than either: where prices trend, it sells early."
    return f"Here the method made less than {ahead[0]}."
