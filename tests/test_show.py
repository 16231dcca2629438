"""What people and programs read: JSON Lines, plain lines, sentences, and the table at any width."""

from __future__ import annotations

import io
import json
import re
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from mrdaemon.board import (
    BOXES,
    LETTERS,
    NARROWEST_GAUGE,
    PICTURE,
    WATCH,
    ZONE,
    Band,
    Board,
    gauge,
    glyphs_for,
    lay_out,
    progress,
)
from mrdaemon.chain import Record
from mrdaemon.core import events as ev
from mrdaemon.core.acts import refused
from mrdaemon.core.commands import (
    Approve,
    Command,
    Deposit,
    Pause,
    Reconcile,
    Reject,
    ReportFill,
    Resume,
    SetTarget,
    SetTradingState,
    Thaw,
    Withdraw,
)
from mrdaemon.core.engine import Seen
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import Dollars, Price, Shares
from mrdaemon.core.policy import Asset, Side, TradingState
from mrdaemon.core.state import State
from mrdaemon.report import Baseline, Summary
from mrdaemon.sentences import sentence
from mrdaemon.show import event_line, event_object, json_line, line, position_line, record_object, summary_lines
from mrdaemon.status import PositionStatus, positions_of, zone_of
from tests.builders import Bench, dollars, plan, position
from tests.running import Place, mrdaemon

FILLED = ev.OrderFilled(
    at=Instant(1_600_000_000 * SECOND),
    portfolio="core",
    symbol="QQQ",
    order="mrd-core-QQQ-1-1-n",
    side=Side.TRIM,
    filled=Shares(Decimal("2.500000000")),
    average=Price(Decimal("110.2")),
    cash=dollars("275.50"),
    shares=Shares(Decimal("2.500000000")),
    amount=dollars("275.50"),
    gain=dollars("25.50"),
)


# JSON


def test_an_event_is_its_kind_its_time_its_fields_in_order_and_a_sentence() -> None:
    assert list(event_object(FILLED)) == [
        "kind",
        "at",
        "portfolio",
        "symbol",
        "order",
        "side",
        "filled",
        "average",
        "cash",
        "shares",
        "amount",
        "gain",
        "sentence",
    ]


def test_a_journaled_event_has_its_number_and_its_commit_before_that() -> None:
    found = record_object(Record(seq=7, event=FILLED, wall=1_700_000_000_123_000_000, cursor=42))
    assert list(found)[:5] == ["seq", "wall", "cursor", "kind", "at"]
    assert (found["seq"], found["wall"], found["cursor"]) == (7, "2023-11-14T22:13:20.123Z", 42)


def test_an_event_of_a_stream_has_a_null_cursor() -> None:
    assert record_object(Record(seq=7, event=FILLED, wall=0, cursor=None))["cursor"] is None


def test_times_are_rfc_3339_and_money_and_shares_are_strings() -> None:
    found = event_object(FILLED)
    assert found["at"] == "2020-09-13T12:26:40Z"
    assert (found["amount"], found["shares"], found["average"]) == ("275.50", "2.500000000", "110.2")


def test_small_decimals_are_never_written_with_an_exponent() -> None:
    known = ev.AssetKnown(at=Instant(0), account="paper", asset=Asset("QQQ"))
    assert event_object(known)["asset"]["increment"] == "0.000000001"


def test_every_instant_of_every_kind_of_event_is_written_as_a_time() -> None:
    instants = {
        name for kind in ev.KINDS.values() for name, type_ in kind.__annotations__.items() if "Instant" in str(type_)
    }
    assert instants <= {"at", "until", "expires", "since"}


def test_json_is_one_line_of_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    json_line({"why": "naïve\nsplit \udc80"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out) == {"why": "naïve\nsplit \udc80"}


def test_a_line_that_the_terminal_cannot_write_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(out, encoding="ascii"))
    line("naïve → \udc80")
    assert out.getvalue() == b"na\\xefve \\u2192 \\udc80\n"


