"""The journal as tables: what an auditor reads adds up, to the cent, to what the journal and the state say."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import re
import sqlite3
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrdaemon import chain
from mrdaemon.chain import JournalError
from mrdaemon.columns import Column, Kind, Table, columns
from mrdaemon.core import events as ev
from mrdaemon.core.activity import Activity, Dividend, Fee, Split
from mrdaemon.core.commands import ReportFill
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import DAY, SECOND, Instant, iso, parse
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.orders import OrderReport
from mrdaemon.core.policy import Asset, Side
from mrdaemon.core.state import State
from mrdaemon.export import ExportError, Format, Row, rows, write
from mrdaemon.journal import Journal
from mrdaemon.places import JOURNAL
from tests.builders import BUY, SELL, START, Bench, dollars, filled, only, plan, position
from tests.running import Object, mrdaemon

DOCS = Path(__file__).parent.parent / "docs" / "export.md"
SHAPES = {
    Kind.WHOLE: r"\d+",
    Kind.DECIMAL: r"-?\d+(\.\d+)?",
    Kind.TIME: r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?Z",
    Kind.DATE: r"\d{4}-\d\d-\d\d",
    Kind.TEXT: r"(?s).+",
    Kind.JSON: r"\{.*\}",
}
"""How a value of each kind is written, where there is one."""


def kept(folder: Path, *groups: Sequence[ev.Event]) -> Path:
    """Journal events, a commit for each group, a second apart."""

    async def keep() -> None:
        wall = count(START, SECOND)
        async with Journal(folder / JOURNAL, durable=False, wall=wall.__next__) as journal:
            journal.load()
            for group in groups:
                await journal.append(group)

    asyncio.run(keep())
    return folder / JOURNAL


def damage(path: Path, statement: str, *values: object) -> None:
    """Change a closed journal behind its back."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER events_update")
        connection.execute("DROP TRIGGER events_delete")
        connection.execute(statement, values)


def text(path: Path, table: Table, form: Format, after: int = 0) -> str:
    out = io.StringIO(newline="")
    write(rows(path, table, after), table, form, out)
    return out.getvalue()


def cells(path: Path, table: Table) -> list[dict[str, str]]:
    """Read a table as CSV, as another program does."""
    return list(csv.DictReader(io.StringIO(text(path, table, Format.CSV), newline="")))


def before_the_error(found: Iterable[Row], error: type[Exception], says: str) -> list[Row]:
    """Give the rows that came before an error."""
    given: deque[Row] = deque()
    with pytest.raises(error, match=says):
        given.extend(found)
    return list(given)


def number(row: Row, column: str) -> Decimal:
    return Decimal(str(row[column]))


def total(found: Iterable[Row], column: str) -> Decimal:
    """Sum up what is known in a column."""
    return sum((number(each, column) for each in found if each[column] is not None), Decimal(0))


def of(found: Iterable[Row], **values: str | int | None) -> list[Row]:
    return [each for each in found if all(each[name] == value for name, value in values.items())]


def column(found: Iterable[Row], *names: str) -> list[tuple[str | int | None, ...]]:
    return [tuple(each[name] for name in names) for each in found]


OF_TRADES = [each for each in Table if each is not Table.ACTIVITIES]


class Exported(NamedTuple):
    """A journal, its state and its tables."""

    path: Path
    state: State
    events: list[Row]
    orders: list[Row]
    fills: list[Row]
    gains: list[Row]
    activities: list[Row]


def exported(path: Path) -> Exported:
    return Exported(path, chain.current(path).state, *(list(rows(path, table)) for table in Table))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    state = tmp_path_factory.mktemp("demo") / "state"
    assert mrdaemon("demo", "--fast", "--json", "--state", state).code == 0
    return exported(state / JOURNAL)


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[Bench], Exported]:
    """Journal what happened at a bench, and export it."""
    return lambda bench: exported(kept(tmp_path, bench.events))


Keep = Callable[[Bench], Exported]


def holding(*, fill: bool = True) -> Bench:
    """Give a bench that holds 50 QQQ, which cost $4,000, and has seen them at their target, a price of $100."""
    bench = Bench(plan(position(shares="50", cost="4000")), fill=fill)
    bench.prices(100.0)
    return bench


def unwatched(shares: str, cost: str | None) -> Bench:
    """Give a bench that holds QQQ and has seen no price, so that only people trade."""
    return Bench(plan(position(shares=shares, cost=cost), reserve="1000000"))


def by_hand(bench: Bench, side: Side, shares: str, price: str, why: str = "") -> None:
    bench.later(SECOND)
    wish = ReportFill(
        portfolio="core", symbol="QQQ", side=side, shares=Shares(Decimal(shares)), price=Price(Decimal(price)),
        by="ada", why=why,
    )  # fmt: skip
    [fact] = bench.command(wish)
    assert isinstance(fact, ev.FillReported)


