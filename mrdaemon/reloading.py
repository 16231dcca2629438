"""Another configuration for a daemon that runs: all of it is taken, or nothing is changed.

What can be refused is asked for before anything is changed: the file is read and checked, streams subscribe what is new
without counting it, brokers say what they know of new symbols. Then everything that decides changes at one moment of
the loop, between two prices, with the facts that say so; channels follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import stat
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

import structlog

from mrdaemon import checking, inplace, pulse
from mrdaemon.alerts.composer import AlertRules
from mrdaemon.brokers import AmbiguousError, Broker
from mrdaemon.config import Config
from mrdaemon.core import configure
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.core.policy import Asset
from mrdaemon.daemon import Daemon, StoppingError
from mrdaemon.feeds import Adaptation, FeedRefusedError
from mrdaemon.findings import ConfigError, dotted
from mrdaemon.notify import Notifier
from mrdaemon.planning import plan
from mrdaemon.sentences import sentence
from mrdaemon.settings import Settings
from mrdaemon.ways import Change

READ_WITHIN: Final = 15.0
"""Seconds in which the configuration must have been read: its folder may be on a disk that is away."""
STEADY_FOR: Final = 0.2
"""Seconds for which the file must stay as it was read: an editor may be in the middle of writing it."""
ASSETS_WITHIN: Final = 10.0
"""Seconds in which a broker must have said what it knows of new symbols; else no order leaves before it has."""
OF_PAPER: Final = frozenset({"slippage", "partial_fills"})
"""Of an account, what is no fact of the method's."""

log: Final = structlog.get_logger("mrdaemon.reload")


class Around(NamedTuple):
    """What changes along with a daemon."""

    read: Callable[[], Config]
    """Reads the configuration anew. Raises ConfigError with every problem."""
    feed: Callable[[Settings], Adaptation]
    """Gives the change of what the feed brings."""
    brokers: Mapping[str, Broker]
    behave: Callable[[Settings], None]
    """Lets brokers know symbols and rules."""
    channels: Callable[[Settings, Config], Change]
    """Makes the channels that are others from now on; nothing is connected yet."""
    serve: Callable[[AlertRules, Change], Awaitable[None]]
    """Serves them."""
    manager: Notifier


class Prepared(NamedTuple):
    """Another configuration that can be taken, with what was asked for it."""

    config: Config
    feed: Adaptation
    channels: Change
    assets: Mapping[str, Sequence[Asset]]
    """By account, what its broker says of symbols that are new there."""
    unknown: Mapping[str, str]
    """By account, why its broker did not say."""


