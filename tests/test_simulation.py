"""The fault simulation: seeds that must all end quiet and whole, and mutants that it must catch.

A seed that fails is run again, exactly, by ``python -m tests.simulation SEED``.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from mrdaemon import chain
from mrdaemon.alerts.alert import Letter
from mrdaemon.alerts.composer import Composer
from mrdaemon.alerts.courier import Courier
from mrdaemon.alerts.messages import message
from mrdaemon.alpaca import bookings
from mrdaemon.alpaca.rest import Call
from mrdaemon.brokers import alpaca as broker
from mrdaemon.brokers.alpaca import AlpacaBroker
from mrdaemon.core import events as ev
from mrdaemon.core import guards, orders, signals
from mrdaemon.core.activity import Split
from mrdaemon.core.engine import Engine
from mrdaemon.core.orders import OrderReport, OrderRequest
from mrdaemon.core.policy import FeedState
from mrdaemon.core.sizing import order_for
from mrdaemon.desk import Desk
from mrdaemon.journal import _Work
from mrdaemon.outbox import Outcome
from mrdaemon.reconciliation import Reconciler
from mrdaemon.simulator.faults import Fault, FaultName
from tests.running import ROOT, unmeasured
from tests.simulation.disk import VirtualJournal
from tests.simulation.invariants import check
from tests.simulation.world import World, hush

A_DOZEN = 12
MUTANT_SEEDS = 40
"""Seeds among which at least one must notice a mutant."""


@pytest.fixture(autouse=True)
def _quietly() -> Iterator[None]:
    before = structlog.get_config()
    hush()
    yield
    structlog.configure(**before)  # Tests after this one look for lines of the log.
    asyncio.set_event_loop(None)


def lived(seed: int, folder: Path, *, minutes: float = 10.0) -> list[str]:
    """Run a seed; gives what does not hold at its end, or that nothing was traded."""
    folder.mkdir()
    world = World(seed, folder, minutes=minutes)
    world.run()
    return check(world) if world.sent else ["no order was sent"]


def in_a_process(first: int, number: int, minutes: int, seconds: float) -> None:
    """Run seeds in a process of their own, which nobody measures: measuring makes them five times as slow."""
    seeds = f"{first}-{first + number - 1}"
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", seeds, "--minutes", str(minutes)],
        env=unmeasured(),
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    orders = re.search(r"(\d+) orders", done.stdout)
    assert orders is not None
    assert int(orders[1]) > 3 * number


@pytest.mark.parametrize("first", range(1, 18 * A_DOZEN, A_DOZEN))
def test_a_dozen_seeds_end_quiet_and_whole(first: int) -> None:
    in_a_process(first, A_DOZEN, minutes=6, seconds=110)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(1001, 3001, 100))
def test_a_hundred_long_seeds_end_quiet_and_whole(first: int) -> None:
    in_a_process(first, 100, minutes=20, seconds=1200)


def test_a_seed_repeats_exactly_whatever_the_process_hashes_like() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "16", "--story", "--minutes", "8"],
            env={**unmeasured(), "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert b"OrderFilled" in told[0]


def test_a_calm_world_trades_dies_never_and_is_never_called_stale(tmp_path: Path) -> None:
    world = World(3, tmp_path, faults=False)
    world.run()
    assert check(world) == []
    assert len(world.sent) > 10
    assert len(world.lives) == 1


# When a world is at rest, and may be judged


def happened(world: World, kind: type[ev.Event]) -> int:
    """Count events of a kind in a world's journal."""
    return sum(isinstance(record.event, kind) for record in chain.records(world.journal))


def test_a_world_ends_only_once_its_last_comparison_has(tmp_path: Path) -> None:
    world = World(3, tmp_path, faults=False, minutes=5.1)
    world.loop.call_later(250, world.simulator.exchange.dividend, "QQQ", Decimal("0.35"))
    # Alpaca refuses all requests of a minute in the middle of the comparison before the last.
    full = Fault(FaultName.RATE_LIMIT, method="GET", path="/v2/account")
    world.loop.call_later(300, world.simulator.faults.begin, full)
    world.run()
    assert world.simulator.faults.log == {"429": 1}
    assert world.loop.time() > 360
    assert happened(world, ev.DividendPaid) == 1
    assert check(world) == []


def test_a_world_ends_only_once_its_splits_are_booked(tmp_path: Path) -> None:
    world = World(3, tmp_path, faults=False, minutes=5)
    world.loop.call_later(290, world.split_in_two, "QQQ", 60.0)
    world.run()
    assert happened(world, ev.SplitApplied) == 1
    assert check(world) == []


def test_a_world_ends_only_once_its_late_orders_have_come(tmp_path: Path) -> None:
    world = World(3, tmp_path, faults=False, minutes=5)
    order = Call("POST", "/orders", {"symbol": "QQQ"})
    world.loop.call_later(290, world.network.on_late, order, 120.0)
    world.run()
    assert world.loop.time() > 410


def test_a_world_ends_only_once_what_the_exchange_halted_trades_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "_people", lambda self: self.halt_a_while("QQQ", 3600))
    world = World(3, tmp_path, minutes=5)
    world.run()
    assert not world.simulator.exchange.market.mark("QQQ").halted


# A quiet stream and a dead one (I8)


