"""What the shell completes: symbols, portfolios and open requests, as the running daemon or the journal has them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mrdaemon.status import Status


def symbols(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a symbol."""
    found = {each.symbol for each in _status(context).positions if not each.retired}
    return sorted(each for each in found if each.startswith(incomplete.upper()))


def portfolios(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a portfolio's name."""
    return [each.name for each in _status(context).portfolios if each.name.startswith(incomplete)]


def requests(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the id of an open request for approval."""
    found = [each.approval.id for each in _status(context).positions if each.approval is not None]
    return [each for each in found if each.startswith(incomplete)]


def _status(context: typer.Context) -> Status:
    from mrdaemon import watching
    from mrdaemon.cli.common import find_daemon

    with contextlib.redirect_stderr(None):
        config, state = (context.params.get(name) for name in ("config", "state"))
        directory = find_daemon(Path(config) if config else None, Path(state) if state else None)
        return watching.look(directory).status


PortfolioOption = Annotated[
    str | None, typer.Option("--portfolio", "-p", help="Only this portfolio.", autocompletion=portfolios)
]
