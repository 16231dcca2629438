"""What tests of the Alpaca client share: a clock that they move, and a server that misbehaves."""

from __future__ import annotations

import asyncio
import heapq
import json
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from itertools import count
from typing import NamedTuple

import msgspec

from mrdaemon.alpaca.limiter import Limiter
from mrdaemon.alpaca.link import Connection
from mrdaemon.alpaca.login import Login
from mrdaemon.alpaca.rest import Rest, threads
from mrdaemon.alpaca.socket import connect
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.policy import FeedState
from mrdaemon.core.prints import Print, Trade, quote_print, trade_print
from mrdaemon.core.sessions import Calendar
from mrdaemon.simulator.exchange import ExchangeRules
from mrdaemon.simulator.faults import Fault
from mrdaemon.simulator.keys import Keys, Plan
from mrdaemon.simulator.server import serving
from mrdaemon.simulator.simulator import Simulator
from mrdaemon.simulator.standing import NeverCloses

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "websockets.legacy is deprecated", DeprecationWarning)
    import alpaca.trading.client  # noqa: F401 - takes longer to load than a test lets a request take

OPEN_MARKET = Instant(1_791_469_800 * SECOND)
"""2026-10-08T14:30:00Z, a Thursday, an hour after the open."""
WITHIN = 15.0
"""Seconds in which whatever a test waits for must have come."""


class MovedClock:
    """Stands still until it is moved; who sleeps wakes when the time has come. Remembers who slept how long."""

    def __init__(self, now: Instant = OPEN_MARKET) -> None:
        self.slept: list[float] = []
        self._now = now
        self._sleepers: list[tuple[Instant, int, asyncio.Future[None]]] = []
        self._count = count()

    def now(self) -> Instant:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken = asyncio.get_running_loop().create_future()
        due = Instant(self._now + round(seconds * SECOND))
        heapq.heappush(self._sleepers, (due, next(self._count), woken))
        if seconds <= 0:
            self.move(0)
        await woken

    @property
    def waiting(self) -> int:
        """How many sleep."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    def move(self, seconds: float) -> None:
        """Let time pass; whoever was to wake meanwhile wakes now."""
        self._now = Instant(self._now + round(seconds * SECOND))
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)


class SkippingClock(MovedClock):
    """Lets time pass as soon as somebody sleeps, and so waits for nobody."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now = Instant(self._now + round(seconds * SECOND))
        await asyncio.sleep(0)


async def until(condition: Callable[[], object], turn: Callable[[], object] | None = None) -> None:
    """Wait until something is so; ``turn`` is called again and again meanwhile."""
    async with asyncio.timeout(WITHIN):
        while not condition():
            if turn is not None:
                turn()
            await asyncio.sleep(0.002)


