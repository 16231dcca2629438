"""What Home Assistant shows and sends, by the templates that it is told: rendered as it renders them."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tests.homeassistant_cases import Case, cases
from tests.homeassistant_rules import components

CASES = [pytest.param(each, id=f"{number}-{each.heard}") for number, each in enumerate(cases())]
NOW = dt.datetime(2020, 9, 13, 12, 26, 40, 500_000, dt.UTC)
TEMPLATES = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
TEMPLATES.globals["utcnow"] = lambda: NOW


def rendered(template: str, **known: Any) -> str:
    return TEMPLATES.from_string(template).render(**known).strip()


@pytest.mark.parametrize("case", CASES)
def test_every_entity_shows_what_its_topic_says(case: Case) -> None:
    found = components(case.payload.encode())
    shown = {key: rendered(found[key]["value_template"], value_json=case.says) for key in case.shows}
    assert shown == case.shows


@pytest.mark.parametrize("case", CASES)
def test_every_template_renders_whatever_the_topic_says(case: Case) -> None:
    for key, each in components(case.payload.encode()).items():
        if "value_template" in each:
            assert rendered(each["value_template"], value_json=case.says), key
        if "json_attributes_template" in each:
            attributes = json.loads(rendered(each["json_attributes_template"], value_json=case.says))
            assert attributes | case.attributes.get(key, {}) == attributes, key


@pytest.mark.parametrize("case", [each for each in CASES if each.values[0].presses])  # type: ignore[union-attr]
def test_every_button_sends_its_command_with_the_time_of_the_press(case: Case) -> None:
    found = components(case.payload.encode())
    sent = {key: json.loads(rendered(found[key]["command_template"], value="PRESS")) for key in case.presses}
    assert sent == {key: {"at": NOW.isoformat(), **fields} for key, fields in case.presses.items()}


@pytest.mark.parametrize("case", [each for each in CASES if each.values[0].available])  # type: ignore[union-attr]
def test_an_answer_can_be_given_only_while_a_request_waits(case: Case) -> None:
    found = components(case.payload.encode())
    for key, wanted in case.available.items():
        [template] = [each["value_template"] for each in found[key]["availability"] if "value_template" in each]
        assert rendered(template, value_json=case.says) == ("online" if wanted else "offline")
