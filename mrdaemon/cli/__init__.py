"""The command line. Each command imports what it needs when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

from mrdaemon.cli import acting, alerting, auditing, looking, operating, running, servicing, simulating
from mrdaemon.cli.common import app, main

__all__ = [
    "acting",
    "alerting",
    "app",
    "auditing",
    "looking",
    "main",
    "operating",
    "running",
    "servicing",
    "simulating",
]
