"""What the dashboard's API answers that nobody else does, and what it is asked."""

from __future__ import annotations

import msgspec

from mrdaemon.alerts.alert import Level
from mrdaemon.core.money import Dollars, Price
from mrdaemon.core.policy import Side


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """What opens a session."""

    token: str


class SignedIn(msgspec.Struct):
    """What a page is told once."""

    csrf: str
    """To be sent as ``X-CSRF-Token`` with all that is to be done."""
    expires_in: int
    """Seconds for which it will do. Looking goes on for as long as somebody looks."""


class Healthz(msgspec.Struct):
    """Whether everything makes progress."""

    ok: bool


class Item(msgspec.Struct, frozen=True):
    """One of the news."""

    seq: int
    """The number of its event in the journal."""
    at: str
    """When it happened, in the daemon's time: the recording's, where it reads one."""
    kind: str
    portfolio: str | None
    symbol: str | None
    level: Level
    text: str
    """One plain sentence."""


class NewsPage(msgspec.Struct, frozen=True):
    """Some of the news, newest first."""

    news: list[Item]
    before: int | None
    """Where older ones begin; null where there are none."""


class Mark(msgspec.Struct, frozen=True):
    """A signal on a line of prices."""

    at: int
    """Milliseconds since 1970."""
    side: Side
    price: Price
    amount: Dollars
    id: str
    """Portfolio, symbol and number."""


class PriceLine(msgspec.Struct, frozen=True):
    """A symbol's prices of the current trading day; of a recording, as far as it was read."""

    symbol: str
    points: list[tuple[int, str]]
    """Milliseconds since 1970, and the price."""
    signals: list[Mark]


class ReserveLine(msgspec.Struct, frozen=True):
    """A portfolio's reserve over time."""

    portfolio: str
    points: list[tuple[int, str]]
    """Milliseconds since 1970, and dollars."""


ANSWERS = (SignIn, SignedIn, Healthz, NewsPage, PriceLine, ReserveLine)
"""All of them that stand by themselves."""
