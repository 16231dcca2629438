"""From the phone to the order: a real daemon asks, a push carries the buttons, and what is pressed comes back.

Over the daemon's own page and over a topic of an ntfy server, which stands for the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import pytest

from mrdaemon import chain
from mrdaemon.alerts.alert import Alert, Level, Topic
from mrdaemon.alerts.answers import Answers
from mrdaemon.alerts.asked import JournaledRequests
from mrdaemon.alerts.channel import Message
from mrdaemon.alerts.links import Links, key
from mrdaemon.alerts.ntfy import AnswerTopic
from mrdaemon.alerts.push import PushChannel
from mrdaemon.asking import Asking
from mrdaemon.brokers import Holding
from mrdaemon.brokers.paper import PaperBroker, PaperRules
from mrdaemon.clock import SystemClock
from mrdaemon.core import events as ev
from mrdaemon.core.policy import Mode
from mrdaemon.daemon import Daemon, Parts
from mrdaemon.journal import Journal
from mrdaemon.places import HALT, JOURNAL
from mrdaemon.settings import AnswersTable
from mrdaemon.viewing import Viewing
from mrdaemon.web.answers import AnswerPage
from tests.builders import Market, dollars, only, plan, position
from tests.live import FIFTY
from tests.ntfy_server import PATIENCE, NtfyServer, Object, ask, press, until
from tests.test_live import Seen, Wire

# apprise 2.2 on Python before 3.13, in a module that it only looks for

ID = "core/QQQ/1"


class Phone:
    """A daemon in approve mode that holds 50 QQQ at a target of $5,000, and the phone of the person it asks."""

    def __init__(self, folder: Path, server: NtfyServer, way: str, ttl: int = 600) -> None:
        self.folder, self.server, self.way, self.ttl = folder, server, way, ttl
        self.wire, self.seen = Wire(), Seen()

    async def __aenter__(self) -> Self:
        self._opened = AsyncExitStack()
        clock, market, path = SystemClock(), Market(), self.folder / JOURNAL
        self.folder.mkdir(exist_ok=True)
        journal = await self._opened.enter_async_context(Journal(path))
        state = journal.load().state
        rules = PaperRules(cash=dollars(100_000), holdings={"QQQ": Holding(FIFTY, None)})
        broker = await self._opened.enter_async_context(PaperBroker(self.folder / "paper.db", rules, market, clock.now))
        parts = Parts(market, clock, {"paper": broker}, "nonce", self.folder / HALT)
        self.daemon = Daemon(parts, journal, state, watch=self.seen.watch)
        self.daemon.open(plan(position("QQQ", mode=Mode.APPROVE, approval_ttl=self.ttl), reserve="20000"), None)
        requests = JournaledRequests(Viewing(self.daemon, self.folder), path)
        self.asking = asking = Asking(self.daemon, path)
        topic = AnswersTable(topic=f"{self.server.url}/answers-x")
        if self.way == "topic":
            self.links = Links(key(self.folder), topic, requests)
            heard = len(self.server.subscriptions)
            ears = AnswerTopic(topic, Answers(self.links, asking))
            listening = asyncio.create_task(ears.listen())
            self._opened.push_async_callback(_ended, listening)
            await self.server.until_listened(heard + 1)
        else:
            shut = Links(key(self.folder), AnswersTable(), requests)
            page = await self._opened.enter_async_context(AnswerPage("127.0.0.1:0", Answers(shut, asking)))
            self.url = f"http://127.0.0.1:{page.port}"
            self.links = Links(key(self.folder), AnswersTable(url=self.url), requests)
        push = self.server.push()
        self._channel = PushChannel("phone", push, timeout=30, instance="mrdaemon", links=self.links)
        self._running = asyncio.create_task(self.daemon.run(self.wire))
        await self.seen.wait_for(ev.AccountReconciled)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.daemon.stop("the test is over")
        async with asyncio.timeout(PATIENCE):
            await self._running
        await self._opened.aclose()

    async def asked(self, *prices: float) -> dict[str, Object]:
        """Let the price fall to where a person must be asked, and give the buttons that arrive at the phone."""
        asked = len(only(self.seen.events, ev.ApprovalRequested))
        self.wire.say(*(prices or (100.0, 95.0)))
        await self.seen.wait_for(ev.ApprovalRequested, asked + 1)
        request: ev.ApprovalRequested = only(self.seen.events, ev.ApprovalRequested)[-1]
        alert = Alert(
            id=f"nonce-{request.number}",
            at=request.at,
            level=Level.WARNING,
            topic=Topic.APPROVAL,
            kind="approval_requested",
            subject="core/QQQ",
            title="Approve?",
            text=request.reason,
            approval=f"core/QQQ/{request.number}",
        )
        await self._channel.deliver(Message([alert], alert.title, alert.text, alert.level))
        return {each["label"]: each for each in self.server.published[-1].actions}

    async def press(self, button: Object) -> str:
        """Press a button, and give what the daemon said to it: the page's words, or the last that was journaled."""
        before = len(self.answered())
        answered = await press(button)
        if self.way == "topic":
            assert answered.status == 200
            await until(lambda: len(self.answered()) > before)
            return self.answered()[-1]
        found = re.search("<p>(.*?)</p>", answered.text)
        assert found is not None
        assert (answered.status == 200) == ("Nothing was done" not in found[1])
        return html.unescape(found[1])

    def answered(self) -> list[str]:
        """Give what the journal has of answers: who approved, what ended why, what was refused."""
        told: dict[type[ev.Event], Callable[..., str]] = {
            ev.ApprovalGranted: lambda each: f"approved by {each.by}",
            ev.ApprovalClosed: lambda each: f"{each.cause} {each.by}",
            ev.CommandRefused: lambda each: str(each.reason),
        }
        events = [each.event for each in chain.records(self.folder / JOURNAL)]
        return [told[type(each)](each) for each in events if type(each) in told]

    def journaled(self, kind: type[ev.Event]) -> int:
        return len(only((each.event for each in chain.records(self.folder / JOURNAL)), kind))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def server() -> AsyncIterator[NtfyServer]:
    async with NtfyServer() as served:
        yield served


