"""What real answers look like: Alpaca's published schemas (October 2026) and the shapes of recorded paper responses.

Both are reduced to names and types: no descriptions, no values. The ``date`` of an activity has no format here, because
the published example of it is a date where its format says date-time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

from mrdaemon.core.instant import parse

_FILES = Path(__file__).parent / "data"
SCHEMAS: dict[str, Any] = json.loads((_FILES / "alpaca_answers.json").read_text())
RECORDED: dict[str, Any] = json.loads((_FILES / "alpaca_recorded_shapes.json").read_text())

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_FORMATS: dict[str, Any] = {"uuid": UUID, "date-time": parse, "date": date.fromisoformat}


def shape(body: Any) -> Any:
    """Reduce an answer to its keys and the types of its values; every number is one type."""
    match body:
        case dict():
            return {key: shape(value) for key, value in body.items()}
        case list():
            return [shape(value) for value in body[:1]]
        case bool() | None | str():
            return type(body).__name__
        case _:
            return "number"


def violations(body: Any, schema: Any, where: str = "$") -> Iterator[str]:
    """Say everything in which an answer is not what a schema describes."""
    if body is not None or "null" not in _named(schema):
        yield from _wrong_kind(body, schema, where)
    for part in schema.get("allOf", []):
        yield from violations(body, part, where)
    for word, enough in (("anyOf", any), ("oneOf", lambda fits: sum(fits) == 1)):
        if word in schema:
            fits = [not any(violations(body, part, where)) for part in schema[word]]
            if not enough(fits):
                yield f"{where}: {word} is not met by {body!r}"
    if isinstance(body, dict):
        yield from _wrong_keys(body, schema, where)
    if isinstance(body, list):
        for place, each in enumerate(body):
            yield from violations(each, schema.get("items", {}), f"{where}[{place}]")


def _named(schema: Any) -> list[str]:
    named = schema.get("type", [])
    return [named] if isinstance(named, str) else named


def _wrong_kind(body: Any, schema: Any, where: str) -> Iterator[str]:
    allowed = tuple(kind for name in _named(schema) for kind in _TYPES[name])
    if allowed and (not isinstance(body, allowed) or (isinstance(body, bool) and bool not in allowed)):
        yield f"{where}: {body!r} is no {schema['type']}"
        return
    if "enum" in schema and body not in schema["enum"]:
        yield f"{where}: {body!r} is none of {schema['enum']}"
    if isinstance(body, str):
        if not schema.get("minLength", 0) <= len(body) <= schema.get("maxLength", 10**6):
            yield f"{where}: {body!r} is too short or too long"
        try:
            _FORMATS.get(schema.get("format", ""), str)(body)
        except ValueError:
            yield f"{where}: {body!r} is no {schema['format']}"


def _wrong_keys(body: dict[str, Any], schema: Any, where: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name in schema.get("required", []):
        if name not in body:
            yield f"{where}: {name} is missing"
    for name, value in body.items():
        yield from violations(value, known.get(name, others), f"{where}.{name}")
