"""Alerts and figures over a real broker, as a foreigner hears them: all of it, in time, once things go well again."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from decimal import Decimal
from pathlib import Path

import pytest

from mrdaemon.alerts import mqtt as channels
from mrdaemon.alerts.channel import Channel, Connected, Ears, UndeliveredError
from mrdaemon.core.instant import SECOND
from mrdaemon.core.money import Dollars
from tests.alerts_mqtt import BASE, FakeView, alert, channel, delivered, message, position, reached
from tests.mosquitto import mosquitto

BOTH = pytest.mark.parametrize("version", ["5", "3.1.1"])
STATUS = f"{BASE}/status"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less between two connections than a broker far away deserves."""
    monkeypatch.setattr(channels, "FIRST", 0.05)
    monkeypatch.setattr(channels, "LONGEST", 0.2)
    monkeypatch.setattr(channels, "SWEEP", 0.1)


async def test_it_is_a_channel_with_ears_that_keeps_a_connection(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, channel(reached(broker)) as (made, *_):
        ways: tuple[Channel, Ears, Connected] = (made, made, made)
        assert isinstance(ways[1], Ears)
        assert isinstance(ways[2], Connected)
        async with asyncio.timeout(10):
            await made.connected.wait()
            await broker.stop()
            while made.connected.is_set():  # noqa: ASYNC110 - an event tells only that it is set
                await asyncio.sleep(0)


@BOTH
async def test_whoever_comes_later_finds_how_everything_stands(tmp_path: Path, version: str) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(f"{BASE}/#") as early,
        channel(reached(broker, version=version)),
    ):
        await early.on(f"{BASE}/position/core_qqq")
        found = await broker.retained(f"{BASE}/#")
    assert set(found) == {STATUS, f"{BASE}/state", f"{BASE}/portfolio/core", f"{BASE}/position/core_qqq"}
    assert {each.qos for each in found.values()} == {1}
    assert found[STATUS].payload == "online"
    assert found[f"{BASE}/portfolio/core"].json["reserve"] == "1000.00"
    shown = found[f"{BASE}/position/core_qqq"].json
    assert (shown["v"], shown["value"], shown["deviation"], shown["accumulate_at"]) == (1, "5050.00", "0.0100", "95.00")
    assert found[f"{BASE}/state"].json["trading"] == "ACTIVE"


async def test_where_it_runs_is_nobodys_business(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, broker.subscribed(f"{BASE}/state") as heard, channel(reached(broker)):
        [state] = await heard.on(f"{BASE}/state")
        assert not {"state_dir", "process", "positions"} & state.json.keys()
        assert "/somewhere/private" not in state.payload


async def test_only_what_changes_is_published_again(tmp_path: Path) -> None:
    view = FakeView(position("QQQ"), position("SPY"), position("BRK.B"))
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(f"{BASE}/position/+") as heard,
        channel(reached(broker), view=view),
    ):
        await heard.until(lambda _: True, 3)
        view.change("QQQ", age=7.0)
        view.change("SPY", value=Dollars(Decimal("4999.00")))
        [*_, again] = await heard.until(lambda each: each.topic.endswith("core_spy"), 2)
        view.change("BRK.B", value=Dollars(Decimal("4999.00")))
        await heard.on(f"{BASE}/position/core_brk-2eb", 2)
    assert again.json["value"] == "4999.00"
    assert len(heard.messages) == 5


async def test_a_position_that_left_the_configuration_is_taken_away(tmp_path: Path) -> None:
    view = FakeView(position("QQQ"), position("SPY"))
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(f"{BASE}/position/core_spy") as heard,
        channel(reached(broker), view=view),
    ):
        await heard.until(lambda each: each.payload)
        view.change("SPY", retired=True)
        await heard.until(lambda each: not each.payload)
        assert set(await broker.retained(f"{BASE}/position/+")) == {f"{BASE}/position/core_qqq"}


@BOTH
async def test_what_an_earlier_run_left_is_taken_away(tmp_path: Path, version: str) -> None:
    async with mosquitto(tmp_path) as broker:
        await broker.publish(f"{BASE}/position/core_gone", "{}", retain=True)
        await broker.publish(f"{BASE}/portfolio/gone", "{}", retain=True)
        await broker.publish("mrdaemon/other/position/core_gone", "{}", retain=True)
        async with broker.subscribed(f"{BASE}/+/+") as heard, channel(reached(broker, version=version)):
            await heard.until(lambda each: each.topic.endswith("gone") and not each.payload, 2)
            assert set(await broker.retained("mrdaemon/+/position/+", "mrdaemon/+/portfolio/+")) == {
                f"{BASE}/position/core_qqq",
                f"{BASE}/portfolio/core",
                "mrdaemon/other/position/core_gone",
            }


