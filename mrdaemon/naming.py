"""How people name positions: a symbol in any case, with its portfolio where there are several."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from typing import Final

from mrdaemon.core.state import Position, State

NAMED: Final = 10
"""Names in a message, where there are more; thousands of symbols are no answer to a slip of the finger."""
SHOWN: Final = 40
"""Characters of what was typed."""


def symbol(state: State, typed: str) -> str:
    """Take a symbol as it is configured, also where it was typed in small letters."""
    for name in (typed, typed.upper(), typed.upper().replace("-", "/")):  # Files call a pair BTC-USD.
        if name in state.symbols:
            return name
    return typed


def positions(state: State, typed: str, portfolio: str | None) -> list[Position]:
    """Give the watched positions in a symbol: in every portfolio, or in one."""
    name = symbol(state, typed)
    return [
        each
        for each in state.positions.values()
        if each.symbol == name and not each.retired and portfolio in {None, each.portfolio}
    ]


def nobody(state: State, typed: str, portfolio: str | None) -> str:
    """Say that there is no such position, and what there is."""
    if portfolio is not None and portfolio not in state.portfolios:
        return f"there is no portfolio {portfolio[:SHOWN]!r}; {_there_are(state.portfolios, portfolio)}"
    where = "" if portfolio is None else f" in portfolio {portfolio}"
    watched = (each for each in state.positions.values() if not each.retired)
    there = sorted({each.symbol for each in watched if portfolio in {None, each.portfolio}})
    return f"there is no position in {typed[:SHOWN]!r}{where}; {_there_are(there, typed.upper())}"


def _there_are(names: Iterable[str], wanted: str) -> str:
    """List names; of many, those that are nearest in the alphabet."""
    there = list(names)
    if len(there) <= NAMED:
        return f"there are: {', '.join(there) or 'none'}"
    there.sort()
    begin = max(0, min(bisect(there, wanted) - NAMED // 2, len(there) - NAMED))
    near = there[begin : begin + NAMED]
    return f"there are {len(there):,}, among them: {', '.join(near)}"
