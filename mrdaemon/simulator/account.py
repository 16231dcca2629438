"""The account: dollars in cents, what is held of each asset, and what both allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import ROUND_DOWN, Decimal
from typing import Final

import msgspec

from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.money import EXACT, cents, cents_up
from mrdaemon.simulator.assets import NANO, Listing
from mrdaemon.simulator.identity import uuid_of
from mrdaemon.simulator.market import Mark
from mrdaemon.simulator.refusals import plain

_MICRO: Final = Decimal("0.000001")
_RATIO: Final = Decimal("0.00001")
_INITIAL: Final = Decimal("0.5")
_MAINTENANCE: Final = Decimal("0.3")
_REGT: Final = 2


class Holding(msgspec.Struct):
    """What is held of one asset, and what it cost."""

    asset: Listing
    qty: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    """Exact dollars, without fees."""


class Account:
    """One account: no short positions, and buying power as a multiple of the equity."""

    def __init__(self, seed: int, cash: Decimal, multiplier: int, opened: Instant) -> None:
        self.cash: Decimal = cents(cash)
        self.last_equity: Decimal = self.cash
        self.trading_blocked = False
        self._seed = seed
        self._multiplier = multiplier
        self._opened = opened
        self._holdings: dict[str, Holding] = {}

    def holding(self, asset: Listing) -> Holding:
        """Give what is held of an asset, which may be nothing."""
        return self._holdings.setdefault(asset.symbol, Holding(asset))

    def holdings(self) -> Iterator[Holding]:
        """Give what is held, by symbol."""
        return iter(sorted((one for one in self._holdings.values() if one.qty), key=lambda one: one.asset.symbol))

    def buy(self, asset: Listing, qty: Decimal, price: Decimal, fee: Decimal = Decimal(0)) -> Decimal:
        """Book a purchase; coins pay a ratio of themselves as a fee.

        Returns:
            The coins kept as a fee.
        """
        holding = self.holding(asset)
        value = EXACT.multiply(qty, price)
        credited = (qty * (1 - fee)).quantize(NANO, rounding=ROUND_DOWN, context=EXACT)
        holding.qty += credited
        holding.cost += value
        self.cash -= cents(value)
        return qty - credited

    def sell(self, asset: Listing, qty: Decimal, price: Decimal, fee: Decimal = Decimal(0)) -> Decimal:
        """Book a sale; the dollars for coins are credited less a ratio of them.

        Returns:
            The dollars kept as a fee.
        """
        holding = self.holding(asset)
        proceeds = cents(EXACT.multiply(qty, price))
        kept = cents_up(proceeds * fee)
        if holding.qty:
            holding.cost = EXACT.divide(EXACT.multiply(holding.cost, holding.qty - qty), holding.qty)
        holding.qty -= qty
        self.cash += proceeds - kept
        return kept

    def equity(self, value: Callable[[str], Decimal]) -> Decimal:
        """Give cash and holdings together, in cents."""
        return self.cash + self.market_value(value)

    def market_value(self, value: Callable[[str], Decimal]) -> Decimal:
        """Give what the holdings are worth, in cents."""
        return sum((cents(one.qty * value(one.asset.symbol)) for one in self.holdings()), Decimal("0.00"))

    def buying_power(self, value: Callable[[str], Decimal], reserved: Decimal) -> Decimal:
        """Give what can be bought on margin, beside what open orders reserve."""
        free = self._multiplier * self.equity(value) - self.market_value(value) - reserved
        return max(free, Decimal("0.00"))

    def answer(self, value: Callable[[str], Decimal], reserved: Decimal, now: Instant) -> dict[str, object]:
        """Give the account as REST answers it."""
        equity, held = self.equity(value), self.market_value(value)
        buying_power = plain(self.buying_power(value, reserved))
        unreserved = plain(max(self.cash - reserved, Decimal(0)))
        return {
            "account_blocked": False,
            "account_number": "PA" + uuid_of("account number", self._seed).replace("-", "")[:10].upper(),
            "accrued_fees": "0",
            "admin_configurations": {},
            "balance_asof": iso(now)[:10],
            "buying_power": buying_power,
            "cash": plain(self.cash),
            "created_at": iso(Instant(self._opened // 1_000 * 1_000)),
            "crypto_status": "ACTIVE",
            "crypto_tier": 1,
            "currency": "USD",
            "effective_buying_power": buying_power,
            "equity": plain(equity),
            "id": uuid_of("account", self._seed),
            "initial_margin": plain(cents(held * _INITIAL)),
            "intraday_adjustments": "0",
            "last_equity": plain(self.last_equity),
            "last_maintenance_margin": "0",
            "long_market_value": plain(held),
            "maintenance_margin": plain(cents(held * _MAINTENANCE)),
            "multiplier": str(self._multiplier),
            "non_marginable_buying_power": unreserved,
            "options_approved_level": 3,
            "options_buying_power": unreserved,
            "options_trading_level": 3,
            "pending_reg_taf_fees": "0",
            "portfolio_value": plain(equity),
            "position_market_value": plain(held),
            "regt_buying_power": plain(max(_REGT * equity - held - reserved, Decimal(0))),
            "short_market_value": "0",
            "shorting_enabled": False,
            "sma": plain(equity),
            "status": "ACTIVE",
            "trade_suspended_by_user": False,
            "trading_blocked": self.trading_blocked,
            "transfers_blocked": False,
            "user_configurations": None,
        }


def position_answer(holding: Holding, mark: Mark, promised: Decimal) -> dict[str, object]:
    """Give a position as REST answers it; some of it may be promised to open sell orders."""
    asset, qty = holding.asset, holding.qty
    price = mark.last or Decimal(0)
    yesterday = mark.yesterday or price
    average = EXACT.divide(holding.cost, qty).quantize(_MICRO, context=EXACT)
    cost, worth = (each.quantize(_MICRO, context=EXACT) for each in (qty * average, qty * price))
    gained, today = worth - cost, (qty * (price - yesterday)).quantize(_MICRO, context=EXACT)
    return {
        "asset_class": asset.asset_class,
        "asset_id": asset.id,
        "asset_marginable": not asset.crypto,
        "avg_entry_price": plain(average),
        "change_today": plain(_ratio(price - yesterday, yesterday)),
        "cost_basis": plain(cost),
        "current_price": plain(price),
        "exchange": "CRYPTO" if asset.crypto else asset.exchange,
        "lastday_price": plain(yesterday),
        "market_value": plain(worth),
        "qty": plain(qty),
        "qty_available": plain(qty - promised),
        "side": "long",
        "symbol": asset.position_symbol,
        "unrealized_intraday_pl": plain(today),
        "unrealized_intraday_plpc": plain(_ratio(today, qty * yesterday)),
        "unrealized_pl": plain(gained),
        "unrealized_plpc": plain(_ratio(gained, cost)),
    }


def _ratio(part: Decimal, whole: Decimal) -> Decimal:
    return EXACT.divide(part, whole).quantize(_RATIO, context=EXACT) if whole else Decimal(0)
