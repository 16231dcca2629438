"""What channels must fulfil: settings of their kind, addresses and commands that there are, and a broker."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.findings import Finding
from mrdaemon.overrides import variable
from mrdaemon.sentences import WAY_BACK
from mrdaemon.settings import ChannelTable, Settings
from mrdaemon.values import Hours

FOR_PUSH: Final = ("urls", "buttons")
FOR_MQTT: Final = ("commands", "homeassistant", "discovery", "every")
USUAL_LEVEL: Final = {"mqtt": Level.INFO, "push": Level.NOTICE}
"""The least that a channel is sent unless it says otherwise."""
MOVES_MONEY: Final = ("approve", "resume", "fill", "deposit", "withdraw", "target")
"""Commands after which more may be traded than before, or a reserve is another."""


def level_of(channel: ChannelTable) -> Level:
    """Give the least that a channel is sent."""
    return channel.level or USUAL_LEVEL[channel.kind]


def checks(settings: Settings) -> Iterator[Iterator[Finding]]:
    """Give every problem of the channels."""
    yield _one_over_mqtt(settings)
    for name, channel in settings.channels.items():
        yield _called(name)
        yield _of_its_kind(name, channel)
        yield _broker(settings, name, channel)
        yield _addresses(name, channel)
        yield _commands(name, channel)
        yield _discovery(name, channel)


def _called(name: str) -> Iterator[Finding]:
    if name == WAY_BACK:
        what = "this is what the topic over which answers come in is called; wanted another name"
        yield Finding(("channels", name), what, name)


def _of_its_kind(name: str, channel: ChannelTable) -> Iterator[Finding]:
    for key in FOR_MQTT if channel.kind == "push" else FOR_PUSH:
        if key in channel.model_fields_set:
            what = f'a channel of kind "{channel.kind}" has no use for this; take it out'
            yield Finding(("channels", name, key), what, getattr(channel, key))


def _broker(settings: Settings, name: str, channel: ChannelTable) -> Iterator[Finding]:
    if channel.kind == "mqtt" and settings.mqtt is None:
        what = "wanted a table [mqtt] as well, with the broker's host"
        yield Finding(("channels", name, "kind"), what, channel.kind)


def _one_over_mqtt(settings: Settings) -> Iterator[Finding]:
    first: str | None = None
    for name, channel in settings.channels.items():
        if "kind" in vars(channel) and channel.kind == "mqtt":
            if first is not None:
                what = f"channel {first} goes over MQTT already, and both would have the same topics; keep one"
                yield Finding(("channels", name), what, name)
            first = first or name


# Push


def _addresses(name: str, channel: ChannelTable) -> Iterator[Finding]:
    if channel.kind != "push":
        return
    here = ("channels", name, "urls")
    if not channel.urls:
        what = (
            'wanted addresses such as "ntfy://ntfy.sh/topic", best from the environment '
            f"({variable(here)}) or a secrets directory, one a line"
        )
        yield Finding(here, what, None)
        return
    from mrdaemon.alerts import push  # noqa: PLC0415 - apprise takes long to import: only where there is an address

    for number, url in enumerate(channel.urls):
        if url in channel.urls[:number]:
            yield Finding((*here, str(number)), "wanted each address once; it would be told twice", url)
        elif (problem := push.problem(url)) is not None:
            yield Finding((*here, str(number)), problem, url)


# MQTT


def _commands(name: str, channel: ChannelTable) -> Iterator[Finding]:
    if channel.kind != "mqtt" or not channel.commands:
        return
    from mrdaemon.asks import ASKS  # noqa: PLC0415 - only who takes commands needs to know them

    for number, command in enumerate(channel.commands):
        where = ("channels", name, "commands", str(number))
        if command not in ASKS:
            near = next(iter(difflib.get_close_matches(command, ASKS, n=1)), None)
            meant = f"; did you mean {near!r}?" if near else f"; there are: {', '.join(ASKS)}"
            yield Finding(where, f"there is no such command{meant}", command)
        elif command in channel.commands[:number]:
            yield Finding(where, "wanted each command once", command)


def _discovery(name: str, channel: ChannelTable) -> Iterator[Finding]:
    if channel.kind != "mqtt":
        return
    here = ("channels", name, "discovery")
    if not is_topic(channel.discovery):
        what = 'wanted a topic such as "homeassistant", without + and #, with nothing empty between two slashes'
        yield Finding(here, what, channel.discovery)
    elif "discovery" in channel.model_fields_set and not channel.homeassistant:
        yield Finding(here, "this is for homeassistant = true, which is not set; take it out", channel.discovery)


def is_topic(text: str) -> bool:
    """Tell whether a text can be the first part of a topic that is published on."""
    plain = text.isprintable() and not {"+", "#"} & set(text) and not text.startswith("$")
    return plain and all(part.strip() == part and part for part in text.split("/"))


# What a person should know of those that can be used


def notes(settings: Settings) -> Iterator[str]:
    """Say what goes where, and what a person should know of it."""
    channels = settings.channels
    if not channels and "alerts" in settings.model_fields_set:
        yield "Nothing uses [alerts]: there is no channel, so nobody is told anything."
    if channels:
        yield f"Alerts: {', '.join(_in_words(name, each) for name, each in channels.items())}."
    for name, channel in channels.items():
        yield from _of_commands(settings, name, channel)
    if len(channels) == 1:
        [(name, channel)] = channels.items()
        if channel.quiet is not None:
            hours = _span(channel.quiet)
            yield f"In the hours {hours} nobody is told of what is not critical: {name} is the only channel."


def _in_words(name: str, channel: ChannelTable) -> str:
    level = level_of(channel)
    said = ["MQTT" if channel.kind == "mqtt" else f"push to {_counted(channel)}"]
    said.append(
        "everything"
        if level.rank == 0
        else "only what is critical"
        if level is Level.CRITICAL
        else f"{level} and above"
    )
    if len(channel.topics) < len(Topic):
        said.append(f"of {', '.join(channel.topics)} only")
    if channel.quiet is not None:
        said.append(f"quiet {_span(channel.quiet)}")
    if channel.homeassistant:
        said.append("in Home Assistant")
    if channel.commands:
        said.append(f"commands: {', '.join(channel.commands)}")
    return f"{name} ({', '.join(said)})"


def _counted(channel: ChannelTable) -> str:
    return f"{len(channel.urls)} address{'es' * (len(channel.urls) != 1)}"


def _span(hours: Hours) -> str:
    return "-".join(f"{each // 60:02}:{each % 60:02}" for each in hours)


def _of_commands(settings: Settings, name: str, channel: ChannelTable) -> Iterator[str]:
    if channel.homeassistant and not channel.commands:
        yield f"Home Assistant gets no buttons from {name}: it takes no commands, as long as commands names none."
    moving = [each for each in channel.commands if each in MOVES_MONEY]
    if moving:
        topic = f"mrdaemon/{settings.alerts.instance}/cmd/"
        yield f"Whoever may publish below {topic} can {', '.join(moving)}: see that the MQTT broker lets only you."
    mqtt = settings.mqtt
    if channel.commands and mqtt is not None and mqtt.user is None and mqtt.certificate is None:
        yield f"{name} takes commands from an MQTT broker that asks nobody who they are: see that only you reach it."
