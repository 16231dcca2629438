"""The control socket of a real daemon: what it shows, what it takes, who may, and what happens when things go wrong."""

from __future__ import annotations

import getpass
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from mrdaemon import chain, client
from mrdaemon.places import HALT, JOURNAL, SOCKET
from tests.live import Live, live_daemon
from tests.running import ROOT, Answer, Line, Object, Place, ask, daemon, mrdaemon, order, unmeasured, wait_for

ME = getpass.getuser()
NOBODY = 65534
AS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0 and "TEST_EVERYTHING" not in os.environ, reason="only root may become somebody else"
)
"""The continuous integration sets TEST_EVERYTHING: there, not being root is a failure and no excuse."""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with live_daemon(tmp_path / "state") as started:
        yield started


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place").configure(speed="1x").record(100, 101, 102, apart=3600)


def journal_of(state: Path) -> str:
    """Give the whole journal as the command line reads it from the file."""
    return mrdaemon("events", "--json", "--state", state).out


@contextmanager
def following(state: Path, query: str = "follow=1") -> Iterator[HTTPResponse]:
    """Open a stream of events."""
    line = Line(state)
    try:
        line.request("GET", f"/events?{query}")
        yield line.getresponse()
    finally:
        line.close()


def read(stream: HTTPResponse, kind: str) -> list[Object]:
    """Read a stream until an event of a kind, without the empty lines that say that it is alive."""
    seen: list[Object] = []
    while not seen or seen[-1]["kind"] != kind:
        line = stream.readline()
        assert line, f"the stream ended without {kind}"
        seen += [json.loads(line)] if line.strip() else []
    return seen


def cli(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start a command without a terminal, as a child that nobody waits for yet."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "mrdaemon", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=unmeasured(),
    )


# Looking


def test_the_first_page_names_every_command_and_what_it_takes(live: Live) -> None:
    found = ask(live.state, "GET", "/")
    assert found.status == 200
    assert set(found.body["commands"]) == {
        *("pause", "halt", "reduce", "resume", "approve", "reject"),
        *("fill", "deposit", "withdraw", "target", "reconcile", "reload"),
    }
    assert found.body["commands"]["deposit"]["takes"] == ["why", "amount", "portfolio"]


def test_the_status_is_live(live: Live) -> None:
    status = ask(live.state, "GET", "/status").body
    assert (status["live"], status["process"]) == (True, live.process.pid)
    assert (status["trading"], status["paused"], status["halt_file"]) == ("ACTIVE", False, False)
    assert [(each["symbol"], each["price"], each["shares"]) for each in status["positions"]] == [
        ("QQQ", "100.0", "50"),
        ("SPY", "100.0", "50"),
    ]
    assert status["feed"]["delivered"] == 2
    assert status["state_dir"] == str(live.state)


def test_a_position_is_explained_in_small_letters_too(live: Live) -> None:
    (found,) = ask(live.state, "GET", "/explain/qqq").body
    assert (found["portfolio"], found["symbol"], found["price"]) == ("core", "QQQ", "100.0")
    assert [each["side"] for each in found["sides"]] == ["accumulate", "trim"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/explain/IBM", "there is no position in 'IBM'; there are: QQQ, SPY"),
        ("/explain/QQQ?portfolio=side", "there is no portfolio 'side'; there are: core"),
        ("/commands/dance", "Method Not Allowed: GET /commands/dance; GET / says what there is"),
        ("/dance", "Not Found: GET /dance; GET / says what there is"),
    ],
)
def test_what_is_not_there_is_said_in_json(live: Live, path: str, said: str) -> None:
    found = ask(live.state, "GET", path)
    assert found.status in {404, 405}
    assert found.body == {"ok": False, "error": said}


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/status"), ("PUT", "/commands/halt"), ("DELETE", "/events"), ("POST", "/")]
)
def test_a_wrong_method_does_nothing(live: Live, method: str, path: str) -> None:
    before = journal_of(live.state)
    assert ask(live.state, method, path, {}).status == 405
    assert journal_of(live.state) == before


def test_an_unknown_command_is_answered_with_those_that_there_are(live: Live) -> None:
    found = order(live.state, "dance")
    assert found.status == 404
    assert "no command 'dance'; there are: pause, resume, halt" in found.body["error"]


