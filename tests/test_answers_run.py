"""The whole program with a phone: ``mrdaemon run`` on a recording, a local ntfy server, and its buttons."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.ntfy_server import NtfyServer, Object, press, until
from tests.running import Place, child, wait_for

SECRET = "s3cretTopicOfAlerts"
ANSWERS = "answers-s3cret-91d7e2c4a6b8"
TABLES = """
[channels.phone]
kind = "push"
urls = ["{push}"]
group = "0s"
[answers]
{answers}
"""


@pytest.fixture
async def server() -> AsyncIterator[NtfyServer]:
    async with NtfyServer() as served:
        yield served


def free_port() -> int:
    """Give a port that nobody listens on, below those that the system gives to whoever asks for any."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("there is no free port")


def place(folder: Path, server: NtfyServer, answers: str) -> Place:
    """Make a recording that falls to where a person is asked, and stays there for a while."""
    made = Place(folder / "place").configure(speed="1x", mode="approve", opening='shares = "50"')
    made.record(100, 95, *[95] * 120)
    with made.config.open("a") as file:
        file.write(TABLES.format(push=server.push(SECRET), answers=answers))
    return made


async def asked(server: NtfyServer) -> dict[str, Object]:
    """Wait for a question, and give its buttons."""
    await until(lambda: any(each.actions for each in server.published))
    question = next(each for each in server.published if each.actions)
    return {each["label"]: each for each in question.actions}


async def test_a_button_over_the_topic_approves_and_the_order_is_filled(tmp_path: Path, server: NtfyServer) -> None:
    run = place(tmp_path, server, f'topic = "{server.url}/{ANSWERS}"')
    with child(*run.arguments()) as process:
        buttons = await asked(server)
        await server.until_listened()
        assert (await press(buttons["Approve"])).status == 200
        filled = await asyncio.to_thread(wait_for, process, "order_filled")
        await until(lambda: any("Bought" in each.message for each in server.published))
        process.terminate()
        _, errors = await asyncio.to_thread(process.communicate)
    assert filled["amount"] == "250.00"
    assert run.of("approval_granted")[0]["by"] == "an ntfy button"
    assert all(secret not in errors for secret in (SECRET, ANSWERS, buttons["Approve"]["body"]))


async def test_a_button_to_the_page_rejects_and_nothing_is_bought(tmp_path: Path, server: NtfyServer) -> None:
    port = free_port()
    run = place(tmp_path, server, f'listen = "127.0.0.1:{port}"\nurl = "http://127.0.0.1:{port}/"')
    with child(*run.arguments()) as process:
        buttons = await asked(server)
        assert (await press(buttons["Reject"])).status == 200
        late = await press(buttons["Approve"])
        process.terminate()
        _, errors = await asyncio.to_thread(process.communicate)
    assert late.status == 409
    assert "already rejected by a link, from 127.0.0.1" in late.text
    assert "order_intended" not in run.kinds()
    assert SECRET not in errors
