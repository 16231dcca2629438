"""The journal as tables for an auditor: events, orders, fills, realized gains and activities, as JSON Lines or CSV.

Rows come in the order of the journal and are read on the way, so a long journal needs little memory. A table's columns
keep their names, places and meanings for ever; new ones come at the end.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, TextIO, TypeAlias
from zoneinfo import ZoneInfo

from mrdaemon import chain
from mrdaemon.columns import Kind, Source, Table, columns
from mrdaemon.core import events as ev
from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.core.lots import Lot, divide, split, take
from mrdaemon.core.money import NO_SHARES, Dollars, Shares
from mrdaemon.core.policy import Side
from mrdaemon.core.portfolio import apply
from mrdaemon.core.state import Order, State
from mrdaemon.show import event_object, json_text

Row: TypeAlias = dict[str, str | int | None]
"""A value for each column; None where it is unknown, or where there is none."""


class Format(StrEnum):
    """How it is written."""

    JSONL = "jsonl"
    CSV = "csv"


class ExportError(Exception):
    """The journal is sound, but what was asked of it cannot be given; the message says why and what to do."""


_OF_EVENTS: Final = ("at", "kind", "account", "portfolio", "symbol", "order", "by", "why", "sentence")
"""Columns of events that are what the event itself says; ``body`` has the rest of it."""


# Rows


def rows(path: Path, table: Table, after: int = 0) -> Iterator[Row]:
    """Give a table's rows whose ``seq`` is greater than ``after``, in order, each commit checked on the way.

    Raises:
        ExportError: there is no event ``after``; while iterating: a sale's gain is not what its lots say.
        JournalError: there is no journal; while iterating, after the rows before it: an event is missing or not what
            was written, or the end was cut off.
    """
    with chain.reading(path) as connection:
        newest = chain.newest(connection).seq
    if not 0 <= after <= newest:
        message = f"{path}: wanted the number of an event, from 0 (all) to {newest} (the newest), got {after}"
        raise ExportError(message)
    return _checked(path, table, after)


def _checked(path: Path, table: Table, after: int) -> Iterator[Row]:
    """Give the rows; at the end look whether it was the end."""
    with chain.explained(path, "read the journal's head"):
        remembered = chain.read_head(path)  # Before the journal: what is committed meanwhile must not look cut off.
    yield from _ROWS[table](path, after)
    with chain.reading(path) as connection:
        chain.check_head(connection, path, remembered)


def _folded(path: Path) -> Iterator[tuple[chain.Record, State]]:
    """Give every event with the state after it."""
    state = State()
    for record in chain.records(path):
        apply(state, record.event)
        yield record, state


def _plain(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"


def _time(at: Instant | None) -> str | None:
    return None if at is None else iso(at)


def _events(path: Path, after: int) -> Iterator[Row]:
    for record in chain.records(path, after):
        said = event_object(record.event)
        row: Row = {name: said.pop(name, None) for name in _OF_EVENTS}
        row["by"] = getattr(record.event, "by", None) or None  # Also where it is left out because it is the default.
        yield {
            "seq": record.seq,
            "wall": iso(Instant(record.wall)),
            "cursor": record.cursor,
            **row,
            "body": json_text(said),
        }


class _Pending(NamedTuple):
    """An order whose row is still to be given. The fold goes on writing what happens to it into ``order``."""

    seq: int
    order: Order


def _orders(path: Path, after: int) -> Iterator[Row]:
    """Give an order's row once the state has forgotten it: until then, also after its end, it may still fill."""
    pending, reasons = deque[_Pending](), dict[str, str]()
    for record, state in _folded(path):
        event = record.event
        if isinstance(event, ev.OrderIntended):
            pending.append(_Pending(record.seq, state.orders[event.order]))
        elif isinstance(event, ev.OrderEnded):
            reasons[event.order] = event.reason
            while pending and pending[0].order.intent.order not in state.orders:
                yield from _order(pending.popleft(), reasons, after)
    for each in pending:
        yield from _order(each, reasons, after)


def _order(pending: _Pending, reasons: dict[str, str], after: int) -> Iterator[Row]:
    seq, order = pending
    intent, reason = order.intent, reasons.pop(order.intent.order, "")
    if seq > after:
        yield {
            "seq": seq,
            "at": iso(intent.at),
            "order": intent.order,
            "broker_order": order.broker_order or None,
            "account": intent.account,
            "portfolio": intent.portfolio,
            "symbol": intent.symbol,
            "signal": intent.number,
            "side": intent.side.value,
            "price": _plain(intent.price),
            "notional": _plain(intent.notional),
            "quantity": _plain(intent.quantity),
            "limit": _plain(intent.limit),
            "reserved": _plain(intent.reserved),
            "status": order.status.value,
            "filled": _plain(order.filled),
            "average": _plain(order.average),
            "cash": _plain(order.cash),
            "fees": _plain(order.fees),
            "ended": _time(order.ended),
            "reason": reason or None,
        }


