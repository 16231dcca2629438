"""Figures for Prometheus: what is scraped is what stands, what the docs have, and what Prometheus' own parser reads."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from mrdaemon import __version__
from mrdaemon.core.instant import iso
from mrdaemon.core.money import Dollars
from mrdaemon.core.policy import ChannelState, FeedState, TradingState
from mrdaemon.status import ChannelStatus, ReloadStatus, StuckStatus
from mrdaemon.web import metrics
from tests.alerts_mqtt import STARTED, account, portfolio, position
from tests.running import Place, ask, daemon, order, unmeasured
from tests.scraping import (
    DOWN,
    EARLIER,
    MeasuredView,
    Row,
    Scraped,
    documented,
    full_name,
    labels_of,
    scrape,
    scraped,
    text,
    view,
)
from tests.webbed import Browser, web_daemon


def channels(*found: ChannelStatus) -> MeasuredView:
    return view(channels=found)


# What there is


async def test_every_metric_of_the_docs_is_there_and_every_metric_is_in_the_docs() -> None:
    found = await scrape(view())
    assert [full_name(family) for family in found.families] == list(documented())


async def test_the_docs_have_each_metrics_type_labels_and_meaning() -> None:
    found = await scrape(view())
    shown = {full_name(family): Row(family.type, labels_of(family), family.documentation) for family in found.families}
    rows = {name: row._replace(labels=tuple(sorted(row.labels))) for name, row in documented().items()}
    assert shown == rows


async def test_names_follow_the_conventions() -> None:
    for family in (await scrape(view())).families:
        name = full_name(family)
        assert name.startswith("mrdaemon_")
        assert name.endswith("_total") == (family.type == "counter")
        for quantity in ("dollars", "seconds", "ratio", "bytes"):
            assert (f"_{quantity}" in name) == name.removesuffix("_total").endswith(f"_{quantity}"), name


async def test_there_is_nothing_of_the_process_or_the_interpreter() -> None:
    assert "python_" not in await text(view())


async def test_each_metric_is_said_to_be_what_it_is_once() -> None:
    lines = (await text(MeasuredView(*[position(f"S{each}") for each in range(metrics.SLICE * 2 + 1)]))).splitlines()
    heads = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert heads == list(dict.fromkeys(heads)) == list(documented())


# What they say


async def test_the_version_is_told() -> None:
    assert (await scrape(view())).of("mrdaemon_build_info") == {(__version__,): 1}


@pytest.mark.parametrize("state", TradingState)
async def test_the_trading_state_is_1_for_the_one_that_holds(state: TradingState) -> None:
    found = await scrape(view(trading=state))
    assert found.of("mrdaemon_trading_state") == {(each.value,): float(each is state) for each in TradingState}


async def test_a_pause_and_a_halt_file_show() -> None:
    usual, stopped = await scrape(view()), await scrape(view(paused=True, halt_file=True))
    assert (usual.one("mrdaemon_paused"), usual.one("mrdaemon_halt_file")) == (0, 0)
    assert (stopped.one("mrdaemon_paused"), stopped.one("mrdaemon_halt_file")) == (1, 1)


async def test_what_is_stuck_and_a_configuration_that_was_refused_show() -> None:
    stuck = StuckStatus("news", "telling", 120.0, ended=False, reason="")
    refused = ReloadStatus(EARLIER, ok=False, by="anna", why=("it is no TOML",))
    taken = msgspec.structs.replace(refused, ok=True, why=())
    views = (view(), view(stuck=(stuck, stuck), reload=refused), view(reload=taken))
    usual, troubled, mended = [await scrape(each) for each in views]
    names = ("mrdaemon_stuck_tasks", "mrdaemon_configuration_refused")
    assert [usual.one(name) for name in names] == [0, 0]
    assert [troubled.one(name) for name in names] == [2, 1]
    assert [mended.one(name) for name in names] == [0, 0]


async def test_signals_and_what_was_held_of_them_are_counted() -> None:
    found = await scrape(view())
    assert (found.one("mrdaemon_signals_total"), found.one("mrdaemon_signals_held_total")) == (12, 5)


async def test_the_feed_shows_what_it_delivered_and_what_it_refused() -> None:
    found = await scrape(view())
    assert (found.one("mrdaemon_feed_prints_total"), found.one("mrdaemon_feed_refused_total")) == (1200, 3)
    assert found.one("mrdaemon_feed_ended") == 0


async def test_a_stream_shows_its_state_and_for_how_long() -> None:
    found = await scrape(view())
    assert found.of("mrdaemon_stream_state") == {
        ("alpaca iex", each.value): float(each is FeedState.STALE) for each in FeedState
    }
    assert found.of("mrdaemon_stream_state_age_seconds") == {("alpaca iex",): 90}


async def test_a_position_shows_what_it_is_worth() -> None:
    found = await scrape(view())
    here = ("core", "QQQ")
    assert found.of("mrdaemon_position_value_dollars") == {here: 5050}
    assert found.of("mrdaemon_position_target_dollars") == {here: 5000}
    assert found.of("mrdaemon_position_deviation_ratio") == {here: 0.01}
    assert found.of("mrdaemon_position_shares") == {here: 50}


async def test_a_symbol_in_two_portfolios_has_one_age() -> None:
    found = await scrape(
        MeasuredView(position(age=2.5), position(age=2.5, portfolio="other"), position("SPY", age=40.0))
    )
    assert found.of("mrdaemon_symbol_print_age_seconds") == {("QQQ",): 2.5, ("SPY",): 40}


async def test_a_position_shows_what_keeps_it_from_trading() -> None:
    stopped = position("B", halted="shares differ", frozen="it jumped", stale=True, paused=True)
    found = await scrape(MeasuredView(position("A"), stopped))
    for name in ("halted", "frozen", "stale", "paused"):
        assert found.of(f"mrdaemon_position_{name}") == {("core", "A"): 0, ("core", "B"): 1}


async def test_a_position_is_halted_with_its_portfolio() -> None:
    found = await scrape(MeasuredView(position(trading=TradingState.HALTED)))
    assert found.one("mrdaemon_position_halted") == 1


async def test_a_position_that_only_trims_is_not_halted() -> None:
    found = await scrape(MeasuredView(position(trading=TradingState.REDUCING)))
    assert found.one("mrdaemon_position_halted") == 0


async def test_only_a_side_that_waits_has_a_sample() -> None:
    found = await scrape(view())
    assert found.of("mrdaemon_position_waits") == {("core", "QQQ", "trim", "cooldown"): 1}


async def test_a_portfolio_shows_its_reserve_and_its_state() -> None:
    book = msgspec.structs.replace(
        portfolio(),
        trading=TradingState.REDUCING,
        reserved=Dollars(Decimal("250.10")),
        available=Dollars(Decimal("649.90")),
        floor=Dollars(Decimal("100.00")),
    )
    found = await scrape(view(portfolios=(book,)))
    parts = ("reserve", "reserved", "available", "floor")
    shown = [found.of(f"mrdaemon_portfolio_{part}_dollars") for part in parts]
    assert shown == [{("core",): 1000}, {("core",): 250.1}, {("core",): 649.9}, {("core",): 100}]
    assert found.of("mrdaemon_portfolio_trading_state")["core", "REDUCING"] == 1


async def test_an_account_shows_whether_orders_may_leave_and_its_cash() -> None:
    poor = msgspec.structs.replace(account(), name="b", ready=False, covered=False, open_orders=3, ambiguous=1)
    found = await scrape(view(accounts=(account(), poor)))
    assert found.of("mrdaemon_account_ready") == {("paper",): 1, ("b",): 0}
    assert found.of("mrdaemon_account_covered") == {("paper",): 1, ("b",): 0}
    assert found.of("mrdaemon_account_cash_dollars") == {("paper",): 1000, ("b",): 1000}
    assert found.of("mrdaemon_account_open_orders") == {("paper",): 0, ("b",): 3}
    assert found.of("mrdaemon_account_ambiguous_orders") == {("paper",): 0, ("b",): 1}


async def test_a_channel_shows_its_state_for_how_long_and_what_waits() -> None:
    found = await scrape(channels(DOWN, ChannelStatus("house", ChannelState.UP, iso(STARTED), "", 0)))
    assert found.of("mrdaemon_channel_up") == {("phone",): 0, ("house",): 1}
    states = found.of("mrdaemon_channel_state")
    assert [labels for labels, value in states.items() if value] == [("phone", "down"), ("house", "up")]
    assert len(states) == 2 * len(ChannelState)
    assert found.of("mrdaemon_channel_state_age_seconds") == {("phone",): 90, ("house",): 0}
    assert found.of("mrdaemon_channel_alerts_waiting") == {("phone",): 7, ("house",): 0}


async def test_a_channel_that_refuses_us_is_not_up() -> None:
    found = await scrape(channels(ChannelStatus("phone", ChannelState.REFUSED, EARLIER, "", 1)))
    assert found.one("mrdaemon_channel_up") == 0
    assert found.of("mrdaemon_channel_state")["phone", "refused"] == 1


async def test_a_channel_that_was_not_tried_is_neither_up_nor_down() -> None:
    found = await scrape(channels(ChannelStatus("phone", None, None, "", 0)))
    assert found.of("mrdaemon_channel_up") == found.of("mrdaemon_channel_state_age_seconds") == {}
    assert set(found.of("mrdaemon_channel_state").values()) == {0}
    assert found.one("mrdaemon_channel_alerts_waiting") == 0


async def test_a_position_without_a_price_has_neither_value_nor_deviation_nor_age() -> None:
    found = await scrape(MeasuredView(position(value=None, deviation=None, age=None)))
    assert found.of("mrdaemon_position_value_dollars") == {}
    assert found.of("mrdaemon_position_deviation_ratio") == {}
    assert found.of("mrdaemon_symbol_print_age_seconds") == {}
    assert found.of("mrdaemon_position_shares") == {("core", "QQQ"): 50}


async def test_an_account_that_was_never_compared_has_no_cash() -> None:
    found = await scrape(view(accounts=(msgspec.structs.replace(account(), cash=None),)))
    assert found.of("mrdaemon_account_cash_dollars") == {}


async def test_a_position_that_left_the_configuration_is_not_shown() -> None:
    found = await scrape(MeasuredView(position("OLD", retired=True), position()))
    assert found.of("mrdaemon_position_shares") == {("core", "QQQ"): 50}
    assert "OLD" not in found.text


async def test_a_daemon_without_feed_channels_or_positions_is_scraped_too() -> None:
    bare = view(feed=None, streams=(), channels=(), accounts=(), portfolios=())
    bare.known = []
    assert (await scrape(bare)).one("mrdaemon_paused") == 0


# What must not happen


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", 'x"} 1', "Ünïcode/€", "{a=b,}"])
async def test_a_name_stays_one_label_whatever_it_is_made_of(name: str) -> None:
    found = await scrape(MeasuredView(position(name)))
    assert found.of("mrdaemon_position_shares") == {("core", name): 50}


async def test_no_reason_address_folder_or_request_gets_out() -> None:
    troubled = position(halted="s3cret", frozen="s3cret", order="s3cret", remarks=("s3cret",))
    lost = msgspec.structs.replace(account(), lost="s3cret", disputed="s3cret")
    found = view(channels=(DOWN,), accounts=(lost,))
    found.known = [troubled]
    shown = await text(found)
    assert "phone" in shown
    assert not re.search("s3cret|private|silent|4711", shown)


async def test_prices_get_their_turn_while_many_positions_are_written() -> None:
    slices = 20
    many = MeasuredView(*[position(f"S{each}") for each in range(slices * metrics.SLICE)])
    turns = 0

    async def prices() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(prices())
    seen = await metrics.take(many)
    assert turns >= slices
    turns = 0
    written = [piece.count(b"\n") async for piece in metrics.write(seen)]
    others.cancel()
    assert turns >= len(written)
    assert max(written) <= metrics.SLICE + 2
    assert sum(written) > slices * metrics.SLICE * 8


async def test_what_changes_while_it_is_written_changes_nothing_of_it() -> None:
    found = view()
    seen = await metrics.take(found)
    pieces = metrics.write(seen)
    begun = await anext(pieces)
    found.change("QQQ", shares=Decimal(1), value=Dollars(Decimal(100)))
    found.state.signals = 99
    scraped = Scraped((begun + b"".join([piece async for piece in pieces])).decode())
    assert (scraped.one("mrdaemon_position_shares"), scraped.one("mrdaemon_signals_total")) == (50, 12)


# A real daemon

CHANNEL = """
[channels.phone]
kind = "push"
urls = ["json://someone:s3cret@127.0.0.1:{port}"]
level = "info"
group = 0
"""


@contextmanager
def refusing() -> Iterator[int]:
    """Give a port that is ours and that refuses everybody."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place").configure(speed="1x").record(100, 101, 102, apart=3600)


