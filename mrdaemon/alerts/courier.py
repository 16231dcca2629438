"""Carries alerts from the outbox to one channel: at least once, in order, however long the other side is away.

What waits for the end of quiet hours, or because a like alert was just sent, is set aside and follows later; at the
latest with the next alert about the same thing, so that the last word is always the newest. Everything else goes in the
order in which it happened. A delivery is journaled after the other side has taken the message: a kill in between sends
it again, with the same ids.

What is refused for what it is, is set aside, too, and asked again once another has arrived: only then is it known that
it was the alert, and not we. Until then a wrong token that looks like a bad message costs nobody an alert.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from mrdaemon import pulse
from mrdaemon.alerts.alert import Alert, Letter, Level
from mrdaemon.alerts.aside import Aside
from mrdaemon.alerts.channel import GRACE_S, Channel, Connected, RefusedError, Standing, UndeliveredError
from mrdaemon.alerts.manners import Manners
from mrdaemon.alerts.messages import message
from mrdaemon.alerts.post import Outbox
from mrdaemon.core.instant import SECOND
from mrdaemon.core.policy import ChannelState
from mrdaemon.outbox import Delivery, Outcome
from mrdaemon.retry import Backoff

PAGE: Final = 200
"""Alerts that are read at a time."""
REST: Final = 0.25
"""Seconds that prices have for themselves after a message: what comes up meanwhile is read once, and goes in one."""
SHARE: Final = 8
"""So many times as long as a message took is the rest after it, where that is longer: a slow machine needs more."""
LONGEST_REST: Final = 2.0
AT_HAND: Final = 1_000
"""Alerts that are kept in memory to be sent; further ones stay in the outbox until these are gone."""
TOGETHER: Final = 40
"""Alerts in one message; the rest goes in the next."""
REFUSED_WAIT: Final = 300.0
"""Seconds until a side is asked again that did not take us: a person may have seen to it."""
IN_A_ROW: Final = 2
"""Alerts that may be refused for what they are, one after the other; then it is we who are not taken."""
MOMENT: Final = 0.001
"""Seconds that are not worth a wait: a timer of less than its clock's resolution ends before any time has passed."""
LAST_WORDS: Final = 3.0
"""Seconds that a stop gives what has still to be sent."""

