"""The real journal, written in the loop after a virtual delay: a daemon may die before, at and after a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mrdaemon.core import events as ev
from mrdaemon.journal import Journal, _Work


class VirtualJournal(Journal):
    """Commits what was handed over in the meantime, each time that a drawn delay is over."""

    def __init__(self, path: Path, wall: Callable[[], int], delay: Callable[[], float], passing: Callable[[str], None]):
        super().__init__(path, durable=False, wall=wall)
        self._delay = delay
        self._passing = passing
        self._waiting: list[_Work] = []
        self.dead = False
        self.acknowledged: list[ev.Event] = []
        """Events whose durability somebody was told of."""

    def _hand_over(self, work: _Work) -> asyncio.Future[None]:
        if not self.dead:
            if not self._waiting:
                self._loop.call_later(self._delay(), self._write_down)
            self._waiting.append(work)
            self.waiting += 1
        return work.done

    def _write_down(self) -> None:
        if self.dead:
            return
        self._passing("before a commit")
        if self._has_died():
            return
        batch, self._waiting = self._waiting, []
        self._guarded(partial(self._commit, batch))
        self._passing("after a commit")
        if not self._has_died():
            self.acknowledged += [event for work in batch for event in work.events]
            self._settled(batch, self._failed, 0.0)

    def _has_died(self) -> bool:
        return self.dead

    async def settled(self) -> None:
        """Wait until nothing waits."""
        if self._waiting and not self.dead:
            await self._waiting[-1].done
