"""How every position stands, as open dashboards know it: what changed since is what they are sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from mrdaemon import status as facts
from mrdaemon.core import events as ev
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.prints import Print
from mrdaemon.core.state import Position
from mrdaemon.daemon import Daemon

AGE: Final = 2 * SECOND
"""How wrong the age of a price may become before it is sent again for that alone."""
SWEEP: Final = 8
"""Looks in which every position is looked at, whether or not anything is known to have changed in it."""
_FAR: Final = (ev.TradingStateChanged, ev.SignalsPaused, ev.SymbolFrozen, ev.SymbolThawed, ev.PriceStale, ev.PriceFresh)
"""Events that may change positions which they do not name."""


class Sheet:
    """What was sent last of each position."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._known: dict[str, facts.PositionStatus] = {}
        """By key, without its price's age, which goes on by itself."""
        self._seen: dict[str, Instant | None] = {}
        """When that price was seen."""
        self._prints: dict[str, Print | None] = {}
        self._touched: dict[str, None] = {}
        self._far = self._everything = False
        """Whether events came that may have changed anything: since the look began, and before."""
        self._look = 0
        self._place = 0

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __iter__(self) -> Iterator[str]:
        """Give the keys of all positions that were sent."""
        return iter(self._known)

    def json(self, key: str) -> bytes:
        """Give a position as it was sent last, with its price as old as it is by now."""
        seen = self._seen[key]
        age = None if seen is None else max(0.0, (self._daemon.now() - seen) / SECOND)
        return facts.encode(msgspec.structs.replace(self._known[key], age=age))

    def touch(self, events: Sequence[ev.Event]) -> None:
        """Take note of which positions events are about."""
        for event in events:
            if isinstance(event, ev.PositionEvent):
                self._touched[f"{event.portfolio}/{event.symbol}"] = None
            self._far = self._far or isinstance(event, _FAR)

    def touched(self) -> Iterator[str]:
        """Give the keys of those positions, each once."""
        while self._touched:
            yield self._touched.popitem()[0]

    def begin(self) -> list[str]:
        """Begin a look at all positions; gives the keys of those that are no more."""
        self._everything, self._far = self._far, False
        self._look, self._place = self._look + 1, 0
        gone = [each for each in self._known if each not in self._daemon.engine.state.positions]
        for each in gone:
            del self._known[each], self._seen[each]
        return gone

    def is_due(self, position: Position) -> bool:
        """Tell whether a position may have changed, or it is its turn. Each is to be asked about once a look."""
        key, last = position.key, self._daemon.engine.last(position.symbol)
        self._place += 1
        due = self._everything or last is not self._prints.get(key) or key not in self._known
        self._prints[key] = last
        return due or (self._place + self._look) % SWEEP == 0

    def changed(self, position: Position) -> bool:
        """Look at a position; tells whether it is not as it was sent."""
        engine, key = self._daemon.engine, position.key
        seen, zone = engine.seen(position.symbol), engine.zone(position)
        found = facts.position_status(engine.state, position, seen, zone, self._daemon.now())
        ageless = msgspec.structs.replace(found, age=None)
        if self._known.get(key) == ageless and not _is_younger(seen.at, self._seen[key]):
            return False
        self._known[key], self._seen[key] = ageless, seen.at
        return True


def _is_younger(seen: Instant | None, told: Instant | None) -> bool:
    """Tell whether a price is the same, but so much newer than it was told that its age is wrong."""
    if seen is None or told is None:
        return seen is not told
    return seen - told > AGE
