"""Restoring: what is restored is what was backed up, nothing that was there is lost, and no order follows by itself."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from mrdaemon.backup import BackupError
from mrdaemon.core.instant import Instant
from mrdaemon.places import BACKUP, HALT, JOURNAL
from mrdaemon.restoring import Wish, restore
from tests.alpaca_beside import SECRET, Alpaca, Daemon, at, market
from tests.running import ROOT, Object, Place, daemon, mrdaemon, wait_for

pytestmark = pytest.mark.timeout(180)
"""Seconds: a stream that takes the last connection for one that is open still waits for up to fifty."""
SWINGS = (100, 94, 99, 105.5, 100, 93, 100, 106)
KILLED_AT_A_MOVE = """
import os, signal, sys
from pathlib import Path
from mrdaemon.cli import main

moves, rename = int(sys.argv.pop(1)), Path.rename

def counted(path, target):
    global moves
    moves -= 1
    if moves < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)

Path.rename = counted
main()
"""
WHOLE = range(3)
"""A kill before the journal is moved, after its two logs, leaves what was there: it was closed, so they are empty."""
NEITHER = range(3, 8)
"""One before the head, the HALT file, the books and the journal are in place leaves nothing to start on."""


def back_up(state: Path, to: Path) -> Path:
    done = mrdaemon("backup", "--state", state, "--to", to)
    assert done.code == 0, done.err
    return to


def hashes(folder: Path) -> dict[str, str]:
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir() if each.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Give a place where a daemon has traded, and ended."""
    place = Place(tmp_path / "place").configure().record(*SWINGS)
    assert place.run().code == 0
    return place


@pytest.fixture
def backup(place: Place, tmp_path: Path) -> Path:
    return back_up(place.state, tmp_path / "backup")


# In place


def test_everything_is_as_it_was_and_one_fact_says_who_restored_it_from_what(
    place: Place, backup: Path, tmp_path: Path
) -> None:
    before, new = place.events(), tmp_path / "new"
    restored = mrdaemon("restore", backup, "--state", new, env={"SUDO_USER": "anna"})
    assert restored.code == 0
    *events, fact = mrdaemon("events", "--json", "--state", new).objects
    assert events == before
    made = json.loads((backup / BACKUP).read_text())["made"]
    assert (fact["kind"], fact["by"], fact["backup"]) == ("journal_restored", "anna", str(backup))
    assert (fact["made"], fact["upto"]) == (made, len(before))
    assert fact["at"] == before[-1]["at"], "a recording's time goes on where it was"
    assert mrdaemon("journal", "verify", "--state", new).code == 0


def test_a_backup_can_be_restored_again_and_again(place: Place, backup: Path, tmp_path: Path) -> None:
    before = hashes(backup)
    for name in ("one", "two"):
        assert mrdaemon("restore", backup, "--state", tmp_path / name).code == 0
    assert hashes(backup) == before


def test_trading_is_halted_until_a_person_says(place: Place, backup: Path) -> None:
    assert mrdaemon("restore", backup, "--state", place.state, "--aside").code == 0
    place.record(94, 99)
    assert place.run().code == 0
    (halted,) = [each for each in place.of("trading_state_changed") if each["state"] == "HALTED"]
    assert halted["by"] == "HALT file"
    assert halted["why"].startswith("restored from backup, made 20")
    assert "mrdaemon resume" in halted["why"]


def test_it_says_what_to_do_next(place: Place, backup: Path, tmp_path: Path) -> None:
    said = mrdaemon("restore", backup, "--state", tmp_path / "new").out
    assert said.index("start the daemon") < said.index("mrdaemon status") < said.index("mrdaemon resume")
    assert "targets, deposits, withdrawals, fills by hand" in said


def test_what_is_there_is_moved_aside_only_if_that_is_wanted_and_stays_whole(place: Place, backup: Path) -> None:
    place.record(94, 99, 105.5).run()
    (place.state / "web-token").write_text("mine")
    events = place.events()
    before = hashes(place.state)
    refused = mrdaemon("restore", backup, "--state", place.state)
    assert refused.code == 1
    assert "--aside" in refused.err
    assert hashes(place.state) == before
    moved = mrdaemon("restore", backup, "--state", place.state, "--aside", "--json").objects[0]["aside"]
    assert mrdaemon("events", "--json", "--state", moved).objects == events
    assert mrdaemon("journal", "verify", "--state", moved).code == 0
    assert (place.state / "web-token").read_text() == "mine"
    assert len(place.events()) < len(events)


