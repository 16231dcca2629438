"""Live prices from an MQTT broker, for whoever has a price source already: a topic for each symbol.

The broker knows nothing of prices. What it keeps for later, delivers twice or delivers late is told from what is new
here; whether a new price counts is decided where every other feed's is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import structlog
from aiomqtt import Message, MqttError
from paho.mqtt.reasoncodes import ReasonCode

from mrdaemon import pulse
from mrdaemon.alpaca.link import DeniedError, Link, LostError
from mrdaemon.clock import Clock
from mrdaemon.core.instant import MINUTE, SECOND, Instant
from mrdaemon.core.policy import FeedState
from mrdaemon.core.prints import Print, Quote
from mrdaemon.core.sessions import Calendar
from mrdaemon.feeds import Adaptation, Deliver, FeedRefusedError, Listener
from mrdaemon.feeds.mqttprices import Problem, UnusableError, read, topics
from mrdaemon.mqtt import Broker, MqttFailure, Session, connected

SUBSCRIBE_AT_ONCE: Final = 100
"""Topics in one subscription."""
ROOM: Final = 10_000
"""Messages that may wait to be read; then only the newest of each topic is kept."""
AT_ONCE: Final = 500
"""Messages that are read in one go."""
LOOK_EVERY: Final = 5.0
"""Seconds between two looks whether prices still come."""
AHEAD: Final = 10 * SECOND
"""A time further in the future than this says nothing of what is older than it."""
TELL_AGAIN: Final = 10 * MINUTE
"""How long a problem of a symbol is only counted once it was told."""
NAMED: Final = 5
"""Topics that a message names."""
FAILURE: Final = 0x80
"""The least of a broker's answers that say no, in MQTT 3.1.1 as in 5."""
HARMLESS: Final = frozenset({Problem.RETAINED, Problem.REPEATED})
"""What a broker does in the ordinary course of things."""

log: Final = structlog.get_logger("mrdaemon.feed")


class Source(NamedTuple):
    """Where prices are."""

    broker: Broker
    identifier: str
    """What the broker knows us by."""
    topic: str
    symbols: tuple[str, ...]


class Surroundings(NamedTuple):
    """What a feed works with."""

    calendar: Calendar
    clock: Clock
    listener: Listener
    stale_after: int | None
    """Seconds without any price in session after which the feed is called stale; None: never."""


