"""One seed's world: the local Alpaca with its prices and faults, a daemon that dies and starts again, and people."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import random as global_random
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from mrdaemon import outbox
from mrdaemon.alerts.composer import AlertRules
from mrdaemon.alpaca.history import Place
from mrdaemon.alpaca.limiter import Limiter
from mrdaemon.alpaca.login import Login
from mrdaemon.alpaca.rest import Call, Rest
from mrdaemon.brokers.alpaca import AlpacaBroker, Around
from mrdaemon.core import events as ev
from mrdaemon.core.commands import Command, Deposit, Pause, Reconcile, Resume, SetTarget, SetTradingState, Withdraw
from mrdaemon.core.engine import Engine
from mrdaemon.core.guards import trading_state
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import Dollars
from mrdaemon.core.orders import PREFIX, open_orders
from mrdaemon.core.policy import (
    AccountRules,
    Mode,
    Plan,
    PortfolioPlan,
    PortfolioRules,
    PositionPlan,
    PositionRules,
    PrintRules,
    TradingState,
)
from mrdaemon.core.prints import Print, Quote, Trade, trade_print
from mrdaemon.core.state import State
from mrdaemon.daemon import Daemon, Parts, StoppingError
from mrdaemon.feeds.alpaca import AlpacaFeed
from mrdaemon.feeds.alpacastream import Market, Surroundings
from mrdaemon.herald import Herald
from mrdaemon.simulator.exchange import ExchangeRules
from mrdaemon.simulator.faults import SOMETIMES, Faults
from mrdaemon.simulator.rest import Request
from mrdaemon.simulator.simulator import Simulator
from tests.simulation.disk import VirtualJournal
from tests.simulation.network import Network, Port
from tests.simulation.receivers import Receiver, ways
from tests.simulation.scenery import PLAIN, drawn
from tests.simulation.virtual import VirtualClock, VirtualLoop

KEYS: Final = Login.of("PKSIMULATOR", "simulated", live=False, url="http://alpaca")
RESERVE: Final = Dollars(Decimal("16500.00"))
FLOOR: Final = Dollars(Decimal("1000.00"))
TARGET: Final = Dollars(Decimal("5000.00"))
WHO: Final[dict[str, str]] = {"by": "simulation", "why": "a whim"}
QUIET_WITHIN: Final = 1800.0
"""Virtual seconds in which everything must have come to rest once nothing goes wrong any more."""


class Sent(NamedTuple):
    """An order that left, and what stood against it then."""

    order: str
    obstacle: str | None


class Input(NamedTuple):
    """One call into an engine."""

    name: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    events: list[bytes]


class Life(NamedTuple):
    """What a life of a daemon began with, and everything that went into its engine."""

    state: State
    inputs: list[Input]


class World:
    """Runs one seed; afterwards everything that the invariants want to see is here."""

    def __init__(self, seed: int, folder: Path, *, minutes: float = 20.0, faults: bool = True) -> None:
        self.seed = seed
        self.folder = folder
        self.random = Random(f"world {seed}")
        self.loop = VirtualLoop()
        self.scenery = drawn(seed) if faults else PLAIN
        self.clock = VirtualClock(self.loop, self.scenery.start)
        self.seconds = minutes * 60
        self.faulty = faults
        self.simulator = self._simulator()
        self.network = Network(self.simulator, Random(f"network {seed}"))
        self.network.lossy = faults
        self.network.on_late = self._note_late
        self.sent: list[Sent] = []
        self.acknowledged: list[ev.Event] = []
        self.lives: list[Life] = []
        self.happened: Counter[str] = Counter()
        self.receivers = [Receiver("home", seed), Receiver("phone", seed)]
        self.late: set[str] = set()
        """Symbols of orders that arrived long after they had been given up."""
        self.split: dict[str, Instant] = {}
        """Symbols that were split, and when the account had the new shares."""
        self.busted: set[str] = set()
        """Orders of which an execution was taken back."""
        self._daemon: Daemon | None = None
        self._broker: AlpacaBroker | None = None
        self._port: Port | None = None
        self._journal: VirtualJournal | None = None
        self._running: asyncio.Task[Any] | None = None
        self._deaths = self.random.randint(0, 4) if faults else 0
        self._fuse = self._new_fuse()
        self._prices = dict(self.scenery.symbols)
        self._calm = self._closed = False
        self._owed_until = 0.0
        """Until when something is still to reach the account: a split that is not booked yet, a late order."""
        self._pouncing: asyncio.Task[None] | None = None
        self.journal = folder / "journal.db"

    def run(self) -> None:
        """Live through it all."""
        global_random.seed(f"jitter {self.seed}")
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._run())
            for receiver in self.receivers:
                self.happened["alert received"] += len(receiver.got)
                self.happened["alert received again"] += len(receiver.got) - len(set(receiver.got))
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

    def close_the_market(self) -> None:
        """Let nobody trade any more."""
        self._closed = True

    def split_in_two(self, symbol: str, booked_after_s: float) -> None:
        """Let each share become two, which the account has only some seconds later."""
        self.split[symbol] = Instant(self.clock.now() + int(booked_after_s * SECOND))
        self.happened["split"] += 1
        self.simulator.exchange.split(symbol, Decimal(2), Decimal(1), booked_after_s=booked_after_s)
        self._prices[symbol] = round(self._prices[symbol] / 2, 2)
        self._owe(booked_after_s)

    async def halt_a_while(self, symbol: str, seconds: float) -> None:
        """Let the exchange halt a symbol; the end comes to no halted one, in which an order would wait for ever."""
        self.simulator.exchange.halt(symbol)
        try:
            await self.clock.sleep(seconds)
        finally:
            self.simulator.exchange.resume(symbol)

    @property
    def hours(self) -> float:
        """The virtual hours that passed."""
        return self.loop.time() / 3600

    # What there is

    def _simulator(self) -> Simulator:
        seeded = Faults()
        if self.faulty:
            often = self.random.choice((0.3, 1.0, 3.0))
            chosen = [each for each in SOMETIMES if self.random.random() < 0.7]
            scaled = (msgspec.structs.replace(each, chance=min(each.chance * often, 0.2)) for each in chosen)
            seeded = Faults(f"faults {self.seed}", tuple(scaled))
        rules = ExchangeRules(seed=self.seed, cash=Decimal("100000.00"), multiplier=4)
        simulator = Simulator(self.clock.now, self.scenery.calendar, rules=rules, faults=seeded)
        for listing in self.scenery.listings():
            simulator.exchange.listings.add(listing)
        return simulator

    def _plan(self) -> Plan:
        accounts = {"alpaca": AccountRules(broker="alpaca", consecutive_rejects=50)}
        rules = PositionRules(
            target=TARGET, below="1%", above="1%", mode=Mode.AUTO, initial=True, max_open=60, restore=Decimal(1),
            order_type=self.scenery.order_type,
        )  # fmt: skip
        positions = tuple(PositionPlan("core", symbol, rules) for symbol in self.scenery.symbols)
        portfolio = PortfolioPlan("core", PortfolioRules("alpaca", FLOOR), RESERVE, positions)
        return Plan(PrintRules(), accounts, (portfolio,))

    def _markets(self) -> list[Market]:
        shares = tuple(each for each in self.scenery.symbols if "/" not in each)
        pairs = tuple(each for each in self.scenery.symbols if "/" in each)
        iex, crypto = f"{KEYS.stream}/v2/iex", f"{KEYS.stream}/v1beta3/crypto/us"
        found = [Market("alpaca iex", iex, shares, shares, statuses=True, place=Place("v2", "/stocks", "iex"))]
        if pairs:
            place = Place("v1beta3", "/crypto/us")
            found.append(Market("alpaca crypto", crypto, pairs, pairs, statuses=False, place=place))
        return found

    # What runs

    async def _run(self) -> None:
        outside = [asyncio.create_task(self._alpaca()), asyncio.create_task(self._market())]
        if self.faulty:
            outside += [asyncio.create_task(self._weather()), asyncio.create_task(self._people())]
        self._running = asyncio.create_task(self._lives())
        await self.clock.sleep(self.seconds)
        self._calm = True
        self.simulator.faults.end()
        self.network.down = self.network.lossy = False
        for receiver in self.receivers:
            receiver.calm = True
        for task in outside[2:]:
            task.cancel()
        try:
            await self._come_to_rest()
        finally:
            for task in (self._running, *outside):
                task.cancel()
            await asyncio.gather(self._running, *outside, return_exceptions=True)

    async def _come_to_rest(self) -> None:
        """Resume what was halted, wait until all is answered, and compare once more."""
        until = self.loop.time() + QUIET_WITHIN
        resumed = False
        while self.loop.time() < until:
            await self.clock.sleep(5)
            daemon = self._daemon
            if daemon is None:
                continue
            if not resumed and daemon.engine.state.accounts and daemon.engine.state.accounts["alpaca"].ready:
                await self._ask(Resume(by="simulation", why="the end"))
                resumed = True
            if resumed and self._is_quiet(daemon):
                orders = len(daemon.engine.state.orders)
                compared = await self._compare_at_the_end()
                await self.clock.sleep(1)  # until what that led to is on disk
                if compared and self._is_quiet(daemon) and orders == len(daemon.engine.state.orders):
                    return
        message = f"seed {self.seed}: not at rest after {QUIET_WITHIN:g} s: {self._unrest()}"
        raise AssertionError(message)

    async def _compare_at_the_end(self) -> bool:
        """Compare; tells whether that came to its end: a full rate limit holds it up for longer than anybody waits."""
        found = await self._ask(Reconcile(account="alpaca", by="simulation", why="the end"))
        return any(isinstance(each, ev.AccountReconciled) for each in found)

    def _is_quiet(self, daemon: Daemon) -> bool:
        if self.loop.time() <= self._owed_until:
            return False
        if not self._all_told(daemon.outgoing()):
            return False
        state = daemon.engine.state
        ready = state.accounts["alpaca"].ready and state.trading is TradingState.ACTIVE
        alive = all(each.state in {"subscribed", "live"} for each in state.feeds.values())
        return ready and alive and not open_orders(state, "alpaca") and not self._open_there()

    def _all_told(self, outgoing: Mapping[str, int]) -> bool:
        """Tell whether no alert waits: neither at a courier, nor in the outbox behind one that rests."""
        last = outbox.last(self.journal)
        places = (outbox.backlog(self.journal, each.name) for each in self.receivers)
        return not any(outgoing.values()) and all(each.upto == last and not each.letters for each in places)

    def _open_there(self) -> bool:
        """Tell whether an order of ours is open at the exchange."""
        book = self.simulator.exchange.book.open()
        return any(each.ticket.client_order_id.startswith(f"{PREFIX}-") for each in book)

    def _unrest(self) -> str:
        if self._daemon is None:
            return "no daemon runs"
        state = self._daemon.engine.state
        alerts = dict(self._daemon.outgoing())
        return f"{state.trading}, {state.accounts}, {state.feeds}, {open_orders(state, 'alpaca')}, to tell: {alerts}"

    async def _alpaca(self) -> None:
        """Let Alpaca's time pass."""
        woken = asyncio.Event()
        self.simulator.on_change = woken.set
        while True:
            woken.clear()
            self.simulator.pass_time()
            wait = max(0.0, (self.simulator.next_due - self.clock.now()) / SECOND)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait, 60.0) + 1e-6):
                    await woken.wait()

    async def _market(self) -> None:
        """Let prices walk, with a gap now and then; still once the end has come."""
        draw = Random(f"market {self.seed}")
        self.simulator.see([trade_print(name, price, self.clock.now()) for name, price in self._prices.items()])
        while True:
            await self.clock.sleep(draw.uniform(0.5, 3.0))
            if self._closed:
                continue
            symbol = draw.choice(list(self.scenery.symbols))
            if self.scenery.calendar.sessions(symbol).at(self.clock.now()) is None:
                continue
            step = 0.0 if self._calm else draw.gauss(0, 0.003) + (draw.random() < 0.01) * draw.uniform(-0.05, 0.05)
            self._prices[symbol] = price = round(self._prices[symbol] * (1 + step), 2)
            spread = max(0.01, round(price * 0.0001, 2))
            quote = Quote(round(price - spread, 2), round(price + spread, 2))
            seen: Print = trade_print(symbol, price, self.clock.now(), Trade("@", 100.0), quote)
            self.simulator.see([seen])

    async def _weather(self) -> None:
        """Let the network fail, and streams fall silent, for a while."""
        draw = Random(f"weather {self.seed}")
        while True:
            await self.clock.sleep(draw.uniform(60, 600))
            if draw.random() < 0.6:
                self.happened["network down"] += 1
                self.network.down = True
                await self.clock.sleep(draw.choice((2.0, 15.0, 90.0, 200.0)))
                self.network.down = False

    async def _people(self) -> None:
        """Let people, and what happens to shares, interfere."""
        draw = Random(f"people {self.seed}")
        whims = (
            self._halt_and_resume,
            self._pause_and_resume,
            self._move_cash,
            self._change_a_target,
            self._compare,
            self._pay_a_dividend,
            self._halt_a_symbol,
            self._put_the_halt_file,
            self._split,
            self._meddle,
        )
        while True:
            await self.clock.sleep(draw.uniform(30, 300))
            await draw.choice(whims)(draw)

    async def _halt_and_resume(self, draw: Random) -> None:
        await self._ask(SetTradingState(state=TradingState.HALTED, **WHO))
        await self.clock.sleep(draw.uniform(5, 60))
        await self._ask(Resume(**WHO))

    async def _pounce(self) -> None:
        """Halt between a decision and its order."""
        self.happened["halted between decision and order"] += 1
        await self._ask(SetTradingState(state=TradingState.HALTED, **WHO))
        await self.clock.sleep(3)
        await self._ask(Resume(**WHO))

    async def _pause_and_resume(self, draw: Random) -> None:
        await self._ask(Pause(paused=True, **WHO))
        await self.clock.sleep(draw.uniform(5, 60))
        await self._ask(Resume(**WHO))

    async def _move_cash(self, draw: Random) -> None:
        if draw.random() < 0.5:
            await self._ask(Deposit(portfolio="core", amount=Dollars(Decimal("500.00")), **WHO))
        else:
            await self._ask(Withdraw(portfolio="core", amount=Dollars(Decimal("250.00")), **WHO))

    async def _change_a_target(self, draw: Random) -> None:
        target = Dollars(Decimal(draw.choice((4800, 5000, 5200))).quantize(Decimal("0.01")))
        await self._ask(
            SetTarget(portfolio="core", symbol=draw.choice(list(self.scenery.symbols)), target=target, **WHO)
        )

    async def _compare(self, _: Random) -> None:
        await self._ask(Reconcile(account="alpaca", **WHO))

    async def _pay_a_dividend(self, draw: Random) -> None:
        self.happened["dividend"] += 1
        self.simulator.exchange.dividend("QQQ", Decimal("0.35"))

    async def _halt_a_symbol(self, draw: Random) -> None:
        symbol = draw.choice([each for each in self.scenery.symbols if "/" not in each])
        await self.halt_a_while(symbol, draw.uniform(5, 120))

    async def _put_the_halt_file(self, draw: Random) -> None:
        halt_file = self.folder / "HALT"
        halt_file.write_text("the simulation put it there", encoding="utf-8")
        self.happened["HALT file"] += 1
        await self.clock.sleep(draw.uniform(2, 30))
        halt_file.unlink(missing_ok=True)
        await self._ask(Resume(**WHO))

    async def _split(self, draw: Random) -> None:
        symbol = draw.choice(list(self.scenery.symbols))
        if symbol not in self.split and "/" not in symbol:  # two at once want a person
            self.split_in_two(symbol, booked_after_s=draw.choice((0.0, 30.0, 400.0)))

    async def _meddle(self, draw: Random) -> None:
        if draw.random() < 0.1:
            self._trade_by_hand(draw.choice(list(self.scenery.symbols)))
        elif draw.random() < 0.1:
            self._bust(draw)

    def _trade_by_hand(self, symbol: str) -> None:
        """Let a person buy a share past the daemon: it must find the difference, and halt the position."""
        orders = len(self.simulator.exchange.book)
        order = {"symbol": symbol, "side": "buy", "type": "market", "time_in_force": "day", "qty": "1"}
        headers = {"apca-api-key-id": KEYS.key, "apca-api-secret-key": KEYS.secret}
        self.simulator.rest.answer(Request("POST", "/v2/orders", {}, headers, msgspec.json.encode(order)))
        if len(self.simulator.exchange.book) > orders:  # else something went wrong for the person, too
            self.happened["trade by hand"] += 1

    def _bust(self, draw: Random) -> None:
        """Let the exchange break an execution: the position must halt."""
        ours = [each for each in self.simulator.exchange.book if each.executions and not each.open]
        if ours:
            order = draw.choice(ours[-3:])
            self.happened["bust"] += 1
            self.busted.add(order.ticket.client_order_id)
            self.simulator.exchange.bust(order.id)

    async def _ask(self, wish: Command) -> list[ev.Event]:
        """Command something; gives what came of it in time."""
        if self._daemon is None:
            return []
        self.happened[type(wish).__name__] += 1
        with contextlib.suppress(StoppingError, TimeoutError):
            async with asyncio.timeout(60):
                return await self._daemon.command(wish)
        return []

    # A daemon's lives

    async def _lives(self) -> None:
        while True:
            await self._live(len(self.lives))
            self.happened["death"] += 1
            await self.clock.sleep(self.random.choice((0.5, 5.0, 45.0, 120.0)))

    async def _live(self, number: int) -> None:
        """Run a daemon until it dies, or until the end."""
        port = self._port = Port(self.network, KEYS, self._pass)
        delays = Random(f"disk {self.seed} {number}")
        journal = self._journal = VirtualJournal(
            self.journal, self.clock.now, lambda: delays.uniform(0.0005, 0.02), self._pass
        )
        async with journal:
            loaded = journal.load()
            rest = Rest(_Witness(self, port), Limiter(self.clock), self.clock)
            broker = AlpacaBroker("alpaca", list(self.scenery.symbols), Around(KEYS, rest, port.connect, self.clock))
            parts = Parts(
                self.scenery.calendar, self.clock, {"alpaca": broker}, f"n{number}", self.folder / "HALT",
                hours=self.scenery.hours,
            )  # fmt: skip
            self._broker = broker
            before = copy.deepcopy(loaded.state)
            daemon = Daemon(parts, journal, loaded.state)
            self.lives.append(Life(before, _recorded(daemon.engine)))
            daemon.open(self._plan(), None)
            around = Surroundings(KEYS, rest, port.connect, self.scenery.calendar, self.clock, daemon.live)
            feed = AlpacaFeed(self._markets(), around)
            self._daemon = daemon
            herald = Herald(daemon, journal, AlertRules(), ways(self.receivers), wall=self.clock.now)
            running = asyncio.create_task(_told(herald, daemon, feed))
            self._dying = asyncio.Event()
            dying = asyncio.create_task(self._dying.wait())
            try:
                await asyncio.wait([running, dying], return_when=asyncio.FIRST_COMPLETED)
                if running.done() and not self._dying.is_set():
                    await running  # It must not end by itself.
                    raise AssertionError("the daemon ended by itself")
            finally:
                self._daemon = None
                if not self._dying.is_set():
                    await journal.settled()
                port.die()
                journal.dead = True
                tasks = [running, dying, *herald.tasks]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self.acknowledged += journal.acknowledged

    def _new_fuse(self) -> int:
        return self.random.randint(5, 400)

    def _pass(self, point: str) -> None:
        """Pass a point at which a daemon may die, or somebody may halt it."""
        if self.faulty and not self._calm and point == "after a commit" and self.random.random() < 0.02:
            self._pouncing = self.loop.create_task(self._pounce())
        if self._calm or self._deaths == 0 or self._daemon is None or self._dying.is_set():
            return
        self._fuse -= 1
        if self._fuse <= 0:
            self._deaths -= 1
            self._fuse = self._new_fuse()
            self.happened[f"died: {point}"] += 1
            assert self._port is not None
            assert self._journal is not None
            self._port.die()
            self._journal.dead = True
            self._dying.set()

    def _note_late(self, call: Call, seconds: float) -> None:
        self.happened["order came late"] += 1
        self.late.add(str(call.fields["symbol"]))
        self._owe(seconds)

    def _owe(self, seconds: float) -> None:
        self._owed_until = max(self._owed_until, self.loop.time() + seconds)

    def note_order(self, call: Call) -> None:
        """Look, as an order leaves, whether anything forbids it."""
        daemon = self._daemon
        if daemon is None:
            return
        name = str(call.fields["client_order_id"])
        state = daemon.engine.state
        order = state.orders.get(name)
        if order is None:
            self.sent.append(Sent(name, "nobody decided it"))
            return
        position = state.position(order.intent)
        obstacle = None
        if trading_state(state, position) is TradingState.HALTED:
            obstacle = "trading is halted"
        elif not state.accounts["alpaca"].ready:
            obstacle = "the account is not reconciled"
        elif position.halted is not None:
            obstacle = "the position is halted"
        elif (symbol := state.symbols[position.symbol]).frozen or symbol.halted:
            obstacle = f"the symbol is frozen ({symbol.frozen}) or halted ({symbol.halted})"
        elif state.accounts["alpaca"].dispute(position.symbol):
            obstacle = "the clock is in dispute"
        elif self._broker is None or self._broker.hearing is None:
            obstacle = "what happens to orders is not heard"
        elif self.scenery.calendar.sessions(position.symbol).at(self.clock.now()) is None:
            obstacle = "the session is closed"
        self.sent.append(Sent(name, obstacle))


