"""Tells people what happens, beside the daemon: nothing here is waited for by prices or orders.

What is said goes into the journal with the events that it tells of; a courier for each channel carries it from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple, Self

import structlog

from mrdaemon import outbox, pulse
from mrdaemon.alerts.alert import Alert, Letter, Level, Topic
from mrdaemon.alerts.channel import Channel, Ears, Leaving, Message, Standing
from mrdaemon.alerts.composer import AlertRules, Composer
from mrdaemon.alerts.courier import Courier
from mrdaemon.chain import JournalError
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.core.policy import ChannelState
from mrdaemon.daemon import Daemon, StoppingError
from mrdaemon.journal import Journal
from mrdaemon.outbox import Backlog, Delivery
from mrdaemon.pulse import PIECE_WITHIN, ROUND_WITHIN
from mrdaemon.retry import Backoff
from mrdaemon.tally import Tally
from mrdaemon.ways import Change, Way

TICK: Final = 1.0
"""Seconds between two looks at what the time alone makes news: a digest, a reminder."""
CARRIED_WITHIN: Final = 4.0
"""Seconds that a stop gives all couriers together for what has still to be sent."""
CLOSE_WITHIN: Final = 3.0
"""Seconds that a stop gives all channels together to take leave, and before that a fatal error to be told."""
WITHDRAWN_WITHIN: Final = 10.0
"""Seconds that a channel gets to take along what it would leave behind for ever."""

log: Final = structlog.get_logger("mrdaemon.alerts")


class Herald:
    """Serves the channels of one daemon. Use it as an async context manager, around the daemon's run."""

    def __init__(
        self,
        daemon: Daemon,
        journal: Journal,
        rules: AlertRules,
        ways: Sequence[Way],
        ears: Sequence[Ears] = (),
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self._daemon = daemon
        self._journal = journal
        self._rules = rules
        self._first = ways
        self._ears = ears
        self._ways_in = [each for each in ears if isinstance(each, Standing)]
        self._reader = ThreadPoolExecutor(1, "alerts")
        """Reads the journal: the loop's own threads may all be waiting for names to be looked up."""
        self._post = _Post(journal, self._reader, daemon.tally)
        self._wall = wall
        self._composer: Composer | None = None
        """Says what there is to say, as long as there is anybody to tell."""
        self._served: dict[str, _Served] = {}
        """By name, every channel that is served."""
        self._beside: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Begin to say what happens from here on.

        Raises:
            JournalError: the journal cannot be read or written.
        """
        self._daemon.outgoing, self._daemon.passing = self.waiting, self._pass
        for way_in in self._ways_in:
            way_in.stands = partial(self._stands, way_in.name)
        await self._serve(self._first)
        self._beside = [self._listening(each, f"answers {n}") for n, each in enumerate(self._ears)]
        time = _again(self._keep_time, "time of alerts")
        self._beside.append(self._daemon.pulse.lasting(asyncio.create_task, time, "time of alerts", ROUND_WITHIN))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Let every channel say its last words, and take leave. Where the daemon ends by an error, say that it does."""
        served = list(self._served.values())
        for each in served:
            each.courier.finish()
        if served:
            await asyncio.wait([each.carrying for each in served], timeout=CARRIED_WITHIN)
        if error is not None and not isinstance(error, asyncio.CancelledError):
            last = self._dying(error)
            await asyncio.gather(*(_tell(each.channel, last) for each in served))
        await asyncio.gather(*(_leave(each.channel) for each in served))
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self._reader.shutdown(wait=False)

    # Which channels there are

    async def change(self, rules: AlertRules, change: Change) -> None:
        """Serve other channels from now on, and make alerts by other rules.

        Raises:
            JournalError: the journal cannot be read or written.
        """
        self._rules = rules
        if self._composer is not None:
            self._composer.change(rules)
        await asyncio.gather(*(self._dismiss(name, change.left) for name in change.gone if name in self._served))
        if not self._served and not change.ways:
            self._composer = self._journal.compose = None
        await self._serve(change.ways)

    async def _serve(self, ways: Sequence[Way]) -> None:
        """Begin to serve channels, each from where the outbox knows it to be."""
        if not ways:
            return
        await self._journal.register([each.channel.name for each in ways])
        if self._composer is None:
            await self._begin_to_compose()
        for each in ways:
            name = each.channel.name
            entering = _enter(each.channel)  # What it starts is watched as what starts it is.
            await self._daemon.pulse.passing(asyncio.create_task, entering, f"beginning of {name}")
            self._served[name] = self._begin(each)

    async def _begin_to_compose(self) -> None:
        """Say what happens from here on, and nothing again that was said before."""
        journal, daemon, loop = self._journal, self._daemon, asyncio.get_running_loop()
        said = await loop.run_in_executor(self._reader, outbox.newest, journal.path)
        last = await loop.run_in_executor(self._reader, outbox.last, journal.path)
        self._composer = Composer(self._rules, daemon.engine.state, daemon.calendar, said, last, daemon.engine.seen)
        journal.compose = self._compose

    def _begin(self, way: Way) -> _Served:
        channel, name = way.channel, way.channel.name
        courier = Courier(channel, way.manners, self._post, stands=self._stands, moot=self._moot, wall=self._wall)
        if isinstance(channel, Standing):
            channel.stands = courier.heed
        run = _again(courier.run, name)
        within = PIECE_WITHIN + way.manners.timeout
        carrying = self._daemon.pulse.lasting(asyncio.create_task, run, f"alerts to {name}", within)
        ears = [self._listening(channel, f"answers of {name}")] if isinstance(channel, Ears) else []
        return _Served(channel, courier, carrying, ears)

    def _listening(self, ears: Ears, name: str) -> asyncio.Task[None]:
        return self._daemon.pulse.lasting(asyncio.create_task, _again(partial(_hear, ears), name), name)

    async def _dismiss(self, name: str, left: Collection[str]) -> None:
        """Let a channel say its last words, and take leave: if it is left, along with what it left behind."""
        served = self._served.pop(name)
        tasks = [served.carrying, *served.ears]
        for task in tasks:
            self._daemon.pulse.forget(task)
        served.courier.finish()
        await asyncio.wait([served.carrying], timeout=CARRIED_WITHIN)
        if name in left and isinstance(served.channel, Leaving):
            taken_along = served.channel.withdraw()
            await _guarded_for(taken_along, WITHDRAWN_WITHIN, served.channel, "what it leaves stays there")
        await _leave(served.channel)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _dying(self, error: BaseException) -> Message:
        """Say that the daemon ends, and why. It may be its journal that is broken: this is written nowhere."""
        state = self._daemon.engine.state
        why = ", ".join(dict.fromkeys(str(each) or type(each).__name__ for each in _leaves(error)))
        alert = Alert(
            id=f"{state.nonce}-end-{time.time_ns()}",
            at=self._daemon.now(),
            level=Level.CRITICAL,
            topic=Topic.DAEMON,
            kind="died",
            subject="daemon",
            title="mrdaemon has ended",
            text=f"mrdaemon has ended by an error, and nothing is traded until it is started again: {why}",
            ttl=7 * 86_400,
        )
        return Message([alert], alert.title, alert.text, alert.level)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Everything that runs for it."""
        served = self._served.values()
        return [*(each.carrying for each in served), *(ears for each in served for ears in each.ears), *self._beside]

    def waiting(self) -> Mapping[str, int]:
        """Give how many alerts wait for each channel; none ever wait for a way in."""
        out = {name: each.courier.waiting for name, each in self._served.items()}
        return out | {each.name: 0 for each in self._ways_in}

    def _compose(self, events: Sequence[ev.Event]) -> Sequence[Alert]:
        return () if self._composer is None else _guarded(partial(self._composer.compose, events))

    async def _keep_time(self) -> None:
        while True:
            pulse.begin()
            await asyncio.sleep(TICK)
            self._pass(self._daemon.now())

    def _pass(self, now: Instant) -> None:
        """Say what the time alone makes news."""
        if self._composer is not None and (alerts := _guarded(partial(self._composer.tick, now))):
            self._journal.tell(alerts).add_done_callback(_known)

    async def _stands(self, channel: str, state: ChannelState, reason: str) -> None:
        """Put it on the record how a channel stands, where that is news."""
        known = self._daemon.engine.state.channels.get(channel)
        if (known is not None and known.state is state) or channel not in self.waiting():
            return
        log.info("channel", channel=channel, state=state.value, reason=reason)
        with contextlib.suppress(StoppingError):
            await self._daemon.note(
                lambda now: [ev.ChannelStateChanged(at=now, channel=channel, state=state, reason=reason)]
            )

    def _moot(self, alert: Alert) -> bool:
        """Tell whether an alert asks for an answer that nobody waits for any more."""
        if not alert.approval:
            return False
        key, _, number = alert.approval.rpartition("/")
        position = self._daemon.engine.state.positions.get(key)
        return position is None or position.approval is None or str(position.approval.number) != number


class _Served(NamedTuple):
    """A channel that is served, and what runs for it."""

    channel: Channel
    courier: Courier
    carrying: asyncio.Task[None]
    ears: Sequence[asyncio.Task[None]]


class _Post:
    """The outbox of a journal that is being written."""

    def __init__(self, journal: Journal, reader: Executor, tally: Tally) -> None:
        self._journal = journal
        self._reader = reader
        self._tally = tally

    async def backlog(self, channel: str) -> Backlog:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader, outbox.backlog, self._journal.path, channel)

    async def after(self, n: int, limit: int) -> Sequence[Letter]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader, outbox.after, self._journal.path, n, limit)

    async def settle(self, channel: str, upto: int, deliveries: Sequence[Delivery]) -> None:
        await self._journal.settle(channel, upto, deliveries)
        self._tally.heed_alerts(deliveries)

    def news(self) -> asyncio.Event:
        return self._journal.told

    def urgent(self) -> asyncio.Event:
        return self._journal.urgent


def _guarded(compose: Callable[[], Sequence[Alert]]) -> Sequence[Alert]:
    """Say what there is to say. Whatever goes wrong with that costs the alert, not the order that it tells of."""
    try:
        return compose()
    except Exception:  # Decisions must be journaled, whatever a sentence about them stumbles on.
        log.exception("an alert could not be put into words")
        return ()


async def _hear(ears: Ears) -> None:
    pulse.rest()
    await ears.listen()


async def _again(run: Callable[[], Coroutine[None, None, None]], name: str) -> None:
    """Run to the end; what breaks is begun again after a while, from what the outbox says."""
    backoff = Backoff()
    while True:
        try:
            return await run()
        except JournalError:
            log.exception("no alerts any more: the journal cannot be used", task=name)
            return None
        except Exception:  # It must cost this channel a while, and nobody else anything.
            log.exception("alerts broke; they are begun again", task=name)
            await pulse.idle(asyncio.sleep(backoff.next()))


async def _tell(channel: Channel, last: Message) -> None:
    await _guarded_for(channel.deliver(last), CLOSE_WITHIN, channel, "the end could not be told")


async def _guarded_for(job: Awaitable[None], within: float, channel: Channel, otherwise: str) -> None:
    """Do something with a channel in so many seconds. Whatever becomes of it, everything else goes on."""
    try:
        async with asyncio.timeout(within):
            await job
    except Exception:  # What a channel may raise is not known; it must cost nobody else anything.
        log.exception(otherwise, channel=channel.name)


def _leaves(error: BaseException) -> list[BaseException]:
    return (
        [leaf for each in error.exceptions for leaf in _leaves(each)]
        if isinstance(error, BaseExceptionGroup)
        else [error]
    )


def _known(written: asyncio.Future[None]) -> None:
    """Take note that alerts could not be written: whoever writes events ends the daemon for it."""
    if not written.cancelled():
        written.exception()


async def _enter(channel: Channel) -> None:
    await channel.__aenter__()


async def _leave(channel: Channel) -> None:
    await _guarded_for(channel.__aexit__(None, None, None), CLOSE_WITHIN, channel, "a channel did not take leave")
