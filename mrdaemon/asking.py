"""Carrying out what people ask, whichever way it comes in: over the control socket, MQTT, or a link."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from mrdaemon import chain
from mrdaemon.alerts.asked import JournaledRequests
from mrdaemon.alerts.asker import Answer
from mrdaemon.asks import ASKS, AnyAsk, ApproveAsk, MalformedError, RejectAsk, ReloadAsk, UnresolvedError, read
from mrdaemon.core import events as ev
from mrdaemon.daemon import Daemon
from mrdaemon.notes import booked, failures, notes
from mrdaemon.sentences import sentence
from mrdaemon.viewing import Viewing

log: Final = structlog.get_logger("mrdaemon.control")


class Asking:
    """Takes commands for one daemon."""

    def __init__(self, daemon: Daemon, journal: Path) -> None:
        self._daemon = daemon
        self._journal = journal
        self._requests = JournaledRequests(Viewing(daemon, journal.parent), journal)

    async def ask(self, name: str, body: bytes, by: str) -> Answer:
        """Carry out a command by its name, whose fields are a JSON object. All that it changes is durable then.

        Raises:
            MalformedError: there is no such command, or its fields cannot be read.
            StoppingError: the daemon takes none any more.
            JournalError: it could not be made durable.
        """
        if name not in ASKS:
            message = f"there is no command {name!r}; there are: {', '.join(ASKS)}"
            raise MalformedError(message)
        ask = read(ASKS[name], body)
        before = await asyncio.to_thread(chain.last, self._journal) if name == "reconcile" else None
        events = await self._carry_out(ask, by)
        meanwhile = [] if before is None else await asyncio.to_thread(self._booked, before, events)
        state = self._daemon.engine.state
        refused = next(failures(name, state, events), None)
        log.info("command", name=name, by=by, refused=refused)
        return Answer(events, [*meanwhile, *notes(state, events)], refused)

    async def refuse(self, name: str, by: str, reason: str) -> None:
        """Put on the record that a command was not even tried: who sent it, and why it was refused.

        Raises:
            StoppingError, JournalError: as ``ask``.
        """
        log.warning("command refused", name=name, by=by, reason=reason)
        await self._daemon.note(lambda now: [ev.CommandRefused(at=now, command=name, by=by, reason=reason)])

    async def _carry_out(self, ask: AnyAsk, by: str) -> Sequence[ev.Event]:
        if isinstance(ask, ReloadAsk):
            return await self._daemon.reload(by, ask.why)
        try:
            wishes = ask.commands(self._daemon.engine.state, by)
        except UnresolvedError as error:
            return await self._daemon.refuse(error.command, await self._reason(ask, error))
        events: list[ev.Event] = []
        for wish in wishes:
            events += await self._daemon.command(wish)
        return events

    async def _reason(self, ask: AnyAsk, error: UnresolvedError) -> str:
        """Say why a command names nothing that is there: of a request that was there, what became of it."""
        became: str | None = None
        if isinstance(ask, ApproveAsk | RejectAsk) and (approval := self._requests.named(ask.id)) is not None:
            try:
                became = await self._requests.became(approval)
            except chain.JournalError as unread:  # The refusal is put on the record nevertheless, if it can be.
                log.warning("cannot look up what became of a request", reason=str(unread))
        return became or str(error)

    def _booked(self, after: int, told: Sequence[ev.Event]) -> list[str]:
        """Say what a comparison brought about on its way, which its own answer does not hold."""
        said = {sentence(each) for each in told}
        return [
            each for each in booked(record.event for record in chain.records(self._journal, after)) if each not in said
        ]
