"""What fails to find words costs its own alert: everything else of the commit is told, and of the event plain words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from mrdaemon.alerts import stops
from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.alerts.digest import Digest
from mrdaemon.alerts.questions import Questions
from mrdaemon.alerts.refusals import Refusals
from mrdaemon.alerts.reserves import Reserves
from mrdaemon.alerts.saying import Saying
from mrdaemon.alerts.troubles import Troubles
from mrdaemon.core import events as ev
from mrdaemon.core.policy import FeedState, TradingState
from tests.alerted import Office, kinds
from tests.builders import plan, position


def breaks(*_: Any) -> Any:
    message = "no words"
    raise ZeroDivisionError(message)


def breaks_later(_: Any, event: ev.CommandRefused) -> Iterator[Saying]:
    yield Saying(level=Level.INFO, topic=Topic.DAEMON, kind="half", subject="x", title="Half", text="Half.")
    breaks()


def paused(found: Office) -> ev.SignalsPaused:
    return ev.SignalsPaused(at=found.now, paused=True, symbol="QQQ", by="ada")


def halted(found: Office) -> ev.TradingStateChanged:
    return ev.TradingStateChanged(at=found.now, state=TradingState.HALTED, by="ada")


def refused(found: Office) -> ev.CommandRefused:
    return ev.CommandRefused(at=found.now, command="Approve", by="ada", reason="there is none")


@pytest.fixture
def speechless(monkeypatch: pytest.MonkeyPatch) -> Office:
    """An office that has no words for a pause."""
    monkeypatch.setattr(stops.says, "words", stops.says.words | {ev.SignalsPaused: breaks})
    return Office(plan(position()))


def test_an_event_without_words_is_told_in_plain_ones_and_the_others_of_its_commit_in_theirs(
    speechless: Office,
) -> None:
    told = speechless.record(halted(speechless), paused(speechless), refused(speechless))
    assert kinds(told) == ["trading_state", "untold", "command_refused"]
    assert (told[1].level, told[1].title, told[1].text, told[1].subject, told[1].symbol, told[1].at) == (
        Level.WARNING,
        "Signals paused",
        "Signals of QQQ are paused, by ada.",
        "signals_paused QQQ",
        "QQQ",
        speechless.now,
    )


def test_ids_go_on_without_a_gap(speechless: Office) -> None:
    speechless.record(paused(speechless), halted(speechless))
    assert [each.id for each in speechless.told] == [f"n-{n}" for n in range(1, len(speechless.told) + 1)]


def test_what_has_no_words_is_logged_with_what_went_wrong(speechless: Office) -> None:
    with capture_logs() as logs:
        speechless.record(paused(speechless))
    [entry] = logs
    assert (entry["log_level"], entry["kind"], entry["exc_info"]) == ("error", "signals_paused", True)


def test_what_was_said_before_words_failed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Refusals, "command", breaks_later)
    found = Office(plan(position()))
    assert kinds(found.record(refused(found))) == ["half", "untold"]


def test_where_even_plain_words_fail_the_others_are_told(speechless: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrdaemon.alerts.untold.sentence", breaks)
    assert kinds(speechless.record(paused(speechless), halted(speechless))) == ["trading_state"]


@pytest.mark.parametrize("part", [Troubles, Questions, Reserves, Digest])
def test_what_fails_in_time_costs_nothing_else_and_is_logged_once(part: type, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Office(plan(position()))
    found.record(ev.FeedStateChanged(at=found.now, feed="iex", state=FeedState.LIVE, reason=""))
    monkeypatch.setattr(part, "tick", breaks)
    found.composer._digest.due = found.now
    with capture_logs() as logs:
        told = found.record(ev.FeedStateChanged(at=found.now, feed="iex", state=FeedState.CONNECTING, reason="cut"))
        told += found.record(halted(found)) + found.wait(30)
    assert {"trading_state", "feed_lost"} - set(kinds(told)) == ({"feed_lost"} if part is Troubles else set())
    assert [(each["log_level"], each["part"]) for each in logs] == [("error", part.__name__)]
