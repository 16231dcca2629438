"""One run of the daemon in the foreground: what is shown while it runs, and the summary at its end."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from enum import Enum, auto
from importlib import resources
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live

from mrdaemon import assembly, chain, config, show
from mrdaemon.core import events as ev
from mrdaemon.core.instant import iso
from mrdaemon.core.state import State
from mrdaemon.places import JOURNAL
from mrdaemon.report import Tally, summarize

DEMO_SPEED: Final = "1500000x"
"""A trading day in a sixteenth of a second: four years in a minute and a half."""
TOLD: Final = (
    ev.SignalRaised,
    ev.SignalHeld,
    ev.ApprovalRequested,
    ev.SymbolFrozen,
    ev.PositionHalted,
    ev.BreakerTripped,
    ev.TradingStateChanged,
    ev.RowRefused,
    ev.PrintRefused,
)
"""What a person who watches lines wants to read."""


class View(Enum):
    """How a run is shown."""

    QUIET = auto()
    LINES = auto()
    TABLE = auto()
    JSON = auto()


def choose_view(*, as_json: bool, quiet: bool = False) -> View:
    """JSON if asked for; else a table on a terminal, and lines otherwise."""
    if as_json:
        return View.JSON
    if quiet:
        return View.QUIET
    return View.TABLE if sys.stdout.isatty() else View.LINES


class Session:
    """Shows a run's events as they become durable, and counts them."""

    def __init__(self, view: View, title: str) -> None:
        self._view = view
        self._title = title
        self._tally = Tally()
        self._state = State()
        self._live: Live | None = None

    def catch_up(self, journal: Path) -> None:
        """Count what an earlier run journaled."""
        if journal.exists():
            self._tally.add(record.event for record in chain.records(journal))

    async def watch(self, state: State, events: Sequence[ev.Event]) -> None:
        """Show events."""
        self._state = state
        self._tally.add(events)
        if self._view is View.JSON:
            for event in events:
                show.json_line(show.event_object(event))
        elif self._view is View.LINES:
            show.lines([show.event_line(event) for event in events if isinstance(event, TOLD)])
        elif self._live is not None:
            self._live.update(show.positions_table(state, f"{self._title}  {iso(state.at)[:10]}"))

    def run(self, settings: config.Config, directory: Path, options: assembly.Options) -> str:
        """Run the daemon to its end; gives the reason."""
        options = options._replace(watch=self.watch)
        if self._view is not View.TABLE:
            return asyncio.run(assembly.run(settings, directory, options))
        with Live(console=Console(), refresh_per_second=15) as self._live:
            return asyncio.run(assembly.run(settings, directory, options))

    def finish(self) -> None:
        """Print the summary."""
        summary = summarize(self._state, self._tally)
        if self._view is View.JSON:
            show.json_line(show.summary_object(summary))
        else:
            show.lines(["", *show.summary_lines(summary)])


def demo(directory: Path, *, fast: bool, as_json: bool, fresh: bool) -> None:
    """Run the demo: from the start if the last one ended, else on from where it was interrupted."""
    with resources.as_file(resources.files("mrdaemon.data")) as data:
        chosen = config.read(data / "demo.toml", {})
        if not fast:
            chosen = _with_speed(chosen, DEMO_SPEED)
        journal = directory / JOURNAL
        if fresh or _finished(journal):
            _clear(directory)
        elif journal.exists():
            print(f"Going on with the demo that was interrupted, in {directory}; --fresh starts over.", file=sys.stderr)
        session = Session(choose_view(as_json=as_json, quiet=fast), "The demo: real prices, paper money")
        session.catch_up(journal)
        reason = session.run(chosen, directory, assembly.Options())
        if not as_json:
            show.lines(["", f"The demo ended: {reason}. Its journal is in {directory}; `mrdaemon events` reads it."])
        session.finish()


def _finished(journal: Path) -> bool:
    return journal.exists() and chain.current(journal).state.recording_read


def _clear(directory: Path) -> None:
    """Remove an old demo in one step, so that nobody finds half of one."""
    if (process := chain.holder(directory / JOURNAL)) is not None:
        message = f"{directory}: a demo is running there (process {process})"
        raise chain.JournalBusyError(message)
    if directory.exists():
        old = directory.with_name(f"{directory.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        directory.rename(old)
        shutil.rmtree(old)


def replay(chosen: config.Config, *, as_json: bool) -> None:
    """Run recorded files through a configuration, with a journal that is thrown away."""
    chosen = _with_speed(chosen, "max")
    session = Session(choose_view(as_json=as_json, quiet=sys.stdout.isatty()), "Replay")
    with tempfile.TemporaryDirectory(prefix="mrdaemon-replay-") as directory:
        session.run(chosen, Path(directory), assembly.Options(durable=False))
    session.finish()


def _with_speed(chosen: config.Config, speed: str) -> config.Config:
    feed = chosen.settings.feed.model_copy(update={"speed": speed})
    return chosen._replace(settings=chosen.settings.model_copy(update={"feed": feed}))
