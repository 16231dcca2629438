"""What a person may ask: what follows, what is refused, and that every act says who and why."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mrdaemon.core import events as ev
from mrdaemon.core.commands import (
    Approve,
    Command,
    Deposit,
    Pause,
    Reject,
    ReportFill,
    SetTarget,
    SetTradingState,
    Thaw,
    Withdraw,
)
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.policy import Mode, Side, TradingState
from tests.builders import BUY, SELL, Bench, dollars, filled, only, plan, position


def bench_with(*, reserve: str = "5000", floor: str = "0", fill: bool = True) -> Bench:
    bench = Bench(plan(position(cost="4000"), reserve=reserve, portfolio={"floor": dollars(floor)}), fill=fill)
    bench.prices(100.0)
    return bench


def deposit(amount: str, portfolio: str = "core") -> Deposit:
    return Deposit(by="me", portfolio=portfolio, amount=dollars(amount))


def withdraw(amount: str) -> Withdraw:
    return Withdraw(by="me", portfolio="core", amount=dollars(amount))


def target(amount: str, symbol: str = "QQQ") -> SetTarget:
    return SetTarget(by="me", portfolio="core", symbol=symbol, target=dollars(amount))


def fill(side: Side, shares: str, price: str = "100") -> ReportFill:
    return ReportFill(
        by="me",
        portfolio="core",
        symbol="QQQ",
        side=side,
        shares=Shares(Decimal(shares)),
        price=Price(Decimal(price)),
    )


def refusal(bench: Bench, command: Command) -> str:
    [event] = bench.command(command)
    assert isinstance(event, ev.CommandRefused)
    return event.reason


# Who and why


@pytest.mark.parametrize(
    "command",
    [
        SetTradingState(by="me", why="lunch", state=TradingState.HALTED),
        Pause(by="me", why="lunch", paused=True),
        Deposit(by="me", why="lunch", portfolio="core", amount=dollars(1)),
        Withdraw(by="me", why="lunch", portfolio="core", amount=dollars(1)),
        SetTarget(by="me", why="lunch", portfolio="core", symbol="QQQ", target=dollars(5001)),
    ],
)
def test_every_act_is_recorded_with_who_and_why(command: Command) -> None:
    [event] = bench_with().command(command)
    assert (event.by, event.why) == ("me", "lunch")  # type: ignore[attr-defined]  # each of these events has both


def test_a_refused_act_is_recorded_with_who_asked_for_what() -> None:
    [event] = bench_with().command(Deposit(by="me", portfolio="none", amount=dollars(1)))
    assert isinstance(event, ev.CommandRefused)
    assert (event.by, event.command) == ("me", "Deposit")
    assert event.reason == "there is no portfolio 'none'; there are: core"


@pytest.mark.parametrize(
    "command",
    [
        deposit("1", "none"),
        target("5000", "SPY"),
        Thaw(by="me", symbol="SPY"),
        Pause(by="me", paused=True, symbol="SPY"),
        SetTradingState(by="me", state=TradingState.HALTED, portfolio="none"),
        SetTradingState(by="me", state=TradingState.HALTED, portfolio="core", symbol="SPY"),
        Approve(by="me", portfolio="core", symbol="SPY", number=1),
        Reject(by="me", portfolio="core", symbol="QQQ", number=1),
    ],
)
def test_what_does_not_exist_cannot_be_acted_on(command: Command) -> None:
    assert refusal(bench_with(), command)


def test_a_command_without_a_rule_is_an_error_of_the_program() -> None:
    with pytest.raises(TypeError, match="no rule for the command"):
        bench_with().command(Command(by="me"))


# States


@pytest.mark.parametrize("state", list(TradingState))
def test_a_symbol_alone_does_not_name_a_position_and_changes_no_state(state: TradingState) -> None:
    bench = bench_with()
    bench.command(SetTradingState(by="me", state=TradingState.HALTED))
    assert refusal(bench, SetTradingState(by="me", state=state, symbol="QQQ"))
    assert bench.state.trading is TradingState.HALTED


def test_a_pause_lets_orders_live_on() -> None:
    bench = bench_with(fill=False)
    [order] = only(bench.prices(94.0), ev.OrderIntended)
    assert [type(event) for event in bench.command(Pause(by="me", paused=True))] == [ev.SignalsPaused]
    bench.take(bench.engine.order_update("paper", filled(order), bench.now))
    assert bench.position().shares == Decimal("53.191489361")


# The reserve


def test_a_deposit_and_a_withdrawal_move_the_reserve() -> None:
    bench = bench_with()
    bench.command(deposit("250.50"))
    bench.command(withdraw("100.25"))
    book = bench.state.portfolios["core"]
    assert (book.reserve, book.deposits) == (dollars("5150.25"), dollars("5150.25"))


@pytest.mark.parametrize("command", [deposit("0"), deposit("-1"), withdraw("0"), withdraw("-1")])
def test_an_amount_is_above_zero(command: Command) -> None:
    assert "must be above zero" in refusal(bench_with(), command)


def test_what_the_floor_and_open_orders_need_cannot_be_withdrawn() -> None:
    bench = bench_with(reserve="1000", floor="100", fill=False)
    bench.prices(94.0)
    assert refusal(bench, withdraw("600.01")) == ("$600.00 can be withdrawn above floor and reservations, got $600.01")
    assert only(bench.command(withdraw("600")), ev.ReserveWithdrawn)


# Targets


def test_a_target_changes_by_an_event_that_names_both() -> None:
    [event] = bench_with().command(target("6000"))
    assert isinstance(event, ev.TargetChanged)
    assert (event.before, event.target) == (dollars(5000), dollars(6000))


@pytest.mark.parametrize("amount", ["0", "-1", "0.10"])
def test_a_target_must_be_positive_and_its_zone_at_least_a_cent(amount: str) -> None:
    assert refusal(bench_with(), target(amount))


def test_a_target_must_be_wider_than_a_zone_in_dollars() -> None:
    bench = Bench(plan(position(zone="$150")))
    assert refusal(bench, target("150"))
    assert only(bench.command(target("150.01")), ev.TargetChanged)


def test_a_new_target_moves_the_triggers() -> None:
    bench = bench_with()
    bench.command(target("5200"))
    [signal] = only(bench.prices(98.8), ev.SignalRaised)
    assert (signal.side, signal.amount) == (BUY, dollars(260))


# Fills by hand


def test_a_reported_purchase_moves_shares_reserve_and_lots() -> None:
    bench = bench_with()
    bench.command(fill(BUY, "2.5", "99.99"))
    book, held = bench.state.portfolios["core"], bench.position()
    assert (held.shares, book.reserve, book.bought) == (Decimal("52.5"), dollars("4750.02"), dollars("249.98"))
    assert [lot.shares for lot in held.lots] == [Decimal(50), Decimal("2.5")]


def test_a_reported_sale_credits_the_reserve_and_realizes_a_gain() -> None:
    bench = bench_with()
    [event] = bench.command(fill(SELL, "5"))
    assert isinstance(event, ev.FillReported)
    book = bench.state.portfolios["core"]
    assert (event.gain, book.reserve, book.sold) == (dollars(100), dollars(5500), dollars(500))


def test_more_than_is_held_cannot_have_been_sold() -> None:
    assert refusal(bench_with(), fill(SELL, "50.000000001"))
    assert only(bench_with().command(fill(SELL, "50")), ev.FillReported)


@pytest.mark.parametrize(("shares", "price"), [("0", "100"), ("-1", "100"), ("1", "0"), ("1", "-100")])
def test_a_fill_has_shares_and_a_price_above_zero(shares: str, price: str) -> None:
    assert refusal(bench_with(), fill(BUY, shares, price))


def test_a_fill_cannot_be_reported_while_an_order_is_in_flight() -> None:
    bench = bench_with(fill=False)
    bench.prices(94.0)
    assert "is in flight" in refusal(bench, fill(BUY, "1"))


def test_a_purchase_beyond_the_reserve_needs_a_deposit_first() -> None:
    bench = bench_with(reserve="300", floor="100")
    assert refusal(bench, fill(BUY, "3")) == (
        "the reserve has $200.00 above floor and reservations, got $300.00; deposit the rest first"
    )
    bench.command(deposit("100"))
    assert only(bench.command(fill(BUY, "3")), ev.FillReported)
    assert bench.state.portfolios["core"].reserve == dollars(100)


def test_a_reported_fill_never_fires_by_itself() -> None:
    bench = Bench(plan(position(mode=Mode.ALERT)))
    bench.prices(100.0)
    assert [type(event) for event in bench.command(fill(BUY, "20"))] == [ev.FillReported]
    assert len(only(bench.prices(100.0), ev.SignalRaised)) == 1
