"""A live daemon as a child, whose prices and broker a test drives by lines on its standard input."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from mrdaemon import desk, logs
from mrdaemon.brokers import AmbiguousError, Holding
from mrdaemon.brokers.paper import PaperBroker, PaperRules
from mrdaemon.brokers.paperbook import PaperOrder
from mrdaemon.clock import SystemClock
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.orders import OrderReport, OrderRequest
from mrdaemon.core.policy import AccountRules, Mode, Plan, PortfolioPlan, PortfolioRules, PositionPlan
from mrdaemon.core.prints import trade_print
from mrdaemon.daemon import Daemon, Parts
from mrdaemon.feeds import Deliver
from mrdaemon.journal import Journal
from mrdaemon.output import Output
from mrdaemon.places import HALT, JOURNAL
from mrdaemon.show import event_object
from mrdaemon.web import app as web
from mrdaemon.web.control import Control
from tests.builders import Market, dollars, plan, position, rules
from tests.running import ROOT, Object, Outcome, ask, mrdaemon, unmeasured

FIFTY = Shares(Decimal(50))


class MoodyBroker(PaperBroker):
    """A paper broker that answers as it is told to: ``plainly``, ``late``, or that nobody knows.

    ``lost`` does not take an order and cannot be heard; ``unsure`` takes it and cannot be heard. An ``idle`` one fills
    nothing.
    """

    mood = "plain"
    idle = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.changed = asyncio.Event()

    async def submit(self, request: OrderRequest) -> OrderReport:
        _tell("submit", request.order)
        while self.mood == "late":
            await self.changed.wait()
        if self.mood == "lost":
            raise AmbiguousError("the order was lost on its way")
        report = await super().submit(request)
        if self.mood == "unsure":
            raise AmbiguousError("the answer was lost on its way")
        return report

    async def find(self, order: str) -> OrderReport | None:
        _tell("find", order)
        if self.mood in {"lost", "unsure"}:
            raise AmbiguousError("the broker does not answer")
        return await super().find(order)

    async def cancel(self, order: str) -> OrderReport | None:
        _tell("cancel", order)
        if self.mood in {"lost", "unsure"}:
            raise AmbiguousError("the broker does not answer")
        return await super().cancel(order)

    def _filled(self, order: PaperOrder, price: Price | None, seen: Instant, now: Instant) -> PaperOrder:
        return order if self.idle else super()._filled(order, price, seen, now)


said: Output
"""What the child says, which waits for no reader."""


def _tell(did: str, order: str) -> None:
    """Say what the broker was asked, between the events."""
    said.line(json.dumps({"kind": f"broker_{did}", "order": order}))


class Wire:
    """A stream of prices from standard input; other lines are for the broker."""

    lockstep = False
    name = "wire"

    def __init__(self, broker: MoodyBroker) -> None:
        self.delivered = self.refused = 0
        self._broker = broker

    async def run(self, deliver: Deliver) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := (await reader.readline()).decode():
            what, *rest = line.split()
            if what == "price":
                self.delivered += 1
                await deliver([trade_print(rest[1], float(rest[0]), SystemClock().now())], None)
            else:
                self._broker.mood, self._broker.idle = what, "idle" in rest
                self._broker.changed.set()
                self._broker.changed = asyncio.Event()


def _live_plan(mode: str, *, twice: bool) -> Plan:
    """Hold 50 QQQ and 50 SPY at a paper broker; perhaps 50 QQQ elsewhere, too, where no broker is."""
    wanted = plan(*(position(name, "50", mode=Mode(mode)) for name in ("QQQ", "SPY")), reserve="20000")
    if not twice:
        return wanted
    there = PortfolioRules(account="elsewhere", floor=dollars(0))
    side = PortfolioPlan("side", there, dollars(1000), (PositionPlan("side", "QQQ", rules(mode=Mode.ALERT), FIFTY),))
    accounts = {**wanted.accounts, "elsewhere": AccountRules(broker="none")}
    return wanted.__class__(wanted.prints, accounts, (*wanted.portfolios, side))


async def _live(folder: Path, mode: str, *, twice: bool) -> None:
    async def watch(engine: Engine, events: Sequence[ev.Event]) -> None:
        for event in events:
            said.line(json.dumps(event_object(event)))

    clock, market = SystemClock(), Market()
    holding = Holding(FIFTY, None)
    async with Journal(folder / JOURNAL) as journal:
        state = journal.load().state
        paper = PaperRules(cash=dollars(100_000), holdings={"QQQ": holding, "SPY": holding})
        async with MoodyBroker(folder / "paper-paper.db", paper, market, clock.now) as broker:
            parts = Parts(market, clock, {"paper": broker}, "nonce", folder / HALT)
            daemon = Daemon(parts, journal, state, watch=watch)
            daemon.open(_live_plan(mode, twice=twice), None)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, daemon.stop, "SIGTERM received")
            async with Control(daemon, journal.path):
                await daemon.run(Wire(broker))


def live() -> None:
    """Run a live daemon: the child's side. What takes seconds takes less, so that no test waits long."""
    logs.configure()
    desk.RETRY, desk.LOOK_AGAIN, web.HEARTBEAT = 0.05, 0.2, 0.5  # type: ignore[misc]
    global said  # noqa: PLW0603 - set once, before anything runs
    said = Output()
    folder, mode, twice = sys.argv[1:]
    asyncio.run(_live(Path(folder), mode, twice=twice == "twice"))
    said.close(1.0)


class Live:
    """A live daemon as a child: our side."""

    def __init__(self, process: subprocess.Popen[str], state: Path) -> None:
        self.process = process
        self.state = state
        self.heard: list[Object] = []

    def say(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{each}\n" for each in lines))
        self.process.stdin.flush()

    def hear(self, *kinds: str) -> Object:
        """Wait for the next event of a kind, or the next thing that the broker is asked."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard.append(json.loads(line))
            if self.heard[-1]["kind"] in kinds:
                return self.heard[-1]
        message = f"it ended without {kinds}"
        raise AssertionError(message)

    def end(self) -> list[Object]:
        """Hang the stream up; gives everything that was heard."""
        out, _ = self.process.communicate(timeout=20)
        self.heard += [json.loads(line) for line in out.splitlines()]
        return self.heard

    def tell(self, *arguments: str) -> Outcome:
        """Give a command on the command line, in this process."""
        return mrdaemon(arguments[0], "--state", self.state, *arguments[1:])

    def status(self) -> Object:
        status: Object = ask(self.state, "GET", "/status").body
        return status

    def journaled(self, kind: str) -> list[Object]:
        return mrdaemon("events", "--json", "--kind", kind, "--state", self.state).objects


@contextmanager
def live_daemon(folder: Path, mode: str = "auto", *, twice: bool = False) -> Iterator[Live]:
    """Start a live daemon that holds 50 QQQ and 50 SPY at a target of $5,000 each, and sees both at $100."""
    folder.mkdir(exist_ok=True)
    program = "from tests.live import live; live()"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, str(folder), mode, "twice" if twice else "once"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=unmeasured(),
    ) as process:
        try:
            stream = Live(process, folder)
            stream.hear("account_reconciled")
            stream.say("price 100 QQQ", "price 100 SPY")
            until_seen(stream)
            yield stream
        finally:
            process.kill()


def until_seen(stream: Live) -> None:
    """Wait until both prices were seen: a start after the first arms nothing anew, and so says nothing."""
    while any(each["age"] is None for each in stream.status()["positions"] if each["portfolio"] == "core"):
        assert stream.process.poll() is None
