"""The broker that other tests lean on: it is real, it asks for names, and it comes back on its port."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mosquitto import Certificates, mosquitto


async def test_a_foreigner_hears_what_a_foreigner_says(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, broker.subscribed("a/#") as heard:
        await broker.publish("a/b", "words", properties=[("message-expiry-interval", "60")])
        [message] = await heard.on("a/b")
        assert (message.payload, message.retain, message.qos) == ("words", False, 1)
        assert message.properties["message-expiry-interval"] in {59, 60}


async def test_what_is_retained_outlives_a_crash_where_the_broker_is_persistent(tmp_path: Path) -> None:
    async with mosquitto(tmp_path, persistent=True) as broker:
        port = broker.port
        await broker.publish("a/b", "words", retain=True)
        await broker.restart()
        await broker.publish("a/c", "more", retain=True)
        assert {name: each.payload for name, each in (await broker.retained("a/#")).items()} == {
            "a/b": "words",
            "a/c": "more",
        }
        assert broker.port == port


async def test_whom_the_list_does_not_name_is_shown_the_door(tmp_path: Path) -> None:
    async with mosquitto(tmp_path, users={"anna": "secret"}, acl="user anna\ntopic read x/#") as broker:
        await broker.publish("x/1", "a foreigner may do everything")
        broker._users = None
        with pytest.raises(AssertionError, match=r"[Nn]ot authori[sz]ed"):
            await broker.publish("x/1", "nobody may do anything")


async def test_it_speaks_tls(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls")
    async with mosquitto(tmp_path, server=certificates.server, client_ca=certificates.ca) as broker:
        await broker.publish("x/1", "foreigners come in by the other door")
        assert "Opening ipv4 listen socket" in broker.log
