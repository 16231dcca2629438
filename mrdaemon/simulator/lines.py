"""Between a session and its socket: where messages are lost, late, doubled or swapped, and sockets break."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from mrdaemon.core.instant import NEVER, SECOND, Instant
from mrdaemon.simulator.faults import FaultName, Faults, Place

GOING_AWAY: Final = 1001
ABNORMAL: Final = 1006
"""The code of a socket that ended without a word; it is never on the wire."""


def _nothing() -> None:
    """Leave a socket as it is."""


@dataclass(slots=True)
class Socket:
    """What a session can do to its connection."""

    send: Callable[[bytes | str], None]
    close: Callable[[int, str], None]
    """Close it with a code and a reason, after what was sent."""
    cut: Callable[[], None] | None = None
    """Reset it. None: as ``close`` with code 1006."""
    freeze: Callable[[], None] = _nothing
    """Read and write nothing more, answer no ping, and do not close."""
    backlog: Callable[[], int] = int
    """How many frames wait to be sent because the client does not read."""


MessageT = TypeVar("MessageT")


class _Parcel(NamedTuple, Generic[MessageT]):
    due: Instant
    message: MessageT


class Line(Generic[MessageT]):
    """One connection of a stream, with the faults that befall it."""

    def __init__(self, socket: Socket, stream: str, faults: Faults, now: Callable[[], Instant]) -> None:
        self.stream = stream
        self.faults = faults
        self.ended = False
        """Whether nothing more can pass: closed, cut or frozen."""
        self.frozen = False
        self._socket = socket
        self._now = now
        self._late: deque[_Parcel[MessageT]] = deque()
        self._swapped: list[MessageT] = []
        self._mute_until = Instant(0)

    @property
    def due(self) -> Instant:
        """When the next late message may pass."""
        return self._late[0].due if self._late else NEVER

    @property
    def backlog(self) -> int:
        """How many frames the client has not taken yet."""
        return self._socket.backlog()

    def say(self, frame: bytes | str) -> None:
        """Send a frame as it is: an answer, or what ``carry`` let pass."""
        if not self.ended:
            self._socket.send(frame)

    def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        if not self.ended:
            self.ended = True
            self._socket.close(code, reason)

    def cut(self) -> None:
        """Reset the connection."""
        if not self.ended:
            self.ended = True
            if self._socket.cut is None:
                self._socket.close(ABNORMAL, "")
            else:
                self._socket.cut()

    def freeze(self) -> None:
        """Leave the connection half open."""
        if not self.ended:
            self.ended = self.frozen = True
            self._socket.freeze()

    def carry(self, messages: Sequence[MessageT], symbol: Callable[[MessageT], str]) -> list[MessageT]:
        """Give the messages that pass now, with those that are held back for later taken out."""
        if self.ended or self._broken() or self._muted():
            return []
        passing: list[MessageT] = []
        for message in messages:
            place = Place(self.stream, symbol(message))
            if self.faults.strike(FaultName.DROP, place):
                continue
            if self.faults.strike(FaultName.REORDER, place):
                self._swapped.append(message)
                continue
            copies = 2 if self.faults.strike(FaultName.DUPLICATE, place) else 1
            due = self._due_of(place)
            for each in (*(message for _ in range(copies)), *self._swapped):
                if due:
                    self._late.append(_Parcel(due, each))
                else:
                    passing.append(each)
            self._swapped.clear()
        return passing

    def released(self) -> list[MessageT]:
        """Give the late messages whose time has come."""
        now = self._now()
        passing: list[MessageT] = []
        while self._late and self._late[0].due <= now:
            passing.append(self._late.popleft().message)
        return passing

    def _broken(self) -> bool:
        place = Place(self.stream)
        if self.faults.strike(FaultName.HALF_OPEN, place):
            self.freeze()
        elif self.faults.strike(FaultName.CUT, place):
            self.cut()
        return self.ended

    def _muted(self) -> bool:
        now = self._now()
        if now < self._mute_until:
            return True
        fault = self.faults.strike(FaultName.MUTE, Place(self.stream))
        if fault is None:
            return False
        self._mute_until = Instant(now + int(fault.seconds * SECOND))
        return True

    def _due_of(self, place: Place) -> Instant | None:
        """Say until when a message waits: for its own delay, or for those before it."""
        fault = self.faults.strike(FaultName.DELAY, place)
        waited_for = self._late[-1].due if self._late else None
        if fault is None:
            return waited_for
        return Instant(max(waited_for or 0, self._now() + int(fault.seconds * SECOND)))
