"""What a configuration that names Alpaca must fulfil, as ``mrdaemon check`` says it, and never a secret in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.running import Outcome, mrdaemon

KEY, SECRET = "PKTHEKEY", "thesecretofit"
FEED = 'kind = "alpaca"'
ACCOUNT = f'broker = "alpaca"\nkey = "{KEY}"\nsecret = "{SECRET}"'
PAPER = 'broker = "paper"'


def position(symbol: str, more: str = "") -> str:
    return f'[portfolios.core.positions."{symbol}"]\ntarget = "5000"\n{more}\n'


def check(
    folder: Path,
    feed: str = FEED,
    account: str = ACCOUNT,
    positions: str = position("QQQ", 'initial = "buy"'),
    more: str = "",
    env: dict[str, str] | None = None,
    name: str = "main",
    mode: str = "auto",
) -> Outcome:
    """Check a configuration whose parts are right unless told otherwise."""
    config = folder / "core.toml"
    config.write_text(
        f"[feed]\n{feed}\n[accounts.{name}]\n{account}\n[portfolios.core]\n"
        f'account = "{name}"\nreserve = "10000"\nzone = "5%"\nmode = "{mode}"\n'
        f"{positions}\n{more}\n"
    )
    outcome = mrdaemon("check", "-c", config, "--state", folder / "state", env=env)
    assert SECRET not in outcome.out + outcome.err
    return outcome


def problems(outcome: Outcome) -> list[str]:
    """Give what was objected to, without the file's name."""
    assert outcome.code == 78, outcome
    return [line.partition("core.toml: ")[2] for line in outcome.err.splitlines() if line]


def test_a_whole_configuration_is_good(tmp_path: Path) -> None:
    outcome = check(tmp_path)
    assert outcome.code == 0, outcome.err
    assert "REAL MONEY" not in outcome.out


def test_keys_may_come_from_the_environment(tmp_path: Path) -> None:
    env = {"MRDAEMON_ACCOUNTS__MAIN__KEY": KEY, "MRDAEMON_ACCOUNTS__MAIN__SECRET": SECRET}
    assert check(tmp_path, account='broker = "alpaca"', env=env).code == 0


def problem_of(outcome: Outcome, where: str) -> str:
    """Give what was objected to in one place."""
    [problem] = [each for each in problems(outcome) if each.startswith(f"{where}: ")]
    return problem


# Keys


def test_keys_that_are_missing_are_asked_for_with_the_name_of_their_variable(tmp_path: Path) -> None:
    key, secret = problems(check(tmp_path, account='broker = "alpaca"', name="my-alpaca"))
    assert key == (
        "accounts.my-alpaca.key: wanted Alpaca's, best from the environment (MRDAEMON_ACCOUNTS__MY_ALPACA__KEY) "
        "or a secrets directory (got nothing)"
    )
    assert secret.startswith("accounts.my-alpaca.secret: ")
    assert "MRDAEMON_ACCOUNTS__MY_ALPACA__SECRET" in secret


@pytest.mark.parametrize(
    ("account", "words"),
    [
        (f'broker = "alpaca"\nkey = "AKREALKEY"\nsecret = "{SECRET}"', "this is the key of an account with real money"),
        (f"{ACCOUNT}\nlive = true", "this is the key of a paper account, and live = true"),
    ],
)
def test_a_key_of_the_other_kind_of_account_is_refused_and_not_shown(tmp_path: Path, account: str, words: str) -> None:
    outcome = check(tmp_path, account=account)
    [problem] = problems(outcome)
    assert problem.startswith(f"accounts.main.key: {words}")
    assert problem.endswith("(got a value that is not shown)")
    assert "AKREALKEY" not in outcome.err
    assert KEY not in outcome.err


def account_with(key: str = KEY, secret: str = SECRET, more: str = "") -> str:
    return f'broker = "alpaca"\nkey = "{key}"\nsecret = "{secret}"\n{more}'


