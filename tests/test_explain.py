"""An explanation is what then happens: the prices it shows fire, and the guards that it names hold."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrdaemon import show
from mrdaemon.core import events as ev
from mrdaemon.core.commands import Pause, SetTradingState
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.explain import REMEDIES, Check, Explanation, SideView
from mrdaemon.core.forecast import next_price
from mrdaemon.core.guards import GUARDS, Guard
from mrdaemon.core.instant import HOUR
from mrdaemon.core.money import Shares
from mrdaemon.core.policy import Asset, FeedState, Mode, OrderType, Side, TradingState
from tests.builders import BUY, SELL, Bench, Market, dollars, only, plan, position

TEN_THOUSANDTH = Decimal("0.0001")


def explained(bench: Bench) -> Explanation:
    return bench.engine.explain(bench.position(), bench.now)


def side_of(bench: Bench, side: Side) -> SideView:
    accumulate, trim = explained(bench).sides
    return accumulate if side is BUY else trim


def check_of(bench: Bench, side: Side, guard: str) -> Check:
    (found,) = [each for each in side_of(bench, side).checks if each.guard == guard]
    return found


def record(bench: Bench, fact: ev.Event) -> None:
    bench.take(bench.engine.record([fact]))


# The price that is shown


@st.composite
def lives(draw: st.DrawFn) -> Callable[[], Bench]:
    """Draw a position of an asset that trades in fractions, and what it was told of before; each call makes it anew."""
    target = Decimal(draw(st.sampled_from(["20", "100", "512.34", "5000", "100000"])))
    shares = Decimal(draw(st.sampled_from(["0.5", "1", "7", "12.345678901", "50", "100", "333.333333333", "1000"])))
    changes: dict[str, Any] = {
        "zone": draw(st.sampled_from(["50bps", "1%", "3%", "5%", "20%", "$7"])),
        "restore": Decimal(draw(st.sampled_from(["0", "0.25", "0.5", "1"]))),
        "min_step": draw(st.sampled_from(["0%", "20%", "100%", "$3"])),
        "min_order": dollars(draw(st.sampled_from(["1", "5", "50"]))),
        "mode": draw(st.sampled_from([Mode.ALERT, Mode.AUTO, Mode.APPROVE])),
    }
    told_at = draw(st.lists(st.sampled_from(["0.7", "0.93", "1.06", "1.4"]), max_size=2))
    middle = (target / shares).quantize(TEN_THOUSANDTH)

    def live() -> Bench:
        bench = Bench(plan(position(shares=str(shares), target=str(target), **changes), reserve="10000000"), fill=False)
        bench.prices(float(middle), *(float(middle * Decimal(each)) for each in told_at))
        return bench

    return live


def told(bench: Bench, price: Decimal, side: Side) -> list[ev.Event]:
    """Give what a print makes of a side: a signal, raised or held."""
    events = bench.prices(float(price))
    return [each for each in events if isinstance(each, ev.SignalRaised | ev.SignalHeld) and each.side is side]


def shown(bench: Bench, side: Side) -> Decimal | None:
    return next_price(bench.state, bench.position(), bench.engine.zone(bench.position()), side)


@settings(max_examples=150, deadline=None)
@given(live=lives(), side=st.sampled_from(Side))
def test_the_price_that_is_shown_fires_and_one_a_cent_of_value_inside_it_does_not(
    live: Callable[[], Bench], side: Side
) -> None:
    price, shares, order = shown(live(), side), live().position().shares, live().position().order
    away = (Decimal("0.01") / shares).quantize(TEN_THOUSANDTH, rounding=ROUND_CEILING) + TEN_THOUSANDTH
    inside = None if price is None else price + (away if side is BUY else -away)
    assert price is None or order is not None or told(live(), price, side) != []
    assert inside is None or told(live(), inside, side) == []


@pytest.mark.parametrize(("side", "price", "inside"), [(BUY, "94.9999", "95.0002"), (SELL, "105", "104.9998")])
def test_a_side_fires_at_the_price_that_is_shown(side: Side, price: str, inside: str) -> None:
    def bench() -> Bench:
        started = Bench(plan(position()))
        started.prices(100.0)
        return started

    assert told(bench(), Decimal(inside), side) == []
    assert len(told(bench(), Decimal(price), side)) == 1


WHOLE = Asset("QQQ", fractionable=False)
COARSE = Asset("QQQ", increment=Shares(Decimal("0.001")))
THREE = Asset("QQQ", min_quantity=Shares(Decimal(3)))


@pytest.mark.parametrize(
    ("side", "shares", "target", "asset", "changes"),
    [
        (BUY, "5", "5000", WHOLE, {"zone": "50bps"}),
        (BUY, "3", "100000", WHOLE, {"zone": "50bps", "restore": Decimal(0), "min_step": "100%"}),
        (SELL, "50", "5000", WHOLE, {"zone": "1%", "min_step": "0%"}),
        (SELL, "3", "5000", WHOLE, {"zone": "50bps", "restore": Decimal("0.25"), "min_order": dollars(50)}),
        (SELL, "12", "512.34", WHOLE, {"zone": "50bps", "restore": Decimal("0.5"), "min_order": dollars(50)}),
        (BUY, "50", "5000", THREE, {"zone": "1%"}),
        (BUY, "50", "5000", THREE, {"zone": "1%", "order_type": OrderType.LIMIT}),
        (SELL, "50", "5000", THREE, {"zone": "1%"}),
        (SELL, "50", "5000", THREE, {"zone": "1%", "order_type": OrderType.LIMIT}),
        (BUY, "500", "200", WHOLE, {"zone": "5%"}),
        (SELL, "1", "5000", COARSE, {"zone": "20%", "restore": Decimal(0), "min_step": "$3", "min_order": dollars(5)}),
    ],
)
def test_a_price_that_is_shown_fires_also_where_orders_have_steps(
    side: Side, shares: str, target: str, asset: Asset, changes: dict[str, Any]
) -> None:
    def bench() -> Bench:
        started = Bench(plan(position(shares=shares, target=target, **changes), reserve="10000000"), fill=False)
        record(started, ev.AssetKnown(at=started.now, account="paper", asset=asset))
        started.prices(float((Decimal(target) / Decimal(shares)).quantize(TEN_THOUSANDTH)))
        return started

    price = shown(bench(), side)
    assert price is not None
    assert len(told(bench(), price, side)) == 1
    assert told(bench(), price + (Decimal("0.05") if side is BUY else Decimal("-0.05")), side) == []


def test_a_side_that_was_told_of_is_shown_a_further_width_out() -> None:
    bench = Bench(plan(position(mode=Mode.ALERT)))
    bench.prices(100.0, 95.0)
    view = side_of(bench, BUY)
    assert (view.price, view.value) == (Decimal("90.0000"), Decimal("4500.00"))
    armed = check_of(bench, BUY, "armed")
    assert armed.reason == "it was told of at a value of $4,750.00"
    assert (
        armed.remedy
        == "report the fill, or the value must come back inside, to $4,812.50, or the price must reach 90.0000"
    )


def test_a_side_beyond_its_edge_already_is_shown_at_the_last_price() -> None:
    bench = Bench(plan(position()))
    bench.command(SetTradingState(by="me", state=TradingState.HALTED))
    bench.prices(100.0, 90.0)
    view = side_of(bench, BUY)
    assert (view.price, view.move, view.amount) == (Decimal("90.0"), Decimal(0), Decimal("500.00"))
    assert view.outcome == ("It would buy $500.00 of QQQ at 90.0, but is held back: the trading state guard held it.")


def test_a_position_without_shares_that_buys_its_target_says_so() -> None:
    bench = Bench(plan(position(shares=None, initial=True)))
    buys, sells = explained(bench).sides
    assert buys.outcome == "it buys its target $5,000.00 at the first price that counts."
    assert sells.outcome == "it has no shares yet; it buys its target first."
    assert buys.price is sells.price is None


def test_a_position_without_shares_that_buys_nothing_says_so_of_both_sides() -> None:
    bench = Bench(plan(position(shares=None, initial=False)))
    said = "it has no shares, and is not configured to buy its target."
    assert [side.outcome for side in explained(bench).sides] == [said, said]


def test_one_whole_share_too_dear_is_never_sold() -> None:
    bench = Bench(plan(position(shares="1", target="100")))
    record(bench, ev.AssetKnown(at=bench.now, account="paper", asset=Asset("QQQ", fractionable=False)))
    bench.prices(100.0)
    assert side_of(bench, SELL).price is None
    assert "smaller than one whole share" in side_of(bench, SELL).outcome


# Streams


def test_a_stream_that_is_down_is_named_since_when_and_why() -> None:
    bench = Bench(plan(position()))
    bench.later(7)
    for feed, state, why in [("iex", FeedState.CONNECTING, "cut"), ("crypto", FeedState.REFUSED, "auth failed")]:
        record(bench, ev.FeedStateChanged(at=bench.now, feed=feed, state=state, reason=why))
    assert explained(bench).streams == (
        "iex is connecting since 2020-09-13T12:26:40Z: cut",
        "crypto is refused since 2020-09-13T12:26:40Z: auth failed; it is not tried again by itself",
    )
    said = "  feed     iex is connecting since 2020-09-13T12:26:40Z: cut"
    assert said in show.explanation_lines(show.plain(explained(bench)))


def test_a_stream_that_is_up_is_not_named() -> None:
    bench = Bench(plan(position()))
    for feed, state in [("iex", FeedState.LIVE), ("orders", FeedState.SUBSCRIBED)]:
        record(bench, ev.FeedStateChanged(at=bench.now, feed=feed, state=state, reason=""))
    assert explained(bench).streams == ()


# The guards


def test_every_guard_appears_by_name_and_passes_where_nothing_is_wrong() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    found = explained(bench)
    names = {"watched", "price", "armed", *Guard, "circuit breaker"}
    assert [{each.guard for each in side.checks} for side in found.sides] == [names, names]
    assert [each.guard for side in found.sides for each in side.checks if not each.passes] == []
    assert found.changes == ()
    assert [each.outcome for each in found.sides] == [
        "It would buy $250.00 of QQQ at 95.0000.",
        "It would sell $250.00 of QQQ at 105.0000.",
    ]


def halt(bench: Bench) -> None:
    bench.command(SetTradingState(by="me", state=TradingState.HALTED))


def reduce(bench: Bench) -> None:
    bench.command(SetTradingState(by="me", state=TradingState.REDUCING))


def pause(bench: Bench) -> None:
    bench.command(Pause(by="me", paused=True))


def pause_it(bench: Bench) -> None:
    bench.command(Pause(by="me", paused=True, symbol="QQQ"))


def halt_position(bench: Bench) -> None:
    record(bench, ev.PositionHalted(at=bench.now, portfolio="core", symbol="QQQ", reason="shares differ"))


def freeze(bench: Bench) -> None:
    price = Decimal(100)
    record(
        bench,
        ev.SymbolFrozen(at=bench.now, symbol="QQQ", before=price, price=price / 2, reason="half"),  # type: ignore[arg-type]
    )


def exchange_halt(bench: Bench) -> None:
    bench.take(bench.engine.exchange_halt("QQQ", "news", bench.now))


def after_the_close(bench: Bench) -> None:
    bench.later(6 * HOUR)


def dispute(bench: Bench) -> None:
    record(bench, ev.SessionsDisputed(at=bench.now, account="paper", reason="the broker says closed"))


def untradable(bench: Bench) -> None:
    record(bench, ev.AssetKnown(at=bench.now, account="paper", asset=Asset("QQQ", tradable=False)))


def lose_account(bench: Bench) -> None:
    record(bench, ev.AccountLost(at=bench.now, account="paper", reason="cut"))


def uncover(bench: Bench) -> None:
    record(bench, ev.AccountReconciled(at=bench.now, account="paper", cash=dollars(1), covered=False))


def decline(bench: Bench) -> None:
    bench.prices(90.0)


def be_refused(bench: Bench) -> None:
    bench.prices(90.0)
    (order,) = bench.state.orders
    bench.take(bench.engine.order_ended(order, OrderStatus.REJECTED, "no", bench.now))


def nothing(bench: Bench) -> None:
    pass


Plans = dict[str, Any]
NOTHING: Plans = {}
OBJECTIONS: list[tuple[Guard, Callable[[Bench], None], Side, Plans, Plans, bool]] = [
    (Guard.STATE, halt, BUY, NOTHING, NOTHING, True),
    (Guard.STATE, halt, SELL, NOTHING, NOTHING, True),
    (Guard.STATE, reduce, BUY, NOTHING, NOTHING, True),
    (Guard.PAUSED, pause, SELL, NOTHING, NOTHING, True),
    (Guard.PAUSED, pause_it, BUY, NOTHING, NOTHING, True),
    (Guard.HALTED, halt_position, SELL, NOTHING, NOTHING, True),
    (Guard.FROZEN, freeze, BUY, NOTHING, NOTHING, False),
    (Guard.EXCHANGE, exchange_halt, BUY, NOTHING, NOTHING, True),
    (Guard.SESSION, after_the_close, BUY, NOTHING, NOTHING, True),
    (Guard.CLOCK, dispute, BUY, NOTHING, NOTHING, True),
    (Guard.ASSET, untradable, SELL, NOTHING, NOTHING, True),
    (Guard.ACCOUNT, lose_account, SELL, NOTHING, NOTHING, True),
    (Guard.COVER, uncover, BUY, NOTHING, NOTHING, True),
    (Guard.IN_FLIGHT, decline, SELL, NOTHING, NOTHING, False),
    (Guard.COOLDOWN, decline, SELL, {"cooldown": 600, "mode": Mode.ALERT}, NOTHING, True),
    (Guard.RESERVE, nothing, BUY, NOTHING, {"reserve": "0"}, True),
    (Guard.MINIMUM, nothing, BUY, NOTHING, {"reserve": "0.50"}, False),
    (Guard.MAXIMUM, nothing, SELL, {"max_order": dollars(1)}, NOTHING, True),
    (Guard.ORDERS, nothing, BUY, NOTHING, {"portfolio": {"max_orders_per_day": 0}}, True),
    (Guard.NOTIONAL, nothing, BUY, NOTHING, {"portfolio": {"max_notional_per_day": dollars(1)}}, True),
    (Guard.BROKER, be_refused, BUY, NOTHING, NOTHING, False),
]
IDS = [f"{each[0]} {each[2]}" for each in OBJECTIONS]


def arranged(arrange: Callable[[Bench], None], rules: Plans, portfolio: Plans) -> Bench:
    market = Market(opens=40_000 * 10**9, closes=50_000 * 10**9)
    bench = Bench(plan(position(**rules), **portfolio), market, fill=False)
    bench.prices(100.0)
    arrange(bench)
    return bench


@pytest.mark.parametrize(("guard", "arrange", "side", "rules", "portfolio", "_held"), OBJECTIONS, ids=IDS)
def test_what_a_guard_objects_to_is_shown_with_what_would_change_its_mind(
    guard: Guard, arrange: Callable[[Bench], None], side: Side, rules: Plans, portfolio: Plans, _held: bool
) -> None:
    bench = arranged(arrange, rules, portfolio)
    check = check_of(bench, side, guard)
    assert (check.passes, check.remedy) == (False, REMEDIES[guard])
    assert check.reason
    changes = [each for each in explained(bench).changes if f": {check.remedy} ({check.reason})" in each]
    assert [("buys" if side is BUY else "sells") in each for each in changes] == [True]
    assert "but is held back: " in side_of(bench, side).outcome


BEYOND = {BUY: Decimal(80), SELL: Decimal(120)}
HOLDS = [each[:5] for each in OBJECTIONS if each[5]]


@pytest.mark.parametrize(
    ("guard", "arrange", "side", "rules", "portfolio"), HOLDS, ids=[f"{each[0]} {each[2]}" for each in HOLDS]
)
def test_the_guard_that_is_named_is_the_one_that_holds_the_next_signal(
    guard: Guard, arrange: Callable[[Bench], None], side: Side, rules: Plans, portfolio: Plans
) -> None:
    bench = arranged(arrange, rules, portfolio)
    first = next(each for each in side_of(bench, side).checks if not each.passes and each.guard in list(GUARDS))
    (held,) = told(bench, BEYOND[side], side)
    assert isinstance(held, ev.SignalHeld)
    assert held.guard == first.guard == guard


def test_every_guard_has_an_objection_here_and_a_remedy() -> None:
    assert {each[0] for each in OBJECTIONS} == set(Guard) == set(REMEDIES)


def test_an_order_that_would_trip_a_breaker_says_that_it_would_halt_everything() -> None:
    bench = Bench(plan(position(), account={"notional_per_order": dollars(100)}))
    bench.prices(100.0)
    check = check_of(bench, BUY, "circuit breaker")
    assert "the order would halt everything" in check.reason
    assert check.remedy == "raise the account's limit"
    bench.prices(95.0)
    assert bench.state.trading is TradingState.HALTED


def test_a_position_whose_shares_nobody_said_yet_is_not_watched() -> None:
    bench = Bench(plan(position(shares=None)))
    bench.prices(100.0)
    check = check_of(bench, BUY, "watched")
    assert (check.reason, check.remedy) == (
        "its shares are not known yet: the broker says them",
        "the account must be reconciled",
    )


def test_without_a_price_it_says_that_one_must_arrive() -> None:
    bench = Bench(plan(position()))
    check = check_of(bench, BUY, "price")
    assert (check.reason, check.remedy) == ("no price was seen since the start", "a price must arrive")


def test_explaining_changes_nothing() -> None:
    bench = Bench(plan(position(mode=Mode.APPROVE)))
    bench.prices(100.0, 90.0)
    before, events = msgspec.json.encode(bench.state), len(bench.events)
    explained(bench)
    assert msgspec.json.encode(bench.state) == before
    assert bench.take(bench.engine.tick(bench.now)) == []
    assert len(bench.events) == events


def test_a_request_that_waits_is_named() -> None:
    bench = Bench(plan(position(mode=Mode.APPROVE)))
    bench.prices(100.0, 90.0)
    (asked,) = only(bench.events, ev.ApprovalRequested)
    check = check_of(bench, BUY, "armed")
    assert check.reason == f"signal {asked.number} waits for a person"
    assert check.remedy.startswith("approve or reject it; or the value must come back inside")
