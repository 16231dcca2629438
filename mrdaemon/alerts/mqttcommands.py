"""Commands that come in over MQTT: which are obeyed, and what is said of those that are not.

Whoever may write on a topic may command, at any time, as often as they like, and the broker may repeat or keep what
they wrote. So a command is obeyed only where it is allowed, dated, fresh and new, one at a time; all is journaled.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

import msgspec
import structlog

from mrdaemon import pulse
from mrdaemon.alerts.asker import Answer, Asker
from mrdaemon.alerts.mqttlimits import REFUSALS, Limits, Recent
from mrdaemon.alerts.mqttmessages import Response, Topics, response
from mrdaemon.asks import ASKS
from mrdaemon.core.instant import SECOND, Instant, iso, parse
from mrdaemon.sentences import sentence

LARGEST: Final = 64 * 1024
"""Bytes of a command."""
OLDEST: Final = 30 * SECOND
"""Age at which a command is stale: who sent it may have changed their mind."""
AHEAD: Final = 5 * SECOND
"""How far a sender's clock may be ahead of ours."""
QUEUED: Final = 32
"""Commands that may wait; further ones are refused."""
REMEMBERED: Final = OLDEST + AHEAD
"""How long a command is known again: the same message is stale from then on, and its id may name another one."""
TOO_MANY: Final = "too many commands in this minute"
TOLD: Final = 50
"""Changes that an answer tells; a halt of everything may be thousands."""
LONGEST_NAME: Final = 40
LONGEST_ID: Final = 100
LONGEST_REASON: Final = 300
LONGEST_TOPIC: Final = 256

_PLAIN: Final = re.compile(r"[a-z][a-z_-]{0,31}")
_UNFIT: Final = re.compile(r"[^\w .@+-]")
_WILD: Final = re.compile(r"[+#\x00-\x1f\x7f\ud800-\udfff]")
_UNKNOWN: Final = "unknown"

log: Final = structlog.get_logger("mrdaemon.mqtt")


class Incoming(NamedTuple):
    """A message on a topic of commands."""

    topic: str
    payload: bytes
    retained: bool
    answer_to: str | None = None
    """Where the sender wants the answer besides (MQTT 5)."""
    correlation: bytes | None = None


Reply = Callable[[str, bytes, bytes | None], None]
"""Publishes an answer: topic, payload, correlation. It never waits, and never fails."""


class _Command(msgspec.Struct, kw_only=True):
    """A command that waits to be carried out, or to be put on the record as refused."""

    incoming: Incoming
    reply: Reply
    name: str
    by: str
    id: str | None = None
    sent: int = 0
    body: bytes = b""
    whole: bool = False
    """Whether it names neither a symbol nor a portfolio."""
    refused: str | None = None


class _Ours(msgspec.Struct):
    """What is read of a command here; the rest is the command's own."""

    at: str
    id: str | None = None
    by: str | None = None


class _Fields(NamedTuple):
    """What a command says."""

    ours: _Ours
    all: dict[str, msgspec.Raw]


