"""Tells the service manager how the daemon is: systemd's protocol, a datagram for each message (``sd_notify(3)``).

Without a service manager, everything here does nothing. Nothing waits: what the socket does not take at once is said
later where it matters, and left out where something newer follows anyway.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Final

import structlog

LONGEST: Final = 500
"""Characters of a status: it is one line of ``systemctl status``."""

log: Final = structlog.get_logger("mrdaemon.service")


class Notifier:
    """The service manager that an environment names, if any."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Take ``NOTIFY_SOCKET``, and the watchdog's time if it is meant for this process."""
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._unsent: list[str] = []
        """What must not be lost, and was not taken yet."""
        self._status = ""
        self._failed = False
        self._is_ready = False
        self.watchdog = _watchdog(environ) if self._address else None
        """Seconds within which the watchdog must be fed, or None: nobody watches."""

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self._address)

    def starting(self, seconds: float) -> None:
        """Say that it starts, and that this may take so long before anything else is heard of it."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}\nSTATUS=starting")

    def ready(self, status: str) -> None:
        """Say that the daemon runs."""
        self._is_ready = True
        self._status = self._said(status)
        self._tell("READY=1", self._status)

    def stopping(self, status: str) -> None:
        """Say that it is on its way out."""
        self._tell("STOPPING=1", self._said(status))

    def status(self, status: str) -> None:
        """Say how it stands, in a line, where that is news."""
        said = self._said(status)
        if said != self._status and self._send(said):
            self._status = said

    def feed_watchdog(self) -> None:
        """Say that everything makes progress."""
        self._send("WATCHDOG=1")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """Say that the configuration is read anew, and at the end that this is over, however it went."""
        if not self._is_ready:  # READY=1 would be taken for the end of the start.
            yield
            return
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        finally:
            self._tell("READY=1")

    def flush(self) -> None:
        """Say again what was not taken."""
        while self._unsent and self._send(self._unsent[0]):
            del self._unsent[0]

    def _said(self, status: str) -> str:
        return f"STATUS={' '.join(status.split())[:LONGEST]}"

    def _tell(self, *lines: str) -> None:
        """Say what must not be lost."""
        if self._address:
            self._unsent.append("\n".join(lines))
            self.flush()

    def _send(self, message: str) -> bool:
        """Send a message; tells whether it was taken, or never will be."""
        if not self._address:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)  # noqa: FBT003 - its only parameter
                line.sendto(message.encode(), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("the service manager does not hear us", socket=self._address, reason=str(error))
            self._failed = True
            return False
        self._failed = False
        return True


def _address(said: str) -> str:
    """Give the socket's address: a path, or (``@``) a name in the abstract namespace. There are no others here."""
    if said.startswith("/") and len(said) > 1:
        return said
    if said.startswith("@") and len(said) > 1:
        return f"\0{said[1:]}"
    if said:
        log.warning("the service manager's socket is of no kind that is known here", socket=said)
    return ""


def _watchdog(environ: Mapping[str, str]) -> float | None:
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # It is meant for another process, whose environment we have.
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not (microseconds.isascii() and microseconds.isdigit() and int(microseconds)):
        return None
    return int(microseconds) / 1e6
