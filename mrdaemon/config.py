"""Reading a configuration: a TOML file, overridden by secrets and the environment, with every error told at once.

An override is named after the path of its setting: ``MRDAEMON_PORTFOLIOS__CORE__RESERVE``, or a file
``portfolios__core__reserve`` in the secrets directory.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from mrdaemon.planning import Finding, checks, without_got
from mrdaemon.settings import ENV_PREFIX, Settings

SECRETS_VARIABLES: Final = ("MRDAEMON_SECRETS_DIR", "CREDENTIALS_DIRECTORY")
"""Which variable names the secrets directory; the second is systemd's."""
NOT_SETTINGS: Final = frozenset({"MRDAEMON_SECRETS_DIR", "MRDAEMON_CONFIG"})
SHOWN: Final = 80
"""Characters of a wrong value that a message repeats."""

Path_ = tuple[str, ...]
Tree = dict[str, Any]


class ConfigError(Exception):
    """A configuration that cannot be used; ``problems`` has every reason, each ``file: where: what (got …)``."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Config(NamedTuple):
    """A configuration that can be used, and the file it came from."""

    settings: Settings
    path: Path


class Override(NamedTuple):
    """One value from the environment or the secrets directory."""

    origin: str
    """How a message names where it came from."""
    where: Path_
    value: Any


def read(path: Path, environment: Mapping[str, str] | None = None, files: Sequence[Path] = ()) -> Config:
    """Read a configuration; ``files`` stand in for its feed, for a replay.

    Raises:
        ConfigError: with every problem found.
    """
    environment = os.environ if environment is None else environment
    tree = _toml(path)
    overrides, problems = _overrides(tree, environment)
    for override in overrides:
        _put(tree, override.where, override.value)
    origins = {override.where: override.origin for override in overrides}
    if files:
        feed = tree.get("feed")
        kept = {key: feed[key] for key in ("timezone", "bar") if key in feed} if isinstance(feed, dict) else {}
        tree["feed"] = {"kind": "file", "files": [str(each.absolute()) for each in files], **kept}
    settings, wrong = _validated(tree)
    problems += [_line(path, origins, finding) for finding in wrong]
    if settings is not None:
        folder = path.resolve().parent
        problems += [_line(path, origins, finding) for finding in checks(settings, folder)]
    if problems or settings is None:
        raise ConfigError(sorted(set(problems)))
    return Config(settings, path)


def _toml(path: Path) -> Tree:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        problem = f"{path}: file: cannot be read: {error.strerror}"
    except tomllib.TOMLDecodeError as error:
        problem = f"{path}: syntax: {error}"
    except UnicodeDecodeError as error:
        problem = f"{path}: syntax: not UTF-8 at byte {error.start}"
    raise ConfigError([problem])


# Overrides


def _overrides(tree: Tree, environment: Mapping[str, str]) -> tuple[list[Override], list[str]]:
    found: list[Override] = []
    problems: list[str] = []
    for origin, name, text in _named_values(environment, problems):
        where = _place(tree, name.split("__"))
        if where[0] not in Settings.model_fields:
            problems.append(f"{origin}: {where[0]}: unknown setting{_close(where[0])} (got {_shown(text)})")
        else:
            found.append(Override(origin, where, _value(text)))
    return found, problems


def _named_values(environment: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, str, str]]:
    """Give (origin, setting's name, text); the environment comes last, and so wins."""
    folder = next((Path(environment[name]) for name in SECRETS_VARIABLES if environment.get(name)), None)
    try:
        files = [] if folder is None else sorted(each for each in folder.iterdir() if each.is_file())
        for file in files:
            name = file.name.lower().removeprefix(ENV_PREFIX.lower())
            if name.split("__")[0] in Settings.model_fields:
                yield str(file), name, file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{folder}: secrets directory: cannot be read: {error}")
    for name, text in sorted(environment.items()):
        if name.startswith(ENV_PREFIX) and name not in NOT_SETTINGS:
            yield f"environment: {name}", name.removeprefix(ENV_PREFIX).lower(), text


def _place(tree: Tree, parts: list[str]) -> Path_:
    """Find the path that a name means: as the file spells it, whatever the case; symbols are upper case."""
    where: list[str] = []
    branch: Any = tree
    for part in parts:
        keys = {key.lower(): key for key in branch} if isinstance(branch, dict) else {}
        key = keys.get(part, part.upper() if where[-1:] == ["positions"] else part)
        where.append(key)
        branch = branch.get(key) if isinstance(branch, dict) else None
    return tuple(where)


def _value(text: str) -> Any:
    """Read a list, a number or a truth value; all else is a string, as money must be."""
    if text in {"true", "false"} or text.startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _put(tree: Tree, where: Path_, value: Any) -> None:
    for part in where[:-1]:
        branch = tree.setdefault(part, {})
        if not isinstance(branch, dict):
            branch = tree[part] = {}
        tree = branch
    tree[where[-1]] = value


# Validation


class _Given(PydanticBaseSettingsSource):
    """Hands the merged values to pydantic-settings."""

    def __init__(self, settings: type[BaseSettings], tree: Tree) -> None:
        super().__init__(settings)
        self._tree = tree

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - its signature
        return self._tree.get(field_name), field_name, False

    def __call__(self) -> Tree:
        return self._tree


def _validated(tree: Tree) -> tuple[Settings | None, list[Finding]]:
    """Validate the values. Where some are wrong, give the settings that are left without them, to check those too."""

    class Merged(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings calls it with these names
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (_Given(settings_cls, tree),)

    findings: list[Finding] = []
    told: set[Path_] = set()
    while True:
        try:
            return Merged(), findings  # type: ignore[call-arg]
        except ValidationError as error:
            removed = False
            for wrong in error.errors(include_url=False):
                where = tuple(str(part) for part in wrong["loc"])
                if not any(where[: len(known)] == known for known in told):
                    findings.append(_finding(where, wrong))
                removed = _remove(tree, where) or removed
                told.add(where)
            if not removed:
                return None, findings


def _finding(where: Path_, wrong: Any) -> Finding:
    where = where[:-1] if where[-1:] == ("[key]",) else where
    match wrong["type"]:
        case "missing":
            return Finding(where, "this is required", None)
        case "extra_forbidden":
            return Finding(where, f"unknown key{_close(where[-1])}", wrong["input"])
        case "string_pattern_mismatch":
            return Finding(where, "wanted a name or symbol of the usual letters and digits", wrong["input"])
        case _:
            what = without_got(wrong["msg"].removeprefix("Value error, "))
            return Finding(where, what[0].lower() + what[1:], wrong["input"])


def _remove(tree: Tree, where: Path_) -> bool:
    """Take a wrong value out; where it is missing already, the table that wants it."""
    where = where[:-1] if where[-1:] == ("[key]",) else where
    while where:
        branch: Any = tree
        for part in where[:-1]:
            branch = branch.get(part) if isinstance(branch, dict) else None
        if isinstance(branch, dict) and where[-1] in branch:
            del branch[where[-1]]
            return True
        where = where[:-1]
    return False


def _known_keys(model: type[BaseModel] = Settings) -> set[str]:
    keys = set(model.model_fields)
    for field in model.model_fields.values():
        for part in _models(field.annotation):
            keys |= _known_keys(part)
    return keys


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models(part)


def _close(word: str) -> str:
    near = difflib.get_close_matches(word, sorted(_known_keys()), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _shown(given: Any) -> str:
    text = json.dumps(given, default=str, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _line(path: Path, origins: Mapping[Path_, str], finding: Finding) -> str:
    origin = next(
        (origins[finding.where[:n]] for n in range(len(finding.where), 0, -1) if finding.where[:n] in origins), None
    )
    got = "nothing" if finding.got is None else _shown(finding.got)
    return f"{origin or path}: {'.'.join(finding.where)}: {finding.what} (got {got})"
