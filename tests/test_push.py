"""Push through apprise, at a real local server: what arrives, what does not, and what is said of it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from mrdaemon.alerts import addresses
from mrdaemon.alerts.alert import Alert, Level, Topic
from mrdaemon.alerts.asked import Request
from mrdaemon.alerts.channel import Message, RefusedError, UndeliveredError
from mrdaemon.alerts.messages import together
from mrdaemon.alerts.push import PushChannel
from mrdaemon.core.instant import SECOND, Instant
from tests.answering import EXPIRES, PAGE, TOPIC, Open, Wall, links
from tests.ntfy_server import CUT, LARGEST, PATIENCE, NtfyServer, until
from tests.running import ROOT

# apprise 2.2 on Python before 3.13, in a module that it only looks for


@pytest.fixture
async def server() -> AsyncIterator[NtfyServer]:
    async with NtfyServer() as served:
        yield served


def alert(number: int = 1, text: str = "QQQ fell.", level: Level = Level.NOTICE) -> Alert:
    return Alert(
        id=f"nonce-{number}",
        at=Instant(number),
        level=level,
        topic=Topic.SIGNAL,
        kind="signal_raised",
        subject="core/QQQ",
        title=f"Signal {number}",
        text=text,
    )


def message(*numbers: int, text: str = "QQQ fell.", level: Level = Level.NOTICE) -> Message:
    alerts = [alert(number, text, level) for number in numbers or (1,)]
    title = alerts[0].title if len(alerts) == 1 else f"{len(alerts)} alerts"
    return Message(alerts, title, "\n".join(each.text for each in alerts), level)


def channel(url: str, instance: str = "mrdaemon", seconds: int = 10) -> PushChannel:
    return PushChannel("phone", url, timeout=seconds, instance=instance, links=None)


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


async def test_a_push_arrives_with_title_and_text(server: NtfyServer) -> None:
    await channel(server.push()).deliver(message(text="QQQ fell to $95.00: buy $250.00, 5 % below – now."))
    [arrived] = server.published
    assert (arrived.topic, arrived.title) == ("alerts", "Signal 1")
    assert arrived.message == "QQQ fell to $95.00: buy $250.00, 5 % below – now."
    assert "x-icon" not in arrived.headers


async def test_the_title_names_an_instance_that_is_not_the_usual_one(server: NtfyServer) -> None:
    await channel(server.push(), instance="cabin").deliver(message())
    assert server.published[0].title == "cabin: Signal 1"


@pytest.mark.parametrize(
    ("level", "priority"),
    [(Level.INFO, "low"), (Level.NOTICE, "default"), (Level.WARNING, "high"), (Level.CRITICAL, "max")],
)
async def test_the_level_is_the_priority(server: NtfyServer, level: Level, priority: str) -> None:
    await channel(server.push()).deliver(message(level=level))
    assert server.published[0].priority == priority


async def test_a_priority_in_the_address_stands(server: NtfyServer) -> None:
    await channel(server.push(options="?priority=min")).deliver(message(level=Level.CRITICAL))
    assert server.published[0].priority == "min"


@pytest.mark.parametrize("letter", ["x", "ü", "😀", '"'])
async def test_a_long_text_is_cut_and_says_so(server: NtfyServer, letter: str) -> None:
    await channel(server.push()).deliver(message(text="Begins. " + letter * 20_000))
    [arrived] = server.published
    assert arrived.message.startswith(f"Begins. {letter * 50}")
    assert arrived.message.endswith("(cut: it has 20,008 characters)")
    assert LARGEST / 4 < len(arrived.message.encode()) <= LARGEST


async def test_what_looks_like_markup_arrives_as_it_is(server: NtfyServer) -> None:
    text = r"a <b> & *c* _d_ :smile: \n ${HOME} {e} %20"
    for url in (server.push(), server.push("too", "?format=text")):
        await channel(url).deliver(message(text=text))
    assert [each.message for each in server.published] == [text, text]


# What goes wrong


@pytest.mark.parametrize("mood", [500, 502, 503, 429, 408, 507])
async def test_a_server_that_fails_is_tried_again(server: NtfyServer, mood: int) -> None:
    server.moods = [mood]
    phone = channel(server.push())
    with pytest.raises(UndeliveredError, match=f"ntfy at 127.0.0.1 answered HTTP {mood}"):
        await phone.deliver(message())
    await phone.deliver(message())
    assert len(server.published) == 1


async def test_a_connection_that_is_cut_is_no_delivery(server: NtfyServer) -> None:
    server.moods = [CUT]
    with pytest.raises(UndeliveredError, match="cannot be reached"):
        await channel(server.push()).deliver(message())


async def test_a_server_that_is_away_is_no_delivery() -> None:
    with pytest.raises(UndeliveredError, match=r"ntfy at 127\.0\.0\.1 cannot be reached"):
        await channel(f"ntfy://127.0.0.1:{closed_port()}/alerts").deliver(message())


@pytest.mark.parametrize("mood", [400, 413, 422])
async def test_a_message_that_is_refused_does_not_condemn_the_next(server: NtfyServer, mood: int) -> None:
    server.moods = [mood]
    phone = channel(server.push())
    with pytest.raises(RefusedError, match=f"refused this message: HTTP {mood}") as refused:
        await phone.deliver(message(1))
    assert refused.value.message_only
    await phone.deliver(message(2))
    assert [each.title for each in server.published] == ["Signal 2"]


@pytest.mark.parametrize("mood", [401, 403, 404])
@pytest.mark.parametrize("alerts", [1, 3])
async def test_a_wrong_token_is_refused_for_good(server: NtfyServer, mood: int, alerts: int) -> None:
    server.moods = [mood]
    phone = channel(server.push())
    with pytest.raises(RefusedError, match=f"HTTP {mood}") as refused:
        await phone.deliver(message(*range(alerts)))
    assert not refused.value.message_only
    await phone.deliver(message(*range(alerts)))
    assert len(server.published) == 1


@pytest.mark.parametrize("mood", [301, 302, 303, 307, 308])
async def test_a_redirect_is_refused_for_it_would_lose_the_message(server: NtfyServer, mood: int) -> None:
    server.moods = [mood]
    with pytest.raises(RefusedError, match="it has moved"):
        await channel(server.push()).deliver(message())


async def test_an_address_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(RefusedError, match="did you mean ntfys://"):
        await channel("ntfis://secret/secret").deliver(message())


async def test_an_address_of_several_places_is_refused_before_one_of_them_gets_anything(server: NtfyServer) -> None:
    server.moods = [200, 403]
    with pytest.raises(RefusedError, match="it is 2 places to send to"):
        await channel(server.push("good/bad")).deliver(message())
    assert server.tries == 0


async def test_a_redirect_is_followed_where_the_address_says_so(server: NtfyServer) -> None:
    server.moods = [307]
    await channel(server.push(options="?redirect=yes")).deliver(message())
    assert [each.topic for each in server.published] == ["elsewhere"]


# Repeats


async def test_what_is_given_up_from_outside_is_not_sent_twice(server: NtfyServer) -> None:
    server.hanging = asyncio.Event()
    phone = channel(server.push())
    delivering = asyncio.create_task(phone.deliver(message()))
    await until(lambda: server.tries)
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)
    server.hanging.set()
    await phone.deliver(message())
    assert server.tries == 1


# Questions


def question(number: int) -> Alert:
    return msgspec.structs.replace(alert(number), approval=f"core/S{number}/1", symbol=f"S{number}")


def asking(*alerts: Alert) -> Message:
    return together(alerts, lambda _: None)


def answering(url: str, page: str | None = PAGE, topic: str | None = None) -> PushChannel:
    requests = Open()
    for number in range(10):
        requests.requests[f"core/S{number}/1"] = Request(EXPIRES, 600 * SECOND, "buy")
    made = links(requests, Wall(), page=page, topic=topic)
    return PushChannel("phone", url, timeout=30, instance="mrdaemon", links=made)


async def test_a_question_carries_two_buttons(server: NtfyServer) -> None:
    await answering(server.push(), topic=TOPIC).deliver(asking(question(1)))
    [arrived] = server.published
    assert [(each["label"], each["method"], each["url"], each["clear"]) for each in arrived.actions] == [
        ("Approve", "POST", TOPIC, True),
        ("Reject", "POST", TOPIC, True),
    ]
    assert "http" not in arrived.message


async def test_other_services_get_links_to_a_page_that_asks_once_more(server: NtfyServer) -> None:
    await answering(f"json://{server.host}/hook", topic=TOPIC).deliver(asking(question(1)))
    text = json.loads(server.published[0].message)["message"]
    assert re.fullmatch(rf"QQQ fell\.\nApprove: {PAGE}/answer/\S+\nReject: {PAGE}/answer/\S+", text)


async def test_other_services_get_no_link_to_a_topic_where_a_look_would_do_nothing(server: NtfyServer) -> None:
    await answering(f"json://{server.host}/hook", page=None, topic=TOPIC).deliver(asking(question(1)))
    text = json.loads(server.published[0].message)["message"]
    assert text == "QQQ fell.\nAnswer on the machine itself: mrdaemon approve, or mrdaemon reject."


async def test_questions_that_come_together_each_have_their_own_buttons(server: NtfyServer) -> None:
    await answering(server.push()).deliver(asking(alert(1), alert(2), question(3), question(4), alert(5)))
    assert [each.title.partition(":")[0] for each in server.published] == [
        "2 alerts",
        "Signal 3",
        "Signal 4",
        "Signal 5",
    ]
    assert [len(each.actions) for each in server.published] == [0, 2, 2, 0]


async def test_many_questions_are_one_message_with_links_that_say_to_which_they_are(server: NtfyServer) -> None:
    server.largest = 100_000
    await answering(f"json://{server.host}/hook").deliver(asking(*map(question, range(8))))
    [arrived] = server.published
    assert f"\\nReject S7: {PAGE}/answer/" in arrived.message
    assert arrived.message.count("/answer/") == 16


async def test_too_many_questions_for_buttons_and_links_say_where_to_answer(server: NtfyServer) -> None:
    await answering(server.push()).deliver(asking(*map(question, range(8))))
    [arrived] = server.published
    assert arrived.actions == []
    assert arrived.message.endswith("\nAnswer on the machine itself: mrdaemon approve, or mrdaemon reject.")


async def test_a_repeat_sends_only_what_did_not_arrive_of_several_questions(server: NtfyServer) -> None:
    server.moods = [200, 500]
    phone = answering(server.push())
    questions = asking(*map(question, (1, 2, 3)))
    with pytest.raises(UndeliveredError):
        await phone.deliver(questions)
    await phone.deliver(questions)
    assert [each.title for each in server.published] == ["Signal 1", "Signal 2", "Signal 3"]


async def test_a_channel_without_buttons_sends_questions_with_the_rest(server: NtfyServer) -> None:
    await channel(server.push()).deliver(asking(question(1), alert(2)))
    assert len(server.published) == 1
    assert server.published[0].actions == []


async def test_a_long_question_keeps_its_links(server: NtfyServer) -> None:
    server.largest = 100_000
    long = msgspec.structs.replace(question(1), text="x" * 200_000)
    await answering(f"json://{server.host}/hook").deliver(asking(long))
    text = json.loads(server.published[0].message)["message"]
    assert "(cut: it has 200,000 characters)\nApprove: https://" in text


# A server that hangs


async def test_a_hanging_server_is_given_up_in_time_while_the_loop_goes_on(server: NtfyServer) -> None:
    server.hanging = asyncio.Event()
    phone = channel(server.push(), seconds=1)
    await asyncio.to_thread(phone._load)  # Loading apprise is no part of what is timed.
    begun, turns = time.monotonic(), 0
    delivering = asyncio.create_task(phone.deliver(message()))
    while not delivering.done():
        await asyncio.sleep(0)
        turns += 1
    with pytest.raises(UndeliveredError, match=r"no answer within 0\.9 s|does not answer in time"):
        delivering.result()
    assert time.monotonic() - begun < 5
    assert turns > 100


async def test_calls_that_hang_do_not_pile_up(server: NtfyServer) -> None:
    server.hanging = asyncio.Event()
    phone = channel(server.push(options="?rto=60"), seconds=1)
    with pytest.raises(UndeliveredError, match="no answer within"):
        await phone.deliver(message(1))
    for number in (2, 3):
        with pytest.raises(UndeliveredError, match="the call before this one still hangs"):
            await phone.deliver(message(number))
    assert sum(each.name.startswith("push ") for each in threading.enumerate()) == 1


async def test_a_late_answer_counts_and_nothing_is_sent_twice(server: NtfyServer) -> None:
    server.hanging = asyncio.Event()
    phone = channel(server.push(options="?rto=60"), seconds=1)
    with pytest.raises(UndeliveredError):
        await phone.deliver(message())
    server.hanging.set()
    await until(lambda: server.published)
    server.hanging = None
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await phone.deliver(message())
                break
            except UndeliveredError:
                continue
    assert server.tries == 1


def test_a_call_that_hangs_does_not_keep_the_program_from_ending() -> None:
    program = """
