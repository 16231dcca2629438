"""A backup: taken while the daemon runs, whole and sound or not there at all, and nothing else is harmed by it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mrdaemon import backup, chain
from mrdaemon.places import BACKUP, BACKUPS, JOURNAL
from tests.live import live_daemon
from tests.running import ROOT, Object, Outcome, Place, child, daemon, mrdaemon

SWINGS = (100, 94, 99, 105.5, 100, 93, 100, 106)
KILLED_BEFORE_IT_HAS_ITS_NAME = """
import os, signal, sys
from mrdaemon import backup
from mrdaemon.cli import main
backup._give_name = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main()
"""


def back_up(state: Path, to: Path) -> Path:
    done = mrdaemon("backup", "--state", state, "--to", to, "--json")
    assert done.code == 0, done.err
    return Path(done.objects[0]["backup"])


def contents(backup: Path) -> Object:
    listed: Object = json.loads((backup / BACKUP).read_text())
    return listed


def trades(place: Place) -> list[tuple[str, str, str]]:
    return [(each["order"], each["amount"], each["shares"]) for each in place.of("order_filled")]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Give a place where a daemon has traded, and ended."""
    place = Place(tmp_path / "place").configure().record(*SWINGS)
    assert place.run().code == 0
    return place


# While it runs


def test_a_running_daemon_is_backed_up_and_goes_on(tmp_path: Path) -> None:
    with live_daemon(tmp_path / "state") as live:
        live.say("price 94 QQQ")
        live.hear("order_filled")
        made = back_up(live.state, tmp_path / "backup")
        live.say("price 94 SPY")
        live.hear("order_filled")
    assert [each["symbol"] for each in mrdaemon("events", "--json", "--state", made).objects if "shares" in each][
        -1
    ] == "QQQ"
    assert mrdaemon("journal", "verify", "--state", made).code == 0


def test_what_is_backed_up_of_a_trading_daemon_stood_so_at_one_moment(tmp_path: Path) -> None:
    """A journal and a book of two moments would end in halted positions, or in other trades."""
    calm, moved = (Place(tmp_path / name).configure().record(*SWINGS * 20) for name in ("calm", "moved"))
    with daemon(moved, stderr=subprocess.DEVNULL):
        backups = [back_up(moved.state, tmp_path / str(number)) for number in range(3)]
    assert calm.run().code == 0
    behind = [each for each in backups if contents(each)["events"] < len(calm.events())]
    assert behind
    shutil.rmtree(moved.state)
    assert mrdaemon("restore", behind[-1], "--state", moved.state).code == 0
    assert moved.tell("resume", "--yes").code == 0
    assert moved.run().code == 0
    assert trades(moved) == trades(calm)
    assert moved.position() == calm.position()


def trades_meanwhile(monkeypatch: pytest.MonkeyPatch, book: Path, often: int) -> None:
    """Let a paper account trade so often after its book was copied, and before the journal is."""
    copy, left = backup._copy_books, iter(range(often))

    def copy_and_trade(books: Mapping[Path, Any], folder: Path) -> None:
        copy(books, folder)
        if next(left, None) is not None:
            with closing(sqlite3.connect(book)) as other, other:
                other.execute("UPDATE account SET cash = cash + 1")

    monkeypatch.setattr(backup, "_copy_books", copy_and_trade)


def test_a_book_that_was_written_meanwhile_is_copied_again(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = place.state / "paper-paper.db"
    trades_meanwhile(monkeypatch, book, 2)
    made = back_up(place.state, tmp_path / "backup")
    with closing(sqlite3.connect(book)) as ours, closing(sqlite3.connect(made / book.name)) as theirs:
        assert (
            theirs.execute("SELECT cash FROM account").fetchone() == ours.execute("SELECT cash FROM account").fetchone()
        )


def test_a_book_that_never_rests_is_told(place: Place, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trades_meanwhile(monkeypatch, place.state / "paper-paper.db", 1000)
    assert "trades too fast to be copied while it runs; stop it first" in failed(place, to).err


# What it is


def test_a_backup_has_everything_but_keys_and_says_what_it_has(place: Place, tmp_path: Path) -> None:
    for secret in ("answers.key", "web-token", "HALT"):
        (place.state / secret).write_text("mine")
    made = back_up(place.state, tmp_path / "backup")
    listed = contents(made)
    assert sorted(each.name for each in made.iterdir()) == [BACKUP, *sorted(listed["files"])]
    assert sorted(listed["files"]) == [JOURNAL, f"{JOURNAL}.head", "paper-paper.db"]
    assert {name: each["bytes"] for name, each in listed["files"].items()} == {
        name: (made / name).stat().st_size for name in listed["files"]
    }
    verified = chain.verify(place.state / JOURNAL)
    assert (listed["events"], listed["head"]) == (verified.events, verified.head)
    assert listed["state"] == str(place.state)


def test_a_backup_is_its_owners_alone(place: Place, tmp_path: Path) -> None:
    made = back_up(place.state, tmp_path / "backup")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in made.iterdir()} == {0o600}


def test_it_says_where_it_is_how_large_and_with_which_hash(place: Place) -> None:
    said = mrdaemon("backup", "--state", place.state)
    (made,) = (place.state / "backups").iterdir()
    assert said.out.startswith(f"{made}: {contents(made)['events']} events, and 1 paper account, 0.")
    assert f"The newest hash is {contents(made)['head']}." in said.out
    assert "copy it to another machine" in said.out


def test_a_backup_can_be_looked_at_and_stays_as_it_is(place: Place, tmp_path: Path) -> None:
    made = back_up(place.state, tmp_path / "backup")
    before = {each.name: each.read_bytes() for each in made.iterdir()}
    assert mrdaemon("events", "--json", "--state", made).objects == place.events()
    assert mrdaemon("status", "--state", made).code == 0
    assert {each.name: each.read_bytes() for each in made.iterdir()} == before


def test_no_daemon_runs_on_a_backup(place: Place, tmp_path: Path) -> None:
    made = back_up(place.state, tmp_path / "backup")
    refused = mrdaemon("run", "-c", place.config, "--state", made)
    assert refused.code == 1
    assert f"{made}: it is a backup" in refused.err
    assert "mrdaemon restore" in refused.err


def test_what_a_killed_daemon_left_in_its_logs_is_in_the_backup(tmp_path: Path) -> None:
    place = Place(tmp_path / "place").configure(speed="1x").record(*SWINGS, apart=3600)
    with daemon(place):
        pass
    assert (place.state / "paper-paper.db-wal").stat().st_size > 0
    made = back_up(place.state, tmp_path / "backup")
    with closing(sqlite3.connect(made / "paper-paper.db")) as book:
        assert book.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    assert mrdaemon("events", "--json", "--state", made).objects == place.events()


# Where it goes


def test_into_a_folder_that_is_there_goes_one_named_after_what_and_when(place: Place, tmp_path: Path) -> None:
    made = back_up(place.state, tmp_path)
    assert made.parent == tmp_path
    assert made.name.startswith("state-20")
    assert made.name.endswith("Z")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda to: to.write_text("mine"), "it is there already, and a backup replaces nothing"),
        (lambda to: to.symlink_to("nowhere"), "it is there already, and a backup replaces nothing"),
        (lambda to: to.parent.rmdir(), "there is no folder"),
    ],
)
def test_a_backup_replaces_nothing(place: Place, tmp_path: Path, make: Callable[[Path], object], problem: str) -> None:
    to = tmp_path / "there" / "backup"
    to.parent.mkdir()
    make(to)
    refused = mrdaemon("backup", "--state", place.state, "--to", to)
    assert refused.code == 1
    assert f"{to}: {problem}" in refused.err


