"""A real Home Assistant beside our channel on a real broker: it finds, shows, presses, forgets.

For ``make homeassistant``. Named are the interpreter that has its package, and a program that runs with that:
``homeassistant_house``.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mrdaemon.core.policy import Side
from mrdaemon.status import ApprovalStatus
from tests.alerts_mqtt import FakeView, Parts, alert, channel, delivered, position, reached
from tests.builders import dollars
from tests.mosquitto import mosquitto

PATIENCE = 60.0
"""Seconds that anything may take: Home Assistant takes some to start."""
COMMANDS = ("approve", "reject", "pause", "resume")
END = "2030-09-13T16:26:42Z"
BUY = ApprovalStatus("core/QQQ/7", 7, Side.ACCUMULATE, dollars(500), END)
SALE = ApprovalStatus("core/QQQ/8", 8, Side.TRIM, dollars(80), END)

State = dict[str, Any]


class House:
    """Home Assistant, and what may be asked of it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._in = process.stdin
        self._out = process.stdout

    async def heard(self) -> Any:
        """Wait for what it says next."""
        async with asyncio.timeout(PATIENCE):
            line = await self._out.readline()
        assert line, "Home Assistant ended: see above"
        return json.loads(line)

    async def ask(self, what: str, about: str | None = None) -> Any:
        self._in.write(json.dumps({what: about}).encode() + b"\n")
        return await self.heard()

    async def press(self, button: str) -> None:
        await self.ask("press", f"button.{button}")

    async def shows(self, entity: str, wanted: Callable[[State], object]) -> None:
        """Wait until an entity is as wanted."""
        await self.until(lambda: self.ask("state", entity), lambda found: found is not None and wanted(found), entity)

    async def lacks(self, entity: str) -> None:
        """Wait until there is no such entity."""
        await self.until(lambda: self.ask("state", entity), lambda found: found is None, f"no {entity}")

    async def until(self, look: Callable[[], Any], wanted: Callable[[Any], object], what: str) -> None:
        found = None
        try:
            async with asyncio.timeout(PATIENCE):
                while not wanted(found := await look()):  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0.05)
        except TimeoutError:
            message = f"{what}: Home Assistant shows {found}"
            raise AssertionError(message) from None

    async def end(self) -> None:
        self._in.close()
        await self._process.wait()


@asynccontextmanager
async def house(python: str, program: str, port: int, folder: Path) -> AsyncIterator[House]:
    """Run Home Assistant; what it complains about is shown where something goes wrong."""
    log = folder / "homeassistant.log"
    with log.open("w") as complaints:
        process = await asyncio.create_subprocess_exec(
            python, program, str(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
        )
    try:
        yield House(process)
    except BaseException:
        sys.stderr.write(log.read_text())
        raise
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def asked(parts: Parts, count: int) -> list[tuple[Any, ...]]:
    """Wait until so many commands came."""
    async with asyncio.timeout(PATIENCE):
        while len(parts.asker.asked) < count:  # noqa: ASYNC110 - the fake is looked at, and waited for nowhere else
            await asyncio.sleep(0.02)
    return [(each.name, each.body) for each in parts.asker.asked]


async def finds(home: House, view: FakeView) -> None:
    """What appears, and follows what changes."""
    await home.shows("sensor.home_core_qqq_value", lambda found: found["state"] == "5050.00")
    await home.shows("sensor.home_core_qqq_deviation", lambda found: found["state"] == "1.0")
    await home.shows("sensor.home_core_reserve", lambda found: found["state"] == "1000.00")
    await home.shows("sensor.mrdaemon_home_trading", lambda found: found["state"] == "ACTIVE")
    await home.shows("sensor.home_core_btc_usd_price", lambda found: found["unit_of_measurement"] == "USD")
    await home.shows("binary_sensor.mrdaemon_home_running", lambda found: found["state"] == "on")
    devices = await home.ask("devices")
    daemon = devices.pop("mrdaemon home")
    assert daemon is None
    assert devices.keys() == {"home core", "home core QQQ", "home core SPY", "home core BRK.B", "home core BTC/USD"}
    assert len(set(devices.values())) == 1
    view.change("BRK.B", price=None, value=None, deviation=None, halted="by me")
    for each in ("price", "value", "deviation"):
        await home.shows(f"sensor.home_core_brk_b_{each}", lambda found: found["state"] == "unknown")
    await home.shows(
        "binary_sensor.home_core_brk_b_problem", lambda found: (found["state"], found["halted"]) == ("on", "by me")
    )


async def answers(home: House, parts: Parts) -> None:
    """What a press answers."""
    approve = "button.home_core_qqq_approve"
    await home.shows(approve, lambda found: found["state"] == "unavailable")
    parts.view.change("QQQ", approval=BUY)
    await home.shows(approve, lambda found: found["friendly_name"] == "home core QQQ Approve buy of $500.00")
    await home.shows(approve, lambda found: found["state"] != "unavailable")
    await home.shows("sensor.home_core_qqq_request", lambda found: found.get("id") == "core/QQQ/7")
    await home.press("home_core_qqq_approve")
    await asked(parts, 1)
    parts.view.change("QQQ", approval=SALE)
    await home.shows(
        "button.home_core_qqq_reject",
        lambda found: found["friendly_name"] == "home core QQQ Reject sale of $80.00",
    )
    await home.press("home_core_qqq_reject")
    await asked(parts, 2)
    parts.view.change("QQQ", approval=None)
    await home.shows(approve, lambda found: found["state"] == "unavailable")
    await home.press("home_core_qqq_approve")
    await home.press("home_core_btc_usd_pause_symbol")
    wanted = [("approve", {"id": "core/QQQ/7"}), ("reject", {"id": "core/QQQ/8"}), ("pause", {"symbol": "BTC/USD"})]
    assert await asked(parts, 3) == wanted
    assert not parts.asker.refused


async def forgets(home: House, parts: Parts) -> None:
    """What is an event, and what goes."""
    await delivered(parts.channel, alert())
    await home.shows(
        "event.home_core_qqq_signal", lambda found: (found["event_type"], found.get("id")) == ("accumulate", "nonce-1")
    )
    parts.view.change("SPY", retired=True)
    await home.lacks("sensor.home_core_spy_value")
    await home.until(lambda: home.ask("devices"), lambda found: "home core SPY" not in found, "no device of SPY")


async def main(python: str, program: str) -> None:
    """Visit it twice: the second time with fewer commands."""
    view = FakeView(*(position(each) for each in ("QQQ", "SPY", "BRK.B", "BTC/USD")))
    with tempfile.TemporaryDirectory() as folder:
        async with mosquitto(Path(folder)) as broker, house(python, program, broker.plain, Path(folder)) as home:
            version = await home.heard()
            async with channel(reached(broker), view=view, homeassistant=True, commands=COMMANDS) as parts:
                await finds(home, view)
                await answers(home, parts)
                await forgets(home, parts)
            await home.shows("binary_sensor.mrdaemon_home_running", lambda found: found["state"] == "off")
            await home.shows("sensor.home_core_qqq_shares", lambda found: found["state"] == "unavailable")
            async with channel(reached(broker), view=view, homeassistant=True, commands=("pause",)):
                await home.shows("sensor.home_core_qqq_shares", lambda found: found["state"] == "50")
                await home.lacks("button.home_core_qqq_approve")
                await home.shows("button.home_core_qqq_pause_symbol", lambda found: found["state"] != "unavailable")
            await home.end()
    sys.stdout.write(f"Home Assistant {version} beside mrdaemon: it finds, shows, presses and forgets as it should\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
