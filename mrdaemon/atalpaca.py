"""What a configuration must fulfil where it names Alpaca: keys, real money, streams, and how many symbols fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mrdaemon.alpaca.login import LIVE_KEY, LIVE_URL, PAPER_KEY, PAPER_URL, Login
from mrdaemon.core.orders import client_order_id
from mrdaemon.core.policy import Mode
from mrdaemon.findings import Finding, Where
from mrdaemon.overrides import variable
from mrdaemon.settings import AccountTable, Settings, UnknownValueError

FREE_CHANNELS: Final = 30
"""Channels of trades and quotes that Alpaca's free plan sends."""
LIMITED: Final = frozenset({"iex", "delayed_sip", "test"})
"""Streams that a free plan has."""
TEST_SYMBOL: Final = "FAKEPACA"
DELAY_S: Final = 15 * 60
"""How old the prices of ``delayed_sip`` are when they come."""
LONGEST_ID: Final = 128
"""Characters of a client order id that Alpaca takes."""
FOR_ALPACA: Final = ("key", "secret", "live", "url")
FOR_PAPER: Final = ("cash", "slippage", "partial_fills", "whole_shares")
FOR_FILES: Final = ("files", "timezone", "bar", "speed")
FOR_STREAMS: Final = ("stream", "account", "channels")
_LONGEST_TAIL: Final = len(client_order_id("", "", 10**9, 9, "0" * 8))


class Channels(NamedTuple):
    """What is asked of the stream of shares, within the plan's channels."""

    trades: tuple[str, ...]
    quotes: tuple[str, ...]


def symbols_of(settings: Settings) -> dict[str, list[tuple[str, str]]]:
    """Give every symbol, in the configuration's order, and in which portfolios and modes it is watched."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, portfolio in settings.portfolios.items():
        for symbol, position in portfolio.positions.items():
            mode = position.mode or portfolio.mode or Mode.ALERT
            found.setdefault(symbol, []).append((name, mode.value))
    return found


def shares(settings: Settings) -> list[str]:
    """Give the symbols that are no pairs."""
    return [symbol for symbol in symbols_of(settings) if "/" not in symbol]


def pairs(settings: Settings) -> list[str]:
    """Give the pairs of crypto."""
    return [symbol for symbol in symbols_of(settings) if "/" in symbol]


def channels(settings: Settings) -> int | None:
    """Give how many channels the stream of shares may have; None: any number."""
    if settings.feed.channels is not None:
        return settings.feed.channels
    return FREE_CHANNELS if settings.feed.stream in LIMITED else None


def fitted(symbols: list[str], most: int | None) -> Channels:
    """Fit symbols into the channels: trades of all, and quotes of as many as there is room for, first ones first."""
    room = len(symbols) if most is None else max(0, most - len(symbols))
    return Channels(tuple(symbols), tuple(symbols[:room]))


def keys_of(settings: Settings) -> str | None:
    """Give the account whose keys the feed uses, or None where that is not clear."""
    if settings.feed.account is not None:
        return settings.feed.account
    mine = [name for name, each in settings.accounts.items() if each.broker == "alpaca" or each.key is not None]
    return mine[0] if len(mine) == 1 else None


def login(table: AccountTable) -> Login:
    """Give an account's login, which ``checks`` has found to be whole."""
    return Login.of(table.key or "", table.secret or "", live=table.live, url=table.url)


def real_money(settings: Settings) -> list[str]:
    """Give the accounts that trade real money."""
    return [name for name, each in settings.accounts.items() if each.broker == "alpaca" and each.live]


