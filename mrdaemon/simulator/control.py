"""The control endpoint: prices, faults and events by request, and how everything stands, for tests and the curious."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from mrdaemon.core.instant import iso
from mrdaemon.core.prints import Print, Trade, quote_print, trade_print
from mrdaemon.simulator.faults import Fault, FaultName
from mrdaemon.simulator.refusals import RefusalError
from mrdaemon.simulator.rest import Answer, Request
from mrdaemon.simulator.walk import around

if TYPE_CHECKING:
    from mrdaemon.simulator.simulator import Simulator

PREFIX: Final = "/simulator/"
_JSON: Final = {"content-type": "application/json"}


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class PriceAsk(_Strict, frozen=True):
    """A trade at a price, a quote, or both."""

    symbol: str
    price: float | None = None
    bid: float | None = None
    ask: float | None = None
    size: float = 100.0
    conditions: str = "@"


class FaultEnd(_Strict, frozen=True):
    """Faults to end: those of a name, or all."""

    name: FaultName | None = None


class SymbolAsk(_Strict, frozen=True):
    """A symbol."""

    symbol: str


class TradeAsk(_Strict, frozen=True):
    """A trade that was wrong: the newest of its symbol, or the one of an id. With a price it is corrected."""

    symbol: str
    trade: int | None = None
    price: float | None = None


class SplitAsk(_Strict, frozen=True):
    """A split, ``new_rate`` for ``old_rate``."""

    symbol: str
    new_rate: Decimal
    old_rate: Decimal = Decimal(1)
    booked_after_s: float = 0.0


class DividendAsk(_Strict, frozen=True):
    """A cash dividend."""

    symbol: str
    per_share: Decimal
    withheld: Decimal = Decimal(0)


class AmountAsk(_Strict, frozen=True):
    """Dollars."""

    amount: Decimal


class BustAsk(_Strict, frozen=True):
    """The order whose newest execution is broken, or corrected to a price."""

    order_id: str
    price: Decimal | None = None


class KeyAsk(_Strict, frozen=True):
    """Whether the keys are accepted from now on."""

    accepted: bool


AskT = TypeVar("AskT")


class Control:
    """Answers requests under ``/simulator/``."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def answer(self, request: Request) -> Answer:
        """Do what is asked. 200 with how it stands, 400 with why not, 404 and 405 as usual."""
        name = request.path.removeprefix(PREFIX)
        if name not in CONTROLS:
            return _said(404, {"message": f"no such control; there are: {', '.join(sorted(CONTROLS))}"})
        act = CONTROLS[name].get(request.method)
        if act is None:
            return _said(405, {"message": f"wanted {' or '.join(CONTROLS[name])}"})
        try:
            return _said(200, act(self._simulator, request.body or b"{}"))
        except (msgspec.DecodeError, ValueError, KeyError, RefusalError) as problem:
            return _said(400, {"message": str(problem)})


def _read(body: bytes, kind: type[AskT]) -> AskT:
    return msgspec.json.decode(body, type=kind, strict=False)


def _faults(simulator: Simulator, body: bytes) -> object:
    simulator.faults.begin(_read(body, Fault))
    simulator.meet_faults()
    return simulator.faults.active


def _end_faults(simulator: Simulator, body: bytes) -> object:
    simulator.faults.end(_read(body, FaultEnd).name)
    return simulator.faults.active


def _prices(simulator: Simulator, body: bytes) -> object:
    asks = msgspec.json.decode(body, type=list[PriceAsk] | PriceAsk, strict=False)
    prints = [_print(simulator, each) for each in (asks if isinstance(asks, list) else [asks])]
    simulator.see(prints)
    return {"seen": len(prints)}