def adopt(bench: Bench, shares: str, cost: str | None = None) -> None:
    bench.later(SECOND)
    fact = ev.SharesAdopted(
        at=bench.now,
        portfolio="core",
        symbol="QQQ",
        before=bench.position().shares,
        shares=Shares(Decimal(shares)),
        cost=None if cost is None else dollars(cost),
        reason="tiny",
    )
    bench.take(bench.engine.record([fact]))


def report(bench: Bench, intent: ev.OrderIntended, part: str, status: OrderStatus, price: str) -> None:
    bench.later(SECOND)
    bench.report(intent, Decimal(part), status, Price(Decimal(price)))


def intended(bench: Bench, *prices: float) -> ev.OrderIntended:
    """Give the order that prices lead to."""
    [intent] = only(bench.prices(*prices), ev.OrderIntended)
    found: ev.OrderIntended = intent
    return found


# The demo adds up


def test_the_fills_of_the_demo_move_its_reserve_from_what_was_deposited_to_what_is_left(demo: Exported) -> None:
    book = demo.state.portfolios["demo"]
    spent, earned = total(of(demo.fills, side="accumulate"), "amount"), total(of(demo.fills, side="trim"), "amount")
    assert book.deposits - spent + earned - total(demo.orders, "fees") == book.reserve
    assert (spent, earned) == (book.bought, book.sold)


def test_the_fills_of_the_demo_give_each_position_its_shares(demo: Exported) -> None:
    held: dict[str | int | None, Decimal] = defaultdict(Decimal)
    for fill in demo.fills:
        held[fill["symbol"]] += number(fill, "shares") * (1 if fill["side"] == "accumulate" else -1)
    assert held == {each.symbol: each.shares for each in demo.state.positions.values()}


def test_the_tables_of_the_demo_name_its_account(demo: Exported) -> None:
    assert {each["account"] for each in [*demo.orders, *demo.fills, *demo.gains]} == {"paper"}


def test_the_orders_of_the_demo_are_one_for_each_that_was_decided(demo: Exported) -> None:
    decided = of(demo.events, kind="order_intended")
    assert column(demo.orders, "seq", "at", "order") == column(decided, "seq", "at", "order")
    assert len(demo.orders) == 442


def test_the_fills_of_each_order_of_the_demo_add_up_to_it(demo: Exported) -> None:
    by_order = [of(demo.fills, order=each["order"]) for each in demo.orders]
    assert [total(each, "shares") for each in by_order] == [number(each, "filled") for each in demo.orders]
    assert [total(each, "amount") for each in by_order] == [number(each, "cash") for each in demo.orders]


def test_the_gains_of_each_sale_of_the_demo_add_up_to_it(demo: Exported) -> None:
    sales = of(demo.fills, side="trim")
    by_sale = [of(demo.gains, seq=each["seq"]) for each in sales]
    assert [total(each, "shares") for each in by_sale] == [number(each, "shares") for each in sales]
    assert [total(each, "proceeds") for each in by_sale] == [number(each, "amount") for each in sales]
    assert [total(each, "gain") for each in by_sale] == [number(each, "gain") for each in sales]


def test_the_gains_of_the_demo_add_up_to_what_was_realized(demo: Exported) -> None:
    assert total(demo.gains, "gain") == sum(each.realized for each in demo.state.positions.values())
    assert {each["term"] for each in demo.gains} == {"short", "long"}
    assert all(number(each, "gain") == number(each, "proceeds") - number(each, "cost") for each in demo.gains)


def left(found: Exported, symbol: str) -> list[tuple[Decimal, Decimal, str]]:
    """Work out a position's lots: what was bought, less what went of each lot."""
    lots = []
    for fill in of(found.fills, symbol=symbol, side="accumulate"):
        went = of(found.gains, lot=fill["seq"])
        shares = number(fill, "shares") - total(went, "shares")
        lots.append((shares, number(fill, "amount") - total(went, "cost"), str(fill["at"])))
    return [each for each in lots if each[0]]


def test_what_was_bought_less_what_went_of_each_lot_of_the_demo_is_what_the_state_still_has(demo: Exported) -> None:
    for held in demo.state.positions.values():
        assert left(demo, held.symbol) == [(each.shares, each.cost, iso(each.acquired)) for each in held.lots]


def test_the_events_of_the_demo_say_what_events_json_says(demo: Exported) -> None:
    said: list[Object] = mrdaemon("events", "--json", "--state", demo.path.parent).objects
    told = [json.loads(line) for line in text(demo.path, Table.EVENTS, Format.JSONL).splitlines()]
    flat = [{**each, **each["body"]} for each in told]
    assert [{name: each.get(name) for name in wanted} for each, wanted in zip(flat, said, strict=True)] == said


