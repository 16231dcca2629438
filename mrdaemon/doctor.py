"""The doctor: looks at everything that a daemon needs, and says of each how it is and what to do.

Each look is bounded in time and runs beside the others, and one that breaks is told like any other finding: nothing
keeps the rest from being looked at. Nothing is changed, and nothing is sent to anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import Final, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

WITHIN: Final = 30.0
"""Seconds that a look may take."""


class Verdict(StrEnum):
    """How something is."""

    OK = "ok"
    WARN = "warn"
    """It works, and a person should know."""
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """What a look came to."""

    verdict: Verdict
    text: str
    do: str = ""
    """What to do about it."""


class Look(NamedTuple):
    """One thing to look at."""

    name: str
    look: Callable[[], Awaitable[list[Finding]]]
    within: float = WITHIN


class Diagnosis(msgspec.Struct, frozen=True):
    """A finding, and what it is about."""

    look: str
    verdict: Verdict
    text: str
    do: str = ""


def ok(text: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(Verdict.OK, text)


def warn(text: str, do: str) -> Finding:
    """Say that something works, and what a person should do all the same."""
    return Finding(Verdict.WARN, text, do)


def fail(text: str, do: str) -> Finding:
    """Say that something does not work, and what to do."""
    return Finding(Verdict.FAIL, text, do)


async def examine(looks: Sequence[Look]) -> list[Diagnosis]:
    """Look at everything at once; what is found stands in the order of the looks."""
    found = await asyncio.gather(*(_one(each) for each in looks))
    return [
        Diagnosis(look.name, each.verdict, each.text, each.do)
        for look, findings in zip(looks, found, strict=True)
        for each in findings
    ]


async def _one(look: Look) -> list[Finding]:
    try:
        async with asyncio.timeout(look.within):
            return await look.look()
    except TimeoutError:
        return [
            fail(
                f"there was no answer within {look.within:g} s",
                "see what keeps it: a disk, the network; then try again",
            )
        ]
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one thing, the others are looked at
        return [fail(f"it could not be looked at: {type(error).__name__}: {error}", "report this, with what it says")]


def aside(work: Callable[[], T]) -> Awaitable[T]:
    """Do what may block in a thread that nobody waits for in the end: a disk may hang for ever."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: Callable[[], None]) -> None:
        if not done.done():  # Else nobody waits any more.
            result()

    def run() -> None:
        try:
            result = partial(done.set_result, work())
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            result = partial(done.set_exception, error)
        with contextlib.suppress(RuntimeError):  # The loop is closed by now.
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=run, daemon=True, name="doctor").start()
    return done
