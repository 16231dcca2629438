"""The local Alpaca on a port: unmodified clients of the official library, real sockets, and sockets that break."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mrdaemon.core.instant import SECOND
from mrdaemon.simulator.streams import MOST_BEHIND
from tests.local import KEYS, PATIENCE, Local, local
from tests.running import child, mrdaemon

AUTH = {"action": "auth", "key": KEYS.key_id, "secret": KEYS.secret}


async def hear(client: ClientConnection) -> Any:
    async with asyncio.timeout(PATIENCE):
        return json.loads(await client.recv())


@asynccontextmanager
async def listening(served: Local, path: str = "/v2/iex", **channels: list[str]) -> AsyncIterator[ClientConnection]:
    async with connect(served.streams + path) as client:
        await client.send(json.dumps(AUTH))
        await client.send(json.dumps({"action": "subscribe", **channels}))
        assert [await hear(client) for _ in range(3)][1] == [{"T": "success", "msg": "authenticated"}]
        yield client


# The official library, as it is


@contextmanager
def official() -> Iterator[None]:
    """Let the library warn of what it imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@asynccontextmanager
async def running(stream: Any) -> AsyncIterator[None]:
    """Run a stream of the library until the block ends."""
    task = asyncio.create_task(stream._run_forever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with official():
            await stream.close()


async def test_the_official_stock_stream_has_trades_and_quotes() -> None:
    with official():
        from alpaca.data.live import StockDataStream  # noqa: PLC0415

    heard: asyncio.Queue[Any] = asyncio.Queue()
    async with local() as served, asyncio.timeout(PATIENCE):
        stream = StockDataStream(KEYS.key_id, KEYS.secret, url_override=served.streams + "/v2/iex")
        stream.subscribe_trades(heard.put, "QQQ")
        stream.subscribe_quotes(heard.put, "QQQ")
        async with running(stream):
            await served.until("iex", lambda each: each._subscribed["trades"])
            served.price(price=500.25)
            quote, trade = await heard.get(), await heard.get()
    assert (quote.bid_price, quote.ask_price) == (500.24, 500.26)
    assert (trade.symbol, trade.price, trade.size, trade.conditions) == ("QQQ", 500.25, 10, ["@"])


async def test_the_official_stock_stream_subscribes_in_fragments() -> None:
    with official():
        from alpaca.data.live import StockDataStream  # noqa: PLC0415

    heard: asyncio.Queue[Any] = asyncio.Queue()
    async with local() as served, asyncio.timeout(PATIENCE):
        stream = StockDataStream(KEYS.key_id, KEYS.secret, url_override=served.streams + "/v2/iex")
        stream._max_frame_size = 8
        stream.subscribe_bars(heard.put, *(f"S{number}" for number in range(30)))
        async with running(stream):
            await served.until("iex", lambda each: len(each._subscribed["bars"]) == 30)


async def test_the_official_crypto_stream_has_trades() -> None:
    with official():
        from alpaca.data.live import CryptoDataStream  # noqa: PLC0415

    heard: asyncio.Queue[Any] = asyncio.Queue()
    async with local() as served, asyncio.timeout(PATIENCE):
        url = served.streams + "/v1beta3/crypto/us"
        stream = CryptoDataStream(KEYS.key_id, KEYS.secret, url_override=url)
        stream.subscribe_trades(heard.put, "BTC/USD")
        async with running(stream):
            await served.until("crypto", lambda each: each._subscribed["trades"])
            served.price("BTC/USD", 60000.5)
            trade = await heard.get()
    assert (trade.symbol, trade.price) == ("BTC/USD", 60000.5)


async def test_the_official_order_updates_tell_of_a_fill() -> None:
    with official():
        from alpaca.trading.stream import TradingStream  # noqa: PLC0415

    heard: asyncio.Queue[Any] = asyncio.Queue()
    async with local() as served, asyncio.timeout(PATIENCE):
        stream = TradingStream(KEYS.key_id, KEYS.secret, url_override=served.streams + "/stream")
        stream.subscribe_trade_updates(heard.put)
        served.price()
        async with running(stream):
            await served.until("updates", lambda each: each._listening)
            order = {"symbol": "QQQ", "notional": "1000", "side": "buy", "type": "market", "time_in_force": "day"}
            status, answer = await served.ask("POST", "/v2/orders", order)
            assert status == 200
            updates = [await heard.get() for _ in range(3)]
    assert [each.event for each in updates] == ["pending_new", "new", "fill"]
    assert str(updates[-1].order.id) == answer["id"]


# Sockets


async def test_the_test_stream_is_always_on() -> None:
    async with local() as served, listening(served, "/v2/test", trades=["FAKEPACA"]) as client:
        (trade,) = await hear(client)
    assert (trade["T"], trade["S"]) == ("t", "FAKEPACA")


async def test_frames_are_deflated_for_whoever_can() -> None:
    async with local() as served, connect(served.streams + "/v2/iex") as client:
        assert [each.name for each in client.protocol.extensions] == ["permessage-deflate"]
        assert await hear(client) == [{"T": "success", "msg": "connected"}]


async def test_order_updates_come_in_binary_frames_on_the_wire() -> None:
    async with local() as served, connect(served.streams + "/stream") as client:
        await client.send(json.dumps(AUTH))
        assert isinstance(await client.recv(), bytes)


async def test_another_path_is_no_stream() -> None:
    async with local() as served:
        with pytest.raises(InvalidStatus, match="404"):
            await connect(served.streams + "/v2/weather")


async def test_a_handshake_can_be_refused() -> None:
    async with local() as served:
        await served.ask("POST", "/simulator/faults", {"name": "handshake"})
        with pytest.raises(InvalidStatus, match="429"):
            await connect(served.streams + "/v2/iex")
        async with listening(served, trades=["QQQ"]):
            pass


async def test_closing_cleanly_makes_room_at_once() -> None:
    async with local() as served:
        for _ in range(3):
            async with listening(served, trades=["QQQ"]):
                pass
            await served.until("iex", lambda each: each.line.ended)


async def test_a_reset_connection_is_held_against_the_next_one() -> None:
    async with local(reap=3600 * SECOND) as served:
        async with listening(served, trades=["QQQ"]) as client:
            client.transport.abort()
        await served.until("iex", lambda each: each.line.ended)
        async with connect(served.streams + "/v2/iex") as second:
            await second.send(json.dumps(AUTH))
            assert [await hear(second), await hear(second)][1][0]["code"] == 406
            with pytest.raises(ConnectionClosed):
                await second.recv()


async def test_a_client_that_does_not_read_is_cut() -> None:
    async with local() as served:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.connect(("127.0.0.1", int(served.url.rpartition(":")[2])))
        async with connect(served.streams + "/v2/iex", sock=narrow, compression=None) as client:
            await client.send(json.dumps(AUTH))
            await client.send(json.dumps({"action": "subscribe", "trades": ["QQQ"]}))
            await served.until("iex", lambda each: each._subscribed["trades"])
            client.transport.pause_reading()
            (session,) = served.simulator.sessions
            async with asyncio.timeout(PATIENCE):
                while not session.line.ended:
                    for number in range(100):
                        served.price(price=500.0 + number)
                    await asyncio.sleep(0)
            assert session.line.backlog >= MOST_BEHIND
            client.transport.abort()


# Faults on the wire


async def test_a_cut_socket_is_reset() -> None:
    async with local() as served, listening(served, trades=["QQQ"]) as client:
        await served.ask("POST", "/simulator/faults", {"name": "cut"})
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionClosed) as ended:
                await client.recv()
        assert ended.value.rcvd is None


