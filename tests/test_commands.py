"""What a person may ask: what follows, what is refused, and that every act says who and why."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

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
    Thaw,
    Withdraw,
)
from mrdaemon.core.guards import trading_state
from mrdaemon.core.instant import DAY, Instant
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.policy import Mode, PositionPlan, Side, TradingState
from mrdaemon.core.prints import trade_print
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


def price(amount: int) -> Price:
    return Price(Decimal(amount))


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


# Halt and resume, in a scope


def two_portfolios() -> Bench:
    """QQQ in two portfolios, SPY in the first."""
    core = plan(position(), position("SPY"))
    book = msgspec.structs.replace(core.portfolios[0], name="other", positions=(other_position(),))
    return Bench(msgspec.structs.replace(core, portfolios=(*core.portfolios, book)))


def other_position() -> PositionPlan:
    return msgspec.structs.replace(position(), portfolio="other")


def trading(state: TradingState, portfolio: str | None = None, symbol: str | None = None) -> SetTradingState:
    return SetTradingState(by="me", why="look", state=state, portfolio=portfolio, symbol=symbol)


def resume(portfolio: str | None = None, symbol: str | None = None) -> Resume:
    return Resume(by="me", why="looked", portfolio=portfolio, symbol=symbol)


def states(bench: Bench) -> list[TradingState]:
    return [trading_state(bench.state, each) for each in bench.state.positions.values()]


@pytest.mark.parametrize("stop", [TradingState.HALTED, TradingState.REDUCING])
@pytest.mark.parametrize(
    ("portfolio", "symbol", "stopped"),
    [
        (None, None, ["core/QQQ", "core/SPY", "other/QQQ"]),
        ("core", None, ["core/QQQ", "core/SPY"]),
        (None, "QQQ", ["core/QQQ", "other/QQQ"]),
        ("other", "QQQ", ["other/QQQ"]),
    ],
)
def test_a_scope_is_stopped_and_resumed_as_one(
    stop: TradingState, portfolio: str | None, symbol: str | None, stopped: list[str]
) -> None:
    bench = two_portfolios()
    bench.command(trading(stop, portfolio, symbol))
    keys = list(bench.state.positions)
    assert [key for key, state in zip(keys, states(bench), strict=True) if state is stop] == stopped
    assert all(each.by == "me" for each in only(bench.command(resume(portfolio, symbol)), ev.TradingStateChanged))
    assert states(bench) == [TradingState.ACTIVE] * 3


def test_resuming_everything_leaves_what_was_stopped_by_itself() -> None:
    bench = two_portfolios()
    for each in (trading(TradingState.HALTED), trading(TradingState.HALTED, symbol="SPY"), Pause(by="me", paused=True)):
        bench.command(each)
    bench.command(resume())
    assert (bench.state.trading, bench.state.paused) == (TradingState.ACTIVE, False)
    assert bench.position("SPY").state is TradingState.HALTED


def test_resuming_a_symbol_lifts_its_pause_its_freeze_and_its_halts() -> None:
    bench = two_portfolios()
    about = {"portfolio": "core", "symbol": "QQQ"}
    bench.command(Pause(by="me", paused=True, symbol="QQQ"))
    bench.take(bench.engine.record([ev.PositionHalted(at=bench.now, **about, reason="shares differ")]))
    frozen = ev.SymbolFrozen(at=bench.now, symbol="QQQ", before=price(100), price=price(50), reason="a split?")
    bench.take(bench.engine.record([frozen]))
    events = bench.command(resume(symbol="QQQ"))
    assert {type(each) for each in events} == {ev.SignalsPaused, ev.TradingStateChanged, ev.SymbolThawed}
    symbol = bench.state.symbols["QQQ"]
    assert (symbol.paused, symbol.frozen, bench.position().halted) == (False, None, None)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (resume(), "trading is ACTIVE already, and signals are not paused"),
        (resume("core"), "trading in portfolio core is ACTIVE already"),
        (resume(symbol="QQQ"), "QQQ is neither halted, paused nor frozen"),
    ],
)
def test_where_nothing_is_stopped_there_is_nothing_to_resume(command: Resume, reason: str) -> None:
    assert refusal(two_portfolios(), command) == reason


@pytest.mark.parametrize(
    ("symbol", "reason"), [(None, "signals are paused already"), ("QQQ", "signals of QQQ are paused already")]
)
def test_what_is_paused_is_not_paused_again(symbol: str | None, reason: str) -> None:
    bench = two_portfolios()
    pause = Pause(by="me", paused=True, symbol=symbol)
    bench.command(pause)
    assert refusal(bench, pause) == reason
    bench.command(resume(symbol=symbol))
    assert only(bench.command(pause), ev.SignalsPaused)


def test_a_pause_of_everything_and_one_of_a_symbol_are_two() -> None:
    bench = two_portfolios()
    for symbol in (None, "QQQ", "SPY"):
        assert only(bench.command(Pause(by="me", paused=True, symbol=symbol)), ev.SignalsPaused)


def test_a_halt_may_be_repeated() -> None:
    bench = two_portfolios()
    for _ in range(2):
        assert only(bench.command(trading(TradingState.HALTED)), ev.TradingStateChanged)


def test_a_pause_of_a_symbol_is_lifted_for_every_portfolio_or_not_at_all() -> None:
    bench = two_portfolios()
    bench.command(Pause(by="me", paused=True, symbol="QQQ"))
    assert refusal(bench, resume("core", "QQQ")) == "QQQ is paused for every portfolio; resume it without naming one"


def test_a_request_to_reconcile_is_on_the_record() -> None:
    [event] = bench_with().command(Reconcile(by="me", account="paper", why="odd"))
    assert isinstance(event, ev.ReconciliationRequested)
    assert (event.account, event.by, event.why) == ("paper", "me", "odd")


def test_an_account_that_does_not_exist_cannot_be_reconciled() -> None:
    assert refusal(bench_with(), Reconcile(by="me", account="x")) == "there is no account 'x'; there are: paper"


def test_a_refused_act_keeps_what_was_asked() -> None:
    [event] = bench_with().command(SetTarget(by="me", why="typo", portfolio="core", symbol="QQQ", target=dollars(0)))
    assert isinstance(event, ev.CommandRefused)
    assert (event.command, event.why) == ("SetTarget", "typo")
    assert event.asked == {"portfolio": "core", "symbol": "QQQ", "target": "0.00"}


@pytest.mark.parametrize("closes", ["expired", "no longer at the edge"])
def test_an_approval_that_comes_to_nothing_still_says_who_gave_it(closes: str) -> None:
    bench = Bench(plan(position(mode=Mode.APPROVE)))
    bench.prices(100.0, 94.0)
    if closes == "expired":
        bench.now = Instant(bench.now + DAY)
    bench.engine.observe([trade_print("QQQ", 100.0 if closes != "expired" else 94.0, bench.now)])
    [event] = bench.command(Approve(by="me", why="yes", portfolio="core", symbol="QQQ", number=1))
    assert isinstance(event, ev.ApprovalClosed)
    assert closes in event.cause
    assert (event.by, event.why) == ("me", "yes")


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


def test_a_fill_that_is_none_is_refused_in_plain_figures() -> None:
    assert refusal(bench_with(), fill(BUY, "-1E-9", "1E+3")) == (
        "shares and price must be above zero, got -0.000000001 at 1000"
    )


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


def test_a_fill_worth_more_than_anything_is_refused() -> None:
    assert "are more than anything is believed to be worth" in refusal(bench_with(), fill(SELL, "50", "99999999999999"))


def test_a_fill_cannot_be_reported_before_the_shares_are_known() -> None:
    bench = Bench(plan(position(shares=None)))
    assert "its shares are not known yet" in refusal(bench, fill(BUY, "1"))


def test_a_reported_fill_never_fires_by_itself() -> None:
    bench = Bench(plan(position(mode=Mode.ALERT)))
    bench.prices(100.0)
    assert [type(event) for event in bench.command(fill(BUY, "20"))] == [ev.FillReported]
    assert len(only(bench.prices(100.0), ev.SignalRaised)) == 1
