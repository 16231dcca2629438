"""What is published is what ``docs/mqtt.md`` says, field by field."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from mrdaemon.alerts import mqttcommands, mqttlimits, mqttmessages
from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.asks import ASKS
from mrdaemon.core.instant import SECOND, iso, parse
from mrdaemon.core.money import Dollars
from mrdaemon.core.policy import ChannelState, FeedState, Mode, Side, TradingState
from mrdaemon.mqtt import KEEPALIVE, Broker, MqttFailure, connected
from mrdaemon.status import ApprovalStatus, ChannelStatus, FeedStatus, PositionStatus, StreamStatus
from tests.alerts_mqtt import BASE, STARTED, FakeView, alert, channel, message, portfolio, position
from tests.mosquitto import PATIENCE, Mosquitto, mosquitto
from tests.running import ROOT

TEXT: Final = (ROOT / "docs" / "mqtt.md").read_text()
_DECIMAL: Final = re.compile(r"-?\d+(\.\d+)?")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3,9})?Z")

KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in {int, float},
    "boolean": lambda value: type(value) is bool,
    "string": lambda value: isinstance(value, str) and value != "",
    "decimal": lambda value: isinstance(value, str) and _DECIMAL.fullmatch(value) is not None,
    "time": lambda value: isinstance(value, str) and _TIME.fullmatch(value) is not None and bool(parse(value)),
    "list": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def documented(message: str) -> dict[str, str]:
    """Give the types of a message's fields, by their names."""
    section = TEXT.split(f"\n### {message}\n")[1].split("\n#")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([a-z]+\??) \|", section, re.MULTILINE))


def nested(message: str, field: str) -> set[str]:
    """Give the names of fields that a field of a message is said to have."""
    [line] = re.findall(rf"^\| `{field}` \|[^|]+\|(.*)\|$", TEXT.split(f"\n### {message}\n")[1], re.MULTILINE)[:1]
    return set(re.findall(r"`(\w+)`", line))


def held_against(message: str, payload: bytes) -> dict[str, Any]:
    """Hold a message against its description; gives it."""
    fields, said = documented(message), json.loads(payload)
    assert said.keys() == fields.keys()
    assert next(iter(said)) == "v"
    wrong = {
        name: said[name]
        for name, kind in fields.items()
        if not (said[name] is None and kind.endswith("?")) and not KINDS[kind.removesuffix("?")](said[name])
    }
    assert wrong == {}
    return dict(said)


FULL = position(
    "BRK.B",
    order="core-BRK.B-7",
    order_state="partly filled",
    waits={Side.ACCUMULATE: "session"},
    approval=ApprovalStatus("core/BRK.B/7", 7, Side.TRIM, Dollars(Decimal("250.00")), iso(STARTED)),
    halted="its shares differ",
    frozen="it jumped",
    remarks=("HALTED",),
)
BARE = position(
    lower=None, upper=None, price=None, age=None, value=None, deviation=None, accumulate_at=None, trim_at=None
)


@pytest.mark.parametrize("status", [position(), FULL, BARE])
def test_positions(status: PositionStatus) -> None:
    held_against("position", mqttmessages.position(status, STARTED))


def test_a_request_for_approval() -> None:
    said = held_against("position", mqttmessages.position(FULL, STARTED))
    assert said["approval"].keys() == nested("position", "approval")


def test_portfolios() -> None:
    held_against("portfolio", mqttmessages.portfolio(portfolio(), STARTED))


def test_the_state() -> None:
    stream = StreamStatus("stocks", FeedState.LIVE, iso(STARTED), "")
    channel = ChannelStatus("phone", ChannelState.UP, iso(STARTED), "", 0)
    feed = FeedStatus("stocks", is_recording=False, delivered=1, refused=0, newest=iso(STARTED), ended=False)
    full = msgspec.structs.replace(FakeView().status, streams=(stream,), channels=(channel,), feed=feed)
    said = held_against("state", mqttmessages.state(full))
    assert said["streams"][0].keys() == nested("state", "streams")
    assert said["channels"][0].keys() == nested("state", "channels")
    assert said["accounts"][0].keys() == nested("state", "accounts")
    assert said["portfolios"][0].keys() == documented("portfolio").keys() - {"v", "at"}
    held_against("state", mqttmessages.state(FakeView().status))


