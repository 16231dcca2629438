"""The daemon on live streams: decide as prices arrive, and see everything else through beside them.

Whatever comes in, prices, order reports, a halt, the time, goes into the engine at once; what comes out is queued for
the journal, and what follows from it begins once it is durable. Every order has a task of its own, so that one whose
answer is late delays no other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Final

import structlog

from mrdaemon import pulse
from mrdaemon.brokers import AmbiguousError, Broker, DeniedError, Ear, Follower, Register
from mrdaemon.clock import Clock
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.instant import NEVER, SECOND
from mrdaemon.core.orders import OrderReport, open_orders
from mrdaemon.core.policy import FeedState
from mrdaemon.core.prints import Print
from mrdaemon.desk import Desk
from mrdaemon.haltfile import CHECK_EVERY
from mrdaemon.journal import Journal
from mrdaemon.pulse import ROUND_WITHIN, Pulse
from mrdaemon.reconciliation import Reconciler
from mrdaemon.tally import Queue, Tally

RECONCILE_EVERY: Final = 300.0
"""Seconds between two comparisons with a broker, and until one that will not have us is asked again."""
RECONCILE_AGAIN: Final = 10.0
"""Seconds until a broker that could not be heard is asked again."""
POLL_EVERY: Final = 5.0
"""Seconds between two looks at what became of open orders: an update of one may have been lost."""
POLL_AT_MOST: Final = 60.0
"""The same, where the broker does not answer: each wait is twice the last one, up to this."""
POLL_AFTER: Final = 5 * SECOND
"""How old an open order must be to be looked at."""
UP: Final = frozenset({FeedState.SUBSCRIBED, FeedState.LIVE})

log: Final = structlog.get_logger("mrdaemon")
Show = Callable[[Sequence[ev.Event]], Awaitable[None]]


class Live:
    """Takes what streams bring, and runs what follows from it."""

    def __init__(
        self, engine: Engine, journal: Journal, desk: Desk, reconciler: Reconciler, clock: Clock, tally: Tally
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._desk = desk
        self._reconciler = reconciler
        self._clock = clock
        self._brokers: Mapping[str, Broker] = {}
        self._followers: list[tuple[str, Follower]] = []
        self._unsaid: asyncio.Queue[tuple[asyncio.Future[None], Sequence[ev.Event]]] = asyncio.Queue()
        self._due: dict[str, asyncio.Event] = {}
        self._compared: dict[str, asyncio.Event] = {}
        """Is set once an account was compared, however that ended."""
        self.jobs: set[asyncio.Task[None]] = set()
        """Orders at hand; what a stop does not wait for, a restart looks up."""
        self._latency = tally.latency
        tally.queues |= {"news": Queue(self._unsaid.qsize), "orders": Queue(lambda: len(self.jobs))}
        self.pulse = Pulse()
        """Knows whether everything makes progress."""

    def start(self, group: asyncio.TaskGroup, brokers: Mapping[str, Broker], show: Show) -> list[asyncio.Task[None]]:
        """Start everything that runs beside the prices; gives the tasks, which never end by themselves."""
        self._followers = [(name, each) for name, each in brokers.items() if isinstance(each, Follower)]

        self._brokers = brokers
        self._desk.spawn = partial(self._begin, group)

        def task(job: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
            return self.pulse.lasting(group.create_task, job, name)

        time = self.pulse.lasting(group.create_task, self._keep_time(), "time", ROUND_WITHIN)
        tasks = [task(self._tell(group, show), "news"), time]
        for name, broker in brokers.items():
            self._due[name], self._compared[name] = asyncio.Event(), asyncio.Event()
            tasks.append(task(_listen(broker, _Hearer(self, name)), f"reports of {name}"))
            tasks.append(task(self._keep_reconciled(name), f"reconciliation of {name}"))
            if isinstance(broker, Register):
                tasks.append(task(self._poll(name), f"open orders of {name}"))
        return tasks

    async def compared(self, within: float) -> None:
        """Wait until every account was compared once, so that no first price is held for want of it; not for ever."""
        accounts = self._engine.state.accounts
        waiting = [each.wait() for name, each in self._compared.items() if not accounts[name].ready]
        if waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await asyncio.gather(*waiting)

    async def through(self) -> None:
        """Wait until every order at hand is answered."""
        if self.jobs:
            await asyncio.wait(self.jobs)

    # What comes in

    async def prints(self, batch: Sequence[Print], cursor: int | None) -> None:  # noqa: ARG002 - a stream has none
        """Take a batch as it arrives: decide at once, leave the rest to what runs beside."""
        now = self._clock.now()
        for account, broker in self._followers:
            for report in broker.follow(batch):
                self.later(self._engine.order_update(account, report, now))
        if events := self._engine.prints(batch, now):
            took = self._clock.now() - now
            self._latency.decided(events, took, self._hand_over(events))

    def stands(self, feed: str, state: FeedState, reason: str) -> None:
        """Take how a connection stands."""
        log.info("connection", stream=feed, state=state.value, reason=reason)
        change = ev.FeedStateChanged(at=self._clock.now(), feed=feed, state=state, reason=reason)
        self.later(self._engine.record([change]))

    def halted(self, symbol: str, reason: str | None) -> None:
        """Take the exchange's word that a symbol is halted, or (no reason) that it trades again."""
        self.later(self._engine.exchange_halt(symbol, reason, self._clock.now()))

    def busted(self, symbol: str, trade: int, corrected: Print | None) -> None:
        """Take it that a trade was not as it was reported."""
        self.later(self._engine.bust(symbol, trade, corrected, self._clock.now()))

    def halts(self) -> frozenset[str]:
        """Give the symbols that are taken to be halted."""
        symbols = self._engine.state.symbols.items()
        return frozenset(name for name, symbol in symbols if symbol.halted is not None)

    def reported(self, account: str, reports: Sequence[OrderReport]) -> None:
        """Take a broker's reports of orders."""
        for report in reports:
            self.later(self._engine.order_update(account, report, self._clock.now()))

    def execution_busted(self, order: str, reason: str) -> None:
        """Take it that an execution was taken back or changed."""
        self.later(self._engine.execution_busted(order, reason, self._clock.now()))

    def heard(self, account: str, state: FeedState, reason: str) -> None:
        """Let no order leave while its updates cannot be heard; compare once they can be again."""
        if state is FeedState.REFUSED:
            self._compared[account].set()
        if state in UP:
            self._due[account].set()
        elif self._engine.state.accounts[account].ready:
            lost = ev.AccountLost(
                at=self._clock.now(), account=account, reason=reason or f"its stream is {state.value}"
            )
            self.later(self._engine.record([lost]))

    def later(self, events: Sequence[ev.Event]) -> None:
        """Journal events; what follows from them begins once they are durable."""
        if events:
            self._hand_over(events)

    def _hand_over(self, events: Sequence[ev.Event]) -> asyncio.Future[None]:
        durable = self._journal.append(events)
        self._unsaid.put_nowait((durable, events))
        return durable

    # What runs beside

    async def _tell(self, group: asyncio.TaskGroup, show: Show) -> None:
        """Show events in the order they were made, once they are durable, and begin what they ask for."""
        while True:
            durable, events = await pulse.idle(self._unsaid.get())
            await durable
            for job in self._desk.jobs(events):
                self._begin(group, job)
            await asyncio.sleep(0)  # Orders leave before anybody is told of them.
            await show(events)

    def _begin(self, group: asyncio.TaskGroup, job: Coroutine[None, None, None]) -> None:
        """Begin what an order asks for, in a task of its own."""
        task = self.pulse.passing(group.create_task, job, "order")
        self.jobs.add(task)
        task.add_done_callback(self.jobs.discard)

    async def _keep_time(self) -> None:
        while True:
            pulse.begin()
            now = self._clock.now()
            self.later(self._engine.tick(now))
            await self._desk.obey_halt_file()  # also in the middle of an order that is not answered
            wake = self._engine.next_wake
            until = CHECK_EVERY if wake == NEVER else max(0.0, min(CHECK_EVERY, (wake - now) / SECOND))
            pulse.begin("waiting for the next second")
            await self._clock.sleep(max(until, 0.01))

    async def _keep_reconciled(self, account: str) -> None:
        """Compare from time to time, and as soon as a broker can be heard again."""
        due = self._due[account]
        while True:
            waited = 0.0
            while not due.is_set() and waited < self._next_comparison(account):
                await pulse.idle(self._wait_for(due, RECONCILE_AGAIN))  # An account that was lost is due sooner.
                waited += RECONCILE_AGAIN
            due.clear()
            if self._brokers[account].hearing is not None:  # Else it is due as soon as it can be heard.
                await self._reconciler.reconcile(account)
            self._compared[account].set()

    def _next_comparison(self, account: str) -> float:
        settled = self._engine.state.accounts[account].ready or account in self._reconciler.denied
        return RECONCILE_EVERY if settled else RECONCILE_AGAIN

    async def _wait_for(self, due: asyncio.Event, seconds: float) -> None:
        waiting = [asyncio.ensure_future(due.wait()), asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    async def _poll(self, account: str) -> None:
        wait = POLL_EVERY
        while True:
            await pulse.idle(self._clock.sleep(wait))
            if not self._wants_a_look(account):
                wait = POLL_EVERY
                continue
            try:
                await self._desk.catch_up(account)
                wait = POLL_EVERY
            except AmbiguousError as unclear:
                wait = RECONCILE_EVERY if isinstance(unclear, DeniedError) else min(2 * wait, POLL_AT_MOST)
                log.warning("open orders cannot be looked at", account=account, reason=str(unclear), again_in=wait)

    def _wants_a_look(self, account: str) -> bool:
        """Tell whether there are open orders that no comparison looks at: there is none while nothing is heard."""
        if self._brokers[account].hearing is not None and not self._engine.state.accounts[account].ready:
            return False
        now = self._clock.now()
        return any(now - order.intent.at >= POLL_AFTER for order in open_orders(self._engine.state, account))


async def _listen(broker: Broker, ear: Ear) -> None:
    pulse.rest()
    await broker.listen(ear)


class _Hearer:
    """An account's broker tells us through it."""

    def __init__(self, live: Live, account: str) -> None:
        self._live = live
        self._account = account

    def reported(self, reports: Sequence[OrderReport]) -> None:
        self._live.reported(self._account, reports)

    def busted(self, order: str, reason: str) -> None:
        self._live.execution_busted(order, reason)

    def stands(self, stream: str, state: FeedState, reason: str) -> None:
        self._live.stands(stream, state, reason)
        self._live.heard(self._account, state, reason)
