"""What channels may see of the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mrdaemon.core.instant import Instant
from mrdaemon.core.state import State
from mrdaemon.status import PositionStatus, Status


class View(Protocol):
    """Looks at a running daemon. Nothing here waits; what is given is as of now."""

    @property
    def state(self) -> State:
        """Everything that is known. To be read only."""

    def now(self) -> Instant:
        """Give the daemon's time."""

    def overview(self) -> Status:
        """Give the status without its positions."""

    def positions(self) -> Iterator[PositionStatus]:
        """Give every position's status, one at a time: whoever looks may let others work in between."""
