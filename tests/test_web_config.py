"""``[web]``: what may be configured, what is refused, and what a person is told; TLS; and how the address is found."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import urllib.request
from http.client import HTTPSConnection
from pathlib import Path

import pytest
import trustme

from mrdaemon.places import TOKEN
from mrdaemon.settings import WebTable
from mrdaemon.web import dashboard, serving
from tests.ntfy_server import until
from tests.running import Place, child, daemon, mrdaemon, on_terminal
from tests.webbed import PATIENCE, Browser, free_port, web_daemon, with_dashboard
from tests.webinside import inside


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place").configure(speed="1x").record(100, 101, 102, apart=3600)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def certified(place: Place, authority: trustme.CA, name: str = "127.0.0.1") -> None:
    """Put a certificate and its key beside a place's configuration."""
    issued = authority.issue_cert(name)
    issued.cert_chain_pems[0].write_to_path(str(place.config.with_name("web.pem")))
    issued.private_key_pem.write_to_path(str(place.config.with_name("web.key")))


def checked(place: Place, table: str) -> tuple[int, str]:
    place.config.write_text(f"{place.config.read_text()}\n{table}\n")
    run = mrdaemon("check", "-c", place.config)
    return run.code, run.err if run.code else run.out


# Checks


@pytest.mark.parametrize(
    ("web", "said"),
    [
        ('listen = "8378"', 'web.listen: wanted an address and a port such as "127.0.0.1:8378" (got "8378")'),
        ('listen = "http://127.0.0.1:8378"', "web.listen: wanted an address and a port"),
        ('listen = "127.0.0.1:0"', "web.listen: wanted an address and a port"),
        (
            'listen = "0.0.0.0:8378"',
            "web.listen: other machines reach this address, and the token would pass in the open",
        ),
        ('listen = "[::]:8378"', "web.listen: other machines reach this address"),
        ('listen = "mrdaemon.example:8378"', "web.listen: other machines reach this address"),
        ("insecure = true", 'web.insecure: this is for a dashboard that is served: wanted listen = "127.0.0.1:8378"'),
        ('hosts = ["a.example"]', "web.hosts: this is for a dashboard that is served"),
        ('listen = "127.0.0.1:1"\nhosts = ["https://a.example"]', "web.hosts: wanted names without a scheme"),
        ('listen = "127.0.0.1:1"\ncertificate = "web.pem"', "web.key: wanted the file with the certificate's key"),
        ('listen = "127.0.0.1:1"\nkey = "web.pem"', "web.certificate: wanted the certificate that the key belongs to"),
        (
            'listen = "127.0.0.1:1"\ncertificate = "no.pem"\nkey = "no.key"',
            "web.certificate: there is no such file",
        ),
        ('lisen = "127.0.0.1:1"', "web.lisen: there is no such setting; did you mean 'listen'?"),
        ('listen = "127.0.0.1:1"\n[answers]\nlisten = "127.0.0.1:1"\nurl = "https://a.example"', "than answers.listen"),
    ],
)
def test_what_cannot_be_meant_or_is_unsafe_is_refused(place: Place, web: str, said: str) -> None:
    code, told = checked(place, f"[web]\n{web}")
    assert code == 78
    assert said in told


@pytest.mark.parametrize("listen", ["127.0.0.1:8378", "localhost:8378", "[::1]:8378", "127.0.0.2:1"])
def test_this_machine_needs_nothing_more(place: Place, listen: str) -> None:
    assert checked(place, f'[web]\nlisten = "{listen}"')[0] == 0


def test_another_machine_needs_the_flag_and_is_warned_of(place: Place) -> None:
    code, told = checked(place, '[web]\nlisten = "0.0.0.0:8378"\ninsecure = true')
    assert code == 0
    assert "The dashboard is served on 0.0.0.0:8378 without TLS: whoever listens on the way may act." in told


