"""An MQTT broker as a child process, which may be killed and started again on its port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from benchmarks.measuring import check

WITHIN_S: Final = 20.0
SYSTEM: Final = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
"""Debian keeps servers where an ordinary user's PATH does not look."""


class Mosquitto:
    """A broker on a port of loopback that was free."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._config = folder / "mosquitto.conf"
        said = ["allow_anonymous true", "log_dest none", f"listener {self.port} 127.0.0.1", ""]
        self._config.write_text("\n".join(["user root", *said] if os.geteuid() == 0 else said), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        program = shutil.which("mosquitto", path=SYSTEM)
        check(holds=program is not None, what="mosquitto installed")
        self._process = subprocess.Popen([str(program), "-c", str(self._config)], stderr=subprocess.DEVNULL)
        until = time.monotonic() + WITHIN_S
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            check(holds=time.monotonic() < until and self._process.poll() is None, what="a broker that starts")
            time.sleep(0.01)

    def kill(self) -> None:
        """Let it die at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def mosquitto(folder: Path) -> Iterator[Mosquitto]:
    """Have a broker until the end."""
    broker = Mosquitto(folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
