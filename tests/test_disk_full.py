"""A disk that fills: no order without what was decided on disk, a clear end, and a start that goes on where it was."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mrdaemon.chain import verify
from mrdaemon.places import JOURNAL
from tests.alpaca_beside import Daemon, at, market
from tests.running import ROOT, Object, Place, child, wait_for

pytestmark = pytest.mark.timeout(60)
PAGE = 4096
SWINGS = (100, 94, 99, 105.5, 100, 93, 100, 106)
ON_A_SMALL_DISK = """
set -eu
mount -t tmpfs -o size=300k tmpfs "$STATE"
"$PYTHON" -W ignore -m mrdaemon run -c "$CONFIG" --state "$STATE" >/dev/null 2>"$STATE.err" && exit 9
mrdaemon() { "$PYTHON" -W ignore -m mrdaemon "$@"; }
mrdaemon doctor -c "$CONFIG" --state "$STATE" --json >"$STATE.doctor" || true
mount -o remount,size=50m tmpfs "$STATE"
mrdaemon run -c "$CONFIG" --state "$STATE" >/dev/null
cp -r "$STATE" "$STATE.kept"
"""


@pytest.mark.parametrize("pages", [20, pytest.param(0, marks=pytest.mark.soak)])
def test_no_order_leaves_that_is_not_on_disk_and_a_start_with_room_goes_on(tmp_path: Path, pages: int) -> None:
    with market(tmp_path) as alpaca:
        it = Daemon(tmp_path, alpaca.url)
        with at(alpaca, 500), it.running("order_ended"):
            pass
        with child(*it.arguments()) as process:
            wait_for(process, "account_reconciled")
            full = (it.state / f"{JOURNAL}-wal").stat().st_size + pages * PAGE
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (full, full))
            with at(alpaca, 440, 500):
                _, said = process.communicate(timeout=50)
        assert process.returncode == 1
        assert "Traceback" not in said
        assert "never retrieved" not in said
        last = said.splitlines()[-1]
        assert last.startswith(f"mrdaemon: {it.state / JOURNAL}: cannot write to the journal: ")
        assert last.endswith(
            "see that its disk has space and is sound, then start again; what was acknowledged is safe"
        )
        intended = {each["order"] for each in it.events("order_intended")}
        assert {each["client_order_id"] for each in alpaca.state()["orders"]} <= intended
        with child(*it.arguments(), stderr=subprocess.DEVNULL) as process:
            wait_for(process, "account_reconciled")
            with at(alpaca, 440, 500):
                wait_for(process, "order_filled")
            while it.status()["positions"][0]["order"] is not None:
                pass
            assert it.status()["positions"][0]["shares"] == alpaca.state()["positions"][0]["qty"]
            assert it.status()["positions"][0]["halted"] is None
        assert it.events("order_unmatched") == []
        assert {each["client_order_id"] for each in alpaca.state()["orders"]} <= {
            each["order"] for each in it.events("order_intended")
        }


def test_a_start_on_a_full_disk_says_so_and_leaves_the_journal_as_it_is(tmp_path: Path) -> None:
    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    place = Place(tmp_path / "place").configure().record(*SWINGS)
    assert place.run().code == 0
    before = place.events()
    with child(*place.arguments(), prepare=fill_the_disk) as process:
        _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "see that its disk has space" in said
    assert place.events() == before
    assert place.record(94, 99).run().code == 0


def test_a_disk_of_a_few_hundred_kilobytes(tmp_path: Path) -> None:
    place, calm = (Place(tmp_path / name).configure().record(*SWINGS * 20) for name in ("place", "calm"))
    place.state.mkdir()
    env = {"STATE": str(place.state), "CONFIG": str(place.config), "PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    who_mounts = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *who_mounts, "--mount", "sh", "-c", ON_A_SMALL_DISK],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said = Path(f"{place.state}.err").read_text()
    assert "what was acknowledged is safe" in said
    assert "Traceback" not in said
    doctor: list[Object] = [json.loads(each) for each in Path(f"{place.state}.doctor").read_text().splitlines()]
    assert [each["verdict"] for each in doctor if each["look"] == "disk"] == ["fail"]
    assert calm.run().code == 0
    place.state = Path(f"{place.state}.kept")
    assert verify(place.state / JOURNAL).events == len(place.events())
    filled = [each["order"] for each in place.of("order_filled")]
    assert filled == [each["order"] for each in calm.of("order_filled")]
