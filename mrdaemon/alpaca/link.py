"""A connection that is made again whenever it ends, and that says how it stands.

It knows nothing of what is said over it: a conversation does, which logs in, subscribes and listens until the
connection ends. How it ended decides what follows: patience, a long wait where Alpaca still holds the last connection,
or giving up where only a person can help.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, Protocol

import structlog
from websockets.exceptions import ConnectionClosed

from mrdaemon import pulse
from mrdaemon.clock import Clock
from mrdaemon.core.instant import SECOND
from mrdaemon.core.policy import FeedState
from mrdaemon.retry import Backoff

OPEN_WITHIN: Final = 15.0
"""Seconds in which a connection must be open."""
CLOSE_WITHIN: Final = 3.0
PROVEN_AFTER: Final = 30 * SECOND
"""How long a connection must have lasted before the next failure counts as the first."""
TAKEN_FIRST, TAKEN_LONGEST = 10.0, 20.0
"""Seconds to wait where Alpaca still holds an old connection: it lets go after about ninety."""

log: Final = structlog.get_logger("mrdaemon.alpaca")
Message = str | bytes


class LostError(Exception):
    """The connection ended, or is of no use any more: make another."""


class TakenError(LostError):
    """Alpaca holds an earlier connection of this login still: be patient."""


class DeniedError(Exception):
    """Alpaca will not have us: trying again is of no use before a person has done something."""


ENDS: Final = (LostError, ConnectionClosed)
"""What reading from a connection raises once it has ended; ``opened`` makes a LostError of either."""


class Connection(Protocol):
    """An open connection."""

    async def recv(self) -> bytes:
        """Wait for a message; text comes as it was encoded.

        Raises:
            LostError: the connection ended.
            ConnectionClosed: the same.
        """

    async def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            LostError: the connection ended.
        """

    async def close(self) -> None:
        """Close it, politely."""


Connect = Callable[[str, Mapping[str, str]], Awaitable[Connection]]
"""Opens a connection to an address, with headers. Raises LostError, or DeniedError where the keys are refused."""
Say = Callable[[FeedState, str], None]
"""Is told each change of state, and why."""


class Link:
    """Keeps one conversation going."""

    def __init__(self, name: str, converse: Callable[[Link], Awaitable[None]], say: Say, clock: Clock) -> None:
        """Build it; nothing is opened yet.

        Args:
            name: what people call the stream: the log has it.
            converse: connects, logs in, and listens until the connection ends, which an exception tells.
            say: is told each change of state.
            clock: waits.
        """
        self._converse = converse
        self._say = say
        self._clock = clock
        self._said: tuple[FeedState, str] | None = None
        self._log = log.bind(stream=name)

    def say(self, state: FeedState, reason: str = "") -> None:
        """Tell a state, if it is news."""
        if (state, reason) != self._said:
            self._said = (state, reason)
            self._say(state, reason)

    async def run(self) -> None:
        """Converse again and again; returns once Alpaca will not have us."""
        backoff, taken = Backoff(), Backoff(TAKEN_FIRST, TAKEN_LONGEST)
        self.say(FeedState.CONNECTING)
        while True:
            begun = self._clock.now()
            pulse.begin("connecting")
            try:
                await self._converse(self)
                reason, wait = "the connection ended", None
            except DeniedError as denied:
                pulse.rest()
                self._log.error("refused", reason=str(denied))
                self.say(FeedState.REFUSED, str(denied))
                return
            except TakenError as held:
                reason, wait = str(held), TAKEN_FIRST / 2 + taken.next()
            except (LostError, TimeoutError, OSError) as lost:
                reason, wait = str(lost) or type(lost).__name__, None
            self.say(FeedState.CONNECTING, reason)
            if self._clock.now() - begun > PROVEN_AFTER:
                backoff.succeeded()
                taken.succeeded()
            wait = backoff.next() if wait is None else wait
            self._log.warning("disconnected", reason=reason, again_in=round(wait, 1))
            await pulse.idle(self._clock.sleep(wait))


@contextlib.asynccontextmanager
async def opened(connect: Connect, address: str, headers: Mapping[str, str]) -> AsyncIterator[Connection]:
    """Hold a connection open, and close it in bounded time whatever happens.

    Raises:
        LostError: it ended.
    """
    async with asyncio.timeout(OPEN_WITHIN):
        connection = await connect(address, headers)
    try:
        yield connection
    except ConnectionClosed as closed:
        message = f"the connection was closed: {closed}"
        raise LostError(message) from closed
    finally:
        with contextlib.suppress(TimeoutError, LostError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await connection.close()
