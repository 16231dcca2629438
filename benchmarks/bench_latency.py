"""From the arrival of the print that fires to the order on the wire: the whole daemon, against a bare script.

Both get their prices from a local Alpaca and send their orders there, through a relay that notes when a frame of prices
went down to them and when the first bytes of an order came up. The daemon decides, journals signal and intent durably,
and sends; the script decodes the frame, commits one row durably, and posts with ``requests``.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Final, NamedTuple

import msgspec

from benchmarks.local import KEY, SECRET, Relay, child, configuration, daemon, next_line, push, simulator, wait_for
from benchmarks.measuring import bare_database, check, report, workplace

ROUNDS: Final = 3
ORDERS: Final = 100
"""In a round; with what a start asks for it stays below what Alpaca takes in a minute."""
WARM_UP: Final = 10
PAUSE_S: Final = 0.02
"""Until the next price, so that both sides are found waiting."""
SETTLE_S: Final = 0.5
"""For what a start has still to do."""
SYMBOL: Final = "QQQ"
LOW, HIGH = 100.0, 106.0
GOAL: Final = 1.5


class Market(NamedTuple):
    """A local Alpaca, and the relay before it."""

    port: int
    relay: Relay


def latencies(folder: Path, run: Callable[[Path, Market], list[float]]) -> list[float]:
    """Give the seconds of each order of a side."""
    folder.mkdir()
    with simulator(folder) as port:
        push(port, [(SYMBOL, LOW)])  # It knows what has a price.
        relay = Relay(port)
        try:
            return run(folder, Market(port, relay))[WARM_UP:]
        finally:
            relay.close()


def there_and_back(market: Market, wait: Callable[[], None]) -> list[float]:
    """Let the price jump, and give the seconds to the order that follows each time."""
    port, relay = market
    seconds = []
    for number in range(WARM_UP + ORDERS):
        time.sleep(PAUSE_S)
        before = len(relay.orders)
        push(port, [(SYMBOL, LOW if number % 2 else HIGH)])
        wait()
        check(holds=len(relay.orders) == before + 1, what=f"one order a price, got {len(relay.orders) - before}")
        order = relay.orders[-1]
        seconds.append((order - max(each for each in relay.prices if each < order)) / 1e9)
    return seconds


def ours(folder: Path, market: Market) -> list[float]:
    """Let the daemon trade there and back, once it has bought what it holds."""
    with daemon(folder, configuration(folder, market.relay.port, [SYMBOL])) as process:
        wait_for(process, "account_reconciled")
        time.sleep(SETTLE_S)
        push(market.port, [(SYMBOL, LOW)])
        wait_for(process, "order_ended")
        return there_and_back(market, partial(wait_for, process, "order_ended"))


def bare(folder: Path, market: Market) -> list[float]:
    """Let the script do the same."""
    command = [sys.executable, "-m", "benchmarks.bench_latency", str(market.relay.port), str(folder / "bare.db")]
    with child(*command, log=folder / "bare.log") as process:
        next_line(process)
        return there_and_back(market, lambda: check(holds=next_line(process) == "posted\n", what="a posted order"))


class Trade(msgspec.Struct, tag_field="T", tag="t"):
    """What the script reads of a trade."""

    S: str
    p: float


class Quote(msgspec.Struct, tag_field="T", tag="q"):
    """What it reads of a quote: nothing."""


async def script(port: int, file: Path) -> None:
    """Post an order for every price that moved."""
    import requests  # noqa: PLC0415 - the daemon's side does without
    from websockets.asyncio.client import connect  # noqa: PLC0415 - as above

    decode = msgspec.msgpack.Decoder(list[Trade | Quote]).decode
    headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    last = 0.0
    with bare_database(file) as connection, requests.Session() as session:
        session.headers.update(headers)
        async with connect(
            f"ws://127.0.0.1:{port}/v2/sip",
            additional_headers={"Content-Type": "application/msgpack", **headers},
        ) as stream:
            for _ in range(2):
                await stream.recv()
            await stream.send(msgspec.msgpack.encode({"action": "subscribe", "trades": [SYMBOL], "quotes": [SYMBOL]}))
            await stream.recv()
            _tell("ready")
            while True:
                for each in decode(await stream.recv(decode=False)):
                    if isinstance(each, Trade) and each.p != last:
                        last = each.p
                        _trade(connection, session, f"http://127.0.0.1:{port}/v2/orders", last)


def _trade(connection: sqlite3.Connection, session: object, url: str, price: float) -> None:
    body = {"symbol": SYMBOL, "side": "buy", "type": "market", "time_in_force": "day", "notional": "10"}
    connection.execute("INSERT INTO rows (body) VALUES (?)", (json.dumps({"price": price, **body}),))  # commits
    session.post(url, json=body, timeout=10)  # type: ignore[attr-defined]
    _tell("posted")


def _tell(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(folder: Path) -> None:
    """Measure both, in turn, each time from a start of its own."""
    found: dict[str, list[list[float]]] = {"ours": [], "bare": []}
    for number in range(ROUNDS):
        found["ours"].append(latencies(folder / f"ours-{number}", ours))
        found["bare"].append(latencies(folder / f"bare-{number}", bare))
    figures: dict[str, Callable[[list[float]], float]] = {"p50": median, "p99": _p99}
    for name, figure in figures.items():
        ratios = [figure(us) / figure(them) for us, them in zip(found["ours"], found["bare"], strict=True)]
        report(
            f"latency/{name}",
            "from the arrival of the firing print to the order's first bytes, against decode, one commit and requests",
            ours_ms=min(map(figure, found["ours"])) * 1e3,
            bare_ms=min(map(figure, found["bare"])) * 1e3,
            orders=ROUNDS * ORDERS,
            ratio=median(ratios),
            goal=GOAL,
        )


def _p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[-1]


if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(script(int(sys.argv[1]), Path(sys.argv[2])))
    else:
        with workplace() as place:
            main(place)
