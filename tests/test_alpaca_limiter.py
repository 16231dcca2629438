"""How many requests a login sends: never more than Alpaca takes, and always room for an order."""

from __future__ import annotations

import asyncio

import pytest

from mrdaemon.alpaca.limiter import KEPT, PER_MINUTE, Limiter, Urgency
from mrdaemon.core.instant import MINUTE, SECOND, Instant
from tests.alpaca_support import MovedClock, SkippingClock


async def sent(clock: MovedClock, limiter: Limiter, number: int, urgency: Urgency) -> list[Instant]:
    times = []
    for _ in range(number):
        await limiter.take(urgency)
        times.append(clock.now())
    return times


def most_within(times: list[Instant], span: int) -> int:
    return max(sum(begun <= each < begun + span for each in times) for begun in times)


@pytest.mark.parametrize("urgency", list(Urgency))
async def test_a_login_never_sends_more_than_two_hundred_in_any_minute(urgency: Urgency) -> None:
    clock = SkippingClock()
    times = await sent(clock, Limiter(clock), 1000, urgency)
    most = PER_MINUTE - urgency.value
    assert times[most - 1] == times[0]
    assert most_within(times, MINUTE) == most


async def test_looks_leave_room_for_orders() -> None:
    clock = MovedClock()
    limiter = Limiter(clock)
    await sent(clock, limiter, PER_MINUTE - KEPT, Urgency.LOOK)
    look = asyncio.create_task(limiter.take(Urgency.LOOK))
    orders = await sent(clock, limiter, KEPT, Urgency.ORDER)
    assert orders[-1] == orders[0]
    assert not look.done()
    look.cancel()


async def test_looks_wait_until_the_room_for_orders_is_there_again() -> None:
    clock = SkippingClock()
    limiter = Limiter(clock)
    begun = clock.now()
    await sent(clock, limiter, PER_MINUTE - KEPT, Urgency.LOOK)
    clock.move(30)
    await sent(clock, limiter, KEPT, Urgency.ORDER)
    await limiter.take(Urgency.LOOK)
    assert clock.now() - begun == MINUTE + 30 * SECOND - 30 * SECOND


async def test_a_login_that_was_quiet_saves_up_no_more_than_a_minutes_requests() -> None:
    clock = SkippingClock()
    limiter = Limiter(clock)
    await sent(clock, limiter, 10, Urgency.ORDER)
    clock.move(3600)
    times = await sent(clock, limiter, PER_MINUTE + 1, Urgency.ORDER)
    assert times[-2] == times[0] < times[-1]


async def test_who_waits_in_a_crowd_leaves_with_no_more_than_there_is_room_for() -> None:
    clock = MovedClock()
    limiter = Limiter(clock)
    await sent(clock, limiter, 1, Urgency.ORDER)
    clock.move(10)
    await sent(clock, limiter, PER_MINUTE - 1, Urgency.ORDER)
    crowd = [asyncio.create_task(limiter.take(Urgency.ORDER)) for _ in range(10)]
    clock.move(50)
    for _ in range(5):
        await asyncio.sleep(0)
    assert sum(each.done() for each in crowd) == 1
    for each in crowd:
        each.cancel()


# What Alpaca says


async def first_after(until: Instant | None, urgency: Urgency = Urgency.ORDER) -> float:
    clock = SkippingClock()
    limiter = Limiter(clock)
    begun = clock.now()
    limiter.exhausted(None if until is None else Instant(begun + until))
    await limiter.take(urgency)
    return (clock.now() - begun) / SECOND


@pytest.mark.parametrize(
    ("until", "seconds"),
    [(Instant(20 * SECOND), 20), (None, 5), (Instant(3600 * SECOND), 60), (Instant(-3600 * SECOND), 0)],
)
async def test_nothing_leaves_until_alpaca_takes_requests_again(until: Instant | None, seconds: float) -> None:
    assert await first_after(until) == pytest.approx(seconds)


async def test_being_told_again_makes_nobody_wait_less() -> None:
    clock = SkippingClock()
    limiter = Limiter(clock)
    begun = clock.now()
    limiter.exhausted(Instant(begun + 30 * SECOND))
    limiter.exhausted(Instant(begun + 1 * SECOND))
    await limiter.take(Urgency.ORDER)
    assert clock.now() - begun == 30 * SECOND


# A clock that is set


@pytest.mark.parametrize("back", [1.0, 30.0, 3600.0, 86_400.0])
async def test_after_the_clock_was_set_back_an_order_waits_no_longer_than_a_minute(back: float) -> None:
    clock = SkippingClock()
    limiter = Limiter(clock)
    await sent(clock, limiter, PER_MINUTE, Urgency.ORDER)
    clock.move(-back)
    begun = clock.now()
    await limiter.take(Urgency.ORDER)
    assert clock.now() - begun <= MINUTE


async def test_a_clock_that_was_set_back_lets_no_more_leave_in_any_minute() -> None:
    clock = SkippingClock()
    limiter = Limiter(clock)
    await sent(clock, limiter, PER_MINUTE, Urgency.ORDER)
    clock.move(-3600)
    begun = clock.now()
    times = await sent(clock, limiter, 2 * PER_MINUTE, Urgency.ORDER)
    assert times[0] - begun == MINUTE
    assert most_within(times, MINUTE) == PER_MINUTE


class CorrectedClock(SkippingClock):
    """Is set back by an hour while somebody sleeps for the first time."""

    ahead = 3600.0

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self.move(-self.ahead)
        self.ahead = 0.0


async def test_a_clock_that_is_set_back_while_somebody_waits_makes_them_wait_little_longer() -> None:
    clock = CorrectedClock()
    limiter = Limiter(clock)
    await sent(clock, limiter, PER_MINUTE + 1, Urgency.ORDER)
    assert 60 <= sum(clock.slept) <= 61


async def test_after_the_clock_was_set_back_what_alpaca_said_holds_for_no_longer_than_a_minute() -> None:
    clock = SkippingClock()
    limiter = Limiter(clock)
    limiter.exhausted(Instant(clock.now() + 30 * SECOND))
    clock.move(-3600)
    begun = clock.now()
    await limiter.take(Urgency.ORDER)
    assert clock.now() - begun <= MINUTE
