"""The positions as a picture for a terminal: where each value stands in its zone, at any width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from mrdaemon.core.money import Dollars, show
from mrdaemon.core.policy import Side
from mrdaemon.core.state import State
from mrdaemon.core.zone import Zone
from mrdaemon.report import PriceOf
from mrdaemon.show import Look, look, recorded_prices, reserve_lines

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


def gauge(zone: Zone, worth: Dollars, size: int, glyphs: Glyphs = BOXES) -> str:
    """Draw where a value stands in its zone.

    The ends are the edges, the middle is the target; at or beyond an edge the mark becomes an arrow.
    """
    middle = size // 2
    width = zone.width(Side.ACCUMULATE if worth <= zone.target else Side.TRIM)
    place = min(max(middle + round((worth - zone.target) / width * middle), 1), size - 2)
    cells = [glyphs.line] * size
    cells[0], cells[middle], cells[-1] = glyphs.lower, glyphs.target, glyphs.upper
    if worth <= zone.lower:
        cells[0] = glyphs.below
    elif worth >= zone.upper:
        cells[-1] = glyphs.above
    else:
        cells[place] = glyphs.value
    return "".join(cells)


def progress(part: float, size: int, glyphs: Glyphs = BOXES) -> str:
    """Draw how much of something is done."""
    done = round(min(max(part, 0.0), 1.0) * size)
    return glyphs.done * done + glyphs.left * (size - done)


class Column(NamedTuple):
    """A column of figures: its name, its usual width, and what it shows of a position."""

    name: str
    width: int
    cell: Callable[[Look], str]


def _price(price: Decimal | None) -> str:
    return "-" if price is None else f"{price:,.2f}"


SYMBOL: Final = Column("", 5, lambda each: each.position.symbol)
PRICE: Final = Column("price", 8, lambda each: _price(each.price))
VALUE: Final = Column("value", 9, lambda each: "-" if each.value is None else show(each.value))
TARGET: Final = Column("target", 9, lambda each: show(each.position.target))
ZONE: Final = Column("zone", NARROWEST_GAUGE, lambda _: "")
BUY_AT: Final = Column("buy at", 8, lambda each: _price(each.buy_at))
SELL_AT: Final = Column("sell at", 8, lambda each: _price(each.sell_at))
BUYS: Final = Column("buys", 4, lambda each: str(each.position.buys))
SELLS: Final = Column("sells", 5, lambda each: str(each.position.sells))
COLUMNS: Final = (SYMBOL, PRICE, VALUE, TARGET, ZONE, BUY_AT, SELL_AT, BUYS, SELLS)
DROPPED: Final = (BUYS, SELLS, BUY_AT, SELL_AT, TARGET, PRICE, ZONE, VALUE)
"""What a narrow terminal goes without, first things first."""


class Layout(NamedTuple):
    """The columns that fit, their widths, and the blanks between them."""

    columns: list[Column]
    widths: dict[str, int]
    gap: int


def lay_out(positions: Sequence[Look], width: int) -> Layout:
    """Choose the columns for a width. They keep their places while the figures change."""
    widths = {each.name: max([each.width, *(len(each.cell(one)) for one in positions)]) for each in COLUMNS}
    widths[VALUE.name] = max(widths[VALUE.name], widths[TARGET.name])
    columns, gap = list(COLUMNS), 1
    for column in DROPPED:
        if _needed(columns, widths) <= width:
            break
        columns.remove(column)
    spare = width - _needed(columns, widths)
    if NARROWEST_GAUGE + spare - len(columns) + 1 >= ROOMY:
        gap, spare = 2, spare - len(columns) + 1
    size = min(NARROWEST_GAUGE + max(0, spare), WIDEST_GAUGE)
    widths[ZONE.name] = size - 1 + size % 2  # Odd, so that it has a middle.
    return Layout(columns, widths, gap)


def _needed(columns: Sequence[Column], widths: dict[str, int]) -> int:
    return sum(widths[each.name] for each in columns) + len(columns) - 1


class Board:
    """Positions, amounts below, and what keeps positions from trading; as wide as the terminal it is printed on."""

    def __init__(self, state: State, price_of: PriceOf, amounts: Sequence[str]) -> None:
        self._positions = [look(state, each, price_of) for each in state.positions.values()]
        self._amounts = amounts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out."""
        glyphs = glyphs_for(options.encoding)
        layout = lay_out(self._positions, options.max_width)
        table = Table(box=None, padding=(0, layout.gap, 0, 0), pad_edge=False, header_style="bold")
        for column in layout.columns:
            left = column in {SYMBOL, ZONE}
            table.add_column(
                column.name, width=layout.widths[column.name], no_wrap=True, justify="left" if left else "right"
            )
        for each in self._positions:
            table.add_row(*[_cell(each, column, layout.widths, glyphs) for column in layout.columns])
        yield table
        yield Text("")
        for amount in self._amounts:
            yield _single(amount)
        for each in self._positions:
            for remark in each.remarks:
                yield Text(f"{each.position.symbol}: {remark}", style="yellow")


def render(state: State) -> None:
    """Print what the journal has."""
    Console().print(Board(state, recorded_prices(state), reserve_lines(state)))


def _cell(each: Look, column: Column, widths: dict[str, int], glyphs: Glyphs) -> Text:
    if column is SYMBOL:
        return Text(each.position.symbol, style="bold")
    if column is not ZONE:
        return Text(column.cell(each))
    if each.zone is None or each.value is None:
        return Text("no price yet", style="dim", overflow="ellipsis")
    drawn = Text(gauge(each.zone, each.value, widths[ZONE.name], glyphs), style="dim")
    mark = "red" if each.value <= each.zone.lower else "green" if each.value >= each.zone.upper else "cyan"
    drawn.highlight_words([glyphs.value, glyphs.below, glyphs.above], f"not dim bold {mark}")
    return drawn


def _single(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


class Progress(NamedTuple):
    """What a run is called, the day it has reached, and how much of the recording that is."""

    title: str
    day: str
    part: float | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out on two lines."""
        yield _single(self.title, "bold")
        line = self.day
        if self.part is not None:
            size = min(options.max_width - 20, 60)
            line += f"  {progress(self.part, size, glyphs_for(options.encoding))} {self.part:>4.0%}"
        yield _single(line)
        yield Text("")


class News(NamedTuple):
    """The newest lines of what happened, always as many."""

    lines: Sequence[str]
    size: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out, the newest last."""
        shown = list(self.lines)[-self.size :]
        for text in [*shown, *[""] * (self.size - len(shown))]:
            yield _single(text, "dim")
