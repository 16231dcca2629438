"""What became of a request, as the journal has it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mrdaemon.alerts import asked
from mrdaemon.alerts.asked import JournaledRequests
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant
from mrdaemon.core.money import Dollars
from mrdaemon.core.policy import Side
from mrdaemon.core.state import Approval, Position, State
from mrdaemon.journal import Journal
from tests.builders import dollars, rules
from tests.ntfy_server import PATIENCE, until

AT = Instant(1_584_000_000_000_000_000)
ABOUT: dict[str, Any] = {"at": AT, "portfolio": "core", "symbol": "BTC/USD"}
ID = "core/BTC/USD/3"


class Glance:
    """A view of a daemon whose position has raised three signals."""

    def __init__(self, approval: Approval | None = None) -> None:
        position = Position("core", "BTC/USD", rules(), dollars(5000), number=3, approval=approval)
        self.state = State(positions={position.key: position})

    def now(self) -> Instant:
        return AT

    def overview(self) -> Any:
        pytest.fail("nobody asks for it here")

    def positions(self) -> Any:
        pytest.fail("nobody asks for it here")


class Counting(JournaledRequests):
    """Counts its looks into the journal."""

    looks = 0

    def _find(self, approval: str, after: int | None) -> tuple[ev.ApprovalGranted | ev.ApprovalClosed | None, int]:
        self.looks += 1
        return super()._find(approval, after)


async def said(folder: Path, events: Sequence[ev.Event], approval: str = ID) -> str:
    async with Journal(folder / "journal.db") as journal:
        journal.load()
        await journal.append(events)
        return await JournaledRequests(Glance(), journal.path).ended(approval)


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (ev.ApprovalGranted(**ABOUT, number=3, by="anna"), "was already approved by anna at 2020-03-12T08:00:00Z"),
        (
            ev.ApprovalClosed(**ABOUT, number=3, cause="rejected", by="anna"),
            "was already rejected by anna at 2020-03-1",
        ),
        (ev.ApprovalClosed(**ABOUT, number=3, cause="expired"), "expired at 2020-03-12T08:00:00Z: nobody answered it"),
        (ev.ApprovalClosed(**ABOUT, number=3, cause="the target changed"), "ended at 2020-03-12T08:00:00Z: the target"),
    ],
)
async def test_it_is_said_how_a_request_ended(tmp_path: Path, event: ev.Event, wanted: str) -> None:
    others = [ev.ApprovalGranted(**ABOUT, number=number, by="bert") for number in (2, 13, 33)]
    elsewhere = ev.ApprovalGranted(**{**ABOUT, "portfolio": "score"}, number=3, by="bert")
    assert (await said(tmp_path, [*others, event, *others, elsewhere])).startswith(f"{ID} {wanted}")


@pytest.mark.parametrize(
    "approval",
    [
        "core/BTC/USD/4",
        "core/BTC/USD/0",
        "core/BTC/USD/03",
        "core/BTC/USD/",
        "core/BTC/USD/x",
        "core/BTC/USD/³",
        "else/QQQ/1",
        "",
        "/",
        "3",
    ],
)
async def test_of_a_request_that_never_was_nothing_is_waited_for(
    tmp_path: Path, approval: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "DURABLE_WITHIN", 10 * PATIENCE)
    async with asyncio.timeout(PATIENCE):
        assert await said(tmp_path, [], approval) == f"there is no open request {approval}"


async def test_an_end_that_is_still_on_its_way_into_the_journal_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "DURABLE_WITHIN", PATIENCE)
    async with Journal(tmp_path / "journal.db") as journal:
        journal.load()
        requests = Counting(Glance(), journal.path)
        saying = asyncio.create_task(requests.ended(ID))
        await until(lambda: requests.looks)
        await journal.append([ev.ApprovalClosed(**ABOUT, number=3, cause="expired")])
        assert (await saying).startswith(f"{ID} expired")


async def test_of_a_request_that_never_was_the_journal_is_not_read(tmp_path: Path) -> None:
    requests = Counting(Glance(), tmp_path / "journal.db")
    assert await requests.became("core/BTC/USD/4") is None
    assert requests.looks == 0


async def test_an_end_is_looked_for_among_the_newest_events_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "DURABLE_WITHIN", 0.05)
    granted = ev.ApprovalGranted(**ABOUT, number=3, by="anna")
    later = [ev.ApprovalGranted(**ABOUT, number=2, by="bert")] * 3
    for far, became in ((4, f"{ID} was already approved by anna"), (3, "there is no open request")):
        monkeypatch.setattr(asked, "FAR_BACK", far)
        folder = tmp_path / str(far)
        folder.mkdir()
        assert (await said(folder, [granted, *later])).startswith(became)


@pytest.mark.parametrize(
    ("typed", "meant"), [(ID, ID), ("USD/3", ID), ("3", None), ("SPY/1", None), ("QQQ/1", "core/QQQ/1"), ("2", None)]
)
def test_a_request_can_be_named_by_its_end_where_that_is_enough(typed: str, meant: str | None, tmp_path: Path) -> None:
    glance = Glance()
    for name, number in (("QQQ", 1), ("SPY", 0), ("TLT", 3)):
        position = Position("core", name, rules(), dollars(5000), number=number)
        glance.state.positions[position.key] = position
    assert JournaledRequests(glance, tmp_path / "journal.db").named(typed) == meant


async def test_an_end_that_is_nowhere_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "DURABLE_WITHIN", 0.05)
    assert await said(tmp_path, []) == f"there is no open request {ID}"


def test_an_open_request_says_what_it_is_about_and_how_long_it_waits(tmp_path: Path) -> None:
    approval = Approval(3, Side.TRIM, Dollars(dollars("1250.5")), Instant(AT + 60))
    requests = JournaledRequests(Glance(approval), tmp_path)
    request = requests.open(ID)
    assert request is not None
    assert (request.expires, request.left, request.what) == (AT + 60, 60, "sell up to $1,250.50 of BTC/USD")
    for other in ("core/BTC/USD/2", "core/BTC/USD/03", "core/BTC/3", "3", ""):
        assert requests.open(other) is None
