"""The order desk against a broker that misbehaves: at most one order for a decision, and always a definite end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mrdaemon.brokers import (
    AmbiguousError,
    ByHand,
    DuplicateOrderError,
    Ear,
    Holding,
    Hours,
    OrderRefusedError,
    Standing,
)
from mrdaemon.calendar import ExchangeSessions
from mrdaemon.core import events as ev
from mrdaemon.core.activity import Activity, Split
from mrdaemon.core.commands import Resume, SetTradingState
from mrdaemon.core.engine import Engine
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import DAY, SECOND, Instant
from mrdaemon.core.money import Dollars, Price, Shares
from mrdaemon.core.orders import OrderReport, OrderRequest
from mrdaemon.core.policy import Asset, Plan, PrintRules, TradingState
from mrdaemon.core.prints import Print, trade_print
from mrdaemon.core.state import Order, Position, State
from mrdaemon.desk import Desk
from mrdaemon.reconciliation import Reconciler
from tests.builders import START, Market, dollars, filled, only, plan, position

Answer = OrderReport | Exception | None


class ManualClock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.time = START
        self.slept: list[float] = []
        self.while_asleep: Callable[[], None] = lambda: None

    def now(self) -> Instant:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.while_asleep()
        self.time = Instant(self.time + int(seconds * SECOND))


class ScriptedBroker:
    """Answers what the script says; once that is used up, it fills at $95 and knows what it filled.

    An answer to ``submit`` that is an error may come from a broker that took the order all the same: ``takes``.
    """

    def __init__(self) -> None:
        self.submits: deque[Exception] = deque()
        self.finds: deque[Exception | None] = deque()
        self.cancels: deque[Exception] = deque()
        self.standings: deque[Exception] = deque()
        self.takes = False
        self.heard: int | None = 1
        self.works = OrderStatus.FILLED
        self.cash = dollars(10_000)
        self.holdings: dict[str, Holding] = {"QQQ": Holding(Shares(Decimal(50)), None)}
        self.sent: list[str] = []
        self.looked: list[Instant] = []
        self.cancelled: list[str] = []
        self.orders: dict[str, OrderRequest] = {}
        self.clock = ManualClock()

    def report(self, request: OrderRequest, status: OrderStatus | None = None) -> OrderReport:
        status = status or self.works
        whole = request.quantity or Shares((request.notional or Decimal(0)) / Decimal(100))
        return OrderReport(
            order=request.order,
            broker_order=f"b-{request.order}",
            symbol=request.symbol,
            side=request.side,
            status=status,
            at=request.at,
            filled=whole if status is OrderStatus.FILLED else Shares(Decimal(0)),
            average=None if status is not OrderStatus.FILLED else Price(Decimal(100)),
            notional=request.notional,
            quantity=request.quantity,
        )

    def turn(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def submit(self, request: OrderRequest) -> OrderReport:
        self.sent.append(request.order)
        if self.submits:
            if self.takes:
                self.orders[request.order] = request
            raise self.submits.popleft()
        if request.order in self.orders:
            raise DuplicateOrderError(request.order)
        self.orders[request.order] = request
        return self.report(request)

    async def find(self, order: str) -> OrderReport | None:
        self.looked.append(self.clock.now())
        if self.finds:
            answer = self.finds.popleft()
            if answer is not None:
                raise answer
            return None
        request = self.orders.get(order)
        return None if request is None else self.report(request)

    async def cancel(self, order: str) -> OrderReport | None:
        self.cancelled.append(order)
        if self.cancels:
            raise self.cancels.popleft()
        request = self.orders.get(order)
        return None if request is None else self.report(request, OrderStatus.CANCELED)

    async def standing(self) -> Standing:
        if self.standings:
            raise self.standings.popleft()
        return Standing(self.cash, self.holdings)

    async def assets(self, symbols: Sequence[str]) -> list[Asset]:
        return [Asset(symbol) for symbol in symbols]

    async def listen(self, ear: Ear) -> None:
        await asyncio.get_running_loop().create_future()

    @property
    def hearing(self) -> int | None:
        return self.heard


class Room:
    """A desk with its engine, its broker and its clock, and everything that was committed."""

    def __init__(self, folder: Path, wanted: Plan | None = None, market: Market | None = None) -> None:
        self.plan = wanted or plan(position(shares="50", target="5000"), reserve="10000")
        self.market = market or Market()
        self.halt_file = folder / "HALT"
        self.broker = ScriptedBroker()
        self.clock = self.broker.clock
        self.events: list[ev.Event] = []
        self.start(State())

    def start(self, state: State) -> None:
        """Start on a state, as after a crash."""
        self.engine = Engine(state, self.market)
        self.desk = Desk(self.engine, {"paper": self.broker}, self.clock, self.commit, self.halt_file)
        self.reconciler = Reconciler(self.engine, {"paper": self.broker}, self.clock, self.desk)
        now = self.clock.now()
        self.events += self.engine.record([ev.DaemonStarted(at=now, version="test", nonce="n")])
        self.events += self.engine.configure(self.plan, now)

    async def commit(self, events: Sequence[ev.Event]) -> None:
        self.events += events

    def decide(self, price: float = 90.0) -> list[ev.Event]:
        """Raise a signal; its order is committed and not yet sent."""
        self.engine.prints([self.print(100.0)], self.clock.now())
        events = self.engine.prints([self.print(price)], self.clock.now())
        assert only(events, ev.OrderIntended)
        self.events += events
        return events

    def print(self, price: float) -> Print:
        return trade_print("QQQ", price, self.clock.now())

    async def trade(self, price: float = 90.0) -> None:
        """Raise a signal and see its order through."""
        await self.desk.carry_out(self.decide(price))

    def of(self, kind: type[ev.Event]) -> list[Any]:
        return only(self.events, kind)

    @property
    def position(self) -> Position:
        return self.engine.state.positions["core/QQQ"]

    @property
    def order(self) -> Order:
        (order,) = self.engine.state.orders.values()
        return order

    @property
    def reserved(self) -> Dollars:
        return self.engine.state.portfolios["core"].reserved


@pytest.fixture
async def room(tmp_path: Path) -> Room:
    room = Room(tmp_path)
    await room.reconciler.reconcile("paper")
    return room


TIMED_OUT = AmbiguousError("timed out")


# Sending


async def test_an_order_is_sent_once_and_booked(room: Room) -> None:
    await room.trade()
    assert room.broker.sent == [room.order.intent.order]
    assert room.position.shares == Decimal(55)
    assert room.order.status is OrderStatus.FILLED


async def test_a_definite_refusal_ends_the_order_and_frees_its_reservation(room: Room) -> None:
    room.broker.submits.append(OrderRefusedError("insufficient buying power"))
    await room.trade()
    (ended,) = room.of(ev.OrderEnded)
    assert (ended.status, ended.reason) == ("rejected", "insufficient buying power")
    assert room.reserved == 0
    assert room.broker.looked == []


async def test_an_ambiguous_order_that_the_broker_has_is_found_and_not_sent_again(room: Room) -> None:
    room.broker.submits.append(TIMED_OUT)
    room.broker.takes = True
    await room.trade()
    assert len(room.of(ev.OrderAmbiguous)) == 1
    assert len(room.broker.sent) == 1
    assert room.position.shares == Decimal(55)


async def test_an_ambiguous_order_that_the_broker_never_saw_is_sent_again_under_the_same_id(room: Room) -> None:
    room.broker.submits.append(TIMED_OUT)
    await room.trade()
    assert room.broker.sent == [room.order.intent.order] * 2
    assert len(room.of(ev.OrderFilled)) == 1
    assert room.position.shares == Decimal(55)


async def test_an_order_that_keeps_timing_out_is_not_sent_in_a_hot_loop(room: Room) -> None:
    room.broker.submits.extend([TIMED_OUT] * 5)
    await room.trade()
    assert room.clock.slept == [2.0] * 4
    assert room.order.status is OrderStatus.FILLED


async def test_a_duplicate_id_is_looked_up(room: Room) -> None:
    room.broker.submits.append(DuplicateOrderError("client_order_id must be unique"))
    room.broker.takes = True
    await room.trade()
    assert len(room.broker.sent) == 1
    assert len(room.broker.looked) == 1
    assert room.order.status is OrderStatus.FILLED


async def test_a_look_up_that_times_out_is_repeated(room: Room) -> None:
    room.broker.submits.append(TIMED_OUT)
    room.broker.takes = True
    room.broker.finds.extend([TIMED_OUT, TIMED_OUT])
    await room.trade()
    assert room.clock.slept == [2.0, 4.0]
    assert room.order.status is OrderStatus.FILLED


async def test_an_old_unknown_order_is_given_up_only_after_two_look_ups_half_a_minute_apart(room: Room) -> None:
    room.decide()
    room.clock.time = Instant(room.clock.time + 61 * SECOND)
    room.start(room.engine.state)
    await room.reconciler.reconcile("paper")
    _, first, second = room.broker.looked  # the first finds out what is unknown
    assert second - first == 30 * SECOND
    (ended,) = room.of(ev.OrderEnded)
    assert (ended.status, ended.reason) == ("abandoned", "the broker does not know it, twice")
    assert room.broker.sent == []
    assert room.reserved == 0


async def test_an_old_order_that_the_second_look_up_finds_is_booked(room: Room) -> None:
    room.decide()
    room.broker.orders[room.order.intent.order] = OrderRequest.of(room.order.intent)
    room.broker.finds.append(None)
    room.clock.time = Instant(room.clock.time + 61 * SECOND)
    room.start(room.engine.state)
    await room.reconciler.reconcile("paper")
    assert room.order.status is OrderStatus.FILLED
    assert room.broker.sent == []


# After a crash


async def test_an_order_that_was_never_sent_is_sent_at_the_restart(room: Room) -> None:
    room.decide()
    room.start(room.engine.state)
    await room.reconciler.reconcile("paper")
    assert room.broker.sent == [room.order.intent.order]
    assert room.order.status is OrderStatus.FILLED


async def test_an_order_that_filled_while_we_were_away_is_booked_once_at_the_restart(room: Room) -> None:
    room.decide()
    room.broker.orders[room.order.intent.order] = OrderRequest.of(room.order.intent)
    room.broker.holdings["QQQ"] = Holding(Shares(Decimal(55)), None)
    for _ in range(2):
        room.start(room.engine.state)
        await room.reconciler.reconcile("paper")
    assert len(room.of(ev.OrderFilled)) == 1
    assert room.position.shares == Decimal(55)
    assert room.broker.sent == []
    assert room.position.halted is None


async def test_an_order_under_our_id_that_is_not_what_we_intended_halts_the_position(room: Room) -> None:
    room.decide()
    intent = room.order.intent
    room.broker.orders[intent.order] = OrderRequest(
        order=intent.order,
        symbol="QQQ",
        side=intent.side,
        notional=dollars(77),
        quantity=None,
        limit=None,
        at=intent.at,
    )
    room.start(room.engine.state)
    await room.reconciler.reconcile("paper")
    assert len(room.of(ev.OrderUnmatched)) == 1
    assert room.position.halted is not None
    assert room.of(ev.OrderFilled) == []
    assert (room.order.status, room.reserved) == (OrderStatus.ABANDONED, dollars(0))


async def test_what_an_order_of_another_did_shows_in_the_shares_once_a_person_resumed(room: Room) -> None:
    room.decide()
    intent = room.order.intent
    other = msgspec.structs.replace(OrderRequest.of(intent), notional=dollars(77))
    room.broker.orders[intent.order] = other
    room.broker.holdings["QQQ"] = Holding(Shares(Decimal(55)), None)
    await room.reconciler.reconcile("paper")
    resume = Resume(portfolio="core", symbol="QQQ", by="ada")
    await room.desk.settle(room.engine.command(resume, room.clock.now()))
    await room.reconciler.reconcile("paper")
    assert room.position.halted == "the broker holds 55, the journal says 50 shares of QQQ"


# Shares and cash


async def test_a_tiny_difference_in_shares_is_taken_over_from_the_broker(room: Room) -> None:
    room.engine.prints([room.print(100.0)], room.clock.now())
    room.broker.holdings["QQQ"] = Holding(Shares(Decimal("50.005")), None)
    await room.reconciler.reconcile("paper")
    assert room.position.shares == Decimal("50.005")
    assert room.of(ev.SharesAdopted)[-1].before == Decimal(50)
    assert room.position.halted is None


@pytest.mark.parametrize("theirs", ["50.01", "60", "49", "0"])
async def test_a_larger_difference_halts_the_position_and_invents_no_fill(room: Room, theirs: str) -> None:
    room.engine.prints([room.print(100.0)], room.clock.now())
    room.broker.holdings["QQQ"] = Holding(Shares(Decimal(theirs)), None)
    await room.reconciler.reconcile("paper")
    assert room.position.shares == Decimal(50)
    assert room.position.halted == f"the broker holds {theirs}, the journal says 50 shares of QQQ"
    assert room.of(ev.OrderFilled) == []


async def test_a_difference_of_cents_in_a_small_position_halts_it_too(tmp_path: Path) -> None:
    room = Room(tmp_path, plan(position(shares="1", target="100"), reserve="10000"))
    room.engine.prints([room.print(100.0)], room.clock.now())
    room.broker.holdings["QQQ"] = Holding(Shares(Decimal("1.005")), None)
    await room.reconciler.reconcile("paper")
    assert room.position.halted is not None


async def test_a_difference_that_is_gone_five_seconds_later_is_none(room: Room) -> None:
    class Settling(dict[str, Holding]):
        """A holding that the broker books late."""

        def get(self, symbol: str, default: Any = None) -> Any:
            late = room.clock.now() < START + 5 * SECOND
            return Holding(Shares(Decimal(40 if late else 50)), None)

    room.broker.holdings = Settling()
    await room.reconciler.reconcile("paper")
    assert room.clock.slept == [5.0]
    assert room.position.halted is None


class Splitting(ScriptedBroker):
    """A broker that splits QQQ while it is asked one thing after the other."""

    def __init__(self, announced: int, followed: int) -> None:
        """Announce it from one question for bookings on, and follow it from one for shares on."""
        super().__init__()
        self.announced, self.followed = count(-announced), count(-followed)

    async def booked(self, symbols: Sequence[str], since: str) -> list[Activity]:
        date = "2020-09-14"
        four = Split(id="split-1", date=date, symbol="QQQ", new_rate=Decimal(4), old_rate=Decimal(1))
        return [four] if next(self.announced) >= 0 else []

    async def standing(self) -> Standing:
        self.holdings["QQQ"] = Holding(Shares(Decimal(200 if next(self.followed) >= 0 else 50)), None)
        return await super().standing()


@pytest.mark.parametrize(("announced", "followed"), [(0, 0), (0, 1), (1, 0)])
async def test_a_split_that_reaches_the_shares_in_the_middle_of_a_comparison_is_followed(
    room: Room, announced: int, followed: int
) -> None:
    broker = Splitting(announced, followed)
    desk = Desk(room.engine, {"paper": broker}, room.clock, room.commit, room.halt_file)
    await Reconciler(room.engine, {"paper": broker}, room.clock, desk).reconcile("paper")
    assert (room.position.shares, room.position.halted) == (Decimal(200), None)


async def test_a_halt_for_a_difference_is_told_once(room: Room) -> None:
    room.broker.holdings["QQQ"] = Holding(Shares(Decimal(60)), None)
    await room.reconciler.reconcile("paper")
    await room.reconciler.reconcile("paper")
    assert len(room.of(ev.PositionHalted)) == 1


async def test_shares_are_not_compared_while_an_order_is_open(room: Room) -> None:
    room.broker.works = OrderStatus.ACCEPTED
    await room.trade()
    room.broker.holdings["QQQ"] = Holding(Shares(Decimal(53)), None)
    await room.reconciler.reconcile("paper")
    assert room.position.halted is None
    assert room.clock.slept == []


async def test_a_position_without_shares_in_the_file_begins_with_what_the_broker_holds(tmp_path: Path) -> None:
    room = Room(tmp_path, plan(position(shares=None), reserve="10000"))
    room.broker.holdings["QQQ"] = Holding(Shares(Decimal(48)), dollars(4000))
    await room.reconciler.reconcile("paper")
    assert (room.position.opened, room.position.shares) == (True, Decimal(48))
    assert room.position.lots[0].cost == dollars(4000)


async def test_a_position_that_is_short_at_the_broker_is_not_begun_before_it_is_bought_back(tmp_path: Path) -> None:
    room = Room(tmp_path, plan(position(shares=None), reserve="10000"))
    room.broker.holdings["QQQ"] = Holding(Shares(Decimal(-5)), None)
    for _ in range(2):
        await room.reconciler.reconcile("paper")
    [halt] = room.of(ev.PositionHalted)
    assert halt.reason.startswith("the broker is short of 5 shares of QQQ")
    assert (room.position.opened, room.position.shares) == (False, Decimal(0))
    assert not only(
        room.engine.prints([room.print(price) for price in (100.0, 90.0)], room.clock.now()), ev.SignalRaised
    )
    room.broker.holdings["QQQ"] = Holding(Shares(Decimal(0)), None)
    await room.reconciler.reconcile("paper")
    assert room.position.opened


async def test_cash_below_the_reserves_holds_accumulations_until_it_covers_them(room: Room) -> None:
    room.broker.cash = dollars("9999.99")
    await room.reconciler.reconcile("paper")
    room.engine.prints([room.print(100.0)], room.clock.now())
    (held,) = only(room.engine.prints([room.print(90.0)], room.clock.now()), ev.SignalHeld)
    assert "less than its reserves" in held.reason
    room.broker.cash = dollars(10_000)
    await room.reconciler.reconcile("paper")
    assert only(room.engine.prints([room.print(90.0)], room.clock.now()), ev.OrderIntended)


async def test_cash_below_the_reserves_holds_no_trims(room: Room) -> None:
    room.broker.cash = dollars(0)
    await room.reconciler.reconcile("paper")
    await room.trade(110.0)
    assert room.order.status is OrderStatus.FILLED


async def test_a_broker_that_cannot_be_heard_loses_the_account_until_it_is(room: Room) -> None:
    room.broker.standings.append(TIMED_OUT)
    await room.reconciler.reconcile("paper")
    assert room.of(ev.AccountLost)[0].reason == "timed out"
    room.engine.prints([room.print(100.0)], room.clock.now())
    (held,) = only(room.engine.prints([room.print(90.0)], room.clock.now()), ev.SignalHeld)
    assert "not reconciled" in held.reason
    await room.reconciler.reconcile("paper")
    assert only(room.engine.prints([room.print(90.0)], room.clock.now()), ev.OrderIntended)


class Odd(ScriptedBroker):
    """A broker whose clock shows the year 1, as a time that nobody set does."""

    async def hours(self) -> Hours:
        return Hours(Instant(-62_135_596_800 * SECOND), 0, open=False, next_open=START, next_close=START)


async def test_a_clock_that_shows_no_time_that_can_be_meant_is_in_dispute(room: Room) -> None:
    odd = Odd()
    desk = Desk(room.engine, {"paper": odd}, room.clock, room.commit, room.halt_file)
    await Reconciler(room.engine, {"paper": odd}, room.clock, desk, ExchangeSessions()).reconcile("paper")
    dispute = room.engine.state.accounts["paper"].disputed
    assert dispute is not None
    assert "the broker's clock says" in dispute


class Lister(ScriptedBroker):
    """A broker that counts what it is asked of assets, and may be too busy to say."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = False
        self.asked = 0

    async def assets(self, symbols: Sequence[str]) -> list[Asset]:
        self.asked += 1
        if self.busy:
            raise TIMED_OUT
        return await super().assets(symbols)


