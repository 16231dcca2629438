"""A daemon's life in random order: prints, commands, reports, news and restarts, and what must hold after each."""

from __future__ import annotations

import copy
import json
from collections import Counter
from decimal import Decimal
from typing import Any, ClassVar

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mrdaemon import show, status
from mrdaemon.core import events as ev
from mrdaemon.core.activity import Activity, Dividend, Fee, Split
from mrdaemon.core.commands import (
    Approve,
    Command,
    Deposit,
    Pause,
    Reconcile,
    Reject,
    ReportFill,
    Resume,
    SetTarget,
    SetTradingState,
    Thaw,
    Withdraw,
)
from mrdaemon.core.configure import PlanError
from mrdaemon.core.engine import Engine
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.explain import SideView
from mrdaemon.core.guards import Guard
from mrdaemon.core.instant import DAY, HOUR, SECOND, Instant
from mrdaemon.core.money import NO_DOLLARS, Dollars, Price, Shares
from mrdaemon.core.policy import (
    AccountRules,
    Asset,
    Mode,
    OrderType,
    Plan,
    PortfolioPlan,
    PortfolioRules,
    PositionPlan,
    PrintRules,
    Short,
    Side,
    TradingState,
)
from mrdaemon.core.portfolio import apply
from mrdaemon.core.prints import Quote, Trade, refusal, trade_print
from mrdaemon.core.state import State
from tests.builders import START, Market, dollars, rules
from tests.witnesses import Bookkeeper, Broker, Scope, Warden, plus

MARKET = Market(opens=6 * HOUR, closes=18 * HOUR)
SYMBOLS = ("AAA", "BBB", "CCC")
KEYS = ("core/AAA", "core/BBB", "side/AAA", "side/CCC", "hand/BBB")
PORTFOLIOS = {"core": "paper", "side": "other", "hand": "none"}
ANY_SYMBOL, ANY_PORTFOLIO, ANY_ACCOUNT = (*SYMBOLS, "ZZZ"), (*PORTFOLIOS, "nobody"), (*PORTFOLIOS.values(), "nowhere")
LATER = "2030-01-01"
"""A broker's date after anything was opened."""
HUGE = Decimal(10) ** 15
"""The most that a person can type."""
AMOUNTS = (*map(Decimal, ("-1", "0", "0.01", "1", "40", "200", "1500", "6000")), HUGE)
TARGETS = tuple(map(Decimal, ("-5", "0", "0.01", "0.02", "300", "480", "900", "1000", "1", "1100", "5000", "1e15")))
QUANTITIES = (*map(Decimal, ("-1", "0", "0.000000001", "0.5", "1", "10")), HUGE)
PRICES = tuple(map(Decimal, ("-1", "0", "0.000000001", "1", "25", "100", "401.2575", "1e9", "1e15")))
NUMBERS_OFF = st.sampled_from([0, 0, 0, 0, -1, 1, 10**18])
"""How far from the open request's number an answer is."""
_AMOUNT = {"portfolio": st.sampled_from(ANY_PORTFOLIO), "amount": st.sampled_from(AMOUNTS).map(dollars)}
_POSITION = {"portfolio": st.sampled_from(ANY_PORTFOLIO), "symbol": st.sampled_from(ANY_SYMBOL)}
_SCOPE = {
    "portfolio": st.sampled_from([None, None, *ANY_PORTFOLIO]),
    "symbol": st.sampled_from([None, None, *ANY_SYMBOL]),
}
ASKED: dict[type[Command], st.SearchStrategy[dict[str, Any]]] = {
    SetTradingState: st.fixed_dictionaries({"state": st.sampled_from(list(TradingState)), **_SCOPE}),
    Resume: st.fixed_dictionaries(_SCOPE),
    Pause: st.fixed_dictionaries({"paused": st.booleans(), "symbol": st.sampled_from([None, *ANY_SYMBOL])}),
    Thaw: st.fixed_dictionaries({"symbol": st.sampled_from(ANY_SYMBOL)}),
    Deposit: st.fixed_dictionaries(_AMOUNT),
    Withdraw: st.fixed_dictionaries(_AMOUNT),
    SetTarget: st.fixed_dictionaries({**_POSITION, "target": st.sampled_from(TARGETS).map(dollars)}),
    ReportFill: st.fixed_dictionaries(
        {
            **_POSITION,
            "side": st.sampled_from(list(Side)),
            "shares": st.sampled_from(QUANTITIES).map(Shares),
            "price": st.sampled_from(PRICES).map(Price),
        }
    ),
    Reconcile: st.fixed_dictionaries({"account": st.sampled_from(ANY_ACCOUNT)}),
}
"""By command, what may be asked for; answers to a request need its number."""
LIFTED = {
    Guard.STATE,
    Guard.PAUSED,
    Guard.HALTED,
    Guard.FROZEN,
    Guard.EXCHANGE,
    Guard.CLOCK,
    Guard.ACCOUNT,
    Guard.COVER,
}
"""Guards whose verdict no price changes."""
TROUBLES = (
    "none",
    "the edge is reached",
    "it is ambiguous",
    "it fills in part",
    "it is being cancelled",
    "it is frozen",
    "it is stale",
    "the account is lost",
)
FILES = ("the same", "the mode", "the zone", "the target", "a position", "the limits", "the prints")


