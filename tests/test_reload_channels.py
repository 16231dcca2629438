"""Channels that come, change and go while the daemon runs: a courier each, and nothing is lost or left behind."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.mosquitto import PATIENCE, Mosquitto, mosquitto
from tests.reloads import Running, between_rows
from tests.running import Object, Outcome
from tests.test_mqtt_daemon import now

pytestmark = pytest.mark.timeout(90)
HOUSE = """
[mqtt]
host = "127.0.0.1"
port = {port}
[channels.house]
kind = "mqtt"
every = "1s"
homeassistant = true
commands = ["reload"]
"""
DEVICE = "homeassistant/device/mrdaemon__mrdaemon__position__core_qqq/config"
ALERT = "mrdaemon/mrdaemon/alert"


class Inbox:
    """A web server that takes pushes, by the last part of their path."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Object]] = []
        self.came = threading.Condition()
        inbox = self

        class Takes(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with inbox.came:
                    inbox.taken.append((self.path.rpartition("/")[2], body))
                    inbox.came.notify_all()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
        self.server.daemon_threads = True

    def address(self, way: str) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/{way}"

    def table(self, name: str, way: str, more: str = "") -> str:
        manners = 'level = "info"\ngroup = "0s"\nrepeat = "off"'
        return f'[channels.{name}]\nkind = "push"\nurls = ["{self.address(way)}"]\n{manners}\n{more}\n'

    def until(self, way: str, words: str) -> None:
        """Wait until something came on a way with these words in it."""

        def there() -> bool:
            return any(each == way and words in str(body) for each, body in self.taken)

        with self.came:
            assert self.came.wait_for(there, PATIENCE), self.taken


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    found = Inbox()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@contextmanager
def alerting(folder: Path, tables: str) -> Iterator[Running]:
    """Run a daemon and let it take channels."""
    with between_rows(folder) as daemon:
        daemon.write(more=tables)
        assert daemon.reload().code == 0
        yield daemon


def names(daemon: Running) -> list[str]:
    return [each["name"] for each in daemon.status()["channels"]]


def test_a_first_channel_begins_with_what_happens_from_then_on(tmp_path: Path, inbox: Inbox) -> None:
    with alerting(tmp_path, inbox.table("phone", "a")) as daemon:
        daemon.write(('target = "5000"', 'target = "5100"'), more=inbox.table("phone", "a"))
        daemon.reload()
        inbox.until("a", "QQQ: target 5000.00 becomes 5100.00")
        assert not any("started" in str(body) for _, body in inbox.taken)
        assert daemon.stop() == 0
        inbox.until("a", "mrdaemon stopped")


def test_a_refusal_is_told_and_that_a_configuration_is_taken_again_as_loudly(tmp_path: Path, inbox: Inbox) -> None:
    table = inbox.table("phone", "a", 'level = "warning"').replace('level = "info"\n', "")
    with alerting(tmp_path, table) as daemon:
        daemon.write(("[feed]", "[fed]"), more=table)
        daemon.reload()
        inbox.until("a", "there is no such setting; did you mean 'feed'?")
        daemon.write(more=table)
        daemon.reload()
        inbox.until("a", "which was refused before")


def test_a_channel_that_left_is_told_nothing_more_and_the_others_everything(tmp_path: Path, inbox: Inbox) -> None:
    both = inbox.table("phone", "a") + inbox.table("mail", "b")
    with alerting(tmp_path, both) as daemon:
        daemon.write(more=inbox.table("mail", "b"))
        assert "Channel phone was taken away" in daemon.reload().out
        assert names(daemon) == ["mail"]
        daemon.write(('target = "5000"', 'target = "5100"'), more=inbox.table("mail", "b"))
        daemon.reload()
        inbox.until("b", "5000.00 becomes 5100.00")
        assert not any(way == "a" and "5100" in str(body) for way, body in inbox.taken)


def test_a_channel_that_is_another_by_a_secret_in_a_file_goes_on_from_its_place(tmp_path: Path, inbox: Inbox) -> None:
    """What its first address never took arrives at the second, and the configuration itself is as it was."""
    secret = tmp_path / "secrets" / "channels__phone__urls"
    secret.parent.mkdir()
    address = inbox.address("a")
    told = inbox.table("phone", "a").replace(f'urls = ["{address}"]\n', "")
    with between_rows(tmp_path / "daemon", {"MRDAEMON_SECRETS_DIR": str(secret.parent)}) as daemon:
        secret.write_text(address.replace(str(inbox.server.server_port), "1"))
        daemon.write(more=told)
        assert daemon.reload().code == 0
        daemon.write(('target = "5000"', 'target = "5100"'), more=told)
        daemon.reload()
        secret.write_text(address)
        assert "Channel phone is another now" in daemon.reload().out
        inbox.until("a", "QQQ: target 5000.00 becomes 5100.00")


def test_the_last_channel_that_goes_and_comes_back_is_not_told_of_the_time_between(
    tmp_path: Path, inbox: Inbox
) -> None:
    with alerting(tmp_path, inbox.table("phone", "a")) as daemon:
        daemon.write()
        daemon.reload()
        assert names(daemon) == []
        daemon.write(('target = "5000"', 'target = "5100"'))
        daemon.reload()
        daemon.write(('target = "5000"', 'target = "5200"'), more=inbox.table("phone", "a"))
        daemon.reload()
        daemon.write(('target = "5000"', 'target = "5300"'), more=inbox.table("phone", "a"))
        daemon.reload()
        inbox.until("a", "5200.00 becomes 5300.00")
        assert not any("becomes 5100.00" in str(body) for _, body in inbox.taken)


def test_rules_of_alerts_and_of_a_channel_change_in_place(tmp_path: Path, inbox: Inbox) -> None:
    table = inbox.table("phone", "a")
    with alerting(tmp_path, table) as daemon:
        milder = table.replace('level = "info"', 'level = "warning"')
        daemon.write(("[feed]", '[alerts]\nremind = "10m"\ndigest = false\n[feed]'), more=milder)
        told = daemon.reload().out
        assert "Channel phone is another now" in told
        assert "alerts.remind: 1800 becomes 600" in told
        assert "alerts.digest: True becomes False" in told
        assert daemon.stop() == 0


# Over MQTT


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[tuple[Mosquitto, Running]]:
    """Run a broker, and a daemon that is not on it."""
    async with mosquitto(folder) as broker:
        with between_rows(folder / "daemon") as daemon:
            yield broker, daemon


async def reloaded(daemon: Running) -> Outcome:
    return await asyncio.to_thread(daemon.reload)


async def test_a_house_appears_follows_positions_and_takes_all_of_itself_along(tmp_path: Path) -> None:
    async with house(tmp_path) as (broker, daemon), broker.subscribed("homeassistant/#", "mrdaemon/#") as heard:
        tables = HOUSE.format(port=broker.port)
        daemon.write(more=tables)
        assert (await reloaded(daemon)).code == 0
        await heard.on(DEVICE)
        daemon.write(("core.positions.QQQ", "core.positions.IWM"), more=tables)
        assert (await reloaded(daemon)).code == 0
        await heard.until(lambda each: each.topic == DEVICE and not each.payload)
        await heard.on(DEVICE.replace("qqq", "iwm"))
        daemon.write(("core.positions.QQQ", "core.positions.IWM"))
        assert "Channel house was taken away" in (await reloaded(daemon)).out
        await heard.until(lambda each: each.topic == "mrdaemon/mrdaemon/status" and each.payload == "offline")
        left = await broker.retained("homeassistant/#", "mrdaemon/#")
        assert set(left) == {"mrdaemon/mrdaemon/status"}


async def test_a_reload_over_mqtt_may_take_its_own_channel_away(tmp_path: Path) -> None:
    async with house(tmp_path) as (broker, daemon), broker.subscribed("mrdaemon/#") as heard:
        daemon.write(more=HOUSE.format(port=broker.port))
        assert (await reloaded(daemon)).code == 0
        await heard.until(lambda each: each.topic == "mrdaemon/mrdaemon/status" and each.payload == "online")
        daemon.write(('target = "5000"', 'target = "5100"'))
        command = json.dumps({"at": now(), "by": "anna"})
        await broker.publish("mrdaemon/mrdaemon/cmd/reload", command)
        await heard.until(lambda each: each.topic == "mrdaemon/mrdaemon/status" and each.payload == "offline")
        assert daemon.position("QQQ")["target"] == "5100.00"
        assert (await reloaded(daemon)).code == 0
        assert await asyncio.to_thread(daemon.stop) == 0
