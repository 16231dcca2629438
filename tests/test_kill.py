"""The real process, killed with SIGKILL again and again, ends where an undisturbed one does."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mrdaemon import chain
from mrdaemon.core import events as ev
from mrdaemon.places import JOURNAL
from mrdaemon.show import event_object

KILLS = 55
LIFECYCLE = (ev.DaemonStarted, ev.DaemonStopped, ev.FeedOpened, ev.FeedEnded, ev.AccountReconciled)
"""Rows that every start and stop writes anew."""


def demo(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mrdaemon", "demo", "--fast", "--json", "--state", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def outcome(directory: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Give every event but the lifecycle's, and the final state, without what starts and stops leave there."""
    journal = directory / JOURNAL
    chain.verify(journal)
    happened = [
        event_object(record.event) for record in chain.records(journal) if not isinstance(record.event, LIFECYCLE)
    ]
    state = chain.current(journal).state
    final = {
        "positions": {key: each.__struct_fields__ and repr(each) for key, each in state.positions.items()},
        "portfolios": {key: repr(each) for key, each in state.portfolios.items()},
        "orders": [key for key, each in state.orders.items() if each.ended is None],
    }
    return happened, final


def kill_after(directory: Path, lines: int) -> bool:
    """Run the demo and kill it once it has said so many lines; tells whether it was still running then."""
    with demo(directory) as process:
        assert process.stdout is not None
        for _ in range(lines):
            if not process.stdout.readline():
                assert process.wait() == 0
                return False
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return process.returncode == -signal.SIGKILL


@pytest.mark.timeout(600)
def test_a_demo_killed_at_random_instants_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    calm, troubled = tmp_path / "calm", tmp_path / "troubled"
    with demo(calm) as process:
        process.communicate()
        assert process.returncode == 0
    random_lines = random.Random(20200312)
    kills = 0
    while kills < KILLS:
        # Now and then right at the start, so that a start that was killed is tried as well.
        if not kill_after(troubled, random_lines.choice([1, 2, 3, random_lines.randint(4, 70)])):
            break
        kills += 1
    with demo(troubled) as process:
        process.communicate()
        assert process.returncode == 0
    assert kills == KILLS
    expected, expected_state = outcome(calm)
    happened, state = outcome(troubled)
    assert happened == expected
    assert state == expected_state


def test_two_demos_decide_and_fill_alike(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with demo(tmp_path / name) as process:
            process.communicate()
            assert process.returncode == 0
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")
