"""What the commands print: tables for a terminal, plain lines for a pipe, JSON Lines for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, Final, TextIO

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mrdaemon.chain import Record
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.money import MoneyError, show, show_shares, value
from mrdaemon.core.policy import Side
from mrdaemon.core.state import Position, State
from mrdaemon.core.zone import Zone, exact_price
from mrdaemon.report import Summary
from mrdaemon.sentences import sentence

INSTANTS: Final = ("at", "until", "expires", "since")
"""Fields that hold instants: JSON shows them as RFC 3339."""
GAUGE: Final = 21
"""Characters of a gauge: the lower edge is its left end, the target its middle, the upper edge its right end."""


def event_object(event: ev.Event) -> dict[str, Any]:
    """Give an event as a JSON object: times as RFC 3339, money as strings."""
    fields: dict[str, Any] = json.loads(ev.encode(event))
    for name in INSTANTS:
        if isinstance(fields.get(name), int):
            fields[name] = iso(Instant(fields[name]))
    return {**fields, "sentence": sentence(event)}


def record_object(record: Record) -> dict[str, Any]:
    """Give a journaled event as a JSON object."""
    cursor = {} if record.cursor is None else {"cursor": record.cursor}
    return {"seq": record.seq, **event_object(record.event), **cursor, "wall": iso(Instant(record.wall))}


def json_line(thing: dict[str, Any], out: TextIO | None = None) -> None:
    """Print one JSON object on a line of its own."""
    print(json.dumps(thing, ensure_ascii=False), file=out or sys.stdout, flush=True)


def event_line(event: ev.Event) -> str:
    """Give an event on one line: when, about what, and its sentence."""
    return f"{iso(event.at)[:19].replace('T', ' ')}  {getattr(event, 'symbol', None) or '':<8} {sentence(event)}"


def gauge(zone: Zone, worth: Any) -> str:
    """Draw where a value stands in its zone; beyond an edge the mark becomes an arrow."""
    middle = GAUGE // 2
    width = zone.width(Side.ACCUMULATE if worth <= zone.target else Side.TRIM)
    place = middle + round((worth - zone.target) / width * middle)
    cells = ["─"] * GAUGE
    cells[0], cells[middle], cells[-1] = "├", "┼", "┤"
    if place < 0:
        cells[0] = "◀"
    elif place >= GAUGE:
        cells[-1] = "▶"
    else:
        cells[place] = "●"
    return "".join(cells)


def _zone(state: State, position: Position) -> Zone | None:
    try:
        least = state.asset_of(position).min_notional
        return Zone.of(msgspec.structs.replace(position.rules, target=position.target), least)
    except MoneyError:
        return None


def position_object(state: State, position: Position) -> dict[str, Any]:
    """Give a position as a JSON object; what is not known is null."""
    zone, price = _zone(state, position), state.symbol(position.symbol).reference
    worth = None if price is None else value(position.shares, price)
    buy_at, sell_at = (
        (None, None)
        if zone is None
        else (exact_price(zone, side, position.shares) for side in (Side.ACCUMULATE, Side.TRIM))
    )
    return {
        "portfolio": position.portfolio,
        "symbol": position.symbol,
        "mode": position.rules.mode.value,
        "target": str(position.target),
        "shares": str(position.shares),
        "price": None if price is None else str(price),
        "value": None if worth is None else str(worth),
        "accumulate_at": None if buy_at is None else str(buy_at),
        "trim_at": None if sell_at is None else str(sell_at),
        "signals": position.number,
        "buys": position.buys,
        "sells": position.sells,
        "realized": str(position.realized),
        "order": position.order,
        "waits": {side.value: wait.guard for side, wait in position.waits.items()},
        "halted": position.halted,
        "frozen": state.symbol(position.symbol).frozen,
        "retired": position.retired,
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


def remark(state: State, position: Position) -> str:
    """Say in a few words what keeps a position from trading; empty where nothing does."""
    symbol = state.symbol(position.symbol)
    if position.retired:
        return "retired"
    if position.halted or symbol.frozen:
        return "HALTED" if position.halted else "FROZEN"
    if position.order is not None:
        return "order in flight"
    if position.approval is not None:
        return "awaits approval"
    waits = [f"{'buys' if side is Side.ACCUMULATE else 'sells'}: {wait.guard}" for side, wait in position.waits.items()]
    return ", ".join(waits)


def positions_table(state: State, title: str) -> RenderableType:
    """Draw the positions as a table, and the reserves below."""
    table = Table(title=title, title_justify="left", expand=False, pad_edge=False, box=None, header_style="bold")
    table.add_column("")
    for name in ("price", "value", "target"):
        table.add_column(name, justify="right")
    table.add_column("zone")
    for name in ("buy at", "sell at", "buys", "sells"):
        table.add_column(name, justify="right")
    table.add_column("")
    for position in state.positions.values():
        table.add_row(*_cells(state, position))
    reserves = [
        Text(f"reserve of {each.name}: {show(each.reserve)}, {show(each.available)} available")
        for each in state.portfolios.values()
    ]
    return Group(table, Text(""), *reserves)


def _cells(state: State, position: Position) -> list[RenderableType]:
    zone, price = _zone(state, position), state.symbol(position.symbol).reference
    cells: list[RenderableType] = [Text(position.symbol, style="bold")]
    if zone is None or price is None:
        return [*cells, "-", "-", show(position.target), "no price yet", "-", "-", "0", "0", remark(state, position)]
    worth = value(position.shares, price)
    style = "green" if worth >= zone.upper else "red" if worth <= zone.lower else "cyan"
    buy_at, sell_at = (exact_price(zone, side, position.shares) for side in (Side.ACCUMULATE, Side.TRIM))
    return [
        *cells,
        f"{price:,.2f}",
        show(worth),
        show(zone.target),
        Text(gauge(zone, worth), style=style),
        "-" if buy_at is None else f"{buy_at:,.2f}",
        "-" if sell_at is None else f"{sell_at:,.2f}",
        str(position.buys),
        str(position.sells),
        remark(state, position),
    ]


def status_lines(state: State) -> list[str]:
    """Give the positions and reserves as plain lines."""
    lines = []
    for position in state.positions.values():
        facts = position_object(state, position)
        worth = (
            "unknown"
            if facts["value"] is None
            else show(value(position.shares, state.symbol(position.symbol).reference or position.shares))
        )
        lines.append(
            f"{position.key}: value {worth}, target {show(position.target)}, "
            f"{show_shares(position.shares)} shares, buy at {facts['accumulate_at'] or '-'}, "
            f"sell at {facts['trim_at'] or '-'}{', ' + remark(state, position) if remark(state, position) else ''}"
        )
    lines += [
        f"reserve of {each.name}: {show(each.reserve)}, {show(each.available)} available"
        for each in state.portfolios.values()
    ]
    return lines


def summary_object(summary: Summary) -> dict[str, Any]:
    """Give a summary as a JSON object."""
    fields: dict[str, Any] = json.loads(msgspec.json.encode(summary))
    return {"kind": "summary", **fields}


def summary_lines(summary: Summary) -> list[str]:
    """Write a summary for a person."""

    def or_unknown(amount: Any) -> str:
        return "unknown" if amount is None else show(amount)

    rows = [
        ("signals", f"{summary.signals} raised, {summary.held} held"),
        (
            "orders filled",
            f"{summary.buys} buys for {show(summary.bought)}, {summary.sells} sells for {show(summary.sold)}",
        ),
        (
            "reserve",
            f"{show(summary.reserve_at_start)} after the initial buys, {show(summary.reserve_used)} used at most, "
            f"{show(summary.reserve_left)} left",
        ),
        ("gain", f"{show(summary.realized)} realized, {or_unknown(summary.unrealized)} unrealized"),
        (
            "all in all",
            f"{or_unknown(summary.started_with)} became {or_unknown(summary.ends_with)}: {or_unknown(summary.gain)}",
        ),
    ]
    lines = [f"{name:<15}{text}" for name, text in rows]
    if summary.baselines:
        lines += ["", "The same money without the method (no taxes, cash earns nothing):"]
        lines += [f"  {each.name:<39} {show(each.ends_with):>12}: {show(each.gain)}" for each in summary.baselines]
        best = max(summary.baselines, key=lambda each: each.gain)
        if summary.gain is not None and summary.gain < best.gain:
            lines += ["", f"Here the method made less than {best.name}: in strong trends it sells early."]
    return lines


def lines(texts: Sequence[str]) -> None:
    """Print plain lines."""
    for text in texts:
        print(text, flush=True)


def render(thing: RenderableType) -> None:
    """Print for a terminal."""
    Console().print(thing)