async def test_an_asset_is_asked_for_every_hour_and_again_at_once_where_no_answer_came(room: Room) -> None:
    lister = Lister()
    desk = Desk(room.engine, {"paper": lister}, room.clock, room.commit, room.halt_file)
    reconciler = Reconciler(room.engine, {"paper": lister}, room.clock, desk)
    counts = []
    for seconds, busy in ((0, False), (3500, False), (101, True), (1, False), (1, False)):
        room.clock.time = Instant(room.clock.time + seconds * SECOND)
        lister.busy = busy
        await reconciler.reconcile("paper")
        counts.append(lister.asked)
    assert counts == [1, 1, 2, 3, 3]


# Halting


def halted(room: Room) -> list[ev.Event]:
    command = SetTradingState(state=TradingState.HALTED, by="operator", why="test")
    return room.engine.command(command, room.clock.now())


async def test_a_halt_cancels_open_orders(room: Room) -> None:
    room.broker.works = OrderStatus.ACCEPTED
    await room.trade()
    await room.desk.carry_out(halted(room))
    assert room.broker.cancelled == [room.order.intent.order]
    assert room.order.status is OrderStatus.CANCELED
    assert room.reserved == 0


def halt_by_file(room: Room) -> None:
    room.halt_file.touch()


def halt_by_command(room: Room) -> None:
    halted(room)


