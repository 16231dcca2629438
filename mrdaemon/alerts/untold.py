"""Plain words for an event whose own words failed: that something happened must not go untold."""

from __future__ import annotations

from mrdaemon.alerts.alert import Level, Topic
from mrdaemon.alerts.saying import Saying, facts
from mrdaemon.core import events as ev
from mrdaemon.sentences import sentence


def untold(event: ev.Event) -> Saying:
    """Tell an event as the list of events does."""
    kind = kind_of(event)
    named = (getattr(event, name, None) for name in ("account", "portfolio", "symbol"))
    return Saying(
        level=Level.WARNING,
        topic=Topic.DAEMON,
        kind="untold",
        subject=" ".join([kind, *(each for each in named if each)]),
        title=kind.replace("_", " ").capitalize(),
        text=sentence(event),
        portfolio=getattr(event, "portfolio", None) or "",
        symbol=getattr(event, "symbol", None) or "",
        facts=facts(event=kind),
    )


def kind_of(event: ev.Event) -> str:
    """Name an event's kind, as the journal does."""
    return str(type(event).__struct_config__.tag)
