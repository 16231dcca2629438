"""A configuration that is read anew while the daemon runs: all of it is taken, or nothing is changed and so told."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from mrdaemon.config import Config
from mrdaemon.notify import Notifier
from mrdaemon.pulse import Pulse
from mrdaemon.reloading import Reloading
from tests.reloads import RECORDED, ROWS, Running, between_rows, pipe, running
from tests.running import ask, child, mrdaemon
from tests.service_manager import manager

if TYPE_CHECKING:
    from mrdaemon.daemon import Daemon
    from mrdaemon.reloading import Around
    from mrdaemon.settings import Settings

pytestmark = pytest.mark.timeout(90)
SIDE = """
[portfolios.side]
account = "paper"
reserve = "500"
[portfolios.side.positions.IWM]
target = "1000"
shares = "10"
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serves many tests: what is refused changes nothing."""
    with between_rows(tmp_path_factory.mktemp("reload")) as found:
        yield found


@pytest.fixture
def restored(daemon: Running) -> Iterator[Running]:
    """The same, with its file as it began."""
    yield daemon
    if daemon.config.is_dir():
        daemon.config.rmdir()
    daemon.config.unlink(missing_ok=True)
    daemon.write()


# Refused


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def torn(path: Path) -> None:
    path.write_text(path.read_text()[:-40])


def vanished(path: Path) -> None:
    path.unlink()


def in_latin(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"# caf\xe9\n")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (vanished, "core.toml: file: wanted a TOML file that can be read (got No such file or directory)"),
        (as_folder, "core.toml: file: wanted a TOML file that can be read (got Is a directory)"),
        (pipe, "core.toml: file: wanted a file that can be read again, got a pipe or a device"),
        (torn, "core.toml: syntax: not TOML: Expected ']' at the end of a table declaration"),
        (in_latin, "wanted UTF-8 (got the byte 0xe9)"),
    ],
)
def test_a_file_that_cannot_be_read_changes_nothing(
    restored: Running, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(restored.config)
    outcome = restored.reload("--why", "I was curious")
    assert outcome.code == 78
    assert words in outcome.err
    assert outcome.err.endswith("Nothing was changed: the configuration of before is in force.\n")
    reload = restored.status()["reload"]
    assert not reload["ok"]
    assert any(words in each for each in reload["why"])
    refusal = restored.events("configuration_refused")[-1]
    assert refusal["why"] == "I was curious"
    assert list(refusal["reasons"]) == list(reload["why"])


ACCOUNT = """[accounts.side]
broker = "paper"
[portfolios.side]
account = "side"
reserve = "2000"
positions.IWM = { target = "1000", initial = "buy" }
[accounts.paper]"""
OPEN = 'broker = "paper"\n[portfolios.core]\naccount = "paper"\nreserve = "10000"\nzone = "5%"\nmode = "auto"'
ANSWERS = '[answers]\nlisten = "127.0.0.1:8399"\nurl = "https://home.example/mrdaemon"\n[accounts.paper]'


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("[feed]", 'state_dir = "elsewhere"\n[feed]', "state_dir"),
        ("[feed]", 'seed = "other"\n[feed]', "seed"),
        ('"prices.csv"', '"prices.csv", "more.csv"', "feed.files"),
        ('"1x"', '"max"', "feed.speed"),
        (OPEN, OPEN.replace("paper", "none", 1).replace("auto", "alert"), "accounts.paper.broker"),
        ('broker = "paper"', 'broker = "paper"\nwhole_shares = ["SPY"]', "accounts.paper.whole_shares"),
        ("[accounts.paper]", ACCOUNT, "accounts.side"),
        ("[accounts.paper]", '[alerts]\ninstance = "other"\n[accounts.paper]', "alerts.instance"),
        ("[accounts.paper]", '[prices]\nsessions = "always"\n[accounts.paper]', "prices.sessions"),
        ("[accounts.paper]", "[prices]\nextended_hours = true\n[accounts.paper]", "prices.extended_hours"),
        ("[accounts.paper]", ANSWERS, "answers.listen"),
        ("[accounts.paper]", '[web]\nlisten = "127.0.0.1:8398"\n[accounts.paper]', "web.listen"),
    ],
)
def test_what_cannot_change_in_place_is_refused_by_name(restored: Running, before: str, after: str, named: str) -> None:
    (restored.config.parent / "more.csv").write_text(ROWS)
    restored.write((before, after), ('target = "5000"', 'target = "5100"'))
    outcome = restored.reload()
    assert outcome.code == 78
    assert f"core.toml: {named}: a change of this needs a restart" in outcome.err
    assert restored.position("QQQ")["target"] == "5000.00"


def test_every_problem_is_told_at_once_and_nothing_of_the_rest_is_taken(restored: Running) -> None:
    restored.write(('target = "5000"', 'target = "-1"'), ('target = "3000"', 'target = "3100"'), ("5%", "500%"))
    told = restored.reload().err
    assert "portfolios.core.positions.QQQ.target" in told
    assert "portfolios.core.zone" in told
    assert restored.position("SPY")["target"] == "3000.00"
    assert restored.events("position_configured")[-1]["symbol"] == "SPY"
    assert len(restored.events("position_configured")) == 2


def test_what_does_not_fit_the_journal_is_refused(restored: Running) -> None:
    restored.write(("[portfolios.core.positions.SPY]", f"{SIDE}[portfolios.core.positions.IWM]"), more="")
    restored.config.write_text(restored.text.replace("portfolios.core", "portfolios.renamed"))
    assert "the journal knows its shares as portfolio core's" in restored.reload().err
    assert [each["name"] for each in restored.status()["portfolios"]] == ["core"]


def test_a_refusal_stays_in_sight_until_a_configuration_is_taken(restored: Running) -> None:
    restored.write(("[feed]", "[fed]"))
    restored.hang_up()
    restored.hear("configuration_refused", by="SIGHUP")
    shown = mrdaemon("status", "--state", restored.state).out
    assert "CONFIGURATION REFUSED" in shown
    assert "core.toml: fed: there is no such setting; did you mean 'feed'?" in shown
    refused = "configuration refused, the one of before is in force"  # Also a line of ``systemctl status``.
    assert refused in mrdaemon("health", "--state", restored.state).out
    restored.write()
    assert restored.reload().code == 0
    assert refused not in mrdaemon("health", "--state", restored.state).out
    assert "CONFIGURATION REFUSED" not in mrdaemon("status", "--state", restored.state).out
    assert restored.status()["reload"] == {**restored.status()["reload"], "ok": True, "why": []}


def test_a_file_that_is_being_written_is_refused(restored: Running) -> None:
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.02):
            with restored.config.open("a") as file:
                file.write("# one more line\n")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        told = restored.reload().err
    finally:
        over.set()
        writer.join()
    assert "it was written while it was read: reload again once it is whole" in told


def test_a_refusal_is_in_the_log_with_every_problem(restored: Running) -> None:
    restored.write(("[feed]", "[fed]"))
    restored.reload()
    lines = [json.loads(line) for line in (restored.config.parent / "log").read_text().splitlines()]
    refused = [each for each in lines if each["event"] == "configuration refused"][-1]
    assert refused["level"] == "error"
    assert any("did you mean 'feed'?" in each for each in refused["problems"])


def test_by_the_name_of_its_broken_file_the_daemon_is_found_and_hears_of_it(tmp_path: Path) -> None:
    text = f'state_dir = "{tmp_path / "state"}"\n{RECORDED}'
    (tmp_path / "prices.csv").write_text(ROWS)
    with running(tmp_path, text, "position_armed") as daemon:
        daemon.write(("[feed]", "[fed]"))
        outcome = mrdaemon("reload", "-c", daemon.config)
        assert outcome.code == 78
        assert "did you mean 'feed'?" in outcome.err
        assert not daemon.status()["reload"]["ok"]


@pytest.mark.parametrize("command", ["status", "health", "halt"])
def test_a_mistake_in_its_file_keeps_nobody_from_the_daemon_that_runs(tmp_path: Path, command: str) -> None:
    text = f'state_dir = "{tmp_path / "state"}"\n{RECORDED}'
    (tmp_path / "prices.csv").write_text(ROWS)
    with running(tmp_path, text, "position_armed") as daemon:
        daemon.write(("[feed]", "[fed]"))
        outcome = mrdaemon(command, "-c", daemon.config)
        assert outcome.code == 0
        assert "has a mistake" in outcome.err
    assert mrdaemon("status", "-c", tmp_path / "core.toml").code == 78


def test_over_the_socket_a_refusal_is_a_conflict_with_its_reasons(restored: Running) -> None:
    restored.write(("[feed]", "[fed]"))
    answer = ask(restored.state, "POST", "/commands/reload", {"why": "by hand"})
    assert answer.status == 409
    assert "did you mean 'feed'?" in answer.body["refused"]
    assert [each["kind"] for each in answer.body["events"]] == ["configuration_refused"]


# Taken


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Running]:
    with between_rows(tmp_path) as found:
        yield found


def test_targets_zones_modes_and_limits_change_between_two_rows(fresh: Running) -> None:
    fresh.write(
        ('target = "5000"', 'target = "5200"\nzone = "2%"\nmode = "approve"'),
        ("[accounts.paper]", '[prices]\nmax_age = "1m"\n[accounts.paper]\norders_per_day = 7\nslippage = "0.1%"'),
        ('reserve = "10000"', 'reserve = "99999"\nfloor = "100"'),
    )
    outcome = fresh.reload("--why", "a calmer year")
    assert outcome.code == 0
    position = fresh.position("QQQ")
    assert (position["target"], position["lower"], position["mode"]) == ("5200.00", "5096.00", "approve")
    status = fresh.status()
    assert (status["portfolios"][0]["floor"], status["portfolios"][0]["reserve"]) == ("100.00", "10000.00")
    [taken] = fresh.events("configuration_reloaded")
    assert taken["why"] == "a calmer year"
    assert "QQQ: target 5000.00 becomes 5200.00, below 5% becomes 2%, above 5% becomes 2%" in taken["sentence"]
    assert "Account paper: orders_per_day none becomes 7" in taken["sentence"]
    assert "accounts.paper.slippage: 0 becomes 0.001" in taken["sentence"]
    kinds = [each["kind"] for each in fresh.events()]
    assert {"prints_configured", "account_configured", "portfolio_configured"} <= set(kinds)
    assert fresh.stop() == 0


def test_positions_and_portfolios_come_and_go_and_come_back(fresh: Running) -> None:
    fresh.write(('[portfolios.core.positions.SPY]\ntarget = "3000"\nshares = "30"\n', ""), more=SIDE)
    assert "SPY left portfolio core" in fresh.reload().out
    status = fresh.status()
    assert [(each["symbol"], each["retired"]) for each in status["positions"]] == [
        ("QQQ", False),
        ("SPY", True),
        ("IWM", False),
    ]
    assert [(each["name"], each["reserve"]) for each in status["portfolios"]] == [
        ("core", "10000.00"),
        ("side", "500.00"),
    ]
    assert mrdaemon("reconcile", "--state", fresh.state).code == 0  # The paper broker knows of the new shares, too.
    assert fresh.position("IWM")["halted"] is None
    fresh.write()
    fresh.reload()
    position = fresh.position("SPY")
    assert (position["retired"], position["shares"]) == (False, "30")
    assert fresh.position("IWM")["retired"]
    assert len(fresh.events("position_opened")) == 3


def test_a_portfolio_may_be_called_as_a_setting_of_accounts_is(fresh: Running) -> None:
    fresh.write(more=SIDE.replace("side", "slippage"))
    assert fresh.reload().code == 0
    assert [each["name"] for each in fresh.status()["portfolios"]] == ["core", "slippage"]
    assert fresh.stop() == 0


def test_a_change_by_command_is_not_undone_by_a_file_that_says_what_it_said(fresh: Running) -> None:
    mrdaemon("target", "QQQ", "5500", "--yes", "--state", fresh.state)
    fresh.write(('zone = "5%"', 'zone = "6%"'))
    assert fresh.reload().code == 0
    assert fresh.position("QQQ")["target"] == "5500.00"


def test_nothing_changes_where_nothing_differs_and_that_is_said(fresh: Running) -> None:
    assert "nothing changed" in fresh.reload().out
    assert fresh.reload().code == 0
    assert len(fresh.events("position_configured")) == 2


def test_many_hangups_at_once_are_as_few_as_need_be_and_the_last_file_counts(fresh: Running) -> None:
    fresh.write(('target = "5000"', 'target = "5100"'))
    for _ in range(20):
        fresh.hang_up()
    fresh.hear("configuration_reloaded")
    fresh.write(('target = "5000"', 'target = "5200"'))
    fresh.hang_up()
    fresh.hear("configuration_reloaded")
    fresh.reload()
    assert fresh.position("QQQ")["target"] == "5200.00"
    assert len(fresh.events("configuration_reloaded")) < 8


async def test_a_reload_that_waits_for_another_is_not_stuck() -> None:
    seconds, reading, go_on = [0.0], threading.Event(), threading.Event()
    config = Config(cast("Settings", None), Path("core.toml"))

    def read() -> Config:
        reading.set()
        assert go_on.wait(30)
        return config

    pulse = Pulse(lambda: seconds[0])
    around = SimpleNamespace(read=read, manager=Notifier({}))
    reloading = Reloading(cast("Daemon", SimpleNamespace(pulse=pulse)), config, cast("Around", around))
    wishes = [asyncio.create_task(reloading.reload("a test", "")) for _ in range(3)]
    try:
        await asyncio.to_thread(reading.wait, 30)
        seconds[0] = 1000.0
        assert [each.doing for each in pulse.stuck()] == ["reading the file"]
    finally:
        for each in wishes:
            each.cancel()
        await reloading.__aexit__()
        go_on.set()


def test_a_kill_after_a_reload_and_a_start_on_the_same_file_change_nothing_more(fresh: Running) -> None:
    fresh.write(('target = "5000"', 'target = "5100"'), more=SIDE)
    fresh.reload()
    fresh.process.kill()
    fresh.process.wait()
    before = len(fresh.events("position_configured"))
    assert "would change nothing" in mrdaemon("check", "-c", fresh.config, "--state", fresh.state).out
    with running(fresh.config.parent, fresh.config.read_text(), "daemon_started") as again:
        assert again.status()["reload"] is None
        assert len(again.events("position_configured")) == before


# While it starts, while it stops, and where nobody can


def test_a_hangup_while_it_starts_is_not_lost_and_kills_nobody(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(ROWS)
    with between_rows(tmp_path) as first:
        first.stop()
        with child("run", "--json", "-c", first.config, "--state", first.state) as process:
            first.process = process
            until_handled(process)
            process.send_signal(signal.SIGHUP)
            first.hear("configuration_reloaded", by="SIGHUP")
            assert first.stop() == 0


def until_handled(process: subprocess.Popen[str]) -> None:
    """Wait until SIGHUP does not kill it any more: the kernel says what it catches."""
    caught = 0
    while not caught >> (signal.SIGHUP - 1) & 1:
        assert process.poll() is None
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)


def test_the_service_manager_hears_when_a_reload_begins_and_when_it_is_over(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(ROWS)
    with (
        manager(tmp_path / "notify") as systemd,
        running(tmp_path, RECORDED, "position_armed", env=systemd.environment) as daemon,
    ):
        systemd.until("READY=1")
        for text, kind in (("[fed]", "configuration_refused"), ("[feed]", "configuration_reloaded")):
            daemon.write(("[feed]", text))
            daemon.hang_up()
            systemd.until("RELOADING=1\nMONOTONIC_USEC=")
            daemon.hear(kind)
            systemd.until("READY=1")
        assert "WATCHDOG=1" not in systemd.heard  # Nobody asked for it.


def test_hangups_while_it_stops_do_not_keep_it_from_a_clean_end(fresh: Running) -> None:
    fresh.process.send_signal(signal.SIGTERM)
    for _ in range(5):
        fresh.hang_up()
    fresh.process.communicate(timeout=20)
    assert fresh.process.returncode == 0


def test_a_run_without_a_file_of_its_own_cannot_be_reloaded(tmp_path: Path) -> None:
    with child("demo", "--state", tmp_path / "demo", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / "demo" / "control.sock").exists():
            assert process.poll() is None
        outcome = mrdaemon("reload", "--state", tmp_path / "demo")
    assert outcome.code == 1
    assert "this run keeps the configuration that it began with" in outcome.err


def test_where_its_terminal_is_gone_a_hangup_stops_it(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(ROWS)
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Under nohup it would never stop.
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    with running(tmp_path, RECORDED, "position_armed", prepare=take_terminal) as found:
        found.write(('target = "5000"', 'target = "5100"'))
        found.hang_up()
        found.hear("configuration_reloaded", by="SIGHUP")  # As long as it is there.
        os.close(theirs)
        os.close(ours)  # The window is closed.
        found.process.communicate(timeout=20)
        assert found.process.returncode == 0
        [stopped] = found.events("daemon_stopped")
    assert stopped["reason"] == "SIGHUP received, and the terminal is gone"
