"""Entities as Home Assistant's MQTT discovery describes them, and how each reads its figure out of a JSON object.

The rules are those of its documentation of MQTT, of sensors and of events: an option without a value is left out, and
what renders as ``None`` is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

Platform = Literal["sensor", "binary_sensor", "button", "event"]


class Device(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What entities belong to."""

    identifiers: tuple[str, ...]
    name: str
    manufacturer: str = ""
    model: str = ""
    sw_version: str = ""
    via_device: str = ""


class Origin(msgspec.Struct, frozen=True):
    """Which program sends this."""

    name: str
    sw_version: str


class Availability(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where ``online`` or ``offline`` is said."""

    topic: str
    value_template: str = ""


class Component(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entity. With nothing but its platform, it removes the one that an earlier message brought."""

    platform: Platform
    unique_id: str = ""
    name: str = ""
    default_entity_id: str = ""
    state_topic: str = ""
    value_template: str = ""
    json_attributes_topic: str = ""
    json_attributes_template: str = ""
    device_class: str = ""
    state_class: str = ""
    unit_of_measurement: str = ""
    suggested_display_precision: int | None = None
    options: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    payload_on: str = ""
    payload_off: str = ""
    command_topic: str = ""
    command_template: str = ""
    availability: tuple[Availability, ...] | None = None
    availability_mode: str = ""
    qos: int = 0


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """A whole message. What stands beside device and origin holds for every component that does not say else."""

    device: Device
    origin: Origin
    components: dict[str, Component]
    availability: tuple[Availability, ...]
    state_topic: str


class Figure(NamedTuple):
    """A sensor: a figure of the JSON object, by its key there."""

    key: str
    name: str
    unit: str = ""
    state_class: str = ""
    device_class: str = ""
    digits: int | None = None
    options: tuple[str, ...] = ()
    template: str = ""
    """Where the figure is not shown as it is."""
    attributes: str = ""


class Flag(NamedTuple):
    """A binary sensor: whether something holds that the JSON object tells."""

    key: str
    name: str
    condition: str
    """As a template says it."""
    device_class: str = ""
    facts: tuple[str, ...] = ()
    """What else of the JSON object belongs to it, as attributes."""


class Entities:
    """Makes the entities of one device, which read one topic."""

    def __init__(self, identifier: str, topic: str) -> None:
        self.identifier = identifier
        self.topic = topic

    def unique(self, key: str) -> str:
        """Name an entity as no other is named, in whichever device."""
        return f"{self.identifier}__{key}"

    def sensors(self, figures: Iterable[Figure]) -> dict[str, Component]:
        """Make sensors."""
        return {
            each.key: Component(
                platform="sensor",
                unique_id=self.unique(each.key),
                name=each.name,
                value_template=each.template or f"{{{{ value_json.{each.key} }}}}",
                unit_of_measurement=each.unit,
                state_class=each.state_class,
                device_class=each.device_class,
                suggested_display_precision=each.digits,
                options=each.options,
                json_attributes_topic=self.topic if each.attributes else "",
                json_attributes_template=each.attributes,
            )
            for each in figures
        }

    def flags(self, flags: Iterable[Flag]) -> dict[str, Component]:
        """Make binary sensors."""
        return {
            each.key: Component(
                platform="binary_sensor",
                unique_id=self.unique(each.key),
                name=each.name,
                value_template=f"{{{{ 'ON' if {each.condition} else 'OFF' }}}}",
                device_class=each.device_class,
                json_attributes_topic=self.topic if each.facts else "",
                json_attributes_template=_object(each.facts) if each.facts else "",
            )
            for each in flags
        }


def _object(facts: Iterable[str]) -> str:
    pairs = ", ".join(f"'{each}': value_json.{each}" for each in facts)
    return f"{{{{ {{{pairs}}} | tojson }}}}"
