"""Alerts in the journal: with their events or not at all, final, and in order for each channel."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from mrdaemon import chain, outbox
from mrdaemon.alerts.alert import Alert, Level, Topic
from mrdaemon.chain import JournalError
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import Price
from mrdaemon.journal import Journal
from mrdaemon.outbox import Backlog, Delivery, Outcome


def fact(n: int) -> ev.Event:
    return ev.PriceAccepted(at=Instant(n), symbol=f"S{n}", price=Price(Decimal(n)))


def alert(n: int, subject: str = "", kind: str = "told") -> Alert:
    return Alert(
        id=f"a-{n}",
        at=Instant(n),
        level=Level.NOTICE,
        topic=Topic.SIGNAL,
        kind=kind,
        subject=subject or f"S{n}",
        title=f"S{n}",
        text=f"{n}.",
    )


def told_of(events: Sequence[ev.Event]) -> list[Alert]:
    return [alert(int(each.at)) for each in events]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def fill(path: Path, *numbers: int) -> None:
    async with Journal(path) as journal:
        journal.load()
        journal.compose = told_of
        for n in numbers:
            await journal.append([fact(n)])


async def test_an_alert_is_durable_with_its_event(path: Path) -> None:
    async with Journal(path) as journal:
        journal.load()
        journal.compose = told_of
        news = journal.told
        await journal.append([fact(1), fact(2)])
        assert news.is_set()
        letters = outbox.after(path, 0, 10)
        assert [each.alert.id for each in letters] == ["a-1", "a-2"]
        assert [each.n for each in letters] == [1, 2]
        await journal.tell([alert(3)])
    assert [each.alert for each in outbox.after(path, 2, 10)] == [alert(3)]
    assert outbox.last(path) == 3
    assert chain.verify(path).events == 2


async def test_neither_is_there_where_the_commit_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with Journal(path) as journal:
        journal.load()
        journal.compose = told_of
        await journal.append([fact(1)])
        monkeypatch.setattr(outbox, "insert", fail)
        with pytest.raises(JournalError, match="disk I/O error"):
            await journal.append([fact(2)])
    monkeypatch.undo()
    assert chain.verify(path).events == 1
    assert outbox.last(path) == 1


async def test_nothing_is_composed_where_nothing_happened(path: Path) -> None:
    async with Journal(path) as journal:
        journal.load()
        journal.compose = lambda _: pytest.fail("there is nothing to say")
        await journal.append([])
    assert chain.verify(path).events == 0


async def test_an_alert_is_final(path: Path) -> None:
    await fill(path, 1)
    with sqlite3.connect(path) as connection:
        for change in ("UPDATE alerts SET body = '{}'", "DELETE FROM alerts"):
            with pytest.raises(sqlite3.IntegrityError, match="alerts are final"):
                connection.execute(change)
    connection.close()


async def test_a_new_channel_begins_with_the_next_alert_and_an_old_one_where_it_was(path: Path) -> None:
    await fill(path, 1, 2, 3)
    async with Journal(path) as journal:
        journal.load()
        await journal.register(["phone"])
        await journal.settle("phone", 4, [])
        await journal.register(["phone", "home"])
    assert outbox.backlog(path, "phone").upto == 4
    assert outbox.backlog(path, "home").upto == 3


async def test_what_was_set_aside_is_given_again_until_it_was_sent(path: Path) -> None:
    await fill(path, 1, 2, 3)
    async with Journal(path) as journal:
        journal.load()
        await journal.register(["phone"])
        await journal.settle("phone", 3, [Delivery("phone", n, 7, Outcome.ASIDE) for n in (1, 3)])
        assert [each.n for each in outbox.backlog(path, "phone").letters] == [1, 3]
        await journal.settle("phone", 2, [Delivery("phone", 1, 9, Outcome.DELIVERED)])
        upto, letters, sent = outbox.backlog(path, "phone")
    assert upto == 3, "it never goes back"
    assert [each.n for each in letters] == [3]
    assert sent == {("told", "S1"): 9}


async def test_the_newest_of_each_kind_about_each_thing_is_remembered(path: Path) -> None:
    async with Journal(path) as journal:
        journal.load()
        await journal.tell([alert(1, "a"), alert(2, "a"), alert(3, "b"), alert(4, "a", "other"), alert(5, "b")])
    assert [each.n for each in outbox.newest(path)] == [2, 4, 5]


async def test_what_became_of_the_newest_alerts_is_told_by_channel(path: Path) -> None:
    await fill(path, 1, 2, 3)
    async with Journal(path) as journal:
        journal.load()
        refused = Delivery("home", 3, 8, Outcome.REFUSED, "too long")
        await journal.settle("phone", 3, [Delivery("phone", 3, 7, Outcome.DELIVERED)])
        await journal.settle("home", 3, [refused])
    [(second, nothing), (third, both)] = outbox.latest(path, 2)
    assert (second.n, third.n) == (2, 3)
    assert nothing == []
    assert both == [refused, Delivery("phone", 3, 7, Outcome.DELIVERED)]


# A journal of the first schema


@pytest.fixture
async def first_schema(path: Path) -> Path:
    """Give a journal as it was written before there was an outbox."""
    await fill(path)
    async with Journal(path) as journal:
        journal.load()
        await journal.append([fact(1)])
    with sqlite3.connect(path) as connection:
        for table in ("alerts", "channels", "deliveries"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    return path


async def test_it_is_read_as_one_without_alerts(first_schema: Path) -> None:
    assert outbox.newest(first_schema) == []
    assert outbox.last(first_schema) == 0
    assert outbox.latest(first_schema, 10) == []
    assert outbox.backlog(first_schema, "phone") == Backlog(0, [], {})


async def test_it_is_brought_up_to_date_and_loses_nothing(first_schema: Path) -> None:
    await fill(first_schema, 2)
    assert [each.event for each in chain.records(first_schema)] == [fact(1), fact(2)]
    assert [each.alert.id for each in outbox.after(first_schema, 0, 9)] == ["a-2"]
    assert chain.verify(first_schema).events == 2
