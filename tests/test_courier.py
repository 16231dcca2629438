"""Alerts on their way to one channel: at least once, in order, kept back where that is wanted, and after a kill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Self
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrdaemon.alerts import aside
from mrdaemon.alerts.alert import Alert, Letter, Level, Topic
from mrdaemon.alerts.channel import Message, RefusedError, UndeliveredError
from mrdaemon.alerts.courier import TOGETHER, Courier
from mrdaemon.alerts.manners import Manners, Quiet
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.policy import ChannelState
from mrdaemon.outbox import Backlog, Delivery, Outcome
from tests.simulation.virtual import VirtualLoop

later = asyncio.sleep
"""Lets virtual seconds pass: nobody waits for them."""
NEW_YORK = ZoneInfo("America/New_York")
AWAY, BACK = (ChannelState.DOWN, "no route to it"), (ChannelState.UP, "")
MORNING = int(datetime(2026, 3, 2, 15, 0, tzinfo=UTC).timestamp()) * SECOND
"""10:00 in New York."""


def alert(n: int = 1, **changes: Any) -> Alert:
    usual: dict[str, Any] = {
        "id": f"a-{n}",
        "at": Instant(0),
        "level": Level.NOTICE,
        "topic": Topic.SIGNAL,
        "kind": "signal_raised",
        "subject": "core/QQQ",
        "title": f"title {n}",
        "text": f"text {n}.",
    }
    return Alert(**{**usual, **changes})


class Box:
    """An outbox in memory, that is kept when a courier dies."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.upto = 0
        self.reads = 0
        self.became: dict[int, Delivery] = {}
        self._news, self._urgent = asyncio.Event(), asyncio.Event()

    def put(self, wall: int, *alerts: Alert) -> None:
        for each in alerts:
            self.letters.append(Letter(n=len(self.letters) + 1, wall=wall, alert=each))
        self._news.set()
        self._news = asyncio.Event()
        if any(each.level is Level.CRITICAL for each in alerts):
            self._urgent.set()
            self._urgent = asyncio.Event()

    async def backlog(self, channel: str) -> Backlog:
        aside = [n for n, each in self.became.items() if each.outcome is Outcome.ASIDE]
        sent: dict[tuple[str, str], int] = {}
        for n, each in self.became.items():
            if each.outcome is Outcome.DELIVERED:
                told = self.letters[n - 1].alert
                sent[told.kind, told.subject] = max(each.wall, sent.get((told.kind, told.subject), 0))
        return Backlog(self.upto, [each for each in self.letters if each.n in aside], sent)

    async def after(self, n: int, limit: int) -> Sequence[Letter]:
        self.reads += 1
        assert self.reads < 10_000, "it spins"
        return self.letters[n : n + limit]

    async def settle(self, channel: str, upto: int, deliveries: Sequence[Delivery]) -> None:
        self.upto = max(self.upto, upto)
        self.became |= {each.n: each for each in deliveries}

    def news(self) -> asyncio.Event:
        return self._news

    def urgent(self) -> asyncio.Event:
        return self._urgent


class Phone:
    """A channel that takes what it gets, or fails as it is told to."""

    name = "phone"

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.fails: Exception | None = None
        self.hangs = False
        self.never: set[str] = set()
        """What it refuses whenever it comes."""
        self.tries = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def deliver(self, message: Message) -> None:
        self.tries += 1
        if self.hangs:
            await later(1e6)
        if self.fails is not None:
            raise self.fails
        if self.never & {each.id for each in message.alerts}:
            reason = "too long"
            raise RefusedError(reason, message_only=True)
        self.got.append(message)

    @property
    def ids(self) -> list[str]:
        return [each.id for message in self.got for each in message.alerts]