async def test_a_half_open_socket_neither_talks_nor_answers_pings_nor_ends() -> None:
    async with local() as served, listening(served, trades=["QQQ"]) as client:
        pong = await client.ping()
        await asyncio.wait_for(pong, PATIENCE)
        await served.ask("POST", "/simulator/faults", {"name": "half_open"})
        served.price()
        pong = asyncio.ensure_future(await client.ping())
        hearing = asyncio.create_task(client.recv())
        for _ in range(3):
            await served.ask("GET", "/simulator/state")
        assert not pong.done()
        assert not hearing.done()
        client.transport.abort()
        with suppress(ConnectionClosed):
            await hearing
        with suppress(ConnectionClosed):
            await pong


async def test_a_mute_stream_answers_pings() -> None:
    async with local() as served, listening(served, trades=["QQQ"]) as client:
        await served.ask("POST", "/simulator/faults", {"name": "mute", "times": 0})
        served.price()
        await asyncio.wait_for(await client.ping(), PATIENCE)
        await served.ask("DELETE", "/simulator/faults", {})
        served.price(price=501.0)
        assert (await hear(client))[0]["p"] == 501.0


async def test_a_delayed_message_comes_by_itself() -> None:
    async with local() as served, listening(served, trades=["QQQ"]) as client:
        await served.ask("POST", "/simulator/faults", {"name": "delay", "seconds": 0.05})
        served.price(price=501.0)
        assert (await hear(client))[0]["p"] == 501.0


