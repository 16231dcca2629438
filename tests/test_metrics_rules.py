"""The alert rules and the Grafana dashboard: what they name exists, and each alert fires when it should."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec
import pytest
import yaml

from mrdaemon.core import events as ev
from mrdaemon.core.instant import iso
from mrdaemon.core.money import Dollars
from mrdaemon.core.policy import ChannelState, FeedState, TradingState
from mrdaemon.outbox import Delivery, Outcome
from mrdaemon.status import ChannelStatus, ReloadStatus, StreamStatus, StuckStatus
from mrdaemon.tally import Queue
from tests import promql
from tests.alerts_mqtt import STARTED, account, portfolio, position
from tests.builders import START
from tests.running import ROOT
from tests.scraping import DOCS, FEED, MeasuredView, documented, scrape, view

RULES: Final = yaml.safe_load((ROOT / "docs" / "prometheus" / "alerts.yml").read_text())
BOARD: Final = json.loads((ROOT / "docs" / "grafana" / "mrdaemon.json").read_text())
ADDED: Final = {"instance", "job"}
"""Labels that Prometheus itself adds."""
PARTS: Final = {"_bucket": {"le"}, "_sum": set[str](), "_count": set[str]()}
"""What a histogram is made of, and the label that it has besides."""
NOW: Final = iso(STARTED)


class Rule(NamedTuple):
    """An alert rule."""

    name: str
    expr: str
    severity: str
    summary: str
    description: str
    lasts: str


def rules() -> list[Rule]:
    return [
        Rule(
            each["alert"],
            each["expr"],
            each["labels"]["severity"],
            each["annotations"]["summary"],
            each["annotations"]["description"],
            each.get("for", "0s"),
        )
        for group in RULES["groups"]
        for each in group["rules"]
    ]


def queries() -> dict[str, str]:
    """Give every query of the rules and the dashboard, as Prometheus gets it."""
    found = {each.name: each.expr for each in rules()}
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    found |= {each["name"]: each["expr"] for each in BOARD["annotations"]["list"]}
    return {name: expr.replace("$__rate_interval", "5m") for name, expr in found.items()}


def metric_of(name: str) -> tuple[str, set[str]]:
    """Give the documented metric that a series belongs to, and the labels that it may have."""
    for ending, more in PARTS.items():
        base = name.removesuffix(ending)
        if base != name and documented().get(base, ("",))[0] == "histogram":
            return base, {*documented()[base].labels, *more, *ADDED}
    assert name in documented(), f"there is no metric {name}"
    assert documented()[name].kind != "histogram", f"{name} is a histogram: it has _bucket, _sum and _count"
    return name, {*documented()[name].labels, *ADDED}


def labels_after(query: promql.Query) -> set[str]:
    """Give the labels that the result of a query may have."""
    if isinstance(query, promql.Pair):
        return labels_after(query.left)
    if isinstance(query, promql.Gather):
        return set(query.by)
    return {label for each in query.selectors() for label in metric_of(each.name)[1]}


QUERIES: Final = queries()
by_name = pytest.mark.parametrize("name", QUERIES)


# What they name exists


@by_name
def test_every_metric_and_every_label_that_is_selected_exists(name: str) -> None:
    for selector in promql.parse(QUERIES[name]).selectors():
        _, labels = metric_of(selector.name)
        assert {label for label, _, _ in selector.matchers} <= labels


@by_name
def test_every_label_that_is_gathered_or_joined_by_exists(name: str) -> None:
    for part in promql.parts(promql.parse(QUERIES[name])):
        if isinstance(part, promql.Gather):
            assert set(part.by) <= labels_after(part.what)
        if isinstance(part, promql.Pair):
            assert set(part.on or ()) <= labels_after(part.left) & labels_after(part.right)


@by_name
def test_only_what_is_counted_has_a_rate(name: str) -> None:
    for part in promql.parts(promql.parse(QUERIES[name])):
        if isinstance(part, promql.Call) and part.name in promql.OF_COUNTERS:
            for selector in part.selectors():
                assert documented()[metric_of(selector.name)[0]].kind in {"counter", "histogram"}, selector.name


@by_name
def test_a_quantile_is_taken_of_buckets_that_keep_their_bounds(name: str) -> None:
    for part in promql.parts(promql.parse(QUERIES[name])):
        if isinstance(part, promql.Call) and part.name == "histogram_quantile":
            gathered = part.arguments[1]
            assert isinstance(gathered, promql.Gather)
            assert "le" in gathered.by
            assert all(each.name.endswith("_bucket") for each in gathered.selectors())


async def test_every_value_that_is_selected_by_is_one_that_there_is() -> None:
    found = await scrape(view())
    values = {
        (sample.name, label): {each.labels[label] for each in family.samples if each.name == sample.name}
        for family in found.families
        for sample in family.samples
        for label in sample.labels
    }
    for expr in QUERIES.values():
        for selector in promql.parse(expr).selectors():
            for label, how, wanted in selector.matchers:
                if label in {"state", "outcome", "guard", "decision", "side"}:
                    for each in wanted.split("|") if "~" in how else [wanted]:
                        assert each in values[selector.name, label]


@by_name
async def test_every_query_can_be_answered(name: str) -> None:
    expr = re.sub(r'\w+=~"\$\w+",?', "", QUERIES[name])
    seen = await history(healthy(), healthy())
    promql.parse(expr).evaluate(seen)


@pytest.mark.parametrize(
    "expr", ["mrdaemon_paused ==", "rate(mrdaemon_paused)", "sum by (x (a)", "nonsense(a)", "a{b=c}", "a b", "a[5m", ""]
)
def test_what_is_no_query_is_refused(expr: str) -> None:
    with pytest.raises(promql.QueryError):
        promql.parse(expr)


# What they are


def test_every_alert_says_what_is_the_matter_and_how_bad_it_is() -> None:
    names = [each.name for each in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule.severity in {"critical", "warning", "info"}
        assert rule.summary
        assert rule.description.endswith(".")
        assert re.fullmatch(r"\d+[smhd]", rule.lasts)
        assert set(re.findall(r"\$labels\.(\w+)", rule.summary + rule.description)) <= labels_after(
            promql.parse(rule.expr)
        )


def test_the_docs_say_of_every_alert_what_to_do() -> None:
    told = re.findall(r"^\| `(Mrdaemon\w+)` \| (\w+) \| .+ \| .+ \|$", DOCS, re.MULTILINE)
    assert told == [(each.name, each.severity) for each in rules()]


def test_the_dashboards_panels_lie_beside_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({each["id"] for each in BOARD["panels"]}) == len(BOARD["panels"])


def test_the_dashboard_asks_the_source_that_is_chosen() -> None:
    text = json.dumps(BOARD)
    assert set(re.findall(r'"uid": "([^"]+)"', text)) == {"mrdaemon", "${datasource}"}
    variables = {each["name"] for each in BOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval", "__all"} == variables


def test_nearly_every_metric_is_on_the_dashboard_or_has_an_alert() -> None:
    shown = {metric_of(each.name)[0] for expr in QUERIES.values() for each in promql.parse(expr).selectors()}
    assert set(documented()) - shown == {
        "mrdaemon_channel_state",
        "mrdaemon_channel_state_age_seconds",
        "mrdaemon_feed_ended",
        "mrdaemon_halt_file",
        "mrdaemon_journal_events_total",
        "mrdaemon_account_cash_dollars",
        "mrdaemon_account_open_orders",
        "mrdaemon_portfolio_reserved_dollars",
        "mrdaemon_position_paused",
        "mrdaemon_signals_held_total",
        "mrdaemon_signals_total",
        "mrdaemon_stream_state_age_seconds",
    }


# When they fire

Change = Callable[[MeasuredView], None]


def healthy() -> MeasuredView:
    """Show a daemon at which nothing is wrong."""
    found = view(
        streams=(StreamStatus("alpaca iex", FeedState.LIVE, NOW, ""),),
        channels=(ChannelStatus("phone", ChannelState.UP, NOW, "", 0),),
    )
    found.known = [position()]
    return found


async def history(*views: MeasuredView) -> list[promql.Scraping]:
    """Scrape daemons as they are one after the other, five minutes apart."""
    return [promql.scraping(300.0 * at, (await scrape(each)).families) for at, each in enumerate(views)]


async def firing(*views: MeasuredView) -> set[str]:
    """Give the alerts that fire, were it to last."""
    seen = await history(*views)
    return {each.name for each in rules() if promql.parse(each.expr).evaluate(seen)}


def overview(**changes: Any) -> Change:
    def change(found: MeasuredView) -> None:
        found.status = msgspec.structs.replace(found.status, **changes)

    return change


def one(**changes: Any) -> Change:
    def change(found: MeasuredView) -> None:
        found.known = [position(**changes)]

    return change


def footprint(**changes: Any) -> Change:
    def change(found: MeasuredView) -> None:
        found.footprint = found.footprint._replace(**changes)

    return change


def counts(*events: ev.Event) -> Change:
    return lambda found: found.tally.heed(events)


def of_account(**changes: Any) -> Change:
    return overview(accounts=(msgspec.structs.replace(account(), **changes),))


def of_portfolio(**changes: Any) -> Change:
    return overview(portfolios=(msgspec.structs.replace(portfolio(), **changes),))


def stream(state: FeedState) -> Change:
    return overview(streams=(StreamStatus("alpaca iex", state, NOW, ""),))


def channel(state: ChannelState, waiting: int) -> Change:
    return overview(channels=(ChannelStatus("phone", state, NOW, "", waiting),))


def connections(count: int) -> Change:
    up = ev.FeedStateChanged(at=START, feed="alpaca iex", state=FeedState.SUBSCRIBED)
    return counts(*[up] * (count + 1))


def ended(status: str) -> Change:
    return counts(ev.OrderEnded(at=START, portfolio="core", symbol="QQQ", order="mrd-1", status=status))


def ambiguous(count: int) -> Change:
    one = ev.OrderAmbiguous(at=START, portfolio="core", symbol="QQQ", order="mrd-1", reason="no answer")
    return counts(*[one] * count)


def queue(depth: int, dropped: int) -> Change:
    return lambda found: found.tally.queues.update(journal=Queue(lambda: depth, lambda: dropped))


def refused_alert(found: MeasuredView) -> None:
    found.tally.heed_alerts([Delivery("phone", 1, 0, Outcome.REFUSED)])


def slow(what: str, seconds: float) -> Change:
    def change(found: MeasuredView) -> None:
        steps = found.tally.latency
        {"commit": found.commits, "durable": steps.to_durable, "answer": steps.to_acknowledged}[what].add(seconds)

    return change


STUCK: Final = StuckStatus("news", "telling", 120.0, ended=False, reason="")
REFUSED: Final = ReloadStatus(NOW, ok=False, by="anna", why=("core.toml: it is no TOML",))
HALTED: Final = TradingState.HALTED
CASES: Final[Sequence[tuple[Change, set[str]]]] = [
    (overview(stuck=(STUCK,)), {"MrdaemonStuck"}),
    (overview(reload=REFUSED), {"MrdaemonConfigurationRefused"}),
    (overview(trading=TradingState.HALTED), {"MrdaemonHalted"}),
    (overview(trading=TradingState.REDUCING), {"MrdaemonReducing"}),
    (overview(paused=True), {"MrdaemonPaused"}),
    (of_portfolio(trading=HALTED), {"MrdaemonPortfolioHalted"}),
    (one(halted="shares differ"), {"MrdaemonPositionHalted"}),
    (one(frozen="it jumped"), {"MrdaemonSymbolFrozen"}),
    (one(deviation=Decimal("-0.31")), {"MrdaemonFarFromTarget"}),
    (one(stale=True), {"MrdaemonPricesStale"}),
    (of_portfolio(available=Dollars(Decimal(0))), {"MrdaemonReserveUsedUp"}),
    (of_portfolio(floor=Dollars(Decimal(2000))), {"MrdaemonReserveBelowFloor"}),
    (stream(FeedState.CONNECTING), {"MrdaemonStreamDown"}),
    (stream(FeedState.STALE), {"MrdaemonStreamDown"}),
    (stream(FeedState.REFUSED), {"MrdaemonStreamDown", "MrdaemonStreamRefused"}),
    (connections(6), {"MrdaemonStreamUnsteady"}),
    (overview(feed=msgspec.structs.replace(FEED, refused=50)), {"MrdaemonFeedMalformed"}),
    (of_account(ready=False), {"MrdaemonAccountNotReady"}),
    (of_account(covered=False), {"MrdaemonAccountNotCovered"}),
    (of_account(disputed="the clock"), {"MrdaemonClockDisputed"}),
    (of_account(ambiguous=1), {"MrdaemonOrderAmbiguous"}),
    (ambiguous(6), {"MrdaemonOrdersOftenAmbiguous"}),
    (ended("rejected"), {"MrdaemonOrdersRefused"}),
    (ended("abandoned"), {"MrdaemonOrdersRefused"}),
    (slow("answer", 20.0), {"MrdaemonBrokerSlow"}),
    (slow("durable", 2.0), {"MrdaemonDecisionsSlow"}),
    (slow("commit", 0.4), {"MrdaemonDiskSlow"}),
    (footprint(free=500_000_000), {"MrdaemonDiskFull"}),
    (footprint(free=4_900_000_000), {"MrdaemonDiskFull"}),
    (footprint(resident=2_000_000_000), {"MrdaemonMemory"}),
    (queue(5_000, 0), {"MrdaemonQueueLong"}),
    (queue(3, 1), {"MrdaemonQueueDrops"}),
    (channel(ChannelState.DOWN, 0), {"MrdaemonChannelDown"}),
    (channel(ChannelState.REFUSED, 0), {"MrdaemonChannelDown"}),
    (channel(ChannelState.UP, 3), {"MrdaemonAlertsWait"}),
    (refused_alert, {"MrdaemonAlertsLost"}),
]
QUIET: Final[Sequence[Change]] = [
    lambda _: None,
    ended("filled"),
    ended("canceled"),
    connections(2),
    ambiguous(2),
    one(halted=None, deviation=Decimal("0.06")),
    slow("answer", 0.2),
    slow("durable", 0.002),
    slow("commit", 0.002),
    footprint(free=4_999_990_000),
]


@pytest.mark.parametrize(("change", "wanted"), CASES)
async def test_an_alert_fires_when_it_should(change: Change, wanted: set[str]) -> None:
    sick = healthy()
    change(sick)
    assert await firing(healthy(), sick) == wanted


@pytest.mark.parametrize("change", QUIET)
async def test_no_alert_fires_when_all_is_well(change: Change) -> None:
    well = healthy()
    change(well)
    assert await firing(healthy(), well) == set()


def test_every_alert_has_a_case() -> None:
    fired = {name for _, wanted in CASES for name in wanted}
    assert {each.name for each in rules()} - fired == {"MrdaemonMissing", "MrdaemonRestarts"}


def test_a_daemon_that_gives_no_figures_is_missed() -> None:
    missing = {each.name for each in rules() if promql.parse(each.expr).evaluate([promql.Scraping(0.0, [])])}
    assert missing == {"MrdaemonMissing"}


async def test_a_daemon_that_starts_again_and_again_is_noticed() -> None:
    def after(seconds: float) -> Iterator[MeasuredView]:
        found = healthy()
        footprint(processor=seconds)(found)
        yield found

    starts = [each for seconds in (9.0, 1.0, 9.0, 2.0, 9.0, 3.0) for each in after(seconds)]
    assert await firing(*starts) == {"MrdaemonRestarts"}
    assert await firing(*starts[:4]) == set()


async def test_a_halt_of_everything_is_one_alert_however_many_positions_there_are() -> None:
    halted = healthy()
    overview(trading=TradingState.HALTED)(halted)
    halted.known = [position(f"S{each}", trading=TradingState.HALTED) for each in range(20)]
    assert await firing(healthy(), halted) == {"MrdaemonHalted"}
