"""Commands that act on a running daemon: each answers with what it changed, or why it refused."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from mrdaemon.cli.common import (
    CONFIGURATION,
    FAILED,
    USAGE,
    JsonOption,
    MaybeConfig,
    StateOption,
    app,
    explained,
    fail,
    find_daemon,
    user,
)
from mrdaemon.cli.completion import PortfolioOption, requests, symbols

LONGEST_WHY = 500
"""Characters of a reason that are kept."""
SymbolArgument = Annotated[str, typer.Argument(help="Its symbol.", autocompletion=symbols)]
MaybeSymbol = Annotated[str | None, typer.Argument(help="Only this symbol.", autocompletion=symbols)]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Its id, from status.", autocompletion=requests)]
DollarsArgument = Annotated[str, typer.Argument(help="Dollars.")]


WhyOption = Annotated[str, typer.Option("--why", help="Why; it is kept in the journal.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")]


class Options(NamedTuple):
    """What every command here takes."""

    why: str
    config: Path | None
    state: Path | None
    yes: bool
    as_json: bool


def _options(
    *,
    why: WhyOption = "",
    config: MaybeConfig = None,
    state: StateOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> Options:
    return Options(why, config, state, yes, as_json)


class Ask(NamedTuple):
    """A command on its way."""

    name: str
    fields: dict[str, str | None]
    question: Callable[[Path, dict[str, str | None]], str] | None = None
    """Gives what a person is asked before it is sent, or nothing; None for what is not dangerous. It may make the
    fields more exact: what a person said yes to is what is sent."""
    otherwise: Callable[[Path, str, Exception], list[str]] | None = None
    """What is done, given why it was asked for, where no daemon answers; gives what to say of it."""


def acts(make: Callable[..., Ask]) -> Callable[..., Ask]:
    """Register a command: it takes what ``make`` takes and the options of all, and sends what ``make`` makes."""
    own = inspect.signature(make, eval_str=True).parameters.values()
    common = inspect.signature(_options, eval_str=True).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [each.replace(kind=keyword) for each in (*own, *common)]

    def run(**given: Any) -> None:  # noqa: ANN401 - whatever the command line gives
        options = _options(**{each.name: given.pop(each.name) for each in common})
        _send(make(**given), options)

    run.__doc__ = make.__doc__
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command(make.__name__)(run)
    return make


# Stopping, and going on


@acts
def pause(symbol: MaybeSymbol = None) -> Ask:
    """Raise no new signals, of a symbol or at all. Orders that are open live on."""
    return Ask("pause", {"symbol": symbol})


@acts
def halt(symbol: MaybeSymbol = None, portfolio: PortfolioOption = None) -> Ask:
    """Stop trading, wholly or a portfolio or a symbol: no order leaves, open ones are cancelled. Never asks.

    Where no daemon answers, a whole halt puts the file HALT into the state directory: a daemon obeys it before it sends
    anything.
    """
    whole = symbol is None and portfolio is None
    fields = {"symbol": symbol, "portfolio": portfolio}
    return Ask("halt", fields, otherwise=_leave_halt_file if whole else None)


@acts
def reduce(symbol: MaybeSymbol = None, portfolio: PortfolioOption = None) -> Ask:
    """Only trim from now on: buy nothing, wholly or in a portfolio or a symbol."""
    question = f"{_scope(symbol, portfolio)}: only trim from now on"
    return Ask("reduce", {"symbol": symbol, "portfolio": portfolio}, lambda *_: question)


@acts
def resume(symbol: MaybeSymbol = None, portfolio: PortfolioOption = None) -> Ask:
    """Trade again: lift halts, pauses and, of a symbol, its freeze. Nothing old is sent.

    Without a symbol or a portfolio, it lifts what stopped everything, and takes the HALT file away; what was stopped by
    itself stays so, and is named.
    """
    whole = symbol is None and portfolio is None
    question = f"{_scope(symbol, portfolio)}: trade again"
    fields = {"symbol": symbol, "portfolio": portfolio}
    return Ask("resume", fields, lambda *_: question, _take_halt_file_away if whole else None)


def _scope(symbol: str | None, portfolio: str | None) -> str:
    if symbol is None:
        return "Everything" if portfolio is None else f"Portfolio {portfolio}"
    return symbol if portfolio is None else f"{portfolio}/{symbol}"


def _of(portfolio: str | None) -> str:
    return "" if portfolio is None else f" of {portfolio}"


# Answering


@acts
def approve(request: IdArgument) -> Ask:
    """Let a signal trade that waits for you. It is priced anew, and no more is traded than you were asked for."""
    return Ask("approve", {"id": request}, _what_is_asked)


@acts
def reject(request: IdArgument) -> Ask:
    """Let a signal go that waits for you."""
    return Ask("reject", {"id": request})


def _what_is_asked(directory: Path, fields: dict[str, str | None]) -> str:
    """Say what an approval is about, so that a person sees what they say yes to, and names it in full."""
    from mrdaemon import watching
    from mrdaemon.core.money import show

    for each in watching.look(directory).status.positions:
        approval = each.approval
        if approval is not None and f"/{approval.id}".endswith(f"/{fields['id']}"):
            fields["id"] = approval.id
            verb = "buy" if approval.side == "accumulate" else "sell"
            now = "" if each.price is None else f", at {each.price:f} now"
            return f"Approve {approval.id}: {verb} up to {show(approval.amount)} of {each.symbol}{now}"
    return ""  # There is none: the daemon says so.


# Money


@acts
def fill(
    symbol: SymbolArgument,
    side: Annotated[str, typer.Argument(help="buy or sell.")],
    shares: Annotated[str, typer.Argument(help="How many, to nine decimals.")],
    price: Annotated[str, typer.Argument(help="Dollars a share, on average.")],
    portfolio: PortfolioOption = None,
) -> Ask:
    """Say what you traded by hand, after an alert: shares, reserve and lots follow."""
    fields = {"symbol": symbol, "side": side, "shares": shares, "price": price, "portfolio": portfolio}
    return Ask(
        "fill", fields, lambda *_: f"Book {side} {shares} {_scope(symbol, portfolio)} at {price}, traded by hand"
    )


@acts
def deposit(amount: DollarsArgument, portfolio: PortfolioOption = None) -> Ask:
    """Put cash of the account into a reserve. A paper account gets it paid in; at a broker it must be there."""
    return Ask(
        "deposit",
        {"amount": amount, "portfolio": portfolio},
        lambda *_: f"Put {amount} into the reserve{_of(portfolio)}",
    )


@acts
def withdraw(amount: DollarsArgument, portfolio: PortfolioOption = None) -> Ask:
    """Take cash out of a reserve: no more than is above its floor and not reserved for orders."""
    return Ask(
        "withdraw",
        {"amount": amount, "portfolio": portfolio},
        lambda *_: f"Take {amount} out of the reserve{_of(portfolio)}",
    )


@acts
def target(symbol: SymbolArgument, amount: DollarsArgument, portfolio: PortfolioOption = None) -> Ask:
    """Change a position's target. After a change of more than a fifth, a first trade far out of the zone asks you."""
    fields = {"symbol": symbol, "target": amount, "portfolio": portfolio}
    return Ask("target", fields, lambda *_: f"Make {amount} the target of {_scope(symbol, portfolio)}")


