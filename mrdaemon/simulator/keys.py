"""The one pair of keys that the local Alpaca knows, and what it opens."""

from __future__ import annotations

from enum import StrEnum
from hmac import compare_digest


class Plan(StrEnum):
    """The market data that a subscription pays for."""

    FREE = "free"
    """IEX only, and 30 channels of trades and quotes."""
    PLUS = "plus"
    """The consolidated tape as well, and no limit."""


class Trading(StrEnum):
    """Which of the two services is played: they differ in how they frame order updates."""

    PAPER = "paper"
    LIVE = "live"


class Keys:
    """The key and the secret of the account. They can be revoked while clients are connected."""

    def __init__(
        self,
        key_id: str = "PKSIMULATOR",
        secret: str = "simulated",  # noqa: S107 - it opens nothing but this loopback service
        *,
        plan: Plan = Plan.FREE,
        trading: Trading = Trading.PAPER,
    ) -> None:
        self.key_id = key_id
        self.secret = secret
        self.plan = plan
        self.trading = trading
        self._revoked = False

    def accepts(self, key_id: str, secret: str) -> bool:
        """Tell whether a pair opens the account now."""
        known = compare_digest(key_id.encode(), self.key_id.encode())
        return known and compare_digest(secret.encode(), self.secret.encode()) and not self._revoked

    def revoke(self) -> None:
        """Refuse the pair from now on."""
        self._revoked = True

    def restore(self) -> None:
        """Accept the pair again."""
        self._revoked = False
