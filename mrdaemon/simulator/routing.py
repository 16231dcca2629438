"""From a method and a path to the function that answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mrdaemon.simulator.refusals import MISSING, RefusalError


class Call(NamedTuple):
    """A request that found its route."""

    parts: dict[str, str]
    """What the path names."""
    query: dict[str, list[str]]
    body: bytes


class Reply(NamedTuple):
    """What is answered; None is an empty body."""

    content: object
    status: int = 200


class Route(NamedTuple):
    """A method and a path, and who answers."""

    method: str
    path: re.Pattern[str]
    answer: Callable[[Call], Reply]


def route(method: str, path: str, answer: Callable[[Call], Reply]) -> Route:
    """Make a route; the path is a regular expression whose groups are named."""
    return Route(method, re.compile(path), answer)


def find(routes: Sequence[Route], method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Find the route of a request, and what its path names.

    Raises:
        RefusalError: there is none, or none with this method.
    """
    known = False
    for one in routes:
        matched = one.path.fullmatch(path)
        if matched is None:
            continue
        known = True
        if one.method == method:
            return one, {name: value for name, value in matched.groupdict().items() if value is not None}
    if known:
        raise RefusalError(405, None, "method not allowed")
    raise RefusalError(404, MISSING, "endpoint not found")
