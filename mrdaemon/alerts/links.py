"""Signed answers to requests for approval: what stands in a button or a link, and can neither be forged nor altered.

A token says which request it answers, how, and until when. It names the request by its number and by the instant at
which the request itself expires, so that one of another journal fits nothing here; the key is the state directory's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from mrdaemon import keyfile
from mrdaemon.alerts.asked import Requests
from mrdaemon.core.instant import Instant
from mrdaemon.places import KeyFileError
from mrdaemon.settings import AnswersTable

KEY: Final = "answers.key"
KEY_BYTES: Final = 32
SECRET: Final = keyfile.Secret("the key of the answers", "approve", lambda: secrets.token_bytes(KEY_BYTES))
VERSION: Final = 1
LONGEST: Final = 1024
"""Characters of a token that are looked at."""
SECOND: Final = 1_000_000_000

AnswerName = Literal["approve", "reject"]
LABELS: Final[dict[AnswerName, str]] = {"approve": "Approve", "reject": "Reject"}


class LinkError(ValueError):
    """A token is none of ours, or of no use any more; the message says which."""


class Reply(NamedTuple):
    """What a token says."""

    approval: str
    """The request that it answers: ``core/QQQ/7``."""
    answer: AnswerName
    request: Instant
    """When that request expires, by the engine's time: what tells it from one of another journal."""


class Button(NamedTuple):
    """One answer that a person can give."""

    answer: AnswerName
    label: str
    url: str
    """Where a button posts to."""
    body: str
    """What it posts."""
    link: str
    """A page that asks once more, for services without buttons; empty where the daemon serves none."""


class _Payload(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    approval: str
    answer: AnswerName
    until: int
    """UTC nanoseconds of the machine's clock."""
    request: int


_decoder: Final = msgspec.json.Decoder(_Payload)


def key(state_dir: Path) -> bytes:
    """Give the key of a state directory; it is made where there is none.

    Raises:
        KeyFileError: others may read it, it is no key, or it cannot be read or made.
    """
    path = state_dir / KEY
    found = keyfile.kept(path, SECRET)
    if len(found) != KEY_BYTES:
        message = f"{path}: it is no key ({KEY_BYTES} bytes wanted); remove it, and the next start makes another"
        raise KeyFileError(message)
    return found


class Links:
    """Makes and reads the answers of one daemon."""

    def __init__(
        self, key: bytes, answers: AnswersTable, requests: Requests, wall: Callable[[], int] = time.time_ns
    ) -> None:
        self._key = key
        self._page = None if answers.url is None else _public(answers.url).rstrip("/")
        self._topic = None if answers.topic is None else _public(answers.topic)
        self._wall = wall
        self.requests = requests
        """The requests that are open, and what became of others."""

    def buttons(self, approval: str) -> tuple[Button, ...]:
        """Give the answers to a request; none where it is not open, or where no way back is configured."""
        request = self.requests.open(approval)
        if request is None or (self._page is None and self._topic is None):
            return ()
        until = self._wall() + request.left
        return tuple(
            self._button(self._token(_Payload(VERSION, approval, answer, until, request.expires))) for answer in LABELS
        )

    def read(self, token: str, wall: int) -> Reply:
        """Read a token at a time of the machine's clock.

        Raises:
            LinkError: it is none of ours, or has expired.
        """
        payload = self._verified(token)
        if wall >= payload.until:
            late = (wall - payload.until) // SECOND
            message = f"the time to answer {payload.approval} was over {late:,} s ago"
            raise LinkError(message)
        return Reply(payload.approval, payload.answer, Instant(payload.request))

    def _button(self, signed: tuple[AnswerName, str]) -> Button:
        answer, token = signed
        link = "" if self._page is None else f"{self._page}/answer/{token}"
        if self._topic is not None:
            return Button(answer, LABELS[answer], self._topic, token, link)
        return Button(answer, LABELS[answer], link, "", link)

    def _token(self, payload: _Payload) -> tuple[AnswerName, str]:
        body = _text(msgspec.json.encode(payload))
        return payload.answer, f"{body}.{_text(self._seal(body))}"

    def _seal(self, body: str) -> bytes:
        return hmac.digest(self._key, b"mrdaemon answer\n" + body.encode("ascii"), hashlib.sha256)

    def _verified(self, token: str) -> _Payload:
        body, dot, seal = token.partition(".")
        if len(token) > LONGEST or not dot or not token.isascii():
            message = "it is no answer of mrdaemon's"
            raise LinkError(message)
        if not hmac.compare_digest(_text(self._seal(body)), seal):
            message = "its signature is not ours: it was forged, altered, or belongs to another mrdaemon"
            raise LinkError(message)
        try:
            payload = _decoder.decode(_bytes(body))
        except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError) as error:
            message = "it is signed, but not by this version of mrdaemon"
            raise LinkError(message) from error
        if payload.version != VERSION:
            message = f"it is of another version of mrdaemon (got {payload.version}, this one knows {VERSION})"
            raise LinkError(message)
        return payload


def actions(buttons: Sequence[Button]) -> str:
    """Write buttons as an ntfy server takes them in a header: JSON, in which nothing needs a further escape.

    No access token is in them: whoever gets the message could read it. So the topic of the answers must take
    messages from everybody, which is safe, since only what we signed counts.
    """
    return json.dumps(
        [
            {"action": "http", "label": each.label, "url": each.url, "method": "POST", "body": each.body, "clear": True}
            for each in buttons
        ]
    )


def _public(address: str) -> str:
    """Take user and password out of an address: everybody who gets the message reads it."""
    parts = urllib.parse.urlsplit(address)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
