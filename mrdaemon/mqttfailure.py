"""Why a broker cannot be reached or will not have what it is given, in plain words; and whether it passes."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Final

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.reasoncodes import ReasonCode

_FINAL: Final = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x9A, 0x9B, 0x9C, 0x9D})
"""Reasons that stay until a person mends them: protocol, names, passwords, rights, and what a broker does not offer."""
_UNSPECIFIED: Final = 0x80
_TAKEN_OVER: Final = 0x8E
_TOO_LARGE: Final = frozenset({0x95, 0x99})
_CAUSES: Final = (OSError, aiomqtt.MqttCodeError)
_OUR_CERTIFICATE: Final = re.compile(r"alert.*(certificate|unknown ca)", re.IGNORECASE)


class MqttFailure(Exception):  # noqa: N818 - it is what happened; most of these pass by themselves
    """The broker cannot be reached, or will not have what it was given; the message says why, without any secret.

    ``final``: it stays so until a person mends it. ``too_large``: only this message is refused.
    """

    def __init__(self, reason: str, *, final: bool = False, too_large: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.too_large = too_large


def refused(address: str, what: str, code: ReasonCode) -> MqttFailure:
    """Say what a broker's reason means."""
    reason = f"{address} refused {what}: {str(code).lower()}"
    return MqttFailure(reason, final=code.value in _FINAL, too_large=code.value in _TOO_LARGE)


def failure(address: str, error: BaseException, logged: str, tls: bool | None) -> MqttFailure:  # noqa: FBT001 - a fact
    """Say what an error means. The library hides the first cause, or only logs it.

    Args:
        address: the broker's.
        error: what the library raised.
        logged: what it logged last.
        tls: of a connection that was not open yet, whether TLS was to be spoken; else None.
    """
    cause = next((each for each in (error.__context__, error.__cause__) if isinstance(each, _CAUSES)), error)
    hint = "" if tls is None else f"; see whether this port {'speaks' if tls else 'wants'} TLS"
    match cause:
        case OSError():
            return _unreachable(address, cause, hint)
        case MqttConnectError(rc=ReasonCode() as code):
            return refused(address, "the connection", code)
        case aiomqtt.MqttCodeError(rc=ReasonCode() as code) if code.value == _TAKEN_OVER:
            ended = "another client of our name took it over; see that no two daemons have the same instance name"
            return MqttFailure(f"the connection to {address} ended: {ended}")
        case _ if _OUR_CERTIFICATE.search(logged):
            return MqttFailure(f"{address} does not accept our certificate: {spoken(logged)}", final=True)
        case aiomqtt.MqttCodeError(rc=ReasonCode() as code) if not logged:
            ended = "the broker closed it" if code.value == _UNSPECIFIED else str(code).lower()
        case _:
            ended = spoken(logged) or str(error)
    return MqttFailure(f"the connection to {address} ended: {ended}{hint}")


def _unreachable(address: str, cause: OSError, hint: str) -> MqttFailure:
    """Say why there is nobody to talk to, or nobody whom we believe."""
    match cause:
        case ssl.SSLCertVerificationError():
            untrusted = f"the certificate of {address} is not to be trusted: {cause.verify_message}"
            return MqttFailure(untrusted, final=True)
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
            return MqttFailure(f"{address} does not speak TLS", final=True)
        case socket.gaierror():
            return MqttFailure(f"no address is known for {address}: {_plain(cause)}")
        case ConnectionResetError() | ssl.SSLEOFError():
            return MqttFailure(f"{address} closed the connection at once{hint}")
        case TimeoutError():
            return MqttFailure(f"{address} did not answer in time{hint}")
        case _:
            return MqttFailure(f"{address} cannot be reached: {_plain(cause)}")


def spoken(logged: str) -> str:
    """Give the words alone of ``failed to receive on socket: [SSL: …] tlsv13 alert certificate required (_ssl…)``."""
    return logged.rpartition("] ")[2].partition(" (_ssl")[0]


def _plain(error: OSError) -> str:
    """Give an error's words without numbers."""
    return error.strerror or str(error) or type(error).__name__
