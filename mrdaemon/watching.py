"""Looking at a daemon from outside: from the daemon itself where it answers, else from its journal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from mrdaemon import board, chain, client, haltfile, lock, show, status
from mrdaemon.client import HungError, NoDaemonError, Object, UnableError
from mrdaemon.core.policy import TradingState
from mrdaemon.places import HALT, JOURNAL
from mrdaemon.status import PositionStatus, Status

POLL: Final = 0.5
"""Seconds between two looks into a journal that nobody writes."""
SHARE: Final = 4
"""A look that took long is not repeated before so many times as long: looking must not slow the daemon down."""


class View(NamedTuple):
    """What was seen, and why it is not the daemon that says it."""

    status: Status
    trouble: str = ""


def look(directory: Path) -> View:
    """Look once: at the daemon, or at its journal where none answers.

    Raises:
        JournalError: the journal cannot be read.
        OSError: this user may not look.
    """
    trouble = ""
    try:
        return View(status.decode(client.status(directory)))
    except NoDaemonError:
        pass
    except HungError as hung:
        trouble = str(hung)
    except msgspec.MsgspecError:
        trouble = "the daemon is of another version than this command, which cannot read its answer"
    state = chain.current(directory / JOURNAL).state
    process, halt = lock.holder(directory / JOURNAL), haltfile.is_there(directory / HALT)
    return View(status.journaled(state, str(directory.resolve()), process, halt_file=halt), trouble)


def once(directory: Path, *, as_json: bool) -> None:
    """Print a status once."""
    seen = look(directory)
    if seen.trouble:
        sys.stderr.write(f"mrdaemon: {seen.trouble}; this is from the journal\n")
    if as_json:
        show.line(status.encode(seen.status).decode())
        return
    show.lines(show.status_title(seen.status))
    if sys.stdout.isatty():
        Console().print(board.Board(seen.status.positions, _below(seen.status)))
    else:
        show.lines(show.status_lines(seen.status))


def _below(found: Status) -> list[str]:
    return [*show.reserve_lines(found), *show.source_lines(found)]


# Watching


def watch(directory: Path, every: float, *, as_json: bool) -> None:
    """Look again and again, until a key interrupt: a table on a terminal, else lines of what changed."""
    console = Console()
    try:
        if as_json:
            for seen in _looks(directory, every):
                show.line(status.encode(seen.status).decode())
        elif console.is_terminal and not console.is_dumb_terminal:
            with Live(console=console, auto_refresh=False, screen=True, vertical_overflow="crop") as live:
                for seen in _looks(directory, every):
                    live.update(frame(seen, console.height), refresh=True)
        else:
            _print_changes(_looks(directory, every))
    except KeyboardInterrupt:
        return


def _looks(directory: Path, every: float) -> Iterator[View]:
    while True:
        begun = time.monotonic()
        yield look(directory)
        took = time.monotonic() - begun
        time.sleep(max(every - took, SHARE * took if took > every else 0.0, 0.0))


def frame(seen: View, height: int) -> Group:
    """Draw one look, no higher than so many rows."""
    found = seen.status
    head = [board.single(text, style) for text, style in _head(seen)]
    below = _below(found)
    rows = height - len(head) - 1
    return Group(*head, Text(""), board.Board(found.positions, below, view=board.WATCH, rows=rows))


def _head(seen: View) -> Iterator[tuple[str, str]]:
    """Give the lines on top, and how each is to look: what is wrong cannot be overlooked."""
    found = seen.status
    running = f"process {found.process}" if found.process is not None else "not running"
    name = Path(found.state_dir).name
    yield f"{name}  mrdaemon {found.version}, {running}, {show.moment(found.at)}", "bold"
    if seen.trouble:
        yield f" {seen.trouble}; this is from the journal ", "bold reverse red"
    elif found.process is None:
        yield " NOT RUNNING: nothing is watched; this is from the journal ", "bold reverse red"
    if found.trading is not TradingState.ACTIVE or found.halt_file:
        because = " (the HALT file is there)" if found.halt_file else ""
        yield f" TRADING IS {TradingState.HALTED if found.halt_file else found.trading}{because} ", "bold reverse red"
    if found.paused:
        yield " SIGNALS ARE PAUSED ", "bold reverse yellow"
    if refused := show.refused_lines(found):
        yield f" {refused[0].removesuffix(':')}: {refused[1].strip()} ", "bold reverse yellow"
    if found.trading is TradingState.ACTIVE and not found.paused and not found.halt_file and found.process is not None:
        yield "trading ACTIVE", "green"


def _print_changes(looks: Iterable[View]) -> None:
    """Print everything once, then each line that is not what it was."""
    before: dict[str, str] = {}
    for seen in looks:
        found = seen.status
        head = [text.strip() for text, _ in list(_head(seen))[1:]]
        texts = {f"head {number}": text for number, text in enumerate(head)}
        texts |= {each.key: show.position_line(_ageless(each)) for each in found.positions}
        texts |= {f"below {number}": text for number, text in enumerate(show.reserve_lines(found))}
        texts |= {f"stream {each.name}": show.stream_line(each) for each in found.streams}
        texts |= {f"account {each.name}": show.broker_line(each) for each in found.accounts}
        for name, text in texts.items():
            if before.get(name) != text:
                show.line(f"{show.moment(found.at)}  {text}")
        before = texts


def _ageless(position: PositionStatus) -> PositionStatus:
    """Leave the age out: it changes by itself, and is no news."""
    return msgspec.structs.replace(position, age=None)


# Events


def newest(directory: Path) -> int:
    """Give the number of the last journaled event.

    Raises:
        JournalError: the journal cannot be read.
    """
    return chain.last(directory / JOURNAL)


def events(directory: Path, after: int, kinds: list[str], *, follow: bool, as_json: bool) -> None:
    """Print journaled events after a number; go on, if wanted, with what a daemon writes, until a key interrupt."""
    found = _followed(directory, after, kinds) if follow else _written(directory, after, kinds)
    try:
        for each in found:
            show.line(show.json_text(each) if as_json else f"{each['seq']:>6}  {show.object_line(each)}")
    except KeyboardInterrupt:
        if not follow:
            raise


def _written(directory: Path, after: int, kinds: list[str]) -> Iterator[Object]:
    for record in chain.records(directory / JOURNAL, after):
        if not kinds or record.event.__struct_config__.tag in kinds:
            yield show.record_object(record)


def _followed(directory: Path, after: int, kinds: list[str]) -> Iterator[Object]:
    """Give what is written, then what is said: through stops, hangs and restarts of the daemon, each event once."""
    while True:
        last = newest(directory)
        for each in _written(directory, after, kinds):
            yield each
            after = each["seq"]
        after = max(after, last)
        try:
            for each in client.follow(directory, after, kinds):
                yield each
                after = each["seq"]
        except UnableError:
            raise
        except (NoDaemonError, HungError):
            time.sleep(POLL)


# Explaining


def explanations(directory: Path, symbol: str, portfolio: str | None) -> list[Object]:
    """Explain a symbol's positions: the daemon does, or its journal where none answers.

    Raises:
        RefusedError: there is no such position.
        JournalError, OSError: as ``look``.
    """
    try:
        return client.explain(directory, symbol, portfolio)
    except NoDaemonError:
        pass
    except HungError as hung:
        sys.stderr.write(f"mrdaemon: {hung}; this is from the journal\n")
    return _from_journal(directory, symbol, portfolio)


def _from_journal(directory: Path, symbol: str, portfolio: str | None) -> list[Object]:
    from mrdaemon import naming  # noqa: PLC0415 - the calendar takes a second to import: only where it is needed
    from mrdaemon.calendar import AlwaysCalendar, MarketCalendar  # noqa: PLC0415
    from mrdaemon.core.engine import Engine  # noqa: PLC0415

    state = chain.current(directory / JOURNAL).state
    state.feeds = {}  # Where no daemon runs, none is connected, and that is no obstacle.
    found = naming.positions(state, symbol, portfolio)
    if not found:
        raise client.RefusedError(naming.nobody(state, symbol, portfolio), {})
    rules = state.prints
    calendar = AlwaysCalendar() if rules.always_open else MarketCalendar(extended=rules.extended_hours)
    engine = Engine(state, calendar)
    return [show.plain(engine.explain(each, state.at)) for each in found]
