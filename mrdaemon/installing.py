"""Installs the service on this machine, and takes it away again: files only, each said and explained.

It never starts or stops anything: that is systemd's, and the commands for it are part of what is said. A unit that
somebody changed is never overwritten, and what the daemon keeps is never touched.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from difflib import unified_diff
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

from mrdaemon.findings import dotted, private
from mrdaemon.places import SERVICE, SERVICE_CONFIGURATIONS, SERVICE_STATES, service_state
from mrdaemon.units import Found, Unit, executable, found, units

UNITS: Final = Path("/etc/systemd/system")
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
"""What an instance may be called: systemd writes everything else in another way."""
FILES: Final = (("mqtt", "ca"), ("mqtt", "certificate"), ("mqtt", "key"), ("web", "certificate"), ("web", "key"))
"""Settings that name a file, which is found from where the configuration is."""


class InstallError(Exception):
    """It cannot be installed, or taken away; the message says why and what to do. Nothing was done."""


class Step(NamedTuple):
    """Something that is done, or left as it is."""

    said: str
    """In a sentence."""
    path: Path
    do: Callable[[Path], None]
    text: str = ""
    """What the file is to say."""


class Place(NamedTuple):
    """Where things go."""

    root: Path
    """In front of every path: ``/``, unless an image is being built."""
    name: str
    """The configuration's: that of the service, or an instance's."""

    def at(self, path: Path) -> Path:
        """Give a path under the root."""
        return self.root / path.relative_to("/")

    @property
    def unit(self) -> str:
        """What systemd calls it."""
        return f"{SERVICE}.service" if self.name == SERVICE else f"{SERVICE}@{self.name}.service"

    @property
    def config(self) -> Path:
        """The configuration, as the service sees it."""
        return SERVICE_CONFIGURATIONS / f"{self.name}.toml"

    @property
    def credentials(self) -> Path:
        """The directory of its keys and passwords."""
        return SERVICE_CONFIGURATIONS / f"{self.name}.credentials"

    @property
    def state(self) -> Path:
        """Where its journal is."""
        return SERVICE_STATES / service_state(self.name)


# Installing


def install(place: Place, config: Path | None, command: str) -> list[Step]:
    """Plan an installation.

    Raises:
        InstallError: a unit was changed by somebody, or the configuration cannot be taken.
    """
    steps = [_unit_step(place, each) for each in units(command)]
    return [*steps, *_configuration_steps(place, config)]


def _unit_step(place: Place, unit: Unit) -> Step:
    path = place.at(UNITS / unit.name)
    there = _read(path)
    match found(unit, there):
        case Found.NOTHING:
            what = "the same for instances; mrdaemon@NAME runs NAME.toml" if "@" in unit.name else "the service"
            return _to_write(f"write {path}: {what}", path, unit.text)
        case Found.SAME:
            return Step(f"leave {path}: it is up to date", path, _leave, unit.text)
        case Found.OURS:
            said = f"replace {path}: it was written for another version or place, and nobody changed it since"
            return _to_write(said, path, unit.text)
        case Found.CHANGED:
            old, new = (each.splitlines() for each in (there or "", unit.text))
            changes = "\n".join(unified_diff(old, new, "what is there", "what would be written", lineterm=""))
            message = f"{path} was changed by hand, and is not overwritten. Move it away, and put your changes into \
`systemctl edit {unit.name}`, which keeps them.\n{changes}"
            raise InstallError(message)


def _configuration_steps(place: Place, config: Path | None) -> Iterator[Step]:
    folder, credentials = place.at(SERVICE_CONFIGURATIONS), place.at(place.credentials)
    if not folder.is_dir():
        said = f"make {folder}: for configurations, which all may read, and so without any secret"
        yield Step(said, folder, partial(_make, mode=0o755))
    if not credentials.is_dir():
        said = f"make {credentials}: for keys and passwords, a file for each, which root alone may read"
        yield Step(said, credentials, partial(_make, mode=0o700))
    target = place.at(place.config)
    there = _read(target)
    if config is None:
        if there is None:
            yield Step(f"leave {target} to you: the configuration is not there yet", target, _leave)
        return
    text = config.read_text(encoding="utf-8")
    _refuse_what_moves_badly(place, config, text)
    if there is not None and there != text:
        message = f"{target} is there and differs from {config}: change it there, then `systemctl reload {place.unit}`"
        raise InstallError(message)
    if there is None:
        yield _to_write(f"write {target}: a copy of {config}", target, text)
    else:
        yield Step(f"leave {target}: it says the same as {config}", target, _leave, text)


def _refuse_what_moves_badly(place: Place, config: Path, text: str) -> None:
    """Refuse a configuration with secrets in it, since every user may read it where it goes, or with relative paths.

    Raises:
        InstallError: it has some.
    """
    tree = tomllib.loads(text)
    if relative := [(where, file) for where, file in _named_files(tree) if not Path(file).is_absolute()]:
        where, file = relative[0]
        message = f"{config}: {dotted(where)}: {file!r} would not be found from {place.config}: write its whole path"
        raise InstallError(message)
    if secrets := [where for where, value in _leaves(tree, ()) if where not in FILES and private(where, value)]:
        listed = "\n".join(f"  {dotted(each)}: {place.credentials / _file(each)}" for each in secrets)
        message = (
            f"{config} has secrets in it, and everybody may read {place.config}. Put each into a file of its own, \
and take it out of the configuration:\n{listed}"
        )
        raise InstallError(message)


def _named_files(tree: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Give every file that a sound configuration names."""
    yield from ((("feed", "files"), each) for each in tree.get("feed", {}).get("files", []))
    yield from (((table, key), tree[table][key]) for table, key in FILES if key in tree.get(table, {}))


