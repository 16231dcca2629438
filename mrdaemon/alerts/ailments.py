"""Words for what comes and goes: feeds, accounts, prices, channels and reserves, at each rank of their trouble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.alerts.saying import Saying, at_time, because, facts, span
from mrdaemon.alerts.standing import GOOD, UNSTEADY, Turn
from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.sentences import WAY_BACK

LOST, WORSE, LONG, WORST = 1, 2, 3, 4
"""Ranks of trouble; ``LONG`` is one that has lasted while a market was open."""


class Kind(NamedTuple):
    """What is told at a rank."""

    name: str
    level: Level
    title: str
    text: str


@dataclass(frozen=True, eq=False)
class Sort:
    """A sort of thing that comes and goes. There is one of each."""

    prefix: str
    """What its subject begins with, before its name."""
    topic: Topic
    kinds: dict[int, Kind]
    """By rank. In the words stand its name, why it was lost, when, and for how long."""


FEED: Final = Sort(
    "feed ",
    Topic.PRICES,
    {
        GOOD: Kind("feed_recovered", Level.NOTICE, "Feed {name} is back", "Feed {name} is back after {length}."),
        LOST: Kind(
            "feed_lost",
            Level.WARNING,
            "Feed {name} is lost",
            "Feed {name} has no connection since {since}{because}{again}; it is tried again until there is one.",
        ),
        WORSE: Kind(
            "feed_stale",
            Level.WARNING,
            "Feed {name} is mute",
            "Feed {name} is connected, but brings no prices although a market is open{because}{again}; what they are "
            "is unknown.",
        ),
        LONG: Kind(
            "feed_lost_long",
            Level.CRITICAL,
            "Feed {name} is lost for long",
            "Feed {name} brings no prices since {since}{because}, and a market is open: what is held is not watched.",
        ),
        WORST: Kind(
            "feed_refused",
            Level.CRITICAL,
            "Feed {name} is refused",
            "The other side refuses feed {name}{because}; it is not tried again by itself, a person has to see to it.",
        ),
        UNSTEADY: Kind(
            "feed_unsteady",
            Level.NOTICE,
            "Feed {name} comes and goes",
            "Feed {name} was lost {lapses} times since {since}, each time for a short while{because}.",
        ),
    },
)
ACCOUNT: Final = Sort(
    "account ",
    Topic.BROKER,
    {
        GOOD: Kind(
            "account_recovered",
            Level.NOTICE,
            "Account {name} is back",
            "The broker of account {name} is heard again after {length}, and was compared with; orders may leave.",
        ),
        LOST: Kind(
            "account_lost",
            Level.WARNING,
            "Account {name} is lost",
            "The broker of account {name} cannot be heard since {since}{because}{again}; no order leaves until it is.",
        ),
        LONG: Kind(
            "account_lost_long",
            Level.CRITICAL,
            "Account {name} is lost for long",
            "The broker of account {name} cannot be heard since {since}{because}, and a market is open: nothing can be "
            "bought or sold.",
        ),
        UNSTEADY: Kind(
            "account_unsteady",
            Level.NOTICE,
            "Account {name} comes and goes",
            "The broker of account {name} was lost {lapses} times since {since}, each time for a short while{because}.",
        ),
    },
)
CLOCK: Final = Sort(
    "account ",
    Topic.BROKER,
    {
        GOOD: Kind(
            "sessions_agreed",
            Level.NOTICE,
            "Account {name}: hours agree again",
            "The clock of the broker of account {name} and the calendar agree again after {length}.",
        ),
        LOST: Kind(
            "sessions_disputed",
            Level.WARNING,
            "Account {name}: hours in dispute",
            "When the market is open is in dispute in account {name}, so its signals are held{because}{again}.",
        ),
        UNSTEADY: Kind(
            "sessions_unsteady",
            Level.WARNING,
            "Account {name}: hours in dispute now and then",
            "When the market is open was in dispute {lapses} times since {since} in account {name}{because}.",
        ),
    },
)
COVER: Final = Sort(
    "account ",
    Topic.RESERVE,
    {
        GOOD: Kind(
            "account_covered",
            Level.NOTICE,
            "Account {name} covers its reserves again",
            "The cash of account {name} covers its reserves again; it buys again.",
        ),
        LOST: Kind(
            "account_uncovered",
            Level.WARNING,
            "Account {name} does not cover its reserves",
            "Account {name} has {reason} in cash at its broker, less than the reserves that rest on it{again}; nothing "
            "is bought until it has more, or the reserves are less.",
        ),
        UNSTEADY: Kind(
            "account_cover_unsteady",
            Level.WARNING,
            "Account {name} hardly covers its reserves",
            "The cash of account {name} fell below its reserves {lapses} times since {since}; it had {reason}.",
        ),
    },
)
PRICES: Final = Sort(
    "",
    Topic.PRICES,
    {
        GOOD: Kind(
            "prices_fresh",
            Level.NOTICE,
            "{name}: prices are back",
            "Prices of {name} arrive again after {length}: {reason}.",
        ),
        LOST: Kind(
            "prices_stale",
            Level.WARNING,
            "{name}: no prices",
            "There is no price of {name} since {since} although its market is open{again}: what it is worth is "
            "unknown, and it does not trade.",
        ),
        UNSTEADY: Kind(
            "prices_unsteady",
            Level.NOTICE,
            "{name}: few prices",
            "Prices of {name} stopped {lapses} times since {since}, each time for a while.",
        ),
    },
)
CHANNEL: Final = Sort(
    "channel ",
    Topic.CHANNEL,
    {
        GOOD: Kind(
            "channel_up",
            Level.NOTICE,
            "Channel {name} is back",
            "Channel {name} takes alerts again after {length}; what was kept for it is sent.",
        ),
        LOST: Kind(
            "channel_down",
            Level.WARNING,
            "Channel {name} is down",
            "Channel {name} takes no alerts since {since}{because}{again}; they are kept, and sent once it does.",
        ),
        WORSE: Kind(
            "channel_refused",
            Level.WARNING,
            "Channel {name} is refused",
            "Channel {name} will not take our alerts{because}; they are kept, but a person must see to it.",
        ),
        UNSTEADY: Kind(
            "channel_unsteady",
            Level.NOTICE,
            "Channel {name} comes and goes",
            "Channel {name} was down {lapses} times since {since}, each time for a short while{because}.",
        ),
    },
)
_NO_ANSWERS: Final = (
    "No answers come in over the topic of the answers since {since}{because}{again}. Buttons do nothing until it is "
    "back; mrdaemon approve does."
)
ANSWERS: Final = {
    GOOD: Kind(
        "channel_up",
        Level.NOTICE,
        "Answers come in again",
        "Answers come in over the topic of the answers again after {length}: buttons work.",
    ),
    LOST: Kind("channel_down", Level.WARNING, "No answers come in", _NO_ANSWERS),
    WORSE: Kind("channel_refused", Level.WARNING, "The topic of the answers is refused", _NO_ANSWERS),
    UNSTEADY: Kind(
        "channel_unsteady",
        Level.NOTICE,
        "The topic of the answers comes and goes",
        "No answers came in over the topic of the answers {lapses} times since {since}, each time for a short "
        "while{because}.",
    ),
}
"""What is said of the one channel that takes no alerts but brings answers."""
RESERVE: Final = Sort(
    "portfolio ",
    Topic.RESERVE,
    {
        GOOD: Kind(
            "reserve_recovered",
            Level.NOTICE,
            "{name}: the reserve is filled again",
            "The reserve of {name} has {reason}; that is enough again.",
        ),
        LOST: Kind(
            "reserve_low",
            Level.WARNING,
            "{name}: the reserve is low",
            "The reserve of {name} is low: it has {reason}{again}.",
        ),
        WORSE: Kind(
            "reserve_empty",
            Level.WARNING,
            "{name}: the reserve is empty",
            "The reserve of {name} is empty: it has {reason}; nothing is bought until more is put into it or something "
            "is sold.",
        ),
        UNSTEADY: Kind(
            "reserve_unsteady",
            Level.NOTICE,
            "{name}: the reserve is low now and then",
            "The reserve of {name} was low {lapses} times since {since}; it had {reason}.",
        ),
    },
)
SORTS: Final = (FEED, ACCOUNT, CLOCK, COVER, PRICES, CHANNEL, RESERVE)
RANKS: Final = {kind.name: (sort, rank) for sort in SORTS for rank, kind in sort.kinds.items()}
"""By the kind of an alert, which trouble it told of, and at which rank."""


def say(sort: Sort, name: str, turn: Turn, now: Instant) -> Saying:
    """Say how something stands now."""
    kinds = ANSWERS if sort is CHANNEL and name == WAY_BACK else sort.kinds
    kind = kinds[turn.rank]
    again = f", after {turn.lapses} times for a short while" if turn.lapses and turn.rank != UNSTEADY else ""
    words = {
        "name": name,
        "since": at_time(turn.since),
        "length": span((now - turn.since) // SECOND),
        "because": because(turn.reason),
        "reason": turn.reason,
        "again": again,
        "lapses": turn.lapses,
    }
    return Saying(
        level=kind.level,
        topic=sort.topic,
        kind=kind.name,
        subject=f"{sort.prefix}{name}",
        title=kind.title.format_map(words),
        text=kind.text.format_map(words),
        portfolio=name if sort is RESERVE else "",
        symbol=name if sort is PRICES else "",
        facts=facts(name=name, since=iso(turn.since), reason=turn.reason, lapses=str(turn.lapses or "")),
    )
