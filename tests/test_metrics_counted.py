"""What a daemon counts and measures of itself: from real events to what is scraped."""

from __future__ import annotations

import asyncio
import signal
from decimal import Decimal
from pathlib import Path

import pytest

from mrdaemon.alpaca.limiter import PER_MINUTE, Limiter, Urgency
from mrdaemon.core import events as ev
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.guards import Guard
from mrdaemon.core.money import Price
from mrdaemon.core.policy import FeedState
from mrdaemon.journal import Journal
from mrdaemon.latency import QUICK, SLOW, Histogram, Latency
from mrdaemon.outbox import Delivery, Outcome
from mrdaemon.tally import Queue, Tally
from tests.alpaca_beside import Daemon, simulator, until_state
from tests.alpaca_support import MovedClock
from tests.builders import START, Bench, plan, position
from tests.live import live_daemon
from tests.running import Place, daemon
from tests.scraping import MeasuredView, Scraped, scrape, scraped, view
from tests.test_alerting import Inbox, inbox, push, with_channels

__all__ = ["inbox"]
MS = 1_000_000
AT_ONCE = 'level = "info"\ngroup = 0'
STEPS = ("decision", "durable", "order_acknowledged", "order_filled")


class Watch:
    """A clock that a test moves, in nanoseconds."""

    def __init__(self) -> None:
        self.at = 0

    def __call__(self) -> int:
        return self.at


def counting(*events: ev.Event) -> MeasuredView:
    """Show a daemon that counted events."""
    found = view()
    found.tally.heed(events)
    return found


def steps(found: Scraped) -> dict[str, float]:
    """Give how much was counted of each step from a print."""
    return {step: found.count(f"mrdaemon_print_to_{step}_seconds") for step in STEPS}


# Decisions and holds


async def test_every_kind_of_decision_is_counted() -> None:
    bench = Bench(plan(position()))
    bench.prices(100, 90)
    found = await scrape(counting(*bench.events))
    assert found.of("mrdaemon_decisions_total") == {("signal",): 1, ("held",): 0, ("pending",): 0, ("dropped",): 0}


async def test_a_hold_is_counted_by_its_guard() -> None:
    bench = Bench(plan(position(), reserve="0"))
    bench.prices(100, 90)
    found = await scrape(counting(*bench.events))
    held = {guard for (guard,), count in found.of("mrdaemon_holds_total").items() if count}
    assert held == {"reserve"}
    assert found.of("mrdaemon_decisions_total")["held",] == 1


async def test_a_guard_that_never_held_has_a_zero() -> None:
    found = await scrape(view())
    assert found.of("mrdaemon_holds_total") == {(guard.value,): 0 for guard in Guard}


# Orders


async def test_orders_are_counted_when_they_are_decided_and_by_how_they_end() -> None:
    bench = Bench(plan(position()))
    bench.prices(100, 90, 110)
    found = await scrape(counting(*bench.events))
    assert found.of("mrdaemon_orders_intended_total") == {("core", "accumulate"): 1, ("core", "trim"): 1}
    ended = found.of("mrdaemon_orders_total")
    assert ended.pop(("core", "filled")) == 2
    assert ended == {("core", outcome): 0 for outcome in ("abandoned", "canceled", "expired", "rejected")}


async def test_an_order_that_the_broker_refused_is_counted_apart() -> None:
    bench = Bench(plan(position()), fill=False)
    [intent] = [each for each in bench.prices(100, 90) if isinstance(each, ev.OrderIntended)]
    bench.take(bench.engine.order_ended(intent.order, OrderStatus.REJECTED, "no", bench.now))
    found = await scrape(counting(*bench.events))
    assert found.of("mrdaemon_orders_total")["core", "rejected"] == 1
    assert found.of("mrdaemon_orders_total")["core", "filled"] == 0


async def test_an_order_of_which_nobody_knows_is_counted() -> None:
    bench = Bench(plan(position()), fill=False)
    [intent] = [each for each in bench.prices(100, 90) if isinstance(each, ev.OrderIntended)]
    bench.take(bench.engine.order_ambiguous(intent.order, "no answer", bench.now))
    found = await scrape(counting(*bench.events))
    assert found.of("mrdaemon_orders_ambiguous_total") == {("core",): 1}


# Connections and alerts


def connection(*states: FeedState) -> list[ev.Event]:
    return [ev.FeedStateChanged(at=START, feed="alpaca iex", state=state) for state in states]


