"""A restart on a million events: the journal alone, with and without a snapshot, and the whole program.

With a snapshot means: with as many events after it as a daemon leaves there at most, if it ever had a quiet second.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks.market import configuration, life, start
from benchmarks.measuring import alternate, check, report, timed, workplace
from mrdaemon import chain
from mrdaemon.calendar import MarketCalendar
from mrdaemon.config import read
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.state import State
from mrdaemon.journal import SNAPSHOT_EVERY, Journal
from mrdaemon.places import JOURNAL
from mrdaemon.planning import plan

EVENTS = 1_000_000
POSITIONS = 500
CYCLE = 5
"""Events from a signal to the end of its order."""
TAIL = SNAPSHOT_EVERY - CYCLE
FOLDED = 100_000
"""Events of the journal that shows the rate of the fold."""
ROUNDS = 5
GOAL_S = 2.0


async def append(file: Path, events: Iterable[ev.Event]) -> None:
    """Append events, an order's life a commit."""
    async with Journal(file, durable=False) as journal:
        first = journal.load().seq
        waiting = [journal.append(cycle, first + at) for at, cycle in enumerate(_cycles(events))]
        await waiting[-1]


def _cycles(events: Iterable[ev.Event]) -> Iterator[list[ev.Event]]:
    rest = iter(events)
    while cycle := list(islice(rest, CYCLE)):
        yield cycle


async def load(file: Path) -> chain.Loaded:
    """Open a journal and load it, as a daemon does."""
    async with Journal(file, durable=False) as journal:
        return journal.load()


def decode(file: Path) -> None:
    """Read and decode every event, and do nothing with it: the least that a fold must do."""
    with closing(sqlite3.connect(file)) as connection:
        read = sum(
            1 for (body,) in connection.execute("SELECT body FROM events ORDER BY seq") if msgspec.json.decode(body)
        )
    check(holds=read >= FOLDED, what="every event read")


def fold(file: Path) -> None:
    """Fold every event."""
    with closing(sqlite3.connect(file)) as connection:
        check(holds=chain.fold(connection, file).since >= FOLDED, what="every event folded")


def run_until_started(config: Path, state: Path) -> None:
    """Run the program until it says that it has started."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "mrdaemon",
        "run",
        "--json",
        "-c",
        str(config),
        "--state",
        str(state),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        process.kill()
    check(holds='"daemon_started"' in line, what=f"a daemon that starts, got {line!r}")


def measure_fold(folder: Path, opening: list[ev.Event]) -> None:
    """Measure the fold against decoding alone."""
    file = folder / "short.db"
    asyncio.run(append(file, [*opening, *life(POSITIONS, FOLDED)]))
    rounds = alternate(ROUNDS, fold=partial(fold, file), decode=partial(decode, file))
    events = FOLDED + len(opening)
    report(
        "restart/fold",
        "events read, checked against the chain and folded, against plain reading and decoding",
        events_per_s=round(events / rounds.best("fold")),
        decoded_per_s=round(events / rounds.best("decode")),
        ratio=rounds.ratio("fold", "decode"),
    )


def measure_start(folder: Path, opening: list[ev.Event], config: Path) -> None:
    """Measure starts on a million events, and on next to none."""
    small, state = folder / "small", folder / "state"
    events = life(POSITIONS, EVENTS - len(opening))
    asyncio.run(append(small / JOURNAL, opening))
    asyncio.run(append(state / JOURNAL, [*opening, *islice(events, EVENTS - len(opening) - TAIL)]))
    without = timed(lambda: asyncio.run(load(state / JOURNAL)))  # leaves a snapshot behind
    asyncio.run(append(state / JOURNAL, events))
    loaded = asyncio.run(load(state / JOURNAL))
    check(holds=EVENTS - CYCLE < loaded.seq <= EVENTS, what=f"{EVENTS} events in the journal")
    file = state / JOURNAL
    loads = alternate(ROUNDS, load=lambda: asyncio.run(load(file)))
    report("restart/no-snapshot", f"open and load {EVENTS - TAIL} events, all folded", seconds=without)
    report(
        "restart/snapshot",
        f"open and load {EVENTS} events, {TAIL} of them after the snapshot",
        seconds=loads.best("load"),
        goal=GOAL_S,
        of="seconds",
    )
    starts = alternate(
        ROUNDS, large=partial(run_until_started, config, state), small=partial(run_until_started, config, small)
    )
    report(
        "restart/run",
        f"mrdaemon run until it has started, on {EVENTS} events, against the same on {len(opening)}",
        seconds=starts.best("large"),
        small_s=starts.best("small"),
        ratio=starts.ratio("large", "small"),
        goal=GOAL_S,
        of="seconds",
    )


def main(folder: Path) -> None:
    """Measure the fold, then whole starts."""
    config = configuration(folder, POSITIONS)
    opening = start(Engine(State(), MarketCalendar()), plan(read(config).settings))
    measure_fold(folder, opening)
    measure_start(folder, opening, config)


if __name__ == "__main__":
    with workplace() as place:
        main(place)
