"""What ``[web]`` must fulfil: where the dashboard is served, and that nobody on the way reads what it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mrdaemon.atconnection import SOON
from mrdaemon.findings import Finding
from mrdaemon.hosts import is_here, is_host, place
from mrdaemon.settings import Settings, WebTable

FOR_LISTENING: Final = ("certificate", "key", "insecure", "hosts")


def checks(settings: Settings, folder: Path) -> Iterator[Iterator[Finding]]:
    """Give every problem of ``[web]``. Files are relative to ``folder``."""
    table = settings.web
    yield _listen(table)
    yield _of_its_own(settings)
    yield _used(table)
    yield _pair(table)
    yield _identity(table, folder)
    yield _encrypted(table)
    yield _hosts(table)


def _listen(table: WebTable) -> Iterator[Finding]:
    if table.listen is not None and place(table.listen) is None:
        yield Finding(("web", "listen"), 'wanted an address and a port such as "127.0.0.1:8378"', table.listen)


def _of_its_own(settings: Settings) -> Iterator[Finding]:
    """Object to the port of the page for answers, which is another server."""
    ours, theirs = (each and place(each) for each in (settings.web.listen, settings.answers.listen))
    if ours and theirs and ours.port == theirs.port:
        what = f"wanted another port than answers.listen, which is {settings.answers.listen}"
        yield Finding(("web", "listen"), what, settings.web.listen, (("answers", "listen"),))


def _used(table: WebTable) -> Iterator[Finding]:
    for key in FOR_LISTENING:
        if table.listen is None and (given := getattr(table, key)):
            what = 'this is for a dashboard that is served: wanted listen = "127.0.0.1:8378" as well, or take it out'
            yield Finding(("web", key), what, str(given) if isinstance(given, Path) else given)


def _pair(table: WebTable) -> Iterator[Finding]:
    if table.certificate is not None and table.key is None:
        what = "wanted the file with the certificate's key; it may be the certificate's own, if both are in it"
        yield Finding(("web", "key"), what, None)
    if table.key is not None and table.certificate is None:
        yield Finding(("web", "certificate"), "wanted the certificate that the key belongs to", None)


def _identity(table: WebTable, folder: Path) -> Iterator[Finding]:
    from mrdaemon import certificates  # noqa: PLC0415 - loads OpenSSL: only where there is something to read

    if table.certificate is None or table.key is None:
        return
    certificate, key = folder / table.certificate, folder / table.key
    try:
        certificates.certificate(certificate)
    except certificates.CertificateError as error:
        yield Finding(("web", "certificate"), str(error), str(certificate))
        return
    try:
        certificates.pair(certificate, key)
    except certificates.CertificateError as error:
        yield Finding(("web", "key"), str(error), str(key))


def _encrypted(table: WebTable) -> Iterator[Finding]:
    """Object to a dashboard for the network without TLS, unless somebody said that this is wanted."""
    taken = None if table.listen is None else place(table.listen)
    if taken is None or is_here(taken.host) or table.certificate is not None or table.insecure:
        return
    what = (
        "other machines reach this address, and the token would pass in the open: wanted 127.0.0.1, or certificate and "
        "key for TLS, or insecure = true if the network is your own to the last cable"
    )
    yield Finding(("web", "listen"), what, table.listen, (("web", "certificate"), ("web", "insecure")))


def _hosts(table: WebTable) -> Iterator[Finding]:
    for each in table.hosts:
        if not is_host(each) and place(each) is None:
            what = 'wanted names without a scheme, such as "mrdaemon.example" or "mrdaemon.example:8443"'
            yield Finding(("web", "hosts"), what, each)


# What a person should know of one that can be used


def notes(settings: Settings, folder: Path) -> Iterator[str]:
    """Say what a person should know of ``[web]``."""
    table = settings.web
    taken = None if table.listen is None else place(table.listen)
    if taken is None:
        return
    if not is_here(taken.host) and table.certificate is None:
        yield f"The dashboard is served on {table.listen} without TLS: whoever listens on the way may act."
    if table.certificate is not None:
        from mrdaemon import certificates  # noqa: PLC0415 - as above

        end, now = certificates.certificate(folder / table.certificate)[0].end, datetime.now(UTC)
        if end <= now:
            yield f"The dashboard's certificate in {table.certificate} expired on {end:%Y-%m-%d}: browsers refuse it."
        elif end - now < SOON:
            yield f"The dashboard's certificate in {table.certificate} expires on {end:%Y-%m-%d}."