@pytest.mark.parametrize(
    ("url", "live", "money"),
    [
        ("https://api.alpaca.markets", False, "real"),
        ("https://api.alpaca.markets/", False, "real"),
        ("https://API.alpaca.markets:443", False, "real"),
        ("http://api.alpaca.markets", False, "real"),
        ("https://api.alpaca.markets/v2", False, "real"),
        ("https://paper-api.alpaca.markets", True, "paper"),
        ("https://paper-api.alpaca.markets/", True, "paper"),
    ],
)
def test_an_address_of_the_other_kind_of_account_is_refused_whatever_the_key_begins_with(
    tmp_path: Path, url: str, live: bool, money: str
) -> None:
    flag = str(live).lower()
    outcome = check(tmp_path, account=account_with("CKODDKEY", more=f'live = {flag}\nurl = "{url}"'))
    assert problems(outcome) == [
        f'accounts.main.url: this address is of accounts with {money} money, and live = {flag} (got "{url}")'
    ]


@pytest.mark.parametrize(
    ("url", "live"),
    [("https://api.alpaca.markets", True), ("https://paper-api.alpaca.markets", False), ("http://[::1]:8899", False)],
)
def test_an_address_of_the_same_kind_of_account_is_good(tmp_path: Path, url: str, live: bool) -> None:
    more = f'live = {str(live).lower()}\nurl = "{url}"'
    assert check(tmp_path, account=account_with("CKODDKEY", more=more)).code == 0


@pytest.mark.parametrize("url", ["http://[::1", "https://", "http:///v2", "[::1]:8899"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    [problem] = problems(check(tmp_path, account=account_with(more=f'url = "{url}"')))
    assert problem == f'accounts.main.url: wanted an address such as "http://127.0.0.1:8899" (got "{url}")'


@pytest.mark.parametrize("odd", [" {}", "{} ", "{}\\n", "{}\\t", "the {}", "{}\u20ac", "{}\\u0000"])
@pytest.mark.parametrize("which", ["key", "secret"])
def test_keys_that_cannot_be_sent_are_refused_and_not_shown(tmp_path: Path, which: str, odd: str) -> None:
    given = {"key": KEY, "secret": SECRET}
    given[which] = odd.format(given[which])
    outcome = check(tmp_path, account=account_with(given["key"], given["secret"]))
    assert KEY not in outcome.err
    assert f"accounts.main.{which}: " in outcome.err
    assert outcome.code == 78


def test_two_accounts_with_one_key_are_refused(tmp_path: Path) -> None:
    second = f'[accounts.second]\n{ACCOUNT}\n[portfolios.side]\naccount = "second"\nreserve = "1"\nzone = "5%"\n'
    second += position("SPY").replace("core", "side")
    outcome = check(tmp_path, feed=f'{FEED}\naccount = "main"', more=second)
    [problem] = problems(outcome)
    assert problem == (
        "accounts.second.key: account main has this key; two portfolios may share one account instead "
        "(got a value that is not shown)"
    )


def test_real_money_is_noted(tmp_path: Path) -> None:
    outcome = check(tmp_path, account=f'broker = "alpaca"\nkey = "AKREALKEY"\nsecret = "{SECRET}"\nlive = true')
    assert outcome.code == 0
    assert "Account main trades REAL MONEY; it runs with --live only." in outcome.out


def test_an_address_needs_its_scheme(tmp_path: Path) -> None:
    [problem] = problems(check(tmp_path, account=f'{ACCOUNT}\nurl = "127.0.0.1:8899"'))
    assert problem == ('accounts.main.url: wanted an address such as "http://127.0.0.1:8899" (got "127.0.0.1:8899")')


@pytest.mark.parametrize("key", ["key", "secret", "url"])
def test_a_paper_account_has_no_use_for_a_login_and_what_is_secret_is_not_shown(tmp_path: Path, key: str) -> None:
    files = 'kind = "file"\nfiles = ["prices.csv"]'
    (tmp_path / "prices.csv").write_text("timestamp,symbol,price\n2020-03-09T15:00:00Z,QQQ,100\n")
    value = "http://127.0.0.1:1" if key == "url" else SECRET
    found = problems(check(tmp_path, feed=files, account=f'broker = "paper"\n{key} = "{value}"'))
    [problem] = [each for each in found if f"accounts.main.{key}" in each]
    assert 'an account with broker = "paper" has no use for this; take it out' in problem


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ('cash = "50000"', "50000"),
        ('slippage = "0.01"', "0.01"),
        ('partial_fills = "0.1"', "0.1"),
        ('whole_shares = ["QQQ"]', "QQQ"),
    ],
)
def test_what_is_for_paper_accounts_alone_is_refused_at_alpaca(tmp_path: Path, setting: str, shown: str) -> None:
    problem = problem_of(check(tmp_path, account=f"{ACCOUNT}\n{setting}"), f"accounts.main.{setting.partition(' ')[0]}")
    assert "this is for a paper account" in problem
    assert shown in problem


