"""The journal's writer: one thread that commits events in groups, durably, before anything follows from them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple, Self

from mrdaemon import chain, lock, outbox
from mrdaemon.alerts.alert import Alert, Level
from mrdaemon.chain import Head, JournalError, Loaded
from mrdaemon.core import events as ev
from mrdaemon.latency import QUICK, Histogram
from mrdaemon.pulse import COMMIT_WITHIN, Work

SNAPSHOT_EVERY: Final = 20_000
"""Events between two snapshots: what a restart folds in about a fifth of a second."""
QUIET_S: Final = 1.0
"""How long nothing must be asked of the writer before it spends that time on a snapshot."""


Compose = Callable[[Sequence[ev.Event]], Sequence[Alert]]
"""Says what people are told of events."""


class Journal:
    """A journal open for writing. Use it as an async context manager; one daemon at a time."""

    def __init__(self, path: Path, *, durable: bool = True, wall: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self._durable = durable
        self._wall = wall
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._open = False
        self._failed: JournalError | None = None
        self.compose: Compose | None = None
        """Says what people are told of events; it is durable with them, or neither is."""
        self.told = asyncio.Event()
        """Set, and replaced by another, each time that alerts became durable."""
        self.urgent = asyncio.Event()
        """The same, of critical alerts."""
        self.heed: Callable[[Sequence[ev.Event]], None] = lambda _: None
        """Is shown events as they are handed over."""
        self.commits = Histogram(QUICK)
        """How long groups took to be committed."""
        self.waiting = 0
        """How much was handed over and is not durable yet."""
        self.work = Work("the journal's writer", COMMIT_WITHIN)
        """What its thread is at."""

    async def __aenter__(self) -> Self:
        """Take the lock, bring the schema up to date, check the end of the chain.

        Raises:
            JournalBusyError: another daemon holds it.
            JournalError: it is corrupt, cut off, read-only, or of a newer version.
        """
        self._loop = asyncio.get_running_loop()
        with chain.explained(self.path, "open the journal"), contextlib.ExitStack() as undo:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            undo.callback(os.close, lock.take(self.path))
            with contextlib.suppress(FileExistsError):  # SQLite would make it readable for others.
                os.close(os.open(self.path.resolve(), os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self._connection = undo.enter_context(contextlib.closing(chain.connect(self.path, "rw")))
            chain.make_writable(self._connection, durable=self._durable)
            remembered = chain.read_head(self.path)
            chain.check_head(self._connection, self.path, remembered)
            self._head = chain.newest(self._connection)
            self._head_file = os.open(chain.head_path(self.path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            undo.callback(os.close, self._head_file)
            if remembered is None:
                self._write_head()
            if self._durable:
                self._sync_head()
            self._close = undo.pop_all()
        return self

    def load(self) -> Loaded:
        """Fold the newest snapshot and the events after it, and start the writer. Once, before the first ``append``.

        Raises:
            JournalError: an event is missing or not what was written.
        """
        if self._thread is not None:
            message = f"{self.path}: the journal is loaded already"
            raise JournalError(message)
        with chain.explained(self.path, "load the journal"):
            folded = chain.fold(self._connection, self.path)
            self._head = folded.head
            self._snapshot_seq = folded.head.seq - folded.since
            if folded.since >= SNAPSHOT_EVERY:
                self._save(folded)
            loaded = Loaded(folded.state, folded.head.seq, chain.newest_cursor(self._connection))
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()
        self._open = True
        return loaded

    async def __aexit__(self, *_: object) -> None:
        """Write what is queued, and let go."""
        self._open = False
        try:
            if self._thread is not None:
                self._queue.put(None)
                await asyncio.to_thread(self._thread.join)
        finally:
            if self._thread is not None:
                self._thread.join()  # Also when we may not wait any more: the writer needs what is closed here.
            self._close.close()

    def append(self, events: Sequence[ev.Event], cursor: int | None = None) -> asyncio.Future[None]:
        """Hand over events; the future is done once they are durable. A cursor without events is not kept.

        Raises (through the future):
            JournalError: they are not durable. Nothing more will be: trading must stop.
        """
        alerts = self.compose(events) if events and self.compose is not None else ()
        self.heed(events)
        return self._hand_over(_Work(tuple(events), cursor, self._loop.create_future(), tuple(alerts)))

    def tell(self, alerts: Sequence[Alert]) -> asyncio.Future[None]:
        """Hand over alerts that no event caused, but the time.

        Raises (through the future):
            JournalError: as ``append``.
        """
        return self._hand_over(_Work((), None, self._loop.create_future(), tuple(alerts)))

    def settle(self, channel: str, upto: int, deliveries: Sequence[outbox.Delivery]) -> asyncio.Future[None]:
        """Hand over what became of alerts on a channel, and how far it is.

        Raises (through the future):
            JournalError: as ``append``.
        """
        settled = partial(outbox.settle, channel=channel, upto=upto, deliveries=tuple(deliveries))
        return self._hand_over(_Work((), None, self._loop.create_future(), (), settled))

    def register(self, channels: Sequence[str]) -> asyncio.Future[None]:
        """Let new channels begin with the next alert.

        Raises (through the future):
            JournalError: as ``append``.
        """
        registered = partial(outbox.register, channels=tuple(channels))
        return self._hand_over(_Work((), None, self._loop.create_future(), (), registered))

    def _hand_over(self, work: _Work) -> asyncio.Future[None]:
        future = work.done
        if self._open:
            self.waiting += 1
            self._queue.put(work)
        else:
            message = f"{self.path}: nothing can be journaled before the journal is loaded, nor after it is closed"
            future.set_exception(JournalError(message))
        return future

    @property
    def seq(self) -> int:
        """The number of the last durable event."""
        return self._head.seq

    # The head beside the file

    def _write_head(self) -> None:
        os.pwrite(self._head_file, str(self._head).encode("ascii"), 0)

    def _sync_head(self) -> None:
        """Make the head file survive a power cut. Later ones overwrite it in place, and may be lost: it may lag."""
        os.fsync(self._head_file)
        folder = os.open(chain.head_path(self.path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    # The writer's thread

    def _write(self) -> None:
        running = True
        while running:
            batch: list[_Work] = []
            work = self._next()
            self.work.begin("writing events")
            while work is not None:
                batch.append(work)
                if self._queue.empty():
                    break
                work = self._queue.get()
            running = work is not None
            if batch:
                begun = time.perf_counter()
                self._guarded(partial(self._commit, batch))
                self.work.rest()
                self._answer(batch, time.perf_counter() - begun)

    def _next(self) -> _Work | None:
        """Wait for work; while there is none and a snapshot is due, make it."""
        while self._failed is None and self._head.seq - self._snapshot_seq >= SNAPSHOT_EVERY:
            try:
                return self._queue.get(timeout=QUIET_S)
            except Empty:
                self.work.begin("making a snapshot")
                self._guarded(self._snapshot)
                self.work.rest()
        return self._queue.get()

    def _guarded(self, write: Callable[[], None]) -> None:
        """Write, unless a write failed before; whatever goes wrong is kept for those who wait."""
        if self._failed is not None:
            return
        try:
            with chain.explained(self.path, "write to the journal"):
                write()
        except JournalError as error:
            self._failed = error
        except Exception as error:  # noqa: BLE001 - a writer that dies in silence would leave everybody waiting
            self._failed = JournalError(f"{self.path}: cannot write to the journal: {error!r}; report this")

    def _answer(self, batch: list[_Work], seconds: float) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            self._loop.call_soon_threadsafe(self._settled, batch, self._failed, seconds)

    def _settled(self, batch: list[_Work], failed: JournalError | None, seconds: float) -> None:
        self.waiting -= len(batch)
        if failed is None:
            self.commits.add(seconds)
        if levels := {each.level for work in batch for each in work.alerts}:
            self.told.set()
            self.told = asyncio.Event()
            if Level.CRITICAL in levels:
                self.urgent.set()
                self.urgent = asyncio.Event()
        _settle(batch, failed)

    def _commit(self, batch: list[_Work]) -> None:
        """Write a group in one transaction, one chained commit for each cursor in it."""
        head = self._head
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for cursor, works in groupby(batch, key=lambda work: work.cursor):
                group = list(works)
                bodies = [ev.encode(event).decode() for work in group for event in work.events]
                if bodies:
                    head = self._insert(head, bodies, cursor)
                for work in group:
                    if work.alerts:
                        outbox.insert(self._connection, work.alerts, head.seq, self._wall())
                    if work.also is not None:
                        work.also(self._connection)
        if head != self._head:
            self._head = head
            self._write_head()

    def _insert(self, head: Head, bodies: list[str], cursor: int | None) -> Head:
        first, last, wall = head.seq + 1, head.seq + len(bodies), self._wall()
        digest = chain.link(head.hash, first, bodies, wall, cursor)
        insert = "INSERT INTO events (seq, body) VALUES (?, ?)"
        self._connection.executemany(insert, enumerate(bodies[:-1], first))
        self._connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", (last, bodies[-1], wall, cursor, digest))
        return Head(last, digest)

    def _snapshot(self) -> None:
        """Fold no more than is due, so that what is asked meanwhile waits a fifth of a second at most."""
        self._save(chain.fold(self._connection, self.path, SNAPSHOT_EVERY))

    def _save(self, folded: chain.Folded) -> None:
        chain.save_snapshot(self._connection, folded)
        self._snapshot_seq = folded.head.seq


class _Work(NamedTuple):
    events: tuple[ev.Event, ...]
    cursor: int | None
    done: asyncio.Future[None]
    alerts: tuple[Alert, ...] = ()
    also: Callable[[sqlite3.Connection], None] | None = None


def _settle(batch: list[_Work], failed: JournalError | None) -> None:
    for work in batch:
        done = work.done
        if done.done():  # Whoever waited was cancelled.
            continue
        if failed is None:
            done.set_result(None)
        else:
            done.set_exception(failed)
