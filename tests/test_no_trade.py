"""The margins after the open and before the close in which a position's signals are held."""

from __future__ import annotations

from typing import Any

import pytest

from mrdaemon.calendar import MarketCalendar
from mrdaemon.core import events as ev
from mrdaemon.core.commands import Approve
from mrdaemon.core.explain import Check
from mrdaemon.core.guards import Guard
from mrdaemon.core.hours import closed
from mrdaemon.core.instant import DAY, HOUR, MINUTE, SECOND, Instant, parse
from mrdaemon.core.policy import Mode
from mrdaemon.core.prints import trade_print
from tests.builders import BUY, START, Bench, Market, only, plan, position, rules

TODAY = START // DAY * DAY
OPENS, CLOSES = Instant(TODAY + 13 * HOUR), Instant(TODAY + 20 * HOUR)
AFTER_OPEN, BEFORE_CLOSE = Instant(OPENS + 5 * MINUTE), Instant(CLOSES - 10 * MINUTE)
MARGINS: dict[str, Any] = {"no_trade_open": 300, "no_trade_close": 600}


def bench_at(now: int, **changes: Any) -> Bench:
    """Make a bench whose position was armed inside the session before, and whose clock stands at an instant."""
    bench = Bench(plan(position(**{**MARGINS, **changes})), Market(opens=13 * HOUR, closes=20 * HOUR))
    bench.now = Instant(OPENS - DAY + HOUR)
    bench.prices(100.0)
    bench.now = Instant(now)
    bench.take(bench.engine.tick(bench.now))
    return bench


def seen(bench: Bench, price: float = 94.0, late: int = 0) -> list[ev.Event]:
    return bench.print(trade_print("QQQ", price, Instant(bench.now - late)))


def traded(events: list[ev.Event]) -> bool:
    return bool(only(events, ev.OrderIntended))


@pytest.mark.parametrize(
    "now", [OPENS, AFTER_OPEN - 1, BEFORE_CLOSE + 1, CLOSES], ids=["open", "margin's end", "margin's begin", "close"]
)
def test_a_signal_in_a_margin_is_held_by_the_session(now: int) -> None:
    [held] = only(seen(bench_at(now)), ev.SignalHeld)
    assert held.guard == Guard.SESSION


@pytest.mark.parametrize("now", [AFTER_OPEN, AFTER_OPEN + HOUR, BEFORE_CLOSE])
def test_a_print_at_the_very_end_of_a_margin_counts(now: int) -> None:
    assert traded(seen(bench_at(now)))


def test_a_print_from_the_margin_that_arrives_after_it_is_held() -> None:
    [held] = only(seen(bench_at(AFTER_OPEN + SECOND), late=2 * SECOND), ev.SignalHeld)
    assert held.guard == Guard.SESSION


def test_what_the_opening_margin_held_is_decided_by_the_first_print_after_it() -> None:
    bench = bench_at(OPENS + SECOND)
    [held] = only(seen(bench), ev.SignalHeld)
    assert held.until == AFTER_OPEN
    bench.now = Instant(AFTER_OPEN - 1)
    assert not seen(bench)
    bench.now = AFTER_OPEN
    assert traded(seen(bench))


def test_what_the_closing_margin_held_waits_for_the_next_opening_margin_to_end() -> None:
    [held] = only(seen(bench_at(CLOSES)), ev.SignalHeld)
    assert held.until == AFTER_OPEN + DAY
    assert "signals are held from" in held.reason


def test_what_a_closed_market_held_waits_for_the_opening_margin_too() -> None:
    [held] = only(seen(bench_at(CLOSES + HOUR)), ev.SignalHeld)
    assert held.until == AFTER_OPEN + DAY
    assert "the session is closed" in held.reason


def test_without_margins_the_whole_session_trades() -> None:
    for now in (OPENS, CLOSES):
        assert traded(seen(bench_at(now, no_trade_open=0, no_trade_close=0)))


@pytest.mark.parametrize(("side", "now"), [("no_trade_open", CLOSES), ("no_trade_close", OPENS)])
def test_a_margin_on_one_side_leaves_the_other_alone(side: str, now: int) -> None:
    assert traded(seen(bench_at(now, **{"no_trade_open": 0, "no_trade_close": 0, side: 600})))


def test_a_market_that_never_closes_has_no_margins() -> None:
    bench = Bench(plan(position(**MARGINS)), Market())
    bench.prices(100.0)
    for midnight in (TODAY + DAY - 1, TODAY + 2 * DAY):
        bench.now = Instant(midnight)
        bench.take(bench.engine.tick(bench.now))
        assert traded(seen(bench))
        seen(bench, 100.0)


def test_crypto_has_no_margins_and_the_new_york_exchange_has_them_on_half_days_too() -> None:
    def shut(symbol: str, text: str) -> bool:
        now = parse(text)
        assert isinstance(now, int)
        sessions = MarketCalendar().sessions(symbol)
        return closed(sessions, sessions.at(now), rules(**MARGINS), now, now) is not None

    assert not shut("BTC/USD", "2020-11-27T00:00:00Z")
    assert not shut("BTC/USD", "2020-11-27T23:59:59.999999999Z")
    assert [shut("QQQ", f"2020-11-27T{time}Z") for time in ("14:34:59", "14:35:00", "17:50:00", "17:50:01")] == [
        True,
        False,
        False,
        True,
    ]


def test_a_request_is_not_approved_in_a_margin() -> None:
    bench = bench_at(BEFORE_CLOSE, mode=Mode.APPROVE)
    [request] = only(seen(bench), ev.ApprovalRequested)
    bench.now = Instant(bench.now + SECOND)
    seen(bench)
    events = bench.command(Approve(by="me", portfolio="core", symbol="QQQ", number=request.number))
    assert [each.guard for each in only(events, ev.SignalHeld)] == [Guard.SESSION]


def test_a_margin_is_explained_with_the_time_at_which_it_is_over() -> None:
    bench = bench_at(OPENS + SECOND)
    view = next(each for each in bench.engine.explain(bench.position(), bench.now).sides if each.side is BUY)
    [check] = [each for each in view.checks if each.guard == Guard.SESSION]
    assert check == Check(
        guard="session",
        passes=False,
        reason="the session opened at 2020-09-13T13:00:00Z; signals are held until 2020-09-13T13:05:00Z",
        remedy="the session must be open, and its no_trade margin over",
        until=AFTER_OPEN,
    )
