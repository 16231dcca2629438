"""The OpenAPI document, held against a real daemon: whatever it allows, and what it does not, is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import ignored_auth

from mrdaemon.asks import ASKS
from mrdaemon.core import events as ev
from mrdaemon.web.openapi import document
from tests.webbed import Web, web_daemon

EXAMPLES = 8
"""For each operation."""

load_all_checks()
plain_text = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=500)
schemathesis.openapi.format("plain-text", plain_text)
schema = schemathesis.openapi.from_dict(document()).exclude(path="/api/stream")
bounded = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with web_daemon(tmp_path_factory.mktemp("web") / "place") as started:
        yield started


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
def test_the_daemon_does_what_the_document_says(case: Any, web: Web) -> None:
    if case.query.get("follow"):
        return  # This never ends; see the streams.
    case.call_and_validate(
        base_url=web.url,
        headers={"Authorization": f"Bearer {web.token}"},
        excluded_checks=[ignored_auth],  # It guesses so often that it is not listened to any more; see the next one.
        timeout=20,
    )


def test_every_operation_wants_the_token_but_those_that_say_so(web: Web) -> None:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            reply = web.browser().ask(method.upper(), path.replace("{", "").replace("}", ""))
            is_open = operation.get("security") == []
            assert (reply.status != 401) is is_open, path


def test_the_document_is_served_and_its_schemas_are_sound(web: Web) -> None:
    served = web.browser().get("/openapi.json").object
    assert served == json.loads(json.dumps(document()))
    for name, each in served["components"]["schemas"].items():
        OAS31Validator.check_schema(each)
        assert name.isidentifier()


def test_every_command_and_every_kind_of_event_is_in_it() -> None:
    found = document()
    assert {f"/api/commands/{name}" for name in ASKS} <= found["paths"].keys()
    schemas = found["components"]["schemas"]
    assert len(schemas["AnyEvent"]["oneOf"]) == len(ev.KINDS)
    assert all("sentence" in schemas[kind.__name__]["required"] for kind in ev.KINDS.values())