class Life(RuleBasedStateMachine):
    """Three portfolios in three accounts, two symbols held twice, and everything that may happen to them."""

    happened: ClassVar[Counter[tuple[str, ...]]] = Counter()
    """Over all lives: by command and scope, how often it was done or refused; and in which circumstances."""

    @initialize(
        zone=st.sampled_from(["1%", "3%", "10%"]),
        restore=st.sampled_from(["1", "0.5", "0"]),
        modes=st.sampled_from([(Mode.AUTO, Mode.AUTO), (Mode.APPROVE, Mode.AUTO), (Mode.AUTO, Mode.APPROVE)]),
        floor=st.sampled_from([0, 250]),
        short=st.sampled_from(list(Short)),
        confirm=st.sampled_from([0, 1]),
        jump=st.sampled_from([None, Decimal("0.2")]),
        limits=st.sampled_from(["none", "portfolio", "account", "position"]),
        stale=st.sampled_from([None, 120]),
        order_type=st.sampled_from(OrderType),
        ready=st.sampled_from([True, True, True, False]),
    )
    def begin(self, floor: int, ready: bool, modes: tuple[Mode, Mode], **chosen: Any) -> None:
        self.floor = dollars(floor)
        self.chosen = {**chosen, "core": modes[0], "side": modes[1], "gone": None, "target": 1000}
        self.now = Instant(START // DAY * DAY + 7 * HOUR)
        self.broker, self.books, self.warden = Broker(), Bookkeeper(), Warden(MARKET)
        self.broker.shares |= {"core/AAA": Decimal(10), "side/AAA": Decimal(5), "hand/BBB": Decimal(20)}
        self.broker.cash |= {"core": Decimal(1500), "side": Decimal(900), "hand": Decimal(500)}
        self.price = {"AAA": 100.0, "BBB": 25.0, "CCC": 40.0}
        self.events: list[ev.Event] = []
        self.inputs: list[tuple[str, tuple[Any, ...]]] = []
        self.shadow = State()
        self.engine = Engine(State(), MARKET)
        self.twin: Engine | None = None
        self.in_order = True
        self.steps = 0
        self._start("n0")
        if ready:
            self.reconcile()

    def _plan(self) -> Plan:
        chosen = self.chosen
        common = {
            "zone": chosen["zone"],
            "restore": Decimal(chosen["restore"]),
            "on_short_reserve": chosen["short"],
            "max_order": dollars(300) if chosen["limits"] == "position" else None,
            "order_type": chosen.get("order_type", OrderType.MARKET),
            "cooldown": 90 if chosen["limits"] == "position" else 0,
        }
        limited = chosen["limits"] == "portfolio"
        limits: dict[str, Any] = {
            "max_orders_per_day": 3 if limited else None,
            "max_notional_per_day": dollars(900) if limited else None,
        }
        strict = chosen["limits"] == "account"
        breakers: dict[str, Any] = {"orders_per_minute": 2, "orders_per_day": 5} if strict else {}
        core, side = ({"mode": chosen[name], **common} for name in ("core", "side"))
        positions = [
            PositionPlan("core", "AAA", rules(str(chosen["target"]), **core), Shares(Decimal(10)), dollars(900)),
            PositionPlan("core", "BBB", rules("500", initial=True, **core)),
            PositionPlan("side", "AAA", rules("500", **side), Shares(Decimal(5))),
            PositionPlan("side", "CCC", rules("800", **side)),
            PositionPlan("hand", "BBB", rules("500", mode=Mode.ALERT, **common), Shares(Decimal(20))),
        ]
        reserves = {"core": (1500, self.floor), "side": (900, NO_DOLLARS), "hand": (500, NO_DOLLARS)}
        prints = PrintRules(confirm=chosen["confirm"], max_jump=chosen["jump"], stale_after=chosen["stale"])
        return Plan(
            prints,
            {
                "paper": AccountRules(consecutive_rejects=2, **breakers),
                "other": AccountRules(**breakers),
                "none": AccountRules(broker="none"),
            },
            tuple(
                PortfolioPlan(
                    name,
                    PortfolioRules(account=account, floor=reserves[name][1], **limits),
                    dollars(reserves[name][0]),
                    tuple(
                        each
                        for each in positions
                        if each.portfolio == name and f"{name}/{each.symbol}" != chosen["gone"]
                    ),
                )
                for name, account in PORTFOLIOS.items()
            ),
        )

    def _start(self, nonce: str) -> None:
        self._do("record", [ev.DaemonStarted(at=self.now, version="test", nonce=nonce)])
        self._do("configure", self._plan(), self.now)

    # What goes in, and who watches

    def _do(self, method: str, *arguments: Any) -> list[ev.Event]:
        """Put something into the engine; let the witnesses look at each event, and the broker have its orders."""
        self.in_order = False
        events: list[ev.Event] = getattr(self.engine, method)(*arguments)
        self.inputs.append((method, arguments))
        if self.twin is not None:
            assert getattr(self.twin, method)(*arguments) == events, "I5: after a restart it decides as before"
        for event in events:
            self._witness(event, method)
        self.in_order = True
        return events

    def _witness(self, event: ev.Event, method: str) -> None:
        written = ev.encode(event)
        read = ev.decode(written)
        assert read == event
        assert ev.encode(read) == written, "I5: an event is read as it was written"
        assert json.dumps(show.event_object(event))
        if isinstance(event, ev.SignalRaised | ev.OrderIntended):
            assert self.warden.objections(event) == []
        if isinstance(event, ev.SignalRaised) and method == "prints":
            assert not self.warden.too_soon(event), "I4: no signal while the cooldown lasts"
        if isinstance(event, ev.OrderIntended):
            left = plus(
                self.books.reserve[event.portfolio],
                -self._floor_of(event.portfolio),
                -self._reserved_by(event.portfolio),
            )
            assert event.reserved <= left or not event.reserved, "I3: reserved is at most what is available"
            self.broker.take(event)
        apply(self.shadow, read)
        self.books.note(event)
        self.warden.note(event, self.books.reserve)
        self.events.append(event)

    def _floor_of(self, portfolio: str) -> Dollars:
        return self.floor if portfolio == "core" else NO_DOLLARS

    def _reserved_by(self, portfolio: str) -> Decimal:
        ours = (name for name in self.books.reserved if self.broker.intents[name].portfolio == portfolio)
        return plus(*(self.books.reserved[name] for name in ours))

    # Prices

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

    @rule(key=st.sampled_from(KEYS), side=st.sampled_from(list(Side)), calm=st.booleans(), more=st.booleans())
    def reach_the_edge(self, key: str, side: Side, calm: bool, more: bool) -> None:
        """The price goes to where a side fires next, as the explanation names it, or just beyond."""
        self._reach(key, side, calm=calm, more=more)

    def _reach(self, key: str, side: Side, *, calm: bool, more: bool) -> None:
        if calm:
            self.calm_down()
        position = self.engine.state.positions[key]
        price = next(view.price for view in self.engine.explain(position, self.now).sides if view.side is side)
        if price is not None:
            beyond = (0.999 if side is Side.ACCUMULATE else 1.001) if more else 1.0
            self.price[position.symbol] = float(price) * beyond
        for _ in range(self.chosen["confirm"] + 1):
            self._print(position.symbol, 1.0)

    def _print(self, symbol: str, factor: float) -> None:
        self.now = Instant(self.now + SECOND)
        self.price[symbol] = round(min(max(self.price[symbol] * factor, 0.5), 5000.0), 4)
        self._do("prints", [trade_print(symbol, self.price[symbol], self.now)], self.now)

    @rule(
        symbol=st.sampled_from(ANY_SYMBOL),
        price=st.sampled_from([0.0, -5.0, float("nan"), float("inf"), 1e12]),
    )
    def print_nonsense(self, symbol: str, price: float) -> None:
        before = copy.deepcopy(self.engine.state.positions)
        self._do("prints", [trade_print(symbol, price, self.now)], self.now)
        assert self.engine.state.positions == before

    @rule(
        symbol=st.sampled_from(SYMBOLS),
        late=st.sampled_from([-10, -3, 0, 5, 40]),
        factor=st.sampled_from([0.8, 0.97, 1.0, 1.03]),
        spread=st.sampled_from([0.0, 0.001, 0.05]),
        conditions=st.sampled_from(["", "@", "Z"]),
    )
    def print_doubtful(self, symbol: str, late: int, factor: float, spread: float, conditions: str) -> None:
        """A print that is old, of the future, beside its quote, or no regular sale."""
        price = round(self.price[symbol] * factor, 4)
        quote = Quote(round(self.price[symbol] * (1 - spread), 4), round(self.price[symbol] * (1 + spread), 4))
        at = Instant(self.now - late * SECOND)
        self._do("prints", [trade_print(symbol, price, at, Trade(conditions), quote)], self.now)

    @rule(symbol=st.sampled_from(SYMBOLS), corrected=st.sampled_from([None, 1.0, 0.97]))
    def take_back_a_trade(self, symbol: str, corrected: float | None) -> None:
        last = self.engine.last(symbol)
        trade = last[4].id if last is not None and isinstance(last[4], Trade) else 0
        right = None if corrected is None else trade_print(symbol, self.price[symbol] * corrected, self.now)
        self._do("bust", symbol, trade or 7, right, self.now)
        assert all(each.pending is None for each in self.shadow.positions.values() if each.symbol == symbol)

    # What the broker does, and says

    @rule()
    def reconcile(self) -> None:
        for account in PORTFOLIOS.values():
            self._reconcile(account, 10**6)

    @rule(account=st.sampled_from(list(PORTFOLIOS.values())), cash=st.sampled_from([100, 10**6]))
    def reconcile_one(self, account: str, cash: int) -> None:
        self._reconcile(account, cash)

    def _reconcile(self, account: str, cash: int) -> None:
        facts: list[ev.Event] = []
        held = self.shadow.positions.get("side/CCC")
        if account == "other" and held is not None and not held.opened and not held.retired:
            asset = Asset("CCC", fractionable=False, increment=Shares(Decimal(1)))
            shares = Shares(plus(Decimal(20), self.broker.shares["side/CCC"]))
            self.broker.shares["side/CCC"] = shares
            facts += [
                ev.AssetKnown(at=self.now, account=account, asset=asset),
                ev.SharesAdopted(
                    at=self.now,
                    **held.about(),
                    before=held.shares,
                    shares=shares,
                    cost=dollars(700),
                    reason="the position begins with what the broker holds",
                ),
            ]
        wanted = plus(*(self.books.reserve[name] for name, ours in PORTFOLIOS.items() if ours == account))
        covered = wanted <= cash
        facts.append(ev.AccountReconciled(at=self.now, account=account, cash=dollars(cash), covered=covered))
        self._do("record", facts)

    @rule(account=st.sampled_from(["paper", "other"]))
    def lose_an_account(self, account: str) -> None:
        if self.shadow.accounts[account].ready and account != PORTFOLIOS["hand"]:
            self._do("record", [ev.AccountLost(at=self.now, account=account, reason="cut off")])

    @rule(account=st.sampled_from(list(PORTFOLIOS.values())), agree=st.booleans())
    def compare_clocks(self, account: str, agree: bool) -> None:
        if agree:
            self._do("record", [ev.SessionsAgreed(at=self.now, account=account)])
        else:
            self._do("record", [ev.SessionsDisputed(at=self.now, account=account, reason="closed, says the broker")])

    @rule(symbol=st.sampled_from(SYMBOLS), reason=st.sampled_from([None, "LULD"]))
    def exchange_speaks(self, symbol: str, reason: str | None) -> None:
        self._do("exchange_halt", symbol, reason, self.now)

    @rule(tradable=st.booleans(), least=st.sampled_from([1, 5]))
    def asset_news(self, tradable: bool, least: int) -> None:
        asset = Asset("AAA", tradable=tradable, min_notional=dollars(least))
        self._do("record", [ev.AssetKnown(at=self.now, account="paper", asset=asset)])

    @precondition(lambda self: self.broker.open())
    @rule(
        data=st.data(),
        part=st.sampled_from(["0", "0.3", "0.5", "1"]),
        slip=st.sampled_from(["0.998", "1", "1.001"]),
        fee=st.sampled_from(["0", "0", "0.02"]),
    )
    def fill(self, data: st.DataObject, part: str, slip: str, fee: str) -> None:
        name = data.draw(st.sampled_from(self.broker.open()))
        self._report(self.broker.fill(name, Decimal(part), Decimal(slip), Decimal(fee), self.now))

    @precondition(lambda self: self.broker.open())
    @rule(data=st.data(), status=st.sampled_from([OrderStatus.CANCELED, OrderStatus.EXPIRED]))
    def end(self, data: st.DataObject, status: OrderStatus) -> None:
        name = data.draw(st.sampled_from(self.broker.open()))
        self._report(self.broker.end(name, status, self.now))

    @precondition(lambda self: self.broker.open())
    @rule(data=st.data(), part=st.sampled_from(["0.3", "1"]))
    def fill_unreported(self, data: st.DataObject, part: str) -> None:
        """The broker fills, and its report is lost."""
        name = data.draw(st.sampled_from(self.broker.open()))
        self.broker.fill(name, Decimal(part), Decimal(1), Decimal(0), self.now)

    @precondition(lambda self: self.broker.said)
    @rule(data=st.data())
    def report_again(self, data: st.DataObject) -> None:
        """An old report comes late, or once more."""
        self._report(data.draw(st.sampled_from(self.broker.said)))

    @precondition(lambda self: self.broker.open())
    @rule(data=st.data(), given_up=st.booleans())
    def lose_sight(self, data: st.DataObject, given_up: bool) -> None:
        """Nobody knows what became of an order; later it may be given up, and turn up again."""
        name = data.draw(st.sampled_from(self.broker.open()))
        if name not in self.shadow.orders:
            return
        if given_up and self.shadow.orders[name].ambiguous:
            self._do("order_ended", name, OrderStatus.ABANDONED, "not found, twice", self.now)
        else:
            self._do("order_ambiguous", name, "time-out", self.now)

    @precondition(lambda self: self.broker.open())
    @rule(data=st.data())
    def see_another(self, data: st.DataObject) -> None:
        """The broker shows another order under the id of ours: ours is given up, and may turn up again."""
        name = data.draw(st.sampled_from(self.broker.open()))
        report = self.broker.orders[name]
        account = self.broker.intents[name].account
        other = msgspec.structs.replace(report, notional=plus(report.notional or Decimal(0), Decimal(1)))
        self._do("order_update", account, other, self.now)
        order = self.shadow.orders.get(name)
        assert order is None or (order.ended is not None and order.reserved == NO_DOLLARS)

    @rule(key=st.sampled_from(KEYS), amount=st.sampled_from(["-0.35", "0.01", "4.20"]), again=st.booleans())
    def pay_a_dividend(self, key: str, amount: str, again: bool) -> None:
        portfolio, symbol = key.split("/")
        paid = Dividend(id=f"d{self.steps}", date=LATER, symbol=symbol, amount=dollars(amount))
        if self._books(PORTFOLIOS[portfolio], paid, again=again):
            self.broker.pay(portfolio, paid.amount)

    @rule(key=st.sampled_from(KEYS), amount=st.sampled_from(["-0.10", "0.02"]), again=st.booleans())
    def take_a_fee(self, key: str, amount: str, again: bool) -> None:
        portfolio, symbol = key.split("/")
        taken = Fee(id=f"f{self.steps}", date=LATER, symbol=symbol, amount=dollars(amount))
        if self._books(PORTFOLIOS[portfolio], taken, again=again):
            self.broker.pay(portfolio, -taken.amount)

    @rule(
        key=st.sampled_from(KEYS),
        rates=st.sampled_from([(2, 1), (3, 2), (1, 3)]),
        counted=st.booleans(),
        again=st.booleans(),
    )
    def split(self, key: str, rates: tuple[int, int], counted: bool, again: bool) -> None:
        """A split is booked; the broker's count may follow, once it has told all of the position's orders."""
        (portfolio, symbol), (new, old) = key.split("/"), rates
        position, ours = self.shadow.positions[key], self._orders_of(key)
        told = all(self.books.applied.get(name, 0) == self.broker.orders[name].filled for name in ours)
        sound = position.shares == self.broker.shares[key] and key not in self.books.oversold
        if not told or not sound or not position.opened or set(ours) & set(self.broker.open()):
            return
        if self.shadow.account_of(position).assets.get(symbol, Asset(symbol)).fractionable is False:
            return
        before = self.broker.shares[key]
        shares = self.broker.split(key, new, old) if counted else Shares(before)
        booked = Split(id=f"s{self.steps}", date=LATER, symbol=symbol, new_rate=Decimal(new), old_rate=Decimal(old))
        if not self._books(PORTFOLIOS[portfolio], booked, shares, again=again):
            unchanged = self.broker.shares[key] == before
            assert not counted or position.order is not None or unchanged, "a split that the count follows is applied"
            self.broker.shares[key] = before

    def _orders_of(self, key: str) -> list[str]:
        return [name for name, each in self.broker.intents.items() if f"{each.portfolio}/{each.symbol}" == key]

    def _books(self, account: str, activity: Activity, shares: Shares | None = None, *, again: bool) -> bool:
        counts = {} if shares is None else {activity.symbol: shares}
        events = self._do("activity", account, activity, counts, self.now)
        if again and events:
            assert self._do("activity", account, activity, counts, self.now) == [], "I1: booked once"
        return bool(events)

    @precondition(lambda self: self.broker.open())
    @rule()
    def cancel(self) -> None:
        """The desk wants its open orders cancelled, as a halt asks it to."""
        orders = [each for each in self.shadow.orders.values() if each.ended is None and not each.canceling]
        self._do(
            "record",
            [ev.CancelRequested(at=self.now, **each.about(), reason="trading was halted") for each in orders],
        )

    @rule(key=st.sampled_from(KEYS))
    def counts_differ(self, key: str) -> None:
        """The broker counts other shares than the journal: the position is halted."""
        position = self.shadow.positions[key]
        if position.halted is None:
            fact = ev.PositionHalted(at=self.now, **position.about(), reason="the broker holds 3")
            self._do("record", [fact])

    @precondition(lambda self: self.broker.open())
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        """The broker refuses an order as it comes."""
        name = data.draw(st.sampled_from(self.broker.open()))
        known = self.shadow.orders.get(name)
        untouched = not self.broker.orders[name].filled
        if known is not None and known.status is OrderStatus.INTENDED and not known.ambiguous and untouched:
            self.broker.end(name, OrderStatus.REJECTED, self.now)
            self._do("order_ended", name, OrderStatus.REJECTED, "insufficient qty", self.now)

    @rule()
    def broker_catches_up(self) -> None:
        """Every open order fills, and every report arrives."""
        for name in self.broker.open():
            self.broker.fill(name, Decimal(1), Decimal(1), Decimal(0), self.now)
        for report in list(self.broker.orders.values()):
            self._report(report)

    def _report(self, report: Any) -> None:
        account = self.broker.intents[report.order].account
        self._do("order_update", account, report, self.now)

    # What a person asks for

    @rule(wish=st.sampled_from([SetTradingState, Resume, Pause, Thaw]), data=st.data())
    def stop_or_go_on(self, wish: type[Command], data: st.DataObject) -> None:
        self._command(wish, **data.draw(ASKED[wish]))

    @rule(wish=st.sampled_from([Deposit, Withdraw, SetTarget, ReportFill, Reconcile]), data=st.data())
    def ask(self, wish: type[Command], data: st.DataObject) -> None:
        self._command(wish, **data.draw(ASKED[wish]))

    @rule(
        trouble=st.sampled_from(TROUBLES),
        key=st.sampled_from(KEYS),
        side=st.sampled_from(list(Side)),
        wishes=st.permutations([*ASKED, Approve, Reject]),
        data=st.data(),
    )
    def ask_for_everything(
        self, trouble: str, key: str, side: Side, wishes: list[type[Command]], data: st.DataObject
    ) -> None:
        """Every command once, in any order, at a moment when something else is going on; most are about that."""
        self._make(trouble, key, side)
        about = dict(zip(("portfolio", "symbol"), key.split("/"), strict=True))
        for wish in wishes:
            if wish in ASKED:
                asked = data.draw(ASKED[wish])
                here = {name: about[name] for name in about if asked.get(name) is not None}
                self._command(wish, **(asked | here if data.draw(st.booleans()) else asked))
            else:
                self._answer(key, data.draw(NUMBERS_OFF), wish)

    @rule(
        key=st.sampled_from(KEYS),
        state=st.sampled_from([TradingState.HALTED, TradingState.REDUCING]),
        names=st.sampled_from(["", "portfolio", "symbol", "portfolio symbol"]),
        killed=st.booleans(),
        data=st.data(),
    )
    def stop_and_go_on(self, key: str, state: TradingState, names: str, killed: bool, data: st.DataObject) -> None:
        """A position is stopped in one scope, its price crosses both edges, perhaps after a restart, and it goes on."""
        self.calm_down()
        about = dict(zip(("portfolio", "symbol"), key.split("/"), strict=True))
        scope = {name: about[name] for name in names.split()}
        self._command(SetTradingState, state=state, **scope)
        if killed:
            self.restart("the same", warm=True, data=data)
            self.reconcile()
        for side in Side:
            self._reach(key, side, calm=False, more=True)
        self._command(Resume, **scope)
        self._reach(key, data.draw(st.sampled_from(list(Side))), calm=False, more=True)

    @rule(key=st.sampled_from(KEYS), sides=st.lists(st.sampled_from(list(Side)), min_size=3, max_size=6))
    def have_a_busy_day(self, key: str, sides: list[Side]) -> None:
        for side in sides:
            self._reach(key, side, calm=True, more=True)
            self.approve_all(again=False)
            self.broker_catches_up()

    def _make(self, trouble: str, key: str, side: Side) -> None:
        """Bring about a moment: as a rule with an order in flight, or a request open."""
        if trouble != "none":
            self._reach(key, side, calm=True, more=True)
        position = self.shadow.positions[key]
        order = None if position.order is None else self.shadow.orders[position.order]
        match trouble:
            case "it is frozen":
                self._print(position.symbol, 0.5)
            case "it is stale":
                self.wait(61 * 4)
            case "the account is lost":
                self.lose_an_account(PORTFOLIOS[position.portfolio])
            case "it is ambiguous" if order is not None:
                self._do("order_ambiguous", order.intent.order, "time-out", self.now)
            case "it fills in part" if order is not None:
                self._report(self.broker.fill(order.intent.order, Decimal("0.3"), Decimal(1), Decimal(0), self.now))
            case "it is being cancelled" if order is not None:
                self._do("record", [ev.CancelRequested(at=self.now, **order.about(), reason="trading was halted")])
            case _:
                pass

    @rule(key=st.sampled_from(KEYS), side=st.sampled_from(list(Side)), left=st.sampled_from([None, "0", "0.000000001"]))
    def report_a_usual_fill(self, key: str, side: Side, left: str | None) -> None:
        """A person traded a little, all that there was, or all but the least there is."""
        portfolio, symbol = key.split("/")
        held = self.shadow.positions[key].shares
        shares = Decimal("0.75") if left is None else plus(held, -Decimal(left))
        price = Price(Decimal(str(self.price[symbol])))
        self._command(ReportFill, portfolio=portfolio, symbol=symbol, side=side, shares=Shares(shares), price=price)

    @rule(key=st.sampled_from(KEYS), off=NUMBERS_OFF, yes=st.booleans())
    def answer(self, key: str, off: int, yes: bool) -> None:
        self._answer(key, off, Approve if yes else Reject)

    def _answer(self, key: str, off: int, kind: type[Command]) -> None:
        asked = self.shadow.positions[key].approval
        number = self.shadow.positions[key].number if asked is None else asked.number
        portfolio, symbol = key.split("/")
        self._command(kind, portfolio=portfolio, symbol=symbol, number=number + off)

    @rule(again=st.booleans())
    def approve_all(self, again: bool) -> None:
        """Say yes to every open request; impatient people say it twice."""
        for key, position in list(self.shadow.positions.items()):
            if position.approval is not None:
                number = position.approval.number
                self._answer(key, 0, Approve)
                if again:
                    self._command(Approve, portfolio=position.portfolio, symbol=position.symbol, number=number)

    @rule()
    def calm_down(self) -> None:
        """A person puts everything right again, while the market is open."""
        if MARKET.at(self.now) is None:
            self.now = Instant(MARKET.upcoming(self.now).opens + SECOND)
            self._do("tick", self.now)
        self.reconcile()
        for account in PORTFOLIOS.values():
            self._do("record", [ev.SessionsAgreed(at=self.now, account=account)])
        for symbol in SYMBOLS:
            self._do("exchange_halt", symbol, None, self.now)
        stopped = set(self.warden.trading.values()) - {TradingState.ACTIVE}
        if stopped or self.warden.paused or self.warden.frozen or self.warden.halted:
            for scope in [Scope(), *(Scope(name) for name in PORTFOLIOS), *(Scope(None, name) for name in SYMBOLS)]:
                self._command(Resume, **scope._asdict())

    def _command(self, kind: type[Command], **asked: Any) -> None:
        """Give a command, and see that it did what it says, or nothing at all."""
        why = ("", "lunch", 'a "good" reason\n\u2026')[self.steps % 3]
        command = kind(by="ada", why=why, **asked)
        before, known = _written(self.engine.state), copy.deepcopy(self.books)
        requests = {key: request.number for key, request in self.warden.approvals.items()}
        events = self._do("command", command, self.now)
        assert any((getattr(each, "by", ""), getattr(each, "why", None)) == ("ada", why) for each in events), (
            "every command leaves a fact that says who and why"
        )
        done = not isinstance(events[0], ev.CommandRefused)
        if done:
            if isinstance(command, Approve | Reject):
                assert requests.get(f"{command.portfolio}/{command.symbol}") == command.number, "another was asked"
            self._has_done(command, known)
        else:
            _refused_and_nothing_else(command, events)
            assert _written(self.engine.state) == before, "a refused command changes nothing"
        scope = [name for name in ("portfolio", "symbol") if asked.get(name) is not None]
        self.happened[kind.__name__, "+".join(scope), "done" if done else "refused"] += 1
        for circumstance in self._circumstances():
            self.happened[kind.__name__, circumstance] += 1

    def _circumstances(self) -> list[str]:
        orders = [each for each in self.shadow.orders.values() if each.ended is None]
        found = {
            "in flight": bool(orders),
            "ambiguous": any(each.ambiguous for each in orders),
            "partly filled": any(each.filled for each in orders),
            "canceling": any(each.canceling for each in orders),
            "frozen": any(each.frozen is not None for each in self.shadow.symbols.values()),
            "stale": any(each.stale is not None for each in self.shadow.symbols.values()),
            "paused": self.shadow.paused or any(each.paused for each in self.shadow.symbols.values()),
            "halted": TradingState.HALTED in self.warden.trading.values(),
            "reduced": TradingState.REDUCING in self.warden.trading.values(),
            "position halted": bool(self.warden.halted),
            "open request": bool(self.warden.approvals),
            "not reconciled": len(self.warden.ready) < len(PORTFOLIOS),
        }
        return [name for name, is_so in found.items() if is_so]

    def _has_done(self, command: Command, before: Bookkeeper) -> None:
        """Check that the command which was not refused did what it is for."""
        warden = self.warden
        match command:
            case SetTradingState(state=state, portfolio=portfolio, symbol=symbol):
                assert {warden.trading[scope] for scope in self._scopes(portfolio, symbol)} == {state}
            case Resume():
                self._has_resumed(command)
            case Pause(paused=paused, symbol=symbol):
                assert (symbol in warden.paused) is paused
            case Thaw(symbol=symbol):
                assert symbol not in warden.frozen
            case SetTarget(portfolio=portfolio, symbol=symbol, target=target):
                assert self.engine.state.positions[f"{portfolio}/{symbol}"].target == target > 0
            case Approve(portfolio=portfolio, symbol=symbol, number=number):
                self._is_answered(portfolio, symbol, number)
            case Reject(portfolio=portfolio, symbol=symbol, number=number):
                self._is_answered(portfolio, symbol, number)
            case Reconcile(account=account):
                assert isinstance(self.events[-1], ev.ReconciliationRequested)
                assert self.events[-1].account == account
            case _:
                self._has_moved(command, before)

    def _has_resumed(self, command: Resume) -> None:
        for scope in self._scopes(command.portfolio, command.symbol):
            assert self.warden.trading.get(scope, TradingState.ACTIVE) is TradingState.ACTIVE
            assert f"{scope.portfolio}/{scope.symbol}" not in self.warden.halted
        if command.portfolio is None:
            assert command.symbol not in self.warden.paused
            assert command.symbol not in self.warden.frozen

    def _is_answered(self, portfolio: str, symbol: str, number: int) -> None:
        asked = self.warden.approvals.get(f"{portfolio}/{symbol}")
        assert asked is None or asked.number != number

    def _has_moved(self, command: Command, before: Bookkeeper) -> None:
        """Check the figures that a command moved, and tell the broker of them."""
        match command:
            case Deposit(portfolio=name, amount=amount) | Withdraw(portfolio=name, amount=amount):
                assert amount > 0
                moved = amount if isinstance(command, Deposit) else -amount
                assert self.books.deposits[name] == plus(before.deposits[name], moved)
                self.broker.cash[name] = plus(self.broker.cash[name], moved)
            case ReportFill(portfolio=portfolio, symbol=symbol, side=side, shares=shares, price=price):
                assert shares > 0
                key, sign = f"{portfolio}/{symbol}", 1 if side is Side.ACCUMULATE else -1
                assert key not in self.warden.in_flight, "what an order does is not told apart from what a person did"
                assert self.books.shares[key] == plus(before.shares[key], sign * shares)
                self.broker.by_hand(portfolio, symbol, side, shares, price)
            case _:
                raise AssertionError(command)

    def _scopes(self, portfolio: str | None, symbol: str | None) -> list[Scope]:
        """Name the scopes that a command is about: a symbol means each position in it."""
        if symbol is None:
            return [Scope(portfolio, None)]
        pairs = [key.split("/") for key in self.shadow.positions]
        return [Scope(*pair) for pair in pairs if Scope(portfolio, symbol).holds(*pair)]

    # Time and restarts

    @rule(seconds=st.sampled_from([1, 61, 400, 4 * 3600 + 1, 24 * 3600]))
    def wait(self, seconds: int) -> None:
        self.now = Instant(self.now + seconds * SECOND)
        self._do("tick", self.now)

    @rule(file=st.sampled_from(FILES), warm=st.booleans(), data=st.data())
    def restart(self, file: str, warm: bool, data: st.DataObject) -> None:
        """Kill it: whatever is known afterwards is what the events say. Perhaps its file was changed meanwhile."""
        lasts = [last for symbol in SYMBOLS if (last := self.engine.last(symbol)) is not None]
        self.engine, self.twin = Engine(self._refolded(), MARKET), None
        self.inputs.append(("restart", ()))
        if warm:
            self.engine.observe(lasts)
            self.inputs.append(("observe", (lasts,)))
        before = dict(self.chosen)
        self._edit(file, data)
        try:
            self._start(f"n{len(self.inputs)}")
        except PlanError:
            self.chosen = before
            self._do("configure", self._plan(), self.now)
        for name in self.broker.open():
            self._report(self.broker.orders[name])

    def _edit(self, file: str, data: st.DataObject) -> None:
        match file:
            case "the mode":
                self.chosen[data.draw(st.sampled_from(["core", "side"]))] = data.draw(st.sampled_from(list(Mode)))
            case "the zone":
                self.chosen["zone"] = data.draw(st.sampled_from(["2%", "5%", "$20"]))
            case "the target":
                self.chosen["target"] = data.draw(st.sampled_from([950, 1000, 1500]))
            case "a position":
                self.chosen["gone"] = data.draw(st.sampled_from([None, "core/BBB", "side/AAA"]))
            case "the limits":
                self.chosen["limits"] = data.draw(st.sampled_from(["none", "portfolio", "account", "position"]))
            case "the prints":
                self.chosen["confirm"] = data.draw(st.sampled_from([0, 1, 2]))
            case _:
                pass

    @rule()
    def double(self) -> None:
        """From now on a second engine, begun anew from the events, is asked the same."""
        twin = Engine(self._refolded(), MARKET)
        for symbol, watch in self.engine._watches.items():
            twin._watches[symbol].last, twin._watches[symbol].quoted = watch.last, watch.quoted
        twin._stale_check = self.engine._stale_check
        self.twin = twin

    def _refolded(self) -> State:
        refolded = State()
        for event in self.events:
            apply(refolded, ev.decode(ev.encode(event)))
        assert refolded == self.engine.state, "I5: the events are all there is"
        snapshot = msgspec.json.decode(msgspec.json.encode(refolded), type=State)
        assert snapshot == refolded
        return snapshot

    # What is said of it

    @rule()
    def ask_why(self) -> None:
        """Every side of every position is explained, and the explanation is true."""
        for position in list(self.engine.state.positions.values()):
            for view in self.engine.explain(position, self.now).sides:
                self._is_true(position.key, view)
                self._waits_for_something(position.key, view)

    def _waits_for_something(self, key: str, view: SideView) -> None:
        """A side that a guard held is armed again once the guard has nothing to say, whatever the price."""
        position = self.engine.state.positions[key]
        wait, asset = position.waits.get(view.side), self.engine.state.asset_of(position)
        lifted = set(LIFTED)
        if position.rules.on_short_reserve is Short.PARTIAL and asset.fractionable:
            lifted.add(Guard.RESERVE)
        if wait is not None and wait.guard in lifted and view.price is not None:
            assert not next(check for check in view.checks if check.guard == wait.guard).passes

    def _is_true(self, key: str, view: SideView) -> None:
        """Print the price that an explanation names, as often as the rules want, and see whether a signal is raised."""
        if view.price is None:
            return
        portfolio, symbol = key.split("/")
        engine = copy.deepcopy(self.engine, {id(MARKET): MARKET})
        events: list[ev.Event] = []
        price = float(view.price)
        for number in range(engine.state.prints.confirm + 1):
            seen = trade_print(symbol, price, self.now, Trade(id=number + 1), Quote(price, price))
            if refusal(seen, engine.last(symbol), engine.quoted(symbol), engine.state.prints, self.now) is not None:
                return
            events += engine.prints([seen], self.now)
        if any(isinstance(event, ev.SymbolFrozen | ev.BreakerTripped) for event in events):
            return  # What the print did to others, or its being a jump, is another story.
        raised = [
            event
            for event in events
            if isinstance(event, ev.SignalRaised)
            and (event.portfolio, event.symbol, event.side) == (portfolio, symbol, view.side)
        ]
        position = self.engine.state.positions[key]
        wait = position.waits.get(view.side)
        moves = {"price", "armed"} if wait is not None and wait.signalled is not None else {"price"}
        holding = [check for check in view.checks if not check.passes and check.guard not in moves]
        if holding:
            assert not raised, f"it said {holding}, and yet: {raised}"
            self.happened["explained", "held"] += 1
        else:
            assert raised, f"it said {view.outcome!r}, and yet: {events}"
            assert (raised[0].amount, raised[0].value) == (view.amount, view.value)
            self.happened["explained", "fires"] += 1

    @invariant()
    def whatever_happened_it_can_be_told(self) -> None:
        self.steps += 1
        engine = self.engine
        positions = list(engine.state.positions.values())
        position = positions[self.steps % len(positions)]
        assert json.dumps(show.plain(engine.explain(position, self.now)))
        told = status.position_status(
            engine.state, position, engine.seen(position.symbol), engine.zone(position), self.now
        )
        whole = status.overview(engine.state, "/var/lib/mrdaemon", self.now)
        whole = msgspec.structs.replace(whole, positions=(told,))
        assert status.decode(status.encode(whole)) == whole
        assert json.dumps(show.plain(whole))

    # What must always hold

    @invariant()
    def i1_an_execution_is_applied_once(self) -> None:
        for name, booked in self.books.applied.items():
            assert booked <= self.broker.orders[name].filled, "I1: one execution, applied once"

    @invariant()
    def i2_when_all_is_told_shares_and_reserve_agree(self) -> None:
        state = self.engine.state
        told = all(self.books.applied.get(name, 0) == each.filled for name, each in self.broker.orders.items())
        fees = sum(each.fees for each in self.broker.orders.values())
        if told and fees == sum(self.books.fees.values()):
            for key, position in state.positions.items():
                if position.opened:
                    assert position.shares == self.broker.shares[key], "I2: our shares equal the broker's"
            for name, book in state.portfolios.items():
                assert book.reserve == self.broker.cash[name], "I2: reserve = deposits - buys + sells - fees"

    @invariant()
    def i2_lots_hold_what_the_position_holds(self) -> None:
        for key, held in self.engine.state.positions.items():
            if key not in self.books.oversold:  # An order that was given up may sell what was sold by hand since.
                assert plus(*(lot.shares for lot in held.lots)) == held.shares

    @invariant()
    def i3_the_reserve_stays_above_its_floor(self) -> None:
        for name, book in self.engine.state.portfolios.items():
            # A fee is debited when it is known, which may be after its trim's cash was spent; and an order that was
            # given up may turn up filled, when what it had reserved was spent otherwise. The broker's word stands.
            # A booked fee and the tax on a dividend are facts too, and a fee that is given back was none.
            exempt = plus(self.books.turned_up[name], self.books.withheld[name], self.books.charged[name])
            left = plus(book.reserve, -self._floor_of(name), exempt)
            assert left >= 0, "I3: the reserve never goes below its floor"
            assert 0 <= book.reserved <= left, "I3: reserved is at most available"
            assert book.reserved == self._reserved_by(name)

    @invariant()
    def i5_the_state_is_what_the_events_say(self) -> None:
        assert self.shadow == self.engine.state

    @invariant()
    def i4_the_state_knows_what_forbids_an_order(self) -> None:
        state, warden = self.engine.state, self.warden
        assert state.trading is warden.trading.get(Scope(), TradingState.ACTIVE)
        assert state.paused is (None in warden.paused)
        for name, book in state.portfolios.items():
            assert book.state is warden.trading.get(Scope(name), TradingState.ACTIVE)
        for name, account in state.accounts.items():
            assert (account.ready, account.covered) == (name in warden.ready, name not in warden.uncovered)
            assert (account.disputed is not None) is (name in warden.disputed)
        for name, symbol in state.symbols.items():
            assert symbol.paused is (name in warden.paused)
            assert (symbol.frozen is not None) is (name in warden.frozen)
            assert (symbol.halted is not None) is (name in warden.stopped_by_exchange)
        for key, position in state.positions.items():
            assert position.state is warden.trading.get(Scope(**position.about()), TradingState.ACTIVE)
            assert (position.halted is not None, position.retired) == (key in warden.halted, key in warden.retired)
            assert position.order == warden.in_flight.get(key)
            assert (position.approval and position.approval.number) == (
                warden.approvals[key].number if key in warden.approvals else None
            )

    @invariant()
    def the_figures_in_the_state_add_up(self) -> None:
        state, books = self.engine.state, self.books
        assert (state.signals, state.held) == (books.signals, books.held)
        assert (state.flow, state.drawn) == (books.flow, books.drawn)
        for key, position in state.positions.items():
            assert position.shares == books.shares[key]
            assert (position.by_hand, position.paid_by_hand) == (books.by_hand[key], books.paid_by_hand[key])
            assert (position.first_buy or NO_DOLLARS) == books.first_buy[key]
            assert position.realized == books.gains[key]
        for name, book in state.portfolios.items():
            assert (book.reserve, book.deposits) == (books.reserve[name], books.deposits[name])
            assert book.fees == plus(books.fees[name], books.booked_fees[name])
            assert book.dividends == books.dividends[name]
            due = plus(book.deposits, -book.bought, book.sold, -book.fees, book.dividends)
            assert book.reserve == due, "I2: reserve = deposits - buys + sells - fees + dividends"

    def teardown(self) -> None:
        """Ask for the last explanations, and I6: the same inputs in the same order give the same events."""
        if not getattr(self, "in_order", False):
            return
        self.ask_why()
        engine, again = Engine(State(), MARKET), list[ev.Event]()
        for method, arguments in self.inputs:
            if method == "restart":
                engine = Engine(engine.state, MARKET)
            else:
                again += getattr(engine, method)(*arguments) or []
        assert [ev.encode(event) for event in again] == [ev.encode(event) for event in self.events]


def _written(state: State) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(state, at=Instant(0)))


def _refused_and_nothing_else(command: Command, events: list[ev.Event]) -> None:
    [event] = events
    assert isinstance(event, ev.CommandRefused)
    assert event.command == type(command).__name__
    assert event.reason
    named = {
        name: each
        for name, each in msgspec.structs.asdict(command).items()
        if each is not None and name not in {"by", "why"}
    }
    assert event.asked.keys() == named.keys(), "a refusal says what was asked"
