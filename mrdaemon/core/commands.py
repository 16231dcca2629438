"""What a person may ask of the running daemon."""

from __future__ import annotations

import msgspec

from mrdaemon.core.money import Dollars, Price, Shares
from mrdaemon.core.policy import Side, TradingState


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person's wish: who, and why."""

    by: str
    why: str = ""


class SetTradingState(Command, frozen=True, kw_only=True):
    """Halt, reduce or resume: everything, a portfolio, a symbol wherever it is held, or one position."""

    state: TradingState
    portfolio: str | None = None
    symbol: str | None = None


class Pause(Command, frozen=True, kw_only=True):
    """Stop or go on raising signals: all of them, or a symbol's."""

    paused: bool
    symbol: str | None = None


class Resume(Command, frozen=True, kw_only=True):
    """Lift what stopped trading in one scope: halts, pauses, a freeze.

    What was stopped inside it by itself stays so: a halted position, when everything is resumed.
    """

    portfolio: str | None = None
    symbol: str | None = None


class Thaw(Command, frozen=True, kw_only=True):
    """Trade a frozen symbol again, from its new price."""

    symbol: str


class Deposit(Command, frozen=True, kw_only=True):
    """Put cash of the account at a portfolio's disposal."""

    portfolio: str
    amount: Dollars


class Withdraw(Command, frozen=True, kw_only=True):
    """Take cash out of a portfolio's reserve."""

    portfolio: str
    amount: Dollars


class SetTarget(Command, frozen=True, kw_only=True):
    """Change a position's target."""

    portfolio: str
    symbol: str
    target: Dollars


class ReportFill(Command, frozen=True, kw_only=True):
    """Say what was traded by hand after an alert."""

    portfolio: str
    symbol: str
    side: Side
    shares: Shares
    price: Price


class Reconcile(Command, frozen=True, kw_only=True):
    """Compare an account with its broker now; the shell does it once this is on the record."""

    account: str


class Approve(Command, frozen=True, kw_only=True):
    """Answer a request for approval with yes."""

    portfolio: str
    symbol: str
    number: int


class Reject(Command, frozen=True, kw_only=True):
    """Answer a request for approval with no."""

    portfolio: str
    symbol: str
    number: int
