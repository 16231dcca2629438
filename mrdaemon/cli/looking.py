"""Commands that only look: status, events, explain, dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from mrdaemon.cli.common import (
    FAILED,
    USAGE,
    JsonOption,
    MaybeConfig,
    StateOption,
    app,
    explained,
    fail,
    find_daemon,
    find_state,
)
from mrdaemon.cli.completion import PortfolioOption, symbols


@app.command()
def status(
    *,
    config: MaybeConfig = None,
    state: StateOption = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep looking, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks.")] = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Show positions, reserves, the trading state, feed and brokers: live, or as the journal has them."""
    from mrdaemon import watching

    with explained():
        directory = find_state(config, state)
        if watch:
            watching.watch(directory, every, as_json=as_json)
        else:
            watching.once(directory, as_json=as_json)


@app.command()
def events(
    *,
    config: MaybeConfig = None,
    state: StateOption = None,
    after: Annotated[int, typer.Option("--after", min=0, help="Only events after this number.")] = 0,
    last: Annotated[int | None, typer.Option("--last", min=0, help="Only the last so many.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; may be given again.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more happens, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what happened, oldest first, each with its reason in a sentence.

    With --json, one object a line: seq, wall (when it was committed), cursor (rows read until then), kind, at (when it
    happened), the fields of its kind, sentence. Times are RFC 3339 in UTC; money, shares and prices are strings.
    """
    from mrdaemon import watching
    from mrdaemon.core.events import KINDS

    unknown = [each for each in kind or [] if each not in KINDS]
    if unknown:
        fail(f"--kind: there is no kind {unknown[0]!r}; there are: {', '.join(sorted(KINDS))}", USAGE)
    with explained():
        directory = find_state(config, state)
        first = after if last is None else max(after, watching.newest(directory) - last)
        watching.events(directory, first, kind or [], follow=follow, as_json=as_json)


@app.command()
def explain(
    symbol: Annotated[str, typer.Argument(help="Its symbol.", autocompletion=symbols)],
    *,
    portfolio: PortfolioOption = None,
    config: MaybeConfig = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a position does or does not trade: zone, next prices, every guard, and what would have to change."""
    from mrdaemon import show, watching

    with explained(as_json=as_json):
        directory = find_state(config, state)
        for each in watching.explanations(directory, symbol, portfolio):
            if as_json:
                show.json_line(each)
            else:
                show.lines(show.explanation_lines(each))


@app.command()
def dashboard(*, config: MaybeConfig = None, state: StateOption = None) -> None:
    """Print the address of the dashboard. Who opens it is signed in: it has the token in it, so keep it to yourself."""
    from mrdaemon import client

    with explained():
        directory = find_daemon(config, state)
        try:
            typer.echo(client.dashboard(directory))
        except client.RefusedError:
            what = (
                f'the daemon on {directory} serves no dashboard: put [web] listen = "127.0.0.1:8378" into its '
                "configuration, and restart it"
            )
            fail(f"mrdaemon: {what}", FAILED)
