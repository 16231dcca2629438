"""Push to phones and inboxes, through apprise: several addresses side by side, each at its own pace.

Every address is called in a thread of its own, never two calls at a time: one that hangs neither delays the others nor
piles up, nor keeps the program from ending. Who has taken a message is remembered, so that a repeat of it goes only
where it did not arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Final, Self

from mrdaemon.alerts.channel import Message, RefusedError, UndeliveredError
from mrdaemon.alerts.links import Button, Links
from mrdaemon.settings import AlertsTable, ChannelTable

if TYPE_CHECKING:
    from mrdaemon.alerts.services import Post, Service

USUAL_NAME: Final = AlertsTable.model_fields["instance"].default
"""An instance of this name need not be told from others."""

Ids = frozenset[str]
Result = Exception | None
"""How a call ended: None where the message was taken."""


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
        """Begin. Nothing is loaded or asked before there is something to send."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End; a call that hangs is left to itself."""

    async def deliver(self, message: Message) -> None:
        """Send a message to every address that has not taken it yet.

        Raises:
            UndeliveredError: it did not arrive everywhere; a repeat goes to the rest.
            RefusedError: all that did not take it never will; for good only where no address takes anything.
        """
        if self._lines is None:
            self._lines = [_Line(each) for each in await asyncio.to_thread(self._load)]
        ids = frozenset(each.id for each in message.alerts)
        post = self._post(message)
        calls = [each.deliver(post, ids, self._table.timeout) for each in self._lines]
        failures = [each for each in await _all(calls) if each is not None]
        said = "; ".join(str(each) for each in failures)
        refusals = [each for each in failures if isinstance(each, RefusedError)]
        if len(refusals) < len(failures):
            raise UndeliveredError(said)
        if refusals:
            message_only = len(refusals) < len(self._lines) or any(each.message_only for each in refusals)
            raise RefusedError(said, message_only=message_only)

    def _load(self) -> list[Service]:
        from mrdaemon.alerts.services import Service  # noqa: PLC0415 - see ``problem``

        return [Service(each, float(self._table.timeout)) for each in self._table.urls]

    def _post(self, message: Message) -> Post:
        from mrdaemon.alerts.services import Post  # noqa: PLC0415 - see ``problem``

        return Post(self._prefix + message.title, message.text, message.level, self._buttons(message))

    def _buttons(self, message: Message) -> tuple[Button, ...]:
        """Give the answers to the request that a message is about; where there are several, they say which."""
        if self._links is None:
            return ()
        asking = {each.approval: each for each in message.alerts if each.approval}
        buttons = {name: self._links.buttons(name) for name in asking}
        if len(message.alerts) == 1:
            return next(iter(buttons.values()), ())
        return tuple(
            each._replace(label=f"{each.label} {asking[name].symbol or name}")
            for name, group in buttons.items()
            for each in group
        )


async def _all(calls: Sequence[Awaitable[Result]]) -> list[Result]:
    return list(await asyncio.gather(*calls))


class _Line:
    """One address, its call that is under way, and what it has had of the newest message."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._calling: asyncio.Future[Result] | None = None
        self._about: Ids = frozenset()
        self._settled: dict[str, Result] = {}
        """What became of the newest message's alerts, of those that need not be sent again."""

    async def deliver(self, post: Post, ids: Ids, within: float) -> Result:
        """Send a post within some seconds, unless it was settled before; gives how it ended."""
        self._settled = {name: result for name, result in self._settled.items() if name in ids}
        if ids <= self._settled.keys():
            return next((each for each in self._settled.values() if each is not None), None)
        if self._calling is None or self._calling.done():
            self._calling, self._about = self._call(post, ids), ids
        elif self._about != ids:
            return UndeliveredError(f"{self._service.name}: the call before this one still hangs")
        await asyncio.wait([self._calling], timeout=within)  # Unlike others, it leaves the call alone when it is over.
        if not self._calling.done():
            return UndeliveredError(f"{self._service.name}: no answer within {within:g} s")
        return self._calling.result()

    def _call(self, post: Post, ids: Ids) -> asyncio.Future[Result]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def settle(result: Result) -> None:
            if not isinstance(result, UndeliveredError):
                self._settled.update(dict.fromkeys(ids, result))
            if not future.done():
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
