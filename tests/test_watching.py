"""Watching a daemon through its stops and restarts: status --watch, events --follow, and what a shell completes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import Live, live_daemon
from tests.running import Object, Place, Terminal, child, daemon, mrdaemon, on_terminal

COMMAND = Path(sys.executable).with_name("mrdaemon")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with live_daemon(tmp_path / "state") as started:
        yield started


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place").configure(speed="1x").record(100, 101, 102, apart=3600)


def line_with(process: subprocess.Popen[str], text: str) -> str:
    """Read lines until one has a text."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return line
    message = f"it ended without {text!r}"
    raise AssertionError(message)


def interrupted(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Press Ctrl-C; gives the exit code and what it said on standard error."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


# status --watch


def test_in_a_pipe_a_watch_prints_everything_once_and_then_what_changes(live: Live) -> None:
    with child("status", "--watch", "--every", "0.1", "--state", live.state) as process:
        assert "core/SPY: value $5,000.00" in line_with(process, "core/SPY")
        line_with(process, "account paper (paper): reconciled")
        live.say("price 98 QQQ")
        assert process.stdout is not None
        assert "core/QQQ: value $4,900.00" in process.stdout.readline()
        live.tell("pause")
        said = line_with(process, "SIGNALS ARE PAUSED")
        live.tell("halt")
        assert "TRADING IS HALTED" in line_with(process, "TRADING")
        assert interrupted(process) == (0, "")
    assert said[4] == said[7] == "-"


def test_a_watch_goes_on_through_a_daemons_end_and_its_restart(live: Live) -> None:
    with child("status", "--watch", "--every", "0.1", "--state", live.state) as process:
        line_with(process, "trading ACTIVE")
        live.process.kill()
        live.process.wait()
        line_with(process, "NOT RUNNING: nothing is watched; this is from the journal")
        with live_daemon(live.state) as again:
            line_with(process, "trading ACTIVE")
            again.say("price 97 QQQ")
            line_with(process, "core/QQQ: value $4,850.00")
        assert interrupted(process) == (0, "")


def test_a_watch_for_programs_is_a_whole_status_on_each_line(live: Live) -> None:
    with child("status", "--watch", "--every", "0.1", "--json", "--state", live.state) as process:
        assert process.stdout is not None
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        assert interrupted(process)[0] == 0
    assert first["live"] is second["live"] is True
    assert first["at"] < second["at"]
    assert [each["symbol"] for each in second["positions"]] == ["QQQ", "SPY"]


def test_a_reader_that_has_seen_enough_ends_a_watch_quietly(live: Live) -> None:
    with child("status", "--watch", "--every", "0.1", "--json", "--state", live.state) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


def press_ctrl_c(terminal: Terminal) -> int:
    terminal.process.send_signal(signal.SIGINT)
    return terminal.end()


def test_on_a_terminal_a_watch_is_a_table_that_follows_the_daemon(live: Live) -> None:
    with on_terminal("status", "--watch", "--every", "0.1", "--state", live.state) as terminal:
        assert f"process {live.process.pid}" in terminal.read_until("reserve of core")
        live.say("price 98.75 QQQ")
        terminal.read_until("98.75")
        live.tell("halt")
        terminal.read_until("TRADING IS HALTED")
        live.process.kill()
        live.process.wait()
        terminal.read_until("NOT RUNNING")
        assert press_ctrl_c(terminal) == 0
    assert "Traceback" not in terminal.written
    assert terminal.written.count("\x1b[?1049h") == terminal.written.count("\x1b[?1049l") == 1


@pytest.mark.parametrize("size", [{"COLUMNS": "20", "LINES": "4"}, {"COLUMNS": "300", "LINES": "100"}])
def test_a_watch_fits_any_terminal(live: Live, size: dict[str, str]) -> None:
    with on_terminal("status", "--watch", "--every", "0.1", "--state", live.state, env=size) as terminal:
        terminal.read_until("ACTIVE")
        assert press_ctrl_c(terminal) == 0
    assert "Traceback" not in terminal.written


def test_a_terminal_that_cannot_draw_gets_lines(live: Live) -> None:
    with on_terminal("status", "--watch", "--state", live.state, env={"TERM": "dumb"}) as terminal:
        terminal.read_until("core/QQQ: value $5,000.00")
        assert press_ctrl_c(terminal) == 0
    assert "\x1b[?1049h" not in terminal.written


def test_a_watch_of_a_directory_without_a_journal_says_so(tmp_path: Path) -> None:
    outcome = mrdaemon("status", "--watch", "--state", tmp_path)
    assert outcome.code == 1
    assert "there is no journal" in outcome.err


# events --follow


def followed(process: subprocess.Popen[str], kind: str) -> list[str]:
    """Read JSON Lines until an event of a kind."""
    assert process.stdout is not None
    seen: list[str] = []
    for line in process.stdout:
        seen.append(line)
        if json.loads(line)["kind"] == kind:
            return seen
    message = f"it ended without {kind}"
    raise AssertionError(message)


def test_events_are_followed_through_a_stop_and_a_kill_each_once_and_in_the_journals_bytes(live: Live) -> None:
    with child("events", "--follow", "--json", "--state", live.state) as process:
        told = followed(process, "position_armed")
        live.say("price 90 QQQ")
        told += followed(process, "order_ended")
        live.end()
        told += followed(process, "daemon_stopped")
        with live_daemon(live.state) as again:
            told += followed(process, "account_reconciled")
            again.tell("deposit", "5", "--yes")
            told += followed(process, "reserve_deposited")
            again.process.kill()
            again.process.wait()
        with live_daemon(live.state) as last:
            last.tell("halt")
            told += followed(process, "trading_state_changed")
        assert interrupted(process) == (0, "")
    journal = mrdaemon("events", "--json", "--state", live.state).out
    assert journal.startswith("".join(told))
    assert [json.loads(each)["seq"] for each in told] == list(range(1, len(told) + 1))


def test_a_recording_is_followed_across_its_kill_and_its_restart(place: Place) -> None:
    with (
        daemon(place, kind="order_ended") as first,
        child("events", "--follow", "--json", "--state", place.state) as process,
    ):
        told = followed(process, "order_ended")
        place.tell("deposit", "5", "--yes")
        told += followed(process, "reserve_deposited")
        first.kill()
        first.wait()
        with daemon(place, kind="account_reconciled"):
            place.tell("pause")
            told += followed(process, "signals_paused")
        assert interrupted(process) == (0, "")
    assert mrdaemon("events", "--json", "--state", place.state).out.startswith("".join(told))


def test_only_chosen_kinds_are_followed(live: Live) -> None:
    arguments = ("events", "--follow", "--json", "--kind", "signals_paused", "--kind", "asset_known")
    with child(*arguments, "--state", live.state) as process:
        live.tell("halt")
        live.tell("pause", "--why", "lunch")
        told = [json.loads(each) for each in followed(process, "signals_paused")]
        assert interrupted(process)[0] == 0
    assert [each["kind"] for each in told] == ["asset_known", "asset_known", "signals_paused"]


def test_only_later_events_are_followed(live: Live) -> None:
    newest = mrdaemon("events", "--json", "--state", live.state).objects[-1]["seq"]
    with child("events", "--follow", "--json", "--after", str(newest), "--state", live.state) as process:
        live.tell("pause")
        (event,) = [json.loads(each) for each in followed(process, "signals_paused")]
        assert interrupted(process)[0] == 0
    assert event["seq"] == newest + 1


def test_followed_events_are_sentences_for_a_person(live: Live) -> None:
    with child("events", "--follow", "--state", live.state) as process:
        live.tell("pause", "--why", "lunch")
        line = line_with(process, "paused")
        assert interrupted(process)[0] == 0
    before = mrdaemon("events", "--state", live.state).out.splitlines(keepends=True)
    assert line == before[-1]


def test_a_reader_that_has_seen_enough_ends_following_quietly(live: Live) -> None:
    with child("events", "--follow", "--state", live.state) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        live.tell("pause")
        assert process.stderr.read() == ""


# Explaining


def test_an_explanation_is_the_same_from_the_daemon_and_from_its_journal(live: Live) -> None:
    live.tell("pause")
    from_daemon = live.tell("explain", "qqq", "--json").objects[0]
    live.end()
    from_journal = live.tell("explain", "qqq", "--json").objects[0]
    assert from_daemon["price_at"] is not None
    assert from_journal["price_at"] is None
    assert [checks(each) for each in from_daemon["sides"]] == [checks(each) for each in from_journal["sides"]]


def checks(side: Object) -> list[tuple[str, bool]]:
    """Give what each guard says; that no price was seen is the journal's own."""
    return [(each["guard"], each["passes"]) for each in side["checks"] if each["guard"] not in {"price", "session"}]


def test_a_stopped_daemon_whose_market_never_closed_is_explained_by_that(tmp_path: Path) -> None:
    place = Place(tmp_path / "place").configure().record(*[100.0] * 8, apart=3600)  # To 22:00 UTC.
    place.config.write_text(place.config.read_text() + '\n[prices]\nsessions = "always"\n')
    place.run()
    assert place.tell("explain", "QQQ", "--json").objects[0]["session"] == "2020-03-09"


def test_what_is_unknown_is_not_explained(live: Live) -> None:
    unknown = live.tell("explain", "IBM")
    assert (unknown.code, unknown.err) == (1, "mrdaemon: there is no position in 'IBM'; there are: QQQ, SPY\n")
    live.end()
    assert live.tell("explain", "IBM") == unknown


def test_an_explanation_is_lines_for_a_person(live: Live) -> None:
    live.tell("halt")
    out = live.tell("explain", "QQQ").out
    assert "core/QQQ, mode auto" in out
    assert "HOLDS  trading state" in out
    assert "buys and sells: resume trading" in out


# Completion


def completed(words: str, **env: str) -> list[str]:
    """Complete the last word of a command line as bash does."""
    run = subprocess.run(
        [COMMAND],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            **env,
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            "_MRDAEMON_COMPLETE": "complete_bash",
        },
    )
    assert run.stderr == ""
    return run.stdout.split()


