"""What goes wrong with REST requests: answers without an act, and acts without their answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from mrdaemon.core.instant import SECOND
from mrdaemon.simulator.faults import FaultName, Place
from mrdaemon.simulator.refusals import TOO_MANY
from mrdaemon.simulator.rest import REQUESTS_A_MINUTE, Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from mrdaemon.core.instant import Instant
    from mrdaemon.simulator.faults import Faults

HUNG_UP: Final = 0
"""The status of an answer that is none: the connection is to be reset."""
WAIT: Final = "x-simulator-wait"
"""A header for whoever delivers the answer, and not for the client: so many seconds later."""

_HTML: Final = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>502 Bad Gateway</body>\r\n</html>\r\n"


class RestMishaps:
    """Applies the faults in force to REST. Headers are named as REST names them, to replace its own."""

    def __init__(self, faults: Faults, now: Callable[[], Instant]) -> None:
        self._faults = faults
        self._now = now

    def before(self, request: Request) -> Answer | None:
        """Give an answer instead of acting on the request, or None to act on it."""
        place = _place(request)
        if self._faults.strike(FaultName.RATE_LIMIT, place):
            return self._limited()
        if self._faults.strike(FaultName.SERVER_ERROR, place):
            return _said(500, 50010000, "internal server error occurred")
        if self._faults.strike(FaultName.TURNED_AWAY, place):
            return _said(503, None, "service unavailable")
        return None

    def after(self, request: Request, answer: Answer) -> Answer:
        """Give what the client gets to see of the answer, now that the request was acted on."""
        place = _place(request)
        if self._faults.strike(FaultName.TIMED_OUT, place):
            return _said(504, None, "gateway timeout")
        if self._faults.strike(FaultName.HANG_UP, place):
            return Answer(HUNG_UP, b"", {})
        if self._faults.strike(FaultName.GIBBERISH, place):
            return Answer(502, _HTML, {"content-type": "text/html"})
        if fault := self._faults.strike(FaultName.SLOW_ANSWER, place):
            return answer._replace(headers={**answer.headers, WAIT: str(fault.seconds)})
        return answer

    def _limited(self) -> Answer:
        reset = self._now() // SECOND + 60
        answer = _said(429, TOO_MANY, "too many requests.")
        limits = {
            "X-RateLimit-Limit": str(REQUESTS_A_MINUTE),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(reset),
        }
        return answer._replace(headers={**answer.headers, **limits})


def _place(request: Request) -> Place:
    return Place(method=request.method, path=request.path)


def _said(status: int, code: int | None, message: str) -> Answer:
    body = {"message": message} if code is None else {"code": code, "message": message}
    return Answer(status, json.dumps(body, separators=(",", ":")).encode(), {"content-type": "application/json"})