def test_another_machine_or_tls(place: Place, authority: trustme.CA) -> None:
    certified(place, authority)
    code, told = checked(place, '[web]\nlisten = "0.0.0.0:8378"\ncertificate = "web.pem"\nkey = "web.key"')
    assert (code, "without TLS" in told) == (0, False)


def test_a_daemon_that_may_not_be_reached_does_not_start(place: Place) -> None:
    place.config.write_text(f'{place.config.read_text()}\n[web]\nlisten = "0.0.0.0:8378"\n')
    assert place.run().code == 78


def test_without_the_table_nothing_listens(place: Place) -> None:
    with daemon(place) as process:
        mine = {each.readlink().name for each in Path(f"/proc/{process.pid}/fd").iterdir()}
        listening = [
            line.split()
            for file in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{file}").read_text().splitlines()[1:]
            if line.split()[3] == "0A"
        ]
        assert not [each for each in listening if f"socket:[{each[9]}]" in mine]
        assert not (place.state / TOKEN).exists()
        said = mrdaemon("dashboard", "--state", place.state)
    assert said.code == 1
    assert 'serves no dashboard: put [web] listen = "127.0.0.1:8378" into its configuration' in said.err


# Opening it


def test_a_port_that_is_taken_is_told(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = with_dashboard(place, port).run()
    assert run.code == 1
    assert f"mrdaemon: web.listen: 127.0.0.1:{port} cannot be opened: Address already in use; choose another" in run.err


def test_a_token_that_others_may_read_ends_the_start(place: Place) -> None:
    place.state.mkdir()
    (place.state / TOKEN).write_text("x" * 43)
    (place.state / TOKEN).chmod(0o644)
    run = with_dashboard(place, free_port()).run()
    assert run.code == 1
    assert "web-token: others may read or write it (mode 0644), so they could command; remove it" in run.err


def test_the_address_is_told_with_the_token_behind_the_hash(tmp_path: Path) -> None:
    with web_daemon(tmp_path / "place") as web:
        said = mrdaemon("dashboard", "--state", web.place.state)
        assert said.out == f"{web.url}/login#token={web.token}\n"
        assert urllib.request.urlopen(said.out.strip(), timeout=PATIENCE).status == 200  # noqa: S310 - our own
    assert "no daemon runs on" in mrdaemon("dashboard", "--state", web.place.state).err


def test_the_token_stays_the_same_after_a_restart_and_sessions_do_not(place: Place) -> None:
    port = free_port()
    with_dashboard(place, port)
    with daemon(place):
        token = (place.state / TOKEN).read_text().strip()
        browser = Browser(port)
        browser.sign_in(token)
    with child(*place.arguments()) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert Browser(port, token).get("/api/status").status == 200
        assert browser.get("/api/status").status == 401


def test_no_log_has_the_token(place: Place) -> None:
    port = free_port()
    with_dashboard(place, port)
    with daemon(place) as process:
        token = (place.state / TOKEN).read_text().strip()
        Browser(port, "x" * 43).get("/api/status")
        Browser(port, token).command("halt")
        Browser(port).sign_in(token)
        process.terminate()
        out, errors = process.communicate(timeout=20)
    assert f'"address": "http://127.0.0.1:{port}"' in errors
    assert '"wrong token"' in errors
    assert token not in out + errors


# TLS


def over_tls(port: int, authority: trustme.CA) -> HTTPSConnection:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=trusting)


def test_over_tls_the_cookie_stays_on_it(place: Place, authority: trustme.CA) -> None:
    certified(place, authority)
    port = free_port()
    with daemon(with_dashboard(place, port, 'certificate = "web.pem"\nkey = "web.key"')):
        token = (place.state / TOKEN).read_text().strip()
        line = over_tls(port, authority)
        line.request("POST", "/api/session", f'{{"token": "{token}"}}', {"Content-Type": "application/json"})
        answer = line.getresponse()
        answer.read()
        cookie = str(answer.headers["Set-Cookie"])
        assert cookie.startswith("__Host-mrdaemon_session")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
        line.request("GET", "/api/status", headers={"Cookie": cookie.partition(";")[0]})
        assert line.getresponse().status == 200
        line.close()
        assert mrdaemon("dashboard", "--state", place.state).out.startswith(f"https://127.0.0.1:{port}/login#token=")


