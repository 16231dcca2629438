"""What the commands share: options, where the state is, and how errors become messages and exit codes."""

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
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

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


def find_state(config: Path | None, state: Path | None) -> Path:
    """Find the state directory that a person wants to look at: the one named, its configuration's, or the newest.

    Raises:
        NoStateError: nothing was journaled there.
        ConfigError: the configuration cannot be used.
    """
    from mrdaemon import places

    if state is not None or config is not None:
        return _named(config, state)
    directory, *others = places.states()
    if others:
        typer.echo(f"Showing {directory}, the newest of {1 + len(others)}; choose with --state or --config.", err=True)
    return directory


def find_daemon(config: Path | None, state: Path | None) -> Path:
    """Find the state directory of the daemon that a command is for. It is never guessed.

    Raises:
        NoStateError, ConfigError: as ``find_state``.
    """
    from mrdaemon import lock, places

    if state is not None or config is not None:
        return _named(config, state)
    found = places.states()
    running = [each for each in found if lock.holder(each / places.JOURNAL) is not None]
    choices = running or found
    if len(choices) > 1:
        what = "daemons run" if running else "journals are there, and no daemon runs"
        listed = ", ".join(map(str, choices))
        fail(f"{len(choices)} {what}: choose one with --state or --config ({listed})", USAGE)
    if len(found) > 1:
        typer.echo(f"This is about {choices[0]}, the only one of {len(found)} that runs.", err=True)
    return choices[0]


def _named(config: Path | None, state: Path | None) -> Path:
    from mrdaemon import places

    if state is not None:
        return places.with_journal(state)
    if config is None:
        message = "neither a configuration nor a state directory is named"
        raise ValueError(message)
    from mrdaemon.config import read
    from mrdaemon.findings import ConfigError

    try:
        return places.with_journal(places.state_dir(config, read(config).settings.state_dir, None))
    except ConfigError:
        if (running := _daemon_of_broken(config)) is None:
            raise
        return running


def _daemon_of_broken(config: Path) -> Path | None:
    """Find the daemon that runs on with a configuration which has a mistake by now: it must be heard of, and halted."""
    from mrdaemon import lock, places

    directory = places.state_dir(config, _state_dir_in(config), None)
    if lock.holder(directory / places.JOURNAL) is None:
        return None
    typer.echo(f"{config} has a mistake (see: mrdaemon check); this is about the daemon in {directory}.", err=True)
    return directory


def _state_dir_in(config: Path) -> Path | None:
    """Give the state directory that a file names, or the environment over it, where they are right in this at least."""
    import tomllib

    if given := os.environ.get("MRDAEMON_STATE_DIR"):
        return Path(given)
    with contextlib.suppress(OSError, ValueError):
        named = tomllib.loads(config.read_text(encoding="utf-8")).get("state_dir")
        return Path(named) if isinstance(named, str) else None
    return None


def user() -> str:
    """Name who gives a command, as the journal keeps it."""
    import getpass

    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.geteuid()}"


def fail(message: str, code: int) -> NoReturn:
    """Say why, and end."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


@contextlib.contextmanager
def explained(*, as_json: bool = False) -> Iterator[None]:
    """Turn the errors that a person can do something about into their message and exit code.

    With ``as_json`` they are also said on standard output, for the program that waits for an answer there.
    """
    from mrdaemon.backup import BackupError
    from mrdaemon.brokers import BrokerError
    from mrdaemon.chain import JournalError
    from mrdaemon.client import ForeignError, HungError, NoDaemonError, RefusedError
    from mrdaemon.core.configure import PlanError
    from mrdaemon.export import ExportError
    from mrdaemon.feeds import FeedError, FeedRefusedError
    from mrdaemon.findings import ConfigError
    from mrdaemon.places import AnswerPageError, ControlError, DashboardError, KeyFileError, NoStateError

    configuration = (ConfigError, PlanError, FeedRefusedError)
    known = (
        *configuration,
        JournalError,
        BackupError,
        FeedError,
        BrokerError,
        NoStateError,
        ControlError,
        KeyFileError,
        AnswerPageError,
        DashboardError,
        NoDaemonError,
        HungError,
        ForeignError,
        RefusedError,
        ExportError,
        OSError,
    )
    problems: list[BaseException] = []
    try:
        yield
    except BrokenPipeError:  # Whoever read our output has seen enough.
        raise
    except known as error:
        problems = [error]
    except BaseExceptionGroup as group:  # A task group wraps whatever it raises; what is not known goes on up below.
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
    fail("\n".join(f"{prefix}{each}" for each in problems), code)


def _said(error: BaseException) -> list[str]:
    """Give what an error says, a line for each problem."""
    if isinstance(error, FileExistsError):
        return [f"{error.filename}: it is there already; name a new file"]
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
