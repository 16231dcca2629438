"""Addresses that a configuration names: which host they are of, and whether that is this machine."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

MOST_PORTS = 65_535


class Place(NamedTuple):
    """Where something listens."""

    host: str
    port: int


def web(text: str) -> SplitResult | None:
    """Read an address of the web with a host and nothing secret in it; None where it is none."""
    with contextlib.suppress(ValueError):
        url = urlsplit(text)
        whole = url.scheme in {"http", "https"} and url.hostname and url.port != 0
        plain = text.isascii() and text.isprintable() and not {" ", "@", "?", "#", "\\"} & set(text)
        if whole and plain:
            return url
    return None


def place(text: str) -> Place | None:
    """Read ``127.0.0.1:8377``, ``localhost:8377`` or ``[::1]:8377``; None where it is no such thing."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= MOST_PORTS):
        return None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        return Place(host, int(port)) if ":" in host and _ip(host) else None
    return Place(host, int(port)) if is_host(host) and ":" not in host else None


def is_host(text: str) -> bool:
    """Tell whether a text can be a host's name or address, and nothing more."""
    named = text.isascii() and text.replace("-", "").replace(".", "").replace("_", "").isalnum()
    return bool(named or _ip(text))


def is_here(host: str) -> bool:
    """Tell whether what is sent to a host stays on this machine."""
    address = _ip(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(text)
    return None
