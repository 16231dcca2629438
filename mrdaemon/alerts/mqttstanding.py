"""How the connection to a broker stands, told once it has been so for a while: one that is made anew soon is not down.

It is told beside the connection, so that an attempt that hangs keeps nobody from hearing that there is none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from mrdaemon import pulse
from mrdaemon.alerts.channel import GRACE_S
from mrdaemon.core.policy import ChannelState
from mrdaemon.mqtt import MqttFailure

Tell = Callable[[ChannelState, str], Awaitable[None]]

log: Final = structlog.get_logger("mrdaemon.mqtt")


class LineStanding:
    """How one channel's connection stands; ``run`` tells it."""

    def __init__(self) -> None:
        self._state: ChannelState | None = None
        self._reason = ""
        self._lost: float | None = None
        """Since when there is no connection, in seconds of the loop's clock."""
        self._news = asyncio.Event()

    def made(self) -> None:
        """Take it that there is a connection."""
        self._lost = None
        self._is(ChannelState.UP, "")

    def failed(self, failure: MqttFailure, begun: float) -> None:
        """Take it that there is none: an attempt failed that was begun then, or what it made ended just now."""
        if self._lost is None:
            self._lost = asyncio.get_running_loop().time() if self._state is ChannelState.UP else begun
        self._is(ChannelState.REFUSED if failure.final else ChannelState.DOWN, str(failure))

    async def run(self, tell: Tell) -> None:
        """Tell each change until cancelled: what a person must mend at once, that there is none after a while."""
        while True:
            pulse.rest()
            await self._news.wait()
            self._news.clear()
            if self._state is not None and not await self._passes():
                pulse.begin("telling how the connection stands")
                await _told(tell, self._state, self._reason)

    def _is(self, state: ChannelState, reason: str) -> None:
        self._state, self._reason = state, reason
        self._news.set()

    async def _passes(self) -> bool:
        """Tell whether it changes again before it has been so for long enough."""
        if self._state is not ChannelState.DOWN or self._lost is None:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._lost + GRACE_S):
                await self._news.wait()
        return self._news.is_set()


async def _told(tell: Tell, state: ChannelState, reason: str) -> None:
    try:
        await tell(state, reason)
    except Exception:  # Its journal is gone, which is seen to elsewhere: the connection has nothing to do with it.
        log.exception("how a connection stands could not be put on the record", state=state.value)