@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=²", f"after={'9' * 40}", "kind=dance", "after=1.5"])
def test_events_that_cannot_be_meant_are_refused(live: Live, query: str) -> None:
    found = ask(live.state, "GET", f"/events?{query.replace('²', '%C2%B2')}")
    assert found.status == 400
    assert found.body["error"].startswith(query.partition("=")[0])


def events_of(state: Path, query: str = "") -> str:
    with following(state, query) as stream:
        return stream.read().decode()


def test_events_are_the_journals_byte_for_byte(live: Live) -> None:
    assert events_of(live.state) == journal_of(live.state)
    assert events_of(live.state, "after=5") == "".join(journal_of(live.state).splitlines(keepends=True)[5:])


def test_events_can_be_chosen_by_kind(live: Live) -> None:
    chosen = mrdaemon("events", "--json", "--kind", "asset_known", "--kind", "daemon_started", "--state", live.state)
    assert events_of(live.state, "kind=asset_known&kind=daemon_started") == chosen.out
    assert len(chosen.objects) == 3


# Streams


def test_a_stream_tells_what_becomes_durable_and_ends_with_the_daemon(live: Live) -> None:
    with following(live.state) as stream:
        read(stream, "position_armed")
        order(live.state, "pause", why="lunch")
        assert read(stream, "signals_paused")[-1]["why"] == "lunch"
        live.process.send_signal(signal.SIGTERM)
        assert read(stream, "daemon_stopped")[-1]["reason"] == "SIGTERM received"
        assert stream.read() == b""
    assert live.process.wait(10) == 0


def test_a_quiet_stream_says_that_it_is_alive(live: Live) -> None:
    with following(live.state, "follow=1&after=1000") as stream:
        assert [stream.readline() for _ in range(2)] == [b"\n", b"\n"]


def test_a_stream_has_every_event_of_the_journal_once_and_in_the_same_bytes(live: Live) -> None:
    with following(live.state) as stream:
        for step in range(1, 30):
            live.say(f"price {100 * 0.9**step} QQQ", f"price {100 * 1.1**step} SPY")
        for _ in range(20):
            assert order(live.state, "deposit", amount="1").status == 200
        live.say("price 0.01 QQQ")
        live.end()
        told = stream.read().decode()
    assert "".join(f"{each}\n" for each in told.splitlines() if each) == journal_of(live.state)
    assert told.count('"kind": "reserve_deposited"') == 21


def test_many_streams_leave_room_for_commands(live: Live) -> None:
    with ExitStack() as streams:
        opened = [streams.enter_context(following(live.state)) for _ in range(32)]
        for stream in opened:
            read(stream, "daemon_started")
        refused = ask(live.state, "GET", "/events?follow=1")
        assert (refused.status, refused.body["error"]) == (503, "32 streams are open already; close one of them")
        assert order(live.state, "pause").status == 200
        assert ask(live.state, "GET", "/status").status == 200
    assert events_of(live.state).count("signals_paused") == 1


def ask_for_streams(live: Live, count: int, opened: ExitStack) -> list[int]:
    """Ask for streams, all before the first answer is read; gives the answers' codes."""
    lines = [Line(live.state) for _ in range(count)]
    for line in lines:
        opened.callback(line.close)
        line.connect()
    for line in lines:
        line.request("GET", "/events?follow=1")
    return [line.getresponse().status for line in lines]


def test_of_forty_streams_asked_for_at_once_eight_are_refused(live: Live) -> None:
    with ExitStack() as opened:
        codes = ask_for_streams(live, 40, opened)
    assert (codes.count(200), codes.count(503)) == (32, 8)


def test_a_follower_too_many_is_told_so(live: Live) -> None:
    with ExitStack() as opened:
        ask_for_streams(live, 32, opened)
        follower = cli("events", "--follow", "--state", live.state)
        _, errors = follower.communicate(timeout=20)
    assert follower.returncode == 1
    assert "32 streams are open already; close one of them" in errors
    assert "Traceback" not in errors


def test_a_stream_that_is_closed_makes_room_for_another(live: Live) -> None:
    with ExitStack() as streams:
        for _ in range(31):
            read(streams.enter_context(following(live.state)), "daemon_started")
        for _ in range(5):
            with free_stream(live.state) as stream:
                read(stream, "daemon_started")


