"""What a run came to, and what doing nothing would have: the honest comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from mrdaemon.core.lots import cost_of
from mrdaemon.core.money import EXACT, NO_DOLLARS, Dollars, Price, Shares, cents, value
from mrdaemon.core.state import Position, State

PriceOf = Callable[[str], Price | None]
"""Gives the newest known price of a symbol."""


class Line(msgspec.Struct, frozen=True):
    """One position at the end."""

    symbol: str
    portfolio: str
    target: Dollars
    shares: Shares
    price: Price | None
    value: Dollars | None
    buys: int
    sells: int
    realized: Dollars
    unrealized: Dollars | None


class Baseline(msgspec.Struct, frozen=True):
    """What the same money came to without the method."""

    name: str
    ends_with: Dollars
    gain: Dollars


class Summary(msgspec.Struct, frozen=True):
    """A run in figures. Dollars; gains are before taxes, and cash earns nothing."""

    signals: int
    held: int
    buys: int
    sells: int
    bought: Dollars
    sold: Dollars
    fees: Dollars
    dividends: Dollars
    """Less the tax that was withheld of them. They are in no baseline."""
    initial_buys: int
    """How many of the buys were the first of a target."""
    initial: Dollars
    """What those took from the reserve."""
    reserve_at_start: Dollars
    """What was put into the reserve, less the initial buys."""
    reserve_used: Dollars
    """The most that accumulations and fees had drawn at any time, beyond what trims had paid in until then."""
    reserve_left: Dollars
    realized: Dollars
    unrealized: Dollars | None
    """None where a lot's cost or a price is not known."""
    started_with: Dollars | None
    ends_with: Dollars | None
    gain: Dollars | None
    positions: tuple[Line, ...]
    baselines: tuple[Baseline, ...]


def summarize(state: State, price_of: PriceOf) -> Summary:
    """Sum up a state at the prices given."""
    positions = [each for each in state.positions.values() if each.opened]
    lines = tuple(_line(position, price_of) for position in positions)
    books = state.portfolios.values()
    deposits = _total(each.deposits for each in books)
    first_buys = [each.first_buy for each in positions if each.first_buy is not None]
    initial = _total(first_buys)
    left = _total(each.reserve for each in books)
    began = _began_with(positions, deposits)
    worth = _known(line.value for line in lines)
    ends = None if worth is None else Dollars(worth + left)
    return Summary(
        signals=state.signals,
        held=state.held,
        buys=sum(line.buys for line in lines),
        sells=sum(line.sells for line in lines),
        bought=_total(each.bought for each in books),
        sold=_total(each.sold for each in books),
        fees=_total(each.fees for each in books),
        dividends=_total(each.dividends for each in books),
        initial_buys=len(first_buys),
        initial=initial,
        reserve_at_start=Dollars(deposits - initial),
        reserve_used=state.drawn,
        reserve_left=left,
        realized=_total(line.realized for line in lines),
        unrealized=_known(line.unrealized for line in lines),
        started_with=began,
        ends_with=ends,
        gain=None if ends is None or began is None else Dollars(ends - began),
        positions=lines,
        baselines=_baselines([_Start(each) for each in positions], deposits, began, price_of),
    )


def _line(position: Position, price_of: PriceOf) -> Line:
    price = price_of(position.symbol)
    worth = NO_DOLLARS if not position.shares else None if price is None else value(position.shares, price)
    cost = cost_of(position.lots)
    return Line(
        symbol=position.symbol,
        portfolio=position.portfolio,
        target=position.target,
        shares=position.shares,
        price=price,
        value=worth,
        buys=position.buys,
        sells=position.sells,
        realized=position.realized,
        unrealized=None if worth is None or cost is None else Dollars(worth - cost),
    )


def _began_with(positions: list[Position], deposits: Dollars) -> Dollars | None:
    """Give the worth of everything at the first prices: cash, and the shares that were there already."""
    total: Decimal = deposits
    for position in positions:
        if position.opening:
            if position.first_price is None:
                return None
            total += value(position.opening, position.first_price)
    return cents(total)


class _Start:
    """What a position was on its first day."""

    def __init__(self, position: Position) -> None:
        self.symbol, self.price = position.symbol, position.first_price
        self.target = position.first_target
        self.buys = position.rules.initial or position.first_buy is not None
        self._opening = position.opening

    def shares_at(self, price: Price) -> Decimal:
        """Give the shares that doing nothing would have held: those of the opening, or those the target bought."""
        return EXACT.divide(self.target, price) if self.buys else self._opening


def _baselines(
    starts: list[_Start], deposits: Dollars, began: Dollars | None, price_of: PriceOf
) -> tuple[Baseline, ...]:
    """Hold the targets and leave the reserve in cash; or invest target and reserve on day one, by target."""
    if began is None or not starts:
        return ()
    spare = deposits - sum((each.target for each in starts if each.buys), Decimal(0))
    targets = sum((each.target for each in starts), Decimal(0))
    held = all_in = Decimal(0)
    for start in starts:
        last = price_of(start.symbol)
        if last is None or start.price is None:
            return ()
        shares = start.shares_at(start.price)
        more = EXACT.divide(EXACT.multiply(spare, start.target), EXACT.multiply(targets, start.price))
        held += shares * last
        all_in += (shares + more) * last
    ends = (("holding the targets, reserve in cash", held + spare), ("target and reserve invested on day one", all_in))
    return tuple(Baseline(name, cents(end), cents(end - began)) for name, end in ends)


def _total(amounts: Iterable[Dollars]) -> Dollars:
    return cents(sum(amounts, Decimal(0)))


def _known(amounts: Iterable[Dollars | None]) -> Dollars | None:
    total = NO_DOLLARS
    for amount in amounts:
        if amount is None:
            return None
        total = Dollars(total + amount)
    return total
