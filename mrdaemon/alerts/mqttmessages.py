"""What stands on each MQTT topic, as `docs/mqtt.md` describes it: JSON with a version, or for `status` one word."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from mrdaemon.alerts.alert import Alert, Level, Topic
from mrdaemon.alerts.slugs import slug
from mrdaemon.core.instant import Instant, iso
from mrdaemon.status import PortfolioStatus, PositionStatus, Status

VERSION: Final = 1
"""Of every message. It grows when a field changes its meaning or goes; new fields may come at any time."""
ONLINE: Final = b"online"
OFFLINE: Final = b"offline"

_encode: Final = msgspec.json.Encoder(decimal_format="string").encode


class AlertMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One alert."""

    v: int = VERSION
    id: str
    at: str
    level: Level
    topic: Topic
    kind: str
    subject: str
    title: str
    text: str
    portfolio: str | None
    symbol: str | None
    facts: Mapping[str, str]
    approval: str | None
    ttl: int


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command."""

    v: int = VERSION
    at: str
    command: str
    id: str | None
    """The sender's, where there was one."""
    ok: bool
    changed: Sequence[str] = ()
    notes: Sequence[str] = ()
    refused: str | None = None


class Topics:
    """The topics of one instance."""

    def __init__(self, instance: str) -> None:
        self.base = f"mrdaemon/{instance}"
        self.status = f"{self.base}/status"
        self.state = f"{self.base}/state"
        self.alert = f"{self.base}/alert"
        self.commands = f"{self.base}/cmd/+"

    @property
    def position_of_any(self) -> str:
        """Match where the figures of every position stand."""
        return f"{self.base}/position/+"

    def position(self, portfolio: str, symbol: str) -> str:
        """Give where a position's figures stand."""
        return f"{self.base}/position/{slug(portfolio, symbol)}"

    def portfolio(self, name: str) -> str:
        """Give where a portfolio's figures stand."""
        return f"{self.base}/portfolio/{name}"

    def response(self, command: str) -> str:
        """Give where answers to a command stand."""
        return f"{self.base}/cmd/{command}/response"


def alert(said: Alert) -> bytes:
    """Write an alert."""
    return _encode(
        AlertMessage(
            id=said.id,
            at=iso(said.at),
            level=said.level,
            topic=said.topic,
            kind=said.kind,
            subject=said.subject,
            title=said.title,
            text=said.text,
            portfolio=said.portfolio or None,
            symbol=said.symbol or None,
            facts=said.facts,
            approval=said.approval or None,
            ttl=said.ttl,
        )
    )


def response(said: Response) -> bytes:
    """Write what became of a command."""
    return _encode(said)


def state(overview: Status) -> bytes:
    """Write how the daemon stands, without its positions, and without where on which machine it runs."""
    fields = msgspec.to_builtins(overview, builtin_types=())
    for private in ("state_dir", "process", "positions"):
        del fields[private]
    return _encode({"v": VERSION, **fields})


def position(status: PositionStatus, now: Instant) -> bytes:
    """Write how a position stands."""
    return _dated(_encode(status), now)


def portfolio(status: PortfolioStatus, now: Instant) -> bytes:
    """Write how a portfolio stands."""
    return _dated(_encode(status), now)


def lasting(status: Status | PositionStatus | PortfolioStatus) -> bytes:
    """Give what tells whether there is news: everything but what changes with each second or price."""
    match status:
        case Status():
            status = msgspec.structs.replace(status, at="", feed=None)
        case PositionStatus():
            status = msgspec.structs.replace(status, age=None)
        case PortfolioStatus():
            pass
    return hashlib.blake2b(_encode(status), digest_size=16).digest()


def _dated(fields: bytes, now: Instant) -> bytes:
    """Put version and time before the fields of an object."""
    return b'{"v":%d,"at":"%s",%s' % (VERSION, iso(now).encode(), fields[1:])
