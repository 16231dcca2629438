"""The gate before every page: whose request is let in, and with which headers every answer goes out.

Nothing is open that is not named here as open. What a browser sends by itself (a cookie, on a click on another site) is
told from what a page of ours sends.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import Final, NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrdaemon.hosts import place
from mrdaemon.web.access import ACTS_FOR, Access, Session

LARGEST_BODY: Final = 64 * 1024
"""Bytes; more is refused unread."""
OPEN: Final = frozenset({"/login", "/healthz", "/openapi.json"})
"""Pages for everybody: none of them says anything of positions or money."""
STATIC: Final = "/static/"
SIGN_IN: Final = "/api/session"
JSON: Final = "application/json"
LOOKS: Final = frozenset({"GET", "HEAD"})
SAFE: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
"""What every answer carries: nothing of another place is loaded, nothing is framed, no address is passed on."""


class Visitor(NamedTuple):
    """Who was let in."""

    name: str
    """As the journal calls them."""
    cookie: str | None = None
    """Of a browser's session."""
    session: Session | None = None


class Refusal(NamedTuple):
    """Why somebody is not let in."""

    status: int
    why: str
    headers: Mapping[str, str] = MappingProxyType({})


class Gate:
    """Lets in who may, and nobody else."""

    def __init__(self, app: ASGIApp, access: Access, cookie: str, names: Collection[str]) -> None:
        self._app = app
        self._access = access
        self._cookie = cookie
        self._names = frozenset(each.lower() for each in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request."""
        if scope["type"] != "http":
            return
        request = HTTPConnection(scope)
        answer = self._stopped(request, scope["method"])
        visitor: Visitor | None = scope.get("visitor")
        with ExitStack() as looking:
            if visitor is not None and visitor.session is not None:
                looking.enter_context(self._access.looking(visitor.session))
                receive = _while_it_lasts(visitor.session, self._access.left(visitor.session), receive)
            await (answer or self._app)(scope, receive, _dressed(scope, send))

    def _stopped(self, request: HTTPConnection, method: str) -> Response | None:
        """Give the answer to a request that goes no further."""
        path: str = request.scope["path"]
        refusal = self._misdirected(request) or _foreign(request, method) or _unreadable(request.headers)
        if refusal is not None:
            return _refused(refusal)
        if path in OPEN or path.startswith(STATIC) or (path == SIGN_IN and method == "POST"):
            return None
        found = self._visitor(request, method)
        if isinstance(found, Visitor):
            request.scope["visitor"] = found
            return None
        if path == "/" and method in LOOKS and found.status == 401:  # noqa: PLR2004 - Unauthorized
            return RedirectResponse("/login", 303)
        return _refused(found)

    def _misdirected(self, request: HTTPConnection) -> Refusal | None:
        """Refuse a name that is not ours: a page elsewhere may have had its own name point here (DNS rebinding).

        An address is not a name, and cannot be made to point anywhere else.
        """
        given = request.headers.get("host", "")
        host = _host(given)
        if host is not None and (_is_address(host) or host == "localhost" or {host, given.lower()} & self._names):
            return None
        why = f"this is not {given[:80]!r}; if it is to be, add that name to web.hosts"
        return Refusal(421, why)

    def _visitor(self, request: HTTPConnection, method: str) -> Visitor | Refusal:
        address = "somewhere" if request.client is None else request.client.host
        if (given := request.headers.get("authorization")) is not None:
            kind, _, token = given.partition(" ")
            if kind.lower() == "bearer" and self._access.knows(token.strip()):
                return Visitor(f"web token, from {address}")
            return self.guessed(address)
        cookie = cookie_of(request.headers, self._cookie)
        session = None if cookie is None else self._access.session(cookie, address)
        if session is None:
            why = "the token is wanted, as Authorization: Bearer, or a session: see /login"
            return Refusal(401, why, {"WWW-Authenticate": 'Bearer realm="mrdaemon"'})
        if method not in LOOKS and not session.confirms(request.headers.get("x-csrf-token", "")):
            return Refusal(403, "X-CSRF-Token: wanted the word that was told when the session was opened")
        if method not in LOOKS and request.scope["path"] != SIGN_IN and not self._access.may_act(session):
            why = f"the token was entered more than {ACTS_FOR / 3600:.0f} hours ago; to act, it is wanted again"
            return Refusal(401, why, {"WWW-Authenticate": 'Bearer realm="mrdaemon"'})
        return Visitor(f"dashboard, from {address}", cookie, session)

    def guessed(self, address: str) -> Refusal:
        """Refuse a wrong token, and listen no more to who guesses on and on."""
        wait = self._access.wrong(address)
        if wait:
            return Refusal(429, "too many wrong tokens came from there; wait", {"Retry-After": str(int(wait) + 1)})
        why = "this is not the token; mrdaemon dashboard shows it"
        return Refusal(401, why, {"WWW-Authenticate": 'Bearer realm="mrdaemon", error="invalid_token"'})


def _foreign(request: HTTPConnection, method: str) -> Refusal | None:
    """Refuse what a page of another site makes a browser send."""
    headers = request.headers
    if method not in LOOKS and (origin := headers.get("origin")) is not None:
        ours = {f"{scheme}://{headers['host']}".lower() for scheme in ("http", "https")}
        if origin.lower() not in ours:
            return Refusal(403, f"this came from a page of {origin[:80]!r}, which may not act here")
    path: str = request.scope["path"]
    guarded = method not in LOOKS or path.startswith("/api/") or path == "/metrics"
    if guarded and headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        return Refusal(403, "this came from a page of another site, which may neither look nor act here")
    return None


def _unreadable(headers: Headers) -> Refusal | None:
    """Refuse a body that would not be read."""
    length, kind = headers.get("content-length", "0"), headers.get("content-type", "").partition(";")[0].strip().lower()
    if length.isascii() and length.isdigit() and int(length[:10]) > LARGEST_BODY:
        return Refusal(413, f"wanted at most {LARGEST_BODY:,} bytes")
    if (length != "0" or "transfer-encoding" in headers) and kind != JSON:
        return Refusal(415, f"Content-Type: wanted {JSON}, got {kind[:80]!r}")
    return None


def _host(given: str) -> str | None:
    """Give the host of a ``Host`` header without its port, in small letters; None where it is none."""
    if not given or not given.isascii() or any(each in given for each in "@/\\?# ,"):
        return None
    host, _, port = given.rpartition(":") if not given.endswith("]") else (given, "", "")
    if not host:
        host, port = given, ""
    if port and not port.isdigit():
        return None
    return host.lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def names_of(listen: str, hosts: Collection[str]) -> list[str]:
    """Give the names by which a dashboard may be asked for."""
    taken = place(listen)
    return [*hosts, *([] if taken is None else [taken.host])]


def cookie_of(headers: Headers, name: str) -> str | None:
    """Give our cookie, where there is one."""
    found = dict(each.strip().partition("=")[::2] for each in headers.get("cookie", "").split(";"))
    return found.get(f"__Host-{name}", found.get(name))


def _while_it_lasts(session: Session, seconds: float, receive: Receive) -> Receive:
    """Take whoever's session ends as gone: they are sent nothing more, and what they had begun to ask is not done."""
    ends = time.monotonic() + seconds

    async def received() -> Message:
        heard, over = asyncio.ensure_future(receive()), asyncio.ensure_future(session.over.wait())
        try:
            left = max(0.0, ends - time.monotonic())
            await asyncio.wait([heard, over], timeout=left, return_when=asyncio.FIRST_COMPLETED)
            return heard.result() if heard.done() and not session.over.is_set() else {"type": "http.disconnect"}
        finally:
            heard.cancel()
            over.cancel()

    return received


def _refused(refusal: Refusal) -> Response:
    return JSONResponse({"ok": False, "error": refusal.why}, refusal.status, headers=refusal.headers)


def _dressed(scope: Scope, send: Send) -> Send:
    """Put on every answer what keeps a browser from harm."""
    keeps = scope["path"].startswith(STATIC)

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SAFE.items():
                headers[name] = value
            if not keeps:
                headers["Cache-Control"] = "no-store"
        await send(message)

    return sent
