"""Home Assistant beside the daemon on a real broker: what it finds when it comes, and what its buttons do."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from mrdaemon.alerts import mqtt as channels
from mrdaemon.core.policy import Side
from mrdaemon.status import ApprovalStatus
from tests.alerts_mqtt import FakeView, alert, channel, delivered, position, reached
from tests.builders import dollars
from tests.homeassistant_rules import components
from tests.mosquitto import Mosquitto, Received, Subscriber, mosquitto

DEVICES = "homeassistant/device/+/config"
DAEMON = "homeassistant/device/mrdaemon__home/config"
PORTFOLIO = "homeassistant/device/mrdaemon__home__portfolio__core/config"
QQQ = "homeassistant/device/mrdaemon__home__position__core_qqq/config"
SPY = "homeassistant/device/mrdaemon__home__position__core_spy/config"
COMMANDS = ("approve", "reject")
REQUEST = ApprovalStatus("core/QQQ/7", 7, Side.ACCUMULATE, dollars(500), "2020-09-13T16:26:42Z")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "FIRST", 0.05)
    monkeypatch.setattr(channels, "SWEEP", 0.1)


def entities(message: Received) -> dict[str, dict[str, Any]]:
    return components(message.payload.encode())


async def press(broker: Mosquitto, button: dict[str, Any]) -> None:
    """Press a button as Home Assistant does, whose template knows the time."""
    now = dt.datetime.now(dt.UTC).isoformat()
    await broker.publish(button["command_topic"], button["command_template"].replace("{{ utcnow().isoformat() }}", now))


async def settled(heard: Subscriber, view: FakeView) -> None:
    """Wait until everything was told once, and a figure that changed since."""
    await heard.on("mrdaemon/home/position/core_qqq")
    view.change("QQQ", value=dollars(4999))
    await heard.on("mrdaemon/home/position/core_qqq", 2)


async def test_whoever_comes_later_finds_every_device(tmp_path: Path) -> None:
    view = FakeView(position("QQQ"), position("SPY"))
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(SPY) as early,
        channel(reached(broker), view=view, homeassistant=True),
    ):
        await early.on(SPY)
        assert set(await broker.retained("homeassistant/#")) == {DAEMON, PORTFOLIO, QQQ, SPY}


async def test_nothing_is_told_where_nobody_wants_it(tmp_path: Path) -> None:
    view = FakeView(position("QQQ"))
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed("mrdaemon/home/position/+") as heard,
        channel(reached(broker), view=view),
    ):
        await settled(heard, view)
        assert not await broker.retained("homeassistant/#")


async def test_everything_is_told_again_when_home_assistant_has_started(tmp_path: Path) -> None:
    view = FakeView(position("QQQ"))
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed("homeassistant/#", "mrdaemon/home/position/+") as heard,
        channel(reached(broker), view=view, homeassistant=True),
    ):
        await settled(heard, view)
        await broker.publish("homeassistant/status", "online")
        for topic in (DAEMON, PORTFOLIO, QQQ):
            first, again = await heard.on(topic, 2)
            assert first.payload == again.payload


async def test_a_press_answers_the_request_that_was_shown(tmp_path: Path) -> None:
    view = FakeView(position("QQQ", approval=REQUEST))
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(QQQ, "mrdaemon/home/cmd/+/response") as heard,
        channel(reached(broker), view=view, homeassistant=True, commands=COMMANDS) as parts,
    ):
        [device] = await heard.on(QQQ)
        await press(broker, entities(device)["approve"])
        [answer] = await heard.on("mrdaemon/home/cmd/approve/response")
    assert answer.json["ok"]
    assert [tuple(each) for each in parts.asker.asked] == [
        ("approve", {"id": "core/QQQ/7"}, "Home Assistant (mqtt phone)")
    ]


async def test_a_new_request_gets_new_buttons_and_an_end_takes_them(tmp_path: Path) -> None:
    view = FakeView(position("QQQ"))
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(QQQ) as heard,
        channel(reached(broker), view=view, homeassistant=True, commands=COMMANDS),
    ):
        await heard.on(QQQ)
        view.change("QQQ", approval=REQUEST)
        await heard.on(QQQ, 2)
        view.change("QQQ", approval=None)
        told = await heard.on(QQQ, 3)
    assert [entities(each)["reject"]["name"] for each in told] == ["Reject", "Reject buy of $500.00", "Reject"]


async def test_figures_alone_tell_nothing_new_of_a_device(tmp_path: Path) -> None:
    view = FakeView(position("QQQ"))
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(QQQ, "mrdaemon/home/position/+") as heard,
        channel(reached(broker), view=view, homeassistant=True),
    ):
        await settled(heard, view)
        view.change("QQQ", approval=REQUEST)
        await heard.on(QQQ, 2)
        assert len([each for each in heard.messages if each.topic == QQQ]) == 2


async def test_a_position_that_left_is_removed(tmp_path: Path) -> None:
    view = FakeView(position("QQQ"), position("SPY"))
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(SPY) as heard,
        channel(reached(broker), view=view, homeassistant=True),
    ):
        await heard.on(SPY)
        view.change("SPY", retired=True)
        await heard.until(lambda each: not each.payload)
        assert set(await broker.retained(DEVICES)) == {DAEMON, PORTFOLIO, QQQ}


async def test_devices_that_an_earlier_run_left_are_removed_and_no_others(tmp_path: Path) -> None:
    others = ("homeassistant/device/kitchen/config", "homeassistant/device/mrdaemon__home_2__position__core_spy/config")
    async with mosquitto(tmp_path) as broker:
        for topic in (SPY, *others):
            await broker.publish(topic, "{}", retain=True)
        async with broker.subscribed(SPY) as heard, channel(reached(broker), homeassistant=True):
            await heard.until(lambda each: not each.payload)
            assert set(await broker.retained(DEVICES)) == {DAEMON, PORTFOLIO, QQQ, *others}


async def test_a_signal_is_an_event_that_nobody_finds_later(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed("mrdaemon/home/signal/+") as heard,
        channel(reached(broker), homeassistant=True) as parts,
    ):
        await delivered(parts.channel, alert())
        [event] = await heard.on("mrdaemon/home/signal/core_qqq")
        assert (event.json["event_type"], event.json["id"]) == ("accumulate", "nonce-1")
        assert not await broker.retained("mrdaemon/home/signal/+")