@pytest.mark.parametrize("table", Table)
def test_every_value_is_written_as_its_kind_is(demo: Exported, table: Table) -> None:
    for row in rows(demo.path, table):
        assert list(row) == [each.name for each in columns(table)]
        for each in columns(table):
            value = row[each.name]
            assert value is None or re.fullmatch(SHAPES[each.kind], str(value)), (each, value)
            assert isinstance(value, int if each.kind is Kind.WHOLE else str) or value is None


# Orders


def test_an_order_that_fills_in_steps_has_a_fill_for_each_and_they_add_up(keep: Keep) -> None:
    bench = holding(fill=False)
    intent = intended(bench, 94.0)
    report(bench, intent, "0.3", OrderStatus.ACCEPTED, "94")
    report(bench, intent, "0.7", OrderStatus.ACCEPTED, "93.99")
    report(bench, intent, "1", OrderStatus.FILLED, "93.9871")
    found = keep(bench)
    [order] = found.orders
    assert column(found.fills, "filled", "average", "cash", "price") == [
        ("0.957446808", "94", "90.00", "94"),
        ("2.234280241", "93.99", "210.00", None),
        ("3.191927402", "93.9871", "300.00", None),
    ]
    assert (order["filled"], order["average"], order["cash"]) == ("3.191927402", "93.9871", "300.00")
    assert total(found.fills, "shares") == number(order, "filled")
    assert total(found.fills, "amount") == number(order, "cash")
    assert order["status"] == "filled"
    assert order["ended"] == found.fills[-1]["at"]


def test_an_order_says_what_was_asked_why_and_what_was_set_aside(keep: Keep) -> None:
    bench = holding()
    bench.prices(94.0, 110.0)
    asked = column(keep(bench).orders, "signal", "side", "price", "notional", "quantity", "reserved")
    assert asked == [
        (1, "accumulate", "94.0", "300.00", None, "300.00"),
        (2, "trim", "110.0", None, "7.736909090", "0.00"),
    ]


def test_an_order_in_whole_shares_says_how_many_and_its_limit(keep: Keep) -> None:
    bench = holding()
    whole = ev.AssetKnown(at=bench.now, account="paper", asset=Asset("QQQ", fractionable=False))
    bench.take(bench.engine.record([whole]))
    bench.prices(94.0)
    found = keep(bench)
    [intent] = only(bench.events, ev.OrderIntended)
    assert column(found.orders, "notional", "quantity", "limit") == [(None, "3", f"{intent.limit:f}")]


def test_an_order_that_is_open_at_the_end_has_a_row_with_what_is_known(keep: Keep) -> None:
    bench = holding(fill=False)
    report(bench, intended(bench, 94.0), "0.5", OrderStatus.ACCEPTED, "94")
    [order] = keep(bench).orders
    assert (order["status"], order["cash"], order["ended"], order["reason"]) == ("accepted", "150.00", None, None)


def test_an_order_that_was_never_answered_has_a_row_without_the_brokers_id(keep: Keep) -> None:
    bench = holding(fill=False)
    intended(bench, 94.0)
    [order] = keep(bench).orders
    assert (order["status"], order["broker_order"], order["average"]) == ("intended", None, None)
    assert (order["filled"], order["cash"], order["fees"]) == ("0", "0.00", "0.00")


def test_a_refused_order_has_the_brokers_reason(keep: Keep) -> None:
    bench = holding(fill=False)
    intent = intended(bench, 94.0)
    bench.take(bench.engine.order_ended(intent.order, OrderStatus.REJECTED, "no such asset", bench.now))
    [order] = keep(bench).orders
    assert (order["status"], order["reason"], order["ended"]) == ("rejected", "no such asset", iso(bench.now))


def test_what_an_order_filled_after_it_had_ended_counts_in_its_row(keep: Keep) -> None:
    bench = holding(fill=False)
    intent = intended(bench, 94.0)
    bench.take(bench.engine.order_ended(intent.order, OrderStatus.ABANDONED, "not found", bench.now))
    bench.later(20 * DAY)
    report(bench, intent, "0.5", OrderStatus.CANCELED, "94")
    found = keep(bench)
    [order] = found.orders
    assert (order["status"], order["cash"]) == ("abandoned", "150.00")
    assert column(found.fills, "order", "amount") == [(intent.order, "150.00")]


def test_orders_come_as_they_were_decided_however_they_end(keep: Keep) -> None:
    both = plan(position("AAA"), position("BBB"))
    bench = Bench(both, fill=False)
    bench.prices(100.0, symbol="AAA")
    bench.prices(100.0, symbol="BBB")
    [first] = only(bench.prices(94.0, symbol="AAA"), ev.OrderIntended)
    [second] = only(bench.prices(94.0, symbol="BBB"), ev.OrderIntended)
    report(bench, second, "1", OrderStatus.FILLED, "94")
    report(bench, first, "1", OrderStatus.FILLED, "94")
    found = keep(bench)
    assert column(found.orders, "order") == [(first.order,), (second.order,)]
    assert column(found.fills, "order") == [(second.order,), (first.order,)]


