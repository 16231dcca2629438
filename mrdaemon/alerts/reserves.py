"""When a portfolio's reserve is low or empty, measured by its targets, and when it is filled again."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec

from mrdaemon.alerts.ailments import LOST, RANKS, RESERVE, WORSE, say
from mrdaemon.alerts.alert import Letter
from mrdaemon.alerts.saying import Saying, Sayings, facts
from mrdaemon.alerts.standing import GOOD, Standing, Turn
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import EXACT, NO_DOLLARS, Dollars, cents, show
from mrdaemon.core.state import Portfolio, State

LEAST: Final = Dollars(Decimal("1.00"))
"""A reserve with less than this buys nothing: no broker takes so small an order."""
ENOUGH: Final = Decimal("1.25")
"""How many times what is low a reserve must have to be told as filled again."""


class Reserves:
    """Looks at the reserves that a commit moved."""

    def __init__(self, state: State, part: Decimal, settle: int, said: Iterable[Letter]) -> None:
        """``part`` is the part of a portfolio's targets under which its reserve is low."""
        self._state = state
        self._part = part
        self._settle = settle
        self._targets: dict[str, Decimal] | None = None
        self._moved = set(state.portfolios)
        self._standings: dict[str, Standing] = {}
        newest = dict[str, int]()
        for letter in said:
            sort, rank = RANKS.get(letter.alert.kind, (None, GOOD))
            name = letter.alert.subject.removeprefix(RESERVE.prefix)
            if sort is RESERVE and rank >= GOOD and newest.get(name, 0) < letter.n:
                newest[name] = letter.n
                self._standings[name] = Standing(settle, rank, letter.alert.at)

    def change(self, part: Decimal, settle: int) -> None:
        """Look at all of them by other rules."""
        self._part, self._settle = part, settle
        self._moved = set(self._state.portfolios)
        for standing in self._standings.values():
            standing.change(settle)

    # What moves them

    def moved(self, event: ev.PositionEvent | ev.ReserveDeposited | ev.ReserveWithdrawn | ev.FeeBooked) -> Sayings:
        """Look at a portfolio once the commit is through."""
        self._moved.add(event.portfolio)
        return ()

    def configured(self, event: ev.PositionEvent | ev.PortfolioConfigured) -> Sayings:
        """Add the targets up anew, too."""
        self._targets = None
        self._moved.add(event.portfolio)
        return ()

    def retargeted(self, event: ev.TargetChanged) -> Sayings:
        """Count a target that a person changed."""
        if self._targets is not None and not self._state.position(event).retired:
            before = self._targets.get(event.portfolio, NO_DOLLARS)
            self._targets[event.portfolio] = before - event.before + event.target
        self._moved.add(event.portfolio)
        return ()

    # What is told

    def tick(self, now: Instant) -> Sayings:
        """Tell of the reserves that moved."""
        if not self._moved:
            return
        moved, self._moved = self._moved, set()
        for name in sorted(moved):
            portfolio = self._state.portfolios.get(name)
            if portfolio is not None and portfolio.opened:
                yield from self._look(portfolio, now)

    def _look(self, portfolio: Portfolio, now: Instant) -> Sayings:
        targets = self._sums().get(portfolio.name, NO_DOLLARS)
        if not targets:
            return
        low = cents(EXACT.multiply(self._part, targets))
        spare = Dollars(portfolio.reserve - portfolio.rules.floor)
        standing = self._standings.get(portfolio.name)
        troubled = standing is not None and standing.rank != GOOD
        rank = GOOD
        if spare < LEAST:
            rank = WORSE
        elif spare < low or (troubled and spare < low * ENOUGH):
            rank = LOST
        if standing is None:
            if rank == GOOD:
                return
            standing = self._standings[portfolio.name] = Standing(self._settle)
        floor = f" above its floor of {show(portfolio.rules.floor)}" if portfolio.rules.floor else ""
        reason = f"{show(max(NO_DOLLARS, spare))} to spend{floor}, for targets of {show(targets)}"
        turn = standing.turn(rank, now, reason, 0) or standing.tick(now)
        if standing.due is not None:
            self._moved.add(portfolio.name)  # It is looked at again until it has lasted.
        if turn is not None:
            yield self._say(portfolio, turn, now, {"spare": spare, "low": low, "targets": targets})

    def _say(self, portfolio: Portfolio, turn: Turn, now: Instant, figures: dict[str, Decimal]) -> Saying:
        more = facts(**{name: f"{each:f}" for name, each in figures.items()})
        saying = say(RESERVE, portfolio.name, turn, now)
        reserve = facts(reserve=f"{portfolio.reserve:f}", floor=f"{portfolio.rules.floor:f}")
        return msgspec.structs.replace(saying, facts=saying.facts | more | reserve)

    def _sums(self) -> dict[str, Decimal]:
        if self._targets is None:
            self._targets = {}
            for position in self._state.positions.values():
                if not position.retired:
                    before = self._targets.get(position.portfolio, NO_DOLLARS)
                    self._targets[position.portfolio] = before + position.target
        return self._targets
