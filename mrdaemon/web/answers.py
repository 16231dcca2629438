"""The page behind a link: it shows what an answer would do and asks once more, and takes it when it is posted.

Nothing else is served. To look does nothing, so a preview of a link answers nothing; what is posted counts only where
we signed it. A button of a phone posts right away.
"""

from __future__ import annotations

import html
from http import HTTPStatus
from typing import Final, Self

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mrdaemon.alerts.answers import Answers, Question
from mrdaemon.places import AnswerPageError
from mrdaemon.web.serving import Impatient, ListenError, Serving, listening

CLIENTS: Final = 32
"""Connections at one time; further ones are told to come back."""
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
        try:
            listener = await listening(self._host, self.port, CLIENTS)
        except ListenError as error:
            message = f"answers.listen: {error}"
            raise AnswerPageError(message) from error
        self.port = listener.getsockname()[1]
        self._serving = Serving(self._app(), listener, Impatient, CLIENTS)
        await self._serving.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Answer what was asked, and close the port."""
        await self._serving.end()

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


def _page(text: str, status: int, form: str = "") -> Response:
    return HTMLResponse(PAGE.format(text=html.escape(text), form=form), status, headers=SAFE)


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _page(f"{HTTPStatus(status).phrase}.", status)


async def _broken(_: Request, error: Exception) -> Response:
    log.error("cannot answer", exc_info=error)  # Not the path: it is an answer.
    return _page("The daemon could not answer. Nothing is known to have been done.", 500)
