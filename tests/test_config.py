"""Reading a configuration: every problem at once, each with its place; never a crash, never a value that is ignored."""

from __future__ import annotations

import errno
import json
import os
import re
import string
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mrdaemon import cli
from mrdaemon.config import Config, read
from mrdaemon.core.policy import Mode
from mrdaemon.findings import ConfigError
from mrdaemon.planning import plan

PROBLEM = re.compile(r"^.+?: .+?: .+ \(got .+\)$")

GOOD = """
[feed]
kind = "file"
files = ["QQQ.csv"]
[prices]
[accounts.paper]
broker = "paper"
[portfolios.core]
account = "paper"
reserve = "5000"
[portfolios.core.positions.QQQ]
target = "5000"
shares = "50"
"""
POSITION = "portfolios.core.positions.QQQ"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "QQQ.csv").touch()
    return tmp_path


Reads = Callable[..., Config]
Problems = Callable[..., list[str]]


@pytest.fixture
def reads(folder: Path) -> Reads:
    """Read a configuration with each old text replaced by a new one, in a given environment."""

    def read_changed(*changes: tuple[str, str], **environment: str) -> Config:
        text = GOOD
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (folder / "my.toml").write_text(text, encoding="utf-8")
        return read(folder / "my.toml", environment)

    return read_changed


@pytest.fixture
def problems(reads: Reads, folder: Path) -> Problems:
    """Give the problems of such a configuration, without the folder's name."""

    def problems_of(*changes: tuple[str, str], **environment: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            reads(*changes, **environment)
        assert all(PROBLEM.match(each) for each in caught.value.problems)
        return [each.replace(f"{folder}{os.sep}", "") for each in caught.value.problems]

    return problems_of


def raw_problems(folder: Path, content: bytes) -> list[str]:
    (folder / "my.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(folder / "my.toml", {})
    assert all(PROBLEM.match(each) for each in caught.value.problems)
    return [each.replace(f"{folder}{os.sep}", "") for each in caught.value.problems]


# The file


def test_a_good_configuration_is_read(reads: Reads) -> None:
    position = reads().settings.portfolios["core"].positions["QQQ"]
    assert (position.target, position.shares) == (Decimal(5000), Decimal(50))


def test_a_mark_at_the_beginning_and_windows_line_ends_do_no_harm(folder: Path) -> None:
    (folder / "my.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert read(folder / "my.toml", {}).settings.portfolios


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: file: wanted .* \(got No such file or directory\)$"):
        read(tmp_path / "no.toml", {})


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r": file: wanted .* \(got Is a directory\)$"):
        read(tmp_path, {})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"seed = one", r'my.toml: line 1, column 8: not TOML: Invalid value (got "seed = one")'),
        (b"\nseed = 'a'\nseed = 'b'\n", "my.toml: line 3, column 11: not TOML: Cannot overwrite a value"),
        (b"seed = 'a'\n\xff", "my.toml: line 2: wanted UTF-8 (got the byte 0xff)"),
        (b"seed = [", "my.toml: syntax: not TOML: Invalid value (at end of document) (got the end of the file)"),
        (b"a = " + b"[" * 50_000, "my.toml: file: wanted TOML that a person could read (got brackets"),
        (b"a = " + b"9" * 5000, "my.toml: syntax: not TOML: Exceeds the limit"),
        (b"a = 2020-13-45", "my.toml: line 1, column"),
        (b"#" * 5_000_000, "my.toml: file: wanted a TOML file of at most 4,000,000 bytes (got more)"),
    ],
    ids=["syntax", "a key twice", "not UTF-8", "broken off", "deep", "long", "no date", "large"],
)
def test_a_file_that_is_no_toml_is_told_with_the_place(folder: Path, content: bytes, told: str) -> None:
    [problem] = raw_problems(folder, content)
    assert problem.startswith(told)


def test_a_line_that_may_hold_a_secret_is_not_shown(folder: Path) -> None:
    [problem] = raw_problems(folder, b"secret_key = hunter2")
    assert "hunter2" not in problem


def test_thousands_of_nested_tables_do_no_harm(folder: Path) -> None:
    told = raw_problems(folder, GOOD.encode() + b"[" + b".".join([b"a"] * 5000) + b"]\n")
    assert told == ["my.toml: a: there is no such setting (got a table of a)"]


def test_an_empty_file_lacks_its_tables_and_nothing_else(folder: Path) -> None:
    assert raw_problems(folder, b"") == [
        f"my.toml: {key}: this is required (got nothing)" for key in ("accounts", "feed", "portfolios")
    ]


# One wrong value: one problem

