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

DURABLE_WITHIN: Final = 2.0
"""Seconds that are given to what happened until it is in the journal's file."""
LOOK_AGAIN: Final = 0.02
_ENDED: Final = """
    SELECT body FROM events
    WHERE (body LIKE '{"kind":"approval_granted"%' OR body LIKE '{"kind":"approval_closed"%')
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
        match await self._end(approval):
            case ev.ApprovalGranted(by=by, at=at):
                return f"{approval} was already approved by {by} at {iso(at)}"
            case ev.ApprovalClosed(cause="rejected", by=by, at=at):
                return f"{approval} was already rejected by {by} at {iso(at)}"
            case ev.ApprovalClosed(cause="expired", at=at):
                return f"{approval} expired at {iso(at)}: nobody answered it in time"
            case ev.ApprovalClosed(cause=cause, at=at):
                return f"{approval} ended at {iso(at)}: {cause}"
            case _:
                return f"there is no open request {approval}"

    async def _end(self, approval: str) -> ev.ApprovalGranted | ev.ApprovalClosed | None:
        """Find how a request ended; what has only just happened is not in the journal's file yet."""
        name, _, number = approval.rpartition("/")
        position = self._view.state.positions.get(name)
        raised = position is not None and number.isascii() and number.isdigit() and int(number) <= position.number
        until = time.monotonic() + DURABLE_WITHIN
        while True:
            found = await asyncio.to_thread(self._find, approval)
            if found is not None or not raised or time.monotonic() > until:
                return found
            await asyncio.sleep(LOOK_AGAIN)

    def _find(self, approval: str) -> ev.ApprovalGranted | ev.ApprovalClosed | None:
        with chain.reading(self._journal) as connection:
            for (body,) in connection.execute(_ENDED):
                event = ev.decode(body)
                if isinstance(event, ev.ApprovalGranted | ev.ApprovalClosed) and _id(event) == approval:
                    return event
        return None


def _id(event: ev.ApprovalGranted | ev.ApprovalClosed) -> str:
    return f"{event.portfolio}/{event.symbol}/{event.number}"
