"""The REST client of one login: bounded in time, within the rate limit, and without a retry that nobody asked for.

The official client builds and sends the requests. It has no time-out, and sends a POST again after 429 and 504; here it
has both switched: each request is sent once, in a thread, and its raw answer is judged by ``answers``.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from mrdaemon import pulse
from mrdaemon.alpaca.answers import AlpacaError, DeniedError, LimitedError, Reply, UnansweredError, understood
from mrdaemon.alpaca.limiter import Limiter, Urgency
from mrdaemon.alpaca.login import Login
from mrdaemon.clock import Clock
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.retry import Backoff

T = TypeVar("T")

CONNECT_WITHIN: Final = 3.05
READ_WITHIN: Final = 10.0
DEADLINE: Final = 15.0
"""Seconds after which a request counts as unanswered, whatever trickles in."""
LOOKS: Final = 3
"""How often something is looked at before it counts as unanswered."""
THREADS: Final = 4
"""Threads for all requests but orders."""
ORDER_THREADS: Final = 8
CANCEL_THREADS: Final = 4
"""Threads for cancels and for looking orders up, which must not wait behind prices."""
LARGEST: Final = 64 * 1024 * 1024
"""Bytes of an answer; the list of all assets has some ten million."""
PIECE: Final = 64 * 1024

Fields = Mapping[str, str | int | bool | None]


class Call(NamedTuple):
    """A request: a method, a path after the version, and its parameters or its body."""

    method: str
    path: str
    fields: Fields
    version: str = "v2"
    data: bool = False
    """Whether it goes to the market data service."""


class Transport(Protocol):
    """What carries a request and brings the answer."""

    async def carry(self, call: Call) -> Reply:
        """Send a request once.

        Raises:
            UnansweredError: no answer came.
        """


@contextlib.asynccontextmanager
async def threads(login: Login) -> AsyncIterator[Transport]:
    """Carry requests with the official client, each in a thread, over connections that stay open."""
    counts = (THREADS, ORDER_THREADS, CANCEL_THREADS)
    pools = [ThreadPoolExecutor(count, thread_name_prefix="alpaca") for count in counts]
    try:
        yield _Threads(login, *pools)
    finally:
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)  # A hung request must not keep the daemon from leaving.


class _Threads:
    def __init__(
        self, login: Login, looks: ThreadPoolExecutor, orders: ThreadPoolExecutor, cancels: ThreadPoolExecutor
    ) -> None:
        self._login = login
        self._looks = looks
        self._orders = orders
        self._cancels = cancels
        self._own = threading.local()

    async def carry(self, call: Call) -> Reply:
        pool = self._orders if call.method == "POST" else self._cancels if _of_an_order(call) else self._looks
        return await asyncio.get_running_loop().run_in_executor(pool, partial(self._send, call))

    def _send(self, call: Call) -> Reply:
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - heavy, and needed by those alone who trade at Alpaca

        try:
            client = self._client()
            url = self._login.data if call.data else self._login.trading
            fields = {key: each for key, each in call.fields.items() if each is not None}
            reply: Reply = client._request(call.method, call.path, fields, url, call.version)  # noqa: SLF001 - for PATCH and POST, its public methods take no version
        except (OSError, HTTPError, ValueError) as error:  # All of requests' errors are OSErrors.
            message = f"{call.method} {call.path}: {self._hidden(_root(error))}"
            raise UnansweredError(message) from None  # What it is made from may quote the keys.
        return reply

    def _hidden(self, text: str) -> str:
        """Leave out the keys: what cannot be sent is quoted in the error that says so."""
        for each in (self._login.key, self._login.secret):
            for written in (each, repr(each)[1:-1]):
                text = text.replace(written, "***") if len(written) > 3 else text  # noqa: PLR2004 - no key is so short
        return text

    def _client(self) -> Any:  # noqa: ANN401 - its type is heavy to import
        """Give this thread's client: a session is no safe thing for two."""
        client = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = _official(self._login)
        return client