class RefusedError(Exception):
    """A configuration that cannot be taken; ``reasons`` says each problem."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = tuple(reasons)


class Reloading:
    """Reads one daemon's configuration anew whenever it is asked to. Use it as an async context manager."""

    def __init__(self, daemon: Daemon, config: Config, around: Around) -> None:
        self._daemon = daemon
        self._config = config
        self._around = around
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[list[ev.Event]]] = set()
        self._wanted = False
        """Whether one is on its way that has not begun to read."""

    async def __aenter__(self) -> Self:
        """Take wishes from now on."""
        self._daemon.reload = self.reload
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave off: what was not taken yet, a start takes."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def hangup(self) -> None:
        """Read it anew because of SIGHUP. Many at once are one: whoever sent them wants what is in the file now."""
        if not self._wanted:
            self._wanted = True
            self._begin("SIGHUP", "").add_done_callback(_logged)

    async def reload(self, by: str, why: str) -> list[ev.Event]:
        """Read it anew, take it or refuse it; gives what that caused, which is durable then.

        It goes on where whoever asked goes away, which the change itself may bring about.

        Raises:
            StoppingError: the daemon takes none any more.
            JournalError: it could not be made durable; the daemon ends.
        """
        return await asyncio.shield(self._begin(by, why))

    def _begin(self, by: str, why: str) -> asyncio.Task[list[ev.Event]]:
        job = self._reload(by, why)
        task = self._daemon.pulse.passing(asyncio.create_task, job, "reading the configuration anew")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _reload(self, by: str, why: str) -> list[ev.Event]:
        pulse.rest()  # Others may have to be waited for, each as long as it takes.
        async with self._turn:
            pulse.begin("reading the file")
            self._wanted = False
            with self._around.manager.reloading():
                try:
                    prepared = await self._prepared()
                except RefusedError as refused:
                    return await self._refuse(refused.reasons, by, why)
                return await self._take(prepared, by, why)

    # Before anything is changed

    async def _prepared(self) -> Prepared:
        """Read, check and ask.

        Raises:
            RefusedError: it cannot be taken.
        """
        config = await self._read()
        path, settings = str(config.path), config.settings
        fixed = [
            f"{path}: {dotted(where)}: a change of this needs a restart"
            for where in inplace.differences(self._config.settings, settings)
            if not inplace.may_change(where, settings)
        ]
        if fixed:
            raise RefusedError(fixed)
        engine = self._daemon.engine
        with _refusing(path):
            found = list(configure.differences(engine.state, plan(settings), self._daemon.now()))
            channels = self._around.channels(self._config.settings, config)
        await self._load_calendars(found)
        feed = self._around.feed(settings)
        pulse.begin("preparing the feed")
        try:
            await feed.prepare()
        except FeedRefusedError as refused:
            raise RefusedError([f"{path}: {refused}"]) from refused
        pulse.begin("asking brokers for new symbols")
        try:
            assets, unknown = await self._ask_for_assets(settings, found)
        except BaseException:  # Whatever it is, also a cancellation, what was subscribed is not wanted; it goes on up.
            feed.abandon()
            raise
        return Prepared(config, feed, channels, assets, unknown)

    async def _read(self) -> Config:
        """Read the configuration in a thread: prices go on meanwhile.

        Raises:
            RefusedError: it cannot be used, or is being written.
        """
        path = self._config.path
        try:
            async with asyncio.timeout(READ_WITHIN):
                return await asyncio.to_thread(_read_steady, path, self._around.read)
        except ConfigError as error:
            raise RefusedError(error.problems) from error
        except TimeoutError as error:
            message = f"{path}: file: it could not be read within {READ_WITHIN:.0f} s"
            raise RefusedError([message]) from error
        except Exception as error:  # A file must not end a daemon, whatever it makes a library do.
            log.exception("the configuration could not be read", file=str(path))
            raise RefusedError([f"{path}: file: it could not be read: {error!r}; report this"]) from error

    async def _load_calendars(self, found: Sequence[ev.Event]) -> None:
        """Load in a thread what the first price of a new market would have to wait for: it takes about a second."""
        calendar, now = self._daemon.calendar, self._daemon.now()
        new = [each.symbol for each in found if isinstance(each, ev.PositionConfigured)]
        await asyncio.to_thread(lambda: [calendar.sessions(symbol).at(now) for symbol in new])

    async def _ask_for_assets(
        self, settings: Settings, found: Sequence[ev.Event]
    ) -> tuple[dict[str, Sequence[Asset]], dict[str, str]]:
        """Ask brokers what they know of symbols that are new to them, before an order for one may leave."""
        accounts, new = self._daemon.engine.state.accounts, defaultdict[str, set[str]](set)
        for event in found:
            if isinstance(event, ev.PositionConfigured):
                new[settings.portfolios[event.portfolio].account].add(event.symbol)
        assets, unknown = dict[str, Sequence[Asset]](), dict[str, str]()
        for account, symbols in new.items():
            wanted = sorted(symbols - accounts[account].assets.keys()) if account in accounts else []
            broker = self._around.brokers.get(account)
            if broker is None or not wanted:
                continue
            try:
                async with asyncio.timeout(ASSETS_WITHIN):
                    assets[account] = await broker.assets(wanted)
            except (AmbiguousError, TimeoutError) as error:
                why = str(error) or f"it has not answered for {ASSETS_WITHIN:.0f} s"
                unknown[account] = f"it does not say what it knows of {', '.join(wanted)}: {why}"
        return assets, unknown

    # Taking it, or not

    async def _refuse(self, reasons: Sequence[str], by: str, why: str) -> list[ev.Event]:
        log.error("configuration refused", file=str(self._config.path), by=by, problems=list(reasons))
        return await self._daemon.note(lambda now: [self._refused(reasons, by, why, now)])

    def _refused(self, reasons: Sequence[str], by: str, why: str, now: Instant) -> ev.Event:
        return ev.ConfigurationRefused(at=now, file=str(self._config.path), by=by, why=why, reasons=tuple(reasons))

    async def _take(self, prepared: Prepared, by: str, why: str) -> list[ev.Event]:
        before, taken = self._config, False

        def change(now: Instant) -> Sequence[ev.Event]:
            """Change everything that decides: nothing else runs until this returns."""
            nonlocal taken
            state, settings = self._daemon.engine.state, prepared.config.settings
            try:
                found = list(configure.differences(state, plan(settings), now))
            except configure.PlanError as error:  # A command came meanwhile.
                return [self._refused([_of_plan(str(prepared.config.path), error)], by, why, now)]
            taken = True
            known = list(self._of_brokers(prepared, now))
            words = [checking.told(state, each) for each in found]
            words += [sentence(each) for each in known if isinstance(each, ev.AssetKnown) and not each.asset.tradable]
            feeds_gone = prepared.feed.take()
            self._around.behave(settings)
            self._config = prepared.config
            return [
                *found,
                *known,
                ev.ConfigurationReloaded(
                    at=now,
                    file=str(prepared.config.path),
                    by=by,
                    why=why,
                    changes=(*words, *_in_words(before.settings, settings, prepared.channels)),
                    channels_gone=tuple(each for each in prepared.channels.gone if each not in _names(prepared)),
                    feeds_gone=tuple(feeds_gone),
                ),
            ]

        try:
            events = await self._daemon.configure(change)
        finally:
            if not taken:
                prepared.feed.abandon()
        if taken:
            log.info("configuration taken", file=str(before.path), by=by, changes=len(events))
            pulse.begin("changing channels")
            await self._around.serve(alert_rules(prepared.config.settings), prepared.channels)
        return events

    def _of_brokers(self, prepared: Prepared, now: Instant) -> Iterator[ev.Event]:
        """Give what brokers said of new symbols; no order leaves to one that did not say."""
        accounts = self._daemon.engine.state.accounts
        for account, assets in prepared.assets.items():
            yield from (ev.AssetKnown(at=now, account=account, asset=each) for each in assets)
        for account, reason in prepared.unknown.items():
            if accounts[account].ready:
                yield ev.AccountLost(at=now, account=account, reason=reason)


