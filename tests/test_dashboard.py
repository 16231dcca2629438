"""The dashboard in a real browser, beside a real daemon: what it shows, and what it does."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from mrdaemon.session import DEMO_SPEED
from tests.browser import Visit, Watched, cable, chromium, obstacles, visiting, watched_daemon
from tests.running import ROOT, ask, child
from tests.webbed import free_port

expect.set_options(timeout=15_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Watched]:
    with watched_daemon(tmp_path / "state") as started:
        yield started


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One on which nothing happens, for all who only look."""
    with watched_daemon(tmp_path_factory.mktemp("calm") / "state") as started:
        yield started


@contextmanager
def signed_in(browser: Browser, daemon: Watched) -> Iterator[Visit]:
    """Look as somebody who signed in; afterwards the page has complained of nothing, and asked nobody else."""
    with visiting(browser, daemon.address) as page:
        page.sign_in(daemon.token)
        yield page
        assert page.complaints == []
        assert page.asked == {daemon.address.removeprefix("http://")}


@pytest.fixture
def visit(browser: Browser, daemon: Watched) -> Iterator[Visit]:
    with signed_in(browser, daemon) as page:
        yield page


@pytest.fixture
def look(browser: Browser, calm: Watched) -> Iterator[Visit]:
    with signed_in(browser, calm) as page:
        yield page


# What it shows


def test_the_value_moves_in_its_gauge(daemon: Watched, visit: Visit) -> None:
    row = visit.page.locator('[data-key="core/QQQ"]')
    expect(row.locator(".worth")).to_have_text("$5,000.00")
    assert visit.needle("core/QQQ") == 50

    daemon.price(102)
    expect(row.locator(".worth")).to_have_text("$5,100.00")
    above = visit.needle("core/QQQ")
    daemon.price(97)
    expect(row.locator(".worth")).to_have_text("$4,850.00")
    below = visit.needle("core/QQQ")

    assert (above, below) == (64, 29)  # Between the edges at 15 and 85.


def test_a_gauge_says_its_edges_its_target_and_the_next_prices(look: Visit) -> None:
    gauge = look.page.locator('[data-key="core/QQQ"] .gauge')

    expect(gauge.locator(".edge-value").first).to_have_text("$4,750.00")
    expect(gauge.locator(".target-value")).to_have_text("$5,000.00")
    expect(gauge.locator(".edge-value").last).to_have_text("$5,250.00")
    expect(gauge.locator(".next.buy")).to_have_text("buys at 95.00")
    expect(gauge.locator(".next.sell")).to_have_text("sells at 105.00")


def test_an_age_is_that_of_the_newest_price(browser: Browser, daemon: Watched, visit: Visit) -> None:
    age = visit.page.locator('[data-key="core/QQQ"] [data-part=age]')
    expect(age).to_have_text("4 s ago")
    with visiting(browser, daemon.address) as later:
        later.sign_in(daemon.token)
        expect(later.page.locator('[data-key="core/QQQ"] [data-part=age]')).to_have_text(re.compile("^[4-9] s ago$"))

    daemon.price(100)  # The same price anew.

    expect(age).to_have_text("now")


def test_a_gauge_is_read_aloud(daemon: Watched, visit: Visit) -> None:
    daemon.price(102.5)
    gauge = visit.page.get_by_role("meter", name="Strike zone of QQQ")

    expect(gauge).to_have_attribute("aria-valuenow", "5125.00")
    text = "$5,125.00, target $5,000.00, 50 percent of the way to the upper edge"
    expect(gauge).to_have_attribute("aria-valuetext", text)


def test_a_signal_its_order_and_its_fill_appear(daemon: Watched, visit: Visit) -> None:
    daemon.price(94)
    line = visit.page.locator("#news-list")

    expect(line.locator("[data-kind=signal_raised]")).to_contain_text("QQQ at 94.0 is worth $4,700.00")
    expect(line.locator("[data-kind=order_intended]")).to_contain_text("buy $300.00 of QQQ")
    expect(line.locator("[data-kind=order_filled]")).to_contain_text("for $300.00 at 94.")
    expect(visit.page.locator('[data-key="core/QQQ"] [data-signal="core/QQQ/1"]')).to_have_count(1)
    expect(visit.page.locator('[data-key="core/QQQ"] .worth')).to_have_text("$5,000.00")


