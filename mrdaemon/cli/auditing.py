"""Commands for the auditor: verify the journal."""

from __future__ import annotations

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