log: Final = structlog.get_logger("mrdaemon.alerts")
Stands = Callable[[str, ChannelState, str], Awaitable[None]]
"""Is told how a channel stands."""


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
        self._due: dict[int, Letter] = {}
        """What is to be sent now, by its place in the order."""
        self._aside = Aside()
        self._sent: dict[tuple[str, str], int] = {}
        """When each kind about each subject was sent last, where that matters."""
        self._state: ChannelState | None = None
        """How the channel stands, as it was told last: by what became of messages, and by its own word."""
        self._telling = asyncio.Lock()
        """Held while that is put on the record: what is told next must find it there."""
        self._verdict: tuple[ChannelState, str] | None = None
        """What was told of messages that did not arrive over a connection that there was, until one arrives."""
        self._backoff = Backoff()
        self._doubted: dict[int, Letter] = {}
        """What was refused for what it is, since something arrived last."""
        self._again: int | None = None
        """Which of these is asked again, right after another one arrived."""
        self._failing: int | None = None
        """When the first try began that nothing has arrived since: UTC nanoseconds."""
        self._stopping = asyncio.Event()
        self._more = True
        """Whether there may be alerts that were not read."""
        self._placed = 0
        """How far the outbox knows this channel to be."""

    @property
    def waiting(self) -> int:
        """How many alerts at hand wait to be sent."""
        return len(self._due) + len(self._aside) + len(self._doubted)

    async def run(self) -> None:
        """Carry until ``finish``; what cannot be sent by then is sent after the next start."""
        loop = asyncio.get_running_loop()
        await self._begin()
        while not self._stopping.is_set():
            news, urgent = self._outbox.news(), self._outbox.urgent()
            await self._take_in()
            if self._due:
                await self._gather()
                begun = loop.time()
                if await self._send(await self._batch()):
                    await self._rest(loop.time() - begun, urgent)
            elif not self._more:
                await self._wait(self._until_next(), news)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._last_words()

    async def heed(self, state: ChannelState, reason: str) -> None:
        """Take a channel's own word on its connection. That there is one is no news where nothing arrives over it."""
        if not self._due:
            self._failing = self._verdict = None
        better = self._verdict if state is ChannelState.UP else None
        await self._stand(*(better or (state, reason)))

    def finish(self) -> None:
        """Send what may be sent at once, then end."""
        self._stopping.set()

    async def _begin(self) -> None:
        backlog = await self._outbox.backlog(self._channel.name)
        self._read, self._sent = max(self._read, backlog.upto), dict(backlog.sent)
        self._placed = backlog.upto
        wall = self._wall()
        for each in backlog.letters:
            if each.n not in self._due and each.n not in self._doubted:
                self._aside.put(each, self._not_before(each.alert, wall))

    async def _last_words(self) -> None:
        wall = self._wall()
        for letter in self._aside.all():
            self._take(letter, wall)
        self._more = True
        while self._more or self._due:
            await self._take_in()
            if self._due and not await self._send(await self._batch(), last=True):
                return

    # What there is to send

    async def _take_in(self) -> None:
        """Read on in the outbox: what is for this channel, now or later."""
        wall = self._wall()
        for letter in self._aside.ripe(wall):
            self._take(letter, wall)
        if len(self._due) >= AT_HAND:
            return
        letters = await self._outbox.after(self._read, PAGE)
        self._more = len(letters) == PAGE
        later = []
        for each in letters:
            self._read = each.n
            if each.n not in self._aside and self._manners.wants(each.alert) and not self._take(each, wall):
                later.append(Delivery(self._channel.name, each.n, wall, Outcome.ASIDE))
        if later or self._upto() > self._placed:
            await self._settle(later)
        if self._aside.overflowed and not len(self._aside):
            self._aside = Aside()
            await self._begin()

    def _take(self, letter: Letter, wall: int) -> bool:
        """Keep a letter to be sent now, or for later; tells which. With it goes what was kept about the same thing."""
        at = self._not_before(letter.alert, wall)
        if at > wall:
            self._aside.put(letter, at)
            return False
        for each in (*self._aside.about(letter.alert.subject), letter):
            self._due[each.n] = each
        return True

    def _not_before(self, alert: Alert, wall: int) -> int:
        """Give when an alert may be sent. At the end, what is like the last one does not wait for the next start."""
        return self._manners.not_before(alert, wall, {} if self._stopping.is_set() else self._sent)

    async def _settle(self, became: Sequence[Delivery]) -> None:
        self._placed = max(self._placed, self._upto())
        await self._outbox.settle(self._channel.name, self._placed, became)

    def _upto(self) -> int:
        """Give the last alert before the first one that is to be sent now: what was set aside is remembered apart."""
        return min(self._due, default=self._read + 1) - 1

    def _until_next(self) -> float | None:
        """Give the seconds until something that was set aside may be sent."""
        at = self._aside.next
        return None if at is None else max(0.0, (at - self._wall()) / SECOND)

    async def _gather(self) -> None:
        """Let what fires together go together; what is critical waits for nobody, and no more do forty."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._manners.group
        while not self._stopping.is_set() and (left := until - loop.time()) > MOMENT and self._may_wait():
            news, urgent = self._outbox.news(), self._outbox.urgent()
            await self._take_in()
            if not self._more and self._may_wait():
                await self._wait(left, news)
                await self._wait(min(REST, until - loop.time()), urgent)
        await self._take_in()

    def _may_wait(self) -> bool:
        return len(self._due) < TOGETHER and not self._urgent()

    def _urgent(self) -> bool:
        return any(each.alert.level is Level.CRITICAL for each in self._due.values())

    async def _rest(self, took: float, urgent: asyncio.Event) -> None:
        """Leave the loop to prices after a message that took some seconds; what is critical waits for nobody."""
        if not self._urgent():
            await self._wait(min(max(REST, SHARE * took), LONGEST_REST), urgent)

    async def _batch(self) -> list[Letter]:
        """Give what goes in the next message, and put away what nobody waits for any more."""
        wall, batch, over = self._wall(), list[Letter](), list[int]()
        newest = {each.alert.approval: n for n, each in sorted(self._due.items()) if each.alert.approval}
        for n, each in sorted(self._due.items()):
            asked_again = newest.get(each.alert.approval, n) != n
            if each.expired(wall) or self._moot(each.alert) or asked_again:
                over.append(n)
            else:
                batch.append(each)
            if len(batch) == TOGETHER:
                break
        if over:
            for n in over:
                del self._due[n]
            gone = [Delivery(self._channel.name, n, wall, Outcome.EXPIRED, "it was of no use any more") for n in over]
            await self._settle(gone)
        return batch

    async def _wait(self, within: float | None, *others: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(each.wait()) for each in (self._stopping, *others)]
        try:
            await pulse.idle(asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED))
        finally:
            for each in waits:
                each.cancel()

    # Sending it

    async def _send(self, letters: Sequence[Letter], *, last: bool = False) -> bool:
        """Send letters in one message, and write down that they arrived; tells whether they are off the list."""
        if not letters:
            return True
        pulse.progress("sending an alert")
        wall = self._wall()
        self._failing = wall if self._failing is None else self._failing
        try:
            async with asyncio.timeout(self._manners.timeout):
                await self._channel.deliver(message(letters, wall, self._manners.zone))
        except RefusedError as error:
            if error.message_only and len(letters) > 1:
                return await self._send_one_by_one(letters, last=last)
            if error.message_only and await self._put_off(letters[0], str(error)):
                return True
            await self._fail(ChannelState.REFUSED, str(error), REFUSED_WAIT, last=last)
        except UndeliveredError as error:
            await self._fail(ChannelState.DOWN, str(error), self._backoff.next(), last=last)
        except TimeoutError:
            reason = f"it did not take a message within {self._manners.timeout:g} s"
            await self._fail(ChannelState.DOWN, reason, self._backoff.next(), last=last)
        except Exception as error:  # What a library may raise is not known, and it must cost the try, not the channel.
            log.exception("a channel broke", channel=self._channel.name)
            await self._fail(ChannelState.DOWN, f"it broke: {type(error).__name__}", self._backoff.next(), last=last)
        else:
            await self._off(letters, Outcome.DELIVERED)
            self._backoff.succeeded()
            self._failing = self._verdict = None
            await self._stand(ChannelState.UP, "")
            return await self._ask_again(last=last)
        return False

    async def _send_one_by_one(self, letters: Sequence[Letter], *, last: bool) -> bool:
        """Send each in a message of its own. The newest comes before we are held for the bad one: a few may be bad."""
        rest = deque(letters)
        while rest:
            each = rest.pop() if len(self._doubted) == IN_A_ROW else rest.popleft()
            if not await self._send([each], last=last):
                return False
        return True

    # What is refused for what it is

    async def _put_off(self, letter: Letter, reason: str) -> bool:
        """Put away what was refused for what it is; False where too many were, for then it is we who are not taken."""
        log.warning("alert refused", channel=self._channel.name, alert=letter.alert.id, reason=reason)
        if letter.n == self._again:
            await self._off([letter], Outcome.REFUSED, reason)
            return True
        if len(self._doubted) == IN_A_ROW:
            self._take_back()
            return False
        self._doubted[letter.n] = self._due.pop(letter.n)
        await self._settle([Delivery(self._channel.name, letter.n, self._wall(), Outcome.ASIDE, reason)])
        return True

    async def _ask_again(self, *, last: bool) -> bool:
        """Send what was refused once more, now that the other side is known to take what is ours."""
        for n in self._take_back():
            self._again = n
            try:
                if not await self._send([self._due[n]], last=last):
                    return False
            finally:
                self._again = None
        return True

    def _take_back(self) -> list[int]:
        """Let what was refused be due again, unless it must wait by now; gives their places in the order."""
        wall, doubted, self._doubted = self._wall(), self._doubted, {}
        return [n for n, each in sorted(doubted.items()) if self._take(each, wall)]

    # What became of it

    async def _off(self, letters: Sequence[Letter], outcome: Outcome, note: str = "") -> None:
        wall = self._wall()
        for each in letters:
            del self._due[each.n]
            if self._manners.repeat is not None:
                self._sent[each.alert.kind, each.alert.subject] = wall
        became = [Delivery(self._channel.name, each.n, wall, outcome, note) for each in letters]
        await self._settle(became)
        self._forget(wall)

    def _forget(self, wall: int) -> None:
        """Forget what was sent so long ago that it holds nothing back any more."""
        if len(self._sent) > AT_HAND and self._manners.repeat is not None:
            since = wall - self._manners.repeat * SECOND
            self._sent = {key: at for key, at in self._sent.items() if at > since}

    async def _fail(self, state: ChannelState, reason: str, wait: float, *, last: bool) -> None:
        since = self._wall() if self._failing is None else self._failing
        back = self._return()
        lasts = state is ChannelState.REFUSED or self._wall() - since >= GRACE_S * SECOND
        if lasts and not (back and isinstance(self._channel, Standing)):  # Of its connection it tells by itself.
            self._verdict = state, reason
            await self._stand(state, reason)
        if not last:
            await self._wait(wait, *back)

    def _return(self) -> list[asyncio.Event]:
        """Give what is set once a connection that was lost is back."""
        channel = self._channel
        return [channel.connected] if isinstance(channel, Connected) and not channel.connected.is_set() else []

    async def _stand(self, state: ChannelState, reason: str) -> None:
        async with self._telling:
            if state is not self._state:
                await self._stands(self._channel.name, state, reason)
                self._state = state
