"""Runs the program for tests: in this process where it ends by itself, as a child where signals or crashes matter."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from typer.testing import CliRunner

from mrdaemon import desk, logs
from mrdaemon.brokers import AmbiguousError, Holding
from mrdaemon.brokers.paper import PaperBroker, PaperRules
from mrdaemon.brokers.paperbook import PaperOrder
from mrdaemon.cli import app
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
from mrdaemon.places import HALT, JOURNAL, SOCKET
from mrdaemon.show import event_object
from mrdaemon.web import app as web
from mrdaemon.web.control import Control
from tests.builders import Market, dollars, plan, position, rules

Object = dict[str, Any]
FIFTY = Shares(Decimal(50))
ROOT = Path(__file__).parent.parent


class Outcome(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Object]:
        """Its output, as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def unmeasured() -> dict[str, str]:
    """Give an environment in which a child is not measured for coverage: it would import and write files of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def mrdaemon(*arguments: str | Path, env: dict[str, str] | None = None) -> Outcome:
    """Run a command to its end, in this process."""
    result = CliRunner().invoke(app, [str(each) for each in arguments], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


@contextmanager
def child(
    *arguments: str | Path, env: dict[str, str] | None = None, prepare: Callable[[], None] | None = None, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """Start a command as a process of its own; it is killed at the end, if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "mrdaemon", *map(str, arguments)],
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=options.pop("stderr", subprocess.PIPE),
        text=True,
        env={**(os.environ if prepare is None else unmeasured()), **(env or {})},
        preexec_fn=prepare,  # noqa: PLW1509 - it only sets a limit
        **options,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], kind: str) -> Object:
    """Read the JSON Lines of a run until an event of a kind comes."""
    assert process.stdout is not None
    for line in process.stdout:
        event: Object = json.loads(line)
        if event["kind"] == kind:
            return event
    message = f"it ended without {kind}"
    raise AssertionError(message)


CONFIG = """
seed = "{seed}"
[feed]
kind = "file"
files = ["prices.csv"]
speed = "{speed}"
[accounts.paper]
broker = "paper"
[portfolios.core]
account = "paper"
reserve = "{reserve}"
zone = "5%"
mode = "{mode}"
[portfolios.core.positions.QQQ]
target = "{target}"
{opening}
"""


class Place:
    """A folder with a recording, its configuration, and the state of the runs on it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.config, self.recording, self.state = folder / "core.toml", folder / "prices.csv", folder / "state"
        self.rows = 0

    def configure(self, **changes: str) -> Place:
        usual = {"seed": "s", "speed": "max", "reserve": "10000", "target": "5000", "mode": "auto"}
        opening = 'initial = "buy"'
        self.config.write_text(CONFIG.format(**{**usual, "opening": opening, **changes}))
        return self

    def record(self, *prices: float | str, apart: int = 1) -> Place:
        """Add rows to the recording, so many seconds apart, from 15:00 UTC on Monday, 9 March 2020."""
        begun = self.recording.exists()
        with self.recording.open("a") as file:
            if not begun:
                file.write("timestamp,symbol,price\n")
            for price in prices:
                second = self.rows * apart
                file.write(f"2020-03-09T{15 + second // 3600}:{second // 60 % 60:02}:{second % 60:02}Z,QQQ,{price}\n")
                self.rows += 1
        return self

    def arguments(self, *more: str) -> list[str | Path]:
        return ["run", "--json", "-c", self.config, "--state", self.state, *more]

    def run(self, *more: str) -> Outcome:
        return mrdaemon(*self.arguments(*more))

    def events(self) -> list[Object]:
        return mrdaemon("events", "--json", "--state", self.state).objects

    def kinds(self) -> list[str]:
        return [each["kind"] for each in self.events()]

    def of(self, kind: str) -> list[Object]:
        return [each for each in self.events() if each["kind"] == kind]

    def position(self) -> Object:
        position: Object = mrdaemon("status", "--json", "--state", self.state).objects[0]["positions"][0]
        return position

    @property
    def socket(self) -> Path:
        return self.state / SOCKET

    def status(self) -> Object:
        status: Object = mrdaemon("status", "--json", "--state", self.state).objects[0]
        return status

    def tell(self, *arguments: str) -> Outcome:
        """Give a command about this place's state, in this process."""
        return mrdaemon(arguments[0], "--state", self.state, *arguments[1:])


@contextmanager
def daemon(place: Place, *more: str, kind: str = "order_filled", **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a place's daemon as a child; it has got as far as an event of a kind."""
    with child(*place.arguments(*more), **options) as process:
        wait_for(process, kind)
        yield process


# The control socket, without the program's own client


class Answer(NamedTuple):
    """What came back over the control socket."""

    status: int
    body: Any


class Line(http.client.HTTPConnection):
    """A connection to the control socket of a state directory."""

    def __init__(self, directory: Path, patience: float = 20.0) -> None:
        super().__init__("mrdaemon", timeout=patience)
        self.directory = directory

    def connect(self) -> None:
        folder = os.open(self.directory, os.O_RDONLY)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/{SOCKET}")
        finally:
            os.close(folder)


def ask(
    directory: Path,
    method: str,
    path: str,
    body: bytes | Object | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Ask a daemon one thing."""
    line = Line(directory)
    try:
        line.request(method, path, json.dumps(body) if isinstance(body, dict) else body, dict(headers or {}))
        response = line.getresponse()
        return Answer(response.status, json.loads(response.read()))
    finally:
        line.close()


def order(directory: Path, name: str, **fields: Any) -> Answer:
    """Give a daemon a command."""
    return ask(directory, "POST", f"/commands/{name}", fields)


# A terminal


@contextmanager
def on_terminal(*arguments: str | Path, env: dict[str, str] | None = None) -> Iterator[Terminal]:
    """Start a command on a terminal of its own, for its questions and its output."""
    ours, theirs = os.openpty()
    usual = {"TERM": "xterm", "COLUMNS": "120", "LINES": "40", "PYTHONIOENCODING": "utf-8"}
    files: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    termios.tcsetwinsize(theirs, (40, 120))
    with child(*arguments, env={**usual, **(env or {})}, start_new_session=True, **files) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            os.close(ours)


class Terminal:
    """Our end of a terminal."""

    def __init__(self, process: subprocess.Popen[str], ours: int) -> None:
        self.process = process
        self.written = ""
        self._ours = ours

    def read_until(self, text: str) -> str:
        """Read until a text was written since the last call; gives what was."""
        seen = ""
        while text not in seen:
            ready, _, _ = select.select([self._ours], [], [], 20)
            assert ready, f"{text!r} was not written, but {seen!r}"
            block = os.read(self._ours, 65536).decode(errors="replace")
            seen += block
            self.written += block
        return seen

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Read to the end; gives the exit code."""
        with suppress(OSError):  # This is how a terminal says that nobody writes to it any more.
            while block := os.read(self._ours, 65536):
                self.written += block.decode(errors="replace")
        return self.process.wait(20)


# A live daemon as a child, whose prices and broker a test drives by lines on its standard input


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
    program = "from tests.running import live; live()"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, str(folder), mode, "twice" if twice else "once"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
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
