"""What comes in and cannot be used, commands, prices and rows: the first is told, what follows closely is counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mrdaemon.alerts.alert import Letter, Level, Topic
from mrdaemon.alerts.saying import Saying, Sayings, at_time, facts, plain
from mrdaemon.core import events as ev
from mrdaemon.core.instant import MINUTE, Instant
from mrdaemon.core.prints import Unfit
from mrdaemon.core.state import State
from mrdaemon.sentences import sentence

FLOOR: Final = 10 * MINUTE
"""The least time between two refused commands that are told, and between two warnings of a wrong clock."""
CLOCKS: Final = frozenset({Unfit.SKEW, Unfit.FUTURE})
"""Rules that a price breaks when a clock is wrong: ours, perhaps."""


class Refusals:
    """Tells of what was refused."""

    def __init__(self, state: State, said: Iterable[Letter]) -> None:
        self._command: Instant | None = None
        """When a refused command was told last."""
        self._unsaid = 0
        """Refused commands since."""
        self._clock: Instant | None = None
        """When a wrong clock was warned of last."""
        self._row_told = False
        for letter in sorted(said, key=lambda each: each.n):
            match letter.alert.kind:
                case "command_refused":
                    self._command = letter.alert.at
                case "price_refused" if letter.alert.level is Level.WARNING:
                    self._clock = max(self._clock or letter.alert.at, letter.alert.at)
                case "row_refused":
                    self._row_told = letter.alert.at >= state.started
                case _:
                    pass

    def started(self, _: ev.DaemonStarted) -> Sayings:
        """Let a row be news again."""
        self._row_told = False
        return ()

    def row(self, event: ev.RowRefused) -> Sayings:
        """Tell of the first row of a recording that cannot be used; the end counts them."""
        if self._row_told:
            return
        self._row_told = True
        yield Saying(
            level=Level.INFO,
            topic=Topic.PRICES,
            kind="row_refused",
            subject="recording",
            title="A row was refused",
            text=f"A row of the recording cannot be used, and further ones are counted only: {plain(event.row)}.",
            facts=facts(row=event.row),
        )

    def price(self, event: ev.PrintRefused) -> Sayings:
        """Say why a price does not count that would have fired; once a day for each symbol and rule.

        A wrong clock refuses the prices of every symbol: that is one warning.
        """
        clock = event.rule in CLOCKS
        warns = clock and not _soon(event.at, self._clock)
        if warns:
            self._clock = event.at
        hint = "; a clock is wrong, perhaps this machine's" if clock else ""
        yield Saying(
            level=Level.WARNING if warns else Level.INFO,
            topic=Topic.PRICES,
            kind="price_refused",
            subject=event.symbol,
            title=f"{event.symbol}: a price does not count",
            text=f"{event.symbol} at {event.price} does not count: {plain(event.reason)}{hint}.",
            symbol=event.symbol,
            facts=facts(price=event.price, rule=event.rule, day=event.day),
        )

    def command(self, event: ev.CommandRefused) -> Sayings:
        """Tell of a command that was refused, with how many were since the last one that was told."""
        if _soon(event.at, self._command):
            self._unsaid += 1
            return
        since, more = self._command or Instant(0), self._unsaid
        self._command, self._unsaid = event.at, 0
        others = "So was another" if more == 1 else f"So were {more:,} others"
        besides = f" {others} since {at_time(since)}." if more else ""
        yield Saying(
            level=Level.INFO,
            topic=Topic.DAEMON,
            kind="command_refused",
            subject="commands",
            title="A command was refused",
            text=f"{sentence(event)}{besides}",
            facts=facts(command=event.command, by=event.by, reason=event.reason, more=str(more or "")),
        )


def _soon(at: Instant, before: Instant | None) -> bool:
    return before is not None and 0 <= at - before < FLOOR
