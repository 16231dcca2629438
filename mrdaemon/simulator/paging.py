"""Pages of things by symbol: at most so many of them, and a token for the rest."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mrdaemon.simulator.rules import Wire


class PageTokenError(ValueError):
    """A page token that was not given out here."""


class Page(NamedTuple):
    """Some things of each symbol, and the token of the next page if there is one."""

    found: dict[str, list[Wire]]
    token: str | None


def page(symbols: Sequence[str], things: Callable[[str], Sequence[Wire]], limit: int, token: str | None) -> Page:
    """Give one page: symbols in the order of their names, and of each its things in their own order.

    Raises:
        PageTokenError: the token was not given out here.
    """
    first, skipped = _read(token) if token else ("", 0)
    found: dict[str, list[Wire]] = {}
    for symbol in sorted(symbol for symbol in set(symbols) if symbol >= first):
        begin = skipped if symbol == first else 0
        rest = things(symbol)[begin:]
        if len(rest) > limit:
            if limit:
                found[symbol] = list(rest[:limit])
            return Page(found, _write(symbol, begin + limit))
        if rest:
            found[symbol] = list(rest)
        limit -= len(rest)
    return Page(found, None)


def _write(symbol: str, skipped: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{skipped}".encode()).decode()


def _read(token: str) -> tuple[str, int]:
    try:
        symbol, _, skipped = base64.urlsafe_b64decode(token.encode()).decode().rpartition("|")
        return symbol, int(skipped)
    except (binascii.Error, ValueError) as error:
        message = "invalid page_token"
        raise PageTokenError(message) from error
