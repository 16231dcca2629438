"""A whole daemon that asks before it trades, and everybody around it: prices, a phone, and foreign clients over MQTT.

The daemon is a process of its own, the broker a real mosquitto, the phone a local ntfy server whose buttons are pressed
as the app presses them. An answer goes one of three ways; each says in words what it did.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from mrdaemon.core.instant import Instant, iso
from tests.mosquitto import PATIENCE, Mosquitto, Received, Subscriber, free_ports, mosquitto
from tests.ntfy_server import NtfyServer, Published, press
from tests.running import Object, child, mrdaemon

MQTT, TOPIC, PAGE = "mqtt", "topic", "page"
"""A command over MQTT; a button that posts to a private topic; one that posts to the daemon's own page."""
BY = {MQTT: "anna (mqtt house)", TOPIC: "an ntfy button", PAGE: "a link, from 127.0.0.1"}
"""Who the journal says has answered."""
ANSWERS: Final = "answers-91d7e2c4a6b8"
CONFIG = """
[feed]
kind = "mqtt"
[prices]
sessions = "always"
confirm = 0
[mqtt]
host = "127.0.0.1"
port = {mqtt}
[alerts]
instance = "home"
digest = false
[channels.house]
kind = "mqtt"
commands = ["approve", "reject"]
[channels.phone]
kind = "push"
urls = ["{push}"]
level = "info"
repeat = "off"
group = 0
[answers]
{answers}
[accounts.paper]
broker = "paper"
[portfolios.core]
account = "paper"
reserve = "10000"
zone = "5%"
mode = "approve"
approval_ttl = "{ttl}s"
[portfolios.core.positions."{symbol}"]
target = "5000"
shares = "50"
"""
"""At $100 the position is at its target, and at $95 a person is asked whether $250 may be bought."""


class House:
    """What there is around the daemon, which comes and goes."""

    def __init__(
        self, folder: Path, broker: Mosquitto, ntfy: NtfyServer, ears: Subscriber, way: str, symbol: str
    ) -> None:
        self.broker = broker
        self.ntfy = ntfy
        self.ears = ears
        self.way = way
        self.symbol = symbol
        self.state = folder / "state"
        self._config = folder / "core.toml"
        self._log = folder / "daemon.log"
        self._page = free_ports(1)[0]

    def configure(self, ttl: int) -> None:
        at_page = f'listen = "127.0.0.1:{self._page}"\nurl = "http://127.0.0.1:{self._page}"'
        answers = at_page if self.way == PAGE else f'topic = "{self.ntfy.url}/{ANSWERS}"'
        names = {"mqtt": self.broker.port, "push": self.ntfy.push(), "answers": answers, "ttl": ttl}
        self._config.write_text(CONFIG.format(**names, symbol=self.symbol))

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[subprocess.Popen[str]]:
        """Run it; it is in everybody's reach, and killed at the end if nobody stopped it."""
        started, connected = len(self.alerts("started")), len(self.subscribed())
        with (
            self._log.open("a") as log,
            child("run", "-c", self._config, "--state", self.state, stdout=log, stderr=log) as process,
        ):
            await self.until(lambda: len(self.alerts("started")) > started)
            await self.until(lambda: any("started" in each.message for each in self.ntfy.published))
            await self.until(lambda: len(self.subscribed()) > connected)
            yield process

    # What the world does

    async def price(self, *prices: float) -> None:
        for each in prices:
            await self.broker.publish(f"prices/{self.symbol}", str(each))

    async def asked(self, *prices: float) -> Question:
        """Let the price go to where a person must be asked; the question has reached the phone and the foreigners."""
        number = len(self.alerts("approval_requested"))
        await self.price(*prices)
        await self.until(lambda: len(self.alerts("approval_requested")) > number and len(self.questions()) > number)
        return Question(self, self.alerts("approval_requested")[-1], self.questions()[-1])

    # What can be seen of the daemon

    def alerts(self, kind: str) -> list[Object]:
        """Give the alerts of a kind that a foreign client has heard."""
        heard = [each.json for each in self.ears.messages if each.topic == "mrdaemon/home/alert"]
        return [each for each in heard if each["kind"] == kind]

    def questions(self) -> list[Published]:
        """Give what came to the phone with buttons on it."""
        return [each for each in self.ntfy.published if each.actions]

    def position(self) -> Object:
        status: Object = mrdaemon("status", "--json", "--state", self.state).objects[0]["positions"][0]
        return status

    def subscribed(self) -> list[Object]:
        """Give each time that prices could come in."""
        changes = self.journaled("feed_state_changed") if self.state.exists() else []
        return [each for each in changes if each["state"] == "subscribed"]

    def journaled(self, *kinds: str) -> list[Object]:
        """Give the events of these kinds, in order."""
        events = mrdaemon("events", "--json", "--state", self.state).objects
        return [each for each in events if each["kind"] in kinds]

    async def until_journaled(self, kind: str, count: int = 1) -> list[Object]:
        """Wait until so many events of a kind are in the journal; gives them."""
        await self.until(lambda: len(self.journaled(kind)) >= count)
        return self.journaled(kind)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something holds; what the daemon said is shown where it does not."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - the journal of another process has no event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{self._log.read_text()[-4000:]}\n{self.ntfy.published}") from None