def test_an_order_that_cannot_change_any_more_is_given_before_the_journal_was_read_to_its_end(tmp_path: Path) -> None:
    bench = holding()
    bench.prices(94.0)
    bench.prices(85.0, step=31 * DAY)
    accepted = ev.PriceAccepted(at=bench.now, symbol="QQQ", price=Price(Decimal(90)))
    path = kept(tmp_path, bench.events, [accepted] * chain.PAGE, [accepted])
    damage(path, "UPDATE events SET body = '' WHERE seq = (SELECT max(seq) FROM events)")
    given = before_the_error(rows(path, Table.ORDERS), JournalError, "are not what was written")
    assert column(given, "signal", "status") == [(1, "filled")]


def test_fees_are_in_the_order_and_in_no_amount(keep: Keep) -> None:
    bench = holding(fill=False)
    intent = intended(bench, 110.0)
    whole = filled(intent)
    bench.take(bench.engine.order_update("paper", _with_fees(whole, "0.07"), bench.now))
    bench.take(bench.engine.order_update("paper", _with_fees(whole, "0.12"), bench.now))
    found = keep(bench)
    assert column(found.orders, "cash", "fees") == [("500.00", "0.12")]
    assert column(found.gains, "proceeds", "cost", "gain") == [("500.00", "363.64", "136.36")]
    book = found.state.portfolios["core"]
    assert book.deposits + total(found.fills, "amount") - total(found.orders, "fees") == book.reserve


def _with_fees(whole: OrderReport, fees: str) -> OrderReport:
    return msgspec.structs.replace(whole, fees=dollars(fees))


# Trades by hand


def test_a_trade_by_hand_is_a_fill_with_who_and_why(keep: Keep) -> None:
    bench = holding()
    by_hand(bench, SELL, "10", "101.5", why="rent")
    found = keep(bench)
    [fill] = found.fills
    assert {name: value for name, value in fill.items() if value is not None} == {
        "seq": len(bench.events),
        "at": iso(bench.now),
        "source": "by hand",
        "account": "paper",
        "portfolio": "core",
        "symbol": "QQQ",
        "side": "trim",
        "shares": "10",
        "price": "101.5",
        "amount": "1015.00",
        "gain": "215.00",
        "by": "ada",
        "why": "rent",
    }
    assert column(found.gains, "source", "order", "proceeds", "gain") == [("by hand", None, "1015.00", "215.00")]


# Gains


def test_a_sale_through_several_lots_has_a_row_for_each_oldest_first(keep: Keep) -> None:
    bench = unwatched(shares="3", cost="10")
    by_hand(bench, BUY, "2", "7")
    by_hand(bench, BUY, "5", "9")
    bought = len(bench.events)
    by_hand(bench, SELL, "6", "11.11")
    found = keep(bench)
    assert column(found.fills, "by", "why") == [("ada", None)] * 3
    assert column(found.gains, "lot", "lot_source", "shares", "proceeds", "cost", "gain") == [
        (only_seq(found, "position_opened"), "opening", "3", "33.33", "10.00", "23.33"),
        (bought - 1, "by hand", "2", "22.22", "14.00", "8.22"),
        (bought, "by hand", "1", "11.11", "9.00", "2.11"),
    ]
    assert column(found.fills[-1:], "gain") == [("33.66",)]


def only_seq(found: Exported, kind: str) -> str | int | None:
    [event] = of(found.events, kind=kind)
    return event["seq"]


def test_a_lot_of_unknown_cost_leaves_its_row_and_the_sale_unknown_and_the_other_rows_known(keep: Keep) -> None:
    bench = unwatched(shares="3", cost=None)
    by_hand(bench, BUY, "2", "7")
    by_hand(bench, SELL, "4", "10")
    found = keep(bench)
    assert column(found.gains, "shares", "proceeds", "cost", "gain") == [
        ("3", "30.00", None, None),
        ("1", "10.00", "7.00", "3.00"),
    ]
    assert column(found.fills[-1:], "gain") == [(None,)]


def test_nobody_knows_when_shares_that_were_taken_over_were_bought(keep: Keep) -> None:
    bench = unwatched(shares="3", cost="10")
    adopt(bench, "5", cost="20")
    by_hand(bench, SELL, "5", "10")
    found = keep(bench)
    assert column(found.gains, "lot_source", "acquired_at", "acquired_on", "term", "gain") == [
        ("opening", None, None, None, "20.00"),
        ("adopted", None, None, None, "0.00"),
    ]


