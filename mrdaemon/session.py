"""One run of the daemon in the foreground: what is shown while it runs, and the summary at its end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum, auto
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from mrdaemon import assembly, board, chain, config, lock, logs, show, status
from mrdaemon.core import events as ev
from mrdaemon.core.engine import Engine
from mrdaemon.core.instant import DAY, Instant, from_datetime, iso
from mrdaemon.core.money import Price
from mrdaemon.output import Output
from mrdaemon.places import HALT, JOURNAL, SOCKET, TOKEN
from mrdaemon.report import Summary, summarize
from mrdaemon.sentences import sentence
from mrdaemon.tally import Queue
from mrdaemon.telling import Teller

DEMO_SPEED: Final = "1500000x"
"""A trading day in a sixteenth of a second: four years in a minute and a half."""
FRAMES_A_SECOND: Final = 12
NEWS: Final = 6
"""How many lines of news stand below the table."""
LOOK_BACK: Final = 200
"""Events of an earlier run among which there is news to begin with."""
LAST_WORDS: Final = 1.0
"""Seconds that a daemon's last lines may wait for a reader."""
log: Final = structlog.get_logger("mrdaemon")


class View(Enum):
    """How a run is shown."""

    QUIET = auto()
    LINES = auto()
    TABLE = auto()
    JSON = auto()


def choose_view(*, as_json: bool, otherwise: View) -> View:
    """JSON if asked for; else a table on a terminal that can draw one, and something plainer otherwise."""
    if as_json:
        return View.JSON
    console = Console()
    return View.TABLE if console.is_terminal and not console.is_dumb_terminal else otherwise


class Span(NamedTuple):
    """The first and the last instant of a recording."""

    first: Instant
    last: Instant


class Session:
    """Shows a run's events as they become durable, and counts them.

    One with a title is there to be seen: it ends when nobody reads it any more. The daemon itself goes on.
    """

    def __init__(self, view: View, title: str | None = None, span: Span | None = None) -> None:
        self._view = view
        self._title = title
        self._span = span
        self._engine: Engine | None = None
        self._news: deque[str] = deque(maxlen=NEWS)
        self._teller = Teller()
        self._table: Live | None = None
        self._output = Output() if title is None else None
        """The daemon's own output waits for nobody; a run that is there to be seen waits for its reader."""

    def catch_up(self, journal: Path) -> None:
        """Remember the news of an earlier run."""
        if journal.exists():
            for record in chain.records(journal, max(0, chain.last(journal) - LOOK_BACK)):
                self._remember(record.event)

    async def watch(self, engine: Engine, events: Sequence[ev.Event]) -> None:
        """Take events that are durable now."""
        self._engine = engine
        try:
            for event in events:
                told = self._remember(event)
                if self._view is View.JSON:
                    self._say(show.json_text(show.event_object(event)))
                elif self._view is View.LINES and told:
                    self._say(show.event_line(event))
        except OSError as error:
            self._lose_reader(error)

    def opened(self, link: str) -> None:
        """Say where the dashboard is, above the table or the lines; a program that reads JSON has no use for it."""
        text = f"Dashboard, as long as this runs: {link}"
        if self._table is not None:  # The address must not be broken in two, however narrow the terminal is.
            self._table.console.print(text, soft_wrap=True, markup=False, highlight=False)
        elif self._view is View.LINES:
            self._say(text)

    def _say(self, text: str) -> None:
        if self._output is None:
            show.line(text)
            return
        if self._output.error is not None:
            raise self._output.error
        self._output.line(text)

    def run(self, settings: config.Config, directory: Path, options: assembly.Options) -> str:
        """Run the daemon to its end; gives the reason."""
        output = self._output
        queues = {} if output is None else {"output": Queue(output.waiting, lambda: output.dropped)}
        return asyncio.run(self._run(settings, directory, options._replace(watch=self.watch, queues=queues)))

    async def _run(self, settings: config.Config, directory: Path, options: assembly.Options) -> str:
        if self._view is not View.TABLE:
            return await assembly.run(settings, directory, options)
        with Live(console=Console(), auto_refresh=False, vertical_overflow="crop") as live:
            self._table = live
            drawing = asyncio.create_task(self._draw(live), name="table")
            try:
                return await assembly.run(settings, directory, options)
            finally:
                drawing.cancel()
                self._frame(live)

    def finish(self) -> None:
        """Print the summary, where there is something to sum up."""
        if self._engine is not None:
            with contextlib.suppress(BrokenPipeError):
                self._sum_up(self._summary(self._engine))
        if self._output is not None:
            self._output.close(LAST_WORDS)
            if self._output.dropped:
                log.warning("standard output was not read", lines_dropped=self._output.dropped)

    def _sum_up(self, summary: Summary) -> None:
        if self._view is View.JSON:
            self._say(show.json_text(show.summary_object(summary)))
            return
        for text in ("", *show.summary_lines(summary)):
            self._say(text)

    def _remember(self, event: ev.Event) -> bool:
        """Keep what is news; tells whether it is to be told."""
        told = self._teller.tells(event)
        if told and not isinstance(event, ev.SignalRaised):
            self._news.append(f"{iso(event.at)[:10]}  {sentence(event)}")
        return told

    def _summary(self, engine: Engine) -> Summary:
        return summarize(engine.state, self._price)

    def _price(self, symbol: str) -> Price | None:
        if self._engine is None:
            return None
        return self._engine.seen(symbol).price

    # Nobody reads it

    def _lose_reader(self, error: OSError) -> None:
        self._view = View.QUIET
        show.hush()
        if self._title is None:
            log.warning("standard output cannot be written; going on without it", reason=str(error))
        else:
            signal.raise_signal(signal.SIGTERM)

    # The live table

    async def _draw(self, live: Live) -> None:
        """Draw at a steady pace, whatever happens in between: the table costs the same at any speed."""
        while True:
            await asyncio.sleep(1 / FRAMES_A_SECOND)
            self._frame(live)

    def _frame(self, live: Live) -> None:
        engine = self._engine
        if engine is None:
            return
        state = engine.state
        lasts = [last[2] for symbol in state.symbols if (last := engine.last(symbol)) is not None]
        now = max([state.at, *lasts])
        part = None if self._span is None else (now - self._span.first) / max(1, self._span.last - self._span.first)
        positions = list(status.positions_of(state, engine.seen, engine.zone, now))
        amounts = show.totals(status.overview(state, "", now), self._summary(engine))
        frame = Group(
            board.Progress(self._title or "", iso(now)[:10], part),
            board.Board(positions, amounts),
            Text(""),
            board.News(self._news, NEWS),
        )
        live.update(frame, refresh=True)