def test_a_reader_who_stops_reading_holds_nobody_up(live: Live) -> None:
    with following(live.state) as stream:
        for _ in range(300):
            assert order(live.state, "target", symbol="QQQ", target="5000", why="y" * 480).status == 200
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(10) == 0
    assert stream.status == 200


@contextmanager
def free_stream(state: Path) -> Iterator[HTTPResponse]:
    """Open a stream as soon as there is room: that one was closed is noticed a moment later."""
    while True:
        with following(state) as stream:
            if stream.status == 200:
                yield stream
                return


# What is malformed


MALFORMED: list[tuple[str, bytes, int, str]] = [
    ("deposit", b"", 400, "missing required field `amount`"),
    ("deposit", b"[]", 400, "wanted a JSON object with why, amount, portfolio"),
    ("deposit", b"{", 400, "wanted a JSON object"),
    ("deposit", b"\xff\xfe", 400, "wanted a JSON object"),
    ("deposit", b'{"amount": 5.0}', 400, "Expected `str`, got `float`"),
    ("deposit", b'{"amount": 5}', 400, "Expected `str`, got `int`"),
    ("deposit", b'{"amount": null}', 400, "Expected `str`, got `null`"),
    ("deposit", b'{"amount": "5", "amuont": "6"}', 400, "unknown field `amuont`"),
    ("deposit", b'{"amount": "5", "by": "the boss"}', 400, "unknown field `by`"),
    ("deposit", b'{"amount": "5.001"}', 400, "amount: "),
    ("deposit", b'{"amount": "1e3"}', 400, "amount: "),
    ("deposit", b'{"amount": "NaN"}', 400, "amount: "),
    ("deposit", b'{"amount": "Infinity"}', 400, "amount: "),
    ("deposit", b'{"amount": "%s"}' % (b"9" * 400), 400, "amount: "),
    ("deposit", b'{"amount": "5", "why": "two\\nlines"}', 400, "why: wanted plain text on one line"),
    ("deposit", b'{"amount": "5", "why": "\\u001b[31mred"}', 400, "why: wanted plain text on one line"),
    ("deposit", b'{"amount": "5", "why": "\\ud800"}', 400, ""),
    ("deposit", b'{"amount": "5", "why": "\\u202etxt"}', 400, "why: wanted plain text on one line"),
    ("deposit", b'{"amount": "5", "why": "%s"}' % (b"y" * 501), 400, "of at most 500 characters"),
    ("deposit", b'{"amount": "5", "why": "%s"}' % (b"y" * 70_000), 413, "a command has at most 65,536 bytes"),
    ("fill", b'{"symbol": "QQQ", "side": "hold", "shares": "1", "price": "1"}', 400, "side: wanted buy or sell"),
    ("fill", b'{"symbol": "QQQ", "side": "buy", "shares": "0.0000000001", "price": "1"}', 400, "shares: "),
    ("fill", b'{"symbol": "QQQ", "side": "buy", "shares": 1, "price": "1"}', 400, "Expected `str`, got `int`"),
    ("target", b'{"symbol": "QQQ", "target": "lots"}', 400, "target: "),
    ("halt", b'{"symbol": ["QQQ"]}', 400, "Expected `str | null`, got `array`"),
    ("halt", b'{"why": {"a": {"a": {"a": {}}}}}', 400, "Expected `str`, got `object`"),
    ("approve", b"{}", 400, "missing required field `id`"),
]


def test_whatever_is_malformed_is_answered_and_does_nothing(live: Live) -> None:
    before = journal_of(live.state)
    answers = [ask(live.state, "POST", f"/commands/{name}", body) for name, body, _, _ in MALFORMED]
    assert [each.status for each in answers] == [status for _, _, status, _ in MALFORMED]
    assert [
        said for (_, _, _, said), each in zip(MALFORMED, answers, strict=True) if said not in each.body["error"]
    ] == []
    assert journal_of(live.state) == before


def test_a_body_of_many_megabytes_is_refused_unread(live: Live) -> None:
    line = Line(live.state)
    line.putrequest("POST", "/commands/deposit")
    line.putheader("Content-Length", str(1 << 34))
    line.endheaders()
    line.send(b" " * 70_000)
    assert line.getresponse().status == 413
    line.close()
    assert order(live.state, "pause").status == 200