def notes(settings: Settings) -> list[str]:
    """Say what a person should know of a configuration that is right."""
    if settings.feed.kind != "alpaca":
        return []
    told = list[str]()
    if settings.seed is not None and any(each.broker == "alpaca" for each in settings.accounts.values()):
        told.append("With a seed, ids of orders repeat after a restore, and Alpaca takes each once: it is for tests.")
    symbols = shares(settings)
    quoted = fitted(symbols, channels(settings)).quotes
    if len(quoted) < len(symbols):
        without = ", ".join(symbols[len(quoted) :])
        told.append(
            f"The plan's {channels(settings)} channels have no room for the quotes of {without}: "
            "their trades are not held against a quote."
        )
    if settings.feed.stream == "test" and any(m != Mode.ALERT for _, m in symbols_of(settings).get(TEST_SYMBOL, [])):
        told.append(f"Nobody trades {TEST_SYMBOL}: its signals will be held.")
    told += [f"Account {name} trades REAL MONEY; it runs with --live only." for name in real_money(settings)]
    return told


def checks(settings: Settings) -> Iterator[Iterator[Finding]]:
    """Give every problem that has to do with Alpaca."""
    yield _seed(settings)
    yield _feed_keys(settings)
    yield _same_keys(settings)
    yield _room(settings)
    yield _test_stream(settings)
    yield _delayed(settings)
    for name, account in settings.accounts.items():
        yield _account(settings, name, account)
    for name in settings.portfolios:
        yield _order_ids(settings, name)


def _seed(settings: Settings) -> Iterator[Finding]:
    """Object to ids that repeat: a journal that was restored would name its next order as one that Alpaca has had."""
    if settings.seed is not None:
        for name in real_money(settings):
            what = (
                f"it lets ids of orders repeat, and account {name} trades real money at Alpaca, which takes an id once"
            )
            yield Finding(("seed",), f"{what}; take it out", settings.seed, (("accounts", name, "live"),))


def _feed_keys(settings: Settings) -> Iterator[Finding]:
    feed = settings.feed
    wrong = FOR_FILES if feed.kind == "alpaca" else FOR_STREAMS
    for key in wrong:
        if key in feed.model_fields_set:
            what = f'a feed of kind "{feed.kind}" has no use for this; take it out'
            yield Finding(("feed", key), what, getattr(feed, key))
    if feed.kind != "alpaca":
        return
    owner = keys_of(settings)
    if owner is None:
        what = "wanted the account whose keys the stream is to use: there is none at Alpaca, or more than one"
        yield Finding(("feed", "account"), what, None)
    elif owner not in settings.accounts:
        yield Finding(("feed", "account"), f"wanted one of {', '.join(settings.accounts)}", owner)
    elif settings.accounts[owner].broker != "alpaca":
        yield from _keys(("accounts", owner), settings.accounts[owner])


def _account(settings: Settings, name: str, account: AccountTable) -> Iterator[Finding]:
    here = ("accounts", name)
    if account.broker != "alpaca":
        spoken_for = settings.feed.kind == "alpaca" and keys_of(settings) == name
        for key in FOR_ALPACA:
            if key in account.model_fields_set and not spoken_for:
                what = f'an account with broker = "{account.broker}" has no use for this; take it out'
                yield Finding((*here, key), what, getattr(account, key))
        return
    for key in FOR_PAPER:
        if key in account.model_fields_set:
            what = "this is for a paper account; Alpaca knows it by itself; take it out"
            yield Finding((*here, key), what, getattr(account, key))
    if settings.feed.kind == "file":
        what = 'recorded prices must not trade at Alpaca: wanted a feed of kind "alpaca", or broker = "paper"'
        yield Finding((*here, "broker"), what, account.broker)
    yield from _keys(here, account)


