"""What tests of metrics share: a daemon to look at, made up, and a scrape as Prometheus' own parser reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from mrdaemon.core.instant import SECOND, Instant, iso
from mrdaemon.core.policy import ChannelState, FeedState, Side
from mrdaemon.latency import QUICK, Histogram
from mrdaemon.measured import Footprint, Measured
from mrdaemon.status import ChannelStatus, FeedStatus, PositionStatus, StreamStatus
from mrdaemon.tally import Queue, Tally
from mrdaemon.web import metrics
from tests.alerts_mqtt import STARTED, FakeView, position
from tests.running import ROOT, Line

DOCS: Final = (ROOT / "docs" / "metrics.md").read_text()
ROW: Final = re.compile(r"^\| `(mrdaemon_\w+)` \| (\w+) \|([^|]*)\| (.+) \|$", re.MULTILINE)
EARLIER: Final = iso(Instant(STARTED - 90 * SECOND))
STREAM: Final = StreamStatus("alpaca iex", FeedState.STALE, EARLIER, "silent")
DOWN: Final = ChannelStatus("phone", ChannelState.DOWN, EARLIER, "json://user:s3cret@host refused", 7)
FEED: Final = FeedStatus("alpaca iex", is_recording=False, delivered=1200, refused=3, newest=EARLIER, ended=False)


class MeasuredView(FakeView):
    """A daemon to look at, with what it measured of itself."""

    def __init__(self, *positions: PositionStatus) -> None:
        super().__init__(*positions)
        self.tally = Tally()
        self.commits = Histogram(QUICK)
        self.footprint = Footprint(resident=90_000_000, processor=12.5, journal=40_960, log=8_192, free=5_000_000_000)

    def measured(self) -> Measured:
        return Measured(self.tally.counted(), 77, self.commits.shape(), self.footprint)


class Scraped:
    """What a scrape gave, as Prometheus reads it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: list[Metric] = list(text_string_to_metric_families(text))

    def of(self, name: str) -> dict[tuple[str, ...], float]:
        """Give the samples of a metric by their labels' values, in the order in which the docs have the labels."""
        labels = documented()[name].labels
        samples = self._samples(name)
        found = {tuple(each.labels[label] for label in labels): each.value for each in samples}
        assert len(found) == len(samples), f"{name} has a series twice"
        return found

    def one(self, name: str) -> float:
        """Give a metric's only sample."""
        [value] = self.of(name).values()
        return value

    def buckets(self, name: str) -> dict[str, float]:
        """Give the buckets of a histogram by their upper bounds."""
        return {each.labels["le"]: each.value for each in self._samples(f"{name}_bucket")}

    def count(self, name: str) -> float:
        """Give how much a histogram counted."""
        [each] = self._samples(f"{name}_count")
        return each.value

    def total(self, name: str) -> float:
        """Give the seconds of all that a histogram counted."""
        [each] = self._samples(f"{name}_sum")
        return each.value

    def _samples(self, name: str) -> list[Sample]:
        return [each for family in self.families for each in family.samples if each.name == name]


class Row(NamedTuple):
    """What the docs say of a metric."""

    kind: str
    labels: tuple[str, ...]
    meaning: str


def full_name(family: Metric) -> str:
    """Give a metric's name as it is written: the parser takes a counter's ending off."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def labels_of(family: Metric) -> tuple[str, ...]:
    return tuple(sorted(label for label in family.samples[0].labels if label != "le"))


def documented() -> dict[str, Row]:
    return {
        name: Row(kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in ROW.findall(DOCS)
    }


async def text(view: MeasuredView) -> str:
    return b"".join([piece async for piece in metrics.write(await metrics.take(view))]).decode()


async def scrape(view: MeasuredView) -> Scraped:
    return Scraped(await text(view))


def view(**overview: object) -> MeasuredView:
    """Show a daemon with one of each thing."""
    found = MeasuredView(position(waits={Side.TRIM: "cooldown"}))
    usual: Mapping[str, object] = {"feed": FEED, "streams": (STREAM,), "channels": (DOWN,)}
    found.status = msgspec.structs.replace(found.status, **{**usual, **overview})
    found.state.signals, found.state.held = 12, 5
    found.tally.queues["journal"] = Queue(lambda: 3)
    return found


def scraped(state: Path) -> Scraped:
    """Scrape a daemon over its socket."""
    line = Line(state)
    try:
        line.request("GET", "/metrics")
        answer = line.getresponse()
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        return Scraped(answer.read().decode())
    finally:
        line.close()