@pytest.fixture(params=["page", "topic"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_approve_on_the_phone_buys(tmp_path: Path, server: NtfyServer, way: str) -> None:
    async with Phone(tmp_path, server, way) as phone:
        buttons = await phone.asked()
        assert list(buttons) == ["Approve", "Reject"]
        assert phone.journaled(ev.OrderIntended) == 0
        said = await phone.press(buttons["Approve"])
        assert "approved by " + ("an ntfy button" if way == "topic" else "a link, from 127.0.0.1") in said
        await phone.seen.wait_for(ev.OrderEnded)
        [filled] = only(phone.seen.events, ev.OrderFilled)
        assert filled.amount == dollars("250.00")


async def test_reject_on_the_phone_buys_nothing(tmp_path: Path, server: NtfyServer, way: str) -> None:
    async with Phone(tmp_path, server, way) as phone:
        buttons = await phone.asked()
        assert "rejected" in await phone.press(buttons["Reject"])
        assert phone.journaled(ev.ApprovalClosed) == 1
        assert phone.journaled(ev.OrderIntended) == 0


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("Approve", "Approve", "already approved by"),
        ("Approve", "Reject", "already approved by"),
        ("Reject", "Approve", "already rejected by"),
        ("Reject", "Reject", "already rejected by"),
    ],
)
async def test_a_second_press_does_nothing_and_says_so(
    tmp_path: Path, server: NtfyServer, way: str, first: str, second: str, told: str
) -> None:
    async with Phone(tmp_path, server, way) as phone:
        buttons = await phone.asked()
        await phone.press(buttons[first])
        said = await phone.press(buttons[second])
        assert f"{ID} was {told} " in said
        assert re.search(r" at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", said)
        if first == "Approve":
            await phone.seen.wait_for(ev.OrderEnded)
        assert phone.journaled(ev.OrderIntended) == (first == "Approve")
        assert phone.journaled(ev.CommandRefused) == 1


