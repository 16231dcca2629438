"""The prices of very many symbols that stop, or arrive again, are one alert; nothing is told twice, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest

from mrdaemon.alerts.alert import Alert, Level
from mrdaemon.core import events as ev
from mrdaemon.core.money import Price
from mrdaemon.core.policy import FeedState
from tests.alerted import Office, kinds, texts
from tests.builders import plan, position

COUNT = 1000
ALL = [f"S{n}" for n in range(COUNT)]


@pytest.fixture
def found() -> Office:
    return Office(plan(position()))


def stop(found: Office, symbols: Iterable[str]) -> list[Alert]:
    return found.record(*(ev.PriceStale(at=found.now, symbol=each, since=found.now) for each in symbols))


def go_on(found: Office, symbols: Iterable[str]) -> list[Alert]:
    price = Price(Decimal("99.5"))
    return found.record(*(ev.PriceFresh(at=found.now, symbol=each, price=price) for each in symbols))


def test_a_thousand_symbols_without_prices_are_one_alert(found: Office) -> None:
    [told] = stop(found, ALL)
    assert (told.kind, told.level, told.subject) == ("many_prices_stale", Level.WARNING, "prices")
    assert told.title == "1,000 symbols: no prices"
    assert told.text == (
        "Prices of 1,000 symbols stopped although their markets are open: S0, S1, S2 and 997 more; what they are worth "
        "is unknown, and they do not trade."
    )


def test_twenty_are_told_one_by_one_and_what_else_happened_is_told_too(found: Office) -> None:
    assert kinds(stop(found, ALL[:20])) == ["prices_stale"] * 20
    others = [ev.SignalsPaused(at=found.now, paused=True, by="ada")]
    more = [ev.PriceStale(at=found.now, symbol=each, since=found.now) for each in ALL[20:60]]
    assert sorted(kinds(found.record(*more, *others))) == ["many_prices_stale", "signals_paused"]


def test_many_stop_while_many_others_arrive_again(found: Office) -> None:
    stop(found, ALL[:100])
    stale = [ev.PriceStale(at=found.now, symbol=each, since=found.now) for each in ALL[100:200]]
    fresh = [ev.PriceFresh(at=found.now, symbol=each, price=Price(Decimal(9))) for each in ALL[:100]]
    assert kinds(found.record(*stale, *fresh) + found.wait(60)) == ["many_prices_stale", "many_prices_fresh"]


def test_the_return_of_all_of_them_at_once_is_one_alert(found: Office) -> None:
    stop(found, ALL)
    [told] = go_on(found, ALL)
    assert (told.kind, told.level) == ("many_prices_fresh", Level.NOTICE)
    assert told.text == "Prices of 1,000 symbols arrive again: S0, S1, S2 and 997 more."
    assert found.wait(3600) == []


def test_the_return_of_one_after_the_other_is_one_alert_once_all_are_back(found: Office) -> None:
    stop(found, ALL)
    told = [alert for each in ALL for alert in go_on(found, [each])]
    assert texts(told) == ["Prices of 1,000 symbols arrive again: S0, S1, S2 and 997 more."]


def test_those_that_are_back_are_told_after_a_while_where_others_are_not(found: Office) -> None:
    stop(found, ALL)
    assert go_on(found, ALL[:900]) + found.wait(59) == []
    assert texts(found.wait(1)) == ["Prices of 900 symbols arrive again: S0, S1, S2 and 897 more."]
    assert go_on(found, ALL[900:-1]) + found.wait(59) == []
    assert texts(found.wait(1)) == ["Prices of 99 symbols arrive again: S900, S901, S902 and 96 more."]
    assert texts(go_on(found, ALL[-1:])) == ["Prices of S999 arrive again after 2 minutes: $99.50."]


def test_one_that_came_for_a_moment_only_is_not_told_as_back(found: Office) -> None:
    stop(found, ALL)
    told = go_on(found, ALL[:30]) + stop(found, ALL[:1]) + found.wait(60)
    assert texts(told) == ["Prices of 29 symbols arrive again: S1, S2, S3 and 26 more."]


def test_many_that_come_and_go_are_told_as_one_by_one_would_be(found: Office) -> None:
    for _ in range(2):
        stop(found, ALL)
        go_on(found, ALL)
    begun = len(found.told)
    for _ in range(5):
        found.wait(5)
        stop(found, ALL)
        go_on(found, ALL)
    assert set(kinds(found.since(begun))) <= {"many_prices_unsteady"}
    stop(found, ALL)
    assert kinds(found.wait(120)) == ["many_prices_stale"]


def test_many_that_stop_while_their_feed_is_down_are_no_second_alarm(found: Office) -> None:
    found.record(ev.FeedStateChanged(at=found.now, feed="iex", state=FeedState.LIVE, reason=""))
    found.record(ev.FeedStateChanged(at=found.now, feed="iex", state=FeedState.CONNECTING, reason="cut"))
    assert [each.level for each in stop(found, ALL)] == [Level.INFO]


# Restarts


def restarted(found: Office) -> list[Alert]:
    """Kill it and start it again; gives what is told of prices in the next hour."""
    begun = len(found.told)
    found.restart().start()
    found.wait(3600)
    return [each for each in found.since(begun) if "prices" in each.kind]


def test_a_restart_does_not_repeat_that_many_stopped(found: Office) -> None:
    stop(found, ALL)
    assert restarted(found) == []
    assert texts(go_on(found, ALL)) == ["Prices of 1,000 symbols arrive again: S0, S1, S2 and 997 more."]
    assert restarted(found) == []
    assert kinds(stop(found, ALL)) == ["many_prices_stale"]


def test_several_that_stopped_one_after_the_other_are_all_known_after_a_restart(found: Office) -> None:
    stop(found, ALL[:5])
    stop(found, ALL[5:100])
    stop(found, ALL[100:200])
    go_on(found, ALL[100:200])
    found.wait(60)
    go_on(found, ALL[:1])
    stop(found, ALL[200:202])
    begun = len(found.told)
    assert restarted(found) == []
    go_on(found, [*ALL[1:100], *ALL[200:202]])
    found.wait(60)
    assert sorted(kinds(found.since(begun + 1))) == ["many_prices_fresh", "prices_fresh", "prices_fresh"]
    found.now = found.now.__class__(found.now + 7200 * 10**9)
    assert kinds(stop(found, ALL[:5])) == ["prices_stale"] * 5


def test_a_return_that_a_restart_kept_from_being_told_is_told_after_it(found: Office) -> None:
    stop(found, ALL)
    go_on(found, ALL[:500])
    assert texts(restarted(found)) == ["Prices of 500 symbols arrive again: S0, S1, S2 and 497 more."]
    assert restarted(found) == []


def test_many_that_stand_in_the_journal_and_were_never_told_are_one_alert(found: Office) -> None:
    stop(found, ALL)
    found.told.clear()
    assert kinds(restarted(found)) == ["many_prices_stale"]
    assert restarted(found) == []
