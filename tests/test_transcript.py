"""The transcript in the documentation is what a run shows."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests import transcript
from tests.running import ROOT


async def test_the_transcript_in_the_docs_is_what_mosquittos_clients_show(tmp_path: Path) -> None:
    written = transcript.DOCUMENT.read_text(encoding="utf-8")
    seen = transcript.document(await transcript.play(tmp_path))
    assert seen.splitlines() == written.splitlines(), "make it anew: .venv/bin/python -m tests.transcript"


def test_the_transcript_shows_the_configuration_that_was_run() -> None:
    written = transcript.DOCUMENT.read_text(encoding="utf-8")
    shown = written.split("```toml\n")[1].split("```")[0]
    assert tomllib.loads(shown) == tomllib.loads(transcript.CONFIG)


def test_the_documentation_of_mqtt_leads_to_the_transcript() -> None:
    assert "(mqtt-transcript.md)" in (ROOT / "docs" / "mqtt.md").read_text(encoding="utf-8")
