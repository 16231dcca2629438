"""Logs: JSON for a machine, colours for a terminal, always on standard error."""

from __future__ import annotations

import contextlib
import logging
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


class _Libraries(logging.Handler):
    """Says what libraries log in our form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one message on."""
        log = structlog.get_logger(record.name)
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def configure() -> None:
    """Set logging up: ours, and from warnings on that of the libraries."""
    renderer: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _StandardError(),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries()], force=True)
