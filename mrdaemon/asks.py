"""What may be asked over HTTP, field by field, and which command it makes. Money is a quoted string, never a float."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, TypeVar

import msgspec

from mrdaemon import naming
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
    Withdraw,
)
from mrdaemon.core.money import MoneyError, parse_dollars, parse_price, parse_shares
from mrdaemon.core.policy import Side, TradingState
from mrdaemon.core.state import State
from mrdaemon.status import approval_id

LONGEST: Final = 500
"""Characters of any text: it is kept for ever."""
SIDES: Final = {
    "buy": Side.ACCUMULATE,
    "bought": Side.ACCUMULATE,
    "accumulate": Side.ACCUMULATE,
    "sell": Side.TRIM,
    "sold": Side.TRIM,
    "trim": Side.TRIM,
}
"""How a side may be called."""


_T = TypeVar("_T")


class MalformedError(ValueError):
    """What was asked cannot be read; the message says what was got and what was wanted."""


class UnresolvedError(ValueError):
    """What was asked names nothing, or more than one thing. ``command`` says what was meant, as far as it is known."""

    def __init__(self, command: Command, reason: str) -> None:
        super().__init__(reason)
        self.command = command


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command as it arrives. ``why`` is kept in the journal.

    Each has ``commands``, which makes the commands that it means. It raises ``MalformedError`` where a field cannot be
    read, and ``UnresolvedError`` where it names nothing, or more than one thing.
    """

    meaning: ClassVar[str]
    why: str = ""


class _Scoped(Ask, frozen=True, kw_only=True):
    """Everything, or a portfolio, or a symbol, or both: one position."""

    symbol: str | None = None
    portfolio: str | None = None


class _Stop(_Scoped, frozen=True, kw_only=True):
    to: ClassVar[TradingState]

    def commands(self, state: State, by: str) -> list[Command]:
        """Make them."""
        symbol = _symbol(state, self.symbol)
        return [SetTradingState(by=by, why=self.why, state=self.to, portfolio=self.portfolio, symbol=symbol)]


class HaltAsk(_Stop, frozen=True, kw_only=True):
    """Send no order, cancel those that are open; fills still count. It survives restarts."""

    meaning = "send no order, cancel the open ones"
    to = TradingState.HALTED


class ReduceAsk(_Stop, frozen=True, kw_only=True):
    """Trim only."""

    meaning = "trim only, buy nothing"
    to = TradingState.REDUCING


class ResumeAsk(_Scoped, frozen=True, kw_only=True):
    """Lift a halt, a pause, a freeze. Without a scope the HALT file is removed, too."""

    meaning = "trade again: lift halts, pauses, a freeze"

    def commands(self, state: State, by: str) -> list[Command]:
        """Make them."""
        return [Resume(by=by, why=self.why, portfolio=self.portfolio, symbol=_symbol(state, self.symbol))]


class PauseAsk(Ask, frozen=True, kw_only=True):
    """Raise no new signals, of a symbol or at all; orders live on."""

    meaning = "raise no new signals; orders live on"
    symbol: str | None = None

    def commands(self, state: State, by: str) -> list[Command]:
        """Make them."""
        return [Pause(by=by, why=self.why, paused=True, symbol=_symbol(state, self.symbol))]


class _Answer(Ask, frozen=True, kw_only=True):
    """An answer to a request for approval: its id as status shows it, or the end of it where that is enough."""

    id: str
    answer: ClassVar[type[Approve | Reject]]

    def commands(self, state: State, by: str) -> list[Command]:
        """Make them."""
        open_ones = {
            approval_id(position, position.approval): position
            for position in state.positions.values()
            if position.approval is not None
        }
        found = [each for each in open_ones if each == self.id or each.endswith(f"/{self.id}")]
        if len(found) != 1:
            portfolio, symbol, number = _parts(self.id)
            meant = self.answer(by=by, why=self.why, portfolio=portfolio, symbol=symbol, number=number)
            which = (
                f"{self.id!r} may be any of {', '.join(found)}" if found else f"there is no open request {self.id!r}"
            )
            there = f"; open: {', '.join(open_ones)}" if open_ones else "; none is open"
            raise UnresolvedError(meant, which if found else which + there)
        position, number = open_ones[found[0]], int(found[0].rsplit("/", 1)[1])
        about = position.about()
        return [self.answer(by=by, why=self.why, portfolio=about["portfolio"], symbol=about["symbol"], number=number)]


class ApproveAsk(_Answer, frozen=True, kw_only=True):
    """Let a signal trade that waits for a person."""

    meaning = "let a signal trade that waits for you"
    answer = Approve


class RejectAsk(_Answer, frozen=True, kw_only=True):
    """Let a signal go that waits for a person."""

    meaning = "let a signal go that waits for you"
    answer = Reject


class FillAsk(Ask, frozen=True, kw_only=True):
    """Say what was traded by hand: ``side`` is buy or sell; shares and price are strings."""

    meaning = "say what you traded by hand"
    symbol: str
    side: str
    shares: str
    price: str
    portfolio: str | None = None

    def commands(self, state: State, by: str) -> list[Command]:
        """Make them."""
        side = SIDES.get(self.side.lower())
        if side is None:
            raise MalformedError(_wanted("side", "buy or sell", self.side))
        shares, price = _money("shares", parse_shares, self.shares), _money("price", parse_price, self.price)

        def fill(portfolio: str, symbol: str) -> Command:
            return ReportFill(
                by=by, why=self.why, portfolio=portfolio, symbol=symbol, side=side, shares=shares, price=price
            )

        return [_of_position(state, self.portfolio, self.symbol, fill)]