async def test_a_stream_that_came_up_once_has_not_reconnected() -> None:
    up = connection(FeedState.CONNECTING, FeedState.AUTHENTICATED, FeedState.SUBSCRIBED, FeedState.LIVE)
    assert (await scrape(counting(*up))).of("mrdaemon_stream_reconnects_total") == {("alpaca iex",): 0}


async def test_a_stream_that_is_tried_and_does_not_come_up_has_not_reconnected() -> None:
    tried = connection(FeedState.SUBSCRIBED, FeedState.CONNECTING, FeedState.AUTHENTICATED, FeedState.CONNECTING)
    assert (await scrape(counting(*tried))).one("mrdaemon_stream_reconnects_total") == 0


async def test_each_time_that_a_stream_is_back_counts() -> None:
    flapping = connection(*[FeedState.CONNECTING, FeedState.SUBSCRIBED, FeedState.LIVE] * 3)
    assert (await scrape(counting(*flapping))).one("mrdaemon_stream_reconnects_total") == 2


async def test_alerts_are_counted_by_what_became_of_them() -> None:
    found = view()
    became = [Outcome.DELIVERED, Outcome.DELIVERED, Outcome.ASIDE, Outcome.REFUSED]
    found.tally.heed_alerts([Delivery("phone", n, 0, outcome) for n, outcome in enumerate(became)])
    shown = (await scrape(found)).of("mrdaemon_channel_alerts_total")
    assert shown == {
        ("phone", "delivered"): 2,
        ("phone", "aside"): 1,
        ("phone", "expired"): 0,
        ("phone", "refused"): 1,
    }


async def test_a_queue_shows_how_deep_it_is_and_what_it_let_go() -> None:
    found = view()
    found.tally.queues["output"] = Queue(lambda: 9, lambda: 4)
    shown = await scrape(found)
    assert shown.of("mrdaemon_queue_depth") == {("journal",): 3, ("output",): 9}
    assert shown.of("mrdaemon_queue_dropped_total") == {("journal",): 0, ("output",): 4}


async def test_requests_that_wait_for_the_rate_limit_are_a_queue() -> None:
    limiter, found = Limiter(MovedClock()), view()
    found.tally.queues["requests of alpaca"] = Queue(lambda: limiter.waiting)
    for _ in range(PER_MINUTE):
        await limiter.take(Urgency.ORDER)
    free = await scrape(found)
    late = asyncio.create_task(limiter.take(Urgency.ORDER))
    await asyncio.sleep(0)
    waiting = await scrape(found)
    late.cancel()
    await asyncio.wait([late])
    over = await scrape(found)
    depths = [each.of("mrdaemon_queue_depth")["requests of alpaca",] for each in (free, waiting, over)]
    assert depths == [0, 1, 0]


async def test_the_journal_and_the_machine_show() -> None:
    found = view()
    found.commits.add(0.002)
    shown = await scrape(found)
    assert shown.one("mrdaemon_journal_events_total") == 77
    assert shown.of("mrdaemon_journal_size_bytes") == {("journal",): 40_960, ("log",): 8_192}
    assert shown.one("mrdaemon_disk_free_bytes") == 5_000_000_000
    assert shown.one("mrdaemon_process_resident_bytes") == 90_000_000
    assert shown.one("mrdaemon_process_cpu_seconds_total") == 12.5
    assert shown.count("mrdaemon_journal_commit_seconds") == 1


# How long things took


async def test_a_bucket_has_all_that_took_no_longer() -> None:
    found = view()
    for seconds in (0.0001, 0.00011, 0.2, 99.0):
        found.commits.add(seconds)
    shown = await scrape(found)
    buckets = shown.buckets("mrdaemon_journal_commit_seconds")
    assert (buckets["5e-05"], buckets["0.0001"], buckets["0.00025"]) == (0, 1, 2)
    assert (buckets["0.1"], buckets["0.25"], buckets["5.0"], buckets["+Inf"]) == (2, 3, 3, 4)
    assert list(buckets.values()) == sorted(buckets.values())
    assert shown.total("mrdaemon_journal_commit_seconds") == pytest.approx(99.20021)


def test_a_clock_that_was_set_back_took_no_time() -> None:
    found = Histogram(QUICK)
    found.add(-3600.0)
    assert (found.shape().counts[0], found.shape().total) == (1, 0.0)


@pytest.mark.parametrize("bounds", [QUICK, SLOW])
def test_bounds_grow(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))