@pytest.mark.parametrize("halt", [halt_by_file, halt_by_command])
async def test_an_intent_is_dropped_unsent_when_trading_is_halted(room: Room, halt: Callable[[Room], None]) -> None:
    events = room.decide()
    halt(room)
    await room.desk.carry_out(events)
    assert room.broker.sent == []
    assert room.order.status is OrderStatus.ABANDONED
    assert room.reserved == 0


async def test_an_ambiguous_order_is_not_sent_again_once_trading_is_halted(room: Room) -> None:
    room.broker.submits.append(TIMED_OUT)
    events = room.decide()
    room.broker.finds.append(TIMED_OUT)
    room.clock.while_asleep = room.halt_file.touch
    await room.desk.carry_out(events)
    assert len(room.broker.sent) == 1
    assert room.order.status is OrderStatus.ABANDONED


async def test_the_halt_file_is_journaled_once(room: Room) -> None:
    room.halt_file.touch()
    assert await room.desk.obey_halt_file()
    assert await room.desk.obey_halt_file()
    (change,) = room.of(ev.TradingStateChanged)
    assert (change.state, change.by) == (TradingState.HALTED, "HALT file")


async def test_fills_are_still_booked_while_halted(room: Room) -> None:
    room.broker.works = OrderStatus.ACCEPTED
    await room.trade()
    halted(room)
    await room.desk.take("paper", filled(room.order.intent))
    assert room.order.status is OrderStatus.FILLED
    assert room.position.shares > Decimal(50)


