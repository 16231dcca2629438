"""What goes wrong at the local Alpaca, without sockets: each fault strikes where and as often as told."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mrdaemon.core.instant import NEVER, SECOND, Instant
from mrdaemon.core.prints import Quote, Trade, trade_print
from mrdaemon.simulator.control import CONTROLS, PREFIX
from mrdaemon.simulator.exchange import ExchangeRules
from mrdaemon.simulator.faults import SOMETIMES, Fault, FaultName, Faults, Place, draw
from mrdaemon.simulator.lines import Socket
from mrdaemon.simulator.rest import Answer, Request
from mrdaemon.simulator.restfaults import HUNG_UP, WAIT
from mrdaemon.simulator.simulator import Session, Simulator
from mrdaemon.simulator.standing import NeverCloses
from mrdaemon.simulator.walk import Walk

ROOT = Path(__file__).parent.parent
BEGINS = Instant(1_767_623_400_000_000_000)
"""2026-01-05T14:30:00Z."""
KEYS = {"apca-api-key-id": "PKSIMULATOR", "apca-api-secret-key": "simulated"}
AUTH = {"action": "auth", "key": "PKSIMULATOR", "secret": "simulated"}


class World:
    """A simulator on a clock of the test's own, with one client of trades and one of order updates."""

    def __init__(self, seed: str = "", **named: Any) -> None:
        self.time = BEGINS
        rules = ExchangeRules(partial_fills=Decimal(0))
        self.simulator = Simulator(self.now, NeverCloses(), rules=rules, faults=Faults(seed), **named)
        self.told: list[Any] = []
        self.updated: list[Any] = []
        self.did: list[str] = []
        self.data = self.connect("/v2/iex", self.told)
        self.say(self.data, {"action": "subscribe", "trades": ["QQQ", "SPY"]})
        self.updates = self.connect("/stream", self.updated)
        self.say(self.updates, {"action": "listen", "data": {"streams": ["trade_updates"]}})
        self.told.clear()
        self.updated.clear()

    def now(self) -> Instant:
        return self.time

    def connect(self, path: str, heard: list[Any]) -> Session:
        socket = Socket(
            lambda frame: heard.append(json.loads(frame)),
            lambda code, reason: self.did.append("close"),
            lambda: self.did.append("cut"),
            lambda: self.did.append("freeze"),
        )
        session = self.simulator.attach(path, {}, socket)
        self.say(session, AUTH)
        return session

    @staticmethod
    def say(session: Session, said: object) -> None:
        session.receive(json.dumps(said))

    def fault(self, name: str, **fields: Any) -> None:
        self.simulator.faults.begin(Fault(FaultName(name), **fields))

    def price(self, *prices: float, symbol: str = "QQQ") -> None:
        for price in prices:
            quote = Quote(price - 0.01, price + 0.01)
            self.simulator.see([trade_print(symbol, price, self.time, Trade("@", 1.0), quote)])

    def prices(self) -> list[float]:
        """Give the prices that were told since the last time."""
        heard = [each["p"] for frame in self.told for each in frame]
        self.told.clear()
        return heard

    def later(self, seconds: float) -> None:
        self.time = Instant(self.time + int(seconds * SECOND))
        self.simulator.pass_time()

    def ask(self, method: str, path: str, **body: Any) -> Answer:
        return self.simulator.request(Request(method, path, {}, KEYS, json.dumps(body).encode() if body else b""))

    def order(self, name: str = "one") -> Answer:
        return self.ask(
            method="POST",
            path="/v2/orders",
            symbol="QQQ",
            qty="1",
            side="buy",
            type="market",
            time_in_force="day",
            client_order_id=name,
        )

    def orders(self) -> int:
        return len(self.simulator.exchange.orders())


@pytest.fixture
def world() -> World:
    return World()


# When a fault strikes


