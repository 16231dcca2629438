"""How people name positions: a symbol in any case, with its portfolio where there are several."""

from __future__ import annotations

from mrdaemon.core.state import Position, State


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
    watched = [each for each in state.positions.values() if not each.retired]
    if portfolio is not None and portfolio not in state.portfolios:
        return f"there is no portfolio {portfolio!r}; there are: {', '.join(state.portfolios) or 'none'}"
    where = "" if portfolio is None else f" in portfolio {portfolio}"
    there = sorted({each.symbol for each in watched if portfolio in {None, each.portfolio}})
    return f"there is no position in {typed!r}{where}; there are: {', '.join(there) or 'none'}"
