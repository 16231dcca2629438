"""A paper broker: it fills orders at the prices that the daemon sees, and refuses what a real broker refuses.

What is random about it (how much of an order fills at once) is drawn from the seed, the order's id and the number of
the piece, so that a run that was killed and started again fills the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Final, Self

import msgspec

from mrdaemon.brokers import ByHand, DuplicateOrderError, Ear, Holding, OrderRefusedError, Standing
from mrdaemon.brokers.paperbook import PaperBook, PaperOrder
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import (
    EXACT,
    NANO_SHARE,
    NO_SHARES,
    Dollars,
    Price,
    Shares,
    exact,
    show,
    show_shares,
    value,
)
from mrdaemon.core.orders import OrderReport, OrderRequest
from mrdaemon.core.policy import Asset, PrintRules, Side
from mrdaemon.core.prints import Print, Trade, price_of, regular, two_sided
from mrdaemon.core.sessions import Calendar, Session
from mrdaemon.core.zone import believable

QUOTE_AGE: Final = 60 * SECOND
"""An older quote than this does not fill an order."""
LEAST: Final = Decimal(1)
"""Dollars that an order must be worth (Alpaca's minimum for fractional and notional orders)."""
MOST_PIECES: Final = 5
"""An order that fills in pieces is through with this one."""
NOTHING_SEEN: Final = Instant(0)
"""Before any print."""


class PaperRules(msgspec.Struct, frozen=True):
    """How the paper broker behaves."""

    cash: Dollars
    """What its book opens with."""
    holdings: Mapping[str, Holding] = {}
    """Shares its book opens with."""
    slippage: Decimal = Decimal(0)
    """How much worse than the market an order fills, as a ratio."""
    partial: Decimal = Decimal(0)
    """The part of orders that fill in pieces, 0 to 1."""
    seed: str = ""
    whole_shares: frozenset[str] = frozenset()
    """Symbols that trade in whole shares only."""
    prints: PrintRules = PrintRules()
    """Which sale conditions are a regular sale's; its other rules do not matter here."""

    def __post_init__(self) -> None:
        """Refuse what would fill orders at no price, or never.

        Raises:
            ValueError: a ratio is out of range.
        """
        if not 0 <= self.slippage < 1:
            message = f"wanted a slippage of at least 0 and less than 1, got {self.slippage}"
            raise ValueError(message)
        if not 0 <= self.partial <= 1:
            message = f"wanted a part of orders between 0 and 1, got {self.partial}"
            raise ValueError(message)


class PaperBroker:
    """One paper account. Use it as an async context manager.

    Where no price is known (just after a start, or where the last print is none that an order may fill at), an order
    waits for the symbol's next print, as one that fills in pieces does.
    """

    def __init__(
        self,
        path: Path,
        rules: PaperRules,
        calendar: Calendar,
        now: Callable[[], Instant],
        *,
        durable: bool = True,
    ) -> None:
        """Build it; nothing is opened yet.

        Args:
            path: the book's file.
            rules: how it behaves.
            calendar: when symbols trade.
            now: the time, real or virtual.
            durable: let the book survive a loss of power, too, not only of the process.
        """
        self._rules = rules
        self._calendar = calendar
        self._now = now
        self._book = PaperBook(path, durable=durable)
        self._last: dict[str, Print] = {}
        self._quoted: dict[str, Print] = {}

    async def __aenter__(self) -> Self:
        """Open the book; the first time, with the rules' cash and holdings.

        Raises:
            BrokerError: its file cannot be used.
        """
        self._book.open(self._rules.cash, self._rules.holdings)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the book."""
        self._book.close()

    def behave(self, rules: PaperRules) -> None:
        """Follow other rules from now on. What the book opened with stays what it was."""
        self._rules = rules

    def turn(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Let an order leave at any time."""
        return contextlib.nullcontext()

    async def submit(self, request: OrderRequest) -> OrderReport:
        """Take an order and fill it at once as far as it goes; see ``Broker.submit``."""
        if self._book.order(request.order) is not None:
            message = "client_order_id must be unique"
            raise DuplicateOrderError(message)
        now, symbol = self._now(), request.symbol
        session = self._calendar.sessions(symbol).at(now)
        if session is None:
            message = f"the session of {symbol} is closed"
            raise OrderRefusedError(message)
        price = self._price(symbol, request.side, now)
        if (reason := next(self._objections(request, price), None)) is not None:
            raise OrderRefusedError(reason)
        last = self._last.get(symbol)
        order = PaperOrder(
            request=request,
            number=self._book.orders + 1,
            status=OrderStatus.ACCEPTED,
            updated=now,
            expires=self._expiry(symbol, session),
            seen=NOTHING_SEEN if last is None else last[2],
        )
        order = self._filled(order, price, order.seen, now)
        self._book.save(order)
        return order.report()

    async def cancel(self, order: str) -> OrderReport | None:
        """Cancel what has not filled."""
        known = self._look_up(order)
        if known is not None and known.open:
            known = known.canceled(self._now())
            self._book.save(known)
        return None if known is None else known.report()

    async def find(self, order: str) -> OrderReport | None:
        """Look an order up by its client order id."""
        known = self._look_up(order)
        return None if known is None else known.report()

    async def standing(self) -> Standing:
        """Give cash and holdings."""
        return Standing(self._book.cash, dict(self._book.holdings))

    async def assets(self, symbols: Sequence[str]) -> list[Asset]:
        """Give assets: all fractionable but those that the rules name."""
        return [Asset(symbol, fractionable=symbol not in self._rules.whole_shares) for symbol in symbols]

    async def listen(self, ear: Ear) -> None:  # noqa: ARG002 - it has nothing to tell
        """Wait for ever: all that happens to an order is said by the call that makes it happen."""
        await asyncio.get_running_loop().create_future()

    @property
    def hearing(self) -> int:
        """Which connection brings what happens to orders: the only one there is."""
        return 1

    def note(self, by_hand: ByHand) -> None:
        """Take over what people did: pay in or out, and trade at their prices. The first time, nothing moves.

        Raises:
            BrokerError: the book cannot be written.
        """
        self._book.note(by_hand)

    def follow(self, batch: Sequence[Print]) -> list[OrderReport]:
        """See prints before the engine does, and fill or expire open orders with them.

        Raises:
            BrokerError: the book cannot be written.
        """
        reports: list[OrderReport] = []
        last, quoted, open_orders = self._last, self._quoted, self._book.open_orders
        for seen in batch:
            last[seen[0]] = seen
            if seen[3] is not None:
                quoted[seen[0]] = seen
            if open_orders:
                reports += self._work(seen)
        return reports

    # Filling

    def _expiry(self, symbol: str, session: Session) -> Instant | None:
        """Say until when an order is good: for the day, but where the next one follows without a break for ever.

        Alpaca takes day orders for shares, and good-till-cancelled ones for crypto, which never closes.
        """
        following = self._calendar.sessions(symbol).upcoming(session.closes)
        return None if following.opens <= session.closes + 1 else session.closes

    def _look_up(self, order: str) -> PaperOrder | None:
        """Find an order; it expired meanwhile if its session is over and nobody noticed yet."""
        known = self._book.order(order)
        if known is None or not known.open:
            return known
        settled = self._settled(known, self._now())
        if settled is not known:
            self._book.save(settled)
        return settled

    @staticmethod
    def _settled(order: PaperOrder, now: Instant) -> PaperOrder:
        if order.expires is None or now <= order.expires:
            return order
        return order.expired(order.expires)

    def _work(self, seen: Print) -> Iterator[OrderReport]:
        """Expire open orders whose session is over; fill those of a print's symbol further."""
        now = self._now()
        for order in list(self._book.open_orders.values()):
            request = order.request
            worked = self._settled(order, now)
            if worked is order and request.symbol == seen[0] and seen[2] > order.seen:
                # At the print's time, not at ours: rows that a restart reads again fill what they filled before.
                price = self._price(request.symbol, request.side, seen[2])
                worked = self._filled(order, price, seen[2], now)
            if worked is not order:
                self._book.save(worked)
                yield worked.report()

    def _price(self, symbol: str, side: Side, at: Instant) -> Price | None:
        """Give what an order fills at: the quote's ask or bid, else the last print; slippage makes it worse."""
        last, quoted = self._last.get(symbol), self._quoted.get(symbol)
        quote = None if quoted is None or at - quoted[2] > QUOTE_AGE else quoted[3]
        if quote is not None and two_sided(quote):
            price = exact(quote.ask if side is Side.ACCUMULATE else quote.bid)
        elif last is not None and self._is_market(last):
            price = price_of(last)
        else:
            return None
        slippage = self._rules.slippage
        return Price(EXACT.multiply(price, 1 + slippage if side is Side.ACCUMULATE else 1 - slippage))

    def _is_market(self, seen: Print) -> bool:
        """Tell whether a print is a price that others could trade at: a regular sale, a bar, or a two-sided quote."""
        trade = seen[4]
        if trade is None:
            return two_sided(seen[3])
        if isinstance(trade, Trade) and regular(trade.conditions, self._rules.prints) is not None:
            return False
        return believable(seen[1])

    def _filled(self, order: PaperOrder, price: Price | None, seen: Instant, now: Instant) -> PaperOrder:
        """Fill what is left of an order, or a drawn part of it; give the same order where it cannot fill."""
        if price is None or not _in_limit(order.request, price):
            return order
        step = Decimal(1) if order.request.symbol in self._rules.whole_shares else NANO_SHARE
        left = order.left(price)
        part = EXACT.multiply(left, self._draw(order)).quantize(step, rounding=ROUND_DOWN, context=EXACT)
        return order.with_fill(min(left, Shares(max(part, step))), price, seen=seen, at=now)

    def _draw(self, order: PaperOrder) -> Decimal:
        """Draw how much of what is left fills now: all of it, or for the drawn few between a tenth and nine tenths.

        A purchase by quantity at market fills at once: what its rest would cost, and so which cash to keep for it, is
        not known.
        """
        request = order.request
        unbounded = request.side is Side.ACCUMULATE and request.notional is None and request.limit is None
        if unbounded or order.pieces + 1 >= MOST_PIECES:
            return Decimal(1)
        raw = hashlib.sha256(f"{self._rules.seed}/{request.order}/{order.pieces}".encode()).digest()
        chance, part = (EXACT.divide(Decimal(int.from_bytes(raw[at : at + 4])), Decimal(2**32)) for at in (0, 4))
        return Decimal(1) if chance >= self._rules.partial else Decimal("0.1") + part * Decimal("0.8")

    # Refusing

    def _objections(self, request: OrderRequest, price: Price | None) -> Iterator[str]:
        """Say why a real broker would refuse an order, in the words one uses."""
        symbol, quantity, notional = request.symbol, request.quantity, request.notional
        amount = quantity if notional is None else notional
        if amount is None or (notional is not None and quantity is not None):
            yield "an order needs either a quantity or a notional"
            return
        if amount <= 0:
            yield f"an order must be for more than nothing, got {amount}"
        whole = quantity is not None and quantity == quantity.to_integral_value()
        if symbol in self._rules.whole_shares and not whole:
            yield f"asset {symbol} is not fractionable"
        worth = notional
        if quantity is not None and price is not None:
            worth = value(quantity, price)
        if worth is not None and worth < LEAST:
            yield f"an order must be worth at least {show(LEAST)}, got {show(worth)}"
        yield from self._lacks(request) if request.side is Side.TRIM else self._lacks_cash(request, price)

    def _lacks(self, request: OrderRequest) -> Iterator[str]:
        """Object to a sale of more than is held and not for sale already."""
        wanted, free = request.quantity, self._book.free_shares(request.symbol)
        if wanted is None:
            yield "a sale needs a quantity"
        elif wanted > free:
            yield (
                "insufficient qty available for order"
                f" (requested: {show_shares(wanted)}, available: {show_shares(free)})"
            )

    def _lacks_cash(self, request: OrderRequest, price: Price | None) -> Iterator[str]:
        """Object to a purchase that may cost more than there is and no other order claims."""
        dearest = price if request.limit is None else request.limit
        cost = request.notional
        if cost is None and dearest is not None:
            cost = value(request.quantity or NO_SHARES, dearest)
        free = self._book.free_cash
        if cost is None:
            yield f"there is no price of {request.symbol} to say what the order would cost"
        elif cost > free:
            yield f"insufficient buying power ({show(cost)} wanted, {show(free)} available)"


def _in_limit(request: OrderRequest, price: Price) -> bool:
    if request.limit is None:
        return True
    return price <= request.limit if request.side is Side.ACCUMULATE else price >= request.limit