def _keys(here: Where, account: AccountTable) -> Iterator[Finding]:
    for key in ("key", "secret"):
        with contextlib.suppress(UnknownValueError):
            if getattr(account, key) is None:
                what = f"wanted Alpaca's, best from the environment ({variable((*here, key))}) or a secrets directory"
                yield Finding((*here, key), what, None)
    for key in ("key", "secret"):
        with contextlib.suppress(UnknownValueError):
            given = getattr(account, key)
            if given is not None and not _sendable(given):
                yield Finding((*here, key), "wanted letters and digits, without blanks", given)
    if account.key is None:
        return
    if account.live and account.key.startswith(PAPER_KEY):
        yield Finding((*here, "key"), "this is the key of a paper account, and live = true", account.key)
    if not account.live and account.key.startswith(LIVE_KEY):
        what = f"this is the key of an account with real money; wanted one that begins with {PAPER_KEY}, or live = true"
        yield Finding((*here, "key"), what, account.key)
    paid = {_host(LIVE_URL): True, _host(PAPER_URL): False}.get(_host(account.url or ""))
    if paid is not None and paid is not account.live:
        money = "real" if paid else "paper"
        what = f"this address is of accounts with {money} money, and live = {str(account.live).lower()}"
        yield Finding((*here, "url"), what, account.url)
    if account.url is not None and (not account.url.startswith(("http://", "https://")) or _host(account.url) is None):
        yield Finding((*here, "url"), 'wanted an address such as "http://127.0.0.1:8899"', account.url)


def _host(url: str) -> str | None:
    """Give the host of an address, or None where there is none to be read."""
    with contextlib.suppress(ValueError):
        return urlsplit(url).hostname
    return None


def _sendable(key: str) -> bool:
    """Tell whether a key can stand in a header of HTTP."""
    return key.isascii() and key.isprintable() and " " not in key


def _same_keys(settings: Settings) -> Iterator[Finding]:
    """Object to one login under two names: its cash would be claimed twice, and each would meet the other's orders."""
    owners: dict[str, str] = {}
    for name, account in settings.accounts.items():
        if account.broker == "alpaca" and account.key is not None:
            owner = owners.setdefault(account.key, name)
            if owner != name:
                what = f"account {owner} has this key; two portfolios may share one account instead"
                yield Finding(("accounts", name, "key"), what, account.key)


def _room(settings: Settings) -> Iterator[Finding]:
    most, symbols = channels(settings), shares(settings)
    if settings.feed.kind != "alpaca" or most is None or len(symbols) <= most:
        return
    what = (
        f"{len(symbols)} symbols need as many channels, and the plan has {most}: wanted fewer symbols, "
        'stream = "sip" with a plan that has it, or channels = as many as yours allows'
    )
    yield Finding(("feed", "stream"), what, settings.feed.stream)


def _test_stream(settings: Settings) -> Iterator[Finding]:
    if settings.feed.kind != "alpaca" or settings.feed.stream != "test":
        return
    for symbol, places in symbols_of(settings).items():
        if symbol != TEST_SYMBOL and "/" not in symbol:
            where = ("portfolios", places[0][0], "positions", symbol)
            yield Finding(where, f"the test stream has only {TEST_SYMBOL}", symbol)


def _delayed(settings: Settings) -> Iterator[Finding]:
    """Object to trading on prices of a quarter of an hour ago."""
    if settings.feed.kind != "alpaca" or settings.feed.stream != "delayed_sip":
        return
    for symbol, places in symbols_of(settings).items():
        for name, mode in places:
            if mode != Mode.ALERT and "/" not in symbol:
                where = ("portfolios", name, "positions", symbol, "mode")
                yield Finding(where, 'prices that are 15 minutes old may only alert: wanted "alert"', mode)
    if settings.prices.max_age < DELAY_S:
        what = "the delayed stream's prices are 15 minutes old, and none would count: wanted at least 16m"
        yield Finding(("prices", "max_age"), what, f"{settings.prices.max_age}s")


def _order_ids(settings: Settings, name: str) -> Iterator[Finding]:
    portfolio = settings.portfolios[name]
    account = settings.accounts.get(portfolio.account)
    if account is None or account.broker != "alpaca":
        return
    longest = max((len(symbol) for symbol in portfolio.positions), default=0)
    if len(name) + longest + _LONGEST_TAIL > LONGEST_ID:
        what = (
            f"an order's id holds the portfolio's name, and has {LONGEST_ID} characters at most: wanted a shorter one"
        )
        yield Finding(("portfolios", name), what, name)
    if not name.isascii():
        yield Finding(("portfolios", name), "an order's id holds the portfolio's name: wanted ASCII letters", name)
