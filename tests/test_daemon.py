"""The daemon as a process: how it starts, stops, halts and fails, and what the next start makes of it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from mrdaemon.places import HALT, JOURNAL
from tests.running import Place, child, wait_for

STOP_WITHIN = 5.0
SWINGS = (100.0, 110.0, 100.0, 90.0)
"""Prices that trade on nearly every row."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place").configure()


def stop(process: subprocess.Popen[str], number: signal.Signals) -> int:
    """Send a signal, and give the exit code. The output is read, or a full pipe would keep it from ending."""
    process.send_signal(number)
    process.communicate(timeout=STOP_WITHIN)
    return process.returncode


# A clean stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_paced_recording_between_two_rows(place: Place, number: signal.Signals) -> None:
    place.configure(speed="1x").record(100, 101, apart=3600)
    with child(*place.arguments(), measured=True) as process:
        wait_for(process, "order_filled")
        assert stop(process, number) == 0
    assert place.events()[-1]["kind"] == "daemon_stopped"
    assert place.events()[-1]["reason"] == f"{number.name} received"
    assert "feed_ended" not in place.kinds()


def test_sigterm_stops_a_recording_at_full_speed_and_the_next_run_goes_on(place: Place) -> None:
    place.record(*SWINGS * 1500)
    with child(*place.arguments(), measured=True) as process:
        for _ in range(5):
            wait_for(process, "order_filled")
        assert stop(process, signal.SIGTERM) == 0
    assert place.events()[-1]["reason"] == "SIGTERM received"
    assert "feed_ended" not in place.kinds()
    with child(*place.arguments(), measured=True) as process:
        assert wait_for(process, "feed_opened")["cursor"] > 0
        assert stop(process, signal.SIGTERM) == 0


def test_a_second_daemon_on_the_same_state_is_refused(place: Place) -> None:
    place.configure(speed="1x").record(100, 101, apart=3600)
    with child(*place.arguments(), measured=True) as process:
        wait_for(process, "order_filled")
        second = place.run()
        assert second.code == 1
        assert f"(process {process.pid})" in second.err
        assert "stop that one" in second.err
        assert stop(process, signal.SIGTERM) == 0


def test_a_daemon_runs_on_when_nobody_reads_its_output_any_more(place: Place) -> None:
    place.record(*SWINGS * 20)
    with child(*place.arguments(), measured=True) as process:
        wait_for(process, "daemon_started")
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(STOP_WITHIN) == 0
    assert "going on without it" in errors
    assert "Traceback" not in errors
    assert "feed_ended" in place.kinds()


# The HALT file


def halt(place: Place) -> Path:
    place.state.mkdir(exist_ok=True)
    file = place.state / HALT
    file.touch()
    return file


def test_with_a_halt_file_no_order_leaves(place: Place) -> None:
    halt(place)
    assert place.record(100).run().code == 0
    (halted,) = place.of("trading_state_changed")
    assert (halted["state"], halted["by"]) == ("HALTED", "HALT file")
    assert "order_intended" not in place.kinds()
    assert place.of("signal_held")[0]["guard"] == "trading state"


def test_a_halt_survives_the_removal_of_its_file_and_a_restart_until_a_person_resumes(place: Place) -> None:
    file = halt(place)
    place.record(100).run()
    file.unlink()
    assert place.record(100.5).run().code == 0
    assert "order_intended" not in place.kinds()
    assert place.record(101).run("--resume").code == 0
    assert [each["state"] for each in place.of("trading_state_changed")] == ["HALTED", "ACTIVE"]
    assert [each["amount"] for each in place.of("order_filled")] == ["5000.00"]


def test_resume_with_the_halt_file_still_there_halts_again(place: Place) -> None:
    halt(place)
    place.record(100).run()
    place.record(100.5).run("--resume")
    assert [each["state"] for each in place.of("trading_state_changed")] == ["HALTED", "ACTIVE", "HALTED"]
    assert "order_intended" not in place.kinds()


