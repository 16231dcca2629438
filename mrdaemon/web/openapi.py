"""The OpenAPI document of the dashboard's API, made from what its answers and commands are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from mrdaemon import __version__
from mrdaemon.asks import ASKS, LONGEST, SIDES
from mrdaemon.core import events as ev
from mrdaemon.core.explain import Explanation
from mrdaemon.show import INSTANTS
from mrdaemon.status import PositionStatus, Status
from mrdaemon.web.answered import ANSWERS

Schema = dict[str, Any]

COMPONENT: Final = "#/components/schemas/{name}"
NUMBER: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
"""Of an event."""
_WHOLE: Final = "([0-9]{1,15}|[0-9]{1,3}(,[0-9]{3}){1,4})"
_TEXT: Final[Schema] = {"type": "string", "format": "plain-text", "maxLength": LONGEST}
"""One line, without control characters."""
_DOLLARS: Final[Schema] = {"type": "string", "pattern": rf"^\$?-?{_WHOLE}(\.[0-9]{{1,2}})?$"}
_FIELDS: Final[Mapping[str, Schema]] = {
    "amount": _DOLLARS,
    "target": _DOLLARS,
    "shares": {"type": "string", "pattern": rf"^{_WHOLE}(\.[0-9]{{1,9}})?$"},
    "price": {
        "type": "string",
        "pattern": r"^\$?([1-9][0-9]{0,14}(\.[0-9]{1,9})?|0\.[0-9]{0,8}[1-9])$",
    },
    "side": {"type": "string", "enum": sorted(SIDES)},
}
"""How the fields of commands are written that are more than a text."""


def document() -> Schema:
    """Give the document."""
    answers = (Status, PositionStatus, Explanation, *ANSWERS)
    _, schemas = msgspec.json.schema_components([*answers, *ASKS.values(), *ev.KINDS.values()], ref_template=COMPONENT)
    _with_instants(schemas[Explanation.__name__])
    for kind in ev.KINDS.values():
        _with_instants(schemas[kind.__name__])
        _with_sentence(schemas[kind.__name__])
    for ask in ASKS.values():
        _as_asked(schemas[ask.__name__])
    schemas |= _made(schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mrdaemon",
            "version": __version__,
            "summary": "What a daemon shows, and the commands that it takes.",
            "description": "Money, shares and prices are strings, times are RFC 3339 in UTC, and ratios are 0.01 for "
            "one percent. What is not known is null. A program sends the token of the state directory as a bearer; "
            "a browser opens a session with it.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{"token": []}, {"session": [], "csrf": []}],
        "paths": _paths(),
        "components": {"schemas": schemas, "securitySchemes": _SECURITY},
    }


_SECURITY: Final[Schema] = {
    "token": {"type": "http", "scheme": "bearer", "description": "The file web-token in the state directory."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "mrdaemon_session_8378",
        "description": "As POST /api/session sets it: with the port in its name, and with __Host- before it over TLS.",
    },
    "csrf": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRF-Token",
        "description": "What POST /api/session told; wanted with a session for all that is more than looking.",
    },
}


# Schemas


def _with_instants(schema: Schema) -> None:
    """Write instants as the API does, whatever they are inside."""
    for name, field in schema["properties"].items():
        if name in INSTANTS:
            for each in field.get("anyOf", [field]):
                if each.get("type") == "integer":
                    each.update(type="string", format="date-time")


def _with_sentence(schema: Schema) -> None:
    schema["properties"]["sentence"] = {"type": "string", "description": "It in one plain sentence."}
    schema["required"] = [*schema["required"], "sentence"]


def _as_asked(schema: Schema) -> None:
    """Say of a command's fields how they are written."""
    for name, field in schema["properties"].items():
        for each in field.get("anyOf", [field]):
            if each.get("type") == "string":
                each.update(_FIELDS.get(name, _TEXT))


def _made(schemas: Schema) -> Schema:
    """Give the schemas of what is put together where it is answered."""
    kinds = [kind.__name__ for kind in ev.KINDS.values()]
    tags = {schemas[name]["properties"]["kind"]["enum"][0]: COMPONENT.format(name=name) for name in kinds}
    event = {"oneOf": [_ref(name) for name in kinds], "discriminator": {"propertyName": "kind", "mapping": tags}}
    text = {"type": "string"}
    done = {
        "ok": {"type": "boolean", "description": "Whether it was done."},
        "events": {"type": "array", "items": _ref("AnyEvent"), "description": "What it changed."},
        "notes": {"type": "array", "items": text, "description": "What still stands in the way."},
        "refused": {**text, "description": "Why it was not done."},
    }
    return {
        "AnyEvent": event,
        "Error": _object({"ok": {"const": False}, "error": text}),
        "Done": _object(done, optional={"refused"}),
    }


