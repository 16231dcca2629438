"""Logs: JSON for a machine, colours for a terminal, always on standard error."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import structlog


class _StandardError:
    """Writes a line to whatever standard error is by then: a live table puts its own there."""

    def msg(self, line: str) -> None:
        """Write it; a line that cannot be written is lost, and the daemon goes on."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = msg


def configure() -> None:
    """Set logging up."""
    renderer: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=lambda *_: _StandardError(),
        cache_logger_on_first_use=False,
    )