import asyncio, sys
from tests.test_push import channel, message
from mrdaemon.alerts.channel import UndeliveredError
try:
    asyncio.run(channel(sys.argv[1], seconds=1).deliver(message()))
except UndeliveredError as error:
    print(error)
"""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ntfy://127.0.0.1:{silent.getsockname()[1]}/alerts?rto=600"
        ended = subprocess.run(
            [sys.executable, "-c", program, url],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    assert "no answer within" in ended.stdout


# What is said of addresses

SECRET = "s3cretZ9"
MAIL = "mailtos://me:pw@example.com"
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
TELEGRAM = "tgram://123456789:abcdefghijklmnopqrstuvwxyzabcdefghi"
LOGIC = (
    "https://prod-1.westus.logic.azure.com:443/workflows/ab643a1f4e4c4e6a8f6a1d5ed2d41acd/triggers/manual/paths/invoke"
)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (f"ntfy:/host/{SECRET}", "does not begin with a service"),
        (SECRET, "does not begin with a service"),
        (f"ntfi://{SECRET}/x", "did you mean ntfy://"),
        (f"telegram://{SECRET}/x", "apprise knows no service telegram://"),
        (f"https://{SECRET}.example/x", "for a webhook write jsons://"),
        (f"ntfys://host/{SECRET},other", "there is a comma in it"),
        (f"ntfys://host/{SECRET},ntfys://host/b", "more than one address"),
        (f"ntfys://host/{SECRET} ntfys://host/b", "more than one address"),
        (f"ntfys://host/{SECRET} b", "there is a space in it"),
        (f" ntfys://host/{SECRET}", "around or in it"),
        (f"ntfys://host/{SECRET}\n", "around or in it"),
        (f"ntfys://{SECRET}@ntfy.sh", "it names no topic"),
        (f"ntfys://host/bad%20topic{SECRET}!", "apprise would drop it"),
        (f"ntfys://host/{SECRET}?prority=high", "did you mean 'priority'"),
        (f"ntfys://host/{SECRET}?rto=soon", "apprise would drop it"),
        (f"ntfys://host:99999/{SECRET}", "port must be"),
        (f"tgram://{SECRET}/1", "apprise cannot read it; wanted tgram://{bot_token}"),
        (f"pover://{SECRET}", "wanted pover://{user_key}@{token}"),
        (f"mailtos://me:{SECRET}@", "wanted mailtos://{host}"),
        # Several places
        (f"ntfy://host/{SECRET}/bad", "it is 2 places to send to: where one of them refused"),
        (f"ntfy://host/{SECRET}%20bad", "it is 2 places"),
        (f"ntfy://host/{SECRET}?to=bad", "it is 2 places"),
        (f"https://ntfy.sh/{SECRET}/bad", "it is 2 places"),
        (f"ntfy://host/{SECRET}/b/c?retry=1", "it is 3 places"),
        (f"ntfy://host/{SECRET}%2Cbad", "there is a comma in its path"),
        (f"ntfy://host/{SECRET};bad", "there is a semicolon in its path"),
        (f"ntfy://host/?to={SECRET},bad", "there is a comma in its parameter 'to'"),
        (f"{TELEGRAM}/1,{SECRET}", "there is a comma in its path"),
        (f"{TELEGRAM}/1/2", "it is 2 places"),
        (f"{SLACK}/#{SECRET},#random", "there is a comma in its path"),
        (f"{SLACK}/#a/#b", "it is 2 places"),
        (f"ifttt://{SECRET}@one,two", "there is a comma in its path"),
        (f"{MAIL}/you@example.com/{SECRET}@example.com", "it is 2 places"),
        (f"{MAIL}?to=you@example.com&cc={SECRET}@example.com", "it is 2 places"),
        (f"{MAIL}?to=you@example.com&bcc={SECRET}@example.com,x@example.com", "it is 3 places"),
        (f"line://{SECRET}", "it names no place to send to; wanted line://{token}/{targets}"),
        # What apprise would drop
        (f"{MAIL}?to=you@example.com,{SECRET}@y", "there is a comma in its parameter 'to'"),
        (f"{MAIL}?to=you@example.com%20{SECRET}@y", "not all of its parameter 'to' is an address of mail"),
        (f"{MAIL}?to={SECRET}@example.com1", "not all of its parameter 'to' is an address of mail"),
        (f"{MAIL}/you@example.com%20{SECRET}@y", "not all of its path is an address of mail"),
        (f"{MAIL}?to=you@example.com&reply=me@example.com,{SECRET}@y", "not all of its parameter 'reply' is"),
        (f"{SLACK}/#general#{SECRET}", "there is a # in it, at which apprise would cut it off; write %23"),
        (f"jsons://host/a;{SECRET}", "there is a ; in it, at which apprise would cut it off; write %3B"),
        (
            f"mailtos://me:{SECRET}@smtp.example:58x7?to=you@example.com",
            "its port must be from 1 to 65535, and in digits",
        ),
        (f"mailtos://me:{SECRET}@smtp_1.example?to=you@example.com&from=me@example.com", "cannot read its host"),
        (f"ntfys://ntfy.sh:{SECRET}/abc", "its port must be from 1 to 65535, and in digits"),
        (f"ntfys://ntfy.sh:/{SECRET}", "its port must be"),
        (f"ntfys:///ntfy.sh:abc/{SECRET}", "its port must be"),
        (f"ntfys://host/{SECRET}?port=0", "its port must be"),
        (f"ntfys://me:a/{SECRET}@host/abc", "write %2F for /"),
        (f"mailtos://me@example.com:{SECRET}@smtp.example", "there is more than one @ or : in front of its host"),
        (f"mailtos://me:a:{SECRET}@smtp.example", "there is more than one @ or : in front of its host"),
        (f"ntfys://host/{SECRET}?priority=mx", "its priority 'mx' is none of this service"),
        (f"ntfys://host/{SECRET}?priority=urgent", "wanted one of max, high, default, low, min"),
        (f"ntfys://host/abc?priority={SECRET}", "its priority is none of this service"),
        ("gotifys://host/Aabcdefghijklmn?priority=bogus", "wanted one of low, moderate, normal, high, emergency"),
        (f"pover://{'u' * 30}@{'a' * 30}?priority=critical", "its priority 'critical' is none"),
        ("lametric://abcdefgh@192.168.0.9?priority=warn", "wanted one of info, warning, critical"),
        (f"ntfys://host/abc?click=a&priority=min&{SECRET}=b", "apprise would ignore parameter 3 behind its ?"),
        (f"ntfys://host/abc?click=a&{SECRET}", "apprise would ignore parameter 2 behind its ?"),
        (f"ntfys://host/{SECRET}?rt=5", "did you mean 'rto'"),
        (f"ntfys://host/{SECRET}?priority=max&priority=min", "its parameter 'priority' is there twice"),
    ],
)
def test_an_address_that_apprise_would_not_take_says_why_without_its_secret(url: str, wanted: str) -> None:
    said = addresses.problem(url)
    assert said is not None
    assert wanted in said
    assert SECRET not in said


@pytest.mark.parametrize(
    "url",
    [
        "ntfy://mytopic",
        "ntfys://tk_abcdef@ntfy.sh/topic?priority=high&tags=money",
        "https://ntfy.sh/topic",
        "ntfys://host/topic?priority=3&port=",
        "ntfys://host/topic?priority=Normal&retry=2",
        "ntfys://host/topic?image=yes&format=text",
        "ntfy://[::1]:8080/topic",
        "json://fe80::1/hook",
        f"{TELEGRAM}/12315544",
        f"{MAIL}?to=you@example.com&from=me@example.com",
        f"{MAIL}?to=You%20There%20%3Cyou@example.com%3E&cc=you@example.com&reply=a@example.com,b@example.com",
        f"{MAIL}?to=root@localhost",
        f"{MAIL}",
        f"{SLACK}/#general",
        f"{SLACK}",
        "matrixs://me:pw@example.com/#room:example.com",
        "pover://uuuuuuuuuuuuuuuuuuuuuuuuuuuuuu@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "pover://uuuuuuuuuuuuuuuuuuuuuuuuuuuuuu@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/tablet/phone?priority=0",
        "jsons://user:pw@example.com/hook,a?+X-Own=1&:title=subject&-get=1",
        "gotifys://example.com/Aabcdefghijklmn?priority=high",
        "gchat://workspace/key/token?threadkey=abc",
        f"{LOGIC}?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=abcDEF_-123456",
    ],
)
def test_an_address_that_apprise_takes_has_no_problem(url: str) -> None:
    assert addresses.problem(url) is None


# Secrets


class Everything(logging.Handler):
    """Keeps every record as it would be written anywhere."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(self.format(record))


