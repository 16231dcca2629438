"""Orders: exactly once, by cumulative figures, whatever a broker says and however often."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from mrdaemon.core import events as ev
from mrdaemon.core.commands import ReportFill, Resume, SetTarget, SetTradingState, Thaw
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.guards import Guard
from mrdaemon.core.instant import DAY, SECOND, Instant
from mrdaemon.core.money import Dollars, Price, Shares
from mrdaemon.core.orders import (
    OrderReport,
    OrderRequest,
    client_order_id,
    open_orders,
)
from mrdaemon.core.policy import Asset, TradingState
from mrdaemon.core.portfolio import REMEMBERED
from tests.builders import BUY, SELL, Bench, dollars, filled, only, plan, position

HALF, WHOLE, NOTHING = Decimal("0.5"), Decimal(1), Decimal(0)


def bought(**book: Any) -> tuple[Bench, ev.OrderIntended]:
    """Make a bench with one order in flight: buy for $300 at 94."""
    return ordered(94.0, **book)


def sold() -> tuple[Bench, ev.OrderIntended]:
    """Make a bench with one order in flight: sell 2.830188679 shares at 106."""
    return ordered(106.0)


def ordered(price: float, **book: Any) -> tuple[Bench, ev.OrderIntended]:
    bench = Bench(plan(position(cost="4000"), **book), fill=False)
    [order] = only(bench.prices(100.0, price), ev.OrderIntended)
    return bench, order


def told(bench: Bench, report: OrderReport) -> list[ev.Event]:
    return bench.take(bench.engine.order_update("paper", report, bench.now))


def ended(bench: Bench, order: ev.OrderIntended, status: OrderStatus, reason: str = "no") -> list[ev.Event]:
    return bench.take(bench.engine.order_ended(order.order, status, reason, bench.now))


def changed(report: OrderReport, **what: Any) -> OrderReport:
    return msgspec.structs.replace(report, **what)


def kinds(events: list[ev.Event]) -> list[object]:
    return [type(event) for event in events]


# Names and requests


def test_the_same_intent_always_has_the_same_name() -> None:
    assert client_order_id("core", "BTC/USD", 7, 1, "x9") == "mrd-core-BTC_USD-7-1-x9"


def test_another_start_names_its_orders_otherwise() -> None:
    bench, order = bought()
    ended(bench, order, OrderStatus.ABANDONED)
    bench.take(bench.engine.record([ev.DaemonStarted(at=bench.now, version="test", nonce="m")]))
    bench.reconcile()
    [again] = only(bench.prices(94.0), ev.OrderIntended)
    assert again.order == "mrd-core-QQQ-2-1-m"


def test_a_request_asks_for_what_was_intended_and_no_more() -> None:
    _, order = bought()
    request = OrderRequest.of(order)
    assert request == OrderRequest(order.order, "QQQ", order.side, dollars(300), None, None, order.at)


# Fills


def test_a_fill_moves_shares_cash_and_reservation() -> None:
    bench, order = bought()
    told(bench, filled(order))
    book = bench.state.portfolios["core"]
    assert bench.position().shares == Decimal("53.191489361")
    assert (book.reserve, book.reserved, book.bought) == (dollars(4700), dollars(0), dollars(300))


def test_a_sale_pays_into_the_reserve_when_it_fills() -> None:
    bench, order = sold()
    assert bench.state.portfolios["core"].reserve == dollars(5000)
    told(bench, filled(order))
    book = bench.state.portfolios["core"]
    assert (book.reserve, book.sold) == (dollars(5300), dollars(300))


def test_a_sale_realizes_the_gain_of_the_oldest_shares() -> None:
    bench, order = sold()
    [fill] = only(told(bench, filled(order)), ev.OrderFilled)
    assert fill.gain == dollars("73.58")
    assert bench.position().realized == dollars("73.58")


def test_the_same_report_again_changes_nothing() -> None:
    bench, order = bought()
    told(bench, filled(order, HALF, OrderStatus.ACCEPTED))
    assert not told(bench, filled(order, HALF, OrderStatus.ACCEPTED))
    told(bench, filled(order))
    assert not told(bench, filled(order))


def test_a_report_of_less_than_is_known_changes_nothing() -> None:
    bench, order = bought()
    told(bench, filled(order, HALF, OrderStatus.ACCEPTED))
    assert not told(bench, filled(order, Decimal("0.25"), OrderStatus.ACCEPTED))


def test_a_late_report_after_the_end_changes_nothing() -> None:
    bench, order = bought()
    told(bench, filled(order))
    assert not told(bench, filled(order, NOTHING, OrderStatus.ACCEPTED))
    assert not told(bench, filled(order, HALF, OrderStatus.ACCEPTED))
    assert not told(bench, filled(order, HALF, OrderStatus.CANCELED))


def test_a_fill_that_is_the_first_news_of_an_order_is_all_that_is_needed() -> None:
    bench, order = bought()
    assert kinds(told(bench, filled(order))) == [ev.OrderAccepted, ev.OrderFilled, ev.OrderEnded]


def test_a_missing_partial_fill_is_made_up_for_by_the_next_figure() -> None:
    bench, order = bought()
    told(bench, filled(order, Decimal("0.1"), OrderStatus.ACCEPTED))
    told(bench, filled(order))
    assert bench.state.portfolios["core"].reserve == dollars(4700)


def test_the_cash_of_an_order_is_rounded_once_however_it_fills() -> None:
    bench, order = bought()
    for part in range(1, 98):
        told(bench, filled(order, Decimal(part) / 97, OrderStatus.ACCEPTED, Price(Decimal("93.337"))))
    told(bench, filled(order, price=Price(Decimal("93.337"))))
    assert sum(fill.amount for fill in only(bench.events, ev.OrderFilled)) == dollars(300)


def test_what_is_left_of_the_reservation_is_released_at_the_end() -> None:
    bench, order = bought()
    [end] = only(told(bench, filled(order, HALF, OrderStatus.CANCELED)), ev.OrderEnded)
    book = bench.state.portfolios["core"]
    assert end.released == dollars(150)
    assert (book.reserve, book.reserved, book.available) == (dollars(4850), dollars(0), dollars(4850))


def test_a_fill_takes_its_part_of_the_reservation() -> None:
    bench, order = bought()
    told(bench, filled(order, HALF, OrderStatus.ACCEPTED))
    book = bench.state.portfolios["core"]
    assert (book.reserve, book.reserved, book.available) == (dollars(4850), dollars(150), dollars(4700))


def test_a_better_price_leaves_the_rest_of_a_limit_orders_reservation() -> None:
    bench = Bench(plan(position()), fill=False)
    asset = ev.AssetKnown(at=bench.now, account="paper", asset=Asset("QQQ", fractionable=False))
    bench.take(bench.engine.record([asset]))
    [order] = only(bench.prices(100.0, 94.0), ev.OrderIntended)
    [end] = only(told(bench, filled(order)), ev.OrderEnded)
    assert (order.reserved, end.released) == (dollars("283.41"), dollars("1.41"))


def test_a_count_of_shares_without_a_price_does_not_end_the_order() -> None:
    bench, order = bought()
    told(bench, changed(filled(order), average=None))
    assert bench.position().order == order.order
    told(bench, filled(order))
    assert bench.position().shares == Decimal("53.191489361")


def test_a_fee_is_debited_once_it_is_known_and_as_far_as_it_grew() -> None:
    bench, order = bought()
    told(bench, changed(filled(order), fees=dollars("0.10")))
    assert not told(bench, changed(filled(order), fees=dollars("0.10")))
    told(bench, changed(filled(order), fees=dollars("0.25")))
    book = bench.state.portfolios["core"]
    assert (book.reserve, book.fees) == (dollars("4699.75"), dollars("0.25"))


# The end


@pytest.mark.parametrize("status", [OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED])
def test_an_order_that_ends_without_a_fill_leaves_nothing_reserved(status: OrderStatus) -> None:
    bench, order = bought()
    told(bench, filled(order, NOTHING, status))
    book = bench.state.portfolios["core"]
    assert (bench.position().order, book.reserve, book.reserved) == (None, dollars(5000), dollars(0))


@pytest.mark.parametrize("status", [OrderStatus.REJECTED, OrderStatus.ABANDONED])
def test_an_order_ends_once(status: OrderStatus) -> None:
    bench, order = bought()
    assert len(only(ended(bench, order, status), ev.OrderEnded)) == 1
    assert not ended(bench, order, status)


def test_an_order_that_filled_cannot_be_given_up() -> None:
    bench, order = bought()
    told(bench, filled(order))
    assert not ended(bench, order, OrderStatus.ABANDONED)


def test_an_order_that_nobody_knows_cannot_end() -> None:
    bench, _ = bought()
    assert not bench.engine.order_ended("mrd-who", OrderStatus.ABANDONED, "no", bench.now)


def test_an_order_that_was_given_up_lets_the_next_print_decide() -> None:
    bench, order = bought()
    ended(bench, order, OrderStatus.ABANDONED)
    [again] = only(bench.prices(94.0), ev.OrderIntended)
    assert again.order != order.order


def test_an_order_that_the_broker_drops_unfilled_is_not_sent_again_with_every_print() -> None:
    bench, order = bought()
    [held] = only(ended(bench, order, OrderStatus.CANCELED, "self-trade prevention"), ev.SignalHeld)
    assert held.guard == Guard.BROKER
    assert not only(bench.prices(94.0, 93.0, 92.0), ev.OrderIntended)


def test_a_refused_order_is_told_with_the_brokers_reason() -> None:
    bench, order = bought()
    [held] = only(ended(bench, order, OrderStatus.REJECTED, "not fractionable"), ev.SignalHeld)
    assert (held.guard, held.reason) == (Guard.BROKER, f"the broker refused order {order.order}: not fractionable")


# Ambiguous


def test_an_ambiguous_order_keeps_its_reservation_and_its_position_busy() -> None:
    bench, order = bought()
    bench.take(bench.engine.order_ambiguous(order.order, "time-out", bench.now))
    assert not bench.prices(94.0, 80.0)
    assert bench.state.portfolios["core"].reserved == dollars(300)


def test_that_an_order_is_ambiguous_is_told_once() -> None:
    bench, order = bought()
    assert len(bench.engine.order_ambiguous(order.order, "time-out", bench.now)) == 1
    assert not bench.engine.order_ambiguous(order.order, "time-out", bench.now)


def test_an_order_that_ended_is_not_ambiguous() -> None:
    bench, order = bought()
    told(bench, filled(order))
    assert not bench.engine.order_ambiguous(order.order, "time-out", bench.now)


def test_a_report_makes_an_ambiguous_order_definite() -> None:
    bench, order = bought()
    bench.take(bench.engine.order_ambiguous(order.order, "time-out", bench.now))
    told(bench, filled(order, NOTHING, OrderStatus.ACCEPTED))
    assert not bench.state.orders[order.order].ambiguous


# What appears after the end


def test_an_abandoned_order_that_lives_is_cancelled_once_and_halts_the_position() -> None:
    bench, order = bought()
    ended(bench, order, OrderStatus.ABANDONED)
    first, second = told(bench, filled(order, NOTHING, OrderStatus.ACCEPTED))
    assert isinstance(first, ev.PositionHalted)
    assert isinstance(second, ev.CancelRequested)
    assert not told(bench, filled(order, NOTHING, OrderStatus.ACCEPTED))


def test_what_an_abandoned_order_filled_is_applied_and_halts_the_position() -> None:
    bench, order = bought()
    ended(bench, order, OrderStatus.ABANDONED)
    assert kinds(told(bench, filled(order))) == [ev.OrderFilled, ev.PositionHalted]
    assert bench.position().shares == Decimal("53.191489361")
    assert bench.state.portfolios["core"].reserved == dollars(0)


def test_an_abandoned_order_that_was_cancelled_unfilled_is_no_news() -> None:
    bench, order = bought()
    ended(bench, order, OrderStatus.ABANDONED)
    assert not told(bench, filled(order, NOTHING, OrderStatus.CANCELED))


def test_a_fill_beyond_a_cancel_is_applied_and_halts_the_position() -> None:
    bench, order = bought()
    told(bench, filled(order, HALF, OrderStatus.CANCELED))
    assert kinds(told(bench, filled(order))) == [ev.OrderFilled, ev.PositionHalted]


def test_what_appears_after_the_end_is_known_after_a_restart_too() -> None:
    bench, order = bought()
    ended(bench, order, OrderStatus.ABANDONED)
    assert kinds(told(bench.restart(), filled(order))) == [ev.OrderFilled, ev.PositionHalted]


def test_an_order_that_ended_is_remembered_for_a_month() -> None:
    bench, order = bought()
    told(bench, filled(order))
    bench.now = Instant(bench.now + REMEMBERED - 10 * SECOND)
    [second] = only(bench.prices(89.0), ev.OrderIntended)
    told(bench, filled(second))
    assert set(bench.state.orders) == {order.order, second.order}
    bench.now = Instant(bench.now + DAY)
    [third] = only(bench.prices(84.0), ev.OrderIntended)
    told(bench, filled(third))
    assert set(bench.state.orders) == {second.order, third.order}


# What does not match


@pytest.mark.parametrize(
    "what",
    [
        {"side": SELL},
        {"symbol": "SPY"},
        {"notional": dollars(301)},
        {"notional": None},
        {"quantity": Shares(Decimal(3))},
    ],
)
def test_an_order_that_differs_from_its_intent_halts_and_is_not_applied(what: dict[str, Any]) -> None:
    bench, order = bought()
    assert kinds(told(bench, changed(filled(order), **what))) == [ev.OrderUnmatched, ev.PositionHalted, ev.OrderEnded]
    assert bench.position().shares == Decimal(50)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"symbol": "SPY"}, "buy $300.00 of SPY in account paper"),
        ({"notional": dollars("1301")}, "buy $1,301.00 of QQQ in account paper"),
        ({"notional": Dollars(Decimal("300.005"))}, "buy $300.005 of QQQ in account paper"),
        ({"side": SELL, "notional": None, "quantity": Shares(Decimal("3.50"))}, "sell 3.5 QQQ in account paper"),
        ({"notional": None}, "buy an unknown number of QQQ in account paper"),
        ({"quantity": Shares(Decimal("1E-9"))}, "buy $300.00 of QQQ and 0.000000001 shares of it in account paper"),
    ],
)
def test_how_an_order_differs_is_told_in_plain_words(what: dict[str, Any], said: str) -> None:
    bench, order = bought()
    [halt] = only(told(bench, changed(filled(order), **what)), ev.PositionHalted)
    assert halt.reason == (f"the broker's order {order.order} is to {said}; it was intended to buy $300.00 of QQQ")


def test_an_order_in_another_account_says_in_which_it_was_meant_to_be() -> None:
    bench, order = bought()
    [halt] = only(bench.engine.order_update("other", filled(order), bench.now), ev.PositionHalted)
    assert halt.reason.endswith(
        "is to buy $300.00 of QQQ in account other; it was intended to buy $300.00 of QQQ in account paper"
    )


@pytest.mark.parametrize("part", [NOTHING, HALF])
def test_an_order_that_differs_is_given_up_and_leaves_nothing_reserved(part: Decimal) -> None:
    bench, order = bought()
    told(bench, filled(order, part, OrderStatus.ACCEPTED))
    [end] = only(told(bench, changed(filled(order), notional=dollars(301))), ev.OrderEnded)
    assert (end.status, end.released) == (OrderStatus.ABANDONED, dollars(300) * (1 - part))
    assert bench.position().order is None
    assert bench.state.portfolios["core"].reserved == dollars(0)
    assert not only(bench.prices(94.0, 80.0), ev.OrderIntended)


def test_a_person_may_put_right_what_an_order_that_differs_did_and_go_on() -> None:
    bench, order = bought()
    other = changed(filled(order), notional=dollars(301))
    told(bench, other)
    bench.command(Resume(by="me", portfolio="core", symbol="QQQ"))
    bench.command(
        ReportFill(
            by="me", portfolio="core", symbol="QQQ", side=BUY, shares=Shares(Decimal(3)), price=Price(Decimal(94))
        )
    )
    assert not told(bench, other)
    assert bench.position().shares == Decimal(53)
    assert only(bench.prices(89.0), ev.OrderIntended)


@pytest.mark.parametrize(("seconds", "halts"), [(-61, True), (-60, False), (-6, False), (0, False), (None, False)])
def test_an_order_that_is_older_than_its_intent_is_another_one_of_the_same_id(seconds: int | None, halts: bool) -> None:
    bench, order = bought()
    created = None if seconds is None else Instant(order.at + seconds * SECOND)
    events = told(bench, changed(filled(order), created=created))
    assert bool(only(events, ev.PositionHalted)) is halts
    assert (bench.position().shares == Decimal(50)) is halts


def test_an_order_in_another_account_than_its_intents_halts() -> None:
    bench, order = bought()
    events = bench.engine.order_update("other", filled(order), bench.now)
    assert kinds(events) == [ev.OrderUnmatched, ev.PositionHalted, ev.OrderEnded]


def test_an_order_that_differs_is_told_once() -> None:
    bench, order = bought()
    other = changed(filled(order), notional=dollars(301))
    told(bench, other)
    assert not told(bench, other)
    assert not told(bench.restart(), other)


def test_an_order_with_our_prefix_and_no_intent_halts_its_position_and_decides_nothing() -> None:
    bench, order = bought()
    stray = changed(filled(order), order="mrd-core-QQQ-9-1-z")
    assert kinds(told(bench, stray)) == [ev.OrderUnmatched, ev.PositionHalted]
    assert not told(bench, stray)
    assert bench.position().shares == Decimal(50)
    assert not only(bench.prices(94.0, 80.0), ev.OrderIntended)


@pytest.mark.parametrize(
    ("part", "status", "halts"),
    [
        (WHOLE, OrderStatus.FILLED, True),
        (HALF, OrderStatus.CANCELED, True),
        (NOTHING, OrderStatus.ACCEPTED, True),
        (NOTHING, OrderStatus.CANCELED, False),
        (NOTHING, OrderStatus.REJECTED, False),
    ],
)
def test_an_order_that_nobody_intended_halts_where_it_did_something_or_may_yet(
    part: Decimal, status: OrderStatus, halts: bool
) -> None:
    bench, order = bought()
    events = told(bench, changed(filled(order, part, status), order="mrd-core-QQQ-9-1-z"))
    assert bool(only(events, ev.PositionHalted)) is halts


def test_an_order_that_nobody_intended_concerns_its_own_account_and_symbol_only() -> None:
    bench, order = bought()
    stray = changed(filled(order), order="mrd-core-QQQ-9-1-z")
    assert kinds(bench.engine.order_update("other", stray, bench.now)) == [ev.OrderUnmatched]
    assert kinds(told(bench, changed(stray, order="mrd-core-SPY-9-1-z", symbol="SPY"))) == [ev.OrderUnmatched]


def test_a_resume_after_an_order_that_nobody_intended_is_final() -> None:
    bench, order = bought()
    stray = changed(filled(order), order="mrd-core-QQQ-9-1-z")
    told(bench, stray)
    bench.command(Resume(by="me", portfolio="core", symbol="QQQ"))
    assert not told(bench, stray)
    assert not told(bench.restart(), stray)
    assert bench.position().halted is None


def test_an_order_of_somebody_else_concerns_nobody() -> None:
    bench, order = bought()
    assert not told(bench, changed(filled(order), order="by-hand-1"))


# Time, and a halt


def test_an_order_that_is_being_cancelled_keeps_its_position_busy_until_it_ended() -> None:
    bench, order = bought()
    bench.later(300 * SECOND)
    assert not bench.prices(94.0, 80.0)
    told(bench, filled(order, NOTHING, OrderStatus.CANCELED))
    assert len(only(bench.prices(94.0), ev.OrderIntended)) == 1


def test_a_halted_daemon_goes_on_applying_fills_and_sends_nothing() -> None:
    bench, order = bought()
    bench.command(SetTradingState(by="me", state=TradingState.HALTED))
    told(bench, filled(order))
    assert bench.position().shares == Decimal("53.191489361")
    assert not only(bench.prices(80.0, 50.0), ev.OrderIntended)


def test_to_resume_sends_nothing_old() -> None:
    bench, order = bought()
    bench.command(SetTradingState(by="me", state=TradingState.HALTED))
    ended(bench, order, OrderStatus.ABANDONED, "it was never sent")
    assert not only(bench.command(SetTradingState(by="me", state=TradingState.ACTIVE)), ev.OrderIntended)


def test_a_fill_while_the_symbol_is_frozen_counts() -> None:
    bench, order = bought()
    frozen = ev.SymbolFrozen(
        at=bench.now, symbol="QQQ", before=Price(Decimal(94)), price=Price(Decimal(40)), reason="perhaps a split"
    )
    bench.take(bench.engine.record([frozen]))
    told(bench, filled(order))
    assert not bench.prices(80.0)
    bench.command(Thaw(by="me", symbol="QQQ"))
    assert len(only(bench.prices(80.0), ev.OrderIntended)) == 1


# What the shell asks


def test_open_orders_are_those_of_the_account_that_have_not_ended() -> None:
    bench, order = bought()
    assert [each.intent for each in open_orders(bench.state, "paper")] == [order]
    assert not open_orders(bench.state, "other")
    told(bench, filled(order))
    assert not open_orders(bench.state, "paper")


# An order whose question changed while it was in flight


def test_a_target_changed_while_an_order_is_in_flight_cancels_what_is_left_of_it() -> None:
    bench, order = bought()
    events = bench.command(SetTarget(portfolio="core", symbol="QQQ", target=dollars(4900), by="ada"))
    [asked] = only(events, ev.CancelRequested)
    assert (asked.order, asked.reason) == (order.order, "its target changed")


def test_what_fills_before_the_cancellation_still_counts() -> None:
    bench, order = bought()
    bench.command(SetTarget(portfolio="core", symbol="QQQ", target=dollars(4900), by="ada"))
    told(bench, filled(order, Decimal("0.5"), OrderStatus.CANCELED))
    assert bench.position().shares > 50
    assert bench.state.portfolios["core"].reserved == 0
    assert not only(bench.events, ev.SignalHeld)


def test_a_position_that_leaves_cancels_its_order() -> None:
    bench, order = bought()
    events = bench.take(bench.engine.configure(plan(position("SPY")), bench.now))
    assert [asked.order for asked in only(events, ev.CancelRequested)] == [order.order]
