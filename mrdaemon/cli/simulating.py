"""The command that plays Alpaca on this machine: simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrdaemon.cli.common import FAILED, USAGE, JsonOption, app, explained, fail


@app.command()
def simulator(
    *,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Loopback port; 0 takes a free one.")] = 8899,
    symbols: Annotated[str, typer.Option("--symbols", help="A random walk's first prices.")] = "QQQ=500,SPY=600",
    prices: Annotated[
        list[Path] | None, typer.Option("--prices", help="CSV file to play instead, or demo; may be given again.")
    ] = None,
    start: Annotated[str, typer.Option("--start", help="Where time begins, such as 2026-01-05T09:30.")] = "now",
    speed: Annotated[str, typer.Option("--speed", help="How fast time or prices run, such as 60x.")] = "1x",
    seed: Annotated[str, typer.Option("--seed", help="What prices and fills are drawn from.")] = "simulator",
    faults: Annotated[str, typer.Option("--faults", help="A seed for what goes wrong, or none.")] = "none",
    plan: Annotated[str, typer.Option("--plan", help="Market data: free or plus.")] = "free",
    key: Annotated[str, typer.Option("--key", help="The key it accepts.")] = "PKSIMULATOR",
    secret: Annotated[str, typer.Option("--secret", help="Its secret.")] = "simulated",  # noqa: S107 - it opens nothing
    cash: Annotated[str, typer.Option("--cash", help="The account's cash.")] = "100000",
    always_open: Annotated[bool, typer.Option("--always-open", help="Stocks trade at any time.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Play Alpaca on this machine: market data, orders and an account, without keys and network.

    Time and prices are real time's unless --start moves them. Without --start, --speed only makes prices faster: a
    daemon has its own clock, and takes prices of now.
    """
    import asyncio

    from mrdaemon.core.money import parse_dollars
    from mrdaemon.simulator import standing
    from mrdaemon.simulator.keys import Plan

    try:
        wishes = standing.Wishes(
            port=port,
            symbols=standing.read_symbols(symbols),
            files=standing.read_files(prices or []),
            start=None if start == "now" else standing.read_start(start),
            speed=standing.read_speed(speed),
            seed=seed,
            faults=None if faults == "none" else faults,
            plan=Plan(plan),
            key=key,
            secret=secret,
            cash=parse_dollars(cash),
            always_open=always_open,
            as_json=as_json,
        )
    except ValueError as problem:
        fail(f"mrdaemon: {problem}", USAGE)
    with explained(as_json=as_json):
        try:
            asyncio.run(standing.run(wishes, typer.echo))
        except standing.WishError as problem:
            fail(f"mrdaemon: {problem}", FAILED)
