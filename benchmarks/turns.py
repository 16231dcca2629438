"""Daemons that run in turn, a moment each, while the others are stopped: what else a machine does meets all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.alerting import Count, Counts
from benchmarks.local import next_line
from benchmarks.measuring import check

SLICE_S: Final = 0.25
END_WITHIN_S: Final = 60.0


class Slice(NamedTuple):
    """What a daemon did in its turn."""

    prints: int
    clock: float
    processor: float

    @property
    def rate(self) -> float:
        """Prints in a second of the processor."""
        return self.prints / self.processor


class Runner:
    """A daemon, which stands still unless it has its turn."""

    def __init__(self, process: subprocess.Popen[str], counts: Counts) -> None:
        self._process = process
        self._counts = counts

    def turn(self, seconds: float = SLICE_S) -> Slice:
        """Let it run for a while."""
        prints, processor, clock = self._counts.read().prints, self._processor(), time.perf_counter()
        with self.running():
            time.sleep(seconds)
        clock = time.perf_counter() - clock
        return Slice(self._counts.read().prints - prints, clock, self._processor() - processor)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let it run."""
        self._process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Let it stand still; it does when this returns."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def tell(self, word: str) -> None:
        """Tell it what to do, and let it run until it is done."""
        with self.running():
            if self._process.stdin is not None:
                self._process.stdin.write(f"{word}\n")
                self._process.stdin.flush()
            self._hear(f"done {word}")

    def until(self, state: str) -> None:
        """Let it run until its channel stands so."""
        with self.running():
            self._hear(state)

    def longest(self, seconds: float) -> Count:
        """Let it run for a while, and give what it counted in it."""
        self.tell("watch")
        with self.running():
            time.sleep(seconds)
        count = self._counts.read()
        self.tell("watch no more")
        return count

    def end(self) -> None:
        """Let it end, and see that it measured what it was to."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.send_signal(signal.SIGCONT)
        code = self._process.wait(END_WITHIN_S)
        check(holds=code == 0, what=f"a daemon that ends well, got {code}")

    def _hear(self, word: str) -> None:
        while next_line(self._process).strip() != word:
            pass

    def _processor(self) -> float:
        """Give the seconds that all of its threads ran: the clock of a process is named by its number."""
        return time.clock_gettime(~self._process.pid << 3 | 2)


@contextmanager
def daemon(config: Path) -> Iterator[Runner]:
    """Have a daemon that has started and stands still."""
    counts = Counts(config.with_name("counts"))
    command = (sys.executable, "-m", "benchmarks.alerting", str(config))
    with (
        config.with_suffix(".log").open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        runner = Runner(process, counts)
        try:
            runner.until("started")
            yield runner
            runner.end()
        finally:
            process.kill()