# What goes wrong leaves nothing that looks like a backup


def failed(place: Place, to: Path) -> Outcome:
    refused = mrdaemon("backup", "--state", place.state, "--to", to)
    assert refused.code == 1
    assert list(to.iterdir()) == []
    return refused


@pytest.fixture
def to(tmp_path: Path) -> Path:
    to = tmp_path / "to"
    to.mkdir()
    return to


def test_none_goes_into_another_backup(place: Place, tmp_path: Path) -> None:
    first = back_up(place.state, tmp_path / "first")
    again = mrdaemon("backup", "--state", place.state, "--to", first)
    assert again.code == 1
    assert "it is a backup itself" in again.err
    assert not [each for each in first.iterdir() if each.is_dir()]


def test_a_damaged_journal_is_not_backed_up(place: Place, to: Path) -> None:
    journal = place.state / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'"10000.00"', b'"90000.00"'))
    refused = failed(place, to)
    assert f"{journal}: events 1 to " in refused.err
    assert "are not what was written" in refused.err


def test_a_journal_that_was_cut_off_is_not_backed_up(place: Place, to: Path) -> None:
    chain.head_path(place.state / JOURNAL).write_text(f"{99:020d} {'0' * 64}\n")
    assert "it was cut off" in failed(place, to).err


def test_a_damaged_book_is_not_backed_up(place: Place, to: Path) -> None:
    book = place.state / "paper-paper.db"
    book.write_bytes(book.read_bytes()[:8192] + b"\xff" * 4096 + book.read_bytes()[12288:])
    assert "paper-paper.db" in failed(place, to).err


def test_a_disk_that_is_full_is_told_and_leaves_nothing(place: Place, to: Path) -> None:
    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    with child("backup", "--state", place.state, "--to", to, prepare=fill_the_disk) as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "see that" in errors
    assert list(to.iterdir()) == []


def test_a_backup_does_not_fill_the_disk_that_the_daemon_writes_to(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "SPARE", shutil.disk_usage(place.state).total)
    refused = mrdaemon("backup", "--state", place.state)
    assert refused.code == 1
    assert "must stay free beside the state" in refused.err
    assert list((place.state / BACKUPS).iterdir()) == []


def test_one_that_is_killed_has_no_name(place: Place, to: Path) -> None:
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        KILLED_BEFORE_IT_HAS_ITS_NAME,
        "backup",
        "--state",
        str(place.state),
    ]
    killed = subprocess.run(
        [*command, "--to", str(to / "backup")], cwd=ROOT, check=False, timeout=20, env=dict(os.environ)
    )
    assert killed.returncode == -9
    assert not (to / "backup").exists()
    assert back_up(place.state, to / "backup").is_dir()


def test_without_a_journal_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    refused = mrdaemon("backup", "--state", tmp_path)
    assert refused.code == 1
    assert "there is no journal" in refused.err


def test_of_several_journals_none_is_taken_for_the_one_that_is_meant(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, to = tmp_path / "home" / "mrdaemon", tmp_path / "to"
    to.mkdir()
    for name in ("one", "two"):
        shutil.copytree(place.state, home / name)
    monkeypatch.setenv("XDG_STATE_HOME", str(home.parent))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    refused = mrdaemon("backup", "--to", to)
    assert refused.code == 2
    assert "choose one with --state or --config" in refused.err
    assert list(to.iterdir()) == []
