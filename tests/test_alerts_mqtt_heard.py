"""Commands from foreign clients over a real broker, and what Home Assistant finds there."""

from __future__ import annotations

import json
import socket
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mrdaemon.alerts import mqtt as channels
from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.money import Dollars
from mrdaemon.core.policy import Side
from mrdaemon.status import ApprovalStatus
from tests.alerts_mqtt import BASE, Asked, FakeView, alert, channel, message, position, reached
from tests.mosquitto import Mosquitto, Subscriber, mosquitto

BOTH = pytest.mark.parametrize("version", ["5", "3.1.1"])
RESPONSE = f"{BASE}/cmd/pause/response"
CONFIG = "homeassistant/device/mrdaemon__home__position__core_qqq/config"
COMMANDS = ("pause", "resume", "approve", "reject")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "FIRST", 0.05)
    monkeypatch.setattr(channels, "SWEEP", 0.1)


def body(**fields: Any) -> str:
    return json.dumps({"at": iso(Instant(time.time_ns())), **fields})


async def command(broker: Mosquitto, payload: str | bytes, name: str = "pause", **more: Any) -> None:
    await broker.publish(f"{BASE}/cmd/{name}", payload, **more)


async def online(heard: Subscriber) -> None:
    await heard.until(lambda each: each.topic == f"{BASE}/status" and each.payload == "online")


# Commands


@BOTH
async def test_a_command_is_carried_out_and_answered(tmp_path: Path, version: str) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(f"{BASE}/#") as heard,
        channel(reached(broker, version=version), commands=COMMANDS) as (_, _, asker),
    ):
        await online(heard)
        await command(broker, body(symbol="BRK.B", by="anna", id="1"))
        [answer] = await heard.on(RESPONSE)
        assert await broker.retained(f"{BASE}/cmd/#") == {}
    assert asker.asked == [Asked("pause", {"symbol": "BRK.B"}, "anna (mqtt phone)")]
    assert (answer.json["ok"], answer.json["id"], answer.json["changed"]) == (
        True,
        "1",
        ["Signals are paused, by anna."],
    )
    assert (answer.retain, answer.qos) == (False, 1)


async def test_an_answer_goes_to_the_response_topic_with_its_correlation(tmp_path: Path) -> None:
    properties = [("response-topic", "anna/answers"), ("correlation-data", "seven")]
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(f"{BASE}/#", "anna/#") as heard,
        channel(reached(broker), commands=COMMANDS),
    ):
        await online(heard)
        await command(broker, body(), properties=properties)
        [answer] = await heard.on("anna/answers")
        [same] = await heard.on(RESPONSE)
    assert answer.json == same.json
    assert answer.properties["correlation-data"] == "seven"


@BOTH
async def test_a_command_that_was_kept_for_us_is_refused(tmp_path: Path, version: str) -> None:
    async with mosquitto(tmp_path) as broker, broker.subscribed(f"{BASE}/#") as heard:
        await command(broker, body(), retain=True)
        async with channel(reached(broker, version=version), commands=COMMANDS) as (_, _, asker):
            [answer] = await heard.on(RESPONSE)
    assert "retained" in answer.json["refused"]
    assert asker.asked == []
    assert len(asker.refused) == 1


async def test_a_command_that_is_to_be_kept_is_refused_at_once(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(f"{BASE}/#") as heard,
        channel(reached(broker), commands=COMMANDS) as (_, _, asker),
    ):
        await online(heard)
        await command(broker, body(), retain=True)
        [answer] = await heard.on(RESPONSE)
    assert "retained" in answer.json["refused"]
    assert asker.asked == []


async def test_an_older_protocol_does_not_tell_that_a_command_is_kept_so_it_counts_once(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(f"{BASE}/#") as heard,
        channel(reached(broker, version="3.1.1"), commands=COMMANDS) as (made, _, asker),
    ):
        await online(heard)
        await command(broker, body(), retain=True)
        await heard.on(RESPONSE)
        assert made._session is not None
        line = made._session._client.socket()
        assert isinstance(line, socket.socket)
        line.shutdown(socket.SHUT_RDWR)
        first, again = await heard.on(RESPONSE, 2)
    assert (first.json["ok"], again.json["ok"]) == (True, False)
    assert "retained" in again.json["refused"]
    assert len(asker.asked) == 1


