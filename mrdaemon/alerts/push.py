"""Push to phones and inboxes, through apprise: several addresses side by side, each at its own pace.

Every address is called in a thread of its own, never two calls at a time: one that hangs neither delays the others nor
piles up, nor keeps the program from ending. Who has taken a message is remembered, so that a repeat of it goes only
where it did not arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from mrdaemon.alerts.alert import Alert
from mrdaemon.alerts.channel import Message, RefusedError, UndeliveredError
from mrdaemon.alerts.courier import message as of
from mrdaemon.alerts.links import Button, Links
from mrdaemon.settings import AlertsTable, ChannelTable

if TYPE_CHECKING:
    from mrdaemon.alerts.services import Post, Service

USUAL_NAME: Final = AlertsTable.model_fields["instance"].default
"""An instance of this name need not be told from others."""

OURS: Final = 0.9
"""The part of a channel's time-out after which a call is given up: so that it is we who say which one hangs."""
REST: Final = 60.0
"""Seconds for which an address is left alone that refuses everything."""
ALONE: Final = 5
"""Questions in one message that are still sent one by one, so that each has buttons."""
REMEMBERED: Final = 1000
"""Alerts that an address is known to have had."""

Ids = frozenset[str]
Result = UndeliveredError | RefusedError | None
"""How a call ended: None where it was taken."""
Write = Callable[[Sequence[Alert]], "tuple[Post, Sequence[Alert]]"]


def problem(url: str) -> str | None:
    """Say why an address cannot be used, without a secret of it; None where it can. It takes a second, the first time.

    An address that is fine may still be wrong: nobody is asked.
    """
    from mrdaemon.alerts import addresses  # noqa: PLC0415 - apprise is slow to load: only for those who push

    return addresses.problem(url)


class PushChannel:
    """Sends to one or several addresses."""

    def __init__(self, name: str, table: ChannelTable, instance: str, links: Links | None) -> None:
        self.name = name
        self._table = table
        self._prefix = "" if instance == USUAL_NAME else f"{instance}: "
        self._links = links if table.buttons else None
        self._lines: list[_Line] | None = None

    async def __aenter__(self) -> Self:
        """Load what is needed, while there are no prices yet that could wait for it. Nobody is asked."""
        await self._ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End; a call that hangs is left to itself."""

    async def deliver(self, message: Message) -> None:
        """Send a message to every address that has not taken it yet.

        Raises:
            UndeliveredError: it did not arrive everywhere; a repeat goes to the rest.
            RefusedError: all that did not take it never will; for good only where no address takes anything.
        """
        lines = await self._ready()
        within = float(self._table.timeout) * OURS
        calls = [each.deliver(message.alerts, partial(self._post, message), within) for each in lines]
        failures = [each for each in await asyncio.gather(*calls) if each is not None]
        said = "; ".join(str(each) for each in failures)
        refusals = [each for each in failures if isinstance(each, RefusedError)]
        if len(refusals) < len(failures):
            raise UndeliveredError(said)
        if refusals:
            message_only = len(refusals) < len(lines) or any(each.message_only for each in refusals)
            raise RefusedError(said, message_only=message_only)

    async def _ready(self) -> list[_Line]:
        if self._lines is None:
            self._lines = [_Line(each) for each in await asyncio.to_thread(self._load)]
        return self._lines

    def _load(self) -> list[Service]:
        from mrdaemon.alerts.services import Service  # noqa: PLC0415 - see ``problem``

        return [Service(each, float(self._table.timeout)) for each in self._table.urls]

    def _post(self, message: Message, rest: Sequence[Alert]) -> tuple[Post, Sequence[Alert]]:
        """Write what goes next to an address that still wants these alerts; gives which of them are in it."""
        from mrdaemon.alerts.services import Post  # noqa: PLC0415 - see ``problem``

        alerts = self._next(rest)
        part = message if len(alerts) == len(message.alerts) else of(alerts)
        return Post(self._prefix + part.title, part.text, part.level, self._buttons(alerts)), alerts

    def _next(self, rest: Sequence[Alert]) -> Sequence[Alert]:
        """Take a question by itself, for a message has room for the buttons of one; unless there are too many."""
        if self._links is None or sum(bool(each.approval) for each in rest) > ALONE:
            return rest
        first = next((place for place, each in enumerate(rest) if each.approval), len(rest))
        return rest[: first or 1]

    def _buttons(self, alerts: Sequence[Alert]) -> tuple[Button, ...]:
        """Give the answers to the requests that alerts are about; where there are several, they say to which."""
        if self._links is None:
            return ()
        asking = {each.approval: each.symbol or each.approval for each in alerts if each.approval}
        buttons = {name: self._links.buttons(name) for name in asking}
        if len(alerts) == 1:
            return next(iter(buttons.values()), ())
        return tuple(
            each._replace(label=f"{each.label} {asking[name]}") for name, group in buttons.items() for each in group
        )


class _Line:
    """One address: the call that is under way, and what it has had lately."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._calling: asyncio.Future[Result] | None = None
        self._about: Ids = frozenset()
        self._had: dict[str, None] = {}
        self._refused: tuple[Ids, RefusedError] | None = None
        self._rests_until = 0.0

    async def deliver(self, alerts: Sequence[Alert], write: Write, within: float) -> Result:
        """Send, within some seconds, what it has not had of alerts; gives how that ended."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while rest := [each for each in alerts if each.id not in self._had]:
            if self._calling is None or self._calling.done():
                post, inside = write(rest)
                ids = frozenset(each.id for each in inside)
                if (refusal := self._known(ids, loop.time())) is not None:
                    return refusal
                self._calling, self._about = self._call(post, ids), ids
            elif not self._about <= {each.id for each in rest}:
                return UndeliveredError(f"{self._service.name}: the call before this one still hangs")
            await asyncio.wait([self._calling], timeout=until - loop.time())  # It leaves a call alone that hangs.
            if not self._calling.done():
                return UndeliveredError(f"{self._service.name}: no answer within {within:g} s")
            if (result := self._calling.result()) is not None:
                return result
        return None

    def _known(self, ids: Ids, now: float) -> RefusedError | None:
        """Give the refusal that is known: a wrong token, or alerts that are not taken, need not be tried at once."""
        if self._refused is None:
            return None
        refused, error = self._refused
        return error if (now < self._rests_until if not error.message_only else ids == refused) else None

    def _call(self, post: Post, ids: Ids) -> asyncio.Future[Result]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def settle(result: Result) -> None:
            if result is None:
                self._had |= dict.fromkeys(ids)
                self._had = dict.fromkeys(list(self._had)[-REMEMBERED:])
            self._refused = (ids, result) if isinstance(result, RefusedError) else None
            self._rests_until = loop.time() + REST
            future.set_result(result)

        def call() -> None:
            result: Result = None
            try:
                self._service.send(post)
            except (UndeliveredError, RefusedError) as error:
                result = error
            except Exception as error:  # noqa: BLE001 - a thread that dies in silence would look like a server that hangs
                result = UndeliveredError(f"{self._service.name}: {type(error).__name__}; report this")
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                loop.call_soon_threadsafe(settle, result)

        # A thread of a pool would be waited for when the program ends, however long its call hangs.
        threading.Thread(target=call, name=f"push {self._service.name}", daemon=True).start()
        return future
