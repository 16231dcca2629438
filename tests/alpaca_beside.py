"""A local Alpaca in another process, and a daemon that trades on it in a third."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from urllib.request import Request, urlopen

from tests.running import Object, child, mrdaemon, wait_for

SECRET = "simulated"
CONFIG = """
[feed]
kind = "alpaca"
stream = "{stream}"
[prices]
sessions = "always"
[accounts.alpaca]
broker = "alpaca"
url = "{url}"
key = "{key}"
secret = "{secret}"
live = {live}
[portfolios.core]
account = "alpaca"
reserve = "10000"
mode = "auto"
zone = "5%"
[portfolios.core.positions.{symbol}]
target = "5000"
initial = "buy"
"""


class Alpaca:
    """A local Alpaca in another process."""

    def __init__(self, url: str) -> None:
        self.url = url

    def tell(self, control: str, **what: object) -> None:
        request = Request(f"{self.url}/simulator/{control}", json.dumps(what).encode(), method="POST")  # noqa: S310
        with urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            assert answer.status == 200

    def state(self) -> Object:
        with urlopen(f"{self.url}/simulator/state", timeout=10) as answer:  # noqa: S310 - loopback
            state: Object = json.loads(answer.read())
            return state

    def requests(self, method: str | None = None) -> list[Object]:
        return [each for each in self.state()["requests"] if method in {None, each["method"]}]


@contextmanager
def simulator(url: str = "http://127.0.0.1:0") -> Iterator[Alpaca]:
    port = url.rpartition(":")[2]
    arguments = ["simulator", "--json", "--always-open", "--speed", "50x", "--symbols", "QQQ=500", "--port", port]
    with child(*arguments, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        yield Alpaca(json.loads(process.stdout.readline())["url"])


@contextmanager
def market(folder: Path) -> Iterator[Alpaca]:
    """Run a local Alpaca whose prices a test says."""
    recording = folder / "first.csv"
    recording.write_text("timestamp,symbol,price\n2026-01-06T15:00:00Z,QQQ,500\n")
    with child("simulator", "--json", "--always-open", "--port", "0", "--prices", recording) as process:
        assert process.stdout is not None
        yield Alpaca(json.loads(process.stdout.readline())["url"])


@contextmanager
def at(alpaca: Alpaca, *prices: float) -> Iterator[None]:
    """Let QQQ trade at a price, again and again; or at several, in turn."""
    over, turns = threading.Event(), cycle(price for price in prices for _ in range(10))

    def trade() -> None:
        while not over.wait(0.05):
            alpaca.tell("prices", symbol="QQQ", price=next(turns))

    thread = threading.Thread(target=trade)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Daemon:
    """A configuration, and runs of it."""

    def __init__(self, folder: Path, url: str, **changes: str) -> None:
        usual = {"stream": "iex", "key": "PKSIMULATOR", "secret": SECRET, "live": "false", "symbol": "QQQ"}
        self.config, self.state = folder / "core.toml", folder / "state"
        self.config.write_text(CONFIG.format(url=url, **{**usual, **changes}))

    def arguments(self, *more: str) -> list[str | Path]:
        return ["run", "--json", "-c", self.config, "--state", self.state, *more]

    @contextmanager
    def running(self, kind: str) -> Iterator[subprocess.Popen[str]]:
        """Run it until an event of a kind, and to a clean end."""
        with child(*self.arguments(), stderr=subprocess.DEVNULL) as process:
            wait_for(process, kind)
            yield process
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
            assert process.returncode == 0

    def ended(self, *more: str) -> tuple[int, str]:
        """Run it until it ends by itself; gives its exit code and what it said on standard error."""
        with child(*self.arguments(*more)) as process:
            out, said = process.communicate(timeout=30)
            assert SECRET not in out + said
            return process.returncode, said

    def status(self) -> Object:
        status: Object = mrdaemon("status", "--json", "--state", self.state).objects[0]
        return status

    def events(self, kind: str) -> list[Object]:
        return mrdaemon("events", "--json", "--kind", kind, "--state", self.state).objects


def until_state(process: subprocess.Popen[str], feed: str, state: str) -> Object:
    """Read on until a stream comes to a state."""
    while True:
        event = wait_for(process, "feed_state_changed")
        if (event["feed"], event["state"]) == (feed, state):
            return event
