"""The units that are shipped: clean, closed, what an install writes, and something that the daemon can live in."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mrdaemon.units import ANYWHERE, Found, found, is_unchanged, objections, units
from tests.alpaca_beside import Daemon, simulator
from tests.running import ROOT, Line, mrdaemon, wait_for
from tests.sandbox import allowed_calls, said
from tests.service_manager import manager

SHIPPED = sorted((ROOT / "systemd").iterdir())
LONGEST = 120
MAIN = ROOT / "systemd" / "mrdaemon.service"
INSTANCE = ROOT / "systemd" / "mrdaemon@.service"


def analyzed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_what_is_shipped_is_what_an_install_writes() -> None:
    assert {each.name: each.read_text(encoding="utf-8") for each in SHIPPED} == {
        unit.name: unit.text for unit in units(ANYWHERE)
    }


@pytest.mark.parametrize("unit", SHIPPED, ids=lambda unit: str(unit.name))
def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    result = analyzed("verify", "--man=no", unit)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@pytest.mark.parametrize("unit", SHIPPED, ids=lambda unit: str(unit.name))
def test_a_unit_is_as_closed_as_it_can_be(unit: Path) -> None:
    result = analyzed("security", "--offline=true", "--threshold=12", unit)
    assert result.returncode == 0, result.stdout
    [level] = re.findall(r"Overall exposure level for \S+: ([0-9.]+) ", result.stdout)
    assert float(level) <= 1.2


@pytest.mark.parametrize("unit", SHIPPED, ids=lambda unit: str(unit.name))
def test_a_unit_fits_a_screen_and_begins_with_its_sum(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= LONGEST
    assert is_unchanged(text)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("WatchdogSec", "60"),
        ("DynamicUser", "yes"),
        ("StateDirectory", "mrdaemon"),
        ("RuntimeDirectory", "mrdaemon"),
        ("ConfigurationDirectory", "mrdaemon"),
        ("LoadCredential", "mrdaemon:%E/mrdaemon/mrdaemon.credentials"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("Restart", "on-failure"),
        ("StartLimitBurst", "10"),
        ("RestartPreventExitStatus", "78"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
        ("CapabilityBoundingSet", ""),
    ],
)
def test_the_service_is_as_it_is_documented(setting: str, value: str) -> None:
    assert said(MAIN, setting) == [value]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("StateDirectory", "mrdaemon-%i"),
        ("RuntimeDirectory", "mrdaemon-%i"),
        ("ConfigurationDirectory", "mrdaemon"),
        ("LoadCredential", "mrdaemon:%E/mrdaemon/%i.credentials"),
        ("ExecStart", "/usr/bin/env mrdaemon run --config %E/mrdaemon/%i.toml --state %S/mrdaemon-%i"),
    ],
)
def test_an_instance_has_files_of_its_own(setting: str, value: str) -> None:
    assert said(INSTANCE, setting) == [value]


def test_nothing_but_names_differs_between_the_service_and_an_instance() -> None:
    one, other = (each.read_text(encoding="utf-8").splitlines()[1:] for each in (MAIN, INSTANCE))
    differing = [ours for ours, theirs in zip(one, other, strict=True) if ours != theirs]
    assert all("mrdaemon" in each for each in differing)


# What stands where a unit goes


def test_a_unit_of_another_version_is_known_from_one_that_was_changed() -> None:
    unit, other = units("/opt/mrdaemon/bin/mrdaemon")[0], units("/usr/bin/mrdaemon")[0]
    assert found(unit, None) is Found.NOTHING
    assert found(unit, unit.text) is Found.SAME
    assert found(unit, other.text) is Found.OURS
    assert found(unit, other.text.replace("RestartSec=10", "RestartSec=1")) is Found.CHANGED
    assert found(unit, "[Service]\nExecStart=/usr/bin/mrdaemon\n") is Found.CHANGED


def test_an_interpreter_that_the_service_does_not_see_is_objected_to(tmp_path: Path) -> None:
    at_home = Path("/home/somebody/.venv/bin/mrdaemon")
    reasons = objections(str(at_home))
    assert f"{at_home} is under /home, of which the service sees nothing (ProtectHome=yes)" in reasons
    assert any("PrivateTmp=yes" in each for each in objections("/tmp/venv/bin/mrdaemon"))  # noqa: S108 - a bad place
    assert any("mean something else to systemd" in each for each in objections("/opt/100%/bin/mrdaemon"))


# The daemon inside


def sandboxed(writable: Path, *program: str | Path) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "tests.sandbox", str(MAIN), str(writable), *map(str, program)]


TRIES = """
import mmap, socket, sys
from pathlib import Path

def fails(do):
    try:
        do()
    except OSError as error:
        return error.strerror
    return "it works"

print(fails(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)))
print(fails(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)))
print(fails(lambda: __import__("os").sched_setaffinity(0, {0})))
print(fails(lambda: Path(sys.argv[1]).write_text("x")))
print(fails(lambda: Path(sys.argv[2]).write_text("x")))
"""


def test_the_sandbox_of_these_tests_forbids_what_the_unit_does(tmp_path: Path) -> None:
    inside = tmp_path / "state"
    inside.mkdir()
    program = sandboxed(inside, sys.executable, "-c", TRIES, tmp_path / "outside", inside / "file")
    result = subprocess.run(program, capture_output=True, text=True, check=True, cwd=ROOT)
    forbidden = "Operation not permitted"
    assert result.stdout.splitlines() == [forbidden, forbidden, forbidden, "Read-only file system", "it works"]


def test_the_unit_leaves_what_reads_files_and_not_what_mounts_them() -> None:
    calls = allowed_calls(MAIN)
    assert {"read", "openat", "epoll_wait", "fsync", "connect"} <= calls
    assert not {"mount", "ptrace", "setuid", "reboot", "chown", "sched_setaffinity"} & calls


@pytest.mark.timeout(120)
def test_the_daemon_lives_and_trades_within_what_the_unit_leaves_it(tmp_path: Path) -> None:
    state, notify = tmp_path / "state", tmp_path / "notify"
    state.mkdir()
    with simulator() as alpaca, manager(notify, 2.0) as systemd:
        daemon = Daemon(tmp_path, alpaca.url)
        program = sandboxed(state, sys.executable, "-W", "ignore", "-m", "mrdaemon", *daemon.arguments())
        with subprocess.Popen(
            program,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(systemd.environment),
        ) as process:
            try:
                wait_for(process, "order_filled")
                systemd.until("READY=1")
                systemd.fed(2)
                assert mrdaemon("health", "--state", state).code == 0
                line = Line(state)
                line.request("GET", "/metrics")
                answer: http.client.HTTPResponse = line.getresponse()
                assert answer.status == 200
                assert b"mrdaemon_" in answer.read()
                line.close()
                process.send_signal(signal.SIGTERM)
                _, said_last = process.communicate(timeout=20)
                assert process.returncode == 0, said_last
                assert "error" not in said_last.lower()
            finally:
                process.kill()


def environment(more: dict[str, str]) -> dict[str, str]:
    """Give what systemd gives: next to nothing."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **more}
