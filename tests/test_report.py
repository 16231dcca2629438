"""The summary of a run, figure by figure, worked out anew from what ``events --json`` says and from the recording."""

from __future__ import annotations

import csv
from decimal import ROUND_HALF_EVEN, Decimal
from importlib import resources
from pathlib import Path

import pytest

from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.policy import AccountRules, PortfolioRules, Side
from mrdaemon.core.portfolio import apply
from mrdaemon.core.state import State
from mrdaemon.report import Summary, summarize
from tests.builders import dollars, rules
from tests.running import Object, Place, mrdaemon

TARGET, RESERVE = Decimal(5000), Decimal(50000)


def cent(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_EVEN)


def total(events: list[Object], field: str) -> Decimal:
    return sum((Decimal(each[field]) for each in events), Decimal(0))


# The demo, by hand


class Demo:
    """What the demo said, and what it left behind."""

    def __init__(self, state: Path) -> None:
        run = mrdaemon("demo", "--fast", "--json", "--state", state)
        assert run.code == 0
        self.summary = run.objects[-1]
        self.events = mrdaemon("events", "--json", "--state", state).objects
        self.fills = self.of("order_filled")
        self.buys = [each for each in self.fills if each["side"] == "accumulate"]
        self.sells = [each for each in self.fills if each["side"] == "trim"]
        with (resources.files("mrdaemon.data") / "demo.csv").open() as file:
            rows = list(csv.DictReader(file))
        self.first = {each["symbol"]: Decimal(each["price"]) for each in reversed(rows)}
        self.last = {each["symbol"]: Decimal(each["price"]) for each in rows}

    def of(self, kind: str) -> list[Object]:
        return [each for each in self.events if each["kind"] == kind]

    def shares(self, symbol: str) -> Decimal:
        bought = total([each for each in self.buys if each["symbol"] == symbol], "shares")
        return bought - total([each for each in self.sells if each["symbol"] == symbol], "shares")

    def worth(self) -> Decimal:
        return sum((cent(self.shares(symbol) * price) for symbol, price in self.last.items()), Decimal(0))

    def reserve_after_each_fill(self) -> list[Decimal]:
        reserve, path = RESERVE, []
        for fill in self.fills:
            reserve += Decimal(fill["amount"]) * (1 if fill["side"] == "trim" else -1)
            path.append(reserve)
        return path

    def first_lots_first(self) -> tuple[Decimal, Decimal]:
        """Give the realized gain, and the cost of what is left."""
        realized, left = Decimal(0), Decimal(0)
        for symbol in self.last:
            gain, cost = first_lots_first([each for each in self.fills if each["symbol"] == symbol])
            realized, left = realized + gain, left + cost
        return realized, left


def first_lots_first(fills: list[Object]) -> tuple[Decimal, Decimal]:
    lots: list[tuple[Decimal, Decimal]] = []
    gain = Decimal(0)
    for fill in fills:
        shares, amount = Decimal(fill["shares"]), Decimal(fill["amount"])
        if fill["side"] == "accumulate":
            lots.append((shares, amount))
            continue
        gain += amount
        while shares:
            held, cost = lots.pop(0)
            sold = min(held, shares)
            part = cost if sold == held else cent(cost * sold / held)
            gain -= part
            shares -= sold
            if sold < held:
                lots.insert(0, (held - sold, cost - part))
    return gain, sum((cost for _, cost in lots), Decimal(0))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return Demo(tmp_path_factory.mktemp("demo") / "state")


def test_the_demo_counts_signals_buys_and_sells(demo: Demo) -> None:
    orders = {each["order"]: each["side"] for each in demo.fills}
    assert demo.summary["signals"] == len(demo.of("signal_raised")) == 442
    assert demo.summary["held"] == len(demo.of("signal_held")) == 0
    assert demo.summary["buys"] == list(orders.values()).count("accumulate") == 188
    assert demo.summary["sells"] == list(orders.values()).count("trim") == 254
    assert [line["buys"] + line["sells"] for line in demo.summary["positions"]] == [
        len({each["order"] for each in demo.fills if each["symbol"] == line["symbol"]})
        for line in demo.summary["positions"]
    ]


def test_the_demo_totals_what_was_bought_and_sold(demo: Demo) -> None:
    assert Decimal(demo.summary["bought"]) == total(demo.buys, "amount")
    assert Decimal(demo.summary["sold"]) == total(demo.sells, "amount")
    assert demo.summary["fees"] == "0.00"


def test_the_demo_says_how_much_of_the_reserve_was_used_and_is_left(demo: Demo) -> None:
    path = demo.reserve_after_each_fill()
    assert [each["amount"] for each in demo.fills[:5]] == ["5000.00"] * 5
    assert (demo.summary["initial_buys"], demo.summary["initial"]) == (5, "25000.00")
    assert Decimal(demo.summary["reserve_at_start"]) == path[4] == RESERVE - 5 * TARGET
    assert Decimal(demo.summary["reserve_used"]) == path[4] - min(path[4:])
    assert Decimal(demo.summary["reserve_left"]) == path[-1]


