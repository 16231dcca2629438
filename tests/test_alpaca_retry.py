"""How long to wait before something is tried again."""

from __future__ import annotations

from mrdaemon.retry import FIRST, LONGEST, Backoff


def draws(attempt: int, backoff: type[Backoff] = Backoff) -> list[float]:
    found = []
    for _ in range(300):
        one = backoff()
        one.attempts = attempt - 1
        found.append(one.next())
    return found


def test_each_wait_may_be_twice_the_last_one() -> None:
    for attempt in range(1, 7):
        bound = FIRST * 2 ** (attempt - 1)
        found = draws(attempt)
        assert 0 <= min(found) < 0.1 * bound
        assert 0.9 * bound < max(found) <= bound


def test_no_wait_is_longer_than_the_longest() -> None:
    for attempt in (7, 20, 5000):
        assert 0.8 * LONGEST < max(draws(attempt)) <= LONGEST


def test_after_a_success_it_begins_anew() -> None:
    backoff = Backoff()
    for _ in range(50):
        backoff.next()
    backoff.succeeded()
    assert backoff.attempts == 0
    assert backoff.next() <= FIRST