async def test_a_cancel_whose_answer_was_lost_is_asked_for_again_at_the_next_reconciliation(room: Room) -> None:
    room.broker.works = OrderStatus.ACCEPTED
    room.broker.cancels.append(TIMED_OUT)
    await room.trade()
    await room.desk.carry_out(halted(room))
    assert room.order.ended is None
    await room.reconciler.reconcile("paper")
    assert room.order.status is OrderStatus.CANCELED


# What happens between a decision and its sending


def happens(room: Room, fact: ev.Event) -> None:
    room.events += room.engine.record([fact])


async def test_a_position_halted_after_the_decision_sends_nothing(room: Room) -> None:
    decided = room.decide()
    happens(room, ev.PositionHalted(at=room.clock.now(), portfolio="core", symbol="QQQ", reason="a difference"))
    await room.desk.carry_out(decided)
    assert room.broker.sent == []
    assert (room.order.status, room.reserved) == (OrderStatus.ABANDONED, dollars(0))


async def test_a_purchase_decided_before_trading_was_reduced_is_not_sent(room: Room) -> None:
    decided = room.decide()
    reduce = SetTradingState(state=TradingState.REDUCING, portfolio="core", by="ada")
    room.events += room.engine.command(reduce, room.clock.now())
    await room.desk.carry_out(decided)
    assert room.broker.sent == []
    assert room.order.status is OrderStatus.ABANDONED


