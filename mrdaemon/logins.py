"""The logins of a configuration at Alpaca: a client and a rate limit for each, shared by feed and brokers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from mrdaemon import atalpaca
from mrdaemon.alpaca.history import Place
from mrdaemon.alpaca.limiter import Limiter
from mrdaemon.alpaca.rest import Rest, threads
from mrdaemon.brokers.alpaca import AlpacaBroker, Around
from mrdaemon.feeds.alpaca import AlpacaFeed
from mrdaemon.feeds.alpacastream import Market, Surroundings
from mrdaemon.tally import Queue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mrdaemon.alpaca.link import Connect
    from mrdaemon.alpaca.login import Login
    from mrdaemon.brokers import Broker
    from mrdaemon.clock import Clock
    from mrdaemon.core.sessions import Calendar
    from mrdaemon.feeds import Listener
    from mrdaemon.settings import Settings


class Logins:
    """Every login of a configuration, with its client."""

    def __init__(
        self, settings: Settings, clock: Clock, connect: Connect, clients: dict[str, tuple[Login, Rest]]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._connect = connect
        self._clients = clients

    def brokers(self) -> dict[str, Broker]:
        """Give the brokers of accounts at Alpaca."""
        return {
            name: AlpacaBroker(name, self._symbols(name), Around(*self._clients[name], self._connect, self._clock))
            for name, table in self._settings.accounts.items()
            if table.broker == "alpaca"
        }

    def know(self, settings: Settings, brokers: Mapping[str, Broker]) -> None:
        """Let brokers know the symbols that other settings trade with them."""
        self._settings = settings
        for name, broker in brokers.items():
            if isinstance(broker, AlpacaBroker):
                broker.know(self._symbols(name))

    def markets(self, settings: Settings) -> list[Market]:
        """Give the streams that settings need, of the login that the feed has."""
        login, _ = self._clients[atalpaca.keys_of(settings) or ""]
        return markets(settings, login)

    def feed(self, calendar: Calendar, listener: Listener) -> AlpacaFeed:
        """Give the feed, which uses one of the logins."""
        login, rest = self._clients[atalpaca.keys_of(self._settings) or ""]
        around = Surroundings(login, rest, self._connect, calendar, self._clock, listener)
        return AlpacaFeed(markets(self._settings, login), around)

    def queues(self) -> dict[str, Queue]:
        """Give where requests wait for their turn within a login's rate limit."""
        return {f"requests of {name}": Queue(rest.waiting) for name, (_, rest) in self._clients.items()}

    def _symbols(self, account: str) -> list[str]:
        portfolios = self._settings.portfolios.values()
        return [symbol for each in portfolios if each.account == account for symbol in each.positions]


def markets(settings: Settings, login: Login) -> list[Market]:
    """Give the streams that a configuration needs: one for shares, one for pairs."""
    found, stream = [], settings.feed.stream
    if shares := atalpaca.shares(settings):
        test = stream == "test"
        found.append(
            Market(
                name=f"alpaca {stream}",
                address=f"{login.stream}/v2/{stream}",
                **atalpaca.fitted(shares, atalpaca.channels(settings))._asdict(),
                statuses=not test,
                place=None if test else Place("v2", "/stocks", stream),
                always=test,
            )
        )
    if pairs := atalpaca.pairs(settings):
        address = f"{login.stream}/v1beta3/crypto/us"
        place = Place("v1beta3", "/crypto/us")
        found.append(Market("alpaca crypto", address, tuple(pairs), tuple(pairs), statuses=False, place=place))
    return found


@contextlib.asynccontextmanager
async def opened(settings: Settings, clock: Clock) -> AsyncIterator[Logins]:
    """Hold every login's client open."""
    from mrdaemon.alpaca.socket import connect  # noqa: PLC0415 - loads what nobody else needs

    async with contextlib.AsyncExitStack() as stack:
        clients = {}
        for name, table in settings.accounts.items():
            if table.broker == "alpaca" or name == atalpaca.keys_of(settings):
                login = atalpaca.login(table)
                transport = await stack.enter_async_context(threads(login))
                clients[name] = (login, Rest(transport, Limiter(clock), clock))
        yield Logins(settings, clock, connect, clients)
