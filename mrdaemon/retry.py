"""How long to wait before something is tried again: exponential, with full jitter, capped. Never for an order."""

from __future__ import annotations

from typing import Final

from tenacity import RetryCallState, wait_random_exponential

FIRST: Final = 1.0
"""Seconds that the first wait may take."""
LONGEST: Final = 60.0
"""Seconds that any wait may take."""


class Backoff:
    """The waits between attempts, each a draw between nothing and a bound that doubles."""

    def __init__(self, first: float = FIRST, longest: float = LONGEST) -> None:
        self._draw = wait_random_exponential(multiplier=first, max=longest)
        self.attempts = 0
        """Failures since the last success."""

    def next(self) -> float:
        """Give the seconds to wait after one more failure."""
        self.attempts += 1
        state = RetryCallState(None, None, (), {})  # type: ignore[arg-type] # only the attempt's number is read
        state.attempt_number = self.attempts
        return self._draw(state)

    def succeeded(self) -> None:
        """Begin anew."""
        self.attempts = 0
