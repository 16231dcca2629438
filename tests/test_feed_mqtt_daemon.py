"""A whole daemon whose prices come over MQTT, from a foreign client through a real broker."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mrdaemon.clock import SystemClock
from mrdaemon.core.instant import iso
from tests.mosquitto import PATIENCE, Mosquitto, mosquitto
from tests.running import ROOT, Object, child, mrdaemon

EXAMPLE = ROOT / "config" / "mqtt-prices.toml"
CONFIG = """
[feed]
kind = "mqtt"
topic = "home/prices"
[mqtt]
host = "127.0.0.1"
port = {port}
[prices]
sessions = "always"
[accounts.here]
broker = "{account}"
[portfolios.core]
account = "here"
reserve = "10000"
zone = "5%"
mode = "{mode}"
[portfolios.core.positions."BTC/USD"]
target = "5000"
shares = "50"
"""

AT_ALPACA = """
[feed]
kind = "mqtt"
[mqtt]
host = "127.0.0.1"
port = {port}
[prices]
sessions = "always"
[accounts.alpaca]
broker = "alpaca"
key = "PKSIMULATOR"
secret = "simulated"
url = "{url}"
[portfolios.core]
account = "alpaca"
reserve = "5000"
mode = "auto"
[portfolios.core.positions.QQQ]
target = "2000"
initial = "buy"
"""


class Running:
    """A daemon as a child, as a test listens to it."""

    def __init__(self, process: subprocess.Popen[str], state: Path) -> None:
        self.process = process
        self.state = state

    async def hear(self, kind: str, **fields: str) -> Object:
        """Wait for the next event of a kind, and with such fields."""
        async with asyncio.timeout(PATIENCE):
            return await asyncio.to_thread(self._read, kind, fields)

    def _read(self, kind: str, fields: Object) -> Object:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: Object = json.loads(line)
            if event["kind"] == kind and fields.items() <= event.items():
                return event
        raise AssertionError(f"it ended without {kind}: {self.process.stderr.read() if self.process.stderr else ''}")

    def journaled(self, kind: str) -> list[Object]:
        return mrdaemon("events", "--json", "--kind", kind, "--state", self.state).objects


def configured(folder: Path, port: int, account: str = "paper", mode: str = "auto") -> Path:
    path = folder / "core.toml"
    path.write_text(CONFIG.format(port=port, account=account, mode=mode))
    return path


def dated(price: str) -> str:
    """Give a message with a price of this moment."""
    return json.dumps({"price": price, "time": iso(SystemClock().now())})


@asynccontextmanager
async def daemon(folder: Path, broker: Mosquitto, account: str = "paper", mode: str = "auto") -> AsyncIterator[Running]:
    """Run a daemon that is subscribed."""
    config, state = configured(folder, broker.port, account, mode), folder / "state"
    with child("run", "--json", "-c", config, "--state", state) as process:
        running = Running(process, state)
        try:
            await running.hear("feed_state_changed", state="subscribed")
            yield running
        finally:
            process.terminate()
            await asyncio.to_thread(process.communicate, timeout=PATIENCE)


async def test_prices_over_mqtt_raise_a_signal_and_fill_a_paper_order(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, daemon(tmp_path, broker) as running:
        for price in ("100", "99.5", "94.00", "94.00"):
            await broker.publish("home/prices/BTC/USD", price)
        raised = await running.hear("signal_raised")
        filled = await running.hear("order_filled")
        assert (raised["symbol"], raised["side"], raised["price"]) == ("BTC/USD", "accumulate", "94.0")
        assert (filled["side"], filled["average"]) == ("accumulate", "94.0")
        status = mrdaemon("status", "--json", "--state", running.state).objects[0]
    assert (status["feed"]["name"], status["feed"]["delivered"]) == ("mqtt home/prices", 4)
    assert status["positions"][0]["price"] == "94.0"


async def test_without_a_broker_prices_over_mqtt_only_alert(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, daemon(tmp_path, broker, account="none", mode="alert") as running:
        for price in ("100", "106", "106"):
            await broker.publish("home/prices/BTC-USD", price)
        assert (await running.hear("signal_raised"))["side"] == "trim"
    assert running.journaled("order_intended") == []


async def test_one_price_that_was_retained_or_sent_twice_confirms_nothing(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        await broker.publish("home/prices/BTC/USD", "60000", retain=True)
        async with daemon(tmp_path, broker, account="none", mode="alert") as running:
            once, bad, again = (dated(price) for price in ("100", "94", "100"))
            for message in (once, bad, bad, bad, again):
                await broker.publish("home/prices/BTC/USD", message)
            assert (await running.hear("signal_dropped"))["price"] == "100.0"
    assert running.journaled("signal_raised") == []
    assert running.journaled("symbol_frozen") == []


async def test_the_same_rules_for_prints_hold_as_for_any_other_feed(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, daemon(tmp_path, broker, account="none", mode="alert") as running:
        await broker.publish("home/prices/BTC/USD", "100")
        await broker.publish("home/prices/BTC/USD", json.dumps({"price": 94, "time": "2026-01-05T14:30:00Z"}))
        assert (await running.hear("print_refused"))["rule"] == "stale"
        await broker.publish("home/prices/BTC/USD", json.dumps({"price": 94, "bid": 99.9, "ask": 100.1}))
        assert (await running.hear("print_refused"))["rule"] == "outside the quote"
        await broker.publish("home/prices/BTC/USD", "10")
        assert (await running.hear("symbol_frozen"))["symbol"] == "BTC/USD"


async def test_a_broker_that_is_killed_and_comes_back_brings_prices_again(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, daemon(tmp_path, broker) as running:
        await broker.publish("home/prices/BTC/USD", "100")
        await running.hear("feed_state_changed", state="live")
        await broker.kill()
        assert (await running.hear("feed_state_changed", state="connecting"))["reason"]
        await broker.start()
        await running.hear("feed_state_changed", state="subscribed")
        for price in ("106", "106"):
            await broker.publish("home/prices/BTC/USD", price)
        assert (await running.hear("order_filled"))["side"] == "trim"


async def test_prices_over_mqtt_trade_in_an_account_at_alpaca(tmp_path: Path) -> None:
    config = tmp_path / "core.toml"
    async with mosquitto(tmp_path) as broker:
        with child("simulator", "--json", "--always-open", "--port", "0", "--seed", "mqtt") as simulator:
            assert simulator.stdout is not None
            url = json.loads(await asyncio.to_thread(simulator.stdout.readline))["url"]
            config.write_text(AT_ALPACA.format(port=broker.port, url=url))
            with child("run", "--json", "-c", config, "--state", tmp_path / "state") as process:
                running = Running(process, tmp_path / "state")
                await running.hear("feed_state_changed", feed="mqtt prices", state="subscribed")
                for price in ("500", "501"):
                    await broker.publish("prices/QQQ", price)
                assert (await running.hear("order_filled"))["symbol"] == "QQQ"


async def test_a_broker_that_refuses_ends_the_start_with_a_reason(tmp_path: Path) -> None:
    async with mosquitto(tmp_path, users={"daemon": "word"}) as broker:
        config = configured(tmp_path, broker.port)
        with child("run", "--json", "-c", config, "--state", tmp_path / "state") as process:
            async with asyncio.timeout(PATIENCE):
                _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 78
    assert "mqtt home/prices: " in said
    assert "refused the connection: not authorized" in said


async def test_the_example_trades_as_it_says(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        place = {"MRDAEMON_MQTT__PORT": str(broker.port)}
        with child("run", "--json", "-c", EXAMPLE, "--state", tmp_path / "state", env=place) as process:
            running = Running(process, tmp_path / "state")
            await running.hear("feed_state_changed", state="subscribed")
            said = [line.split(" -t ")[1].split(" -m ") for line in EXAMPLE.read_text().splitlines() if " -m " in line]
            for topic, price in said:
                await broker.publish(topic, price)
            filled = await running.hear("order_filled")
    assert (filled["symbol"], filled["side"], filled["average"]) == ("BTC/USD", "accumulate", "63000.0")


# The check


def checked(folder: Path, **changes: str) -> tuple[int, str]:
    """Check a configuration in which texts are replaced by others."""
    path = configured(folder, 1883)
    text = path.read_text()
    for old, new in changes.items():
        text = text.replace(CHANGED[old], new)
    path.write_text(text)
    outcome = mrdaemon("check", "-c", path, "--state", folder / "state")
    return outcome.code, outcome.err


CHANGED = {
    "topic": 'topic = "home/prices"',
    "broker": '[mqtt]\nhost = "127.0.0.1"\nport = 1883\n',
    "kind": 'kind = "mqtt"',
    "position": '[portfolios.core.positions."BTC/USD"]',
}


def test_a_sound_configuration_passes(tmp_path: Path) -> None:
    assert checked(tmp_path) == (0, "")


@pytest.mark.parametrize(
    "topic", ["prices/#", "prices/+", "/prices", "prices/", "home//prices", "", "$SYS/prices", " "]
)
def test_a_topic_that_cannot_be_one_is_found(tmp_path: Path, topic: str) -> None:
    code, said = checked(tmp_path, topic=f'topic = "{topic}"')
    assert code == 78
    assert "feed.topic: wanted " in said


def test_prices_over_mqtt_want_a_broker(tmp_path: Path) -> None:
    code, said = checked(tmp_path, broker="")
    assert code == 78
    assert "feed.kind: wanted a table [mqtt] as well, with the broker's host" in said


@pytest.mark.parametrize(
    "key", ['files = ["x.csv"]', 'bar = "1m"', 'stream = "sip"', "channels = 3", 'account = "here"']
)
def test_a_key_of_another_kind_of_feed_is_found(tmp_path: Path, key: str) -> None:
    code, said = checked(tmp_path, topic=key)
    assert code == 78
    assert f'feed.{key.split(" ", maxsplit=1)[0]}: a feed of kind "mqtt" has no use for this; take it out' in said


def test_a_topic_is_of_no_use_to_another_kind_of_feed(tmp_path: Path) -> None:
    code, said = checked(tmp_path, kind='kind = "alpaca"')
    assert code == 78
    assert 'feed.topic: a feed of kind "alpaca" has no use for this; take it out' in said


def test_symbols_that_would_share_a_topic_are_found(tmp_path: Path) -> None:
    more = '[portfolios.core.positions."BTC-USD"]\ntarget = "100"\nshares = "1"\n'
    code, said = checked(tmp_path, position=f"{more}{CHANGED['position']}")
    assert code == 78
    assert "BTC-USD has its prices on home/prices/BTC-USD, too" in said
