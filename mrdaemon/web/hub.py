"""What every open dashboard is sent: worked out once, in the same bytes for all of them, and only while there are any.

Looking must never stop prices. So the hub works for a small part of the time only, a moment at a time; the more there
is to send, and the more there are to send it to, the less often it sends. But nobody may think it dead: it never rests
for long, and what one look has no time for is left to the next. Nobody is waited for: what changed while a browser had
enough to take it gets later, as it is then, and one that takes nothing is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, Protocol, TypeVar

import msgspec
import structlog

from mrdaemon import __version__, pulse
from mrdaemon.alerts.view import View
from mrdaemon.chain import JournalError
from mrdaemon.core.instant import iso
from mrdaemon.daemon import Daemon
from mrdaemon.web.answered import Item
from mrdaemon.web.news import News
from mrdaemon.web.sheet import Sheet

TICK: Final = 0.25
"""Seconds between two looks, at the least."""
LONGEST: Final = 2.5
"""The same at the most: a status is promised every five, and a page takes a stream of 25 quiet ones for dead."""
PART: Final = 0.05
"""The part of the time that all of this may take."""
MOMENT: Final = 0.001
"""Seconds of work before prices get their turn again."""
LOOKING: Final = 0.03
SENDING: Final = 0.04
CATCH_UP: Final = 0.05
"""Seconds of work in one look: to see what changed, to send it, and for those who lack something. All of it together is
the part of the time that the longest rest allows."""
STATUS_EVERY: Final = 1.0
STATUS_AT_LEAST: Final = 5.0
"""Seconds between two statuses where nothing changed: the page can tell quiet from dead."""
HEARTBEAT: Final = 10.0
"""Seconds of quiet after which a comment is sent, for whatever lies in between."""
AGAIN: Final = 5.0
"""Seconds until what broke is begun again."""
SLICE: Final = 50
"""Positions, or news, in one event."""
ROOM: Final = 128 * 1024
"""Bytes that may wait for a client, from which on its positions wait here."""
LIMIT: Final = 512 * 1024
"""Bytes that may wait for a client at most."""
CLIENTS: Final = 256

log: Final = structlog.get_logger("mrdaemon.web")
_T = TypeVar("_T")
_encode: Final = msgspec.json.Encoder(decimal_format="string").encode


class Wire(Protocol):
    """Where a client's bytes go, as asyncio's transports have it."""

    def write(self, data: bytes) -> None:
        """Send as soon as there is room."""

    def get_write_buffer_size(self) -> int:
        """Give how many bytes wait."""

    def is_closing(self) -> bool:
        """Tell whether it is over."""


class Client:
    """One open dashboard."""

    def __init__(self, wire: Wire, descriptor: int, last_event: int | None = None) -> None:
        self._wire = wire
        self.descriptor = descriptor
        """The number of its socket."""
        self.last_event = last_event
        """The number of the last of the news that it has, where it was here before."""
        self.over = asyncio.Event()
        """Set once nothing more is sent to it."""
        self.greeted = False
        self.unsent: dict[str, None] = {}
        """Positions that it has still to be sent, in order."""

    @property
    def takes(self) -> bool:
        """Whether it has room for more."""
        return self._wire.get_write_buffer_size() <= ROOM

    @property
    def lacks(self) -> bool:
        """Whether there are positions for it, and it has room for them."""
        return bool(self.unsent) and self.takes and not self.over.is_set()

    def send(self, block: bytes) -> None:
        """Send bytes. A client for which too many wait is dropped."""
        if self.over.is_set() or self._wire.is_closing():
            return
        if self._wire.get_write_buffer_size() > LIMIT:
            self.over.set()
        else:
            self._wire.write(block)


class Hub:
    """Sends to every open dashboard."""

    def __init__(self, daemon: Daemon, view: View, news: News, instance: str) -> None:
        self._daemon = daemon
        self._view = view
        self._news = news
        self._instance = instance
        self._clients: dict[Client, None] = {}
        self._by_descriptor: dict[int, Client] = {}
        self._gone = select.poll()
        self._sheet = Sheet(daemon)
        self._status = b""
        self._stood: object = None
        self._status_at = self._sent_at = 0.0
        self._heard: asyncio.Event | None = None
        self._deaf_until = 0.0
        self._told = 0
        """The number of the newest of the news that all were sent."""
        self._unseen = deque[str]()
        """Positions that have still to be looked at before all of them were."""
        self._due: dict[str, None] = {}
        """Positions that changed, and have still to be sent to all."""
        self._woken = asyncio.Event()
        self._worked = 0.0
        self._begun = 0.0

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def full(self) -> bool:
        """Whether there is room for no more."""
        return len(self._clients) >= CLIENTS

    def join(self, client: Client) -> None:
        """Send to a client from now on."""
        self._clients[client] = None
        self._by_descriptor[client.descriptor] = client
        self._gone.register(client.descriptor, select.POLLRDHUP)
        self._woken.set()

    def leave(self, client: Client) -> None:
        """Send to it no more."""
        self._clients.pop(client, None)
        if self._by_descriptor.get(client.descriptor) is client:  # Else another one has its number by now.
            del self._by_descriptor[client.descriptor]
            self._gone.unregister(client.descriptor)

    def close(self) -> None:
        """Send nothing to anybody any more."""
        for each in self._clients:
            each.over.set()

    async def run(self) -> None:
        """Send until cancelled. What breaks is told, and begun again."""
        while True:
            if not self._clients:
                self._woken.clear()
                await pulse.idle(self._woken.wait())
                self._forget()
            pulse.begin()
            self._worked = 0.0
            try:
                await self._tick()
                await self._rest(min(LONGEST, max(TICK, self._worked / PART)))
            except Exception:  # Whatever a dashboard stumbles on, it must cost dashboards a while, and prices nothing.
                log.exception("what dashboards are sent broke; it is begun again")
                await asyncio.sleep(AGAIN)

    def _forget(self) -> None:
        """Forget how positions stood: nobody knows it any more, and nobody looked since."""
        self._sheet = Sheet(self._daemon)
        self._unseen.clear()
        self._due.clear()

    async def _tick(self) -> None:
        items = await self._hear()
        self._begin()
        self._let_go()
        await self._tell_status()
        for some in _slices(items):
            await self._send(_event("news", _encode(some), some[-1].seq))
        await self._welcome()
        await self._look()
        await self._catch_up()
        await self._send_due()
        if time.monotonic() - self._sent_at > HEARTBEAT:
            await self._send(_chunk(b": still here\n\n"))
        self._end()

    async def _rest(self, seconds: float) -> None:
        """Rest; who comes meanwhile is greeted at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    self._woken.clear()
                    self._begin()
                    await self._welcome()
                    await self._woken.wait()

    def _let_go(self) -> None:
        """Let those go who have gone. One question for all of them is cheaper than a loop that listens to each."""
        for descriptor, _ in self._gone.poll(0):
            self._by_descriptor[descriptor].over.set()

    # Working a moment at a time

    def _begin(self) -> None:
        self._begun = time.thread_time()

    def _end(self) -> None:
        self._worked = self._work()

    def _work(self) -> float:
        """Give the seconds of work since this look began."""
        return self._worked + time.thread_time() - self._begun

    async def _breathe(self) -> None:
        """Let prices have their turn, where this has worked for a moment."""
        if time.thread_time() - self._begun > MOMENT:
            self._end()
            await asyncio.sleep(0)
            self._begin()

    # Looking

    async def _hear(self) -> list[Item]:
        """Give the news since the last time. Where they cannot be read, everything else is told nevertheless."""
        newest = self._daemon.news
        if self._heard is newest or time.monotonic() < self._deaf_until:
            return []
        before = self._news.worked
        try:
            await self._news.read()
            self._heard = newest
        except JournalError as error:
            log.warning("dashboards get no news: the journal cannot be read", reason=str(error))
            self._deaf_until = time.monotonic() + AGAIN
        self._worked += self._news.worked - before
        items, events = self._news.take()
        self._told = items[-1].seq if items else self._told
        self._sheet.touch(events)
        return items

    async def _tell_status(self) -> None:
        """Say how everything stands, where that is news, or nothing was for a while."""
        now = time.monotonic()
        if self._status and now - self._status_at < STATUS_EVERY:
            return
        found = self._view.overview()
        stands = msgspec.structs.replace(found, at="")
        if stands != self._stood or now - self._status_at >= STATUS_AT_LEAST:
            self._stood, self._status_at = stands, now
            self._status = _event("status", _encode(found))
            await self._send(self._status)

    async def _look(self) -> None:
        """Look at the positions that may have changed: first at those that news name, then at the next in turn."""
        positions, until = self._daemon.engine.state.positions, self._work() + LOOKING
        for key in self._sheet.touched():
            if key in positions and self._sheet.changed(positions[key]):
                self._due = {key: None, **self._due}
            await self._breathe()
            if self._work() > until:
                return
        if not self._unseen:
            self._unseen.extend(positions)
            if gone := self._sheet.begin():
                await self._send(_event("positions", _encode({"changed": [], "gone": gone})))
        while self._unseen and self._work() <= until:
            position = positions.get(self._unseen.popleft())
            if position is not None and self._sheet.is_due(position) and self._sheet.changed(position):
                self._due[position.key] = None
            await self._breathe()

    # Sending

    async def _send(self, block: bytes) -> None:
        """Send the same to everybody who was greeted."""
        self._sent_at = time.monotonic()
        for client in list(self._clients):
            if client.greeted:
                client.send(block)
            await self._breathe()

    async def _send_due(self) -> None:
        """Send what changed to all, as far as there is time for it."""
        until = self._work() + SENDING
        while self._due and self._work() <= until:
            keys = _taken(self._due)
            block = self._positions(keys)
            for client in list(self._clients):
                if client.greeted and client.takes and not client.unsent:
                    client.send(block)
                else:
                    client.unsent |= dict.fromkeys(keys)
                await self._breathe()

    async def _catch_up(self) -> None:
        """Send what they lack to those that take it, in turn. Who came together lacks the same, in the same bytes."""
        until = self._work() + CATCH_UP
        for client in list(self._clients):
            while client.lacks and self._work() <= until:
                keys = _taken(client.unsent)
                block = self._positions(keys)
                client.send(block)
                for other in list(self._clients):
                    if other.lacks and other.unsent.keys() >= set(keys):
                        other.send(block)
                        for key in keys:
                            del other.unsent[key]
                    await self._breathe()
                if client in self._clients:  # It is the last now whose turn comes.
                    self._clients[client] = self._clients.pop(client)

    async def _welcome(self) -> None:
        """Greet who is new."""
        for client in list(self._clients):
            if not client.greeted:
                self._greet(client)
            await self._breathe()

    def _greet(self, client: Client) -> None:
        """Send what a new one needs first: who we are, how everything stands, and the news that it missed."""
        missed, resumed = self._missed(client.last_event)
        at = iso(self._daemon.now())
        hello = {"version": __version__, "instance": self._instance, "at": at, "resumed": resumed}
        client.send(_event("hello", _encode(hello)) + self._status)
        for some in _slices(missed):
            client.send(_event("news", _encode(some), some[-1].seq))
        client.unsent = dict.fromkeys(self._sheet)
        client.greeted = True

    def _missed(self, last: int | None) -> tuple[list[Item], bool]:
        """Give the news after one, and whether they are all; else the page has to ask for the newest."""
        recent = self._news.recent
        if last is None or not recent or recent[0].seq > last:
            return [], False
        return [each for each in recent if last < each.seq <= self._told], True  # The others are yet to be sent to all.

    def _positions(self, keys: Iterable[str]) -> bytes:
        changed = b",".join(self._sheet.json(each) for each in keys if each in self._sheet)
        return _event("positions", b'{"changed":[%b],"gone":[]}' % changed)


def _slices(things: Sequence[_T]) -> Iterable[Sequence[_T]]:
    return (things[begin : begin + SLICE] for begin in range(0, len(things), SLICE))


def _taken(keys: dict[str, None]) -> list[str]:
    """Take the first of these keys out, as many as go in one event."""
    taken = list(islice(keys, SLICE))
    for key in taken:
        del keys[key]
    return taken


def _event(name: str, data: bytes, number: int | None = None) -> bytes:
    """Write a server-sent event. JSON has no line breaks that would need care."""
    told = b"" if number is None else b"id: %d\n" % number
    return _chunk(b"event: %b\n%bdata: %b\n\n" % (name.encode(), told, data))


def _chunk(block: bytes) -> bytes:
    """Write a piece of a body whose length is not known before its end (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(block), block)
