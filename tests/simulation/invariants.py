"""What must hold at the end of every seed, by the names that the design gives it."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from mrdaemon import chain, outbox
from mrdaemon.alerts.manners import Manners
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.instant import NEVER, SECOND, Instant
from mrdaemon.core.money import NO_SHARES, value
from mrdaemon.core.orders import PREFIX
from mrdaemon.core.portfolio import apply
from mrdaemon.core.state import State
from mrdaemon.simulator.orders import Side as TheirSide
from tests.simulation.world import World

TOLD: Final[dict[type[ev.Event], str]] = {
    ev.SignalRaised: "signal_raised",
    ev.PositionHalted: "position_halted",
    ev.SplitApplied: "split_applied",
    ev.DividendPaid: "dividend_paid",
}
"""What must be told each time that it happens, and as what."""


def check(world: World) -> list[str]:
    """Give every invariant that does not hold, each in a sentence that begins with its name."""
    events = [record.event for record in chain.records(world.journal)]
    return [
        *_one_order_a_decision(world, events),
        *_equal_to_the_broker(world, events),
        *_never_below_the_floor(world, events),
        *_nothing_sent_against_a_guard(world),
        *_nothing_acknowledged_lost(world, events),
        *_replays_to_the_same(world),
        *_alerts_arrive(world, events),
        *_silence_is_noticed(world, events),
    ]


def _one_order_a_decision(world: World, events: list[ev.Event]) -> list[str]:
    """I1: one decision, at most one order; one execution, applied once."""
    wrong = []
    intents = {each.order: each for each in events if isinstance(each, ev.OrderIntended)}
    theirs = [each for each in world.simulator.exchange.book if each.ticket.client_order_id.startswith(f"{PREFIX}-")]
    wrong += [
        f"I1: order {each.ticket.client_order_id} has no intent"
        for each in theirs
        if each.ticket.client_order_id not in intents
    ]
    decisions = Counter(
        (intent.portfolio, intent.symbol, intent.number)
        for each in theirs
        if (intent := intents.get(each.ticket.client_order_id)) is not None
    )
    wrong += [f"I1: signal {decision} became {count} orders" for decision, count in decisions.items() if count > 1]
    applied: defaultdict[str, Decimal] = defaultdict(Decimal)
    for each in events:
        if isinstance(each, ev.OrderFilled):
            applied[each.order] += each.shares
    for order in theirs:
        name = order.ticket.client_order_id
        if applied[name] != order.filled_qty and name not in world.busted:
            wrong.append(f"I1: order {name} filled {order.filled_qty}, of which {applied[name]} were applied")
    return wrong


def _equal_to_the_broker(world: World, events: list[ev.Event]) -> list[str]:
    """I2: our shares equal the broker's; the reserve equals deposits - buys + sells - fees + dividends."""
    state = _folded(events)
    tiny = {each.symbol for each in events if isinstance(each, ev.SharesAdopted) and each.reason.endswith("tiny")}
    wrong = _unequal_shares(world, state, tiny, _torn(world, events))
    ours, theirs = state.portfolios["core"].reserve, _reserve_by_the_broker(world, state, events)
    if ours != theirs and not world.busted:
        wrong.append(f"I2: the reserve is {ours}; by the broker's book it is {theirs}")
    return wrong


def _moved(world: World, state: State) -> set[str]:
    """Give the symbols whose shares somebody moved past the daemon: by hand, or by breaking what it had counted."""
    moved = set()
    for order in world.simulator.exchange.book:
        ours = state.orders.get(order.ticket.client_order_id)
        if order.filled_qty if ours is None else ours.filled > order.filled_qty:
            moved.add(order.symbol)
    return moved


def _torn(world: World, events: list[ev.Event]) -> set[str]:
    """Give the symbols in which an order filled in new shares before the daemon knew of them.

    What is held then is no multiple of what it counted: that wants a person.
    """
    known = {each.symbol: each.at for each in events if isinstance(each, ev.SplitApplied)}
    return {
        order.symbol
        for order in world.simulator.exchange.book
        for each in order.executions
        if order.symbol in world.split and world.split[order.symbol] <= each.at <= known.get(order.symbol, NEVER)
    }


def _unequal_shares(world: World, state: State, tiny: set[str], torn: set[str]) -> list[str]:
    bare = {each.replace("/", ""): each for each in world.scenery.symbols}
    positions = world.simulator.exchange.positions()
    theirs = {bare[str(each["symbol"])]: Decimal(str(each["qty"])) for each in positions}
    wrong, moved = list[str](), _moved(world, state)
    for position in state.positions.values():
        symbol, held = position.symbol, theirs.get(position.symbol, NO_SHARES)
        if symbol in moved - tiny and position.halted is None:
            wrong.append(f"I2: somebody moved shares of {symbol}, and it is not halted")
        if position.halted is not None and symbol not in moved | torn | world.late:
            wrong.append(f"I2: {symbol} is halted: {position.halted}")
        if position.halted is None and position.shares != held:
            wrong.append(f"I2: {symbol}: we hold {position.shares}, the broker {held}")
    return wrong


