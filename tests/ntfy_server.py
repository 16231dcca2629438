"""A local ntfy server for tests: it publishes and lets subscribe as the real one does, and misbehaves as it is told."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from mrdaemon.simulator.sockets import BreakableHttp, BreakableWebSocket, connection

PATIENCE = 20.0
LARGEST = 4096
"""Bytes of a message, as the real one has it."""
MOST_ACTIONS = 3
CUT = 0
"""Stands for no answer at all: the connection is reset."""

Object = dict[str, Any]


class Published(NamedTuple):
    """What arrived in a topic."""

    topic: str
    title: str
    message: str
    headers: dict[str, str]

    @property
    def priority(self) -> str:
        return self.headers.get("x-priority", "default")

    @property
    def actions(self) -> list[Object]:
        found: list[Object] = json.loads(self.headers.get("x-actions", "[]"))
        return found


class Answered(NamedTuple):
    """An HTTP answer."""

    status: int
    text: str
    headers: dict[str, str]


class NtfyServer:
    """Served on a free port of loopback, in the loop of the test. Use it as an async context manager."""

    def __init__(self) -> None:
        self.tries = 0
        """Messages that somebody tried to publish."""
        self.published: list[Published] = []
        self.moods: list[int] = []
        """HTTP statuses for the next messages, one each, before it answers well again; ``CUT`` answers nothing."""
        self.hanging: asyncio.Event | None = None
        """While there is one that is not set, nothing that is published is answered."""
        self.readers: dict[str, str] = {}
        """By topic, the token that whoever reads it must have."""
        self.writers: dict[str, str] = {}
        self.subscriptions: list[str] = []
        """What subscribers asked for since."""
        self.opens = True
        """Whether it tells who subscribes that it heard them."""
        self.largest = LARGEST
        self.port = 0
        self.began = 0
        """Subtracted from its clock, for messages from before a start."""
        self._numbers = itertools.count(1)
        self._kept: dict[str, list[Object]] = {}
        self._sockets: dict[str, set[WebSocket]] = {}

    async def __aenter__(self) -> Self:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        listener.setblocking(False)
        self._listener, self.port = listener, listener.getsockname()[1]
        routes = [
            Route("/", self._publish_json, methods=["POST"]),
            Route("/{topic}", self._publish, methods=["POST", "PUT"]),
            Route("/{topic}", self._show, methods=["GET"]),
            WebSocketRoute("/{topic}/ws", self._subscribe),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            http=BreakableHttp,
            ws=BreakableWebSocket,
            loop="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([listener]), name="ntfy")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.hanging is not None:
            self.hanging.set()
        self.cut()
        self._server.should_exit = True
        await self._serving
        self._listener.close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def push(self, topic: str = "alerts", options: str = "", login: str = "") -> str:
        """Give the address of a topic, as apprise reads it."""
        return f"ntfy://{login}{self.host}/{topic}{options}"

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition)

    async def until_listened(self, count: int = 1) -> None:
        """Wait until somebody listens who did not before."""
        await until(lambda: len(self.subscriptions) >= count and any(self._sockets.values()))

    # What happens to it

    def keep(self, topic: str, message: str) -> Object:
        """Put a message into a topic, and give it to who listens."""
        number = f"id{next(self._numbers)}"
        posted = {"id": number, "time": self._now(), "event": "message", "topic": topic, "message": message}
        self._kept.setdefault(topic, []).append(posted)
        self.say(topic, json.dumps(posted))
        return posted

    def say(self, topic: str, text: str | bytes) -> None:
        """Send anything to who listens."""
        for each in self._sockets.get(topic, ()):
            send = each.send_text(text) if isinstance(text, str) else each.send_bytes(text)
            task = asyncio.ensure_future(send)
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def cut(self) -> None:
        """Reset every connection of those who listen."""
        for sockets in self._sockets.values():
            for each in sockets:
                connection(each.scope).cut()

    # What it answers

    def _now(self) -> int:
        return int(time.time()) - self.began

    async def _publish_json(self, request: Request) -> Response:
        body = await request.json()
        return await self._take(request, body["topic"], body.get("title", ""), body.get("message", ""))

    async def _publish(self, request: Request) -> Response:
        body = (await request.body()).decode()
        return await self._take(request, request.path_params["topic"], request.headers.get("x-title", ""), body)

    async def _show(self, _: Request) -> Response:
        """Give the app that the real one has in the place of every topic."""
        return Response("<html>", media_type="text/html")

    async def _take(self, request: Request, topic: str, title: str, message: str) -> Response:
        self.tries += 1
        if self.hanging is not None:
            await self.hanging.wait()
        mood = self.moods.pop(0) if self.moods else 200
        if mood == CUT:
            connection(request.scope).abort()
            return Response()
        if mood != 200:
            return _error(mood)
        wanted = self.writers.get(topic)
        if wanted is not None and request.headers.get("authorization") != f"Bearer {wanted}":
            return _error(403)
        if len(json.loads(request.headers.get("x-actions", "[]"))) > MOST_ACTIONS:
            return _error(400)
        if len(message.encode()) > self.largest:
            return _error(413)
        self.published.append(Published(topic, title, message, dict(request.headers)))
        return JSONResponse(self.keep(topic, message))

    async def _subscribe(self, client: WebSocket) -> None:
        topic, since = client.path_params["topic"], client.query_params.get("since", "none")
        wanted = self.readers.get(topic)
        if wanted is not None and client.headers.get("authorization") != f"Bearer {wanted}":
            await client.send_denial_response(_error(403))
            return
        await client.accept()
        self.subscriptions.append(since)
        opened = {"id": f"open{next(self._numbers)}", "time": self._now(), "event": "open", "topic": topic}
        if self.opens:
            await client.send_text(json.dumps(opened))
        for each in self._after(topic, since):
            await client.send_text(json.dumps(each))
        self._sockets.setdefault(topic, set()).add(client)
        try:
            while True:
                await client.receive_text()
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self._sockets[topic].discard(client)

    def _after(self, topic: str, since: str) -> list[Object]:
        kept = self._kept.get(topic, [])
        if since in {"all", "none"}:
            return kept if since == "all" else []
        if since.isdigit():
            return [each for each in kept if each["time"] >= int(since)]
        places = [place for place, each in enumerate(kept) if each["id"] == since]
        return kept[places[0] + 1 :] if places else kept


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as its parent has it
        yield


def _error(status: int) -> Response:
    """Refuse as ntfy does: its own code begins with the status."""
    moved = {"location": "/elsewhere"} if 300 <= status < 400 else {}
    return JSONResponse({"code": status * 100 + 1, "http": status, "error": "no"}, status, moved)


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


async def press(button: Object) -> Answered:
    """Press a button as the ntfy app does."""
    return await ask(button["method"], button["url"], button.get("body", ""))


async def ask(method: str, url: str, body: str = "") -> Answered:
    """Ask any server one thing."""
    return await asyncio.to_thread(_ask, method, url, body)


def _ask(method: str, url: str, body: str) -> Answered:
    request = urllib.request.Request(url, body.encode() or None, method=method)  # noqa: S310 - it is loopback
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            return Answered(answer.status, answer.read().decode(), dict(answer.headers))
    except urllib.error.HTTPError as refused:
        with refused:
            return Answered(refused.code, refused.read().decode(), dict(refused.headers))
