"""One of Alpaca's streams of prices: it logs in, subscribes, fills the gap, delivers, and reconnects by itself.

A stream that says nothing may be quiet or dead. Only Alpaca's REST service can tell: where it knows a newer price of a
symbol than the stream brought, in session, the stream is mute and is made anew. After every connection the gap is
filled the same way, before the first new print counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
import structlog

from mrdaemon import pulse
from mrdaemon.alpaca.answers import AlpacaError
from mrdaemon.alpaca.history import AT_ONCE, History, Place
from mrdaemon.alpaca.link import ENDS, Connect, Connection, DeniedError, Link, LostError, TakenError, opened
from mrdaemon.alpaca.login import Login
from mrdaemon.alpaca.market import (
    Busted,
    Control,
    ErrorMessage,
    Frame,
    Halt,
    SubscriptionMessage,
    SuccessMessage,
    read,
)
from mrdaemon.alpaca.rest import Rest
from mrdaemon.clock import Clock
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.policy import FeedState
from mrdaemon.core.prints import Print, Trade
from mrdaemon.core.sessions import Calendar, open_at
from mrdaemon.feeds import Deliver, FeedRefusedError, Listener
from mrdaemon.feeds.subscription import ChangeRefusedError, Subscription

ANSWER_WITHIN: Final = 10.0
"""Seconds in which Alpaca must answer a login or a subscription."""
SUBSCRIBE_AT_ONCE: Final = 500
"""Symbols in one subscription; Alpaca adds them up."""
FILL_WITHIN: Final = 5.0
"""Seconds that the gap may take to be filled before new prints count without it."""
FILL_AT_MOST: Final = 1_000
"""Symbols whose gap is filled: a hundred of them take two or three of the two hundred requests of a minute."""
FILL_BACK: Final = 60 * SECOND
"""How far back a gap is filled: an older print could not move money anyway."""
LOOK_EVERY: Final = 15.0
"""Seconds between two looks for symbols that have gone quiet."""
QUIET_AFTER: Final = 60 * SECOND
"""How long a symbol may be quiet before Alpaca is asked whether it knows more."""
BEHIND: Final = 10 * SECOND
"""How much newer a price must be than what the stream brought, and how long that may be under way."""
SILENT_AFTER: Final = 180 * SECOND
"""How long a whole stream may be silent in session where nobody can be asked."""

HEADERS: Final = {"Content-Type": "application/msgpack"}
_DENIED: Final = {
    402: "see that key and secret are of one login, and not revoked",
    405: "the plan has fewer channels: watch fewer symbols, or set channels = as many as it has",
    409: 'the plan does not have this stream: set stream = "iex", or take a plan that has it',
}
"""Codes that no further attempt changes, and what a person can do."""
_TAKEN: Final = 406

log: Final = structlog.get_logger("mrdaemon.feed")
_encode: Final = msgspec.msgpack.Encoder().encode


class Market(NamedTuple):
    """One stream, and what is wanted of it."""

    name: str
    """What people call it."""
    address: str
    trades: tuple[str, ...]
    quotes: tuple[str, ...]
    statuses: bool
    place: Place | None
    """Where its prices are asked for; None for one that has no such place."""
    always: bool = False
    """Whether it sends prices at any hour, whatever the calendar says."""


class Surroundings(NamedTuple):
    """What a feed works with."""

    login: Login
    rest: Rest
    connect: Connect
    calendar: Calendar
    clock: Clock
    listener: Listener


class Stream:
    """One stream: logs in, subscribes, fills the gap, delivers, and watches out for silence."""

    def __init__(self, market: Market, around: Surroundings, *, late: bool = False) -> None:
        """Build it.

        Args:
            market: what is wanted of it.
            around: what it works with.
            late: whether it is begun while others run: that Alpaca refuses it is told, and ends nothing.
        """
        self.market = market
        self.delivered = self.refused = 0
        self._around = around
        self._history = None if market.place is None else History(around.rest, market.place)
        self._traded: dict[str, Instant] = {}
        """By symbol, when the newest trade was that the stream or REST brought."""
        self._quoted: dict[str, Instant] = {}
        """By symbol, when the newest quote was."""
        self._filled: dict[tuple[str, bool], Instant] = {}
        """By symbol, and whether it is a quote: up to when REST has told all, which the stream may tell again."""
        self._since = Instant(0)
        """When the connection was subscribed."""
        self._proven = late
        """Whether Alpaca ever let us subscribe, or need not have."""
        self._subscription: Subscription | None = None
        """What the connection that is listened to brings."""
        self._followed = frozenset[str]()
        """Symbols whose prices count on it."""
        self._ahead = frozenset[str]()
        """Symbols that it brings already, for a configuration that is not taken yet."""
        self._changed = asyncio.Event()
        """Set while the connection may not bring what is wanted."""
        self._tried = market
        """What was wanted when the newest connection was begun."""
        self._begun: dict[str, Instant] = {}
        """By symbol, since when one is followed that came later than the connection."""
        self._doubtful: set[str] = set()
        """Symbols whose halt may have ended while nobody listened."""
        self._turn = 0

    async def run(self, deliver: Deliver) -> None:
        """Deliver until the task is cancelled; once Alpaca refuses it, try again with the next configuration only.

        Raises:
            FeedRefusedError: Alpaca refused it from the start.
        """
        reasons: list[str] = []

        def say(state: FeedState, reason: str) -> None:
            reasons.append(reason)
            del reasons[:-1]
            self._around.listener.stands(self.market.name, state, reason)

        while True:
            await Link(self.market.name, lambda link: self._converse(link, deliver), say, self._around.clock).run()
            if not self._proven:
                message = f"{self.market.name}: Alpaca refuses the stream: {reasons[-1]}"
                raise FeedRefusedError(message)
            if self.market is self._tried:
                self._changed.clear()
            await self._changed.wait()  # Another configuration may be one that Alpaca takes.

    async def _converse(self, link: Link, deliver: Deliver) -> None:
        self._tried = self.market
        async with opened(self._around.connect, self.market.address, HEADERS) as connection:
            await self._log_in(connection)
            link.say(FeedState.AUTHENTICATED)
            market = self.market
            early = await self._subscribe(connection, market)
            self._proven = True
            self._since = self._around.clock.now()
            self._doubtful = set(self._around.listener.halts() & set(self.market.trades))
            link.say(FeedState.SUBSCRIBED)
            await self._fill_gap(deliver)
            async with self._watched(link, connection) as verdict, self._adapting(link, connection, market, deliver):
                try:
                    pulse.rest()
                    await self._listen(link, connection, deliver, early)
                except ENDS:
                    if verdict:
                        raise LostError(verdict[0]) from None
                    raise

    async def _listen(self, link: Link, connection: Connection, deliver: Deliver, early: deque[Frame]) -> None:
        live = False
        traded, quoted, recv = self._traded, self._quoted, connection.recv
        while True:
            if early:
                frame = early.popleft()
            else:
                raw = await recv()
                try:  # ``_read`` inlined
                    frame = read(raw)
                except (msgspec.DecodeError, ValueError) as error:
                    raise _unreadable(error) from error
            if frame.news or frame.controls or frame.odd:
                self._take(frame)
            prints = frame.prints
            if not prints:
                continue
            if self._filled or self._ahead:
                prints = self._beyond_the_fill(prints)
            if not live:
                live = True
                link.say(FeedState.LIVE)
            if self._doubtful:
                self._believe(prints)
            for seen in prints:
                (quoted if seen[4] is None else traded)[seen[0]] = seen[2]
            self.delivered += len(prints)
            await deliver(prints, None)
            for each in frame.news:
                if isinstance(each, Busted):
                    self._around.listener.busted(each.symbol, each.trade, each.corrected)

    def _take(self, frame: Frame) -> None:
        """Take what is no price; a bust waits for the prices of its frame, which it may be about."""
        listener = self._around.listener
        for each in frame.news:
            if isinstance(each, Halt):
                self._doubtful.discard(each.symbol)
                listener.halted(each.symbol, each.reason)
            elif not frame.prints:
                listener.busted(each.symbol, each.trade, each.corrected)
        for odd in frame.odd:
            self.refused += 1
            log.warning("message not understood", stream=self.market.name, message=odd)
        for control in frame.controls:
            if self._subscription is not None and self._subscription.hear(control):
                continue
            if isinstance(control, ErrorMessage):
                raise _failure(control)

    def _believe(self, prints: Iterable[Print]) -> None:
        """Take it from a trade that a symbol trades again, whose resumption nobody heard."""
        for seen in prints:
            if seen[0] in self._doubtful and isinstance(seen[4], Trade) and seen[2] > self._since:
                self._doubtful.discard(seen[0])
                self._around.listener.halted(seen[0], None)

    # Logging in

    async def _log_in(self, connection: Connection) -> None:
        login = self._around.login
        await self._answer(connection, "connected")
        await connection.send(_encode({"action": "auth", "key": login.key, "secret": login.secret}))
        await self._answer(connection, "authenticated")

    async def _answer(self, connection: Connection, wanted: str) -> None:
        async with asyncio.timeout(ANSWER_WITHIN):
            while True:
                for control in _controls(await connection.recv()):
                    match control:
                        case SuccessMessage(msg=said) if said == wanted:
                            return
                        case ErrorMessage():
                            raise _failure(control)
                        case _:
                            pass

    async def _subscribe(self, connection: Connection, market: Market) -> deque[Frame]:
        """Subscribe in portions, and wait until Alpaca has said of every symbol that it sends it.

        Returns:
            What came meanwhile of symbols that were subscribed already.

        Raises:
            DeniedError: it does not send one, without saying why.
        """
        early = deque[Frame]()
        for start in range(0, len(market.trades), SUBSCRIBE_AT_ONCE):
            some = market.trades[start : start + SUBSCRIBE_AT_ONCE]
            quoted = set(market.quotes)
            wish: dict[str, object] = {
                "action": "subscribe",
                "trades": some,
                "quotes": [s for s in some if s in quoted],
            }
            if market.statuses:
                wish["statuses"] = some
            await connection.send(_encode(wish))
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._until_subscribed(connection, some, early)
        return early

    async def _until_subscribed(self, connection: Connection, symbols: Sequence[str], early: deque[Frame]) -> None:
        """Wait for an answer with all symbols; a subscription in several frames may be answered in several."""
        missing = set(symbols)
        while missing:
            frame = _read(await connection.recv())
            for control in frame.controls:
                match control:
                    case ErrorMessage():
                        raise _failure(control)
                    case SubscriptionMessage():
                        missing -= set(control.trades or ())
                    case _:
                        pass
            early.append(frame)

    # Another configuration, on the connection that there is

    async def prepare(self, market: Market) -> None:
        """Have the connection bring what another configuration wants besides; none of it counts before ``take``.

        Where there is no connection, the next one asks for what is wanted by then.

        Raises:
            FeedRefusedError: Alpaca does not send it.
        """
        subscription = self._subscription
        if subscription is None:
            return
        self._ahead = frozenset(market.trades) - set(self.market.trades)
        try:
            await _widen(subscription, market)
        except ChangeRefusedError as refused:
            named = ", ".join(sorted(self._ahead)) or "quotes of more symbols"
            message = f"{market.name}: Alpaca does not send {named}: {refused}"
            raise FeedRefusedError(message) from refused
        except LostError as lost:
            log.warning("lost while preparing", stream=market.name, reason=str(lost))

    def take(self, market: Market) -> None:
        """Follow another market from now on."""
        now, halts = self._around.clock.now(), self._around.listener.halts()
        new = set(market.trades) - set(self.market.trades)
        gone = set(self.market.trades) - set(market.trades)
        self.market, self._ahead = market, frozenset()
        self._begun = {symbol: at for symbol, at in self._begun.items() if symbol not in gone} | dict.fromkeys(new, now)
        self._doubtful = (self._doubtful - gone) | (halts & new)
        self._changed.set()

    def abandon(self) -> None:
        """Let go of what was prepared, and have the connection bring again what is wanted."""
        self._changed.set()

    @contextlib.asynccontextmanager
    async def _adapting(
        self, link: Link, connection: Connection, market: Market, deliver: Deliver
    ) -> AsyncIterator[None]:
        """Let a connection bring what is wanted, beside the reading, whenever that is another market."""
        subscription = Subscription(connection, market.trades, market.quotes, statuses=market.statuses)
        self._subscription, self._followed, self._ahead = subscription, frozenset(market.trades), frozenset()
        if self.market is market:
            self._changed.clear()

        async def adapt() -> None:
            while True:
                pulse.rest()
                await self._changed.wait()
                pulse.begin()
                self._changed.clear()
                await self._adapt(link, subscription, deliver)

        task = pulse.beside(asyncio.create_task, adapt(), f"subscriptions of {market.name}")
        try:
            yield
        finally:
            self._subscription = None
            subscription.end()
            task.cancel()
            await asyncio.wait([task])  # Not the task itself: who is cancelled meanwhile would never hear of it.
            if not task.cancelled():
                task.result()

    async def _adapt(self, link: Link, subscription: Subscription, deliver: Deliver) -> None:
        market = self.market
        trades, quotes = frozenset(market.trades), frozenset(market.quotes)
        new, self._followed = trades - self._followed, trades
        try:
            await subscription.fewer(subscription.trades - trades, subscription.quotes - quotes)
            await subscription.more(trades, quotes)
        except ChangeRefusedError as refused:
            link.say(
                FeedState.LIVE, f"Alpaca does not send {', '.join(sorted(trades - subscription.trades))}: {refused}"
            )
        except LostError as lost:
            log.warning("lost while subscribing", stream=market.name, reason=str(lost))
            return
        self._ahead &= subscription.trades - trades
        self._forget(trades)
        await self._deliver_newest(sorted(new), deliver)

    def _forget(self, wanted: frozenset[str]) -> None:
        """Forget when the newest prices were of symbols that are not wanted any more."""
        for heard in (self._traded, self._quoted):
            for symbol in heard.keys() - wanted:
                del heard[symbol]

    async def _deliver_newest(self, symbols: Sequence[str], deliver: Deliver) -> None:
        """Deliver the newest prices of symbols that are new: a quiet one may send none for long."""
        if self._history is None or not symbols:
            return
        try:
            async with asyncio.timeout(FILL_WITHIN):
                found = await self._newest(self._history, symbols[:FILL_AT_MOST])
        except (AlpacaError, TimeoutError) as error:
            log.warning("no first prices", stream=self.market.name, reason=str(error) or "it took too long")
            return
        await self._deliver_found(found, deliver)

    # What the stream did not bring

    async def _fill_gap(self, deliver: Deliver) -> None:
        """Deliver what happened while nobody listened: the trades of the last minute, and the newest prices."""
        history, symbols = self._history, self.market.trades
        if history is None:
            return
        if len(symbols) > FILL_AT_MOST:
            beyond = len(symbols) - FILL_AT_MOST
            log.info("too many symbols to fill the gap of all", stream=self.market.name, left_out=beyond)
        since = max(min(self._traded.values()), self._around.clock.now() - FILL_BACK) if self._traded else None
        found: list[Print] = []
        try:
            async with asyncio.timeout(FILL_WITHIN):
                for start in range(0, min(len(symbols), FILL_AT_MOST), AT_ONCE):
                    some = symbols[start : min(start + AT_ONCE, FILL_AT_MOST)]
                    if since is not None:
                        found += await history.trades(some, Instant(since))
                    found += await self._newest(history, some)
        except (AlpacaError, TimeoutError) as error:  # What was found until then counts.
            log.warning("the gap cannot be filled", stream=self.market.name, reason=str(error) or "it took too long")
        self._filled = {}
        await self._deliver_found(found, deliver)

    async def _deliver_found(self, found: list[Print], deliver: Deliver) -> None:
        """Deliver what REST has told, as far as it is news."""
        latest = self._around.clock.now() + BEHIND  # One that is dated later would keep all others of its symbol out.
        found = sorted((seen for seen in found if seen[2] <= latest), key=lambda seen: (seen[2], seen[0]))
        fresh = [seen for seen in dict.fromkeys(found) if seen[2] > self._last_of_its_kind(seen)]
        for seen in fresh:
            (self._quoted if seen[4] is None else self._traded)[seen[0]] = seen[2]
        self._filled |= {(seen[0], seen[4] is None): seen[2] for seen in found}
        if fresh:
            self.delivered += len(fresh)
            await deliver(fresh, None)

    async def _newest(self, history: History, symbols: Sequence[str]) -> list[Print]:
        """Ask for the newest prices, of the kinds that the stream brings: a plan may have no room for all quotes."""
        quoted = set(self.market.quotes)
        return [seen for seen in await history.newest(symbols) if seen[4] is not None or seen[0] in quoted]

    def _last_of_its_kind(self, seen: Print) -> Instant:
        return (self._quoted if seen[4] is None else self._traded).get(seen[0], Instant(-1))

    def _beyond_the_fill(self, prints: list[Print]) -> list[Print]:
        """Leave out what REST has told already: the same trade twice would confirm itself. And what is too early."""
        filled, ahead = self._filled, self._ahead
        fresh = [
            seen for seen in prints if seen[2] > filled.get((seen[0], seen[4] is None), -1) and seen[0] not in ahead
        ]
        if filled and prints[-1][2] > max(filled.values()) + BEHIND:
            self._filled = {}
        return fresh

    @contextlib.asynccontextmanager
    async def _watched(self, link: Link, connection: Connection) -> AsyncIterator[list[str]]:
        """Watch out for silence beside the reading; the verdict, once there is one, is in the list given."""
        verdict: list[str] = []

        async def watch() -> None:
            while not verdict:
                pulse.begin()
                await self._around.clock.sleep(LOOK_EVERY)
                reason = await self._silence()
                if reason is not None:
                    verdict.append(reason)
                    link.say(FeedState.STALE, reason)
                    await connection.close()

        task = pulse.beside(asyncio.create_task, watch(), f"silence of {self.market.name}")
        try:
            yield verdict
        finally:
            task.cancel()
            await asyncio.wait([task])  # Not the task itself: who is cancelled meanwhile would never hear of it.
            if not task.cancelled():
                task.result()

    async def _silence(self) -> str | None:
        """Say what the stream keeps from us, or None where it is only quiet."""
        now = self._around.clock.now()
        for heard in (self._traded, self._quoted):  # What is dated in the future must not hide a silence until then.
            heard.update({symbol: now for symbol, at in heard.items() if at > now})
        quiet = [symbol for symbol in self.market.trades if self._quiet_for(symbol, now) > QUIET_AFTER]
        if not quiet:
            return None
        if self._history is None:
            return self._dead_silence(now)
        start = self._turn % len(quiet)
        some = (quiet[start:] + quiet[:start])[:AT_ONCE]
        self._turn = start + len(some)
        try:
            known = await self._newest(self._history, some)
        except AlpacaError as error:
            log.warning("cannot tell silence from quiet", stream=self.market.name, reason=str(error))
            return self._dead_silence(now)
        missing = [seen for seen in known if self._behind(seen) > BEHIND and self._in_session(seen[0], seen[2])]
        if missing:
            await self._around.clock.sleep(BEHIND / SECOND)  # It may have been under way.
        for seen in missing:
            if (behind := self._behind(seen)) > 0:
                return f"the stream is mute: {seen[0]} moved {behind / SECOND:.0f} s after the last that it brought"
        return None

    def _behind(self, seen: Print) -> int:
        """Give how much newer a print is than what the stream brought of its symbol, in nanoseconds."""
        return seen[2] - max(self._last(seen[0]), self._since)

    def _dead_silence(self, now: Instant) -> str | None:
        newest = max(self._since, *(self._last(symbol) for symbol in self.market.trades))
        if now - newest <= SILENT_AFTER:
            return None
        return (
            f"the stream is silent for {(now - newest) / SECOND:.0f} s, and Alpaca does not say whether all are quiet"
        )

    def _last(self, symbol: str) -> Instant:
        heard = max(self._traded.get(symbol, Instant(0)), self._quoted.get(symbol, Instant(0)))
        return max(heard, self._begun.get(symbol, heard))

    def _quiet_for(self, symbol: str, now: Instant) -> int:
        """Give the nanoseconds without a print of a symbol, in session; none outside."""
        if not self._in_session(symbol, now):
            return 0
        return now - max(self._last(symbol), self._since)

    def _in_session(self, symbol: str, at: Instant) -> bool:
        return self.market.always or open_at(self._around.calendar.sessions(symbol), at)


async def _widen(subscription: Subscription, market: Market) -> None:
    """Add what a market wants; where there is no room, what it does not want makes some.

    Raises:
        ChangeRefusedError: Alpaca does not send it.
        LostError: the connection ended.
    """
    try:
        await subscription.more(market.trades, market.quotes)
    except ChangeRefusedError as refused:
        trades, quotes = subscription.trades - set(market.trades), subscription.quotes - set(market.quotes)
        if not refused.full or not (trades or quotes):
            raise
        await subscription.fewer(trades, quotes)
        await subscription.more(market.trades, market.quotes)


def _read(raw: bytes) -> Frame:
    """Read a frame.

    Raises:
        LostError: it is no array; the stream cannot be trusted to go on.
    """
    try:
        return read(raw)
    except (msgspec.DecodeError, ValueError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> LostError:
    return LostError(f"a frame cannot be read: {error}")


def _controls(raw: bytes) -> Sequence[Control]:
    return _read(raw).controls


def _failure(error: ErrorMessage) -> Exception:
    """Tell what an error means for the connection."""
    said = f"{error.msg} ({error.code})"
    if error.code in _DENIED:
        return DeniedError(f"{said}; {_DENIED[error.code]}")
    if error.code == _TAKEN:
        return TakenError(f"{said}; Alpaca takes one connection of a login, and forgets a lost one after 90 s")
    return LostError(said)
