"""What a configuration must fulfil whose prices come over MQTT, and the feed that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mrdaemon.atalpaca import FOR_FILES, symbols_of
from mrdaemon.atchannels import is_topic
from mrdaemon.feeds.mqttprices import topics
from mrdaemon.findings import Finding
from mrdaemon.planning import print_rules
from mrdaemon.settings import Settings

if TYPE_CHECKING:
    from mrdaemon.clock import Clock
    from mrdaemon.core.sessions import Calendar
    from mrdaemon.feeds import Adaptation, Listener
    from mrdaemon.feeds.mqtt import MqttFeed


def checks(settings: Settings) -> Iterator[Iterator[Finding]]:
    """Give every problem that has to do with prices over MQTT."""
    yield _keys(settings)
    yield _broker(settings)
    yield _topic(settings)
    yield _collisions(settings)


def _keys(settings: Settings) -> Iterator[Finding]:
    feed = settings.feed
    for key in FOR_FILES if feed.kind == "mqtt" else ("topic",):
        if key in feed.model_fields_set:
            what = f'a feed of kind "{feed.kind}" has no use for this; take it out'
            yield Finding(("feed", key), what, getattr(feed, key))


def _broker(settings: Settings) -> Iterator[Finding]:
    if settings.feed.kind == "mqtt" and settings.mqtt is None:
        what = "wanted a table [mqtt] as well, with the broker's host"
        yield Finding(("feed", "kind"), what, settings.feed.kind)


def _topic(settings: Settings) -> Iterator[Finding]:
    topic = settings.feed.topic
    if settings.feed.kind == "mqtt" and not is_topic(topic):
        what = 'wanted a topic such as "prices", without + and #, with nothing empty between two slashes'
        yield Finding(("feed", "topic"), what, topic)


def _collisions(settings: Settings) -> Iterator[Finding]:
    """Object to two symbols that would have the same prices."""
    if settings.feed.kind != "mqtt":
        return
    owners: dict[str, str] = {}
    for symbol, places in symbols_of(settings).items():
        for topic in topics(settings.feed.topic, symbol):
            owner = owners.setdefault(topic, symbol)
            if owner != symbol:
                where = ("portfolios", places[0][0], "positions", symbol)
                yield Finding(
                    where, f"{owner} has its prices on {topic}, too; only one of the two can be watched", symbol
                )


def feed(settings: Settings, folder: Path, calendar: Calendar, clock: Clock, listener: Listener) -> MqttFeed:
    """Give the feed. Files are relative to ``folder``.

    Raises:
        ValueError: no broker is named, which ``checks`` tells.
    """
    from mrdaemon import mqtt  # noqa: PLC0415 - loads what nobody else needs
    from mrdaemon.feeds.mqtt import MqttFeed, Source, Surroundings  # noqa: PLC0415 - as above

    if settings.mqtt is None:
        message = "[mqtt] is missing"
        raise ValueError(message)
    topic = settings.feed.topic
    source = Source(
        broker=mqtt.broker_of(settings.mqtt, folder),
        identifier=mqtt.identity(settings.alerts.instance, "prices", topic),
        topic=topic,
        symbols=tuple(symbols_of(settings)),
    )
    return MqttFeed(source, Surroundings(calendar, clock, listener, print_rules(settings).stale_after))


def adaptation(feed: MqttFeed, settings: Settings) -> Adaptation:
    """Give the change of a feed to what other settings want of it."""
    return feed.adaptation(tuple(symbols_of(settings)), print_rules(settings).stale_after)
