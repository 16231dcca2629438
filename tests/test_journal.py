"""The journal's writer: what is acknowledged is there, whatever happens next; what is not, stops everything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Self

import pytest

from mrdaemon import chain, journal, lock
from mrdaemon.chain import JournalError, records, verify
from mrdaemon.core import events as ev
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import Price
from mrdaemon.core.state import State
from mrdaemon.journal import Journal
from mrdaemon.lock import holder

CHILD = """
import asyncio, resource, sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from mrdaemon.chain import JournalError
from mrdaemon.core import events as ev
from mrdaemon.journal import Journal
from mrdaemon.lock import holder

path = Path(sys.argv[1])

def fact(number):
    return ev.PriceAccepted(at=number, symbol=f"S{number % 7}", price=Decimal(number))
"""

APPEND_FOR_EVER = """
async def main():
    async with Journal(path) as journal:
        seq = journal.load().seq
        while True:
            await asyncio.gather(*[journal.append([fact(seq + n)]) for n in (1, 2, 3)])
            seq += 3
            print(seq, flush=True)

asyncio.run(main())
"""

FILL_THE_DISK = """
async def main():
    async with Journal(path) as journal:
        seq = journal.load().seq
        size = sum(path.with_name(name).stat().st_size for name in ("journal.db", "journal.db-wal"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50_000, hard))
        try:
            while True:
                await journal.append([fact(seq + 1)])
                seq += 1
        except JournalError as error:
            print(seq)
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        try:
            await journal.append([fact(0)])
        except JournalError as error:
            print(error)

