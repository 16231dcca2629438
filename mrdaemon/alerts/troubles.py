"""What comes and goes by itself, feeds, accounts, prices, channels: which events say so, and what was told of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from mrdaemon.alerts.ailments import (
    ACCOUNT,
    CHANNEL,
    CLOCK,
    COVER,
    FEED,
    LONG,
    LOST,
    PRICES,
    RANKS,
    WORSE,
    WORST,
    Sort,
    say,
)
from mrdaemon.alerts.alert import Letter, Level
from mrdaemon.alerts.crowds import MANY, is_of_many, lacking_in, say_many
from mrdaemon.alerts.saying import Saying, Sayings, at_price
from mrdaemon.alerts.standing import GOOD, UNSTEADY, Standing, Turn
from mrdaemon.core import events as ev
from mrdaemon.core.instant import MINUTE, NEVER, SECOND, Instant
from mrdaemon.core.money import show
from mrdaemon.core.policy import ChannelState, FeedState
from mrdaemon.core.sessions import Calendar, open_at
from mrdaemon.core.state import Account, State

GRACE: Final = 15
"""Seconds that a connection may be away before anybody hears of it; less where ``settle`` is less."""
TOO_LONG: Final = 15 * MINUTE
"""How long a feed or a broker may be lost in an open market before a person must look."""
LASTING: Final = frozenset({FEED, ACCOUNT})
"""Connections: what a start makes anew, and what may last too long."""
GRACED: Final = frozenset({FEED, ACCOUNT, CHANNEL, COVER})
"""What may come back by itself within that time; a deposit is compared with the broker's cash by then."""
FEEDS: Final = {
    FeedState.CONNECTING: LOST,
    FeedState.SUBSCRIBED: GOOD,
    FeedState.LIVE: GOOD,
    FeedState.STALE: WORSE,
    FeedState.REFUSED: WORST,
}
"""How bad each state of a feed is; one that is halfway up says nothing."""
EARLIER: Final = "the first one came before this start"
"""Which price it was that came again, where that is not known any more."""
CHANNELS: Final = {ChannelState.UP: GOOD, ChannelState.DOWN: LOST, ChannelState.REFUSED: WORSE}


