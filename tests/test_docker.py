"""The container: what its files say, and that what they say runs, as far as it can without an engine.

Rules are held against the Dockerfile and compose.yaml as they are read. Then the daemon runs on the configuration in
docker/, in a root of its own, as the image's user and in its environment, beside a real broker with the configuration,
the rules and the password file of compose.yaml's; and, where there is time, the build is run line by line.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

import mrdaemon
from mrdaemon.places import HALT
from tests.container import Dockerfile, Root, context, environment, tracked
from tests.mosquitto import PATIENCE, free_ports, program
from tests.running import ROOT, Place
from tests.running import mrdaemon as command

DOCKERFILE = Dockerfile((ROOT / "Dockerfile").read_text())
IGNORED = (ROOT / ".dockerignore").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = sorted(COMPOSE["services"])
ENV = environment(DOCKERFILE.last)
STATE, CONFIG, SECRETS = (ENV[each] for each in ("STATE_DIRECTORY", "MRDAEMON_CONFIG", "MRDAEMON_SECRETS_DIR"))
OURS = COMPOSE["services"]["mrdaemon"]
SHIPPED = ["Dockerfile", ".dockerignore", "compose.yaml", *(f"docker/{each}" for each in (
    "mrdaemon/mrdaemon.toml", "secrets.sh", "mosquitto/mosquitto.conf", "mosquitto/acl"))]  # fmt: skip


# The image


def test_the_base_is_named_once_by_its_exact_version() -> None:
    [argument] = DOCKERFILE.before
    name, base = argument.rest.split("=", 1)
    assert name == "PYTHON"
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base)
    assert [each.rest for each in DOCKERFILE.all("FROM")] == ["${PYTHON} AS build", "${PYTHON}"]


def test_what_is_installed_is_pinned_and_its_hashes_are_checked() -> None:
    installs = [part for each in DOCKERFILE.all("RUN") for part in each.rest.split("&&") if " install " in part]
    pips = [each for each in installs if "pip" in each]
    assert len(pips) == 3
    for each in pips:
        assert "--require-hashes --only-binary :all: --requirement requirements/" in each or "--no-index" in each
    [packages] = [each for each in installs if "apt-get" in each]
    for each in packages.split("--no-install-recommends")[1].split():
        assert re.fullmatch(r"[a-z0-9-]+=\d[^ ]*", each), "a package without a version"


def test_the_image_has_the_program_and_not_what_made_it() -> None:
    copied = [each.rest for each in DOCKERFILE.last if each.word == "COPY"]
    assert copied == [
        "--from=build /usr/bin/tini-static /usr/local/bin/tini",
        "--from=build /opt/mrdaemon /opt/mrdaemon",
    ]
    made = " ".join(each.rest for each in DOCKERFILE.last if each.word == "RUN")
    assert not re.search(r"\b(pip|apt-get|python)\b", made)
    assert "venv --without-pip /opt/mrdaemon" in DOCKERFILE.stages[0][4].rest + DOCKERFILE.stages[0][5].rest


def test_it_is_nobodys_user_that_runs_and_he_is_set_last() -> None:
    user = DOCKERFILE.one("USER").rest
    assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", user)
    words = [each.word for each in DOCKERFILE.last]
    assert not {"RUN", "COPY", "USER"} & set(words[words.index("USER") + 1 :])
    assert f"--uid {user.split(':')[0]} " in next(each.rest for each in DOCKERFILE.last if each.word == "RUN")


def test_all_state_is_in_one_volume() -> None:
    assert DOCKERFILE.one("VOLUME").rest == STATE == ENV["HOME"]
    assert [each for each in OURS["volumes"] if not each.endswith(":ro")] == [f"state:{STATE}"]
    assert "state" in COMPOSE["volumes"]


def test_signals_reach_the_program_and_health_is_its_own_command() -> None:
    assert DOCKERFILE.one("ENTRYPOINT").listed == ["tini", "-s", "--", "mrdaemon"]
    assert DOCKERFILE.one("CMD").listed == ["run"]
    assert DOCKERFILE.one("STOPSIGNAL").rest == "SIGTERM"
    options, _, asked = DOCKERFILE.one("HEALTHCHECK").rest.partition(" CMD ")
    assert json.loads(asked) == ["mrdaemon", "health"]
    wanted = dict(re.findall(r"--([a-z-]+)=(\d+)", options))
    assert int(wanted["timeout"]) > 5, "`mrdaemon health` gives the daemon five seconds"
    assert int(wanted["interval"]) <= 60


def test_nothing_is_fetched_by_address_and_no_secret_is_in_it() -> None:
    assert not DOCKERFILE.all("ADD")
    named = [part.split("=")[0] for each in DOCKERFILE.instructions if each.word in {"ENV", "ARG"} for part in
             re.findall(r"\w+=", each.rest)]  # fmt: skip
    assert [each for each in named if re.search("KEY|SECRET|TOKEN|PASSW", each)] == ["MRDAEMON_SECRETS_DIR"]
    for file in SHIPPED:
        text = (ROOT / file).read_text()
        assert "://" not in text, file
        assert ":latest" not in text, file
        assert not re.search(r"\b(curl|wget)\b", text), file


def test_an_image_is_made_of_nothing_but_the_program() -> None:
    sources = [each.rest.split()[:-1] for each in DOCKERFILE.stages[0] if each.word == "COPY"]
    wanted = {part.rstrip("/") for each in sources for part in each}
    made_of = context(IGNORED, tracked())
    for each in wanted:
        assert any(file == each or file.startswith(f"{each}/") for file in made_of), f"{each} is left out"
    assert {each.split("/")[0] for each in made_of} == {each.split("/")[0] for each in wanted}
    strays = ["secrets/mqtt__password", ".env", ".git/config", "state/journal.db", "docker/secrets.sh", "tests/x.py"]
    assert context(IGNORED, [*strays, "mrdaemon/__pycache__/x.pyc", "mrdaemon/core/__pycache__/x.pyc"]) == []


# compose.yaml


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_can_do_no_more_than_it_must(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "environment"} & set(service)
    for each in service["tmpfs"]:
        assert {"noexec", "nosuid", "nodev"} <= set(each.split(":")[1].split(","))
    for each in service["volumes"]:
        assert each.endswith(":ro") or not each.startswith((".", "/")), "the host's files are read at most"


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_is_of_an_exact_version_is_bounded_and_is_heard_on_this_machine_only(name: str) -> None:
    service = COMPOSE["services"][name]
    assert re.fullmatch(r"[a-z-]+:\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?", service["image"])
    assert all(each.startswith("127.0.0.1:") for each in service["ports"])
    assert {"mem_limit", "pids_limit"} <= set(service)
    assert service["restart"] == "unless-stopped"
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])


def test_the_service_is_the_image() -> None:
    assert OURS["image"] == f"mrdaemon:{mrdaemon.__version__}"
    assert OURS["user"] == DOCKERFILE.one("USER").rest
    assert f"./docker/mrdaemon:{Path(CONFIG).parent}:ro" in OURS["volumes"]
    assert (ROOT / "docker" / "mrdaemon" / Path(CONFIG).name).is_file()


def test_every_secret_is_a_file_that_neither_git_nor_an_image_takes() -> None:
    files = [each["file"].removeprefix("./") for each in COMPOSE["secrets"].values()]
    used = [each for service in COMPOSE["services"].values() for each in service["secrets"]]
    assert sorted(used) == sorted(COMPOSE["secrets"])
    assert [Path(each).name for each in files] == list(COMPOSE["secrets"])
    for file in files:
        ignored = subprocess.run(["git", "check-ignore", "-q", file], cwd=ROOT, check=False)
        assert ignored.returncode == 0, f"{file} could be committed"
    assert context(IGNORED, files) == []
    assert SECRETS == "/run/secrets"


def test_every_command_that_the_page_on_containers_names_is_one() -> None:
    page = (ROOT / "docs" / "docker.md").read_text()
    commands = set(re.findall(r"mrdaemon mrdaemon ([a-z]+)|--rm mrdaemon ([a-z]+)", page))
    assert len(commands) >= 5
    for each in commands:
        assert command("".join(each), "--help").code == 0, each
    assert OURS["image"] in page
    assert DOCKERFILE.before[0].rest.split("=", 1)[1] in page


# The passwords


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Draw them as a person does, but for the engine: what would run in the broker's container runs here."""
    here = tmp_path / "drawn"
    (here / "docker").mkdir(parents=True)
    for file in ("compose.yaml", "docker/secrets.sh"):
        shutil.copy(ROOT / file, here / file)
    engine = here / "bin" / "docker"
    engine.parent.mkdir()
    engine.write_text(f'#!/bin/sh\necho "$@" >>{here}/asked\nfor last; do :; done\nexec sh -c "$last"\n')
    engine.chmod(0o755)
    path = os.pathsep.join([str(engine.parent), str(Path(program("mosquitto_passwd")).parent), os.environ["PATH"]])
    for _ in range(2):  # the second time, what is there stays
        subprocess.run(
            [shutil.which("sh") or "sh", here / "docker" / "secrets.sh"], env={"PATH": path}, check=True, timeout=20
        )
        (here / "mosquitto_passwd").touch()
        drawn = (here / "secrets" / "mqtt__password").read_text()
        assert (here / "first").exists() is False or (here / "first").read_text() == drawn
        (here / "first").write_text(drawn)
    return here / "secrets"