def test_shares_that_went_without_a_sale_have_a_row_without_proceeds_and_leave_the_lots_right(keep: Keep) -> None:
    bench = unwatched(shares="3", cost="9")
    by_hand(bench, BUY, "2", "7")
    adopt(bench, "4.5")
    by_hand(bench, SELL, "4", "10")
    adopt(bench, "0.25")
    found = keep(bench)
    assert column(found.gains, "source", "shares", "proceeds", "cost", "gain", "term") == [
        ("adopted", "0.5", None, "1.50", None, None),
        ("by hand", "2.5", "25.00", "7.50", "17.50", None),
        ("by hand", "1.5", "15.00", "10.50", "4.50", "short"),
        ("adopted", "0.25", None, "1.75", None, None),
    ]
    assert total(of(found.gains, source="by hand"), "gain") == found.state.positions["core/QQQ"].realized
    assert [(each.shares, each.cost) for each in found.state.positions["core/QQQ"].lots] == [
        (Decimal("0.25"), dollars("1.75"))
    ]


def test_a_count_of_shares_that_stays_as_it_is_neither_brings_nor_takes_a_lot(keep: Keep) -> None:
    bench = unwatched(shares="3", cost="9")
    adopt(bench, "3", cost="9")
    by_hand(bench, BUY, "2", "7")
    by_hand(bench, SELL, "5", "10")
    assert column(keep(bench).gains, "lot_source", "shares") == [("opening", "3"), ("by hand", "2")]


def test_what_was_sold_beyond_every_lot_has_a_row_without_a_lot(tmp_path: Path) -> None:
    bench = unwatched(shares="3", cost="9")
    sale = ev.FillReported(
        at=bench.now, portfolio="core", symbol="QQQ", side=SELL, shares=Shares(Decimal(4)), price=Price(Decimal(10)),
        amount=dollars(40), by="ada",
    )  # fmt: skip
    found = exported(kept(tmp_path, [*bench.events, sale]))
    assert column(found.gains, "lot_source", "shares", "proceeds", "cost", "gain") == [
        ("opening", "3", "30.00", "9.00", "21.00"),
        (None, "1", "10.00", None, None),
    ]


def at(moment: str) -> Instant:
    instant = parse(moment)
    assert isinstance(instant, int)
    return instant


def hand_trade(side: Side, moment: str, gain: str | None = None) -> ev.FillReported:
    return ev.FillReported(
        at=at(moment),
        portfolio="core",
        symbol="QQQ",
        side=side,
        shares=Shares(Decimal(1)),
        price=Price(Decimal(10)),
        amount=dollars(10),
        by="ada",
        gain=None if gain is None else dollars(gain),
    )


@pytest.mark.parametrize(
    ("bought", "sold", "term"),
    [
        ("2024-02-05T15:00:00Z", "2024-02-05T16:00:00Z", "short"),
        ("2024-02-05T15:00:00Z", "2025-02-05T20:00:00Z", "short"),
        ("2024-02-05T15:00:00Z", "2025-02-06T14:30:00Z", "long"),
        ("2024-02-05T20:59:59Z", "2025-02-06T14:30:00Z", "long"),
        pytest.param("2024-02-06T03:00:00Z", "2025-02-06T03:00:00Z", "short", id="both are the 5th in New York"),
        pytest.param("2024-02-06T03:00:00Z", "2025-02-06T06:00:00Z", "long", id="only the purchase is the 5th there"),
        pytest.param("2024-07-05T03:30:00Z", "2025-07-05T03:30:00Z", "short", id="both are the 4th in its summer"),
        pytest.param("2024-07-05T03:30:00Z", "2025-07-05T04:30:00Z", "long", id="only the purchase is the 4th there"),
        ("2023-12-31T15:00:00Z", "2024-12-31T15:00:00Z", "short"),
        ("2023-12-31T15:00:00Z", "2025-01-01T15:00:00Z", "long"),
        pytest.param("2023-02-28T15:00:00Z", "2024-02-29T15:00:00Z", "short", id="sold on leap day"),
        pytest.param("2023-02-28T15:00:00Z", "2024-03-01T15:00:00Z", "long", id="sold after leap day"),
        pytest.param("2024-02-28T15:00:00Z", "2025-02-28T15:00:00Z", "short", id="held from leap day"),
        pytest.param("2024-02-28T15:00:00Z", "2025-03-01T15:00:00Z", "long", id="held from leap day for a year"),
        pytest.param("2024-02-29T15:00:00Z", "2025-02-28T15:00:00Z", "short", id="bought on leap day"),
        pytest.param("2024-02-29T15:00:00Z", "2025-03-01T15:00:00Z", "long", id="bought on leap day, a year later"),
    ],
)
def test_a_lot_is_long_once_it_was_held_for_more_than_one_year(
    tmp_path: Path, bought: str, sold: str, term: str
) -> None:
    bench = Bench(plan(position(shares=None, initial=True)))
    facts = [*bench.events, hand_trade(BUY, bought), hand_trade(SELL, sold, "0.00")]
    [gain] = exported(kept(tmp_path, facts)).gains
    assert gain["term"] == term
    assert (gain["acquired_at"], gain["sold_at"]) == (bought, sold)