TARGET = 'target = "5000"'
RESERVE = 'reserve = "5000"'
SHARES = 'shares = "50"'
WRONG = [
    (TARGET, "target = 5000", f'{POSITION}.target: wanted dollars such as "5000" or "$5,000.00", in quotes so that'),
    (TARGET, "target = 5000.5", "(got 5000.5)"),
    (TARGET, "target = nan", "(got nan)"),
    (TARGET, "target = -inf", "(got -inf)"),
    (TARGET, "target = true", "in quotes (got true)"),
    (TARGET, "target = 2020-01-01", "in quotes (got 2020-01-01)"),
    (TARGET, "target = {}", "(got an empty table)"),
    (TARGET, "target = { dollars = 5 }", "(got a table of dollars)"),
    (TARGET, "target = ['5000']", '(got ["5000"])'),
    (TARGET, "target = [[1], [2]]", "(got a list of lists or tables)"),
    (TARGET, f"target = 0x{'f' * 9000}", "(got a number that is far too large)"),
    (TARGET, 'target = ""', '(got "")'),
    (TARGET, 'target = "5%"', 'wanted dollars such as "5000" or "$5,000.00" (got "5%")'),
    (TARGET, 'target = "0"', 'wanted more than zero (got "0")'),
    (TARGET, 'target = "-5000"', 'wanted more than zero (got "-5000")'),
    (TARGET, 'target = "5000.001"', "at most two decimals"),
    (TARGET, 'target = "1,5"', 'wanted dollars such as "5000" or "$5,000.00" (got "1,5")'),
    (TARGET, 'target = "1e5"', '(got "1e5")'),
    (TARGET, 'target = "٥٠٠٠"', '(got "٥٠٠٠")'),
    (TARGET, 'target = "NaN"', '(got "NaN")'),
    (TARGET, f'target = "{"9" * 30}"', "of at most 1,000,000,000,000,000"),
    (TARGET, f'target = "{"9" * 3000}"', f'(got "{"9" * 78}…)'),
    (TARGET, r'target = "\n\u001b[2J"', r'(got "\n\u001b[2J")'),
    (TARGET, "", f"{POSITION}.target: this is required (got nothing)"),
    (TARGET, 'targt = "5000"', f"{POSITION}.targt: there is no such setting; did you mean 'target'?"),
    (RESERVE, 'reserve = "-1"', 'portfolios.core.reserve: wanted zero or more (got "-1")'),
    (SHARES, 'shares = "-1"', "not negative"),
    (SHARES, "shares = 50", 'wanted shares such as "50" or "2.631578947", in quotes'),
    (SHARES, 'shares = "0.0000000001"', "at most nine decimals"),
    (SHARES, SHARES + '\nzone = "3"', '; write "3%" or "$3" (got "3")'),
    (SHARES, SHARES + "\nzone = 3", 'wanted a width with its unit, "3%", "300bps" or "$150"'),
    (SHARES, SHARES + '\nzone = "0%"', "wanted a width of more than zero"),
    (SHARES, SHARES + '\nzone = "-3%"', "wanted a width of more than zero"),
    (SHARES, SHARES + '\nzone = "$5000"', f"{POSITION}.zone: for QQQ: wanted a zone below of less than the target"),
    (SHARES, SHARES + '\nzone = "0.0001%"', "wanted a width of at least a cent of the target $5,000.00"),
    (SHARES, SHARES + '\nzone = { below = "3%" }', "wanted both sides and nothing else"),
    (SHARES, SHARES + '\nzone = { below = "3%", abov = "3%" }', "(got a table of below, abov)"),
    (SHARES, SHARES + '\nzone = { below = "3%", above = 3 }', "wanted a width with its unit"),
    (SHARES, SHARES + "\nrestore = 0.5", 'wanted "target", "half", "edge", or a number from "0" to "1" in quotes'),
    (SHARES, SHARES + '\nrestore = "middle"', 'wanted "target", "half", "edge", or a number'),
    (SHARES, SHARES + '\nrestore = "1.01"', 'wanted "target", "half", "edge", or a number'),
    (SHARES, SHARES + '\nmin_step = "20"', 'wanted a part of the zone\'s width such as "20%", or dollars'),
    (SHARES, SHARES + '\nmin_step = "-20%"', "wanted zero or more"),
    (SHARES, SHARES + '\nmin_step = "$5000"', f"{POSITION}.min_step: for QQQ: wanted less, or it is never worth"),
    (SHARES, SHARES + '\nmin_order = "5000"', f"{POSITION}.min_order: for QQQ: wanted less, or it is never worth"),
    (SHARES, SHARES + '\nmode = "Auto"', 'wanted "alert", "approve" or "auto" (got "Auto")'),
    (SHARES, SHARES + '\ncooldown = "5"', 'wanted a duration such as "30s", "5m", "4h" or "1d" (got "5")'),
    (SHARES, SHARES + "\ncooldown = -5", 'of at most "3650d" (got -5)'),
    (SHARES, SHARES + "\ncooldown = 99999999999999999999", 'of at most "3650d"'),
    (SHARES, SHARES + "\ncooldown = 1.5", "wanted a duration"),
    (SHARES, SHARES + "\ncooldown = 07:32:00", "wanted a duration"),
    (SHARES, SHARES + "\nmax_open = 0", 'wanted more than "0s" (got 0)'),
    (SHARES, SHARES + '\ncollar = "100%"', 'wanted less than "100%"'),
    (SHARES, SHARES + '\norder_type = "stop"', 'wanted "market" or "limit" (got "stop")'),
    (SHARES, SHARES + '\nno_trade = "5"', 'wanted a duration such as "30s", "5m", "4h" or "1d" (got "5")'),
    (SHARES, SHARES + '\nno_trade = "105m"', "no_trade: wanted less than 3 h 30 min in all, which the shortest"),
    (SHARES, SHARES + '\nno_trade = { open = "3h", close = "30m" }', "wanted less than 3 h 30 min in all"),
    (SHARES, SHARES + '\nno_trade = { opens = "3h" }', "no_trade: wanted one or both sides and nothing else"),
    (SHARES, SHARES + "\nno_trade = {}", "no_trade: wanted one or both sides and nothing else"),
    (RESERVE, RESERVE + '\nno_trade = { close = "4h" }', "portfolios.core.no_trade: wanted less than 3 h 30 min"),
    (SHARES, SHARES + '\ncost = "1"\ninitial = "adopt"', f"{POSITION}.initial: a position that opens with shares"),
    (SHARES, 'initial = "sell"', 'wanted "buy" or "adopt" (got "sell")'),
    (SHARES, SHARES + '\nmax_order = "5"\nmin_order = "10"', "max_order: wanted at least min_order, which is $10.00"),
    (
        SHARES,
        SHARES + '\nmax_order = "149"',
        "max_order: the smallest accumulation of QQQ takes $150.00, which is more",
    ),
    (RESERVE, RESERVE + '\nzone = "$6000"', "portfolios.core.zone: for QQQ: wanted a zone below of less than"),
    (RESERVE, RESERVE + '\nfloor = "5000.01"', "portfolios.core.floor: wanted a floor of at most the reserve"),
    (RESERVE, RESERVE + '\nmax_notional_per_day = "100"', "max_notional_per_day: the smallest accumulation of QQQ"),
    (RESERVE, RESERVE + "\nmax_orders_per_day = 0", "wanted a whole number from 1 to 1,000,000 (got 0)"),
    (RESERVE, RESERVE + "\nmax_orders_per_day = true", "wanted a whole number from 1 to 1,000,000 (got true)"),
    (RESERVE, RESERVE + '\nmax_orders_per_day = "3"', 'wanted a whole number from 1 to 1,000,000 (got "3")'),
    (RESERVE, RESERVE + "\nmax_orders_per_day = 3.0", "wanted a whole number from 1 to 1,000,000 (got 3.0)"),
    ('account = "paper"', 'account = "papr"', "account: wanted an account that the file has: paper"),
    ('account = "paper"', "account = 5", "account: wanted text in quotes (got 5)"),
    ('account = "paper"', "", "portfolios.core.account: this is required (got nothing)"),
    ("positions.QQQ", "positions.qqq", "core.positions.qqq: wanted a symbol in capital letters"),
    ("positions.QQQ", 'positions."QQQ "', 'core.positions."QQQ ": wanted a symbol in capital letters'),
    ("positions.QQQ", 'positions.""', 'core.positions."": wanted a symbol in capital letters'),
    ("positions.QQQ", 'positions."BRK/B"', 'core.positions."BRK/B": wanted a symbol in capital letters'),
    ("positions.QQQ", r'positions."Q\nQ"', r'core.positions."Q\nQ": wanted a symbol in capital letters'),
    ("positions.QQQ", 'positions."[key]"', 'core.positions."[key]": wanted a symbol in capital letters'),
    ("portfolios.core", "portfolios.Core", "portfolios.Core: wanted a name of small letters and digits"),
    ("portfolios.core", "portfolios.my__core", "portfolios.my__core: wanted a name of small letters"),
    ("portfolios.core", f"portfolios.{'a' * 33}", "of at most 32 characters"),
    ('kind = "file"', 'kind = "files"', 'feed.kind: wanted "file", "alpaca" or "mqtt" (got "files")'),
    ('["QQQ.csv"]', '"QQQ.csv"', 'feed.files: wanted a list such as ["one", "two"] (got "QQQ.csv")'),
    ('["QQQ.csv"]', "[]", "feed.files: wanted at least one (got [])"),
    ('["QQQ.csv"]', '["QQQ.csv", 5]', "feed.files.1: wanted the name of a file or folder, in quotes (got 5)"),
    ('["QQQ.csv"]', r'["\u0000"]', "feed.files.0: wanted the name of a file or folder"),
    ('["QQQ.csv"]', '["QQQ.csv", "./QQQ.csv"]', "feed.files: wanted each file once"),
    ('["QQQ.csv"]', '["other.csv"]', 'feed.files: there is no such file (got "'),
    ('["QQQ.csv"]', f'["{"x" * 5000}"]', "feed.files: there is no such file"),
    ('["QQQ.csv"]', '["QQQ.csv"]\ntimezone = "Mars"', "feed.timezone: wanted the name of a time zone"),
    ('["QQQ.csv"]', '["QQQ.csv"]\ntimezone = "../../etc/passwd"', "feed.timezone: wanted the name of a time zone"),
    ('["QQQ.csv"]', '["QQQ.csv"]\nbar = "1"', "feed.bar: wanted the length of a bar"),
    ('["QQQ.csv"]', '["QQQ.csv"]\nspeed = "fast"', 'feed.speed: wanted a speed such as "max", "1x" or "100x"'),
    ('["QQQ.csv"]', '["QQQ.csv"]\nspeed = 5', "feed.speed: wanted text in quotes (got 5)"),
    ('["QQQ.csv"]', '["QQQ.csv"]\nseed = "x"', "feed.seed: there is no such setting"),
    ("[prices]", "[[prices]]", "prices: wanted a table (got a list of lists or tables)"),
    ("[prices]", '[prices]\nmax_jump = "20"', 'prices.max_jump: wanted a ratio above zero and up to "100%", or "off"'),
    ("[prices]", '[prices]\nmax_spread = "2"', 'prices.max_spread: wanted at most "100%"; a percentage needs its sign'),
    ("[prices]", '[prices]\nstale_after = "0s"', "prices.stale_after: wanted a duration"),
    ("[prices]", '[prices]\nextended_hours = "yes"', "prices.extended_hours: wanted true or false, without quotes"),
    ("[prices]", "[prices]\nextended_hours = 1", "prices.extended_hours: wanted true or false, without quotes (got 1)"),
    ("[prices]", "[prices]\nconfirm = true", "prices.confirm: wanted a whole number from 0 to 100 (got true)"),
    ("[prices]", '[prices]\nregular_conditions = ""', "prices.regular_conditions: wanted at least one character"),
    ("[prices]", "[prices]\n[extra]\nx = 1", "my.toml: extra: there is no such setting (got a table of x)"),
    ('broker = "paper"', 'broker = "none"\nslippage = "1%"', "accounts.paper.slippage: an account without a broker"),
    ('broker = "paper"', 'broker = "none"\norders_per_day = 5', "accounts.paper.orders_per_day: an account without"),
    ('broker = "paper"', 'broker = "paper"\ncash = "4999.99"', "accounts.paper.cash: its portfolios' reserves are"),
    ('broker = "paper"', 'broker = "paper"\nslippage = "100%"', 'accounts.paper.slippage: wanted less than "100%"'),
    ('broker = "paper"', 'broker = "paper"\nwhole_shares = ["qqq"]', "accounts.paper.whole_shares.0: wanted a symbol"),
    (
        'broker = "paper"',
        'broker = "paper"\n[accounts.b]\nbroker = "none"',
        "accounts.b: no portfolio uses this account",
    ),
    (SHARES, "", f"{POSITION}.shares: a paper account opens with what this file says it holds"),
    (SHARES, 'initial = "adopt"', f"{POSITION}.initial: a paper account opens with what this file says it holds"),
    (SHARES, 'initial = "buy"\ncost = "5"', f"{POSITION}.cost: this is what the shares cost; say how many they are"),
]


