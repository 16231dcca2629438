"""Sending to one address, with what its service knows: urgency, buttons, and how much it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

import apprise

from mrdaemon.alerts import addresses
from mrdaemon.alerts.addresses import NTFY, Plugin, heard
from mrdaemon.alerts.alert import Level
from mrdaemon.alerts.channel import RefusedError, UndeliveredError
from mrdaemon.alerts.links import Button, actions
from mrdaemon.alerts.misread import Parsed

NTFY_BYTES: Final = 3800
"""What an ntfy server takes as a message is 4,096 bytes; of more it makes an attachment."""
MOST_ACTIONS: Final = 3
"""Buttons that an ntfy server takes; of more it refuses the whole message."""
ELSEWHERE: Final = "\nAnswer on the machine itself: mrdaemon approve, or mrdaemon reject."
ROOM: Final = 16
"""Characters that stay free beside title and text: some services put them into one."""
ESCAPE: Final = 12
"""The most characters that JSON makes of one."""
_NTFY_PRIORITIES: Final = {Level.INFO: "low", Level.NOTICE: "default", Level.WARNING: "high", Level.CRITICAL: "max"}
_GOTIFY_PRIORITIES: Final = {
    Level.INFO: "low",
    Level.NOTICE: "normal",
    Level.WARNING: "high",
    Level.CRITICAL: "emergency",
}
PRIORITIES: Final[Mapping[str, Mapping[Level, str]]] = {
    "ntfy": _NTFY_PRIORITIES,
    "ntfys": _NTFY_PRIORITIES,
    "gotify": _GOTIFY_PRIORITIES,
    "gotifys": _GOTIFY_PRIORITIES,
    "pover": {Level.INFO: "low", Level.NOTICE: "normal", Level.WARNING: "normal", Level.CRITICAL: "high"},
}
"""How urgent each level is, for services that know urgency, where the address does not say."""
KINDS: Final = {
    Level.INFO: apprise.NotifyType.INFO,
    Level.NOTICE: apprise.NotifyType.INFO,
    Level.WARNING: apprise.NotifyType.WARNING,
    Level.CRITICAL: apprise.NotifyType.FAILURE,
}
NOT_THIS_ONE: Final = frozenset({400, 406, 410, 411, 413, 414, 415, 422, 431})
"""HTTP answers about one message."""
NEVER: Final[Mapping[int, str]] = {
    **dict.fromkeys((301, 302, 303, 307, 308), "it has moved; write the address that it redirects to"),
    **dict.fromkeys((401, 407), "its token or password is missing or wrong"),
    402: "it wants to be paid",
    403: "its token is wrong, or may not send there",
    404: "there is nothing at this address",
    405: "there is something else at this address",
}
"""HTTP answers that the next message would get as well, and what they mean."""


class Post(NamedTuple):
    """What one service is to send."""

    title: str
    text: str
    level: Level
    buttons: tuple[Button, ...] = ()


class Service:
    """One address."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._problem = addresses.problem(url)
        self.name = "a service"
        if self._problem is None:
            self.name = addresses.called(*self._made(Post("", "", Level.INFO)))

    def send(self, post: Post) -> None:
        """Send a post and wait for the answer. Not for the event loop: it blocks.

        Raises:
            UndeliveredError: it did not arrive, or nobody knows.
            RefusedError: it will not be taken, or none will.
        """
        if self._problem is not None:
            message = f"an address of this channel cannot be used: {self._problem}"
            raise RefusedError(message)
        parsed, made = self._made(post)
        text = _fitting(parsed["schema"], made, post)
        heard.forget()
        try:
            sent = made.notify(
                body=text, title=post.title, notify_type=KINDS[post.level], body_format=apprise.NotifyFormat.TEXT
            )
        except Exception as error:  # noqa: BLE001 - what 170 plugins may raise is not known, and their words may be secret
            message = f"{self.name}: {type(error).__name__} in apprise"
            raise UndeliveredError(message) from None
        if not sent:
            raise self._failure()

    def _made(self, post: Post) -> tuple[Parsed, Plugin]:
        """Make the plugin for a post; what the address itself sets is left as it is."""
        parsed = addresses.read(self._url)
        if parsed is not None:
            scheme = parsed["schema"]
            if scheme in PRIORITIES:
                parsed.setdefault("priority", PRIORITIES[scheme][post.level])
            if scheme in NTFY and 0 < len(post.buttons) <= MOST_ACTIONS:
                parsed["actions"] = actions(post.buttons)
            parsed.setdefault("cto", str(self._timeout / 3))
            parsed.setdefault("rto", str(self._timeout * 2 / 3))
            if (made := addresses.plugin(parsed)) is not None:
                return parsed, made
        message = "an address of this channel cannot be used any more; report this"
        raise RefusedError(message)

    def _failure(self) -> UndeliveredError | RefusedError:
        """Say what went wrong, as far as apprise's log has it."""
        status = heard.status
        if status is None:
            how = "cannot be reached, or does not answer in time" if heard.unreachable else "did not take it"
            return UndeliveredError(f"{self.name} {how}")
        if status in NEVER:
            return RefusedError(f"{self.name} answered HTTP {status}: {NEVER[status]}")
        if status in NOT_THIS_ONE:
            return RefusedError(f"{self.name} refused this message: HTTP {status}", message_only=True)
        return UndeliveredError(f"{self.name} answered HTTP {status}")


def _fitting(scheme: str, made: Plugin, post: Post) -> str:
    """Cut a text that is too long for a service, and say so; how to answer stands below it."""
    room = made.body_maxlen - len(post.title) - ROOM
    if scheme in NTFY:
        room = min(room, NTFY_BYTES - len(json.dumps(post.title)))
    below = "" if scheme in NTFY and len(post.buttons) <= MOST_ACTIONS else _below(post, room // 2)
    return _cut(post.text, room - _size(below)) + below


def _below(post: Post, room: int) -> str:
    """Give the links to the answers, or say how to answer where there are none or no room for them."""
    links = [f"\n{each.label}: {each.link}" for each in post.buttons if each.link]
    found = "".join(links) if links or not post.buttons else ELSEWHERE
    return found if _size(found) <= room else ELSEWHERE if len(ELSEWHERE) <= room else ""


def _cut(text: str, room: int) -> str:
    """Cut a text to so many characters, counted as JSON writes them: that is what travels."""
    if _size(text) <= room:
        return text
    note = f" … (cut: it has {len(text):,} characters)"
    kept = text[: max(room - _size(note), 0)]
    while kept and (over := _size(kept) + _size(note) - room) > 0:
        kept = kept[: -max(over // ESCAPE, 1)]
    return kept.rstrip() + note


def _size(text: str) -> int:
    return len(json.dumps(text))