def test_days_are_days_in_new_york(tmp_path: Path) -> None:
    bench = Bench(plan(position(shares=None, initial=True)))
    facts = [
        *bench.events,
        hand_trade(BUY, "2024-02-06T03:00:00Z"),
        hand_trade(SELL, "2024-07-05T03:59:59.999999999Z", "0.00"),
    ]
    [gain] = exported(kept(tmp_path, facts)).gains
    assert (gain["acquired_on"], gain["sold_on"]) == ("2024-02-05", "2024-07-04")


def test_a_journaled_gain_that_the_lots_do_not_bear_out_is_told(tmp_path: Path) -> None:
    bench = unwatched(shares="3", cost="9")
    by_hand(bench, SELL, "1", "10")
    path = kept(tmp_path, [*bench.events, hand_trade(SELL, iso(bench.now), "6.99")])
    says = f"event {len(bench.events) + 1} journals a gain of 6.99, but its lots say 7.00; report this"
    assert len(before_the_error(rows(path, Table.GAINS), ExportError, says)) == 1


def test_a_journaled_gain_although_a_cost_is_unknown_is_told(tmp_path: Path) -> None:
    bench = unwatched(shares="3", cost=None)
    path = kept(tmp_path, [*bench.events, hand_trade(SELL, iso(bench.now), "6.99")])
    assert before_the_error(rows(path, Table.GAINS), ExportError, "journals a gain of 6.99") == []


trades = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "sell", "adopt"]),
        st.decimals("0.000000001", "9", places=9),
        st.decimals("0.01", "999", places=4),
    ),
    min_size=1,
    max_size=25,
)


def live(bench: Bench, lives: list[tuple[str, Decimal, Decimal]]) -> None:
    for what, shares, price in lives:
        held = bench.position().shares
        if what == "adopt":
            adopt(bench, f"{max(Decimal(0), held + shares - 4):f}")
        elif what == "buy" or shares <= held:
            by_hand(bench, BUY if what == "buy" else SELL, f"{shares:f}", f"{price:f}")


@given(st.sampled_from([None, "100.01"]), trades)
@settings(max_examples=60, deadline=None)
def test_whatever_is_traded_the_rows_add_up(cost: str | None, lives: list[tuple[str, Decimal, Decimal]]) -> None:
    bench = unwatched(shares="7.000000001", cost=cost)
    live(bench, lives)
    with TemporaryDirectory() as folder:
        found = exported(kept(Path(folder), bench.events))
    held = found.state.positions["core/QQQ"]
    for sale in of(found.fills, side="trim"):
        parts = of(found.gains, seq=sale["seq"])
        assert total(parts, "shares") == number(sale, "shares")
        assert total(parts, "proceeds") == number(sale, "amount")
        assert min(number(each, "proceeds") for each in parts) >= 0
        if sale["gain"] is not None:
            assert total(parts, "gain") == number(sale, "gain")
    went = total(found.gains, "shares")
    came = Decimal("7.000000001") + total(of(found.fills, side="accumulate"), "shares")
    came += sum(max(Decimal(0), each.shares - each.before) for each in only(bench.events, ev.SharesAdopted))
    assert came - went == sum(each.shares for each in held.lots)
    assert total(found.fills, "gain") == held.realized


# Activities


def booked(bench: Bench, activity: Activity, shares: str = "0") -> None:
    bench.later(SECOND)
    bench.take(bench.engine.activity("paper", activity, {"QQQ": Shares(Decimal(shares))}, bench.now))


def busy() -> Bench:
    """Give a bench whose broker paid a dividend, withheld tax, took a fee and split the shares."""
    bench = holding()
    about: dict[str, Any] = {"symbol": "QQQ", "date": "2020-09-15"}
    booked(bench, Dividend(id="a1", amount=dollars("12.50"), per_share=Price(Decimal("0.25")), **about))
    booked(bench, Dividend(id="a2", amount=dollars("-1.88"), **about))
    booked(bench, Fee(id="a3", amount=dollars("0.03"), why="regulatory fee", **about))
    booked(bench, Split(id="a4", new_rate=Decimal(4), old_rate=Decimal(1), **about), "200")
    return bench


def test_what_the_broker_booked_has_a_row_each(keep: Keep) -> None:
    found = keep(busy()).activities
    assert [(each["what"], each["activity"], each["date"]) for each in found] == [
        ("dividend", "a1", "2020-09-15"),
        ("dividend", "a2", "2020-09-15"),
        ("fee", "a3", "2020-09-15"),
        ("split", "a4", "2020-09-15"),
    ]
    assert [each["amount"] for each in found] == ["12.50", "-1.88", "-0.03", None]
    assert [each["per_share"] for each in found] == ["0.25", None, None, None]
    assert [each["why"] for each in found] == [None, None, "regulatory fee", None]
    rates = {name: found[3][name] for name in ("before", "shares", "new_rate", "old_rate")}
    assert rates == {"before": "50", "shares": "200", "new_rate": "4", "old_rate": "1"}


