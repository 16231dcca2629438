"""The market data service's routes: newest prices, snapshots, history in pages, and corporate actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, timedelta, tzinfo
from typing import Final, NamedTuple

from mrdaemon.core.instant import MINUTE, Instant
from mrdaemon.simulator.exchange import Exchange
from mrdaemon.simulator.hours import NEW_YORK, new_york
from mrdaemon.simulator.keys import Keys, Plan
from mrdaemon.simulator.paging import PageTokenError, page
from mrdaemon.simulator.query import Query
from mrdaemon.simulator.refusals import RefusalError
from mrdaemon.simulator.routing import Call, Reply, Route, route
from mrdaemon.simulator.rules import Wire
from mrdaemon.simulator.tape import Tape, TapeBar
from mrdaemon.simulator.ticks import CoinTicks, StockTicks
from mrdaemon.simulator.timeframe import Timeframe, TimeframeError

_PAGE: Final = 1_000
_LARGEST_PAGE: Final = 10_000
_ACTIONS_PAGE: Final = 100
_MOST_ACTIONS: Final = 1_000
_RECENT: Final = 15 * MINUTE
"""How old the consolidated tape must be for those who do not pay for it."""
_FEEDS: Final = frozenset({"iex", "otc", "sip", "boats", "delayed_sip", "overnight"})
_KIND: Final = "(?P<kind>trades|quotes|bars)"
_SYMBOL: Final = "(?P<symbol>[^/]+)"
_STOCKS: Final = "/v2/stocks"
_CRYPTO: Final = "/v1beta3/crypto/(?:us|us-1|us-2|eu-1|bs-1)"
_ONE: Final = {"trades": "trade", "quotes": "quote", "bars": "bar"}


class _Span(NamedTuple):
    start: Instant
    end: Instant


class DataService:
    """What the market data service answers."""

    def __init__(self, exchange: Exchange, tape: Tape, keys: Keys) -> None:
        self._exchange = exchange
        self._tape = tape
        self._keys = keys
        self._stocks = StockTicks(self._listed_on)
        self._coins = CoinTicks()

    def routes(self) -> list[Route]:
        """Give every route, the more particular ones first."""
        return [
            route("GET", f"{_STOCKS}/{_KIND}/latest", self._latest_stocks),
            route("GET", f"{_STOCKS}/snapshots", self._stock_snapshots),
            route("GET", f"{_STOCKS}/{_KIND}", self._stock_history),
            route("GET", f"{_STOCKS}/{_SYMBOL}/{_KIND}/latest", self._latest_stock),
            route("GET", f"{_STOCKS}/{_SYMBOL}/snapshot", self._stock_snapshot),
            route("GET", f"{_STOCKS}/{_SYMBOL}/{_KIND}", self._one_stock_history),
            route("GET", f"{_CRYPTO}/latest/(?P<kind>trades|quotes|bars|orderbooks)", self._latest_coins),
            route("GET", f"{_CRYPTO}/snapshots", self._coin_snapshots),
            route("GET", f"{_CRYPTO}/{_KIND}", self._coin_history),
            route("GET", "/v1/corporate-actions", self._corporate_actions),
        ]

    # -- the newest prices --------------------------------------------------------------------------------------------

    def _latest_stocks(self, call: Call) -> Reply:
        query, kind = _query(call), call.parts["kind"]
        self._check_recent(query)
        return Reply({kind: self._latest(_symbols(query), kind, self._stocks)})

    def _latest_stock(self, call: Call) -> Reply:
        kind, symbol = call.parts["kind"], call.parts["symbol"]
        self._check_recent(_query(call))
        found = self._latest([symbol], kind, self._stocks)
        if symbol not in found:
            message = f"no {_ONE[kind]} found for {symbol}"
            raise RefusalError(404, None, message)
        return Reply({_ONE[kind]: found[symbol], "symbol": symbol})

    def _latest_coins(self, call: Call) -> Reply:
        kind = call.parts["kind"]
        return Reply({kind: self._latest(_symbols(_query(call)), kind, self._coins)})

    def _latest(self, symbols: Sequence[str], kind: str, ticks: StockTicks | CoinTicks) -> Wire:
        newest: dict[str, Callable[[str], Wire | None]] = {
            "trades": lambda symbol: self._newest_trade(symbol, ticks),
            "quotes": lambda symbol: self._newest_quote(symbol, ticks),
            "bars": lambda symbol: self._newest_bar(symbol, ticks, "1Min"),
            "orderbooks": self._newest_book,
        }
        found = {symbol: newest[kind](symbol) for symbol in symbols}
        return {symbol: one for symbol, one in found.items() if one is not None}

    def _newest_trade(self, symbol: str, ticks: StockTicks | CoinTicks) -> Wire | None:
        seen = self._tape.latest_trade(symbol)
        return None if seen is None else ticks.trade(symbol, seen)

    def _newest_quote(self, symbol: str, ticks: StockTicks | CoinTicks) -> Wire | None:
        seen = self._tape.latest_quote(symbol)
        return None if seen is None else ticks.quote(symbol, seen)

    def _newest_book(self, symbol: str) -> Wire | None:
        seen = self._tape.latest_quote(symbol)
        return None if seen is None else self._coins.book(symbol, seen)

    def _newest_bar(self, symbol: str, ticks: StockTicks | CoinTicks, timeframe: str, back: int = 0) -> Wire | None:
        made = self._newest_bars(symbol, timeframe)
        return ticks.bar(symbol, made[-1 - back]) if len(made) > back else None

    def _newest_bars(self, symbol: str, timeframe: str) -> Sequence[TapeBar]:
        """Give the newest bars of a symbol: of its last minute, or of its last eight days."""
        seen = self._tape.latest_trade(symbol)
        if seen is None:
            return []
        reach = MINUTE if timeframe == "1Min" else int(timedelta(days=8).total_seconds()) * 1_000_000_000
        return self._tape.bars(symbol, Instant(seen.at - reach), seen.at, timeframe)

    # -- snapshots ----------------------------------------------------------------------------------------------------

    def _stock_snapshots(self, call: Call) -> Reply:
        query = _query(call)
        self._check_recent(query)
        return Reply(self._snapshots(_symbols(query), self._stocks))

    def _stock_snapshot(self, call: Call) -> Reply:
        self._check_recent(_query(call))
        symbol = call.parts["symbol"]
        found = self._snapshot(symbol, self._stocks)
        return Reply({"symbol": symbol, **found})

    def _coin_snapshots(self, call: Call) -> Reply:
        return Reply({"snapshots": self._snapshots(_symbols(_query(call)), self._coins)})

    def _snapshots(self, symbols: Sequence[str], ticks: StockTicks | CoinTicks) -> Wire:
        found = {symbol: self._snapshot(symbol, ticks) for symbol in symbols}
        return {symbol: one for symbol, one in found.items() if one}

    def _snapshot(self, symbol: str, ticks: StockTicks | CoinTicks) -> Wire:
        parts = {
            "dailyBar": self._newest_bar(symbol, ticks, "1Day"),
            "latestQuote": self._newest_quote(symbol, ticks),
            "latestTrade": self._newest_trade(symbol, ticks),
            "minuteBar": self._newest_bar(symbol, ticks, "1Min"),
            "prevDailyBar": self._newest_bar(symbol, ticks, "1Day", back=1),
        }
        return {name: part for name, part in parts.items() if part is not None}

    # -- history ------------------------------------------------------------------------------------------------------

    def _stock_history(self, call: Call) -> Reply:
        query, kind = _query(call), call.parts["kind"]
        found, token = self._history(query, _symbols(query), kind, self._stocks, self._stock_span(query))
        return Reply({kind: found, "next_page_token": token})

    def _one_stock_history(self, call: Call) -> Reply:
        query, kind, symbol = _query(call), call.parts["kind"], call.parts["symbol"]
        found, token = self._history(query, [symbol], kind, self._stocks, self._stock_span(query))
        return Reply({kind: found.get(symbol, []), "next_page_token": token, "symbol": symbol})

    def _coin_history(self, call: Call) -> Reply:
        query, kind = _query(call), call.parts["kind"]
        found, token = self._history(query, _symbols(query), kind, self._coins, self._span(query, UTC))
        return Reply({kind: found, "next_page_token": token})

    def _history(
        self, query: Query, symbols: Sequence[str], kind: str, ticks: StockTicks | CoinTicks, span: _Span
    ) -> tuple[dict[str, list[Wire]], str | None]:
        read = self._reader(query, kind, ticks, span)
        step = -1 if query.choice("sort", {"asc", "desc"}, "asc") == "desc" else 1
        limit = query.whole("limit", _PAGE, _LARGEST_PAGE)
        try:
            return page(symbols, lambda symbol: read(symbol)[::step], limit, query.text("page_token"))
        except PageTokenError as error:
            raise query.refuse(str(error)) from error

    def _reader(
        self, query: Query, kind: str, ticks: StockTicks | CoinTicks, span: _Span
    ) -> Callable[[str], Sequence[Wire]]:
        tape, (start, end) = self._tape, span
        if kind == "trades":
            return lambda symbol: [ticks.trade(symbol, each) for each in tape.trades(symbol, start, end)]
        if kind == "quotes":
            return lambda symbol: [ticks.quote(symbol, each) for each in tape.quotes(symbol, start, end)]
        timeframe = query.text("timeframe")
        if timeframe is None:
            message = "timeframe is required"
            raise query.refuse(message)
        try:
            Timeframe.read(timeframe)
        except TimeframeError as error:
            raise query.refuse(str(error)) from error
        return lambda symbol: [ticks.bar(symbol, each) for each in tape.bars(symbol, start, end, timeframe)]

    def _span(self, query: Query, zone: tzinfo) -> _Span:
        now = self._exchange.now()
        start = query.moment("start", zone)
        end = query.moment("end", zone, whole_day=True)
        if start is None:
            midnight = new_york(now).replace(hour=0, minute=0, second=0, microsecond=0)
            start = Instant(int(midnight.timestamp()) * 1_000_000_000)
        end = now if end is None else end
        if start > end:
            message = "end should not be before start"
            raise query.refuse(message)
        return _Span(start, end)

    def _stock_span(self, query: Query) -> _Span:
        """Give the span of a stock's history, as far as the plan lets one look."""
        now = self._exchange.now()
        feed = query.choice("feed", _FEEDS, "sip")
        if self._keys.plan is Plan.PLUS or feed != "sip":
            return self._span(query, NEW_YORK)
        if query.text("end") is None:
            query = query.having("end", Instant(now - _RECENT))
        span = self._span(query, NEW_YORK)
        if span.end > now - _RECENT:
            raise _not_subscribed()
        return span

    # -- the plan -----------------------------------------------------------------------------------------------------

    def _check_recent(self, query: Query) -> None:
        feed = query.choice("feed", _FEEDS, "iex" if self._keys.plan is Plan.FREE else "sip")
        if feed == "sip" and self._keys.plan is Plan.FREE:
            raise _not_subscribed()

    def _listed_on(self, symbol: str) -> str:
        found = self._exchange.listings.find(symbol)
        return "" if found is None else found.exchange

    # -- corporate actions --------------------------------------------------------------------------------------------

    def _corporate_actions(self, call: Call) -> Reply:
        query = _query(call)
        today = new_york(self._exchange.now()).date().isoformat()
        groups = [f"{kind}s" for kind in query.texts("types")]
        ids = set(query.texts("ids"))
        found = [
            one
            for one in self._exchange.announcements.asked(
                query.texts("symbols"), groups, query.text("start") or today, query.text("end") or today
            )
            if not ids or one.body["id"] in ids
        ]
        if query.choice("sort", {"asc", "desc"}, "asc") == "desc":
            found.reverse()
        limit = query.whole("limit", _ACTIONS_PAGE, _MOST_ACTIONS)
        skipped = query.whole("page_token", 0, len(found) or 1)
        grouped: dict[str, list[Wire]] = {}
        for one in found[skipped : skipped + limit]:
            grouped.setdefault(one.group, []).append(one.body)
        token = str(skipped + limit) if len(found) > skipped + limit else None
        return Reply({"corporate_actions": grouped, "next_page_token": token})


def _symbols(query: Query) -> list[str]:
    symbols = query.texts("symbols")
    if not symbols:
        message = "symbols is required"
        raise query.refuse(message)
    return symbols


def _not_subscribed() -> RefusalError:
    return RefusalError(403, None, "subscription does not permit querying recent SIP data")


def _query(call: Call) -> Query:
    return Query(call.query, 400, None)
