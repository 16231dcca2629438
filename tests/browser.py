"""A real browser, and a live daemon with a dashboard for it to look at, whose prices a test drives.

Between the two lies a cable that a test can cut and freeze.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, sync_playwright

from mrdaemon import desk, logs
from mrdaemon.alerts.channel import Message
from mrdaemon.alerts.composer import AlertRules
from mrdaemon.alerts.manners import Manners
from mrdaemon.brokers import Holding
from mrdaemon.brokers.paper import PaperRules
from mrdaemon.clock import Clock, SystemClock
from mrdaemon.core import engine
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.instant import SECOND
from mrdaemon.core.money import NO_SHARES
from mrdaemon.core.policy import ChannelState, Mode, Plan
from mrdaemon.daemon import Daemon, Parts
from mrdaemon.feeds import Feed
from mrdaemon.herald import Herald
from mrdaemon.journal import Journal
from mrdaemon.output import Output
from mrdaemon.places import HALT, JOURNAL
from mrdaemon.settings import WebTable
from mrdaemon.show import event_object
from mrdaemon.ways import Way
from mrdaemon.web.control import Control
from mrdaemon.web.dashboard import Dashboard
from tests import live
from tests.builders import RAW, Market, dollars, plan, position
from tests.live import Live, MoodyBroker, Wire
from tests.running import ROOT

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
PATIENCE = 15_000
"""Milliseconds that a page may take for anything."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page of a dashboard, and what it asked for and complained of."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        self.asked: set[str] = set()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("request", lambda request: self.asked.add(urlsplit(request.url).netloc))

    def sign_in(self, token: str) -> None:
        """Open the address as ``mrdaemon dashboard`` prints it, and wait for the first position."""
        self.page.goto(f"{self.address}/login#token={token}")
        self.page.wait_for_url("**/")
        self.page.wait_for_selector(".position .worth")

    def until(self, condition: str, argument: object = None) -> None:
        """Wait until a condition holds in the page."""
        self.page.wait_for_function(condition, arg=argument)

    def needle(self, key: str) -> float:
        """Give where a position's value stands in its gauge, in percent."""
        mark = self.page.locator(f'[data-key="{key}"] .mark').get_attribute("x") or ""
        return float(mark.removesuffix("%"))

    def worth(self, key: str) -> str:
        return self.page.locator(f'[data-key="{key}"] .worth').inner_text()


def obstacles(page: Page) -> list[str]:
    """Give what axe finds, rule by rule."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:120]}: {node['failureSummary']}" for each in found for node in each["nodes"]]


@contextmanager
def visiting(
    browser: Browser, address: str, *, size: dict[str, int] | None = None, theme: str = "light", **options: Any
) -> Iterator[Visit]:
    """Open a window of its own, without anything that another one kept."""
    context = browser.new_context(
        viewport=size or DESKTOP,  # type: ignore[arg-type]  # a ViewportSize is such a dictionary
        color_scheme=theme,  # type: ignore[arg-type]
        reduced_motion="reduce",
        **options,
    )
    try:
        yield Visit(context.new_page(), address)
    finally:
        context.close()


# A daemon that has a dashboard


def _plan(count: int, stale_after: int | None) -> Plan:
    """Hold 50 each, at a target of $5,000: QQQ trades, SPY asks, KO tells; or so many that trade."""
    modes = {"QQQ": Mode.AUTO, "SPY": Mode.APPROVE, "KO": Mode.ALERT}
    if count:
        modes = {f"S{number:03}": Mode.AUTO for number in range(count)}
    prints = msgspec.structs.replace(RAW, stale_after=stale_after)
    return plan(*(position(name, "50", mode=mode) for name, mode in modes.items()), reserve="20000", prints=prints)


class Phone:
    """A channel that takes whatever is sent; a signal says of its connection that it is there, or is not."""

    name = "phone"
    stands: Callable[[ChannelState, str], Awaitable[None]] | None = None

    async def __aenter__(self) -> Self:
        said = {signal.SIGUSR1: (ChannelState.UP, ""), signal.SIGUSR2: (ChannelState.DOWN, "nobody answers")}
        for number, word in said.items():
            asyncio.get_running_loop().add_signal_handler(number, self._say, *word)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Say nothing."""

    async def deliver(self, message: Message) -> None:
        """Take it."""

    def _say(self, state: ChannelState, reason: str) -> None:
        assert self.stands is not None
        self._saying = asyncio.ensure_future(self.stands(state, reason))