@BOTH
@pytest.mark.parametrize(
    ("name", "payload", "answered", "reason"),
    [
        ("pause", b"\xff\xfe\x00", "pause", "wanted a JSON object"),
        ("pause", b"", "pause", "wanted a JSON object"),
        ("pause", b"x" * 100_000, "pause", "it has 100000 bytes"),
        ("pause", json.dumps({"at": "2020-01-01T00:00:00Z"}).encode(), "pause", "it is stale"),
        ("halt", b"{}", "halt", "halt is not taken over MQTT"),
        ("explode", b"{}", "explode", "there is no command 'explode'"),
        ("", b"{}", "unknown", "there is no command ''"),
        ("PAUSE $SYS", b"{}", "unknown", "there is no command 'PAUSE $SYS'"),
    ],
)
async def test_nonsense_is_refused_and_what_makes_sense_is_obeyed_after_it(
    tmp_path: Path, version: str, name: str, payload: bytes, answered: str, reason: str
) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(f"{BASE}/#") as heard,
        channel(reached(broker, version=version), commands=COMMANDS) as (_, _, asker),
    ):
        await online(heard)
        await command(broker, payload, name)
        [refused, *_] = await heard.on(f"{BASE}/cmd/{answered}/response")
        await command(broker, body(), "resume")
        [obeyed] = await heard.on(f"{BASE}/cmd/resume/response")
    assert reason in refused.json["refused"]
    assert obeyed.json["ok"]
    assert [each.name for each in asker.asked] == ["resume"]
    assert [by for _, by, _ in asker.refused] == ["mqtt phone"]


async def test_without_commands_nobody_listens_for_them(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(f"{BASE}/#") as heard,
        channel(reached(broker)) as (made, _, asker),
    ):
        await online(heard)
        await command(broker, body())
        await made.deliver(message(alert()))
        await heard.on(f"{BASE}/alert")
        assert "cmd/+" not in broker.log
    assert (asker.asked, asker.refused) == ([], [])
    assert [each.topic for each in heard.messages if each.topic.endswith("response")] == []


async def test_what_was_sent_before_a_reconnection_is_not_obeyed_after_it(tmp_path: Path) -> None:
    old = body()
    async with (
        mosquitto(tmp_path) as broker,
        channel(reached(broker), commands=COMMANDS) as (_, _, asker),
    ):
        await broker.restart()
        async with broker.subscribed(f"{BASE}/#") as heard:
            await online(heard)
            await command(broker, old)
            [answer] = await heard.on(RESPONSE)
    assert "before this daemon was connected" in answer.json["refused"]
    assert asker.asked == []


# Home Assistant


def waiting(number: int) -> ApprovalStatus:
    return ApprovalStatus(
        f"core/QQQ/{number}", number, Side.ACCUMULATE, Dollars(Decimal("250.00")), "2030-01-01T00:00:00Z"
    )


@BOTH
async def test_home_assistant_finds_daemon_portfolio_and_position(tmp_path: Path, version: str) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(CONFIG) as heard,
        channel(reached(broker, version=version), homeassistant=True),
    ):
        await heard.on(CONFIG)
        found = await broker.retained("homeassistant/#")
    assert len(found) == 3
    assert {each.qos for each in found.values()} == {1}
    assert found[CONFIG].json["state_topic"] == f"{BASE}/position/core_qqq"


async def test_a_button_answers_the_request_that_waits(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(CONFIG) as heard,
        channel(reached(broker), homeassistant=True, commands=COMMANDS) as (_, view, _),
    ):
        await heard.on(CONFIG)
        view.change("QQQ", value=Dollars(Decimal("4700.00")))
        view.change("QQQ", approval=waiting(7))
        first, second = await heard.on(CONFIG, 2)
    assert "core/QQQ/7" not in first.payload
    assert "core/QQQ/7" in second.json["components"]["approve"]["command_template"]


async def test_home_assistant_is_told_anew_once_it_has_started(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(CONFIG, f"{BASE}/position/+") as heard,
        channel(reached(broker), homeassistant=True) as (made, *_),
    ):
        await heard.until(lambda _: True, 2)
        await made.deliver(message(alert()))
        await broker.publish("homeassistant/status", "online")
        await heard.until(lambda _: True, 4)
    assert sorted(each.topic for each in heard.messages) == sorted([CONFIG, f"{BASE}/position/core_qqq"] * 2)


async def test_a_position_that_left_is_taken_away_from_home_assistant(tmp_path: Path) -> None:
    devices = "homeassistant/device/mrdaemon__"
    gone, another = f"{devices}home__position__core_gone/config", f"{devices}office/config"
    view = FakeView(position("QQQ"), position("SPY"))
    async with mosquitto(tmp_path) as broker:
        await broker.publish(gone, "{}", retain=True)
        await broker.publish(another, "{}", retain=True)
        async with (
            broker.subscribed("homeassistant/#") as heard,
            channel(reached(broker), homeassistant=True, view=view),
        ):
            await heard.until(lambda each: each.topic == gone and not each.payload)
            await heard.until(lambda each: "core_spy" in each.topic and each.payload)
            view.change("SPY", retired=True)
            await heard.until(lambda each: "core_spy" in each.topic and not each.payload)
            left = await broker.retained("homeassistant/device/+/config")
    daemon, portfolio = f"{devices}home/config", f"{devices}home__portfolio__core/config"
    assert set(left) == {CONFIG, another, daemon, portfolio}


async def test_a_signal_is_an_event_there(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(f"{BASE}/signal/+") as heard,
        channel(reached(broker), homeassistant=True) as (made, *_),
    ):
        await made.deliver(message(alert()))
        [event] = await heard.on(f"{BASE}/signal/core_qqq")
        assert await broker.retained(f"{BASE}/signal/+") == {}
    assert event.json["event_type"] == "accumulate"
