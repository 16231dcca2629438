"""What was said, and what became of it on each channel, as the journal has it: for a person and for a program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from mrdaemon import chain, outbox
from mrdaemon.alerts.alert import Alert
from mrdaemon.core.instant import Instant, iso
from mrdaemon.outbox import Delivery, Outcome

WAITING: Final = "waiting"
UNWANTED: Final = "unwanted"
"""The channel takes no alerts of this level or topic."""
_WORDS: Final = {
    Outcome.DELIVERED: "delivered",
    Outcome.ASIDE: "follows later",
    Outcome.EXPIRED: "expired",
    Outcome.REFUSED: "refused",
}


class Fate(NamedTuple):
    """What became of an alert on a channel."""

    channel: str
    outcome: str
    at: str | None
    """When, in RFC 3339; None where nothing happened yet."""
    note: str


class Said(NamedTuple):
    """An alert, and what became of it."""

    n: int
    wall: str
    """When it was journaled, in RFC 3339."""
    alert: Alert
    fates: tuple[Fate, ...]


def newest(journal: Path, limit: int) -> list[Said]:
    """Give the newest alerts, the oldest of them first.

    Raises:
        JournalError: the journal cannot be read.
    """
    places = _places(journal)
    return [
        Said(letter.n, iso(Instant(letter.wall)), letter.alert, tuple(_fates(letter.n, became, places)))
        for letter, became in outbox.latest(journal, limit)
    ]


def _places(journal: Path) -> dict[str, int]:
    """Give how far each channel is."""
    with chain.reading(journal) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] < outbox.SINCE:
            return {}
        return dict(connection.execute("SELECT name, upto FROM channels ORDER BY name"))


def _fates(n: int, became: list[Delivery], places: dict[str, int]) -> Iterator[Fate]:
    known = {each.channel: each for each in became}
    for channel in sorted({*places, *known}):
        if (delivery := known.get(channel)) is not None:
            yield Fate(channel, delivery.outcome.value, iso(Instant(delivery.wall)), delivery.note)
        else:
            yield Fate(channel, UNWANTED if n <= places[channel] else WAITING, None, "")


def as_object(said: Said) -> dict[str, Any]:
    """Give an alert as a JSON object, its times in RFC 3339."""
    plain = msgspec.to_builtins(said.alert)
    channels = [each._asdict() for each in said.fates]
    return {"n": said.n, "wall": said.wall, **plain, "at": iso(said.alert.at), "channels": channels}


def as_lines(said: Said) -> list[str]:
    """Write an alert for a person: when and what, and below it what became of it."""
    alert = said.alert
    ways = "; ".join(_in_words(each) for each in said.fates) or "there was no channel"
    return [f"{said.wall[:19].replace('T', ' ')}Z  {alert.level}  {alert.text}", f"    {ways}"]


def _in_words(fate: Fate) -> str:
    if fate.outcome in {WAITING, UNWANTED}:
        return f"{fate.channel}: {'waits' if fate.outcome == WAITING else 'not for it'}"
    when = f" {fate.at[11:19]}Z" if fate.at is not None and fate.outcome == Outcome.DELIVERED else ""
    why = f" ({fate.note})" if fate.note else ""
    return f"{fate.channel}: {_WORDS[Outcome(fate.outcome)]}{when}{why}"
