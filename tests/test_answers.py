"""Answers that come back: each taken once, over the page and over the topic, and everything else told and refused."""

from __future__ import annotations

import asyncio
import html
import json
import logging
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import h11
import pytest
import structlog

from mrdaemon.alerts import ntfy
from mrdaemon.alerts.answers import RECORDED, Answers, Outcome, Question
from mrdaemon.alerts.asked import Request
from mrdaemon.alerts.ntfy import AnswerTopic
from mrdaemon.chain import JournalError
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.policy import ChannelState
from mrdaemon.places import AnswerPageError
from mrdaemon.retry import Backoff
from mrdaemon.settings import AnswersTable
from mrdaemon.web import serving
from mrdaemon.web.answers import AnswerPage
from tests.answering import EXPIRES, ID, Notes, Open, Wall, links, tokens
from tests.ntfy_server import PATIENCE, Answered, NtfyServer, ask, until
from tests.test_push import all_logs

MINUTE = 60 * SECOND


class Desk:
    """Answers, with all that is around them in the hands of a test."""

    def __init__(self) -> None:
        self.wall, self.requests = Wall(), Open()
        self.notes = Notes(self.requests)
        self.links = links(self.requests, self.wall)
        self.answers = Answers(self.links, self.notes, self.wall)
        self.approve, self.reject = tokens(self.links).values()

    def reopen(self) -> None:
        """Ask once more, under the same number."""
        self.requests.requests[ID] = Request(EXPIRES, 600 * SECOND, "buy")


@pytest.fixture
def desk() -> Desk:
    return Desk()


# Taking one


async def test_an_approval_is_carried_out_and_told(desk: Desk) -> None:
    outcome = await desk.answers.take(desk.approve, "an ntfy button")
    assert desk.notes.asked == [("approve", {"id": ID}, "an ntfy button")]
    assert outcome == Outcome(ok=True, text="Signal 7 of BRK.B was approved by an ntfy button. Mind the gap.")


async def test_a_rejection_is_carried_out(desk: Desk) -> None:
    await desk.answers.take(desk.reject, "a link")
    assert desk.notes.asked == [("reject", {"id": ID}, "a link")]


async def test_what_the_daemon_refuses_is_told_with_its_reason(desk: Desk) -> None:
    desk.notes.objection = "nothing was sent: at approval a guard objected: the market is closed"
    outcome = await desk.answers.take(desk.approve, "a link")
    assert not outcome.ok
    assert "core/BRK.B/7: nothing was sent: at approval a guard objected: the market is closed." in outcome.text


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("approve", "approve", "was already approved by a"),
        ("approve", "reject", "was already approved by a"),
        ("reject", "approve", "was already rejectd by a"),
    ],
)
async def test_a_second_answer_does_nothing_and_says_why(desk: Desk, first: str, second: str, told: str) -> None:
    both = tokens(desk.links)
    await desk.answers.take(both[first], "a")
    outcome = await desk.answers.take(both[second], "b")
    assert not outcome.ok
    assert outcome.text == f"{ID} {told}. Nothing was done."
    assert len(desk.notes.asked) == 1
    assert [(name, by) for name, by, _ in desk.notes.refused] == [(second, "b")]


async def test_of_two_answers_at_the_same_time_one_is_taken(desk: Desk) -> None:
    outcomes = await asyncio.gather(*(desk.answers.take(desk.approve, name) for name in "abc"))
    assert [each.ok for each in outcomes] == [True, False, False]
    assert len(desk.notes.asked) == 1


async def test_a_late_answer_does_nothing(desk: Desk) -> None:
    desk.wall.now += 601 * SECOND
    outcome = await desk.answers.take(desk.approve, "a link")
    assert outcome == Outcome(ok=False, text=f"the time to answer {ID} was over 1 s ago. Nothing was done.")
    assert desk.notes.asked == []
    assert desk.notes.refused == [("answer", "a link", f"the time to answer {ID} was over 1 s ago")]


