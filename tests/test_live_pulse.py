"""Whether a live daemon makes progress, over hours of virtual time: what is away is no fault of ours, what hangs is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mrdaemon import live
from mrdaemon.brokers import AmbiguousError
from mrdaemon.core.orders import OrderReport, OrderRequest
from mrdaemon.core.policy import FeedState
from mrdaemon.pulse import Pulse
from tests.test_live_streams import NOBODY, World, streams, virtually

HOURS = 12


@asynccontextmanager
async def watched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(live, "Pulse", lambda: Pulse(asyncio.get_running_loop().time))
    async with streams(folder) as world:
        yield world


async def stuck_within(world: World, seconds: float) -> list[str]:
    """Look every ten seconds for so long; gives all that ever was stuck."""
    found = list[str]()
    for _ in range(int(seconds / 10)):
        await world.clock.sleep(10)
        found += [str(each) for each in world.live.pulse.stuck()]
    return found


def test_a_day_without_any_print_is_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with watched(tmp_path, monkeypatch) as world:
            await world.begin()
            assert await stuck_within(world, HOURS * 3600) == []

    virtually(scenario())


@pytest.mark.parametrize("ordering", [False, True])
def test_a_broker_that_is_away_for_hours_leaves_nothing_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ordering: bool
) -> None:
    async def scenario() -> None:
        async with watched(tmp_path, monkeypatch) as world:
            await world.begin()
            if ordering:
                await world.trade("QQQ", "SPY")
            world.street.fails = NOBODY
            world.street.disconnect()
            assert await stuck_within(world, HOURS * 3600) == []

    virtually(scenario())


def test_a_broker_that_will_not_have_us_leaves_nothing_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with watched(tmp_path, monkeypatch) as world:
            await world.begin()
            world.street.disconnect(FeedState.REFUSED)
            assert await stuck_within(world, HOURS * 3600) == []

    virtually(scenario())


def test_an_order_whose_sending_never_ends_is_stuck_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def for_ever(request: OrderRequest) -> OrderReport:
        await asyncio.get_running_loop().create_future()
        raise AmbiguousError(request.order)

    async def scenario() -> None:
        async with watched(tmp_path, monkeypatch) as world:
            await world.begin()
            world.street.submit = for_ever  # type: ignore[method-assign]
            await world.trade("QQQ")
            assert await stuck_within(world, 110) == []
            [name] = world.open
            for told in await stuck_within(world, 20):
                assert told.startswith("order has made no progress for 1")
                assert told.endswith(f" s (sending {name})")
            assert world.live.pulse.stuck()

    virtually(scenario())


def test_a_comparison_that_never_ends_is_stuck_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    async def scenario() -> None:
        async with watched(tmp_path, monkeypatch) as world:
            await world.begin()
            world.street.standing = for_ever  # type: ignore[method-assign, assignment]
            assert await stuck_within(world, 300) == []
            found = await stuck_within(world, 300)
            assert found
            assert all(each.startswith("reconciliation of paper has made no progress") for each in found)

    virtually(scenario())
