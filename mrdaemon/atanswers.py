"""What ``[answers]`` must fulfil: the ways on which the answers of buttons and links come back."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Final

from mrdaemon.core.policy import Mode
from mrdaemon.findings import Finding
from mrdaemon.hosts import is_here, place, web
from mrdaemon.settings import AnswersTable, Settings

SHORTEST_TOPIC: Final = 16
"""Characters; whoever guesses the topic's name reads what is asked, and may answer it."""
LONGEST_TOPIC: Final = 64
"""Characters that an ntfy server takes."""
_TOPIC: Final = re.compile(r"/[A-Za-z0-9_-]+", re.ASCII)
_PARTS: Final = re.compile(r"[/,?]")
"""What stands between the parts of an address of apprise's."""


def checks(settings: Settings) -> Iterator[Iterator[Finding]]:
    """Give every problem of ``[answers]``."""
    table = settings.answers
    yield _listen(table)
    yield _url(table)
    yield _whole(table)
    yield _topic(table)
    yield _topic_of_its_own(settings)
    yield _token(table)


def _listen(table: AnswersTable) -> Iterator[Finding]:
    if table.listen is not None and place(table.listen) is None:
        yield Finding(("answers", "listen"), 'wanted an address and a port such as "127.0.0.1:8377"', table.listen)


def _url(table: AnswersTable) -> Iterator[Finding]:
    if table.url is not None and web(table.url) is None:
        what = 'wanted the address that a phone can open, such as "https://home.example/mrdaemon"'
        yield Finding(("answers", "url"), what, table.url)


def _whole(table: AnswersTable) -> Iterator[Finding]:
    if table.listen is not None and table.url is None:
        what = 'wanted the address of that as a phone sees it, such as "https://home.example/mrdaemon"'
        yield Finding(("answers", "url"), what, None)
    if table.url is not None and table.listen is None:
        what = 'wanted where the daemon takes what comes to that address, such as "127.0.0.1:8377"'
        yield Finding(("answers", "listen"), what, None)


def _topic(table: AnswersTable) -> Iterator[Finding]:
    if table.topic is None:
        return
    url = web(table.topic)
    if url is None or not _TOPIC.fullmatch(url.path) or len(url.path) > LONGEST_TOPIC + 1:
        what = (
            "wanted the address of a topic, with one name of letters, digits, - and _ after the host, such as "
            f'"https://ntfy.sh/{_hard_to_guess()}"'
        )
        yield Finding(("answers", "topic"), what, table.topic)
    elif len(url.path) <= SHORTEST_TOPIC:
        what = (
            f"wanted a name of at least {SHORTEST_TOPIC} characters that nobody guesses, such as "
            f'"{_hard_to_guess()}": who knows it sees what is asked'
        )
        yield Finding(("answers", "topic"), what, table.topic)


def _topic_of_its_own(settings: Settings) -> Iterator[Finding]:
    """Object to a topic on which alerts go out: every answer would ring the phone that gave it."""
    topic = settings.answers.topic
    name = (topic or "").rpartition("/")[2]
    for channel, table in settings.channels.items():
        if name and any(name in _PARTS.split(url) for url in table.urls):
            what = f"wanted another topic than that on which channel {channel} sends alerts"
            yield Finding(("answers", "topic"), what, topic)


def _hard_to_guess() -> str:
    """Make up a name that may well be taken."""
    return f"mrdaemon-{secrets.token_hex(12)}"


def _token(table: AnswersTable) -> Iterator[Finding]:
    if table.token is None:
        return
    if table.topic is None:
        yield Finding(("answers", "topic"), "wanted the topic that the token is for", None)
    if not (table.token.isascii() and table.token.isprintable() and " " not in table.token):
        yield Finding(("answers", "token"), "wanted letters and digits, without blanks", table.token)


# What a person should know of one that can be used


def notes(settings: Settings) -> Iterator[str]:
    """Say what a person should know of ``[answers]``, and of requests for approval."""
    table = settings.answers
    asks = any(
        (position.mode or portfolio.mode) is Mode.APPROVE
        for portfolio in settings.portfolios.values()
        for position in portfolio.positions.values()
    )
    carriers = [name for name, each in settings.channels.items() if each.kind == "push" and each.buttons]
    comes_back = table.listen is not None or table.topic is not None
    if asks and not settings.channels:
        yield "Positions in approve mode ask, and no channel tells you: look at status, answer with mrdaemon approve."
    elif asks and carriers and not comes_back:
        told = ", ".join(carriers)
        yield f"What {told} asks has no buttons, since [answers] names no way back: answer with mrdaemon approve."
    if comes_back and not carriers:
        yield "Nothing uses [answers]: no channel of kind push carries buttons."
    yield from _exposed(table)


def _exposed(table: AnswersTable) -> Iterator[str]:
    if table.listen is not None and (taken := place(table.listen)) is not None and not is_here(taken.host):
        yield f"Others in the network reach {table.listen}: best listen on 127.0.0.1, behind a proxy with TLS."
    for key in ("url", "topic"):
        url = web(getattr(table, key) or "")
        if url is not None and url.scheme == "http" and not is_here(url.hostname or ""):
            yield f"Answers go to answers.{key} without encryption: wanted https, unless the network is your own."
