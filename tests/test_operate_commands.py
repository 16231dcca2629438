"""What the book of operation says to type is typed, as far as it goes on a machine without systemd."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mrdaemon.chain import verify
from mrdaemon.cli import app
from mrdaemon.places import JOURNAL
from tests.running import ROOT, Place, unmeasured

BOOK = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
STUBS = {
    "sudo": 'exec "$@"',
    "mrdaemon": f'exec "{sys.executable}" -W ignore -m mrdaemon "$@"',
    "pip": 'echo "pip $*" >>"$HERE/asked"',
    "systemctl": """
echo "systemctl $*" >>"$HERE/asked"
case "$1" in
start)
    mrdaemon run -c "$HERE/etc/mrdaemon.toml" --state "$HERE/state" >/dev/null 2>>"$HERE/log" &
    echo $! >"$HERE/pid"
    until mrdaemon health --state "$HERE/state" >/dev/null 2>&1; do kill -0 "$(cat "$HERE/pid")"; done ;;
stop)
    kill -TERM "$(cat "$HERE/pid")"
    while kill -0 "$(cat "$HERE/pid")" 2>/dev/null; do :; done ;;
esac
""",
}


class Machine:
    """A machine on which the book is followed: its folders are elsewhere, and systemd is a stand-in."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self.place = Place(here / "etc").configure(speed="1x").record(100, 94, 99, 105.5, 100, 93, apart=3600)
        self.place.config = self.place.config.rename(here / "etc" / "mrdaemon.toml")
        self.place.state = here / "state"
        (here / "etc" / "mrdaemon.credentials").mkdir()
        (here / "bin").mkdir()
        for name, does in STUBS.items():
            stub = here / "bin" / name
            stub.write_text(f"#!/bin/sh\nset -eu\n{does}\n")
            stub.chmod(0o755)

    def type(self, commands: str) -> str:
        """Type commands, as they stand in the book; each must work."""
        elsewhere = {
            "/var/lib/mrdaemon": self.here / "state",
            "/var/backups/mrdaemon": self.here / "backups",
            "/etc/mrdaemon": self.here / "etc",
            "/opt/mrdaemon/bin/": self.here / "bin" / "_",
        }
        for there, here in elsewhere.items():
            commands = commands.replace(there, str(here).removesuffix("_"))
        path = f"{self.here / 'bin'}:{os.environ['PATH']}"
        env = {**unmeasured(), "HERE": str(self.here), "PATH": path, "STATE_DIRECTORY": str(self.here / "state")}
        done = subprocess.run(
            ["sh", "-eux", "-c", commands], env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def asked(self) -> list[str]:
        return (self.here / "asked").read_text().splitlines()

    @property
    def backups(self) -> list[Path]:
        return sorted((self.here / "backups").iterdir())


def typed(heading: str) -> str:
    """Give what a section says to type first."""
    section = BOOK.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    block = re.search(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        machine.type("systemctl start mrdaemon")
        yield machine
    finally:
        with suppress(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_the_book_is_followed_from_a_backup_over_an_upgrade_to_a_restore(machine: Machine) -> None:
    said = machine.type(typed("Back up"))
    (backup,) = machine.backups
    assert f"{backup}: " in said
    assert "verified" in said

    machine.type(typed("Upgrade").replace("--to /var/backups/mrdaemon", "--to /var/backups/mrdaemon/before"))
    assert [each.name for each in machine.backups] == ["before", backup.name]
    assert machine.asked[1:] == [
        "systemctl stop mrdaemon mrdaemon@*",
        "pip install --upgrade .",
        "systemctl start mrdaemon",
    ]
    assert machine.place.kinds().count("daemon_started") == 2

    said = machine.type(typed("Restore").replace("NAME", backup.name))
    assert "trading HALTED" in said
    assert "The journal was restored by" in said
    assert machine.place.kinds().count("daemon_started") == 2, "the second of them after the restore"
    (replaced,) = machine.here.glob("state/replaced-*")
    assert verify(replaced / JOURNAL).events > 0

    machine.type("mrdaemon resume --yes")
    assert machine.place.status()["trading"] == "ACTIVE"


NAMED = re.findall(r"(?:`|^)(?:sudo )?mrdaemon ([a-z]+)", BOOK, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(NAMED)))
def test_every_command_that_the_book_names_exists(command: str) -> None:
    names = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback is not None}
    names |= {str(each.name) for each in app.registered_groups}
    assert command in names
