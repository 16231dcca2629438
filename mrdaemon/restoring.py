"""Restoring a backup: verified, put in place under the journal's lock, on the record, and halted until a person says.

A journal from a backup does not know what happened since, and the broker does. What it can be compared with shows by
itself: orders, shares. What people did since, a target, a deposit, nobody else remembers. So trading is halted.

A kill in the middle leaves what no daemon starts on, and the same command can be given again: the head is put there
before the journal, and the journal last of all.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from mrdaemon import backup, chain, haltfile, lock
from mrdaemon.backup import BOOKS, BackupError, Contents, seconds, stamp, sync
from mrdaemon.brokers.paperbook import APPLICATION_ID as BOOK_ID
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.journal import Journal
from mrdaemon.places import BACKUP, HALT, JOURNAL, REPLACED

STAGED: Final = ".restoring-"
HEAD: Final = f"{JOURNAL}.head"
_RESTORED: Final = re.compile(r"journal\.db|journal\.db\.head|paper-[^/]+\.db")
"""What a backup may put into a state directory."""


class Restored(NamedTuple):
    """A backup that is in place."""

    state: Path
    contents: Contents
    aside: Path | None
    """Where what was there is now."""


class Wish(NamedTuple):
    """What is to be restored, and for whom."""

    place: Path
    state: Path
    by: str
    now: Instant
    """The machine's time."""
    aside: bool = False
    """Whether what is there may be moved aside."""


def restore(wish: Wish) -> Restored:
    """Put a backup into a state directory.

    Raises:
        BackupError: it is no backup, not what was backed up, or there is a journal already.
        JournalError: its journal is not sound, or a daemon runs in the state directory.
        OSError: it cannot be read, or written there.
    """
    contents = backup.read(wish.place)
    _check_place(wish)
    wish.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _held(wish.state):
        there = _there(wish.state)
        if there and not wish.aside:
            message = f"{wish.state}: there is a daemon's state already ({there[-1].name}); --aside moves it into a \
folder of its own, or name an empty directory"
            raise BackupError(message)
        for killed in wish.state.glob(f"{STAGED}*"):
            shutil.rmtree(killed)
        staged = Path(tempfile.mkdtemp(prefix=STAGED, dir=wish.state))
        try:
            _stage(wish, contents, staged)
            aside = _put_in_place(wish, staged, there)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return Restored(wish.state, contents, aside)


def _check_place(wish: Wish) -> None:
    if (wish.state / BACKUP).exists():
        message = f"{wish.state}: it is a backup itself; name the daemon's state directory with --state"
        raise BackupError(message)
    if (wish.state / JOURNAL).is_symlink():
        message = f"{wish.state / JOURNAL}: it is a link, and would lead elsewhere still; remove it first"
        raise BackupError(message)


@contextlib.contextmanager
def _held(state: Path) -> Iterator[None]:
    """Keep daemons from starting there meanwhile."""
    journal = state / JOURNAL
    with chain.explained(journal, "take its lock"):
        handle = lock.take(journal)
    try:
        _give_to_owner(state, lock.lock_path(journal))  # Its daemon must be able to take it, too.
        yield
    finally:
        os.close(handle)


def _give_to_owner(state: Path, *files: Path) -> None:
    """Give files to whom the state directory belongs: a restore may be root's, and the daemon is not."""
    owner = state.stat()
    if os.geteuid() == 0:
        for each in files:
            os.chown(each, owner.st_uid, owner.st_gid)


def _there(state: Path) -> list[Path]:
    """Give what would be in the way, in the order in which it may be moved.

    A log goes before what it belongs to, or it would be read into what comes next. The journal goes before the books:
    without it no daemon starts, and none makes new books.
    """
    logs = (state / f"{JOURNAL}-wal", state / f"{JOURNAL}-shm")
    found = [*logs, state / JOURNAL, *state.glob(f"{BOOKS}-*"), *state.glob(BOOKS), state / HEAD]
    return [each for each in found if each.exists()]


# Before anything that is there is touched


