"""A whole daemon with a channel over MQTT, as foreign clients know it: its figures, its alerts, and their commands."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mrdaemon.core.instant import Instant, iso
from tests.mosquitto import PATIENCE, Mosquitto, Subscriber, mosquitto
from tests.running import child, mrdaemon

CONFIG = """
[feed]
kind = "mqtt"
[mqtt]
host = "127.0.0.1"
port = {port}
user = "daemon"
password = "secret"
[prices]
sessions = "always"
confirm = 0
[alerts]
instance = "home"
[channels.house]
kind = "mqtt"
every = "1s"
commands = ["pause", "resume"]
[accounts.here]
broker = "paper"
[portfolios.core]
account = "here"
reserve = "10000"
zone = "5%"
mode = "auto"
[portfolios.core.positions."BTC/USD"]
target = "5000"
shares = "50"
"""
STATUS, ALERT, POSITION = "mrdaemon/home/status", "mrdaemon/home/alert", "mrdaemon/home/position/core_btc-2fusd"


def now() -> str:
    return iso(Instant(time.time_ns()))


@asynccontextmanager
async def daemon(folder: Path, broker: Mosquitto, heard: Subscriber) -> AsyncIterator[subprocess.Popen[str]]:
    """Run a daemon that holds 50 bitcoins at a target of $5,000, sees them at $100, and is online."""
    config = folder / "core.toml"
    config.write_text(CONFIG.format(port=broker.port))
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with child("run", "--json", "-c", config, "--state", folder / "state", **quiet) as process:
        await heard.until(lambda each: each.topic == STATUS and each.payload == "online")
        await price(broker, heard, "100.0")
        yield process


async def price(broker: Mosquitto, heard: Subscriber, dollars: str) -> None:
    """Say a price until the daemon shows it: it subscribes when it is ready."""
    async with asyncio.timeout(PATIENCE):
        while not any(each.topic == POSITION and each.json["price"] == dollars for each in heard.messages):
            await broker.publish("prices/BTC/USD", json.dumps({"price": dollars, "time": now()}))


@pytest.mark.parametrize(("ending", "cleanly"), [(signal.SIGTERM, True), (signal.SIGKILL, False)])
async def test_what_a_daemon_says_over_mqtt_and_takes(tmp_path: Path, ending: signal.Signals, *, cleanly: bool) -> None:
    async with (
        mosquitto(tmp_path, users={"daemon": "secret"}) as broker,
        broker.subscribed("mrdaemon/#") as heard,
        daemon(tmp_path, broker, heard) as process,
    ):
        await price(broker, heard, "94.0")
        await heard.until(lambda each: each.topic == ALERT and each.json["kind"] == "order_filled")
        command = json.dumps({"at": now(), "by": "anna", "why": "lunch"})
        await broker.publish("mrdaemon/home/cmd/pause", command)
        [answer] = await heard.on("mrdaemon/home/cmd/pause/response")
        await broker.publish("mrdaemon/home/cmd/halt", command)
        [refusal] = await heard.on("mrdaemon/home/cmd/halt/response")
        await heard.until(lambda each: each.topic == POSITION and each.json["paused"])
        process.send_signal(ending)
        await asyncio.to_thread(process.wait, PATIENCE)
        await heard.until(lambda each: each.topic == STATUS and each.payload == "offline")
        said = [each.json for each in heard.messages if each.topic == ALERT]
    assert (answer.json["ok"], refusal.json["ok"]) == (True, False)
    events = mrdaemon("events", "--json", "--last", "1000", "--state", tmp_path / "state").objects
    assert [(each["by"], each["why"]) for each in events if each["kind"] == "signals_paused"] == [
        ("anna (mqtt house)", "lunch")
    ]
    assert [(each["by"], each["command"]) for each in events if each["kind"] == "command_refused"] == [
        ("anna (mqtt house)", "halt")
    ]
    assert {"started", "signal_raised", "order_filled"} <= {each["kind"] for each in said}
    assert ("stopped" in {each["kind"] for each in said}) is cleanly
    assert len({each["id"] for each in said}) == len(said)