def _of_an_order(call: Call) -> bool:
    """Tell whether a request cancels an order, or looks one up."""
    return call.path.startswith(("/orders/", "/orders:"))


def _official(login: Login) -> Any:  # noqa: ANN401 - as above
    from alpaca.trading.client import TradingClient  # noqa: PLC0415 - heavy

    class Once(TradingClient):
        """The official client, whose requests end in time, are sent once, and are answered as they came."""

        def _one_request(self, method: str, url: str, opts: dict[str, Any], retry: int) -> Any:  # noqa: ANN401, ARG002 - the original's
            within = (CONNECT_WITHIN, READ_WITHIN)
            with self._session.request(method, url, timeout=within, stream=True, **opts) as response:
                headers = {name.lower(): each for name, each in response.headers.items()}
                return Reply(response.status_code, headers, _body(response.raw))

    return Once(login.key, login.secret, url_override=login.trading)


def _body(raw: Any) -> bytes:  # noqa: ANN401 - as above
    """Read an answer's body as it comes: one that trickles in would be in time with every byte, and hold its thread."""
    from requests import RequestException  # noqa: PLC0415 - heavy, as above

    begun, body = time.monotonic(), bytearray()
    while piece := raw.read1(PIECE, decode_content=True):
        body += piece
        if len(body) > LARGEST:
            message = f"the answer is larger than {LARGEST} bytes"
            raise RequestException(message)
        if time.monotonic() - begun > DEADLINE:
            message = f"the answer takes longer than {DEADLINE:g} s"
            raise RequestException(message)
    return bytes(body)


def _root(error: BaseException) -> str:
    """Say what went wrong beneath the layers of a client's errors."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return str(error) or type(error).__name__


class Rest:
    """Asks and orders within the limits of a login."""

    def __init__(self, transport: Transport, limiter: Limiter, clock: Clock) -> None:
        self._transport = transport
        self._limiter = limiter
        self._clock = clock
        self._orders = asyncio.Semaphore(ORDER_THREADS)
        """As many orders are under way as have a thread of their own, so that none waits for one."""

    def waiting(self) -> int:
        """Give how many requests wait for their turn."""
        return self._limiter.waiting

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until an order may leave, within which one leaves at once: with ``urgency`` None."""
        async with self._orders:
            await self._limiter.take(Urgency.ORDER)
            yield

    async def admit(self, urgency: Urgency) -> None:
        """Wait until a request may leave, which then is sent with ``urgency`` None."""
        await self._limiter.take(urgency)

    async def once(self, call: Call, wanted: type[T], urgency: Urgency | None) -> T:
        """Send a request once, and read its answer.

        Raises:
            AlpacaError: see ``answers``.
        """
        if urgency is not None:  # Waiting for our own limit is no silence of Alpaca's.
            await self._limiter.take(urgency)
        pulse.progress(f"{call.method} {call.path}")
        try:
            async with asyncio.timeout(DEADLINE):
                reply = await self._transport.carry(call)
        except TimeoutError as late:
            message = f"{call.method} {call.path}: no answer within {DEADLINE:g} s"
            raise UnansweredError(message) from late
        try:
            return understood(reply, wanted)
        except LimitedError as limited:
            self._limiter.exhausted(None if limited.reset is None else Instant(int(limited.reset) * SECOND))
            raise
        except UnansweredError as unclear:
            message = f"{call.method} {call.path}: {unclear}"
            raise UnansweredError(message) from unclear

    async def look(self, call: Call, wanted: type[T], urgency: Urgency = Urgency.LOOK) -> T:
        """Ask for something, again if need be: a question changes nothing.

        Raises:
            AlpacaError: see ``answers``.
        """
        backoff = Backoff()
        while True:
            try:
                return await self.once(call, wanted, urgency)
            except (UnansweredError, LimitedError) as error:
                failed: AlpacaError = error
            wait = backoff.next()
            if backoff.attempts >= LOOKS:
                raise failed
            await self._clock.sleep(wait)


__all__ = ["AlpacaError", "Call", "DeniedError", "Rest", "Transport", "threads"]