class World:
    """A courier between a box and a phone, in virtual time."""

    def __init__(self, manners: Manners, start: int = MORNING) -> None:
        self.box, self.phone, self.manners = Box(), Phone(), manners
        self.stood: list[tuple[ChannelState, str]] = []
        self.writing = 0.0
        """Seconds that it takes to put on the record how the channel stands."""
        self.moot: set[str] = set()
        self._start = start
        self._running: asyncio.Task[None] | None = None
        self.courier = self._courier()

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of each alert, in order."""
        return [each.outcome for _, each in sorted(self.box.became.items())]

    def now(self) -> int:
        return self._start + round(asyncio.get_running_loop().time() * SECOND)

    def _courier(self) -> Courier:
        return Courier(
            self.phone,
            self.manners,
            self.box,
            stands=self._stands,
            moot=lambda each: each.id in self.moot,
            wall=self.now,
        )

    async def _stands(self, channel: str, state: ChannelState, reason: str) -> None:
        await later(self.writing)
        self.stood.append((state, reason))

    def start(self) -> None:
        self.courier = self._courier()
        self._running = asyncio.create_task(self.courier.run())

    async def die(self) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait([self._running])

    async def stop(self) -> None:
        assert self._running is not None
        self.courier.finish()
        await self._running

    def say(self, *alerts: Alert) -> None:
        self.box.put(self.now(), *alerts)


Story = Callable[[World], Coroutine[None, None, None]]


def play(story: Story, *, start: int = MORNING, **manners: Any) -> World:
    """Play a story in virtual time."""
    loop = VirtualLoop()

    async def whole() -> World:
        world = World(Manners("phone", **manners), start)
        world.start()
        try:
            await story(world)
        finally:
            await world.die()
        return world

    try:
        return loop.run_until_complete(whole())
    finally:
        loop.close()


# What goes out at once


def test_what_fires_goes_out_in_order() -> None:
    async def story(world: World) -> None:
        world.say(alert(1), alert(2, subject="core/SPY"))
        await later(1)
        world.say(alert(3))
        await later(1)

    world = play(story)
    assert world.phone.ids == ["a-1", "a-2", "a-3"]
    assert {n: each.outcome for n, each in world.box.became.items()} == dict.fromkeys((1, 2, 3), Outcome.DELIVERED)
    assert world.box.upto == 3


def test_forty_that_fire_together_are_one_message() -> None:
    async def story(world: World) -> None:
        for n in range(40):
            world.say(alert(n, subject=f"core/S{n}", symbol=f"S{n}"))
            await later(0.05)
        await later(10)

    [message] = play(story, group=5).phone.got
    assert len(message.alerts) == 40
    assert message.title == "40 alerts: S0, S1, S2, S3 and 36 more"
    assert message.text.splitlines()[39] == "text 39."


def test_a_message_has_a_size_and_the_rest_follows_in_the_next() -> None:
    async def story(world: World) -> None:
        world.say(*(alert(n) for n in range(TOGETHER + 2)))
        await later(20)

    assert [len(each.alerts) for each in play(story, group=5).phone.got] == [TOGETHER, 2]


def test_what_is_critical_waits_for_no_others_and_takes_along_what_waits() -> None:
    async def story(world: World) -> None:
        world.say(alert(1))
        await later(10)
        assert world.phone.ids == []
        world.say(alert(2, level=Level.CRITICAL, title="HALTED"))
        await later(0.1)
        assert world.phone.ids == ["a-1", "a-2"]

    [message] = play(story, group=3600).phone.got
    assert message.level is Level.CRITICAL
    assert message.title == "HALTED, and 1 more"


def test_what_is_said_again_and_again_is_one_line() -> None:
    async def story(world: World) -> None:
        world.say(*(alert(n, text="Paused.") for n in range(9)), alert(10))
        await later(1)

    [message] = play(story).phone.got
    assert len(message.alerts) == 10
    assert message.text == "Paused. (9 times)\ntext 10."


# What a channel does not want


@pytest.mark.parametrize(
    ("manners", "left"),
    [
        ({"level": Level.WARNING}, ["a-2"]),
        ({"topics": {Topic.SIGNAL}}, ["a-1"]),
        ({}, ["a-1", "a-2"]),
    ],
    ids=["level", "topics", "everything"],
)
def test_a_channel_is_sent_what_it_wants(manners: dict[str, Any], left: list[str]) -> None:
    async def story(world: World) -> None:
        world.say(alert(1), alert(2, level=Level.CRITICAL, topic=Topic.SAFETY))
        await later(1)
        assert world.box.upto == 2

    assert play(story, **manners).phone.ids == left


def test_a_channel_is_told_that_it_is_up_again_but_not_that_it_is_down() -> None:
    def of(n: int, name: str, kind: str) -> Alert:
        return alert(n, topic=Topic.CHANNEL, subject=f"channel {name}", kind=kind)

    async def story(world: World) -> None:
        world.say(of(1, "phone", "channel_down"), of(2, "mqtt", "channel_down"), of(3, "phone", "channel_up"))
        await later(1)

    assert play(story).phone.ids == ["a-2", "a-3"]


def test_what_nobody_waits_for_any_more_is_not_sent() -> None:
    async def story(world: World) -> None:
        world.phone.fails = UndeliveredError("away")
        world.say(alert(1, ttl=60), alert(2, approval="core/QQQ/1"), alert(3))
        await later(61)
        world.moot.add("a-2")
        world.phone.fails = None
        await later(120)

    world = play(story)
    assert world.phone.ids == ["a-3"]
    assert [world.box.became[n].outcome for n in (1, 2, 3)] == [Outcome.EXPIRED, Outcome.EXPIRED, Outcome.DELIVERED]


# Quiet hours


def at_night(story: Story, **manners: Any) -> World:
    """Begin at 23:00 in New York, quiet from 22:00 to 07:00."""
    return play(story, start=MORNING + 13 * 3600 * SECOND, quiet=Quiet(22 * 60, 7 * 60, NEW_YORK), **manners)


def test_quiet_hours_let_only_what_is_critical_through_and_sum_up_after() -> None:
    async def story(world: World) -> None:
        world.say(alert(1), alert(2, approval="core/QQQ/1"))
        await later(3600)
        world.say(alert(3, level=Level.CRITICAL, subject="trading"))
        await later(1)
        assert world.phone.ids == ["a-3"]
        await later(7 * 3600 - 2)
        assert world.phone.ids == ["a-3"]
        world.say(alert(4))
        await later(2)
        assert world.phone.ids == ["a-3", "a-1", "a-2", "a-4"]

    world = at_night(story, group=0)
    assert [len(each.alerts) for each in world.phone.got] == [1, 3]


def test_what_waits_for_the_end_of_quiet_hours_survives_a_kill_in_them() -> None:
    async def story(world: World) -> None:
        world.say(alert(1))
        await later(60)
        await world.die()
        world.say(alert(2))
        world.start()
        await later(8 * 3600)

    world = at_night(story)
    assert world.phone.ids == ["a-1", "a-2"]


def test_the_night_that_the_clocks_change_ends_when_the_clock_says_so() -> None:
    quiet = Quiet(22 * 60, 7 * 60, NEW_YORK)
    evening = int(datetime(2026, 3, 7, 23, 0, tzinfo=NEW_YORK).timestamp()) * SECOND
    morning = int(datetime(2026, 3, 8, 7, 0, tzinfo=NEW_YORK).timestamp()) * SECOND
    assert quiet.until(evening) == morning
    assert morning - evening == 7 * 3600 * SECOND


@given(begin=st.integers(0, 1439), end=st.integers(0, 1439), minute=st.integers(0, 3 * 1440))
def test_quiet_ends_and_is_over_then(begin: int, end: int, minute: int) -> None:
    if begin == end:
        return
    quiet = Quiet(begin, end, ZoneInfo("UTC"))
    wall = minute * 60 * SECOND
    until = quiet.until(wall)
    inside = (minute - begin) % 1440 < (end - begin) % 1440
    assert (until is not None) is inside
    if until is not None:
        assert until > wall
        assert quiet.until(until) is None


# Repeats


def test_a_like_alert_waits_and_follows_with_all_that_came_meanwhile() -> None:
    async def story(world: World) -> None:
        world.say(alert(1))
        await later(60)
        world.say(alert(2), alert(3, subject="core/SPY"), alert(4, subject="core/DIA"))
        await later(60)
        world.say(alert(5))
        assert world.phone.ids == ["a-1", "a-3", "a-4"]
        await later(400)

    assert play(story, repeat=300).phone.ids == ["a-1", "a-3", "a-4", "a-2", "a-5"]


def test_a_question_waits_for_no_floor() -> None:
    async def story(world: World) -> None:
        for n in range(1, 3):
            world.say(alert(n, approval=f"core/QQQ/{n}"))
            await later(1)

    assert play(story, repeat=300).phone.ids == ["a-1", "a-2"]


def test_a_restart_remembers_what_was_just_sent() -> None:
    async def story(world: World) -> None:
        world.say(alert(1))
        await later(60)
        await world.die()
        world.start()
        world.say(alert(2))
        await later(100)
        assert world.phone.ids == ["a-1"]
        await later(200)

    assert play(story, repeat=300).phone.ids == ["a-1", "a-2"]


def test_what_was_held_back_goes_with_the_next_about_the_same_thing_so_that_the_last_word_is_the_newest() -> None:
    def trading(n: int, level: Level, said: str) -> Alert:
        return alert(n, subject="trading", kind="trading_state", level=level, text=said)

    async def story(world: World) -> None:
        world.say(trading(1, Level.CRITICAL, "HALTED."))
        await later(60)
        world.say(trading(2, Level.NOTICE, "ACTIVE."))
        await later(180)
        assert world.phone.ids == ["a-1"]
        world.say(trading(3, Level.CRITICAL, "HALTED again."))
        await later(1)
        assert world.phone.ids == ["a-1", "a-2", "a-3"]
        await later(3600)

    world = play(story, repeat=300)
    assert world.phone.ids == ["a-1", "a-2", "a-3"]
    assert world.phone.got[-1].text == "15:01: ACTIVE.\nHALTED again."


def test_what_comes_late_says_when_it_was() -> None:
    async def story(world: World) -> None:
        world.phone.fails = UndeliveredError("away")
        world.say(alert(1))
        await later(20 * 3600)
        world.say(alert(2))
        world.phone.fails = None
        await later(120)

    world = play(story, zone=NEW_YORK, group=0)
    assert "\n".join(each.text for each in world.phone.got) == "Mon 02 Mar 10:00: text 1.\ntext 2."


def test_of_a_question_that_was_asked_again_only_the_newest_is_sent() -> None:
    async def story(world: World) -> None:
        world.say(alert(1, approval="core/QQQ/1"))
        await later(1800)
        world.say(alert(2, approval="core/QQQ/1"), alert(3, approval="core/SPY/1"))
        await later(8 * 3600)

    world = at_night(story)
    assert world.phone.ids == ["a-2", "a-3"]
    assert world.box.became[1].outcome is Outcome.EXPIRED


def test_quiet_hours_full_of_alerts_let_a_critical_one_through_and_lose_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "ROOM", 100)

    async def story(world: World) -> None:
        world.say(*(alert(n, subject=f"core/S{n}") for n in range(1, 601)))
        await later(60)
        world.say(alert(601, level=Level.CRITICAL))
        await later(1)
        assert world.phone.ids == ["a-601"]
        await later(9 * 3600)

    world = at_night(story)
    assert world.phone.ids == ["a-601", *(f"a-{n}" for n in range(1, 601))]


# A side that is away


def test_a_side_that_is_away_gets_everything_once_it_is_back() -> None:
    async def story(world: World) -> None:
        world.phone.fails = UndeliveredError("no route to it")
        for n in range(1, 6):
            world.say(alert(n))
            await later(600)
        world.phone.fails = None
        await later(120)

    world = play(story)
    assert world.phone.got[0].until("a-2") == MORNING + (600 + 86_400) * SECOND
    assert world.phone.ids == [f"a-{n}" for n in range(1, 6)]
    assert world.stood == [(ChannelState.DOWN, "no route to it"), (ChannelState.UP, "")]
    assert world.phone.tries < 150, "it is not asked again and again"


class Line(Phone):
    """A channel that keeps a connection, and says how that stands."""

    def __init__(self) -> None:
        super().__init__()
        self.connected = asyncio.Event()
        self.stands: Callable[[ChannelState, str], Coroutine[None, None, None]] | None = None


async def on_line(world: World) -> Line:
    """Let a world have a channel that keeps a connection, and has none."""
    await world.die()
    line = world.phone = Line()
    world.start()
    line.stands = world.courier.heed
    return line


def test_what_a_connection_says_of_itself_counts_where_there_is_nothing_to_send() -> None:
    async def story(world: World) -> None:
        await on_line(world)
        for state, reason in (AWAY, AWAY, BACK, BACK, AWAY):
            await world.courier.heed(state, reason)

    assert play(story).stood == [AWAY, BACK, AWAY]


def test_of_a_connection_that_is_away_only_itself_speaks() -> None:
    async def story(world: World) -> None:
        line = await on_line(world)
        line.fails = UndeliveredError("there is no connection")
        world.say(alert(1))
        await later(3600)
        assert world.stood == []
        await world.courier.heed(*AWAY)
        line.fails = None
        line.connected.set()
        await world.courier.heed(*BACK)
        await later(100)

    assert play(story).stood == [AWAY, BACK]


def test_a_connection_that_comes_and_goes_says_nothing_of_one_over_which_nothing_arrives() -> None:
    refused = ChannelState.REFUSED, "not authorized"

    async def story(world: World) -> None:
        line = await on_line(world)
        line.connected.set()
        line.fails = RefusedError("not authorized")
        world.say(alert(1))
        for _ in range(10):
            await later(100)
            await world.courier.heed(*BACK)
        await world.courier.heed(*AWAY)
        await world.courier.heed(*BACK)
        assert world.stood == [refused, AWAY, refused]
        await later(2 * 86_400)  # Nobody waits for the alert any more.
        await world.courier.heed(*BACK)

    assert play(story).stood[3:] == [BACK]


def test_of_two_words_at_once_the_second_finds_the_first_on_the_record() -> None:
    async def story(world: World) -> None:
        await on_line(world)
        world.writing = 1
        says = asyncio.create_task
        words = [says(world.courier.heed(*each)) for each in (AWAY, AWAY, BACK, AWAY)]
        await asyncio.gather(*words)

    assert play(story).stood == [AWAY, BACK, AWAY]


def test_what_waits_for_a_connection_goes_out_as_soon_as_there_is_one() -> None:
    async def story(world: World) -> None:
        line = await on_line(world)
        line.fails = UndeliveredError("there is no connection")
        world.say(alert(1))
        await later(3600)
        line.fails = None
        line.connected.set()
        await later(0.01)
        assert line.ids == ["a-1"]

    play(story)


def test_a_side_that_does_not_answer_costs_its_time_and_no_more() -> None:
    async def story(world: World) -> None:
        world.phone.hangs = True
        world.say(alert(1))
        await later(31)
        world.phone.hangs = False
        await later(200)

    world = play(story, timeout=30)
    assert world.stood == [
        (ChannelState.DOWN, "it did not take a message within 30 s"),
        (ChannelState.UP, ""),
    ]
    assert world.phone.ids == ["a-1"]


def test_a_side_that_will_not_have_us_is_asked_seldom_and_heals_when_it_is_mended() -> None:
    async def story(world: World) -> None:
        world.phone.fails = RefusedError("wrong password")
        world.say(alert(1))
        await later(3000)
        assert 5 < world.phone.tries < 15
        world.phone.fails = None
        await later(301)

    world = play(story)
    assert world.stood == [(ChannelState.REFUSED, "wrong password"), (ChannelState.UP, "")]
    assert world.phone.ids == ["a-1"]


def test_a_message_that_is_refused_is_tried_one_by_one_and_costs_only_the_one() -> None:
    async def story(world: World) -> None:
        world.phone.never = {"a-2"}
        world.say(alert(1), alert(2), alert(3))
        await later(1)

    world = play(story)
    assert world.phone.ids == ["a-1", "a-3"]
    assert world.box.became[2] == Delivery("phone", 2, world.box.became[2].wall, Outcome.REFUSED, "too long")


def test_a_side_that_fails_now_and_then_is_not_down() -> None:
    async def story(world: World) -> None:
        for n in range(1, 30):
            world.phone.fails = UndeliveredError("HTTP 503")
            world.say(alert(n))
            await later(1)
            world.phone.fails = None
            await later(10)

    world = play(story)
    assert world.phone.ids == [f"a-{n}" for n in range(1, 30)]
    assert world.stood == [(ChannelState.UP, "")]


def test_a_side_that_refuses_one_message_after_the_other_will_not_have_us() -> None:
    async def story(world: World) -> None:
        world.phone.fails = RefusedError("HTTP 400", message_only=True)
        for n in range(1, 6):
            world.say(alert(n))
            await later(1)
        assert world.stood == [(ChannelState.REFUSED, "HTTP 400")]
        await later(3000)
        assert world.phone.tries < 50, "it is not asked again and again"
        world.phone.fails = None
        await later(301)

    world = play(story)
    assert world.phone.ids == ["a-1", "a-2", "a-3", "a-4", "a-5"]
    assert world.stood[-1] == (ChannelState.UP, "")
    assert world.outcomes == [Outcome.DELIVERED] * 5


def test_what_was_refused_is_asked_again_after_the_next_arrived_and_nobody_is_told_of_it() -> None:
    async def story(world: World) -> None:
        world.phone.fails = RefusedError("HTTP 400", message_only=True)
        world.say(alert(1))
        await later(3600)
        assert world.phone.tries == 1
        assert world.box.became[1] == Delivery("phone", 1, MORNING, Outcome.ASIDE, "HTTP 400")
        assert world.courier.waiting == 1
        world.phone.fails = None
        world.say(alert(2))
        await later(1)

    world = play(story)
    assert world.phone.ids == ["a-2", "a-1"]
    assert world.stood == [(ChannelState.UP, "")]
    assert world.outcomes == [Outcome.DELIVERED] * 2


def test_what_was_refused_in_a_row_survives_a_kill() -> None:
    async def story(world: World) -> None:
        world.phone.fails = RefusedError("HTTP 400", message_only=True)
        for n in range(1, 3):
            world.say(alert(n))
            await later(1)
        await world.die()
        world.phone.fails = None
        world.start()
        await later(1)

    assert play(story).phone.ids == ["a-1", "a-2"]


def test_a_few_that_are_never_taken_do_not_keep_back_what_is() -> None:
    async def story(world: World) -> None:
        world.phone.never = {"a-1", "a-2", "a-3", "a-4"}
        world.say(*(alert(n) for n in range(1, 10)))
        await later(10)

    world = play(story)
    assert sorted(world.phone.ids) == ["a-5", "a-6", "a-7", "a-8", "a-9"]
    assert world.outcomes == [Outcome.REFUSED] * 4 + [Outcome.DELIVERED] * 5
    assert world.stood == [(ChannelState.UP, "")]


def test_what_was_refused_before_quiet_hours_waits_for_their_end() -> None:
    async def story(world: World) -> None:
        world.phone.fails = RefusedError("HTTP 400", message_only=True)
        world.say(alert(1))
        await later(60)
        world.phone.fails = None
        world.say(alert(2, level=Level.CRITICAL, subject="trading"))
        await later(60)
        assert world.phone.ids == ["a-2"]
        await later(3600)
        assert world.phone.ids == ["a-2", "a-1"]

    play(story, quiet=Quiet(10 * 60 + 1, 11 * 60, NEW_YORK))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_a_side_refuses_for_a_while_arrives_once_it_takes_messages_again(data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.sampled_from(["say", "say", "refuse", "mend", "die"]), max_size=40))

    async def story(world: World) -> None:
        said = 0
        for step in steps:
            if step == "say":
                said += 1
                world.say(alert(said))
            elif step == "die":
                await world.die()
                world.start()
            else:
                world.phone.fails = RefusedError("HTTP 400", message_only=True) if step == "refuse" else None
            await later(data.draw(st.sampled_from([0, 0.001, 1, 400])))
        world.phone.fails = None
        world.say(alert(said + 1))
        await later(400)
        assert {*world.phone.ids} == {f"a-{n}" for n in range(1, said + 2)}
        assert world.outcomes == [Outcome.DELIVERED] * (said + 1)

    play(story)


# Leaving prices their time


def test_what_is_said_fast_goes_a_few_times_a_second_and_the_first_at_once() -> None:
    async def story(world: World) -> None:
        for n in range(1, 41):
            world.say(alert(n))
            await later(0.025)
            assert world.phone.ids[:1] == ["a-1"]
        await later(1)

    world = play(story)
    assert world.phone.ids == [f"a-{n}" for n in range(1, 41)]
    assert len(world.phone.got) <= 6
    assert world.box.reads <= 12, "the outbox is not read for each"


def test_what_fires_together_is_not_read_one_by_one_while_it_waits_for_more() -> None:
    async def story(world: World) -> None:
        for n in range(1, 39):
            world.say(alert(n))
            await later(0.025)
        await later(5)

    world = play(story, group=3)
    assert [len(each.alerts) for each in world.phone.got] == [38]
    assert world.box.reads <= 16


def test_what_fires_together_goes_also_where_the_clock_is_a_hair_before_its_time() -> None:
    async def story(world: World) -> None:
        await later(1.2)
        world.say(alert(1))
        await later(0.58)
        world.say(alert(2))
        await later(10)

    assert play(story, group=5).phone.ids == ["a-1", "a-2"]


def test_what_follows_an_outage_leaves_the_loop_to_prices_in_between() -> None:
    class Slow(Phone):
        async def deliver(self, message: Message) -> None:
            await later(0.1)
            await super().deliver(message)

    async def story(world: World) -> None:
        await world.die()
        world.phone = Slow()
        world.start()
        world.say(*(alert(n) for n in range(10 * TOGETHER)))
        begun = asyncio.get_running_loop().time()
        while len(world.phone.got) < 10:
            await later(0.01)
        assert asyncio.get_running_loop().time() - begun > 10 * 0.1 * 5, "a fifth of the time is for alerts, at most"
        await later(10)

    assert play(story).phone.ids == [f"a-{n}" for n in range(10 * TOGETHER)]


def test_what_is_critical_does_not_wait_until_prices_had_their_time() -> None:
    async def story(world: World) -> None:
        world.say(alert(1))
        await later(0.01)
        world.say(alert(2))
        await later(0.01)
        assert world.phone.ids == ["a-1"]
        world.say(alert(3, level=Level.CRITICAL))
        await later(0.01)
        assert world.phone.ids == ["a-1", "a-2", "a-3"]

    play(story)


def test_what_stands_before_something_critical_hastens_too() -> None:
    async def story(world: World) -> None:
        world.say(*(alert(n) for n in range(3 * TOGETHER)), alert(3 * TOGETHER, level=Level.CRITICAL))
        await later(0.1)
        assert len(world.phone.ids) == 3 * TOGETHER + 1

    play(story)


def test_a_channel_that_breaks_is_tried_again() -> None:
    async def story(world: World) -> None:
        world.phone.fails = KeyError("a bug")
        world.say(alert(1))
        await later(60)
        world.phone.fails = None
        await later(120)

    world = play(story)
    assert world.stood[0] == (ChannelState.DOWN, "it broke: KeyError")
    assert world.phone.ids == ["a-1"]


# Stops and kills


def test_a_stop_sends_what_waits_for_others_and_does_not_wait_for_a_side_that_is_away() -> None:
    async def story(world: World) -> None:
        world.say(alert(1))
        await world.stop()
        assert world.phone.ids == ["a-1"]
        world.start()
        world.phone.fails = UndeliveredError("away")
        world.say(alert(2))
        await later(3)
        begun = asyncio.get_running_loop().time()
        await world.stop()
        assert asyncio.get_running_loop().time() - begun < 5
        world.start()
        world.phone.fails = None
        await later(1)

    assert play(story, group=3600).phone.ids == ["a-1"]


def test_a_stop_sends_what_was_held_back_but_for_what_quiet_hours_hold() -> None:
    async def story(world: World) -> None:
        world.say(alert(1))
        await later(1)
        world.say(alert(2))
        await later(1)
        await world.stop()

    assert play(story, repeat=300).phone.ids == ["a-1", "a-2"]
    assert at_night(story, repeat=300).phone.ids == []


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_fails_and_dies_every_alert_arrives_in_order(data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.sampled_from(["say", "say", "fail", "mend", "die", "hang", "wait"]), max_size=40))

    async def story(world: World) -> None:
        said = 0
        for step in steps:
            if step == "say":
                said += 1
                world.say(alert(said))
            elif step == "die":
                await world.die()
                world.start()
            else:
                world.phone.fails = UndeliveredError("away") if step == "fail" else None
                world.phone.hangs = step == "hang"
            await later(data.draw(st.sampled_from([0, 0.001, 1, 40])))
        world.phone.fails, world.phone.hangs = None, False
        await later(300)
        first = list(dict.fromkeys(world.phone.ids))
        assert first == [f"a-{n}" for n in range(1, said + 1)]
        assert world.box.upto == said

    play(story, timeout=10)