async def test_an_order_is_accepted_though_its_answer_is_504() -> None:
    async with local() as served:
        served.price()
        await served.ask("POST", "/simulator/faults", {"name": "504"})
        order = {"symbol": "QQQ", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
        status, _ = await served.ask("POST", "/v2/orders", {**order, "client_order_id": "mine"})
        assert status == 504
        status, found = await served.ask("GET", "/v2/orders:by_client_order_id?client_order_id=mine")
    assert (status, found["symbol"]) == (200, "QQQ")


async def test_an_answer_can_be_slow() -> None:
    async with local() as served:
        await served.ask("POST", "/simulator/faults", {"name": "slow_answer", "seconds": 1})
        slow = asyncio.create_task(served.ask("GET", "/v2/account", patience=0.2))
        with pytest.raises(TimeoutError):
            await slow
        assert (await served.ask("GET", "/v2/account"))[0] == 200


async def test_a_market_that_never_closes_is_open_now() -> None:
    async with local() as served:
        assert (await served.ask("GET", "/v2/clock"))[1]["is_open"] is True


async def test_a_request_can_be_hung_up_on() -> None:
    async with local() as served:
        await served.ask("POST", "/simulator/faults", {"name": "hang_up"})
        with pytest.raises(ConnectionError):
            await served.ask("GET", "/v2/account")
        assert (await served.ask("GET", "/v2/account"))[0] == 200


# The control endpoint


async def test_prices_can_be_told_from_outside() -> None:
    async with local() as served, listening(served, trades=["QQQ"]) as client:
        asked = [{"symbol": "QQQ", "price": 499.5}, {"symbol": "QQQ", "bid": 499.0, "ask": 500.0}]
        assert await served.ask("POST", "/simulator/prices", asked) == (200, {"seen": 2})
        assert (await hear(client))[0]["p"] == 499.5
        _, latest = await served.ask("GET", "/v2/stocks/QQQ/quotes/latest")
    assert (latest["quote"]["bp"], latest["quote"]["ap"]) == (499.0, 500.0)


async def test_the_state_tells_of_orders_connections_and_requests() -> None:
    async with local() as served, listening(served, trades=["QQQ"]):
        await served.ask("GET", "/v2/clock")
        _, state = await served.ask("GET", "/simulator/state")
    assert state["connections"] == [{"stream": "iex", "authenticated": True}]
    assert [(each["method"], each["path"], each["status"]) for each in state["requests"]] == [("GET", "/v2/clock", 200)]
    assert (state["orders"], state["positions"]) == ([], [])
    assert state["account"]["cash"] == "100000"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "faults", {"name": "earthquake"}, 400),
        ("POST", "faults", {"name": "drop", "often": 3}, 400),
        ("POST", "prices", {"symbol": "QQQ"}, 400),
        ("POST", "trade", {"symbol": "NEVER"}, 400),
        ("POST", "fee", {"amount": "100000.01"}, 400),
        ("POST", "split", {"symbol": "QQQ", "new_rate": 0}, 400),
        ("POST", "bust", {"order_id": "nobody's"}, 400),
        ("GET", "faults", None, 405),
        ("GET", "weather", None, 404),
    ],
)
async def test_what_cannot_be_controlled_is_said(method: str, path: str, body: object, status: int) -> None:
    async with local() as served:
        answer = await served.ask(method, f"/simulator/{path}", body)
    assert answer[0] == status
    assert answer[1]["message"]


async def test_a_halt_is_told_on_the_stream() -> None:
    async with local() as served, listening(served, statuses=["QQQ"]) as client:
        served.price()
        await served.ask("POST", "/simulator/halt", {"symbol": "QQQ"})
        (status,) = await hear(client)
        assert (status["T"], status["S"], status["sc"]) == ("s", "QQQ", "H")


async def test_revoked_keys_open_nothing() -> None:
    async with local() as served:
        await served.ask("POST", "/simulator/key", {"accepted": False})
        assert (await served.ask("GET", "/v2/account"))[0] in {401, 403}
        async with connect(served.streams + "/v2/iex") as client:
            await client.send(json.dumps(AUTH))
            assert [await hear(client), await hear(client)][1][0]["code"] == 402
        await served.ask("POST", "/simulator/key", {"accepted": True})
        assert (await served.ask("GET", "/v2/account"))[0] == 200


# The command


def test_the_command_says_where_it_listens_and_ends_on_a_signal() -> None:
    with child("simulator", "--port", "0", "--json", "--always-open") as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with urllib.request.urlopen(told["url"] + "/simulator/state", timeout=PATIENCE) as answer:  # noqa: S310
            assert json.load(answer)["account"]["cash"] == "100000"
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_split_divides_the_prices_that_the_command_makes_up() -> None:
    with child("simulator", "--port", "0", "--json", "--always-open", "--symbols", "QQQ=500") as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        body = json.dumps({"symbol": "QQQ", "new_rate": 2}).encode()
        request = urllib.request.Request(f"{url}/simulator/split", body, method="POST")  # noqa: S310
        price_before = price_at(url, lambda price: price > 0)
        with urllib.request.urlopen(request, timeout=PATIENCE):  # noqa: S310
            price_after = price_at(url, lambda price: price != price_before)
    assert price_before == pytest.approx(500.0, rel=0.05)
    assert price_after == pytest.approx(250.0, rel=0.05)


