"""Looks each second whether everything makes progress, and tells the service manager, the log, and whoever asks.

The watchdog is fed from here, and so only while the loop turns; it is not fed while anything is stuck. Then the service
manager starts the daemon again, which is safe at any instant.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import math
import sys
import time
from collections.abc import Callable
from typing import Final, Self

import structlog

from mrdaemon.core.policy import FeedState
from mrdaemon.daemon import Daemon
from mrdaemon.health import health
from mrdaemon.notify import Notifier
from mrdaemon.pulse import Stuck

LOOK_EVERY: Final = 1.0
"""Seconds between two looks, or less where the watchdog is impatient."""
LATE: Final = 2.0
"""Seconds that the loop may stand still before it is told."""
TOLD_AGAIN: Final = 60.0
"""Seconds between two lines about the same thing that is stuck."""
READY_WITHIN: Final = 10.0
"""Seconds that the feed may take to connect before the daemon counts as running without it."""

log: Final = structlog.get_logger("mrdaemon.service")


class Vigil:
    """Watches over one daemon. Use it as an async context manager, around everything else."""

    def __init__(self, daemon: Daemon, manager: Notifier, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._daemon = daemon
        self._manager = manager
        self._monotonic = monotonic
        half = LOOK_EVERY if manager.watchdog is None else manager.watchdog / 2
        self._every = half / math.ceil(half / LOOK_EVERY)
        self._fed = -math.inf
        self._half = half
        self._told: dict[str, float] = {}
        """What was told to be stuck, and when."""
        self._running_since: float | None = None
        self._is_ready = False

    async def __aenter__(self) -> Self:
        """Begin."""
        if self._manager.watchdog is not None:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # Standard error is none that has a number.
                faulthandler.enable(sys.stderr)  # What hangs is seen where the watchdog ends us with SIGABRT.
        self._watching = asyncio.create_task(self._watch(), name="vigil")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Tell that it is over, and why, where it ends by an error."""
        self._watching.cancel()
        await asyncio.wait([self._watching])
        if error is not None and not isinstance(error, asyncio.CancelledError):
            self._manager.stopping(f"ended by an error: {_first(error)}")
        self._manager.flush()

    async def _watch(self) -> None:
        leaving = self._daemon.leaving
        looked = self._monotonic()
        while not leaving.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await leaving.wait()
            late = self._monotonic() - looked - self._every
            looked = self._monotonic()
            if late > LATE:  # What waited for the loop meanwhile has had no turn yet, and is not to blame.
                log.warning("the loop stood still", seconds=round(late, 1))
            else:
                self._look()
        self._manager.stopping("stopping")
        while True:  # A stop is bounded by the service manager; we only say that it goes on.
            self._manager.feed_watchdog()
            await asyncio.sleep(self._every)

    def _look(self) -> None:
        now, stuck = self._monotonic(), self._daemon.pulse.stuck()
        self._tell(stuck, now)
        self._manager.flush()
        line = health(self._daemon).line
        if not self._is_ready and self._settled(now):
            self._is_ready = True
            self._manager.ready(line)
        self._manager.status(line if self._is_ready else f"starting; {line}")
        if self._manager.watchdog is not None and not stuck and now - self._fed >= self._half - self._every / 2:
            self._manager.feed_watchdog()
            self._fed = now

    def _settled(self, now: float) -> bool:
        """Tell whether it runs: prices are taken, and their source has answered or has had its time."""
        daemon = self._daemon
        if not daemon.running.is_set() or daemon.feed is None:
            return False
        if self._running_since is None:
            self._running_since = now
        state = daemon.engine.state
        streams = [each.state for each in state.feeds.values() if each.since >= state.started]
        on_the_way = not streams or FeedState.CONNECTING in streams or FeedState.AUTHENTICATED in streams
        return daemon.feed.lockstep or not on_the_way or now - self._running_since >= READY_WITHIN

    def _tell(self, stuck: list[Stuck], now: float) -> None:
        """Put into the log what is stuck, again and again, and what is not any more."""
        names = {each.task for each in stuck}
        for each in stuck:
            if now - self._told.get(each.task, -math.inf) >= TOLD_AGAIN:
                self._told[each.task] = now
                log.error("stuck", task=each.task, doing=each.doing, seconds=round(each.seconds, 1), ended=each.ended)
        for name in self._told.keys() - names:
            del self._told[name]
            log.info("it makes progress again", task=name)


def _first(error: BaseException) -> BaseException:
    """Give what the others follow from."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
