"""A market data stream at full speed: a server of its own process, whose every byte is made before the first is sent.

It greets, lets everybody in, answers a subscription, and plays so many trades and quotes, one in five a trade, in
frames of MessagePack over a WebSocket that compresses if the client can. A client that cannot keep up is waited for.
"""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import cycle, islice
from typing import Final

import msgspec
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from mrdaemon.core.instant import Instant
from mrdaemon.simulator.messages import Message, MsgpackCodec, QuoteMessage, Stamp, TradeMessage

SYMBOLS: Final = tuple(f"S{each}" for each in range(100))
DISTINCT: Final = 20_000
"""Messages after which they begin again."""
MAX_MESSAGE: Final = 1 << 20


def frames(batch: int) -> list[bytes]:
    """Give different frames of so many messages each, as they are before compression."""
    draw = random.Random(1)
    at = time.time_ns()
    told = [_message(draw, number, Instant(at + number * 1_001)) for number in range(DISTINCT)]
    codec = MsgpackCodec()
    return [codec.write(told[start : start + batch]) for start in range(0, DISTINCT, batch)]


def _message(draw: random.Random, number: int, at: Instant) -> Message:
    symbol, cents = draw.choice(SYMBOLS), draw.randrange(9_900, 10_100)
    if number % 5 == 0:
        conditions = draw.choice((("@",), ("@", "I"), ("@", "F", "I")))
        return TradeMessage(symbol, Stamp(at), number + 1, "V", cents / 100, draw.randrange(1, 500), conditions, "C")
    bid, ask = (cents - 1) / 100, (cents + 1) / 100
    return QuoteMessage(symbol, Stamp(at), "V", bid, draw.randrange(1, 9), "Q", ask, draw.randrange(1, 9))


@contextmanager
def served(batch: int, messages: int) -> Iterator[str]:
    """Have a server that plays to whoever comes, one after the other; gives its address."""
    command = [sys.executable, "-m", "benchmarks.wire", str(batch), str(messages)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.kill()


class Conversation:
    """One client of the server."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        # What the library's own server offers where it is not told otherwise.
        deflate = ServerPerMessageDeflateFactory(
            server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
        )
        self._protocol = ServerProtocol(extensions=[deflate], max_size=MAX_MESSAGE)

    def hold(self, played: list[bytes], count: int) -> None:
        """Talk to a client until it leaves."""
        self._protocol.send_response(self._protocol.accept(self._request()))
        self._say([{"T": "success", "msg": "connected"}])
        self._next_message()
        self._say([{"T": "success", "msg": "authenticated"}])
        self._next_message()
        subscription = msgspec.msgpack.encode([{"T": "subscription", "trades": SYMBOLS, "quotes": SYMBOLS}])
        for frame in (subscription, *islice(cycle(played), count)):
            self._protocol.send_binary(frame)
        self._flush()
        while not self._protocol.close_expected() and (said := self._connection.recv(65_536)):
            self._protocol.receive_data(said)
            self._flush()  # It may have pinged, or said farewell.

    def _say(self, what: object) -> None:
        self._protocol.send_binary(msgspec.msgpack.encode(what))
        self._flush()

    def _flush(self) -> None:
        self._connection.sendall(b"".join(self._protocol.data_to_send()))

    def _request(self) -> Request:
        while True:
            self._protocol.receive_data(self._connection.recv(65_536))
            for event in self._protocol.events_received():
                if isinstance(event, Request):
                    return event

    def _next_message(self) -> None:
        """Wait until a whole message was said, whatever it was."""
        while True:
            self._protocol.receive_data(self._connection.recv(65_536))
            events = self._protocol.events_received()
            if any(isinstance(each, Frame) and each.opcode is not Opcode.PING and each.fin for each in events):
                return


def main(batch: int, messages: int) -> None:
    """Serve until killed."""
    played = frames(batch)
    with socket.create_server(("127.0.0.1", 0)) as server:
        sys.stdout.write(f"ws://127.0.0.1:{server.getsockname()[1]}/v2/sip\n")
        sys.stdout.flush()
        while True:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # One that leaves without a word is no loss.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                Conversation(connection).hold(played, messages // batch)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