def test_what_is_aside_is_not_taken_for_a_daemons_state(place: Place, backup: Path) -> None:
    assert mrdaemon("restore", backup, "--state", place.state, "--aside").code == 0
    shown = mrdaemon("events", "--json", env={"STATE_DIRECTORY": str(place.state)})
    assert shown.objects == place.events()
    assert shown.err == ""


def test_two_restores_within_a_second_keep_both(place: Place, backup: Path) -> None:
    wish = Wish(backup, place.state, "me", Instant(0), aside=True)
    first, second = (restore(wish).aside for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.name, second.name) == ("replaced-19700101T000000Z", "replaced-19700101T000000Z-2")


def test_a_restored_file_belongs_to_who_owns_the_directory(place: Place, backup: Path, tmp_path: Path) -> None:
    owner = 12345 if os.geteuid() == 0 else os.geteuid()
    new = tmp_path / "new"
    new.mkdir()
    os.chown(new, owner, -1)
    assert mrdaemon("restore", backup, "--state", new).code == 0
    assert {each.name for each in new.iterdir()} == {
        JOURNAL,
        f"{JOURNAL}.head",
        f"{JOURNAL}.lock",
        "paper-paper.db",
        HALT,
    }
    assert {each.stat().st_uid for each in new.iterdir()} == {owner}


def test_a_damaged_journal_gives_way_to_a_sound_one(place: Place, backup: Path) -> None:
    (place.state / JOURNAL).write_bytes(b"rubbish")
    assert place.run().code == 1
    assert mrdaemon("restore", backup, "--state", place.state, "--aside").code == 0
    assert mrdaemon("journal", "verify", "--state", place.state).code == 0


def test_nothing_is_restored_under_a_running_daemon(tmp_path: Path) -> None:
    place = Place(tmp_path / "place").configure(speed="1x").record(*SWINGS, apart=3600)
    with daemon(place) as running:
        made = back_up(place.state, tmp_path / "backup")
        refused = mrdaemon("restore", made, "--state", place.state, "--aside")
        assert running.poll() is None
    assert refused.code == 1
    assert f"another mrdaemon (process {running.pid}) uses it" in refused.err


# Killed on the way


def killed_at(moves: int, place: Place, backup: Path) -> None:
    mrdaemon("events", "--state", place.state)  # Leaves two logs beside the journal, for the first moves.
    command = [sys.executable, "-W", "ignore", "-c", KILLED_AT_A_MOVE, str(moves), "restore", str(backup)]
    killed = subprocess.run([*command, "--state", str(place.state), "--aside"], cwd=ROOT, check=False, timeout=20)
    assert killed.returncode == -signal.SIGKILL


def can_be_given_again(place: Place, backup: Path) -> bool:
    assert mrdaemon("restore", backup, "--state", place.state, "--aside").code == 0
    assert mrdaemon("journal", "verify", "--state", place.state).code == 0
    assert not list(place.state.glob(".restoring-*"))
    return place.kinds()[-1] == "journal_restored"


@pytest.mark.parametrize("moves", WHOLE)
def test_one_that_is_killed_early_leaves_what_was_there(place: Place, backup: Path, moves: int) -> None:
    before = place.events()
    killed_at(moves, place, backup)
    assert place.events() == before
    assert place.run().code == 0
    assert can_be_given_again(place, backup)


@pytest.mark.parametrize("moves", NEITHER)
def test_one_that_is_killed_leaves_nothing_to_start_on(place: Place, backup: Path, moves: int) -> None:
    killed_at(moves, place, backup)
    run = place.run()
    assert (run.code, run.out) == (1, "")
    assert "restore" in run.err
    assert can_be_given_again(place, backup)


# What is no backup, or none any more


def listed(backup: Path, change: Callable[[Object], object]) -> None:
    contents = json.loads((backup / BACKUP).read_text())
    change(contents)
    (backup / BACKUP).write_text(json.dumps(contents))


