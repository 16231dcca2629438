"""What channels may ask of the daemon: carry out a command, or put on the record that one was refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mrdaemon.core import events as ev


class Answer(NamedTuple):
    """What became of a command."""

    events: Sequence[ev.Event]
    """What it changed."""
    notes: Sequence[str]
    """What a person should know besides."""
    refused: str | None
    """Why it did nothing, or not what was asked; None where it was carried out."""


class Asker(Protocol):
    """Takes commands, whichever way they come in."""

    async def ask(self, name: str, body: bytes, by: str) -> Answer:
        """Carry out a command by its name, whose fields are a JSON object. All that it changes is durable then.

        Raises:
            ValueError: there is no such command, or its fields cannot be read; the message says which and why.
            Exception: the daemon is stopping, or its journal cannot be written.
        """

    async def refuse(self, name: str, by: str, reason: str) -> None:
        """Put on the record that a command was not even tried: who sent it, and why it was refused."""
