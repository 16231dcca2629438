"""Many positions on one symbol: a quiet print must cost the same whether one holds it or a hundred thousand."""

from __future__ import annotations

from functools import partial

from benchmarks.market import OPEN, plan, running, seen, symbol
from benchmarks.measuring import alternate, check, report, workplace
from mrdaemon.core.engine import Engine
from mrdaemon.core.policy import PrintRules
from mrdaemon.core.prints import Print

SIZES = (1, 1_000, 100_000)
BATCH = 1_000
BATCHES = 100
ROUNDS = 30
GOAL = 1.2


def main() -> None:
    """Measure the same prints on engines of every size."""
    engines = {f"of_{size}": running(plan(size, 1, PrintRules())) for size in SIZES}
    batch = [seen(symbol(0), 99.0 + each / BATCH) for each in range(BATCH)]

    def feed(engine: Engine, batch: list[Print]) -> None:
        for _ in range(BATCHES):
            check(holds=not engine.prints(batch, OPEN), what="that no print fires")

    rounds = alternate(ROUNDS, **{name: partial(feed, engine, batch) for name, engine in engines.items()})
    for size, (name, engine) in zip(SIZES, engines.items(), strict=True):
        check(holds=len(engine.state.positions) == size, what=f"{size} positions")
        check(holds=all(each.armed for each in engine.state.positions.values()), what="that all are armed")
        report(
            f"scale/{size}-positions",
            "a quiet print, against the same with one position on the symbol",
            print_ns=rounds.best(name) / (BATCH * BATCHES) * 1e9,
            ratio=rounds.ratio(name, "of_1"),
            goal=GOAL,
        )


if __name__ == "__main__":
    with workplace():
        main()
