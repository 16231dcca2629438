"""What goes wrong, and when: asked for by name, or drawn from a seed."""

from __future__ import annotations

import hashlib
from collections import Counter
from enum import StrEnum
from typing import Final

import msgspec

from mrdaemon.core.instant import SECOND


class FaultName(StrEnum):
    """What can go wrong."""

    DROP = "drop"
    """A message of a stream never arrives: a trade, a quote, an order update."""
    DELAY = "delay"
    """A message, and all behind it, arrives ``seconds`` later."""
    DUPLICATE = "duplicate"
    """A message arrives twice."""
    REORDER = "reorder"
    """A message arrives after the one that follows it."""
    MUTE = "mute"
    """A stream says nothing for ``seconds``; its socket answers pings. With ``times`` 0, until the fault is ended."""
    HALF_OPEN = "half_open"
    """A socket neither reads nor writes any more, nor answers pings, nor is it closed."""
    CUT = "cut"
    """A socket is reset."""
    HANDSHAKE = "handshake"
    """A stream's handshake is answered 429, and no socket opens."""
    REFUSE = "refuse"
    """An authentication is answered with 406, as if the last connection still stood."""
    SLOW_CLIENT = "slow_client"
    """A client is told 407 and closed, as if it did not keep up."""
    STREAM_ERROR = "stream_error"
    """What a client of a data stream says is answered with error 500, and has no effect."""
    NULL_UPDATE = "null_update"
    """An order update comes with ``data: null``."""
    UNKNOWN_UPDATE = "unknown_update"
    """An order update comes with an event and a status that nobody knows."""
    RATE_LIMIT = "429"
    """A request is not acted on, and answered 429."""
    SERVER_ERROR = "500"
    """A request is not acted on, and answered 500."""
    TIMED_OUT = "504"
    """A request is acted on, and answered 504. Unless told otherwise, a posted order."""
    TURNED_AWAY = "503"
    """A request is not acted on, and answered 503: to the client this looks as ambiguous as the 504."""
    HANG_UP = "hang_up"
    """A request is acted on, and its connection is reset instead of an answer."""
    GIBBERISH = "gibberish"
    """A request is acted on, and answered by a proxy's page of HTML with status 502."""
    SLOW_ANSWER = "slow_answer"
    """A request is acted on at once, and answered ``seconds`` later."""
    CLOCK_SKEW = "clock_skew"
    """All that the service stamps is off by ``seconds``, until the fault is ended."""
    BAD_PRINT = "bad_print"
    """A trade is followed by one at ten times its price; after ``seconds``, if there are any, it is taken back."""


ORDERS: Final = "/v2/orders"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that goes wrong, where and how often. An empty text matches anything."""

    name: FaultName
    stream: str = ""
    """``iex``, ``sip``, ``delayed_sip``, ``test``, ``crypto`` or ``updates``."""
    symbol: str = ""
    method: str = ""
    path: str = ""
    """How a request's path begins."""
    times: int = 1
    """How often; 0 is without end."""
    chance: float = 1.0
    """The probability with which it strikes where it could."""
    seconds: float = 0.0


class Place(msgspec.Struct, frozen=True):
    """Where a fault could strike."""

    stream: str = ""
    symbol: str = ""
    method: str = ""
    path: str = ""


