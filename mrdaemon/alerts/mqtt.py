"""Alerts and figures out over MQTT, and commands in: one connection, made anew whenever it ends."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Self

import aiomqtt
import structlog

from mrdaemon import pulse
from mrdaemon.alerts import mqttmessages as messages
from mrdaemon.alerts.alert import Alert
from mrdaemon.alerts.asker import Asker
from mrdaemon.alerts.channel import Message, RefusedError, UndeliveredError
from mrdaemon.alerts.homeassistant import ONLINE as BORN
from mrdaemon.alerts.homeassistant import Discovery
from mrdaemon.alerts.mqttcommands import Commands, Incoming
from mrdaemon.alerts.mqttfigures import Figures
from mrdaemon.alerts.mqttmessages import OFFLINE, ONLINE, Topics
from mrdaemon.alerts.mqttstanding import LineStanding
from mrdaemon.alerts.view import View
from mrdaemon.core.instant import SECOND
from mrdaemon.core.policy import ChannelState
from mrdaemon.mqtt import ANSWER_WITHIN, Broker, MqttFailure, Session, connected, identity, of_use_for, properties
from mrdaemon.retry import Backoff
from mrdaemon.settings import ChannelTable

FIRST: Final = 1.0
LONGEST: Final = 60.0
"""Seconds that the first wait for another connection may take, and any."""
SLOWLY: Final = 60.0
"""Seconds that are waited besides where a person must mend something."""
PROVEN_AFTER: Final = 30.0
"""Seconds that a connection must have lasted before the next failure counts as the first."""
FAREWELL: Final = 2.0
"""Seconds that the last word may take."""
SWEEP: Final = 3.0
"""Seconds that a broker has to show what an earlier run has left there."""

SLICE: Final = 10
"""Alerts that are published before prices have another turn: a millisecond's work."""
ANSWER_LIVES: Final = 60
"""Seconds after which nobody waits for the answer to a command any more."""

log: Final = structlog.get_logger("mrdaemon.mqtt")


