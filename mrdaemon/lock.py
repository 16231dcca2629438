"""The lock beside a journal: at most one daemon writes it, and anybody may ask who."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from mrdaemon.chain import JournalError, explained

_FLOCK: Final = "hhqqi4x"
"""``struct flock``: type, whence, start, length, process."""


class JournalBusyError(JournalError):
    """Another daemon holds the journal."""


def lock_path(path: Path) -> Path:
    """Give the file beside a journal that a running daemon holds locked."""
    real = path.resolve()
    return real.with_name(real.name + ".lock")


def take(path: Path) -> int:
    """Take the lock beside a journal, and give its file handle. It is held until the handle is closed, or we die.

    Raises:
        JournalBusyError: another daemon holds it.
        OSError: it cannot be taken.
    """
    handle = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _ask_lock(handle, fcntl.F_OFD_SETLK, fcntl.F_WRLCK)
        os.ftruncate(handle, 0)
        os.pwrite(handle, b"%d\n" % os.getpid(), 0)
    except (BlockingIOError, PermissionError) as error:
        message = f"{path}: another mrdaemon (process {_pid(handle) or 'unknown'}) uses it; stop that one, or name \
another state directory"
        os.close(handle)
        raise JournalBusyError(message) from error
    except BaseException:  # Whatever went wrong goes on up; a handle that leaked would hold the lock.
        os.close(handle)
        raise
    return handle


def holder(path: Path) -> int | None:
    """Give the process that holds a journal (0: one that has not said its number), or None where nobody does.

    Raises:
        JournalError: that cannot be seen.
    """
    with explained(path, "see who holds the journal"):
        try:
            handle = os.open(lock_path(path), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            # It only asks. One that took the lock for a moment could keep a daemon from starting.
            return None if _ask_lock(handle, fcntl.F_OFD_GETLK, fcntl.F_RDLCK) == fcntl.F_UNLCK else _pid(handle)
        finally:
            os.close(handle)


def _ask_lock(handle: int, command: int, kind: int) -> int:
    answer = fcntl.fcntl(handle, command, struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0))
    return int(struct.unpack(_FLOCK, answer)[0])


def _pid(handle: int) -> int:
    text = os.pread(handle, 32, 0).strip()
    return int(text) if text.isdigit() else 0
