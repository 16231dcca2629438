"""A Home Assistant with nothing but its MQTT integration, for ``make homeassistant``: it does as lines of JSON say.

It runs with an interpreter that has the package and nothing of ours, and is given the port of a broker. It says its
version; then ``{"state": …}`` and ``{"press": …}`` name an entity, ``{"devices": null}`` lists devices, and each line
is answered by one.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

WELCOME = {"birth_message": {"topic": "homeassistant/status", "payload": "online", "qos": 0, "retain": False}}


def of(name: str) -> Any:
    """Give a module of Home Assistant's."""
    return importlib.import_module(f"homeassistant.{name}")


def entry(port: int) -> dict[str, Any]:
    """Describe the integration as it keeps it once somebody has set it up."""
    now = "2025-01-01T00:00:00+00:00"
    nothing: dict[str, Any] = {"disabled_by": None, "discovery_keys": {}, "unique_id": None, "subentries": []}
    return {
        **nothing,
        "entry_id": "mqtt",
        "domain": "mqtt",
        "title": "broker",
        "source": "user",
        "version": 1,
        "minor_version": 2,
        "created_at": now,
        "modified_at": now,
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "data": {"broker": "127.0.0.1", "port": port, "discovery": True, "discovery_prefix": "homeassistant"},
        "options": WELCOME,
    }


async def started(folder: Path, port: int) -> Any:
    """Start it in a folder, with a broker."""
    kept = {"version": 1, "minor_version": 4, "key": "core.config_entries", "data": {"entries": [entry(port)]}}
    (folder / "configuration.yaml").touch()
    (folder / ".storage").mkdir()
    (folder / ".storage" / "core.config_entries").write_text(json.dumps(kept))
    hass = of("core").HomeAssistant(str(folder))
    of("loader").async_setup(hass)
    hass.config.skip_pip = True
    hass.config_entries = of("config_entries").ConfigEntries(hass, {})
    await of("bootstrap").async_load_base_functionality(hass)
    hass.config.components.update({"http", "file_upload"})  # They are for its own pages, which nobody opens.
    if not await of("setup").async_setup_component(hass, "mqtt", {}):
        sys.exit("its MQTT integration cannot be set up")
    await hass.async_start()
    return hass


async def done(hass: Any, what: dict[str, Any]) -> Any:
    """Do what a line says."""
    match what:
        case {"state": entity}:
            found = hass.states.get(entity)
            return None if found is None else {"state": found.state, **found.attributes}
        case {"press": entity}:
            return await hass.services.async_call("button", "press", {"entity_id": entity}, blocking=True)
        case _:
            devices = of("helpers.device_registry").async_get(hass).devices.values()
            return {each.name: each.via_device_id for each in devices}


async def main(port: int) -> None:
    """Do what each line says, until there are no more."""
    with tempfile.TemporaryDirectory() as folder:
        hass = await started(Path(folder), port)
        loop = asyncio.get_running_loop()
        sys.stdout.write(json.dumps(of("const").__version__) + "\n")
        sys.stdout.flush()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            sys.stdout.write(json.dumps(await done(hass, json.loads(line)), default=str) + "\n")
            sys.stdout.flush()
        await hass.async_stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
