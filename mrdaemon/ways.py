"""The ways out of a configuration: which channels it has, how each wants to be told, and how answers come back.

A push channel of several addresses is as many ways out, which have its rules in common and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from mrdaemon.alerts.alert import Level
from mrdaemon.alerts.asker import Asker
from mrdaemon.alerts.channel import Channel, Ears
from mrdaemon.alerts.manners import Manners, Quiet
from mrdaemon.alerts.view import View
from mrdaemon.config import Config
from mrdaemon.settings import ChannelTable, Settings

if TYPE_CHECKING:
    from mrdaemon.alerts.answers import Answers
    from mrdaemon.alerts.links import Links
    from mrdaemon.web.answers import AnswerPage

PUSH_GROUP: Final = 5
"""Seconds that a push waits for others."""
PUSH_REPEAT: Final = 300
"""Seconds between two pushes of one kind about one thing."""


class Way(NamedTuple):
    """A channel, and how it wants to be told."""

    channel: Channel
    manners: Manners


class Place(NamedTuple):
    """One address of a channel."""

    name: str
    """What it is called wherever it is told of: as its channel, or ``phone.2`` where that has several addresses."""
    url: str


class Change(NamedTuple):
    """Which ways out are others from now on."""

    ways: Sequence[Way]
    """What is new, or is another."""
    gone: Sequence[str]
    """What is no more, or is among the others."""
    left: frozenset[str]
    """Those of them that take along what they would leave behind for ever."""


class Ways(NamedTuple):
    """All ways out, and those by which answers come back besides."""

    out: Sequence[Way] = ()
    ears: Sequence[Ears] = ()
    page: AnswerPage | None = None


def ways(config: Config, journal: Path, view: View, asker: Asker) -> Ways:
    """Make the channels of a configuration. Nothing is connected yet; only what is used is loaded.

    Raises:
        KeyFileError: the key that signs answers cannot be used.
    """
    settings = config.settings
    answers = _answers(settings, journal, view, asker)
    out: list[Way] = []
    for name, table in settings.channels.items():
        manners = manners_of(settings, name)
        if table.kind == "mqtt":
            out.append(Way(_mqtt(config, name, view, asker), manners))
        out += [
            Way(_push(settings, name, place, answers), manners._replace(name=place.name))
            for place in places_of(name, table)
        ]
    if answers is None:
        return Ways(out)
    ears: list[Ears] = []
    page: AnswerPage | None = None
    if settings.answers.topic is not None:
        from mrdaemon.alerts.ntfy import AnswerTopic  # noqa: PLC0415 - only who is asked over a topic needs it

        ears.append(AnswerTopic(settings.answers, answers.taken))
    if settings.answers.listen is not None:
        from mrdaemon.web.answers import AnswerPage  # noqa: PLC0415 - only who opens a port needs it

        page = AnswerPage(settings.answers.listen, answers.taken)
    return Ways(out, ears, page)


def changed(before: Settings, after: Config, every: Sequence[Way]) -> Change:
    """Say which ways out another configuration changes; ``every`` are all that it has."""
    old, new = _made_of(before), _made_of(after.settings)
    others = [name for name, made in new.items() if old.get(name) != made]
    gone = [name for name, made in old.items() if new.get(name) != made]
    return Change(
        [each for each in every if each.channel.name in others],
        gone,
        frozenset(name for name in gone if name not in new or old[name].kept != new[name].kept),
    )


class _Made(NamedTuple):
    """What a way out is made of: where all of it is the same, it goes on as it is."""

    kept: tuple[object, ...]
    """Where it leaves behind what lasts."""
    table: ChannelTable
    url: str
    said: frozenset[str]
    """What its table says, and does not leave to what is usual."""
    around: tuple[object, ...]


def _made_of(settings: Settings) -> dict[str, _Made]:
    found = {}
    for name, table in settings.channels.items():
        said, around = frozenset(table.model_fields_set - {"urls"}), (settings.alerts.timezone,)
        if table.kind == "mqtt":
            kept = (settings.mqtt, table.homeassistant, table.discovery)
            found[name] = _Made(kept, table, "", said, around)
        for place in places_of(name, table):
            alone = table.model_copy(update={"urls": ()})
            found[place.name] = _Made((), alone, place.url, said, around)
    return found


class _Signed(NamedTuple):
    """Answers that are signed, and how they are taken."""

    links: Links
    taken: Answers


def _answers(settings: Settings, journal: Path, view: View, asker: Asker) -> _Signed | None:
    if settings.answers.topic is None and settings.answers.listen is None:
        return None
    from mrdaemon.alerts.answers import Answers  # noqa: PLC0415 - only who wants answers by link needs it
    from mrdaemon.alerts.asked import JournaledRequests  # noqa: PLC0415 - as above
    from mrdaemon.alerts.links import Links, key  # noqa: PLC0415 - as above

    links = Links(key(journal.parent), settings.answers, JournaledRequests(view, journal))
    return _Signed(links, Answers(links, asker))


def places_of(name: str, table: ChannelTable) -> list[Place]:
    """Give the places that a channel pushes to. Each is told by itself, so that none waits for another."""
    if len(table.urls) == 1:
        return [Place(name, table.urls[0])]
    return [Place(f"{name}.{number}", url) for number, url in enumerate(table.urls, 1)]


def _push(settings: Settings, name: str, place: Place, answers: _Signed | None) -> Channel:
    from mrdaemon.alerts.push import PushChannel  # noqa: PLC0415 - only who pushes needs it

    table = settings.channels[name]
    links = answers.links if answers is not None and table.buttons else None
    return PushChannel(place.name, place.url, timeout=table.timeout, instance=settings.alerts.instance, links=links)


def _mqtt(config: Config, name: str, view: View, asker: Asker) -> Channel:
    from mrdaemon import mqtt  # noqa: PLC0415 - only who speaks MQTT needs it
    from mrdaemon.alerts.mqtt import MqttChannel  # noqa: PLC0415 - as above

    settings = config.settings
    assert settings.mqtt is not None  # noqa: S101 - the configuration was checked
    broker = mqtt.broker_of(settings.mqtt, config.path.resolve().parent)
    return MqttChannel(name, settings.channels[name], broker, settings.alerts.instance, view, asker)


def manners_of(settings: Settings, name: str) -> Manners:
    """Say how a channel wants to be told: as it says itself, else as suits its kind."""
    table = settings.channels[name]
    push = table.kind == "push"
    zone = ZoneInfo(settings.alerts.timezone)
    return Manners(
        name=name,
        zone=zone,
        level=(Level.NOTICE if push else Level.INFO) if table.level is None else table.level,
        topics=frozenset(table.topics),
        quiet=None if table.quiet is None else Quiet(*table.quiet, zone),
        repeat=table.repeat if "repeat" in table.model_fields_set or not push else PUSH_REPEAT,
        group=(PUSH_GROUP if push else 0) if table.group is None else table.group,
        timeout=table.timeout,
    )
