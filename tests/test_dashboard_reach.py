"""The dashboard for everybody: in both themes, on a phone, by keyboard, with a screen reader, with 500 positions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import DESKTOP, PHONE, Visit, Watched, chromium, obstacles, visiting, watched_daemon

expect.set_options(timeout=15_000)
SIZES = {"desktop": DESKTOP, "phone": PHONE}
EVERYWHERE = pytest.mark.parametrize(
    ("size", "theme"),
    [
        ("desktop", "light"),
        ("phone", "dark"),
        pytest.param("desktop", "dark", marks=pytest.mark.soak),
        pytest.param("phone", "light", marks=pytest.mark.soak),
    ],
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One for all: it asks about SPY, has traded QQQ, and holds KO back."""
    with watched_daemon(tmp_path_factory.mktemp("reach") / "state") as started:
        assert started.tell("pause", "KO").code == 0
        started.price(94, "SPY")
        started.price(94, "KO")
        started.price(94)
        started.hear("order_filled")
        yield started


@pytest.fixture
def visit(browser: Browser, daemon: Watched) -> Iterator[Visit]:
    with visiting(browser, daemon.address) as page:
        page.sign_in(daemon.token)
        yield page
        assert page.complaints == []


# With axe


@EVERYWHERE
def test_nobody_is_kept_out_of_the_dashboard(browser: Browser, daemon: Watched, size: str, theme: str) -> None:
    with visiting(browser, daemon.address, size=SIZES[size], theme=theme) as visit:
        visit.sign_in(daemon.token)
        expect(visit.page.locator(".approval")).to_be_visible()
        visit.page.get_by_role("button", name="QQQ", exact=True).click()
        expect(visit.page.locator(".why")).to_contain_text("guards agree")

        assert obstacles(visit.page) == []


@EVERYWHERE
def test_nobody_is_kept_out_when_everything_is_wrong(browser: Browser, daemon: Watched, size: str, theme: str) -> None:
    with visiting(browser, daemon.address, size=SIZES[size], theme=theme) as visit:
        visit.sign_in(daemon.token)
        assert daemon.tell("halt").code == 0
        try:
            expect(visit.page.locator("[data-alarm=halted]")).to_be_visible()
            visit.page.locator("#pause").click()
            expect(visit.page.get_by_role("dialog")).to_be_visible()

            assert obstacles(visit.page) == []
            visit.page.keyboard.press("Escape")
            assert obstacles(visit.page) == []
        finally:
            assert daemon.tell("resume", "--yes").code == 0


@EVERYWHERE
def test_nobody_is_kept_out_of_signing_in(browser: Browser, daemon: Watched, size: str, theme: str) -> None:
    with visiting(browser, daemon.address, size=SIZES[size], theme=theme) as visit:
        visit.page.goto(f"{daemon.address}/login?ended")
        expect(visit.page.locator("#ended")).to_be_visible()

        assert obstacles(visit.page) == []


# Themes


def test_the_theme_is_the_systems_until_somebody_switches(browser: Browser, daemon: Watched) -> None:
    with visiting(browser, daemon.address, theme="dark") as visit:
        visit.sign_in(daemon.token)
        root = visit.page.locator("html")
        expect(root).to_have_attribute("data-theme", "dark")

        visit.page.emulate_media(color_scheme="light")
        expect(root).to_have_attribute("data-theme", "light")


@pytest.mark.soak
def test_a_theme_that_was_chosen_is_remembered(visit: Visit) -> None:
    root, switch = visit.page.locator("html"), visit.page.get_by_role("button", name="Dark theme")
    light = root.evaluate("each => getComputedStyle(each).backgroundColor")

    switch.click()
    expect(root).to_have_attribute("data-theme", "dark")
    expect(switch).to_have_attribute("aria-pressed", "true")
    assert root.evaluate("each => getComputedStyle(each).backgroundColor") != light

    visit.page.reload()
    expect(root).to_have_attribute("data-theme", "dark")


# On a phone


def test_a_phone_shows_everything_without_scrolling_sideways(browser: Browser, daemon: Watched) -> None:
    with visiting(browser, daemon.address, size=PHONE) as visit:
        visit.sign_in(daemon.token)
        visit.page.get_by_role("button", name="QQQ", exact=True).click()
        expect(visit.page.locator(".why")).to_contain_text("guards agree")

        assert visit.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        for name in ("Approve", "Reject"):
            box = visit.page.locator(".approval").get_by_role("button", name=name).bounding_box()
            assert box is not None
            assert box["height"] >= 44


# By keyboard


def test_a_position_is_found_and_opened_by_keyboard(visit: Visit) -> None:
    keys = visit.page.keyboard
    keys.press("/")
    keys.type("spy")
    expect(visit.page.locator(".position")).to_have_count(1)

    keys.press("ArrowDown")
    expect(visit.page.get_by_role("button", name="SPY", exact=True)).to_be_focused()
    keys.press("Enter")
    expect(visit.page.locator('[data-key="core/SPY"] .detail')).to_be_visible()
    keys.press("Escape")
    keys.press("ArrowUp")
    keys.press("Escape")

    expect(visit.page.locator(".position")).to_have_count(3)


