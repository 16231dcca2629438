"""What a started daemon keeps in memory, with one position and with a hundred thousand.

Each in a process of its own, which does what a start does: it loads the journal, from a snapshot where there are enough
positions for one, takes the configuration, builds the engine, and sees a first print of every symbol. What reading the
configuration's file takes is not in it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.market import OPEN, QUIET, plan, seen, start, symbol
from benchmarks.measuring import check, report, resident_mb, workplace
from mrdaemon.calendar import MarketCalendar
from mrdaemon.clock import RecordedClock
from mrdaemon.core.engine import Engine
from mrdaemon.core.prints import Print
from mrdaemon.core.state import State
from mrdaemon.daemon import Daemon, Parts
from mrdaemon.journal import Journal

SIZES = ((1, 1), (200, 500))
"""Portfolios, and positions in each."""
GOAL_MB = 300.0


async def write(file: Path, portfolios: int, positions: int) -> None:
    """Journal what an earlier run left: the configuration, and every position armed."""
    engine = Engine(State(), MarketCalendar())
    async with Journal(file, durable=False) as journal:
        journal.load()
        events = start(engine, plan(portfolios, positions))
        await journal.append(events + engine.prints(_quiet(positions), OPEN))
    async with Journal(file, durable=False) as journal:
        journal.load()  # leaves a snapshot behind


def _quiet(positions: int) -> list[Print]:
    return [seen(symbol(each), QUIET) for each in range(positions)]


async def begin(file: Path, portfolios: int, positions: int) -> dict[str, float]:
    """Start on a journal; give what the process then holds, in MB, and the most that it held on the way."""
    async with Journal(file, durable=False) as journal:
        loaded = journal.load()
        parts = Parts(
            calendar=MarketCalendar(),
            clock=RecordedClock(OPEN),
            brokers={},
            nonce="benchmark",
            halt_file=file.with_name("HALT"),
        )
        daemon = Daemon(parts, journal, loaded.state)
        daemon.open(plan(portfolios, positions), loaded.cursor)
        check(holds=not daemon.engine.prints(_quiet(positions), OPEN), what="a quiet first print of every symbol")
        check(holds=len(loaded.state.positions) == portfolios * positions, what="every position")
        return {"resident_mb": resident_mb(), "peak_mb": resident_mb("VmHWM")}


def main(folder: Path) -> None:
    """Journal each size, and start on it in a child."""
    for portfolios, positions in SIZES:
        file = folder / f"{portfolios}.db"
        asyncio.run(write(file, portfolios, positions))
        command = (sys.executable, "-m", "benchmarks.bench_memory", str(file), str(portfolios), str(positions))
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        report(
            f"memory/{portfolios * positions}-positions",
            f"a daemon that has started on {portfolios} portfolios of {positions} positions",
            **found,
            goal=GOAL_MB if (portfolios, positions) == SIZES[-1] else None,
            of="resident_mb",
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(asyncio.run(begin(Path(sys.argv[1]), *map(int, sys.argv[2:])))))
    else:
        with workplace() as place:
            main(place)
