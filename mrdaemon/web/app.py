"""The routes: what a person or a program may see of a running daemon, and ask of it."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mrdaemon import __version__, chain, naming, show
from mrdaemon import status as facts
from mrdaemon.asking import Asking
from mrdaemon.asks import ASKS, MalformedError
from mrdaemon.chain import JournalError
from mrdaemon.core import events as ev
from mrdaemon.daemon import Daemon, StoppingError
from mrdaemon.health import health
from mrdaemon.viewing import Viewing

SLICE: Final = 100
"""Positions that are written before prices get their turn again."""
PAGE: Final = 500
"""Events that are read from the journal at a time."""
GATHER: Final = 0.05
"""Seconds for which a stream gathers news, so that a burst is read in pages."""
HEARTBEAT: Final = 10.0
"""Seconds of quiet after which a stream sends an empty line: who listens can tell quiet from dead."""
STREAMS: Final = 32
"""Streams at one time: commands always find room beside them."""
LARGEST_BODY: Final = 64 * 1024
"""Bytes of a command; more is refused unread."""
BODY_WITHIN: Final = 10.0
"""Seconds in which a command must have arrived."""
FOLLOW: Final = {"": False, "0": False, "false": False, "1": True, "true": True}
NDJSON: Final = "application/x-ndjson"
PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The text format that every Prometheus reads."""
METRICS: Final = "mrdaemon.web.metrics"
_USER: Final = re.compile(r"[\w.@-]{1,64}")

log: Final = structlog.get_logger("mrdaemon.control")


class _Streams:
    """How many streams are open."""

    open = 0


class _Counted(StreamingResponse):
    """A stream that counts while it is open, from the moment it is promised."""

    def __init__(self, streams: _Streams, content: AsyncIterator[bytes]) -> None:
        super().__init__(content, media_type=NDJSON)
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._streams.open += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.open -= 1


