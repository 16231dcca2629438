"""The daemon as a child, a local Alpaca as another: each obstacle told clearly, and never a storm of requests."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.alpaca_support import unbound
from tests.running import Object, child, mrdaemon, wait_for

pytestmark = pytest.mark.timeout(60)
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
FEW = 40
"""Requests that a start, and what follows within seconds, may take."""


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


@pytest.fixture
def alpaca() -> Iterator[Alpaca]:
    with simulator() as running:
        yield running


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


def test_the_target_is_bought_once_and_the_books_agree(tmp_path: Path, alpaca: Alpaca) -> None:
    daemon = Daemon(tmp_path, alpaca.url)
    with daemon.running("order_ended"):
        [position] = daemon.status()["positions"]
        assert float(position["shares"]) == pytest.approx(float(alpaca.state()["positions"][0]["qty"]))
    assert len(alpaca.requests("POST")) == 1
    with daemon.running("account_reconciled"):
        pass
    assert len(alpaca.requests("POST")) == 1


def test_an_order_whose_answer_is_lost_is_bought_once_all_the_same(tmp_path: Path, alpaca: Alpaca) -> None:
    alpaca.tell("faults", name="504")
    daemon = Daemon(tmp_path, alpaca.url)
    with daemon.running("order_ambiguous") as process:
        wait_for(process, "order_filled")
    assert [each["status"] for each in alpaca.requests("POST")] == [504]
    assert len(alpaca.state()["orders"]) == 1


def test_wrong_keys_end_the_start_with_what_to_do(tmp_path: Path, alpaca: Alpaca) -> None:
    code, said = Daemon(tmp_path, alpaca.url, secret="wrong").ended()
    assert code == 78
    assert "auth failed (402); see that key and secret are of one login" in said
    assert "wrong" not in said
    assert len(alpaca.requests()) < FEW


def test_a_plan_without_the_stream_ends_the_start_with_what_to_do(tmp_path: Path, alpaca: Alpaca) -> None:
    code, said = Daemon(tmp_path, alpaca.url, stream="sip").ended()
    assert code == 78
    assert 'insufficient subscription (409); the plan does not have this stream: set stream = "iex"' in said
    assert len(alpaca.requests()) < FEW


def test_keys_that_are_revoked_while_it_runs_stop_orders_and_not_the_daemon(tmp_path: Path, alpaca: Alpaca) -> None:
    daemon = Daemon(tmp_path, alpaca.url)
    with daemon.running("order_ended") as process:
        alpaca.tell("key", accepted=False)
        alpaca.tell("faults", name="cut", stream="iex", times=1)
        assert "auth failed (402)" in until_state(process, "alpaca iex", "refused")["reason"]
        alpaca.tell("faults", name="cut", stream="updates", times=1)
        assert "keys" in until_state(process, "orders of alpaca", "refused")["reason"]
        status = daemon.status()
        assert [each["ready"] for each in status["accounts"]] == [False]
        assert len(alpaca.requests()) < FEW
    assert daemon.events("account_lost")


def test_a_network_that_comes_after_the_start_is_found(tmp_path: Path) -> None:
    url = unbound()
    daemon = Daemon(tmp_path, url)
    with child(*daemon.arguments(), stderr=subprocess.DEVNULL) as process:
        while "cannot be reached" not in wait_for(process, "feed_state_changed").get("reason", ""):
            pass
        with simulator(url) as alpaca:
            wait_for(process, "order_filled")
            assert len(alpaca.requests("POST")) == 1
            assert len(alpaca.requests()) < FEW
        until_state(process, "alpaca iex", "connecting")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert len(daemon.events("feed_state_changed")) < FEW


def test_a_symbol_that_does_not_exist_is_told_and_not_traded(tmp_path: Path, alpaca: Alpaca) -> None:
    daemon = Daemon(tmp_path, alpaca.url, symbol="NOSUCH")
    with daemon.running("account_reconciled"):
        [known] = daemon.events("asset_known")
        assert "Alpaca knows no such symbol" in known["sentence"]
        assert not known["asset"]["tradable"]
    assert alpaca.requests("POST") == []
    assert len(alpaca.requests()) < FEW


def test_real_money_needs_a_word_of_its_own(tmp_path: Path, alpaca: Alpaca) -> None:
    code, said = Daemon(tmp_path, alpaca.url, key="AKREAL", live="true").ended()
    assert code == 78
    assert "accounts.alpaca.live: this account trades real money: run it with --live, too" in said
    assert alpaca.requests() == []


@pytest.mark.parametrize(
    ("key", "live", "words"),
    [("AKREAL", "false", "the key of an account with real money"), ("PKPAPER", "true", "the key of a paper account")],
)
def test_a_key_of_the_other_kind_of_account_is_refused(
    tmp_path: Path, alpaca: Alpaca, key: str, live: str, words: str
) -> None:
    code, said = Daemon(tmp_path, alpaca.url, key=key, live=live).ended("--live")
    assert code == 78
    assert words in said
    assert key not in said
    assert alpaca.requests() == []


def test_a_halt_of_the_exchange_is_journaled_and_holds_nothing_back_afterwards(tmp_path: Path, alpaca: Alpaca) -> None:
    daemon = Daemon(tmp_path, alpaca.url)
    with daemon.running("order_ended") as process:
        alpaca.tell("halt", symbol="QQQ")
        wait_for(process, "trading_halted")
        alpaca.tell("resume", symbol="QQQ")
        wait_for(process, "trading_resumed")
