"""What must always hold, whatever prices, fills, commands and restarts come: I1 to I6, and I8."""

from __future__ import annotations

import copy
from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mrdaemon.core import events as ev
from mrdaemon.core.commands import (
    Approve,
    Command,
    Deposit,
    Pause,
    Reject,
    SetTarget,
    SetTradingState,
    Thaw,
    Withdraw,
)
from mrdaemon.core.engine import Engine
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.guards import trading_state
from mrdaemon.core.instant import HOUR, SECOND, Instant
from mrdaemon.core.money import NANO_SHARE, NO_DOLLARS, NO_SHARES, Dollars, Shares, shares_for, value
from mrdaemon.core.orders import OrderReport
from mrdaemon.core.policy import Mode, PrintRules, Short, Side, TradingState
from mrdaemon.core.portfolio import apply
from mrdaemon.core.prints import trade_print
from mrdaemon.core.state import State
from tests.builders import START, Market, dollars, plan, position

SYMBOLS = ("AAA", "BBB")
MARKET = Market(opens=6 * HOUR, closes=18 * HOUR)


class Book:
    """A broker's side of the story: what it took, what it filled, what it reported so far."""

    def __init__(self) -> None:
        self.orders: dict[str, OrderReport] = {}
        self.intents: dict[str, ev.OrderIntended] = {}
        self.past: list[OrderReport] = []
        self.shares: Counter[str] = Counter()
        self.spent = Decimal(0)

    def take(self, intent: ev.OrderIntended) -> None:
        assert intent.order not in self.orders, "I1: one decision, at most one order"
        self.intents[intent.order] = intent
        self.orders[intent.order] = OrderReport(
            order=intent.order,
            broker_order=f"b{len(self.orders)}",
            symbol=intent.symbol,
            side=intent.side,
            status=OrderStatus.ACCEPTED,
            at=intent.at,
            notional=intent.notional,
            quantity=intent.quantity,
        )

    def open(self) -> list[str]:
        done = {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED}
        return [name for name, report in self.orders.items() if report.status not in done]

    def fill(self, name: str, part: Decimal, now: Instant) -> OrderReport:
        """Fill a part of what is left at the deciding price."""
        before, intent = self.orders[name], self.intents[name]
        whole = intent.quantity or shares_for(intent.notional or NO_DOLLARS, intent.price, NANO_SHARE)
        more = ((whole - before.filled) * part).quantize(NANO_SHARE, rounding="ROUND_DOWN")
        filled = Shares(before.filled + more)
        status = OrderStatus.FILLED if filled == whole else OrderStatus.ACCEPTED
        sign = 1 if intent.side is Side.ACCUMULATE else -1
        self.shares[intent.symbol] += sign * more  # type: ignore[assignment]
        self.spent += sign * (value(filled, intent.price) - value(before.filled, intent.price))
        average = intent.price if filled else None
        return self._say(msgspec.structs.replace(before, filled=filled, average=average, status=status, at=now))

    def end(self, name: str, status: OrderStatus, now: Instant) -> OrderReport:
        return self._say(msgspec.structs.replace(self.orders[name], status=status, at=now))

    def _say(self, report: OrderReport) -> OrderReport:
        self.orders[report.order] = report
        self.past.append(report)
        return report


