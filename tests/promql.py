"""As much of Prometheus' query language as our alert rules and our dashboard are written in: read, checked, evaluated.

It is evaluated on a few scrapes, the last of which is now. A rate is that of the first and the last of them in its
range, without Prometheus' extrapolation, which is good enough to tell whether an alert fires.
"""

from __future__ import annotations

import math
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, Protocol

from prometheus_client import Metric

Labels = Mapping[str, str]
TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]))|(?P<text>"(?:[^"\\]|\\.)*")"""
    r"""|(?P<range>\[\d+[smhdw]\])|(?P<name>[a-zA-Z_:][\w:]*)|(?P<mark>==|!=|=~|!~|>=|<=|[-+*/(){},<>=]))""",
)
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
RECKON: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: left / right if right else math.nan,
}
SETS: Final = ("and", "or", "unless")
GATHER: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {"sum": sum, "max": max, "min": min, "count": len}
LEVELS: Final = (("or",), ("and", "unless"), tuple(COMPARE), ("+", "-"), ("*", "/"))
"""What binds weakest first."""


class QueryError(Exception):
    """A query that Prometheus would not take, or that is none of those we know."""


class Sample(NamedTuple):
    name: str
    labels: Labels
    value: float


class Scraping(NamedTuple):
    """What was scraped, and when."""

    at: float
    samples: Sequence[Sample]


def scraping(at: float, families: Sequence[Metric]) -> Scraping:
    return Scraping(at, [Sample(each.name, each.labels, each.value) for family in families for each in family.samples])


Point = tuple[Labels, float]


class Query(Protocol):
    """A part of a query."""

    def selectors(self) -> Iterator[Selector]: ...

    def evaluate(self, seen: Sequence[Scraping]) -> list[Point]: ...


class Selector(NamedTuple):
    name: str
    matchers: tuple[tuple[str, str, str], ...]
    seconds: int | None

    def selectors(self) -> Iterator[Selector]:
        yield self

    def evaluate(self, seen: Sequence[Scraping]) -> list[Point]:
        return [(each.labels, each.value) for each in seen[-1].samples if self.wants(each)]

    def wants(self, sample: Sample) -> bool:
        return sample.name == self.name and all(
            _matches(sample.labels.get(label, ""), how, value) for label, how, value in self.matchers
        )

    def series(self, seen: Sequence[Scraping]) -> Iterator[tuple[Labels, list[tuple[float, float]]]]:
        """Give each series within the range."""
        assert self.seconds is not None
        found: dict[frozenset[tuple[str, str]], list[tuple[float, float]]] = defaultdict(list)
        for scrape in seen:
            if scrape.at >= seen[-1].at - self.seconds:
                for each in scrape.samples:
                    if self.wants(each):
                        found[frozenset(each.labels.items())].append((scrape.at, each.value))
        return ((dict(key), points) for key, points in found.items())


def _matches(value: str, how: str, wanted: str) -> bool:
    alike = re.fullmatch(wanted, value) is not None if "~" in how else value == wanted
    return alike is not how.startswith("!")


class Number(NamedTuple):
    value: float

    def selectors(self) -> Iterator[Selector]:
        yield from ()

    def evaluate(self, seen: Sequence[Scraping]) -> list[Point]:
        return [({}, self.value)]


class Call(NamedTuple):
    name: str
    arguments: tuple[Query, ...]

    def selectors(self) -> Iterator[Selector]:
        for each in self.arguments:
            yield from each.selectors()

    def evaluate(self, seen: Sequence[Scraping]) -> list[Point]:
        return FUNCTIONS[self.name](self.arguments, seen)


class Gather(NamedTuple):
    name: str
    by: tuple[str, ...]
    what: Query

    def selectors(self) -> Iterator[Selector]:
        return self.what.selectors()

    def evaluate(self, seen: Sequence[Scraping]) -> list[Point]:
        groups: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for labels, value in self.what.evaluate(seen):
            groups[tuple(labels.get(label, "") for label in self.by)].append(value)
        gather = GATHER[self.name]
        return [(dict(zip(self.by, key, strict=True)), gather(values)) for key, values in groups.items()]


