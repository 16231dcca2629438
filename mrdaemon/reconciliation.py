"""Reconciliation: orders, shares and cash compared with a broker's, before any order leaves and from time to time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

import structlog

from mrdaemon import pulse
from mrdaemon.brokers import AmbiguousError, Booking, Broker, DeniedError, Holding, Hours, Standing, Timekeeper
from mrdaemon.clock import Clock
from mrdaemon.core import events as ev
from mrdaemon.core.activity import ask_from
from mrdaemon.core.coinfees import fee_explains
from mrdaemon.core.configure import unopened
from mrdaemon.core.engine import Engine
from mrdaemon.core.instant import HOUR, SECOND, Instant, iso
from mrdaemon.core.money import NO_DOLLARS, NO_SHARES, Dollars, Shares, cents, show, show_shares, value
from mrdaemon.core.prints import price_of
from mrdaemon.core.sessions import Sessions
from mrdaemon.core.state import Order, Position
from mrdaemon.desk import Desk

MAX_SKEW: Final = 2 * SECOND
"""How far our clock may differ from the broker's, besides the time that its answer took."""
ASSETS_AGAIN: Final = HOUR
"""How long what a broker says of its assets is believed: the list of all of them has megabytes."""
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

    @property
    def counts(self) -> tuple[str, Shares, Shares]:
        """Which position it is, and both counts."""
        return self.position.key, self.position.shares, self.theirs.shares


class _Asked(NamedTuple):
    """When a broker was asked of which symbols."""

    at: Instant
    symbols: list[str]


