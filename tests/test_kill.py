"""The real process, killed with SIGKILL again and again, ends where an undisturbed one does."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mrdaemon import chain
from mrdaemon.core import events as ev
from mrdaemon.places import JOURNAL
from mrdaemon.show import event_object
from tests.running import unmeasured

LIFECYCLE = (ev.DaemonStarted, ev.DaemonStopped, ev.FeedOpened, ev.FeedEnded, ev.AccountReconciled)
"""Rows that every start and stop writes anew."""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mrdaemon", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**unmeasured(), "PYTHONWARNINGS": "ignore"},
    )


def demo(directory: Path) -> list[str]:
    return ["demo", "--fast", "--json", "--state", str(directory)]


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


def finish(arguments: list[str]) -> None:
    with start(*arguments) as process:
        _, errors = process.communicate()
        assert process.returncode == 0, errors


def kill_after(arguments: list[str], lines: int, seconds: float) -> bool:
    """Run and kill once so many lines were said and so much more time has gone; tells whether it was running then."""
    with start(*arguments) as process:
        assert process.stdout is not None
        for _ in range(lines):
            if not process.stdout.readline():
                assert process.wait() == 0
                return False
        instant = time.perf_counter() + seconds
        while time.perf_counter() < instant:  # It works on meanwhile, also where it says nothing.
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return process.returncode == -signal.SIGKILL


def kill_often(arguments: list[str], kills: int, furthest: int, seed: int) -> int:
    """Kill a run again and again, now and then right at its start; gives how often it was still running."""
    draw = random.Random(seed)
    done = 0
    while done < kills and kill_after(
        arguments, draw.choice([1, 2, 3, draw.randint(4, furthest)]), draw.choice([0.0, draw.uniform(0.0, 0.008)])
    ):
        done += 1
    return done


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [4, pytest.param(60, marks=pytest.mark.soak)])
def test_a_demo_killed_at_random_instants_ends_like_an_undisturbed_one(tmp_path: Path, kills: int) -> None:
    calm, troubled = tmp_path / "calm", tmp_path / "troubled"
    finish(demo(calm))
    assert kill_often(demo(troubled), kills=kills, furthest=1_000 // kills, seed=20200312) == kills
    finish(demo(troubled))
    assert outcome(troubled) == outcome(calm)


RECORDING_CONFIG = """
seed = "7"
[feed]
kind = "file"
files = ["ticks.csv"]
[prices]
confirm = 1
max_jump = "20%"
[accounts.paper]
broker = "paper"
slippage = "2bps"
partial_fills = "40%"
whole_shares = ["CCC"]
[portfolios.one]
account = "paper"
reserve = "9000"
floor = "500"
zone = "1%"
mode = "auto"
cooldown = "2m"
max_orders_per_day = 25
restore = "half"
[portfolios.one.positions.AAA]
target = "3000"
initial = "buy"
[portfolios.one.positions.BBB]
target = "3000"
initial = "buy"
restore = "edge"
[portfolios.one.positions.CCC]
target = "2000"
shares = "40"
"""


def ticks(path: Path, rows: int) -> None:
    """Write a recording with quotes, irregular trades, outliers and two sessions."""
    draw = random.Random(11)
    price = {"AAA": 100.0, "BBB": 30.0, "CCC": 50.0}
    lines = ["timestamp,symbol,price,size,conditions,bid,ask"]
    for row in range(rows):
        day, second = 9 + 2 * row // rows, (row % (rows // 2)) * 20
        symbol = draw.choice("ABC") * 3
        price[symbol] *= 1 + draw.gauss(0, 0.003)
        shown = price[symbol] * draw.choice([1.0] * 30 + [1.04, 0.96])
        conditions = draw.choice(["@"] * 20 + ["@ W", "Z", "@ I"])
        bid, ask = f"{price[symbol] * 0.9995:.4f}", f"{price[symbol] * 1.0005:.4f}"
        quote = f"{bid},{ask}" if draw.random() < 0.6 else ","
        stamp = (
            f"2020-03-{day:02d}T{14 + second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{row % 1000:03d}Z"
        )
        lines.append(f"{stamp},{symbol},{shown:.4f},100,{conditions},{quote}")
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [2, pytest.param(30, marks=pytest.mark.soak)])
def test_confirmations_partial_fills_holds_and_quotes_survive_kills(tmp_path: Path, kills: int) -> None:
    (tmp_path / "ticks.toml").write_text(RECORDING_CONFIG)
    ticks(tmp_path / "ticks.csv", 2000)
    calm, troubled = (
        ["run", "--json", "-c", str(tmp_path / "ticks.toml"), "--state", str(tmp_path / name)]
        for name in ("calm", "troubled")
    )
    finish(calm)
    assert kill_often(troubled, kills=kills, furthest=600 // kills, seed=5) == kills
    finish(troubled)
    expected, final = outcome(tmp_path / "calm")
    kinds = {event["kind"] for event in expected}
    assert kinds >= {"signal_pending", "signal_dropped", "signal_held", "order_filled", "side_rearmed", "print_refused"}
    assert sum(event.get("status") == "expired" for event in expected) + sum(
        event["kind"] == "order_filled" for event in expected
    ) > sum(event["kind"] == "order_intended" for event in expected), "some orders fill in pieces"
    assert outcome(tmp_path / "troubled") == (expected, final)


def test_two_demos_decide_and_fill_alike(tmp_path: Path) -> None:
    for name in ("one", "two"):
        finish(demo(tmp_path / name))
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")