def _account_of(state: State, event: ev.PositionEvent) -> str:
    if isinstance(event, ev.OrderEvent):
        return state.orders[event.order].intent.account
    return state.portfolios[event.portfolio].rules.account


def _fills(path: Path, after: int) -> Iterator[Row]:
    for record, state in _folded(path):
        event = record.event
        if record.seq > after and isinstance(event, ev.OrderFilled | ev.FillReported):
            yield _fill(record.seq, event, _account_of(state, event))


def _fill(seq: int, event: ev.OrderFilled | ev.FillReported, account: str) -> Row:
    row: Row = {
        "seq": seq,
        "at": iso(event.at),
        "source": Source.BY_HAND.value,
        "order": None,
        "account": account,
        "portfolio": event.portfolio,
        "symbol": event.symbol,
        "side": event.side.value,
        "shares": _plain(event.shares),
        "price": None,
        "amount": _plain(event.amount),
        "filled": None,
        "average": None,
        "cash": None,
        "gain": _plain(event.gain),
        "by": None,
        "why": None,
    }
    if isinstance(event, ev.FillReported):
        return {**row, "price": _plain(event.price), "by": event.by, "why": event.why or None}
    # A later fill's own price is not known: only the average changed, and the broker rounds that.
    price = event.average if event.shares == event.filled else None
    so_far: Row = {"filled": _plain(event.filled), "average": _plain(event.average), "cash": _plain(event.cash)}
    return {**row, "source": Source.ORDER.value, "order": event.order, "price": _plain(price), **so_far}


# What the broker booked of its own accord


def _activities(path: Path, after: int) -> Iterator[Row]:
    for record, state in _folded(path):
        event = record.event
        if record.seq > after and isinstance(event, ev.DividendPaid | ev.FeeBooked | ev.SplitApplied):
            yield _activity(record.seq, event, state.portfolios[event.portfolio].rules.account)


def _activity(seq: int, event: ev.DividendPaid | ev.FeeBooked | ev.SplitApplied, account: str) -> Row:
    row: Row = dict.fromkeys(column.name for column in columns(Table.ACTIVITIES))
    row |= {
        "seq": seq,
        "at": iso(event.at),
        "date": event.date,
        "activity": event.activity,
        "account": account,
        "portfolio": event.portfolio,
        "symbol": event.symbol or None,
    }
    match event:
        case ev.DividendPaid():
            return row | {"what": "dividend", "amount": _plain(event.amount), "per_share": _plain(event.per_share)}
        case ev.FeeBooked():
            return row | {"what": "fee", "amount": _plain(Dollars(-event.amount)), "why": event.why or None}
        case _:
            shares: Row = {"before": _plain(event.before), "shares": _plain(event.shares)}
            rates: Row = {"new_rate": _plain(event.new_rate), "old_rate": _plain(event.old_rate)}
            return row | {"what": "split", **shares, **rates}


# Gains


class _Held(Lot, frozen=True):
    """A lot, and how it came in."""

    seq: int
    source: Source


_MOVES_LOTS: Final = (ev.PositionOpened, ev.OrderFilled, ev.FillReported, ev.SharesAdopted, ev.SplitApplied)


def _gains(path: Path, after: int) -> Iterator[Row]:
    held: dict[str, list[_Held]] = {}
    for record, state in _folded(path):
        seq, event = record.seq, record.event
        if not isinstance(event, _MOVES_LOTS):
            continue
        lots = held.setdefault(f"{event.portfolio}/{event.symbol}", [])
        match event:
            case ev.PositionOpened():
                lots[:] = [_Held(event.shares, event.cost, event.at, seq, Source.OPENING)] if event.shares else []
            case ev.SplitApplied():
                lots[:] = split(lots, event.before, event.shares)
            case ev.SharesAdopted() if event.shares > event.before:
                more = Shares(event.shares - event.before)
                lots.append(_Held(more, event.cost, event.at, seq, Source.ADOPTED))
            case ev.SharesAdopted():
                gone = _gone(lots, Shares(event.before - event.shares), None)
                yield from _gain_rows(record, _account_of(state, event), gone, after)
            case ev.OrderFilled(side=Side.ACCUMULATE) | ev.FillReported(side=Side.ACCUMULATE):
                lots.append(_Held(event.shares, event.amount, event.at, seq, _source(event)))
            case _:
                gone = _gone(lots, event.shares, event.amount)
                _compare(path, seq, event.gain, gone)
                yield from _gain_rows(record, _account_of(state, event), gone, after)


class _Gone(NamedTuple):
    """Shares of one lot that went; what is not known is None."""

    shares: Shares
    lot: _Held | None
    proceeds: Dollars | None
    cost: Dollars | None

    @property
    def gain(self) -> Dollars | None:
        return None if self.proceeds is None or self.cost is None else Dollars(self.proceeds - self.cost)


def _source(event: ev.PositionEvent) -> Source:
    if isinstance(event, ev.SharesAdopted):
        return Source.ADOPTED
    return Source.ORDER if isinstance(event, ev.OrderEvent) else Source.BY_HAND