# Sentences


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (SetTradingState(by="ada", state=TradingState.HALTED), "Setting trading to HALTED"),
        (
            SetTradingState(by="ada", state=TradingState.REDUCING, portfolio="core", symbol="QQQ"),
            "Setting trading in core/QQQ to REDUCING",
        ),
        (Resume(by="ada", symbol="QQQ"), "Resuming trading in QQQ"),
        (Pause(by="ada", paused=True), "Pausing signals"),
        (Pause(by="ada", paused=True, symbol="QQQ"), "Pausing signals of QQQ"),
        (Pause(by="ada", paused=False, symbol="QQQ"), "Ending the pause of signals of QQQ"),
        (Thaw(by="ada", symbol="QQQ"), "Thawing QQQ"),
        (Deposit(by="ada", portfolio="core", amount=dollars("1234.5")), "A deposit of $1,234.50 into core"),
        (Deposit(by="ada", portfolio="", amount=Dollars(Decimal("0.001"))), "A deposit of $0.001"),
        (Withdraw(by="ada", portfolio="core", amount=dollars("-3")), "A withdrawal of -$3.00 from core"),
        (SetTarget(by="ada", portfolio="core", symbol="QQQ", target=dollars(0)), "A target of $0.00 for core/QQQ"),
        (
            ReportFill(
                by="ada",
                portfolio="core",
                symbol="QQQ",
                side=Side.TRIM,
                shares=Shares(Decimal(2)),
                price=Price(Decimal("401.2575")),
            ),
            "A sale by hand of 2 QQQ at $401.2575 in core",
        ),
        (Reconcile(by="ada", account="paper"), "Reconciling paper"),
        (Approve(by="ada", portfolio="core", symbol="QQQ", number=7), "Approving core/QQQ/7"),
        (Approve(by="ada", portfolio="", symbol="", number=0), "Approving"),
        (Reject(by="ada", portfolio="", symbol="QQQ", number=0), "Rejecting QQQ"),
    ],
    ids=lambda each: each.replace("/", "-") if isinstance(each, str) else "",
)
def test_a_refused_command_is_told_in_words_with_what_it_named(command: Command, said: str) -> None:
    assert sentence(refused(command, "it is too late", Instant(0))) == f"{said} by ada was refused: it is too late."


@pytest.mark.parametrize("name", [each.__name__ for each in Command.__subclasses__()])
def test_every_command_that_is_refused_has_words_also_where_nothing_of_it_was_understood(name: str) -> None:
    told = sentence(ev.CommandRefused(at=Instant(0), command=name, by="mqtt house", reason="it is stale"))
    assert told.endswith(" by mqtt house was refused: it is stale.")
    assert name not in told.split()
    assert "  " not in told


def test_a_command_that_nobody_knows_is_named_as_it_came() -> None:
    told = sentence(ev.CommandRefused(at=Instant(0), command="dance", by="mqtt house", reason="there is no such"))
    assert told == "The command dance by mqtt house was refused: there is no such."


@pytest.mark.parametrize("kind", ev.KINDS.values(), ids=ev.KINDS)
def test_every_kind_of_event_has_a_sentence_of_its_own(kind: type[ev.Event]) -> None:
    from mrdaemon.sentences import _SENTENCES  # noqa: PLC0415 - the table itself is what is looked at

    assert kind in _SENTENCES


def test_a_sale_says_what_it_gained() -> None:
    assert sentence(FILLED) == "Sold 2.5 QQQ for $275.50 at 110.2, a gain of $25.50."


def test_what_froze_names_the_command_that_lets_it_trade_again() -> None:
    before, price = Price(Decimal(500)), Price(Decimal(250))
    why = "QQQ moved from 500 to 250"
    frozen = ev.SymbolFrozen(at=Instant(0), symbol="QQQ", before=before, price=price, reason=why)
    assert sentence(frozen) == (
        "Frozen: QQQ moved from 500 to 250. A person must look; then, if shares and target are right: "
        "mrdaemon resume QQQ."
    )


def test_a_sale_below_cost_says_what_it_lost() -> None:
    lost = msgspec.structs.replace(FILLED, gain=dollars("-3.10"))
    assert sentence(lost) == "Sold 2.5 QQQ for $275.50 at 110.2, a loss of $3.10."


def test_an_event_on_a_line_begins_with_its_time_and_symbol() -> None:
    assert event_line(FILLED).startswith("2020-09-13 12:26:40Z  QQQ      Sold 2.5 QQQ")


# The gauge


@pytest.mark.parametrize(
    ("worth", "drawn"),
    [
        ("4000", "◀─────┼─────┤"),
        ("4750", "◀─────┼─────┤"),
        ("4750.01", "├●────┼─────┤"),
        ("4875", "├──●──┼─────┤"),
        ("5000", "├─────●─────┤"),
        ("5125", "├─────┼──●──┤"),
        ("5249.99", "├─────┼────●┤"),
        ("5250", "├─────┼─────▶"),
        ("9000", "├─────┼─────▶"),
    ],
)
def test_a_gauge_shows_where_a_value_stands_between_the_edges(worth: str, drawn: str) -> None:
    assert gauge(Band(dollars(4750), dollars(5000), dollars(5250)), dollars(worth), 13) == drawn


