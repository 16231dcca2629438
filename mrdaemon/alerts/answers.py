"""Answers that come back by a button or a link: each is checked, taken once, and told in a sentence what it did.

What makes an answer single-use is the journal: the request that it names is open once. So neither a restart nor a
second way in changes what a second press does, which is nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import structlog

from mrdaemon.alerts.asked import Request
from mrdaemon.alerts.asker import Asker
from mrdaemon.alerts.links import LABELS, LinkError, Links, Reply
from mrdaemon.core import events as ev
from mrdaemon.sentences import sentence

RECORDED: Final = 20
"""Refused answers that are journaled in a minute: whoever finds the address must not fill the disk."""
MINUTE: Final = 60_000_000_000
UNTAKEN: Final = (
    "mrdaemon could not take it: it is stopping, or something is wrong with it, which its log tells. "
    "Nothing is known to have been done."
)

log: Final = structlog.get_logger("mrdaemon.answers")


class Outcome(NamedTuple):
    """What an answer did."""

    ok: bool
    """Whether what it asked for was done."""
    text: str
    """That, in a sentence or two."""


class Question(NamedTuple):
    """What an answer would do."""

    text: str
    label: str
    """What the button says."""


class Answers:
    """Takes the answers of one daemon, whichever way they come in."""

    def __init__(self, links: Links, asker: Asker, wall: Callable[[], int] = time.time_ns) -> None:
        self._links = links
        self._asker = asker
        self._wall = wall
        self._one_at_a_time = asyncio.Lock()
        self._minute = 0
        self._refused = 0
        """Refused answers in this minute."""

    async def take(self, token: str, source: str) -> Outcome:
        """Do what an answer asks for, if it is ours, in time, and the first. ``source`` says which way it came."""
        async with self._one_at_a_time:  # A double click: the second one shall see what the first one did.
            try:
                return await self._take(token, source)
            except Exception:
                # Stopping, or a journal that cannot be written: that is seen to elsewhere. Here a person waits, who may
                # be anybody: what broke, and where on the machine, is for the log.
                log.exception("an answer could not be taken", source=source)
                return Outcome(ok=False, text=UNTAKEN)

    async def look(self, token: str) -> Question | Outcome:
        """Say what an answer would do, without doing it; an ``Outcome`` where it would do nothing."""
        try:
            reply = self._links.read(token, self._wall())
        except LinkError as error:
            return Outcome(ok=False, text=_nothing(str(error)))
        request = self._open(reply)
        if request is None:
            return Outcome(ok=False, text=_nothing(await self._why_not(reply)))
        label = LABELS[reply.answer]
        return Question(f"{label} {reply.approval}: {request.what}?", label)

    def is_open(self, token: str) -> bool:
        """Tell whether an answer would be tried: it is ours, in time, and its request is open."""
        try:
            return self._open(self._links.read(token, self._wall())) is not None
        except LinkError:
            return False

    async def _take(self, token: str, source: str) -> Outcome:
        try:
            reply = self._links.read(token, self._wall())
        except LinkError as error:
            return await self._refuse("answer", source, str(error))
        if self._open(reply) is None:
            return await self._refuse(reply.answer, source, await self._why_not(reply))
        body = msgspec.json.encode({"id": reply.approval})
        answer = await self._asker.ask(reply.answer, body, source)
        said = _told(answer.events, answer.notes)
        if answer.refused is not None:
            return Outcome(ok=False, text=_sentences([f"{reply.approval}: {answer.refused}", *said]))
        return Outcome(ok=True, text=_sentences(said or [f"{reply.approval}: done"]))

    def _open(self, reply: Reply) -> Request | None:
        """Give the request of an answer, if it is the very one that was asked about."""
        request = self._links.requests.open(reply.approval)
        return request if request is not None and request.expires == reply.request else None

    async def _why_not(self, reply: Reply) -> str:
        if self._links.requests.open(reply.approval) is not None:
            return f"another request {reply.approval} is open than this answers, which is of another journal"
        return await self._links.requests.ended(reply.approval)

    async def _refuse(self, name: str, source: str, reason: str) -> Outcome:
        """Put a refused answer on the record, unless there were too many in this minute."""
        minute = self._wall() // MINUTE
        if minute != self._minute:
            missing, self._minute, self._refused = max(self._refused - RECORDED, 0), minute, 0
            if missing:
                log.warning("answers were refused and not recorded", count=missing)
        self._refused += 1
        if self._refused <= RECORDED:
            await self._asker.refuse(name, source, reason)
        return Outcome(ok=False, text=_nothing(reason))


def _told(events: Sequence[ev.Event], notes: Sequence[str]) -> list[str]:
    said = [sentence(each) for each in events if not isinstance(each, ev.CommandRefused)]
    return list(dict.fromkeys([*said, *notes]))


def _nothing(reason: str) -> str:
    return _sentences([reason, "Nothing was done"])


def _sentences(said: Sequence[str]) -> str:
    return " ".join(each if each.endswith((".", "!", "?")) else f"{each}." for each in said)
