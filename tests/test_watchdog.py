"""The watchdog starves as soon as anything is stuck, whatever else goes on; nobody who sets the time can starve it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.alpaca_beside import Daemon, at, market
from tests.mosquitto import Mosquitto, mosquitto
from tests.running import Object, Place, mrdaemon, wait_for
from tests.service_manager import PATIENCE, Faulty, Manager, faulty, manager
from tests.test_feed_mqtt_daemon import configured

WATCHDOG = 0.4
PERIODS = 5 * WATCHDOG
"""Seconds after which a watchdog that was not fed has bitten for sure."""


class Watched:
    """A live daemon that can be made to hang, and its service manager."""

    def __init__(self, folder: Path, daemon: Faulty, systemd: Manager, broker: Mosquitto) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.daemon = daemon
        self.systemd = systemd
        self.broker = broker

    def log(self, event: str) -> list[Object]:
        lines = [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]
        return [each for each in lines if each["event"] == event]

    async def price(self, dollars: str) -> None:
        await self.broker.publish("home/prices/BTC/USD", dollars)


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Watched]:
    async with mosquitto(folder / "broker") as broker:
        run = ("run", "--json", "-c", configured(folder, broker.port), "--state", folder / "state")
        with (
            manager(folder / "notify", WATCHDOG) as systemd,
            faulty(folder, *run, env=systemd.environment) as daemon,
        ):
            systemd.until("READY=1")
            systemd.fed(2)
            yield Watched(folder, daemon, systemd, broker)


async def test_a_task_that_hangs_starves_the_watchdog_until_it_goes_on(tmp_path: Path) -> None:
    async with watched(tmp_path) as running:
        for what, named in (("time", "time"), ("journal", "the journal's writer")):
            running.daemon.hang(what)
            if what == "journal":
                await running.price("94")  # Something to write.
            running.systemd.until(f"STUCK: {named} has made no progress")
            running.systemd.until_starved(PERIODS)
            asked = mrdaemon("health", "--state", running.state)
            assert (asked.code, asked.out) == (1, "")
            assert f"unhealthy: STUCK: {named} has made no progress" in asked.err
            assert f"STUCK: {named} has made" in mrdaemon("status", "--state", running.state).out
            told = running.log("stuck")[-1]
            assert (told["level"], told["task"]) == ("error", named)
            assert told["seconds"] >= 0.4

            running.daemon.go_on()
            running.systemd.fed(2)
            assert mrdaemon("health", "--state", running.state).code == 0
            assert [each["task"] for each in running.log("it makes progress again")][-1] == named


async def test_a_task_that_ended_although_the_daemon_goes_on_starves_the_watchdog(tmp_path: Path) -> None:
    async with watched(tmp_path) as running:
        running.daemon.hang("news ended")
        running.systemd.until("STUCK: news ended")
        running.systemd.until_starved(PERIODS)
        assert mrdaemon("health", "--json", "--state", running.state).objects[0]["stuck"][0]["ended"]


async def test_a_loop_that_hangs_starves_the_watchdog_and_the_log_says_where_it_hung(tmp_path: Path) -> None:
    async with watched(tmp_path) as running:
        running.daemon.hang("loop")
        running.systemd.until_starved(2.5)
        assert mrdaemon("health", "--state", running.state).code == 1
        running.daemon.go_on()
        running.systemd.fed(2)
        assert running.log("the loop stood still")
        assert not running.log("stuck")  # What waited for the loop meanwhile is not to blame.

        running.daemon.hang("loop")
        running.systemd.until_starved(PERIODS)
        running.daemon.process.send_signal(signal.SIGABRT)  # As systemd does.
        assert running.daemon.process.wait(20) == -signal.SIGABRT
        said = (running.folder / "log").read_text()
        assert "Fatal Python error: Aborted" in said
        assert "in obey_halt_file" in said


@pytest.mark.soak
def test_a_recording_that_is_quiet_after_a_trade_is_progress(tmp_path: Path) -> None:
    place = Place(tmp_path / "core").configure(speed="1x").record(100, 101, apart=7200)
    with (
        manager(tmp_path / "notify", WATCHDOG) as systemd,
        faulty(tmp_path, *place.arguments(), env=systemd.environment) as daemon,
    ):
        wait_for(daemon.process, "order_filled")
        systemd.until("READY=1")
        systemd.fed(15)
        assert not any("STUCK" in each for each in systemd.heard)


async def test_a_wall_clock_that_jumps_neither_starves_the_watchdog_nor_stops_decisions(tmp_path: Path) -> None:
    async with watched(tmp_path) as running:
        for hours in (5, -5, 0):
            running.daemon.shift(hours * 3600)
            running.systemd.fed(4)
        await running.price("94")
        await running.price("94")
        signalled = wait_for(running.daemon.process, "signal_raised")
        assert signalled["side"] == "accumulate"
        wait_for(running.daemon.process, "order_filled")
        assert mrdaemon("health", "--state", running.state).code == 0
        assert not running.log("stuck")


def test_a_wall_clock_that_is_hours_off_trades_nothing_until_it_is_right_again(tmp_path: Path) -> None:
    with market(tmp_path) as alpaca, manager(tmp_path / "notify", WATCHDOG) as systemd:
        running = Daemon(tmp_path, alpaca.url)
        with faulty(tmp_path, *running.arguments(), env=systemd.environment) as daemon:
            with at(alpaca, 500):
                wait_for(daemon.process, "order_ended")
            signals = len(running.events("signal_raised"))
            for hours, why in ((3, "s old"), (-3, "s in the future")):
                daemon.shift(hours * 3600)
                alpaca.tell("prices", symbol="QQQ", price=455.0)
                while why not in wait_for(daemon.process, "print_refused")["reason"]:
                    pass
                for _ in range(3):
                    alpaca.tell("prices", symbol="QQQ", price=455.0)
                systemd.fed(3)
            assert len(running.events("signal_raised")) == signals

            daemon.shift(0)
            end = time.monotonic() + PATIENCE
            while len(found := running.events("signal_raised")) == signals:
                assert time.monotonic() < end
                alpaca.tell("prices", symbol="QQQ", price=455.0)
            assert (found[signals]["side"], found[signals]["price"]) == ("accumulate", "455.0")
