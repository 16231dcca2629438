"""A live daemon in a burst of signals, with a way out over MQTT and another by push, and foreigners who note it all.

Prices come from a local Alpaca. Who listens over MQTT is mosquitto's own client, on the daemon's broker: it subscribes
with QoS 0, because at QoS 1 it stops reading what the broker has already sent it as soon as it cannot acknowledge, and
what a broker dies of is not what is looked at here. The broker writes to it before it acknowledges to the daemon.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from tests.local import KEYS, Local, local
from tests.mosquitto import Mosquitto, mosquitto, program
from tests.running import Object, ask, child, mrdaemon

CONFIG = """
[feed]
kind = "alpaca"
account = "prices"
[prices]
sessions = "always"
confirm = 0
max_jump = "off"
[mqtt]
host = "127.0.0.1"
port = {mqtt}
[alerts]
settle = {settle}
digest = false
[channels.house]
kind = "mqtt"
[channels.phone]
kind = "push"
urls = ["json://127.0.0.1:{push}"]
level = "info"
repeat = "off"
group = 0
[accounts.prices]
broker = "alpaca"
url = "{alpaca}"
key = "{key}"
secret = "{secret}"
[accounts.mine]
broker = "none"
[portfolios.core]
account = "mine"
reserve = "1000000"
zone = "3%"
mode = "alert"
[portfolios.idle]
account = "prices"
reserve = "0"
zone = "3%"
mode = "alert"
[portfolios.idle.positions.ZZZ]
target = "5000"
initial = "adopt"
"""
"""An account whose keys bring prices must have a portfolio; ZZZ never has a price."""
POSITION = """
[portfolios.core.positions.{symbol}]
target = "5000"
shares = "50"
"""
SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE")
PACE = 0.15
"""Seconds between two signals of a symbol: 33 signals a second."""
UNREAD = 120
"""Alerts that wait when a broker or the daemon dies: more than come up while a courier rests, so some were sent."""
BACK_WITHIN = 150.0
"""The waits of connection and courier for their next attempts grow to a minute each."""


class Received(NamedTuple):
    """An alert as a foreigner got it."""

    id: str
    payload: str


class Witness:
    """Listens as mosquitto_sub does, again as soon as there is a broker again, and writes everything into a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextmanager
    def listening(self, broker: Mosquitto) -> Iterator[None]:
        where = ("-V", "mqttv5", "-h", "127.0.0.1", "-p", str(broker.plain))
        command = ("stdbuf", "-oL", program("mosquitto_sub"), *where, "-d", "-F", "%j", "-t", "mrdaemon/+/alert")
        with (
            self._file.open("w") as out,
            subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process,
        ):
            try:
                yield
            finally:
                process.kill()

    @property
    def subscriptions(self) -> int:
        """How many times a broker has confirmed that it listens."""
        return sum(line.startswith("Subscribed") for line in self._lines())

    def received(self) -> list[Received]:
        payloads = [json.loads(line)["payload"] for line in self._lines() if line.startswith("{")]
        return [Received(json.loads(each)["id"], each) for each in payloads]

    def _lines(self) -> list[str]:
        return self._file.read_text().split("\n")[:-1]  # The last one may be half written.


