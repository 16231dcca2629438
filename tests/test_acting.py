"""The commands that act: what each changes and journals, what it refuses, when it asks, and what it does without a
daemon.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from mrdaemon.places import HALT
from tests.live import Live, live_daemon
from tests.running import Object, Place, daemon, mrdaemon, on_terminal

ME = getpass.getuser()
DANGEROUS = [
    ["reduce"],
    ["resume"],
    ["fill", "QQQ", "buy", "1", "100"],
    ["deposit", "5"],
    ["withdraw", "5"],
    ["target", "QQQ", "5100"],
]
HARMLESS = [["halt"], ["pause"], ["reject", "1"], ["reconcile"]]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with live_daemon(tmp_path / "state") as started:
        yield started


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Live]:
    """Give a daemon with a request for approval: buy $500 of QQQ at $90."""
    with live_daemon(tmp_path / "state", "approve") as started:
        started.say("price 90 QQQ")
        started.hear("approval_requested")
        yield started


@pytest.fixture
def twice(tmp_path: Path) -> Iterator[Live]:
    """Give a daemon that holds QQQ in two portfolios."""
    with live_daemon(tmp_path / "state", twice=True) as started:
        yield started


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place").configure(speed="1x").record(100, 101, 102, apart=3600)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Give a place whose daemon ran and stopped; nobody may change it."""
    place = Place(tmp_path_factory.mktemp("stopped") / "place").configure().record(100)
    place.run()
    return place


def events(live: Live) -> list[Object]:
    return mrdaemon("events", "--json", "--state", live.state).objects


def done(live: Live, *arguments: str) -> list[Object]:
    """Give a command that must succeed; gives the events of it."""
    outcome = live.tell(*arguments, "--yes", "--json", "--why", "because")
    assert (outcome.code, outcome.err) == (0, "")
    (answer,) = outcome.objects
    assert answer["ok"] is True
    found: list[Object] = answer["events"]
    return found


def only_event(live: Live, *arguments: str) -> Object:
    """Give a command that must cause one event, which the journal has too, with who and why; perhaps a comparison."""
    event, *comparison = done(live, *arguments)
    assert {each["kind"] for each in comparison} <= {"account_reconciled"}
    assert (event["by"], event["why"]) == (ME, "because")
    assert event in [without_commit(each) for each in events(live)]
    return event


def without_commit(event: Object) -> Object:
    return {name: each for name, each in event.items() if name not in {"seq", "wall", "cursor"}}


def position(live: Live, number: int = 0) -> Object:
    found: Object = live.status()["positions"][number]
    return found


def book(live: Live) -> Object:
    found: Object = live.status()["portfolios"][0]
    return found


def refused(live: Live, *arguments: str) -> str:
    """Give a command that is refused; gives the reason, which the journal has too."""
    outcome = live.tell(*arguments, "--yes", "--why", "because")
    assert (outcome.code, outcome.out) == (1, "")
    last = events(live)[-1]
    assert (last["kind"], last["by"], last["why"]) == ("command_refused", ME, "because")
    name = arguments[0]
    assert outcome.err == f"mrdaemon: {name} was refused: {last['reason']}\n"
    return str(last["reason"])


# Stopping, and going on


def test_pause_holds_every_signal_and_resume_lets_them_go_on(live: Live) -> None:
    assert only_event(live, "pause")["paused"] is True
    live.say("price 90 QQQ")
    assert live.hear("signal_held", "order_intended")["guard"] == "paused"
    assert done(live, "resume")[0] == {**only(live, "signals_paused")[-1]}
    live.say("price 90 QQQ")
    assert live.hear("signal_held", "order_intended")["kind"] == "order_intended"


def only(live: Live, kind: str) -> list[Object]:
    return [without_commit(each) for each in live.journaled(kind)]