@asynccontextmanager
async def running(job: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run something beside the test, to the test's end; where it fails, the test fails at once."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(job)
        yield
        task.cancel()


# A server that misbehaves


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


class Wire(NamedTuple):
    """A client's connection, as a server sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self) -> Asked:
        """Wait for a request."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        return Asked(method, path, headers, await self.reader.readexactly(int(headers.get("content-length", "0"))))

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    def cut(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()


Answer = Callable[[Asked, Wire], Awaitable[None]]


class Server:
    """Takes requests, counts them, and answers as a test tells it to."""

    listening: asyncio.Server

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def count(self, method: str) -> int:
        return sum(each.method == method for each in self.asked)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        wire = Wire(reader, writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    asked = await wire.ask()
                    self.asked.append(asked)
                    await self.answer(asked, wire)
        except asyncio.CancelledError:
            pass
        finally:
            wire.cut()

    async def leave(self) -> None:
        """Listen no more."""
        self.listening.close()
        await self.listening.wait_closed()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def misbehaving(answer: Answer) -> AsyncIterator[Server]:
    """Serve on a loopback port."""
    server = Server(answer)
    server.listening = await asyncio.start_server(server.take, "127.0.0.1", 0)
    host, port = server.listening.sockets[0].getsockname()
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        server.listening.close()
        await server.end()


def saying(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """Answer everything alike."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def answer(asked: Asked, wire: Wire) -> None:
        wire.answer(status, raw, headers)

    return answer


async def never(asked: Asked, wire: Wire) -> None:
    """Answer nothing."""
    await asyncio.Event().wait()


async def cut(asked: Asked, wire: Wire) -> None:
    """Reset the connection instead of an answer."""
    wire.cut()


def unbound() -> str:
    """Give a loopback address at which nobody listens."""
    import socket  # noqa: PLC0415

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


# The local Alpaca


class Heard:
    """Takes what a feed says."""

    def __init__(self) -> None:
        self.prints: list[Print] = []
        self.states: list[tuple[str, FeedState, str]] = []
        self.news: list[tuple[str, str | None]] = []
        self.busts: list[tuple[str, int, Print | None]] = []
        self.halting: frozenset[str] = frozenset()

    async def deliver(self, batch: Sequence[Print], cursor: int | None) -> None:
        self.prints += batch

    def stands(self, feed: str, state: FeedState, reason: str) -> None:
        self.states.append((feed, state, reason))

    def halted(self, symbol: str, reason: str | None) -> None:
        self.news.append((symbol, reason))

    def busted(self, symbol: str, trade: int, corrected: Print | None) -> None:
        self.busts.append((symbol, trade, corrected))

    def halts(self) -> frozenset[str]:
        return self.halting

    @property
    def trades(self) -> list[tuple[str, float]]:
        """Which trades were delivered."""
        return [(each[0], each[1]) for each in self.prints if isinstance(each[4], Trade)]

    @property
    def state(self) -> FeedState | None:
        return self.states[-1][1] if self.states else None

    def was(self, state: FeedState) -> int:
        """How often it came to a state."""
        return sum(each[1] is state for each in self.states)


class Local:
    """A simulator on a loopback port and on a clock that stands still, and a client of it."""

    def __init__(self, simulator: Simulator, clock: MovedClock, url: str, rest: Rest) -> None:
        self.simulator, self.clock, self.url, self.rest = simulator, clock, url, rest
        self.login = Login.of(simulator.keys.key_id, simulator.keys.secret, live=False, url=url)
        self.said: list[dict[str, object]] = []
        """What clients said on market data streams."""

    def trade(self, symbol: str, *prices: float, conditions: str = "@") -> None:
        """Let trades happen now, a millisecond apart."""
        for price in prices:
            self.clock.move(0.001)
            self.simulator.see([trade_print(symbol, price, self.clock.now(), Trade(conditions, 100.0))])

    def quote(self, symbol: str, bid: float, ask: float) -> None:
        self.clock.move(0.001)
        self.simulator.see([quote_print(symbol, bid, ask, self.clock.now())])

    def fault(self, name: str, **fields: object) -> None:
        self.simulator.faults.begin(msgspec.convert({"name": name, **fields}, Fault))
        self.simulator.meet_faults()

    def pass_time(self, seconds: float = 0.5) -> None:
        self.clock.move(seconds)
        self.simulator.on_change()

    def asked(self, method: str, path: str) -> list[int]:
        """With which status each request was answered."""
        return [each.status for each in self.simulator.requests if each.method == method and each.path.startswith(path)]

    async def connect(self, address: str, headers: Mapping[str, str]) -> Connection:
        """Open a socket, and listen in."""
        connection = await connect(address, headers)
        return Overheard(connection, self.said)


class Overheard:
    """A connection whose client is listened to."""

    def __init__(self, connection: Connection, said: list[dict[str, object]]) -> None:
        self.recv, self.close = connection.recv, connection.close
        self._connection, self._said = connection, said

    async def send(self, message: str | bytes) -> None:
        with suppress(msgspec.DecodeError):
            self._said.append(msgspec.msgpack.decode(message if isinstance(message, bytes) else message.encode()))
        await self._connection.send(message)


@asynccontextmanager
async def local(
    calendar: Calendar | None = None, plan: Plan = Plan.FREE, reap_s: float = 0.1, cash: str = "100000.00"
) -> AsyncIterator[Local]:
    """Serve a local Alpaca whose clock stands still, and which soon lets go of connections that broke."""
    clock = MovedClock()
    rules = ExchangeRules(partial_fills=Decimal(0), cash=Decimal(cash))
    reap = int(reap_s * SECOND)
    simulator = Simulator(clock.now, calendar or NeverCloses(), rules=rules, keys=Keys(plan=plan), reap=reap)
    async with serving(simulator) as url, threads(Login.of("PKSIMULATOR", "simulated", live=False, url=url)) as carrier:
        yield Local(simulator, clock, url, Rest(carrier, Limiter(clock), clock))
