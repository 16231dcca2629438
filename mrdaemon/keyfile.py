"""A secret of the daemon's own, in a file beside its journal: made once, never believed where others may know it."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from mrdaemon.places import KeyFileError

LARGEST: Final = 1024
"""Bytes that are read; no secret of ours is longer."""


class Secret(NamedTuple):
    """What a file keeps."""

    name: str
    """As a person calls it: ``the key of the answers``."""
    lets: str
    """What whoever knows it could do: ``approve``."""
    fresh: Callable[[], bytes]
    """Makes a new one."""


def kept(path: Path, secret: Secret) -> bytes:
    """Give what a file keeps; it is made where there is none.

    Raises:
        KeyFileError: others may read it, or it cannot be read or made.
    """
    try:
        return _made(path, secret.fresh())
    except FileExistsError:
        pass
    except OSError as error:
        message = f"{path}: {secret.name} cannot be made: {error.strerror}; see that this user may write there"
        raise KeyFileError(message) from error
    try:
        return _read(path, secret)
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        message = f"{path}: {secret.name} cannot be read: {why}; remove it, and the next start makes another"
        raise KeyFileError(message) from error


def _made(path: Path, fresh: bytes) -> bytes:
    """Make a file that nobody sees in part: it is written beside, and takes its name once it is whole."""
    if path.is_symlink() or path.exists():
        raise FileExistsError(path)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(file, fresh)
        os.fsync(file)
        os.link(beside, path)  # Unlike a rename, it never replaces a secret that is there by now.
    finally:
        os.close(file)
        beside.unlink()
    return fresh


def _read(path: Path, secret: Secret) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in {os.geteuid(), 0}:
            message = f"{path}: it must be a file of this user's; remove it, and the next start makes another"
            raise KeyFileError(message)
        if found.st_mode & 0o077:
            message = (
                f"{path}: others may read or write it (mode {stat.S_IMODE(found.st_mode):04o}), so they could "
                f"{secret.lets}; remove it, and the next start makes another"
            )
            raise KeyFileError(message)
        return os.read(file, LARGEST)
    finally:
        os.close(file)
