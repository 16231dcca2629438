"""The dashboard when it hears nothing: it says so in large, keeps what it had, and comes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import Cable, Visit, Watched, cable, chromium, visiting, watched_daemon

expect.set_options(timeout=15_000)
LOST = "[data-alarm=connection]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One for all that leave it as it is; prices move within the zone."""
    with watched_daemon(tmp_path_factory.mktemp("stream") / "state") as started:
        yield started


@pytest.fixture
def wire(daemon: Watched) -> Iterator[Cable]:
    with cable(daemon.port) as laid:
        yield laid


@pytest.fixture
def visit(browser: Browser, daemon: Watched, wire: Cable) -> Iterator[Visit]:
    with visiting(browser, wire.address) as page:
        page.sign_in(daemon.token)
        yield page


def test_a_lost_stream_is_big_and_clear(wire: Cable, visit: Visit) -> None:
    wire.cut()

    alarm = visit.page.locator(LOST)
    expect(alarm.get_by_role("heading")).to_have_text("No connection to the daemon")
    expect(alarm).to_contain_text("What stands below is as it was then")
    expect(visit.page.locator("#state-word")).to_have_text("lost")
    expect(visit.page.locator("#halt")).to_be_disabled()
    expect(visit.page.locator('[data-key="core/QQQ"] .worth')).to_have_text("$5,000.00")


def test_a_stream_that_is_back_brings_what_was_missed(daemon: Watched, wire: Cable, visit: Visit) -> None:
    wire.cut()
    expect(visit.page.locator(LOST)).to_be_visible()
    assert daemon.tell("pause", "KO").code == 0
    daemon.price(101)

    wire.mend()

    expect(visit.page.locator(LOST)).to_have_count(0)
    expect(visit.page.locator("[data-kind=signals_paused]")).to_contain_text("Signals of KO are paused")
    expect(visit.page.locator('[data-key="core/QQQ"] .price')).to_have_text("101.00")
    daemon.price(102)
    expect(visit.page.locator('[data-key="core/QQQ"] .price')).to_have_text("102.00")
    expect(visit.page.locator("#halt")).to_be_enabled()


def test_a_stream_that_only_stumbles_is_no_alarm(daemon: Watched, wire: Cable, visit: Visit) -> None:
    visit.page.evaluate(
        """() => {
          window.alarmed = 0;
          new MutationObserver(() => { window.alarmed += document.querySelectorAll("[data-alarm=connection]").length; })
            .observe(document.getElementById("alarms"), { childList: true });
        }"""
    )
    wire.cut()
    expect(visit.page.locator("#state-word")).to_have_text("lost")
    wire.mend()
    daemon.price(96)

    expect(visit.page.locator('[data-key="core/QQQ"] .price')).to_have_text("96.00")
    expect(visit.page.locator("#state-word")).to_have_text("ACTIVE")
    assert visit.page.evaluate("window.alarmed") == 0


@pytest.mark.soak
def test_a_stream_that_is_silent_for_too_long_counts_as_lost(browser: Browser, daemon: Watched, wire: Cable) -> None:
    with visiting(browser, wire.address) as visit:
        visit.page.clock.install()
        visit.sign_in(daemon.token)
        wire.freeze()

        visit.page.clock.fast_forward(26_000)
        visit.page.clock.fast_forward(3_000)

        expect(visit.page.locator(LOST)).to_contain_text("nothing was heard for too long")
        wire.thaw()
        visit.page.clock.fast_forward(16_000)
        expect(visit.page.locator("#state-word")).to_have_text("ACTIVE")


def test_a_page_that_is_signed_out_says_so_in_large_and_stays(browser: Browser, tmp_path: Path) -> None:
    with watched_daemon(tmp_path / "state") as first, visiting(browser, first.address) as visit:
        visit.sign_in(first.token)
        first.process.kill()
        first.process.wait()
        expect(visit.page.locator(LOST)).to_be_visible()

        with watched_daemon(tmp_path / "state", port=first.port) as again:
            alarm = visit.page.locator("[data-alarm=signed-out]")
            expect(alarm.get_by_role("heading")).to_have_text("Signed out: this is not live")
            assert alarm.get_by_role("heading").evaluate("each => parseFloat(getComputedStyle(each).fontSize)") >= 32
            expect(alarm).to_contain_text("What stands below is as it was then")
            expect(visit.page).to_have_title("Signed out: this is not live · mrdaemon")
            expect(visit.page.locator("#state-word")).to_have_text("signed out")
            expect(visit.page.locator('[data-key="core/QQQ"] .worth')).to_have_text("$5,000.00")
            expect(visit.page.locator("#halt")).to_be_disabled()
            enter_again(visit, again.token)


def enter_again(visit: Visit, token: str) -> None:
    """Sign in from a page that says that the session is over."""
    visit.page.locator("[data-alarm=signed-out]").get_by_role("link", name="Sign in").click()
    expect(visit.page.locator("#ended")).to_contain_text("The session is over")
    visit.page.get_by_label("Token").fill(token)
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".position").first).to_be_visible()
    expect(visit.page.locator("#state-word")).to_have_text("ACTIVE")


@pytest.mark.soak
def test_a_gap_and_a_return_are_said_aloud(wire: Cable, visit: Visit) -> None:
    said = visit.page.locator("#said")
    wire.cut()
    expect(said).to_contain_text("No connection to the daemon.")

    wire.mend()

    expect(said).to_contain_text("The daemon is heard again.")


def test_prices_that_stop_are_big_and_clear(browser: Browser, tmp_path: Path) -> None:
    with watched_daemon(tmp_path / "stale", stale_after=1) as daemon, visiting(browser, daemon.address) as visit:
        visit.sign_in(daemon.token)

        expect(visit.page.locator("[data-alarm=stale]")).to_contain_text("STALE: no prices arrive")
        expect(visit.page.locator('[data-key="core/QQQ"]')).to_have_attribute("data-trouble", "stale")
        daemon.price(100)
        expect(visit.page.locator('[data-key="core/QQQ"]')).not_to_have_attribute("data-trouble", "stale")
