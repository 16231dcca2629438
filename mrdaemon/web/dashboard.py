"""The dashboard's server: opens its address, with TLS where that is wanted, and serves it while the daemon runs."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Final, Self

import structlog

from mrdaemon import pulse
from mrdaemon.daemon import Daemon
from mrdaemon.places import DashboardError
from mrdaemon.settings import WebTable
from mrdaemon.viewing import Viewing
from mrdaemon.web.access import Access, token
from mrdaemon.web.gate import names_of
from mrdaemon.web.graphs import Graphs
from mrdaemon.web.hub import CLIENTS as STREAMS
from mrdaemon.web.hub import Hub
from mrdaemon.web.news import News
from mrdaemon.web.serving import Impatient, ListenError, Serving, listening
from mrdaemon.web.site import Site

CLIENTS: Final = STREAMS + 128
"""Connections at one time: whoever acts finds room beside those who look."""
RENEWED_EVERY: Final = 60.0
"""Seconds between two looks whether the certificate was renewed."""
ANYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what others may have configured

log: Final = structlog.get_logger("mrdaemon.web")


class Dashboard:
    """Serves the dashboard of a daemon. Use it as an async context manager."""

    def __init__(self, daemon: Daemon, journal: Path, table: WebTable, folder: Path, instance: str) -> None:
        """Build it; nothing is opened yet.

        Args:
            daemon: whose dashboard it is.
            journal: the journal; the token lies beside it.
            table: the configuration.
            folder: where its files are, unless they say otherwise.
            instance: how people call this daemon.
        """
        self._daemon = daemon
        self._journal = journal
        self._table = table
        self._folder = folder
        self._view = Viewing(daemon, journal.parent)
        self._news = News(journal)
        self._graphs = Graphs(daemon, journal, self._news)
        self._hub = Hub(daemon, self._view, self._news, instance)
        self.address = ""
        """Where it is served, once it is: ``http://127.0.0.1:8378``."""
        self.link = ""
        """The same, with the token in it, for whoever may read that."""

    async def __aenter__(self) -> Self:
        """Open the address and serve it.

        Raises:
            DashboardError: it cannot be opened.
            KeyFileError: the token cannot be used.
        """
        table = self._table
        host, _, port = (table.listen or "").rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        secret, tls = token(self._journal.parent), self._tls()
        try:
            listener = await listening(host, int(port), CLIENTS)
        except ListenError as error:
            message = f"web.listen: {error}"
            raise DashboardError(message) from error
        opened: int = listener.getsockname()[1]
        site = Site(self._daemon, self._journal, self._hub, self._news, self._graphs, Access(secret))
        app = site.app(f"mrdaemon_session_{opened}", names_of(table.listen or "", table.hosts))
        self._closing = site.closing
        self._serving = Serving(app, listener, Reachable, CLIENTS)
        await self._serving.begin(tls)
        self.address = f"{'http' if tls is None else 'https'}://{_shown(host)}:{opened}"
        self.link = f"{self.address}/login#token={secret}"
        watch = self._daemon.pulse.lasting
        self._beside = [
            watch(asyncio.create_task, self._hub.run(), "dashboards"),
            watch(asyncio.create_task, self._graphs.run(), "lines of dashboards"),
        ]
        if tls is not None:
            self._beside.append(watch(asyncio.create_task, self._keep_renewed(tls), "certificate of the dashboard"))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Send everybody home, and close the port."""
        self._closing.set()
        self._hub.close()
        await self._serving.end()
        for each in self._beside:
            each.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)

    # TLS

    def _tls(self) -> ssl.SSLContext | None:
        if self._table.certificate is None or self._table.key is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(*self._identity(), _no_phrase)
        except (OSError, ssl.SSLError) as error:
            message = f"web.certificate: it cannot be used: {error}; mrdaemon check says what is wrong with it"
            raise DashboardError(message) from error
        return context

    def _identity(self) -> tuple[Path, Path]:
        certificate, key = self._table.certificate, self._table.key
        assert certificate is not None  # noqa: S101 - asked only where there is one
        assert key is not None  # noqa: S101 - as above
        return self._folder / certificate, self._folder / key

    async def _keep_renewed(self, context: ssl.SSLContext) -> None:
        """Take a renewed certificate without a restart: they last for three months, and the daemon for years."""
        known = await asyncio.to_thread(_stamp, self._identity())
        while True:
            await pulse.idle(asyncio.sleep(RENEWED_EVERY))
            found = await asyncio.to_thread(_stamp, self._identity())
            if found in {known, None}:
                continue
            try:
                await asyncio.to_thread(_try, *self._identity())
                context.load_cert_chain(*self._identity(), _no_phrase)  # Here, lest somebody come between its halves.
            except (OSError, ssl.SSLError) as error:  # Perhaps it is half written: the next look tells.
                log.warning("the dashboard's renewed certificate cannot be used yet", reason=str(error))
                continue
            known = found
            log.info("the dashboard's certificate was renewed")


class Reachable(Impatient):
    """A connection that streams may write to directly."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        self.app_state = {"transport": transport}
        super().connection_made(transport)


def _try(certificate: Path, key: Path) -> None:
    """See that a certificate can be used: half of a renewed one would leave us with neither the old nor the new."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, _no_phrase)


def _no_phrase() -> str:
    """Refuse a key with a pass phrase, which OpenSSL would ask the terminal for, and wait.

    Raises:
        OSError: always.
    """
    message = "the key has a pass phrase, and nobody is there to type it"
    raise OSError(message)


def _stamp(files: tuple[Path, Path]) -> tuple[int, ...] | None:
    with contextlib.suppress(OSError):
        return tuple(each.stat().st_mtime_ns for each in files)
    return None


def _shown(host: str) -> str:
    """Give a host as this machine's browser can ask for it."""
    if host in ANYWHERE:
        return "localhost"
    return f"[{host}]" if ":" in host else host