@pytest.mark.parametrize(("old", "new", "told"), WRONG, ids=[each[1].replace("\n", "; ")[:60] for each in WRONG])
def test_one_wrong_value_is_one_problem(problems: Problems, old: str, new: str, told: str) -> None:
    [problem] = problems((old, new))
    assert told in problem
    assert problem.startswith("my.toml: ")


# Values that must fit each other

SECOND = """
[portfolios.more]
account = "paper"
reserve = "100"
[portfolios.more.positions.QQQ]
target = "50"
shares = "1"
"""


def test_two_portfolios_may_not_claim_one_symbol(problems: Problems) -> None:
    [problem] = problems((SHARES, SHARES + SECOND))
    assert problem == (
        "my.toml: portfolios.more.positions.QQQ: portfolio core has it already in account paper; "
        'in one account a symbol belongs to one portfolio (got "QQQ")'
    )


def test_in_two_accounts_they_may(reads: Reads) -> None:
    elsewhere = SECOND.replace('"paper"', '"other"') + '[accounts.other]\nbroker = "paper"'
    assert len(reads((SHARES, SHARES + elsewhere)).settings.portfolios) == 2


def test_one_portfolio_may_hold_stocks_and_crypto(reads: Reads) -> None:
    crypto = '\n[portfolios.core.positions."BTC/USD"]\ntarget = "1000"\nshares = "0.1"'
    assert len(reads((SHARES, SHARES + crypto)).settings.portfolios["core"].positions) == 2