class MqttChannel:
    """A channel over MQTT, with ears for commands."""

    def __init__(  # noqa: PLR0913, PLR0917 - it joins all of them
        self,
        name: str,
        table: ChannelTable,
        broker: Broker,
        instance: str,
        view: View,
        asker: Asker,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self.stands: Callable[[ChannelState, str], Awaitable[None]] | None = None
        """To be told how the connection stands, once it has for a while; None where nobody wants to know."""
        self._table = table
        self._broker = broker
        self._instance = instance
        self._view = view
        self._wall = wall
        self._topics = Topics(instance)
        self._discovery = Discovery(instance, table.discovery, table.commands) if table.homeassistant else None
        self._commands = Commands(name, self._topics, table.commands, asker, wall, (table.discovery,))
        self._session: Session | None = None
        self._figures: Figures | None = None
        """What stands on the topics that the broker keeps, while there is a connection."""
        self._published = set[str]()
        """Where."""
        self._failed: MqttFailure | None = None
        """Why there is no connection, after the first attempt."""
        self._tried = asyncio.Event()
        self.connected = asyncio.Event()
        """Set while there is a connection."""
        self._line = LineStanding()
        self._suspect = asyncio.Event()
        self._swept = False
        self._log = log.bind(channel=name, broker=broker.address)

    async def __aenter__(self) -> Self:
        """Begin to keep a connection."""
        start = asyncio.create_task
        keeping = pulse.beside(start, self._keep(), f"connection of {self.name}")
        telling = pulse.beside(start, self._line.run(self._tell), f"standing of {self.name}")
        self._running = [keeping, telling]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Say that we are offline, and disconnect."""
        for each in self._running:
            each.cancel()
        await asyncio.wait(self._running)

    async def deliver(self, message: Message) -> None:
        """Publish each alert; returns once the broker has acknowledged all of them.

        Raises:
            UndeliveredError: there is no connection, or the broker does not acknowledge.
            RefusedError: it does not take us, or our messages, until a person mends that; or one is too large.
        """
        await self._tried.wait()
        session = self._session
        if session is None:
            reason = self._failed or MqttFailure(f"there is no connection to {self._broker.address}")
            raise _undelivered(reason)
        sent: list[asyncio.Future[None]] = []
        for n, alert in enumerate(message.alerts, 1):
            sent += self._send(session, alert, self._left(alert, message))
            if n % SLICE == 0:
                await asyncio.sleep(0)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await asyncio.gather(*sent)
        except MqttFailure as failure:
            raise _undelivered(failure) from failure
        except TimeoutError:
            self._suspect.set()
            raise UndeliveredError(_deaf(self._broker)) from None
        except asyncio.CancelledError:  # Who waits has less patience than we.
            self._suspect.set()
            raise

    async def withdraw(self) -> None:
        """Take away what the broker keeps of us: figures, and what Home Assistant is told.

        Raises:
            UndeliveredError: there is no connection, and so it stays there.
        """
        figures = self._figures
        if figures is None:
            message = f"there is no connection to {self._broker.address}: what it keeps of us stays there"
            raise UndeliveredError(message)
        try:
            await figures.withdraw()
        except MqttFailure as failure:
            raise UndeliveredError(str(failure)) from failure

    async def listen(self) -> None:
        """Carry out commands, one after the other."""
        await self._commands.run()

    def _left(self, alert: Alert, message: Message) -> int:
        """Give the seconds for which an alert is still of use: a broker hands it to nobody after them."""
        until = message.until(alert.id)
        return alert.ttl if until is None else min(alert.ttl, (until - self._wall()) // SECOND)

    def _send(self, session: Session, alert: Alert, left: int) -> list[asyncio.Future[None]]:
        said = of_use_for(left)
        sent = [session.send(self._topics.alert, messages.alert(alert), said=said)]
        if self._discovery is not None and (signal := self._discovery.signal(alert)) is not None:
            sent.append(session.send(signal.topic, signal.payload, said=said))
        return sent

    # The connection

    async def _keep(self) -> None:
        """Connect again and again."""
        backoff, clock = Backoff(FIRST, LONGEST), asyncio.get_running_loop().time
        told = ""
        while True:
            pulse.begin("connecting")
            begun = clock()
            failure = await self._converse()
            self._failed = failure
            self._tried.set()
            self._line.failed(failure, begun)
            if clock() - begun > PROVEN_AFTER:
                backoff.succeeded()
            wait = backoff.next() + (SLOWLY * random.uniform(0.5, 1) if failure.final else 0)  # noqa: S311 - no secret
            if (reason := str(failure)) != told:
                told = reason
                self._log.warning("disconnected", reason=reason, again_in=round(wait, 1))
            pulse.rest()
            await asyncio.sleep(wait)

    async def _tell(self, state: ChannelState, reason: str) -> None:
        if self.stands is not None:
            await self.stands(state, reason)

    async def _converse(self) -> MqttFailure:
        """Hold one connection; gives why it ended."""
        will = aiomqtt.Will(self._topics.status, OFFLINE, qos=1, retain=True)
        identifier = identity(self._instance, platform.node(), self._view.overview().state_dir)
        try:
            async with connected(self._broker, identifier=identifier, will=will) as session:
                await self._talk(session)
        except MqttFailure as failure:
            return failure
        except Exception as error:  # noqa: BLE001 - a bug, or the library's, must cost the connection, not its keeper
            self._log.exception("the connection broke")
            return MqttFailure(f"it broke: {type(error).__name__}")
        return MqttFailure(f"the connection to {self._broker.address} ended")

    async def _talk(self, session: Session) -> None:
        """Use a connection until it ends, or until we stop.

        Raises:
            MqttFailure: it is of no use any more.
        """
        figures = Figures(session, self._topics, self._view, self._table.every, self._discovery, self._published)
        self._figures = figures
        left = None if self._swept else set[str]()
        self._suspect.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                start, name = tasks.create_task, self.name
                pulse.beside(start, self._hear(session, figures, left, self._wall()), f"messages to {name}")
                await self._begin(session, sweeping=left is not None)
                pulse.beside(start, figures.run(), f"figures of {name}")
                pulse.beside(start, self._doubt(), f"acknowledgements to {name}")
                if left is not None:
                    pulse.beside(start, self._sweep(session, figures, left), f"sweep of {name}")
                pulse.rest()
        except ExceptionGroup as group:
            raise _first(group) from group
        except asyncio.CancelledError:
            with contextlib.suppress(TimeoutError, MqttFailure):
                async with asyncio.timeout(FAREWELL):
                    await session.send(self._topics.status, OFFLINE, retain=True)
            raise
        finally:
            pulse.begin("leaving the connection")
            self._session = self._figures = None
            self.connected.clear()

    async def _begin(self, session: Session, *, sweeping: bool) -> None:
        """Subscribe, say that we are there, and let alerts go."""
        wanted = [self._topics.status]
        if self._table.commands:
            wanted.append(self._topics.commands)
        if self._discovery is not None:
            wanted.append(self._discovery.birth)
        if sweeping:
            wanted += self._left_overs()
        if denied := await session.want(*wanted):
            self._log.warning("the broker does not let us listen", topics=denied)
        await self._say_online(session)
        self._session, self._failed = session, None
        self._tried.set()
        self.connected.set()
        self._line.made()
        self._log.info("connected")

    async def _say_online(self, session: Session) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await session.send(self._topics.status, ONLINE, retain=True)
        except MqttFailure as failure:
            if not failure.final:
                raise
            self._log.warning("the broker does not take our status", reason=str(failure))
        except TimeoutError:
            raise MqttFailure(_deaf(self._broker)) from None

    async def _doubt(self) -> None:
        """End the connection where alerts are not acknowledged.

        Raises:
            MqttFailure: they are not.
        """
        pulse.rest()
        await self._suspect.wait()
        raise MqttFailure(_deaf(self._broker))

    # What comes in

    async def _hear(self, session: Session, figures: Figures, left: set[str] | None, since: int) -> None:
        """Take whatever comes in, at once.

        Raises:
            MqttFailure: the connection ended.
        """

        def reply(topic: str, payload: bytes, correlation: bytes | None) -> None:
            session.send(topic, payload, said=properties(expiry=ANSWER_LIVES, correlation=correlation))

        pulse.rest()
        async for message in session.incoming():
            topic, payload = message.topic.value, bytes(message.payload)
            if topic == self._topics.status:
                self._contradict(session, payload)
            elif self._discovery is not None and topic == self._discovery.birth:
                if payload == BORN and (figures.complete.is_set() or not message.retain):
                    figures.publish_anew()
            elif topic.startswith(f"{self._topics.base}/cmd/"):
                self._commands.take(_incoming(message, payload), since, reply)
            elif left is not None and message.retain and payload:
                left.add(topic)

    def _contradict(self, session: Session, payload: bytes) -> None:
        """Say that we are there where a connection of before, or another daemon of our name, has said otherwise."""
        if payload != ONLINE and session is self._session:
            session.send(self._topics.status, ONLINE, retain=True)

    def _left_overs(self) -> list[str]:
        """Give where a run before may have left figures and devices that are no more."""
        ours = [self._topics.position_of_any, self._topics.portfolio("+")]
        return ours if self._discovery is None else [*ours, self._discovery.filter]

    async def _sweep(self, session: Session, figures: Figures, left: set[str]) -> None:
        """Take away what a run before has left, once all that there is was published."""
        await asyncio.sleep(SWEEP)
        await session.unwant(*self._left_overs())
        await pulse.idle(figures.complete.wait())  # As long as it takes: figures are watched by themselves.
        found = self._discovery
        await figures.clear(
            each for each in left if each.startswith(self._topics.base) or (found is not None and found.ours(each))
        )
        self._swept = True


def _incoming(message: aiomqtt.Message, payload: bytes) -> Incoming:
    said = message.properties
    return Incoming(
        message.topic.value,
        payload,
        message.retain,
        getattr(said, "ResponseTopic", None),
        getattr(said, "CorrelationData", None),
    )


def _undelivered(failure: MqttFailure) -> UndeliveredError | RefusedError:
    """Say a failure in a channel's words. What a person must mend is refused; the connection is tried on, slowly."""
    if failure.too_large:
        return RefusedError(str(failure), message_only=True)
    return RefusedError(str(failure)) if failure.final else UndeliveredError(str(failure))


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """Give what ended a connection; what else did is a consequence of it."""
    found = group.exceptions[0]
    return _first(found) if isinstance(found, ExceptionGroup) else found


def _deaf(broker: Broker) -> str:
    return f"{broker.address} takes messages and never acknowledges them"
