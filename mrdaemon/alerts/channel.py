"""What a way out must do: take a message and say whether it arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, Protocol, Self, runtime_checkable

from mrdaemon.alerts.alert import Alert, Level
from mrdaemon.core.policy import ChannelState

GRACE_S: Final = 5
"""Seconds that a side must fail before that is put on the record: one that fails now and then is not down."""


class UndeliveredError(Exception):
    """A message did not arrive, and may arrive later; the message says why. No secret is in it."""


class RefusedError(Exception):
    """The other side will never take this message, or never take any from us until a person sees to it.

    ``message_only``: only this message; the next one may be taken.
    """

    def __init__(self, reason: str, *, message_only: bool = False) -> None:
        super().__init__(reason)
        self.message_only = message_only


class Message(NamedTuple):
    """What is sent in one go: one alert, or several that fired together or waited for the end of quiet hours."""

    alerts: Sequence[Alert]
    """At least one, in order."""
    title: str
    text: str
    level: Level
    """The highest of theirs."""
    when: Callable[[str], str | None] = lambda _: None
    """Says of an alert's id when it was, where it comes late."""
    until: Callable[[str], int | None] = lambda _: None
    """Says of an alert's id when it ceases to be of use, in UTC nanoseconds; None where that was not counted yet."""


class Channel(Protocol):
    """A way out. An async context manager: entered when the daemon starts, left when it stops."""

    name: str

    async def __aenter__(self) -> Self:
        """Begin: never waits for the other side, and never fails because it is away."""

    async def __aexit__(self, *_: object) -> None:
        """Say good-bye where that is done, within seconds."""

    async def deliver(self, message: Message) -> None:
        """Send a message; returns once the other side has taken it. The caller bounds the time.

        A repeat carries the same ids. One message at a time, in order.

        Raises:
            UndeliveredError: it did not arrive, or nobody knows; it will be sent again.
            RefusedError: it will not be taken, or none will.
        """


@runtime_checkable
class Ears(Protocol):
    """A channel that also brings answers and commands."""

    async def listen(self) -> None:
        """Take what comes in until cancelled. It keeps its connection by itself."""


@runtime_checkable
class Connected(Protocol):
    """A channel that keeps a connection: what waits goes out as soon as there is one again."""

    connected: asyncio.Event
    """Set while there is one."""


@runtime_checkable
class Leaving(Protocol):
    """A channel that leaves something behind, such as messages that a broker keeps for whoever comes later."""

    async def withdraw(self) -> None:
        """Take it away: the channel is no more. The caller bounds the time."""


@runtime_checkable
class Standing(Protocol):
    """A channel that keeps a connection, or a way in, that says by itself how that stands."""

    name: str
    stands: Callable[[ChannelState, str], Awaitable[None]] | None
    """To be told of every change; None where nobody wants to know."""