def test_the_demo_says_what_was_gained(demo: Demo) -> None:
    realized, cost = demo.first_lots_first()
    assert Decimal(demo.summary["realized"]) == realized == total(demo.sells, "gain")
    assert Decimal(demo.summary["unrealized"]) == demo.worth() - cost
    assert Decimal(demo.summary["started_with"]) == RESERVE
    assert Decimal(demo.summary["ends_with"]) == demo.worth() + demo.reserve_after_each_fill()[-1]
    assert Decimal(demo.summary["gain"]) == Decimal(demo.summary["ends_with"]) - RESERVE
    assert Decimal(demo.summary["gain"]) == realized + Decimal(demo.summary["unrealized"])


def test_the_demo_compares_itself_with_holding_the_targets(demo: Demo) -> None:
    held = sum((TARGET / demo.first[symbol] * demo.last[symbol] for symbol in demo.first), Decimal(0))
    baseline = demo.summary["baselines"][0]
    assert baseline["name"] == "holding the targets, reserve in cash"
    assert Decimal(baseline["ends_with"]) == cent(held + RESERVE - 5 * TARGET)
    assert Decimal(baseline["gain"]) == cent(held - 5 * TARGET)


def test_the_demo_compares_itself_with_investing_everything_on_day_one(demo: Demo) -> None:
    invested = sum((RESERVE / 5 / demo.first[symbol] * demo.last[symbol] for symbol in demo.first), Decimal(0))
    baseline = demo.summary["baselines"][1]
    assert baseline["name"] == "target and reserve invested on day one"
    assert Decimal(baseline["ends_with"]) == cent(invested)
    assert Decimal(baseline["gain"]) == cent(invested - RESERVE)


# Positions that were there before, deposits, unknown costs


def summary_of(place: Place, *prices: float) -> Object:
    return place.record(*prices).run().objects[-1]


def test_shares_that_were_there_at_the_start_count_at_the_first_price(tmp_path: Path) -> None:
    place = Place(tmp_path / "place").configure(opening='shares = "50"\ncost = "4000"')
    summary = summary_of(place, 100, 90, 99)
    assert summary["started_with"] == "15000.00"
    assert summary["initial"] == "0.00"
    assert summary["reserve_used"] == "500.00"
    assert summary["ends_with"] == str(9500 + cent(Decimal("55.555555555") * 99))
    assert [each["ends_with"] for each in summary["baselines"]] == ["14950.00", "14850.00"]


def test_the_gain_of_shares_without_a_known_cost_is_unknown(tmp_path: Path) -> None:
    place = Place(tmp_path / "place").configure(opening='shares = "50"')
    assert summary_of(place, 100, 101)["unrealized"] is None


def test_a_run_that_goes_on_sums_up_both_parts(tmp_path: Path) -> None:
    parts, whole = Place(tmp_path / "parts").configure(), Place(tmp_path / "whole").configure()
    summary_of(parts, 100, 90, 110)
    assert summary_of(parts, 100, 104) == summary_of(whole, 100, 90, 110, 100, 104)


def folded(*events: ev.Event) -> Summary:
    state = State()
    for event in events:
        apply(state, event)
    return summarize(state, lambda _: Price(Decimal(100)))


AT = Instant(0)
OPENED = (
    ev.AccountConfigured(at=AT, account="paper", rules=AccountRules()),
    ev.PortfolioConfigured(at=AT, portfolio="core", rules=PortfolioRules(account="paper", floor=dollars(0))),
    ev.ReserveDeposited(at=AT, portfolio="core", amount=dollars(1000), by="configuration"),
    ev.PositionConfigured(at=AT, portfolio="core", symbol="QQQ", rules=rules()),
    ev.PositionOpened(at=AT, portfolio="core", symbol="QQQ", shares=Shares(Decimal(50)), cost=dollars(5000)),
)


def by_hand(side: Side, shares: int, amount: int) -> ev.FillReported:
    return ev.FillReported(
        at=AT,
        portfolio="core",
        symbol="QQQ",
        side=side,
        shares=Shares(Decimal(shares)),
        price=Price(Decimal(amount) / shares),
        amount=dollars(amount),
        by="operator",
    )


def test_what_was_used_of_the_reserve_is_the_deepest_draw_whatever_was_deposited_later() -> None:
    deposit = ev.ReserveDeposited(at=AT, portfolio="core", amount=dollars(9000), by="operator")
    buy, sell = by_hand(Side.ACCUMULATE, 3, 300), by_hand(Side.TRIM, 5, 500)
    summary = folded(*OPENED, buy, sell, deposit, by_hand(Side.ACCUMULATE, 1, 100))
    assert summary.reserve_used == dollars(300)
    assert summary.reserve_left == dollars(10_100)


def test_nothing_is_compared_before_there_is_a_price() -> None:
    assert folded(*OPENED).baselines == ()
    assert folded(*OPENED).started_with is None
