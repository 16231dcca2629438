"""What benchmarks trade: many like positions, prints that do or do not concern them, and a life to journal.

A position is worth its target of $5,000, or up to 2 % more, at $100 a share. Its zone is 5 % wide.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

from mrdaemon.calendar import MarketCalendar
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import MINUTE, SECOND, Instant
from mrdaemon.core.money import Dollars, Price, Shares, cents
from mrdaemon.core.orders import client_order_id
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
from mrdaemon.core.prints import Print, trade_print
from mrdaemon.core.state import State

ACCOUNT: Final = "paper"
OPEN: Final = Instant(1_583_766_000 * SECOND)
"""15:00 UTC on Monday, 9 March 2020: New York is trading."""
BELIEVED: Final = PrintRules(confirm=0, max_jump=None, stale_after=None)
"""The usual rules of a recording: the first print that fires, fires."""
TARGET: Final = Dollars(Decimal("5000.00"))
RESERVE: Final = Dollars(Decimal("5000.00"))
QUIET: Final = 100.0
"""A price at which every position is inside its zone."""
CROSSING: Final = 93.0
"""A price at which every position buys."""


def symbol(number: int) -> str:
    """Name a symbol."""
    return f"S{number}"


def plan(portfolios: int, positions: int, prints: PrintRules = BELIEVED) -> Plan:
    """Configure so many portfolios of so many positions each; all hold the same symbols.

    The portfolios' targets and shares differ, and so do the prices that they wait for.
    """
    return Plan(prints, {ACCOUNT: AccountRules()}, tuple(_portfolio(each, positions) for each in range(portfolios)))


def _portfolio(number: int, positions: int) -> PortfolioPlan:
    name, rules = f"p{number}", PortfolioRules(ACCOUNT, Dollars(Decimal("0.00")))
    each = tuple(_position(name, symbol(which), number) for which in range(positions))
    return PortfolioPlan(name, rules, Dollars(RESERVE * positions), each)


def _position(portfolio: str, name: str, number: int) -> PositionPlan:
    shares = Shares(Decimal(50_000 + number % 1_000) / 1_000)
    target = cents(shares * 100)
    rules = PositionRules(target=target, below="5%", above="5%", mode=Mode.AUTO)
    return PositionPlan(portfolio, name, rules, shares, target)


def cash(wanted: Plan) -> Dollars:
    """Give what all reserves together hold."""
    return Dollars(sum((each.reserve for each in wanted.portfolios), Decimal("0.00")))


def held(wanted: Plan) -> dict[str, Shares]:
    """Give the shares of each symbol that all positions together hold."""
    total: dict[str, Shares] = {}
    for each in (position for portfolio in wanted.portfolios for position in portfolio.positions):
        total[each.symbol] = Shares(total.get(each.symbol, Decimal(0)) + (each.shares or Decimal(0)))
    return total


def start(engine: Engine, wanted: Plan) -> list[ev.Event]:
    """Bring a new engine to where it decides: configured, and reconciled with its broker."""
    facts = engine.record([ev.DaemonStarted(at=OPEN, version="benchmark", nonce="benchmark")])
    facts += engine.configure(wanted, OPEN)
    return facts + engine.record([ev.AccountReconciled(at=OPEN, account=ACCOUNT, cash=cash(wanted), covered=True)])


def running(wanted: Plan) -> Engine:
    """Give an engine that has started, with every position armed."""
    engine = Engine(State(), MarketCalendar())
    start(engine, wanted)
    engine.prints([seen(each, QUIET) for each in sorted(held(wanted))], OPEN)
    return engine


def seen(name: str, price: float) -> Print:
    """Give a trade of a symbol."""
    return trade_print(name, price, OPEN)


def life(positions: int, events: int) -> Iterator[ev.Event]:
    """Give the facts of the first portfolio's long life: each position in turn buys, sells that, buys again.

    One follows the other after ten minutes, from a signal to its order's end in five events.
    """
    for cycle in range(events // 5):
        yield from _trade(cycle, positions)


def _trade(cycle: int, positions: int) -> tuple[ev.Event, ...]:
    which, number = cycle % positions, cycle // positions + 1
    at = Instant(OPEN + cycle * 10 * MINUTE)
    about: ev.About = {"portfolio": "p0", "symbol": symbol(which)}
    side = Side.ACCUMULATE if number % 2 else Side.TRIM
    buys = side is Side.ACCUMULATE
    amount, shares, price = Dollars(Decimal("300.00")), Shares(Decimal("3.2")), Price(Decimal("93.75"))
    notional, quantity = (amount, None) if buys else (None, shares)
    order = client_order_id("p0", about["symbol"], number, 1, "benchmark")
    return (
        ev.SignalRaised(
            at=at,
            **about,
            number=number,
            side=side,
            price=price,
            value=Dollars(Decimal("4700.00")),
            target=TARGET,
            edge=Dollars(Decimal("4750.00")),
            amount=amount,
            reason="S at 93.75 is worth $4,700.00, at or below the lower edge $4,750.00 of its target $5,000.00.",
        ),
        ev.OrderIntended(
            at=at,
            **about,
            order=order,
            account=ACCOUNT,
            number=number,
            side=side,
            price=price,
            notional=notional,
            quantity=quantity,
            limit=None,
            worth=amount,
            reserved=amount if buys else Dollars(Decimal("0.00")),
            day="2020-03-09",
            expires=Instant(at + 300 * SECOND),
        ),
        ev.OrderAccepted(at=at, **about, order=order, broker_order=f"paper-{cycle}"),
        ev.OrderFilled(
            at=at,
            **about,
            order=order,
            side=side,
            filled=shares,
            average=price,
            cash=amount,
            shares=shares,
            amount=amount,
            gain=None if buys else Dollars(Decimal("-20.00")),
        ),
        ev.OrderEnded(
            at=at, **about, order=order, status=OrderStatus.FILLED, reason="", released=Dollars(Decimal("0.00"))
        ),
    )


def configuration(folder: Path, positions: int) -> Path:
    """Write a configuration of one portfolio of so many positions, and the recording that it names."""
    names = [symbol(each) for each in range(positions)]
    tables = "".join(
        f"""
[portfolios.p0.positions.{name}]
target = "{TARGET}"
shares = "50"
cost = "{TARGET}"
"""
        for name in names
    )
    rows = "".join(f"2020-03-09T15:00:00Z,{name},{QUIET}\n" for name in names)
    (folder / "prices.csv").write_text(f"timestamp,symbol,price\n{rows}", encoding="utf-8")
    file = folder / "benchmark.toml"
    file.write_text(
        f"""
[feed]
kind = "file"
files = ["prices.csv"]
[accounts.{ACCOUNT}]
broker = "paper"
[portfolios.p0]
account = "{ACCOUNT}"
reserve = "{RESERVE * positions}"
zone = "5%"
mode = "auto"
{tables}""",
        encoding="utf-8",
    )
    return file
