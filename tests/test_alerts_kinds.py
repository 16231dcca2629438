"""Every kind of event is told, or deliberately silent."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mrdaemon.alerts.composer import SILENT
from mrdaemon.core import events as ev
from mrdaemon.core.events import KINDS
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.policy import AccountRules, Asset, ChannelState, FeedState, PortfolioRules, PrintRules, TradingState
from tests.alerted import Office, kinds
from tests.builders import BUY, SELL, START, dollars, only, plan, position, rules

QQQ: ev.About = {"portfolio": "core", "symbol": "QQQ"}


def intent(found: Office) -> ev.OrderIntended:
    order: ev.OrderIntended = only(found.events, ev.OrderIntended)[-1]
    return order


def _order(found: Office) -> ev.AboutOrder:
    return {"portfolio": "core", "symbol": "QQQ", "order": intent(found).order}


def events(found: Office) -> dict[str, list[ev.Event]]:
    """Give an event of each kind, with what must go before it, for an order that is on its way."""
    at, order = found.now, _order(found)
    ask = ev.ApprovalRequested(
        at=at, **QQQ, number=1, side=BUY, amount=dollars(9), expires=Instant(at + SECOND), reason="Because."
    )
    filled = ev.OrderFilled(
        at=at,
        **order,
        side=BUY,
        filled=Shares(Decimal(1)),
        average=Price(Decimal(95)),
        cash=dollars(95),
        shares=Shares(Decimal(1)),
        amount=dollars(95),
    )
    held = ev.SignalHeld(
        at=at,
        **QQQ,
        side=SELL,
        guard="cover",
        reason="too little",
        price=Price(Decimal(90)),
        value=dollars(4500),
        amount=dollars(9),
    )
    one = Price(Decimal(1))
    listed: list[list[ev.Event]] = [
        [ev.DaemonStarted(at=at, version="1.0", nonce="m")],
        [ev.DaemonStopped(at=at, reason="asked")],
        [ev.FeedOpened(at=at, feed="x.csv", cursor=0)],
        [ev.FeedStateChanged(at=at, feed="iex", state=FeedState.REFUSED, reason="auth failed")],
        [ev.ChannelStateChanged(at=at, channel="phone", state=ChannelState.REFUSED, reason="gone")],
        [ev.RowRefused(at=at, row="x.csv:7")],
        [ev.FeedEnded(at=at, delivered=10, refused=1)],
        [ev.ConfigurationReloaded(at=at, file="core.toml", by="ada", changes=("Channel phone was added.",))],
        [ev.ConfigurationRefused(at=at, file="core.toml", by="ada", reasons=("core.toml: feed: this is required",))],
        [ev.PrintsConfigured(at=at, rules=PrintRules())],
        [ev.AccountConfigured(at=at, account="paper", rules=AccountRules())],
        [ev.PortfolioConfigured(at=at, portfolio="core", rules=PortfolioRules("paper", dollars(1)))],
        [ev.PositionConfigured(at=at, **QQQ, rules=rules(target="6000"))],
        [ev.PositionOpened(at=at, **QQQ, shares=Shares(Decimal(50)))],
        [ev.PositionRetired(at=at, **QQQ)],
        [ev.AssetKnown(at=at, account="paper", asset=Asset("QQQ"))],
        [ev.TargetChanged(at=at, **QQQ, before=dollars(5000), target=dollars(5100), by="ada")],
        [ev.PrintRefused(at=at, symbol="QQQ", price="95.0", rule="stale", reason="it is old", day="day-1")],
        [ev.PrintBusted(at=at, symbol="QQQ", trade=7)],
        [ev.PriceAccepted(at=at, symbol="QQQ", price=one)],
        [ev.PriceStale(at=at, symbol="QQQ", since=START)],
        [ev.PriceStale(at=at, symbol="QQQ", since=START), ev.PriceFresh(at=at, symbol="QQQ", price=one)],
        [ev.SymbolFrozen(at=at, symbol="QQQ", before=one, price=one, reason="it jumped")],
        [ev.SymbolThawed(at=at, symbol="QQQ", by="ada")],
        [ev.TradingHalted(at=at, symbol="QQQ", reason="LULD")],
        [ev.TradingResumed(at=at, symbol="QQQ")],
        [ev.PositionArmed(at=at, **QQQ, price=one, value=dollars(50), suspect=True)],
        [ev.SignalPending(at=at, **QQQ, side=BUY, price=one, value=dollars(50), agreed=0)],
        [ev.SignalDropped(at=at, **QQQ, side=BUY, price=one, value=dollars(50), cause="a trade was taken back")],
        [
            ev.SignalRaised(
                at=at,
                **QQQ,
                number=2,
                side=BUY,
                price=one,
                value=dollars(50),
                target=dollars(5000),
                edge=dollars(4750),
                amount=dollars(9),
                reason="Because.",
            )
        ],
        [held],
        [held, ev.SideRearmed(at=at, **QQQ, side=SELL, cause="it has more")],
        [ask],
        [ask, ev.ApprovalGranted(at=at, **QQQ, number=1, by="ada")],
        [ask, ev.ApprovalClosed(at=at, **QQQ, number=1, cause="expired")],
        [intent(found)],
        [ev.OrderAmbiguous(at=at, **order, reason="time-out")],
        [ev.OrderAmbiguous(at=at, **order, reason="time-out"), ev.OrderAccepted(at=at, **order, broker_order="b")],
        [filled],
        [ev.FeeCharged(at=at, **order, fees=dollars(1), amount=dollars(1))],
        [ev.OrderEnded(at=at, **order, status="canceled", reason="as asked")],
        [ev.CancelRequested(at=at, **order, reason="a halt")],
        [ev.JournalRestored(at=at, by="me", backup="b", made="then", restored="now", upto=7)],
        [ev.OrderUnmatched(at=at, account="paper", order="mrd-x", reason="no intent explains it")],
        [ev.ReserveDeposited(at=at, portfolio="core", amount=dollars(1), by="ada")],
        [ev.ReserveWithdrawn(at=at, portfolio="core", amount=dollars(1), by="ada")],
        [ev.FillReported(at=at, **QQQ, side=BUY, shares=Shares(Decimal(1)), price=one, amount=dollars(1), by="ada")],
        [ev.DividendPaid(at=at, **QQQ, amount=dollars(1), activity="d", date="2030-01-01")],
        [ev.FeeBooked(at=at, portfolio="core", amount=dollars(1), activity="f", date="2030-01-01")],
        [
            ev.SplitApplied(
                at=at,
                **QQQ,
                before=Shares(Decimal(50)),
                shares=Shares(Decimal(100)),
                new_rate=Decimal(2),
                old_rate=Decimal(1),
                activity="s",
                date="2030-01-01",
            )
        ],
        [ev.SharesAdopted(at=at, **QQQ, before=Shares(Decimal(50)), shares=Shares(Decimal(49)), reason="tiny")],
        [ev.AccountLost(at=at, account="paper", reason="cut off")],
        [ev.AccountReconciled(at=at, account="paper", cash=dollars(1), covered=False)],
        [ev.SessionsDisputed(at=at, account="paper", reason="closed, says the broker")],
        [
            ev.SessionsDisputed(at=at, account="paper", reason="closed, says the broker"),
            ev.SessionsAgreed(at=at, account="paper"),
        ],
        [ev.PositionHalted(at=at, **QQQ, reason="counts differ")],
        [ev.TradingStateChanged(at=at, state=TradingState.HALTED, by="ada")],
        [ev.SignalsPaused(at=at, paused=True, by="ada")],
        [ev.BreakerTripped(at=at, account="paper", limit="orders_per_day", reason="too many")],
        [ev.ReconciliationRequested(at=at, account="paper", by="ada")],
        [ev.CommandRefused(at=at, command="Approve", by="ada", reason="there is none")],
    ]
    return {str(type(each[-1]).__struct_config__.tag): each for each in listed}


SILENT_KINDS = {str(kind.__struct_config__.tag) for kind in SILENT}


@pytest.mark.parametrize("kind", sorted(KINDS.keys()))
def test_every_kind_of_event_is_told_or_deliberately_silent(kind: str) -> None:
    found = Office(plan(position()), fill=False)
    found.prices(100, 94.5)
    *before, event = events(found)[kind]
    if before:
        found.record(*before)
    told = found.record(event) + found.wait(20)
    assert (told == []) is (kind in SILENT_KINDS), kinds(told)


def test_why_each_silent_kind_is_silent_is_written_down() -> None:
    assert all(SILENT.values())
