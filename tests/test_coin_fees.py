"""A fee that the broker keeps in coins explains a small shortage, once, and no other."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mrdaemon.core import events as ev
from mrdaemon.core.coinfees import fee_explains
from mrdaemon.core.commands import ReportFill
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.policy import Asset
from tests.builders import BUY, Bench, plan, position

COIN = Asset("QQQ", fee=Decimal("0.0025"))


def bought() -> Bench:
    """Make a bench that holds 50 and bought 3 more; the fee on these is 0.0075."""
    bench = Bench(plan(position()))
    bench.prices(100.0)
    fill = ReportFill(
        by="me", portfolio="core", symbol="QQQ", side=BUY, shares=Shares(Decimal(3)), price=Price(Decimal(100))
    )
    bench.command(fill)
    return bench


def adopt(bench: Bench, shares: str) -> None:
    held = bench.position()
    fact = ev.SharesAdopted(
        at=bench.now, **held.about(), before=held.shares, shares=Shares(Decimal(shares)), reason="the fee"
    )
    bench.take(bench.engine.record([fact]))


@pytest.mark.parametrize(
    ("theirs", "explained"),
    [("52.9925", True), ("52.999999999", True), ("52.992492499", False), ("53", False), ("53.001", False)],
)
def test_a_shortage_is_explained_by_the_fee_on_what_was_bought_and_by_no_more(theirs: str, explained: bool) -> None:
    assert fee_explains(bought().position(), COIN, Shares(Decimal(theirs))) is explained


def test_a_fee_is_rounded_up_to_the_assets_increment() -> None:
    coarse = Asset("QQQ", fee=Decimal("0.0025"), increment=Shares(Decimal("0.005")))
    assert fee_explains(bought().position(), coarse, Shares(Decimal("52.99")))
    assert not fee_explains(bought().position(), coarse, Shares(Decimal("52.985")))


def test_an_asset_without_a_fee_explains_nothing() -> None:
    assert not fee_explains(bought().position(), Asset("QQQ"), Shares(Decimal("52.999999999")))


def test_what_the_position_began_with_has_no_fee() -> None:
    bench = Bench(plan(position()))
    assert not fee_explains(bench.position(), COIN, Shares(Decimal("49.9")))


def test_a_fee_explains_once() -> None:
    bench = bought()
    adopt(bench, "52.9925")
    assert not fee_explains(bench.position(), COIN, Shares(Decimal("52.985")))


def test_what_an_order_fills_counts() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0, 94.0)
    assert bench.position().bought_since == bench.position().shares - 50 > 3
    assert bench.restart().position().bought_since == bench.position().shares - 50
