"""Minute and daily bars for the streams, made of trades as they come."""

from __future__ import annotations

from typing import Final

from mrdaemon.core.instant import MINUTE, NEVER, SECOND, Instant
from mrdaemon.core.prints import Print, Trade
from mrdaemon.simulator.messages import BarMessage, DailyBarMessage, Message, Stamp, UpdatedBarMessage

LATE: Final = 30 * SECOND
"""After so long, a minute with late trades is told again."""


class _Bar:
    """A bar in the making."""

    __slots__ = ("at", "close", "high", "low", "open", "trades", "turnover", "volume")

    def __init__(self, at: Instant, price: float) -> None:
        self.at = at
        self.open = self.high = self.low = self.close = price
        self.volume = self.turnover = 0.0
        self.trades = 0

    def add(self, price: float, size: float) -> None:
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += size
        self.turnover += size * price
        self.trades += 1

    def message(self, kind: type[BarMessage | UpdatedBarMessage | DailyBarMessage], symbol: str) -> Message:
        average = round(self.turnover / self.volume, 6) if self.volume else self.close
        volume = self.volume if "/" in symbol else round(self.volume)  # whole shares, but any part of a coin
        figures = (self.open, self.high, self.low, self.close, volume, self.trades, average)
        return kind(symbol, Stamp(self.at), *figures)


class Minutes:
    """The bars of every symbol that trades now."""

    def __init__(self) -> None:
        self._open: dict[str, _Bar] = {}
        self._told: dict[str, _Bar] = {}
        self._finished: list[Message] = []
        self._late: dict[str, _Bar] = {}
        self._days: dict[str, tuple[str, _Bar]] = {}

    @property
    def due(self) -> Instant:
        """When the next bar is to be told."""
        if self._finished:
            return Instant(0)
        ends = [Instant(each.at + MINUTE) for each in self._open.values()]
        late = [Instant(each.at + MINUTE + LATE) for each in self._late.values()]
        return min([*ends, *late], default=NEVER)

    def add(self, seen: Print, day: str) -> None:
        """Take a trade in; other prints are no part of bars.

        Args:
            seen: the print.
            day: the trading day that it belongs to.
        """
        symbol, price, at, _, trade = seen
        if not isinstance(trade, Trade):
            return
        begins = Instant(at - at % MINUTE)
        told = self._told.get(symbol)
        if told is not None and told.at >= begins:
            if told.at == begins:
                told.add(price, trade.size or 1.0)
                self._late[symbol] = told
            return
        bar = self._open.get(symbol)
        if bar is not None and bar.at < begins:
            self._finish(symbol, bar)
            bar = None
        if bar is None:
            bar = self._open[symbol] = _Bar(begins, price)
        bar.add(price, trade.size or 1.0)
        self._add_to_day(seen, day, trade)

    def told(self, now: Instant) -> list[Message]:
        """Give the bars that are over by now, and those that late trades changed."""
        for symbol in [each for each, bar in self._open.items() if bar.at + MINUTE <= now]:
            self._finish(symbol, self._open.pop(symbol))
        messages, self._finished = self._finished, []
        for symbol in [each for each, bar in self._late.items() if bar.at + MINUTE + LATE <= now]:
            messages += [self._late.pop(symbol).message(UpdatedBarMessage, symbol)]
        return messages

    def _finish(self, symbol: str, bar: _Bar) -> None:
        self._told[symbol] = bar
        self._finished.append(bar.message(BarMessage, symbol))
        self._finished.append(self._days[symbol][1].message(DailyBarMessage, symbol))

    def _add_to_day(self, seen: Print, day: str, trade: Trade) -> None:
        symbol, price, at = seen[0], seen[1], seen[2]
        kept = self._days.get(symbol)
        if kept is None or kept[0] != day:
            kept = self._days[symbol] = (day, _Bar(Instant(at - at % MINUTE), price))
        kept[1].add(price, trade.size or 1.0)
