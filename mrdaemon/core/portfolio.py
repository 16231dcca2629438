"""Positions, reserve and lots: the state is a fold over events, and nothing else changes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from mrdaemon.core import books
from mrdaemon.core import events as ev
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import DAY, MINUTE, Instant
from mrdaemon.core.lots import Lot, sell, split
from mrdaemon.core.money import EXACT, NO_DOLLARS, NO_SHARES, Dollars, Price, Shares
from mrdaemon.core.policy import Side, TradingState
from mrdaemon.core.sharing import share_rules
from mrdaemon.core.state import (
    Account,
    Approval,
    ChannelStanding,
    FeedStanding,
    Order,
    Pending,
    Portfolio,
    Position,
    Reload,
    State,
    Wait,
)

FOLD_VERSION: Final = 5
"""Counts changes of what the fold derives: a snapshot of another version is folded anew from the events."""
REMEMBERED: Final = 30 * DAY
"""How long a finished order is kept in memory, for an update that comes late. The journal keeps it for ever."""
FAR: Final = 5
"""A target that moves by more than a fifth is looked at like a new one."""


def apply(state: State, event: ev.Event) -> None:
    """Fold one event into the state."""
    state.at = max(state.at, event.at)
    if (fold := _FOLDS.get(type(event))) is not None:
        fold(state, event)


_E = TypeVar("_E", bound=ev.Event)
_FOLDS: Final[dict[type[ev.Event], Callable[[State, Any], None]]] = {}


def _folds(kind: type[_E]) -> Callable[[Callable[[State, _E], None]], Callable[[State, _E], None]]:
    def register(fold: Callable[[State, _E], None]) -> Callable[[State, _E], None]:
        _FOLDS[kind] = fold
        return fold

    return register


@_folds(ev.DaemonStarted)
def _started(state: State, event: ev.DaemonStarted) -> None:
    state.nonce, state.started = event.nonce, event.at
    state.feeds, state.reload = {}, None
    for account in state.accounts.values():
        account.ready, account.lost, account.lost_at = False, None, None


@_folds(ev.DaemonStopped)
def _stopped(state: State, event: ev.DaemonStopped) -> None:
    for name, price in event.prices.items():
        state.symbol(name).reference = price


@_folds(ev.FeedEnded)
def _feed_ended(state: State, _: ev.FeedEnded) -> None:
    state.recording_read = True


@_folds(ev.FeedStateChanged)
def _feed_state_changed(state: State, event: ev.FeedStateChanged) -> None:
    state.feeds[event.feed] = FeedStanding(event.state, event.at, event.reason)


@_folds(ev.ChannelStateChanged)
def _channel_state_changed(state: State, event: ev.ChannelStateChanged) -> None:
    state.channels[event.channel] = ChannelStanding(event.state, event.at, event.reason)


@_folds(ev.FeedOpened)
def _feed_opened(state: State, event: ev.FeedOpened) -> None:
    state.recording_read = state.recording_read and state.recording == event.fingerprint
    state.recording = event.fingerprint


@_folds(ev.PrintsConfigured)
def _prints_configured(state: State, event: ev.PrintsConfigured) -> None:
    state.prints = event.rules


@_folds(ev.AccountConfigured)
def _account_configured(state: State, event: ev.AccountConfigured) -> None:
    known = state.accounts.get(event.account)
    if known is None:
        state.accounts[event.account] = Account(event.account, event.rules)
    else:
        if known.rules.broker != event.rules.broker:
            known.disputed = None  # It was with the other one's clock.
        known.rules = event.rules


@_folds(ev.PortfolioConfigured)
def _portfolio_configured(state: State, event: ev.PortfolioConfigured) -> None:
    known = state.portfolios.get(event.portfolio)
    if known is None:
        state.portfolios[event.portfolio] = Portfolio(event.portfolio, event.rules)
    else:
        known.rules = event.rules


@_folds(ev.PositionConfigured)
def _position_configured(state: State, event: ev.PositionConfigured) -> None:
    key, rules = f"{event.portfolio}/{event.symbol}", share_rules(event.rules)
    known = state.positions.get(key)
    if known is None:
        target = rules.target
        state.positions[key] = Position(event.portfolio, event.symbol, rules, target, first_target=target)
        state.symbol(event.symbol).join(event.at)
        return
    if known.retired:
        state.symbol(event.symbol).join(event.at)
    kept = known.waits if known.rules.mode is rules.mode else {}
    known.waits = {side: wait for side, wait in kept.items() if wait.signalled is not None}
    known.pending = None
    known.armed = known.armed and not known.retired
    known.retired = False
    known.rules = rules
    if event.retarget:
        _retarget(known, rules.target)


def _retarget(position: Position, target: Dollars) -> None:
    if abs(target - position.target) * FAR > position.target:
        position.armed = False
    position.target = target
    position.waits = {}
    position.pending = None


@_folds(ev.TargetChanged)
def _target_changed(state: State, event: ev.TargetChanged) -> None:
    _retarget(state.position(event), event.target)


@_folds(ev.PositionOpened)
def _position_opened(state: State, event: ev.PositionOpened) -> None:
    position = state.position(event)
    position.opened, position.since = True, event.at
    position.shares = position.opening = event.shares
    position.lots = [Lot(event.shares, event.cost, event.at)] if event.shares else []


@_folds(ev.PositionRetired)
def _position_retired(state: State, event: ev.PositionRetired) -> None:
    position = state.position(event)
    if not position.retired:
        state.symbol(event.symbol).leave()
    position.retired = True
    position.waits = {}
    position.pending = None
    position.approval = None


@_folds(ev.AssetKnown)
def _asset_known(state: State, event: ev.AssetKnown) -> None:
    state.accounts[event.account].assets[event.asset.symbol] = event.asset


@_folds(ev.ConfigurationReloaded)
def _configuration_reloaded(state: State, event: ev.ConfigurationReloaded) -> None:
    state.reload = Reload(event.at, event.by)
    for channel in event.channels_gone:
        state.channels.pop(channel, None)
    for feed in event.feeds_gone:
        state.feeds.pop(feed, None)


@_folds(ev.ConfigurationRefused)
def _configuration_refused(state: State, event: ev.ConfigurationRefused) -> None:
    state.reload = Reload(event.at, event.by, event.reasons)


@_folds(ev.PrintRefused)
def _print_refused(state: State, event: ev.PrintRefused) -> None:
    state.symbol(event.symbol).refused[event.rule] = event.day


@_folds(ev.PriceAccepted)
def _price_accepted(state: State, event: ev.PriceAccepted) -> None:
    state.symbol(event.symbol).reference = event.price


@_folds(ev.PriceStale)
def _price_stale(state: State, event: ev.PriceStale) -> None:
    state.symbol(event.symbol).stale = event.since


@_folds(ev.PriceFresh)
def _price_fresh(state: State, event: ev.PriceFresh) -> None:
    state.symbol(event.symbol).stale = None


@_folds(ev.SymbolFrozen)
def _symbol_frozen(state: State, event: ev.SymbolFrozen) -> None:
    state.symbol(event.symbol).frozen = event.reason
    for position in state.positions.values():
        if position.symbol == event.symbol:
            position.pending = None


@_folds(ev.SymbolThawed)
def _symbol_thawed(state: State, event: ev.SymbolThawed) -> None:
    symbol = state.symbol(event.symbol)
    symbol.frozen = None
    symbol.reference = None


@_folds(ev.TradingHalted)
def _trading_halted(state: State, event: ev.TradingHalted) -> None:
    state.symbol(event.symbol).halted = event.reason


@_folds(ev.TradingResumed)
def _trading_resumed(state: State, event: ev.TradingResumed) -> None:
    state.symbol(event.symbol).halted = None


@_folds(ev.PositionArmed)
def _position_armed(state: State, event: ev.PositionArmed) -> None:
    position = state.position(event)
    position.armed = True
    position.suspect = event.suspect
    if position.first_price is None:
        position.first_price = event.price


@_folds(ev.SignalPending)
def _signal_pending(state: State, event: ev.SignalPending) -> None:
    state.position(event).pending = Pending(event.side, event.agreed)


@_folds(ev.SignalDropped)
def _signal_dropped(state: State, event: ev.SignalDropped) -> None:
    position = state.position(event)
    position.pending = None
    if not event.cause:
        position.suspect = False


@_folds(ev.SignalRaised)
def _signal_raised(state: State, event: ev.SignalRaised) -> None:
    position = state.position(event)
    position.pending = None
    position.number = event.number
    position.signalled_at = event.at
    state.signals += 1
    position.waits[event.side] = Wait("signalled", signalled=event.value)
    state.symbol(event.symbol).reference = event.price


@_folds(ev.SignalHeld)
def _signal_held(state: State, event: ev.SignalHeld) -> None:
    position = state.position(event)
    position.pending = None
    position.waits[event.side] = Wait(event.guard, event.until)
    state.held += 1


@_folds(ev.SideRearmed)
def _side_rearmed(state: State, event: ev.SideRearmed) -> None:
    position = state.position(event)
    position.waits.pop(event.side, None)
    if event.inside:
        position.suspect = False


@_folds(ev.ApprovalRequested)
def _approval_requested(state: State, event: ev.ApprovalRequested) -> None:
    state.position(event).approval = Approval(event.number, event.side, event.amount, event.expires)


@_folds(ev.ApprovalGranted)
def _approval_granted(state: State, event: ev.ApprovalGranted) -> None:
    position = state.position(event)
    position.approval = None
    position.suspect = False


@_folds(ev.ApprovalClosed)
def _approval_closed(state: State, event: ev.ApprovalClosed) -> None:
    state.position(event).approval = None


@_folds(ev.OrderIntended)
def _order_intended(state: State, event: ev.OrderIntended) -> None:
    state.orders[event.order] = Order(event, reserved=event.reserved)
    state.position(event).order = event.order
    portfolio = state.portfolios[event.portfolio]
    portfolio.reserved = Dollars(portfolio.reserved + event.reserved)
    if portfolio.day < event.day:
        portfolio.day, portfolio.orders, portfolio.notional = event.day, 0, NO_DOLLARS
    portfolio.orders += 1
    portfolio.notional = Dollars(portfolio.notional + event.worth)
    account = state.accounts[event.account]
    minute = event.at // MINUTE
    account.orders_in_minute = account.orders_in_minute + 1 if account.minute == minute else 1
    account.minute = minute
    if account.day < event.day:
        account.day, account.orders, account.notional = event.day, 0, NO_DOLLARS
    account.orders += 1
    account.notional = Dollars(account.notional + event.worth)


@_folds(ev.OrderAccepted)
def _order_accepted(state: State, event: ev.OrderAccepted) -> None:
    order = state.orders[event.order]
    order.status = OrderStatus.ACCEPTED
    order.broker_order = event.broker_order
    order.ambiguous = False
    state.accounts[order.intent.account].rejects = 0


@_folds(ev.OrderUnmatched)
def _order_unmatched(state: State, event: ev.OrderUnmatched) -> None:
    state.unmatched[event.order] = event.reason


@_folds(ev.OrderAmbiguous)
def _order_ambiguous(state: State, event: ev.OrderAmbiguous) -> None:
    state.orders[event.order].ambiguous = True


@_folds(ev.CancelRequested)
def _cancel_requested(state: State, event: ev.CancelRequested) -> None:
    state.orders[event.order].canceling = True


@_folds(ev.OrderFilled)
def _order_filled(state: State, event: ev.OrderFilled) -> None:
    order, position = state.orders[event.order], state.position(event)
    portfolio = state.portfolios[event.portfolio]
    order.filled, order.average, order.cash = event.filled, event.average, event.cash
    position.suspect = False
    if event.side is Side.ACCUMULATE:
        used = min(order.reserved, max(event.amount, NO_DOLLARS))
        order.reserved = Dollars(order.reserved - used)
        portfolio.reserved = Dollars(portfolio.reserved - used)
        books.bought(position, portfolio, event.shares, event.amount, event.at)
        books.drew(state, position, event.amount)
    else:
        books.sold(position, portfolio, event.shares, event.amount)
        books.flows(state, event.amount)


@_folds(ev.FeeCharged)
def _fee_charged(state: State, event: ev.FeeCharged) -> None:
    portfolio = state.portfolios[event.portfolio]
    state.orders[event.order].fees = event.fees
    portfolio.fees = Dollars(portfolio.fees + event.amount)
    books.move_reserve(portfolio, Dollars(-event.amount))
    books.flows(state, Dollars(-event.amount))


@_folds(ev.OrderEnded)
def _order_ended(state: State, event: ev.OrderEnded) -> None:
    order, position = state.orders[event.order], state.position(event)
    portfolio, account = state.portfolios[event.portfolio], state.accounts[order.intent.account]
    portfolio.reserved = Dollars(portfolio.reserved - order.reserved)
    order.reserved = NO_DOLLARS
    order.status = OrderStatus(event.status)
    order.ended, order.ambiguous = event.at, False
    account.rejects = account.rejects + 1 if order.status is OrderStatus.REJECTED else 0
    if position.order == event.order:
        position.order = None
        position.waits.pop(order.intent.side, None)
    if order.filled:
        if order.intent.side is Side.ACCUMULATE:
            position.buys += 1
        else:
            position.sells += 1
    _forget_old_orders(state, event.at)


def _forget_old_orders(state: State, now: Instant) -> None:
    old = []
    for name, order in state.orders.items():
        if order.ended is not None:
            if now - order.ended <= REMEMBERED:
                break
            old.append(name)
    for name in old:
        del state.orders[name]


@_folds(ev.ReserveDeposited)
def _deposited(state: State, event: ev.ReserveDeposited) -> None:
    portfolio = state.portfolios[event.portfolio]
    portfolio.opened = True
    portfolio.deposits = Dollars(portfolio.deposits + event.amount)
    if portfolio.lowest is None:
        portfolio.lowest = event.amount
    books.move_reserve(portfolio, event.amount)
    books.claim(state, portfolio, event.amount)


@_folds(ev.ReserveWithdrawn)
def _withdrawn(state: State, event: ev.ReserveWithdrawn) -> None:
    portfolio = state.portfolios[event.portfolio]
    portfolio.deposits = Dollars(portfolio.deposits - event.amount)
    books.move_reserve(portfolio, Dollars(-event.amount))
    books.claim(state, portfolio, Dollars(-event.amount))


@_folds(ev.FillReported)
def _fill_reported(state: State, event: ev.FillReported) -> None:
    position, portfolio = state.position(event), state.portfolios[event.portfolio]
    position.waits = {}
    position.pending = None
    position.suspect = False
    if event.side is Side.ACCUMULATE:
        books.bought(position, portfolio, event.shares, event.amount, event.at)
        books.drew(state, position, event.amount)
        position.buys += 1
        position.by_hand = Shares(position.by_hand + event.shares)
        position.paid_by_hand = Dollars(position.paid_by_hand + event.amount)
    else:
        books.sold(position, portfolio, event.shares, event.amount)
        books.flows(state, event.amount)
        position.sells += 1
        position.by_hand = Shares(position.by_hand - event.shares)
        position.paid_by_hand = Dollars(position.paid_by_hand - event.amount)


@_folds(ev.SharesAdopted)
def _shares_adopted(state: State, event: ev.SharesAdopted) -> None:
    position = state.position(event)
    more = Shares(event.shares - position.shares)
    if more > 0:
        position.lots = [*position.lots, Lot(more, event.cost, event.at)]
    else:
        position.lots, _ = sell(position.lots, Shares(-more), NO_DOLLARS)
    position.shares = event.shares
    position.bought_since = NO_SHARES
    if not position.opened:
        position.opened, position.since, position.opening = True, event.at, event.shares


@_folds(ev.DividendPaid)
def _dividend_paid(state: State, event: ev.DividendPaid) -> None:
    portfolio = state.portfolios[event.portfolio]
    account = _booked(state, portfolio, event)
    portfolio.dividends = Dollars(portfolio.dividends + event.amount)
    books.move_reserve(portfolio, event.amount)
    if account.spare is not None:  # The cash may have come before it was last compared, or since.
        account.spare = Dollars(max(NO_DOLLARS, account.spare - max(NO_DOLLARS, event.amount)))


@_folds(ev.FeeBooked)
def _fee_booked(state: State, event: ev.FeeBooked) -> None:
    portfolio = state.portfolios[event.portfolio]
    _booked(state, portfolio, event)
    portfolio.fees = Dollars(portfolio.fees + event.amount)
    books.move_reserve(portfolio, Dollars(-event.amount))
    books.flows(state, Dollars(-event.amount))


@_folds(ev.SplitApplied)
def _split_applied(state: State, event: ev.SplitApplied) -> None:
    position = state.position(event)
    _booked(state, state.portfolios[event.portfolio], event)
    position.lots = split(position.lots, event.before, event.shares)
    position.shares = event.shares
    position.bought_since = books.in_new_shares(position.bought_since, event)
    position.opening = books.in_new_shares(position.opening, event)
    if position.first_price is not None:
        position.first_price = Price(EXACT.divide(EXACT.multiply(position.first_price, event.old_rate), event.new_rate))
    position.pending = None
    position.split_on = event.date
    if event.complete:
        state.symbol(event.symbol).reference = event.price


def _booked(state: State, portfolio: Portfolio, event: ev.DividendPaid | ev.FeeBooked | ev.SplitApplied) -> Account:
    account = state.accounts[portfolio.rules.account]
    account.booked[event.activity] = event.date
    account.activity_cursor = max(account.activity_cursor, event.date)
    return account


@_folds(ev.AccountReconciled)
def _account_reconciled(state: State, event: ev.AccountReconciled) -> None:
    account = state.accounts[event.account]
    account.ready, account.reconciled = True, event.at
    account.lost = account.lost_at = None
    account.covered, account.cash = event.covered, event.cash
    reserves = (each.reserve for each in state.portfolios.values() if each.rules.account == event.account)
    account.spare = Dollars(max(NO_DOLLARS, event.cash - sum(reserves)))


@_folds(ev.AccountLost)
def _account_lost(state: State, event: ev.AccountLost) -> None:
    account = state.accounts[event.account]
    account.ready, account.lost = False, event.reason
    account.lost_at = account.lost_at or event.at


@_folds(ev.SessionsDisputed)
def _sessions_disputed(state: State, event: ev.SessionsDisputed) -> None:
    account = state.accounts[event.account]
    account.disputed, account.disputed_hours = event.reason, event.hours


@_folds(ev.SessionsAgreed)
def _sessions_agreed(state: State, event: ev.SessionsAgreed) -> None:
    account = state.accounts[event.account]
    account.disputed, account.disputed_hours = None, False


@_folds(ev.PositionHalted)
def _position_halted(state: State, event: ev.PositionHalted) -> None:
    state.position(event).halted = event.reason


@_folds(ev.TradingStateChanged)
def _trading_state_changed(state: State, event: ev.TradingStateChanged) -> None:
    if event.portfolio is None:
        state.trading = event.state
    elif event.symbol is None:
        state.portfolios[event.portfolio].state = event.state
    else:
        position = state.positions[f"{event.portfolio}/{event.symbol}"]
        position.state = event.state
        if event.state is TradingState.ACTIVE:
            position.halted = None
    if event.state is TradingState.ACTIVE:
        for account in state.accounts.values():
            account.rejects = 0


@_folds(ev.SignalsPaused)
def _signals_paused(state: State, event: ev.SignalsPaused) -> None:
    if event.symbol is None:
        state.paused = event.paused
    else:
        state.symbol(event.symbol).paused = event.paused
