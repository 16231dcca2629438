"""What alerts cost the price loop: a daemon that tells nobody anything, beside one that tells an MQTT broker.

The broker is killed and comes back, with as much kept for it as a minute of signals makes; and a sound one is told the
figures of a thousand positions, with all that Home Assistant wants to know of them.

Two daemons run in turn, a quarter of a second each, while the other is stopped: what else the machine does meets both.
What is compared is the prints that each takes in a second of its processor time, all of its threads together. That of
the clock is printed, too, but tells more of the neighbours; and the sum of the threads can only make alerts look
dearer, for a part of it runs beside the loop, on another processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.alerting import CHANNEL, POSITIONS, SIGNALS
from benchmarks.market import symbol
from benchmarks.measuring import report, workplace
from benchmarks.mosquitto import Mosquitto, mosquitto
from benchmarks.turns import Runner, daemon

WARM_S: Final = 2.0
UP, AWAY, BACK, FIGURES = 20, 40, 12, 30
"""Turns of each in a phase."""
WATCHED_S: Final = 5.0
GOAL: Final = 1.05
"""Of a print's processor time: a throughput of 0.95."""
FIGURES_TABLE: Final = "homeassistant = true\nevery = 10"
"""Twice the usual time between two looks: for half of it, it is stopped."""


def configuration(folder: Path, tables: str) -> Path:
    """Write what a daemon runs on."""
    positions = "".join(
        f'[portfolios.p0.positions.{symbol(each)}]\ntarget = "5000"\nshares = "50"\n' for each in range(POSITIONS)
    )
    (folder / "prices.csv").touch()
    file = folder / "benchmark.toml"
    file.write_text(
        f"""
[feed]
kind = "file"
files = ["prices.csv"]
[prices]
sessions = "always"
[accounts.mine]
broker = "none"
{tables}
[portfolios.p0]
account = "mine"
reserve = "1000000"
zone = "5%"
mode = "alert"
{positions}""",
        encoding="utf-8",
    )
    return file


def channel(port: int, more: str = "") -> str:
    """Describe a way out over MQTT."""
    return f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n[channels.{CHANNEL}]\nkind = "mqtt"\n{more}\n'


@contextmanager
def warm(folder: Path, tables: str) -> Iterator[Runner]:
    """Have a daemon with such tables in its configuration that has run for a while."""
    folder.mkdir()
    with daemon(configuration(folder, tables)) as runner:
        runner.turn(WARM_S)
        yield runner


def duel(name: str, what: str, ours: Runner, base: Runner, turns: int, goal: float | None = None) -> None:
    """Let two daemons run in turn, and report what a print costs ours against the other."""
    pairs = [(ours.turn(), base.turn()) for _ in range(turns)]
    report(
        f"alerts/{name}",
        f"processor time of a print {what}, at {SIGNALS} signals a second, against a daemon without channels",
        prints_per_s=round(median(us.rate for us, _ in pairs)),
        bare_per_s=round(median(them.rate for _, them in pairs)),
        throughput=median(us.rate / them.rate for us, them in pairs),
        throughput_by_the_clock=median(us.prints / us.clock / (them.prints / them.clock) for us, them in pairs),
        ratio=median(them.rate / us.rate for us, them in pairs),
        goal=goal,
    )


def hold(name: str, what: str, ours: Runner, base: Runner) -> None:
    """Report the longest time in which no price was taken."""
    us, them = ours.longest(WATCHED_S), base.longest(WATCHED_S)
    report(
        f"alerts/{name}/held",
        f"the longest work between two batches of prices {what}: the loop's processor time, and the clock's",
        held_ms=us.processor * 1e3,
        bare_held_ms=them.processor * 1e3,
        clock_ms=us.clock * 1e3,
        bare_clock_ms=them.clock * 1e3,
    )


def outage(folder: Path, base: Runner) -> None:
    """Measure before, in and after an outage, and how long the loop is held when a minute's alerts are sent."""
    with mosquitto(folder) as broker, warm(folder / "outage", channel(broker.port)) as ours:
        ours.until("up")
        duel("up", "while alerts go out over MQTT", ours, base, UP)
        lose(broker, ours)
        duel("away", "while alerts are kept for a broker that was killed", ours, base, AWAY, GOAL)
        broker.start()
        ours.until("up")
        duel("back", "while the alerts of a minute follow", ours, base, BACK)
        ours.tell("send")
        lose(broker, ours)
        broker.start()
        ours.until("up")
        hold("back", "while the alerts of a minute follow", ours, base)
        ours.tell("send")


def lose(broker: Mosquitto, ours: Runner) -> None:
    """Kill the broker, and have a minute's alerts kept."""
    broker.kill()
    ours.until("down")
    ours.tell("keep")


def figures(folder: Path, base: Runner) -> None:
    """Measure with all figures going out: first all that there are, then what changes."""
    with mosquitto(folder) as broker, warm(folder / "figures", channel(broker.port, FIGURES_TABLE)) as ours:
        ours.until("up")
        hold("first-figures", f"while {POSITIONS} positions are told to Home Assistant", ours, base)
        duel("first-figures", f"while {POSITIONS} positions are told to Home Assistant", ours, base, FIGURES)
        duel("figures", f"while {POSITIONS} positions change and are told", ours, base, FIGURES)
        hold("figures", f"while {POSITIONS} positions change and are told", ours, base)
        ours.tell("send")


def main(folder: Path) -> None:
    """Measure both against one daemon that tells nobody."""
    with warm(folder / "without", "") as base:
        outage(folder, base)
        figures(folder, base)


if __name__ == "__main__":
    with workplace() as place:
        main(place)
