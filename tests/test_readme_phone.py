"""The README's way to alerts on a phone works as it is printed, with a local server in the place of ntfy.sh."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.ntfy_server import NtfyServer, Published, press
from tests.running import ROOT, child, unmeasured

TITLE = "## Get alerts on your phone in five minutes\n"
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").split(TITLE)[1].split("\n## ")[0]
PATIENCE = 60.0
NUMBER = re.compile(r"\d[\d,.:-]*\d|\d")


def blocks(kind: str) -> list[str]:
    """Give what the section shows in blocks of a kind, in order."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)


NAMES, COPY, TRY, RUN = blocks("sh")
QUESTION, BOUGHT = blocks("text")
[TABLES] = blocks("toml")


def printed(command: str) -> str:
    """Give a command as printed, but with the program that is tested."""
    python = shlex.quote(sys.executable)
    programs = {"mrdaemon": f"{python} -W ignore -m mrdaemon", "python": python}
    return re.sub(r"\.venv/bin/(\w+)", lambda found: programs[found[1]], command)


async def run(command: str, folder: Path) -> str:
    """Run a block of commands in a folder, each of which must succeed."""
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-euc",
        printed(command),
        cwd=folder,
        env={**unmeasured(), "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    async with asyncio.timeout(PATIENCE):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


def shape(text: str) -> str:
    """Give a text without its numbers, times and line ends."""
    return NUMBER.sub("#", " ".join(text.split()))


def message(pushed: Published) -> str:
    return shape(f"{pushed.title} {pushed.message}")


@pytest.fixture
async def server() -> AsyncIterator[NtfyServer]:
    async with NtfyServer() as served:
        yield served


@pytest.fixture
async def folder(tmp_path: Path, server: NtfyServer) -> Path:
    """Give a folder in which everything was done that comes before the check."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    first, second = (await run(NAMES, tmp_path)).split()
    assert first != second
    await run(COPY, tmp_path)
    tables = TABLES.replace("mrdaemon-YOUR-FIRST-NAME", first).replace("mrdaemon-YOUR-SECOND-NAME", second)
    with (tmp_path / "phone.toml").open("a") as file:
        file.write(tables)
    assert "good" in await run(TRY.splitlines()[0], tmp_path)
    here = tables.replace("ntfys://ntfy.sh", f"ntfy://{server.host}").replace("https://ntfy.sh", server.url)
    text = (tmp_path / "phone.toml").read_text()
    (tmp_path / "phone.toml").write_text(text.replace(tables, here))
    return tmp_path


async def shown(server: NtfyServer, wanted: str) -> Published:
    """Wait until a message came that looks like one that the README shows."""
    try:
        await until(lambda: any(message(each) == shape(wanted) for each in server.published))
    except TimeoutError:
        raise AssertionError([message(each) for each in server.published]) from None
    return next(each for each in server.published if message(each) == shape(wanted))


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds: what starts here takes its time, and waits five seconds before it sends."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


async def test_the_test_alert_rings_the_phone(folder: Path, server: NtfyServer) -> None:
    assert "arrived" in await run(TRY, folder)
    assert [each.title for each in server.published] == ["Test"]


async def test_the_phone_asks_and_approve_buys_as_the_readme_shows(folder: Path, server: NtfyServer) -> None:
    local = ("simulator", "--json", "--always-open", "--port", "0", "--seed", "example")
    with child(*local) as simulator:
        assert simulator.stdout is not None
        url = json.loads(simulator.stdout.readline())["url"]
        place = {"MRDAEMON_ACCOUNTS__ALPACA__URL": url, "PYTHONPATH": str(ROOT)}
        arguments = RUN.split()
        assert arguments[:2] == [".venv/bin/mrdaemon", "run"]
        with (
            (folder / "log").open("w") as log,
            child(
                *arguments[1:],
                "--state",
                folder / "state",
                env=place,
                stdout=log,
                stderr=log,
                cwd=folder,
            ) as daemon,
        ):
            question = await shown(server, QUESTION)
            await until(lambda: server.subscriptions)
            buttons = {each["label"]: each for each in question.actions}
            assert list(buttons) == ["Approve", "Reject"]
            await press(buttons["Approve"])
            await shown(server, BOUGHT)
            daemon.terminate()
            await asyncio.to_thread(daemon.wait, PATIENCE)


def test_the_section_leads_to_documents_that_exist() -> None:
    linked = re.findall(r"\]\((docs/[^)#]+)", SECTION)
    assert linked
    assert [each for each in linked if not (ROOT / each).exists()] == []
