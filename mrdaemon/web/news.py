"""What a dashboard tells of: signals, orders, fills, holds and what stops or starts, each with its sentence.

It is read from the journal in a thread, and only while somebody wants to know.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from mrdaemon import chain
from mrdaemon.alerts.alert import Level
from mrdaemon.chain import JournalError
from mrdaemon.core import events as ev
from mrdaemon.core.instant import iso
from mrdaemon.core.policy import ChannelState, FeedState, TradingState
from mrdaemon.sentences import sentence
from mrdaemon.telling import Teller
from mrdaemon.web.answered import Item, Mark, NewsPage

LOOK_BACK: Final = 5_000
"""Events in which there are news to begin with."""
PAGE: Final = 500
"""Events that are read at a time."""
KEPT: Final = 500
"""News at hand, for who was away for a moment."""
MARKS: Final = 200
"""Signals of a symbol that are marked on its line."""
WARM_UP: Final = 200
"""Events before a page from which it is known what was told already."""
FURTHEST: Final = 20_000
"""Events that are looked at for one page of news."""

TOLD_BESIDES: Final = (
    ev.DaemonStarted,
    ev.DaemonStopped,
    ev.OrderIntended,
    ev.ApprovalGranted,
    ev.ApprovalClosed,
    ev.FillReported,
    ev.TargetChanged,
    ev.ReserveDeposited,
    ev.ReserveWithdrawn,
    ev.SignalsPaused,
    ev.SymbolThawed,
    ev.PriceStale,
    ev.PriceFresh,
    ev.CommandRefused,
)
"""What a page has room for, besides what a terminal tells."""
_CRITICAL: Final = (ev.PositionHalted, ev.BreakerTripped, ev.SymbolFrozen, ev.OrderUnmatched)
_WARNING: Final = (
    ev.SignalHeld,
    ev.OrderAmbiguous,
    ev.AccountLost,
    ev.SessionsDisputed,
    ev.PrintRefused,
    ev.RowRefused,
    ev.PriceStale,
    ev.OrderEnded,
    ev.CommandRefused,
)
_NOTICE: Final = (ev.SignalRaised, ev.ApprovalRequested, ev.OrderFilled, ev.FillReported, ev.ApprovalGranted)


class _Page(NamedTuple):
    """Some of the journal, and what ended it too early."""

    records: list[chain.Record]
    items: list[Item]
    damage: JournalError | None


class News:
    """The news of one journal."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._after: int | None = None
        self._teller = Teller()
        self._reading = asyncio.Lock()
        self._looking_back = asyncio.Lock()
        self.worked = 0.0
        """Seconds that reading took in all, of the threads that did."""
        self.recent: deque[Item] = deque(maxlen=KEPT)
        """The newest, oldest first."""
        self._marks: defaultdict[str, deque[Mark]] = defaultdict(lambda: deque(maxlen=MARKS))
        self._items: deque[Item] = deque(maxlen=KEPT)
        self._events: deque[ev.Event] = deque(maxlen=LOOK_BACK)

    def marks(self, symbol: str) -> list[Mark]:
        """Give a symbol's newest signals."""
        return list(self._marks.get(symbol, ()))

    def take(self) -> tuple[list[Item], list[ev.Event]]:
        """Give what was read since the last time that this was asked: the news, and all events."""
        items, events = list(self._items), list(self._events)
        self._items.clear()
        self._events.clear()
        return items, events

    async def read(self) -> None:
        """Read what became durable, for marks; for who takes it, it is kept. After a long absence that is the newest.

        Raises:
            JournalError: the journal cannot be read; what comes before the damage was.
        """
        async with self._reading:
            begin = await asyncio.to_thread(self._begin)
            if begin != self._after:
                self._after = begin
                self.recent.clear()  # It does not reach on to what comes now.
            records = chain.records(self._journal, self._after)
            while (page := await asyncio.to_thread(self._page, records)).records:
                self._after = page.records[-1].seq
                self.recent += page.items
                self._items += page.items
                events = [each.event for each in page.records]
                self._events += events
                self._mark(events)
                if page.damage is not None:
                    break
            if page.damage is not None:
                raise page.damage

    def _begin(self) -> int:
        """Find where to go on. What lies too far back is left out."""
        furthest = max(0, chain.last(self._journal) - LOOK_BACK)
        return furthest if self._after is None else max(self._after, furthest)

    def _page(self, records: Iterator[chain.Record]) -> _Page:
        """Read some more, and put it into words, in a thread: a sentence takes its time."""
        begun, page, damage = time.thread_time(), list[chain.Record](), None
        try:
            page.extend(islice(records, PAGE))
        except JournalError as error:
            damage = error
        items = [item(each) for each in page if self._tells(each.event)]
        self.worked += time.thread_time() - begun
        return _Page(page, items, damage)

    def _tells(self, event: ev.Event) -> bool:
        return self._teller.tells(event) or isinstance(event, TOLD_BESIDES)

    def _mark(self, events: Sequence[ev.Event]) -> None:
        for event in events:
            if isinstance(event, ev.SignalRaised):
                self._marks[event.symbol].append(mark(event))

    async def page(self, before: int | None, limit: int) -> NewsPage:
        """Give so many news before an event, newest first.

        Raises:
            JournalError: the journal cannot be read.
        """
        async with self._looking_back:  # However many ask: prices share the processor with one thread of theirs.
            return await asyncio.to_thread(_look_back, self._journal, before, limit)