def _print(simulator: Simulator, ask: PriceAsk) -> Print:
    now = simulator.true_time()
    if ask.price is None:
        if ask.bid is None or ask.ask is None:
            message = "wanted a price, or bid and ask"
            raise ValueError(message)
        return quote_print(ask.symbol, ask.bid, ask.ask, now)
    quote = around(ask.price)
    if ask.bid is not None and ask.ask is not None:
        quote = type(quote)(ask.bid, ask.ask)
    return trade_print(ask.symbol, ask.price, now, Trade(ask.conditions, ask.size), quote)


def _trade(simulator: Simulator, body: bytes) -> object:
    ask = _read(body, TradeAsk)
    if ask.price is None:
        return {"taken_back": simulator.take_back(ask.symbol, ask.trade)}
    return {"corrected": simulator.correct(ask.symbol, ask.price, ask.trade)}


def _split(simulator: Simulator, body: bytes) -> object:
    ask = _read(body, SplitAsk)
    simulator.split(ask.symbol, ask.new_rate, ask.old_rate, booked_after_s=ask.booked_after_s)
    return {}


def _dividend(simulator: Simulator, body: bytes) -> object:
    ask = _read(body, DividendAsk)
    simulator.exchange.dividend(ask.symbol, ask.per_share, withheld=ask.withheld)
    return {}


def _deposit(simulator: Simulator, body: bytes) -> object:
    simulator.exchange.deposit(_read(body, AmountAsk).amount)
    return {}


def _fee(simulator: Simulator, body: bytes) -> object:
    amount, cash = _read(body, AmountAsk).amount, simulator.exchange.ledger.cash
    if amount > cash:
        message = f"a fee of {amount} is more than the account's cash, {cash}"
        raise ValueError(message)
    simulator.exchange.fee(amount)
    return {}


def _bust(simulator: Simulator, body: bytes) -> object:
    ask = _read(body, BustAsk)
    if ask.price is None:
        simulator.exchange.bust(ask.order_id)
    else:
        simulator.exchange.correct(ask.order_id, ask.price)
    return {}


def _halt(simulator: Simulator, body: bytes) -> object:
    simulator.exchange.halt(_read(body, SymbolAsk).symbol)
    return {}


def _resume(simulator: Simulator, body: bytes) -> object:
    simulator.exchange.resume(_read(body, SymbolAsk).symbol)
    return {}


def _key(simulator: Simulator, body: bytes) -> object:
    (simulator.keys.restore if _read(body, KeyAsk).accepted else simulator.keys.revoke)()
    return {}


def _state(simulator: Simulator, _: bytes) -> object:
    exchange = simulator.exchange
    return {
        "now": iso(simulator.now()),
        "account": exchange.account(),
        "positions": exchange.positions(),
        "orders": exchange.orders(),
        "activities": exchange.activities(),
        "prices": {
            symbol: {"p": latest.price, "t": iso(latest.at)}
            for symbol in simulator.symbols
            if (latest := simulator.tape.latest_trade(symbol)) is not None
        },
        "connections": [
            {"stream": each.line.stream, "authenticated": each.authenticated} for each in simulator.sessions
        ],
        "requests": [
            {"at": iso(each.at), "method": each.method, "path": each.path, "status": each.status}
            for each in simulator.requests
        ],
        "faults": simulator.faults.active,
        "struck": dict(simulator.faults.log),
    }


def _said(status: int, body: object) -> Answer:
    return Answer(status, msgspec.json.encode(body), _JSON)


CONTROLS: Final[dict[str, dict[str, Callable[[Simulator, bytes], object]]]] = {
    "faults": {"POST": _faults, "DELETE": _end_faults},
    "prices": {"POST": _prices},
    "trade": {"POST": _trade},
    "split": {"POST": _split},
    "dividend": {"POST": _dividend},
    "deposit": {"POST": _deposit},
    "fee": {"POST": _fee},
    "bust": {"POST": _bust},
    "halt": {"POST": _halt},
    "resume": {"POST": _resume},
    "key": {"POST": _key},
    "state": {"GET": _state},
}
"""What does what, by name and method."""
