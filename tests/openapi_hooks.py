"""What schemathesis has to know of our API beside its document."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format(
    "plain-text", st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=500)
)


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """Leave out what never ends: see the streams."""
    return not (case.query or {}).get("follow")