def test_alerts() -> None:
    held_against("alert", mqttmessages.alert(alert(approval="core/QQQ/7")))
    held_against("alert", mqttmessages.alert(alert(portfolio="", symbol="")))


def test_responses() -> None:
    at = iso(STARTED)
    held_against("response", mqttmessages.response(mqttmessages.Response(at=at, command="pause", id="1", ok=True)))
    refused = mqttmessages.Response(at=at, command="pause", id=None, ok=False, refused="it is stale")
    held_against("response", mqttmessages.response(refused))


@pytest.mark.parametrize(
    ("message", "field", "values"),
    [
        ("alert", "level", set(Level)),
        ("alert", "topic", set(Topic)),
        ("position", "mode", set(Mode)),
        ("position", "trading", set(TradingState)),
        ("portfolio", "trading", set(TradingState)),
        ("state", "trading", set(TradingState)),
        ("position", "waits", set(Side)),
    ],
)
def test_every_value_of_a_choice_is_named(message: str, field: str, values: set[str]) -> None:
    assert nested(message, field) == values


def test_limits_are_those_of_the_program() -> None:
    assert f"older than {mqttcommands.OLDEST // SECOND} seconds" in TEXT
    assert f"more than {mqttcommands.AHEAD // SECOND} seconds ahead" in TEXT
    assert f"{mqttcommands.QUEUED} others wait" in TEXT
    assert f"at most {mqttcommands.LONGEST_ID} characters" in TEXT
    assert mqttcommands.LARGEST == 64 * 1024
    assert mqttlimits.REFUSALS == 20
    assert f"{mqttlimits.CARRIED_OUT} that were carried out, or {mqttlimits.REFUSALS} that the daemon refused" in TEXT
    assert {"halt", "reduce", "pause"} == mqttlimits.STOPS
    assert mqttcommands.TOLD == 50
    assert f"up to {KEEPALIVE * 3 // 2} seconds" in TEXT
    assert f"`v`, the version of this description: {mqttmessages.VERSION}" in TEXT.replace("\n", " ")


def test_commands_with_an_id_of_their_own_are_named() -> None:
    assert [name for name, ask in ASKS.items() if "id" in ask.__struct_fields__] == ["approve", "reject"]


# The example of an ACL


def example(beginning: str) -> str:
    """Give a block of the page by its first line."""
    [block] = [each for each in re.findall(r"```\w*\n(.*?)```", TEXT, re.DOTALL) if each.startswith(beginning)]
    return str(block)


async def may_publish(broker: Mosquitto, user: str, topic: str) -> bool:
    async with connected(Broker("127.0.0.1", broker.port, "5", user, "secret"), identifier=user) as session:
        try:
            await session.send(topic, b"{}")
        except MqttFailure:
            return False
        return True


async def test_the_example_lets_the_daemon_do_its_work_and_nobody_else_command(tmp_path: Path) -> None:
    users = dict.fromkeys(("mrdaemon", "homeassistant", "display"), "secret")
    async with (
        mosquitto(tmp_path, users=users, acl=example("# /etc/mosquitto/acl")) as broker,
        broker.subscribed("#") as heard,
        asyncio.timeout(PATIENCE),
    ):
        login = Broker("127.0.0.1", broker.port, "5", "mrdaemon", "secret")
        async with channel(login, homeassistant=True, commands=("pause", "resume")) as (made, *_):
            await made.deliver(message(alert()))
            await heard.on(f"{BASE}/signal/core_qqq")
            await heard.on("homeassistant/device/mrdaemon__home__position__core_qqq/config")
            assert await may_publish(broker, "homeassistant", f"{BASE}/cmd/pause")
            await heard.on(f"{BASE}/cmd/pause/response")
            assert not await may_publish(broker, "homeassistant", f"{BASE}/cmd/halt")
            assert not await may_publish(broker, "homeassistant", f"{BASE}/status")
            assert not await may_publish(broker, "display", f"{BASE}/cmd/pause")
            assert "Denied PUBLISH from mrdaemon-home" not in broker.log
        await heard.until(lambda each: each.topic == f"{BASE}/status" and each.payload == "offline")
