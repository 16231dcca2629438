"""What tests of the MQTT channel share: a daemon that can be looked at and asked, and a channel on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from mrdaemon import mqtt
from mrdaemon.alerts.alert import Alert, Level, Topic
from mrdaemon.alerts.asker import Answer
from mrdaemon.alerts.channel import Message
from mrdaemon.alerts.mqtt import MqttChannel
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.money import Dollars, Price, Shares
from mrdaemon.core.policy import Mode, TradingState
from mrdaemon.core.state import State
from mrdaemon.settings import ChannelTable
from mrdaemon.status import AccountStatus, PortfolioStatus, PositionStatus, Status
from tests.mosquitto import PATIENCE, Mosquitto

BASE = "mrdaemon/home"
STARTED = Instant(1_600_000_000_000_000_000)


def position(symbol: str = "QQQ", **changes: Any) -> PositionStatus:
    """Describe a position of 50 shares at a target of $5,000, at $101."""
    usual: dict[str, Any] = {
        "portfolio": "core",
        "symbol": symbol,
        "mode": Mode.AUTO,
        "trading": TradingState.ACTIVE,
        "target": Dollars(Decimal("5000.00")),
        "lower": Dollars(Decimal("4750.00")),
        "upper": Dollars(Decimal("5250.00")),
        "shares": Shares(Decimal(50)),
        "price": Price(Decimal("101.00")),
        "age": 0.5,
        "value": Dollars(Decimal("5050.00")),
        "deviation": Decimal("0.0100"),
        "accumulate_at": Price(Decimal("95.00")),
        "trim_at": Price(Decimal("105.00")),
        "signals": 0,
        "buys": 0,
        "sells": 0,
        "realized": Dollars(Decimal("0.00")),
        "order": None,
        "order_state": None,
        "waits": {},
        "approval": None,
        "paused": False,
        "stale": False,
        "halted": None,
        "frozen": None,
        "retired": False,
        "remarks": (),
    }
    return PositionStatus(**{**usual, **changes})


def portfolio(name: str = "core", reserve: str = "1000.00") -> PortfolioStatus:
    money = Dollars(Decimal(reserve))
    return PortfolioStatus(
        name, "paper", TradingState.ACTIVE, money, Dollars(Decimal("0.00")), money, Dollars(Decimal(0))
    )


def account() -> AccountStatus:
    return AccountStatus("paper", "paper", True, True, Dollars(Decimal("1000.00")), None, 0, 0)


class FakeView:
    """A daemon to look at, that a test changes."""

    def __init__(self, *positions: PositionStatus) -> None:
        self.state = State()
        self.known = list(positions or (position(),))
        self.status = Status(
            state_dir="/somewhere/private",
            process=4711,
            at=iso(STARTED),
            started=iso(STARTED),
            trading=TradingState.ACTIVE,
            paused=False,
            recording_read=False,
            accounts=(account(),),
            portfolios=(portfolio(),),
        )
        self.time = STARTED

    def now(self) -> Instant:
        return self.time

    def overview(self) -> Status:
        return self.status

    def positions(self) -> Iterator[PositionStatus]:
        yield from list(self.known)

    def change(self, symbol: str, **changes: Any) -> None:
        self.known = [
            msgspec.structs.replace(each, **changes) if each.symbol == symbol else each for each in self.known
        ]


class Asked(NamedTuple):
    name: str
    body: Any
    by: str


class FakeAsker:
    """A daemon to ask, that notes what it was asked and does nothing; ``busy`` until a test sets ``free``."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.refused: list[tuple[str, str, str]] = []
        self.answer = Answer([ev.SignalsPaused(at=STARTED, by="anna", paused=True)], ["Note this."], None)
        self.fails: Exception | None = None
        self.free = asyncio.Event()
        self.free.set()

    async def ask(self, name: str, body: bytes, by: str) -> Answer:
        await self.free.wait()
        self.asked.append(Asked(name, msgspec.json.decode(body), by))
        if self.fails is not None:
            raise self.fails
        return self.answer

    async def refuse(self, name: str, by: str, reason: str) -> None:
        await self.free.wait()
        self.refused.append((name, by, reason))


def alert(number: int = 1, **changes: Any) -> Alert:
    usual: dict[str, Any] = {
        "id": f"nonce-{number}",
        "at": STARTED,
        "level": Level.NOTICE,
        "topic": Topic.SIGNAL,
        "kind": "signal_raised",
        "subject": "core/QQQ",
        "title": "QQQ: accumulate $250.00",
        "text": "QQQ fell to $95.00, which is the lower edge of its zone.",
        "portfolio": "core",
        "symbol": "QQQ",
        "facts": {"side": "accumulate", "amount": "250.00"},
        "ttl": 600,
    }
    return Alert(**{**usual, **changes})


def message(*alerts: Alert) -> Message:
    return Message(alerts, alerts[0].title, alerts[0].text, Level.NOTICE)


def table(**changes: Any) -> ChannelTable:
    """Describe a channel that does not make a test wait."""
    return ChannelTable(kind="mqtt").model_copy(update={"every": 0.05, **changes})


def reached(broker: Mosquitto, **changes: Any) -> mqtt.Broker:
    return mqtt.Broker("127.0.0.1", broker.port, **changes)


class Parts(NamedTuple):
    channel: MqttChannel
    view: FakeView
    asker: FakeAsker


@asynccontextmanager
async def channel(
    broker: mqtt.Broker, *, view: FakeView | None = None, asker: FakeAsker | None = None, **changes: Any
) -> AsyncIterator[Parts]:
    """Run a channel of the instance ``home``, with its ears."""
    view, asker = view or FakeView(), asker or FakeAsker()
    async with MqttChannel("phone", table(**changes), broker, "home", view, asker) as made:
        ears = asyncio.create_task(made.listen())
        try:
            yield Parts(made, view, asker)
        finally:
            ears.cancel()
            await asyncio.wait([ears])


async def delivered(made: MqttChannel, *alerts: Alert) -> None:
    """Deliver, as a courier does: again and again until it arrives."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await made.deliver(message(*alerts))
            except Exception as error:  # noqa: BLE001
                last = error
            await asyncio.sleep(0.01)
            del last
