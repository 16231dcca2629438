"""The ladder of trigger prices: however many positions, a print meets the innermost pair first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mrdaemon.core.triggers import Ladder
from mrdaemon.core.zone import ALWAYS, HIGHEST_PRICE, LOWEST_PRICE

prices = st.floats(1.0, 1000.0)
pairs = st.tuples(prices, prices).map(lambda pair: (min(pair), max(pair)))


def test_an_empty_ladder_concerns_nobody() -> None:
    assert Ladder().innermost() == (LOWEST_PRICE, HIGHEST_PRICE)


def test_the_innermost_pair_is_the_highest_below_and_the_lowest_above() -> None:
    ladder = Ladder()
    ladder.place("wide", (90.0, 110.0))
    ladder.place("low", (95.0, 120.0))
    ladder.place("high", (80.0, 105.0))
    assert ladder.innermost() == (95.0, 105.0)


def test_crossed_positions_come_nearest_first_and_are_taken_out() -> None:
    ladder = Ladder()
    for key, low in (("c", 93.0), ("a", 97.0), ("b", 95.0), ("d", 91.0)):
        ladder.place(key, (low, 110.0))
    assert list(ladder.crossed(93.0)) == ["a", "b", "c"]
    assert ladder.innermost() == (91.0, 110.0)
    assert "a" not in ladder


def test_a_trigger_is_inclusive() -> None:
    ladder = Ladder()
    ladder.place("a", (95.0, 105.0))
    assert list(ladder.crossed(95.0)) == ["a"]
    ladder.place("a", (95.0, 105.0))
    assert list(ladder.crossed(105.0)) == ["a"]


def test_a_position_that_wants_every_print_comes_once() -> None:
    ladder = Ladder()
    ladder.place("new", ALWAYS)
    assert list(ladder.crossed(100.0)) == ["new"]


def test_a_replaced_or_removed_pair_is_forgotten() -> None:
    ladder = Ladder()
    ladder.place("a", (95.0, 105.0))
    ladder.place("a", (90.0, 110.0))
    ladder.place("b", (94.0, 106.0))
    ladder.remove("b")
    assert ladder.innermost() == (90.0, 110.0)
    assert list(ladder.crossed(94.0)) == []


def test_a_pair_that_returns_to_an_earlier_one_counts_once() -> None:
    ladder = Ladder()
    ladder.place("a", (95.0, 105.0))
    ladder.place("a", (90.0, 110.0))
    ladder.place("a", (95.0, 105.0))
    assert list(ladder.crossed(95.0)) == ["a"]
    assert list(ladder.crossed(95.0)) == []


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.one_of(st.none(), pairs)), max_size=60), prices)
def test_it_agrees_with_a_plain_search(moves: list[tuple[str, tuple[float, float] | None]], price: float) -> None:
    ladder, plain = Ladder(), dict[str, tuple[float, float]]()
    for key, pair in moves:
        if pair is None:
            ladder.remove(key)
            plain.pop(key, None)
        else:
            ladder.place(key, pair)
            plain[key] = pair
    low = max((pair[0] for pair in plain.values()), default=LOWEST_PRICE)
    high = min((pair[1] for pair in plain.values()), default=HIGHEST_PRICE)
    assert ladder.innermost() == (low, high)
    crossed = list(ladder.crossed(price))
    assert sorted(crossed) == sorted(key for key, (below, above) in plain.items() if price <= below or price >= above)
    assert len(ladder) == len(plain) - len(crossed)