def test_who_asks_for_prices_takes_no_news_away(daemon: Watched, visit: Visit) -> None:
    visit.page.evaluate("setInterval(() => fetch('/api/prices/QQQ'), 10)")

    daemon.price(94)

    expect(visit.page.locator("[data-kind=signal_raised]")).to_have_count(1)
    expect(visit.page.locator("[data-kind=order_filled]")).to_have_count(1)


def test_the_reserve_is_shown_and_follows_a_fill(daemon: Watched, visit: Visit) -> None:
    reserve = visit.page.locator('[data-portfolio="core"]')
    expect(reserve.locator("[data-part=now]")).to_have_text("$20,000.00")

    daemon.price(94)

    expect(reserve.locator("[data-part=now]")).to_have_text("$19,700.00")
    visit.page.reload()
    before_and_after = re.compile(r"^M\S+ ([\d.]+)(?=H.*V(?!\1(H|$)))")  # The page asks for what was before.
    expect(reserve.locator(".line")).to_have_attribute("d", before_and_after)


def test_what_is_held_is_told_with_its_reason(daemon: Watched, visit: Visit) -> None:
    assert daemon.tell("pause", "QQQ").code == 0
    daemon.price(94)

    expect(visit.page.locator("[data-kind=signal_held]")).to_contain_text("is held")
    expect(visit.page.locator('[data-key="core/QQQ"] .remarks')).to_contain_text("signals are paused")


def test_the_time_line_can_be_narrowed(daemon: Watched, visit: Visit) -> None:
    daemon.price(94)
    expect(visit.page.locator("[data-kind=order_filled]")).to_have_count(1)

    visit.page.select_option("#news-filter", "signal")

    expect(visit.page.locator("[data-kind=order_filled]")).to_have_count(0)
    expect(visit.page.locator("[data-kind=signal_raised]")).to_have_count(1)


def test_a_position_that_is_opened_explains_itself(look: Visit) -> None:
    look.page.get_by_role("button", name="QQQ", exact=True).click()
    detail = look.page.locator('[data-key="core/QQQ"] .detail')

    expect(detail).to_contain_text("It would buy")
    expect(detail).to_contain_text("guards agree")
    expect(detail.locator(".facts")).to_contain_text("Shares")
    look.page.keyboard.press("Escape")
    expect(detail).to_be_hidden()


def test_feed_broker_and_channels_have_their_health(daemon: Watched, visit: Visit) -> None:
    health = visit.page.locator("#health-list")
    phone = health.locator("div").filter(has_text="Channel: phone")
    expect(health).to_contain_text("Prices: wire")
    expect(health).to_contain_text("Broker: paper")

    daemon.process.send_signal(signal.SIGUSR2)
    expect(phone).to_contain_text("nobody answers")
    expect(phone).to_have_attribute("data-well", "ill")
    expect(visit.page.locator("[data-alarm=channels]")).to_contain_text("No alerts over phone")

    daemon.process.send_signal(signal.SIGUSR1)
    expect(phone).to_contain_text("up")
    expect(phone).to_have_attribute("data-well", "well")
    expect(visit.page.locator("[data-alarm=channels]")).to_have_count(0)


# What it does


def test_a_question_is_rejected(daemon: Watched, visit: Visit) -> None:
    daemon.price(106, "SPY")
    card = visit.page.locator("[data-approval='core/SPY/1']")
    expect(card).to_contain_text("Sell $300.00 of SPY")

    card.get_by_role("button", name="Reject").click()
    visit.page.get_by_role("dialog").get_by_role("button", name="Reject").click()

    expect(card).to_have_count(0)
    expect(visit.page.locator("[data-kind=approval_closed]")).to_contain_text("ended: rejected")
    assert daemon.journaled("order_intended") == []


def test_nothing_is_done_before_it_is_confirmed(calm: Watched, look: Visit) -> None:
    look.page.get_by_role("button", name="Halt", exact=True).click()
    look.page.get_by_role("dialog").get_by_role("button", name="Cancel").click()

    expect(look.page.get_by_role("dialog")).to_be_hidden()
    assert calm.status()["trading"] == "ACTIVE"


