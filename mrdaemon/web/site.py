"""The dashboard's routes: its pages and files, signing in, and the API that the control socket has as well."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.resources
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from mrdaemon import naming
from mrdaemon.chain import JournalError
from mrdaemon.core.state import State
from mrdaemon.daemon import Daemon
from mrdaemon.web import app
from mrdaemon.web.access import ACTS_FOR, LONGEST, Access
from mrdaemon.web.answered import Healthz, SignedIn, SignIn
from mrdaemon.web.gate import Gate, Visitor, cookie_of
from mrdaemon.web.graphs import Graphs
from mrdaemon.web.hub import CLIENTS, Client, Hub
from mrdaemon.web.news import News

NEWS_AT_MOST: Final = 500
NEWS_USUALLY: Final = 100
GUIDE: Final = "/openapi.json"
"""What says what there is."""
LONGEST_NUMBER: Final = 18
"""Digits of an event's number."""
KINDS: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

log: Final = structlog.get_logger("mrdaemon.web")
_encode: Final = msgspec.json.Encoder(decimal_format="string").encode


class Site:
    """What is served over the network of one daemon."""

    def __init__(self, daemon: Daemon, journal: Path, hub: Hub, news: News, graphs: Graphs, access: Access) -> None:
        self._daemon = daemon
        self._hub = hub
        self._news = news
        self._graphs = graphs
        self._access = access
        self._pages = app.Pages(daemon, journal, _who)
        self._files = _files()
        self._document: bytes | None = None
        self.closing = self._pages.closing
        """Set when streams have to end."""

    def app(self, cookie: str, names: list[str]) -> Gate:
        """Make the application, with its gate before it."""
        self._cookie = cookie
        pages = self._pages
        routes = [
            Route("/", self.page),
            Route("/login", self.login),
            Route("/static/{path:path}", self.file),
            Route("/healthz", self.healthz),
            Route("/openapi.json", self.openapi),
            Route("/metrics", pages.metrics),
            Route("/api/session", self.session, methods=["POST", "DELETE"]),
            Route("/api/status", pages.status),
            Route("/api/explain/{symbol:path}", pages.explain),
            Route("/api/events", pages.events),
            Route("/api/commands/{name}", pages.command, methods=["POST"]),
            Route("/api/news", self.news),
            Route("/api/prices/{symbol:path}", self.prices),
            Route("/api/reserve/{portfolio}", self.reserve),
            Route("/api/stream", self.stream, methods=["GET"]),
        ]
        inner = Starlette(routes=routes, exception_handlers={HTTPException: app.wrong(GUIDE), Exception: app.broken})
        inner.router.redirect_slashes = False
        self._gate = Gate(inner, self._access, cookie, names)
        return self._gate

    # Pages and files

    async def page(self, request: Request) -> Response:
        """Give the dashboard."""
        return await self._file(request, "index.html")

    async def login(self, request: Request) -> Response:
        """Give the page that asks for the token."""
        return await self._file(request, "login.html")

    async def file(self, request: Request) -> Response:
        """Give a file of the pages: one of those that there are, by its exact name."""
        return await self._file(request, request.path_params["path"])

    async def _file(self, request: Request, name: str) -> Response:
        path = self._files.get(name)
        if path is None:
            raise HTTPException(404)
        body = await asyncio.to_thread(path.read_bytes)
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        kind = KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Response(body, media_type=kind, headers=headers)

    async def healthz(self, _: Request) -> Response:
        """Say whether everything makes progress, and no more: tasks are named after accounts and channels."""
        ok = not self._daemon.pulse.stuck()
        return Response(_encode(Healthz(ok)), 200 if ok else 503, media_type="application/json")

    async def openapi(self, _: Request) -> Response:
        """Give the document that describes all of this."""
        if self._document is None:
            self._document = await asyncio.to_thread(_document)
        return Response(self._document, media_type="application/json")

    # Signing in

    async def session(self, request: Request) -> Response:
        """Open a session, or end it."""
        return await (self._sign_in if request.method == "POST" else self._sign_out)(request)

    async def _sign_in(self, request: Request) -> Response:
        """Open a session for who knows the token."""
        body = await app.body(request)
        try:
            given = msgspec.json.decode(body, type=SignIn)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise HTTPException(400, f'wanted {{"token": "..."}}: {error}') from error
        address = _address(request)
        if not self._access.knows(given.token.strip()):
            refusal = self._gate.guessed(address)
            raise HTTPException(refusal.status, refusal.why, dict(refusal.headers))
        if (before := cookie_of(request.headers, self._cookie)) is not None:
            self._access.close(before)  # Else its streams would keep it alive.
        opened = self._access.open(address)
        answer = Response(_encode(SignedIn(opened.csrf, int(ACTS_FOR))), media_type="application/json")
        safe = _is_encrypted(request)
        name = f"__Host-{self._cookie}" if safe else self._cookie
        answer.set_cookie(name, opened.cookie, int(LONGEST), secure=safe, httponly=True, samesite="strict")
        return answer

    async def _sign_out(self, request: Request) -> Response:
        """End the session that this came in."""
        visitor: Visitor = request.scope["visitor"]
        if visitor.cookie is not None:
            self._access.close(visitor.cookie)
        answer = Response(status_code=204)
        answer.delete_cookie(self._cookie, httponly=True, samesite="strict")
        if _is_encrypted(request):
            answer.delete_cookie(f"__Host-{self._cookie}", secure=True, httponly=True, samesite="strict")
        return answer

    # Looking

    async def news(self, request: Request) -> Response:
        """Give news, newest first."""
        before, limit = _number(request, "before"), _number(request, "limit")
        if limit is not None and not 1 <= limit <= NEWS_AT_MOST:
            raise HTTPException(400, f"limit: wanted 1 to {NEWS_AT_MOST}, got {limit}")
        try:
            page = await self._news.page(before, limit or NEWS_USUALLY)
        except JournalError as error:
            raise HTTPException(503, str(error)) from error
        return Response(_encode(page), media_type="application/json")

    async def prices(self, request: Request) -> Response:
        """Give the prices of a symbol's trading day, with its signals."""
        state: State = self._daemon.engine.state
        typed = request.path_params["symbol"]
        symbol = naming.symbol(state, typed)
        if symbol not in state.symbols:
            raise HTTPException(404, naming.nobody(state, typed, None))
        try:
            line = await self._graphs.prices(symbol)
        except JournalError as error:
            raise HTTPException(503, str(error)) from error
        return Response(_encode(line), media_type="application/json")

    async def reserve(self, request: Request) -> Response:
        """Give a portfolio's reserve over time."""
        state, name = self._daemon.engine.state, request.path_params["portfolio"]
        if name not in state.portfolios:
            raise HTTPException(404, f"there is no portfolio {name!r}; there are: {', '.join(state.portfolios)}")
        try:
            line = await self._graphs.reserve(name)
        except JournalError as error:
            raise HTTPException(503, str(error)) from error
        return Response(_encode(line), media_type="application/json")

    async def stream(self, request: Request) -> Response:
        """Give everything that changes, as server-sent events, for as long as the client stays."""
        last = request.headers.get("last-event-id", "")
        known = int(last) if last.isascii() and last.isdigit() and len(last) <= LONGEST_NUMBER else None
        if request.scope["http_version"] < "1.1":
            raise HTTPException(505, "a stream wants HTTP/1.1")
        if request.method == "HEAD":
            return Response(media_type=Streaming.media_type)
        if self._hub.full:
            message = f"{CLIENTS} dashboards are open already; close one of them"
            raise HTTPException(503, message, {"Retry-After": "30"})
        return Streaming(self._hub, known)