def test_what_is_no_http_is_survived(live: Live) -> None:
    for junk in (
        b"\x16\x03\x01\x02\x00\x01",
        b"GET\r\n\r\n",
        b"\0" * 70_000,
        b"POST /commands/halt HTTP/1.1\r\nHost: x\r\n",
    ):
        line = Line(live.state)
        line.connect()
        line.sock.sendall(junk)
        line.close()
    assert ask(live.state, "GET", "/status").body["trading"] == "ACTIVE"


def test_half_a_command_is_no_command(live: Live) -> None:
    line = Line(live.state)
    line.putrequest("POST", "/commands/deposit")
    line.putheader("Content-Length", "40")
    line.endheaders()
    line.send(b'{"amount": "5"}')
    line.close()
    assert order(live.state, "pause").status == 200
    assert live.journaled("reserve_deposited")[1:] == []


# Who asks, and why


def test_who_why_and_when_are_in_the_event(live: Live) -> None:
    begun = time.time_ns()
    answer = order(live.state, "deposit", amount="12.34", why="grüße, 日本")
    event = answer.body["events"][0]
    assert (event["kind"], event["amount"], event["by"], event["why"]) == (
        "reserve_deposited",
        "12.34",
        ME,
        "grüße, 日本",
    )
    record = chain.records(live.state / JOURNAL, live.journaled("reserve_deposited")[-1]["seq"] - 1)
    assert begun < next(record).event.at < time.time_ns()
    assert live.journaled("reserve_deposited")[-1].items() >= event.items()


def test_a_reason_of_500_characters_is_kept_whole(live: Live) -> None:
    assert order(live.state, "halt", why="y" * 500).status == 200
    assert live.journaled("trading_state_changed")[-1]["why"] == "y" * 500


@AS_ROOT
def test_root_may_say_for_whom_but_only_a_plain_name(live: Live) -> None:
    for name in ("alice", "mallory (root)", "a" * 65, "alice bob"):
        ask(live.state, "POST", "/commands/halt", {}, {"X-On-Behalf-Of": name})
    assert [each["by"] for each in live.journaled("trading_state_changed")] == ["alice (root)", "root", "root", "root"]


def test_nobody_can_write_who_they_are_into_a_header(live: Live) -> None:
    ask(live.state, "POST", "/commands/pause", {}, {"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=boss"})
    assert live.journaled("signals_paused")[-1]["by"] == ME


def test_only_this_user_may_open_the_socket(live: Live) -> None:
    found = (live.state / SOCKET).stat().st_mode
    assert stat.S_ISSOCK(found)
    assert stat.S_IMODE(found) == 0o600


AS_NOBODY = """
import os, sys
from pathlib import Path
from tests.running import Line, mrdaemon
state = Path(sys.argv[1])
mrdaemon("status", "--state", state)  # What it imports later must be read while we still may.
os.setgroups([])
os.setresgid({nobody}, {nobody}, {nobody})
os.setresuid({nobody}, {nobody}, {nobody})
{does}
"""
BY_COMMAND = """
for said in ("status", "halt", "deposit 5 --yes", "events", "events --follow", "explain QQQ"):
    outcome = mrdaemon(*said.split(), "--state", state)
    print(outcome.code, outcome.err.replace("\\n", " "))
"""
BY_SOCKET = """
line = Line(state)
try:
    line.request("POST", "/commands/halt", "{}")
    print(line.getresponse().status)
except ConnectionError:
    print("turned away")
"""


@contextmanager
def open_folder() -> Iterator[Path]:
    """Give a state directory into which everybody may look."""
    import tempfile  # noqa: PLC0415 - the folder of pytest is closed to others

    with tempfile.TemporaryDirectory() as folder:
        for each in (Path(folder), Path(folder) / "state"):
            each.mkdir(exist_ok=True)
            each.chmod(0o755)
        yield Path(folder) / "state"


def as_nobody(does: str, state: Path) -> list[str]:
    script = AS_NOBODY.format(nobody=NOBODY, does=does)
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(state)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=unmeasured(),
    )
    return run.stdout.splitlines()