def test_a_halt_is_big_and_clear_until_somebody_resumes(daemon: Watched, visit: Visit) -> None:
    visit.page.get_by_role("button", name="Halt", exact=True).click()
    visit.page.get_by_role("dialog").get_by_role("button", name="Halt").click()

    alarm = visit.page.locator("[data-alarm=halted]")
    expect(alarm.get_by_role("heading")).to_have_text("HALTED")
    assert alarm.get_by_role("heading").evaluate("each => parseFloat(getComputedStyle(each).fontSize)") >= 32
    expect(visit.page).to_have_title("HALTED · mrdaemon")
    expect(visit.page.locator("#state-word")).to_have_text("HALTED")
    assert daemon.status()["trading"] == "HALTED"

    alarm.get_by_role("button", name="Resume").click()
    visit.page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(alarm).to_have_count(0)
    assert daemon.status()["trading"] == "ACTIVE"


def test_signals_are_paused_and_go_on(daemon: Watched, visit: Visit) -> None:
    visit.page.get_by_role("button", name="Pause", exact=True).click()
    visit.page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(visit.page.locator("[data-alarm=paused]")).to_be_visible()
    assert daemon.status()["paused"]

    visit.page.locator("#pause").click()
    visit.page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(visit.page.locator("[data-alarm=paused]")).to_have_count(0)
    assert not daemon.status()["paused"]


def test_who_entered_the_token_too_long_ago_enters_it_again_without_leaving(daemon: Watched, visit: Visit) -> None:
    visit.page.evaluate("sessionStorage.setItem('mrdaemon-csrf', 'of yesterday'); window.stayed = true;")
    visit.page.get_by_role("button", name="Pause", exact=True).click()
    dialog = visit.page.get_by_role("dialog")
    expect(dialog.get_by_label("Token")).to_be_hidden()
    dialog.get_by_role("button", name="Pause").click()

    expect(dialog.get_by_role("alert")).to_contain_text("Nothing was done: to act, this page needs the token again")
    expect(dialog.get_by_label("Token")).to_be_focused()
    assert not daemon.status()["paused"]
    visit.page.keyboard.type(daemon.token)
    visit.page.keyboard.press("Enter")

    expect(visit.page.locator("[data-alarm=paused]")).to_be_visible()
    assert daemon.status()["paused"]
    assert visit.page.evaluate("window.stayed")
    visit.complaints.clear()  # The browser itself notes the 403.


def test_a_refusal_is_said_where_it_was_asked(daemon: Watched, visit: Visit) -> None:
    daemon.price(94, "SPY")
    visit.page.locator("[data-approval='core/SPY/1']").get_by_role("button", name="Approve").click()
    assert daemon.tell("reject", "core/SPY/1").code == 0

    visit.page.get_by_role("dialog").get_by_role("button", name="Approve").click()

    expect(visit.page.locator("#ask-refusal")).to_contain_text("core/SPY/1 was already rejected")
    visit.complaints.clear()  # The browser itself notes the 409.


# Signing in


def test_a_wrong_token_is_refused_in_words(browser: Browser, calm: Watched) -> None:
    with visiting(browser, calm.address) as visit:
        visit.page.goto(calm.address)
        visit.page.get_by_label("Token").fill("guess")
        visit.page.get_by_role("button", name="Sign in").click()

        expect(visit.page.get_by_role("alert")).to_contain_text("this is not the token")
        visit.page.get_by_label("Token").fill(calm.token)
        visit.page.keyboard.press("Enter")
        expect(visit.page.locator(".position").first).to_be_visible()


def test_the_token_does_not_stay_in_the_address(look: Visit) -> None:
    look.page.go_back()

    assert "token" not in look.page.url


def test_another_tab_may_look_but_has_to_sign_in_to_act(calm: Watched, look: Visit) -> None:
    other = look.page.context.new_page()
    other.goto(calm.address)
    expect(other.locator(".position").first).to_be_visible()

    expect(other.get_by_role("link", name="Sign in to act")).to_be_visible()
    expect(other.get_by_role("button", name="Halt", exact=True)).to_have_count(0)


