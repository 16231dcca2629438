"""When a signal may be raised: while the session is open, outside of the margins in which a position does not trade.

Both ends of that time belong to it, as both ends of a session do: a print at the very end of a margin counts.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.core.policy import PositionRules, PrintRules
from mrdaemon.core.sessions import Session, Sessions

BREAK: Final = 1
"""Nanoseconds between two sessions that follow without a break: both ends of a session belong to it."""


class Hours(StrEnum):
    """Which part of a session it is: outside of regular hours a market takes only limit orders."""

    REGULAR = "regular"
    EXTENDED = "extended"


def hours_at(sessions: Sessions, rules: PrintRules, now: Instant) -> Hours:
    """Tell the part of the session at an instant; it is regular where the rules know no other."""
    return Hours.EXTENDED if rules.extended_hours and not sessions.regular(now) else Hours.REGULAR


class Closed(NamedTuple):
    """Why no signal may be raised now, and from when on one may."""

    reason: str
    until: Instant


def closed(
    sessions: Sessions, session: Session | None, rules: PositionRules, seen: Instant, now: Instant
) -> Closed | None:
    """Say why a position raises no signal, or None where it may.

    Args:
        sessions: the symbol's market.
        session: the one that is open, at the print and now; None where there is none.
        rules: the position's.
        seen: when the print happened.
        now: when it is decided.
    """
    if session is None:
        following = sessions.upcoming(now)
        begins = _begins(sessions, following, rules)
        margin = "" if begins == following.opens else f", and signals are held until {iso(begins)}"
        return Closed(f"the session is closed; it opens at {iso(following.opens)}{margin}", begins)
    if not rules.no_trade_open and not rules.no_trade_close:
        return None
    begins, ends = _begins(sessions, session, rules), _ends(sessions, session, rules)
    if seen < begins:
        return Closed(f"the session opened at {iso(session.opens)}; signals are held until {iso(begins)}", begins)
    if now > ends:
        until = _begins(sessions, sessions.upcoming(now), rules)
        why = f"the session closes at {iso(session.closes)}; signals are held from {iso(ends)} until {iso(until)}"
        return Closed(why, until)
    return None


def _begins(sessions: Sessions, session: Session, rules: PositionRules) -> Instant:
    """Give when signals begin in a session: after its opening margin, where it opens at all."""
    if not rules.no_trade_open:
        return session.opens
    before = sessions.latest(Instant(session.opens - BREAK))
    follows = session.opens - before.closes <= BREAK
    return session.opens if follows else Instant(session.opens + rules.no_trade_open * SECOND)


def _ends(sessions: Sessions, session: Session, rules: PositionRules) -> Instant:
    """Give when signals end in a session: before its closing margin, where it closes at all."""
    if not rules.no_trade_close:
        return session.closes
    goes_on = sessions.upcoming(session.closes).opens - session.closes <= BREAK
    return session.closes if goes_on else Instant(session.closes - rules.no_trade_close * SECOND)
