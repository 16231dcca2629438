"""The engine: a print, an order update, a command or the time goes in; events come out.

Every call is synchronous, returns the events it caused in order, and has already folded them into the state. ``now``
is an argument. The same engine runs live, in replay and in simulation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from heapq import heappop, heappush
from typing import Final, NamedTuple

import msgspec

from mrdaemon.core import acts, commands, configure, follows, orders, signals
from mrdaemon.core import events as ev
from mrdaemon.core.activity import Activity, on_activity
from mrdaemon.core.busts import is_trade, on_execution_busted, on_print_busted
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.explain import Explanation, Prints, explain
from mrdaemon.core.guards import Guard
from mrdaemon.core.instant import NEVER as NO_TIME
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.lifts import lifts
from mrdaemon.core.money import NO_DOLLARS, Dollars, Price, Shares
from mrdaemon.core.policy import Plan, Short, Side, TradingState
from mrdaemon.core.portfolio import apply
from mrdaemon.core.prints import Print, Unfit, price_of, refusal
from mrdaemon.core.sessions import Calendar, open_at
from mrdaemon.core.sizing import minimum_order
from mrdaemon.core.state import Position, State
from mrdaemon.core.triggers import Ladder
from mrdaemon.core.zone import ALWAYS, HIGHEST_PRICE, LOWEST_PRICE, Zone

STALE_CHECK: Final = 10 * SECOND
"""How often prices are looked at for having stopped."""
LAG: Final = Decimal("0.1")
"""The part of a jump that the recorded price may lag behind the last accepted one: the error of the first measure after
a restart or a closed session."""

ZONES: Final = 16_384
"""Zones that are kept at hand; a further one begins anew, so that memory has a bound."""
_CHANGES_ZONES: Final = (ev.AssetKnown, ev.PortfolioConfigured, ev.PositionConfigured, ev.TargetChanged)
"""Rare events, after which the zones are worked out anew, each when it is next asked for."""


class Watch:
    """What the hot path knows of a symbol: between ``low`` and ``high`` a print concerns nobody."""

    __slots__ = ("high", "keys", "ladder", "last", "low", "quoted", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.low = LOWEST_PRICE
        self.high = HIGHEST_PRICE
        self.last: Print | None = None
        """The newest print that was not refused."""
        self.quoted: Print | None = None
        """The newest that came with a quote."""
        self.ladder = Ladder()
        self.keys: set[str] = set()
        """The positions in it."""


class Seen(NamedTuple):
    """A symbol's newest price, and when it was seen; None for one that is only remembered."""

    price: Price | None
    at: Instant | None


