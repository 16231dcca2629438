"""When an order has a limit, what the limit is, and how much is bought at it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdaemon.calendar import AlwaysOpen, ExchangeSessions
from mrdaemon.core import events as ev
from mrdaemon.core.guards import Guard
from mrdaemon.core.instant import DAY, HOUR, MINUTE, Instant, parse
from mrdaemon.core.limits import marketable_limit
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.orders import OrderRequest
from mrdaemon.core.policy import Asset, OrderType, PrintRules
from mrdaemon.core.prints import trade_print
from mrdaemon.sentences import sentence
from tests.builders import BUY, SELL, START, Bench, Market, dollars, filled, only, plan, position

ALL_DAY = Market(opens=8 * HOUR, closes=20 * HOUR, core=(13 * HOUR, 16 * HOUR))
LONG_HOURS = PrintRules(confirm=0, max_jump=None, stale_after=None, extended_hours=True)
COLLAR = Decimal("0.005")


def limited(**changes: Any) -> Bench:
    bench = Bench(plan(position(order_type=OrderType.LIMIT, **changes)), fill=False)
    bench.prices(100.0)
    return bench


def order_at(bench: Bench, *prices: float) -> ev.OrderIntended:
    [intent] = only(bench.prices(*prices), ev.OrderIntended)
    found: ev.OrderIntended = intent
    return found


# What the limit is


@pytest.mark.parametrize(
    ("side", "price", "limit"),
    [
        (BUY, "100", "100.50"),
        (BUY, "94.01", "94.49"),
        (SELL, "100", "99.50"),
        (SELL, "94.01", "93.53"),
        (BUY, "0.5", "0.5025"),
        (BUY, "0.12345", "0.1241"),
        (SELL, "0.12345", "0.1228"),
        (BUY, "0.998", "1.01"),
        (SELL, "1.001", "0.9959"),
        (SELL, "0.0001", "0.0001"),
    ],
)
def test_a_limit_is_rounded_away_from_the_price_to_cents_or_below_a_dollar_to_ten_thousandths(
    side: Any, price: str, limit: str
) -> None:
    assert str(marketable_limit(Asset("QQQ"), side, Price(Decimal(price)), COLLAR)) == limit


@pytest.mark.parametrize(("side", "limit"), [(BUY, "60412.5"), (SELL, "59811.0")])
def test_an_assets_own_price_step_wins(side: Any, limit: str) -> None:
    coin = Asset("BTC/USD", price_increment=Price(Decimal("0.5")))
    assert marketable_limit(coin, side, Price(Decimal("60111.9")), COLLAR) == Decimal(limit)


@given(st.decimals("0.0001", "9999", places=6), st.sampled_from(["0", "0.005", "0.2"]))
def test_a_limit_reaches_no_less_far_than_the_collar(price: Decimal, collar: str) -> None:
    for side, sign in ((BUY, 1), (SELL, -1)):
        limit = marketable_limit(Asset("QQQ"), side, Price(price), Decimal(collar))
        reach = price * (1 + sign * Decimal(collar))
        assert sign * (limit - reach) >= 0 or limit == Decimal("0.0001")
        assert abs(limit - reach) <= Decimal("0.01")


# How much is bought at it


def test_at_market_a_purchase_is_in_dollars_and_a_sale_in_shares_without_a_limit() -> None:
    bench = Bench(plan(position()))
    buy, sell = order_at(bench, 100.0, 94.0), order_at(bench, 110.0)
    assert (buy.notional, buy.quantity, buy.limit) == (dollars(300), None, None)
    assert (sell.notional, sell.limit) == (None, None)


def test_with_a_limit_a_purchase_is_in_as_many_shares_as_its_amount_pays_for_at_the_limit() -> None:
    intent = order_at(limited(), 94.0)
    assert (intent.notional, intent.limit) == (None, Decimal("94.47"))
    assert intent.quantity == Decimal("3.175611305") == (Decimal(300) / Decimal("94.47")).quantize(Decimal(10) ** -9)


def test_what_it_may_cost_at_the_limit_is_reserved_and_counts_as_its_worth() -> None:
    bench = limited()
    intent = order_at(bench, 94.0)
    assert intent.reserved == intent.worth == dollars(300)
    bench.report(intent)
    book = bench.state.portfolios["core"]
    assert (book.reserved, book.reserve) == (dollars(0), dollars(5000) - dollars("298.51"))


def test_with_a_limit_a_sale_has_one_too() -> None:
    intent = order_at(limited(), 106.0)
    assert (intent.side, intent.limit, intent.reserved) == (SELL, Price(Decimal("105.47")), dollars(0))


def test_whole_shares_are_bought_for_what_they_may_cost_at_the_limit() -> None:
    bench = limited()
    whole = Asset("QQQ", fractionable=False)
    bench.take(bench.engine.record([ev.AssetKnown(at=bench.now, account="paper", asset=whole)]))
    intent = order_at(bench, 94.0)
    assert (intent.quantity, intent.reserved, intent.worth) == (Shares(Decimal(3)), dollars("283.41"), dollars(282))


def test_a_purchase_of_the_least_amount_is_one_also_at_a_limit() -> None:
    bench = Bench(plan(position(order_type=OrderType.LIMIT), reserve="1"), fill=False)
    intent = order_at(bench, 100.0, 94.0)
    assert (intent.reserved, intent.worth) == (dollars(1), dollars(1))


def test_an_order_that_differs_in_quantity_from_a_limited_intent_halts() -> None:
    bench = limited()
    other = msgspec.structs.replace(filled(order_at(bench, 94.0)), quantity=Shares(Decimal(4)))
    assert only(bench.take(bench.engine.order_update("paper", other, bench.now)), ev.PositionHalted)


# Outside of regular hours


def at_hour(hours: int, market: Market = ALL_DAY, prints: PrintRules = LONG_HOURS) -> ev.OrderIntended:
    bench = Bench(plan(position(), prints=prints), market, fill=False)
    bench.now = Instant(START // DAY * DAY + DAY + hours * HOUR)
    [intent] = only(
        bench.print(trade_print("QQQ", 100.0, bench.now), trade_print("QQQ", 94.0, bench.now)), ev.OrderIntended
    )
    found: ev.OrderIntended = intent
    return found


@pytest.mark.parametrize("hours", [9, 17])
def test_outside_of_regular_hours_an_order_has_a_limit_and_says_where_it_may_fill(hours: int) -> None:
    intent = at_hour(hours)
    assert (intent.limit, intent.notional, intent.extended) == (Decimal("94.47"), None, True)
    assert OrderRequest.of(intent).extended
    assert sentence(intent).endswith("at 94.47 or better, outside of regular hours too.")


@pytest.mark.parametrize("hours", [13, 14, 16])
def test_in_regular_hours_it_is_sent_at_market(hours: int) -> None:
    intent = at_hour(hours)
    assert (intent.limit, intent.extended) == (None, False)
    assert not OrderRequest.of(intent).extended


@pytest.mark.parametrize(("hours", "opens"), [(9, 13), (17, 24 + 13)])
def test_fractions_that_trade_in_regular_hours_only_wait_for_them(hours: int, opens: int) -> None:
    bench = Bench(plan(position(), prints=LONG_HOURS), ALL_DAY, fill=False)
    asset = Asset("QQQ", extended_fractions=False)
    bench.take(bench.engine.record([ev.AssetKnown(at=bench.now, account="paper", asset=asset)]))
    day = START // DAY * DAY + DAY
    bench.now = Instant(day + hours * HOUR)
    [held] = only(bench.prices(100.0, 94.0, 93.0), ev.SignalHeld)
    assert (held.guard, held.until) == (Guard.ASSET, day + opens * HOUR)
    bench.now = Instant(day + opens * HOUR)
    assert only(bench.prices(94.0), ev.OrderIntended)


def test_whole_shares_trade_outside_of_regular_hours_where_fractions_do_not() -> None:
    bench = Bench(plan(position(), prints=LONG_HOURS), ALL_DAY, fill=False)
    asset = Asset("QQQ", fractionable=False, extended_fractions=False)
    bench.take(bench.engine.record([ev.AssetKnown(at=bench.now, account="paper", asset=asset)]))
    bench.now = Instant(START // DAY * DAY + DAY + 9 * HOUR)
    [intent] = only(bench.prices(100.0, 94.0), ev.OrderIntended)
    assert (intent.extended, intent.quantity) == (True, Decimal(3))


def test_rules_without_extended_hours_know_only_regular_ones() -> None:
    assert not at_hour(9, prints=PrintRules(confirm=0, max_jump=None, stale_after=None)).extended


def instant(text: str) -> Instant:
    found = parse(text)
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("extended", [False, True])
def test_regular_hours_of_the_exchange_are_its_own_whether_or_not_its_extended_hours_count(extended: bool) -> None:
    sessions = ExchangeSessions(extended=extended)
    opens, closes = instant("2024-04-01T13:30:00Z"), instant("2024-04-01T20:00:00Z")
    inside = [opens, Instant(opens + HOUR), closes]
    outside = [Instant(opens - 1), Instant(closes + 1), Instant(opens - HOUR), Instant(closes + HOUR)]
    assert all(sessions.regular(each) for each in inside)
    assert not any(sessions.regular(each) for each in outside)


def test_regular_hours_end_early_on_a_half_day_and_there_are_none_on_a_holiday() -> None:
    sessions = ExchangeSessions(extended=True)
    closes = instant("2024-11-29T18:00:00Z")
    assert [sessions.regular(Instant(closes + each)) for each in (0, MINUTE)] == [True, False]
    assert not sessions.regular(instant("2024-11-28T16:00:00Z"))


def test_a_market_that_never_closes_has_only_regular_hours() -> None:
    assert AlwaysOpen().regular(instant("2024-11-28T03:00:00Z"))


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2024-11-27T14:29:59Z", "2024-11-27T14:30:00Z"),
        ("2024-11-27T14:30:00Z", "2024-11-29T14:30:00Z"),
        ("2024-11-27T23:00:00Z", "2024-11-29T14:30:00Z"),
        ("2024-11-29T03:00:00Z", "2024-11-29T14:30:00Z"),
        ("2024-11-29T10:00:00Z", "2024-11-29T14:30:00Z"),
    ],
)
@pytest.mark.parametrize("extended", [False, True])
def test_regular_hours_begin_next_at_the_exchanges_opening(now: str, opens: str, extended: bool) -> None:
    assert ExchangeSessions(extended=extended).regular_opening(instant(now)) == instant(opens)


def test_in_a_market_that_never_closes_regular_hours_begin_with_each_day() -> None:
    assert AlwaysOpen().regular_opening(instant("2024-11-28T03:00:00Z")) == instant("2024-11-29T00:00:00Z")


def test_the_least_quantity_counts_at_the_limit_too() -> None:
    bench = limited(zone="1%")
    coin = Asset("QQQ", min_quantity=Shares(Decimal(3)))
    bench.take(bench.engine.record([ev.AssetKnown(at=bench.now, account="paper", asset=coin)]))
    assert not only(bench.prices(94.33), ev.OrderIntended)
    assert order_at(bench, 94.2).quantity == Decimal("3.062948880")
