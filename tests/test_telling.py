"""What a person who watches is told of streams and accounts: trouble once, and once that it is over."""

from __future__ import annotations

import pytest

from mrdaemon.core import events as ev
from mrdaemon.core.policy import FeedState
from mrdaemon.telling import Teller
from tests.builders import START, dollars

CONNECTING, AUTHENTICATED, SUBSCRIBED, LIVE, STALE, REFUSED = FeedState
UP = ((CONNECTING, ""), (AUTHENTICATED, ""), (SUBSCRIBED, ""), (LIVE, ""))
Said = tuple[tuple[FeedState, str], ...]


def changes(said: Said, feed: str = "iex") -> list[ev.Event]:
    return [ev.FeedStateChanged(at=START, feed=feed, state=state, reason=reason) for state, reason in said]


def told(events: list[ev.Event], teller: Teller | None = None) -> list[ev.Event]:
    asked = teller or Teller()
    return [event for event in events if asked.tells(event)]


def lost(reason: str = "it was cut") -> ev.Event:
    return ev.AccountLost(at=START, account="alpaca", reason=reason)


def compared() -> ev.Event:
    return ev.AccountReconciled(at=START, account="alpaca", cash=dollars(1), covered=True)


@pytest.mark.parametrize(
    ("said", "news"),
    [
        (UP, ((LIVE, ""),)),
        (UP[:3], ()),
        ((*UP, (STALE, "mute")), ((LIVE, ""), (STALE, "mute"))),
        ((*UP, (REFUSED, "auth failed")), ((LIVE, ""), (REFUSED, "auth failed"))),
    ],
)
def test_the_end_of_a_way_is_told_and_not_every_step(said: Said, news: Said) -> None:
    assert told(changes(said)) == changes(news)


def test_a_lost_stream_is_told_once_however_often_it_is_tried() -> None:
    tries = ((CONNECTING, "cut"), (CONNECTING, "nobody answers"), (AUTHENTICATED, ""), (CONNECTING, "cut"))
    assert told(changes((*UP, *tries))) == changes(((LIVE, ""), (CONNECTING, "cut")))


def test_a_stream_that_is_back_is_told_once() -> None:
    back = ((CONNECTING, "cut"), *UP[1:])
    assert told(changes((*UP, *back))) == changes(((LIVE, ""), (CONNECTING, "cut"), (SUBSCRIBED, "")))


def test_a_mute_stream_that_is_made_anew_is_told_as_mute_and_as_back() -> None:
    anew = ((STALE, "mute"), (CONNECTING, "mute"), *UP[1:])
    assert told(changes((*UP, *anew))) == changes(((LIVE, ""), (STALE, "mute"), (SUBSCRIBED, "")))


def test_each_loss_is_told_anew() -> None:
    once = ((CONNECTING, "cut"), *UP[1:])
    news = ((CONNECTING, "cut"), (SUBSCRIBED, ""))
    assert told(changes((*UP, *once, *once))) == changes(((LIVE, ""), *news, *news))


def test_a_network_that_is_not_there_at_the_start_is_told() -> None:
    assert told(changes((UP[0], (CONNECTING, "no route")))) == changes(((CONNECTING, "no route"),))


def test_each_stream_is_told_of_by_itself() -> None:
    cut: Said = ((CONNECTING, "cut"),)
    assert len(told([*changes(cut), *changes(cut, "crypto"), *changes(cut)])) == 2


def test_an_account_that_is_compared_again_is_told_once_and_its_usual_comparisons_are_not() -> None:
    assert told([compared(), lost(), compared(), compared()]) == [lost(), compared()]


def test_another_start_begins_anew() -> None:
    teller = Teller()
    teller.tells(lost())
    told(changes(((CONNECTING, "cut"),)), teller)
    teller.tells(ev.DaemonStarted(at=START, version="test", nonce="m"))
    assert told([compared(), *changes(UP)], teller) == changes(((LIVE, ""),))
