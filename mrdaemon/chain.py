"""The journal as a file: its schema, its hash chain, and how it is read and verified.

Every commit carries the SHA-256 of the one before it and of its own rows. The newest one is also kept beside the file
(the head), so that rows that were changed, removed or cut off at the end show.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from mrdaemon.core import events as ev
from mrdaemon.core.portfolio import FOLD_VERSION, apply
from mrdaemon.core.state import State

APPLICATION_ID: Final = 0x6D726A31
"""Marks a SQLite file as a journal of ours ("mrj1")."""
GENESIS: Final = hashlib.sha256(b"mrdaemon journal").digest()
"""What the first commit follows."""

MIGRATIONS: Final = (
    """
    CREATE TABLE commits (
        number INTEGER PRIMARY KEY,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        cursor INTEGER,
        wall INTEGER NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
    CREATE INDEX commits_with_cursor ON commits (number) WHERE cursor IS NOT NULL;
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        body TEXT NOT NULL
    ) STRICT;
    CREATE TABLE snapshots (
        seq INTEGER PRIMARY KEY,
        fold INTEGER NOT NULL,
        hash BLOB NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER events_are_final_u BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are final'); END;
    CREATE TRIGGER events_are_final_d BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are final'); END;
    CREATE TRIGGER commits_are_final_u BEFORE UPDATE ON commits BEGIN SELECT RAISE(ABORT, 'commits are final'); END;
    CREATE TRIGGER commits_are_final_d BEFORE DELETE ON commits BEGIN SELECT RAISE(ABORT, 'commits are final'); END;
    """,
)
"""Schema changes in order; ``user_version`` counts those that were made."""


class JournalError(Exception):
    """The journal cannot be used; the message says which, why and what to do. Trading must stop."""


class JournalBusyError(JournalError):
    """Another daemon holds the journal."""


class Record(NamedTuple):
    """One journaled event."""

    seq: int
    event: ev.Event
    wall: int
    """When it was committed: UTC nanoseconds, of the machine's clock."""
    cursor: int | None
    """How many prints of the recording had been read, for a feed that is one."""


class Head(NamedTuple):
    """The newest commit: its number, the last event in it, and its hash."""

    number: int
    seq: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.number:020d} {self.seq:020d} {self.hash.hex()}\n"


class Loaded(NamedTuple):
    """What a journal says when it is opened."""

    state: State
    seq: int
    cursor: int | None


EMPTY: Final = Head(0, 0, GENESIS)


def head_path(path: Path) -> Path:
    """Give the file beside a journal that keeps its newest hash."""
    return path.with_name(path.name + ".head")


def lock_path(path: Path) -> Path:
    """Give the file beside a journal that a running daemon holds locked."""
    return path.with_name(path.name + ".lock")


def link(before: bytes, number: int, cursor: int | None, wall: int, first: int, bodies: Sequence[str]) -> bytes:
    """Hash a commit onto the chain. Each part's length goes in before it, so that no two commits read the same."""
    digest = hashlib.sha256(before)
    digest.update(f"{number} {cursor} {wall} {first} {len(bodies)}\n".encode())
    for body in bodies:
        raw = body.encode()
        digest.update(b"%d:" % len(raw))
        digest.update(raw)
    return digest.digest()


@contextlib.contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Turn what SQLite and the file system say into a ``JournalError`` that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        advice = "stop, keep the file, and restore it from a backup"
        if "full" in text or "disk I/O" in text:
            advice = "free some space on its disk, then start again; what was acknowledged is safe"
        elif "readonly" in text or "unable to open" in text:
            advice = "make the file and its folder writable for this user, then start again"
        message = f"{path}: cannot {doing}: {text}; {advice}"
        raise JournalError(message) from error
    except OSError as error:
        message = f"{path}: cannot {doing}: {error.strerror or error}"
        raise JournalError(message) from error


