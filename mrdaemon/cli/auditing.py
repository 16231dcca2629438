"""Commands for the auditor: verify the journal, and export it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mrdaemon.cli.common import JsonOption, MaybeConfig, StateOption, app, explained, find_state

journal_app = typer.Typer(help="Look after the journal.", no_args_is_help=True)
app.add_typer(journal_app, name="journal")


@journal_app.command()
def verify(*, config: MaybeConfig = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Check that no journaled event was changed, removed or cut off."""
    from mrdaemon import chain, places, show

    with explained(as_json=as_json):
        checked = chain.verify(find_state(config, state) / places.JOURNAL)
        if as_json:
            show.json_line({"ok": True, **checked._asdict()})
        else:
            show.line(f"{checked.events:,} events in {checked.commits:,} commits are as they were written.")
            show.line(f"The newest hash is {checked.head}.")


@journal_app.command()
def export(
    table: Annotated[
        Literal["events", "orders", "fills", "gains", "activities"], typer.Argument(help="What to export.")
    ],
    *,
    form: Annotated[Literal["jsonl", "csv"], typer.Option("--format", help="JSON Lines, or CSV.")] = "jsonl",
    after: Annotated[int, typer.Option("--after", min=0, help="Only rows whose seq is greater than this.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A new file; else standard output.")] = None,
    config: MaybeConfig = None,
    state: StateOption = None,
) -> None:
    """Write the journal as a table: events, orders, fills, realized gains lot by lot, or what the broker booked.

    docs/export.md says what each column means. The same journal always gives the same bytes.
    """
    from mrdaemon import export as tables
    from mrdaemon import places
    from mrdaemon.columns import Table

    with explained():
        wanted = Table(table)
        rows = tables.rows(find_state(config, state) / places.JOURNAL, wanted, after)
        if output is None:
            sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
            tables.write(rows, wanted, tables.Format(form), sys.stdout)
            return
        with output.open("x", encoding="utf-8", newline="") as out:
            count = tables.write(rows, wanted, tables.Format(form), out)
        typer.echo(f"{count:,} rows of {table} written to {output}.", err=True)
