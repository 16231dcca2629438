"""A connection to an MQTT broker: made anew each time, bounded in time, and every failure told in plain words.

It is the only module that knows the client library, whose gaps are filled here: it takes a refused publication for a
published one, lets who waits for an answer wait on when the connection is gone, and leaves sockets open behind it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import socket
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import Any, Final

import aiomqtt
from aiomqtt.types import PahoSocket
from paho.mqtt.client import Client as Paho
from paho.mqtt.client import ConnectFlags, DisconnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from mrdaemon.mqttbroker import Broker, broker_of
from mrdaemon.mqttfailure import MqttFailure, failure, refused

__all__ = ["Broker", "MqttFailure", "Session", "broker_of", "connected", "identity", "of_use_for", "properties"]

QOS: Final = 1
"""Everything is delivered at least once."""
KEEPALIVE: Final = 30
"""Seconds of silence after which either side asks whether the other is there."""
ANSWER_WITHIN: Final = 10.0
"""Seconds in which the broker answers, be it a greeting or an acknowledgement."""
OPEN_WITHIN: Final = 30.0
"""Seconds in which a connection is open, with the look-up of its name and its certificates."""
CLOSE_WITHIN: Final = 2.0
LARGEST: Final = 1024 * 1024
"""Bytes of a packet that we take. An older broker than MQTT 5 is not told."""
HEADERS: Final = 600
"""Bytes that topic and properties of a message may have."""
INCOMING: Final = 1000
"""Messages that may wait to be read; further ones are dropped."""
INFLIGHT: Final = 20
"""Publications that wait for their acknowledgement at one time; further ones wait to be sent."""

_FAILED: Final = 0x80
"""From here on, a reason is one of failure."""
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]")


def identity(instance: str, *parts: str) -> str:
    """Name a client: the same again after a restart, so that the broker ends what is left of its last connection."""
    digest = hashlib.sha256("\0".join((instance, *parts)).encode()).hexdigest()
    return f"mrdaemon-{_UNFIT.sub('-', instance)[:24]}-{digest[:12]}"


@asynccontextmanager
async def connected(broker: Broker, *, identifier: str, will: aiomqtt.Will | None = None) -> AsyncIterator[Session]:
    """Hold a new connection open. Whatever ends it, its socket is closed in the end.

    Where an exception ends it, it is cut, so that the broker publishes the will.

    Raises:
        MqttFailure: it could not be opened, or it ended.
    """
    session = Session(broker, await _context(broker), identifier, will)
    polite = False
    try:
        await session.open()
        yield session
        polite = True
    except asyncio.CancelledError:
        polite = True
        raise
    except aiomqtt.MqttError as error:
        if error.__context__ is not None:  # Its frames hold a socket that nobody closes where TLS failed.
            traceback.clear_frames(error.__context__.__traceback__)
        raise session.failure(error) from error
    finally:
        await (session.close() if polite else session.abandon())


def properties(
    *, expiry: int | None = None, correlation: bytes | None = None, packet: int = PacketTypes.PUBLISH
) -> Properties:
    """Give what MQTT 5 says beside a message of JSON or text: seconds until it is of no use, and what it answers."""
    found = Properties(packet)  # type: ignore[no-untyped-call]
    found.PayloadFormatIndicator = 1
    if expiry is not None:
        found.MessageExpiryInterval = max(1, min(expiry, 2**32 - 1))
    if correlation is not None:
        found.CorrelationData = correlation
    return found


@lru_cache(maxsize=64)
def of_use_for(seconds: int) -> Properties:
    """Give the same for how long a message is of use. To make these anew takes a seventh of a publication."""
    return properties(expiry=seconds)


class Session(aiomqtt.Client):
    """A connection. Use ``connected``, which opens and closes it."""

    def __init__(
        self, broker: Broker, context: ssl.SSLContext | None, identifier: str, will: aiomqtt.Will | None
    ) -> None:
        self.broker = broker
        self.modern = broker.version == "5"
        self._words = _Words()
        self._unacknowledged: dict[int, asyncio.Future[None]] = {}
        self._greeted = False
        self._largest = 2**28
        """Bytes of a packet that the broker takes."""
        super().__init__(
            broker.host,
            broker.port,
            username=broker.user,
            password=broker.password,
            logger=self._words.logger,
            identifier=identifier,
            protocol=aiomqtt.ProtocolVersion.V5 if self.modern else aiomqtt.ProtocolVersion.V311,
            will=will,
            clean_session=None if self.modern else True,
            timeout=ANSWER_WITHIN,
            keepalive=KEEPALIVE,
            max_queued_incoming_messages=INCOMING,
            max_inflight_messages=INFLIGHT,
            properties=_greeting() if self.modern else None,
            tls_context=context,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],  # else it waits 40 ms for company
        )

    async def open(self) -> None:
        """Connect. A thread does it, which nobody can stop: where it is too late, its socket is closed when it ends.

        Raises:
            MqttFailure: nobody answers, or not as a broker.
            aiomqtt.MqttError: the broker says no.
        """
        entering = asyncio.ensure_future(self.__aenter__())
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                await asyncio.shield(entering)
            self._greeted = True
        except TimeoutError:
            message = f"{self.broker.address} did not answer within {OPEN_WITHIN:.0f} s"
            raise MqttFailure(message) from None
        except ValueError as error:  # the library's word for a host or name that cannot be one
            message = f"{self.broker.address} cannot be connected to: {error}"
            raise MqttFailure(message, final=True) from error
        finally:
            if not entering.done():
                if not self._connected.done():
                    self._connected.set_exception(aiomqtt.MqttError("nobody waits for it any more"))
                entering.add_done_callback(self._too_late)

    async def close(self) -> None:
        """Disconnect politely where that is still possible, and let go of the socket."""
        if self._connected.done() and self._connected.exception() is None:
            with suppress(aiomqtt.MqttError, TimeoutError, OSError, ValueError):
                async with asyncio.timeout(CLOSE_WITHIN):
                    await self.__aexit__(None, None, None)
        self._let_go()

    async def abandon(self) -> None:
        """Let go of the socket without a word."""
        self._let_go()

    async def want(self, *topics: str) -> list[str]:
        """Subscribe; gives the topics that the broker refused. What is retained is marked so whenever it comes.

        Raises:
            MqttFailure: the connection is of no use any more.
        """
        options = SubscribeOptions(QOS, retainAsPublished=True)
        codes: list[ReasonCode | int]
        try:
            if self.modern:
                codes = list(await self.subscribe([(each, options) for each in topics]))
            else:
                codes = list(await self.subscribe([(each, QOS) for each in topics]))
        except aiomqtt.MqttError as error:
            raise self.failure(error) from error
        return [topic for topic, code in zip(topics, codes, strict=True) if _denied(code)]

    async def unwant(self, *topics: str) -> None:
        """Unsubscribe.

        Raises:
            MqttFailure: the connection is of no use any more.
        """
        try:
            await self.unsubscribe(list(topics))
        except aiomqtt.MqttError as error:
            raise self.failure(error) from error

    async def incoming(self) -> AsyncIterator[aiomqtt.Message]:
        """Give what comes in.

        Raises:
            MqttFailure: the connection is of no use any more.
        """
        try:
            async for message in self.messages:
                yield message
        except aiomqtt.MqttError as error:
            raise self.failure(error) from error

    def send(
        self, topic: str, payload: bytes, *, retain: bool = False, said: Properties | None = None
    ) -> asyncio.Future[None]:
        """Publish; what is given is done once the broker has it, or fails with an MqttFailure.

        The caller bounds the time. ``said`` is dropped where the protocol is older than MQTT 5.
        """
        acknowledged: asyncio.Future[None] = self._loop.create_future()
        if len(payload) > self._largest - HEADERS:
            reason = f"{self.broker.address} takes {self._largest} bytes at most, and this message has {len(payload)}"
            _fail(acknowledged, MqttFailure(reason, too_large=True))
            return acknowledged
        try:
            sent = self._client.publish(topic, payload, QOS, retain, said if self.modern else None)
        except ValueError as error:  # the library's word for a topic with wildcards or a payload without end
            _fail(acknowledged, MqttFailure(f"{topic[:80]!r} cannot be published to: {error}", too_large=True))
            return acknowledged
        if sent.rc:
            _fail(acknowledged, MqttFailure(f"the connection to {self.broker.address} is gone"))
        else:
            self._unacknowledged[sent.mid] = acknowledged
        return acknowledged

    @property
    def unacknowledged(self) -> int:
        """How many publications the broker has not acknowledged yet."""
        return len(self._unacknowledged)

    def failure(self, error: BaseException) -> MqttFailure:
        """Say what an error of the library means."""
        tls = None if self._greeted else self.broker.tls is not None
        return failure(self.broker.address, error, self._words.last, tls)

    def _too_late(self, entering: asyncio.Future[Any]) -> None:
        if not entering.cancelled():
            entering.exception()  # It is known, and nobody waits for it.
        self._let_go()

    def _let_go(self) -> None:
        """Close the socket, and end who waits for an answer."""
        for each in (self._connected, self._disconnected):
            if each.done() and not each.cancelled():
                each.exception()  # Whoever wanted to know does.
        self._client._sock_close()  # noqa: SLF001 - its public ways out all wait for a broker that may not answer
        if self._misc_task is not None:
            self._misc_task.cancel()
        self._forget(MqttFailure(f"the connection to {self.broker.address} was closed"))

    def _forget(self, why: MqttFailure) -> None:
        waiting, self._unacknowledged = self._unacknowledged, {}
        for each in waiting.values():
            _fail(each, why)

    # What the library calls

    def _on_connect(
        self,
        client: Paho,
        userdata: object,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self._largest = getattr(properties, "MaximumPacketSize", self._largest)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self, client: Paho, userdata: object, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        acknowledged = self._unacknowledged.pop(mid, None)
        if acknowledged is None:
            super()._on_publish(client, userdata, mid, reason_code, properties)
        elif reason_code.is_failure:
            _fail(acknowledged, refused(self.broker.address, "a message", reason_code))
        elif not acknowledged.done():
            acknowledged.set_result(None)

    def _on_socket_register_write(self, client: Paho, userdata: object, sock: PahoSocket) -> None:  # noqa: ARG002
        self._loop.call_soon_threadsafe(self._watch, sock)

    def _watch(self, sock: PahoSocket) -> None:
        """Write once that is possible, if the socket is still ours: its number may belong to another by now."""
        number = sock.fileno()
        if number >= 0 and self._client.socket() is sock:
            self._loop.add_writer(number, self._write)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this connection's end, not the loop's
            if not self._disconnected.done():
                self._disconnected.set_exception(error)

    def _on_disconnect(
        self,
        client: Paho,
        userdata: object,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if not self._connected.done():  # Else its greeting would be waited for until it is too late.
            self._connected.set_exception(aiomqtt.MqttCodeError(reason_code))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        for each in self._pending_subscribes.values():
            if not each.done():
                each.set_exception(aiomqtt.MqttCodeError(reason_code))
        self._forget(self.failure(aiomqtt.MqttCodeError(reason_code)))


class _Words(logging.Handler):
    """Keeps what the library only logs: why a socket broke. Nothing of it reaches our log: it may name topics."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""
        self.logger = logging.Logger("mqtt", logging.ERROR)  # noqa: LOG001 - one for each connection, nobody else's
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.last = record.getMessage()


def _greeting() -> Properties:
    found = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    found.MaximumPacketSize = LARGEST
    return found


def _fail(waiting: asyncio.Future[None], why: MqttFailure) -> None:
    if not waiting.done():
        waiting.set_exception(why)
        waiting.exception()  # Nobody may be waiting: then it is no news for the log.


def _denied(code: ReasonCode | int) -> bool:
    return (code if isinstance(code, int) else code.value) >= _FAILED


async def _context(broker: Broker) -> ssl.SSLContext | None:
    if broker.tls is None:
        return None
    try:
        return await asyncio.to_thread(broker.tls)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        message = f"the certificates for {broker.address} cannot be read: {error}"
        raise MqttFailure(message, final=True) from error