def _object(properties: Schema, optional: Iterable[str] = ()) -> Schema:
    return {"type": "object", "properties": properties, "required": sorted(properties.keys() - set(optional))}


def _ref(name: str) -> Schema:
    return {"$ref": COMPONENT.format(name=name)}


# Paths


def _paths() -> Schema:
    return {
        "/healthz": {"get": {**_get("Whether everything makes progress", _ref("Healthz"), 503), "security": []}},
        "/openapi.json": {"get": {**_get("This document", {"type": "object"}), "security": []}},
        "/metrics": {"get": _operation("Every figure, for Prometheus", {"200": _text("text/plain", "The figures.")})},
        "/api/session": {"post": _sign_in(), "delete": _sign_out()},
        "/api/status": {"get": _get("How everything stands", _ref("Status"))},
        "/api/explain/{symbol}": {
            "get": _get(
                "Why a symbol's positions do or do not trade",
                {"type": "array", "items": _ref("Explanation")},
                parameters=[_in_path("symbol"), _in_query("portfolio", {"type": "string"})],
            )
        },
        "/api/news": {
            "get": _get(
                "What a person wants to read, newest first",
                _ref("NewsPage"),
                parameters=[
                    _in_query("before", NUMBER),
                    _in_query("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 100}),
                ],
            )
        },
        "/api/prices/{symbol}": {
            "get": _get("The line of a symbol's trading day", _ref("PriceLine"), parameters=[_in_path("symbol")])
        },
        "/api/reserve/{portfolio}": {
            "get": _get("A reserve over time", _ref("ReserveLine"), parameters=[_in_path("portfolio")])
        },
        "/api/events": {"get": _events()},
        "/api/stream": {"get": _stream()},
        **{f"/api/commands/{name}": {"post": _command(name)} for name in ASKS},
    }


def _operation(summary: str, responses: Schema, **more: Any) -> Schema:  # noqa: ANN401 - whatever OpenAPI has
    wrong = {"description": "Why not.", "content": {"application/json": {"schema": _ref("Error")}}}
    return {"summary": summary, **more, "responses": {**responses, "default": wrong}}


def _get(summary: str, schema: Schema, *statuses: int, parameters: Iterable[Schema] = ()) -> Schema:
    answer = {"description": summary, "content": {"application/json": {"schema": schema}}}
    responses = {str(status): answer for status in (200, *statuses)}
    return _operation(summary, responses, parameters=list(parameters))


def _events() -> Schema:
    parameters = [
        _in_query("after", NUMBER),
        _in_query("kind", {"type": "array", "items": {"type": "string", "enum": sorted(ev.KINDS)}}),
        _in_query("follow", {"type": "boolean", "description": "Whether to go on as more become durable."}),
    ]
    lines = _text("application/x-ndjson", "An event a line, with its seq, wall and cursor.")
    return _operation("The journal's events after a number", {"200": lines}, parameters=parameters)


def _stream() -> Schema:
    what = (
        "Server-sent events: hello once, status at most each second, positions (those that changed, and the keys of "
        "those that are no more) and news, whose id is the number of its last event. A stream that is opened with that "
        "as Last-Event-ID goes on from there, if hello says resumed."
    )
    last = {"name": "Last-Event-ID", "in": "header", "schema": NUMBER}
    return _operation("What changes", {"200": _text("text/event-stream", what)}, parameters=[last])


def _command(name: str) -> Schema:
    kind = ASKS[name]
    done = {"application/json": {"schema": _ref("Done")}}
    refused = {"application/json": {"schema": {"anyOf": [_ref("Done"), _ref("Error")]}}}
    void = {"name": "X-Void-After", "in": "header", "schema": NUMBER, "description": "Nanoseconds since 1970."}
    return _operation(
        f"To {kind.meaning}",
        {
            "200": {"description": "It was done.", "content": done},
            "409": {"description": "It was not.", "content": refused},
        },
        parameters=[void],
        requestBody={
            "required": any(field.required for field in msgspec.structs.fields(kind)),
            "content": {"application/json": {"schema": _ref(kind.__name__)}},
        },
    )


def _sign_in() -> Schema:
    answer = {"description": "The session is open.", "content": {"application/json": {"schema": _ref("SignedIn")}}}
    body = {"required": True, "content": {"application/json": {"schema": _ref("SignIn")}}}
    return _operation("Open a session", {"200": answer}, requestBody=body, security=[])


def _sign_out() -> Schema:
    return _operation("End the session", {"204": {"description": "It is ended."}})


def _text(kind: str, description: str) -> Schema:
    return {"description": description, "content": {kind: {"schema": {"type": "string"}}}}


def _in_path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _in_query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "schema": schema}
