"""A local Alpaca for tests, served on a free loopback port of this process."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from mrdaemon.clock import SystemClock
from mrdaemon.core.prints import Quote, Trade, trade_print
from mrdaemon.simulator.exchange import ExchangeRules
from mrdaemon.simulator.keys import Keys
from mrdaemon.simulator.server import serving
from mrdaemon.simulator.simulator import Simulator
from mrdaemon.simulator.standing import NeverCloses

PATIENCE = 20.0
KEYS = Keys()


class Local:
    """A simulator that is being served."""

    def __init__(self, simulator: Simulator, url: str) -> None:
        self.simulator = simulator
        self.url = url
        self.streams = url.replace("http://", "ws://")

    def price(self, symbol: str = "QQQ", price: float = 500.0) -> None:
        now = SystemClock().now()
        self.simulator.see([trade_print(symbol, price, now, Trade("@", 10.0), Quote(price - 0.01, price + 0.01))])

    async def ask(self, method: str, path: str, body: object = None, patience: float = PATIENCE) -> tuple[int, Any]:
        """Ask as a client with the right keys does; gives status and answer."""
        return await asyncio.to_thread(self._ask, method, path, body, patience)

    def _ask(self, method: str, path: str, body: object, patience: float) -> tuple[int, Any]:
        headers = {"APCA-API-KEY-ID": KEYS.key_id, "APCA-API-SECRET-KEY": KEYS.secret}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - it is loopback
        try:
            with urllib.request.urlopen(request, timeout=patience) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    async def until(self, path: str, wanted: Any) -> None:
        """Wait until a connection's session is as wanted."""
        async with asyncio.timeout(PATIENCE):
            while not any(  # noqa: ASYNC110 - what is waited for has no event
                each.line.stream == path and wanted(each) for each in self.simulator.sessions
            ):
                await asyncio.sleep(0.001)


@asynccontextmanager
async def local(**named: Any) -> AsyncIterator[Local]:
    """Serve one whose markets never close and whose orders fill at once and whole, unless it is told otherwise."""
    rules = {"rules": ExchangeRules(partial_fills=Decimal(0)), **named}
    simulator = Simulator(SystemClock().now, NeverCloses(), **rules)
    async with serving(simulator) as url:
        yield Local(simulator, url)
