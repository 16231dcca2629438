"""A configuration that is read anew on live streams: nothing is cut, no print is lost, and no order is in doubt."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.alpaca_beside import CONFIG, Alpaca
from tests.reloads import Running, running
from tests.running import child, mrdaemon

pytestmark = pytest.mark.timeout(120)
SYMBOLS = "QQQ=500,SPY=600,IWM=200,BTC/USD=90000"
MORE = """
[portfolios.core.positions.SPY]
target = "3000"
initial = "buy"
zone = "4%"
[portfolios.core.positions."BTC/USD"]
target = "1000"
initial = "buy"
"""


@contextmanager
def exchange(*more: str) -> Iterator[Alpaca]:
    arguments = ["simulator", "--json", "--always-open", "--speed", "50x", "--symbols", SYMBOLS, "--port", "0", *more]
    with child(*arguments, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        yield Alpaca(json.loads(process.stdout.readline())["url"])


@pytest.fixture
def alpaca() -> Iterator[Alpaca]:
    with exchange() as found:
        yield found


def configured(url: str, *, mode: str = "auto") -> str:
    usual = {"stream": "iex", "key": "PKSIMULATOR", "secret": "simulated", "live": "false", "symbol": "QQQ"}
    return CONFIG.format(url=url, **usual).replace('mode = "auto"', f'mode = "{mode}"')


@contextmanager
def holding(folder: Path, alpaca: Alpaca) -> Iterator[Running]:
    """Run a daemon that has bought its target of QQQ."""
    with running(folder, configured(alpaca.url), "order_filled") as daemon:
        daemon.hear("order_ended")
        yield daemon


def steps(daemon: Running, stream: str) -> list[str]:
    """Give how a stream stood, one after the other."""
    return [each["state"] for each in daemon.events("feed_state_changed") if each["feed"] == stream]


ONCE = ["connecting", "authenticated", "subscribed", "live"]


def test_new_symbols_come_on_the_connections_that_there_are_and_trade(tmp_path: Path, alpaca: Alpaca) -> None:
    with holding(tmp_path, alpaca) as daemon:
        daemon.write(more=MORE)
        daemon.hang_up()
        daemon.hear("configuration_reloaded")
        daemon.until_filled("BTC/USD", "SPY")
        assert steps(daemon, "alpaca iex") == ONCE
        assert steps(daemon, "alpaca crypto") == ONCE
        assert {each["asset"]["symbol"] for each in daemon.events("asset_known")} == {"QQQ", "SPY", "BTC/USD"}
        assert daemon.stop() == 0


def test_symbols_that_left_are_unsubscribed_and_a_stream_without_any_ends(tmp_path: Path, alpaca: Alpaca) -> None:
    with running(tmp_path, configured(alpaca.url) + MORE, "order_filled") as daemon:
        daemon.text = daemon.text.removesuffix(MORE)
        daemon.write()
        taken = daemon.reload("--json").objects[0]
        assert taken["ok"]
        [said] = daemon.events("configuration_reloaded")
        assert said["feeds_gone"] == ["alpaca crypto"]
        assert [each["name"] for each in daemon.status()["streams"]] == ["orders of alpaca", "alpaca iex"]
        assert [each["retired"] for each in daemon.status()["positions"]] == [False, True, True]
        daemon.write(more=MORE)
        daemon.reload()
        assert daemon.hear("feed_state_changed", feed="alpaca crypto", state="live")
        assert steps(daemon, "alpaca iex").count("connecting") == 1


def test_what_alpaca_does_not_send_is_refused_and_nothing_is_changed(tmp_path: Path, alpaca: Alpaca) -> None:
    with holding(tmp_path, alpaca) as daemon:
        crowd = "".join(f'[portfolios.core.positions.A{n}]\ntarget = "10"\ninitial = "buy"\n' for n in range(40))
        daemon.write(('stream = "iex"', 'stream = "iex"\nchannels = 200'), more=crowd)
        outcome = daemon.reload()
        assert outcome.code == 78
        assert "alpaca iex: Alpaca does not send A0, A1" in outcome.err
        assert "symbol limit exceeded (405)" in outcome.err
        assert len(daemon.status()["positions"]) == 1
        daemon.write(more=MORE)
        assert daemon.reload().code == 0  # What was asked for in vain is in nobody's way.
        daemon.hear("order_filled", symbol="SPY")
        assert steps(daemon, "alpaca iex") == ONCE


@pytest.mark.soak
def test_where_the_plan_is_full_a_symbol_makes_room_for_another(tmp_path: Path, alpaca: Alpaca) -> None:
    crowd = "".join(f'[portfolios.core.positions.A{n}]\ntarget = "10"\ninitial = "buy"\n' for n in range(29))
    with running(tmp_path, configured(alpaca.url) + crowd, "order_filled") as daemon:
        daemon.write(("A0]", "SPY]"))
        assert daemon.reload().code == 0
        daemon.hear("order_filled", symbol="SPY")
        assert steps(daemon, "alpaca iex") == ONCE


@pytest.mark.soak
def test_a_reload_while_a_stream_is_down_is_taken_and_followed_once_it_is_back(tmp_path: Path, alpaca: Alpaca) -> None:
    with holding(tmp_path, alpaca) as daemon:
        alpaca.tell("faults", name="handshake", stream="iex", times=2)
        alpaca.tell("faults", name="slow_client", stream="iex", times=1)
        daemon.hear("feed_state_changed", feed="alpaca iex", state="connecting")
        daemon.write(more=MORE)
        assert daemon.reload().code == 0
        daemon.until_filled("SPY")


def test_a_stream_that_alpaca_refuses_for_a_reload_comes_back_with_the_next_one(tmp_path: Path, alpaca: Alpaca) -> None:
    crowd = "".join(f'[portfolios.core.positions.A{n}]\ntarget = "10"\ninitial = "buy"\n' for n in range(40))
    with holding(tmp_path, alpaca) as daemon:
        alpaca.tell("faults", name="handshake", stream="iex", times=2)
        alpaca.tell("faults", name="slow_client", stream="iex", times=1)
        daemon.hear("feed_state_changed", feed="alpaca iex", state="connecting")
        daemon.write(('stream = "iex"', 'stream = "iex"\nchannels = 200'), more=crowd)
        assert daemon.reload().code == 0  # There is no connection that could be asked.
        daemon.hear("feed_state_changed", feed="alpaca iex", state="refused")
        daemon.write()
        assert daemon.reload().code == 0
        daemon.hear("feed_state_changed", feed="alpaca iex", state="live")


def test_an_order_in_flight_is_cancelled_where_its_target_changed(tmp_path: Path, alpaca: Alpaca) -> None:
    alpaca.tell("faults", name="503", method="POST", times=0)
    with running(tmp_path, configured(alpaca.url), "order_ambiguous") as daemon:
        daemon.write(('target = "5000"', 'target = "4000"'))
        assert daemon.reload().code == 0
        assert [each["reason"] for each in daemon.events("cancel_requested")] == ["its target changed"]
        assert daemon.position("QQQ")["order_state"] == "ambiguous"  # It is looked up until the answer is definite.
        assert daemon.stop() == 0
    assert alpaca.state()["orders"] == []


@pytest.mark.soak
def test_a_request_that_waits_is_closed_where_its_position_changed(tmp_path: Path, alpaca: Alpaca) -> None:
    with running(tmp_path, configured(alpaca.url, mode="approve"), "approval_requested") as daemon:
        daemon.write(("[portfolios.core]", '[portfolios.core]\ncooldown = "1s"'))
        daemon.reload()
        assert daemon.position("QQQ")["approval"] is not None
        daemon.write(('target = "5000"', 'target = "4000"'))
        daemon.reload()
        [closed] = daemon.events("approval_closed")
        assert closed["cause"] == "the configuration changed"
        asked = daemon.hear("approval_requested")
        assert asked["amount"] == "4000.00"


@pytest.mark.soak
def test_an_unknown_symbol_is_told_and_not_traded(tmp_path: Path, alpaca: Alpaca) -> None:
    with holding(tmp_path, alpaca) as daemon:
        daemon.write(more='[portfolios.core.positions.NOSUCH]\ntarget = "1000"\ninitial = "buy"\n')
        assert "Alpaca knows no such symbol" in daemon.reload().out
        assert daemon.status()["accounts"][0]["ready"]


@pytest.mark.soak
def test_where_the_broker_does_not_say_what_it_knows_no_order_leaves_before_it_does(
    tmp_path: Path, alpaca: Alpaca
) -> None:
    with holding(tmp_path, alpaca) as daemon:
        alpaca.tell("faults", name="500", path="/v2/assets/SPY", times=8)
        daemon.write(more=MORE)
        assert daemon.reload().code == 0
        [lost, *_] = daemon.events("account_lost")
        assert "it does not say what it knows of" in lost["reason"]
        daemon.hear("order_filled", symbol="SPY")
        kinds = [each["kind"] for each in daemon.events("asset_known", "order_intended", "account_lost")]
        assert kinds.index("account_lost") < kinds.index("asset_known", 1)
        assert mrdaemon("events", "--kind", "position_halted", "--state", daemon.state).out == ""
