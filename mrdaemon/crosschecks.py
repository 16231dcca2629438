"""What a configuration must fulfil as a whole, once each value is right by itself.

Each check is by itself, too. One that needs a value which is wrong is left out, so that every problem is told but none
that is only the consequence of another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from mrdaemon import atalpaca, atanswers, atchannels, atconnection, atmqtt, atweb
from mrdaemon.core.money import NO_DOLLARS, Dollars, MoneyError, show
from mrdaemon.core.policy import Mode, PositionRules
from mrdaemon.core.zone import Zone
from mrdaemon.findings import Finding, Where
from mrdaemon.planning import USUAL_ZONE
from mrdaemon.settings import AccountTable, FeedTable, PortfolioTable, PositionTable, Settings, UnknownValueError

FOR_PAPER: Final = ("cash", "slippage", "partial_fills", "whole_shares")
FOR_ORDERS: Final = (
    "orders_per_minute",
    "orders_per_day",
    "notional_per_order",
    "notional_per_day",
    "consecutive_rejects",
)


def checks(settings: Settings, folder: Path) -> Iterator[Finding]:
    """Give every problem that shows only when values are seen together. Files are relative to ``folder``."""
    for check in _all(settings, folder):
        with contextlib.suppress(UnknownValueError):
            yield from check


def _all(settings: Settings, folder: Path) -> Iterator[Iterator[Finding]]:
    yield _files(settings.feed, folder)
    yield from atalpaca.checks(settings)
    yield from atmqtt.checks(settings)
    yield from atconnection.checks(settings, folder)
    yield from atchannels.checks(settings)
    yield from atanswers.checks(settings)
    yield from atweb.checks(settings, folder)
    yield _state_dir(settings, folder)
    yield _owners(settings)
    for name, account in settings.accounts.items():
        for about_account in (_used, _cash, _without_orders, _first_day):
            yield about_account(settings, name, account)
    for name, portfolio in settings.portfolios.items():
        yield _account_exists(settings, name, portfolio)
        yield _floor(name, portfolio)
        yield _initial_buys(name, portfolio)
        for symbol, position in portfolio.positions.items():
            spot = Spot(settings, name, portfolio, symbol, position)
            for about_position in (_zone, _limits, _opening, _broker_none, _broker_paper):
                yield about_position(spot)


# The feed, and the state directory


def _files(feed: FeedTable, folder: Path) -> Iterator[Finding]:
    seen = set()
    if feed.kind == "file" and not feed.files and "files" not in feed.model_fields_set:
        yield Finding(("feed", "files"), "this is required", None)
    for file in feed.files:
        place = folder / file
        if not _holds(place.is_file):
            yield Finding(("feed", "files"), "there is no such file", str(place))
        elif place.resolve() in seen:
            yield Finding(("feed", "files"), "wanted each file once; its prices would come twice", str(file))
        else:
            seen.add(place.resolve())


def _state_dir(settings: Settings, folder: Path) -> Iterator[Finding]:
    if settings.state_dir is None:
        return
    directory = folder / settings.state_dir
    if _holds(directory.exists) and not _holds(directory.is_dir):
        yield Finding(("state_dir",), "wanted a folder; this is a file", str(settings.state_dir))


def _holds(question: Callable[[], bool]) -> bool:
    """Ask the file system; a name that it cannot even look up (too long, say) names nothing."""
    try:
        return question()
    except (OSError, ValueError):
        return False


# Who owns what


def _owners(settings: Settings) -> Iterator[Finding]:
    owners: dict[tuple[str, str], str] = {}
    for name, portfolio in settings.portfolios.items():
        with contextlib.suppress(UnknownValueError):
            for symbol in portfolio.positions:
                owner = owners.setdefault((portfolio.account, symbol), name)
                if owner != name:
                    what = (
                        f"portfolio {owner} has it already in account {portfolio.account}; in one account a symbol "
                        "belongs to one portfolio"
                    )
                    yield Finding(("portfolios", name, "positions", symbol), what, symbol)


def _account_exists(settings: Settings, name: str, portfolio: PortfolioTable) -> Iterator[Finding]:
    known = all(vars(each) for each in settings.accounts.values())  # one that is no table may be misplaced keys
    if settings.accounts and known and portfolio.account not in settings.accounts:
        what = f"wanted an account that the file has: {', '.join(settings.accounts)}"
        yield Finding(("portfolios", name, "account"), what, portfolio.account)


def _used(settings: Settings, name: str, _: AccountTable) -> Iterator[Finding]:
    accounts = {each.account for each in settings.portfolios.values()}
    if settings.portfolios and name not in accounts and accounts <= settings.accounts.keys():
        yield Finding(("accounts", name), "no portfolio uses this account; take it out, or name it in one", name)


def _account_of(settings: Settings, portfolio: PortfolioTable) -> AccountTable:
    if portfolio.account not in settings.accounts:
        raise UnknownValueError
    return settings.accounts[portfolio.account]


def _portfolios_of(settings: Settings, account: str) -> dict[str, PortfolioTable]:
    return {name: each for name, each in settings.portfolios.items() if each.account == account}


# Cash


def _cash(settings: Settings, name: str, account: AccountTable) -> Iterator[Finding]:
    portfolios = _portfolios_of(settings, name)
    reserves = sum((each.reserve for each in portfolios.values()), Decimal(0))
    if account.cash is not None and account.cash < reserves:
        what = f"its portfolios' reserves are {show(reserves)} together; the account must hold at least that"
        beside = tuple(("portfolios", each, "reserve") for each in portfolios)
        yield Finding(("accounts", name, "cash"), what, str(account.cash), beside)


def _floor(name: str, portfolio: PortfolioTable) -> Iterator[Finding]:
    here = ("portfolios", name)
    if portfolio.floor > portfolio.reserve:
        what = f"wanted a floor of at most the reserve of {show(portfolio.reserve)}"
        yield Finding((*here, "floor"), what, str(portfolio.floor), ((*here, "reserve"),))


def _bought_first(portfolio: PortfolioTable) -> dict[str, PositionTable]:
    return {symbol: each for symbol, each in portfolio.positions.items() if each.initial == "buy" and not each.shares}


def _initial_buys(name: str, portfolio: PortfolioTable) -> Iterator[Finding]:
    here = ("portfolios", name)
    buys = _bought_first(portfolio)
    cost = sum((each.target for each in buys.values()), Decimal(0))
    if portfolio.floor <= portfolio.reserve < cost + portfolio.floor:
        above = f" and must leave the floor of {show(portfolio.floor)}" if portfolio.floor else ""
        what = f"the initial buys cost {show(cost)} together{above}; the reserve does not cover that"
        beside = ((*here, "floor"), *((*here, "positions", symbol, "target") for symbol in buys))
        yield Finding((*here, "reserve"), what, str(portfolio.reserve), beside)


def _first_day(settings: Settings, name: str, account: AccountTable) -> Iterator[Finding]:
    """Object to circuit breakers that the initial buys of one morning would trip."""
    buys = [
        each.target
        for portfolio in _portfolios_of(settings, name).values()
        for each in _bought_first(portfolio).values()
        if (each.mode or portfolio.mode) is Mode.AUTO
    ]
    for key in ("orders_per_minute", "orders_per_day"):
        if (most := getattr(account, key)) is not None and len(buys) > most:
            what = f"the {len(buys)} initial buys may all come at once, and more than this halts trading"
            yield Finding(("accounts", name, key), what, most)
    limit, cost = account.notional_per_day, sum(buys, Decimal(0))
    if limit is not None and len(buys) > 1 and max(buys) <= limit < cost:
        what = f"the initial buys may all come on one day, {show(cost)} together, and more than this halts trading"
        yield Finding(("accounts", name, "notional_per_day"), what, str(limit))


# One position


class Spot(NamedTuple):
    """One position, and all that surrounds it."""

    settings: Settings
    name: str
    portfolio: PortfolioTable
    symbol: str
    position: PositionTable

    @property
    def here(self) -> Where:
        """Give the position's path."""
        return ("portfolios", self.name, "positions", self.symbol)

    def rule(self, key: str) -> Any:  # noqa: ANN401 - each setting has a type of its own
        """Give what the position sets, or else its portfolio; None where neither does."""
        own = getattr(self.position, key)
        return getattr(self.portfolio, key) if own is None else own

    def place(self, key: str) -> Where:
        """Give the path of a rule: where it is written, or else where it would be."""
        inherited = getattr(self.position, key) is None and getattr(self.portfolio, key) is not None
        return ("portfolios", self.name, key) if inherited else (*self.here, key)

    def zone(self) -> Zone:
        """Work out the zone.

        Raises:
            MoneyError: it does not fit the target.
        """
        chosen = {key: self.rule(key) for key in ("restore", "min_step", "min_order")}
        widths = self.rule("zone") or USUAL_ZONE
        return Zone.of(
            PositionRules(
                target=self.position.target,
                below=widths.below,
                above=widths.above,
                **{key: each for key, each in chosen.items() if each is not None},
            )
        )

    def known_zone(self) -> Zone:
        """Work out the zone, where it fits."""
        try:
            return self.zone()
        except MoneyError as error:
            raise UnknownValueError from error