def _stage(wish: Wish, contents: Contents, staged: Path) -> None:
    """Copy a backup, look whether it is what was backed up, and write into its journal that it was restored."""
    for name, wanted in contents.files.items():
        if _RESTORED.fullmatch(name) is None:
            message = f"{wish.place}: its list names {name!r}, which is in no backup; use another one"
            raise BackupError(message)
        try:
            shutil.copyfile(wish.place / name, staged / name)
        except FileNotFoundError as error:
            message = f"{wish.place}: {name} is missing; use another backup"
            raise BackupError(message) from error
        if backup.measured(staged / name) != wanted:
            message = f"{wish.place / name}: it is not what was backed up: its SHA-256 differs; use another backup"
            raise BackupError(message)
    journal = staged / JOURNAL
    if not journal.exists() or not chain.head_path(journal).exists():
        message = f"{wish.place}: there is no journal in it; use another backup"
        raise BackupError(message)
    _verify(wish, contents, journal)
    for book in staged.glob(BOOKS):
        _check_book(wish.place / book.name, book)
    asyncio.run(_record(wish, contents, journal))
    haltfile.leave(staged / HALT, f"restored from {wish.place.name}, made {contents.made}: look, then mrdaemon resume")
    for name in [*contents.files, HALT]:
        (staged / name).chmod(0o600 if name != HALT else 0o644)
        _give_to_owner(wish.state, staged / name)
        sync(staged / name)


def _verify(wish: Wish, contents: Contents, journal: Path) -> None:
    try:
        verified = chain.verify(journal)
    except chain.JournalError as error:
        raise chain.JournalError(str(error).replace(str(journal), str(wish.place / JOURNAL))) from error
    if verified.head != contents.head:
        message = f"{wish.place}: its journal ends with {verified.head}, its list says {contents.head}; use another one"
        raise BackupError(message)


def _check_book(name: Path, book: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(f"{book.as_uri()}?mode=ro", uri=True)) as connection:
            mark = connection.execute("PRAGMA application_id").fetchone()[0]
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        message = f"{name}: the paper account's book cannot be read: {error}; use another backup"
        raise BackupError(message) from error
    if mark != BOOK_ID or found != "ok":
        message = f"{name}: it is no sound book of a paper account ({found}); use another backup"
        raise BackupError(message)


async def _record(wish: Wish, contents: Contents, journal: Path) -> None:
    """Write into the journal who has restored it, and from what."""
    async with Journal(journal) as opened:
        loaded = opened.load()
        fact = ev.JournalRestored(
            at=loaded.state.at,  # The engine's time: a recording's, where one is read, and it must not jump.
            by=wish.by,
            backup=str(wish.place.resolve()),
            made=contents.made,
            restored=seconds(wish.now),
            upto=loaded.seq,
        )
        await opened.append([fact])


# In place


def _put_in_place(wish: Wish, staged: Path, there: list[Path]) -> Path | None:
    """Move what is there aside, and what is staged in: the head before the journal, and the journal last."""
    state, aside = wish.state, None
    if there:
        aside = _folder_aside(state, wish.now)
        if (state / HEAD).exists():
            shutil.copy2(state / HEAD, aside / HEAD)  # The old one stays until the new one takes its place.
        for each in there:
            if each.name != HEAD:
                each.rename(aside / each.name)
        _give_to_owner(state, aside)
        sync(aside)
    sync(state)
    for name in _in_order(staged):
        (staged / name).rename(state / name)
        sync(state)
    return aside


def _folder_aside(state: Path, now: Instant) -> Path:
    name = f"{REPLACED}-{stamp(now)}"
    for further in itertools.chain([""], (f"-{number}" for number in itertools.count(2))):
        with contextlib.suppress(FileExistsError):
            (state / f"{name}{further}").mkdir(mode=0o700)
            return state / f"{name}{further}"
    raise AssertionError


def _in_order(staged: Path) -> list[str]:
    books = sorted(each.name for each in staged.glob(BOOKS))
    return [HEAD, HALT, *books, JOURNAL]