@acts
def reconcile(account: Annotated[str | None, typer.Argument(help="Only this account.")] = None) -> Ask:
    """Compare orders, shares and cash with the broker now. A position that differs is halted."""
    return Ask("reconcile", {"account": account})


@acts
def reload() -> Ask:
    """Read the configuration anew: all of it is taken, or nothing is changed. Shows what changed, or what is wrong."""
    return Ask("reload", {})


# On their way


def _send(ask: Ask, options: Options) -> None:
    """Ask where it is dangerous, send it, and say what came of it."""
    from mrdaemon import client, show

    with explained(as_json=options.as_json):
        directory = find_daemon(options.config, options.state)
        question = "" if ask.question is None or options.yes else ask.question(directory, ask.fields)
        if question:
            _confirm(question, directory)
        fields = {name: each for name, each in ask.fields.items() if each is not None}
        why = _plain(options.why)
        try:
            answer = client.command(directory, ask.name, {**fields, "why": why})
        except client.RefusedError as refused:
            if options.as_json:
                show.json_line(refused.answer)
            if reasons := _of_the_configuration(refused.answer):
                unchanged = "Nothing was changed: the configuration of before is in force."
                fail("\n".join([*reasons, unchanged]), CONFIGURATION)
            fail(f"mrdaemon: {ask.name} was refused: {refused}", FAILED)
        except (client.NoDaemonError, client.HungError) as error:
            if ask.otherwise is None:
                raise
            answer = {"ok": True, "events": [], "notes": ask.otherwise(directory, why, error)}
            named = options.config is not None or options.state is not None
            if ask.name == "halt" and not named and isinstance(error, client.NoDaemonError):
                answer["ok"] = False
                answer["notes"].append("A daemon that runs with another --state is not known here: name it.")
        if options.as_json:
            show.json_line(answer)
        else:
            show.lines([*(each["sentence"] for each in answer["events"]), *answer["notes"]])
        if not answer["ok"]:
            raise typer.Exit(FAILED)


def _of_the_configuration(answer: dict[str, Any]) -> list[str]:
    """Give what is wrong with a configuration, where it was refused."""
    refusals = [each for each in answer.get("events", ()) if each["kind"] == "configuration_refused"]
    return [reason for each in refusals for reason in each["reasons"]]


def _plain(why: str) -> str:
    """Make a reason one plain line: a pasted character must not keep a command from being done."""
    text = "".join(each if each.isprintable() else " " if each.isspace() else "?" for each in why)
    return " ".join(text.split())[:LONGEST_WHY]


def _confirm(question: str, directory: Path) -> None:
    if not sys.stdin.isatty():
        fail(f"{question} ({directory})? There is no terminal to ask on: add --yes if that is meant", USAGE)
    if not typer.confirm(f"{question} ({directory})?", err=True):
        fail("Nothing was done.", FAILED)


def _leave_halt_file(directory: Path, why: str, error: Exception) -> list[str]:
    """Halt without a daemon: its next look for the file, or its next start, finds it."""
    from mrdaemon import haltfile, places

    file = directory / places.HALT
    haltfile.leave(file, f"{user()}: {why or 'no reason was given'}")
    said = str(error)
    return [
        f"{said[0].upper()}{said[1:]}.",
        f"{file} is there now: a daemon sends nothing while it is, and cancels its open orders once it sees it.",
    ]


def _take_halt_file_away(directory: Path, _: str, error: Exception) -> list[str]:
    """Undo a halt by file where no daemon runs; a hung one must answer for itself."""
    from mrdaemon import chain, client, haltfile, places

    file = directory / places.HALT
    if not isinstance(error, client.NoDaemonError) or not haltfile.is_there(file):
        raise error
    file.unlink()
    trading = chain.current(directory / places.JOURNAL).state.trading
    how = "" if trading == "ACTIVE" else "; to lift that, start it with run --resume"
    return [f"No daemon runs. {file} was removed; the journal says that trading is {trading}{how}."]
