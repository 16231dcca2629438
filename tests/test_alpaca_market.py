"""Frames of the market data streams: every kind of message, to the nanosecond, and none lost for another's sake."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped] # comes with the official client, and has no types
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgpack import ExtType, Timestamp

from mrdaemon.alpaca.market import (
    Busted,
    ErrorMessage,
    Frame,
    Halt,
    SubscriptionMessage,
    SuccessMessage,
    read,
)
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.policy import PrintRules
from mrdaemon.core.prints import Quote, Trade, regular

AT = Instant(1_791_469_800_123_456_789)
"""2026-10-08T14:30:00.123456789Z."""
TRADE = {"T": "t", "S": "AAPL", "i": 628, "x": "K", "p": 162.92, "s": 3, "c": ["@", "F", "T", "I"], "z": "C"}
QUOTE = {"T": "q", "S": "AMD", "bx": "K", "bp": 91.95, "bs": 2, "ax": "Q", "ap": 91.98, "as": 1, "c": ["R"], "z": "C"}
ODD = {"T": "n", "S": "AAPL", "headline": "nobody asked for it"}


def stamp(at: int = AT) -> Timestamp:
    return Timestamp(at // SECOND, at % SECOND)


def frame(*messages: Any) -> Frame:
    return read(packed(*messages))


def packed(*messages: Any) -> bytes:
    raw: bytes = msgpack.packb([{"t": stamp(), **each} if isinstance(each, dict) else each for each in messages])
    return raw


# Prices


def test_a_trade_is_a_print_with_its_conditions_size_and_id() -> None:
    [(symbol, price, at, quote, trade)] = frame(TRADE).prints
    assert (symbol, price, at, quote) == ("AAPL", 162.92, AT, None)
    assert isinstance(trade, Trade)
    assert (trade.conditions, trade.size, trade.id) == (("@", "F", "T", "I"), 3.0, 628)


def test_a_quote_is_a_print_of_its_midpoint() -> None:
    [(symbol, price, at, quote, trade)] = frame(QUOTE).prints
    assert (symbol, price, at, trade) == ("AMD", (91.95 + 91.98) / 2, AT, None)
    assert isinstance(quote, Quote)
    assert (quote.bid, quote.ask) == (91.95, 91.98)


@pytest.mark.parametrize(("bid", "ask"), [(0, 91.98), (91.95, 0), (0, 0), (-1, 91.98), (91.95, -1)])
def test_a_quote_with_a_side_missing_has_no_price(bid: float, ask: float) -> None:
    [one] = frame({**QUOTE, "bp": bid, "ap": ask}).prints
    assert math.isnan(one[1])


@pytest.mark.parametrize("bid", [0, 91.95])
def test_a_quote_says_the_same_beside_an_odd_message(bid: float) -> None:
    quote = {**QUOTE, "bp": bid}
    [alone], [beside] = frame(quote).prints, frame(quote, ODD).prints
    assert math.isnan(alone[1]) is math.isnan(beside[1]) is not bid
    assert alone[2:] == beside[2:]


def test_crypto_has_neither_exchange_nor_conditions() -> None:
    trade = {"T": "t", "S": "BTC/USD", "p": 60000.5, "s": 0.0001, "i": 2**53, "tks": "B"}
    quote = {"T": "q", "S": "BTC/USD", "bp": 60000, "bs": 0.3, "ap": 60001, "as": 1.7}
    first, second = frame(trade, quote).prints
    assert isinstance(first[4], Trade)
    assert (first[4].conditions, first[4].size, first[4].id) == (None, 0.0001, 2**53)
    assert regular(first[4].conditions, PrintRules()) is None
    assert (first[1], second[1]) == (60000.5, 60000.5)


def test_prints_come_in_the_order_of_the_frame() -> None:
    names = [f"S{number}" for number in range(50)]
    messages = [{**(QUOTE if number % 3 else TRADE), "S": name} for number, name in enumerate(names)]
    assert [each[0] for each in frame(*messages).prints] == names


@pytest.mark.parametrize(
    ("at", "length"),
    [
        (1_791_469_800 * SECOND, 4),
        (1_791_469_800 * SECOND + 1, 8),
        (1_791_469_800 * SECOND + 999_999_999, 8),
        (2**34 * SECOND + 5, 12),
    ],
)
@pytest.mark.parametrize("message", [TRADE, QUOTE])
def test_a_time_is_exact_in_each_length(message: dict[str, Any], at: int, length: int) -> None:
    assert len(stamp(at).to_bytes()) == length
    assert frame({**message, "t": stamp(at)}).prints[0][2] == at
    assert frame({**message, "t": stamp(at)}, ODD).prints[0][2] == at


# Conditions


def conditions(message: dict[str, Any]) -> Sequence[str] | None:
    [(*_, trade)] = frame(message).prints
    assert isinstance(trade, Trade)
    return trade.conditions


@pytest.mark.parametrize("codes", [["@", " ", "F"], [], None])
def test_conditions_of_one_character_are_those_of_a_regular_sale(codes: list[str] | None) -> None:
    assert regular(conditions({**TRADE, "c": codes}), PrintRules()) is None


@pytest.mark.parametrize(
    "codes", [["@", "FT"], ["@F"], ["", "@F"], [""], ["@", ""], ["@@"], ["", "", "@@@"], [PrintRules().regular]]
)
def test_a_condition_that_is_no_single_character_never_counts_as_a_regular_sale(codes: list[str]) -> None:
    odd = next(code for code in codes if len(code) != 1)
    assert regular(conditions({**TRADE, "c": codes}), PrintRules()) == odd
    assert regular(conditions({**TRADE, "c": codes}), PrintRules(extended_hours=True)) == odd


# Halts


@pytest.mark.parametrize("code", ["4", "6", "7", "8", "9", "A", "C", "D", "E", "F", "M", ""])
def test_a_status_of_a_symbol_that_goes_on_trading_is_no_news(code: str) -> None:
    status = {"T": "s", "S": "KO", "sc": code, "sm": "Short Sale Restriction", "rc": "", "rm": "", "z": "A"}
    assert list(frame(status).news) == []


@pytest.mark.parametrize(
    ("code", "halted"), [("T", False), ("3", False), ("H", True), ("P", True), ("Q", True), ("2", True), ("5", True)]
)
def test_a_status_says_that_a_symbol_is_halted_or_trades(code: str, halted: bool) -> None:
    status = {"T": "s", "S": "AAPL", "sc": code, "sm": "Trading Halt", "rc": "T12", "rm": "Information", "z": "C"}
    [news] = frame(status).news
    assert isinstance(news, Halt)
    assert (news.symbol, news.at) == ("AAPL", AT)
    assert (news.reason is not None) is halted


def test_a_halt_says_why() -> None:
    status = {"T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rc": "T12", "rm": "More Information Wanted"}
    assert frame(status).news == [Halt("AAPL", "Trading Halt, More Information Wanted, T12", AT)]


def test_a_halt_without_words_says_its_code() -> None:
    assert frame({"T": "s", "S": "AAPL", "sc": "H"}).news == [Halt("AAPL", "status H", AT)]


# Trades that were otherwise


def test_a_correction_gives_the_wrong_trade_and_the_right_one() -> None:
    sent = {
        "T": "c",
        "S": "AAPL",
        "oi": 1,
        "op": 99.0,
        "os": 5,
        "oc": ["@"],
        "ci": 2,
        "cp": 100.0,
        "cs": 7,
        "cc": ["I"],
    }
    right = ("AAPL", 100.0, AT, None, Trade(("I",), 7.0, 2))
    assert frame(sent).news == [Busted("AAPL", 1, 99.0, AT, right)]


def test_a_cancel_gives_the_trade_that_never_was() -> None:
    sent = {"T": "x", "S": "AAPL", "i": 628, "x": "K", "p": 162.92, "s": 3, "a": "C"}
    assert frame(sent).news == [Busted("AAPL", 628, 162.92, AT, None)]


# What is said beside prices


def test_controls_are_read() -> None:
    sent = [
        {"T": "success", "msg": "connected"},
        {"T": "error", "code": 406, "msg": "connection limit exceeded"},
        {"T": "subscription", "trades": ["AAPL"], "quotes": [], "statuses": ["AAPL"], "corrections": ["AAPL"]},
    ]
    hello, error, subscribed = frame(*sent).controls
    assert isinstance(hello, SuccessMessage)
    assert hello.msg == "connected"
    assert isinstance(error, ErrorMessage)
    assert (error.code, error.msg) == (406, "connection limit exceeded")
    assert isinstance(subscribed, SubscriptionMessage)
    assert (subscribed.trades, subscribed.quotes) == (["AAPL"], [])


@pytest.mark.parametrize("kind", ["b", "u", "d", "o", "l"])
def test_what_nobody_asked_for_is_no_price_and_not_odd(kind: str) -> None:
    seen = frame({"T": kind, "S": "AAPL", "o": 1, "c": 2}, TRADE)
    assert seen.prints == frame(TRADE).prints
    assert (len(seen.news), len(seen.controls), len(seen.odd)) == (0, 0, 0)


def test_an_empty_frame_says_nothing() -> None:
    assert read(packed()) == Frame([], (), (), ())


# Odd messages


@pytest.mark.parametrize(
    "odd",
    [
        ODD,
        {"S": "AAPL", "p": 1.0},
        {"T": 5},
        {"T": None},
        {**TRADE, "p": "162.92"},
        {**TRADE, "p": None},
        {**TRADE, "S": None},
        {**TRADE, "t": "2026-10-08T14:30:00Z"},
        {**TRADE, "t": 5},
        {**TRADE, "t": ExtType(7, b"abc")},
        {**TRADE, "t": ExtType(7, b"1234")},
        {**TRADE, "t": Timestamp(10**12)},  # the year 33658
        {**TRADE, "c": "@"},
        {**TRADE, "i": "628"},
        {**QUOTE, "bp": None},
        {**QUOTE, "t": ExtType(7, b"abc")},
        {"T": "s", "S": "AAPL", "sc": "H", "t": ExtType(7, b"abc")},
        {"T": "s", "S": "AAPL"},
        {"T": "x", "S": "AAPL", "i": 1, "p": 1.0, "t": ExtType(7, b"abc")},
        {"T": "c", "S": "AAPL"},
        "no message",
        7,
        None,
        [TRADE],
        {},
    ],
)
def test_an_odd_message_is_told_and_takes_no_neighbour_along(odd: Any) -> None:
    halt = {"T": "s", "S": "AAPL", "sc": "H"}
    seen = frame(TRADE, odd, QUOTE, halt, {"T": "error", "code": 500})
    assert [each[0] for each in seen.prints] == ["AAPL", "AMD"]
    assert len(seen.news) == len(seen.controls) == len(seen.odd) == 1


def test_a_broken_text_takes_no_neighbour_along() -> None:
    broken = packed({**TRADE, "S": "NAME"}).replace(b"NAME", b"\xff\xfe\xff\xfe")
    raw = packed(QUOTE)[:1].replace(b"\x91", b"\x92") + packed(QUOTE)[1:] + broken[1:]
    seen = read(raw)
    assert [each[0] for each in seen.prints] == ["AMD"]
    assert len(seen.odd) == 1


def test_a_message_of_many_fields_is_told_shortly() -> None:
    [told] = frame({**ODD, "body": "x" * 100_000}).odd
    assert len(told) < 400


@pytest.mark.parametrize("raw", [b"", b"\xc1", packed(TRADE)[:-1], msgpack.packb(TRADE), b"\x91", b"[]"])
def test_what_is_no_array_is_an_error(raw: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, ValueError)):
        read(raw)


# Any frame

PRICES = st.floats(0.0001, 1e6) | st.integers(1, 10**6)
TIMES = st.integers(0, 2**35 * SECOND)
SYMBOLS = st.from_regex(r"[A-Z]{1,5}(\.[A-Z]|/USD)?", fullmatch=True)
TRADES = st.fixed_dictionaries(
    {"T": st.just("t"), "S": SYMBOLS, "i": st.integers(0, 2**63), "p": PRICES, "s": PRICES, "t": TIMES},
    optional={"c": st.lists(st.sampled_from("@ FTIXO"), max_size=4), "x": st.just("K"), "z": st.just("C")},
)
QUOTES = st.fixed_dictionaries({"T": st.just("q"), "S": SYMBOLS, "bp": PRICES, "ap": PRICES, "t": TIMES})
ODDS = st.sampled_from([ODD, {"T": "t", "S": "AAPL"}, 7, {**TRADE, "t": ExtType(3, b"x")}])


@given(st.lists(TRADES | QUOTES | ODDS, max_size=15))
def test_no_message_of_a_frame_is_lost(messages: list[Any]) -> None:
    sound = [each for each in messages if isinstance(each, dict) and isinstance(each.get("t"), int)]
    sent = [{**each, "t": stamp(each["t"])} if each in sound else each for each in messages]
    seen = read(msgpack.packb(sent))
    assert [each[0] for each in seen.prints] == [each["S"] for each in sound]
    assert [each[2] for each in seen.prints] == [each["t"] for each in sound]
    assert [each[1] for each in seen.prints] == [
        each["p"] if each["T"] == "t" else (each["bp"] + each["ap"]) / 2 for each in sound
    ]
    assert len(seen.odd) == len(messages) - len(sound)
