"""Whether something keeps the machine's clock right, as the kernel knows it, and ``timedatectl`` from it."""

from __future__ import annotations

import ctypes
from typing import Final

from mrdaemon.core.instant import SECOND

UNKNOWN: Final = 16 * SECOND
"""An error from which on the kernel knows nothing of the clock: nobody has set it right, or long ago."""
MICROSECOND: Final = SECOND // 1_000_000


class _Timex(ctypes.Structure):
    """What ``adjtimex`` fills in, as far as it is read; the rest has room."""

    _fields_ = (
        ("modes", ctypes.c_uint),  # none: nothing is set
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("max_error", ctypes.c_long),
        ("rest", ctypes.c_byte * 512),
    )


def max_error() -> int | None:
    """Give by how many nanoseconds the clock may be off, or None where the kernel does not say."""
    found = _Timex()
    try:
        answer: int = ctypes.CDLL(None).adjtimex(ctypes.byref(found))
    except (AttributeError, OSError):  # No Linux.
        return None
    return None if answer < 0 else int(found.max_error) * MICROSECOND