def test_activities_are_in_the_sum_that_gives_the_reserve(keep: Keep) -> None:
    found = keep(busy())
    book = found.state.portfolios["core"]
    assert book.deposits + total(found.activities, "amount") == book.reserve == Decimal("5010.59")


def test_what_is_sold_after_a_split_comes_from_the_lots_of_before(keep: Keep) -> None:
    bench = busy()
    by_hand(bench, SELL, "100", "26")
    [gone] = keep(bench).gains
    assert (gone["shares"], gone["cost"], gone["gain"]) == ("100", "2000.00", "600.00")


# Files


STORY = """\
seq,at,order,broker_order,account,portfolio,symbol,signal,side,price,notional,quantity,limit,reserved,status,filled,\
average,cash,fees,ended,reason
11,2020-09-13T12:26:42Z,mrd-core-QQQ-1-1-n,b-mrd-core-QQQ-1-1-n,paper,core,QQQ,1,accumulate,94.0,300.00,,,300.00,filled,\
3.191489361,94.0,300.00,0.00,2020-09-13T12:26:42Z,
16,2020-09-13T12:26:43Z,mrd-core-QQQ-2-1-n,b-mrd-core-QQQ-2-1-n,paper,core,QQQ,2,trim,110.0,,7.736909090,,0.00,filled,\
7.736909090,110.0,851.06,0.00,2020-09-13T12:26:43Z,
"""


@pytest.fixture
def story(tmp_path: Path) -> Path:
    """Give the journal of a purchase, a sale and a trade by hand."""
    bench = holding()
    bench.prices(94.0, 110.0)
    by_hand(bench, SELL, "0.000000001", "5", why="to try it")
    return kept(tmp_path, *([each] for each in bench.events))


def test_the_bytes_of_a_table_are_these_for_ever(story: Path) -> None:
    assert text(story, Table.ORDERS, Format.CSV) == STORY.replace("\n", "\r\n")
    last = text(story, Table.FILLS, Format.JSONL).splitlines()[-1]
    assert last == (
        '{"seq": 20, "at": "2020-09-13T12:26:44Z", "source": "by hand", "order": null, "account": "paper", '
        '"portfolio": "core", "symbol": "QQQ", "side": "trim", "shares": "0.000000001", "price": "5", "amount": '
        '"0.00", "filled": null, "average": null, "cash": null, "gain": "0.00", "by": "ada", "why": "to try it"}'
    )


@pytest.mark.parametrize("table", Table)
@pytest.mark.parametrize("form", Format)
def test_the_same_journal_gives_the_same_bytes(demo: Exported, table: Table, form: Format) -> None:
    assert text(demo.path, table, form) == text(demo.path, table, form)


@pytest.mark.parametrize("table", Table)
def test_csv_and_json_lines_say_the_same(demo: Exported, table: Table) -> None:
    lines = [json.loads(line) for line in text(demo.path, table, Format.JSONL).splitlines()]
    nested = [each.name for each in columns(table) if each.kind is Kind.JSON]
    flat = [{**line, **{name: json.dumps(line[name]) for name in nested}} for line in lines]
    as_text = [{name: "" if value is None else str(value) for name, value in line.items()} for line in flat]
    assert cells(demo.path, table) == as_text


@pytest.mark.parametrize("table", Table)
@pytest.mark.parametrize("at_seq", [0, 1, 1000, 2239])
def test_an_export_goes_on_after_any_number(demo: Exported, table: Table, at_seq: int) -> None:
    whole = list(rows(demo.path, table))
    head = [each for each in whole if int(str(each["seq"])) <= at_seq]
    assert head + list(rows(demo.path, table, at_seq)) == whole


@pytest.mark.parametrize("table", OF_TRADES)
def test_an_export_goes_on_after_the_last_row_of_the_one_before(demo: Exported, table: Table) -> None:
    whole = list(rows(demo.path, table))
    assert list(rows(demo.path, table, int(str(whole[9]["seq"])))) == whole[10:]


def test_a_table_without_rows_is_a_header_in_csv_and_nothing_in_json_lines(tmp_path: Path) -> None:
    path = kept(tmp_path, holding().events)
    assert text(path, Table.GAINS, Format.CSV) == ",".join(each.name for each in columns(Table.GAINS)) + "\r\n"
    assert text(path, Table.GAINS, Format.JSONL) == ""


def test_writing_tells_how_many_rows_there_were(demo: Exported) -> None:
    assert write(iter(demo.orders), Table.ORDERS, Format.CSV, io.StringIO()) == 442
    assert write(iter(()), Table.ORDERS, Format.CSV, io.StringIO()) == 0


