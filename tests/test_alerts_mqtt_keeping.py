"""How a channel over MQTT keeps its connection: what it tells of it and when, how long it waits, who watches it.

In virtual time: a broker that is away for hours takes a test no longer than one that is there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mrdaemon import mqtt
from mrdaemon.alerts import mqtt as channels
from mrdaemon.alerts.mqtt import LONGEST, PROVEN_AFTER, SLOWLY, MqttChannel
from mrdaemon.core.policy import ChannelState
from mrdaemon.mqtt import MqttFailure
from mrdaemon.pulse import PIECE_WITHIN, Pulse
from tests.alerts_mqtt import FakeAsker, FakeView, table
from tests.simulation.virtual import VirtualLoop

later = asyncio.sleep
"""Lets virtual seconds pass: nobody waits for them."""
HOURS = 4 * 3600.0
BROKER = mqtt.Broker("127.0.0.1", 1883)
AWAY = MqttFailure("broker:1883 cannot be reached: Connection refused")
WRONG = MqttFailure("broker:1883 refused the connection: not authorized", final=True)


class Line:
    """A connection that takes everything, until it is cut."""

    def __init__(self) -> None:
        self.broker = BROKER
        self._cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def cut(self) -> None:
        self._cut.set_exception(MqttFailure("the connection to broker:1883 ended"))

    async def incoming(self) -> AsyncIterator[Any]:
        await self._cut
        yield None

    async def want(self, *_: str) -> list[str]:
        return []

    async def unwant(self, *_: str) -> None:
        pass

    def send(self, *_: object, **__: object) -> asyncio.Future[None]:
        taken = asyncio.get_running_loop().create_future()
        taken.set_result(None)
        return taken


class World:
    """A channel, and a broker that is there or not."""

    def __init__(self) -> None:
        self.fails: MqttFailure | None = None
        self.takes = 0.0
        """Seconds until an attempt fails."""
        self.holds: float | None = None
        """Seconds after which each connection is cut."""
        self.tried: list[float] = []
        self.over: list[float] = []
        """When each attempt, or what it made, was over."""
        self.line: Line | None = None
        self.view = FakeView()
        self.stood: list[tuple[float, ChannelState, str]] = []
        self.pulse = Pulse(self._time)
        self.channel = MqttChannel("phone", table(every=600.0), BROKER, "home", self.view, FakeAsker())
        self.channel.stands = self._stands

    @property
    def waits(self) -> list[float]:
        """Give the seconds between the end of each attempt and the next one."""
        return [again - over for over, again in zip(self.over, self.tried[1:], strict=False)]

    def stuck(self) -> list[str]:
        return [each.task for each in self.pulse.stuck()]

    @asynccontextmanager
    async def connected(self, *_: object, **__: object) -> AsyncIterator[Line]:
        self.tried.append(self._time())
        try:
            if self.fails is not None:
                await later(self.takes)
                raise self.fails
            line = self.line = Line()
            if self.holds is not None:
                asyncio.get_running_loop().call_later(self.holds, line.cut)
            yield line
        finally:
            self.over.append(self._time())

    async def _stands(self, state: ChannelState, reason: str) -> None:
        if not self.stood or self.stood[-1][1] is not state:
            self.stood.append((self._time(), state, reason))

    def _time(self) -> float:
        return asyncio.get_running_loop().time()


Story = Callable[[World], Coroutine[None, None, None]]
Play = Callable[[Story], World]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """Play a story in virtual time, in which every draw gives the most; a world begins with its broker there."""
    monkeypatch.setattr(random, "uniform", lambda _, most: most)
    loop = VirtualLoop()

    async def whole(story: Story) -> World:
        world = World()
        monkeypatch.setattr(channels, "connected", world.connected)
        await story(world)
        return world

    yield lambda story: loop.run_until_complete(whole(story))
    loop.close()


@asynccontextmanager
async def served(world: World) -> AsyncIterator[None]:
    """Serve the channel as the daemon does: watched."""

    async def enter() -> None:
        await world.channel.__aenter__()

    await world.pulse.passing(asyncio.create_task, enter(), "beginning of phone")
    ears = world.pulse.lasting(asyncio.create_task, world.channel.listen(), "answers of phone")
    try:
        yield
    finally:
        ears.cancel()
        await world.channel.__aexit__()


# What is told of it


def test_that_a_connection_is_gone_is_told_though_there_is_nothing_to_send(play: Play) -> None:
    async def story(world: World) -> None:
        async with served(world):
            await later(100)
            assert world.line is not None
            world.fails, world.takes = AWAY, 30.0
            world.line.cut()
            await later(200)
            world.fails = None
            await later(100)

    (up, _, nothing), (down, _, why), (back, _, _) = play(story).stood
    assert (up, nothing) == (0, "")
    assert down == pytest.approx(105)
    assert why == "the connection to broker:1883 ended"
    assert 300 < back < 400


@pytest.mark.parametrize(
    ("failure", "takes", "at", "state"),
    [
        (AWAY, 0, 5, ChannelState.DOWN),
        (AWAY, 30, 30, ChannelState.DOWN),
        (WRONG, 0, 0, ChannelState.REFUSED),
    ],
)
def test_that_there_never_was_a_connection_is_told(
    play: Play, failure: MqttFailure, takes: float, at: float, state: ChannelState
) -> None:
    async def story(world: World) -> None:
        world.fails, world.takes = failure, takes
        async with served(world):
            await later(HOURS)

    assert play(story).stood == [(at, state, str(failure))]


def test_a_connection_that_is_soon_back_was_not_down(play: Play) -> None:
    async def story(world: World) -> None:
        world.holds = 60
        async with served(world):
            await later(600)

    world = play(story)
    assert len(world.over) > 5
    assert [state for _, state, _ in world.stood] == [ChannelState.UP]


# How long it waits


def test_the_waits_double_up_to_a_minute(play: Play) -> None:
    async def story(world: World) -> None:
        world.fails = AWAY
        async with served(world):
            await later(600)

    assert play(story).waits[:9] == [1, 2, 4, 8, 16, 32, LONGEST, LONGEST, LONGEST]


def test_the_waits_are_drawn_so_that_not_all_come_back_at_once(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda least, most: least + (most - least) / 4)

    async def story(world: World) -> None:
        world.fails = AWAY
        async with served(world):
            await later(100)
            world.fails = WRONG
            await later(100)

    waits = play(story).waits
    assert waits[:6] == [0.25, 0.5, 1, 2, 4, 8]
    assert waits[-1] == SLOWLY * 0.625 + LONGEST / 4


def test_where_a_person_must_mend_something_it_is_tried_slowly(play: Play) -> None:
    async def story(world: World) -> None:
        world.fails = WRONG
        async with served(world):
            await later(1000)

    assert play(story).waits[:8] == [SLOWLY + each for each in (1, 2, 4, 8, 16, 32, LONGEST, LONGEST)]


@pytest.mark.parametrize(("holds", "again"), [(PROVEN_AFTER - 1, [1, 2, 4, 8, 16]), (PROVEN_AFTER + 1, [1] * 5)])
def test_only_a_connection_that_lasted_lets_the_waits_begin_anew(play: Play, holds: float, again: list[float]) -> None:
    async def story(world: World) -> None:
        world.holds = holds
        async with served(world):
            await later(1000)

    assert play(story).waits[:5] == pytest.approx(again)


# That it is watched


def test_neither_an_idle_house_nor_a_broker_that_is_away_is_stuck(play: Play) -> None:
    async def story(world: World) -> None:
        async with served(world):
            for fails in (None, AWAY, WRONG, None):
                world.fails = fails
                if world.line is not None and fails is AWAY:
                    world.line.cut()
                for _ in range(50):
                    await later(HOURS / 50)
                    assert world.stuck() == []
            assert {each.name for each in world.pulse} >= {"connection of phone", "figures of phone"}

    play(story)


def test_what_hangs_is_stuck(play: Play) -> None:
    async def story(world: World) -> None:
        world.fails, world.takes = AWAY, HOURS
        async with served(world):
            await later(PIECE_WITHIN + 1)
            assert world.stuck() == ["connection of phone"]

    play(story)


def test_figures_that_hang_are_stuck(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("mrdaemon.alerts.mqttfigures.Figures._position", hang)

    async def story(world: World) -> None:
        async with served(world):
            await later(PIECE_WITHIN + 1)
            assert world.stuck() == ["figures of phone"]

    play(story)