async def test_an_answer_to_a_request_of_the_same_number_in_another_journal_does_nothing(desk: Desk) -> None:
    desk.requests.requests[ID] = Request(Instant(EXPIRES + 1), 600 * SECOND, "sell up to $9,000.00 of BRK.B")
    assert not (await desk.answers.take(desk.approve, "a link")).ok
    assert desk.notes.asked == []


@pytest.mark.parametrize("token", ["", "hello", "x.y", "e30.e30", "a" * 100_000, "\x00", "ü"])
async def test_garbage_is_refused_and_recorded(desk: Desk, token: str) -> None:
    outcome = await desk.answers.take(token, "somebody")
    assert not outcome.ok
    assert desk.notes.asked == []
    [(name, by, reason)] = desk.notes.refused
    assert (name, by) == ("answer", "somebody")
    assert len(reason) < 100


async def test_a_flood_is_recorded_in_part_and_hinders_no_real_answer(desk: Desk) -> None:
    for number in range(200):
        await desk.answers.take(f"forged.{number}", "somebody")
    assert len(desk.notes.refused) == RECORDED
    assert (await desk.answers.take(desk.approve, "a link")).ok
    desk.wall.now += MINUTE
    await desk.answers.take("forged", "somebody")
    assert len(desk.notes.refused) == RECORDED + 1


async def test_when_the_daemon_cannot_take_it_a_person_is_told_so_in_plain_words(desk: Desk) -> None:
    desk.notes.broken = JournalError("/var/lib/s3cret/journal.db: cannot write: database or disk is full")
    with structlog.testing.capture_logs() as logs:
        outcome = await desk.answers.take(desk.approve, "a link")
    assert outcome == Outcome(
        ok=False,
        text="mrdaemon could not take it: it is stopping, or something is wrong with it, which its log tells. "
        "Nothing is known to have been done.",
    )
    assert logs[0]["exc_info"]
    desk.notes.broken = None
    assert (await desk.answers.take(desk.approve, "a link")).ok


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_page_shows_nothing_of_the_machine_when_the_journal_cannot_be_used(desk: Desk, method: str) -> None:
    desk.requests.broken = JournalError("/var/lib/s3cret/journal.db: cannot read: disk I/O error")
    del desk.requests.requests[ID]
    async with served(desk) as url:
        seen = await ask(method, f"{url}/answer/{desk.approve}")
    assert "s3cret" not in seen.text
    assert "Nothing is known to have been done." in told(seen)


async def test_to_look_does_nothing(desk: Desk) -> None:
    for _ in range(3):
        assert await desk.answers.look(desk.approve) == Question(
            f"Approve {ID}: buy up to $250.00 of BRK.B?", "Approve"
        )
    assert (desk.notes.asked, desk.notes.refused) == ([], [])


# The page


@asynccontextmanager
async def served(desk: Desk) -> AsyncIterator[str]:
    async with AnswerPage("127.0.0.1:0", desk.answers) as serving:
        yield f"http://127.0.0.1:{serving.port}"


def told(answer: Answered) -> str:
    """Give the paragraph of a page."""
    found = re.search("<p>(.*?)</p>", answer.text)
    assert found is not None
    return html.unescape(found[1])


async def test_a_link_shows_a_question_and_its_button_answers(desk: Desk) -> None:
    async with served(desk) as url:
        seen = await ask("GET", f"{url}/answer/{desk.approve}")
        assert (seen.status, told(seen)) == (200, f"Approve {ID}: buy up to $250.00 of BRK.B?")
        assert '<form method="post"><p><button>Approve</button>' in seen.text
        assert desk.notes.asked == []
        done = await ask("POST", f"{url}/answer/{desk.approve}")
    assert (done.status, told(done)) == (200, "Signal 7 of BRK.B was approved by a link, from 127.0.0.1. Mind the gap.")
    assert len(desk.notes.asked) == 1


