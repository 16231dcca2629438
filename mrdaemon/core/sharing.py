"""Equal parts of a state are one object: what a hundred thousand positions have in common is kept once.

Nothing here changes what a state says. Numbers are only shared where they are written alike, ``5.0`` and ``5.00`` not.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from mrdaemon.core.policy import PositionRules
from mrdaemon.core.state import Position, State

KINDS: Final = 1024
"""How many different texts and numbers of rules are worth remembering."""


def _default(field: msgspec.structs.FieldInfo) -> Any:  # noqa: ANN401 - what msgspec takes as a default
    factory = field.default_factory
    return field.default if factory is msgspec.NODEFAULT else msgspec.field(default_factory=factory)


_D = TypeVar("_D", bound=Decimal)


def share_rules(rules: PositionRules) -> PositionRules:
    """Give the same rules, made of parts that other rules have, too. The target is each position's own."""
    return msgspec.structs.replace(
        rules,
        below=_text(rules.below),
        above=_text(rules.above),
        min_step=_text(rules.min_step),
        restore=_number(str(rules.restore)),
        min_order=_number(str(rules.min_order)),
        collar=_number(str(rules.collar)),
    )


_Outline: Final = msgspec.defstruct(
    "_Outline",
    [
        (each.name, dict[str, msgspec.Raw] if each.name == "positions" else each.type, _default(each))
        for each in msgspec.structs.fields(State)
    ],
)
"""A state whose positions are not read yet."""


def read(body: bytes) -> State:
    """Read a state as ``msgspec.json.encode`` wrote it, a position at a time: it is never there unshared.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    outline = msgspec.json.decode(body, type=_Outline)
    found = {name: getattr(outline, name) for name in _Outline.__struct_fields__}
    names = {name: name for name in (*found["portfolios"], *found["symbols"])}
    found["positions"] = {key: _position(raw, names) for key, raw in found["positions"].items()}
    return State(**found)


def _position(raw: msgspec.Raw, names: dict[str, str]) -> Position:
    position = msgspec.json.decode(raw, type=Position)
    position.portfolio = names.get(position.portfolio, position.portfolio)
    position.symbol = names.get(position.symbol, position.symbol)
    position.rules = share_rules(position.rules)
    position.target = _alike(position.target, position.rules.target)
    position.first_target = _alike(position.first_target, position.target)
    position.opening = _alike(position.opening, position.shares)
    position.lots = [msgspec.structs.replace(lot, shares=_alike(lot.shares, position.shares)) for lot in position.lots]
    return position


@lru_cache(KINDS)
def _text(text: str) -> str:
    return text


@lru_cache(KINDS)
def _number(text: str) -> Decimal:
    return Decimal(text)


def _alike(number: _D, other: _D) -> _D:
    return other if number.compare_total(other) == 0 else number