def test_pause_of_one_symbol_leaves_the_others_alone(live: Live) -> None:
    assert only_event(live, "pause", "qqq")["symbol"] == "QQQ"
    live.say("price 90 QQQ", "price 90 SPY")
    live.hear("signal_held")
    assert live.hear("order_intended")["symbol"] == "SPY"
    assert live.status()["paused"] is False
    assert done(live, "resume", "QQQ")[0]["paused"] is False


def test_halt_stops_everything_and_resume_starts_it_again(live: Live) -> None:
    event = only_event(live, "halt")
    assert (event["kind"], event["state"]) == ("trading_state_changed", "HALTED")
    live.say("price 90 QQQ")
    assert live.hear("signal_held", "order_intended")["guard"] == "trading state"
    assert done(live, "resume")[0]["state"] == "ACTIVE"
    live.say("price 90 QQQ")
    assert live.hear("signal_held", "order_intended")["kind"] == "order_intended"


def test_halt_of_a_symbol_means_every_position_in_it(twice: Live) -> None:
    halted = done(twice, "halt", "QQQ")
    assert [(each["portfolio"], each["symbol"]) for each in halted] == [("core", "QQQ"), ("side", "QQQ")]
    assert [each["trading"] for each in twice.status()["positions"]] == ["HALTED", "ACTIVE", "HALTED"]
    assert len(done(twice, "resume", "QQQ", "-p", "side")) == 1
    assert [each["trading"] for each in twice.status()["positions"]] == ["HALTED", "ACTIVE", "ACTIVE"]


def test_halt_of_a_portfolio_leaves_the_others_alone(twice: Live) -> None:
    assert only_event(twice, "halt", "--portfolio", "side")["portfolio"] == "side"
    assert [each["trading"] for each in twice.status()["positions"]] == ["ACTIVE", "ACTIVE", "HALTED"]


def test_resuming_everything_names_what_is_still_stopped(twice: Live) -> None:
    for arguments in (["halt"], ["halt", "SPY"], ["reduce", "-p", "side"], ["pause", "QQQ"]):
        done(twice, *arguments)
    assert set(twice.tell("resume", "--yes").out.splitlines()) == {
        f"Trading is ACTIVE, by {ME}.",
        "Trading in side is still REDUCING: resume --portfolio side.",
        "Signals of QQQ are still paused: resume QQQ.",
        "core/SPY is still HALTED: resume SPY --portfolio core.",
    }


@pytest.mark.parametrize(
    ("pasted", "kept"),
    [("two\nlines", "two lines"), ("a\x1b[2Jb", "a?[2Jb"), ("\u00a0odd\u200b ", "odd?"), ("y" * 600, "y" * 500)],
)
def test_no_pasted_character_keeps_a_halt_from_being_done(live: Live, pasted: str, kept: str) -> None:
    assert live.tell("halt", "--why", pasted).code == 0
    assert live.journaled("trading_state_changed")[-1]["why"] == kept


def test_reduce_lets_only_trims_through(live: Live) -> None:
    assert only_event(live, "reduce")["state"] == "REDUCING"
    live.say("price 90 QQQ", "price 110 SPY")
    assert live.hear("signal_held", "order_intended")["guard"] == "trading state"
    assert live.hear("signal_held", "order_intended")["side"] == "trim"


