"""One alert over each channel of a configuration, beside a daemon or without one: does it arrive, and if not, why?"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Final, NamedTuple

from mrdaemon.alerts import mqttmessages
from mrdaemon.alerts.alert import Alert, Level, Topic
from mrdaemon.alerts.channel import Message, RefusedError, UndeliveredError
from mrdaemon.alerts.mqttmessages import Topics
from mrdaemon.config import Config
from mrdaemon.core.instant import Instant
from mrdaemon.settings import ChannelTable
from mrdaemon.ways import Place, places_of

KIND: Final = "test"
LOADING: Final = 10
"""Seconds that are given beyond a channel's own timeout: libraries are loaded, names are looked up."""
TTL: Final = 300
"""Seconds after which a test is of no use any more."""


class Try(NamedTuple):
    """What became of the alert on its way to one place."""

    channel: str
    """Its name; of one address of several with its number, ``phone.2``, as everywhere."""
    kind: str
    to: str
    """Where it went: a topic, or an address by its place in the configuration and its service."""
    ok: bool
    reason: str
    """Why it did not arrive."""
    seconds: float


class _Attempt(NamedTuple):
    """An alert on its way to one place."""

    config: Config
    table: ChannelTable
    place: Place
    to: str


async def tries(config: Config, names: list[str]) -> AsyncIterator[Try]:
    """Send an alert over each of these channels, all at once; gives each result as it comes.

    A channel of several addresses is tried address by address. Each has as long as its channel's timeout.
    """
    attempts = [each for name in names for each in _attempts(config, name)]
    for result in asyncio.as_completed([_tried(each) for each in attempts]):
        yield await result


def _attempts(config: Config, name: str) -> Iterator[_Attempt]:
    table = config.settings.channels[name]
    if table.kind == "mqtt":
        yield _Attempt(config, table, Place(name, ""), Topics(config.settings.alerts.instance).alert)
    for number, place in enumerate(places_of(name, table), 1):
        to = f"address {number} of {len(table.urls)}, {place.url.partition('://')[0]}"
        yield _Attempt(config, table, place, to)


async def _tried(attempt: _Attempt) -> Try:
    begun, reason = time.monotonic(), ""
    limit = attempt.table.timeout
    try:
        async with asyncio.timeout(limit + LOADING):
            await _send(attempt)
    except TimeoutError:
        reason = f"it was not taken within {limit} s"
    except (UndeliveredError, RefusedError) as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - what a foreign library may raise is not known, nor what its words hold
        reason = f"it broke: {type(error).__name__}"
    seconds = round(time.monotonic() - begun, 3)
    return Try(attempt.place.name, attempt.table.kind, attempt.to, not reason, reason, seconds)


async def _send(attempt: _Attempt) -> None:
    """Send the alert as a daemon would, but by a connection of its own: one that runs keeps its own.

    Raises:
        UndeliveredError, RefusedError: as a channel's ``deliver``.
    """
    alert = _test(attempt)
    if attempt.table.kind == "mqtt":
        await _publish(attempt, alert)
        return
    from mrdaemon.alerts.push import PushChannel  # noqa: PLC0415 - apprise takes long to import

    instance = attempt.config.settings.alerts.instance
    name, url = attempt.place
    async with PushChannel(name, url, timeout=attempt.table.timeout, instance=instance, links=None) as channel:
        await channel.deliver(Message([alert], alert.title, alert.text, alert.level))


def _test(attempt: _Attempt) -> Alert:
    instance = attempt.config.settings.alerts.instance
    return Alert(
        id=f"test-{secrets.token_hex(8)}",
        at=Instant(time.time_ns()),
        level=Level.NOTICE,
        topic=Topic.CHANNEL,
        kind=KIND,
        subject=f"channel {attempt.place.name}",
        title="Test",
        text=f"This is a test of channel {attempt.place.name} of {instance}: alerts arrive here. Nothing happened.",
        ttl=TTL,
    )


async def _publish(attempt: _Attempt, alert: Alert) -> None:
    from mrdaemon import mqtt  # noqa: PLC0415 - loads the client library

    config = attempt.config
    assert config.settings.mqtt is not None  # noqa: S101 - the configuration was checked
    broker = mqtt.broker_of(config.settings.mqtt, config.path.resolve().parent)
    identifier = mqtt.identity(config.settings.alerts.instance, KIND, secrets.token_hex(8))
    try:
        async with asyncio.timeout(attempt.table.timeout), mqtt.connected(broker, identifier=identifier) as session:
            await session.send(attempt.to, mqttmessages.alert(alert), said=mqtt.properties(expiry=alert.ttl))
    except mqtt.MqttFailure as failure:
        raise (RefusedError if failure.final else UndeliveredError)(failure.reason) from failure
