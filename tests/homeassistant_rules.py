"""What Home Assistant's documentation demands of a device's discovery message, written down from it.

Of MQTT: discovery topic, device discovery payload, availability; of its sensor, binary sensor, event and button; and of
sensors: device and state classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

TOPIC = re.compile(r"(?P<prefix>.+)/device/[a-zA-Z0-9_-]+/config")
SHARED = {"availability", "availability_mode", "state_topic", "command_topic", "qos", "encoding"}
"""Options that may stand once for all components."""
EVERYWHERE = {
    "platform",
    "unique_id",
    "name",
    "default_entity_id",
    "availability",
    "availability_mode",
    "json_attributes_topic",
    "json_attributes_template",
    "entity_category",
    "icon",
    "qos",
}
READS = {"state_topic", "value_template", "device_class"}
KNOWN = {
    "sensor": READS | {"unit_of_measurement", "state_class", "suggested_display_precision", "options", "expire_after"},
    "binary_sensor": READS | {"payload_on", "payload_off", "off_delay", "expire_after"},
    "event": READS | {"event_types"},
    "button": {"command_topic", "command_template", "payload_press", "retain", "device_class"},
}
CURRENCY = re.compile(r"[A-Z]{3}")
STATE_CLASSES = {"measurement", "total", "total_increasing"}
ENTITY_ID = re.compile(r"(?P<platform>[a-z_]+)\.[a-z0-9]+(_[a-z0-9]+)*")

Object = Mapping[str, Any]


def broken(topic: str, payload: bytes) -> list[str]:
    """Say which rules a message breaks."""
    if not TOPIC.fullmatch(topic):
        return [f"topic: {topic}"]
    return list(_of_device(json.loads(payload)))


def components(payload: bytes) -> dict[str, dict[str, Any]]:
    """Give the components that a message brings, each with what stands once for all."""
    whole = json.loads(payload)
    shared = {key: value for key, value in whole.items() if key in SHARED}
    return {key: {**shared, **each} for key, each in whole["components"].items() if set(each) != {"platform"}}


def _of_device(whole: Object) -> Iterator[str]:
    if unknown := whole.keys() - SHARED - {"device", "origin", "components"}:
        yield f"unknown: {unknown}"
    if not whole["device"].get("identifiers") or not whole["device"].get("name"):
        yield "a device has an identifier and a name"
    if not whole["origin"].get("name"):
        yield "an origin has a name"
    shared = {key: value for key, value in whole.items() if key in SHARED}
    for key, each in whole["components"].items():
        if set(each) != {"platform"}:
            yield from (f"{key}: {what}" for what in _of_component(each, {**shared, **each}))
        elif each["platform"] not in KNOWN:
            yield f"{key}: platform"


def _of_component(own: Object, whole: Object) -> Iterator[str]:
    platform = own["platform"]
    if unknown := own.keys() - EVERYWHERE - KNOWN[platform]:
        yield f"unknown: {unknown}"
    if not own.get("unique_id") or not own.get("name"):
        yield "an entity has a unique id and a name"
    yield from _of_topics(platform, whole)
    yield from _of_availability(whole)
    if None in own.values():
        yield "an option without a value"
    if entity := own.get("default_entity_id"):
        matched = ENTITY_ID.fullmatch(entity)
        if not matched or matched["platform"] != platform:
            yield f"entity id: {entity}"
    if platform == "sensor":
        yield from _of_sensor(own)
    if platform == "event" and not own.get("event_types"):
        yield "an event has types"


def _of_topics(platform: str, whole: Object) -> Iterator[str]:
    needed = "command_topic" if platform == "button" else "state_topic"
    if needed not in whole:
        yield f"no {needed}"
    for key in {"state_topic", "command_topic", "json_attributes_topic"} & whole.keys():
        if not _is_topic(whole[key]):
            yield f"{key}: {whole[key]}"
    if whole.get("qos", 0) not in {0, 1, 2}:
        yield "qos"


def _of_availability(whole: Object) -> Iterator[str]:
    if whole.get("availability_mode", "latest") not in {"all", "any", "latest"}:
        yield "availability mode"
    for each in whole.get("availability", []):
        known = {"topic", "payload_available", "payload_not_available", "value_template"}
        if each.keys() - known or not _is_topic(each["topic"]):
            yield f"availability: {each}"


def _of_sensor(own: Object) -> Iterator[str]:
    kind, unit, state = own.get("device_class"), own.get("unit_of_measurement"), own.get("state_class")
    if state is not None and state not in STATE_CLASSES:
        yield f"state class: {state}"
    if kind == "monetary" and (not CURRENCY.fullmatch(unit or "") or state not in {None, "total"}):
        yield "monetary wants a currency, and no other state class than total"
    if (kind == "enum") != ("options" in own):
        yield "enum and options go together"
    if kind == "enum" and (unit or state or not own["options"]):
        yield "enum has neither unit nor state class, but options"
    if kind not in {None, "monetary", "enum"}:
        yield f"device class: {kind}"


def _is_topic(topic: str) -> bool:
    return bool(topic) and not set(topic) & {"+", "#", "\0"} and len(topic.encode()) <= 65_535


def repeated(names: Iterable[str]) -> list[str]:
    """Give the names that are there more than once."""
    seen: set[str] = set()
    return [each for each in names if each in seen or seen.add(each)]  # type: ignore[func-returns-value]
