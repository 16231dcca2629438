"""The journal's writer against bare SQLite: the same text in the same groups with the same settings, and nothing else.

A group comes as one list, as a print that crosses many positions makes it, or as many decisions that nobody waited for;
and then there are single decisions, each awaited.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks.market import life, plan, start
from benchmarks.measuring import alternate, bare_database, check, report, workplace
from mrdaemon.calendar import MarketCalendar
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.state import State
from mrdaemon.journal import Journal

POSITIONS = 500
GROUPS = 20
GROUP = 1_000
DECISION = 2
"""Events of a decision: a signal and an intent."""
SINGLES = 500
ROUNDS = 15
GOAL = 1.4

Decisions = list[list[ev.Event]]


def decisions(count: int) -> Iterator[list[ev.Event]]:
    """Give events of an ordinary mix, two by two."""
    events = life(POSITIONS, count * DECISION)
    while chunk := list(islice(events, DECISION)):
        yield chunk


async def as_lists(journal: Journal, groups: Sequence[list[ev.Event]]) -> None:
    """Hand each group over at once, and wait for it."""
    for events in groups:
        await journal.append(events)


async def as_decisions(journal: Journal, groups: Sequence[Decisions]) -> None:
    """Hand each group over decision by decision, and wait for the last one."""
    for group in groups:
        *_, last = [journal.append(events) for events in group]
        await last


def bare(connection: sqlite3.Connection, groups: Sequence[Decisions]) -> None:
    """Write the events of each group in one transaction."""
    for group in groups:
        bodies = [(ev.encode(event).decode(),) for events in group for event in events]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO rows (body) VALUES (?)", bodies)
        connection.execute("COMMIT")


def main(folder: Path) -> None:
    """Write the same decisions both ways."""
    drawn = decisions(GROUPS * GROUP // DECISION)
    groups = [list(islice(drawn, GROUP // DECISION)) for _ in range(GROUPS)]
    lists = [[event for events in group for event in events] for group in groups]
    singles = list(decisions(SINGLES))
    opening = start(Engine(State(), MarketCalendar()), plan(1, POSITIONS))
    with contextlib.ExitStack() as opened:
        runner = opened.enter_context(asyncio.Runner())
        at_exit = contextlib.AsyncExitStack()
        opened.callback(lambda: runner.run(at_exit.aclose()))
        journal = runner.run(at_exit.enter_async_context(Journal(folder / "journal.db")))
        journal.load()
        plain = opened.enter_context(bare_database(folder / "bare.db"))
        runner.run(as_lists(journal, [opening]))
        rounds = alternate(
            ROUNDS,
            lists=lambda: runner.run(as_lists(journal, lists)),
            decisions=lambda: runner.run(as_decisions(journal, groups)),
            bare=partial(bare, plain, groups),
            singles=lambda: runner.run(as_lists(journal, singles)),
            bare_singles=partial(bare, plain, [[each] for each in singles]),
        )
        events, alone = GROUPS * GROUP, SINGLES * DECISION
        check(holds=journal.seq == len(opening) + ROUNDS * (2 * events + alone), what="every event in the journal")
        rows = plain.execute("SELECT count(*) FROM rows").fetchone()[0]
        check(holds=rows == ROUNDS * (events + alone), what="every event in the bare file")
    for side, how, goal in (("lists", "as one list", GOAL), ("decisions", "decision by decision", None)):
        report(
            f"journal/{side}",
            f"events in groups of {GROUP}, handed over {how}, until durable, against bare SQLite",
            events_per_s=round(events / rounds.best(side)),
            bare_per_s=round(events / rounds.best("bare")),
            ratio=rounds.ratio(side, "bare"),
            goal=goal,
        )
    report(
        "journal/singles",
        "one decision until it is durable, through the writer's thread and back, against a bare commit",
        decision_us=rounds.best("singles") / SINGLES * 1e6,
        bare_us=rounds.best("bare_singles") / SINGLES * 1e6,
        ratio=rounds.ratio("singles", "bare_singles"),
    )


if __name__ == "__main__":
    with workplace() as folder:
        main(folder)
