"""The hot path: what a print costs that concerns nobody, against the least that Python can do about it."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from benchmarks.market import OPEN, plan, running, seen, symbol
from benchmarks.measuring import alternate, check, report, workplace
from mrdaemon.core.policy import PrintRules
from mrdaemon.core.prints import Print

SYMBOLS = 500
PRINTS = 100_000
"""In a round, whatever the size of a batch."""
ROUNDS = 30
GOALS = {1_000: 1.5, 20: 1.8, 1: None}
"""By size of a batch: the most that a print may cost, as a ratio of the bare loop."""

Pairs = dict[str, tuple[float, float]]


def bare(pairs: Pairs, batch: list[Print]) -> int:
    """Look a symbol up and compare two floats: what any filter must do; counts what lies outside."""
    outside = 0
    for each in batch:
        low, high = pairs[each[0]]
        price = each[1]
        if price <= low or price >= high:
            outside += 1
    return outside


def feed(take: Callable[[list[Print]], object], batches: list[list[Print]]) -> None:
    """Hand over every batch; nothing may come of any."""
    fired = False
    for batch in batches:
        if take(batch):
            fired = True
    check(holds=not fired, what="that no print fires")


def main() -> None:
    """Measure every size of batch."""
    engine = running(plan(1, SYMBOLS, PrintRules()))
    draw = random.Random(1)
    prints = [seen(symbol(draw.randrange(SYMBOLS)), 99.0 + 2 * draw.random()) for _ in range(PRINTS)]
    pairs: Pairs = {symbol(each): (95.0, 105.0) for each in range(SYMBOLS)}
    for size, goal in GOALS.items():
        batches = [prints[at : at + size] for at in range(0, PRINTS, size)]

        rounds = alternate(
            ROUNDS,
            engine=partial(feed, partial(engine.prints, now=OPEN), batches),
            bare=partial(feed, partial(bare, pairs), batches),
        )
        report(
            f"engine/batch-{size}",
            f"a quiet print among {SYMBOLS} symbols, against a bare loop",
            engine_ns=rounds.best("engine") / PRINTS * 1e9,
            bare_ns=rounds.best("bare") / PRINTS * 1e9,
            ratio=rounds.ratio("engine", "bare"),
            goal=goal,
        )
    check(holds=all(engine.last(symbol(each)) is not None for each in range(SYMBOLS)), what="that prints are kept")


if __name__ == "__main__":
    with workplace():
        main()