def stale(world: World) -> list[ev.FeedStateChanged]:
    """Give when a feed was called stale."""
    events = (record.event for record in chain.records(world.journal))
    return [each for each in events if isinstance(each, ev.FeedStateChanged) and each.state is FeedState.STALE]


def test_i8_a_mute_stream_is_noticed_while_the_market_moves(tmp_path: Path) -> None:
    world = World(5, tmp_path, faults=False)
    world.loop.call_later(300, world.simulator.faults.begin, Fault(FaultName.MUTE, stream="iex", seconds=400))
    world.run()
    assert len(stale(world)) >= 1
    assert "mute" in stale(world)[0].reason
    assert len(world.lives) == 1


def test_i8_a_market_without_a_trade_is_not_called_mute(tmp_path: Path) -> None:
    world = World(5, tmp_path, faults=False, minutes=60)
    world.loop.call_later(300, world.close_the_market)
    world.run()
    assert stale(world) == []


# Mutants: what the simulation exists to catch


def spends_what_the_reserve_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "size", order_for)
    monkeypatch.setitem(guards.GUARDS, guards.Guard.RESERVE, lambda case: None)


def forgets_what_it_may_send(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Desk, "_objection", lambda self, order: None)


def sends_an_unanswered_order_again_under_another_id(monkeypatch: pytest.MonkeyPatch) -> None:
    original, sent = broker.order_fields, set[str]()

    def fields(request: OrderRequest) -> Any:
        wanted = dict(original(request))
        if request.order in sent:
            wanted["client_order_id"] = f"{request.order}-again"
        sent.add(request.order)
        return wanted

    async def blind(self: AlpacaBroker, order: str) -> OrderReport | None:
        return None

    monkeypatch.setattr(broker, "order_fields", fields)
    monkeypatch.setattr(AlpacaBroker, "find", blind)


def believes_smaller_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def always(state: Any, order: Any, report: OrderReport, at: Any) -> Any:
        if not report.filled or report.average is None:
            return None
        return original(state, order, report, at) or ev.OrderFilled(
            at=at, **order.about(), side=order.intent.side, filled=order.filled + report.filled, average=report.average,
            cash=order.cash, shares=report.filled, amount=order.cash,
        )  # fmt: skip

    original = orders._fill
    monkeypatch.setattr(orders, "_fill", always)


def answers_before_the_disk_does(monkeypatch: pytest.MonkeyPatch) -> None:
    original = VirtualJournal._hand_over

    def hasty(self: VirtualJournal, work: _Work) -> asyncio.Future[None]:
        if not self.dead:
            self.acknowledged += work.events
        return original(self, work)

    monkeypatch.setattr(VirtualJournal, "_hand_over", hasty)


def decides_by_something_else_than_its_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = Engine.tick, iter(range(10**9))

    def tick(self: Engine, now: Any) -> list[ev.Event]:
        made_up = ev.TradingResumed(at=now, symbol="X")
        return original(self, now) if next(calls) % 7 else [*original(self, now), made_up]

    monkeypatch.setattr(Engine, "tick", tick)


def books_no_dividend(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Reconciler, account: str, broker: Any) -> None:
        return None

    monkeypatch.setattr(Reconciler, "_book", nothing)


def follows_no_split(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(rest: Any, symbols: Any, since: str) -> list[Split]:
        return []

    monkeypatch.setattr(bookings, "splits", none)


def ticks_off_alerts_before_they_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Courier._send

    async def hasty(self: Courier, letters: Sequence[Letter], *, last: bool = False) -> bool:
        await self._off(letters, Outcome.DELIVERED)
        self._due |= {each.n: each for each in letters}
        return bool(await original(self, letters, last=last))

    monkeypatch.setattr(Courier, "_send", hasty)


def gives_up_alerts_that_do_not_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    async def careless(self: Courier, letters: Sequence[Letter], *, last: bool = False) -> bool:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(10):
                await self._channel.deliver(message(letters, self._wall(), self._manners.zone))
        await self._off(letters, Outcome.DELIVERED)
        return True

    monkeypatch.setattr(Courier, "_send", careless)


def words_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = Composer.compose, iter(range(10**9))

    def compose(self: Composer, events: Any) -> list[Any]:
        return original(self, events) if next(calls) % 7 else []

    monkeypatch.setattr(Composer, "compose", compose)


@pytest.mark.parametrize(
    ("mutate", "name"),
    [
        (sends_an_unanswered_order_again_under_another_id, "I1"),
        (believes_smaller_figures, "I1"),
        (books_no_dividend, "I2"),
        (follows_no_split, "I2"),
        (spends_what_the_reserve_does_not_have, "I3"),
        (forgets_what_it_may_send, "I4"),
        (answers_before_the_disk_does, "I5"),
        (decides_by_something_else_than_its_inputs, "I6"),
        (ticks_off_alerts_before_they_arrive, "I7"),
        (gives_up_alerts_that_do_not_arrive, "I7"),
        (words_fail, "I7"),
    ],
)
def test_a_mutant_is_caught_by_name(
    mutate: Callable[[pytest.MonkeyPatch], None], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    for seed in range(1, 1 + MUTANT_SEEDS):
        try:
            wrong = lived(seed, tmp_path / str(seed))
        except AssertionError as error:
            wrong = [str(error)]
        if any(each.startswith(name) for each in wrong):
            return
    pytest.fail(f"{MUTANT_SEEDS} seeds did not notice it by {name}")