def connect(path: Path, *, writable: bool, durable: bool = True, immutable: bool = False) -> sqlite3.Connection:
    """Open a journal's file and check that it is one of ours.

    Raises:
        JournalError: it is another database, or of a newer version.
        sqlite3.DatabaseError: it cannot be opened.
    """
    mode = "rwc" if writable else "ro&immutable=1" if immutable else "ro"
    quoted = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"file:{quoted}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
    )
    try:
        if writable:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        _check_version(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        message = (
            f"{path}: it was written by a newer mrdaemon (schema {version}, this one knows {len(MIGRATIONS)}); "
            "install that version or a newer one"
        )
        raise JournalError(message)
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    mark = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if tables and mark != APPLICATION_ID:
        message = f"{path}: it is a database, but not a journal of mrdaemon; name another file"
        raise JournalError(message)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date, one transaction for each change."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {script} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT;"
        )


def newest(connection: sqlite3.Connection) -> Head:
    """Give the newest commit."""
    row = connection.execute("SELECT number, last, hash FROM commits ORDER BY number DESC LIMIT 1").fetchone()
    return EMPTY if row is None else Head(*row)


def read_head(path: Path) -> Head | None:
    """Give the head that is kept beside a journal, or None where there is none.

    Raises:
        JournalError: what is there is not a head.
    """
    try:
        text = head_path(path).read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        message = f"{head_path(path)}: cannot read the journal's head: {error}"
        raise JournalError(message) from error
    if not text:
        return None
    parts = text.split()
    try:
        number, seq, digest = parts
        return Head(int(number), int(seq), bytes.fromhex(digest))
    except ValueError as error:
        message = f"{head_path(path)}: not a journal's head (got {text[:80]!r}); restore it with the journal's backup"
        raise JournalError(message) from error


def check_head(connection: sqlite3.Connection, path: Path, head: Head | None) -> None:
    """Compare the head beside the file with the file. It may lag behind (a crash between the two), never be ahead.

    Raises:
        JournalError: the end was cut off, or is not the one that was written.
    """
    last = newest(connection)
    if head is None:
        if last != EMPTY:
            message = f"{path}: its head {head_path(path).name} is missing; restore both from one backup"
            raise JournalError(message)
        return
    if head.number > last.number:
        message = (
            f"{path}: it ends at event {last.seq}, but event {head.seq} was acknowledged: the end was cut off; "
            "restore it from a backup"
        )
        raise JournalError(message)
    row = connection.execute("SELECT hash FROM commits WHERE number = ?", (head.number,)).fetchone()
    if head.number and (row is None or row[0] != head.hash):
        message = f"{path}: commit {head.number} is not the one its head remembers; restore it from a backup"
        raise JournalError(message)


