"""Where orders go: the protocol that every broker follows, and its definite and ambiguous answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import NamedTuple, Protocol, runtime_checkable

from mrdaemon.core.activity import Activity
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import Dollars, Shares
from mrdaemon.core.orders import OrderReport, OrderRequest
from mrdaemon.core.policy import Asset, FeedState
from mrdaemon.core.prints import Print


class BrokerError(Exception):
    """A broker that cannot be used at all; the message says why and what to do."""


class OrderRefusedError(Exception):
    """The broker's definite no: it does not have the order, and will not."""


class DuplicateOrderError(Exception):
    """The broker has an order of that client order id: look it up."""


class NotTakenError(Exception):
    """The broker did not look at the order, for it has too much to do: send the same one later."""

    def __init__(self, message: str, after: float) -> None:
        super().__init__(message)
        self.after = after
        """Seconds to wait before."""


class AmbiguousError(Exception):
    """Nobody knows whether the broker has the order: look it up until the answer is definite."""


class DeniedError(AmbiguousError):
    """The broker does not accept our keys, or the account may not trade: only a person can change that."""


class Holding(NamedTuple):
    """Shares of one symbol at the broker, and what they cost in all where it says."""

    shares: Shares
    cost: Dollars | None


class Standing(NamedTuple):
    """An account as its broker sees it: cash that may be spent, and holdings by symbol."""

    cash: Dollars
    holdings: dict[str, Holding]
    less_orders: bool = False
    """Whether what open orders may take is taken off the cash already."""


class Ear(Protocol):
    """Whom a broker tells what it says without being asked. Every method returns at once."""

    def reported(self, reports: Sequence[OrderReport]) -> None:
        """Take reports of orders. They may repeat, and may come late."""

    def busted(self, order: str, reason: str) -> None:
        """Take it that an execution of an order was taken back or changed."""

    def stands(self, stream: str, state: FeedState, reason: str) -> None:
        """Take how the connection stands over which all this is told."""


class Broker(Protocol):
    """One account at a broker. Every method may raise ``AmbiguousError`` where the answer did not arrive."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait until an order may leave; within, ``submit`` sends it without any further wait."""

    async def submit(self, request: OrderRequest) -> OrderReport:
        """Send an order.

        Raises:
            OrderRefusedError: a definite no, with the broker's reason.
            DuplicateOrderError: it has this order already.
            NotTakenError: it did not look at it.
            AmbiguousError: nobody knows.
        """

    async def cancel(self, order: str) -> OrderReport | None:
        """Ask to cancel an order by its client order id; gives what is known of it afterwards, None if nothing is."""

    async def find(self, order: str) -> OrderReport | None:
        """Look an order up by its client order id; None is the definite answer that it does not exist."""

    async def standing(self) -> Standing:
        """Give cash and holdings."""

    async def assets(self, symbols: Sequence[str]) -> list[Asset]:
        """Give what the broker says of symbols; one it does not know is not tradable."""

    async def listen(self, ear: Ear) -> None:
        """Tell what happens to orders, until the task is cancelled."""

    @property
    def hearing(self) -> int | None:
        """Which connection brings what happens to orders, counted from one; None while there is none."""


@runtime_checkable
class Register(Protocol):
    """A broker that lists its orders: in one answer what looking each one up would take many for."""

    async def taken_since(self, since: Instant) -> list[OrderReport]:
        """Give every order of ours that it took at or after an instant, oldest first. May raise ``AmbiguousError``."""

    async def filled_since(self, since: Instant) -> Mapping[str, Decimal]:
        """Give the cumulative shares of orders that filled after an instant, by the broker's id for each.

        May raise ``AmbiguousError``. It comes from another book than the orders, and so finds what they do not show.
        """


@runtime_checkable
class Booking(Protocol):
    """A broker that books dividends, fees and splits of its own accord."""

    async def booked(self, symbols: Sequence[str], since: str) -> list[Activity]:
        """Give what it booked from a date on, oldest first; splits of these symbols. May raise ``AmbiguousError``."""


class Hours(NamedTuple):
    """What a broker's clock says."""

    now: Instant
    late: int
    """Nanoseconds that the answer took: the clock may be off by so much without being wrong."""
    open: bool
    next_open: Instant
    next_close: Instant


@runtime_checkable
class Timekeeper(Protocol):
    """A broker with a clock of its own, that knows when its market is open."""

    async def hours(self) -> Hours:
        """Ask for the time. May raise ``AmbiguousError``."""


@runtime_checkable
class Follower(Protocol):
    """A broker that follows the daemon's own prices, as a paper broker must."""

    def follow(self, batch: Sequence[Print]) -> list[OrderReport]:
        """See prints before the engine does; gives what they changed of open orders."""


class ByHand(NamedTuple):
    """What people did past the daemon, in all: cash paid in, and by symbol the shares they bought, less those sold."""

    paid_in: Dollars
    traded: Mapping[str, Holding]
    """With what the shares cost, less what those sold brought."""
    opened: Mapping[str, Holding] = {}
    """By symbol, the shares with which positions began because the configuration says so. They cost nothing here."""


@runtime_checkable
class Bookkeeper(Protocol):
    """A broker that knows no hand but the daemon's, as a paper broker: what people say they did is told to it."""

    def note(self, by_hand: ByHand) -> None:
        """Take over what people did. The figures are cumulative: telling them again changes nothing."""
