"""Requests for approval: which are open, and what became of one that is not."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from mrdaemon import chain
from mrdaemon.alerts.view import View
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.money import show
from mrdaemon.core.policy import Side
from mrdaemon.core.state import Position

DURABLE_WITHIN: Final = 2.0
"""Seconds that are given to what happened until it is in the journal's file."""
LOOK_AGAIN: Final = 0.02
LONGEST_NUMBER: Final = 19
"""Digits that are still read as a number."""
FAR_BACK: Final = 200_000
"""Events among which the end of a request is looked for."""
_LAST: Final = "SELECT coalesce(max(seq), 0) FROM events"
_ENDED: Final = """
    SELECT body FROM events
    WHERE seq > ? AND (body LIKE '{"kind":"approval_granted"%' OR body LIKE '{"kind":"approval_closed"%')
    ORDER BY seq DESC
"""


class Request(NamedTuple):
    """An open request."""

    expires: Instant
    left: int
    """Nanoseconds until then."""
    what: str
    """What would be done: ``buy up to $250.00 of QQQ``."""


class Requests(Protocol):
    """Knows requests by their ids, as ``approve`` takes them: ``core/QQQ/7``."""

    def open(self, approval: str) -> Request | None:
        """Give an open request; None where there is none of this id."""

    async def ended(self, approval: str) -> str:
        """Say what became of a request that is not open: who answered it and when, or why it ended."""


class JournaledRequests:
    """The requests of one daemon."""

    def __init__(self, view: View, journal: Path) -> None:
        self._view = view
        self._journal = journal

    def open(self, approval: str) -> Request | None:
        """Give an open request; None where there is none of this id."""
        name, _, number = approval.rpartition("/")
        position = self._view.state.positions.get(name)
        found = None if position is None else position.approval
        if position is None or found is None or str(found.number) != number:
            return None
        verb = "buy" if found.side is Side.ACCUMULATE else "sell"
        what = f"{verb} up to {show(found.amount)} of {position.symbol}"
        return Request(found.expires, max(found.expires - self._view.now(), 0), what)

    async def ended(self, approval: str) -> str:
        """Say what became of a request that is not open.

        Raises:
            JournalError: the journal cannot be read.
        """
        return await self.became(approval) or f"there is no open request {approval}"

    async def became(self, approval: str) -> str | None:
        """Say how a request ended; None where nothing is known of it.

        Raises:
            JournalError: the journal cannot be read.
        """
        match await self._end(approval):
            case ev.ApprovalGranted(by=by, at=at):
                return f"{approval} was already approved by {by} at {iso(at)}"
            case ev.ApprovalClosed(cause="rejected", by=by, at=at):
                return f"{approval} was already rejected by {by} at {iso(at)}"
            case ev.ApprovalClosed(cause="expired", at=at):
                return f"{approval} expired at {iso(at)}: nobody answered it in time"
            case ev.ApprovalClosed(cause=cause, at=at):
                return f"{approval} ended at {iso(at)}: {cause}"
            case None:
                return None

    def named(self, said: str) -> str | None:
        """Give the id of the request that a person named by its end, where only one position has raised such a one."""
        *_, number = said.rpartition("/")
        ids = (f"{each.key}/{number}" for each in self._view.state.positions.values() if _raised(each, number))
        found = [each for each in ids if f"/{each}".endswith(f"/{said}")]
        return found[0] if len(found) == 1 else None

    async def _end(self, approval: str) -> ev.ApprovalGranted | ev.ApprovalClosed | None:
        """Find how a request ended; what has only just happened is not in the journal's file yet."""
        name, _, number = approval.rpartition("/")
        position = self._view.state.positions.get(name)
        if position is None or not _raised(position, number):
            return None
        until, seen = time.monotonic() + DURABLE_WITHIN, None
        while True:
            found, seen = await asyncio.to_thread(self._find, approval, seen)
            if found is not None or time.monotonic() > until:
                return found
            await asyncio.sleep(LOOK_AGAIN)

    def _find(self, approval: str, after: int | None) -> tuple[ev.ApprovalGranted | ev.ApprovalClosed | None, int]:
        """Look for it among the events after one, and give which is the last by now."""
        with chain.reading(self._journal) as connection:
            (last,) = connection.execute(_LAST).fetchone()
            for (body,) in connection.execute(_ENDED, (last - FAR_BACK if after is None else after,)):
                event = ev.decode(body)
                if isinstance(event, ev.ApprovalGranted | ev.ApprovalClosed) and _id(event) == approval:
                    return event, last
        return None, last


def _raised(position: Position, number: str) -> bool:
    """Tell whether a position has raised a signal of this number, which may have been a request."""
    is_number = number.isascii() and number.isdigit() and len(number) < LONGEST_NUMBER and number[0] != "0"
    return is_number and int(number) <= position.number


def _id(event: ev.ApprovalGranted | ev.ApprovalClosed) -> str:
    return f"{event.portfolio}/{event.symbol}/{event.number}"