def test_a_fault_strikes_as_often_as_it_is_told_to() -> None:
    faults = Faults(faults=(Fault(FaultName.DROP, times=2),))
    assert [faults.strike(FaultName.DROP, Place()) is not None for _ in range(4)] == [True, True, False, False]
    assert faults.active == ()
    assert faults.log == {"drop": 2}


def test_a_fault_without_a_number_strikes_until_it_is_ended() -> None:
    faults = Faults(faults=(Fault(FaultName.DROP, times=0), Fault(FaultName.CUT)))
    assert all(faults.strike(FaultName.DROP, Place()) for _ in range(100))
    faults.end(FaultName.DROP)
    assert not faults.strike(FaultName.DROP, Place())
    assert faults.active == (Fault(FaultName.CUT),)
    faults.end()
    assert not faults.active


@pytest.mark.parametrize(
    ("fields", "place", "strikes"),
    [
        ({"stream": "iex"}, Place(stream="iex"), True),
        ({"stream": "iex"}, Place(stream="crypto"), False),
        ({"symbol": "QQQ"}, Place(stream="iex", symbol="QQQ"), True),
        ({"symbol": "QQQ"}, Place(stream="iex", symbol="SPY"), False),
        ({"path": "/v2/orders"}, Place(method="GET", path="/v2/orders/1"), True),
        ({"path": "/v2/orders", "method": "POST"}, Place(method="GET", path="/v2/orders"), False),
    ],
)
def test_a_fault_strikes_where_it_is_told_to(fields: dict[str, str], place: Place, strikes: bool) -> None:
    faults = Faults(faults=(Fault(FaultName.DROP, **fields),))  # type: ignore[arg-type]
    assert (faults.strike(FaultName.DROP, place) is not None) is strikes


def struck(seed: str) -> list[bool]:
    faults = Faults(seed, (Fault(FaultName.DROP, times=0, chance=0.3),))
    return [faults.strike(FaultName.DROP, Place("iex", f"S{number % 7}")) is not None for number in range(500)]


def test_a_seed_has_the_same_things_go_wrong_again() -> None:
    assert struck("a") == struck("a")
    assert struck("a") != struck("b")
    assert 100 < sum(struck("a")) < 200


def test_one_place_draws_nothing_from_another() -> None:
    faults = Faults("a", (Fault(FaultName.DROP, times=0, chance=0.3),))
    alone = [faults.strike(FaultName.DROP, Place("iex", "S0")) is not None for _ in range(72)]
    assert alone == struck("a")[::7]


def test_draws_lie_between_zero_and_one() -> None:
    drawn = [draw(str(number)) for number in range(1000)]
    assert 0 <= min(drawn) < 0.1
    assert 0.9 < max(drawn) < 1


def test_a_seed_lets_everything_go_wrong_but_the_clock() -> None:
    assert {each.name for each in SOMETIMES} == set(FaultName) - {FaultName.CLOCK_SKEW, FaultName.SLOW_CLIENT}