HOSTILE = (
    '=HYPERLINK("http://example.com")',
    "+1",
    "-1+1|cmd",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\0=1",
    "\uff1d1",
    "'tis so",
)


@pytest.mark.parametrize("why", HOSTILE)
def test_a_text_that_a_spreadsheet_might_run_has_an_apostrophe_before_it_in_csv_only(keep: Keep, why: str) -> None:
    bench = holding()
    by_hand(bench, SELL, "10", "1", why=why)
    found = keep(bench)
    assert cells(found.path, Table.FILLS)[-1]["why"] == "'" + why
    assert cells(found.path, Table.EVENTS)[-1]["why"] == "'" + why
    assert json.loads(text(found.path, Table.FILLS, Format.JSONL).splitlines()[-1])["why"] == why


def test_a_loss_is_a_number_and_is_left_as_it_is(keep: Keep) -> None:
    bench = holding()
    by_hand(bench, SELL, "10", "1")
    assert cells(keep(bench).path, Table.GAINS)[-1]["gain"] == "-790.00"


@pytest.mark.parametrize("why", ['a "quote", a comma', "two\nlines", "two\r\nlines", "Zürich, 東京", "plain = text"])
def test_any_other_text_comes_out_of_csv_as_it_went_in(keep: Keep, why: str) -> None:
    bench = holding()
    by_hand(bench, SELL, "10", "1", why=why)
    assert cells(keep(bench).path, Table.FILLS)[-1]["why"] == why


def test_small_numbers_have_no_exponent(keep: Keep) -> None:
    bench = unwatched(shares="1E-9", cost="0")
    by_hand(bench, BUY, "1E-9", "1E-7")
    by_hand(bench, SELL, "2E-9", "1E-7")
    found = keep(bench)
    assert column(found.fills, "shares", "price") == [("0.000000001", "0.0000001"), ("0.000000002", "0.0000001")]
    assert column(found.gains, "shares") == [("0.000000001",), ("0.000000001",)]
    assert "E-" not in str(found.events[-1]["body"])


def test_who_did_it_is_told_where_it_was_the_daemon_itself_too(tmp_path: Path) -> None:
    bench = holding()
    halted = ev.PositionHalted(at=bench.now, portfolio="core", symbol="QQQ", reason="look")
    assert exported(kept(tmp_path, [*bench.events, halted])).events[-1]["by"] == "mrdaemon"


# What is wrong


@pytest.mark.parametrize("table", Table)
@pytest.mark.parametrize("after", [-1, 21, 10**12])
def test_a_number_that_no_event_has_is_refused_at_once(story: Path, table: Table, after: int) -> None:
    says = re.escape(f"wanted the number of an event, from 0 (all) to 20 (the newest), got {after}")
    with pytest.raises(ExportError, match=says):
        rows(story, table, after)


def test_a_journal_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal of this name"):
        rows(tmp_path / JOURNAL, Table.EVENTS)


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Give a journal of a story and a page of prices in one commit, and another story in the next."""
    bench = holding()
    bench.prices(94.0, 110.0)
    first = list(bench.events)
    bench.prices(94.0, 110.0)
    prices = [ev.PriceAccepted(at=START, symbol="QQQ", price=Price(Decimal(90)))] * chain.PAGE
    return kept(tmp_path, [*first, *prices], bench.events[len(first) :])


@pytest.mark.parametrize(("table", "sound"), [(Table.EVENTS, chain.PAGE + 19), (Table.FILLS, 2), (Table.GAINS, 1)])
def test_a_damaged_journal_is_told_after_the_rows_before_it(long: Path, table: Table, sound: int) -> None:
    whole = list(rows(long, table))
    damage(long, "UPDATE events SET body = replace(body, '94', '95') WHERE seq > ?", chain.PAGE + 19)
    given = before_the_error(rows(long, table), JournalError, "are not what was written: their hash differs")
    assert given == whole[:sound]


@pytest.mark.parametrize("table", OF_TRADES)
def test_an_end_that_was_cut_off_is_told_after_the_rows(long: Path, table: Table) -> None:
    whole = list(rows(long, table))
    damage(long, "DELETE FROM events WHERE seq > ?", chain.PAGE + 19)
    given = before_the_error(rows(long, table), JournalError, "was acknowledged: it was cut off, or is an older one")
    assert given == whole[: len(given)]
    assert 0 < len(given) < len(whole)


# The documentation


def described(table: Table) -> Iterator[Column]:
    [section] = re.findall(rf"^## {table}\n(.*?)^## ", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for name, kind, meaning in re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", section, re.MULTILINE):
        yield Column(name, Kind(kind), meaning)


@pytest.mark.parametrize("table", Table)
def test_the_documentation_describes_every_column_in_its_place(table: Table) -> None:
    assert tuple(described(table)) == columns(table)
