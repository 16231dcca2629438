"""What must always hold, whatever prices, fills, commands and restarts come: I1 to I6, and I8."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from mrdaemon.core.commands import Command
from mrdaemon.core.engine import Engine
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import Shares
from mrdaemon.core.policy import Mode, PrintRules, Short
from mrdaemon.core.prints import trade_print
from mrdaemon.core.state import State
from tests.builders import START, plan, position
from tests.life import MARKET, Life

TestLife = pytest.mark.no_cover(pytest.mark.timeout(900)(Life.TestCase))  # A slow machine is no violation.
TestLife.settings = settings(max_examples=15, stateful_step_count=60, deadline=None)

EVERYWHERE = ["", "portfolio", "symbol", "portfolio+symbol"]
SCOPES = {
    "SetTradingState": EVERYWHERE,
    "Resume": EVERYWHERE,
    "Pause": ["", "symbol"],
    "Thaw": ["symbol"],
    "Deposit": ["portfolio"],
    "Withdraw": ["portfolio"],
    "SetTarget": ["portfolio+symbol"],
    "ReportFill": ["portfolio+symbol"],
    "Reconcile": [""],
    "Approve": ["portfolio+symbol"],
    "Reject": ["portfolio+symbol"],
}
"""By command, the scopes that it takes."""
NEVER_REFUSED = {("SetTradingState", "", "refused"), ("Pause", "", "refused")}
MOMENTS = [
    "in flight",
    "ambiguous",
    "partly filled",
    "canceling",
    "frozen",
    "stale",
    "paused",
    "halted",
    "reduced",
    "position halted",
    "open request",
    "not reconciled",
]


@pytest.mark.soak
def test_lives_see_every_command_in_every_scope_done_and_refused_and_at_every_moment() -> None:
    Life.happened.clear()
    done_or_refused = {
        (command, scope, outcome)
        for command, scopes in SCOPES.items()
        for scope, outcome in itertools.product(scopes, ["done", "refused"])
    }
    explained = {("explained", "held"), ("explained", "fires")}
    wanted = (done_or_refused - NEVER_REFUSED) | set(itertools.product(SCOPES, MOMENTS)) | explained
    few = settings(max_examples=15, stateful_step_count=60, deadline=None, database=None)
    for start in range(60):
        if not wanted <= Life.happened.keys():
            run_state_machine_as_test(seed(start)(Life), settings=few)
    assert wanted - Life.happened.keys() == set()


def test_the_commands_that_lives_see_are_all_there_are() -> None:
    assert SCOPES.keys() == {command.__name__ for command in Command.__subclasses__()}


@pytest.mark.soak
@pytest.mark.parametrize("start", range(20))
def test_many_long_lives(start: int) -> None:
    long = settings(max_examples=100, stateful_step_count=150, deadline=None, database=None)
    run_state_machine_as_test(seed(start)(Life), settings=long)


@given(
    st.lists(st.tuples(st.sampled_from([1, 7, 30, 90, 400, 3600, 6 * 3600]), st.booleans()), min_size=1, max_size=40)
)
@settings(max_examples=200, deadline=None)
def test_i8_a_quiet_price_loop_is_told_apart_from_a_dead_one(steps: list[tuple[int, bool]]) -> None:
    """Prices that stay in the zone cause no event and are no silence; no price in an open session is one."""
    limit = 120
    quiet = plan(position(shares="50"), prints=PrintRules(confirm=0, max_jump=None, stale_after=limit))
    engine, now, last = Engine(State(), MARKET), START, None
    engine.configure(quiet, now)
    for seconds, prints in steps:
        now = Instant(now + seconds * SECOND)
        session, was_stale = MARKET.at(now), engine.state.symbol("QQQ").stale is not None
        engine.tick(now)
        since = None if session is None else max(session.opens, START, last or session.opens)
        silent = since is not None and now - since > limit * SECOND
        # It looks every ten seconds, so a silence shows at most that much late.
        late = since is not None and now - since > limit * SECOND + 10 * SECOND
        stale = engine.state.symbol("QQQ").stale is not None
        assert not stale or was_stale or silent
        assert stale or not late
        if prints:
            engine.prints([trade_print("QQQ", 100.0, now)], now)
            last = now
            if session is not None:
                assert engine.state.symbol("QQQ").stale is None


def test_the_invariants_can_fail() -> None:
    """A broker's fill that is booked twice is caught."""
    life = Life()
    life.begin(
        floor=0,
        ready=True,
        modes=(Mode.AUTO, Mode.AUTO),
        confirm=0,
        jump=None,
        limits="none",
        zone="3%",
        restore="1",
        short=Short.PARTIAL,
        stale=None,
    )
    life._print("AAA", 1.0)
    life._print("AAA", 0.96)
    for name in life.broker.open():
        life._report(life.broker.fill(name, Decimal(1), Decimal(1), Decimal(0), life.now))
    life.i2_when_all_is_told_shares_and_reserve_agree()
    life.engine.state.positions["core/AAA"].shares = Shares(Decimal(20))
    with pytest.raises(AssertionError, match="I2"):
        life.i2_when_all_is_told_shares_and_reserve_agree()
