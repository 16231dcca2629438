"""Three who watch a life and never look at the state: a broker, a bookkeeper and a warden."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from mrdaemon.core import events as ev
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import MINUTE, SECOND, Instant
from mrdaemon.core.money import EXACT, NANO_SHARE, NO_DOLLARS, Dollars, Price, Shares, shares_for, value
from mrdaemon.core.orders import OrderReport
from mrdaemon.core.policy import AccountRules, Mode, PortfolioRules, PositionRules, Side, TradingState
from mrdaemon.core.sessions import Calendar

DONE = {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
Amounts = defaultdict[str, Decimal]


def plus(*amounts: Decimal) -> Decimal:
    """Add without rounding, however large."""
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


class Broker:
    """What every account took, filled, charged and said; and what people traded there by hand."""

    def __init__(self) -> None:
        self.orders: dict[str, OrderReport] = {}
        self.intents: dict[str, ev.OrderIntended] = {}
        self.said: list[OrderReport] = []
        self.shares: Amounts = defaultdict(Decimal)
        """By position."""
        self.cash: Amounts = defaultdict(Decimal)
        """By portfolio."""
        self._cost: Amounts = defaultdict(Decimal)

    def take(self, intent: ev.OrderIntended) -> None:
        assert intent.order not in self.orders, "I1: one decision, at most one order"
        self.intents[intent.order] = intent
        self.orders[intent.order] = OrderReport(
            order=intent.order,
            broker_order=f"b{len(self.orders)}",
            symbol=intent.symbol,
            side=intent.side,
            status=OrderStatus.ACCEPTED,
            at=intent.at,
            notional=intent.notional,
            quantity=intent.quantity,
        )

    def open(self) -> list[str]:
        return [name for name, report in self.orders.items() if report.status not in DONE]

    def fill(self, name: str, part: Decimal, slip: Decimal, fee: Decimal, now: Instant) -> OrderReport:
        """Fill a part of what is left, near the deciding price."""
        before, intent = self.orders[name], self.intents[name]
        price = EXACT.multiply(intent.price, slip)
        buys = intent.side is Side.ACCUMULATE
        if intent.quantity is not None:
            left = EXACT.subtract(intent.quantity, before.filled)
        else:
            left = shares_for(EXACT.subtract(intent.notional or NO_DOLLARS, self._cost[name]), price, NANO_SHARE)
        more = EXACT.multiply(left, part).quantize(NANO_SHARE, rounding="ROUND_DOWN", context=EXACT)
        if not more and part < 1:
            return before
        filled = Shares(plus(before.filled, more))
        spent = self._worth(before)
        self._cost[name] = plus(self._cost[name], EXACT.multiply(more, price))
        report = msgspec.structs.replace(
            before,
            filled=filled,
            average=Price(EXACT.divide(self._cost[name], filled)) if filled else None,
            fees=before.fees if buys else Dollars(before.fees + fee),
            status=OrderStatus.FILLED if part == 1 else OrderStatus.ACCEPTED,
            at=now,
        )
        moved = EXACT.subtract(self._worth(report), spent)
        self._trade(intent.portfolio, intent.symbol, more if buys else -more, -moved if buys else moved)
        self.cash[intent.portfolio] = EXACT.subtract(
            self.cash[intent.portfolio], EXACT.subtract(report.fees, before.fees)
        )
        return self._say(report)

    def by_hand(self, portfolio: str, symbol: str, side: Side, shares: Decimal, price: Decimal) -> None:
        """Take it that a person traded at the broker without the daemon."""
        worth = value(shares, price)
        buys = side is Side.ACCUMULATE
        self._trade(portfolio, symbol, shares if buys else -shares, -worth if buys else worth)

    def split(self, key: str, new: int, old: int) -> Shares:
        """Count a position's shares anew; what is less than a nano-share is not paid."""
        exact = EXACT.divide(EXACT.multiply(self.shares[key], new), old)
        self.shares[key] = exact.quantize(NANO_SHARE, rounding="ROUND_DOWN", context=EXACT)
        return Shares(self.shares[key])

    def pay(self, portfolio: str, amount: Decimal) -> None:
        """Pay a dividend; below zero, take a fee."""
        self.cash[portfolio] = plus(self.cash[portfolio], amount)

    def end(self, name: str, status: OrderStatus, now: Instant) -> OrderReport:
        return self._say(msgspec.structs.replace(self.orders[name], status=status, at=now))

    def _trade(self, portfolio: str, symbol: str, shares: Decimal, cash: Decimal) -> None:
        key = f"{portfolio}/{symbol}"
        self.shares[key] = plus(self.shares[key], shares)
        self.cash[portfolio] = plus(self.cash[portfolio], cash)

    def _worth(self, report: OrderReport) -> Decimal:
        return NO_DOLLARS if report.average is None else value(report.filled, report.average)

    def _say(self, report: OrderReport) -> OrderReport:
        self.orders[report.order] = report
        self.said.append(report)
        return report


