"""What the doctor looks at on this machine: configuration, secrets, state, disk, journal, sessions, and the service."""

from __future__ import annotations

import os
import shutil
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from mrdaemon import backup, chain, checking, client, haltfile, kernelclock, lock
from mrdaemon.calendar import CalendarError, ExchangeSessions
from mrdaemon.chain import JournalError
from mrdaemon.config import Config
from mrdaemon.core.instant import DAY, SECOND, Instant, iso
from mrdaemon.core.policy import TradingState
from mrdaemon.core.state import State
from mrdaemon.doctor import Finding, Look, aside, fail, ok, warn
from mrdaemon.findings import ConfigError, dotted, private
from mrdaemon.overrides import SECRETS_VARIABLES
from mrdaemon.places import BACKUP, HALT, JOURNAL, TOKEN

MB: Final = 1_000_000
FULL: Final = 100 * MB
"""Bytes below which a disk counts as full: a busy day's events, and the log beside them."""
NEARLY_FULL: Final = 1000 * MB
FEW_FILES: Final = 1000
"""Files that can still be made on the disk."""
KEY: Final = "answers.key"
AHEAD: Final = Instant(90 * DAY)
"""How far the calendar must know the sessions."""
OTHERS: Final = 0o077
SYNCHRONIZE: Final = "synchronize this machine's clock: timedatectl set-ntp true; then timedatectl says whether it is"


def looks(config: Config, directory: Path, environment: Mapping[str, str], now: Instant) -> Iterator[Look]:
    """Give what is to be looked at on this machine for a configuration that can be read."""
    yield _look("configuration", partial(configuration, config, directory))
    yield _look("secrets", lambda: [*secrets(config.path, environment), *own_secrets(directory)])
    yield from of_state(directory)
    if config.settings.prices.sessions != "always" and any(
        "/" not in symbol for each in config.settings.portfolios.values() for symbol in each.positions
    ):
        yield _look("sessions", partial(sessions, now))
    if config.settings.feed.kind != "file" and not any(
        each.broker == "alpaca" for each in config.settings.accounts.values()
    ):  # Recorded prices have their own time, and an account at Alpaca has a clock to compare with.
        yield _look("clock", lambda: clock(kernelclock.max_error()))


def of_state(directory: Path) -> Iterator[Look]:
    """Give what can be looked at of a state directory alone."""
    yield _look("state directory", partial(state_directory, directory))
    yield _look("disk", partial(disk, directory))
    yield _look("journal", partial(journal, directory))
    yield _look("service", partial(service, directory))


def unreadable(problems: ConfigError, path: Path) -> Look:
    """Say what is wrong with a configuration that cannot be read."""
    do = f"mend it; mrdaemon check -c {path} says whether it is right"
    return _look("configuration", lambda: [fail(each, do) for each in str(problems).splitlines()])


def _look(name: str, look: Callable[[], list[Finding]]) -> Look:
    return Look(name, lambda: aside(look))


def configuration(config: Config, directory: Path) -> list[Finding]:
    """Look whether it fits the journal, and what a start with it would change."""
    found = [ok(checking.in_words(config)), *(ok(each) for each in checking.notes(config))]
    try:
        changes = checking.changes(config, directory)
    except ConfigError as error:
        do = "change it, or give it a state directory of its own"
        return [*found, *(fail(each, do) for each in str(error).splitlines())]
    except JournalError:  # That is the journal's own finding.
        return found
    if changes:
        do = "start or reload the daemon, if that is meant; mrdaemon check lists them"
        found.append(warn(f"it differs from the journal in {len(changes)}: {changes[0]}", do))
    return found


# Secrets