def decided(latency: Latency, events: list[ev.Event], took: int) -> asyncio.Future[None]:
    """Tell of what prints caused; what is given is to be done once that is durable."""
    durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    latency.decided(events, took, durable)
    return durable


async def test_an_order_is_timed_from_its_print_step_by_step() -> None:
    watch = Watch()
    latency = Latency(watch)
    bench = Bench(plan(position()), fill=False)
    events = bench.prices(100, 90)
    [order] = [each.order for each in events if isinstance(each, ev.OrderIntended)]
    watch.at = 5 * MS
    durable = decided(latency, events, 2 * MS)
    watch.at = 13 * MS
    durable.set_result(None)
    await asyncio.sleep(0)
    watch.at = 103 * MS
    latency.acknowledged(order)
    watch.at = 1003 * MS
    latency.filled(order)
    found = (latency.to_decision, latency.to_durable, latency.to_acknowledged, latency.to_filled)
    assert [each.shape().total for each in found] == pytest.approx([0.002, 0.010, 0.100, 1.000])
    assert [sum(each.shape().counts) for each in found] == [1, 1, 1, 1]


async def test_only_the_first_answer_and_the_first_fill_count() -> None:
    latency = Latency(Watch())
    bench = Bench(plan(position()), fill=False)
    events = bench.prices(100, 90)
    [order] = [each.order for each in events if isinstance(each, ev.OrderIntended)]
    decided(latency, events, MS)
    for _ in range(3):
        latency.acknowledged(order)
        latency.filled(order)
    assert [sum(each.shape().counts) for each in (latency.to_acknowledged, latency.to_filled)] == [1, 1]


async def test_an_order_that_ends_without_a_fill_is_forgotten() -> None:
    latency = Latency(Watch())
    bench = Bench(plan(position()), fill=False)
    events = bench.prices(100, 90)
    [order] = [each.order for each in events if isinstance(each, ev.OrderIntended)]
    decided(latency, events, MS)
    latency.ended(order)
    latency.filled(order)
    assert sum(latency.to_filled.shape().counts) == 0


async def test_what_could_not_be_written_was_never_durable() -> None:
    latency = Latency(Watch())
    bench = Bench(plan(position()), fill=False)
    durable = decided(latency, bench.prices(100, 90), MS)
    durable.set_exception(OSError("the disk is full"))
    await asyncio.sleep(0)
    assert sum(latency.to_decision.shape().counts) == 1
    assert sum(latency.to_durable.shape().counts) == 0


async def test_prints_that_decide_nothing_are_not_timed() -> None:
    latency = Latency(Watch())
    decided(latency, [ev.PriceAccepted(at=START, symbol="QQQ", price=Price(Decimal(100)))], MS)
    assert sum(latency.to_decision.shape().counts) == 0


def test_an_order_that_rests_on_no_print_is_not_timed() -> None:
    tally = Tally()
    bench = Bench(plan(position()))
    bench.prices(100, 90)
    tally.heed(bench.events)
    assert sum(tally.latency.to_acknowledged.shape().counts) == 0
    assert sum(tally.latency.to_filled.shape().counts) == 0


# Real daemons


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place").configure(speed="1x").record(100, 101, 102, apart=3600)


def test_a_recording_counts_from_its_prints_to_its_fills(place: Place) -> None:
    with daemon(place):
        found = scraped(place.state)
        journaled = len(place.events())
        journal, log = (place.state.joinpath(each).stat().st_size for each in ("journal.db", "journal.db-wal"))
    assert found.of("mrdaemon_decisions_total")["signal",] == found.one("mrdaemon_signals_total") == 1
    assert found.of("mrdaemon_orders_total")["core", "filled"] == 1
    assert steps(found) == dict.fromkeys(STEPS, 1)
    assert found.total("mrdaemon_print_to_decision_seconds") < found.total("mrdaemon_print_to_durable_seconds")
    assert found.one("mrdaemon_journal_events_total") == journaled
    assert found.count("mrdaemon_journal_commit_seconds") > 0
    assert found.total("mrdaemon_journal_commit_seconds") > 0
    sizes = found.of("mrdaemon_journal_size_bytes")
    assert sizes == {("journal",): journal, ("log",): log}
    assert min(journal, log) > 0
    assert found.one("mrdaemon_disk_free_bytes") > 0
    assert found.one("mrdaemon_process_resident_bytes") > 10_000_000
    assert found.one("mrdaemon_process_cpu_seconds_total") > 0
    assert {queue for (queue,) in found.of("mrdaemon_queue_depth")} == {"journal", "news", "orders", "output"}


