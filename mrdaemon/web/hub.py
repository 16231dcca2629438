"""What every open dashboard is sent: worked out once, in the same bytes for all of them, and only while there are any.

Looking must never stop prices. So the hub works for a small part of the time only, a moment at a time; the more there
is to send, and the more there are to send it to, the less often it sends. Nobody is waited for: what changed while a
browser had enough to take it gets later, as it is then, and one that takes nothing is dropped.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Iterable, Sequence
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
PART: Final = 0.05
"""The part of the time that all of this may take."""
MOMENT: Final = 0.001
"""Seconds of work before prices get their turn again."""
CATCH_UP: Final = 0.02
"""Seconds of work in one look for those who lack something."""
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
            pulse.begin()
            self._worked = 0.0
            try:
                await self._tick()
            except JournalError as error:
                log.warning("dashboards get no news: the journal cannot be read", reason=str(error))
                await asyncio.sleep(AGAIN)
            except Exception:  # Whatever a dashboard stumbles on, it must cost dashboards a while, and prices nothing.
                log.exception("what dashboards are sent broke; it is begun again")
                await asyncio.sleep(AGAIN)
            await asyncio.sleep(max(TICK, self._worked / PART))

    async def _tick(self) -> None:
        items = await self._hear()
        self._begin()
        self._let_go()
        await self._tell_status()
        changed, gone = await self._look()
        for some in _slices(items):
            await self._send(_event("news", _encode(some), some[-1].seq))
        if gone:
            await self._send(_event("positions", _encode({"changed": [], "gone": gone})))
        for keys in _slices(changed):
            await self._send_positions(keys)
        await self._catch_up()
        if time.monotonic() - self._sent_at > HEARTBEAT:
            await self._send(_chunk(b": still here\n\n"))
        self._end()

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
        """Give the news since the last time; who came meanwhile is told of it as well."""
        newest = self._daemon.news
        if self._heard is newest:
            return []
        before = self._news.worked
        await self._news.read()
        items, events = self._news.take()
        self._worked += self._news.worked - before
        self._heard = newest
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

    async def _look(self) -> tuple[list[str], list[str]]:
        """Look at the positions that may have changed; gives those that did, and those that are no more."""
        changed = list[str]()
        gone = self._sheet.begin()
        for position in list(self._daemon.engine.state.positions.values()):
            if self._sheet.is_due(position) and self._sheet.changed(position):
                changed.append(position.key)
            await self._breathe()
        return changed, gone

    # Sending

    async def _send(self, block: bytes) -> None:
        """Send the same to everybody who was greeted."""
        self._sent_at = time.monotonic()
        for client in list(self._clients):
            if client.greeted:
                client.send(block)
            await self._breathe()

    async def _send_positions(self, keys: Sequence[str]) -> None:
        block = self._positions(keys)
        for client in list(self._clients):
            if client.greeted and client.takes and not client.unsent:
                client.send(block)
            else:
                client.unsent |= dict.fromkeys(keys)
            await self._breathe()

    async def _catch_up(self) -> None:
        """Send to each what it lacks, as far as it takes it. Where many came at once, the rest have it a look later."""
        until = self._work() + CATCH_UP
        for client in list(self._clients):
            if self._work() > until:
                return
            if not client.greeted:
                self._greet(client)
            while client.unsent and client.takes and not client.over.is_set() and self._work() <= until:
                keys = [key for key, _ in zip(client.unsent, range(SLICE), strict=False)]
                client.send(self._positions(keys))
                for key in keys:
                    del client.unsent[key]
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
        return [each for each in recent if each.seq > last], True

    def _positions(self, keys: Iterable[str]) -> bytes:
        changed = b",".join(self._sheet.json(each) for each in keys if each in self._sheet)
        return _event("positions", b'{"changed":[%b],"gone":[]}' % changed)


def _slices(things: Sequence[_T]) -> Iterable[Sequence[_T]]:
    return (things[begin : begin + SLICE] for begin in range(0, len(things), SLICE))


def _event(name: str, data: bytes, number: int | None = None) -> bytes:
    """Write a server-sent event. JSON has no line breaks that would need care."""
    told = b"" if number is None else b"id: %d\n" % number
    return _chunk(b"event: %b\n%bdata: %b\n\n" % (name.encode(), told, data))


def _chunk(block: bytes) -> bytes:
    """Write a piece of a body whose length is not known before its end (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(block), block)
