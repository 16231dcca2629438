"""What an open dashboard is sent: everything at first, then what changes. Nobody who looks holds anything up."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest

from mrdaemon import __version__, chain
from mrdaemon.chain import JournalError
from mrdaemon.clock import SystemClock
from mrdaemon.core.commands import Deposit, Pause, SetTradingState
from mrdaemon.core.instant import DAY, SECOND
from mrdaemon.core.policy import TradingState
from mrdaemon.pulse import Pulse
from mrdaemon.web import graphs, hub, past
from mrdaemon.web import news as news_module
from mrdaemon.web.answered import NewsPage
from mrdaemon.web.lines import Line
from mrdaemon.web.news import News
from tests.builders import Market, dollars
from tests.ntfy_server import until
from tests.running import mrdaemon
from tests.webbed import Web, web_daemon
from tests.webinside import Inside, Looker, inside, symbols

HALTED = TradingState.HALTED


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with web_daemon(tmp_path_factory.mktemp("web") / "place") as started:
        yield started


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Inside]:
    async with asyncio.timeout(60), inside(tmp_path) as started:
        yield started


async def price_of(looker: Looker, symbol: str, price: str) -> None:
    """Wait until somebody was told of a price."""
    while (await looker.positions()).get(symbol, {}).get("price") != price:
        pass


async def deposit(ours: Inside, why: str = "") -> None:
    await ours.daemon.command(Deposit(by="me", why=why, portfolio="core", amount=dollars("1")))


async def everything(looker: Looker, count: int, price: str | None = None) -> None:
    """Wait until somebody was told of so many positions, with their price."""
    told = set[str]()
    while len(told) < count:
        told |= {name for name, each in (await looker.positions()).items() if price in {None, each["price"]}}


# A real daemon


def test_a_stream_begins_with_who_we_are_how_it_stands_and_every_position(web: Web) -> None:
    with web.program().stream() as stream:
        assert stream.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        hello, status, positions = stream.next(), stream.next(), stream.next()
    assert hello.data == {"version": __version__, "instance": "mrdaemon", "at": hello.data["at"], "resumed": False}
    assert (status.event, status.data["live"], status.data["positions"]) == ("status", True, [])
    asked = {**web.program().get("/api/status").object["positions"][0], "age": None}
    assert [{**each, "age": None} for each in positions.data["changed"]] == [asked]


def test_a_command_is_heard_as_news_status_and_position_by_everybody_in_the_same_bytes(web: Web) -> None:
    with web.program().stream() as one, web.program().stream() as other:
        for stream in (one, other):
            stream.hear("positions")
        web.program().command("halt", symbol="QQQ", portfolio="core", why="lunch")
        news = one.hear("news")
        assert other.hear("news") == news
        assert one.hear("positions").data["changed"][0]["trading"] == "HALTED"
    (item,) = news.data
    assert (item["kind"], item["symbol"], item["level"]) == ("trading_state_changed", "QQQ", "critical")
    assert "(lunch)" in item["text"]
    assert news.id == str(item["seq"])
    assert web.program().get("/api/news?limit=1").object["news"] == [item]


def test_a_stream_goes_on_where_it_was_cut(web: Web) -> None:
    with web.program().stream() as stream:
        stream.hear("positions")
        web.program().command("pause", why="first")
        heard = stream.hear("news")
    web.program().command("resume", why="second")
    web.program().command("pause", why="third")
    with web.program().stream({"Last-Event-ID": str(heard.id)}) as stream:
        assert stream.hear("hello").data["resumed"] is True
        told = [each["text"] for each in stream.hear("news").data]
    assert [("second" in each, "third" in each) for each in told] == [(True, False), (False, True)]


def test_to_ask_for_the_head_of_a_stream_opens_none(web: Web) -> None:
    found = web.program().ask("HEAD", "/api/stream")
    assert (found.status, found.body) == (200, b"")


@pytest.mark.parametrize("last", ["x", "-1", "9" * 30, "²"])
def test_a_place_that_never_was_begins_anew(web: Web, last: str) -> None:
    with web.program().stream({"Last-Event-ID": last.replace("²", "%C2%B2")}) as stream:
        assert stream.hear("hello").data["resumed"] is False


def test_a_stream_ends_in_good_order_with_the_daemon(tmp_path: Path) -> None:
    with web_daemon(tmp_path / "place") as web, web.program().stream() as stream:
        stream.hear("positions")
        web.process.send_signal(signal.SIGTERM)
        stream.response.read()  # Raises where it was cut off.
        assert web.process.wait(10) == 0


def test_news_can_be_read_back_to_the_first(web: Web) -> None:
    for amount in range(1, 31):
        web.program().command("deposit", amount=str(amount), why="one of thirty")
    page = web.program().get("/api/news?limit=7").object
    found = list(page["news"])
    while page["before"] is not None:
        page = web.program().get(f"/api/news?limit=7&before={page['before']}").object
        found += page["news"]
    numbers = [each["seq"] for each in found]
    assert numbers == sorted(set(numbers), reverse=True)
    assert sum("(one of thirty)" in each["text"] for each in found) == 30
    assert found[-1]["kind"] == "daemon_started"
    journaled = {
        each["seq"]: each["sentence"] for each in mrdaemon("events", "--json", "--state", web.place.state).objects
    }
    assert all(journaled[each["seq"]] == each["text"] for each in found)


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "before=-1", "before=1.5", "limit=²"])
def test_news_that_cannot_be_meant_are_refused(web: Web, query: str) -> None:
    found = web.program().get(f"/api/news?{query.replace('²', '%C2%B2')}")
    assert (found.status, found.object["error"].partition(":")[0]) == (400, query.partition("=")[0])


def test_a_reserve_is_drawn_from_the_beginning_of_the_journal(web: Web) -> None:
    web.program().command("deposit", amount="250.25")
    points = web.program().get("/api/reserve/core").object["points"]
    assert points[0][1] in {"0.00", "10000.00"}
    assert points[-1][1] == web.program().get("/api/status").object["portfolios"][0]["reserve"]
    assert [each[0] for each in points] == sorted(each[0] for each in points)
    assert web.program().get("/api/reserve/side").status == 404


# From within


async def test_prices_of_the_day_are_a_line_with_its_signals(ours: Inside) -> None:
    looker = await ours.look()
    for price in (100, 101.5, 90):
        ours.prices.say({"S000": price})
        await price_of(looker, "S000", str(float(price)))
    line = await ours.dashboard._graphs.prices("S000")
    assert [price for _, price in line.points][-1] == "90.0"
    assert [(each.side, str(each.price)) for each in line.signals] == [("accumulate", "90.0")]
    assert (await ours.dashboard._graphs.prices("S001")).points == []


def has_drawn(ours: Inside, symbol: str, price: float) -> bool:
    """Tell whether a price was looked at, for its line."""
    last = ours.dashboard._graphs._last.get(symbol)
    return last is not None and last[1] == price


async def test_a_restart_costs_the_days_line_neither_its_beginning_nor_its_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(60), inside(tmp_path) as first:
        looker = await first.look()
        for price in (100, 90):
            first.prices.say({"S000": price})
            await price_of(looker, "S000", str(float(price)))
    monkeypatch.setattr(news_module, "LOOK_BACK", 1)  # So much has happened since.
    async with asyncio.timeout(60), inside(tmp_path) as again:
        before = await again.dashboard._graphs.prices("S000")
        again.prices.say({"S000": 91.0})
        await until(partial(has_drawn, again, "S000", 91.0))
        line = await again.dashboard._graphs.prices("S000")
        assert isinstance(again.daemon.calendar, Market)
        again.daemon.calendar.opens = SystemClock().now() % DAY
        again.prices.say({"S000": 92.0})
        await until(partial(has_drawn, again, "S000", 92.0))
        next_day = await again.dashboard._graphs.prices("S000")
    assert [price for _, price in before.points] == ["100.0", "90.0"]
    assert (line.points[:-1], line.points[-1][1]) == (before.points, "91.0")
    assert [each.id for each in before.signals] == [each.id for each in line.signals] == ["core/S000/1"]
    assert ([price for _, price in next_day.points], next_day.signals) == (["91.0", "92.0"], [])


async def test_looking_takes_no_more_than_its_part_of_the_time(ours: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    rests, lines = list[float](), ours.dashboard._graphs

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(graphs, "asyncio", Mock(sleep=rest))
    monkeypatch.setattr(lines, "_look", AsyncMock(side_effect=[0.001, 0.01, asyncio.CancelledError]))
    with pytest.raises(asyncio.CancelledError):
        await lines.run()
    assert rests == [graphs.LOOK_EVERY, graphs.LOOK_EVERY, 0.01 / graphs.PART]


async def test_what_is_read_of_the_past_must_make_progress_and_is_read_once() -> None:
    now, go, reads = [0.0], threading.Event(), list[int]()
    watched = Pulse(lambda: now[0])

    def read(progress: past.Progress) -> int:
        now[0] = 200.0
        progress()
        reads.append(1)
        go.wait(20)
        return 7

    once = past.Once(watched, lambda: read, "the past")
    asking = asyncio.gather(once(), once())
    await until(lambda: bool(reads))
    assert (watched.stuck(), once.found) == ([], None)
    now[0] = 400.0
    assert [each.task for each in watched.stuck()] == ["the past"]
    go.set()
    assert [*await asking, await once(), once.found] == [7, 7, 7, 7]
    assert len(reads) == 1
    assert list(watched) == []


async def test_what_could_not_be_read_of_the_past_is_tried_again() -> None:
    read = Mock(side_effect=[JournalError("no disk"), 7])
    once = past.Once(Pulse(), lambda: read, "the past")
    with pytest.raises(JournalError):
        await once()
    assert once.found is None
    assert await once() == 7


async def test_a_price_from_a_broken_clock_spoils_no_line(ours: Inside) -> None:
    now = SystemClock().now()
    for price, at in ((100.0, now), (101.0, 2**62), (101.5, 0), (102.0, now + 3600 * SECOND), (103.0, now + 1)):
        ours.prices.say_at("S000", price, at)
        await until(partial(has_drawn, ours, "S000", price))
    line = await ours.dashboard._graphs.prices("S000")
    assert [price for _, price in line.points] == ["100.0", "101.0", "102.0", "103.0"]
    assert [at for at, _ in line.points] == sorted(at for at, _ in line.points)
    assert line.points[-1][0] <= SystemClock().now() // 1_000_000


async def test_a_reserve_is_drawn_beside_prices(ours: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, watched = list[int](), set[str]()
    add = Line.add

    def noted(line: Line, at: int, value: float) -> None:
        threads.append(threading.get_ident())
        watched.update(each.name for each in ours.daemon.pulse)
        add(line, at, value)

    monkeypatch.setattr(Line, "add", noted)
    for _ in range(5):
        await deposit(ours)
    assert (await ours.dashboard._graphs.reserve("core")).points[-1][1] == "5005.00"
    assert len(threads) > 5
    assert "reserves of dashboards" in watched
    assert threads.count(threading.get_ident()) <= 1  # As of now.


async def test_only_what_changed_is_sent_again(ours: Inside) -> None:
    looker = await ours.look()
    ours.prices.say(dict.fromkeys(symbols(2), 100.0))
    await price_of(looker, "S001", "100.0")
    ours.prices.say({"S000": 101.0})
    assert (await looker.positions()).keys() == {"S000"}


async def test_a_pause_shows_in_every_position_at_once(ours: Inside) -> None:
    looker = await ours.look()
    await looker.positions()
    await ours.daemon.command(Pause(by="me", why="", paused=True))
    assert {name: each["paused"] for name, each in (await looker.positions()).items()} == {"S000": True, "S001": True}


async def test_who_goes_is_forgotten_and_nothing_is_worked_out_for_nobody(ours: Inside) -> None:
    looker = await ours.look()
    await looker.positions()
    assert len(ours.dashboard._hub) == 1
    looker.close()
    await until(lambda: not len(ours.dashboard._hub))
    await asyncio.sleep(2 * hub.TICK)  # The look that was under way is over.
    known = dict(ours.dashboard._hub._sheet._prints)
    ours.prices.say({"S000": 101.0})
    await until(lambda: ours.daemon.engine.last("S000") is not None)
    await asyncio.sleep(2 * hub.TICK)
    assert ours.dashboard._hub._sheet._prints == known


async def test_who_takes_nothing_holds_up_nobody_and_gets_what_is_true_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "TICK", 0.01)
    monkeypatch.setattr(hub, "PART", 1.0)
    async with asyncio.timeout(60), inside(tmp_path, 400) as ours:
        slow, quick = await ours.look(), await ours.look()
        await slow.positions()
        slow.pause()
        (client, *_) = ours.dashboard._hub._clients
        step = 0
        while not client.unsent or step % 2:
            step += 1
            ours.prices.say(dict.fromkeys(symbols(400), 100 + step % 2 / 100))
            await price_of(quick, "S399", str(float(100 + step % 2 / 100)))
            assert client._wire.get_write_buffer_size() <= hub.LIMIT
        ours.prices.say(dict.fromkeys(symbols(400), 103.0))
        await price_of(quick, "S399", "103.0")
        slow.go_on()
        await price_of(slow, "S399", "103.0")
        assert not client.over.is_set()


async def test_who_takes_nothing_at_all_is_dropped(ours: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    looker = await ours.look()
    await looker.positions()
    (client,) = ours.dashboard._hub._clients
    looker.pause()
    while not client.over.is_set():  # As many bytes as no client may owe.
        client.send(b"5\r\n: ...\r\n" + b" " * 65536)
        await asyncio.sleep(0)
    looker.go_on()
    await looker.ended()
    assert len(ours.dashboard._hub) == 0


async def test_there_is_room_for_so_many_and_the_next_is_told_when_to_come_back(
    ours: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "CLIENTS", 3)
    lookers = [await ours.look() for _ in range(3)]
    for each in lookers:
        assert (await each.head())[0] == 200
    late = await ours.look()
    status, headers = await late.head()
    assert (status, headers["retry-after"]) == (503, "30")
    lookers.pop().close()
    await until(lambda: len(ours.dashboard._hub) < 3)
    again = await ours.look()
    assert (await again.head())[0] == 200


async def test_what_breaks_for_a_dashboard_costs_prices_nothing(
    ours: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "AGAIN", 0.01)
    looker = await ours.look()
    await looker.positions()
    with monkeypatch.context() as patch:
        patch.setattr(ours.dashboard._view, "overview", lambda: json.loads("{"))
        await until(lambda: "it is begun again" in "".join(capsys.readouterr()))
        ours.prices.say({"S000": 101.0})
    await price_of(looker, "S000", "101.0")


async def test_a_journal_that_cannot_be_read_costs_news_and_nothing_else(
    ours: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "AGAIN", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(ours.dashboard._news, "read", Mock(side_effect=JournalError("no disk")))
        looker = await ours.look()
        assert (await looker.hear("status")).data["live"] is True
        ours.prices.say({"S000": 101.0})
        await price_of(looker, "S000", "101.0")
        await deposit(ours, "in the dark")
    assert "in the dark" in (await looker.hear("news")).data[-1]["text"]


# With very many positions, or very many who look


async def test_however_much_there_is_to_send_nobody_waits_for_long(
    ours: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PART", 1e-12)
    monkeypatch.setattr(hub, "LONGEST", 0.1)
    looker = await ours.look()
    for price in ("101.0", "102.0", "103.0"):
        ours.prices.say({"S000": float(price)})
        await price_of(looker, "S000", price)


async def test_who_comes_while_the_hub_rests_is_greeted_at_once(ours: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TICK", 3600.0)
    monkeypatch.setattr(hub, "LONGEST", 3600.0)
    first = await ours.look()
    await first.positions()
    second = await ours.look()
    assert (await second.hear("hello")).data["instance"] == "ours"
    assert (await second.hear("status")).data["live"] is True


async def test_what_one_look_has_no_time_for_is_left_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "TICK", 0.01)
    monkeypatch.setattr(hub, "PART", 1.0)
    for part in ("LOOKING", "SENDING", "CATCH_UP"):
        monkeypatch.setattr(hub, part, 0.0002)
    rest, left = hub.Hub._rest, list[int]()

    async def noted(self: hub.Hub, seconds: float) -> None:
        left.append(len(self._unseen))
        await rest(self, seconds)

    monkeypatch.setattr(hub.Hub, "_rest", noted)
    async with asyncio.timeout(60), inside(tmp_path, 300) as ours:
        lookers = [await ours.look()]
        await everything(lookers[0], 300)
        lookers.append(await ours.look())
        await everything(lookers[1], 300)
        ours.prices.say(dict.fromkeys(symbols(300), 101.0))
        for each in lookers:
            await everything(each, 300, "101.0")
    assert max(left) > 150


async def test_a_position_that_news_name_does_not_wait_for_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "TICK", 0.01)
    async with asyncio.timeout(60), inside(tmp_path, 400) as ours:
        looker = await ours.look()
        await everything(looker, 400)
        monkeypatch.setattr(hub, "LOOKING", 0.0002)
        ours.prices.say(dict.fromkeys(symbols(400), 101.0))
        await ours.daemon.command(SetTradingState(by="me", why="", portfolio="core", symbol="S399", state=HALTED))
        found = await looker.positions()
        while "S399" not in found:
            found |= await looker.positions()
        assert len(found) < 400


# News, read back


async def test_after_a_long_absence_the_newest_are_read(ours: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    news = News(ours.dashboard._journal)
    await news.read()
    for number in range(30):
        await deposit(ours, f"deposit {number}")
    monkeypatch.setattr(news_module, "LOOK_BACK", 5)
    await news.read()
    told = [each.text for each in news.recent]
    assert len(told) == 5
    assert "deposit 25" in told[0]
    assert "deposit 29" in told[-1]


async def test_news_before_the_damage_of_a_journal_are_told(ours: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        await deposit(ours, f"deposit {number}")
    sound = list(chain.records(ours.dashboard._journal))

    def damaged(_: Path, after: int = 0) -> Iterator[chain.Record]:
        yield from (each for each in sound[:-1] if each.seq > after)
        message = "the last one is not what was written"
        raise JournalError(message)

    news = News(ours.dashboard._journal)
    with monkeypatch.context() as patch:
        patch.setattr(chain, "records", damaged)
        for _ in range(2):
            with pytest.raises(JournalError, match="the last one"):
                await news.read()
    items, _ = news.take()
    assert ["deposit 3" in each.text for each in items[-1:]] == [False]
    assert "deposit 2" in items[-1].text
    await news.read()
    assert ["deposit 3" in each.text for each in news.take()[0]] == [True]


async def test_however_many_read_back_they_take_turns(ours: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    look_back, reading, together = news_module._look_back, list[int](), list[int]()

    def noted(journal: Path, before: int | None, limit: int) -> NewsPage:
        reading.append(1)
        try:
            return look_back(journal, before, limit)
        finally:
            together.append(len(reading))
            reading.pop()

    monkeypatch.setattr(news_module, "_look_back", noted)
    await asyncio.gather(*(ours.dashboard._news.page(None, 5) for _ in range(16)))
    assert together == [1] * 16