def test_a_question_is_answered_by_keyboard(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Reject: Buy $300.00 of SPY").focus()
    visit.page.keyboard.press("Tab")
    expect(visit.page.get_by_role("button", name="Approve: Buy $300.00 of SPY")).to_be_focused()

    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("dialog").get_by_role("button", name="Approve")).to_be_focused()
    visit.page.keyboard.press("Escape")

    expect(visit.page.get_by_role("button", name="Approve: Buy $300.00 of SPY")).to_be_focused()


def test_the_first_key_leads_past_the_bar(visit: Visit) -> None:
    visit.page.keyboard.press("Tab")
    expect(visit.page.get_by_role("link", name="Skip to the positions")).to_be_focused()

    visit.page.keyboard.press("Enter")

    expect(visit.page.locator("#positions")).to_be_focused()


# With a screen reader


@pytest.mark.soak
def test_prices_alone_are_never_said_aloud(daemon: Watched, visit: Visit) -> None:
    said = visit.page.locator("#said")
    expect(said).to_contain_text("Waiting for you: buy $300.00 of SPY.")
    before = said.inner_text()
    for price in (100.1, 100.2, 100.3):
        daemon.price(price)
        expect(visit.page.locator('[data-key="core/QQQ"] .price')).to_have_text(f"{price:.2f}")

    assert said.inner_text() == before
    assert visit.page.locator("[aria-live] .position, [aria-live] .gauge, [aria-live] .event").count() == 0


# With many positions


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched_daemon(tmp_path_factory.mktemp("many") / "state", count=500) as started:
        yield started


def test_of_500_positions_only_those_that_are_seen_are_drawn(browser: Browser, many: Watched) -> None:
    with visiting(browser, many.address) as visit:
        visit.sign_in(many.token)
        expect(visit.page.locator("#tally")).to_contain_text("500 positions")

        assert visit.page.locator(".position").count() == 500
        assert 0 < visit.page.locator(".position .needle").count() < 40

        visit.page.locator(".position").nth(400).scroll_into_view_if_needed()
        expect(visit.page.locator(".position").nth(400).locator(".worth")).to_be_visible()


def test_of_500_positions_the_one_at_its_edge_comes_first(browser: Browser, many: Watched) -> None:
    with visiting(browser, many.address) as visit:
        visit.sign_in(many.token)
        many.price(104.8, "S321")

        expect(visit.page.locator(".position").first).to_have_attribute("data-key", "core/S321")
        expect(visit.page.locator("#tally")).to_contain_text("1 near an edge")


@pytest.mark.soak
def test_of_500_positions_one_is_found_by_its_name(browser: Browser, many: Watched) -> None:
    with visiting(browser, many.address) as visit:
        visit.sign_in(many.token)
        visit.page.get_by_role("searchbox").fill("s499")

        expect(visit.page.locator(".position")).to_have_count(1)
        expect(visit.page.locator('[data-key="core/S499"] .worth')).to_be_visible()
        expect(visit.page.locator("#tally")).to_contain_text("1 of 500")


def test_the_list_holds_still_while_somebody_points_at_it(browser: Browser, many: Watched) -> None:
    with visiting(browser, many.address) as visit:
        visit.sign_in(many.token)
        expect(visit.page.locator("#tally")).to_contain_text("500 positions")  # None comes in between any more.
        first = visit.page.locator(".position").first
        first.hover()
        visit.until("document.getElementById('rows').matches(':hover')")
        before = first.get_attribute("data-key")
        many.price(104.9, "S123")
        expect(visit.page.locator("#tally")).to_contain_text("near an edge")
        visit.page.clock.install()
        visit.page.clock.run_for(10_000)

        assert first.get_attribute("data-key") == before


# Exact figures


SHOWN = {
    "dollars('1234567.005')": "$1,234,567.01",
    "dollars('-0.004')": "$0.00",
    "dollars('-12.5')": "−$12.50",
    "price('73.536', 'floor')": "73.53",
    "price('81.2610', 'ceiling')": "81.27",
    "price('81.2600', 'ceiling')": "81.26",
    "price('0.00001234')": "0.00001234",
    "price('91234.5')": "91,234.50",
    "shares('5.071104030')": "5.07110403",
    "sum(['0.1', '0.2', '-0.05'])": "0.25",
    "sum(['9007199254740993.01', '0.01'])": "9007199254740993.02",
    "percent('0.0281')": "+2.8\u00a0%",
    "percent('-0.0004')": "±0.0\u00a0%",
}
"""What a call of the page's own functions gives."""


def test_money_is_rounded_on_its_digits(visit: Visit) -> None:
    calls = ", ".join(f"format.{each}" for each in SHOWN)

    said = visit.page.evaluate(f"async () => {{ const format = await import('/static/format.js'); return [{calls}]; }}")

    assert dict(zip(SHOWN, said, strict=True)) == SHOWN


def test_the_stream_is_read_however_it_is_cut(visit: Visit) -> None:
    said = visit.page.evaluate(
        """async () => {
          const { EventReader } = await import("/static/stream.js");
          const reader = new EventReader();
          const pieces = ["event: ne", "ws\\nid: 7\\nda", "ta: [1,\\ndata: 2]\\n", "\\n: still here\\n\\r\\n"];
          pieces.push("event: x\\n\\n", "data:y\\r\\n\\r\\n");
          return pieces.flatMap((each) => [...reader.read(each)]).map((each) => [each.event, each.data, each.id]);
        }"""
    )

    assert said == [["news", "[1,\n2]", "7"], ["message", "y", "7"]]
