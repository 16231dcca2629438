"""Reading a request's query: each parameter in the forms that Alpaca takes, or a refusal that names it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, time, tzinfo
from typing import Final

from mrdaemon.core.instant import DAY, Instant, from_datetime, iso, parse
from mrdaemon.simulator.refusals import RefusalError

_DATE_LENGTH: Final = len("2026-01-05")
_FIRST: Final = Instant(365 * DAY)
_LAST: Final = Instant(130 * 365 * DAY)


class Query:
    """The parameters of one request."""

    def __init__(self, sent: dict[str, list[str]], refused_with: int, code: int | None) -> None:
        """Keep what was sent.

        Args:
            sent: every value of each parameter.
            refused_with: the HTTP status of what cannot be read.
            code: the code that goes with it, if the service has codes.
        """
        self._sent = sent
        self._status = refused_with
        self._code = code

    def having(self, name: str, at: Instant) -> Query:
        """Give the same query with one parameter set to an instant."""
        return Query({**self._sent, name: [iso(at)]}, self._status, self._code)

    def refuse(self, message: str) -> RefusalError:
        """Make the refusal of a parameter."""
        return RefusalError(self._status, self._code, message)

    def text(self, name: str) -> str | None:
        """Give a parameter, or None where it is left out or empty."""
        values = self._sent.get(name)
        return values[-1] if values and values[-1] else None

    def texts(self, name: str) -> list[str]:
        """Give the values of a list, separated by commas or sent one by one."""
        return [each for value in self._sent.get(name, []) for each in value.split(",") if each]

    def choice(self, name: str, allowed: Collection[str], otherwise: str) -> str:
        """Give one of some words.

        Raises:
            RefusalError: it is none of them.
        """
        value = self.text(name) or otherwise
        if value not in allowed:
            message = f"invalid {name}: {value}"
            raise self.refuse(message)
        return value

    def whole(self, name: str, otherwise: int, most: int) -> int:
        """Give a whole number from one to the most allowed.

        Raises:
            RefusalError: it is none.
        """
        value = self.text(name)
        if value is None:
            return otherwise
        plain = value.isascii() and value.isdecimal() and len(value) <= len(str(most))
        if not plain or not 1 <= int(value) <= most:
            message = f"invalid {name}: {value} (1 to {most} are allowed)"
            raise self.refuse(message)
        return int(value)

    def flag(self, name: str) -> bool:
        """Tell whether a parameter is true."""
        return (self.text(name) or "").lower() == "true"

    def moment(self, name: str, zone: tzinfo, *, whole_day: bool = False) -> Instant | None:
        """Give an instant; a date is its beginning in a zone, or its end where the whole day is meant.

        Raises:
            RefusalError: it is neither a date nor a time.
        """
        value = self.text(name)
        if value is None:
            return None
        try:
            if len(value) == _DATE_LENGTH:
                at = datetime.combine(date.fromisoformat(value), time.max if whole_day else time.min, zone)
                return _within_reach(from_datetime(at))
            # A plus sign in a query that was not encoded arrives as a space.
            read = parse(value.replace(" ", "+"))
        except ValueError as error:
            message = f"invalid {name}: {value}"
            raise self.refuse(message) from error
        return _within_reach(from_datetime(read.replace(tzinfo=zone)) if isinstance(read, datetime) else read)


def _within_reach(at: Instant) -> Instant:
    """Bring an instant into the time that calendars know: nothing was seen outside of it."""
    return min(max(at, _FIRST), _LAST)
