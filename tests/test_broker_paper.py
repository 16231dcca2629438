"""The paper broker: what it fills, at which price, what it refuses, and that its book outlives the process."""

from __future__ import annotations

import asyncio
import math
import resource
import shutil
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mrdaemon.brokers import Broker, BrokerError, ByHand, DuplicateOrderError, Follower, Holding, OrderRefusedError
from mrdaemon.brokers.paper import MOST_PIECES, PaperBroker, PaperRules
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import DAY, HOUR, SECOND, Instant
from mrdaemon.core.money import Price, Shares, value
from mrdaemon.core.orders import TERMINAL, OrderReport, OrderRequest
from mrdaemon.core.policy import FeedState, PrintRules
from mrdaemon.core.prints import Bar, Quote, Trade, quote_print, trade_print
from tests.builders import BUY, SELL, START, Market, dollars

ROOT = Path(__file__).parent.parent
STOCKS = Market(opens=9 * HOUR, closes=16 * HOUR)
CRYPTO = Market()
ALWAYS_IN_PIECES: dict[str, Any] = {"partial": Decimal(1), "seed": "s"}


def shares(text: str) -> Shares:
    return Shares(Decimal(text))


def price(text: str) -> Price:
    return Price(Decimal(text))


class Markets:
    """Stocks trade from 9 to 16 o'clock, pairs always."""

    def sessions(self, symbol: str) -> Market:
        return CRYPTO if "/" in symbol else STOCKS


class Desk:
    """A paper broker, the prints it sees, and a clock that the test sets."""

    def __init__(self, folder: Path, *, durable: bool = True, now: Instant = START, **rules: Any) -> None:
        self.now = now
        self.path = folder / "paper.db"
        opening = PaperRules(**{"cash": dollars(10_000), **rules})
        self.broker = PaperBroker(self.path, opening, Markets(), lambda: self.now, durable=durable)

    async def __aenter__(self) -> Self:
        await self.broker.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.broker.__aexit__()

    def later(self, nanos: int) -> None:
        self.now = Instant(self.now + nanos)

    def see(self, paid: float, symbol: str = "QQQ", **trade: Any) -> list[OrderReport]:
        self.later(SECOND)
        return self.broker.follow([trade_print(symbol, paid, self.now, **trade)])

    def see_quote(self, bid: float, ask: float, symbol: str = "QQQ") -> list[OrderReport]:
        self.later(SECOND)
        return self.broker.follow([quote_print(symbol, bid, ask, self.now)])

    async def buy(self, notional: str, order: str = "a", symbol: str = "QQQ", limit: str | None = None) -> OrderReport:
        return await self.submit(order, symbol, BUY, notional=dollars(notional), limit=limit)

    async def buy_shares(self, quantity: str, order: str = "a", limit: str | None = None) -> OrderReport:
        return await self.submit(order, "QQQ", BUY, quantity=shares(quantity), limit=limit)

    async def sell(self, quantity: str, order: str = "a", symbol: str = "QQQ", limit: str | None = None) -> OrderReport:
        return await self.submit(order, symbol, SELL, quantity=shares(quantity), limit=limit)

    async def submit(self, order: str, symbol: str, side: Any, limit: str | None = None, **size: Any) -> OrderReport:
        worst = None if limit is None else price(limit)
        request = OrderRequest(
            **{"notional": None, "quantity": None, **size},
            order=order,
            symbol=symbol,
            side=side,
            limit=worst,
            at=self.now,
        )
        return await self.broker.submit(request)

    async def find(self, order: str = "a") -> OrderReport:
        found = await self.broker.find(order)
        assert found is not None
        return found

    async def cash(self) -> Decimal:
        return (await self.broker.standing()).cash

    async def held(self, symbol: str = "QQQ") -> Decimal:
        return (await self.broker.standing()).holdings.get(symbol, Holding(shares("0"), None)).shares