class Phone:
    """A web server that takes every other push."""

    def __init__(self) -> None:
        self.tries = 0
        self.taken: list[str] = []
        phone = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                phone.tries += 1
                if takes := phone.tries % 2 == 0:
                    phone.taken += body["message"].split("\n")
                self.send_response(200 if takes else 503)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.port = self._server.server_port

    @contextmanager
    def answering(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class Scene:
    """Everything that there is, but the daemon, which comes and goes."""

    def __init__(self, folder: Path, broker: Mosquitto, alpaca: Local, phone: Phone, witness: Witness) -> None:
        self.broker = broker
        self.phone = phone
        self.witness = witness
        self._alpaca = alpaca
        self._folder = folder
        self._state = folder / "state"

    def configure(self, settle: int) -> None:
        names = {"key": KEYS.key_id, "secret": KEYS.secret, "alpaca": self._alpaca.url, "settle": settle}
        text = CONFIG.format(mqtt=self.broker.port, push=self.phone.port, **names)
        tables = [POSITION.format(symbol=each) for each in SYMBOLS]
        (self._folder / "core.toml").write_text("".join([text, *tables]))

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[str]]:
        """Run the daemon; it is killed at the end, if not before."""
        command = ("run", "-c", self._folder / "core.toml", "--state", self._state)
        with (
            (self._folder / "daemon.log").open("a") as log,
            child(*command, stdout=log, stderr=log) as process,
        ):
            yield process

    @asynccontextmanager
    async def burst(self) -> AsyncIterator[asyncio.Task[None]]:
        """Let every price jump from one side of its zone to the other, again and again, never twice to the same."""
        jumping = asyncio.create_task(self._jump())
        try:
            yield jumping
        finally:
            jumping.cancel()
            await asyncio.wait([jumping])

    async def _jump(self) -> None:
        for number in itertools.count():
            for symbol in SYMBOLS:
                self._alpaca.price(symbol, round((95.0 if number % 2 else 105.0) + number / 10_000, 4))
            await asyncio.sleep(PACE)

    async def kill_broker(self) -> None:
        """Let the broker die with alerts before it that it will never take in."""
        self.broker.pause()
        await self.until_waiting(UNREAD)
        self.broker._signal(signal.SIGKILL)  # Its own way to kill would first let it read them.
        await self.broker.kill()

    # What is asked of it

    def channel(self, name: str) -> Object:
        """Give how a channel stands, as `mrdaemon status` says."""
        status = mrdaemon("status", "--json", "--state", self._state).objects[0]
        found: Object = next(each for each in status["channels"] if each["name"] == name)
        return found

    def waiting(self, name: str) -> int:
        """Give how many alerts wait for a channel; none, while the daemon only starts."""
        try:
            channels = ask(self._state, "GET", "/status").body["channels"]
        except OSError:
            return 0
        return next((int(each["waiting"]) for each in channels if each["name"] == name), 0)

    def alerts(self) -> list[Object]:
        """Give everything that the journal has."""
        return mrdaemon("alert", "list", "--json", "--limit", "100000", "--state", self._state).objects

    def of(self, kind: str, channel: str) -> list[Object]:
        """Give the alerts of a kind about a channel."""
        return [each for each in self.alerts() if (each["kind"], each["subject"]) == (kind, f"channel {channel}")]

    async def until_heard(self, count: int) -> None:
        """Wait until so many alerts reached the witness."""
        await until(lambda: len(self.witness.received()) >= count)

    async def until_told(self, kind: str) -> None:
        """Wait until the other channel was told how the one over MQTT stands."""
        await until(lambda: any(outcome(each, "phone") == "delivered" for each in self.of(kind, "house")))

    async def until_waiting(self, count: int) -> None:
        """Wait until so many alerts wait for the channel over MQTT."""
        await until(lambda: self.waiting("house") >= count)

    async def until_listened(self, subscriptions: int) -> None:
        await until(lambda: self.witness.subscriptions >= subscriptions)

    async def until_all_is_said(self) -> None:
        """Wait until nothing is left to be sent, and what was sent has arrived."""
        await until(lambda: self.waiting("house") == self.waiting("phone") == 0)
        last = wanted(self.alerts(), "house")[-1]["id"]
        await until(lambda: any(each.id == last for each in self.witness.received()))


@asynccontextmanager
async def scene(folder: Path, settle: int) -> AsyncIterator[Scene]:
    """Set it, with a witness that listens before there is anything to hear."""
    async with mosquitto(folder) as broker, local(reap=0) as alpaca:
        phone, witness = Phone(), Witness(folder / "witness.jsonl")
        with phone.answering(), witness.listening(broker):
            found = Scene(folder, broker, alpaca, phone, witness)
            found.configure(settle)
            await found.until_listened(1)
            yield found


@contextmanager
def held(process: subprocess.Popen[str]) -> Iterator[None]:
    """Let a process stand still."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def outcome(alert: Object, channel: str) -> str:
    """Give what became of an alert on a channel."""
    return next(str(each["outcome"]) for each in alert["channels"] if each["channel"] == channel)


def wanted(alerts: Iterable[Object], channel: str) -> list[Object]:
    return [each for each in alerts if outcome(each, channel) != "unwanted"]


async def until(condition: Callable[[], object], within: float = BACK_WITHIN) -> None:
    """Wait until something holds; looking may take its time."""
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - what is waited for is in other processes
            await asyncio.sleep(0.05)