def test_each_side_of_a_gauge_has_its_own_scale() -> None:
    lopsided = Band(dollars(4750), dollars(5000), dollars(7500))
    assert gauge(lopsided, dollars(4875), 13) == "├──●──┼─────┤"
    assert gauge(lopsided, dollars(6250), 13) == "├─────┼──●──┤"


@pytest.mark.parametrize(("encoding", "glyphs"), [("utf-8", BOXES), ("ascii", LETTERS), ("latin-1", LETTERS)])
def test_a_gauge_is_drawn_with_what_the_terminal_can_write(encoding: str, glyphs: object) -> None:
    assert glyphs_for(encoding) == glyphs


@pytest.mark.parametrize(
    ("part", "drawn"),
    [(0.0, "----"), (0.5, "==--"), (1.0, "===="), (1.7, "===="), (-1.0, "----")],
)
def test_progress_stays_between_nothing_and_all(part: float, drawn: str) -> None:
    assert progress(part, 4, LETTERS) == drawn


# The table


def at(price: str | None) -> Seen:
    return Seen(None if price is None else Price(Decimal(price)), None)


def statuses(state: State, price: str | None = "104") -> list[PositionStatus]:
    return list(positions_of(state, lambda _: at(price), lambda each: zone_of(state, each), state.at))


@pytest.fixture
def state() -> State:
    bench = Bench(plan(position(shares="50"), position("BRK.B", shares="1000", target="1000000"), reserve="12345.67"))
    bench.prices(100.0, 101.0)
    return bench.state


def drawn(state: State, width: int, encoding: str = "utf-8", price: str | None = "104") -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=out, width=width, color_system=None)
    console.print(Board(statuses(state, price), ["reserve"]))
    out.seek(0)
    return out.read()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
def test_the_table_fits_every_width(state: State, width: int) -> None:
    lines = drawn(state, width).splitlines()
    assert max(map(len, lines)) <= width
    assert [each.split()[0] for each in lines[1:3]] == ["QQQ", "BRK.B"]


def test_eighty_columns_hold_every_figure_of_a_usual_position(state: State) -> None:
    del state.positions["core/BRK.B"]
    header, row, *_ = drawn(state, 80).splitlines()
    assert header.split() == ["price", "value", "target", "zone", "buy", "at", "sell", "at", "buys", "sells"]
    assert row.split()[:4] == ["QQQ", "104.00", "$5,200.00", "$5,000.00"]
    assert row.split()[5:] == ["95.00", "105.00", "0", "0"]


def test_the_columns_keep_their_places_while_prices_move(state: State) -> None:
    assert lay_out(statuses(state, "1.5"), 100) == lay_out(statuses(state, "140"), 100)


def test_a_narrow_table_gives_up_columns_and_never_the_symbol() -> None:
    assert [each.name for each in lay_out([], 5).columns] == [""]
    assert lay_out([], 200).columns == list(PICTURE.columns)
    assert lay_out([], 30).widths[ZONE.name] >= NARROWEST_GAUGE


def test_a_terminal_without_boxes_gets_letters(state: State) -> None:
    text = drawn(state, 80, "ascii")
    assert text.isascii()
    assert re.search(r"\[-+\+-*o-*\]", text)


def test_a_position_without_a_price_says_so(state: State) -> None:
    assert "no price" in drawn(state, 100, price=None)


def test_what_keeps_a_position_from_trading_is_said_below(state: State) -> None:
    state.positions["core/QQQ"].halted = "the broker holds 60"
    assert "QQQ: HALTED: the broker holds 60" in drawn(state, 80)
    assert "HALTED: the broker holds 60" in position_line(statuses(state)[0])


def test_a_value_is_that_of_the_price_at_hand_and_not_of_the_last_signal(state: State) -> None:
    assert statuses(state)[0].value == dollars(5200)


def test_a_changed_target_moves_the_gauge() -> None:
    bench = Bench(plan(position(shares="50")))
    bench.command(SetTarget(portfolio="core", symbol="QQQ", target=dollars(5200), by="operator"))
    assert "├──────●──────┤" in drawn(bench.state, 50)


# The watch


def watched(state: State, width: int) -> list[str]:
    return [each.name for each in lay_out(statuses(state), width, WATCH).columns]


