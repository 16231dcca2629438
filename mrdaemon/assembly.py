"""From a configuration to a running daemon: opens the parts, hands them over, and closes them in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from mrdaemon import atalpaca, atmqtt, backup, logins
from mrdaemon.asking import Asking
from mrdaemon.brokers import Broker, Holding
from mrdaemon.brokers.paper import PaperBroker, PaperRules
from mrdaemon.calendar import AlwaysCalendar, AlwaysOpen, ExchangeSessions, MarketCalendar
from mrdaemon.clock import Clock, RecordedClock, SystemClock
from mrdaemon.config import Config
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import Dollars
from mrdaemon.core.sessions import Calendar, Sessions
from mrdaemon.daemon import Daemon, Parts, Watcher
from mrdaemon.feeds import Adaptation, Feed
from mrdaemon.feeds.file import FileFeed, RowProblem, parse_bar, parse_speed, symbol_from_name
from mrdaemon.findings import ConfigError, line
from mrdaemon.hangup import Hangups
from mrdaemon.herald import Herald
from mrdaemon.journal import Journal
from mrdaemon.notify import Notifier
from mrdaemon.places import HALT, JOURNAL
from mrdaemon.planning import plan, print_rules
from mrdaemon.recording import recording
from mrdaemon.reloading import Around, Reloading, alert_rules
from mrdaemon.settings import AccountTable, Settings
from mrdaemon.tally import Queue
from mrdaemon.viewing import Viewing
from mrdaemon.vigil import Vigil
from mrdaemon.ways import Ways, changed, ways
from mrdaemon.web.control import Control

if TYPE_CHECKING:
    from mrdaemon.web.dashboard import Dashboard


HUNG_UP: Final = "SIGHUP received, and the terminal is gone"
START_WITHIN: Final = 90.0
"""Seconds that a start may take with a journal of next to nothing."""
UPGRADED_A_SECOND: Final = 2_000_000
"""Bytes of a journal that a slow machine reads and writes anew in a second."""


class Options(NamedTuple):
    """How a daemon is to run, besides its configuration."""

    watch: Watcher | None = None
    resume: bool = False
    durable: bool = True
    """False for a replay whose journal is thrown away: nothing waits for the disk."""
    control: bool = True
    """Whether people may look and command, and are told what happens."""
    real_money: bool = False
    """Whether accounts with real money may trade."""
    manager: Notifier = Notifier({})
    """The service manager that is told how the daemon is; none unless said otherwise."""
    reread: Callable[[], Config] | None = None
    """Reads the configuration anew; None: this run keeps the one that it begins with."""
    hangups: Hangups = Hangups()
    opened: Callable[[str], object] = str
    """Is told where the dashboard is, once there is one; the address has its token in it."""
    queues: Mapping[str, Queue] = {}
    """In what the news wait that ``watch`` was shown."""


async def run(config: Config, state_dir: Path, options: Options = Options()) -> str:  # noqa: B008 - it is immutable
    """Run a daemon until its feed ends or a signal stops it; gives the reason.

    Raises:
        JournalError, FeedError, BrokerError, ControlError: the message says what to do.
        PlanError: the configuration does not fit the journal.
        ConfigError: an account trades real money, and nobody said that it may.
        BackupError: the state directory is a backup.
    """
    _check_real_money(config, options)
    backup.refuse(state_dir)
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)  # noqa: ASYNC240 - nothing runs yet that could wait
    options.manager.starting(_start_within(state_dir / JOURNAL))
    if config.settings.feed.kind == "file":
        return await _replay(config, state_dir, options)
    return await _live(config, state_dir, options)


def _start_within(journal: Path) -> float:
    """Give the seconds that a start may take: a journal of an earlier version is brought up to date, row by row."""
    return START_WITHIN + (journal.stat().st_size / UPGRADED_A_SECOND if journal.exists() else 0)


def _check_real_money(config: Config, options: Options) -> None:
    if not options.real_money and (accounts := atalpaca.real_money(config.settings)):
        what = "this account trades real money: run it with --live, too, if that is what you want"
        raise ConfigError([line(str(config.path), f"accounts.{name}.live", what, "true") for name in accounts])


async def _replay(config: Config, state_dir: Path, options: Options) -> str:
    """Run on recorded files, whose rows are the time."""
    first = _feed(config, start=0, daemon=None).begins() or Instant(0)
    async with Journal(state_dir / JOURNAL, durable=options.durable) as journal:
        loaded = journal.load()
        state = loaded.state
        clock = RecordedClock(max(first, state.at))
        async with _brokers(config.settings, state_dir, clock, durable=options.durable) as brokers:
            parts = Parts(
                calendar=_calendar(config.settings),
                clock=clock,
                brokers=brokers,
                nonce=nonce_of(config.settings),
                halt_file=state_dir / HALT,
                resume=options.resume,
                recording=recording(_files(config), state.recording),
            )
            daemon = Daemon(parts, journal, state, watch=options.watch)
            start = daemon.open(plan(config.settings), loaded.cursor)
            feed = _Source(_feed(config, start=start, daemon=daemon), brokers, partial(_behave, brokers))
            return await _serve(config, daemon, feed, journal, options)


async def _live(config: Config, state_dir: Path, options: Options) -> str:
    """Run on live streams, by the machine's clock."""
    settings, clock = config.settings, SystemClock()
    async with (
        Journal(state_dir / JOURNAL, durable=options.durable) as journal,
        logins.opened(settings, clock) as alpaca,
        _brokers(settings, state_dir, clock, durable=options.durable) as paper,
    ):
        loaded = journal.load()
        parts = Parts(
            calendar=_calendar(settings),
            clock=clock,
            brokers=paper | alpaca.brokers(),
            nonce=nonce_of(settings),
            halt_file=state_dir / HALT,
            resume=options.resume,
            hours=regular_hours(settings),
        )
        daemon = Daemon(parts, journal, loaded.state, watch=options.watch)
        daemon.tally.queues |= alpaca.queues()
        daemon.open(plan(settings), None)
        return await _serve(config, daemon, _live_source(config, alpaca, daemon, parts), journal, options)


