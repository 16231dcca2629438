"""The broker's clock against ours, and its market's hours against the calendar: where they differ, nothing trades."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from mrdaemon.brokers import Hours
from mrdaemon.brokers.paper import PaperBroker, PaperRules
from mrdaemon.calendar import ExchangeSessions
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.instant import HOUR, MINUTE, SECOND, Instant, parse
from mrdaemon.core.prints import trade_print
from mrdaemon.core.state import State
from mrdaemon.desk import Desk
from mrdaemon.reconciliation import MAX_SKEW, Reconciler
from tests.builders import Market, dollars, only, plan, position


def utc(text: str) -> Instant:
    found = parse(text)
    assert isinstance(found, int)
    return Instant(found)


OPENS, CLOSES = utc("2026-10-08T13:30:00Z"), utc("2026-10-08T20:00:00Z")
NEXT_OPENS, NEXT_CLOSES = utc("2026-10-09T13:30:00Z"), utc("2026-10-09T20:00:00Z")
NOON = utc("2026-10-08T16:00:00Z")
NIGHT = utc("2026-10-09T02:00:00Z")
ZERO = utc("0001-01-01T00:00:00Z")
"""What a Go program says where it knows no time."""
BY_DAY = Hours(NOON, 0, open=True, next_open=NEXT_OPENS, next_close=CLOSES)
BY_NIGHT = Hours(NIGHT, 0, open=False, next_open=NEXT_OPENS, next_close=NEXT_CLOSES)


class HandSetClock:
    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> Instant:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time = Instant(self.time + round(seconds * SECOND))


class Timekeeping(PaperBroker):
    """A paper broker with a clock of its own."""

    says = BY_DAY

    async def hours(self) -> Hours:
        return self.says


class Room:
    """An account with a share and a pair, and everything that its comparisons came to."""

    def __init__(self, broker: Timekeeping, clock: HandSetClock) -> None:
        self.broker, self.clock = broker, clock
        self.events: list[ev.Event] = []
        self.engine = Engine(State(), Market())
        brokers = {"paper": broker}
        desk = Desk(self.engine, brokers, clock, self.commit, Path("no-such-file"))
        self.reconciler = Reconciler(self.engine, brokers, clock, desk, ExchangeSessions())
        self.engine.record([ev.DaemonStarted(at=clock.now(), version="test", nonce="n")])
        positions = [position(symbol, None, initial=True) for symbol in ("QQQ", "BTC/USD")]
        self.engine.configure(plan(*positions, reserve="20000"), clock.now())

    async def commit(self, events: Sequence[ev.Event]) -> None:
        self.events += events

    async def compare(self, theirs: Hours, ours: Instant | None = None) -> list[ev.Event]:
        """Compare with a broker that says these hours, at the same time by our clock unless told otherwise."""
        self.broker.says = theirs
        self.clock.time = theirs.now if ours is None else ours
        begun = len(self.events)
        await self.reconciler.reconcile("paper")
        return [each for each in self.events[begun:] if isinstance(each, ev.SessionsDisputed | ev.SessionsAgreed)]

    def trades(self, symbol: str) -> bool:
        now = self.clock.now()
        return bool(only(self.engine.prints([trade_print(symbol, 100.0, now)], now), ev.OrderIntended))

    @property
    def disputed(self) -> str | None:
        return self.engine.state.accounts["paper"].disputed


@pytest.fixture
async def room(tmp_path: Path) -> Room:
    clock = HandSetClock()
    rules = PaperRules(cash=dollars(100_000))
    broker = await Timekeeping(tmp_path / "paper.db", rules, Market(), clock.now).__aenter__()
    return Room(broker, clock)


# The time


@pytest.mark.parametrize("ahead", [-1, 1])
async def test_a_clock_that_differs_by_more_than_two_seconds_is_disputed_for_shares_and_pairs(
    room: Room, ahead: int
) -> None:
    [disputed] = await room.compare(BY_DAY, Instant(NOON + ahead * (MAX_SKEW + 1)))
    assert isinstance(disputed, ev.SessionsDisputed)
    assert not disputed.hours
    assert disputed.reason == "the broker's clock says 2026-10-08T16:00:00Z, ours differs by 2.0 s"
    assert not room.trades("QQQ")
    assert not room.trades("BTC/USD")


@pytest.mark.parametrize("ahead", [-1, 1])
async def test_a_clock_may_differ_by_two_seconds_and_by_what_its_answer_took(room: Room, ahead: int) -> None:
    assert await room.compare(BY_DAY, Instant(NOON + ahead * MAX_SKEW)) == []
    late = BY_DAY._replace(late=3 * SECOND)
    assert await room.compare(late, Instant(NOON + ahead * (MAX_SKEW + 3 * SECOND))) == []
    assert len(await room.compare(late, Instant(NOON + ahead * (MAX_SKEW + 3 * SECOND + 1)))) == 1


# The hours


@pytest.mark.parametrize("now", [BY_DAY, BY_NIGHT])
async def test_hours_that_agree_let_shares_and_pairs_trade(room: Room, now: Hours) -> None:
    assert await room.compare(now) == []
    assert room.trades("QQQ")
    assert room.trades("BTC/USD")


DIFFERENT = {
    "a holiday that the calendar does not know": BY_DAY._replace(
        open=False, next_open=NEXT_OPENS, next_close=NEXT_CLOSES
    ),
    "a session that the calendar does not know": BY_NIGHT._replace(open=True, next_close=Instant(NIGHT + HOUR)),
    "an early close": BY_DAY._replace(next_close=Instant(CLOSES - 3 * HOUR)),
    "a late opening": BY_NIGHT._replace(next_open=Instant(NEXT_OPENS + 30 * MINUTE)),
    "a close two seconds off": BY_DAY._replace(next_close=Instant(CLOSES + 2 * SECOND)),
}


@pytest.mark.parametrize("what", DIFFERENT)
async def test_where_only_the_hours_differ_only_shares_are_held(room: Room, what: str) -> None:
    [disputed] = await room.compare(DIFFERENT[what])
    assert isinstance(disputed, ev.SessionsDisputed)
    assert disputed.hours
    assert "the broker says " in disputed.reason
    assert "; the calendar says " in disputed.reason
    assert not room.trades("QQQ")
    assert room.trades("BTC/USD")


async def test_hours_may_differ_by_less_than_a_second(room: Room) -> None:
    assert await room.compare(BY_DAY._replace(next_close=Instant(CLOSES + SECOND - 1))) == []


# At the very second of a change


AT_THE_CHANGE = {
    "the opening, seen late": Hours(Instant(OPENS + SECOND // 2), 0, open=False, next_open=OPENS, next_close=CLOSES),
    "the opening, seen early": Hours(
        Instant(OPENS - SECOND // 2), 0, open=True, next_open=NEXT_OPENS, next_close=CLOSES
    ),
    "the close, seen late": Hours(Instant(CLOSES + SECOND // 2), 0, open=True, next_open=NEXT_OPENS, next_close=CLOSES),
    "the close, seen early": Hours(
        Instant(CLOSES - SECOND // 2), 0, open=False, next_open=NEXT_OPENS, next_close=NEXT_CLOSES
    ),
    "the close itself": Hours(CLOSES, 0, open=False, next_open=NEXT_OPENS, next_close=NEXT_CLOSES),
    "the opening itself": Hours(OPENS, 0, open=False, next_open=OPENS, next_close=CLOSES),
}


@pytest.mark.parametrize("what", AT_THE_CHANGE)
async def test_at_the_very_second_of_a_change_both_are_right(room: Room, what: str) -> None:
    assert await room.compare(AT_THE_CHANGE[what]) == []
    assert room.disputed is None


@pytest.mark.parametrize("what", AT_THE_CHANGE)
async def test_at_the_very_second_of_a_change_no_dispute_is_settled(room: Room, what: str) -> None:
    await room.compare(DIFFERENT["an early close"])
    assert await room.compare(AT_THE_CHANGE[what]) == []
    assert room.disputed is not None


@pytest.mark.parametrize("seconds", [-2, 2])
@pytest.mark.parametrize("change", [OPENS, CLOSES])
async def test_two_seconds_from_a_change_they_must_agree(room: Room, change: Instant, seconds: int) -> None:
    now = Instant(change + seconds * SECOND)
    is_open = OPENS <= now <= CLOSES
    opens, closes = (NEXT_OPENS, CLOSES) if now > OPENS else (OPENS, CLOSES)
    said = Hours(now, 0, is_open, opens, closes if now < CLOSES else NEXT_CLOSES)
    assert await room.compare(said) == []
    assert len(await room.compare(said._replace(open=not is_open))) == 1


# On and off


async def test_a_dispute_is_told_once_and_its_end_once(room: Room) -> None:
    different = DIFFERENT["an early close"]
    assert len(await room.compare(different)) == 1
    assert await room.compare(different._replace(now=Instant(NOON + MINUTE))) == []
    [agreed] = await room.compare(BY_DAY._replace(now=Instant(NOON + 2 * MINUTE)))
    assert isinstance(agreed, ev.SessionsAgreed)
    assert await room.compare(BY_DAY._replace(now=Instant(NOON + 3 * MINUTE))) == []
    assert room.trades("QQQ")


async def test_a_dispute_about_the_hours_may_become_one_about_the_time_and_back(room: Room) -> None:
    different = DIFFERENT["an early close"]
    kinds = []
    for ours in (NOON, Instant(NOON + MINUTE), NOON):
        [disputed] = await room.compare(different, ours)
        assert isinstance(disputed, ev.SessionsDisputed)
        kinds.append(disputed.hours)
    assert kinds == [True, False, True]
    [agreed] = await room.compare(BY_DAY)
    assert isinstance(agreed, ev.SessionsAgreed)


# What no clock says


@pytest.mark.parametrize("at", [ZERO, Instant(0), utc("1969-12-31T23:59:59Z"), utc("2201-01-01T00:00:00Z")])
async def test_a_time_that_is_none_is_disputed_and_no_fault(room: Room, at: Instant) -> None:
    [disputed] = await room.compare(Hours(at, 0, open=False, next_open=at, next_close=at), NOON)
    assert isinstance(disputed, ev.SessionsDisputed)
    assert not disputed.hours
    assert not room.trades("BTC/USD")


@pytest.mark.parametrize("field", ["next_open", "next_close"])
@pytest.mark.parametrize("at", [ZERO, Instant(0), utc("2201-01-01T00:00:00Z")])
async def test_hours_that_are_none_are_disputed_and_no_fault(
    room: Room, field: Literal["next_open", "next_close"], at: Instant
) -> None:
    [disputed] = await room.compare(
        BY_DAY._replace(next_open=at) if field == "next_open" else BY_DAY._replace(next_close=at)
    )
    assert isinstance(disputed, ev.SessionsDisputed)
    assert disputed.hours
    assert msgspec.json.decode(ev.encode(disputed))
