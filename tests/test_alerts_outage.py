"""A broker, or the daemon itself, fails in a burst of signals: afterwards everybody has every alert, in order."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.outage import UNREAD, Scene, held, outcome, scene, wanted

# Apprise imports what is on its way out.
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]
SHORT, MINUTE = 5.0, 60.0
"""Seconds for which a broker is away in `make test`, and in `make soak`."""
SETTLE = {SHORT: 1, MINUTE: 60}
"""Seconds after which that is told: 15 where this is more."""
TENS = 10
"""Signals a second, at least: so many must wait for each second."""


def check(stage: Scene) -> None:
    """Hold what everybody got against the journal."""
    alerts = stage.alerts()
    ours = wanted(alerts, "house")
    assert {outcome(each, "house") for each in ours} == {"delivered"}
    received = stage.witness.received()
    assert list(dict.fromkeys(each.id for each in received)) == [each["id"] for each in ours]
    assert len({each.payload for each in received}) == len(ours)
    others = wanted(alerts, "phone")
    assert {outcome(each, "phone") for each in others} == {"delivered"}
    lines = iter(stage.phone.taken)
    assert [each["text"] for each in others if each["text"] not in lines] == []


async def outage(stage: Scene, seconds: float) -> None:
    """See an outage through: it shows, and the other channel is told."""
    begun = time.monotonic()
    await stage.until_waiting(int(TENS * seconds))
    await stage.until_told("channel_down")
    standing = stage.channel("house")
    assert standing["state"] == "down"
    assert standing["waiting"] >= TENS * seconds
    assert str(stage.broker.port) in standing["reason"]
    await asyncio.sleep(begun + seconds - time.monotonic())


def told_once(stage: Scene) -> None:
    """See that the other channel was told that this one went and came back, each once."""
    [down], [up] = stage.of("channel_down", "house"), stage.of("channel_up", "house")
    assert [stage.phone.taken.count(each["text"]) for each in (down, up)] == [1, 1]
    assert down["n"] < up["n"]


async def outlive_a_kill(folder: Path, seconds: float) -> None:
    async with scene(folder, SETTLE[seconds]) as stage:
        with stage.daemon() as daemon:
            async with stage.burst():
                await stage.until_heard(50)
                await stage.kill_broker()
                await outage(stage, seconds)
                with held(daemon):  # Who listens must be there before there is something to hear.
                    await stage.broker.start()
                    await stage.until_listened(2)
                await stage.until_told("channel_up")
            await stage.until_all_is_said()
            check(stage)
            told_once(stage)


async def outlive_a_pause(folder: Path, seconds: float) -> None:
    async with scene(folder, SETTLE[seconds]) as stage:
        with stage.daemon():
            async with stage.burst():
                await stage.until_heard(50)
                stage.broker.pause()
                await outage(stage, seconds)
                stage.broker.resume()
                await stage.until_told("channel_up")
            await stage.until_all_is_said()
            check(stage)
            told_once(stage)


async def outlive_kills_of_both(folder: Path, seconds: float) -> None:
    async with scene(folder, SETTLE[seconds]) as stage, stage.burst() as burst:
        with stage.daemon() as first:
            await stage.until_heard(50)
            stage.broker.pause()
            await stage.until_waiting(UNREAD)
            first.kill()
        stage.broker.resume()  # It reads what the first daemon never knew to be delivered.
        with stage.daemon() as second:
            await stage.until_heard(len(stage.witness.received()) + 50)
            await stage.kill_broker()
            await outage(stage, seconds / 2)
            second.kill()
        with stage.daemon() as third:
            await outage(stage, seconds / 2)
            with held(third):
                await stage.broker.start()
                await stage.until_listened(2)
            await stage.until_told("channel_up")
            burst.cancel()
            await stage.until_all_is_said()
            check(stage)
            assert len(stage.of("channel_down", "house")) == 1
            assert len(stage.witness.received()) > len(wanted(stage.alerts(), "house"))


async def test_a_broker_that_is_killed_in_a_burst_costs_no_alert(tmp_path: Path) -> None:
    await outlive_a_kill(tmp_path, SHORT)


@pytest.mark.soak
async def test_a_minute_without_the_broker_costs_no_alert(tmp_path: Path) -> None:
    await outlive_a_kill(tmp_path, MINUTE)


@pytest.mark.soak
async def test_a_minute_with_a_broker_that_hangs_costs_no_alert(tmp_path: Path) -> None:
    await outlive_a_pause(tmp_path, MINUTE)


@pytest.mark.soak
async def test_a_minute_without_the_broker_in_which_the_daemon_is_killed_costs_no_alert(tmp_path: Path) -> None:
    await outlive_kills_of_both(tmp_path, MINUTE)