class _Source(NamedTuple):
    """Where prices come from and orders go, and how both follow another configuration."""

    feed: Feed
    brokers: Mapping[str, Broker]
    behave: Callable[[Settings], None]
    adaptation: Callable[[Settings], Adaptation] = lambda _: Adaptation()


def _live_source(config: Config, alpaca: logins.Logins, daemon: Daemon, parts: Parts) -> _Source:
    settings, brokers = config.settings, parts.brokers

    def behave(after: Settings) -> None:
        _behave(brokers, after)
        alpaca.know(after, brokers)

    if settings.feed.kind == "mqtt":
        found = atmqtt.feed(settings, config.path.resolve().parent, daemon.calendar, parts.clock, daemon.live)
        daemon.tally.queues[found.name] = Queue(found.waiting, found.dropped)
        return _Source(found, brokers, behave, partial(atmqtt.adaptation, found))
    streams = alpaca.feed(daemon.calendar, daemon.live)
    return _Source(streams, brokers, behave, lambda after: streams.adaptation(alpaca.markets(after)))


def _behave(brokers: Mapping[str, Broker], settings: Settings) -> None:
    """Let paper brokers follow other rules."""
    for name, broker in brokers.items():
        if isinstance(broker, PaperBroker):
            broker.behave(_paper_rules(settings, name, settings.accounts[name]))


async def _serve(config: Config, daemon: Daemon, source: _Source, journal: Journal, options: Options) -> str:
    """Run a daemon with all that stands around it: who may ask, and who is told."""
    daemon.tally.queues |= options.queues
    async with contextlib.AsyncExitStack() as around:
        around.enter_context(_signals(daemon))
        await around.enter_async_context(Vigil(daemon, options.manager))
        if options.control:
            control = await around.enter_async_context(Control(daemon, journal.path))
            if config.settings.web.listen is not None:
                dashboard = await around.enter_async_context(_dashboard(config, daemon, journal))
                control.tell(dashboard.link)
                options.opened(dashboard.link)
            herald = await around.enter_async_context(_told(config, daemon, journal))
            if options.reread is not None:
                wanted = _reloading(daemon, config, source, herald, journal, options)
                reloading = await around.enter_async_context(wanted)
                around.enter_context(options.hangups.obeyed(reloading.hangup, partial(daemon.stop, HUNG_UP)))
        gc.collect()
        gc.freeze()  # What a start leaves behind stays: collections need not look at it again while prices wait.
        return await daemon.run(source.feed)


def _reloading(
    daemon: Daemon, config: Config, source: _Source, herald: Herald, journal: Journal, options: Options
) -> Reloading:
    around = Around(
        read=options.reread or (lambda: config),
        feed=source.adaptation,
        brokers=source.brokers,
        behave=source.behave,
        channels=lambda before, after: changed(before, after, _ways(after, daemon, journal).out),
        serve=herald.change,
        manager=options.manager,
    )
    return Reloading(daemon, config, around)


