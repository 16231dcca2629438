"""The OpenAPI document, held against a real daemon: whatever it allows, and what it does not, is asked."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openapi_schema_validator import OAS31Validator

from mrdaemon.asks import ASKS
from mrdaemon.core import events as ev
from mrdaemon.web.openapi import document
from tests.running import ROOT, unmeasured
from tests.webbed import Web, web_daemon

EXAMPLES = 8
"""For each operation."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with web_daemon(tmp_path_factory.mktemp("web") / "place") as started:
        yield started


@pytest.mark.parametrize(
    ("phase", "left_out"),
    [
        ("coverage", ["/api/stream"]),  # It never ends.
        # schemathesis 4.32 stumbles over its own notes of the pairs in a reserve's line, once it has seen one.
        ("fuzzing", ["/api/stream", "/api/reserve/{portfolio}"]),
    ],
)
def test_the_daemon_does_what_the_document_says(phase: str, left_out: list[str], web: Web, tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{web.url}/openapi.json", "--no-color",
        "--header", f"Authorization: Bearer {web.token}",
        "--phases", phase, "--max-examples", str(EXAMPLES), "--generation-deterministic",
        "--suppress-health-check", "all", "--request-timeout", "20",
        "--exclude-checks", "ignored_auth",  # It guesses so often that it is not listened to; see the next test.
        *(f"--exclude-path={each}" for each in left_out),
    ]  # fmt: skip
    env = {**unmeasured(), "SCHEMATHESIS_HOOKS": "tests.openapi_hooks", "PYTHONPATH": str(ROOT)}
    asked = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    assert asked.returncode == 0, asked.stdout + asked.stderr
    wanted = [path for path, methods in document()["paths"].items() for _ in methods if path not in left_out]
    assert f"Tested: {len(wanted) - 1}" in asked.stdout  # One it has done already: it read the document.


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
