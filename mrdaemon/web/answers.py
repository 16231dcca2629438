"""The page behind a link: it shows what an answer would do and asks once more, and takes it when it is posted.

Nothing else is served. To look does nothing, so a preview of a link answers nothing; what is posted counts only where
we signed it. A button of a phone posts right away.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
import socket
from http import HTTPStatus
from typing import Final, Self

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from mrdaemon.alerts.answers import Answers, Question
from mrdaemon.places import AnswerPageError

CLIENTS: Final = 32
"""Connections at one time; further ones are told to come back."""
FIRST_WORDS_WITHIN: Final = 10.0
"""Seconds in which a client must have asked something."""
CLOSE_WITHIN: Final = 2
LARGEST_HEAD: Final = 16 * 1024
"""Bytes of a request before its body, of which nothing is read."""
SAFE: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Connection": "close",
}
PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mrdaemon</title>
</head>
<body>
<h1>mrdaemon</h1>
<p>{text}</p>
{form}</body>
</html>
"""
FORM: Final = '<form method="post"><p><button>{label}</button></p></form>\n'

log: Final = structlog.get_logger("mrdaemon.answers")


class AnswerPage:
    """Serves the page at a host and a port, ``127.0.0.1:8377``. Use it as an async context manager."""

    def __init__(self, listen: str, answers: Answers) -> None:
        host, _, port = listen.rpartition(":")
        self._host = host.removeprefix("[").removesuffix("]")
        self._answers = answers
        self.port = int(port)
        """The port that is served; another than was asked for where that was 0."""

    async def __aenter__(self) -> Self:
        """Open the port and serve it.

        Raises:
            AnswerPageError: it cannot be opened.
        """
        listeners = await self._bind()
        config = uvicorn.Config(
            self._app(),
            http=_Impatient,
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # else anybody could write who they are into a header
            server_header=False,
            date_header=False,
            limit_concurrency=CLIENTS,
            backlog=CLIENTS,
            timeout_graceful_shutdown=CLOSE_WITHIN,
            h11_max_incomplete_event_size=LARGEST_HEAD,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._serve(listeners), name="answer page")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Answer what was asked, and close the port."""
        self._server.should_exit = True
        await self._serving

    async def _serve(self, listeners: list[socket.socket]) -> None:
        """Serve until the daemon ends. Whatever breaks here must not touch prices and orders: they go on without it."""
        try:
            await self._server.serve(listeners)
        except Exception:  # What a server's bug may raise is not known, and it must cost the page, not the orders.
            log.exception("the page for answers broke; the daemon goes on without it")
        finally:
            for each in listeners:
                each.close()

    async def _bind(self) -> list[socket.socket]:
        host, port = self._host, self.port
        listener: socket.socket | None = None
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            family, kind, protocol, _, address = found[0]
            listener = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(CLIENTS)
        except OSError as error:
            if listener is not None:
                listener.close()
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            message = f"answers.listen: {host}:{port} cannot be opened: {why}; choose another, or see who has it"
            raise AnswerPageError(message) from error
        listener.setblocking(False)  # noqa: FBT003 - its only parameter
        self.port = listener.getsockname()[1]
        return [listener]

    # The routes

    def _app(self) -> Starlette:
        routes = [
            Route("/answer/{token}", self.look, methods=["GET"]),
            Route("/answer/{token}", self.take, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _broken})

    async def look(self, request: Request) -> Response:
        """Show what an answer would do."""
        found = await self._answers.look(request.path_params["token"])
        if isinstance(found, Question):
            return _page(found.text, 200, FORM.format(label=html.escape(found.label)))
        return _page(found.text, 409)

    async def take(self, request: Request) -> Response:
        """Take an answer. The body of the request is not read: what counts is in the address."""
        client = "somewhere" if request.client is None else request.client.host
        outcome = await self._answers.take(request.path_params["token"], f"a link, from {client}")
        return _page(outcome.text, 200 if outcome.ok else 409)


class _Server(uvicorn.Server):
    """A server that leaves signals to the daemon."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as its parent has it
        yield


class _Impatient(H11Protocol):
    """A connection that is closed where nobody asks anything."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(FIRST_WORDS_WITHIN, self._drop_if_silent)

    def _drop_if_silent(self) -> None:
        """Close a connection that has asked nothing yet: there is room for so many only."""
        if getattr(self, "cycle", None) is None:
            self.transport.abort()


def _page(text: str, status: int, form: str = "") -> Response:
    return HTMLResponse(PAGE.format(text=html.escape(text), form=form), status, headers=SAFE)


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _page(f"{HTTPStatus(status).phrase}.", status)


async def _broken(_: Request, error: Exception) -> Response:
    log.error("cannot answer", exc_info=error)  # Not the path: it is an answer.
    return _page("The daemon could not answer. Nothing is known to have been done.", 500)