class Question:
    """A request for approval, as it reached the phone and the foreigners."""

    def __init__(self, house: House, alert: Object, pushed: Published) -> None:
        self.id: str = alert["approval"]
        self.text: str = alert["text"]
        self.buttons = {each["label"]: each for each in pushed.actions}
        self._house = house

    async def approve(self, way: str | None = None) -> str:
        """Give the answer; gives what the daemon says to it."""
        return await self._answer("approve", way or self._house.way)

    async def reject(self) -> str:
        return await self._answer("reject", self._house.way)

    async def command(self, name: str) -> None:
        """Send a command over MQTT, as mosquitto_pub does."""
        sent = json.dumps({"at": now(), "id": self.id, "by": "anna"})
        await self._house.broker.publish(f"mrdaemon/home/cmd/{name}", sent)

    async def _answer(self, name: str, way: str) -> str:
        if way == MQTT:
            return await self._command(name)
        if way == PAGE:
            return await self._post(name)
        return await self._button(name)

    async def _command(self, name: str) -> str:
        """Send a command, and give the text of its answer."""
        ears, topic = self._house.ears, f"mrdaemon/home/cmd/{name}/response"
        before = len(_on(ears, topic))
        await self.command(name)
        answer = (await ears.on(topic, before + 1))[-1].json
        assert answer["ok"] is (answer["refused"] is None)
        return str(answer["refused"] or " ".join(answer["changed"]))

    async def _post(self, name: str) -> str:
        """Press a button that posts to the page, and give what the page says."""
        answered = await press(self.buttons[name.capitalize()])
        said = re.search("<p>(.*?)</p>", answered.text)
        assert said is not None
        assert (answered.status == 200) is ("Nothing was done" not in said[1])
        return html.unescape(said[1])

    async def _button(self, name: str) -> str:
        """Press a button that posts to the topic, and give what the journal then says of it."""
        kinds = ("approval_granted", "approval_closed", "command_refused")
        before = len(self._house.journaled(*kinds))
        assert (await press(self.buttons[name.capitalize()])).status == 200
        await self._house.until(lambda: len(self._house.journaled(*kinds)) > before)
        event = self._house.journaled(*kinds)[before]
        return str(event.get("reason") or event.get("sentence"))


def now() -> str:
    return iso(Instant(time.time_ns()))


def _on(ears: Subscriber, topic: str) -> list[Received]:
    return [each for each in ears.messages if each.topic == topic]


@asynccontextmanager
async def house(folder: Path, way: str, ttl: int = 600, symbol: str = "QQQ") -> AsyncIterator[House]:
    """Give the surroundings, with a foreign client that hears everything that the daemon says."""
    async with (
        mosquitto(folder) as broker,
        NtfyServer() as ntfy,
        broker.subscribed("mrdaemon/home/alert", "mrdaemon/home/cmd/+/response") as ears,
    ):
        made = House(folder, broker, ntfy, ears, way, symbol)
        made.configure(ttl)
        yield made
