"""Makes the pictures of the dashboard in docs/images: ``.venv/bin/python -m tests.pictures``, in two minutes.

What they show is a daemon on a paper account and made-up prices: six and a half hours of trading that pass in little
more than a minute. They look best where the font Inter is installed (Debian: fonts-inter).
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from mrdaemon.brokers.paper import PaperBroker
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.policy import Mode, Plan, PositionPlan
from mrdaemon.core.prints import trade_print
from mrdaemon.feeds import Deliver
from tests.browser import DESKTOP, PHONE, Visit, Watched, chromium, serve_live, started, visiting
from tests.builders import RAW, plan, position
from tests.running import ROOT

IMAGES: Final = ROOT / "docs" / "images"
SIZES: Final = {"desktop": DESKTOP, "phone": PHONE}
THEMES: Final = ("light", "dark")
DAY: Final = 6.5 * 3600
"""Seconds of trading."""
TAKES: Final = 75.0
"""Seconds in which they pass."""
STEPS: Final = 300


class Place(NamedTuple):
    """A position of the pictures, and how its day goes."""

    price: float
    target: str
    zone: str
    mode: Mode
    swing: float
    """How far a step goes, as a ratio."""
    end: float
    """Where its value stands when the picture is made: 0 at the target, -1 and 1 at the edges."""


PLACES: Final[Mapping[str, Place]] = {
    "QQQ": Place(512.40, "12000", "3%", Mode.AUTO, 0.0032, 0.42),
    "SPY": Place(604.10, "12000", "2%", Mode.APPROVE, 0.0012, -1.08),
    "AAPL": Place(228.60, "5000", "4%", Mode.AUTO, 0.0040, -0.31),
    "XOM": Place(118.30, "5000", "4%", Mode.AUTO, 0.0046, 0.6),
    "KO": Place(62.85, "3000", "3%", Mode.ALERT, 0.0014, -0.12),
    "BTC/USD": Place(91_240.0, "3000", "6%", Mode.AUTO, 0.0062, 0.3),
}


class HurriedClock:
    """A clock on which a day of trading passes in a minute, and which goes on as others do from then on."""

    def __init__(self) -> None:
        self._begun = time.time()
        self._rate = DAY / TAKES

    def now(self) -> Instant:
        passed = time.time() - self._begun
        end = self._begun + TAKES
        at = end - DAY + passed * self._rate if passed < TAKES else self._begun + passed
        return Instant(int(at * SECOND))

    async def sleep(self, seconds: float) -> None:
        in_a_hurry = time.time() - self._begun < TAKES
        await asyncio.sleep(seconds / self._rate if in_a_hurry else seconds)


class Day:
    """The prices of a day, as a stream."""

    lockstep = False
    name = "made-up prices"

    def __init__(self, clock: HurriedClock) -> None:
        self.delivered = self.refused = 0
        self._clock = clock

    async def run(self, deliver: Deliver) -> None:
        """Deliver them, then let the last ones stand."""
        walks = {symbol: walk(symbol, place) for symbol, place in PLACES.items()}
        for step in range(STEPS + 1):
            for symbol, prices in walks.items():
                await deliver([trade_print(symbol, next(prices), self._clock.now())], None)
                self.delivered += 1
            if step < STEPS:
                await asyncio.sleep(TAKES / STEPS)
        await asyncio.Event().wait()


def walk(symbol: str, place: Place) -> Iterator[float]:
    """Wander from a price towards where the day ends."""
    dice = random.Random(symbol)
    width = float(place.zone.rstrip("%")) / 100
    price, end = place.price, place.price * (1 + place.end * width)
    for left in range(STEPS, 0, -1):
        yield round(price, 2)
        pull = (end - price) / max(left, 12)
        price += pull + dice.gauss(0, place.swing) * price * min(1.0, left / 20)
    while True:
        yield round(end, 2)


def _plan() -> Plan:
    prints = msgspec.structs.replace(RAW, stale_after=None)
    return plan(*(_position(name, each) for name, each in PLACES.items()), reserve="24000", prints=prints)


def _position(name: str, place: Place) -> PositionPlan:
    """Hold the target's worth, bought a little cheaper."""
    shares, cost = f"{float(place.target) / place.price:.6f}", f"{float(place.target) * 0.93:.2f}"
    rules = {"target": place.target, "below": place.zone, "above": place.zone, "mode": place.mode}
    return position(name, shares, cost=cost, **rules)


def serve() -> None:
    """Run the daemon that is pictured: the child's side."""
    clock = HurriedClock()

    def feed(_: PaperBroker) -> Day:
        return Day(clock)

    asyncio.run(serve_live(Path(sys.argv[1]), 0, _plan(), clock, feed))


def _until_over(daemon: Watched, began: float) -> None:
    """Let the day pass."""
    time.sleep(max(0.0, began + TAKES + 2 - time.monotonic()))
    assert daemon.process.poll() is None, "the daemon ended"


def _picture(visit: Visit, path: Path) -> None:
    visit.until("() => document.querySelectorAll('.position .line[d]').length >= 3 && document.querySelector('.event')")
    visit.until("() => document.querySelector('.reserve .line[d]')")
    visit.until("() => document.querySelector('.approval').textContent.includes('at or below')")
    visit.page.screenshot(path=path)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} kB")  # noqa: T201 - what it has done


def main() -> None:
    """Make them."""
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        started("from tests.pictures import serve; serve()", folder) as daemon,
        chromium() as browser,
    ):
        _until_over(daemon, time.monotonic())
        for size, viewport in SIZES.items():
            for theme in THEMES:
                scale = 1 if size == "desktop" else 2
                with visiting(browser, daemon.address, size=viewport, theme=theme, device_scale_factor=scale) as visit:
                    visit.sign_in(daemon.token)
                    _picture(visit, IMAGES / f"dashboard-{size}-{theme}.png")


if __name__ == "__main__":
    main()
