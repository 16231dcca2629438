"""What the doctor looks at elsewhere: do the keys log in, does the clock agree, are prices and channels within reach.

It logs in over REST only: Alpaca lets one connection have a stream, and that is the daemon's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mrdaemon import atalpaca, logins
from mrdaemon.alpaca import answers
from mrdaemon.alpaca.history import History
from mrdaemon.alpaca.limiter import Limiter
from mrdaemon.alpaca.rest import Rest, threads
from mrdaemon.backup import seconds
from mrdaemon.brokers import AmbiguousError, Broker, DeniedError, Timekeeper
from mrdaemon.clock import SystemClock
from mrdaemon.config import Config
from mrdaemon.core.instant import HOUR, MINUTE, SECOND, Instant
from mrdaemon.core.money import show
from mrdaemon.core.prints import Print
from mrdaemon.doctor import Finding, Look, fail, ok, warn
from mrdaemon.feeds.alpacastream import Market
from mrdaemon.logins import markets
from mrdaemon.reconciliation import MAX_SKEW
from mrdaemon.settings import Settings
from mrdaemon.ways import Place, places_of

CONNECT_WITHIN: Final = 10.0
"""Seconds that a connection may take to open."""
DEFAULT_PORTS: Final = {"ws": 80, "wss": 443, "http": 80, "https": 443}
NETWORK: Final = "see that this machine reaches it: name look-up, firewall, proxy; then whether it is up"
KEYS: Final = "see that key and secret are of one login, and of the kind that `live` says; else make new ones at Alpaca"
CLOCK: Final = "synchronize this machine's clock: timedatectl set-ntp true"


def looks(config: Config) -> Iterator[Look]:
    """Give what is to be looked at elsewhere."""
    settings = config.settings
    for name, table in settings.accounts.items():
        if table.broker == "alpaca":
            yield Look(f"account {name}", partial(account, settings, name))
    if settings.feed.kind == "alpaca":
        yield Look("feed", partial(alpaca_feed, settings))
    elif settings.feed.kind == "file":
        yield Look("feed", partial(files, config))
    if settings.mqtt is not None:
        yield Look("mqtt", partial(mqtt_broker, config))
    for name, channel in settings.channels.items():
        for place in places_of(name, channel):
            yield Look(f"channel {place.name}", partial(push, place))


# Alpaca


async def account(settings: Settings, name: str) -> list[Finding]:
    """Log in to an account: compare clocks, and see what it holds."""
    async with logins.opened(settings, SystemClock()) as alpaca:
        broker = alpaca.brokers()[name]
        try:
            return [*await _clock(broker), *await _standing(broker)]
        except DeniedError as denied:
            return [fail(str(denied), KEYS)]
        except AmbiguousError as unclear:
            return [fail(str(unclear), NETWORK)]


async def _clock(broker: Broker) -> list[Finding]:
    if not isinstance(broker, Timekeeper):
        return []
    theirs = await broker.hours()
    skew = abs(SystemClock().now() - theirs.now)
    if skew > MAX_SKEW + theirs.late:
        text = f"the broker's clock says {seconds(theirs.now)}; this machine's differs by {skew / SECOND:.1f} s"
        return [fail(text, CLOCK)]
    market = "open" if theirs.open else "closed"
    return [ok(f"it takes the keys; its clock and this machine's agree within 2 s, and its market is {market}")]


async def _standing(broker: Broker) -> list[Finding]:
    standing = await broker.standing()
    count = len(standing.holdings)
    return [ok(f"{show(standing.cash)} in cash, {count} symbol{'s' * (count != 1)} held")]


async def alpaca_feed(settings: Settings) -> list[Finding]:
    """Ask for the newest prices that the feed's plan has, and see whether its streams can be reached."""
    login = atalpaca.login(settings.accounts[atalpaca.keys_of(settings) or ""])
    clock, found = SystemClock(), list[Finding]()
    async with threads(login) as transport:
        rest = Rest(transport, Limiter(clock), clock)
        for market in markets(settings, login):
            found += await _reached(market.name, market.address) or [await _newest(market, rest, clock.now())]
    return found


async def _newest(market: Market, rest: Rest, now: Instant) -> Finding:
    if market.place is None:
        return ok(f"{market.name}: it can be reached; there is no history to ask for prices")
    try:
        newest = await History(rest, market.place).newest(market.trades)
    except answers.DeniedError as denied:
        return fail(f"{market.name}: no prices: {denied}", f"{KEYS}; or see that the plan has this stream")
    except answers.AlpacaError as error:
        return fail(f"{market.name}: no prices: {error}", NETWORK)
    return _prices(market.name, market.trades, newest, now)


