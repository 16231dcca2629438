"""The lines of a dashboard: prices of the trading day, and reserves over time.

Prices are looked at a few times a second, beside the loop that decides; nothing is stored. What was before the daemon
was started, the journal knows: of a day its signals, its fills and the prices at which they came; of a reserve all.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from mrdaemon import pulse
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import CENT, Dollars
from mrdaemon.core.prints import Print
from mrdaemon.core.sessions import EARLIEST, LATEST
from mrdaemon.daemon import Daemon
from mrdaemon.web import past
from mrdaemon.web.answered import PriceLine, ReserveLine
from mrdaemon.web.lines import Line
from mrdaemon.web.news import News

LOOK_EVERY: Final = 0.25
"""Seconds between two looks, at the least."""
PART: Final = 0.005
"""The part of the time that looking may take: with thousands of symbols, their lines have fewer points."""
SLICE: Final = 200
"""Symbols that are looked at before prices get their turn again."""
AGAIN: Final = 5.0
_MS: Final = 1_000_000

log: Final = structlog.get_logger("mrdaemon.web")


class Graphs:
    """The lines of one daemon."""

    def __init__(self, daemon: Daemon, journal: Path, news: News) -> None:
        self._daemon = daemon
        self._news = news
        self._prices: defaultdict[str, Line] = defaultdict(lambda: Line("d"))
        self._last: dict[str, Print] = {}
        self._days: dict[str, str] = {}
        self._booked: dict[str, Dollars] = {}
        watched = daemon.pulse
        self._reserves = past.Once(watched, lambda: partial(past.reserves, journal), "reserves of dashboards")
        self._earlier = past.Once(
            watched, lambda: partial(past.day, journal, self._earliest()), "prices of dashboards before the start"
        )

    async def run(self) -> None:
        """Look at prices and reserves until cancelled."""
        worked = 0.0
        while True:
            await pulse.idle(asyncio.sleep(max(LOOK_EVERY, worked / PART)))
            try:
                worked = await self._look()
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
        if (lines := self._reserves.found) is not None:
            self._note_reserves(lines)
        return worked + time.thread_time() - begun

    def _add_price(self, name: str, last: Print) -> None:
        """Add a price, which may say of its time whatever it likes: quiet ones are not looked at."""
        line, at = self._prices[name], min(last[2], self._daemon.now())
        if not EARLIEST <= at <= LATEST:
            return
        if self._is_live:
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
        earlier = await self._earlier() if self._is_live else past.NOTHING
        points = [(at, repr(price)) for at, price in self._prices[symbol]] if symbol in self._prices else []
        last = self._daemon.engine.last(symbol)
        if last is not None and points and points[-1][1] != (price := repr(last[1])):
            points.append((max(points[-1][0], min(last[2], self._daemon.now()) // _MS), price))
        begins = points[0][0] if points else 0
        if self._is_live:
            opened = self._opened(symbol) // _MS
            before = [(at, repr(price)) for at, price in earlier.prices.get(symbol, ())]
            points = [each for each in before if opened <= each[0] and not 0 < begins <= each[0]] + points
            begins = min(opened, begins or opened)
        marks = {each.id: each for each in (*earlier.marks.get(symbol, ()), *self._news.marks(symbol))}
        return PriceLine(symbol, points, [each for each in marks.values() if each.at >= begins])

    @property
    def _is_live(self) -> bool:
        """Whether days pass as they come: of a recording, there is one line of all that was read."""
        feed = self._daemon.feed
        return (feed is None or not feed.lockstep) and EARLIEST <= self._daemon.now() <= LATEST

    def _opened(self, symbol: str) -> Instant:
        """Give when the session opened that a symbol's line is of."""
        now, last = self._daemon.now(), self._daemon.engine.last(symbol)
        at = now if last is None or not EARLIEST <= last[2] <= now else last[2]
        return self._daemon.calendar.sessions(symbol).latest(at).opens

    def _earliest(self) -> Instant:
        """Give when the first of all these sessions opened."""
        return min((self._opened(each) for each in self._daemon.engine.state.symbols), default=self._daemon.now())

    async def reserve(self, portfolio: str) -> ReserveLine:
        """Give the line of a portfolio's reserve, up to now.

        Raises:
            JournalError: the journal cannot be read.
        """
        lines = await self._reserves()
        self._note_reserves(lines)
        points = [(at, f"{CENT * int(cents):f}") for at, cents in lines[portfolio]]
        now = f"{self._daemon.engine.state.portfolios[portfolio].reserve:f}"
        at = self._daemon.now() // _MS
        return ReserveLine(portfolio, [*points, (max(at, points[-1][0]) if points else at, now)])

    def _note_reserves(self, lines: defaultdict[str, Line]) -> None:
        state = self._daemon.engine.state
        for name, each in state.portfolios.items():
            if self._booked.get(name) != each.reserve:
                self._booked[name] = each.reserve
                lines[name].add(Instant(state.at) // _MS, int(each.reserve / CENT))
