"""What is right in a wrong configuration, so that it can be checked further and every problem is told at once."""

from __future__ import annotations

from typing import Any, TypeVar, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from mrdaemon.settings import Table, entry_in, nearest, table_in

AnyTable = TypeVar("AnyTable", bound=Table)


def salvage(table: type[AnyTable], given: object) -> AnyTable:
    """Give a table with the values that are right by themselves; it raises UnknownValueError for the others."""
    values: dict[str, Any] = {}
    unknown = set(table.model_fields)
    if isinstance(given, dict):
        misspelt = {nearest(table, key) for key in given if key not in table.model_fields}
        for key, field in table.model_fields.items():
            if key in given:
                unknown -= _salvaged(key, field, given[key], values)
            elif key not in misspelt and not field.is_required():
                unknown.discard(key)
    for key in unknown:
        _stand_in(key, table.model_fields[key], values)
    salvaged = table.model_construct(**values)
    for key in unknown - values.keys():
        vars(salvaged).pop(key, None)
    return salvaged


def _salvaged(key: str, field: FieldInfo, given: object, values: dict[str, Any]) -> set[str]:
    """Read one value; gives its key if that worked."""
    if (inner := table_in(field.annotation)) is not None:
        values[key] = salvage(inner, given)
    elif (entry := entry_in(field.annotation)) is not None:
        named = given if isinstance(given, dict) else {}
        values[key] = {name: salvage(entry, each) for name, each in named.items()}
    else:
        try:
            values[key] = TypeAdapter(field.rebuild_annotation()).validate_python(given)
        except ValidationError:
            if not isinstance(given, list) or get_origin(field.annotation) is not tuple:
                return set()
            values[key] = _right_items(get_args(field.annotation)[0], given)
    return {key}


def _right_items(item: type[object], given: list[object]) -> tuple[Any, ...]:
    adapter: TypeAdapter[Any] = TypeAdapter(item)
    right = []
    for each in given:
        try:
            right.append(adapter.validate_python(each))
        except ValidationError:
            continue
    return tuple(right)


def _stand_in(key: str, field: FieldInfo, values: dict[str, Any]) -> None:
    """Where a whole table is missing, its values are what is unknown."""
    if (inner := table_in(field.annotation)) is not None:
        values[key] = salvage(inner, None)
    elif entry_in(field.annotation) is not None:
        values[key] = {}
