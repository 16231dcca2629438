"""What a daemon takes that has nothing to do: 20 positions at a local Alpaca, whose market is open and says nothing.

And how long it takes from nothing until it tells its service manager that it runs. Ten minutes are measured, or as many
as are asked for: ``--minutes 1``.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import local
from benchmarks.market import QUIET, symbol
from benchmarks.measuring import check, report, resident_mb, workplace

POSITIONS: Final = 20
STARTS: Final = 5
WARM_UP_S: Final = 10.0
"""Seconds after the last position is armed that are not measured: what a start begins comes to its end."""
READY_WITHIN_S: Final = 60.0


@contextmanager
def manager(folder: Path) -> Iterator[socket.socket]:
    """Be the service manager of the children that are started meanwhile."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(folder / "notify"))
        told.settimeout(READY_WITHIN_S)
        os.environ["NOTIFY_SOCKET"] = str(folder / "notify")
        try:
            yield told
        finally:
            del os.environ["NOTIFY_SOCKET"]


def until_ready(told: socket.socket) -> None:
    """Wait until the daemon says that it runs."""
    while b"READY=1" not in told.recv(4096).split(b"\n"):
        pass


@contextmanager
def started(folder: Path) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """Have a daemon that runs, and the seconds until it said so; every position is armed, and nothing happens."""
    folder.mkdir(parents=True)
    names = [symbol(each) for each in range(POSITIONS)]
    with local.simulator(folder) as port, manager(folder) as told:
        local.push(port, [(name, QUIET) for name in names])
        config = local.configuration(folder, port, names, mode="alert")
        begun = time.perf_counter()
        with local.daemon(folder, config) as process:
            until_ready(told)
            seconds = time.perf_counter() - begun
            local.wait_for(process, "account_reconciled")
            yield process, seconds


def until_armed(process: subprocess.Popen[str]) -> None:
    """Read a daemon's events until it watches every position."""
    waiting = {symbol(each) for each in range(POSITIONS)}
    while waiting:
        event = json.loads(local.next_line(process))
        if event["kind"] == "position_armed":
            waiting.discard(event["symbol"])


class Taken:
    """What a process has taken of its machine until now."""

    def __init__(self, process: int) -> None:
        self.clock = time.perf_counter()
        self.processor = time.clock_gettime(~process << 3 | 2)  # the clock of a process is named by its number
        self.resident = resident_mb(of=process)
        self.woken = sum(_woken(task) for task in Path(f"/proc/{process}/task").iterdir())


def _woken(task: Path) -> int:
    lines = (task / "status").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def measure_start(folder: Path) -> None:
    """Start from nothing, some times."""
    seconds = []
    for each in range(STARTS):
        with started(folder / f"start-{each}") as (_, took):
            seconds.append(took)
    what = f"mrdaemon run at a local Alpaca with {POSITIONS} positions, from nothing until it says that it runs"
    report("idle/ready", what, seconds=min(seconds), median_s=median(seconds))


def measure_idle(folder: Path, minutes: float) -> None:
    """Let a daemon be."""
    with started(folder / "idle") as (process, _):
        until_armed(process)
        time.sleep(WARM_UP_S)
        first = Taken(process.pid)
        time.sleep(minutes * 60)
        check(holds=process.poll() is None, what="a daemon that runs on")
        last = Taken(process.pid)
    took = last.clock - first.clock
    report(
        "idle/20-positions",
        f"a daemon with {POSITIONS} positions at which nothing happens",
        minutes=took / 60,
        resident_mb=last.resident,
        grown_mb=last.resident - first.resident,
        processor_percent=100 * (last.processor - first.processor) / took,
        wakeups_per_s=(last.woken - first.woken) / took,
    )


def main() -> None:
    """Start some, then watch one."""
    options = argparse.ArgumentParser(description="What an idle daemon takes.")
    options.add_argument("--minutes", type=float, default=10.0, help="how long to watch it")
    minutes = options.parse_args().minutes
    with workplace() as place:
        measure_start(place)
        measure_idle(place, minutes)


if __name__ == "__main__":
    main()