class Pair(NamedTuple):
    left: Query
    sign: str
    right: Query
    on: tuple[str, ...] | None

    def selectors(self) -> Iterator[Selector]:
        yield from self.left.selectors()
        yield from self.right.selectors()

    def evaluate(self, seen: Sequence[Scraping]) -> list[Point]:
        left, right = self.left.evaluate(seen), self.right.evaluate(seen)
        if self.sign in SETS:
            return self._joined(left, right)
        if isinstance(self.right, Number):
            pairs = [(labels, value, self.right.value) for labels, value in left]
        else:
            others = {self._key(labels): value for labels, value in right}
            pairs = [(labels, value, others[key]) for labels, value in left if (key := self._key(labels)) in others]
        if self.sign in COMPARE:
            return [(labels, mine) for labels, mine, other in pairs if COMPARE[self.sign](mine, other)]
        return [(labels, RECKON[self.sign](mine, other)) for labels, mine, other in pairs]

    def _joined(self, left: list[Point], right: list[Point]) -> list[Point]:
        mine, others = {self._key(labels) for labels, _ in left}, {self._key(labels) for labels, _ in right}
        if self.sign == "or":
            return left + [each for each in right if self._key(each[0]) not in mine]
        return [each for each in left if (self._key(each[0]) in others) is (self.sign == "and")]

    def _key(self, labels: Labels) -> frozenset[tuple[str, str]]:
        if self.on is None:
            return frozenset(labels.items())
        return frozenset((label, labels.get(label, "")) for label in self.on)


# Functions

Arguments = tuple[Query, ...]


def _increases(arguments: Arguments, seen: Sequence[Scraping]) -> list[Point]:
    return [(labels, _grown(points)) for labels, points in _range(arguments[0]).series(seen)]


def _grown(points: Sequence[tuple[float, float]]) -> float:
    """Add up what a counter grew by; one that is smaller than before began anew at zero."""
    return sum((after - before if after >= before else after) for (_, before), (_, after) in pairwise(points))


def _rates(arguments: Arguments, seen: Sequence[Scraping]) -> list[Point]:
    seconds = _range(arguments[0]).seconds or 1
    return [(labels, grown / seconds) for labels, grown in _increases(arguments, seen)]


def _resets(arguments: Arguments, seen: Sequence[Scraping]) -> list[Point]:
    return [
        (labels, float(sum(after < before for (_, before), (_, after) in pairwise(points))))
        for labels, points in _range(arguments[0]).series(seen)
    ]


def _predicted(arguments: Arguments, seen: Sequence[Scraping]) -> list[Point]:
    ahead = arguments[1]
    assert isinstance(ahead, Number)
    found: list[Point] = []
    for labels, points in _range(arguments[0]).series(seen):
        (first, before), (last, now) = points[0], points[-1]
        slope = (now - before) / (last - first) if last > first else 0.0
        found.append((labels, now + slope * ahead.value))
    return found


def _absent(arguments: Arguments, seen: Sequence[Scraping]) -> list[Point]:
    return [] if arguments[0].evaluate(seen) else [({}, 1.0)]


def _absolute(arguments: Arguments, seen: Sequence[Scraping]) -> list[Point]:
    return [(labels, abs(value)) for labels, value in arguments[0].evaluate(seen)]


def _quantiles(arguments: Arguments, seen: Sequence[Scraping]) -> list[Point]:
    """Give the upper bound of the bucket that the quantile is in."""
    part = arguments[0]
    assert isinstance(part, Number)
    series: dict[frozenset[tuple[str, str]], list[tuple[float, float]]] = defaultdict(list)
    for labels, value in arguments[1].evaluate(seen):
        rest = frozenset(each for each in labels.items() if each[0] != "le")
        series[rest].append((float(labels["le"]), value))
    found: list[Point] = []
    for key, buckets in series.items():
        buckets.sort()
        whole = buckets[-1][1]
        bound = next(bound for bound, count in buckets if count >= part.value * whole) if whole else math.nan
        found.append((dict(key), bound))
    return found


def _range(argument: Query) -> Selector:
    if not isinstance(argument, Selector) or argument.seconds is None:
        message = f"wanted a range, such as name[5m], got {argument}"
        raise QueryError(message)
    return argument


