"""Lots: first in, first out, and not a cent lost."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from mrdaemon.core.instant import Instant
from mrdaemon.core.lots import Lot, Slice, cost_of, divide, sell, take
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


# What a sale takes of each lot


def test_taking_says_which_shares_of_which_lot_and_what_they_cost() -> None:
    first, second, third = lot("1", "10", 1), lot("3", "10", 2), lot("5", "70", 3)
    left, slices = take([first, second, third], Shares(Decimal(2)))
    assert slices == [Slice(first, first.shares, dollars(10)), Slice(second, Shares(Decimal(1)), dollars("3.33"))]
    assert left == [lot("2", "6.67", 2), third]


def test_taking_more_than_there_is_gives_what_there_is() -> None:
    only = lot("1", "10")
    assert take([only], Shares(Decimal(2))) == ([], [Slice(only, only.shares, dollars(10))])


def test_taking_of_a_lot_of_unknown_cost_leaves_the_rest_unknown() -> None:
    unknown = lot("2", None, 7)
    left, slices = take([unknown], Shares(Decimal(1)))
    assert slices == [Slice(unknown, Shares(Decimal(1)), None)]
    assert left == [lot("1", None, 7)]


class Tagged(Lot, frozen=True):
    """A lot of somebody who knows more about it."""

    seq: int


def test_what_is_left_of_a_lot_keeps_all_that_is_known_of_it() -> None:
    left, _ = take([Tagged(Shares(Decimal(2)), dollars(4), Instant(1), seq=9)], Shares(Decimal(1)))
    assert left == [Tagged(Shares(Decimal(1)), dollars(2), Instant(1), seq=9)]


def test_an_amount_is_divided_by_shares_to_the_cent() -> None:
    thirds = [Shares(Decimal(1))] * 3
    assert divide(dollars("10.00"), thirds) == [dollars("3.33"), dollars("3.34"), dollars("3.33")]
    assert divide(dollars("0.01"), thirds) == [dollars("0.00"), dollars("0.01"), dollars("0.00")]
    assert divide(dollars("10.00"), []) == []


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


@given(costs, st.lists(quantities, min_size=1, max_size=9))
def test_what_is_divided_adds_up_and_each_part_is_within_a_cent_of_its_proportion(
    amount: Decimal, among: list[Decimal]
) -> None:
    parts = divide(Dollars(amount), [Shares(each) for each in among])
    assert sum(parts) == amount
    for part, shares in zip(parts, among, strict=True):
        assert part >= 0
        assert abs(part - amount * shares / sum(among)) <= Decimal("0.010000001")


@given(st.lists(st.tuples(quantities, st.none() | costs), max_size=6), quantities, costs)
def test_the_gain_of_a_sale_is_what_it_brought_less_the_cost_of_what_it_took(
    bought: list[tuple[Decimal, Decimal | None]], sold: Decimal, proceeds: Decimal
) -> None:
    lots = [Lot(Shares(shares), None if cost is None else Dollars(cost), Instant(0)) for shares, cost in bought]
    left, slices = take(lots, Shares(sold))
    known = [each.cost for each in slices if each.cost is not None]
    complete = len(known) == len(slices) and sum(each.shares for each in slices) == sold
    assert sell(lots, Shares(sold), Dollars(proceeds)) == (left, proceeds - sum(known) if complete else None)
