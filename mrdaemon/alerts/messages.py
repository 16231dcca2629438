"""Several alerts in one message: what matters most in the title, when it happened where that is not just now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from mrdaemon.alerts.alert import Alert, Letter, Level
from mrdaemon.alerts.channel import Message
from mrdaemon.core.instant import SECOND

LATE: Final = 120 * SECOND
"""How old an alert must be when it is sent to say when it was."""
NAMED: Final = 4
"""Things that the title of a message with several alerts names."""


def message(letters: Sequence[Letter], wall: int, zone: ZoneInfo) -> Message:
    """Put letters into one message that is sent now; times are of a zone's clock."""
    late = {each.alert.id: _when(each.wall, wall, zone) for each in letters if wall - each.wall > LATE}
    until = {each.alert.id: each.until for each in letters}
    return together([each.alert for each in letters], late.get)._replace(until=until.get)


def together(alerts: Sequence[Alert], when: Callable[[str], str | None]) -> Message:
    """Put alerts into one message; ``when`` says, of an id, when it was, where that is to be said."""
    level = max((each.level for each in alerts), key=lambda each: each.rank)
    lines = [_line(each, when(each.id)) for each in alerts]
    if len(alerts) == 1:
        return Message(alerts, alerts[0].title, lines[0], level, when)
    return Message(alerts, _title(alerts, level), "\n".join(_collapsed(lines)), level, when)


def _title(alerts: Sequence[Alert], level: Level) -> str:
    if level is Level.CRITICAL:
        first = next(each for each in reversed(alerts) if each.level is level)
        return f"{first.title}, and {len(alerts) - 1} more"
    about = list(dict.fromkeys(each.symbol or each.subject for each in alerts))
    named = ", ".join(about[:NAMED]) + (f" and {len(about) - NAMED} more" if len(about) > NAMED else "")
    return f"{len(alerts)} alerts: {named}"


def _line(alert: Alert, when: str | None) -> str:
    return alert.text if when is None else f"{when}: {alert.text}"


def _collapsed(lines: Sequence[str]) -> list[str]:
    """Say what is said again and again once, and how often."""
    found: list[tuple[str, int]] = []
    for line in lines:
        if found and found[-1][0] == line:
            found[-1] = (line, found[-1][1] + 1)
        else:
            found.append((line, 1))
    return [line if count == 1 else f"{line} ({count} times)" for line, count in found]


def _when(wall: int, now: int, zone: ZoneInfo) -> str:
    at, today = (datetime.fromtimestamp(each // SECOND, zone) for each in (wall, now))
    return f"{at:%H:%M}" if at.date() == today.date() else f"{at:%a %d %b %H:%M}"
