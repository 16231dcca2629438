"""Who holds the one connection that a key may have to an endpoint. A connection that broke off is held for a while."""

from __future__ import annotations

from typing import Final

from mrdaemon.core.instant import SECOND, Instant

REAP: Final = 90 * SECOND
"""How long the service takes to notice that a client is gone that did not close (about 90 s)."""

_OPEN: Final = Instant(2**63 - 1)


class Slots:
    """The connections that are counted against each key's limit of one for each endpoint."""

    def __init__(self, reap: int = REAP) -> None:
        """Begin with every place free.

        Args:
            reap: nanoseconds for which a connection that was not closed cleanly still counts.
        """
        self._reap = reap
        self._held: dict[tuple[str, str], Instant] = {}

    def claim(self, key: str, endpoint: str, now: Instant) -> bool:
        """Take the place, if it is free."""
        if self._held.get((key, endpoint), now) > now:
            return False
        self._held[key, endpoint] = _OPEN
        return True

    def close(self, key: str, endpoint: str) -> None:
        """Give the place back: the connection was closed."""
        self._held.pop((key, endpoint), None)

    def lose(self, key: str, endpoint: str, now: Instant) -> None:
        """Note that the connection is gone without a word: its place stays taken until it is noticed."""
        self._held[key, endpoint] = Instant(now + self._reap)
