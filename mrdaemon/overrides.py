"""Values that stand in for the file's: from a secrets directory, and over those from the environment.

An override is named after the path of its setting: ``MRDAEMON_PORTFOLIOS__CORE__RESERVE``, or a file of that name, with
or without the prefix, in any case. Where a variable's name cannot have a character, ``_`` stands for it: ``BRK_B``. It
changes one value of what the file has; it adds no account, portfolio, position or channel, so that a misspelt one is
noticed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, get_args

from mrdaemon.findings import HIDDEN, Where, dotted, line, private, secretive, shown
from mrdaemon.settings import ENV_PREFIX, Settings, Table, entry_in, nearest, table_in
from mrdaemon.values import Text

SECRETS_VARIABLES: Final = ("MRDAEMON_SECRETS_DIR", "CREDENTIALS_DIRECTORY")
"""Which variable names the secrets directory; the second is systemd's."""
NOT_SETTINGS: Final = frozenset({"MRDAEMON_SECRETS_DIR", "MRDAEMON_CONFIG"})
LARGEST: Final = 65_536
"""Bytes of a secrets file; no setting is longer."""

_ODD: Final = re.compile(r"[^a-z0-9]")


class Origin(NamedTuple):
    """Where a value came from."""

    name: str
    secret: bool = False


class Overrides(NamedTuple):
    """Where each value that is not the file's came from, and what was wrong with those that are no setting's."""

    origins: dict[Where, Origin]
    problems: list[str]


class _Given(NamedTuple):
    """A value as it was found."""

    origin: Origin
    parts: list[str]
    value: Text


class _MisnamedError(Exception):
    """A name that is no setting's."""

    def __init__(self, where: Where, what: str, *, secret: bool = False) -> None:
        super().__init__(what)
        self.where, self.what, self.secret = where, what, secret


def _refuse(where: Where, what: str) -> NoReturn:
    raise _MisnamedError(where, what)


def variable(where: Where) -> str:
    """Give the name of the variable that sets a value."""
    return ENV_PREFIX + "__".join(_ODD.sub("_", each.lower()) for each in where).upper()


def override(tree: dict[str, Any], environment: Mapping[str, str]) -> Overrides:
    """Put the overrides into the file's values."""
    found = Overrides({}, [])
    for source in (_secrets(tree, environment, found.problems), _variables(environment)):
        seen: dict[Where, Origin] = {}
        for origin, parts, value in source:
            try:
                where = _in_table(Settings, tree, parts, ())
                if (other := seen.setdefault(where, origin)) is not origin:
                    _refuse(where, f"{other.name} sets it as well")
            except _MisnamedError as wrong:
                found.problems.append(_problem(origin, wrong, value))
                continue
            if _put(tree, where, value):
                found.origins[where] = origin
    return found


def _problem(origin: Origin, wrong: _MisnamedError, value: Text) -> str:
    hidden = origin.secret or wrong.secret or private(wrong.where, value)
    return line(origin.name, dotted(wrong.where), wrong.what, HIDDEN if hidden else shown(value))


# Where they are found


def _variables(environment: Mapping[str, str]) -> Iterator[_Given]:
    for name, text in sorted(environment.items()):
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in NOT_SETTINGS:
            yield _Given(Origin(f"environment: {name}"), _parts(name), Text(text))


def _secrets(tree: dict[str, Any], environment: Mapping[str, str], problems: list[str]) -> Iterator[_Given]:
    variable = next((name for name in SECRETS_VARIABLES if environment.get(name)), None)
    if variable is None:
        return
    folder = Path(environment[variable])
    try:
        files = sorted(each for each in folder.iterdir() if each.is_file() and _is_ours(tree, each.name))
    except (OSError, ValueError) as error:
        problems.append(line(f"environment: {variable}", "secrets directory", _unreadable(error), shown(str(folder))))
        return
    for file in files:
        try:
            with file.open("rb") as content:
                text = content.read(LARGEST + 1).decode().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(line(str(file), "file", _unreadable(error), HIDDEN))
            continue
        if len(text) > LARGEST:
            problems.append(line(str(file), "file", f"wanted a value of at most {LARGEST:,} bytes", HIDDEN))
            continue
        yield _Given(Origin(str(file), secret=True), _parts(file.name), Text(text))


def _unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"wanted UTF-8; byte {error.start} is none"
    return f"it cannot be read: {(error.strerror if isinstance(error, OSError) else None) or error}"


def _is_ours(tree: dict[str, Any], name: str) -> bool:
    """Tell our files from those of others: systemd's credentials may be shared.

    A name with our prefix is ours. So is one with the path of a setting, even of one that does not exist.
    """
    if name.upper().startswith(ENV_PREFIX):
        return True
    parts = _parts(name)
    if len(parts) > 1 and parts[0] in Settings.model_fields:
        return True
    try:
        _in_table(Settings, tree, parts, ())
    except _MisnamedError:
        return False
    return True


def _parts(name: str) -> list[str]:
    return name.lower().removeprefix(ENV_PREFIX.lower()).split("__")


# Which settings they name


def _in_table(table: type[Table], branch: object, parts: list[str], where: Where) -> Where:
    """Find the path that a name means, with each part as the file spells it."""
    if not parts:
        example = dotted((*where, next(iter(table.model_fields))))
        _refuse(where, f"this is a table; name one of its values, such as {example}")
    key, *rest = parts
    where = (*where, key)
    field = table.model_fields.get(key)
    if field is None:
        near = nearest(table, key)
        what = "there is no such setting" + (f"; did you mean {near!r}?" if near else "")
        raise _MisnamedError(where, what, secret=any(map(secretive, table.model_fields)))
    inside = branch.get(key) if isinstance(branch, dict) else None
    if (inner := table_in(field.annotation)) is not None:
        if rest and inside is None and type(None) in get_args(field.annotation):
            _refuse((*where, *rest), f"the file has no [{key}], to which this could belong")
        return _in_table(inner, inside, rest, where)
    if (entry := entry_in(field.annotation)) is not None:
        if not rest:
            _refuse(where, "this is a table; name one of its values")
        name = _entry(inside, rest[0], where)
        return _in_table(entry, inside.get(name) if isinstance(inside, dict) else None, rest[1:], (*where, name))
    if rest:
        _refuse((*where, *rest), f"{dotted(where)} is one value; nothing stands below it")
    return where


def _entry(names: object, part: str, where: Where) -> str:
    """Find an entry as the file spells it: in any case, and with ``_`` for what a variable's name cannot have."""
    if not isinstance(names, dict):
        return part
    same: list[str] = [name for name in names if name.lower() == part]
    same = same or [name for name in names if _ODD.sub("_", name.lower()) == _ODD.sub("_", part)]
    if len(same) == 1:
        return same[0]
    listed = ", ".join(same or names) or "none"
    what = f"this may mean any of {listed}" if same else f"the file has no such entry; it has: {listed}"
    _refuse((*where, part), what)


def _put(tree: dict[str, Any], where: Where, value: Text) -> bool:
    """Set a value; not where the file has something other than a table on the way, which is told as wrong anyway."""
    branch: Any = tree
    for part in where[:-1]:
        branch = branch.setdefault(part, {})
        if not isinstance(branch, dict):
            return False
    branch[where[-1]] = value
    return True