def test_the_initial_buys_must_fit_the_reserve_above_its_floor(problems: Problems, reads: Reads) -> None:
    buy = (SHARES, 'initial = "buy"')
    assert reads(buy)
    [problem] = problems(buy, (RESERVE, RESERVE + '\nfloor = "0.01"'))
    assert problem == (
        "my.toml: portfolios.core.reserve: the initial buys cost $5,000.00 together and must leave the floor of $0.01; "
        'the reserve does not cover that (got "5000.00")'
    )


@pytest.mark.parametrize("key", ["notional_per_order", "notional_per_day"])
def test_a_circuit_breaker_must_let_the_initial_buy_through(problems: Problems, key: str) -> None:
    [problem] = problems(
        (SHARES, 'initial = "buy"\nmode = "auto"'), ('broker = "paper"', f'broker = "paper"\n{key} = "4999"')
    )
    assert f"accounts.paper.{key}: the initial buy of QQQ takes $5,000.00, which is more: it would halt" in problem


def test_circuit_breakers_must_let_all_initial_buys_of_a_morning_through(problems: Problems) -> None:
    buy = 'initial = "buy"\nmode = "auto"'
    another = f'{buy}\n[portfolios.core.positions.SPY]\ntarget = "5000"\n{buy}'
    limits = 'broker = "paper"\norders_per_minute = 1\nnotional_per_day = "9999"'
    first, second = problems((SHARES, another), (RESERVE, 'reserve = "20000"'), ('broker = "paper"', limits))
    assert "notional_per_day: the initial buys may all come on one day, $10,000.00 together" in first
    assert "orders_per_minute: the 2 initial buys may all come at once" in second


def test_an_account_without_a_broker_only_alerts(problems: Problems) -> None:
    none = ('broker = "paper"', 'broker = "none"')
    [problem] = problems(none, (RESERVE, RESERVE + '\nmode = "auto"'))
    assert problem.startswith("my.toml: portfolios.core.mode: QQQ is in an account without a broker")


@pytest.mark.parametrize(("opening", "key"), [("", "shares"), ('initial = "adopt"', "initial")])
def test_an_account_without_a_broker_must_be_told_its_shares(problems: Problems, opening: str, key: str) -> None:
    [problem] = problems(('broker = "paper"', 'broker = "none"'), (SHARES, opening))
    assert problem.startswith(f"my.toml: {POSITION}.{key}: ")


def test_a_state_directory_may_not_be_a_file(problems: Problems) -> None:
    [problem] = problems(("[feed]", 'state_dir = "QQQ.csv"\n[feed]'))
    assert problem == 'my.toml: state_dir: wanted a folder; this is a file (got "QQQ.csv")'


def test_a_rule_of_the_position_wins_over_its_portfolios(reads: Reads) -> None:
    config = reads((RESERVE, RESERVE + '\nmode = "auto"\nzone = "$6000"'), (SHARES, SHARES + '\nzone = "4%"'))
    [position] = plan(config.settings).portfolios[0].positions
    assert (position.rules.below, position.rules.mode) == ("4%", Mode.AUTO)


@pytest.mark.parametrize(
    ("written", "margins"),
    [('"5m"', (300, 300)), ('{ open = "5m", close = "10m" }', (300, 600)), ('{ close = "10m" }', (0, 600))],
)
def test_a_margin_is_for_both_sides_or_for_each(reads: Reads, written: str, margins: tuple[int, int]) -> None:
    config = reads((RESERVE, f"{RESERVE}\nno_trade = {written}"))
    [position] = plan(config.settings).portfolios[0].positions
    assert (position.rules.no_trade_open, position.rules.no_trade_close) == margins


# Every problem at once, and none that only follows from another


def test_every_problem_is_told_at_once(problems: Problems) -> None:
    told = problems(
        ('["QQQ.csv"]', '["missing.csv", 5]'),
        ("[prices]", "[prices]\nconfirm = -1"),
        (RESERVE, RESERVE + '\nfloor = "6000"\nreserv = "1"'),
        (TARGET, "target = 5000"),
        (SHARES, SHARES + '\ncost = 5\nmax_order = "1"\nmin_order = "2"' + SECOND),
    )
    assert [each.split(": ")[1] for each in told] == [
        "feed.files.1",
        "feed.files",
        "portfolios.core.floor",
        f"{POSITION}.cost",
        f"{POSITION}.max_order",
        f"{POSITION}.target",
        "portfolios.core.reserv",
        "portfolios.more.positions.QQQ",
        "prices.confirm",
    ]


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('[portfolios.core]\naccount = "paper"\n', "[portfolios.core]\naccount = 5\n", "portfolios.core.account"),
        ("[accounts.paper]\n", "[accounts]\n", "accounts.broker"),
        ("[prices]\n[accounts.paper]\n", "[accounts]\npaper = 5\n[prices]\n", "accounts.paper"),
    ],
)
def test_what_follows_from_a_wrong_value_is_not_told(problems: Problems, old: str, new: str, where: str) -> None:
    text = (old, new) if "paper = 5" not in new else (old + 'broker = "paper"\n', new)
    assert [each.split(": ")[1] for each in problems(text)] == [where]


def test_a_wrong_only_portfolio_does_not_make_the_portfolios_missing(folder: Path) -> None:
    start = GOOD.split("[portfolios.core]", maxsplit=1)[0]
    assert raw_problems(folder, f"{start}[portfolios]\ncore = 5".encode()) == [
        "my.toml: portfolios.core: wanted a table (got 5)"
    ]


# Tables about alerts

