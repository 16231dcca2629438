"""What a container is, as far as this machine can make one: a root of its own, read-only, and nobody's user in it.

There is no engine here. The kernel's parts that one is made of are: a mount namespace, read-only binds, a change of the
root, another user without any capability. And a Dockerfile is read, so that what is run is what it says.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.mosquitto import program
from tests.running import ROOT

ETC = ("hosts", "resolv.conf", "nsswitch.conf", "ssl", "ca-certificates", "ld.so.cache", "localtime", "pip.conf")
"""What of the machine's settings a container has, too, or what an installation on this machine needs."""
MERGED = ("bin", "sbin", "lib", "lib64")
"""Links into /usr at the top, where they are links."""
MAKE = """
root=$1 enter=$2; shift 2
mount -t tmpfs -o mode=0755 tmpfs "$root"
bind() {  # bind FROM TO OPTION
    if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$(dirname "$root$2")"; : >"$root$2"; fi
    mount --rbind "$1" "$root$2"
    if [ "$3" = ro ]; then mount -o remount,bind,ro "$root$2"; fi
}
while [ "$1" != -- ]; do
    case $1 in
        link) ln -s "$3" "$root$2";;
        tmpfs) mkdir -p "$root$2"; mount -t tmpfs -o mode=1777 tmpfs "$root$2";;
        *) bind "$2" "$3" "$1";;
    esac
    shift 3
done
shift
mount -o remount,bind,ro "$root"
exec "$enter" "$root" "$@"
"""


class Instruction(NamedTuple):
    """One of a Dockerfile."""

    word: str
    rest: str

    @property
    def listed(self) -> list[str]:
        """Its form without a shell."""
        found: list[str] = json.loads(self.rest)
        return found


class Dockerfile:
    """What a Dockerfile says, by its stages."""

    def __init__(self, text: str) -> None:
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
        said = [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]
        self.instructions = said
        starts = [n for n, each in enumerate(said) if each.word == "FROM"]
        self.before = said[: starts[0]]
        self.stages = [said[start:end] for start, end in zip(starts, [*starts[1:], len(said)], strict=True)]

    def all(self, word: str) -> list[Instruction]:
        return [each for each in self.instructions if each.word == word]

    @property
    def last(self) -> list[Instruction]:
        """What the image is: the last stage."""
        return self.stages[-1]

    def one(self, word: str) -> Instruction:
        """Give the one instruction of its kind in the last stage."""
        [found] = [each for each in self.last if each.word == word]
        return found


def environment(stage: Sequence[Instruction]) -> dict[str, str]:
    """Give what a stage sets."""
    pairs = [pair for each in stage if each.word == "ENV" for pair in shlex.split(each.rest)]
    return dict(pair.split("=", 1) for pair in pairs)


class Root:
    """A root file system made of parts of this one."""

    def __init__(self, folder: Path, *, user: str | None = None) -> None:
        """``user`` is UID:GID; root's, with all that root may, where left out."""
        folder.mkdir()
        self._folder = folder
        self._user = user
        self._parts: list[str] = []
        for name in MERGED:
            top = Path("/", name)
            if top.is_symlink():
                self._add("link", top, str(top.readlink()))
            elif top.exists():
                self.shows(top)
        self.shows(Path("/usr"))
        for each in ETC:
            if Path("/etc", each).exists():
                self.shows(Path("/etc", each))
        base = Path(sys.base_prefix)
        if not base.is_relative_to("/usr"):
            self.shows(base)
        for each in ("/dev", "/proc"):
            self._add("rw", each, each)
        self._add("tmpfs", "/tmp", "")  # noqa: S108 - that of the container

    def shows(self, there: Path, here: Path | None = None) -> None:
        """Let something be read there, of this machine's same path unless said."""
        self._add("ro", here or there, there)

    def keeps(self, there: Path, here: Path) -> None:
        """Let something be written there; it is kept."""
        self._add("rw", here, there)

    def _add(self, kind: str, *words: object) -> None:
        self._parts += [kind, *map(str, words)]

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Give what runs a program in it: the very process that is started becomes the program."""
        as_root = os.geteuid() == 0
        namespace = ["unshare", "--mount"] if as_root else ["unshare", "--user", "--map-root-user", "--mount"]
        lesser = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        if as_root and self._user is not None:
            uid, gid = self._user.split(":")
            lesser += [f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        dropped = [] if self._user is None else ["setpriv", *lesser, "--"]
        made = ["sh", "-euc", MAKE, "sh", str(self._folder), program("chroot"), *self._parts, "--"]
        return [*namespace, *made, *dropped, *arguments]

    @contextmanager
    def started(self, arguments: Sequence[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        """Have a program run in it; it is killed in the end, if it still runs."""
        with subprocess.Popen(
            self.command(arguments), env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
        ) as process:
            try:
                yield process
            finally:
                with suppress(FileNotFoundError, ProcessLookupError):  # What tini has started would outlive it.
                    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                        os.kill(int(child), signal.SIGKILL)
                process.kill()

    def run(
        self, arguments: Sequence[str], env: Mapping[str, str], within: float, typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in it to its end, with what is typed into it."""
        return subprocess.run(
            self.command(arguments),
            env=dict(env),
            input=typed,
            capture_output=True,
            text=True,
            cwd="/",
            timeout=within,
            check=False,
        )


def context(dockerignore: str, files: Sequence[str]) -> list[str]:
    """Give the files of a folder that an image can be made of."""
    rules = [line for line in dockerignore.splitlines() if line and not line.startswith("#")]
    return [file for file in files if not _ignored(file, rules)]


def _ignored(file: str, rules: Sequence[str]) -> bool:
    parts = file.split("/")
    paths = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    ignored = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        anywhere = pattern.startswith("**/")
        expression = re.compile(re.escape(pattern.removeprefix("**/")).replace(r"\*", "[^/]*"))
        if any(expression.fullmatch(part) for part in (parts if anywhere else paths)):
            ignored = not rule.startswith("!")
    return ignored


def tracked() -> list[str]:
    """Give the files of the repository's working tree that are not left out of it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return sorted(set(listed.stdout.splitlines()))
