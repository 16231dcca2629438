"""What a run came to, and what doing nothing would have: the honest comparison."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from mrdaemon.core import events as ev
from mrdaemon.core.lots import cost_of
from mrdaemon.core.money import EXACT, NO_DOLLARS, Dollars, Price, Shares, cents, value
from mrdaemon.core.policy import Side
from mrdaemon.core.state import Position, State


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
    reserve_at_start: Dollars
    """After the initial buys."""
    reserve_lowest: Dollars
    reserve_used: Dollars
    """The most that was drawn at any time."""
    reserve_left: Dollars
    realized: Dollars
    unrealized: Dollars | None
    """None where a lot's cost or a price is not known."""
    started_with: Dollars | None
    ends_with: Dollars | None
    gain: Dollars | None
    positions: tuple[Line, ...]
    baselines: tuple[Baseline, ...]


class Tally:
    """Counts what the state does not keep."""

    def __init__(self) -> None:
        self.signals = self.held = 0
        self.initial: dict[str, Dollars] = {}
        self._first: dict[str, str] = {}

    def add(self, events: Iterable[ev.Event]) -> None:
        """Count more events."""
        for event in events:
            match event:
                case ev.SignalRaised():
                    self.signals += 1
                case ev.SignalHeld():
                    self.held += 1
                case ev.OrderIntended(number=1, side=Side.ACCUMULATE):
                    self._first[event.order] = f"{event.portfolio}/{event.symbol}"
                case ev.OrderFilled() if event.order in self._first:
                    key = self._first[event.order]
                    self.initial[key] = Dollars(self.initial.get(key, NO_DOLLARS) + event.amount)


def summarize(state: State, tally: Tally) -> Summary:
    """Sum up a state at its last prices."""
    positions = [each for each in state.positions.values() if each.opened]
    lines = tuple(_line(state, position) for position in positions)
    books = state.portfolios.values()
    deposits = _total(each.deposits for each in books)
    initial = _total(tally.initial.get(each.key, NO_DOLLARS) for each in positions if each.rules.initial)
    left = _total(each.reserve for each in books)
    lowest = _total(NO_DOLLARS if each.lowest is None else each.lowest for each in books)
    at_start = Dollars(deposits - initial)
    began = _began_with(positions, deposits, initial)
    worth = _known(line.value for line in lines)
    ends = None if worth is None else Dollars(worth + left)
    return Summary(
        signals=tally.signals,
        held=tally.held,
        buys=sum(line.buys for line in lines),
        sells=sum(line.sells for line in lines),
        bought=_total(each.bought for each in books),
        sold=_total(each.sold for each in books),
        fees=_total(each.fees for each in books),
        reserve_at_start=at_start,
        reserve_lowest=lowest,
        reserve_used=Dollars(max(NO_DOLLARS, at_start - lowest)),
        reserve_left=left,
        realized=_total(line.realized for line in lines),
        unrealized=_known(line.unrealized for line in lines),
        started_with=began,
        ends_with=ends,
        gain=None if ends is None or began is None else Dollars(ends - began),
        positions=lines,
        baselines=_baselines(state, positions, deposits, began),
    )


def _line(state: State, position: Position) -> Line:
    price = state.symbol(position.symbol).reference
    worth = None if price is None else value(position.shares, price)
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


def _starting_shares(position: Position) -> Decimal | None:
    """Give the shares that doing nothing would have held: those of the opening, or those that the target bought."""
    if position.first_price is None:
        return None
    if position.rules.initial:
        return EXACT.divide(position.target, position.first_price)
    return position.opening


def _began_with(positions: list[Position], deposits: Dollars, initial: Dollars) -> Dollars | None:
    """Give the worth of everything at the first prices: cash, and the shares that were there already."""
    total: Decimal = deposits
    for position in positions:
        if not position.rules.initial:
            if position.first_price is None:
                return None
            total += value(position.opening, position.first_price)
    return cents(total) if initial <= deposits else None


def _baselines(
    state: State, positions: list[Position], deposits: Dollars, began: Dollars | None
) -> tuple[Baseline, ...]:
    """Hold the targets and leave the reserve in cash; or invest target and reserve on day one, by target."""
    if began is None or not positions:
        return ()
    held, all_in = Decimal(0), Decimal(0)
    spent = sum((each.target for each in positions if each.rules.initial), Decimal(0))
    spare, targets = deposits - spent, sum((each.target for each in positions), Decimal(0))
    for position in positions:
        shares, last = _starting_shares(position), state.symbol(position.symbol).reference
        if shares is None or last is None or position.first_price is None:
            return ()
        more = EXACT.divide(EXACT.multiply(spare, position.target), EXACT.multiply(targets, position.first_price))
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
