"""A broker that is away, hangs, or will not have us: no alert is lost, all is told, and what is mended heals."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mrdaemon.alerts import mqtt as channels
from mrdaemon.alerts import mqttfigures
from mrdaemon.alerts.channel import RefusedError, UndeliveredError
from mrdaemon.status import PositionStatus
from tests.alerts_mqtt import BASE, FakeView, alert, channel, delivered, message, position, reached
from tests.mosquitto import Certificates, mosquitto
from tests.running import ROOT

BOTH = pytest.mark.parametrize("version", ["5", "3.1.1"])
LEFT_OPEN = pytest.mark.filterwarnings("ignore:.*unclosed.*ssl.SSLSocket:ResourceWarning")
"""The client library leaves a socket to the collector whose other side it did not believe."""
STATUS = f"{BASE}/status"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less than a broker far away deserves."""
    monkeypatch.setattr(channels, "FIRST", 0.05)
    monkeypatch.setattr(channels, "LONGEST", 0.2)
    monkeypatch.setattr(channels, "SLOWLY", 0.1)
    monkeypatch.setattr(channels, "SWEEP", 0.1)


def trusting(ca: Path) -> Callable[[], ssl.SSLContext]:
    return lambda: ssl.create_default_context(cafile=ca)


# Away


async def test_every_alert_of_an_outage_arrives_and_repeats_have_equal_ids(tmp_path: Path) -> None:
    ids = [f"nonce-{number}" for number in range(30)]
    async with mosquitto(tmp_path, persistent=True) as broker, channel(reached(broker)) as (made, *_):
        async with broker.subscribed(f"{BASE}/alert", session="phone") as before:
            await delivered(made, *(alert(number) for number in range(10)))
            await before.on(f"{BASE}/alert", 10)
        await broker.restart()  # It knows of the session from here on, whatever happens to it.
        await delivered(made, alert(9))
        await broker.kill()
        with pytest.raises(UndeliveredError):
            await delivered_once(made, 10, 20)
        await broker.start()
        await delivered(made, *(alert(number) for number in range(10, 20)))
        await broker.restart()
        await delivered(made, *(alert(number) for number in range(20, 30)))
        async with broker.subscribed(f"{BASE}/alert", session="phone") as heard:
            await heard.until(lambda each: each.json["id"] == ids[-1])
    assert list(dict.fromkeys(each.json["id"] for each in (*before.messages, *heard.messages))) == ids


async def delivered_once(made: channels.MqttChannel, first: int, last: int) -> None:
    """Try until the loss of the connection was noticed: what is tried on a dead one may not be."""
    async with asyncio.timeout(10):
        while True:
            await made.deliver(message(*(alert(number) for number in range(first, last))))


@BOTH
async def test_a_daemon_that_is_killed_is_offline(tmp_path: Path, version: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from mrdaemon import mqtt\n"
        "from tests.alerts_mqtt import channel\n"
        "async def run():\n"
        "    async with channel(mqtt.Broker('127.0.0.1', int(sys.argv[1]), sys.argv[2])):\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(run())\n"
    )
    async with mosquitto(tmp_path) as broker, broker.subscribed(STATUS) as heard:
        arguments = [sys.executable, "-c", program, str(broker.port), version]
        nowhere = subprocess.DEVNULL
        daemon = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT, stdout=nowhere, stderr=nowhere)
        try:
            await heard.until(lambda each: each.payload == "online")
        finally:
            daemon.kill()
            await daemon.wait()
        await heard.until(lambda each: each.payload == "offline")
        assert (await broker.retained(STATUS))[STATUS].payload == "offline"


async def test_a_stop_is_quick_where_the_broker_hangs(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, broker.subscribed(STATUS) as heard, asyncio.timeout(10):
        async with channel(reached(broker)):
            await heard.on(STATUS)
            broker.pause()
        broker.resume()


async def test_figures_that_are_never_acknowledged_cost_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqttfigures, "ANSWER_WITHIN", 0.2)
    async with (
        mosquitto(tmp_path) as broker,
        broker.subscribed(STATUS) as heard,
        channel(reached(broker)) as (made, view, _),
    ):
        await heard.on(STATUS)
        broker.pause()
        view.change("QQQ", signals=1)
        async with asyncio.timeout(10):
            while made._session is not None:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0)
        monkeypatch.undo()
        broker.resume()
        await heard.until(lambda each: each.payload == "online", 2)


