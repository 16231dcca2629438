"""The command line: what each command says and how it ends, on a terminal, in a pipe and for a program."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from mrdaemon.cli import app
from mrdaemon.places import JOURNAL
from tests.running import Place, child, mrdaemon, unmeasured, wait_for

COMMANDS = [
    *([each.name or each.callback.__name__] for each in app.registered_commands if each.callback is not None),
    ["journal"],
    ["journal", "verify"],
    ["alert"],
    ["alert", "test"],
    ["alert", "list"],
]
HEAVY = (
    "apprise",
    "prometheus_client",
    "aiomqtt",
    "paho",
    "requests",
    "uvicorn",
    "starlette",
    "pandas",
    "numpy",
    "pydantic_settings",
    "exchange_calendars",
    "structlog",
    "msgspec",
    "sqlite3",
    "rich",
)
"""Pydantic is not here: typer 0.29 reads the options of a command with it, ``--help`` among them."""
ALONE = "import sys; from mrdaemon.cli import main; sys.argv = ['mrdaemon', *sys.argv[1:]]\ntry: main()\nfinally: "


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place").configure()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give where the states of this test's configurations are looked for."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path / "home" / "mrdaemon"


# Help and usage


@pytest.mark.parametrize("command", [[], *COMMANDS], ids=" ".join)
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    script = ALONE + "print(*sys.modules, sep='\\n', file=sys.stderr)"
    told = [sys.executable, "-c", script, *command, "--help"]
    run = subprocess.run(told, capture_output=True, text=True, check=True, env=unmeasured())
    assert run.stdout.startswith("Usage: mrdaemon")
    modules = set(run.stderr.split())
    assert {name for name in modules if name.startswith("mrdaemon") and not name.startswith("mrdaemon.cli")} == {
        "mrdaemon"
    }
    assert {name.split(".")[0] for name in modules} & set(HEAVY) == set()


def test_the_version_is_told() -> None:
    assert mrdaemon("--version").out.startswith("mrdaemon ")


@pytest.mark.parametrize(
    "arguments", [["dance"], ["run"], ["events", "--after", "-1"], ["events", "--kind", "dance"], ["status", "--jsn"]]
)
def test_what_is_no_usage_ends_with_2(arguments: list[str]) -> None:
    assert mrdaemon(*arguments).code == 2


def test_an_unknown_kind_of_event_is_answered_with_those_that_there_are() -> None:
    said = mrdaemon("events", "--kind", "dance").err
    assert "no kind 'dance'; there are: account_configured, " in said


# Configurations


def test_check_says_what_a_good_configuration_holds(place: Place) -> None:
    place.record(100)
    run = mrdaemon("check", "-c", place.config, "--state", place.state)
    assert run.code == 0
    assert "1 portfolio, 1 position, targets $5,000.00, reserves $10,000.00." in run.out
    assert f"There is no journal yet in {place.state}; a start begins one." in run.out


def test_check_says_what_a_start_would_change(place: Place) -> None:
    place.record(100).run()
    unchanged = mrdaemon("check", "-c", place.config, "--state", place.state)
    assert f"A start would change nothing in {place.state}." in unchanged.out
    place.configure(target="5500")
    changed = mrdaemon("check", "--json", "-c", place.config, "--state", place.state).objects[0]
    assert changed["ok"] is True
    assert changed["changes"] == ["QQQ: target 5000.00 becomes 5500.00."]


@pytest.mark.parametrize("command", [["check"], ["run"], ["status"], ["replay", "prices.csv"]])
def test_a_bad_configuration_ends_with_78_and_names_every_problem(place: Place, command: list[str]) -> None:
    place.record(100).configure(target="lots", mode="yolo")
    run = mrdaemon(*command, "-c", place.config)
    assert run.code == 78
    assert f"{place.config}: portfolios.core.positions.QQQ.target: " in run.err
    assert '(got "lots")' in run.err
    assert f"{place.config}: portfolios.core.mode: " in run.err
    assert run.out == ""


def test_check_tells_a_program_of_every_problem(place: Place) -> None:
    place.record(100).configure(target="lots", mode="yolo")
    run = mrdaemon("check", "--json", "-c", place.config)
    assert run.code == 78
    assert run.objects[0]["ok"] is False
    problems = "\n".join(run.objects[0]["problems"])
    assert "portfolios.core.positions.QQQ.target: " in problems
    assert "portfolios.core.mode: " in problems


def test_a_configuration_that_is_not_there_ends_with_78(tmp_path: Path) -> None:
    run = mrdaemon("check", "-c", tmp_path / "none.toml")
    assert run.code == 78
    assert "none.toml" in run.err


# Looking


@pytest.mark.parametrize("command", [["status"], ["events"], ["journal", "verify"]])
def test_where_no_daemon_ever_ran_it_says_where_it_looked(home: Path, command: list[str]) -> None:
    run = mrdaemon(*command)
    assert run.code == 1
    assert f"there is no journal under {home}; run a daemon first, or name its directory with --state" in run.err


@pytest.mark.parametrize("command", [["status"], ["events"], ["journal", "verify"]])
def test_a_directory_without_a_journal_is_named(tmp_path: Path, command: list[str]) -> None:
    run = mrdaemon(*command, "--state", tmp_path)
    assert run.code == 1
    assert f"{tmp_path}: there is no journal; run a daemon there first" in run.err


def test_of_several_journals_the_newest_is_shown_and_the_choice_is_told(place: Place, home: Path) -> None:
    for name in ("old", "new"):
        place.state = home / name
        (place.record(100) if name == "old" else place).run()
    os.utime(home / "old" / JOURNAL, (0, 0))
    run = mrdaemon("status")
    assert f"Showing {home / 'new'}, the newest of 2; choose with --state or --config." in run.err
    assert run.out.startswith("new: not running")


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(place: Place) -> None:
    place.record(100).run()
    with contextlib.closing(sqlite3.connect(place.state / JOURNAL)) as journal:
        journal.execute("PRAGMA user_version = 99")
    for command in (["status"], ["events"], ["journal", "verify"]):
        run = mrdaemon(*command, "--state", place.state)
        assert run.code == 1
        assert "newer mrdaemon" in run.err
        assert "install" in run.err
    assert "newer mrdaemon" in place.run().err


def test_status_says_where_every_position_stands(place: Place) -> None:
    place.record(100, 104).run()
    title, at, _, position, reserve, account = mrdaemon("status", "--state", place.state).out.splitlines()
    assert title == "state: not running, trading ACTIVE"
    assert at == "2020-03-09 15:00:01Z; prices as journaled"
    assert position == "core/QQQ: value $5,200.00, target $5,000.00, 50 shares, buy at 95.0000, sell at 105.0000"
    assert reserve == "reserve of core: $5,000.00"
    assert account.startswith("account paper (paper): reconciled 2020-03-09 15:00:00Z, cash then $")


def test_status_tells_a_program_the_same(place: Place) -> None:
    place.record(100, 104).run()
    (status,) = mrdaemon("status", "--json", "--state", place.state).objects
    assert (status["process"], status["trading"], status["at"]) == (None, "ACTIVE", "2020-03-09T15:00:01Z")
    assert status["portfolios"][0]["available"] == "5000.00"
    assert (status["positions"][0]["value"], status["positions"][0]["trim_at"]) == ("5200.00", "105.0000")


def test_status_finds_the_running_process(place: Place) -> None:
    place.configure(speed="1x").record(100, 101, apart=3600)
    with child(*place.arguments(), measured=True) as process:
        wait_for(process, "order_filled")
        (status,) = mrdaemon("status", "--json", "--state", place.state).objects
        assert status["process"] == process.pid
        assert f"running as process {process.pid}" in mrdaemon("status", "--state", place.state).out


def test_events_are_lines_in_order_and_can_be_chosen(place: Place) -> None:
    place.record(100, 110).run()
    every = mrdaemon("events", "--json", "--state", place.state).objects
    assert [each["seq"] for each in every] == list(range(1, len(every) + 1))
    later = mrdaemon("events", "--json", "--after", "5", "--state", place.state).objects
    assert later == every[5:]
    signals = mrdaemon("events", "--kind", "signal_raised", "--state", place.state).out.splitlines()
    assert len(signals) == 2
    assert "2020-03-09 15:00:01Z  QQQ      QQQ at 110.0 is worth $5,500.00" in signals[1]


def test_the_journal_is_verified_and_a_change_shows(place: Place) -> None:
    place.record(100, 110).run()
    good = mrdaemon("journal", "verify", "--json", "--state", place.state)
    assert (good.code, good.objects[0]["ok"]) == (0, True)
    assert good.objects[0]["events"] == len(place.events())
    assert "are as they were written" in mrdaemon("journal", "verify", "--state", place.state).out
    journal = place.state / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'"10000.00"', b'"90000.00"'))
    bad = mrdaemon("journal", "verify", "--json", "--state", place.state)
    assert (bad.code, bad.objects[0]["ok"]) == (1, False)
    assert "not what was written" in bad.objects[0]["problems"][0]
    assert "not what was written" in bad.err


# Running


def test_a_run_shows_signals_and_fills_as_lines_and_then_the_summary(place: Place) -> None:
    place.record(100, 101, 110)
    run = mrdaemon("run", "-c", place.config, "--state", place.state)
    lines = run.out.splitlines()
    assert "Bought 50 QQQ for $5,000.00 at 100." in lines[1]
    assert "Sold 4.545454545 QQQ for $500.00 at 110, a gain of $45.45." in lines[3]
    assert "signals   2 raised, 0 held back" in lines
    assert run.err.count("\n") == 1
    assert json.loads(run.err)["event"] == "stopped"


def test_a_replay_is_events_and_a_summary_and_keeps_nothing(place: Place, home: Path) -> None:
    place.record(100, 110)
    run = mrdaemon("replay", place.recording, "-c", place.config, "--json")
    assert run.code == 0
    assert run.objects[0]["kind"] == "daemon_started"
    assert run.objects[-1]["kind"] == "summary"
    assert not home.exists()
    assert not place.state.exists()


def test_a_replay_of_malformed_rows_keeps_its_output_clean(place: Place) -> None:
    place.record(100, "cheap", 110)
    run = mrdaemon("replay", place.recording, "-c", place.config, "--json")
    assert [each["kind"] for each in run.objects].count("row_refused") == 1
    assert "prices.csv" in run.err


def test_a_state_directory_that_cannot_be_made_is_explained(place: Place) -> None:
    place.record(100)
    run = mrdaemon("run", "-c", place.config, "--state", place.recording / "below")
    assert run.code == 1
    assert "prices.csv" in run.err
    assert "Traceback" not in run.err


# The demo


def test_the_demo_can_be_interrupted_sums_up_and_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with child("demo", "--state", state, measured=True) as process:
        assert process.stdout is not None
        assert any("Sold" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert errors == ""
    assert "holding the targets, reserve in cash" in out
    assert "The demo was interrupted: SIGINT received. The same command goes on with it." in out
    again = mrdaemon("demo", "--fast", "--state", state)
    assert "Going on with the demo" in again.err
    assert "signals   442 raised, 0 held back" in again.out
    assert "The demo is over." in again.out


def test_a_demo_that_is_over_starts_anew(tmp_path: Path) -> None:
    state = tmp_path / "state"
    first, second = (mrdaemon("demo", "--fast", "--state", state) for _ in range(2))
    assert (second.code, second.out, second.err) == (0, first.out, "")
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


def test_the_demo_never_touches_a_journal_that_is_no_demos(place: Place) -> None:
    place.record(100).run()
    before = place.events()
    for arguments in (["demo", "--fast"], ["demo", "--fast", "--fresh"]):
        run = mrdaemon(*arguments, "--state", place.state)
        assert run.code == 1
        assert "it is not a demo's; name another directory" in run.err
    assert place.events() == before


def test_the_demo_removes_no_file_that_is_not_its_own(tmp_path: Path) -> None:
    with child("demo", "--state", tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
    (tmp_path / "thesis.txt").touch()
    run = mrdaemon("demo", "--fast", "--fresh", "--state", tmp_path)
    assert run.code == 1
    assert "it holds more than a demo (thesis.txt)" in run.err
    assert (tmp_path / "thesis.txt").exists()


# Pipes and terminals


def test_a_reader_that_has_seen_enough_ends_events_quietly(tmp_path: Path) -> None:
    mrdaemon("demo", "--fast", "--state", tmp_path)
    with child("events", "--state", tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.parametrize("view", [[], ["--json"]], ids=["lines", "json"])
def test_a_reader_that_has_seen_enough_ends_the_demo_in_good_order(tmp_path: Path, view: list[str]) -> None:
    with child("demo", *view, "--state", tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
    assert mrdaemon("events", "--json", "--state", tmp_path).objects[-1]["kind"] == "daemon_stopped"


def on_a_terminal(*arguments: str | Path, **env: str) -> str:
    """Run a command on a terminal of its own, and give what it wrote there."""
    ours, theirs = pty.openpty()
    usual = {"TERM": "xterm", "COLUMNS": "100", "LINES": "40", "PYTHONIOENCODING": "utf-8"}
    with child(*arguments, env={**usual, **env}, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        with contextlib.suppress(OSError):  # This is how a terminal says that nobody writes to it any more.
            while block := os.read(ours, 65536):
                written += block
        process.wait(10)
    os.close(ours)
    assert process.returncode == 0
    return written.decode()


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_on_a_terminal_the_demo_is_a_live_table_with_prices_that_move(tmp_path: Path, columns: str) -> None:
    written = on_a_terminal("demo", "--fast", "--state", tmp_path, COLUMNS=columns)
    assert written.count("mrdaemon demo: real prices, paper money") > 5
    assert "●" in written
    assert "125.67" in written, "Apple's last price"
    assert "signals   442 raised" in written


def test_no_color_means_none(tmp_path: Path) -> None:
    written = on_a_terminal("demo", "--fast", "--state", tmp_path, NO_COLOR="1")
    assert "\x1b[36m" not in written
    assert "\x1b[1;36m" not in written
    assert ";36m" not in written


@pytest.mark.parametrize(
    "locale",
    [
        {"PYTHONIOENCODING": "ascii"},
        pytest.param({"PYTHONIOENCODING": "latin-1", "LC_ALL": "C"}, marks=pytest.mark.soak),
    ],
)
def test_a_terminal_that_knows_no_boxes_gets_ascii(tmp_path: Path, locale: dict[str, str]) -> None:
    mrdaemon("demo", "--fast", "--state", tmp_path)
    written = on_a_terminal("status", "--state", tmp_path, **locale)
    assert written.isascii()
    assert "AAPL" in written
    assert "[" in written


def test_status_on_a_terminal_is_a_table(tmp_path: Path) -> None:
    mrdaemon("demo", "--fast", "--state", tmp_path)
    written = on_a_terminal("status", "--state", tmp_path)
    assert "sell at" in written
    assert "reserve of demo: $45,612.92" in written


def test_check_names_every_rule_that_would_change(place: Place) -> None:
    place.record(100).run()
    more = 'cooldown = "5m"\nmax_order = "900"\n[prices]\nmax_jump = "20%"\n'
    place.config.write_text(place.config.read_text().replace('initial = "buy"', f'shares = "5"\n{more}'))
    changes = mrdaemon("check", "--json", "-c", place.config, "--state", place.state).objects[0]["changes"]
    assert "Prints: max_jump none becomes 0.20." in changes
    assert "QQQ: initial True becomes False, max_order none becomes 900.00, cooldown 0 becomes 300." in changes


# The journal as tables


def test_an_export_goes_to_standard_output_or_to_a_new_file(place: Place, tmp_path: Path) -> None:
    place.record(100, 90, 105).run()
    export: list[str | Path] = ["journal", "export", "fills", "--state", place.state]
    said = mrdaemon(*export)
    written = mrdaemon(*export, "--output", tmp_path / "fills.jsonl")
    assert written.err == f"3 rows of fills written to {tmp_path / 'fills.jsonl'}.\n"
    assert (tmp_path / "fills.jsonl").read_text() == said.out
    assert [each["amount"] for each in said.objects] == ["5000.00", "500.00", "833.33"]


def test_csv_ends_its_lines_as_rfc_4180_wants_on_standard_output_too(place: Place) -> None:
    place.record(100).run()
    told = [
        sys.executable,
        "-m",
        "mrdaemon",
        "journal",
        "export",
        "fills",
        "--format",
        "csv",
        "--state",
        str(place.state),
    ]
    out = subprocess.run(told, capture_output=True, check=True, timeout=60).stdout
    header, row, rest = out.split(b"\r\n")
    assert (header[:3], row.split(b",")[1], rest) == (b"seq", b"2020-03-09T15:00:00Z", b"")


def test_an_export_never_overwrites_a_file(place: Place, tmp_path: Path) -> None:
    place.record(100).run()
    (tmp_path / "mine.csv").write_text("precious")
    run = mrdaemon("journal", "export", "events", "--output", tmp_path / "mine.csv", "--state", place.state)
    assert (run.code, (tmp_path / "mine.csv").read_text()) == (1, "precious")
    assert "it is there already; name a new file" in run.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["dreams"], 2, "'dreams' is not one of 'events', 'orders', 'fills', 'gains'"),
        (["events", "--format", "xml"], 2, "'xml' is not one of 'jsonl', 'csv'"),
        (["events", "--after", "100000"], 1, "100000"),
    ],
)
def test_what_cannot_be_exported_is_said(place: Place, arguments: list[str], code: int, said: str) -> None:
    place.record(100).run()
    run = mrdaemon("journal", "export", *arguments, "--state", place.state)
    assert run.code == code
    assert said in run.err


def test_the_last_events_can_be_had_alone(place: Place) -> None:
    place.record(100, 90).run()
    everything = mrdaemon("events", "--json", "--state", place.state).objects
    assert mrdaemon("events", "--json", "--last", "3", "--state", place.state).objects == everything[-3:]
    assert mrdaemon("events", "--json", "--last", "9999", "--state", place.state).objects == everything
