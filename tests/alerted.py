"""A bench whose events are put into words: an engine, and the composer beside it, as a daemon runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mrdaemon.alerts.alert import Alert, Letter
from mrdaemon.alerts.composer import AlertRules, Composer
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.instant import HOUR, SECOND, Instant
from mrdaemon.core.policy import Plan
from mrdaemon.core.state import State
from tests.builders import START, Bench, Market

MARKET = Market(opens=6 * HOUR, closes=20 * HOUR)
"""Open at ``START``, which is 12:26:40 UTC."""


def newest(alerts: Sequence[Alert]) -> list[Letter]:
    """Give the newest alert of each kind about each subject, as a journal does."""
    found: dict[tuple[str, str], Letter] = {}
    for n, alert in enumerate(alerts, 1):
        found[alert.subject, alert.kind] = Letter(n=n, wall=alert.at, alert=alert)
    return sorted(found.values(), key=lambda letter: letter.n)


class Office(Bench):
    """A bench that keeps what is told."""

    def __init__(self, wanted: Plan, market: Market = MARKET, *, fill: bool = True, **rules: Any) -> None:
        self.market, self.plan, self.now, self.fill = market, wanted, START, fill
        self.events: list[ev.Event] = []
        self.rules = AlertRules(**rules)
        self.told: list[Alert] = []
        self.engine = Engine(State(), market)
        self.hire()
        self.start()
        for account in wanted.accounts:
            self.reconcile(account)

    def hire(self) -> None:
        """Let a composer begin who has read what was told."""
        state, seen = self.engine.state, self.engine.seen
        self.composer = Composer(self.rules, state, self.market, newest(self.told), len(self.told), seen)

    def start(self) -> list[Alert]:
        begun = len(self.told)
        events = self.engine.record([ev.DaemonStarted(at=self.now, version="1.0", nonce="n")])
        self.take(events + self.engine.configure(self.plan, self.now))
        return self.told[begun:]

    def take(self, events: list[ev.Event]) -> list[ev.Event]:
        if events:
            self.told += self.composer.compose(events)
        return super().take(events)

    def restart(self) -> Office:
        """Kill it, and begin anew with what the journal has."""
        super().restart()
        self.hire()
        return self

    # What a test asks

    def record(self, *facts: ev.Event) -> list[Alert]:
        """Put facts on the record; gives what was told of them."""
        begun = len(self.told)
        self.take(self.engine.record(facts))
        return self.told[begun:]

    def wait(self, seconds: int) -> list[Alert]:
        """Let time pass, second by second, or minute by minute where it is long."""
        begun, step = len(self.told), 1 if seconds <= HOUR // SECOND else 60
        until = Instant(self.now + seconds * SECOND)
        while self.now < until:
            self.now = Instant(min(until, self.now + step * SECOND))
            self.told += self.composer.tick(self.now)
            self.take(self.engine.tick(self.now))
        return self.told[begun:]

    def since(self, begun: int) -> list[Alert]:
        """Give what was told after the first so many."""
        return self.told[begun:]


def kinds(alerts: Sequence[Alert]) -> list[str]:
    return [alert.kind for alert in alerts]


def texts(alerts: Sequence[Alert]) -> list[str]:
    return [alert.text for alert in alerts]
