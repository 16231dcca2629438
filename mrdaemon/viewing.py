"""Looking at a running daemon: how everything stands, for whoever may see it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mrdaemon import haltfile
from mrdaemon import status as facts
from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.state import State
from mrdaemon.daemon import Daemon
from mrdaemon.health import stuck_status
from mrdaemon.measured import Measured


class Viewing:
    """Looks at one daemon. Nothing here waits."""

    def __init__(self, daemon: Daemon, directory: Path) -> None:
        self._daemon = daemon
        self._directory = str(directory.resolve())

    @property
    def state(self) -> State:
        """Everything that is known. To be read only."""
        return self._daemon.engine.state

    def now(self) -> Instant:
        """Give the daemon's time."""
        return self._daemon.now()

    def overview(self) -> facts.Status:
        """Give the status without its positions."""
        daemon = self._daemon
        found = facts.overview(daemon.engine.state, self._directory, daemon.now())
        there = haltfile.is_there(daemon.halt_file)
        state = daemon.engine.state
        channels = tuple(facts.channel_status(state, name, count) for name, count in daemon.outgoing().items())
        return msgspec.structs.replace(
            found,
            process=os.getpid(),
            live=True,
            halt_file=there,
            feed=self._feed(),
            channels=channels,
            stuck=tuple(map(stuck_status, daemon.pulse.stuck())),
        )

    def positions(self) -> Iterator[facts.PositionStatus]:
        """Give every position's status, one at a time: whoever looks may let others work in between."""
        engine = self._daemon.engine
        return facts.positions_of(engine.state, engine.seen, engine.zone, self._daemon.now())

    def measured(self) -> Measured:
        """Give what the daemon has measured of itself."""
        return self._daemon.measured()

    def _feed(self) -> facts.FeedStatus | None:
        feed, engine = self._daemon.feed, self._daemon.engine
        if feed is None:
            return None
        newest = max(
            (last[2] for name in engine.state.symbols if (last := engine.last(name)) is not None), default=None
        )
        return facts.FeedStatus(
            name=feed.name,
            is_recording=feed.lockstep,
            delivered=feed.delivered,
            refused=feed.refused,
            newest=None if newest is None else iso(newest),
            ended=feed.lockstep and engine.state.recording_read,
        )
