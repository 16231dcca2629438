"""The journal as a file: its schema, its hash chain, and how it is read and verified.

Every commit carries the SHA-256 of the one before it and of its own rows. The newest one is also kept beside the file
(the head), so that rows that were changed, removed or cut off at the end show. Whatever is read is checked on the way.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from mrdaemon.core import events as ev
from mrdaemon.core.portfolio import FOLD_VERSION, apply
from mrdaemon.core.sharing import read
from mrdaemon.core.state import State

APPLICATION_ID: Final = 0x6D726A31
"""Marks a SQLite file as a journal of ours ("mrj1")."""
GENESIS: Final = hashlib.sha256(b"mrdaemon journal").digest()
"""What the first commit follows."""
PAGE: Final = 10_000
"""Events that ``records`` reads at a time: between two pages it keeps no hold on the file."""

MIGRATIONS: Final = (
    """
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        body TEXT NOT NULL,
        wall INTEGER,
        cursor INTEGER,
        hash BLOB
    ) STRICT;
    CREATE INDEX events_with_cursor ON events (seq) WHERE cursor IS NOT NULL;
    CREATE TABLE snapshots (
        seq INTEGER PRIMARY KEY,
        fold INTEGER NOT NULL,
        hash BLOB NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER events_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are final'); END;
    CREATE TRIGGER events_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are final'); END;
    """,
    """
    CREATE TABLE alerts (
        n INTEGER PRIMARY KEY,
        seq INTEGER NOT NULL,
        wall INTEGER NOT NULL,
        subject TEXT NOT NULL,
        kind TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX alerts_by_subject ON alerts (subject, kind, n);
    CREATE TRIGGER alerts_update BEFORE UPDATE ON alerts BEGIN SELECT RAISE(ABORT, 'alerts are final'); END;
    CREATE TRIGGER alerts_delete BEFORE DELETE ON alerts BEGIN SELECT RAISE(ABORT, 'alerts are final'); END;
    CREATE TABLE channels (
        name TEXT PRIMARY KEY,
        upto INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE deliveries (
        channel TEXT NOT NULL,
        n INTEGER NOT NULL,
        wall INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        note TEXT NOT NULL,
        PRIMARY KEY (channel, n)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX deliveries_open ON deliveries (channel, n) WHERE outcome = 'aside';
    """,
)
"""Schema changes in order; ``user_version`` counts those that were made.

The last event of a commit carries its wall time, cursor and hash; in the others they are null. The tables of the second
schema are the ``outbox``.
"""

_RESTORE: Final = "keep it for a look, and restore it from a backup: mrdaemon restore BACKUP --state DIR --aside"
_DROP: Final = "nothing is lost: delete the rows of its table `snapshots`, and the next start folds the events anew"
_SPACE: Final = "see that its disk has space and is sound, then start again; what was acknowledged is safe"
_ACCESS: Final = "see that it is a file which this user may read and write, and its folder as well"
_ADVICE: Final = {
    sqlite3.SQLITE_FULL: _SPACE,
    sqlite3.SQLITE_IOERR: _SPACE,
    sqlite3.SQLITE_READONLY: _ACCESS,
    sqlite3.SQLITE_CANTOPEN: _ACCESS,
    sqlite3.SQLITE_BUSY: "close the program that holds it, then start again",
    sqlite3.SQLITE_NOTADB: f"name another file; if it was a journal, {_RESTORE}",
}
_OUT_OF_SPACE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_PRIMARY: Final = 0xFF
"""The part of an extended SQLite error code that names its kind."""


class JournalError(Exception):
    """The journal cannot be used; the message says which, why and what to do. Trading must stop."""


class Record(NamedTuple):
    """One journaled event."""

    seq: int
    event: ev.Event
    wall: int
    """When it was committed: UTC nanoseconds, of the machine's clock."""
    cursor: int | None
    """How many prints of the recording had been read, for a feed that is one."""


class Head(NamedTuple):
    """The newest commit: the last event in it, and its hash."""

    seq: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.seq:020d} {self.hash.hex()}\n"


class Commit(NamedTuple):
    """One commit, checked: its events as they were written, from number ``first`` to its head's."""

    first: int
    bodies: Sequence[str]
    wall: int
    cursor: int | None
    head: Head


class Loaded(NamedTuple):
    """What a journal says when it is opened."""

    state: State
    seq: int
    cursor: int | None


class Folded(NamedTuple):
    """A state, the newest commit in it, and how many events were folded since the snapshot that it began with."""

    state: State
    head: Head
    since: int


EMPTY: Final = Head(0, GENESIS)


def link(before: bytes, first: int, bodies: Sequence[str], wall: int, cursor: int | None) -> bytes:
    """Hash a commit onto the chain. Lengths go in as well, so that no two commits read the same."""
    raw = [body.encode() for body in bodies]
    lengths = [str(len(body)) for body in raw]
    digest = hashlib.sha256(before)
    digest.update(f"{first} {wall} {cursor} {len(raw)} {' '.join(lengths)}\n".encode())
    digest.update(b"".join(raw))
    return digest.digest()


_OF_SQLITE: Final = (sqlite3.Error, UnicodeDecodeError)
"""What ``sqlite3`` raises: the second where it quotes a damaged text."""


@contextlib.contextmanager
def explained(path: Path, doing: str, what: tuple[type[Exception], ...] = (*_OF_SQLITE, OSError)) -> Iterator[None]:
    """Turn what SQLite and the file system say into a ``JournalError`` that says what to do."""
    try:
        yield
    except what as error:
        message = f"{path}: cannot {doing}: {getattr(error, 'strerror', None) or error}; {_advice(error)}"
        raise JournalError(message) from error


def _advice(error: Exception) -> str:
    if isinstance(error, OSError):
        return _SPACE if error.errno in _OUT_OF_SPACE else _ACCESS
    return _ADVICE.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY, _RESTORE)


# The file


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a journal's file in a mode of SQLite's URIs, and check that it is one of ours.

    Raises:
        JournalError: it is another database, or of a newer version.
        sqlite3.Error: it cannot be opened.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    try:
        _check_kind(connection, path)
    except BaseException:  # Whatever went wrong goes on up; the connection must not leak with it.
        connection.close()
        raise
    return connection


def _check_kind(connection: sqlite3.Connection, path: Path) -> None:
    mark, tables = _pragma(connection, "application_id"), _pragma(connection, "schema_version")
    if mark != APPLICATION_ID and (mark or tables):
        message = f"{path}: it is a database, but not a journal of mrdaemon; name another file"
        raise JournalError(message)
    version = _pragma(connection, "user_version")
    if version > len(MIGRATIONS):
        message = (
            f"{path}: it was written by a newer mrdaemon (schema {version}, this one knows {len(MIGRATIONS)}); "
            "install that version or a newer one"
        )
        raise JournalError(message)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def make_writable(connection: sqlite3.Connection, *, durable: bool) -> None:
    """Set up a connection to write, and bring the schema up to date in one transaction.

    Raises:
        sqlite3.Error: the file is read-only, or cannot be written.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
    with connection:
        connection.execute("BEGIN IMMEDIATE")  # Also where there is nothing to do: a read-only file says so here.
        for script in MIGRATIONS[_pragma(connection, "user_version") :]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _statements(script: str) -> Iterator[str]:
    """Split a script: ``executescript`` would commit in between."""
    statement = ""
    for line in script.splitlines():
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


# The head beside it


def head_path(path: Path) -> Path:
    """Give the file beside a journal that keeps its newest hash."""
    real = path.resolve()
    return real.with_name(real.name + ".head")


def read_head(path: Path) -> Head | None:
    """Give the head that is kept beside a journal, or None where there is none yet.

    Raises:
        JournalError: what is there is not a head.
        OSError: it cannot be read.
    """
    place = head_path(path)
    try:
        text = place.read_bytes()
        while (again := place.read_bytes()) != text:  # A daemon was just writing it.
            text = again
    except FileNotFoundError:
        return None
    if not text:  # Its daemon was killed before it wrote the first one.
        return None
    try:
        seq, digest = text.decode("ascii").split()
        return Head(int(seq), bytes.fromhex(digest))
    except ValueError as error:
        message = f"{place}: it is not a journal's head (got {text[:40]!r}); {_RESTORE}"
        raise JournalError(message) from error


def newest(connection: sqlite3.Connection) -> Head:
    """Give the newest commit."""
    row = connection.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return EMPTY if row is None else Head(*row)


def check_head(connection: sqlite3.Connection, path: Path, head: Head | None) -> None:
    """Compare the head beside the file with the file. It may lag behind (a crash between the two), never be ahead.

    Raises:
        JournalError: the end was cut off, or is not the one that was written.
    """
    last = newest(connection)
    if head is None:
        if last != EMPTY:
            message = f"{path}: its head {head_path(path).name} is missing or empty; {_RESTORE}"
            raise JournalError(message)
        return
    if head.seq > last.seq:
        message = (
            f"{path}: it ends at event {last.seq}, but event {head.seq} was acknowledged: it was cut off, or is an \
older one; {_RESTORE}"
        )
        raise JournalError(message)
    row = connection.execute("SELECT hash FROM events WHERE seq = ?", (head.seq,)).fetchone()
    if head != EMPTY and row != (head.hash,):
        message = f"{path}: the commit of event {head.seq} is not the one that its head remembers; {_RESTORE}"
        raise JournalError(message)


# The chain


def commits(connection: sqlite3.Connection, path: Path, after: Head = EMPTY) -> Iterator[Commit]:
    """Give the commits after one, in order, each checked against the chain.

    Raises:
        JournalError: naming the first event that is missing or not what was written.
    """
    head, bodies = after, list[str]()
    for seq, body, wall, cursor, digest in connection.execute(
        "SELECT seq, body, wall, cursor, hash FROM events WHERE seq > ? ORDER BY seq", (after.seq,)
    ):
        first, expected = head.seq + 1, head.seq + 1 + len(bodies)
        if seq != expected:
            message = f"{path}: event {expected} is missing; {_RESTORE}"
            raise JournalError(message)
        bodies.append(str(body))  # A damaged file may hold anything here: then the hash does not fit.
        if wall is None and cursor is None and digest is None:
            continue
        if link(head.hash, first, bodies, wall, cursor) != digest:
            message = f"{path}: events {first} to {seq} are not what was written: their hash differs; {_RESTORE}"
            raise JournalError(message)
        head = Head(seq, digest)
        yield Commit(first, bodies, wall, cursor, head)
        bodies = []
    if bodies:
        message = f"{path}: events {head.seq + 1} to {head.seq + len(bodies)} belong to no commit; {_RESTORE}"
        raise JournalError(message)


def _decode(path: Path, commit: Commit) -> Iterator[tuple[int, ev.Event]]:
    for seq, body in enumerate(commit.bodies, commit.first):
        try:
            yield seq, ev.decode(body)
        except msgspec.MsgspecError as error:
            message = (
                f"{path}: event {seq} is what was written, but this mrdaemon cannot read it: {error}; "
                "install the version that wrote it, or a newer one"
            )
            raise JournalError(message) from error


def fold(connection: sqlite3.Connection, path: Path, at_least: int | None = None) -> Folded:
    """Fold the newest snapshot that fits and the commits after it: all, or until there were so many events."""
    state, head = _newest_snapshot(connection)
    start = head.seq
    for commit in commits(connection, path, head):
        for _, event in _decode(path, commit):
            apply(state, event)
        head = commit.head
        if at_least is not None and head.seq - start >= at_least:
            break
    return Folded(state, head, head.seq - start)


def oldest(path: Path) -> Loaded:
    """Give the state furthest back that needs no folding: of the spare snapshot, or before the first event.

    Raises:
        JournalError: see ``reading``.
    """
    with reading(path) as connection:
        found = list(_snapshots(connection))
    state, head = found[-1] if found else (State(), EMPTY)
    return Loaded(state, head.seq, None)


def _newest_snapshot(connection: sqlite3.Connection) -> tuple[State, Head]:
    return next(_snapshots(connection), (State(), EMPTY))


def _snapshots(connection: sqlite3.Connection) -> Iterator[tuple[State, Head]]:
    """Give the snapshots that can be used, the newest first."""
    for seq, link_hash, digest, body in connection.execute(
        "SELECT s.seq, e.hash, s.hash, CAST(s.body AS BLOB) FROM snapshots s JOIN events e ON e.seq = s.seq "
        "WHERE s.fold = ? AND e.hash IS NOT NULL ORDER BY s.seq DESC",
        (FOLD_VERSION,),
    ):
        if hashlib.sha256(body).digest() == digest:
            with contextlib.suppress(msgspec.MsgspecError):
                yield read(body), Head(seq, link_hash)


def save_snapshot(connection: sqlite3.Connection, folded: Folded) -> None:
    """Keep a state as the newest snapshot, the one before it as a spare, and no other."""
    body, seq = msgspec.json.encode(folded.state), folded.head.seq
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)",
            (seq, FOLD_VERSION, hashlib.sha256(body).digest(), body),
        )
        connection.execute(
            "DELETE FROM snapshots WHERE seq > :seq OR seq < (SELECT max(seq) FROM snapshots WHERE seq < :seq)",
            {"seq": seq},
        )


def newest_cursor(connection: sqlite3.Connection) -> int | None:
    """Give how far the recording had been read, or None where there was none."""
    row = connection.execute("SELECT cursor FROM events WHERE cursor IS NOT NULL ORDER BY seq DESC LIMIT 1").fetchone()
    return None if row is None else int(row[0])


# Reading beside a running daemon


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a journal to read, also while a daemon writes it; what is read is as of one moment.

    Raises:
        JournalError: there is none, or it cannot be read.
    """
    with explained(path, "read the journal"):
        if not path.is_file():
            message = f"{path}: there is no journal of this name"
            raise JournalError(message)
        connection = connect(path, "ro&immutable=1" if _at_rest(path) else "ro")
    with contextlib.closing(connection), explained(path, "read the journal", _OF_SQLITE):
        connection.execute("BEGIN")
        if not _pragma(connection, "user_version"):
            message = f"{path}: it is empty; if it was a journal, {_RESTORE}"
            raise JournalError(message)
        yield connection


def _at_rest(path: Path) -> bool:
    """Tell whether nobody writes it, in a folder where SQLite cannot make the files that it wants beside it."""
    real = path.resolve()
    return not os.access(real.parent, os.W_OK) and not real.with_name(real.name + "-wal").exists()


def records(path: Path, after: int = 0) -> Iterator[Record]:
    """Give a journal's events in order, from the one after ``after``: all that are sound, before an error is raised.

    Raises:
        JournalError: see ``reading``; or an event is missing or not what was written.
    """
    head: Head | None = None
    while True:
        page, damage = list[Commit](), None
        try:
            with reading(path) as connection:
                head = head or _commit_before(connection, after)
                _fill(page, commits(connection, path, head))
        except JournalError as error:
            damage = error
        for commit in page:
            for seq, event in _decode(path, commit):
                if seq > after:
                    yield Record(seq, event, commit.wall, commit.cursor)
        if damage is not None:
            raise damage
        if not page:
            return
        head = page[-1].head


def _fill(page: list[Commit], rest: Iterator[Commit]) -> None:
    """Read commits into a page until it is full: those before a damaged one are in it, whatever follows."""
    events = 0
    for commit in rest:
        page.append(commit)
        events += len(commit.bodies)
        if events >= PAGE:
            return


def _commit_before(connection: sqlite3.Connection, seq: int) -> Head:
    row = connection.execute(
        "SELECT seq, hash FROM events WHERE seq <= ? AND hash IS NOT NULL ORDER BY seq DESC LIMIT 1", (seq,)
    ).fetchone()
    return EMPTY if row is None else Head(*row)


def last(path: Path) -> int:
    """Give the number of the last event.

    Raises:
        JournalError: see ``reading``.
    """
    with reading(path) as connection:
        return newest(connection).seq


def current(path: Path) -> Loaded:
    """Fold a journal without writing to it.

    Raises:
        JournalError: see ``records``.
    """
    with reading(path) as connection:
        folded = fold(connection, path)
        return Loaded(folded.state, folded.head.seq, newest_cursor(connection))


class Verified(NamedTuple):
    """What a verification went through."""

    events: int
    commits: int
    snapshots: int
    outdated: int
    """Snapshots of another version of the fold: nobody reads them, and they were not checked."""
    head: str


def verify(path: Path) -> Verified:
    """Check the file's structure, every commit's hash, the head beside it, and every snapshot.

    Raises:
        JournalError: naming the first thing that does not hold.
    """
    with explained(path, "read the journal's head"):
        remembered = read_head(path)  # Before the journal: what is committed meanwhile must not look cut off.
    with reading(path) as connection:
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            message = f"{path}: it is damaged: {found}; {_RESTORE}"
            raise JournalError(message)
        snapshots = {
            seq: (digest, body)
            for seq, digest, body in connection.execute(
                "SELECT seq, hash, body FROM snapshots WHERE fold = ?", (FOLD_VERSION,)
            )
        }
        outdated = connection.execute("SELECT count(*) FROM snapshots").fetchone()[0] - len(snapshots)
        state, head, count, fitting = State(), EMPTY, 0, 0
        for commit in commits(connection, path):
            for _, event in _decode(path, commit):
                apply(state, event)
            head, count = commit.head, count + 1
            if head.seq in snapshots:
                _check_snapshot(path, head.seq, *snapshots.pop(head.seq), state)
                fitting += 1
        if snapshots:
            message = f"{path}: the snapshot at event {min(snapshots)} belongs to no commit; {_DROP}"
            raise JournalError(message)
        check_head(connection, path, remembered)
    return Verified(head.seq, count, fitting, outdated, head.hash.hex())


def _check_snapshot(path: Path, seq: int, digest: bytes, body: bytes, state: State) -> None:
    same = False
    with contextlib.suppress(msgspec.MsgspecError):
        same = hashlib.sha256(body).digest() == digest and read(body) == state
    if not same:
        message = f"{path}: the snapshot at event {seq} is not what the events up to it say; {_DROP}"
        raise JournalError(message)
