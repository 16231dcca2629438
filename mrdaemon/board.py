"""The positions as a picture for a terminal: where each value stands in its zone, at any width and height."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Final, NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from mrdaemon.core.money import Dollars, show, show_shares
from mrdaemon.core.policy import TradingState
from mrdaemon.show import age
from mrdaemon.status import PositionStatus

NARROWEST_GAUGE: Final = 9
WIDEST_GAUGE: Final = 31
ROOMY: Final = 17
"""A gauge of so many characters leaves room for a second blank between the columns."""


class Glyphs(NamedTuple):
    """What a gauge is drawn with."""

    lower: str
    line: str
    target: str
    upper: str
    value: str
    below: str
    above: str
    done: str
    left: str


BOXES: Final = Glyphs("├", "─", "┼", "┤", "●", "◀", "▶", "━", "─")
LETTERS: Final = Glyphs("[", "-", "+", "]", "o", "<", ">", "=", "-")
"""For a terminal that shows nothing but ASCII."""


def glyphs_for(encoding: str) -> Glyphs:
    """Choose what an encoding can write."""
    try:
        "".join(BOXES).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return LETTERS
    return BOXES


class Band(NamedTuple):
    """A zone as it is drawn: its target between its edges."""

    lower: Dollars
    target: Dollars
    upper: Dollars


def gauge(band: Band, worth: Dollars, size: int, glyphs: Glyphs = BOXES) -> str:
    """Draw where a value stands in its zone.

    The ends are the edges, the middle is the target; at or beyond an edge the mark becomes an arrow.
    """
    middle = size // 2
    width = band.target - band.lower if worth <= band.target else band.upper - band.target
    place = min(max(middle + round((worth - band.target) / width * middle), 1), size - 2)
    cells = [glyphs.line] * size
    cells[0], cells[middle], cells[-1] = glyphs.lower, glyphs.target, glyphs.upper
    if worth <= band.lower:
        cells[0] = glyphs.below
    elif worth >= band.upper:
        cells[-1] = glyphs.above
    else:
        cells[place] = glyphs.value
    return "".join(cells)


def progress(part: float, size: int, glyphs: Glyphs = BOXES) -> str:
    """Draw how much of something is done."""
    done = round(min(max(part, 0.0), 1.0) * size)
    return glyphs.done * done + glyphs.left * (size - done)


class Column(NamedTuple):
    """A column: its name, its usual width, and what it shows of a position."""

    name: str
    width: int
    cell: Callable[[PositionStatus], str]


def _price(price: Decimal | None, rounding: str = ROUND_HALF_EVEN) -> str:
    """Write a price with two decimals, one below a dollar with four digits or more."""
    if price is None:
        return "-"
    places = 2 if price >= 1 or not price else 3 - price.adjusted()
    return f"{price.quantize(Decimal(1).scaleb(-places), rounding=rounding):,f}"


def _order(position: PositionStatus) -> str:
    if position.approval is not None and position.order is None:
        return "approve?"
    return position.order_state or "-"


SYMBOL: Final = Column("", 5, lambda each: each.symbol)
NAME: Final = Column("position", 8, lambda each: each.key)
"""In place of the symbol where there are several portfolios."""
MODE: Final = Column("mode", 7, lambda each: each.mode)
SHARES: Final = Column("shares", 12, lambda each: show_shares(each.shares))
PRICE: Final = Column("price", 8, lambda each: _price(each.price))
AGE: Final = Column("age", 3, lambda each: "-" if each.age is None else age(each.age))
VALUE: Final = Column("value", 9, lambda each: "-" if each.value is None else show(each.value))
TARGET: Final = Column("target", 9, lambda each: show(each.target))
OFF: Final = Column("off", 6, lambda each: "-" if each.deviation is None else f"{each.deviation:+.1%}")
ZONE: Final = Column("zone", NARROWEST_GAUGE, lambda _: "")
BUY_AT: Final = Column("buy at", 8, lambda each: _price(each.accumulate_at, ROUND_FLOOR))
SELL_AT: Final = Column("sell at", 8, lambda each: _price(each.trim_at, ROUND_CEILING))
ORDER: Final = Column("order", 9, _order)
BUYS: Final = Column("buys", 4, lambda each: str(each.buys))
SELLS: Final = Column("sells", 5, lambda each: str(each.sells))
REALIZED: Final = Column("realized", 10, lambda each: show(each.realized))


class View(NamedTuple):
    """Columns in their order, and what a narrow terminal goes without, first things first."""

    columns: tuple[Column, ...]
    dropped: tuple[Column, ...]


PICTURE: Final = View(
    (SYMBOL, PRICE, VALUE, TARGET, ZONE, BUY_AT, SELL_AT, BUYS, SELLS),
    (BUYS, SELLS, BUY_AT, SELL_AT, TARGET, PRICE, ZONE, VALUE),
)
"""What a run, and a look at a journal, show."""
WATCH: Final = View(
    (
        SYMBOL,
        MODE,
        SHARES,
        PRICE,
        AGE,
        VALUE,
        TARGET,
        OFF,
        ZONE,
        BUY_AT,
        SELL_AT,
        ORDER,
        BUYS,
        SELLS,
        REALIZED,
    ),
    (REALIZED, SHARES, MODE, BUYS, SELLS, OFF, PRICE, BUY_AT, SELL_AT, TARGET, AGE, ORDER, ZONE, VALUE),
)
"""What a watch of a running daemon shows."""
LEFT: Final = frozenset({SYMBOL, NAME, MODE, ZONE, ORDER})
"""Columns of words; figures stand at the right."""


class Layout(NamedTuple):
    """The columns that fit, their widths, and the blanks between them."""

    columns: list[Column]
    widths: dict[str, int]
    gap: int


def lay_out(positions: Sequence[PositionStatus], width: int, view: View = PICTURE) -> Layout:
    """Choose the columns for a width. They keep their places while the figures change."""
    columns = list(view.columns)
    if len({each.portfolio for each in positions}) > 1:
        columns[columns.index(SYMBOL)] = NAME
    widths = {each.name: max([each.width, *(len(each.cell(one)) for one in positions)]) for each in columns}
    widths[VALUE.name] = max(widths[VALUE.name], widths[TARGET.name])
    gap = 1
    for column in view.dropped:
        if _needed(columns, widths) <= width:
            break
        if column in columns:
            columns.remove(column)
    spare = width - _needed(columns, widths)
    if NARROWEST_GAUGE + spare - len(columns) + 1 >= ROOMY:
        gap, spare = 2, spare - len(columns) + 1
    size = min(NARROWEST_GAUGE + max(0, spare), WIDEST_GAUGE)
    widths[ZONE.name] = size - 1 + size % 2  # Odd, so that it has a middle.
    return Layout(columns, widths, gap)


def _needed(columns: Sequence[Column], widths: dict[str, int]) -> int:
    return sum(widths[each.name] for each in columns) + len(columns) - 1


def urgency(position: PositionStatus) -> Decimal:
    """Tell how soon a person wants to see a position: first what needs one, then by how near its edge is.

    1 is at an edge, 0 at the target.
    """
    if position.remarks and not position.retired:
        return Decimal(1000)
    if position.value is None or position.lower is None or position.upper is None:
        return Decimal(-1)
    below = position.value <= position.target
    width = position.target - position.lower if below else position.upper - position.target
    return abs(position.value - position.target) / width


class Board:
    """Positions, lines below, and what keeps positions from trading; as wide as the terminal it is printed on.

    Where there are more positions than rows, those that a person wants to see first are shown, and the rest is counted.
    """

    def __init__(
        self,
        positions: Sequence[PositionStatus],
        below: Sequence[str],
        *,
        view: View = PICTURE,
        rows: int | None = None,
    ) -> None:
        self._positions = positions
        self._below = below
        self._view = view
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out."""
        glyphs = glyphs_for(options.encoding)
        shown, remarks, left_out = self._fitted()
        layout = lay_out(self._positions, options.max_width, self._view)
        table = Table(box=None, padding=(0, layout.gap, 0, 0), pad_edge=False, header_style="bold")
        for column in layout.columns:
            left = column in LEFT
            table.add_column(
                column.name, width=layout.widths[column.name], no_wrap=True, justify="left" if left else "right"
            )
        for each in shown:
            table.add_row(*[_cell(each, column, layout.widths, glyphs) for column in layout.columns])
        yield table
        if left_out:
            yield single(f"and {left_out:,} more", "dim")
        yield Text("")
        for text in self._below:
            yield single(text)
        for text in remarks:
            yield single(text, "yellow")

    def _fitted(self) -> tuple[Sequence[PositionStatus], list[str], int]:
        """Choose what fits: positions, remarks, and how many positions are left out."""
        remarks = [f"{each.symbol}: {remark}" for each in self._positions for remark in each.remarks]
        if self._rows is None:
            return self._positions, remarks, 0
        room = max(1, self._rows - len(self._below) - 2)  # The header, and a blank line.
        if len(self._positions) + len(remarks) <= room:
            return self._positions, remarks, 0
        most = max(0, min(len(remarks), room // 3))
        if len(remarks) > most:
            remarks = [*remarks[: most - 1], f"and {len(remarks) - most + 1} more remarks"] if most else []
        room = max(1, room - len(remarks))
        if len(self._positions) <= room:
            return self._positions, remarks, 0
        first = sorted(self._positions, key=urgency, reverse=True)[: max(1, room - 1)]
        return first, remarks, len(self._positions) - len(first)


def _cell(each: PositionStatus, column: Column, widths: dict[str, int], glyphs: Glyphs) -> Text:
    if column in {SYMBOL, NAME}:
        return Text(column.cell(each), style=_alarm(each) or "bold")
    if column is ORDER and (each.order is not None or each.approval is not None):
        return Text(column.cell(each), style="yellow")
    if column is AGE and each.stale:
        return Text(column.cell(each), style="bold red")
    if column is not ZONE:
        return Text(column.cell(each))
    if each.lower is None or each.upper is None or each.value is None:
        return Text("no price yet", style="dim", overflow="ellipsis")
    band = Band(each.lower, each.target, each.upper)
    drawn = Text(gauge(band, each.value, widths[ZONE.name], glyphs), style="dim")
    mark = "red" if each.value <= band.lower else "green" if each.value >= band.upper else "cyan"
    drawn.highlight_words([glyphs.value, glyphs.below, glyphs.above], f"not dim bold {mark}")
    return drawn


def _alarm(each: PositionStatus) -> str | None:
    if each.retired:
        return "dim"
    stopped = each.halted is not None or each.frozen is not None or each.trading is TradingState.HALTED
    return "bold red" if stopped else None


def single(text: str, style: str = "") -> Text:
    """Give one line that is cut where the terminal ends."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


class Progress(NamedTuple):
    """What a run is called, the day it has reached, and how much of the recording that is."""

    title: str
    day: str
    part: float | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out on two lines."""
        yield single(self.title, "bold")
        line = self.day
        if self.part is not None:
            size = min(options.max_width - 20, 60)
            line += f"  {progress(self.part, size, glyphs_for(options.encoding))} {self.part:>4.0%}"
        yield single(line)
        yield Text("")


class News(NamedTuple):
    """The newest lines of what happened, always as many."""

    lines: Sequence[str]
    size: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out, the newest last."""
        shown = list(self.lines)[-self.size :]
        for text in [*shown, *[""] * (self.size - len(shown))]:
            yield single(text, "dim")