@AS_ROOT
def test_a_foreign_user_is_told_whose_daemon_it_is_and_changes_nothing() -> None:
    with open_folder() as state, live_daemon(state) as live:
        before = journal_of(state)
        said = as_nobody(BY_COMMAND, state)
        assert [each.split()[:2] for each in said] == [["1", "mrdaemon:"]] * 6
        assert f"{state / SOCKET}: nothing was done: only root may talk to its daemon" in said[1]
        assert not (state / HALT).exists()
        assert journal_of(state) == before
        assert live.status()["trading"] == "ACTIVE"


@AS_ROOT
def test_a_foreign_user_who_can_open_the_socket_is_turned_away() -> None:
    with open_folder() as state, live_daemon(state) as live:
        (state / SOCKET).chmod(0o666)
        assert as_nobody(BY_SOCKET, state) == ["turned away"]
        assert live.status()["trading"] == "ACTIVE"
        assert live.journaled("trading_state_changed") == []


# Too late


def test_what_nobody_waits_for_any_more_is_not_done(live: Live) -> None:
    late = ask(live.state, "POST", "/commands/deposit", {"amount": "5"}, {"X-Void-After": str(time.time_ns() - 1)})
    assert late.status == 409
    assert "it came too late" in late.body["error"]
    soon = str(time.time_ns() + 60 * 10**9)
    assert ask(live.state, "POST", "/commands/deposit", {"amount": "6"}, {"X-Void-After": soon}).status == 200
    assert [each["amount"] for each in live.journaled("reserve_deposited")] == ["20000.00", "6.00"]


# The life of the socket


def test_a_killed_daemon_leaves_a_socket_that_stands_in_nobodys_way(place: Place) -> None:
    with daemon(place) as process:
        process.kill()
        process.wait()
    assert place.socket.exists()
    with pytest.raises(client.NoDaemonError, match="no daemon runs on"):
        client.status(place.state)
    refused = place.tell("pause")
    assert (refused.code, refused.err) == (1, f"mrdaemon: no daemon runs on {place.state}\n")
    assert place.status()["process"] is None
    with daemon(place, kind="feed_opened") as process:
        wait_for(process, "account_reconciled")
        assert place.tell("pause").code == 0
        assert place.status()["process"] == process.pid


def test_a_second_daemon_fails_and_the_firsts_socket_goes_on(place: Place) -> None:
    with daemon(place) as process:
        second = place.run()
        assert second.code == 1
        assert f"another mrdaemon (process {process.pid}) uses it" in second.err
        assert place.tell("pause").code == 0
        assert ask(place.state, "GET", "/status").body["process"] == process.pid


def make_a_link(path: Path) -> None:
    path.symlink_to("gone")


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, make_a_link])
def test_what_is_no_socket_is_named_and_left_alone(place: Place, make: Callable[[Path], None]) -> None:
    place.state.mkdir()
    make(place.socket)
    before = place.socket.lstat()
    run = place.run()
    assert run.code == 1
    assert f"{place.socket}: the control socket belongs here, but this is none; move it away" in run.err
    assert "Traceback" not in run.err
    assert place.socket.lstat().st_mode == before.st_mode


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with live_daemon(deep / "state") as live:
        assert len(str(live.state / SOCKET)) > 208
        assert live.tell("pause", "--why", "deep").code == 0
        assert live.status()["paused"] is True


def test_a_stop_takes_the_socket_away(live: Live) -> None:
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(10) == 0
    assert not (live.state / SOCKET).exists()
    assert live.tell("pause").err == f"mrdaemon: no daemon runs on {live.state}\n"


