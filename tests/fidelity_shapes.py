"""What an answer looks like: its keys, and of what kind each value is.

Run as a program, this writes the shapes of the whole tour anew, once its answers were seen to follow the
specifications.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Final
from uuid import UUID

_KINDS: Final = {
    "second": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "microsecond": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z",
    "nanosecond": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7,9}Z",
    "local instant": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?[+-]\d\d:\d\d",
    "date": r"\d{4}-\d\d-\d\d",
    "time": r"\d\d:\d\d",
    "activity id": r"\d{17}::[0-9a-f-]{36}",
    "ulid": r"[0-9A-HJKMNP-TV-Z]{26}",
    "decimal": r"-?\d+(\.\d*[1-9])?",
}
"""Kinds of text, the first that fits. A time is told to its smallest digit; a decimal has no zeros at its end."""


def kind(value: object) -> Any:
    """Give the kind of a value: keys of objects with their kinds, the kinds that a list has, or a word."""
    match value:
        case dict():
            return {key: kind(one) for key, one in sorted(value.items())}
        case list():
            kinds: list[Any] = []
            for one in map(kind, value):
                if one not in kinds:
                    kinds.append(one)
            return sorted(kinds, key=json.dumps)
        case bool():
            return "bool"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return kind_of_text(value)
        case _:
            return None


def kind_of_text(text: str) -> str:
    """Give the kind of a text."""
    try:
        UUID(text)
    except ValueError:
        return next((name for name, form in _KINDS.items() if re.fullmatch(form, text)), "text")
    return "uuid"


def shape(visit: Any) -> Any:
    """Give the shape of an answer; None where it is empty."""
    return kind(visit.body) if visit.text else None


if __name__ == "__main__":
    from tests.fidelity_tour import tour

    shapes = {name: shape(visit) for name, visit in tour().items()}
    lines = [f"{json.dumps(name)}: {json.dumps(found)}" for name, found in shapes.items()]
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
