"""One print that crosses ten thousand positions: decided, durable, sent to the paper broker, and acknowledged.

The bare side makes the same number of rows durable in the same number of commits, in a file for the journal and one for
the broker's book, with the same settings and nothing else. Its share is what the disk alone costs.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from benchmarks.market import ACCOUNT, CROSSING, OPEN, QUIET, cash, held, plan, seen, start, symbol
from benchmarks.measuring import bare_database, check, report, workplace
from mrdaemon.brokers import Holding
from mrdaemon.brokers.paper import PaperBroker, PaperRules
from mrdaemon.calendar import MarketCalendar
from mrdaemon.clock import RecordedClock
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.events import OrderStatus
from mrdaemon.desk import Desk
from mrdaemon.journal import Journal

POSITIONS = 10_000
ROUNDS = 3
ENOUGH_S = 40.0
"""No further round is begun after so long: where a disk is slow, one is much the same as the next."""


class Burst(NamedTuple):
    """Seconds of each stage of a burst, and of the bare commits."""

    decide: float
    journal: float
    desk: float
    bare: float
    commits: int

    @property
    def total(self) -> float:
        """Seconds from the print to the last answer that is durable."""
        return self.decide + self.journal + self.desk


async def burst(folder: Path) -> Burst:
    """Build what a daemon is made of, and let one print cross all positions."""
    wanted, calendar, clock = plan(POSITIONS, 1), MarketCalendar(), RecordedClock(OPEN)
    holdings = {name: Holding(shares, None) for name, shares in held(wanted).items()}
    broker = PaperBroker(folder / "book.db", PaperRules(cash=cash(wanted), holdings=holdings), calendar, clock.now)
    async with Journal(folder / "journal.db") as journal, broker:
        engine = Engine(journal.load().state, calendar)

        async def commit(events: Sequence[ev.Event]) -> None:
            await journal.append(events)

        desk = Desk(engine, {ACCOUNT: broker}, clock, commit, folder / "HALT")
        await commit(start(engine, wanted) + engine.prints([seen(symbol(0), QUIET)], OPEN))
        before, crossing = journal.seq, seen(symbol(0), CROSSING)
        broker.follow([crossing])

        begun = time.perf_counter()
        events = engine.prints([crossing], OPEN)
        decided = time.perf_counter()
        await commit(events)
        durable = time.perf_counter()
        await desk.carry_out(events)
        ended = time.perf_counter()

        intents = [each.order for each in events if isinstance(each, ev.OrderIntended)]
        check(holds=len(intents) == len(set(intents)) == POSITIONS, what=f"exactly {POSITIONS} orders")
        answered = [engine.state.orders[each].status is OrderStatus.FILLED for each in intents]
        check(holds=all(answered), what="every order filled")
    journaled = _bodies(folder / "journal.db", "SELECT body, hash FROM events WHERE seq > ? ORDER BY seq", before)
    booked = _bodies(folder / "book.db", "SELECT body, 1 FROM orders WHERE number > ? ORDER BY number", 0)
    check(holds=len(booked) == POSITIONS, what="every order in the book")
    bare = _commit_bare(folder, journaled, booked)
    return Burst(decided - begun, durable - decided, ended - durable, bare, len(journaled) + len(booked))


def _bodies(file: Path, query: str, after: int) -> list[list[str]]:
    """Give a file's newer rows, commit by commit; the last row of a commit has something in its second column."""
    commits: list[list[str]] = [[]]
    with closing(sqlite3.connect(file)) as connection:
        for body, ends in connection.execute(query, (after,)):
            commits[-1].append(body)
            if ends is not None:
                commits.append([])
    return commits[:-1]


def _commit_bare(folder: Path, *files: list[list[str]]) -> float:
    """Write the same rows in the same commits; give the seconds that it takes."""
    seconds = 0.0
    for number, commits in enumerate(files):
        with bare_database(folder / f"bare-{number}.db") as connection:
            begun = time.perf_counter()
            for bodies in commits:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO rows (body) VALUES (?)", [(body,) for body in bodies])
                connection.execute("COMMIT")
            seconds += time.perf_counter() - begun
    return seconds


def main(folder: Path) -> None:
    """Measure some bursts, each from its own start."""
    bursts: list[Burst] = []
    until = time.perf_counter() + ENOUGH_S
    while not bursts or (len(bursts) < ROUNDS and time.perf_counter() < until):
        place = folder / str(len(bursts))
        place.mkdir()
        bursts.append(asyncio.run(burst(place)))
    bare = min(each.bare for each in bursts)
    for stage in ("decide", "journal", "desk", "total"):
        best = min(getattr(each, stage) for each in bursts)
        report(
            f"burst/{stage}",
            f"one print that crosses {POSITIONS} positions, against bare commits of all it makes durable",
            seconds=best,
            signal_us=best / POSITIONS * 1e6,
            bare_s=bare,
            commits=bursts[0].commits,
            ratio=best / bare,
        )


if __name__ == "__main__":
    with workplace() as folder:
        main(folder)
