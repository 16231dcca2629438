"""Whether everything that runs makes progress.

Each task says when it begins a piece of work, and when it only waits for news. Waiting may take for ever: a quiet
market is no fault. A piece of work that takes longer than it may is stuck, and so is a task that ended while the daemon
goes on. The watchdog is fed only while nothing is.

A task finds its own work in the context that it runs in, so that what is deep in an adapter can say what it does
without being handed anything. Where nobody watches, saying so does nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

PIECE_WITHIN: Final = 120.0
"""Seconds that a piece of work may take: whatever it waits for has a time-out, and a shorter one."""
ROUND_WITHIN: Final = 15.0
"""The same of what comes round each second."""
COMMIT_WITHIN: Final = 60.0
"""The same of a group of events on its way to the disk."""


class Stuck(NamedTuple):
    """Something that makes no progress."""

    task: str
    doing: str
    """The piece of work at hand, where it said so."""
    seconds: float
    """How long it has been at that."""
    ended: bool
    """Whether it is no more at all, so long."""

    def __str__(self) -> str:
        """Say it in words."""
        if self.ended:
            return f"{self.task} ended {self.seconds:.0f} s ago, and should not have"
        doing = f" ({self.doing})" if self.doing else ""
        return f"{self.task} has made no progress for {self.seconds:.0f} s{doing}"


class Work:
    """What one task or thread is at."""

    __slots__ = ("_doing", "_ended", "_monotonic", "_since", "_within", "name", "pulse", "task")

    def __init__(
        self, name: str, within: float = PIECE_WITHIN, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Build it; it rests.

        Args:
            name: what people call the task.
            within: seconds that a piece of its work may take.
            monotonic: seconds of a clock that only goes on: who sets the time must not make tasks look stuck.
        """
        self.name = name
        self.task: asyncio.Task[Any] | None = None
        """The task whose work it is; None for a thread's."""
        self.pulse: Pulse | None = None
        """Who watches it."""
        self._within = within
        self._monotonic = monotonic
        self._since: float | None = None
        """When the piece at hand was begun; None while it waits for news."""
        self._doing = ""
        self._ended = False

    @property
    def resting(self) -> bool:
        """Whether it waits for news."""
        return self._since is None

    def begin(self, doing: str = "") -> None:
        """Begin a piece of work; the one before is done."""
        self._doing = doing
        self._since = self._monotonic()

    def rest(self) -> None:
        """Be done, and wait for news."""
        self._since = None

    def end(self) -> None:
        """Take it that nothing more will come of it, although it should."""
        self._ended = True
        self._since = self._monotonic()

    def stuck(self) -> Stuck | None:
        """Say that it makes no progress, or None."""
        since = self._since
        if since is None:
            return None
        seconds = self._monotonic() - since
        return Stuck(self.name, self._doing, seconds, self._ended) if self._ended or seconds > self._within else None


_own: Final[ContextVar[Work | None]] = ContextVar("work", default=None)


class Start(Protocol):
    """What starts a task: ``asyncio.create_task``, or a group's."""

    def __call__(
        self, coro: Coroutine[Any, Any, T], /, *, name: str | None, context: Context | None
    ) -> asyncio.Task[T]:
        """Start it."""


class Pulse:
    """Everything that must make progress."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._works: set[Work] = set()
        self._monotonic = monotonic

    def __iter__(self) -> Iterator[Work]:
        """Give what is watched at the moment."""
        return iter(list(self._works))

    def watch(self, work: Work) -> None:
        """Watch work of which somebody else says how far it is."""
        work.pulse = self
        self._works.add(work)

    def lasting(
        self, start: Start, run: Coroutine[Any, Any, T], name: str, within: float = PIECE_WITHIN
    ) -> asyncio.Task[T]:
        """Start a task that lasts as long as the daemon; that it ended is a fault, unless somebody cancelled it."""
        work = Work(name, within, self._monotonic)
        task = self._started(start, run, work)
        task.add_done_callback(lambda over: self._works.discard(work) if over.cancelled() else work.end())
        return task

    def passing(
        self, start: Start, run: Coroutine[Any, Any, T], name: str, within: float = PIECE_WITHIN
    ) -> asyncio.Task[T]:
        """Start a task that is over some time."""
        work = Work(name, within, self._monotonic)
        task = self._started(start, run, work)
        task.add_done_callback(lambda _: self._works.discard(work))
        return task

    def forget(self, task: asyncio.Task[Any]) -> None:
        """Watch a task no more: it may end now."""
        self._works = {work for work in self._works if work.task is not task}

    def stuck(self) -> list[Stuck]:
        """Give what makes no progress, the longest first."""
        found = [stuck for work in self if (stuck := work.stuck()) is not None]
        return sorted(found, key=lambda each: -each.seconds)

    def _started(self, start: Start, run: Coroutine[Any, Any, T], work: Work) -> asyncio.Task[T]:
        self.watch(work)
        work.begin()
        context = copy_context()
        context.run(_own.set, work)
        work.task = task = start(run, name=work.name, context=context)
        return task


# What a task says of its own work


def begin(doing: str = "") -> None:
    """Say that this task begins a piece of work; the one before is done."""
    mine().begin(doing)


def progress(doing: str = "") -> None:
    """Say that this task, where it is at work, goes on to the next piece."""
    work = mine()
    if not work.resting:
        work.begin(doing)


def rest() -> None:
    """Say that this task waits for what may never come."""
    mine().rest()


async def idle(waiting: Awaitable[T]) -> T:
    """Wait for what may never come, in the middle of something; what follows is a new piece of work."""
    work = mine()
    if work.resting:
        return await waiting
    work.rest()
    try:
        return await waiting
    finally:
        work.begin()


def beside(start: Start, run: Coroutine[Any, Any, T], name: str, within: float = PIECE_WITHIN) -> asyncio.Task[T]:
    """Start a task that is over some time, or is cancelled, watched by whoever watches this one."""
    work = _own.get()
    if work is None or work.pulse is None:
        return start(run, name=name, context=None)
    return work.pulse.passing(start, run, name, within)


def mine() -> Work:
    """Give the work of this very task; one that nobody watches, where it was not started to be watched."""
    work = _own.get()  # What a task started without a name has its context, and is not that task.
    return work if work is not None and work.task is asyncio.current_task() else Work("nobody's")
