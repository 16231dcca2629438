"""How everything stands, in plain lines: accounts that are heard or not, feeds, and reserves."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from mrdaemon import show, status
from mrdaemon.core import events as ev
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import Dollars
from mrdaemon.core.policy import FeedState
from mrdaemon.status import FeedStatus, Status
from tests.builders import Bench, dollars, plan, position

FEED = FeedStatus(
    name="alpaca iex", is_recording=False, delivered=12, refused=0, newest="2020-09-13T12:26:39Z", ended=False
)


def bench(reserve: str = "5000") -> Bench:
    return Bench(plan(position(), reserve=reserve))


def record(live: Bench, *facts: ev.Event) -> None:
    live.take(live.engine.record(list(facts)))


def lost(live: Bench, reason: str) -> ev.Event:
    return ev.AccountLost(at=live.now, account="paper", reason=reason)


def compared(live: Bench, cash: str = "9000") -> ev.Event:
    return ev.AccountReconciled(at=live.now, account="paper", cash=dollars(cash), covered=True)


def whole(live: Bench, feed: FeedStatus | None = None) -> Status:
    return msgspec.structs.replace(status.overview(live.state, "state", live.now), feed=feed)


def stands(live: Bench, feed: str = "alpaca iex", state: FeedState = FeedState.LIVE) -> ev.Event:
    return ev.FeedStateChanged(at=live.now, feed=feed, state=state, reason="")


def account_line(live: Bench) -> str:
    return show.source_lines(whole(live))[-1]


# Accounts


def test_an_account_that_is_heard_says_when_it_was_compared() -> None:
    live = bench()
    record(live, compared(live))
    assert account_line(live) == "account paper (paper): reconciled 2020-09-13 12:26:40Z, cash then $9,000.00"


def test_an_account_that_was_lost_says_since_when_and_why_and_when_it_was_last_compared() -> None:
    live = bench()
    record(live, compared(live))
    live.later(60 * SECOND)
    record(live, lost(live, "its stream is connecting"))
    assert account_line(live) == (
        "account paper (paper): NOT reconciled since 2020-09-13 12:27:40Z: its stream is connecting; no order leaves; "
        "last compared 2020-09-13 12:26:40Z, cash then $9,000.00"
    )


def test_an_account_that_stays_lost_says_the_newest_reason_and_the_first_moment() -> None:
    live = bench()
    record(live, lost(live, "one"))
    live.later(60 * SECOND)
    record(live, lost(live, "two"))
    found = whole(live).accounts[0]
    assert (found.lost, found.lost_since) == ("two", "2020-09-13T12:26:40Z")


def test_an_account_that_is_compared_again_is_lost_no_more() -> None:
    live = bench()
    record(live, lost(live, "one"), compared(live))
    found = whole(live).accounts[0]
    assert (found.lost, found.lost_since, found.ready) == (None, None, True)


def test_a_start_knows_of_no_loss_yet() -> None:
    live = bench()
    record(live, compared(live), lost(live, "one"), ev.DaemonStarted(at=live.now, version="test", nonce="m"))
    assert account_line(live) == (
        "account paper (paper): NOT reconciled; no order leaves; last compared 2020-09-13 12:26:40Z, "
        "cash then $9,000.00"
    )


def test_one_order_is_one_order() -> None:
    live = Bench(plan(position()), fill=False)
    live.prices(100.0, 94.0)
    assert account_line(live).endswith(", 1 order open")


# Feeds


def test_a_feed_of_one_stream_has_one_line() -> None:
    live = bench()
    record(live, stands(live))
    assert show.source_lines(whole(live, FEED))[:-1] == [
        "feed alpaca iex: live since 2020-09-13 12:26:40Z, 12 prints, newest print 2020-09-13 12:26:39Z"
    ]


def test_a_feed_of_two_streams_has_a_line_of_its_own() -> None:
    live = bench()
    record(live, stands(live), stands(live, "alpaca crypto", FeedState.STALE))
    both = FeedStatus(
        name="alpaca iex and alpaca crypto", is_recording=False, delivered=12, refused=1, newest=None, ended=False
    )
    assert show.source_lines(whole(live, both))[:-1] == [
        "feed alpaca iex and alpaca crypto: stream, 12 prints, 1 message refused",
        "feed alpaca iex: live since 2020-09-13 12:26:40Z",
        "feed alpaca crypto: STALE since 2020-09-13 12:26:40Z",
    ]


def test_where_no_daemon_runs_no_stream_is_connected() -> None:
    live = bench()
    record(live, stands(live))
    assert status.journaled(live.state, "state", None).streams == ()
    assert len(status.journaled(live.state, "state", 1).streams) == 1


# Reserves


def test_a_reserve_below_its_floor_is_said_in_capitals() -> None:
    live = bench(reserve="1000")
    fee = ev.FeeBooked(
        at=Instant(live.now), portfolio="core", activity="1", date="2020-09-13", amount=Dollars(Decimal(1001))
    )
    record(live, fee)
    assert show.reserve_lines(whole(live)) == [
        "reserve of core: -$1.00, BELOW ITS FLOOR of $0.00: nothing is bought",
    ]
