"""The systemd units: what they say on this machine, and whether somebody changed one since it was written."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
import sysconfig
from enum import Enum, auto
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

from mrdaemon.places import SERVICE, service_state

ANYWHERE: Final = "/usr/bin/env mrdaemon"
"""How it is called where it is only known to be on the PATH."""
HIDDEN: Final = {Path("/home"): "ProtectHome", Path("/root"): "ProtectHome", Path("/tmp"): "PrivateTmp"}  # noqa: S108 - nothing may be there
"""Where the service sees nothing of what is there, and which of its settings is the reason."""
_PLAIN: Final = re.compile(r"[\w/.+@: -]+")
_MARK: Final = "# Written by mrdaemon install. As long as nobody changed what follows, its sum is "


class Unit(NamedTuple):
    """A unit file."""

    name: str
    text: str


class Found(Enum):
    """What stands where a unit goes."""

    NOTHING = auto()
    SAME = auto()
    OURS = auto()
    """One that was written by another version, or for another place, and not changed since."""
    CHANGED = auto()
    """One that somebody wrote or changed."""


def units(executable: str) -> list[Unit]:
    """Give the units of the service and of its instances, for an executable and its first arguments."""
    return [_unit(f"{SERVICE}.service", SERVICE, executable), _unit(f"{SERVICE}@.service", "%i", executable)]


def _unit(name: str, config: str, executable: str) -> Unit:
    template = resources.files("mrdaemon.data").joinpath("mrdaemon.service").read_text(encoding="utf-8")
    said = f"mrdaemon ({config})" if config == "%i" else "mrdaemon"
    places = {"unit": name, "config": config, "state": service_state(config), "executable": executable}
    text = template.format(description=f"{said}: keeps positions near their targets", **places)
    return Unit(name, f"{_MARK}{_sum(text)}\n{text}")


# This machine


def executable() -> str:
    """Give how the service calls this very installation."""
    script = Path(sysconfig.get_path("scripts")) / SERVICE
    return _quoted(script) if script.is_file() else f"{_quoted(Path(sys.executable))} -m mrdaemon"


def _quoted(path: Path) -> str:
    """Write a path as systemd reads it, also where a folder's name has a space in it."""
    return f'"{path}"' if " " in str(path) else str(path)


def objections(command: str) -> list[str]:
    """Say why the service could not run a command here; nothing where it can."""
    needed = [Path(shlex.split(command)[0]), Path(sys.executable), Path(__file__).parent]
    paths = dict.fromkeys(each for path in needed for each in (path, path.resolve()))
    return list(dict.fromkeys(why for each in paths if (why := _objection(each)) is not None))


def _objection(path: Path) -> str | None:
    for folder, setting in HIDDEN.items():
        if path.is_relative_to(folder):
            return f"{path} is under {folder}, of which the service sees nothing ({setting}=yes)"
    if not _PLAIN.fullmatch(str(path)):
        return f"{path} has characters in it that mean something else to systemd"
    for each in (path, *path.parents):
        if not each.stat().st_mode & 0o001 and (each.is_dir() or os.access(each, os.X_OK)):
            return f"{each} is closed to all but its owner, and the service runs as a user of its own"
    return None


# What is there


def found(unit: Unit, there: str | None) -> Found:
    """Tell what it is that stands where a unit goes."""
    if there is None:
        return Found.NOTHING
    if there == unit.text:
        return Found.SAME
    return Found.OURS if is_unchanged(there) else Found.CHANGED


def is_unchanged(text: str) -> bool:
    """Tell whether a unit is as it was written."""
    first, _, rest = text.partition("\n")
    return first == f"{_MARK}{_sum(rest)}"


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
