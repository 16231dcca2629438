"""What the commands print where it is not a picture: JSON Lines for a program, plain lines for a person."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from mrdaemon.chain import Record
from mrdaemon.core import events as ev
from mrdaemon.core.instant import Instant, iso
from mrdaemon.core.money import NO_DOLLARS, Dollars, show, show_shares
from mrdaemon.core.policy import ChannelState, FeedState, TradingState
from mrdaemon.places import JOURNAL
from mrdaemon.report import Summary
from mrdaemon.sentences import sentence
from mrdaemon.status import (
    AccountStatus,
    ChannelStatus,
    FeedStatus,
    PortfolioStatus,
    PositionStatus,
    Status,
    StreamStatus,
)

INSTANTS: Final = frozenset({"at", "until", "expires", "since", "price_at", "opens"})
"""Fields that hold instants: JSON shows them as RFC 3339."""


# Where it goes


def line(text: str) -> None:
    """Print a line. What the terminal's encoding lacks is written as an escape: a name must not end a daemon."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def lines(texts: Iterable[str]) -> None:
    """Print plain lines."""
    for text in texts:
        line(text)


def json_text(thing: dict[str, Any]) -> str:
    """Write a JSON object: pure ASCII, so the same bytes in every locale."""
    return json.dumps(thing)


def json_line(thing: dict[str, Any]) -> None:
    """Print one JSON object on a line of its own."""
    line(json_text(thing))


def hush() -> None:
    """Send what is still to be printed nowhere: the reader of our output is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


# Events


def event_object(event: ev.Event) -> dict[str, Any]:
    """Give an event as a JSON object: ``kind``, ``at``, its own fields in the order of ``core.events``, ``sentence``.

    Times are RFC 3339 in UTC; money, shares and prices are strings; a field that has its default is left out.
    """
    return {**plain(event), "sentence": sentence(event)}


def plain(struct: msgspec.Struct) -> dict[str, Any]:
    """Give a struct as a JSON object: times are RFC 3339 in UTC; money, shares and prices are strings."""
    fields: dict[str, Any] = _plain(msgspec.to_builtins(struct, builtin_types=(Decimal,)))
    return fields


def _plain(thing: Any) -> Any:
    """Write instants, and decimals as plain strings, wherever they are: ``0.000000001``, never ``1E-9``."""
    if isinstance(thing, Decimal):
        return f"{thing:f}"
    if isinstance(thing, dict):
        return {
            key: iso(Instant(each)) if key in INSTANTS and isinstance(each, int) else _plain(each)
            for key, each in thing.items()
        }
    if isinstance(thing, list | tuple):
        return [_plain(each) for each in thing]
    return thing


def record_object(record: Record) -> dict[str, Any]:
    """Give a journaled event as a JSON object: ``seq``, ``wall`` and ``cursor`` of its commit, then the event."""
    wall = iso(Instant(record.wall))
    return {"seq": record.seq, "wall": wall, "cursor": record.cursor, **event_object(record.event)}


def event_line(event: ev.Event) -> str:
    """Give an event on one line: when, about what, and its sentence."""
    return f"{moment(iso(event.at))}  {getattr(event, 'symbol', None) or '':<8} {sentence(event)}"


def object_line(event: dict[str, Any]) -> str:
    """Give an event that came as a JSON object on one line, as ``event_line`` does."""
    return f"{moment(event['at'])}  {event.get('symbol') or '':<8} {event['sentence']}"


# How everything stands


def status_title(status: Status) -> list[str]:
    """Say what a status is of, and how it stands."""
    process = status.process
    running = "not running" if process is None else f"running as process {process or 'unknown'}"
    stops = [f"trading {status.trading}"]
    if status.paused:
        stops.append("signals paused")
    if status.halt_file:
        stops.append("the HALT file is there")
    if status.live:
        known = "live"
    else:
        known = "prices as journaled" if process is None else "prices as last journaled, at a signal or a stop"
    head = [f"{Path(status.state_dir).name}: {running}, {', '.join(stops)}", f"{moment(status.at)}; {known}"]
    return [*head, *refused_lines(status), ""]


def refused_lines(status: Status) -> list[str]:
    """Say of a configuration that could not be taken what is wrong with it; nothing where none was refused."""
    reload = status.reload
    if reload is None or reload.ok:
        return []
    head = f"CONFIGURATION REFUSED {moment(reload.at)}, by {reload.by}; the one of before is in force:"
    return [head, *(f"  {each}" for each in reload.why)]


def moment(at: str) -> str:
    """Shorten a time to its second, for a person."""
    return f"{at[:19].replace('T', ' ')}Z"


def status_lines(status: Status) -> list[str]:
    """Give positions, reserves, accounts and feed as plain lines."""
    return [*map(position_line, status.positions), *reserve_lines(status), *source_lines(status)]


def position_line(position: PositionStatus) -> str:
    """Give a position on one line."""
    facts = [
        f"{position.key}: {'no price yet' if position.value is None else f'value {show(position.value)}'}",
        f"target {show(position.target)}",
        f"{show_shares(position.shares)} shares",
    ]
    if position.accumulate_at is not None:
        facts.append(f"buy at {position.accumulate_at:f}")
    if position.trim_at is not None:
        facts.append(f"sell at {position.trim_at:f}")
    if position.age is not None:
        facts.append(f"price {position.price:f} seen {age(position.age)} ago")
    return ", ".join([*facts, *position.remarks])


def age(seconds: float) -> str:
    """Write an age in its largest unit: ``4s``, ``12m``, ``3h``, ``8d``."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def reserve_lines(status: Status) -> list[str]:
    """Say what each portfolio's reserve holds, and how much of it may be spent."""
    return [
        f"reserve of {each.name}: {show(each.reserve)}{_available(each)}{_below_floor(each)}{_stopped(each)}"
        for each in status.portfolios
    ]


