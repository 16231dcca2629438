"""Each day in one message after its close: nothing twice, nothing lost by a restart, nothing of another day."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from mrdaemon.alerts.alert import Alert, Level, Topic
from mrdaemon.core import events as ev
from mrdaemon.core.commands import Pause, ReportFill, SetTradingState
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import DAY, HOUR, MINUTE, SECOND, Instant
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.policy import Mode, PrintRules, TradingState
from tests.alerted import MARKET, Office
from tests.builders import SELL, START, Market, dollars, only, plan, position

CLOSE = Instant(START // DAY * DAY + 20 * HOUR)
"""Of the day on which these tests begin, which is day 18518."""
DUE = Instant(CLOSE + 15 * MINUTE)


def office(*positions: Any, **changes: Any) -> Office:
    found = Office(plan(*(positions or (position(),))), **changes)
    found.prices(100)
    return found


def at(found: Office, when: int) -> list[Alert]:
    """Let the time be another; gives the digests that it brings."""
    found.now = Instant(when)
    told = found.composer.tick(found.now)
    found.told += told
    found.take(found.engine.tick(found.now))
    return digests(told)


def digests(told: list[Alert]) -> list[Alert]:
    return [each for each in told if each.kind == "digest"]


def test_a_day_is_summed_up_a_while_after_its_close() -> None:
    found = office(position(), position("ABC", "10", target="1000"))
    found.prices(100, symbol="ABC")
    found.prices(94.5, 110)
    found.prices(97, symbol="ABC")
    assert at(found, DUE - SECOND) == []
    [told] = at(found, DUE)
    assert (told.level, told.topic, told.subject) == (Level.NOTICE, Topic.DIGEST, "digest")
    assert told.title == "day-18518: 2 trades"
    assert told.text.splitlines() == [
        "day-18518: 2 signals; 1 buy for $275.00; 1 sale for $820.11.",
        "Reserve: core $5,545.11.",
        "Furthest from target: core/ABC -3.0%, core/QQQ +0.0%.",
    ]
    assert told.facts | {"day": "day-18518", "buys": "1", "sold": "820.11", "reserve_core": "5545.11"} == told.facts


def test_fees_dividends_and_trades_by_hand_are_counted() -> None:
    found = office(fill=False)
    found.prices(94.5)
    [intent] = only(found.events, ev.OrderIntended)
    found.record(
        ev.FeeCharged(
            at=found.now, portfolio="core", symbol="QQQ", order=intent.order, fees=dollars("0.1"), amount=dollars("0.1")
        ),
        ev.FeeBooked(at=found.now, portfolio="core", amount=dollars("0.02"), activity="f", date="2030-01-01"),
        ev.DividendPaid(
            at=found.now, portfolio="core", symbol="QQQ", amount=dollars(3), activity="d", date="2030-01-01"
        ),
    )
    found.report(intent, Decimal("0.5"), OrderStatus.CANCELED)
    two, hundred = Shares(Decimal(2)), Price(Decimal(100))
    found.command(ReportFill(portfolio="core", symbol="QQQ", side=SELL, shares=two, price=hundred, by="ada"))
    [told] = at(found, DUE)
    assert told.text.splitlines()[0] == (
        "day-18518: 1 signal; 1 buy for $137.50; 1 sale for $200.00; fees $0.12; dividends $3.00."
    )


def test_a_day_on_which_signals_were_held_says_how_many() -> None:
    found = office()
    found.command(Pause(paused=True, by="ada"))
    found.prices(94.5)
    [told] = at(found, DUE)
    assert told.text.splitlines()[0] == "day-18518: 0 signals, 1 held."


def test_what_is_stopped_stale_or_awaits_an_answer_is_named() -> None:
    asks = position("ABC", "10", target="1000", mode=Mode.APPROVE, approval_ttl=86_400)
    rules = PrintRules(confirm=0, max_jump=None, stale_after=600)
    found = Office(plan(position(), asks, position("XYZ", "10", target="1000"), prints=rules))
    found.prices(100)
    found.prices(100, 90, symbol="ABC")
    found.record(ev.PositionHalted(at=found.now, portfolio="core", symbol="QQQ", reason="counts differ"))
    found.record(
        ev.SymbolFrozen(at=found.now, symbol="ABC", before=Price(Decimal(1)), price=Price(Decimal(1)), reason="x")
    )
    found.command(SetTradingState(state=TradingState.REDUCING, by="ada"))
    found.command(Pause(paused=True, by="ada"))
    found.record(ev.PriceStale(at=found.now, symbol="XYZ", since=START))
    [told] = at(found, DUE)
    assert told.text.splitlines()[2:] == [
        "Furthest from target: core/ABC -10.0%, core/QQQ +0.0%.",
        "Stopped: trading is REDUCING, signals are paused, core/QQQ is halted, core/ABC is frozen.",
        "Unknown: XYZ (no price since 2020-09-13 12:26 UTC).",
        "Awaiting an answer: core/ABC/1.",
    ]


def test_the_five_that_are_furthest_out_are_named() -> None:
    found = Office(plan(*(position(f"S{n}", "10", target="1000", mode=Mode.ALERT) for n in range(7))))
    for n in range(7):
        found.prices(100 + n, symbol=f"S{n}")
    [told] = at(found, DUE)
    assert told.text.splitlines()[2] == (
        "Furthest from target: core/S6 +6.0%, core/S5 +5.0%, core/S4 +4.0%, core/S3 +3.0%, core/S2 +2.0%."
    )


def test_a_day_on_which_nothing_happened_is_one_line_of_information() -> None:
    found = office()
    [told] = at(found, DUE)
    assert (told.level, told.title) == (Level.INFO, "day-18518: nothing happened")
    assert told.text.splitlines()[0] == "Nothing happened on day-18518: no signal, no trade, no dividend."


def test_a_day_is_summed_up_once_also_over_restarts() -> None:
    found = office()
    found.prices(94.5)
    told = at(found, DUE)
    for later in (SECOND, HOUR, 2 * HOUR):
        told += at(found, DUE + later)
        found.restart().start()
        told += at(found, DUE + later + SECOND)
    assert [each.facts["day"] for each in told] == ["day-18518"]


def test_what_comes_after_the_digest_belongs_to_the_next_day_also_after_a_restart() -> None:
    found = office()
    at(found, DUE)
    found.record(
        ev.DividendPaid(
            at=found.now, portfolio="core", symbol="QQQ", amount=dollars(3), activity="d", date="2030-01-01"
        )
    )
    found.restart().start()
    assert at(found, DUE + MINUTE) == []
    [told] = at(found, DUE + DAY)
    assert (told.facts["day"], told.facts["dividends"]) == ("day-18519", "3.00")


def test_a_restart_in_the_middle_of_a_day_loses_nothing_of_it() -> None:
    found = office()
    found.prices(94.5)
    for price in (89.0, 84.0):
        found.restart().start()
        found.reconcile()
        found.prices(price)
    [told] = at(found, DUE)
    assert (told.facts["signals"], told.facts["buys"], told.facts["bought"]) == ("3", "3", "846.90")
    begun = len(found.told)
    found.restart().start()
    assert digests(found.since(begun)) + at(found, DUE + DAY) != []
    assert found.told[-1].facts["signals"] == "0"


def test_the_next_day_begins_anew() -> None:
    found = office()
    found.prices(94.5)
    at(found, DUE)
    found.now = Instant(CLOSE + 12 * HOUR)
    found.prices(88.0)
    [told] = at(found, DUE + DAY)
    assert (told.facts["day"], told.facts["signals"]) == ("day-18519", "1")


def test_a_close_that_was_missed_is_told_at_the_next_start_where_anything_happened() -> None:
    found = office()
    found.prices(94.5)
    found.now = Instant(CLOSE + 3 * HOUR)
    found.restart().start()
    [told] = digests(found.told)
    assert (told.facts["day"], told.facts["signals"], told.at) == ("day-18518", "1", DUE)


def test_a_close_that_was_missed_and_of_which_there_is_nothing_to_tell_is_let_go() -> None:
    found = office()
    found.now = Instant(CLOSE + 3 * HOUR)
    found.restart().start()
    at(found, found.now + SECOND)
    assert digests(found.told) == []


def stopped(found: Office, when: int) -> None:
    """Stop it in good order at a time, and start it again a minute later."""
    found.now = Instant(when)
    found.record(ev.DaemonStopped(at=found.now, reason="SIGTERM received"))
    found.now = Instant(when + MINUTE)
    found.restart().start()


def test_a_restart_between_the_close_and_the_digest_keeps_the_day_also_where_nothing_happened() -> None:
    found = office()
    for minute in (3, 6, 9):
        stopped(found, CLOSE + minute * MINUTE)
    [told] = at(found, DUE)
    assert (told.facts["day"], told.title) == ("day-18518", "day-18518: nothing happened")
    stopped(found, DUE + MINUTE)
    assert at(found, DUE + HOUR) == []
    assert [each.facts["day"] for each in at(found, DUE + DAY)] == ["day-18519"]


def test_a_restart_over_the_close_lets_a_day_go_on_which_nothing_happened() -> None:
    found = office()
    found.now = Instant(CLOSE - MINUTE)
    found.record(ev.DaemonStopped(at=found.now, reason="SIGTERM received"))
    found.now = Instant(CLOSE + MINUTE)
    found.restart().start()
    stopped(found, CLOSE + 3 * MINUTE)
    assert at(found, DUE) == []


def test_a_start_after_the_close_tells_nothing_of_a_day_that_it_did_not_see() -> None:
    found = Office.__new__(Office)
    late = Market(opens=2 * HOUR, closes=12 * HOUR)  # It closed a few minutes before the start.
    found.__init__(plan(position()), late)  # type: ignore[misc]
    at(found, START + HOUR // 2)
    assert digests(found.told) == []


def test_no_digest_comes_where_none_is_wanted() -> None:
    found = office(digest=False)
    found.prices(94.5)
    assert at(found, DUE) == []


def test_a_recording_that_jumps_over_years_is_told_the_days_on_which_anything_happened() -> None:
    found = office()
    told = list(_recording(found))
    assert [each.facts["day"] for each in told] == ["day-18518", "day-18519", "day-19518"]
    assert [each.facts["signals"] for each in told] == ["1", "1", "1"]
    assert [each.at for each in told] == [DUE, DUE + DAY, DUE + 1000 * DAY]


def _recording(found: Office) -> Iterator[Alert]:
    """Show a close a day, as a file of daily bars does: nobody lets the time pass in between."""
    begun = len(found.told)
    for day, price in ((0, 94.5), (1, 88.0), (2, 88.5), (3, 88.5), (1000, 82.0), (1001, 82.5)):
        found.now = Instant(CLOSE + day * DAY - SECOND)
        found.prices(price)
    found.record(ev.FeedEnded(at=found.now, delivered=6, refused=0))
    yield from digests(found.since(begun))


def test_the_last_day_of_a_recording_is_summed_up_when_it_ends_at_its_close() -> None:
    found = office()
    found.now = Instant(CLOSE - SECOND)
    found.prices(94.5)
    found.record(ev.FeedEnded(at=found.now, delivered=2, refused=0))
    found.record(ev.DaemonStopped(at=found.now, reason="the feed ended"))
    assert [each.facts["signals"] for each in digests(found.told)] == ["1"]


def test_shares_give_the_day_its_close_where_there_are_pairs_as_well() -> None:
    class Both:
        def sessions(self, symbol: str) -> Market:
            return Market() if "/" in symbol else MARKET

    found = Office(plan(position("BTC/USD", "50"), position()), Both())  # type: ignore[arg-type]
    assert [each.at for each in at(found, DUE)] == [DUE]


def test_pairs_alone_are_summed_up_when_their_day_ends() -> None:
    found = Office(plan(position("BTC/USD", "50")), Market())
    midnight = START // DAY * DAY + DAY
    assert [each.at for each in at(found, midnight)] == [midnight]


def test_the_day_of_very_many_positions_is_summed_up_a_part_at_a_time() -> None:
    found = Office(plan(*(position(f"S{n}", "1", target="100") for n in range(2500)), reserve="50000"))
    assert at(found, DUE) + at(found, DUE + SECOND) == []
    assert len(at(found, DUE + 2 * SECOND)) == 1
