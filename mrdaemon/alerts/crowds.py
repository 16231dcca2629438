"""Words for the prices of very many symbols that stop, or arrive again, at once: one alert for all of them.

Each such alert also names every symbol of which was told that it has no prices, however that was told: who has read the
newest one, and what came after it, knows all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from mrdaemon.alerts.ailments import LOST, Kind
from mrdaemon.alerts.alert import Alert, Level, Topic
from mrdaemon.alerts.saying import Saying, facts
from mrdaemon.alerts.standing import GOOD, UNSTEADY

MANY: Final = 20
"""Symbols that are told one by one; more of them are one alert."""
NAMED: Final = 3
"""Symbols that a sentence names before it counts."""
LACKING: Final = "without_prices"
"""The fact that names every symbol that is told to have no prices, between spaces."""
KINDS: Final[Mapping[int, Kind]] = {
    GOOD: Kind(
        "many_prices_fresh",
        Level.NOTICE,
        "{count} symbols: prices are back",
        "Prices of {count} symbols arrive again: {names}.",
    ),
    LOST: Kind(
        "many_prices_stale",
        Level.WARNING,
        "{count} symbols: no prices",
        "Prices of {count} symbols stopped although their markets are open: {names}; what they are worth is unknown, "
        "and they do not trade.",
    ),
    UNSTEADY: Kind(
        "many_prices_unsteady",
        Level.NOTICE,
        "{count} symbols: few prices",
        "Prices of {count} symbols stopped again and again, each time for a while: {names}.",
    ),
}
_NAMES: Final = frozenset(kind.name for kind in KINDS.values())


def say_many(rank: int, symbols: Sequence[str], lacking: Iterable[str]) -> Saying:
    """Say of very many symbols how their prices stand now, and of which was told that they have none."""
    kind = KINDS[rank]
    words = {
        "count": f"{len(symbols):,}",
        "names": f"{', '.join(symbols[:NAMED])} and {len(symbols) - NAMED:,} more",
    }
    return Saying(
        level=kind.level,
        topic=Topic.PRICES,
        kind=kind.name,
        subject="prices",
        title=kind.title.format_map(words),
        text=kind.text.format_map(words),
        facts=facts(symbols=str(len(symbols)), **{LACKING: " ".join(lacking)}),
    )


def is_of_many(alert: Alert) -> bool:
    """Tell whether an alert is about the prices of very many symbols."""
    return alert.kind in _NAMES


def lacking_in(alert: Alert) -> list[str]:
    """Read of which symbols was told that they have no prices."""
    return alert.facts.get(LACKING, "").split()
