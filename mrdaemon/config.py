"""Reading a configuration: a TOML file, overridden by secrets and the environment, with every error told at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from mrdaemon.crosschecks import checks
from mrdaemon.findings import HIDDEN, ConfigError, Finding, Where, dotted, line, private, secretive, shown
from mrdaemon.overrides import Origin, override
from mrdaemon.salvage import salvage
from mrdaemon.settings import Settings, Table, entry_in, nearest, table_in

LARGEST: Final = 4_000_000
"""Bytes of a configuration; a thousand positions take less than a tenth."""
NO_TABLE: Final = frozenset({"model_type", "model_attributes_type", "dict_type"})
"""Pydantic's names for a value where a table belongs."""
_AT: Final = re.compile(r" \(at line (\d+), column (\d+)\)$")

Tree = dict[str, Any]


class Config(NamedTuple):
    """A configuration that can be used, and the file it came from."""

    settings: Settings
    path: Path


def read(path: Path, environment: Mapping[str, str] | None = None, files: Sequence[Path] = ()) -> Config:
    """Read a configuration; ``files`` stand in for those of its feed, for a replay.

    Raises:
        ConfigError: with every problem found.
    """
    tree = _toml(path)
    origins, problems = override(tree, os.environ if environment is None else environment)
    if files:
        origins[_replay(tree, files)] = Origin("command line")
    folder = path.resolve().parent
    try:
        settings = _validated(tree)
        findings = list(checks(settings, folder))
        if not findings and not problems:
            return Config(settings, path)
    except ValidationError as error:
        findings = [*_findings(error), *checks(salvage(Settings, tree), folder)]
    problems += [_told(path, origins, finding) for finding in findings]
    raise ConfigError(sorted(set(problems)))


def _replay(tree: Tree, files: Sequence[Path]) -> Where:
    """Let files stand in for the feed's; how their rows are to be read still goes for them."""
    feed = tree.get("feed", {})
    if isinstance(feed, dict):
        kept = feed if feed.get("kind") == "file" else {key: feed[key] for key in ("timezone", "bar") if key in feed}
        tree["feed"] = {**kept, "kind": "file", "files": [str(each.absolute()) for each in files]}
    return ("feed", "files")


# The file


def _toml(path: Path) -> Tree:
    """Read the file.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    where, raw, text = "file", b"", ""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            what, got = f"wanted a TOML file of at most {LARGEST:,} bytes", "more"
        else:
            text = raw.decode("utf-8-sig")  # editors on Windows begin a file with a mark
            return tomllib.loads(text)
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        where, what, got = f"line {number}", "wanted UTF-8", f"the byte 0x{raw[error.start]:02x}"
    except OSError as error:
        what, got = "wanted a TOML file that can be read", f"{error.strerror}"
    except RecursionError:
        what, got = "wanted TOML that a person could read", "brackets that are nested too deeply"
    except ValueError as error:  # not only TOMLDecodeError: a number of five thousand digits is another
        where, what, got = _syntax(text, str(error))
    raise ConfigError([line(str(path), where, what, got)])


def _syntax(text: str, message: str) -> tuple[str, str, str]:
    """Say where the file is no TOML, and show that line."""
    at = _AT.search(message)
    what = f"not TOML: {message[: at.start()] if at else message}"
    if at is None:
        return "syntax", what, "the end of the file" if "end of document" in message else "what cannot be read"
    wrong = text.split("\n")[int(at[1]) - 1].strip()
    got = HIDDEN if secretive(wrong) else shown(wrong)
    return f"line {at[1]}, column {at[2]}", what, got


# Its values


class _Given(PydanticBaseSettingsSource):
    """Hands the merged values to pydantic-settings."""

    def __init__(self, settings: type[BaseSettings], tree: Tree) -> None:
        super().__init__(settings)
        self._tree = tree

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - its signature
        return self._tree.get(field_name), field_name, False

    def __call__(self) -> Tree:
        return self._tree


def _validated(tree: Tree) -> Settings:
    """Check every value by itself.

    Raises:
        ValidationError: some are wrong.
    """

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

    return Merged()  # type: ignore[call-arg]


# What is wrong with them


def _findings(error: ValidationError) -> Iterator[Finding]:
    """Give each wrong value once: what is missing because it was misspelt is told as misspelt."""
    errors = [(_place(wrong), wrong) for wrong in error.errors(include_url=False)]
    unknown = [where for where, wrong in errors if wrong["type"] == "extra_forbidden"]
    misspelt = {(*where[:-1], _nearest(where)) for where in unknown}
    for where, wrong in errors:
        if wrong["type"] != "missing":
            yield Finding(where, _what(where, wrong), wrong["input"], secret=_may_be_secret(where, wrong["type"]))
        elif where not in misspelt:
            yield Finding(where, "this is required", None)


def _may_be_secret(where: Where, error: str) -> bool:
    """Tell whether a value may be a secret of a table: it stands there under a wrong name, or in the table's place."""
    if error == "extra_forbidden":
        return any(map(secretive, _table_of(where).model_fields))
    return error in NO_TABLE and any(map(secretive, _table_of((*where, "")).model_fields))


def _place(wrong: Any) -> Where:
    where = tuple(str(part) for part in wrong["loc"])
    return where[:-1] if where[-1] == "[key]" and wrong["type"] == "value_error" else where


def _what(where: Where, wrong: Any) -> str:
    match wrong["type"]:
        case "extra_forbidden":
            near = _nearest(where)
            return "there is no such setting" + (f"; did you mean {near!r}?" if near else _belongs(where[-1]))
        case "value_error":
            return str(wrong["ctx"]["error"])
        case "literal_error" | "enum":
            return f"wanted {wrong['ctx']['expected']}".replace("'", '"')
        case kind if kind in NO_TABLE:
            return "wanted a table"
        case "string_type":
            return "wanted text in quotes"
        case "too_short":
            return "wanted at least one"
        case _:
            return f"wanted another value: {wrong['msg']}"


def _belongs(key: str) -> str:
    return "; it belongs at the top, before the first [table]" if key in {"state_dir", "seed"} else ""


def _nearest(where: Where) -> str | None:
    """Give the setting that an unknown one was probably meant to be."""
    return nearest(_table_of(where), where[-1])


def _table_of(where: Where) -> type[Table]:
    """Give the table in which a setting stands, or would stand."""
    table: type[Table] = Settings
    entry: type[Table] | None = None
    for part in where[:-1]:
        if entry is not None:  # the part is the name of an entry
            table, entry = entry, None
            continue
        annotation = table.model_fields[part].annotation
        table, entry = table_in(annotation) or table, entry_in(annotation)
    return table if entry is None else entry


def _told(path: Path, origins: Mapping[Where, Origin], finding: Finding) -> str:
    where = dotted(finding.where)
    above = (finding.where[:n] for n in range(len(finding.where), 0, -1))
    origin = next((origins[each] for each in above if each in origins), Origin(str(path)))
    others = sorted({origins[each].name for each in finding.beside if each in origins})
    what = finding.what + (f", as set by {', '.join(others)}" if others else "")
    hidden = finding.got is not None and (origin.secret or finding.secret or private(finding.where, finding.got))
    return line(origin.name, where, what, HIDDEN if hidden else shown(finding.got))