def test_every_fault_and_every_control_is_described() -> None:
    reference = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    first_cells = " ".join(line.split("|")[1] for line in reference.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`([a-z_0-9]+)`", first_cells))
    assert named == set(FaultName)
    asked = set(re.findall(r"`([A-Z]+ /simulator/\w+)`", first_cells))
    assert asked == {f"{method} {PREFIX}{name}" for name, methods in CONTROLS.items() for method in methods}


# Streams


def test_a_dropped_message_never_comes(world: World) -> None:
    world.fault("drop")
    world.price(1.0, 2.0)
    assert world.prices() == [2.0]


def test_a_doubled_message_comes_twice(world: World) -> None:
    world.fault("duplicate")
    world.price(1.0, 2.0)
    assert world.prices() == [1.0, 1.0, 2.0]


def test_a_swapped_message_comes_after_the_next(world: World) -> None:
    world.fault("reorder")
    world.price(1.0, 2.0, 3.0)
    assert world.prices() == [2.0, 1.0, 3.0]


def test_a_late_message_holds_up_those_behind_it(world: World) -> None:
    world.fault("delay", seconds=2)
    world.price(1.0, 2.0)
    world.later(1)
    assert world.prices() == []
    assert world.simulator.next_due == BEGINS + 2 * SECOND
    world.later(1)
    assert world.prices() == [1.0, 2.0]


def test_a_mute_stream_says_nothing_for_a_while(world: World) -> None:
    world.fault("mute", seconds=5)
    world.price(1.0)
    world.later(4)
    world.price(2.0)
    world.later(1)
    world.price(3.0)
    assert world.prices() == [3.0]


def test_a_fault_of_one_symbol_leaves_the_others(world: World) -> None:
    world.fault("drop", symbol="SPY")
    world.price(1.0)
    world.price(2.0, symbol="SPY")
    assert world.prices() == [1.0]


def test_a_cut_connection_is_reset_and_held_against_the_next(world: World) -> None:
    world.fault("cut")
    world.price(1.0)
    assert (world.prices(), world.did) == ([], ["cut"])
    heard: list[Any] = []
    world.connect("/v2/iex", heard)
    assert heard[-1][0]["code"] == 406
    world.later(90)
    world.connect("/v2/iex", heard)
    assert heard[-1][0]["msg"] == "authenticated"


def test_a_half_open_connection_hears_and_says_nothing(world: World) -> None:
    world.fault("half_open", stream="iex")
    world.price(1.0)
    world.say(world.data, {"action": "subscribe", "trades": ["IWM"]})
    assert (world.told, world.did) == ([], ["freeze"])
    assert world.data.due == NEVER
    heard: list[Any] = []
    world.connect("/v2/iex", heard)
    assert heard[-1][0]["code"] == 406


def test_a_reconnect_can_be_refused(world: World) -> None:
    world.data.closed(clean=True)
    world.fault("refuse", stream="iex")
    first: list[Any] = []
    world.connect("/v2/iex", first)
    second: list[Any] = []
    world.connect("/v2/iex", second)
    assert (first[-1][0]["code"], second[-1][0]["msg"]) == (406, "authenticated")


def test_a_client_can_be_called_slow(world: World) -> None:
    world.fault("slow_client")
    world.price(1.0)
    assert (world.told[-1][0]["code"], world.did) == (407, ["close"])


def test_a_stream_can_be_in_trouble(world: World) -> None:
    world.fault("stream_error")
    world.say(world.data, {"action": "subscribe", "trades": ["IWM"]})
    assert world.told == [[{"T": "error", "code": 500, "msg": "internal error"}]]
    world.price(1.0, symbol="IWM")
    assert len(world.told) == 1


def test_a_bad_print_is_far_off_and_is_taken_back(world: World) -> None:
    world.fault("bad_print", seconds=3)
    world.price(100.0)
    good, bad = (frame[0] for frame in world.told)
    assert (good["p"], bad["p"]) == (100.0, 1000.0)
    assert world.simulator.next_due <= BEGINS + 3 * SECOND
    world.later(3)
    taken_back = world.told[-1][0]
    assert (taken_back["T"], taken_back["i"]) == ("x", bad["i"])


def test_a_bad_print_fills_nothing(world: World) -> None:
    world.fault("bad_print")
    world.price(100.0)
    world.order()
    world.later(1)
    assert world.updated[-1]["data"]["price"] == "100.01"


# Order updates


def filled(world: World) -> list[Any]:
    world.price(100.0)
    assert world.order().status == 200
    world.later(1)
    return [each["data"] for each in world.updated]


def test_an_order_is_told_of_until_it_is_filled(world: World) -> None:
    assert [each["event"] for each in filled(world)] == ["pending_new", "new", "fill"]


def test_an_update_can_be_lost(world: World) -> None:
    world.fault("drop", stream="updates")
    assert [each["event"] for each in filled(world)] == ["new", "fill"]


def test_an_update_can_come_twice(world: World) -> None:
    world.fault("duplicate", stream="updates")
    assert [each["event"] for each in filled(world)] == ["pending_new", "pending_new", "new", "fill"]


def test_an_update_can_be_null(world: World) -> None:
    world.fault("null_update")
    assert filled(world)[0] is None


def test_an_update_can_be_of_a_kind_that_nobody_knows(world: World) -> None:
    world.fault("unknown_update")
    strange, new, _ = filled(world)
    assert strange["event"] == strange["order"]["status"] == "under_consideration"
    assert new["event"] == new["order"]["status"] == "new"


# REST


@pytest.mark.parametrize(("name", "status"), [("429", 429), ("500", 500), ("503", 503)])
def test_a_refused_request_is_not_acted_on(world: World, name: str, status: int) -> None:
    world.price(100.0)
    world.fault(name)
    assert world.order().status == status
    assert world.orders() == 0
    assert world.order().status == 200


@pytest.mark.parametrize(("name", "status"), [("504", 504), ("hang_up", HUNG_UP), ("gibberish", 502)])
def test_an_ambiguous_request_is_acted_on(world: World, name: str, status: int) -> None:
    world.price(100.0)
    world.fault(name)
    assert world.order().status == status
    assert world.orders() == 1


def test_a_gateway_times_out_on_orders_unless_told_otherwise(world: World) -> None:
    world.fault("504")
    assert world.ask("GET", "/v2/account").status == 200
    assert world.ask("GET", "/v2/orders").status == 200
    world.fault("504", path="/v2/account")
    assert world.ask("GET", "/v2/account").status == 504


def test_a_rate_limit_says_when_to_come_back(world: World) -> None:
    world.fault("429")
    answer = world.ask("GET", "/v2/account")
    assert len({name.lower() for name in answer.headers}) == len(answer.headers)
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert int(answer.headers["X-RateLimit-Reset"]) > BEGINS // SECOND


def test_a_slow_answer_says_for_how_long(world: World) -> None:
    world.fault("slow_answer", seconds=3)
    assert world.ask("GET", "/v2/account").headers[WAIT] == "3"


def test_a_clock_that_is_off_stamps_everything_off(world: World) -> None:
    world.fault("clock_skew", seconds=30, times=0)
    assert json.loads(world.ask("GET", "/v2/clock").body)["timestamp"].startswith("2026-01-05T09:30:30")
    world.price(1.0)
    assert world.told[-1][0]["t"] == "2026-01-05T14:30:30Z"


# The control endpoint


def control(world: World, name: str, **body: Any) -> Any:
    answer = world.ask("POST", f"/simulator/{name}", **body)
    assert answer.status == 200, answer.body
    world.later(1)
    return json.loads(answer.body)


def cash(world: World) -> Decimal:
    return Decimal(str(world.simulator.exchange.account()["cash"]))


def shares(world: World) -> list[object]:
    return [each["qty"] for each in world.simulator.exchange.positions()]


def test_cash_comes_and_goes(world: World) -> None:
    control(world, "deposit", amount="50.25")
    assert cash(world) == Decimal("100050.25")
    control(world, "fee", amount=0.25)
    assert cash(world) == 100050


def test_a_dividend_is_paid_on_the_shares_held_less_what_is_withheld(world: World) -> None:
    filled(world)
    before = cash(world)
    control(world, "dividend", symbol="QQQ", per_share="2.00", withheld="0.15")
    assert cash(world) - before == Decimal("1.70")


def test_a_split_is_booked_when_it_is_told_to(world: World) -> None:
    filled(world)
    control(world, "split", symbol="QQQ", new_rate=2, booked_after_s=10)
    assert shares(world) == ["1"]
    world.later(10)
    assert shares(world) == ["2"]


def test_an_execution_is_broken(world: World) -> None:
    filled(world)
    order = world.simulator.exchange.orders()[0]["id"]
    control(world, "bust", order_id=order)
    assert world.updated[-1]["data"]["event"] == "trade_bust"
    assert shares(world) == []


def test_an_execution_is_corrected(world: World) -> None:
    filled(world)
    order = world.simulator.exchange.orders()[0]["id"]
    control(world, "bust", order_id=order, price="99.00")
    assert world.updated[-1]["data"]["event"] == "trade_correct"


def test_nothing_fills_in_a_halt(world: World) -> None:
    world.price(100.0)
    control(world, "halt", symbol="QQQ")
    world.order()
    world.later(1)
    assert shares(world) == []
    control(world, "resume", symbol="QQQ")
    assert shares(world) == ["1"]


def test_trades_are_taken_back_and_corrected_by_request(world: World) -> None:
    world.price(1.0)
    assert control(world, "trade", symbol="QQQ") == {"taken_back": world.told[0][0]["i"]}
    control(world, "trade", symbol="QQQ", price=1.5)
    assert [frame[0]["T"] for frame in world.told] == ["t", "x", "c"]


# What happens to trades afterwards, and by itself


def test_a_trade_can_be_corrected(world: World) -> None:
    world.price(1.0, 2.0)
    first = world.told[0][0]["i"]
    world.simulator.correct("QQQ", 1.5, first)
    corrected = world.told[-1][0]
    assert [corrected[key] for key in ("T", "oi", "op", "cp")] == ["c", first, 1.0, 1.5]


def test_the_newest_trade_is_taken_back_unless_told_otherwise(world: World) -> None:
    world.price(1.0, 2.0)
    world.simulator.take_back("QQQ")
    assert world.told[-1][0]["p"] == 2.0


def test_a_minute_bar_comes_when_the_minute_is_over(world: World) -> None:
    world.say(world.data, {"action": "subscribe", "bars": ["QQQ"]})
    world.price(1.0, 2.0)
    world.told.clear()
    assert world.simulator.next_due <= BEGINS + 60 * SECOND
    world.later(60)
    assert [(each["T"], each["o"], each["c"]) for each in world.told[0]] == [("b", 1.0, 2.0)]


def test_the_delayed_tape_comes_a_quarter_of_an_hour_later(world: World) -> None:
    heard: list[Any] = []
    delayed = world.connect("/v2/delayed_sip", heard)
    world.say(delayed, {"action": "subscribe", "trades": ["QQQ"]})
    heard.clear()
    world.price(1.0)
    world.later(899)
    assert heard == []
    world.later(1)
    assert heard[0][0]["p"] == 1.0


def test_the_test_stream_goes_on_by_itself(world: World) -> None:
    world.later(3600)
    heard: list[Any] = []
    world.say(world.connect("/v2/test", heard), {"action": "subscribe", "trades": ["*"]})
    heard.clear()
    world.later(0)
    assert [len(frame) for frame in heard] == [1]
    assert world.simulator.next_due <= world.time + SECOND


def test_connections_that_ended_are_forgotten(world: World) -> None:
    world.data.closed(clean=True)
    world.updates.closed(clean=False)
    world.connect("/v2/iex", [])
    assert len(world.simulator.sessions) == 1


def test_a_life_with_faults_is_the_same_again() -> None:
    assert life("seed") == life("seed")
    assert life("seed") != life("other")


def life(seed: str) -> list[Any]:
    world = World(seed)
    for each in SOMETIMES:
        if each.name not in {FaultName.CUT, FaultName.HALF_OPEN}:
            world.simulator.faults.begin(each)
    walk = Walk({"QQQ": 500.0, "SPY": 600.0}, seed, BEGINS)
    for number in range(300):
        world.simulator.see(walk.take(world.time))
        if number % 10 == 0:
            world.order(str(number))
        world.later(1)
    return [world.told, [each["data"] and each["data"]["event"] for each in world.updated]]
