"""What apprise would read otherwise than it is written, or drop, without a word.

It cuts an address off at a # or a semicolon, keeps of a list what it can read, takes what is no port for a part of the
host, and passes over parameters that it does not know. All of that is found before an address is used. What is said
shows nothing of the address but names of parameters that are like those apprise knows, and a word for a priority.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import apprise
from apprise import plugins
from apprise.utils import parse

LARGEST_PORT: Final = 65535
LONGEST_WORD: Final = 12
"""Letters that a word for a priority may have; what is longer may have been meant for another place."""
NEAR: Final = 0.8
"""How like a name of a parameter is to the one that was meant: 1 is the same."""
_HOST_AND_PORT: Final = re.compile(
    r"(?:\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:]*"
)
_AROUND: Final = " ,;<>[]\"'"
"""What stands between and around the addresses of a list of mail."""

_SIGNS: Final = {",": "comma", ";": "semicolon"}
"""At what apprise splits a list, beside spaces."""

Parsed = dict[str, Any]
"""An address taken apart, as apprise has it."""
Declared = Mapping[str, Mapping[str, Any]]
"""Names, and what a plugin declares of each."""

# Apprise has no types for these.
read: Final[Callable[[str], Parsed | None]] = plugins.url_to_dict
"""Take an address apart; None where apprise cannot."""
schemas: Final[Callable[[], Iterable[str]]] = apprise.apprise.N_MGR.schemas
"""Give what may stand in front of ://."""
_emails: Final[Callable[[str], list[str]]] = parse.parse_emails


def tokens(scheme: str) -> Declared:
    """Give the parts that an address of a service has in front of its parameters."""
    declared: Declared = apprise.apprise.N_MGR[scheme].template_tokens
    return declared


def misread(url: str) -> str | None:
    """Say what of an address apprise would not take as it is written; None where it takes all of it."""
    scheme = url.partition("://")[0].lower()
    if scheme in set(schemas()):
        for look in (_list, _cut, _host, _twice):
            if (wrong := look(url, scheme)) is not None:
                return wrong
    return _ignored(url, scheme)


def priority(parsed: Parsed, made: object) -> str | None:
    """Say that a priority is none that the service has: many plugins take their default for it."""
    declared = _arguments(parsed["schema"]).get("priority", {})
    given, words = str((parsed.get("qsd") or {}).get("priority", "")), declared.get("values") or ()
    default = declared.get("default")
    if not given or not words or getattr(made, "priority", None) != default:
        return None
    named = dict(words) if isinstance(words, Mapping) else {each: each for each in words}
    usual = {str(default), str(named.get(default, default)), *_beginnings(made, default)}
    if given.lower().startswith(tuple(usual)):
        return None
    got = f" {given!r}" if given.isalpha() and len(given) <= LONGEST_WORD else ""
    wanted = ", ".join(str(each) for each in named.values())
    return f"its priority{got} is none of this service, and apprise would take the usual one; wanted one of {wanted}"


def _beginnings(made: object, default: object) -> Iterator[str]:
    """Give the beginnings of words that a plugin takes for its default."""
    for name, table in vars(sys.modules[type(made).__module__]).items():
        if name.endswith("_PRIORITY_MAP"):
            yield from (word for word, meant in table.items() if meant == default)


# Parts of an address


class _Pair(NamedTuple):
    """A parameter."""

    name: str
    value: str
    rest: str
    """The address without it."""


def _pairs(url: str) -> list[_Pair]:
    """Give the parameters as apprise takes them apart."""
    path, _, query = url.partition("?")
    written = re.split("[&;]", query) if query else []
    pairs = []
    for place, each in enumerate(written):
        name, _, value = each.partition("=")
        others = "&".join(written[:place] + written[place + 1 :])
        pairs.append(_Pair(unquote(name).strip().lower(), unquote(value), f"{path}?{others}" if others else path))
    return pairs


def _places(url: str) -> tuple[str, str, str]:
    """Give the login, the host with its port, and the path."""
    before = url.partition("?")[0].replace("/#", "/%23").partition("://")[2].lstrip("/\\")
    authority = re.split("[/#]", before, maxsplit=1)[0]
    login, _, host = authority.rpartition("@")
    return login, host, before[len(authority) :]