async def test_a_trim_is_sent_while_trading_is_reduced(room: Room) -> None:
    decided = room.decide(110.0)
    room.events += room.engine.command(SetTradingState(state=TradingState.REDUCING, by="ada"), room.clock.now())
    await room.desk.carry_out(decided)
    assert room.broker.sent == [room.order.intent.order]


async def test_an_account_lost_after_the_decision_sends_nothing(room: Room) -> None:
    decided = room.decide()
    happens(room, ev.AccountLost(at=room.clock.now(), account="paper", reason="the stream broke"))
    await room.desk.carry_out(decided)
    assert room.broker.sent == []


async def test_an_unsent_order_from_before_a_halt_is_never_sent_by_a_restart(room: Room) -> None:
    room.decide()
    room.events += room.engine.command(SetTradingState(state=TradingState.HALTED, by="ada"), room.clock.now())
    room.start(room.engine.state)
    await room.reconciler.reconcile("paper")
    assert room.broker.sent == []
    assert room.order.status is OrderStatus.ABANDONED


async def test_a_restart_sends_an_unsent_order_only_after_the_account_is_reconciled(room: Room) -> None:
    room.decide()
    room.start(room.engine.state)
    await room.reconciler.reconcile("paper")
    reconciled = max(number for number, event in enumerate(room.events) if isinstance(event, ev.AccountReconciled))
    accepted = next(number for number, event in enumerate(room.events) if isinstance(event, ev.OrderAccepted))
    assert reconciled < accepted


