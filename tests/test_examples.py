"""The example configurations run as shipped, and the reference says of every setting what is true."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from mrdaemon.config import read
from mrdaemon.planning import position_rules, print_rules
from mrdaemon.settings import (
    AccountTable,
    AlertsTable,
    AnswersTable,
    ChannelTable,
    FeedTable,
    MqttTable,
    PortfolioTable,
    PositionSettings,
    PositionTable,
    PricesTable,
    Settings,
    Table,
    WebTable,
    Widths,
)
from mrdaemon.values import Margins
from tests.mosquitto import Certificates
from tests.running import child, wait_for

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "config"
PRICES = CONFIG / "prices"
EXAMPLES = sorted(each.name for each in CONFIG.glob("*.toml"))
LIVE = ["alpaca.toml", "local-alpaca.toml", "mqtt-prices.toml"]
ON_RECORDINGS = [each for each in EXAMPLES if each not in LIVE]
KEYS = {"MRDAEMON_ACCOUNTS__ALPACA__KEY": "PKEXAMPLE", "MRDAEMON_ACCOUNTS__ALPACA__SECRET": "example"}
REFERENCE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")

# Each section of the reference and the table that it describes; a position's rules have a section of their own.
SECTIONS: dict[str, type[Table]] = {
    "At the top of the file": Settings,
    "`[feed]`": FeedTable,
    "`[prices]`": PricesTable,
    "`[accounts.NAME]`": AccountTable,
    "`[portfolios.NAME]`": PortfolioTable,
    "`[portfolios.NAME.positions.SYMBOL]`": PositionTable,
    "Rules of a position": PositionSettings,
    "`[alerts]`": AlertsTable,
    "`[channels.NAME]`": ChannelTable,
    "`[mqtt]`": MqttTable,
    "`[answers]`": AnswersTable,
    "`[web]`": WebTable,
}
TABLES_OF_THEIR_OWN = {"feed", "prices", "accounts", "portfolios", "alerts", "channels", "mqtt", "answers", "web"}
FIRST_ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+) \|$", re.MULTILINE)


def mrdaemon(
    *arguments: str, home: Path, environment: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MRDAEMON_", "CREDENTIALS_", "COVERAGE_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "mrdaemon", *arguments],
        env={**clean, "XDG_STATE_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def objects(output: str) -> list[dict[str, Any]]:
    return [json.loads(each) for each in output.splitlines() if each.startswith("{")]


def recorded(example: str) -> list[str]:
    return [str(CONFIG / file) for file in read(CONFIG / example, {}).settings.feed.files]


# The examples


def test_there_is_an_example_for_each_way_of_use() -> None:
    assert EXAMPLES == [
        "alpaca.toml",
        "approve.toml",
        "crypto.toml",
        "local-alpaca.toml",
        "mqtt-prices.toml",
        "one-etf-alerts.toml",
        "small-portfolio-paper.toml",
    ]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_passes_check(example: str, tmp_path: Path) -> None:
    environment = KEYS if example == "alpaca.toml" else {}
    checked = mrdaemon("check", "-c", str(CONFIG / example), home=tmp_path, environment=environment)

    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"{example}: good." in checked.stdout


def test_the_example_for_alpaca_says_where_its_keys_belong(tmp_path: Path) -> None:
    checked = mrdaemon("check", "-c", str(CONFIG / "alpaca.toml"), home=tmp_path)

    assert checked.returncode == 78
    assert all(variable in checked.stderr for variable in KEYS)


def test_the_example_for_a_local_alpaca_trades_there(tmp_path: Path) -> None:
    example, seed = CONFIG / "local-alpaca.toml", ["--seed", "example"]
    with child("simulator", "--json", "--always-open", "--port", "0", *seed) as simulator:
        assert simulator.stdout is not None
        place = {"MRDAEMON_ACCOUNTS__ALPACA__URL": json.loads(simulator.stdout.readline())["url"]}
        with child("run", "--json", "-c", example, "--state", tmp_path, env=place) as daemon:
            assert wait_for(daemon, "order_filled")["side"] == "accumulate"


@pytest.mark.parametrize("example", ON_RECORDINGS)
def test_an_example_raises_signals_in_a_replay_and_refuses_no_row(example: str, tmp_path: Path) -> None:
    replayed = mrdaemon("replay", *recorded(example), "-c", str(CONFIG / example), "--json", home=tmp_path)

    kinds = [each.get("kind") for each in objects(replayed.stdout)]
    assert replayed.returncode == 0, replayed.stderr
    assert "signal_raised" in kinds
    assert "row_refused" not in kinds


@pytest.mark.parametrize("example", ON_RECORDINGS)
def test_an_example_runs_to_the_end_of_its_prices(example: str, tmp_path: Path) -> None:
    ran = mrdaemon("run", "-c", str(CONFIG / example), "--state", str(tmp_path / "state"), "--json", home=tmp_path)

    kinds = [each.get("kind") for each in objects(ran.stdout)]
    assert ran.returncode == 0, ran.stderr
    assert "feed_ended" in kinds


@pytest.mark.parametrize(
    ("example", "kind"),
    [
        ("approve.toml", "approval_requested"),
        ("crypto.toml", "order_filled"),
        ("small-portfolio-paper.toml", "order_filled"),
    ],
)
def test_an_example_shows_its_mode(example: str, kind: str, tmp_path: Path) -> None:
    replayed = mrdaemon("replay", *recorded(example), "-c", str(CONFIG / example), "--json", home=tmp_path)

    assert kind in [each.get("kind") for each in objects(replayed.stdout)]


def test_alerts_send_no_order(tmp_path: Path) -> None:
    example = "one-etf-alerts.toml"
    replayed = mrdaemon("replay", *recorded(example), "-c", str(CONFIG / example), "--json", home=tmp_path)

    assert "order_intended" not in [each.get("kind") for each in objects(replayed.stdout)]


def test_every_key_that_the_examples_use_is_explained_beside_it_in_one_of_them() -> None:
    lines = [each for example in EXAMPLES for each in (CONFIG / example).read_text(encoding="utf-8").splitlines()]
    used = [each for each in lines if re.match(r"\w+ = ", each)]
    assert {each.split(" = ")[0] for each in used} == {each.split(" = ")[0] for each in used if " # " in each}


def test_the_sample_prices_say_that_they_are_made_up() -> None:
    assert "made up" in (PRICES / "README.md").read_text(encoding="utf-8")


# The reference


def section(title: str) -> str:
    return REFERENCE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> dict[str, str]:
    """Give each key that a section's table has, and what holds unless it is set."""
    return {row[1]: row[3] for row in FIRST_ROW.finditer(section(title))}


