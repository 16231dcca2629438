"""Orders at a local Alpaca over real sockets: every outcome of a submission, what is looked up, and what is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import websockets.asyncio.server as ws

from mrdaemon.alpaca import rest as resting
from mrdaemon.alpaca.answers import Reply, UnansweredError
from mrdaemon.alpaca.limiter import Limiter
from mrdaemon.alpaca.login import Login
from mrdaemon.alpaca.rest import Call, Rest, threads
from mrdaemon.alpaca.socket import connect
from mrdaemon.brokers import (
    AmbiguousError,
    DeniedError,
    DuplicateOrderError,
    NotTakenError,
    OrderRefusedError,
)
from mrdaemon.brokers.alpaca import PAGE, AlpacaBroker, Around, order_fields
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import HOUR, SECOND, Instant, iso
from mrdaemon.core.money import Dollars, Price, Shares
from mrdaemon.core.orders import OrderReport, OrderRequest
from mrdaemon.core.policy import FeedState, Side
from mrdaemon.simulator.assets import Listing
from mrdaemon.simulator.tickets import read_ticket
from tests.alpaca_support import (
    Answer,
    Asked,
    Local,
    MovedClock,
    Server,
    SkippingClock,
    Wire,
    cut,
    local,
    misbehaving,
    never,
    running,
    saying,
    until,
)

NAME = "mrd-core-QQQ-1-1-nonce"
MANY = [f"S{number}" for number in range(21)]
SYMBOLS = ("QQQ", "SPY", "BTC/USD", "BRK.B")


def buy(name: str = NAME, symbol: str = "QQQ", dollars: str = "500.00") -> OrderRequest:
    return OrderRequest(name, symbol, Side.ACCUMULATE, Dollars(Decimal(dollars)), None, None, Instant(0))


def sell(name: str = NAME, symbol: str = "QQQ", shares: str = "1", limit: str | None = None) -> OrderRequest:
    price = None if limit is None else Price(Decimal(limit))
    return OrderRequest(name, symbol, Side.TRIM, None, Shares(Decimal(shares)), price, Instant(0))


class Ear:
    """Takes what a broker tells."""

    def __init__(self) -> None:
        self.reports: list[OrderReport] = []
        self.busts: list[tuple[str, str]] = []
        self.states: list[tuple[FeedState, str]] = []

    def reported(self, reports: Sequence[OrderReport]) -> None:
        self.reports += reports

    def busted(self, order: str, reason: str) -> None:
        self.busts.append((order, reason))

    def stands(self, stream: str, state: FeedState, reason: str) -> None:
        self.states.append((state, reason))

    @property
    def last(self) -> OrderReport:
        return self.reports[-1]


def broker_of(here: Local, login: Login | None = None) -> AlpacaBroker:
    return AlpacaBroker("alpaca", SYMBOLS, Around(login or here.login, here.rest, here.connect, here.clock))


@asynccontextmanager
async def trading(**how: Any) -> AsyncIterator[tuple[Local, AlpacaBroker]]:
    """Have an account with prices."""
    async with local(**how) as here:
        here.trade("QQQ", 500.0)
        here.trade("SPY", 600.0)
        here.trade("BTC/USD", 50_000.0)
        yield here, broker_of(here)


@asynccontextmanager
async def hearing(here: Local, broker: AlpacaBroker) -> AsyncIterator[Ear]:
    """Listen to order updates."""
    ear = Ear()
    async with running(broker.listen(ear)):
        await until(lambda: broker.hearing)
        yield ear


@asynccontextmanager
async def answering(answer: Answer, clock: MovedClock | None = None) -> AsyncIterator[tuple[Server, AlpacaBroker]]:
    """Have a broker whose service answers as a test wants it to."""
    clock = clock or SkippingClock()
    async with misbehaving(answer) as server:
        login = Login.of("PKTHEKEY", "thesecret", live=False, url=server.url)
        async with threads(login) as carrier:
            yield (
                server,
                AlpacaBroker("alpaca", SYMBOLS, Around(login, Rest(carrier, Limiter(clock), clock), connect, clock)),
            )


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resting, "READ_WITHIN", 3.0)


# Submitting


async def test_an_order_that_alpaca_takes_is_reported() -> None:
    async with trading() as (here, broker):
        report = await broker.submit(buy())
        assert (report.order, report.symbol, report.side) == (NAME, "QQQ", Side.ACCUMULATE)
        assert (report.status, report.average) == (OrderStatus.ACCEPTED, None)
        assert report.filled == 0
        assert (report.notional, report.quantity) == (Decimal("500.00"), None)
        assert report.created == here.clock.now()
        here.pass_time(1)
        found = await broker.find(NAME)
        assert found is not None
        assert found.status is OrderStatus.FILLED
        assert 0.99 < found.filled <= 1
        assert found.average == 500
        assert found.broker_order == report.broker_order


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (
            buy(dollars="123.40"),
            {"symbol": "QQQ", "side": "buy", "type": "market", "time_in_force": "day", "notional": "123.40"},
        ),
        (
            sell(shares="0.000000001"),
            {"symbol": "QQQ", "side": "sell", "type": "market", "time_in_force": "day", "qty": "0.000000001"},
        ),
        (
            sell(shares="1E+3", limit="0.1234"),
            {
                "symbol": "QQQ",
                "side": "sell",
                "type": "limit",
                "time_in_force": "day",
                "qty": "1000",
                "limit_price": "0.1234",
            },
        ),
        (
            buy(symbol="BTC/USD"),
            {"symbol": "BTC/USD", "side": "buy", "type": "market", "time_in_force": "gtc", "notional": "500.00"},
        ),
        (
            msgspec.structs.replace(sell(limit="5"), extended=True),
            {
                "symbol": "QQQ",
                "side": "sell",
                "type": "limit",
                "time_in_force": "day",
                "qty": "1",
                "limit_price": "5",
                "extended_hours": True,
            },
        ),
    ],
)
def test_an_order_is_written_without_rounding(request_: OrderRequest, fields: dict[str, object]) -> None:
    assert order_fields(request_) == {"client_order_id": NAME, **fields}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (buy(dollars="0.50"), "cost basis"),
        (buy(dollars="900000.00"), "insufficient"),
        (sell(shares="3"), "insufficient qty available"),
        (buy(symbol="NOFRACTION"), "fractionable"),
        (buy(symbol="NOTRADE"), "tradable"),
    ],
)
async def test_a_definite_no_is_a_refusal_with_alpacas_words(request_: OrderRequest, words: str) -> None:
    async with trading() as (here, broker):
        here.simulator.exchange.listings.add(Listing(symbol="NOFRACTION", fractionable=False))
        here.simulator.exchange.listings.add(Listing(symbol="NOTRADE", tradable=False))
        here.trade("NOFRACTION", 10.0)
        here.trade("NOTRADE", 10.0)
        with pytest.raises(OrderRefusedError, match=words):
            await broker.submit(request_)
        assert await broker.find(NAME) is None


async def test_an_id_that_was_used_is_no_refusal_but_a_duplicate() -> None:
    async with trading() as (here, broker):
        await broker.submit(buy())
        with pytest.raises(DuplicateOrderError):
            await broker.submit(buy())
        assert len(here.simulator.exchange.orders()) == 1


@pytest.mark.parametrize("fault", ["504", "hang_up", "gibberish"])
async def test_an_order_that_was_taken_without_an_answer_is_ambiguous_and_found_by_its_id(fault: str) -> None:
    async with trading() as (here, broker):
        here.fault(fault, method="POST")
        with pytest.raises(AmbiguousError) as caught:
            await broker.submit(buy())
        assert not isinstance(caught.value, DeniedError)
        found = await broker.find(NAME)
        assert found is not None
        with pytest.raises(DuplicateOrderError):
            await broker.submit(buy())
        assert len(here.simulator.exchange.orders()) == 1


@pytest.mark.parametrize("fault", ["500", "503"])
async def test_an_order_that_was_not_taken_without_saying_so_is_ambiguous_too(fault: str) -> None:
    async with trading() as (here, broker):
        here.fault(fault, method="POST")
        with pytest.raises(AmbiguousError):
            await broker.submit(buy())
        assert here.asked("POST", "/v2/orders") == [int(fault)]
        assert await broker.find(NAME) is None
        assert (await broker.submit(buy())).order == NAME


async def test_after_too_many_requests_the_same_order_is_taken_later() -> None:
    async with trading() as (here, broker):
        here.fault("429", method="POST")
        with pytest.raises(NotTakenError) as busy:
            await broker.submit(buy())
        assert 0.5 <= busy.value.after <= 10
        assert (await broker.submit(buy())).order == NAME
        assert len(here.simulator.exchange.orders()) == 1


FOUND: dict[str, Any] = {
    "id": "1",
    "client_order_id": NAME,
    "symbol": "QQQ",
    "side": "buy",
    "status": "new",
    "created_at": "2026-10-08T14:30:00Z",
}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (saying(400, {"code": 40010000, "message": "bad"}), OrderRefusedError),
        (saying(403, {"code": 40310000, "message": "insufficient buying power"}), OrderRefusedError),
        (saying(422, {"code": 42210000, "message": "invalid"}), OrderRefusedError),
        (saying(422, {"code": 40010001, "message": "client_order_id must be unique"}), DuplicateOrderError),
        (saying(429), NotTakenError),
        (saying(401, {"message": "unauthorized."}), DeniedError),
        (saying(403, {"message": "forbidden."}), DeniedError),
        (saying(404, {"code": 40410000, "message": "endpoint not found"}), AmbiguousError),
        (saying(400, b"<html>"), AmbiguousError),
        (saying(408), AmbiguousError),
        (saying(500, {"code": 50010000, "message": "internal server error occurred"}), AmbiguousError),
        (saying(200, b"{}"), AmbiguousError),
        (saying(200, {**FOUND, "side": "short"}), AmbiguousError),
        (saying(200, {**FOUND, "created_at": "yesterday"}), AmbiguousError),
        (saying(200, {**FOUND, "filled_qty": "1e400"}), AmbiguousError),
        (saying(200, {**FOUND, "filled_qty": "NaN"}), AmbiguousError),
        (saying(200, {**FOUND, "filled_qty": "-1"}), AmbiguousError),
        (saying(200, {**FOUND, "filled_qty": "1e16"}), AmbiguousError),
        (saying(200, {**FOUND, "filled_avg_price": "1e70"}), AmbiguousError),
        (saying(200, {**FOUND, "filled_avg_price": "-5"}), AmbiguousError),
        (saying(200, {**FOUND, "notional": "1e70"}), AmbiguousError),
        (saying(200, {**FOUND, "side": None}), AmbiguousError),
        (never, AmbiguousError),
        (cut, AmbiguousError),
    ],
)
async def test_each_answer_has_its_outcome_and_the_order_is_sent_once(answer: Answer, error: type[Exception]) -> None:
    async with answering(answer) as (server, broker):
        with pytest.raises(error) as caught:
            await broker.submit(buy())
        assert type(caught.value) is error
        assert server.count("POST") == 1
        assert "thesecret" not in repr(caught.value)


async def test_a_denial_of_the_keys_says_what_to_do() -> None:
    async with answering(saying(401, {"message": "unauthorized."})) as (_, broker):
        with pytest.raises(DeniedError, match=r"keys.*revoked"):
            await broker.submit(buy())


@pytest.mark.parametrize(("reset", "seconds"), [(None, 1.0), (3, 3.0), (-100, 0.5), (3600, 10.0)])
async def test_how_long_an_order_waits_for_the_rate_limit_is_bounded(reset: int | None, seconds: float) -> None:
    clock = SkippingClock()
    headers = {} if reset is None else {"x-ratelimit-reset": str(clock.now() // SECOND + reset)}
    async with answering(saying(429, b"", headers), clock) as (_, broker):
        with pytest.raises(NotTakenError) as busy:
            await broker.submit(buy())
        assert busy.value.after == seconds


# Looking up and cancelling


async def test_an_order_that_does_not_exist_is_not_found_for_sure() -> None:
    async with trading() as (_, broker):
        assert await broker.find("mrd-never-sent") is None


@pytest.mark.parametrize("answer", [saying(404, b"<html>not found</html>"), saying(404), saying(500), never])
async def test_a_look_up_without_a_definite_answer_is_ambiguous(answer: Answer) -> None:
    async with answering(answer) as (_, broker):
        with pytest.raises(AmbiguousError):
            await broker.find(NAME)


async def test_an_open_order_is_cancelled() -> None:
    async with trading() as (here, broker):
        await broker.submit(sell_short_of_price(here))
        before = await broker.cancel(NAME)
        assert before is not None
        here.pass_time(1)
        after = await broker.find(NAME)
        assert after is not None
        assert after.status is OrderStatus.CANCELED


def sell_short_of_price(here: Local) -> OrderRequest:
    """Make an order that stays open: a purchase far below the price."""
    return OrderRequest(
        NAME, "QQQ", Side.ACCUMULATE, None, Shares(Decimal(1)), Price(Decimal("400.00")), Instant(here.clock.now())
    )


async def test_an_order_that_ended_is_not_cancelled_but_reported() -> None:
    async with trading() as (here, broker):
        await broker.submit(buy())
        here.pass_time(1)
        report = await broker.cancel(NAME)
        assert report is not None
        assert report.status is OrderStatus.FILLED
        assert here.asked("DELETE", "/v2/orders") == []


async def test_an_order_that_fills_while_it_is_cancelled_is_filled() -> None:
    filled = {**FOUND, "status": "filled", "filled_qty": "1", "filled_avg_price": "500"}

    async def answer(asked: Asked, wire: Wire) -> None:
        if asked.method == "DELETE":
            wire.answer(422, b'{"code":42210000,"message":"order is already in filled state"}')
        else:
            wire.answer(200, json.dumps(filled if server.count("DELETE") else FOUND).encode())

    async with answering(answer) as (server, broker):
        report = await broker.cancel(NAME)
    assert report is not None
    assert report.status is OrderStatus.FILLED
    assert report.filled == 1


async def test_an_order_that_is_unknown_is_not_cancelled() -> None:
    async with trading() as (here, broker):
        assert await broker.cancel(NAME) is None
        assert here.asked("DELETE", "/v2/orders") == []


@pytest.mark.parametrize("fault", ["500", "504", "hang_up", "429"])
async def test_a_cancellation_without_an_answer_is_ambiguous(fault: str) -> None:
    async with trading() as (here, broker):
        await broker.submit(sell_short_of_price(here))
        here.fault(fault, method="DELETE", path="/v2/orders")
        with pytest.raises(AmbiguousError):
            await broker.cancel(NAME)


# The list of orders


def order(number: int, created: str, name: str = "") -> dict[str, Any]:
    return {**FOUND, "id": f"{number}", "client_order_id": name or f"mrd-core-QQQ-{number}", "created_at": created}


def listing(orders: list[dict[str, Any]]) -> Answer:
    """List orders as Alpaca does: those created after an instant, and no more than the limit."""

    async def answer(asked: Asked, wire: Wire) -> None:
        from urllib.parse import parse_qs, urlsplit  # noqa: PLC0415

        fields = parse_qs(urlsplit(asked.path).query)
        if fields["status"] == ["open"]:
            wire.answer(200, b"[]")
            return
        assert (fields["status"], fields["direction"], fields["limit"]) == (["all"], ["asc"], [str(PAGE)])
        after = fields["after"][0]
        found = [each for each in orders if each["created_at"] > after]
        wire.answer(200, json.dumps(found[:PAGE]).encode())

    return answer


def at(number: int) -> str:
    return f"2026-10-08T14:{number // 60 % 60:02}:{number % 60:02}.{number:06}Z"


async def taken(orders: list[dict[str, Any]]) -> tuple[list[str], int]:
    async with answering(listing(orders)) as (server, broker):
        found = await asyncio.wait_for(broker.taken_since(Instant(0)), 10)
        return [each.order for each in found], len(server.asked)


@pytest.mark.parametrize(
    "odd",
    [
        {"order_class": "mleg"},
        {"symbol": None, "side": None, "status": None, "client_order_id": None},
        {"symbol": "", "side": "", "status": "new"},
        {"qty": "", "notional": "some", "filled_qty": [], "filled_avg_price": "1e70"},
    ],
)
async def test_an_odd_order_of_somebody_else_takes_none_of_ours_along(odd: dict[str, Any]) -> None:
    theirs = {"id": "by-hand", "client_order_id": "by-hand", "created_at": at(1), **odd}
    names, _ = await taken([order(0, at(0)), theirs, order(2, at(2))])
    assert names == ["mrd-core-QQQ-0", "mrd-core-QQQ-2"]


async def test_every_order_of_ours_is_listed_over_many_pages() -> None:
    orders = [order(number, at(number)) for number in range(1700)]
    names, _ = await taken(orders)
    assert names == [each["client_order_id"] for each in orders]


async def test_orders_of_one_instant_at_the_edge_of_a_page_are_all_listed() -> None:
    orders = [order(number, at(min(number, 490))) for number in range(600)]
    names, _ = await taken(orders)
    assert names == [each["client_order_id"] for each in orders]


async def test_orders_of_others_are_not_ours_and_end_the_list_no_sooner_or_later() -> None:
    orders = [order(number, at(number), f"somebody-{number}") for number in range(1000)]
    orders += [order(1000, at(1000))]
    assert await taken(orders) == (["mrd-core-QQQ-1000"], 4)


async def test_a_list_that_goes_on_for_ever_at_one_instant_comes_to_an_end() -> None:
    orders = [order(number, at(5), f"somebody-{number}") for number in range(PAGE)]
    names, requests = await taken(orders)
    assert names == []
    assert requests <= 4


async def test_the_list_begins_at_the_instant_itself() -> None:
    async with trading() as (here, broker):
        since = here.clock.now()
        await broker.submit(buy())
        assert [each.order for each in await broker.taken_since(since)] == [NAME]
        here.pass_time(1)
        assert await broker.taken_since(Instant(since + 1)) == []


async def test_an_order_that_is_open_is_listed_however_old_it_is() -> None:
    async with trading() as (here, broker):
        since = here.clock.now()
        await broker.submit(sell_short_of_price(here))
        here.pass_time(1)
        assert len(await broker.taken_since(Instant(since + HOUR))) == 1


async def test_orders_of_others_at_the_local_alpaca_are_left_out() -> None:
    async with trading() as (here, broker):
        begun = here.clock.now()
        for number in range(3):
            here.simulator.exchange.submit(
                read_ticket(
                    {"symbol": "SPY", "side": "buy", "type": "market", "time_in_force": "day", "qty": "1"},
                    f"by-hand-{number}",
                )
            )
        await broker.submit(buy())
        assert [each.order for each in await broker.taken_since(begun)] == [NAME]


# The account


async def test_cash_is_what_no_order_and_no_margin_has() -> None:
    async with trading(cash="10000.00") as (here, broker):
        standing = await broker.standing()
        assert (standing.cash, standing.holdings, standing.less_orders) == (Decimal("10000.00"), {}, True)
        await broker.submit(sell_short_of_price(here))
        assert (await broker.standing()).cash == Decimal("9600.00")


async def test_holdings_have_our_names_their_shares_and_their_cost() -> None:
    async with trading() as (here, broker):
        await broker.submit(buy("mrd-1", "QQQ"))
        await broker.submit(buy("mrd-2", "BTC/USD"))
        here.pass_time(1)
        holdings = (await broker.standing()).holdings
        assert set(holdings) == {"QQQ", "BTC/USD"}
        assert 0.99 < holdings["QQQ"].shares <= 1
        assert holdings["QQQ"].cost == round(holdings["QQQ"].shares * 500, 2)
        assert Decimal("0.0099") < holdings["BTC/USD"].shares < Decimal("0.01")


@pytest.mark.parametrize(
    "position",
    [
        {"symbol": "QQQ", "qty": "5", "side": "short"},
        {"symbol": "QQQ", "qty": "-5", "side": "short"},
        {"symbol": "QQQ", "qty": "-5", "side": "long"},
    ],
)
async def test_shares_that_are_owed_are_below_zero(position: dict[str, str]) -> None:
    async def answer(asked: Asked, wire: Wire) -> None:
        there = [position] if "positions" in asked.path else {"status": "ACTIVE", "cash": "1"}
        wire.answer(200, json.dumps(there).encode())

    async with answering(answer) as (_, broker):
        assert (await broker.standing()).holdings["QQQ"].shares == -5


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ({"status": "ACTIVE", "cash": "1", "account_blocked": True}, "blocked"),
        ({"status": "ACTIVE", "cash": "1", "trading_blocked": True}, "trading is blocked"),
        ({"status": "ACTIVE", "cash": "1", "trade_suspended_by_user": True}, "dashboard"),
        ({"status": "ACCOUNT_CLOSED", "cash": "1"}, "ACCOUNT_CLOSED"),
        ({"cash": "1"}, "not said"),
    ],
)
async def test_an_account_that_may_not_trade_says_why(account: dict[str, object], words: str) -> None:
    async with answering(saying(200, account)) as (_, broker):
        with pytest.raises(DeniedError, match=words):
            await broker.standing()


async def test_an_account_without_cash_said_is_ambiguous() -> None:
    async with answering(saying(200, {"status": "ACTIVE"})) as (_, broker):
        with pytest.raises(AmbiguousError, match="cash"):
            await broker.standing()


@pytest.mark.parametrize("status", [404, 403, 422])
async def test_a_definite_no_where_none_makes_sense_is_ambiguous(status: int) -> None:
    async with answering(saying(status, {"code": 40410000, "message": "endpoint not found"})) as (_, broker):
        for ask in (broker.standing, broker.hours, lambda: broker.taken_since(Instant(0)), lambda: broker.assets(MANY)):
            with pytest.raises(AmbiguousError):
                await ask()


# Assets


async def test_what_alpaca_says_of_an_asset_is_known() -> None:
    async with trading() as (here, broker):
        listings = here.simulator.exchange.listings
        listings.add(Listing(symbol="BRK.B", fractionable=False))
        listings.add(Listing(symbol="SPY", active=False))
        coin = Listing(symbol="BTC/USD", min_order_size=Decimal("0.0001"), price_increment=Decimal("0.5"))
        listings.add(coin)
        share, class_b, gone, pair, nobody = await broker.assets(["QQQ", "BRK.B", "SPY", "BTC/USD", "NOBODY"])
        assert (share.tradable, share.fractionable, share.why) == (True, True, "")
        assert share.fee == 0
        assert (share.extended_fractions, class_b.extended_fractions, pair.extended_fractions) == (True, False, True)
        assert (class_b.tradable, class_b.fractionable) == (True, False)
        assert (gone.tradable, gone.why) == (False, "Alpaca says that it is inactive")
        assert (pair.symbol, pair.tradable) == ("BTC/USD", True)
        assert (pair.min_quantity, pair.price_increment, pair.fee) == (
            Decimal("0.0001"),
            Decimal("0.5"),
            Decimal("0.0025"),
        )
        assert (nobody.tradable, nobody.why) == (False, "Alpaca knows no such symbol")


@pytest.mark.parametrize("name", ["price_increment", "min_trade_increment"])
@pytest.mark.parametrize("figure", ["0", "-1", "NaN", "Infinity", "1e70", "", []])
async def test_an_asset_with_an_impossible_step_is_not_traded_and_takes_no_other_along(name: str, figure: Any) -> None:
    steps = {"min_order_size": "0.0001", "min_trade_increment": "0.000000001", "price_increment": "0.5"}
    pair = {"symbol": "BTC/USD", "class": "crypto", "tradable": True, "fractionable": True, **steps}

    async def answer(asked: Asked, wire: Wire) -> None:
        odd = {name: figure} if "BTC" in asked.path else {}
        wire.answer(200, json.dumps({**pair, **odd}).encode())

    async with answering(answer) as (_, broker):
        odd, sound = await broker.assets(["BTC/USD", "ETH/USD"])
    assert (odd.tradable, sound.tradable) == (False, True)
    assert "impossible" in odd.why
    assert (sound.increment, sound.price_increment) == (Decimal("0.000000001"), Decimal("0.5"))


async def test_of_many_assets_lists_are_asked_for_and_pairs_are_in_them() -> None:
    async with trading() as (here, broker):
        symbols = [f"S{number}" for number in range(30)]
        for symbol in symbols:
            here.trade(symbol, 10.0)
        wanted = [*symbols, "BTC/USD", "NOBODY"]
        assets = await broker.assets(wanted)
        assert [each.symbol for each in assets] == wanted
        assert [each.symbol for each in assets if not each.tradable] == ["NOBODY"]
        assert len(here.asked("GET", "/v2/assets")) <= 2


async def test_one_asset_that_is_not_answered_leaves_all_unknown() -> None:
    async with trading() as (here, broker):
        here.fault("500", times=0, path="/v2/assets/SPY")
        task = asyncio.create_task(broker.assets(["QQQ", "SPY"]))
        await until(task.done, lambda: here.pass_time(0.5))
        with pytest.raises(AmbiguousError):
            await task


# The clock


async def test_the_brokers_clock_is_asked_with_how_long_it_took() -> None:
    async with trading() as (here, broker):
        hours = await broker.hours()
        assert abs(hours.now - here.clock.now()) < SECOND
        assert (hours.late, hours.open) == (0, True)
        assert hours.now < hours.next_open


async def test_a_clock_that_cannot_be_read_is_ambiguous() -> None:
    answer = {"timestamp": "noon", "is_open": True, "next_open": "noon", "next_close": "noon"}
    async with answering(saying(200, answer)) as (_, broker):
        with pytest.raises(AmbiguousError, match="clock"):
            await broker.hours()


class SlowService:
    """Says what time it is, and takes its time: for each answer so many seconds, or (below zero) so long for none."""

    def __init__(self, clock: MovedClock, *takes: float) -> None:
        self.clock = clock
        self.takes = list(takes)
        self.asked = 0

    async def carry(self, call: Call) -> Reply:
        self.asked += 1
        takes = self.takes.pop(0) if self.takes else 0.05
        self.clock.move(abs(takes))
        if takes < 0:
            raise UnansweredError("read timed out")
        said = {
            "timestamp": iso(self.clock.now()),
            "is_open": True,
            "next_open": "2026-10-09T13:30:00Z",
            "next_close": "2026-10-08T20:00:00Z",
        }
        return Reply(200, {}, json.dumps(said).encode())


def asking_for_the_time(*takes: float) -> tuple[SlowService, Limiter, AlpacaBroker]:
    clock = SkippingClock()
    service, limiter = SlowService(clock, *takes), Limiter(clock)
    login = Login.of("PK", "secret", live=False)
    return (
        service,
        limiter,
        AlpacaBroker("alpaca", SYMBOLS, Around(login, Rest(service, limiter, clock), connect, clock)),
    )


async def test_how_late_the_time_comes_leaves_out_what_was_asked_in_vain_before() -> None:
    service, _, broker = asking_for_the_time(-13.0, -13.0, 0.25)
    hours = await broker.hours()
    assert hours.late == SECOND // 4
    assert service.asked == 3
    assert hours.now == service.clock.now()


async def test_how_late_the_time_comes_leaves_out_the_wait_for_our_own_limit() -> None:
    service, limiter, broker = asking_for_the_time(0.25)
    limiter.exhausted(Instant(service.clock.now() + 45 * SECOND))
    assert (await broker.hours()).late == SECOND // 4


async def test_the_time_is_asked_for_three_times_with_waits_between_them() -> None:
    service, _, broker = asking_for_the_time(-13.0, -13.0, -13.0)
    with pytest.raises(AmbiguousError, match="timed out"):
        await broker.hours()
    assert service.asked == 3
    assert len([each for each in service.clock.slept if each > 0]) == 2


@pytest.mark.parametrize(("takes", "good"), [(4.9, True), (5.1, False)])
async def test_a_time_that_was_long_under_way_says_nothing(takes: float, good: bool) -> None:
    _, _, broker = asking_for_the_time(takes)
    if good:
        assert (await broker.hours()).late == round(takes * SECOND)
    else:
        with pytest.raises(AmbiguousError, match=r"took 5\.1 s"):
            await broker.hours()


# Updates


async def test_updates_are_told_from_the_first_to_the_last() -> None:
    async with trading() as (here, broker), hearing(here, broker) as ear:
        assert broker.hearing == 1
        await broker.submit(buy())
        await until(lambda: ear.reports and ear.last.status is OrderStatus.FILLED, lambda: here.pass_time(0.01))
        assert {each.order for each in ear.reports} == {NAME}
        assert 0.99 < ear.last.filled <= 1
        assert [state for state, _ in ear.states] == [
            FeedState.CONNECTING,
            FeedState.AUTHENTICATED,
            FeedState.SUBSCRIBED,
        ]


@pytest.mark.parametrize("fault", ["null_update", "unknown_update", "duplicate", "drop", "delay"])
async def test_an_odd_update_takes_no_other_along(fault: str) -> None:
    async with trading() as (here, broker), hearing(here, broker) as ear:
        here.fault(fault, stream="updates", seconds=0.005)
        await broker.submit(buy())
        await until(lambda: ear.reports and ear.last.status is OrderStatus.FILLED, lambda: here.pass_time(0.01))
        assert ear.last.filled > 0.99
        assert broker.hearing == 1


def said(stream: str, data: object) -> bytes:
    return json.dumps({"stream": stream, "data": data}).encode()


@asynccontextmanager
async def told(*messages: bytes | str) -> AsyncIterator[tuple[AlpacaBroker, Ear]]:
    """Have a broker that is told messages of any kind, and at last a fill."""
    fill = said("trade_updates", {"event": "fill", "order": {**FOUND, "status": "filled", "filled_qty": "1"}})

    async def talk(client: ws.ServerConnection) -> None:
        await client.recv()
        await client.send(said("authorization", {"status": "authorized", "action": "authenticate"}))
        await client.recv()
        await client.send(said("listening", {"streams": ["trade_updates"]}))
        for each in (*messages, fill):
            await client.send(each)
        await client.wait_closed()

    async with ws.serve(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        clock = SkippingClock()
        login = Login.of("PK", "s", live=False, url=f"http://127.0.0.1:{port}")
        async with threads(login) as carrier:
            broker = AlpacaBroker(
                "alpaca", SYMBOLS, Around(login, Rest(carrier, Limiter(clock), clock), connect, clock)
            )
            ear = Ear()
            async with running(broker.listen(ear)):
                await until(lambda: ear.reports and ear.last.filled == 1)
                yield broker, ear


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        "text",
        '{"stream":"trade_updates"}',
        said("trade_updates", None),
        said("trade_updates", []),
        said("trade_updates", {}),
        said("trade_updates", {"event": "fill", "order": None}),
        said("trade_updates", {"event": "fill", "order": {}}),
        said("trade_updates", {"event": "fill", "order": {**FOUND, "side": "other"}}),
        said("trade_updates", {"event": "fill", "order": {**FOUND, "created_at": "yesterday"}}),
        said("trade_updates", {"event": "fill", "order": {**FOUND, "filled_qty": "many"}}),
        said("trade_updates", {"event": "fill", "order": {**FOUND, "filled_qty": "1e400"}}),
        said("trade_updates", {"event": "fill", "order": {**FOUND, "filled_qty": "NaN"}}),
        said("trade_updates", {"event": "fill", "order": {**FOUND, "filled_avg_price": "Infinity", "filled_qty": "x"}}),
        said("account_updates", {"anything": 1}),
        said("listening", {"streams": []}),
    ],
)
async def test_a_message_that_says_nothing_is_survived(odd: bytes | str) -> None:
    async with told(odd) as (broker, ear):
        assert len(ear.reports) == 1
        assert broker.hearing == 1


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        ("new", OrderStatus.ACCEPTED),
        ("partially_filled", OrderStatus.ACCEPTED),
        ("pending_cancel", OrderStatus.ACCEPTED),
        ("held", OrderStatus.ACCEPTED),
        ("under_consideration", OrderStatus.ACCEPTED),
        ("canceled", OrderStatus.CANCELED),
        ("replaced", OrderStatus.CANCELED),
        ("expired", OrderStatus.EXPIRED),
        ("done_for_day", OrderStatus.EXPIRED),
        ("rejected", OrderStatus.REJECTED),
    ],
)
async def test_each_status_means_what_it_says_and_an_unknown_one_an_open_order(status: str, ours: OrderStatus) -> None:
    update = said("trade_updates", {"event": "surprise", "order": {**FOUND, "status": status}})
    async with told(update) as (_, ear):
        assert ear.reports[0].status is ours


async def test_numbers_may_come_as_numbers() -> None:
    update = {"event": "fill", "order": {**FOUND, "filled_qty": 0.5, "filled_avg_price": 500.25, "qty": 2}}
    async with told(said("trade_updates", update)) as (_, ear):
        first = ear.reports[0]
        assert (first.filled, first.average) == (Decimal("0.5"), Decimal("500.25"))
        assert first.quantity == 2


@pytest.mark.parametrize("event", ["trade_bust", "trade_correct", "restated"])
async def test_an_execution_that_is_taken_back_or_changed_is_told(event: str) -> None:
    async with told(said("trade_updates", {"event": event, "order": FOUND})) as (_, ear):
        assert ear.busts == [(NAME, f"Alpaca changed an execution of order {NAME} ({event})")]


async def test_a_bust_at_the_local_alpaca_is_told() -> None:
    async with trading() as (here, broker), hearing(here, broker) as ear:
        report = await broker.submit(buy())
        await until(lambda: ear.reports and ear.last.status is OrderStatus.FILLED, lambda: here.pass_time(0.01))
        here.simulator.exchange.bust(report.broker_order)
        await until(lambda: ear.busts)
        assert ear.busts[0][0] == NAME


async def test_a_pair_has_its_slash_whichever_way_it_comes() -> None:
    update = said("trade_updates", {"event": "fill", "order": {**FOUND, "symbol": "BTCUSD"}})
    async with told(update) as (_, ear):
        assert ear.reports[0].symbol == "BTC/USD"


async def test_after_a_cut_updates_are_heard_again_over_another_connection() -> None:
    async with trading() as (here, broker), hearing(here, broker) as ear:
        here.fault("cut", stream="updates")
        await until(lambda: broker.hearing is None)
        await until(lambda: ear.states[-1][0] is FeedState.CONNECTING)
        await until(lambda: broker.hearing == 2, lambda: here.pass_time(0.2))
        await broker.submit(buy())
        await until(lambda: ear.reports, lambda: here.pass_time(0.01))


async def test_keys_that_are_refused_are_told_and_not_tried_again() -> None:
    async with trading() as (here, _):
        broker, ear = broker_of(here, here.login._replace(secret="another")), Ear()
        async with running(broker.listen(ear)):
            await until(lambda: ear.states and ear.states[-1][0] is FeedState.REFUSED)
            assert "keys" in ear.states[-1][1]
            assert "another" not in ear.states[-1][1]
            sessions = len(here.simulator.sessions)
            for _ in range(20):
                here.pass_time(60)
                await asyncio.sleep(0)
            assert len(here.simulator.sessions) <= sessions
            assert broker.hearing is None
