"""Where orders go: the protocol that every broker follows, and its definite and ambiguous answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from mrdaemon.core.money import Dollars, Shares
from mrdaemon.core.orders import OrderReport, OrderRequest
from mrdaemon.core.policy import Asset
from mrdaemon.core.prints import Print


class BrokerError(Exception):
    """A broker that cannot be used at all; the message says why and what to do."""


class OrderRefusedError(Exception):
    """The broker's definite no: it does not have the order, and will not."""


class DuplicateOrderError(Exception):
    """The broker has an order of that client order id: look it up."""


class AmbiguousError(Exception):
    """Nobody knows whether the broker has the order: look it up until the answer is definite."""


class Holding(NamedTuple):
    """Shares of one symbol at the broker, and what they cost in all where it says."""

    shares: Shares
    cost: Dollars | None


class Standing(NamedTuple):
    """An account as its broker sees it: cash that may be spent, and holdings by symbol."""

    cash: Dollars
    holdings: dict[str, Holding]


class Broker(Protocol):
    """One account at a broker. Every method may raise ``AmbiguousError`` where the answer did not arrive."""

    async def submit(self, request: OrderRequest) -> OrderReport:
        """Send an order.

        Raises:
            OrderRefusedError: a definite no, with the broker's reason.
            DuplicateOrderError: it has this order already.
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

    async def reports(self) -> list[OrderReport]:
        """Wait for the next reports of orders, oldest first. Reports may repeat, and may come late."""


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


@runtime_checkable
class Bookkeeper(Protocol):
    """A broker that knows no hand but the daemon's, as a paper broker: what people say they did is told to it."""

    def note(self, by_hand: ByHand) -> None:
        """Take over what people did. The figures are cumulative: telling them again changes nothing."""
