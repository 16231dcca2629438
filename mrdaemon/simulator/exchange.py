"""The exchange and its one account: orders in, executions out, as time passes and prices come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from mrdaemon.core.instant import Instant
from mrdaemon.core.prints import Print
from mrdaemon.core.sessions import Calendar

Wire = dict[str, object]
"""A JSON object as it goes out."""


class ExchangeRules(msgspec.Struct, frozen=True, kw_only=True):
    """How this exchange behaves."""

    seed: int = 0
    cash: Decimal = Decimal("100000.00")
    multiplier: int = 4
    """Buying power as a multiple of the equity; a paper account has 4, a cash account 1."""
    partial_fills: Decimal = Decimal("0.1")
    """The share of executions that leave a rest."""
    latency_ms: tuple[float, float] = (2.0, 20.0)
    """From an order's arrival to its first execution."""
    rest_latency_ms: tuple[float, float] = (50.0, 500.0)
    """From a partial execution to the next one."""
    quote_age: float = 5.0
    """Seconds for which a quote is a price."""
    crypto_fee: Decimal = Decimal("0.0025")


class Exchange:
    """Takes orders, matches them with the prices seen, and keeps the account.

    It has no clock and no thread: ``see`` and ``pass_time`` make things happen, up to ``now()``; ``next_due`` says when
    ``pass_time`` next has something to do. Listeners are called in the middle of that, in order.
    """

    def __init__(self, rules: ExchangeRules, now: Callable[[], Instant], calendar: Calendar) -> None:
        """Open the account.

        Args:
            rules: how the exchange behaves.
            now: the time.
            calendar: the regular sessions of each symbol's market; extended hours are worked out from them.
        """
        self.rules = rules
        self.now = now
        self.calendar = calendar

    @property
    def next_due(self) -> Instant:
        """Say when ``pass_time`` next has something to do; NEVER when it has nothing."""
        raise NotImplementedError

    def see(self, batch: Sequence[Print]) -> None:
        """Take prices in, and execute what they allow. Symbols that were not listed are listed."""
        raise NotImplementedError

    def pass_time(self) -> None:
        """Do all that is due by now, in order of its time: arrivals, executions, expiries, openings, splits."""
        raise NotImplementedError

    def listen(self, listener: Callable[[Wire], None]) -> Callable[[], None]:
        """Call somebody with each order update (the ``data`` of a ``trade_updates`` message); give what stops it."""
        raise NotImplementedError

    def listen_status(self, listener: Callable[[Wire], None]) -> Callable[[], None]:
        """Call somebody with each trading status (``T`` is ``s``; ``t`` is an Instant); give what stops it."""
        raise NotImplementedError

    def halt(self, symbol: str) -> None:
        """Stop executions in a symbol."""
        raise NotImplementedError

    def resume(self, symbol: str) -> None:
        """Let executions in a symbol go on."""
        raise NotImplementedError

    def split(self, symbol: str, new_rate: Decimal, old_rate: Decimal, *, booked_after_s: float = 0) -> None:
        """Split a stock today: announced at once, booked in the account after some seconds."""
        raise NotImplementedError

    def dividend(self, symbol: str, per_share: Decimal, *, withheld: Decimal = Decimal(0)) -> None:
        """Pay a cash dividend on the shares held, less a withheld ratio of it."""
        raise NotImplementedError

    def deposit(self, amount: Decimal) -> None:
        """Pay dollars into the account, or out of it when negative."""
        raise NotImplementedError

    def fee(self, amount: Decimal, description: str = "") -> None:
        """Take a regulatory fee from the account."""
        raise NotImplementedError

    def bust(self, order_id: str) -> None:
        """Break an order's newest execution: shares and money go back."""
        raise NotImplementedError

    def account(self) -> Wire:
        """Give the account as REST answers it."""
        raise NotImplementedError

    def positions(self) -> list[Wire]:
        """Give the positions as REST answers them."""
        raise NotImplementedError

    def orders(self) -> list[Wire]:
        """Give every order, oldest first, as REST answers it."""
        raise NotImplementedError

    def activities(self) -> list[Wire]:
        """Give every account activity, oldest first, as REST answers it."""
        raise NotImplementedError
