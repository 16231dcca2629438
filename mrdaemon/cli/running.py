"""Commands that run something in the foreground, or check what would run: demo, run, check, replay."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mrdaemon.cli.common import ConfigOption, JsonOption, StateOption, app, explained


@app.command()
def demo(
    *,
    fast: Annotated[bool, typer.Option("--fast", help="As fast as possible.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over, also if the last demo was interrupted.")] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the whole daemon on bundled real prices with paper money: no keys, no network.

    A demo that was interrupted goes on where it was.
    """
    from mrdaemon import places, session

    with explained():
        directory = state or places.state_home() / places.DEMO
        session.demo(directory, fast=fast, as_json=as_json, fresh=fresh)


@app.command()
def run(
    config: ConfigOption,
    *,
    state: StateOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Trade again after a halt or a freeze: a person has looked.")
    ] = False,
    live: Annotated[bool, typer.Option("--live", help="Let accounts with live = true trade real money.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the daemon in the foreground, until its feed ends or SIGTERM stops it. SIGHUP has it read FILE anew."""
    from mrdaemon.hangup import Hangups

    with Hangups() as hangups, explained():
        from mrdaemon import assembly, notify, places, session
        from mrdaemon.config import read

        chosen = read(config)
        directory = places.state_dir(config, chosen.settings.state_dir, state)
        options = assembly.Options(
            resume=resume,
            real_money=live,
            manager=notify.Notifier(os.environ),
            reread=lambda: read(config),
            hangups=hangups,
        )
        session.run(chosen, directory, options, as_json=as_json)


@app.command()
def check(config: ConfigOption, *, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Check a configuration: exit 0, or 78 with every problem. Shows what it would change in an existing journal."""
    from mrdaemon import checking, places, show
    from mrdaemon.config import read

    with explained(as_json=as_json):
        chosen = read(config)
        directory = places.state_dir(config, chosen.settings.state_dir, state)
        changes, notes = checking.changes(chosen, directory), checking.notes(chosen)
        if as_json:
            show.json_line({"ok": True, "state_dir": str(directory), "changes": changes, "notes": notes})
        else:
            show.lines([checking.in_words(chosen), *notes, *show.check_lines(directory, changes)])


@app.command()
def replay(
    data: Annotated[list[Path], typer.Argument(help="CSV files: ticks or bars.")],
    config: ConfigOption,
    *,
    as_json: JsonOption = False,
) -> None:
    """Run recorded prices through a configuration on paper. Nothing is kept."""
    from mrdaemon import session
    from mrdaemon.config import read

    with explained():
        session.replay(read(config, files=data), as_json=as_json)