def alert_rules(settings: Settings) -> AlertRules:
    """Give how alerts are made."""
    table = settings.alerts
    return AlertRules(table.instance, table.digest, table.remind, table.settle, table.reserve_low)


def _read_steady(path: Path, read: Callable[[], Config]) -> Config:
    """Read a file that nobody is writing.

    Raises:
        ConfigError: it cannot be used, or is being written.
    """
    before = _stamp(path)
    config = read()
    time.sleep(STEADY_FOR)
    if _stamp(path) != before:
        raise ConfigError([f"{path}: file: it was written while it was read: reload again once it is whole"])
    return config


def _stamp(path: Path) -> tuple[int, ...]:
    """Tell one content of a file from another, roughly.

    Raises:
        ConfigError: it is none that can be read again.
    """
    with contextlib.suppress(OSError):  # Reading it says what is wrong.
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise ConfigError([f"{path}: file: wanted a file that can be read again, got a pipe or a device"])
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return ()


@contextlib.contextmanager
def _refusing(path: str) -> Iterator[None]:
    """Turn what a configuration does not fit into a refusal.

    Raises:
        RefusedError: it does not fit what the journal knows, or a channel cannot be made of it.
    """
    try:
        yield
    except configure.PlanError as error:
        raise RefusedError([_of_plan(path, error)]) from error
    except Exception as error:  # What a library may say of an address or a certificate is not known.
        log.exception("a channel could not be made", file=path)
        raise RefusedError([f"{path}: channels: one cannot be made: {error!r}"]) from error


def _of_plan(path: str, error: configure.PlanError) -> str:
    return f"{path}: the journal: {error}"


def _in_words(before: Settings, after: Settings, channels: Change) -> Iterator[str]:
    """Say what changes that is no fact of the method's: channels, and what is said in single values."""
    names = {each.channel.name for each in channels.ways}
    for name in sorted(names - set(channels.gone)):
        yield f"Channel {name} was added."
    for name in channels.gone:
        yield f"Channel {name} {'is another now' if name in names else 'was taken away'}."
    for where in inplace.differences(before, after):
        if where[0] in {"alerts", "feed"} or (where[0] == "accounts" and where[-1] in OF_PAPER):
            old, new = (_value(settings, where) for settings in (before, after))
            yield f"{dotted(where)}: {old} becomes {new}."


def _value(settings: Settings, where: Sequence[str]) -> object:
    found: object = settings
    for key in where:
        found = found[key] if isinstance(found, dict) else getattr(found, key)
    return "none" if found is None else found


def _names(prepared: Prepared) -> set[str]:
    return {each.channel.name for each in prepared.channels.ways}


def _logged(task: asyncio.Task[list[ev.Event]]) -> None:
    """Say what became of a wish that nobody waits for."""
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, StoppingError):
        log.warning("not reloaded", reason=str(error))
    elif error is not None:
        log.error("not reloaded", exc_info=error)
