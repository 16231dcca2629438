"""How the local exchange behaves where exchanges differ."""

from __future__ import annotations

from decimal import Decimal

import msgspec

Wire = dict[str, object]
"""A JSON object as it goes out."""


class ExchangeRules(msgspec.Struct, frozen=True, kw_only=True):
    """How this exchange behaves."""

    seed: int = 0
    cash: Decimal = Decimal("100000.00")
    multiplier: int = 4
    """Buying power as a multiple of the equity; a paper account has 4, a cash account 1."""
    partial_fills: Decimal = Decimal("0.1")
    """The share of executions that leave a rest (paper accounts: about one in ten)."""
    latency_ms: tuple[float, float] = (2.0, 20.0)
    """From an order's arrival to its first execution, and from a request to cancel to the end."""
    rest_latency_ms: tuple[float, float] = (50.0, 500.0)
    """From a partial execution to the next one."""
    quote_age: float = 5.0
    """Seconds for which a quote is a price."""
    crypto_fee: Decimal = Decimal("0.0025")
    """The ratio of what a trade in coins credits that is kept as a fee."""
