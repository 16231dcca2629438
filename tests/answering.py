"""For tests of answers: requests that are open or not, an asker that notes what it is asked, and tokens."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from mrdaemon.alerts.asked import Request
from mrdaemon.alerts.asker import Answer
from mrdaemon.alerts.links import Links
from mrdaemon.core import events as ev
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.settings import AnswersTable

NOW = 1_700_000_000 * SECOND
KEY = b"k" * 32
ID = "core/BRK.B/7"
EXPIRES = Instant(NOW + 600 * SECOND)
PAGE = "https://home.example/mrdaemon"
TOPIC = "https://ntfy.example/answers-x"


class Wall:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


class Open:
    """Requests that a test opens and closes."""

    def __init__(self) -> None:
        self.requests = {ID: Request(EXPIRES, 600 * SECOND, "buy up to $250.00 of BRK.B")}
        self.became: dict[str, str] = {}
        self.broken: Exception | None = None

    def open(self, approval: str) -> Request | None:
        return self.requests.get(approval)

    async def ended(self, approval: str) -> str:
        if self.broken is not None:
            raise self.broken
        return self.became.get(approval, f"there is no open request {approval}")


class Notes:
    """An asker that carries out what it is asked at once, and remembers it."""

    def __init__(self, requests: Open) -> None:
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        self.refused: list[tuple[str, str, str]] = []
        self.objection: str | None = None
        self.broken: Exception | None = None
        self._requests = requests

    async def ask(self, name: str, body: bytes, by: str) -> Answer:
        await asyncio.sleep(0)  # As the journal takes its time: a second answer may come in meanwhile.
        if self.broken is not None:
            raise self.broken
        fields = json.loads(body)
        self.asked.append((name, fields, by))
        portfolio, symbol, number = fields["id"].split("/")
        del self._requests.requests[fields["id"]]
        self._requests.became[fields["id"]] = f"{fields['id']} was already {name}d by {by}"
        if self.objection is not None:
            return Answer([], [], self.objection)
        granted = ev.ApprovalGranted(at=Instant(NOW), portfolio=portfolio, symbol=symbol, number=int(number), by=by)
        return Answer([granted], ["Mind the gap."], None)

    async def refuse(self, name: str, by: str, reason: str) -> None:
        self.refused.append((name, by, reason))


def links(requests: Open, wall: Wall, key: bytes = KEY, page: str | None = PAGE, topic: str | None = None) -> Links:
    return Links(key, AnswersTable(url=page, topic=topic), requests, wall)


def tokens(made: Links, approval: str = ID) -> dict[str, str]:
    """Give the token of each answer."""
    return {each.answer: each.body or each.link.rpartition("/")[2] for each in made.buttons(approval)}