def test_a_halt_file_that_appears_between_two_rows_is_obeyed_before_the_next(place: Place) -> None:
    place.configure(speed="1x").record(100, 110, apart=3600)
    with child(*place.arguments(), measured=True) as process:
        wait_for(process, "order_filled")
        halt(place)
        changed = wait_for(process, "trading_state_changed")
    assert (changed["state"], changed["by"]) == ("HALTED", "HALT file")


# A journal that fails


def trades(place: Place) -> list[tuple[str, str, str]]:
    return [(each["order"], each["amount"], each["shares"]) for each in place.of("order_filled")]


@pytest.mark.parametrize(
    "room", [300_000, pytest.param(150_000, marks=pytest.mark.soak), pytest.param(450_000, marks=pytest.mark.soak)]
)
def test_a_full_disk_ends_it_with_a_message_and_the_next_run_ends_like_an_undisturbed_one(
    tmp_path: Path, room: int
) -> None:
    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    calm, troubled = (Place(tmp_path / name).configure().record(*SWINGS * 60) for name in ("calm", "troubled"))
    with child(*troubled.arguments(), prepare=fill_the_disk) as process:
        _, errors = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "never retrieved" not in errors
    assert "what was acknowledged is safe" in errors
    assert troubled.run().code == 0
    assert calm.run().code == 0
    assert trades(troubled) == trades(calm)
    assert troubled.position() == calm.position()


def test_a_changed_journal_is_refused_and_nothing_runs(place: Place) -> None:
    place.record(100, 110).run()
    journal = place.state / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'"10000.00"', b'"90000.00"'))
    run = place.run()
    assert run.code == 1
    assert "are not what was written" in run.err
    assert "backup" in run.err
    assert run.out == ""


# Recordings that are not as they should be


def test_malformed_rows_are_logged_and_journaled_with_file_and_line_and_counted(place: Place) -> None:
    place.record(100, "cheap", 100.5, -3, 101)
    run = place.run()
    assert run.code == 0
    told = [each["row"] for each in place.of("row_refused")]
    assert [row.split(" ")[0] for row in told] == [f"{place.recording}:3:", f"{place.recording}:5:"]
    assert [json.loads(line)["row"] for line in run.err.splitlines() if "row refused" in line] == told
    (ended,) = place.of("feed_ended")
    assert (ended["delivered"], ended["refused"]) == (3, 2)


def test_malformed_rows_are_shown_to_who_watches(place: Place) -> None:
    place.record(100, "cheap", 100.5)
    assert [each["kind"] for each in place.run().objects].count("row_refused") == 1


def test_a_hundred_malformed_rows_are_told_and_all_are_counted(place: Place) -> None:
    place.record(100, *["cheap"] * 150, 100.5).run()
    assert place.kinds().count("row_refused") == 100
    assert place.of("feed_ended")[0]["refused"] == 150


def test_a_recording_without_a_usable_row_is_a_failure_that_names_it(place: Place) -> None:
    run = place.record("cheap", "dear").run()
    assert run.code == 1
    assert "prices.csv: no usable row (2 refused; first: line 2" in run.err


def test_a_recording_that_lost_rows_since_is_refused(place: Place) -> None:
    place.record(100, 101, 102).run()
    place.recording.write_text("\n".join(place.recording.read_text().splitlines()[:2]) + "\n")
    run = place.run()
    assert run.code == 1
    assert "are not those that were read before; a recording may grow, but not change" in run.err


def test_a_recording_whose_rows_changed_since_is_refused(place: Place) -> None:
    place.record(100, 101, 102).run()
    place.recording.write_text(place.recording.read_text().replace("102", "103"))
    run = place.run()
    assert run.code == 1
    assert "give a new one another name, or name another state directory" in run.err


def test_another_recording_is_read_from_its_first_row(place: Place) -> None:
    place.record(100, 101).run()
    place.recording.unlink()
    place.recording = place.recording.with_name("more.csv")
    place.config.write_text(place.config.read_text().replace("prices.csv", "more.csv"))
    place.record(101.5, 102).run()
    first, second = place.of("feed_opened")
    assert first["fingerprint"] != second["fingerprint"]
    assert second["cursor"] == 0
    assert [each["delivered"] for each in place.of("feed_ended")] == [2, 2]


