"""How long a command takes to answer, against an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.market import configuration
from benchmarks.measuring import alternate, check, report, workplace

ROUNDS = 15
MRDAEMON = (sys.executable, "-m", "mrdaemon")


def answer(*command: str, wanted: str = "") -> None:
    """Run a command to its end."""
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    check(holds=wanted in out, what=f"{wanted!r} in the answer")


def main(folder: Path) -> None:
    """Make a small journal, then ask."""
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


if __name__ == "__main__":
    with workplace() as place:
        main(place)
