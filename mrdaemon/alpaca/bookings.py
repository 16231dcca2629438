"""What Alpaca books of its own accord: dividends and fees among the activities, splits among the announcements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from mrdaemon.alpaca.history import AT_ONCE
from mrdaemon.alpaca.rest import Call, Fields, Rest
from mrdaemon.alpaca.trading import Activity
from mrdaemon.core import activity as core
from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.money import Price, cents

DIVIDENDS: Final = ("DIV", "DIVCGL", "DIVCGS", "DIVFEE", "DIVFT", "DIVNRA", "DIVROC", "DIVTW", "DIVTXEX")
"""Cash for shares, of every tax kind, and what is withheld or charged of it."""
FEES: Final = ("FEE", "CFEE")
"""Regulatory fees, and fees of crypto. Those that are kept in coins have no amount, and show in the count of coins."""
PAGE: Final = 100
PAGES: Final = 50


class _Split(msgspec.Struct):
    symbol: str
    new_rate: Decimal
    old_rate: Decimal
    ex_date: str
    id: str = ""


class _Splits(msgspec.Struct, frozen=True):
    forward_splits: list[_Split] = []
    reverse_splits: list[_Split] = []


class _Announcements(msgspec.Struct):
    corporate_actions: _Splits = _Splits()
    next_page_token: str | None = None


async def booked(rest: Rest, since: str) -> list[Activity]:
    """Give an account's dividends and fees from a date on, oldest first.

    Raises:
        AlpacaError: they are not known.
    """
    return await _activities(rest, (*DIVIDENDS, *FEES), since)


async def filled(rest: Rest, since: Instant) -> dict[str, Decimal]:
    """Give how many shares of each order have filled, by Alpaca's id for it: of those with a fill after an instant.

    Raises:
        AlpacaError: it is not known.
    """
    found: dict[str, Decimal] = {}
    for each in await _activities(rest, ("FILL",), iso(since)):
        if each.order_id is not None and each.cum_qty is not None and each.cum_qty.is_finite():
            found[each.order_id] = max(each.cum_qty, found.get(each.order_id, each.cum_qty))
    return found


async def _activities(rest: Rest, kinds: Sequence[str], since: str) -> list[Activity]:
    found: list[Activity] = []
    token: str | None = None
    for _ in range(PAGES):
        fields: Fields = {
            "activity_types": ",".join(kinds),
            "after": since,
            "direction": "asc",
            "page_size": PAGE,
            "page_token": token,
        }
        page = await rest.look(Call("GET", "/account/activities", fields), list[Activity])
        found += page
        if len(page) < PAGE:
            break
        token = page[-1].id
    return found


async def splits(rest: Rest, symbols: Sequence[str], since: str) -> list[core.Split]:
    """Give the splits of symbols from a date on.

    Raises:
        AlpacaError: they are not known.
    """
    found: list[core.Split] = []
    for start in range(0, len(symbols), AT_ONCE):
        token: str | None = None
        for _ in range(PAGES):
            fields: Fields = {
                "symbols": ",".join(symbols[start : start + AT_ONCE]),
                "types": "forward_split,reverse_split",
                "start": since,
                "page_token": token,
            }
            call = Call("GET", "/corporate-actions", fields, "v1", data=True)
            page = await rest.look(call, _Announcements)
            known = page.corporate_actions
            found += [_split(each) for each in (*known.forward_splits, *known.reverse_splits)]
            token = page.next_page_token
            if token is None:
                break
    return found


def meant(activities: Sequence[Activity]) -> Iterator[core.Dividend | core.Fee]:
    """Say activities as the core understands them; one that was cancelled, or moves no cash, is none."""
    for each in activities:
        amount = each.net_amount
        if not amount or each.status in {"canceled", "cancelled"}:
            continue
        date = each.date or (each.transaction_time or "")[:10]
        symbol = each.symbol or ""
        if each.activity_type in DIVIDENDS:
            per_share = None if each.per_share_amount is None else Price(each.per_share_amount)
            yield core.Dividend(id=each.id, date=date, symbol=symbol, amount=cents(amount), per_share=per_share)
        elif each.activity_type in FEES:
            yield core.Fee(id=each.id, date=date, symbol=symbol, amount=cents(-amount), why=each.description or "")


def _split(announced: _Split) -> core.Split:
    return core.Split(
        id=announced.id or f"split-{announced.symbol}-{announced.ex_date}",
        date=announced.ex_date,
        symbol=announced.symbol,
        new_rate=announced.new_rate,
        old_rate=announced.old_rate,
    )