class Bookkeeper:
    """Adds up, event by event, what the state keeps as summary figures."""

    def __init__(self) -> None:
        self.signals = self.held = 0
        self.flow = self.drawn = Decimal(0)
        self.shares: Amounts = defaultdict(Decimal)
        self.by_hand: Amounts = defaultdict(Decimal)
        self.paid_by_hand: Amounts = defaultdict(Decimal)
        self.first_buy: Amounts = defaultdict(Decimal)
        self.gains: Amounts = defaultdict(Decimal)
        self.reserve: Amounts = defaultdict(Decimal)
        self.deposits: Amounts = defaultdict(Decimal)
        self.applied: Amounts = defaultdict(Decimal)
        """By order, the shares that were booked."""
        self.fees: Amounts = defaultdict(Decimal)
        """By portfolio, of orders."""
        self.booked_fees: Amounts = defaultdict(Decimal)
        """By portfolio, of no order; less what was given back."""
        self.charged: Amounts = defaultdict(Decimal)
        """By portfolio, of both, without what was given back."""
        self.reserved: Amounts = defaultdict(Decimal)
        """By order, what is left of its reservation."""
        self.turned_up: Amounts = defaultdict(Decimal)
        """By portfolio, what orders took that had been given up: the broker's word, whatever the reserve then was."""
        self.withheld: Amounts = defaultdict(Decimal)
        """By portfolio, the tax on dividends: the broker's word, whatever the reserve then was."""
        self.dividends: Amounts = defaultdict(Decimal)
        self.oversold: set[str] = set()
        """Positions that an order sold from after it had been given up."""
        self._ended: set[str] = set()
        self._traded: set[str] = set()
        """Positions that began with shares, or whose first trade is over."""
        self._filled: set[str] = set()

    def note(self, event: ev.Event) -> None:
        """Add one event."""
        match event:
            case ev.SignalRaised():
                self.signals += 1
            case ev.SignalHeld():
                self.held += 1
            case ev.ReserveDeposited(portfolio=name, amount=amount):
                self.deposits[name] = plus(self.deposits[name], amount)
                self._move(name, amount)
            case ev.ReserveWithdrawn(portfolio=name, amount=amount):
                self.deposits[name] = plus(self.deposits[name], -amount)
                self._move(name, -amount)
            case ev.FeeCharged(portfolio=name, amount=amount):
                self.fees[name] = plus(self.fees[name], amount)
                self.charged[name] = plus(self.charged[name], amount)
                self._move(name, -amount)
                self._flows(-amount)
            case ev.PositionOpened() | ev.SharesAdopted():
                self._opened(event)
            case ev.OrderIntended(order=order, reserved=amount):
                self.reserved[order] = amount
            case ev.OrderFilled():
                self._filled_an_order(event)
            case ev.OrderEnded(order=order):
                self._ended.add(order)
                self.reserved.pop(order, None)
                if order in self._filled:
                    self._traded.add(f"{event.portfolio}/{event.symbol}")
            case ev.FillReported():
                self._reported(event)
            case _:
                self._booked(event)

    def _booked(self, event: ev.Event) -> None:
        match event:
            case ev.SplitApplied(shares=shares):
                self.shares[f"{event.portfolio}/{event.symbol}"] = shares
            case ev.DividendPaid(portfolio=name, amount=amount):
                self.dividends[name] = plus(self.dividends[name], amount)
                self.withheld[name] = plus(self.withheld[name], max(Decimal(0), -amount))
                self._move(name, amount)
            case ev.FeeBooked(portfolio=name, amount=amount):
                self.booked_fees[name] = plus(self.booked_fees[name], amount)
                self.charged[name] = plus(self.charged[name], max(Decimal(0), amount))
                self._move(name, -amount)
                self._flows(-amount)
            case _:
                pass

    def _opened(self, event: ev.PositionOpened | ev.SharesAdopted) -> None:
        key = f"{event.portfolio}/{event.symbol}"
        self.shares[key] = event.shares
        if event.shares:
            self._traded.add(key)

    def _filled_an_order(self, event: ev.OrderFilled) -> None:
        assert event.shares > 0, "I1: a fill only grows"
        self._filled.add(event.order)
        self.applied[event.order] = plus(self.applied[event.order], event.shares)
        left = self.reserved.get(event.order, Decimal(0))
        if event.side is Side.ACCUMULATE and event.order in self.reserved:
            self.reserved[event.order] = max(Decimal(0), plus(left, -max(Decimal(0), event.amount)))
        if event.order in self._ended and event.side is Side.ACCUMULATE:
            self.turned_up[event.portfolio] = plus(self.turned_up[event.portfolio], event.amount)
        elif event.order in self._ended:
            self.oversold.add(f"{event.portfolio}/{event.symbol}")
        self._trade(event, event.shares, event.amount)

    def _reported(self, event: ev.FillReported) -> None:
        key, sign = f"{event.portfolio}/{event.symbol}", 1 if event.side is Side.ACCUMULATE else -1
        self.by_hand[key] = plus(self.by_hand[key], sign * event.shares)
        self.paid_by_hand[key] = plus(self.paid_by_hand[key], EXACT.multiply(sign, event.amount))
        self._trade(event, event.shares, event.amount)
        self._traded.add(key)

    def _trade(self, event: ev.OrderFilled | ev.FillReported, shares: Decimal, amount: Decimal) -> None:
        key = f"{event.portfolio}/{event.symbol}"
        if event.side is Side.TRIM:
            self.shares[key] = plus(self.shares[key], -shares)
            self.gains[key] = plus(self.gains[key], event.gain or NO_DOLLARS)
            self._move(event.portfolio, amount)
            self._flows(amount)
            return
        self.shares[key] = plus(self.shares[key], shares)
        self._move(event.portfolio, -amount)
        if key in self._traded:
            self._flows(-amount)
        else:
            self.first_buy[key] = plus(self.first_buy[key], amount)

    def _move(self, portfolio: str, amount: Decimal) -> None:
        self.reserve[portfolio] = plus(self.reserve[portfolio], amount)

    def _flows(self, amount: Decimal) -> None:
        self.flow = plus(self.flow, amount)
        self.drawn = max(self.drawn, -self.flow)


