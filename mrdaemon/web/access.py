"""Who may use the dashboard: whoever knows the token, and the browsers that it was entered in, for a while.

A browser gets a cookie to look, and a word of its own to act, which is told once and never sent by itself. So a cookie
that was stolen, or that another site makes a browser send, does nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from mrdaemon import keyfile
from mrdaemon.places import TOKEN, KeyFileError

ACTS_FOR: Final = 12 * 3600.0
"""Seconds after signing in for which a browser may act; to act later, the token is wanted again."""
UNSEEN_FOR: Final = 12 * 3600.0
"""Seconds without a look after which a session ends. A page that is open looks all the time: its stream is open."""
LONGEST: Final = 30 * 86400.0
"""Seconds after which a session ends, also while it is looked at: no longer does a stolen cookie serve anybody."""
SESSIONS: Final = 256
"""Browsers at one time; a further one takes the place of the oldest."""
TRIES: Final = 10
"""Wrong tokens that a client may send at once; after that"""
TRY_EVERY: Final = 6.0
"""one in so many seconds."""
CLIENTS: Final = 1024
"""Clients whose wrong tokens are counted."""
SHORTEST_TOKEN: Final = 32
"""Characters: nobody shall put a word of their own there that can be guessed."""

log: Final = structlog.get_logger("mrdaemon.web")


def _fresh() -> bytes:
    return f"{secrets.token_urlsafe(32)}\n".encode()


SECRET: Final = keyfile.Secret("the token of the dashboard", "command", _fresh)


def token(directory: Path) -> str:
    """Give the token of a state directory; it is made where there is none.

    Raises:
        KeyFileError: others may read it, it is no token, or it cannot be read or made.
    """
    path = directory / TOKEN
    found = keyfile.kept(path, SECRET).strip()
    if len(found) < SHORTEST_TOKEN or not found.isascii() or not found.decode("ascii").isprintable():
        message = (
            f"{path}: it is no token ({SHORTEST_TOKEN} letters and digits or more wanted); remove it, and the next "
            "start makes another"
        )
        raise KeyFileError(message)
    return found.decode("ascii")


class Session:
    """A browser in which the token was entered."""

    __slots__ = ("_csrf", "address", "begun", "looking", "over", "seen")

    def __init__(self, csrf: str, address: str, now: float) -> None:
        self._csrf = csrf
        self.address = address
        self.begun = self.seen = now
        self.looking = 0
        """Requests of it that are being answered; a stream is, for as long as it is open."""
        self.over = asyncio.Event()
        """Set once it is ended."""

    def confirms(self, given: str) -> bool:
        """Tell whether this is the word that a request to act must bring."""
        return hmac.compare_digest(_digest(given), _digest(self._csrf))


class Opened(NamedTuple):
    """A session that was just opened; nobody is told of either word again."""

    cookie: str
    csrf: str


class Access:
    """Knows the token, the sessions, and who guesses."""

    def __init__(self, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = _digest(token)
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    def knows(self, given: str) -> bool:
        """Tell whether this is the token; it takes the same time whatever is given."""
        return hmac.compare_digest(_digest(given), self._token)

    def open(self, address: str) -> Opened:
        """Open a session for a browser that showed the token."""
        opened = Opened(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        self._sessions[_digest(opened.cookie)] = Session(opened.csrf, address, self._clock())
        while len(self._sessions) > SESSIONS:
            self._end(next(iter(self._sessions)))
        log.info("session opened", client=address)
        return opened

    def session(self, cookie: str, address: str) -> Session | None:
        """Give a cookie's session. One that comes from elsewhere was stolen, or moved: it ends."""
        name = _digest(cookie)
        found = self._sessions.get(name)
        if found is None:
            return None
        if self.left(found) <= 0:
            self._end(name)
            return None
        if found.address != address:
            self._end(name)
            log.warning("session ended: it was used from another address", opened_by=found.address, used_by=address)
            return None
        return found

    def close(self, cookie: str) -> None:
        """End a session."""
        self._end(_digest(cookie))

    def left(self, session: Session) -> float:
        """Give the seconds until a session ends by itself, if it is looked at no more and no less than now."""
        longest = session.begun + LONGEST
        return (longest if session.looking else min(longest, session.seen + UNSEEN_FOR)) - self._clock()

    def may_act(self, session: Session) -> bool:
        """Tell whether the token was entered lately enough for a session to act."""
        return self._clock() < session.begun + ACTS_FOR

    @contextmanager
    def looking(self, session: Session) -> Iterator[None]:
        """Keep a session alive while one of its requests is answered; it was looked at until then."""
        session.looking += 1
        try:
            yield
        finally:
            session.looking -= 1
            session.seen = self._clock()

    def _end(self, name: bytes) -> None:
        if (session := self._sessions.pop(name, None)) is not None:
            session.over.set()

    def wrong(self, address: str) -> float:
        """Take note of a wrong token; gives the seconds for which that client is not listened to, 0 for none."""
        name, now = _neighbours(address), self._clock()
        guesser = self._guessers.pop(name, None) or _Guesser(TRIES, now, 0)
        left = min(float(TRIES), guesser.left + (now - guesser.at) / TRY_EVERY)
        wait = 0.0 if left >= 1 else (1 - left) * TRY_EVERY
        tried = guesser.tried + 1
        self._guessers[name] = _Guesser(left if wait else left - 1, now, tried)
        while len(self._guessers) > CLIENTS:
            self._guessers.popitem(last=False)
        if tried & (tried - 1) == 0:  # The first, the second, the fourth …: a log must not fill up with guesses.
            log.warning("wrong token", client=address, times=tried)
        return wait


class _Guesser(NamedTuple):
    left: float
    """Tries."""
    at: float
    tried: int


def _digest(text: str) -> bytes:
    """Hide a secret, so that neither its length nor how much of it is right shows in the time that a look-up takes."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _neighbours(address: str) -> str:
    """Give those who are one client: of IPv6, a whole network of 64 bits."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address) or found.ipv4_mapped is not None:  # As "[::]" has those of IPv4.
        return address
    return str(ipaddress.ip_network((found, 64), strict=False))
