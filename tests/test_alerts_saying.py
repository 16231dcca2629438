"""The sentences that people read, aloud: each kind of event is told in these words, or not at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from mrdaemon.alerts.alert import Alert, Level
from mrdaemon.core import events as ev
from mrdaemon.core.commands import (
    Approve,
    Deposit,
    Pause,
    Reject,
    ReportFill,
    Resume,
    SetTarget,
    SetTradingState,
    Withdraw,
)
from mrdaemon.core.events import OrderStatus
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.core.money import Price, Shares
from mrdaemon.core.policy import (
    Mode,
    PrintRules,
    TradingState,
)
from mrdaemon.core.prints import trade_print
from tests.alerted import Office, kinds
from tests.builders import BUY, SELL, dollars, only, plan, position

INFO, NOTICE, WARNING, CRITICAL = Level
STOPPED = "no order is sent, and open ones are cancelled, until it is resumed"
AT_THE_EDGE = (
    "QQQ at 94.5 is worth $4,725.00, at or below the lower edge $4,750.00 of its target $5,000.00: buy $275.00."
)

REQUEST = "Request 1, the buy of $275.00 of QQQ in core,"
REACHED = "At $94.50 it was worth $4,725.00, at or below the lower edge $4,750.00 of its target $5,000.00."


def office(**changes: Any) -> Office:
    """A position of fifty shares of QQQ with a target of $5,000.00, watched from $100.00 on."""
    fill = changes.pop("fill", True)
    found = Office(plan(position(**changes)), fill=fill)
    found.prices(100)
    return found


def last(found: Office, kind: str) -> Alert:
    """Give the newest alert of a kind."""
    return [alert for alert in found.told if alert.kind == kind][-1]


def intent(found: Office) -> ev.OrderIntended:
    order: ev.OrderIntended = only(found.events, ev.OrderIntended)[-1]
    return order


# Signals, and what becomes of them


def test_a_signal_says_which_edge_was_reached_at_what_price_and_what_the_reserve_will_be() -> None:
    found = office(fill=False)
    found.prices(94.5)
    told = last(found, "signal_raised")
    assert (told.level, told.title) == (NOTICE, "QQQ: buy $275.00")
    assert told.text == f"{AT_THE_EDGE} The order is on its way; after it the reserve of core is $4,725.00."
    assert (
        told.facts
        | {
            "side": "accumulate",
            "price": "94.5",
            "value": "4725.00",
            "target": "5000.00",
            "lower": "4750.00",
            "upper": "5250.00",
            "edge": "4750.00",
            "amount": "275.00",
            "shares": "50",
            "reserve": "5000.00",
            "reserve_after": "4725.00",
        }
        == told.facts
    )


def test_a_signal_that_nobody_trades_by_itself_says_so() -> None:
    found = office(mode=Mode.ALERT)
    found.prices(94.5)
    text = "Nothing is traded by itself; after the trade the reserve of core is $4,725.00."
    assert last(found, "signal_raised").text == f"{AT_THE_EDGE} {text}"


def test_a_signal_to_sell_says_what_the_reserve_will_be() -> None:
    found = office(fill=False)
    found.prices(110)
    assert last(found, "signal_raised").text == (
        "QQQ at 110 is worth $5,500.00, at or above the upper edge $5,250.00 of its target $5,000.00: sell $500.00. "
        "The order is on its way; after it the reserve of core is $5,500.00."
    )


def three(mode: Mode) -> Office:
    """Three positions that share a reserve of $1,000.00, the first two of which trade by themselves."""
    found = Office(plan(position("AAA"), position("BBB"), position("CCC", mode=mode), reserve="1000"), fill=False)
    found.print(*(trade_print(name, 100.0, found.now) for name in ("AAA", "BBB", "CCC")))
    return found


def afterwards(found: Office) -> list[tuple[str, str]]:
    """Give the end of what signals say, and the figure."""
    told = [each for each in found.told if each.kind in {"signal_raised", "approval_requested"}]
    return [(each.text[each.text.lower().index("after ") :], each.facts["reserve_after"]) for each in told]


def test_the_reserve_after_a_signal_is_what_the_orders_on_their_way_leave() -> None:
    found = three(Mode.AUTO)
    for name in ("AAA", "BBB", "CCC"):
        found.prices(94.5, symbol=name)
    assert afterwards(found) == [
        ("after it the reserve of core is $725.00.", "725.00"),
        ("after it and the other open orders the reserve of core is $450.00.", "450.00"),
        ("after it and the other open orders the reserve of core is $175.00.", "175.00"),
    ]


def test_the_reserve_after_signals_that_come_at_once_is_what_all_of_them_leave() -> None:
    found = three(Mode.AUTO)
    found.print(*(trade_print(name, 94.5, found.now) for name in ("AAA", "BBB", "CCC")))
    assert afterwards(found) == [
        ("after it and the other open orders the reserve of core is $175.00.", "175.00")
    ] * 3  # fmt: skip


@pytest.mark.parametrize("mode", [Mode.ALERT, Mode.APPROVE])
def test_the_reserve_after_what_is_not_ordered_yet_counts_it_besides_the_orders_on_their_way(mode: Mode) -> None:
    found = three(mode)
    for name in ("AAA", "BBB", "CCC"):
        found.prices(94.5, symbol=name)
    words = [text.lower() for text, figure in afterwards(found)[2:] if figure == "175.00"]
    assert len(words) == (1 if mode is Mode.ALERT else 2), "the question says it too"
    assert all(
        each.startswith("after the trade and the other open orders the reserve of core is $175") for each in words
    )


def test_a_fill_says_what_was_bought_at_what_average_and_where_that_leaves_position_and_reserve() -> None:
    found = office()
    found.prices(94.5)
    told = last(found, "order_filled")
    assert (told.level, told.title) == (NOTICE, "Bought 2.91005291 QQQ for $275.00")
    assert told.text == (
        "Bought 2.91005291 QQQ at an average of $94.50 for $275.00, on the order to buy $275.00 of QQQ; core holds "
        "52.91005291 QQQ, worth $5,000.00 against a target of $5,000.00, and its reserve is $4,725.00."
    )
    assert told.facts["status"] == "filled"
    assert told.facts["reserve"] == "4725.00"


def test_many_parts_of_a_fill_are_told_as_the_first_and_the_whole() -> None:
    found = office(fill=False)
    found.prices(94.5)
    begun = len(found.told)
    for part in ("0.2", "0.4", "0.6"):
        found.report(intent(found), Decimal(part), OrderStatus.ACCEPTED)
    found.report(intent(found))
    assert kinds(found.since(begun)) == ["order_partially_filled", "order_filled"]
    first, whole = found.since(begun)
    assert first.level is INFO
    assert first.text == (
        "Bought 0.582010582 QQQ at an average of $94.50 for $55.00 so far, of the order to buy $275.00 of QQQ; core "
        "holds 50.582010582 QQQ, worth $4,780.00 against a target of $5,000.00, and its reserve is $4,945.00."
    )
    assert whole.title == "Bought 2.91005291 QQQ for $275.00"


def test_the_first_part_is_not_told_again_after_a_restart() -> None:
    found = office(fill=False)
    found.prices(94.5)
    found.report(intent(found), Decimal("0.2"), OrderStatus.ACCEPTED)
    begun = len(found.told)
    found.restart().report(intent(found), Decimal("0.4"), OrderStatus.ACCEPTED)
    assert kinds(found.since(begun)) == []


def test_an_order_that_fills_after_it_had_ended_is_told_as_such() -> None:
    found = office(fill=False)
    found.prices(94.5)
    found.report(intent(found), Decimal(0), OrderStatus.CANCELED)
    found.report(intent(found), Decimal("0.2"), OrderStatus.CANCELED)
    told = last(found, "order_filled_late")
    assert told.level is WARNING
    assert told.text == (
        "Bought 0.582010582 QQQ for $55.00 by order mrd-core-QQQ-1-1-n, which had ended as canceled before; core holds "
        "50.582010582 QQQ, worth $4,780.00 against a target of $5,000.00, and its reserve is $4,945.00."
    )


def test_an_order_that_outlived_its_time_says_what_it_filled_and_why_it_ended() -> None:
    found = office(fill=False)
    found.prices(94.5)
    found.report(intent(found), Decimal("0.2"), OrderStatus.ACCEPTED)
    found.wait(301)
    found.report(intent(found), Decimal("0.2"), OrderStatus.CANCELED)
    assert last(found, "order_filled_in_part").text == (
        "Bought 0.582010582 QQQ at an average of $94.50 for $55.00, on the order to buy $275.00 of QQQ; what is left "
        "of it was cancelled (it is still open after 300 s); core holds 50.582010582 QQQ, worth $4,780.00 against a "
        "target of $5,000.00, and its reserve is $4,945.00."
    )


def test_a_refused_order_says_why_and_that_nothing_was_bought() -> None:
    found = office(fill=False)
    found.prices(94.5)
    found.take(found.engine.order_ended(intent(found).order, OrderStatus.REJECTED, "insufficient funds", found.now))
    told = last(found, "order_refused")
    assert (told.level, told.title) == (WARNING, "QQQ: order refused")
    assert told.text == (
        "The order to buy $275.00 of QQQ in core was refused by the broker (insufficient funds); nothing was bought, "
        "the $275.00 set aside for it are free again, and the reserve is $5,000.00."
    )


def test_an_order_of_which_nobody_knows_is_told_and_what_is_found_of_it() -> None:
    found = office(fill=False)
    found.prices(94.5)
    found.take(found.engine.order_ambiguous(intent(found).order, "time-out", found.now))
    told = last(found, "order_ambiguous")
    assert told.level is CRITICAL
    assert told.text == (
        "Nobody knows whether the broker has the order to buy $275.00 of QQQ in core: time-out; it is looked up until "
        "that is certain, and QQQ is not traded there before."
    )
    found.restart().report(intent(found), Decimal(0), OrderStatus.ACCEPTED)
    assert last(found, "order_found").text == (
        "The broker does have the order to buy $275.00 of QQQ in core; what it fills is booked."
    )


def test_an_order_that_was_given_up_is_told() -> None:
    found = office(fill=False)
    found.prices(94.5)
    found.take(found.engine.order_ambiguous(intent(found).order, "time-out", found.now))
    found.take(found.engine.order_ended(intent(found).order, OrderStatus.ABANDONED, "not found, twice", found.now))
    told = last(found, "order_abandoned")
    assert told.level is WARNING
    assert told.text == (
        "The order to buy $275.00 of QQQ in core was given up, as the broker does not have it (not found, twice); "
        "nothing was bought, the $275.00 set aside for it are free again, and the reserve is $5,000.00."
    )


# What people are asked


def test_a_request_says_what_is_asked_until_when_and_carries_its_name() -> None:
    found = office(mode=Mode.APPROVE)
    found.prices(94.5)
    told = last(found, "approval_requested")
    assert (told.level, told.title) == (NOTICE, "QQQ: approve buying $275.00?")
    assert told.text == (
        f"{AT_THE_EDGE} A person must approve: the position asks before it trades. After the trade the reserve of core "
        "is $4,725.00; without an answer by 2020-09-13 16:26 UTC nothing is traded."
    )
    assert (told.approval, told.ttl) == ("core/QQQ/1", 4 * 3600)
    assert (told.facts["price"], told.facts["reserve_after"]) == ("94.5", "4725.00")
    raised = last(found, "signal_raised")
    assert raised.level is INFO, "the question says it"
    assert raised.text == f"{AT_THE_EDGE} A person is asked first; after the trade the reserve of core is $4,725.00."


def test_a_request_that_nobody_answers_is_repeated_until_it_expires() -> None:
    found = Office(plan(position(mode=Mode.APPROVE, approval_ttl=3000)), remind=1200)
    found.prices(100, 94.5)
    told = found.wait(3600)
    assert kinds(told) == ["approval_reminder", "approval_reminder", "approval_expired"]
    assert told[0].text == (
        f"Still without an answer: buy up to $275.00 of QQQ in core? {REACHED} After the trade the reserve of core is "
        "$4,725.00; the request expires in 30 minutes, at 2020-09-13 13:16 UTC."
    )
    assert (told[0].approval, told[1].ttl) == ("core/QQQ/1", 600)
    assert told[2].text == f"{REQUEST} expired without an approval; nothing is traded."


def test_a_restart_neither_hurries_nor_forgets_a_reminder() -> None:
    found = Office(plan(position(mode=Mode.APPROVE)), remind=1200)
    found.prices(100, 94.5)
    found.wait(1000)
    found.command(Deposit(portfolio="core", amount=dollars(1), by="ada"))
    found.restart()
    assert kinds(found.wait(190)) == []
    [reminder] = found.wait(20)
    assert reminder.text.startswith(f"Still without an answer: buy up to $275.00 of QQQ in core? {REACHED} After"), (
        "it says why a person is asked, also after a restart"
    )


def test_a_reminder_says_where_the_reserve_has_less_by_then() -> None:
    found = Office(plan(position(mode=Mode.APPROVE)), remind=1200)
    found.prices(100, 94.5)
    found.command(Withdraw(portfolio="core", amount=dollars(4900), by="ada"))
    [reminder] = found.wait(1200)
    assert "? At $94.50" in reminder.text
    assert ". The reserve of core has only $100.00 to spend; the request expires in 4 hours, at" in reminder.text
    assert reminder.facts["reserve_after"] == "0.00"


def test_a_reminder_of_a_first_buy_says_that_it_is_one() -> None:
    found = Office(plan(position(shares="0", initial=True, mode=Mode.APPROVE)), remind=1200)
    found.prices(100)
    [reminder] = found.wait(1200)
    assert "? At $100.00 it is the first buy of its target $5,000.00. After the trade" in reminder.text


def test_no_reminder_comes_where_none_is_wanted() -> None:
    found = Office(plan(position(mode=Mode.APPROVE)), remind=None)
    found.prices(100, 94.5)
    assert kinds(found.wait(3 * 3600)) == []


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (Approve, "approval_granted", "was approved by ada (go); after it the reserve of core is $4,725.00."),
        (Reject, "approval_rejected", "was rejected by ada (go); nothing is traded."),
    ],
)
@pytest.mark.parametrize("restarts", [False, True])
def test_an_answer_is_told_with_who_gave_it_to_what(
    answer: type[Approve | Reject], kind: str, text: str, restarts: bool
) -> None:
    found = office(mode=Mode.APPROVE, fill=False)
    found.prices(94.5)
    if restarts:
        found.restart()
        found.now = Instant(found.now + SECOND)
        found.take(found.engine.prints([trade_print("QQQ", 94.5, found.now)], found.now))
    found.command(answer(portfolio="core", symbol="QQQ", number=1, by="ada", why="go"))
    told = last(found, kind)
    assert (told.level, told.text) == (INFO, f"{REQUEST} {text}")
    assert (told.facts["side"], told.facts["amount"]) == ("accumulate", "275.00")


def test_a_request_that_has_grown_is_ended_and_asked_anew_each_with_its_own_amount() -> None:
    found = office(mode=Mode.APPROVE)
    found.prices(105.5)
    found.now = Instant(found.now + SECOND)
    found.take(found.engine.prints([trade_print("QQQ", 110.0, found.now)], found.now))
    found.command(Approve(portfolio="core", symbol="QQQ", number=1, by="ada"))
    closed, asked = last(found, "approval_closed"), last(found, "approval_requested")
    assert closed.text.startswith("Request 1, the sale of $275.00 of QQQ in core, is no question any more: ")
    assert asked.title == "QQQ: approve selling $500.00?"
    found.command(Reject(portfolio="core", symbol="QQQ", number=2, by="ada"))
    assert last(found, "approval_rejected").text.startswith("Request 2, the sale of $500.00 of QQQ in core, was")


def test_a_request_that_the_price_overtook_is_withdrawn_with_the_reason() -> None:
    found = office(mode=Mode.APPROVE)
    found.prices(94.5, 100)
    assert last(found, "approval_closed").text == (
        f"{REQUEST} is no question any more: the value came back inside the zone; nothing is traded for it."
    )


# What a guard holds


def test_a_held_signal_says_which_guard_holds_it_and_why() -> None:
    found = office()
    found.command(Pause(paused=True, by="ada"))
    found.prices(94.5)
    told = last(found, "signal_held")
    assert (told.level, told.title) == (NOTICE, "QQQ: held, paused")
    assert told.text == (
        "The signal to buy $275.00 of QQQ in core, worth $4,725.00 at $94.50 against a target of $5,000.00, is held: "
        "signals are paused; resume them to trade again."
    )


def test_sitting_on_an_edge_holds_once_a_day() -> None:
    found = office()
    found.command(Pause(paused=True, by="ada"))
    begun = len(found.told)
    found.prices(94.9, 95.5, 94.9, 95.5, 94.9)
    found.restart()
    found.prices(95.5, 94.9)
    assert kinds(found.since(begun)) == ["signal_held"]
    found.now = Instant(found.now + 24 * 3600 * SECOND)
    found.prices(95.5, 94.9)
    assert kinds(found.since(begun)).count("signal_held") == 2


@pytest.mark.parametrize("restarts", [False, True])
def test_a_price_that_goes_from_edge_to_edge_is_held_once_on_each(restarts: bool) -> None:
    found = office()
    found.command(Pause(paused=True, by="ada"))
    begun = len(found.told)
    for price in (94.9, 105.5, 94.9, 105.5, 94.9, 105.5):
        found.prices(price)
        if restarts:
            found.restart()
    told = found.since(begun)
    assert [(each.kind, each.facts["side"]) for each in told] == [
        ("signal_held", "accumulate"),
        ("signal_held", "trim"),
    ]


@pytest.mark.parametrize("restarts", [False, True])
def test_of_two_sides_that_were_held_only_the_one_that_was_let_go_is_news_again(restarts: bool) -> None:
    found = office()
    sale = msgspec.structs.replace(held(found), side=SELL)
    let_go = ev.SideRearmed(at=found.now, portfolio="core", symbol="QQQ", side=SELL, cause="it is smaller now")
    both = msgspec.structs.replace(let_go, side=BUY)

    def told(*events: ev.Event) -> list[str]:
        if restarts:
            found.restart()
        return kinds(found.record(*events))

    assert told(held(found), sale) == ["signal_held", "signal_held"]
    assert told(let_go) == ["side_rearmed"]
    assert told(held(found)) == []
    assert told(sale) == ["signal_held"]
    assert told(let_go, both) == ["side_rearmed", "side_rearmed"]
    assert told(held(found)) == ["signal_held"]
    assert told(sale) == ["signal_held"]


def test_what_lifts_a_hold_is_told_and_a_hold_after_it_is_news() -> None:
    found = office()
    found.command(Pause(paused=True, by="ada"))
    found.prices(94.9)
    begun = len(found.told)
    found.command(Resume(by="ada"))
    found.command(Pause(paused=True, by="ada"))
    found.restart()
    found.prices(94.8)
    told = found.since(begun)
    assert kinds(told) == ["signals_resumed", "side_rearmed", "signals_paused", "signal_held"]
    assert told[1].text == "Buys of QQQ in core are no longer held: the pause ended."


def held(found: Office, until: Instant | None = None) -> ev.SignalHeld:
    price, worth = Price(Decimal("94.5")), dollars(4725)
    return ev.SignalHeld(
        at=found.now,
        portfolio="core",
        symbol="QQQ",
        side=BUY,
        guard="maximum order",
        reason="it is too large",
        price=price,
        value=worth,
        amount=dollars(275),
        until=until,
    )


def test_a_hold_after_a_signal_is_news_again() -> None:
    found = office(fill=False)
    assert kinds(found.record(held(found)) + found.record(held(found))) == ["signal_held"]
    found.prices(100, 94.5)
    assert kinds(found.record(held(found))) == ["signal_held"]
    assert kinds(found.restart().record(held(found))) == []


def test_a_hold_whose_time_is_over_needs_no_word() -> None:
    found = office()
    [told] = found.record(held(found, until=Instant(found.now + SECOND)))
    assert told.text.endswith("is held: it is too large; it may go on at 2020-09-13 12:26 UTC.")
    assert found.wait(1) == []
    assert isinstance(found.events[-1], ev.SideRearmed)


# What stops trading


def test_a_freeze_says_what_it_saw_and_what_to_do() -> None:
    found = Office(plan(position(), prints=PrintRules(confirm=0, stale_after=None)))
    found.prices(100, 50)
    told = last(found, "symbol_frozen")
    assert (told.level, told.title) == (CRITICAL, "QQQ is frozen: a split?")
    assert told.text == (
        "QQQ moved from 100 to 50 (-50.0%): perhaps a split; QQQ is not traded until a person has looked: if shares "
        "and target are right, mrdaemon resume QQQ lets it go on."
    )


def test_a_breaker_says_which_limit_and_the_halt_that_follows_is_the_same_news() -> None:
    found = Office(plan(position(), account={"notional_per_order": dollars(100)}))
    found.prices(100)
    begun = len(found.told)
    found.prices(94.5)
    told = found.since(begun)
    assert kinds(told) == ["breaker_tripped", "signal_held"]
    assert told[0].level is CRITICAL
    assert told[0].text == (
        "The circuit breaker notional_per_order of account paper tripped: account paper: an order of $275.00, the "
        "limit is 100; all trading is HALTED until a person has looked: mrdaemon resume lets it go on."
    )


@pytest.mark.parametrize(
    ("command", "level", "text"),
    [
        (
            SetTradingState(state=TradingState.HALTED, by="ada", why="lunch"),
            CRITICAL,
            f"Trading was set to HALTED by ada (lunch): {STOPPED}.",
        ),
        (
            SetTradingState(state=TradingState.REDUCING, portfolio="core", by="ada"),
            WARNING,
            "Trading in core was set to REDUCING by ada: nothing is bought until it is resumed; sales go on.",
        ),
        (
            SetTradingState(state=TradingState.HALTED, portfolio="core", symbol="QQQ", by="ada"),
            WARNING,
            f"Trading in core/QQQ was set to HALTED by ada: {STOPPED}.",
        ),
    ],
)
def test_a_trading_state_says_who_set_it_and_what_follows(command: SetTradingState, level: Level, text: str) -> None:
    found = office()
    found.command(command)
    assert (last(found, "trading_state").level, last(found, "trading_state").text) == (level, text)


# What people do, and what a start finds


def test_a_target_says_who_changed_it_from_what_to_what() -> None:
    found = office()
    found.command(SetTarget(portfolio="core", symbol="QQQ", target=dollars(5100), by="ada", why="a raise"))
    assert last(found, "target_changed").text == (
        "The target of QQQ in core was changed from $5,000.00 to $5,100.00 by ada (a raise)."
    )


def test_a_target_that_the_configuration_changes_is_told_and_a_first_one_is_not() -> None:
    found = office()
    assert "target_changed" not in kinds(found.told)
    found.wait(60)
    found.plan = plan(position(target="5200"))
    found.restart().start()
    assert last(found, "target_changed").text == (
        "The target of QQQ in core is $5,200.00 from now on, by the configuration."
    )


def test_a_trade_by_hand_says_where_it_leaves_the_position() -> None:
    found = office(cost="4000")
    found.command(
        ReportFill(
            portfolio="core",
            symbol="QQQ",
            side=SELL,
            shares=Shares(Decimal(2)),
            price=Price(Decimal("101.5")),
            by="ada",
        )
    )
    assert last(found, "fill_reported").text == (
        "ada sold 2 QQQ by hand at $101.50 for $203.00, a gain of $43.00; core holds 48 QQQ, worth $4,872.00 against a "
        "target of $5,000.00, and the reserve of core is $5,203.00 now."
    )


def test_a_deposit_says_what_the_reserve_is_now() -> None:
    found = office()
    found.command(Deposit(portfolio="core", amount=dollars(250), by="ada"))
    assert last(found, "reserve_deposited").text == (
        "$250.00 were put into the reserve of core by ada; the reserve of core is $5,250.00 now."
    )


def test_a_start_says_that_nothing_is_in_the_way() -> None:
    told = last(office(), "started")
    assert (told.level, told.title) == (INFO, "Started")
    assert told.text == "mrdaemon 1.0 started, with 1 position in 1 portfolio: nothing keeps it from trading."


def test_a_start_says_what_is_in_the_way_and_that_the_end_before_was_not_announced() -> None:
    found = office()
    found.command(SetTradingState(state=TradingState.HALTED, by="ada"))
    found.command(Pause(paused=True, by="ada"))
    found.wait(3600)
    found.restart().start()
    told = last(found, "started")
    assert (told.level, told.title) == (WARNING, "Started, trading is HALTED")
    assert told.text == (
        "mrdaemon 1.0 started, after an end that it could not announce, with 1 position in 1 portfolio: trading is "
        "HALTED, as it was left; signals are paused."
    )


def test_starts_that_follow_each_other_closely_wake_nobody_again() -> None:
    found = office()
    found.wait(3600)
    levels = []
    for _ in range(4):
        found.wait(10)
        found.restart().start()
        levels.append(last(found, "started").level)
    assert levels == [NOTICE, INFO, INFO, INFO]
    found.command(SetTradingState(state=TradingState.HALTED, by="ada"))
    found.restart().start()
    assert last(found, "started").level is INFO


def test_a_clean_stop_and_start_are_no_more_than_information() -> None:
    found = office()
    found.wait(3600)
    [stopped] = found.record(ev.DaemonStopped(at=found.now, reason="asked to stop"))
    assert (stopped.level, stopped.text) == (
        INFO,
        "mrdaemon stopped: asked to stop; nothing is traded until it is started again.",
    )
    found.restart().start()
    assert last(found, "started").level is INFO


def test_refused_commands_are_counted_after_the_first() -> None:
    found = office()
    refused = [
        ev.CommandRefused(at=found.now, command="Approve", by="mqtt house", reason="it is stale") for _ in range(5)
    ]
    assert kinds(found.record(*refused)) == ["command_refused"]
    found.wait(601)
    [told] = found.record(ev.CommandRefused(at=found.now, command="Approve", by="mqtt house", reason="it is stale"))
    assert told.text == (
        "Approving by mqtt house was refused: it is stale. So were 4 others since 2020-09-13 12:26 UTC."
    )


def test_a_wrong_clock_refuses_the_prices_of_every_symbol_and_is_one_warning() -> None:
    found = office()
    told = found.record(
        *(
            ev.PrintRefused(at=found.now, symbol=name, price="95.0", rule="clock skew", reason="clocks differ", day="d")
            for name in ("AAA", "BBB", "CCC")
        )
    )
    assert [each.level for each in told] == [WARNING, INFO, INFO]
    assert told[0].text == "AAA at 95.0 does not count: clocks differ; a clock is wrong, perhaps this machine's."


def test_what_a_refused_order_holds_is_no_second_alarm() -> None:
    found = office(fill=False)
    found.prices(94.5)
    begun = len(found.told)
    found.take(found.engine.order_ended(intent(found).order, OrderStatus.REJECTED, "insufficient funds", found.now))
    assert [(each.kind, each.level) for each in found.since(begun)] == [
        ("order_refused", WARNING),
        ("signal_held", INFO),
    ]


def test_a_yes_that_comes_too_late_is_told_so() -> None:
    found = office(mode=Mode.APPROVE, approval_ttl=60)
    found.prices(94.5)
    found.now = Instant(found.now + 60 * SECOND)
    found.take(found.engine.prints([trade_print("QQQ", 94.5, found.now)], found.now))
    found.command(Approve(portfolio="core", symbol="QQQ", number=1, by="ada"))
    assert last(found, "approval_expired").text == (f"{REQUEST} expired before ada approved it; nothing is traded.")
