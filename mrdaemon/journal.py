"""The journal's writer: one thread that commits events in groups, durably, before anything follows from them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple, Self

import msgspec

from mrdaemon import chain
from mrdaemon.chain import Head, JournalError, Loaded
from mrdaemon.core import events as ev
from mrdaemon.core.portfolio import FOLD_VERSION

SNAPSHOT_EVERY: Final = 20_000
"""Events between two snapshots."""


class Journal:
    """A journal open for writing. Use it as an async context manager; one daemon at a time."""

    def __init__(self, path: Path, *, durable: bool = True, wall: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self._durable = durable
        self._wall = wall
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._failed: JournalError | None = None

    async def __aenter__(self) -> Self:
        """Take the lock, bring the schema up to date, check the end of the chain, start the writer.

        Raises:
            JournalBusyError: another daemon holds it.
            JournalError: it is corrupt, cut off, read-only, or of a newer version.
        """
        self._loop = asyncio.get_running_loop()
        with chain.explained(self.path, "open the journal"), contextlib.ExitStack() as undo:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            undo.callback(os.close, chain.take_lock(self.path))
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = undo.enter_context(
                contextlib.closing(chain.connect(self.path, writable=True, durable=self._durable))
            )
            chain.migrate(self._connection)
            chain.check_head(self._connection, self.path, chain.read_head(self.path))
            self._head = chain.newest(self._connection)
            self._head_file = os.open(chain.head_path(self.path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            undo.callback(os.close, self._head_file)
            self._write_head()
            self._close = undo.pop_all()
        return self

    def load(self) -> Loaded:
        """Fold the newest snapshot and the events after it. Call it once, before the first ``append``."""
        with chain.explained(self.path, "read the journal"):
            loaded = chain.load(self._connection, self.path)
        self._snapshot_seq = loaded.seq
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()
        return loaded

    async def __aexit__(self, *_: object) -> None:
        """Write what is queued, a last snapshot, and let go."""
        if self._thread is not None and self._thread.is_alive():
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
        self._close.close()

    def append(self, events: Sequence[ev.Event], cursor: int | None = None) -> asyncio.Future[None]:
        """Hand over events; the future is done once they are durable.

        Raises (through the future):
            JournalError: they are not durable. Nothing more will be: trading must stop.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Work([ev.encode(event).decode() for event in events], cursor, future))
        return future

    @property
    def seq(self) -> int:
        """The number of the last durable event."""
        return self._head.seq

    # The writer's thread

    def _write(self) -> None:
        running = True
        while running:
            batch: list[_Work] = []
            work = self._queue.get()
            while work is not None:
                batch.append(work)
                if self._queue.empty():
                    break
                work = self._queue.get()
            running = work is not None
            if batch:
                self._commit(batch)
        if self._failed is None and self._head.seq > self._snapshot_seq:
            with contextlib.suppress(sqlite3.Error):  # A snapshot saves time at the next start; the events are safe.
                self._snapshot()

    def _commit(self, batch: list[_Work]) -> None:
        if self._failed is None:
            try:
                with chain.explained(self.path, "write to the journal"):
                    self._commit_group(batch)
            except JournalError as error:
                self._failed = error
        failed = self._failed
        for work in batch:
            self._loop.call_soon_threadsafe(_settle, work.done, failed)

    def _commit_group(self, batch: list[_Work]) -> None:
        """Write a group in one transaction: a commit row for each cursor in it, chained."""
        connection, head = self._connection, self._head
        connection.execute("BEGIN IMMEDIATE")
        try:
            for work in batch:
                if work.bodies:
                    head = self._insert(head, work)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._head = head
        self._write_head()
        if head.seq - self._snapshot_seq >= SNAPSHOT_EVERY:
            self._snapshot()

    def _insert(self, head: Head, work: _Work) -> Head:
        number, first, wall = head.number + 1, head.seq + 1, self._wall()
        last = head.seq + len(work.bodies)
        digest = chain.link(head.hash, number, work.cursor, wall, first, work.bodies)
        self._connection.executemany("INSERT INTO events VALUES (?, ?)", enumerate(work.bodies, start=first))
        self._connection.execute(
            "INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?)", (number, first, last, work.cursor, wall, digest)
        )
        return Head(number, last, digest)

    def _write_head(self) -> None:
        os.pwrite(self._head_file, str(self._head).encode("ascii"), 0)

    def _snapshot(self) -> None:
        body = msgspec.json.encode(chain.load(self._connection, self.path).state)
        row = (self._head.seq, FOLD_VERSION, hashlib.sha256(body).digest(), body)
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)", row)
        self._connection.execute(
            "DELETE FROM snapshots WHERE seq < (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT 1 OFFSET 1)"
        )
        self._connection.execute("COMMIT")
        self._snapshot_seq = self._head.seq


class _Work(NamedTuple):
    bodies: list[str]
    cursor: int | None
    done: asyncio.Future[None]


def _settle(done: asyncio.Future[None], failed: JournalError | None) -> None:
    if done.done():
        return
    if failed is None:
        done.set_result(None)
    else:
        done.set_exception(failed)
