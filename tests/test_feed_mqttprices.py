"""What a message on a price's topic says, digit by digit, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mrdaemon.core.instant import SECOND, Instant, from_datetime
from mrdaemon.core.prints import Print, Quote, price_of, quote_print, trade_print
from mrdaemon.core.sessions import EARLIEST, LATEST
from mrdaemon.feeds.mqttprices import LARGEST_MESSAGE, Problem, Report, UnusableError, read

NOW = Instant(1_791_469_800 * SECOND)
"""2026-10-08T14:30:00Z."""
EARLIER = Instant(NOW - 5 * SECOND)


def report(payload: str | bytes, *, retained: bool = False) -> Report:
    return read("QQQ", payload.encode() if isinstance(payload, str) else payload, NOW, retained=retained)


def seen(payload: str | bytes) -> Print:
    return report(payload).seen


def problem(payload: str | bytes, *, retained: bool = False) -> Problem:
    with pytest.raises(UnusableError) as caught:
        report(payload, retained=retained)
    assert str(caught.value)
    return caught.value.problem


# A bare number


@pytest.mark.parametrize(
    "payload", ["401.25", " 401.25\n", "401.250", "0401.25", "4.0125e2", "40125E-2", "401.2500000000000000000000000"]
)
def test_a_bare_number_is_a_price_at_the_time_it_arrives(payload: str) -> None:
    assert report(payload) == Report(trade_print("QQQ", 401.25, NOW), dated=False)


@pytest.mark.parametrize("text", ["0.1", "400.30", "68123.45", "0.00001234", "123456.789012345", "400.30000000000007"])
def test_a_price_is_the_exact_decimal_that_was_sent(text: str) -> None:
    for payload in (text, f'{{"price": {text}}}', f'{{"price": "{text}"}}'):
        assert price_of(seen(payload)) == Decimal(text)


@pytest.mark.parametrize("text", ["400.10000000000002273737", "400.30000000000000001", "123456.7890123456789"])
def test_a_price_of_more_digits_than_are_kept_is_refused_and_not_rounded(text: str) -> None:
    assert problem(text) is Problem.PRICE
    assert problem(f'{{"price": {text}}}') is Problem.PRICE


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("", Problem.EMPTY),
        (" \n", Problem.EMPTY),
        ("0", Problem.PRICE),
        ("0.00", Problem.PRICE),
        ("-400.25", Problem.PRICE),
        ("NaN", Problem.TEXT),
        ("Infinity", Problem.TEXT),
        ("-inf", Problem.TEXT),
        ("1e400", Problem.PRICE),
        ("1e-400", Problem.PRICE),
        ("1e999999999", Problem.TEXT),
        ("100000000000", Problem.PRICE),
        ("9" * 5000, Problem.SIZE),
        ("9" * 100, Problem.TEXT),
        ("400,25", Problem.TEXT),
        ("1,400.25", Problem.TEXT),
        ("$400.25", Problem.TEXT),
        ("400.25 USD", Problem.TEXT),
        ("1_000", Problem.TEXT),
        ("0x190", Problem.TEXT),
        (".5", Problem.TEXT),
        ("400.", Problem.TEXT),
        ("٤٠٠", Problem.TEXT),
        ("unavailable", Problem.TEXT),
        (b"\xff\xfe4\x000\x000\x00", Problem.TEXT),
        (b"\x00", Problem.TEXT),
        ("[400.25]", Problem.TEXT),
        ('"400.25"', Problem.TEXT),
        ("true", Problem.TEXT),
        ("null", Problem.TEXT),
    ],
)
def test_what_is_no_price_is_refused(payload: str | bytes, expected: Problem) -> None:
    assert problem(payload) is expected


# JSON


def test_json_may_have_a_price_and_a_time() -> None:
    assert report('{"price": 401.25, "time": "2026-10-08T14:29:55Z"}') == Report(
        trade_print("QQQ", 401.25, EARLIER), dated=True
    )


def test_a_price_with_bid_and_ask_is_a_trade_with_the_quote_in_force() -> None:
    assert seen('{"price": 401.25, "bid": 401.2, "ask": "401.3"}') == trade_print(
        "QQQ", 401.25, NOW, quote=Quote(401.2, 401.3)
    )


def test_bid_and_ask_without_a_price_are_a_quote() -> None:
    assert seen('{"bid": 401.2, "ask": 401.3, "time": 1791469795}') == quote_print("QQQ", 401.2, 401.3, EARLIER)


@pytest.mark.parametrize("payload", ['{"bid": 401.2, "price": 401.25}', '{"price": 401.25, "ask": null}'])
def test_half_a_quote_beside_a_price_says_nothing(payload: str) -> None:
    assert seen(payload) == trade_print("QQQ", 401.25, NOW)


def test_other_fields_are_of_no_interest() -> None:
    assert seen('{"symbol": "X", "price": 401.25, "volume": {"day": [1, 2]}}') == trade_print("QQQ", 401.25, NOW)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("{}", Problem.PRICE),
        ('{"last": 400.25}', Problem.PRICE),
        ('{"price": null}', Problem.PRICE),
        ('{"bid": 400.2}', Problem.PRICE),
        ('{"bid": 400.2, "ask": 0}', Problem.PRICE),
        ('{"price": ""}', Problem.PRICE),
        ('{"price": true}', Problem.PRICE),
        ('{"price": [400.25]}', Problem.PRICE),
        ('{"price": {"usd": 400.25}}', Problem.PRICE),
        ('{"price": 0}', Problem.PRICE),
        ('{"price": -1}', Problem.PRICE),
        ('{"price": 1e400}', Problem.PRICE),
        ('{"price": "NaN"}', Problem.PRICE),
        ('{"price": NaN}', Problem.TEXT),
        ('{"price": Infinity}', Problem.TEXT),
        ('{"price": 400.25', Problem.TEXT),
        ('{"price": 400.25} 1', Problem.TEXT),
        ("{'price': 400.25}", Problem.TEXT),
        (b'{"price": "\xff"}', Problem.PRICE),
        ('{"price": 400.25, "bid": -1, "ask": 401}', Problem.QUOTE),
        ('{"price": 400.25, "bid": "x", "ask": 401}', Problem.QUOTE),
    ],
)
def test_json_that_gives_no_price_is_refused(payload: str | bytes, expected: Problem) -> None:
    assert problem(payload) is expected


@pytest.mark.parametrize("field", ["a", "price"])
def test_json_that_is_nested_deeply_is_refused_however_deep_python_follows(field: str) -> None:
    deep = "[" * 2000 + "]" * 2000
    assert problem(f'{{"{field}": {deep}}}') in {Problem.TEXT, Problem.PRICE}


# Times


@pytest.mark.parametrize(
    "time",
    [
        '"2026-10-08T14:29:55Z"',
        '"2026-10-08 14:29:55z"',
        '"2026-10-08T10:29:55-04:00"',
        '"2026-10-08T14:29:55.000000000+00:00"',
        "1791469795",
        "1791469795.0",
        '"1791469795"',
        "1791469795000",
        "1791469795000000",
        "1791469795000000000",
    ],
)
def test_a_time_is_rfc_3339_or_counts_from_1970(time: str) -> None:
    assert seen(f'{{"price": 400.25, "time": {time}}}')[2] == EARLIER


def test_a_time_is_exact_to_the_nanosecond() -> None:
    assert seen('{"price": 1, "time": "2026-10-08T14:29:55.123456789Z"}')[2] == EARLIER + 123_456_789
    assert seen('{"price": 1, "time": 1791469795.123456789}')[2] == EARLIER + 123_456_789


@pytest.mark.parametrize(
    "time",
    [
        '"2026-10-08T14:29:55"',
        '"2026-10-08"',
        '"14:29:55Z"',
        '"2026-13-08T14:29:55Z"',
        '"2026-10-08T25:29:55Z"',
        '"2026-10-08T14:29:55+99:99"',
        '"0001-01-01T00:00:00+23:59"',
        '"9999-12-31T23:59:59-23:59"',
        '"now"',
        '""',
        "5",
        "-1791469795",
        "1e300",
        "99999999999999999999",
        "[1791469795]",
        "true",
    ],
)
def test_a_time_that_could_mean_two_things_or_none_is_refused(time: str) -> None:
    assert problem(f'{{"price": 400.25, "time": {time}}}') is Problem.TIME


def test_a_time_of_null_is_none() -> None:
    assert not report('{"price": 400.25, "time": null}').dated


# Retained


@pytest.mark.parametrize("payload", ["401.25", '{"price": 401.25}', '{"bid": 401.2, "ask": 401.3, "time": null}'])
def test_a_retained_message_without_a_time_is_not_taken_for_a_fresh_one(payload: str) -> None:
    assert problem(payload, retained=True) is Problem.RETAINED


def test_a_retained_message_with_a_time_is_as_old_as_it_says() -> None:
    assert report('{"price": 401.25, "time": 1791469795}', retained=True).seen[2] == EARLIER


# Anything

at_any_pace = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that is busy with other tests is no failure."""


