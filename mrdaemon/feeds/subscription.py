"""What one connection to a stream of Alpaca's brings, changed while others read from it.

Whoever reads hands over what the stream answers; whoever changes waits for that. Alpaca answers every change with all
that is subscribed, or with why it is not, and then everything is as before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from mrdaemon.alpaca.link import Connection, LostError
from mrdaemon.alpaca.market import Control, ErrorMessage, SubscriptionMessage
from mrdaemon.feeds import FeedRefusedError

ANSWER_WITHIN: Final = 10.0
"""Seconds in which Alpaca must answer."""
AT_ONCE: Final = 500
"""Symbols in one change; Alpaca adds them up."""
OF_A_CHANGE: Final = frozenset({400, 405, 409, 410})
"""Codes with which Alpaca refuses a change, and leaves the connection as it is (syntax, limit, plan, action)."""
LIMIT: Final = 405

_encode: Final = msgspec.msgpack.Encoder().encode


class ChangeRefusedError(FeedRefusedError):
    """Alpaca refused a change; the connection goes on as before."""

    def __init__(self, error: ErrorMessage) -> None:
        super().__init__(f"{error.msg} ({error.code})")
        self.full = error.code == LIMIT
        """Whether there is no room for more."""


class Subscription:
    """What a connection is subscribed to."""

    def __init__(self, connection: Connection, trades: Iterable[str], quotes: Iterable[str], *, statuses: bool) -> None:
        """Begin with what was asked for when it was opened.

        Args:
            connection: somebody reads from it, and hands answers to ``hear``.
            trades: symbols whose trades it brings.
            quotes: those whose quotes it brings.
            statuses: whether halts are wanted of each symbol, too.
        """
        self.trades = frozenset(trades)
        self.quotes = frozenset(quotes)
        self._connection = connection
        self._statuses = statuses
        self._turn = asyncio.Lock()
        self._answer: asyncio.Future[SubscriptionMessage] | None = None

    async def more(self, trades: Iterable[str], quotes: Iterable[str]) -> None:
        """Add what it does not bring yet.

        Raises:
            ChangeRefusedError: Alpaca does not send it; what was added before the refusal is.
            LostError: the connection ended, or does not answer.
        """
        await self._change("subscribe", sorted(set(trades) - self.trades), sorted(set(quotes) - self.quotes))

    async def fewer(self, trades: Iterable[str], quotes: Iterable[str]) -> None:
        """Take away what it brings.

        Raises:
            ChangeRefusedError, LostError: as ``more``.
        """
        await self._change("unsubscribe", sorted(self.trades & set(trades)), sorted(self.quotes & set(quotes)))

    def hear(self, control: Control) -> bool:
        """Take what the stream says; tells whether it is an answer that somebody waits for."""
        waiting = self._answer
        if waiting is None or waiting.done():
            return False
        if isinstance(control, SubscriptionMessage):
            waiting.set_result(control)
        elif isinstance(control, ErrorMessage) and control.code in OF_A_CHANGE:
            waiting.set_exception(ChangeRefusedError(control))
        else:
            return False
        return True

    def end(self) -> None:
        """Let nobody wait for a connection that is gone."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LostError("the connection ended"))

    async def _change(self, action: str, trades: Sequence[str], quotes: Sequence[str]) -> None:
        async with self._turn:
            for start in range(0, max(len(trades), len(quotes)), AT_ONCE):
                some, quoted = (each[start : start + AT_ONCE] for each in (trades, quotes))
                wish: dict[str, object] = {"action": action, "trades": some, "quotes": quoted}
                if self._statuses:
                    wish["statuses"] = some
                answer = await self._ask(_encode(wish))
                self.trades, self.quotes = frozenset(answer.trades or ()), frozenset(answer.quotes or ())

    async def _ask(self, wish: bytes) -> SubscriptionMessage:
        self._answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._connection.send(wish)
                return await self._answer
        except TimeoutError as error:
            message = f"Alpaca has not answered for {ANSWER_WITHIN:.0f} s"
            raise LostError(message) from error
        finally:
            self._answer = None
