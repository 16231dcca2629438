"""How a benchmark measures and reports: sides in alternating rounds of one process, and a JSON line for each result.

A noisy machine slows both sides of a round alike, so that their ratio says more than either time does. The rounds'
median ratio is what is reported, with each side's best time beside it.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

Side = Callable[[], object]
Told = Callable[[], float]
"""A side that knows by itself how many seconds it took."""
Figure = float | int | str | bool | None


class Rounds:
    """Seconds that each side took, round by round."""

    def __init__(self, seconds: Mapping[str, list[float]]) -> None:
        self._seconds = seconds

    def best(self, side: str) -> float:
        """Give a side's shortest time in seconds."""
        return min(self._seconds[side])

    def ratio(self, side: str, base: str) -> float:
        """Give how many times as long as another a side took, in the middle one of the rounds."""
        return median(ours / theirs for ours, theirs in zip(self._seconds[side], self._seconds[base], strict=True))


def alternate(rounds: int, **sides: Side) -> Rounds:
    """Run every side once a round, so that what slows the machine down meets all of them."""
    return alternate_told(rounds, **{name: partial(timed, side) for name, side in sides.items()})


def alternate_told(rounds: int, **sides: Told) -> Rounds:
    """Run every side once a round, and take its word for the seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            seconds[name].append(side())
    return Rounds(seconds)


def timed(side: Side) -> float:
    """Give the seconds that a side takes."""
    begun = time.perf_counter()
    side()
    return time.perf_counter() - begun


def check(*, holds: bool, what: str) -> None:
    """Break a benchmark that did not do what it claims to measure.

    Raises:
        RuntimeError: it does not hold.
    """
    if not holds:
        message = f"wanted {what}: the benchmark measures something else"
        raise RuntimeError(message)


def report(name: str, what: str, *, goal: float | None = None, of: str = "ratio", **figures: Figure) -> None:
    """Print a result; ``goal`` is the most that the figure named by ``of`` should be."""
    line: dict[str, Figure] = {"name": name, "what": what}
    line |= {key: round(each, 3) if isinstance(each, float) else each for key, each in figures.items()}
    reached = figures.get(of)
    if goal is not None and isinstance(reached, float | int):
        line |= {"goal": f"{of} <= {goal:g}", "reached": reached <= goal}
    _print(line)


@contextmanager
def workplace() -> Iterator[Path]:
    """Introduce the machine, and give a folder to work in that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mrdaemon-bench-") as folder:
        _print(_machine(Path(folder)))
        yield Path(folder)


def _machine(folder: Path) -> dict[str, Figure]:
    return {
        "python": platform.python_version(),
        "cpu": _field(Path("/proc/cpuinfo"), "model name"),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "sqlite": sqlite3.sqlite_version,
        "load": round(os.getloadavg()[0], 2),
        "files": _file_system(folder),
    }


@contextmanager
def bare_database(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a new database with a journal's settings and one plain table of rows."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT")
        yield connection


def resident_mb(field: str = "VmRSS", of: int | str = "self") -> float:
    """Give a process' resident memory in MB (``VmHWM``: the most it ever was)."""
    return int(_field(Path(f"/proc/{of}/status"), field).split()[0]) / 1024


def _field(path: Path, name: str) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")


def _file_system(folder: Path) -> str:
    """Give the kind of file system that a folder is on: that of the longest mount point above it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    above = [(len(place), kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(above)[1] if above else "unknown"


def _print(line: Mapping[str, Figure]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