class Payers:
    """People who deposit a dollar again and again, several at once, until nobody answers any more."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.answers: list[Answer | None] = []
        self.busy = threading.Event()
        self._threads = [threading.Thread(target=self._pay) for _ in range(3)]
        for each in self._threads:
            each.start()

    def _pay(self) -> None:
        while (answer := answer_of(self.state)) is not None and answer.status == 200:
            self.answers.append(answer)
            if len(self.answers) > 20:
                self.busy.set()

    def join(self) -> int:
        """Wait for the last of them; gives how many deposits were acknowledged."""
        for each in self._threads:
            each.join()
        return len(self.answers)


def test_a_stop_answers_what_was_asked_and_the_journal_agrees(live: Live) -> None:
    payers = Payers(live.state)
    assert payers.busy.wait(20)
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(10) == 0
    assert len(live.journaled("reserve_deposited")) - 1 == payers.join()
    assert chain.verify(live.state / JOURNAL).events == len(journal_of(live.state).splitlines())
    assert json.loads(journal_of(live.state).splitlines()[-1])["kind"] == "daemon_stopped"


def test_what_was_acknowledged_survives_a_kill(live: Live) -> None:
    payers = Payers(live.state)
    assert payers.busy.wait(20)
    live.process.kill()
    live.process.wait()
    acknowledged = payers.join()
    assert acknowledged <= len(live.journaled("reserve_deposited")) - 1 <= acknowledged + 3
    assert chain.verify(live.state / JOURNAL).events == len(journal_of(live.state).splitlines())


def answer_of(state: Path) -> Answer | None:
    """Deposit a dollar; None where nobody answers any more."""
    try:
        return order(state, "deposit", amount="1")
    except (OSError, HTTPException):
        return None


# A daemon that hangs


@contextmanager
def hanging(live: Live) -> Iterator[None]:
    """Stop a daemon's process for a while, in the middle of whatever it does."""
    live.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        live.process.send_signal(signal.SIGCONT)


def test_the_status_of_a_hung_daemon_is_the_journals_and_says_so(live: Live) -> None:
    with hanging(live):
        status = live.tell("status")
    assert status.code == 0
    assert f"the daemon (process {live.process.pid}) has not answered for 5 s" in status.err
    assert "this is from the journal" in status.err
    assert f"state: running as process {live.process.pid}" in status.out
    assert "running as process" in live.tell("status").out


def test_a_halt_of_a_hung_daemon_is_a_file_that_it_obeys_once_it_goes_on(live: Live) -> None:
    with hanging(live):
        halt = live.tell("halt", "--why", "fire")
        assert (live.state / HALT).read_text() == f"{ME}: fire\n"
    assert halt.code == 0
    assert f"{live.state / HALT} is there now" in halt.out
    halted = live.hear("trading_state_changed")
    assert (halted["state"], halted["by"], halted["why"]) == ("HALTED", "HALT file", f"{ME}: fire")
    live.say("price 90 QQQ")
    assert live.hear("signal_held", "order_intended")["kind"] == "signal_held"
    assert len(live.journaled("trading_state_changed")) == 1


def test_a_deposit_given_up_on_is_void_and_its_retry_counts_once(live: Live) -> None:
    with hanging(live):
        given_up = live.tell("deposit", "7", "--yes")
    assert (given_up.code, given_up.out) == (1, "")
    assert f"the daemon (process {live.process.pid}) has not answered for 5 s" in given_up.err
    assert live.tell("deposit", "7", "--yes").code == 0
    assert [each["amount"] for each in live.journaled("reserve_deposited")] == ["20000.00", "7.00"]


def test_a_resume_does_not_take_a_hung_daemons_halt_file_away(live: Live) -> None:
    (live.state / HALT).touch()
    live.hear("trading_state_changed")
    with hanging(live):
        assert live.tell("resume", "--yes").code == 1
        assert (live.state / HALT).exists()
    assert live.status()["trading"] == "HALTED"


# In the middle of an order


def wait_until(live: Live, **wanted: Any) -> None:
    """Wait until the account's figures are these."""
    while not wanted.items() <= live.status()["accounts"][0].items():
        assert live.process.poll() is None


def sent(events: list[Object]) -> list[str]:
    return [each["order"] for each in events if each["kind"] == "broker_submit"]


def test_a_halt_while_the_broker_is_slow_is_journaled_at_once_and_a_fill_still_counts(live: Live) -> None:
    live.say("late", "price 90 QQQ")
    name = live.hear("broker_submit")["order"]
    answer = order(live.state, "halt", why="fire")
    assert answer.status == 200
    assert answer.body["notes"] == [f"Order {name} is being cancelled; what it fills still counts."]
    assert [each["state"] for each in live.journaled("trading_state_changed")] == ["HALTED"]
    assert live.journaled("order_ended") == []
    live.say("plain", "price 80 QQQ", "price 120 SPY")
    live.hear("order_ended")
    events = live.end()
    assert sent(events) == [name]
    (filled,) = [each for each in events if each["kind"] == "order_filled"]
    assert (filled["order"], filled["amount"]) == (name, "500.00")
    assert live.tell("status", "--json").objects[0]["positions"][0]["shares"] != "50"


