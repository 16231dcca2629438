"""What an answer means: definite, ambiguous, or none; the table of outcomes, row by row."""

from __future__ import annotations

import json

import msgspec
import pytest

from mrdaemon.alpaca.answers import (
    AlpacaError,
    DeniedError,
    LimitedError,
    MissingError,
    RejectedError,
    Reply,
    UnansweredError,
    understood,
)


class Thing(msgspec.Struct):
    id: str


CODED = b'{"code":40310000,"message":"insufficient buying power"}'
WORDS = b'{"message":"forbidden."}'
HTML = b"<html><head><title>502 Bad Gateway</title></head></html>"
FOREIGN = (HTML, b"", b"null", b"[]", b"{}", b'"no"', b'{"code":"x","message":5}', b"\xff\xfe", b'{"message":')


def verdict(status: int, body: bytes, headers: dict[str, str] | None = None) -> AlpacaError:
    with pytest.raises(AlpacaError) as caught:
        understood(Reply(status, headers or {}, body), Thing)
    return caught.value


# Definite


@pytest.mark.parametrize("status", [200, 201, 207, 299])
def test_a_success_is_what_was_asked_for(status: int) -> None:
    assert understood(Reply(status, {}, b'{"id":"1","more":[]}'), Thing) == Thing("1")


@pytest.mark.parametrize("body", [b"", b"anything", HTML])
def test_where_nothing_is_wanted_a_success_needs_no_body(body: bytes) -> None:
    understood(Reply(204, {}, body), type(None))


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_refusal_with_a_code_is_definite(status: int) -> None:
    no = verdict(status, CODED)
    assert type(no) is RejectedError
    assert (no.status, no.code, no.message) == (status, 40310000, "insufficient buying power")
    assert str(no) == "insufficient buying power (40310000)"


def test_a_refusal_may_say_more_than_code_and_message() -> None:
    body = b'{"code":40310000,"message":"insufficient qty available","available":"1","held_for_orders":"2"}'
    assert type(verdict(403, body)) is RejectedError


def test_what_is_not_there_is_missing_for_sure() -> None:
    no = verdict(404, b'{"code":40410000,"message":"order not found for x"}')
    assert type(no) is MissingError
    assert no.code == 40410000


# The keys


@pytest.mark.parametrize("body", [CODED, WORDS, b'{"code":40110000,"message":"request is not authorized"}', *FOREIGN])
def test_unauthorized_is_of_the_keys_whatever_the_body(body: bytes) -> None:
    assert type(verdict(401, body)) is DeniedError


def test_forbidden_without_a_code_is_of_the_keys() -> None:
    no = verdict(403, WORDS)
    assert type(no) is DeniedError
    assert str(no) == "HTTP 403: forbidden."


def test_forbidden_with_the_code_of_the_keys_is_of_the_keys() -> None:
    assert type(verdict(403, b'{"code":40110000,"message":"request is not authorized"}')) is DeniedError


# Not looked at


@pytest.mark.parametrize("body", [b'{"code":42910000,"message":"rate limit exceeded"}', *FOREIGN])
def test_too_many_requests_were_not_looked_at_whatever_the_body(body: bytes) -> None:
    assert type(verdict(429, body)) is LimitedError


@pytest.mark.parametrize(
    ("headers", "reset"),
    [
        ({"x-ratelimit-reset": "1791469860"}, 1791469860.0),
        ({}, None),
        ({"x-ratelimit-reset": ""}, None),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-reset": "nan"}, None),
        ({"x-ratelimit-reset": "inf"}, None),
    ],
)
def test_the_rate_limit_says_when_the_next_may_come(headers: dict[str, str], reset: float | None) -> None:
    limited = verdict(429, b"", headers)
    assert isinstance(limited, LimitedError)
    assert limited.reset == reset


# Ambiguous


@pytest.mark.parametrize("status", [408, 500, 501, 502, 503, 504, 599])
@pytest.mark.parametrize("body", [CODED, WORDS, *FOREIGN])
def test_a_server_that_failed_may_have_acted(status: int, body: bytes) -> None:
    assert type(verdict(status, body)) is UnansweredError


@pytest.mark.parametrize("status", [400, 403, 404, 422])
@pytest.mark.parametrize("body", FOREIGN)
def test_a_refusal_that_is_not_alpacas_says_nothing(status: int, body: bytes) -> None:
    assert type(verdict(status, body)) is UnansweredError


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_without_a_code_says_nothing(status: int) -> None:
    assert type(verdict(status, WORDS)) is UnansweredError


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("body", [*FOREIGN, b'{"id":1}', b'{"id":"1"', CODED])
def test_a_success_that_is_not_alpacas_says_nothing(status: int, body: bytes) -> None:
    assert type(verdict(status, body)) is UnansweredError


@pytest.mark.parametrize("status", [100, 301, 302, 307, 402, 405, 409, 410, 413, 418])
@pytest.mark.parametrize("body", [CODED, WORDS, HTML, b""])
def test_any_other_status_says_nothing(status: int, body: bytes) -> None:
    assert type(verdict(status, body)) is UnansweredError


# Words


def test_a_message_says_the_status_and_what_was_said() -> None:
    assert str(verdict(500, b'{"code":50010000,"message":"internal server error occurred"}')) == (
        "HTTP 500: internal server error occurred"
    )
    assert str(verdict(503, b"")) == "HTTP 503: no body"


@pytest.mark.parametrize("body", [b"x" * 5_000_000, json.dumps({"message": "x" * 5_000_000}).encode()])
@pytest.mark.parametrize("status", [200, 401, 403, 404, 429, 502])
def test_of_a_huge_body_little_is_repeated(status: int, body: bytes) -> None:
    assert len(str(verdict(status, body))) < 400


def test_of_a_huge_refusal_little_is_repeated() -> None:
    body = json.dumps({"code": 40310000, "message": "x" * 5_000_000}).encode()
    assert len(str(verdict(403, body))) < 400
