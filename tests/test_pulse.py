"""Whether anything that runs makes progress, on a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mrdaemon import pulse
from mrdaemon.pulse import PIECE_WITHIN, Pulse, Work


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A pulse, and one task in it that does what it is told, a step at a time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pulse = Pulse(self.clock)

    def later(self, seconds: float) -> list[str]:
        """Let time pass; gives what is stuck then."""
        self.clock.now += seconds
        return [str(each) for each in self.pulse.stuck()]


@asynccontextmanager
async def running(task: asyncio.Task[None]) -> AsyncIterator[None]:
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_task_that_works_too_long_is_stuck() -> None:
    world = World()

    async def work() -> None:
        pulse.begin("counting shares")
        await for_ever()

    async with running(world.pulse.lasting(asyncio.create_task, work(), "reconciliation of paper")):
        assert not world.later(PIECE_WITHIN)
        assert world.later(1) == ["reconciliation of paper has made no progress for 121 s (counting shares)"]


async def test_a_task_that_never_said_a_word_is_taken_to_be_at_work() -> None:
    world = World()
    async with running(world.pulse.lasting(asyncio.create_task, for_ever(), "news")):
        assert world.later(PIECE_WITHIN + 1)


async def test_waiting_for_news_is_no_work_however_long_it_takes() -> None:
    world = World()

    async def listen() -> None:
        pulse.rest()
        await for_ever()

    async with running(world.pulse.lasting(asyncio.create_task, listen(), "feed")):
        assert not world.later(30 * 86_400)


async def test_what_follows_a_wait_is_a_new_piece_of_work() -> None:
    world, news = World(), asyncio.Event()

    async def work() -> None:
        await pulse.idle(news.wait())
        await for_ever()

    async with running(world.pulse.lasting(asyncio.create_task, work(), "alerts")):
        assert not world.later(86_400)
        news.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not world.later(PIECE_WITHIN)
        assert world.later(1)


async def test_each_piece_has_its_own_time() -> None:
    world, next_one = World(), asyncio.Event()

    async def work() -> None:
        while True:
            pulse.progress("GET /orders")
            next_one.clear()
            await next_one.wait()

    async with running(world.pulse.lasting(asyncio.create_task, work(), "reconciliation of paper")):
        for _ in range(10):
            assert not world.later(PIECE_WITHIN - 1)
            next_one.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert world.later(PIECE_WITHIN + 1) == ["reconciliation of paper has made no progress for 121 s (GET /orders)"]


async def test_what_is_done_while_waiting_is_no_work_of_its_own() -> None:
    world = World()

    async def listen() -> None:
        pulse.rest()
        pulse.progress("a request that a listener makes in between")
        await pulse.idle(for_ever())

    async with running(world.pulse.lasting(asyncio.create_task, listen(), "feed")):
        assert not world.later(86_400)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_task_that_ended_is_stuck_for_ever(fails: bool) -> None:
    world = World()

    async def work() -> None:
        if fails:
            raise ValueError("broke")

    task = world.pulse.lasting(asyncio.create_task, work(), "answers")
    await asyncio.wait([task])
    assert task.exception() is None or fails
    await asyncio.sleep(0)
    assert world.later(7) == ["answers ended 7 s ago, and should not have"]


async def test_a_task_that_was_cancelled_is_none_any_more() -> None:
    world = World()
    async with running(world.pulse.lasting(asyncio.create_task, for_ever(), "news")):
        pass
    await asyncio.sleep(0)
    assert not world.later(86_400)


async def test_an_order_may_end() -> None:
    world = World()
    await world.pulse.passing(asyncio.create_task, asyncio.sleep(0), "order")
    await asyncio.sleep(0)
    assert not world.later(86_400)


async def test_a_task_beside_another_is_watched_by_itself() -> None:
    world = World()

    async def parent() -> None:
        pulse.rest()
        async with asyncio.TaskGroup() as group:
            pulse.beside(group.create_task, for_ever(), "alpaca iex")

    async with running(world.pulse.lasting(asyncio.create_task, parent(), "feed")):
        await asyncio.sleep(0)
        assert world.later(PIECE_WITHIN + 1) == ["alpaca iex has made no progress for 121 s"]


async def test_a_nameless_child_says_nothing_for_its_parent() -> None:
    world = World()

    async def parent() -> None:
        async def child() -> None:
            pulse.rest()
            await for_ever()

        await asyncio.create_task(child())

    async with running(world.pulse.lasting(asyncio.create_task, parent(), "news")):
        await asyncio.sleep(0)
        assert world.later(PIECE_WITHIN + 1)


async def test_where_nobody_watches_saying_so_does_nothing() -> None:
    pulse.begin("alone")
    pulse.progress()
    pulse.rest()
    assert await pulse.idle(asyncio.sleep(0, "done")) == "done"
    assert await pulse.beside(asyncio.create_task, asyncio.sleep(0, "done"), "nobody's") == "done"


async def test_the_longest_is_told_first_and_each_has_its_own_patience() -> None:
    world = World()
    slow, quick = (Work(name, within, world.clock) for name, within in (("journal", 60), ("time", 15)))
    for work in (slow, quick):
        world.pulse.watch(work)
        work.begin()
        world.clock.now += 10
    assert world.later(10) == ["time has made no progress for 20 s"]
    assert [each.split()[0] for each in world.later(40)] == ["journal", "time"]
    slow.rest()
    assert [each.split()[0] for each in world.later(0)] == ["time"]
