"""From what happened to what people are told: the alerts of each commit, and those that time brings.

It runs on the price loop, at the moment events go to the journal: an event of which nothing is said costs one look-up.
What it needs to know after a restart, it reads from the alerts that were written. What fails to find words costs
its own alert only, and the event is told in plain ones instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from mrdaemon.alerts import bookings, positions, signals, stops
from mrdaemon.alerts.alert import Alert, Letter
from mrdaemon.alerts.crowds import MANY
from mrdaemon.alerts.digest import Digest
from mrdaemon.alerts.holds import Holds
from mrdaemon.alerts.orders import Orders
from mrdaemon.alerts.questions import Questions
from mrdaemon.alerts.refusals import Refusals
from mrdaemon.alerts.reloads import Reloads
from mrdaemon.alerts.reserves import Reserves
from mrdaemon.alerts.running import Running
from mrdaemon.alerts.saying import USEFUL, Saying, Sayings
from mrdaemon.alerts.troubles import Troubles
from mrdaemon.alerts.untold import kind_of, untold
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.core.sessions import Calendar
from mrdaemon.core.state import State
from mrdaemon.status import LastSeen, recorded

Part = Callable[[Any], Sayings]
"""Takes one kind of event, and says what there is to say."""
SILENT: Final[dict[type[ev.Event], str]] = {
    ev.JournalRestored: "no daemon runs then; that trading is halted, and why, is told by the next one",
    ev.FeedOpened: "its start is told",
    ev.PrintsConfigured: "whoever wrote it knows it",
    ev.AccountConfigured: "whoever wrote it knows it",
    ev.PortfolioConfigured: "whoever wrote it knows it",
    ev.PositionOpened: "the start that follows is told with how many there are",
    ev.AssetKnown: "where it stands in the way of a signal, the signal says so",
    ev.PriceAccepted: "it is for measuring the next one",
    ev.SignalPending: "it may come to nothing",
    ev.OrderIntended: "its signal is told",
    ev.CancelRequested: "its end is told, with why",
    ev.FeeCharged: "the end of its order is told, and the day's fees",
    ev.ReconciliationRequested: "who asked is answered",
}
"""Kinds of which nothing is said, and why."""

log: Final = structlog.get_logger("mrdaemon.alerts")


class AlertRules(NamedTuple):
    """How alerts are made; see the configuration's table ``alerts``."""

    instance: str = "mrdaemon"
    digest: bool = True
    remind: int | None = 1800
    """Seconds."""
    settle: int = 60
    """Seconds."""
    reserve_low: Decimal = Decimal("0.05")


