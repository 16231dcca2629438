"""The doctor: each thing that can be wrong is found, with what to do, and nothing keeps the rest from it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mrdaemon import doctorthere, kernelclock
from mrdaemon.config import read
from mrdaemon.core.instant import DAY, SECOND, Instant
from mrdaemon.doctor import Diagnosis, Finding, Look, Verdict, aside, examine, ok
from mrdaemon.doctorhere import clock, disk, sessions
from mrdaemon.places import HALT, JOURNAL
from tests.alpaca_beside import SECRET, Alpaca, Daemon
from tests.alpaca_beside import simulator as simulated
from tests.alpaca_support import unbound
from tests.mosquitto import mosquitto
from tests.running import Object, Place, daemon, mrdaemon

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


class Examined(NamedTuple):
    """What the doctor said."""

    code: int
    found: list[Object]

    def of(self, look: str) -> list[tuple[str, str, str]]:
        return [(each["verdict"], each["text"], each["do"]) for each in self.found if each["look"] == look]

    @property
    def worst(self) -> dict[str, str]:
        ranks = ["ok", "warn", "fail"]
        found: dict[str, str] = {}
        for each in self.found:
            found[each["look"]] = max(found.get(each["look"], "ok"), each["verdict"], key=ranks.index)
        return found


def examined(config: Path, state: Path, env: dict[str, str] | None = None) -> Examined:
    done = mrdaemon("doctor", "-c", config, "--state", state, "--json", env=env)
    assert SECRET not in done.out + done.err
    return Examined(done.code, done.objects)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "place").configure().record(100, 94, 99)
    assert place.run().code == 0
    return place


def look(place: Place, env: dict[str, str] | None = None) -> Examined:
    return examined(place.config, place.state, env)


# All of it


def test_where_all_is_well_it_says_so_of_everything_and_ends_with_0(place: Place) -> None:
    done = look(place)
    assert done.code == 0
    assert set(done.worst.values()) == {"ok"}
    assert list(done.worst) == [
        "configuration",
        "secrets",
        "state directory",
        "disk",
        "journal",
        "service",
        "sessions",
        "feed",
    ]


def test_a_person_reads_each_with_what_to_do_and_a_sum(place: Place) -> None:
    (place.state / HALT).touch()
    said = mrdaemon("doctor", "-c", place.config, "--state", place.state).out.splitlines()
    (at,) = [number for number, text in enumerate(said) if text.startswith("warn")]
    assert said[at].split(maxsplit=3)[1:3] == ["state", "directory"]
    assert said[at + 1].strip() == "-> find out who put it there, and why; then mrdaemon resume"
    assert said[-1] == "0 failed, 1 to look at, 7 as they should be."


def test_a_warning_ends_with_0_and_a_failure_with_1(place: Place) -> None:
    (place.state / HALT).touch()
    assert look(place).code == 0
    (place.state / JOURNAL).write_bytes(b"rubbish")
    assert look(place).code == 1


def test_before_the_first_start_nothing_is_missing(tmp_path: Path) -> None:
    place = Place(tmp_path / "place").configure().record(100)
    done = look(place)
    assert done.code == 0
    assert done.of("state directory") == [("ok", f"{place.state}: the first start makes it", "")]
    assert not place.state.exists()


def test_it_changes_nothing(place: Place) -> None:
    before = {each.name: each.read_bytes() for each in place.state.iterdir()}
    look(place)
    after = {each.name: each.read_bytes() for each in place.state.iterdir()}
    assert {name: after[name] for name in before} == before


# The configuration and its secrets


def test_a_configuration_that_is_wrong_is_told_and_the_state_is_looked_at_all_the_same(place: Place) -> None:
    place.config.write_text(place.config.read_text().replace('zone = "5%"', 'zone = "five"').replace("auto", "car"))
    done = look(place)
    assert done.code == 1
    assert [verdict for verdict, _, _ in done.of("configuration")] == ["fail", "fail"]
    assert done.worst["journal"] == "ok"


def test_a_configuration_that_does_not_fit_the_journal_is_told(place: Place) -> None:
    place.config.write_text(
        place.config.read_text()
        .replace("[accounts.paper]", "[accounts.other]")
        .replace('account = "paper"', 'account = "other"')
    )
    assert look(place).worst["configuration"] == "fail"


def test_what_the_next_start_would_change_is_told(place: Place) -> None:
    place.configure(target="6000")
    ((_, text, do),) = [each for each in look(place).of("configuration") if each[0] == "warn"]
    assert "it differs from the journal in 1" in text
    assert "mrdaemon check" in do


@pytest.mark.parametrize(("mode", "verdict"), [(0o644, "warn"), (0o640, "warn"), (0o600, "ok")])
def test_a_configuration_with_secrets_in_it_is_nobody_elses(tmp_path: Path, mode: int, verdict: str) -> None:
    alpaca = Daemon(tmp_path, unbound())
    alpaca.config.chmod(mode)
    done = examined(alpaca.config, alpaca.state)
    assert done.worst["secrets"] == verdict
    assert all("chmod 600" in do for told, _, do in done.of("secrets") if told == "warn")


def test_secrets_in_files_are_nobody_elses(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secrets" / "portfolios__core__reserve"
    secret.parent.mkdir()
    secret.write_text("10000")
    secret.chmod(0o640)
    env = {"MRDAEMON_SECRETS_DIR": str(secret.parent)}
    assert look(place, env).of("secrets")[0] == (
        "warn",
        f"{secret}: others may read it (mode 0640)",
        f"chmod 600 {secret}",
    )
    secret.chmod(0o400)
    assert look(place, env).worst["secrets"] == "ok"


@pytest.mark.parametrize("name", ["answers.key", "web-token"])
def test_what_the_daemon_keeps_to_itself_is_nobody_elses(place: Place, name: str) -> None:
    (place.state / name).write_text("x")
    (place.state / name).chmod(0o644)
    ((verdict, text, do),) = look(place).of("secrets")
    assert verdict == "fail"
    assert "a start refuses it" in text
    assert do.startswith(f"rm {place.state / name}")


# State, disk, journal


def test_a_state_directory_that_others_may_look_into_is_told(place: Place) -> None:
    place.state.chmod(0o755)
    assert look(place).of("state directory")[0][2] == f"chmod 700 {place.state}"


def test_a_backup_is_no_state_directory(place: Place, tmp_path: Path) -> None:
    assert mrdaemon("backup", "--state", place.state, "--to", tmp_path / "backup").code == 0
    ((verdict, _, do),) = examined(place.config, tmp_path / "backup").of("state directory")
    assert (verdict, do.split(" --state")[0]) == ("fail", f"mrdaemon restore {tmp_path / 'backup'}")


@pytest.mark.parametrize(
    ("free", "verdict"), [(5_000_000_000, OK), (999_000_000, WARN), (100_000_000, WARN), (99_000_000, FAIL)]
)
def test_a_disk_that_fills_is_told_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict
) -> None:
    usage = shutil._ntuple_diskusage(10_000_000_000, 10_000_000_000 - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    (found,) = disk(tmp_path / "not" / "there")
    assert found.verdict is verdict
    assert f"{free // 1_000_000:,} MB of 10,000 MB are free at {tmp_path}" in found.text


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda state: (state / JOURNAL).write_bytes(b"rubbish"), "file is not a database"),
        (lambda state: (state / JOURNAL).unlink(), "it is gone, and its head journal.db.head is there"),
        (lambda state: (state / f"{JOURNAL}.head").unlink(), "its head journal.db.head is missing"),
        (lambda state: (state / f"{JOURNAL}.head").write_text(f"{999:020d} {'0' * 64}\n"), "it was cut off"),
    ],
)
def test_a_journal_that_cannot_be_used_is_told(place: Place, spoil: Callable[[Path], object], problem: str) -> None:
    spoil(place.state)
    ((verdict, text, do),) = look(place).of("journal")
    assert verdict == "fail"
    assert problem in text
    assert "mrdaemon restore" in do


def test_a_calendar_that_ends_is_told() -> None:
    assert sessions(Instant(time.time_ns()))[0].verdict is OK
    (found,) = sessions(Instant(time.time_ns() + 400 * 365 * DAY))
    assert (found.verdict, found.do.split(":")[0]) == (FAIL, "upgrade mrdaemon")


@pytest.mark.parametrize(
    ("error", "verdict", "words"),
    [
        (SECOND // 20, OK, "to within 0.05 s"),
        (16 * SECOND - 1, OK, "kept synchronized"),
        (16 * SECOND, WARN, "nothing keeps this machine's clock synchronized"),
        (None, WARN, "it was compared with nothing"),
    ],
)
def test_a_clock_that_nothing_keeps_right_is_told(error: int | None, verdict: Verdict, words: str) -> None:
    (found,) = clock(error)
    assert found.verdict is verdict
    assert words in found.text
    assert ("timedatectl" in found.do) is (verdict is WARN)


def test_the_kernel_says_by_how_much_the_clock_may_be_off() -> None:
    error = kernelclock.max_error()
    assert error is None or 0 <= error <= kernelclock.UNKNOWN


def test_the_kernel_is_asked_where_prices_are_live_and_no_broker_has_a_clock(tmp_path: Path) -> None:
    place = Place(tmp_path / "place").configure().record(100)
    live = place.config.read_text().replace('kind = "file"\nfiles = ["prices.csv"]\nspeed = "max"', 'kind = "mqtt"')
    place.config.write_text(f'{live}[mqtt]\nhost = "127.0.0.1"\nport = 1\n')
    ((verdict, text, _),) = look(place).of("clock")
    (found,) = clock(kernelclock.max_error())
    assert verdict == found.verdict
    assert text.split(",")[0] == found.text.split(",")[0]


# The service


def test_a_daemon_that_runs_and_one_that_hangs_are_told_apart(tmp_path: Path) -> None:
    place = Place(tmp_path / "place").configure(speed="1x").record(100, 94, apart=3600)
    with daemon(place) as running:
        ((verdict, text, _),) = look(place).of("service")
        assert (verdict, text.split(":")[0]) == ("ok", "it runs")
        running.send_signal(signal.SIGSTOP)
        ((verdict, text, do),) = look(place).of("service")
        assert verdict == "fail"
        assert "has not answered for 5 s" in text
        assert do.startswith("mrdaemon halt works all the same")
        running.send_signal(signal.SIGCONT)


def test_what_the_daemon_itself_finds_wrong_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path / "place").configure(speed="1x").record(100, 94, apart=3600)
    with daemon(place):
        assert place.tell("halt", "--why", "drill", "--yes").code == 0
        (found,) = look(place).of("service")
        assert found[0] == "warn"
        assert "HALTED" in found[1]


# Elsewhere


@pytest.fixture
def alpaca() -> Iterator[Alpaca]:
    with simulated() as running:
        yield running


def test_keys_clock_cash_and_prices_are_looked_at(tmp_path: Path, alpaca: Alpaca) -> None:
    local = Daemon(tmp_path, alpaca.url)
    done = examined(local.config, local.state)
    assert done.worst | {"secrets": "ok"} == dict.fromkeys(done.worst, "ok")
    assert "clock" not in done.worst, "it is compared with the account's"
    (agreed, cash) = done.of("account alpaca")
    assert "it takes the keys; its clock and this machine's agree within 2 s" in agreed[1]
    assert cash[1] == "$100,000.00 in cash, 0 symbols held"
    assert re.fullmatch("alpaca iex: it has prices of 1 symbol; the oldest is [0-9]+ s old", done.of("feed")[0][1])
    assert alpaca.requests("POST") == []
    assert alpaca.state()["connections"] == []


def test_keys_that_are_refused_are_told_with_what_to_do(tmp_path: Path, alpaca: Alpaca) -> None:
    local = Daemon(tmp_path, alpaca.url, secret="wrong")
    done = examined(local.config, local.state)
    assert done.code == 1
    for each in ("account alpaca", "feed"):
        ((verdict, text, do),) = done.of(each)
        assert verdict == "fail"
        assert "wrong" not in text
        assert do.startswith("see that key and secret are of one login")


def test_a_clock_that_is_wrong_is_told(tmp_path: Path, alpaca: Alpaca) -> None:
    alpaca.tell("faults", name="clock_skew", seconds=10)
    local = Daemon(tmp_path, alpaca.url)
    (verdict, text, do), *_ = examined(local.config, local.state).of("account alpaca")
    assert verdict == "fail"
    assert "this machine's differs by" in text
    assert "timedatectl" in do


def test_no_network_is_told(tmp_path: Path) -> None:
    local = Daemon(tmp_path, unbound())
    done = examined(local.config, local.state)
    assert done.code == 1
    assert [each[2].split(":")[0] for each in (*done.of("account alpaca"), *done.of("feed"))] == [
        doctorthere.NETWORK.split(":")[0]
    ] * 2


CHANNELS = """
[mqtt]
host = "127.0.0.1"
port = {mqtt}
user = "mrdaemon"
password = "{password}"
[channels.house]
kind = "mqtt"
[channels.phone]
kind = "push"
urls = ["ntfy://127.0.0.1:{ntfy}/topic", "pover://user@token"]
"""


async def channels(place: Place, mqtt: int, ntfy: int, password: str) -> list[Diagnosis]:
    text = place.configure().config.read_text()
    place.config.write_text(text + CHANNELS.format(mqtt=mqtt, ntfy=ntfy, password=password))
    found = await examine(list(doctorthere.looks(read(place.config))))
    return [each for each in found if each.look != "feed"]


async def test_channels_are_reached_and_nothing_is_sent(place: Place, tmp_path: Path) -> None:
    async with mosquitto(tmp_path, users={"mrdaemon": "right"}) as broker:
        heard: list[bytes] = []

        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read())
            writer.close()

        async with await asyncio.start_server(hear, "127.0.0.1", 0) as ntfy:
            found = await channels(place, broker.port, ntfy.sockets[0].getsockname()[1], "right")
    assert [(each.look, each.verdict) for each in found] == [
        ("mqtt", OK),
        ("channel phone.1", OK),
        ("channel phone.2", OK),
    ]
    assert heard == [b""]


async def test_channels_that_cannot_be_reached_or_refuse_us_are_told(place: Place, tmp_path: Path) -> None:
    async with mosquitto(tmp_path, users={"mrdaemon": "right"}) as broker:
        found = await channels(place, broker.port, 1, "wrong")
    assert [(each.look, each.verdict) for each in found] == [
        ("mqtt", FAIL),
        ("channel phone.1", FAIL),
        ("channel phone.2", OK),
    ]
    assert "user, password" in found[0].do
    assert found[1].text.endswith("port 1 cannot be reached: connection refused")


# Whatever breaks


async def test_one_that_breaks_and_one_that_hangs_keep_nothing_else_from_being_looked_at() -> None:
    async def breaks() -> list[Finding]:
        raise ZeroDivisionError("nobody thought of it")

    async def hangs() -> list[Finding]:
        waits: asyncio.Future[list[Finding]] = asyncio.get_running_loop().create_future()
        return await waits

    looks = [Look("one", breaks), Look("two", hangs, 0.05), Look("three", lambda: aside(lambda: [ok("fine")]))]
    found = await examine(looks)
    assert [(each.look, each.verdict) for each in found] == [("one", FAIL), ("two", FAIL), ("three", OK)]
    assert found[0].text == "it could not be looked at: ZeroDivisionError: nobody thought of it"
    assert found[1].text == "there was no answer within 0.05 s"


def test_a_disk_that_hangs_for_ever_does_not_keep_the_doctor(tmp_path: Path) -> None:
    fifo = tmp_path / "hangs"
    os.mkfifo(fifo)

    async def look_at_it() -> list[Diagnosis]:
        return await examine([Look("disk", lambda: aside(lambda: [ok(fifo.read_text())]), 0.05)])

    (found,) = asyncio.run(look_at_it())
    assert found.verdict is FAIL
    fifo.write_text("")  # Lets go of the thread.