def _arguments(scheme: str) -> Declared:
    declared: Declared = apprise.apprise.N_MGR[scheme].template_args
    return declared


def _is_list(declared: Mapping[str, Any]) -> bool:
    return str(declared.get("type", "")).startswith("list")


# What is dropped


def _list(url: str, scheme: str) -> str | None:
    """Say that a list stands where one target is wanted, or that a part of one is no address of mail."""
    targets = {name for name, each in tokens(scheme).items() if _is_list(each)}
    if not targets:
        return None
    _, host, path = _places(url)
    given = [("its path", unquote(each), True) for each in (host, *path.split("/"))]
    for name, value, _ in _pairs(url):
        declared = _arguments(scheme).get(name, {})
        is_target = declared.get("alias_of") in targets or declared.get("map_to") in targets
        if is_target or _is_list(declared):
            given.append((f"its parameter {name!r}", value, is_target))
    for where, text, is_target in given:
        if is_target and (sign := next((each for each in _SIGNS if each in text), None)):
            return f"there is a {_SIGNS[sign]} in {where}, at which apprise would split it; write one address for each"
        if _is_lost(text):
            return f"not all of {where} is an address of mail, and apprise would drop the rest in silence"
    return None


def _is_lost(text: str) -> bool:
    """Tell whether a part of a list of mail is none: apprise looks for what is, and passes over the rest."""
    rest = text
    for each in _emails(text) if "@" in text else [text]:
        rest = rest.replace(each, "", 1)
    return rest.strip(_AROUND) != ""


def _cut(url: str, _: str) -> str | None:
    """Say that an address ends earlier than it looks."""
    path = _places(url)[2]
    for sign, instead in (("#", "%23"), (";", "%3B")):
        if sign in path:
            return f"there is a {sign} in it, at which apprise would cut it off; write {instead}"
    return None


def _host(url: str, scheme: str) -> str | None:
    """Say that the host, or the login in front of it, is not read as it looks."""
    if "host" not in tokens(scheme):
        return None
    login, host, _ = _places(url)
    if "@" in login or login.count(":") > 1:
        return (
            "there is more than one @ or : in front of its host, and apprise would drop what follows the first; in a "
            "user or a password write %40 for @, and %3A for :"
        )
    found = _HOST_AND_PORT.fullmatch(host)
    if found is None or (found[1] is not None and not 0 < int(found[1]) <= LARGEST_PORT):
        return (
            f"its port must be from 1 to {LARGEST_PORT}, and in digits alone behind the host and a : (in a user or a "
            "password write %2F for /, %3F for ?, and %23 for #)"
        )
    return None


def _twice(url: str, scheme: str) -> str | None:
    """Say that apprise would keep the last of several parameters of one name."""
    names = [each.name for each in _pairs(url)]
    for name in _arguments(scheme):
        if names.count(name) > 1:
            return f"its parameter {name!r} is there twice, and apprise would drop the first"
    return None


def _ignored(url: str, scheme: str) -> str | None:
    """Say that apprise would ignore a parameter: it declares none of this name, and reads the same without it."""
    whole = read(url)
    if whole is None:
        return None
    declared = _arguments(whole["schema"])
    for number, (name, _, rest) in enumerate(_pairs(url), 1):
        if name in declared or _meaning(read(rest)) != _meaning(whole):
            continue
        if near := difflib.get_close_matches(name, declared, n=1, cutoff=NEAR):
            return f"apprise would ignore its parameter {name!r}; did you mean {near[0]!r}?"
        if scheme == whole["schema"]:  # A service's own address has parameters for the service.
            return (
                f"apprise would ignore parameter {number} behind its ?, for it knows none of that name; in a value "
                "write %26 for &, and %3B for ;"
            )
    return None


def _meaning(parsed: Parsed | None) -> Parsed | None:
    """Leave out of an address what says only how it was written."""
    return parsed and {name: value for name, value in parsed.items() if name not in {"qsd", "url"}}