async def test_it_is_a_broker_that_follows_prints(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        broker: Broker = desk.broker
        follower: Follower = desk.broker
        assert await broker.find("never sent") is None
        assert follower.follow([]) == []


async def test_its_own_reports_never_come_because_every_call_says_what_it_did(tmp_path: Path) -> None:
    async with Desk(tmp_path, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        await desk.buy("1000")
        waiting = asyncio.ensure_future(desk.broker.listen(Nobody()))
        assert desk.see(101) != []
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()


class Nobody:
    """Whom a broker may tell things."""

    def reported(self, reports: Sequence[OrderReport]) -> None: ...

    def busted(self, order: str, reason: str) -> None: ...

    def stands(self, stream: str, state: FeedState, reason: str) -> None: ...


# What an order fills at


async def test_without_a_quote_an_order_fills_at_the_last_print(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(99)
        desk.see(100)
        report = await desk.buy("1000")
    assert (report.status, report.filled, report.average) == (OrderStatus.FILLED, shares("10"), price("100"))


@pytest.mark.parametrize(("side", "paid"), [(BUY, "100.2"), (SELL, "99.9")])
async def test_an_order_buys_at_the_ask_and_sells_at_the_bid(tmp_path: Path, side: Any, paid: str) -> None:
    async with Desk(tmp_path, holdings={"QQQ": Holding(shares("50"), None)}) as desk:
        desk.see_quote(99.9, 100.2)
        desk.see(100)
        report = await desk.submit("a", "QQQ", side, quantity=shares("1"))
    assert report.average == price(paid)


async def test_a_quote_that_came_with_a_trade_counts(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100, quote=Quote(99.9, 100.2))
        assert (await desk.buy("1000")).average == price("100.2")


@pytest.mark.parametrize(("age", "paid"), [(60 * SECOND, "100.2"), (60 * SECOND + 1, "101")])
async def test_a_quote_older_than_a_minute_gives_way_to_the_last_print(tmp_path: Path, age: int, paid: str) -> None:
    async with Desk(tmp_path) as desk:
        desk.see_quote(99.9, 100.2)
        desk.see(101)
        desk.later(age - SECOND)
        assert (await desk.buy("1000")).average == price(paid)


@pytest.mark.parametrize("quote", [(0.0, 100.2), (99.9, 0.0), (101.0, 99.0), (math.nan, 100.0), (99.0, math.inf)])
async def test_a_quote_without_two_sides_gives_way_to_the_last_print(
    tmp_path: Path, quote: tuple[float, float]
) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100, quote=Quote(*quote))
        assert (await desk.buy("1000")).average == price("100")


async def test_an_old_quote_is_still_the_last_print_with_its_midpoint(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see_quote(99.9, 100.2)
        desk.later(61 * SECOND)
        assert (await desk.buy("1000")).average == price("100.05")


async def test_a_bar_fills_at_its_close(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100, trade=Bar(90, 110, 89, 100))
        assert (await desk.buy("1000")).average == price("100")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 0.0, -100.0, 1e7])
async def test_a_number_that_is_no_price_fills_nothing_and_the_next_print_does(tmp_path: Path, number: float) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(number)
        waiting = await desk.buy("1000")
        assert (waiting.status, waiting.filled) == (OrderStatus.ACCEPTED, shares("0"))
        assert desk.see(number) == []
        [report] = desk.see(100)
    assert (report.status, report.average) == (OrderStatus.FILLED, price("100"))


async def test_a_one_sided_quote_fills_nothing(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see_quote(0, 100)
        assert (await desk.buy("1000")).filled == 0


async def test_an_irregular_sale_fills_nothing_and_the_next_regular_one_does(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(250, trade=Trade("@"))
        desk.see(257.6591, trade=Trade(" 7V"))
        assert (await desk.buy("1000")).filled == 0
        [report] = desk.see(250, trade=Trade("@FI"))
    assert report.average == price("250")


async def test_which_sales_are_regular_is_a_rule(tmp_path: Path) -> None:
    async with Desk(tmp_path, prints=PrintRules(extended_hours=True)) as desk:
        desk.see(100, trade=Trade("@T"))
        assert (await desk.buy("1000")).average == price("100")


async def test_a_print_of_another_symbol_fills_nothing(tmp_path: Path) -> None:
    async with Desk(tmp_path, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        await desk.buy("1000")
        assert desk.see(100, "SPY") == []


@pytest.mark.parametrize(("side", "paid"), [(BUY, "100.05"), (SELL, "99.95")])
async def test_slippage_makes_every_fill_worse(tmp_path: Path, side: Any, paid: str) -> None:
    async with Desk(tmp_path, slippage=Decimal("0.0005"), holdings={"QQQ": Holding(shares("9"), None)}) as desk:
        desk.see(100)
        assert (await desk.submit("a", "QQQ", side, quantity=shares("1"))).average == price(paid)


async def test_slippage_is_as_fine_as_the_price_of_a_cheap_coin(tmp_path: Path) -> None:
    holdings = {"SHIB/USD": Holding(shares("1000000"), None)}
    async with Desk(tmp_path, slippage=Decimal("0.0005"), holdings=holdings) as desk:
        desk.see(0.00002, "SHIB/USD")
        assert (await desk.sell("100000", symbol="SHIB/USD")).average == price("0.00001999")


@pytest.mark.parametrize("wrong", [{"slippage": "-0.1"}, {"slippage": "1"}, {"partial": "1.1"}, {"partial": "-0.1"}])
def test_a_ratio_out_of_range_is_refused_with_what_was_wanted(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^wanted a .+, got -?[\d.]+$"):
        PaperRules(dollars(1), **{name: Decimal(text) for name, text in wrong.items()})  # type: ignore[arg-type]


# How much, and what it costs


@pytest.mark.parametrize(
    ("paid", "bought", "left"), [(95.0, "2.631578947", "9750.00"), (81.450625, "3.069344157", "9750.00")]
)
async def test_a_notional_buys_shares_rounded_down_to_nine_decimals(
    tmp_path: Path, paid: float, bought: str, left: str
) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(paid)
        await desk.buy("250")
        assert (await desk.held(), await desk.cash()) == (shares(bought), dollars(left))


@pytest.mark.parametrize(("paid", "left"), [(10.005, "9990.00"), (10.015, "9989.98")])
async def test_half_a_cent_is_booked_to_the_even_cent(tmp_path: Path, paid: float, left: str) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(paid)
        await desk.buy_shares("1")
        assert await desk.cash() == dollars(left)


async def test_the_cash_of_pieces_is_that_of_the_whole_order_rounded_once(tmp_path: Path) -> None:
    holdings = {"QQQ": Holding(shares("3"), None)}
    async with Desk(tmp_path, holdings=holdings, whole_shares=frozenset({"QQQ"}), **ALWAYS_IN_PIECES) as desk:
        desk.see(10.0076)
        pieces = [await desk.sell("3"), *desk.see(10.0076)]
        assert [piece.filled for piece in pieces] == [2, 3]
        assert await desk.cash() == dollars("10030.02")  # 20.02 and 10.01, rounded each, would be a cent more


async def test_a_sale_pays_in_and_takes_its_share_of_the_cost_out(tmp_path: Path) -> None:
    async with Desk(tmp_path, holdings={"QQQ": Holding(shares("3"), dollars("100"))}) as desk:
        desk.see(50)
        await desk.sell("1")
        standing = await desk.broker.standing()
    assert standing.cash == dollars("10050")
    assert standing.holdings["QQQ"] == Holding(shares("2"), dollars("66.67"))


async def test_what_is_sold_out_is_no_holding(tmp_path: Path) -> None:
    async with Desk(tmp_path, holdings={"QQQ": Holding(shares("3"), dollars("100"))}) as desk:
        desk.see(50)
        await desk.sell("3")
        assert (await desk.broker.standing()).holdings == {}
    async with Desk(tmp_path) as desk:
        assert (await desk.broker.standing()).holdings == {}


async def test_a_purchase_adds_to_the_cost_where_it_is_known(tmp_path: Path) -> None:
    holdings = {"QQQ": Holding(shares("1"), dollars("90")), "SPY": Holding(shares("1"), None)}
    async with Desk(tmp_path, holdings=holdings) as desk:
        desk.see(100)
        desk.see(100, "SPY")
        await desk.buy("100", "a")
        await desk.buy("100", "b", "SPY")
        await desk.buy("100", "c", "SPY")
        held = (await desk.broker.standing()).holdings
    assert (held["QQQ"].cost, held["SPY"].cost) == (dollars("190"), None)


async def test_a_notional_in_pieces_at_odd_prices_never_spends_more_than_its_notional(tmp_path: Path) -> None:
    async with Desk(tmp_path, durable=False, **ALWAYS_IN_PIECES) as desk:
        for number in range(200):
            desk.see(0.000123457)
            await desk.buy("1.01", f"o-{number}")
            desk.see(0.000123461)
            desk.see(977.7777)
            desk.see(0.000199999)
            desk.see(333.33331)
            report = await desk.find(f"o-{number}")
            assert report.status is OrderStatus.FILLED
            assert cash_of(report) == dollars("1.01")
        assert await desk.cash() == dollars("9798.00")


# Pieces


async def test_an_order_drawn_to_fill_in_pieces_goes_on_with_each_later_print_of_its_symbol(tmp_path: Path) -> None:
    async with Desk(tmp_path, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        pieces = [await desk.buy("1000")]
        while pieces[-1].status is OrderStatus.ACCEPTED:
            pieces += desk.see(100)
    assert len(pieces) == MOST_PIECES
    assert [piece.filled for piece in pieces] == sorted({piece.filled for piece in pieces})
    assert 1 <= pieces[0].filled <= 9
    assert (pieces[-1].status, pieces[-1].filled) == (OrderStatus.FILLED, shares("10"))


async def test_the_average_of_pieces_at_two_prices_is_what_was_paid_for_each(tmp_path: Path) -> None:
    whole = frozenset({"QQQ"})
    async with Desk(tmp_path, whole_shares=whole, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        first = await desk.buy_shares("2", limit="110")
        [second] = desk.see(103)
    assert (first.filled, first.average) == (shares("1"), price("100"))
    assert (second.status, second.average) == (OrderStatus.FILLED, price("101.5"))


async def test_each_print_of_a_batch_can_fill_a_piece(tmp_path: Path) -> None:
    async with Desk(tmp_path, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        await desk.buy("1000")
        desk.later(SECOND)
        reports = desk.broker.follow([trade_print("QQQ", 100, Instant(desk.now + tick)) for tick in range(2)])
    assert len(reports) == 2


async def test_a_print_that_is_not_later_than_the_last_piece_is_not_the_next_print(tmp_path: Path) -> None:
    async with Desk(tmp_path, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        await desk.buy("1000")
        assert desk.broker.follow([trade_print("QQQ", 100, desk.now)]) == []


async def test_the_next_print_is_told_by_the_feeds_clock_not_by_ours(tmp_path: Path) -> None:
    async with Desk(tmp_path, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        feed = desk.now
        desk.later(2 * SECOND)
        await desk.buy("1000")
        assert len(desk.broker.follow([trade_print("QQQ", 100, Instant(feed + SECOND))])) == 1


@pytest.mark.parametrize("other", [{"seed": "t"}, {"order": "b"}])
async def test_another_seed_or_order_draws_otherwise(tmp_path: Path, other: dict[str, str]) -> None:
    first = await first_piece(tmp_path / "1")
    assert await first_piece(tmp_path / "2") == first
    assert await first_piece(tmp_path / "3", **other) != first


async def first_piece(folder: Path, seed: str = "s", order: str = "a") -> Shares:
    async with Desk(folder, partial=Decimal(1), seed=seed) as desk:
        desk.see(100)
        return (await desk.buy("1000", order)).filled


async def test_about_as_many_orders_fill_in_pieces_as_the_rules_say(tmp_path: Path) -> None:
    async with Desk(tmp_path, durable=False, cash=dollars(10**6), partial=Decimal("0.1"), seed="s") as desk:
        desk.see(100)
        statuses = [(await desk.buy("100", f"o-{number}")).status for number in range(1000)]
    assert statuses.count(OrderStatus.ACCEPTED) == 108  # drawn once, and the same for ever


async def test_what_trades_in_whole_shares_fills_in_whole_shares(tmp_path: Path) -> None:
    async with Desk(tmp_path, whole_shares=frozenset({"QQQ"}), **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        pieces = [await desk.buy_shares("50", limit="100")]
        while pieces[-1].status is OrderStatus.ACCEPTED:
            pieces += desk.see(100)
    assert len(pieces) > 2
    assert all(piece.filled == int(piece.filled) for piece in pieces)


async def test_a_purchase_by_quantity_without_a_limit_fills_at_once_because_no_cash_could_be_kept_for_its_rest(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        assert (await desk.buy_shares("100")).status is OrderStatus.FILLED


# Limits


@pytest.mark.parametrize(("first", "then"), [(100.51, 100.5), (200.0, 90.0)])
async def test_a_purchase_waits_for_a_price_at_or_below_its_limit(tmp_path: Path, first: float, then: float) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(first)
        assert (await desk.buy_shares("2", limit="100.5")).filled == 0
        assert desk.see(first) == []
        [report] = desk.see(then)
    assert (report.filled, report.average) == (shares("2"), Price(Decimal(repr(then))))


@pytest.mark.parametrize(("first", "then"), [(99.49, 99.5), (50.0, 110.0)])
async def test_a_sale_waits_for_a_price_at_or_above_its_limit(tmp_path: Path, first: float, then: float) -> None:
    async with Desk(tmp_path, holdings={"QQQ": Holding(shares("2"), None)}) as desk:
        desk.see(first)
        assert (await desk.sell("2", limit="99.5")).filled == 0
        assert desk.see(first) == []
        [report] = desk.see(then)
    assert (report.filled, report.average) == (shares("2"), Price(Decimal(repr(then))))


# The end of an order


async def test_a_day_order_expires_when_its_session_is_over(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100)
        await desk.buy_shares("2", limit="90")
        desk.now = closes = Instant(START // DAY * DAY + 16 * HOUR)
        assert desk.broker.follow([trade_print("SPY", 1, desk.now)]) == []
        desk.now = Instant(closes + 1)
        [report] = desk.broker.follow([trade_print("SPY", 1, desk.now)])
        assert (report.status, report.filled, report.at) == (OrderStatus.EXPIRED, shares("0"), closes)
        assert desk.see(80) == []


async def test_a_day_order_does_not_fill_at_the_next_opening(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        await desk.buy("1000")
        desk.later(DAY)
        [report] = desk.see(100)
        assert (report.status, await desk.held()) == (OrderStatus.EXPIRED, Decimal(0))


async def test_an_expired_order_keeps_what_filled_and_gives_the_rest_of_its_claim_back(tmp_path: Path) -> None:
    async with Desk(tmp_path, cash=dollars("1000"), **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        filled = (await desk.buy("1000")).filled
        desk.later(DAY)
        [report] = desk.see(100)
        assert (report.filled, await desk.held()) == (filled, filled)
        rest = await desk.cash()
        assert rest > 0
        await desk.buy(str(rest), "b")


@pytest.mark.parametrize("look", ["find", "cancel"])
async def test_a_look_at_an_order_after_its_session_finds_it_expired(tmp_path: Path, look: str) -> None:
    async with Desk(tmp_path) as desk:
        await desk.buy("1000")
        desk.later(DAY)
        report = await getattr(desk.broker, look)("a")
        assert report.status is OrderStatus.EXPIRED
        assert desk.see(100) == []


async def test_a_crypto_order_is_good_till_cancelled(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(20_000, "BTC/USD")
        await desk.buy("1000", symbol="BTC/USD", limit="10000")
        desk.later(5 * DAY)
        assert desk.see(20_000, "BTC/USD") == []
        [report] = desk.see(10_000, "BTC/USD")
    assert (report.status, report.filled) == (OrderStatus.FILLED, shares("0.1"))


async def test_cancelling_ends_an_order_with_what_filled(tmp_path: Path) -> None:
    async with Desk(tmp_path, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        filled = (await desk.buy("1000")).filled
        report = await desk.broker.cancel("a")
        assert report == await desk.find()
        assert (report.status, report.filled) == (OrderStatus.CANCELED, filled)
        assert desk.see(100) == []


async def test_cancelling_what_has_filled_changes_nothing(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100)
        report = await desk.buy("1000")
        desk.later(SECOND)
        assert await desk.broker.cancel("a") == report


async def test_cancelling_what_does_not_exist_says_so(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        assert await desk.broker.cancel("a") is None


# What is refused


async def refusal(desk: Desk, symbol: str = "QQQ", side: Any = BUY, **order: Any) -> str:
    with pytest.raises(OrderRefusedError) as refused:
        await desk.submit("refused", symbol, side, **order)
    assert await desk.broker.find("refused") is None
    return str(refused.value)


async def test_an_id_is_good_for_one_order(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100)
        report = await desk.buy("1000")
        with pytest.raises(DuplicateOrderError, match="client_order_id must be unique"):
            await desk.sell("1")
        assert (await desk.find(), await desk.cash()) == (report, dollars("9000"))


@pytest.mark.parametrize("order", [{"notional": dollars("100")}, {"quantity": shares("1.5")}])
async def test_a_fraction_of_what_trades_whole_is_refused(tmp_path: Path, order: dict[str, Any]) -> None:
    async with Desk(tmp_path, whole_shares=frozenset({"QQQ"})) as desk:
        desk.see(100)
        assert await refusal(desk, **order) == "asset QQQ is not fractionable"
        assert [asset.fractionable for asset in await desk.broker.assets(["QQQ", "SPY"])] == [False, True]


@pytest.mark.parametrize(
    ("order", "worth"),
    [({"notional": dollars("0.99")}, "$0.99"), ({"quantity": shares("0.009949999")}, "$0.99")],
)
async def test_an_order_under_a_dollar_is_refused(tmp_path: Path, order: dict[str, Any], worth: str) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100)
        assert await refusal(desk, **order) == f"an order must be worth at least $1.00, got {worth}"
        assert (await desk.buy("1.00")).status is OrderStatus.FILLED


async def test_selling_more_than_is_held_is_refused(tmp_path: Path) -> None:
    async with Desk(tmp_path, holdings={"QQQ": Holding(shares("2.5"), None)}) as desk:
        desk.see(100)
        reason = await refusal(desk, side=SELL, quantity=shares("2.500000001"))
        assert reason == "insufficient qty available for order (requested: 2.500000001, available: 2.5)"
        assert (await desk.sell("2.5")).status is OrderStatus.FILLED


async def test_shares_that_an_open_sale_may_take_cannot_be_sold_again(tmp_path: Path) -> None:
    async with Desk(tmp_path, holdings={"QQQ": Holding(shares("3"), None)}) as desk:
        desk.see(100)
        await desk.sell("2", limit="110")
        assert "available: 1)" in await refusal(desk, side=SELL, quantity=shares("2"))
        await desk.broker.cancel("a")
        assert (await desk.sell("2", "b")).status is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ({"notional": dollars("10000.01")}, "$10,000.01"),
        ({"quantity": shares("100.5")}, "$10,050.00"),
        ({"quantity": shares("100"), "limit": "101"}, "$10,100.00"),
    ],
)
async def test_spending_more_than_there_is_is_refused(tmp_path: Path, order: dict[str, Any], wanted: str) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100)
        assert await refusal(desk, **order) == f"insufficient buying power ({wanted} wanted, $10,000.00 available)"
        assert (await desk.buy("10000")).status is OrderStatus.FILLED


@pytest.mark.parametrize("order", [{"notional": dollars("6000")}, {"quantity": shares("60")}])
async def test_cash_that_an_open_purchase_may_take_cannot_be_spent_again(tmp_path: Path, order: dict[str, Any]) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(101)
        await desk.submit("a", "QQQ", BUY, limit="100", **order)
        desk.see(1, "SPY")
        assert "$4,000.00 available" in await refusal(desk, "SPY", notional=dollars("4000.01"))
        await desk.broker.cancel("a")
        assert (await desk.buy("10000", "b")).status is OrderStatus.FILLED


async def test_a_piece_that_filled_is_not_claimed_twice(tmp_path: Path) -> None:
    async with Desk(tmp_path, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        assert (await desk.buy("6000")).status is OrderStatus.ACCEPTED
        assert "$4,000.00 available" in await refusal(desk, notional=dollars("4000.01"))


async def test_a_piece_that_sold_is_not_claimed_twice(tmp_path: Path) -> None:
    async with Desk(tmp_path, holdings={"QQQ": Holding(shares("60"), None)}, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        assert 0 < (await desk.sell("40")).filled < 40
        assert "available: 20)" in await refusal(desk, side=SELL, quantity=shares("20.1"))


@pytest.mark.parametrize("hour", [9 * HOUR - 1, 16 * HOUR + 1])
async def test_an_order_outside_the_session_is_refused(tmp_path: Path, hour: int) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100)
        desk.now = Instant(START // DAY * DAY + hour)
        assert await refusal(desk, notional=dollars("100")) == "the session of QQQ is closed"


async def test_an_order_at_the_last_instant_of_the_session_fills(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100)
        desk.now = Instant(START // DAY * DAY + 16 * HOUR)
        assert (await desk.buy("100")).status is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("side", "order", "reason"),
    [
        (BUY, {}, "an order needs either a quantity or a notional"),
        (BUY, {"notional": dollars("5"), "quantity": shares("5")}, "an order needs either a quantity or a notional"),
        (SELL, {"notional": dollars("5")}, "a sale needs a quantity"),
        (SELL, {"quantity": shares("0")}, "an order must be for more than nothing, got 0"),
        (SELL, {"quantity": shares("-1")}, "an order must be for more than nothing, got -1"),
        (BUY, {"quantity": shares("1")}, "there is no price of SPY to say what the order would cost"),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(
    tmp_path: Path, side: Any, order: dict[str, Any], reason: str
) -> None:
    async with Desk(tmp_path) as desk:
        assert await refusal(desk, "SPY", side, **order) == reason


# The book


async def test_a_book_is_opened_with_the_rules_cash_and_holdings_once(tmp_path: Path) -> None:
    first = {"QQQ": Holding(shares("50"), dollars("5000")), "SPY": Holding(shares("1.5"), None)}
    async with Desk(tmp_path, cash=dollars("123.45"), holdings=first) as desk:
        opened = await desk.broker.standing()
    async with Desk(tmp_path, cash=dollars("999"), holdings={}) as desk:
        assert await desk.broker.standing() == opened
    assert (opened.cash, opened.holdings) == (dollars("123.45"), first)


async def test_the_book_is_nobody_elses_to_read(tmp_path: Path) -> None:
    async with Desk(tmp_path / "new folder") as desk:
        desk.see(100)
        await desk.buy("1000")
        files = sorted(desk.path.parent.iterdir())
        assert [file.name for file in files] == ["paper.db", "paper.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_a_restart_finds_every_order_as_it_was(tmp_path: Path) -> None:
    async with Desk(tmp_path, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        await desk.buy("1000", "canceled")
        await desk.broker.cancel("canceled")
        await desk.buy("1000", "open")
        before = [await desk.find("canceled"), await desk.find("open")]
        standing = await desk.broker.standing()
    async with Desk(tmp_path, **ALWAYS_IN_PIECES) as desk:
        assert [await desk.find("canceled"), await desk.find("open")] == before
        assert await desk.broker.standing() == standing
        with pytest.raises(DuplicateOrderError):
            await desk.buy("1000", "canceled")
        desk.see(100)
        third = await desk.buy("1000", "third")
    assert third.broker_order == "paper-3"


async def test_an_order_sent_again_before_the_first_print_after_a_restart_waits_for_it(tmp_path: Path) -> None:
    async with Desk(tmp_path, holdings={"SPY": Holding(shares("1"), None)}) as desk:
        assert (await desk.buy("1000", "bought")).status is OrderStatus.ACCEPTED
        assert (await desk.sell("1", "sold", "SPY")).status is OrderStatus.ACCEPTED
        assert [report.average for report in desk.see(100)] == [price("100")]
        assert [report.average for report in desk.see(200, "SPY")] == [price("200")]


async def test_a_run_that_restarts_after_every_row_and_reads_the_last_ones_again_ends_the_same(tmp_path: Path) -> None:
    rows = [trade_print("QQQ", 100 + number % 7, Instant(START + number * SECOND)) for number in range(12)]
    async with Desk(tmp_path / "whole", **ALWAYS_IN_PIECES) as desk:
        for number, row in enumerate(rows):
            desk.now = row[2]
            desk.broker.follow([row])
            if number in {2, 3}:
                await desk.buy("1000", f"o-{number}")
        whole = [await desk.find("o-2"), await desk.find("o-3"), await desk.broker.standing()]
    for number, row in enumerate(rows):
        async with Desk(tmp_path / "torn", now=row[2], **ALWAYS_IN_PIECES) as desk:
            desk.broker.follow(rows[max(0, number - 3) : number])
            desk.broker.follow([row])
            if number in {2, 3}:
                await desk.buy("1000", f"o-{number}")
    async with Desk(tmp_path / "torn") as desk:
        assert [await desk.find("o-2"), await desk.find("o-3"), await desk.broker.standing()] == whole
    assert {report.status for report in whole[:2] if isinstance(report, OrderReport)} == {OrderStatus.FILLED}


async def test_rows_read_again_much_later_fill_nothing_that_they_did_not_fill_before(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        await desk.buy_shares("2", limit="100")
        rows = [quote_print("QQQ", 100.1, 100.2, START), trade_print("QQQ", 99.9, Instant(START + SECOND))]
        assert desk.broker.follow(rows) == []  # the ask is above the limit
        desk.later(HOUR)
        assert desk.broker.follow(rows) == []


async def trade_until_killed(folder: Path) -> None:
    """Run in a child: say every report once it was given."""
    async with Desk(folder, **ALWAYS_IN_PIECES, cash=dollars(10**9)) as desk:
        for number in count():
            reports = desk.see(100 + number % 7)
            reports.append(await desk.buy("1000", f"o-{number}"))
            for report in reports:
                sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
            sys.stdout.flush()


def child(function: str, folder: Path) -> list[str]:
    code = "import asyncio, pathlib, sys; from tests import test_broker_paper as those; "
    return [sys.executable, "-c", f"{code}asyncio.run(those.{function}(pathlib.Path(sys.argv[1])))", str(folder)]


async def test_what_was_told_survives_kill_9(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *child("trade_until_killed", tmp_path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(100)]
    process.kill()
    await process.communicate()
    told = {report.order: report for report in (msgspec.json.decode(line, type=OrderReport) for line in lines)}
    ended = [report for report in told.values() if report.status in TERMINAL]
    assert len(ended) > 5
    async with Desk(tmp_path) as desk:
        assert [await desk.find(report.order) for report in ended] == ended
        for report in told.values():
            assert (await desk.find(report.order)).filled >= report.filled
            with pytest.raises(DuplicateOrderError):
                await desk.buy("1000", report.order)
        taken = [await desk.find(f"o-{number}") for number in range(desk.broker._book.orders)]
        assert await desk.cash() == 10**9 - sum(cash_of(order) for order in taken)


def cash_of(report: OrderReport) -> Decimal:
    return Decimal(0) if report.average is None else value(report.filled, report.average)


async def test_a_second_broker_on_one_book_is_turned_away_and_the_first_goes_on(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100)
        with pytest.raises(BrokerError, match=r"paper\.db: .*another process has it open: stop that one"):
            await Desk(tmp_path).__aenter__()
        await desk.buy("1000")
    async with Desk(tmp_path) as desk:
        assert await desk.cash() == dollars("9000")


async def broken(folder: Path) -> str:
    with pytest.raises(BrokerError) as error:
        await Desk(folder).__aenter__()
    assert str(error.value).startswith(f"{folder / 'paper.db'}: ")
    return str(error.value)


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "paper.db").write_bytes(b"to whom it may concern\n" * 100)
    assert "file is not a database; keep the file, and restore it from a backup" in await broken(tmp_path)
    assert (tmp_path / "paper.db").read_bytes() == b"to whom it may concern\n" * 100


async def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "paper.db")
    connection.execute("CREATE TABLE orders (mine TEXT)")
    connection.close()
    before = (tmp_path / "paper.db").read_bytes()
    assert "but not a paper broker's book; name another file" in await broken(tmp_path)
    assert (tmp_path / "paper.db").read_bytes() == before


async def test_a_book_with_garbage_in_its_pages_is_refused(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100)
        await desk.buy("1000")
    size = desk.path.stat().st_size
    with desk.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    assert "malformed; keep the file, and restore it from a backup" in await broken(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE account SET cash = 'a lot'",
        "UPDATE orders SET body = '{}'",
        "UPDATE orders SET body = 'nothing'",
        "UPDATE orders SET body = CAST(x'ff' AS TEXT)",
    ],
)
async def test_a_book_that_makes_no_sense_is_refused(tmp_path: Path, damage: str) -> None:
    async with Desk(tmp_path) as desk:
        await desk.buy("1000")
        desk.broker._book._connection.execute(damage)
    assert "keep the file, and restore it from a backup" in await broken(tmp_path)


async def test_an_order_that_cannot_be_read_is_an_error_not_an_order_that_does_not_exist(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        await desk.buy("1000")
        desk.broker._book._connection.execute("UPDATE orders SET body = '{}'")
        with pytest.raises(BrokerError, match=r"paper\.db: cannot read"):
            await desk.broker.find("a")


async def test_a_folder_in_place_of_the_book_is_refused(tmp_path: Path) -> None:
    (tmp_path / "paper.db").mkdir()
    assert "name a file in a folder that this user may write" in await broken(tmp_path)


async def test_a_full_disk_is_an_error_that_changes_nothing(tmp_path: Path) -> None:
    async with Desk(tmp_path, **ALWAYS_IN_PIECES) as desk:
        desk.see(100)
        await desk.buy("100", "open")
        before = await desk.broker.standing()
        desk.broker._book._connection.execute("PRAGMA max_page_count = 1")
        too_long = "o" * 10_000
        with pytest.raises(BrokerError, match=r"paper\.db: cannot write .* full; free some space on its disk"):
            await desk.buy("100", too_long)
        desk.broker._book._connection.execute("PRAGMA max_page_count = 1000000")
        assert await desk.broker.find(too_long) is None
        assert await desk.broker.standing() == before
        assert (await desk.buy("100", too_long)).broker_order == "paper-2"


async def test_a_commit_that_is_refused_is_taken_back(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.see(100)
        run = desk.broker._book._connection.execute
        run("PRAGMA foreign_keys = ON")
        run("CREATE TEMP TABLE known (id INTEGER PRIMARY KEY)")
        run("CREATE TEMP TABLE wrong (id REFERENCES known DEFERRABLE INITIALLY DEFERRED)")
        run("CREATE TEMP TRIGGER spoil AFTER INSERT ON orders BEGIN INSERT INTO wrong VALUES (1); END")
        with pytest.raises(BrokerError, match="FOREIGN KEY"):
            await desk.buy("1000")
        run("DROP TRIGGER spoil")
        assert await desk.broker.find("a") is None
        await desk.buy("1000")
    async with Desk(tmp_path) as desk:
        assert await desk.cash() == dollars("9000")


async def outgrow_the_file_limit(folder: Path) -> None:
    """Run in a child: fail in the middle of a commit, then go on."""
    async with Desk(folder) as desk:
        desk.see(100)
        await desk.buy("1000", "first")
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = desk.path.with_name("paper.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, unlimited[1]))
        with pytest.raises(BrokerError, match=r"paper\.db: cannot write .*; free some space on its disk"):
            await desk.buy("1000", "second")
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert await desk.broker.find("second") is None
        assert await desk.cash() == dollars("9000")
        await desk.buy("1000", "second")


async def test_a_disk_that_fills_up_half_way_through_a_commit_changes_nothing(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(*child("outgrow_the_file_limit", tmp_path), cwd=ROOT)
    assert await process.wait() == 0
    async with Desk(tmp_path) as desk:
        assert await desk.cash() == dollars("8000")


# What must always hold

SYMBOLS = st.sampled_from(["QQQ", "SPY", "BTC/USD"])
OPENING = {"QQQ": Holding(shares("50"), dollars("5000")), "BTC/USD": Holding(shares("0.5"), None)}
CASH = dollars("20000")
AMOUNTS = st.decimals("0.50", "9000", places=2).map(str)
QUANTITIES = st.one_of(st.decimals("0.000000001", "60", places=9), st.integers(1, 60)).map(str)
LIMITS = st.none() | st.decimals("80", "120", places=2).map(str)
PRICES = st.sampled_from([math.nan, 0.0, -1.0, math.inf]) | st.floats(80, 120)


class Book(RuleBasedStateMachine):
    """Any orders, prints, cancellations, closings and restarts: the books balance to the cent."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.names: Iterator[str] = (f"o-{number}" for number in count())
        self.known: dict[str, OrderReport] = {}
        self.now = START

    @initialize(partial=st.sampled_from(["0", "0.5", "1"]), slippage=st.sampled_from(["0", "0.0005"]))
    def open(self, partial: str, slippage: str) -> None:
        self.paper: dict[str, Any] = {
            "cash": CASH,
            "holdings": OPENING,
            "partial": Decimal(partial),
            "slippage": Decimal(slippage),
            "seed": "s",
            "whole_shares": frozenset({"SPY"}),
        }
        self.desk = Desk(self.folder, durable=False, **self.paper)
        self.runner.run(self.desk.__aenter__())

    def teardown(self) -> None:
        self.runner.run(self.desk.__aexit__())
        self.runner.close()
        shutil.rmtree(self.folder)

    def take(self, *reports: OrderReport) -> None:
        for report in reports:
            before = self.known.get(report.order)
            if before is not None:
                assert before.status not in TERMINAL or before == report
                assert report.filled >= before.filled
            self.known[report.order] = report

    def submit(self, symbol: str, side: Any, **order: Any) -> None:
        name = next(self.names)
        try:
            report = self.runner.run(self.desk.submit(name, symbol, side, **order))
        except OrderRefusedError:
            assert self.runner.run(self.desk.broker.find(name)) is None
        else:
            self.take(report)

    @rule(symbol=SYMBOLS, paid=PRICES)
    def see(self, symbol: str, paid: float) -> None:
        self.take(*self.desk.see(paid, symbol))

    @rule(symbol=SYMBOLS, bid=PRICES, ask=PRICES)
    def see_quote(self, symbol: str, bid: float, ask: float) -> None:
        self.take(*self.desk.see_quote(bid, ask, symbol))

    @rule(symbol=SYMBOLS, amount=AMOUNTS, limit=LIMITS)
    def spend(self, symbol: str, amount: str, limit: str | None) -> None:
        self.submit(symbol, BUY, notional=dollars(amount), limit=limit)

    @rule(symbol=SYMBOLS, side=st.sampled_from([BUY, SELL]), quantity=QUANTITIES, limit=LIMITS)
    def trade(self, symbol: str, side: Any, quantity: str, limit: str | None) -> None:
        self.submit(symbol, side, quantity=shares(quantity), limit=limit)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.known)))
        report = self.runner.run(self.desk.broker.cancel(name))
        assert report is not None
        self.take(report)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.known)))
        with pytest.raises(DuplicateOrderError):
            self.runner.run(self.desk.buy("100", name))

    @rule(hours=st.sampled_from([1, 5, 24]))
    def wait(self, hours: int) -> None:
        self.desk.later(hours * HOUR)

    @rule()
    def restart(self) -> None:
        before = self.everything()
        self.runner.run(self.desk.__aexit__())
        self.desk = Desk(self.folder, durable=False, now=self.desk.now, **self.paper)
        self.runner.run(self.desk.__aenter__())
        assert self.everything() == before

    def everything(self) -> object:
        return [self.runner.run(self.desk.broker.standing()), *self.orders()]

    def orders(self) -> list[OrderReport]:
        return [self.runner.run(self.desk.find(name)) for name in self.known]

    @invariant()
    def reports_are_what_the_book_says(self) -> None:
        orders = self.orders()
        self.take(*orders)
        assert list(self.known.values()) == orders

    @invariant()
    def nothing_is_negative(self) -> None:
        standing = self.runner.run(self.desk.broker.standing())
        assert standing.cash >= 0
        assert all(held.shares > 0 for held in standing.holdings.values())
        assert self.desk.broker._book.free_cash >= 0
        assert all(self.desk.broker._book.free_shares(symbol) >= 0 for symbol in ("QQQ", "SPY", "BTC/USD"))

    @invariant()
    def cash_is_the_opening_less_purchases_plus_sales(self) -> None:
        orders = self.orders()
        bought = sum(cash_of(order) for order in orders if order.side is BUY)
        sold = sum(cash_of(order) for order in orders if order.side is SELL)
        assert self.runner.run(self.desk.cash()) == CASH - bought + sold

    @invariant()
    def holdings_are_the_opening_plus_purchases_less_sales(self) -> None:
        orders = self.orders()
        for symbol in ("QQQ", "SPY", "BTC/USD"):
            bought = sum(order.filled for order in orders if order.symbol == symbol and order.side is BUY)
            sold = sum(order.filled for order in orders if order.symbol == symbol and order.side is SELL)
            opened = OPENING[symbol].shares if symbol in OPENING else 0
            assert self.runner.run(self.desk.held(symbol)) == opened + bought - sold

    @invariant()
    def no_order_takes_more_than_it_asked_for(self) -> None:
        for order in self.orders():
            assert order.quantity is None or order.filled <= order.quantity
            assert order.notional is None or cash_of(order) <= order.notional
            assert order.status is not OrderStatus.FILLED or order.filled > 0


TestBook = pytest.mark.no_cover(Book.TestCase)
TestBook.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


# What people did past the daemon


def by_hand(paid_in: int = 10_000, **traded: tuple[str, int]) -> ByHand:
    return ByHand(
        dollars(paid_in), {symbol: Holding(shares(held), dollars(cost)) for symbol, (held, cost) in traded.items()}
    )


async def standing(desk: Desk) -> tuple[Decimal, dict[str, Holding]]:
    found = await desk.broker.standing()
    return found.cash, found.holdings


async def test_what_was_paid_in_before_the_first_word_of_it_is_in_the_book_already(tmp_path: Path) -> None:
    async with Desk(tmp_path, cash=dollars(7_000)) as desk:
        desk.broker.note(by_hand(10_000))
        assert await desk.cash() == 7_000


async def test_shares_that_a_later_position_begins_with_are_there_once(tmp_path: Path) -> None:
    begun = {"QQQ": Holding(shares("50"), None)}
    grown = {"QQQ": Holding(shares("60"), None), "IWM": Holding(shares("7"), None)}
    async with Desk(tmp_path, holdings=begun) as desk:
        desk.broker.note(by_hand()._replace(opened=begun))
        cash = await desk.cash()
    async with Desk(tmp_path, holdings=begun) as desk:
        for _ in range(2):
            desk.broker.note(by_hand()._replace(opened=grown))
        found, held = await standing(desk)
    assert {symbol: each.shares for symbol, each in held.items()} == {"QQQ": 60, "IWM": 7}
    assert found == cash


async def test_what_is_paid_in_or_out_later_moves_the_cash(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        for paid_in in (10_000, 12_500, 9_000):
            desk.broker.note(by_hand(paid_in))
        assert await desk.cash() == 9_000


async def test_shares_traded_by_hand_are_there_with_their_cost_and_gone_with_their_part_of_it(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.broker.note(by_hand())
        desk.broker.note(by_hand(QQQ=("10", 1_000)))
        assert await standing(desk) == (dollars(9_000), {"QQQ": Holding(shares("10"), dollars(1_000))})
        desk.broker.note(by_hand(QQQ=("6", 520)))
        assert await standing(desk) == (dollars(9_480), {"QQQ": Holding(shares("6"), dollars(600))})
        desk.broker.note(by_hand())
        assert await standing(desk) == (dollars(10_000), {})


async def test_what_was_told_before_is_not_booked_twice_also_after_a_restart(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.broker.note(by_hand())
        desk.broker.note(by_hand(11_000, QQQ=("10", 1_000)))
        desk.broker.note(by_hand(11_000, QQQ=("10", 1_000)))
    async with Desk(tmp_path) as again:
        again.broker.note(by_hand(11_000, QQQ=("10", 1_000)))
        assert await standing(again) == (dollars(10_000), {"QQQ": Holding(shares("10"), dollars(1_000))})


async def test_a_book_of_before_learns_to_remember_what_people_did(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        pass
    with sqlite3.connect(desk.path) as book:
        book.execute("DROP TABLE paid_in")
        book.execute("DROP TABLE by_hand")
    book.close()
    async with Desk(tmp_path) as again:
        again.broker.note(by_hand())
        again.broker.note(by_hand(10_001))
        assert await again.cash() == 10_001


async def test_a_book_that_cannot_be_written_takes_nothing_over(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.broker.note(by_hand())
        desk.broker._book._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(BrokerError, match="cannot write"):
            desk.broker.note(by_hand(99_000, QQQ=("10", 1_000)))
        assert await standing(desk) == (dollars(10_000), {})
