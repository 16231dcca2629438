"""A backup: a copy of what a daemon cannot get anew, taken while it runs, and verified before it has its name.

It is a folder with the journal, the head beside it, the books of paper accounts, and a list of what is in it. Keys and
tokens are left out: they can be made anew, and a backup is kept where more people come.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from mrdaemon import __version__, chain
from mrdaemon.chain import JournalError
from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.places import BACKUP, BACKUPS, JOURNAL

FORM: Final = 1
"""What a list of contents looks like; a later form gets a later number."""
BOOKS: Final = "paper-*.db"
"""The books of paper accounts in a state directory."""
TRIES: Final = 50
"""How often it is tried to find every book at rest while the journal is read."""
MB: Final = 1_000_000
SPARE: Final = 50 * MB
"""Bytes that must stay free beside the state: a daemon whose disk is full ends."""
LOG: Final = "-wal"
"""What SQLite calls the file beside a database that has its newest commits."""


class BackupError(Exception):
    """A backup cannot be made, or used; the message says which, why and what to do."""


class Copied(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a backup."""

    bytes: int
    sha256: str


class Contents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in a backup, as its list says."""

    form: int = FORM
    made: str
    """When: RFC 3339, in UTC, of the machine's clock."""
    version: str
    """The mrdaemon that made it."""
    host: str
    state: str
    """The state directory that it was made of."""
    events: int
    head: str
    """The hash of the newest commit."""
    files: dict[str, Copied]


class Made(NamedTuple):
    """A backup that was made."""

    place: Path
    contents: Contents

    @property
    def bytes(self) -> int:
        """How large it is."""
        return sum(each.bytes for each in self.contents.files.values())


def make(directory: Path, to: Path | None, now: Instant) -> Made:
    """Back a state directory up, also while its daemon runs.

    Args:
        directory: the state directory.
        to: where to: a folder that is there gets a new one inside; any other name is the backup's own. None: a new one
            under ``backups`` in the state directory.
        now: the machine's time.

    Raises:
        BackupError: there is something of this name, no room for it, or a paper account would not stand still.
        JournalError: the journal is not sound.
        OSError: it cannot be written.
    """
    place = _place(directory, to, now)
    _check_room(directory, place)
    folder = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        with _written(place):
            contents = _fill(folder, directory, now)
            _give_name(folder, place)
    except BaseException:  # Whatever went wrong goes on up; half a backup must not stay.
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Made(place, contents)


def _place(directory: Path, to: Path | None, now: Instant) -> Path:
    if to is None:
        to = directory / BACKUPS
        to.mkdir(mode=0o700, exist_ok=True)
    if (to / BACKUP).exists():
        message = f"{to}: it is a backup itself, and none goes into another; name the folder that it is in, with --to"
        raise BackupError(message)
    if to.is_dir():
        to /= f"{directory.resolve().name}-{stamp(now)}"
    if os.path.lexists(to):
        message = f"{to}: it is there already, and a backup replaces nothing; name another one with --to"
        raise BackupError(message)
    if not to.parent.is_dir():
        message = f"{to}: there is no folder {to.parent}; make it first, or name another place with --to"
        raise BackupError(message)
    return to


def _check_room(directory: Path, place: Path) -> None:
    """Refuse to fill a disk, above all the one that a daemon writes to."""
    copied = [directory / JOURNAL, *directory.glob(BOOKS)]
    files = [file for each in copied for file in (each, each.with_name(each.name + LOG)) if file.exists()]
    wanted, free = sum(each.stat().st_size for each in files), shutil.disk_usage(place.parent).free
    beside = directory.stat().st_dev == place.parent.stat().st_dev
    if free >= wanted + SPARE * beside:
        return
    spare = f", and {SPARE / MB:,.0f} MB must stay free beside the state" if beside else ""
    message = f"{place}: it may take {wanted / MB:,.1f} MB{spare}; {free / MB:,.1f} MB are free. Make room, or name \
another disk with --to"
    raise BackupError(message)


