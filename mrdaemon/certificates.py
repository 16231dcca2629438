"""Certificates and keys in files: whether they can be used, and until when. Nothing here connects to anybody."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

LARGEST: Final = 4_000_000
"""Bytes of a file; the system's whole list of authorities has a quarter of a million."""
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION: Final = 0xA0
"""The tag of the field that a certificate of the first version does not have (RFC 5280, 4.1)."""
_SHORT_TIME, _LONG_TIME = 0x17, 0x18
"""The tags of times with years of two digits and of four."""


class CertificateError(Exception):
    """A file is not what it should be; the message says what was wanted."""


class Span(NamedTuple):
    """When a certificate is valid."""

    begin: datetime
    end: datetime


class _Item(NamedTuple):
    """One value of DER: its tag, and where its content lies."""

    tag: int
    begin: int
    end: int


def authorities(file: Path) -> list[Span]:
    """Read the certificates of those who may sign.

    Raises:
        CertificateError: they cannot be read, or not be used.
    """
    spans = _spans(file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except (OSError, ValueError) as error:
        _refuse(f"wanted certificates of authorities: {_reason(error)}")
    return spans


def certificate(file: Path) -> list[Span]:
    """Read a certificate, with those that it rests on if they are in its file.

    Raises:
        CertificateError: it cannot be read.
    """
    return _spans(file)


def pair(certificate: Path, key: Path) -> None:
    """See that a key belongs to a certificate.

    Raises:
        CertificateError: the key cannot be read, or is another one's.
    """
    _text(key)

    def no_phrase() -> str:
        _refuse("wanted a key without a pass phrase: nobody is there to type it")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, no_phrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            _refuse("wanted the key that belongs to the certificate; this is another one's")
        _refuse(f"wanted a private key in PEM: {_reason(error)}")
    except (OSError, ValueError) as error:
        _refuse(f"wanted a private key in PEM: {_reason(error)}")


def _spans(file: Path) -> list[Span]:
    found = _CERTIFICATE.findall(_text(file))
    if not found:
        _refuse("wanted a certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")
    try:
        return [_span(ssl.PEM_cert_to_DER_cert(each)) for each in found]
    except (ValueError, IndexError):
        _refuse("wanted a certificate in PEM; what stands in this one cannot be read")


def _text(file: Path) -> str:
    try:
        with file.open("rb") as content:
            raw = content.read(LARGEST + 1)
    except FileNotFoundError:
        _refuse("there is no such file")
    except (OSError, ValueError) as error:
        _refuse(f"it cannot be read: {_reason(error)}")
    if len(raw) > LARGEST:
        _refuse(f"wanted a file of at most {LARGEST:,} bytes")
    return raw.decode("ascii", "replace")


def _refuse(what: str) -> NoReturn:
    raise CertificateError(what)


def _reason(error: Exception) -> str:
    """Say what went wrong, without the place in OpenSSL's source."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return re.sub(r"\s*\(_ssl\.c:\d+\)|^\[[^]]*\]\s*", "", text)


# What a certificate says of its time (RFC 5280, 4.1)


def _span(der: bytes) -> Span:
    """Read the span in which a certificate is valid.

    Raises:
        ValueError, IndexError: it is no certificate.
    """
    signed = _item(der, _item(der, 0).begin)
    item = _item(der, signed.begin)
    if item.tag == _VERSION:
        item = _item(der, item.end)
    for _ in ("the signature's algorithm", "the issuer", "the span"):  # after the serial number
        item = _item(der, item.end)
    begin = _item(der, item.begin)
    return Span(_time(der, begin), _time(der, _item(der, begin.end)))


def _item(der: bytes, at: int) -> _Item:
    tag, length, begin = der[at], der[at + 1], at + 2
    if length & 0x80:  # the length has a length
        begin += length & 0x7F
        length = int.from_bytes(der[at + 2 : begin], "big")
    if begin + length > len(der):
        message = "it ends too early"
        raise ValueError(message)
    return _Item(tag, begin, begin + length)


def _time(der: bytes, item: _Item) -> datetime:
    text = der[item.begin : item.end].decode("ascii")
    if item.tag == _SHORT_TIME:
        text = ("20" if int(text[:2]) < 50 else "19") + text  # noqa: PLR2004 - RFC 5280, 4.1.2.5.1
    elif item.tag != _LONG_TIME:
        message = "this is no time"
        raise ValueError(message)
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
