"""Answers over a private topic of an ntfy server: buttons post to it, and we listen to it, so no port need be open.

Whoever may write to the topic may write anything: only what we signed counts. What was posted while the connection was
away is asked for by the id of the last message; at a start everything that the server kept is, and what answers
nothing that is open is passed over in silence, since it was told at its time.
"""

from __future__ import annotations

import asyncio
import logging
import urllib.parse
from typing import Final

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from mrdaemon.alerts.answers import Answers
from mrdaemon.retry import Backoff
from mrdaemon.settings import AnswersTable

LARGEST: Final = 64 * 1024
"""Bytes of a message; what an ntfy server sends of one that is no attachment is a tenth of that."""
TOO_BIG: Final = 1009
"""The code with which a connection ends whose message was larger."""
PING: Final = 20.0
OPEN_WITHIN: Final = 10.0
CLOSE_WITHIN: Final = 2.0
EVERYTHING: Final = "all"
SOURCE: Final = "an ntfy button"
"""Who answered, for the journal: which phone it was is not known."""

log: Final = structlog.get_logger("mrdaemon.answers")
_silent: Final = logging.getLogger("mrdaemon.answers.socket")
_silent.disabled = True  # The library logs headers, and our access token is one.


class _Message(msgspec.Struct):
    id: str = ""
    time: int = 0
    event: str = ""
    message: str = ""


_decode: Final = msgspec.json.Decoder(_Message).decode


class AnswerTopic:
    """Listens to the topic. ``listen`` runs until it is cancelled."""

    def __init__(self, table: AnswersTable, answers: Answers) -> None:
        if table.topic is None:
            message = "answers.topic is wanted"
            raise ValueError(message)
        self._address = _address(table.topic)
        self._host = urllib.parse.urlsplit(table.topic).hostname
        self._headers = {} if table.token is None else {"Authorization": f"Bearer {table.token}"}
        self._answers = answers
        self._since = EVERYTHING
        self._began: int | None = None
        """When the first connection was made, in Unix seconds of the server's clock."""
        self.lost: str | None = "not connected yet"
        """Why no answers come in; None while they may."""

    async def listen(self) -> None:
        """Take answers until cancelled; the connection is made anew as often as it breaks."""
        backoff = Backoff()
        while True:
            try:
                await self._connected(backoff)
                self._away("the connection was closed")
            except ConnectionClosed as closed:
                self._away("the connection was closed")
                if closed.sent is not None and closed.sent.code == TOO_BIG:
                    log.warning("a message was too large for an answer, and is passed over", host=self._host)
                    self._since = "none"  # Asked for it again, the server would send it again.
            except InvalidStatus as refused:
                self._away(_refusal(refused.response.status_code))
            except (WebSocketException, OSError, TimeoutError) as error:
                self._away(f"it cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}")
            await asyncio.sleep(backoff.next())

    async def _connected(self, backoff: Backoff) -> None:
        async with connect(
            f"{self._address}?{urllib.parse.urlencode({'since': self._since})}",
            additional_headers=self._headers,
            logger=_silent,
            open_timeout=OPEN_WITHIN,
            close_timeout=CLOSE_WITHIN,
            ping_interval=PING,
            ping_timeout=PING,
            max_size=LARGEST,
        ) as connection:
            log.info("listening for answers", host=self._host)
            self.lost = None
            await self._read(connection, backoff)

    async def _read(self, connection: ClientConnection, backoff: Backoff) -> None:
        async for raw in connection:
            try:
                message = _decode(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if message.event == "open":
                self._began = message.time if self._began is None else self._began
                continue
            backoff.succeeded()  # Not on opening: a server that hangs up each time must not be asked without pause.
            if message.event == "message":
                await self._take(message)
                self._since = message.id or self._since

    async def _take(self, message: _Message) -> None:
        token = message.message.strip()
        if self._began is not None and message.time < self._began and not self._answers.is_open(token):
            return
        outcome = await self._answers.take(token, SOURCE)
        log.info("an answer came in", ok=outcome.ok, text=outcome.text)

    def _away(self, why: str) -> None:
        if self.lost != why:
            log.warning("no answers come in from the topic; it is tried again", host=self._host, reason=why)
        self.lost = why


def _address(topic: str) -> str:
    """Give the address of a topic's WebSocket."""
    parts = urllib.parse.urlsplit(topic)
    scheme = {"https": "wss", "http": "ws"}.get(parts.scheme, parts.scheme)
    return urllib.parse.urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/ws", "", ""))


def _refusal(status: int) -> str:
    if status in {401, 403}:
        return f"the server answered HTTP {status}: answers.token is wrong, or may not read the topic"
    return f"the server answered HTTP {status}"
