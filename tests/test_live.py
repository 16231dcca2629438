"""The daemon on a live stream: decisions at once, orders once they are durable, a clean stop at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Self

from mrdaemon import chain
from mrdaemon.brokers.paper import PaperBroker, PaperRules
from mrdaemon.clock import SystemClock
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.portfolio import apply
from mrdaemon.core.prints import Print, trade_print
from mrdaemon.core.state import State
from mrdaemon.daemon import Daemon, Parts
from mrdaemon.feeds import Deliver
from mrdaemon.journal import Journal
from tests.builders import Market, dollars, only, plan, position

PATIENCE = 20.0


class Wire:
    """A stream that delivers what a test puts in, in batches, until it is hung up."""

    lockstep = False
    name = "wire"

    def __init__(self) -> None:
        self.batches: asyncio.Queue[list[Print] | None] = asyncio.Queue()
        self.delivered = self.refused = 0

    def say(self, *prices: float, symbol: str = "QQQ") -> None:
        now = SystemClock().now()
        self.batches.put_nowait([trade_print(symbol, price, now) for price in prices])

    async def run(self, deliver: Deliver) -> None:
        while (batch := await self.batches.get()) is not None:
            self.delivered += len(batch)
            await deliver(batch, None)


class Seen:
    """Collects what became durable, and waits for it."""

    def __init__(self) -> None:
        self.events: list[ev.Event] = []
        self._news = asyncio.Condition()

    async def watch(self, engine: Engine, events: Sequence[ev.Event]) -> None:
        async with self._news:
            self.events += events
            self._news.notify_all()

    async def wait_for(self, kind: type[ev.Event], count: int = 1) -> None:
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: len(only(self.events, kind)) >= count)


class Life:
    """A daemon on a wire, with a paper broker and a real journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wire = Wire()
        self.seen = Seen()

    async def __aenter__(self) -> Self:
        clock, market = SystemClock(), Market()
        self.journal = await Journal(self.folder / "journal.db").__aenter__()
        state = self.journal.load().state
        rules = PaperRules(cash=dollars(100_000))
        self.broker = await PaperBroker(self.folder / "paper.db", rules, market, clock.now).__aenter__()
        wanted = plan(*(position(symbol, None, initial=True) for symbol in ("QQQ", "SPY")), reserve="20000")
        parts = Parts(market, clock, {"paper": self.broker}, "nonce", self.folder / "HALT")
        self.daemon = Daemon(parts, self.journal, state, watch=self.seen.watch)
        self.daemon.open(wanted, None)
        self.running = asyncio.create_task(self.daemon.run(self.wire))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.daemon.stop("the test is over")
        async with asyncio.timeout(PATIENCE):
            await self.running
        await self.broker.__aexit__()
        await self.journal.__aexit__()


async def test_a_stream_is_decided_journaled_and_traded(tmp_path: Path) -> None:
    async with Life(tmp_path) as life:
        life.wire.say(100.0)
        await life.seen.wait_for(ev.OrderEnded)
        life.wire.say(99.0, 98.0, 97.0, 96.0, 95.0)
        await life.seen.wait_for(ev.OrderEnded, 2)
        shares = life.daemon.engine.state.positions["core/QQQ"].shares
    assert [signal.amount for signal in only(life.seen.events, ev.SignalRaised)] == [dollars(5000), dollars(250)]
    assert shares == Decimal("52.631578947")
    assert chain.verify(tmp_path / "journal.db").events == chain.current(tmp_path / "journal.db").seq


async def test_the_journal_keeps_the_order_in_which_things_were_decided(tmp_path: Path) -> None:
    async with Life(tmp_path) as life:
        for step in range(10):
            life.wire.say(100.0 * 0.9**step, symbol="QQQ")
            life.wire.say(100.0 * 1.1**step, symbol="SPY")
            await life.seen.wait_for(ev.OrderEnded, 2 * step + 2)
        life.wire.batches.put_nowait(None)
        async with asyncio.timeout(PATIENCE):
            await life.running
        live = life.daemon.engine.state
        refolded = State()
        for record in chain.records(tmp_path / "journal.db"):
            apply(refolded, record.event)
        assert refolded == live


async def test_a_stop_in_the_middle_of_a_burst_is_clean_and_the_next_start_settles_it(tmp_path: Path) -> None:
    async with Life(tmp_path) as life:
        life.wire.say(100.0)
        life.wire.say(100.0, symbol="SPY")
        await life.seen.wait_for(ev.SignalRaised)
    assert chain.current(tmp_path / "journal.db").state.orders
    async with Life(tmp_path) as again:
        await again.seen.wait_for(ev.AccountReconciled)
        positions = again.daemon.engine.state.positions.values()
        held = {position.symbol: position.shares for position in positions}
        standing = await again.broker.standing()
    assert {symbol: holding.shares for symbol, holding in standing.holdings.items()} == {
        symbol: shares for symbol, shares in held.items() if shares
    }


async def test_the_halt_file_stops_a_live_daemon(tmp_path: Path) -> None:
    async with Life(tmp_path) as life:
        life.wire.say(100.0)
        await life.seen.wait_for(ev.OrderEnded)
        (tmp_path / "HALT").touch()
        await life.seen.wait_for(ev.TradingStateChanged)
        life.wire.say(90.0)
        await life.seen.wait_for(ev.SignalHeld)
    assert len(only(life.seen.events, ev.OrderIntended)) == 1
