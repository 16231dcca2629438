"""How long a command takes to answer, against an interpreter that does nothing, and a daemon until it is armed.

Armed means: reconciled with a local Alpaca that has a price of every symbol, and every position watched from one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import local
from benchmarks.market import QUIET, configuration, symbol
from benchmarks.measuring import alternate, check, report, workplace

ROUNDS = 15
STARTS = {1: 5, 10_000: 1}
"""Positions, and how often a daemon is started with them."""
AT_ONCE = 1_000
"""Symbols that trade in one frame."""
MRDAEMON = (sys.executable, "-m", "mrdaemon")


def answer(*command: str, wanted: str = "") -> None:
    """Run a command to its end."""
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    check(holds=wanted in out, what=f"{wanted!r} in the answer")


def armed(folder: Path, positions: int) -> float:
    """Give the seconds from nothing to a daemon that watches every position at a local Alpaca."""
    folder.mkdir(parents=True)
    names = [symbol(each) for each in range(positions)]
    with local.simulator(folder) as port:
        for start in range(0, positions, AT_ONCE):
            local.push(port, [(name, QUIET) for name in names[start : start + AT_ONCE]])
        config = local.configuration(folder, port, names, mode="alert")
        begun = time.perf_counter()
        with local.daemon(folder, config) as process:
            _until_armed(process, port, names)
            return time.perf_counter() - begun


def _until_armed(process: subprocess.Popen[str], port: int, names: Sequence[str]) -> None:
    """Wait for it; once the stream is subscribed every symbol trades, as in the first moments of a session."""
    waiting, reconciled, traded = set(names), False, False
    while waiting or not reconciled:
        event = json.loads(local.next_line(process))
        match event["kind"]:
            case "position_armed":
                waiting.discard(event["symbol"])
            case "account_reconciled":
                reconciled = True
            case "feed_state_changed" if event["state"] == "subscribed" and "sip" in event["feed"] and not traded:
                traded = True
                for start in range(0, len(names), AT_ONCE):
                    local.push(port, [(name, QUIET) for name in names[start : start + AT_ONCE]])
            case _:
                pass


def measure_armed(folder: Path) -> None:
    """Start with one position and with many."""
    for positions, times in STARTS.items():
        seconds = [armed(folder / f"{positions}-{each}", positions) for each in range(times)]
        report(
            f"startup/armed-{positions}",
            f"mrdaemon run at a local Alpaca, from nothing to armed, with positions: {positions}",
            seconds=min(seconds),
            median_s=median(seconds),
        )


def main(folder: Path) -> None:
    """Make a small journal, then ask; then start from nothing."""
    config, state = configuration(folder, 3), str(folder / "state")
    answer(*MRDAEMON, "run", "--json", "-c", str(config), "--state", state, wanted="feed_ended")
    rounds = alternate(
        ROUNDS,
        nothing=partial(answer, sys.executable, "-c", "pass"),
        help=partial(answer, *MRDAEMON, "--help", wanted="run"),
        status=partial(answer, *MRDAEMON, "status", "--state", state, wanted="S0"),
    )
    for side, what in (("help", "mrdaemon --help"), ("status", "mrdaemon status on a small journal")):
        report(
            f"startup/{side}",
            f"{what}, against python -c pass",
            seconds=rounds.best(side),
            nothing_s=rounds.best("nothing"),
            ratio=rounds.ratio(side, "nothing"),
        )
    measure_armed(folder)


if __name__ == "__main__":
    with workplace() as place:
        main(place)
