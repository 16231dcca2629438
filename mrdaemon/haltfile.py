"""The HALT file: while it is in the state directory, no order leaves. It works with a hung daemon, and with none."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from mrdaemon.core.commands import SetTradingState
from mrdaemon.core.policy import TradingState

CHECK_EVERY: Final = 1.0
"""Seconds between two looks for it."""
LONGEST: Final = 200
"""Bytes of its first line that are read."""


def is_there(file: Path) -> bool:
    """Tell whether it is there; a link that leads nowhere halts, too."""
    return os.path.lexists(file)


def command(file: Path) -> SetTradingState:
    """Give the command that the file stands for, with who put it there and why, where they wrote it down."""
    return SetTradingState(state=TradingState.HALTED, by="HALT file", why=_says(file) or f"{file} exists")


def _says(file: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # Whatever it is, it must not make us wait.
        try:
            text = os.read(handle, LONGEST) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
        finally:
            os.close(handle)
        said = text.decode().split("\n")[0].strip()
        return said if said.isprintable() else ""
    return ""


def leave(file: Path, said: str) -> None:
    """Put it there, with who did it and why on its first line; one that is there already stays as it is.

    Raises:
        OSError: it cannot be written.
    """
    with contextlib.suppress(FileExistsError):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with contextlib.suppress(OSError):  # An empty one halts as well: a full disk must not keep anybody from it.
            os.write(handle, f"{said}\n".encode())
        os.close(handle)
