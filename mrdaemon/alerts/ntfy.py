"""Answers over a private topic of an ntfy server: buttons post to it, and we listen to it, so no port need be open.

Whoever may write to the topic may write anything: only what we signed counts. What was posted while the connection was
away is asked for by the id of the last message; at a start everything that the server kept is, and what answers
nothing that is open is passed over in silence, since it was told at its time. While nothing can be heard, buttons do
nothing: that is told, as it is of a channel.
"""

from __future__ import annotations

import asyncio
import logging
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from mrdaemon.alerts.answers import Answers
from mrdaemon.core.policy import ChannelState
from mrdaemon.retry import Backoff
from mrdaemon.sentences import WAY_BACK
from mrdaemon.settings import AnswersTable

LARGEST: Final = 1024 * 1024
"""Bytes of a message that is read, if only to pass it over. A server takes 4,096, unless it was set up otherwise."""
QUEUE: Final = 4
"""Messages that wait in memory to be looked at."""
TOO_BIG: Final = 1009
"""The code with which a connection ends whose message was larger."""
PING: Final = 20.0
OPEN_WITHIN: Final = 10.0
"""Seconds for a connection, and then for the server's word that we are subscribed."""
KEPT_WITHIN: Final = 5.0
"""Seconds after that word in which a server has sent what it kept."""
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
        self.name = WAY_BACK
        self.stands: Callable[[ChannelState, str], Awaitable[None]] | None = None
        """Is told whether answers come in, and why not, each time that this changes."""
        self._state: ChannelState | None = None
        self._address = _address(table.topic)
        self._host = urllib.parse.urlsplit(table.topic).hostname
        self._headers = {} if table.token is None else {"Authorization": f"Bearer {table.token}"}
        self._answers = answers
        self._since = EVERYTHING
        self._began: int | None = None
        """When the first connection was made, in Unix seconds of the server's clock."""
        self._opened: tuple[int, float] | None = None
        """When this connection was made, by the server's clock and by ours that only goes on."""

    async def listen(self) -> None:
        """Take answers until cancelled; the connection is made anew as often as it breaks."""
        backoff = Backoff()
        while True:
            state, why = ChannelState.DOWN, "the connection was closed"
            try:
                await self._connected(backoff)
            except ConnectionClosed as closed:
                if closed.sent is not None and closed.sent.code == TOO_BIG:
                    why = "a message on it was too large for an answer"
                    self._pass_over()
            except InvalidStatus as refused:
                state, why = _refusal(refused.response.status_code)
            except TimeoutError:
                why = "it does not answer in time, or not as an ntfy server does"
            except (WebSocketException, OSError) as error:
                why = f"it cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}"
            await self._stand(state, why)
            await asyncio.sleep(backoff.next())

    async def _connected(self, backoff: Backoff) -> None:
        self._opened = None
        async with connect(
            f"{self._address}?{urllib.parse.urlencode({'since': self._since})}",
            additional_headers=self._headers,
            logger=_silent,
            open_timeout=OPEN_WITHIN,
            close_timeout=CLOSE_WITHIN,
            ping_interval=PING,
            ping_timeout=PING,
            max_size=LARGEST,
            max_queue=QUEUE,
        ) as connection:
            await self._read(connection, backoff)

    async def _read(self, connection: ClientConnection, backoff: Backoff) -> None:
        async with asyncio.timeout(OPEN_WITHIN) as patience:
            async for raw in connection:
                try:
                    message = _decode(raw)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue
                if message.event == "open":
                    patience.reschedule(None)
                    await self._open(message)
                    continue
                backoff.succeeded()  # Not on opening: a server that hangs up each time must not be asked without pause.
                if message.event == "message":
                    await self._take(message)
                    self._since = message.id or self._since

    async def _open(self, message: _Message) -> None:
        self._began = message.time if self._began is None else self._began
        self._opened = message.time, time.monotonic()
        await self._stand(ChannelState.UP, "")

    def _pass_over(self) -> None:
        """Go on behind a message that is too large to be read, whose id is not known: by the time at which it came.

        That is a guess within its second, so it may come again at once; then it was a second later.
        """
        if self._opened is None:
            return
        opened, at = self._opened
        passed = time.monotonic() - at
        again = passed < KEPT_WITHIN and self._since.isdigit()
        self._since = str(int(self._since) + 1 if again else opened + int(passed))

    async def _take(self, message: _Message) -> None:
        token = message.message.strip()
        if self._began is not None and message.time < self._began and not self._answers.is_open(token):
            return
        outcome = await self._answers.take(token, SOURCE)
        log.info("an answer came in", ok=outcome.ok, text=outcome.text)

    async def _stand(self, state: ChannelState, why: str) -> None:
        if state is self._state:
            return
        self._state = state
        if state is ChannelState.UP:
            log.info("listening for answers", host=self._host)
        else:
            log.warning("no answers come in from the topic; it is tried again", host=self._host, reason=why)
        if self.stands is not None:
            await self.stands(state, why)


def _address(topic: str) -> str:
    """Give the address of a topic's WebSocket."""
    parts = urllib.parse.urlsplit(topic)
    scheme = {"https": "wss", "http": "ws"}.get(parts.scheme, parts.scheme)
    return urllib.parse.urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/ws", "", ""))


def _refusal(status: int) -> tuple[ChannelState, str]:
    if status in {401, 403}:
        why = f"the server answered HTTP {status}: answers.token is wrong, or may not read the topic"
        return ChannelState.REFUSED, why
    return ChannelState.DOWN, f"the server answered HTTP {status}"
