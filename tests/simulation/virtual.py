"""A loop whose time passes only while nothing is to be done, so that hours take seconds and runs repeat exactly."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from mrdaemon.core.instant import SECOND, Instant


class StuckError(Exception):
    """Everybody waits, and nothing is due."""


class _NoSockets(selectors.BaseSelector):
    """Waits by letting virtual time pass. There are no sockets."""

    def __init__(self) -> None:
        self.passed: Callable[[float], None] = lambda _: None

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            message = "every task waits for another"
            raise StuckError(message)
        if timeout > 0:
            self.passed(timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what is ready; when nothing is, it is at once the time of what is due next."""

    def __init__(self) -> None:
        waits = _NoSockets()
        super().__init__(waits)
        self._virtual = 0.0
        waits.passed = self._pass

    def time(self) -> float:
        return self._virtual

    def _pass(self, seconds: float) -> None:
        self._virtual += seconds

    def run_in_executor(self, executor: Executor | None, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Run it here: there are no threads to wait for."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
            future.set_exception(error)
        return future


class VirtualClock:
    """The time of a virtual loop."""

    def __init__(self, loop: VirtualLoop, start: Instant) -> None:
        self._loop = loop
        self._start = start

    def now(self) -> Instant:
        return Instant(self._start + round(self._loop.time() * SECOND))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
