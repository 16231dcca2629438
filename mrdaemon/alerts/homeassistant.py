"""What Home Assistant is told so that positions appear there by themselves: MQTT discovery, one message per device.

Nothing is sent here. The daemon, each portfolio and each position is a device of its own, so that no message grows with
the number of positions. Rules cited are those of Home Assistant's documentation of MQTT, its sensors and its events.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from mrdaemon import __version__
from mrdaemon.alerts.alert import Alert
from mrdaemon.alerts.entities import Availability, Component, Configuration, Device, Entities, Figure, Flag, Origin
from mrdaemon.alerts.mqttmessages import VERSION, Topics
from mrdaemon.alerts.slugs import slug
from mrdaemon.core.instant import iso
from mrdaemon.core.money import show
from mrdaemon.core.policy import ChannelState, FeedState, Side, TradingState
from mrdaemon.status import ApprovalStatus, PositionStatus, Status

ONLINE: Final = b"online"
"""What Home Assistant says on ``Discovery.birth`` when it has started: all ``messages`` are to be sent again then."""
SIGNALS: Final = frozenset({"signal_raised"})
"""Kinds of alerts that are an event of a position there."""

NO_PRICES: Final = (FeedState.CONNECTING, FeedState.STALE, FeedState.REFUSED)
NO_ALERTS: Final = (ChannelState.DOWN, ChannelState.REFUSED)

_BUTTONS: Final = ("pause", "resume", "halt")
_PRODUCT: Final = "mrdaemon"
_WHO: Final = "Home Assistant"
_BESIDE_WORDS: Final = re.compile(r"[^a-z0-9]+")

_DOLLARS: Final = "USD"
_MEASURED: Final = "measurement"
"""Statistics are kept. Dollars of this state class are not of the device class ``monetary``: that goes with totals
only, whose statistics tell how much they have grown since they were first seen."""
_TRADING: Final = Figure("trading", "Trading", device_class="enum", options=tuple(TradingState))
_HALTED: Final = Flag("halted", "Halted", f"value_json.trading == '{TradingState.HALTED}'", "problem")
_PAUSED: Final = Flag("paused", "Paused", "value_json.paused")

_OF_DAEMON: Final = (
    _PAUSED,
    _HALTED,
    Flag("halt_file", "Halt file", "value_json.halt_file", "problem"),
    Flag(
        "feed",
        "Feed",
        f"value_json.streams | selectattr('state', 'in', {[*map(str, NO_PRICES)]}) | list",
        "problem",
        ("streams",),
    ),
    Flag("broker", "Broker", "value_json.accounts | rejectattr('lost', 'none') | list", "problem", ("accounts",)),
    Flag(
        "channel",
        "Alert channel",
        f"value_json.channels | selectattr('state', 'in', {[*map(str, NO_ALERTS)]}) | list",
        "problem",
        ("channels",),
    ),
)
_OF_PORTFOLIO: Final = (
    Figure("reserve", "Reserve", _DOLLARS, _MEASURED, digits=2),
    Figure("available", "Available", _DOLLARS, _MEASURED, digits=2),
    _TRADING,
)
_OF_POSITION: Final = (
    Figure("value", "Value", _DOLLARS, _MEASURED, digits=2),
    Figure(
        "deviation",
        "Deviation",
        "%",
        _MEASURED,
        digits=2,
        template="{{ None if value_json.deviation is none else (value_json.deviation | float * 100) | round(2) }}",
    ),
    Figure("accumulate_at", "Next accumulate price", _DOLLARS),
    Figure("trim_at", "Next trim price", _DOLLARS),
    Figure("price", "Price", _DOLLARS, _MEASURED),
    Figure("shares", "Shares", "shares", _MEASURED),
    Figure("target", "Target", _DOLLARS, device_class="monetary"),
    Figure(
        "request",
        "Request",
        device_class="enum",
        options=("none", *Side),
        template="{{ value_json.approval.side if value_json.approval else 'none' }}",
        attributes="{{ (value_json.approval or {}) | tojson }}",
    ),
)
_POSITION_FLAGS: Final = (
    _PAUSED,
    Flag(
        "problem",
        "Problem",
        "value_json.halted or value_json.frozen or value_json.stale",
        "problem",
        ("remarks", "halted", "frozen", "stale", "trading", "waits"),
    ),
)

_encode: Final = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """What is to be published. An empty payload removes what an earlier one brought."""

    topic: str
    payload: bytes


class Discovery:
    """Makes the messages of one instance for one Home Assistant.

    ``commands`` are those that its buttons may send. What may not be sent has no button, and one that was there goes.
    All messages are retained but those of ``signal``.
    """

    def __init__(self, instance: str, prefix: str, commands: Collection[str]) -> None:
        self._prefix = prefix
        self._topics = Topics(instance)
        self._id = f"{_PRODUCT}__{instance}"
        self._called = _PRODUCT if instance == _PRODUCT else f"{_PRODUCT} {instance}"
        self._before = "" if instance == _PRODUCT else f"{instance} "
        self._commands = frozenset(commands)
        self._status = Availability(self._topics.status)
        self.birth = f"{prefix}/status"
        """Where Home Assistant says that it has started."""
        self.filter = f"{prefix}/device/+/config"
        """Where every retained message about a device is found, also those of others: see ``ours``."""

    def messages(self, status: Status, positions: Iterable[PositionStatus]) -> Iterator[Message]:
        """Give all messages, one at a time. The daemon's comes first: the other devices refer to it."""
        yield self.daemon()
        yield from (self.portfolio(each.name) for each in status.portfolios)
        yield from (self.position(each) for each in positions)

    def ours(self, topic: str) -> bool:
        """Tell whether a message's topic is of this instance. One that is not among ``messages`` is to be removed."""
        return topic == self._topic(self._id) or topic.startswith(f"{self._prefix}/device/{self._id}__")

    def daemon(self) -> Message:
        """Give the message about the daemon itself."""
        make = Entities(self._id, self._topics.state)
        running = Component(
            platform="binary_sensor",
            unique_id=make.unique("running"),
            name="Running",
            state_topic=self._status.topic,
            payload_on="online",
            payload_off="offline",
            device_class="connectivity",
            availability=(),  # That it does not run is known, too.
        )
        buttons = {each: self._button(make.unique(each), each.capitalize(), each, {}) for each in _BUTTONS}
        return self._message(
            self._device(self._id, self._called),
            make.topic,
            {"running": running} | make.sensors([_TRADING]) | make.flags(_OF_DAEMON) | buttons,
        )

    def portfolio(self, name: str) -> Message:
        """Give the message about a portfolio and its reserve."""
        make = Entities(f"{self._id}__portfolio__{name}", self._topics.portfolio(name))
        return self._message(
            self._device(make.identifier, f"{self._before}{name}", "portfolio"),
            make.topic,
            make.sensors(_OF_PORTFOLIO) | make.flags([_HALTED]),
        )

    def position(self, status: PositionStatus) -> Message:
        """Give the message about a position. It is another one whenever another request waits or none does.

        One that left the configuration is removed.
        """
        portfolio, symbol = status.portfolio, status.symbol
        make = Entities(f"{self._id}__position__{slug(portfolio, symbol)}", self._topics.position(portfolio, symbol))
        if status.retired:
            return Message(self._topic(make.identifier), b"")
        called = f"{self._before}{portfolio} {symbol}"
        signal = Component(
            platform="event",
            unique_id=make.unique("signal"),
            name="Signal",
            state_topic=self._signal_topic(portfolio, symbol),
            event_types=tuple(Side),
            qos=1,
        )
        answers = {each: self._answer(make, called, each, status.approval) for each in ("approve", "reject")}
        about = {"symbol": symbol}
        buttons = {
            each: self._button(make.unique(each), f"{each.capitalize()} symbol", each, about)
            for each in ("pause", "resume")
        }
        return self._message(
            self._device(make.identifier, called, "position"),
            make.topic,
            make.sensors(_OF_POSITION) | make.flags(_POSITION_FLAGS) | {"signal": signal} | answers | buttons,
        )

    def signal(self, alert: Alert) -> Message | None:
        """Give what an alert says as an event of its position, not to be retained; None where it is no signal."""
        side = alert.facts.get("side")
        if alert.kind not in SIGNALS or side not in set(Side):
            return None
        event = {
            **alert.facts,
            "event_type": side,
            "v": VERSION,
            "id": alert.id,
            "at": iso(alert.at),
            "title": alert.title,
            "text": alert.text,
            "portfolio": alert.portfolio,
            "symbol": alert.symbol,
        }
        return Message(self._signal_topic(alert.portfolio, alert.symbol), _encode(event))

    def _answer(self, make: Entities, called: str, command: str, request: ApprovalStatus | None) -> Component:
        """Make a button that answers one request, which its name and its command name: another one needs another press.

        Its name says what it would do. Where nothing waits it is unavailable, and what it names is no request.
        """
        verb = command.capitalize()
        if request is not None:
            verb = f"{verb} {'buy' if request.side is Side.ACCUMULATE else 'sale'} of {show(request.amount)}"
        button = self._button(make.unique(command), verb, command, {"id": "" if request is None else request.id})
        if not button.unique_id:
            return button
        entity = f"{_BESIDE_WORDS.sub('_', called.lower()).strip('_')}_{command}"
        waits = Availability(make.topic, "{{ 'online' if value_json.approval else 'offline' }}")
        return msgspec.structs.replace(
            button,
            default_entity_id=f"button.{entity}",  # Its name may be that of a request when it first appears.
            availability=(self._status, waits),
            availability_mode="all",
        )

    def _button(self, unique: str, name: str, command: str, fields: Mapping[str, str]) -> Component:
        """Make a button that sends a command, dated when it is pressed: one that arrives late is refused."""
        if command not in self._commands:
            return Component(platform="button")
        body = {"at": "{{ utcnow().isoformat() }}", **fields, "by": _WHO}
        return Component(
            platform="button",
            unique_id=unique,
            name=name,
            command_topic=f"{self._topics.base}/cmd/{command}",
            command_template=_encode(body).decode(),
            qos=1,
        )

    def _message(self, device: Device, topic: str, components: dict[str, Component]) -> Message:
        [identifier] = device.identifiers
        whole = Configuration(
            device=device,
            origin=Origin(_PRODUCT, __version__),
            components=components,
            availability=(self._status,),
            state_topic=topic,
        )
        return Message(self._topic(identifier), _encode(whole))

    def _topic(self, identifier: str) -> str:
        return f"{self._prefix}/device/{identifier}/config"

    def _signal_topic(self, portfolio: str, symbol: str) -> str:
        return f"{self._topics.base}/signal/{slug(portfolio, symbol)}"

    def _device(self, identifier: str, name: str, model: str = "") -> Device:
        return Device(
            identifiers=(identifier,),
            name=name,
            manufacturer=_PRODUCT,
            model=model,
            sw_version=__version__,
            via_device="" if identifier == self._id else self._id,
        )
