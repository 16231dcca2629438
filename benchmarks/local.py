"""A local Alpaca as a child process, the daemon beside it, and a relay between them that notes when what passed."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

MRDAEMON: Final = (sys.executable, "-W", "ignore", "-m", "mrdaemon")
KEY, SECRET = "PKSIMULATOR", "simulated"
CHUNK: Final = 65_536


@contextmanager
def child(*command: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a child, whose errors go to a file; it is killed at the end."""
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def simulator(folder: Path) -> Iterator[int]:
    """Have a local Alpaca that is always open, has every stream, and no prices of its own; gives its port."""
    wishes = ["--port", "0", "--json", "--plan", "plus", "--always-open", "--symbols", "", "--cash", "1000000000"]
    with child(*MRDAEMON, "simulator", *wishes, log=folder / "simulator.log") as process:
        yield urlsplit(json.loads(next_line(process))["url"]).port or 0


def configuration(folder: Path, port: int, symbols: Sequence[str], mode: str = "auto") -> Path:
    """Write a configuration that trades symbols there, on the first print that fires."""
    tables = "".join(f'[portfolios.core.positions.{name}]\ntarget = "5000"\ninitial = "buy"\n' for name in symbols)
    file = folder / "benchmark.toml"
    file.write_text(
        f"""
[feed]
kind = "alpaca"
stream = "sip"
[prices]
sessions = "always"
confirm = 0
max_jump = "off"
[accounts.alpaca]
broker = "alpaca"
url = "http://127.0.0.1:{port}"
key = "{KEY}"
secret = "{SECRET}"
orders_per_minute = 1000000
orders_per_day = 1000000
[portfolios.core]
account = "alpaca"
reserve = "100000000"
zone = "3%"
mode = "{mode}"
{tables}""",
        encoding="utf-8",
    )
    return file


@contextmanager
def daemon(folder: Path, config: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the daemon, which tells its events on standard output."""
    state = str(folder / "state")
    with child(*MRDAEMON, "run", "--json", "-c", str(config), "--state", state, log=folder / "daemon.log") as process:
        yield process


def push(port: int, prices: Sequence[tuple[str, float]]) -> None:
    """Let trades happen at a local Alpaca, all in one frame."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/simulator/prices", json.dumps([{"symbol": s, "price": p} for s, p in prices]))
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise RuntimeError(answer.read())
    connection.close()


def next_line(process: subprocess.Popen[str]) -> str:
    """Give the next line that a child says.

    Raises:
        RuntimeError: it ended.
    """
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        message = f"{process.args!r} ended: its errors are in its log"
        raise RuntimeError(message)
    return line


def wait_for(process: subprocess.Popen[str], kind: str, count: int = 1) -> None:
    """Read a daemon's events until there were so many of a kind."""
    while count:
        count -= json.loads(next_line(process))["kind"] == kind


class Relay:
    """Passes bytes on between clients and a local Alpaca, and notes when prices went down and when orders came up."""

    def __init__(self, upstream: int) -> None:
        self.prices: list[int] = []
        """When each piece of a market data stream went to its client, in nanoseconds."""
        self.orders: list[int] = []
        """When the first bytes of each POST of an order came."""
        self._upstream = upstream
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        """Where clients connect to."""
        return int(self._server.getsockname()[1])

    def close(self) -> None:
        """Take no more clients."""
        self._server.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._upstream))
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = client.recv(CHUNK)
        noted = self.prices if first.startswith(b"GET /v2/sip") else []
        threading.Thread(target=self._down, args=(server, client, noted), daemon=True).start()
        self._up(first, client, server)

    def _up(self, chunk: bytes, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while chunk:
                if chunk.startswith(b"POST /v2/orders"):
                    self.orders.append(time.perf_counter_ns())
                server.sendall(chunk)
                chunk = client.recv(CHUNK)
            server.shutdown(socket.SHUT_WR)

    def _down(self, server: socket.socket, client: socket.socket, noted: list[int]) -> None:
        with suppress(OSError):
            while chunk := server.recv(CHUNK):
                noted.append(time.perf_counter_ns())
                client.sendall(chunk)
            client.shutdown(socket.SHUT_WR)