async def test_two_readings_of_the_shares_that_differ_prove_nothing(room: Room) -> None:
    room.broker.holdings["QQQ"] = Holding(Shares(Decimal(40)), None)

    def change() -> None:
        room.broker.holdings["QQQ"] = Holding(Shares(Decimal(45)), None)

    room.clock.while_asleep = change
    await room.reconciler.reconcile("paper")
    assert room.position.halted is None


async def test_a_halt_asks_on_the_record_to_cancel_what_is_open(room: Room) -> None:
    room.broker.works = OrderStatus.ACCEPTED
    await room.trade()
    events = room.engine.command(SetTradingState(state=TradingState.HALTED, by="ada"), room.clock.now())
    await room.desk.carry_out(events)
    (asked,) = only(events, ev.CancelRequested)
    assert asked.reason == "trading was halted"
    assert room.broker.cancelled == [room.order.intent.order]


class SlowBroker(ScriptedBroker):
    """Takes its time with an order: nobody finds it, or can cancel it, before it has arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = asyncio.Event()
        self.asked = asyncio.Event()
        self.works = OrderStatus.ACCEPTED

    async def submit(self, request: OrderRequest) -> OrderReport:
        self.asked.set()
        await self.arrived.wait()
        return await super().submit(request)


async def test_a_halt_while_an_order_is_on_its_way_cancels_it_once_the_broker_has_it(room: Room) -> None:
    slow = SlowBroker()
    room.broker = slow
    room.desk = Desk(room.engine, {"paper": slow}, room.clock, room.commit, room.halt_file)
    sending = asyncio.create_task(room.trade())
    await slow.asked.wait()
    halt = SetTradingState(state=TradingState.HALTED, by="ada")
    await room.desk.settle(room.engine.command(halt, room.clock.now()))
    too_early = list(slow.cancelled)
    slow.arrived.set()
    await sending
    assert (too_early, slow.cancelled) == ([room.order.intent.order], [room.order.intent.order] * 2)
    assert room.order.status is OrderStatus.CANCELED


@pytest.mark.parametrize(
    ("written", "why"),
    [("ada: the spread looks odd\n", "ada: the spread looks odd"), ("", "exists"), ("\x1b[2J\n", "exists")],
)
async def test_the_halt_file_may_say_who_and_why(room: Room, written: str, why: str) -> None:
    room.halt_file.write_text(written)
    await room.desk.obey_halt_file()
    [change] = room.of(ev.TradingStateChanged)
    assert change.why.endswith(why)


class Accountant(ScriptedBroker):
    """A broker that is told what people did."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[ByHand] = []

    def note(self, by_hand: ByHand) -> None:
        self.noted.append(by_hand)


async def test_a_symbol_that_two_portfolios_of_an_account_traded_is_told_in_one_sum(room: Room) -> None:
    broker = Accountant()
    desk = Desk(room.engine, {"paper": broker}, room.clock, room.commit, room.halt_file)
    other = msgspec.structs.replace(
        room.position, portfolio="other", by_hand=Shares(Decimal(3)), paid_by_hand=dollars(9)
    )
    room.position.by_hand, room.position.paid_by_hand = Shares(Decimal(-1)), dollars(-5)
    room.engine.state.positions["other/QQQ"] = other
    room.engine.state.portfolios["other"] = msgspec.structs.replace(room.engine.state.portfolios["core"], name="other")
    desk.keep_books()
    begun = {"QQQ": Holding(Shares(Decimal(100)), None)}
    assert broker.noted == [ByHand(dollars(20_000), {"QQQ": Holding(Shares(Decimal(2)), dollars(4))}, begun)]


