"""Bad rows in a recording: each is a clear refusal, never a wrong trade, never a crash."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from mrdaemon import assembly, chain, config
from mrdaemon.core import events as ev
from mrdaemon.feeds import FeedError
from mrdaemon.places import JOURNAL
from tests.builders import only

CONFIG = """
seed = "1"
[feed]
kind = "file"
files = ["prices.csv"]
[accounts.paper]
broker = "paper"
[portfolios.core]
account = "paper"
reserve = "20000"
zone = "3%"
mode = "auto"
[portfolios.core.positions.AAA]
target = "5000"
initial = "buy"
[portfolios.core.positions.BBB]
target = "5000"
initial = "buy"
"""
HEADER = "timestamp,symbol,price"
GOOD = [
    f"2020-03-09T14:{minute:02d}:00Z,{symbol},{price}"
    for minute, (symbol, price) in enumerate(
        itertools.chain.from_iterable(
            (("AAA", 100 - step * (-1) ** step), ("BBB", 50 + step * (-1) ** step)) for step in range(10)
        )
    )
]
TRADES = (ev.SignalRaised, ev.SignalHeld, ev.OrderIntended, ev.OrderFilled, ev.OrderEnded)

BAD_ROWS = {
    "NaN": "2020-03-09T14:10:00Z,AAA,NaN",
    "zero": "2020-03-09T14:10:00Z,AAA,0",
    "negative": "2020-03-09T14:10:00Z,AAA,-95",
    "infinite": "2020-03-09T14:10:00Z,AAA,inf",
    "huge": "2020-03-09T14:10:00Z,AAA,1e300",
    "too dear to be a share": "2020-03-09T14:10:00Z,AAA,10000001",
    "a word": "2020-03-09T14:10:00Z,AAA,cheap",
    "hexadecimal": "2020-03-09T14:10:00Z,AAA,0x10",
    "empty price": "2020-03-09T14:10:00Z,AAA,",
    "no symbol": "2020-03-09T14:10:00Z,,95",
    "too few fields": "2020-03-09T14:10:00Z",
    "too many fields": "2020-03-09T14:10:00Z,AAA,95,1,2,3",
    "no time": ",AAA,95",
    "no date-time": "yesterday,AAA,95",
    "a number as time": "1583762400,AAA,95",
    "no time zone": "2020-03-09T14:10:00,AAA,90",
    "far in the future": "2150-01-03T14:10:00Z,AAA,90",
    "late": "2020-03-09T13:59:00Z,AAA,90",
    "a week late": "2020-03-02T15:00:00Z,AAA,90",
    "a weekend": "2020-03-14,AAA,90",
    "NUL bytes": "2020-03-09T14:10:00Z,AAA,9\x005",
}


async def run(folder: Path, rows: list[str]) -> list[ev.Event]:
    folder.mkdir(exist_ok=True)
    (folder / "daemon.toml").write_text(CONFIG)
    (folder / "prices.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    chosen = config.read(folder / "daemon.toml", {})
    await assembly.run(chosen, folder / "state", assembly.Options(durable=False))
    return [record.event for record in chain.records(folder / "state" / JOURNAL)]


def trades(events: list[ev.Event]) -> list[ev.Event]:
    return [event for event in events if isinstance(event, TRADES)]


@pytest.mark.parametrize("row", BAD_ROWS.values(), ids=BAD_ROWS)
async def test_a_bad_row_is_told_and_changes_no_trade(tmp_path: Path, row: str) -> None:
    clean = trades(await run(tmp_path / "clean", GOOD))
    events = await run(tmp_path / "dirty", [*GOOD[:10], row, *GOOD[10:]])
    assert trades(events) == clean
    [told] = only(events, ev.RowRefused)
    assert "prices.csv:12: " in told.row
    assert "(got " in told.row
    [ended] = only(events, ev.FeedEnded)
    assert (ended.delivered, ended.refused) == (20, 1)


async def test_the_clean_recording_does_trade(tmp_path: Path) -> None:
    events = await run(tmp_path, GOOD)
    assert len(only(events, ev.SignalRaised)) > 4
    assert not only(events, ev.RowRefused)


async def test_a_duplicate_row_changes_no_trade(tmp_path: Path) -> None:
    clean = trades(await run(tmp_path / "clean", GOOD))
    twice = [row for row in GOOD for _ in range(2)]
    assert trades(await run(tmp_path / "twice", twice)) == clean


async def test_a_symbol_that_is_not_configured_is_told_once_and_traded_never(tmp_path: Path) -> None:
    clean = trades(await run(tmp_path / "clean", GOOD))
    strange = [f"2020-03-09T14:10:{second:02d}Z,ZZZ,{second + 1}" for second in range(30)]
    events = await run(tmp_path / "strange", [*GOOD[:11], *strange, *GOOD[11:]])
    assert trades(events) == clean
    [told] = only(events, ev.PrintRefused)
    assert (told.symbol, told.rule) == ("ZZZ", "not configured")


async def test_a_price_that_leaps_is_traded_when_the_recording_is_believed(tmp_path: Path) -> None:
    events = await run(tmp_path, [*GOOD, "2020-03-09T15:00:00Z,AAA,9999999"])
    assert [signal.side for signal in only(events, ev.SignalRaised)][-1] == "trim"


async def test_a_recording_without_a_usable_row_is_an_error_that_names_the_first_problem(tmp_path: Path) -> None:
    rows = [row for what, row in BAD_ROWS.items() if "late" not in what]
    with pytest.raises(FeedError, match=rf"prices.csv: no usable row \({len(rows)} refused; first: "):
        await run(tmp_path, rows)


async def test_prices_before_the_first_session_of_the_recording_wait_for_it(tmp_path: Path) -> None:
    early = ["2020-03-09T09:00:00Z,AAA,100", "2020-03-09T09:01:00Z,BBB,50"]
    events = await run(tmp_path, [*early, *GOOD])
    first = only(events, ev.SignalRaised)[0]
    assert first.at > only(events, ev.DaemonStarted)[0].at
    assert first.price == 100
