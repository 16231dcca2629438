"""When an asset trades: what the method needs to know of a calendar."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from mrdaemon.core.instant import DAY, Instant

EARLIEST: Final = Instant(365 * DAY)
LATEST: Final = Instant(84_000 * DAY)
"""1971 to 2199: no calendar is asked for its sessions at other times, which nobody but a broken clock ever says."""


class Session(NamedTuple):
    """One trading session. Both ends belong to it: a daily bar counts at the close."""

    day: str
    """Its date, ``2020-03-12``: New York's for US equities, UTC's for crypto."""
    opens: Instant
    closes: Instant


class Sessions(Protocol):
    """The sessions of one market, in order, without overlap."""

    def at(self, now: Instant) -> Session | None:
        """Give the session that is open at an instant (both ends inclusive), or None."""

    def upcoming(self, now: Instant) -> Session:
        """Give the first session that opens strictly after an instant."""

    def latest(self, now: Instant) -> Session:
        """Give the newest session that opened at or before an instant; it may be over."""

    def regular(self, now: Instant) -> bool:
        """Tell whether an instant lies in the regular hours of a session, both ends inclusive."""

    def regular_opening(self, now: Instant) -> Instant:
        """Give when regular hours begin next, strictly after an instant."""

    def on(self, day: str) -> Session | None:
        """Give the session of a date, ``2020-03-12``, or None where there is none."""


class Calendar(Protocol):
    """Which market each symbol trades in."""

    def sessions(self, symbol: str) -> Sessions:
        """Give the sessions of a symbol's market: crypto pairs (``BTC/USD``) never close."""


def open_at(sessions: Sessions, at: Instant) -> bool:
    """Tell whether a market was open at a time that somebody else says; at one that cannot be meant, none is."""
    return EARLIEST <= at <= LATEST and sessions.at(at) is not None
