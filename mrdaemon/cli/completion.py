"""What the shell completes: symbols, portfolios and open requests, as the running daemon or the journal has them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mrdaemon.status import PositionStatus


def symbols(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a symbol."""
    found = {each.symbol for each in _positions(context) if not each.retired}
    return sorted(each for each in found if each.startswith(incomplete))


def portfolios(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a portfolio's name."""
    return sorted({each.portfolio for each in _positions(context) if each.portfolio.startswith(incomplete)})


def requests(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the id of an open request for approval."""
    found = [each.approval.id for each in _positions(context) if each.approval is not None]
    return [each for each in found if each.startswith(incomplete)]


def _positions(context: typer.Context) -> tuple[PositionStatus, ...]:
    """Give what there is to complete from; nothing where it cannot be had: a key press must not end in a message."""
    from mrdaemon import watching
    from mrdaemon.cli.common import find_daemon

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            config, state = (context.params.get(name) for name in ("config", "state"))
            directory = find_daemon(Path(config) if config else None, Path(state) if state else None)
            return watching.look(directory).status.positions
    except (Exception, typer.Exit):  # noqa: BLE001 - whatever it is, the command itself will say it
        return ()


PortfolioOption = Annotated[
    str | None, typer.Option("--portfolio", "-p", help="Only this portfolio.", autocompletion=portfolios)
]
