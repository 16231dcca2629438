"""Where the simulator's prices come from: a random walk, recorded files, or whoever asks the control endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from mrdaemon.core.instant import Instant
from mrdaemon.core.prints import Bar, Print, Trade, trade_print
from mrdaemon.feeds.file import FileFeed
from mrdaemon.simulator.walk import Walk, around

if TYPE_CHECKING:
    from mrdaemon.core.sessions import Calendar
    from mrdaemon.feeds.csvrows import RowProblem
    from mrdaemon.simulator.pace import PacedClock

See = Callable[[Sequence[Print]], None]
"""Takes prices in."""
DEMO: Final = Path(__file__).parent.parent / "data" / "demo.csv"
"""The bundled recording."""


class Prices(Protocol):
    """A source of prices."""

    async def run(self, see: See) -> None:
        """Hand over prices as their time comes, until there are no more."""


class WalkPrices:
    """A random walk, without end."""

    def __init__(self, walk: Walk, clock: PacedClock) -> None:
        self._walk = walk
        self._clock = clock

    async def run(self, see: See) -> None:
        """Hand over each step."""
        while True:
            await self._clock.reach(self._walk.due)
            see(self._walk.take(self._clock.now()))
            await asyncio.sleep(0)


class FilePrices:
    """Recorded files: rows happen at their own time, or as if the recording had begun now, so many times faster."""

    def __init__(
        self,
        files: Sequence[Path],
        calendar: Calendar,
        clock: PacedClock,
        *,
        report: Callable[[RowProblem], None],
        faster: float | None = None,
    ) -> None:
        """Set up a replay.

        Args:
            files: CSV files of ticks or bars.
            calendar: the sessions by whose closes dated rows are placed.
            clock: the simulator's.
            report: told of each row that cannot be used.
            faster: begin with the first row now, and let the gaps between rows pass so many times as fast. None takes
                the rows' own time, for a clock that starts where the recording does; rows before that are left out.
        """
        self._feed = FileFeed(files, calendar=calendar, newest=clock.now(), report=report)
        self._clock = clock
        self._faster = faster

    async def run(self, see: See) -> None:
        """Hand over each row.

        Raises:
            FeedError: there is nothing to read, and why.
        """
        begins = self._clock.now()
        first = self._feed.begins()

        async def deliver(batch: Sequence[Print], cursor: int | None) -> None:  # noqa: ARG001 - it is never read again
            for row in batch:
                at = row[2]
                if self._faster is not None and first is not None:
                    at = Instant(begins + int((at - first) / self._faster))
                elif at < begins:
                    continue
                await self._clock.reach(at)
                see([_as_trade(row, at)])

        await self._feed.run(deliver)


def _as_trade(row: Print, at: Instant) -> Print:
    """Tell a recorded row as a trade now, with a quote around it: a stream has no bare prices."""
    symbol, price, _, quote, source = row
    if source is None:
        return (symbol, price, at, quote, None)
    size = source.volume if isinstance(source, Bar) else source.size
    conditions = source.conditions if isinstance(source, Trade) else ""
    return trade_print(symbol, price, at, Trade(conditions or "@", size or 100.0), quote or around(price))