def test_people_are_answered_while_an_orders_fate_is_unknown(live: Live) -> None:
    live.say("unsure", "price 90 QQQ")
    live.hear("order_ambiguous")
    assert order(live.state, "pause", symbol="SPY").status == 200
    assert order(live.state, "deposit", amount="5").status == 200
    assert order(live.state, "target", symbol="SPY", target="5100").status == 200
    assert "in flight" in str(ask(live.state, "GET", "/explain/QQQ").body[0]["changes"])
    assert live.status()["accounts"][0]["ambiguous"] == 1
    refused = order(live.state, "fill", symbol="QQQ", side="buy", shares="1", price="90")
    assert refused.status == 409
    assert "is in flight; report again once it has ended" in refused.body["refused"]


def test_an_ambiguous_order_is_not_sent_again_after_a_halt(live: Live) -> None:
    live.say("lost", "price 90 QQQ")
    name = live.hear("order_ambiguous")["order"]
    assert order(live.state, "halt").status == 200
    assert live.journaled("trading_state_changed")[0]["state"] == "HALTED"
    live.hear("broker_find")
    live.say("plain", "price 80 QQQ")
    ended = live.hear("order_ended")
    assert (ended["order"], ended["status"], ended["reason"]) == (
        name,
        "abandoned",
        "the broker does not know it, twice",
    )
    assert sent(live.end()) == [name]


def test_an_ambiguous_order_that_is_found_after_a_halt_is_cancelled(live: Live) -> None:
    live.say("unsure idle", "price 90 QQQ")
    name = live.hear("order_ambiguous")["order"]
    assert order(live.state, "halt").status == 200
    live.hear("broker_cancel")
    live.say("plain idle", "price 80 QQQ")
    assert live.hear("order_ended")["status"] == "canceled"
    events = live.end()
    assert sent(events) == [name]
    assert [each["order"] for each in events if each["kind"] == "broker_cancel"] == [name, name]


def test_what_an_ambiguous_order_filled_counts_after_a_halt(live: Live) -> None:
    live.say("unsure", "price 90 QQQ")
    name = live.hear("order_ambiguous")["order"]
    assert order(live.state, "halt").status == 200
    live.say("plain")
    assert live.hear("order_filled")["order"] == name
    assert live.hear("order_ended")["status"] == "filled"
    status = live.status()
    assert (status["trading"], status["portfolios"][0]["reserve"]) == ("HALTED", "19500.00")
    assert sent(live.end()) == [name]


def test_a_daemon_killed_after_a_halt_looks_its_order_up_and_sends_none(live: Live) -> None:
    live.say("unsure", "price 90 QQQ")
    name = live.hear("order_ambiguous")["order"]
    assert order(live.state, "halt", why="fire").status == 200
    live.process.kill()
    live.process.wait()
    with live_daemon(live.state) as again:
        again.say("price 80 QQQ")
        again.hear("signal_held")
        events = again.end()
    assert [each["order"] for each in again.journaled("order_filled")] == [name]
    assert sent(events) == []


def test_the_halt_of_one_symbol_leaves_the_order_of_another_alone(live: Live) -> None:
    live.say("unsure idle", "price 90 QQQ")
    name = live.hear("order_ambiguous")["order"]
    assert order(live.state, "halt", symbol="spy").status == 200
    live.say("plain", "price 90 QQQ")
    assert live.hear("order_ended")["status"] == "filled"
    assert [each for each in live.end() if each["kind"] == "broker_cancel" and each["order"] == name] == []


def test_a_stop_with_an_order_nobody_knows_ends_in_good_order(live: Live) -> None:
    live.say("unsure", "price 90 QQQ")
    name = live.hear("order_ambiguous")["order"]
    answers: list[Answer | None] = []
    asking = threading.Thread(target=lambda: answers.append(answer_of(live.state)))
    asking.start()
    live.hear("reserve_deposited")
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(15) == 0
    asking.join()
    assert [each is not None and each.status for each in answers] == [200]
    with live_daemon(live.state) as again:
        assert again.journaled("order_filled")[0]["order"] == name
