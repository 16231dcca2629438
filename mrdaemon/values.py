"""How one value of a configuration is read: what it must look like, and the sentence for one that does not.

Every sentence begins with "wanted"; what was got is told beside it, by whoever knows where the value stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, NoReturn, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator

from mrdaemon.core.money import Dollars, MoneyError, Shares, parse_dollars, parse_ratio, parse_shares
from mrdaemon.feeds.file import parse_bar, parse_speed

LONGEST_NUMBER: Final = 40
"""Characters; the largest amount there is has fewer."""
LONGEST_DURATION: Final = 3650 * 86_400
"""Seconds; ten years."""
LONGEST_NAME: Final = 32
SHORTEST_SESSION: Final = 3 * 3600 + 30 * 60
"""Seconds; the New York exchange on a day on which it closes early."""

_NUMBER: Final = re.compile(r"-?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?", re.ASCII)
_WHOLE: Final = re.compile(r"\d{1,9}", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d{1,9})\s*([smhd])", re.ASCII)
_RESTORE: Final = {"target": Decimal(1), "half": Decimal("0.5"), "edge": Decimal(0)}
_NAME: Final = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", re.ASCII)
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_SYMBOL: Final = re.compile(r"[A-Z0-9][A-Z0-9.\-]{0,14}(/[A-Z0-9]{2,8})?", re.ASCII)

WIDTH: Final = 'a width with its unit, "3%", "300bps" or "$150", or one for each side: { below = "3%", above = "5%" }'
DURATION: Final = 'a duration such as "30s", "5m", "4h" or "1d"'


Off = TypeVar("Off")


class Text(str):
    """A value from where everything is text: the environment, or a secrets file. TOML has types and must use them."""

    __slots__ = ()


class Margins(NamedTuple):
    """Seconds after a session's open and before its close in which nothing is traded."""

    open: int
    close: int


class Hours(NamedTuple):
    """A span of every day, which may go over midnight: minutes since midnight, the second one no more in it."""

    begin: int
    end: int


class Widths(NamedTuple):
    """A zone's two widths as written."""

    below: str
    above: str


def _refuse(what: str) -> NoReturn:
    """Say what was wanted, in the one kind of error that pydantic collects."""
    message = f"wanted {what}"
    raise ValueError(message)


# Numbers


def _number(text: str, what: str) -> str:
    """Pass a number that can be meant one way only: "1,5" is neither fifteen nor one and a half."""
    if len(text) > LONGEST_NUMBER or not _NUMBER.fullmatch(text.strip().removeprefix("$").rstrip("%bps ")):
        _refuse(what)
    return text


def _quoted(parse: Callable[[str], Decimal], what: str) -> Callable[[object], Decimal]:
    def read(given: object) -> Decimal:
        if isinstance(given, Decimal):
            return given
        if isinstance(given, int | float) and not isinstance(given, bool):
            _refuse(f"{what}, in quotes so that no digit is lost")
        if not isinstance(given, str):
            _refuse(f"{what}, in quotes")
        try:
            return parse(_number(given, what))
        except MoneyError as error:
            raise ValueError(str(error).rsplit(", got ", 1)[0]) from error

    return read


def _not_negative(number: Decimal) -> Decimal:
    if number < 0:
        _refuse("zero or more")
    return number


def _positive(number: Decimal) -> Decimal:
    if number <= 0:
        _refuse("more than zero")
    return number


def _at_most_all(ratio: Decimal) -> Decimal:
    if ratio > 1:
        _refuse('at most "100%"; a percentage needs its sign')
    return ratio


def _less_than_all(ratio: Decimal) -> Decimal:
    if ratio >= 1:
        _refuse('less than "100%"; a percentage needs its sign')
    return ratio


def _off(read: Callable[[object], Off], what: str) -> Callable[[object], Off | None]:
    def read_or_off(given: object) -> Off | None:
        if given == "off" or given is None:
            return None
        try:
            return read(given)
        except ValueError:
            _refuse(f'{what}, or "off"')

    return read_or_off


_RATIO_EXAMPLE: Final = 'a ratio such as "0.5%", "50bps" or "0.005"'
_ratio = _quoted(parse_ratio, _RATIO_EXAMPLE)


def _jump(given: object) -> Decimal:
    return _at_most_all(_positive(_ratio(given)))