async def test_a_double_click_is_one_approval(desk: Desk) -> None:
    async with served(desk) as url:
        both = await asyncio.gather(*(ask("POST", f"{url}/answer/{desk.approve}") for _ in range(2)))
    assert sorted(each.status for each in both) == [200, 409]
    assert "already approved" in told(next(each for each in both if each.status == 409))
    assert len(desk.notes.asked) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_preview_of_a_link_answers_nothing(desk: Desk, method: str) -> None:
    async with served(desk) as url:
        assert (await ask(method, f"{url}/answer/{desk.approve}")).status == 200
    assert desk.notes.asked == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_page_runs_no_script_is_kept_nowhere_and_tells_nobody_its_address(desk: Desk, method: str) -> None:
    async with served(desk) as url:
        answers = [await ask(method, f"{url}/{path}") for path in (f"answer/{desk.approve}", "answer/forged", "else")]
    for each in answers:
        assert each.headers["cache-control"] == "no-store"
        assert each.headers["referrer-policy"] == "no-referrer"
        assert each.headers["content-security-policy"].startswith("default-src 'none'; form-action 'self';")
        assert "server" not in each.headers
        assert "<script" not in each.text


async def test_nothing_else_is_served(desk: Desk) -> None:
    async with served(desk) as url:
        for path in ("", "answer", "answer/", "status", "commands/halt", "answer/x/y", "../etc/passwd"):
            assert (await ask("GET", f"{url}/{path}")).status == 404
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            assert (await ask(method, f"{url}/answer/{desk.approve}")).status == 405
    assert (desk.notes.asked, desk.notes.refused) == ([], [])


async def test_what_is_asked_is_not_echoed_as_markup(desk: Desk) -> None:
    async with served(desk) as url:
        seen = await ask("GET", f"{url}/answer/%3Cscript%3E")
    assert seen.status == 409
    assert "<script>" not in seen.text


