"""Commands for whoever keeps it running: back up, restore, and look whether all is well."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrdaemon.cli.common import (
    FAILED,
    ConfigOption,
    JsonOption,
    MaybeConfig,
    StateOption,
    app,
    explained,
    find_daemon,
    user,
)

if TYPE_CHECKING:
    from mrdaemon.doctor import Diagnosis


@app.command()
def backup(
    *,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="A folder to make it in, or its own new name; else under backups in the state."),
    ] = None,
    config: MaybeConfig = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the journal and the books of paper accounts, also while the daemon runs, and verify the copy.

    Keys and tokens are not in it. Restore it with: mrdaemon restore.
    """
    from mrdaemon import backup as backups
    from mrdaemon import places, show
    from mrdaemon.core.instant import Instant

    with explained(as_json=as_json):
        directory = find_daemon(config, state)
        made = backups.make(directory, to, Instant(time.time_ns()))
        contents = made.contents
        if as_json:
            show.json_line({"ok": True, "backup": str(made.place), "bytes": made.bytes, **_plain(contents)})
            return
        books = len(contents.files) - 2
        and_books = "" if not books else f", and {books} paper account{'s' * (books != 1)}"
        show.line(f"{made.place}: {contents.events:,} events{and_books}, {made.bytes / 1_000_000:,.1f} MB, verified.")
        show.line(f"The newest hash is {contents.head}.")
        if to is None:
            show.line(f"It lies beside what it was made of ({places.BACKUPS}): copy it to another machine, too.")


@app.command()
def restore(
    place: Annotated[Path, typer.Argument(metavar="BACKUP", help="The backup's folder.")],
    *,
    state: Annotated[Path, typer.Option("--state", help="The state directory that it becomes.")],
    aside: Annotated[bool, typer.Option("--aside", help="Move what is there into a folder of its own.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Verify a backup and make a state directory of it. No daemon may run there, and trading is halted then.

    What is there is never thrown away: it is refused, or moved aside.
    """
    from mrdaemon import restoring, show
    from mrdaemon.core.instant import Instant

    with explained(as_json=as_json):
        wish = restoring.Wish(place, state, user(), Instant(time.time_ns()), aside=aside)
        restored = restoring.restore(wish)
        contents = restored.contents
        if as_json:
            kept = None if restored.aside is None else str(restored.aside)
            show.json_line({"ok": True, "state": str(restored.state), "aside": kept, **_plain(contents)})
            return
        show.line(f"{restored.state}: {contents.events:,} events are as they were at {contents.made}.")
        if restored.aside is not None:
            show.line(f"What was there is in {restored.aside}.")
        show.lines(
            [
                "Trading is halted. What happened since is not in the journal; do this, in this order:",
                "  1. start the daemon: it compares orders, shares and cash with the broker, and halts what differs",
                "  2. mrdaemon status, and mrdaemon events --last 50: see what it found",
                "  3. give again what people did since: targets, deposits, withdrawals, fills by hand",
                "  4. mrdaemon resume",
            ]
        )


@app.command()
def doctor(config: ConfigOption, *, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Look at everything that a daemon needs: exit 0, or 1 where something fails. Says what to do about each.

    Configuration, secrets, state, disk, journal, sessions, service; keys, clock, feed, broker and channels. Nothing is
    changed, and nothing is sent; only the brokers are asked.
    """
    import asyncio
    import os

    from mrdaemon import doctor as examination
    from mrdaemon import doctorhere, doctorthere, places, show
    from mrdaemon.config import read
    from mrdaemon.core.instant import Instant
    from mrdaemon.findings import ConfigError

    looks: list[examination.Look] = []
    try:
        chosen = read(config)
    except ConfigError as problems:
        looks = [doctorhere.unreadable(problems, config), *doctorhere.of_state(places.state_dir(config, None, state))]
    else:
        directory = places.state_dir(config, chosen.settings.state_dir, state)
        looks += doctorhere.looks(chosen, directory, os.environ, Instant(time.time_ns()))
        looks += doctorthere.looks(chosen)
    found = asyncio.run(examination.examine(looks))
    failed = sum(each.verdict is examination.Verdict.FAIL for each in found)
    with explained():
        if as_json:
            for each in found:
                show.json_line(_plain(each))
        else:
            show.lines(_in_lines(found))
    if failed:
        raise typer.Exit(FAILED)


def _in_lines(found: Sequence[Diagnosis]) -> Iterator[str]:
    width = max(len(each.look) for each in found)
    for each in found:
        yield f"{each.verdict:<4}  {each.look:<{width}}  {each.text}"
        if each.do:
            yield f"{'':<4}  {'':<{width}}  -> {each.do}"
    counts = Counter(each.verdict.value for each in found)
    yield f"{counts['fail']} failed, {counts['warn']} to look at, {counts['ok']} as they should be."


def _plain(contents: object) -> dict[str, object]:
    import msgspec

    plain: dict[str, object] = msgspec.to_builtins(contents)
    return plain