FUNCTIONS: Final[Mapping[str, Callable[[Arguments, Sequence[Scraping]], list[Point]]]] = {
    "abs": _absolute,
    "absent": _absent,
    "histogram_quantile": _quantiles,
    "increase": _increases,
    "predict_linear": _predicted,
    "rate": _rates,
    "resets": _resets,
}
OF_COUNTERS: Final = ("increase", "rate", "resets")


# Reading


def parse(text: str) -> Query:
    """Read a query.

    Raises:
        QueryError: it is none.
    """
    reader = _Reader(text)
    query = reader.binary(0)
    if reader.tokens:
        message = f"{text}: did not expect {reader.tokens[0]}"
        raise QueryError(message)
    return query


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[str] = []
        at, text = 0, text.strip()
        while at < len(text):
            found = TOKEN.match(text, at)
            if found is None:
                message = f"{text}: cannot read {text[at:]!r}"
                raise QueryError(message)
            self.tokens.append(found.group().strip())
            at = found.end()

    def binary(self, level: int) -> Query:
        if level == len(LEVELS):
            return self.single()
        left = self.binary(level + 1)
        while self.tokens and self.tokens[0] in LEVELS[level]:
            sign = self.take()
            on = self.names() if self.takes("on") else None
            left = Pair(left, sign, self.binary(level + 1), on)
        return left

    def single(self) -> Query:
        if self.takes("("):
            inner = self.binary(0)
            self.want(")")
            return inner
        token = self.take()
        if token[0].isdigit():
            return Number(float(token))
        if token in GATHER:
            return self.gather(token)
        if token in FUNCTIONS:
            return self.call(token)
        if not re.fullmatch(r"[a-zA-Z_:][\w:]*", token) or self.tokens[:1] == ["("]:
            message = f"{self.text}: there is no {token}"
            raise QueryError(message)
        return self.selector(token)

    def gather(self, name: str) -> Query:
        by = self.names() if self.takes("by") else ()
        self.want("(")
        what = self.binary(0)
        self.want(")")
        return Gather(name, by, what)

    def call(self, name: str) -> Query:
        self.want("(")
        arguments = [self.binary(0)]
        while self.takes(","):
            arguments.append(self.binary(0))
        self.want(")")
        if name in OF_COUNTERS:
            _range(arguments[0])
        return Call(name, tuple(arguments))

    def selector(self, name: str) -> Query:
        matchers = []
        if self.takes("{"):
            while not self.takes("}"):
                label, how, value = self.take(), self.take(), self.take()
                if how not in {"=", "!=", "=~", "!~"} or not value.startswith('"'):
                    message = f'{self.text}: wanted label="value", got {label}{how}{value}'
                    raise QueryError(message)
                matchers.append((label, how, value[1:-1]))
                if not self.takes(","):
                    self.want("}")
                    break
        seconds = None
        if self.tokens and self.tokens[0].startswith("["):
            token = self.take()
            seconds = int(token[1:-2]) * SECONDS[token[-2]]
        return Selector(name, tuple(matchers), seconds)

    def names(self) -> tuple[str, ...]:
        self.want("(")
        found = []
        while not self.takes(")"):
            found.append(self.take())
            self.takes(",")
        return tuple(found)

    def take(self) -> str:
        if not self.tokens:
            message = f"{self.text}: it ends too early"
            raise QueryError(message)
        return self.tokens.pop(0)

    def takes(self, token: str) -> bool:
        if self.tokens[:1] == [token]:
            self.tokens.pop(0)
            return True
        return False

    def want(self, token: str) -> None:
        if not self.takes(token):
            message = f"{self.text}: wanted {token} before {' '.join(self.tokens) or 'its end'}"
            raise QueryError(message)


def parts(query: Query) -> Iterator[Query]:
    """Give a query and everything in it."""
    yield query
    inner: tuple[Query, ...] = ()
    if isinstance(query, Call):
        inner = query.arguments
    elif isinstance(query, Gather):
        inner = (query.what,)
    elif isinstance(query, Pair):
        inner = (query.left, query.right)
    for each in inner:
        yield from parts(each)
