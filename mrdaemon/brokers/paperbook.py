"""The paper broker's book: cash, holdings and orders in a SQLite file of its own, as durable as a broker's."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import msgspec

from mrdaemon.brokers import BrokerError, ByHand, Holding
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import (
    EXACT,
    NANO_SHARE,
    NO_DOLLARS,
    NO_SHARES,
    Dollars,
    Price,
    Shares,
    cents,
    shares_for,
    value,
)
from mrdaemon.core.orders import TERMINAL, OrderReport, OrderRequest
from mrdaemon.core.policy import Side

APPLICATION_ID: Final = 0x6D727031
"""Marks a SQLite file as a paper broker's book ("mrp1")."""
SCHEMA: Final = (
    "CREATE TABLE account (id INTEGER PRIMARY KEY CHECK (id = 1), cash TEXT NOT NULL) STRICT",
    "CREATE TABLE holdings (symbol TEXT PRIMARY KEY, shares TEXT NOT NULL, cost TEXT) STRICT",
    """CREATE TABLE orders (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        open INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX open_orders ON orders (number) WHERE open",
    f"PRAGMA application_id = {APPLICATION_ID}",
)
LATER_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS paid_in (id INTEGER PRIMARY KEY CHECK (id = 1), cash TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS by_hand (symbol TEXT PRIMARY KEY, shares TEXT NOT NULL, cost TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS opened (symbol TEXT PRIMARY KEY, shares TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS openings (id INTEGER PRIMARY KEY CHECK (id = 1)) STRICT",
)
"""What an older book lacks: how much of what people did it has taken over, and of what positions began with."""
BUSY_WITHIN: Final = 1.0
"""Seconds to wait for another process to let go of the file."""
NOTHING: Final = Holding(NO_SHARES, NO_DOLLARS)
AVERAGE: Final = Context(prec=28, rounding=ROUND_HALF_EVEN)
"""How several fills' average price is rounded: to so many digits that it never shows in a cent."""


class PaperOrder(msgspec.Struct, frozen=True):
    """An order as the broker sees it, with cumulative figures."""

    request: OrderRequest
    number: int
    status: OrderStatus
    updated: Instant
    expires: Instant | None
    """The close of the session that it is good for. None: good till cancelled."""
    seen: Instant
    """The time of the symbol's newest print when it last filled; only a later one fills it further."""
    filled: Shares = NO_SHARES
    average: Price | None = None
    pieces: int = 0

    @property
    def open(self) -> bool:
        """Whether it may still fill."""
        return self.status not in TERMINAL

    @property
    def cash(self) -> Dollars:
        """What its fills cost or brought, to the cent."""
        return NO_DOLLARS if self.average is None else value(self.filled, self.average)

    @property
    def claim(self) -> Dollars:
        """Cash that its further fills may take: what it may cost at most, less what it did."""
        request = self.request
        if request.side is Side.TRIM:
            return NO_DOLLARS
        most = request.notional
        if most is None:
            most = value(request.quantity or NO_SHARES, request.limit or Decimal(0))
        return Dollars(most - self.cash)

    @property
    def _spent(self) -> Decimal:
        """What its fills cost or brought, not rounded."""
        return Decimal(0) if self.average is None else EXACT.multiply(self.filled, self.average)

    def left(self, price: Price) -> Shares:
        """Give the shares that are left to fill; of a notional order, what the rest of it buys at a price."""
        request = self.request
        if request.quantity is not None:
            return Shares(EXACT.subtract(request.quantity, self.filled))
        return shares_for(EXACT.subtract(request.notional or Decimal(0), self._spent), price, NANO_SHARE)

    def expired(self, at: Instant) -> PaperOrder:
        """End it with its session."""
        return msgspec.structs.replace(self, status=OrderStatus.EXPIRED, updated=at)

    def canceled(self, at: Instant) -> PaperOrder:
        """End it on request."""
        return msgspec.structs.replace(self, status=OrderStatus.CANCELED, updated=at)

    def with_fill(self, shares: Shares, price: Price, *, seen: Instant, at: Instant) -> PaperOrder:
        """Fill some of it, or none; it ends with all that was left."""
        filled, average = Shares(EXACT.add(self.filled, shares)), self.average
        if shares:
            paid = EXACT.add(self._spent, EXACT.multiply(shares, price))
            average = Price(AVERAGE.divide(paid, filled))
        return msgspec.structs.replace(
            self,
            status=OrderStatus.FILLED if shares == self.left(price) else OrderStatus.ACCEPTED,
            updated=at,
            seen=seen,
            filled=filled,
            average=average,
            pieces=self.pieces + 1,
        )

    def report(self) -> OrderReport:
        """Say how far it is."""
        return OrderReport(
            order=self.request.order,
            broker_order=f"paper-{self.number}",
            symbol=self.request.symbol,
            side=self.request.side,
            status=self.status,
            at=self.updated,
            filled=self.filled,
            average=self.average,
            notional=self.request.notional,
            quantity=self.request.quantity,
        )


class PaperBook:
    """Cash, holdings and orders. Every change is durable before it is told.

    Attributes:
        cash: all of it, with what open orders claim.
        holdings: what is held, by symbol.
        orders: how many orders were ever taken.
        open_orders: those that may still fill, by client order id, oldest first.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """Name the file; nothing is read yet.

        Args:
            path: the file; its folder is made where there is none.
            durable: survive a loss of power, too, not only of the process.
        """
        self._path = path
        self._durable = durable
        self.cash: Dollars = NO_DOLLARS
        self.holdings: dict[str, Holding] = {}
        self.orders = 0
        self.open_orders: dict[str, PaperOrder] = {}

    def open(self, cash: Dollars, holdings: Mapping[str, Holding]) -> None:
        """Open the book, with these entries if it is new. No other process can, until it is closed.

        Raises:
            BrokerError: the file cannot be used.
        """
        with self._explained("open"), contextlib.ExitStack() as undo:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(self._path, isolation_level=None, timeout=BUSY_WITHIN)
            self._connection = undo.enter_context(contextlib.closing(connection))
            # Cash and holdings are kept in memory too: a second writer must not even begin.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            is_new = self._check_is_ours()
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'OFF'}")
            with self._transaction():
                if is_new:
                    self._enter(cash, holdings)
                for statement in LATER_TABLES:
                    self._connection.execute(statement)
            self._read()
            undo.pop_all()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def order(self, order: str) -> PaperOrder | None:
        """Find an order by its client order id.

        Raises:
            BrokerError: the file cannot be read.
        """
        with self._explained("read"):
            row = self._connection.execute("SELECT body FROM orders WHERE id = ?", (order,)).fetchone()
            return None if row is None else msgspec.json.decode(row[0], type=PaperOrder)

    @property
    def free_cash(self) -> Dollars:
        """Cash that no open order may take."""
        return Dollars(self.cash - sum((order.claim for order in self.open_orders.values()), NO_DOLLARS))

    def free_shares(self, symbol: str) -> Shares:
        """Shares that no open order may sell."""
        free: Decimal = self.holdings.get(symbol, Holding(NO_SHARES, None)).shares
        for order in self.open_orders.values():
            request = order.request
            if request.symbol == symbol and request.side is Side.TRIM and request.quantity is not None:
                free -= request.quantity - order.filled
        return Shares(free)

    def save(self, order: PaperOrder) -> None:
        """Write a new or an open order, and the cash and shares that its newest fills moved.

        Raises:
            BrokerError: the file cannot be written; nothing was.
        """
        before = self.open_orders.get(order.request.order)
        filled, paid = (NO_SHARES, NO_DOLLARS) if before is None else (before.filled, before.cash)
        shares, amount = Shares(order.filled - filled), Dollars(order.cash - paid)
        cash, holding = self._moved(order, shares, amount)
        with self._explained("write"), self._transaction():
            self._write(order, is_new=before is None)
            if shares:
                self._write_standing(order.request.symbol, cash, holding)
        self.cash = cash
        self.orders = max(self.orders, order.number)
        if holding.shares:
            self.holdings[order.request.symbol] = holding
        else:
            self.holdings.pop(order.request.symbol, None)
        if order.open:
            self.open_orders[order.request.order] = order
        else:
            self.open_orders.pop(order.request.order, None)

    def note(self, by_hand: ByHand) -> None:
        """Take over what people did since the last time; the first time, only remember it.

        Raises:
            BrokerError: the file cannot be written; nothing was.
        """
        with self._explained("write"), self._transaction():
            known = self._connection.execute("SELECT cash FROM paid_in").fetchone()
            before = {
                symbol: Holding(Shares(Decimal(shares)), Dollars(Decimal(cost)))
                for symbol, shares, cost in self._connection.execute("SELECT * FROM by_hand")
            }
            cash, moved = self.cash, dict[str, Holding]()
            if known is not None:
                cash = Dollars(cash + by_hand.paid_in - Decimal(known[0]))
                for symbol in sorted({*before, *by_hand.traded}):
                    then, now = (each.get(symbol, NOTHING) for each in (before, by_hand.traded))
                    shares, cost = (
                        Shares(now.shares - then.shares),
                        Dollars((now.cost or NO_DOLLARS) - (then.cost or NO_DOLLARS)),
                    )
                    moved[symbol] = _traded(self.holdings.get(symbol, NOTHING), shares, cost)
                    cash = Dollars(cash - cost)
            for symbol, more in self._later_openings(by_hand.opened):
                held = moved.get(symbol) or self.holdings.get(symbol, NOTHING)
                moved[symbol] = Holding(Shares(held.shares + more), None if held.shares else NO_DOLLARS)
            self._remember(by_hand)
            for symbol, holding in moved.items():
                self._write_standing(symbol, cash, holding)
            self._connection.execute("UPDATE account SET cash = ?", (str(cash),))
        self.cash = cash
        self.holdings |= moved
        self.holdings = {symbol: holding for symbol, holding in self.holdings.items() if holding.shares}

    def _later_openings(self, opened: Mapping[str, Holding]) -> list[tuple[str, Shares]]:
        """Give the shares of positions that began after the book did, which opened with those of the first ones."""
        rows = self._connection.execute("SELECT * FROM opened")
        before = {symbol: Shares(Decimal(shares)) for symbol, shares in rows}
        known = self._connection.execute("SELECT count(*) FROM openings").fetchone()[0]
        grown = [(symbol, Shares(now.shares - before.get(symbol, NO_SHARES))) for symbol, now in opened.items()]
        self._connection.execute("INSERT OR IGNORE INTO openings VALUES (1)")
        newest = [(symbol, str(now.shares)) for symbol, now in opened.items()]
        self._connection.executemany("INSERT OR REPLACE INTO opened VALUES (?, ?)", newest)
        return [(symbol, more) for symbol, more in grown if more > 0] if known else []

    def _remember(self, by_hand: ByHand) -> None:
        self._connection.execute("INSERT OR REPLACE INTO paid_in VALUES (1, ?)", (str(by_hand.paid_in),))
        self._connection.execute("DELETE FROM by_hand")
        rows = [_row(symbol, each) for symbol, each in by_hand.traded.items()]
        self._connection.executemany("INSERT INTO by_hand VALUES (?, ?, ?)", rows)

    def _moved(self, order: PaperOrder, shares: Shares, amount: Dollars) -> tuple[Dollars, Holding]:
        """Give cash and holding after a fill."""
        held = self.holdings.get(order.request.symbol, NOTHING)
        if order.request.side is Side.ACCUMULATE:
            return Dollars(self.cash - amount), _traded(held, shares, amount)
        return Dollars(self.cash + amount), _traded(held, Shares(-shares), Dollars(-amount))

    # The file

    def _check_is_ours(self) -> bool:
        """Tell whether the file is new; refuse it if somebody else made it."""
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        mark = self._connection.execute("PRAGMA application_id").fetchone()[0]
        if tables and mark != APPLICATION_ID:
            message = f"{self._path}: it is a database, but not a paper broker's book; name another file"
            raise BrokerError(message)
        return not tables

    def _enter(self, cash: Dollars, holdings: Mapping[str, Holding]) -> None:
        for statement in SCHEMA:
            self._connection.execute(statement)
        self._connection.execute("INSERT INTO account VALUES (1, ?)", (str(cash),))
        rows = [_row(symbol, holding) for symbol, holding in holdings.items()]
        self._connection.executemany("INSERT INTO holdings VALUES (?, ?, ?)", rows)

    def _read(self) -> None:
        run = self._connection.execute
        self.cash = Dollars(Decimal(run("SELECT cash FROM account").fetchone()[0]))
        self.holdings = {
            symbol: Holding(Shares(Decimal(shares)), None if cost is None else Dollars(Decimal(cost)))
            for symbol, shares, cost in run("SELECT * FROM holdings ORDER BY symbol")
            if Decimal(shares)
        }
        self.orders = run("SELECT coalesce(max(number), 0) FROM orders").fetchone()[0]
        for (body,) in run("SELECT body FROM orders WHERE open ORDER BY number"):
            order = msgspec.json.decode(body, type=PaperOrder)
            self.open_orders[order.request.order] = order

    def _write(self, order: PaperOrder, *, is_new: bool) -> None:
        statement = "UPDATE orders SET open = :open, body = :body WHERE number = :number"
        if is_new:
            statement = "INSERT INTO orders VALUES (:number, :id, :open, :body)"
        body = msgspec.json.encode(order).decode()
        row = {"number": order.number, "id": order.request.order, "open": order.open, "body": body}
        self._connection.execute(statement, row)

    def _write_standing(self, symbol: str, cash: Dollars, holding: Holding) -> None:
        self._connection.execute("UPDATE account SET cash = ?", (str(cash),))
        self._connection.execute("INSERT OR REPLACE INTO holdings VALUES (?, ?, ?)", _row(symbol, holding))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:  # Whatever ends it, also a cancellation, half a change must not stay; it goes on up.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn what SQLite and the file system say into a ``BrokerError`` that says what to do."""
        try:
            yield
        except (sqlite3.Error, OSError, msgspec.DecodeError, InvalidOperation) as error:
            message = f"{self._path}: cannot {doing} the paper broker's book: {error}; {_advice(error)}"
            raise BrokerError(message) from error


def _traded(held: Holding, shares: Shares, cost: Dollars) -> Holding:
    """Give a holding after a purchase, or after a sale (negative shares), which takes its part of the cost along."""
    rest = Shares(held.shares + shares)
    if held.cost is None or shares == 0:
        return Holding(rest, held.cost)
    if shares > 0:
        return Holding(rest, Dollars(held.cost + cost))
    return Holding(
        rest, cents(EXACT.divide(EXACT.multiply(held.cost, rest), held.shares)) if held.shares else held.cost
    )


def _row(symbol: str, holding: Holding) -> tuple[str, str, str | None]:
    return symbol, str(holding.shares), None if holding.cost is None else str(holding.cost)


def _advice(error: Exception) -> str:
    """Say what to do about an error."""
    text = str(error)
    if "locked" in text:
        return "another process has it open: stop that one, or name another file"
    if "full" in text or "disk I/O" in text:
        return "free some space on its disk, then start again; what was acknowledged is safe"
    if isinstance(error, OSError) or "readonly" in text or "unable to open" in text:
        return "name a file in a folder that this user may write, then start again"
    return "keep the file, and restore it from a backup together with the journal"
