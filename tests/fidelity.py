"""A local Alpaca on a loopback port, served by a thread of its own, for the official library as it is."""

from __future__ import annotations

import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from mrdaemon.calendar import MarketCalendar
from mrdaemon.core.instant import SECOND, Instant, parse
from mrdaemon.core.prints import Bar, Print, Quote, Trade, quote_print, trade_print
from mrdaemon.simulator.assets import Listing
from mrdaemon.simulator.exchange import ExchangeRules
from mrdaemon.simulator.keys import Keys
from mrdaemon.simulator.server import serving
from mrdaemon.simulator.simulator import Simulator

with warnings.catch_warnings():
    # The library imports what its own dependency calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient
    from alpaca.data.historical.corporate_actions import CorporateActionsClient
    from alpaca.data.live import CryptoDataStream, StockDataStream
    from alpaca.trading.client import TradingClient
    from alpaca.trading.stream import TradingStream

PATIENCE = 15.0
TUESDAY = "2026-01-06T15:00:30Z"
"""Half an hour after the open."""
LISTINGS = (
    Listing(symbol="KO", name="Coca-Cola Company", exchange="NYSE"),
    Listing(symbol="OCGN", name="Ocugen, Inc. Common Stock", fractionable=False),
    Listing(symbol="BTC/USD"),
    Listing(symbol="GONE", active=False, tradable=False),
)
WHOLE_FILLS = ExchangeRules(partial_fills=Decimal(0))
FILLS_IN_PARTS = ExchangeRules(partial_fills=Decimal(1))

T = TypeVar("T")
Stream = StockDataStream | CryptoDataStream | TradingStream


def instant(text: str) -> Instant:
    at = parse(text)
    assert isinstance(at, int)
    return Instant(at)


class ShiftedClock:
    """Real time from another beginning; it can be put forward."""

    def __init__(self, start: str) -> None:
        self._shift = instant(start) - time.monotonic_ns()

    def now(self) -> Instant:
        return Instant(time.monotonic_ns() + self._shift)

    def put_forward(self, seconds: float) -> None:
        self._shift += int(seconds * SECOND)


class Alpaca:
    """The simulator as the outside sees it, and what a test does to it from the inside."""

    def __init__(self, simulator: Simulator, clock: ShiftedClock, portal: BlockingPortal, url: str) -> None:
        self.url = url
        self.keys = simulator.keys
        self._simulator = simulator
        self._clock = clock
        self._portal = portal
        self._changed = threading.Condition()
        self._had: set[tuple[str, str]] = set()
        simulator.exchange.listen(self._notice)

    # What a test does

    def do(self, work: Callable[[Simulator], T]) -> T:
        """Do something to the simulator, in the thread that serves it."""
        return self._portal.call(work, self._simulator)

    def trade(self, symbol: str, price: float, *, size: float = 100.0, conditions: str = "@") -> None:
        self.see(lambda now: trade_print(symbol, price, now, Trade(conditions, size)))

    def quote(self, symbol: str, bid: float, ask: float) -> None:
        self.see(lambda now: quote_print(symbol, bid, ask, now))

    def price(self, symbol: str, price: float) -> None:
        """Have a trade, with a quote of a cent around it."""
        quote = Quote(round(price - 0.01, 2), round(price + 0.01, 2))
        self.see(lambda now: trade_print(symbol, price, now, Trade("@", 100.0), quote))

    def bar(self, symbol: str, end: str, bar: Bar) -> None:
        self.see(lambda _: trade_print(symbol, bar.close, instant(end), bar))

    def see(self, seen: Callable[[Instant], Print]) -> None:
        self.do(lambda simulator: simulator.see([seen(simulator.true_time())]))

    def put_forward(self, seconds: float) -> None:
        """Let time pass, with everything that is due in it."""

        def forward(simulator: Simulator) -> None:
            self._clock.put_forward(seconds)
            simulator.pass_time()
            simulator.on_change()

        self.do(forward)

    def reaches(self, order_id: object, status: str) -> dict[str, Any]:
        """Wait until an order has had a status; gives it as it is by then."""
        with self._changed:
            came = self._changed.wait_for(lambda: (str(order_id), status) in self._had, PATIENCE)
        assert came, f"{order_id} was {self._had}, not {status}"
        return self.do(lambda simulator: simulator.exchange.book.find(str(order_id)).answer())

    def until(self, wanted: Callable[[Simulator], object]) -> None:
        """Wait until the simulator is as wanted."""
        deadline = time.monotonic() + PATIENCE
        while not self.do(wanted):
            assert time.monotonic() < deadline, "what was waited for did not come"

    def _notice(self, update: Mapping[str, Any]) -> None:
        with self._changed:
            self._had.add((update["order"]["id"], update["order"]["status"]))
            self._changed.notify_all()

    # The official clients

    def trading(self, *, raw: bool = False, secret: str | None = None) -> TradingClient:
        return TradingClient(
            self.keys.key_id, secret or self.keys.secret, paper=True, raw_data=raw, url_override=self.url
        )

    def stocks(self, *, secret: str | None = None) -> StockHistoricalDataClient:
        return StockHistoricalDataClient(self.keys.key_id, secret or self.keys.secret, url_override=self.url)

    def coins(self) -> CryptoHistoricalDataClient:
        return CryptoHistoricalDataClient(self.keys.key_id, self.keys.secret, url_override=self.url)

    def corporate_actions(self) -> CorporateActionsClient:
        return CorporateActionsClient(self.keys.key_id, self.keys.secret, url_override=self.url)

    def stock_stream(self, name: str = "iex", *, raw: bool = False) -> StockDataStream:
        return StockDataStream(
            self.keys.key_id, self.keys.secret, raw_data=raw, url_override=f"{self._streams}/v2/{name}"
        )

    def coin_stream(self) -> CryptoDataStream:
        return CryptoDataStream(self.keys.key_id, self.keys.secret, url_override=f"{self._streams}/v1beta3/crypto/us")

    def update_stream(self, *, raw: bool = False) -> TradingStream:
        return TradingStream(
            self.keys.key_id, self.keys.secret, paper=True, raw_data=raw, url_override=f"{self._streams}/stream"
        )

    @property
    def _streams(self) -> str:
        return self.url.replace("http://", "ws://")


@contextmanager
def local_alpaca(
    *, now: str = TUESDAY, rules: ExchangeRules = WHOLE_FILLS, keys: Keys | None = None
) -> Iterator[Alpaca]:
    """Serve a simulator whose time begins at an instant, on the real calendar."""
    clock = ShiftedClock(now)
    simulator = Simulator(clock.now, MarketCalendar(), rules=rules, keys=keys or Keys())
    for listing in LISTINGS:
        simulator.exchange.listings.add(listing)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving(simulator)) as url:
        yield Alpaca(simulator, clock, portal, url)


class Heard:
    """What a stream's handlers were called with."""

    def __init__(self) -> None:
        self._all: queue.Queue[Any] = queue.Queue()

    @property
    def handler(self) -> Callable[[Any], Any]:
        """A coroutine function, as the library wants it."""

        async def hear(said: Any) -> None:
            self._all.put(said)

        return hear

    def next(self) -> Any:
        return self._all.get(timeout=PATIENCE)


@contextmanager
def running(stream: Stream, nudge: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run a stream by its public ``run`` in a thread, and end it by its public ``stop``.

    The library looks whether it is to stop only between messages, or every five seconds: the nudge makes it get one.
    """
    thread = threading.Thread(target=stream.run, name="official stream", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        if thread.is_alive():
            stream.stop()
            nudge()
        thread.join(PATIENCE)
    assert not thread.is_alive()