async def test_a_cancel_that_nobody_answered_loses_the_account_and_is_asked_again_with_the_next_look(
    room: Room,
) -> None:
    room.broker.works = OrderStatus.ACCEPTED
    await room.trade()
    room.broker.cancels.append(TIMED_OUT)
    await room.desk.carry_out(halted(room))
    assert not room.engine.state.accounts["paper"].ready
    await room.reconciler.reconcile("paper")
    assert room.broker.cancelled == [room.order.intent.order] * 2
    assert room.order.status is OrderStatus.CANCELED


# An order that had been given up, and appears


class ListingBroker(ScriptedBroker):
    """Lists its orders, whatever it says when it is asked for one."""

    async def taken_since(self, since: Instant) -> list[OrderReport]:
        return [self.report(request) for request in self.orders.values()]

    async def filled_since(self, since: Instant) -> dict[str, Decimal]:
        return {}


@pytest.fixture
async def listing(tmp_path: Path) -> Room:
    room = Room(tmp_path)
    room.broker = ListingBroker()
    room.clock = room.broker.clock
    room.start(State())
    await room.reconciler.reconcile("paper")
    return room


async def given_up(room: Room) -> None:
    """Have an order given up that the broker does not show, and show it after that: alive."""
    room.broker.submits.extend([TIMED_OUT] * 40)
    await room.trade()
    assert room.order.status is OrderStatus.ABANDONED
    room.broker.cancelled.clear()
    room.broker.orders[room.order.intent.order] = OrderRequest.of(room.order.intent)
    room.broker.works = OrderStatus.ACCEPTED


async def test_an_order_that_appears_after_it_was_given_up_is_cancelled(listing: Room) -> None:
    await given_up(listing)
    await listing.reconciler.reconcile("paper")
    assert set(listing.broker.cancelled) == {listing.order.intent.order}
    assert listing.position.halted is not None


async def test_an_order_given_up_under_a_halt_is_cancelled_once_it_appears(listing: Room) -> None:
    halts = [lambda: listing.events.extend(halted(listing))]

    def halt_once() -> None:
        if halts:
            halts.pop()()

    listing.clock.while_asleep = halt_once
    await given_up(listing)
    assert listing.order.canceling  # asked for while nobody could find it
    await listing.reconciler.reconcile("paper")
    assert listing.broker.cancelled == [listing.order.intent.order]


async def test_an_order_that_was_given_up_is_cancelled_until_it_is_dead(listing: Room) -> None:
    await given_up(listing)
    listing.broker.cancels.extend([TIMED_OUT] * 3)
    for _ in range(3):
        await listing.reconciler.reconcile("paper")
    tried = len(listing.broker.cancelled)
    listing.start(listing.engine.state)  # A restart asks again, too.
    await listing.reconciler.reconcile("paper")
    assert len(listing.broker.cancelled) > tried >= 3
    listing.broker.works = OrderStatus.CANCELED
    asked = len(listing.broker.cancelled)
    await listing.reconciler.reconcile("paper")
    assert len(listing.broker.cancelled) == asked


async def test_a_cancel_of_an_order_that_was_given_up_loses_the_account_where_nobody_answers(listing: Room) -> None:
    await given_up(listing)
    listing.broker.cancels.append(TIMED_OUT)
    await listing.desk.catch_up("paper")
    assert not listing.engine.state.accounts["paper"].ready


async def test_an_order_that_turns_up_filled_after_it_was_given_up_is_booked_and_not_cancelled(listing: Room) -> None:
    await given_up(listing)
    listing.broker.works = OrderStatus.FILLED
    await listing.reconciler.reconcile("paper")
    assert listing.broker.cancelled == []
    assert listing.position.shares == Decimal(55)
    assert listing.position.halted is not None


# What is not sent


async def test_an_order_whose_fate_nobody_would_hear_of_does_not_leave(room: Room) -> None:
    decided = room.decide()
    room.broker.heard = None  # The stream has just ended; the account is not told lost yet.
    assert room.engine.state.accounts["paper"].ready
    await room.desk.carry_out(decided)
    assert room.broker.sent == []
    (ended,) = room.of(ev.OrderEnded)
    assert "not heard" in ended.reason


async def test_an_ambiguous_order_is_not_sent_again_while_nothing_is_heard(room: Room) -> None:
    room.broker.submits.append(TIMED_OUT)

    def fall_silent() -> None:
        room.broker.heard = None

    room.broker.finds.append(TIMED_OUT)
    room.clock.while_asleep = fall_silent
    await room.trade()
    assert len(room.broker.sent) == 1
    assert room.order.status is OrderStatus.ABANDONED


