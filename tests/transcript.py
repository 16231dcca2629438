"""What mosquitto's own clients see beside a run, written down: ``python -m tests.transcript`` makes the document anew.

The run is a recording's, so it says the same each time. What the machine's clock says is replaced, and so is the
version; each of two clients hears what comes in one order.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from mrdaemon import __version__
from mrdaemon.clock import SystemClock
from mrdaemon.core.instant import iso
from tests.mosquitto import PATIENCE, Mosquitto, mosquitto, program
from tests.running import ROOT, child

DOCUMENT: Final = ROOT / "docs" / "mqtt-transcript.md"
CONFIG: Final = """\
seed = "transcript"              # so that a second run says the same

[feed]
kind = "file"
files = ["prices.csv"]
speed = "10x"

[mqtt]
host = "127.0.0.1"

[alerts]
instance = "home"

[channels.house]
kind = "mqtt"
commands = ["approve", "reject"]
every = "1s"

[accounts.paper]
broker = "paper"

[portfolios.core]
account = "paper"
reserve = "1000"
zone = "3%"
mode = "approve"

[portfolios.core.positions.QQQ]
target = "5000"
shares = "12.5"
"""
PRICES: Final = """\
timestamp,symbol,price
2026-03-09T15:00:00Z,QQQ,400
2026-03-09T15:00:20Z,QQQ,387.5
2026-03-09T16:00:00Z,QQQ,388
"""
DAY: Final = "2026-03-09"
STAND_IN: Final = f"{DAY}T15:01:00Z"
"""Is written wherever the machine's clock was."""
HAPPENS: Final = ("mrdaemon/home/status", "mrdaemon/home/alert")
COMMANDS: Final = ("mrdaemon/home/cmd/#",)
POSITION: Final = "mrdaemon/home/position/core_qqq"
APPROVE: Final = "mrdaemon/home/cmd/approve"
_TIME: Final = re.compile(rf'"(?!{DAY})\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z"')

TEXT: Final = """\
# MQTT, seen from outside

A run beside which mosquitto's own clients listen, and one of them answers. What each topic and field means is in
[MQTT](mqtt.md). To see it yourself, install `mosquitto` and `mosquitto-clients`, and put these two files into a folder.

`demo.toml`:

```toml
{config}```

`prices.csv`, in which QQQ falls below its zone after twenty seconds, which take two:

```
{prices}```

## What happens

In one terminal, a client that listens, and in another the daemon:

```sh
{listen_happens}
```

```sh
mrdaemon run -c demo.toml
```

The first one shows, until the daemon is stopped with Ctrl-C:

```text
{happens}
```

## The question

Once QQQ has reached the edge, its figures have the request in them. They are retained: whoever comes later sees them
too.

```sh
{listen_position}
```

```text
{asked}
```

## The answer

A third terminal listens to commands and answers:

```sh
{listen_commands}
```

Somebody approves, and then once more. A command says when it was sent, or it is refused.

```sh
{approve}
```

```text
{commands}
```

The position is at its target, and the request is gone:

```sh
{listen_position}
```

```text
{filled}
```

---

Written by `python -m tests.transcript`, which does all of this; a test sees that it still comes out so. Where the
machine's clock was, it has put `{stand_in}`, and `…` for mrdaemon's version.
"""


class Seen(NamedTuple):
    """What the clients printed."""

    happens: Sequence[str]
    commands: Sequence[str]
    asked: str
    """The position's figures while its request waited."""
    filled: str
    """The same, once it was filled."""


async def play(folder: Path) -> Seen:
    """Let it all happen, in a folder."""
    (folder / "demo.toml").write_text(CONFIG)
    (folder / "prices.csv").write_text(PRICES)
    async with mosquitto(folder) as broker, AsyncExitStack() as listening:
        happens = await listening.enter_async_context(_listening(broker, folder / "happens", HAPPENS))
        commands = await listening.enter_async_context(_listening(broker, folder / "commands", COMMANDS))
        run = ("run", "-c", folder / "demo.toml", "--state", folder / "state")
        place = {"MRDAEMON_MQTT__PORT": str(broker.port)}
        with (folder / "log").open("w") as log, child(*run, env=place, stdout=log, stderr=log) as daemon:
            asked = await _figures(broker, lambda position: position["approval"] is not None)
            await _approve(broker)
            await _until(lambda: any('"order_filled"' in each for each in happens()))
            await _approve(broker)
            await _until(lambda: any('"command_refused"' in each for each in happens()))
            await _until(lambda: sum("/response " in each for each in commands()) == 2)
            filled = await _figures(broker, lambda position: position["shares"] != "12.5")
            daemon.send_signal(signal.SIGINT)
            await asyncio.to_thread(daemon.wait, PATIENCE)
        await _until(lambda: happens()[-1] == "mrdaemon/home/status offline")
        return Seen(happens(), commands(), asked, filled)


def document(seen: Seen) -> str:
    """Write down what was seen, without what differs from run to run."""
    text = TEXT.format(
        config=CONFIG,
        prices=PRICES,
        listen_happens=f"mosquitto_sub -v {_topics(HAPPENS)}",
        listen_commands=f"mosquitto_sub -v {_topics(COMMANDS)}",
        listen_position=f"mosquitto_sub -v -C 1 -t {POSITION}",
        approve=(
            f"mosquitto_pub -q 1 -t {APPROVE} \\\n"
            '    -m "{\\"at\\": \\"$(date -u +%FT%TZ)\\", \\"id\\": \\"core/QQQ/1\\", \\"by\\": \\"anna\\"}"'
        ),
        happens="\n".join(seen.happens),
        commands="\n".join(seen.commands),
        asked=seen.asked,
        filled=seen.filled,
        stand_in=STAND_IN,
    )
    return _TIME.sub(f'"{STAND_IN}"', text).replace(__version__, "…")


@asynccontextmanager
async def _listening(broker: Mosquitto, file: Path, topics: Sequence[str]) -> AsyncIterator[Callable[[], list[str]]]:
    """Listen as a reader would; gives what gives the lines that were printed."""
    more = [each for topic in topics for each in ("-t", topic)]
    named = ("-h", "127.0.0.1", "-p", str(broker.plain), "-i", file.name, "-q", "1")
    with file.open("w") as out:
        process = await asyncio.create_subprocess_exec(
            "stdbuf", "-oL", program("mosquitto_sub"), *named, "-v", *more, stdout=out
        )
    try:
        await broker.until_logged(f"Sending SUBACK to {file.name}")
        yield lambda: file.read_text().split("\n")[:-1]
    finally:
        process.kill()
        await process.wait()


async def _figures(broker: Mosquitto, wanted: Callable[[dict[str, object]], object]) -> str:
    """Wait until the retained figures of the position are as wanted; gives what a client prints of them."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for topic, received in (await broker.retained(POSITION)).items():
                if wanted(received.json):
                    return f"{topic} {received.payload}"


async def _approve(broker: Mosquitto) -> None:
    sent = {"at": iso(SystemClock().now()), "id": "core/QQQ/1", "by": "anna"}
    await broker.publish(APPROVE, json.dumps(sent))


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.02)


def _topics(topics: Sequence[str]) -> str:
    return " ".join(f"-t '{each}'" if "#" in each else f"-t {each}" for each in topics)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        DOCUMENT.write_text(document(asyncio.run(play(Path(place)))), encoding="utf-8")
    sys.stdout.write(f"{DOCUMENT.relative_to(ROOT)} is written\n")
