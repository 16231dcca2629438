"""What a message of a market data stream costs the client's processor, from the socket to whoever takes the prints.

Beside our stream there are a bare loop, ``websockets`` and msgspec and nothing else, and the stream of alpaca-py with
its models. Each runs in a process of its own, fed by the same server with the same bytes at full speed; only the
client's processor time counts, between its first message and its last.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import msgspec

from benchmarks.measuring import alternate_told, check, report, workplace
from benchmarks.wire import SYMBOLS, served

ROUNDS: Final = 7
MESSAGES: Final = {1: 40_000, 20: 200_000}
"""By size of a batch: how many are played to a client."""
GOAL_BARE: Final = 1.3
GOAL_OFFICIAL: Final = 0.25
TO_OFFICIAL: Final = 4
"""How many times fewer messages the official client is given: it takes its time."""


class Meter:
    """Counts messages, and the processor's time from the first to the last."""

    def __init__(self, wanted: int) -> None:
        self.seen = 0
        self.wanted = wanted
        self.full = asyncio.Event()
        self.seconds = 0.0
        self._begun = 0.0

    def saw(self, messages: int) -> None:
        """Count."""
        if not self.seen:
            self._begun = time.process_time()
        self.seen += messages
        if self.seen >= self.wanted:
            self.seconds = time.process_time() - self._begun
            self.full.set()


# The sides, each in a process of its own. What they import is heavy, and not the others' to carry.


async def ours(address: str, meter: Meter) -> None:
    """Run our stream."""
    from mrdaemon.alpaca.limiter import Limiter  # noqa: PLC0415 - see above
    from mrdaemon.alpaca.login import Login  # noqa: PLC0415
    from mrdaemon.alpaca.rest import Rest, threads  # noqa: PLC0415
    from mrdaemon.alpaca.socket import connect  # noqa: PLC0415
    from mrdaemon.calendar import MarketCalendar  # noqa: PLC0415
    from mrdaemon.clock import SystemClock  # noqa: PLC0415
    from mrdaemon.core.policy import FeedState  # noqa: PLC0415
    from mrdaemon.core.prints import Print  # noqa: PLC0415
    from mrdaemon.feeds.alpacastream import Market, Stream, Surroundings  # noqa: PLC0415

    class Deaf:
        def stands(self, feed: str, state: FeedState, reason: str) -> None: ...

        def halted(self, symbol: str, reason: str | None) -> None: ...

        def busted(self, symbol: str, trade: int, corrected: Print | None) -> None: ...

        def halts(self) -> frozenset[str]:
            return frozenset()

    async def deliver(batch: Sequence[Print], cursor: int | None) -> None:  # noqa: ARG001 - the protocol's
        meter.saw(len(batch))

    clock, login = SystemClock(), Login.of("key", "secret", live=False)
    market = Market("stream", address, SYMBOLS, SYMBOLS, statuses=True, place=None, always=True)
    async with threads(login) as transport:
        rest = Rest(transport, Limiter(clock), clock)
        await Stream(market, Surroundings(login, rest, connect, MarketCalendar(), clock, Deaf())).run(deliver)


class Trade(msgspec.Struct, tag_field="T", tag="t", gc=False):
    """What a bare loop reads of a trade."""

    S: str
    p: float
    s: float
    i: int
    c: list[str]
    t: datetime


class Quote(msgspec.Struct, tag_field="T", tag="q", gc=False):
    """What a bare loop reads of a quote."""

    S: str
    bp: float
    ap: float
    t: datetime


async def bare(address: str, meter: Meter) -> None:
    """Receive and decode, and nothing else."""
    from websockets.asyncio.client import connect  # noqa: PLC0415 - see above

    decode = msgspec.msgpack.Decoder(list[Trade | Quote]).decode
    async with connect(address, additional_headers={"Content-Type": "application/msgpack"}) as connection:
        for said in ({"action": "auth", "key": "key", "secret": "secret"}, {"action": "subscribe", "trades": SYMBOLS}):
            await connection.recv()
            await connection.send(msgspec.msgpack.encode(said))
        await connection.recv()
        while True:
            meter.saw(len(decode(await connection.recv(decode=False))))


async def official(address: str, meter: Meter) -> None:
    """Run alpaca-py's stream, with models."""
    from alpaca.data.live import StockDataStream  # noqa: PLC0415 - see above
    from alpaca.data.models import Quote as QuoteModel  # noqa: PLC0415
    from alpaca.data.models import Trade as TradeModel  # noqa: PLC0415

    async def take(_: TradeModel | QuoteModel | dict[Any, Any]) -> None:
        meter.saw(1)

    stream = StockDataStream("key", "secret", url_override=address)
    stream.subscribe_trades(take, *SYMBOLS)
    stream.subscribe_quotes(take, *SYMBOLS)
    await stream._run_forever()  # noqa: SLF001 - its public method starts a loop of its own


SIDES: Final[dict[str, Callable[[str, Meter], Awaitable[None]]]] = {"ours": ours, "bare": bare, "official": official}


async def client(side: str, address: str, messages: int) -> None:
    """Run one side until it has everything; tell the seconds of a message."""
    meter = Meter(messages)
    running = asyncio.ensure_future(SIDES[side](address, meter))
    waiting = asyncio.ensure_future(meter.full.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    sys.stdout.write(json.dumps({"seen": meter.seen, "seconds": meter.seconds / messages}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # The official stream would take ten seconds for its farewell.


def cost(side: str, address: str, messages: int) -> float:
    """Give the seconds of the processor that a message costs a side."""
    command = [sys.executable, "-m", "benchmarks.bench_stream", side, address, str(messages)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    check(holds=told["seen"] == messages, what=f"{messages} messages, got {told['seen']}")
    return float(told["seconds"])


def main() -> None:
    """Measure both sizes of batch."""
    for batch, messages in MESSAGES.items():
        few = messages // TO_OFFICIAL
        with served(batch, messages) as address, served(batch, few) as shorter:
            rounds = alternate_told(
                ROUNDS,
                ours=partial(cost, "ours", address, messages),
                bare=partial(cost, "bare", address, messages),
                official=partial(cost, "official", shorter, few),
            )
        what = f"processor time of a message in batches of {batch}, a fifth of them trades, none lost"
        report(
            f"stream/batch-{batch}",
            f"{what}, against websockets and msgspec alone",
            ours_us=rounds.best("ours") * 1e6,
            bare_us=rounds.best("bare") * 1e6,
            ratio=rounds.ratio("ours", "bare"),
            goal=GOAL_BARE,
        )
        report(
            f"stream/batch-{batch}/official",
            f"{what}, against alpaca-py with models",
            ours_us=rounds.best("ours") * 1e6,
            official_us=rounds.best("official") * 1e6,
            ratio=rounds.ratio("ours", "official"),
            times_less=rounds.ratio("official", "ours"),
            goal=GOAL_OFFICIAL if batch > 1 else None,
        )


if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(client(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    else:
        with workplace():
            main()
