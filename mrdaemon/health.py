"""How the daemon is, in a line: for ``systemctl status``, ``mrdaemon health``, and whoever asks over the network.

It is unhealthy where something makes no progress: that is what starting it again may mend. Whatever else is wrong, a
halt, an account that is lost, prices that do not come, is said, but a restart would not help.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from mrdaemon import haltfile
from mrdaemon.core.policy import ChannelState, FeedState, TradingState
from mrdaemon.core.state import Position, State
from mrdaemon.daemon import Daemon
from mrdaemon.pulse import Stuck
from mrdaemon.status import StuckStatus

UP: Final = frozenset({FeedState.SUBSCRIBED, FeedState.LIVE})


class Health(msgspec.Struct, frozen=True):
    """How the daemon is."""

    ok: bool
    """Whether everything makes progress."""
    line: str
    trading: TradingState
    stuck: tuple[StuckStatus, ...]
    wrong: tuple[str, ...]
    """What a person should know of, and a restart would not mend."""


def stuck_status(stuck: Stuck) -> StuckStatus:
    """Write it down."""
    return StuckStatus(stuck.task, stuck.doing, round(stuck.seconds, 1), stuck.ended, str(stuck))


def health(daemon: Daemon) -> Health:
    """Look at a running daemon."""
    state, stuck = daemon.engine.state, daemon.pulse.stuck()
    wrong = tuple(_wrong(daemon, state))
    line = "; ".join([*(f"STUCK: {each}" for each in stuck), *_standing(daemon, state), *wrong])
    return Health(not stuck, line, state.trading, tuple(map(stuck_status, stuck)), wrong)


def _standing(daemon: Daemon, state: State) -> Iterator[str]:
    yield str(state.trading) + (", paused" if state.paused else "")
    if daemon.feed is not None:
        yield f"{daemon.feed.name}{_so_far(daemon, state)}"
    watched = [each for each in state.positions.values() if not each.retired]
    yield _count(len(watched), "position")
    if waiting := sum(each.approval is not None for each in watched):
        yield f"{_count(waiting, 'approval')} waiting"


def _so_far(daemon: Daemon, state: State) -> str:
    feed = daemon.feed
    if feed is None or feed.lockstep:
        return ""
    up = [each for name, each in state.feeds.items() if name in feed.name and each.state in UP]
    return " live" if any(each.state is FeedState.LIVE for each in up) else " up" if up else ""


def _wrong(daemon: Daemon, state: State) -> Iterator[str]:
    if haltfile.is_there(daemon.halt_file):
        yield "the HALT file is there"
    if state.reload is not None and state.reload.reasons:
        yield "configuration refused, the one of before is in force"
    for name, stream in state.feeds.items():
        if stream.state not in UP and stream.since >= state.started:
            yield f"{name} {stream.state}" + (f" ({stream.reason})" if stream.reason else "")
    for account in state.accounts.values():
        if account.lost is not None:
            yield f"account {account.name} lost ({account.lost})"
        if account.disputed is not None:
            yield f"account {account.name} in dispute ({account.disputed})"
    yield from _wrong_positions(state)
    for name, channel in state.channels.items():
        if name in daemon.outgoing() and channel.state is not ChannelState.UP:
            yield f"channel {name} {channel.state}"


def _wrong_positions(state: State) -> Iterator[str]:
    watched = [each for each in state.positions.values() if not each.retired]
    for stopped in (TradingState.HALTED, TradingState.REDUCING):
        portfolios = [each.name for each in state.portfolios.values() if each.state is stopped]
        if named := portfolios + [each.key for each in watched if _is(each, stopped)]:
            yield f"{stopped}: {_some(named)}"
    symbols = {name: state.symbols[name] for each in watched if (name := each.symbol) in state.symbols}
    if frozen := [name for name, each in symbols.items() if each.frozen is not None]:
        yield f"frozen: {_some(frozen)}"
    if stale := [name for name, each in symbols.items() if each.stale is not None]:
        yield f"stale: {_some(stale)}"
    if ambiguous := [each.intent.order for each in state.orders.values() if each.ambiguous and each.ended is None]:
        yield f"ambiguous: {_some(ambiguous)}"


def _is(position: Position, stopped: TradingState) -> bool:
    """Tell whether a position was stopped by itself: by a person, or because its shares differ."""
    return (TradingState.HALTED if position.halted is not None else position.state) is stopped


def _some(names: Sequence[str]) -> str:
    """Name a few, and count the others."""
    few = 3
    return ", ".join(names[:few]) + (f" and {len(names) - few} more" if len(names) > few else "")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