class Commands:
    """Takes the commands of one channel."""

    def __init__(
        self,
        channel: str,
        topics: Topics,
        allowed: Collection[str],
        asker: Asker,
        wall: Callable[[], int],
        private: Collection[str] = (),
    ) -> None:
        """Build it.

        Args:
            channel: its name, for the journal.
            topics: of this instance.
            allowed: the names of the commands that are taken.
            asker: carries them out.
            wall: UTC nanoseconds.
            private: topics under which a sender may not have an answer put, besides ours.
        """
        self._source = f"mqtt {channel}"
        self._topics = topics
        self._allowed = allowed
        self._asker = asker
        self._wall = wall
        self._queue: asyncio.Queue[_Command] = asyncio.Queue()
        self._known: dict[bytes, int] = {}
        """When each was taken, the oldest first."""
        self._limits = Limits()
        self._unrecorded = 0
        """Commands beyond a limit since one was put on the record."""
        self._warned = Recent(1)
        self._private = ("$", *(f"{each}/" for each in (topics.base.partition("/")[0], *private)))

    def take(self, incoming: Incoming, since: int, reply: Reply) -> None:
        """Take a message at once; it is carried out, or put on the record as refused, in its turn.

        Args:
            incoming: what came.
            since: when we connected; what was sent before was not sent to us.
            reply: publishes the answer.
        """
        said = incoming.topic.removeprefix(f"{self._topics.base}/cmd/")
        name = said if _PLAIN.fullmatch(said) else _UNKNOWN
        command = _Command(incoming=incoming, reply=reply, name=name, by=self._source)
        objection = next(self._objections(command, said, since), None)
        if objection is not None:
            self._refuse(command, objection)
        elif self._limits.crowded(name, whole=command.whole):
            self._answer(command, self._turned_away())
        else:
            self._limits.took(name, whole=command.whole)
            self._remember(command)
            self._queue.put_nowait(command)

    async def run(self) -> None:
        """Carry out what was taken, one after the other, until cancelled."""
        while True:
            pulse.rest()
            command = await self._queue.get()
            pulse.begin(f"the command {command.name}")
            self._answer(command, await self._outcome(command))

    # What is obeyed

    def _objections(self, command: _Command, said: str, since: int) -> Iterator[str]:
        """Give why a command is not to be obeyed, the first reason first; what is needed to obey it is read besides."""
        if (size := len(command.incoming.payload)) > LARGEST:
            yield f"it has {size} bytes, and may have {LARGEST}"
        fields = _read(command.incoming.payload)
        if isinstance(fields, _Fields):
            command.by, command.id = _by(fields.ours.by, self._source), fields.ours.id
        if command.incoming.retained:
            yield "it is retained by the broker; publish commands without that"
        if command.name not in ASKS:
            yield f"there is no command {said[:LONGEST_NAME]!r}; there are: {', '.join(ASKS)}"
        if command.name not in self._allowed:
            yield f"{command.name} is not taken over MQTT: `commands` of the channel does not name it"
        if isinstance(fields, str):
            yield fields
            return
        sent = _instant(fields.ours.at)
        if sent is None:
            yield f"at: wanted when it was sent, such as 2026-03-09T15:00:00Z, got {fields.ours.at[:LONGEST_NAME]!r}"
            return
        command.sent, command.body, command.whole = sent, _body(command.name, fields), _is_whole(fields)
        yield from self._untimely(command)
        if sent < since:
            yield "it was sent before this daemon was connected to the broker"
        yield from self._unanswerable(command.incoming.answer_to)
        yield from self._repeated(command)

    def _untimely(self, command: _Command) -> Iterator[str]:
        age = self._wall() - command.sent
        if age > OLDEST:
            yield f"it is stale: it was sent {age / SECOND:.0f} s ago, and {OLDEST // SECOND} s is the most"
        if age < -AHEAD:
            yield f"it is dated {-age / SECOND:.0f} s ahead; see to the sender's clock, and ours"

    def _unanswerable(self, topic: str | None) -> Iterator[str]:
        if topic is not None and not self._may_answer(topic):
            yield f"no answer may be sent to {topic[:LONGEST_NAME]!r}"

    def _repeated(self, command: _Command) -> Iterator[str]:
        taken = self._known.get(_key(command))
        if taken is not None and self._wall() - taken <= REMEMBERED:
            yield "it was taken before; it does nothing again"
        if self._queue.qsize() >= QUEUED:
            yield f"there are too many commands: {QUEUED} wait already; send it again later"

    def _remember(self, command: _Command) -> None:
        key, now = _key(command), self._wall()
        self._known.pop(key, None)
        self._known[key] = now
        while now - self._known[oldest := next(iter(self._known))] > REMEMBERED:
            del self._known[oldest]

    def _may_answer(self, topic: str) -> bool:
        """Tell whether a sender may have an answer there: nowhere where others would take it for our own word."""
        if topic in {self._topics.response(each) for each in ASKS}:
            return True
        fits = 0 < len(topic) <= LONGEST_TOPIC and not _WILD.search(topic)
        return fits and not topic.startswith(self._private)

    # What becomes of it

    def _refuse(self, command: _Command, reason: str) -> None:
        """Have a refused command put on the record, or only counted, where there are too many."""
        if self._limits.recorded.full or self._queue.qsize() >= QUEUED + REFUSALS:
            self._count()
            return
        self._limits.recorded.add()
        if self._unrecorded:
            reason += f" (before it, {self._unrecorded} others were refused and not recorded)"
            self._unrecorded = 0
        command.refused = reason
        self._queue.put_nowait(command)

    def _turned_away(self) -> Answer:
        """Answer a command beyond a limit: it leaves no trace but a number."""
        self._count()
        return Answer((), (), TOO_MANY)

    def _count(self) -> None:
        self._unrecorded += 1
        if not self._warned.full:
            self._warned.add()
            log.warning("too many commands; further ones are counted", source=self._source, counted=self._unrecorded)

    async def _outcome(self, command: _Command) -> Answer:
        if command.refused is not None:
            return await self._put_on_record(command, command.refused)
        if self._limits.crowded_out(command.name, whole=command.whole):
            self._known.pop(_key(command), None)
            return self._turned_away()
        refused = next(self._untimely(command), None)
        if refused is None:
            try:
                answer = await self._asker.ask(command.name, command.body, command.by)
            except (ValueError, RecursionError) as error:
                refused = str(error)
            except Exception as error:  # It stops, or its journal is gone: that is seen to elsewhere.
                log.exception("a command could not be carried out", name=command.name, by=command.by)
                return Answer((), (), f"it could not be carried out: {error}")
            else:
                self._limits.came_of(command.name, whole=command.whole, refused=answer.refused)
                return answer
        if self._limits.recorded.full:
            self._count()
            return Answer((), (), _plain(refused))
        self._limits.recorded.add()
        return await self._put_on_record(command, refused)

    async def _put_on_record(self, command: _Command, refused: str) -> Answer:
        refused = _plain(refused)
        try:
            await self._asker.refuse(command.name, command.by, refused)
        except Exception:  # A daemon that stops, or a broken journal: who asked is answered nevertheless.
            log.exception("a refused command could not be put on the record", name=command.name, by=command.by)
        return Answer((), (), refused)

    def _answer(self, command: _Command, answer: Answer) -> None:
        said = [sentence(each) for each in answer.events[:TOLD]]
        if len(answer.events) > TOLD:
            said.append(f"and {len(answer.events) - TOLD} changes more")
        payload = response(
            Response(
                at=iso(Instant(self._wall())),
                command=command.name,
                id=command.id,
                ok=answer.refused is None,
                changed=said,
                notes=answer.notes,
                refused=answer.refused,
            )
        )
        usual, wanted = self._topics.response(command.name), command.incoming.answer_to
        command.reply(usual, payload, command.incoming.correlation)
        if wanted is not None and wanted != usual and self._may_answer(wanted):
            command.reply(wanted, payload, command.incoming.correlation)


