"""The service's own OpenAPI specifications, where they are: which schema an answer has, and what contradicts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from openapi_schema_validator import (
    OAS30Validator,
    OAS31Validator,
    oas30_format_checker,
    oas31_format_checker,
)
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.fidelity_tour import Step

PLACE: Final = Path(__file__).parents[2] / "shared" / "alpaca"
TRADING: Final = PLACE / "trading-openapi.yaml"
MARKET_DATA: Final = PLACE / "market-data-openapi.yaml"
PRESENT: Final = TRADING.exists() and MARKET_DATA.exists()

_DATA: Final = ("/v2/stocks", "/v1beta3/", "/v1/corporate-actions")
_JSON: Final = "application/json"

Schema = Mapping[str, Any]


class Specification:
    """One OpenAPI document."""

    def __init__(self, file: Path) -> None:
        self._all: dict[str, Any] = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
        self._name = f"urn:{file.stem}"
        resource = Resource.from_contents(self._all, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(self._name, resource)
        new = self._all["openapi"].startswith("3.1")
        self._kind = OAS31Validator if new else OAS30Validator
        self._formats = oas31_format_checker if new else oas30_format_checker

    def statuses(self, step: Step) -> set[int]:
        """Give the HTTP statuses that an operation may answer."""
        return {int(status) for status in self._operation(step)["responses"]}

    def headers(self, step: Step, status: int) -> set[str]:
        """Give the headers that an answer should have."""
        return set(self._answer(step, status).get("headers", {}))

    def schema(self, step: Step, status: int) -> Schema | None:
        """Give the schema of an answer's body, or None where it has none."""
        found: Schema | None = self._answer(step, status).get("content", {}).get(_JSON, {}).get("schema")
        return found

    def named(self, name: str) -> Schema:
        """Give one of the schemas that others refer to."""
        return {"$ref": f"#/components/schemas/{name}"}

    def contradictions(self, schema: Schema, body: object) -> list[str]:
        """Say where a body does not follow a schema: place and rule."""
        validator = self._kind(self._absolute(schema), registry=self._registry, format_checker=self._formats)
        return sorted(
            f"{''.join(f'[{part}]' if isinstance(part, int) else f'.{part}' for part in each.absolute_path)} "
            f"{each.validator}: {each.message[:100]}"
            for each in validator.iter_errors(body)
        )

    def unheard_of(self, schema: Schema, body: object, place: str = "") -> Iterator[str]:
        """Give the keys of a body that the schema does not mention, with their places."""
        if isinstance(body, list):
            items = [one["items"] for one in self._parts(schema) if "items" in one]
            for each in body:
                yield from self.unheard_of({"anyOf": items}, each, f"{place}[]")
        if isinstance(body, dict):
            for key, value in body.items():
                known = self._of_key(schema, key)
                if not known:
                    yield f"{place}.{key}"
                else:
                    yield from self.unheard_of({"anyOf": known}, value, f"{place}.{key}")

    def _of_key(self, schema: Schema, key: str) -> list[Any]:
        found = []
        for part in self._parts(schema):
            if key in part.get("properties", {}):
                found.append(part["properties"][key])
            elif isinstance(part.get("additionalProperties"), dict):
                found.append(part["additionalProperties"])
            elif part.get("type") == "object" and not part.get("properties"):
                found.append({})
        return found

    def _parts(self, schema: Schema) -> Iterator[Schema]:
        """Give a schema and all that it is made of, whichever of them may hold."""
        schema = self._resolved(schema)
        yield schema
        for word in ("allOf", "anyOf", "oneOf"):
            for each in schema.get(word, []):
                yield from self._parts(each)

    def _operation(self, step: Step) -> Schema:
        operation: Schema = self._all["paths"][step.path][step.method.lower()]
        return operation

    def _answer(self, step: Step, status: int) -> Schema:
        return self._resolved(self._operation(step)["responses"][str(status)])

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            found: Any = self._all
            for name in schema["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            schema = found
        return schema

    def _absolute(self, schema: Any) -> Any:
        """Make a schema refer to the document by its name."""
        if isinstance(schema, dict):
            return {
                key: f"{self._name}{value}" if key == "$ref" else self._absolute(value) for key, value in schema.items()
            }
        return [self._absolute(each) for each in schema] if isinstance(schema, list) else schema


def specification(step: Step) -> Specification:
    """Give the specification that a step belongs to."""
    return read(MARKET_DATA if step.path.startswith(_DATA) else TRADING)


@cache
def read(file: Path) -> Specification:
    """Read a specification, once."""
    return Specification(file)
