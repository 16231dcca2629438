"""The daemon: one event loop that joins feed, engine, journal and brokers.

Prices go straight into the engine; what comes out is committed by the journal's thread; orders leave only once the
events behind them are durable. A recording is read in lock-step: the next row waits until what the one before it
caused is durable and answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from mrdaemon import __version__, haltfile, pulse
from mrdaemon.brokers import Broker, Follower
from mrdaemon.clock import Clock, RecordedClock
from mrdaemon.core import acts
from mrdaemon.core import events as ev
from mrdaemon.core.commands import Command, Reconcile, Resume, SetTradingState, Thaw
from mrdaemon.core.engine import Engine
from mrdaemon.core.instant import Instant
from mrdaemon.core.policy import Plan, TradingState
from mrdaemon.core.prints import Print
from mrdaemon.core.sessions import Calendar, Sessions
from mrdaemon.core.state import State
from mrdaemon.desk import Desk
from mrdaemon.feeds import Deliver, Feed
from mrdaemon.haltfile import CHECK_EVERY
from mrdaemon.journal import Journal
from mrdaemon.live import Live
from mrdaemon.measured import Measured, footprint
from mrdaemon.pulse import Work
from mrdaemon.reconciliation import Reconciler
from mrdaemon.recording import Recording
from mrdaemon.tally import Queue, Tally

STOP_WITHIN: Final = 3.0
"""Seconds that a stop waits for an order to be answered; a restart looks it up."""
FIRST_WITHIN: Final = 10.0
"""Seconds that the first price waits for the first comparison with a live broker."""
ANSWER_WITHIN: Final = 0.5
"""Seconds that the answer to a command waits for what follows from it."""
COMPARE_WITHIN: Final = 45.0
"""The same, where a person wants to know how a comparison with the broker ends."""
LOOK_WITHIN: Final = 8.0
"""The same, where a position is resumed whose shares may differ still: two comparisons, five seconds apart."""
HALT_ROWS: Final = 256
"""Rows of a recording between two looks for the HALT file."""
ROWS_TOLD: Final = 100
"""Refused rows of a recording that are journaled one by one; further ones are counted."""

log: Final = structlog.get_logger("mrdaemon")
Watcher = Callable[[Engine, Sequence[ev.Event]], Awaitable[None]]
"""Is shown events once they are durable, and the engine that they came from."""


Reload = Callable[[str, str], Awaitable[list[ev.Event]]]
"""Reads the configuration anew, because of whom and why; gives what that caused."""


class StoppingError(Exception):
    """The daemon is on its way out and takes no commands any more."""


class Parts(NamedTuple):
    """What a daemon is made of."""

    calendar: Calendar
    clock: Clock
    brokers: Mapping[str, Broker]
    nonce: str
    halt_file: Path
    resume: bool = False
    """Whether a person asked to trade again after a halt."""
    recording: Recording | None = None
    hours: Sessions | None = None
    """The regular sessions that a broker's own clock must agree with."""