async def test_a_body_is_not_read_however_large(desk: Desk) -> None:
    async with served(desk) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(f"POST /answer/{desk.approve} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
    assert len(desk.notes.asked) == 1


async def test_an_endless_head_and_a_silent_client_are_cut_off(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(serving.WITHIN, h11.IDLE, 0.05)
    async with served(desk) as url, asyncio.timeout(PATIENCE):
        for first in (b"", b"GET /answer/", b"GET /" + b"x" * 100_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(first)
            with suppress(ConnectionResetError):
                assert b"200" not in await reader.read()
            writer.close()


async def test_a_port_that_is_taken_says_so(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AnswerPageError, match=rf"answers\.listen: 127\.0\.0\.1:{port} cannot be opened: Address"):
            async with AnswerPage(f"127.0.0.1:{port}", desk.answers):
                pass


async def test_a_page_is_served_over_ipv6_as_well(desk: Desk) -> None:
    async with AnswerPage("[::1]:0", desk.answers) as six:
        assert (await ask("GET", f"http://[::1]:{six.port}/answer/{desk.approve}")).status == 200


# The topic


@pytest.fixture
async def server() -> AsyncIterator[NtfyServer]:
    async with NtfyServer() as serving:
        yield serving


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect anew at once."""
    monkeypatch.setattr(ntfy, "Backoff", lambda: Backoff(0.01, 0.02))


Stood = list[tuple[ChannelState, str]]
"""How the topic stood, one after the other."""


@asynccontextmanager
async def listening(desk: Desk, server: NtfyServer, token: str | None = None) -> AsyncIterator[Stood]:
    topic = AnswerTopic(AnswersTable(topic=f"{server.url}/answers-x", token=token), desk.answers)
    stood: Stood = []

    async def stands(state: ChannelState, reason: str) -> None:
        stood.append((state, reason))

    topic.stands = stands
    task = asyncio.create_task(topic.listen())
    try:
        yield stood
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_answer_comes_in_over_the_topic(desk: Desk, server: NtfyServer) -> None:
    async with listening(desk, server) as stood:
        await server.until_listened()
        assert (await ask("POST", f"{server.url}/answers-x", desk.approve)).status == 200
        await until(lambda: desk.notes.asked)
    assert stood == [(ChannelState.UP, "")]
    assert desk.notes.asked == [("approve", {"id": ID}, "an ntfy button")]


async def test_what_is_no_answer_is_passed_over(desk: Desk, server: NtfyServer) -> None:
    async with listening(desk, server):
        await server.until_listened()
        for rubbish in ("", "{", "[1]", '"x"', '{"event": 1}', '{"event":"message","message":{}}', b"\xff\x00", "null"):
            server.say("answers-x", rubbish)
        server.say("answers-x", json.dumps({"event": "keepalive", "id": "k", "time": 1}))
        server.say("answers-x", json.dumps({"event": "poll_request", "id": "k", "time": 1, "message": desk.reject}))
        server.keep("answers-x", desk.approve)
        await until(lambda: desk.notes.asked)
        assert len(server.subscriptions) == 1
    assert [name for name, _, _ in desk.notes.asked] == ["approve"]


@pytest.mark.usefixtures("prompt")
async def test_what_was_posted_while_the_connection_was_away_is_taken_once(desk: Desk, server: NtfyServer) -> None:
    async with listening(desk, server) as stood:
        await server.until_listened()
        first = server.keep("answers-x", "something else")
        await until(lambda: desk.notes.refused)
        await server.__aexit__()
        await until(lambda: len(stood) > 1)
        server.keep("answers-x", desk.approve)
        await server.__aenter__()
        await until(lambda: desk.notes.asked)
    assert server.subscriptions[0] == "all"
    assert set(server.subscriptions[1:]) == {first["id"]}
    assert len(desk.notes.refused) == 1


async def test_after_a_restart_an_open_request_is_answered_and_old_ones_are_not_told_again(
    desk: Desk, server: NtfyServer
) -> None:
    server.began = 100
    for _ in range(50):
        server.keep("answers-x", "something else")
    server.keep("answers-x", desk.approve)
    server.keep("answers-x", desk.reject)
    server.began = 0
    async with listening(desk, server):
        await server.until_listened()
        await until(lambda: desk.notes.asked)
        server.keep("answers-x", "new")
        await until(lambda: desk.notes.refused)
    assert [name for name, _, _ in desk.notes.asked] == ["approve"]
    assert len(desk.notes.refused) == 1


async def test_a_large_message_is_passed_over_and_nothing_else_is(desk: Desk, server: NtfyServer) -> None:
    async with listening(desk, server):
        await server.until_listened()
        server.keep("answers-x", "x" * 200_000)
        server.keep("answers-x", desk.approve)
        await until(lambda: desk.notes.asked)
    assert server.subscriptions == ["all"]


async def test_behind_a_message_that_is_too_large_to_be_read_no_answer_is_lost(
    desk: Desk, server: NtfyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconnecting = Held()
    monkeypatch.setattr(asyncio, "sleep", reconnecting.sleep)
    monkeypatch.setattr(ntfy, "Backoff", lambda: Backoff(HELD, HELD))
    async with listening(desk, server):
        await server.until_listened()
        server.keep("answers-x", "x" * (ntfy.LARGEST + 1))
        await until(lambda: reconnecting.waits)
        server.began = -5  # Its clock has gone on meanwhile.
        server.keep("answers-x", desk.approve)
        reconnecting.held.set()
        await until(lambda: desk.notes.asked)
    assert server.subscriptions[0] == "all"
    assert len(server.subscriptions) <= 4
    assert desk.notes.refused == []


HELD = 1e-9
"""The longest wait between two connections, by which a test knows it."""


class Held:
    """Holds a wait between two connections until a test lets it end; other waits are what they were."""

    def __init__(self) -> None:
        self.waits = 0
        self.held = asyncio.Event()
        self._sleep = asyncio.sleep

    async def sleep(self, seconds: float) -> None:
        if 0 < seconds <= HELD:
            self.waits += 1
            await self.held.wait()
        else:
            await self._sleep(seconds)


@pytest.mark.usefixtures("prompt")
async def test_a_protected_topic_is_read_with_the_token_and_a_wrong_one_is_said(desk: Desk, server: NtfyServer) -> None:
    server.readers["answers-x"] = "tk_right"
    async with listening(desk, server, "tk_wrong") as wrong:
        await until(lambda: wrong)
    [(state, reason)] = wrong
    assert state is ChannelState.REFUSED
    assert "HTTP 403: answers.token is wrong" in reason
    async with listening(desk, server, "tk_right") as right:
        await until(lambda: right)
    assert right == [(ChannelState.UP, "")]


@pytest.mark.usefixtures("prompt")
async def test_a_token_that_is_right_again_brings_the_answers_back(desk: Desk, server: NtfyServer) -> None:
    server.readers["answers-x"] = "tk_other"
    async with listening(desk, server, "tk_mine") as stood:
        await until(lambda: stood)
        server.readers["answers-x"] = "tk_mine"
        await until(lambda: len(stood) == 2)
    assert [state for state, _ in stood] == [ChannelState.REFUSED, ChannelState.UP]


@pytest.mark.usefixtures("prompt")
async def test_a_server_that_is_away_is_tried_until_it_is_there_and_is_told_of_once(
    desk: Desk, server: NtfyServer
) -> None:
    await server.__aexit__()
    async with listening(desk, server) as stood:
        await until(lambda: stood)
        await server.__aenter__()
        await server.until_listened()
        server.keep("answers-x", desk.approve)
        await until(lambda: desk.notes.asked)
    assert [state for state, _ in stood] == [ChannelState.DOWN, ChannelState.UP]
    assert "cannot be reached: Connect" in stood[0][1]


async def test_a_server_that_is_none_of_ntfy_is_said_to_be_silent(
    desk: Desk, server: NtfyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ntfy, "OPEN_WITHIN", 0.2)
    server.opens = False
    async with listening(desk, server) as stood:
        await until(lambda: stood)
    assert stood == [(ChannelState.DOWN, "it does not answer in time, or not as an ntfy server does")]


@pytest.mark.usefixtures("prompt")
async def test_neither_token_nor_topic_nor_answer_is_in_any_log(
    desk: Desk, server: NtfyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.readers["answers-x"] = "tk_s3cret"
    with all_logs() as logs, structlog.testing.capture_logs() as ours:
        async with listening(desk, server, "tk_wr0ng") as stood:
            await until(lambda: stood)
        async with listening(desk, server, "tk_s3cret"):
            await server.until_listened()
            server.keep("answers-x", desk.approve)
            await until(lambda: desk.notes.asked)
            server.keep("answers-x", desk.approve)
            await until(lambda: desk.notes.refused)
            server.cut()
            await server.until_listened(2)
        desk.reopen()
        desk.notes.broken = RuntimeError("no")
        async with served(desk) as url:
            for token in (desk.reject, desk.approve + "x"):
                await ask("GET", f"{url}/answer/{token}")
                await ask("POST", f"{url}/answer/{token}")
    assert len(ours) > 3
    printed = capsys.readouterr()
    said = [*logs.written, *map(str, ours), printed.out, printed.err, *map(str, desk.notes.refused), *map(str, stood)]
    secrets = ("tk_s3cret", "tk_wr0ng", "answers-x", desk.approve, desk.reject)
    assert [each for each in said if any(secret in each for secret in secrets)] == []
    assert logging.getLogger("websockets").level == logging.NOTSET
