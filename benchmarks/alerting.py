"""A live daemon on prices from memory at full speed, some of which fire; with or without a way out, or a dashboard.

It runs in a process of its own, is told what to do by lines on its standard input, says on its standard output how its
channel stands, and keeps its counts in a file that its parent shares: so it can be stopped and let go on at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import mmap
import random
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from benchmarks.market import QUIET, symbol
from benchmarks.measuring import check
from mrdaemon import logs, outbox
from mrdaemon.alerts.alert import Alert
from mrdaemon.alerts.composer import AlertRules
from mrdaemon.asking import Asking
from mrdaemon.calendar import AlwaysCalendar
from mrdaemon.clock import SystemClock
from mrdaemon.config import Config, read
from mrdaemon.core.prints import Print, trade_print
from mrdaemon.daemon import Daemon, Parts
from mrdaemon.feeds import Deliver
from mrdaemon.herald import Herald
from mrdaemon.journal import Journal
from mrdaemon.outbox import Outcome
from mrdaemon.places import HALT, JOURNAL
from mrdaemon.planning import plan
from mrdaemon.viewing import Viewing
from mrdaemon.ways import ways
from mrdaemon.web.dashboard import Dashboard

POSITIONS: Final = 1_000
HOT: Final = 20
"""Symbols whose prices fire."""
SIGNALS: Final = 40
"""Of them, in a second of this process' processor time: that stands still while it is stopped."""
BATCH: Final = 20
"""Prints in a batch: about what a busy stream has in a frame."""
BATCHES: Final = 1_000
"""After which they begin again."""
PATIENCE_S: Final = 120.0
CHANNEL: Final = "house"
COUNTS: Final = struct.Struct("=qdd")


class Count(NamedTuple):
    """How many prints were taken, and the longest time for which none was, in seconds."""

    prints: int
    clock: float
    processor: float
    """What the loop's thread worked meanwhile."""


