"""A daemon with a dashboard on this test's own loop: real sockets and a real journal, and everything within reach."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from mrdaemon.clock import SystemClock
from mrdaemon.core.instant import Instant
from mrdaemon.core.policy import Mode
from mrdaemon.core.prints import Print, trade_print
from mrdaemon.daemon import Daemon, Parts
from mrdaemon.feeds import Deliver
from mrdaemon.journal import Journal
from mrdaemon.places import HALT, JOURNAL
from mrdaemon.settings import WebTable
from mrdaemon.web.dashboard import Dashboard
from tests.builders import Market, plan, position
from tests.webbed import Told

LOOPBACK = WebTable(listen="127.0.0.1:0")


class Prices:
    """A stream whose prices a test says."""

    lockstep = False
    name = "said"

    def __init__(self) -> None:
        self.delivered = self.refused = 0
        self._said: asyncio.Queue[list[Print]] = asyncio.Queue()

    def say(self, prices: Mapping[str, float]) -> None:
        now = SystemClock().now()
        self._said.put_nowait([trade_print(symbol, float(price), now) for symbol, price in prices.items()])

    def say_at(self, symbol: str, price: float, at: int) -> None:
        """Say one that claims a time."""
        self._said.put_nowait([trade_print(symbol, price, Instant(at))])

    async def run(self, deliver: Deliver) -> None:
        while True:
            batch = await self._said.get()
            self.delivered += len(batch)
            await deliver(batch, None)


class Inside:
    """A daemon with a dashboard, from within."""

    def __init__(self, daemon: Daemon, prices: Prices, dashboard: Dashboard) -> None:
        self.daemon, self.prices, self.dashboard = daemon, prices, dashboard
        self.port = int(dashboard.address.rpartition(":")[2])
        self.token = dashboard.link.rpartition("=")[2]
        self.lookers: list[Looker] = []

    async def look(self, last_event: str = "") -> Looker:
        """Open a dashboard."""
        looker = await self.connect()
        more = f"Last-Event-ID: {last_event}\r\n" if last_event else ""
        looker.say(f"GET /api/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n{more}\r\n")
        return looker

    async def connect(self) -> Looker:
        self.lookers.append(Looker(*await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)))
        return self.lookers[-1]


class Looker:
    """One who looks, over a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        assert isinstance(writer.transport, asyncio.Transport)
        self._transport = writer.transport
        self._begun = False

    def say(self, text: str) -> None:
        self.writer.write(text.encode())

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer."""
        self._begun = True
        status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in lines)

    async def hear(self, event: str) -> Told:
        """Wait for the next event of a name."""
        if not self._begun:
            assert (await self.head())[0] == 200
        while True:
            block = await self._chunk()
            for each in block.decode().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in each.split("\n") if ": " in line)
                if fields.get("event") == event:
                    return Told(event, json.loads(fields["data"]), fields.get("id"))

    async def _chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        assert size, "the stream ended"
        return (await self.reader.readexactly(size + 2))[:-2]

    async def positions(self) -> dict[str, Any]:
        """Read the next event that has positions in it, by symbol."""
        while not (found := (await self.hear("positions")).data["changed"]):
            pass
        return {each["symbol"]: each for each in found}

    async def ended(self) -> bytes:
        """Read to the end, in whichever way it comes."""
        with suppress(ConnectionResetError):
            return await self.reader.read()
        return b""

    def pause(self) -> None:
        """Take nothing more of what is sent."""
        self._transport.pause_reading()

    def go_on(self) -> None:
        self._transport.resume_reading()

    def close(self) -> None:
        self.writer.close()


def symbols(count: int) -> list[str]:
    return [f"S{number:03}" for number in range(count)]


@asynccontextmanager
async def inside(folder: Path, count: int = 2, table: WebTable = LOOPBACK) -> AsyncIterator[Inside]:
    """Run a daemon that watches so many positions at a target of $5,000, each with 50 shares."""
    held = [position(name, "50", mode=Mode.ALERT) for name in symbols(count)]
    prices = Prices()
    async with Journal(folder / JOURNAL) as journal:
        state = journal.load().state
        parts = Parts(calendar=Market(), clock=SystemClock(), brokers={}, nonce="n", halt_file=folder / HALT)
        daemon = Daemon(parts, journal, state)
        daemon.open(plan(*held, account={"broker": "none"}), None)
        async with Dashboard(daemon, journal.path, table, folder, "ours") as dashboard:
            running = asyncio.create_task(daemon.run(prices))
            found = Inside(daemon, prices, dashboard)
            try:
                yield found
            finally:
                for each in found.lookers:
                    each.writer.transport.abort()
                daemon.stop("the test is over")
                await running