@contextlib.contextmanager
def _written(place: Path) -> Iterator[None]:
    """Say of what cannot be written that it is the backup, where the error names no file."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        message = f"{place}: it cannot be written: {error.strerror}; see that its disk has space and is sound"
        raise BackupError(message) from error


def _fill(folder: Path, directory: Path, now: Instant) -> Contents:
    journal = directory / JOURNAL
    with chain.explained(journal, "read the journal's head"):
        remembered = chain.read_head(journal)  # Before the journal: what is committed meanwhile must not look cut off.
    names = _copy(journal, sorted(directory.glob(BOOKS)), folder)
    copy = folder / JOURNAL
    try:
        with chain.reading(copy) as connection:
            chain.check_head(connection, journal, remembered)
            chain.head_path(copy).write_text(str(chain.newest(connection)), encoding="ascii")
        verified = chain.verify(copy)
    except JournalError as error:  # What is wrong with the copy is wrong with the journal.
        raise JournalError(str(error).replace(str(copy), str(journal))) from error
    for name in [*names, chain.head_path(copy).name]:
        (folder / name).chmod(0o600)
        sync(folder / name)
    contents = Contents(
        made=seconds(now),
        version=__version__,
        host=socket.gethostname(),
        state=str(directory.resolve()),
        events=verified.events,
        head=verified.head,
        files={name: measured(folder / name) for name in sorted([*names, chain.head_path(copy).name])},
    )
    listed = folder / BACKUP
    listed.write_bytes(msgspec.json.format(msgspec.json.encode(contents)) + b"\n")
    listed.chmod(0o600)
    sync(listed)
    return contents


def _give_name(folder: Path, place: Path) -> None:
    """Let a complete backup appear under its name, in one step that a loss of power cannot take back."""
    sync(folder)
    if os.path.lexists(place):
        message = f"{place}: it appeared while the backup was made, and a backup replaces nothing; name another one"
        raise BackupError(message)
    folder.rename(place)
    sync(place.parent)


# Copying


def _copy(journal: Path, books: Sequence[Path], folder: Path) -> list[str]:
    """Copy journal and books as they stood at one moment; gives the copies' names."""
    for _ in range(TRIES):
        seen = {book: _seen(book) for book in books}
        _copy_books(seen, folder)
        with chain.reading(journal) as source:  # From here on it stands still for us.
            if any(_seen(book) != before for book, before in seen.items()):
                continue
            _copy_journal(source, folder / JOURNAL)
        for book in books:
            _settle(folder / book.name)
        return [JOURNAL, *(book.name for book in books)]
    message = f"{journal.parent}: its paper account trades too fast to be copied while it runs; stop it first"
    raise BackupError(message)


class _Seen(NamedTuple):
    """A book as it was seen: its newest commits, and when its own file was written."""

    log: bytes
    written: int


def _seen(book: Path) -> _Seen:
    """Look at a book; every commit changes what is seen.

    A daemon lets nobody else open its book, so it is copied as files. What its log has may be in the book's own file
    already, or not yet: a log that was the same before and after holds all that may be missing there.
    """
    written = book.stat().st_mtime_ns
    try:
        return _Seen(book.with_name(book.name + LOG).read_bytes(), written)
    except FileNotFoundError:
        return _Seen(b"", written)


def _copy_books(books: Mapping[Path, _Seen], folder: Path) -> None:
    for book, seen in books.items():
        copy = folder / book.name
        shutil.copyfile(book, copy)
        copy.with_name(copy.name + LOG).write_bytes(seen.log)


def _copy_journal(source: sqlite3.Connection, copy: Path) -> None:
    with _writing(copy) as connection:
        source.backup(connection)


def _settle(book: Path) -> None:
    """Put a copied book's log into the book, and look at it whole."""
    with _writing(book) as connection:
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        message = f"{book.name}: the paper account's book is damaged: {found}; stop the daemon, and look at its disk"
        raise BackupError(message)


@contextlib.contextmanager
def _writing(copy: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy to write, and leave one file of it that can be read from anywhere."""
    try:
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            yield connection
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        message = f"{copy}: cannot write the copy: {error}; see that its disk has space and is sound"
        raise BackupError(message) from error


# What a backup is looked at with


def refuse(directory: Path) -> None:
    """Refuse to run on a backup: it would be none any more, and nobody would have been halted.

    Raises:
        BackupError: a state directory is one.
    """
    if (directory / BACKUP).exists():
        message = f"{directory}: it is a backup, which stays as it is; mrdaemon restore makes a state directory of it"
        raise BackupError(message)


def read(place: Path) -> Contents:
    """Read what a backup says that it holds.

    Raises:
        BackupError: it is none, or of a newer mrdaemon.
    """
    listed = place / BACKUP
    try:
        contents = msgspec.json.decode(listed.read_bytes(), type=Contents)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"{place}: it is not a backup of mrdaemon: there is no {BACKUP} in it"
        raise BackupError(message) from error
    except msgspec.MsgspecError as error:
        message = f"{listed}: it cannot be read: {error}; use another backup, or the mrdaemon that made this one"
        raise BackupError(message) from error
    if contents.form != FORM:
        message = f"{listed}: it is of form {contents.form}, and this mrdaemon reads form {FORM}; install a newer one"
        raise BackupError(message)
    return contents


def seconds(now: Instant) -> str:
    """Write a time to the second, as people do."""
    return iso(Instant(now // SECOND * SECOND))


def stamp(now: Instant) -> str:
    """Write a time so that it can be part of a name: ``20260106T150000Z``."""
    return seconds(now).replace("-", "").replace(":", "")


def measured(file: Path) -> Copied:
    """Measure a file."""
    with file.open("rb") as opened:
        return Copied(file.stat().st_size, hashlib.file_digest(opened, "sha256").hexdigest())


def sync(path: Path) -> None:
    """Let a file, or what a folder lists, survive a loss of power."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
