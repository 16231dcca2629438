"""What a run came to, and what doing nothing would have: the honest comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from mrdaemon.core import events as ev
from mrdaemon.core.lots import cost_of
from mrdaemon.core.money import EXACT, NO_DOLLARS, Dollars, Price, Shares, cents, value
from mrdaemon.core.policy import Side
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


class Tally:
    """Counts what the state does not keep."""

    def __init__(self) -> None:
        self.signals = self.held = 0
        self.initial: dict[str, Dollars] = {}
        """By position, what the first buy of its target took."""
        self.drawn = NO_DOLLARS
        """The most that was drawn at any time."""
        self._flow = NO_DOLLARS
        self.targets: dict[str, Dollars] = {}
        """By position, its first target."""
        self._empty: set[str] = set()
        self._first: dict[str, str] = {}

    def add(self, events: Iterable[ev.Event]) -> None:
        """Count more events."""
        for event in events:
            match event:
                case ev.SignalRaised():
                    self.signals += 1
                case ev.SignalHeld():
                    self.held += 1
                case ev.PositionConfigured():
                    self.targets.setdefault(f"{event.portfolio}/{event.symbol}", event.rules.target)
                case ev.PositionOpened(shares=shares) if not shares:
                    self._empty.add(f"{event.portfolio}/{event.symbol}")
                case ev.OrderIntended(number=1, side=Side.ACCUMULATE):
                    key = f"{event.portfolio}/{event.symbol}"
                    if key in self._empty:
                        self._first[event.order] = key
                case ev.OrderFilled() if event.order in self._first:
                    key = self._first[event.order]
                    self.initial[key] = Dollars(self.initial.get(key, NO_DOLLARS) + event.amount)
                case ev.OrderFilled(side=side, amount=amount) | ev.FillReported(side=side, amount=amount):
                    self._move(amount if side is Side.TRIM else Dollars(-amount))
                case ev.FeeCharged(amount=amount):
                    self._move(Dollars(-amount))
                case _:
                    pass

    def _move(self, amount: Dollars) -> None:
        self._flow = Dollars(self._flow + amount)
        self.drawn = max(self.drawn, Dollars(-self._flow))


def summarize(state: State, tally: Tally, price_of: PriceOf) -> Summary:
    """Sum up a state at the prices given."""
    positions = [each for each in state.positions.values() if each.opened]
    lines = tuple(_line(position, price_of) for position in positions)
    books = state.portfolios.values()
    deposits = _total(each.deposits for each in books)
    initial = _total(tally.initial.values())
    left = _total(each.reserve for each in books)
    began = _began_with(positions, deposits)
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
        initial_buys=len(tally.initial),
        initial=initial,
        reserve_at_start=Dollars(deposits - initial),
        reserve_used=tally.drawn,
        reserve_left=left,
        realized=_total(line.realized for line in lines),
        unrealized=_known(line.unrealized for line in lines),
        started_with=began,
        ends_with=ends,
        gain=None if ends is None or began is None else Dollars(ends - began),
        positions=lines,
        baselines=_baselines([_Start(each, tally) for each in positions], deposits, began, price_of),
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

    def __init__(self, position: Position, tally: Tally) -> None:
        self.symbol, self.price = position.symbol, position.first_price
        self.target = tally.targets.get(position.key, position.target)
        self.buys = position.rules.initial or position.key in tally.initial
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