def test_a_scrape_of_a_real_daemon_shows_what_its_status_shows(place: Place) -> None:
    with daemon(place):
        found, status = scraped(place.state), ask(place.state, "GET", "/status").body
    [held], [book], [login] = status["positions"], status["portfolios"], status["accounts"]
    assert found.one("mrdaemon_position_shares") == float(held["shares"]) > 0
    assert found.one("mrdaemon_position_value_dollars") == float(held["value"]) > 0
    assert found.one("mrdaemon_portfolio_reserve_dollars") == float(book["reserve"])
    assert found.one("mrdaemon_account_cash_dollars") == float(login["cash"])
    assert found.one("mrdaemon_feed_prints_total") == status["feed"]["delivered"] > 0
    assert found.one("mrdaemon_signals_total") == held["signals"] == 1
    assert found.of("mrdaemon_trading_state")["ACTIVE",] == 1


def test_a_halt_of_a_real_daemon_shows(place: Place) -> None:
    with daemon(place):
        assert order(place.state, "halt").status == 200
        found = scraped(place.state)
    assert found.of("mrdaemon_trading_state") == {("ACTIVE",): 0, ("REDUCING",): 0, ("HALTED",): 1}
    assert found.one("mrdaemon_position_halted") == 1


def test_a_channel_that_refuses_connections_is_down_and_its_alerts_wait(place: Place) -> None:
    with refusing() as port:
        with place.config.open("a") as file:
            file.write(CHANNEL.format(port=port))
        with daemon(place, kind="channel_state_changed"):
            found = scraped(place.state)
    assert found.of("mrdaemon_channel_up") == {("phone",): 0}
    assert found.of("mrdaemon_channel_state")["phone", "down"] == 1
    assert found.of("mrdaemon_channel_alerts_waiting")["phone",] > 0
    assert found.of("mrdaemon_channel_state_age_seconds")["phone",] >= 0
    assert "s3cret" not in found.text