class Scope(NamedTuple):
    """What a trading state is about; None means all."""

    portfolio: str | None = None
    symbol: str | None = None

    def holds(self, portfolio: str, symbol: str) -> bool:
        return self.portfolio in {None, portfolio} and self.symbol in {None, symbol}


class Warden:
    """Knows from the events alone what forbids a signal or an order."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self.trading: dict[Scope, TradingState] = {}
        self.paused: set[str | None] = set()
        self.frozen: set[str] = set()
        self.stopped_by_exchange: set[str] = set()
        self.halted: set[str] = set()
        self.retired: set[str] = set()
        self.ready: set[str] = set()
        self.uncovered: set[str] = set()
        self.disputed: set[str] = set()
        self.in_flight: dict[str, str] = {}
        self.rules: dict[str, PositionRules] = {}
        self.portfolios: dict[str, PortfolioRules] = {}
        self.accounts: dict[str, AccountRules] = {}
        self.sent: list[ev.OrderIntended] = []
        self.raised: dict[str, Instant] = {}
        self.approvals: dict[str, ev.ApprovalRequested] = {}
        self.granted: Counter[str] = Counter()
        self._untradable: set[tuple[str, str]] = set()
        self._spare: dict[str, Decimal] = {}

    def strictest(self, portfolio: str, symbol: str) -> TradingState:
        states = {state for scope, state in self.trading.items() if scope.holds(portfolio, symbol)}
        return next(
            (each for each in (TradingState.HALTED, TradingState.REDUCING) if each in states), TradingState.ACTIVE
        )

    def objections(self, event: ev.SignalRaised | ev.OrderIntended) -> list[str]:
        """Say all that forbids a signal or an order at this moment."""
        portfolio, symbol, buys = event.portfolio, event.symbol, event.side is Side.ACCUMULATE
        key, account = f"{portfolio}/{symbol}", self.portfolios[portfolio].account
        strictest, rules = self.strictest(portfolio, symbol), self.rules[key]
        found = {
            "I4: HALTED": strictest is TradingState.HALTED,
            "I4: REDUCING": strictest is TradingState.REDUCING and buys,
            "I4: paused": bool(self.paused & {None, symbol}),
            "I4: frozen": symbol in self.frozen,
            "I4: halted by the exchange": symbol in self.stopped_by_exchange,
            "I4: the position is halted": key in self.halted,
            "I4: the position is retired": key in self.retired,
            "I4: not reconciled": account not in self.ready and rules.mode is not Mode.ALERT,
            "I4: not covered": account in self.uncovered and buys,
            "I4: not tradable": (account, symbol) in self._untradable,
            "I4: the clock is in dispute": account in self.disputed,
            "I4: the session is closed": self._calendar.sessions(symbol).at(event.at) is None,
            "I1: an order is in flight": key in self.in_flight,
        }
        if isinstance(event, ev.OrderIntended):
            found |= self._against_an_order(event, key, rules)
        return [reason for reason, forbids in found.items() if forbids]

    def _against_an_order(self, event: ev.OrderIntended, key: str, rules: PositionRules) -> dict[str, bool]:
        limits, breakers = self.portfolios[event.portfolio], self.accounts[event.account]
        today = [each for each in self.sent if each.day == event.day]
        ours = [each for each in today if each.portfolio == event.portfolio]
        theirs = [each for each in today if each.account == event.account]
        minute = [
            each for each in self.sent if each.account == event.account and each.at // MINUTE == event.at // MINUTE
        ]
        notional = plus(event.worth, *(each.worth for each in ours))
        return {
            "I1: one decision, at most one order": any(
                (each.portfolio, each.symbol, each.number) == (event.portfolio, event.symbol, event.number)
                for each in self.sent
            ),
            "I4: nobody approved": rules.mode is not Mode.AUTO and self.granted[key] != event.number,
            "I4: an alert does not trade": rules.mode is Mode.ALERT,
            "I4: too large": rules.max_order is not None and event.worth > rules.max_order,
            "I4: too small": event.worth < rules.min_order,
            "I4: orders today": _beyond(len(ours) + 1, limits.max_orders_per_day),
            "I4: notional today": _beyond(notional, limits.max_notional_per_day),
            "I4: orders in this minute": _beyond(len(minute) + 1, breakers.orders_per_minute),
            "I4: the account's orders today": _beyond(len(theirs) + 1, breakers.orders_per_day),
        }

    def too_soon(self, event: ev.SignalRaised) -> bool:
        """Tell whether a signal comes before the cooldown after the last one is over."""
        key = f"{event.portfolio}/{event.symbol}"
        last = self.raised.get(key)
        return last is not None and event.at < last + self.rules[key].cooldown * SECOND

    def note(self, event: ev.Event, reserves: Amounts) -> None:
        """Take one event in; ``reserves`` are the portfolios' after it."""
        key = f"{event.portfolio}/{event.symbol}" if isinstance(event, ev.PositionEvent) else ""
        match event:
            case ev.DaemonStarted():
                self.ready.clear()
            case ev.AccountConfigured(account=account, rules=breakers):
                self.accounts[account] = breakers
            case ev.PortfolioConfigured(portfolio=portfolio, rules=limits):
                self.portfolios[portfolio] = limits
            case ev.PositionConfigured(rules=rules):
                self.rules[key] = rules
                self.retired.discard(key)
            case ev.PositionRetired():
                self.retired.add(key)
            case ev.AssetKnown(account=account, asset=asset):
                _put(self._untradable, (account, asset.symbol), there=not asset.tradable)
            case ev.AccountReconciled():
                self._reconciled(event, reserves)
            case ev.AccountLost(account=account):
                self.ready.discard(account)
            case ev.ReserveDeposited(portfolio=portfolio, amount=amount):
                self._claims(portfolio, amount)
            case ev.ReserveWithdrawn(portfolio=portfolio, amount=amount):
                self._claims(portfolio, -amount)
            case ev.DividendPaid(portfolio=portfolio, amount=amount):
                self._pays(portfolio, amount)
            case _:
                self._note_a_stop(event, key)
                self._note_a_signal(event, key)

    def _note_a_stop(self, event: ev.Event, key: str) -> None:
        match event:
            case ev.TradingStateChanged(state=state, portfolio=portfolio, symbol=symbol):
                self.trading[Scope(portfolio, symbol)] = state
                if symbol is not None and state is TradingState.ACTIVE:
                    self.halted.discard(f"{portfolio}/{symbol}")
            case ev.SignalsPaused(paused=paused, symbol=symbol):
                _put(self.paused, symbol, there=paused)
            case ev.SymbolFrozen(symbol=symbol):
                self.frozen.add(symbol)
            case ev.SymbolThawed(symbol=symbol):
                self.frozen.discard(symbol)
            case ev.TradingHalted(symbol=symbol):
                self.stopped_by_exchange.add(symbol)
            case ev.SessionsDisputed(account=account):
                self.disputed.add(account)
            case ev.SessionsAgreed(account=account):
                self.disputed.discard(account)
            case ev.TradingResumed(symbol=symbol):
                self.stopped_by_exchange.discard(symbol)
            case ev.PositionHalted():
                self.halted.add(key)
            case _:
                pass

    def _note_a_signal(self, event: ev.Event, key: str) -> None:
        match event:
            case ev.SignalRaised():
                self.raised[key] = event.at
            case ev.ApprovalRequested():
                assert key not in self.approvals, "one request at a time"
                self.approvals[key] = event
            case ev.ApprovalGranted(number=number):
                assert self.approvals.pop(key).number == number, "I1: a yes answers the open request"
                self.granted[key] = number
            case ev.ApprovalClosed():
                del self.approvals[key]
            case ev.OrderIntended():
                self.sent.append(event)
                self.in_flight[key] = event.order
            case ev.OrderEnded(order=order):
                if self.in_flight.get(key) == order:
                    del self.in_flight[key]
            case _:
                pass

    def _reconciled(self, event: ev.AccountReconciled, reserves: Amounts) -> None:
        account = event.account
        self.ready.add(account)
        claimed = plus(*(reserves[name] for name, rules in self.portfolios.items() if rules.account == account))
        self._spare[account] = max(Decimal(0), plus(event.cash, -claimed))
        _put(self.uncovered, account, there=not event.covered)

    def _claims(self, portfolio: str, amount: Decimal) -> None:
        account = self.portfolios[portfolio].account
        if account in self._spare:
            self._spare[account] = plus(self._spare[account], -amount)
            if self._spare[account] < 0:
                self.uncovered.add(account)

    def _pays(self, portfolio: str, amount: Decimal) -> None:
        """Take a dividend off what is to spare: its cash may have been counted already, or not yet."""
        account = self.portfolios[portfolio].account
        if account in self._spare:
            self._spare[account] = max(Decimal(0), plus(self._spare[account], -max(Decimal(0), amount)))


def _beyond(reached: Decimal | int, limit: Decimal | int | None) -> bool:
    return limit is not None and reached > limit


def _put(into: set[Any], what: object, *, there: bool) -> None:
    if there:
        into.add(what)
    else:
        into.discard(what)
