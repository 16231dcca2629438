"""A problem of a configuration, and the line that tells a person of it: ``file: where: what (got …)``."""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

Where = tuple[str, ...]
"""The path of a setting, from the top of the file."""

SHOWN: Final = 80
"""Characters of a wrong value that a message repeats."""
HIDDEN: Final = "a value that is not shown"

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SECRET: Final = re.compile(r"secret|password|token|urls|://|(?<![a-z])key(?![a-z])", re.IGNORECASE)
_LOGIN: Final = re.compile(r"://[^/\s]*@")
"""Of an address with a user, or a user and a password, in it."""
_HUGE: Final = 256
"""Bits; Python refuses to write integers of many digits."""


class ConfigError(Exception):
    """A configuration that cannot be used; ``problems`` has every reason, each ``file: where: what (got …)``."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Finding(NamedTuple):
    """A problem."""

    where: Where
    what: str
    got: object
    """The value, as it was read; None: nothing."""
    beside: tuple[Where, ...] = ()
    """Other settings that have a part in it."""
    secret: bool = False
    """Whether the value may be a secret although nothing in its name or form says so."""


def line(origin: str, where: str, what: str, got: str) -> str:
    """Write a problem on one line, whatever is in it."""
    return f"{printable(origin)}: {printable(where)}: {printable(what)} (got {got})"


def dotted(where: Where) -> str:
    """Write a path as TOML does: ``portfolios.core.positions."BRK.B".target``."""
    return ".".join(part if _BARE.fullmatch(part) else shown(part) for part in where)


def shown(given: object) -> str:
    """Write a value for a message: on one line, at most 80 characters, and of a table only its keys."""
    match given:
        case None:
            text = "nothing"
        case str():
            text = json.dumps(given, ensure_ascii=False)
        case bool():
            text = str(given).lower()
        case int() if given.bit_length() > _HUGE:
            text = "a number that is far too large"
        case dict():
            text = f"a table of {', '.join(str(key) for key in given)}" if given else "an empty table"
        case list() | tuple():
            plain = not any(isinstance(each, dict | list | tuple) for each in given)
            text = f"[{', '.join(shown(each) for each in given)}]" if plain else "a list of lists or tables"
        case _:
            text = str(given)
    text = printable(text)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def secretive(text: str) -> bool:
    """Tell whether what stands by a name, or on a line, may be a secret."""
    return _SECRET.search(text) is not None


def private(where: Where, got: object) -> bool:
    """Tell whether a value may be a secret: by its setting's name, or as an address, which often has one in it."""
    name = next((part for part in reversed(where) if not part.isdigit()), "")
    if secretive(name) or where[:2] == ("answers", "topic"):
        return True
    texts = [each for each in (got if isinstance(got, list | tuple) else [got]) if isinstance(each, str)]
    return any(_LOGIN.search(each) or ("://" in each and name != "url") for each in texts)


def printable(text: str) -> str:
    """Escape what would break a line, garble a terminal, or could not be written at all."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
