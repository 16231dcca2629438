"""Prices over a real MQTT broker: what is new counts once, what is old or odd does not, and every failure is told."""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiomqtt import Message
from structlog.testing import capture_logs

from mrdaemon import mqtt
from mrdaemon.alpaca import link
from mrdaemon.clock import Clock, SystemClock
from mrdaemon.core.instant import DAY, HOUR, SECOND, Instant, iso
from mrdaemon.core.policy import FeedState
from mrdaemon.core.prints import Print, Quote, quote_print, trade_print
from mrdaemon.feeds import FeedRefusedError
from mrdaemon.feeds import mqtt as feeding
from mrdaemon.feeds.mqtt import Inbox, MqttFeed, Source, Surroundings
from mrdaemon.retry import Backoff
from mrdaemon.settings import MqttTable
from tests.alpaca_support import Heard, MovedClock, running, until
from tests.builders import Market
from tests.mosquitto import FOREIGN, Certificates, Mosquitto, mosquitto

CONNECTING, AUTHENTICATED, SUBSCRIBED, LIVE, STALE, REFUSED = FeedState
NAMES = {"daemon": "secret-word"}


def feed_of(
    broker: Mosquitto,
    heard: Heard,
    *symbols: str,
    folder: Path = Path(),
    calendar: Any = None,
    stale_after: int | None = None,
    clock: Clock | None = None,
    **table: Any,
) -> MqttFeed:
    settings = MqttTable.model_validate({"host": "127.0.0.1", "port": broker.port, **table})
    source = Source(mqtt.broker_of(settings, folder), "mrdaemon-prices", "prices", symbols or ("QQQ",))
    return MqttFeed(source, Surroundings(calendar or Market(), clock or SystemClock(), heard, stale_after))


@asynccontextmanager
async def feeding_from(broker: Mosquitto, *symbols: str, **more: Any) -> AsyncIterator[Heard]:
    """Run a feed that is subscribed."""
    heard = Heard()
    async with running(feed_of(broker, heard, *symbols, **more).run(heard.deliver)):
        await until(lambda: heard.was(SUBSCRIBED))
        yield heard