class _Witness:
    """Sees every order that leaves."""

    def __init__(self, world: World, port: Port) -> None:
        self._world = world
        self._port = port

    async def carry(self, call: Call) -> Any:
        if call.method == "POST" and not self._port.dead:
            self._world.note_order(call)
        return await self._port.carry(call)


ENTRANCES: Final = (
    "prints", "observe", "configure", "record", "order_update", "order_ended", "order_ambiguous", "command",
    "exchange_halt", "tick", "activity", "bust", "execution_busted",
)  # fmt: skip


async def _told(herald: Herald, daemon: Daemon, feed: AlpacaFeed) -> None:
    """Run a daemon whose channels are served; they get no last words when it dies."""
    await herald.__aenter__()
    await daemon.run(feed)


def _recorded(engine: Engine) -> list[Input]:
    """Keep what goes into an engine, and what comes out."""
    inputs: list[Input] = []
    inside = False

    def wrapped(name: str) -> Any:
        original = getattr(engine, name)

        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal inside
            if inside:
                return original(*arguments, **named)
            kept = tuple(
                list(each) if isinstance(each, Sequence) and not isinstance(each, str) else each for each in arguments
            )
            inside = True
            try:
                events = original(*arguments, **named)
            finally:
                inside = False
            inputs.append(Input(name, kept, named, [ev.encode(each) for each in events or ()]))
            return events

        return call

    for name in ENTRANCES:
        setattr(engine, name, wrapped(name))
    return inputs


def hush() -> None:
    """Say nothing of all that goes wrong: it is what is wanted."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