def test_a_halt_survives_a_restart(live: Live) -> None:
    done(live, "halt")
    live.end()
    with live_daemon(live.state) as again:
        assert again.status()["trading"] == "HALTED"
        assert again.tell("resume", "--yes").code == 0
        assert again.status()["trading"] == "ACTIVE"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["resume"], "trading is ACTIVE already, and signals are not paused"),
        (["resume", "QQQ"], "QQQ is neither halted, paused nor frozen"),
        (["resume", "-p", "core"], "trading in portfolio core is ACTIVE already"),
        (["halt", "IBM"], "there is no position in 'IBM'"),
        (["halt", "-p", "side"], "there is no portfolio 'side'; there are: core"),
        (["halt", "IBM", "-p", "core"], "portfolio 'core' has no position in 'IBM'"),
        (["pause", "IBM"], "there is no position in 'IBM'"),
        (["pause", ""], "there is no position in ''"),
        (["reduce", "ibm"], "there is no position in 'ibm'"),
        (["approve", "core/QQQ/1"], "there is no open request 'core/QQQ/1'; none is open"),
        (["reject", "7"], "there is no open request '7'; none is open"),
        (["fill", "IBM", "buy", "1", "1"], "there is no position in 'IBM'; there are: QQQ, SPY"),
        (["fill", "QQQ", "buy", "1", "1", "-p", "side"], "there is no portfolio 'side'; there are: core"),
        (["fill", "QQQ", "buy", "0", "1"], "shares and price must be above zero, got 0 at 1"),
        (["fill", "QQQ", "sell", "51", "1"], "50 shares are held, got a sale of 51"),
        (
            ["fill", "QQQ", "buy", "1", "20000.01"],
            "the reserve has $20,000.00 above floor and reservations, got $20,000.01; deposit the rest first",
        ),
        (["deposit", "0"], "an amount must be above zero, got $0.00"),
        (["deposit", "5", "-p", "side"], "there is no portfolio 'side'; there are: core"),
        (["withdraw", "0.00"], "an amount must be above zero, got $0.00"),
        (["withdraw", "20000.01"], "$20,000.00 can be withdrawn above floor and reservations, got $20,000.01"),
        (["target", "QQQ", "0"], "wanted a target above zero, got $0.00"),
        (["target", "IBM", "5"], "there is no position in 'IBM'; there are: QQQ, SPY"),
        (["reconcile", "bank"], "there is no account 'bank'; there are: paper"),
    ],
    ids=lambda each: each if isinstance(each, str) else " ".join(each),
)
def test_what_cannot_be_done_is_refused_with_a_reason_that_is_journaled(
    shared: Live, arguments: list[str], reason: str
) -> None:
    before = shared.status()
    assert refused(shared, *arguments) == reason
    assert without_time(shared.status()) == without_time(before)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Give a daemon that refuses whatever it is asked by these tests."""
    with live_daemon(tmp_path_factory.mktemp("shared") / "state") as started:
        yield started


def without_time(status: Object) -> Object:
    positions = [{**each, "age": None} for each in status["positions"]]
    return {**status, "at": None, "positions": positions}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["deposit", "1.001"], "amount: "),
        (["deposit", "lots"], "amount: "),
        (["deposit", ""], "amount: "),
        (["fill", "QQQ", "hold", "1", "1"], "side: wanted buy or sell, got 'hold'"),
        (["fill", "QQQ", "buy", "1.0000000001", "1"], "shares: "),
        (["fill", "QQQ", "buy", "1", "free"], "price: "),
        (["target", "QQQ", "4999.999"], "target: "),
    ],
)
def test_what_cannot_be_read_is_told_and_not_journaled(shared: Live, arguments: list[str], said: str) -> None:
    before = events(shared)
    outcome = shared.tell(*arguments, "--yes")
    assert (outcome.code, outcome.out) == (1, "")
    assert f"mrdaemon: {arguments[0]} was refused: " in outcome.err
    assert said in outcome.err
    assert events(shared) == before


@pytest.mark.parametrize("arguments", [["deposit"], ["withdraw"], ["target", "QQQ"]])
def test_a_negative_amount_changes_nothing(shared: Live, arguments: list[str]) -> None:
    before = without_time(shared.status())
    outcome = shared.tell(*arguments, "--yes", "--why", "-", "--", "-5")
    assert outcome.code == 1
    assert "above zero" in outcome.err
    assert without_time(shared.status()) == before


def test_a_refusal_is_told_to_a_program(shared: Live) -> None:
    outcome = shared.tell("deposit", "0", "--yes", "--json")
    assert outcome.code == 1
    (answer,) = outcome.objects
    assert (answer["ok"], answer["refused"]) == (False, "an amount must be above zero, got $0.00")
    (event,) = answer["events"]
    assert event.items() >= {"command": "Deposit", "asked": {"portfolio": "core", "amount": "0.00"}}.items()


# Answering


def test_an_approved_signal_trades_and_says_who_approved_it(asking: Live) -> None:
    wanted = position(asking)["approval"]
    assert (wanted["id"], wanted["side"], wanted["amount"]) == ("core/QQQ/1", "accumulate", "500.00")
    granted, intended = done(asking, "approve", "core/QQQ/1")
    assert (granted["kind"], granted["by"], granted["why"]) == ("approval_granted", ME, "because")
    assert (intended["kind"], intended["notional"]) == ("order_intended", "500.00")
    assert asking.hear("order_filled")["amount"] == "500.00"
    assert position(asking)["approval"] is None


@pytest.mark.parametrize("short", ["1", "QQQ/1"])
def test_the_end_of_an_id_is_enough(asking: Live, short: str) -> None:
    (closed,) = done(asking, "reject", short)
    assert (closed["kind"], closed["cause"], closed["by"], closed["why"]) == (
        "approval_closed",
        "rejected",
        ME,
        "because",
    )
    assert position(asking)["approval"] is None


def test_an_end_that_two_requests_share_is_no_answer(asking: Live) -> None:
    asking.say("price 90 SPY")
    asking.hear("approval_requested")
    assert refused(asking, "approve", "1") == "'1' may be any of core/QQQ/1, core/SPY/1"
    assert refused(asking, "approve", "2") == "there is no open request '2'; open: core/QQQ/1, core/SPY/1"


def test_a_request_is_answered_once(asking: Live) -> None:
    done(asking, "reject", "1")
    assert refused(asking, "approve", "core/QQQ/1").startswith("core/QQQ/1 was already rejected by ")
    assert only(asking, "order_intended") == []


def test_a_yes_to_less_is_no_yes_to_more(asking: Live) -> None:
    asking.say("price 88 QQQ")
    until_price(asking, "88.0")
    outcome = asking.tell("approve", "1", "--yes", "--json")
    (answer,) = outcome.objects
    kinds = [each["kind"] for each in answer["events"]]
    assert kinds == ["approval_closed", "signal_raised", "approval_requested"]
    assert (outcome.code, answer["refused"]) == (1, f"nothing was sent: {answer['events'][0]['cause']}")
    assert position(asking)["approval"]["id"] == "core/QQQ/2"


def until_price(live: Live, price: str) -> None:
    while position(live)["price"] != price:
        assert live.process.poll() is None


# Money


def test_a_deposit_is_in_the_reserve_and_in_the_paper_account(live: Live) -> None:
    event = only_event(live, "deposit", "1,234.56")
    assert (event["kind"], event["portfolio"], event["amount"]) == ("reserve_deposited", "core", "1234.56")
    assert (book(live)["reserve"], book(live)["available"]) == ("21234.56", "21234.56")
    assert done(live, "reconcile")[-1].items() >= {"cash": "101234.56", "covered": True}.items()


def test_a_withdrawal_leaves_the_reserve_and_the_paper_account(live: Live) -> None:
    assert only_event(live, "withdraw", "20000")["kind"] == "reserve_withdrawn"
    assert book(live)["reserve"] == "0.00"
    assert done(live, "reconcile")[-1].items() >= {"cash": "80000.00", "covered": True}.items()
    assert refused(live, "withdraw", "0.01") == "$0.00 can be withdrawn above floor and reservations, got $0.01"


def test_what_is_reserved_for_an_order_cannot_be_withdrawn(live: Live) -> None:
    live.say("late", "price 90 QQQ")
    live.hear("broker_submit")
    assert "$19,500.00 can be withdrawn" in refused(live, "withdraw", "19500.01")
    assert done(live, "withdraw", "19500")[0]["amount"] == "19500.00"


@pytest.mark.parametrize(
    ("arguments", "shares", "reserve", "cash"),
    [
        (["fill", "qqq", "buy", "2.5", "99"], "52.5", "19752.50", "99752.50"),
        (["fill", "QQQ", "bought", "0.000000001", "99"], "50.000000001", "20000.00", "100000.00"),
        (["fill", "QQQ", "sell", "50", "101.5"], "0", "25075.00", "105075.00"),
    ],
)
def test_a_fill_by_hand_moves_shares_reserve_and_the_paper_account_alike(
    live: Live, arguments: list[str], shares: str, reserve: str, cash: str
) -> None:
    event = only_event(live, *arguments)
    assert (event["kind"], event["symbol"], event["shares"]) == ("fill_reported", "QQQ", arguments[3])
    assert (position(live)["shares"], book(live)["reserve"]) == (shares, reserve)
    assert done(live, "reconcile")[-1].items() >= {"kind": "account_reconciled", "cash": cash}.items()
    assert position(live)["halted"] is None


def test_what_people_did_by_hand_still_agrees_after_a_kill(live: Live) -> None:
    for arguments in (["fill", "QQQ", "buy", "1", "100"], ["deposit", "50"], ["fill", "SPY", "sell", "2", "100"]):
        done(live, *arguments)
    live.process.kill()
    live.process.wait()
    with live_daemon(live.state) as again:
        assert done(again, "reconcile")[-1].items() >= {"cash": "100150.00", "covered": True}.items()
        assert [each["halted"] for each in again.status()["positions"]] == [None, None]
        assert [each["shares"] for each in again.status()["positions"]] == ["51", "48"]


def test_a_fill_while_an_order_is_in_flight_is_refused(live: Live) -> None:
    live.say("late", "price 90 QQQ")
    name = live.hear("broker_submit")["order"]
    assert (
        refused(live, "fill", "QQQ", "buy", "1", "90") == f"order {name} is in flight; report again once it has ended"
    )


def test_a_fill_of_what_an_alert_was_about_arms_it_again(tmp_path: Path) -> None:
    with live_daemon(tmp_path / "state", "alert") as live:
        live.say("price 90 QQQ")
        live.hear("signal_raised")
        assert position(live)["waits"] == {"accumulate": "signalled"}
        done(live, "fill", "QQQ", "buy", "5.5", "90")
        assert position(live)["waits"] == {}


def test_a_new_target_moves_the_zone(live: Live) -> None:
    event = only_event(live, "target", "qqq", "6000")
    assert (event["kind"], event["before"], event["target"]) == ("target_changed", "5000.00", "6000.00")
    assert (position(live)["target"], position(live)["lower"]) == ("6000.00", "5700.00")
    live.end()
    with live_daemon(live.state) as again:
        assert position(again)["target"] == "6000.00"


def test_a_symbol_in_two_portfolios_is_not_guessed(twice: Live) -> None:
    held = "QQQ is held in several portfolios, name one: core, side"
    assert refused(twice, "target", "QQQ", "5100") == held
    assert refused(twice, "fill", "qqq", "buy", "1", "100") == held
    assert refused(twice, "deposit", "5") == "there are several portfolios, name one: core, side"
    assert done(twice, "target", "QQQ", "5100", "-p", "side")[0]["portfolio"] == "side"
    assert done(twice, "fill", "SPY", "buy", "1", "100")[0]["portfolio"] == "core"


def test_reconcile_says_what_came_of_it(twice: Live) -> None:
    requested, reconciled = done(twice, "reconcile")
    assert (requested["kind"], requested["account"], requested["by"]) == ("reconciliation_requested", "paper", ME)
    assert (reconciled["kind"], reconciled["cash"]) == ("account_reconciled", "100000.00")
    assert (
        refused(twice, "reconcile", "elsewhere") == "account elsewhere has no broker: there is nothing to compare with"
    )


# A recording


def test_commands_reach_a_daemon_between_two_rows_and_survive_its_kill(place: Place) -> None:
    with daemon(place) as process:
        for arguments in (
            ["deposit", "100", "-y"],
            ["fill", "QQQ", "buy", "1", "100", "-y"],
            ["halt", "--why", "fire"],
        ):
            assert place.tell(*arguments).code == 0
        assert place.of("fill_reported")[0]["at"] == "2020-03-09T15:00:00Z"
        process.kill()
        process.wait()
    with daemon(place, kind="account_reconciled"):
        status = place.status()
    assert (status["trading"], status["portfolios"][0]["reserve"]) == ("HALTED", "5000.00")
    assert Decimal(status["positions"][0]["shares"]) == 51
    assert status["positions"][0]["halted"] is None
    assert status["accounts"][0]["covered"] is True


# Asking first


@pytest.mark.parametrize("arguments", DANGEROUS, ids=" ".join)
def test_without_a_terminal_what_is_dangerous_needs_yes(shared: Live, arguments: list[str]) -> None:
    before = events(shared)
    outcome = shared.tell(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"({shared.state})? There is no terminal to ask on: add --yes if that is meant" in outcome.err
    assert events(shared) == before


def test_without_a_terminal_an_approval_needs_yes(asking: Live) -> None:
    outcome = asking.tell("approve", "1")
    assert (outcome.code, outcome.out) == (2, "")
    assert "Approve core/QQQ/1: buy up to $500.00 of QQQ, at 90.0 now (" in outcome.err
    assert position(asking)["approval"]["id"] == "core/QQQ/1"


@pytest.mark.parametrize("arguments", HARMLESS, ids=" ".join)
def test_what_only_stops_or_looks_never_asks(live: Live, arguments: list[str]) -> None:
    outcome = live.tell(*arguments)
    assert "?" not in outcome.err
    assert outcome.code != 2
    assert {each["by"] for each in events(live)[-2:] if "by" in each} == {ME}


@pytest.mark.parametrize(("typed", "code", "amounts"), [("n\n", 1, []), ("\n", 1, []), ("y\n", 0, ["5.00"])])
def test_on_a_terminal_it_asks(live: Live, typed: str, code: int, amounts: list[str]) -> None:
    with on_terminal("deposit", "5", "--state", live.state) as terminal:
        asked = terminal.read_until("[y/N]: ")
        terminal.type(typed)
        assert terminal.end() == code
    assert "Put 5 into the reserve (" in asked.replace("\r\n", "")
    assert [each["amount"] for each in live.journaled("reserve_deposited")[1:]] == amounts


def test_what_is_approved_is_shown_before_the_yes(asking: Live) -> None:
    with on_terminal("approve", "1", "--state", asking.state) as terminal:
        asked = terminal.read_until("[y/N]: ")
        terminal.type("n\n")
        assert terminal.end() == 1
    assert "Approve core/QQQ/1: buy up to $500.00 of QQQ, at 90.0 now" in asked.replace("\r\n", "")
    assert "Nothing was done." in terminal.written
    assert position(asking)["approval"]["id"] == "core/QQQ/1"


def test_a_halt_on_a_terminal_is_done_before_anybody_could_be_asked(live: Live) -> None:
    with on_terminal("halt", "--state", live.state) as terminal:
        assert terminal.end() == 0
    assert live.status()["trading"] == "HALTED"


# No daemon


@pytest.mark.parametrize(
    "arguments",
    [
        *DANGEROUS,
        ["approve", "1"],
        ["pause"],
        ["reject", "1"],
        ["reconcile"],
        ["halt", "QQQ"],
        ["halt", "-p", "core"],
    ],
    ids=" ".join,
)
def test_without_a_daemon_nothing_is_done_and_that_is_said(stopped: Place, arguments: list[str]) -> None:
    before = stopped.events()
    outcome = stopped.tell(*arguments, "--yes")
    assert (outcome.code, outcome.out, outcome.err) == (1, "", f"mrdaemon: no daemon runs on {stopped.state}\n")
    assert stopped.events() == before
    assert not (stopped.state / HALT).exists()


def test_without_a_daemon_a_program_is_told_too(stopped: Place) -> None:
    (answer,) = stopped.tell("deposit", "5", "--yes", "--json").objects
    assert answer == {"ok": False, "problems": [f"no daemon runs on {stopped.state}"]}


def test_a_halt_without_a_daemon_is_a_file_that_the_next_start_obeys_and_resume_takes_away(place: Place) -> None:
    with daemon(place):
        pass
    said = place.tell("halt", "--why", "fire")
    assert said.code == 0
    assert f"No daemon runs on {place.state}." in said.out
    assert (place.state / HALT).read_text() == f"{ME}: fire\n"
    assert place.status()["halt_file"] is True
    with daemon(place, kind="trading_state_changed"):
        (halted,) = place.of("trading_state_changed")
        assert (halted["state"], halted["by"], halted["why"]) == ("HALTED", "HALT file", f"{ME}: fire")
        assert place.tell("resume", "--yes").code == 0
        assert not (place.state / HALT).exists()
        assert place.status()["trading"] == "ACTIVE"


def test_a_second_halt_does_not_overwrite_the_first_ones_reason(tmp_path: Path, stopped: Place) -> None:
    outcomes = [stopped.tell("halt", "--why", why) for why in ("fire", "flood")]
    written = (stopped.state / HALT).read_text()
    undone = stopped.tell("resume", "--yes")
    assert [each.code for each in outcomes] == [0, 0]
    assert written == f"{ME}: fire\n"
    assert (undone.code, undone.out) == (
        0,
        f"No daemon runs. {stopped.state / HALT} was removed; the journal says that trading is ACTIVE.\n",
    )
    assert not (stopped.state / HALT).exists()


def test_a_halt_file_that_cannot_be_removed_keeps_the_halt(live: Live) -> None:
    (live.state / HALT).mkdir()
    live.hear("trading_state_changed")
    assert "cannot be removed" in refused(live, "resume")
    assert live.status()["trading"] == "HALTED"


def test_resume_with_a_halt_file_that_was_not_seen_yet_journals_both(place: Place) -> None:
    with daemon(place):
        (place.state / HALT).touch()
        assert place.tell("resume", "--yes").code == 0
        assert [each["state"] for each in place.of("trading_state_changed")] == ["HALTED", "ACTIVE"]
        assert not (place.state / HALT).exists()


# Which daemon


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    (tmp_path / "mrdaemon").mkdir()
    return tmp_path / "mrdaemon"


def test_of_two_daemons_none_is_guessed(home: Path) -> None:
    with live_daemon(home / "one") as one, live_daemon(home / "two") as two:
        outcome = mrdaemon("halt")
        assert outcome.code == 2
        assert "2 daemons run: choose one with --state or --config" in outcome.err
        assert [each.status()["trading"] for each in (one, two)] == ["ACTIVE", "ACTIVE"]
        assert mrdaemon("halt", "--state", two.state).code == 0
        assert [each.status()["trading"] for each in (one, two)] == ["ACTIVE", "HALTED"]
        assert not any((each.state / HALT).exists() for each in (one, two))


def test_the_only_daemon_that_runs_is_meant(home: Path) -> None:
    with live_daemon(home / "old"):
        pass
    with live_daemon(home / "new") as new:
        os.utime(home / "new" / "journal.db", (0, 0))
        assert mrdaemon("pause").code == 0
        assert new.status()["paused"] is True


def test_of_two_journals_without_a_daemon_none_is_guessed(home: Path) -> None:
    for name in ("one", "two"):
        with live_daemon(home / name):
            pass
    outcome = mrdaemon("halt")
    assert outcome.code == 2
    assert "2 journals are there, and no daemon runs: choose one" in outcome.err


def test_a_configuration_names_its_daemon(place: Place, home: Path) -> None:
    place.state = home / "core"
    with daemon(place):
        assert mrdaemon("pause", "--config", place.config).code == 0
        assert place.status()["paused"] is True