def _gone(lots: list[_Held], shares: Shares, amount: Dollars | None) -> list[_Gone]:
    """Take shares out of lots, and divide what they brought; shares that no lot covers come last."""
    lots[:], slices = take(lots, shares)
    found: list[tuple[Shares, _Held | None, Dollars | None]] = [(each.shares, each.lot, each.cost) for each in slices]
    covered = sum((each.shares for each in slices), NO_SHARES)
    if covered < shares:
        found.append((Shares(shares - covered), None, None))
    parts = [None] * len(found) if amount is None else divide(amount, [each[0] for each in found])
    return [_Gone(went, lot, part, cost) for (went, lot, cost), part in zip(found, parts, strict=True)]


def _compare(path: Path, seq: int, journaled: Dollars | None, gone: list[_Gone]) -> None:
    """Check that a sale's rows add up to the gain that was journaled with it."""
    gains = [each.gain for each in gone]
    total = sum((gain for gain in gains if gain is not None), Decimal(0))
    if (None if None in gains else total) != journaled:
        message = f"{path}: event {seq} journals a gain of {journaled}, but its lots say {total}; report this"
        raise ExportError(message)


def _gain_rows(record: chain.Record, account: str, gone: list[_Gone], after: int) -> Iterator[Row]:
    seq, event = record.seq, record.event
    if seq <= after or not isinstance(event, ev.PositionEvent):
        return
    sold = _new_york(event.at)
    for went in gone:
        lot = went.lot
        bought = lot.acquired if lot is not None and lot.source in {Source.ORDER, Source.BY_HAND} else None
        acquired = None if bought is None else _new_york(bought)
        yield {
            "seq": seq,
            "sold_at": iso(event.at),
            "sold_on": sold.isoformat(),
            "source": _source(event).value,
            "account": account,
            "portfolio": event.portfolio,
            "symbol": event.symbol,
            "order": getattr(event, "order", None),
            "shares": _plain(went.shares),
            "lot": None if lot is None else lot.seq,
            "lot_source": None if lot is None else lot.source.value,
            "acquired_at": _time(bought),
            "acquired_on": None if acquired is None else acquired.isoformat(),
            "proceeds": _plain(went.proceeds),
            "cost": _plain(went.cost),
            "gain": _plain(went.gain),
            "term": None if acquired is None or went.proceeds is None else _term(acquired, sold),
        }


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEW_YORK: Final = ZoneInfo("America/New_York")


def _new_york(at: Instant) -> date:
    return (_EPOCH + timedelta(seconds=at // SECOND)).astimezone(_NEW_YORK).date()


def _term(acquired: date, sold: date) -> str:
    """Tell whether a lot was held for more than one year.

    Counted is from the day after it was bought to the day on which it was sold (IRS Publication 550, "Holding period",
    and Topic 409). So what is bought on 28 February 2023 is held from 1 March, and long from 1 March 2024; what is held
    from a 29 February is long from the next 1 March.
    """
    first = acquired + timedelta(days=1)
    leap = (first.month, first.day) == (2, 29)
    long_from = date(first.year + 1, 3, 1) if leap else first.replace(year=first.year + 1)
    return "long" if sold >= long_from else "short"


_ROWS: Final[dict[Table, Callable[[Path, int], Iterator[Row]]]] = {
    Table.EVENTS: _events,
    Table.ORDERS: _orders,
    Table.FILLS: _fills,
    Table.GAINS: _gains,
    Table.ACTIVITIES: _activities,
}


# Files


def write(rows: Iterable[Row], table: Table, form: Format, out: TextIO) -> int:
    """Write a table's rows and give their number. ``out`` takes UTF-8 and leaves line ends alone (``newline=""``).

    Raises:
        what ``rows`` raises, after the rows before it were written.
    """
    put = _csv(table, out) if form is Format.CSV else _jsonl(table, out)
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - it is what is given back
        put(row)
    return count


def _jsonl(table: Table, out: TextIO) -> Callable[[Row], object]:
    named = [(each.name, each.kind is Kind.JSON) for each in columns(table)]

    def put(row: Row) -> None:
        values = {name: json.loads(str(row[name])) if nested else row[name] for name, nested in named}
        out.write(json_text(values) + "\n")

    return put


def _csv(table: Table, out: TextIO) -> Callable[[Row], object]:
    """Write the header of RFC 4180, and its line ends."""
    named = [(each.name, each.kind is Kind.TEXT) for each in columns(table)]
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([name for name, _ in named])

    def put(row: Row) -> None:
        writer.writerow([_inert(row[name]) if text else row[name] for name, text in named])

    return put


_ACTIVE: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")
"""What makes a spreadsheet run a text that begins with it (OWASP, "CSV Injection"), and the apostrophe itself."""


def _inert(text: str | int | None) -> str | int | None:
    """Put an apostrophe before a text that a spreadsheet might run. Who takes one off again has what was journaled."""
    return f"'{text}" if isinstance(text, str) and text.startswith(_ACTIVE) else text
