"""Putting the service on a machine and taking it away: every step said, nothing of anybody's overwritten or lost."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import trustme

from mrdaemon import places
from mrdaemon.units import units
from tests.running import Outcome, Place, mrdaemon

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
KEYS = """
key = "PKSIMULATOR"
secret = "a-secret-of-forty-characters-or-some-more"
"""


class Machine:
    """A root directory that an install writes to."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.folder = folder

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def run(self, command: str, *more: str | Path) -> Outcome:
        return mrdaemon(command, "--root", self.root, *more)

    def configuration(self, text: str) -> Path:
        path = self.folder / "mine.toml"
        path.write_text(text)
        return path

    @property
    def files(self) -> set[str]:
        return {f"/{each.relative_to(self.root)}" for each in self.root.rglob("*") if each.is_file()}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the keys from elsewhere, so that the configuration is complete."""
    for name in ("key", "secret"):
        monkeypatch.setenv(f"MRDAEMON_ACCOUNTS__ALPACA__{name.upper()}", "PKSIMULATOR")


def test_a_dry_run_shows_the_units_and_does_nothing(machine: Machine) -> None:
    outcome = machine.run("install", "--dry-run")
    assert outcome.code == 0
    assert "would write" in outcome.out
    assert "    DynamicUser=yes" in outcome.out
    assert "systemctl daemon-reload" in outcome.out
    assert not machine.root.exists()


def test_units_and_folders_are_written_and_each_step_is_said(machine: Machine) -> None:
    outcome = machine.run("install")
    assert outcome.code == 0
    assert machine.files == {"/etc/systemd/system/mrdaemon.service", "/etc/systemd/system/mrdaemon@.service"}
    for path in machine.files:
        assert str(machine.at(path)) in outcome.out
        assert machine.at(path).stat().st_mode & 0o777 == 0o644
    assert machine.at("/etc/mrdaemon").stat().st_mode & 0o777 == 0o755
    assert machine.at("/etc/mrdaemon/mrdaemon.credentials").stat().st_mode & 0o777 == 0o700
    assert "sudo systemctl enable --now mrdaemon.service" in outcome.out
    assert "sudoedit /etc/mrdaemon/mrdaemon.toml" in outcome.out


def test_the_unit_calls_this_very_installation_and_systemd_can_find_it(machine: Machine) -> None:
    machine.run("install")
    unit = machine.at("/etc/systemd/system/mrdaemon.service")
    [start] = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    program = Path(shlex.split(start.removeprefix("ExecStart="))[0])
    assert program.is_absolute()
    assert os.access(program, os.X_OK)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.usefixtures("secrets")
def test_a_configuration_is_put_into_place(machine: Machine) -> None:
    config = machine.configuration(CONFIG)
    outcome = machine.run("install", "--config", config)
    assert outcome.code == 0
    assert machine.at("/etc/mrdaemon/mrdaemon.toml").read_text() == CONFIG
    assert "sudoedit" not in outcome.out


@pytest.mark.usefixtures("secrets")
def test_an_instance_has_a_configuration_keys_and_a_state_of_its_own(machine: Machine) -> None:
    outcome = machine.run("install", "--instance", "paper", "--config", machine.configuration(CONFIG))
    assert outcome.code == 0
    assert machine.at("/etc/mrdaemon/paper.toml").exists()
    assert machine.at("/etc/mrdaemon/paper.credentials").is_dir()
    assert "sudo systemctl enable --now mrdaemon@paper.service" in outcome.out
    assert "/var/lib/mrdaemon-paper" in outcome.out


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "-x", "x.service", "%i"])
def test_an_instance_that_systemd_would_write_otherwise_is_refused(machine: Machine, name: str) -> None:
    outcome = machine.run("install", "--instance", name)
    assert outcome.code == 2
    assert "--instance: wanted" in outcome.err
    assert not machine.root.exists()


def test_a_second_install_changes_nothing_and_says_so(machine: Machine) -> None:
    machine.run("install")
    outcome = machine.run("install")
    assert outcome.code == 0
    assert outcome.out.count("it is up to date") == 2
    assert "write" not in outcome.out


def test_the_unit_of_an_earlier_version_is_replaced(machine: Machine) -> None:
    machine.run("install")
    unit = machine.at("/etc/systemd/system/mrdaemon.service")
    now = unit.read_text()
    unit.write_text(units("/opt/earlier/bin/mrdaemon")[0].text)
    assert "replace" in machine.run("install").out
    assert unit.read_text() == now


def test_a_unit_that_somebody_changed_is_never_overwritten(machine: Machine) -> None:
    machine.run("install")
    unit = machine.at("/etc/systemd/system/mrdaemon.service")
    changed = unit.read_text().replace("RestartSec=10", "RestartSec=99")
    unit.write_text(changed)
    machine.at("/etc/systemd/system/mrdaemon@.service").unlink()
    outcome = machine.run("install")
    assert outcome.code == 1
    assert "was changed by hand" in outcome.err
    assert "-RestartSec=99\n+RestartSec=10" in outcome.err
    assert "systemctl edit mrdaemon.service" in outcome.err
    assert unit.read_text() == changed
    assert not machine.at("/etc/systemd/system/mrdaemon@.service").exists()


@pytest.mark.usefixtures("secrets")
def test_a_configuration_that_is_there_is_never_overwritten(machine: Machine) -> None:
    machine.run("install", "--config", machine.configuration(CONFIG))
    outcome = machine.run("install", "--config", machine.configuration(CONFIG.replace("5000", "9000")))
    assert outcome.code == 1
    assert "is there and differs" in outcome.err
    assert machine.at("/etc/mrdaemon/mrdaemon.toml").read_text() == CONFIG


def test_a_configuration_that_is_wrong_is_refused_before_anything_is_done(machine: Machine) -> None:
    outcome = machine.run("install", "--config", machine.configuration(CONFIG + KEYS.replace("key", "kee")))
    assert outcome.code == 78
    assert not machine.root.exists()


def test_secrets_do_not_go_where_everybody_may_read_them(machine: Machine) -> None:
    config = machine.configuration(CONFIG.replace('broker = "alpaca"\n', f'broker = "alpaca"{KEYS}'))
    outcome = machine.run("install", "--config", config)
    assert outcome.code == 1
    assert "accounts.alpaca.secret: /etc/mrdaemon/mrdaemon.credentials/accounts__alpaca__secret" in outcome.err
    assert "a-secret-of" not in outcome.err + outcome.out
    assert not machine.root.exists()


def test_keys_that_are_missing_are_told_with_where_they_go(machine: Machine) -> None:
    outcome = machine.run("install", "--config", machine.configuration(CONFIG))
    assert outcome.code == 78
    folder = machine.at("/etc/mrdaemon/mrdaemon.credentials")
    assert "accounts.alpaca.secret: wanted Alpaca's" in outcome.err
    assert f"looked for in {folder}, which `mrdaemon install` without --config makes." in outcome.err
    machine.run("install")
    assert f"looked for in {folder}." in machine.run("install", "--config", machine.configuration(CONFIG)).err


def test_a_configuration_finds_its_keys_where_the_service_does(machine: Machine) -> None:
    machine.run("install")
    for name in ("key", "secret"):
        machine.at(f"/etc/mrdaemon/mrdaemon.credentials/accounts__alpaca__{name}").write_text("PKSIMULATOR\n")
    assert machine.run("install", "--config", machine.configuration(CONFIG)).code == 0


def test_recordings_are_wanted_by_their_whole_path(machine: Machine) -> None:
    place = Place(machine.folder / "core").configure().record(100)
    outcome = machine.run("install", "--config", place.config)
    assert outcome.code == 1
    assert "'prices.csv' would not be found from /etc/mrdaemon/mrdaemon.toml" in outcome.err


def with_tls(folder: Path, named: Path) -> str:
    """Give a configuration whose dashboard has a certificate, named by some path to its folder."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(folder / "ours.pem")
    issued.private_key_pem.write_to_path(folder / "ours.key")
    web = '[web]\nlisten = "127.0.0.1:8378"\n'
    return f'{CONFIG}{web}certificate = "{named / "ours.pem"}"\nkey = "{named / "ours.key"}"\n'


