"""Commands for a service: put it on this machine, take it away, and ask whether it is well."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrdaemon.cli.common import CONFIGURATION, FAILED, USAGE, JsonOption, MaybeConfig, StateOption, app, explained, fail

if TYPE_CHECKING:
    from mrdaemon import installing

InstanceOption = Annotated[
    str | None, typer.Option("--instance", help="The instance: it runs as mrdaemon@NAME, with NAME.toml.")
]
RootOption = Annotated[
    Path, typer.Option("--root", help="Stands in for / in every path that is written: for building an image.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say and show everything, and do nothing.")]


@app.command()
def health(*, config: MaybeConfig = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Ask the daemon whether it is well: exit 0, or 1 where it does not answer in 5 s or anything in it is stuck.

    Halts, lost accounts and stale prices are said, but are no reason to start it again.
    """
    from mrdaemon import client
    from mrdaemon.cli.common import find_daemon

    with explained(as_json=as_json):
        found = client.health(find_daemon(config, state))
        if as_json:
            import json

            typer.echo(json.dumps(found))
        elif found["ok"]:
            typer.echo(f"healthy: {found['line']}")
        else:
            typer.echo(f"unhealthy: {found['line']}", err=True)
        if not found["ok"]:
            raise typer.Exit(FAILED)


@app.command()
def install(
    *,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A configuration to put into place.")] = None,
    instance: InstanceOption = None,
    dry_run: DryRunOption = False,
    root: RootOption = Path("/"),
) -> None:
    """Write the systemd units for this machine, and the folders for configurations and keys; starts nothing.

    What is there stays, unless it was written by an earlier install and not changed since.
    """
    from mrdaemon import installing, units

    place = _place(instance, root)
    command = units.executable()
    problems = units.objections(command)
    with explained():
        if config is not None:
            _check(config, place)
        try:
            steps = installing.install(place, config, command)
        except installing.InstallError as error:
            fail(f"mrdaemon: {error}", FAILED)
        if problems and not dry_run and root == Path("/"):
            fail(_unable(problems), FAILED)
        _take(steps, dry_run=dry_run)
    typer.echo("\n".join(_next(place)))
    if problems and root == Path("/"):
        typer.echo(f"\n{_unable(problems)}", err=True)


@app.command()
def uninstall(*, dry_run: DryRunOption = False, root: RootOption = Path("/")) -> None:
    """Take the systemd units away; configurations, keys and everything that was journaled stay where they are."""
    from mrdaemon import installing, places

    place = installing.Place(root, places.SERVICE)
    with explained():
        try:
            steps = installing.uninstall(place)
        except installing.InstallError as error:
            fail(f"mrdaemon: {error}", FAILED)
        if not steps:
            typer.echo(f"There are no units of mrdaemon in {place.at(installing.UNITS)}.")
        _take(steps, dry_run=dry_run)
        kept = installing.kept(place)
    if steps:
        typer.echo("\nThen let systemd know: sudo systemctl daemon-reload")
    if kept:
        typer.echo("\nThis stays, with all that was journaled; remove it yourself if you are sure:")
        typer.echo("\n".join(f"  {each}" for each in kept))


def _place(instance: str | None, root: Path) -> installing.Place:
    from mrdaemon import installing, places

    if instance is not None and not installing.NAME.fullmatch(instance):
        fail(f"--instance: wanted letters, digits, - and _ as in mrdaemon@paper, got {instance!r}", USAGE)
    return installing.Place(root, instance or places.SERVICE)


def _check(config: Path, place: installing.Place) -> None:
    """Check a configuration as the service would find it: with the keys that are in place already."""
    from mrdaemon.config import read
    from mrdaemon.findings import ConfigError

    secrets = place.at(place.credentials)
    found = {"MRDAEMON_SECRETS_DIR": str(secrets)} if secrets.is_dir() else {}
    try:
        read(config, {**os.environ, **found})
    except ConfigError as error:
        there = "" if found else ", which `mrdaemon install` without --config makes"
        fail(f"{error}\nKeys and passwords were looked for in {secrets}{there}.", CONFIGURATION)


def _take(steps: list[installing.Step], *, dry_run: bool) -> None:
    for step in steps:
        typer.echo(f"{'would ' if dry_run else ''}{step.said}")
        if dry_run and step.text:
            typer.echo("\n".join(f"    {line}".rstrip() for line in step.text.splitlines()))
        elif not dry_run:
            step.do(step.path)


def _next(place: installing.Place) -> list[str]:
    edit = [] if place.at(place.config).exists() else [f"  sudoedit {place.config}"]
    return [
        "",
        "What is left for you:",
        *edit,
        f"  keys and passwords, where it needs some: a file each in {place.credentials}",
        "  sudo systemctl daemon-reload",
        f"  sudo systemctl enable --now {place.unit}",
        "Then look at it:",
        f"  systemctl status {place.unit}",
        f"  sudo mrdaemon status --state {place.state}",
    ]


def _unable(problems: list[str]) -> str:
    said = [
        "The service could not run this mrdaemon:",
        *(f"  {each}" for each in problems),
        "Install it where all may read it, for example, in a checkout of it:",
        "  sudo python3 -m venv /opt/mrdaemon",
        "  sudo /opt/mrdaemon/bin/pip install .",
        "  sudo /opt/mrdaemon/bin/mrdaemon install",
    ]
    return "\n".join(said)
