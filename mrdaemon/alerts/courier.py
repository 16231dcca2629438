"""Carries alerts from the outbox to one channel: at least once, in order, however long the other side is away.

What waits for the end of quiet hours, or because a like alert was just sent, is set aside and follows later, in one
message with what waited with it. Everything else goes in the order in which it happened. A delivery is journaled after
the other side has taken the message: a kill in between sends it again, with the same ids.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from mrdaemon.alerts.alert import Alert, Letter, Level
from mrdaemon.alerts.channel import Channel, Connected, Message, RefusedError, UndeliveredError
from mrdaemon.alerts.manners import Manners
from mrdaemon.core.instant import SECOND
from mrdaemon.core.policy import ChannelState
from mrdaemon.outbox import Backlog, Delivery, Outcome
from mrdaemon.retry import Backoff

PAGE: Final = 200
"""Alerts that are read at a time."""
AT_HAND: Final = 5_000
"""Alerts that are kept in memory; further ones stay in the outbox until these are gone."""
TOGETHER: Final = 40
"""Alerts in one message; the rest goes in the next."""
REFUSED_WAIT: Final = 300.0
"""Seconds until a side is asked again that did not take us: a person may have seen to it."""
NAMED: Final = 4
"""Things that the title of a message with several alerts names."""
LAST_WORDS: Final = 4.0
"""Seconds that a stop gives what has still to be sent."""

log: Final = structlog.get_logger("mrdaemon.alerts")
Stands = Callable[[str, ChannelState, str], Awaitable[None]]
"""Is told how a channel stands."""


class Outbox(Protocol):
    """The alerts of a journal, and what became of them."""

    async def backlog(self, channel: str) -> Backlog:
        """Give how far a channel is, and what was set aside for it."""

    async def after(self, n: int, limit: int) -> Sequence[Letter]:
        """Give alerts after one, in order."""

    async def settle(self, channel: str, upto: int, deliveries: Sequence[Delivery]) -> None:
        """Write down what became of alerts, and how far a channel is."""

    def news(self) -> asyncio.Event:
        """Give what is set once there are more alerts."""


class Courier:
    """Serves one channel."""

    def __init__(
        self,
        channel: Channel,
        manners: Manners,
        outbox: Outbox,
        *,
        stands: Stands,
        moot: Callable[[Alert], bool],
        wall: Callable[[], int],
    ) -> None:
        self._channel = channel
        self._manners = manners
        self._outbox = outbox
        self._stands = stands
        self._moot = moot
        self._wall = wall
        self._read = 0
        """The last alert that was read."""
        self._waiting: dict[int, Letter] = {}
        """What has still to be sent, in order."""
        self._aside: set[int] = set()
        """Which of that was set aside, and is journaled as such."""
        self._sent: dict[tuple[str, str], int] = {}
        self._state: ChannelState | None = None
        self._backoff = Backoff()
        self._stopping = asyncio.Event()
        self._more = True

    @property
    def waiting(self) -> int:
        """How many alerts wait to be sent."""
        return len(self._waiting)

    async def run(self) -> None:
        """Carry until ``finish``; what cannot be sent by then is sent after the next start."""
        backlog = await self._outbox.backlog(self._channel.name)
        self._read, self._sent = backlog.upto, dict(backlog.sent)
        self._waiting = {each.n: each for each in backlog.letters}
        self._aside = set(self._waiting)
        while not self._stopping.is_set():
            news = self._outbox.news()
            await self._take_in()
            ready, next_due = self._ready()
            if ready:
                await self._gather(ready)
                await self._send(self._ready()[0][:TOGETHER])
            elif not self._more:
                await self._until(news, next_due)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._last_words()

    def finish(self) -> None:
        """Send what may be sent at once, then end."""
        self._stopping.set()

    async def _last_words(self) -> None:
        self._more = True
        while self._more:
            await self._take_in()
        while ready := self._ready()[0]:
            if not await self._send(ready[:TOGETHER], last=True):
                return

    # What there is to send

    async def _take_in(self) -> None:
        """Read on in the outbox, and put away what is not for this channel, moot, too old, or for later."""
        letters = await self._outbox.after(self._read, PAGE) if len(self._waiting) < AT_HAND else []
        self._more = len(letters) == PAGE
        known = set(self._waiting)
        for each in letters:
            self._read = each.n
            if each.n not in known and self._manners.wants(each.alert):
                self._waiting[each.n] = each
        wall = self._wall()
        put_away = [
            Delivery(self._channel.name, n, wall, Outcome.EXPIRED, "it was of no use any more")
            for n, each in self._waiting.items()
            if each.expired(wall) or self._moot(each.alert)
        ]
        for gone in put_away:
            del self._waiting[gone.n]
            self._aside.discard(gone.n)
        for n, each in self._waiting.items():
            if n not in self._aside and self._manners.not_before(each.alert, wall, self._sent) > wall:
                self._aside.add(n)
                put_away.append(Delivery(self._channel.name, n, wall, Outcome.ASIDE))
        if put_away or letters:
            await self._outbox.settle(self._channel.name, self._upto(), put_away)

    def _upto(self) -> int:
        """Give the last alert before the first one that has still to be sent and was not set aside."""
        return min((n - 1 for n in self._waiting if n not in self._aside), default=self._read)

    def _ready(self) -> tuple[list[Letter], int | None]:
        """Give what may be sent now, in order, and when the next of the others may."""
        wall, ready, next_due = self._wall(), list[Letter](), None
        for _, each in sorted(self._waiting.items()):
            at = self._manners.not_before(each.alert, wall, self._sent)
            if at <= wall:
                ready.append(each)
            elif next_due is None or at < next_due:
                next_due = at
        return ready, next_due

    async def _until(self, news: asyncio.Event, next_due: int | None) -> None:
        """Wait for more alerts, for one that was set aside, or for the end."""
        within = None if next_due is None else max(0.0, (next_due - self._wall()) / SECOND)
        await self._wait(within, news)

    async def _gather(self, ready: Sequence[Letter]) -> None:
        """Let what fires together go together; what is critical waits for nobody."""
        if self._manners.group and all(each.alert.level is not Level.CRITICAL for each in ready):
            await self._wait(self._manners.group)
            await self._take_in()

    async def _wait(self, within: float | None, *others: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(each.wait()) for each in (self._stopping, *others)]
        try:
            await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    # Sending it

    async def _send(self, letters: Sequence[Letter], *, last: bool = False) -> bool:
        """Send letters in one message, and write down that they arrived; tells whether they are off the list."""
        if not letters:
            return True
        try:
            async with asyncio.timeout(self._manners.timeout):
                await self._channel.deliver(message([each.alert for each in letters]))
        except RefusedError as error:
            if error.message_only and len(letters) > 1:
                return all([await self._send([each], last=last) for each in letters])
            if error.message_only:
                log.warning("alert refused", channel=self._channel.name, reason=str(error))
                await self._off(letters, Outcome.REFUSED, str(error))
                return True
            await self._fail(ChannelState.REFUSED, str(error), REFUSED_WAIT, last=last)
        except UndeliveredError as error:
            await self._fail(ChannelState.DOWN, str(error), self._backoff.next(), last=last)
        except TimeoutError:
            reason = f"it did not take a message within {self._manners.timeout:g} s"
            await self._fail(ChannelState.DOWN, reason, self._backoff.next(), last=last)
        except (
            Exception
        ) as error:  # What a foreign library may raise is not known, and it must cost the try, not the channel.
            log.exception("a channel broke", channel=self._channel.name)
            await self._fail(ChannelState.DOWN, f"it broke: {type(error).__name__}", self._backoff.next(), last=last)
        else:
            await self._off(letters, Outcome.DELIVERED)
            self._backoff.succeeded()
            await self._stand(ChannelState.UP, "")
            return True
        return False

    async def _off(self, letters: Sequence[Letter], outcome: Outcome, note: str = "") -> None:
        wall = self._wall()
        for each in letters:
            del self._waiting[each.n]
            self._aside.discard(each.n)
            if self._manners.repeat is not None:
                self._sent[each.alert.kind, each.alert.subject] = wall
        became = [Delivery(self._channel.name, each.n, wall, outcome, note) for each in letters]
        await self._outbox.settle(self._channel.name, self._upto(), became)

    async def _fail(self, state: ChannelState, reason: str, wait: float, *, last: bool) -> None:
        await self._stand(state, reason)
        if not last:
            await self._wait(wait, *self._return())

    def _return(self) -> list[asyncio.Event]:
        """Give what is set once a connection that was lost is back."""
        channel = self._channel
        return [channel.connected] if isinstance(channel, Connected) and not channel.connected.is_set() else []

    async def _stand(self, state: ChannelState, reason: str) -> None:
        if state is not self._state:
            self._state = state
            await self._stands(self._channel.name, state, reason)


def message(alerts: Sequence[Alert]) -> Message:
    """Put alerts into one message."""
    level = max((each.level for each in alerts), key=lambda each: each.rank)
    if len(alerts) == 1:
        return Message(alerts, alerts[0].title, alerts[0].text, level)
    about = list(dict.fromkeys(each.symbol or each.subject for each in alerts))
    named = ", ".join(about[:NAMED]) + (f" and {len(about) - NAMED} more" if len(about) > NAMED else "")
    return Message(alerts, f"{len(alerts)} alerts: {named}", "\n".join(each.text for each in alerts), level)