def mark(event: ev.SignalRaised) -> Mark:
    """Put a signal on its symbol's line."""
    name = f"{event.portfolio}/{event.symbol}/{event.number}"
    return Mark(event.at // 1_000_000, event.side, event.price, event.amount, name)


def item(record: chain.Record) -> Item:
    """Put an event as one of the news."""
    event = record.event
    return Item(
        seq=record.seq,
        at=iso(event.at),
        kind=str(event.__struct_config__.tag),
        portfolio=getattr(event, "portfolio", None),
        symbol=getattr(event, "symbol", None),
        level=level_of(event),
        text=sentence(event),
    )


def level_of(event: ev.Event) -> Level:
    """Say how much an event matters."""
    match event:
        case ev.TradingStateChanged(state=TradingState.HALTED):
            return Level.CRITICAL
        case ev.FeedStateChanged(state=FeedState.CONNECTING | FeedState.STALE | FeedState.REFUSED):
            return Level.WARNING
        case ev.ChannelStateChanged(state=state) if state is not ChannelState.UP:
            return Level.WARNING
        case _ if isinstance(event, _CRITICAL):
            return Level.CRITICAL
        case _ if isinstance(event, _WARNING):
            return Level.WARNING
        case _ if isinstance(event, _NOTICE):
            return Level.NOTICE
        case _:
            return Level.INFO


def _look_back(journal: Path, before: int | None, limit: int) -> NewsPage:
    """Look further and further back, until there are enough; a part of the journal at a time."""
    end = chain.last(journal) + 1 if before is None else before
    furthest = max(0, end - 1 - FURTHEST)
    found = list[Item]()
    while end - 1 > furthest and len(found) < limit:
        begin = max(furthest, end - 1 - PAGE)
        found = [*_told(journal, begin, end), *found]
        end = begin + 1
    news = found[-limit:][::-1]
    older = news[-1].seq if len(found) > limit else end
    return NewsPage(news, older if older > 1 else None)


def _told(journal: Path, begin: int, end: int) -> Iterator[Item]:
    """Give the news after one event and before another."""
    teller = Teller()
    for record in chain.records(journal, max(0, begin - WARM_UP)):
        if record.seq >= end:
            return
        told = teller.tells(record.event) or isinstance(record.event, TOLD_BESIDES)
        if told and record.seq > begin:
            yield item(record)