class Daemon:
    """Runs until its feed ends or ``stop`` is called. People may look and command meanwhile."""

    def __init__(self, parts: Parts, journal: Journal, state: State, *, watch: Watcher | None = None) -> None:
        self.engine = Engine(state, parts.calendar)
        self._parts = parts
        self._journal = journal
        self._clock = parts.clock
        self._watch = watch
        self._desk = Desk(self.engine, parts.brokers, parts.clock, self._commit, parts.halt_file)
        self._reconciler = Reconciler(self.engine, parts.brokers, parts.clock, self._desk, parts.hours)
        self.tally = Tally()
        """What is counted of all that happens."""
        journal.heed = self.tally.heed
        self.tally.queues["journal"] = Queue(lambda: journal.waiting)
        self.live = Live(self.engine, journal, self._desk, self._reconciler, parts.clock, self.tally)
        """Takes what live streams bring."""
        self.pulse = self.live.pulse
        """Knows whether everything makes progress."""
        self.pulse.watch(journal.work)
        self._reading = Work("feed")
        """What the feed's task is at; kept here, for a recording has many rows."""
        self.running = asyncio.Event()
        """Set once prices are taken."""
        self.leaving = asyncio.Event()
        """Set once it is to stop, or its feed ended."""
        self._followers = [(name, each) for name, each in parts.brokers.items() if isinstance(each, Follower)]
        self.feed: Feed | None = None
        """What it reads, once it runs."""
        self.news = asyncio.Event()
        """Set, and replaced by another, each time that events became durable."""
        self.outgoing: Callable[[], Mapping[str, int]] = dict
        """Gives how many alerts wait for each channel."""
        self.reload: Reload = self._keep_configuration
        """Reads the configuration anew."""
        self.passing: Callable[[Instant], None] = lambda _: None
        """Is told the time of each row of a recording, before the row decides anything."""
        self._cursor: int | None = None
        self._read = 0
        """Rows of the recording that were read and, where they caused anything, seen through."""
        self._busy = asyncio.Lock()
        self._begun = False
        self._resumes = parts.resume
        """Whether the start is to lift what it found; no more once a person said otherwise."""
        self._group: asyncio.TaskGroup | None = None
        self._open = asyncio.Event()
        self._acts: set[asyncio.Task[list[ev.Event]]] = set()
        self._stopping: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._opening: list[ev.Event] = []
        self._refused_rows = 0
        self._unsaid_rows: list[str] = []
        self._start = 0

    @property
    def calendar(self) -> Calendar:
        """The calendar that everything goes by."""
        return self._parts.calendar

    @property
    def halt_file(self) -> Path:
        """The file that halts trading while it exists."""
        return self._parts.halt_file

    def now(self) -> Instant:
        """Give the daemon's time: the recording's, where it reads one."""
        return self._clock.now()

    def measured(self) -> Measured:
        """Give what it has measured of itself until now."""
        journal = self._journal
        return Measured(self.tally.counted(), journal.seq, journal.commits.shape(), footprint(journal.path))

    def observe(self, batch: Sequence[Print]) -> None:
        """Warm up with prints that were decided before this start."""
        self.engine.observe(batch)
        for _, broker in self._followers:
            broker.follow(batch)

    def stop(self, reason: str) -> None:
        """Ask for a clean stop: finish the row or the order at hand, journal it, leave."""
        if not self._stopping.done():
            self._stopping.set_result(reason)
        self.leaving.set()

    def refuse_row(self, row: str) -> None:
        """Journal, before the next row, one that cannot be a print; after the first hundred, count only."""
        self._refused_rows += 1
        if self._refused_rows <= ROWS_TOLD:
            log.warning("row refused", row=row)
            self._unsaid_rows.append(row)

    def open(self, plan: Plan, cursor: int | None) -> int:
        """Start on the journal's state: say so, and take the configuration. Gives the row to go on from.

        Raises:
            PlanError: the configuration does not fit the journal.
        """
        parts, now, state = self._parts, self._clock.now(), self.engine.state
        events = self.engine.record([ev.DaemonStarted(at=now, version=__version__, nonce=parts.nonce)])
        events += self.engine.configure(plan, now)
        if parts.recording is not None:
            name, fingerprint, continues = parts.recording
            if not continues:
                cursor = 0
            self._cursor = self._read = self._start = cursor or 0
            opened = ev.FeedOpened(at=now, feed=name, cursor=self._cursor, fingerprint=fingerprint)
            events += self.engine.record([opened])
        for position in state.positions.values():
            parts.calendar.sessions(position.symbol).at(now)  # Loads the calendar before a price has to wait for it.
        self._opening = events
        return self._cursor or 0

    async def run(self, feed: Feed) -> str:
        """Run to the end of the feed, or to a stop; gives the reason of the end.

        Raises:
            JournalError: an event could not be made durable; nothing more was sent.
            FeedError: the feed has no prices.
            BrokerError: a broker's book cannot be used.
        """
        await self._commit(self._opening)
        self._opening = []
        self._desk.keep_books()
        deliver: Deliver = self._step if feed.lockstep else self.live.prints
        async with asyncio.TaskGroup() as group:
            self.feed, self._group = feed, group
            self._open.set()
            feeding = self.pulse.lasting(group.create_task, self._feed(feed, deliver), "feed")
            chores = [group.create_task(self._wait_to_stop(feeding), name="stop")]
            if feed.lockstep:
                look = self._look_for_halt_file()
                chores.append(self.pulse.lasting(group.create_task, look, "halt file"))
            else:
                chores += self.live.start(group, self._parts.brokers, self._show)
            reason = await self._until_done(feeding)
            self._group = None
            if self._acts and not self._stopping.done():
                await asyncio.wait(self._acts, timeout=STOP_WITHIN)
            for chore in [*chores, *self._acts, *self.live.jobs]:
                chore.cancel()
        await self._close(reason)
        return reason

    # What people ask

    async def command(self, wish: Command) -> list[ev.Event]:
        """Take a person's command. What it caused is durable when this returns; what follows from it is on its way.

        Returns:
            What it caused, and what a comparison with the broker came to, where one followed in time.

        Raises:
            StoppingError: the daemon takes none any more.
            JournalError: it could not be made durable; the daemon ends.
        """
        await self._open.wait()
        if isinstance(wish, Resume) and wish.portfolio is None and wish.symbol is None:
            return await self._act(partial(self._resume_everything, wish), ANSWER_WITHIN)
        within = {Reconcile: COMPARE_WITHIN, Resume: LOOK_WITHIN}.get(type(wish), ANSWER_WITHIN)
        return await self._act(partial(self.engine.command, wish), within)

    async def refuse(self, wish: Command, reason: str) -> list[ev.Event]:
        """Put a command on the record that cannot be done for a reason which the core does not know.

        Raises:
            StoppingError, JournalError: as ``command``.
        """
        await self._open.wait()
        return await self._act(lambda now: self.engine.record([acts.refused(wish, reason, now)]), ANSWER_WITHIN)

    async def note(self, say: Callable[[Instant], Sequence[ev.Event]]) -> list[ev.Event]:
        """Put facts on the record that come from beside the prices: how a channel stands, what was not even tried.

        Raises:
            StoppingError, JournalError: as ``command``.
        """
        await self._open.wait()
        return await self._act(lambda now: self.engine.record(say(now)), ANSWER_WITHIN)

    async def configure(self, change: Callable[[Instant], Sequence[ev.Event]]) -> list[ev.Event]:
        """Take another configuration: ``change`` changes what it must at one moment, and gives the facts.

        Returns:
            What it caused, and what a comparison with brokers came to, where it ended in time.

        Raises:
            StoppingError, JournalError: as ``command``.
        """
        await self._open.wait()
        return await self._act(lambda now: self.engine.record(change(now)), ANSWER_WITHIN)

    async def _keep_configuration(self, by: str, why: str) -> list[ev.Event]:
        reason = "this run keeps the configuration that it began with"
        return await self.note(lambda now: [ev.CommandRefused(at=now, command="Reload", by=by, why=why, reason=reason)])

    def _resume_everything(self, wish: Resume, now: Instant) -> list[ev.Event]:
        """Put a halt by file on the record, take the file away, and resume: in one step, and no newer halt is lost."""
        file, events = self._parts.halt_file, list[ev.Event]()
        if haltfile.is_there(file):
            if self.engine.state.trading is not TradingState.HALTED:
                events += self.engine.command(haltfile.command(file), now)
            try:
                file.unlink()
            except OSError as error:
                reason = f"{file} cannot be removed: {error.strerror}; remove it, then resume again"
                return events + self.engine.record([acts.refused(wish, reason, now)])
        return events + self.engine.command(wish, now)

    async def _act(self, decide: Callable[[Instant], list[ev.Event]], within: float) -> list[ev.Event]:
        """Decide what a command causes, journal it, and see it through behind the answer."""
        group = self._group
        if group is None or self._stopping.done():
            message = "the daemon is stopping; it takes no commands any more"
            raise StoppingError(message)
        if self._cursor is not None:  # What the rows until now caused was decided before this.
            self._cursor = max(self._cursor, self._read)
        try:
            events = decide(self._clock.now())
        except Exception as error:  # It may be folded in part, and is not journaled: nothing may go on from here.
            group.create_task(_fail(error), name="command")
            raise
        if any(isinstance(each, ev.TradingStateChanged) for each in events):
            self._resumes = False
        durable = self._journal.append(events, self._cursor)
        task = self.pulse.passing(group.create_task, self._see_act_through(durable, events), "command")
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)
        await asyncio.shield(durable)
        done, _ = await asyncio.wait([task], timeout=within)
        through = done and not task.cancelled() and task.exception() is None
        return events + task.result() if through else events

    async def _see_act_through(self, durable: asyncio.Future[None], events: Sequence[ev.Event]) -> list[ev.Event]:
        """Do what a command asks for: at once on a live stream, in the middle of an order, too.

        What concerns the broker's cash or shares is compared with it.
        """
        await asyncio.shield(durable)  # Who waits for the answer waits for it, too, also where we are cancelled.
        await self._show(events)
        async with self._between_rows():
            await self._desk.carry_out(events)
        found: list[ev.Event] = []
        for account in self._accounts_to_compare(events):
            async with self._between_rows():
                found += await self._compare(account)
        return found

    def _between_rows(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Wait until the row at hand is seen through; a live stream waits for nobody."""
        in_lockstep = self.feed is not None and self.feed.lockstep
        return self._busy if in_lockstep else contextlib.nullcontext()

    async def _compare(self, account: str) -> list[ev.Event]:
        """Compare with a broker because of what a person said; one that was lost before is told of again."""
        was_lost = self.engine.state.accounts[account].lost is not None
        found = await self._reconciler.reconcile(account)
        if was_lost and not self.engine.state.accounts[account].ready:
            await self._desk.settle(self.engine.record(found))
        return found

    def _accounts_to_compare(self, events: Sequence[ev.Event]) -> list[str]:
        portfolios, found = self.engine.state.portfolios, set[str]()
        for event in events:
            match event:
                case ev.ReconciliationRequested(account=account):
                    found.add(account)
                case ev.ReserveDeposited() | ev.ReserveWithdrawn() | ev.FillReported():
                    found.add(portfolios[event.portfolio].rules.account)
                case ev.TradingStateChanged(state=TradingState.ACTIVE, portfolio=str(name), symbol=str()):
                    found.add(portfolios[name].rules.account)  # Its shares may differ still.
                case ev.ConfigurationReloaded():
                    found |= {name for name, each in self._parts.brokers.items() if each.hearing is not None}
                case _:
                    pass
        return sorted(found & set(self._parts.brokers))

    async def _until_done(self, feeding: asyncio.Task[None]) -> str:
        await asyncio.wait([feeding])
        if self._stopping.done():
            return self._stopping.result()
        return "the feed ended"

    async def _wait_to_stop(self, feeding: asyncio.Task[None]) -> None:
        await asyncio.shield(self._stopping)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN):
                if self._acts:
                    await asyncio.wait(self._acts)
                await self.live.through()
                async with self._busy:
                    feeding.cancel()
        feeding.cancel()

    async def _close(self, reason: str) -> None:
        stopped = ev.DaemonStopped(at=self._clock.now(), reason=reason, prices=self.engine.accepted_prices())
        await self._commit(self.engine.record([stopped]))

    async def _commit(self, events: Sequence[ev.Event], took: int | None = None) -> None:
        """Make events durable, then show them to whoever watches; ``took`` is for how long prints were decided on."""
        durable = self._journal.append(events, self._cursor)
        if took is not None:
            self.tally.latency.decided(events, took, durable)
        await durable
        await self._show(events)

    async def _show(self, events: Sequence[ev.Event]) -> None:
        self.news.set()
        self.news = asyncio.Event()
        if self._watch is not None:
            await self._watch(self.engine, events)

    async def _begin(self) -> None:
        """Before the first decision: settle with every broker."""
        if not self._begun:
            self._begun = True
            await self._desk.obey_halt_file()
            for account, broker in self._parts.brokers.items():
                if broker.hearing is not None:  # Else it is compared as soon as it is heard.
                    await self._reconciler.reconcile(account)
            if self._resumes:
                await self._resume()
            if self.engine.state.trading is not TradingState.ACTIVE:
                log.warning("trading is not active; mrdaemon resume trades again", state=self.engine.state.trading)

    async def _resume(self) -> None:
        """Trade again after a halt or a freeze; only once all is settled, so that nothing decided before it is sent."""
        state, who = self.engine.state, {"by": "operator", "why": "run --resume"}
        wishes: list[Command] = [Thaw(symbol=name, **who) for name, symbol in state.symbols.items() if symbol.frozen]
        if state.trading is not TradingState.ACTIVE:
            wishes.append(SetTradingState(state=TradingState.ACTIVE, **who))
        for wish in wishes:
            await self._desk.settle(self.engine.command(wish, self._clock.now()))
        await self._desk.obey_halt_file()

    # A recording, row by row

    async def _feed(self, feed: Feed, deliver: Deliver) -> None:
        if not feed.lockstep:
            async with self._busy:
                await self._begin()
            await self.live.compared(FIRST_WITHIN)
        self.running.set()
        self._reading = pulse.mine()
        self._reading.rest()
        await feed.run(deliver)
        pulse.begin("the end of the feed")
        async with self._busy:
            await self._begin()
            await self._rows_told()
            if feed.delivered > self._start or not self.engine.state.recording_read:
                if feed.lockstep:
                    self._cursor = feed.delivered
                ended = ev.FeedEnded(at=self._clock.now(), delivered=feed.delivered, refused=feed.refused)
                await self._commit(self.engine.record([ended]))
        self.leaving.set()

    async def _rows_told(self) -> None:
        rows, self._unsaid_rows = self._unsaid_rows, []
        if rows:
            now = self._clock.now()
            await self._commit(self.engine.record([ev.RowRefused(at=now, row=row) for row in rows]))

    async def _step(self, batch: Sequence[Print], cursor: int | None) -> None:
        """Take one row: fill open paper orders with it, let its time pass, decide, and see everything through."""
        self._reading.begin("a row of the recording")
        async with self._busy:
            if not self._begun:
                await self._begin()
            if self._unsaid_rows:
                await self._rows_told()
            clock, engine = self._clock, self.engine
            for seen in batch:
                if isinstance(clock, RecordedClock):
                    clock.reach(seen[2])
                now = clock.now()
                self.passing(now)
                for account, broker in self._followers:
                    for report in broker.follow([seen]):
                        await self._desk.take(account, report)
                begun = time.perf_counter_ns()
                events = engine.tick(now) + engine.prints([seen], now)
                if events:
                    self._cursor = cursor
                    await self._commit(events, time.perf_counter_ns() - begun)
                    await self._desk.carry_out(events)
            if cursor is not None:
                self._read = cursor
                if cursor % HALT_ROWS == 0:
                    await self._desk.obey_halt_file()
        self._reading.rest()

    async def _look_for_halt_file(self) -> None:
        """Look between two rows as well, which may be hours apart."""
        while True:
            pulse.begin()
            await asyncio.sleep(CHECK_EVERY)
            async with self._busy:
                if self._begun:
                    await self._desk.obey_halt_file()


async def _fail(error: Exception) -> None:
    """Fail as a task of the daemon, so that it ends."""
    raise error
