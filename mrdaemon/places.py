"""Where a daemon keeps its state, and how the commands find it again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

JOURNAL: Final = "journal.db"
HALT: Final = "HALT"
DEMO: Final = "demo"


class NoStateError(Exception):
    """There is nothing to look at; the message says where it was looked for."""


def state_home() -> Path:
    """Give the folder in which each configuration gets a folder of its own."""
    if systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "mrdaemon"


def state_dir(config: Path, configured: Path | None, asked: Path | None) -> Path:
    """Give a configuration's state directory: the one asked for, the one it names, or the usual one for its name."""
    if asked is not None:
        return asked
    if configured is not None:
        return config.resolve().parent / configured
    if "STATE_DIRECTORY" in os.environ:
        return state_home()
    return state_home() / config.stem


def with_journal(directory: Path) -> Path:
    """Give a state directory that has a journal.

    Raises:
        NoStateError: it has none.
    """
    if not (directory / JOURNAL).exists():
        message = f"{directory}: there is no journal; run a daemon there first, or name another directory with --state"
        raise NoStateError(message)
    return directory


def newest_state() -> tuple[Path, int]:
    """Give the state directory whose journal was written last, and how many there are to choose from.

    Raises:
        NoStateError: there is none.
    """
    home = state_home()
    candidates = [home, *(each for each in home.iterdir() if each.is_dir())] if home.is_dir() else []
    found = [each for each in candidates if (each / JOURNAL).is_file()]
    if not found:
        message = f"there is no journal under {home}; run a daemon first, or name its directory with --state"
        raise NoStateError(message)
    return max(found, key=lambda each: _written(each / JOURNAL)), len(found)


def _written(journal: Path) -> float:
    log = journal.with_name(journal.name + "-wal")
    return max(each.stat().st_mtime for each in (journal, log) if each.exists())
