"""The ways out of a configuration: which there are, what each is called, and that none of them waits for another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mrdaemon.alerts.push import PushChannel
from mrdaemon.alerts.view import View
from mrdaemon.config import read
from mrdaemon.ways import Way, ways
from tests.answering import Notes, Open
from tests.running import Object, Place, child, mrdaemon, wait_for
from tests.test_alerting import Inbox, push, with_channels
from tests.test_answers_requests import Glance

TOPIC = '[answers]\ntopic = "https://ntfy.sh/mrdaemon-answers-91d7e2c4a6b8"\n'


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    server = Inbox()
    yield server
    server.close()


def out(folder: Path, tables: str) -> list[Way]:
    """Give the ways out of a configuration with these tables."""
    place = with_channels(Place(folder / "place").record(100).configure(), tables)
    view: View = Glance()
    found = ways(read(place.config), folder / "journal.db", view, Notes(Open()))
    return list(found.out)


# What they are called


def test_a_channel_of_one_address_keeps_its_name(tmp_path: Path) -> None:
    [phone] = out(tmp_path, push("json://127.0.0.1:9/a"))
    assert (phone.channel.name, phone.manners.name) == ("phone", "phone")


def test_each_of_several_addresses_is_a_way_of_its_own_under_the_same_rules(tmp_path: Path) -> None:
    found = out(tmp_path, push("json://127.0.0.1:9/a", "json://127.0.0.1:9/b", more='level = "warning"\nrepeat = "7m"'))
    assert [each.channel.name for each in found] == ["phone.1", "phone.2"]
    assert [each.manners.name for each in found] == ["phone.1", "phone.2"]
    one, two = (each.manners._replace(name="") for each in found)
    assert one == two
    assert (one.level, one.repeat) == ("warning", 420)


def test_times_are_told_by_the_clock_of_the_configuration(tmp_path: Path) -> None:
    [phone] = out(tmp_path, push("json://127.0.0.1:9/a") + '[alerts]\ntimezone = "Europe/Berlin"\n')
    assert phone.manners.zone.key == "Europe/Berlin"


@pytest.mark.parametrize("buttons", ["true", "false"])
def test_a_push_has_buttons_where_answers_come_back_and_the_channel_wants_them(tmp_path: Path, buttons: str) -> None:
    [phone] = out(tmp_path, push("json://127.0.0.1:9/a", more=f"buttons = {buttons}") + TOPIC)
    assert isinstance(phone.channel, PushChannel)
    assert (phone.channel.links is not None) == (buttons == "true")


# What one of them does to the others


def fates(place: Place) -> dict[str, set[str]]:
    """Give what became of all alerts, by the name of the way."""
    listed: list[Object] = mrdaemon("alert", "list", "--json", "--state", place.state).objects
    found: dict[str, set[str]] = {}
    for each in listed:
        for channel in each["channels"]:
            found.setdefault(channel["channel"], set()).add(channel["outcome"])
    return found


@pytest.mark.parametrize(("answer", "state"), [("broken", "down"), ("forbidden", "refused")])
def test_an_address_that_takes_nothing_has_a_state_of_its_own_and_loses_nothing(
    tmp_path: Path, inbox: Inbox, answer: str, state: str
) -> None:
    place = Place(tmp_path / "place").configure(speed="1x").record(100, *[90] * 120)
    rules = 'topics = ["signal", "order"]\ngroup = 0'
    with_channels(place, push(inbox.url("good"), inbox.url(answer), more=rules))
    with child(*place.arguments()) as process:
        states = dict(standing(wait_for(process, "channel_state_changed")) for _ in range(2))
        process.terminate()
        process.communicate()
    assert states == {"phone.1": "up", "phone.2": state}
    became = fates(place)
    assert became["phone.1"] == {"delivered", "unwanted"}
    assert became["phone.2"] == {"waiting", "unwanted"}
    assert inbox.taken


def standing(changed: Object) -> tuple[str, str]:
    return changed["channel"], changed["state"]
