"""What the service manager hears of a daemon: on a real notify socket, from the real process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mrdaemon.notify import Notifier
from tests.mosquitto import mosquitto
from tests.running import Place, child
from tests.service_manager import Manager, manager
from tests.test_feed_mqtt_daemon import configured

WATCHDOG = 0.4
"""Seconds: each half of it, the watchdog is to be fed."""


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Manager]:
    with manager(tmp_path / "notify", WATCHDOG) as running:
        yield running


def quiet(folder: Path) -> Place:
    """Give a recording at its own pace, with two hours between two rows."""
    return Place(folder).configure(speed="1x", opening='shares = "50"').record(100, 101, apart=7200)


# The protocol


def test_without_a_service_manager_nothing_is_said() -> None:
    nobody = Notifier({"WATCHDOG_USEC": "1000000"})
    nobody.ready("runs")
    nobody.feed_watchdog()
    with nobody.reloading():
        pass
    nobody.stopping("ends")
    assert not nobody
    assert nobody.watchdog is None


@pytest.mark.parametrize("address", ["a path", "@mrdaemon-test-{process}"])
def test_a_message_is_a_datagram_of_lines(tmp_path: Path, address: str) -> None:
    where = str(tmp_path / "notify") if address == "a path" else address.format(process=os.getpid())
    with manager(where) as systemd:
        Notifier(systemd.environment).ready("it runs")
        assert systemd.next() == "READY=1\nSTATUS=it runs"


def test_a_status_is_one_short_line(systemd: Manager) -> None:
    Notifier(systemd.environment).status("one\nREADY=1\n" + "x" * 9_000)
    said = systemd.next()
    assert said is not None
    assert said.startswith("STATUS=one READY=1 xxx")
    assert "\n" not in said
    assert len(said) < 600


def test_a_status_that_is_no_news_is_not_repeated(systemd: Manager) -> None:
    notifier = Notifier(systemd.environment)
    for line in ("a", "a", "b"):
        notifier.status(line)
    assert (systemd.next(), systemd.next(), systemd.next(0.05)) == ("STATUS=a", "STATUS=b", None)


def test_what_must_be_heard_is_said_again_until_it_is(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    notifier.ready("it runs")
    notifier.status("lost")
    with manager(tmp_path / "notify") as systemd:
        notifier.flush()
        assert systemd.next() == "READY=1\nSTATUS=it runs"
        assert systemd.next(0.05) is None


@pytest.mark.parametrize(
    ("process", "microseconds", "seconds"),
    [
        ("ours", "30000000", 30.0),
        (None, "500000", 0.5),
        ("1", "30000000", None),
        (None, "0", None),
        (None, "soon", None),
        (None, "", None),
        (None, "-5", None),
    ],
)
def test_the_watchdog_is_fed_where_it_is_ours(
    tmp_path: Path, process: str | None, microseconds: str, seconds: float | None
) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "x"), "WATCHDOG_USEC": microseconds}
    if process is not None:
        environment["WATCHDOG_PID"] = str(os.getpid()) if process == "ours" else process
    assert Notifier(environment).watchdog == seconds


@pytest.mark.parametrize("address", ["relative", "vsock:2:1234", "@", "/"])
def test_a_socket_of_another_kind_is_left_alone(address: str) -> None:
    assert not Notifier({"NOTIFY_SOCKET": address})


def test_a_reload_has_a_beginning_on_the_monotonic_clock_and_an_end_however_it_goes(systemd: Manager) -> None:
    notifier = Notifier(systemd.environment)
    notifier.ready("it runs")
    systemd.next()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    with pytest.raises(ValueError, match="invalid"), notifier.reloading():
        raise ValueError("invalid")
    begun, ended = systemd.next(), systemd.next()
    assert begun is not None
    state, _, at = begun.partition("\nMONOTONIC_USEC=")
    assert state == "RELOADING=1"
    assert before <= int(at) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert ended == "READY=1"


def test_a_reload_before_it_is_ready_does_not_say_that_it_is(systemd: Manager) -> None:
    with Notifier(systemd.environment).reloading():
        pass
    assert systemd.next(0.05) is None


# The daemon


def test_a_run_is_told_from_its_start_to_its_end(tmp_path: Path, systemd: Manager) -> None:
    place = quiet(tmp_path / "core")
    with child(*place.arguments(), env=systemd.environment) as process:
        assert "READY=1" not in systemd.until("EXTEND_TIMEOUT_USEC=")
        ready = systemd.until("READY=1")
        assert "ACTIVE" in ready
        assert "1 position" in ready
        assert place.tell("halt").code == 0
        systemd.until("STATUS=HALTED")
        assert place.tell("resume", "--yes").code == 0
        systemd.until("STATUS=ACTIVE")
        process.send_signal(signal.SIGTERM)
        systemd.until("STOPPING=1")
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert sum("READY=1" in each for each in systemd.heard) == 1


def test_a_quiet_recording_is_progress(tmp_path: Path, systemd: Manager) -> None:
    with child(*quiet(tmp_path / "core").arguments(), env=systemd.environment):
        systemd.until("READY=1")
        systemd.fed(6)


async def test_a_quiet_market_is_progress(tmp_path: Path) -> None:
    async with mosquitto(tmp_path / "broker") as broker:
        config = configured(tmp_path, broker.port)
        with (
            manager(f"@mrdaemon-quiet-{os.getpid()}", WATCHDOG) as systemd,
            child("run", "-c", config, "--state", tmp_path / "state", env=systemd.environment) as process,
        ):
            ready = systemd.until("READY=1")
            assert "mqtt home/prices up" in ready
            systemd.fed(6)
            process.send_signal(signal.SIGTERM)
            systemd.until("STOPPING=1")


def test_a_configuration_that_is_wrong_is_never_ready(tmp_path: Path, systemd: Manager) -> None:
    place = quiet(tmp_path / "core")
    place.config.write_text(place.config.read_text().replace('"5%"', '"500%"'))
    with child(*place.arguments(), env=systemd.environment) as process:
        process.communicate(timeout=20)
        assert process.returncode == 78
    systemd.drain()
    assert not any("READY" in each for each in systemd.heard)


def test_what_is_wrong_is_in_the_line_of_status(tmp_path: Path, systemd: Manager) -> None:
    place = quiet(tmp_path / "core")
    place.state.mkdir()
    (place.state / "HALT").write_text("the test says so\n")
    with child(*place.arguments(), env=systemd.environment):
        assert "the HALT file is there" in systemd.until("READY=1")