class Engine:
    """The method at work on a state."""

    def __init__(self, state: State, calendar: Calendar) -> None:
        self.state = state
        self._calendar = calendar
        self._watches: dict[str, Watch] = {}
        self._zones: dict[str, Zone] = {}
        self._held: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        """By guard and portfolio, the positions that it may hold."""
        self._timers: list[tuple[Instant, str]] = []
        self._timer: dict[str, Instant] = {}
        self._stale_check = Instant(0)
        self._touched: set[str] = set(state.positions)
        self._touched_symbols: set[str] = set()
        self._out: list[ev.Event] = []
        self._settle()

    # What goes in

    def prints(self, batch: Sequence[Print], now: Instant) -> list[ev.Event]:
        """Take prints in the order they arrived, and give the events that they cause."""
        watches = self._watches
        for seen in batch:
            try:
                watch = watches[seen[0]]
            except KeyError:
                self._unknown(seen, now)
                continue
            if watch.low < seen[1] < watch.high:
                watch.last = seen
                if seen[3] is not None:
                    watch.quoted = seen
            else:
                self._look(watch, seen, now)
        return self._flush() if self._out else []

    def observe(self, batch: Iterable[Print]) -> None:
        """Remember prints that were decided before, without deciding again: how a restart warms up."""
        for seen in batch:
            watch = self._watches.get(seen[0])
            if watch is not None and refusal(seen, watch.last, watch.quoted, self.state.prints, seen[2]) is None:
                watch.last = seen
                if seen[3] is not None:
                    watch.quoted = seen

    def configure(self, plan: Plan, now: Instant) -> list[ev.Event]:
        """Take a configuration.

        Raises:
            PlanError: it does not fit what the journal knows.
        """
        return self.record(list(configure.differences(self.state, plan, now)))

    def record(self, facts: Iterable[ev.Event]) -> list[ev.Event]:
        """Take facts that the shell observed: the daemon's life, assets, reconciliation."""
        self._run(facts)
        return self._flush()

    def order_update(self, account: str, report: orders.OrderReport, now: Instant) -> list[ev.Event]:
        """Take a broker's report of an order; a repeat changes nothing."""
        return self.record(list(orders.on_report(self.state, account, report, now)))

    def order_ended(self, order: str, status: OrderStatus, reason: str, now: Instant) -> list[ev.Event]:
        """End an order that the broker refused for good, that it has never seen, or that was never sent."""
        return self.record(list(orders.ended(self.state, order, status, reason, now)))

    def order_ambiguous(self, order: str, reason: str, now: Instant) -> list[ev.Event]:
        """Take it that nobody knows whether the broker has the order."""
        known = self.state.orders[order]
        if known.ended is not None or known.ambiguous:
            return []
        return self.record([ev.OrderAmbiguous(at=now, **known.about(), reason=reason)])

    def command(self, command: commands.Command, now: Instant) -> list[ev.Event]:
        """Take a person's command."""
        if isinstance(command, commands.Approve):
            look = self._last_look(command, now)
            return self.record(signals.approve(look, self.state, command, now))
        return self.record(acts.on_command(self.state, command, now))

    def activity(self, account: str, booked: Activity, holdings: Mapping[str, Shares], now: Instant) -> list[ev.Event]:
        """Take what a broker booked of its own accord, with its count of shares; a repeat changes nothing."""
        return self.record(list(on_activity(self.state, account, booked, holdings, now)))

    def bust(self, symbol: str, trade: int, corrected: Print | None, now: Instant) -> list[ev.Event]:
        """Take it that the exchange took a trade back, or corrected it: it is not the symbol's last print any more."""
        watch = self._watches.get(symbol)
        if watch is None:
            return []
        last = watch.last
        pending = any(self.state.positions[key].pending is not None for key in watch.keys)
        if not pending and not is_trade(last, trade) and not is_trade(watch.quoted, trade):
            return []
        right = None if corrected is None else self._if_eligible(watch, corrected)
        watch.last = right if is_trade(last, trade) else last
        watch.quoted = None if is_trade(watch.quoted, trade) else watch.quoted
        price = None if last is None else price_of(last)
        fact = ev.PrintBusted(
            at=now,
            symbol=symbol,
            trade=trade,
            price=price if is_trade(last, trade) else None,
            corrected=None if corrected is None else price_of(corrected),
        )
        return self.record(list(on_print_busted(self.state, fact, price, now)))

    def execution_busted(self, order: str, reason: str, now: Instant) -> list[ev.Event]:
        """Take it that an execution of ours was taken back or corrected: a person must look at the position."""
        return self.record(list(on_execution_busted(self.state, order, reason, now)))

    def _if_eligible(self, watch: Watch, seen: Print) -> Print | None:
        """Give a print if it counted when it happened."""
        fit = refusal(seen, None, watch.quoted, self.state.prints, seen[2]) is None
        return seen if fit else None

    def exchange_halt(self, symbol: str, reason: str | None, now: Instant) -> list[ev.Event]:
        """Take the exchange's word that a symbol is halted, or (no reason) that it trades again."""
        if symbol not in self.state.symbols or (self.state.symbols[symbol].halted is None) is (reason is None):
            return []
        if reason is None:
            return self.record([ev.TradingResumed(at=now, symbol=symbol)])
        return self.record([ev.TradingHalted(at=now, symbol=symbol, reason=reason)])

    @property
    def next_wake(self) -> Instant:
        """When ``tick`` next has something to do; it may be called at any time."""
        first = self._timers[0][0] if self._timers else NO_TIME
        return min(first, self._stale_check)

    def tick(self, now: Instant) -> list[ev.Event]:
        """Let time pass: holds end, requests expire, orders outlive their time, prices go stale."""
        while self._timers and self._timers[0][0] <= now:
            due, key = heappop(self._timers)
            if self._timer.get(key) != due:
                continue
            del self._timer[key]
            self._run(self._time_passes(self.state.positions[key], now))
            self._touched.add(key)
        if now >= self._stale_check:
            self._find_stale(now)
        return self._flush()

    # What a person or the shell may ask

    def is_open_for(self, intent: ev.OrderIntended, now: Instant) -> bool:
        """Tell whether the market is open for an order: one at market wants its regular session."""
        sessions = self._calendar.sessions(intent.symbol)
        return sessions.at(now) is not None and (intent.extended or sessions.regular(now))

    def last(self, symbol: str) -> Print | None:
        """Give the newest print of a symbol that was not refused."""
        watch = self._watches.get(symbol)
        return None if watch is None else watch.last

    def quoted(self, symbol: str) -> Print | None:
        """Give the newest print of a symbol that came with a quote."""
        watch = self._watches.get(symbol)
        return None if watch is None else watch.quoted

    def seen(self, symbol: str) -> Seen:
        """Give a symbol's newest price, and when it was seen; without a print, the price that the journal has."""
        last, known = self.last(symbol), self.state.symbols.get(symbol)
        if last is not None:
            return Seen(price_of(last), last[2])
        return Seen(None if known is None else known.reference, None)

    def explain(self, position: Position, now: Instant) -> Explanation:
        """Explain why a position does or does not trade."""
        symbol = position.symbol
        look = Prints(self.last(symbol), self.quoted(symbol))
        return explain(self.state, position, self.zone(position), look, self._calendar.sessions(symbol), now)

    def accepted_prices(self) -> dict[str, Price]:
        """Give the last accepted price of every symbol that has one."""
        prices = {symbol: self._accepted(watch) for symbol, watch in self._watches.items()}
        return {symbol: price for symbol, price in prices.items() if price is not None}

    def zone(self, position: Position) -> Zone:
        """Give a position's zone at the target that is in force."""
        zone = self._zones.get(position.key)
        if zone is None:
            least = self.state.asset_of(position).min_notional
            zone = Zone.of(msgspec.structs.replace(position.rules, target=position.target), least)
            if len(self._zones) >= ZONES:
                self._zones.clear()
            self._zones[position.key] = zone
        return zone

    # A print that may concern somebody

    def _unknown(self, seen: Print, now: Instant) -> None:
        known = self.state.symbols.get(seen[0])
        if known is None or Unfit.UNKNOWN not in known.refused:
            self._refuse(seen, Unfit.UNKNOWN, f"no position is configured for {seen[0]!r}", now)

    def _refuse(self, seen: Print, rule: Unfit, reason: str, now: Instant) -> None:
        """Tell once a day, for each symbol and rule, that a print does not count."""
        day = self._calendar.sessions(seen[0]).latest(now).day
        known = self.state.symbols.get(seen[0])
        if known is None or known.refused.get(rule) != day:
            self._emit(ev.PrintRefused(at=now, symbol=seen[0], price=repr(seen[1]), rule=rule, reason=reason, day=day))

    def _look(self, watch: Watch, seen: Print, now: Instant) -> None:
        """Look at a print that a position, the jump rule or a stale symbol wants to see."""
        objection = refusal(seen, watch.last, watch.quoted, self.state.prints, now)
        if objection is not None:
            self._refuse(seen, objection.rule, objection.reason, now)
            if objection.rule is Unfit.SPREAD and seen[3] is not None:
                watch.quoted = seen  # it is the quote in force: the next trade is held against it
            return
        price, before = price_of(seen), watch.last
        sessions = self._calendar.sessions(watch.symbol)
        if sessions.at(seen[2]) is not None and sessions.at(now) is not None:
            self._accept(watch, seen, price, now)
        for key in list(watch.ladder.crossed(seen[1])):
            self._touched.add(key)
            position = self.state.positions[key]
            look = signals.look_at(self.state, position, self.zone(position), price, sessions, (seen[2], now))
            self._run(signals.consider(look, fresh=seen != before))
        self._touched_symbols.add(watch.symbol)
        self._settle()

    def _accept(self, watch: Watch, seen: Print, price: Price, now: Instant) -> None:
        """Take an eligible print as the symbol's last, unless it jumps: then freeze the symbol."""
        symbol, most = self.state.symbol(watch.symbol), self.state.prints.max_jump
        if symbol.stale is not None:
            self._emit(ev.PriceFresh(at=now, symbol=watch.symbol, price=price))
        before = self._accepted(watch)
        if most is not None and symbol.frozen is None and before is not None and abs(price - before) > most * before:
            why = f"{watch.symbol} moved from {before} to {price} ({(price - before) / before:+.1%}): perhaps a split"
            self._emit(ev.SymbolFrozen(at=now, symbol=watch.symbol, before=before, price=price, reason=why))
        watch.last = seen
        if seen[3] is not None:
            watch.quoted = seen
        if symbol.frozen is None and most is not None and self._drifted(symbol.reference, price):
            self._emit(ev.PriceAccepted(at=now, symbol=watch.symbol, price=price))

    def _accepted(self, watch: Watch) -> Price | None:
        """Give the last accepted price: the last print where it counts, else the last one recorded."""
        last, sessions = watch.last, self._calendar.sessions(watch.symbol)
        if last is None or not open_at(sessions, last[2]):
            return self.state.symbol(watch.symbol).reference
        if refusal(last, None, watch.quoted, self.state.prints, last[2]) is not None:
            return self.state.symbol(watch.symbol).reference
        return price_of(last)

    def _drifted(self, reference: Price | None, price: Price) -> bool:
        """Tell whether the recorded price lags too far behind, and so must be recorded anew."""
        most = self.state.prints.max_jump
        return most is not None and (reference is None or abs(price - reference) >= most * LAG * reference)

    def _last_look(self, command: commands.Approve, now: Instant) -> signals.Look | None:
        """Put a position before the rules at its last price, where there is a fresh one."""
        position = self.state.positions.get(f"{command.portfolio}/{command.symbol}")
        last = self.last(command.symbol)
        if position is None or last is None:
            return None
        if refusal(last, None, self.quoted(command.symbol), self.state.prints, now) is not None:
            return None
        sessions = self._calendar.sessions(command.symbol)
        return signals.look_at(self.state, position, self.zone(position), price_of(last), sessions, (last[2], now))

    # Time

    def _time_passes(self, position: Position, now: Instant) -> Iterator[ev.Event]:
        about = position.about()
        approval = position.approval
        if approval is not None and approval.expires <= now:
            yield ev.ApprovalClosed(at=now, **about, number=approval.number, cause="expired")
        for side, wait in list(position.waits.items()):
            if wait.until is not None and wait.until <= now:
                yield ev.SideRearmed(at=now, **about, side=side, cause=f"{wait.guard}: its time is over")
        order = self.state.orders.get(position.order) if position.order is not None else None
        if order is not None and order.intent.expires <= now and not order.canceling:
            why = f"it is still open after {position.rules.max_open} s"
            yield ev.CancelRequested(at=now, **order.about(), reason=why)

    def _find_stale(self, now: Instant) -> None:
        limit = self.state.prints.stale_after
        if limit is None:
            self._stale_check = NO_TIME
            return
        self._stale_check = Instant(now + STALE_CHECK)
        for watch in self._watches.values():
            session, symbol = self._calendar.sessions(watch.symbol).at(now), self.state.symbol(watch.symbol)
            if session is None or symbol.stale is not None or not len(watch.ladder):
                continue
            begun = max(session.opens, self.state.started, symbol.since)
            since = begun if watch.last is None else max(begun, watch.last[2])
            if now - since > limit * SECOND:
                self._emit(ev.PriceStale(at=now, symbol=watch.symbol, since=since))

    # What follows from an event

    def _run(self, facts: Iterable[ev.Event]) -> None:
        for fact in facts:
            self._emit(fact)

    def _emit(self, event: ev.Event) -> None:
        apply(self.state, event)
        self._out.append(event)
        if isinstance(event, _CHANGES_ZONES):
            self._zones.clear()
        if isinstance(event, ev.PositionEvent):
            self._touched.add(f"{event.portfolio}/{event.symbol}")
        elif isinstance(event, ev.PriceAccepted | ev.PriceStale | ev.PriceFresh):
            self._touched_symbols.add(event.symbol)
        elif isinstance(event, ev.SymbolFrozen | ev.SymbolThawed):
            self._touch_symbol(event)
        elif isinstance(event, ev.PrintsConfigured):
            self._stale_check = Instant(0)
            self._touched_symbols.update(self._watches)
        elif isinstance(event, ev.AssetKnown):
            self._touch_positions(event.asset.symbol)
        if isinstance(event, ev.SplitApplied) and event.complete:
            self._forget_prints(event.symbol)
        self._run(list(self._lifted(event)))
        if isinstance(event, ev.OrderEnded):
            self._run(follows.unwanted(self.state, event, self._calendar.sessions(event.symbol)))
        elif isinstance(event, ev.TargetChanged | ev.PositionConfigured | ev.PositionRetired):
            self._run(follows.overtaken(self.state, event))
        elif isinstance(event, ev.TradingStateChanged) and event.state is TradingState.HALTED:
            self._run(follows.halted(self.state, event))

    def _touch_positions(self, symbol: str) -> None:
        if symbol in self._watches:
            self._touched |= self._watches[symbol].keys

    def _touch_symbol(self, event: ev.SymbolFrozen | ev.SymbolThawed) -> None:
        self._touch_positions(event.symbol)
        self._touched_symbols.add(event.symbol)
        if isinstance(event, ev.SymbolThawed) and event.symbol in self._watches:
            self._watches[event.symbol].last = None

    def _forget_prints(self, symbol: str) -> None:
        """Forget the prints of old shares: one of the new is no jump, and not outside of an old quote."""
        self._touched_symbols.add(symbol)
        if (watch := self._watches.get(symbol)) is not None:
            watch.last = watch.quoted = None

    def _lifted(self, event: ev.Event) -> Iterator[ev.Event]:
        """Re-arm the sides that waited for what an event changed."""
        for guard, cause in lifts(event):
            for key in sorted(self._maybe_held(guard, getattr(event, "portfolio", None))):
                position = self.state.positions[key]
                sides = [side for side, wait in position.waits.items() if wait.guard == guard]
                if not sides:
                    self._held[guard][position.portfolio].discard(key)
                elif self._concerns(event, position, guard):
                    for side in sides:
                        yield ev.SideRearmed(at=event.at, **position.about(), side=side, cause=cause)

    def _maybe_held(self, guard: Guard, portfolio: str | None) -> list[str]:
        """Give the positions that a guard may hold: a portfolio's, or all."""
        held = self._held[guard]
        if portfolio is not None:
            return list(held[portfolio])
        return [key for keys in held.values() for key in keys]

    def _concerns(self, event: ev.Event, position: Position, guard: Guard) -> bool:
        book = self.state.portfolios[position.portfolio]
        if guard is Guard.RESERVE:
            return getattr(event, "portfolio", None) == position.portfolio and book.available >= self._least(position)
        if isinstance(event, ev.AssetKnown) and event.asset.symbol != position.symbol:
            return False
        scope = (("portfolio", position.portfolio), ("symbol", position.symbol), ("account", book.rules.account))
        return all(getattr(event, name, None) in {None, ours} for name, ours in scope)

    def _least(self, position: Position) -> Dollars:
        """Give what the reserve must have before an accumulation can be more than refused again."""
        if position.rules.on_short_reserve is Short.PARTIAL:
            return minimum_order(self.state, position)
        zone = self.zone(position)
        return zone.amount(Side.ACCUMULATE, zone.buy_at if position.shares else NO_DOLLARS)

    # Keeping the triggers

    def _flush(self) -> list[ev.Event]:
        self._settle()
        out, self._out = self._out, []
        return out

    def _settle(self) -> None:
        """Bring ladders, timers and the watches of what was touched up to the state."""
        for key in sorted(self._touched):
            position = self.state.positions[key]
            watch = self._watches.get(position.symbol)
            if watch is None:
                watch = self._watches[position.symbol] = Watch(position.symbol)
            watch.keys.add(key)
            if position.retired:
                watch.ladder.remove(key)
            else:
                watch.ladder.place(key, signals.triggers(self.state, position, self.zone(position)))
            self._touched_symbols.add(position.symbol)
            for wait in position.waits.values():
                self._held[wait.guard][position.portfolio].add(key)
            self._set_timer(position)
        self._touched.clear()
        for symbol in self._touched_symbols:
            if symbol in self._watches:
                self._bound(self._watches[symbol])
        self._touched_symbols.clear()

    def _set_timer(self, position: Position) -> None:
        due = [wait.until for wait in position.waits.values() if wait.until is not None]
        if position.approval is not None:
            due.append(position.approval.expires)
        order = self.state.orders.get(position.order) if position.order is not None else None
        if order is not None and not order.canceling:
            due.append(order.intent.expires)
        first = min(due, default=NO_TIME)
        if first == NO_TIME:
            self._timer.pop(position.key, None)
        elif self._timer.get(position.key) != first:
            self._timer[position.key] = first
            heappush(self._timers, (first, position.key))

    def _bound(self, watch: Watch) -> None:
        """Set the pair that the hot path compares with: the innermost triggers, or where to record the price anew."""
        symbol, most = self.state.symbol(watch.symbol), self.state.prints.max_jump
        low, high = watch.ladder.innermost()
        if symbol.stale is not None:
            low, high = ALWAYS
        elif most is not None and symbol.frozen is None:
            if symbol.reference is None:
                low, high = ALWAYS
            else:
                low = max(low, float(symbol.reference * (1 - most * LAG)))
                high = min(high, float(symbol.reference * (1 + most * LAG)))
        watch.low, watch.high = low, high