def price_at(url: str, wanted: Callable[[float], bool]) -> float:
    """Wait for a price of QQQ that is as it is wanted."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with urllib.request.urlopen(f"{url}/simulator/state", timeout=PATIENCE) as answer:  # noqa: S310
            prices = json.load(answer)["prices"]
        if "QQQ" in prices and wanted(prices["QQQ"]["p"]):
            return float(prices["QQQ"]["p"])
    message = "no such price came"
    raise AssertionError(message)


def test_the_command_plays_a_recording_as_if_it_were_now(tmp_path: Path) -> None:
    recording = tmp_path / "prices.csv"
    recording.write_text("timestamp,symbol,price\n2020-03-09T15:00:00Z,QQQ,200.5\n2020-03-09T15:00:10Z,QQQ,201.5\n")
    with child("simulator", "--port", "0", "--prices", recording, "--speed", "100x", "--always-open") as process:
        assert process.stdout is not None
        said = "".join(iter(process.stdout.readline, "The recording is over; the last prices stand. Ctrl-C stops.\n"))
        url = said.partition("listens at ")[2].partition(". ")[0]
        request = urllib.request.Request(  # noqa: S310
            url + "/v2/stocks/QQQ/trades/latest",
            headers={"APCA-API-KEY-ID": KEYS.key_id, "APCA-API-SECRET-KEY": KEYS.secret},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            assert json.load(answer)["trade"]["p"] == 201.5
    assert f'url = "{url}"' in said


def test_the_command_plays_a_recording_at_its_own_time(tmp_path: Path) -> None:
    recording = tmp_path / "prices.csv"
    rows = ["14:00:00Z,QQQ,199.5", "15:00:00Z,QQQ,200.5", "15:00:10Z,QQQ,201.5"]
    recording.write_text("timestamp,symbol,price\n" + "".join(f"2020-03-09T{row}\n" for row in rows))
    when = ("--start", "2020-03-09T10:59:59", "--speed", "100x")
    with child("simulator", "--port", "0", "--prices", recording, *when) as process:
        assert process.stdout is not None
        said = "".join(iter(process.stdout.readline, "The recording is over; the last prices stand. Ctrl-C stops.\n"))
        url = said.partition("listens at ")[2].partition(". ")[0]
        with urllib.request.urlopen(url + "/simulator/state", timeout=PATIENCE) as answer:  # noqa: S310
            played = json.load(answer)["prices"]
    assert played == {"QQQ": {"p": 201.5, "t": "2020-03-09T15:00:10Z"}}


def test_the_command_says_what_was_asked_of_it() -> None:
    asked = ("--prices", "demo", "--speed", "1000000x", "--faults", "abc", "--plan", "plus", "--cash", "25,000")
    with child("simulator", "--port", "0", *asked) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(5)]
    assert said[1] == "Key PKSIMULATOR, secret simulated, plan plus, cash $25,000.00."
    assert said[2].startswith("Prices: demo.csv (recorded). It is 20")
    assert said[3] == "Stocks trade in New York's sessions only."
    assert said[4] == "Things go wrong now and then, as the seed 'abc' has it."


def test_what_the_command_says_to_paste_is_a_configuration(tmp_path: Path) -> None:
    with child("simulator", "--port", "0", "--always-open") as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        said = "".join(takewhile(lambda line: not line.startswith("How everything stands"), lines))
    pasted = said[said.index("[feed]") :]
    core = '[portfolios.core]\naccount = "alpaca"\nreserve = "1000"\nzone = "5%"\nmode = "auto"\n'
    position = '[portfolios.core.positions.QQQ]\ntarget = "500"\ninitial = "buy"\n'
    config = tmp_path / "core.toml"
    config.write_text(pasted + core + position)
    run = mrdaemon("check", "-c", config, "--state", tmp_path / "state")
    assert (run.code, run.err) == (0, "")


def test_a_port_that_is_taken_is_said() -> None:
    with child("simulator", "--port", "0", "--json") as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["url"].rpartition(":")[2]
        second = mrdaemon("simulator", "--port", port)
    assert second.code == 1
    assert f"port {port}: " in second.err


@pytest.mark.parametrize(
    "asked",
    [
        ("--symbols", "QQQ"),
        ("--symbols", "QQQ=-1"),
        ("--start", "soon"),
        ("--speed", "fast"),
        ("--speed", "max"),
        ("--plan", "gold"),
    ],
)
def test_what_cannot_be_simulated_is_said(asked: tuple[str, str]) -> None:
    assert mrdaemon("simulator", *asked).code == 2