async def test_what_is_not_durable_yet_waits_in_the_journal(tmp_path: Path) -> None:
    async with Journal(tmp_path / "journal.db") as journal:
        journal.load()
        bench = Bench(plan(position()))
        written = [journal.append([each]) for each in bench.events]
        waiting = journal.waiting
        await asyncio.gather(*written)
        assert (waiting, journal.waiting) == (len(bench.events), 0)
        assert sum(journal.commits.shape().counts) > 0


def test_a_signal_that_a_guard_holds_shows_at_once(tmp_path: Path) -> None:
    place = Place(tmp_path / "place").configure(speed="60x", reserve="0", opening='shares = "50"')
    place.record(100, 90).record(90, apart=3600)
    with daemon(place, kind="signal_held"):
        found = scraped(place.state)
    assert found.of("mrdaemon_holds_total")["reserve",] == 1
    assert steps(found) == {"decision": 1, "durable": 1, "order_acknowledged": 0, "order_filled": 0}


def test_a_restart_counts_from_zero_and_goes_on_with_the_journals_totals(place: Place) -> None:
    with daemon(place) as process:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    with daemon(place, kind="feed_opened"):
        found = scraped(place.state)
    assert found.one("mrdaemon_signals_total") == 1
    assert found.of("mrdaemon_decisions_total")["signal",] == 0
    assert found.of("mrdaemon_orders_total")["core", "filled"] == 0
    assert found.one("mrdaemon_journal_events_total") > len(place.of("order_filled"))


def test_alerts_that_arrive_are_counted(place: Place, inbox: Inbox) -> None:
    good = push(inbox.url("a"), name="good", more=AT_ONCE)
    with daemon(with_channels(place, good), kind="channel_state_changed"):
        found = scraped(place.state)
    assert found.of("mrdaemon_channel_up") == {("good",): 1}
    counted = found.of("mrdaemon_channel_alerts_total")
    assert counted["good", "delivered"] > 0
    assert counted["good", "refused"] == counted["good", "expired"] == 0


def test_an_order_whose_answer_is_late_is_timed_until_it_came(tmp_path: Path) -> None:
    with live_daemon(tmp_path / "live") as stream:
        stream.say("late", "price 90 QQQ")
        stream.hear("broker_submit")
        waiting = scraped(tmp_path / "live")
        stream.say("plain")
        stream.hear("order_accepted")
        answered = scraped(tmp_path / "live")
    assert waiting.of("mrdaemon_queue_depth")["orders",] == 1
    assert waiting.count("mrdaemon_print_to_durable_seconds") == 1
    assert waiting.count("mrdaemon_print_to_order_acknowledged_seconds") == 0
    assert answered.count("mrdaemon_print_to_order_acknowledged_seconds") == 1
    late = answered.total("mrdaemon_print_to_order_acknowledged_seconds")
    assert late > answered.total("mrdaemon_print_to_durable_seconds")


def test_an_order_of_which_nobody_knows_shows_while_it_is_looked_up(tmp_path: Path) -> None:
    with live_daemon(tmp_path / "live") as stream:
        stream.say("unsure", "price 90 QQQ")
        stream.hear("order_ambiguous")
        found = scraped(tmp_path / "live")
    assert found.of("mrdaemon_account_ambiguous_orders") == {("paper",): 1}
    assert found.of("mrdaemon_orders_ambiguous_total") == {("core",): 1}


def test_a_stream_that_is_cut_at_a_local_alpaca_has_reconnected_once(tmp_path: Path) -> None:
    with simulator() as alpaca, Daemon(tmp_path, alpaca.url).running("order_ended") as process:
        before = scraped(tmp_path / "state").of("mrdaemon_stream_reconnects_total")
        alpaca.tell("faults", name="cut", stream="updates", times=1)
        until_state(process, "orders of alpaca", "connecting")
        until_state(process, "orders of alpaca", "subscribed")
        after = scraped(tmp_path / "state")
    assert before == {("alpaca iex",): 0, ("orders of alpaca",): 0}
    assert after.of("mrdaemon_stream_reconnects_total") == {("alpaca iex",): 0, ("orders of alpaca",): 1}
    assert after.of("mrdaemon_queue_depth")["requests of alpaca",] == 0
    assert steps(after) == dict.fromkeys(STEPS, 1)
