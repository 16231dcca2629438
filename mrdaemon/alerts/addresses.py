"""An address as apprise reads it: whether it can be used, what it may be called, and the plugin that it means.

Apprise drops what it cannot parse, follows redirects that lose a message, and writes addresses to its log. So every
address is looked at before it is used, and of that log only the number of an HTTP answer is kept. An address is a
secret: nothing of it is told but its service, the host of one that has a host, and a word that is misspelt.

One address is one place to send to, which takes an alert or does not. Where apprise makes several calls of one, nobody
could tell which of them were taken, and a repeat would go to all.
"""

from __future__ import annotations

import difflib
import logging
import re
import threading
from collections.abc import Callable
from typing import Final, Protocol, cast

import apprise
from apprise.utils import parse

from mrdaemon.alerts import misread
from mrdaemon.alerts.misread import LARGEST_PORT, Parsed, schemas, tokens

NTFY: Final = frozenset({"ntfy", "ntfys"})
_STATUS: Final = re.compile(r"error\s*=\s*([1-5]\d\d)")
_SCHEME: Final = re.compile(r"([A-Za-z0-9]{1,32})://")
_SECOND: Final = re.compile(r"[\s,;]\s*[A-Za-z0-9]{1,32}://")
_HOST: Final = re.compile(r"localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*")


class Plugin(Protocol):
    """What apprise makes of an address."""

    service_name: object
    host: str | None
    body_maxlen: int
    retry: int

    def __len__(self) -> int:
        """Count the calls that a message takes, each with its repeats."""

    def notify(self, *, body: str, title: str, notify_type: object, body_format: object) -> bool:
        """Send a message and wait for the answer; tells whether all went well."""


class Mail(Protocol):
    """What is besides where the plugin is one for mail."""

    smtp_host: str
    targets: list[tuple[object, str]]
    cc: set[str]
    bcc: set[str]


_split: Final[Callable[[str], list[str]]] = parse.parse_urls  # Apprise has no types for it.


# What apprise logs


class Heard(threading.local):
    """What apprise logged in this thread since ``forget``."""

    status: int | None = None
    unreachable = False
    complained = False

    def forget(self) -> None:
        """Begin anew."""
        self.status, self.unreachable, self.complained = None, False, False


heard: Final = Heard()


def _listen(record: logging.LogRecord) -> bool:
    """Keep the number of an HTTP answer, and that there was something to complain about; let nothing through."""
    said = record.getMessage()
    heard.complained = True
    if (found := _STATUS.search(said)) is not None:
        heard.status = int(found[1])
    elif "onnection error" in said or "ocket" in said:
        heard.unreachable = True
    return False


def _hush() -> None:
    """Keep addresses out of every log: apprise writes them to its own, and the HTTP library below it as well."""
    log = logging.getLogger("apprise")
    log.setLevel(logging.WARNING)
    log.addFilter(_listen)  # Before any handler, whoever may have put one there.
    log.propagate = False
    for name in ("urllib3", "requests"):  # A warning about odd headers shows the address.
        logging.getLogger(name).setLevel(logging.ERROR)


_hush()
_ASSET: Final = apprise.AppriseAsset(  # Nothing is written to disk, nothing is fetched.
    storage_mode=apprise.PersistentStoreMode.MEMORY,
    app_id="mrdaemon",
    app_desc="mrdaemon",
    app_url="",
    image_url_mask="",
    image_url_logo="",
    secure_logging=True,
    pgp_autogen=False,
    pem_autogen=False,
    http_redirects=False,  # A POST that is redirected becomes a GET: answered 200, and the message is gone.
)


# Reading


def read(url: str) -> Parsed | None:
    """Take an address apart; None where apprise cannot."""
    return misread.read(url)


def plugin(parsed: Parsed) -> Plugin | None:
    """Make the plugin of an address that was taken apart; None where a part of it is missing or wrong."""
    return cast("Plugin | None", apprise.Apprise.instantiate(parsed, asset=_ASSET))


def called(parsed: Parsed, made: Plugin) -> str:
    """Name a service: its kind, and its host where it has one; what stands there for others is a secret."""
    name, host = str(made.service_name), made.host or ""
    is_host = "host" in tokens(parsed["schema"]) and _HOST.fullmatch(host) is not None
    return f"{name} at {host}" if is_host and getattr(made, "mode", "") != "cloud" else name


# Judging


def problem(url: str) -> str | None:
    """Say why an address cannot be used, without a secret of it; None where it can."""
    if (wrong := _not_one(url) or misread.misread(url)) is not None:
        return wrong
    heard.forget()
    parsed = read(url)
    if parsed is None:
        return _unread(url)
    made = plugin(parsed)
    wanted = _wanted(parsed["schema"])
    if made is None:
        return f"a part of it is missing or wrong; {wanted}"
    if heard.complained:
        return f"a part of it is not valid, and apprise would drop it in silence; {wanted}"
    if getattr(made, "smtp_host", None) == "":
        return f"apprise cannot read its host; {wanted}"
    port = parsed.get("port") or LARGEST_PORT
    if not 0 < int(port) <= LARGEST_PORT:
        return f"its port must be from 1 to {LARGEST_PORT}"
    return _several(parsed, made) or misread.priority(parsed, made)


def _not_one(url: str) -> str | None:
    """Say that a text is not one address."""
    if url != url.strip() or not url.isprintable():
        return "there are spaces or invisible characters around or in it"
    if _SCHEME.match(url) is None:
        return "it does not begin with a service and ://, such as ntfys:// or mailtos://"
    if _SECOND.search(url):
        return "it is more than one address: write each one by itself in the list, or on a line of its own"
    if " " in url or len(_split(url)) != 1:
        return "there is a space in it, at which apprise would split it; write %20"
    return None


def _several(parsed: Parsed, made: Plugin) -> str | None:
    """Say that an address is several places to send to, or none, as apprise itself counts its calls."""
    places = len(made) // (made.retry + 1)
    if hasattr(made, "smtp_host"):
        # Copies go with the first, and where one of them is refused, apprise calls all of it failed.
        mail = cast("Mail", made)
        places += len((mail.cc | mail.bcc) - {address for _, address in mail.targets})
    if places > 1:
        return (
            f"it is {places} places to send to: where one of them refused an alert, each repeat would go to the others "
            "again; write one address for each"
        )
    if parsed["schema"] in NTFY and not getattr(made, "topics", ()):
        return f"it names no topic; {_wanted(parsed['schema'])}"
    if places < 1:
        return f"it names no place to send to; {_wanted(parsed['schema'])}"
    return None


def _unread(url: str) -> str:
    scheme = url.partition("://")[0].lower()
    known = sorted(set(schemas()))
    if scheme in known:
        return f"apprise cannot read it; {_wanted(scheme)}"
    if scheme in {"http", "https"}:
        safe = scheme[4:]
        return (
            f"apprise knows no service at this {scheme}:// address; for a webhook write json{safe}://, "
            f"for your own ntfy server ntfy{safe}://"
        )
    near = difflib.get_close_matches(scheme, known, n=1)
    return f"apprise knows no service {scheme}://" + (f"; did you mean {near[0]}://?" if near else "")


def _wanted(scheme: str) -> str:
    """Say how an address of a service looks."""
    shapes = [str(each).replace("{schema}", scheme) for each in apprise.apprise.N_MGR[scheme].templates]
    return f"wanted {' or '.join(shapes[:3])}"
