"""Logs: JSON for a machine, colours for a terminal, always on standard error."""

from __future__ import annotations

import sys
from typing import Any

import structlog


def configure() -> None:
    """Set logging up for the daemon."""
    renderer: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def get(name: str) -> Any:
    """Give a logger."""
    return structlog.get_logger(name)
