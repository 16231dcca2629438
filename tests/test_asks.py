"""What may be asked over HTTP: every command from its JSON, and nothing else, whatever comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrdaemon.asks import ASKS, SIDES, MalformedError, UnresolvedError, read
from mrdaemon.core import events as ev
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
    Withdraw,
)
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.policy import (
    AccountRules,
    Mode,
    Plan,
    PortfolioPlan,
    PortfolioRules,
    PositionPlan,
    Side,
    TradingState,
)
from tests.builders import BUY, RAW, SELL, Bench, dollars, plan, position, rules

Object = dict[str, Any]


def single() -> Bench:
    """Give one portfolio with QQQ and SPY, and a request for approval of QQQ."""
    bench = Bench(plan(position(mode=Mode.APPROVE), position("SPY")))
    bench.prices(100.0, 90.0)
    return bench


def many() -> Bench:
    """Give thirty positions: A00 to A29."""
    return Bench(plan(*(position(f"A{number:02}") for number in range(30))))


def double() -> Bench:
    """Give QQQ in two portfolios, of which the second has no broker, and a request for approval in the first."""
    books = tuple(
        PortfolioPlan(
            name,
            PortfolioRules(account=account, floor=dollars(0)),
            dollars(5000),
            (PositionPlan(name, "QQQ", rules(mode=mode), Shares(dollars(50))),),
        )
        for name, account, mode in (("core", "paper", Mode.APPROVE), ("side", "elsewhere", Mode.ALERT))
    )
    bench = Bench(Plan(RAW, {"paper": AccountRules(), "elsewhere": AccountRules(broker="none")}, books))
    bench.prices(100.0, 90.0)
    return bench


def commands(bench: Bench, name: str, **fields: Any) -> list[Command]:
    return read(ASKS[name], json.dumps(fields).encode()).commands(bench.state, "me")


def price(text: str) -> Price:
    return Price(dollars(text))


COMMANDS: list[tuple[str, Object, Command]] = [
    ("halt", {}, SetTradingState(by="me", state=TradingState.HALTED)),
    ("halt", {"symbol": "qqq"}, SetTradingState(by="me", state=TradingState.HALTED, symbol="QQQ")),
    ("halt", {"symbol": None}, SetTradingState(by="me", state=TradingState.HALTED)),
    ("reduce", {"portfolio": "core"}, SetTradingState(by="me", state=TradingState.REDUCING, portfolio="core")),
    ("resume", {}, Resume(by="me")),
    ("resume", {"symbol": "SPY", "portfolio": "core"}, Resume(by="me", symbol="SPY", portfolio="core")),
    ("pause", {}, Pause(by="me", paused=True)),
    ("pause", {"symbol": "spy"}, Pause(by="me", paused=True, symbol="SPY")),
    ("pause", {"symbol": "ibm"}, Pause(by="me", paused=True, symbol="ibm")),
    ("approve", {"id": "1"}, Approve(by="me", portfolio="core", symbol="QQQ", number=1)),
    ("approve", {"id": "core/QQQ/1"}, Approve(by="me", portfolio="core", symbol="QQQ", number=1)),
    ("reject", {"id": "QQQ/1"}, Reject(by="me", portfolio="core", symbol="QQQ", number=1)),
    ("deposit", {"amount": "$1,234.50"}, Deposit(by="me", portfolio="core", amount=dollars("1234.50"))),
    ("deposit", {"amount": "5", "portfolio": "no"}, Deposit(by="me", portfolio="no", amount=dollars(5))),
    ("withdraw", {"amount": "5"}, Withdraw(by="me", portfolio="core", amount=dollars(5))),
    (
        "target",
        {"symbol": "qqq", "target": "6000"},
        SetTarget(by="me", portfolio="core", symbol="QQQ", target=dollars(6000)),
    ),
    ("reconcile", {}, Reconcile(by="me", account="paper")),
    ("reconcile", {"account": "bank"}, Reconcile(by="me", account="bank")),
]


@pytest.mark.parametrize(("name", "fields", "command"), COMMANDS)
def test_a_command_is_made_of_its_fields(name: str, fields: Object, command: Command) -> None:
    assert commands(single(), name, **fields) == [command]


@pytest.mark.parametrize("name", sorted(ASKS.keys() - {"reload"}))  # which is for the daemon, not for the method
def test_every_command_keeps_why_it_was_asked(name: str) -> None:
    usual = {"id": "1", "symbol": "QQQ", "side": "buy", "shares": "1", "price": "1", "amount": "1", "target": "1"}
    taken = {field: usual[field] for field in ASKS[name].__struct_fields__ if field in usual}
    (command,) = commands(single(), name, why="so it is", **taken)
    assert (command.by, command.why) == ("me", "so it is")


@pytest.mark.parametrize(("word", "side"), sorted(SIDES.items()))
def test_a_side_may_be_called_by_several_words(word: str, side: Side) -> None:
    (command,) = commands(single(), "fill", symbol="qqq", side=word, shares="0.000000001", price="99.5")
    assert command == ReportFill(
        by="me", portfolio="core", symbol="QQQ", side=side, shares=Shares(dollars(1) / 10**9), price=price("99.5")
    )
    assert side in {BUY, SELL}


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("target", {"symbol": "QQQ", "target": "1"}, "QQQ is held in several portfolios, name one: core, side"),
        (
            "fill",
            {"symbol": "qqq", "side": "buy", "shares": "1", "price": "1"},
            "QQQ is held in several portfolios, name one: core, side",
        ),
        ("target", {"symbol": "SPY", "target": "1"}, "there is no position in 'SPY'; there are: QQQ"),
        ("deposit", {"amount": "1"}, "there are several portfolios, name one: core, side"),
        ("withdraw", {"amount": "1"}, "there are several portfolios, name one: core, side"),
        ("approve", {"id": "2"}, "there is no open request '2'; open: core/QQQ/1"),
        ("reject", {"id": "side/QQQ/1"}, "there is no open request 'side/QQQ/1'; open: core/QQQ/1"),
        ("reject", {"id": ""}, "there is no open request ''; open: core/QQQ/1"),
    ],
)
def test_what_names_nothing_or_several_is_not_guessed(name: str, fields: Object, reason: str) -> None:
    with pytest.raises(UnresolvedError) as refused:
        commands(double(), name, **fields)
    assert str(refused.value) == reason
    assert refused.value.command.by == "me"


def test_of_many_positions_only_the_nearest_are_named() -> None:
    with pytest.raises(UnresolvedError) as refused:
        commands(many(), "target", symbol="a07x", target="1")
    near = "A03, A04, A05, A06, A07, A08, A09, A10, A11, A12"
    assert str(refused.value) == f"there is no position in 'a07x'; there are 30, among them: {near}"


def test_a_name_without_end_is_not_said_back() -> None:
    with pytest.raises(UnresolvedError) as refused:
        commands(many(), "target", symbol="z" * 500, target="1")
    assert len(str(refused.value)) < 200
    assert str(refused.value).endswith("A28, A29")


def test_a_portfolio_settles_which_position_is_meant() -> None:
    (command,) = commands(double(), "target", symbol="qqq", target="1", portfolio="side")
    assert command == SetTarget(by="me", portfolio="side", symbol="QQQ", target=dollars(1))


def test_all_accounts_that_have_a_broker_are_reconciled() -> None:
    assert commands(double(), "reconcile") == [Reconcile(by="me", account="paper")]


@pytest.mark.parametrize(
    ("name", "missing"), [(name, field) for name in sorted(ASKS) for field in ASKS[name].__struct_fields__]
)
@pytest.mark.parametrize("wrong", [1, 1.5, True, [], {}, ["QQQ"]], ids=repr)
def test_a_field_that_is_no_text_is_refused(name: str, missing: str, wrong: Any) -> None:
    with pytest.raises(MalformedError, match="wanted a JSON object with"):
        read(ASKS[name], json.dumps({missing: wrong}).encode())


@pytest.mark.parametrize("name", sorted(ASKS))
def test_a_field_that_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(MalformedError, match=r"unknown field|missing required"):
        read(ASKS[name], b'{"yes": "please"}')


# Whatever comes

WORDS = st.sampled_from(
    ["QQQ", "qqq", "SPY", "core", "side", "paper", "elsewhere", "1", "core/QQQ/1", "QQQ/1", "buy", "sell", "sold"]
)
NUMBERS = st.sampled_from(
    ["0", "-1", "1", "0.01", "5000", "1e5", "1.001", "0.000000001", "999999999999999", "NaN", "$5"]
)
TEXTS = WORDS | NUMBERS | st.text(max_size=20)
THINGS = st.none() | st.booleans() | st.integers() | st.floats() | st.lists(TEXTS, max_size=2)
FIELDS = sorted({field for each in ASKS.values() for field in each.__struct_fields__})


@st.composite
def bodies(draw: st.DrawFn, name: str) -> bytes:
    """Draw a body that a command may be given: nearly always its own fields, mostly as texts."""
    own = st.sampled_from(ASKS[name].__struct_fields__)
    chosen = draw(st.lists(st.one_of(own, own, own, own, st.sampled_from(FIELDS)), unique=True, max_size=6))
    return json.dumps({field: draw(st.one_of(WORDS, NUMBERS, TEXTS, THINGS)) for field in chosen}).encode()


def carry_out(bench: Bench, name: str, body: bytes) -> list[ev.Event]:
    """Do what the control socket does with a body."""
    try:
        wishes = read(ASKS[name], body).commands(bench.state, "me")
    except (MalformedError, UnresolvedError):
        return []
    return [event for wish in wishes for event in bench.command(wish)]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), names=st.lists(st.sampled_from(sorted(ASKS)), min_size=1, max_size=6))
@pytest.mark.parametrize("begin", [single, double])
def test_whatever_is_asked_is_done_or_refused_and_the_books_still_balance(
    begin: Any, data: st.DataObject, names: list[str]
) -> None:
    bench = begin()
    events = [event for name in names for event in carry_out(bench, name, data.draw(bodies(name)))]
    assert [ev.decode(ev.encode(each)) for each in events] == events
    assert {getattr(each, "by", "me") for each in events} <= {"me", "", "circuit breaker"}
    before = bench.state
    assert bench.restart().state == before
    for book in bench.state.portfolios.values():
        assert book.reserve == book.deposits - book.bought + book.sold - book.fees
        assert min(book.available, book.reserved, book.reserve) >= 0
    assert all(each.shares >= 0 and each.target > 0 for each in bench.state.positions.values())


NONSENSE = st.binary(max_size=60) | st.text(max_size=60).map(str.encode)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(ASKS)), body=NONSENSE.filter(lambda each: each.strip() not in {b"", b"{}"}))
def test_bytes_that_are_no_command_are_malformed(name: str, body: bytes) -> None:
    with pytest.raises(MalformedError, match="wanted a JSON object with why"):
        read(ASKS[name], body)
