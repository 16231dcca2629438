"""Standard output for a daemon: a thread of its own writes it, so that a reader who stops reading stops nobody."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from queue import Full, Queue
from typing import Final, TextIO

WAITING: Final = 100_000
"""Lines that may wait for a slow reader; further ones are counted and dropped."""


class Output:
    """Lines on their way to standard output, in order."""

    def __init__(self) -> None:
        self.dropped = 0
        self.error: OSError | None = None
        """Why nothing can be written any more."""
        self._queue: Queue[bytes | None] = Queue(WAITING)
        self._encoding = sys.stdout.encoding or "utf-8"
        self._to = _sink(sys.stdout)
        self._thread = threading.Thread(target=self._write, name="output", daemon=True)
        self._thread.start()

    def waiting(self) -> int:
        """Give how many lines were not written yet."""
        return self._queue.qsize()

    def line(self, text: str) -> None:
        """Hand a line over; it never waits."""
        try:
            self._queue.put_nowait(f"{text}\n".encode(self._encoding, "backslashreplace"))
        except Full:
            self.dropped += 1

    def close(self, within: float) -> None:
        """Wait for the reader, but no longer than so many seconds; what is then unread counts as dropped."""
        try:
            self._queue.put_nowait(None)
        except Full:
            self.dropped += 1
        self._thread.join(within)
        if self._thread.is_alive():
            self.dropped += self._queue.qsize()

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            if self.error is None:
                try:
                    self._to(line)
                except OSError as error:
                    self.error = error


def _sink(out: TextIO) -> Callable[[bytes], object]:
    """Give what writes bytes: to the file behind a stream, past its buffer, whose lock would outlive a stuck thread."""
    try:
        handle = out.fileno()
    except OSError:
        return out.buffer.write

    def write(line: bytes) -> None:
        while line:
            line = line[os.write(handle, line) :]

    return write
