"""Who gets in at the dashboard of a real daemon, and who does not: tokens, cookies, other sites, other names."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from mrdaemon.core.events import KINDS
from mrdaemon.places import TOKEN, KeyFileError
from mrdaemon.pulse import Work
from mrdaemon.web import access
from mrdaemon.web.access import Access, token
from mrdaemon.web.gate import Gate
from tests.ntfy_server import until
from tests.running import mrdaemon
from tests.webbed import Browser, Reply, Web, web_daemon
from tests.webinside import inside

WRONG = "x" * 43


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with web_daemon(
        tmp_path_factory.mktemp("web") / "place", 'hosts = ["mrdaemon.example", "proxy.example:8443"]'
    ) as web:
        yield web


@pytest.fixture
def journal(web: Web) -> Iterator[None]:
    """See that nothing was journaled meanwhile."""
    before = events(web)
    yield
    assert events(web) == before


def events(web: Web) -> str:
    return mrdaemon("events", "--json", "--state", web.place.state).out


# The token


def test_the_token_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    made = token(tmp_path)
    assert len(made) == 43
    assert stat.S_IMODE((tmp_path / TOKEN).stat().st_mode) == 0o600
    assert token(tmp_path) == made


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_token_that_others_may_read_or_write_is_not_believed(tmp_path: Path, mode: int) -> None:
    token(tmp_path)
    (tmp_path / TOKEN).chmod(mode)
    with pytest.raises(KeyFileError, match=r"web-token: others may read or write it .* so they could command"):
        token(tmp_path)


@pytest.mark.parametrize("text", ["", "secret\n", "é" * 40, "a\tb" * 20])
def test_a_token_that_could_be_guessed_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / TOKEN).write_text(text)
    (tmp_path / TOKEN).chmod(0o600)
    with pytest.raises(KeyFileError, match="it is no token"):
        token(tmp_path)


def test_the_token_lets_a_program_look_and_act(web: Web) -> None:
    assert web.program().get("/api/status").object["live"] is True
    done = web.program().command("deposit", amount="1", why="a test").object
    assert done["ok"] is True
    assert done["events"][0]["by"] == "web token, from 127.0.0.1"


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"Authorization": f"Bearer {WRONG}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Cookie": f"mrdaemon_session={WRONG}"},
    ],
)
def test_without_the_token_nothing_is_shown_and_nothing_done(web: Web, sent: dict[str, str]) -> None:
    browser = Browser(web.port)
    browser.headers = sent
    for path in (
        "/api/status",
        "/api/news",
        "/api/stream",
        "/metrics",
        "/api/prices/QQQ",
        "/api/reserve/core",
        "/nope",
    ):
        assert browser.get(path).status in {401, 429}
    assert browser.command("halt").status in {401, 429}


def test_who_guesses_is_slowed_down_and_the_right_token_never(web: Web) -> None:
    with web_daemon(web.place.config.parent.parent / "guessed") as other:
        guesser = Browser(other.port, WRONG)
        statuses = [guesser.get("/api/status").status for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        assert int(guesser.get("/api/status").headers["Retry-After"]) >= 1
        assert other.browser().ask("POST", "/api/session", {"token": WRONG}).status == 429
        assert other.program().get("/api/status").status == 200


def test_a_whole_network_of_ipv6_is_one_guesser() -> None:
    guessed = Access("t" * 43, clock=lambda: 0.0)
    waits = [guessed.wrong(f"2001:db8:0:1::{n:x}") for n in range(12)]
    assert [bool(each) for each in waits] == [False] * 10 + [True] * 2
    assert guessed.wrong("2001:db8:0:2::1") == 0


def test_clients_of_ipv4_are_not_one_where_ipv6_is_listened_to_as_well() -> None:
    guessed = Access("t" * 43, clock=lambda: 0.0)
    assert not any(guessed.wrong(f"::ffff:10.0.0.{n}") for n in range(12))


def test_guessers_are_forgiven_with_time_and_forgotten_in_the_end() -> None:
    now = [0.0]
    guessed = Access("t" * 43, clock=lambda: now[0])
    waits = [guessed.wrong("10.0.0.1") for _ in range(11)]
    assert waits[-1] > 0
    now[0] += waits[-1]
    assert guessed.wrong("10.0.0.1") == 0
    for n in range(2 * access.CLIENTS):
        guessed.wrong(f"10.1.{n // 256}.{n % 256}")
    assert len(guessed._guessers) == access.CLIENTS


# Sessions


def test_a_browser_trades_the_token_for_a_cookie_to_look_and_a_word_to_act(web: Web) -> None:
    browser = web.browser()
    reply = browser.ask("POST", "/api/session", {"token": web.token})
    cookie = str(reply.headers["Set-Cookie"])
    assert {"HttpOnly", "Path=/", "SameSite=strict", "Max-Age=2592000"} <= set(cookie.split("; "))
    browser.headers = {"Cookie": cookie.partition(";")[0]}
    assert browser.get("/api/status").status == 200
    assert browser.get("/").status == 200
    done = browser.command("deposit", {"X-CSRF-Token": reply.object["csrf"]}, amount="1")
    assert done.object["events"][0]["by"] == "dashboard, from 127.0.0.1"


@pytest.mark.usefixtures("journal")
def test_a_stolen_cookie_can_look_but_not_act(web: Web) -> None:
    thief = web.browser()
    word = thief.sign_in(web.token)
    other = web.browser().sign_in(web.token)
    for guess in ("", other, word[:-1], "é"):
        refused = thief.command("halt", {"X-CSRF-Token": guess} if guess.isascii() else {})
        assert (refused.status, "X-CSRF-Token" in refused.object["error"]) == (403, True)
    assert thief.ask("DELETE", "/api/session").status == 403
    assert thief.get("/api/status").status == 200


def test_a_cookie_from_another_address_ends_its_session() -> None:
    doors = Access("t" * 43)
    opened = doors.open("10.0.0.1")
    assert doors.session(opened.cookie, "10.0.0.1") is not None
    assert doors.session(opened.cookie, "10.0.0.2") is None
    assert doors.session(opened.cookie, "10.0.0.1") is None


HOUR = 3600.0
DAY = 24 * HOUR


class Door:
    """A gate before a stream, on a clock that a test sets; one browser signed in."""

    def __init__(self) -> None:
        self.now = 0.0
        self.access = Access("t" * 43, clock=lambda: self.now)
        self.opened = self.access.open("10.0.0.1")
        self.told: list[int] = []
        self._gone: asyncio.Queue[Message] = asyncio.Queue()
        self._gate = Gate(self._answer, self.access, "ours", [])

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/api/stream":
            await receive()

    async def ask(self, method: str = "GET", path: str = "/api/status") -> int:
        """Ask, and give the status once it is answered."""
        said = {"host": "localhost", "cookie": f"ours={self.opened.cookie}", "x-csrf-token": self.opened.csrf}
        headers = [(name.encode(), value.encode()) for name, value in said.items()]
        client = ("10.0.0.1", 1)
        scope = {"type": "http", "method": method, "path": path, "headers": headers, "client": client}
        await self._gate(scope, self._gone.get, self._note)
        return self.told[-1]

    async def _note(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.told.append(message["status"])

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[None]:
        """Have a stream open."""
        stream = asyncio.create_task(self.ask("GET", "/api/stream"))
        await until(lambda: self.told == [200])
        yield
        self._gone.put_nowait({"type": "http.disconnect"})
        await stream


async def test_a_session_lasts_while_its_stream_is_open_and_twelve_hours_more() -> None:
    door = Door()
    async with asyncio.timeout(10), door.stream():
        door.now = 5 * DAY
        assert await door.ask() == 200
    door.now += 12 * HOUR - 1
    assert await door.ask() == 200
    door.now += 12 * HOUR
    assert await door.ask() == 401
    door.now -= 1
    assert await door.ask() == 401


async def test_a_session_does_not_last_for_ever_however_much_is_looked_at_it() -> None:
    door = Door()
    async with asyncio.timeout(10), door.stream():
        door.now = 30 * DAY - 1
        assert await door.ask() == 200
        door.now += 1
        assert await door.ask() == 401


async def test_to_act_the_token_is_wanted_again_after_twelve_hours_but_not_to_leave() -> None:
    door = Door()
    async with asyncio.timeout(10), door.stream():
        door.now = 12 * HOUR - 1
        assert await door.ask("POST", "/api/commands/halt") == 200
        door.now += 1
        assert await door.ask("POST", "/api/commands/halt") == 401
        assert await door.ask() == 200
        assert await door.ask("DELETE", "/api/session") == 200


def test_the_oldest_session_gives_way_to_a_newer_one() -> None:
    doors = Access("t" * 43)
    first, second, *_ = [doors.open("10.0.0.1") for _ in range(access.SESSIONS + 1)]
    assert doors.session(first.cookie, "10.0.0.1") is None
    assert doors.session(second.cookie, "10.0.0.1") is not None


def test_a_browser_that_signs_in_again_has_one_session(web: Web) -> None:
    browser, _ = signed_in(web)
    with browser.stream() as stream:
        stream.hear("hello")
        assert browser.ask("POST", "/api/session", {"token": WRONG}).status in {401, 429}
        assert browser.get("/api/status").status == 200
        assert browser.ask("POST", "/api/session", {"token": web.token}).status == 200
        with suppress(http.client.IncompleteRead):
            stream.response.read()  # It ends, or this takes too long.
    assert browser.get("/api/status").status == 401


def test_signing_out_ends_the_session_wherever_its_cookie_is(web: Web) -> None:
    browser = web.browser()
    word = browser.sign_in(web.token)
    left = browser.ask("DELETE", "/api/session", headers={"X-CSRF-Token": word})
    assert left.status == 204
    assert "Max-Age=0" in str(left.headers["Set-Cookie"])
    assert browser.get("/api/status").status == 401


@pytest.mark.parametrize("path", ["/api/stream", "/api/events?follow=true"])
def test_who_signed_out_is_sent_nothing_more(web: Web, path: str) -> None:
    browser, headers = signed_in(web)
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    with closing(line):
        line.request("GET", path, headers=browser.headers)
        stream = line.getresponse()
        stream.readline()
        assert browser.ask("DELETE", "/api/session", headers=headers).status == 204
        with suppress(http.client.IncompleteRead):
            stream.read()  # It ends, or this takes too long.


@pytest.mark.usefixtures("journal")
def test_a_command_that_was_begun_before_signing_out_is_not_done_after_it(web: Web) -> None:
    browser, headers = signed_in(web)
    said = {**browser.headers, **headers, "Content-Type": "application/json", "Content-Length": "2"}
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    with closing(line):
        line.putrequest("POST", "/api/commands/halt")
        for name, value in said.items():
            line.putheader(name, value)
        line.endheaders(b"{")
        assert browser.ask("DELETE", "/api/session", headers=headers).status == 204
        with suppress(ConnectionError):
            line.send(b"}")
            assert line.getresponse().status == 400


async def test_a_stream_ends_when_its_session_has_lasted_long_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "LONGEST", 1.0)
    async with asyncio.timeout(20), inside(tmp_path) as ours:
        browser = Browser(ours.port)
        await asyncio.to_thread(browser.sign_in, ours.token)
        looker = await ours.connect()
        looker.say(f"GET /api/stream HTTP/1.1\r\nHost: localhost\r\nCookie: {browser.headers['Cookie']}\r\n\r\n")
        await looker.hear("hello")
        assert (await looker.reader.readuntil(b"\r\n0\r\n\r\n")).endswith(b"0\r\n\r\n")


def test_without_a_session_a_person_is_led_to_the_page_that_asks_for_the_token(web: Web) -> None:
    led = web.browser().get("/")
    assert (led.status, led.headers["Location"]) == (303, "/login")
    assert web.browser().get("/login").status == 200


def test_cookies_of_other_programs_on_this_machine_do_no_harm(web: Web) -> None:
    browser = web.browser()
    browser.sign_in(web.token)
    browser.headers["Cookie"] = f'a="b;c; {{}}=[]; {browser.headers["Cookie"]}; mrdaemon_session_1=x'
    assert browser.get("/api/status").status == 200


# Other sites, and other names


def signed_in(web: Web, **headers: str) -> tuple[Browser, dict[str, str]]:
    browser = web.browser()
    word = browser.sign_in(web.token)
    return browser, {"X-CSRF-Token": word, **headers}


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "file://"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_cannot_act_even_with_all_that_it_takes(web: Web, sent: dict[str, str]) -> None:
    browser, headers = signed_in(web, **sent)
    assert browser.command("halt", headers).status == 403
    assert web.browser().ask("POST", "/api/session", {"token": web.token}, sent).status == 403


def test_our_own_page_can(web: Web) -> None:
    browser, headers = signed_in(web, **{"Origin": web.url, "Sec-Fetch-Site": "same-origin"})
    assert browser.command("deposit", headers, amount="1").status == 200


def test_a_page_of_another_site_cannot_look_either(web: Web) -> None:
    browser, _ = signed_in(web)
    assert browser.get("/api/status", {"Sec-Fetch-Site": "cross-site"}).status == 403
    assert browser.get("/", {"Sec-Fetch-Site": "cross-site"}).status == 200  # A link on another site may lead here.


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "a@127.0.0.1",
        "",
        "::1",
        "[",
        "[::1",
        "127.0.0.1:x",
    ],
)
def test_a_name_that_was_made_to_point_here_gets_nothing(web: Web, host: str) -> None:
    for path in ("/", "/login", "/healthz", "/api/status", "/static/main.js"):
        reply = web.program().get(path, {"Host": host.format(port=web.port)})
        assert (reply.status, b"web.hosts" in reply.body or reply.status == 400) == (421, True)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:{port}",
        "127.0.0.1:{port}",
        "[::1]:{port}",
        "192.0.2.7",
        "MrDaemon.example",
        "proxy.example:8443",
    ],
)
def test_an_address_and_a_name_that_is_configured_are_ours(web: Web, host: str) -> None:
    assert web.program().get("/api/status", {"Host": host.format(port=web.port)}).status == 200


def test_a_configured_name_with_a_port_is_no_other_one(web: Web) -> None:
    assert web.program().get("/api/status", {"Host": "proxy.example:1"}).status == 421


# What every answer carries


@pytest.mark.parametrize(
    "path", ["/", "/login", "/static/main.js", "/healthz", "/api/status", "/nope", "/api/explain/IBM"]
)
def test_every_answer_keeps_the_browser_from_harm(web: Web, path: str) -> None:
    for browser in (web.browser(), web.program()):
        headers = browser.get(path).headers
        policy = dict(each.partition(" ")[::2] for each in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers
        assert headers["Server"] is None


def test_what_the_api_says_is_kept_nowhere(web: Web) -> None:
    assert web.program().get("/api/status").headers["Cache-Control"] == "no-store"
    page = web.browser().get("/static/main.js")
    assert page.headers["Cache-Control"] == "no-cache"
    assert web.browser().get("/static/main.js", {"If-None-Match": page.headers["ETag"]}).status == 304


# Whoever comes


async def test_who_has_no_token_is_told_that_something_is_stuck_and_not_what(tmp_path: Path) -> None:
    async with asyncio.timeout(20), inside(tmp_path) as ours:
        work = Work("orders of my-account")
        ours.daemon.pulse.watch(work)
        work.end()
        anybody = await ours.connect()
        anybody.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, headers = await anybody.head()
        body = await anybody.reader.readexactly(int(headers["content-length"]))
    assert (status, json.loads(body)) == (503, {"ok": False})


# Paths


def raw(web: Web, target: str, head: str = "") -> Reply | bytes:
    """Ask for a path exactly as it is written, which no client would do."""
    with socket.create_connection(("127.0.0.1", web.port), 20) as line:
        line.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n".encode())
        answer = b""
        while block := line.recv(65536):
            answer += block
        return answer


@pytest.mark.parametrize(
    "path",
    [
        "/static/../web-token",
        "/static/%2e%2e/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/%00",
        "/static/main.js%00.css",
        "/static/",
        "/static",
        "/static/..\\app.py",
        "/static/MAIN.JS",
    ],
)
def test_nothing_but_the_pages_files_is_given(web: Web, path: str) -> None:
    answer = raw(web, path)
    assert isinstance(answer, bytes)
    assert answer.split(b" ")[1] in {b"401", b"404"}


@pytest.mark.parametrize(
    "path",
    [
        "/static/../api/status",
        "//api/status",
        "/api//status",
        "/API/status",
        "/api/./status",
        "/login/../api/status",
        "/healthz/../api/status",
        "/api/status/",
        "/%61pi/status",
        "/api/status;/login",
        "/api/status%2f",
        "http://localhost/api/status",
    ],
)
def test_no_way_around_leads_past_the_gate(web: Web, path: str) -> None:
    answer = raw(web, path)
    assert isinstance(answer, bytes)
    assert answer.split(b" ")[1] in {b"400", b"401", b"404"}
    assert b"positions" not in answer


def test_an_unknown_kind_of_event_is_told_of_without_being_shown(web: Web) -> None:
    assert web.program().get("/api/events?kind=dance").status == 400
    assert "daemon_started" in KINDS
    found = web.program().get("/api/events?kind=daemon_started")
    assert [json.loads(each)["kind"] for each in found.body.splitlines()] == ["daemon_started"]
