"""Which settings may change while a daemon runs: whatever is not known to be safe to change needs a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel

from mrdaemon.findings import Where
from mrdaemon.settings import Settings

OF_AN_ACCOUNT: Final = frozenset(
    {
        "cash",  # used once
        "slippage",
        "partial_fills",
        "orders_per_minute",
        "orders_per_day",
        "notional_per_order",
        "notional_per_day",
        "consecutive_rejects",
    }
)
"""What of an account may change: its limits, and how a paper one behaves."""
OF_THE_CALENDAR: Final = frozenset({"sessions", "extended_hours"})
"""What of the rules for prices says when markets are open: everything that runs goes by one calendar."""


def differences(before: Settings, after: Settings) -> Iterator[Where]:
    """Give every value that is not the same, and every entry that came or went."""
    yield from _differences(before, after, ())


def may_change(where: Where, after: Settings) -> bool:
    """Tell whether a setting may change without a restart; ``after`` are the settings that are to be."""
    match where:
        case ("portfolios" | "channels", *_) | ("feed", "channels"):
            return True
        case ("prices", key, *_):
            return key not in OF_THE_CALENDAR
        case ("accounts", _, key, *_):
            return key in OF_AN_ACCOUNT
        case ("alerts", key, *_):
            return key != "instance"  # It is in topics and names that others have noted.
        case ("mqtt", *_):
            return after.feed.kind != "mqtt"
        case _:
            return False


def _differences(before: object, after: object, where: Where) -> Iterator[Where]:
    if isinstance(before, BaseModel) and isinstance(after, BaseModel):
        for key in type(before).model_fields:
            yield from _differences(getattr(before, key), getattr(after, key), (*where, key))
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            if key in before and key in after:
                yield from _differences(before[key], after[key], (*where, key))
            else:
                yield (*where, key)
    elif before != after:
        yield where