@pytest.mark.parametrize("name", ["approve", "reject"])
@pytest.mark.parametrize("typed", [ID, "QQQ/1", "1"])
async def test_a_command_in_vain_is_told_what_became_of_the_request_as_a_button_is(
    tmp_path: Path, server: NtfyServer, name: str, typed: str
) -> None:
    async with Phone(tmp_path, server, "page") as phone:
        await phone.asked()
        first, second = [
            await phone.asking.ask(each, b'{"id": "%s"}' % typed.encode(), "anna") for each in (name, name)
        ]
        assert first.refused is None
        assert second.refused is not None
        assert re.fullmatch(rf"{ID} was already {name}e?d by anna at \d{{4}}-\d\d-\d\dT\S+Z", second.refused)
        assert phone.answered()[-1] == second.refused


async def test_a_command_about_a_request_that_never_was_is_told_what_is_open(
    tmp_path: Path, server: NtfyServer
) -> None:
    async with Phone(tmp_path, server, "page") as phone:
        await phone.asked()
        answer = await phone.asking.ask("approve", b'{"id": "core/QQQ/7"}', "anna")
    assert answer.refused == f"there is no open request 'core/QQQ/7'; open: {ID}"


async def test_a_double_click_is_one_order(tmp_path: Path, server: NtfyServer, way: str) -> None:
    async with Phone(tmp_path, server, way) as phone:
        buttons = await phone.asked()
        await asyncio.gather(*(press(buttons["Approve"]) for _ in range(3)))
        await until(lambda: phone.journaled(ev.CommandRefused) == 2)
        await phone.seen.wait_for(ev.OrderEnded)
        assert phone.journaled(ev.ApprovalGranted) == phone.journaled(ev.OrderIntended) == 1


async def test_an_answer_after_the_request_expired_does_nothing(tmp_path: Path, server: NtfyServer, way: str) -> None:
    async with Phone(tmp_path, server, way, ttl=1) as phone:
        buttons = await phone.asked()
        await phone.seen.wait_for(ev.ApprovalClosed)
        said = await phone.press(buttons["Approve"])
        assert f"the time to answer {ID} was over" in said
        assert phone.journaled(ev.OrderIntended) == 0


async def test_an_answer_after_the_price_came_back_does_nothing(tmp_path: Path, server: NtfyServer, way: str) -> None:
    async with Phone(tmp_path, server, way) as phone:
        buttons = await phone.asked()
        phone.wire.say(100.0)
        await phone.seen.wait_for(ev.ApprovalClosed)
        said = await phone.press(buttons["Approve"])
        assert "the value came back inside the zone" in said
        assert phone.journaled(ev.OrderIntended) == 0


async def test_an_answer_to_what_a_newer_signal_overtook_does_nothing(
    tmp_path: Path, server: NtfyServer, way: str
) -> None:
    async with Phone(tmp_path, server, way) as phone:
        buttons = await phone.asked()
        newer = await phone.asked(80.0)
        said = await phone.press(buttons["Approve"])
        assert "a newer signal overtook it" in said
        assert phone.journaled(ev.OrderIntended) == 0
        await phone.press(newer["Approve"])
        await phone.seen.wait_for(ev.OrderIntended)


async def test_after_a_restart_a_used_button_stays_used(tmp_path: Path, server: NtfyServer, way: str) -> None:
    async with Phone(tmp_path, server, way) as phone:
        buttons = await phone.asked()
        await phone.press(buttons["Approve"])
        await phone.seen.wait_for(ev.OrderEnded)
    async with Phone(tmp_path, server, way) as phone:
        said = await phone.press(moved(phone, buttons["Approve"]))
        assert f"{ID} was already approved by" in said
        assert phone.journaled(ev.OrderIntended) == 1


