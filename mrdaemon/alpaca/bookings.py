"""What Alpaca books of its own accord: dividends and fees among the activities, splits among the announcements.

A record that cannot be meant is told and passed over, as those beside it are true all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

import msgspec
import structlog

from mrdaemon.alpaca.history import AT_ONCE
from mrdaemon.alpaca.rest import Call, Fields, Rest
from mrdaemon.alpaca.trading import UNSAID, Activity, WireError, above_zero, finite, said
from mrdaemon.core import activity as core
from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.money import Price, cents

DIVIDENDS: Final = ("DIV", "DIVCGL", "DIVCGS", "DIVFEE", "DIVFT", "DIVNRA", "DIVROC", "DIVTW", "DIVTXEX")
"""Cash for shares, of every tax kind, and what is withheld or charged of it."""
FEES: Final = ("FEE", "CFEE")
"""Regulatory fees, and fees of crypto. Those that are kept in coins have no amount, and show in the count of coins."""
PAGE: Final = 100
PAGES: Final = 500
"""Answers that are read, so that reading comes to an end: 50,000 activities of a month."""

log: Final = structlog.get_logger("mrdaemon.bookings")


class _Split(msgspec.Struct):
    symbol: str | None = None
    new_rate: msgspec.Raw = UNSAID
    old_rate: msgspec.Raw = UNSAID
    ex_date: str | None = None
    id: str | None = None


class _Splits(msgspec.Struct, frozen=True):
    forward_splits: list[_Split] | None = None
    reverse_splits: list[_Split] | None = None


class _Announcements(msgspec.Struct):
    corporate_actions: _Splits | None = None
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
    else:
        log.warning("there are more activities than are read; the newest are not known", since=since, read=len(found))
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
            known = page.corporate_actions or _Splits()
            announced = (*(known.forward_splits or ()), *(known.reverse_splits or ()))
            found += [split for each in announced if (split := _split(each)) is not None]
            token = page.next_page_token
            if token is None:
                break
    return found


def meant(activities: Sequence[Activity]) -> Iterator[core.Dividend | core.Fee]:
    """Say activities as the core understands them; one that was cancelled, or moves no cash, is none."""
    for each in activities:
        if each.status in {"canceled", "cancelled"}:
            continue
        try:
            what = _meant(each)
        except (WireError, ValueError) as error:
            log.warning("activity not understood", id=each.id, type=each.activity_type, reason=str(error))
            continue
        if what is not None:
            yield what


def _meant(each: Activity) -> core.Dividend | core.Fee | None:
    """Say an activity as the core understands it; None for one that moves no cash, or is of another kind.

    Raises:
        WireError: a figure is none that there is.
        ValueError: its date is none.
    """
    amount, rate, symbol = said(each.net_amount), said(each.per_share_amount), each.symbol or ""
    if not amount:
        return None
    amount, day = cents(finite(amount)), _day(each.date or each.transaction_time)
    if each.activity_type in DIVIDENDS:
        per_share = None if rate is None else Price(finite(rate))
        return core.Dividend(id=each.id, date=day, symbol=symbol, amount=amount, per_share=per_share)
    if each.activity_type in FEES:
        return core.Fee(id=each.id, date=day, symbol=symbol, amount=cents(-amount), why=each.description or "")
    return None


def _split(announced: _Split) -> core.Split | None:
    symbol = announced.symbol or ""
    try:
        day = _day(announced.ex_date)
        return core.Split(
            id=announced.id or f"split-{symbol}-{day}",
            date=day,
            symbol=symbol,
            new_rate=above_zero(said(announced.new_rate) or Decimal(0)),
            old_rate=above_zero(said(announced.old_rate) or Decimal(0)),
        )
    except (WireError, ValueError) as error:
        log.warning("split not understood", id=announced.id, symbol=symbol, reason=str(error))
        return None


def _day(text: str | None) -> str:
    """Give the date of a time, or of a date: Alpaca's specification has times where it sends dates.

    Raises:
        ValueError: it begins with none.
    """
    return date.fromisoformat((text or "")[:10]).isoformat()
