"""The streams of the local Alpaca, without sockets: what a client is told, frame by frame."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Self

import msgpack  # type: ignore[import-untyped]
import msgspec
import pytest

from mrdaemon.core.instant import MINUTE, SECOND, Instant
from mrdaemon.core.prints import Bar, Print, Quote, Trade, quote_print, trade_print
from mrdaemon.simulator.faults import Faults
from mrdaemon.simulator.keys import Keys, Plan, Trading
from mrdaemon.simulator.lines import Line, Socket
from mrdaemon.simulator.messages import (
    BarMessage,
    DailyBarMessage,
    LuldMessage,
    Message,
    Stamp,
    StatusMessage,
    UpdatedBarMessage,
    cancel,
    correction,
    messages,
)
from mrdaemon.simulator.minutes import Minutes
from mrdaemon.simulator.slots import Slots
from mrdaemon.simulator.streams import ENDPOINTS, MOST_BEHIND, DataSession
from mrdaemon.simulator.updates import UpdateSession

BEGINS = Instant(1_767_623_400_000_000_000)
"""2026-01-05T14:30:00Z: New York opens."""
AT = Instant(BEGINS + 123_456_789)
CONNECTED = [{"T": "success", "msg": "connected"}]
AUTHENTICATED = [{"T": "success", "msg": "authenticated"}]
MSGPACK = {"content-type": "application/msgpack"}
UPDATE = {"event": "new", "order": {"symbol": "QQQ", "status": "new"}}


class Client:
    """What one client of a stream said and heard."""

    def __init__(self, bench: Bench, session: Callable[[Socket], DataSession | UpdateSession]) -> None:
        self.frames: list[bytes | str] = []
        self.ended: list[tuple[int, str]] = []
        self.waiting = 0
        self.bench = bench
        self.session = session(Socket(self.frames.append, self._end, backlog=lambda: self.waiting))

    def _end(self, code: int, reason: str) -> None:
        self.ended.append((code, reason))

    def open(self, headers: dict[str, str] | None = None) -> Self:
        self.session.opened(headers or {})
        return self

    def say(self, **said: Any) -> Self:
        self.session.receive(json.dumps(said))
        return self

    def log_in(self) -> Self:
        return self.say(action="auth", key="PKSIMULATOR", secret="simulated")

    def heard(self) -> list[Any]:
        """Give what came since the last time, as JSON."""
        heard = [json.loads(each) for each in self.frames]
        self.frames.clear()
        return heard

    def codes(self) -> list[int]:
        return [each["code"] for frame in self.heard() for each in frame if each["T"] == "error"]


class Bench:
    """A clock, keys and limits that the clients of a test share."""

    def __init__(self, plan: Plan = Plan.FREE, trading: Trading = Trading.PAPER) -> None:
        self.now = BEGINS
        self.keys = Keys(plan=plan, trading=trading)
        self.slots = Slots()
        self.faults = Faults()

    def time(self) -> Instant:
        return self.now

    def data(self, path: str = "/v2/iex") -> Client:
        def session(socket: Socket) -> DataSession:
            endpoint = ENDPOINTS[path]
            line = Line[Message](socket, endpoint.name, self.faults, self.time)
            return DataSession(endpoint, line, self.keys, self.slots, self.time)

        return Client(self, session)

    def updates(self) -> Client:
        return Client(
            self, lambda socket: UpdateSession(Line(socket, "updates", self.faults, self.time), self.keys, self.time)
        )

    def listening(self, path: str = "/v2/iex", **channels: list[str]) -> Client:
        client = self.data(path).open().log_in().say(action="subscribe", **channels)
        client.frames.clear()
        return client


@pytest.fixture
def bench() -> Bench:
    return Bench()


def trade(symbol: str = "QQQ", price: float = 500.25, number: int = 7, at: Instant = AT) -> Print:
    return trade_print(symbol, price, at, Trade("@F", 3.0, number))


def tell(client: Client, *prints: Print) -> list[Any]:
    assert isinstance(client.session, DataSession)
    client.session.publish([message for each in prints for message in messages(each)])
    return client.heard()


def test_the_server_speaks_first(bench: Bench) -> None:
    assert bench.data().open().heard() == [CONNECTED]


def test_a_client_is_authenticated_by_a_message(bench: Bench) -> None:
    assert bench.data().open().log_in().heard() == [CONNECTED, AUTHENTICATED]


def test_a_client_is_authenticated_by_the_headers_of_its_handshake(bench: Bench) -> None:
    client = bench.data().open({"apca-api-key-id": "PKSIMULATOR", "apca-api-secret-key": "simulated"})
    assert client.heard() == [CONNECTED, AUTHENTICATED]


def test_wrong_keys_fail_and_may_be_tried_again(bench: Bench) -> None:
    client = bench.data().open().say(action="auth", key="PKSIMULATOR", secret="wrong")
    assert client.heard()[1:] == [[{"T": "error", "code": 402, "msg": "auth failed"}]]
    assert client.log_in().heard() == [AUTHENTICATED]


def test_revoked_keys_fail(bench: Bench) -> None:
    bench.keys.revoke()
    assert bench.data().open().log_in().codes() == [402]


def test_a_second_authentication_is_an_error(bench: Bench) -> None:
    assert bench.data().open().log_in().log_in().codes() == [403]


@pytest.mark.parametrize("said", ["{", "[]", "3", '{"action": "dance"}', "{}", b"\xff\xfe"])
def test_what_is_no_request_is_a_syntax_error(bench: Bench, said: str | bytes) -> None:
    client = bench.data().open()
    client.session.receive(said)
    assert client.codes() == [400]


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
def test_who_is_not_authenticated_cannot_subscribe(bench: Bench, action: str) -> None:
    assert bench.data().open().say(action=action, trades=["QQQ"]).codes() == [401]


def test_a_client_that_does_not_authenticate_within_ten_seconds_is_closed(bench: Bench) -> None:
    client = bench.data().open()
    bench.now = Instant(BEGINS + 10 * SECOND - 1)
    client.session.pass_time()
    assert client.codes() == []
    assert client.session.due == BEGINS + 10 * SECOND
    bench.now = client.session.due
    client.session.pass_time()
    assert client.codes() == [404]
    assert len(client.ended) == 1


def test_an_authenticated_client_has_no_deadline(bench: Bench) -> None:
    client = bench.data().open().log_in()
    bench.now = Instant(BEGINS + MINUTE)
    client.session.pass_time()
    assert client.codes() == []


def test_a_subscription_is_answered_with_the_whole_set(bench: Bench) -> None:
    client = bench.listening(trades=["QQQ"], quotes=["SPY"])
    assert client.say(action="subscribe", trades=["SPY"], dailyBars=["QQQ"]).heard() == [
        [
            {
                "T": "subscription",
                "trades": ["QQQ", "SPY"],
                "quotes": ["SPY"],
                "bars": [],
                "updatedBars": [],
                "dailyBars": ["QQQ"],
                "statuses": [],
                "lulds": [],
                "corrections": ["QQQ", "SPY"],
                "cancelErrors": ["QQQ", "SPY"],
            }
        ]
    ]


def test_an_unsubscription_is_answered_with_what_is_left(bench: Bench) -> None:
    client = bench.listening(trades=["QQQ", "SPY"])
    answer = client.say(action="unsubscribe", trades=["QQQ", "IWM"]).heard()[0][0]
    assert (answer["trades"], answer["corrections"]) == (["SPY"], ["SPY"])


def test_crypto_has_order_books_and_no_statuses(bench: Bench) -> None:
    client = bench.data("/v1beta3/crypto/us").open().log_in().say(action="subscribe", trades=["BTC/USD"])
    assert list(client.heard()[-1][0]) == ["T", "trades", "quotes", "orderbooks", "bars", "updatedBars", "dailyBars"]


@pytest.mark.parametrize("channel", ["orderbooks", "news", "weather"])
def test_a_channel_that_the_feed_does_not_have_is_refused(bench: Bench, channel: str) -> None:
    client = bench.listening(trades=["QQQ"])
    assert client.say(action="subscribe", quotes=["SPY"], **{channel: ["QQQ"]}).codes() == [410]
    assert tell(client, quote_print("SPY", 1.0, 2.0, AT)) == []


@pytest.mark.parametrize("symbols", ["QQQ", [1], {"QQQ": 1}, None])
def test_symbols_come_in_a_list(bench: Bench, symbols: object) -> None:
    assert bench.listening(trades=["QQQ"]).say(action="subscribe", trades=symbols).codes() == [400]


def test_the_free_plan_has_30_channels_of_trades_and_quotes(bench: Bench) -> None:
    symbols = [f"S{number}" for number in range(15)]
    client = bench.listening(trades=symbols, quotes=symbols, bars=["QQQ"])
    assert client.say(action="subscribe", trades=["QQQ"]).codes() == [405]
    assert tell(client, trade("QQQ")) == []
    assert len(tell(client, trade("S14"))) == 1


def test_the_free_plan_has_no_wildcard_of_trades(bench: Bench) -> None:
    assert bench.listening().say(action="subscribe", trades=["*"]).codes() == [405]


def test_the_paid_plan_has_any_number_of_channels() -> None:
    client = Bench(Plan.PLUS).listening("/v2/sip", trades=[f"S{number}" for number in range(31)])
    assert len(tell(client, trade("S30"))) == 1


def test_the_free_plan_does_not_open_the_consolidated_tape(bench: Bench) -> None:
    client = bench.data("/v2/sip").open().log_in()
    assert client.codes() == [409]
    assert len(client.ended) == 1


def test_a_second_connection_to_an_endpoint_is_closed(bench: Bench) -> None:
    bench.data().open().log_in()
    second = bench.data().open().log_in()
    assert second.codes() == [406]
    assert len(second.ended) == 1


def test_each_endpoint_has_a_connection_of_its_own(bench: Bench) -> None:
    bench.data("/v2/iex").open().log_in()
    assert bench.data("/v1beta3/crypto/us").open().log_in().heard()[-1] == AUTHENTICATED


def test_a_connection_that_was_closed_makes_room_at_once(bench: Bench) -> None:
    bench.data().open().log_in().session.closed(clean=True)
    assert bench.data().open().log_in().heard()[-1] == AUTHENTICATED


def test_a_connection_that_broke_off_counts_for_90_seconds(bench: Bench) -> None:
    bench.data().open().log_in().session.closed(clean=False)
    bench.now = Instant(BEGINS + 90 * SECOND - 1)
    assert bench.data().open().log_in().codes() == [406]
    bench.now = Instant(BEGINS + 90 * SECOND)
    assert bench.data().open().log_in().codes() == []


def test_who_was_turned_away_leaves_the_first_connection_its_place(bench: Bench) -> None:
    first = bench.data().open().log_in()
    bench.data().open().log_in().session.closed(clean=True)
    assert bench.data().open().log_in().codes() == [406]
    assert not first.ended


def test_a_trade_is_told_as_the_service_tells_it(bench: Bench) -> None:
    client = bench.listening(trades=["QQQ"])
    tell(client)
    assert isinstance(client.session, DataSession)
    client.session.publish(messages(trade()))
    assert client.frames == [
        '[{"T":"t","S":"QQQ","t":"2026-01-05T14:30:00.123456789Z","i":7,"x":"V","p":500.25,"s":3,"c":["@","F"],"z":"C"}]'
    ]


def test_a_quote_is_told_as_the_service_tells_it(bench: Bench) -> None:
    client = bench.listening(quotes=["QQQ"])
    assert tell(client, quote_print("QQQ", 500.1, 500.3, BEGINS)) == [
        [
            {
                "T": "q",
                "S": "QQQ",
                "bx": "V",
                "bp": 500.1,
                "bs": 100,
                "ax": "V",
                "ap": 500.3,
                "as": 100,
                "c": ["R"],
                "z": "C",
                "t": "2026-01-05T14:30:00Z",
            }
        ]
    ]


def test_a_trade_that_brings_its_quote_is_two_messages_in_one_array(bench: Bench) -> None:
    client = bench.listening(trades=["QQQ"], quotes=["QQQ"])
    seen = trade_print("QQQ", 500.2, AT, Trade(id=1), Quote(500.1, 500.3))
    assert [each["T"] for each in tell(client, seen)[0]] == ["q", "t"]


def test_a_bar_is_told_as_a_trade_at_its_close(bench: Bench) -> None:
    client = bench.listening(trades=["QQQ"])
    (told,) = tell(client, trade_print("QQQ", 500.5, AT, Bar(499.0, 501.0, 498.0, 500.5, 1200.0)))[0]
    assert (told["T"], told["p"], told["s"]) == ("t", 500.5, 1200)


def test_crypto_has_no_exchange_condition_or_tape(bench: Bench) -> None:
    client = bench.listening("/v1beta3/crypto/us", trades=["BTC/USD"], quotes=["*"])
    told, quoted = tell(client, trade("BTC/USD"), quote_print("BTC/USD", 1.5, 2.5, AT))[0]
    assert set(told) == {"T", "S", "t", "p", "s", "i", "tks"}
    assert told["tks"] in {"B", "S"}
    assert set(quoted) == {"T", "S", "t", "bp", "bs", "ap", "as"}


def test_an_order_book_replaces_all_that_was_known(bench: Bench) -> None:
    client = bench.listening("/v1beta3/crypto/us", orderbooks=["BTC/USD"])
    (book,) = tell(client, quote_print("BTC/USD", 1.5, 2.5, AT))[0]
    assert (book["T"], book["r"], book["b"], book["a"]) == ("o", True, [{"p": 1.5, "s": 1.0}], [{"p": 2.5, "s": 1.0}])


@pytest.mark.parametrize("path", sorted(ENDPOINTS))
def test_each_stream_tells_of_its_own_symbols_only(path: str) -> None:
    client = Bench(Plan.PLUS).listening(path, trades=["*"])
    told = tell(client, trade("QQQ"), trade("BTC/USD"), trade("FAKEPACA"))[0]
    wanted = {"/v2/test": "FAKEPACA", "/v1beta3/crypto/us": "BTC/USD"}.get(path, "QQQ")
    assert [each["S"] for each in told] == [wanted]


def test_msgpack_has_the_kind_first_and_time_to_the_nanosecond(bench: Bench) -> None:
    client = bench.data().open(MSGPACK)
    client.session.receive(msgpack.packb({"action": "auth", "key": "PKSIMULATOR", "secret": "simulated"}))
    client.session.receive(msgpack.packb({"action": "subscribe", "trades": ["QQQ"]}))
    assert isinstance(client.session, DataSession)
    client.session.publish(messages(trade()))
    told = [msgpack.unpackb(each) for each in client.frames if isinstance(each, bytes)]
    assert told[:2] == [CONNECTED, AUTHENTICATED]
    assert told[2][0]["trades"] == ["QQQ"]
    assert next(iter(told[3][0])) == "T"
    assert told[3][0]["t"].to_unix_nano() == AT


@pytest.mark.parametrize("at", [BEGINS, AT, Instant(2**34 * SECOND + 1), Instant(-1)])
def test_any_time_is_a_msgpack_timestamp(bench: Bench, at: Instant) -> None:
    client = bench.data().open(MSGPACK).log_in().say(action="subscribe", trades=["QQQ"])
    assert isinstance(client.session, DataSession)
    client.session.publish(messages(trade(at=at)))
    frame = client.frames[-1]
    assert isinstance(frame, bytes)
    assert msgpack.unpackb(frame)[0]["t"].to_unix_nano() == at


def test_corrections_and_cancels_come_with_trades_unasked(bench: Bench) -> None:
    client = bench.listening(trades=["QQQ"])
    other = bench.listening("/v2/test", quotes=["QQQ"])
    for each in (client, other):
        assert isinstance(each.session, DataSession)
        each.session.publish([cancel(trade()), correction(trade(), trade(price=499.0, number=8))])
    taken_back, corrected = client.heard()[0]
    assert (taken_back["T"], taken_back["i"], taken_back["p"], taken_back["a"]) == ("x", 7, 500.25, "C")
    assert [corrected[key] for key in ("T", "oi", "op", "ci", "cp")] == ["c", 7, 500.25, 8, 499.0]
    assert other.heard() == []


def test_halts_and_limits_have_channels_of_their_own(bench: Bench) -> None:
    client = bench.listening(statuses=["QQQ"], lulds=["QQQ"])
    assert isinstance(client.session, DataSession)
    halted = StatusMessage("QQQ", Stamp(AT), "H", "Trading Halt", "T12", "Additional Information Requested", "C")
    client.session.publish([halted, LuldMessage("QQQ", Stamp(AT), 525.0, 475.0, "B", "C")])
    assert [each["T"] for each in client.heard()[0]] == ["s", "l"]


def test_a_client_that_does_not_keep_up_is_told_and_cut(bench: Bench) -> None:
    client = bench.listening(trades=["QQQ"])
    client.waiting = MOST_BEHIND
    assert tell(client, trade()) == [[{"T": "error", "code": 407, "msg": "slow client"}]]
    assert len(client.ended) == 1
    assert bench.data().open().log_in().codes() == []


# Bars


def bars(minutes: Minutes, after: float) -> list[Message]:
    return minutes.told(Instant(BEGINS + int(after * SECOND)))


def minutes_of(*trades: tuple[float, float]) -> Minutes:
    """Make bars of trades, each at so many seconds and a price."""
    minutes = Minutes()
    for after, price in trades:
        minutes.add(trade(price=price, at=Instant(BEGINS + int(after * SECOND))), "2026-01-05")
    return minutes


def test_a_minute_is_told_once_it_is_over() -> None:
    minutes = minutes_of((1, 10.0), (2, 12.0), (3, 9.0), (4, 11.0))
    assert bars(minutes, 59) == []
    assert minutes.due == BEGINS + MINUTE
    bar = bars(minutes, 60)[0]
    assert bar == BarMessage("QQQ", Stamp(BEGINS), 10.0, 12.0, 9.0, 11.0, 12.0, 4, 10.5)
    assert bars(minutes, 61) == []


def test_a_new_minute_ends_the_one_before_it() -> None:
    minutes = minutes_of((1, 10.0), (61, 11.0))
    bar, day = bars(minutes, 62)
    assert isinstance(bar, BarMessage)
    assert isinstance(day, DailyBarMessage)
    assert (bar.t, bar.c, bar.n) == (Stamp(BEGINS), 10.0, 1)


def test_a_new_day_begins_anew() -> None:
    minutes = minutes_of((1, 10.0))
    bars(minutes, 60)
    minutes.add(trade(price=14.0, at=Instant(BEGINS + 61 * SECOND)), "2026-01-06")
    day = bars(minutes, 120)[1]
    assert isinstance(day, DailyBarMessage)
    assert (day.o, day.n) == (14.0, 1)


def test_the_day_so_far_comes_with_every_minute() -> None:
    minutes = minutes_of((1, 10.0))
    bars(minutes, 60)
    minutes.add(trade(price=14.0, at=Instant(BEGINS + 61 * SECOND)), "2026-01-05")
    day = bars(minutes, 120)[1]
    assert isinstance(day, DailyBarMessage)
    assert (day.o, day.h, day.l, day.c, day.n) == (10.0, 14.0, 10.0, 14.0, 2)


def test_a_late_trade_has_its_minute_told_again() -> None:
    minutes = minutes_of((1, 10.0))
    bars(minutes, 60)
    minutes.add(trade(price=8.0, at=Instant(BEGINS + 2 * SECOND)), "2026-01-05")
    assert bars(minutes, 61) == []
    updated = bars(minutes, 90)[0]
    assert isinstance(updated, UpdatedBarMessage)
    assert (updated.l, updated.n) == (8.0, 2)


# Order updates


def test_order_updates_of_paper_come_in_binary_frames(bench: Bench) -> None:
    client = bench.updates().open().log_in()
    assert isinstance(client.frames[0], bytes)


def test_order_updates_of_a_live_account_come_in_text() -> None:
    client = Bench(trading=Trading.LIVE).updates().open().log_in()
    assert isinstance(client.frames[0], str)


def test_on_order_updates_the_client_speaks_first(bench: Bench) -> None:
    assert bench.updates().open().heard() == []


def test_the_present_dialect_is_authorized(bench: Bench) -> None:
    assert bench.updates().open().log_in().heard() == [
        {"stream": "authorization", "data": {"action": "authenticate", "status": "authorized"}}
    ]


def test_the_old_dialect_is_authorized_with_a_warning(bench: Bench) -> None:
    keys = {"key_id": "PKSIMULATOR", "secret_key": "simulated"}
    client = bench.updates().open().say(action="authenticate", data=keys)
    recorded = (
        b'{"stream":"authorization","data":{"action":"authenticate","message":"this authentication format is being'
        b' deprecated. Please use the format: {\\"action\\": \\"auth\\", \\"key\\": \\"x\\", \\"secret\\": \\"x\\"}",'
        b'"status":"authorized"}}'
    )
    assert client.frames == [recorded]


def test_wrong_keys_are_unauthorized(bench: Bench) -> None:
    heard = bench.updates().open().say(action="auth", key="PKSIMULATOR", secret="wrong").heard()
    assert heard[0]["data"]["status"] == "unauthorized"


def listen(client: Client) -> Client:
    client.say(action="listen", data={"streams": ["trade_updates"]})
    return client


def test_who_is_not_authorized_cannot_listen(bench: Bench) -> None:
    client = listen(bench.updates().open())
    assert client.heard() == [{"stream": "authorization", "data": {"action": "listen", "status": "unauthorized"}}]
    assert isinstance(client.session, UpdateSession)
    client.session.publish(UPDATE)
    assert client.heard() == []


def test_a_listening_client_is_told_of_orders(bench: Bench) -> None:
    client = listen(bench.updates().open().log_in())
    assert client.heard()[1] == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
    assert isinstance(client.session, UpdateSession)
    client.session.publish(UPDATE)
    assert client.heard() == [{"stream": "trade_updates", "data": UPDATE}]


def test_an_empty_list_stops_listening(bench: Bench) -> None:
    client = listen(bench.updates().open().log_in()).say(action="listen", data={"streams": []})
    assert isinstance(client.session, UpdateSession)
    client.session.publish(UPDATE)
    assert client.heard()[-1] == {"stream": "listening", "data": {"streams": []}}


def test_who_does_not_say_who_it_is_is_closed(bench: Bench) -> None:
    client = bench.updates().open()
    assert client.session.due == BEGINS + 30 * SECOND
    bench.now = client.session.due
    client.session.pass_time()
    assert len(client.ended) == 1


@pytest.mark.parametrize("said", ["{", "[]", '{"action": "auth"}', '{"action": "listen", "data": 3}', b"\xff"])
def test_what_is_no_request_is_answered_with_an_error(bench: Bench, said: str | bytes) -> None:
    client = bench.updates().open()
    client.session.receive(said)
    assert client.heard()[0]["action"] == "error"


def test_order_updates_speak_msgpack_when_asked_to(bench: Bench) -> None:
    client = bench.updates().open(MSGPACK).log_in()
    assert isinstance(client.frames[0], bytes)
    assert msgspec.msgpack.decode(client.frames[0])["stream"] == "authorization"
