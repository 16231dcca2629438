"""What is listed: stocks and coin pairs, with what may be done with each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

import msgspec

from mrdaemon.simulator.identity import uuid_of
from mrdaemon.simulator.refusals import plain

NANO: Final = Decimal("0.000000001")
EXTENDED: Final = "fractional_eh_enabled"
"""The attribute of an asset whose fractions trade outside the regular session."""


class Listing(msgspec.Struct, kw_only=True):
    """One asset. A symbol with a slash is a coin pair."""

    symbol: str
    name: str = ""
    exchange: str = "NASDAQ"
    active: bool = True
    tradable: bool = True
    fractionable: bool = True
    attributes: tuple[str, ...] = (EXTENDED, "has_options", "overnight_tradable")
    min_order_size: Decimal = NANO
    """Coins only: the smallest quantity of an order."""
    min_trade_increment: Decimal = NANO
    """Coins only: what quantities are multiples of."""
    price_increment: Decimal = NANO
    """Coins only: what limit prices are multiples of."""

    @property
    def crypto(self) -> bool:
        """Tell whether this is a coin pair."""
        return "/" in self.symbol

    @property
    def asset_class(self) -> str:
        """Give the class as Alpaca names it."""
        return "crypto" if self.crypto else "us_equity"

    @property
    def id(self) -> str:
        """Give the asset's id, which follows from its symbol."""
        return uuid_of("asset", self.symbol)

    @property
    def position_symbol(self) -> str:
        """Give the symbol of its position: Alpaca writes ``BTCUSD`` there, where orders say ``BTC/USD``."""
        return self.symbol.replace("/", "")

    @property
    def offered(self) -> list[str]:
        """Give the attributes that it can have: coins have no options, and whole shares no fractions at any hour."""
        if self.crypto:
            return [EXTENDED]
        return [each for each in self.attributes if self.fractionable or each != EXTENDED]

    def answer(self) -> dict[str, object]:
        """Give the asset as REST answers it."""
        margin = 100 if self.crypto else 30
        body: dict[str, object] = {
            "attributes": self.offered,
            "class": self.asset_class,
            "easy_to_borrow": not self.crypto,
            "exchange": "CRYPTO" if self.crypto else self.exchange,
            "fractionable": self.fractionable,
            "id": self.id,
            "maintenance_margin_requirement": margin,
            "margin_requirement_long": str(margin),
            "margin_requirement_short": str(margin),
            "marginable": not self.crypto,
            "name": self.name or (f"{self.symbol} pair" if self.crypto else f"{self.symbol} Common Stock"),
            "shortable": not self.crypto,
            "status": "active" if self.active else "inactive",
            "symbol": self.symbol,
            "tradable": self.tradable,
        }
        if self.crypto:
            body["min_order_size"] = plain(self.min_order_size)
            body["min_trade_increment"] = plain(self.min_trade_increment)
            body["price_increment"] = plain(self.price_increment)
        else:
            body["borrow_status"] = "easy_to_borrow"
        return body


class Listings:
    """Every listed asset, found by symbol (coin pairs with or without the slash) or by id."""

    def __init__(self, listings: Iterable[Listing] = ()) -> None:
        self._by_name: dict[str, Listing] = {}
        self._by_symbol: dict[str, Listing] = {}
        for listing in listings:
            self.add(listing)

    def add(self, listing: Listing) -> None:
        """List an asset, or replace what was listed under its symbol."""
        self._by_symbol[listing.symbol] = listing
        for name in (listing.symbol, listing.id, listing.position_symbol):
            self._by_name[name] = listing

    def find(self, name: str) -> Listing | None:
        """Give the asset of a symbol or an id."""
        return self._by_name.get(name)

    def listed(self, symbol: str) -> Listing:
        """Give the asset of a symbol; list it as an ordinary one if it is new."""
        found = self._by_name.get(symbol)
        if found is None:
            found = Listing(symbol=symbol)
            self.add(found)
        return found

    def __iter__(self) -> Iterator[Listing]:
        """Give every asset: by class, exchange and symbol."""
        return iter(sorted(self._by_symbol.values(), key=lambda one: (one.asset_class, one.exchange, one.symbol)))
