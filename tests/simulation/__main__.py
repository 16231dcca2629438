"""Run seeds of the fault simulation: ``python -m tests.simulation SEED [SEED | FIRST-LAST]... [--minutes N]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from mrdaemon import chain
from mrdaemon.core.instant import iso
from mrdaemon.sentences import sentence
from tests.simulation.invariants import check
from tests.simulation.world import World, hush


def main() -> int:
    """Run them; gives 1 where an invariant does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", nargs="+", help="a seed, or a range such as 1-100")
    parser.add_argument("--minutes", type=float, default=20.0, help="virtual minutes of each")
    parser.add_argument("--story", action="store_true", help="tell every event")
    asked = parser.parse_args()
    hush()
    orders = 0
    failed, hours, faults, happened = 0, 0.0, Counter[str](), Counter[str]()
    seeds = [seed for text in asked.seeds for seed in _range(text)]
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="mrdaemon-simulation-") as folder:
            world = World(seed, Path(folder), minutes=asked.minutes)
            try:
                world.run()
                wrong = check(world)
            except AssertionError as error:
                wrong = [str(error)]
            if asked.story:
                _tell(world)
        hours += world.hours
        orders += len(world.sent)
        faults += world.simulator.faults.log
        happened += world.happened
        if wrong:
            failed += 1
            sys.stdout.write(f"seed {seed}:\n" + "".join(f"  {each}\n" for each in wrong))
            sys.stdout.flush()
    sys.stdout.write(f"{len(seeds)} seeds, {failed} failed; {orders} orders in {hours:.1f} virtual hours\n")
    for what in (faults, happened):
        sys.stdout.write(", ".join(f"{number} {name}" for name, number in sorted(what.items())) + "\n")
    return 1 if failed else 0


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _tell(world: World) -> None:
    for record in chain.records(world.journal):
        sys.stdout.write(f"{iso(record.event.at)} {type(record.event).__name__}: {sentence(record.event)}\n")


if __name__ == "__main__":
    sys.exit(main())