def test_the_shell_completes_from_the_running_daemon(tmp_path: Path) -> None:
    with live_daemon(tmp_path / "state", "approve") as live:
        live.say("price 90 QQQ")
        live.hear("approval_requested")
        at = f"--state {live.state}"
        assert completed(f"mrdaemon explain {at} ") == ["QQQ", "SPY"]
        assert completed(f"mrdaemon pause {at} Q") == ["QQQ"]
        assert completed(f"mrdaemon approve {at} ") == ["core/QQQ/1"]
        assert completed(f"mrdaemon deposit {at} 5 --portfolio ") == ["core"]


def test_the_shell_completes_from_the_journal_where_no_daemon_runs(tmp_path: Path) -> None:
    with live_daemon(tmp_path / "mrdaemon"):
        pass
    assert completed("mrdaemon explain S", XDG_STATE_HOME=str(tmp_path)) == ["SPY"]


def test_where_nothing_is_the_shell_completes_nothing_and_says_nothing(tmp_path: Path) -> None:
    assert completed("mrdaemon explain ", XDG_STATE_HOME=str(tmp_path)) == []
    assert completed(f"mrdaemon explain --state {tmp_path} ") == []


def test_of_two_daemons_the_shell_completes_neithers_symbols(tmp_path: Path) -> None:
    with live_daemon(tmp_path / "mrdaemon"):
        (tmp_path / "mrdaemon" / "other").mkdir()
        with live_daemon(tmp_path / "mrdaemon" / "other"):
            assert completed("mrdaemon halt ", XDG_STATE_HOME=str(tmp_path)) == []


def test_the_completion_script_is_shown_to_the_shell_that_asks() -> None:
    asked = ["bash", "-c", '"$0" --show-completion; true', str(COMMAND)]  # Not as its last command: bash stays there.
    run = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert "_MRDAEMON_COMPLETE=complete_bash" in run.stdout