@BOTH
async def test_an_alert_arrives_as_it_was_said(tmp_path: Path, version: str) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(f"{BASE}/alert") as heard,
        channel(reached(broker, version=version)) as (made, *_),
    ):
        half = time.time_ns() + 300 * SECOND
        sent = message(alert(1), alert(2, approval="core/QQQ/7"))
        await made.deliver(sent._replace(until={"nonce-2": half}.get))
        first, second = await heard.on(f"{BASE}/alert", 2)
        assert set(await broker.retained(f"{BASE}/alert")) == set()
    assert first.json == {
        "v": 1,
        "id": "nonce-1",
        "at": "2020-09-13T12:26:40Z",
        "level": "notice",
        "topic": "signal",
        "kind": "signal_raised",
        "subject": "core/QQQ",
        "title": "QQQ: accumulate $250.00",
        "text": "QQQ fell to $95.00, which is the lower edge of its zone.",
        "portfolio": "core",
        "symbol": "QQQ",
        "facts": {"side": "accumulate", "amount": "250.00"},
        "approval": None,
        "ttl": 600,
    }
    assert (second.json["id"], second.json["approval"]) == ("nonce-2", "core/QQQ/7")
    assert (first.qos, first.retain) == (1, False)
    expiry = [each.properties.get("message-expiry-interval", 0) for each in (first, second)]
    assert expiry == pytest.approx([600, 300] if version == "5" else [0, 0], abs=5)


async def test_an_alert_waits_for_the_first_connection(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, channel(reached(broker)) as (made, *_):
        await made.deliver(message(alert()))


async def test_without_a_broker_an_alert_is_not_delivered(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        await broker.stop()
        async with channel(reached(broker)) as (made, *_):
            with pytest.raises(UndeliveredError, match="cannot be reached: Connection refused"):
                await made.deliver(message(alert()))


@BOTH
async def test_a_clean_stop_says_offline(tmp_path: Path, version: str) -> None:
    async with mosquitto(tmp_path) as broker, broker.subscribed(STATUS) as heard:
        async with channel(reached(broker, version=version)):
            await heard.until(lambda each: each.payload == "online")
        await heard.until(lambda each: each.payload == "offline")
        assert (await broker.retained(STATUS))[STATUS].payload == "offline"
        assert re.search(r"Client mrdaemon-home-\w+ disconnected\.", broker.log)


@BOTH
async def test_a_cut_line_says_offline(tmp_path: Path, version: str) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(STATUS) as heard,
        channel(reached(broker, version=version)) as (made, *_),
    ):
        await heard.until(lambda each: each.payload == "online")
        assert made._session is not None
        line = made._session._client.socket()
        assert isinstance(line, socket.socket)
        line.shutdown(socket.SHUT_RDWR)
        await heard.until(lambda each: each.payload == "offline" and each.qos == 1)
        await heard.until(lambda each: each.payload == "online", 2)


async def test_who_says_that_we_are_offline_is_contradicted(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(STATUS) as heard,
        channel(reached(broker)),
    ):
        await heard.on(STATUS)
        await broker.publish(STATUS, "offline", retain=True)
        await heard.until(lambda each: each.payload == "online", 2)
        assert (await broker.retained(STATUS))[STATUS].payload == "online"


@BOTH
async def test_a_broker_that_comes_back_empty_gets_everything_anew(tmp_path: Path, version: str) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        channel(reached(broker, version=version)) as (made, *_),
    ):
        await delivered(made, alert())
        await broker.kill()
        await broker.start()
        async with broker.subscribed(f"{BASE}/#") as heard:
            await heard.until(lambda each: each.topic == f"{BASE}/position/core_qqq")
            await heard.until(lambda each: each.topic == STATUS and each.payload == "online")


async def test_a_broker_that_never_acknowledges_costs_the_connection_and_no_alert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "ANSWER_WITHIN", 0.2)
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(f"{BASE}/alert") as heard,
        channel(reached(broker), every=60) as (made, *_),
    ):
        await delivered(made, alert(1))
        broker.pause()
        with pytest.raises(UndeliveredError, match="never acknowledges"):
            await made.deliver(message(alert(2)))
        broker.resume()
        await delivered(made, alert(2))
        await delivered(made, alert(3))
        await heard.until(lambda each: each.json["id"] == "nonce-3")
    assert {each.json["id"] for each in heard.messages} == {"nonce-1", "nonce-2", "nonce-3"}


async def test_who_gives_up_earlier_costs_the_connection_too(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, channel(reached(broker), every=60) as (made, *_):
        await delivered(made, alert(1))
        first = made._session
        broker.pause()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(made.deliver(message(alert(2))), 0.1)
        broker.resume()
        await delivered(made, alert(2))
        assert made._session is not first