def _prices(market: str, symbols: Sequence[str], newest: Sequence[Print], now: Instant) -> Finding:
    missing = sorted(set(symbols) - {each[0] for each in newest})
    if missing:
        return warn(f"{market}: it has no price of {', '.join(missing)}", "see that they are written as Alpaca does")
    ages = max(now - max(seen[2] for seen in newest if seen[0] == symbol) for symbol in symbols)
    count = len(symbols)
    return ok(f"{market}: it has prices of {count} symbol{'s' * (count != 1)}; the oldest is {_ago(max(ages, 0))} old")


def _ago(nanoseconds: int) -> str:
    """Say how old something is, in the unit that fits."""
    units = ((HOUR, "h"), (MINUTE, "min"), (SECOND, "s"))
    unit, name = next((each for each in units if nanoseconds >= 2 * each[0]), units[-1])
    return f"{nanoseconds / unit:.0f} {name}"


async def _reached(name: str, address: str) -> list[Finding]:
    url = urlsplit(address)
    port = url.port or DEFAULT_PORTS.get(url.scheme, 443)
    problem = await _connected(url.hostname or "", port, encrypted=url.scheme in {"wss", "https"})
    return [] if problem is None else [fail(f"{name}: {url.hostname}:{port} cannot be reached: {problem}", NETWORK)]


async def _connected(host: str, port: int, *, encrypted: bool) -> str | None:
    """Connect, and hang up without a word; gives why that did not work."""
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            _, writer = await asyncio.open_connection(host, port, ssl=encrypted or None)
    except TimeoutError:
        return f"no answer within {CONNECT_WITHIN:.0f} s"
    except OSError as error:
        return os.strerror(error.errno).lower() if error.errno is not None and error.errno > 0 else str(error)
    except ValueError as error:  # a name that cannot be one
        return str(error)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None


# Files, MQTT, push


async def files(config: Config) -> list[Finding]:
    """Look at the recordings of a feed of files."""
    folder, found = config.path.resolve().parent, []
    for name in config.settings.feed.files:
        file = folder / name
        try:
            with file.open("rb") as rows:
                rows.readline()
        except OSError as error:
            found.append(fail(f"{file}: {error.strerror}", "see that it is there, and that this user may read it"))
        else:
            found.append(ok(f"{file}: {_megabytes(file)}"))
    return found


def _megabytes(file: Path) -> str:
    return f"{file.stat().st_size / 1_000_000:,.1f} MB"


async def mqtt_broker(config: Config) -> list[Finding]:
    """Log in to the MQTT broker under a name of its own, and leave again: nothing is published."""
    from mrdaemon import mqtt  # noqa: PLC0415 - loads the client library

    assert config.settings.mqtt is not None  # noqa: S101 - it is looked at only then
    broker = mqtt.broker_of(config.settings.mqtt, config.path.resolve().parent)
    identifier = mqtt.identity(config.settings.alerts.instance, "doctor", secrets.token_hex(8))
    try:
        async with asyncio.timeout(CONNECT_WITHIN), mqtt.connected(broker, identifier=identifier):
            return [ok(f"{broker.address} takes us")]
    except TimeoutError:
        return [fail(f"{broker.address}: no answer within {CONNECT_WITHIN:.0f} s", NETWORK)]
    except mqtt.MqttFailure as failure:
        do = "see host, user, password and certificates under [mqtt]" if failure.final else NETWORK
        return [fail(failure.reason, do)]


async def push(place: Place) -> list[Finding]:
    """See whether a service that has a host of its own can be reached; nothing is sent."""
    from mrdaemon.alerts import addresses  # noqa: PLC0415 - apprise takes long to import

    parsed = addresses.read(place.url)
    made = None if parsed is None else addresses.plugin(parsed)
    if parsed is None or made is None:
        return [fail("its address cannot be used", "mrdaemon check says what is wrong with it")]
    called = addresses.called(parsed, made)
    sends = "mrdaemon alert test sends one to see whether it arrives"
    secure = getattr(made, "secure", None)
    if " at " not in called or secure is None or str(parsed["schema"]).startswith("mailto"):
        return [ok(f"{called}; {sends}")]
    port = int(parsed.get("port") or (443 if secure else 80))
    problem = await _connected(str(made.host), port, encrypted=False)
    if problem is not None:
        return [fail(f"{called}: port {port} cannot be reached: {problem}", NETWORK)]
    return [ok(f"{called} can be reached; {sends}")]
