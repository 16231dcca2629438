"""The commands about alerts: one sent over each channel as a test, with what came of it, and those that were sent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mrdaemon import places
from mrdaemon.alerts.alert import Alert, Level, Topic
from mrdaemon.core.instant import Instant
from mrdaemon.journal import Journal
from mrdaemon.outbox import Delivery, Outcome
from tests.mosquitto import Certificates, Mosquitto, free_ports, mosquitto
from tests.running import Object, Place, child, mrdaemon, unmeasured
from tests.running import Outcome as Run

"""Apprise imports it."""
SECRET = "hunter2"
"""A password, and a part of every address: it must not show anywhere."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place").record(100).configure()


def tried(place: Place, *more: str) -> Run:
    """Send a test over the channels of a place, and see that no secret of them is told."""
    run = mrdaemon("alert", "test", "-c", place.config, *more)
    assert SECRET not in run.out + run.err
    return run


def tried_apart(place: Place) -> Run:
    """Do the same in a process of its own: paho leaves a socket to the garbage collector where a handshake fails."""
    with child("alert", "test", "-c", place.config) as process:
        out, err = process.communicate(timeout=60)
    assert SECRET not in out + err
    return Run(process.returncode, out, err)


def with_channels(place: Place, tables: str) -> Place:
    place.config.write_text(place.config.read_text() + tables)
    return place


# A server that takes pushes, or does not


