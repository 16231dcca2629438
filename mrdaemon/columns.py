"""What the tables of the journal have: their columns, in order, each with its kind and its meaning."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Table(StrEnum):
    """What can be exported."""

    EVENTS = "events"
    ORDERS = "orders"
    FILLS = "fills"
    GAINS = "gains"
    ACTIVITIES = "activities"


class Kind(StrEnum):
    """What a column holds."""

    WHOLE = "whole"
    DECIMAL = "decimal"
    TIME = "time"
    DATE = "date"
    TEXT = "text"
    JSON = "json"


class Column(NamedTuple):
    """One column of a table."""

    name: str
    kind: Kind
    meaning: str


class Source(StrEnum):
    """How shares came in or went out."""

    ORDER = "order"
    BY_HAND = "by hand"
    OPENING = "opening"
    ADOPTED = "adopted"


_SEQ: Final = Column("seq", Kind.WHOLE, "number of the event in the journal")
_ACCOUNT: Final = Column("account", Kind.TEXT, "account at the broker, as the configuration names it")
_PORTFOLIO: Final = Column("portfolio", Kind.TEXT, "portfolio")
_SYMBOL: Final = Column("symbol", Kind.TEXT, "symbol")
_ORDER: Final = Column("order", Kind.TEXT, "client order id, by which the broker knows the order too")
_SIDE: Final = Column("side", Kind.TEXT, "`accumulate` (a buy) or `trim` (a sale)")
_BY: Final = Column("by", Kind.TEXT, "who did it, where a person or a rule did")
_WHY: Final = Column("why", Kind.TEXT, "the reason that was given")

_COLUMNS: Final[dict[Table, tuple[Column, ...]]] = {
    Table.EVENTS: (
        _SEQ,
        Column("wall", Kind.TIME, "when it was committed, by the machine's clock"),
        Column("cursor", Kind.WHOLE, "rows of the recording that had been read until then, for a feed that is one"),
        Column("at", Kind.TIME, "when it happened, in the daemon's time: that of the prices it works on"),
        Column("kind", Kind.TEXT, "kind of event"),
        _ACCOUNT,
        _PORTFOLIO,
        _SYMBOL,
        _ORDER,
        _BY,
        _WHY,
        Column("sentence", Kind.TEXT, "the event in words, for a person; the wording may change with the version"),
        Column("body", Kind.JSON, "the other fields of its kind; one that has its default is left out"),
    ),
    Table.ORDERS: (
        Column("seq", Kind.WHOLE, "number of the event that decided the order"),
        Column("at", Kind.TIME, "when it was decided"),
        _ORDER,
        Column("broker_order", Kind.TEXT, "the broker's id; empty where the broker never took it"),
        _ACCOUNT,
        _PORTFOLIO,
        _SYMBOL,
        Column("signal", Kind.WHOLE, "number of the position's signal that the order follows"),
        _SIDE,
        Column("price", Kind.DECIMAL, "the price that decided, not the one it filled at"),
        Column("notional", Kind.DECIMAL, "dollars that were asked for; empty for an order in shares"),
        Column("quantity", Kind.DECIMAL, "shares that were asked for; empty for an order in dollars"),
        Column("limit", Kind.DECIMAL, "limit price; empty for an order at market"),
        Column("reserved", Kind.DECIMAL, "dollars of the reserve that were set aside when it was decided"),
        Column(
            "status",
            Kind.TEXT,
            "`intended` or `accepted` while it is open; else `filled`, `canceled`, `expired`, `rejected`, `abandoned`",
        ),
        Column("filled", Kind.DECIMAL, "shares that were filled in all"),
        Column("average", Kind.DECIMAL, "average price of these shares; empty where there are none"),
        Column("cash", Kind.DECIMAL, "dollars that these shares cost or brought, without fees"),
        Column("fees", Kind.DECIMAL, "dollars of fees that the broker charged for it"),
        Column("ended", Kind.TIME, "when it ended; empty while it is open"),
        Column("reason", Kind.TEXT, "why it ended, where something was said"),
    ),
    Table.FILLS: (
        _SEQ,
        Column("at", Kind.TIME, "when it filled, as the broker says; of a trade by hand, when it was reported"),
        Column("source", Kind.TEXT, "`order`, or `by hand` for what a person traded and reported"),
        _ORDER,
        _ACCOUNT,
        _PORTFOLIO,
        _SYMBOL,
        _SIDE,
        Column("shares", Kind.DECIMAL, "shares that this fill added or took"),
        Column(
            "price",
            Kind.DECIMAL,
            "price of these shares: reported by hand, or the average of an order's first fill; unknown for later ones",
        ),
        Column("amount", Kind.DECIMAL, "dollars that these shares cost or brought, without fees"),
        Column("filled", Kind.DECIMAL, "shares of the order that had filled until then, these included"),
        Column("average", Kind.DECIMAL, "average price of all these, as the broker says"),
        Column("cash", Kind.DECIMAL, "dollars that all these cost or brought"),
        Column("gain", Kind.DECIMAL, "gain that a sale realized, first lots first; empty for a buy, or where unknown"),
        _BY,
        _WHY,
    ),
    Table.GAINS: (
        Column("seq", Kind.WHOLE, "number of the event by which the shares went: that of the row in `fills`"),
        Column("sold_at", Kind.TIME, "when they went"),
        Column("sold_on", Kind.DATE, "the day of that in New York"),
        Column(
            "source",
            Kind.TEXT,
            "`order` and `by hand` are sales; `adopted` is none: the broker held fewer shares, and its count was taken",
        ),
        _ACCOUNT,
        _PORTFOLIO,
        _SYMBOL,
        _ORDER,
        Column("shares", Kind.DECIMAL, "shares of this lot that went"),
        Column("lot", Kind.WHOLE, "number of the event by which the lot came in; empty where no lot was left"),
        Column(
            "lot_source",
            Kind.TEXT,
            "`order` and `by hand` were bought; `opening` and `adopted` were there before and were taken over",
        ),
        Column("acquired_at", Kind.TIME, "when the lot was bought; empty where it was taken over"),
        Column("acquired_on", Kind.DATE, "the day of that in New York"),
        Column("proceeds", Kind.DECIMAL, "dollars that these shares brought, without fees; empty where it was no sale"),
        Column("cost", Kind.DECIMAL, "dollars that these shares had cost, without fees; empty where unknown"),
        Column("gain", Kind.DECIMAL, "proceeds less cost; empty where one of them is"),
        Column("term", Kind.TEXT, "`long` for a lot held for more than one year, else `short`; empty where unknown"),
    ),
    Table.ACTIVITIES: (
        _SEQ,
        Column("at", Kind.TIME, "when it was booked here"),
        Column("date", Kind.DATE, "the broker's date of it"),
        Column("what", Kind.TEXT, "`dividend`, `fee` or `split`"),
        Column("activity", Kind.TEXT, "the broker's id of it"),
        _ACCOUNT,
        _PORTFOLIO,
        _SYMBOL,
        Column(
            "amount",
            Kind.DECIMAL,
            "dollars that came into the reserve; below zero, that left it: a fee, or tax withheld of a dividend",
        ),
        Column("per_share", Kind.DECIMAL, "dollars of a dividend for each share; empty where the broker does not say"),
        Column("before", Kind.DECIMAL, "shares before a split"),
        Column("shares", Kind.DECIMAL, "shares after it"),
        Column("new_rate", Kind.DECIMAL, "so many new shares of a split"),
        Column("old_rate", Kind.DECIMAL, "for so many old ones"),
        _WHY,
    ),
}


def columns(table: Table) -> tuple[Column, ...]:
    """Give a table's columns, in order."""
    return _COLUMNS[table]