def test_rows_that_were_added_after_the_end_are_read_by_the_next_run(place: Place) -> None:
    place.record(100, 101).run()
    place.record(102, 110).run()
    assert [each["cursor"] for each in place.of("feed_opened")] == [0, 2]
    assert [each["delivered"] for each in place.of("feed_ended")] == [2, 4]
    assert [each["price"] for each in place.of("signal_raised")] == ["100.0", "110.0"]


def test_a_run_on_a_finished_recording_ends_at_once_and_decides_nothing(place: Place) -> None:
    place.record(100, 110).run()
    before = len(place.events())
    assert place.run().code == 0
    assert place.kinds()[before:] == ["daemon_started", "feed_opened", "account_reconciled", "daemon_stopped"]


# A configuration that changed since


def test_a_new_target_takes_effect_once_and_is_journaled(place: Place) -> None:
    place.record(100, 100.5).run()
    place.configure(target="5500").record(101).run()
    assert place.of("position_configured")[-1]["rules"]["target"] == "5500.00"
    assert place.of("signal_raised")[-1]["amount"] == "450.00"
    assert place.position()["target"] == "5500.00"
    place.record(101.1).run()
    assert place.kinds().count("position_configured") == 2


def test_a_target_that_moves_far_asks_a_person_before_it_trades(place: Place) -> None:
    place.record(100, 100.5).run()
    place.configure(target="50").record(101).run()
    assert place.of("position_armed")[-1]["suspect"] is True
    assert place.of("approval_requested")[0]["side"] == "trim"
    assert place.kinds().count("order_intended") == 1


def test_a_configuration_that_does_not_fit_the_journal_is_a_configuration_error(place: Place) -> None:
    place.record(100).run()
    text = place.config.read_text().replace("accounts.paper", "accounts.other").replace('"paper"\nres', '"other"\nres')
    place.config.write_text(text)
    run = place.run()
    assert run.code == 78
    assert "core" in run.err
    assert "other" in run.err


# Whoever reads its output, or does not


def test_a_reader_that_stops_reading_does_not_stop_the_daemon(place: Place) -> None:
    place.configure().record(*(100 if step % 2 else 90 for step in range(1000)))
    with child(
        *place.arguments(), measured=True
    ) as process:  # Nobody reads the pipe, which is full after some hundred lines.
        assert process.wait(timeout=60) == 0
    assert place.kinds()[-1] == "daemon_stopped"
    assert place.of("feed_ended")[0]["delivered"] == 1000


@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_output_is_no_reason_to_end(place: Place, closed: int) -> None:
    place.configure().record(100, 90, 80)
    with child(*place.arguments(), prepare=lambda: os.close(closed)) as process:
        process.communicate()
        assert process.returncode == 0
    assert len(place.of("order_filled")) == 3


# What a person must look at


def test_a_halt_file_that_is_a_link_to_nowhere_halts_too(place: Place) -> None:
    place.state.mkdir()
    (place.state / "HALT").symlink_to(place.state / "nowhere")
    assert place.record(100).run().code == 0
    assert "order_intended" not in place.kinds()


def test_a_frozen_symbol_trades_again_once_a_person_resumes(place: Place) -> None:
    place.config.write_text(place.config.read_text() + '\n[prices]\nmax_jump = "20%"\n')
    place.record(100, 48).run()
    assert len(place.of("symbol_frozen")) == 1
    place.record(48).run()
    assert [each["amount"] for each in place.of("order_filled")] == ["5000.00"]
    place.record(48).run("--resume")
    assert [each["by"] for each in place.of("symbol_thawed")] == ["operator"]
    assert [each["amount"] for each in place.of("order_filled")] == ["5000.00", "2600.00"]


def test_a_renamed_portfolio_is_refused_while_it_holds_shares(place: Place) -> None:
    place.record(100).run()
    place.config.write_text(place.config.read_text().replace("portfolios.core", "portfolios.heart"))
    outcome = place.record(101).run()
    assert outcome.code == 78
    assert "portfolio heart cannot have QQQ" in outcome.err
    assert len(place.of("reserve_deposited")) == 1
