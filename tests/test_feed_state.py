"""How far a live feed is: journaled, shown, and forgotten with the daemon that it belonged to."""

from __future__ import annotations

import json

import pytest

from mrdaemon import show, status
from mrdaemon.core import events as ev
from mrdaemon.core.policy import FeedState
from mrdaemon.core.state import FeedStanding
from mrdaemon.sentences import sentence
from tests.builders import START, Bench, plan, position


def change(bench: Bench, state: FeedState, reason: str = "", feed: str = "iex") -> ev.FeedStateChanged:
    event = ev.FeedStateChanged(at=bench.now, feed=feed, state=state, reason=reason)
    bench.take(bench.engine.record([event]))
    return event


def lines(bench: Bench) -> list[str]:
    found = status.overview(bench.state, "state", bench.now)
    return [each for each in show.status_lines(found) if each.startswith("feed ")]


def test_the_newest_state_of_each_feed_is_known_since_when_and_why() -> None:
    bench = Bench(plan(position()))
    change(bench, FeedState.CONNECTING)
    change(bench, FeedState.LIVE, feed="crypto")
    bench.later(10**9)
    change(bench, FeedState.REFUSED, "insufficient subscription")
    assert bench.state.feeds == {
        "iex": FeedStanding(FeedState.REFUSED, bench.now, "insufficient subscription"),
        "crypto": FeedStanding(FeedState.LIVE, START),
    }


def test_it_survives_a_fold_of_the_journal() -> None:
    bench = Bench(plan(position()))
    change(bench, FeedState.STALE, "no message for 30 s")
    before = bench.state.feeds
    assert bench.restart().state.feeds == before != {}


def test_a_start_forgets_the_feeds_of_the_daemon_before_it() -> None:
    bench = Bench(plan(position()))
    change(bench, FeedState.LIVE)
    bench.take(bench.engine.record([ev.DaemonStarted(at=bench.now, version="test", nonce="m")]))
    assert bench.state.feeds == {}


@pytest.mark.parametrize(
    ("state", "reason", "shown"),
    [
        (FeedState.LIVE, "", "feed iex: live since 2020-09-13 12:26:40Z"),
        (FeedState.STALE, "", "feed iex: STALE since 2020-09-13 12:26:40Z"),
        (FeedState.REFUSED, "auth failed", "feed iex: REFUSED since 2020-09-13 12:26:40Z, auth failed"),
    ],
)
def test_a_status_says_how_far_it_is(state: FeedState, reason: str, shown: str) -> None:
    bench = Bench(plan(position()))
    change(bench, state, reason)
    assert lines(bench) == [shown]


def test_a_status_in_json_says_so_too() -> None:
    bench = Bench(plan(position()))
    change(bench, FeedState.SUBSCRIBED)
    whole = status.overview(bench.state, "state", bench.now)
    assert status.decode(status.encode(whole)) == whole
    assert json.loads(status.encode(whole))["streams"] == [
        {"name": "iex", "state": "subscribed", "since": "2020-09-13T12:26:40Z", "reason": ""}
    ]


def test_it_is_told_in_a_sentence_with_the_reason_where_there_is_one() -> None:
    bench = Bench(plan(position()))
    assert sentence(change(bench, FeedState.LIVE)) == "Feed iex is live."
    assert sentence(change(bench, FeedState.REFUSED, "auth failed")) == (
        "Feed iex is refused: auth failed. It is not tried again by itself."
    )
    assert sentence(change(bench, FeedState.CONNECTING, "it was cut")) == (
        "Feed iex has no connection: it was cut. It is tried again until there is one."
    )
