"""Asking a daemon whether it is well: what a container engine and a service manager go by."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mrdaemon import client
from tests.running import Place, ask, child, daemon, mrdaemon


def quiet(folder: Path) -> Place:
    """Give a recording whose second row is hours away."""
    return Place(folder).configure(speed="1x").record(100, 101, apart=7200)


def test_a_daemon_that_runs_is_healthy_whatever_state_trading_is_in(tmp_path: Path) -> None:
    place = quiet(tmp_path)
    with daemon(place, kind="daemon_started"):
        well = place.tell("health")
        assert (well.code, well.err) == (0, "")
        assert well.out.startswith("healthy: ACTIVE; ")
        assert "1 position" in well.out

        assert place.tell("halt").code == 0
        halted = place.tell("health")
        assert halted.code == 0
        assert halted.out.startswith("healthy: HALTED")


def test_as_json_it_says_what_is_stuck_and_what_is_wrong(tmp_path: Path) -> None:
    place = quiet(tmp_path)
    with daemon(place, kind="daemon_started"):
        place.tell("halt", "QQQ")
        [found] = place.tell("health", "--json").objects
        assert found["ok"] is True
        assert found["stuck"] == []
        assert found["trading"] == "ACTIVE"
        assert found["wrong"] == ["HALTED: core/QQQ"]
        assert ask(place.state, "GET", "/health").body == found


def test_where_no_daemon_runs_nothing_is_healthy(tmp_path: Path) -> None:
    place = Place(tmp_path).configure().record(100)
    assert place.run().code == 0
    outcome = place.tell("health")
    assert outcome.code == 1
    assert outcome.err == f"mrdaemon: no daemon runs on {place.state}\n"
    assert mrdaemon("health", "--state", tmp_path / "nowhere").code == 1


def test_a_daemon_that_does_not_answer_is_unhealthy_within_its_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.5)
    place = quiet(tmp_path)
    with daemon(place, kind="daemon_started") as process:
        process.send_signal(signal.SIGSTOP)
        outcome = place.tell("health")
        process.send_signal(signal.SIGCONT)
    assert outcome.code == 1
    assert "has not answered" in outcome.err


def test_it_is_found_by_its_configuration_as_well(tmp_path: Path) -> None:
    place = quiet(tmp_path)
    place.config.write_text(f'state_dir = "{place.state}"\n' + place.config.read_text())
    with daemon(place, kind="daemon_started"):
        assert mrdaemon("health", "--config", place.config).code == 0
        with child("health", env={"MRDAEMON_CONFIG": str(place.config)}) as asking:
            asking.communicate(timeout=20)
            assert asking.returncode == 0


HEAVY = ("pandas", "numpy", "alpaca", "exchange_calendars", "uvicorn", "starlette", "apprise", "pydantic", "aiomqtt")


def test_asking_is_cheap() -> None:
    program = "import sys; from mrdaemon.cli import servicing; import mrdaemon.client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {each.split(".")[0] for each in loaded} & set(HEAVY)
