"""The life of an order that was let in: it arrives, executes against the prices seen, and ends.

Every step happens at an instant that was planned, or when a price comes in. Each is told as an order update.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.money import EXACT
from mrdaemon.simulator.account import Account
from mrdaemon.simulator.activities import Activities
from mrdaemon.simulator.agenda import Agenda
from mrdaemon.simulator.hours import Hours
from mrdaemon.simulator.identity import chance, ulid, uuid_of
from mrdaemon.simulator.market import Market
from mrdaemon.simulator.orders import CLOSED, WAITING, Execution, Order, Side, Status, TimeInForce
from mrdaemon.simulator.refusals import invalid, plain
from mrdaemon.simulator.rules import ExchangeRules, Wire

_MILLISECOND: Final = 1_000_000
_AT_ONCE: Final = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_SMALLEST_PART: Final = 0.1
_LARGEST_PART: Final = 0.9


class Matching:
    """Executes orders and books what comes of them."""

    def __init__(self, rules: ExchangeRules, hours: Hours, market: Market, account: Account, agenda: Agenda) -> None:
        self.activities = Activities(rules.seed)
        self._rules = rules
        self._hours = hours
        self._market = market
        self._account = account
        self._agenda = agenda
        self._listeners: list[Callable[[Wire], None]] = []
        self._told = 0

    def listen(self, listener: Callable[[Wire], None]) -> Callable[[], None]:
        """Call somebody with each order update; give what stops it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # -- beginning ----------------------------------------------------------------------------------------------------

    def begin(self, order: Order) -> None:
        """Take a new order: into the book a few milliseconds from now, or when its market opens."""
        at = order.created
        if self._can_execute(order, at) or order.ticket.time_in_force in _AT_ONCE:
            order.status = Status.PENDING_NEW
            self._plan(self._soon(order, "arrival", at), order, self._arrive)
        else:
            order.status = Status.ACCEPTED
            opens = self._hours.next_open(order.symbol, at, extended=order.ticket.extended_hours)
            order.priced_since = opens  # at the open, yesterday's price is no price
            self._plan(opens, order, self._arrive)
        self._tell(order.status, order, at)
        # The closing instant still belongs to the session.
        self._plan(Instant(order.expires + 1), order, self._expire)

    def _arrive(self, order: Order, at: Instant) -> None:
        if order.status not in WAITING:
            return
        order.status, order.updated, order.not_before = Status.NEW, at, at
        self._tell("new", order, at, {"execution_id": uuid_of(order.id, "new")})
        self.work(order, at)
        if order.open and order.ticket.time_in_force in _AT_ONCE:
            self._end(order, Status.CANCELED, at)

    # -- executing ----------------------------------------------------------------------------------------------------

    def work(self, order: Order, at: Instant) -> None:
        """Execute what the newest prices allow of an order now."""
        if order.status in CLOSED | WAITING or at < order.not_before or not self._can_execute(order, at):
            return
        if self._market.mark(order.symbol).halted or (order.cancel_requested is not None and not order.executions):
            return
        price = self._market.price(order.symbol, order.ticket.side, at, order.priced_since)
        if price is None or not _within_limit(order, price):
            return
        wanted = order.remaining(price)
        if order.ticket.side is Side.SELL:
            wanted = min(wanted, self._account.holding(order.asset).qty)
        part = self._part(order, wanted)
        if part <= 0:
            return
        self._execute(order, Execution(self._execution_id(order), part, price, at), rest=wanted - part)
        if order.open:
            order.not_before = self._soon(order, len(order.executions), at, self._rules.rest_latency_ms)
            self._plan(order.not_before, order, self.work)

    def _execute(self, order: Order, execution: Execution, rest: Decimal) -> None:
        at, ticket, asset = execution.at, order.ticket, order.asset
        order.executions.append(execution)
        order.updated = at
        if rest:
            order.status = Status.PARTIALLY_FILLED
        else:
            order.status, order.filled_at, order.ended = Status.FILLED, at, at
        fee = self._rules.crypto_fee if asset.crypto else Decimal(0)
        book = self._account.buy if ticket.side is Side.BUY else self._account.sell
        kept = book(asset, execution.qty, execution.price, fee)
        self.activities.fill(order, execution)
        if kept:
            self.activities.coin_fee(at, order, kept, execution.price)
        self._tell("partial_fill" if rest else "fill", order, at, self._about(order, execution))

    def _part(self, order: Order, wanted: Decimal) -> Decimal:
        """Give how much of the rest executes now: now and then, not all of it."""
        ticket, step = order.ticket, len(order.executions)
        drawn = chance(self._rules.seed, order.id, "partial", step)
        if ticket.time_in_force is TimeInForce.FOK or drawn >= self._rules.partial_fills:
            return wanted
        ratio = _SMALLEST_PART + (_LARGEST_PART - _SMALLEST_PART) * chance(self._rules.seed, order.id, "part", step)
        whole = ticket.qty is not None and not ticket.qty % 1 and not order.asset.crypto
        unit = Decimal(1) if whole else order.asset.min_trade_increment
        part = EXACT.multiply(EXACT.divide_int(EXACT.multiply(wanted, Decimal(ratio)), unit), unit)
        return part if 0 < part < wanted else wanted

    def _about(self, order: Order, execution: Execution) -> Wire:
        return {
            "execution_id": execution.id,
            "position_qty": plain(self._account.holding(order.asset).qty),
            "price": plain(execution.price),
            "qty": plain(execution.qty),
            "settle_date": self._hours.settles(order.symbol, execution.at),
            "swap_rate": "1",
        }

    # -- ending -------------------------------------------------------------------------------------------------------

    def cancel(self, order: Order, now: Instant) -> None:
        """Ask for an order's end. It may still execute until that comes.

        Raises:
            RefusalError: it has ended already, or was asked for before.
        """
        if not order.open or order.cancel_requested is not None:
            state = "pending_cancel" if order.open else order.status
            message = f'order is already in "{state}" state'
            raise invalid(message)
        order.cancel_requested = order.updated = now
        order.status = Status.PENDING_CANCEL
        self._plan(self._soon(order, "cancel", now), order, lambda one, at: self._end(one, Status.CANCELED, at))

    def cancel_at_once(self, order: Order, now: Instant) -> None:
        """End an order without having been asked, as a split does."""
        self._end(order, Status.CANCELED, now)

    def replace(self, order: Order, following: Order, now: Instant) -> None:
        """End an order because another takes its place."""
        order.replaced_by, following.replaces = following.id, order.id
        self._end(order, Status.REPLACED, now)

    def _expire(self, order: Order, at: Instant) -> None:
        self._end(order, Status.EXPIRED, at)

    def _end(self, order: Order, status: Status, at: Instant) -> None:
        if not order.open:
            return
        order.status, order.ended, order.updated = status, at, at
        self._tell(status, order, at, {"execution_id": uuid_of(order.id, status)})

    # -- taking back --------------------------------------------------------------------------------------------------

    def bust(self, order: Order, now: Instant) -> None:
        """Break an order's newest execution: shares and dollars go back.

        Raises:
            RefusalError: it has none, or what it brought is gone.
        """
        execution = self._newest(order)
        order.executions.remove(execution)
        order.busted.append(execution)
        order.updated = now
        self._undo(order, execution)
        self._tell("trade_bust", order, now, self._about(order, execution))

    def correct(self, order: Order, price: Decimal, now: Instant) -> None:
        """Correct the price of an order's newest execution.

        Raises:
            RefusalError: it has none, or what it brought is gone.
        """
        execution = self._newest(order)
        corrected = Execution(uuid_of(execution.id, "corrected"), execution.qty, price, execution.at)
        order.executions[-1] = corrected
        order.updated = now
        self._undo(order, execution)
        book = self._account.buy if order.ticket.side is Side.BUY else self._account.sell
        book(order.asset, corrected.qty, corrected.price)
        about = self._about(order, corrected) | {"previous_execution_id": execution.id}
        self._tell("trade_correct", order, now, about)

    def _newest(self, order: Order) -> Execution:
        """Give the execution to take back. Fees in coins are not: only stocks are busted here."""
        if not order.executions or order.asset.crypto:
            message = f"order {order.id} has no execution that can be taken back"
            raise invalid(message)
        newest = order.executions[-1]
        if order.ticket.side is Side.BUY and self._account.holding(order.asset).qty < newest.qty:
            message = f"what order {order.id} bought is sold"
            raise invalid(message)
        return newest

    def _undo(self, order: Order, execution: Execution) -> None:
        book = self._account.sell if order.ticket.side is Side.BUY else self._account.buy
        book(order.asset, execution.qty, execution.price)

    # -- telling ------------------------------------------------------------------------------------------------------

    def _tell(self, event: str, order: Order, at: Instant, more: Wire | None = None) -> None:
        self._told += 1
        update: Wire = {
            "at": iso(Instant(at // 1_000 * 1_000)),
            "event_id": ulid(at, self._told),
            "event": str(event),
            "timestamp": iso(at),
            "order": order.update(),
            **(more or {}),
        }
        for listener in list(self._listeners):
            listener(update)

    # -- planning -----------------------------------------------------------------------------------------------------

    def _can_execute(self, order: Order, at: Instant) -> bool:
        return self._hours.open(order.symbol, at, extended=order.ticket.extended_hours)

    def _plan(self, at: Instant, order: Order, act: Callable[[Order, Instant], None]) -> None:
        self._agenda.plan(at, lambda due: act(order, due))

    def _soon(self, order: Order, what: object, at: Instant, span: tuple[float, float] | None = None) -> Instant:
        least, most = span or self._rules.latency_ms
        drawn = chance(self._rules.seed, order.id, what)
        return Instant(at + int((least + (most - least) * drawn) * _MILLISECOND))

    @staticmethod
    def _execution_id(order: Order) -> str:
        return uuid_of(order.id, "execution", len(order.executions) + len(order.busted))


def _within_limit(order: Order, price: Decimal) -> bool:
    limit = order.ticket.limit_price
    if limit is None:
        return True
    return price <= limit if order.ticket.side is Side.BUY else price >= limit
