"""Names and chance that follow from what they are for: the same seed makes the same ids and the same draws."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final
from uuid import UUID

from mrdaemon.core.instant import Instant

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MILLISECOND: Final = 1_000_000


def _digest(parts: tuple[object, ...]) -> bytes:
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest()


def uuid_of(*parts: object) -> str:
    """Give the UUID that belongs to some parts."""
    return str(UUID(bytes=_digest(parts), version=4))


def chance(*parts: object) -> float:
    """Give the number in [0, 1) that belongs to some parts."""
    return int.from_bytes(_digest(parts)[:6]) / 2**48


def ulid(at: Instant, number: int) -> str:
    """Give the 26 characters of a ULID: a time to the millisecond, then a count, so that text order is event order."""
    bits = (at // _MILLISECOND) << 80 | number
    return "".join(_CROCKFORD[bits >> shift & 31] for shift in range(125, -1, -5))
