"""What a position is called where only small letters, digits, ``_`` and ``-`` may stand: in topics and identifiers."""

from __future__ import annotations

import re
from typing import Final

_OTHER: Final = re.compile(r"[^A-Z0-9]")


def slug(portfolio: str, symbol: str) -> str:
    """Name a position: no two have the same name, as ``core_qqq``, ``core_brk-2eb`` and ``coins_btc-2fusd``.

    A portfolio's name may stand there as it is. A symbol is in small letters, and what is neither letter nor digit
    becomes ``-`` and two hexadecimal digits for each byte; so the last ``_`` is the one between the two.
    """
    return f"{portfolio}_{_OTHER.sub(_escaped, symbol).lower()}"


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"-{byte:02x}" for byte in found.group().encode())
