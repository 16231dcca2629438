"""Names of positions in topics and identifiers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdaemon.alerts.slugs import slug

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,3}([_-][a-z0-9]{1,3}){0,3}", fullmatch=True)
SYMBOLS = st.from_regex(r"[A-Z0-9][A-Z0-9.\-]{0,6}(/[A-Z0-9]{2,4})?", fullmatch=True)
POSITIONS = st.tuples(NAMES, SYMBOLS)


@pytest.mark.parametrize(
    ("portfolio", "symbol", "name"),
    [
        ("core", "QQQ", "core_qqq"),
        ("core", "BRK.B", "core_brk-2eb"),
        ("coins", "BTC/USD", "coins_btc-2fusd"),
        ("long_term-2", "BF-A", "long_term-2_bf-2da"),
    ],
)
def test_a_slug_can_be_read(portfolio: str, symbol: str, name: str) -> None:
    assert slug(portfolio, symbol) == name


@given(POSITIONS, POSITIONS)
def test_no_two_positions_have_one_slug(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (slug(*one) == slug(*other)) is (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("core", "BRK.B"), ("core", "BRK-2EB")),
        (("core", "A.2DB"), ("core", "A-B")),
        (("core_a", "B"), ("core", "A_B")),
        (("core", "qqq"), ("core", "QQQ")),
        (("core-2e", "B"), ("core", ".B")),
    ],
)
def test_look_alikes_are_told_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert slug(*one) != slug(*other)


@given(NAMES, st.text(min_size=1, max_size=10))
def test_a_slug_may_stand_in_topics_and_identifiers_whatever_the_symbol(portfolio: str, symbol: str) -> None:
    assert re.fullmatch(r"[a-z0-9_-]+", slug(portfolio, symbol))
