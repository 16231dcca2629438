"""The outbox in the journal: alerts in the transaction of the events they tell of, and what became of each on its way.

An alert is final once it is written. A channel has a place in their order, ``upto``: nothing before it is still to be
sent, but what was set aside for later. A delivery is written after it happened, so a kill in between repeats it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from mrdaemon import chain
from mrdaemon.alerts.alert import Alert, Letter, decode, encode

SINCE: Final = 2
"""The schema that first had an outbox."""
RECENT: Final = 2_000
"""Alerts among which a repeated one is looked for."""
_SELECT: Final = "SELECT n, wall, body FROM alerts"


class Outcome(StrEnum):
    """What became of an alert on a channel."""

    DELIVERED = "delivered"
    ASIDE = "aside"
    """It waits: for the end of quiet hours, because a like one was just sent, or, where it was refused, until it is
    known whether that was for what it is.
    """
    EXPIRED = "expired"
    """It was of no use any more when the channel could have taken it."""
    REFUSED = "refused"
    """The other side would not take it."""


class Delivery(NamedTuple):
    """What became of an alert on a channel, and when."""

    channel: str
    n: int
    wall: int
    """UTC nanoseconds, of the machine's clock."""
    outcome: Outcome
    note: str = ""


class Backlog(NamedTuple):
    """What a channel has still to send."""

    upto: int
    letters: Sequence[Letter]
    sent: Mapping[tuple[str, str], int]
    """When alerts of each kind about each subject were last sent over it: UTC nanoseconds."""


# Writing, in the journal's own transactions


def insert(connection: sqlite3.Connection, alerts: Iterable[Alert], seq: int, wall: int) -> None:
    """Write alerts; ``seq`` is the newest event that they tell of."""
    connection.executemany(
        "INSERT INTO alerts (seq, wall, subject, kind, body) VALUES (?, ?, ?, ?, ?)",
        [(seq, wall, each.subject, each.kind, encode(each).decode()) for each in alerts],
    )


def register(connection: sqlite3.Connection, channels: Iterable[str]) -> None:
    """Let new channels begin with the next alert: what was said before they existed was not said to them."""
    connection.executemany(
        "INSERT OR IGNORE INTO channels SELECT ?, coalesce(max(n), 0) FROM alerts", [(each,) for each in channels]
    )


def settle(connection: sqlite3.Connection, channel: str, upto: int, deliveries: Iterable[Delivery]) -> None:
    """Write what became of alerts, and how far a channel is."""
    connection.executemany("INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?)", deliveries)
    connection.execute("UPDATE channels SET upto = max(upto, ?) WHERE name = ?", (upto, channel))


# Reading, also beside a daemon that writes


def newest(path: Path) -> list[Letter]:
    """Give the newest alert of each kind about each subject, in order: what was said, so that it is not said again.

    Raises:
        JournalError: the journal cannot be read.
    """
    return _letters(path, "SELECT max(n), wall, body FROM alerts GROUP BY subject, kind ORDER BY 1")


def last(path: Path) -> int:
    """Give the number of the last alert.

    Raises:
        JournalError: the journal cannot be read.
    """
    return max(
        (each.n for each in _letters(path, "SELECT n, wall, body FROM alerts ORDER BY n DESC LIMIT 1")), default=0
    )


def backlog(path: Path, channel: str) -> Backlog:
    """Give what a channel has still to send that was not read on: what was set aside, and how far it is.

    Raises:
        JournalError: the journal cannot be read.
    """
    with chain.reading(path) as connection:
        if not _has_outbox(connection):
            return Backlog(0, [], {})
        row = connection.execute("SELECT upto FROM channels WHERE name = ?", (channel,)).fetchone()
        aside = connection.execute(
            "SELECT a.n, a.wall, a.body FROM deliveries d JOIN alerts a ON a.n = d.n "
            "WHERE d.channel = ? AND d.outcome = 'aside' ORDER BY a.n",
            (channel,),
        )
        letters = list(_read(aside))
        sent = connection.execute(
            "SELECT a.kind, a.subject, max(d.wall) FROM deliveries d JOIN alerts a ON a.n = d.n "
            "WHERE d.channel = ? AND d.outcome = 'delivered' AND d.n > (SELECT max(n) FROM alerts) - ? GROUP BY 1, 2",
            (channel, RECENT),
        )
        return Backlog(0 if row is None else int(row[0]), letters, {(kind, about): at for kind, about, at in sent})


def after(path: Path, n: int, limit: int) -> list[Letter]:
    """Give alerts after one, in order.

    Raises:
        JournalError: the journal cannot be read.
    """
    return _letters(path, f"{_SELECT} WHERE n > ? ORDER BY n LIMIT ?", n, limit)


def latest(path: Path, limit: int) -> list[tuple[Letter, list[Delivery]]]:
    """Give the newest alerts, the oldest of them first, and what became of each.

    Raises:
        JournalError: the journal cannot be read.
    """
    letters = _letters(path, f"{_SELECT} ORDER BY n DESC LIMIT ?", limit)[::-1]
    if not letters:
        return []
    with chain.reading(path) as connection:
        rows = connection.execute(
            "SELECT * FROM deliveries WHERE n >= ? ORDER BY n, channel", (letters[0].n,)
        ).fetchall()
    became: dict[int, list[Delivery]] = {each.n: [] for each in letters}
    for channel, n, wall, outcome, note in rows:
        if n in became:
            became[n].append(Delivery(channel, n, wall, Outcome(outcome), note))
    return [(each, became[each.n]) for each in letters]


def _letters(path: Path, query: str, *values: object) -> list[Letter]:
    with chain.reading(path) as connection:
        return list(_read(connection.execute(query, values))) if _has_outbox(connection) else []


def _has_outbox(connection: sqlite3.Connection) -> bool:
    """Tell whether a journal is no older than the outbox."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0]) >= SINCE


def _read(rows: Iterable[tuple[int, int, str]]) -> Iterator[Letter]:
    for n, wall, body in rows:
        yield Letter(n=n, wall=wall, alert=decode(body))
