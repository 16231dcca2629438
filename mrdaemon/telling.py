"""What a person who watches is told: what matters and not every step; once what was lost, and once that it is back."""

from __future__ import annotations

from typing import Final

from mrdaemon.core import events as ev
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.policy import FeedState

TOLD: Final = (
    ev.JournalRestored,
    ev.SignalRaised,
    ev.SignalHeld,
    ev.ApprovalRequested,
    ev.OrderFilled,
    ev.OrderAmbiguous,
    ev.OrderUnmatched,
    ev.SharesAdopted,
    ev.DividendPaid,
    ev.FeeBooked,
    ev.SplitApplied,
    ev.SymbolFrozen,
    ev.PositionHalted,
    ev.BreakerTripped,
    ev.TradingStateChanged,
    ev.SessionsDisputed,
    ev.SessionsAgreed,
    ev.ChannelStateChanged,
    ev.ConfigurationReloaded,
    ev.ConfigurationRefused,
    ev.RowRefused,
    ev.PrintRefused,
)
"""What a person who watches wants to read."""
_DOWN: Final = frozenset({FeedState.CONNECTING, FeedState.STALE})


class Teller:
    """Remembers what it has told of streams and accounts, so that the same trouble is told once."""

    def __init__(self) -> None:
        self._streams: dict[str, FeedState] = {}
        """How each stream stands, as far as it was told."""
        self._lost: set[str] = set()
        """Accounts that were told to be lost."""

    def tells(self, event: ev.Event) -> bool:
        """Tell whether a person wants to read an event. Each is to be asked about once, in order."""
        match event:
            case ev.DaemonStarted():
                self._streams.clear()
                self._lost.clear()
                return False
            case ev.OrderEnded(status=status):
                return status != OrderStatus.FILLED
            case ev.FeedStateChanged():
                return self._tells_stream(event)
            case ev.AccountLost(account=account):
                self._lost.add(account)
                return True
            case ev.AccountReconciled(account=account):
                was_lost = account in self._lost
                self._lost.discard(account)
                return was_lost
            case _:
                return isinstance(event, TOLD)

    def _tells_stream(self, event: ev.FeedStateChanged) -> bool:
        """Tell of an end, and of the way back; the first price after it is no further news."""
        before, state = self._streams.get(event.feed), event.state
        match state:
            case FeedState.CONNECTING:
                news = bool(event.reason) and before not in _DOWN
            case FeedState.AUTHENTICATED:
                news = False
            case FeedState.SUBSCRIBED:
                news = before in _DOWN
            case FeedState.LIVE:
                news = before is not FeedState.SUBSCRIBED
            case _:
                news = True
        if news or state is FeedState.LIVE:
            self._streams[event.feed] = state
        return news
