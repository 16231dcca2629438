"""The order desk: the one place that sends orders, cancels them, and finds out what became of them.

Everything it learns goes through the engine and is durable before anything follows from it. An order without a definite
answer is looked up by its id until there is one; the same id may be sent again, another never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from mrdaemon import haltfile, pulse
from mrdaemon.brokers import (
    AmbiguousError,
    Bookkeeper,
    Broker,
    ByHand,
    DuplicateOrderError,
    Holding,
    NotTakenError,
    OrderRefusedError,
    Register,
)
from mrdaemon.clock import Clock
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.guards import trading_state
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import NO_DOLLARS, NO_SHARES, Dollars, Shares
from mrdaemon.core.orders import TERMINAL, OrderReport, OrderRequest, open_orders
from mrdaemon.core.policy import Side, TradingState
from mrdaemon.core.state import Order

ORDER_TTL: Final = 60 * SECOND
"""How long the same order may be sent again."""
LOOK_AGAIN: Final = 30.0
"""Seconds between two look-ups that must both find nothing before an order is given up."""
RETRY: Final = 2.0
"""Seconds between two look-ups of an order nobody knows about yet."""
RETRY_AT_MOST: Final = 60.0
"""The same, of a broker that does not answer: each wait is twice the last one, up to this."""
OVERLAP: Final = 300 * SECOND
"""How far before its intent an order is looked for in a broker's list: clocks differ."""

log: Final = structlog.get_logger("mrdaemon.desk")
Commit = Callable[[Sequence[ev.Event]], Awaitable[None]]