def secrets(path: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Look who may read the configuration, where secrets stand in it, and the secrets directory.

    Files that are not ours to change are as whoever keeps them wants them: a container's, for one.
    """
    named = sorted(dotted(each) for each in _private(tomllib.loads(path.read_text("utf-8-sig"))))
    if named and (mode := _open_to_others(path)):
        yield warn(f"{path}: others may read it (mode {mode:04o}), and {named[0]} is in it", f"chmod 600 {path}")
    variable = next((each for each in SECRETS_VARIABLES if environment.get(each)), None)
    files = sorted(Path(environment[variable]).iterdir()) if variable else []
    exposed = [each for each in files if each.is_file() and _open_to_others(each) and os.access(each, os.W_OK)]
    for each in exposed:
        yield warn(f"{each}: others may read it (mode {_open_to_others(each):04o})", f"chmod 600 {each}")
    if not exposed and variable:
        yield ok(f"{len(files)} files in {environment[variable]}, and nobody else reads them")


def own_secrets(directory: Path) -> list[Finding]:
    """Look who may read what the daemon keeps to itself."""
    found = []
    for name in (KEY, TOKEN):
        file = directory / name
        if file.exists() and (mode := _open_to_others(file)):
            do = f"rm {file}: the next start makes another"
            found.append(fail(f"{file}: others may know it (mode {mode:04o}), and a start refuses it", do))
    return found or [ok("what the daemon keeps to itself is read by nobody else")]


def _private(tree: object, where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict):
        for name, each in tree.items():
            yield from _private(each, (*where, str(name)))
    elif private(where, tree):
        yield where


def _open_to_others(file: Path) -> int:
    """Give the rights of a file that others may read, or 0."""
    mode = stat.S_IMODE(file.stat().st_mode)
    return mode if mode & OTHERS else 0


# State


def state_directory(directory: Path) -> list[Finding]:
    """Look whether it is there, is ours, and is closed to others."""
    if not directory.exists():
        nearest = next(each for each in directory.parents if each.exists())
        if os.access(nearest, os.W_OK):
            return [ok(f"{directory}: the first start makes it")]
        return [
            fail(f"{directory}: it is not there, and cannot be made in {nearest}", "run as the user who may, or sudo")
        ]
    if (directory / BACKUP).exists():
        do = f"mrdaemon restore {directory} --state SOMEWHERE makes a state directory of it"
        return [fail(f"{directory}: it is a backup", do)]
    found = []
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        found.append(
            fail(f"{directory}: this user may not write there; it is {directory.owner()}'s", "run as that user")
        )
    foreign = [each for each in (directory / JOURNAL, *directory.glob(backup.BOOKS)) if _foreign(each, directory)]
    found += [fail(f"{each}: it is {each.owner()}'s", f"chown --reference {directory} {each}") for each in foreign]
    if mode := _open_to_others(directory):
        found.append(warn(f"{directory}: others may look into it (mode {mode:04o})", f"chmod 700 {directory}"))
    if haltfile.is_there(directory / HALT):
        do = "find out who put it there, and why; then mrdaemon resume"
        found.append(warn(f"{directory / HALT}: the file that halts trading is there", do))
    return found or [ok(f"{directory}: it is this daemon's alone")]


def _foreign(file: Path, directory: Path) -> bool:
    return file.exists() and file.stat().st_uid != directory.stat().st_uid


def disk(directory: Path) -> list[Finding]:
    """Look how much room there is."""
    where = next(each for each in (directory, *directory.parents) if each.exists())
    room, files = shutil.disk_usage(where), os.statvfs(where)
    text = f"{room.free / MB:,.0f} MB of {room.total / MB:,.0f} MB are free at {where}"
    do = "make room: what is under backups and replaced-… in the state directory can lie elsewhere"
    if room.free < FULL:
        return [fail(text, do)]
    if files.f_files and files.f_favail < FEW_FILES:
        return [fail(f"only {files.f_favail} more files can be made at {where}", "remove files that nobody needs")]
    return [warn(text, do) if room.free < NEARLY_FULL else ok(text)]


def journal(directory: Path) -> list[Finding]:
    """Look at the journal's newest part: its head, and what follows the newest snapshot."""
    path = directory / JOURNAL
    if not path.exists():
        if chain.head_path(path).exists():
            do = "restore a backup: mrdaemon restore BACKUP --state DIR --aside"
            return [fail(f"{path}: it is gone, and its head {chain.head_path(path).name} is there", do)]
        return [ok("there is none yet; the first start makes it")]
    try:
        with chain.explained(path, "read the journal's head"):
            remembered = chain.read_head(path)
        with chain.reading(path) as connection:
            chain.check_head(connection, path, remembered)
            folded = chain.fold(connection, path)
    except JournalError as error:
        return [fail(str(error), "stop the daemon, and restore a backup: mrdaemon restore BACKUP --state DIR --aside")]
    text = f"{folded.head.seq:,} events, and the newest ones are as they were written"
    return [ok(f"{text}; mrdaemon journal verify looks at all"), *_halted(folded.state)]


def _halted(state: State) -> Iterator[Finding]:
    for position in state.positions.values():
        if position.halted is not None and not position.retired:
            do = f"see why: mrdaemon explain {position.symbol}; then mrdaemon resume {position.symbol}"
            yield warn(f"{position.symbol} is halted: {position.halted}", do)


def sessions(now: Instant) -> list[Finding]:
    """Look whether the calendar knows the sessions that come."""
    try:
        exchange = ExchangeSessions()
        following = exchange.upcoming(now)
        exchange.upcoming(Instant(now + AHEAD))
    except CalendarError as error:
        return [fail(str(error), "upgrade mrdaemon: its calendar ends")]
    state = "closed" if exchange.at(now) is None else "open"
    return [ok(f"the market is {state} at {iso(now)}, and opens next at {iso(following.opens)}")]


def clock(error: int | None) -> list[Finding]:
    """Judge by how much the clock may be off, in nanoseconds, as the kernel says, or None where it does not."""
    if error is None:
        do = "see that it is synchronized: timedatectl, on the machine itself"
        return [warn("it was compared with nothing: there is no broker with a clock, and the kernel does not say", do)]
    if error >= kernelclock.UNKNOWN:
        return [warn("nothing keeps this machine's clock synchronized, says the kernel", SYNCHRONIZE)]
    return [ok(f"it is kept synchronized, to within {error / SECOND:.2f} s, says the kernel")]


# The service


def service(directory: Path) -> list[Finding]:
    """Ask the daemon, where one runs, what it finds wrong itself."""
    if not directory.exists() or lock.holder(directory / JOURNAL) is None:
        return [ok("no daemon runs in this state directory")]
    try:
        found = client.health(directory)
    except client.NoDaemonError as error:
        return [warn(str(error), "look again")]
    except client.ForeignError as error:
        return [warn(str(error), "look again with sudo")]
    except (client.HungError, client.RefusedError) as error:
        return [fail(str(error), "mrdaemon halt works all the same; then start it again")]
    stuck = [
        fail(f"it makes no progress: {each['reason']}", "start it again, and report this") for each in found["stuck"]
    ]
    wrong = [warn(each, "mrdaemon status; docs/operate.md has every state") for each in found["wrong"]]
    if found["trading"] != TradingState.ACTIVE:
        wrong.append(warn(f"trading is {found['trading']}", "mrdaemon events says why; then mrdaemon resume"))
    return [*stuck, *wrong] or [ok(f"it runs: {found['line']}")]
