"""What Home Assistant is told: which devices and entities, by its documented rules, and what their buttons send."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mrdaemon.alerts.alert import Alert, Level, Topic
from mrdaemon.alerts.homeassistant import ONLINE, Discovery, Message
from mrdaemon.asks import ASKS, UnresolvedError, read
from mrdaemon.core.commands import Approve, Command, Reject
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.policy import Side
from mrdaemon.status import ApprovalStatus, PortfolioStatus
from tests.builders import START, dollars
from tests.homeassistant_cases import COMMANDS, cases, overview, statuses, waiting
from tests.homeassistant_rules import broken, components, repeated
from tests.test_slugs import NAMES, POSITIONS

PAGE = Path(__file__).parent.parent / "docs" / "homeassistant.md"
QQQ, SPY = statuses(waiting())
STATUS = overview(waiting())
CALM = replace(QQQ, approval=None)
ASKED = "2020-09-13T16:26:42Z"


def discovery(*commands: str, instance: str = "mrdaemon", prefix: str = "homeassistant") -> Discovery:
    return Discovery(instance, prefix, commands)


def parts(message: Message) -> dict[str, dict[str, Any]]:
    return components(message.payload)


def device(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message.payload)["device"]
    return found


def pressed(message: Message, button: str) -> tuple[str, dict[str, str]]:
    """Press a button: give where its command goes, and the command as it is once the template has put the date in."""
    found = parts(message)[button]
    text = found["command_template"].replace("{{ utcnow().isoformat() }}", "2020-09-13T12:26:40.5+00:00")
    return found["command_topic"], json.loads(text)


def request(number: int, amount: str = "500", side: Side = Side.ACCUMULATE) -> ApprovalStatus:
    return ApprovalStatus(f"core/QQQ/{number}", number, side, dollars(amount), ASKED)


# The rules of the other side


@given(
    NAMES,
    st.sampled_from(["homeassistant", "ha", "other/discovery"]),
    st.sets(st.sampled_from(sorted(ASKS))),
    st.lists(POSITIONS, min_size=1, max_size=4, unique=True),
    st.one_of(st.none(), st.decimals(Decimal("0.01"), Decimal(10**9), places=2)),
)
def test_every_configuration_keeps_the_documented_rules(
    instance: str, prefix: str, commands: set[str], positions: list[tuple[str, str]], amount: Decimal | None
) -> None:
    asked = None if amount is None else request(7, str(amount))
    held = [replace(QQQ, portfolio=portfolio, symbol=symbol, approval=asked) for portfolio, symbol in positions]
    books = tuple(portfolio_called(name) for name in sorted({name for name, _ in positions}))
    told = list(Discovery(instance, prefix, commands).messages(replace(STATUS, portfolios=books), held))
    assert [broken(*message) for message in told] == [[]] * (1 + len(books) + len(held))
    assert not repeated(message.topic for message in told)
    assert not repeated(each["unique_id"] for message in told for each in parts(message).values())
    identifiers = [identifier for message in told for identifier in device(message)["identifiers"]]
    assert not repeated(identifiers)
    assert {device(message).get("via_device", identifiers[0]) for message in told} == {identifiers[0]}


def portfolio_called(name: str) -> PortfolioStatus:
    return replace(STATUS.portfolios[0], name=name)


def test_instances_never_share_a_topic_or_an_identifier() -> None:
    one, other = discovery(instance="home"), discovery(instance="home_core")
    told = [*one.messages(STATUS, [replace(QQQ, portfolio="core_a")]), *other.messages(STATUS, [QQQ])]
    assert not repeated(message.topic for message in told)
    assert not repeated(each["unique_id"] for message in told for each in parts(message).values())


def test_no_message_grows_with_the_number_of_positions() -> None:
    many = [replace(QQQ, symbol=f"S{number}") for number in range(500)]
    sizes = [len(message.payload) for message in discovery(*COMMANDS).messages(STATUS, many)]
    assert len(sizes) == 502
    assert max(sizes) < 8_000


def test_the_daemon_is_told_of_before_what_refers_to_it() -> None:
    first, *others = discovery().messages(STATUS, [QQQ, SPY])
    assert [device(each)["via_device"] for each in others] == device(first)["identifiers"] * 3


# What is there


def test_a_position_has_its_figures_its_problem_its_signals_and_its_buttons() -> None:
    found = parts(discovery(*COMMANDS).position(CALM))
    assert {key: each["platform"] for key, each in found.items()} == {
        **dict.fromkeys(
            ("value", "deviation", "accumulate_at", "trim_at", "price", "shares", "target", "request"), "sensor"
        ),
        **dict.fromkeys(("paused", "problem"), "binary_sensor"),
        **dict.fromkeys(("approve", "reject", "pause", "resume"), "button"),
        "signal": "event",
    }


def test_the_daemon_has_its_state_its_problems_and_its_buttons() -> None:
    found = parts(discovery(*COMMANDS).daemon())
    assert {key: each["platform"] for key, each in found.items()} == {
        **dict.fromkeys(("running", "paused", "halted", "halt_file", "feed", "broker", "channel"), "binary_sensor"),
        **dict.fromkeys(("pause", "resume", "halt"), "button"),
        "trading": "sensor",
    }


def test_a_portfolio_has_its_reserve() -> None:
    assert {"reserve", "available"} <= parts(discovery().portfolio("core")).keys()


@pytest.mark.parametrize("key", ["value", "price", "accumulate_at", "trim_at", "target"])
def test_money_is_in_dollars(key: str) -> None:
    assert parts(discovery().position(CALM))[key]["unit_of_measurement"] == "USD"


def test_everything_is_unavailable_while_the_daemon_is_away_except_that_it_is() -> None:
    away = [{"topic": "mrdaemon/home/status"}]
    told = list(discovery(*COMMANDS, instance="home").messages(STATUS, [CALM]))
    found = {(message.topic, key): each for message in told for key, each in parts(message).items()}
    without = [key for (_, key), each in found.items() if each["availability"][:1] != away]
    assert without == ["running"]
    assert found[told[0].topic, "running"]["state_topic"] == "mrdaemon/home/status"


def test_every_entity_reads_the_topic_of_what_it_is_about() -> None:
    daemon, portfolio, position = discovery(instance="home").messages(STATUS, [replace(QQQ, symbol="BRK.B")])
    assert parts(daemon)["trading"]["state_topic"] == "mrdaemon/home/state"
    assert parts(portfolio)["reserve"]["state_topic"] == "mrdaemon/home/portfolio/core"
    assert parts(position)["value"]["state_topic"] == "mrdaemon/home/position/core_brk-2eb"
    assert parts(position)["problem"]["json_attributes_topic"] == "mrdaemon/home/position/core_brk-2eb"


@pytest.mark.parametrize(
    ("instance", "names"),
    [("mrdaemon", ["mrdaemon", "core", "core QQQ"]), ("home", ["mrdaemon home", "home core", "home core QQQ"])],
)
def test_names_say_which_instance_where_it_is_not_the_usual_one(instance: str, names: list[str]) -> None:
    told = discovery(instance=instance).messages(STATUS, [QQQ])
    assert [device(message)["name"] for message in told] == names


# Buttons


def buttons(message: Message) -> set[str]:
    return {key for key, each in parts(message).items() if each["platform"] == "button"}


def test_a_button_is_there_only_for_a_command_that_may_be_sent() -> None:
    told = discovery("pause", "approve")
    assert buttons(told.daemon()) == {"pause"}
    assert buttons(told.position(QQQ)) == {"pause", "approve"}


def test_a_button_for_a_command_that_may_not_be_sent_any_more_is_removed() -> None:
    bare = json.loads(discovery("pause").position(QQQ).payload)["components"]
    assert [bare[key] for key in ("approve", "reject", "resume")] == [{"platform": "button"}] * 3


def test_what_a_button_sends_is_dated_when_it_is_pressed() -> None:
    template = parts(discovery("pause").daemon())["pause"]["command_template"]
    assert json.loads(template)["at"] == "{{ utcnow().isoformat() }}"
    assert dt.datetime.fromisoformat(pressed(discovery("pause").daemon(), "pause")[1]["at"]).tzinfo is dt.UTC


def test_what_a_button_sends_says_where_it_was_pressed() -> None:
    assert pressed(discovery("pause").daemon(), "pause")[1]["by"] == "Home Assistant"


def commanded(message: Message, button: str) -> list[Command]:
    """Give the commands that a press makes where a request for QQQ waits."""
    topic, fields = pressed(message, button)
    return commands_of(topic.rpartition("/")[2], fields)


def commands_of(name: str, fields: dict[str, str]) -> list[Command]:
    own = {key: value for key, value in fields.items() if key not in {"at", "by"}}  # These are the channel's.
    return read(ASKS[name], json.dumps(own).encode()).commands(waiting().state, "me")


@pytest.mark.parametrize("button", ["pause", "resume", "halt"])
def test_a_button_of_the_daemon_is_for_everything(button: str) -> None:
    told = discovery(*COMMANDS, instance="home").daemon()
    assert pressed(told, button)[0] == f"mrdaemon/home/cmd/{button}"
    [command] = commanded(told, button)
    assert getattr(command, "symbol", None) is None


@pytest.mark.parametrize("button", ["pause", "resume"])
@pytest.mark.parametrize("symbol", ["QQQ", "BRK.B", "BTC/USD"])
def test_a_button_of_a_position_is_for_its_symbol(button: str, symbol: str) -> None:
    [command] = commanded(discovery(*COMMANDS).position(replace(QQQ, symbol=symbol)), button)
    assert getattr(command, "symbol", None) == symbol


# Answers


@pytest.mark.parametrize(("button", "kind"), [("approve", Approve), ("reject", Reject)])
def test_an_answer_names_the_request_that_waits(button: str, kind: type[Approve | Reject]) -> None:
    wanted = kind(by="me", portfolio="core", symbol="QQQ", number=1)
    told = discovery(*COMMANDS).position(QQQ)
    assert commanded(told, button) == [wanted]
    assert pressed(told, button)[1]["id"] == "core/QQQ/1"


@pytest.mark.parametrize("button", ["approve", "reject"])
@pytest.mark.parametrize("known", [None, request(2)], ids=["none", "an earlier one"])
def test_a_press_that_is_not_for_the_request_that_waits_answers_nothing(
    button: str, known: ApprovalStatus | None
) -> None:
    with pytest.raises(UnresolvedError, match="there is no open request"):
        commanded(discovery(*COMMANDS).position(replace(QQQ, approval=known)), button)


def test_an_answer_says_what_it_would_do() -> None:
    told = discovery(*COMMANDS)
    bought = parts(told.position(replace(QQQ, approval=request(1, "1234.5"))))
    sold = parts(told.position(replace(QQQ, approval=request(1, "80", Side.TRIM))))
    nothing = parts(told.position(CALM))
    assert [bought[each]["name"] for each in ("approve", "reject")] == [
        "Approve buy of $1,234.50",
        "Reject buy of $1,234.50",
    ]
    assert [sold[each]["name"] for each in ("approve", "reject")] == ["Approve sale of $80.00", "Reject sale of $80.00"]
    assert [nothing[each]["name"] for each in ("approve", "reject")] == ["Approve", "Reject"]


def test_an_answer_keeps_its_entity_whatever_waits() -> None:
    told = discovery(*COMMANDS)
    for each in ("approve", "reject"):
        was, now = (parts(told.position(replace(QQQ, approval=asked)))[each] for asked in (None, request(1)))
        assert now["default_entity_id"] == was["default_entity_id"] == f"button.core_qqq_{each}"
        assert now["unique_id"] == was["unique_id"]


def test_an_answer_is_available_only_while_a_request_waits() -> None:
    found = parts(discovery(*COMMANDS).position(CALM))
    for each in ("approve", "reject"):
        assert [where["topic"] for where in found[each]["availability"]] == [
            "mrdaemon/mrdaemon/status",
            "mrdaemon/mrdaemon/position/core_qqq",
        ]
        assert found[each]["availability_mode"] == "all"


def test_a_message_changes_when_another_request_waits_and_not_with_the_figures() -> None:
    told = discovery(*COMMANDS)
    first, second, none = (told.position(replace(QQQ, approval=asked)) for asked in (request(1), request(2), None))
    assert len({first.payload, second.payload, none.payload}) == 3
    assert told.position(replace(CALM, price=None, value=None, paused=True, halted="why")) == none


@pytest.mark.parametrize("answer", ["approve", "reject"])
def test_the_answer_of_the_documented_notification_is_a_command(answer: str) -> None:
    asks, answered = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)[0])
    buttons = [each["action"] for each in asks["actions"][0]["data"]["data"]["actions"]]
    [chosen] = [each for each in buttons if each.startswith(f"mrdaemon/{answer}/")]
    said = chosen.replace("{{ trigger.payload_json.approval }}", "core/QQQ/1").split("/", 2)
    sent = answered["actions"][0]["data"]
    payload = sent["payload"].replace("{{ said[2] }}", said[2])
    assert sent["topic"].replace("{{ said[1] }}", said[1]) == f"mrdaemon/mrdaemon/cmd/{answer}"
    assert commands_of(answer, json.loads(payload))[0].number == 1  # type: ignore[attr-defined]


# What is gone


def test_a_position_that_left_the_configuration_is_removed() -> None:
    told = discovery(*COMMANDS)
    assert told.position(replace(QQQ, retired=True)) == Message(told.position(QQQ).topic, b"")


def test_what_was_told_earlier_and_is_gone_is_found_among_what_the_broker_keeps() -> None:
    told = discovery(instance="home")
    kept = [message.topic for message in told.messages(STATUS, [QQQ, SPY])]
    now = {message.topic for message in told.messages(STATUS, [QQQ])}
    foreign = [message.topic for message in discovery(instance="home_2").messages(STATUS, [QQQ, SPY])]
    others = ["homeassistant/device/kitchen/config", "other/device/mrdaemon__home/config", "homeassistant/status"]
    gone = [topic for topic in (*kept, *foreign, *others) if told.ours(topic) and topic not in now]
    assert gone == ["homeassistant/device/mrdaemon__home__position__core_spy/config"]


def test_all_that_the_broker_keeps_of_devices_is_under_one_filter() -> None:
    assert discovery(prefix="ha/x").filter == "ha/x/device/+/config"


def test_home_assistant_says_below_its_own_topic_that_it_has_started() -> None:
    assert (discovery(prefix="ha").birth, ONLINE) == ("ha/status", b"online")


# Signals


def alert(**changes: Any) -> Alert:
    raised = Alert(
        id="n-7",
        at=Instant(START + 2 * SECOND),
        level=Level.NOTICE,
        topic=Topic.SIGNAL,
        kind="signal_raised",
        subject="core/BRK.B",
        title="BRK.B: buy $500.00",
        text="BRK.B reached the lower edge.",
        portfolio="core",
        symbol="BRK.B",
        facts={"side": "accumulate", "amount": "500.00", "number": "1"},
    )
    return replace(raised, **changes)


def test_a_signal_is_an_event_of_its_position() -> None:
    told = discovery(instance="home")
    event = told.signal(alert())
    assert event is not None
    entity = parts(told.position(replace(QQQ, symbol="BRK.B")))["signal"]
    assert entity["state_topic"] == event.topic == "mrdaemon/home/signal/core_brk-2eb"
    said = json.loads(event.payload)
    assert said["event_type"] in entity["event_types"]
    assert said == {
        "event_type": "accumulate",
        "v": 1,
        "id": "n-7",
        "at": "2020-09-13T12:26:42Z",
        "title": "BRK.B: buy $500.00",
        "text": "BRK.B reached the lower edge.",
        "portfolio": "core",
        "symbol": "BRK.B",
        "side": "accumulate",
        "amount": "500.00",
        "number": "1",
    }


def test_a_trim_is_an_event_of_another_type() -> None:
    event = discovery().signal(alert(facts={"side": "trim"}))
    assert event is not None
    assert json.loads(event.payload)["event_type"] == "trim"


@pytest.mark.parametrize(
    "other",
    [{"kind": "order_filled"}, {"kind": "signal_held"}, {"facts": {}}, {"facts": {"side": "sideways"}}],
    ids=["an order", "a held signal", "no side", "an unknown side"],
)
def test_nothing_else_is_an_event(other: dict[str, Any]) -> None:
    assert discovery().signal(alert(**other)) is None


# The cases that Home Assistant itself is asked about


def test_each_case_keeps_the_documented_rules_and_names_entities_that_there_are() -> None:
    for case in cases():
        assert broken(case.topic, case.payload.encode()) == []
        found = components(case.payload.encode())
        assert case.shows.keys() | case.presses.keys() | case.available.keys() | case.attributes.keys() <= found.keys()
        assert case.heard in {each["state_topic"] for each in found.values()}
