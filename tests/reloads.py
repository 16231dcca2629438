"""A daemon as a child whose configuration a test changes while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.running import Object, Outcome, child, mrdaemon, wait_for

RECORDED = """
[feed]
kind = "file"
files = ["prices.csv"]
speed = "1x"
[accounts.paper]
broker = "paper"
[portfolios.core]
account = "paper"
reserve = "10000"
zone = "5%"
mode = "auto"
[portfolios.core.positions.QQQ]
target = "5000"
shares = "50"
[portfolios.core.positions.SPY]
target = "3000"
shares = "30"
"""
ROWS = """timestamp,symbol,price
2020-03-09T15:00:00Z,QQQ,100
2020-03-09T15:00:00Z,SPY,100
2020-03-09T17:30:00Z,QQQ,100
2020-03-09T19:30:00Z,QQQ,100
"""
"""Hours lie between the first rows and the next ones."""


class Running:
    """The daemon, as a test changes its file and looks at what it makes of that."""

    def __init__(self, process: subprocess.Popen[str], config: Path, state: Path) -> None:
        self.process = process
        self.config = config
        self.state = state
        self.text = config.read_text()
        """The configuration that it began with."""

    def write(self, *changes: tuple[str, str], more: str = "") -> None:
        """Write the first configuration with some texts replaced by others, and more at its end."""
        text = self.text
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        self.config.write_text(text + more)

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def reload(self, *more: str) -> Outcome:
        return mrdaemon("reload", "--state", self.state, *more)

    def hear(self, kind: str, **fields: object) -> Object:
        """Read on until an event of a kind comes that has such fields."""
        while not fields.items() <= (event := wait_for(self.process, kind)).items():
            pass
        return event

    def until_filled(self, *symbols: str) -> None:
        """Read on until an order of each has filled, in any order."""
        missing = set(symbols)
        while missing:
            missing.discard(self.hear("order_filled")["symbol"])

    def status(self) -> Object:
        found: Object = mrdaemon("status", "--json", "--state", self.state).objects[0]
        return found

    def position(self, symbol: str) -> Object:
        found: Object = next(each for each in self.status()["positions"] if each["symbol"] == symbol)
        return found

    def events(self, *kinds: str) -> list[Object]:
        wanted = [text for each in kinds for text in ("--kind", each)]
        return mrdaemon("events", "--json", "--state", self.state, *wanted).objects

    def stop(self) -> int:
        """Stop it cleanly; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=20)
        return self.process.returncode


@contextmanager
def running(
    folder: Path,
    text: str,
    until: str,
    prepare: Callable[[], None] | None = None,
    env: dict[str, str] | None = None,
) -> Iterator[Running]:
    """Run a daemon until an event of a kind; it is killed at the end, if it still runs."""
    config, state = folder / "core.toml", folder / "state"
    config.write_text(text)
    log = (folder / "log").open("w")
    arguments = ("run", "--json", "-c", config, "--state", state)
    with log, child(*arguments, stderr=log, prepare=prepare, env=env) as process:
        wait_for(process, until)
        yield Running(process, config, state)


@contextmanager
def between_rows(folder: Path, env: dict[str, str] | None = None) -> Iterator[Running]:
    """Run a daemon that holds 50 QQQ and 30 SPY, has seen both at $100, and waits for a row of hours later."""
    folder.mkdir(exist_ok=True)
    (folder / "prices.csv").write_text(ROWS)
    with running(folder, RECORDED, "position_armed", env=env) as daemon:
        daemon.hear("position_armed")
        yield daemon


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
