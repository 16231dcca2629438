"""What a broker keeps of us: how everything stands, published anew on each connection and then wherever it changes.

It takes a twentieth of the time of the event loop at most, a few milliseconds at once, however many positions there
are: prices go first.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import structlog

from mrdaemon import pulse
from mrdaemon.alerts import mqttmessages as messages
from mrdaemon.alerts.homeassistant import Discovery, Message
from mrdaemon.alerts.mqttmessages import Topics
from mrdaemon.alerts.view import View
from mrdaemon.core.instant import Instant
from mrdaemon.mqtt import ANSWER_WITHIN, MqttFailure, Session, properties
from mrdaemon.status import PositionStatus

WINDOW: Final = 15
"""Figures that may wait for their acknowledgement: fewer than all that may, so that an alert goes at once."""
SLICE: Final = 0.002
"""Seconds of work after which others have their turn."""
SHARE: Final = 0.05
"""The part of the event loop's time that figures may take."""
HEARTBEAT: Final = 60.0
"""Seconds after which the daemon's state is published though nothing changed: so its silence means something."""
_SAID: Final = properties()

log: Final = structlog.get_logger("mrdaemon.mqtt")


class Figures:
    """Publishes the figures of one connection."""

    def __init__(
        self,
        session: Session,
        topics: Topics,
        view: View,
        every: float,
        discovery: Discovery | None,
        published: set[str] | None = None,
    ) -> None:
        """Begin on a new connection; ``published`` is where earlier ones published, and grows."""
        self._session = session
        self._topics = topics
        self._view = view
        self._every = every
        self._discovery = discovery
        self._pace = _Pace()
        self._known: dict[str, object] = {}
        """By what is published where, that which tells whether there is news."""
        self._published = set[str]() if published is None else published
        self._over = asyncio.Event()
        """Set once nothing is to be published any more."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._beat = -HEARTBEAT
        self._again = asyncio.Event()
        self._refused = False
        self.complete = asyncio.Event()
        """Set once everything was published."""

    async def run(self) -> None:
        """Publish until cancelled.

        Raises:
            MqttFailure: the connection is of no use any more.
        """
        while True:
            pulse.begin("publishing figures")
            self._again.clear()
            await self._look()
            self.complete.set()
            pulse.rest()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._again.wait()

    def publish_anew(self) -> None:
        """Publish everything again: somebody who listens has begun anew."""
        self._known.clear()
        self._beat = -HEARTBEAT
        self._again.set()

    async def clear(self, topics: Iterable[str]) -> None:
        """Take away what an earlier run has left on topics, except where we have published since.

        Raises:
            MqttFailure: the connection is of no use any more.
        """
        for topic in topics:
            if topic not in self._published:
                await self._publish(topic, b"")
                await self._pace.rest()

    async def withdraw(self) -> None:
        """Take away everything that was published, on this connection or an earlier one, and publish nothing more.

        Raises:
            MqttFailure: the connection is of no use any more.
        """
        self._over.set()
        topics = sorted(self._published)
        for start in range(0, len(topics), WINDOW):
            sent = [self._session.send(each, b"", retain=True) for each in topics[start : start + WINDOW]]
            await asyncio.gather(*sent)

    async def _look(self) -> None:
        """Publish whatever changed since the last look."""
        self._pace.go_on()
        now, overview, discovery = self._view.now(), self._view.overview(), self._discovery
        beat = time.monotonic() - self._beat >= HEARTBEAT
        if self._is_news(self._topics.state, messages.lasting(overview)) or beat:
            self._beat = time.monotonic()
            await self._publish(self._topics.state, messages.state(overview))
        if discovery is not None:
            await self._device("daemon", (), discovery.daemon)
        for each in overview.portfolios:
            topic = self._topics.portfolio(each.name)
            if self._is_news(topic, messages.lasting(each)):
                await self._publish(topic, messages.portfolio(each, now))
            if discovery is not None:
                await self._device(f"portfolio {each.name}", (), partial(discovery.portfolio, each.name))
            await self._pace.rest()
        for position in self._view.positions():
            await self._position(position, now)
            await self._pace.rest()
        while self._waiting:
            await self._settle(self._waiting.popleft())

    async def _position(self, status: PositionStatus, now: Instant) -> None:
        topic = self._topics.position(status.portfolio, status.symbol)
        if self._is_news(topic, b"" if status.retired else messages.lasting(status)):
            await self._publish(topic, b"" if status.retired else messages.position(status, now))
        if self._discovery is not None:
            shown = (status.retired, status.approval)
            await self._device(f"position {status.key}", shown, partial(self._discovery.position, status))

    async def _device(self, name: str, shown: object, make: Callable[[], Message]) -> None:
        """Publish what Home Assistant is told about a device, where what it is made of has changed."""
        if self._is_news(f"device of {name}", shown):
            message = make()
            await self._publish(message.topic, message.payload)

    def _is_news(self, name: str, telling: object) -> bool:
        if self._known.get(name) == telling:
            return False
        self._known[name] = telling
        return True

    async def _publish(self, topic: str, payload: bytes) -> None:
        """Publish once fewer than a window full are on their way."""
        if self._over.is_set():
            return
        self._published.add(topic)
        while len(self._waiting) >= WINDOW:
            await self._settle(self._waiting.popleft())
        if self._over.is_set():
            return
        self._waiting.append(self._session.send(topic, payload, retain=True, said=_SAID if payload else None))

    async def _settle(self, acknowledged: asyncio.Future[None]) -> None:
        self._pace.pause()
        pulse.progress("publishing figures")
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await acknowledged
        except TimeoutError:
            message = f"{self._session.broker.address} takes messages and never acknowledges them"
            raise MqttFailure(message) from None
        except MqttFailure as failure:
            if not failure.final and not failure.too_large:
                raise
            if not self._refused:
                self._refused = True
                log.warning("figures refused", reason=str(failure))
        finally:
            self._pace.go_on()


class _Pace:
    """Gives others their turn."""

    def __init__(self) -> None:
        self._worked = 0.0
        self.go_on()

    def go_on(self) -> None:
        """Count from here on."""
        self._since = time.perf_counter()

    def pause(self) -> None:
        """Count no more: what is waited is no work."""
        self._worked += time.perf_counter() - self._since

    async def rest(self) -> None:
        """Wait, after a slice of work, until it was no more than our share of the time."""
        self.pause()
        if self._worked >= SLICE:
            await asyncio.sleep(self._worked * (1 / SHARE - 1))
            pulse.progress("publishing figures")
            self._worked = 0.0
        self.go_on()
