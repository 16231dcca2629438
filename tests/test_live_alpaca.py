"""The daemon as a child, a local Alpaca as another: each obstacle told clearly, and never a storm of requests."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alpaca_beside import Alpaca, Daemon, simulator, until_state
from tests.alpaca_support import unbound
from tests.running import child, wait_for

pytestmark = pytest.mark.timeout(60)
FEW = 40
"""Requests that a start, and what follows within seconds, may take."""


@pytest.fixture
def alpaca() -> Iterator[Alpaca]:
    with simulator() as running:
        yield running


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
    with daemon.running("order_ended"):  # The stream of orders may tell of it before the lost answer makes it doubtful.
        pass
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