class Pages:
    """What is served of one daemon."""

    def __init__(self, daemon: Daemon, journal: Path, who: Callable[[Request], str]) -> None:
        self._daemon = daemon
        self._journal = journal
        self._who = who
        """Names who asks, as the journal keeps it."""
        self._view = Viewing(daemon, journal.parent)
        self._asking = Asking(daemon, journal)
        self._streams = _Streams()
        self._turn = asyncio.Lock()
        """Of those who look: however many they are, prices wait for a slice of one."""
        self.link: str | None = None
        """The address of the dashboard, with its token, where there is one."""
        self.closing = asyncio.Event()
        """Set when the streams have to end."""

    def app(self) -> Starlette:
        """Make the application."""
        routes = [
            Route("/", self.index),
            Route("/status", self.status),
            Route("/health", self.health),
            Route("/metrics", self.metrics),
            Route("/explain/{symbol:path}", self.explain),
            Route("/events", self.events),
            Route("/dashboard", self.dashboard),
            Route("/commands/{name}", self.command, methods=["POST"]),
        ]
        handlers = {HTTPException: wrong("/"), Exception: broken}
        return Starlette(routes=routes, exception_handlers=handlers)

    # Looking

    async def index(self, _: Request) -> Response:
        """Say what there is, and what each command takes."""
        commands = {
            name: {"does": kind.meaning, "takes": list(kind.__struct_fields__)} for name, kind in sorted(ASKS.items())
        }
        looking = ["/status", "/health", "/metrics", "/dashboard", "/explain/{symbol}", "/events?after=&kind=&follow="]
        return JSONResponse({"mrdaemon": __version__, "pages": [*looking, "/commands/{name}"], "commands": commands})

    async def status(self, _: Request) -> Response:
        """Say how everything stands, a slice at a time: however many positions there are, prices go first."""
        return StreamingResponse(self._in_turn(self._status()), media_type="application/json")

    async def _status(self) -> AsyncIterator[bytes]:
        everyone = self._view.positions()
        yield facts.encode(self._view.overview()).removesuffix(b"]}")  # Positions come last, and there are none yet.
        between = b""
        while piece := [facts.encode(each) for each in islice(everyone, SLICE)]:
            yield between + b",".join(piece)
            between = b","
            await asyncio.sleep(0)
        yield b"]}"

    async def _in_turn(self, slices: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        while True:
            async with self._turn:
                piece = await anext(slices, None)
            if piece is None:
                return
            yield piece

    async def health(self, _: Request) -> Response:
        """Say whether everything makes progress, and how it stands in a line; that costs next to nothing."""
        return JSONResponse(msgspec.to_builtins(health(self._daemon)))

    async def dashboard(self, _: Request) -> Response:
        """Say where the dashboard is; only for who may do everything anyway."""
        if self.link is None:
            raise HTTPException(404, "this daemon serves no dashboard")
        return JSONResponse({"link": self.link})

    async def metrics(self, _: Request) -> Response:
        """Give every figure, for Prometheus."""
        if METRICS not in sys.modules:
            await asyncio.to_thread(importlib.import_module, METRICS)  # Prices go on meanwhile.
        from mrdaemon.web import metrics  # noqa: PLC0415 - only who is scraped needs prometheus_client

        async with self._turn:
            scrape = await metrics.take(self._view)
        return StreamingResponse(self._in_turn(metrics.write(scrape)), media_type=PROMETHEUS)

    async def explain(self, request: Request) -> Response:
        """Explain a symbol's positions: all, or a portfolio's."""
        engine, now = self._daemon.engine, self._daemon.now()
        symbol, portfolio = request.path_params["symbol"], request.query_params.get("portfolio")
        found = naming.positions(engine.state, symbol, portfolio)
        if not found:
            raise HTTPException(404, naming.nobody(engine.state, symbol, portfolio))
        return JSONResponse([show.plain(engine.explain(each, now)) for each in found])

    async def events(self, request: Request) -> Response:
        """Give journaled events after a number as JSON Lines; with ``follow``, go on as they become durable."""
        query = request.query_params
        after, kinds = query.get("after", "0"), frozenset(query.getlist("kind"))
        if not (after.isascii() and after.isdigit() and len(after) < 19):  # noqa: PLR2004 - digits of SQLite's largest
            raise HTTPException(400, f"after: wanted the number of an event, got {after!r}")
        if unknown := sorted(kinds - ev.KINDS.keys()):
            raise HTTPException(400, f"kind: there is no kind {unknown[0]!r}; there are: {', '.join(sorted(ev.KINDS))}")
        if (wish := query.get("follow", "")) not in FOLLOW:
            raise HTTPException(400, f"follow: wanted true or false, got {wish[:40]!r}")
        follow = FOLLOW[wish]
        if not follow:
            return StreamingResponse(self._events(int(after), kinds, follow=False), media_type=NDJSON)
        if self._streams.open >= STREAMS:
            raise HTTPException(503, f"{STREAMS} streams are open already; close one of them")
        return _Counted(self._streams, self._events(int(after), kinds, follow=True))

    async def _events(self, after: int, kinds: frozenset[str], *, follow: bool) -> AsyncIterator[bytes]:
        while True:
            news, last_round = self._daemon.news, self.closing.is_set()
            records = chain.records(self._journal, after)
            while (page := await self._page(records, kinds)) is not None:
                after = page.last
                if page.lines or follow:  # An empty line says that there is somebody.
                    yield page.lines or b"\n"
            if not follow or last_round:
                return
            if await self._quiet(news):
                yield b"\n"

    async def _page(self, records: Iterator[chain.Record], kinds: frozenset[str]) -> _Page | None:
        async with self._turn:
            return await asyncio.to_thread(_page, records, kinds)

    async def _quiet(self, news: asyncio.Event) -> bool:
        """Wait for news; tells whether there was none for long."""
        waiting = {asyncio.ensure_future(each.wait()) for each in (news, self.closing)}
        try:
            done, _ = await asyncio.wait(waiting, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
            if done:
                await asyncio.sleep(GATHER)
            return not done
        finally:
            for each in waiting:
                each.cancel()

    # Commanding

    async def command(self, request: Request) -> Response:
        """Take a command: 200 with what it changed, or 409 with why it was refused."""
        name = request.path_params["name"]
        if name not in ASKS:
            raise HTTPException(404, f"there is no command {name!r}; there are: {', '.join(ASKS)}")
        try:
            said = await body(request)
            _refuse_late(request)
            taken = await self._asking.ask(name, said, self._who(request))
        except MalformedError as error:
            raise HTTPException(400, str(error)) from error
        except (StoppingError, JournalError) as error:
            raise HTTPException(503, str(error)) from error
        answer: dict[str, Any] = {
            "ok": taken.refused is None,
            "events": [show.event_object(event) for event in taken.events],
            "notes": list(taken.notes),
        }
        if taken.refused is not None:
            answer["refused"] = taken.refused
        return JSONResponse(answer, 200 if taken.refused is None else 409)


class _Page(NamedTuple):
    """Some of the journal."""

    last: int
    lines: bytes


def _page(records: Iterator[chain.Record], kinds: frozenset[str]) -> _Page | None:
    """Read some of the journal, and write down what is of these kinds; None where there is nothing more."""
    page = list(islice(records, PAGE))
    chosen = [each for each in page if not kinds or each.event.__struct_config__.tag in kinds]
    lines = "".join(f"{show.json_text(show.record_object(each))}\n" for each in chosen)
    return _Page(page[-1].seq, lines.encode()) if page else None


def peer(request: Request) -> str:
    """Name who asks: the kernel says it. Only root and the daemon's own user get here, and may say for whom."""
    name = "somebody" if request.client is None else request.client.host
    behalf = request.headers.get("x-on-behalf-of", "")
    return f"{behalf} ({name})" if _USER.fullmatch(behalf) and behalf != name else name


def _refuse_late(request: Request) -> None:
    """Refuse what was asked so long ago that whoever asked has given up, and may have asked again."""
    until = request.headers.get("x-void-after")
    if until is None:
        return
    if not (until.isascii() and until.isdigit() and len(until) <= 19):  # noqa: PLR2004 - digits of the year 2286
        raise HTTPException(400, f"X-Void-After: wanted nanoseconds since 1970, got {until[:40]!r}")
    if time.time_ns() > int(until):
        raise HTTPException(409, "it came too late, when nobody waited for it any more; nothing was done")


async def body(request: Request) -> bytes:
    """Give what was sent along, where it is not too large and comes in time."""
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN):
            async for chunk in request.stream():
                found += chunk
                if len(found) > LARGEST_BODY:
                    message = f"a command has at most {LARGEST_BODY:,} bytes"
                    raise HTTPException(413, message)
    except ClientDisconnect as error:
        raise HTTPException(400, "the command broke off") from error  # There is nobody to tell, and nothing to log.
    except TimeoutError as error:
        message = f"the command did not arrive within {BODY_WITHIN:.0f} s"
        raise HTTPException(408, message) from error
    return bytes(found)


def wrong(guide: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Make what says in JSON what was wrong with a request, and which page says what there is."""

    async def said(request: Request, error: Exception) -> Response:
        found = error if isinstance(error, HTTPException) else HTTPException(500)
        why = found.detail
        if why == HTTPStatus(found.status_code).phrase:  # What Starlette itself has to say.
            why = f"{why}: {request.method} {request.scope['path']}; GET {guide} says what there is"
        return JSONResponse({"ok": False, "error": why}, found.status_code, headers=dict(found.headers or {}))

    return said


async def broken(request: Request, error: Exception) -> Response:
    """Say that it is our fault."""
    log.error("cannot answer", path=request.url.path, exc_info=error)
    return JSONResponse({"ok": False, "error": f"the daemon could not answer: {error!r}; report this"}, 500)