def test_signing_out_ends_the_session(calm: Watched, look: Visit) -> None:
    look.page.get_by_role("button", name="Sign out").click()
    expect(look.page.get_by_label("Token")).to_be_visible()

    look.page.goto(calm.address)
    expect(look.page.get_by_label("Token")).to_be_visible()


# The demo


@contextmanager
def demo_that_asks(folder: Path) -> Iterator[str]:
    """Run the demo as it is, but that it asks before it trades AAPL; gives the address of its dashboard."""
    shutil.copytree(ROOT / "mrdaemon" / "data", folder)
    config = (folder / "demo.toml").read_text().replace('speed = "max"', f'speed = "{DEMO_SPEED}"')
    asking = '[portfolios.demo.positions.AAPL]\nmode = "approve"\napproval_ttl = "2000d"\nmax_open = "2000d"\n'
    config = (
        config.replace("[portfolios.demo.positions.AAPL]\n", asking) + f'[web]\nlisten = "127.0.0.1:{free_port()}"\n'
    )
    (folder / "asks.toml").write_text(config)
    arguments = ("run", "-c", folder / "asks.toml", "--state", folder / "state")
    with child(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield link_to(folder / "state", process)


def link_to(state: Path, process: subprocess.Popen[str]) -> str:
    """Wait until a daemon says where its dashboard is."""
    while process.poll() is None:
        with suppress(OSError, KeyError):  # It begins, or the page does.
            return str(ask(state, "GET", "/dashboard").body["link"])
        time.sleep(0.02)
    message = "the daemon ended"
    raise AssertionError(message)


def approve(visit: Visit) -> None:
    """Approve a buy of AAPL, until it is filled: where a day takes a moment, an order may be too old to be sent."""
    page, fill = visit.page, visit.page.locator("#news-list [data-kind=order_filled]").filter(has_text="AAPL")
    for number in range(1, 10):
        card = page.locator(f"[data-approval='demo/AAPL/{number}']")
        expect(card).to_contain_text("Buy $5,000.00 of AAPL")
        card.get_by_role("button", name="Approve").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Approve this trade?")
        dialog.get_by_label("Why").fill("looked at it")
        dialog.get_by_role("button", name="Approve").click()
        expect(card).to_have_count(0)
        another = page.locator(f"[data-approval='demo/AAPL/{number + 1}']")
        expect(fill.or_(another).first).to_be_visible()
        if fill.count():
            break
    expect(fill.first).to_contain_text("for $5,000.00")


def test_the_demo_is_looked_at_and_acted_on(browser: Browser, tmp_path: Path) -> None:
    with ExitStack() as around:
        address, _, token = around.enter_context(demo_that_asks(tmp_path / "demo")).partition("/login#token=")
        wire = around.enter_context(cable(urlsplit(address).port or 0))
        visit = around.enter_context(visiting(browser, wire.address))
        page, news = visit.page, visit.page.locator("#news-list")
        visit.sign_in(token)

        # The gauge moves, and a signal appears.
        moved = """([key, x]) => document.querySelector(`[data-key="${key}"] .mark`).getAttribute("x") !== x"""
        visit.until(moved, ["demo/JPM", f"{visit.needle('demo/JPM'):.2f}%"])
        expect(news.locator("[data-kind=signal_raised]").first).to_contain_text("is worth")
        expect(page.locator(".position .signal").first).to_be_visible()

        # One waits for a person, who approves it, and sees its fill.
        approve(visit)
        expect(news.locator("[data-kind=approval_granted]").first).to_contain_text("(looked at it)")

        # The stream is lost, and comes back by itself.
        assert visit.complaints == []
        wire.cut()
        expect(page.locator("[data-alarm=connection]")).to_contain_text("What stands below is as it was then")
        wire.mend()
        expect(page.locator("[data-alarm=connection]")).to_have_count(0)
        visit.until(moved, ["demo/JPM", f"{visit.needle('demo/JPM'):.2f}%"])

        # In the other theme, nobody is kept out either.
        page.get_by_role("button", name="Dark theme").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        assert obstacles(page) == []
