"""The exchange and its one account: orders in, executions out, as time passes and prices come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import EXACT
from mrdaemon.core.prints import Print
from mrdaemon.core.sessions import Calendar
from mrdaemon.simulator import corporate
from mrdaemon.simulator.account import Account, position_answer
from mrdaemon.simulator.activities import Asked
from mrdaemon.simulator.admission import Admission
from mrdaemon.simulator.agenda import Agenda
from mrdaemon.simulator.assets import NANO, Listing, Listings
from mrdaemon.simulator.hours import Hours, new_york
from mrdaemon.simulator.identity import uuid_of
from mrdaemon.simulator.market import Market
from mrdaemon.simulator.matching import Matching
from mrdaemon.simulator.orders import Book, Kind, Order, Side, Status, Ticket, TimeInForce
from mrdaemon.simulator.refusals import invalid, missing, plain
from mrdaemon.simulator.rules import ExchangeRules, Wire

__all__ = ["Exchange", "ExchangeRules", "Wire"]

_HUNDRED: Final = Decimal(100)


class Exchange:
    """Takes orders, matches them with the prices seen, and keeps the account.

    It has no clock and no thread: ``see`` and ``pass_time`` make things happen, up to ``now()``; ``next_due`` says when
    ``pass_time`` next has something to do. Listeners are called in the middle of that, in order.
    """

    def __init__(
        self,
        rules: ExchangeRules,
        now: Callable[[], Instant],
        calendar: Calendar,
        listings: Iterable[Listing] = (),
    ) -> None:
        """Open the account.

        Args:
            rules: how the exchange behaves.
            now: the time.
            calendar: the regular sessions of each symbol's market; extended hours are worked out from them.
            listings: the assets that are not ordinary ones. Others are listed by their first price.
        """
        self.rules = rules
        self.now = now
        self.hours = Hours(calendar)
        self.listings = Listings(listings)
        self.market = Market(rules.quote_age)
        self.ledger = Account(rules.seed, rules.cash, rules.multiplier, now())
        self.book = Book()
        self.announcements = corporate.Announcements(rules.seed)
        self._agenda = Agenda()
        self._admission = Admission(self.book, self.ledger, self.market)
        self._matching = Matching(rules, self.hours, self.market, self.ledger, self._agenda)
        self._activities = self._matching.activities
        self._status_listeners: list[Callable[[Wire], None]] = []
        self._day = new_york(now()).date()

    # -- time and prices ----------------------------------------------------------------------------------------------

    @property
    def next_due(self) -> Instant:
        """Say when ``pass_time`` next has something to do, if only to find that an order needs no expiry any more.

        NEVER when nothing is planned.
        """
        return self._agenda.next_due

    def pass_time(self) -> None:
        """Do all that is due by now, in order of its time: arrivals, executions, expiries, openings, splits."""
        now = self.now()
        if (today := new_york(now).date()) != self._day:
            self._day = today
            self.ledger.last_equity = self.ledger.equity(self.market.value)
        self._agenda.run(now)

    def see(self, batch: Sequence[Print]) -> None:
        """Take prices in, and execute what they allow. Symbols that were not listed are listed."""
        self.pass_time()
        now = self.now()
        for seen in batch:
            self.listings.listed(seen[0])
            self.market.see(seen, now)
        for symbol in dict.fromkeys(seen[0] for seen in batch):
            self._work(symbol, now)

    def _work(self, symbol: str, now: Instant) -> None:
        for order in self.book.open(symbol):
            self._matching.work(order, now)

    def listen(self, listener: Callable[[Wire], None]) -> Callable[[], None]:
        """Call somebody with each order update (the ``data`` of a ``trade_updates`` message); give what stops it."""
        return self._matching.listen(listener)

    # -- orders -------------------------------------------------------------------------------------------------------

    def submit(self, ticket: Ticket) -> Order:
        """Take an order.

        Raises:
            RefusalError: a rule forbids it.
        """
        self.pass_time()
        asset = self._asset(ticket.symbol)
        ticket = msgspec.structs.replace(ticket, symbol=asset.symbol)
        self._admission.check(ticket, asset, now=self.now())
        order = self._order(ticket, asset)
        self.book.add(order)
        self._matching.begin(order)
        return order

    def cancel(self, order_id: str) -> None:
        """Ask for an order's end.

        Raises:
            RefusalError: it is not known, or has ended.
        """
        self.pass_time()
        self._matching.cancel(self.book.find(order_id), self.now())

    def replace(self, order_id: str, changes: Mapping[str, object], client_order_id: str) -> Order:
        """Put another order in the place of one that stands; ``changes`` are fields of its ticket.

        Raises:
            RefusalError: it has ended or cannot be replaced, or a rule forbids the new one.
        """
        self.pass_time()
        order = self.book.find(order_id)
        if not order.open or order.cancel_requested is not None:
            message = f'order is already in "{order.status}" state'
            raise invalid(message)
        if order.ticket.kind is not Kind.LIMIT:
            message = "only limit orders can be replaced"
            raise invalid(message)
        ticket = msgspec.structs.replace(order.ticket, **changes, client_order_id=client_order_id)
        if ticket.qty is not None and ticket.qty <= order.filled_qty:
            message = f"order parameters are not valid: qty must be above {plain(order.filled_qty)}, which is filled"
            raise invalid(message)
        self._admission.check(ticket, order.asset, replaced=order, now=self.now())
        following = self._order(ticket, order.asset)
        if ticket.qty is not None:
            following.ticket = msgspec.structs.replace(ticket, qty=ticket.qty - order.filled_qty)
        self.book.add(following)
        self._matching.replace(order, following, self.now())
        self._matching.begin(following)
        return following

    def close(self, name: str, qty: Decimal | None, percentage: Decimal | None) -> Order:
        """Sell what is held of an asset, or a part of it, at the market.

        Raises:
            RefusalError: nothing is held, or a rule forbids the sale.
        """
        asset = self._held(name)
        held = self.ledger.holding(asset).qty
        if percentage is not None:
            qty = EXACT.divide(EXACT.multiply(held, percentage), _HUNDRED).quantize(NANO, context=EXACT)
        ticket = Ticket(
            symbol=asset.symbol,
            side=Side.SELL,
            kind=Kind.MARKET,
            time_in_force=TimeInForce.GTC if asset.crypto else TimeInForce.DAY,
            client_order_id=self.fresh_client_order_id(),
            qty=held if qty is None else qty,
        )
        return self.submit(ticket)

    def cancel_all_now(self) -> None:
        """End every open order without the usual delay, as the closing of all positions does."""
        self.pass_time()
        for order in self.book.open():
            self._matching.cancel_at_once(order, self.now())

    def fresh_client_order_id(self) -> str:
        """Give an id for an order that brings none."""
        return uuid_of(self.rules.seed, "client order", len(self.book))

    def bust(self, order_id: str) -> None:
        """Break an order's newest execution: shares and money go back.

        Raises:
            RefusalError: the order is not known, or has no execution.
        """
        self.pass_time()
        self._matching.bust(self.book.find(order_id), self.now())

    def correct(self, order_id: str, price: Decimal) -> None:
        """Correct the price of an order's newest execution.

        Raises:
            RefusalError: the order is not known, or has no execution.
        """
        self.pass_time()
        self._matching.correct(self.book.find(order_id), price, self.now())

    def _order(self, ticket: Ticket, asset: Listing) -> Order:
        now = self.now()
        standing = ticket.time_in_force is TimeInForce.GTC
        extended = ticket.extended_hours
        return Order(
            id=uuid_of(self.rules.seed, "order", ticket.client_order_id),
            ticket=ticket,
            asset=asset,
            created=now,
            updated=now,
            expires=self.hours.standing_order_expires(now)
            if standing
            else self.hours.day_order_expires(asset.symbol, now, extended=extended),
            status=Status.PENDING_NEW,
            not_before=now,
        )

    def _asset(self, name: str) -> Listing:
        asset = self.listings.find(name)
        if asset is None:
            message = f'asset "{name}" not found'
            raise invalid(message)
        return asset

    def _held(self, name: str) -> Listing:
        asset = self.listings.find(name)
        if asset is None or not self.ledger.holding(asset).qty:
            message = "position does not exist"
            raise missing(message)
        return asset

    # -- the exchange's and the companies' doing ----------------------------------------------------------------------

    def listen_status(self, listener: Callable[[Wire], None]) -> Callable[[], None]:
        """Call somebody with each trading status (``T`` is ``s``; ``t`` is an Instant); give what stops it."""
        self._status_listeners.append(listener)
        return lambda: self._status_listeners.remove(listener)

    def halt(self, symbol: str) -> None:
        """Stop executions in a symbol."""
        self.pass_time()
        self.market.mark(symbol).halted = True
        self._tell_status(
            symbol, {"sc": "H", "sm": "Trading Halt", "rc": "T12", "rm": "Trading Halted; For information"}
        )

    def resume(self, symbol: str) -> None:
        """Let executions in a symbol go on."""
        self.pass_time()
        self.market.mark(symbol).halted = False
        self._tell_status(symbol, {"sc": "T", "sm": "Trading Resumption", "rc": "", "rm": ""})
        self._work(symbol, self.now())

    def _tell_status(self, symbol: str, more: Wire) -> None:
        status: Wire = {"T": "s", "S": symbol, **more, "t": self.now(), "z": "C"}
        for listener in list(self._status_listeners):
            listener(status)

    def split(self, symbol: str, new_rate: Decimal, old_rate: Decimal, *, booked_after_s: float = 0) -> None:
        """Split a stock today: announced at once, its open orders canceled, booked after some seconds."""
        self.pass_time()
        now, asset = self.now(), self.listings.listed(symbol)
        ratio = EXACT.divide(new_rate, old_rate)
        self.announcements.split(asset, new_rate, old_rate, now)
        for order in self.book.open(asset.symbol):
            self._matching.cancel_at_once(order, now)
        self.market.split(asset.symbol, ratio)
        booked = Instant(now + int(booked_after_s * SECOND))
        self._agenda.plan(booked, lambda at: corporate.book_split(self.ledger, self._activities, asset, ratio, at))
        self.pass_time()

    def dividend(self, symbol: str, per_share: Decimal, *, withheld: Decimal = Decimal(0)) -> None:
        """Pay a cash dividend on the shares held, less a withheld ratio of it."""
        self.pass_time()
        now, asset = self.now(), self.listings.listed(symbol)
        self.announcements.dividend(asset, per_share, now)
        corporate.pay_dividend(self.ledger, self._activities, asset, per_share, withheld, now)

    def deposit(self, amount: Decimal) -> None:
        """Pay dollars into the account, or out of it when negative."""
        self.ledger.cash += amount
        self._activities.other(self.now(), "CSD" if amount > 0 else "CSW", amount, {})

    def fee(self, amount: Decimal, description: str = "TAF fee") -> None:
        """Take a regulatory fee from the account."""
        self.ledger.cash -= amount
        self._activities.other(self.now(), "FEE", -amount, {"activity_sub_type": "TAF", "description": description})

    # -- answers ------------------------------------------------------------------------------------------------------

    def account(self) -> Wire:
        """Give the account as REST answers it."""
        return self.ledger.answer(self.market.value, self._admission.reserved(self.now()), self.now())

    def positions(self) -> list[Wire]:
        """Give the positions as REST answers them."""
        return [self.position(holding.asset.symbol) for holding in self.ledger.holdings()]

    def position(self, name: str) -> Wire:
        """Give one position as REST answers it.

        Raises:
            RefusalError: nothing is held of it.
        """
        asset = self._held(name)
        return position_answer(
            self.ledger.holding(asset), self.market.mark(asset.symbol), self._admission.promised(asset, self.now())
        )

    def orders(self) -> list[Wire]:
        """Give every order, oldest first, as REST answers it."""
        return [order.answer() for order in self.book]

    def activities(self, asked: Asked | None = None) -> list[Wire]:
        """Give account activities as REST answers them; those asked for, or all, oldest first."""
        if asked is None:
            return [one.body for one in self._activities]
        return self._activities.asked(asked)
