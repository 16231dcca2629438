"""The control socket: the application, served on a Unix socket that only this user and root may open.

Who asks is known from the kernel. The socket lies in the state directory, whose journal we hold: a file of its name
that is there already was left by a daemon that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import socket
import stat
import struct
from pathlib import Path
from typing import Final, Self

import structlog

from mrdaemon.daemon import Daemon
from mrdaemon.places import SOCKET, ControlError, socket_address
from mrdaemon.web.app import Pages, peer
from mrdaemon.web.serving import Impatient, Serving

CLIENTS: Final = 256
"""Connections at one time; further ones are told to come back."""
_PEER: Final = struct.Struct("3i")
"""``struct ucred``: process, user, group."""

log: Final = structlog.get_logger("mrdaemon.control")


class Control:
    """Serves a daemon's pages beside its journal. Use it as an async context manager."""

    def __init__(self, daemon: Daemon, journal: Path) -> None:
        self.path = journal.parent / SOCKET
        self._pages = Pages(daemon, journal, peer)
        self._folder = -1

    def tell(self, link: str) -> None:
        """Say from now on where the dashboard is."""
        self._pages.link = link

    async def __aenter__(self) -> Self:
        """Open the socket and serve it.

        Raises:
            ControlError: it cannot be opened.
        """
        self._socket = self._bind()
        self._serving = Serving(self._pages.app(), self._socket, _KnownPeer, CLIENTS)
        await self._serving.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let streams say their last words, answer what was asked, and take the socket away."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=self._folder)  # Wherever the folder is by now.
        self._pages.closing.set()
        await self._serving.end()
        os.close(self._folder)

    def _bind(self) -> socket.socket:
        with contextlib.ExitStack() as undo:
            try:
                self._remove_stale()
                self._folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                undo.callback(os.close, self._folder)
                listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
                undo.callback(listener.close)
                mask = os.umask(0o177)  # nobody may open it, not even for the moment before a chmod
                try:
                    listener.bind(socket_address(self._folder))
                finally:
                    os.umask(mask)
                listener.listen(CLIENTS)
            except OSError as error:
                message = f"{self.path}: the control socket cannot be opened: {error.strerror}; see that this user may \
write in its folder, and that the file system has sockets"
                raise ControlError(message) from error
            undo.pop_all()
        listener.setblocking(False)  # noqa: FBT003 - its only parameter
        return listener

    def _remove_stale(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                message = f"{self.path}: the control socket belongs here, but this is none; move it away"
                raise ControlError(message)
            self.path.unlink()


class _KnownPeer(Impatient):
    """A connection whose client is a user and a process, as the kernel names them; others are turned away."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        process, user, _ = _PEER.unpack(peer)
        self.client = (name_of(user), process)
        if user not in {0, os.geteuid()}:
            log.warning("a foreign user was turned away", user=self.client[0], process=process)
            transport.abort()


def name_of(user: int) -> str:
    """Name a user by number, where the system knows them."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"