def _below_floor(portfolio: PortfolioStatus) -> str:
    low = portfolio.reserve < portfolio.floor
    return f", BELOW ITS FLOOR of {show(portfolio.floor)}: nothing is bought" if low else ""


def _stopped(portfolio: PortfolioStatus) -> str:
    return "" if portfolio.trading is TradingState.ACTIVE else f", trading {portfolio.trading}"


def _available(portfolio: PortfolioStatus) -> str:
    free = max(portfolio.available, NO_DOLLARS)
    return "" if portfolio.available == portfolio.reserve else f", {show(free)} of it available"


def source_lines(status: Status) -> list[str]:
    """Say how feed, brokers and channels are; a feed of one stream has one line."""
    feed, found = status.feed, [f"STUCK: {each.reason}" for each in status.stuck]
    if feed is not None and all(each.name != feed.name for each in status.streams):
        found.append(feed_line(feed))
    for each in status.streams:
        brought = f", {_brought(feed)}" if feed is not None and feed.name == each.name else ""
        found.append(stream_line(each, brought))
    return found + [broker_line(each) for each in status.accounts] + [channel_line(each) for each in status.channels]


def feed_line(feed: FeedStatus) -> str:
    """Say where prices come from, and how far it is."""
    what = "recording" if feed.is_recording else "stream"
    return f"feed {feed.name}: {what}{' ended' if feed.ended else ''}, {_brought(feed)}"


def _brought(feed: FeedStatus) -> str:
    newest = "" if feed.newest is None else f", newest print {moment(feed.newest)}"
    if not feed.delivered and feed.newest is None:
        newest = ", no print yet"
    what = "row" if feed.is_recording else "message"
    refused = f", {_many(feed.refused, what)} refused" if feed.refused else ""
    return f"{_many(feed.delivered, 'print')}{refused}{newest}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def stream_line(stream: StreamStatus, brought: str = "") -> str:
    """Say how far a live feed is, since when, what it brought, and why it is so."""
    loud = stream.state in {FeedState.STALE, FeedState.REFUSED}
    state = stream.state.upper() if loud else stream.state
    why = f", {stream.reason}" if stream.reason else ""
    return f"feed {stream.name}: {state} since {moment(stream.since)}{brought}{why}"


