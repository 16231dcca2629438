"""What SIGHUP means to us: read the configuration anew. Where the terminal that we run on is gone, it means to stop.

A shell sends it to what it started when its window is closed, and ``nohup`` says beforehand that this is to be ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

TERMINAL: Final = "/dev/tty"
"""The terminal of a process's session; there is none to open where it has none, or not any more (``tty(4)``)."""


class Hangups:
    """Takes SIGHUP from the first moment on; what came before anybody was there to act on it is not lost."""

    def __init__(self) -> None:
        self._had_terminal = False
        self._came = False
        self._before: Any = signal.SIG_DFL

    def __enter__(self) -> Self:
        """Take it from now on; until ``obeyed``, only note that it came. In the main thread, which signals are for."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGHUP, self._note)
            self._had_terminal = self._before is not signal.SIG_IGN and _has_terminal()
        return self

    def __exit__(self, *_: object) -> None:
        """Let it mean again what it meant before."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGHUP, self._before)

    @contextlib.contextmanager
    def obeyed(self, reload: Callable[[], None], stop: Callable[[], object]) -> Iterator[None]:
        """Act on it meanwhile, and on one that came already; at the end it is ignored: nobody means to kill us."""
        loop = asyncio.get_running_loop()

        def act() -> None:
            gone = self._had_terminal and not _has_terminal()
            (stop if gone else reload)()

        loop.add_signal_handler(signal.SIGHUP, act)
        if self._came:
            self._came = False
            loop.call_soon(act)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _note(self, *_: object) -> None:
        self._came = True


def _has_terminal() -> bool:
    try:
        os.close(os.open(TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
