"""Where a daemon keeps its state, and how the commands find it again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

JOURNAL: Final = "journal.db"
HALT: Final = "HALT"
SOCKET: Final = "control.sock"
TOKEN: Final = "web-token"  # noqa: S105 - the name of its file
DEMO: Final = "demo"
SERVICE: Final = "mrdaemon"
"""What the service is called, its configuration and its state; an instance's state adds a dash and its name."""
SERVICE_CONFIGURATIONS: Final = Path("/etc/mrdaemon")
SERVICE_STATES: Final = Path("/var/lib")
BACKUPS: Final = "backups"
"""Where backups go that nobody wanted elsewhere."""
BACKUP: Final = "backup.json"
"""What a backup has and no state directory: the list of what is in it."""
REPLACED: Final = "replaced"
"""How the folders begin in which a restore keeps what was there."""


class NoStateError(Exception):
    """There is nothing to look at; the message says where it was looked for."""


class ControlError(Exception):
    """The control socket cannot be opened; the message says why and what to do."""


class KeyFileError(Exception):
    """The key that signs answers cannot be used; the message says why and what to do."""


class DashboardError(Exception):
    """The dashboard cannot be opened; the message says why and what to do."""


class AnswerPageError(Exception):
    """The page for answers cannot be opened; the message says why and what to do."""


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
    if config.resolve().parent == SERVICE_CONFIGURATIONS:
        return SERVICE_STATES / service_state(config.stem)
    return state_home() / config.stem


def service_state(name: str) -> str:
    """Give what the state directory of a service is called, by its configuration's name."""
    return SERVICE if name == SERVICE else f"{SERVICE}-{name}"


def _service_states() -> list[Path]:
    """Give the state directories of services. What is in them may be for root alone to see."""
    return [each for each in SERVICE_STATES.glob(f"{SERVICE}*") if each.name == SERVICE or each.name[8:9] == "-"]


def with_journal(directory: Path) -> Path:
    """Give a state directory that has a journal.

    Raises:
        NoStateError: it has none.
    """
    if not (directory / JOURNAL).exists():
        message = f"{directory}: there is no journal; run a daemon there first, or name another directory with --state"
        raise NoStateError(message)
    return directory


def states() -> list[Path]:
    """Give the state directories under the usual places, the one whose journal was written last first.

    Raises:
        NoStateError: there is none.
    """
    home = state_home()
    below = home.iterdir() if home.is_dir() else ()
    candidates = [home, *(each for each in below if each.is_dir() and not each.name.startswith(f"{REPLACED}-"))]
    services = _service_states()
    found = [each for each in [*candidates, *services] if os.path.isfile(each / JOURNAL)]  # noqa: PTH113 - it never raises
    if not found:
        message = f"there is no journal under {home}; run a daemon first, or name its directory with --state"
        if hidden := [str(each) for each in services if not os.access(each, os.X_OK)]:
            message = f"there is no journal under {home}, and only root sees what is in {hidden[0]}: use sudo"
        raise NoStateError(message)
    return sorted(found, key=lambda each: _written(each / JOURNAL), reverse=True)


def _written(journal: Path) -> float:
    log = journal.with_name(journal.name + "-wal")
    return max(each.stat().st_mtime for each in (journal, log) if each.exists())


def socket_address(folder: int) -> str:
    """Give the address of the control socket in an open folder, however long that folder's own path is.

    A socket's path has at most 107 bytes (``sockaddr_un`` of Linux).
    """
    return f"/proc/self/fd/{folder}/{SOCKET}"