def take_lock(path: Path) -> int:
    """Take the lock beside a journal, and give its file handle.

    Raises:
        JournalBusyError: another daemon holds it.
    """
    real = lock_path(path.resolve())
    handle = os.open(real, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        message = (
            f"{path}: another mrdaemon (process {holder}) is using it; stop that one, or name another state directory"
        )
        raise JournalBusyError(message) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def holder(path: Path) -> int | None:
    """Give the process that holds a journal, or None where nobody does."""
    try:
        handle = os.open(lock_path(path.resolve()), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return int(os.pread(handle, 32, 0).decode("ascii", "replace").strip() or 0)
    else:
        return None
    finally:
        os.close(handle)


def load(connection: sqlite3.Connection, path: Path) -> Loaded:
    """Fold the newest snapshot that fits, and the events after it."""
    state, seq = State(), 0
    for row in connection.execute(
        "SELECT seq, hash, body FROM snapshots WHERE fold = ? ORDER BY seq DESC", (FOLD_VERSION,)
    ):
        if hashlib.sha256(row[2]).digest() == row[1]:
            state, seq = msgspec.json.decode(row[2], type=State), int(row[0])
            break
    for number, body in connection.execute("SELECT seq, body FROM events WHERE seq > ? ORDER BY seq", (seq,)):
        apply(state, _decode(path, number, body))
        seq = number
    row = connection.execute(
        "SELECT cursor FROM commits WHERE cursor IS NOT NULL ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return Loaded(state, seq, None if row is None else int(row[0]))


def _decode(path: Path, seq: int, body: str) -> ev.Event:
    try:
        return ev.decode(body)
    except msgspec.MsgspecError as error:
        message = f"{path}: event {seq} cannot be read: {error}; restore the journal from a backup"
        raise JournalError(message) from error


# Reading beside a running daemon


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a journal to read, also while a daemon writes it.

    Raises:
        JournalError: there is none, or it cannot be read.
    """
    if not path.exists():
        message = f"{path}: there is no journal"
        raise JournalError(message)
    with explained(path, "read the journal"), contextlib.closing(connect(path, writable=False)) as connection:
        yield connection


def records(path: Path, after: int = 0) -> Iterator[Record]:
    """Give a journal's events in order, from the one after ``after``.

    Raises:
        JournalError: see ``reading``.
    """
    rows = "SELECT e.seq, e.body, c.wall, c.cursor FROM commits c JOIN events e ON e.seq BETWEEN c.first AND c.last"
    with reading(path) as connection:
        for seq, body, wall, cursor in connection.execute(f"{rows} WHERE c.last > ? ORDER BY e.seq", (after,)):
            if seq > after:
                yield Record(seq, _decode(path, seq, body), wall, cursor)


def current(path: Path) -> Loaded:
    """Fold a journal without writing to it.

    Raises:
        JournalError: see ``reading``.
    """
    with reading(path) as connection:
        return load(connection, path)


class Verified(NamedTuple):
    """What a verification went through."""

    events: int
    commits: int
    snapshots: int
    head: str


def verify(path: Path) -> Verified:
    """Check every commit's hash, every event's number, the head beside the file, and every snapshot.

    Raises:
        JournalError: naming the first thing that does not hold.
    """
    remembered = read_head(path)
    with reading(path) as connection:
        connection.execute("BEGIN")
        state, snapshots = (
            State(),
            dict(connection.execute("SELECT seq, body FROM snapshots WHERE fold = ?", (FOLD_VERSION,))),
        )
        head, checked = EMPTY, 0
        for number, first, last, cursor, wall, digest in connection.execute("SELECT * FROM commits ORDER BY number"):
            rows = connection.execute(
                "SELECT seq, body FROM events WHERE seq BETWEEN ? AND ? ORDER BY seq", (first, last)
            )
            bodies = dict(rows)
            _follows(path, head, number, first, list(bodies), last)
            if link(head.hash, number, cursor, wall, first, list(bodies.values())) != digest:
                message = (
                    f"{path}: events {first} to {last} (commit {number}) are not what was written: the hash differs"
                )
                raise JournalError(message)
            for seq, body in bodies.items():
                apply(state, _decode(path, seq, body))
                if seq in snapshots:
                    _same_state(path, seq, snapshots[seq], state)
                    checked += 1
            head = Head(number, last, digest)
        extra = connection.execute("SELECT count(*) FROM events WHERE seq > ?", (head.seq,)).fetchone()[0]
        if extra:
            message = f"{path}: {extra} events after event {head.seq} belong to no commit"
            raise JournalError(message)
        check_head(connection, path, remembered)
    return Verified(head.seq, head.number, checked, head.hash.hex())


def _follows(path: Path, head: Head, number: int, first: int, seqs: list[int], last: int) -> None:
    if number != head.number + 1:
        message = f"{path}: commit {head.number + 1} is missing"
        raise JournalError(message)
    if first != head.seq + 1 or seqs != list(range(first, last + 1)):
        present = set(seqs)
        missing = next((seq for seq in range(head.seq + 1, last + 1) if seq not in present), first)
        message = f"{path}: event {missing} is missing"
        raise JournalError(message)


def _same_state(path: Path, seq: int, body: bytes, state: State) -> None:
    if msgspec.json.decode(body, type=State) != state:
        message = f"{path}: the snapshot at event {seq} is not what the events up to it say"
        raise JournalError(message)
