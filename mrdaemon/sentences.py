"""Every event in one plain sentence, for a person who did not write this program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

from mrdaemon.core import events as ev
from mrdaemon.core.instant import iso
from mrdaemon.core.money import show, show_shares
from mrdaemon.core.policy import ChannelState, FeedState, Side

_E = TypeVar("_E", bound=ev.Event)
_SENTENCES: Final[dict[type[ev.Event], Callable[[Any], str]]] = {}


def sentence(event: ev.Event) -> str:
    """Say what happened."""
    say = _SENTENCES.get(type(event))
    return say(event) if say is not None else type(event).__name__


def _says(kind: type[_E]) -> Callable[[Callable[[_E], str]], Callable[[_E], str]]:
    def register(say: Callable[[_E], str]) -> Callable[[_E], str]:
        _SENTENCES[kind] = say
        return say

    return register


WAY_BACK: Final = "answers"
"""What the topic over which answers come in is called among the channels; it takes no alerts."""
MICRO: Final = Decimal("0.000001")
"""What an average price is rounded to for a person."""
CENTS: Final = -2
"""The exponent of an amount in cents."""
_COMMANDS: Final[dict[str, Callable[[dict[str, str]], str]]] = {
    "SetTradingState": lambda asked: f"Setting trading{_in(asked)}{_given(' to ', asked, 'state')}",
    "Resume": lambda asked: f"Resuming trading{_in(asked)}",
    "Pause": lambda asked: (
        f"{'Ending the pause of' if asked.get('paused') == 'False' else 'Pausing'} signals"
        f"{_given(' of ', asked, 'symbol')}"
    ),
    "Thaw": lambda asked: f"Thawing{_given(' ', asked, 'symbol')}",
    "Deposit": lambda asked: f"A deposit{_dollars(' of ', asked, 'amount')}{_given(' into ', asked, 'portfolio')}",
    "Withdraw": lambda asked: f"A withdrawal{_dollars(' of ', asked, 'amount')}{_given(' from ', asked, 'portfolio')}",
    "SetTarget": lambda asked: f"A target{_dollars(' of ', asked, 'target')}{_in(asked, ' for ')}",
    "ReportFill": lambda asked: (
        f"A {'sale' if asked.get('side') == Side.TRIM else 'purchase'} by hand{_given(' of ', asked, 'shares')}"
        f"{_given(' ', asked, 'symbol')}{_dollars(' at ', asked, 'price')}{_given(' in ', asked, 'portfolio')}"
    ),
    "Reconcile": lambda asked: f"Reconciling{_given(' ', asked, 'account')}",
    "Approve": lambda asked: f"Approving{_request(asked)}",
    "Reject": lambda asked: f"Rejecting{_request(asked)}",
    "Reload": lambda _: "Reloading",
    "answer": lambda _: "An answer",
}
"""What a person calls a command that was refused, with what it named: in full, or as much of it as was understood."""


def _given(before: str, asked: dict[str, str], name: str) -> str:
    value = asked.get(name)
    return f"{before}{value}" if value else ""


def _in(asked: dict[str, str], before: str = " in ") -> str:
    inside = "/".join(asked[name] for name in ("portfolio", "symbol") if asked.get(name))
    return f"{before}{inside}" if inside else ""


def _request(asked: dict[str, str]) -> str:
    number = asked.get("number", "0")
    return f"{_in(asked, ' ')}{f'/{number}' if number != '0' else ''}"


def _dollars(before: str, asked: dict[str, str], name: str) -> str:
    """Give an amount as money, without rounding it: it may have been refused for its decimals."""
    try:
        amount = Decimal(asked.get(name, ""))
    except InvalidOperation:
        return _given(before, asked, name)
    exponent = amount.as_tuple().exponent
    in_cents = isinstance(exponent, int) and exponent >= CENTS
    return f"{before}{show(amount)}" if in_cents else _given(f"{before}$", asked, name)


def _why(event: Any) -> str:
    return f" ({event.why})" if event.why else ""


def _listed(sentences: Sequence[str]) -> str:
    return "; ".join(each.removesuffix(".") for each in sentences)


def _verb(side: Side) -> str:
    return "Buy" if side is Side.ACCUMULATE else "Sell"


_SENTENCES.update(
    {
        ev.DaemonStarted: lambda e: f"mrdaemon {e.version} started.",
        ev.DaemonStopped: lambda e: f"mrdaemon stopped: {e.reason}.",
        ev.JournalRestored: lambda e: (
            f"The journal was restored by {e.by} from {e.backup}, made at {e.made}: what happened since is not in it."
        ),
        ev.FeedOpened: lambda e: f"Reading {e.feed}{f' on from row {e.cursor}' if e.cursor else ''}.",
        ev.RowRefused: lambda e: f"Row refused: {e.row}.",
        ev.FeedEnded: lambda e: f"The recording ended after {e.delivered:,} prints; {e.refused:,} rows were refused.",
        ev.PrintsConfigured: lambda _: "The rules for prints were set.",
        ev.AccountConfigured: lambda e: f"Account {e.account} was configured: broker {e.rules.broker}.",
        ev.PortfolioConfigured: lambda e: f"Portfolio {e.portfolio} was configured in account {e.rules.account}.",
        ev.ConfigurationReloaded: lambda e: (
            f"{e.file} was read anew by {e.by}{_why(e)}: {_listed(e.changes) or 'nothing changed'}."
        ),
        ev.ConfigurationRefused: lambda e: (
            f"{e.file} was read anew by {e.by}{_why(e)} and refused, nothing was changed: {_listed(e.reasons)}."
        ),
        ev.PositionRetired: lambda e: f"{e.symbol} left portfolio {e.portfolio}; it is no longer watched.",
        ev.TargetChanged: lambda e: (
            f"Target of {e.portfolio}/{e.symbol} changed from {show(e.before)} to {show(e.target)} by {e.by}{_why(e)}."
        ),
        ev.PrintRefused: lambda e: f"{e.symbol} at {e.price} does not count: {e.reason}.",
        ev.PrintBusted: lambda e: (
            f"The exchange took trade {e.trade} of {e.symbol} back."
            if e.corrected is None
            else f"The exchange corrected trade {e.trade} of {e.symbol} to {e.corrected:f}."
        ),
        ev.PriceAccepted: lambda e: f"{e.symbol} at {e.price} is the price that jumps are measured from.",
        ev.PriceStale: lambda e: f"No price of {e.symbol} since {iso(e.since)}: its value is unknown.",
        ev.PriceFresh: lambda e: f"Prices of {e.symbol} arrive again: {e.price}.",
        ev.SymbolFrozen: lambda e: (
            f"Frozen: {e.reason}. A person must look; then, if shares and target are right: mrdaemon resume {e.symbol}."
        ),
        ev.SymbolThawed: lambda e: f"{e.symbol} was thawed by {e.by}{_why(e)}.",
        ev.TradingHalted: lambda e: f"The exchange halted {e.symbol}: {e.reason}.",
        ev.TradingResumed: lambda e: f"{e.symbol} trades again at the exchange.",
        ev.SignalPending: lambda e: f"{e.symbol} at {e.price} reached an edge; further prints must agree.",
        ev.SignalDropped: lambda e: (
            f"What {e.symbol} seemed to do is not confirmed: {e.cause}."
            if e.cause
            else f"{e.symbol} at {e.price} is back inside: one print was not enough."
        ),
        ev.SignalRaised: lambda e: e.reason,
        ev.SideRearmed: lambda e: f"{_verb(e.side)}s of {e.symbol} are armed again: {e.cause}.",
        ev.ApprovalRequested: lambda e: f"Approval {e.number} wanted until {iso(e.expires)}: {e.reason}",
        ev.ApprovalGranted: lambda e: f"Signal {e.number} of {e.symbol} was approved by {e.by}{_why(e)}.",
        ev.ApprovalClosed: lambda e: f"Request {e.number} for {e.symbol} ended: {e.cause}{_why(e)}.",
        ev.OrderAccepted: lambda e: f"The broker has order {e.order} as {e.broker_order}.",
        ev.FeeCharged: lambda e: f"{show(e.amount)} of fees for order {e.order}.",
        ev.OrderEnded: lambda e: f"Order {e.order} ended: {e.status}{f', {e.reason}' if e.reason else ''}.",
        ev.OrderAmbiguous: lambda e: f"Nobody knows whether the broker has order {e.order}: {e.reason}.",
        ev.CancelRequested: lambda e: f"Order {e.order} is to be cancelled: {e.reason}.",
        ev.OrderUnmatched: lambda e: f"The broker reports order {e.order}: {e.reason}.",
        ev.ReserveDeposited: lambda e: f"{show(e.amount)} put into the reserve of {e.portfolio} by {e.by}{_why(e)}.",
        ev.ReserveWithdrawn: lambda e: f"{show(e.amount)} taken from the reserve of {e.portfolio} by {e.by}{_why(e)}.",
        ev.SharesAdopted: lambda e: (
            f"{e.symbol}: {show_shares(e.shares)} shares taken over from the broker ({e.reason})."
        ),
        ev.AccountLost: lambda e: f"The broker of account {e.account} cannot be heard: {e.reason}.",
        ev.SessionsDisputed: lambda e: (
            f"Account {e.account}: when the market is open is in dispute, so signals are held: {e.reason}."
        ),
        ev.SessionsAgreed: lambda e: f"Account {e.account}: the broker's clock and the calendar agree again.",
        ev.PositionHalted: lambda e: (
            f"{e.symbol} is halted: {e.reason}. A person must look; mrdaemon fill {e.symbol} books what differs, "
            f"and mrdaemon resume {e.symbol} --portfolio {e.portfolio} trades it again."
        ),
        ev.BreakerTripped: lambda e: f"Circuit breaker {e.limit} tripped: {e.reason}.",
        ev.ReconciliationRequested: lambda e: (
            f"Account {e.account} is to be compared with its broker, by {e.by}{_why(e)}."
        ),
    }
)


@_says(ev.FeedStateChanged)
def _feed_state_changed(event: ev.FeedStateChanged) -> str:
    because = f": {event.reason}" if event.reason else ""
    if event.state is FeedState.CONNECTING and because:
        return f"Feed {event.feed} has no connection{because}. It is tried again until there is one."
    end = " It is not tried again by itself." if event.state is FeedState.REFUSED else ""
    return f"Feed {event.feed} is {event.state}{because}.{end}"


@_says(ev.ChannelStateChanged)
def _channel_state_changed(event: ev.ChannelStateChanged) -> str:
    because = f": {event.reason}" if event.reason else ""
    if event.channel == WAY_BACK:
        if event.state is ChannelState.UP:
            return "Answers come in over the topic of the answers."
        return (
            f"No answers come in over the topic of the answers{because}. Buttons do nothing until it is back; "
            "mrdaemon approve does."
        )
    match event.state:
        case ChannelState.UP:
            return f"Channel {event.channel} takes alerts."
        case ChannelState.DOWN:
            return f"Channel {event.channel} takes no alerts{because}. They are kept, and sent once it does."
        case _:
            return f"Channel {event.channel} will not take our alerts{because}. They are kept; see to it, then restart."


@_says(ev.CommandRefused)
def _command_refused(event: ev.CommandRefused) -> str:
    name = _COMMANDS.get(event.command)
    what = f"The command {event.command}" if name is None else name(event.asked)
    return f"{what} by {event.by}{_why(event)} was refused: {event.reason}."


@_says(ev.PositionConfigured)
def _position_configured(event: ev.PositionConfigured) -> str:
    rules = event.rules
    zone = rules.below if rules.below == rules.above else f"{rules.below} below and {rules.above} above"
    return f"{event.symbol} was configured: target {show(rules.target)}, zone {zone}, mode {rules.mode}."


@_says(ev.PositionOpened)
def _position_opened(event: ev.PositionOpened) -> str:
    if not event.shares:
        return f"{event.symbol} begins without shares and buys its target at the first price."
    return f"{event.symbol} begins with {show_shares(event.shares)} shares."


@_says(ev.AssetKnown)
def _asset_known(event: ev.AssetKnown) -> str:
    asset = event.asset
    if not asset.tradable:
        return f"The broker of {event.account} does not trade {asset.symbol}{f': {asset.why}' if asset.why else ''}."
    return f"{asset.symbol} trades in {'fractions' if asset.fractionable else 'whole shares'} at {event.account}."


@_says(ev.PositionArmed)
def _position_armed(event: ev.PositionArmed) -> str:
    far = "; that is so far out that a person must approve the first trade" if event.suspect else ""
    return f"{event.symbol} is watched from {event.price}, worth {show(event.value)}{far}."


@_says(ev.SignalHeld)
def _signal_held(event: ev.SignalHeld) -> str:
    what = f"{_verb(event.side)} {show(event.amount)} of {event.symbol} at {event.price}"
    return f"{what} is held: {event.reason}."


@_says(ev.OrderIntended)
def _order_intended(event: ev.OrderIntended) -> str:
    size = (
        show(event.notional) if event.notional is not None else f"{show_shares(event.quantity or event.worth)} shares"
    )
    hours = ", outside of regular hours too" if event.extended else ""
    limit = "at market" if event.limit is None else f"at {event.limit} or better"
    return f"Order {event.order}: {_verb(event.side).lower()} {size} of {event.symbol} {limit}{hours}."


@_says(ev.OrderFilled)
def _order_filled(event: ev.OrderFilled) -> str:
    verb = "Bought" if event.side is Side.ACCUMULATE else "Sold"
    gain = ""
    if event.gain is not None:
        gain = f", a {'loss' if event.gain < 0 else 'gain'} of {show(abs(event.gain))}"
    at = show_shares(event.average.quantize(MICRO) if abs(event.average) >= 1 else event.average)
    return f"{verb} {show_shares(event.shares)} {event.symbol} for {show(event.amount)} at {at}{gain}."


@_says(ev.DividendPaid)
def _dividend_paid(event: ev.DividendPaid) -> str:
    each = "" if event.per_share is None else f", {event.per_share:f} a share"
    if event.amount < 0:
        return f"{show(-event.amount)} of tax on dividends of {event.symbol} were withheld{each}."
    return f"{show(event.amount)} of dividends of {event.symbol} were paid into the reserve{each}."


@_says(ev.FeeBooked)
def _fee_booked(event: ev.FeeBooked) -> str:
    about = f" for {event.symbol}" if event.symbol else ""
    verb = "gave back" if event.amount < 0 else "took"
    return f"The broker {verb} {show(abs(event.amount))} of fees{about} in portfolio {event.portfolio}{_why(event)}."


@_says(ev.SplitApplied)
def _split_applied(event: ev.SplitApplied) -> str:
    rates = f"{show_shares(event.new_rate)} for {show_shares(event.old_rate)}"
    others = "" if event.complete else "; other positions in it have yet to follow"
    counts = f"{show_shares(event.before)} shares are {show_shares(event.shares)} now"
    return f"{event.symbol} was split {rates}: {counts}{others}."


@_says(ev.FillReported)
def _fill_reported(event: ev.FillReported) -> str:
    verb = "bought" if event.side is Side.ACCUMULATE else "sold"
    return f"{event.by} {verb} {show_shares(event.shares)} {event.symbol} at {event.price} by hand{_why(event)}."


@_says(ev.AccountReconciled)
def _account_reconciled(event: ev.AccountReconciled) -> str:
    short = "" if event.covered else "; that does not cover its reserves, so accumulations are held"
    return f"Account {event.account} was compared with its broker; cash {show(event.cash)}{short}."


@_says(ev.TradingStateChanged)
def _trading_state_changed(event: ev.TradingStateChanged) -> str:
    inside = "/".join(each for each in (event.portfolio, event.symbol) if each is not None)
    scope = f"Trading in {inside}" if inside else "Trading"
    return f"{scope} is {event.state}, by {event.by}{_why(event)}."


@_says(ev.SignalsPaused)
def _signals_paused(event: ev.SignalsPaused) -> str:
    scope = "Signals" if event.symbol is None else f"Signals of {event.symbol}"
    return f"{scope} are {'paused' if event.paused else 'on again'}, by {event.by}{_why(event)}."
