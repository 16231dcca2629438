"""How everything stands at one moment, in plain facts: what a daemon serves and what is drawn, in JSON's words.

Money, shares and prices are decimals (strings in JSON), times are RFC 3339 in UTC, ages are seconds, and ratios are
0.01 for one percent. What is not known is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Final

import msgspec

from mrdaemon import __version__
from mrdaemon.core.engine import Seen
from mrdaemon.core.forecast import next_price
from mrdaemon.core.guards import trading_state
from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.core.money import EXACT, Dollars, MoneyError, Price, Shares, show, value
from mrdaemon.core.orders import open_orders
from mrdaemon.core.policy import ChannelState, FeedState, Mode, Side, TradingState
from mrdaemon.core.state import Account, Approval, Order, Portfolio, Position, Reload, State
from mrdaemon.core.zone import Zone


class ApprovalStatus(msgspec.Struct, frozen=True):
    """A request that waits for a person."""

    id: str
    """What ``approve`` and ``reject`` take: portfolio, symbol and number."""
    number: int
    side: Side
    amount: Dollars
    expires: str


class PositionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One position."""

    portfolio: str
    symbol: str
    mode: Mode
    trading: TradingState
    """The strictest of the daemon's, its portfolio's and its own."""
    target: Dollars
    lower: Dollars | None
    upper: Dollars | None
    shares: Shares
    price: Price | None
    age: float | None
    """Seconds since its newest print; null where the price is only remembered."""
    value: Dollars | None
    deviation: Decimal | None
    """How far the value is from the target, as a ratio of it."""
    accumulate_at: Price | None
    trim_at: Price | None
    signals: int
    buys: int
    sells: int
    realized: Dollars
    order: str | None
    order_state: str | None
    waits: dict[Side, str]
    """By side, what keeps it from firing: the guard that held it, or ``signalled``."""
    approval: ApprovalStatus | None
    paused: bool
    stale: bool
    """Whether prices stopped while the session is open: its value is unknown."""
    halted: str | None
    frozen: str | None
    retired: bool
    remarks: tuple[str, ...]
    """What keeps it from trading, in words; empty where nothing does."""

    @property
    def key(self) -> str:
        """Name it: ``portfolio/symbol``."""
        return f"{self.portfolio}/{self.symbol}"


class PortfolioStatus(msgspec.Struct, frozen=True):
    """One portfolio and its reserve."""

    name: str
    account: str
    trading: TradingState
    reserve: Dollars
    reserved: Dollars
    available: Dollars
    floor: Dollars


class AccountStatus(msgspec.Struct, frozen=True):
    """One account, and whether its broker is heard."""

    name: str
    broker: str
    ready: bool
    """Whether it is reconciled, so that orders may leave."""
    covered: bool
    """Whether its cash covers the reserves that rest on it."""
    cash: Dollars | None
    reconciled: str | None
    """When it last was."""
    open_orders: int
    ambiguous: int
    """Open orders of which nobody knows whether the broker has them."""
    disputed: str | None = None
    """Why the broker's clock and the calendar do not agree on when the market is open; no signal until they do."""
    lost: str | None = None
    """Why the broker cannot be heard."""
    lost_since: str | None = None


class StreamStatus(msgspec.Struct, frozen=True):
    """How far a live feed is."""

    name: str
    state: FeedState
    since: str
    reason: str


class ChannelStatus(msgspec.Struct, frozen=True):
    """One way out for alerts."""

    name: str
    state: ChannelState | None
    """Null where it was not tried yet."""
    since: str | None
    reason: str
    waiting: int | None
    """How many alerts wait for it; null where no daemon says so."""


class FeedStatus(msgspec.Struct, frozen=True):
    """Where prices come from."""

    name: str
    is_recording: bool
    delivered: int
    """Prints so far, with those that an earlier run read from the same recording."""
    refused: int
    newest: str | None
    """When the newest print happened."""
    ended: bool


class ReloadStatus(msgspec.Struct, frozen=True):
    """How the daemon last read its configuration anew."""

    at: str
    ok: bool
    """Whether it was taken; else the one of before is in force."""
    by: str
    why: tuple[str, ...]
    """What is wrong with it; empty where it was taken."""