# What is run: a configuration, the demo, a replay


def run(chosen: config.Config, directory: Path, options: assembly.Options, *, as_json: bool) -> None:
    """Run the daemon."""
    logs.configure()
    session = Session(View.JSON if as_json else View.LINES)
    reason = session.run(chosen, directory, options._replace(opened=_log_dashboard))
    log.info("stopped", reason=reason, state=str(directory))
    session.finish()


def _log_dashboard(link: str) -> None:
    log.info("dashboard", address=link.partition("/login")[0])  # Without the token: logs are read by many.


def demo(directory: Path, *, fast: bool, as_json: bool, fresh: bool) -> None:
    """Run the demo: from the start if the last one ended, else on from where it was interrupted."""
    logs.configure()
    with resources.as_file(resources.files("mrdaemon.data")) as data:
        chosen = config.read(data / "demo.toml", {})
        if not fast:
            chosen = _with_dashboard(_with_speed(chosen, DEMO_SPEED))
        going_on = _make_room(directory, chosen, fresh=fresh)
        if going_on:
            sys.stderr.write(f"Going on with the demo in {directory} that was interrupted; --fresh starts over.\n")
        view = choose_view(as_json=as_json, otherwise=View.QUIET if fast else View.LINES)
        session = Session(view, "mrdaemon demo: real prices, paper money", _span(data / "demo.csv"))
        session.catch_up(directory / JOURNAL)
        reason = session.run(chosen, directory, assembly.Options(opened=session.opened))
        session.finish()
    if not as_json:
        show.lines(["", *_last_words(reason, directory)])


def _last_words(reason: str, directory: Path) -> list[str]:
    state = chain.current(directory / JOURNAL).state
    read = f"To read its journal: mrdaemon events --state {directory}"
    if state.recording_read:
        return ["The demo is over.", read]
    return [f"The demo was interrupted: {reason}. The same command goes on with it.", read]


def _span(recording: Path) -> Span:
    _, first, *_, last = recording.read_text(encoding="utf-8").splitlines()
    begins, ends = (datetime.fromisoformat(row.split(",")[0]).replace(tzinfo=UTC) for row in (first, last))
    return Span(from_datetime(begins), Instant(from_datetime(ends) + DAY))


def _make_room(directory: Path, chosen: config.Config, *, fresh: bool) -> bool:
    """Remove an old demo that is over or unwanted; tells whether there is one to go on with.

    Raises:
        JournalError: a demo is running there, or what is there is no demo's.
    """
    journal = directory / JOURNAL
    if not journal.exists():
        return False
    process = lock.holder(journal)
    if process is not None:
        message = f"{journal}: process {process} is running there; stop it, or name another directory with --state"
        raise lock.JournalBusyError(message)
    state = chain.current(journal).state
    if state.nonce not in {"", assembly.nonce_of(chosen.settings)}:  # Without one, it was killed as it began.
        message = f"{journal}: it is not a demo's; name another directory with --state, so that it stays as it is"
        raise chain.JournalError(message)
    if not fresh and not state.recording_read:
        return True
    _clear(directory)
    return False


OF_A_DEMO: Final = (JOURNAL, "paper-", HALT, SOCKET, TOKEN)
"""How the names of a demo's files begin."""


def _clear(directory: Path) -> None:
    """Remove a demo in one step, so that nobody finds half of one."""
    theirs = [each.name for each in directory.iterdir() if not each.name.startswith(OF_A_DEMO)]
    if theirs:
        message = f"{directory}: it holds more than a demo ({theirs[0]}); move that away, or name another with --state"
        raise chain.JournalError(message)
    away = Path(tempfile.mkdtemp(prefix=f"{directory.name}-", dir=directory.parent))
    directory.rename(away / directory.name)
    shutil.rmtree(away)


def replay(chosen: config.Config, *, as_json: bool) -> None:
    """Run recorded files through a configuration, with a journal that is thrown away."""
    logs.configure()
    session = Session(choose_view(as_json=as_json, otherwise=View.LINES), f"Replay of {chosen.path.name}")
    with tempfile.TemporaryDirectory(prefix="mrdaemon-replay-") as directory:
        session.run(_with_speed(chosen, "max"), Path(directory), assembly.Options(durable=False, control=False))
    session.finish()


def _with_speed(chosen: config.Config, speed: str) -> config.Config:
    feed = chosen.settings.feed.model_copy(update={"speed": speed})
    return chosen._replace(settings=chosen.settings.model_copy(update={"feed": feed}))


def _with_dashboard(chosen: config.Config) -> config.Config:
    """Have a dashboard on this machine, at whichever port is free."""
    web = chosen.settings.web.model_copy(update={"listen": "127.0.0.1:0"})
    return chosen._replace(settings=chosen.settings.model_copy(update={"web": web}))
