"""What a broker books of its own accord: dividends, fees and splits, each exactly once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdaemon.core import events as ev
from mrdaemon.core.activity import Activity, Dividend, Fee, Split, ask_from
from mrdaemon.core.commands import ReportFill
from mrdaemon.core.guards import Guard
from mrdaemon.core.instant import DAY, HOUR, SECOND, Instant
from mrdaemon.core.lots import Lot, cost_of, split
from mrdaemon.core.money import NO_SHARES, Dollars, Price, Shares
from mrdaemon.core.policy import (
    AccountRules,
    Asset,
    Mode,
    Plan,
    PortfolioPlan,
    PortfolioRules,
    PositionPlan,
    PrintRules,
)
from mrdaemon.core.prints import quote_print
from mrdaemon.report import summarize
from mrdaemon.sentences import sentence
from tests.builders import BUY, RAW, START, Bench, dollars, only, plan, position, rules

OPENED, NEXT = "2020-09-13", "2020-09-14"
CAREFUL = PrintRules(confirm=0, max_jump=Decimal("0.20"), stale_after=None)


def dividend(amount: str = "12.50", **changes: Any) -> Dividend:
    return Dividend(**{"id": "div-1", "date": NEXT, "symbol": "QQQ", "amount": dollars(amount), **changes})


def fee(amount: str = "0.03", **changes: Any) -> Fee:
    return Fee(**{"id": "fee-1", "date": NEXT, "symbol": "QQQ", "amount": dollars(amount), **changes})


def four_for_one(**changes: Any) -> Split:
    rates = {"new_rate": Decimal(4), "old_rate": Decimal(1)}
    return Split(**{"id": "split-1", "date": NEXT, "symbol": "QQQ", **rates, **changes})


def book(bench: Bench, activity: Activity, shares: str | None = None, account: str = "paper") -> list[ev.Event]:
    counts = {} if shares is None else {activity.symbol: Shares(Decimal(shares))}
    return bench.take(bench.engine.activity(account, activity, counts, bench.now))


def reserve(bench: Bench) -> Dollars:
    return bench.state.portfolios["core"].reserve


def held_by(bench: Bench, guard: Guard, price: float) -> bool:
    return [each.guard for each in only(bench.prices(price), ev.SignalHeld)] == [guard]


# Dividends


def test_a_dividend_is_paid_into_the_reserve() -> None:
    bench = Bench(plan(position()))
    [paid] = book(bench, dividend())
    assert sentence(paid) == "$12.50 of dividends of QQQ were paid into the reserve."
    assert reserve(bench) == Decimal("5012.50")
    assert bench.state.portfolios["core"].dividends == Decimal("12.50")


def test_a_dividend_is_booked_once_for_ever() -> None:
    bench = Bench(plan(position()))
    book(bench, dividend())
    assert not book(bench, dividend())
    assert not book(bench.restart(), dividend())
    bench.later(400 * DAY)
    assert not book(bench, dividend())
    assert reserve(bench) == Decimal("5012.50")


def test_tax_that_was_withheld_leaves_the_reserve_even_below_its_floor() -> None:
    bench = Bench(plan(position(), reserve="1", portfolio={"floor": dollars(1)}))
    [paid] = book(bench, dividend("-3.75"))
    assert sentence(paid) == "$3.75 of tax on dividends of QQQ were withheld."
    assert reserve(bench) == Decimal("-2.75")


@pytest.mark.parametrize("date", ["2020-09-12", OPENED])
def test_a_dividend_that_came_before_the_position_is_in_its_opening_reserve(date: str) -> None:
    assert not book(Bench(plan(position())), dividend(date=date))


def test_a_dividend_of_shares_that_no_portfolio_has_is_unclaimed_cash() -> None:
    bench = Bench(plan(position()))
    assert not book(bench, dividend(symbol="SPY"))
    assert reserve(bench) == Decimal(5000)


def test_a_dividend_arms_what_waited_for_the_reserve() -> None:
    bench = Bench(plan(position(), reserve="0"))
    bench.prices(100.0)
    assert held_by(bench, Guard.RESERVE, 94.0)
    book(bench, dividend())
    assert len(only(bench.prices(94.0), ev.OrderIntended)) == 1


def test_a_dividend_of_a_position_that_left_the_configuration_still_belongs_to_its_portfolio() -> None:
    bench = Bench(plan(position(), position("SPY")))
    bench.take(bench.engine.configure(plan(position("SPY")), bench.now))
    book(bench, dividend())
    assert reserve(bench) == Decimal("5012.50")


# Fees


def test_a_fee_leaves_the_reserve_and_counts_as_one() -> None:
    bench = Bench(plan(position()))
    [booked] = book(bench, fee(why="regulatory fee"))
    assert sentence(booked) == "The broker took $0.03 of fees for QQQ in portfolio core (regulatory fee)."
    assert (reserve(bench), bench.state.portfolios["core"].fees) == (Decimal("4999.97"), Decimal("0.03"))
    assert not book(bench, fee())


def test_a_fee_that_is_given_back_comes_into_the_reserve() -> None:
    bench = Bench(plan(position()))
    book(bench, fee("-1"))
    assert reserve(bench) == Decimal(5001)


def test_a_fee_for_the_account_belongs_to_its_only_portfolio() -> None:
    bench = Bench(plan(position()))
    [booked] = book(bench, fee(symbol=""))
    assert sentence(booked) == "The broker took $0.03 of fees in portfolio core."


def two_portfolios(account: str = "paper") -> Plan:
    """Plan SPY and QQQ in two portfolios; the second in an account of its own, where one is named."""
    books = tuple(
        PortfolioPlan(
            name,
            PortfolioRules(account=where, floor=dollars(0)),
            dollars(5000),
            (PositionPlan(name, symbol, rules(), Shares(Decimal(50))),),
        )
        for name, symbol, where in (("core", "QQQ", "paper"), ("side", "QQQ" if account != "paper" else "SPY", account))
    )
    return Plan(CAREFUL, {name: AccountRules() for name in {"paper": 0, account: 0}}, books)


def test_a_fee_for_an_account_that_portfolios_share_is_nobodys() -> None:
    assert not book(Bench(two_portfolios()), fee(symbol=""))


def test_a_fee_from_before_the_position_is_not_its() -> None:
    assert not book(Bench(plan(position())), fee(date="2020-09-12"))
    assert not book(Bench(plan(position())), fee(date="2020-09-12", symbol=""))


def test_the_day_on_which_a_position_was_opened_is_that_in_new_york() -> None:
    bench = Bench(plan(position(shares=None)))
    evening = Instant(START // DAY * DAY + DAY + HOUR)
    fact = ev.SharesAdopted(
        at=evening, portfolio="core", symbol="QQQ", before=NO_SHARES, shares=Shares(Decimal(5)), reason="x"
    )
    bench.take(bench.engine.record([fact]))
    assert ask_from(bench.state, "paper") == OPENED
    assert book(bench, fee(date=OPENED))
    assert book(bench, dividend(date=NEXT))


def test_the_reserve_is_deposits_less_buys_and_fees_plus_sales_and_dividends() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0, 94.0, 110.0)
    book(bench, dividend())
    book(bench, dividend("-1.88", id="div-2"))
    book(bench, fee())
    found = bench.state.portfolios["core"]
    assert min(found.bought, found.sold) > 0
    assert found.reserve == found.deposits - found.bought + found.sold - found.fees + found.dividends


def test_a_report_tells_dividends_apart_and_has_them_in_the_reserve() -> None:
    bench = Bench(plan(position(cost="5000")))
    bench.prices(100.0)
    book(bench, dividend())
    found = summarize(bench.state, lambda symbol: bench.engine.seen(symbol).price)
    assert (found.dividends, found.reserve_left, found.gain) == (dollars("12.50"), dollars("5012.50"), dollars("12.50"))


def test_a_split_changes_no_gain_and_no_baseline() -> None:
    bench = Bench(plan(position(cost="4000")))
    bench.prices(100.0)
    book(bench, four_for_one(), "200")
    bench.prices(25.0)
    found = summarize(bench.state, lambda symbol: bench.engine.seen(symbol).price)
    assert (found.gain, found.unrealized, [each.gain for each in found.baselines]) == (
        dollars(0),
        dollars(1000),
        [dollars(0), dollars(0)],
    )


# Splits


def test_a_split_is_applied_once_the_brokers_count_has_followed() -> None:
    bench = Bench(plan(position(cost="4000")))
    bench.prices(100.0)
    assert not book(bench, four_for_one(), "50")
    [applied] = book(bench, four_for_one(), "200")
    assert sentence(applied) == "QQQ was split 4 for 1: 50 shares are 200 now."
    assert (bench.position().shares, bench.position().lots) == (
        Decimal(200),
        [Lot(Shares(Decimal(200)), dollars(4000), START)],
    )
    assert not book(bench, four_for_one(), "800")


@pytest.mark.parametrize("theirs", [None, "50", "199.99", "200.01", "0", "12.5"])
def test_any_other_count_applies_nothing(theirs: str | None) -> None:
    assert not book(Bench(plan(position())), four_for_one(), theirs)


def test_the_brokers_rounding_of_the_count_is_taken_over() -> None:
    bench = Bench(plan(position(shares="10")))
    third = four_for_one(new_rate=Decimal(1), old_rate=Decimal(3))
    book(bench, third, "3.333333333")
    assert bench.position().shares == Decimal("3.333333333") == sum(each.shares for each in bench.position().lots)


def test_where_there_are_no_fractions_the_rest_is_paid_out_and_the_count_rounded_down() -> None:
    half = four_for_one(new_rate=Decimal(3), old_rate=Decimal(2))
    for shares, theirs, applied in (("5", "7", True), ("5", "8", False), ("1", "1", False)):
        bench = Bench(plan(position(shares=shares)))
        whole = Asset("QQQ", fractionable=False)
        bench.take(bench.engine.record([ev.AssetKnown(at=bench.now, account="paper", asset=whole)]))
        assert bool(book(bench, half, theirs)) is applied


def test_a_split_waits_while_an_order_is_in_flight() -> None:
    bench = Bench(plan(position()), fill=False)
    [order] = only(bench.prices(100.0, 94.0), ev.OrderIntended)
    assert not book(bench, four_for_one(), "200")
    bench.report(order)
    assert book(bench, four_for_one(), str(bench.position().shares * 4))


def frozen() -> Bench:
    """Make a bench whose symbol froze because its price fell to a quarter."""
    bench = Bench(plan(position(), prints=CAREFUL))
    bench.prices(100.0, 25.0)
    assert bench.state.symbols["QQQ"].frozen is not None
    return bench


def test_a_split_with_its_share_count_thaws_the_symbol() -> None:
    bench = frozen()
    [thawed] = only(book(bench, four_for_one(), "200"), ev.SymbolThawed)
    assert thawed.by == "broker"
    assert bench.state.symbols["QQQ"].frozen is None
    assert not bench.prices(25.0, 25.1)
    [order] = only(bench.prices(23.7), ev.OrderIntended)
    assert order.notional == dollars("260")


def test_an_unchanged_count_never_thaws() -> None:
    bench = frozen()
    book(bench, four_for_one(), "50")
    assert bench.state.symbols["QQQ"].frozen is not None


def test_a_split_before_the_first_new_price_is_no_jump() -> None:
    bench = Bench(plan(position(), prints=CAREFUL))
    bench.prices(100.0)
    book(bench, four_for_one(), "200")
    assert not only(bench.prices(25.0), ev.SymbolFrozen)


def test_a_price_in_old_shares_that_comes_after_the_split_is_a_jump() -> None:
    bench = Bench(plan(position(), prints=CAREFUL))
    bench.prices(100.0)
    book(bench, four_for_one(), "200")
    events = bench.prices(100.0)
    assert only(events, ev.SymbolFrozen)
    assert not only(events, ev.OrderIntended)


def test_it_is_one_after_a_restart_too() -> None:
    bench = Bench(plan(position(), prints=CAREFUL))
    bench.prices(100.0)
    book(bench, four_for_one(), "200")
    bench.restart().reconcile()
    assert only(bench.prices(100.0), ev.SymbolFrozen)


def test_a_quote_in_old_shares_says_nothing_of_the_new_price() -> None:
    bench = Bench(plan(position(), prints=RAW))
    bench.prices(100.0)
    bench.print(quote_print("QQQ", 99.9, 100.1, bench.now))
    assert bench.engine.quoted("QQQ") is not None
    book(bench, four_for_one(), "200")
    assert (bench.engine.last("QQQ"), bench.engine.quoted("QQQ")) == (None, None)


def test_a_request_from_before_the_split_is_closed() -> None:
    bench = Bench(plan(position(mode=Mode.APPROVE)))
    bench.prices(100.0, 94.0)
    [closed, _] = book(bench, four_for_one(), "200")
    assert isinstance(closed, ev.ApprovalClosed)
    assert bench.position().approval is None


def test_a_symbol_thaws_only_once_every_position_in_it_has_followed() -> None:
    bench = Bench(two_portfolios("other"))
    bench.prices(100.0, 25.0)
    first = book(bench, four_for_one(), "200")
    assert not only(first, ev.SymbolThawed)
    assert [each.complete for each in only(first, ev.SplitApplied)] == [False]
    assert not only(bench.prices(25.0, 24.9), ev.OrderIntended)
    second = book(bench, four_for_one(id="split-2"), "200", "other")
    assert only(second, ev.SymbolThawed)
    assert not bench.prices(25.0, 25.1)


def test_while_another_position_has_yet_to_follow_the_new_price_freezes_the_symbol() -> None:
    bench = Bench(two_portfolios("other"))
    bench.prices(100.0)
    book(bench, four_for_one(), "200")
    events = bench.prices(25.0)
    assert only(events, ev.SymbolFrozen)
    assert not only(events, ev.OrderIntended)


def test_what_the_position_began_with_is_counted_in_the_new_shares() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    book(bench, four_for_one(), "200")
    assert (bench.position().opening, bench.position().first_price) == (Decimal(200), Decimal(25))


def test_a_split_from_before_the_position_is_in_its_opening_shares() -> None:
    assert not book(Bench(plan(position())), four_for_one(date="2020-09-12"), "200")


@given(
    st.lists(st.decimals("0.000000001", "1000", places=9), min_size=1, max_size=8),
    st.sampled_from([(4, 1), (3, 2), (1, 3), (1, 7), (1, 10_000)]),
)
def test_lots_that_are_split_add_up_to_the_brokers_count_and_keep_their_cost(
    parts: list[Decimal], rates: tuple[int, int]
) -> None:
    lots = [Lot(Shares(each), dollars(number), Instant(number)) for number, each in enumerate(parts)]
    before = Shares(sum(parts, Decimal(0)))
    after = Shares((before * rates[0] / rates[1]).quantize(Decimal("0.000000001")))
    found = split(lots, before, after)
    assert sum(each.shares for each in found) == after
    assert [each.acquired for each in found] == [each.acquired for each in lots]
    assert cost_of(found) == cost_of(lots)
    assert all(each.shares >= 0 for each in found)
    assert all(
        abs(new.shares - old.shares * rates[0] / rates[1]) <= Decimal("0.000000002")
        for old, new in zip(lots, found, strict=True)
    )


# Asking again


def test_activities_are_asked_for_from_the_day_on_which_the_first_position_was_opened() -> None:
    bench = Bench(plan(position(shares=None)))
    assert ask_from(bench.state, "paper") is None
    fact = ev.SharesAdopted(
        at=bench.now, portfolio="core", symbol="QQQ", before=Shares(Decimal(0)), shares=Shares(Decimal(5)), reason="x"
    )
    bench.take(bench.engine.record([fact]))
    assert ask_from(bench.state, "paper") == OPENED


def test_later_they_are_asked_for_from_a_month_before_the_newest_that_was_booked() -> None:
    bench = Bench(plan(position()))
    book(bench, dividend(date="2021-03-01"))
    book(bench, dividend(id="div-0", date="2021-02-01"))
    assert bench.state.accounts["paper"].activity_cursor == "2021-03-01"
    assert ask_from(bench.state, "paper") == "2021-01-29"


def test_what_was_there_at_the_last_comparison_is_not_asked_for_for_ever() -> None:
    bench = Bench(plan(position()))
    bench.later(200 * DAY)
    assert ask_from(bench.state, "paper") == OPENED
    bench.reconcile()
    assert ask_from(bench.restart().state, "paper") == "2021-03-01"


@pytest.mark.parametrize("date", ["2021-03-01T00:00:00Z", "soon", ""])
def test_an_odd_date_that_was_booked_does_not_keep_a_daemon_from_asking(date: str) -> None:
    bench = Bench(plan(position()))
    book(bench, dividend(date=date))
    assert ask_from(bench.state, "paper") == ("2021-01-29" if date.startswith("2021") else OPENED)


def test_fills_by_hand_before_a_split_have_their_lots_split_too() -> None:
    bench = Bench(plan(position(cost="5000")))
    bench.later(SECOND)
    bench.command(
        ReportFill(
            by="me", portfolio="core", symbol="QQQ", side=BUY, shares=Shares(Decimal(2)), price=Price(Decimal(90))
        )
    )
    book(bench, four_for_one(), "208")
    assert [each.shares for each in bench.position().lots] == [200, 8]
    assert cost_of(bench.position().lots) == 5180


def test_a_position_without_shares_holds_back_nobody() -> None:
    bench = Bench(two_portfolios("other"))
    empty = ev.SharesAdopted(
        at=bench.now, portfolio="side", symbol="QQQ", before=Shares(Decimal(50)), shares=NO_SHARES, reason="sold"
    )
    bench.take(bench.engine.record([empty]))
    [applied] = only(book(bench, four_for_one(), "200"), ev.SplitApplied)
    assert applied.complete


def test_a_position_that_left_the_configuration_holds_back_nobody() -> None:
    bench = Bench(two_portfolios("other"))
    both = two_portfolios("other")
    one = msgspec.structs.replace(both, portfolios=both.portfolios[:1])
    bench.take(bench.engine.configure(one, bench.now))
    [applied] = only(book(bench, four_for_one(), "200"), ev.SplitApplied)
    assert applied.complete


def test_what_a_fee_in_coins_may_explain_is_counted_in_the_new_shares() -> None:
    bench = Bench(plan(position(shares="2")), fill=True)
    bench.prices(2500.0, 2350.0)
    before = bench.position().bought_since
    book(bench, four_for_one(), str(bench.position().shares * 4))
    assert bench.position().bought_since == before * 4 > 0