@pytest.mark.usefixtures("secrets")
def test_certificates_are_wanted_by_their_whole_path(machine: Machine) -> None:
    config = machine.configuration(with_tls(machine.folder, Path()))
    outcome = machine.run("install", "--config", config)
    assert outcome.code == 1
    assert "web.certificate: 'ours.pem' would not be found from /etc/mrdaemon/mrdaemon.toml" in outcome.err


@pytest.mark.usefixtures("secrets")
def test_the_path_of_a_key_is_no_secret(machine: Machine) -> None:
    config = machine.configuration(with_tls(machine.folder, machine.folder))
    assert machine.run("install", "--config", config).code == 0


def test_a_unit_that_is_no_text_is_one_that_somebody_changed(machine: Machine) -> None:
    unit = machine.at("/etc/systemd/system/mrdaemon.service")
    unit.parent.mkdir(parents=True)
    unit.write_bytes(b"\xff\xfe")
    outcome = machine.run("install")
    assert outcome.code == 1
    assert "was changed by hand" in outcome.err
    assert unit.read_bytes() == b"\xff\xfe"


# Taking it away


def test_units_are_taken_away_and_data_stays(machine: Machine) -> None:
    machine.run("install")
    machine.at("/etc/mrdaemon/mrdaemon.toml").write_text(CONFIG)
    journal = machine.at("/var/lib/mrdaemon/journal.db")
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"facts")
    outcome = machine.run("uninstall")
    assert outcome.code == 0
    assert machine.files == {"/etc/mrdaemon/mrdaemon.toml", "/var/lib/mrdaemon/journal.db"}
    for kept in ("/etc/mrdaemon", "/var/lib/mrdaemon"):
        assert f"  {machine.at(kept)}\n" in outcome.out
    assert "systemctl daemon-reload" in outcome.out


