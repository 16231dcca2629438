"""What tells one recording from another, so that a restart goes on in the one it was reading."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mrdaemon.feeds import FeedError

_CHUNK: Final = 1 << 20


class Recording(NamedTuple):
    """Files that are read as one recording."""

    name: str
    fingerprint: str
    """For each file its size in bytes and a hash of so many: rows may be added later, those that were read may not
    change."""
    continues: bool
    """Whether it is the one that the journal was reading."""


def recording(files: Sequence[Path], known: str) -> Recording:
    """Tell what files are, given the fingerprint of the recording that the journal knows (or nothing).

    Raises:
        FeedError: they are the same files, and rows that were read have changed; or one cannot be read.
    """
    name = ", ".join(file.name for file in files)
    early = known != "" and ":" not in known
    before = [part.split(":") for part in known.split(";")] if known and not early else []
    same_files = known == _early(files) if early else [part[0] for part in before] == [_safe(file) for file in files]
    if before and same_files:
        for file, (_, size, digest) in zip(files, before, strict=True):
            if _digest(file, int(size)) != digest:
                message = (
                    f"{file}: its first {int(size):,} bytes are not those that were read before; a recording may grow, "
                    "but not change: give a new one another name, or name another state directory"
                )
                raise FeedError(message)
    now = ";".join(f"{_safe(file)}:{_size(file)}:{_digest(file, _size(file))}" for file in files)
    return Recording(name, now, same_files)


def _early(files: Sequence[Path]) -> str:
    """Give the fingerprint that the first journals have, by which only names and first rows can be told apart."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\n".encode())
        with contextlib.suppress(OSError), file.open("rb") as rows:
            digest.update(rows.readline(4096) + rows.readline(4096))
    return digest.hexdigest()[:16]


def _safe(file: Path) -> str:
    return file.name.replace(":", "_").replace(";", "_")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        message = f"{file}: cannot be read: {error.strerror}"
        raise FeedError(message) from error


def _digest(file: Path, size: int) -> str:
    """Hash the first bytes of a file; a shorter one gives another hash."""
    digest, left = hashlib.sha256(), size
    try:
        with file.open("rb") as content:
            while left and (chunk := content.read(min(left, _CHUNK))):
                digest.update(chunk)
                left -= len(chunk)
    except OSError as error:
        message = f"{file}: cannot be read: {error.strerror}"
        raise FeedError(message) from error
    return f"{digest.hexdigest()[:16]}{'-short' if left else ''}"
