"""Words for the daemon's own life: what a start found, why it stopped, how a recording ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mrdaemon.alerts.alert import Letter, Level, Topic
from mrdaemon.alerts.saying import Saying, Sayings, facts, plain
from mrdaemon.core import events as ev
from mrdaemon.core.instant import MINUTE
from mrdaemon.core.policy import TradingState
from mrdaemon.core.state import State

AGAIN: Final = 10 * MINUTE
"""Starts closer together than this are one trouble: the later ones are no more than information."""
NAMED: Final = 5
"""Things that a sentence names before it counts."""


class Running:
    """Tells of starts and stops."""

    def __init__(self, state: State, said: Iterable[Letter]) -> None:
        self._state = state
        newest = {letter.alert.kind: letter for letter in sorted(said, key=lambda each: each.n)}
        started, stopped = newest.get("started"), newest.get("stopped")
        self._started = None if started is None else started.alert.at
        """When the newest start was told."""
        self._clean = started is None or (stopped is not None and stopped.n > started.n)
        """Whether it was told that it stopped, too."""

    def started(self, event: ev.DaemonStarted) -> Sayings:
        """Say what a start found: how many positions, and whether anything keeps them from trading."""
        state = self._state
        positions = [each for each in state.positions.values() if not each.retired]
        found = list(self._found())
        soon = self._started is not None and 0 <= event.at - self._started < AGAIN
        level = Level.INFO
        if not soon and found:
            level = Level.WARNING
        elif not soon and not self._clean:
            level = Level.NOTICE
        crashed = "" if self._clean else ", after an end that it could not announce"
        self._started, self._clean = event.at, False
        stands = "; ".join(found) or "nothing keeps it from trading"
        yield Saying(
            level=level,
            topic=Topic.DAEMON,
            kind="started",
            subject="daemon",
            title="Started" if state.trading is TradingState.ACTIVE else f"Started, trading is {state.trading}",
            text=(
                f"mrdaemon {event.version} started{crashed}, with {_count(len(positions), 'position')} in "
                f"{_count(len({each.portfolio for each in positions}), 'portfolio')}: {stands}."
            ),
            facts=facts(
                version=event.version,
                positions=str(len(positions)),
                trading=state.trading.value,
                paused="yes" if state.paused else "no",
            ),
        )

    def _found(self) -> Iterable[str]:
        """Say what stands in the way of trading."""
        state = self._state
        if state.trading is not TradingState.ACTIVE:
            yield f"trading is {state.trading}, as it was left"
        if state.paused:
            yield "signals are paused"
        stopped = [each.name for each in state.portfolios.values() if each.state is not TradingState.ACTIVE]
        if stopped:
            yield f"trading is stopped in {_named(stopped)}"
        positions = [each for each in state.positions.values() if not each.retired]
        if halted := [each.key for each in positions if each.halted is not None]:
            yield f"halted: {_named(halted)}"
        if reduced := [each.key for each in positions if each.halted is None and each.state is not TradingState.ACTIVE]:
            yield f"stopped by a person: {_named(reduced)}"
        if frozen := [name for name, symbol in state.symbols.items() if symbol.frozen is not None]:
            yield f"frozen: {_named(frozen)}"
        if ambiguous := [name for name, order in state.orders.items() if order.ambiguous]:
            yield f"the fate of {_count(len(ambiguous), 'order')} is unknown"

    def stopped(self, event: ev.DaemonStopped) -> Sayings:
        """Say that it stopped in good order, and why."""
        self._clean = True
        yield Saying(
            level=Level.INFO,
            topic=Topic.DAEMON,
            kind="stopped",
            subject="daemon",
            title="Stopped",
            text=f"mrdaemon stopped: {plain(event.reason)}; nothing is traded until it is started again.",
            facts=facts(reason=event.reason),
        )

    def recording_ended(self, event: ev.FeedEnded) -> Sayings:
        """Say how much of a recording was read."""
        yield Saying(
            level=Level.INFO,
            topic=Topic.PRICES,
            kind="recording_ended",
            subject="recording",
            title="The recording ended",
            text=f"The recording ended after {event.delivered:,} prints; {event.refused:,} rows were refused.",
            facts=facts(delivered=str(event.delivered), refused=str(event.refused)),
        )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"
