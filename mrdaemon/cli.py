"""The command line. Each command imports what it needs when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from mrdaemon import __version__

FAILED, USAGE, CONFIGURATION = 1, 2, 78

app = typer.Typer(
    name="mrdaemon",
    help="Keep every position near a fixed dollar target, live, per print.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
journal_app = typer.Typer(help="Look after the journal.", no_args_is_help=True)
app.add_typer(journal_app, name="journal")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", envvar="MRDAEMON_CONFIG", help="Configuration (TOML).")]
MaybeConfig = Annotated[
    Path | None, typer.Option("--config", "-c", envvar="MRDAEMON_CONFIG", help="Its configuration.")
]
StateOption = Annotated[Path | None, typer.Option("--state", help="State directory: journal, books, HALT file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON Lines for programs.")]


def main() -> None:
    """Run the command line."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # Somebody closed it: say what there is to say to nobody.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
    app()


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Show the version.")] = False,  # noqa: FBT002 - a flag
) -> None:
    if version:
        typer.echo(f"mrdaemon {__version__}")
        raise typer.Exit


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

    with _explained():
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
    as_json: JsonOption = False,
) -> None:
    """Run the daemon in the foreground, until its feed ends or SIGTERM stops it."""
    from mrdaemon import places, session
    from mrdaemon.config import read

    with _explained():
        chosen = read(config)
        directory = places.state_dir(config, chosen.settings.state_dir, state)
        session.run(chosen, directory, resume=resume, as_json=as_json)


@app.command()
def check(config: ConfigOption, *, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Check a configuration: exit 0, or 78 with every problem. Shows what it would change in an existing journal."""
    from mrdaemon import checking, places, show
    from mrdaemon.config import read

    with _explained(as_json=as_json):
        chosen = read(config)
        directory = places.state_dir(config, chosen.settings.state_dir, state)
        changes = checking.changes(chosen, directory)
        if as_json:
            show.json_line({"ok": True, "state_dir": str(directory), "changes": changes})
        else:
            show.lines([checking.in_words(chosen), *show.check_lines(directory, changes)])


@app.command()
def status(*, config: MaybeConfig = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show positions, reserves and the trading state, as the journal has them."""
    from mrdaemon import chain, lock, places, show
    from mrdaemon import status as facts

    with _explained():
        directory = _find_state(config, state)
        loaded = chain.current(directory / places.JOURNAL)
        process = lock.holder(directory / places.JOURNAL)
        found = facts.journaled(loaded.state, str(directory), process, halt_file=(directory / places.HALT).exists())
        if as_json:
            show.line(facts.encode(found).decode())
            return
        show.lines(show.status_title(found))
        if sys.stdout.isatty():
            from rich.console import Console

            from mrdaemon import board

            Console().print(board.picture(found))
        else:
            show.lines(show.status_lines(found))


@app.command()
def events(
    *,
    config: MaybeConfig = None,
    state: StateOption = None,
    after: Annotated[int, typer.Option("--after", min=0, help="Only events after this number.")] = 0,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; may be given again.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what happened, oldest first, each with its reason in a sentence.

    With --json, one object a line: seq, wall (when it was committed), cursor (rows read until then), kind, at (when it
    happened), the fields of its kind, sentence. Times are RFC 3339 in UTC; money, shares and prices are strings.
    """
    from mrdaemon import chain, places, show
    from mrdaemon.core.events import KINDS

    unknown = [each for each in kind or [] if each not in KINDS]
    if unknown:
        _fail(f"--kind: there is no kind {unknown[0]!r}; there are: {', '.join(sorted(KINDS))}", USAGE)
    with _explained():
        directory = _find_state(config, state)
        for record in chain.records(directory / places.JOURNAL, after):
            if kind and record.event.__struct_config__.tag not in kind:
                continue
            if as_json:
                show.json_line(show.record_object(record))
            else:
                show.line(f"{record.seq:>6}  {show.event_line(record.event)}")


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

    with _explained():
        session.replay(read(config, files=data), as_json=as_json)


@journal_app.command()
def verify(*, config: MaybeConfig = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Check that no journaled event was changed, removed or cut off."""
    from mrdaemon import chain, places, show

    with _explained(as_json=as_json):
        checked = chain.verify(_find_state(config, state) / places.JOURNAL)
        if as_json:
            show.json_line({"ok": True, **checked._asdict()})
        else:
            show.line(f"{checked.events:,} events in {checked.commits:,} commits are as they were written.")
            show.line(f"The newest hash is {checked.head}.")


def _find_state(config: Path | None, state: Path | None) -> Path:
    """Find the state directory that a person means: the one named, its configuration's, or the newest.

    Raises:
        NoStateError: nothing was journaled there.
        ConfigError: the configuration cannot be used.
    """
    from mrdaemon import places
    from mrdaemon.config import read

    if state is not None:
        return places.with_journal(state)
    if config is None:
        directory, choices = places.newest_state()
        if choices > 1:
            typer.echo(f"Showing {directory}, the newest of {choices}; choose with --state or --config.", err=True)
        return directory
    return places.with_journal(places.state_dir(config, read(config).settings.state_dir, None))


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


@contextlib.contextmanager
def _explained(*, as_json: bool = False) -> Iterator[None]:
    """Turn the errors that a person can do something about into their message and exit code.

    With ``as_json`` they are also said on standard output, for the program that waits for an answer there.
    """
    from mrdaemon.brokers import BrokerError
    from mrdaemon.chain import JournalError
    from mrdaemon.config import ConfigError
    from mrdaemon.core.configure import PlanError
    from mrdaemon.feeds import FeedError
    from mrdaemon.places import NoStateError

    configuration = (ConfigError, PlanError)
    known = (*configuration, JournalError, FeedError, BrokerError, NoStateError, OSError)
    problems: list[BaseException] = []
    try:
        yield
    except BrokenPipeError:  # Whoever read our output has seen enough.
        raise
    except known as error:
        problems = [error]
    except BaseExceptionGroup as group:  # What a task group raises; all that is not known is raised again below.
        problems = list(_leaves(group))
        if not all(isinstance(each, known) for each in problems):
            raise
    if problems:
        code = CONFIGURATION if all(isinstance(each, configuration) for each in problems) else FAILED
        _give_up([line for each in problems for line in _said(each)], code, as_json=as_json)


def _give_up(problems: list[str], code: int, *, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"ok": False, "problems": problems}))
    prefix = "" if code == CONFIGURATION else "mrdaemon: "
    _fail("\n".join(f"{prefix}{each}" for each in problems), code)


def _said(error: BaseException) -> list[str]:
    """Give what an error says, a line for each problem."""
    if isinstance(error, OSError):
        where = "standard output" if error.filename is None else error.filename
        return [f"{where}: {error.strerror}; see that this user may read and write there"]
    return str(error).splitlines()


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
