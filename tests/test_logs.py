"""The log's own document has every line that the program can write, with its level and keys, and no other."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.running import ROOT

DOCUMENT = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(?P<event>.+?)` \| (?P<levels>[a-z, ]+) \| (?P<keys>.*?) ?\| (?P<means>.+) \|$", re.MULTILINE)
LEVELS = {"info": "info", "warning": "warning", "error": "error", "exception": "error", "critical": "critical"}
ELSEWHERE = {"simulator"}
"""What has a log of its own, or none."""


class Line(NamedTuple):
    """A line that can be written."""

    event: str
    level: str
    keys: frozenset[str]


def documented() -> list[Line]:
    return [
        Line(row["event"], level, frozenset(re.findall(r"`(\w+)`", row["keys"])))
        for row in ROW.finditer(DOCUMENT)
        for level in row["levels"].split(", ")
    ]


@cache
def written() -> set[Line]:
    found = set[Line]()
    for source in sorted((ROOT / "mrdaemon").rglob("*.py")):
        if source.relative_to(ROOT / "mrdaemon").parts[0] not in ELSEWHERE:
            found |= set(lines(source))
    return found


def lines(source: Path) -> Iterator[Line]:
    """Give every line that a module writes."""
    text = source.read_text(encoding="utf-8")
    tree = ast.parse(text if "log" in text else "")
    bound = {
        keyword.arg
        for call in calls(tree)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "bind" and receiver(call) == "log"
        for keyword in call.keywords
    }
    for function in functions(tree):
        for call in own_calls(function):
            where = receiver(call)
            if isinstance(call.func, ast.Attribute) and where in {"log", "_log"} and call.func.attr in LEVELS:
                names = {"exception"} if call.func.attr == "exception" else set[str]()
                names |= {"exception" if each.arg == "exc_info" else str(each.arg) for each in call.keywords}
                names |= {str(each) for each in bound} if where == "_log" else set()
                for event in texts(tree, function, call.args[0]):
                    yield Line(event, LEVELS[call.func.attr], frozenset(names))
            elif isinstance(call.func, ast.Name) and call.func.id in chosen(function):
                names = {str(each.arg) for each in call.keywords} | {str(each) for each in bound}
                for level in chosen(function)[call.func.id]:
                    yield Line(ast.literal_eval(call.args[0]), LEVELS[level], frozenset(names))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (each for each in ast.walk(tree) if isinstance(each, ast.Call))


def receiver(call: ast.Call) -> str:
    """Say on what a method is called: ``log``, or ``_log`` of ``self``."""
    on = call.func.value if isinstance(call.func, ast.Attribute) else None
    return on.id if isinstance(on, ast.Name) else on.attr if isinstance(on, ast.Attribute) else ""


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    return (each for each in ast.walk(tree) if isinstance(each, Function))


def own_calls(function: Function) -> Iterator[ast.Call]:
    """Give a function's calls, but not those of functions within it."""
    inner = set(itertools.chain.from_iterable(map(ast.walk, list(functions(function))[1:])))
    return (each for each in calls(function) if each not in inner)


def texts(tree: ast.AST, function: Function, event: ast.expr) -> Iterator[str]:
    """Give an event's words; where they are a parameter, what it is given in this module."""
    if isinstance(event, ast.Constant):
        yield str(event.value)
    elif isinstance(event, ast.Name):
        at = [each.arg for each in function.args.args].index(event.id)
        for call in calls(tree):
            if isinstance(call.func, ast.Name) and call.func.id == function.name:
                yield ast.literal_eval(call.args[at])


def chosen(function: Function) -> dict[str, list[str]]:
    """Give names that stand for a level that is chosen as it is written: ``say = log.info if … else log.warning``."""
    return {
        target.id: [each.attr for each in (node.value.body, node.value.orelse) if isinstance(each, ast.Attribute)]
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.IfExp)
        for target in node.targets
        if isinstance(target, ast.Name)
        and isinstance(node.value.body, ast.Attribute)
        and node.value.body.attr in LEVELS
    }


def test_every_line_that_can_be_written_is_in_the_document_with_its_level_and_keys() -> None:
    assert written() - set(documented()) == set()


def test_no_line_is_in_the_document_that_is_never_written() -> None:
    assert set(documented()) - written() == set()


def test_each_line_is_in_the_document_once() -> None:
    assert len(documented()) == len(set(documented()))


def test_the_lines_of_every_part_are_found() -> None:
    """If nobody found any, the tests above would hold as well."""
    assert len(written()) > 70
    keys = frozenset({"stream", "symbol", "problem", "reason", "since_then"})
    assert Line("message left out", "warning", keys) in written()
    assert Line("the end could not be told", "error", frozenset({"channel", "exception"})) in written()