class Counts:
    """The counts, shared with the parent."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(bytes(COUNTS.size))
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), COUNTS.size)

    def read(self) -> Count:
        """Give what was counted."""
        return Count(*COUNTS.unpack_from(self._shared))

    def write(self, prints: int, clock: float, processor: float) -> None:
        """Count."""
        COUNTS.pack_into(self._shared, 0, prints, clock, processor)


class Market:
    """A feed that hands over a batch as soon as the last one was taken, and now and then a price that fires."""

    lockstep = False
    name = "memory"
    refused = 0

    def __init__(self, counts: Counts) -> None:
        self.delivered = self.signals = 0
        self.fires = True
        self.watched = False
        """Whether it is noted for how long no price was taken."""
        self._counts = counts
        draw = random.Random(1)
        at = SystemClock().now()
        quiet = [
            trade_print(symbol(draw.randrange(HOT, POSITIONS)), round(QUIET + draw.uniform(-2, 2), 2), at)
            for _ in range(BATCH * BATCHES)
        ]
        self._batches = [quiet[start : start + BATCH] for start in range(0, len(quiet), BATCH)]

    async def run(self, deliver: Deliver) -> None:
        """Deliver until cancelled."""
        clock, processor = 0.0, 0.0
        for batch in itertools.cycle(self._batches):
            await deliver(batch, None)
            self.delivered += BATCH
            if self.fires and time.process_time() * SIGNALS >= self.signals:
                await deliver([self._firing()], None)
            if self.watched:
                begun, worked = time.perf_counter(), time.thread_time()
                await asyncio.sleep(0)
                clock = max(clock, time.perf_counter() - begun)
                processor = max(processor, time.thread_time() - worked)
            else:
                clock, processor = 0.0, 0.0
                await asyncio.sleep(0)
            self._counts.write(self.delivered, clock, processor)

    def _firing(self) -> Print:
        """Let a price jump to the other side of its zone, which raises a signal there, and readies the other side."""
        self.signals += 1
        number, side = self.signals % HOT, self.signals // HOT % 2
        return trade_print(symbol(number), 94.0 if side else 106.0, SystemClock().now())


class Stage(NamedTuple):
    """A daemon that runs, and what its parent may ask of it."""

    daemon: Daemon
    market: Market
    journal: Journal

    async def obey(self) -> None:
        """Do as the parent says, until it says no more."""
        while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
            match word:
                case "keep":
                    await self.journal.tell(await asyncio.to_thread(_a_minute_of, self.journal.path))
                case "watch" | "watch no more":
                    self.market.watched = word == "watch"
                case "send":
                    await self._until_sent()
            say(f"done {word}")

    async def tell(self) -> None:
        """Say how the channel stands, whenever that changes."""
        told = ""
        while True:
            known = self.daemon.engine.state.channels.get(CHANNEL)
            if known is not None and known.state.value != told:
                told = known.state.value
                say(told)
            await asyncio.sleep(0.02)

    async def _until_sent(self) -> None:
        """Let no price fire until everything that was said was sent."""
        self.market.fires = False
        last = await asyncio.to_thread(outbox.last, self.journal.path)
        await self._until(lambda: outbox.backlog(self.journal.path, CHANNEL).upto >= last)
        self.market.signals, self.market.fires = int(time.process_time() * SIGNALS), True

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.1)


def _a_minute_of(journal: Path) -> list[Alert]:
    """Give as many alerts as a minute has signals."""
    newest = next(letter for letter, _ in reversed(outbox.latest(journal, 100)) if letter.alert.kind == "signal_raised")
    return [msgspec.structs.replace(newest.alert, id=f"minute-{newest.n}-{each}") for each in range(60 * SIGNALS)]


async def run(config: Config, folder: Path) -> int:
    """Run a daemon as the program does, but for its feed; gives the signals that it raised."""
    settings, market = config.settings, Market(Counts(folder / "counts"))
    async with Journal(folder / JOURNAL) as journal:
        state = journal.load().state
        parts = Parts(AlwaysCalendar(), SystemClock(), {}, "benchmark", folder / HALT)
        daemon = Daemon(parts, journal, state)
        daemon.open(plan(settings), None)
        async with contextlib.AsyncExitStack() as around:
            if settings.channels:
                out = ways(config, journal.path, Viewing(daemon, folder), Asking(daemon, journal.path)).out
                await around.enter_async_context(Herald(daemon, journal, AlertRules(digest=False), out))
            if settings.web.listen is not None:
                served = Dashboard(daemon, journal.path, settings.web, folder, "benchmark")
                await around.enter_async_context(served)
            gc.collect()
            gc.freeze()  # as the program does
            stage = Stage(daemon, market, journal)
            say("started")
            running, telling = asyncio.create_task(daemon.run(market)), asyncio.create_task(stage.tell())
            await stage.obey()
            telling.cancel()
            daemon.stop("measured")
            await running
        return sum(each.number for each in daemon.engine.state.positions.values())


def verify(journal: Path, signals: int, *, channels: bool) -> None:
    """See that what was to be measured happened: signals, an alert for each, and each delivered."""
    check(holds=signals >= SIGNALS, what=f"signals, got {signals}")
    said = [each for each in outbox.latest(journal, 100_000) if each[0].alert.kind == "signal_raised"]
    real = [became for letter, became in said if not letter.alert.id.startswith("minute-")]
    check(holds=len(real) == (signals if channels else 0), what=f"an alert for each of {signals}, got {len(real)}")
    outcomes = [each.outcome for _, became in said for each in became]
    check(holds=outcomes == [Outcome.DELIVERED] * len(said), what=f"each delivered, got {len(outcomes)} of {len(said)}")


def say(word: str) -> None:
    """Tell the parent."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logs.configure()
    chosen = read(Path(sys.argv[1]))
    place = Path(sys.argv[1]).parent
    raised = asyncio.run(run(chosen, place))
    verify(place / JOURNAL, raised, channels=bool(chosen.settings.channels))