def forge(backup: Path) -> None:
    """Change a fact, and the list with it."""
    journal = backup / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'"10000.00"', b'"90000.00"'))
    listed(backup, lambda it: it["files"][JOURNAL].update(sha256=hashlib.sha256(journal.read_bytes()).hexdigest()))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda it: (it / BACKUP).unlink(), "it is not a backup of mrdaemon: there is no backup.json in it"),
        (lambda it: (it / BACKUP).write_text("{"), "backup.json: it cannot be read"),
        (lambda it: listed(it, lambda c: c.update(form=2)), "it is of form 2, and this mrdaemon reads form 1"),
        (lambda it: (it / JOURNAL).unlink(), "journal.db is missing; use another backup"),
        (lambda it: (it / "paper-paper.db").write_bytes(b"x"), "paper-paper.db: it is not what was backed up"),
        (lambda it: listed(it, lambda c: c["files"].pop(JOURNAL)), "there is no journal in it"),
        (lambda it: listed(it, lambda c: c["files"].pop(f"{JOURNAL}.head")), "there is no journal in it"),
        (lambda it: listed(it, lambda c: c.update(head="00")), "its list says 00"),
        (forge, "are not what was written: their hash differs"),
        (
            lambda it: listed(it, lambda c: c["files"].update({"../../x": {"bytes": 1, "sha256": "0"}})),
            "its list names '../../x', which is in no backup",
        ),
        (
            lambda it: listed(it, lambda c: c["files"].update({"web-token": {"bytes": 1, "sha256": "0"}})),
            "its list names 'web-token', which is in no backup",
        ),
    ],
)
def test_what_is_not_what_was_backed_up_is_refused_and_changes_nothing(
    place: Place, backup: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    spoil(backup)
    before = hashes(place.state)
    refused = mrdaemon("restore", backup, "--state", place.state, "--aside")
    assert refused.code == 1
    assert problem in refused.err
    assert str(backup) in refused.err
    assert hashes(place.state) == before
    assert [each for each in place.state.iterdir() if each.is_dir()] == []


def test_a_backup_is_not_restored_into_a_backup(backup: Path) -> None:
    refused = mrdaemon("restore", backup, "--state", backup, "--aside")
    assert refused.code == 1
    assert "it is a backup itself" in refused.err


def test_a_journal_that_is_a_link_is_not_replaced_where_it_leads(place: Place, backup: Path, tmp_path: Path) -> None:
    (place.state / JOURNAL).rename(tmp_path / "far.db")
    (place.state / JOURNAL).symlink_to(tmp_path / "far.db")
    with pytest.raises(BackupError, match="it is a link"):
        restore(Wish(backup, place.state, "me", Instant(0), aside=True))


# An old backup, while the broker moved on


class Account:
    """A local Alpaca, a daemon on it that holds QQQ, and a backup of that daemon from before."""

    def __init__(self, folder: Path, alpaca: Alpaca) -> None:
        self.alpaca = alpaca
        self.daemon = Daemon(folder, alpaca.url)
        with at(alpaca, 500), self.daemon.running("order_ended"):
            pass
        self.backup = back_up(self.daemon.state, folder / "backup")

    def fall(self) -> None:
        """Let the price fall, and the daemon buy what the backup does not know."""
        with at(self.alpaca, 450), self.daemon.running("order_ended"):
            pass

    def lost_order(self, number: int, **order: str) -> None:
        """Let the broker have an order of ours that the backup does not know."""
        wish = {"symbol": "QQQ", "time_in_force": "day", "client_order_id": f"mrd-core-QQQ-{number}-1-lost", **order}
        keys = {"APCA-API-KEY-ID": "PKSIMULATOR", "APCA-API-SECRET-KEY": SECRET}
        asked = Request(f"{self.alpaca.url}/v2/orders", json.dumps(wish).encode(), keys, method="POST")  # noqa: S310
        with urlopen(asked, timeout=10) as answer:  # noqa: S310 - loopback
            assert answer.status == 200

    def until_filled(self, number: int) -> None:
        """Wait until the broker has filled such an order."""
        name = f"mrd-core-QQQ-{number}-1-lost"
        with at(self.alpaca, 500):
            while ("filled", name) not in {(each["status"], each["client_order_id"]) for each in self.orders()}:
                pass

    def restore(self) -> None:
        assert mrdaemon("restore", self.backup, "--state", self.daemon.state, "--aside").code == 0

    def copy_by_hand(self) -> None:
        """Put journal and head back as somebody may who does not know the command: nobody halts then."""
        shutil.rmtree(self.daemon.state)
        self.daemon.state.mkdir()
        for name in (JOURNAL, f"{JOURNAL}.head"):
            shutil.copyfile(self.backup / name, self.daemon.state / name)

    def tell(self, command: str, *arguments: str) -> None:
        done = mrdaemon(command, "--state", self.daemon.state, *arguments)
        assert done.code == 0, done.err

    def orders(self) -> list[Object]:
        orders: list[Object] = self.alpaca.state()["orders"]
        return orders

    def names(self) -> list[str]:
        return [each["client_order_id"] for each in self.orders()]

    def position(self) -> Object:
        position: Object = self.daemon.status()["positions"][0]
        return position

    def until_seen(self, price: float) -> None:
        """Wait until the daemon has seen a price."""
        while float(self.position()["price"] or 0) != price:
            pass

    def theirs(self) -> str:
        shares: str = self.alpaca.state()["positions"][0]["qty"]
        return shares


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with market(tmp_path) as alpaca:
        yield Account(tmp_path, alpaca)


def test_what_was_bought_since_is_not_bought_again(account: Account) -> None:
    account.fall()
    account.copy_by_hand()
    before = account.names()
    with at(account.alpaca, 440), account.daemon.running("position_halted"):
        (halted,) = account.daemon.events("position_halted")
        assert "no intent explains it" in halted["reason"]
        account.until_seen(440)
    assert account.names() == before


def test_a_restored_journal_is_put_right_by_a_person_and_goes_on(account: Account) -> None:
    account.fall()
    account.restore()
    lost = account.orders()[-1]
    with account.daemon.running("position_halted") as process:
        assert account.daemon.status()["trading"] == "HALTED"
        account.tell("fill", "QQQ", "buy", lost["filled_qty"], lost["filled_avg_price"], "--why", "lost", "--yes")
        account.tell("resume", "--yes")
        account.tell("resume", "QQQ", "--yes")
        account.tell("reconcile")
        assert account.position()["shares"] == account.theirs()
        assert account.position()["halted"] is None
        with at(account.alpaca, 400):
            wait_for(process, "order_ended")
    assert len(account.orders()) == 3


def test_an_order_that_is_open_still_is_not_sent_a_second_time(account: Account) -> None:
    account.lost_order(2, side="buy", type="limit", limit_price="1", qty="1")
    account.copy_by_hand()
    before = account.names()
    with at(account.alpaca, 440), account.daemon.running("position_halted"):
        assert account.position()["shares"] == account.theirs(), "that shares agree does not tell"
        assert "is open at the broker" in account.daemon.events("position_halted")[0]["reason"]
        account.until_seen(440)
    assert account.names() == before


@pytest.mark.soak
def test_what_was_bought_and_sold_since_shows_although_the_shares_agree(account: Account) -> None:
    for number, side in ((2, "buy"), (3, "sell")):
        account.lost_order(number, side=side, type="market", qty="1")
        account.until_filled(number)
    account.copy_by_hand()
    with account.daemon.running("position_halted"):
        assert account.position()["shares"] == account.theirs()


@pytest.mark.soak
def test_an_order_that_the_backup_knows_is_looked_up_and_not_sent_again(tmp_path: Path) -> None:
    with market(tmp_path) as alpaca:
        alpaca.tell("faults", name="slow_answer", method="POST", seconds=30)
        alpaca.tell("faults", name="delay", stream="updates", seconds=30)
        daemon = Daemon(tmp_path, alpaca.url)
        with at(alpaca, 500):
            with daemon.running("order_intended"):
                backup = back_up(daemon.state, tmp_path / "backup")
                while not alpaca.state()["positions"]:
                    pass
            assert mrdaemon("restore", backup, "--state", daemon.state, "--aside").code == 0
            with daemon.running("order_ended"):
                (position,) = daemon.status()["positions"]
                assert position["shares"] == alpaca.state()["positions"][0]["qty"]
                assert position["halted"] is None
        assert len(alpaca.state()["orders"]) == 1


def test_where_the_broker_agrees_a_resume_is_all_that_is_wanted(account: Account) -> None:
    account.restore()
    with account.daemon.running("account_reconciled") as process:
        account.tell("resume", "--yes")
        with at(account.alpaca, 440):
            wait_for(process, "order_ended")
    assert account.daemon.events("position_halted") == []
