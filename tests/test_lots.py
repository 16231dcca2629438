"""Lots: first in, first out, and not a cent lost."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from mrdaemon.core.instant import Instant
from mrdaemon.core.lots import Lot, cost_of, sell
from mrdaemon.core.money import NO_DOLLARS, Dollars, Shares
from tests.builders import dollars


def lot(shares: str, cost: str | None, at: int = 0) -> Lot:
    return Lot(Shares(Decimal(shares)), None if cost is None else dollars(cost), Instant(at))


def test_the_oldest_lot_is_sold_first() -> None:
    left, gain = sell([lot("10", "100"), lot("10", "200")], Shares(Decimal(10)), dollars(150))
    assert left == [lot("10", "200")]
    assert gain == dollars(50)


def test_a_lot_sold_in_part_keeps_the_rest_of_its_cost() -> None:
    left, gain = sell([lot("3", "10")], Shares(Decimal(1)), dollars(5))
    assert left == [lot("2", "6.67")]
    assert gain == dollars("1.67")


def test_a_sale_through_several_lots_adds_their_costs() -> None:
    left, gain = sell([lot("1", "10"), lot("1", "20"), lot("2", "60")], Shares(Decimal(3)), dollars(100))
    assert left == [lot("1", "30")]
    assert gain == dollars(40)


def test_a_lot_of_unknown_cost_makes_the_gain_unknown() -> None:
    left, gain = sell([lot("1", None), lot("1", "20")], Shares(Decimal(1)), dollars(100))
    assert left == [lot("1", "20")]
    assert gain is None
    assert cost_of([lot("1", None), lot("1", "20")]) is None


def test_more_than_there_is_has_no_known_gain() -> None:
    left, gain = sell([lot("1", "10")], Shares(Decimal(2)), dollars(100))
    assert (left, gain) == ([], None)


quantities = st.decimals("0.000000001", "1000", places=9)
costs = st.decimals("0.01", "100000", places=2)


@given(st.lists(st.tuples(quantities, costs), min_size=1, max_size=6), st.lists(quantities, max_size=6))
def test_no_share_and_no_cent_is_lost(bought: list[tuple[Decimal, Decimal]], sold: list[Decimal]) -> None:
    lots = [Lot(Shares(shares), Dollars(cost), Instant(0)) for shares, cost in bought]
    held, cost = sum(shares for shares, _ in bought), sum(cost for _, cost in bought)
    gains = Decimal(0)
    for shares in sold:
        if shares > held:
            continue
        lots, gain = sell(lots, Shares(shares), NO_DOLLARS)
        assert gain is not None
        held -= shares
        gains += gain
    assert sum(each.shares for each in lots) == held
    assert cost_of(lots) == cost + gains
