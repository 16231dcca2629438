"""Paper trading with real processes: `mrdaemon run` at the local Alpaca, prices sped up, faults on, killed at times.

The virtual hours are in ``tests/simulation``; here are real sockets, real threads, a real disk and SIGKILL.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from mrdaemon import chain
from mrdaemon.clock import SystemClock
from mrdaemon.core import events as ev
from mrdaemon.core.instant import SECOND
from mrdaemon.core.money import value
from mrdaemon.core.orders import PREFIX, open_orders
from mrdaemon.simulator.faults import SOMETIMES, Faults
from mrdaemon.simulator.orders import Side
from mrdaemon.simulator.server import serving
from mrdaemon.simulator.simulator import Simulator
from mrdaemon.simulator.standing import NeverCloses
from mrdaemon.simulator.walk import Walk
from tests.running import ROOT, Outcome, mrdaemon, unmeasured

SPEED = 60
"""How many times as fast as in the market prices come: one trade of each symbol is a second there."""
REST_WITHIN = 90.0
SYMBOLS = {"QQQ": 500.0, "SPY": 600.0, "KO": 80.0}
CONFIG = """
[feed]
kind = "alpaca"
[prices]
sessions = "always"
max_jump = "off"
[accounts.alpaca]
broker = "alpaca"
url = "{url}"
key = "PKSIMULATOR"
secret = "simulated"
consecutive_rejects = 1000
[portfolios.core]
account = "alpaca"
reserve = "17000"
mode = "auto"
zone = "0.1%"
[portfolios.core.positions]
QQQ = {{ target = "5000", initial = "buy" }}
SPY = {{ target = "5000", initial = "buy" }}
KO = {{ target = "5000", initial = "buy" }}
"""


class Paper:
    """A daemon that is started, killed and started again, and the Alpaca that it trades at."""

    def __init__(self, folder: Path, simulator: Simulator, url: str) -> None:
        self.simulator = simulator
        self.config, self.state = folder / "paper.toml", folder / "state"
        self.config.write_text(CONFIG.format(url=url), encoding="utf-8")
        self.kills = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run it, and kill it at the end, if it still runs."""
        arguments = ("run", "-c", str(self.config), "--state", str(self.state), "--resume")
        with (self.state.parent / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "mrdaemon", *arguments, stdout=log, stderr=log, cwd=ROOT, env=unmeasured()
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def reconcile(self) -> Outcome:
        return mrdaemon("reconcile", "--state", self.state)

    def open_orders(self) -> int:
        """Count the orders that the journal knows no end of."""
        return len(open_orders(chain.current(self.state / "journal.db").state, "alpaca"))

    def events(self) -> list[ev.Event]:
        return [record.event for record in chain.records(self.state / "journal.db")]


async def trade(folder: Path, seed: str, seconds: float) -> Paper:
    """Trade for so long with faults on, kills in between; then without, until all is at rest."""
    clock, draw = SystemClock(), Random(seed)
    faults = tuple(each for each in SOMETIMES)
    simulator = Simulator(clock.now, NeverCloses(), faults=Faults(seed, faults), reap=SECOND)
    walk = Walk(SYMBOLS, seed, clock.now(), every=1 / SPEED)

    async def prices() -> None:
        while True:
            simulator.see(walk.take(clock.now()))
            await asyncio.sleep(1 / SPEED)

    async with serving(simulator) as url, asyncio.timeout(seconds + 2 * REST_WITHIN):
        paper = Paper(folder, simulator, url)
        walking = asyncio.create_task(prices())
        until = asyncio.get_running_loop().time() + seconds
        while (left := until - asyncio.get_running_loop().time()) > 0:
            async with paper.running() as process:
                await asyncio.sleep(min(left, draw.uniform(5, 15)))
                assert process.returncode is None, (folder / "log").read_text(encoding="utf-8")[-2000:]
                paper.kills += 1
        simulator.faults.end()
        async with paper.running() as process:
            await while_it_runs(process, until_settled(paper))
            walking.cancel()
            await while_it_runs(process, until_quiet(paper))
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    return paper


async def while_it_runs(process: asyncio.subprocess.Process, wanted: Coroutine[None, None, None]) -> None:
    """Wait for something, unless the daemon ends before."""
    ended, waiting = asyncio.ensure_future(process.wait()), asyncio.ensure_future(wanted)
    await asyncio.wait([ended, waiting], return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    assert waiting.done(), "the daemon ended"
    await waiting


async def until_settled(paper: Paper) -> None:
    """Wait until a person who asks for a comparison is told that all is equal."""
    while (await asyncio.to_thread(paper.reconcile)).code:  # noqa: ASYNC110 - another process gets there
        await asyncio.sleep(0.2)


async def until_quiet(paper: Paper) -> None:
    """Wait until no order is open here or there, and compare once more, after the last of them."""
    while True:
        while paper.simulator.exchange.book.open() or paper.open_orders():  # noqa: ASYNC110 - another process ends them
            await asyncio.sleep(0.2)
        orders = len(paper.simulator.exchange.book)
        outcome = await asyncio.to_thread(paper.reconcile)
        assert outcome.code == 0, outcome.err
        if not paper.open_orders() and len(paper.simulator.exchange.book) == orders:
            return


def check(paper: Paper) -> None:
    """Compare the journal with Alpaca's own book."""
    events, book = paper.events(), paper.simulator.exchange.book
    ours = [each for each in book if each.ticket.client_order_id.startswith(f"{PREFIX}-")]
    intents = {each.order: each for each in events if isinstance(each, ev.OrderIntended)}
    assert {each.ticket.client_order_id for each in ours} <= set(intents)
    decided = Counter(
        (intents[each.ticket.client_order_id].symbol, intents[each.ticket.client_order_id].number) for each in ours
    )
    assert [each for each, count in decided.items() if count > 1] == []
    state = chain.current(paper.state / "journal.db").state
    theirs = {str(each["symbol"]): Decimal(str(each["qty"])) for each in paper.simulator.exchange.positions()}
    assert {each.symbol: each.shares for each in state.positions.values() if each.shares} == theirs
    flow = Decimal(0)
    for order in ours:
        if order.filled_qty:
            cash = value(order.filled_qty, order.filled_value / order.filled_qty)
            flow += -cash if order.ticket.side is Side.BUY else cash
    portfolio = state.portfolios["core"]
    assert portfolio.reserve == portfolio.deposits + flow
    pieces = sum(len(each.executions) for each in ours)
    moved = Decimal(str(paper.simulator.exchange.account()["cash"])) - Decimal(100_000)
    assert abs(moved - flow) <= Decimal("0.01") * pieces  # Alpaca's cash is rounded with every piece
    assert len(ours) > len(SYMBOLS)


@pytest.mark.soak
async def test_minutes_of_paper_trading_end_equal_to_the_last_share(tmp_path: Path) -> None:
    paper = await trade(tmp_path, "minutes", 15)
    assert paper.kills > 0
    check(paper)


@pytest.mark.soak
@pytest.mark.parametrize("seed", ["one", "two", "three"])
async def test_an_hour_of_paper_trading_ends_equal_to_the_last_share(seed: str, tmp_path: Path) -> None:
    check(await trade(tmp_path, seed, 3600 / SPEED))