class Inbox:
    """A web server whose answer is in the path, and what it took."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.closing = threading.Event()
        inbox = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if "hang" in self.path:
                    inbox.closing.wait(60)
                code = next((code for name, code in CODES.items() if name in self.path), 200)
                if code == 200:
                    inbox.taken.append(body)
                self.send_response(code)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def url(self, way: str) -> str:
        return f"json://me:{SECRET}@127.0.0.1:{self._server.server_port}/{SECRET}/{way}"

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


CODES = {"forbidden": 403, "broken": 500}


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    server = Inbox()
    yield server
    server.close()


def push(*urls: str, name: str = "phone", more: str = "") -> str:
    listed = ", ".join(f'"{each}"' for each in urls)
    return f'[channels.{name}]\nkind = "push"\nurls = [{listed}]\n{more}\n'


def test_a_test_arrives_and_that_is_said(place: Place, inbox: Inbox) -> None:
    run = tried(with_channels(place, push(inbox.url("a"))))
    assert run.code == 0
    assert run.out.startswith("phone (address 1 of 1, json): arrived in ")
    [taken] = inbox.taken
    assert b"This is a test of channel phone of mrdaemon: alerts arrive here. Nothing happened." in taken


def test_each_address_is_told_of_by_itself_and_one_that_refuses_makes_the_command_fail(
    place: Place, inbox: Inbox
) -> None:
    with_channels(place, push(*map(inbox.url, ("a", "forbidden", "broken"))))
    run = tried(place, "--json")
    results = {each["channel"]: each for each in run.objects}
    assert run.code == 1
    assert [(results[f"phone.{n}"]["to"], results[f"phone.{n}"]["ok"]) for n in (1, 2, 3)] == [
        ("address 1 of 3, json", True),
        ("address 2 of 3, json", False),
        ("address 3 of 3, json", False),
    ]
    assert "HTTP 403" in results["phone.2"]["reason"]
    assert "HTTP 500" in results["phone.3"]["reason"]
    [taken] = inbox.taken
    assert b"This is a test of channel phone.1 of mrdaemon" in taken


def test_a_test_goes_out_whatever_the_channel_wants_and_whenever_it_is_quiet(place: Place, inbox: Inbox) -> None:
    picky = 'level = "critical"\ntopics = ["digest"]\nquiet = "00:00-23:59"\nbuttons = false'
    assert tried(with_channels(place, push(inbox.url("a"), more=picky))).code == 0
    assert len(inbox.taken) == 1


def test_a_server_that_never_answers_costs_no_more_than_the_channels_timeout(place: Place, inbox: Inbox) -> None:
    with_channels(place, push(inbox.url("hang"), more='timeout = "1s"') + push(inbox.url("a"), name="mail"))
    with child("alert", "test", "-c", place.config) as process:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        assert first.startswith("mail (address 1 of 1, json): arrived")
        assert "phone (address 1 of 1, json): did NOT arrive: " in second
        assert process.wait(10) == 1, "it must not wait for the call that hangs"


def test_where_nobody_listens_that_is_said(place: Place) -> None:
    [port] = free_ports(1)
    run = tried(with_channels(place, push(f"json://127.0.0.1:{port}/{SECRET}", more='timeout = "5s"')))
    assert run.code == 1
    assert "did NOT arrive: " in run.out
    assert "cannot be reached" in run.out


def test_addresses_from_a_secrets_directory_are_used(place: Place, inbox: Inbox, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "channels__phone__urls").write_text(f"# mine\n{inbox.url('a')}\n{inbox.url('b')}\n")
    with_channels(place, '[channels.phone]\nkind = "push"\n')
    env = {"MRDAEMON_SECRETS_DIR": str(tmp_path / "secrets")}
    assert mrdaemon("alert", "test", "-c", place.config, env=env).code == 0
    assert len(inbox.taken) == 2


# Over MQTT


def over_mqtt(port: int, more: str = "", channel: str = "") -> str:
    return f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n{more}\n[channels.home]\nkind = "mqtt"\n{channel}\n'


async def tried_beside(place: Place, *more: str) -> Run:
    return await asyncio.to_thread(tried, place, *more)


def named(user: str = "daemon", password: str = SECRET) -> str:
    return f'user = "{user}"\npassword = "{password}"'


@asynccontextmanager
async def broker(tmp_path: Path, **described: Any) -> AsyncIterator[Mosquitto]:
    async with mosquitto(tmp_path, users={"daemon": SECRET}, **described) as running:
        yield running


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_test_over_mqtt_reaches_who_listens_and_leaves_nothing_behind(
    place: Place, tmp_path: Path, version: str
) -> None:
    async with broker(tmp_path) as running, running.subscribed("mrdaemon/#") as subscriber:
        with_channels(place, over_mqtt(running.port, f'{named()}\nversion = "{version}"'))
        run = await tried_beside(place)
        [received] = await subscriber.on("mrdaemon/mrdaemon/alert")
        assert (run.code, received.json["kind"], received.retain) == (0, "test", False)
        assert run.out.startswith("home (mrdaemon/mrdaemon/alert): arrived in ")
        assert await running.retained("mrdaemon/#") == {}


async def test_a_wrong_password_is_told_and_not_shown(place: Place, tmp_path: Path) -> None:
    async with mosquitto(tmp_path, users={"daemon": "right"}) as running:
        run = await tried_beside(with_channels(place, over_mqtt(running.port, named())))
    assert run.code == 1
    assert "did NOT arrive: " in run.out
    assert "refused the connection: not authorized" in run.out


async def test_who_may_not_publish_is_told(place: Place, tmp_path: Path) -> None:
    async with broker(tmp_path, acl="user daemon\ntopic read mrdaemon/#") as running:
        run = await tried_beside(with_channels(place, over_mqtt(running.port, named())))
    assert run.code == 1
    assert "not authorized" in run.out


async def test_a_broker_that_is_not_there_is_told(place: Place) -> None:
    [port] = free_ports(1)
    run = await tried_beside(with_channels(place, over_mqtt(port)))
    assert run.code == 1
    assert f"127.0.0.1:{port} cannot be reached" in run.out


async def test_a_broker_that_takes_connections_and_never_answers_is_given_up(place: Place, tmp_path: Path) -> None:
    async with broker(tmp_path) as running:
        running.pause()
        begun = time.monotonic()
        run = await tried_beside(with_channels(place, over_mqtt(running.port, named(), 'timeout = "1s"')))
        running.resume()
    assert run.code == 1
    assert "did NOT arrive: " in run.out
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("presented", "trusted", "said"),
    [
        ("server", "ca", "arrived in"),
        ("server", "wrong_ca", "did NOT arrive: "),
        ("expired", "ca", "certificate has expired"),
        ("misnamed", "ca", "did NOT arrive: "),
    ],
)
async def test_a_certificate_decides_whom_we_talk_to(
    place: Place, tmp_path: Path, presented: str, trusted: str, said: str
) -> None:
    certificates = Certificates(tmp_path / "certificates")
    async with broker(tmp_path, server=getattr(certificates, presented)) as running:
        more = f'{named()}\ntls = true\nca = "{getattr(certificates, trusted)}"'
        run = await asyncio.to_thread(tried_apart, with_channels(place, over_mqtt(running.port, more)))
    assert said in run.out
    assert run.code == (0 if said == "arrived in" else 1)


# Which channels


def test_one_channel_can_be_chosen(place: Place, inbox: Inbox) -> None:
    with_channels(place, push(inbox.url("a")) + push(inbox.url("b"), name="mail"))
    run = tried(place, "--channel", "mail")
    assert (run.code, run.out.splitlines()[0].split()[0], len(inbox.taken)) == (0, "mail", 1)


def test_a_channel_that_there_is_not_is_a_wrong_usage(place: Place, inbox: Inbox) -> None:
    run = tried(with_channels(place, push(inbox.url("a"))), "--channel", "phon")
    assert (run.code, run.err) == (2, "--channel: there is no channel 'phon'; there are: phone\n")
    assert not inbox.taken


def test_a_configuration_without_channels_has_nothing_to_test(place: Place) -> None:
    run = tried(place)
    assert run.code == 1
    assert "there is no channel: add a table [channels.NAME]" in run.err


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_wrong_configuration_is_told_as_check_tells_it(place: Place, as_json: list[str]) -> None:
    run = tried(with_channels(place, push(f"jsn://{SECRET}")), *as_json)
    assert run.code == 78
    assert "channels.phone.urls.0: " in run.err


# What was said


def alert(number: int, level: Level = Level.NOTICE) -> Alert:
    return Alert(
        id=f"n-{number}",
        at=Instant(number * 10**9),
        level=level,
        topic=Topic.SIGNAL,
        kind="signal_raised",
        subject="core/QQQ",
        title=f"{number}",
        text=f"This is the sentence of {number}.",
        facts={"price": "90"},
    )


async def journaled(directory: Path) -> None:
    """Write four alerts, of which a channel took one, has no use for another, and has two still to take."""
    directory.mkdir()
    async with Journal(directory / places.JOURNAL, wall=lambda: 1_700_000_000 * 10**9) as journal:
        journal.load()
        await journal.register(["phone"])
        await journal.tell([alert(number) for number in (1, 2, 3, 4)])
        wall = 1_700_000_005 * 10**9
        became = [
            Delivery("phone", 1, wall, Outcome.DELIVERED),
            Delivery("phone", 3, wall, Outcome.REFUSED, "HTTP 413"),
        ]
        await journal.settle("phone", 3, became)


async def test_alerts_are_listed_with_what_became_of_them(tmp_path: Path) -> None:
    await journaled(tmp_path / "state")
    assert mrdaemon("alert", "list", "--state", tmp_path / "state").out.splitlines() == [
        "2023-11-14 22:13:20Z  notice  This is the sentence of 1.",
        "    phone: delivered 22:13:25Z",
        "2023-11-14 22:13:20Z  notice  This is the sentence of 2.",
        "    phone: not for it",
        "2023-11-14 22:13:20Z  notice  This is the sentence of 3.",
        "    phone: refused (HTTP 413)",
        "2023-11-14 22:13:20Z  notice  This is the sentence of 4.",
        "    phone: waits",
    ]


async def test_programs_get_the_same_as_json(tmp_path: Path) -> None:
    await journaled(tmp_path / "state")
    listed = mrdaemon("alert", "list", "--json", "--limit", "4", "--state", tmp_path / "state").objects
    assert [each["channels"][0]["outcome"] for each in listed] == ["delivered", "unwanted", "refused", "waiting"]
    first: Object = listed[0]
    assert (first["n"], first["id"], first["at"], first["wall"]) == (
        1,
        "n-1",
        "1970-01-01T00:00:01Z",
        "2023-11-14T22:13:20Z",
    )
    assert first["facts"] == {"price": "90"}
    assert first["channels"] == [{"channel": "phone", "outcome": "delivered", "at": "2023-11-14T22:13:25Z", "note": ""}]


async def test_only_the_newest_are_listed(tmp_path: Path) -> None:
    await journaled(tmp_path / "state")
    listed = mrdaemon("alert", "list", "--json", "--limit", "2", "--state", tmp_path / "state").objects
    assert [each["n"] for each in listed] == [3, 4]


def test_a_journal_without_alerts_says_so(place: Place) -> None:
    place.run()
    assert mrdaemon("alert", "list", "--state", place.state).out == "There are no alerts yet.\n"
    assert mrdaemon("alert", "list", "--json", "--state", place.state).out == ""


def test_what_a_run_said_is_listed_with_what_became_of_it(place: Place, inbox: Inbox) -> None:
    with_channels(place.record(90), push(inbox.url("a"), more='topics = ["signal"]')).run()
    listed = mrdaemon("alert", "list", "--json", "--state", place.state).objects
    became = {(each["kind"], each["channels"][0]["outcome"]) for each in listed}
    assert ("signal_raised", "delivered") in became
    assert ("started", "unwanted") in became
    assert all((topic == "signal") is (outcome == "delivered") for topic, outcome in topics_and_outcomes(listed))
    assert inbox.taken


def topics_and_outcomes(listed: list[Object]) -> list[tuple[str, str]]:
    return [(each["topic"], each["channels"][0]["outcome"]) for each in listed]


# What it costs


HEAVY = {"apprise", "requests", "aiomqtt", "paho", "websockets", "pandas"}


def loaded_by(*arguments: str | Path) -> set[str]:
    """Run a command in a process of its own; gives which heavy libraries it loaded."""
    script = (
        "import sys; from mrdaemon.cli import main; sys.argv = ['mrdaemon', *sys.argv[1:]]\n"
        "try: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    told = [sys.executable, "-c", script, *map(str, arguments)]
    run = subprocess.run(told, capture_output=True, text=True, env=unmeasured(), check=True)
    return {each.partition(".")[0] for each in run.stderr.split()} & HEAVY


@pytest.mark.parametrize("command", [[], ["alert"], ["alert", "test"], ["alert", "list"]], ids=" ".join)
def test_help_loads_no_library_of_a_channel(command: list[str]) -> None:
    assert loaded_by(*command, "--help") == set()


def test_a_run_without_channels_loads_no_library_of_one(place: Place) -> None:
    assert loaded_by(*place.arguments()).isdisjoint({"apprise", "requests", "aiomqtt", "paho"})


def test_check_loads_what_the_channels_need_and_nothing_else(place: Place, inbox: Inbox) -> None:
    check: list[str | Path] = ["check", "-c", place.config, "--state", place.state]
    assert loaded_by(*check) == set()
    kept = place.config.read_text()
    with_channels(place, over_mqtt(1883, channel='commands = ["pause"]'))
    assert loaded_by(*check) == set()
    place.config.write_text(kept + push(inbox.url("a")))
    assert "apprise" in loaded_by(*check)
