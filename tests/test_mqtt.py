"""The connection to a broker: who is believed, who is let in, and what is said of those who are not."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from cryptography.hazmat.primitives import serialization as forms

from mrdaemon import mqtt
from mrdaemon.mqtt import Broker, MqttFailure, broker_of, connected
from mrdaemon.settings import MqttTable
from tests.mosquitto import Certificates, Mosquitto, free_ports, mosquitto

BOTH = pytest.mark.parametrize("version", ["5", "3.1.1"])
LEFT_OPEN = pytest.mark.filterwarnings("ignore:.*unclosed.*ssl.SSLSocket:ResourceWarning")
"""The client library leaves a socket to the collector whose other side it did not believe."""


def reached(broker: Mosquitto, **changes: Any) -> Broker:
    return Broker("127.0.0.1", broker.port, **changes)


@asynccontextmanager
async def over_tls(
    folder: Path, certificates: Certificates, server: tuple[Path, Path], version: Any = "5", **table: Any
) -> AsyncIterator[Broker]:
    """Run a broker that speaks TLS; gives how it is reached by what a configuration says."""
    clients = certificates.ca if table.pop("wants_certificate", False) else None
    async with mosquitto(folder, server=server, client_ca=clients) as broker:
        said = {"ca": "tls/ca.pem", **table}
        yield broker_of(
            MqttTable(host="127.0.0.1", port=broker.port, version=version, tls=True, **said),
            folder,
        )


async def failure(broker: Broker) -> MqttFailure:
    """Give why a connection cannot be made, or is of no use."""
    with pytest.raises(MqttFailure) as caught:
        async with connected(broker, identifier="test") as session:
            await session.send("a/b", b"words")
    return caught.value


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("home") / "tls")


@pytest.fixture
def home(certificates: Certificates) -> Path:
    """Give the folder of a configuration that has the certificates in ``tls``."""
    return certificates.ca.parent.parent


# What a configuration says


def test_the_port_follows_from_tls(tmp_path: Path) -> None:
    assert broker_of(MqttTable(host="home"), tmp_path).address == "home:1883"
    assert broker_of(MqttTable(host="home", tls=True), tmp_path).address == "home:8883"
    assert broker_of(MqttTable(host="home", tls=True, port=1), tmp_path).address == "home:1"


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    assert "secret" not in repr(broker_of(MqttTable(host="home", user="anna", password="secret"), tmp_path))


def test_a_client_has_the_same_name_after_a_restart_and_another_one_elsewhere() -> None:
    assert mqtt.identity("home", "here", "/state") == mqtt.identity("home", "here", "/state")
    names = {mqtt.identity("home", "here", "/state"), mqtt.identity("home", "there", "/state"), mqtt.identity("a+/#")}
    assert len(names) == 3
    assert all(each.replace("-", "").isalnum() and len(each) < 60 for each in names)


# Who is let in


@BOTH
async def test_the_right_password_is_let_in(tmp_path: Path, version: Any) -> None:
    async with mosquitto(tmp_path, users={"anna": "secret"}, acl="user anna\ntopic write a/#") as broker:
        login = reached(broker, version=version, user="anna", password="secret")
        async with connected(login, identifier="test") as session, broker.subscribed("a/#") as heard:
            await session.send("a/b", b"words")
            await heard.on("a/b")


@BOTH
async def test_a_wrong_password_is_for_a_person_to_mend(tmp_path: Path, version: Any) -> None:
    async with mosquitto(tmp_path, users={"anna": "secret"}) as broker:
        found = await failure(reached(broker, version=version, user="anna", password="guessed"))
    assert found.reason == f"127.0.0.1:{broker.port} refused the connection: not authorized"
    assert found.final


async def test_a_refused_message_is_not_taken_for_a_published_one(tmp_path: Path) -> None:
    async with mosquitto(tmp_path, users={"anna": "secret"}, acl="user anna\ntopic read a/#") as broker:
        found = await failure(reached(broker, user="anna", password="secret"))
    assert found.reason == f"127.0.0.1:{broker.port} refused a message: not authorized"
    assert (found.final, found.too_large) == (True, False)


async def test_a_message_that_is_too_large_is_only_refused_itself(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path, lines=["max_packet_size 2000"]) as broker,
        connected(reached(broker), identifier="test") as session,
    ):
        with pytest.raises(MqttFailure, match="takes 2000 bytes at most") as caught:
            await session.send("a/b", b"x" * 2000)
        assert (caught.value.final, caught.value.too_large) == (False, True)
        await session.send("a/b", b"x")


async def test_a_topic_that_cannot_be_published_to_is_only_refused_itself(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, connected(reached(broker), identifier="test") as session:
        with pytest.raises(MqttFailure, match="cannot be published to") as caught:
            await session.send("a/#", b"words")
        assert caught.value.too_large
        await session.send("a/b", b"words")


# Who is believed


@BOTH
async def test_a_certificate_of_our_authority_is_believed(home: Path, certificates: Certificates, version: str) -> None:
    async with (
        over_tls(home, certificates, certificates.server, version) as broker,
        connected(broker, identifier="test") as session,
    ):
        await session.send("a/b", b"words")


@BOTH
async def test_a_client_with_a_certificate_is_let_in(home: Path, certificates: Certificates, version: str) -> None:
    ours = {"certificate": "tls/client.pem", "key": "tls/client.key", "wants_certificate": True}
    async with (
        over_tls(home, certificates, certificates.server, version, **ours) as broker,
        connected(broker, identifier="test") as session,
    ):
        await session.send("a/b", b"words")


@LEFT_OPEN
@BOTH
@pytest.mark.parametrize(
    ("server", "table", "reason"),
    [
        ("expired", {}, "the certificate of {} is not to be trusted: certificate has expired"),
        ("server", {"ca": "tls/wrong-ca.pem"}, "is not to be trusted: unable to get local issuer certificate"),
        ("server", {"ca": None}, "is not to be trusted: unable to get local issuer certificate"),
        ("misnamed", {}, "certificate is not valid for '127.0.0.1'"),
        (
            "server",
            {"wants_certificate": True},
            "{} does not accept our certificate: tlsv13 alert certificate required",
        ),
        (
            "server",
            {"wants_certificate": True, "certificate": "tls/strange.pem", "key": "tls/strange.key"},
            "{} does not accept our certificate: tlsv1 alert unknown ca",
        ),
        (
            "server",
            {"certificate": "tls/client.pem", "key": "tls/strange.key"},
            "tls/client.pem with {home}/tls/strange.key: key values mismatch",
        ),
        ("server", {"ca": "tls/no.pem"}, "cannot be read: {home}/tls/no.pem: No such file or directory"),
        ("server", {"ca": "tls/client.key"}, "tls/client.key: no certificate or crl found"),
        ("server", {"certificate": "tls/no.pem"}, "tls/no.pem: No such file or directory"),
    ],
)
async def test_what_is_wrong_with_certificates_is_for_a_person_to_mend(
    home: Path, certificates: Certificates, version: str, server: str, table: dict[str, Any], reason: str
) -> None:
    async with over_tls(home, certificates, getattr(certificates, server), version, **table) as broker:
        found = await failure(broker)
    assert reason.format(broker.address, home=home) in found.reason
    assert found.final


async def test_a_key_with_a_passphrase_does_not_ask_on_the_terminal(home: Path, certificates: Certificates) -> None:
    key = forms.load_pem_private_key(certificates.client[1].read_bytes(), None)
    hidden = forms.BestAvailableEncryption(b"secret")
    locked = home / "tls" / "locked.key"
    locked.write_bytes(key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, hidden))
    ours = {"certificate": "tls/client.pem", "key": "tls/locked.key"}
    async with over_tls(home, certificates, certificates.server, **ours) as broker:
        found = await failure(broker)
    assert "protected by a passphrase" in found.reason


@LEFT_OPEN
async def test_tls_to_a_port_without_it_says_so(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        table = MqttTable(host="127.0.0.1", port=broker.port, tls=True)
        found = await failure(broker_of(table, tmp_path))
    assert found.reason.endswith("see whether this port speaks TLS")
    assert not found.final


async def test_no_tls_to_a_port_with_it_says_so(home: Path, certificates: Certificates) -> None:
    async with over_tls(home, certificates, certificates.server) as broker:
        found = await failure(Broker(broker.host, broker.port))
    assert found.reason.endswith("see whether this port wants TLS")


# Who is not there


async def test_a_name_without_an_address_may_get_one() -> None:
    found = await failure(Broker("nowhere.invalid", 1883))
    assert found.reason.startswith("no address is known for nowhere.invalid:1883")
    assert not found.final


async def test_a_name_that_can_have_no_address_is_for_a_person_to_mend() -> None:
    assert (await failure(Broker("x" * 300, 1883))).final


async def test_a_port_where_nobody_listens_is_told() -> None:
    [port] = free_ports(1)
    found = await failure(Broker("127.0.0.1", port))
    assert found.reason == f"127.0.0.1:{port} cannot be reached: Connection refused"


async def test_who_takes_connections_and_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "ANSWER_WITHIN", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = await failure(Broker("127.0.0.1", silent.getsockname()[1]))
    assert "did not answer in time" in found.reason


async def test_an_attempt_that_nobody_waits_for_any_more_leaves_nothing_open(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        attempt = asyncio.create_task(failure(Broker("127.0.0.1", silent.getsockname()[1])))
        theirs, _ = await asyncio.to_thread(silent.accept)
        attempt.cancel()
        await asyncio.wait([attempt])
        with theirs:
            theirs.settimeout(10)
            while await asyncio.to_thread(theirs.recv, 1000):
                pass
    del attempt
    gc.collect()
    assert caplog.records == []


# How it ends


async def listening(broker: Broker) -> None:
    """Listen until the connection ends."""
    async with connected(broker, identifier="test") as session, asyncio.timeout(10):
        await session.want("a/#")
        async for message in session.incoming():
            assert message.topic.value == "a/b"


async def wait_for_acknowledgement(broker: Mosquitto, login: Broker) -> None:
    """Wait for what does not come, while the broker is killed."""
    async with connected(login, identifier="test") as session, asyncio.timeout(10):
        broker.pause()
        waiting = session.send("a/b", b"words")
        await broker.kill()
        await waiting


@BOTH
async def test_who_waits_for_an_acknowledgement_is_told_that_the_broker_died(tmp_path: Path, version: Any) -> None:
    async with mosquitto(tmp_path) as broker:
        with pytest.raises(MqttFailure, match=r"the connection to .* ended"):
            await wait_for_acknowledgement(broker, reached(broker, version=version))


@BOTH
async def test_who_listens_is_told_that_the_broker_stopped(tmp_path: Path, version: Any) -> None:
    async with mosquitto(tmp_path) as broker:
        ears = asyncio.create_task(listening(reached(broker, version=version)))
        await broker.until_logged("Received SUBSCRIBE from test")
        await broker.publish("a/b", "words")
        await broker.stop()
        with pytest.raises(MqttFailure, match=r"the connection to .* ended"):
            await ears


async def test_a_second_client_of_the_same_name_ends_the_first(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        ears = asyncio.create_task(listening(reached(broker)))
        await broker.until_logged("Received SUBSCRIBE from test")
        async with connected(reached(broker), identifier="test"):
            with pytest.raises(MqttFailure, match=r"ended: the broker closed it"):
                await ears


async def fail(broker: Broker, will: aiomqtt.Will) -> None:
    async with connected(broker, identifier="rude", will=will) as session:
        await session.send("a/2", b"words")
        raise ZeroDivisionError


@BOTH
async def test_who_leaves_politely_has_no_will_and_who_fails_has(tmp_path: Path, version: Any) -> None:
    will = aiomqtt.Will("a/will", b"gone", qos=1)
    async with mosquitto(tmp_path) as broker, broker.subscribed("a/#") as heard:
        async with connected(reached(broker, version=version), identifier="polite", will=will) as session:
            await session.send("a/1", b"words")
        with pytest.raises(ZeroDivisionError):
            await fail(reached(broker, version=version), will)
        await heard.on("a/will")
        await broker.publish("a/3")
        await heard.on("a/3")
    assert [each.topic for each in heard.messages] == ["a/1", "a/2", "a/will", "a/3"]


async def test_a_broker_that_hangs_does_not_keep_us_from_leaving(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        async with asyncio.timeout(10), connected(reached(broker), identifier="test") as session:
            broker.pause()
            waiting = session.send("a/b", b"words")
        with pytest.raises(MqttFailure):
            await waiting
        assert session.send("a/c", b"too late").exception() is not None


# A broker that says what no real one would say to order


@asynccontextmanager
async def scripted(*answers: bytes) -> AsyncIterator[Broker]:
    """Run what answers each packet with the next of some bytes, then listens on in silence."""

    conversations: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.add(asyncio.current_task())
        with suppress(OSError):
            for each in answers:
                await reader.read(1000)
                writer.write(each)
            while await reader.read(1000):
                pass
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield Broker("127.0.0.1", server.sockets[0].getsockname()[1], "3.1.1" if answers[0][1] == 2 else "5")
    await asyncio.gather(*filter(None, conversations))


HELLO, OLD_HELLO = b"\x20\x03\x00\x00\x00", b"\x20\x02\x00\x00"


@pytest.mark.parametrize(
    "answers", [(OLD_HELLO, b"\x90\x04\x00\x01\x01\x80"), (HELLO, b"\x90\x05\x00\x01\x00\x01\x87")]
)
async def test_a_refused_subscription_is_told(answers: tuple[bytes, ...]) -> None:
    async with scripted(*answers) as broker, connected(broker, identifier="test") as session:
        assert await session.want("a/#", "b/#") == ["b/#"]


@pytest.mark.parametrize(
    ("answers", "reason", "final"),
    [
        ((HELLO, b"\xe0\x01\x8e"), "ended: another client of our name took it over", False),
        ((HELLO, b"\xe0\x01\x8b"), "ended: server shutting down", False),
        ((HELLO, b"\xff\xff\xff\xff\xff"), "did not answer in time", False),
        ((b"\x20\x03\x00\x86\x00",), "refused the connection: bad user name or password", True),
        ((b"\x20\x03\x00\x88\x00",), "refused the connection: server unavailable", False),
        ((OLD_HELLO[:3] + b"\x04",), "refused the connection: ", True),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "did not answer in time", False),
    ],
)
async def test_what_a_broker_says_is_told_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[bytes, ...], reason: str, final: Any
) -> None:
    monkeypatch.setattr(mqtt, "ANSWER_WITHIN", 0.2)
    async with scripted(*answers) as broker:
        with pytest.raises(MqttFailure, match=reason) as caught:
            await listening(broker)
        assert caught.value.final is final