@pytest.fixture(params=["5", "3.1.1"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once where a broker is away."""
    monkeypatch.setattr(link, "Backoff", lambda *_: Backoff(0.01, 0.05))


@pytest.fixture
def forgotten_sockets() -> Iterator[None]:
    """Close what the client library leaves open where a handshake fails, without a word of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def prices(heard: Heard) -> list[tuple[str, float]]:
    return [(each[0], each[1]) for each in heard.prints]


def states(heard: Heard) -> list[FeedState]:
    return [state for _, state, _ in heard.states]


# Prices


async def test_a_feed_connects_subscribes_and_is_live_with_the_first_price(tmp_path: Path, version: str) -> None:
    async with mosquitto(tmp_path) as broker, feeding_from(broker, version=version) as heard:
        assert states(heard) == [CONNECTING, AUTHENTICATED, SUBSCRIBED]
        before = SystemClock().now()
        await broker.publish("prices/QQQ", "401.25")
        await until(lambda: heard.prints)
        [(symbol, price, at, quote, _)] = heard.prints
        assert (symbol, price, quote) == ("QQQ", 401.25, None)
        assert before <= at <= SystemClock().now()
        assert heard.states[-1] == ("mqtt prices", LIVE, "")


async def test_every_symbol_has_its_topic_and_a_pair_has_two(tmp_path: Path, version: str) -> None:
    symbols = ("BRK.B", "BTC/USD", "QQQ")
    async with mosquitto(tmp_path) as broker, feeding_from(broker, *symbols, version=version) as heard:
        for topic, price in [
            ("BRK.B", "1"),
            ("BTC/USD", "2"),
            ("BTC-USD", "3"),
            ("qqq", "4"),
            ("SPY", "5"),
            ("QQQ", "6"),
        ]:
            await broker.publish(f"prices/{topic}", price)
        await until(lambda: ("QQQ", 6.0) in prices(heard))
        assert prices(heard) == [("BRK.B", 1.0), ("BTC/USD", 2.0), ("BTC/USD", 3.0), ("QQQ", 6.0)]


async def test_two_numbers_that_are_alike_are_two_prices(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, feeding_from(broker) as heard:
        for _ in range(3):
            await broker.publish("prices/QQQ", "401.25")
        await until(lambda: len(heard.prints) == 3)
        assert len(set(heard.prints)) == 3


async def test_json_gives_the_time_and_the_quote(tmp_path: Path) -> None:
    now = SystemClock().now()
    async with mosquitto(tmp_path) as broker, feeding_from(broker) as heard:
        await broker.publish("prices/QQQ", json.dumps({"price": 401.25, "bid": 401.2, "ask": 401.3, "time": iso(now)}))
        await broker.publish("prices/QQQ", json.dumps({"bid": 401.2, "ask": 401.3, "time": now / SECOND}))
        await until(lambda: len(heard.prints) == 2)
        assert heard.prints[0] == trade_print("QQQ", 401.25, now, quote=Quote(401.2, 401.3))
        assert heard.prints[1][3:] == quote_print("QQQ", 401.2, 401.3, now)[3:]


async def test_many_symbols_are_subscribed_in_portions(tmp_path: Path, version: str) -> None:
    symbols = tuple(f"S{number}" for number in range(2 * feeding.SUBSCRIBE_AT_ONCE + 1))
    async with mosquitto(tmp_path) as broker, feeding_from(broker, *symbols, version=version) as heard:
        await broker.publish(f"prices/{symbols[-1]}", "1")
        await until(lambda: heard.prints)


async def test_a_message_of_any_quality_of_service_counts_once(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, feeding_from(broker) as heard:
        for qos in (0, 1, 2):
            await broker.publish("prices/QQQ", str(100 + qos), qos=qos)
        await broker.publish("prices/QQQ", "1")
        await until(lambda: ("QQQ", 1.0) in prices(heard))
        assert prices(heard) == [("QQQ", 100.0), ("QQQ", 101.0), ("QQQ", 102.0), ("QQQ", 1.0)]


# What is old


async def test_a_retained_number_is_not_taken_for_a_fresh_price(tmp_path: Path, version: str) -> None:
    async with mosquitto(tmp_path) as broker:
        await broker.publish("prices/QQQ", "300", retain=True)
        async with feeding_from(broker, version=version) as heard:
            await broker.publish("prices/QQQ", "401.25", retain=True)
            await until(lambda: heard.prints)
            assert prices(heard) == [("QQQ", 401.25)]


async def test_a_retained_price_with_a_time_is_as_old_as_it_says(tmp_path: Path) -> None:
    then = Instant(SystemClock().now() - 3600 * SECOND)
    async with mosquitto(tmp_path) as broker:
        await broker.publish("prices/QQQ", json.dumps({"price": 300, "time": then}), retain=True)
        async with feeding_from(broker) as heard:
            await until(lambda: heard.prints)
            assert heard.prints == [trade_print("QQQ", 300.0, then)]


async def test_a_retained_price_that_was_delivered_is_not_delivered_again_after_a_reconnection(
    tmp_path: Path, at_once: None
) -> None:
    price = json.dumps({"price": 300, "time": iso(SystemClock().now())})
    async with mosquitto(tmp_path, persistent=True) as broker, feeding_from(broker) as heard:
        await broker.publish("prices/QQQ", price, retain=True)
        await until(lambda: heard.prints)
        await broker.restart()
        await until(lambda: heard.was(SUBSCRIBED) == 2)
        await broker.publish("prices/QQQ", "301")
        await until(lambda: len(heard.prints) > 1)
        assert prices(heard) == [("QQQ", 300.0), ("QQQ", 301.0)]


async def test_a_message_that_is_sent_twice_counts_once_where_it_has_a_time(tmp_path: Path) -> None:
    now, heard = SystemClock().now(), Heard()
    first, second = (json.dumps({"price": 300 + each, "time": iso(now)}) for each in (0, 1))
    async with mosquitto(tmp_path) as broker:
        feed = feed_of(broker, heard)
        async with running(feed.run(heard.deliver)):
            await until(lambda: heard.was(SUBSCRIBED))
            for each in (first, first, second, second):
                await broker.publish("prices/QQQ", each)
            await broker.publish("prices/QQQ", "1")
            await until(lambda: ("QQQ", 1.0) in prices(heard))
    assert prices(heard) == [("QQQ", 300.0), ("QQQ", 301.0), ("QQQ", 1.0)]
    assert feed.refused == 0


async def test_a_message_that_is_older_than_one_before_it_does_not_count(tmp_path: Path) -> None:
    now = SystemClock().now()
    async with mosquitto(tmp_path) as broker, feeding_from(broker) as heard:
        for price, age in ((300, 0), (301, 1), (302, 0)):
            await broker.publish("prices/QQQ", json.dumps({"price": price, "time": iso(Instant(now - age * SECOND))}))
        await until(lambda: ("QQQ", 302.0) in prices(heard))
        assert prices(heard) == [("QQQ", 300.0), ("QQQ", 302.0)]


async def test_a_time_far_in_the_future_keeps_no_later_price_out(tmp_path: Path) -> None:
    now = SystemClock().now()
    async with mosquitto(tmp_path) as broker, feeding_from(broker) as heard:
        for price, ahead in ((300, 3600), (301, 0)):
            await broker.publish("prices/QQQ", json.dumps({"price": price, "time": iso(Instant(now + ahead * SECOND))}))
        await until(lambda: ("QQQ", 301.0) in prices(heard))


# What is odd


async def test_a_message_that_is_no_price_is_counted_and_told_once(tmp_path: Path) -> None:
    heard = Heard()
    async with mosquitto(tmp_path) as broker:
        feed = feed_of(broker, heard, "QQQ", "SPY")
        with capture_logs() as logs:
            async with running(feed.run(heard.deliver)):
                await until(lambda: heard.was(SUBSCRIBED))
                for symbol in ("QQQ", "SPY"):
                    for payload in ("unavailable", "unknown", b"\xff", "0", "-1", "", "[" * 3000, "9" * 100_000):
                        await broker.publish(f"prices/{symbol}", payload)
                await broker.publish("prices/QQQ", "401.25")
                await until(lambda: heard.prints)
    assert prices(heard) == [("QQQ", 401.25)]
    assert feed.refused == 16
    assert feed.delivered == 1
    told = [(each["symbol"], each["problem"]) for each in logs if each["event"] == "message left out"]
    assert len(told) == len(set(told)) == 8


def test_a_message_that_nobody_subscribed_gives_no_price(tmp_path: Path) -> None:
    feed = feed_of(Mosquitto(tmp_path), Heard(), "QQQ", port=1883)
    assert feed._read([Message("prices/SPY", b"1", 0, False, 0, None)], SystemClock().now()) == []
    assert feed.refused == 1


# A broker that is away, mute, or too busy


async def test_a_broker_that_dies_and_comes_back_is_found_again(tmp_path: Path, at_once: None, version: str) -> None:
    async with mosquitto(tmp_path) as broker, feeding_from(broker, version=version) as heard:
        await broker.publish("prices/QQQ", "300")
        await until(lambda: heard.prints)
        await broker.kill()
        await until(lambda: heard.state is CONNECTING)
        assert heard.states[-1][2]
        await broker.start()
        await until(lambda: heard.was(SUBSCRIBED) == 2)
        await broker.publish("prices/QQQ", "301")
        await until(lambda: len(heard.prints) == 2)
        assert heard.state is LIVE


async def test_a_broker_that_is_not_there_yet_is_waited_for(tmp_path: Path, at_once: None) -> None:
    heard = Heard()
    async with mosquitto(tmp_path) as broker:
        await broker.stop()
        async with running(feed_of(broker, heard).run(heard.deliver)):
            await until(lambda: heard.was(CONNECTING) > 1)
            await broker.start()
            await until(lambda: heard.was(SUBSCRIBED))


async def test_a_mute_broker_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    monkeypatch.setattr(mqtt, "KEEPALIVE", 1)
    async with mosquitto(tmp_path) as broker, feeding_from(broker) as heard:
        broker.pause()
        await until(lambda: heard.state is CONNECTING)
        broker.resume()
        await until(lambda: heard.was(SUBSCRIBED) == 2)


async def test_a_broker_that_takes_the_connection_and_says_nothing_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    monkeypatch.setattr(mqtt, "ANSWER_WITHIN", 0.2)
    heard = Heard()
    async with mosquitto(tmp_path) as broker:
        broker.pause()
        async with running(feed_of(broker, heard).run(heard.deliver)):
            await until(lambda: heard.was(CONNECTING) > 1)
            broker.resume()
            await until(lambda: heard.was(SUBSCRIBED))


async def test_a_stop_waits_for_no_mute_broker(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, feeding_from(broker):
        broker.pause()
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < mqtt.CLOSE_WITHIN + 3


async def test_where_messages_are_too_many_the_newest_of_each_symbol_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "ROOM", 10)
    heard, goes_on = Heard(), asyncio.Event()

    async def deliver(batch: Sequence[Print], cursor: int | None) -> None:
        await heard.deliver(batch, cursor)
        await goes_on.wait()

    async with mosquitto(tmp_path, lines=["set_tcp_nodelay true"]) as broker:
        feed = feed_of(broker, heard, "QQQ", "SPY")
        with capture_logs() as logs:
            async with running(feed.run(deliver)):
                await until(lambda: heard.was(SUBSCRIBED))
                await broker.publish("prices/QQQ", "1")
                await until(lambda: heard.prints)
                await broker.publish("prices/SPY", "2")
                for price in range(100, 130):
                    await broker.publish("prices/QQQ", str(price))
                goes_on.set()
                await broker.publish("prices/QQQ", "3")
                await until(lambda: ("QQQ", 3.0) in prices(heard))
    assert prices(heard)[:2] == [("QQQ", 1.0), ("SPY", 2.0)]
    assert prices(heard)[-2:] == [("QQQ", 129.0), ("QQQ", 3.0)]
    [told] = [each for each in logs if each["event"] == "too many messages"]
    assert told["left_out"] + len(heard.prints) == 33
    assert told["left_out"] > 15
    assert (feed.dropped(), feed.waiting()) == (told["left_out"], 0)


def test_of_messages_that_wait_only_the_newest_of_each_topic_stay_where_they_are_too_many() -> None:
    inbox = Inbox(3)
    for topic, payload in (("a", b"1"), ("b", b"2"), ("a", b"3"), ("a", b"4"), ("b", b"5")):
        inbox.put_nowait(Message(topic, payload, 0, False, 0, None))
    assert [(each.topic.value, each.payload) for each in inbox.rest(10)] == [("a", b"4"), ("b", b"2"), ("b", b"5")]
    assert inbox.dropped == 2


# Silence


async def let_pass(clock: MovedClock, seconds: float) -> None:
    """Let time pass, and wait until the feed has looked whether prices still come."""
    await until(lambda: clock.waiting)
    clock.move(seconds)
    await until(lambda: clock.waiting)


async def test_silence_while_a_market_is_open_is_told_once_and_ends_with_a_price(tmp_path: Path) -> None:
    clock = MovedClock()
    async with mosquitto(tmp_path) as broker, feeding_from(broker, stale_after=300, clock=clock) as heard:
        await let_pass(clock, 300)
        assert heard.state is SUBSCRIBED
        for _ in range(3):
            await let_pass(clock, 100)
        assert heard.states[-1][1:] == (STALE, "no price for 300 s while a market is open: does its publisher run?")
        await broker.publish("prices/QQQ", "401.25")
        await until(lambda: heard.state is LIVE)
        await let_pass(clock, 300)
        assert heard.state is LIVE
        await let_pass(clock, 100)
        assert states(heard) == [CONNECTING, AUTHENTICATED, SUBSCRIBED, STALE, LIVE, STALE]


async def test_silence_counts_from_the_opening_of_the_first_market(tmp_path: Path) -> None:
    clock = MovedClock()
    opens_in_an_hour = Market(opens=(clock.now() + HOUR) % DAY)
    async with (
        mosquitto(tmp_path) as broker,
        feeding_from(broker, calendar=opens_in_an_hour, stale_after=300, clock=clock) as heard,
    ):
        await broker.publish("prices/QQQ", "401.25")
        await until(lambda: heard.state is LIVE)
        for seconds in (3599, 300):
            await let_pass(clock, seconds)
            assert heard.state is LIVE
        await let_pass(clock, 100)
        assert heard.state is STALE


async def test_silence_is_none_where_it_is_not_to_be_told(tmp_path: Path) -> None:
    clock = MovedClock()
    async with mosquitto(tmp_path) as broker, feeding_from(broker, stale_after=None, clock=clock) as heard:
        clock.move(100_000)
        await broker.publish("prices/QQQ", "401.25")
        await until(lambda: heard.state is LIVE)
        assert heard.was(STALE) == 0


# A broker that will not have us


async def refused(feed: MqttFeed, heard: Heard) -> str:
    """Run a feed that is refused; gives the reason."""
    with pytest.raises(FeedRefusedError) as caught:
        async with asyncio.timeout(20):
            await feed.run(heard.deliver)
    assert heard.states[-1][1] is REFUSED
    assert heard.states[-1][2] in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("password", ["wrong-word", None])
async def test_a_wrong_password_is_refused_and_not_told(tmp_path: Path, version: str, password: str | None) -> None:
    heard = Heard()
    async with mosquitto(tmp_path, users=NAMES) as broker:
        with capture_logs() as logs:
            feed = feed_of(broker, heard, user="daemon" if password else None, password=password, version=version)
            reason = await refused(feed, heard)
    assert reason.startswith("mqtt prices: ")
    assert "not authori" in reason or "user" in reason
    assert "wrong-word" not in reason + str(logs)


async def test_a_certificate_that_is_not_to_be_trusted_is_refused(tmp_path: Path, forgotten_sockets: None) -> None:
    heard, certificates = Heard(), Certificates(tmp_path)
    async with mosquitto(tmp_path, server=certificates.server) as broker:
        feed = feed_of(broker, heard, tls=True, ca=str(certificates.wrong_ca))
        assert "not to be trusted" in await refused(feed, heard)


async def test_a_topic_that_may_not_be_subscribed_is_refused_and_named(tmp_path: Path, version: str) -> None:
    heard = Heard()
    async with mosquitto(tmp_path, lines=allowing(tmp_path, "prices/SPY", "prices/BTC-USD")) as broker:
        async with feeding_from(broker, "SPY", "BTC/USD", version=version):
            pass
        reason = await refused(feed_of(broker, heard, "SPY", "QQQ", version=version), heard)
    assert reason == f"mqtt prices: 127.0.0.1:{broker.port} does not let us subscribe prices/QQQ"


def allowing(folder: Path, *topics: str) -> list[str]:
    """Let everybody subscribe these topics and no others: unlike its access list, a plugin refuses the rest."""
    [plugin] = Path("/usr/lib").glob("*/mosquitto_dynamic_security.so")
    may = [{"acltype": "subscribeLiteral", "topic": topic, "allow": True} for topic in topics]
    rules = {
        "defaultACLAccess": {"publishClientSend": True, "publishClientReceive": True, "subscribe": False},
        "roles": [{"rolename": "some", "acls": may}],
        "groups": [{"groupname": "all", "roles": [{"rolename": "some"}]}],
        "clients": [],
        "anonymousGroup": "all",
    }
    (folder / "rules.json").write_text(json.dumps(rules))
    return [f"plugin {plugin}", f"plugin_opt_config_file {folder / 'rules.json'}"]


async def test_prices_come_over_tls_with_a_name_and_a_certificate_of_ours(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificate, key = certificates.client
    tls = {"tls": True, "ca": str(certificates.ca), "certificate": str(certificate), "key": str(key)}
    described: dict[str, Any] = {"server": certificates.server, "client_ca": certificates.ca, "users": NAMES}
    async with (
        mosquitto(tmp_path, **described) as broker,
        feeding_from(broker, user="daemon", password="secret-word", **tls) as heard,
    ):
        await broker.publish("prices/QQQ", "401.25")
        await until(lambda: heard.prints)


async def test_one_who_was_taken_before_is_patient_where_he_is_refused_later(tmp_path: Path, at_once: None) -> None:
    login = {"user": "daemon", "password": "secret-word"}
    async with mosquitto(tmp_path, users=NAMES) as broker, feeding_from(broker, **login) as heard:
        await with_users(broker, {"another": "word"})
        await until(lambda: any("not authori" in reason for _, _, reason in heard.states))
        await with_users(broker, NAMES)
        await until(lambda: heard.was(SUBSCRIBED) == 2)
        assert heard.was(REFUSED) == 0


async def with_users(broker: Mosquitto, users: dict[str, str]) -> None:
    """Let a broker know other users than before."""
    broker._users = {**users, FOREIGN[0]: FOREIGN[1]}
    await broker.restart()