def test_eighty_columns_hold_what_a_watch_is_for(state: State) -> None:
    del state.positions["core/BRK.B"]
    assert watched(state, 80) == ["", "price", "age", "value", "target", "zone", "buy at", "sell at", "order"]


def test_two_hundred_columns_hold_everything(state: State) -> None:
    assert watched(state, 200) == [each.name for each in WATCH.columns]


def test_positions_of_several_portfolios_are_named_by_both(state: State) -> None:
    state.positions["core/BRK.B"].portfolio = "other"
    state.portfolios["other"] = state.portfolios["core"]
    assert watched(state, 80)[0] == "position"
    assert "other/BRK.B" in drawn(state, 80)


def many(count: int) -> list[PositionStatus]:
    """Positions, of which the last is nearest to an edge."""
    [one, *_] = statuses(Bench(plan(position())).state, "100")
    return [
        msgspec.structs.replace(one, symbol=f"S{each}", value=dollars(5000 + each * 240 // count))
        for each in range(count)
    ]


def fitted(positions: list[PositionStatus], rows: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(Board(positions, ["reserve"], view=WATCH, rows=rows))
    return out.getvalue().splitlines()


def test_a_table_that_is_too_long_shows_what_is_nearest_to_an_edge_and_counts_the_rest() -> None:
    lines = fitted(many(300), 24)
    assert len(lines) <= 24
    assert lines[1].split()[0] == "S299"
    assert "and 280 more" in lines


def test_a_table_that_fits_keeps_the_order_of_the_configuration() -> None:
    assert [each.split()[0] for each in fitted(many(3), 24)[1:4]] == ["S0", "S1", "S2"]


def test_what_needs_a_person_comes_first_and_its_remarks_do_not_push_the_table_out() -> None:
    positions = [
        msgspec.structs.replace(each, remarks=("HALTED: odd",)) if number >= 290 else each
        for number, each in enumerate(reversed(many(300)))
    ]
    lines = fitted(positions, 24)
    assert len(lines) <= 24
    assert {each.split()[0] for each in lines[1:11]} == {f"S{each}" for each in range(10)}
    assert any(each.startswith("and ") and "more remarks" in each for each in lines)


# The summary


def summary(gain: int, *baselines: int) -> Summary:
    return Summary(
        signals=1,
        held=0,
        buys=1,
        sells=0,
        bought=dollars(100),
        sold=dollars(0),
        fees=dollars(0),
        dividends=dollars(0),
        initial_buys=0,
        initial=dollars(0),
        reserve_at_start=dollars(1000),
        reserve_used=dollars(100),
        reserve_left=dollars(900),
        realized=dollars(0),
        unrealized=None,
        started_with=dollars(1000),
        ends_with=dollars(1000 + gain),
        gain=dollars(gain),
        positions=(),
        baselines=tuple(
            Baseline(name, dollars(1000 + each), dollars(each))
            for name, each in zip(("holding", "investing"), baselines, strict=True)
        ),
    )


@pytest.mark.parametrize(
    ("baselines", "verdict"),
    [
        ((5, 5), "Here the method came out ahead: it earns where prices swing."),
        ((5, 20), "Here the method made less than investing."),
        ((20, 20), "Here the method made less than either: where prices trend, it sells early."),
    ],
)
def test_a_summary_says_honestly_who_did_better(baselines: tuple[int, int], verdict: str) -> None:
    assert summary_lines(summary(10, *baselines))[-1] == verdict


def test_dividends_are_told_and_left_out_of_who_did_better() -> None:
    lines = summary_lines(msgspec.structs.replace(summary(10, 5, 5), dividends=dollars(6)))
    assert "dividends $6.00 paid into the reserve" in lines
    assert "The first line has $6.00 of dividends, the others have none; apart from them:" in lines
    assert lines[-1] == "Here the method made less than either: where prices trend, it sells early."


def test_a_summary_fits_eighty_columns_and_says_what_is_unknown() -> None:
    lines = summary_lines(summary(10, 5, 5))
    assert max(map(len, lines)) <= 80
    assert "gain      $0.00 realized, unknown unrealized" in lines


def test_a_tie_is_no_victory(tmp_path: Path) -> None:
    place = Place(tmp_path).configure(mode="alert", opening='shares = "50"').record(100, 100.5, 99.5)
    said = mrdaemon("replay", place.recording, "-c", place.config).out
    assert "Here the method made no difference to holding the targets, reserve in cash." in said