def test_prometheus_itself_may_scrape_over_tcp_with_the_token(tmp_path: Path) -> None:
    with web_daemon(tmp_path / "place") as web:
        refused = Browser(web.port).get("/metrics")
        reply = Browser(web.port, web.token).get("/metrics")
        there = scraped(web.place.state)
    assert refused.status == 401
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    here = Scraped(reply.body.decode())
    assert [full_name(each) for each in here.families] == [full_name(each) for each in there.families]
    assert here.of("mrdaemon_position_shares") == there.of("mrdaemon_position_shares")


def test_the_first_page_names_the_metrics(place: Place) -> None:
    with daemon(place):
        assert "/metrics" in ask(place.state, "GET", "/").body["pages"]


def test_a_daemon_that_nobody_scrapes_loads_nothing_for_it(place: Place) -> None:
    place.configure(speed="max")
    script = (
        "import sys; from mrdaemon.cli import main; sys.argv = ['mrdaemon', *sys.argv[1:]]\n"
        "try: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    told = [sys.executable, "-c", script, *map(str, place.arguments())]
    run = subprocess.run(told, capture_output=True, text=True, env=unmeasured(), check=True, timeout=60)
    loaded = {each.partition(".")[0] for each in run.stderr.split()}
    assert "starlette" in loaded
    assert "prometheus_client" not in loaded
