"""Metrics of how everything stands: what ``mrdaemon status`` shows, in figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from prometheus_client.core import GaugeMetricFamily

from mrdaemon.core.policy import ChannelState, FeedState, TradingState
from mrdaemon.status import AccountStatus, ChannelStatus, PortfolioStatus, PositionStatus, Status, StreamStatus
from mrdaemon.web.figures import DAEMON, Figure, Labels, Of, Sample, Scrape

T = TypeVar("T")


class _Standing(NamedTuple, Generic[T]):
    """A connection, and for how many seconds it has been as it is."""

    it: T
    age: float | None


def _streams(scrape: Scrape) -> Iterator[tuple[Labels, _Standing[StreamStatus]]]:
    for each in scrape.status.streams:
        yield (each.name,), _Standing(each, scrape.seconds_since(each.since))


def _channels(scrape: Scrape) -> Iterator[tuple[Labels, _Standing[ChannelStatus]]]:
    for each in scrape.status.channels:
        yield (each.name,), _Standing(each, scrape.seconds_since(each.since))


def _symbols(scrape: Scrape) -> Iterable[tuple[Labels, PositionStatus]]:
    """Give a position of each symbol: what is known of a symbol is the same in all of them."""
    return {(each.symbol,): each for each in scrape.status.positions}.items()


def _positions(scrape: Scrape) -> Iterator[tuple[Labels, PositionStatus]]:
    return (((each.portfolio, each.symbol), each) for each in scrape.status.positions)


def _waits(scrape: Scrape) -> Iterator[Sample]:
    for labels, each in _positions(scrape):
        for side, guard in each.waits.items():
            yield (*labels, side.value, guard), 1.0


def _refused(scrape: Scrape) -> bool:
    return scrape.status.reload is not None and not scrape.status.reload.ok


def _halted(position: PositionStatus) -> bool:
    return position.halted is not None or position.trading is TradingState.HALTED


_BUILD: Final = Of[Status](("version",), lambda scrape: [((scrape.status.version,), scrape.status)])
_FEED: Final = Of((), lambda scrape: [] if scrape.status.feed is None else [((), scrape.status.feed)])
_STREAM: Final = Of[_Standing[StreamStatus]](("stream",), _streams)
_CHANNEL: Final = Of[_Standing[ChannelStatus]](("channel",), _channels)
_ACCOUNT: Final = Of[AccountStatus](
    ("account",), lambda scrape: (((each.name,), each) for each in scrape.status.accounts)
)
_PORTFOLIO: Final = Of[PortfolioStatus](
    ("portfolio",), lambda scrape: (((each.name,), each) for each in scrape.status.portfolios)
)
_SYMBOL: Final = Of[PositionStatus](("symbol",), _symbols)
_POSITION: Final = Of[PositionStatus](("portfolio", "symbol"), _positions)


STANDING: Final[tuple[Figure, ...]] = (
    _BUILD.gauge("mrdaemon_build_info", "The version that runs; always 1.", lambda _: 1),
    # Everything
    DAEMON.states(
        "mrdaemon_trading_state",
        "1 for the trading state of the whole daemon, 0 for the others.",
        TradingState,
        lambda scrape: scrape.status.trading,
    ),
    DAEMON.gauge("mrdaemon_paused", "Whether all signals are paused.", lambda scrape: scrape.status.paused),
    DAEMON.gauge("mrdaemon_halt_file", "Whether there is a HALT file.", lambda scrape: scrape.status.halt_file),
    DAEMON.gauge("mrdaemon_stuck_tasks", "Tasks that make no progress.", lambda scrape: len(scrape.status.stuck)),
    DAEMON.gauge(
        "mrdaemon_configuration_refused", "Whether the configuration was refused when last read anew.", _refused
    ),
    DAEMON.counter("mrdaemon_signals_total", "Signals raised since the journal began.", lambda scrape: scrape.signals),
    DAEMON.counter(
        "mrdaemon_signals_held_total", "Signals that a guard held since the journal began.", lambda scrape: scrape.held
    ),
    # Where prices come from
    _FEED.counter("mrdaemon_feed_prints_total", "Prints that the feed delivered.", lambda feed: feed.delivered),
    _FEED.counter("mrdaemon_feed_refused_total", "Malformed rows or messages of the feed.", lambda feed: feed.refused),
    _FEED.gauge("mrdaemon_feed_ended", "Whether a recording was read to its end.", lambda feed: feed.ended),
    _STREAM.states(
        "mrdaemon_stream_state",
        "1 for the state of a live feed's connection, 0 for the others.",
        FeedState,
        lambda stream: stream.it.state,
    ),
    _STREAM.gauge(
        "mrdaemon_stream_state_age_seconds", "Seconds since a stream came into its state.", lambda stream: stream.age
    ),
    _SYMBOL.gauge(
        "mrdaemon_symbol_print_age_seconds", "Seconds since a symbol's newest print.", lambda position: position.age
    ),
    # What is held
    _POSITION.gauge(
        "mrdaemon_position_value_dollars", "Shares at the newest known price.", lambda position: position.value
    ),
    _POSITION.gauge("mrdaemon_position_target_dollars", "The target in force.", lambda position: position.target),
    _POSITION.gauge(
        "mrdaemon_position_deviation_ratio",
        "How far the value is from the target, as a ratio of it; negative below.",
        lambda position: position.deviation,
    ),
    _POSITION.gauge("mrdaemon_position_shares", "Shares held.", lambda position: position.shares),
    Figure(
        GaugeMetricFamily,
        "mrdaemon_position_waits",
        "1 for a disarmed side, by what it waits for; no sample for an armed one.",
        (*_POSITION.labels, "side", "guard"),
        _waits,
    ),
    _POSITION.gauge("mrdaemon_position_halted", "Whether it is halted: itself, its portfolio or everything.", _halted),
    _POSITION.gauge(
        "mrdaemon_position_paused",
        "Whether its signals are paused: of its symbol or all.",
        lambda position: position.paused,
    ),
    _POSITION.gauge(
        "mrdaemon_position_frozen", "Whether its symbol is frozen.", lambda position: position.frozen is not None
    ),
    _POSITION.gauge(
        "mrdaemon_position_stale",
        "Whether prices stopped while its session is open: its value is unknown.",
        lambda position: position.stale,
    ),
    _PORTFOLIO.states(
        "mrdaemon_portfolio_trading_state",
        "1 for a portfolio's own trading state, 0 for the others.",
        TradingState,
        lambda portfolio: portfolio.trading,
    ),
    _PORTFOLIO.gauge("mrdaemon_portfolio_reserve_dollars", "The reserve.", lambda portfolio: portfolio.reserve),
    _PORTFOLIO.gauge(
        "mrdaemon_portfolio_reserved_dollars",
        "What open orders may still take of the reserve.",
        lambda portfolio: portfolio.reserved,
    ),
    _PORTFOLIO.gauge(
        "mrdaemon_portfolio_available_dollars",
        "What an accumulation may take: the reserve less floor and reserved.",
        lambda portfolio: portfolio.available,
    ),
    _PORTFOLIO.gauge(
        "mrdaemon_portfolio_floor_dollars", "What the reserve never goes below.", lambda portfolio: portfolio.floor
    ),
    # Where orders go
    _ACCOUNT.gauge(
        "mrdaemon_account_ready", "Whether it is reconciled, so that orders may leave.", lambda account: account.ready
    ),
    _ACCOUNT.gauge(
        "mrdaemon_account_covered",
        "Whether its cash covers the reserves that rest on it.",
        lambda account: account.covered,
    ),
    _ACCOUNT.gauge(
        "mrdaemon_account_disputed",
        "Whether its broker's clock or hours differ from ours, so that no signal is raised.",
        lambda account: account.disputed is not None,
    ),
    _ACCOUNT.gauge("mrdaemon_account_cash_dollars", "Cash when it was last reconciled.", lambda account: account.cash),
    _ACCOUNT.gauge("mrdaemon_account_open_orders", "Orders that have not ended.", lambda account: account.open_orders),
    _ACCOUNT.gauge(
        "mrdaemon_account_ambiguous_orders",
        "Open orders of which nobody knows whether the broker has them.",
        lambda account: account.ambiguous,
    ),
    # Who is told
    _CHANNEL.gauge(
        "mrdaemon_channel_up",
        "Whether a channel takes alerts; no sample before it was tried.",
        lambda channel: None if channel.it.state is None else channel.it.state is ChannelState.UP,
    ),
    _CHANNEL.states(
        "mrdaemon_channel_state",
        "1 for a channel's state, 0 for the others; all 0 before it was tried.",
        ChannelState,
        lambda channel: channel.it.state,
    ),
    _CHANNEL.gauge(
        "mrdaemon_channel_state_age_seconds",
        "Seconds since a channel came into its state.",
        lambda channel: channel.age,
    ),
    _CHANNEL.gauge(
        "mrdaemon_channel_alerts_waiting",
        "Alerts that wait for a channel: to be sent, or for their time.",
        lambda channel: channel.it.waiting,
    ),
)
"""Every metric of how things stand."""
