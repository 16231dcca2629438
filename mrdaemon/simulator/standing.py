"""The simulator as a command: what a person asked for, what it tells them, and how it runs until it is stopped."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import msgspec

from mrdaemon.calendar import AlwaysOpen, MarketCalendar
from mrdaemon.core.instant import Instant, from_datetime, iso, parse
from mrdaemon.feeds.file import parse_speed
from mrdaemon.simulator.exchange import ExchangeRules
from mrdaemon.simulator.faults import Faults
from mrdaemon.simulator.keys import Keys, Plan
from mrdaemon.simulator.pace import PacedClock
from mrdaemon.simulator.prices import DEMO, FilePrices, Prices, WalkPrices
from mrdaemon.simulator.server import serving
from mrdaemon.simulator.simulator import Simulator
from mrdaemon.simulator.walk import Walk

if TYPE_CHECKING:
    from mrdaemon.core.sessions import Calendar, Sessions
    from mrdaemon.feeds.csvrows import RowProblem

Say = Callable[[str], None]

_SNIPPET: Final = """\
[feed]
kind = "alpaca"

[accounts.alpaca]
broker = "alpaca"
url = "{url}"
key = "{key}"
secret = "{secret}"
"""
_OPEN: Final = """
[prices]
sessions = "always"
"""


class NeverCloses:
    """A calendar in which every market is open at any time, so that the simulator can be tried on a Sunday."""

    def __init__(self) -> None:
        self._sessions = AlwaysOpen()

    def sessions(self, symbol: str) -> Sessions:  # noqa: ARG002 - all trade alike
        """Give the sessions of a symbol's market."""
        return self._sessions


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asked for on the command line."""

    port: int
    symbols: Mapping[str, float]
    """First prices of a random walk."""
    files: Sequence[Path]
    """Recorded prices, instead of the walk."""
    start: Instant | None
    """Where the simulator's time begins; None is now."""
    speed: float
    seed: str
    faults: str | None
    """The seed of what goes wrong; None lets nothing go wrong."""
    plan: Plan
    key: str
    secret: str
    cash: Decimal
    always_open: bool
    as_json: bool


class WishError(ValueError):
    """Something that was asked for cannot be read, or cannot be had."""


def read_symbols(text: str) -> dict[str, float]:
    """Read first prices, ``QQQ=500,SPY=600``.

    Raises:
        WishError: it is something else.
    """
    prices: dict[str, float] = {}
    for each in filter(None, (part.strip() for part in text.split(","))):
        symbol, _, price = each.partition("=")
        try:
            prices[symbol.strip().upper()] = float(price)
        except ValueError:
            prices[symbol.strip().upper()] = 0.0
        if not symbol.strip() or not 0 < prices[symbol.strip().upper()] < float("inf"):
            message = f"wanted symbols with a price above zero, such as QQQ=500,BTC/USD=60000, got {each!r}"
            raise WishError(message)
    return prices


def read_files(names: Sequence[Path]) -> list[Path]:
    """Read which files are played; ``demo`` is the bundled recording."""
    return [DEMO if str(each) == "demo" else each for each in names]


def read_speed(text: str) -> float:
    """Read how fast time or prices run, ``60x``.

    Raises:
        WishError: it is something else, such as ``max``.
    """
    try:
        speed = parse_speed(text)
    except ValueError:
        speed = None
    if speed is None:
        message = f"wanted a speed such as 1x or 60x, got {text!r}"
        raise WishError(message)
    return speed


def read_start(text: str) -> Instant:
    """Read where time begins; without an offset it is New York's.

    Raises:
        WishError: it is no date-time.
    """
    try:
        read = parse(text)
    except ValueError as problem:
        message = f"wanted a date and a time such as 2026-01-05T09:30, got {text!r}"
        raise WishError(message) from problem
    return read if isinstance(read, int) else from_datetime(read.replace(tzinfo=ZoneInfo("America/New_York")))


async def run(wishes: Wishes, say: Say) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        WishError: the port cannot be had.
        FeedError: the files hold no prices.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    clock = PacedClock(wishes.start, wishes.speed if wishes.start is not None else 1.0)
    simulator, calendar = _built(wishes, clock)
    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(serving(simulator, port=wishes.port, speed=clock.speed))
        except OSError as problem:
            message = f"port {wishes.port}: {problem.strerror}; choose another with --port, 0 takes a free one"
            raise WishError(message) from problem
        for line in _greeting(wishes, url, clock):
            say(line)
        pricing = asyncio.create_task(
            _prices(wishes, simulator, calendar, clock, say).run(simulator.see), name="prices"
        )
        waiting = asyncio.create_task(stopped.wait(), name="until stopped")
        await asyncio.wait({pricing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if pricing.done():
            pricing.result()
            if not wishes.as_json:
                say("The recording is over; the last prices stand. Ctrl-C stops.")
            await waiting
        pricing.cancel()
        waiting.cancel()


def _built(wishes: Wishes, clock: PacedClock) -> tuple[Simulator, Calendar]:
    calendar: Calendar = NeverCloses() if wishes.always_open else MarketCalendar()
    rules = ExchangeRules(seed=_number(wishes.seed), cash=wishes.cash)
    faults = Faults() if wishes.faults is None else Faults.seeded(wishes.faults)
    keys = Keys(wishes.key, wishes.secret, plan=wishes.plan)
    return Simulator(clock.now, calendar, rules=rules, keys=keys, faults=faults), calendar


def _prices(wishes: Wishes, simulator: Simulator, calendar: Calendar, clock: PacedClock, say: Say) -> Prices:
    if not wishes.files:
        every = 1.0 if wishes.start is not None else 1.0 / wishes.speed
        walk = Walk(wishes.symbols, wishes.seed, clock.now(), every)
        simulator.on_split = walk.split
        return WalkPrices(walk, clock)

    def report(problem: RowProblem) -> None:
        if not wishes.as_json:
            say(str(problem))

    faster = None if wishes.start is not None else wishes.speed
    return FilePrices(wishes.files, calendar, clock, report=report, faster=faster)


def _greeting(wishes: Wishes, url: str, clock: PacedClock) -> list[str]:
    if wishes.as_json:
        return [json.dumps({"url": url, "key": wishes.key, "secret": wishes.secret})]
    source = ", ".join(each.name for each in wishes.files) or ", ".join(
        f"{symbol} from {price:g}" for symbol, price in wishes.symbols.items()
    )
    return [
        f"A local Alpaca listens at {url}. It is the market, the broker and the account; nothing leaves this machine.",
        f"Key {wishes.key}, secret {wishes.secret}, plan {wishes.plan}, cash ${wishes.cash:,.2f}.",
        f"Prices: {source} ({'recorded' if wishes.files else 'a random walk'}). It is {iso(clock.now())}.",
        "Every market is open at any time." if wishes.always_open else "Stocks trade in New York's sessions only.",
        "Nothing goes wrong."
        if wishes.faults is None
        else f"Things go wrong now and then, as the seed {wishes.faults!r} has it.",
        "",
        "To trade here, put this into a configuration:",
        "",
        *_snippet(wishes, url).splitlines(),
        "",
        f"How everything stands: {url}/simulator/state. Ctrl-C stops.",
    ]


def _snippet(wishes: Wishes, url: str) -> str:
    """Write what leads a daemon here."""
    return _SNIPPET.format(url=url, key=wishes.key, secret=wishes.secret) + (_OPEN if wishes.always_open else "")


def _number(seed: str) -> int:
    """Make a number of a seed's text."""
    return int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "big")