class Faults:
    """The faults in force. Chances are drawn from a seed: the same requests and messages meet the same faults."""

    def __init__(self, seed: str = "", faults: tuple[Fault, ...] = ()) -> None:
        self._seed = seed
        self._active: list[Fault] = list(faults)
        self._struck: Counter[int] = Counter()
        self._draws: Counter[str] = Counter()
        self.log: Counter[str] = Counter()
        """How often each fault struck, by name."""

    @classmethod
    def seeded(cls, seed: str) -> Faults:
        """Let everything go wrong now and then, as a seed has it."""
        return cls(seed, SOMETIMES)

    @property
    def active(self) -> tuple[Fault, ...]:
        """The faults that can still strike."""
        return tuple(self._active)

    @property
    def skew(self) -> int:
        """By how many nanoseconds the service's clock is ahead."""
        return sum(int(each.seconds * SECOND) for each in self._active if each.name is FaultName.CLOCK_SKEW)

    def begin(self, fault: Fault) -> None:
        """Put a fault in force."""
        self._active.append(fault)

    def end(self, name: FaultName | None = None) -> None:
        """End the faults of a name, or all."""
        self._active = [each for each in self._active if name is not None and each.name is not name]

    def strike(self, name: FaultName, place: Place) -> Fault | None:
        """Tell whether a fault strikes here and now; if so it is counted."""
        for index, fault in enumerate(self._active):
            if fault.name is name and _matches(fault, place) and self._drawn(fault, place):
                if fault.times:
                    self._use(index, fault)
                self.log[name] += 1
                return fault
        return None

    def _use(self, index: int, fault: Fault) -> None:
        if fault.times == 1:
            del self._active[index]
        else:
            self._active[index] = msgspec.structs.replace(fault, times=fault.times - 1)

    def _drawn(self, fault: Fault, place: Place) -> bool:
        if fault.chance >= 1:
            return True
        what = f"{fault.name} {place.stream} {place.symbol} {place.method} {place.path}"
        self._draws[what] += 1
        return draw(f"{self._seed} {what} {self._draws[what]}") < fault.chance


def draw(what: str) -> float:
    """Draw a number from 0 to 1 that depends on a text alone, so that the order of draws does not matter."""
    return int.from_bytes(hashlib.blake2b(what.encode(), digest_size=7).digest(), "big") / (1 << 56)


def _matches(fault: Fault, place: Place) -> bool:
    path, method = fault.path, fault.method
    if fault.name is FaultName.TIMED_OUT and not path and not method:
        path, method = ORDERS, "POST"
    return (
        fault.stream in {"", place.stream}
        and fault.symbol in {"", place.symbol}
        and method in {"", place.method}
        and place.path.startswith(path)
    )


SOMETIMES: Final = (
    Fault(FaultName.DROP, times=0, chance=0.002),
    Fault(FaultName.DELAY, times=0, chance=0.002, seconds=1.5),
    Fault(FaultName.DUPLICATE, times=0, chance=0.01),
    Fault(FaultName.REORDER, times=0, chance=0.01),
    Fault(FaultName.MUTE, times=0, chance=0.0002, seconds=30),
    Fault(FaultName.HALF_OPEN, times=0, chance=0.0001),
    Fault(FaultName.CUT, times=0, chance=0.0005),
    Fault(FaultName.HANDSHAKE, times=0, chance=0.05),
    Fault(FaultName.REFUSE, times=0, chance=0.05),
    Fault(FaultName.STREAM_ERROR, times=0, chance=0.02),
    Fault(FaultName.DROP, stream="updates", times=0, chance=0.03),
    Fault(FaultName.DUPLICATE, stream="updates", times=0, chance=0.03),
    Fault(FaultName.NULL_UPDATE, times=0, chance=0.02),
    Fault(FaultName.UNKNOWN_UPDATE, times=0, chance=0.02),
    Fault(FaultName.RATE_LIMIT, times=0, chance=0.01),
    Fault(FaultName.SERVER_ERROR, times=0, chance=0.01),
    Fault(FaultName.TIMED_OUT, times=0, chance=0.03),
    Fault(FaultName.TURNED_AWAY, times=0, chance=0.01),
    Fault(FaultName.HANG_UP, times=0, chance=0.01),
    Fault(FaultName.GIBBERISH, times=0, chance=0.005),
    Fault(FaultName.SLOW_ANSWER, times=0, chance=0.005, seconds=3),
    Fault(FaultName.BAD_PRINT, times=0, chance=0.001, seconds=5),
)
"""What a seed stands for: everything, seldom. A clock that is off is asked for by name."""