class Troubles:
    """Follows everything that comes and goes."""

    def __init__(self, state: State, calendar: Calendar, settle: int, said: Iterable[Letter]) -> None:
        """Begin with what was said, and with what the state has that was not."""
        self._state = state
        self._calendar = calendar
        self._settle = settle
        self._grace = min(GRACE, settle) * SECOND
        self._standings: dict[tuple[Sort, str], Standing] = {}
        self._unsaid: dict[tuple[Sort, str], Standing] = {}
        """Those of which something is still to be told, if it lasts."""
        self._lasting: dict[tuple[Sort, str], Instant] = {}
        """Feeds and accounts that are told as lost, and when that has lasted too long."""
        self._up: set[str] = set()
        """Feeds that were up since the start."""
        self._together: set[str] = set()
        """Symbols of which was told together that their prices stopped: so is their return, or that of most of them."""
        self._back: dict[str, str] = {}
        """Those of them that have prices again, and which; it is not told yet."""
        self._back_due = NEVER
        self._remember(said)
        self._early = list(self._found())

    def _remember(self, said: Iterable[Letter]) -> None:
        letters = list(said)
        newest: dict[tuple[Sort, str], tuple[int, Letter]] = {}
        for letter in letters:
            sort, rank = RANKS.get(letter.alert.kind, (None, GOOD))
            if sort is None or rank == UNSTEADY:
                continue
            key = (sort, letter.alert.subject.removeprefix(sort.prefix))
            if key not in newest or newest[key][1].n < letter.n:
                newest[key] = (rank, letter)
        self._remember_many(letters, newest)
        for key, (rank, letter) in newest.items():
            self._standings[key] = Standing(self._settle, rank, letter.alert.at)
            self._follow(key, self._standings[key], letter.alert.at)

    def _remember_many(self, letters: Iterable[Letter], newest: dict[tuple[Sort, str], tuple[int, Letter]]) -> None:
        """Take what was told last of very many symbols at once, where nothing newer was told of one by itself."""
        many = max((each for each in letters if is_of_many(each.alert)), key=lambda each: each.n, default=None)
        if many is None:
            return
        self._together = set(lacking_in(many.alert))
        for key, (rank, letter) in list(newest.items()):
            if key[0] is PRICES and rank == LOST and letter.n < many.n and key[1] not in self._together:
                newest[key] = (GOOD, many)
        for symbol in self._together:
            if (PRICES, symbol) not in newest or newest[PRICES, symbol][1].n < many.n:
                newest[PRICES, symbol] = (LOST, many)

    def _found(self) -> Sayings:
        """Take what stands in the state: a restart may come before it was told."""
        state = self._state
        turns = dict[str, Turn]()
        for name, symbol in state.symbols.items():
            if symbol.stale is not None:
                self._take(turns, name, LOST, state.at, since=symbol.stale)
            else:
                self._take(turns, name, GOOD, state.at, EARLIER)
        yield from self._of_prices(turns, state.at)
        for name, account in state.accounts.items():
            if account.lost is not None:
                yield from self._turn(ACCOUNT, name, LOST, state.at, account.lost, since=account.lost_at)
            if account.disputed is not None:
                yield from self._turn(CLOCK, name, LOST, state.at, account.disputed)
            if not account.covered:
                yield from self._turn(COVER, name, LOST, state.at, _cash(account))
        for name, channel in state.channels.items():
            if CHANNELS[channel.state] != GOOD:
                yield from self._turn(CHANNEL, name, CHANNELS[channel.state], state.at, channel.reason)
        for name, feed in state.feeds.items():
            if FEEDS.get(feed.state, GOOD) != GOOD and feed.reason:
                yield from self._turn(FEED, name, FEEDS[feed.state], state.at, feed.reason, since=feed.since)

    def change(self, settle: int) -> None:
        """Let what came back stay away for other seconds before its loss is told again."""
        self._settle = settle
        self._grace = min(GRACE, settle) * SECOND
        for standing in self._standings.values():
            standing.change(settle)

    # What happens

    def started(self, event: ev.DaemonStarted) -> Sayings:
        """Forget what was not told of connections: another start makes them anew."""
        self._up.clear()
        self._lasting.clear()
        for key, standing in self._standings.items():
            if key[0] in LASTING:
                standing.forget()
                self._follow(key, standing, event.at)
        return ()

    def reloaded(self, event: ev.ConfigurationReloaded) -> Sayings:
        """Forget what is no more: a channel or a stream that left the configuration comes back to nobody."""
        gone = [(CHANNEL, name) for name in event.channels_gone] + [(FEED, name) for name in event.feeds_gone]
        for key in gone:
            self._standings.pop(key, None)
            self._unsaid.pop(key, None)
            self._lasting.pop(key, None)
        self._up.difference_update(event.feeds_gone)
        return ()

    def feed(self, event: ev.FeedStateChanged) -> Sayings:
        """Take a step of a feed; the beginning of its first try is no loss."""
        rank = FEEDS.get(event.state)
        if rank == GOOD:
            self._up.add(event.feed)
        if rank is None or (event.state is FeedState.CONNECTING and not event.reason and event.feed not in self._up):
            return ()
        return self._turn(FEED, event.feed, rank, event.at, event.reason)

    def account_lost(self, event: ev.AccountLost) -> Sayings:
        """Take it that an account's broker cannot be heard."""
        return self._turn(ACCOUNT, event.account, LOST, event.at, event.reason)

    def reconciled(self, event: ev.AccountReconciled) -> Sayings:
        """Take it that an account was compared, and whether its cash covers its reserves."""
        yield from self._turn(ACCOUNT, event.account, GOOD, event.at)
        rank = GOOD if event.covered else LOST
        yield from self._turn(COVER, event.account, rank, event.at, show(event.cash))

    def claimed(self, event: ev.ReserveDeposited | ev.ReserveWithdrawn) -> Sayings:
        """Take it that a reserve lays claim to more of its account's cash, or to less."""
        account = self._state.accounts[self._state.portfolios[event.portfolio].rules.account]
        rank = GOOD if account.covered else LOST
        return self._turn(COVER, account.name, rank, event.at, _cash(account))

    def disputed(self, event: ev.SessionsDisputed) -> Sayings:
        """Take it that a broker's clock and the calendar disagree."""
        return self._turn(CLOCK, event.account, LOST, event.at, event.reason)

    def agreed(self, event: ev.SessionsAgreed) -> Sayings:
        """Take it that they agree again."""
        return self._turn(CLOCK, event.account, GOOD, event.at)

    def stale(self, event: ev.PriceStale) -> Sayings:
        """Take it that a symbol's prices stopped."""
        return self.crowd([event])

    def fresh(self, event: ev.PriceFresh) -> Sayings:
        """Take it that they arrive again."""
        return self.crowd([event])

    def crowd(self, events: Sequence[ev.PriceStale | ev.PriceFresh]) -> Sayings:
        """Take it of one or very many symbols, at one time, that their prices stopped, or arrive again."""
        turns, at = dict[str, Turn](), events[-1].at
        for event in events:
            symbol = event.symbol
            if isinstance(event, ev.PriceFresh) and symbol in self._together:
                self._back_due = min(self._back_due, Instant(at + self._settle * SECOND))
                self._back[symbol] = at_price(event.price)
            elif isinstance(event, ev.PriceFresh):
                self._take(turns, symbol, GOOD, at, at_price(event.price))
            elif self._back.pop(symbol, None) is None:
                self._take(turns, symbol, LOST, at, since=event.since)
        yield from self._of_prices(turns, at)
        yield from self._returns(at)

    def channel(self, event: ev.ChannelStateChanged) -> Sayings:
        """Take it how a channel stands."""
        return self._turn(CHANNEL, event.channel, CHANNELS[event.state], event.at, event.reason)

    # What is told

    def tick(self, now: Instant) -> Sayings:
        """Tell what was found at the start, and what has lasted long enough."""
        early, self._early = self._early, []
        yield from early
        turns = dict[str, Turn]()
        for key, standing in list(self._unsaid.items()):
            if (turn := standing.tick(now)) is not None:
                self._follow(key, standing, now)
                if key[0] is PRICES:
                    turns[key[1]] = turn
                else:
                    yield self._say(*key, turn, now)
        yield from self._of_prices(turns, now)
        yield from self._returns(now)
        for key, due in list(self._lasting.items()):
            if now >= due:
                self._lasting[key] = Instant(now + TOO_LONG)
                if self._matters(*key, now):
                    yield from self._turn(*key, LONG, now)

    def _turn(
        self, sort: Sort, name: str, rank: int, at: Instant, reason: str = "", *, since: Instant | None = None
    ) -> Sayings:
        turn = self._turned(sort, name, rank, at, reason, since=since)
        if turn is not None:
            yield self._say(sort, name, turn, at)

    def _turned(
        self, sort: Sort, name: str, rank: int, at: Instant, reason: str = "", *, since: Instant | None = None
    ) -> Turn | None:
        key = (sort, name)
        standing = self._standings.get(key)
        if standing is None:
            if rank == GOOD:
                return None
            standing = self._standings[key] = Standing(self._settle)
        grace = self._grace if rank == LOST and sort in GRACED else 0
        turn = standing.turn(rank, at, reason, grace, since)
        self._follow(key, standing, at)
        return turn

    def _take(
        self,
        turns: dict[str, Turn],
        symbol: str,
        rank: int,
        at: Instant,
        reason: str = "",
        *,
        since: Instant | None = None,
    ) -> None:
        """Add how a symbol's prices stand to what is to be told, if it is."""
        turn = self._turned(PRICES, symbol, rank, at, reason, since=since)
        if turn is not None:
            turns[symbol] = turn

    def _returns(self, now: Instant) -> Sayings:
        """Tell of prices that stopped together and are back: once all of them are, or after a while."""
        if not self._back or (now < self._back_due and len(self._back) < len(self._together)):
            return
        back, self._back, self._back_due = self._back, {}, NEVER
        turns = dict[str, Turn]()
        for symbol, price in back.items():
            self._take(turns, symbol, GOOD, now, price)
        yield from self._of_prices(turns, now)

    def _of_prices(self, turns: Mapping[str, Turn], now: Instant) -> Sayings:
        """Tell how prices stand now: of very many symbols of which the same is to be told, all at once."""
        for rank in {turn.rank for turn in turns.values()}:
            same = [symbol for symbol, turn in turns.items() if turn.rank == rank]
            if rank == GOOD:
                self._together.difference_update(same)
            if len(same) <= MANY:
                for symbol in same:
                    yield self._say(PRICES, symbol, turns[symbol], now)
                continue
            if rank == LOST:
                self._together.update(same)
            lacking = [name for (sort, name), each in self._standings.items() if sort is PRICES and each.told == LOST]
            yield self._hushed(PRICES, "", say_many(rank, same, lacking))

    def _follow(self, key: tuple[Sort, str], standing: Standing, at: Instant) -> None:
        """Know of what is still to be told, if it lasts."""
        if standing.due is None:
            self._unsaid.pop(key, None)
        else:
            self._unsaid[key] = standing
        if key[0] in LASTING and standing.told in {LOST, WORSE}:
            self._lasting.setdefault(key, Instant(at + TOO_LONG))
        else:
            self._lasting.pop(key, None)

    def _matters(self, sort: Sort, name: str, now: Instant) -> bool:
        """Tell whether a market is open in which a feed's prices, or an account's orders, are wanted."""
        state = self._state
        if sort is FEED:
            wanted = (symbol for symbol, each in state.symbols.items() if each.stale is not None)
            return not self._is_of_an_account(name) and self._open(wanted, now)
        mine = (each for each in state.positions.values() if not each.retired)
        return self._open((each.symbol for each in mine if state.account_of(each).name == name), now)

    def _open(self, symbols: Iterable[str], now: Instant) -> bool:
        return any(open_at(self._calendar.sessions(each), now) for each in symbols)

    def _say(self, sort: Sort, name: str, turn: Turn, now: Instant) -> Saying:
        return self._hushed(sort, name, say(sort, name, turn, now))

    def _hushed(self, sort: Sort, name: str, saying: Saying) -> Saying:
        """Make it no more than information where it is told otherwise."""
        told_otherwise = (sort is PRICES and self._a_feed_is_down()) or (sort is FEED and self._is_of_an_account(name))
        if told_otherwise and saying.level is not Level.CRITICAL:
            return msgspec.structs.replace(saying, level=Level.INFO)
        return saying

    def _a_feed_is_down(self) -> bool:
        return any(FEEDS.get(each.state, LOST) != GOOD for each in self._state.feeds.values())

    def _is_of_an_account(self, feed: str) -> bool:
        """Tell whether a stream brings an account's orders: that the account is lost says it already."""
        return feed.removeprefix("orders of ") in self._state.accounts


def _cash(account: Account) -> str:
    return "an unknown amount" if account.cash is None else show(account.cash)
