"""Commands over MQTT: what is obeyed, what is not and why, and that all of it is on the record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from structlog.testing import capture_logs

from mrdaemon.alerts import mqttcommands, mqttlimits
from mrdaemon.alerts.asker import Answer, Asker
from mrdaemon.alerts.mqttcommands import Commands, Incoming
from mrdaemon.alerts.mqttmessages import Topics
from mrdaemon.asking import Asking
from mrdaemon.asks import MalformedError
from mrdaemon.core import acts
from mrdaemon.core import events as ev
from mrdaemon.core.commands import Command
from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.core.policy import Mode, TradingState
from mrdaemon.daemon import Daemon, StoppingError
from tests.alerts_mqtt import BASE, STARTED, Asked, FakeAsker
from tests.builders import Bench, plan, position

ALLOWED = ("pause", "resume", "approve", "reject", "halt")
NOW = STARTED + 1000 * SECOND


def at(seconds: float = 0) -> str:
    return iso(Instant(NOW + int(seconds * SECOND)))


def body(**fields: Any) -> bytes:
    return json.dumps({"at": at(), **fields}).encode()


class Ears:
    """Commands that come in, and the answers that went out."""

    def __init__(self, asker: FakeAsker, behind: Asker | None = None) -> None:
        self.wall = NOW
        self.commands = Commands(
            "phone", Topics("home"), ALLOWED, behind or asker, lambda: self.wall, ("homeassistant",)
        )
        self.answers: list[tuple[str, Any, bytes | None]] = []
        self.asker = asker

    def hear(self, name: str, payload: bytes, **more: Any) -> None:
        self.commands.take(Incoming(f"{BASE}/cmd/{name}", payload, **{"retained": False, **more}), STARTED, self._reply)

    def _reply(self, topic: str, payload: bytes, correlation: bytes | None) -> None:
        self.answers.append((topic, json.loads(payload), correlation))

    async def answered(self, count: int = 1) -> list[Any]:
        """Wait until so many answers went out; gives what they say."""
        async with asyncio.timeout(10):
            while len(self.answers) < count:  # noqa: ASYNC110 - it takes a turn of the loop or two
                await asyncio.sleep(0)
        return [payload for _, payload, _ in self.answers]

    async def refusal(self) -> str:
        """Give why the only command was refused: it is answered, on the record, and was not carried out."""
        [answer] = await self.answered()
        assert not self.asker.asked
        assert not answer["ok"]
        assert [answer["refused"]] == [reason for _, _, reason in self.asker.refused]
        refused: str = answer["refused"]
        return refused


@asynccontextmanager
async def listening(asker: FakeAsker | None = None, behind: Asker | None = None) -> AsyncIterator[Ears]:
    ears = Ears(asker or FakeAsker(), behind)
    running = asyncio.create_task(ears.commands.run())
    try:
        yield ears
    finally:
        running.cancel()
        await asyncio.wait([running])


# What is obeyed


async def test_a_command_is_carried_out_and_answered() -> None:
    async with listening() as ears:
        ears.hear("pause", body(symbol="QQQ", why="earnings", by="anna", id="7"))
        [answer] = await ears.answered()
    assert ears.asker.asked == [Asked("pause", {"symbol": "QQQ", "why": "earnings"}, "anna (mqtt phone)")]
    assert ears.answers[0][0] == f"{BASE}/cmd/pause/response"
    assert answer == {
        "v": 1,
        "at": at(),
        "command": "pause",
        "id": "7",
        "ok": True,
        "changed": ["Signals are paused, by anna."],
        "notes": ["Note this."],
        "refused": None,
    }


async def test_the_id_of_an_approval_is_the_requests() -> None:
    async with listening() as ears:
        ears.hear("approve", body(id="core/QQQ/7"))
        [answer] = await ears.answered()
    assert ears.asker.asked == [Asked("approve", {"id": "core/QQQ/7"}, "mqtt phone")]
    assert answer["id"] == "core/QQQ/7"


async def test_commands_are_carried_out_one_at_a_time_in_order() -> None:
    async with listening() as ears:
        for number in range(5):
            ears.hear("pause", body(symbol=f"S{number}"))
        await ears.answered(5)
    assert [each.body["symbol"] for each in ears.asker.asked] == ["S0", "S1", "S2", "S3", "S4"]


async def test_what_the_daemon_refuses_is_answered_with_its_reason() -> None:
    asker = FakeAsker()
    asker.answer = Answer((), (), "there is no position XYZ")
    async with listening(asker) as ears:
        ears.hear("halt", body(symbol="XYZ"))
        [answer] = await ears.answered()
    assert (answer["ok"], answer["refused"]) == (False, "there is no position XYZ")
    assert asker.refused == []


async def test_what_cannot_be_read_is_put_on_the_record() -> None:
    asker = FakeAsker()
    asker.fails = MalformedError("symbol: wanted plain text")
    async with listening(asker) as ears:
        ears.hear("halt", body(symbol="\n"))
        [answer] = await ears.answered()
    assert answer["refused"] == "symbol: wanted plain text"
    assert asker.refused == [("halt", "mqtt phone", "symbol: wanted plain text")]


async def test_a_daemon_that_stops_says_so() -> None:
    asker = FakeAsker()
    asker.fails = StoppingError("the daemon is stopping")
    async with listening(asker) as ears:
        ears.hear("halt", body())
        [answer] = await ears.answered()
    assert answer["refused"] == "it could not be carried out: the daemon is stopping"


# What is not


@pytest.mark.parametrize(
    ("name", "payload", "reason"),
    [
        ("pause", b"", "wanted a JSON object"),
        ("pause", b"pause", "wanted a JSON object"),
        ("pause", b"[]", "wanted a JSON object"),
        ("pause", b"\xff\xfe", "wanted a JSON object"),
        ("pause", b'{"at": "\xff"}', "wanted a JSON object"),
        ("pause", b'{"symbol": "QQQ"}', "missing required field `at`"),
        ("pause", b'{"at": 17}', "`$.at`"),
        ("pause", body(by=["anna"]), "`$.by`"),
        ("pause", body(id=7), "`$.id`"),
        ("pause", body(id="7" * 101), "id: wanted at most 100 characters, got 101"),
        ("pause", b"[" * 60_000, "wanted a JSON object"),
        ("pause", b'{"at": "x", "deep": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "wanted a JSON object"),
        ("pause", b'{"at": "2020-09-13T12:43:20Z", "why": "' + b"x" * 65_536 + b'"}', "and may have 65536"),
        ("pause", body(at="yesterday"), "at: wanted when it was sent"),
        ("pause", body(at="2020-09-13T12:43:20"), "at: wanted when it was sent"),
        ("pause", body(at="9999-12-31T23:59:59-23:59"), "ahead"),
        ("pause", body(at=at(-30.1)), "it is stale: it was sent 30 s ago, and 30 s is the most"),
        ("pause", body(at=at(5.1)), "it is dated 5 s ahead"),
        ("target", body(symbol="QQQ", target="1"), "target is not taken over MQTT"),
        ("explode", body(), "there is no command 'explode'; there are: pause, resume"),
        ("", body(), "there is no command ''"),
        ("pause/extra", body(), "there is no command 'pause/extra'"),
        ("$SYS", body(), "there is no command '$SYS'"),
        ("pause\x00\u202e", body(), "there is no command 'pause\\x00\\u202e'"),
    ],
)
async def test_nothing_odd_is_obeyed(name: str, payload: bytes, reason: str) -> None:
    async with listening() as ears:
        ears.hear(name, payload)
        assert reason in await ears.refusal()


class Behind:
    """What stands behind the channel: an engine with positions in QQQ, BRK.B and BTC/USD, one of them at its edge."""

    def __init__(self) -> None:
        self.bench = Bench(plan(position(mode=Mode.APPROVE), position("BRK.B"), position("BTC/USD")))
        self.bench.prices(100.0, 90.0)
        self.engine = self.bench.engine

    def now(self) -> Instant:
        return self.bench.now

    async def command(self, wish: Command) -> list[ev.Event]:
        return self.bench.command(wish)

    async def refuse(self, wish: Command, reason: str) -> list[ev.Event]:
        return self.bench.take(self.engine.record([acts.refused(wish, reason, self.bench.now)]))

    async def note(self, say: Callable[[Instant], Sequence[ev.Event]]) -> list[ev.Event]:
        return self.bench.take(self.engine.record(say(self.bench.now)))


ODD: list[Any] = ["+", "#", "*", "%", "", " ", "?", "core/QQQ", "core/+", "../QQQ", "BRK%2EB", "BTC%2FUSD", "Q Q Q"]
ODD += ["QQQ\n", "QQQ\x00", "\u202eQQQ", ["QQQ"], {"QQQ": 1}, 7, True]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("name", ["pause", "halt", "approve"])
async def test_no_odd_symbol_moves_anything(tmp_path: Path, name: str, odd: Any) -> None:
    behind = Behind()
    asking = Asking(cast("Daemon", behind), tmp_path / "journal.db")
    before, known = list(behind.bench.events), msgspec.json.encode(behind.engine.state.positions)
    about = {"symbol": odd}
    if name == "approve":
        about = {"id": f"core/{odd}/1" if isinstance(odd, str) else odd}
    async with listening(behind=asking) as ears:
        ears.hear(name, body(**about))
        [answer] = await ears.answered()
    assert not answer["ok"]
    assert answer["refused"]
    done = behind.bench.events[len(before) :]
    assert [type(each) for each in done] == [ev.CommandRefused]
    assert msgspec.json.encode(behind.engine.state.positions) == known
    assert behind.engine.state.trading is TradingState.ACTIVE


@pytest.mark.parametrize("symbol", ["QQQ", "BRK.B", "BTC/USD"])
async def test_a_symbol_with_a_point_or_a_stroke_is_one_like_any_other(tmp_path: Path, symbol: str) -> None:
    behind = Behind()
    async with listening(behind=Asking(cast("Daemon", behind), tmp_path / "journal.db")) as ears:
        ears.hear("pause", body(symbol=symbol))
        [answer] = await ears.answered()
    assert answer["ok"]
    assert [each.symbol for each in behind.bench.events if isinstance(each, ev.SignalsPaused)] == [symbol]


async def test_the_oldest_and_the_newest_that_is_obeyed() -> None:
    async with listening() as ears:
        ears.hear("pause", body(at=at(-30)))
        ears.hear("pause", body(at=at(5)))
        assert [each["ok"] for each in await ears.answered(2)] == [True, True]


async def test_a_time_of_any_zone_is_read() -> None:
    async with listening() as ears:
        ears.hear("pause", body(at="2020-09-13T14:43:20.5+02:00"))
        assert [each["ok"] for each in await ears.answered()] == [True]


async def test_a_retained_command_is_refused() -> None:
    async with listening() as ears:
        ears.hear("resume", body(by="anna"), retained=True)
        assert "retained" in await ears.refusal()
    assert ears.asker.refused[0][:2] == ("resume", "anna (mqtt phone)")


async def test_a_command_from_before_the_connection_is_refused() -> None:
    async with listening() as ears:
        ears.wall = STARTED + SECOND
        ears.hear("resume", body(at=iso(Instant(STARTED - 1))))
        assert "before this daemon was connected" in await ears.refusal()


async def test_a_command_that_waited_too_long_is_refused() -> None:
    asker = FakeAsker()
    asker.free.clear()
    async with listening(asker) as ears:
        ears.hear("pause", body(symbol="A"))
        ears.hear("resume", body())
        await asyncio.sleep(0)
        ears.wall += 31 * SECOND
        asker.free.set()
        first, second = await ears.answered(2)
    assert (first["ok"], second["ok"]) == (True, False)
    assert second["refused"].startswith("it is stale")


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (body(id="1", symbol="QQQ"), body(id="1", symbol="SPY", at=at(1))),
        (body(symbol="QQQ"), body(symbol="QQQ")),
    ],
)
async def test_a_repeat_does_nothing_again_and_says_so(first: bytes, again: bytes) -> None:
    async with listening() as ears:
        ears.hear("pause", first)
        ears.hear("pause", again)
        one, two = await ears.answered(2)
    assert (one["ok"], two["ok"]) == (True, False)
    assert "taken before" in two["refused"]
    assert len(ears.asker.asked) == 1


async def test_an_id_may_name_another_command_once_the_first_one_is_stale() -> None:
    async with listening() as ears:
        ears.hear("pause", body(id="1", at=at(5)))
        await ears.answered()
        for seconds, number in ((35, 2), (36, 3)):
            ears.wall = NOW + seconds * SECOND
            ears.hear("pause", body(id="1", symbol="SPY", at=at(seconds)))
            ears.hear("pause", body(id="1", at=at(5)))
            await ears.answered(2 * number - 1)
        said = [each["refused"] for each in await ears.answered(5)]
    assert "taken before" in said[1]
    assert "taken before" in said[2]
    assert said[3] is None
    assert "stale" in said[4]


async def test_commands_are_not_kept_in_memory_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqttlimits, "CARRIED_OUT", 1000)
    async with listening() as ears:
        for number in range(200):
            ears.wall = NOW + number * SECOND
            ears.hear("pause", body(at=at(number)))
            await ears.answered(number + 1)
        assert len(ears.asker.asked) == 200
        assert len(ears.commands._known) <= 36


async def test_the_same_words_at_another_time_or_on_another_topic_are_another_command() -> None:
    async with listening() as ears:
        ears.hear("pause", body(id="1"))
        ears.hear("resume", body(id="1"))
        ears.hear("approve", body(id="core/QQQ/7"))
        ears.hear("approve", body(id="core/QQQ/7", at=at(1)))
        assert [each["ok"] for each in await ears.answered(4)] == [True] * 4


@pytest.mark.parametrize(
    ("claimed", "known"),
    [
        ("anna", "anna (mqtt phone)"),
        ("Jörg O. Müller-Lüdenscheidt", "Jörg O. Müller-Lüdenscheidt (mqtt phone)"),
        ("", "mqtt phone"),
        ("\n\t", "mqtt phone"),
        ("root (control)", "root control (mqtt phone)"),
        ("a\u202eb\x00c\nd", "abcd (mqtt phone)"),
        ("x" * 1000, "x" * 40 + " (mqtt phone)"),
    ],
)
async def test_a_claimed_name_cannot_pass_for_another_source(claimed: str, known: str) -> None:
    async with listening() as ears:
        ears.hear("pause", body(by=claimed))
        await ears.answered()
    assert [each.by for each in ears.asker.asked] == [known]


# Too much of it


async def test_a_full_queue_says_so_and_takes_the_same_command_later() -> None:
    asker = FakeAsker()
    asker.free.clear()
    async with listening(asker) as ears:
        for number in range(mqttcommands.QUEUED):
            ears.hear("pause", body(id=f"{number}"))
        ears.hear("pause", body(id="late"))
        asker.free.set()
        answers = await ears.answered(mqttcommands.QUEUED + 1)
        assert "too many commands" in answers[-1]["refused"]
        ears.hear("pause", body(id="late"))
        *_, late = await ears.answered(mqttcommands.QUEUED + 2)
    assert late["ok"]


async def test_a_flood_of_nonsense_is_recorded_in_part_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as ears:
        for _ in range(1000):
            ears.hear("pause", b"nonsense")
        await ears.answered(mqttlimits.REFUSALS)
        ears.hear("pause", body())
        *_, good = await ears.answered(mqttlimits.REFUSALS + 1)
        assert good["ok"]
        monkeypatch.setattr(mqttlimits, "MINUTE", 0.0)
        ears.hear("pause", b"nonsense")
        *_, last = await ears.answered(mqttlimits.REFUSALS + 2)
    assert len(ears.asker.refused) == mqttlimits.REFUSALS + 1
    assert "980 others were refused and not recorded" in last["refused"]


REFUSED = Answer((), (), "there is no open request")
TOO_MANY = "too many commands in this minute"


async def flood(ears: Ears, name: str, count: int, **fields: Any) -> list[Any]:
    """Send well-formed commands, each new, as fast as they are answered; gives the answers."""
    begun = len(ears.answers)
    for number in range(count):
        ears.hear(name, body(why=f"{name} {begun} {number}", **fields))
        await ears.answered(begun + number + 1)
    return [payload for _, payload, _ in ears.answers[begun:]]


async def test_a_flood_of_commands_that_the_daemon_refuses_is_cut_off() -> None:
    asker = FakeAsker()
    asker.answer = REFUSED
    async with listening(asker) as ears:
        answers = await flood(ears, "resume", 1000)
    assert len(asker.asked) == mqttlimits.REFUSALS
    assert [each["refused"] for each in answers[mqttlimits.REFUSALS :]] == [TOO_MANY] * (1000 - mqttlimits.REFUSALS)
    assert asker.refused == []


async def test_commands_that_wait_while_others_are_refused_are_cut_off_too() -> None:
    asker = FakeAsker()
    asker.answer = REFUSED
    asker.free.clear()
    async with listening(asker) as ears:
        for number in range(mqttcommands.QUEUED):
            ears.hear("resume", body(id=f"{number}"))
        asker.free.set()
        answers = await ears.answered(mqttcommands.QUEUED)
    assert len(asker.asked) == mqttlimits.REFUSALS
    assert answers[-1]["refused"] == TOO_MANY


async def test_what_the_daemon_refuses_counts_beside_what_is_refused_before_it() -> None:
    asker = FakeAsker()
    asker.answer = REFUSED
    async with listening(asker) as ears:
        await flood(ears, "resume", 15)
        for _ in range(100):
            ears.hear("pause", b"nonsense")
        await ears.answered(mqttlimits.REFUSALS)
    assert len(asker.asked) + len(asker.refused) == mqttlimits.REFUSALS


async def test_a_flood_that_the_daemon_would_carry_out_is_cut_off() -> None:
    async with listening() as ears:
        answers = await flood(ears, "resume", 300)
    assert [each["refused"] for each in answers] == [None] * mqttlimits.CARRIED_OUT + [TOO_MANY] * (
        300 - mqttlimits.CARRIED_OUT
    )
    assert len(ears.asker.asked) == mqttlimits.CARRIED_OUT


async def test_after_a_minute_commands_are_carried_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as ears:
        await flood(ears, "resume", 100)
        monkeypatch.setattr(mqttlimits, "MINUTE", 0.0)
        [answer] = await flood(ears, "resume", 1)
    assert answer["ok"]


async def test_a_command_that_was_cut_off_may_be_sent_again_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as ears:
        await flood(ears, "resume", 100)
        ears.hear("resume", body(id="1"))
        monkeypatch.setattr(mqttlimits, "MINUTE", 0.0)
        ears.hear("resume", body(id="1"))
        *_, first, again = await ears.answered(102)
    assert (first["refused"], again["ok"]) == (TOO_MANY, True)


@pytest.mark.parametrize("answer", [REFUSED, Answer((), (), None)])
async def test_what_stops_trading_gets_through_a_flood_of_the_rest(answer: Answer) -> None:
    asker = FakeAsker()
    asker.answer = answer
    async with listening(asker) as ears:
        await flood(ears, "resume", 1000)
        begun = len(asker.asked)
        for name in ("halt", "pause"):
            await flood(ears, name, 1, symbol="QQQ")
    assert [each.name for each in asker.asked[begun:]] == ["halt", "pause"]


async def test_what_stops_trading_is_cut_off_when_it_is_the_flood() -> None:
    async with listening() as ears:
        await flood(ears, "pause", 1000, symbol="QQQ")
    assert len(ears.asker.asked) == mqttlimits.CARRIED_OUT


async def test_a_halt_of_everything_gets_through_any_other_flood() -> None:
    asker = FakeAsker()
    async with listening(asker) as ears:
        await flood(ears, "resume", 100)
        await flood(ears, "halt", 100, symbol="QQQ")
        asker.answer = REFUSED
        await flood(ears, "halt", 100, symbol="XYZ")
        asker.answer = Answer((), (), None)
        [answer] = await flood(ears, "halt", 1)
    assert answer["ok"]


async def test_a_flood_of_halts_of_everything_is_cut_off_while_it_is_halted_by_them() -> None:
    async with listening() as ears:
        await flood(ears, "halt", 300)
        carried_out = len(ears.asker.asked)
        await flood(ears, "resume", 1)
        [answer] = await flood(ears, "halt", 1)
    assert carried_out < 100
    assert answer["ok"]


async def test_too_many_commands_are_logged_once_a_minute() -> None:
    with capture_logs() as logs:
        async with listening() as ears:
            await flood(ears, "resume", 200)
            await flood(ears, "approve", 200, id="core/QQQ/7")
    assert [each["log_level"] for each in logs] == ["warning"]


async def test_a_long_reason_is_cut() -> None:
    asker = FakeAsker()
    asker.fails = MalformedError("no field " + "x" * 60_000 + "\n")
    async with listening(asker) as ears:
        ears.hear("halt", body())
        await ears.answered()
    [(_, _, reason)] = asker.refused
    assert len(reason) == mqttcommands.LONGEST_REASON


async def test_a_journal_that_is_gone_does_not_end_the_ears() -> None:
    class Gone(FakeAsker):
        async def refuse(self, name: str, by: str, reason: str) -> None:
            raise StoppingError("the daemon is stopping")

    async with listening(Gone()) as ears:
        ears.hear("pause", b"nonsense")
        ears.hear("pause", body())
        assert [each["ok"] for each in await ears.answered(2)] == [False, True]


# Where the answer goes


async def test_an_answer_goes_to_where_the_sender_wants_it_too() -> None:
    async with listening() as ears:
        ears.hear("pause", body(), answer_to="anna/answers", correlation=b"\x00\x01")
        await ears.answered(2)
    assert [(topic, correlation) for topic, _, correlation in ears.answers] == [
        (f"{BASE}/cmd/pause/response", b"\x00\x01"),
        ("anna/answers", b"\x00\x01"),
    ]


async def test_an_answer_to_our_own_topic_is_sent_once() -> None:
    async with listening() as ears:
        ears.hear("pause", body(), answer_to=f"{BASE}/cmd/pause/response", correlation=b"7")
        ears.hear("nonsense", body())
        await ears.answered(2)
    assert [topic for topic, _, _ in ears.answers] == [f"{BASE}/cmd/pause/response", f"{BASE}/cmd/nonsense/response"]


@pytest.mark.parametrize(
    "topic",
    [
        f"{BASE}/status",
        f"{BASE}/cmd/pause",
        f"{BASE}/cmd/made-up/response",
        "mrdaemon/other/alert",
        "homeassistant/device/x/config",
        "$SYS/broker",
        "a/+/b",
        "a/#",
        "",
        "a\x00b",
        "a\nb",
        "x" * 257,
    ],
)
async def test_no_answer_goes_where_it_may_pass_for_our_word(topic: str) -> None:
    async with listening() as ears:
        ears.hear("pause", body(), answer_to=topic, correlation=b"7")
        assert "no answer may be sent to" in await ears.refusal()
    assert [to for to, _, _ in ears.answers] == [f"{BASE}/cmd/pause/response"]
