"""The daemon on a live stream: decisions at once, orders once they are durable, a clean stop at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Self

import pytest

from mrdaemon import chain
from mrdaemon.brokers import Standing
from mrdaemon.brokers.paper import PaperBroker, PaperRules
from mrdaemon.clock import SystemClock
from mrdaemon.core import events as ev
from mrdaemon.core.commands import Pause, SetTradingState
from mrdaemon.core.engine import Engine
from mrdaemon.core.policy import TradingState
from mrdaemon.core.portfolio import apply
from mrdaemon.core.prints import Print, trade_print
from mrdaemon.core.state import State
from mrdaemon.daemon import Daemon, Parts, StoppingError
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


# Commands at awkward moments


class SlowToAgree(PaperBroker):
    """A paper broker that tells how it stands only when it is let."""

    agreed: asyncio.Event

    async def standing(self) -> Standing:
        await self.agreed.wait()
        return await super().standing()


async def test_a_start_that_is_to_resume_gives_way_to_a_halt_that_came_meanwhile(tmp_path: Path) -> None:
    clock, market, seen, wire = SystemClock(), Market(), Seen(), Wire()
    rules = PaperRules(cash=dollars(100_000))
    async with (
        Journal(tmp_path / "journal.db") as journal,
        SlowToAgree(tmp_path / "paper.db", rules, market, clock.now) as broker,
    ):
        broker.agreed = asyncio.Event()
        parts = Parts(market, clock, {"paper": broker}, "nonce", tmp_path / "HALT", resume=True)
        daemon = Daemon(parts, journal, journal.load().state, watch=seen.watch)
        daemon.open(plan(position(initial=True, shares=None)), None)
        running = asyncio.create_task(daemon.run(wire))
        await daemon.command(SetTradingState(state=TradingState.HALTED, by="ada"))
        broker.agreed.set()
        await seen.wait_for(ev.AccountReconciled)
        wire.batches.put_nowait(None)
        await running
    assert [each.state for each in only(seen.events, ev.TradingStateChanged)] == [TradingState.HALTED]
    assert daemon.engine.state.trading is TradingState.HALTED


async def test_an_engine_that_fails_in_a_command_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[ev.Event]:
        raise ZeroDivisionError

    life = await Life(tmp_path).__aenter__()
    await life.seen.wait_for(ev.AccountReconciled)
    monkeypatch.setattr(life.daemon.engine, "command", fail)
    with pytest.raises(ZeroDivisionError):
        await life.daemon.command(Pause(paused=True, by="ada"))
    with pytest.raises(ExceptionGroup, match="unhandled errors in a TaskGroup"):
        await life.running
    await life.broker.__aexit__()
    await life.journal.__aexit__()


async def test_a_daemon_that_stops_takes_no_commands_and_changes_nothing_for_them(tmp_path: Path) -> None:
    async with Life(tmp_path) as life:
        await life.seen.wait_for(ev.AccountReconciled)
        life.daemon.stop("enough")
        with pytest.raises(StoppingError):
            await life.daemon.command(Pause(paused=True, by="ada"))
    assert not life.daemon.engine.state.paused
