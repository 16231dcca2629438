"""What a daemon has measured of itself, and what it takes of its machine, at one moment."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from mrdaemon.latency import Shape
from mrdaemon.tally import Counted

LOG: Final = "-wal"
"""What SQLite calls the file beside a database in which commits are first."""
_MEMORY: Final = Path("/proc/self/statm")


class Footprint(NamedTuple):
    """What a daemon takes of its machine."""

    resident: int
    """Bytes of memory."""
    processor: float
    """Seconds that its threads ran since it was started."""
    journal: int
    """Bytes of the journal."""
    log: int
    """Bytes of the log beside it, which SQLite writes first and uses again."""
    free: int
    """Bytes that this user may still write on the journal's disk."""


class Measured(NamedTuple):
    """All of it."""

    counted: Counted
    events: int
    """In the journal."""
    commits: Shape
    """How long it took to write groups of them."""
    footprint: Footprint


def footprint(journal: Path) -> Footprint:
    """Look at this process and at a journal's disk."""
    disk = os.statvfs(journal.parent)
    return Footprint(
        resident=int(_MEMORY.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE"),
        processor=time.process_time(),
        journal=_size(journal),
        log=_size(journal.with_name(journal.name + LOG)),
        free=disk.f_bavail * disk.f_frsize,
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