def test_passwords_are_drawn_once_and_only_their_owner_comes_near_them(secrets: Path) -> None:
    ours, house = ((secrets / f"{each}__password").read_text() for each in ("mqtt", "house"))
    assert re.fullmatch("[0-9a-f]{48}", ours)
    assert re.fullmatch("[0-9a-f]{48}", house)
    assert ours != house
    hashes = (secrets / "mosquitto_passwd").read_text()
    assert re.findall(r"^(\w+):\$", hashes, re.MULTILINE) == ["mrdaemon", "house"]
    assert ours not in hashes
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert all((secrets / each).stat().st_mode & 0o777 == 0o444 for each in COMPOSE["secrets"])
    asked = (secrets.parent / "asked").read_text()
    assert f" {COMPOSE['services']['mosquitto']['image']} " in asked
    assert ours not in asked


# The broker beside it


@asynccontextmanager
async def broker(folder: Path, passwords: Path) -> AsyncIterator[int]:
    """Run a broker on compose.yaml's configuration; only its paths and its port are this machine's."""
    rules, data = folder / "acl", folder / "data"
    folder.mkdir()
    data.mkdir()
    shutil.copy(ROOT / "docker" / "mosquitto" / "acl", rules)
    [port] = free_ports(1)
    said = (ROOT / "docker" / "mosquitto" / "mosquitto.conf").read_text()
    for there, here in {
        "listener 1883": f"listener {port} 127.0.0.1",
        "/run/secrets/mosquitto_passwd": str(passwords / "mosquitto_passwd"),
        "/mosquitto/config/acl": str(rules),
        "/mosquitto/data/": f"{data}/",
    }.items():
        assert said.count(there) == 1
        said = said.replace(there, here)
    (folder / "mosquitto.conf").write_text(said + ("user root\n" if os.geteuid() == 0 else ""))
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program("mosquitto"), "-c", str(folder / "mosquitto.conf"), stdout=log, stderr=log
        )
    try:
        async with asyncio.timeout(PATIENCE):
            while not await listens(port):
                assert process.returncode is None, (folder / "log").read_text()
                await asyncio.sleep(0.01)
        yield port
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE)


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def publish(port: int, topic: str, payload: str, *who: str) -> str:
    """Publish as a foreign client; gives its complaint, which is empty where the broker took it."""
    process = await asyncio.create_subprocess_exec(
        *(program("mosquitto_pub"), "-V", "mqttv5", "-h", "127.0.0.1", "-p", str(port), "-q", "1"),
        *("-t", topic, "-m", payload, *who),
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await asyncio.wait_for(process.communicate(), PATIENCE)
    return complaint.decode()


def named(secrets: Path, name: str) -> tuple[str, ...]:
    user = {"mqtt": "mrdaemon"}.get(name, name)
    return "-u", user, "-P", (secrets / f"{name}__password").read_text()


async def test_the_broker_takes_nobody_without_a_password_and_each_on_topics_of_his_own(
    secrets: Path, tmp_path: Path
) -> None:
    async with broker(tmp_path / "broker", secrets) as port:
        assert "Connection error" in await publish(port, "prices/QQQ", "1")
        assert "Connection error" in await publish(port, "prices/QQQ", "1", "-u", "house", "-P", "guessed")
        assert await publish(port, "prices/QQQ", "1", *named(secrets, "house")) == ""
        assert await publish(port, "mrdaemon/container/cmd/pause", "{}", *named(secrets, "house")) == ""
        assert "Publish" in await publish(port, "mrdaemon/container/status", "online", *named(secrets, "house"))
        assert await publish(port, "mrdaemon/container/status", "online", *named(secrets, "mqtt")) == ""
        assert "Publish" in await publish(port, "prices/QQQ", "1", *named(secrets, "mqtt"))


# The daemon in it


class Container:
    """The daemon as the image runs it."""

    def __init__(self, folder: Path, secrets: Path, mqtt: int, program: Path) -> None:
        self.state, given = folder / "state", folder / "given"
        given.mkdir(mode=0o755)
        self.state.mkdir(mode=0o700)
        shutil.copy(secrets / "mqtt__password", given)
        user = DOCKERFILE.one("USER").rest
        if os.geteuid() == 0:
            os.chown(self.state, *map(int, user.split(":")))
        self.root = Root(folder / "root", user=user)
        self.root.keeps(Path(STATE), self.state)
        self.root.shows(Path(CONFIG).parent, ROOT / "docker" / "mrdaemon")
        self.root.shows(Path(SECRETS), given)
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.web = found.getsockname()[1]
        self.env = {
            **ENV,
            "PATH": f"{program}:{ENV['PATH']}",
            "MRDAEMON_MQTT__HOST": "127.0.0.1",  # no engine, no names of containers
            "MRDAEMON_MQTT__PORT": str(mqtt),
            "MRDAEMON_WEB__LISTEN": f"127.0.0.1:{self.web}",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.root.run(arguments, self.env, PATIENCE)

    async def healthy(self, process: subprocess.Popen[str]) -> None:
        """Ask as an engine does until it says that it is."""
        asked = json.loads(DOCKERFILE.one("HEALTHCHECK").rest.partition(" CMD ")[2])
        async with asyncio.timeout(2 * PATIENCE):
            while (await asyncio.to_thread(self.run, *asked)).returncode:
                assert process.poll() is None, process.communicate()[1]
                await asyncio.sleep(0.1)


def entry() -> list[str]:
    """Give what the image runs; where this machine has no tini, what tini would run."""
    words = DOCKERFILE.one("ENTRYPOINT").listed + DOCKERFILE.one("CMD").listed
    return words if shutil.which(words[0], path=ENV["PATH"]) else words[words.index("--") + 1 :]


async def lives(container: Container, secrets: Path, port: int) -> None:
    """See it start, be healthy, take prices, trade on paper, be backed up, stop, and be restored."""
    with container.root.started(entry(), container.env) as process:
        await container.healthy(process)
        for price in ("66500", "63000", "63000"):
            assert await publish(port, "prices/BTC/USD", price, *named(secrets, "house")) == ""
        async with asyncio.timeout(PATIENCE):
            while "order_filled" not in container.run("mrdaemon", "events", "--json").stdout:  # noqa: ASYNC110
                await asyncio.sleep(0.1)  # as a person looks
        backup = container.run("mrdaemon", "backup")
        assert backup.returncode == 0, backup.stderr
        process.send_signal(signal.SIGTERM)
        _, complaint = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
        assert process.returncode == 0, complaint
    assert container.run("mrdaemon", "health").returncode == 1, "it is gone"
    [kept] = (container.state / "backups").iterdir()
    restored = container.run("mrdaemon", "restore", f"{STATE}/backups/{kept.name}", "--state", STATE, "--aside")
    assert restored.returncode == 0, restored.stderr


async def test_it_runs_as_nobody_on_a_root_that_nothing_is_written_to(secrets: Path, tmp_path: Path) -> None:
    async with broker(tmp_path / "broker", secrets) as port:
        container = Container(tmp_path, secrets, port, Path(sys.executable).parent)
        container.root.shows(ROOT)
        await lives(container, secrets, port)
        owner = {each.stat().st_uid for each in container.state.rglob("*")}
        assert owner == {int(DOCKERFILE.one("USER").rest.split(":")[0]) if os.geteuid() == 0 else os.geteuid()}
        seen = [each.name for each in container.state.rglob("*") if each.stat().st_mode & 0o077]
        assert seen == [HALT], "of what is there, others may know at most that it is halted"
        for path in ("/x", "/etc/mrdaemon/x", "/run/secrets/x", "/usr/x"):
            assert "Read-only file system" in container.run("touch", path).stderr
        assert container.run("sh", "-c", "grep -q '^CapEff:[[:space:]]*0*$' /proc/self/status").returncode == 0


def test_what_the_container_runs_on_is_a_good_configuration(secrets: Path, tmp_path: Path) -> None:
    state = Place(tmp_path / "place").state
    checked = command("check", "-c", ROOT / "docker" / "mrdaemon" / "mrdaemon.toml", "--state", state,
                      env={"MRDAEMON_SECRETS_DIR": str(secrets)})  # fmt: skip
    assert checked.code == 0, checked.err
    assert "good" in checked.out


# The build


@pytest.mark.soak
def test_the_images_user_and_folders_are_made_in_a_clean_root(tmp_path: Path) -> None:
    """For root alone, who may give folders to others."""
    etc, libraries, run = (tmp_path / each for each in ("etc", "lib", "run"))
    for each in (etc, libraries, run):
        each.mkdir()
    for name, line in {"passwd": "root:x:0:0:root:/root:/bin/sh", "group": "root:x:0:", "shadow": "root:*:1::::::",
                       "gshadow": "root:*::"}.items():  # fmt: skip
        (etc / name).write_text(f"{line}\n")
    shutil.copy("/etc/login.defs", etc)
    root = Root(tmp_path / "root")
    for there, here in {"/etc": etc, "/var/lib": libraries, "/run": run}.items():
        root.keeps(Path(there), here)
    [made] = [each.rest for each in DOCKERFILE.last if each.word == "RUN"]
    done = root.run(["sh", "-euc", made], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, PATIENCE)
    assert done.returncode == 0, done.stderr
    user, group = DOCKERFILE.one("USER").rest.split(":")
    assert f"mrdaemon:x:{user}:{group}::{STATE}:/usr/sbin/nologin\n" in (etc / "passwd").read_text()
    assert f"mrdaemon:x:{group}:\n" in (etc / "group").read_text()
    state = (libraries / Path(STATE).name).stat()
    assert (state.st_mode & 0o777, state.st_uid, state.st_gid) == (0o700, int(user), int(group))
    assert [each.stat().st_mode & 0o777 for each in (etc / "mrdaemon", run / "secrets")] == [0o755, 0o755]


@pytest.mark.soak
async def test_the_build_runs_line_by_line_in_a_clean_root_and_what_it_makes_runs(
    secrets: Path, tmp_path: Path
) -> None:
    source, made = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    made.mkdir()
    copied = [part.rstrip("/") for each in DOCKERFILE.stages[0] if each.word == "COPY" for part in each.rest.split()]
    for name in context(IGNORED, tracked()):
        if any(name == each or name.startswith(f"{each}/") for each in copied):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    build = Root(tmp_path / "build")
    build.keeps(Path("/src"), source)
    build.keeps(Path("/opt"), made)
    for kept in Path("/opt").iterdir():  # where a machine may keep wheels
        build.shows(kept)
    base = Path(sys.base_prefix, "bin")
    env = {**os.environ, **environment(DOCKERFILE.stages[0]), "PATH": f"{base}:/usr/bin:/bin"}
    for each in (each.rest for each in DOCKERFILE.stages[0] if each.word == "RUN" and "apt-get" not in each.rest):
        run = build.run(["sh", "-ec", f"cd /src; {each}"], env, within=600)
        assert run.returncode == 0, run.stdout + run.stderr
    assert not list(made.glob("mrdaemon/lib/*/site-packages/pip"))
    async with broker(tmp_path / "broker", secrets) as port:
        container = Container(tmp_path, secrets, port, Path("/opt/mrdaemon/bin"))
        container.root.shows(Path("/opt/mrdaemon"), made / "mrdaemon")
        await lives(container, secrets, port)