async def test_a_renewed_certificate_is_taken_without_a_restart(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "RENEWED_EVERY", 0.05)
    certified(place, trustme.CA())
    table = WebTable(listen="127.0.0.1:0", certificate=Path("web.pem"), key=Path("web.key"))
    async with asyncio.timeout(PATIENCE), inside(place.config.parent, table=table) as ours:
        before = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", ours.port))
        certified(place, trustme.CA())
        while await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", ours.port)) == before:
            pass


async def test_a_certificate_that_was_renewed_before_its_key_leaves_the_old_one(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dashboard, "RENEWED_EVERY", 0.05)
    certified(place, trustme.CA())
    table = WebTable(listen="127.0.0.1:0", certificate=Path("web.pem"), key=Path("web.key"))
    async with asyncio.timeout(PATIENCE), inside(place.config.parent, table=table) as ours:
        before = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", ours.port))
        renewed = trustme.CA().issue_cert("127.0.0.1").cert_chain_pems[0]
        renewed.write_to_path(str(place.config.with_name("web.pem")))
        await until(lambda: "cannot be used yet" in "".join(capsys.readouterr()))
        assert await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", ours.port)) == before


async def test_who_never_begins_tls_takes_no_more_than_so_many_descriptors(place: Place) -> None:
    certified(place, trustme.CA())
    table = WebTable(listen="127.0.0.1:0", certificate=Path("web.pem"), key=Path("web.key"))
    async with asyncio.timeout(PATIENCE), inside(place.config.parent, table=table) as ours:
        before = descriptors()
        silent = [await ours.connect() for _ in range(4 * serving.BEGINNING)]
        async with asyncio.timeout(serving.ASKED_WITHIN / 2):  # Before they would be over anyway.
            for each in silent[serving.BEGINNING :]:
                await each.ended()
        assert descriptors() - before <= 5 * serving.BEGINNING  # As many on either side, and no more.
        for each in silent:
            each.close()
        await until(lambda: descriptors() <= before)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_proxy_before_us_that_has_tls_gets_the_same_cookie(tmp_path: Path) -> None:
    with web_daemon(tmp_path / "place", 'hosts = ["mrdaemon.example"]') as web:
        sent = {"Host": "mrdaemon.example", "Origin": "https://mrdaemon.example"}
        reply = web.browser().ask("POST", "/api/session", {"token": web.token}, sent)
    assert str(reply.headers["Set-Cookie"]).startswith("__Host-mrdaemon_session")


# The demo


def test_the_demo_opens_on_its_dashboards_address_as_well(tmp_path: Path) -> None:
    with on_terminal("demo", "--state", tmp_path / "demo", env={"COLUMNS": "60"}) as terminal:
        written = terminal.read_until("\r\n")
        link = next(each for each in written.split() if each.startswith("http://127.0.0.1:"))
        port, token = int(link.split(":")[2].partition("/")[0]), link.rpartition("=")[2]
        assert Browser(port, token).get("/api/status").object["positions"][0]["portfolio"] == "demo"
        terminal.process.terminate()
        assert terminal.end() == 0
    shutil.rmtree(tmp_path / "demo")


def test_a_demo_with_a_dashboard_is_cleared_away_as_any(tmp_path: Path) -> None:
    for more in ([], ["--fresh"]):
        with child("demo", *more, "--state", tmp_path / "demo") as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Dashboard, as long as this runs: http://127.0.0.1:")
        assert (tmp_path / "demo" / TOKEN).exists()
