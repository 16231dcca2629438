"""From a configuration to a running daemon: opens the parts, hands them over, and closes them in order."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from mrdaemon.brokers import Broker, Holding
from mrdaemon.brokers.paper import PaperBroker, PaperRules
from mrdaemon.calendar import MarketCalendar
from mrdaemon.clock import RecordedClock
from mrdaemon.config import Config
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import Dollars
from mrdaemon.daemon import Daemon, Parts, Watcher
from mrdaemon.feeds.file import FileFeed, RowProblem, parse_bar, parse_speed, symbol_from_name
from mrdaemon.journal import Journal
from mrdaemon.places import HALT, JOURNAL
from mrdaemon.planning import plan, print_rules
from mrdaemon.recording import recording
from mrdaemon.settings import AccountTable, Settings
from mrdaemon.web.control import Control


class Options(NamedTuple):
    """How a daemon is to run, besides its configuration."""

    watch: Watcher | None = None
    resume: bool = False
    durable: bool = True
    """False for a replay whose journal is thrown away: nothing waits for the disk."""
    control: bool = True
    """Whether people may look and command over the control socket."""


async def run(config: Config, state_dir: Path, options: Options = Options()) -> str:  # noqa: B008 - it is immutable
    """Run a daemon until its feed ends or a signal stops it; gives the reason.

    Raises:
        JournalError, FeedError, BrokerError, ControlError: the message says what to do.
        PlanError: the configuration does not fit the journal.
    """
    first = _feed(config, start=0, daemon=None).begins() or Instant(0)
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)  # noqa: ASYNC240 - nothing runs yet that could wait
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
            feed = _feed(config, start=start, daemon=daemon)
            control = Control(daemon, journal.path) if options.control else contextlib.nullcontext()
            with _signals(daemon):
                async with control:
                    return await daemon.run(feed)


def _calendar(settings: Settings) -> MarketCalendar:
    return MarketCalendar(extended=settings.prices.extended_hours)


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
    settings: Settings, state_dir: Path, clock: RecordedClock, *, durable: bool
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
