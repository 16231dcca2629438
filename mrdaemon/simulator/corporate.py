"""Corporate actions: what companies announced, and what it does to the account."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import ROUND_DOWN, Decimal

import msgspec

from mrdaemon.core.instant import Instant
from mrdaemon.core.money import EXACT, cents
from mrdaemon.simulator.account import Account, Holding
from mrdaemon.simulator.activities import Activities
from mrdaemon.simulator.assets import NANO, Listing
from mrdaemon.simulator.hours import new_york
from mrdaemon.simulator.identity import uuid_of
from mrdaemon.simulator.refusals import plain


class Announcement(msgspec.Struct, frozen=True):
    """One announced action: the group that REST lists it in, its symbol and day, and what REST answers."""

    group: str
    symbol: str
    day: str
    body: dict[str, object]


class Announcements:
    """Every corporate action announced so far."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._all: list[Announcement] = []

    def split(self, asset: Listing, new_rate: Decimal, old_rate: Decimal, at: Instant) -> Announcement:
        """Announce a split with effect on the day of an instant."""
        cusip = _cusip(asset)
        rates: dict[str, object] = {"new_rate": float(new_rate), "old_rate": float(old_rate)}
        if new_rate > old_rate:
            return self._add("forward_splits", asset, at, rates | {"cusip": cusip})
        return self._add("reverse_splits", asset, at, rates | {"old_cusip": cusip, "new_cusip": cusip[::-1]})

    def dividend(self, asset: Listing, per_share: Decimal, at: Instant) -> Announcement:
        """Announce a cash dividend, paid on the day of an instant."""
        body: dict[str, object] = {
            "cusip": _cusip(asset),
            "foreign": False,
            "rate": float(per_share),
            "special": False,
        }
        return self._add("cash_dividends", asset, at, body)

    def asked(self, symbols: Collection[str], groups: Collection[str], start: str, end: str) -> Iterator[Announcement]:
        """Give the actions of some symbols and groups (none given: of all) on the days of a span, oldest first."""
        for one in self._all:
            wanted = (not symbols or one.symbol in symbols) and (not groups or one.group in groups)
            if wanted and start <= one.day <= end:
                yield one

    def _add(self, group: str, asset: Listing, at: Instant, body: dict[str, object]) -> Announcement:
        day = new_york(at).date().isoformat()
        common: dict[str, object] = {
            "ex_date": day,
            "id": uuid_of(self._seed, "announcement", len(self._all)),
            "payable_date": day,
            "process_date": day,
            "record_date": day,
            "symbol": asset.symbol,
        }
        one = Announcement(group, asset.symbol, day, common | body)
        self._all.append(one)
        return one


def book_split(account: Account, activities: Activities, asset: Listing, ratio: Decimal, at: Instant) -> None:
    """Multiply what is held of a stock; its cost stays."""
    holding: Holding = account.holding(asset)
    before = holding.qty
    if not before:
        return
    holding.qty = EXACT.multiply(before, ratio).quantize(NANO, rounding=ROUND_DOWN, context=EXACT)
    more: dict[str, object] = {
        "activity_sub_type": "FSPLIT" if ratio > 1 else "RSPLIT",
        "qty": plain(holding.qty - before),
        "symbol": asset.symbol,
    }
    activities.other(at, "SPLIT", Decimal(0), more)


def pay_dividend(
    account: Account, activities: Activities, asset: Listing, per_share: Decimal, withheld: Decimal, at: Instant
) -> None:
    """Credit a cash dividend on what is held of a stock, and debit the tax withheld from it."""
    qty = account.holding(asset).qty
    amount = cents(EXACT.multiply(qty, per_share))
    if not amount:
        return
    more: dict[str, object] = {
        "activity_sub_type": "CDIV",
        "group_id": uuid_of("dividend", asset.symbol, at),
        "per_share_amount": plain(per_share),
        "qty": plain(qty),
        "symbol": asset.symbol,
    }
    account.cash += amount
    activities.other(at, "DIV", amount, more)
    tax = cents(amount * withheld)
    if tax:
        account.cash -= tax
        del more["activity_sub_type"]
        activities.other(at, "DIVNRA", -tax, more)


def _cusip(asset: Listing) -> str:
    """Give nine characters that stand for a security."""
    return asset.id.replace("-", "")[:9].upper()