def channel_line(channel: ChannelStatus) -> str:
    """Say whether alerts get out over a channel, since when not, and how many wait."""
    waits = f", {_many(channel.waiting, 'alert')} waiting" if channel.waiting else ""
    if channel.state is None or channel.since is None:
        return f"channel {channel.name}: not tried yet{waits}"
    state = channel.state if channel.state is ChannelState.UP else channel.state.upper()
    why = f", {channel.reason}" if channel.reason else ""
    return f"channel {channel.name}: {state} since {moment(channel.since)}{waits}{why}"


def broker_line(account: AccountStatus) -> str:
    """Say whether an account's broker is heard, and what is open there."""
    if account.broker == "none":
        return f"account {account.name}: no broker, alerts only"
    facts = [_heard(account)]
    if account.cash is not None:
        facts.append(f"cash then {show(account.cash)}")
    if not account.covered:
        facts.append("which does not cover its reserves: no accumulation")
    if account.disputed is not None:
        facts.append(f"signals held, the clock is in dispute: {account.disputed}")
    if account.open_orders:
        facts.append(f"{_many(account.open_orders, 'order')} open")
    if account.ambiguous:
        facts.append(f"{account.ambiguous} AMBIGUOUS")
    return f"account {account.name} ({account.broker}): {', '.join(facts)}"


def _heard(account: AccountStatus) -> str:
    """Say whether it is reconciled, and when it last was; if not, since when and why."""
    last = None if account.reconciled is None else moment(account.reconciled)
    if account.ready:
        return "reconciled" if last is None else f"reconciled {last}"
    since = "" if account.lost_since is None else f" since {moment(account.lost_since)}"
    why = "" if account.lost is None else f": {account.lost}"
    compared = "" if last is None else f"; last compared {last}"
    return f"NOT reconciled{since}{why}; no order leaves{compared}"


# An explanation, as a daemon gives it


def explanation_lines(found: dict[str, Any]) -> list[str]:
    """Write why a position does or does not trade."""
    symbol, price = found["symbol"], found["price"]
    seen = "unknown" if price is None else price
    when = " (remembered)" if found["price_at"] is None and price is not None else ""
    if found["price_at"] is not None:
        when = f" at {moment(found['price_at'])}"
    worth = "unknown" if found["value"] is None else _dollars(found["value"])
    session = f"open ({found['session']})" if found["session"] else f"closed, opens {moment(found['opens'])}"
    rows = [
        ("as of", moment(found["at"])),
        ("price", f"{seen}{when}"),
        ("value", f"{worth} ({show_shares(Decimal(found['shares']))} shares)"),
        ("target", f"{_dollars(found['target'])}, zone {_dollars(found['lower'])} to {_dollars(found['upper'])}"),
        ("session", session),
        *(("feed", each) for each in found.get("streams", ())),
    ]
    head = f"{found['portfolio']}/{symbol}, mode {found['mode']}"
    facts = [head, *(f"  {name:<9}{text}" for name, text in rows)]
    for side in found["sides"]:
        facts += ["", *_side_lines(side)]
    changes = found["changes"] or ["nothing but the price"]
    return [*facts, "", "What would have to change:", *(f"  {each}" for each in changes), ""]


def _side_lines(side: dict[str, Any]) -> list[str]:
    name = "Buys" if side["side"] == "accumulate" else "Sells"
    if side["price"] is None:
        return [f"{name}: {side['outcome']}"]
    away = "" if side["move"] is None else f", {Decimal(side['move']):+.2%} from here"
    where = "at or below" if side["side"] == "accumulate" else "at or above"
    found = [f"{name} {_dollars(side['amount'])} {where} {side['price']}{away}. {side['outcome']}"]
    return found + [f"  {_mark(each)} {each['guard']:<20}{each['reason']}".rstrip() for each in side["checks"]]