async def test_after_a_restart_an_open_request_can_still_be_answered(
    tmp_path: Path, server: NtfyServer, way: str
) -> None:
    async with Phone(tmp_path, server, way) as phone:
        buttons = await phone.asked()
    async with Phone(tmp_path, server, way) as phone:
        phone.wire.say(95.0)
        await until(lambda: phone.daemon.engine.last("QQQ") is not None)
        await phone.press(moved(phone, buttons["Approve"]))
        await phone.seen.wait_for(ev.OrderEnded)
        assert phone.journaled(ev.OrderFilled) == 1


async def test_a_button_of_another_instance_does_nothing(tmp_path: Path, server: NtfyServer, way: str) -> None:
    async with Phone(tmp_path / "one", server, way) as one, Phone(tmp_path / "two", server, way) as two:
        foreign = await two.asked()
        await one.asked()
        said = await one.press(moved(one, foreign["Approve"]))
        assert "belongs to another mrdaemon" in said
        assert one.journaled(ev.OrderIntended) == 0


async def test_a_button_of_a_journal_that_was_begun_anew_does_nothing(
    tmp_path: Path, server: NtfyServer, way: str
) -> None:
    async with Phone(tmp_path, server, way) as phone:
        old = await phone.asked()
    for each in tmp_path.glob("*"):
        if each.name.startswith((JOURNAL, "paper")):
            each.unlink()
    async with Phone(tmp_path, server, way) as phone:
        await phone.asked(100.0, 80.0)
        said = await phone.press(moved(phone, old["Approve"]))
        assert "of another journal" in said
        assert phone.journaled(ev.OrderIntended) == 0


async def test_forged_and_altered_buttons_do_nothing(tmp_path: Path, server: NtfyServer, way: str) -> None:
    async with Phone(tmp_path, server, way) as phone:
        buttons = await phone.asked()
        approve, reject = (token(buttons[each]) for each in ("Approve", "Reject"))
        body, seal = approve.split(".")
        for forged in (f"{body}.{reject.split('.')[1]}", f"{body}.{seal[:-2]}xx", f"{body[:-2]}xx.{seal}", "x.y"):
            said = await phone.press(with_token(phone, forged))
            assert "its signature is not ours" in said
        assert phone.journaled(ev.CommandRefused) == 4
        assert phone.journaled(ev.OrderIntended) == 0


async def test_a_preview_of_the_link_approves_nothing(tmp_path: Path, server: NtfyServer) -> None:
    async with Phone(tmp_path, server, "page") as phone:
        buttons = await phone.asked()
        seen = await ask("GET", buttons["Approve"]["url"])
        assert f"Approve {ID}: buy up to $250.00 of QQQ?" in html.unescape(seen.text)
        assert phone.journaled(ev.ApprovalGranted) == 0


async def test_a_request_that_is_over_carries_no_buttons(tmp_path: Path, server: NtfyServer) -> None:
    async with Phone(tmp_path, server, "page") as phone:
        await phone.asked()
        phone.wire.say(100.0)
        await phone.seen.wait_for(ev.ApprovalClosed)
        assert phone.links.buttons(ID) == ()


def token(button: Object) -> str:
    return str(button["body"] or button["url"].rpartition("/")[2])


def with_token(phone: Phone, wanted: str) -> Object:
    """Make a button as somebody else would."""
    if phone.way == "topic":
        return {"method": "POST", "url": f"{phone.server.url}/answers-x", "body": wanted}
    return {"method": "POST", "url": f"{phone.url}/answer/{wanted}", "body": ""}


def moved(phone: Phone, button: Object) -> Object:
    """Give a button of an earlier start: the page has a fixed port in real life."""
    return with_token(phone, token(button))
