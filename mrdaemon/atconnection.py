"""What ``[mqtt]`` must fulfil, the connection to the MQTT broker: host, login, certificates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mrdaemon.findings import Finding
from mrdaemon.hosts import is_here, is_host
from mrdaemon.overrides import variable
from mrdaemon.settings import MqttTable, Settings

if TYPE_CHECKING:
    from mrdaemon.certificates import Span

FOR_TLS: Final = ("ca", "certificate", "key")
PLAIN_PORT, TLS_PORT = 1883, 8883
SOON: Final = timedelta(days=14)
"""How long before its end a certificate is worth a remark."""


def checks(settings: Settings, folder: Path) -> Iterator[Iterator[Finding]]:
    """Give every problem of ``[mqtt]``. Files are relative to ``folder``."""
    table = settings.mqtt
    if table is None:
        return
    yield _host(table)
    yield _login(table)
    yield _without_tls(table)
    yield _pair(table)
    yield _authorities(table, folder)
    yield _identity(table, folder)


def _host(table: MqttTable) -> Iterator[Finding]:
    if not is_host(table.host):
        what = 'wanted a host such as "localhost" or "192.168.1.20", without a scheme; its port has a key of its own'
        yield Finding(("mqtt", "host"), what, table.host)


def _login(table: MqttTable) -> Iterator[Finding]:
    if table.user is None and table.password is not None:
        yield Finding(("mqtt", "user"), "wanted the user whose password is given", None)
    if table.user is not None and table.password is None:
        what = f"wanted the user's, best from the environment ({variable(('mqtt', 'password'))}) or a secrets directory"
        yield Finding(("mqtt", "password"), what, None)


def _without_tls(table: MqttTable) -> Iterator[Finding]:
    for key in FOR_TLS:
        if not table.tls and (given := getattr(table, key)) is not None:
            yield Finding(("mqtt", key), "this is for TLS: wanted tls = true, or take it out", str(given))


def _pair(table: MqttTable) -> Iterator[Finding]:
    if table.certificate is not None and table.key is None:
        what = "wanted the file with the certificate's key; it may be the certificate's own, if both are in it"
        yield Finding(("mqtt", "key"), what, None)
    if table.key is not None and table.certificate is None:
        yield Finding(("mqtt", "certificate"), "wanted the certificate that the key belongs to", None)


def _authorities(table: MqttTable, folder: Path) -> Iterator[Finding]:
    from mrdaemon import certificates  # noqa: PLC0415 - loads OpenSSL: only where there is something to read

    if table.ca is not None:
        try:
            certificates.authorities(folder / table.ca)
        except certificates.CertificateError as error:
            yield Finding(("mqtt", "ca"), str(error), str(folder / table.ca))


def _identity(table: MqttTable, folder: Path) -> Iterator[Finding]:
    from mrdaemon import certificates  # noqa: PLC0415 - as above

    if table.certificate is None or table.key is None:
        return
    certificate, key = folder / table.certificate, folder / table.key
    try:
        certificates.certificate(certificate)
    except certificates.CertificateError as error:
        yield Finding(("mqtt", "certificate"), str(error), str(certificate))
        return
    try:
        certificates.pair(certificate, key)
    except certificates.CertificateError as error:
        yield Finding(("mqtt", "key"), str(error), str(key))


# What a person should know of one that can be used


def notes(settings: Settings, folder: Path) -> Iterator[str]:
    """Say what a person should know of ``[mqtt]``."""
    table = settings.mqtt
    if table is None:
        return
    if settings.feed.kind != "mqtt" and not any(each.kind == "mqtt" for each in settings.channels.values()):
        yield "Nothing uses [mqtt]: neither the feed nor a channel is of kind mqtt."
    if table.password is not None and not table.tls and not is_here(table.host):
        yield f"The password for the MQTT broker goes to {table.host} unencrypted: set tls = true there and here."
    if table.port == TLS_PORT and not table.tls:
        yield f"Port {TLS_PORT} is usually one with TLS, and tls is not set."
    if table.port == PLAIN_PORT and table.tls:
        yield f"Port {PLAIN_PORT} is usually one without TLS, and tls is set."
    yield from _times(table, folder, datetime.now(UTC))


def _times(table: MqttTable, folder: Path, now: datetime) -> Iterator[str]:
    """Say which certificates are no longer valid, or will soon not be: no reason not to start, since prices go on."""
    from mrdaemon import certificates  # noqa: PLC0415 - as above

    if table.ca is not None:  # one of several may have been replaced by another
        authority = max(certificates.authorities(folder / table.ca), key=lambda each: each.end)
        yield from _time(table.ca, authority, now)
    if table.certificate is not None:  # the first one in the file is ours
        yield from _time(table.certificate, certificates.certificate(folder / table.certificate)[0], now)


def _time(file: Path, span: Span, now: datetime) -> Iterator[str]:
    if span.end <= now:
        yield f"The certificate in {file} expired on {span.end:%Y-%m-%d}: the MQTT broker cannot be reached with it."
    elif span.begin > now:
        yield f"The certificate in {file} begins on {span.begin:%Y-%m-%d} only, or this machine's clock is wrong."
    elif span.end - now < SOON:
        yield f"The certificate in {file} expires on {span.end:%Y-%m-%d}."
