"""What an answer of Alpaca's REST service means: definite, ambiguous, or none.

Definite are 2xx, and 400, 403, 404 and 422 with Alpaca's JSON code. Ambiguous is everything that does not come from its
order system for sure: a time-out, 408, 5xx, a cut socket, a body that is not Alpaca's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

UNAUTHORIZED_CODE: Final = 40110000
_DEFINITE: Final = frozenset({400, 403, 404, 422})
_ACCESS: Final = frozenset({401, 403})
_SHOWN: Final = 200
"""Characters that a message repeats of what was said."""


class Reply(NamedTuple):
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class AlpacaError(Exception):
    """An answer that is not the one that was wanted; the message says what it was."""


class RejectedError(AlpacaError):
    """A definite no, with Alpaca's code and words."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.status, self.code, self.message = status, code, message


class MissingError(RejectedError):
    """What was asked for does not exist, for sure."""


class DeniedError(AlpacaError):
    """The keys are not accepted."""


class LimitedError(AlpacaError):
    """Too many requests: this one was not looked at."""

    def __init__(self, message: str, reset: float | None) -> None:
        super().__init__(message)
        self.reset = reset
        """When the next will be, in seconds since 1970."""


class UnansweredError(AlpacaError):
    """Nobody knows whether the request was acted upon."""


class _Problem(msgspec.Struct):
    """The body of a refusal."""

    code: int
    message: str


def understood(reply: Reply, wanted: type[T]) -> T:
    """Read an answer.

    Raises:
        RejectedError, MissingError: a definite no.
        DeniedError: the keys are not accepted.
        LimitedError: too many requests.
        UnansweredError: it says nothing definite.
    """
    status = reply.status
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP's range of success
        return _body(reply, wanted)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise LimitedError(_words(reply), _number(reply.headers.get("x-ratelimit-reset")))
    problem = _problem(reply)
    if status == HTTPStatus.UNAUTHORIZED or (problem is not None and problem.code == UNAUTHORIZED_CODE):
        raise DeniedError(_words(reply))
    if problem is None:
        if status in _ACCESS and _message(reply) is not None:
            raise DeniedError(_words(reply))
        raise UnansweredError(_words(reply))
    if status == HTTPStatus.NOT_FOUND:
        raise MissingError(status, problem.code, problem.message[:_SHOWN])
    if status in _DEFINITE:
        raise RejectedError(status, problem.code, problem.message[:_SHOWN])
    raise UnansweredError(_words(reply))


def _body(reply: Reply, wanted: type[T]) -> T:
    if wanted is type(None):
        return None
    try:
        return msgspec.json.decode(reply.body, type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"the body of status {reply.status} is not Alpaca's: {error}"
        raise UnansweredError(message) from error


def _problem(reply: Reply) -> _Problem | None:
    try:
        return msgspec.json.decode(reply.body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class _Message(msgspec.Struct):
    """The body of a refusal that has no code: of the keys, or of the gateway before the service."""

    message: str


def _message(reply: Reply) -> str | None:
    try:
        return msgspec.json.decode(reply.body, type=_Message).message[:_SHOWN]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _words(reply: Reply) -> str:
    said = _message(reply) or reply.body[:_SHOWN].decode(errors="replace").strip() or "no body"
    return f"HTTP {reply.status}: {said}"


def _number(text: str | None) -> float | None:
    try:
        number = math.nan if text is None else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