def test_a_seed_is_refused_where_real_money_trades_and_no_id_of_an_order_may_come_twice(tmp_path: Path) -> None:
    account = f'broker = "alpaca"\nkey = "AKREALKEY"\nsecret = "{SECRET}"\nlive = true'
    outcome = check(tmp_path, account=account, env={"MRDAEMON_SEED": "again"})
    assert outcome.code == 78
    assert outcome.err == (
        "environment: MRDAEMON_SEED: seed: it lets ids of orders repeat, and account main trades real money at Alpaca, "
        'which takes an id once; take it out (got "again")\n'
    )


def test_what_a_seed_does_is_noted_where_an_account_is_at_alpaca(tmp_path: Path) -> None:
    note = "With a seed, ids of orders repeat after a restore, and Alpaca takes each once: it is for tests."
    assert note in check(tmp_path, env={"MRDAEMON_SEED": "again"}).out
    assert note not in check(tmp_path).out


def test_a_paper_account_may_have_a_seed_also_on_prices_of_alpaca(tmp_path: Path) -> None:
    account = f'broker = "paper"\nkey = "{KEY}"\nsecret = "{SECRET}"'
    outcome = check(tmp_path, feed=f'{FEED}\naccount = "main"', account=account, env={"MRDAEMON_SEED": "again"})
    assert outcome.code == 0, outcome.err


# Feed


