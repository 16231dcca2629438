"""Zones: edges, amounts, and a float filter that may be wide but never narrow."""

from __future__ import annotations

import math
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdaemon.core.money import MoneyError, Shares, value
from mrdaemon.core.policy import Side
from mrdaemon.core.zone import (
    HIGHEST_PRICE,
    Zone,
    believable,
    beyond,
    parse_width,
    price_at_least,
    price_at_most,
)
from tests.builders import BUY, SELL, dollars, rules

ZONES = ["3%", "300bps", "$150", "0.5%", "17bps", "$0.37", "49.99%"]


@pytest.mark.parametrize(("text", "width"), [("3%", "150"), ("300bps", "150"), ("$150", "150"), ("0.125%", "6.25")])
def test_a_width_is_a_ratio_basis_points_or_dollars(text: str, width: str) -> None:
    assert parse_width(text, dollars(5000)) == dollars(width)


def test_a_width_is_rounded_to_the_cent_half_even() -> None:
    assert parse_width("1%", dollars("100.50")) == dollars("1.00")
    assert parse_width("1%", dollars("101.50")) == dollars("1.02")


@pytest.mark.parametrize("text", ["3", "", "%", "three%", "-3%", "$-5", "0%", "$0", "3 %%", "nan%", "1e3%"])
def test_what_is_not_a_width_is_refused_with_what_was_got(text: str) -> None:
    with pytest.raises(MoneyError, match="got"):
        parse_width(text, dollars(5000))


def test_both_sides_may_differ() -> None:
    zone = Zone.of(rules(below="2%", above="$300"))
    assert (zone.lower, zone.upper) == (dollars(4900), dollars(5300))


@pytest.mark.parametrize("below", ["100%", "$5000", "$6000"])
def test_a_zone_as_wide_as_its_target_is_refused(below: str) -> None:
    with pytest.raises(MoneyError, match="less than the target"):
        Zone.of(rules(below=below))


@pytest.mark.parametrize("target", ["0", "-1"])
def test_a_target_is_above_zero(target: str) -> None:
    with pytest.raises(MoneyError, match="target above zero"):
        Zone.of(rules(target=target))


@pytest.mark.parametrize(
    ("restore", "up_to", "down_to"), [("1", 5000, 5000), ("0.5", 4875, 5125), ("0", 4750, 5250), ("0.2", 4800, 5200)]
)
def test_an_order_restores_to_the_target_the_edge_or_between(restore: str, up_to: int, down_to: int) -> None:
    zone = Zone.of(rules(restore=Decimal(restore)))
    assert (zone.buy_up_to, zone.sell_down_to) == (dollars(up_to), dollars(down_to))


def test_the_edges_are_inclusive() -> None:
    zone = Zone.of(rules())
    assert zone.fires(BUY, dollars("4750.00"))
    assert not zone.fires(BUY, dollars("4750.01"))
    assert zone.fires(SELL, dollars("5250.00"))
    assert not zone.fires(SELL, dollars("5249.99"))


def test_the_trigger_is_the_first_value_at_which_the_amount_is_worth_an_order() -> None:
    edge = Zone.of(rules(restore=Decimal(0)))
    assert (edge.buy_at, edge.sell_at) == (dollars(4700), dollars(5300))
    small = Zone.of(rules(restore=Decimal(0), min_step="$0"))
    assert (small.buy_at, small.sell_at) == (dollars(4749), dollars(5251))
    asset = Zone.of(rules(restore=Decimal(0), min_step="$0"), dollars(10))
    assert (asset.buy_at, asset.sell_at) == (dollars(4740), dollars(5260))


def test_beyond_counts_in_widths_of_the_side() -> None:
    zone = Zone.of(rules())
    assert beyond(zone, BUY, Decimal(50), Decimal(90)) == 1
    assert beyond(zone, SELL, Decimal(50), Decimal(100)) == -1


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, 0.0, -1.0, 1e7, 1e300])
def test_what_cannot_be_a_price(price: float) -> None:
    assert not believable(price)


def test_no_shares_want_every_price_below_and_none_above() -> None:
    assert price_at_most(dollars(1), Decimal(0)) == HIGHEST_PRICE
    assert price_at_least(dollars(1), Decimal(0)) == HIGHEST_PRICE


def missed(zone: Zone, shares: Decimal, price: float) -> list[Side]:
    """Give the sides that the exact test fires at a price and the filter does not let through."""
    worth = value(shares, Decimal(repr(price)))
    let_through = {
        BUY: price <= price_at_most(zone.buy_at, shares),
        SELL: price >= price_at_least(zone.sell_at, shares),
    }
    return [side for side in Side if zone.fires(side, worth) and not let_through[side]]


def boundary_prices(zone: Zone, shares: Decimal, draw: random.Random) -> list[float]:
    """Give prices at and around where each side begins to fire: neighbouring floats, and short decimals."""
    prices = []
    for worth in (zone.buy_at, zone.sell_at):
        for nudge in ("-0.005", "0", "0.005"):
            exact = float((worth + Decimal(nudge)) / shares)
            up = math.nextafter(exact, math.inf)
            prices += [exact, math.nextafter(exact, 0.0), up, math.nextafter(up, math.inf)]
            prices.append(round(exact, draw.randint(2, 9)))
    return [price for price in prices if believable(price)]


@pytest.mark.no_cover
@pytest.mark.parametrize("wanted", [500_000, pytest.param(5_000_000, marks=pytest.mark.soak)])
def test_the_filter_misses_none_of_so_many_boundary_cases(wanted: int) -> None:
    draw = random.Random(3)
    cases = 0
    while cases < wanted:
        target = str(Decimal(draw.randint(100, 10**9)) / 100)
        zone = Zone.of(rules(target, draw.choice(["3%", "1%", "250bps", "7.5%"]), restore=Decimal(draw.choice("01"))))
        digits = draw.randint(0, 9)
        shares = Shares(Decimal(draw.randint(1, 10 ** draw.randint(1, 12))).scaleb(-digits))
        let_buy, let_sell = price_at_most(zone.buy_at, shares), price_at_least(zone.sell_at, shares)
        for _ in range(8):
            for price in boundary_prices(zone, shares, draw):
                worth = value(shares, Decimal(repr(price)))
                assert price <= let_buy or worth > zone.buy_at
                assert price >= let_sell or worth < zone.sell_at
                cases += 1


@given(
    target=st.decimals("1", "10000000", places=2),
    width=st.sampled_from(ZONES),
    shares=st.decimals("0.000000001", "1000000", places=9),
    price=st.floats(1e-6, 9e6),
)
def test_the_filter_is_never_narrow(target: Decimal, width: str, shares: Decimal, price: float) -> None:
    try:
        zone = Zone.of(rules(str(target), width))
    except MoneyError:
        return
    for near in (price, *boundary_prices(zone, shares, random.Random(0))):
        assert not missed(zone, shares, near)


def test_a_filter_without_the_half_cent_would_be_caught() -> None:
    zone, shares = Zone.of(rules()), Decimal(50)
    narrow = float(zone.buy_at / shares)
    price = 95.0001
    assert zone.fires(BUY, value(shares, Decimal(repr(price))))
    assert price > narrow
    assert price <= price_at_most(zone.buy_at, shares)
