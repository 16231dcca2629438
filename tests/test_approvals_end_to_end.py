"""Approve, reject, expire, press twice: from a price to an order, through MQTT and through the buttons on a phone.

The whole program as a process, a real broker with its own clients, and an ntfy server that stands for the real one.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.approvals import BY, MQTT, PAGE, TOPIC, House, Question, house
from tests.ntfy_server import press

ID = "core/QQQ/1"
AT = r"at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z"
SOON = 4
"""Seconds after which a request expires whose end is waited for."""

every_way = pytest.mark.parametrize("way", [MQTT, TOPIC, pytest.param(PAGE, marks=pytest.mark.soak)])
by_topic = pytest.mark.parametrize(
    "way", [TOPIC, *(pytest.param(each, marks=pytest.mark.soak) for each in (MQTT, PAGE))]
)


def traded(made: House) -> list[str]:
    """Give what was bought or sold, in dollars."""
    return [each["amount"] for each in made.journaled("order_filled")]


def nothing_was_ordered(made: House) -> None:
    assert made.journaled("order_intended") == []


@pytest.mark.parametrize(
    ("way", "symbol"), [(MQTT, "BTC/USD"), (TOPIC, "QQQ"), pytest.param(PAGE, "QQQ", marks=pytest.mark.soak)]
)
async def test_approved_it_buys_once_and_a_second_answer_says_who_was_first(
    tmp_path: Path, way: str, symbol: str
) -> None:
    async with house(tmp_path, way, symbol=symbol) as made, made.daemon():
        question = await made.asked(100, 95)
        assert question.id == f"core/{symbol}/1"
        nothing_was_ordered(made)
        assert f"approved by {BY[way]}" in await question.approve()
        [granted] = await made.until_journaled("approval_granted")
        assert granted["by"] == BY[way]
        await made.until_journaled("order_ended")
        for again in (question.approve, question.reject, question.approve):
            said = await again()
            assert re.search(f"{question.id} was already approved by {re.escape(BY[way])} {AT}", said)
        assert traded(made) == ["250.00"]
        refused = made.journaled("command_refused")
        assert [(each["command"].lower(), each["by"]) for each in refused] == [
            (name, BY[way]) for name in ("approve", "reject", "approve")
        ]


@by_topic
async def test_rejected_it_stays_so_and_a_later_approval_does_nothing(tmp_path: Path, way: str) -> None:
    async with house(tmp_path, way) as made, made.daemon():
        question = await made.asked(100, 95)
        assert "rejected" in await question.reject()
        [closed] = await made.until_journaled("approval_closed")
        assert (closed["cause"], closed["by"]) == ("rejected", BY[way])
        assert says(await question.approve(), f"was already rejected by {re.escape(BY[way])} {AT}")
        nothing_was_ordered(made)


@every_way
async def test_expired_it_says_so_and_an_approval_does_nothing(tmp_path: Path, way: str) -> None:
    async with house(tmp_path, way, ttl=SOON) as made, made.daemon():
        question = await made.asked(100, 95)
        [closed] = await made.until_journaled("approval_closed")
        assert closed["cause"] == "expired"
        said = await question.approve()
        wanted = f"{ID} expired {AT}: nobody answered it in time" if way == MQTT else rf"{ID} was over \d+ s ago"
        assert re.search(wanted, said)
        await made.until(lambda: made.alerts("approval_expired"))
        nothing_was_ordered(made)


@by_topic
async def test_a_price_that_returns_closes_it_and_a_late_approval_says_why(tmp_path: Path, way: str) -> None:
    async with house(tmp_path, way) as made, made.daemon():
        question = await made.asked(100, 95)
        await made.price(100)
        await made.until_journaled("approval_closed")
        assert says(await question.approve(), f"ended {AT}: the value came back inside the zone")
        nothing_was_ordered(made)


@by_topic
async def test_a_larger_signal_asks_anew_and_only_the_new_answer_counts(tmp_path: Path, way: str) -> None:
    async with house(tmp_path, way) as made, made.daemon():
        old = await made.asked(100, 95)
        new = await made.asked(90)
        assert (old.id, new.id) == (ID, "core/QQQ/2")
        assert tokens(old).isdisjoint(tokens(new))
        assert says(await old.approve(), f"ended {AT}: a newer signal overtook it")
        nothing_was_ordered(made)
        await new.approve()
        await made.until_journaled("order_ended")
        assert traded(made) == ["500.00"]


@pytest.mark.parametrize("way", [MQTT, pytest.param(TOPIC, marks=pytest.mark.soak)])
async def test_three_approvals_at_once_are_one_order(tmp_path: Path, way: str) -> None:
    async with house(tmp_path, way) as made, made.daemon():
        question = await made.asked(100, 95)
        await asyncio.gather(*(once(question, way) for _ in range(3)))
        await made.until_journaled("command_refused", 2)
        await made.until_journaled("order_ended")
        assert len(made.journaled("approval_granted")) == len(made.journaled("order_intended")) == 1
        assert traded(made) == ["250.00"]


@pytest.mark.parametrize(("first", "second"), [(MQTT, TOPIC), (TOPIC, MQTT)])
async def test_whoever_is_second_hears_who_was_first_whichever_way_each_came(
    tmp_path: Path, first: str, second: str
) -> None:
    async with house(tmp_path, TOPIC) as made, made.daemon():
        question = await made.asked(100, 95)
        await question.approve(first)
        await made.until_journaled("order_ended")
        assert says(await question.approve(second), f"was already approved by {re.escape(BY[first])} {AT}")
        assert traded(made) == ["250.00"]


async def test_a_button_that_is_pressed_while_the_daemon_is_dead_waits_for_a_price_and_counts_once(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, TOPIC) as made:
        async with made.daemon() as process:
            question = await made.asked(100, 95)
            process.kill()
            process.wait()
        await press(question.buttons["Approve"])
        nothing_was_ordered(made)
        async with made.daemon():
            [refused] = await made.until_journaled("command_refused")
            assert "no fresh price of QQQ" in refused["reason"]
            nothing_was_ordered(made)
            await made.price(95)
            await made.until(lambda: made.position()["price"] == "95.0")
            assert "approved by an ntfy button" in await question.approve()
            await made.until_journaled("order_ended")
            assert says(await question.approve(), f"was already approved by an ntfy button {AT}")
        assert traded(made) == ["250.00"]


def says(said: str, became: str) -> bool:
    """Tell whether an answer in vain was told what became of the request."""
    return re.search(f"{ID} {became}", said) is not None


async def once(question: Question, way: str) -> None:
    """Answer without waiting for what is said to it."""
    if way == MQTT:
        await question.command("approve")
    else:
        await press(question.buttons["Approve"])


def tokens(question: Question) -> set[str]:
    return {each["body"] or each["url"] for each in question.buttons.values()}