def _mark(check: dict[str, Any]) -> str:
    return "passes" if check["passes"] else "HOLDS "


def _dollars(text: str) -> str:
    return show(Decimal(text))


# What a start would change


def check_lines(directory: Path, changes: list[str]) -> list[str]:
    """Say what a start with a configuration would change in its journal."""
    if not (directory / JOURNAL).exists():
        return [f"There is no journal yet in {directory}; a start begins one."]
    if not changes:
        return [f"A start would change nothing in {directory}."]
    return [f"A start would change, in {directory}:", *(f"  {each}" for each in changes)]


# The summary of a run


def summary_object(summary: Summary) -> dict[str, Any]:
    """Give a summary as a JSON object; money and shares are strings."""
    return {"kind": "summary", **plain(summary)}


def summary_lines(summary: Summary) -> list[str]:
    """Write a summary for a person."""
    first = f", {summary.initial_buys} of them the first, of {show(summary.initial)}" if summary.initial_buys else ""
    left = show(summary.reserve_left)
    rows = [
        ("signals", f"{summary.signals:,} raised, {summary.held:,} held back"),
        ("buys", f"{summary.buys:,} for {show(summary.bought)}{first}"),
        ("sells", f"{summary.sells:,} for {show(summary.sold)}"),
        ("reserve", f"{show(summary.reserve_used)} of {show(summary.reserve_at_start)} used at most, {left} left"),
        ("gain", f"{show(summary.realized)} realized, {_or_unknown(summary.unrealized)} unrealized"),
    ]
    if summary.dividends:
        rows.insert(3, ("dividends", f"{show(summary.dividends)} paid into the reserve"))
    if summary.fees:
        rows.insert(3, ("fees", show(summary.fees)))
    return [f"{name:<10}{text}" for name, text in rows] + ["", *_comparison(summary)]


def totals(status: Status, summary: Summary) -> list[str]:
    """Say in a few lines where a run stands: the amount first, then what it is."""
    rows = [(each.reserve, f"reserve of {each.name}{_available(each)}") for each in status.portfolios]
    parts = f"{show(summary.realized)} realized, {_or_unknown(summary.unrealized)} unrealized"
    if summary.gain is not None:
        rows.append((summary.gain, f"gain: {parts}"))
    rows += [(each.gain, f"gain of {each.name}") for each in summary.baselines]
    return [f"{show(amount):>12}  {what}" for amount, what in rows]


def _or_unknown(amount: Dollars | None) -> str:
    return "unknown" if amount is None else show(amount)


def _comparison(summary: Summary) -> list[str]:
    """Set the method beside the honest baselines, and say who did better."""
    began = summary.started_with
    rows = [("with mrdaemon", summary.ends_with, summary.gain)]
    rows += [(each.name, each.ends_with, each.gain) for each in summary.baselines]
    found = [f"{_or_unknown(began)} at the start became, before taxes and with no interest on cash:", ""]
    for name, ends, gain in rows:
        ratio = f" {gain / began:>+9.1%}" if gain is not None and began else ""
        found.append(f"  {name:<40}{_or_unknown(ends):>14}{ratio}")
    if summary.dividends and summary.baselines:
        found += [
            "",
            f"The first line has {show(summary.dividends)} of dividends, the others have none; apart from them:",
        ]
    if summary.gain is not None and summary.baselines:
        ours = Dollars(summary.gain - summary.dividends)
        ahead = [each.name for each in summary.baselines if each.gain > ours]
        level = [each.name for each in summary.baselines if each.gain == ours]
        found += ["", _verdict(ahead, level, len(summary.baselines))]
    return found


def _verdict(ahead: list[str], level: list[str], of: int) -> str:
    if level and not ahead:
        return f"Here the method made no difference to {level[0]}."
    if not ahead:
        return "Here the method came out ahead: it earns where prices swing."
    if len(ahead) == of:
        return "Here the method made less than either: where prices trend, it sells early."
    return f"Here the method made less than {ahead[0]}."