def test_a_dry_run_takes_nothing_away(machine: Machine) -> None:
    machine.run("install")
    before = machine.files
    outcome = machine.run("uninstall", "--dry-run")
    assert "would remove" in outcome.out
    assert machine.files == before


def test_a_changed_unit_is_moved_aside(machine: Machine) -> None:
    machine.run("install")
    unit = machine.at("/etc/systemd/system/mrdaemon.service")
    unit.write_text("[Service]\nExecStart=/mine\n")
    assert machine.run("uninstall").code == 0
    assert not unit.exists()
    assert unit.with_name("mrdaemon.service.changed").read_text() == "[Service]\nExecStart=/mine\n"


def test_a_service_that_systemd_starts_is_disabled_first(machine: Machine) -> None:
    machine.run("install")
    wanted = machine.at("/etc/systemd/system/multi-user.target.wants/mrdaemon@paper.service")
    wanted.parent.mkdir()
    wanted.symlink_to("/etc/systemd/system/mrdaemon@.service")
    before = machine.files
    outcome = machine.run("uninstall")
    assert outcome.code == 1
    assert "systemctl disable --now mrdaemon@paper.service" in outcome.err
    assert machine.files == before


def test_where_nothing_is_installed_that_is_said(machine: Machine) -> None:
    outcome = machine.run("uninstall")
    assert outcome.code == 0
    assert "There are no units of mrdaemon" in outcome.out


# What a service keeps is found


@pytest.mark.parametrize(("config", "state"), [("mrdaemon.toml", "mrdaemon"), ("paper.toml", "mrdaemon-paper")])
def test_the_state_of_a_service_is_found_by_its_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: str, state: str
) -> None:
    monkeypatch.setattr(places, "SERVICE_CONFIGURATIONS", tmp_path / "etc")
    assert places.state_dir(tmp_path / "etc" / config, None, None) == Path("/var/lib") / state
    assert places.state_dir(tmp_path / "home" / config, None, None).parent == places.state_home()


def test_the_states_of_services_are_found_without_being_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(places, "SERVICE_STATES", tmp_path / "lib")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    for name in ("mrdaemon", "mrdaemon-paper", "mrdaemonic", "another"):
        (tmp_path / "lib" / name).mkdir(parents=True)
        (tmp_path / "lib" / name / places.JOURNAL).touch()
    assert {each.name for each in places.states()} == {"mrdaemon", "mrdaemon-paper"}
