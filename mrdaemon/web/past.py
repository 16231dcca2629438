"""What the journal has of a dashboard's lines: reserves from its beginning on, and prices of the trading day.

It is read in a thread, once, when somebody first wants to know; what comes later the lines see for themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

from mrdaemon import chain, pulse
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import CENT
from mrdaemon.core.portfolio import apply
from mrdaemon.web.answered import Mark
from mrdaemon.web.lines import Line
from mrdaemon.web.news import MARKS, mark

BREATH: Final = 200
"""Events of the journal that are gone through at a time; the thread sleeps in between, for the loop's sake."""
_MS: Final = 1_000_000
_SEEN: Final = (ev.PositionArmed, ev.SignalPending, ev.SignalRaised, ev.SignalHeld, ev.PriceFresh)
"""Events that say what a price was when they happened. A fill that a person reports happened earlier."""

T = TypeVar("T")
Progress = Callable[[], None]
"""What is called while it is read, every now and then."""


class Once(Generic[T]):
    """Something that is read in a thread when it is first wanted, and again only where that failed."""

    def __init__(self, watched: pulse.Pulse, prepare: Callable[[], Callable[[Progress], T]], name: str) -> None:
        """Say what is read.

        Args:
            watched: who must know that it makes progress.
            prepare: gives what reads it, when it is wanted.
            name: what people call the task.
        """
        self._pulse = watched
        self._prepare = prepare
        self._name = name
        self._task: asyncio.Task[T] | None = None

    @property
    def found(self) -> T | None:
        """What was read, once it was."""
        return None if self._task is None or not self._task.done() or self._failed(self._task) else self._task.result()

    async def __call__(self) -> T:
        """Give it; whoever asks meanwhile waits for the same.

        Raises:
            JournalError: the journal cannot be read.
        """
        if self._task is None or self._failed(self._task):
            self._task = self._pulse.passing(asyncio.create_task, self._read(), self._name)
        return await asyncio.shield(self._task)

    async def _read(self) -> T:
        work = pulse.mine()
        return await asyncio.to_thread(self._prepare(), work.begin)

    @staticmethod
    def _failed(task: asyncio.Task[T]) -> bool:
        return task.done() and (task.cancelled() or task.exception() is not None)


def reserves(journal: Path, progress: Progress) -> defaultdict[str, Line]:
    """Fold the journal, and draw each reserve whenever it changed."""
    known = chain.oldest(journal)
    state, lines, newest = known.state, defaultdict[str, Line](lambda: Line("q")), dict[str, tuple[int, int]]()
    for record in chain.records(journal, known.seq):
        apply(state, record.event)
        at = record.event.at // _MS
        for name, portfolio in state.portfolios.items():
            before, now = newest.get(name), (at, int(portfolio.reserve / CENT))
            if before is None or before[1] != now[1]:
                newest[name] = now
                if before is not None and before != (at, 0):  # It begins with what it was opened with.
                    lines[name].add(*before)
        _breathe(record.seq, progress)
    for name, point in newest.items():
        lines[name].add(*point)
    return lines


class Day(NamedTuple):
    """What there is of a day, by symbol."""

    prices: dict[str, Line]
    marks: dict[str, deque[Mark]]


NOTHING: Final = Day({}, {})


def day(journal: Path, begins: Instant, progress: Progress) -> Day:
    """Give the prices that events since an instant name, and the signals among them."""
    found = Day(defaultdict(lambda: Line("d")), defaultdict(lambda: deque(maxlen=MARKS)))
    for record in chain.records(journal, _before(journal, begins, progress)):
        event = record.event
        if event.at >= begins:
            if isinstance(event, ev.SignalRaised):
                found.marks[event.symbol].append(mark(event))
            if isinstance(event, _SEEN):
                found.prices[event.symbol].add(event.at // _MS, float(event.price))
            elif isinstance(event, ev.OrderFilled):
                found.prices[event.symbol].add(event.at // _MS, float(event.average))
        _breathe(record.seq, progress)
    return found


def _before(journal: Path, begins: Instant, progress: Progress) -> int:
    """Find an event after which everything since an instant comes: further and further back, for journals are long."""
    end, step = chain.last(journal), chain.PAGE
    while end > 0:
        end, step = max(0, end - step), 2 * step
        progress()
        first = next(chain.records(journal, end), None)
        if first is not None and first.event.at < begins:
            break
    return end


def _breathe(number: int, progress: Progress) -> None:
    if number % BREATH == 0:
        progress()
        time.sleep(0.005)
