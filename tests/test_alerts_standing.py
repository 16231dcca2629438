"""What comes and goes is told once, and its end once; what flaps is told as flapping; a restart repeats nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mrdaemon.alerts.alert import Alert, Level, Topic
from mrdaemon.core import events as ev
from mrdaemon.core.commands import Deposit, SetTarget, Withdraw
from mrdaemon.core.instant import DAY, HOUR, Instant, iso
from mrdaemon.core.policy import ChannelState, FeedState, PrintRules
from mrdaemon.sentences import sentence
from tests.alerted import Office, kinds, texts
from tests.builders import START, dollars, plan, position

CONNECTING, _, SUBSCRIBED, LIVE, STALE, REFUSED = FeedState
HOUR_S = 3600


def office(**changes: Any) -> Office:
    found = Office(plan(position()), **changes)
    feed(found, CONNECTING, "")
    feed(found, SUBSCRIBED, "")
    feed(found, LIVE, "")
    return found


def feed(found: Office, state: FeedState, reason: str = "it was cut") -> list[Alert]:
    return found.record(ev.FeedStateChanged(at=found.now, feed="iex", state=state, reason=reason))


def flap(found: Office, times: int, lost: int, back: int) -> list[Alert]:
    """Lose the feed for some seconds and have it back for some, again and again."""
    told = []
    for _ in range(times):
        told += feed(found, CONNECTING) + found.wait(lost) + feed(found, LIVE) + found.wait(back)
    return told


def lose(found: Office) -> list[Alert]:
    return feed(found, CONNECTING) + found.wait(20)


# A loss, and a return


def test_the_first_connection_is_no_news() -> None:
    found = office()
    assert [each for each in found.told if each.kind.startswith("feed")] == []


def test_a_reconnect_of_a_few_seconds_wakes_nobody() -> None:
    assert flap(office(), 1, lost=10, back=60) == []


def test_a_loss_that_lasts_is_told_once_however_often_it_is_tried() -> None:
    found = office()
    told = lose(found) + feed(found, CONNECTING, "nobody answers") + found.wait(HOUR_S)
    assert kinds(told) == ["feed_lost"]
    assert (told[0].level, told[0].subject) == (Level.WARNING, "feed iex")
    assert told[0].text == (
        "Feed iex has no connection since 2020-09-13 12:26 UTC: it was cut; it is tried again until there is one."
    )


def test_a_return_is_told_once_with_how_long_it_took() -> None:
    found = office()
    lose(found)
    found.wait(580)
    told = feed(found, SUBSCRIBED) + feed(found, LIVE)
    assert texts(told) == ["Feed iex is back after 10 minutes."]


def test_worse_is_told_at_once() -> None:
    found = office()
    told = feed(found, STALE, "nothing for 60 s") + feed(found, REFUSED, "auth failed")
    assert kinds(told) == ["feed_stale", "feed_refused"]
    assert [each.level for each in told] == [Level.WARNING, Level.CRITICAL]


def test_a_mute_feed_that_is_made_anew_is_not_told_as_lost_too() -> None:
    found = office()
    told = feed(found, STALE) + feed(found, CONNECTING, "mute") + found.wait(HOUR_S) + feed(found, LIVE)
    assert kinds(told) == ["feed_stale", "feed_recovered"]


def test_without_a_time_to_settle_a_loss_is_told_at_once() -> None:
    assert kinds(feed(office(settle=0), CONNECTING)) == ["feed_lost"]


def test_a_feed_that_is_lost_for_long_in_an_open_market_needs_a_person() -> None:
    found = Office(plan(position(), prints=PrintRules(confirm=0, max_jump=None, stale_after=300)))
    found.prices(100)
    feed(found, LIVE)
    told = lose(found) + found.wait(HOUR_S) + feed(found, LIVE)
    assert [(each.kind, each.level) for each in told] == [
        ("feed_lost", Level.WARNING),
        ("prices_stale", Level.INFO),
        ("feed_lost_long", Level.CRITICAL),
        ("feed_recovered", Level.NOTICE),
    ]
    assert told[2].text == (
        "Feed iex brings no prices since 2020-09-13 12:26 UTC: it was cut, and a market is open: what is held is not "
        "watched."
    )


def test_a_feed_that_is_mute_for_long_needs_a_person_too() -> None:
    found = office()
    found.record(ev.PriceStale(at=found.now, symbol="QQQ", since=found.now))
    assert kinds(feed(found, STALE) + found.wait(HOUR_S)) == ["feed_stale", "feed_lost_long"]


def test_a_feed_that_is_lost_while_no_price_is_missed_lets_people_sleep() -> None:
    found = office()
    assert kinds(lose(found) + found.wait(HOUR_S)) == ["feed_lost"]


# Flapping


def test_a_loss_soon_after_a_return_must_last_before_it_is_told() -> None:
    found = office()
    lose(found)
    feed(found, LIVE)
    found.wait(30)
    assert feed(found, CONNECTING) + found.wait(59) == []
    assert kinds(found.wait(2)) == ["feed_lost"]


def test_many_short_losses_are_told_as_one() -> None:
    found = office()
    told = flap(found, 8, lost=10, back=40)
    assert kinds(told) == ["feed_unsteady"]
    assert told[0].text == (
        "Feed iex was lost 3 times since 2020-09-13 12:26 UTC, each time for a short while: it was cut."
    )


def test_a_feed_that_comes_and_goes_for_hours_is_told_a_few_times() -> None:
    told = flap(office(), 60, lost=70, back=50)
    assert len(told) <= 10


def test_a_loss_after_short_ones_says_how_many_there_were() -> None:
    found = office()
    flap(found, 2, lost=10, back=40)
    assert texts(lose(found)) == [
        (
            "Feed iex has no connection since 2020-09-13 12:28 UTC: it was cut, after 2 times for a short while; it is "
            "tried again until there is one."
        )
    ]


def test_short_losses_that_lie_hours_apart_are_no_news() -> None:
    assert flap(office(digest=False), 9, lost=10, back=2 * HOUR_S) == []


def test_after_a_steady_hour_a_loss_is_a_first_one() -> None:
    found = office()
    flap(found, 2, lost=20, back=HOUR_S + 1)
    assert kinds(feed(found, CONNECTING) + found.wait(16)) == ["feed_lost"]


# Restarts


def test_a_restart_while_a_feed_is_down_tells_neither_the_loss_nor_a_return_again() -> None:
    found = office()
    lose(found)
    begun = len(found.told)
    for _ in range(2):
        found.restart().start()
        feed(found, CONNECTING, "")
        feed(found, CONNECTING, "still cut")
        found.wait(HOUR_S)
    assert set(kinds(found.since(begun))) == {"started"}
    assert kinds(feed(found, LIVE)) == ["feed_recovered"]
    found.restart().start()
    assert feed(found, CONNECTING, "") + feed(found, LIVE, "") == []


def test_a_loss_soon_after_a_return_must_last_also_after_a_restart() -> None:
    found = office()
    lose(found)
    feed(found, LIVE)
    found.restart()
    assert feed(found, CONNECTING) + found.wait(50) == []


def test_a_loss_that_a_restart_made_untold_is_told_if_it_goes_on() -> None:
    found = office()
    feed(found, CONNECTING)
    found.restart().start()
    assert found.wait(HOUR_S) == []
    assert kinds(lose(found)) == ["feed_lost"]


def test_what_stands_in_the_journal_and_was_never_told_is_told() -> None:
    found = office()
    found.record(
        ev.PriceStale(at=found.now, symbol="QQQ", since=found.now),
        ev.SessionsDisputed(at=found.now, account="paper", reason="the broker says closed"),
        ev.ChannelStateChanged(at=found.now, channel="phone", state=ChannelState.REFUSED, reason="no such device"),
    )
    found.told.clear()
    assert kinds(found.restart().wait(1)) == ["prices_stale", "sessions_disputed", "channel_refused"]
    assert found.restart().wait(1) == []


# Accounts


def account(found: Office, *, lost: bool) -> list[Alert]:
    if lost:
        return found.record(ev.AccountLost(at=found.now, account="paper", reason="cut off"))
    return found.record(ev.AccountReconciled(at=found.now, account="paper", cash=dollars(10**9), covered=True))


def test_an_account_is_told_as_lost_once_it_lasts_and_as_back() -> None:
    found = office()
    told = account(found, lost=True) + found.wait(20) + account(found, lost=True) + account(found, lost=False)
    assert texts(told) == [
        "The broker of account paper cannot be heard since 2020-09-13 12:26 UTC: cut off; no order leaves until it is.",
        "The broker of account paper is heard again after 20 seconds, and was compared with; orders may leave.",
    ]


def test_an_account_that_is_lost_for_long_needs_a_person_once_a_market_is_open() -> None:
    found = office()
    found.now = Instant(START // DAY * DAY + 3 * HOUR)  # The market opens at six.
    told = account(found, lost=True) + found.wait(3 * HOUR_S - 60)
    assert kinds(told) == ["account_lost"]
    [long] = found.restart().wait(HOUR_S)
    assert (long.kind, long.level) == ("account_lost_long", Level.CRITICAL)
    assert found.wait(HOUR_S) + found.restart().wait(HOUR_S) == []


def test_a_start_gives_a_lost_account_its_time_again() -> None:
    found = office()
    account(found, lost=True)
    found.wait(800)
    begun = len(found.told)
    found.restart().start()
    account(found, lost=True)
    found.wait(800)
    assert kinds(found.since(begun)) == ["started"]
    assert kinds(found.wait(110)) == ["account_lost_long"]


def test_usual_comparisons_are_no_news() -> None:
    found = office()
    assert account(found, lost=False) + account(found, lost=False) == []


def test_cash_that_does_not_cover_the_reserves_is_told_once_and_that_it_does_again() -> None:
    found = office()
    short = ev.AccountReconciled(at=found.now, account="paper", cash=dollars(100), covered=False)
    told = found.record(short) + found.wait(20) + found.record(short) + found.restart().record(short)
    told += account(found, lost=False)
    assert texts(told) == [
        (
            "Account paper has $100.00 in cash at its broker, less than the reserves that rest on it; nothing is "
            "bought until it has more, or the reserves are less."
        ),
        "The cash of account paper covers its reserves again; it buys again.",
    ]


def test_a_deposit_that_no_cash_covers_is_told_unless_a_comparison_finds_it_in_time() -> None:
    found = office()
    assert account(found, lost=False) == []
    huge = Deposit(portfolio="core", amount=dollars(10**10), by="ada")
    found.command(huge)
    assert found.wait(10) + account(found, lost=False) == []
    found.command(huge)
    assert kinds(found.wait(HOUR_S)) == ["account_uncovered"]


def test_a_dispute_about_hours_is_told_and_its_end() -> None:
    found = office()
    told = found.record(ev.SessionsDisputed(at=found.now, account="paper", reason="the broker says closed"))
    told += found.restart().record(ev.SessionsAgreed(at=found.now, account="paper"))
    assert kinds(told) == ["sessions_disputed", "sessions_agreed"]


# Prices of one symbol


def test_prices_that_stop_are_told_and_that_they_are_back() -> None:
    found = Office(plan(position(), prints=PrintRules(confirm=0, max_jump=None, stale_after=300)))
    found.prices(100)
    told = found.wait(320)
    assert texts(told) == [
        (
            "There is no price of QQQ since 2020-09-13 12:26 UTC although its market is open: what it is worth is "
            "unknown, and it does not trade."
        )
    ]
    begun = len(found.told)
    found.prices(99.5)
    assert texts(found.since(begun)) == ["Prices of QQQ arrive again after 5 minutes: $99.50."]


def test_prices_that_stop_because_the_feed_did_are_no_second_alarm() -> None:
    found = office()
    lose(found)
    [told] = found.record(ev.PriceStale(at=found.now, symbol="QQQ", since=found.now))
    assert (told.kind, told.level) == ("prices_stale", Level.INFO)


# Channels


@pytest.mark.parametrize("state", [ChannelState.DOWN, ChannelState.REFUSED])
def test_a_channel_that_is_away_is_told_through_the_others(state: ChannelState) -> None:
    found = office()

    def stands(how: ChannelState) -> list[Alert]:
        return found.record(ev.ChannelStateChanged(at=found.now, channel="phone", state=how, reason="no route"))

    told = stands(state) + found.wait(20) + stands(state) + stands(ChannelState.UP)
    assert [each.subject for each in told] == ["channel phone"] * 2
    assert told[1].text.startswith("Channel phone takes alerts again after ")


@pytest.mark.parametrize("state", [ChannelState.DOWN, ChannelState.REFUSED])
def test_that_no_answers_come_in_says_what_to_do_instead(state: ChannelState) -> None:
    found = office()

    def stands(how: ChannelState, reason: str = "") -> list[Alert]:
        return found.record(ev.ChannelStateChanged(at=found.now, channel="answers", state=how, reason=reason))

    since = iso(found.now)[:16].replace("T", " ")
    told = stands(state, "answers.token is wrong") + found.wait(20) + stands(ChannelState.UP)
    lost, back = texts(told)
    assert lost == (
        f"No answers come in over the topic of the answers since {since} UTC: answers.token is wrong. "
        "Buttons do nothing until it is back; mrdaemon approve does."
    )
    assert back == "Answers come in over the topic of the answers again after 20 seconds: buttons work."
    assert [(each.subject, each.topic, each.level) for each in told] == [
        ("channel answers", Topic.CHANNEL, Level.WARNING),
        ("channel answers", Topic.CHANNEL, Level.NOTICE),
    ]


@pytest.mark.parametrize("state", [ChannelState.DOWN, ChannelState.REFUSED])
def test_the_journal_says_of_the_topic_of_the_answers_that_buttons_do_nothing(state: ChannelState) -> None:
    changed = ev.ChannelStateChanged(at=START, channel="answers", state=state, reason="HTTP 403")
    assert sentence(changed) == (
        "No answers come in over the topic of the answers: HTTP 403. Buttons do nothing until it is back; "
        "mrdaemon approve does."
    )
    back = ev.ChannelStateChanged(at=START, channel="answers", state=ChannelState.UP, reason="")
    assert sentence(back) == "Answers come in over the topic of the answers."


# Reserves


def reserve(found: Office, amount: str) -> list[Alert]:
    """Bring the reserve to an amount, by hand; gives what was told of how it stands."""
    begun = len(found.told)
    more = dollars(amount) - found.state.portfolios["core"].reserve
    kind = Deposit if more > 0 else Withdraw
    found.command(kind(portfolio="core", amount=dollars(abs(more)), by="ada"))
    return [each for each in found.since(begun) if each.kind not in {"reserve_deposited", "reserve_withdrawn"}]


def later(found: Office) -> Office:
    found.now = Instant(found.now + DAY)
    return found


def test_a_reserve_is_told_as_low_as_empty_and_as_filled_again() -> None:
    found = office()
    told = reserve(found, "249.99") + reserve(found, "0.50") + reserve(later(found), "1000")
    assert texts(told) == [
        "The reserve of core is low: it has $249.99 to spend, for targets of $5,000.00.",
        (
            "The reserve of core is empty: it has $0.50 to spend, for targets of $5,000.00; nothing is bought until "
            "more is put into it or something is sold."
        ),
        "The reserve of core has $1,000.00 to spend, for targets of $5,000.00; that is enough again.",
    ]


def test_a_reserve_that_hovers_around_what_is_low_is_told_once() -> None:
    found = office()
    told = reserve(found, "249") + reserve(later(found), "251") + reserve(later(found), "240")
    assert kinds(told) == ["reserve_low"]
    assert kinds(reserve(later(found), "312.50")) == ["reserve_recovered"]


def test_a_low_reserve_is_not_told_again_after_a_restart() -> None:
    found = office()
    reserve(found, "200")
    begun = len(found.told)
    found.restart().start()
    assert kinds(found.since(begun)) == ["started"]
    assert kinds(reserve(later(found), "100")) == []


def test_a_floor_counts_as_spent() -> None:
    found = Office(plan(position(), portfolio={"floor": dollars(4800)}))
    [told] = [each for each in found.told if each.kind == "reserve_low"]
    assert told.text == (
        "The reserve of core is low: it has $200.00 to spend above its floor of $4,800.00, for targets of $5,000.00."
    )


def test_a_larger_target_may_make_a_reserve_low() -> None:
    found = office()
    reserve(found, "300")
    begun = len(found.told)
    found.command(SetTarget(portfolio="core", symbol="QQQ", target=dollars(7000), by="ada"))
    assert kinds(found.since(begun)) == ["target_changed", "reserve_low"]


def test_an_empty_reserve_from_the_beginning_is_told_once() -> None:
    found = Office(plan(position(), reserve="0"))
    found.restart().start()
    assert kinds(found.told).count("reserve_empty") == 1


def test_lines_of_one_kind_are_told_apart_by_their_subject() -> None:
    found = office()
    other = [
        ev.FeedStateChanged(at=found.now, feed=name, state=REFUSED, reason="auth failed") for name in ("iex", "coins")
    ]
    told: Sequence[Alert] = found.record(*other)
    assert [each.subject for each in told] == ["feed iex", "feed coins"]
