"""The network between a daemon and the local Alpaca: late, lossy, gone at times. What left arrives, whoever died."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from random import Random
from urllib.parse import unquote, urlsplit

from mrdaemon.alpaca.answers import Reply, UnansweredError
from mrdaemon.alpaca.link import LostError, Message
from mrdaemon.alpaca.login import Login
from mrdaemon.alpaca.rest import Call
from mrdaemon.simulator.lines import Socket
from mrdaemon.simulator.rest import Answer, Request
from mrdaemon.simulator.restfaults import HUNG_UP, WAIT
from mrdaemon.simulator.simulator import Session, Simulator

KEEPALIVE = 40.0
"""Seconds after which a socket that answers no ping is given up, as ``mrdaemon.alpaca.socket`` does."""
GIVE_UP = 13.0
"""Seconds after which a request that got no answer is given up."""


class Network:
    """Carries requests and frames with a delay, and drops what is under way while it is down."""

    def __init__(self, simulator: Simulator, random: Random) -> None:
        self.simulator = simulator
        self.random = random
        self.down = False
        self.lossy = True
        self.on_late: Callable[[Call, float], None] = lambda _, __: None
        """Is told of an order that will arrive only after it was given up, and in how many seconds."""

    def latency(self) -> float:
        """Draw a delay: mostly milliseconds, now and then seconds."""
        if self.lossy and self.random.random() < 0.01:
            return self.random.uniform(1.0, 8.0)
        return self.random.uniform(0.002, 0.05)

    def loses(self) -> bool:
        return self.down or (self.lossy and self.random.random() < 0.01)


class Port:
    """What one life of a daemon has of the network: it ends with that life, without a word."""

    def __init__(self, network: Network, login: Login, passing: Callable[[str], None]) -> None:
        self.network = network
        self._login = login
        self._passing = passing
        """Is told each point at which a daemon may die."""
        self._wires: list[Wire] = []
        self.dead = False

    def die(self) -> None:
        """End every connection as a dead process does: Alpaca is not told before its own time-out."""
        self.dead = True
        for wire in self._wires:
            wire.abandon()

    # Requests

    async def carry(self, call: Call) -> Reply:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Reply] = loop.create_future()
        self._passing(f"{call.method} leaves")
        if call.method == "POST" and self.network.lossy and self.network.random.random() < 0.004:
            late = self.network.random.uniform(60, 200)
            self.network.on_late(call, late)
            loop.call_later(late, self._arrive, _request(call, self._login), answered)
        elif not self.network.loses():
            loop.call_later(self.network.latency(), self._arrive, _request(call, self._login), answered)
        try:
            async with asyncio.timeout(GIVE_UP):
                reply = await answered
        except TimeoutError as late:
            raise UnansweredError(f"{call.method} {call.path}: read timed out") from late
        self._passing(f"{call.method} is answered")
        return reply

    def _arrive(self, request: Request, answered: asyncio.Future[Reply]) -> None:
        if self.network.down:
            return
        answer = self.network.simulator.request(request)
        headers = {name.lower(): each for name, each in answer.headers.items()}
        wait = float(headers.pop(WAIT, "0")) + self.network.latency()
        if not self.network.loses():
            asyncio.get_running_loop().call_later(wait, _settle, answered, answer, headers)

    # Streams

    async def connect(self, address: str, headers: Mapping[str, str]) -> Wire:
        await asyncio.sleep(self.network.latency())
        self._passing("a stream is opened")
        if self.network.down or self.dead:
            raise LostError("no route to host")
        wire = Wire(self.network)
        wire.session = self.network.simulator.attach(
            urlsplit(address).path, {name.lower(): each for name, each in headers.items()}, wire.socket()
        )
        self._wires = [*(each for each in self._wires if not each.over), wire]
        return wire


class Wire:
    """One open stream, its daemon's end."""

    session: Session

    def __init__(self, network: Network) -> None:
        self._network = network
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[bytes | LostError] = asyncio.Queue()
        self._last = self._loop.time()
        self._silent_since: float | None = None
        self.over = False

    def socket(self) -> Socket:
        """Give what Alpaca's end may do."""
        return Socket(self._said, self._closed, lambda: self._end("reset by peer"), self._freeze)

    def _said(self, frame: bytes | str) -> None:
        self._last = max(self._last, self._loop.time() + self._network.latency())
        self._loop.call_at(self._last, self._deliver, frame.encode() if isinstance(frame, str) else frame)

    def _deliver(self, frame: bytes) -> None:
        if self._network.down:
            self._freeze()  # What is lost on the way holds back all behind it.
        elif not self.over and self._silent_since is None:
            self._arrived.put_nowait(frame)

    def _closed(self, code: int, reason: str) -> None:
        self._last = max(self._last, self._loop.time() + self._network.latency())
        self._loop.call_at(self._last, self._end, f"closed with {code} {reason}")

    def _end(self, reason: str) -> None:
        if not self.over:
            self.over = True
            self._arrived.put_nowait(LostError(reason))

    def _freeze(self) -> None:
        if self._silent_since is None:
            self._silent_since = self._loop.time()
            self._loop.call_later(KEEPALIVE, self._given_up)

    def _given_up(self) -> None:
        """Notice at either end that the other one answers no ping."""
        if not self.over:
            self._end("no pong")
            self.session.closed(clean=False)

    async def recv(self) -> bytes:
        arrived = await self._arrived.get()
        if isinstance(arrived, LostError):
            self._arrived.put_nowait(arrived)
            raise LostError(str(arrived))
        return arrived

    async def send(self, message: Message) -> None:
        if self.over:
            raise LostError("the connection is closed")
        if not self._network.down and self._silent_since is None:
            self._last_sent = max(getattr(self, "_last_sent", 0.0), self._loop.time() + self._network.latency())
            self._loop.call_at(self._last_sent, self._heard, message)

    def _heard(self, message: Message) -> None:
        if not self.over and not self._network.down:
            self.session.receive(message)

    async def close(self) -> None:
        if not self.over:
            self.over = True
            self._arrived.put_nowait(LostError("closed by us"))
            clean = not self._network.down and self._silent_since is None
            self._loop.call_later(self._network.latency(), lambda: self.session.closed(clean=clean))

    def abandon(self) -> None:
        """Vanish without a word."""
        if not self.over:
            self.over = True
            self.session.closed(clean=False)


def _request(call: Call, login: Login) -> Request:
    fields = {key: each for key, each in call.fields.items() if each is not None}
    asks = call.method in {"GET", "DELETE"}
    return Request(
        method=call.method,
        path=unquote(f"/{call.version}{call.path}"),
        query={key: [str(each)] for key, each in fields.items()} if asks else {},
        headers={"apca-api-key-id": login.key, "apca-api-secret-key": login.secret},
        body=b"" if asks else json.dumps(fields).encode(),
    )


def _settle(answered: asyncio.Future[Reply], answer: Answer, headers: Mapping[str, str]) -> None:
    if answered.done():
        return
    if answer.status == HUNG_UP:
        answered.set_exception(UnansweredError("connection reset by peer"))
    else:
        answered.set_result(Reply(answer.status, headers, answer.body))
