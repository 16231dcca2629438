"""The order desk: the one place that sends orders, and the one that settles what became of them.

Everything it learns goes through the engine and is durable before anything follows from it. An order without a definite
answer is looked up by its id until there is one; the same id may be sent again, another never.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from mrdaemon.brokers import AmbiguousError, Broker, DuplicateOrderError, Holding, OrderRefusedError
from mrdaemon.clock import Clock
from mrdaemon.core import events as ev
from mrdaemon.core.commands import SetTradingState
from mrdaemon.core.configure import unopened
from mrdaemon.core.engine import Engine
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import SECOND
from mrdaemon.core.money import NO_DOLLARS, NO_SHARES, Dollars, Shares, cents, show, show_shares, value
from mrdaemon.core.orders import OrderReport, OrderRequest, open_orders
from mrdaemon.core.policy import TradingState
from mrdaemon.core.prints import price_of
from mrdaemon.core.state import Order, Position

ORDER_TTL: Final = 60 * SECOND
"""How long the same order may be sent again."""
LOOK_AGAIN: Final = 30.0
"""Seconds between two look-ups that must both find nothing before an order is given up."""
RETRY: Final = 2.0
"""Seconds between two look-ups of an order nobody knows about yet."""
COMPARE_AGAIN: Final = 5.0
"""Seconds between two comparisons of shares that must agree."""
TINY_WORTH: Final = Decimal(1)
TINY_PART: Final = Decimal("0.001")
"""A difference in shares under a dollar and under a thousandth is taken over from the broker."""

log: Final = structlog.get_logger("mrdaemon.desk")
Commit = Callable[[Sequence[ev.Event]], Awaitable[None]]


class Difference(NamedTuple):
    """Shares that the broker counts otherwise than we do."""

    position: Position
    theirs: Holding


class Desk:
    """Sends, cancels, looks up and reconciles, for every account with a broker."""

    def __init__(
        self, engine: Engine, brokers: Mapping[str, Broker], clock: Clock, commit: Commit, halt_file: Path
    ) -> None:
        self._engine = engine
        self._brokers = brokers
        self._clock = clock
        self._commit = commit
        self._halt_file = halt_file

    async def carry_out(self, events: Sequence[ev.Event]) -> None:
        """Do what durable events ask for: send intents, cancel, and cancel everything on a halt."""
        for event in events:
            match event:
                case ev.OrderIntended(order=order):
                    await self._send(order)
                case ev.CancelRequested(order=order):
                    await self._cancel(order)
                case ev.TradingStateChanged(state=TradingState.HALTED):
                    await self._cancel_open(event)
                case _:
                    pass

    async def take(self, account: str, report: OrderReport) -> None:
        """Take a broker's report of an order, from whichever source."""
        await self._settle(self._engine.order_update(account, report, self._clock.now()))

    async def obey_halt_file(self) -> bool:
        """Halt if a person put the HALT file there; tells whether trading is halted."""
        state = self._engine.state
        if state.trading is not TradingState.HALTED and self._halt_file.exists():
            command = SetTradingState(state=TradingState.HALTED, by="HALT file", why=f"{self._halt_file} exists")
            await self._settle(self._engine.command(command, self._clock.now()))
        return state.trading is TradingState.HALTED

    async def reconcile(self, account: str) -> None:
        """Settle every open order, compare shares and cash with the broker, and let orders leave from then on.

        Where the broker cannot be heard, the account is lost: no order leaves before another call succeeds.
        """
        try:
            await self._reconcile(account, self._brokers[account])
        except AmbiguousError as unclear:
            log.warning("cannot reconcile", account=account, reason=str(unclear))
            if self._engine.state.accounts[account].ready:
                lost = ev.AccountLost(at=self._clock.now(), account=account, reason=str(unclear))
                await self._settle(self._engine.record([lost]))

    async def _reconcile(self, account: str, broker: Broker) -> None:
        state = self._engine.state
        for order in open_orders(state, account):
            await self._resolve(order, broker)
            if order.ended is None and (order.canceling or state.trading is TradingState.HALTED):
                await self._cancel(order.intent.order)  # The first request may not have arrived.
        await self._learn_assets(account, broker)
        await self._adopt(account, broker)
        differences = await self._differences(account, broker)
        if differences:
            await self._clock.sleep(COMPARE_AGAIN)
            lasting = {each.position.key for each in await self._differences(account, broker)}
            differences = [each for each in differences if each.position.key in lasting]
        facts = [fact for each in differences for fact in self._account_for(each)]
        cash = (await broker.standing()).cash
        wanted = sum((each.reserve for each in state.portfolios.values() if each.rules.account == account), Decimal(0))
        covered = wanted <= cash
        if not covered:
            log.warning("cash does not cover the reserves", account=account, cash=show(cash), reserves=show(wanted))
        facts.append(ev.AccountReconciled(at=self._clock.now(), account=account, cash=cash, covered=covered))
        await self._settle(self._engine.record(facts))

    # Orders

    async def _settle(self, events: Sequence[ev.Event]) -> None:
        if events:
            await self._commit(events)
            await self.carry_out(events)

    async def _send(self, name: str) -> None:
        """Send an intent, if trading is still allowed now."""
        order = self._engine.state.orders[name]
        broker = self._brokers.get(order.intent.account)
        halted = await self.obey_halt_file()
        if halted or broker is None:
            why = "trading was halted before it was sent" if halted else "the account has no broker"
            now = self._clock.now()
            await self._settle(self._engine.order_ended(name, OrderStatus.ABANDONED, why, now))
            return
        await self._submit(order, broker)
        if order.ambiguous:
            await self._resolve(order, broker)

    async def _submit(self, order: Order, broker: Broker) -> None:
        name = order.intent.order
        try:
            report = await broker.submit(OrderRequest.of(order.intent))
        except OrderRefusedError as refused:
            now = self._clock.now()
            await self._settle(self._engine.order_ended(name, OrderStatus.REJECTED, str(refused), now))
        except DuplicateOrderError:
            await self._ambiguous(name, "the broker has an order of this id already")
        except AmbiguousError as unclear:
            await self._ambiguous(name, str(unclear))
        else:
            await self.take(order.intent.account, report)

    async def _ambiguous(self, name: str, reason: str) -> None:
        log.warning("an order's fate is unknown; looking it up", order=name, reason=reason)
        await self._settle(self._engine.order_ambiguous(name, reason, self._clock.now()))

    async def _resolve(self, order: Order, broker: Broker) -> None:
        """Look an order up until the answer is definite: it exists, it was sent again, or it is given up."""
        name, missing_since = order.intent.order, None
        while order.ended is None:
            try:
                report = await broker.find(name)
            except AmbiguousError as unclear:
                log.warning("cannot look an order up", order=name, reason=str(unclear))
                await self._clock.sleep(RETRY)
                continue
            if report is not None:
                await self.take(order.intent.account, report)
                return
            now = self._clock.now()
            if now - order.intent.at < ORDER_TTL and not await self.obey_halt_file():
                await self._submit(order, broker)
                if not order.ambiguous:
                    return
                await self._clock.sleep(RETRY)
            elif missing_since is None:
                missing_since = now
                await self._clock.sleep(LOOK_AGAIN)
            elif now - missing_since >= LOOK_AGAIN * SECOND:
                why = "the broker does not know it, twice"
                await self._settle(self._engine.order_ended(name, OrderStatus.ABANDONED, why, now))
            else:
                await self._clock.sleep(RETRY)

    async def _cancel(self, name: str) -> None:
        order = self._engine.state.orders[name]
        broker = self._brokers.get(order.intent.account)
        if broker is None:
            return
        try:
            report = await broker.cancel(name)
        except AmbiguousError as unclear:
            log.warning("cannot tell whether an order was cancelled", order=name, reason=str(unclear))
            return
        if report is not None:
            await self.take(order.intent.account, report)

    async def _cancel_open(self, halt: ev.TradingStateChanged) -> None:
        for order in [each for account in self._brokers for each in open_orders(self._engine.state, account)]:
            intent = order.intent
            if halt.portfolio in {None, intent.portfolio} and halt.symbol in {None, intent.symbol}:
                await self._cancel(intent.order)

    # Reconciliation

    async def _learn_assets(self, account: str, broker: Broker) -> None:
        state = self._engine.state
        symbols = sorted(
            {
                each.symbol
                for each in state.positions.values()
                if not each.retired and state.portfolios[each.portfolio].rules.account == account
            }
        )
        known, now = state.accounts[account].assets, self._clock.now()
        facts = [
            ev.AssetKnown(at=now, account=account, asset=asset)
            for asset in await broker.assets(symbols)
            if known.get(asset.symbol) != asset
        ]
        await self._settle(self._engine.record(facts))

    async def _adopt(self, account: str, broker: Broker) -> None:
        """Begin positions that the configuration left to the broker with the shares that it holds."""
        waiting = unopened(self._engine.state, account)
        if not waiting:
            return
        holdings, now = (await broker.standing()).holdings, self._clock.now()
        facts = []
        for position in waiting:
            held = holdings.get(position.symbol, Holding(NO_SHARES, NO_DOLLARS))
            facts.append(
                ev.SharesAdopted(
                    at=now,
                    **position.about(),
                    before=position.shares,
                    shares=held.shares,
                    cost=held.cost,
                    reason="the position begins with what the broker holds",
                )
            )
        await self._settle(self._engine.record(facts))

    async def _differences(self, account: str, broker: Broker) -> list[Difference]:
        state, holdings = self._engine.state, (await broker.standing()).holdings
        found = []
        for position in state.positions.values():
            ours = state.portfolios[position.portfolio].rules.account == account
            if not ours or not position.opened or position.order is not None:
                continue
            theirs = holdings.get(position.symbol, Holding(NO_SHARES, None))
            if theirs.shares != position.shares:
                found.append(Difference(position, theirs))
        return found

    def _account_for(self, difference: Difference) -> list[ev.Event]:
        """Take a tiny difference over from the broker; halt the position for any other."""
        position, theirs = difference
        gap, now = abs(theirs.shares - position.shares), self._clock.now()
        worth = self._worth(position, Shares(gap))
        counts = f"the broker holds {show_shares(theirs.shares)}, the journal says {show_shares(position.shares)}"
        if worth is not None and worth < TINY_WORTH and gap <= TINY_PART * position.shares:
            return [
                ev.SharesAdopted(
                    at=now, **position.about(), before=position.shares, shares=theirs.shares, reason=f"{counts}: tiny"
                )
            ]
        if position.halted is not None:
            return []
        return [ev.PositionHalted(at=now, **position.about(), reason=f"{counts} shares of {position.symbol}")]

    def _worth(self, position: Position, shares: Shares) -> Dollars | None:
        last = self._engine.last(position.symbol)
        if last is not None:
            return value(shares, price_of(last))
        reference = self._engine.state.symbol(position.symbol).reference or position.first_price
        return None if reference is None else cents(shares * reference)