def _zone(spot: Spot) -> Iterator[Finding]:
    widths = spot.rule("zone") or USUAL_ZONE
    target = ((*spot.here, "target"),)
    try:
        zone = spot.zone()
    except MoneyError as error:
        what = f"for {spot.symbol}: {str(error).rsplit(', got ', 1)[0]}"
        if "at least a cent" in what:
            what += f" of the target {show(spot.position.target)}"
        got = widths.below if widths.below == widths.above else f"{widths.below} below, {widths.above} above"
        yield Finding(spot.place("zone"), what, got, target)
        return
    if zone.buy_at <= 0:
        key = "min_step" if (spot.rule("min_order") or NO_DOLLARS) < zone.buy_up_to else "min_order"
        what = f"for {spot.symbol}: wanted less, or it is never worth accumulating before its value is zero"
        yield Finding(spot.place(key), what, _text(spot.rule(key)), target)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _limits(spot: Spot) -> Iterator[Finding]:
    """Object to limits that no order of the position could keep: it would be held for ever, or halt trading."""
    account = _account_of(spot.settings, spot.portfolio)
    least, most = spot.rule("min_order"), spot.rule("max_order")
    if least is not None and most is not None and most < least:
        what = f"wanted at least min_order, which is {show(least)}"
        yield Finding(spot.place("max_order"), what, str(most), (spot.place("min_order"),))
        return
    if spot.symbol in account.whole_shares:  # its orders are smaller than the amount
        return
    name, amount = max(_amounts(spot), key=lambda each: each[1])
    portfolio, held = spot.portfolio, "it would never be sent"
    limits = [
        (spot.place("max_order"), most, held),
        (("portfolios", spot.name, "max_notional_per_day"), portfolio.max_notional_per_day, held),
    ]
    if spot.rule("mode") not in {None, Mode.ALERT}:
        halts = "it would halt trading"
        here = ("accounts", portfolio.account)
        limits += [((*here, key), getattr(account, key), halts) for key in ("notional_per_order", "notional_per_day")]
    for where, limit, outcome in limits:
        if limit is not None and amount > limit:
            what = f"{name} of {spot.symbol} takes {show(amount)}, which is more: {outcome}"
            yield Finding(where, what, str(limit), ((*spot.here, "target"), spot.place("zone")))