def _leaves(tree: Mapping[str, object], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _file(where: tuple[str, ...]) -> str:
    """Give the file of the secrets directory that a setting is read from."""
    return "__".join("".join(c if c.isalnum() else "_" for c in part.lower()) for part in where)


# Taking it away


def uninstall(place: Place) -> list[Step]:
    """Plan to take the units away.

    Raises:
        InstallError: systemd starts one of them still.
    """
    folder = place.at(UNITS)
    wanted = sorted(folder.glob(f"*.wants/{SERVICE}.service")) + sorted(folder.glob(f"*.wants/{SERVICE}@*.service"))
    if wanted:
        names = " ".join(dict.fromkeys(each.name for each in wanted))
        message = f"systemd still starts {names}. First: systemctl disable --now {names}"
        raise InstallError(message)
    steps = []
    for unit in units(executable()):
        path = folder / unit.name
        there = _read(path)
        if there is None:
            continue
        if found(unit, there) is Found.CHANGED:
            steps.append(Step(f"move {path} aside: it was changed by hand", path, _move_aside))
        else:
            steps.append(Step(f"remove {path}", path, Path.unlink))
    return steps


def kept(place: Place) -> list[Path]:
    """Give what stays where it is: configurations, secrets, states, changes to units."""
    states, drop_ins = place.at(SERVICE_STATES), place.at(UNITS)
    return [
        *(each for each in [place.at(SERVICE_CONFIGURATIONS)] if each.is_dir()),
        *sorted(each for each in states.glob(f"{SERVICE}*") if each.is_dir()),
        *sorted(drop_ins.glob(f"{SERVICE}*.service.d")),
    ]


# Doing it


def _to_write(said: str, path: Path, text: str) -> Step:
    return Step(said, path, partial(_write, text=text), text)


def _leave(_: Path) -> None:
    pass


def _make(path: Path, mode: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)


def _write(path: Path, text: str) -> None:
    """Write a file in one step, so that systemd never reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o644)
    new.replace(path)


def _move_aside(path: Path) -> None:
    names = (f"{path.name}.changed{number or ''}" for number in count())
    path.rename(next(new for name in names if not (new := path.with_name(name)).exists()))


def _read(path: Path) -> str | None:
    with suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8", errors="replace")  # Whatever somebody put there, it differs.
    return None
