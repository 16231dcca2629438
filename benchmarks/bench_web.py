"""What dashboards cost the price loop: a daemon at which two hundred look, and the same one while nobody does, in turn.

It watches a thousand positions, nearly all of which have a new price at every look, and raises forty signals a second:
more than any market does. What is compared is the prints that it takes in a second of its processor time, all of its
threads together, and in a second of the clock.

Those who look are a process of its own, which does nothing but receive; it wants a processor of its own as well.
"""

from __future__ import annotations

import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.alerting import POSITIONS, SIGNALS, say
from benchmarks.bench_alerts import warm
from benchmarks.local import next_line
from benchmarks.measuring import check, report, workplace
from benchmarks.turns import Runner, Slice
from mrdaemon.places import TOKEN

CLIENTS: Final = 200
TURN_S: Final = 5.0
SETTLE_S: Final = 8.0
"""Until all of them have been told everything."""
GO_S: Final = 2.0
TURNS: Final = 5
WATCHED_S: Final = 6.0
GOAL: Final = 1 / 0.9
"""Of a print's processor time: a throughput of 0.9."""
_EVENT: Final = re.compile(rb"event: (\w+)")


def free_port() -> int:
    """Give a port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def joined(port: int, asked: bytes) -> socket.socket:
    """Open a stream; while those that went just now are still taken for clients, there may be no room."""
    tries = 0
    while True:
        line = socket.create_connection(("127.0.0.1", port), 60)
        line.sendall(asked)
        head = line.recv(65536)
        if head.startswith(b"HTTP/1.1 200"):
            return line
        line.close()
        tries += 1
        check(holds=head.startswith(b"HTTP/1.1 503") and tries < 600, what=f"a stream, got {head[:40]!r}")
        time.sleep(0.05)


def look(port: int, token: str) -> None:
    """Look and go as standard input says, and say what was received meanwhile."""
    for _ in sys.stdin:
        asked = f"GET /api/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        received, events, chooser = 0, 0, selectors.DefaultSelector()
        with ExitStack() as opened:
            for _ in range(CLIENTS):
                line = opened.enter_context(joined(port, asked))
                chooser.register(line, selectors.EVENT_READ)
            say("looking")
            chooser.register(sys.stdin, selectors.EVENT_READ)
            while sys.stdin not in (ready := [key.fileobj for key, _ in chooser.select()]):
                for each in ready:
                    block = each.recv(1 << 20) if isinstance(each, socket.socket) else b""
                    check(holds=bool(block), what="a stream that goes on")
                    received, events = received + len(block), events + len(_EVENT.findall(block))
            sys.stdin.readline()
        say(f"{received} {events}")


class Lookers:
    """Two hundred who look, or not."""

    def __init__(self, process: subprocess.Popen[str], daemon: Runner) -> None:
        self._process = process
        self._daemon = daemon

    def come(self) -> None:
        """Have them look, and be told everything once."""
        with self._daemon.running():
            self._say()
            check(holds=next_line(self._process).strip() == "looking", what="clients that look")
        self._daemon.turn(SETTLE_S)

    def go(self) -> tuple[int, int]:
        """Have them go; gives the bytes and the events that they were sent."""
        with self._daemon.running():
            self._say()
            received, events = map(int, next_line(self._process).split())
        self._daemon.turn(GO_S)
        return received, events

    def _say(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()


@contextmanager
def lookers(daemon: Runner, port: int, token: str) -> Iterator[Lookers]:
    """Have two hundred at hand."""
    command = (sys.executable, "-m", "benchmarks.bench_web", str(port), token)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Lookers(process, daemon)
        finally:
            process.kill()


def main(folder: Path) -> None:
    """Measure a daemon with and without anybody who looks."""
    port = free_port()
    with warm(folder / "with", f'[web]\nlisten = "127.0.0.1:{port}"\n') as daemon:
        token = (folder / "with" / TOKEN).read_text(encoding="utf-8").strip()
        with lookers(daemon, port, token) as clients:
            pairs, received, events = list[tuple[Slice, Slice]](), 0, 0
            for _ in range(TURNS):
                clients.come()
                looked = daemon.turn(TURN_S)
                more, told = clients.go()
                pairs.append((looked, daemon.turn(TURN_S)))
                received, events = received + more, events + told
            clients.come()
            us = daemon.longest(WATCHED_S)
            clients.go()
            them = daemon.longest(WATCHED_S)
    seconds = TURNS * (TURN_S + SETTLE_S)
    check(holds=events > CLIENTS * seconds / 4, what=f"clients that are told what happens, got {events} events")
    report(
        "web/clients",
        f"processor time of a print while {CLIENTS} look at {POSITIONS} positions, {SIGNALS} signals a second, against "
        "the same while nobody does",
        prints_per_s=round(median(us.rate for us, _ in pairs)),
        bare_per_s=round(median(them.rate for _, them in pairs)),
        throughput=median(us.rate / them.rate for us, them in pairs),
        throughput_by_the_clock=median(us.prints / us.clock / (them.prints / them.clock) for us, them in pairs),
        ratio=median(them.rate / us.rate for us, them in pairs),
        goal=GOAL,
        kilobytes_per_client_and_s=received / CLIENTS / seconds / 1024,
        events_per_client_and_s=events / CLIENTS / seconds,
    )
    report(
        "web/held",
        f"the longest work between two batches of prices while {CLIENTS} look: the loop's processor time",
        held_ms=us.processor * 1e3,
        bare_held_ms=them.processor * 1e3,
    )


if __name__ == "__main__":
    if sys.argv[1:]:
        look(int(sys.argv[1]), sys.argv[2])
    else:
        with workplace() as place:
            main(place)