ALERTS = """
[alerts]
[mqtt]
host = "localhost"
[channels.home]
kind = "mqtt"
[answers]
"""
INSTANCE = "[alerts]"
HOST = 'host = "localhost"'
HOME = 'kind = "mqtt"'
ANSWERS = "[answers]"
WRONG_ALERTS = [
    (INSTANCE, '[alerts]\ninstance = "My House"', "alerts.instance: wanted a name of small letters and digits"),
    (INSTANCE, '[alerts]\ninstanc = "x"', "alerts.instanc: there is no such setting; did you mean 'instance'? (got"),
    (INSTANCE, '[alerts]\nremind = "0s"', "alerts.remind: wanted a duration"),
    (INSTANCE, "[alerts]\nreserve_low = 0.05", "alerts.reserve_low: wanted a ratio such as"),
    (INSTANCE, '[alerts]\ndigest = "yes"', "alerts.digest: wanted true or false, without quotes"),
    (INSTANCE, '[alerts]\ntimezone = "Berlin"', "alerts.timezone: wanted the name of a time zone"),
    (INSTANCE, "[[alerts]]", "alerts: wanted a table"),
    (HOST, "", "mqtt.host: this is required (got nothing)"),
    (HOST, 'hosst = "localhost"', "mqtt.hosst: there is no such setting; did you mean 'host'?"),
    (HOST, "host = 5", "mqtt.host: wanted text in quotes (got 5)"),
    (HOST, f'{HOST}\nversion = "4"', 'mqtt.version: wanted "5" or "3.1.1" (got "4")'),
    (HOST, f"{HOST}\ntls = 1", "mqtt.tls: wanted true or false, without quotes (got 1)"),
    (HOST, f"{HOST}\nport = 70000", "mqtt.port: wanted a whole number from 1 to 65,535 (got 70000)"),
    (HOME, 'kind = "mqtt"\nevery = "x"', "channels.home.every: wanted a duration"),
    (HOME, 'kind = "mqtt"\ncommands = "pause"', 'channels.home.commands: wanted a list such as ["one", "two"]'),
    (HOME, 'kind = "mqtt"\ncommands = [5]', "channels.home.commands.0: wanted text in quotes (got 5)"),
    ("channels.home", "channels.Home", "channels.Home: wanted a name of small letters and digits"),
    ("channels.home", "channels.my__home", "channels.my__home: wanted a name of small letters"),
    (ANSWERS, "[answers]\nlisten = 8377", "answers.listen: wanted text in quotes (got 8377)"),
    (ANSWERS, "[answers]\ntoken = 5", "answers.token: wanted text in quotes (got a value that is not shown)"),
]


@pytest.mark.parametrize(
    ("old", "new", "told"), WRONG_ALERTS, ids=[each[1].replace("\n", "; ")[:60] for each in WRONG_ALERTS]
)
def test_one_wrong_value_about_alerts_is_one_problem(problems: Problems, old: str, new: str, told: str) -> None:
    [problem] = problems((SHARES, SHARES + ALERTS), (old, new))
    assert problem.startswith(f"my.toml: {told}")


def test_what_follows_from_a_table_that_is_none_is_not_told(problems: Problems) -> None:
    without = ALERTS.replace(f"[mqtt]\n{HOST}\n", "")
    [problem] = problems((SHARES, SHARES + without), ("[feed]", "mqtt = 5\n[feed]"))
    assert problem == "my.toml: mqtt: wanted a table (got a value that is not shown)"


SECRET_PLACES = [
    ("mqtt", "password"),
    ("mqtt", "pasword"),
    ("mqtt", "pw"),
    ("mqtt", "key"),
    ("mqtt",),
    ("channels", "home"),
    ("channels", "home", "urls"),
    ("channels", "home", "url"),
    ("channels", "home", "address"),
    ("channels",),
    ("answers", "token"),
    ("answers", "topic"),
    ("answers", "tocken"),
    ("answers",),
    ("accounts", "paper", "secret"),
    ("accounts", "paper", "sekret"),
]


@pytest.mark.parametrize("place", SECRET_PLACES, ids=".".join)
@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        "ntfy://hunter2@host/topic",
        ["hunter2", 5],
        ["json://host/hunter2"],
        [["hunter2"]],
        [{"url": "hunter2"}],
        {"x": "hunter2"},
    ],
    ids=str,
)
def test_what_may_be_a_secret_is_never_shown(folder: Path, place: tuple[str, ...], value: Any) -> None:
    tree = with_value(good(), place, value)
    (folder / "any.toml").write_text("\n".join(f"{toml(key)} = {toml(each)}" for key, each in tree.items()))
    told = outcome(folder / "any.toml")
    assert told
    assert not [each for each in told if "hunter2" in each]


@pytest.mark.parametrize("place", [("portfolios", "core", "mode"), ("feed", "kind"), ("seed",)], ids=".".join)
@pytest.mark.parametrize("value", ["ntfy://hunter2@host", ["ntfys://host/hunter2"]], ids=str)
def test_an_address_in_a_wrong_place_is_not_shown(folder: Path, place: tuple[str, ...], value: Any) -> None:
    tree = with_value(good(), place, value)
    (folder / "any.toml").write_text("\n".join(f"{toml(key)} = {toml(each)}" for key, each in tree.items()))
    told = outcome(folder / "any.toml")
    assert not [each for each in told if "hunter2" in each]


def test_an_address_of_the_web_is_shown_where_one_belongs(problems: Problems) -> None:
    [problem] = problems(('broker = "paper"', 'broker = "paper"\nurl = "http://127.0.0.1:1"'))
    assert problem.endswith('(got "http://127.0.0.1:1")')


def test_a_line_with_an_address_is_not_shown_where_it_is_no_toml(folder: Path) -> None:
    for text in ('urls = ["json://x/hunter2",, ]', "topic = https://ntfy.sh/hunter2", 'password = "hunter2'):
        assert not [each for each in raw_problems(folder, text.encode()) if "hunter2" in each]


# The environment

RESERVE_VARIABLE = "MRDAEMON_PORTFOLIOS__CORE__RESERVE"


def test_the_environment_wins_over_the_file(reads: Reads) -> None:
    assert reads(**{RESERVE_VARIABLE: "700"}).settings.portfolios["core"].reserve == Decimal(700)


