"""How an MQTT broker is reached: its address, who we are there, and whose certificates are believed."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mrdaemon.mqttfailure import spoken
from mrdaemon.settings import MqttTable

Tls = Callable[[], ssl.SSLContext]
"""Reads certificates: it may take its time."""


@dataclass(frozen=True)
class Broker:
    """How a broker is reached."""

    host: str
    port: int
    version: Literal["5", "3.1.1"] = "5"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None

    @property
    def address(self) -> str:
        """What people call it."""
        return f"{self.host}:{self.port}"


def broker_of(table: MqttTable, folder: Path) -> Broker:
    """Read a broker from its table; names of files are relative to a folder. Nothing is opened yet."""
    tls = None
    if table.tls:
        ca, certificate, key = (
            None if each is None else folder / each for each in (table.ca, table.certificate, table.key)
        )
        tls = _tls(ca, certificate, key)
    port = table.port if table.port is not None else 8883 if table.tls else 1883
    return Broker(table.host, port, table.version, table.user, table.password, tls)


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> Tls:
    def context() -> ssl.SSLContext:
        try:
            found = ssl.create_default_context(cafile=ca)
        except OSError as error:
            raise _unreadable(ca, error) from error
        if certificate is not None:
            try:
                found.load_cert_chain(certificate, key, _nobody_to_ask)
            except OSError as error:
                both = certificate if key is None else f"{certificate} with {key}"
                raise _unreadable(both, error) from error
        return found

    return context


def _nobody_to_ask() -> str:
    """Keep OpenSSL from asking on the terminal."""
    message = "the key is protected by a passphrase, and there is nobody to ask; store it without"
    raise ValueError(message)


def _unreadable(what: object, error: OSError) -> ValueError:
    return ValueError(f"{what}: {spoken(str(error)) if isinstance(error, ssl.SSLError) else error.strerror}")