@contextmanager
def all_logs() -> Iterator[Everything]:
    """Log as loudly as a person may ask for."""
    root, handler = logging.getLogger(), Everything()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.NOTSET)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


async def test_no_secret_is_in_any_log_or_error_however_it_fails(
    server: NtfyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    ways: list[tuple[str, dict[str, Any]]] = [
        (server.push(SECRET, login=f"tk_{SECRET}@"), {"moods": [mood]})
        for mood in (200, 301, 400, 401, 403, 404, 413, 429, 500, CUT)
    ]
    ways += [
        (server.push(SECRET, options="?rto=0.1", login=f"tk_{SECRET}@"), {"hanging": asyncio.Event()}),
        (f"ntfy://user:{SECRET}@127.0.0.1:{closed_port()}/{SECRET}", {}),
        (f"json://user:{SECRET}@{server.host}/{SECRET}?+X-Token={SECRET}", {}),
        (f"mailto://user:{SECRET}@127.0.0.1:{closed_port()}?from=me@example.com&to=you@example.com", {}),
        (f"ntfys://{SECRET}@{server.host}/{SECRET}", {}),
        (f"ntfi://{SECRET}", {}),
        (f"tgram://{SECRET}/1", {}),
    ]
    said: list[str] = []
    with all_logs() as logs:
        for url, mood in ways:
            for name, value in mood.items():
                setattr(server, name, value)
            try:
                await channel(url, seconds=1).deliver(message())
            except (UndeliveredError, RefusedError) as error:
                said.append(f"{error!r} {error.__cause__!r}")
            if server.hanging is not None:
                server.hanging.set()
                server.hanging = None
    assert len(said) == len(ways) - 2
    printed = capsys.readouterr()
    everything = [*said, *logs.written, printed.out, printed.err, *(each.name for each in threading.enumerate())]
    assert [each for each in everything if SECRET in each] == []
