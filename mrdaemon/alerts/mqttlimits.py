"""How many commands of a channel are carried out, and put on the record, a minute: no flood fills journal and phones.

What stops trading has room of its own, so that it gets through whatever else is sent too often; and a halt of
everything is only held back where it has just been done.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final

MINUTE: Final = 60.0
CARRIED_OUT: Final = 60
"""Commands a minute that are carried out: people are slower, and a program that is not is in trouble."""
REFUSALS: Final = 20
"""Refused commands a minute that are journaled."""
STOPS: Final = frozenset({"halt", "reduce", "pause"})
"""Commands that only stop trading."""
AGAIN: Final = 1.0
"""Seconds after which a halt of everything is carried out again, however many there were."""


class Recent:
    """Counts what happened in the last minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._when: deque[float] = deque()

    def add(self) -> None:
        """Count one that happens now; only the newest matter."""
        self._when.append(time.monotonic())
        if len(self._when) > self._most:
            self._when.popleft()

    @property
    def full(self) -> bool:
        """Whether there were as many as there may be."""
        now = time.monotonic()
        while self._when and now - self._when[0] > MINUTE:
            self._when.popleft()
        return len(self._when) >= self._most


class _Room:
    """What one sort of commands may do."""

    def __init__(self) -> None:
        self.taken = Recent(CARRIED_OUT)
        self.refused = Recent(REFUSALS)


class Limits:
    """Knows whether there is room for another command."""

    def __init__(self) -> None:
        self.recorded = Recent(REFUSALS)
        """Commands that were refused and journaled, by whom ever."""
        self._stops, self._others = _Room(), _Room()
        self._halts = Recent(CARRIED_OUT)
        self._halted: float | None = None
        """When everything was halted, if that is the last thing that was done."""

    def crowded(self, name: str, *, whole: bool) -> bool:
        """Tell whether a command that comes in is one too many; ``whole``: it is about everything."""
        if _is_last_resort(name, whole=whole):
            just_now = self._halted is not None and time.monotonic() - self._halted < AGAIN
            return just_now and self._halts.full
        room = self._room(name)
        return room.taken.full or room.refused.full

    def crowded_out(self, name: str, *, whole: bool) -> bool:
        """Tell whether too many were refused since a command was taken for it to be tried."""
        return not _is_last_resort(name, whole=whole) and self._room(name).refused.full

    def took(self, name: str, *, whole: bool) -> None:
        """Count a command that is to be carried out."""
        (self._halts if _is_last_resort(name, whole=whole) else self._room(name).taken).add()

    def came_of(self, name: str, *, whole: bool, refused: str | None) -> None:
        """Count what the daemon refused, and know what it carried out last."""
        if refused is None:
            self._halted = time.monotonic() if _is_last_resort(name, whole=whole) else None
        else:
            self.recorded.add()
            self._room(name).refused.add()

    def _room(self, name: str) -> _Room:
        return self._stops if name in STOPS else self._others


def _is_last_resort(name: str, *, whole: bool) -> bool:
    """Tell whether a command is a halt of everything."""
    return name == "halt" and whole