async def serve_live(
    folder: Path, port: int, wanted: Plan, clock: Clock, feed: Callable[[MoodyBroker], Feed], ways: Sequence[Way] = ()
) -> None:
    """Run a daemon with a dashboard, and say where that is, and all that happens, on standard output."""

    async def watch(engine: Engine, events: Sequence[ev.Event]) -> None:
        for event in events:
            live.said.line(json.dumps(event_object(event)))

    logs.configure()
    live.said = Output()
    market, places = Market(), [each for portfolio in wanted.portfolios for each in portfolio.positions]
    paper = PaperRules(dollars(100_000), {each.symbol: Holding(each.shares or NO_SHARES, None) for each in places})
    async with (
        Journal(folder / JOURNAL) as journal,
        MoodyBroker(folder / "paper-paper.db", paper, market, clock.now) as broker,
    ):
        parts = Parts(market, clock, {"paper": broker}, "nonce", folder / HALT)
        daemon = Daemon(parts, journal, journal.load().state, watch=watch)
        daemon.open(wanted, None)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, daemon.stop, "SIGTERM received")
        table = WebTable(listen=f"127.0.0.1:{port}")
        shown = Dashboard(daemon, journal.path, table, folder, "weekend")
        herald = Herald(daemon, journal, AlertRules(), ways)
        async with Control(daemon, journal.path), shown, herald:
            live.said.line(json.dumps({"kind": "dashboard", "link": shown.link}))
            await daemon.run(feed(broker))
    live.said.close(1.0)


def serve() -> None:
    """Run one that a test drives: the child's side. What takes seconds takes less."""
    desk.RETRY, desk.LOOK_AGAIN, engine.STALE_CHECK = 0.05, 0.2, SECOND  # type: ignore[misc]
    folder, port, count, stale_after = sys.argv[1:]
    wanted = _plan(int(count), int(stale_after) or None)
    asyncio.run(serve_live(Path(folder), int(port), wanted, SystemClock(), Wire, [Way(Phone(), Manners("phone"))]))


class Watched(Live):
    """A live daemon with a dashboard: our side."""

    def __init__(self, process: subprocess.Popen[str], state: Path) -> None:
        super().__init__(process, state)
        address, _, self.token = self.hear("dashboard")["link"].partition("/login#token=")
        self.address = address
        self.port = urlsplit(address).port or 0

    def price(self, price: float, symbol: str = "QQQ") -> None:
        self.say(f"price {price} {symbol}")


@contextmanager
def started(program: str, *arguments: object) -> Iterator[Watched]:
    """Start a daemon with a dashboard as a child that runs a program; it is ready to trade."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            daemon = Watched(process, Path(str(arguments[0])))
            daemon.hear("account_reconciled")
            yield daemon
        finally:
            process.kill()


@contextmanager
def watched_daemon(folder: Path, *, port: int = 0, count: int = 0, stale_after: int = 0) -> Iterator[Watched]:
    """Start one that sees every symbol at $100. ``count``: how many; ``stale_after``: seconds, 0 for never."""
    folder.mkdir(exist_ok=True)
    with started("from tests.browser import serve; serve()", folder, port, count, stale_after) as daemon:
        for each in _plan(count, None).portfolios[0].positions:
            daemon.price(100, each.symbol)
        yield daemon


# The way between them


class Cable:
    """Passes bytes on between a browser and a daemon, until it is cut; or keeps them, while it is frozen."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._frozen = False
        self._over = False
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)
        self._thread.start()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=64)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        return listener

    def cut(self) -> None:
        """End every connection, and let no other in."""
        with self._lock:
            self._selector.unregister(self._listener)
            self._listener.close()
            for each in list(self._pairs):
                self._drop(each)

    def mend(self) -> None:
        """Let connections in again."""
        with self._lock:
            self._listener = self._listen(self.port)

    def freeze(self) -> None:
        """Pass nothing on any more, and say nothing of it, as a network does whose router has gone."""
        self._frozen = True

    def thaw(self) -> None:
        """Pass bytes on again."""
        self._frozen = False

    def close(self) -> None:
        self._over = True
        self._thread.join(5)
        with self._lock:
            for each in list(self._pairs):
                self._drop(each)
            self._listener.close()
            self._selector.close()

    def _run(self) -> None:
        while not self._over:
            ready = self._selector.select(0.02)
            with self._lock:
                for key, _ in ready:
                    if not self._frozen:
                        self._pass(key.fileobj)  # type: ignore[arg-type]  # we registered nothing else

    def _pass(self, end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if end is self._listener:
                self._connect(end.accept()[0])
            elif end in self._pairs:
                block = end.recv(65536)
                if block:
                    self._pairs[end].sendall(block)
                else:
                    self._drop(end)
            return
        self._drop(end)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            one.setblocking(True)
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _drop(self, end: socket.socket) -> None:
        other = self._pairs.get(end)
        for each in (end, other):
            if each is not None and self._pairs.pop(each, None) is not None:
                self._selector.unregister(each)
                each.close()


@contextmanager
def cable(port: int) -> Iterator[Cable]:
    """Lay a cable to a port."""
    laid = Cable(port)
    try:
        yield laid
    finally:
        laid.close()