def test_recorded_prices_do_not_trade_at_alpaca(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("timestamp,symbol,price\n2020-03-09T15:00:00Z,QQQ,100\n")
    found = problems(check(tmp_path, feed='kind = "file"\nfiles = ["prices.csv"]'))
    assert any("recorded prices must not trade at Alpaca" in each for each in found)


@pytest.mark.parametrize("setting", ['files = ["prices.csv"]', 'timezone = "UTC"', 'bar = "1m"', 'speed = "1x"'])
def test_what_is_for_files_alone_is_refused_for_a_stream(tmp_path: Path, setting: str) -> None:
    found = problems(check(tmp_path, feed=f"{FEED}\n{setting}"))
    name = setting.partition(" ")[0]
    assert any(each.startswith(f"feed.{name}: ") and "has no use for this; take it out" in each for each in found)


@pytest.mark.parametrize("setting", ['stream = "iex"', 'account = "main"', "channels = 5"])
def test_what_is_for_streams_alone_is_refused_for_files(tmp_path: Path, setting: str) -> None:
    (tmp_path / "prices.csv").write_text("timestamp,symbol,price\n2020-03-09T15:00:00Z,QQQ,100\n")
    feed = f'kind = "file"\nfiles = ["prices.csv"]\n{setting}'
    problem = problem_of(check(tmp_path, feed=feed, account=PAPER), f"feed.{setting.partition(' ')[0]}")
    assert 'a feed of kind "file" has no use for this; take it out' in problem


def test_a_stream_needs_somebodys_keys(tmp_path: Path) -> None:
    problem = problem_of(check(tmp_path, account=PAPER), "feed.account")
    assert "wanted the account whose keys the stream is to use" in problem


def test_where_two_accounts_have_keys_the_stream_is_told_whose(tmp_path: Path) -> None:
    account = ACCOUNT.replace(KEY, "PKANOTHER")
    second = f'[accounts.second]\n{account}\n[portfolios.side]\naccount = "second"\nreserve = "1"\nzone = "5%"\n'
    second += position("SPY").replace("core", "side")
    assert "wanted the account whose keys" in problem_of(check(tmp_path, more=second), "feed.account")
    assert check(tmp_path, feed=f'{FEED}\naccount = "second"', more=second).code == 0


def test_the_streams_account_is_one_that_there_is(tmp_path: Path) -> None:
    found = problems(check(tmp_path, feed=f'{FEED}\naccount = "nobody"'))
    assert 'feed.account: wanted one of main (got "nobody")' in found


def test_a_paper_account_may_lend_the_stream_its_keys(tmp_path: Path) -> None:
    assert check(tmp_path, account=f'{PAPER}\nkey = "{KEY}"\nsecret = "{SECRET}"').code == 0


def test_a_paper_account_that_lends_half_of_its_keys_is_asked_for_the_rest(tmp_path: Path) -> None:
    outcome = check(tmp_path, account=f'{PAPER}\nkey = "{KEY}"')
    assert "wanted Alpaca's" in problem_of(outcome, "accounts.main.secret")


# How many symbols fit


def many(number: int) -> str:
    return "".join(position(f"S{each}") for each in range(number))


def test_as_many_symbols_as_the_free_plan_has_channels_are_good_and_what_has_no_quotes_is_noted(tmp_path: Path) -> None:
    outcome = check(tmp_path, positions=many(30), mode="alert")
    assert outcome.code == 0, outcome.err
    assert "The plan's 30 channels have no room for the quotes of S0, S1, " in outcome.out


def test_fifteen_symbols_have_room_for_all_their_quotes(tmp_path: Path) -> None:
    assert "no room" not in check(tmp_path, positions=many(15), mode="alert").out
    assert "no room for the quotes of S15: " in check(tmp_path, positions=many(16), mode="alert").out.replace(
        "S14, S15", "S15"
    )


@pytest.mark.parametrize(("feed", "most"), [(FEED, 30), (f"{FEED}\nchannels = 7", 7)])
def test_more_symbols_than_channels_are_refused(tmp_path: Path, feed: str, most: int) -> None:
    [problem] = problems(check(tmp_path, feed=feed, positions=many(most + 1), mode="alert"))
    assert problem.startswith(
        f"feed.stream: {most + 1} symbols need as many channels, and the plan has {most}: wanted fewer symbols"
    )


def test_the_consolidated_tape_has_no_limit_and_pairs_take_no_channel(tmp_path: Path) -> None:
    assert check(tmp_path, feed=f'{FEED}\nstream = "sip"', positions=many(50), mode="alert").code == 0
    assert check(tmp_path, positions=many(30) + position("BTC/USD"), mode="alert").code == 0


def test_the_test_stream_has_one_symbol(tmp_path: Path) -> None:
    feed = f'{FEED}\nstream = "test"'
    [problem] = problems(check(tmp_path, feed=feed))
    assert problem == 'portfolios.core.positions.QQQ: the test stream has only FAKEPACA (got "QQQ")'
    assert check(tmp_path, feed=feed, positions=position("FAKEPACA")).code == 0


def test_delayed_prices_may_only_alert_and_need_patience(tmp_path: Path) -> None:
    feed, patient = f'{FEED}\nstream = "delayed_sip"', '[prices]\nmax_age = "16m"'
    assert check(tmp_path, feed=feed, mode="alert", more=patient).code == 0
    mode, age = problems(check(tmp_path, feed=feed))
    assert mode == (
        'portfolios.core.positions.QQQ.mode: prices that are 15 minutes old may only alert: wanted "alert" (got "auto")'
    )
    assert age.startswith("prices.max_age: the delayed stream's prices are 15 minutes old")