def _amounts(spot: Spot) -> Iterator[tuple[str, Dollars]]:
    """Give what a position's orders take at the least."""
    zone = spot.known_zone()
    yield "the smallest accumulation", Dollars(zone.buy_up_to - zone.buy_at)
    yield "the smallest trim", Dollars(zone.sell_at - zone.sell_down_to)
    if spot.position.initial == "buy" and not spot.position.shares:
        yield "the initial buy", spot.position.target


def _opening(spot: Spot) -> Iterator[Finding]:
    position = spot.position
    if position.initial is not None and position.shares:
        what = "a position that opens with shares has no other beginning; take this or the shares out"
        yield Finding((*spot.here, "initial"), what, position.initial, ((*spot.here, "shares"),))
    if position.cost is not None and not position.shares:
        what = "this is what the shares cost; say how many they are"
        yield Finding((*spot.here, "cost"), what, str(position.cost))


def _broker_none(spot: Spot) -> Iterator[Finding]:
    if _account_of(spot.settings, spot.portfolio).broker != "none":
        return
    mode = spot.rule("mode")
    if mode not in {None, Mode.ALERT}:
        what = f'{spot.symbol} is in an account without a broker, which can only alert: wanted "alert"'
        yield Finding(spot.place("mode"), what, mode.value)
    if spot.position.initial == "adopt":
        what = 'without a broker there is nothing to adopt; say how many shares you hold, or wanted "buy"'
        yield Finding((*spot.here, "initial"), what, "adopt")
    elif spot.position.shares is None and spot.position.initial is None:
        yield Finding((*spot.here, "shares"), 'say how many shares you hold, or set initial = "buy"', None)


def _broker_paper(spot: Spot) -> Iterator[Finding]:
    if _account_of(spot.settings, spot.portfolio).broker != "paper" or spot.position.shares is not None:
        return
    what = 'a paper account opens with what this file says it holds; give shares, or set initial = "buy"'
    if spot.position.initial == "adopt":
        yield Finding((*spot.here, "initial"), what, "adopt")
    elif spot.position.initial is None:
        yield Finding((*spot.here, "shares"), what, None)


def _without_orders(settings: Settings, name: str, account: AccountTable) -> Iterator[Finding]:  # noqa: ARG001 - as the others
    if account.broker == "none":
        for key in (*FOR_PAPER, *FOR_ORDERS):
            if key in account.model_fields_set:
                what = "an account without a broker has no orders and no cash, so this would do nothing; take it out"
                yield Finding(("accounts", name, key), what, getattr(account, key))
