"""What a courier reads from and writes to: the alerts of a journal, and what became of them on a channel."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from mrdaemon.alerts.alert import Letter
from mrdaemon.outbox import Backlog, Delivery


class Outbox(Protocol):
    """The alerts of a journal, and what became of them."""

    async def backlog(self, channel: str) -> Backlog:
        """Give how far a channel is, and what was set aside for it."""

    async def after(self, n: int, limit: int) -> Sequence[Letter]:
        """Give alerts after one, in order."""

    async def settle(self, channel: str, upto: int, deliveries: Sequence[Delivery]) -> None:
        """Write down what became of alerts, and how far a channel is."""

    def news(self) -> asyncio.Event:
        """Give what is set once there are more alerts."""

    def urgent(self) -> asyncio.Event:
        """Give what is set once there are more critical alerts."""
