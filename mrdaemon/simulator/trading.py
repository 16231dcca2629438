"""The trading service's routes: account, activities, assets, clock, calendar, orders and positions."""

from __future__ import annotations

from datetime import UTC, date
from typing import Final

from mrdaemon.core.instant import Instant
from mrdaemon.simulator.activities import FILL, LARGEST_PAGE, Asked
from mrdaemon.simulator.exchange import Exchange
from mrdaemon.simulator.orders import Order, TimeInForce
from mrdaemon.simulator.query import Query
from mrdaemon.simulator.refusals import MALFORMED, RefusalError, invalid, malformed, missing
from mrdaemon.simulator.routing import Call, Reply, Route, route
from mrdaemon.simulator.rules import Wire
from mrdaemon.simulator.tickets import choice, client_id, json_object, number, quantity, read_ticket

_ORDERS_LISTED: Final = 50
_MOST_ORDERS_LISTED: Final = 500
_FIRST_DAY: Final = date(1970, 1, 1)
_LAST_DAY: Final = date(2029, 12, 31)
_ALL_PERCENT: Final = 100
_MULTI_STATUS: Final = 207
_NO_CONTENT: Final = 204


class TradingService:
    """What the trading service answers."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """Give every route, the more particular ones first."""
        return [
            route("GET", "/v2/account", self._account),
            route("GET", "/v2/account/activities(?:/(?P<kind>[A-Z]+))?", self._activities),
            route("GET", "/v2/assets", self._assets),
            route("GET", "/v2/assets/(?P<name>.+)", self._asset),
            route("GET", "/v2/clock", self._clock),
            route("GET", "/v2/calendar", self._calendar),
            route("POST", "/v2/orders", self._submit),
            route("GET", "/v2/orders", self._orders),
            route("DELETE", "/v2/orders", self._cancel_all),
            route("GET", "/v2/orders:by_client_order_id", self._order_of_client),
            route("GET", "/v2/orders/(?P<id>[^/]+)", self._order),
            route("PATCH", "/v2/orders/(?P<id>[^/]+)", self._replace),
            route("DELETE", "/v2/orders/(?P<id>[^/]+)", self._cancel),
            route("GET", "/v2/positions", self._positions),
            route("DELETE", "/v2/positions", self._close_all),
            route("GET", "/v2/positions/(?P<name>.+)", self._position),
            route("DELETE", "/v2/positions/(?P<name>.+)", self._close),
        ]

    # -- account ------------------------------------------------------------------------------------------------------

    def _account(self, _: Call) -> Reply:
        return Reply(self._exchange.account())

    def _activities(self, call: Call) -> Reply:
        query = _query(call)
        kinds = [call.parts["kind"]] if call.parts.get("kind") else query.texts("activity_types")
        wanted = frozenset(kinds) if kinds else self._category(query)
        asked = Asked(
            kinds=wanted,
            order_id=query.text("order_id"),
            day=(query.text("date") or "")[:10] or None,
            after=query.moment("after", UTC),
            until=query.moment("until", UTC),
            ascending=query.choice("direction", {"asc", "desc"}, "desc") == "asc",
            page_size=query.whole("page_size", LARGEST_PAGE, LARGEST_PAGE),
            page_token=query.text("page_token"),
        )
        return Reply(self._exchange.activities(asked))

    def _category(self, query: Query) -> frozenset[str] | None:
        category = query.text("category")
        if category is None:
            return None
        if category == "trade_activity":
            return frozenset({FILL})
        return frozenset(str(one["activity_type"]) for one in self._exchange.activities()) - {FILL}

    # -- market -------------------------------------------------------------------------------------------------------

    def _assets(self, call: Call) -> Reply:
        query = _query(call)
        wanted = {
            "class": query.text("asset_class") or "us_equity",
            "status": query.text("status"),
            "exchange": query.text("exchange"),
        }
        attributes = set(query.texts("attributes"))
        found: list[Wire] = []
        for listing in self._exchange.listings:
            body = listing.answer()
            fits = all(value is None or body[name] == value for name, value in wanted.items())
            if fits and (not attributes or attributes & set(listing.offered)):
                found.append(body)
        return Reply(found)

    def _asset(self, call: Call) -> Reply:
        found = self._exchange.listings.find(call.parts["name"])
        if found is None:
            message = f"asset not found for {call.parts['name']}"
            raise missing(message)
        return Reply(found.answer())

    def _clock(self, _: Call) -> Reply:
        return Reply(self._exchange.hours.clock(self._exchange.now()))

    def _calendar(self, call: Call) -> Reply:
        query = _query(call)
        start, end = _day(query, "start", _FIRST_DAY), _day(query, "end", _LAST_DAY)
        return Reply(list(self._exchange.hours.days(max(start, _FIRST_DAY), min(end, _LAST_DAY))))

    # -- orders -------------------------------------------------------------------------------------------------------

    def _submit(self, call: Call) -> Reply:
        ticket = read_ticket(json_object(call.body), self._exchange.fresh_client_order_id())
        return Reply(self._exchange.submit(ticket).answer())

    def _orders(self, call: Call) -> Reply:
        query = _query(call)
        status = query.choice("status", {"open", "closed", "all"}, "open")
        limit = query.whole("limit", _ORDERS_LISTED, _MOST_ORDERS_LISTED)
        descending = query.choice("direction", {"asc", "desc"}, "desc") == "desc"
        wanted = _OrderFilter(query, self._exchange)
        found = [
            order
            for order in self._exchange.book
            if (status == "all" or order.open == (status == "open")) and wanted.takes(order)
        ]
        if descending:
            found.reverse()
        return Reply([order.answer() for order in found[:limit]])

    def _order(self, call: Call) -> Reply:
        return Reply(self._exchange.book.find(call.parts["id"]).answer())

    def _order_of_client(self, call: Call) -> Reply:
        name = _query(call).text("client_order_id")
        if name is None:
            message = "client_order_id is required"
            raise malformed(message)
        return Reply(self._exchange.book.of_client(name).answer())

    def _cancel(self, call: Call) -> Reply:
        self._exchange.cancel(call.parts["id"])
        return Reply(None, _NO_CONTENT)

    def _cancel_all(self, _: Call) -> Reply:
        outcomes: list[Wire] = []
        for order in self._exchange.book.open():
            try:
                self._exchange.cancel(order.id)
                outcomes.append({"id": order.id, "status": 200})
            except RefusalError as refusal:
                outcomes.append({"id": order.id, "status": refusal.status})
        return Reply(outcomes, _MULTI_STATUS)

    def _replace(self, call: Call) -> Reply:
        fields = json_object(call.body)
        if (
            fields.get("notional") is not None
            or fields.get("stop_price") is not None
            or fields.get("trail") is not None
        ):
            message = "only qty, limit_price, time_in_force and client_order_id can be replaced"
            raise invalid(message)
        changes: dict[str, object] = {"qty": quantity(fields), "limit_price": number(fields, "limit_price")}
        if fields.get("time_in_force"):
            changes["time_in_force"] = choice(TimeInForce, fields, "time_in_force")
        changes = {name: value for name, value in changes.items() if value is not None}
        name = client_id(fields, self._exchange.fresh_client_order_id())
        return Reply(self._exchange.replace(call.parts["id"], changes, name).answer())

    # -- positions ----------------------------------------------------------------------------------------------------

    def _positions(self, _: Call) -> Reply:
        return Reply(self._exchange.positions())

    def _position(self, call: Call) -> Reply:
        return Reply(self._exchange.position(call.parts["name"]))

    def _close(self, call: Call) -> Reply:
        sent: dict[str, object] = {name: values[-1] for name, values in call.query.items()}
        qty, percentage = quantity(sent), number(sent, "percentage")
        if qty is not None and percentage is not None:
            message = "only one of qty or percentage is accepted"
            raise malformed(message)
        if percentage is not None and percentage > _ALL_PERCENT:
            message = "percentage must be between 0 and 100"
            raise invalid(message)
        return Reply(self._exchange.close(call.parts["name"], qty, percentage).answer())

    def _close_all(self, call: Call) -> Reply:
        if _query(call).flag("cancel_orders"):
            self._exchange.cancel_all_now()
        outcomes: list[Wire] = []
        for position in self._exchange.positions():
            symbol = str(position["symbol"])
            try:
                order = self._exchange.close(symbol, None, None)
                outcomes.append({"symbol": symbol, "status": 200, "body": order.answer()})
            except RefusalError as refusal:
                outcomes.append({"symbol": symbol, "status": refusal.status, "body": refusal.body})
        return Reply(outcomes, _MULTI_STATUS)


class _OrderFilter:
    """Which orders a listing wants, besides open ones or closed ones."""

    def __init__(self, query: Query, exchange: Exchange) -> None:
        self._after = query.moment("after", UTC)
        self._until = query.moment("until", UTC)
        self._symbols = {symbol.replace("/", "") for symbol in query.texts("symbols")}
        self._side = query.text("side")
        self._classes = set(query.texts("asset_class")) - {"all"}
        places = {order.id: place for place, order in enumerate(exchange.book)}
        self._places = places
        self._behind = _place(query, "after_order_id", places)
        self._ahead = _place(query, "before_order_id", places)

    def takes(self, order: Order) -> bool:
        """Tell whether an order is wanted."""
        place = self._places[order.id]
        return (
            self._submitted_in_time(order.created)
            and (not self._symbols or order.asset.position_symbol in self._symbols)
            and (self._side is None or order.ticket.side == self._side)
            and (not self._classes or order.asset.asset_class in self._classes)
            and (self._behind is None or place > self._behind)
            and (self._ahead is None or place < self._ahead)
        )

    def _submitted_in_time(self, at: Instant) -> bool:
        return (self._after is None or at > self._after) and (self._until is None or at < self._until)


def _place(query: Query, name: str, places: dict[str, int]) -> int | None:
    order_id = query.text(name)
    if order_id is None:
        return None
    if order_id not in places:
        message = f"order not found for {order_id}"
        raise missing(message)
    return places[order_id]


def _query(call: Call) -> Query:
    return Query(call.query, 422, MALFORMED)


def _day(query: Query, name: str, otherwise: date) -> date:
    value = query.text(name)
    if value is None:
        return otherwise
    try:
        return date.fromisoformat(value[:10])
    except ValueError as error:
        message = f"invalid {name}: {value}"
        raise query.refuse(message) from error
