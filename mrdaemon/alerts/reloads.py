"""Words for a configuration that was read anew: taken, with what it changed, or refused, with what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mrdaemon.alerts.alert import Letter, Level, Topic
from mrdaemon.alerts.saying import Saying, Sayings, by_whom, facts, plain
from mrdaemon.core import events as ev

NAMED: Final = 5
"""Changes or problems that an alert names before it counts."""
REFUSED: Final = "configuration_refused"
ENDS: Final = frozenset({"configuration_reloaded", "started"})
"""Kinds after which an earlier refusal is of no account any more."""


class Reloads:
    """Tells how reading the configuration anew ended. That a refused one was taken is told as loudly as the refusal."""

    def __init__(self, said: Iterable[Letter]) -> None:
        newest = max((each for each in said if each.alert.kind in ENDS | {REFUSED}), key=_place, default=None)
        self._refused = newest is not None and newest.alert.kind == REFUSED

    def started(self, _: ev.DaemonStarted) -> Sayings:
        """Forget a refusal: a start has taken what is in the file."""
        self._refused = False
        return ()

    def reloaded(self, event: ev.ConfigurationReloaded) -> Sayings:
        """Say what is otherwise from now on."""
        level = Level.WARNING if self._refused else Level.INFO
        again = ", which was refused before," if self._refused else ""
        self._refused = False
        yield Saying(
            level=level,
            topic=Topic.DAEMON,
            kind="configuration_reloaded",
            subject="configuration",
            title="Configuration taken",
            text=f"{event.file}{again} was read anew {by_whom(event)}: {_listed(event.changes) or 'nothing changed'}.",
            facts=facts(file=event.file, by=event.by, why=event.why, changes=str(len(event.changes))),
        )

    def refused(self, event: ev.ConfigurationRefused) -> Sayings:
        """Say what is wrong, and that everything is as before."""
        self._refused = True
        yield Saying(
            level=Level.WARNING,
            topic=Topic.DAEMON,
            kind="configuration_refused",
            subject="configuration",
            title="Configuration refused",
            text=(
                f"{event.file} was read anew {by_whom(event)} and cannot be taken: {_listed(event.reasons)}. Nothing "
                "was changed: the configuration of before is in force. mrdaemon check shows what is wrong."
            ),
            facts=facts(file=event.file, by=event.by, why=event.why, problems=str(len(event.reasons))),
        )


def _place(letter: Letter) -> int:
    return letter.n


def _listed(sentences: Sequence[str]) -> str:
    more = [f"and {len(sentences) - NAMED:,} more"] if len(sentences) > NAMED else []
    return "; ".join([*map(plain, sentences[:NAMED]), *more])