def _dashboard(config: Config, daemon: Daemon, journal: Journal) -> Dashboard:
    from mrdaemon.web.dashboard import Dashboard  # noqa: PLC0415 - only who opens a port needs it

    settings, folder = config.settings, config.path.resolve().parent
    return Dashboard(daemon, journal.path, settings.web, folder, settings.alerts.instance)


def _ways(config: Config, daemon: Daemon, journal: Journal) -> Ways:
    return ways(config, journal.path, Viewing(daemon, journal.path.parent), Asking(daemon, journal.path))


@contextlib.asynccontextmanager
async def _told(config: Config, daemon: Daemon, journal: Journal) -> AsyncIterator[Herald]:
    """Hold open what tells people, and takes their answers."""
    found = _ways(config, daemon, journal)
    async with contextlib.AsyncExitStack() as around:
        if found.page is not None:
            await around.enter_async_context(found.page)
        herald = Herald(daemon, journal, alert_rules(config.settings), found.out, found.ears)
        yield await around.enter_async_context(herald)


def _calendar(settings: Settings) -> Calendar:
    if settings.prices.sessions == "always":
        return AlwaysCalendar()
    return MarketCalendar(extended=settings.prices.extended_hours)


def regular_hours(settings: Settings) -> Sessions:
    """Give the sessions of shares that a broker's clock must agree with."""
    return AlwaysOpen() if settings.prices.sessions == "always" else ExchangeSessions()


def _files(config: Config) -> list[Path]:
    folder = config.path.resolve().parent
    return [folder / file for file in config.settings.feed.files]


def _feed(config: Config, *, start: int, daemon: Daemon | None) -> FileFeed:
    settings = config.settings
    table = settings.feed
    dashed = {symbol.replace("/", "-"): symbol for each in settings.portfolios.values() for symbol in each.positions}

    def symbol(path: Path) -> str:
        stem = symbol_from_name(path)
        return dashed.get(stem, stem)

    def report(problem: RowProblem) -> None:
        if daemon is not None:
            daemon.refuse_row(str(problem))

    return FileFeed(
        _files(config),
        calendar=_calendar(settings) if daemon is None else daemon.calendar,
        newest=Instant(time.time_ns()),
        report=report,
        timezone=table.timezone,
        bar=None if table.bar is None else parse_bar(table.bar),
        symbol=symbol,
        speed=parse_speed(table.speed),
        start=start,
        observe=None if daemon is None else daemon.observe,
    )


def nonce_of(settings: Settings) -> str:
    """Draw what makes this start's order ids unlike any other journal's; a seeded run repeats them."""
    if settings.seed is None:
        return secrets.token_hex(4)
    return hashlib.sha256(f"nonce {settings.seed}".encode()).hexdigest()[:8]


@contextlib.asynccontextmanager
async def _brokers(
    settings: Settings, state_dir: Path, clock: Clock, *, durable: bool
) -> AsyncIterator[dict[str, Broker]]:
    calendar = _calendar(settings)
    async with contextlib.AsyncExitStack() as opened:
        brokers: dict[str, Broker] = {}
        for name, table in settings.accounts.items():
            if table.broker == "paper":
                rules = _paper_rules(settings, name, table)
                path = state_dir / f"paper-{name}.db"
                paper = PaperBroker(path, rules, calendar, clock.now, durable=durable)
                brokers[name] = await opened.enter_async_context(paper)
        yield brokers


def _paper_rules(settings: Settings, name: str, table: AccountTable) -> PaperRules:
    portfolios = [each for each in settings.portfolios.values() if each.account == name]
    reserves = Dollars(sum((each.reserve for each in portfolios), Decimal("0.00")))
    holdings = {
        symbol: Holding(position.shares, position.cost)
        for each in portfolios
        for symbol, position in each.positions.items()
        if position.shares
    }
    return PaperRules(
        cash=reserves if table.cash is None else table.cash,
        holdings=holdings,
        slippage=table.slippage,
        partial=table.partial_fills,
        seed=settings.seed or "",  # the orders' ids differ from start to start, and with them what is drawn
        prints=print_rules(settings),
        whole_shares=frozenset(table.whole_shares),
    )


@contextlib.contextmanager
def _signals(daemon: Daemon) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop, f"{number.name} received")
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