def test_variables_may_be_written_in_any_case(reads: Reads) -> None:
    assert reads(mrdaemon_Portfolios__core__Reserve="700").settings.portfolios["core"].reserve == Decimal(700)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("MRDAEMON_PRICES__CONFIRM", "3", lambda config: config.settings.prices.confirm == 3),
        ("MRDAEMON_PRICES__MAX_AGE", "90", lambda config: config.settings.prices.max_age == 90),
        ("MRDAEMON_PRICES__EXTENDED_HOURS", "True", lambda config: config.settings.prices.extended_hours is True),
        ("MRDAEMON_PRICES__EXTENDED_HOURS", "false", lambda config: config.settings.prices.extended_hours is False),
        ("MRDAEMON_PRICES__REGULAR_CONDITIONS", " @", lambda config: config.settings.prices.regular_conditions == " @"),
        ("MRDAEMON_ACCOUNTS__PAPER__ORDERS_PER_DAY", "3", lambda c: c.settings.accounts["paper"].orders_per_day == 3),
        ("MRDAEMON_FEED__FILES", '["./QQQ.csv"]', lambda config: config.settings.feed.files == (Path("QQQ.csv"),)),
        ("MRDAEMON_SEED", "12", lambda config: config.settings.seed == "12"),
        ("MRDAEMON_SEED", "[not a list", lambda config: config.settings.seed == "[not a list"),
        ("MRDAEMON_ACCOUNTS__PAPER__CASH", "6000", lambda c: c.settings.accounts["paper"].cash == Decimal(6000)),
        ("MRDAEMON_PORTFOLIOS__CORE__MODE", "auto", lambda c: c.settings.portfolios["core"].mode is Mode.AUTO),
        (
            "MRDAEMON_PORTFOLIOS__CORE__POSITIONS__QQQ__ZONE",
            '{"below": "3%", "above": "$99"}',
            lambda c: c.settings.portfolios["core"].positions["QQQ"].zone == ("3%", "$99"),
        ),
    ],
)
def test_text_stands_for_any_value(reads: Reads, variable: str, text: str, value: Callable[[Config], bool]) -> None:
    assert value(reads(**{variable: text}))


@pytest.mark.parametrize("spelling", ["BRK.B", "BRK_B", "brk.b"])
def test_a_variable_names_a_symbol_with_a_dot(reads: Reads, spelling: str) -> None:
    config = reads(
        ("positions.QQQ", 'positions."BRK.B"'), **{f"MRDAEMON_PORTFOLIOS__CORE__POSITIONS__{spelling}__TARGET": "8000"}
    )
    assert config.settings.portfolios["core"].positions["BRK.B"].target == Decimal(8000)


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("MRDAEMON_SEDE", "x", "sede: there is no such setting; did you mean 'seed'?"),
        ("MRDAEMON_", "x", '"": there is no such setting'),
        ("MRDAEMON_FEED__KINDS", "x", "feed.kinds: there is no such setting; did you mean 'kind'?"),
        ("MRDAEMON_FEED", "{}", "feed: this is a table; name one of its values, such as feed.kind"),
        ("MRDAEMON_ACCOUNTS", "{}", "accounts: this is a table; name one of its values"),
        ("MRDAEMON_PORTFOLIOS__CORE", "5", "portfolios.core: this is a table; name one of its values"),
        ("MRDAEMON_FEED__FILES__0", "QQQ.csv", "feed.files.0: feed.files is one value; nothing stands below it"),
        ("MRDAEMON_FEED__FILES", "QQQ.csv", 'feed.files: wanted a list such as ["one", "two"]'),
        ("MRDAEMON_FEED__FILES", "[" * 100_000, 'feed.files: wanted a list such as ["one", "two"]'),
        ("MRDAEMON_PORTFOLIOS__OTHER__RESERVE", "5", "portfolios.other: the file has no such entry; it has: core"),
        (
            "MRDAEMON_PORTFOLIOS__CORE__POSITIONS__QQ__TARGET",
            "5",
            "portfolios.core.positions.qq: the file has no such entry; it has: QQQ",
        ),
        (RESERVE_VARIABLE, "lots", 'portfolios.core.reserve: wanted dollars such as "5000"'),
        (RESERVE_VARIABLE, "", 'portfolios.core.reserve: wanted dollars such as "5000"'),
        ("MRDAEMON_PRICES__CONFIRM", "2.5", "prices.confirm: wanted a whole number"),
        ("MRDAEMON_PRICES__EXTENDED_HOURS", "yes", "prices.extended_hours: wanted true or false"),
        (
            "MRDAEMON_PORTFOLIOS__CORE__ZONE",
            '{"below": "3%", "below": "4%", "above": "3%"}',
            "portfolios.core.zone: wanted a width",
        ),
        ("MRDAEMON_SEED", "", "seed: wanted at least one character"),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(problems: Problems, variable: str, text: str, told: str) -> None:
    [problem] = problems(**{variable: text})
    assert problem.startswith(f"environment: {variable}: {told}")


def test_a_variable_that_is_not_ours_is_left_alone(reads: Reads) -> None:
    assert reads(MRDAEMON_CONFIG="x.toml", MRDAEMO="x", PATH="x").settings.seed is None


def test_two_variables_for_one_setting_are_an_error(problems: Problems) -> None:
    [problem] = problems(MRDAEMON_SEED="a", mrdaemon_seed="b")
    assert problem.startswith("environment: mrdaemon_seed: seed: environment: MRDAEMON_SEED sets it as well")


def test_a_name_that_may_mean_two_positions_is_an_error(problems: Problems) -> None:
    two = (
        '\n[portfolios.core.positions."Q.A"]\ntarget = "9"\nshares = "1"\n[portfolios.core.positions.Q-A]\ntarget = "9"'
    )
    [problem] = problems(
        (SHARES, SHARES + two + '\nshares = "1"'), MRDAEMON_PORTFOLIOS__CORE__POSITIONS__Q_A__TARGET="5"
    )
    assert "this may mean any of Q.A, Q-A" in problem


def test_a_problem_names_the_variable_that_has_a_part_in_it(problems: Problems) -> None:
    [problem] = problems((RESERVE, RESERVE + '\nfloor = "1000"'), **{RESERVE_VARIABLE: "700"})
    assert problem == (
        "my.toml: portfolios.core.floor: wanted a floor of at most the reserve of $700.00, as set by environment: "
        f'{RESERVE_VARIABLE} (got "1000.00")'
    )