def _read(payload: bytes) -> _Fields | str:
    """Read a command; a text says why it cannot be read."""
    try:
        ours = msgspec.json.decode(payload, type=_Ours)
        fields = _Fields(ours, msgspec.json.decode(payload, type=dict[str, msgspec.Raw]))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return f"wanted a JSON object with the command's fields and `at`: {error}"
    if ours.id is not None and len(ours.id) > LONGEST_ID:
        return f"id: wanted at most {LONGEST_ID} characters, got {len(ours.id)}"
    return fields


def _body(name: str, fields: _Fields) -> bytes:
    """Give the command's own fields."""
    own = set(ASKS[name].__struct_fields__) | fields.all.keys() - set(_Ours.__struct_fields__)
    return msgspec.json.encode({each: value for each, value in fields.all.items() if each in own})


def _is_whole(fields: _Fields) -> bool:
    """Tell whether a command is about everything, as far as it says."""
    return all(bytes(fields.all.get(each, b"null")) == b"null" for each in ("symbol", "portfolio"))


def _key(command: _Command) -> bytes:
    """Give what makes a command the same as an earlier one: the sender's id, or else all of it."""
    named = command.id is not None and "id" not in ASKS[command.name].__struct_fields__
    what = f"id {command.id}".encode() if named else command.incoming.payload
    return hashlib.blake2b(what, person=command.name.encode()[:16]).digest()


def _plain(reason: str) -> str:
    """Keep what a sender wrote from filling the journal, or from breaking its lines."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in reason[:LONGEST_REASON])


def _instant(text: str) -> int | None:
    try:
        at = parse(text)
    except (ValueError, OverflowError):
        return None
    return at if isinstance(at, int) else None


def _by(claimed: str | None, source: str) -> str:
    """Name who sent a command, as far as they say so: nothing in it may pass for our own word."""
    name = " ".join(_UNFIT.sub("", claimed or "").split())[:LONGEST_NAME]
    return f"{name} ({source})" if name else source
