"""Money: how it is read, rounded and shown."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdaemon.core.money import (
    NANO_SHARE,
    MoneyError,
    cents,
    cents_up,
    exact,
    parse_dollars,
    parse_ratio,
    parse_shares,
    shares_for,
    show,
    show_shares,
    value,
)


def test_value_rounds_half_to_even_at_the_cent() -> None:
    assert value(Decimal(50), Decimal("95.0001")) == Decimal("4750.00")
    assert value(Decimal(50), Decimal("95.0003")) == Decimal("4750.02")


def test_value_does_not_depend_on_the_callers_context() -> None:
    with localcontext() as context:
        context.prec = 4
        assert value(Decimal("123456.789"), Decimal("9876.54321")) == Decimal("1219326311.13")


@given(st.decimals("0", "1000000000", places=9), st.floats(1e-6, 1e6))
def test_value_is_the_exact_product_to_the_nearest_cent(shares: Decimal, price: float) -> None:
    with localcontext() as context:
        context.prec = 100
        product = shares * exact(price)
        assert abs(value(shares, exact(price)) - product) <= Decimal("0.005")


@given(st.decimals("0.01", "1000000", places=2), st.decimals("0.0001", "100000", places=4))
def test_shares_for_an_amount_never_cost_more_than_it(amount: Decimal, price: Decimal) -> None:
    shares = shares_for(amount, price, NANO_SHARE)
    with localcontext() as context:
        context.prec = 100
        assert shares * price <= amount < (shares + NANO_SHARE) * price


def test_shares_round_down_to_the_increment() -> None:
    assert shares_for(Decimal(250), Decimal(105), NANO_SHARE) == Decimal("2.380952380")
    assert shares_for(Decimal(250), Decimal(105), Decimal(1)) == 2


def test_a_price_is_the_decimal_that_the_feed_sent() -> None:
    assert exact(0.1) == Decimal("0.1")
    assert exact(257.6591) == Decimal("257.6591")


def test_cents_up_never_falls_short() -> None:
    assert cents_up(Decimal("1.001")) == Decimal("1.01")
    assert cents_up(Decimal("1.00")) == Decimal("1.00")
    assert cents(Decimal("1.005")) == Decimal("1.00")


@pytest.mark.parametrize(
    ("text", "amount"), [("5000", "5000"), ("$5,000.00", "5000"), ("0.5", "0.5"), (" 12.30 ", "12.3"), ("-3", "-3")]
)
def test_dollars_are_read(text: str, amount: str) -> None:
    assert parse_dollars(text) == Decimal(amount)


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "1e3", "1.234", "five", "--1", "9" * 30, "1.", ".5", "٣", "1,5", "12,34,567", "1_000"]
)
def test_what_is_not_dollars_is_refused(text: str) -> None:
    with pytest.raises(MoneyError, match="wanted dollars"):
        parse_dollars(text)


@pytest.mark.parametrize(
    ("text", "ratio"), [("3%", "0.03"), ("300bps", "0.03"), ("0.03", "0.03"), ("2.5 bps", "0.00025")]
)
def test_ratios_are_read(text: str, ratio: str) -> None:
    assert parse_ratio(text) == Decimal(ratio)


@pytest.mark.parametrize("text", ["-1", "1.0000000001", "x", "NaN"])
def test_what_is_not_shares_is_refused(text: str) -> None:
    with pytest.raises(MoneyError, match="wanted shares"):
        parse_shares(text)


def test_money_is_shown_as_people_write_it() -> None:
    assert show(Decimal("1234.5")) == "$1,234.50"
    assert show(Decimal(-3)) == "-$3.00"
    assert show_shares(Decimal("12.500000000")) == "12.5"
    assert show_shares(Decimal("0E-9")) == "0"
