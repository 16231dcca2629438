"""A look at every position at the end of a day, a part at a time: what lies furthest out, and what is stopped."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from decimal import Decimal
from itertools import islice
from typing import Final

from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.alerts.saying import Saying, at_time, facts
from mrdaemon.core.money import EXACT, show, value
from mrdaemon.core.policy import TradingState
from mrdaemon.core.state import Position, State
from mrdaemon.status import LastSeen

FIGURES: Final = ("signals", "held", "buys", "sells", "bought", "sold", "fees", "dividends")
"""What a day is summed up in: counts, then dollars."""
PART: Final = 1_000
"""Positions that are looked at in one go: about ten milliseconds, in which no price is decided on."""
FURTHEST: Final = 5
"""Positions that are named for how far they are from their target."""
NAMED: Final = 10
"""Things that one line names before it counts."""

Figures = dict[str, Decimal]


class Survey:
    """One day's figures, and what stands out at its end."""

    def __init__(self, state: State, seen: LastSeen, day: str, figures: Figures) -> None:
        self.day = day
        self._state = state
        self._seen = seen
        self._figures = figures
        self._left = iter(list(state.positions.values()))
        self._furthest: list[tuple[Decimal, str, Decimal]] = []
        self._stopped: list[str] = []
        self._asked: list[str] = []
        self._unknown: list[str] = []
        self._over = False

    def go_on(self) -> bool:
        """Look at some more positions; tells whether that were all."""
        part = list(islice(self._left, PART))
        for position in part:
            if not position.retired:
                self._look(position)
        return len(part) < PART

    def _look(self, position: Position) -> None:
        state, symbol = self._state, self._state.symbols.get(position.symbol)
        price = self._seen(position.symbol).price
        if symbol is not None and symbol.stale is not None:
            self._unknown.append(f"{position.symbol} (no price since {at_time(symbol.stale)})")
        elif price is not None and position.opened:
            worth = value(position.shares, price)
            off = EXACT.divide(EXACT.subtract(worth, position.target), position.target)
            heapq.heappush(self._furthest, (abs(off), position.key, off))
            if len(self._furthest) > FURTHEST:
                heapq.heappop(self._furthest)
        if position.halted is not None:
            self._stopped.append(f"{position.key} is halted")
        elif position.state is not TradingState.ACTIVE:
            self._stopped.append(f"{position.key} is {position.state}")
        if symbol is not None and symbol.frozen is not None:
            self._stopped.append(f"{position.key} is frozen")
        elif symbol is not None and symbol.halted is not None:
            self._stopped.append(f"{position.key} is halted by the exchange")
        if position.approval is not None:
            self._asked.append(f"{position.key}/{position.approval.number}")
        if position.order is not None and (order := state.orders.get(position.order)) is not None and order.ambiguous:
            self._stopped.append(f"{position.key} has an order of which nobody knows")

    # What it comes to

    def saying(self, base: dict[str, str]) -> Saying:
        """Sum it up; ``base`` goes with it, for the next day to count from."""
        lines = [each for each in (self._happened(), self._reserves(), *self._standing()) if each]
        something = any(self._figures.values())
        trades = int(self._figures["buys"] + self._figures["sells"])
        return Saying(
            level=Level.NOTICE if something or self._everything_stopped() else Level.INFO,
            topic=Topic.DIGEST,
            kind="digest",
            subject="digest",
            title=f"{self.day}: {_count(trades, 'trade') if something else 'nothing happened'}",
            text="\n".join(lines),
            facts=facts(day=self.day, **{name: f"{each:f}" for name, each in self._figures.items()})
            | {f"reserve_{name}": f"{each.reserve:f}" for name, each in islice(self._state.portfolios.items(), NAMED)}
            | base,
        )

    def _happened(self) -> str:
        figures = self._figures
        if not any(figures.values()):
            return f"Nothing happened on {self.day}: no signal, no trade, no dividend."
        held = f", {int(figures['held'])} held" if figures["held"] else ""
        parts = {
            f"{_count(int(figures['signals']), 'signal')}{held}": figures["signals"] + figures["held"],
            f"{_count(int(figures['buys']), 'buy')} for {show(figures['bought'])}": figures["buys"] + figures["bought"],
            f"{_count(int(figures['sells']), 'sale')} for {show(figures['sold'])}": figures["sells"] + figures["sold"],
            f"fees {show(figures['fees'])}": figures["fees"],
            f"dividends {show(figures['dividends'])}": figures["dividends"],
        }
        happened = [words for words, figure in parts.items() if figure]
        return f"{self.day}: {'; '.join(happened)}."

    def _reserves(self) -> str:
        portfolios = [each for each in self._state.portfolios.values() if each.opened]
        return _line("Reserve", [f"{each.name} {show(each.reserve)}" for each in portfolios])

    def _standing(self) -> Sequence[str]:
        furthest = [f"{key} {off:+.1%}" for _, key, off in sorted(self._furthest, reverse=True)]
        return (
            _line("Furthest from target", furthest),
            _line("Stopped", [*self._everything_stopped(), *self._stopped]),
            _line("Unknown", self._unknown),
            _line("Awaiting an answer", self._asked),
        )

    def _everything_stopped(self) -> Sequence[str]:
        """Say what stops more than one position."""
        state = self._state
        stopped = [f"trading is {state.trading}"] if state.trading is not TradingState.ACTIVE else []
        stopped += ["signals are paused"] if state.paused else []
        stopped += [
            f"trading in {each.name} is {each.state}"
            for each in state.portfolios.values()
            if each.state is not TradingState.ACTIVE
        ]
        return [*stopped, *(f"account {each.name} is lost" for each in state.accounts.values() if each.lost)]


def _line(name: str, things: Sequence[str]) -> str:
    """Write a line of the message, or nothing."""
    distinct = list(dict.fromkeys(things))
    more = f" and {len(distinct) - NAMED} more" if len(distinct) > NAMED else ""
    return f"{name}: {', '.join(distinct[:NAMED])}{more}." if distinct else ""


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"
