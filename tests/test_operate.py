"""The book of operation has every alert that can be said, and what it says of each is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from mrdaemon.alerts.ailments import RANKS
from mrdaemon.alerts.alert import Level, Topic
from tests.running import ROOT

BOOK = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
TABLE = BOOK.split("\n### Every alert\n")[1].split("\n## ")[0]
ROW = re.compile(r"^\| (?P<kinds>`.*?) \| (?P<level>.*?) \| (?P<means>.+?) \| (?P<you>.*?) ?\|$", re.MULTILINE)
QUOTED = re.compile(r"`(\w+)`")
SOURCES = sorted((ROOT / "mrdaemon").glob("alerts/*.py")) + [ROOT / "mrdaemon" / name for name in ("herald.py",)]


class Row(NamedTuple):
    """What is written of a kind."""

    topic: str
    levels: set[str]


def rows() -> dict[str, Row]:
    """Give what the table says, by kind."""
    found = dict[str, Row]()
    for part in TABLE.split("\n| **")[1:]:
        topic = part.partition("**")[0]
        for row in ROW.finditer(part):
            words = set(re.findall(r"\w+", row["level"])) | set(QUOTED.findall(row["means"]))
            row_levels = {each.value for each in Level} & words
            found |= {kind: Row(topic, row_levels) for kind in QUOTED.findall(row["kinds"])}
    return found


def texts(node: ast.AST) -> set[str]:
    """Give every text in a piece of code."""
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def named_in(tree: ast.Module) -> Iterator[ast.AST]:
    """Give each piece of a module that names a kind of alert."""
    takes = {
        each.name: [argument.arg for argument in each.args.args].index("kind")
        for each in ast.walk(tree)
        if isinstance(each, ast.FunctionDef) and "kind" in [argument.arg for argument in each.args.args]
    }
    for each in ast.walk(tree):
        if isinstance(each, ast.Call):
            yield from (keyword.value for keyword in each.keywords if keyword.arg == "kind")
            name = each.func.id if isinstance(each.func, ast.Name) else ""
            place = 0 if name == "Kind" else takes.get(name)
            if place is not None and place < len(each.args):
                yield each.args[place]
        elif isinstance(each, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "kinds" for to in each.targets):
            yield each.value


def said() -> set[str]:
    """Give every kind of alert that the code can say."""
    trees = [ast.parse(each.read_text(encoding="utf-8")) for each in SOURCES]
    return set[str]().union(*(texts(node) for tree in trees for node in named_in(tree))) | {"test"}


def calls() -> Iterator[tuple[str, str, set[str]]]:
    """Give kind, topic and levels of each alert that is said in one place, as far as they stand there."""
    for source in SOURCES:
        for each in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if not isinstance(each, ast.Call):
                continue
            fields = {keyword.arg: keyword.value for keyword in each.keywords}
            kind, topic, level = fields.get("kind"), fields.get("topic"), fields.get("level")
            if kind is None or not isinstance(topic, ast.Attribute) or level is None:
                continue
            levels = {member.attr.lower() for member in ast.walk(level) if isinstance(member, ast.Attribute)}
            for name in texts(kind):
                yield name, topic.attr.lower(), levels & {member.value for member in Level}


def test_every_alert_that_can_be_said_is_in_the_book_and_no_other() -> None:
    assert set(rows()) == said()


@pytest.mark.parametrize(
    ("kind", "topic", "levels"), [pytest.param(*each, id=each[0]) for each in sorted(calls(), key=repr)]
)
def test_an_alert_is_written_down_with_its_topic_and_levels(kind: str, topic: str, levels: set[str]) -> None:
    row = rows()[kind]
    assert row.topic == topic
    assert levels <= row.levels


@pytest.mark.parametrize("kind", RANKS)
def test_what_comes_and_goes_is_written_down_with_its_topic_and_level(kind: str) -> None:
    sort, rank = RANKS[kind]
    row = rows()[kind]
    assert row.topic == sort.topic
    assert sort.kinds[rank].level in row.levels


def test_the_book_has_every_topic() -> None:
    assert re.findall(r"^\| \*\*(\w+)\*\*", TABLE, re.MULTILINE) == [each.value for each in Topic]


def test_every_link_within_the_book_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.*)", BOOK, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", BOOK)) <= anchors
