"""What a person is told besides what a command changed, where accounts are compared with their brokers."""

from __future__ import annotations

from decimal import Decimal

from mrdaemon.core import events as ev
from mrdaemon.core.money import Price
from mrdaemon.core.policy import FeedState, TradingState
from mrdaemon.notes import booked, failures, notes
from tests.builders import Bench, dollars, plan, position

COUNTS = "the broker holds 4, the journal says 6 shares of QQQ"
HALTED = f"core/QQQ is halted ({COUNTS}): mrdaemon fill books what differs, then resume QQQ --portfolio core"


def bench(*facts: ev.Event) -> Bench:
    started = Bench(plan(position()))
    started.take(started.engine.record(list(facts)))
    return started


AT = Bench(plan(position())).now
COMPARED = (
    ev.ReconciliationRequested(at=AT, account="paper", by="me"),
    ev.AccountReconciled(at=AT, account="paper", cash=dollars(9000), covered=True),
)
DIFFERS = ev.PositionHalted(at=AT, portfolio="core", symbol="QQQ", reason=COUNTS)
RESUMED = ev.TradingStateChanged(at=AT, state=TradingState.ACTIVE, portfolio="core", symbol="QQQ", by="me")


def refusals(live: Bench) -> list[str]:
    return list(failures("reconcile", live.state, COMPARED))


def stands(state: FeedState, reason: str = "") -> ev.Event:
    return ev.FeedStateChanged(at=AT, feed="alpaca iex", state=state, reason=reason)


def test_a_comparison_fails_while_a_position_that_differed_is_halted() -> None:
    assert refusals(bench(DIFFERS)) == [HALTED]


def test_a_comparison_succeeds_once_it_was_resumed() -> None:
    assert refusals(bench(DIFFERS, RESUMED)) == []


def test_a_halted_position_that_left_the_configuration_fails_no_comparison() -> None:
    retired = ev.PositionRetired(at=AT, portfolio="core", symbol="QQQ")
    assert refusals(bench(DIFFERS, retired)) == []


def test_a_deposit_does_not_fail_because_a_position_is_halted() -> None:
    assert list(failures("deposit", bench(DIFFERS).state, COMPARED)) == []


def test_after_a_comparison_in_which_nothing_is_in_the_way_there_is_nothing_to_note() -> None:
    assert notes(bench(stands(FeedState.LIVE)).state, COMPARED) == []


def test_a_clock_in_dispute_is_noted() -> None:
    live = bench(ev.SessionsDisputed(at=AT, account="paper", reason="ours differs by 10.0 s"))
    assert notes(live.state, COMPARED) == [
        "Account paper: when the market is open is in dispute, so signals are held: ours differs by 10.0 s."
    ]


def test_a_frozen_symbol_is_noted_with_the_command_that_resumes_it() -> None:
    before, price = Price(Decimal(500)), Price(Decimal(250))
    live = bench(ev.SymbolFrozen(at=AT, symbol="QQQ", before=before, price=price, reason="it fell by half"))
    assert notes(live.state, COMPARED) == ["QQQ is still frozen (it fell by half): resume QQQ."]


def test_a_stream_that_is_down_is_noted_and_whether_it_comes_back_by_itself() -> None:
    assert notes(bench(stands(FeedState.CONNECTING, "it was cut")).state, COMPARED) == [
        "Feed alpaca iex is connecting (it was cut)."
    ]
    assert notes(bench(stands(FeedState.REFUSED, "auth failed (402)")).state, COMPARED) == [
        "Feed alpaca iex is refused (auth failed (402)); it is not tried again by itself."
    ]


def test_what_a_comparison_booked_on_its_way_is_said() -> None:
    fee = ev.FeeBooked(at=AT, portfolio="core", activity="1", date="2020-09-13", amount=dollars("0.03"))
    assert booked([COMPARED[0], fee, COMPARED[1]]) == ["The broker took $0.03 of fees in portfolio core."]
