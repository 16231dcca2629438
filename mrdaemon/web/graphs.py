"""The lines of a dashboard: prices of the trading day, and reserves over time.

Prices are looked at a few times a second, beside the loop that decides; nothing is stored. So a line begins with the
start of the daemon at the earliest. That of a reserve begins where the journal does, or its older snapshot.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

import structlog

from mrdaemon import chain, pulse
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import CENT, Dollars
from mrdaemon.core.portfolio import apply
from mrdaemon.core.prints import Print
from mrdaemon.core.sessions import EARLIEST, LATEST
from mrdaemon.daemon import Daemon
from mrdaemon.web.answered import PriceLine, ReserveLine
from mrdaemon.web.lines import Line
from mrdaemon.web.news import News

LOOK_EVERY: Final = 0.25
"""Seconds between two looks, at the least."""
PART: Final = 0.005
"""The part of the time that looking may take: with thousands of symbols, their lines have fewer points."""
SLICE: Final = 200
"""Symbols that are looked at before prices get their turn again."""
BREATH: Final = 200
"""Events of the journal that are folded at a time; the thread sleeps in between, for the loop's sake."""
AGAIN: Final = 5.0
_MS: Final = 1_000_000

log: Final = structlog.get_logger("mrdaemon.web")


class Graphs:
    """The lines of one daemon."""

    def __init__(self, daemon: Daemon, journal: Path, news: News) -> None:
        self._daemon = daemon
        self._journal = journal
        self._news = news
        self._prices: defaultdict[str, Line] = defaultdict(lambda: Line("d"))
        self._last: dict[str, Print] = {}
        self._days: dict[str, str] = {}
        self._reserves: defaultdict[str, Line] = defaultdict(lambda: Line("q"))
        self._booked: dict[str, Dollars] = {}
        self._remembered: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Look at prices and reserves until cancelled."""
        while True:
            pulse.begin()
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self._look()
            except Exception:  # A line is not worth more than a gap in it.
                log.exception("the lines of the dashboard broke; they go on")
                await asyncio.sleep(AGAIN)

    async def _look(self) -> float:
        """Look at every symbol; gives the seconds that it took."""
        engine, worked, begun = self._daemon.engine, 0.0, time.thread_time()
        for number, name in enumerate(list(engine.state.symbols)):
            last = engine.last(name)
            if last is not None and last is not self._last.get(name):
                self._last[name] = last
                self._add_price(name, last)
            if number % SLICE == SLICE - 1:
                worked += time.thread_time() - begun
                await asyncio.sleep(0)
                begun = time.thread_time()
        if self._remembered is not None and self._remembered.done():
            self._note_reserves()
        return worked + time.thread_time() - begun

    def _add_price(self, name: str, last: Print) -> None:
        """Add a price, which may say of its time whatever it likes: quiet ones are not looked at."""
        line, feed, at = self._prices[name], self._daemon.feed, min(last[2], self._daemon.now())
        if not EARLIEST <= at <= LATEST:
            return
        if feed is not None and not feed.lockstep:
            day = self._daemon.calendar.sessions(name).latest(at).day
            if self._days.get(name, day) != day:
                line.clear()
            self._days[name] = day
        line.add(at // _MS, last[1])

    async def prices(self, symbol: str) -> PriceLine:
        """Give the line of a symbol, up to its newest price.

        Raises:
            JournalError: the journal cannot be read.
        """
        await self._news.read()
        points = [(at, repr(price)) for at, price in self._prices[symbol]] if symbol in self._prices else []
        last = self._daemon.engine.last(symbol)
        if last is not None and points and points[-1][1] != (price := repr(last[1])):
            points.append((max(points[-1][0], min(last[2], self._daemon.now()) // _MS), price))
        begins = points[0][0] if points else 0
        return PriceLine(symbol, points, [each for each in self._news.marks(symbol) if each.at >= begins])

    async def reserve(self, portfolio: str) -> ReserveLine:
        """Give the line of a portfolio's reserve, up to now.

        Raises:
            JournalError: the journal cannot be read.
        """
        if self._remembered is None or (self._remembered.done() and self._remembered.exception() is not None):
            self._remembered = asyncio.create_task(self._remember(), name="reserves")
        await asyncio.shield(self._remembered)
        self._note_reserves()
        points = [(at, f"{CENT * int(cents):f}") for at, cents in self._reserves[portfolio]]
        now = f"{self._daemon.engine.state.portfolios[portfolio].reserve:f}"
        at = self._daemon.now() // _MS
        return ReserveLine(portfolio, [*points, (max(at, points[-1][0]) if points else at, now)])

    async def _remember(self) -> None:
        """Read what the journal has of reserves, once, when somebody first wants to know."""
        self._reserves.update(await asyncio.to_thread(_history, self._journal))

    def _note_reserves(self) -> None:
        state = self._daemon.engine.state
        for name, each in state.portfolios.items():
            if self._booked.get(name) != each.reserve:
                self._booked[name] = each.reserve
                self._reserves[name].add(Instant(state.at) // _MS, int(each.reserve / CENT))


def _history(journal: Path) -> dict[str, Line]:
    """Fold the journal, and draw each reserve whenever it changed."""
    known = chain.oldest(journal)
    state, lines, newest = known.state, defaultdict[str, Line](lambda: Line("q")), dict[str, tuple[int, int]]()
    for record in chain.records(journal, known.seq):
        apply(state, record.event)
        at = record.event.at // _MS
        for name, portfolio in state.portfolios.items():
            before, now = newest.get(name), (at, int(portfolio.reserve / CENT))
            if before is None or before[1] != now[1]:
                newest[name] = now
                if before is not None and before != (at, 0):  # It begins with what it was opened with.
                    lines[name].add(*before)
        if record.seq % BREATH == 0:
            time.sleep(0.005)
    for name, point in newest.items():
        lines[name].add(*point)
    return lines