REGULAR_ENDS = START % DAY + 5 * SECOND
EXTENDED = PrintRules(confirm=0, max_jump=None, stale_after=None, extended_hours=True)


class CrowdedBroker(ScriptedBroker):
    """Lets orders wait for their turn."""

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        await self.clock.sleep(20)
        yield

    def turn(self) -> AbstractAsyncContextManager[None]:
        return self._turn()


async def crowded(folder: Path, market: Market) -> Room:
    room = Room(folder, plan(position(shares="50"), reserve="10000", prints=EXTENDED), market)
    room.broker = CrowdedBroker()
    room.clock = room.broker.clock
    room.start(State())
    await room.reconciler.reconcile("paper")
    return room


async def test_an_order_at_market_whose_turn_comes_after_regular_hours_does_not_leave(tmp_path: Path) -> None:
    room = await crowded(tmp_path, Market(core=(0, REGULAR_ENDS)))
    await room.trade()
    assert room.order.intent.limit is None
    assert room.broker.sent == []
    assert room.order.status is OrderStatus.ABANDONED


async def test_an_order_with_a_limit_for_extended_hours_leaves_in_them(tmp_path: Path) -> None:
    room = await crowded(tmp_path, Market(core=(0, START % DAY - 5 * SECOND)))
    await room.trade()
    assert room.order.intent.limit is not None
    assert room.broker.sent == [room.order.intent.order]


# When an order is given up


async def test_an_order_that_was_sent_again_is_given_up_only_after_two_look_ups_since_then(room: Room) -> None:
    """The look-up from before it was sent again says nothing of what came of that."""
    room.decide()
    room.start(room.engine.state)  # It may not leave yet: the account is not reconciled again.
    room.broker.submits.append(TIMED_OUT)
    sent_at: list[Instant] = []

    def be_ready() -> None:
        if not room.engine.state.accounts["paper"].ready:
            happens(room, ev.AccountReconciled(at=room.clock.now(), account="paper", cash=dollars(10**6), covered=True))
        if room.broker.sent and not sent_at:
            sent_at.append(room.clock.now())
            room.clock.time = Instant(room.clock.time + 60 * SECOND)  # Too late to be sent once more.

    room.clock.while_asleep = be_ready
    await room.desk.resolve(room.order)
    since = [each for each in room.broker.looked if each > sent_at[0]]
    assert room.order.status is OrderStatus.ABANDONED
    assert len(since) == 2
    assert since[1] - since[0] >= 30 * SECOND


# Beside everything else


SYMBOLS = ("QQQ", "SPY", "KO", "IBM", "F")


async def with_open_orders(folder: Path) -> Room:
    """Have an order open in each of five positions."""
    room = Room(folder, plan(*(position(each) for each in SYMBOLS), reserve="20000"))
    room.broker.holdings = {each: Holding(Shares(Decimal(50)), None) for each in SYMBOLS}
    room.broker.cash = dollars(100_000)
    await room.reconciler.reconcile("paper")
    room.broker.works = OrderStatus.ACCEPTED
    now = room.clock.now()
    for symbol in SYMBOLS:
        room.engine.prints([trade_print(symbol, 100.0, now)], now)
        await room.desk.carry_out(room.engine.prints([trade_print(symbol, 90.0, now)], now))
    return room


async def test_the_halt_file_is_obeyed_without_waiting_for_its_cancels(tmp_path: Path) -> None:
    room = await with_open_orders(tmp_path)
    begun: list[Coroutine[None, None, None]] = []
    room.desk.spawn = begun.append
    room.halt_file.touch()
    assert await room.desk.obey_halt_file()
    assert room.broker.cancelled == []
    assert len(begun) == 5
    await asyncio.gather(*begun)
    assert sorted(room.broker.cancelled) == sorted(room.engine.state.orders)


async def test_a_halt_on_live_streams_cancels_all_orders_at_once(tmp_path: Path) -> None:
    room = await with_open_orders(tmp_path)
    asked: list[str] = []
    all_asked = asyncio.Event()

    async def answer_once_all_are_asked(order: str) -> OrderReport | None:
        asked.append(order)
        if len(asked) == len(SYMBOLS):
            all_asked.set()
        async with asyncio.timeout(5):
            await all_asked.wait()
        return None

    room.broker.cancel = answer_once_all_are_asked  # type: ignore[method-assign]
    room.desk.spawn = asyncio.create_task
    await room.desk.carry_out(halted(room))
    assert sorted(asked) == sorted(room.engine.state.orders)


async def test_a_reconciliation_looks_unknown_orders_up_beside_itself(room: Room) -> None:
    room.decide()
    room.start(room.engine.state)
    begun: list[Coroutine[None, None, None]] = []
    room.desk.spawn = begun.append
    await room.reconciler.reconcile("paper")
    assert room.broker.sent == []
    (resolving,) = begun
    await resolving
    assert room.broker.sent == [room.order.intent.order]