class Reconciler:
    """Compares every account with its broker."""

    def __init__(
        self, engine: Engine, brokers: Mapping[str, Broker], clock: Clock, desk: Desk, hours: Sessions | None = None
    ) -> None:
        """Build it.

        Args:
            engine: what we know.
            brokers: who knows better, by account.
            clock: the time.
            desk: looks orders up.
            hours: the regular sessions that a broker's own clock must agree with; None: none has one.
        """
        self._engine = engine
        self._brokers = brokers
        self._clock = clock
        self._desk = desk
        self._hours = hours
        self._assets_asked: dict[str, _Asked] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.denied: set[str] = set()
        """Accounts whose broker will not have us: asking again soon is of no use."""

    async def reconcile(self, account: str) -> list[ev.Event]:
        """Settle what is known of every open order, compare shares and cash, and let orders leave from then on.

        Where the broker cannot be heard, the account is lost: no order leaves before another call succeeds.

        Returns:
            What the comparison came to, in events.
        """
        pulse.rest()  # Whoever compares already says how far that is.
        async with self._locks[account]:
            pulse.begin(f"comparing with the broker of {account}")
            try:
                unknown, found = await self._settle(account, self._brokers[account])
            except AmbiguousError as unclear:
                return await self._lost(account, unclear)
        self.denied.discard(account)
        for order in unknown:
            await self._desk.begin(self._desk.resolve(order))
        return found

    async def _settle(self, account: str, broker: Broker) -> tuple[list[Order], list[ev.Event]]:
        hearing = broker.hearing
        if hearing is None:
            message = "what happens to orders is not heard: the broker's stream is not up"
            raise AmbiguousError(message)
        if isinstance(broker, Timekeeper):
            await self._compare_clocks(account, await broker.hours())
        unknown = await self._desk.look_up(account)
        facts = await self._compare(account, broker)
        if broker.hearing != hearing:
            message = "the broker's stream was cut during the comparison"
            raise AmbiguousError(message)
        found = self._engine.record(facts)
        await self._desk.settle(found)
        return unknown, found

    async def _lost(self, account: str, unclear: AmbiguousError) -> list[ev.Event]:
        log.warning("cannot reconcile", account=account, reason=str(unclear))
        if isinstance(unclear, DeniedError):
            self.denied.add(account)
        lost = ev.AccountLost(at=self._clock.now(), account=account, reason=str(unclear))
        known = self._engine.state.accounts[account]
        if known.ready or known.lost is None:
            await self._desk.settle(self._engine.record([lost]))
        return [lost]

    async def _compare_clocks(self, account: str, theirs: Hours) -> None:
        """Compare the time, and when the market is open; where we disagree, nothing trades until we agree again."""
        known, at = self._engine.state.accounts[account], self._clock.now()
        time = self._time_differs(theirs)
        # At another time than ours the calendar may know nothing.
        ours = None if time is not None or self._hours is None else _expected(self._hours, theirs.now)
        if ours is not None and _changing(theirs, ours):
            return
        reason = time or (None if ours is None else _difference(theirs, ours))
        if (reason is None, time is None) == (known.disputed is None, known.disputed is None or known.disputed_hours):
            return
        fact: ev.Event = ev.SessionsAgreed(at=at, account=account)
        if reason is not None:
            log.warning("clocks or calendars disagree", account=account, reason=reason)
            fact = ev.SessionsDisputed(at=at, account=account, reason=reason, hours=time is None)
        await self._desk.settle(self._engine.record([fact]))

    def _time_differs(self, theirs: Hours) -> str | None:
        skew = abs(self._clock.now() - theirs.now)
        if skew <= MAX_SKEW + theirs.late:
            return None
        return f"the broker's clock says {iso(theirs.now)}, ours differs by {skew / SECOND:.1f} s"

    async def _compare(self, account: str, broker: Broker) -> list[ev.Event]:
        await self._learn_assets(account, broker)
        await self._adopt(account, broker)
        await self._book(account, broker)
        standing, differences = await self._differences(account, broker)
        if differences:
            await self._clock.sleep(COMPARE_AGAIN)
            seen = {each.counts for each in differences}
            await self._book(account, broker)  # A split may have reached the shares since it was last asked for.
            standing, again = await self._differences(account, broker)
            differences = [each for each in again if each.counts in seen]
        facts = [fact for each in differences for fact in self._account_for(each)]
        return [*facts, self._covered(account, standing)]

    def _covered(self, account: str, standing: Standing) -> ev.AccountReconciled:
        portfolios = [each for each in self._engine.state.portfolios.values() if each.rules.account == account]
        wanted = sum((each.reserve for each in portfolios), Decimal(0))
        if standing.less_orders:
            wanted -= sum((each.reserved for each in portfolios), Decimal(0))
        covered = wanted <= standing.cash
        if not covered:
            log.warning(
                "cash does not cover the reserves", account=account, cash=show(standing.cash), reserves=show(wanted)
            )
        return ev.AccountReconciled(at=self._clock.now(), account=account, cash=standing.cash, covered=covered)

    async def _learn_assets(self, account: str, broker: Broker) -> None:
        """Ask what may be traded, and how finely: every hour, and each time of what could not be traded before."""
        state, now = self._engine.state, self._clock.now()
        symbols, known = self._symbols(account), state.accounts[account].assets
        asked, asking = self._assets_asked.get(account), _Asked(now, symbols)
        if asked is not None and asked.symbols == symbols and now - asked.at < ASSETS_AGAIN:
            symbols, asking = [each for each in symbols if each not in known or not known[each].tradable], asked
        if not symbols:
            return
        answered = await broker.assets(symbols)
        self._assets_asked[account] = asking
        facts = [
            ev.AssetKnown(at=now, account=account, asset=asset)
            for asset in answered
            if known.get(asset.symbol) != asset
        ]
        await self._desk.settle(self._engine.record(facts))

    async def _adopt(self, account: str, broker: Broker) -> None:
        """Begin positions that the configuration left to the broker with the shares that it holds."""
        waiting = unopened(self._engine.state, account)
        if not waiting:
            return
        holdings = (await broker.standing()).holdings
        begun = (self._begin(each, holdings.get(each.symbol, Holding(NO_SHARES, NO_DOLLARS))) for each in waiting)
        await self._desk.settle(self._engine.record([fact for fact in begun if fact is not None]))

    def _begin(self, position: Position, held: Holding) -> ev.Event | None:
        """Begin a position with what the broker holds; one that is short waits for a person, as none is ever here."""
        now, about = self._clock.now(), position.about()
        if held.shares >= 0:
            reason = "the position begins with what the broker holds"
            shares = {"before": position.shares, "shares": held.shares}
            return ev.SharesAdopted(at=now, **about, **shares, cost=held.cost, reason=reason)
        if position.halted is not None:
            return None
        short = f"the broker is short of {show_shares(abs(held.shares))} shares of {position.symbol}"
        reason = f"{short}; positions are long only: buy them back there, then resume"
        return ev.PositionHalted(at=now, **about, reason=reason)

    async def _book(self, account: str, broker: Broker) -> None:
        """Take what the broker booked of its own accord, before shares are compared: a split explains a difference."""
        state = self._engine.state
        since = ask_from(state, account)
        if since is None or not isinstance(broker, Booking):
            return
        activities = await broker.booked(self._symbols(account), since)
        if all(each.id in state.accounts[account].booked for each in activities):
            return
        holdings = {symbol: each.shares for symbol, each in (await broker.standing()).holdings.items()}
        for each in activities:
            await self._desk.settle(self._engine.activity(account, each, holdings, self._clock.now()))

    def _symbols(self, account: str) -> list[str]:
        state = self._engine.state
        mine = (each for each in state.positions.values() if state.portfolios[each.portfolio].rules.account == account)
        return sorted({each.symbol for each in mine if not each.retired})

    async def _differences(self, account: str, broker: Broker) -> tuple[Standing, list[Difference]]:
        """Compare the shares of positions that no order moved while the broker was asked."""
        before = {each.key: each.shares for each in self._quiet(account)}
        standing = await broker.standing()
        found = []
        for position in self._quiet(account):
            theirs = standing.holdings.get(position.symbol, Holding(NO_SHARES, None))
            if before.get(position.key) == position.shares != theirs.shares:
                found.append(Difference(position, theirs))
        return standing, found

    def _quiet(self, account: str) -> list[Position]:
        """Give an account's positions that have begun and have no open order."""
        state = self._engine.state
        return [
            each
            for each in state.positions.values()
            if each.opened and each.order is None and state.portfolios[each.portfolio].rules.account == account
        ]

    def _account_for(self, difference: Difference) -> list[ev.Event]:
        """Take a tiny difference over from the broker, and a fee that it kept in coins; halt for any other."""
        position, theirs = difference
        gap, now = abs(theirs.shares - position.shares), self._clock.now()
        worth = self._worth(position, Shares(gap))
        counts = f"the broker holds {show_shares(theirs.shares)}, the journal says {show_shares(position.shares)}"
        why = None
        if worth is not None and worth < TINY_WORTH and gap <= TINY_PART * position.shares:
            why = "tiny"
        elif fee_explains(position, self._engine.state.asset_of(position), theirs.shares):
            why = "the broker keeps its fee of what is bought"
        if why is not None:
            return [
                ev.SharesAdopted(
                    at=now, **position.about(), before=position.shares, shares=theirs.shares, reason=f"{counts}: {why}"
                )
            ]
        if position.halted is not None:
            return []
        hint = "" if position.shares else '; initial = "adopt" begins with what the broker holds'
        return [ev.PositionHalted(at=now, **position.about(), reason=f"{counts} shares of {position.symbol}{hint}")]

    def _worth(self, position: Position, shares: Shares) -> Dollars | None:
        last = self._engine.last(position.symbol)
        if last is not None:
            return value(shares, price_of(last))
        reference = self._engine.state.symbol(position.symbol).reference or position.first_price
        return None if reference is None else cents(shares * reference)


def _expected(sessions: Sessions, now: Instant) -> Hours:
    """Say what a clock must say that goes by these sessions."""
    session, upcoming = sessions.at(now), sessions.upcoming(now)
    closes = upcoming.closes if session is None else session.closes
    return Hours(now, 0, session is not None, upcoming.opens, closes)


def _changing(*clocks: Hours) -> bool:
    """Tell whether a session begins or ends in this very second: whatever each says then, both are right."""
    return any(abs(each - said.now) < SECOND for said in clocks for each in (said.next_open, said.next_close))


def _difference(theirs: Hours, ours: Hours) -> str | None:
    pairs = ((theirs.next_open, ours.next_open), (theirs.next_close, ours.next_close))
    if theirs.open is ours.open and all(abs(them - us) < SECOND for them, us in pairs):
        return None
    return f"the broker says {_in_words(theirs)}; the calendar says {_in_words(ours)}"


def _in_words(said: Hours) -> str:
    state = "open" if said.open else "closed"
    return f"{state}, next opening {iso(said.next_open)}, next close {iso(said.next_close)}"