def test_a_variable_cannot_hide_that_a_table_of_the_file_is_wrong(problems: Problems) -> None:
    told = problems(("[prices]", "[[prices]]"), MRDAEMON_PRICES__CONFIRM="1")
    assert told == ["my.toml: prices: wanted a table (got a list of lists or tables)"]


def test_undecodable_bytes_of_the_environment_can_be_shown(problems: Problems) -> None:
    [problem] = problems(MRDAEMON_PRICES__CONFIRM=os.fsdecode(b"\xff\xfe"))
    assert problem.encode().endswith(rb'(got "\udcff\udcfe")')


def test_a_value_whose_name_sounds_secret_is_not_shown(problems: Problems) -> None:
    [problem] = problems(MRDAEMON_ACCOUNTS__PAPER__SECRET_KEY="hunter2")
    assert "hunter2" not in problem


# The secrets directory


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    return tmp_path / "secrets"


@pytest.mark.parametrize("variable", ["MRDAEMON_SECRETS_DIR", "CREDENTIALS_DIRECTORY"])
@pytest.mark.parametrize("name", ["portfolios__core__reserve", RESERVE_VARIABLE, "mrdaemon_PORTFOLIOS__core__reserve"])
def test_a_secret_wins_over_the_file(reads: Reads, secrets: Path, variable: str, name: str) -> None:
    (secrets / name).write_text("700\r\n")
    assert reads(**{variable: str(secrets)}).settings.portfolios["core"].reserve == Decimal(700)


def test_the_environment_wins_over_a_secret(reads: Reads, secrets: Path) -> None:
    (secrets / "portfolios__core__reserve").write_text("700\n")
    config = reads(**{"MRDAEMON_SECRETS_DIR": str(secrets), RESERVE_VARIABLE: "800"})
    assert config.settings.portfolios["core"].reserve == Decimal(800)


def test_files_of_others_are_left_alone(reads: Reads, secrets: Path) -> None:
    (secrets / "database_password").write_bytes(b"\xff")
    (secrets / "feed").write_text("not ours: a setting's table, not a setting")
    (secrets / "prices").mkdir()
    assert reads(CREDENTIALS_DIRECTORY=str(secrets))


@pytest.mark.parametrize("name", ["mrdaemon_token", "MRDAEMON_FEED__KINDS", "portfolios__core__reserv"])
def test_a_file_of_ours_that_names_no_setting_is_an_error(problems: Problems, secrets: Path, name: str) -> None:
    (secrets / name).write_text("hunter2")
    [problem] = problems(CREDENTIALS_DIRECTORY=str(secrets))
    assert problem.startswith(f"secrets/{name}: ")
    assert "there is no such setting" in problem
    assert "hunter2" not in problem


def test_a_wrong_secret_is_told_by_its_file_and_never_shown(problems: Problems, secrets: Path) -> None:
    (secrets / "portfolios__core__reserve").write_text("hunter2")
    [problem] = problems(MRDAEMON_SECRETS_DIR=str(secrets))
    assert problem == (
        'secrets/portfolios__core__reserve: portfolios.core.reserve: wanted dollars such as "5000" or "$5,000.00" '
        "(got a value that is not shown)"
    )


def test_two_secrets_for_one_setting_are_an_error(problems: Problems, secrets: Path) -> None:
    (secrets / "seed").write_text("a")
    (secrets / "mrdaemon_seed").write_text("b")
    [problem] = problems(MRDAEMON_SECRETS_DIR=str(secrets))
    assert "secrets/mrdaemon_seed sets it as well" in problem


@pytest.mark.parametrize("content", [b"\xff", b"x" * 100_000])
def test_a_secret_that_is_no_text_is_told(problems: Problems, secrets: Path, content: bytes) -> None:
    (secrets / "seed").write_bytes(content)
    [problem] = problems(MRDAEMON_SECRETS_DIR=str(secrets))
    assert problem.startswith("secrets/seed: file: wanted ")


def test_a_secret_that_cannot_be_read_is_told(
    problems: Problems, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets / "seed").touch()
    opens = Path.open

    def refuse(path: Path, *arguments: Any, **more: Any) -> Any:  # root may read everything
        if path.name == "seed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opens(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", refuse)
    [problem] = problems(MRDAEMON_SECRETS_DIR=str(secrets))
    assert problem.startswith("secrets/seed: file: it cannot be read: Permission denied")


def test_a_missing_secrets_directory_is_told(problems: Problems, secrets: Path) -> None:
    [problem] = problems(MRDAEMON_SECRETS_DIR=str(secrets / "none"))
    assert problem.startswith("environment: MRDAEMON_SECRETS_DIR: secrets directory: it cannot be read: No such file")


# A replay's files


def test_files_of_a_replay_stand_in_for_the_feeds(reads: Reads, folder: Path) -> None:
    reads(('["QQQ.csv"]', '["QQQ.csv"]\ntimezone = "UTC"'))
    (folder / "other.csv").touch()
    feed = read(folder / "my.toml", {}, files=[folder / "other.csv"]).settings.feed
    assert (feed.files, feed.timezone) == ((folder / "other.csv",), "UTC")


def test_a_missing_file_of_a_replay_is_told_as_the_command_lines(reads: Reads, folder: Path) -> None:
    reads()
    with pytest.raises(ConfigError, match=r"^command line: feed\.files: there is no such file \(got "):
        read(folder / "my.toml", {}, files=[folder / "other.csv"])


# The command line


def test_check_exits_78_with_every_problem_on_a_line_of_its_own(folder: Path) -> None:
    (folder / "my.toml").write_text(GOOD.replace(TARGET, "target = 5").replace(RESERVE, "reserve = 5"))
    result = CliRunner().invoke(cli.app, ["check", "-c", str(folder / "my.toml")])
    assert result.exit_code == 78
    assert [bool(PROBLEM.match(each)) for each in result.stderr.splitlines()] == [True, True]


def test_check_gives_the_problems_as_json(folder: Path) -> None:
    (folder / "my.toml").write_text(GOOD.replace(TARGET, "target = 5"))
    result = CliRunner().invoke(cli.app, ["check", "--json", "-c", str(folder / "my.toml")])
    assert result.exit_code == 78
    assert len(json.loads(result.stdout)["problems"]) == 1