def _whole(least: int, most: int) -> Callable[[object], int]:
    def read(given: object) -> int:
        if isinstance(given, Text) and _WHOLE.fullmatch(given):
            given = int(given)
        if isinstance(given, int) and not isinstance(given, bool) and least <= given <= most:
            return given
        _refuse(f"a whole number from {least} to {most:,}")

    return read


def _flag(given: object) -> bool:
    if isinstance(given, Text) and given.lower() in {"true", "false"}:
        return given.lower() == "true"
    if isinstance(given, bool):
        return given
    _refuse("true or false, without quotes")


# Durations


def _duration(given: object) -> int:
    if isinstance(given, Text) and _WHOLE.fullmatch(given):
        given = int(given)
    if isinstance(given, str) and (matched := _DURATION.fullmatch(given.strip())):
        given = int(matched[1]) * _UNITS[matched[2]]
    if not isinstance(given, int) or isinstance(given, bool):
        _refuse(DURATION)
    if not 0 <= given <= LONGEST_DURATION:
        _refuse(f'{DURATION}, of at most "{LONGEST_DURATION // 86_400}d"')
    return given


def _some_time(seconds: int) -> int:
    if not seconds:
        _refuse('more than "0s"')
    return seconds


def _time(given: object) -> int:
    return _some_time(_duration(given))


def _margins(given: object) -> Margins:
    if isinstance(given, Margins):
        return given
    given = _as_json(given)
    if isinstance(given, dict):
        if not given or not given.keys() <= {"open", "close"}:
            _refuse('one or both sides and nothing else: { open = "5m", close = "10m" }')
        margins = Margins(_duration(given.get("open", 0)), _duration(given.get("close", 0)))
    else:
        margins = Margins(*[_duration(given)] * 2)
    if sum(margins) >= SHORTEST_SESSION:
        _refuse("less than 3 h 30 min in all, which the shortest session has; nothing would be traded in it")
    return margins


# A zone


def _width(text: object) -> str:
    if not isinstance(text, str):
        _refuse(WIDTH)
    body = text.strip()
    if not body.startswith("$") and not body.endswith(("%", "bps")):
        unit = f'; write "{body}%" or "${body}"' if _NUMBER.fullmatch(body) else ""
        _refuse(WIDTH + unit)
    try:
        number = parse_dollars(_number(body, WIDTH)) if body.startswith("$") else parse_ratio(_number(body, WIDTH))
    except MoneyError:
        _refuse(WIDTH)
    if number <= 0:
        _refuse("a width of more than zero")
    return body


def _widths(given: object) -> Widths:
    if isinstance(given, Widths):
        return given
    given = _as_json(given)
    if not isinstance(given, dict):
        width = _width(given)
        return Widths(width, width)
    if set(given) != {"below", "above"}:
        _refuse('both sides and nothing else: { below = "3%", above = "5%" }')
    return Widths(_width(given["below"]), _width(given["above"]))


def _step(given: object) -> str:
    what = 'a part of the zone\'s width such as "20%", or dollars such as "$10"'
    if not isinstance(given, str):
        _refuse(what)
    body = given.strip()
    if not body.startswith("$") and not body.endswith("%"):
        _refuse(what)
    try:
        number = parse_dollars(_number(body, what)) if body.startswith("$") else parse_ratio(_number(body, what))
    except MoneyError:
        _refuse(what)
    _not_negative(number)
    return body


def _restore(given: object) -> Decimal:
    if isinstance(given, Decimal):
        return given
    what = '"target", "half", "edge", or a number from "0" to "1" in quotes'
    if not isinstance(given, str):
        _refuse(what)
    if (ratio := _RESTORE.get(given)) is not None:
        return ratio
    try:
        ratio = parse_ratio(_number(given, what))
    except MoneyError:
        _refuse(what)
    if not 0 <= ratio <= 1:
        _refuse(what)
    return ratio


# Names and texts


def _name(text: str) -> str:
    if len(text) > LONGEST_NAME or not _NAME.fullmatch(text):
        _refuse(
            f"a name of small letters and digits, with single - or _ between them, of at most {LONGEST_NAME} characters"
        )
    return text


def _symbol(text: str) -> str:
    if not _SYMBOL.fullmatch(text):
        _refuse('a symbol in capital letters such as "QQQ", "BRK.B" or "BTC/USD"')
    return text