class Life(RuleBasedStateMachine):
    """A daemon's life in random order, at random prices, with a broker that repeats, delays and stops half-way."""

    @initialize(
        zone=st.sampled_from(["1%", "3%", "10%"]),
        restore=st.sampled_from(["1", "0.5", "0"]),
        mode=st.sampled_from([Mode.AUTO, Mode.AUTO, Mode.APPROVE]),
        floor=st.sampled_from([0, 250]),
        short=st.sampled_from(list(Short)),
        confirm=st.sampled_from([0, 1]),
        jump=st.sampled_from([None, Decimal("0.2")]),
        limit=st.sampled_from([None, None, 3]),
        ready=st.sampled_from([True, True, False]),
    )
    def begin(self, floor: int, confirm: int, jump: Decimal | None, limit: int | None, **chosen: Any) -> None:
        changes = {
            "zone": chosen["zone"],
            "restore": Decimal(chosen["restore"]),
            "mode": chosen["mode"],
            "on_short_reserve": chosen["short"],
        }
        self.plan = plan(
            position("AAA", "10", target="1000", **changes),
            position("BBB", None, target="500", initial=True, **changes),
            reserve="1500",
            prints=PrintRules(confirm=confirm, max_jump=jump, stale_after=None),
            portfolio={"floor": dollars(floor), "max_orders_per_day": limit},
        )
        self.floor = dollars(floor)
        self.now = Instant(START // (24 * HOUR) * 24 * HOUR + 7 * HOUR)
        self.book = Book()
        self.book.shares["AAA"] = Decimal(10)  # type: ignore[assignment]
        self.deposits = Decimal(1500)
        self.price = {"AAA": 100.0, "BBB": 25.0}
        self.events: list[ev.Event] = []
        self.inputs: list[tuple[str, tuple[Any, ...]]] = []
        self.shadow = State()
        self.engine = Engine(State(), MARKET)
        self._start("n0")
        if chosen["ready"]:
            self.reconcile()

    def _start(self, nonce: str) -> None:
        self._do("record", [ev.DaemonStarted(at=self.now, version="test", nonce=nonce)])
        self._do("configure", self.plan, self.now)

    def _do(self, method: str, *arguments: Any) -> None:
        """Put something into the engine, check each event against the state before it, give orders to the broker."""
        self.inputs.append((method, copy.deepcopy(arguments)))
        for event in getattr(self.engine, method)(*arguments):
            self._check_allowed(event)
            apply(self.shadow, event)
            self.events.append(event)
            if isinstance(event, ev.OrderIntended):
                self.book.take(event)

    def _check_allowed(self, event: ev.Event) -> None:
        if not isinstance(event, ev.OrderIntended):
            return
        state, held = self.shadow, self.shadow.position(event)
        strictest, symbol = trading_state(state, held), state.symbol(event.symbol)
        assert strictest is not TradingState.HALTED, "I4: no order while HALTED"
        assert strictest is TradingState.ACTIVE or event.side is Side.TRIM, "I4: only trims while REDUCING"
        assert state.accounts["paper"].ready, "I4: no order before the broker is reconciled"
        assert symbol.frozen is None, "I4: no order while frozen"
        assert not state.paused, "I4: no order while paused"
        assert MARKET.at(event.at) is not None, "I4: no order while the session is closed"
        assert held.order is None, "I1: one order in flight for each position"
        assert event.reserved <= state.portfolios["core"].available, "I3: reserved is at most what is available"

    # What may happen

    @rule()
    def reconcile(self) -> None:
        fact = ev.AccountReconciled(at=self.now, account="paper", cash=dollars(10**6), covered=True)
        self._do("record", [fact])

    @rule(symbol=st.sampled_from(SYMBOLS), factor=st.sampled_from([0.9, 0.96, 0.99, 0.998, 1.002, 1.01, 1.04, 1.1]))
    def print(self, symbol: str, factor: float) -> None:
        self._print(symbol, factor)

    @rule(
        symbol=st.sampled_from(SYMBOLS), factors=st.lists(st.sampled_from([0.97, 1.0, 1.001]), min_size=2, max_size=5)
    )
    def decline(self, symbol: str, factors: list[float]) -> None:
        for factor in factors:
            self._print(symbol, factor)

    @rule(
        symbol=st.sampled_from(SYMBOLS), factors=st.lists(st.sampled_from([1.03, 1.0, 0.999]), min_size=2, max_size=5)
    )
    def rise(self, symbol: str, factors: list[float]) -> None:
        for factor in factors:
            self._print(symbol, factor)

    @rule(symbol=st.sampled_from(SYMBOLS), factor=st.sampled_from([0.25, 0.5, 2.0]))
    def leap(self, symbol: str, factor: float) -> None:
        self._print(symbol, factor)

    def _print(self, symbol: str, factor: float) -> None:
        self.now = Instant(self.now + SECOND)
        self.price[symbol] = round(min(max(self.price[symbol] * factor, 0.5), 5000.0), 4)
        self._do("prints", [trade_print(symbol, self.price[symbol], self.now)], self.now)

    @rule(symbol=st.sampled_from(SYMBOLS), price=st.sampled_from([0.0, -5.0, float("nan"), float("inf"), 1e12]))
    def print_nonsense(self, symbol: str, price: float) -> None:
        before = copy.deepcopy(self.engine.state.positions)
        self._do("prints", [trade_print(symbol, price, self.now)], self.now)
        assert self.engine.state.positions == before

    @precondition(lambda self: self.book.open())
    @rule(data=st.data(), part=st.sampled_from(["0", "0.3", "0.5", "1"]))
    def fill(self, data: st.DataObject, part: str) -> None:
        name = data.draw(st.sampled_from(self.book.open()))
        self._do("order_update", "paper", self.book.fill(name, Decimal(part), self.now), self.now)

    @precondition(lambda self: self.book.open())
    @rule(data=st.data(), status=st.sampled_from([OrderStatus.CANCELED, OrderStatus.EXPIRED]))
    def end(self, data: st.DataObject, status: OrderStatus) -> None:
        name = data.draw(st.sampled_from(self.book.open()))
        self._do("order_update", "paper", self.book.end(name, status, self.now), self.now)

    @precondition(lambda self: self.book.open())
    @rule(data=st.data(), part=st.sampled_from(["0.3", "1"]))
    def fill_unreported(self, data: st.DataObject, part: str) -> None:
        """The broker fills, and its report is lost."""
        self.book.fill(data.draw(st.sampled_from(self.book.open())), Decimal(part), self.now)

    @precondition(lambda self: self.book.past)
    @rule(data=st.data())
    def report_again(self, data: st.DataObject) -> None:
        """An old report comes late, or once more."""
        self._do("order_update", "paper", data.draw(st.sampled_from(self.book.past)), self.now)

    @precondition(lambda self: self.book.open())
    @rule(data=st.data())
    def lose_sight(self, data: st.DataObject) -> None:
        self._do("order_ambiguous", data.draw(st.sampled_from(self.book.open())), "time-out", self.now)

    @rule(
        wish=st.sampled_from(
            [
                *(SetTradingState(state=state, by="ada") for state in TradingState),
                Pause(paused=True, by="ada"),
                *(Deposit(portfolio="core", amount=dollars(amount), by="ada") for amount in (1, 200)),
                *(Withdraw(portfolio="core", amount=dollars(amount), by="ada") for amount in (1, 200, 5000)),
                *(
                    SetTarget(portfolio="core", symbol=symbol, target=dollars(amount), by="ada")
                    for symbol in SYMBOLS
                    for amount in (300, 900, 1000, 1100)
                ),
            ]
        )
    )
    def wish(self, wish: Command) -> None:
        before = self.shadow.portfolios["core"].deposits
        self._command(wish)
        self.deposits += self.shadow.portfolios["core"].deposits - before

    @rule()
    def calm_down(self) -> None:
        """A person puts everything right again."""
        self.reconcile()
        self._command(SetTradingState(state=TradingState.ACTIVE, by="ada"))
        self._command(Pause(paused=False, by="ada"))
        for symbol in SYMBOLS:
            self._command(Thaw(symbol=symbol, by="ada"))

    @rule()
    def broker_catches_up(self) -> None:
        """Every open order fills, and every report arrives."""
        for name in self.book.open():
            self.book.fill(name, Decimal(1), self.now)
        for report in self.book.orders.values():
            self._do("order_update", "paper", report, self.now)

    @rule(symbol=st.sampled_from(SYMBOLS), yes=st.booleans())
    def answer(self, symbol: str, yes: bool) -> None:
        approval = self.shadow.positions[f"core/{symbol}"].approval
        number = 1 if approval is None else approval.number
        kind = Approve if yes else Reject
        self._command(kind(portfolio="core", symbol=symbol, number=number, by="ada"))

    def _command(self, command: Command) -> None:
        self._do("command", command, self.now)

    @rule(seconds=st.sampled_from([1, 61, 400, 4 * 3600 + 1, 24 * 3600]))
    def wait(self, seconds: int) -> None:
        self.now = Instant(self.now + seconds * SECOND)
        self._do("tick", self.now)

    @rule()
    def restart(self) -> None:
        """Kill it: whatever is known afterwards is what the events say."""
        refolded = State()
        for event in self.events:
            apply(refolded, ev.decode(ev.encode(event)))
        assert refolded == self.engine.state, "I5: the events are all there is"
        snapshot = msgspec.json.decode(msgspec.json.encode(refolded), type=State)
        assert snapshot == refolded
        self.engine = Engine(snapshot, MARKET)
        self.inputs.append(("restart", ()))
        self._start(f"n{len(self.inputs)}")
        for name in self.book.open():
            self._do("order_update", "paper", self.book.orders[name], self.now)

    # What must always hold

    @invariant()
    def i1_an_execution_is_applied_once(self) -> None:
        applied: Counter[str] = Counter()
        for event in self.events:
            if isinstance(event, ev.OrderFilled):
                assert event.shares > 0
                applied[event.order] += event.shares  # type: ignore[assignment]
        for name, filled in applied.items():
            assert filled <= self.book.orders[name].filled, "I1: one execution, applied once"
        signals = [(event.symbol, event.number) for event in self.events if isinstance(event, ev.OrderIntended)]
        assert len(set(signals)) == len(signals), "I1: one decision, at most one order"

    @invariant()
    def i2_when_all_is_told_shares_and_reserve_agree(self) -> None:
        told = all(known.filled == self.book.orders[name].filled for name, known in self.engine.state.orders.items())
        if told:
            for symbol in SYMBOLS:
                ours = self.engine.state.positions[f"core/{symbol}"].shares
                assert ours == self.book.shares[symbol], "I2: our shares equal the broker's"
            reserve = self.engine.state.portfolios["core"].reserve
            assert reserve == self.deposits - self.book.spent, "I2: reserve = deposits - buys + sells - fees"

    @invariant()
    def i2_lots_hold_what_the_position_holds(self) -> None:
        for held in self.engine.state.positions.values():
            assert sum((lot.shares for lot in held.lots), NO_SHARES) == held.shares

    @invariant()
    def i3_the_reserve_stays_above_its_floor(self) -> None:
        book = self.engine.state.portfolios["core"]
        assert book.reserve >= self.floor, "I3: the reserve never goes below its floor"
        assert NO_DOLLARS <= book.reserved <= Dollars(book.reserve - self.floor), "I3: reserved is at most available"
        orders = self.engine.state.orders.values()
        assert book.reserved == sum((each.reserved for each in orders), NO_DOLLARS)

    @invariant()
    def i5_the_state_is_what_the_events_say(self) -> None:
        assert self.shadow == self.engine.state

    def teardown(self) -> None:
        """I6: the same inputs in the same order give the same events, byte for byte."""
        if not hasattr(self, "engine"):
            return
        engine, again = Engine(State(), MARKET), []
        for method, arguments in self.inputs:
            if method == "restart":
                engine = Engine(engine.state, MARKET)
            else:
                again += getattr(engine, method)(*arguments)
        assert [ev.encode(event) for event in again] == [ev.encode(event) for event in self.events]


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=400, stateful_step_count=60, deadline=None)


@pytest.mark.soak
@pytest.mark.parametrize("start", range(20))
def test_many_long_lives(start: int) -> None:
    long = settings(max_examples=250, stateful_step_count=150, deadline=None, database=None)
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
        since = None if session is None else max(session.opens, last or session.opens)
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
        confirm=0,
        jump=None,
        limit=None,
        zone="3%",
        restore="1",
        mode=Mode.AUTO,
        short=Short.PARTIAL,
        ready=True,
    )
    life._print("AAA", 1.0)
    life._print("AAA", 0.96)
    [name] = life.book.open()
    life._do("order_update", "paper", life.book.fill(name, Decimal(1), life.now), life.now)
    life.i2_when_all_is_told_shares_and_reserve_agree()
    life.engine.state.positions["core/AAA"].shares = Shares(Decimal(20))
    with pytest.raises(AssertionError, match="I2"):
        life.i2_when_all_is_told_shares_and_reserve_agree()