def test_check_tells_what_does_not_fit_the_journal(folder: Path) -> None:
    file = folder / "my.toml"
    file.write_text(GOOD)
    rows = "timestamp,symbol,price\n2024-04-01T15:00:00Z,QQQ,100\n"
    (folder / "QQQ.csv").write_text(rows)
    arguments = ["-c", str(file), "--state", str(folder / "state")]
    assert CliRunner().invoke(cli.app, ["run", *arguments]).exit_code == 0
    moved = GOOD.replace('"paper"', '"other"').replace("accounts.paper", "accounts.other")
    file.write_text(moved.replace('broker = "other"', 'broker = "paper"'))
    result = CliRunner().invoke(cli.app, ["check", *arguments])
    assert result.exit_code == 78
    assert PROBLEM.match(result.stderr.strip())
    assert "portfolio core rests on account paper" in result.stderr
    assert "it cannot move to other" in result.stderr


# Any tree of values at all

KEYS = st.text(max_size=5) | st.sampled_from(
    [
        *("feed", "kind", "files", "seed", "state_dir", "prices", "max_jump", "confirm"),
        *("accounts", "paper", "broker", "cash", "portfolios", "core", "account", "reserve", "floor", "max_order"),
        *("positions", "QQQ", "target", "shares", "initial", "zone", "below", "above", "mode", "restore"),
        *("alerts", "mqtt", "channels", "home", "answers", "host", "tls", "ca", "commands", "listen", "url", "topic"),
    ]
)
TEXTS = st.sampled_from(["5", "5000", "3%", "$150", "paper", "none", "auto", "buy", "off", "file", "QQQ.csv", "1d"]) | (
    st.text(max_size=8).filter(lambda text: "\x7f" not in text)
)
SCALARS = (
    TEXTS
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.datetimes(timezones=st.just(UTC) | st.none())
    | st.times()
)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
PLACES = [
    (),
    ("feed",),
    ("feed", "files"),
    ("prices",),
    ("prices", "max_jump"),
    ("prices", "confirm"),
    ("accounts",),
    ("accounts", "paper"),
    ("accounts", "paper", "cash"),
    ("accounts", "paper", "notional_per_order"),
    ("portfolios",),
    ("portfolios", "core"),
    ("portfolios", "core", "reserve"),
    ("portfolios", "core", "zone"),
    ("portfolios", "core", "max_order"),
    ("portfolios", "core", "positions"),
    ("portfolios", "core", "positions", "QQQ"),
    ("portfolios", "core", "positions", "QQQ", "target"),
    ("portfolios", "core", "positions", "QQQ", "zone"),
    ("portfolios", "core", "positions", "QQQ", "min_step"),
    ("portfolios", "core", "positions", "QQQ", "initial"),
    ("alerts",),
    ("alerts", "timezone"),
    ("mqtt",),
    ("mqtt", "host"),
    ("mqtt", "ca"),
    ("channels",),
    ("channels", "home"),
    ("channels", "home", "commands"),
    ("channels", "home", "discovery"),
    ("channels", "home", "quiet"),
    ("answers",),
    ("answers", "listen"),
    ("answers", "url"),
    ("answers", "topic"),
]


def good() -> dict[str, Any]:
    return {
        "feed": {"kind": "file", "files": ["QQQ.csv"]},
        "prices": {},
        "accounts": {"paper": {"broker": "paper"}},
        "portfolios": {
            "core": {
                "account": "paper",
                "reserve": "5000",
                "positions": {"QQQ": {"target": "5000", "shares": "50"}},
            }
        },
        "alerts": {},
        "mqtt": {"host": "localhost"},
        "channels": {"home": {"kind": "mqtt"}},
        "answers": {},
    }


def with_value(tree: dict[str, Any], place: tuple[str, ...], value: Any) -> Any:
    if not place:
        return {**tree, **value} if isinstance(value, dict) else tree
    branch = tree
    for part in place[:-1]:
        branch = branch[part]
    branch[place[-1]] = value
    return tree


def toml(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(toml(each) for each in value) + "]"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case bool():
            return str(value).lower()
        case datetime() | date() | time():
            return value.isoformat()
        case float():
            return repr(value)
        case _:
            return str(value)


def outcome(file: Path, **environment: str) -> list[str]:
    """Give the problems; none where the configuration can be used, and then it has a plan."""
    try:
        plan(read(file, environment).settings)
    except ConfigError as error:
        return error.problems
    return []


QUIET = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUIET
@given(place=st.sampled_from(PLACES), value=TREES)
@example(place=("portfolios", "core", "positions", "QQQ", "target"), value="")
def test_any_value_anywhere_gives_a_configuration_or_lines_of_problems(
    folder: Path, place: tuple[str, ...], value: Any
) -> None:
    tree = with_value(good(), place, value)
    text = "\n".join(f"{toml(key)} = {toml(each)}" for key, each in tree.items())
    (folder / "any.toml").write_text(text, encoding="utf-8", newline="")
    assert all(PROBLEM.match(each) for each in outcome(folder / "any.toml"))


NAMES = st.lists(st.sampled_from(["", "FEED", "FILES", "PORTFOLIOS", "CORE", "POSITIONS", "QQQ", "ZONE", "SEED", "é"]))


@QUIET
@given(parts=NAMES, text=st.text(st.characters(exclude_characters="\0"), max_size=10))
def test_any_variable_gives_a_configuration_or_a_line_that_names_it(folder: Path, parts: list[str], text: str) -> None:
    (folder / "any.toml").write_text(GOOD)
    name = f"MRDAEMON_{'__'.join(parts)}"
    told = outcome(folder / "any.toml", **{name: text})
    assert len(told) <= 1
    assert all(PROBLEM.match(each) and each.startswith(f"environment: {name}: ") for each in told)


@QUIET
@given(content=st.binary(max_size=40) | st.text(string.printable, max_size=60).map(str.encode))
def test_any_bytes_give_a_configuration_or_lines_of_problems(folder: Path, content: bytes) -> None:
    (folder / "any.toml").write_bytes(content)
    told = outcome(folder / "any.toml")
    assert told
    assert all(PROBLEM.match(each) for each in told)
