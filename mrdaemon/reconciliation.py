"""Reconciliation: orders, shares and cash compared with a broker's, before any order leaves and from time to time."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

import structlog

from mrdaemon.brokers import AmbiguousError, Broker, Holding
from mrdaemon.clock import Clock
from mrdaemon.core import events as ev
from mrdaemon.core.configure import unopened
from mrdaemon.core.engine import Engine
from mrdaemon.core.money import NO_DOLLARS, NO_SHARES, Dollars, Shares, cents, show, show_shares, value
from mrdaemon.core.prints import price_of
from mrdaemon.core.state import Position
from mrdaemon.desk import Desk

COMPARE_AGAIN: Final = 5.0
"""Seconds between two comparisons of shares that must agree."""
TINY_WORTH: Final = Decimal(1)
TINY_PART: Final = Decimal("0.001")
"""A difference in shares under a dollar and under a thousandth is taken over from the broker."""

log: Final = structlog.get_logger("mrdaemon.reconciliation")


class Difference(NamedTuple):
    """Shares that the broker counts otherwise than we do."""

    position: Position
    theirs: Holding


class Reconciler:
    """Compares every account with its broker."""

    def __init__(self, engine: Engine, brokers: Mapping[str, Broker], clock: Clock, desk: Desk) -> None:
        self._engine = engine
        self._brokers = brokers
        self._clock = clock
        self._desk = desk

    async def reconcile(self, account: str) -> list[ev.Event]:
        """Settle what is known of every open order, compare shares and cash, and let orders leave from then on.

        Where the broker cannot be heard, the account is lost: no order leaves before another call succeeds.

        Returns:
            What the comparison came to, in events.
        """
        try:
            unknown = await self._desk.look_up(account)
            found = await self._compare(account, self._brokers[account])
        except AmbiguousError as unclear:
            log.warning("cannot reconcile", account=account, reason=str(unclear))
            lost = ev.AccountLost(at=self._clock.now(), account=account, reason=str(unclear))
            if self._engine.state.accounts[account].ready:
                await self._desk.settle(self._engine.record([lost]))
            return [lost]
        for order in unknown:
            await self._desk.resolve(order)
        return found

    async def _compare(self, account: str, broker: Broker) -> list[ev.Event]:
        state = self._engine.state
        await self._learn_assets(account, broker)
        await self._adopt(account, broker)
        differences = await self._differences(account, broker)
        if differences:
            await self._clock.sleep(COMPARE_AGAIN)
            seen = {(each.position.key, each.theirs.shares) for each in differences}
            again = await self._differences(account, broker)
            differences = [each for each in again if (each.position.key, each.theirs.shares) in seen]
        facts = [fact for each in differences for fact in self._account_for(each)]
        cash = (await broker.standing()).cash
        wanted = sum((each.reserve for each in state.portfolios.values() if each.rules.account == account), Decimal(0))
        covered = wanted <= cash
        if not covered:
            log.warning("cash does not cover the reserves", account=account, cash=show(cash), reserves=show(wanted))
        facts.append(ev.AccountReconciled(at=self._clock.now(), account=account, cash=cash, covered=covered))
        found = self._engine.record(facts)
        await self._desk.settle(found)
        return found

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
        await self._desk.settle(self._engine.record(facts))

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
        await self._desk.settle(self._engine.record(facts))

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