def _reserve_by_the_broker(world: World, state: State, events: list[ev.Event]) -> Decimal:
    reserve = Decimal(0)
    for order in world.simulator.exchange.book:
        if order.filled_qty and order.ticket.client_order_id.startswith(f"{PREFIX}-"):
            cash = value(order.filled_qty, order.filled_value / order.filled_qty)
            reserve += -cash if order.ticket.side is TheirSide.BUY else cash
    for each in events:
        if isinstance(each, ev.ReserveDeposited):
            reserve += each.amount
        elif isinstance(each, ev.ReserveWithdrawn):
            reserve -= each.amount
    for activity in world.simulator.exchange.activities():
        if activity["activity_type"] == "CFEE":
            reserve += Decimal(str(activity["net_amount"]))
        if str(activity["activity_type"]).startswith("DIV"):
            opened = next(each for each in state.positions.values() if each.symbol == activity["symbol"]).since
            if opened is not None and str(activity["date"]) > _new_york_day(opened):  # else it is for what was before
                reserve += Decimal(str(activity["net_amount"]))
    return reserve


def _never_below_the_floor(world: World, events: list[ev.Event]) -> list[str]:
    """I3: the reserve never goes below its floor; reserved is never more than available.

    An order that fills after it was given up takes what was released meanwhile: the broker's word stands, and its
    position halts. So does a fee that is known only after what it is for was spent: it is small.
    """
    if world.late:
        return []
    state, fees = State(), Decimal(0)
    for event in events:
        apply(state, event)
        fees += event.amount if isinstance(event, ev.FeeBooked) else 0
        for portfolio in state.portfolios.values():
            if portfolio.opened and portfolio.available < -fees:
                return [f"I3: after {event}, {portfolio.available} are available"]
    return []


def _nothing_sent_against_a_guard(world: World) -> list[str]:
    """I4: no order while a guard says no, the state is HALTED, or the broker is not reconciled."""
    return [f"I4: order {each.order} left although {each.obstacle}" for each in world.sent if each.obstacle is not None]


def _nothing_acknowledged_lost(world: World, events: list[ev.Event]) -> list[str]:
    """I5: whenever it was killed, no acknowledged event is lost, and the chain is whole."""
    written = Counter(ev.encode(each) for each in events)
    told = Counter(ev.encode(each) for each in world.acknowledged)
    lost = told - written
    chain.verify(world.journal)
    return [f"I5: acknowledged, and not in the journal: {each.decode()}" for each in lost]


def _replays_to_the_same(world: World) -> list[str]:
    """I6: replaying the engine's inputs yields the same decisions, byte for byte."""
    for number, life in enumerate(world.lives):
        engine = Engine(life.state, world.scenery.calendar)
        for index, each in enumerate(life.inputs):
            again = getattr(engine, each.name)(*each.arguments, **each.named)
            if [ev.encode(event) for event in again or ()] != each.events:
                return [f"I6: life {number}, input {index} ({each.name}) gives other events when it is replayed"]
    return []


def _alerts_arrive(world: World, events: list[ev.Event]) -> list[str]:
    """I7: an alert reaches every channel at least once, in order, with an id that lets the receiver drop a repeat."""
    told = [letter.alert for letter in outbox.after(world.journal, 0, 10**9)]
    wrong = [
        f"I7: {each} was told under two ids" for each, count in Counter(each.id for each in told).items() if count > 1
    ]
    for kind, name in TOLD.items():
        happened = sum(isinstance(each, kind) for each in events)
        said = sum(each.kind == name for each in told)
        if said != happened:
            wrong.append(f"I7: {kind.__name__} happened {happened} times and was told {said} times")
    for receiver in world.receivers:
        wanted = [each.id for each in told if Manners(receiver.name).wants(each) and not each.approval]
        first = [each for each in dict.fromkeys(receiver.got) if each in set(wanted)]
        if missing := [each for each in wanted if each not in set(receiver.got)]:
            wrong.append(f"I7: {receiver.name} never got {', '.join(missing[:3])} ({len(missing)} in all)")
        elif first != wanted:
            wrong.append(f"I7: {receiver.name} got alerts out of order")
        if made_up := set(receiver.got) - {each.id for each in told}:
            wrong.append(f"I7: {receiver.name} got what nobody said: {sorted(made_up)[:3]}")
    return wrong


def _silence_is_noticed(world: World, events: list[ev.Event]) -> list[str]:
    """I8: a quiet price loop is told apart from a dead one: nothing is called stale where nothing goes wrong."""
    stale = [each for each in events if isinstance(each, ev.FeedStateChanged) and each.state == "stale"]
    if stale and not world.faulty:
        return [f"I8: {each.feed} was called stale in a faultless world: {each.reason}" for each in stale]
    return []


def _new_york_day(at: Instant) -> str:
    return datetime.fromtimestamp(at // SECOND, ZoneInfo("America/New_York")).date().isoformat()


def _folded(events: list[ev.Event]) -> State:
    state = State()
    for event in events:
        apply(state, event)
    return state
