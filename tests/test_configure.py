"""What a configuration changes: what differs from the file's last journaled value, and nothing else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from mrdaemon.core import events as ev
from mrdaemon.core.commands import Deposit, SetTarget, Withdraw
from mrdaemon.core.configure import PlanError, unopened
from mrdaemon.core.money import Shares
from mrdaemon.core.policy import AccountRules, Mode, Plan, PrintRules
from tests.builders import RAW, Bench, dollars, only, plan, position


def configure(bench: Bench, wanted: Plan) -> list[ev.Event]:
    return bench.take(bench.engine.configure(wanted, bench.now))


def target(bench: Bench, amount: str) -> None:
    bench.command(SetTarget(by="me", portfolio="core", symbol="QQQ", target=dollars(amount)))


def kinds(events: list[ev.Event]) -> list[type[ev.Event]]:
    return [type(event) for event in events]


# Opening entries


def test_the_first_configuration_opens_portfolio_and_position() -> None:
    bench = Bench(plan(position(cost="4000"), reserve="750"))
    held, book = bench.position(), bench.state.portfolios["core"]
    assert (held.shares, held.opening, held.target) == (Decimal(50), Decimal(50), dollars(5000))
    assert (book.reserve, book.deposits, book.lowest) == (dollars(750), dollars(750), dollars(750))
    assert [lot.cost for lot in held.lots] == [dollars(4000)]


def test_the_same_configuration_changes_nothing() -> None:
    bench = Bench(plan(position()))
    assert not configure(bench, plan(position()))
    assert not configure(bench.restart(), plan(position()))


@pytest.mark.parametrize("changes", [{"reserve": "9999"}, {"reserve": "0"}])
def test_the_reserve_is_an_opening_entry(changes: dict[str, Any]) -> None:
    assert not configure(Bench(plan(position())), plan(position(), **changes))


@pytest.mark.parametrize("shares", ["0", "60", None])
def test_the_shares_are_an_opening_entry(shares: str | None) -> None:
    assert not configure(Bench(plan(position())), plan(position(shares=shares)))


def test_a_restart_does_not_deposit_the_reserve_twice() -> None:
    bench = Bench(plan(position(), reserve="1000"))
    bench.command(Withdraw(by="me", portfolio="core", amount=dollars(1000)))
    configure(bench.restart(), plan(position(), reserve="1000"))
    assert bench.state.portfolios["core"].reserve == dollars(0)


def test_a_reserve_of_nothing_is_not_deposited_later() -> None:
    bench = Bench(plan(position(), reserve="0"))
    assert not configure(bench, plan(position(), reserve="500"))


def test_a_portfolio_that_was_away_is_not_opened_again() -> None:
    bench = Bench(plan(position()))
    configure(bench, Plan(RAW, {"paper": AccountRules()}, ()))
    bench.command(Deposit(by="me", portfolio="core", amount=dollars(1)))
    configure(bench, plan(position(), reserve="5000"))
    assert bench.state.portfolios["core"].reserve == dollars(5001)


def test_shares_that_the_broker_has_yet_to_tell_are_waited_for() -> None:
    bench = Bench(plan(position(), position("SPY", shares=None)))
    assert [each.symbol for each in unopened(bench.state, "paper")] == ["SPY"]
    assert not unopened(bench.state, "other")


def test_a_position_that_left_before_it_was_opened_is_not_waited_for() -> None:
    bench = Bench(plan(position(), position("SPY", shares=None)))
    configure(bench, plan(position()))
    assert not unopened(bench.state, "paper")


def test_adopted_shares_are_not_opened_again_by_the_file() -> None:
    bench = Bench(plan(position(shares=None)))
    adopted = ev.SharesAdopted(
        at=bench.now,
        portfolio="core",
        symbol="QQQ",
        before=Shares(Decimal(0)),
        shares=Shares(Decimal(7)),
        reason="the broker holds them",
    )
    bench.take(bench.engine.record([adopted]))
    assert not configure(bench, plan(position(shares="50")))
    assert bench.position().shares == Decimal(7)


def test_a_first_buy_opens_a_position_without_shares() -> None:
    bench = Bench(plan(position(shares=None, initial=True)))
    assert (bench.position().opened, bench.position().shares) == (True, Decimal(0))


# Targets


def test_a_target_in_the_file_takes_effect_when_the_file_changes() -> None:
    bench = Bench(plan(position()))
    [event] = configure(bench, plan(position(target="6000")))
    assert isinstance(event, ev.PositionConfigured)
    assert (event.retarget, bench.position().target) == (True, dollars(6000))


def test_a_restart_does_not_undo_a_persons_target() -> None:
    bench = Bench(plan(position()))
    target(bench, "6000")
    assert not configure(bench.restart(), plan(position()))
    assert bench.position().target == dollars(6000)


def test_another_change_in_the_file_does_not_undo_a_persons_target() -> None:
    bench = Bench(plan(position()))
    target(bench, "6000")
    configure(bench, plan(position(zone="4%")))
    assert bench.position().target == dollars(6000)
    assert bench.engine.zone(bench.position()).lower == dollars(5760)


def test_the_next_target_in_the_file_replaces_a_persons() -> None:
    bench = Bench(plan(position()))
    target(bench, "6000")
    configure(bench, plan(position(target="5500")))
    assert bench.position().target == dollars(5500)


def test_a_target_in_the_file_that_goes_back_to_an_older_one_is_a_change() -> None:
    bench = Bench(plan(position()))
    configure(bench, plan(position(target="6000")))
    configure(bench, plan(position(target="5000")))
    assert bench.position().target == dollars(5000)


def test_a_zone_that_does_not_fit_the_target_in_force_is_refused_and_changes_nothing() -> None:
    bench = Bench(plan(position()))
    target(bench, "100")
    with pytest.raises(PlanError, match=r"core/QQQ: the target in force is \$100\.00"):
        bench.engine.configure(plan(position(zone="$150"), prints=PrintRules()), bench.now)
    assert bench.state.prints == RAW
    assert bench.position().rules.below == "5%"


# Rules


def test_rules_take_effect_when_the_file_changes() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    configure(bench, plan(position(zone="3%")))
    assert len(only(bench.prices(97.0), ev.SignalRaised)) == 1


def test_a_mode_takes_effect_when_the_file_changes() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    configure(bench, plan(position(mode=Mode.ALERT)))
    events = bench.prices(94.0)
    assert len(only(events, ev.SignalRaised)) == 1
    assert not only(events, ev.OrderIntended)


def test_each_part_of_a_configuration_that_changed_is_one_event() -> None:
    bench = Bench(plan(position()))
    prints = PrintRules(confirm=2)
    limits = {"max_orders_per_day": 5}
    events = configure(bench, plan(position(zone="4%"), prints=prints, portfolio=limits, account={"orders_per_day": 9}))
    assert kinds(events) == [
        ev.PrintsConfigured,
        ev.AccountConfigured,
        ev.PortfolioConfigured,
        ev.PositionConfigured,
    ]


def test_rules_of_prints_take_effect_at_once() -> None:
    bench = Bench(plan(position()))
    bench.prices(100.0)
    configure(bench, plan(position(), prints=PrintRules(confirm=0, stale_after=None)))
    bench.prices(100.0)
    assert len(only(bench.prices(50.0), ev.SymbolFrozen)) == 1


# Positions that come and go


def test_a_position_that_left_the_file_is_retired_once_and_keeps_its_shares() -> None:
    bench = Bench(plan(position(), position("SPY")))
    assert kinds(configure(bench, plan(position()))) == [ev.PositionRetired]
    assert not configure(bench, plan(position()))
    assert bench.position("SPY").shares == Decimal(50)


def test_a_position_that_came_back_goes_on_with_its_shares() -> None:
    bench = Bench(plan(position(), position("SPY")))
    configure(bench, plan(position("SPY")))
    assert kinds(configure(bench, plan(position(shares="1"), position("SPY")))) == [ev.PositionConfigured]
    assert bench.position().shares == Decimal(50)
    assert len(only(bench.prices(100.0, 94.0), ev.SignalRaised)) == 1


def test_a_position_that_came_back_has_forgotten_what_it_was_told() -> None:
    bench = Bench(plan(position(mode=Mode.ALERT), position("SPY")))
    bench.prices(100.0, 94.0)
    configure(bench, plan(position("SPY")))
    configure(bench, plan(position(mode=Mode.ALERT), position("SPY")))
    assert len(only(bench.prices(94.0), ev.SignalRaised)) == 1


def test_a_new_position_joins_a_running_portfolio() -> None:
    bench = Bench(plan(position()))
    events = configure(bench, plan(position(), position("SPY")))
    assert kinds(events) == [ev.PositionConfigured, ev.PositionOpened]
    assert len(only(bench.prices(100.0, 94.0, symbol="SPY"), ev.SignalRaised)) == 1


# Accounts


def two_accounts(account: str, *, shares: str | None = "50", initial: bool = False) -> Plan:
    wanted = plan(position(shares=shares, initial=initial), portfolio={"account": account})
    return Plan(wanted.prints, {"paper": AccountRules(), "other": AccountRules()}, wanted.portfolios)


def test_a_portfolio_with_shares_cannot_move_to_another_account() -> None:
    bench = Bench(two_accounts("paper"))
    with pytest.raises(PlanError, match="portfolio core rests on account paper"):
        bench.engine.configure(two_accounts("other"), bench.now)


def test_a_portfolio_with_an_order_in_flight_cannot_move_to_another_account() -> None:
    bench = Bench(two_accounts("paper", shares=None, initial=True), fill=False)
    bench.prices(100.0)
    with pytest.raises(PlanError, match="portfolio core rests on account paper"):
        bench.engine.configure(two_accounts("other", shares=None, initial=True), bench.now)


def test_a_portfolio_without_shares_cannot_take_its_reserve_to_another_account() -> None:
    bench = Bench(two_accounts("paper", shares=None, initial=True))
    with pytest.raises(PlanError, match="with its reserve and its shares; it cannot move to other"):
        bench.engine.configure(two_accounts("other", shares=None, initial=True), bench.now)


def test_shares_do_not_follow_their_symbol_into_another_portfolio_of_the_account() -> None:
    bench = Bench(plan(position(), position("SPY")))
    core = plan(position()).portfolios[0]
    taken = msgspec.structs.replace(position("SPY", None), portfolio="other")
    other = msgspec.structs.replace(core, name="other", positions=(taken,))
    moved = msgspec.structs.replace(bench.plan, portfolios=(core, other))
    with pytest.raises(
        PlanError, match="portfolio other cannot have SPY: the journal knows its shares as portfolio core"
    ):
        bench.engine.configure(moved, bench.now)