# It will not have us


@BOTH
async def test_a_wrong_password_is_told_and_heals_once_it_is_right(tmp_path: Path, version: str) -> None:
    async with mosquitto(tmp_path, users={"daemon": "old"}) as broker:
        login = reached(broker, version=version, user="daemon", password="new")
        async with channel(login) as (made, *_):
            with pytest.raises(RefusedError, match="refused the connection: not authorized") as caught:
                await made.deliver(message(alert()))
            assert not caught.value.message_only
            await broker.stop()
            broker.change_password("daemon", "new")
            await broker.start()
            await delivered(made, alert())


async def test_a_topic_that_we_may_not_write_is_told(tmp_path: Path) -> None:
    rules = f"user daemon\ntopic read #\ntopic write {STATUS}\ntopic write {BASE}/cmd/#"
    async with (
        mosquitto(tmp_path, users={"daemon": "secret"}, acl=rules) as broker,
        channel(reached(broker, user="daemon", password="secret")) as (made, *_),
    ):
        with pytest.raises(RefusedError, match="refused a message: not authorized"):
            await made.deliver(message(alert()))
        assert (await broker.retained(f"{BASE}/#")).keys() == {STATUS}


async def test_an_older_protocol_is_not_told_that_a_message_was_dropped(tmp_path: Path) -> None:
    """MQTT 3.1.1 has no word for it: what is denied is acknowledged, and gone."""
    rules = "user daemon\ntopic read #"
    async with (
        mosquitto(tmp_path, users={"daemon": "secret"}, acl=rules) as broker,
        channel(reached(broker, version="3.1.1", user="daemon", password="secret")) as (made, *_),
    ):
        await made.deliver(message(alert()))
        assert "Denied PUBLISH" in broker.log


@LEFT_OPEN
@pytest.mark.parametrize(
    ("server", "ca", "reason"),
    [
        ("expired", "ca", "certificate has expired"),
        ("server", "wrong_ca", "unable to get local issuer certificate"),
    ],
)
async def test_a_certificate_that_is_not_to_be_trusted_is_told(
    tmp_path: Path, server: str, ca: str, reason: str
) -> None:
    files = Certificates(tmp_path / "tls")
    tls = trusting(getattr(files, ca))
    async with (
        mosquitto(tmp_path, server=getattr(files, server)) as broker,
        channel(reached(broker, tls=tls)) as (made, *_),
    ):
        with pytest.raises(RefusedError, match=reason):
            await made.deliver(message(alert()))


async def test_alerts_go_over_tls(tmp_path: Path) -> None:
    files = Certificates(tmp_path / "tls")
    async with (
        mosquitto(tmp_path, server=files.server) as broker,
        broker.subscribed(f"{BASE}/alert") as heard,
        channel(reached(broker, tls=trusting(files.ca))) as (made, *_),
    ):
        await made.deliver(message(alert()))
        await heard.on(f"{BASE}/alert")


async def test_an_alert_that_is_too_large_is_refused_alone(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path, lines=["max_packet_size 3000"]) as broker,
        channel(reached(broker)) as (made, *_),
    ):
        with pytest.raises(RefusedError, match="takes 3000 bytes at most") as caught:
            await made.deliver(message(alert(text="x" * 3000)))
        assert caught.value.message_only
        await made.deliver(message(alert(2)))


# The price loop


async def test_ten_thousand_positions_give_others_their_turn(tmp_path: Path) -> None:
    view = Counting(10_000)
    async with mosquitto(tmp_path) as broker, channel(reached(broker), view=view):
        async with asyncio.timeout(60):
            await view.begun.wait()
            while view.given < view.count:
                view.turn()
                await asyncio.sleep(0)
    view.turn()
    assert view.most_in_a_turn < view.count / 10


class Counting(FakeView):
    """Many positions, and how many of them are looked at in one turn of the event loop."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.given, self.in_this_turn, self.most_in_a_turn = count, 0, 0, 0
        self.begun = asyncio.Event()

    def positions(self) -> Iterator[PositionStatus]:
        self.begun.set()
        same = position()  # There is no news of it: nothing but a pause interrupts who looks.
        for _ in range(self.count):
            self.given += 1
            self.in_this_turn += 1
            yield same

    def turn(self) -> None:
        self.most_in_a_turn = max(self.most_in_a_turn, self.in_this_turn)
        self.in_this_turn = 0
