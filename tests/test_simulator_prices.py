"""Where the local Alpaca's prices come from: walks and recordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.prints import Print, Quote, Trade
from mrdaemon.feeds import FeedError
from mrdaemon.simulator.pace import PacedClock
from mrdaemon.simulator.prices import DEMO, FilePrices
from mrdaemon.simulator.standing import NeverCloses
from mrdaemon.simulator.walk import Walk, around

BEGINS = Instant(1_767_623_400_000_000_000)
"""2026-01-05T14:30:00Z."""


# The random walk


def test_a_walk_is_the_same_whoever_walks_along() -> None:
    alone = Walk({"QQQ": 500.0}, "s", BEGINS).take(Instant(BEGINS + 9 * SECOND))
    together = Walk({"SPY": 600.0, "QQQ": 500.0}, "s", BEGINS).take(Instant(BEGINS + 9 * SECOND))
    assert len(alone) == 10
    assert [each for each in together if each[0] == "QQQ"] == alone


def test_symbols_walk_on_their_own() -> None:
    seen = Walk({"SPY": 500.0, "QQQ": 500.0}, "s", BEGINS).take(Instant(BEGINS + 9 * SECOND))
    assert [each[1] for each in seen[::2]] != [each[1] for each in seen[1::2]]


def test_no_symbol_trades_more_than_once_a_millisecond() -> None:
    assert len(Walk({"QQQ": 500.0}, "s", BEGINS, every=0.0).take(Instant(BEGINS + SECOND - 1))) == 1000


@pytest.mark.parametrize("price", [0.0012, 0.9, 1.0, 500.0, 60000.0])
def test_every_trade_of_a_walk_lies_within_its_quote(price: float) -> None:
    for _, at, _, quote, _ in Walk({"X": price}, "s", BEGINS).take(Instant(BEGINS + 999 * SECOND)):
        assert quote is not None
        assert 0 < quote.bid <= at <= quote.ask


@pytest.mark.parametrize(
    ("price", "quote"), [(400.0, Quote(399.98, 400.02)), (1.5, Quote(1.49, 1.51)), (0.5, Quote(0.4995, 0.5005))]
)
def test_a_quote_is_at_least_a_cent_around_its_price(price: float, quote: Quote) -> None:
    assert around(price) == quote


def test_a_walk_goes_on_from_the_price_that_a_split_leaves() -> None:
    walk = Walk({"QQQ": 500.0, "SPY": 600.0}, "s", BEGINS)
    walk.take(BEGINS)
    walk.split("QQQ", 2.0)
    walk.split("NEVER", 2.0)
    (qqq, spy) = walk.take(Instant(BEGINS + SECOND))
    assert qqq[1] == pytest.approx(250.0, rel=0.01)
    assert spy[1] == pytest.approx(600.0, rel=0.01)


# Time


def test_time_runs_as_fast_as_it_is_told_to() -> None:
    machine = iter([5, 5, 15, 15])
    clock = PacedClock(BEGINS, 60.0, lambda: next(machine) * SECOND)
    assert clock.now() == BEGINS
    assert clock.now() == BEGINS + 600 * SECOND
    assert clock.seconds_until(Instant(BEGINS + 1200 * SECOND)) == 10.0


def test_time_is_the_machines_unless_told_otherwise() -> None:
    assert PacedClock(machine=lambda: 7).now() == 7


# Recordings


def recording(folder: Path, *rows: str) -> Path:
    file = folder / "prices.csv"
    file.write_text("\n".join(["timestamp,symbol,price", *rows, ""]))
    return file


async def played(file: Path, clock: PacedClock, faster: float | None) -> list[Print]:
    seen: list[Print] = []

    def see(batch: Sequence[Print]) -> None:
        seen.extend(batch)

    refused: list[object] = []
    await FilePrices([file], NeverCloses(), clock, report=refused.append, faster=faster).run(see)
    return seen


async def test_rows_happen_at_their_own_time_on_a_clock_that_begins_there(tmp_path: Path) -> None:
    file = recording(tmp_path, "2026-01-05T14:29:00Z,QQQ,1.5", "2026-01-05T14:30:05Z,QQQ,2.5")
    (seen,) = await played(file, PacedClock(BEGINS, 1000.0), None)
    assert seen == ("QQQ", 2.5, BEGINS + 5 * SECOND, Quote(2.49, 2.51), Trade("@", 100.0))


async def test_rows_happen_as_if_the_recording_began_now(tmp_path: Path) -> None:
    file = recording(tmp_path, "2020-01-02T00:00:00Z,QQQ,1.5", "2020-01-02T00:10:00Z,SPY,2.5")
    first, second = await played(file, PacedClock(BEGINS, 1000.0), 60.0)
    assert first[2] >= BEGINS
    assert second[2] - first[2] == 10 * SECOND


async def test_nothing_to_play_is_said(tmp_path: Path) -> None:
    with pytest.raises(FeedError):
        await played(recording(tmp_path), PacedClock(BEGINS), 1.0)


def test_a_recording_is_always_there() -> None:
    assert DEMO.is_file()
