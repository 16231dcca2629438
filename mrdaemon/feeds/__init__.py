"""Where prices come from: the protocol that every feed follows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from mrdaemon.core.policy import FeedState
from mrdaemon.core.prints import Print


class FeedError(Exception):
    """A feed that cannot deliver any price; the message says what was got, what was wanted and where."""


class FeedRefusedError(FeedError):
    """A feed that its owner will not let us have: keys or plan are not right, and only a person can change that."""


class Deliver(Protocol):
    """What a feed calls with each batch of prints, in the order they arrived."""

    async def __call__(self, batch: Sequence[Print], cursor: int | None) -> None:
        """Take a batch. ``cursor`` counts the prints delivered so far, for a feed that can be read again."""


class Feed(Protocol):
    """A source of prices. ``run`` delivers until the source ends (a file) or the task is cancelled (a stream)."""

    name: str
    """What people call it."""
    lockstep: bool
    """Whether the feed waits until what one print caused is durable and answered before it sends the next."""

    @property
    def delivered(self) -> int:
        """How many prints were delivered."""

    @property
    def refused(self) -> int:
        """How many were malformed."""

    async def run(self, deliver: Deliver) -> None:
        """Deliver every batch.

        Raises:
            FeedError: there is nothing to deliver, and why.
        """


async def _nothing() -> None:
    """Prepare nothing."""


class Adaptation(NamedTuple):
    """A change of what a feed brings: prepared, and then taken or let go."""

    prepare: Callable[[], Awaitable[None]] = _nothing
    """Has the connections that there are bring what is wanted besides; nothing of it counts yet. Raises
    FeedRefusedError where its owner does not let us have it: everything is as before then."""
    take: Callable[[], Sequence[str]] = tuple
    """Lets what is wanted count from now on, and nothing else; gives the streams that are no more."""
    abandon: Callable[[], None] = lambda: None
    """Lets go of what was prepared."""


class Listener(Protocol):
    """Whom a live feed tells what is no price. Every method returns at once."""

    def stands(self, feed: str, state: FeedState, reason: str) -> None:
        """Take how a connection stands, and why."""

    def halted(self, symbol: str, reason: str | None) -> None:
        """Take the exchange's word that a symbol is halted, or (no reason) that it trades again."""

    def busted(self, symbol: str, trade: int, corrected: Print | None) -> None:
        """Take it that a trade was not as it was reported, and how it was, if it was at all."""

    def halts(self) -> frozenset[str]:
        """Give the symbols that are taken to be halted."""