asyncio.run(main())
"""


def fact(number: int) -> ev.PriceAccepted:
    return ev.PriceAccepted(at=Instant(number * SECOND), symbol=f"S{number % 7}", price=Price(Decimal(number)))


def facts(first: int, last: int) -> list[ev.PriceAccepted]:
    return [fact(number) for number in range(first, last + 1)]


def start_child(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CHILD + code, str(path)], stdout=subprocess.PIPE, text=True)


def handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextlib.contextmanager
def aside(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection of another program."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


class Gate:
    """A wall clock that counts commits, and at which the writer can be made to wait."""

    def __init__(self) -> None:
        self._count = count(1)
        self._open = threading.Event()
        self._open.set()
        self._reached = threading.Event()

    def __call__(self) -> int:
        self._reached.set()
        self._open.wait()
        return next(self._count)

    def shut(self) -> None:
        self._reached.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def reached(self) -> Self:
        await asyncio.to_thread(self._reached.wait)
        return self


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


# What was appended is there


async def test_what_was_appended_is_there_after_a_restart(path: Path) -> None:
    async with Journal(path) as first:
        assert first.load() == (State(), 0, None)
        await first.append(facts(1, 3))
        await first.append(facts(4, 4), cursor=77)
        assert first.seq == 4
    async with Journal(path) as second:
        loaded = second.load()
        assert (loaded.seq, loaded.cursor, second.seq) == (4, 77, 4)
        assert {name: symbol.reference for name, symbol in loaded.state.symbols.items()} == {
            f"S{number}": number for number in range(1, 5)
        }
        await second.append(facts(5, 5))
    assert [record.event for record in records(path)] == facts(1, 5)
    assert verify(path).events == 5


async def test_what_is_acknowledged_is_on_disk(path: Path) -> None:
    async with Journal(path) as book:
        book.load()
        for number in range(1, 20):
            await book.append([fact(number)])
            assert [record.seq for record in records(path)] == list(range(1, number + 1))


async def test_what_is_not_committed_yet_is_not_acknowledged(path: Path) -> None:
    gate = Gate()
    async with Journal(path, wall=gate) as book:
        book.load()
        gate.shut()
        future = book.append([fact(1)])
        await gate.reached()
        assert not future.done()
        assert book.seq == 0
        assert list(records(path)) == []
        gate.open()
        await future
        assert book.seq == 1


async def test_everything_queued_while_a_commit_runs_goes_into_the_next(path: Path) -> None:
    gate = Gate()
    async with Journal(path, wall=gate) as book:
        book.load()
        gate.shut()
        first = book.append([fact(1)])
        await gate.reached()
        rest = [book.append([fact(number)]) for number in range(2, 12)]
        gate.open()
        await asyncio.gather(first, *rest)
    assert [record.wall for record in records(path)] == [1] + [2] * 10
    assert verify(path).commits == 2


async def test_each_event_keeps_the_cursor_that_it_came_with(path: Path) -> None:
    gate = Gate()
    async with Journal(path, wall=gate) as book:
        book.load()
        gate.shut()
        first = book.append([fact(1)], cursor=5)
        await gate.reached()
        rest = [book.append(facts(2, 3), cursor=6), book.append([fact(4)], cursor=6), book.append([fact(5)])]
        gate.open()
        await asyncio.gather(first, *rest)
    assert [record.cursor for record in records(path)] == [5, 6, 6, 6, None]
    assert chain.current(path).cursor == 6


async def test_nothing_to_append_is_acknowledged(path: Path) -> None:
    async with Journal(path) as book:
        book.load()
        await book.append([])
        await book.append([], cursor=3)
    assert verify(path)[:2] == (0, 0)


async def test_closing_writes_what_is_queued(path: Path) -> None:
    async with Journal(path) as book:
        book.load()
        futures = [book.append([fact(number)]) for number in range(1, 100)]
    await asyncio.gather(*futures)
    assert verify(path).events == 99


async def test_a_big_group_is_one_commit(path: Path) -> None:
    async with Journal(path) as book:
        book.load()
        await book.append(facts(1, 30_000))
    assert verify(path)[:2] == (30_000, 1)


async def test_a_text_of_any_kind_comes_back(path: Path) -> None:
    said = "büro 日本 \U0001f600 \x00 \x7f \n ' \" \\"
    async with Journal(path) as book:
        book.load()
        await book.append([ev.DaemonStopped(at=Instant(1), reason=said)])
    assert [record.event for record in records(path)] == [ev.DaemonStopped(at=Instant(1), reason=said)]
    assert verify(path).events == 1


# The file


async def test_the_file_is_as_durable_as_sqlite_can_make_it(path: Path) -> None:
    async with Journal(path) as book:
        assert book._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert book._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        strict = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite%' AND NOT strict"
        assert book._connection.execute(strict).fetchall() == []


async def test_a_demo_need_not_wait_for_the_disk(path: Path) -> None:
    async with Journal(path, durable=False) as book:
        assert book._connection.execute("PRAGMA synchronous").fetchone() == (0,)
        book.load()
        await book.append([fact(1)])
    assert verify(path).events == 1


@pytest.mark.parametrize("change", ["UPDATE events SET body = ''", "DELETE FROM events"])
async def test_events_can_neither_be_changed_nor_deleted(path: Path, change: str) -> None:
    async with Journal(path) as book:
        book.load()
        await book.append([fact(1)])
    with aside(path) as other, pytest.raises(sqlite3.IntegrityError, match="events are final"):
        other.execute(change)


async def test_nobody_else_may_read_the_files(path: Path) -> None:
    before = os.umask(0)
    try:
        async with Journal(path) as book:
            book.load()
            await book.append([fact(1)])
            modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    names = ("journal.db", "journal.db-wal", "journal.db-shm", "journal.db.head", "journal.db.lock")
    assert modes == dict.fromkeys(names, 0o600)


async def test_the_head_survives_a_power_cut_from_before_the_first_event(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink()))
    async with Journal(path):
        assert synced == [chain.head_path(path), path.parent.resolve()]
        assert chain.read_head(path) == chain.EMPTY


@pytest.mark.parametrize("left", ["", ".head", ".lock"])
async def test_a_first_start_that_was_killed_half_way_is_begun_again(path: Path, left: str) -> None:
    path.parent.mkdir()
    path.with_name(path.name + left).touch()
    async with Journal(path) as book:
        assert book.load().seq == 0
        await book.append([fact(1)])
    assert verify(path).events == 1


async def test_a_start_that_was_killed_before_its_head_was_written_is_begun_again(path: Path) -> None:
    async with Journal(path):
        pass
    os.truncate(chain.head_path(path), 0)
    assert verify(path).events == 0
    async with Journal(path) as book:
        book.load()
        await book.append([fact(1)])
    assert verify(path).events == 1


async def test_a_newer_mrdaemon_brings_an_older_journal_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Journal(path) as book:
        book.load()
        await book.append([fact(1)])
    monkeypatch.setattr(chain, "MIGRATIONS", (*chain.MIGRATIONS, "CREATE TABLE notes (text TEXT NOT NULL) STRICT;"))
    async with Journal(path) as book:
        assert book.load().seq == 1
        await book.append([fact(2)])
    with aside(path) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (len(chain.MIGRATIONS),)
        assert other.execute("SELECT * FROM notes").fetchall() == []
    assert verify(path).events == 2


async def test_a_migration_that_fails_leaves_the_journal_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Journal(path) as book:
        book.load()
        await book.append([fact(1)])
    broken = "CREATE TABLE notes (text TEXT NOT NULL) STRICT;\nCREATE TABLE notes (text TEXT NOT NULL) STRICT;"
    monkeypatch.setattr(chain, "MIGRATIONS", (*chain.MIGRATIONS, broken))
    with pytest.raises(JournalError, match="cannot open the journal: table notes already exists"):
        await Journal(path).__aenter__()
    monkeypatch.undo()
    with aside(path) as other:
        assert other.execute("SELECT name FROM sqlite_master WHERE name = 'notes'").fetchall() == []
    assert verify(path).events == 1


@pytest.mark.parametrize(
    ("module", "step"),
    [
        (lock, "take"),
        *((chain, step) for step in ("connect", "make_writable", "read_head", "check_head", "newest", "head_path")),
    ],
)
async def test_a_start_that_fails_half_way_leaves_nothing_behind(
    path: Path, module: ModuleType, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    before = handles()
    monkeypatch.setattr(module, step, fail)
    with pytest.raises(JournalError, match="cannot open the journal: Input/output error; see that its disk has space"):
        await Journal(path).__aenter__()
    assert handles() == before
    monkeypatch.undo()
    assert holder(path) is None
    async with Journal(path):
        assert holder(path) == os.getpid()
    assert handles() == before


# Out of order


async def test_nothing_can_be_appended_before_the_journal_is_loaded(path: Path) -> None:
    async with Journal(path) as book:
        with pytest.raises(JournalError, match="before the journal is loaded, nor after it is closed"):
            await book.append([fact(1)])


async def test_nothing_can_be_appended_after_it_is_closed(path: Path) -> None:
    async with Journal(path) as book:
        book.load()
    with pytest.raises(JournalError, match="before the journal is loaded, nor after it is closed"):
        await book.append([fact(1)])


async def test_nothing_can_be_appended_while_it_closes(path: Path) -> None:
    gate = Gate()
    book = await Journal(path, wall=gate).__aenter__()
    book.load()
    gate.shut()
    first = book.append([fact(1)])
    await gate.reached()
    closing = asyncio.create_task(book.__aexit__())
    await asyncio.sleep(0)
    late = book.append([fact(2)])
    gate.open()
    await closing
    await first
    with pytest.raises(JournalError, match="after it is closed"):
        await late
    assert verify(path).events == 1


async def test_a_journal_is_loaded_once(path: Path) -> None:
    async with Journal(path) as book:
        book.load()
        with pytest.raises(JournalError, match="the journal is loaded already"):
            book.load()


async def test_a_journal_that_cannot_be_loaded_starts_no_writer(path: Path) -> None:
    async with Journal(path) as book:
        book.load()
        await book.append(facts(1, 3))
    with aside(path) as other:
        other.execute("DROP TRIGGER events_update")
        other.execute("UPDATE events SET body = '{}' WHERE seq = 2")
    async with Journal(path) as book:
        with pytest.raises(JournalError, match="events 1 to 3 are not what was written"):
            book.load()
        with pytest.raises(JournalError, match="before the journal is loaded"):
            await book.append([fact(4)])


async def test_a_waiter_that_was_cancelled_does_not_disturb_the_others(path: Path) -> None:
    gate = Gate()
    async with Journal(path, wall=gate) as book:
        book.load()
        gate.shut()
        futures = [book.append([fact(number)]) for number in (1, 2, 3)]
        await gate.reached()
        futures[0].cancel()
        futures[1].cancel()
        gate.open()
        await futures[2]
    assert verify(path).events == 3


async def test_a_stop_that_is_cancelled_still_closes_after_the_writer(path: Path) -> None:
    gate = Gate()
    before = handles()
    book = await Journal(path, wall=gate).__aenter__()
    book.load()
    gate.shut()
    future = book.append([fact(1)])
    await gate.reached()
    assert book._thread is not None
    here, join = threading.get_ident(), book._thread.join

    def wait() -> None:
        if threading.get_ident() == here:  # This one cannot be cancelled.
            gate.open()
        join()

    book._thread.join = wait  # type: ignore[method-assign,assignment]
    closing = asyncio.create_task(book.__aexit__())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await future
    assert holder(path) is None
    assert verify(path).events == 1
    assert handles() == before


def test_a_loop_that_closed_before_the_answer_does_not_stop_the_writer(path: Path) -> None:
    gate = Gate()
    loop = asyncio.new_event_loop()
    book = Journal(path, wall=gate)

    async def leave() -> None:
        await book.__aenter__()
        book.load()
        gate.shut()
        book.append([fact(1)])
        await gate.reached()

    loop.run_until_complete(leave())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    gate.open()
    book._queue.put(None)
    assert book._thread is not None
    book._thread.join()
    book._close.close()
    assert verify(path).events == 1


# When writing fails


async def append_until_it_fails(book: Journal) -> tuple[int, str]:
    for number in count(1):
        try:
            await book.append([fact(number)])
        except JournalError as error:
            return number - 1, str(error)
    raise AssertionError


async def test_a_full_disk_stops_everything_and_loses_nothing(path: Path) -> None:
    async with Journal(path) as book:
        book.load()
        pages = book._connection.execute("PRAGMA page_count").fetchone()[0]
        book._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        acknowledged, full = await append_until_it_fails(book)
        assert full == (
            f"{path}: cannot write to the journal: database or disk is full; see that its disk has space and is sound, "
            "then start again; what was acknowledged is safe"
        )
        book._connection.execute("PRAGMA max_page_count = 100000")
        with pytest.raises(JournalError, match="database or disk is full"):
            await book.append([fact(0)])
        assert book.seq == acknowledged
    assert acknowledged > 10
    assert [record.event for record in records(path)] == facts(1, acknowledged)
    assert verify(path).events == acknowledged
    async with Journal(path) as book:
        assert book.load().seq == acknowledged
        await book.append([fact(acknowledged + 1)])
    assert verify(path).events == acknowledged + 1


def test_a_write_that_the_system_refuses_stops_everything_and_loses_nothing(path: Path) -> None:
    with start_child(FILL_THE_DISK, path) as process:
        out, _ = process.communicate()
    seq, first, again = out.splitlines()
    assert process.returncode == 0
    assert int(seq) > 3
    assert first == again
    assert first == (
        f"{path}: cannot write to the journal: disk I/O error; see that its disk has space and is sound, "
        "then start again; what was acknowledged is safe"
    )
    assert [record.seq for record in records(path)] == list(range(1, int(seq) + 1))
    assert verify(path).events == int(seq)


async def test_a_head_that_cannot_be_written_stops_everything(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    async with Journal(path) as book:
        book.load()
        await book.append([fact(1)])
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(JournalError, match="No space left on device; see that its disk has space"):
            await book.append([fact(2)])
        monkeypatch.undo()
        with pytest.raises(JournalError, match="No space left on device"):
            await book.append([fact(3)])
    assert verify(path).events == 2


async def test_a_failed_group_fails_for_everybody_in_it_and_leaves_no_part_of_it(path: Path) -> None:
    gate = Gate()
    async with Journal(path, wall=gate) as book:
        book.load()
        gate.shut()
        first = book.append([fact(1)])
        await gate.reached()
        rest = [book.append([fact(2)], cursor=1), book.append([fact(3)], cursor=2), book.append([fact(4)], cursor=3)]
        book._insert = refuse(book._insert, at=3)  # type: ignore[method-assign]
        gate.open()
        await first
        failures = await asyncio.gather(*rest, return_exceptions=True)
        assert [str(failure) for failure in failures] == [
            f"{path}: cannot write to the journal: no; {chain._RESTORE}"
        ] * 3
    assert verify(path).events == 1


def refuse(insert: Callable[..., chain.Head], at: int) -> Callable[..., chain.Head]:
    def refusing(head: chain.Head, bodies: list[str], cursor: int | None) -> chain.Head:
        if cursor == at:
            raise sqlite3.DatabaseError("no")
        return insert(head, bodies, cursor)

    return refusing


async def test_a_writer_that_meets_the_unforeseen_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> bytes:
        raise ZeroDivisionError("oops")

    async with Journal(path) as book:
        book.load()
        monkeypatch.setattr(chain, "link", stumble)
        for number in (1, 2):
            with pytest.raises(JournalError, match=r"cannot write to the journal: ZeroDivisionError\('oops'\)"):
                await book.append([fact(number)])
        monkeypatch.undo()
    assert verify(path).events == 0


async def test_another_program_that_wrote_into_the_journal_stops_everything(path: Path) -> None:
    async with Journal(path) as book:
        book.load()
        await book.append([fact(1)])
        with aside(path) as other:
            other.execute("INSERT INTO events (seq, body) VALUES (2, '')")
        with pytest.raises(JournalError, match=r"UNIQUE constraint failed: events\.seq; keep it for a look"):
            await book.append([fact(2)])


def test_a_daemon_killed_at_any_instant_loses_nothing_that_it_acknowledged(path: Path) -> None:
    dice = random.Random(1)
    acknowledged = 0
    for _ in range(20):
        with start_child(APPEND_FOR_EVER, path) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(dice.randrange(60))]
            process.kill()
            said += process.stdout.readlines()
        acknowledged = max([acknowledged, *[int(line) for line in said if line.endswith("\n")]])
        if acknowledged:
            seen = [record.seq for record in records(path)]
            assert seen[:acknowledged] == list(range(1, acknowledged + 1))
            assert verify(path).events >= acknowledged
            assert holder(path) is None
    assert acknowledged > 100


# Beside a reader


async def test_readers_and_the_writer_do_not_disturb_each_other(path: Path) -> None:
    async with Journal(path) as book:
        book.load()
        looking = asyncio.create_task(asyncio.to_thread(look_often, path))
        acknowledged = 0
        while not looking.done():
            await book.append([fact(acknowledged + 1)])
            acknowledged += 1
        assert await looking == sorted(await looking)
    assert verify(path).events == acknowledged


def look_often(path: Path) -> list[int]:
    seen = []
    for _ in range(30):
        seen += [verify(path).events, chain.current(path).seq, len(list(records(path)))]
    return seen


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_is_committed_while_verification_begins_does_not_look_cut_off(
    path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    async with Journal(path) as book:
        book.load()
        await book.append([fact(1)])

        async def append() -> None:
            await book.append([fact(2)])

        real = chain.read_head

        def read_head(path: Path) -> chain.Head | None:
            if when == "before":
                asyncio.run_coroutine_threadsafe(append(), loop).result()
            head = real(path)
            if when == "after":
                asyncio.run_coroutine_threadsafe(append(), loop).result()
            return head

        monkeypatch.setattr(chain, "read_head", read_head)
        assert (await asyncio.to_thread(verify, path)).events == 2


# Snapshots


async def test_a_start_that_folded_much_saves_a_snapshot(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Journal(path) as book:
        book.load()
        await book.append(facts(1, 10))
    for every, snapshots in ((11, []), (10, [10])):
        monkeypatch.setattr(journal, "SNAPSHOT_EVERY", every)
        async with Journal(path) as book:
            assert book.load().seq == 10
        with aside(path) as other:
            assert [row[0] for row in other.execute("SELECT seq FROM snapshots")] == snapshots
    assert verify(path).snapshots == 1


async def test_a_writer_with_nothing_to_do_saves_snapshots_piece_by_piece(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_EVERY", 10)
    monkeypatch.setattr(journal, "QUIET_S", 0.0)
    saved, done = list[int](), threading.Event()
    real = chain.save_snapshot

    def save(connection: sqlite3.Connection, folded: chain.Folded) -> None:
        real(connection, folded)
        saved.append(folded.head.seq)
        if folded.head.seq >= 95:
            done.set()

    monkeypatch.setattr(chain, "save_snapshot", save)
    async with Journal(path) as book:
        book.load()
        await asyncio.gather(*[book.append(facts(first, first + 4), cursor=first) for first in range(1, 100, 5)])
        await asyncio.to_thread(done.wait)
        await book.append([fact(101)])
    assert saved == list(range(10, 101, 10))
    assert verify(path)[:3] == (101, 21, 2)


async def test_a_snapshot_that_cannot_be_written_stops_everything(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_EVERY", 10)
    monkeypatch.setattr(journal, "QUIET_S", 0.0)
    tried = threading.Event()

    def fail(*_: object) -> None:
        tried.set()
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(chain, "save_snapshot", fail)
    async with Journal(path) as book:
        book.load()
        await book.append(facts(1, 10))
        await asyncio.to_thread(tried.wait)
        with pytest.raises(JournalError, match="cannot write to the journal: disk I/O error"):
            await book.append([fact(11)])
    assert verify(path).events == 10
