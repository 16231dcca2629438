"""Orders at Alpaca: sent once, judged by the answer, looked up by their own id, and followed on a stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec
import structlog

from mrdaemon import pulse
from mrdaemon.alpaca import answers, bookings
from mrdaemon.alpaca.limiter import Urgency
from mrdaemon.alpaca.link import Connect, Connection, Link, LostError, opened
from mrdaemon.alpaca.link import DeniedError as RefusedError
from mrdaemon.alpaca.login import Login
from mrdaemon.alpaca.rest import LOOKS, Call, Fields, Rest
from mrdaemon.alpaca.trading import (
    WORDS,
    Account,
    AssetRecord,
    Authorization,
    Clock,
    Envelope,
    Listening,
    Order,
    Position,
    Update,
    WireError,
    finite,
    moment,
)
from mrdaemon.brokers import (
    AmbiguousError,
    DeniedError,
    DuplicateOrderError,
    Ear,
    Holding,
    Hours,
    NotTakenError,
    OrderRefusedError,
    Standing,
)
from mrdaemon.clock import Clock as Time
from mrdaemon.core.activity import Activity
from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.core.money import Dollars, cents
from mrdaemon.core.orders import PREFIX, TERMINAL, OrderReport, OrderRequest
from mrdaemon.core.policy import Asset, FeedState
from mrdaemon.retry import Backoff

DUPLICATE: Final = "client_order_id must be unique"
"""What Alpaca says (422, code 40010001) of an order whose id it has seen: it exists, so it is looked up."""
PAGE: Final = 500
"""Orders in one answer, Alpaca's most."""
ONE_BY_ONE: Final = 20
"""Assets that are asked for one by one; of more, the whole list is fetched."""
LATE_AT_MOST: Final = 5 * SECOND
"""A clock whose answer takes longer is no clock."""
ANSWER_WITHIN: Final = 10.0
"""Seconds in which Alpaca must answer a login."""
WAIT_AT_MOST: Final = 10.0
"""Seconds until an order that was not looked at is sent again, at the most."""
TRADE_CHANGES: Final = frozenset({"trade_bust", "trade_correct", "restated"})
"""Updates by which an execution is taken back or changed."""

log: Final = structlog.get_logger("mrdaemon.broker")
T = TypeVar("T")
_envelope: Final = msgspec.json.Decoder(Envelope)
_update: Final = msgspec.json.Decoder(Update)


class Around(NamedTuple):
    """What a broker works with."""

    login: Login
    rest: Rest
    connect: Connect
    clock: Time


