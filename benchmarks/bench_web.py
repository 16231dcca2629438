"""What dashboards cost the price loop: a daemon at which two hundred look, beside one that has none.

Both watch a thousand positions, nearly all of which have a new price at every look, and raise forty signals a second:
more than any market does. They run in turn, a few seconds each, while the other is stopped. What is compared is the
prints that each takes in a second of its processor time, all of its threads together, and in a second of the clock.

Those who look are a process of its own, which does nothing but receive.
"""

from __future__ import annotations

import contextlib
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

from benchmarks.alerting import POSITIONS, SIGNALS
from benchmarks.bench_alerts import warm
from benchmarks.local import next_line
from benchmarks.measuring import check, report, workplace
from benchmarks.turns import Runner
from mrdaemon.places import TOKEN

CLIENTS: Final = 200
TURN_S: Final = 3.0
"""Long against the time between two looks, since those go by the clock, which goes on while the daemon is stopped."""
TURNS: Final = 12
WATCHED_S: Final = 6.0
GOAL: Final = 1 / 0.9
"""Of a print's processor time: a throughput of 0.9."""
_EVENT: Final = re.compile(rb"event: (\w+)")


def free_port() -> int:
    """Give a port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def look(port: int, token: str) -> None:
    """Look with so many clients, until standard input ends; then say what they were sent."""
    asked = f"GET /api/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    received, events, chooser = 0, 0, selectors.DefaultSelector()
    with ExitStack() as opened:
        for _ in range(CLIENTS):
            line = opened.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            line.sendall(asked)
            check(holds=line.recv(65536).startswith(b"HTTP/1.1 200"), what="a stream")
            chooser.register(line, selectors.EVENT_READ)
        chooser.register(sys.stdin, selectors.EVENT_READ)
        sys.stdout.write("looking\n")
        sys.stdout.flush()
        while True:
            for key, _ in chooser.select():
                if key.fileobj is sys.stdin:
                    sys.stdout.write(f"{received} {events}\n")
                    return
                if isinstance(key.fileobj, socket.socket):
                    block = key.fileobj.recv(1 << 20)
                    check(holds=bool(block), what="a stream that goes on")
                    received, events = received + len(block), events + len(_EVENT.findall(block))


@contextmanager
def looking(runner: Runner, port: int, token: str) -> Iterator[subprocess.Popen[str]]:
    """Have two hundred look."""
    command = (sys.executable, "-m", "benchmarks.bench_web", str(port), token)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
        try:
            with runner.running():
                check(holds=next_line(clients).strip() == "looking", what="clients that look")
            yield clients
        finally:
            clients.kill()


def main(folder: Path) -> None:
    """Measure a daemon with a dashboard against one without."""
    port = free_port()
    with warm(folder / "without", "") as base, warm(folder / "with", f'[web]\nlisten = "127.0.0.1:{port}"\n') as ours:
        token = (folder / "with" / TOKEN).read_text(encoding="utf-8").strip()
        duel("nobody", "with a dashboard at which nobody looks", ours, base, TURNS // 2)
        with looking(ours, port, token) as clients:
            ours.turn(2 * TURN_S)  # Everything is sent once, first.
            begun = time.monotonic()
            duel("clients", f"while {CLIENTS} look", ours, base, TURNS, GOAL)
            us, them = ours.longest(WATCHED_S), base.longest(WATCHED_S)
            report(
                "web/held",
                f"the longest work between two batches of prices while {CLIENTS} look: the loop's processor time",
                held_ms=us.processor * 1e3,
                bare_held_ms=them.processor * 1e3,
            )
            seconds = time.monotonic() - begun
            with contextlib.suppress(BrokenPipeError), ours.running():
                out, _ = clients.communicate("", timeout=60)
            received, events = map(int, out.split())
            check(holds=events > CLIENTS * TURNS, what=f"clients that are told what happens, got {events} events")
            report(
                "web/sent",
                "what each was sent, by the clock, of which the daemon had half",
                kilobytes_per_s=received / CLIENTS / seconds / 1024,
                events_per_s=events / CLIENTS / seconds,
            )


def duel(name: str, what: str, ours: Runner, base: Runner, turns: int, goal: float | None = None) -> None:
    """Let both run in turn, and report what a print costs ours against the other."""
    pairs = [(ours.turn(TURN_S), base.turn(TURN_S)) for _ in range(turns)]
    report(
        f"web/{name}",
        f"processor time of a print {what}, {POSITIONS} positions, {SIGNALS} signals a second, against no dashboard",
        prints_per_s=round(median(us.rate for us, _ in pairs)),
        bare_per_s=round(median(them.rate for _, them in pairs)),
        throughput=median(us.rate / them.rate for us, them in pairs),
        throughput_by_the_clock=median(us.prints / us.clock / (them.prints / them.clock) for us, them in pairs),
        ratio=median(them.rate / us.rate for us, them in pairs),
        goal=goal,
    )


if __name__ == "__main__":
    if sys.argv[1:]:
        look(int(sys.argv[1]), sys.argv[2])
    else:
        with workplace() as place:
            main(place)