class Streaming(Response):
    """A stream of server-sent events, which the hub writes straight to the client's connection.

    Nothing more is read from that: a client has nothing more to say, and each connection that the loop listens to makes
    each of its rounds dearer. The hub sees who has gone.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, last_event: int | None) -> None:
        super().__init__(headers={"Connection": "close", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._last_event = last_event

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stay until the client goes, or is dropped."""
        wire: asyncio.Transport = scope["state"]["transport"]
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        wire.pause_reading()
        client = Client(wire, wire.get_extra_info("socket").fileno(), self._last_event)
        self._hub.join(client)
        gone = asyncio.create_task(_gone(receive), name="dashboard")
        over = asyncio.create_task(client.over.wait(), name="dashboard")
        try:
            await asyncio.wait([gone, over], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave(client)
            over.cancel()
        if not gone.done() and wire.get_write_buffer_size():
            wire.abort()  # It takes nothing: there is nobody to say good-bye to.
            await gone
        gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    message: Message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()


def _document() -> bytes:
    from mrdaemon.web import openapi  # noqa: PLC0415 - only who asks for it needs it

    return _encode(openapi.document())


def _who(request: Request) -> str:
    visitor: Visitor = request.scope["visitor"]
    return visitor.name


def _address(request: Request) -> str:
    return "somewhere" if request.client is None else request.client.host


def _is_encrypted(request: Request) -> bool:
    """Tell whether the browser came over TLS, to us or to a proxy before us: its page says so."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")


def _number(request: Request, name: str) -> int | None:
    given = request.query_params.get(name)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= LONGEST_NUMBER):
        raise HTTPException(400, f"{name}: wanted a whole number, got {given[:40]!r}")
    return int(given)


def _files() -> Mapping[str, Path]:
    """Give the files of the pages by name. Nothing else can be asked for, whatever a path looks like."""
    folder = Path(str(importlib.resources.files("mrdaemon.web"))) / "static"
    return {each.relative_to(folder).as_posix(): each for each in sorted(folder.rglob("*")) if each.is_file()}
