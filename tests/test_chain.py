"""The journal as a file: what verification finds, what readers see, who may write."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from mrdaemon import chain, lock
from mrdaemon.chain import JournalError, current, records, verify
from mrdaemon.core import events as ev
from mrdaemon.core import portfolio
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import Price
from mrdaemon.core.state import State
from mrdaemon.journal import Journal
from mrdaemon.lock import JournalBusyError, holder

GROUPS = (1, 3, 2, 1, 3)
"""How many events each commit of the usual journal has: 10 in 5 commits."""
ODD_NAMES = (
    "a%41b.db",
    "what?.db",
    "a#b.db",
    "with space.db",
    "büro-日本.db",
    "file:x?mode=memory&a=b.db",
    "quo'te\".db",
)

PREPARE = """
import asyncio, ctypes, struct, sys
from pathlib import Path
from mrdaemon.chain import JournalError, records, verify, current
from mrdaemon.journal import Journal
from mrdaemon.lock import JournalBusyError, holder

path = Path(sys.argv[1])
# Root may write everywhere. Without its capabilities it is bound by modes, like everybody.
ctypes.CDLL(None).capset(struct.pack("Ii", 0x20080522, 0), bytes(24))
"""
READ_ALL = "print(verify(path).events, current(path).seq, [record.seq for record in records(path, 8)])"
HOLD = """
async def main():
    async with Journal(path) as journal:
        print("held", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


def fact(number: int) -> ev.PriceAccepted:
    return ev.PriceAccepted(at=Instant(number * SECOND), symbol=f"S{number % 7}", price=Price(Decimal(number)))


async def fill(path: Path, *groups: int, start: int = 1, cursors: bool = False) -> None:
    """Write a journal: one commit for each group."""
    async with Journal(path, wall=iter(range(1_000, 10_000_000)).__next__) as journal:
        seq = journal.load().seq
        for number, size in enumerate(groups, start):
            await journal.append([fact(seq + n + 1) for n in range(size)], number * 10 if cursors else None)
            seq += size


def tamper(path: Path, statement: str, *values: object) -> None:
    """Change a closed journal behind its back."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER IF EXISTS events_update")
        connection.execute("DROP TRIGGER IF EXISTS events_delete")
        connection.execute(statement, values)


def read_all(path: Path) -> list[chain.Record]:
    return list(records(path))


def child(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PREPARE + code, str(path)], stdout=subprocess.PIPE, text=True)


def answer_of_child(code: str, path: Path) -> str:
    with child(code, path) as process:
        out, _ = process.communicate()
    assert process.returncode == 0
    return out


def handles() -> set[str]:
    """Give the files that this process has open."""
    found: set[str] = set()
    for handle in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # The one that lists them.
            found.add(f"{handle.name} {handle.readlink()}")
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path: Path) -> Path:
    """A closed journal of ten events in five commits."""
    await fill(path, *GROUPS, cursors=True)
    return path


# Verification


def test_a_sound_journal_verifies(journal: Path) -> None:
    found = verify(journal)
    assert (found.events, found.commits, found.snapshots, found.outdated) == (10, 5, 0, 0)


def test_the_hash_of_a_commit_is_what_it_says(journal: Path) -> None:
    with chain.reading(journal) as connection:
        body, wall, digest = connection.execute("SELECT body, wall, hash FROM events WHERE seq = 1").fetchone()
    start = hashlib.sha256(b"mrdaemon journal").digest()
    assert digest == hashlib.sha256(start + f"1 {wall} 10 1 {len(body)}\n{body}".encode()).digest()


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        pytest.param("DELETE FROM events WHERE seq = 1", "event 1 is missing", id="the first event"),
        pytest.param("DELETE FROM events WHERE seq = 3", "event 3 is missing", id="an event in the middle"),
        pytest.param("DELETE FROM events WHERE seq BETWEEN 2 AND 4", "event 2 is missing", id="a commit"),
        pytest.param("DELETE FROM events WHERE seq = 10", "events 8 to 9 belong to no commit", id="the last event"),
        pytest.param("DELETE FROM events WHERE seq > 7", "event 10 was acknowledged: it was cut off", id="the end"),
        pytest.param("DELETE FROM events", "ends at event 0, but event 10 was acknowledged", id="everything"),
        pytest.param(
            "UPDATE events SET body = replace(body, '3', '4') WHERE seq = 3",
            "events 2 to 4 are not what was written: their hash differs",
            id="a changed event",
        ),
        pytest.param(
            "UPDATE events SET body = (SELECT body FROM events AS e WHERE e.seq = 5 - events.seq) WHERE seq IN (2, 3)",
            "events 2 to 4 are not what was written",
            id="two events swapped",
        ),
        pytest.param("UPDATE events SET wall = wall + 1 WHERE seq = 4", "events 2 to 4 are not", id="a changed time"),
        pytest.param("UPDATE events SET cursor = 9 WHERE seq = 4", "events 2 to 4 are not", id="a changed cursor"),
        pytest.param("UPDATE events SET cursor = NULL WHERE seq = 4", "events 2 to 4 are not", id="a removed cursor"),
        pytest.param("UPDATE events SET cursor = 9 WHERE seq = 3", "events 2 to 3 are not", id="an added cursor"),
        pytest.param("UPDATE events SET wall = 9 WHERE seq = 3", "events 2 to 3 are not", id="an added time"),
        pytest.param("UPDATE events SET hash = x'00' WHERE seq = 4", "events 2 to 4 are not", id="a changed hash"),
        pytest.param("UPDATE events SET hash = NULL WHERE seq = 4", "events 2 to 4 are not", id="a removed hash"),
        pytest.param(
            "UPDATE events SET hash = NULL, wall = NULL, cursor = NULL WHERE seq = 4",
            "events 2 to 6 are not",
            id="two commits made one",
        ),
        pytest.param(
            "INSERT INTO events (seq, body) SELECT 11, body FROM events WHERE seq = 10",
            "events 11 to 11 belong to no commit",
            id="an added event",
        ),
        pytest.param("INSERT OR REPLACE INTO events SELECT 4, body, wall, cursor, hash FROM events WHERE seq = 7",
                     "events 2 to 4 are not", id="a replaced event"),
    ],
)  # fmt: skip
def test_verification_finds(journal: Path, statement: str, finding: str) -> None:
    tamper(journal, statement)
    with pytest.raises(JournalError, match=finding) as caught:
        verify(journal)
    assert str(caught.value).startswith(f"{journal}: ")
    assert "restore it from a backup: mrdaemon restore" in str(caught.value)


def test_verification_finds_an_end_that_was_rewritten_with_fitting_hashes(journal: Path) -> None:
    with chain.reading(journal) as connection:
        before = connection.execute("SELECT hash FROM events WHERE seq = 7").fetchone()[0]
    body = ev.encode(fact(99)).decode()
    digest = chain.link(before, 8, [body] * 3, 5, None)
    tamper(journal, "UPDATE events SET body = ? WHERE seq > 7", body)
    tamper(journal, "UPDATE events SET wall = 5, cursor = NULL, hash = ? WHERE seq = 10", digest)
    with pytest.raises(JournalError, match="the commit of event 10 is not the one that its head remembers"):
        verify(journal)


async def test_verification_finds_an_older_backup_in_the_journals_place(journal: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copy(journal, backup)
    await fill(journal, 2)
    shutil.copy(backup, journal)
    with pytest.raises(JournalError, match=r"ends at event 10, but event 12 was acknowledged: .* is an older one"):
        verify(journal)


async def test_a_backup_of_journal_and_head_verifies(journal: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    shutil.copy(journal, backup)
    shutil.copy(chain.head_path(journal), chain.head_path(backup))
    await fill(journal, 2)
    assert verify(backup).events == 10


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (None, "its head journal.db.head is missing or empty"),
        (b"", "its head journal.db.head is missing or empty"),
        (b"garbled\n", "journal.db.head: it is not a journal's head"),
        (b"\x00\xff" * 50, "journal.db.head: it is not a journal's head"),
        (b"10 xyz\n", "journal.db.head: it is not a journal's head"),
        (b"10 " + b"0" * 64, "the commit of event 10 is not the one that its head remembers"),
        (b"3 " + b"0" * 64, "the commit of event 3 is not the one that its head remembers"),
        (b"0 " + b"0" * 64, "the commit of event 0 is not the one that its head remembers"),
    ],
)
async def test_a_removed_or_garbled_head_is_found(journal: Path, text: bytes | None, finding: str) -> None:
    head = chain.head_path(journal)
    head.unlink()
    if text is not None:
        head.write_bytes(text)
    with pytest.raises(JournalError, match=finding):
        verify(journal)
    with pytest.raises(JournalError, match=finding):
        await fill(journal, 1)


async def test_a_head_that_lags_behind_is_no_damage(journal: Path) -> None:
    head = chain.head_path(journal)
    before = head.read_bytes()
    await fill(journal, 2)
    head.write_bytes(before)
    assert verify(journal).events == 12
    await fill(journal, 1)
    assert verify(journal).events == 13


def test_a_head_that_is_being_written_is_read_again(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = chain.head_path(journal).read_bytes()
    seen = iter([head[:30], b"x" + head[1:], head, head])
    monkeypatch.setattr(Path, "read_bytes", lambda _: next(seen))
    found = chain.read_head(journal)
    assert found is not None
    assert found.seq == 10


def test_a_body_may_be_split_in_one_way_only() -> None:
    seen = {
        chain.link(b"", 1, bodies, 2, 3) for bodies in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ["", "abc"])
    }
    assert len(seen) == 5


async def test_whatever_bytes_are_damaged_it_is_told_or_nothing_is_lost(journal: Path) -> None:
    sound, intact = journal.read_bytes(), list(records(journal))
    dice = random.Random(1)
    told = 0
    for _ in range(400):
        for name in ("journal.db-wal", "journal.db-shm"):  # A reader of the damaged file may have left them.
            journal.with_name(name).unlink(missing_ok=True)
        damaged, place = bytearray(sound), dice.randrange(len(sound))
        damaged[place : place + 4] = dice.randbytes(4)
        journal.write_bytes(damaged[: len(sound)])
        try:
            verify(journal)
        except JournalError:
            told += 1
        else:
            assert list(records(journal)) == intact
        with contextlib.suppress(JournalError):
            await fill(journal)
    assert told > 10


# Files that are no journal, or damaged


def random_bytes(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(1).randbytes(path.stat().st_size - 4096))


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def one_page(path: Path) -> None:
    os.truncate(path, 4096)


def text_file(path: Path) -> None:
    path.write_text("Dear diary,\n" * 500)


def short_text_file(path: Path) -> None:
    path.write_text("hello")


def another_program(path: Path) -> None:
    path.unlink()
    tamper(path, "CREATE TABLE bookmarks (url TEXT)")
    tamper(path, "PRAGMA user_version = 40")


def marked_by_another_program(path: Path) -> None:
    path.unlink()
    tamper(path, "PRAGMA application_id = 7")


def newer_version(path: Path) -> None:
    tamper(path, "PRAGMA user_version = 99")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    os.truncate(path, 0)


MALFORMED = r"(database disk image is malformed|it is damaged: [^;]*); keep it for a look, and restore it"
NO_JOURNAL = "it is a database, but not a journal of mrdaemon; name another file"
NEWER = r"written by a newer mrdaemon \(schema 99, this one knows 2\); install that version or a newer one"


@pytest.mark.parametrize(
    ("damage", "reading", "writing"),
    [
        (random_bytes, MALFORMED, MALFORMED),
        (truncated, MALFORMED, MALFORMED),
        (one_page, MALFORMED, MALFORMED),
        (text_file, "file is not a database; name another file", "file is not a database; name another file"),
        (short_text_file, "file is not a database; name another file", "file is not a database; name another file"),
        (another_program, NO_JOURNAL, NO_JOURNAL),
        (marked_by_another_program, NO_JOURNAL, NO_JOURNAL),
        (newer_version, NEWER, NEWER),
        (directory, "there is no journal of this name", "unable to open database file; see that it is a file which"),
        (empty, "it is empty; if it was a journal, keep it", "event 10 was acknowledged: it was cut off"),
    ],
)
async def test_a_damaged_file_is_told_and_nothing_is_left_open(
    journal: Path, damage: Callable[[Path], None], reading: str, writing: str
) -> None:
    damage(journal)
    before = handles()
    for look in (verify, current, read_all):
        with pytest.raises(JournalError, match=reading) as caught:
            look(journal)
        assert str(caught.value).startswith(f"{journal}: ")
    with pytest.raises(JournalError, match=writing) as caught:
        await fill(journal, 1)
    assert str(caught.value).startswith(f"{journal}: ")
    assert handles() == before
    assert holder(journal) is None


async def test_another_programs_database_is_left_as_it_was(path: Path) -> None:
    path.touch()
    another_program(path)
    before = path.read_bytes()
    with pytest.raises(JournalError, match="not a journal of mrdaemon"):
        await fill(path, 1)
    assert path.read_bytes() == before


@pytest.mark.parametrize("look", [verify, current, read_all])
def test_a_journal_that_is_not_there_is_not_made_by_looking(tmp_path: Path, look: Callable[[Path], object]) -> None:
    with pytest.raises(JournalError, match="there is no journal of this name"):
        look(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def test_an_event_of_a_newer_version_is_not_called_damage(journal: Path) -> None:
    with chain.reading(journal) as connection:
        before = chain.newest(connection)
    body = '{"kind":"rocket_launched","at":1}'
    digest = chain.link(before.hash, 11, [body], 5, None)
    tamper(journal, "INSERT INTO events VALUES (11, ?, 5, NULL, ?)", body, digest)
    for look in (verify, current, read_all):
        with pytest.raises(
            JournalError, match=r"event 11 is what was written, but .* install the version that wrote it"
        ):
            look(journal)


# Reading


def test_records_give_every_event_in_order_with_its_commits_time_and_cursor(journal: Path) -> None:
    seen = list(records(journal))
    assert [record.event for record in seen] == [fact(number) for number in range(1, 11)]
    assert [record.seq for record in seen] == list(range(1, 11))
    assert [record.wall for record in seen] == [1000, 1001, 1001, 1001, 1002, 1002, 1003, 1004, 1004, 1004]
    assert [record.cursor for record in seen] == [10, 20, 20, 20, 30, 30, 40, 50, 50, 50]


@pytest.mark.parametrize("after", range(12))
@pytest.mark.parametrize("page", [1, 3, 10_000])
def test_records_go_on_after_any_event(journal: Path, after: int, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "PAGE", page)
    assert [record.seq for record in records(journal, after)] == list(range(after + 1, 11))


def test_records_are_read_as_they_are_asked_for(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "PAGE", 2)
    tamper(journal, "DELETE FROM events WHERE seq = 6")
    seen = records(journal)
    assert [next(seen).seq for _ in range(4)] == [1, 2, 3, 4]
    with pytest.raises(JournalError, match="event 6 is missing"):
        next(seen)


def test_between_two_records_the_file_is_not_held(journal: Path) -> None:
    before = handles()
    seen = records(journal)
    next(seen)
    assert handles() == before


def test_no_query_of_a_reader_scans_the_events(journal: Path) -> None:
    plans: list[str] = []
    with chain.reading(journal) as connection:
        queries: list[str] = []
        connection.set_trace_callback(queries.append)
        list(chain.commits(connection, journal, chain._commit_before(connection, 5)))
        chain.newest(connection)
        chain.newest_cursor(connection)
        connection.set_trace_callback(None)
        for query in queries:
            plans += [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert len(plans) == 4
    assert [plan for plan in plans if "PRIMARY KEY" not in plan] == [
        "SCAN events",  # newest: backwards, one row
        "SCAN events USING INDEX events_with_cursor",  # backwards, one row
    ]


def test_reading_is_as_of_one_moment(journal: Path) -> None:
    with chain.reading(journal) as connection:
        before = chain.newest(connection)
        with contextlib.closing(chain.connect(journal, "rw")) as writer:
            writer.execute("INSERT INTO events VALUES (11, '', 1, NULL, x'00')")
        assert chain.newest(connection) == before


def test_what_a_reader_does_with_it_is_not_explained_as_the_journals(journal: Path) -> None:
    with pytest.raises(BrokenPipeError), chain.reading(journal):
        raise BrokenPipeError


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_a_name_with_odd_characters_is_just_a_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    await fill(path, *GROUPS)
    assert (verify(path).events, current(path).seq, len(list(records(path)))) == (10, 10, 10)
    assert [each for each in tmp_path.iterdir() if not each.name.startswith(name)] == []


async def test_a_symlink_is_the_journal_that_it_points_to(journal: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(journal)
    await fill(link, 2)
    assert (verify(link).events, verify(journal).events) == (12, 12)
    assert list(link.parent.iterdir()) == [link]


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "archive"
    folder.mkdir()
    yield folder
    folder.chmod(0o755)


async def test_a_journal_in_a_read_only_folder_can_be_read(read_only_folder: Path) -> None:
    path = read_only_folder / "journal.db"
    await fill(path, *GROUPS)
    read_only_folder.chmod(0o555)
    before = set(read_only_folder.iterdir())
    assert answer_of_child(READ_ALL, path) == "10 10 [9, 10]\n"
    assert set(read_only_folder.iterdir()) == before


async def test_a_journal_in_a_read_only_folder_can_be_read_while_it_is_written(read_only_folder: Path) -> None:
    path = read_only_folder / "journal.db"
    async with Journal(path) as journal:
        journal.load()
        await journal.append([fact(number) for number in range(10)])
        read_only_folder.chmod(0o555)
        assert answer_of_child(READ_ALL, path) == "10 10 [9, 10]\n"


async def test_a_killed_daemons_journal_in_a_read_only_folder_is_read_to_its_end(
    path: Path, read_only_folder: Path
) -> None:
    async with Journal(path) as journal:
        journal.load()
        await journal.append([fact(number) for number in range(10)])
        for name in ("", "-wal", "-shm", ".head"):  # What a kill leaves.
            shutil.copy(f"{path}{name}", read_only_folder / f"journal.db{name}")
    read_only_folder.chmod(0o555)
    assert answer_of_child(READ_ALL, read_only_folder / "journal.db") == "10 10 [9, 10]\n"


@pytest.mark.parametrize("mode", [0o444, 0o400])
async def test_a_read_only_file_is_refused_at_the_start(journal: Path, mode: int) -> None:
    journal.chmod(mode)
    out = answer_of_child(REFUSED, journal)
    assert out.startswith(f"{journal}: cannot open the journal: attempt to write a readonly database; see that")


async def test_a_read_only_folder_is_refused_at_the_start(read_only_folder: Path) -> None:
    path = read_only_folder / "journal.db"
    await fill(path, *GROUPS)
    lock.lock_path(path).unlink()
    read_only_folder.chmod(0o555)
    out = answer_of_child(REFUSED, path)
    assert out.startswith(f"{path}: cannot open the journal: Permission denied; see that it is a file which this user")


async def test_a_folder_that_became_read_only_is_refused_at_the_start(read_only_folder: Path) -> None:
    path = read_only_folder / "journal.db"
    await fill(path, *GROUPS)
    read_only_folder.chmod(0o555)
    out = answer_of_child(REFUSED, path)
    assert out.startswith(f"{path}: cannot open the journal: ")
    assert "see that it is a file which this user may read and write, and its folder as well" in out


REFUSED = """
async def main():
    try:
        async with Journal(path):
            print("opened")
    except JournalError as error:
        print(error)
asyncio.run(main())
"""


# The lock


async def test_two_daemons_cannot_share_a_journal(journal: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(journal)
    with child(HOLD, journal) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        before = handles()
        for name in (journal, link):
            with pytest.raises(JournalBusyError, match=rf"another mrdaemon \(process {other.pid}\) uses it; stop that"):
                await fill(name, 1)
            assert holder(name) == other.pid
        assert handles() == before
        other.send_signal(signal.SIGKILL)
    assert holder(journal) is None
    await fill(journal, 1)
    assert verify(journal).events == 11


async def test_nor_can_one_process_open_it_twice(path: Path) -> None:
    async with Journal(path):
        with pytest.raises(JournalBusyError, match=f"process {os.getpid()}"):
            await fill(path, 1)
        assert holder(path) == os.getpid()
    assert holder(path) is None


async def test_asking_who_holds_a_journal_takes_no_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Journal(path):
        commands = []
        ask = fcntl.fcntl

        def spy(handle: int, command: int, argument: bytes) -> bytes:
            commands.append(command)
            return ask(handle, command, argument)

        monkeypatch.setattr(fcntl, "fcntl", spy)
        assert holder(path) == os.getpid()
        assert commands == [fcntl.F_OFD_GETLK]


@pytest.mark.parametrize("text", [b"", b"?\xff?", b"-3"])
async def test_a_holder_that_has_not_said_its_number_is_a_holder(path: Path, text: bytes) -> None:
    async with Journal(path):
        lock.lock_path(path).write_bytes(text)
        assert holder(path) == 0
        with pytest.raises(JournalBusyError, match="process unknown"):
            await fill(path, 1)


def test_nobody_holds_a_journal_that_never_was(path: Path) -> None:
    assert holder(path) is None


async def test_a_lock_that_cannot_be_seen_is_told(path: Path) -> None:
    lock.lock_path(path).symlink_to(lock.lock_path(path))
    with pytest.raises(JournalError, match="cannot see who holds the journal: Too many levels of symbolic links"):
        holder(path)


def test_a_lock_that_cannot_be_written_is_given_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = handles()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        lock.take(path)
    assert handles() == before
    assert holder(path) is None


# Snapshots


async def snapshot_at(path: Path, seq: int, state: State | None = None, body: bytes | None = None) -> None:
    """Save a snapshot at an event, of the state there, or of another."""
    with contextlib.closing(chain.connect(path, "rw")) as connection:
        before = chain.fold(connection, path, 0).head.seq
        folded = chain.fold(connection, path, seq - before)
        assert folded.head.seq == seq
        chain.save_snapshot(connection, folded._replace(state=state or folded.state))
        if body is not None:
            connection.execute("UPDATE snapshots SET body = ?, hash = ?", (body, hashlib.sha256(body).digest()))


def folds_of(monkeypatch: pytest.MonkeyPatch, path: Path) -> tuple[State, int]:
    """Give the state that a journal loads, and how many events were folded for it."""
    folded = []

    def spy(state: State, event: ev.Event) -> None:
        folded.append(event)
        portfolio.apply(state, event)

    monkeypatch.setattr(chain, "apply", spy)
    state = current(path).state
    monkeypatch.undo()
    return state, len(folded)


async def test_a_restart_folds_the_newest_snapshot_and_the_events_after_it(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, everything = folds_of(monkeypatch, journal)
    await snapshot_at(journal, 6)
    assert folds_of(monkeypatch, journal) == (whole, 4)
    assert everything == 10
    assert verify(journal).snapshots == 1


async def test_dropping_the_snapshots_changes_nothing_but_time(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await snapshot_at(journal, 6)
    with_snapshot, _ = folds_of(monkeypatch, journal)
    tamper(journal, "DELETE FROM snapshots")
    assert folds_of(monkeypatch, journal) == (with_snapshot, 10)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE snapshots SET body = CAST(replace(body, 'S1', 'S9') AS BLOB)",
        "UPDATE snapshots SET body = x''",
        "UPDATE snapshots SET hash = x'00'",
    ],
)
async def test_a_tampered_snapshot_is_ignored_by_load_and_reported_by_verify(
    journal: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = folds_of(monkeypatch, journal)
    await snapshot_at(journal, 6)
    tamper(journal, change)
    assert folds_of(monkeypatch, journal) == (whole, 10)
    with pytest.raises(JournalError, match=r"snapshot at event 6 is not what the events .* say; nothing is lost"):
        verify(journal)


async def test_a_snapshot_of_another_shape_is_ignored_by_load_and_reported_by_verify(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = folds_of(monkeypatch, journal)
    await snapshot_at(journal, 6, body=b'{"at": "yesterday"}')
    assert folds_of(monkeypatch, journal) == (whole, 10)
    with pytest.raises(JournalError, match="the snapshot at event 6 is not what the events up to it say"):
        verify(journal)


async def test_a_snapshot_that_the_events_do_not_say_is_reported_by_verify(journal: Path) -> None:
    await snapshot_at(journal, 6, State(nonce="forged"))
    with pytest.raises(JournalError, match="the snapshot at event 6 is not what the events up to it say"):
        verify(journal)


async def test_a_snapshot_of_another_version_is_ignored_by_load_and_counted_by_verify(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = folds_of(monkeypatch, journal)
    await snapshot_at(journal, 6)
    tamper(journal, "UPDATE snapshots SET fold = fold + 1")
    assert folds_of(monkeypatch, journal) == (whole, 10)
    assert verify(journal)[2:4] == (0, 1)


@pytest.mark.parametrize("seq", [5, 99])
async def test_a_snapshot_between_commits_is_ignored_by_load_and_reported_by_verify(
    journal: Path, seq: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = folds_of(monkeypatch, journal)
    await snapshot_at(journal, 6)
    tamper(journal, "UPDATE snapshots SET seq = ?", seq)
    assert folds_of(monkeypatch, journal) == (whole, 10)
    with pytest.raises(JournalError, match=f"the snapshot at event {seq} belongs to no commit; nothing is lost"):
        verify(journal)


async def test_the_newest_snapshot_and_a_spare_are_kept(journal: Path) -> None:
    for seq in (1, 4, 6):
        await snapshot_at(journal, seq)
    with chain.reading(journal) as connection:
        assert [row[0] for row in connection.execute("SELECT seq FROM snapshots")] == [4, 6]


async def test_a_new_snapshot_takes_the_place_of_those_after_it_that_do_not_fit(journal: Path) -> None:
    await snapshot_at(journal, 6)
    tamper(journal, "INSERT INTO snapshots SELECT 8, fold, hash, body FROM snapshots")
    tamper(journal, "INSERT INTO snapshots SELECT 10, fold + 1, hash, body FROM snapshots WHERE seq = 6")
    tamper(journal, "UPDATE snapshots SET hash = x'00' WHERE seq = 6")
    await snapshot_at(journal, 4)
    with chain.reading(journal) as connection:
        assert [row[0] for row in connection.execute("SELECT seq FROM snapshots")] == [4]


def test_what_comes_before_the_damage_is_given_before_it_is_told(journal: Path) -> None:
    whole = [record.seq for record in chain.records(journal)]
    with sqlite3.connect(journal) as connection:
        connection.execute("DROP TRIGGER events_update")
        connection.execute("UPDATE events SET body = '{}' WHERE seq = ?", (whole[-1],))
    connection.close()
    found = chain.records(journal)
    assert [next(found).seq for _ in range(3)] == whole[:3]
    with pytest.raises(JournalError, match="are not what was written"):
        list(found)
