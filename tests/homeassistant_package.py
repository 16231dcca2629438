"""Hold what is described to Home Assistant against its own package: its schemas, its tables, its templates.

For ``make homeassistant``, with an interpreter that has the package and nothing of ours. The cases come in by stdin,
the page whose automations are to be judged is named. It ends with 1 and says what is wrong, and where.
"""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import importlib.util
import inspect
import json
import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NEWER = {"default_entity_id", "options"}
"""Options that older versions do not know, and leave out: before 2025.10 the one, before devices the other."""
SHARED = ("availability", "state_topic")
"""What we say once for all components; Home Assistant says itself which it takes, where it knows devices."""

YAML = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)

Object = dict[str, Any]


def of(name: str) -> Any:
    """Give a module of Home Assistant's."""
    return importlib.import_module(f"homeassistant.{name}")


class Warnings(logging.Handler):
    """What it logs as a warning or worse is wrong, too."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


class Judge:
    """Home Assistant's own opinion."""

    def __init__(self, hass: Any) -> None:
        self._hass = hass
        self._matcher = of("components.mqtt.discovery").TOPIC_MATCHER
        self._models = of("components.mqtt.models")
        schemas = importlib.util.find_spec("homeassistant.components.mqtt.schemas")
        self.device = getattr(of("components.mqtt.schemas"), "DEVICE_DISCOVERY_SCHEMA", None) if schemas else None
        self.rendered = self.automated = 0

    def wrong(self, case: Object) -> Iterator[str]:
        """Say what is wrong with a case."""
        whole = json.loads(case["payload"])
        _, found, rest = case["topic"].rpartition("/device/")
        if not found or not self._matcher.fullmatch(f"device/{rest}"):
            yield f"topic {case['topic']}"
        if self.device is not None:
            self.device(copy.deepcopy(whole))
        for key, each in whole["components"].items():
            if set(each) == {"platform"}:
                continue
            try:
                config = self._component(whole, each)
                for what in (*self._sensor(config, each), *self._reads(key, config, case)):
                    yield f"{key}: {what}"
            except Exception as error:  # noqa: BLE001 - whatever it raises is its opinion
                yield f"{key}: {type(error).__name__}: {error}"

    def automations(self, page: str) -> Iterator[str]:
        """Say what is wrong with the automations that a page shows."""
        schema, yaml = of("components.automation.config").PLATFORM_SCHEMA, importlib.import_module("yaml")
        for each in (each for block in YAML.findall(page) for each in yaml.safe_load(block)):
            try:
                schema(each)
                self.automated += 1
            except Exception as error:  # noqa: BLE001 - the same
                yield f"{each.get('alias')}: {type(error).__name__}: {error}"

    def _component(self, whole: Object, own: Object) -> Object:
        """Give a component as it is set up; raise where an option is unknown, missing or wrong."""
        module = of(f"components.mqtt.{own['platform']}")
        common = {"device": whole["device"], "origin": whole["origin"]}
        shared = {key: whole[key] for key in SHARED if key in whole}
        config = {**shared, **{key: value for key, value in own.items() if key != "platform"}, **common}
        leave_out = NEWER if self.device is None else {"default_entity_id"}
        strict = {key: value for key, value in config.items() if key not in leave_out}
        if own["platform"] == "button":
            strict.pop("state_topic", None)  # It is shared, and of no use to a button.
        module.PLATFORM_SCHEMA_MODERN(copy.deepcopy(strict))
        found: Object = module.DISCOVERY_SCHEMA(copy.deepcopy(config))
        return found

    def _sensor(self, config: Object, own: Object) -> Iterator[str]:
        if own["platform"] != "sensor" or config.get("device_class") is None:
            return
        known = of("components.sensor.const").DEVICE_CLASS_STATE_CLASSES.get(config["device_class"], set())
        if config.get("state_class") not in {None, *known}:
            yield f"state class {config['state_class']} does not go with {config['device_class']}"

    def _reads(self, key: str, config: Object, case: Object) -> Iterator[str]:
        said = json.dumps(case["says"])
        if key in case["shows"]:
            seen = self._value(config["value_template"], said)
            if seen != case["shows"][key]:
                yield f"shows {seen!r}, not {case['shows'][key]!r}, of {said}"
        if "json_attributes_template" in config:
            attributes = json.loads(self._value(config["json_attributes_template"], said))
            wanted = case["attributes"].get(key, {})
            if not isinstance(attributes, dict) or not wanted.items() <= attributes.items():
                yield f"attributes {attributes}"
        if key in case["presses"]:
            command = json.loads(self._command(config["command_template"]))
            age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(command.pop("at"))
            if command != case["presses"][key] or not abs(age) < dt.timedelta(minutes=1):
                yield f"sends {command}, {age} old"
        if key in case["available"]:
            told = [self._value(each["value_template"], said) for each in config["availability"] if len(each) > 3]
            if told != ["online" if case["available"][key] else "offline"]:
                yield f"is {told}"

    def _value(self, template: Any, said: str) -> str:
        return str(self._template("MqttValueTemplate", template).async_render_with_possible_json_value(said))

    def _command(self, template: Any) -> str:
        return str(self._template("MqttCommandTemplate", template).async_render("PRESS"))

    def _template(self, kind: str, template: Any) -> Any:
        self.rendered += 1
        maker = getattr(self._models, kind)
        if "hass" in inspect.signature(maker).parameters:  # until 2024.8
            return maker(template, hass=self._hass)
        template.hass = self._hass
        return maker(template)


async def main(page: str) -> int:
    """Judge every case, and the automations of a page."""
    warnings = Warnings()
    logging.getLogger("homeassistant").addHandler(warnings)
    cases = [json.loads(line) for line in sys.stdin]
    with tempfile.TemporaryDirectory() as folder:
        core = of("core")
        hass = core.HomeAssistant(folder)
        judge = Judge(hass)
        wrong = [f"{case['topic']}: {what}" for case in cases for what in judge.wrong(case)]
        if judge.device is not None:  # Older ones write automations otherwise.
            wrong += judge.automations(Path(page).read_text(encoding="utf-8"))
        wrong += warnings.said
        await hass.async_stop(force=True)
    version = of("const").__version__
    sys.stderr.writelines(f"{each}\n" for each in wrong)
    what = f"{len(cases)} cases, {judge.rendered} templates, {judge.automated} automations, {len(wrong)} wrong"
    older = "" if judge.device is not None else " (too old for devices and automations: entities only)"
    sys.stdout.write(f"Home Assistant {version}{older}: {what}\n")
    return 1 if wrong or not cases else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