def check(payload: bytes, *, retained: bool) -> None:
    """See that a message is read or refused with words, and that what is read can be used."""
    found, said = None, ""
    try:
        found = report(payload, retained=retained)
    except UnusableError as refused:
        said = str(refused)
    if found is None:
        assert 0 < len(said) < 500
        return
    symbol, price, at, _, _ = found.seen
    assert symbol == "QQQ"
    assert price > 0
    assert EARLIEST <= at <= LATEST
    assert found.dated or (at == NOW and not retained)


@at_any_pace
@given(st.binary(max_size=LARGEST_MESSAGE + 10), st.booleans())
@example(b"{" * LARGEST_MESSAGE, False)
def test_no_bytes_break_the_reading(payload: bytes, retained: bool) -> None:
    check(payload, retained=retained)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["401.25", "1791469795"]),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=4,
)


@at_any_pace
@given(st.dictionaries(st.sampled_from(["price", "bid", "ask", "time", "size"]), VALUES), st.booleans())
def test_no_json_breaks_the_reading(fields: dict[str, object], retained: bool) -> None:
    check(json.dumps(fields).encode(), retained=retained)


@at_any_pace
@given(st.decimals(min_value=Decimal("0.0001"), max_value=Decimal(999_999), places=4))
def test_every_ordinary_price_is_kept_to_the_digit(price: Decimal) -> None:
    assert price_of(seen(f"{price:f}")) == price
    assert price_of(seen(f'{{"price": {price:f}}}')) == price


@at_any_pace
@given(st.floats(min_value=0.0001, max_value=999_999))
def test_every_price_that_a_program_prints_is_kept_to_the_digit(price: float) -> None:
    assert price_of(seen(repr(price))) == Decimal(repr(price))


@at_any_pace
@given(st.datetimes(min_value=datetime(1971, 1, 2), max_value=datetime(2199, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds are naive
def test_every_time_that_a_program_prints_is_kept(moment: datetime) -> None:
    assert seen(json.dumps({"price": 1, "time": moment.isoformat()}))[2] == from_datetime(moment)
