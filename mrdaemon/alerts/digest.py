"""The day in one message, once its session is over: what happened, the reserves, and what stands out.

The figures are differences of totals that the journal's state has, too. Each start and each digest names the totals
that the next digest counts from, so that a restart in the middle of a day loses nothing of it. A day on which nothing
happened is told in one line, and not at all where its end was missed: by a daemon that did not run, or by a recording
that jumps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from mrdaemon.alerts.alert import Letter
from mrdaemon.alerts.saying import Saying, Sayings
from mrdaemon.alerts.survey import FIGURES, Figures, Survey
from mrdaemon.core import events as ev
from mrdaemon.core.instant import HOUR, MINUTE, Instant
from mrdaemon.core.money import NO_DOLLARS
from mrdaemon.core.policy import Side
from mrdaemon.core.sessions import EARLIEST, LATEST, Calendar, Session, Sessions
from mrdaemon.core.state import State
from mrdaemon.status import LastSeen

AFTER: Final = 15 * MINUTE
"""How long after the close the day is summed up: orders may still be on their way. No later than the next opening."""
MISSED: Final = HOUR
"""A digest that is later than this missed the end of its day."""
FROM: Final = "from_"
"""What the names of the totals begin with that the next digest counts from."""
ENDED: Final = "ended"
"""The fact of a start that names the day whose end an earlier run has seen, and that is still to be summed up."""


class Digest:
    """Counts, and sums each day up."""

    def __init__(self, state: State, calendar: Calendar, seen: LastSeen, said: Iterable[Letter]) -> None:
        self._state = state
        self._calendar = calendar
        self._seen = seen
        self._total = _totals(state)
        self._base, self._over, self._ended = dict(self._total), "", ""
        self._before = state.started, state.at
        """When the run before this one began, and the last that is known of it."""
        for letter in sorted(said, key=lambda each: each.n):
            facts = letter.alert.facts
            if f"{FROM}signals" in facts:
                self._base = {name: Decimal(facts.get(f"{FROM}{name}", "0")) for name in FIGURES}
                self._ended = facts.get(ENDED, "")
            if letter.alert.kind == "digest":
                self._over = facts.get("day", "")
        self._session: Session | None = None
        self.due = Instant(0)
        """When ``tick`` next has something to do."""
        self._survey: Survey | None = None

    def base(self) -> dict[str, str]:
        """Give the totals that the next digest counts from, as facts: what a restart begins with."""
        totals = {f"{FROM}{name}": f"{each:f}" for name, each in self._base.items()}
        session = self._session
        return totals | {ENDED: session.day} if session is not None and self._saw_end_before(session) else totals

    # What is counted

    def signal(self, _: ev.SignalRaised) -> Sayings:
        """Count a signal."""
        return self._add("signals", 1)

    def held(self, _: ev.SignalHeld) -> Sayings:
        """Count a signal that was held."""
        return self._add("held", 1)

    def filled(self, event: ev.OrderFilled) -> Sayings:
        """Count what was bought or sold."""
        return self._add("bought" if event.side is Side.ACCUMULATE else "sold", event.amount)

    def ended(self, event: ev.OrderEnded) -> Sayings:
        """Count an order that filled, in part or in whole."""
        order = self._state.orders.get(event.order)
        if order is None or not order.filled:
            return ()
        return self._add("buys" if order.intent.side is Side.ACCUMULATE else "sells", 1)

    def reported(self, event: ev.FillReported) -> Sayings:
        """Count what a person traded by hand."""
        buys = event.side is Side.ACCUMULATE
        self._add("buys" if buys else "sells", 1)
        return self._add("bought" if buys else "sold", event.amount)

    def fee(self, event: ev.FeeCharged | ev.FeeBooked) -> Sayings:
        """Count fees."""
        return self._add("fees", event.amount)

    def dividend(self, event: ev.DividendPaid) -> Sayings:
        """Count dividends."""
        return self._add("dividends", event.amount)

    def configured(self, _: ev.PositionEvent) -> Sayings:
        """Look anew at which market's day it is."""
        self._session, self.due = None, Instant(0)
        return ()

    def recording_ended(self, event: ev.FeedEnded) -> Sayings:
        """Wait no longer for a day that is over: nothing comes after it."""
        if self._session is not None and event.at >= self._session.closes:
            self.due = min(self.due, event.at)
        return ()

    def _add(self, name: str, more: Decimal | int) -> Sayings:
        self._total[name] += more
        return ()

    # When it is told

    def tick(self, now: Instant) -> Iterator[tuple[Instant, Saying]]:
        """Sum the day up a while after its close; of very many positions, a part at a time. With it, when it was."""
        if self._survey is None:
            if now < self.due:
                return
            self._begin(now)
        survey = self._survey
        if survey is not None and survey.go_on():
            at, self._survey, self._over = self.due, None, survey.day
            self._look_ahead(now)
            yield at, survey.saying(self.base())

    def _begin(self, now: Instant) -> None:
        if self._session is None:
            self._look_ahead(now)
        session = self._session
        if session is None or now < self.due:
            return
        figures = {name: self._total[name] - self._base[name] for name in FIGURES}
        seen = self._state.started <= session.closes or self._saw_end_before(session)
        missed = now - self.due > MISSED or not seen
        if missed and not any(figures.values()):
            self._over = session.day
            self._look_ahead(now)
        else:
            self._base = dict(self._total)
            self._survey = Survey(self._state, self._seen, session.day, figures)

    def _saw_end_before(self, session: Session) -> bool:
        """Tell whether an earlier run has seen the end of a day."""
        began, last = self._before
        return session.day == self._ended or (0 < began <= session.closes <= last)

    def _look_ahead(self, now: Instant) -> None:
        """Find the session whose end is told next: the one at hand, or the last one where that was not told."""
        sessions = self._market()
        if sessions is None or not EARLIEST <= now <= LATEST:
            self._session, self.due = None, Instant(now + HOUR)
            return
        latest = sessions.latest(now)
        self._session = sessions.upcoming(now) if latest.day == self._over else latest
        closes = self._session.closes
        self.due = Instant(min(closes + AFTER, sessions.upcoming(closes).opens))

    def _market(self) -> Sessions | None:
        """Give the sessions that a day goes by: those of shares, and where there are only pairs, theirs."""
        found = None
        for position in self._state.positions.values():
            if not position.retired:
                found = self._calendar.sessions(position.symbol)
                if "/" not in position.symbol:
                    break
        return found


def _totals(state: State) -> Figures:
    """Add up what the state has of each figure."""
    positions, portfolios = state.positions.values(), state.portfolios.values()
    return {
        "signals": Decimal(state.signals),
        "held": Decimal(state.held),
        "buys": Decimal(sum(each.buys for each in positions)),
        "sells": Decimal(sum(each.sells for each in positions)),
        "bought": sum((each.bought for each in portfolios), Decimal(NO_DOLLARS)),
        "sold": sum((each.sold for each in portfolios), Decimal(NO_DOLLARS)),
        "fees": sum((each.fees for each in portfolios), Decimal(NO_DOLLARS)),
        "dividends": sum((each.dividends for each in portfolios), Decimal(NO_DOLLARS)),
    }
