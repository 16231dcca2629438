"""Devices as they are described to Home Assistant, what their topics say, and what must be seen there then.

Run as a program it prints them, one JSON object on a line, for whoever has Home Assistant's own rules and templates.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from mrdaemon import status
from mrdaemon.alerts import mqttmessages as messages
from mrdaemon.alerts.homeassistant import Discovery, Message
from mrdaemon.core.policy import (
    ChannelState,
    FeedState,
    Mode,
    TradingState,
)
from mrdaemon.status import ChannelStatus, PortfolioStatus, PositionStatus, Status, StreamStatus
from tests.builders import START, Bench, plan, position

COMMANDS = ("pause", "resume", "halt", "approve", "reject")
WORDS = 'they\'re "odd" & <small> {{ words }} {% raw'
"""What a template must not stumble over."""


class Case(msgspec.Struct):
    """A device, what its topic says, and what its entities show."""

    topic: str
    payload: str
    heard: str
    """The topic."""
    says: dict[str, Any]
    shows: dict[str, str]
    """By entity, as a template renders it."""
    presses: dict[str, dict[str, str]] = {}
    """By button, the command beside its date."""
    available: dict[str, bool] = {}
    attributes: dict[str, dict[str, Any]] = {}


def statuses(bench: Bench) -> list[PositionStatus]:
    """Give how the positions of a bench stand."""
    return list(status.positions_of(bench.state, bench.engine.seen, bench.engine.zone, bench.now))


def overview(bench: Bench) -> Status:
    """Give how the rest of a bench stands."""
    return status.overview(bench.state, "state", bench.now)


def said(thing: Status | PositionStatus | PortfolioStatus) -> Any:
    """Give what a retained topic says."""
    match thing:
        case Status():
            return json.loads(messages.state(thing))
        case PositionStatus():
            return json.loads(messages.position(thing, START))
        case PortfolioStatus():
            return json.loads(messages.portfolio(thing, START))


def waiting() -> Bench:
    """Give a bench on which a request for QQQ waits: 50 shares at $90, with a target of $5,000."""
    bench = Bench(plan(position(mode=Mode.APPROVE), position("SPY")))
    bench.prices(100.0, 90.0)
    return bench


def cases() -> Iterator[Case]:
    """Give every case."""
    yield from _positions(Discovery("mrdaemon", "homeassistant", COMMANDS))
    yield from _portfolios(Discovery("home", "homeassistant", COMMANDS))
    yield from _daemons(Discovery("home", "ha/discovery", COMMANDS))


def _positions(discovery: Discovery) -> Iterator[Case]:
    asked, quiet = statuses(waiting())
    calm = {"paused": "OFF", "problem": "OFF"}
    who = "Home Assistant"
    scope = {"pause": {"symbol": "QQQ", "by": who}, "resume": {"symbol": "QQQ", "by": who}}

    def case(found: PositionStatus, shows: dict[str, str], **more: Any) -> Case:
        return _case(discovery.position(found), "mrdaemon/mrdaemon/position/core_qqq", found, shows, **more)

    figures = {
        "value": "4500.00",
        "deviation": "-10.0",
        "price": "90.0",
        "shares": "50",
        "target": "5000.00",
        "accumulate_at": "85.0000",
        "trim_at": "105.0000",
    }
    request = {"id": "core/QQQ/1", "by": who}
    yield case(
        asked,
        {**figures, **calm, "request": "accumulate"},
        presses={"approve": request, "reject": request, **scope},
        available={"approve": True, "reject": True},
    )
    nothing = {"id": "", "by": who}
    answered = replace(asked, approval=None)
    yield case(
        answered,
        {**calm, "request": "none"},
        presses={"approve": nothing, "reject": nothing},
        available={"approve": False, "reject": False},
        attributes={"request": {}},
    )
    unknown = dict.fromkeys(("value", "deviation", "price", "accumulate_at", "trim_at"), "None")
    blank = replace(answered, price=None, value=None, deviation=None, accumulate_at=None, trim_at=None)
    yield case(blank, {**unknown, **calm, "target": "5000.00"})
    yield case(replace(answered, deviation=Decimal("0.0367")), {"deviation": "3.67"})
    yield case(replace(answered, paused=True), {"paused": "ON", "problem": "OFF"})
    for trouble in ({"halted": WORDS}, {"frozen": WORDS}, {"stale": True}):
        stuck = replace(answered, remarks=(WORDS,), **trouble)
        yield case(stuck, {"problem": "ON"}, attributes={"problem": {"remarks": [WORDS], **trouble}})
    yield _case(
        discovery.position(replace(quiet, symbol="BRK.B")),
        "mrdaemon/mrdaemon/position/core_brk-2eb",
        replace(quiet, symbol="BRK.B"),
        {"request": "none"},
        presses={"pause": {"symbol": "BRK.B", "by": who}},
    )
    yield _case(
        discovery.position(replace(quiet, symbol="BTC/USD")),
        "mrdaemon/mrdaemon/position/core_btc-2fusd",
        replace(quiet, symbol="BTC/USD"),
        {"request": "none"},
        presses={"pause": {"symbol": "BTC/USD", "by": who}},
    )


def _portfolios(discovery: Discovery) -> Iterator[Case]:
    [found] = overview(waiting()).portfolios
    figures = {"reserve": "5000.00", "available": "5000.00", "trading": "ACTIVE", "halted": "OFF"}
    halted = replace(found, trading=TradingState.HALTED)
    for each, shows in ((found, figures), (halted, {"trading": "HALTED", "halted": "ON"})):
        yield _case(discovery.portfolio(each.name), "mrdaemon/home/portfolio/core", each, shows)


def _daemons(discovery: Discovery) -> Iterator[Case]:
    found = overview(waiting())
    flags = dict.fromkeys(("paused", "halted", "halt_file", "feed", "broker", "channel"), "OFF")
    press = {each: {"by": "Home Assistant"} for each in ("pause", "resume", "halt")}
    live = StreamStatus("alpaca iex", FeedState.LIVE, "2020-09-13T12:26:40Z", "")
    up = ChannelStatus("phone", ChannelState.UP, "2020-09-13T12:26:40Z", "", 0)
    [account] = found.accounts
    changes: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({}, {**flags, "trading": "ACTIVE"}),
        ({"streams": (live,), "channels": (up, replace(up, state=None))}, flags),
        ({"trading": TradingState.HALTED}, {**flags, "trading": "HALTED", "halted": "ON"}),
        ({"trading": TradingState.REDUCING, "paused": True}, {**flags, "trading": "REDUCING", "paused": "ON"}),
        ({"halt_file": True}, {**flags, "halt_file": "ON"}),
        ({"streams": (live, replace(live, state=FeedState.STALE))}, {**flags, "feed": "ON"}),
        ({"streams": (replace(live, state=FeedState.CONNECTING),)}, {**flags, "feed": "ON"}),
        ({"streams": (replace(live, state=FeedState.REFUSED),)}, {**flags, "feed": "ON"}),
        ({"streams": (replace(live, state=FeedState.SUBSCRIBED),)}, flags),
        ({"accounts": (account, replace(account, lost=WORDS))}, {**flags, "broker": "ON"}),
        ({"channels": (up, replace(up, state=ChannelState.DOWN))}, {**flags, "channel": "ON"}),
        ({"channels": (replace(up, state=ChannelState.REFUSED),)}, {**flags, "channel": "ON"}),
    ]
    for change, shows in changes:
        yield _case(discovery.daemon(), "mrdaemon/home/state", replace(found, **change), shows, presses=press)


def _case(
    message: Message,
    heard: str,
    thing: Status | PositionStatus | PortfolioStatus,
    shows: dict[str, str],
    **more: Any,
) -> Case:
    return Case(message.topic, message.payload.decode(), heard, said(thing), shows, **more)


if __name__ == "__main__":
    for each in cases():
        sys.stdout.buffer.write(msgspec.json.encode(each) + b"\n")