class Composer:
    """Says what people are told. ``state`` is read only, and is the engine's own: as each commit leaves it."""

    def __init__(
        self,
        rules: AlertRules,
        state: State,
        calendar: Calendar,
        said: Iterable[Letter],
        last: int,
        seen: LastSeen | None = None,
    ) -> None:
        """Begin after what was said.

        Args:
            rules: how alerts are made.
            state: as the journal leaves it.
            calendar: when markets are open.
            said: the newest alert of each kind about each subject.
            last: how many alerts there were.
            seen: gives the newest price of a symbol; those in the journal where left out.
        """
        letters = list(said)
        self._state = state
        self._last = last
        self._orders = Orders(state)
        self._holds = Holds(state, calendar, letters)
        self._running = Running(state, letters)
        self._refusals = Refusals(state, letters)
        self._reloads = Reloads(letters)
        self._questions = Questions(state, rules.remind, letters)
        self._troubles = Troubles(state, calendar, rules.settle, letters)
        self._reserves = Reserves(state, rules.reserve_low, rules.settle, letters)
        self._digest = Digest(state, calendar, seen or recorded(state), letters)
        self._digests = rules.digest
        self._parts = self._all_parts()
        self._failing: set[str] = set()
        """What failed the last time, besides the words for events."""

    def change(self, rules: AlertRules) -> None:
        """Make alerts by other rules from now on; the instance is the same."""
        self._digests = rules.digest
        self._questions.change(rules.remind)
        self._troubles.change(rules.settle)
        self._reserves.change(rules.reserve_low, rules.settle)

    def compose(self, events: Sequence[ev.Event]) -> list[Alert]:
        """Give what a commit's events say; the state is after all of them. To be called once for each, in order."""
        told: list[Alert] = []
        now = self._state.at
        if now >= self._digest.due:
            self._sum_up(now, told)
        for event in self._crowds(events, told) if len(events) > MANY else events:
            self._tell(event, told)
        with self._guarded("Reserves"):
            told.extend(self._alert(now, saying) for saying in self._reserves.tick(now))
        return told

    def tick(self, now: Instant) -> list[Alert]:
        """Give what time brings: what has lasted, what is to be asked again, and the day's sum. Cheap as a rule."""
        told: list[Alert] = []
        if not self._state.nonce:
            return told
        if now >= self._digest.due:
            self._sum_up(now, told)
        for part in (self._troubles, self._questions, self._reserves):
            with self._guarded(type(part).__name__):
                told.extend(self._alert(now, saying) for saying in part.tick(now))
        return told

    def _crowds(self, events: Sequence[ev.Event], told: list[Alert]) -> Sequence[ev.Event]:
        """Tell at once of very many symbols whose prices stopped, or arrive again; gives the other events."""
        for kind in (ev.PriceStale, ev.PriceFresh):
            crowd = [event for event in events if isinstance(event, kind)]
            if len(crowd) > MANY:
                events = [event for event in events if not isinstance(event, kind)]
                with self._guarded("crowds"):
                    told.extend(self._alert(crowd[-1].at, saying) for saying in self._troubles.crowd(crowd))
        return events

    # What fails costs what it had to say

    def _tell(self, event: ev.Event, told: list[Alert]) -> None:
        """Let every part say what it has to say of an event; plain words stand in for what cannot be said."""
        failed = False
        for part in self._parts.get(type(event), ()):
            try:
                told.extend(self._alert(event.at, saying) for saying in part(event))
            except Exception:  # Whatever it stumbles on: the rest of this commit is to be told.
                log.exception("an event could not be put into words", kind=kind_of(event))
                failed = True
        if failed:
            with self._guarded("untold"):
                told.append(self._alert(event.at, untold(event)))

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Let something fail by itself; it is logged once, not every second, until it works again."""
        try:
            yield
        except Exception:  # What a part stumbles on is not known, and must not cost the others their words.
            if name not in self._failing:
                log.exception("an alert could not be put into words", part=name)
            self._failing.add(name)
        else:
            self._failing.discard(name)

    def _all_parts(self) -> dict[type[ev.Event], list[Part]]:
        """List what listens to each kind of event, in the order in which it speaks."""
        parts = defaultdict[type[ev.Event], list[Part]](list)
        for register in (signals.says, stops.says, positions.says, bookings.says):
            for kind, say in register.words.items():
                parts[kind].append(partial(self._in_words, say))
        orders, holds, running, questions = self._orders, self._holds, self._running, self._questions
        troubles, reserves, digest, refusals = self._troubles, self._reserves, self._digest, self._refusals
        reloads = self._reloads
        listed: tuple[tuple[type[ev.Event], tuple[Part, ...]], ...] = (
            (ev.DaemonStarted, (troubles.started, refusals.started, reloads.started, self._started)),
            (ev.ConfigurationReloaded, (troubles.reloaded, reloads.reloaded)),
            (ev.ConfigurationRefused, (reloads.refused,)),
            (ev.DaemonStopped, (running.stopped,)),
            (ev.RowRefused, (refusals.row,)),
            (ev.PrintRefused, (refusals.price,)),
            (ev.FeedEnded, (running.recording_ended, digest.recording_ended)),
            (ev.CommandRefused, (refusals.command,)),
            (ev.FeedStateChanged, (troubles.feed,)),
            (ev.ChannelStateChanged, (troubles.channel,)),
            (ev.PriceStale, (troubles.stale,)),
            (ev.PriceFresh, (troubles.fresh,)),
            (ev.AccountLost, (troubles.account_lost,)),
            (ev.AccountReconciled, (troubles.reconciled,)),
            (ev.SessionsDisputed, (troubles.disputed,)),
            (ev.SessionsAgreed, (troubles.agreed,)),
            (ev.SignalRaised, (holds.raised, questions.raised, digest.signal)),
            (ev.SignalHeld, (holds.held, digest.held)),
            (ev.SideRearmed, (holds.rearmed,)),
            (ev.ApprovalRequested, (questions.requested,)),
            (ev.ApprovalGranted, (questions.granted,)),
            (ev.ApprovalClosed, (questions.closed,)),
            (ev.OrderIntended, (orders.intended,)),
            (ev.OrderAccepted, (orders.accepted,)),
            (ev.OrderFilled, (orders.filled, digest.filled, reserves.moved)),
            (ev.OrderEnded, (orders.ended, digest.ended)),
            (ev.OrderAmbiguous, (orders.ambiguous,)),
            (ev.OrderUnmatched, (orders.unmatched,)),
            (ev.CancelRequested, (orders.cancelling,)),
            (ev.FeeCharged, (digest.fee, reserves.moved)),
            (ev.FeeBooked, (digest.fee, reserves.moved)),
            (ev.DividendPaid, (digest.dividend, reserves.moved)),
            (ev.FillReported, (digest.reported, reserves.moved)),
            (ev.ReserveDeposited, (troubles.claimed, reserves.moved)),
            (ev.ReserveWithdrawn, (troubles.claimed, reserves.moved)),
            (ev.PortfolioConfigured, (reserves.configured,)),
            (ev.PositionConfigured, (reserves.configured, digest.configured)),
            (ev.PositionRetired, (reserves.configured, digest.configured)),
            (ev.TargetChanged, (reserves.retargeted,)),
        )
        for kind, more in listed:
            parts[kind] += more
        return dict(parts)

    def _in_words(self, say: Callable[[State, Any], Saying | None], event: ev.Event) -> Sayings:
        saying = say(self._state, event)
        return () if saying is None else (saying,)

    def _started(self, event: ev.DaemonStarted) -> Sayings:
        """Put what the day counts from into the word of a start, for the next one."""
        for saying in self._running.started(event):
            yield msgspec.structs.replace(saying, facts=saying.facts | self._digest.base())

    def _sum_up(self, now: Instant, told: list[Alert]) -> None:
        with self._guarded("Digest"):
            for at, saying in self._digest.tick(now):
                if self._digests:
                    told.append(self._alert(at, saying))

    def _alert(self, at: Instant, saying: Saying) -> Alert:
        alert = Alert(
            id=f"{self._state.nonce}-{self._last + 1}",
            at=at,
            level=saying.level,
            topic=saying.topic,
            kind=saying.kind,
            subject=saying.subject,
            title=saying.title,
            text=saying.text,
            portfolio=saying.portfolio,
            symbol=saying.symbol,
            facts=saying.facts,
            approval=saying.approval,
            ttl=USEFUL[saying.level] if saying.ttl is None else saying.ttl,
        )
        self._last += 1
        return alert
