"""From a value at an edge to a signal, and from a signal to an alert, a question or an order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from mrdaemon.core import events as ev
from mrdaemon.core.commands import Approve, Deposit, Reject, ReportFill, SetTarget, SetTradingState, Thaw
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.guards import Guard
from mrdaemon.core.instant import HOUR, SECOND, Instant
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.policy import Asset, Mode, PrintRules, TradingState
from mrdaemon.core.prints import Trade, quote_print, trade_print
from tests.builders import BUY, SELL, Bench, Market, dollars, only, plan, position

LIVE = PrintRules(confirm=0, stale_after=None)


def bench_with(*, fill: bool = True, reserve: str = "5000", market: Market | None = None, **rules: Any) -> Bench:
    return Bench(plan(position(**rules), reserve=reserve), market, fill=fill)


def asking(**rules: Any) -> Bench:
    """Make a bench whose position asked for an approval at 94: to buy for $300."""
    bench = bench_with(mode=Mode.APPROVE, **rules)
    bench.prices(100.0, 94.0)
    return bench


def asset(bench: Bench, **what: Any) -> None:
    fact = ev.AssetKnown(at=bench.now, account="paper", asset=Asset("QQQ", **what))
    bench.take(bench.engine.record([fact]))


def approve(bench: Bench, number: int = 1) -> list[ev.Event]:
    return bench.command(Approve(by="me", portfolio="core", symbol="QQQ", number=number))


def reject(bench: Bench, number: int = 1) -> list[ev.Event]:
    return bench.command(Reject(by="me", portfolio="core", symbol="QQQ", number=number))


def target(bench: Bench, amount: str) -> list[ev.Event]:
    return bench.command(SetTarget(by="me", portfolio="core", symbol="QQQ", target=dollars(amount)))


def trading(bench: Bench, state: TradingState) -> list[ev.Event]:
    return bench.command(SetTradingState(by="me", state=state))


def by_hand(bench: Bench, shares: str, price: str) -> list[ev.Event]:
    fill = ReportFill(
        by="me",
        portfolio="core",
        symbol="QQQ",
        side=BUY,
        shares=Shares(Decimal(shares)),
        price=Price(Decimal(price)),
    )
    return bench.command(fill)


def raised(events: list[ev.Event]) -> list[ev.SignalRaised]:
    return only(events, ev.SignalRaised)


def sent(events: list[ev.Event]) -> list[ev.OrderIntended]:
    return only(events, ev.OrderIntended)


def requests(events: list[ev.Event]) -> list[ev.ApprovalRequested]:
    return only(events, ev.ApprovalRequested)


def closed(events: list[ev.Event]) -> list[str]:
    return [event.cause for event in only(events, ev.ApprovalClosed)]


# Edges and amounts


@pytest.mark.parametrize(("price", "side"), [(95.0, BUY), (105.0, SELL)])
def test_a_value_that_equals_the_edge_fires(price: float, side: str) -> None:
    [signal] = raised(bench_with().prices(100.0, price))
    assert (signal.side, signal.value, signal.amount) == (side, signal.edge, dollars(250))


@pytest.mark.parametrize("price", [95.0002, 104.9998])
def test_a_value_a_cent_inside_the_edge_does_not_fire(price: float) -> None:
    assert not raised(bench_with().prices(100.0, price))


def test_a_signal_carries_amount_price_and_reason() -> None:
    [signal] = raised(bench_with().prices(100.0, 94.0))
    assert (signal.number, signal.side, signal.price) == (1, BUY, Decimal("94.0"))
    assert (signal.value, signal.target, signal.amount) == (dollars(4700), dollars(5000), dollars(300))
    assert signal.reason == (
        "QQQ at 94.0 is worth $4,700.00, at or below the lower edge $4,750.00 of its target $5,000.00: buy $300.00."
    )


def test_the_amount_follows_the_actual_value() -> None:
    [signal] = raised(bench_with().prices(100.0, 130.0))
    assert (signal.side, signal.amount) == (SELL, dollars(1500))


@pytest.mark.parametrize(("restore", "amount"), [("1", 300), ("0.5", 175), ("0.2", 100), ("0", 50)])
def test_a_signal_restores_as_far_as_configured(restore: str, amount: int) -> None:
    [signal] = raised(bench_with(restore=Decimal(restore), min_step="$0").prices(100.0, 94.0))
    assert signal.amount == dollars(amount)


def test_a_side_does_not_fire_for_less_than_its_least_step() -> None:
    bench = bench_with(restore=Decimal(0))
    assert not raised(bench.prices(100.0, 95.0, 94.01))
    assert [signal.amount for signal in raised(bench.prices(94.0))] == [dollars(50)]


def test_a_side_does_not_fire_for_less_than_the_minimum_order() -> None:
    bench = bench_with(min_order=dollars(400))
    assert not bench.prices(100.0, 95.0, 92.01)[1:]
    assert [signal.amount for signal in raised(bench.prices(92.0))] == [dollars(400)]


def test_a_side_does_not_fire_for_less_than_the_assets_own_minimum() -> None:
    bench = bench_with()
    asset(bench, min_notional=dollars(400))
    assert not raised(bench.prices(100.0, 95.0, 92.01))
    assert len(raised(bench.prices(92.0))) == 1


def test_news_of_an_asset_moves_the_triggers_at_once() -> None:
    bench = bench_with()
    bench.prices(100.0)
    asset(bench, min_notional=dollars(400))
    assert not bench.prices(95.0, 92.01)
    asset(bench)
    assert len(raised(bench.prices(95.0))) == 1


def test_a_quote_fires_at_its_exact_midpoint() -> None:
    bench = bench_with()
    bench.prices(100.0)
    [signal] = raised(bench.print(quote_print("QQQ", 94.9, 95.1, bench.now)))
    assert signal.price == Decimal(95)


def test_a_position_without_shares_and_without_a_first_buy_does_nothing() -> None:
    assert not bench_with(shares="0").prices(100.0, 1.0, 1000.0)


def test_a_position_whose_shares_are_not_known_yet_does_nothing() -> None:
    assert not bench_with(shares=None).prices(100.0, 1.0, 1000.0)


# Orders


def test_an_accumulation_is_in_dollars_to_the_cent() -> None:
    [order] = sent(bench_with().prices(100.0, 94.5678))
    assert (order.notional, order.quantity, order.limit) == (dollars("271.61"), None, None)


def test_a_trim_is_in_shares_rounded_down_to_the_assets_increment() -> None:
    bench = bench_with()
    asset(bench, increment=Shares(Decimal("0.01")))
    [order] = sent(bench.prices(100.0, 107.0))
    assert (order.quantity, order.notional, order.reserved) == (Decimal("3.27"), None, dollars(0))


def test_a_trim_of_what_has_no_fractions_is_in_whole_shares() -> None:
    bench = bench_with(shares="50.5")
    asset(bench, fractionable=False)
    [order] = sent(bench.prices(99.0, 106.0))
    assert (order.quantity, order.limit) == (Decimal(3), None)


def test_an_accumulation_of_what_has_no_fractions_is_a_marketable_limit_for_whole_shares() -> None:
    bench = bench_with()
    asset(bench, fractionable=False)
    [order] = sent(bench.prices(100.0, 94.01))
    assert (order.quantity, order.limit, order.notional) == (Decimal(3), Decimal("94.49"), None)
    assert order.reserved == dollars("283.47")


def test_what_has_no_fractions_fires_once_the_amount_buys_a_share_at_its_limit() -> None:
    bench = bench_with(shares="5", target="5000")
    asset(bench, fractionable=False)
    assert not raised(bench.prices(1000.0, 960.0, 833.0, 832.7))
    [order] = sent(bench.prices(832.0))
    assert (order.quantity, order.limit) == (Decimal(1), Decimal("836.16"))


def test_a_side_does_not_fire_for_less_than_the_least_quantity() -> None:
    bench = bench_with(zone="1%")
    asset(bench, min_quantity=Shares(Decimal(3)))
    assert not only(bench.prices(100.0, 95.0), ev.SignalRaised)
    assert len(only(bench.prices(94.0), ev.OrderIntended)) == 1


def test_a_purchase_that_the_reserve_cuts_below_the_least_quantity_is_held() -> None:
    bench = Bench(plan(position(), reserve="200"))
    bench.prices(100.0)
    asset(bench, min_quantity=Shares(Decimal(3)))
    [held] = only(bench.prices(94.0), ev.SignalHeld)
    assert held.guard == Guard.RESERVE


def test_what_has_no_fractions_fires_once_whole_shares_reach_the_minimum_order() -> None:
    bench = bench_with(min_order=dollars(250))
    asset(bench, fractionable=False)
    assert not bench.prices(100.0, 95.0)[1:]
    [order] = sent(bench.prices(94.0))
    assert order.quantity == Decimal(3)


def test_an_order_is_named_after_portfolio_symbol_signal_attempt_and_nonce() -> None:
    bench = bench_with()
    orders = sent(bench.prices(100.0, 95.0, 90.25))
    assert [order.order for order in orders] == ["mrd-core-QQQ-1-1-n", "mrd-core-QQQ-2-1-n"]


def test_the_decision_and_its_order_leave_the_engine_together() -> None:
    bench = bench_with()
    bench.prices(100.0)
    events = bench.engine.prints([trade_print("QQQ", 94.0, bench.now)], bench.now)
    assert [type(event) for event in events] == [ev.SignalRaised, ev.OrderIntended]


def test_the_reservation_is_made_with_the_intent() -> None:
    bench = bench_with(fill=False)
    bench.prices(100.0, 94.0)
    book = bench.state.portfolios["core"]
    assert (book.reserve, book.reserved, book.available) == (dollars(5000), dollars(300), dollars(4700))


def test_one_order_is_in_flight_per_position() -> None:
    bench = bench_with(fill=False)
    assert len(sent(bench.prices(100.0, 94.0, 80.0, 110.0, 50.0))) == 1


def test_two_prints_of_one_batch_make_one_order() -> None:
    bench = bench_with(fill=False)
    bench.prices(100.0)
    batch = [trade_print("QQQ", 94.0, bench.now, Trade(id=number)) for number in range(5)]
    assert len(sent(bench.print(*batch))) == 1


def test_a_fills_price_never_fires_by_itself() -> None:
    bench = bench_with(fill=False)
    [order] = sent(bench.prices(100.0, 94.0))
    assert not raised(bench.report(order, price=Price(Decimal(50))))


def test_after_a_fill_the_triggers_move() -> None:
    bench = bench_with()
    bench.prices(100.0, 95.0)
    assert not raised(bench.prices(95.0, 90.2502))
    assert len(raised(bench.prices(90.25))) == 1


def test_after_a_cancel_the_next_print_decides_afresh() -> None:
    bench = bench_with(fill=False)
    [order] = sent(bench.prices(100.0, 94.0))
    assert not raised(bench.report(order, Decimal("0.5"), OrderStatus.CANCELED))
    [again] = sent(bench.prices(92.0))
    assert again.notional == dollars("253.19")


def test_a_halt_after_the_order_lets_the_fill_count() -> None:
    bench = bench_with(fill=False)
    [order] = sent(bench.prices(100.0, 94.0))
    trading(bench, TradingState.HALTED)
    assert len(only(bench.report(order), ev.OrderFilled)) == 1


def test_a_target_that_changes_while_an_order_is_in_flight_makes_no_second_order() -> None:
    bench = bench_with(fill=False)
    bench.prices(100.0, 94.0)
    target(bench, "5500")
    assert not sent(bench.prices(94.0, 80.0))


def test_after_the_fill_the_new_target_counts() -> None:
    bench = bench_with(fill=False)
    [order] = sent(bench.prices(100.0, 94.0))
    target(bench, "5500")
    bench.report(order)
    [again] = sent(bench.prices(94.0))
    assert again.notional == dollars(500)


def test_a_position_that_left_the_configuration_trades_no_more() -> None:
    bench = Bench(plan(position(), position("SPY")))
    bench.prices(100.0)
    bench.take(bench.engine.configure(plan(position("SPY")), bench.now))
    assert not bench.prices(94.0, 10.0, 1000.0)


def test_an_order_of_a_position_that_left_the_configuration_fills_and_is_counted() -> None:
    bench = Bench(plan(position(), position("SPY")), fill=False)
    [order] = sent(bench.prices(100.0, 94.0))
    bench.take(bench.engine.configure(plan(position("SPY")), bench.now))
    bench.report(order)
    assert bench.state.portfolios["core"].reserve == dollars(4700)


# Alert mode


def test_an_alert_changes_neither_shares_nor_reserve() -> None:
    bench = bench_with(mode=Mode.ALERT)
    bench.prices(100.0, 94.0)
    book = bench.state.portfolios["core"]
    assert (bench.position().shares, book.reserve, book.reserved) == (Decimal(50), dollars(5000), dollars(0))
    assert not sent(bench.events)


def test_an_alert_is_told_once() -> None:
    bench = bench_with(mode=Mode.ALERT)
    bench.prices(100.0, 94.0)
    assert not bench.prices(94.0, 93.0, 95.0, 96.0, 94.0, 90.0)


def test_an_alert_is_armed_again_inside_the_edge_by_a_quarter_of_the_width() -> None:
    bench = bench_with(mode=Mode.ALERT)
    bench.prices(100.0, 94.0)
    assert not bench.prices(96.24)
    assert len(only(bench.prices(96.25), ev.SideRearmed)) == 1
    assert len(raised(bench.prices(95.0))) == 1


def test_an_alert_of_the_upper_side_is_armed_again_by_a_quarter_of_the_width_too() -> None:
    bench = bench_with(mode=Mode.ALERT)
    bench.prices(100.0, 106.0)
    assert not bench.prices(103.76)
    assert len(only(bench.prices(103.75), ev.SideRearmed)) == 1
    assert len(raised(bench.prices(105.0))) == 1


def test_an_alert_is_raised_again_a_further_width_beyond_the_last_one() -> None:
    bench = bench_with(mode=Mode.ALERT)
    bench.prices(100.0, 94.0)
    assert not bench.prices(89.01)
    [signal] = raised(bench.prices(89.0))
    assert (signal.number, signal.amount) == (2, dollars(550))
    assert not bench.prices(89.0, 84.01)


@pytest.mark.parametrize(("price", "further"), [(94.0, 80.0), (106.0, 120.0), (106.0, 111.0)])
def test_an_alert_is_raised_again_by_a_gap_beyond_a_further_width_of_either_side(price: float, further: float) -> None:
    bench = bench_with(mode=Mode.ALERT)
    bench.prices(100.0, price)
    assert [signal.number for signal in raised(bench.prices(further))] == [2]


def test_an_alert_is_told_again_after_a_change_of_target() -> None:
    bench = bench_with(mode=Mode.ALERT)
    bench.prices(100.0, 94.0)
    target(bench, "5001")
    assert [signal.amount for signal in raised(bench.prices(94.0))] == [dollars(301)]


def test_an_alert_is_armed_again_when_a_person_reports_a_fill() -> None:
    bench = bench_with(mode=Mode.ALERT)
    bench.prices(100.0, 94.0)
    by_hand(bench, "1", "94")
    [signal] = raised(bench.prices(93.0))
    assert signal.amount == dollars(257)


def test_an_alert_of_one_side_does_not_silence_the_other() -> None:
    bench = bench_with(mode=Mode.ALERT)
    bench.prices(100.0, 94.0)
    assert [signal.side for signal in raised(bench.prices(106.0))] == [SELL]


def test_an_alert_is_not_told_again_after_a_restart() -> None:
    bench = bench_with(mode=Mode.ALERT)
    bench.prices(100.0, 94.0)
    assert not bench.restart().prices(94.0, 93.0)


# Approve mode


def test_a_signal_asks_and_neither_sends_nor_reserves() -> None:
    bench = bench_with(mode=Mode.APPROVE)
    [request] = requests(bench.prices(100.0, 94.0))
    assert (request.number, request.side, request.amount) == (1, BUY, dollars(300))
    assert not sent(bench.events)
    assert bench.state.portfolios["core"].reserved == dollars(0)


def test_an_approval_sends_and_reserves() -> None:
    bench = asking()
    [order] = sent(approve(bench))
    assert (order.notional, order.reserved) == (dollars(300), dollars(300))
    assert bench.state.portfolios["core"].reserved == dollars(300)


def test_an_approval_counts_once() -> None:
    bench = asking()
    approve(bench)
    [refusal] = approve(bench)
    assert isinstance(refusal, ev.CommandRefused)


def test_an_approval_of_another_number_is_refused() -> None:
    assert [type(event) for event in approve(asking(), 2)] == [ev.CommandRefused]


def test_at_approval_a_smaller_amount_is_sent() -> None:
    bench = asking()
    bench.prices(94.5)
    [order] = sent(approve(bench))
    assert order.notional == dollars(275)


def test_at_approval_a_larger_amount_asks_again() -> None:
    bench = asking()
    bench.prices(93.0)
    events = approve(bench)
    assert not sent(events)
    [request] = requests(events)
    assert (request.number, request.amount) == (2, dollars(350))
    assert closed(events) == ["at approval it had grown to $350.00"]


def test_a_yes_given_twice_is_no_yes_to_the_larger_amount() -> None:
    bench = asking()
    bench.prices(93.0)
    approve(bench)
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]
    assert len(sent(approve(bench, 2))) == 1


def test_at_approval_a_value_back_inside_the_edge_sends_nothing() -> None:
    bench = asking()
    bench.prices(95.5)
    events = approve(bench)
    assert not sent(events)
    assert closed(events) == ["at approval the value was no longer at the edge"]


def test_at_approval_the_other_side_sends_nothing() -> None:
    bench = asking()
    bench.prices(106.0)
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]
    assert requests(bench.events)[-1].side is SELL


@pytest.mark.parametrize("state", [TradingState.HALTED, TradingState.REDUCING])
def test_at_approval_every_guard_is_asked_again(state: TradingState) -> None:
    bench = asking()
    trading(bench, state)
    events = approve(bench)
    assert not sent(events)
    assert [held.guard for held in only(events, ev.SignalHeld)] == [Guard.STATE]
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]


def test_after_a_guard_objected_to_an_approval_the_signal_asks_anew() -> None:
    bench = asking()
    trading(bench, TradingState.HALTED)
    approve(bench)
    trading(bench, TradingState.ACTIVE)
    assert [request.number for request in requests(bench.prices(94.0))] == [2]


def test_at_approval_an_account_that_was_lost_sends_nothing() -> None:
    bench = asking()
    bench.take(bench.engine.record([ev.AccountLost(at=bench.now, account="paper", reason="cut")]))
    assert not sent(approve(bench))


def test_at_approval_a_frozen_symbol_sends_nothing() -> None:
    bench = Bench(plan(position(mode=Mode.APPROVE), prints=LIVE))
    bench.prices(100.0, 94.0, 50.0)
    assert not sent(approve(bench))


def test_at_approval_without_a_fresh_price_nothing_is_sent_and_the_request_stays() -> None:
    bench = asking()
    bench.later(31 * SECOND)
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]
    bench.prices(94.0)
    assert len(sent(approve(bench))) == 1


def test_at_approval_a_price_outside_the_quote_is_no_price() -> None:
    bench = bench_with(mode=Mode.APPROVE)
    bench.prices(100.0)
    bench.print(quote_print("QQQ", 93.99, 94.01, bench.now))
    bench.prices(94.9)
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]


def test_at_approval_a_price_that_is_no_regular_sale_is_no_price() -> None:
    bench = asking()
    bench.print(trade_print("QQQ", 94.2, bench.now, Trade(conditions="7")))
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]


def test_an_approval_after_the_session_sends_nothing() -> None:
    market = Market(opens=12 * HOUR, closes=12 * HOUR + 27 * 60 * SECOND)
    bench = bench_with(mode=Mode.APPROVE, market=market)
    bench.prices(100.0, 94.0)
    bench.later(25 * SECOND)
    assert not sent(approve(bench))


def test_a_request_expires_and_is_then_no_more() -> None:
    bench = asking(approval_ttl=10)
    assert closed(bench.later(10 * SECOND)) == ["expired"]
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]


def test_a_request_that_expired_is_not_approved_though_nobody_looked_at_the_clock() -> None:
    bench = asking(approval_ttl=10)
    bench.now = Instant(bench.now + 10 * SECOND)
    assert closed(approve(bench)) == ["expired"]
    assert not sent(bench.events)


@pytest.mark.parametrize("answer", [reject, lambda bench: bench.later(4 * HOUR)])
def test_after_a_rejection_or_expiry_the_side_waits_for_a_quarter_or_a_further_width(answer: Any) -> None:
    bench = asking()
    answer(bench)
    assert not bench.prices(94.0, 89.01, 96.24)
    assert [request.number for request in requests(bench.prices(89.0))] == [2]


def test_a_request_ends_when_the_value_comes_back_inside() -> None:
    bench = asking()
    assert closed(bench.prices(96.25)) == ["the value came back inside the zone"]


def test_a_rejected_request_is_over_and_says_who_and_why() -> None:
    bench = asking()
    [over] = bench.command(Reject(by="me", why="not today", portfolio="core", symbol="QQQ", number=1))
    assert isinstance(over, ev.ApprovalClosed)
    assert (over.cause, over.by, over.why) == ("rejected", "me", "not today")
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]


def test_a_newer_signal_overtakes_a_request() -> None:
    bench = asking()
    assert closed(bench.prices(89.0)) == ["a newer signal overtook it"]
    assert [type(event) for event in approve(bench, 1)] == [ev.CommandRefused]
    assert len(sent(approve(bench, 2))) == 1


def test_the_return_of_a_held_side_does_not_end_the_request_of_the_other() -> None:
    bench = bench_with(mode=Mode.APPROVE)
    bench.prices(100.0)
    trading(bench, TradingState.REDUCING)
    bench.prices(94.0, 106.0)
    assert [request.side for request in requests(bench.events)] == [SELL]
    assert not closed(bench.events)


@pytest.mark.parametrize("amount", ["4900", "5100", "20000"])
def test_a_request_does_not_survive_a_change_of_target(amount: str) -> None:
    bench = asking()
    assert closed(target(bench, amount)) == ["the target changed"]
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]


def test_a_request_does_not_survive_a_new_target_in_the_file() -> None:
    bench = asking()
    bench.take(bench.engine.configure(plan(position(mode=Mode.APPROVE, target="5100")), bench.now))
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]


@pytest.mark.parametrize("mode", [Mode.ALERT, Mode.AUTO])
def test_a_request_does_not_survive_a_change_of_mode(mode: Mode) -> None:
    bench = asking()
    bench.take(bench.engine.configure(plan(position(mode=mode)), bench.now))
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]


def test_a_request_survives_a_change_of_other_rules() -> None:
    bench = asking()
    bench.take(bench.engine.configure(plan(position(mode=Mode.APPROVE, cooldown=1)), bench.now))
    assert len(sent(approve(bench))) == 1


def test_a_request_does_not_survive_a_reported_fill() -> None:
    bench = asking()
    assert closed(by_hand(bench, "1", "94")) == ["a fill was reported"]
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]


def test_a_request_does_not_survive_its_positions_removal() -> None:
    bench = asking()
    away = bench.take(bench.engine.configure(plan(position("SPY")), bench.now))
    assert closed(away) == ["the position left the configuration"]
    assert [type(event) for event in approve(bench)] == [ev.CommandRefused]


def test_a_request_survives_a_restart() -> None:
    bench = asking().restart()
    bench.prices(94.0)
    assert len(sent(approve(bench))) == 1


def test_a_reserve_that_grew_asks_again_for_more() -> None:
    bench = Bench(plan(position(mode=Mode.APPROVE), reserve="100"))
    bench.prices(100.0, 94.0)
    bench.command(Deposit(by="me", portfolio="core", amount=dollars(1000)))
    events = approve(bench)
    assert not sent(events)
    assert [request.amount for request in requests(events)] == [dollars(300)]


# A change of mode


def test_a_mode_that_becomes_auto_trades_at_the_next_print() -> None:
    bench = bench_with(mode=Mode.ALERT)
    bench.prices(100.0, 94.0)
    bench.take(bench.engine.configure(plan(position(mode=Mode.AUTO)), bench.now))
    assert len(sent(bench.prices(94.0))) == 1


# The first trade


def test_a_first_buy_is_of_the_target_and_happens_once() -> None:
    bench = bench_with(shares=None, initial=True)
    [order] = sent(bench.prices(100.0, 100.0, 99.0))
    assert (order.side, order.notional) == (BUY, dollars(5000))


def test_after_a_first_buy_a_far_trade_needs_no_approval() -> None:
    bench = bench_with(shares=None, initial=True, reserve="9000")
    bench.prices(100.0)
    assert len(sent(bench.prices(80.0))) == 1


def test_a_first_buy_is_of_the_target_whatever_is_restored() -> None:
    bench = bench_with(shares=None, initial=True, restore=Decimal(0))
    [order] = sent(bench.prices(100.0))
    assert order.notional == dollars(5000)


def test_a_first_buy_does_not_happen_again_once_all_was_sold() -> None:
    bench = bench_with(shares=None, initial=True)
    bench.prices(100.0)
    everything = ReportFill(
        by="me",
        portfolio="core",
        symbol="QQQ",
        side=SELL,
        shares=bench.position().shares,
        price=Price(Decimal(100)),
    )
    bench.command(everything)
    assert not bench.prices(100.0, 50.0)


def test_a_first_buy_in_alert_mode_is_told_once() -> None:
    bench = bench_with(shares=None, initial=True, mode=Mode.ALERT)
    assert len(raised(bench.prices(100.0, 100.0, 1.0, 500.0))) == 1


def test_a_first_buy_waits_for_the_session() -> None:
    bench = bench_with(shares=None, initial=True, market=Market(opens=13 * HOUR, closes=20 * HOUR))
    assert not bench.prices(100.0)
    bench.later(HOUR)
    assert len(sent(bench.prices(100.0))) == 1


@pytest.mark.parametrize("price", [89.99, 110.01])
def test_a_first_print_more_than_a_width_beyond_an_edge_asks_even_in_auto(price: float) -> None:
    events = bench_with().prices(price)
    assert not sent(events)
    assert len(requests(events)) == 1


@pytest.mark.parametrize("price", [90.0, 110.0])
def test_a_first_print_exactly_a_width_beyond_an_edge_trades(price: float) -> None:
    assert len(sent(bench_with().prices(price))) == 1


def test_a_first_print_after_adoption_far_outside_asks() -> None:
    bench = bench_with(shares=None)
    adopted = ev.SharesAdopted(
        at=bench.now,
        portfolio="core",
        symbol="QQQ",
        before=Shares(Decimal(0)),
        shares=Shares(Decimal(80)),
        reason="the broker holds them",
    )
    bench.take(bench.engine.record([adopted]))
    events = bench.prices(100.0)
    assert not sent(events)
    assert len(requests(events)) == 1


@pytest.mark.parametrize("amount", ["500", "3999.99", "6000.01", "50000"])
def test_after_a_target_moved_by_more_than_a_fifth_a_far_trade_asks(amount: str) -> None:
    bench = bench_with()
    bench.prices(100.0)
    target(bench, amount)
    events = bench.prices(100.0)
    assert not sent(events)
    assert len(requests(events)) == 1


@pytest.mark.parametrize("amount", ["4000", "6000"])
def test_after_a_target_moved_by_a_fifth_or_less_it_trades(amount: str) -> None:
    bench = bench_with()
    bench.prices(100.0)
    target(bench, amount)
    assert len(sent(bench.prices(100.0))) == 1


def test_after_a_far_new_target_in_the_file_a_far_trade_asks() -> None:
    bench = bench_with()
    bench.prices(100.0)
    bench.take(bench.engine.configure(plan(position(target="500")), bench.now))
    assert not sent(bench.prices(100.0, 100.0))


def test_a_far_first_trade_that_was_approved_is_sent_and_the_next_needs_no_approval() -> None:
    bench = bench_with()
    bench.prices(80.0)
    [order] = sent(approve(bench))
    bench.report(order)
    assert len(sent(bench.prices(76.0))) == 1


def test_a_far_first_trade_that_was_rejected_still_asks() -> None:
    bench = bench_with()
    bench.prices(80.0)
    reject(bench)
    events = bench.prices(75.0)
    assert not sent(events)
    assert len(requests(events)) == 1


def test_a_far_first_print_that_came_back_inside_is_forgotten() -> None:
    bench = bench_with()
    bench.prices(80.0, 100.0)
    assert len(sent(bench.prices(94.0))) == 1


def test_an_outlier_as_the_first_print_leaves_no_suspicion() -> None:
    bench = Bench(plan(position(), prints=PrintRules(confirm=1, max_jump=None, stale_after=None)))
    bench.prices(50.0, 100.0)
    assert len(sent(bench.prices(94.0, 94.0))) == 1


def test_a_far_first_trade_is_still_asked_for_after_a_restart() -> None:
    bench = Bench(plan(position(), prints=PrintRules(confirm=1, max_jump=None, stale_after=None)))
    bench.prices(80.0)
    events = bench.restart().prices(80.0)
    assert not sent(events)
    assert len(requests(events)) == 1


def test_what_waits_for_a_confirmation_does_not_survive_a_change_of_target() -> None:
    bench = Bench(plan(position(), prints=PrintRules(confirm=1, max_jump=None, stale_after=None)))
    bench.prices(100.0, 94.0)
    target(bench, "5001")
    assert not raised(bench.prices(94.0))
    assert len(raised(bench.prices(94.0))) == 1


def test_what_waits_for_a_confirmation_does_not_survive_a_change_of_rules() -> None:
    prints = PrintRules(confirm=1, max_jump=None, stale_after=None)
    bench = Bench(plan(position(), prints=prints))
    bench.prices(100.0, 94.0)
    bench.take(bench.engine.configure(plan(position(zone="4%"), prints=prints), bench.now))
    assert not raised(bench.prices(94.0))


def test_a_halt_while_a_signal_waits_for_a_confirmation_raises_nothing() -> None:
    bench = Bench(plan(position(), prints=PrintRules(confirm=1, max_jump=None, stale_after=None)))
    bench.prices(100.0, 94.0)
    trading(bench, TradingState.HALTED)
    assert not raised(bench.prices(94.0, 94.0))
    trading(bench, TradingState.ACTIVE)
    assert not raised(bench.prices(94.0))
    assert len(raised(bench.prices(94.0))) == 1


def test_a_thaw_sends_nothing_old() -> None:
    bench = Bench(plan(position(), prints=LIVE))
    bench.prices(100.0, 50.0)
    assert not sent(bench.command(Thaw(by="me", symbol="QQQ")))


def test_a_position_that_came_back_is_looked_at_like_a_new_one() -> None:
    bench = bench_with()
    bench.prices(100.0)
    bench.take(bench.engine.configure(plan(position("SPY")), bench.now))
    bench.take(bench.engine.configure(plan(position(), position("SPY")), bench.now))
    events = bench.prices(80.0)
    assert not sent(events)
    assert len(requests(events)) == 1


# Time


def test_an_order_that_outlives_its_time_is_cancelled_once() -> None:
    bench = bench_with(fill=False, max_open=300)
    bench.prices(100.0, 94.0)
    assert not only(bench.later(299 * SECOND), ev.CancelRequested)
    assert len(only(bench.later(SECOND), ev.CancelRequested)) == 1
    assert not bench.later(HOUR)


def test_an_order_outlives_its_time_after_a_restart_too() -> None:
    bench = bench_with(fill=False, max_open=300)
    bench.prices(100.0, 94.0)
    assert len(only(bench.restart().later(300 * SECOND), ev.CancelRequested)) == 1


def test_the_engine_says_when_it_next_wants_to_be_woken() -> None:
    bench = bench_with(fill=False, max_open=300)
    [order] = sent(bench.prices(100.0, 94.0))
    assert bench.engine.next_wake == order.expires