class MqttFeed:
    """Prices from one broker."""

    lockstep = False

    def __init__(self, source: Source, around: Surroundings) -> None:
        self.name = f"mqtt {source.topic}"
        self.delivered = 0
        self._source = source
        self._around = around
        self._symbols = {topic: symbol for symbol in source.symbols for topic in topics(source.topic, symbol)}
        self._complaints = Complaints(self.name)
        self._dated: dict[tuple[str, bool], tuple[Instant, float, Quote | None]] = {}
        """By symbol, and whether it is a quote: the newest that said itself when it was."""
        self._heard = Instant(0)
        """When the newest price came."""
        self._since = Instant(0)
        """When the connection was subscribed."""
        self._proven = False
        """Whether the broker ever let us subscribe."""
        self._session: Session | None = None
        """The connection that is listened to."""
        self._carried = set[str]()
        """The topics that it brings."""
        self._uncounted = frozenset[str]()
        """Those of which nothing counts: not yet, or not any more."""
        self._changed = asyncio.Event()
        """Set while it may not bring what is wanted."""
        self._inbox = Inbox(ROOM)
        self._dropped = 0
        """Messages that earlier connections left out."""

    def waiting(self) -> int:
        """Give how many messages wait to be read."""
        return self._inbox.qsize()

    def dropped(self) -> int:
        """Give how many messages were left out, for newer ones of their topic came before they could be read."""
        return self._dropped + self._inbox.dropped

    @property
    def refused(self) -> int:
        """How many messages gave no price."""
        return self._complaints.count

    async def run(self, deliver: Deliver) -> None:
        """Deliver until the task is cancelled.

        Raises:
            FeedRefusedError: the broker refused us before it ever let us subscribe: a person has to do something.
        """
        reasons = deque([""], maxlen=1)

        def say(state: FeedState, reason: str) -> None:
            reasons.append(reason)
            self._around.listener.stands(self.name, state, reason)

        await Link(self.name, lambda link: self._converse(link, deliver), say, self._around.clock).run()
        message = f"{self.name}: {reasons[-1]}"
        raise FeedRefusedError(message)

    async def _converse(self, link: Link, deliver: Deliver) -> None:
        """Connect, subscribe, and listen until the connection ends.

        Raises:
            DeniedError: the broker refuses us, and never did otherwise.
            LostError: the connection ended. One whom the broker took before is patient: what it asks for our rights may
                be away.
        """
        try:
            async with connected(self._source.broker, identifier=self._source.identifier) as session:
                self._dropped += self._inbox.dropped
                inbox = self._inbox = Inbox(max(ROOM, 2 * len(self._symbols)))
                session._queue = inbox  # noqa: SLF001 - its own drops the newest where it is full
                link.say(FeedState.AUTHENTICATED)
                wanted = self._symbols
                await self._subscribe(session, wanted)
                self._proven = True
                self._since = self._around.clock.now()
                link.say(FeedState.SUBSCRIBED)
                async with self._watched(link), self._adapting(link, session, wanted):
                    pulse.rest()
                    await self._listen(link, session, inbox, deliver)
        except MqttFailure as failure:
            if failure.final and not self._proven:
                raise DeniedError(failure.reason) from failure
            raise LostError(failure.reason) from failure

    async def _subscribe(self, session: Session, symbols: Mapping[str, str]) -> None:
        """Subscribe topics in portions, each message at most once: a repetition would confirm itself.

        Raises:
            MqttFailure: the broker refuses all topics of a symbol.
        """
        granted = set[str]()
        wanted = list(symbols)
        for start in range(0, len(wanted), SUBSCRIBE_AT_ONCE):
            some = wanted[start : start + SUBSCRIBE_AT_ONCE]
            codes = await session.subscribe([(topic, 0) for topic in some])
            failed = [_failed(code) for code in codes]
            answers = zip(some, failed, strict=False)  # A topic without an answer is none that was granted.
            granted |= {symbols[topic] for topic, no in answers if not no}
        if denied := [symbol for symbol in dict.fromkeys(symbols.values()) if symbol not in granted]:
            named = ", ".join(f"{self._source.topic}/{symbol}" for symbol in denied[:NAMED])
            more = f" and {len(denied) - NAMED} more" if len(denied) > NAMED else ""
            message = f"{session.broker.address} does not let us subscribe {named}{more}"
            raise MqttFailure(message, final=True)

    async def _listen(self, link: Link, session: Session, inbox: Inbox, deliver: Deliver) -> None:
        dropped = 0
        async for first in session.messages:
            now = self._around.clock.now()
            if inbox.dropped > dropped:
                log.warning("too many messages", stream=self.name, left_out=inbox.dropped - dropped)
                dropped = inbox.dropped
            prints = self._read([first, *inbox.rest(AT_ONCE)], now)
            if not prints:
                continue
            self._heard = now
            link.say(FeedState.LIVE)
            self.delivered += len(prints)
            await deliver(prints, None)

    # Another configuration, without a restart

    def adaptation(self, symbols: Sequence[str], stale_after: int | None) -> Adaptation:
        """Give the change to other symbols, and to other seconds after which the feed is called stale."""
        return Adaptation(partial(self.prepare, symbols), partial(self.take, symbols, stale_after), self.abandon)

    async def prepare(self, symbols: Sequence[str]) -> None:
        """Have the connection that there is bring what other symbols want besides. Nothing of it counts yet.

        Raises:
            FeedRefusedError: the broker does not let us; everything is as before.
        """
        session = self._session
        new = {topic: symbol for topic, symbol in self._topics(symbols).items() if topic not in self._carried}
        if session is None or not new:
            return
        self._uncounted |= new.keys()
        self._carried |= new.keys()
        try:
            await self._subscribe(session, new)
        except MqttFailure as denied:
            self.abandon()
            message = f"{self.name}: {denied.reason}"
            raise FeedRefusedError(message) from denied
        except MqttError as error:  # The next connection asks for what is wanted then.
            log.warning("lost while preparing", stream=self.name, reason=str(error))

    def take(self, symbols: Sequence[str], stale_after: int | None) -> Sequence[str]:
        """Follow other symbols from now on, and call the feed stale after other seconds."""
        self._source = self._source._replace(symbols=tuple(symbols))
        self._around = self._around._replace(stale_after=stale_after)
        self._symbols = self._topics(symbols)
        self._changed.set()
        self._uncounted = frozenset(self._carried - self._symbols.keys())
        return ()

    def abandon(self) -> None:
        """Let go of what was prepared."""
        self._changed.set()

    def _topics(self, symbols: Sequence[str]) -> dict[str, str]:
        return {topic: symbol for symbol in symbols for topic in topics(self._source.topic, symbol)}

    @contextlib.asynccontextmanager
    async def _adapting(self, link: Link, session: Session, wanted: Mapping[str, str]) -> AsyncIterator[None]:
        """Let a connection bring what is wanted, beside the reading, whenever that is something else."""
        self._session, self._carried, self._uncounted = session, set(wanted), frozenset()
        if self._symbols is wanted:
            self._changed.clear()

        async def adapt() -> None:
            while True:
                pulse.rest()
                await self._changed.wait()
                pulse.begin()
                self._changed.clear()
                await self._adapt(link, session)

        task = pulse.beside(asyncio.create_task, adapt(), f"subscriptions of {self.name}")
        try:
            yield
        finally:
            self._session = None
            task.cancel()
            await asyncio.wait([task])  # Not the task itself: who is cancelled meanwhile would never hear of it.
            if not task.cancelled():
                task.result()

    async def _adapt(self, link: Link, session: Session) -> None:
        symbols = self._symbols
        gone = self._carried - symbols.keys()
        new = {topic: symbol for topic, symbol in symbols.items() if topic not in self._carried}
        try:
            if gone:
                await session.unsubscribe(sorted(gone))
            self._carried = set(symbols)
            await self._subscribe(session, new)
        except MqttFailure as denied:
            link.say(FeedState.LIVE, denied.reason)
        except MqttError as error:
            log.warning("lost while subscribing", stream=self.name, reason=str(error))

    # What a message says

    def _read(self, messages: Sequence[Message], now: Instant) -> list[Print]:
        """Read messages. Each has arrived at a nanosecond of its own: two that are alike are two all the same."""
        prints = []
        for count, message in enumerate(messages):
            symbol = self._symbols.get(message.topic.value)
            if symbol is None and message.topic.value in self._uncounted:
                continue
            try:
                prints.append(self._print(symbol, message, Instant(now + count)))
            except UnusableError as error:
                self._complaints.add(symbol, error, now)
        return prints

    def _print(self, symbol: str | None, message: Message, now: Instant) -> Print:
        """Read a message.

        Raises:
            UnusableError: it gives no price, or not a new one.
        """
        if symbol is None:
            raise UnusableError(Problem.TOPIC, f"nobody subscribed {message.topic.value[:60]!r}")
        report = read(symbol, message.payload, now, retained=message.retain)
        if report.dated:
            self._remember(report.seen, now)
        return report.seen

    def _remember(self, seen: Print, now: Instant) -> None:
        """Take a message that says itself when it was.

        Raises:
            UnusableError: it came before, or a newer one did.
        """
        symbol, price, at, quote, trade = seen
        kind = symbol, trade is None
        newest = self._dated.get(kind)
        if newest is not None and at < newest[0]:
            behind = (newest[0] - at) / SECOND
            raise UnusableError(Problem.LATE, f"it is {behind:.3f} s older than one that came before it")
        if newest == (at, price, quote):
            raise UnusableError(Problem.REPEATED, "its time and its price are those of the last one")
        if at - now <= AHEAD:
            self._dated[kind] = at, price, quote

    # Silence

    @contextlib.asynccontextmanager
    async def _watched(self, link: Link) -> AsyncIterator[None]:
        """Tell beside the reading when prices do not come any more."""
        task = pulse.beside(asyncio.create_task, self._watch(link), f"silence of {self.name}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])  # Not the task itself: who is cancelled meanwhile would never hear of it.
            if not task.cancelled():
                task.result()

    async def _watch(self, link: Link) -> None:
        while True:
            pulse.begin()
            await self._around.clock.sleep(LOOK_EVERY)
            limit = self._around.stale_after
            if limit is not None and self._silent_for(self._around.clock.now()) > limit * SECOND:
                reason = f"no price for {limit} s while a market is open: does its publisher run?"
                link.say(FeedState.STALE, reason)

    def _silent_for(self, now: Instant) -> int:
        """Give the nanoseconds without any price, as far as a market was open."""
        calendar = self._around.calendar
        sessions = [calendar.sessions(symbol).at(now) for symbol in self._source.symbols]
        opened = [each.opens for each in sessions if each is not None]
        return now - max(self._heard, self._since, min(opened)) if opened else 0


class Inbox(asyncio.Queue[Message]):
    """Messages that wait to be read. Where they are too many, the newest of each topic stays."""

    _queue: deque[Message]

    def __init__(self, room: int) -> None:
        super().__init__()
        self.dropped = 0
        """How many older ones were left out."""
        self._room = room

    def rest(self, most: int) -> Iterator[Message]:
        """Give what waits, up to a number."""
        for _ in range(min(most, self.qsize())):
            yield self.get_nowait()

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._queue = deque()

    def _put(self, item: Message) -> None:
        self._queue.append(item)
        if len(self._queue) > self._room:
            newest = {each.topic.value: each for each in self._queue}
            self.dropped += len(self._queue) - len(newest)
            self._queue = deque(newest.values())


class Complaints:
    """Tells of messages that give no price: of each symbol and problem once in a while, and how many there were."""

    def __init__(self, stream: str) -> None:
        self.count = 0
        """How many there were, without those that are in order."""
        self._log = log.bind(stream=stream)
        self._told: dict[tuple[str | None, Problem], tuple[Instant, int]] = {}
        """When each was told, and how many there were since."""

    def add(self, symbol: str | None, error: UnusableError, now: Instant) -> None:
        """Take one more."""
        harmless = error.problem in HARMLESS
        self.count += not harmless
        told = self._told.get((symbol, error.problem))
        if told is not None and now - told[0] < TELL_AGAIN:
            self._told[symbol, error.problem] = told[0], told[1] + 1
            return
        further = 0 if told is None else told[1]
        self._told[symbol, error.problem] = now, 0
        say = self._log.info if harmless else self._log.warning
        say("message left out", symbol=symbol, problem=error.problem.value, reason=str(error), since_then=further)


def _failed(code: ReasonCode | int) -> bool:
    """Tell whether a broker's answer to a subscription is a no."""
    return code >= FAILURE if isinstance(code, int) else code.is_failure
