"""Upgrades: every journal that an earlier mrdaemon wrote is taken on as it is, whenever the upgrade is killed.

``tests/data/journals`` has them, as the code of their time left them; ``make.sh`` there says how they were made.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mrdaemon import chain
from mrdaemon.chain import MIGRATIONS, JournalError
from mrdaemon.core.portfolio import FOLD_VERSION
from mrdaemon.places import JOURNAL
from tests.running import ROOT, Place, mrdaemon

OLD = ROOT / "tests" / "data" / "journals"
NAMES = sorted(each.name for each in OLD.iterdir() if each.is_dir())
SCHEMA_1 = [each for each in NAMES if each.startswith("schema-1-")]
UPGRADE_IS_KILLED = """
import os, signal, sys
from pathlib import Path
from mrdaemon import chain

path, statements, done = Path(sys.argv[1]), chain._statements, int(sys.argv[2])

def counted(script):
    global done
    for statement in statements(script):
        done -= 1
        if done < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        yield statement

chain._statements = counted
chain.make_writable(chain.connect(path, "rw"), durable=True)
"""
STATEMENTS = sum(1 for _ in chain._statements(MIGRATIONS[1]))


@pytest.fixture(params=NAMES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return taken_over(request.param, tmp_path)


def taken_over(name: str, folder: Path) -> Place:
    """Give a copy of an old state, with the configuration and the recording that it came from."""
    place = Place(folder / "place")
    shutil.copyfile(OLD / "core.toml", place.config)
    shutil.copyfile(OLD / "prices.csv", place.recording)
    shutil.copytree(OLD / name, place.state)
    return place


def schema(place: Place) -> int:
    with closing(sqlite3.connect(place.state / JOURNAL)) as connection:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return version


def bodies(place: Place) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(place.state / JOURNAL)) as connection:
        return connection.execute("SELECT seq, body, wall, cursor, hash FROM events ORDER BY seq").fetchall()


def go_on(place: Place) -> None:
    """Add prices to the recording: one that makes the daemon sell."""
    with place.recording.open("a") as file:
        file.write("2020-03-09T15:00:05Z,QQQ,105.5\n2020-03-09T15:00:06Z,QQQ,104\n")
    run = place.run()
    assert run.code == 0, run.err


# Every earlier journal


def test_there_is_a_journal_of_every_earlier_schema_and_fold() -> None:
    versions = [each.split("-") for each in NAMES]
    assert {int(schema) for _, schema, _, _ in versions} == set(range(1, len(MIGRATIONS) + 1))
    assert {int(fold) for _, _, _, fold in versions} >= set(range(1, FOLD_VERSION))


@pytest.mark.parametrize("name", NAMES)
def test_each_is_what_its_name_says(name: str) -> None:
    _, schema_of, _, fold = name.split("-")
    with closing(sqlite3.connect(OLD / name / JOURNAL)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == int(schema_of)
        folds = {each[0] for each in connection.execute("SELECT fold FROM snapshots")}
    assert folds == (set() if fold == "1" else {int(fold)})


def test_an_old_journal_can_be_looked_at_as_it_is(place: Place) -> None:
    before = (place.state / JOURNAL).read_bytes()
    for command in ("status", "events", "backup"):
        assert mrdaemon(command, "--state", place.state).code == 0
    assert mrdaemon("journal", "verify", "--state", place.state).code == 0
    assert mrdaemon("alert", "list", "--state", place.state).code == 0
    assert (place.state / JOURNAL).read_bytes() == before


def test_an_old_journal_goes_on_with_every_fact_in_it(place: Place) -> None:
    before, orders = bodies(place), place.of("order_filled")
    go_on(place)
    after = bodies(place)
    assert after[: len(before)] == before
    assert schema(place) == len(MIGRATIONS)
    assert place.of("order_filled")[: len(orders)] == orders
    (sold,) = place.of("order_filled")[len(orders) :]
    assert (sold["side"], sold["filled"]) == ("trim", "2.606635071")
    assert mrdaemon("journal", "verify", "--state", place.state).code == 0


def test_every_old_journal_comes_to_the_same_as_a_new_one(place: Place, tmp_path: Path) -> None:
    new = Place(tmp_path / "new")
    shutil.copyfile(OLD / "core.toml", new.config)
    shutil.copyfile(OLD / "prices.csv", new.recording)
    assert new.run().code == 0
    go_on(place)
    go_on(new)
    assert place.position() == new.position()
    assert [each["order"] for each in place.of("order_filled")] == [each["order"] for each in new.of("order_filled")]


def test_an_old_backup_is_brought_up_to_date_by_its_restore(place: Place, tmp_path: Path) -> None:
    assert mrdaemon("backup", "--state", place.state, "--to", tmp_path / "backup").code == 0
    assert mrdaemon("restore", tmp_path / "backup", "--state", place.state, "--aside").code == 0
    assert schema(place) == len(MIGRATIONS)
    assert place.tell("resume", "--yes").code == 0
    go_on(place)


# Killed on the way


@pytest.mark.parametrize("name", SCHEMA_1[:1])
@pytest.mark.parametrize("done", range(STATEMENTS))
def test_an_upgrade_that_is_killed_has_not_begun(tmp_path: Path, name: str, done: int) -> None:
    place = taken_over(name, tmp_path)
    before = bodies(place)
    command = [sys.executable, "-c", UPGRADE_IS_KILLED, str(place.state / JOURNAL), str(done)]
    killed = subprocess.run(command, cwd=ROOT, check=False, timeout=20)
    assert killed.returncode == -9
    assert schema(place) == 1
    assert bodies(place) == before
    go_on(place)
    assert schema(place) == len(MIGRATIONS)


# The other way


def newer(place: Place) -> None:
    with closing(sqlite3.connect(place.state / JOURNAL)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")


def test_a_newer_journal_is_refused_and_left_as_it_is(place: Place) -> None:
    newer(place)
    before = (place.state / JOURNAL).read_bytes()
    for command in (place.arguments(), ["status", "--state", place.state], ["backup", "--state", place.state]):
        refused = mrdaemon(*command)
        assert refused.code == 1
        assert f"it was written by a newer mrdaemon (schema {len(MIGRATIONS) + 1}" in refused.err
        assert "install that version or a newer one" in refused.err
    assert (place.state / JOURNAL).read_bytes() == before


def test_an_older_mrdaemon_refuses_what_a_newer_one_has_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = taken_over(SCHEMA_1[0], tmp_path)
    go_on(place)
    monkeypatch.setattr(chain, "MIGRATIONS", MIGRATIONS[:1])
    with pytest.raises(JournalError, match=r"newer mrdaemon \(schema 2, this one knows 1\); install that version"):
        chain.verify(place.state / JOURNAL)


def test_an_event_that_this_mrdaemon_does_not_know_is_told_and_nothing_runs(tmp_path: Path) -> None:
    place = taken_over(NAMES[-1], tmp_path)
    head = chain.read_head(place.state / JOURNAL)
    assert head is not None
    body = '{"kind":"moon_landed","at":0}'
    digest = chain.link(head.hash, head.seq + 1, [body], 0, None)
    with closing(sqlite3.connect(place.state / JOURNAL)) as connection, connection:
        connection.execute("INSERT INTO events VALUES (?, ?, 0, NULL, ?)", (head.seq + 1, body, digest))
    refused = place.run()
    assert refused.code == 1
    assert f"event {head.seq + 1} is what was written, but this mrdaemon cannot read it" in refused.err
    assert "install the version that wrote it, or a newer one" in refused.err
