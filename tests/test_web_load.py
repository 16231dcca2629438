"""What a dashboard must bear: bodies without end, clients that dawdle, and more of them than there is room for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import Mock

import h11
import pytest

from mrdaemon import status as facts
from mrdaemon.web import app, serving
from mrdaemon.web.dashboard import CLIENTS
from mrdaemon.web.hub import CLIENTS as STREAMS
from mrdaemon.web.serving import BUSY
from tests.browser import Watched, watched_daemon
from tests.running import ask
from tests.webbed import Browser, Web, web_daemon
from tests.webinside import Inside, inside

HUGE = 10 * 1024 * 1024


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with web_daemon(tmp_path_factory.mktemp("web") / "place") as started:
        yield started


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Inside]:
    async with asyncio.timeout(60), inside(tmp_path) as started:
        yield started


def answer_to(web: Web, *parts: bytes) -> bytes:
    """Send something that no client would, and give what comes back before the connection ends."""
    with socket.create_connection(("127.0.0.1", web.port), 20) as line:
        answer = b""
        with contextlib.suppress(ConnectionError):
            for each in parts:
                line.sendall(each)
            line.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while block := line.recv(65536):
                answer += block
        return answer


def head(web: Web | Watched, method: str, path: str, *lines: str) -> bytes:
    said = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {web.token}", *lines, "", ""]
    return "\r\n".join(said).encode()


# Bodies


@pytest.mark.parametrize("token", [True, False])
def test_a_body_of_ten_megabytes_is_refused_unread(web: Web, token: bool) -> None:
    browser = web.program() if token else web.browser()
    for path in ("/api/commands/halt", "/api/session"):
        with contextlib.suppress(ConnectionError):  # It need not wait for all of it.
            found = browser.ask("POST", path, b"x" * HUGE, {"Content-Type": "application/json"})
            assert (found.status, found.object["ok"]) == (413, False)
    assert web.program().get("/api/status").object["trading"] == "ACTIVE"


def test_a_body_that_does_not_say_how_long_it_is_is_cut_off(web: Web) -> None:
    begin = head(web, "POST", "/api/commands/halt", "Content-Type: application/json", "Transfer-Encoding: chunked")
    answer = answer_to(web, begin, *[b"10000\r\n" + b" " * 65536 + b"\r\n"] * 300)
    assert b" 413 " in answer or not answer
    assert web.program().get("/api/status").object["trading"] == "ACTIVE"


def test_a_body_that_is_no_json_is_no_command(web: Web) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        found = web.program().ask("POST", "/api/commands/halt", b"{}", {"Content-Type": kind})
        assert found.status == 415
    assert web.program().ask("POST", "/api/commands/halt", b"[", {"Content-Type": "application/json"}).status == 400
    assert (
        web.program().ask("POST", "/api/session", b'{"token": 1}', {"Content-Type": "application/json"}).status == 400
    )


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 1000,
    ],
)
def test_what_is_no_request_is_turned_away(web: Web, request_: bytes) -> None:
    answer = answer_to(web, request_)
    assert answer == b"" or answer.split(b" ")[1] in {b"303", b"400", b"401", b"413", b"415", b"421"}
    assert b"positions" not in answer


# Clients that dawdle


@pytest.mark.parametrize(
    "words",
    [
        "",
        "GET / HT",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n",
        "POST /api/session HTTP/1.1\r\nHost: localhost\r\n\
Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{",
    ],
    ids=["silent", "a line", "a head", "a body"],
)
async def test_a_slow_request_is_not_waited_for(ours: Inside, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in (h11.IDLE, h11.SEND_BODY):
        monkeypatch.setitem(serving.WITHIN, stage, 0.3)
    slow = await ours.connect()
    slow.say(words)
    trickle = asyncio.create_task(_trickle(slow.writer))
    assert b"200" not in await slow.ended()
    trickle.cancel()


async def _trickle(writer: asyncio.StreamWriter) -> None:
    while True:
        await asyncio.sleep(0.05)
        writer.write(b"X")


async def _pour(writer: asyncio.StreamWriter) -> None:
    for _ in range(10_000):
        writer.write(b"x" * 65536)
        await writer.drain()


async def test_a_second_request_is_waited_for_as_little_as_the_first(
    ours: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(serving.WITHIN, h11.IDLE, 0.3)
    slow = await ours.connect()
    slow.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    status, headers = await slow.head()
    assert status == 200
    assert json.loads(await slow.reader.readexactly(int(headers["content-length"]))) == {"ok": True}
    slow.say("GET /healthz HT")
    trickle = asyncio.create_task(_trickle(slow.writer))
    assert await slow.ended() == b""
    trickle.cancel()


async def test_a_body_without_end_is_cut_after_sixteen_megabytes(ours: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_SENT", 256 * 1024)
    rude = await ours.connect()
    rude.say("POST /api/commands/halt HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
    rude.say(f"Authorization: Bearer {ours.token}\r\nContent-Length: 99999999999\r\n\r\n")
    assert (await rude.head())[0] == 413
    with pytest.raises(ConnectionError):
        await _pour(rude.writer)


@pytest.mark.parametrize(
    "words",
    [
        b"POST /api/session HTTP/1.1\r\nHost: localhost\r\n\
Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ],
    ids=["a body that breaks off", "another protocol", "no request"],
)
def test_who_has_no_token_cannot_fill_the_log(tmp_path: Path, words: bytes) -> None:
    with web_daemon(tmp_path / "place") as web:
        for _ in range(20):
            answer_to(web, words)
        web.process.terminate()
        _, errors = web.process.communicate(timeout=20)
    told = [each["event"] for each in map(json.loads, errors.splitlines())]
    assert told == ["dashboard", "stopped"]


# Many at once


@pytest.mark.parametrize(("clients", "each"), [(60, 1), (20, 10)], ids=["many clients", "many requests of each"])
async def test_however_many_ask_at_once_prices_come_between_their_requests(
    ours: Inside, clients: int, each: int
) -> None:
    asking = [await ours.connect() for _ in range(clients)]
    for client in asking:
        client.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * each)
    done = ours.dashboard._serving._state
    most = before = 0
    while done.total_requests < clients * each:
        await asyncio.sleep(0)  # The loop goes round once.
        most, before = max(most, done.total_requests - before), done.total_requests
    assert most <= 2


async def test_however_many_look_at_everything_prices_come_between_their_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Mock(wraps=facts.encode)
    monkeypatch.setattr(facts, "encode", encode)
    async with asyncio.timeout(60), inside(tmp_path, 2 * app.SLICE) as ours:
        for looker in [await ours.connect() for _ in range(10)]:
            looker.say(f"GET /api/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ours.token}\r\n\r\n")
        most = before = 0
        while encode.call_count < 10 * (2 * app.SLICE + 1):  # Each is sent the whole, and its positions.
            await asyncio.sleep(0)  # The loop goes round once.
            most, before = max(most, encode.call_count - before), encode.call_count
    assert most <= app.SLICE + 1


async def test_a_request_that_turns_out_to_be_broken_after_its_answer_ends_its_connection_and_nothing_else(
    ours: Inside,
) -> None:
    wrong = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    rude = await ours.connect()
    rude.say("POST /api/commands/halt HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
    assert (await rude.head())[0] == 415
    rude.say("no chunk\r\n")
    await rude.ended()
    assert wrong == []


# More than there is room for


def answered(line: socket.socket) -> str:
    """Give the status of what was asked; nothing where the connection was ended instead."""
    with contextlib.suppress(ConnectionError):
        return line.recv(12).decode().removeprefix("HTTP/1.1 ")
    return ""


def test_a_thousand_idle_dashboards_leave_prices_commands_and_whoever_comes_next_alone(tmp_path: Path) -> None:
    with watched_daemon(tmp_path / "state") as daemon, ExitStack() as lines:
        asked = head(daemon, "GET", "/api/stream", "Connection: keep-alive")
        opened = [lines.enter_context(socket.create_connection(("127.0.0.1", daemon.port), 20)) for _ in range(1000)]
        for each in opened:
            with contextlib.suppress(ConnectionError):
                each.sendall(asked)
        statuses = {each: answered(each) for each in opened}
        assert Counter(statuses.values())["200"] == STREAMS
        assert set(statuses.values()) <= {"200", "503", ""}

        daemon.price(94)
        assert daemon.hear("order_filled")["symbol"] == "QQQ"
        assert ask(daemon.state, "POST", "/commands/deposit", {"amount": "1"}).status == 200
        descriptors = len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))
        assert descriptors < CLIENTS + 64

        for each, status in statuses.items():
            if status != "200":
                each.close()  # Who was refused goes; whoever looks stays.
        while (next_one := Browser(daemon.port, daemon.token).get("/api/status")).status == 503:
            pass  # Their going has yet to be seen.
        assert next_one.status == 200
        assert Browser(daemon.port, daemon.token).get("/api/stream").status == 503
        daemon.price(106)
        assert daemon.hear("order_filled")["side"] == "trim"


def test_a_thousand_silent_connections_are_told_to_come_back(web: Web) -> None:
    with ExitStack() as lines:
        opened = [lines.enter_context(socket.create_connection(("127.0.0.1", web.port), 20)) for _ in range(1000)]
        told = Counter(each.recv(12) for each in opened[-100:])
        assert told[BUSY[:12]] > 0
        assert set(told) <= {BUSY[:12], b""}  # Some may have been let in after others, and said nothing until the end.
        assert ask(web.place.state, "GET", "/status").status == 200
    assert web.program().get("/api/status").status == 200
