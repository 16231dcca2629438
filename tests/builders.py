"""Builders for tests of the core: a position, a market that is always open, a broker that fills at the price shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from mrdaemon.core import events as ev
from mrdaemon.core.commands import Command
from mrdaemon.core.engine import Engine
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import DAY, SECOND, Instant
from mrdaemon.core.money import NANO_SHARE, Dollars, Price, Shares, shares_for
from mrdaemon.core.orders import OrderReport
from mrdaemon.core.policy import (
    AccountRules,
    Mode,
    Plan,
    PortfolioPlan,
    PortfolioRules,
    PositionPlan,
    PositionRules,
    PrintRules,
    Side,
)
from mrdaemon.core.portfolio import apply
from mrdaemon.core.prints import Print, trade_print
from mrdaemon.core.sessions import Session, Sessions
from mrdaemon.core.state import Position, State

START = Instant(1_600_000_000 * SECOND)
RAW = PrintRules(confirm=0, max_jump=None, stale_after=None)
"""Every print is believed: what the worked numbers assume."""


def dollars(text: str | int | Decimal) -> Dollars:
    return Dollars(Decimal(text).quantize(Decimal("0.01")))


class Market:
    """Days as sessions: open for a part of each, or always; ``core`` is the part of it that is regular, if not all."""

    def __init__(self, opens: int = 0, closes: int = DAY - 1, core: tuple[int, int] | None = None) -> None:
        self.opens, self.closes, self.core = opens, closes, core

    def sessions(self, symbol: str) -> Sessions:
        return self

    def _day(self, number: int) -> Session:
        return Session(f"day-{number}", Instant(number * DAY + self.opens), Instant(number * DAY + self.closes))

    def at(self, now: Instant) -> Session | None:
        session = self._day(now // DAY)
        return session if session.opens <= now <= session.closes else None

    def upcoming(self, now: Instant) -> Session:
        today = self._day(now // DAY)
        return today if today.opens > now else self._day(now // DAY + 1)

    def latest(self, now: Instant) -> Session:
        today = self._day(now // DAY)
        return today if today.opens <= now else self._day(now // DAY - 1)

    def regular(self, now: Instant) -> bool:
        return self.core is None or self.core[0] <= now % DAY <= self.core[1]

    def regular_opening(self, now: Instant) -> Instant:
        begins = self.core[0] if self.core is not None else self.opens
        today = Instant(now // DAY * DAY + begins)
        return today if today > now else Instant(today + DAY)

    def on(self, day: str) -> Session | None:
        return self._day(int(day.removeprefix("day-")))


def rules(target: str = "5000", zone: str = "5%", **changes: Any) -> PositionRules:
    return PositionRules(**{"target": dollars(target), "below": zone, "above": zone, "mode": Mode.AUTO, **changes})


def plan(
    *positions: PositionPlan,
    reserve: str = "5000",
    prints: PrintRules = RAW,
    portfolio: dict[str, Any] | None = None,
    account: dict[str, Any] | None = None,
) -> Plan:
    limits = PortfolioRules(**{"account": "paper", "floor": dollars(0), **(portfolio or {})})
    book = PortfolioPlan("core", limits, dollars(reserve), positions)
    return Plan(prints, {"paper": AccountRules(**(account or {}))}, (book,))


def position(symbol: str = "QQQ", shares: str | None = "50", **changes: Any) -> PositionPlan:
    cost = changes.pop("cost", None)
    held = None if shares is None else Shares(Decimal(shares))
    return PositionPlan("core", symbol, rules(**changes), held, None if cost is None else dollars(cost))


class Bench:
    """An engine and a broker that fills every order at the price that decided it, unless told otherwise."""

    def __init__(self, wanted: Plan, market: Market | None = None, *, fill: bool = True) -> None:
        self.market = market or Market()
        self.engine = Engine(State(), self.market)
        self.now = START
        self.fill = fill
        self.events: list[ev.Event] = []
        self.plan = wanted
        self.take(self.engine.record([ev.DaemonStarted(at=START, version="test", nonce="n")]))
        self.take(self.engine.configure(wanted, START))
        for account in wanted.accounts:
            self.reconcile(account)

    def reconcile(self, account: str = "paper") -> None:
        fact = ev.AccountReconciled(at=self.now, account=account, cash=dollars(10**9), covered=True)
        self.take(self.engine.record([fact]))

    def take(self, events: list[ev.Event]) -> list[ev.Event]:
        self.events += events
        return events

    def prices(self, *prices: float, symbol: str = "QQQ", step: int = SECOND) -> list[ev.Event]:
        seen = []
        for price in prices:
            self.now = Instant(self.now + step)
            seen += self.print(trade_print(symbol, price, self.now))
        return seen

    def print(self, *batch: Print) -> list[ev.Event]:
        start = len(self.events)
        self.take(self.engine.tick(self.now))
        events = self.take(self.engine.prints(list(batch), self.now))
        if self.fill:
            for event in events:
                if isinstance(event, ev.OrderIntended):
                    self.report(event)
        return self.events[start:]

    def report(
        self,
        intent: ev.OrderIntended,
        part: Decimal = Decimal(1),
        status: OrderStatus = OrderStatus.FILLED,
        price: Price | None = None,
    ) -> list[ev.Event]:
        return self.take(self.engine.order_update("paper", filled(intent, part, status, price), self.now))

    def command(self, command: Command) -> list[ev.Event]:
        return self.take(self.engine.command(command, self.now))

    def later(self, nanos: int) -> list[ev.Event]:
        self.now = Instant(self.now + nanos)
        return self.take(self.engine.tick(self.now))

    def restart(self) -> Bench:
        """Fold the journal anew, as a restart does, and go on with that."""
        state = State()
        for event in self.events:
            apply(state, ev.decode(ev.encode(event)))
        self.engine = Engine(state, self.market)
        return self

    @property
    def state(self) -> State:
        return self.engine.state

    def position(self, symbol: str = "QQQ") -> Position:
        return self.state.positions[f"core/{symbol}"]


def filled(
    intent: ev.OrderIntended,
    part: Decimal = Decimal(1),
    status: OrderStatus = OrderStatus.FILLED,
    price: Price | None = None,
) -> OrderReport:
    """Report an order as filled, in part or in whole, at a price (the deciding one unless given)."""
    price = price or intent.price
    whole = (
        intent.quantity if intent.quantity is not None else shares_for(intent.notional or Decimal(0), price, NANO_SHARE)
    )
    return OrderReport(
        order=intent.order,
        broker_order=f"b-{intent.order}",
        symbol=intent.symbol,
        side=intent.side,
        status=status,
        at=intent.at,
        filled=Shares((whole * part).quantize(NANO_SHARE, rounding="ROUND_DOWN")),
        average=price,
        notional=intent.notional,
        quantity=intent.quantity,
    )


def only(events: Sequence[ev.Event] | Iterable[ev.Event], kind: type[ev.Event]) -> list[Any]:
    """Give the events of one kind."""
    return [event for event in events if isinstance(event, kind)]


BUY, SELL = Side.ACCUMULATE, Side.TRIM