class AlpacaBroker:
    """One account at Alpaca."""

    def __init__(self, name: str, symbols: Sequence[str], around: Around) -> None:
        """Build it; nothing is opened yet.

        Args:
            name: what people call the account.
            symbols: what is traded in it, by our names: in some records Alpaca writes a pair without its slash.
            around: login, client, connections and clock.
        """
        self.name = f"orders of {name}"
        self._names: dict[str, str] = {}
        self.know(symbols)
        self._login, self._rest, self._connect, self._clock = around
        self._connections = 0
        self._up = False

    def know(self, symbols: Sequence[str]) -> None:
        """Take further symbols that are traded; one that was traded once is known for ever."""
        self._names |= {_bare(symbol): symbol for symbol in symbols}

    # What is asked

    def turn(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Wait until an order may leave: for the rate limit, and for a thread."""
        return self._rest.turn()

    async def submit(self, request: OrderRequest) -> OrderReport:
        """Send an order, once; see ``Broker.submit``."""
        try:
            order = await self._rest.once(Call("POST", "/orders", order_fields(request)), Order, None)
        except answers.MissingError as nowhere:  # No answer of the order system.
            raise AmbiguousError(str(nowhere)) from nowhere
        except answers.RejectedError as no:
            if DUPLICATE in no.message:
                raise DuplicateOrderError(no.message) from no
            raise OrderRefusedError(str(no)) from no
        except answers.LimitedError as busy:
            raise NotTakenError(str(busy), self._until(busy.reset)) from busy
        except answers.DeniedError as denied:
            raise DeniedError(_of_keys(denied)) from denied
        except answers.UnansweredError as unclear:
            raise AmbiguousError(str(unclear)) from unclear
        return self._report(order)

    async def find(self, order: str) -> OrderReport | None:
        """Look an order up by its client order id."""
        call = Call("GET", "/orders:by_client_order_id", {"client_order_id": order})
        found = await self._find(call, Order, Urgency.ORDER)
        return None if found is None else self._report(found)

    async def cancel(self, order: str) -> OrderReport | None:
        """Ask to cancel an order; one that cannot be cancelled any more has ended, or is about to."""
        known = await self.find(order)
        if known is None or known.status in TERMINAL:
            return known
        try:
            await self._rest.once(Call("DELETE", f"/orders/{known.broker_order}", {}), type(None), Urgency.ORDER)
        except answers.RejectedError as no:
            log.info("not cancelled", order=order, reason=str(no))
        except answers.DeniedError as denied:
            raise DeniedError(_of_keys(denied)) from denied
        except answers.AlpacaError as unclear:
            raise AmbiguousError(str(unclear)) from unclear
        return await self.find(order)

    async def taken_since(self, since: Instant) -> list[OrderReport]:
        """Give every order of ours that Alpaca took at or after an instant, oldest first."""
        found: list[OrderReport] = []
        seen: set[str] = set()
        after: Instant | None = since
        while after is not None:
            just_before = iso(Instant(after - 1))  # ``after`` leaves out the instant itself.
            fields: Fields = {
                "status": "all",
                "after": just_before,
                "direction": "asc",
                "limit": PAGE,
                "nested": "false",
            }
            page = await self._look(Call("GET", "/orders", fields), list[Order])
            fresh = [each for each in page if each.id not in seen]
            seen |= {each.id for each in fresh}
            found += [self._report(each) for each in fresh if _is_ours(each)]
            more = len(page) == PAGE and fresh
            after = _sound(page[-1].created) if more else None
        # One that was given up long ago may live still.
        alive = await self._look(
            Call("GET", "/orders", {"status": "open", "limit": PAGE, "nested": "false"}), list[Order]
        )
        found += [self._report(each) for each in alive if each.id not in seen and _is_ours(each)]
        return found

    async def filled_since(self, since: Instant) -> dict[str, Decimal]:
        """Give the cumulative shares of orders that filled after an instant, by Alpaca's id for each."""
        return await self._known(bookings.filled(self._rest, since))

    async def standing(self) -> Standing:
        """Give cash that is no margin, and holdings.

        Raises:
            DeniedError: the account may not trade, and why.
            AmbiguousError: the answer did not arrive, or does not say.
        """
        account = await self._look(Call("GET", "/account", {}), Account)
        if (obstacle := account.obstacle) is not None:
            raise DeniedError(obstacle)
        cash = _sound(lambda: account.spendable)
        if cash is None:
            message = "the account's cash is not said"
            raise AmbiguousError(message)
        positions = await self._look(Call("GET", "/positions", {}), list[Position])
        holdings = {self._ours(each.symbol): _sound(partial(_holding, each)) for each in positions}
        return Standing(Dollars(cash), holdings, less_orders=True)

    async def assets(self, symbols: Sequence[str]) -> list[Asset]:
        """Give what Alpaca says of symbols; one it does not know is not tradable."""
        if len(symbols) > ONE_BY_ONE:
            known = await self._all_assets({_class(symbol) for symbol in symbols})
            return [_asset(symbol, known.get((_class(symbol), _bare(symbol)))) for symbol in symbols]
        return [_asset(symbol, await self._one_asset(symbol)) for symbol in symbols]

    async def _all_assets(self, classes: set[str]) -> dict[tuple[str, str], AssetRecord]:
        """Fetch whole lists; Alpaca gives one of shares alone unless it is asked for another."""
        found = {}
        for each in sorted(classes):
            call = Call("GET", "/assets", {"status": "active", "asset_class": each})
            found.update({(each, _bare(one.symbol)): one for one in await self._look(call, list[AssetRecord])})
        return found

    async def booked(self, symbols: Sequence[str], since: str) -> list[Activity]:
        """Give dividends and fees from a date on, and the splits of symbols."""
        before = (date.fromisoformat(since) - timedelta(days=1)).isoformat()  # ``after`` leaves the day itself out
        found = await self._known(bookings.booked(self._rest, before))
        shares = [symbol for symbol in symbols if "/" not in symbol]
        announced = await self._known(bookings.splits(self._rest, shares, since))
        cash = [msgspec.structs.replace(each, symbol=self._ours(each.symbol)) for each in bookings.meant(found)]
        return [*announced, *cash]

    async def hours(self) -> Hours:
        """Ask for Alpaca's time and its market's hours."""
        asked, clock = await self._known(self._ask_for_the_time())
        late = self._clock.now() - asked
        if late > LATE_AT_MOST:
            message = f"the clock's answer took {late / SECOND:.1f} s, and says little of what time it is"
            raise AmbiguousError(message)
        try:
            now, opens, closes = moment(clock.timestamp), moment(clock.next_open), moment(clock.next_close)
        except WireError as error:
            message = f"the clock cannot be read: {error}"
            raise AmbiguousError(message) from error
        return Hours(now, late, clock.is_open, opens, closes)

    async def _ask_for_the_time(self) -> tuple[Instant, Clock]:
        """Give when the time was asked for, and the answer: nothing waits between the two but Alpaca itself."""
        backoff = Backoff()
        while True:
            await self._rest.admit(Urgency.LOOK)
            asked = self._clock.now()
            try:
                return asked, await self._rest.once(Call("GET", "/clock", {}), Clock, None)
            except (answers.UnansweredError, answers.LimitedError) as error:
                failed: answers.AlpacaError = error
            wait = backoff.next()
            if backoff.attempts >= LOOKS:
                raise failed
            await self._clock.sleep(wait)

    async def _one_asset(self, symbol: str) -> AssetRecord | None:
        return await self._find(Call("GET", f"/assets/{quote(symbol, safe='')}", {}), AssetRecord)

    async def _look(self, call: Call, wanted: type[T], urgency: Urgency = Urgency.LOOK) -> T:
        return await self._known(self._rest.look(call, wanted, urgency))

    async def _find(self, call: Call, wanted: type[T], urgency: Urgency = Urgency.LOOK) -> T | None:
        """Ask for something that may not exist, of which Alpaca is sure."""

        async def look() -> T | None:
            try:
                return await self._rest.look(call, wanted, urgency)
            except answers.MissingError:
                return None

        return await self._known(look())

    @staticmethod
    async def _known(asked: Awaitable[T]) -> T:
        """Wait for an answer; one that does not give what was asked for is ambiguous."""
        try:
            return await asked
        except answers.DeniedError as denied:
            raise DeniedError(_of_keys(denied)) from denied
        except answers.AlpacaError as unclear:
            raise AmbiguousError(str(unclear)) from unclear

    def _until(self, reset: float | None) -> float:
        """Give the seconds until the rate limit's next minute, within bounds."""
        left = 1.0 if reset is None else reset - self._clock.now() / SECOND
        return min(max(left, 0.5), WAIT_AT_MOST)

    def _report(self, order: Order) -> OrderReport:
        return _sound(lambda: order.report(self._ours(order.symbol)))

    def _ours(self, symbol: str) -> str:
        return self._names.get(_bare(symbol), symbol)

    # What is told

    @property
    def hearing(self) -> int | None:
        """Which connection brings order updates; None while there is none."""
        return self._connections if self._up else None

    async def listen(self, ear: Ear) -> None:
        """Tell what happens to orders, until the task is cancelled; reconnects by itself."""

        async def converse(link: Link) -> None:
            async with opened(self._connect, self._login.updates, {}) as connection:
                await self._log_in(connection)
                link.say(FeedState.AUTHENTICATED)
                await self._subscribe(connection)
                self._connections += 1
                self._up = True
                link.say(FeedState.SUBSCRIBED)
                try:
                    pulse.rest()
                    while True:
                        self._hear(await connection.recv(), ear)
                finally:
                    self._up = False

        await Link(self.name, converse, lambda state, reason: ear.stands(self.name, state, reason), self._clock).run()
        await asyncio.get_running_loop().create_future()

    async def _log_in(self, connection: Connection) -> None:
        login = {"action": "auth", "key": self._login.key, "secret": self._login.secret}
        await connection.send(msgspec.json.encode(login))
        answer = await _answer(connection, "authorization", Authorization)
        if answer.status != "authorized":
            said = f"{answer.status or 'no status'}{_more(answer.message)}"
            raise RefusedError(_of_keys(said))

    async def _subscribe(self, connection: Connection) -> None:
        await connection.send(msgspec.json.encode({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        answer = await _answer(connection, "listening", Listening)
        if "trade_updates" not in (answer.streams or ()):
            message = f"Alpaca sends no trade_updates, only {answer.streams}"
            raise LostError(message)

    def _hear(self, message: bytes, ear: Ear) -> None:
        """Take a message. One that says nothing is survived: open orders are asked for, too."""
        try:
            envelope = _envelope.decode(message)
            if envelope.stream != "trade_updates":
                log.info("message on another stream", stream=envelope.stream)
                return
            update = _update.decode(envelope.data)
            if update.order is None:
                log.warning("order update without an order", event_=update.event)
                return
            report = self._report(update.order)
        except (msgspec.DecodeError, UnicodeDecodeError, AmbiguousError) as error:
            log.warning(
                "order update not understood", reason=str(error), message=message[:300].decode(errors="replace")
            )
            return
        if update.event in TRADE_CHANGES:
            ear.busted(report.order, f"Alpaca changed an execution of order {report.order} ({update.event})")
        ear.reported([report])


def _is_ours(order: Order) -> bool:
    return (order.client_order_id or "").startswith(f"{PREFIX}-")


def order_fields(request: OrderRequest) -> Fields:
    """Write an order as Alpaca wants it; every number a string, so that none is rounded on its way."""
    crypto = "/" in request.symbol
    fields: dict[str, str | int | bool | None] = {
        "symbol": request.symbol,
        "side": WORDS[request.side],
        "type": "market" if request.limit is None else "limit",
        "time_in_force": "gtc" if crypto else "day",
        "client_order_id": request.order,
    }
    if request.notional is not None:
        fields["notional"] = f"{request.notional:f}"
    if request.quantity is not None:
        fields["qty"] = f"{request.quantity:f}"
    if request.limit is not None:
        fields["limit_price"] = f"{request.limit:f}"
    if request.extended:
        fields["extended_hours"] = True
    return fields


async def _answer(connection: Connection, stream: str, wanted: type[T]) -> T:
    """Wait for an answer on a stream.

    Raises:
        LostError: it cannot be read.
        TimeoutError: none came.
    """
    async with asyncio.timeout(ANSWER_WITHIN):
        while True:
            try:
                envelope = _envelope.decode(await connection.recv())
                if envelope.stream == stream:
                    return msgspec.json.decode(envelope.data, type=wanted)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                message = f"the answer cannot be read: {error}"
                raise LostError(message) from error


def _sound(read: Callable[[], T]) -> T:
    """Read a record.

    Raises:
        AmbiguousError: it says something impossible.
    """
    try:
        return read()
    except (WireError, ArithmeticError) as error:
        message = f"Alpaca says something impossible: {error}"
        raise AmbiguousError(message) from error


def _holding(position: Position) -> Holding:
    return Holding(position.signed, None if position.cost_basis is None else cents(finite(position.cost_basis)))


def _class(symbol: str) -> str:
    return "crypto" if "/" in symbol else "us_equity"


def _asset(symbol: str, record: AssetRecord | None) -> Asset:
    if record is None:
        return Asset(symbol, fractionable=False, tradable=False, why="Alpaca knows no such symbol")
    return _sound(lambda: record.asset(symbol))


def _bare(symbol: str) -> str:
    return symbol.replace("/", "")


def _of_keys(denied: answers.DeniedError | str) -> str:
    return f"Alpaca does not accept the keys ({denied}); see that they are this account's, and not revoked"


def _more(message: str) -> str:
    return f": {message}" if message else ""