class Desk:
    """Sends, cancels and looks up, for every account with a broker."""

    def __init__(
        self, engine: Engine, brokers: Mapping[str, Broker], clock: Clock, commit: Commit, halt_file: Path
    ) -> None:
        self._engine = engine
        self._brokers = brokers
        self._clock = clock
        self._commit = commit
        self._halt_file = halt_file
        self.spawn: Callable[[Coroutine[None, None, None]], object] | None = None
        """Begins what takes its time beside everything else; None: it is waited for."""
        self._in_hand: set[str] = set()
        """Orders that are being sent, or looked up until the answer is definite."""

    async def carry_out(self, events: Sequence[ev.Event]) -> None:
        """Do what durable events ask for: one after the other, or all at once where things run beside."""
        if self.spawn is None:
            for job in self.jobs(events):
                await job
            return
        async with asyncio.TaskGroup() as group:
            for job in self.jobs(events):
                pulse.beside(group.create_task, job, "order")

    async def begin(self, job: Coroutine[None, None, None]) -> None:
        """Begin a job, or see it through where nothing runs beside."""
        if self.spawn is None:
            await job
        else:
            self.spawn(job)

    def jobs(self, events: Sequence[ev.Event]) -> Iterator[Coroutine[None, None, None]]:
        """Give what durable events ask for, order by order: to send intents, and to cancel. Books are kept at once."""
        for event in events:
            match event:
                case ev.OrderIntended(order=order):
                    yield self._send(order)
                case ev.CancelRequested(order=order):
                    yield self._cancel(order)
                case ev.ReserveDeposited() | ev.ReserveWithdrawn() | ev.FillReported() | ev.PositionOpened():
                    self.keep_books()
                case _:
                    pass

    def keep_books(self) -> None:
        """Tell brokers that know no hand but ours what people did past it; once is as good as twice.

        Raises:
            BrokerError: a book cannot be written.
        """
        state = self._engine.state
        for account, broker in self._brokers.items():
            if not isinstance(broker, Bookkeeper):
                continue
            ours = [each for each in state.portfolios.values() if each.rules.account == account]
            names = {each.name for each in ours}
            paid_in = Dollars(sum((each.deposits for each in ours), NO_DOLLARS))
            traded: dict[str, Holding] = {}
            opened: dict[str, Holding] = {}
            for each in state.positions.values():
                if each.portfolio in names and (each.by_hand or each.paid_by_hand):
                    shares, cost = traded.get(each.symbol, Holding(NO_SHARES, NO_DOLLARS))
                    paid = Dollars((cost or NO_DOLLARS) + each.paid_by_hand)
                    traded[each.symbol] = Holding(Shares(shares + each.by_hand), paid)
                if each.portfolio in names and each.opening:
                    before = opened.get(each.symbol, Holding(NO_SHARES, None)).shares
                    opened[each.symbol] = Holding(Shares(before + each.opening), None)
            broker.note(ByHand(paid_in, traded, opened))

    async def take(self, account: str, report: OrderReport) -> None:
        """Take a broker's report of an order, from whichever source."""
        await self.settle(self._engine.order_update(account, report, self._clock.now()))

    async def obey_halt_file(self) -> bool:
        """Halt if a person put the HALT file there; tells whether trading is halted."""
        state = self._engine.state
        if haltfile.is_there(self._halt_file) and state.trading is not TradingState.HALTED:
            await self.settle(self._engine.command(haltfile.command(self._halt_file), self._clock.now()))
        return state.trading is TradingState.HALTED

    async def look_up(self, account: str) -> list[Order]:
        """Look every open order of an account up, without sending any; gives those that the broker does not know.

        Orders that are in hand already are left to whoever has them.

        Raises:
            AmbiguousError: the broker does not answer.
        """
        listed = await self.catch_up(account)
        await self._find_fills(account)
        unknown, broker, state = [], self._brokers[account], self._engine.state
        for order in open_orders(state, account):
            if order.intent.order in self._in_hand | listed:
                continue
            report = await broker.find(order.intent.order)
            if report is None:
                unknown.append(order)
                continue
            await self._found(order, report)
        return unknown

    async def catch_up(self, account: str) -> set[str]:
        """Take what a broker lists of our orders: what its reports missed, and orders that had been given up.

        Returns:
            The orders that it listed.

        Raises:
            AmbiguousError: the broker does not answer.
        """
        broker, state = self._brokers[account], self._engine.state
        if not isinstance(broker, Register):
            return set()
        reconciled = state.accounts[account].reconciled
        oldest = min((each.intent.at for each in open_orders(state, account)), default=self._clock.now())
        since = min(oldest, oldest if reconciled is None else reconciled)
        reports = await broker.taken_since(Instant(since - OVERLAP))
        for report in reports:
            known = state.orders.get(report.order)
            if known is None:
                await self.take(account, report)
            else:
                await self._found(known, report)
        return {report.order for report in reports}

    async def _find_fills(self, account: str) -> None:
        """Look up the orders of which the broker's record of executions counts more shares than we do."""
        broker, state = self._brokers[account], self._engine.state
        reconciled = state.accounts[account].reconciled
        if not isinstance(broker, Register) or reconciled is None:
            return
        filled = await broker.filled_since(Instant(reconciled - OVERLAP))
        for order in list(state.orders.values()):
            if filled.get(order.broker_order, order.filled) > order.filled:
                report = await broker.find(order.intent.order)
                if report is not None:
                    await self._found(order, report)

    async def resolve(self, order: Order) -> None:
        """Look an order up until the answer is definite: it exists, it was sent again, or it is given up."""
        name = order.intent.order
        if name in self._in_hand:
            return
        self._in_hand.add(name)
        try:
            await self._resolve(order)
        finally:
            self._in_hand.discard(name)

    async def _resolve(self, order: Order) -> None:
        name, broker, missing_since = order.intent.order, self._brokers[order.intent.account], None
        wait = RETRY
        while order.ended is None:
            pulse.begin(f"looking up {name}")
            try:
                report = await broker.find(name)
            except AmbiguousError as unclear:
                log.warning("cannot look an order up", order=name, reason=str(unclear))
                await pulse.idle(self._clock.sleep(wait))
                wait = min(2 * wait, RETRY_AT_MOST)
                continue
            wait = RETRY
            if report is not None:
                await self._found(order, report)
                return
            now = self._clock.now()
            if await self._sent_again(order, broker):
                missing_since = None
                if self._is_definite(name):
                    return
                await self._clock.sleep(RETRY)
            elif missing_since is None:
                missing_since = now
                await self._clock.sleep(LOOK_AGAIN)
            elif now - missing_since >= LOOK_AGAIN * SECOND:
                await self._give_up(order, "the broker does not know it, twice")
            else:
                await self._clock.sleep(RETRY)

    async def _sent_again(self, order: Order, broker: Broker) -> bool:
        """Send an order that the broker does not know again, while it is young enough and nothing forbids it."""
        if self._lateness(order):
            return False
        pulse.rest()
        async with broker.turn():
            pulse.begin(f"sending {order.intent.order} again")
            await self.obey_halt_file()
            if self._objection(order) or self._lateness(order):
                return False
            await self._submit(order, broker)
            return True

    def _is_definite(self, name: str) -> bool:
        order = self._engine.state.orders[name]
        return not order.ambiguous and (order.status is not OrderStatus.INTENDED)

    async def _found(self, order: Order, report: OrderReport) -> None:
        """Take the report of an order that the broker has; cancel it as long as it lives, if it was not to."""
        await self.take(order.intent.account, report)
        unwanted = order.canceling or order.status is OrderStatus.ABANDONED
        if unwanted and report.status not in TERMINAL:
            await self._cancel(order.intent.order)

    async def settle(self, events: Sequence[ev.Event]) -> None:
        """Make events durable, then do what they ask for."""
        if events:
            await self._commit(events)
            for job in self.jobs(events):
                await self.begin(job)

    # Orders

    def _objection(self, order: Order) -> str | None:
        """Say why an order must not leave now, or None: the last look before the broker."""
        state, intent = self._engine.state, order.intent
        position = state.position(intent)
        trading = trading_state(state, position)
        if trading is TradingState.HALTED:
            return "trading was halted before it was sent"
        if trading is TradingState.REDUCING and intent.side is Side.ACCUMULATE:
            return "trading was reduced before it was sent"
        if position.halted is not None:
            return f"the position was halted before it was sent: {position.halted}"
        if order.canceling:
            return "it was to be cancelled before it was sent"
        return self._account_objects(intent) or self._market_objects(intent)

    def _account_objects(self, intent: ev.OrderIntended) -> str | None:
        account = self._engine.state.accounts[intent.account]
        if self._brokers[intent.account].hearing is None:
            return f"what happens to orders of account {intent.account} was not heard when it was to be sent"
        if not account.ready:
            return f"account {intent.account} was not reconciled when it was to be sent"
        if account.dispute(intent.symbol) is not None:
            return "when the market is open came into dispute before it was sent"
        return None

    def _market_objects(self, intent: ev.OrderIntended) -> str | None:
        symbol = self._engine.state.symbols.get(intent.symbol)
        if symbol is not None and symbol.frozen is not None:
            return f"the symbol froze before it was sent: {symbol.frozen}"
        if symbol is not None and symbol.halted is not None:
            return f"the exchange halted {intent.symbol} before it was sent: {symbol.halted}"
        if not self._engine.is_open_for(intent, self._clock.now()):
            return "the session was over before it was sent"
        return None

    def _lateness(self, order: Order) -> str | None:
        """Say that an order waited for its turn until its price was of old, or None."""
        waited = self._clock.now() - order.intent.at
        return f"its turn came only after {waited / SECOND:.0f} s" if waited >= ORDER_TTL else None

    async def _send(self, name: str) -> None:
        """Send an intent, if nothing that happened since it was decided forbids it."""
        if name in self._in_hand:
            return
        self._in_hand.add(name)
        try:
            await self._see_through(self._engine.state.orders[name])
        finally:
            self._in_hand.discard(name)

    async def _see_through(self, order: Order) -> None:
        """Send an order once it can be, until its answer is definite."""
        broker = self._brokers.get(order.intent.account)
        if broker is None:
            await self._give_up(order, "the account has no broker")
            return
        while True:
            pulse.rest()
            async with broker.turn():
                pulse.begin(f"sending {order.intent.order}")
                await self.obey_halt_file()
                if order.ambiguous or order.status is not OrderStatus.INTENDED:
                    return  # It ended, or a reconciliation sees to it.
                objection = self._objection(order) or self._lateness(order)
                wait = await self._submit(order, broker) if objection is None else None
            if objection is not None:
                await self._give_up(order, objection)
                return
            if wait is None:
                break
            await pulse.idle(self._clock.sleep(wait))
        if not self._is_definite(order.intent.order):
            await self._resolve(order)

    async def _give_up(self, order: Order, why: str) -> None:
        now = self._clock.now()
        await self.settle(self._engine.order_ended(order.intent.order, OrderStatus.ABANDONED, why, now))

    async def _submit(self, order: Order, broker: Broker) -> float | None:
        """Send an order; gives the seconds after which the broker will look at it, where it did not."""
        name = order.intent.order
        try:
            report = await broker.submit(OrderRequest.of(order.intent))
        except OrderRefusedError as refused:
            now = self._clock.now()
            await self.settle(self._engine.order_ended(name, OrderStatus.REJECTED, str(refused), now))
        except DuplicateOrderError:
            await self._ambiguous(name, "the broker has an order of this id already")
        except NotTakenError as busy:
            log.warning("the broker has too much to do", order=name, reason=str(busy), again_in=busy.after)
            return busy.after
        except AmbiguousError as unclear:
            await self._ambiguous(name, str(unclear))
        else:
            await self._found(order, report)
        return None

    async def _ambiguous(self, name: str, reason: str) -> None:
        log.warning("an order's fate is unknown; looking it up", order=name, reason=reason)
        await self.settle(self._engine.order_ambiguous(name, reason, self._clock.now()))

    async def _lose(self, account: str, reason: str) -> None:
        """Take it that a broker cannot be heard: the next reconciliation comes soon, and cancels what is to be."""
        if self._engine.state.accounts[account].ready:
            lost = ev.AccountLost(at=self._clock.now(), account=account, reason=reason)
            await self.settle(self._engine.record([lost]))

    async def _cancel(self, name: str) -> None:
        order = self._engine.state.orders[name]
        broker = self._brokers.get(order.intent.account)
        if broker is None:
            return
        try:
            report = await broker.cancel(name)
        except AmbiguousError as unclear:
            log.warning("cannot tell whether an order was cancelled", order=name, reason=str(unclear))
            await self._lose(order.intent.account, f"order {name} could not be cancelled: {unclear}")
            return
        if report is not None:
            await self.take(order.intent.account, report)