class StuckStatus(msgspec.Struct, frozen=True):
    """A task that makes no progress: while there is one, the watchdog is not fed."""

    task: str
    doing: str
    """What it is at; empty where it does not say."""
    seconds: float
    ended: bool
    """Whether it is no more at all, since so long."""
    reason: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything."""

    state_dir: str
    version: str = __version__
    process: int | None = None
    """The daemon's; null where none runs."""
    live: bool = False
    """Whether the daemon itself says so; else it is as last journaled."""
    at: str
    """As of when, in the daemon's time: the recording's, where it reads one."""
    started: str | None
    trading: TradingState
    paused: bool
    halt_file: bool = False
    stuck: tuple[StuckStatus, ...] = ()
    recording_read: bool
    reload: ReloadStatus | None = None
    """How reading the configuration anew ended last; null where the daemon has not since its start."""
    feed: FeedStatus | None = None
    streams: tuple[StreamStatus, ...] = ()
    channels: tuple[ChannelStatus, ...] = ()
    accounts: tuple[AccountStatus, ...]
    portfolios: tuple[PortfolioStatus, ...]
    positions: tuple[PositionStatus, ...] = ()


LastSeen = Callable[[str], Seen]
"""Gives the newest known price of a symbol."""
ZoneOf = Callable[[Position], Zone | None]
"""Gives a position's zone at the target in force; None where its rules do not make one."""

_encoder: Final = msgspec.json.Encoder(decimal_format="string")
_decoder: Final = msgspec.json.Decoder(Status)


def encode(thing: Status | PositionStatus) -> bytes:
    """Write a status as one JSON object."""
    return _encoder.encode(thing)


def decode(body: bytes) -> Status:
    """Read a whole status.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decoder.decode(body)


def recorded(state: State) -> LastSeen:
    """Give the prices that the journal has: those of the last signals, or of the last clean stop."""

    def last_seen(symbol: str) -> Seen:
        known = state.symbols.get(symbol)
        return Seen(None if known is None else known.reference, None)

    return last_seen


def zone_of(state: State, position: Position) -> Zone | None:
    """Work a position's zone out from the state alone."""
    try:
        least = state.asset_of(position).min_notional
        return Zone.of(msgspec.structs.replace(position.rules, target=position.target), least)
    except MoneyError:
        return None


def journaled(state: State, state_dir: str, process: int | None, *, halt_file: bool = False) -> Status:
    """Give the status that a journal tells."""
    seen = recorded(state)
    found = overview(state, state_dir, state.at)
    positions = positions_of(state, seen, lambda position: zone_of(state, position), state.at)
    streams = () if process is None else found.streams  # Where nothing runs, nothing is connected.
    return msgspec.structs.replace(
        found, process=process, halt_file=halt_file, streams=streams, positions=tuple(positions)
    )


def overview(state: State, state_dir: str, now: Instant) -> Status:
    """Give a status without its positions, which may be many."""
    return Status(
        state_dir=state_dir,
        at=iso(now),
        started=iso(state.started) if state.started else None,
        trading=state.trading,
        paused=state.paused,
        recording_read=state.recording_read,
        reload=None if state.reload is None else _reload(state.reload),
        streams=tuple(
            StreamStatus(name, each.state, iso(each.since), each.reason) for name, each in state.feeds.items()
        ),
        channels=tuple(channel_status(state, name, None) for name in state.channels),
        accounts=tuple(_account(state, each) for each in state.accounts.values()),
        portfolios=tuple(_portfolio(each) for each in state.portfolios.values()),
    )


def _reload(known: Reload) -> ReloadStatus:
    return ReloadStatus(iso(known.at), not known.reasons, known.by, known.reasons)


def _account(state: State, account: Account) -> AccountStatus:
    orders = open_orders(state, account.name)
    return AccountStatus(
        name=account.name,
        broker=account.rules.broker,
        ready=account.ready,
        covered=account.covered,
        cash=account.cash,
        reconciled=None if account.reconciled is None else iso(account.reconciled),
        open_orders=len(orders),
        ambiguous=sum(each.ambiguous for each in orders),
        disputed=account.disputed,
        lost=account.lost,
        lost_since=None if account.lost_at is None else iso(account.lost_at),
    )


def channel_status(state: State, name: str, waiting: int | None) -> ChannelStatus:
    """Give how a channel stands."""
    known = state.channels.get(name)
    if known is None:
        return ChannelStatus(name, None, None, "", waiting)
    return ChannelStatus(name, known.state, iso(known.since), known.reason, waiting)


def _portfolio(portfolio: Portfolio) -> PortfolioStatus:
    return PortfolioStatus(
        name=portfolio.name,
        account=portfolio.rules.account,
        trading=portfolio.state,
        reserve=portfolio.reserve,
        reserved=portfolio.reserved,
        available=portfolio.available,
        floor=portfolio.rules.floor,
    )


