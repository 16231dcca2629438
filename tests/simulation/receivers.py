"""Who receives alerts: a side that is away for a while, loses what it was sent, or takes it and does not say so."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Self

from mrdaemon.alerts.channel import Message, RefusedError, UndeliveredError
from mrdaemon.alerts.manners import Manners
from mrdaemon.ways import Way

AT_MOST = 4.0
"""Seconds that a receiver takes over a message."""


class Receiver:
    """One side. It lives on when a daemon dies."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.calm = False
        """Whether nothing goes wrong any more."""
        self.got: list[str] = []
        """The ids that it has taken, repeats and all."""
        self._draw = Random(f"receiver {name} {seed}")
        self._away_until = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def deliver(self, message: Message) -> None:
        draw = self._draw
        await asyncio.sleep(draw.uniform(0.01, AT_MOST if draw.random() < 0.1 else 0.2))
        if self.calm:
            self._take(message)
            return
        now = asyncio.get_running_loop().time()
        if now < self._away_until:
            raise UndeliveredError("away")
        dice = draw.random()
        if dice < 0.03:
            self._away_until = now + draw.choice((5.0, 60.0, 400.0))
            raise UndeliveredError("going away")
        if dice < 0.06:
            await asyncio.sleep(1e9)
        if dice < 0.07:
            raise RefusedError("wrong password")
        if dice < 0.08:
            raise KeyError("a bug")
        self._take(message)
        if dice < 0.12:
            raise UndeliveredError("it has it, but nobody knows")

    def _take(self, message: Message) -> None:
        self.got += [each.id for each in message.alerts]


def ways(receivers: list[Receiver]) -> list[Way]:
    """Give the ways to them: one hears each alert by itself, the others together what fires together."""
    return [
        Way(each, Manners(each.name, group=0.0 if number == 0 else 5.0, timeout=10.0))
        for number, each in enumerate(receivers)
    ]
