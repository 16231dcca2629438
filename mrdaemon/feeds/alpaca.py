"""Live prices from Alpaca: a stream for shares, one for crypto, and how both follow another configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial

from mrdaemon import pulse
from mrdaemon.feeds import Adaptation, Deliver, FeedRefusedError
from mrdaemon.feeds.alpacastream import Market, Stream, Surroundings


class AlpacaFeed:
    """Prices from one or two of Alpaca's streams."""

    lockstep = False

    def __init__(self, markets: Sequence[Market], around: Surroundings) -> None:
        self._around = around
        self._streams = {each.name: Stream(each, around) for each in markets}
        self._begin: Callable[[Stream], object] = lambda _: None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._gone = (0, 0)
        """What streams delivered, and refused, that are not needed any more."""
        self.name = self._called()

    def _called(self) -> str:
        return " and ".join(self._streams)

    @property
    def delivered(self) -> int:
        """How many prints were delivered."""
        return self._gone[0] + sum(each.delivered for each in self._streams.values())

    @property
    def refused(self) -> int:
        """How many messages were malformed."""
        return self._gone[1] + sum(each.refused for each in self._streams.values())

    async def run(self, deliver: Deliver) -> None:
        """Deliver until the task is cancelled; a stream that Alpaca refuses later on is told, and stays silent.

        Raises:
            FeedRefusedError: Alpaca refused a stream before it brought anything: a person has to do something.
        """
        async with asyncio.TaskGroup() as group:
            here = copy_context()  # Where it is known who watches us, whoever begins a stream.

            def begin(stream: Stream) -> None:
                name, run = stream.market.name, stream.run(deliver)
                self._tasks[name] = here.run(pulse.beside, group.create_task, run, name)

            self._begin = begin
            for stream in self._streams.values():
                begin(stream)

    # Another configuration, without a restart

    def adaptation(self, markets: Sequence[Market]) -> Adaptation:
        """Give the change to other markets."""
        return Adaptation(partial(self.prepare, markets), partial(self.take, markets), self.abandon)

    async def prepare(self, markets: Sequence[Market]) -> None:
        """Have the connections that there are bring what other markets want besides. Nothing of it counts yet.

        Raises:
            FeedRefusedError: Alpaca does not send it; everything is as before.
        """
        try:
            for each in markets:
                if each.name in self._streams:
                    await self._streams[each.name].prepare(each)
        except FeedRefusedError:
            self.abandon()
            raise

    def take(self, markets: Sequence[Market]) -> Sequence[str]:
        """Follow other markets from now on: what is new in them counts, and streams begin and end; gives the latter."""
        gone = sorted(self._streams.keys() - {each.name for each in markets})
        for name in gone:
            stream = self._streams.pop(name)
            self._gone = (self._gone[0] + stream.delivered, self._gone[1] + stream.refused)
            if name in self._tasks:
                self._tasks.pop(name).cancel()
        for each in markets:
            if each.name in self._streams:
                self._streams[each.name].take(each)
            else:
                stream = self._streams[each.name] = Stream(each, self._around, late=True)
                self._begin(stream)
        self.name = self._called()
        return gone

    def abandon(self) -> None:
        """Let go of what was prepared."""
        for each in self._streams.values():
            each.abandon()
