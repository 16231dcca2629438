"""Commands about alerts: send one over each channel to see whether it arrives, and list what was said."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from mrdaemon.cli.common import (
    FAILED,
    USAGE,
    ConfigOption,
    JsonOption,
    MaybeConfig,
    StateOption,
    app,
    explained,
    fail,
    find_state,
)

if TYPE_CHECKING:
    from mrdaemon.config import Config

alert_app = typer.Typer(help="Look after alerts.", no_args_is_help=True)
app.add_typer(alert_app, name="alert")


@alert_app.command("test")
def try_out(
    config: ConfigOption,
    *,
    channel: Annotated[list[str] | None, typer.Option("--channel", help="Only this one; may be given again.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send one alert over each channel and say what came of it. No daemon need run.

    Exit 0 if all arrived, else 1. With --json, one object a line: channel, kind, to, ok, reason, seconds.
    """
    from mrdaemon.config import read

    with explained(as_json=as_json):
        chosen = read(config)
        names = channel or list(chosen.settings.channels)
        unknown = [each for each in names if each not in chosen.settings.channels]
        listed = ", ".join(chosen.settings.channels) or "none"
        if unknown:
            fail(f"--channel: there is no channel {unknown[0]!r}; there are: {listed}", USAGE)
        if not names:
            fail(f"{config}: there is no channel: add a table [channels.NAME]", FAILED)
        if not asyncio.run(_test(chosen, names, as_json=as_json)):
            raise typer.Exit(FAILED)


async def _test(config: Config, names: list[str], *, as_json: bool) -> bool:
    """Tell each result as it comes; gives whether all were good."""
    from mrdaemon import show, trying

    good = True
    async for each in trying.tries(config, list(dict.fromkeys(names))):
        good = good and each.ok
        if as_json:
            show.json_line(each._asdict())
        else:
            how = f"arrived in {each.seconds:.1f} s" if each.ok else f"did NOT arrive: {each.reason}"
            show.line(f"{each.channel} ({each.to}): {how}")
    return good


@alert_app.command("list")
def newest(
    *,
    config: MaybeConfig = None,
    state: StateOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="The newest so many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show the newest alerts, oldest first, and what became of each on each channel.

    With --json, one object a line: n, wall (when it was journaled), the fields of the alert, and channels with, for
    each, channel, outcome (delivered, aside, expired, refused, waiting, unwanted), at, note.
    """
    from mrdaemon import places, sent, show

    with explained(as_json=as_json):
        said = sent.newest(find_state(config, state) / places.JOURNAL, limit)
        for each in said:
            if as_json:
                show.json_line(sent.as_object(each))
            else:
                show.lines(sent.as_lines(each))
        if not said and not as_json:
            show.line("There are no alerts yet.")