def described(table: type[Table]) -> set[str]:
    inherited = set(PositionSettings.model_fields) if table in {PortfolioTable, PositionTable} else set()
    return set(table.model_fields) - inherited - (TABLES_OF_THEIR_OWN if table is Settings else set())


def tables(table: type[Table]) -> Iterator[type[Table]]:
    yield table
    for field in table.model_fields.values():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, Table):
                yield from tables(part)


def test_every_table_of_the_settings_has_a_section() -> None:
    assert set(tables(Settings)) <= set(SECTIONS.values())


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_has_every_key_of_its_table_and_no_other(title: str) -> None:
    assert set(rows(title)) == described(SECTIONS[title])


@pytest.mark.parametrize("title", SECTIONS)
def test_a_key_is_called_required_where_it_is(title: str) -> None:
    required = {key for key in described(SECTIONS[title]) if SECTIONS[title].model_fields[key].is_required()}
    assert {key for key, unless_set in rows(title).items() if unless_set == "required"} == required


SAID = {"shares", "files"}
"""Keys that the minimal configuration has to say, although they are not required everywhere."""
MINIMAL = """
feed = { kind = "file", files = ["QQQ.csv"] }
accounts.x.broker = "none"
portfolios.y = { account = "x", reserve = "0", positions.QQQ = { target = "100", shares = "1" } }
"""


@pytest.fixture
def minimal(tmp_path: Path) -> Settings:
    (tmp_path / "QQQ.csv").touch()
    (tmp_path / "minimal.toml").write_text(MINIMAL)
    return read(tmp_path / "minimal.toml", {}).settings


