"""What the channels of a whole daemon hear: of its life, its end, and when one of them is away."""

from __future__ import annotations

import asyncio
import json
import resource
from pathlib import Path

from tests.ntfy_server import NtfyServer, until
from tests.running import Place, child, mrdaemon

SWINGS = (100.0, 110.0, 100.0, 90.0)
WITHIN = 60.0


def with_phone(place: Place, address: str, *more: str) -> Place:
    """Give a place a phone to push to."""
    lines = ["[channels.phone]", 'kind = "push"', f"urls = [{json.dumps(address)}]", 'group = "0s"', *more]
    with place.config.open("a") as file:
        file.write("\n".join(lines) + "\n")
    return place


def run(place: Place, room: int | None = None) -> int:
    """Run a place's daemon to its end, with so many bytes for any of its files; gives its exit code."""

    def fill_the_disk() -> None:
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    with child(*place.arguments(), prepare=fill_the_disk) as process:
        process.communicate(timeout=WITHIN)
        return process.returncode


async def test_a_run_is_told_from_its_start_to_its_end(tmp_path: Path) -> None:
    async with NtfyServer() as server:
        place = with_phone(Place(tmp_path).configure().record(100, 110), server.push(), 'level = "info"')
        assert await asyncio.to_thread(run, place) == 0
        await until(lambda: any("stopped" in each.message for each in server.published))
    told = [each.message for each in server.published]
    assert "started" in told[0]
    assert any("the first buy of its target $5,000.00" in each for each in told)
    assert any("at or above the upper edge $5,250.00" in each for each in told)
    assert "stopped" in told[-1]
    listed = mrdaemon("alert", "list", "--json", "--state", place.state, "--limit", "1000").objects
    assert [each["channels"][0]["outcome"] for each in listed] == ["delivered"] * len(listed)
    assert len({each["id"] for each in listed}) == len(listed)


async def test_a_second_run_repeats_nothing_of_the_first(tmp_path: Path) -> None:
    async with NtfyServer() as server:
        place = with_phone(Place(tmp_path).configure().record(100, 110), server.push())
        await asyncio.to_thread(run, place)
        first = [each.message for each in server.published]
        await asyncio.to_thread(run, place)
    assert any("Sold" in each for each in first)
    assert [each.message for each in server.published] == first


async def test_a_daemon_that_cannot_write_its_journal_says_that_it_ends(tmp_path: Path) -> None:
    async with NtfyServer() as server:
        place = with_phone(Place(tmp_path).configure().record(*SWINGS * 60), server.push(), 'topics = ["daemon"]')
        assert await asyncio.to_thread(run, place, 300_000) == 1
    assert server.published[-1].title == "mrdaemon has ended"
    assert "nothing is traded until it is started again" in server.published[-1].message
    assert "cannot write to the journal" in server.published[-1].message
    assert server.published[-1].priority in {"5", "max", "urgent"}


async def test_what_a_phone_that_was_away_missed_follows_with_the_next_run(tmp_path: Path) -> None:
    async with NtfyServer() as server:
        server.moods = [503] * 1000
        place = with_phone(Place(tmp_path).configure().record(100, 110), server.push())
        await asyncio.to_thread(run, place)
        assert server.published == []
        server.moods = []
        await asyncio.to_thread(run, place)
    assert any("the first buy" in each.message for each in server.published)
    assert any("Sold" in each.message for each in server.published)