class _Cash(Ask, frozen=True, kw_only=True):
    amount: str
    portfolio: str | None = None
    moves: ClassVar[type[Deposit | Withdraw]]

    def commands(self, state: State, by: str) -> list[Command]:
        """Make them."""
        amount = _money("amount", parse_dollars, self.amount)
        name = self.portfolio
        if name is None and len(state.portfolios) == 1:
            [name] = state.portfolios
        meant = self.moves(by=by, why=self.why, portfolio=name or "", amount=amount)
        if name is None:
            raise UnresolvedError(meant, f"there are several portfolios, name one: {', '.join(state.portfolios)}")
        return [meant]


class DepositAsk(_Cash, frozen=True, kw_only=True):
    """Put cash of the account at a portfolio's disposal; on paper, pay it in."""

    meaning = "put cash into a reserve"
    moves = Deposit


class WithdrawAsk(_Cash, frozen=True, kw_only=True):
    """Take cash out of a portfolio's reserve; on paper, pay it out."""

    meaning = "take cash out of a reserve"
    moves = Withdraw


class TargetAsk(Ask, frozen=True, kw_only=True):
    """Change a position's target."""

    meaning = "change a position's target"
    symbol: str
    target: str
    portfolio: str | None = None

    def commands(self, state: State, by: str) -> list[Command]:
        """Make them."""
        target = _money("target", parse_dollars, self.target)

        def retarget(portfolio: str, symbol: str) -> Command:
            return SetTarget(by=by, why=self.why, portfolio=portfolio, symbol=symbol, target=target)

        return [_of_position(state, self.portfolio, self.symbol, retarget)]


class ReconcileAsk(Ask, frozen=True, kw_only=True):
    """Compare orders, shares and cash with the broker now: of an account, or of all that have a broker."""

    meaning = "compare with the broker now"
    account: str | None = None

    def commands(self, state: State, by: str) -> list[Command]:
        """Make them."""
        with_broker = [each.name for each in state.accounts.values() if each.rules.broker != "none"]
        named = [self.account] if self.account is not None else with_broker or list(state.accounts)[:1]
        return [Reconcile(by=by, why=self.why, account=name) for name in named]


class ReloadAsk(Ask, frozen=True, kw_only=True):
    """Read the configuration anew, and take all of it or change nothing."""

    meaning = "read the configuration anew"

    def commands(self, state: State, by: str) -> list[Command]:  # noqa: ARG002 - as the others
        """Make none: the configuration is not the method's."""
        return []


AnyAsk = (
    PauseAsk
    | ResumeAsk
    | HaltAsk
    | ReduceAsk
    | ApproveAsk
    | RejectAsk
    | FillAsk
    | DepositAsk
    | WithdrawAsk
    | TargetAsk
    | ReconcileAsk
    | ReloadAsk
)
ASKS: Final[Mapping[str, type[AnyAsk]]] = {
    "pause": PauseAsk,
    "resume": ResumeAsk,
    "halt": HaltAsk,
    "reduce": ReduceAsk,
    "approve": ApproveAsk,
    "reject": RejectAsk,
    "fill": FillAsk,
    "deposit": DepositAsk,
    "withdraw": WithdrawAsk,
    "target": TargetAsk,
    "reconcile": ReconcileAsk,
    "reload": ReloadAsk,
}
"""Every command by its name."""


def read(kind: type[AnyAsk], body: bytes) -> AnyAsk:
    """Read a command's fields.

    Raises:
        MalformedError: it is no JSON object, a field is missing, unknown or of the wrong kind, or a text is not plain.
    """
    try:
        ask = msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        fields = ", ".join(kind.__struct_fields__)
        message = f"wanted a JSON object with {fields}: {error}"
        raise MalformedError(message) from error
    for name in kind.__struct_fields__:
        text = getattr(ask, name)
        if text is not None and (len(text) > LONGEST or not text.isprintable()):
            message = _wanted(name, f"plain text on one line of at most {LONGEST} characters", text[:40])
            raise MalformedError(message)
    return ask


def _wanted(field: str, what: str, got: str) -> str:
    return f"{field}: wanted {what}, got {got!r}"


def _money(field: str, parse: Callable[[str], _T], text: str) -> _T:
    try:
        return parse(text)
    except MoneyError as error:
        message = f"{field}: {error}"
        raise MalformedError(message) from error


def _symbol(state: State, typed: str | None) -> str | None:
    return None if typed is None else naming.symbol(state, typed)


def _of_position(state: State, portfolio: str | None, typed: str, make: Callable[[str, str], Command]) -> Command:
    """Make a command about one position, whose portfolio need not be named where there is one only."""
    name = naming.symbol(state, typed)
    if portfolio is not None:
        return make(portfolio, name)
    held = naming.positions(state, typed, None)
    if len(held) == 1:
        return make(held[0].portfolio, name)
    names = ", ".join(each.portfolio for each in held)
    several = f"{name} is held in several portfolios, name one: {names}"
    raise UnresolvedError(make("", name), several if held else naming.nobody(state, typed, None))


def _parts(name: str) -> tuple[str, str, int]:
    """Split the id of a request as far as it goes."""
    head, _, number = name.rpartition("/")
    portfolio, _, symbol = head.partition("/")
    return portfolio, symbol, int(number) if number.isascii() and number.isdigit() else 0