def positions_of(state: State, seen: LastSeen, zones: ZoneOf, now: Instant) -> Iterator[PositionStatus]:
    """Give every position's status, one at a time: whoever asks may let others work in between."""
    for position in list(state.positions.values()):
        yield position_status(state, position, seen(position.symbol), zones(position), now)


def position_status(state: State, position: Position, seen: Seen, zone: Zone | None, now: Instant) -> PositionStatus:
    """Give one position's status at a price."""
    worth = None if seen.price is None else value(position.shares, seen.price)
    symbol = state.symbols.get(position.symbol)
    order = None if position.order is None else state.orders.get(position.order)
    buy_at, sell_at = (None if zone is None else next_price(state, position, zone, side) for side in Side)
    return PositionStatus(
        portfolio=position.portfolio,
        symbol=position.symbol,
        mode=position.rules.mode,
        trading=trading_state(state, position),
        target=position.target,
        lower=None if zone is None else zone.lower,
        upper=None if zone is None else zone.upper,
        shares=position.shares,
        price=seen.price,
        age=None if seen.at is None else max(0.0, (now - seen.at) / SECOND),
        value=worth,
        deviation=None if worth is None else _deviation(worth, position.target),
        accumulate_at=buy_at,
        trim_at=sell_at,
        signals=position.number,
        buys=position.buys,
        sells=position.sells,
        realized=position.realized,
        order=position.order,
        order_state=None if order is None else _order_state(order),
        waits={side: wait.guard for side, wait in position.waits.items()},
        approval=None if position.approval is None else _approval(position, position.approval),
        paused=state.paused or (symbol is not None and symbol.paused),
        stale=symbol is not None and symbol.stale is not None,
        halted=position.halted,
        frozen=None if symbol is None else symbol.frozen,
        retired=position.retired,
        remarks=tuple(_remarks(state, position, order)),
    )


def _deviation(worth: Dollars, target: Dollars) -> Decimal:
    return EXACT.divide(EXACT.subtract(worth, target), target).quantize(Decimal("0.0001")) + 0  # no minus before a zero


def _order_state(order: Order) -> str:
    """Say how far an open order is, in a word or two."""
    if order.ambiguous:
        return "ambiguous"
    if order.canceling:
        return "canceling"
    return "partly filled" if order.filled else str(order.status)


def _approval(position: Position, approval: Approval) -> ApprovalStatus:
    return ApprovalStatus(
        id=approval_id(position, approval),
        number=approval.number,
        side=approval.side,
        amount=approval.amount,
        expires=iso(approval.expires),
    )


def approval_id(position: Position, approval: Approval) -> str:
    """Name a request for approval: ``portfolio/symbol/number``."""
    return f"{position.key}/{approval.number}"


def _remarks(state: State, position: Position, order: Order | None) -> Iterable[str]:
    if position.retired:
        yield "left the configuration; it is not watched"
        return
    if position.halted is not None:
        yield f"HALTED: {position.halted}"
    elif position.state is not TradingState.ACTIVE:
        yield f"trading is {position.state}"
    if (dispute := state.account_of(position).dispute(position.symbol)) is not None:
        yield f"signals are held, the clock is in dispute: {dispute}"
    yield from _symbol_remarks(state, position.symbol)
    if position.approval is not None:
        verb = "buy" if position.approval.side is Side.ACCUMULATE else "sale"
        name = approval_id(position, position.approval)
        yield f"approval {name} is awaited for a {verb} of {show(position.approval.amount)}"
    if order is not None:
        yield f"order {position.order} is {'AMBIGUOUS: it is looked up' if order.ambiguous else _order_state(order)}"
    for side, wait in position.waits.items():
        if wait.signalled is None:
            yield f"{'buys' if side is Side.ACCUMULATE else 'sells'} are held: {wait.guard}"


def _symbol_remarks(state: State, name: str) -> Iterable[str]:
    symbol = state.symbols.get(name)
    if symbol is None:
        return
    if symbol.frozen is not None:
        yield f"FROZEN: {symbol.frozen}"
    if symbol.halted is not None:
        yield f"the exchange halted it: {symbol.halted}"
    if symbol.stale is not None:
        yield f"STALE: no price since {iso(symbol.stale)}"
    if symbol.paused:
        yield "signals are paused"
