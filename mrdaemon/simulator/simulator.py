"""The local Alpaca as a whole, without sockets, threads or a clock of its own.

A shell hands in requests, connections and prices, and calls ``pass_time`` when ``next_due`` has come.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from mrdaemon.core.instant import MINUTE, SECOND, Instant
from mrdaemon.core.prints import Print, Trade
from mrdaemon.simulator.control import PREFIX, Control
from mrdaemon.simulator.exchange import Exchange, ExchangeRules
from mrdaemon.simulator.faults import FaultName, Faults, Place
from mrdaemon.simulator.keys import Keys
from mrdaemon.simulator.lines import Line, Socket
from mrdaemon.simulator.messages import Message, Stamp, StatusMessage, cancel, correction, messages
from mrdaemon.simulator.minutes import Minutes
from mrdaemon.simulator.rest import Answer, Request, Rest
from mrdaemon.simulator.restfaults import RestMishaps
from mrdaemon.simulator.slots import REAP, Slots
from mrdaemon.simulator.streams import ENDPOINTS, TEST_SYMBOL, DataSession
from mrdaemon.simulator.tape import Tape
from mrdaemon.simulator.updates import NAME, PATH, Update, UpdateSession
from mrdaemon.simulator.walk import Walk

if TYPE_CHECKING:
    from decimal import Decimal

    from mrdaemon.core.sessions import Calendar

_DELAY: Final = 15 * MINUTE
"""By how much ``delayed_sip`` is delayed."""
_DELAYED: Final = frozenset({"delayed_sip"})
_LIVE: Final = frozenset(each.name for each in ENDPOINTS.values()) - _DELAYED
_KEPT: Final = 10_000
"""Requests and trades that are remembered."""
_BAD: Final = 10
"""By how much a bad print is off."""

Session = DataSession | UpdateSession


class Asked(NamedTuple):
    """A request that came in, for those who want to know."""

    at: Instant
    method: str
    path: str
    status: int


class Simulator:
    """Exchange, tape, REST, streams and faults, joined."""

    def __init__(
        self,
        now: Callable[[], Instant],
        calendar: Calendar,
        *,
        rules: ExchangeRules | None = None,
        keys: Keys | None = None,
        faults: Faults | None = None,
        reap: int = REAP,
    ) -> None:
        """Open for business.

        Args:
            now: the time. What the service stamps is off by the fault ``clock_skew``.
            calendar: when each market is open.
            rules: how the exchange behaves.
            keys: the pair that opens the account, its plan, and whether it is paper.
            faults: what goes wrong.
            reap: nanoseconds for which a connection that broke off still counts.
        """
        self._now = now
        self.keys = keys or Keys()
        self.faults = faults or Faults()
        self.tape = Tape()
        self.exchange = Exchange(rules or ExchangeRules(), self.now, calendar)
        self.rest = Rest(self.exchange, self.tape, self.keys, RestMishaps(self.faults, self.now))
        self.slots = Slots(reap)
        self.requests: deque[Asked] = deque(maxlen=_KEPT)
        self.sessions: list[Session] = []
        self.symbols: dict[str, None] = {}
        """What was priced, in the order in which it came."""
        self.on_change: Callable[[], None] = _nobody
        """Called after whatever came in: ``next_due`` may be earlier than it was."""
        self.on_split: Callable[[str, float], None] = _nothing_splits
        """Called with each split's symbol and ratio of new to old shares: whoever makes prices up divides them."""
        self._calendar = calendar
        self._control = Control(self)
        self._minutes = Minutes()
        self._ids = count(1)
        self._trades: dict[tuple[str, int], Print] = {}
        self._later: list[tuple[Instant, int, list[Message], frozenset[str]]] = []
        self._test = Walk({TEST_SYMBOL: 100.0}, TEST_SYMBOL, now(), every=0.25)
        self.exchange.listen(self._tell_update)
        self.exchange.listen_status(self._tell_status)

    def now(self) -> Instant:
        """Give the time as the service has it."""
        return Instant(self._now() + self.faults.skew)

    def true_time(self) -> Instant:
        """Give the time without the error of the service's clock: what prices that are handed in are stamped with."""
        return self._now()

    # What comes in

    def request(self, request: Request) -> Answer:
        """Answer a REST request, or one of the control endpoint under ``/simulator/``."""
        if request.path.startswith(PREFIX):
            answer = self._control.answer(request)
        else:
            answer = self.rest.answer(request)
            self.requests.append(Asked(self.now(), request.method, request.path, answer.status))
        self.on_change()
        return answer

    def connect(
        self,
        path: str,
        headers: Mapping[str, str],
        send: Callable[[bytes | str], None],
        close: Callable[[int, str], None],
    ) -> Session:
        """Open a stream whose socket can do no more than send and close.

        Raises:
            KeyError: there is no stream of this path.
        """
        return self.attach(path, headers, Socket(send, close))

    def handshake(self, path: str) -> int:
        """Answer a stream's handshake: 101 where a session may be attached, 404 where there is no stream, or 429."""
        if path != PATH and path not in ENDPOINTS:
            return 404
        stream = NAME if path == PATH else ENDPOINTS[path].name
        return 429 if self.faults.strike(FaultName.HANDSHAKE, Place(stream)) else 101

    def attach(self, path: str, headers: Mapping[str, str], socket: Socket) -> Session:
        """Open a stream.

        Args:
            path: one of the market data streams, or ``/stream``.
            headers: the handshake's, by lower-case name.
            socket: what may be done to the connection. Whoever has it calls ``receive`` and ``closed`` of the session.

        Raises:
            KeyError: there is no stream of this path.
        """
        session: Session
        if path == PATH:
            session = UpdateSession(Line[Update](socket, NAME, self.faults, self._now), self.keys, self._now)
        else:
            endpoint = ENDPOINTS[path]
            line = Line[Message](socket, endpoint.name, self.faults, self._now)
            session = DataSession(endpoint, line, self.keys, self.slots, self._now)
        self.sessions = [each for each in self.sessions if not each.line.ended]
        self.sessions.append(session)
        self._test.skip(self._now())
        session.opened(headers)
        self.on_change()
        return session

    def see(self, batch: Sequence[Print]) -> None:
        """Take prices in: onto the streams, onto the tape, and into the exchange, which fills what it can."""
        prints = [self._numbered(each) for each in batch]
        for seen in prints:
            if isinstance(seen[4], Trade):
                self._minutes.add(seen, self._calendar.sessions(seen[0]).latest(seen[2]).day)
        self.tell([message for seen in prints for message in messages(seen)])
        for seen in prints:
            self._maybe_misprint(seen)
        self.symbols.update(dict.fromkeys(each[0] for each in prints))
        self.tape.record(prints)
        self.exchange.see(prints)
        self.on_change()

    # Time

    @property
    def next_due(self) -> Instant:
        """When ``pass_time`` next has something to do."""
        skew = self.faults.skew
        dues = [each.due for each in self.sessions]
        dues += [Instant(self._minutes.due - skew), Instant(self.exchange.next_due - skew)]
        dues += [self._later[0][0]] if self._later else []
        dues += [self._test.due] if self._tested() else []
        return min(dues)

    def pass_time(self) -> None:
        """Do what is due: fills and expiries, bars, late messages, time-outs."""
        self.exchange.pass_time()
        now = self._now()
        if self._tested():
            self.tell([message for seen in self._test.take(now) for message in messages(self._numbered(seen))])
        self.tell(self._minutes.told(self.now()))
        while self._later and self._later[0][0] <= now:
            _, _, late, streams = heapq.heappop(self._later)
            self._send(late, streams)
        for session in self.sessions:
            session.pass_time()
        self.sessions = [each for each in self.sessions if not each.line.ended]

    # What companies do

    def split(self, symbol: str, new_rate: Decimal, old_rate: Decimal, *, booked_after_s: float = 0.0) -> None:
        """Split a stock in its account, as ``Exchange.split``, and in the prices that are made up.

        Raises:
            RefusalError: there is no such stock.
            ValueError: a rate is not above zero.
        """
        if not (new_rate > 0 and old_rate > 0):
            message = f"wanted rates above zero, got {new_rate} for {old_rate}"
            raise ValueError(message)
        self.exchange.split(symbol, new_rate, old_rate, booked_after_s=booked_after_s)
        self.on_split(symbol, float(new_rate / old_rate))

    # What happens to trades afterwards

    def take_back(self, symbol: str, trade: int | None = None) -> int:
        """Tell the streams that a trade never was: the newest, or the one of an id. Gives its id.

        Raises:
            KeyError: no such trade is remembered.
        """
        seen = self._remembered(symbol, trade)
        self.tell([cancel(seen)])
        return _id(seen)

    def correct(self, symbol: str, price: float, trade: int | None = None) -> int:
        """Tell the streams that a trade was at another price. Gives the id of the corrected trade.

        Raises:
            KeyError: no such trade is remembered.
        """
        wrong = self._remembered(symbol, trade)
        right = self._numbered((symbol, price, self.now(), None, _renumbered(wrong[4], 0)))
        self.tell([correction(wrong, right)])
        return _id(right)

    def tell(self, told: list[Message]) -> None:
        """Send messages to the data streams that have their symbols: also what prices and halts do not bring."""
        if told:
            self._send(told, _LIVE)
            if any(each.line.stream in _DELAYED for each in self.sessions):
                self._push(Instant(self._now() + _DELAY), told, _DELAYED)

    def meet_faults(self) -> None:
        """Let the faults that break connections strike at once, also where nothing is said."""
        for session in self.sessions:
            session.meet_faults()

    # Inside

    def _numbered(self, seen: Print) -> Print:
        """Give a print's trade an id, and its time the service's error."""
        symbol, price, at, quote, trade = seen
        at = Instant(at + self.faults.skew)
        if not isinstance(trade, Trade):
            return (symbol, price, at, quote, trade)
        if not trade.id:
            trade = _renumbered(trade, next(self._ids))
        numbered: Print = (symbol, price, at, quote, trade)
        self._trades[symbol, trade.id] = numbered
        if len(self._trades) > _KEPT:
            del self._trades[next(iter(self._trades))]
        return numbered

    def _remembered(self, symbol: str, trade: int | None) -> Print:
        for (name, number), seen in reversed(self._trades.items()):
            if name == symbol and trade in {None, number}:
                return seen
        message = f"no such trade of {symbol} is remembered"
        raise KeyError(message)

    def _maybe_misprint(self, seen: Print) -> None:
        if not isinstance(seen[4], Trade):
            return
        fault = self.faults.strike(FaultName.BAD_PRINT, Place(symbol=seen[0]))
        if fault is None:
            return
        wrong: Print = (seen[0], seen[1] * _BAD, seen[2], None, _renumbered(seen[4], next(self._ids)))
        self.tell(messages(wrong))
        if fault.seconds:
            self._push(Instant(self._now() + int(fault.seconds * SECOND)), [cancel(wrong)], _LIVE)

    def _tested(self) -> bool:
        return any(each.line.stream == "test" for each in self.sessions)

    def _push(self, due: Instant, told: list[Message], streams: frozenset[str]) -> None:
        heapq.heappush(self._later, (due, next(self._ids), told, streams))

    def _send(self, told: Sequence[Message], streams: frozenset[str]) -> None:
        for session in self.sessions:
            if isinstance(session, DataSession) and session.line.stream in streams:
                session.publish(told)

    def _tell_update(self, update: Update) -> None:
        for session in self.sessions:
            if isinstance(session, UpdateSession):
                session.publish(update)

    def _tell_status(self, status: Mapping[str, object]) -> None:
        at = status["t"]
        words = [str(status[key]) for key in ("sc", "sm", "rc", "rm", "z")]
        self.tell([StatusMessage(str(status["S"]), Stamp(Instant(at if isinstance(at, int) else 0)), *words)])


def _nobody() -> None:
    """Wait for no change."""


def _nothing_splits(symbol: str, ratio: float) -> None:
    """Make no prices up."""


def _id(seen: Print) -> int:
    return seen[4].id if isinstance(seen[4], Trade) else 0


def _renumbered(trade: object, number: int) -> Trade:
    return Trade(trade.conditions, trade.size, number) if isinstance(trade, Trade) else Trade(id=number)
