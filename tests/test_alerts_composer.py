"""What is told of any life of a daemon: everything that matters, nothing twice, and the same after a restart."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from mrdaemon.alerts.ailments import RANKS, SORTS
from mrdaemon.alerts.alert import Alert, Level, decode, encode
from mrdaemon.alerts.composer import AlertRules, Composer
from mrdaemon.alerts.digest import _totals
from mrdaemon.alerts.standing import UNSTEADY
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.policy import ChannelState, FeedState
from tests.alerted import newest
from tests.life import MARKET, Life

RULES = AlertRules(remind=600)
ODD = re.compile(r"None|nan|Decimal|<|>|\{|\}|  | \.|\.\.|: \.|\(\)|E[+-]\d")
"""What no sentence has in it."""
QUOTES = {"price_refused"}
"""Kinds that quote what came in, as it came."""
WITH_ALERT: dict[type[ev.Event], str] = {
    ev.SymbolFrozen: "symbol_frozen",
    ev.BreakerTripped: "breaker_tripped",
    ev.PositionHalted: "position_halted",
    ev.SignalRaised: "signal_raised",
    ev.ApprovalRequested: "approval_requested",
    ev.ApprovalGranted: "approval_granted",
    ev.TargetChanged: "target_changed",
    ev.TradingHalted: "exchange_halt",
    ev.DaemonStarted: "started",
    ev.FillReported: "fill_reported",
    ev.SplitApplied: "split_applied",
}
"""Kinds of events of which each one is told, in the same commit."""


class ToldLife(Life):
    """A life of which people are told, with a composer that is replaced at each restart, and now and then."""

    told: list[Alert]
    composer: Composer

    def _do(self, method: str, *arguments: Any) -> list[ev.Event]:
        begins = not hasattr(self, "of")
        if begins:
            self.told, self.feeds = [], 0
        if begins or self.of is not self.engine:
            self._hire()
        events = super()._do(method, *arguments)
        if events:
            self._listen(events)
        return events

    def _hire(self) -> None:
        self.of: Engine = self.engine
        state, seen = self.engine.state, self.engine.seen
        self.composer = Composer(RULES, state, MARKET, newest(self.told), len(self.told), seen)

    def _listen(self, events: list[ev.Event]) -> None:
        alerts = self.composer.compose(events)
        for event in events:
            if (kind := WITH_ALERT.get(type(event))) is not None:
                assert [each for each in alerts if each.kind == kind and each.at == event.at], f"{event} is told"
            if isinstance(event, ev.OrderEnded):
                [ended] = [each for each in alerts if each.facts.get("order") == event.order and "status" in each.facts]
                assert ended.facts["status"] == event.status
                assert (ended.kind == "order_refused") is (event.status == "rejected")
        self._keep(alerts)
        self._keep(self.composer.tick(self.now))

    def _keep(self, alerts: list[Alert]) -> None:
        for alert in alerts:
            assert alert.text.endswith("."), alert.text
            assert alert.title, alert
            assert alert.kind in QUOTES or not ODD.search(alert.text), alert.text
            assert not ODD.search(alert.title), alert.title
            assert all(type(each) is str and each for each in alert.facts.values()), alert.facts
            assert alert.ttl > 0
            assert decode(encode(alert)) == alert
        self.told += alerts

    # What else happens to it

    @rule(
        feed=st.sampled_from(["stocks", "crypto"]), state=st.sampled_from(FeedState), why=st.sampled_from(["", "cut"])
    )
    def a_feed_changes(self, feed: str, state: FeedState, why: str) -> None:
        self._do("record", [ev.FeedStateChanged(at=self.now, feed=feed, state=state, reason=why)])

    @rule(channel=st.sampled_from(["phone", "house"]), state=st.sampled_from(ChannelState))
    def a_channel_changes(self, channel: str, state: ChannelState) -> None:
        self._do("record", [ev.ChannelStateChanged(at=self.now, channel=channel, state=state, reason="away")])

    @rule(seconds=st.sampled_from([1, 5, 20, 70, 700]))
    def time_passes_for_people(self, seconds: int) -> None:
        self.now = Instant(self.now + seconds * SECOND)
        self._keep(self.composer.tick(self.now))

    @rule()
    def another_composer_takes_over(self) -> None:
        """What one has told, another who has read it does not tell again."""
        due = {(each.kind, each.subject) for each in self.composer.tick(self.now)}
        self._hire()
        again = self.composer.tick(self.now)
        assert {(each.kind, each.subject) for each in again} <= due, (again, due)
        self._keep(again)

    # What must always hold

    @invariant()
    def no_two_have_the_same_id_and_their_order_is_that_of_their_ids(self) -> None:
        numbers = [int(each.id.rpartition("-")[2]) for each in self.told]
        assert numbers == list(range(1, len(numbers) + 1))

    @invariant()
    def nothing_that_stands_is_told_twice(self) -> None:
        for sort in SORTS:
            ranks = [
                (each.subject, RANKS[each.kind][1])
                for each in self.told
                if each.kind in RANKS and RANKS[each.kind][0] is sort and RANKS[each.kind][1] != UNSTEADY
            ]
            for subject in {subject for subject, _ in ranks}:
                ours = [0, *(rank for about, rank in ranks if about == subject)]
                assert all(a != b for a, b in itertools.pairwise(ours)), (sort.prefix, subject, ours)

    @invariant()
    def a_held_signal_is_told_once_a_day_for_each_side(self) -> None:
        held: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
        for each in self.told:
            if each.kind == "signal_held":
                side, this = each.facts["side"], (each.facts["guard"], each.facts["day"])
                assert held[each.subject].get(side) != this
                held[each.subject][side] = this
            elif each.kind == "side_rearmed":
                del held[each.subject][each.facts["side"]]
            elif each.kind == "signal_raised":
                held.pop(each.subject, None)

    @invariant()
    def each_day_is_summed_up_once(self) -> None:
        days = Counter(each.facts["day"] for each in self.told if each.kind == "digest")
        assert not days or max(days.values()) == 1

    @invariant()
    def the_day_is_counted_as_the_books_are(self) -> None:
        if getattr(self, "in_order", False):
            assert self.composer._digest._total == _totals(self.engine.state)

    @invariant()
    def the_days_add_up(self) -> None:
        digests = [each.facts for each in self.told if each.kind == "digest"]
        for name in ("signals", "bought", "sold", "fees", "dividends", "buys", "sells", "held"):
            assert sum(float(each.get(name, "0")) for each in digests) == pytest.approx(
                float(digests[-1][f"from_{name}"]) if digests else 0
            )

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "told"):
            approvals = [each for each in self.told if each.kind == "approval_requested"]
            assert all(each.approval.startswith(each.subject + "/") for each in approvals)
            assert all(each.level is Level.CRITICAL for each in self.told if each.kind == "position_halted")


TestToldLife = pytest.mark.no_cover(pytest.mark.timeout(900)(ToldLife.TestCase))  # A slow machine is no violation.
TestToldLife.settings = settings(max_examples=15, stateful_step_count=50, deadline=None)