def in_force(settings: Settings, table: type[Table]) -> object:
    """Give what has the values that hold where a table of the file says nothing."""
    portfolio = settings.portfolios["y"]
    position = portfolio.positions["QQQ"]
    return {
        Settings: settings,
        FeedTable: settings.feed,
        PricesTable: print_rules(settings),
        AccountTable: settings.accounts["x"],
        PortfolioTable: portfolio,
        PositionTable: position,
        PositionSettings: position_rules(portfolio, position),
        AlertsTable: settings.alerts,
        ChannelTable: ChannelTable(kind="mqtt"),
        MqttTable: MqttTable(host="localhost"),
        AnswersTable: settings.answers,
        WebTable: settings.web,
    }[table]


DEFAULTS = [
    (title, key, unless_set.strip("`"))
    for title in SECTIONS
    for key, unless_set in rows(title).items()
    if unless_set.startswith("`")
]


@pytest.mark.parametrize(("title", "key", "documented"), DEFAULTS)
def test_a_documented_default_is_the_one_in_force(title: str, key: str, documented: str, minimal: Settings) -> None:
    table = SECTIONS[title]
    meant = TypeAdapter(table.model_fields[key].rebuild_annotation()).validate_python(
        tomllib.loads(f"x = {documented}")["x"]
    )
    rules = in_force(minimal, table)
    names = {"regular_conditions": "regular", "zone": "below", "no_trade": "no_trade_open"}
    if (table, key) == (PricesTable, "sessions"):  # it chooses the calendar, and is no rule for prints
        rules = minimal.prices
    actual = getattr(rules, names.get(key, key)) if table in {PricesTable, PositionSettings} else getattr(rules, key)
    assert actual == (meant[0] if isinstance(meant, Widths | Margins) else meant)


@pytest.mark.parametrize("title", SECTIONS)
def test_a_key_without_a_documented_default_has_none(title: str, minimal: Settings) -> None:
    worded = [key for key, unless_set in rows(title).items() if not unless_set.startswith(("`", "required"))]
    rules = in_force(minimal, SECTIONS[title])
    assert {key: getattr(rules, key) for key in worded if key not in SAID} == dict.fromkeys(set(worded) - SAID)


def blocks(choose: Callable[[list[str]], str]) -> str:
    """Join the reference's examples, of each heading the chosen one: some have one for files, and others beside it."""
    found: dict[str, list[str]] = {}
    for block in re.findall(r"^```toml\n(.*?)^```", REFERENCE, re.MULTILINE | re.DOTALL):
        found.setdefault(block.splitlines()[0], []).append(block)
    return "\n".join(map(choose, found.values()))


def test_the_reference_gives_an_example_of_every_key_and_together_they_are_three_configurations(
    tmp_path: Path,
) -> None:
    shutil.copytree(PRICES, tmp_path / "prices")
    Certificates(tmp_path / "certificates")
    given = set()
    for number in range(3):
        text = blocks(lambda found, chosen=number: found[min(chosen, len(found) - 1)])  # type: ignore[misc]
        (tmp_path / "reference.toml").write_text(text, encoding="utf-8")
        settings = read(tmp_path / "reference.toml", {}).settings
        portfolio = settings.portfolios["core"]
        assert settings.mqtt is not None
        given |= {
            *settings.model_fields_set,
            *settings.feed.model_fields_set,
            *settings.prices.model_fields_set,
            *settings.accounts["broker"].model_fields_set,
            *portfolio.model_fields_set,
            *(key for each in portfolio.positions.values() for key in each.model_fields_set),
            *settings.alerts.model_fields_set,
            *settings.mqtt.model_fields_set,
            *settings.answers.model_fields_set,
            *settings.web.model_fields_set,
            *(key for each in settings.channels.values() for key in each.model_fields_set),
        }
    assert given == {key for table in SECTIONS.values() for key in table.model_fields}


@pytest.mark.parametrize("title", SECTIONS)
def test_every_setting_is_explained(title: str) -> None:
    assert all(len(row[4].split()) > 1 for row in FIRST_ROW.finditer(section(title)))