def _zone_name(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        _refuse('the name of a time zone such as "America/New_York" or "UTC"')
    return name


def _hours(given: object) -> Hours:
    if isinstance(given, Hours):
        return given
    what = 'a span of the day such as "22:00-07:00"'
    matched = _HOURS.fullmatch(given.strip()) if isinstance(given, str) else None
    if matched is None:
        _refuse(what)
    first, first_minute, second, second_minute = map(int, matched.groups())
    begin, end = first * 60 + first_minute, second * 60 + second_minute
    if begin == end:
        _refuse(f"{what}, of less than a day")
    return Hours(begin, end)


def _parsed(parse: Callable[[str], object], what: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        try:
            parse(text)
        except ValueError:
            _refuse(what)
        return text

    return read


def _as_path(given: object) -> Path:
    if isinstance(given, Path):
        return given
    if not isinstance(given, str) or not given.strip() or "\0" in given:
        _refuse("the name of a file or folder, in quotes")
    return Path(given)


def _not_empty(text: str) -> str:
    if not text:
        _refuse("at least one character")
    return text


def _as_list(given: object) -> object:
    given = _as_json(given)
    if not isinstance(given, list | tuple):
        _refuse('a list such as ["one", "two"]')
    return given


def _urls(given: object) -> object:
    """Read a list of addresses; in a secret, one a line will do as well, with comments between them."""
    if isinstance(given, Text) and not given.startswith("["):
        lines = [each.strip() for each in given.splitlines()]
        return [each for each in lines if each and not each.startswith("#")]
    return _as_list(given)


def _as_json(given: object) -> object:
    """Read text that stands for a list or a table; what is no such JSON is passed on, and refused as the text it is."""
    if not isinstance(given, Text) or not given.startswith(("[", "{")):
        return given
    try:
        return json.loads(given, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return given


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        message = "a key is there twice"
        raise ValueError(message)
    return dict(pairs)


# What the tables are made of

_dollars = _quoted(parse_dollars, 'dollars such as "5000" or "$5,000.00"')
Money = Annotated[Dollars, BeforeValidator(_dollars), AfterValidator(_not_negative)]
PositiveMoney = Annotated[Dollars, BeforeValidator(_dollars), AfterValidator(_positive)]
Quantity = Annotated[
    Shares,
    BeforeValidator(_quoted(parse_shares, 'shares such as "50" or "2.631578947"')),
    AfterValidator(_not_negative),
]
Ratio = Annotated[Decimal, BeforeValidator(_ratio), AfterValidator(_not_negative), AfterValidator(_at_most_all)]
PartialRatio = Annotated[
    Decimal, BeforeValidator(_ratio), AfterValidator(_not_negative), AfterValidator(_less_than_all)
]
JumpOrOff = Annotated[Decimal | None, BeforeValidator(_off(_jump, 'a ratio above zero and up to "100%"'))]
Seconds = Annotated[int, BeforeValidator(_duration)]
PositiveSeconds = Annotated[int, BeforeValidator(_time)]
NoTrade = Annotated[Margins, BeforeValidator(_margins)]
SecondsOrOff = Annotated[int | None, BeforeValidator(_off(_time, f'{DURATION}, more than "0s"'))]
Zone = Annotated[Widths, BeforeValidator(_widths)]
Step = Annotated[str, BeforeValidator(_step)]
Restore = Annotated[Decimal, BeforeValidator(_restore)]
Count = Annotated[int, BeforeValidator(_whole(1, 1_000_000))]
Confirmations = Annotated[int, BeforeValidator(_whole(0, 100))]
Flag = Annotated[bool, BeforeValidator(_flag)]
Name = Annotated[str, AfterValidator(_name)]
Symbol = Annotated[str, AfterValidator(_symbol)]
TimeZone = Annotated[str, AfterValidator(_zone_name)]
BarLength = Annotated[str, AfterValidator(_parsed(parse_bar, 'the length of a bar such as "1m", "5m", "1h" or "1d"'))]
Speed = Annotated[str, AfterValidator(_parsed(parse_speed, 'a speed such as "max", "1x" or "100x"'))]
HoursOfDay = Annotated[Hours, BeforeValidator(_hours)]
Port = Annotated[int, BeforeValidator(_whole(1, 65_535))]
Words = Annotated[str, AfterValidator(_not_empty)]
PathName = Annotated[Path, BeforeValidator(_as_path)]
List = BeforeValidator(_as_list)
Urls = BeforeValidator(_urls)
