"""Push to one phone, inbox or chat, through apprise.

The address is called in a thread of its own, never two calls at a time: one that hangs neither delays anybody nor piles
up, nor keeps the program from ending. What the address took is remembered for a while, so that a repeat sends the rest:
an answer may come late, and a message may go out in parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Self

from mrdaemon.alerts.alert import Alert
from mrdaemon.alerts.channel import Message, RefusedError, UndeliveredError
from mrdaemon.alerts.links import Button, Links
from mrdaemon.alerts.messages import together
from mrdaemon.settings import AlertsTable

if TYPE_CHECKING:
    from mrdaemon.alerts.services import Post, Service

USUAL_NAME: Final = AlertsTable.model_fields["instance"].default
"""An instance of this name need not be told from others."""

OURS: Final = 0.9
"""The part of a channel's time-out after which a call is given up: so that it is we who say which one hangs."""
ALONE: Final = 5
"""Questions in one message that are still sent one by one, so that each has buttons."""
REMEMBERED: Final = 100
"""Alerts that the address is known to have: more than are in one message."""

Result = UndeliveredError | RefusedError | None
"""How a call ended: None where it was taken."""


def problem(url: str) -> str | None:
    """Say why an address cannot be used, without a secret of it; None where it can. It takes a second, the first time.

    An address that is fine may still be wrong: nobody is asked.
    """
    from mrdaemon.alerts import addresses  # noqa: PLC0415 - apprise is slow to load: only for those who push

    return addresses.problem(url)


class PushChannel:
    """Sends to one address."""

    def __init__(self, name: str, url: str, *, timeout: float, instance: str, links: Links | None) -> None:
        """Nothing is loaded yet. ``timeout`` is in seconds, of one message."""
        self.name = name
        self._url = url
        self._timeout = timeout
        self._prefix = "" if instance == USUAL_NAME else f"{instance}: "
        self.links = links
        """Makes the buttons of questions; None where there are none."""
        self._service: Service | None = None
        self._calling: asyncio.Future[Result] | None = None
        self._had: deque[str] = deque(maxlen=REMEMBERED)

    async def __aenter__(self) -> Self:
        """Load what is needed, while there are no prices yet that could wait for it. Nobody is asked."""
        await self._ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End; a call that hangs is left to itself."""

    async def deliver(self, message: Message) -> None:
        """Send what the address does not have yet of a message; questions one by one, each with its buttons.

        Raises:
            UndeliveredError: it did not arrive, or not all of it; a repeat sends the rest.
            RefusedError: it will not be taken, or nothing will.
        """
        service = await self._ready()
        within = self._timeout * OURS
        until = asyncio.get_running_loop().time() + within
        if self._calling is not None and not await _ended(self._calling, until):
            complaint = f"{service.name}: the call before this one still hangs"
            raise UndeliveredError(complaint)
        while rest := [each for each in message.alerts if each.id not in self._had]:
            alerts = self._next(rest)
            self._calling = self._call(service, self._post(message, alerts), alerts)
            if not await _ended(self._calling, until):
                complaint = f"{service.name}: no answer within {within:g} s"
                raise UndeliveredError(complaint)
            if (failure := self._calling.result()) is not None:
                raise failure

    async def _ready(self) -> Service:
        if self._service is None:
            self._service = await asyncio.to_thread(self._load)
        return self._service

    def _load(self) -> Service:
        from mrdaemon.alerts.services import Service  # noqa: PLC0415 - see ``problem``

        return Service(self._url, self._timeout)

    # What is sent

    def _next(self, rest: Sequence[Alert]) -> Sequence[Alert]:
        """Take a question by itself, for a message has room for the buttons of one; unless there are too many."""
        if self.links is None or sum(bool(each.approval) for each in rest) > ALONE:
            return rest
        first = next((place for place, each in enumerate(rest) if each.approval), len(rest))
        return rest[: first or 1]

    def _post(self, message: Message, alerts: Sequence[Alert]) -> Post:
        """Write alerts of a message, which may be all of it."""
        from mrdaemon.alerts.services import Post  # noqa: PLC0415 - see ``problem``

        part = message if len(alerts) == len(message.alerts) else together(alerts, message.when)
        return Post(self._prefix + part.title, part.text, part.level, self._buttons(alerts))

    def _buttons(self, alerts: Sequence[Alert]) -> tuple[Button, ...]:
        """Give the answers to the requests that alerts are about; where there are several, they say to which."""
        if self.links is None:
            return ()
        asking = {each.approval: each.symbol or each.approval for each in alerts if each.approval}
        buttons = {name: self.links.buttons(name) for name in asking}
        if len(alerts) == 1:
            return next(iter(buttons.values()), ())
        return tuple(
            each._replace(label=f"{each.label} {asking[name]}") for name, group in buttons.items() for each in group
        )

    # Calling

    def _call(self, service: Service, post: Post, alerts: Sequence[Alert]) -> asyncio.Future[Result]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def settle(result: Result) -> None:
            if result is None:
                self._had.extend(each.id for each in alerts)
            future.set_result(result)

        def call() -> None:
            result: Result = None
            try:
                service.send(post)
            except (UndeliveredError, RefusedError) as error:
                result = error
            except Exception as error:  # noqa: BLE001 - a thread that dies in silence would look like a server that hangs
                result = UndeliveredError(f"{service.name}: {type(error).__name__}; report this")
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                loop.call_soon_threadsafe(settle, result)

        # A thread of a pool would be waited for when the program ends, however long its call hangs.
        threading.Thread(target=call, name=f"push {service.name}", daemon=True).start()
        return future


async def _ended(calling: asyncio.Future[Result], until: float) -> bool:
    """Wait for a call until an instant of the loop's clock; one that hangs is left alone."""
    await asyncio.wait([calling], timeout=until - asyncio.get_running_loop().time())
    return calling.done()
