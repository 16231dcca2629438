"""What is said of something that happened, before it is an alert: its level, its topic, its words and its numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final, Protocol, TypeVar

import msgspec

from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant, iso, parse
from mrdaemon.core.money import Price, show, show_shares, value
from mrdaemon.core.policy import Side
from mrdaemon.core.state import Position, State
from mrdaemon.status import zone_of

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 24 * HOUR
USEFUL: Final = {Level.INFO: DAY, Level.NOTICE: 2 * DAY, Level.WARNING: 3 * DAY, Level.CRITICAL: 7 * DAY}
"""By level, for how many seconds an alert is of use to who has not received it."""
MICRO: Final = Decimal("0.000001")
CENTS: Final = -2
"""The exponent of an amount in cents."""


class Saying(msgspec.Struct, frozen=True, kw_only=True):
    """An alert without its id and its time; the fields are the alert's."""

    level: Level
    topic: Topic
    kind: str
    subject: str
    title: str
    text: str
    portfolio: str = ""
    symbol: str = ""
    facts: dict[str, str] = {}
    approval: str = ""
    ttl: int | None = None
    """Seconds; as its level says where left out."""


Sayings = Iterable[Saying]
_E = TypeVar("_E", bound=ev.Event)
Say = Callable[[State, _E], Saying | None]
"""Says something of an event, or nothing, with the state that the whole commit left."""


class Register:
    """Which words there are for which kind of event."""

    def __init__(self) -> None:
        self.words: dict[type[ev.Event], Callable[[State, Any], Saying | None]] = {}

    def __call__(self, kind: type[_E]) -> Callable[[Say[_E]], Say[_E]]:
        """Keep a function as the one that has the words for a kind."""

        def register(say: Say[_E]) -> Say[_E]:
            self.words[kind] = say
            return say

        return register


# Numbers and times, for a person and for a program


def facts(**figures: object) -> dict[str, str]:
    """Write figures as an alert's facts: decimals plainly, without those that are not known."""
    return {name: f"{each:f}" if isinstance(each, Decimal) else str(each) for name, each in figures.items() if each}


def at_price(price: Decimal) -> str:
    """Write a price for a person: ``$95.00``, ``$401.2575``."""
    rounded = price.quantize(MICRO) if abs(price) >= 1 else price
    text = show_shares(rounded)
    exponent = Decimal(text).as_tuple().exponent
    return show(price) if isinstance(exponent, int) and exponent >= CENTS else f"${text}"


def at_time(at: Instant) -> str:
    """Write an instant for a person: ``2020-09-13 12:26 UTC``."""
    return f"{iso(at)[:16].replace('T', ' ')} UTC"


def instant(text: str) -> Instant:
    """Read an instant that an alert's facts name."""
    found = parse(text)
    return found if isinstance(found, int) else Instant(0)


def span(seconds: int) -> str:
    """Write a length of time for a person, roughly: ``45 seconds``, ``30 minutes``, ``4 hours``."""
    for unit, name in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= 2 * unit or (seconds >= unit and seconds % unit == 0):
            return _count(round(seconds / unit), name)
    return _count(max(0, seconds), "second")


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def plain(reason: str) -> str:
    """Give a reason as the rest of a sentence: without the full stop that it may end with."""
    return reason.strip().rstrip(".")


def because(reason: str) -> str:
    """Give ``: and why``, or nothing where nobody said."""
    return f": {plain(reason)}" if plain(reason) else ""


class Act(Protocol):
    """What a person did, or had done."""

    @property
    def by(self) -> str:
        """Who."""

    @property
    def why(self) -> str:
        """In their words; empty where they gave none."""


def by_whom(event: Act) -> str:
    """Give ``by alice (her reason)``."""
    return f"by {event.by or 'nobody named'}{f' ({plain(event.why)})' if event.why else ''}"


def buy(side: Side) -> str:
    """Name a side's trade."""
    return "buy" if side is Side.ACCUMULATE else "sell"


def bought(side: Side) -> str:
    """Name a side's trade once it is done."""
    return "bought" if side is Side.ACCUMULATE else "sold"


# What is known of a position


def position_facts(state: State, position: Position, price: Price | None = None) -> dict[str, str]:
    """Give a position's figures: its target and zone, its shares and its reserve, and its value at a price."""
    zone, portfolio = zone_of(state, position), state.portfolios[position.portfolio]
    return facts(
        mode=position.rules.mode.value,
        target=position.target,
        lower=None if zone is None else zone.lower,
        upper=None if zone is None else zone.upper,
        shares=f"{position.shares:f}",
        reserve=f"{portfolio.reserve:f}",
        available=f"{portfolio.available:f}",
        price=price,
        value=None if price is None else f"{value(position.shares, price):f}",
    )


def holds(position: Position, price: Price | None) -> str:
    """Say what a portfolio holds of a symbol, and what that is worth against its target."""
    what = f"{position.portfolio} holds {show_shares(position.shares)} {position.symbol}"
    if price is None:
        return f"{what}, with a target of {show(position.target)}"
    return f"{what}, worth {show(value(position.shares, price))} against a target of {show(position.target)}"


def key_of(event: ev.PositionEvent) -> str:
    """Name the position that an event is about: what its alerts are told apart by."""
    return f"{event.portfolio}/{event.symbol}"
