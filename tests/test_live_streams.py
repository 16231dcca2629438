"""What runs beside the prices, hour for hour: the clock, comparisons, looks at open orders, news. Time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from mrdaemon.brokers import AmbiguousError, DeniedError, Ear, Holding, Register, Standing
from mrdaemon.core import events as ev
from mrdaemon.core.commands import SetTradingState
from mrdaemon.core.engine import Engine
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import DAY, HOUR, SECOND, Instant
from mrdaemon.core.money import Shares
from mrdaemon.core.orders import OrderReport, OrderRequest, open_orders
from mrdaemon.core.policy import Asset, FeedState, TradingState
from mrdaemon.core.prints import trade_print
from mrdaemon.desk import Desk
from mrdaemon.live import RECONCILE_EVERY, Live
from mrdaemon.reconciliation import Reconciler
from mrdaemon.tally import Tally
from tests.builders import START, Market, dollars, filled, only, plan, position
from tests.simulation.disk import VirtualJournal
from tests.simulation.virtual import VirtualClock, VirtualLoop

GIVE_UP = 40.0
"""Seconds after which a request over a dead network is given up, its repetitions included."""
STREAM = "orders of paper"
NOBODY = AmbiguousError("no answer")
NOT_US = DeniedError("the keys are not accepted")


class Street:
    """A broker that takes orders and fills none, until a test says what becomes of it."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.heard: int | None = None
        self.fails: AmbiguousError | None = None
        """How every request ends; one that nobody answers takes its time."""
        self.asked: list[tuple[str, Instant]] = []
        self.reports: dict[str, OrderReport] = {}
        self.connections: asyncio.Queue[tuple[FeedState, str]] = asyncio.Queue()
        self.tells: Callable[[str], None] = lambda _: None

    def times(self, what: str) -> list[Instant]:
        return [at for name, at in self.asked if name == what]

    async def _reach(self, what: str) -> None:
        self.asked.append((what, self.clock.now()))
        self.tells(what)
        await asyncio.sleep(GIVE_UP if self.fails is NOBODY else 0.05)
        if self.fails is not None:
            raise self.fails

    def turn(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def submit(self, request: OrderRequest) -> OrderReport:
        await self._reach("submit")
        self.reports[request.order] = OrderReport(
            order=request.order,
            broker_order=f"b-{request.order}",
            symbol=request.symbol,
            side=request.side,
            status=OrderStatus.ACCEPTED,
            at=self.clock.now(),
            notional=request.notional,
            quantity=request.quantity,
        )
        return self.reports[request.order]

    async def find(self, order: str) -> OrderReport | None:
        await self._reach("find")
        return self.reports.get(order)

    async def cancel(self, order: str) -> OrderReport | None:
        await self._reach("cancel")
        self.reports[order] = msgspec.structs.replace(self.reports[order], status=OrderStatus.CANCELED)
        return self.reports[order]

    async def taken_since(self, since: Instant) -> list[OrderReport]:
        await self._reach("list")
        return list(self.reports.values())

    async def filled_since(self, since: Instant) -> dict[str, Decimal]:
        return {}

    async def standing(self) -> Standing:
        await self._reach("standing")
        shares = Holding(Shares(Decimal(50)), None)
        return Standing(dollars(1_000_000), dict.fromkeys(SYMBOLS, shares))

    async def assets(self, symbols: Sequence[str]) -> list[Asset]:
        return [Asset(symbol) for symbol in symbols]

    async def listen(self, ear: Ear) -> None:
        while True:
            state, reason = await self.connections.get()
            self.heard = (self.heard or 0) + 1 if state is FeedState.SUBSCRIBED else None
            ear.stands(STREAM, state, reason)

    @property
    def hearing(self) -> int | None:
        return self.heard

    def connect(self) -> None:
        self.connections.put_nowait((FeedState.SUBSCRIBED, ""))

    def disconnect(self, state: FeedState = FeedState.CONNECTING) -> None:
        self.connections.put_nowait((state, "it ended"))


SYMBOLS = ("QQQ", "SPY", "KO", "IBM", "F")


class World:
    """A daemon's streams, its broker, and what it told and wrote down."""

    def __init__(self, folder: Path, journal: VirtualJournal, clock: VirtualClock) -> None:
        self.clock = clock
        self.street = Street(clock)
        assert isinstance(self.street, Register)
        self.halt_file = folder / "HALT"
        self.shown: list[ev.Event] = []
        self.ticks: list[Instant] = []
        self.engine = Engine(journal.load().state, Market())
        brokers = {"paper": self.street}

        async def commit(events: Sequence[ev.Event]) -> None:
            await journal.append(events)
            await self.show(events)

        self.desk = Desk(self.engine, brokers, clock, commit, self.halt_file)
        self.reconciler = Reconciler(self.engine, brokers, clock, self.desk)
        self.live = Live(self.engine, journal, self.desk, self.reconciler, clock, Tally())
        wanted = plan(*(position(symbol, max_open=DAY // SECOND) for symbol in SYMBOLS), reserve="20000")
        self.live.later(self.engine.record([ev.DaemonStarted(at=clock.now(), version="test", nonce="n")]))
        self.live.later(self.engine.configure(wanted, clock.now()))
        tick = self.engine.tick

        def noted(now: Instant) -> list[ev.Event]:
            self.ticks.append(now)
            return tick(now)

        self.engine.tick = noted  # type: ignore[method-assign]

    async def show(self, events: Sequence[ev.Event]) -> None:
        self.shown += events

    async def begin(self) -> None:
        """Have the stream of orders up, and the account compared."""
        self.street.connect()
        await self.live.compared(60)
        assert self.is_ready()

    async def trade(self, *symbols: str) -> None:
        """Have orders that the broker took and does not fill."""
        for price in (100.0, 90.0):
            now = self.clock.now()
            await self.live.prints([trade_print(symbol, price, now) for symbol in symbols], None)
        await self.clock.sleep(1)
        assert len(self.open) == len(symbols)

    def is_ready(self) -> bool:
        return self.engine.state.accounts["paper"].ready

    @property
    def open(self) -> list[str]:
        return [each.intent.order for each in open_orders(self.engine.state, "paper")]

    def asked_since(self, begun: Instant) -> list[str]:
        return [name for name, at in self.street.asked if at >= begun]


@asynccontextmanager
async def streams(folder: Path) -> AsyncIterator[World]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    clock = VirtualClock(loop, START)
    journal = VirtualJournal(folder / "journal.db", clock.now, lambda: 0.005, lambda _: None)
    async with journal:
        world = World(folder, journal, clock)
        async with asyncio.TaskGroup() as group:
            tasks = world.live.start(group, {"paper": world.street}, world.show)
            yield world
            for each in (*tasks, *world.live.jobs):
                each.cancel()
        await journal.settled()


def virtually(scenario: Coroutine[None, None, None]) -> None:
    """See a scenario through on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario)


# A dead network


def test_a_halt_file_with_open_orders_and_a_dead_network_stops_no_tick(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.begin()
            await world.trade(*SYMBOLS)
            world.street.fails = NOBODY
            begun = world.clock.now()
            world.halt_file.touch()
            await world.clock.sleep(300)
            ticks = [each for each in world.ticks if each >= begun]
            assert len(ticks) >= 295
            assert max(later - earlier for earlier, later in pairwise(ticks)) < 1.1 * SECOND
            asked = world.street.times("cancel")[:5]
            assert len(asked) == 5
            assert asked[-1] - begun < 2 * SECOND
            assert len(only(world.shown, ev.CancelRequested)) == 5
            world.street.fails = None
            await world.clock.sleep(120)
            assert world.open == []
            assert {each.status for each in world.street.reports.values()} == {OrderStatus.CANCELED}

    virtually(scenario())


def test_an_order_that_nobody_answers_stops_no_tick_and_no_other_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.begin()
            world.street.fails = NOBODY
            begun = world.clock.now()
            await world.trade("QQQ", "SPY", "KO")
            await world.clock.sleep(60)
            first = world.street.times("submit")[:3]
            assert first[-1] - begun < SECOND
            assert len([each for each in world.ticks if each >= begun]) >= 60

    virtually(scenario())


# Looks at open orders


def test_open_orders_are_looked_at_every_few_seconds(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.begin()
            await world.trade("QQQ")
            begun = world.clock.now()
            await world.clock.sleep(60)
            assert 10 <= world.asked_since(begun).count("list") <= 13

    virtually(scenario())


def test_a_broker_that_is_not_answering_is_asked_of_open_orders_less_and_less_and_then_as_before(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.begin()
            await world.trade("QQQ")
            world.street.fails = AmbiguousError("busy")
            world.street.disconnect()
            begun = world.clock.now()
            await world.clock.sleep(3600)
            assert 55 <= len(world.asked_since(begun)) <= 65
            world.street.fails = None
            await world.clock.sleep(60)
            begun = world.clock.now()
            await world.clock.sleep(60)
            assert world.asked_since(begun).count("list") >= 10

    virtually(scenario())


@pytest.mark.parametrize("state", [FeedState.SUBSCRIBED, FeedState.REFUSED])
def test_revoked_keys_and_an_open_order_are_no_storm(tmp_path: Path, state: FeedState) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.begin()
            await world.trade("QQQ")
            world.street.fails = NOT_US
            if state is FeedState.REFUSED:
                world.street.disconnect(state)
            begun = world.clock.now()
            with capture_logs() as logged:
                await world.clock.sleep(HOUR // SECOND)
            assert len(world.asked_since(begun)) <= 2 * HOUR / SECOND / RECONCILE_EVERY + 2
            assert len(logged) <= 2 * HOUR / SECOND / RECONCILE_EVERY + 4

    virtually(scenario())


def test_an_account_that_is_compared_soon_is_not_looked_at_besides(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.begin()
            await world.trade("QQQ")
            world.street.fails = AmbiguousError("busy")
            await world.reconciler.reconcile("paper")
            assert not world.is_ready()
            begun = world.clock.now()
            await world.clock.sleep(60)
            assert 4 <= len(world.asked_since(begun)) <= 6  # One comparison in ten seconds: its first answer ends it.

    virtually(scenario())


def test_a_cancel_that_nobody_answered_is_asked_again_within_seconds(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.begin()
            await world.trade("QQQ")
            world.street.fails = AmbiguousError("busy")
            halt = SetTradingState(state=TradingState.HALTED, by="ada")
            await world.desk.settle(world.engine.command(halt, world.clock.now()))
            await world.clock.sleep(1)
            assert not world.is_ready()
            world.street.fails = None
            await world.clock.sleep(20)
            assert world.open == []
            assert world.is_ready()

    virtually(scenario())


def test_while_updates_are_not_heard_open_orders_are_looked_at_all_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.begin()
            await world.trade("QQQ")
            world.street.disconnect()
            await world.clock.sleep(1)
            assert not world.is_ready()
            (order,) = world.engine.state.orders.values()
            world.street.reports[order.intent.order] = filled(order.intent)
            await world.clock.sleep(10)
            assert order.status is OrderStatus.FILLED

    virtually(scenario())


def test_a_cancel_that_failed_is_asked_again_while_updates_are_not_heard(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.begin()
            await world.trade("QQQ")
            world.street.disconnect()
            await world.clock.sleep(1)
            world.street.fails = AmbiguousError("busy")
            halt = SetTradingState(state=TradingState.HALTED, by="ada")
            await world.desk.settle(world.engine.command(halt, world.clock.now()))
            await world.clock.sleep(1)
            world.street.fails = None
            await world.clock.sleep(30)
            assert world.open == []

    virtually(scenario())


# Comparisons


def test_a_stream_that_is_refused_is_no_reason_to_compare_or_to_say_so_again_and_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            world.street.disconnect(FeedState.REFUSED)
            await world.live.compared(60)
            assert world.clock.now() - START < SECOND  # Nobody waits for what cannot come.
            with capture_logs() as logged:
                await world.clock.sleep(2 * 3600)
            assert world.street.asked == []
            assert logged == []

    virtually(scenario())


def test_an_account_is_compared_as_soon_as_it_can_be_heard(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.clock.sleep(3)
            assert not world.is_ready()
            begun = world.clock.now()
            world.street.connect()
            await world.live.compared(60)
            assert world.is_ready()
            assert world.clock.now() - begun < SECOND

    virtually(scenario())


def test_an_account_whose_stream_ends_is_lost_and_compared_again_once_it_is_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.begin()
            world.street.disconnect()
            await world.clock.sleep(0.1)
            assert not world.is_ready()
            begun = world.clock.now()
            await world.clock.sleep(600)
            assert world.asked_since(begun) == []
            world.street.connect()
            await world.clock.sleep(1)
            assert world.is_ready()

    virtually(scenario())


def test_who_waits_for_a_comparison_waits_neither_for_ever_nor_for_one_that_was_made(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.live.compared(2)
            assert world.clock.now() - START == 2 * SECOND
            world.street.heard = 1
            await world.reconciler.reconcile("paper")
            begun = world.clock.now()
            await world.live.compared(60)
            assert world.clock.now() == begun

    virtually(scenario())


# News


def test_an_order_leaves_before_anybody_is_told_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streams(tmp_path) as world:
            await world.begin()
            seen_then: list[list[ev.Event]] = []
            world.street.tells = lambda what: seen_then.append(list(world.shown)) if what == "submit" else None
            await world.trade("QQQ")
            (then,) = seen_then
            assert only(then, ev.OrderIntended) == []
            assert len(only(world.shown, ev.OrderIntended)) == 1

    virtually(scenario())
