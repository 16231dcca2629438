"""What the book of operation says to type for an installation is typed on a machine that has nothing of mrdaemon."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.container import Root, tracked
from tests.running import ROOT

BOOK = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
NEEDED = ("pyproject.toml", "README.md", "LICENSE", "mrdaemon/", "requirements/")
STUBS = {"sudo": 'exec "$@"', "systemctl": 'echo "systemctl $*" >>/stubs/asked'}
CONFIG = """
[feed]
kind = "alpaca"
[accounts.alpaca]
broker = "alpaca"
[portfolios.core]
account = "alpaca"
reserve = "1000"
[portfolios.core.positions.QQQ]
target = "5000"
"""
WITHIN = 600.0


class Machine:
    """A clean machine: its own /opt, /etc and /usr/local/bin, and a checkout of mrdaemon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        checkout = self.made("checkout")
        for name in tracked():
            if name.startswith(NEEDED):
                (checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, checkout / name)
        (checkout / "core.toml").write_text(CONFIG)
        for name, does in STUBS.items():
            (stub := self.made("stubs") / name).write_text(f"#!/bin/sh\n{does}\n")
            stub.chmod(0o755)
        base = Path(sys.base_prefix)
        self.root = Root(folder / "root")
        if base != Path("/usr"):  # Python lies where all may read it.
            self.root.shows(Path("/usr/local"), base)
            shutil.copytree(base / "bin", folder / "bin", symlinks=True)
        self.root.keeps(Path("/usr/local/bin"), self.made("bin"))
        for there in ("/opt", "/etc/mrdaemon", "/etc/systemd/system", "/var/lib", "/checkout", "/stubs"):
            self.root.keeps(Path(there), self.made(Path(there).name))
        for kept in Path("/opt").iterdir():  # where a machine may keep wheels
            self.root.shows(kept)

    def made(self, name: str) -> Path:
        (folder := self.folder / name).mkdir(exist_ok=True)
        return folder

    def type(self, command: str, typed: str = "") -> str:
        """Type a command in the checkout; it must work."""
        env = {**os.environ, "PATH": "/stubs:/usr/local/bin:/usr/bin:/bin"}
        done = self.root.run(["sh", "-euc", f"cd /checkout; {command}"], env, WITHIN, typed)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def typed(heading: str) -> list[list[str]]:
    """Give the commands of each block of a section."""
    section = BOOK.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [each.splitlines() for each in re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)]


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_book_is_followed_from_a_checkout_to_a_service_and_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    install, configure, check, *_, take_away = typed("As a systemd service")
    *_, said = [machine.type(command) for command in install]
    assert "/etc/systemd/system/mrdaemon.service" in said
    unit = tmp_path / "system" / "mrdaemon.service"
    assert "ExecStart=/opt/mrdaemon/bin/mrdaemon run " in unit.read_text()

    for command in configure:
        machine.type(command, typed="PKSIMULATOR\n" if "/dev/stdin" in command else "")
    keys = tmp_path / "mrdaemon" / "mrdaemon.credentials"
    assert {each.name: each.stat().st_mode & 0o777 for each in keys.iterdir()} == {
        "accounts__alpaca__key": 0o600,
        "accounts__alpaca__secret": 0o600,
    }
    assert (tmp_path / "mrdaemon" / "mrdaemon.toml").read_text() == CONFIG
    (command,) = check
    assert "mrdaemon.toml: good." in machine.type(command)

    for command in take_away:
        machine.type(command)
    assert not unit.exists()
    assert keys.is_dir()
    assert (tmp_path / "stubs" / "asked").read_text().splitlines() == [
        "systemctl daemon-reload",
        "systemctl enable --now mrdaemon",
        "systemctl status mrdaemon",
        "systemctl disable --now mrdaemon",
        "systemctl daemon-reload",
    ]
